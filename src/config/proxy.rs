//! `[proxy]`: the limits that hold for every route.

use std::time::Duration;

use super::reader::Section;
use super::server::size;
use crate::proxy::Limits;

const HOUR: Duration = Duration::from_secs(3600);

/// `[proxy]`.
pub(super) fn read(mut section: Section<'_>) -> Limits {
    let usual = Limits::default();
    let mut span = |key, usual, most| {
        let least = Duration::from_millis(100);
        section.take(key).and_then(|f| f.duration(least..=most)).unwrap_or(usual)
    };
    let limits = Limits {
        connect_timeout: span("connect_timeout", usual.connect_timeout, Duration::from_secs(300)),
        response_timeout: span("response_timeout", usual.response_timeout, 24 * HOUR),
        idle_timeout: span("idle_timeout", usual.idle_timeout, HOUR),
        max_idle: section.take("max_idle").and_then(|f| size(&f, 0..=65536)).unwrap_or(usual.max_idle),
    };
    section.finish();
    limits
}
