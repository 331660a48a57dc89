//! What a line says, and its two forms.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::observe::access_log::moment::Seconds;
use crate::observe::access_log::page::Page;

/// What one line says.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// When the request head had been read.
    pub at: Timestamp,
    /// The request's id, as in error pages and diagnostics.
    pub request_id: &'a [u8],
    /// The client's address as resolved through trusted proxies; `None` for an unknown one (unix socket).
    pub client: Option<IpAddr>,
    /// The request method.
    pub method: &'a str,
    /// The Host field as sent.
    pub host: &'a [u8],
    /// The path as sent, without the query.
    pub path: &'a str,
    /// `HTTP/1.1` and so on.
    pub protocol: &'static str,
    /// The status answered.
    pub status: u16,
    /// Body bytes handed to the client's connection.
    pub bytes_out: u64,
    /// Of a tunnel: bytes the client sent into it.
    pub bytes_in: Option<u64>,
    /// From the head read to the last body byte handed over.
    pub duration: Duration,
    /// From the request handed to the upstream to its response head; `None` when not forwarded.
    pub upstream: Option<Duration>,
    /// The route's name, when one matched.
    pub route: Option<&'a str>,
    /// The user whose live session the request carried.
    pub user: Option<&'a str>,
    /// `allow`, `challenge`, `deny`, `refuse`, or `own` for our own pages.
    pub decision: &'static str,
    /// A stable code that says why, when there is more to say than the decision.
    pub reason: Option<&'a str>,
    /// The User-Agent field.
    pub user_agent: Option<&'a [u8]>,
}

impl Line<'_> {
    pub(in crate::observe) fn write_json(&self, out: &mut Page, seconds: &mut Seconds) {
        let (second, millis) = seconds.json(self.at);
        out.put(br#"{"ts":""#);
        out.piece(second.as_bytes());
        out.three(millis);
        out.put(br#"Z","kind":"access","request_id":""#);
        out.piece(self.request_id);
        if let Some(client) = self.client {
            out.put(br#"","client_ip":""#);
            address(out, client);
        }
        out.put(br#"","method":""#);
        out.json(self.method.as_bytes());
        out.put(br#"","host":""#);
        out.json(self.host);
        out.put(br#"","path":""#);
        out.json(self.path.as_bytes());
        out.put(br#"","protocol":""#);
        out.piece(self.protocol.as_bytes());
        out.put(br#"","status":"#);
        out.number(self.status.into());
        out.put(br#","bytes_out":"#);
        out.number(self.bytes_out);
        out.put(br#","duration_ms":"#);
        milliseconds(out, self.duration);
        if let Some(upstream) = self.upstream {
            out.put(br#","upstream_ms":"#);
            milliseconds(out, upstream);
        }
        if let Some(bytes_in) = self.bytes_in {
            out.put(br#","bytes_in":"#);
            out.number(bytes_in);
        }
        out.put(br#","decision":""#);
        out.piece(self.decision.as_bytes());
        if let Some(route) = self.route {
            out.put(br#"","route":""#);
            out.json(route.as_bytes());
        }
        if let Some(user) = self.user {
            out.put(br#"","user":""#);
            out.json(user.as_bytes());
        }
        if let Some(reason) = self.reason {
            out.put(br#"","reason":""#);
            out.json(reason.as_bytes());
        }
        if let Some(user_agent) = self.user_agent {
            out.put(br#"","user_agent":""#);
            out.json(user_agent);
        }
        out.put(b"\"}\n");
    }

    pub(in crate::observe) fn write_text(&self, out: &mut Page, seconds: &mut Seconds) {
        match self.client {
            Some(client) => address(out, client),
            None => out.put(b"-"),
        }
        out.put(b" - ");
        out.quoted(self.user.unwrap_or("-").as_bytes());
        out.put(b" [");
        out.piece(seconds.text(self.at).as_bytes());
        out.put(b"] \"");
        out.quoted(self.method.as_bytes());
        out.put(b" ");
        out.quoted(self.path.as_bytes());
        out.put(b" ");
        out.piece(self.protocol.as_bytes());
        out.put(b"\" ");
        out.number(self.status.into());
        out.put(b" ");
        out.number(self.bytes_out);
        out.put(b" \"-\" \"");
        out.quoted(self.user_agent.unwrap_or(b"-"));
        out.put(b"\"\n");
    }
}

/// `1.250`, without the detour by a floating point number.
fn milliseconds(out: &mut Page, span: Duration) {
    let micros = span
        .as_secs()
        .saturating_mul(1_000_000)
        .saturating_add(u64::from((span.subsec_nanos() + 500) / 1000));
    out.number(micros / 1000);
    out.put(b".");
    out.three(micros % 1000);
}

fn address(out: &mut Page, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            out.number(a.into());
            for octet in [b, c, d] {
                out.put(b".");
                out.number(octet.into());
            }
        }
        // Nothing fails here: a page notes by itself what it has no room for.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}
