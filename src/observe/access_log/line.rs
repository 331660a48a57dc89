//! What a line says, and its two forms. Of each form there are three parts that are known when the request begins; what became of the
//! request stands between them.

use std::net::IpAddr;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::observe::access_log::moment::Seconds;
use crate::observe::access_log::page::Space;

/// What is known when a request begins.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
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
    /// The User-Agent field.
    pub user_agent: Option<&'a [u8]>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
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
}

impl Opening<'_> {
    pub(super) fn json_head<'p>(&self, out: Space<'p>, seconds: &mut Seconds) -> Space<'p> {
        let (second, millis) = seconds.json(self.at);
        out.put(br#"{"ts":""#)
            .piece(second.as_bytes())
            .three(millis)
            .put(br#"Z","kind":"access","request_id":""#)
            .piece(self.request_id)
            .with(self.client, |out, client| out.put(br#"","client_ip":""#).address(client))
            .put(br#"","method":""#)
            .json(self.method.as_bytes())
            .put(br#"","host":""#)
            .json(self.host)
            .put(br#"","path":""#)
            .json(self.path.as_bytes())
            .put(br#"","protocol":""#)
            .piece(self.protocol.as_bytes())
            .put(br#"","status":"#)
    }

    pub(super) fn json_end<'p>(&self, out: Space<'p>) -> Space<'p> {
        out.with(self.user_agent, |out, agent| out.put(br#"","user_agent":""#).json(agent)).put(b"\"}\n")
    }

    pub(super) fn text_head<'p>(&self, out: Space<'p>) -> Space<'p> {
        match self.client {
            Some(client) => out.address(client),
            None => out.put(b"-"),
        }
        .put(b" - ")
    }

    pub(super) fn text_middle<'p>(&self, out: Space<'p>, seconds: &mut Seconds) -> Space<'p> {
        out.put(b" [")
            .piece(seconds.text(self.at).as_bytes())
            .put(b"] \"")
            .quoted(self.method.as_bytes())
            .put(b" ")
            .quoted(self.path.as_bytes())
            .put(b" ")
            .piece(self.protocol.as_bytes())
            .put(b"\" ")
    }

    pub(super) fn text_end<'p>(&self, out: Space<'p>) -> Space<'p> {
        out.put(b" \"-\" \"").quoted(self.user_agent.unwrap_or(b"-")).put(b"\"\n")
    }
}

impl Outcome<'_> {
    /// Of the line that begins with `head` and ends with `end`.
    pub(super) fn json<'p>(&self, out: Space<'p>, head: &[u8], end: &[u8]) -> Space<'p> {
        out.piece(head)
            .number(self.status.into())
            .put(br#","bytes_out":"#)
            .number(self.bytes_out)
            .put(br#","duration_ms":"#)
            .milliseconds(self.duration)
            .with(self.upstream, |out, upstream| out.put(br#","upstream_ms":"#).milliseconds(upstream))
            .with(self.bytes_in, |out, count| out.put(br#","bytes_in":"#).number(count))
            .put(br#","decision":""#)
            .piece(self.decision.as_bytes())
            .with(self.route, |out, route| out.put(br#"","route":""#).json(route.as_bytes()))
            .with(self.user, |out, user| out.put(br#"","user":""#).json(user.as_bytes()))
            .with(self.reason, |out, reason| out.put(br#"","reason":""#).json(reason.as_bytes()))
            .piece(end)
    }

    /// Of the line that begins with `head`, names the user, goes on with `middle` and ends with `end`.
    pub(super) fn text<'p>(&self, out: Space<'p>, head: &[u8], middle: &[u8], end: &[u8]) -> Space<'p> {
        out.piece(head)
            .quoted(self.user.unwrap_or("-").as_bytes())
            .piece(middle)
            .number(self.status.into())
            .put(b" ")
            .number(self.bytes_out)
            .piece(end)
    }
}
