//! `[proxy]`: what holds for the upstreams of every route unless it says otherwise.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::{Field, Section};
use super::server::size;
use crate::proxy::{Ejection, Limits};

const SECOND: Duration = Duration::from_secs(1);
const LEAST: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// What a route's upstreams have unless it says otherwise.
pub(super) struct Defaults {
    pub(super) limits: Limits,
    pub(super) ejection: Option<Ejection>,
    pub(super) max_connections: Option<usize>,
    /// Where relative paths start.
    pub(super) base: PathBuf,
}

/// `[proxy]`.
pub(super) fn read(mut section: Section<'_>, base: PathBuf) -> Defaults {
    let usual = of_a_route(&mut section, &Limits::default());
    let mut number = |key, usual, range| section.take(key).and_then(|f| size(&f, range)).unwrap_or(usual);
    let (max_idle, queue) =
        (number("max_idle", usual.max_idle, 0..=65536), number("queue", usual.queue, 0..=1_000_000));
    let mut span =
        |key, usual, most| section.take(key).and_then(|f| f.duration(LEAST..=most)).unwrap_or(usual);
    let limits = Limits {
        max_idle,
        queue,
        idle_timeout: span("idle_timeout", usual.idle_timeout, HOUR),
        max_lifetime: span("max_lifetime", usual.max_lifetime, 7 * DAY),
        queue_timeout: span("queue_timeout", usual.queue_timeout, HOUR),
        ..usual
    };
    let ejection = section.take("ejection").map_or(Some(Ejection::default()), |f| ejection(&f));
    let max_connections = section.take("max_connections").and_then(|f| most_connections(&f));
    section.finish();
    Defaults { limits, ejection, max_connections, base }
}

/// The limits that a route may set for itself.
pub(super) fn of_a_route(section: &mut Section<'_>, usual: &Limits) -> Limits {
    let whole = section.take("request_timeout");
    let retries = section.take("retries").and_then(|f| f.number(0..=5)).and_then(|n| u32::try_from(n).ok());
    let mut span =
        |key, usual, most| section.take(key).and_then(|f| f.duration(LEAST..=most)).unwrap_or(usual);
    Limits {
        connect_timeout: span("connect_timeout", usual.connect_timeout, 300 * SECOND),
        response_timeout: span("response_timeout", usual.response_timeout, DAY),
        body_timeout: span("body_timeout", usual.body_timeout, DAY),
        request_timeout: whole.map_or(usual.request_timeout, |f| request_timeout(&f)),
        retries: retries.unwrap_or(usual.retries),
        ..*usual
    }
}

fn request_timeout(field: &Field<'_>) -> Option<Duration> {
    if field.as_boolean() == Some(false) {
        return None;
    }
    field.expect("a duration such as \"30m\", or false", field.as_text())?;
    field.duration(LEAST..=DAY)
}

/// Failures in a row and a period, or `false` for never.
pub(super) fn ejection(field: &Field<'_>) -> Option<Ejection> {
    if field.as_boolean() == Some(false) {
        return None;
    }
    field.expect("{ failures = 5, period = \"10s\" }, or false", field.is_table().then_some(()))?;
    let (mut table, usual) = (field.table()?, Ejection::default());
    let failures =
        table.take("failures").and_then(|f| f.number(1..=1000)).and_then(|n| u32::try_from(n).ok());
    let period = table.take("period").and_then(|f| f.duration(LEAST..=HOUR));
    table.finish();
    Some(Ejection { failures: failures.unwrap_or(usual.failures), period: period.unwrap_or(usual.period) })
}

/// A bound on connections.
pub(super) fn most_connections(field: &Field<'_>) -> Option<usize> {
    size(field, 1..=1_000_000)
}
