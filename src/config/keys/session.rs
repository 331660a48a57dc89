//! Keys of `[session]` and `[session.cookie]`.

use super::{
    FILE, Kind, PATH, REFERENCE, Required, STRING, Said, Section, Value, days, key, minutes, seconds,
};

const REDIS: Kind = Kind::Text("address", "^(redis://|redis\\+unix://|env:|file:)");
const DATE: Kind = Kind::Text("date (RFC 3339)", "^[0-9]{4}-");
const COOKIE_NAME: Kind = Kind::Text("string", "^[^ ;=]{1,64}$");

pub(super) const SESSION: Section = Section {
    title: "[session]",
    about: "How long a login lasts and where it is kept. [sessions.md](sessions.md) says how.",
    examples: &[
        r#"[session]
secrets = ["file:secret.key"]
duration = "12h"
idle_timeout = "30m"
store = { type = "sled", path = "state/sessions" }
max_per_user = 5
at_limit = "end_oldest"
"#,
        r#"[session]
secrets = ["file:secret.key"]
store = { type = "redis", url = "redis://127.0.0.1:6379/0", grace = "30s" }
"#,
    ],
    keys: &[
        key(
            "session.secrets",
            Kind::List(&REFERENCE),
            Required,
            "`\"file:path\"` or `\"env:NAME\"`; the first signs, all verify",
        )
        .within("one or more"),
        key(
            "session.duration",
            Kind::Duration(minutes(1), days(400)),
            Value(r#""24h""#),
            "absolute limit of a session's life",
        ),
        key(
            "session.idle_timeout",
            Kind::Duration(minutes(1), days(400)),
            Value(r#""2h""#),
            "longest pause between two requests; when absent, at most the duration",
        )
        .within("not above the duration"),
        key("session.store", Kind::Table, Said("sled"), "where sessions are kept"),
        key(
            "session.store.type",
            Kind::Words(&["sled", "redis", "memory"]),
            Required,
            "memory: sessions end with the process; redis: see [redis.md](redis.md)",
        ),
        key(
            "session.store.path",
            FILE,
            Value(r#""state/sessions""#),
            "the folder of a sled store, for it alone",
        ),
        key(
            "session.store.url",
            REDIS,
            Said("none"),
            "of a redis store, which needs it. It may hold a password and is never printed",
        )
        .within("`redis://…`, `redis+unix://…`, `\"env:NAME\"`, `\"file:path\"`"),
        key(
            "session.store.grace",
            Kind::Duration(seconds(0), minutes(5)),
            Value(r#""30s""#),
            "of a redis store: how long sessions that were verified go on when the server is lost",
        ),
        key(
            "session.max_per_user",
            Kind::Integer(1, 10_000),
            Said("no cap"),
            "most live sessions of one user",
        ),
        key(
            "session.at_limit",
            Kind::Words(&["end_oldest", "refuse"]),
            Value(r#""end_oldest""#),
            "what a login above the cap does: end the oldest, or be refused with 403",
        ),
        key(
            "session.max_bad_cookies",
            Kind::Integer(0, 1_000_000),
            Value("100"),
            "bad session cookies per minute and source (IPv6: its /64); above it they are answered 429. 0: no limit",
        ),
    ],
    notes: "\
A secret file holds what `fluidgate secret` prints: 32 random bytes in base64url. Other content is taken as it is if it has at
least 32 bytes. A file that others may read, a sample, or a secret written into the configuration itself is refused.
",
};

pub(super) const COOKIE: Section = Section {
    title: "[session.cookie]",
    about: "The cookie that carries a session. The defaults are the safe choice for one host.",
    examples: &[r#"[session.cookie]
name = "fluidgate"
domain = "example.com"
max_age = "session"
"#],
    keys: &[
        key(
            "session.cookie.name",
            COOKIE_NAME,
            Said("`__Host-fluidgate` when Secure, else `fluidgate`"),
            "what browsers call it",
        )
        .within("a token of 1 to 64 characters"),
        key(
            "session.cookie.http_only",
            Kind::Boolean,
            Value("true"),
            "whether it is kept from scripts; `false` is warned of",
        ),
        key(
            "session.cookie.secure",
            Kind::Either(&[Kind::Boolean, Kind::Words(&["auto"])]),
            Value(r#""auto""#),
            "`\"auto\"` follows the scheme of the request",
        ),
        key(
            "session.cookie.same_site",
            Kind::Words(&["strict", "lax", "none"]),
            Value(r#""lax""#),
            "whether requests that other sites cause carry it",
        ),
        key(
            "session.cookie.max_age",
            Kind::Either(&[Kind::Duration(seconds(1), days(400)), Kind::Words(&["session"])]),
            Said("what remains of the session"),
            "a ceiling; `\"session\"` ends with the browser",
        ),
        key("session.cookie.expires", DATE, Said("none"), "a fixed date beside Max-Age"),
        key("session.cookie.path", PATH, Value(r#""/""#), "where browsers send it")
            .within("must cover the prefix"),
        key("session.cookie.domain", STRING, Said("none"), "shares the cookie between hosts")
            .within("a name with a dot"),
        key(
            "session.cookie.signed",
            Kind::Only(true),
            Value("true"),
            "session cookies are always signed",
        ),
    ],
    notes: "\
Refused, because a browser would refuse or never return the cookie: `same_site = \"none\"` without `secure = true`; a name that
starts with `__Host-` or `__Secure-` without `secure = true`; `__Host-` (also by default, unless `secure = false`) with a
domain or another path; `secure = true` when every listener is plain and no proxy is trusted.
",
};
