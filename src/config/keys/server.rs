//! Keys of `[server]`.

use super::{ADDRESS, Kind, PATH, Required, Said, Section, Value, hours, key, seconds};

const NETWORK: Kind = Kind::Text("network", "^[0-9a-fA-F.:]+(/[0-9]+)?$");

pub(super) const SERVER: Section = Section {
    title: "[server]",
    about: "Where the gateway listens, whom it believes, and the limits of a connection.",
    examples: &[r#"[server]
listen = ["0.0.0.0:8080", "unix:/run/fluidgate.sock", { address = "0.0.0.0:443", tls = true }]
trusted_proxies = ["10.0.0.5/32"]
[tls]
certificates = [{ certificate = "cert.pem", key = "cert.key" }]
"#],
    keys: &[
        key(
            "server.listen",
            Kind::List(&Kind::Either(&[ADDRESS, Kind::Table])),
            Value(r#"["127.0.0.1:8080"]"#),
            "`\"address:port\"`, `\"[v6]:port\"` or `\"unix:path\"`, or a table with one",
        )
        .within("one or more"),
        key("server.listen.address", ADDRESS, Required, "the same address, in a table"),
        key("server.listen.tls", Kind::Boolean, Value("false"), "TLS, by the certificates of `[tls]`"),
        key(
            "server.trusted_proxies",
            Kind::List(&NETWORK),
            Value("[]"),
            "whose `X-Forwarded-*` and `Forwarded` count",
        ),
        key("server.prefix", PATH, Value(r#""/_auth""#), "the gateway's own pages live below it")
            .within("not `/`"),
        key("server.workers", Kind::Integer(1, 1024), Said("one per core"), "worker threads"),
        key(
            "server.grace_period",
            Kind::Duration(seconds(1), hours(1)),
            Value(r#""30s""#),
            "how long a shutdown waits for requests in flight",
        ),
        key(
            "server.head_timeout",
            Kind::Duration(seconds(1), hours(1)),
            Value(r#""60s""#),
            "time for a whole request head; also the idle time of a connection",
        ),
        key(
            "server.body_timeout",
            Kind::Duration(seconds(1), hours(1)),
            Value(r#""60s""#),
            "longest pause while a body arrives or a response is taken",
        ),
        key(
            "server.max_head",
            Kind::Integer(8192, 1_048_576),
            Value("65536"),
            "largest request head in bytes",
        ),
    ],
    notes: "",
};
