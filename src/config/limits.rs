//! The limits of client connections: `server.*_timeout`, `server.max_*` and `[server.http2]`. Each has a default that is safe.

use std::time::Duration;

use super::reader::Section;
use super::server::size;
use crate::server::{Caps, Http2Limits, Limits};
use crate::web::normalize::HeadLimits;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86400);

/// All of them but the one of the TLS handshake.
pub(super) struct ClientLimits {
    pub(super) time: Limits,
    pub(super) caps: Caps,
    pub(super) http2: Http2Limits,
    pub(super) max_head: usize,
    pub(super) head: HeadLimits,
}

/// Those of `[server]`.
pub(super) fn read(section: &mut Section<'_>) -> ClientLimits {
    let mut span = |key, default: u32, most| {
        section.take(key).and_then(|f| f.duration(SECOND..=most)).unwrap_or(SECOND * default)
    };
    let mut time = Limits {
        handshake: span("handshake_timeout", 10, HOUR),
        first_byte: span("first_byte_timeout", 30, HOUR),
        head: span("head_timeout", 60, HOUR),
        body: span("body_timeout", 60, HOUR),
        idle: span("idle_timeout", 60, HOUR),
        tunnel: None,
    };
    time.tunnel = section.take("tunnel_timeout").and_then(|f| match f.as_boolean() {
        Some(false) => None,
        _ => f.duration(SECOND..=30 * DAY),
    });
    let mut number = |key, default, range| section.take(key).and_then(|f| size(&f, range)).unwrap_or(default);
    let max_head = number("max_head", 64 * 1024, 8192..=1024 * 1024);
    let head = HeadLimits {
        target: number("max_uri", 16 * 1024, 256..=1024 * 1024),
        fields: number("max_headers", 100, 10..=1000),
    };
    let connections = number("max_connections", 10_000, 1..=10_000_000);
    let per_source = number("max_connections_per_source", 1000, 1..=10_000_000);
    let http2 = http2(section.section("http2"), max_head, head.fields);
    // What one connection is told that it may have, one browser may have.
    let streams_per_source =
        per_source.max(usize::try_from(http2.max_concurrent_streams).unwrap_or(usize::MAX));
    let caps = Caps { connections, per_source, streams_per_source };
    ClientLimits { time, caps, http2, max_head, head }
}

fn http2(mut section: Section<'_>, max_head: usize, max_headers: usize) -> Http2Limits {
    let mut span = |key, default: u32| {
        section.take(key).and_then(|f| f.duration(SECOND..=HOUR)).unwrap_or(SECOND * default)
    };
    let (ping_interval, ping_timeout) = (span("ping_interval", 30), span("ping_timeout", 60));
    let mut number = |key, default, range| section.take(key).and_then(|f| size(&f, range)).unwrap_or(default);
    let limits = Http2Limits {
        max_concurrent_streams: narrow(number("max_concurrent_streams", 100, 1..=10_000)),
        max_header_list: narrow(number("max_header_list", max_head, 8192..=1024 * 1024)),
        max_headers,
        max_pending_resets: number("max_pending_resets", 20, 1..=10_000),
        max_stream_errors: number("max_stream_errors", 128, 1..=100_000),
        ping_interval,
        ping_timeout,
    };
    section.finish();
    limits
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
