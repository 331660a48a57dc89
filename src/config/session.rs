//! `[session]`: secrets, limits and the store.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::cookie;
use super::reader::{Field, Section};
use super::secrets;
use super::server::{Server, size};
use crate::session::{AtLimit, Cap, RedisAddress, RedisAddressProblem, Settings, StoreSettings};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86400);
const DEFAULT_IDLE: Duration = Duration::from_secs(2 * 3600);
/// How long verified sessions go on without the redis server.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);
const LONGEST_GRACE: Duration = Duration::from_secs(300);
const DEFAULT_STORE: &str = "state/sessions";

/// `[session]`, which needs to know how requests arrive.
pub(super) fn read(mut section: Section<'_>, base: &Path, server: &Server) -> Settings {
    let secrets = secrets::read(&mut section, base);
    let longest = 400 * DAY;
    let duration = section.take("duration").and_then(|f| f.duration(MINUTE..=longest)).unwrap_or(DAY);
    let idle = section.take("idle_timeout");
    let idle_timeout = match idle.as_ref().and_then(|f| f.duration(MINUTE..=longest)) {
        None => DEFAULT_IDLE.min(duration),
        Some(span) => span,
    };
    if let Some(field) = idle.filter(|_| idle_timeout > duration) {
        field.error(
            "`session.idle_timeout` is longer than `session.duration`",
            "shorten it, or lengthen the duration",
        );
    }
    let store =
        section.take("store").and_then(|f| store(&f, base)).unwrap_or_else(|| sled(base, DEFAULT_STORE));
    if let StoreSettings::Sled { path } = &store {
        refuse_open_folder(&section, path);
    }
    let cap = cap(&mut section);
    let bad = section.take("max_bad_cookies").and_then(|f| f.number(0..=1_000_000)).unwrap_or(100);
    let cookie = cookie::read(section.section("cookie"), server);
    section.finish();
    let max_bad_cookies = u32::try_from(bad).unwrap_or(u32::MAX);
    Settings { secrets, duration, idle_timeout, store, cookie, cap, max_bad_cookies }
}

/// `max_per_user` and `at_limit`.
fn cap(section: &mut Section<'_>) -> Option<Cap> {
    let max = section.take("max_per_user");
    let at_limit = section.take("at_limit");
    if let Some(field) = at_limit.as_ref().filter(|_| max.is_none()) {
        field.error(
            "`session.at_limit` does nothing without `session.max_per_user`",
            "give the limit, or take it out",
        );
    }
    let words = [("end_oldest", AtLimit::EndOldest), ("refuse", AtLimit::Refuse)];
    let at_limit = at_limit.and_then(|f| f.word(&words)).unwrap_or_default();
    let max_per_user = max.and_then(|f| size(&f, 1..=10_000))?;
    Some(Cap { max_per_user, at_limit })
}

fn store(field: &Field<'_>, base: &Path) -> Option<StoreSettings> {
    let mut table = field.table()?;
    // All keys of all stores are taken here, so that a wrong type is one problem and not three.
    let kind = table.require("type", "\"sled\", \"redis\" or \"memory\"");
    let path = table.take("path");
    let url = table.take("url");
    let grace = table.take("grace");
    if let Some(url) = &url {
        url.mask();
    }
    let kind = kind.and_then(|k| k.word(&[("sled", 's'), ("memory", 'm'), ("redis", 'r')]))?;
    let store = match kind {
        's' => {
            let text = path.as_ref().map_or(Some(DEFAULT_STORE), Field::text)?;
            if text.is_empty() {
                field.error("`session.store.path` is empty", "the path of a folder for the store alone");
            }
            sled(base, text)
        }
        'm' => {
            if let Some(path) = &path {
                path.error("a memory store has no path", "take it out, or write type = \"sled\"");
            }
            StoreSettings::Memory
        }
        _ => {
            if let Some(path) = &path {
                path.error("a redis store has no path", "take it out");
            }
            let address = redis(&table, url.as_ref(), base);
            let grace = grace.as_ref().and_then(|f| f.duration(Duration::ZERO..=LONGEST_GRACE));
            StoreSettings::Redis { address: address?, grace: grace.unwrap_or(DEFAULT_GRACE) }
        }
    };
    if kind != 'r' {
        for (key, field) in [("url", &url), ("grace", &grace)] {
            if let Some(field) = field {
                field.error(format!("`session.store.{key}` belongs to a redis store"), "take it out");
            }
        }
    }
    table.finish();
    Some(store)
}

fn redis(table: &Section<'_>, url: Option<&Field<'_>>, base: &Path) -> Option<RedisAddress> {
    let mend =
        "url = \"redis://127.0.0.1:6379/0\", or \"env:NAME\" or \"file:PATH\" when it holds a password";
    let Some(url) = url else {
        table.report().error(table.span(), "a redis store needs a `url`", mend);
        return None;
    };
    let text = secrets::text(url, base)?;
    let mend = |problem| match problem {
        RedisAddressProblem::NotRedis => mend,
        RedisAddressProblem::Tls => "use a server on this machine or in a private network, by redis://",
    };
    let address = RedisAddress::parse(&text);
    address.map_err(|problem| url.error(format!("`session.store.url`: {problem}"), mend(problem))).ok()
}

fn sled(base: &Path, path: &str) -> StoreSettings {
    StoreSettings::Sled { path: base.join(path) }
}

/// A folder that everyone can write to lets everyone replace the sessions in it.
fn refuse_open_folder(section: &Section<'_>, path: &Path) {
    let Ok(metadata) = std::fs::metadata(path) else { return };
    if metadata.is_dir() && metadata.permissions().mode() & 0o002 != 0 {
        let shown = path.display();
        let what = format!("everyone may write to the store's folder {shown}");
        section.report().error(section.span(), what, format!("chmod 700 {shown}"));
    }
}
