//! `[session.cookie]`: the nine cookie options, and which of them exclude each other (RFC 6265bis section 5.7).

use std::time::Duration;

use super::address::is_host;
use super::reader::{Field, Section};
use super::server::{Server, path_prefix};
use crate::base::clock::Timestamp;
use crate::session::{CookieSettings, MaxAge, SameSite, SecureMode};

/// `[session.cookie]`.
pub(super) fn read(mut section: Section<'_>, server: &Server) -> CookieSettings {
    let fields = Fields {
        name: section.take("name"),
        secure: section.take("secure"),
        same_site: section.take("same_site"),
        path: section.take("path"),
        domain: section.take("domain"),
    };
    let sites = [("strict", SameSite::Strict), ("lax", SameSite::Lax), ("none", SameSite::None)];
    let defaults = CookieSettings::default();
    let cookie = CookieSettings {
        name: fields.name.as_ref().and_then(name),
        http_only: http_only(&mut section).unwrap_or(defaults.http_only),
        secure: fields.secure.as_ref().and_then(secure).unwrap_or(defaults.secure),
        same_site: fields.same_site.as_ref().and_then(|f| f.word(&sites)).unwrap_or(defaults.same_site),
        max_age: section.take("max_age").and_then(|f| max_age(&f)).unwrap_or(defaults.max_age),
        expires: section.take("expires").and_then(|f| expires(&f)),
        path: fields.path.as_ref().and_then(path).unwrap_or(defaults.path),
        domain: fields.domain.as_ref().and_then(domain),
    };
    if let Some(field) = section.take("signed")
        && field.boolean() == Some(false)
    {
        field.error("`session.cookie.signed` is false: session cookies are always signed", "take it out");
    }
    fields.judge(&cookie, server);
    section.finish();
    cookie
}

/// The fields that exclude each other, kept for their places.
struct Fields<'a> {
    name: Option<Field<'a>>,
    secure: Option<Field<'a>>,
    same_site: Option<Field<'a>>,
    path: Option<Field<'a>>,
    domain: Option<Field<'a>>,
}

impl Fields<'_> {
    fn judge(&self, cookie: &CookieSettings, server: &Server) {
        let always = cookie.secure == SecureMode::Always;
        if let Some(field) = self.same_site.as_ref().filter(|_| cookie.same_site == SameSite::None && !always)
        {
            let what = "browsers refuse `same_site` \"none\" without Secure";
            field.error(what, "write secure = true, or same_site = \"lax\"");
        }
        // A request is secure when its connection is, or when a trusted proxy says so.
        let secure = server.settings.listen.iter().any(|l| l.tls) || !server.trusted_proxies.is_empty();
        if let Some(field) = self.secure.as_ref().filter(|_| always && !secure) {
            let what =
                "`secure` is true, but every listener is plain: the browser would never send the cookie back";
            field.error(what, "name your TLS proxy in server.trusted_proxies, or write secure = \"auto\"");
        }
        match (&self.name, &cookie.name) {
            (Some(field), Some(name)) => self.judge_prefix(field, name, always),
            _ if cookie.secure != SecureMode::Never => self.judge_default_name(cookie),
            _ => {}
        }
        if let Some(field) = &self.path {
            let covers = cookie.path == "/"
                || server
                    .prefix
                    .strip_prefix(&cookie.path)
                    .is_some_and(|r| r.is_empty() || r.starts_with('/'));
            if !covers {
                let what =
                    format!("the pages below {} would never see a cookie with this `path`", server.prefix);
                field.error(what, "write path = \"/\"");
            }
        }
    }

    /// Browsers compare the prefixes without regard to case.
    fn judge_prefix(&self, field: &Field<'_>, name: &str, always: bool) {
        let lower = name.to_ascii_lowercase();
        let host = lower.starts_with("__host-");
        if !host && !lower.starts_with("__secure-") {
            return;
        }
        if !always {
            let what = format!("browsers refuse the `name` {name:?} without Secure");
            field.error(what, "write secure = true, or a name without that prefix");
        }
        if let Some(domain) = self.domain.as_ref().filter(|_| host) {
            domain.error("a __Host- cookie has no `domain`", "take domain out, or use the prefix __Secure-");
        }
        if let Some(path) = self.path.as_ref().filter(|p| host && p.as_text() != Some("/")) {
            path.error("a __Host- cookie has the `path` /", "take path out, or use the prefix __Secure-");
        }
    }

    fn judge_default_name(&self, cookie: &CookieSettings) {
        let mend = "give the cookie a name of its own, for example name = \"fluidgate\"";
        if let Some(domain) = &self.domain {
            domain.error("the default name __Host-fluidgate excludes a `domain`", mend);
        }
        if let Some(path) = self.path.as_ref().filter(|_| cookie.path != "/") {
            path.error("the default name __Host-fluidgate excludes another `path` than /", mend);
        }
    }
}

fn name(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    // RFC 9110 section 5.6.2: token.
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !text.is_empty() && text.len() <= 64 && text.bytes().all(token) {
        return Some(text.to_owned());
    }
    field.error(format!("{text:?} is not a cookie name"), "1 to 64 letters, digits, - or _");
    None
}

fn http_only(section: &mut Section<'_>) -> Option<bool> {
    let field = section.take("http_only")?;
    let http_only = field.boolean();
    if http_only == Some(false) {
        field.warn("scripts of the apps can read the session cookie", "write http_only = true");
    }
    http_only
}

fn secure(field: &Field<'_>) -> Option<SecureMode> {
    match field.as_boolean() {
        Some(true) => Some(SecureMode::Always),
        Some(false) => Some(SecureMode::Never),
        None => field.word(&[("auto", SecureMode::Auto)]),
    }
}

fn max_age(field: &Field<'_>) -> Option<MaxAge> {
    if field.as_text() == Some("session") {
        return Some(MaxAge::BrowserSession);
    }
    let range = Duration::from_secs(1)..=Duration::from_secs(400 * 86400);
    field.duration(range).map(MaxAge::Ceiling)
}

fn expires(field: &Field<'_>) -> Option<Timestamp> {
    let text = field.expect("a date as a string, such as \"2030-01-01T00:00:00Z\"", field.as_text())?;
    let moment = text.parse::<jiff::Timestamp>().ok().and_then(|t| u64::try_from(t.as_millisecond()).ok());
    if moment.is_none() {
        field.error(format!("{text:?} is not a date"), "write it as \"2030-01-01T00:00:00Z\" (RFC 3339)");
    }
    moment.map(Timestamp::from_millis)
}

fn path(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    path_prefix(text)
        .map_err(|what| field.error(format!("{text:?} is not a cookie path: {what}"), "for example \"/\""))
        .ok()
}

fn domain(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if is_host(text) && text.contains('.') && text.parse::<std::net::IpAddr>().is_err() {
        return Some(text.to_ascii_lowercase());
    }
    field.error(
        format!("{text:?} is not a cookie domain"),
        "a name with a dot in it, such as \"example.com\"",
    );
    None
}
