//! What a line says, and its two forms.

use std::net::IpAddr;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::observe::access_log::Format;
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
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// The status answered.
    pub status: u16,
    /// Body bytes handed to the client's connection.
    pub bytes_out: u64,
    /// Of a tunnel: bytes the client sent into it.
    pub bytes_in: Option<u64>,
    /// From the head read to the last body byte handed over.
    pub duration: Duration,
    /// From the head read, or a shared store's word on the session, to the upstream's response head: with our own steps in between, some
    /// microseconds that wait for nobody. `None` when not forwarded.
    pub upstream: Option<Duration>,
    /// `allow`, `challenge`, `deny`, `refuse`, or `own` for our own pages.
    pub decision: &'static str,
    /// A stable code that says why, when there is more to say than the decision.
    pub reason: Option<&'static str>,
}

/// What a line says.
pub(super) struct Line<'a> {
    /// See [`Opening::at`].
    pub at: Timestamp,
    pub request_id: &'a [u8],
    pub client: Option<IpAddr>,
    pub method: &'a [u8],
    pub host: &'a [u8],
    pub path: &'a [u8],
    pub protocol: &'static str,
    pub user_agent: Option<&'a [u8]>,
    /// The route's name, when one matched.
    pub route: Option<&'a [u8]>,
    /// The user whose live session it carried.
    pub user: Option<&'a [u8]>,
    pub outcome: Outcome,
}

impl Line<'_> {
    #[inline]
    pub(super) fn formed<'p>(&self, format: Format, seconds: &mut Seconds, out: Space<'p>) -> Space<'p> {
        match format {
            Format::Json => self.json(seconds, out),
            Format::Text => self.text(seconds, out),
        }
    }

    /// One JSON object.
    fn json<'p>(&self, seconds: &mut Seconds, out: Space<'p>) -> Space<'p> {
        let (outcome, (second, millis)) = (&self.outcome, seconds.json(self.at));
        out.put(br#"{"ts":""#)
            .piece(second.as_bytes())
            .three(millis)
            .put(br#"Z","kind":"access","request_id":""#)
            .piece(self.request_id)
            .with(self.client, |out, client| out.put(br#"","client_ip":""#).address(client))
            .put(br#"","method":""#)
            .json(self.method)
            .put(br#"","host":""#)
            .json(self.host)
            .put(br#"","path":""#)
            .json(self.path)
            .put(br#"","protocol":""#)
            .piece(self.protocol.as_bytes())
            .put(br#"","status":"#)
            .number(outcome.status.into())
            .put(br#","bytes_out":"#)
            .number(outcome.bytes_out)
            .put(br#","duration_ms":"#)
            .milliseconds(outcome.duration)
            .with(outcome.upstream, |out, upstream| out.put(br#","upstream_ms":"#).milliseconds(upstream))
            .with(outcome.bytes_in, |out, count| out.put(br#","bytes_in":"#).number(count))
            .put(br#","decision":""#)
            .piece(outcome.decision.as_bytes())
            .with(self.route, |out, route| out.put(br#"","route":""#).json(route))
            .with(self.user, |out, user| out.put(br#"","user":""#).json(user))
            .with(outcome.reason, |out, reason| out.put(br#"","reason":""#).piece(reason.as_bytes()))
            .with(self.user_agent, |out, agent| out.put(br#"","user_agent":""#).json(agent))
            .put(b"\"}\n")
    }

    /// The combined form.
    fn text<'p>(&self, seconds: &mut Seconds, out: Space<'p>) -> Space<'p> {
        let outcome = &self.outcome;
        match self.client {
            Some(client) => out.address(client),
            None => out.put(b"-"),
        }
        .put(b" - ")
        .quoted(self.user.unwrap_or(b"-"))
        .put(b" [")
        .piece(seconds.text(self.at).as_bytes())
        .put(b"] \"")
        .quoted(self.method)
        .put(b" ")
        .quoted(self.path)
        .put(b" ")
        .piece(self.protocol.as_bytes())
        .put(b"\" ")
        .number(outcome.status.into())
        .put(b" ")
        .number(outcome.bytes_out)
        .put(b" \"-\" \"")
        .quoted(self.user_agent.unwrap_or(b"-"))
        .put(b"\"\n")
    }
}
