//! Keys of `[[routes]]` that say where the upstreams are and how work is shared between them.

use super::proxy::{EJECTION, WHOLE_REQUEST};
use super::{
    FILE, HEADER, HOST, Kind, PATH, Required, STRING, Said, Section, Value, days, hours, key, millis, minutes,
};

const UPSTREAM: Kind = Kind::Text("address", "^((http|https|h2c)://[^/@]+/?|unix:.+)$");

pub(super) const UPSTREAMS: Section = Section {
    title: "[[routes]]: upstreams",
    about: "Where a route leads, and how work is shared between several upstreams.",
    examples: &[
        r#"[[routes]]
path = "/app"
upstream = ["http://10.0.0.1:3000", { url = "http://10.0.0.2:3000", weight = 2 }]
balance = { hash_cookie = "app_session" }
"#,
        r#"[[routes]]
upstream = [{ url = "https://app.internal", max_connections = 100 }, "unix:/run/app.sock"]
balance = { hash_header = "X-Tenant" }
health = { path = "/health", interval = "1s", timeout = "1s", healthy_after = 1, unhealthy_after = 1 }
ejection = { failures = 3, period = "1m" }
upstream_tls = { ca = "cert.pem", server_name = "wiki.test" }
request_timeout = "10m"
"#,
        r#"[[routes]]
upstream = ["https://10.0.0.1"]
upstream_tls = { ca = "cert.pem", certificate = "cert.pem", key = "cert.key" }
"#,
    ],
    keys: &[
        key(
            "routes.upstream",
            Kind::List(&Kind::Either(&[UPSTREAM, Kind::Table])),
            Said("must be given, unless the route answers itself"),
            "`http://host[:port]`, `https://host[:port]`, `h2c://host[:port]` (HTTP/2 in clear text), `unix:path`, or a table; nothing that the gateway itself listens on",
        )
        .within("1 to 128"),
        key("routes.upstream.url", UPSTREAM, Required, "the address of one"),
        key(
            "routes.upstream.weight",
            Kind::Integer(1, 1000),
            Value("1"),
            "its share of the work beside the others",
        ),
        key(
            "routes.upstream.max_connections",
            Kind::Integer(1, 1_000_000),
            Said("`proxy.max_connections`"),
            "most connections to it over all workers; if it speaks HTTP/2, most requests in flight",
        ),
        key(
            "routes.upstream.drain",
            Kind::Boolean,
            Value("false"),
            "`true`: it takes no new requests; those in flight are finished",
        )
        .within("not all of a route"),
        key(
            "routes.balance",
            Kind::Either(&[Kind::Words(&["least_requests", "round_robin", "random_two"]), Kind::Table]),
            Value(r#""least_requests""#),
            "which upstream takes a request: the one with the fewest in flight for its weight, each in its turn, or the less busy \
             of two taken at random",
        ),
        key(
            "routes.balance.hash_cookie",
            STRING,
            Said(""),
            "always the same upstream for the same value of this cookie, which must be one of the app: ours is withheld from it; without it, `least_requests`",
        )
        .within("this or `hash_header`"),
        key(
            "routes.balance.hash_header",
            HEADER,
            Said(""),
            "always the same upstream for the same value of this field; without it, `least_requests`",
        )
        .within("this or `hash_cookie`"),
        key("routes.health", Kind::Table, Said("nobody asks"), "requests that ask each upstream whether it is well"),
        key("routes.health.path", PATH, Required, "what is asked for, by GET; 2xx and 3xx are well"),
        key(
            "routes.health.interval",
            Kind::Duration(millis(100), hours(1)),
            Value(r#""5s""#),
            "from one question to the next, give or take a tenth",
        ),
        key(
            "routes.health.timeout",
            Kind::Duration(millis(100), minutes(5)),
            Value(r#""2s""#),
            "longest wait for the answer",
        ),
        key(
            "routes.health.healthy_after",
            Kind::Integer(1, 1000),
            Value("2"),
            "good answers in a row after which it takes requests again",
        ),
        key(
            "routes.health.unhealthy_after",
            Kind::Integer(1, 1000),
            Value("3"),
            "bad or missing ones after which it takes none",
        ),
        key("routes.ejection", EJECTION, Said("as in `[proxy]`"), "see `proxy.ejection`"),
        key("routes.ejection.failures", Kind::Integer(1, 1000), Value("5"), "failures in a row"),
        key("routes.ejection.period", Kind::Duration(millis(100), hours(1)), Value(r#""10s""#), "for how long"),
        key(
            "routes.upstream_tls",
            Kind::Table,
            Said("the machine's authorities"),
            "how TLS is spoken with the `https://` upstreams; its files are read again by a reload",
        ),
        key("routes.upstream_tls.ca", FILE, Said("the machine's authorities"), "the only authorities that count, in PEM"),
        key("routes.upstream_tls.certificate", FILE, Said("none"), "the chain shown to upstreams that ask for one, in PEM")
            .within("with its key"),
        key("routes.upstream_tls.key", FILE, Said("none"), "its private key in PEM, not encrypted")
            .within("with its certificate"),
        key(
            "routes.upstream_tls.server_name",
            HOST,
            Said("the host of each upstream"),
            "the name that is asked for (SNI) and that the certificate must be for",
        ),
        key(
            "routes.connect_timeout",
            Kind::Duration(millis(100), minutes(5)),
            Said("as in `[proxy]`"),
            "see `proxy.connect_timeout`",
        ),
        key(
            "routes.response_timeout",
            Kind::Duration(millis(100), days(1)),
            Said("as in `[proxy]`"),
            "see `proxy.response_timeout`",
        ),
        key(
            "routes.body_timeout",
            Kind::Duration(millis(100), days(1)),
            Said("as in `[proxy]`"),
            "see `proxy.body_timeout`",
        ),
        key("routes.request_timeout", WHOLE_REQUEST, Said("as in `[proxy]`"), "see `proxy.request_timeout`"),
        key("routes.retries", Kind::Integer(0, 5), Said("as in `[proxy]`"), "see `proxy.retries`"),
    ],
    notes: "An upstream that its health check finds unhealthy, or that is ejected, takes no requests while another one can. When none can, \
            they are tried all the same: a check may be wrong where a request would have succeeded. The one upstream left is never \
            ejected.\n\n\
            A name is looked up for each new connection, never twice at a time, and every 30 seconds besides: connections to addresses that it no longer \
            stood for in the last two answers are used no more. The machine's resolver tells no TTL, so records may change that \
            much later here than their TTL says. Several addresses of one name take turns.\n\n\
            Interim responses (`103 Early Hints`) of an upstream are not passed on.",
};
