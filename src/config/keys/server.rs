//! Keys of `[server]`.

use super::{Kind, PATH, Required, Said, Section, Value, days, hours, key, seconds};

const SPAN: Kind = Kind::Duration(seconds(1), hours(1));
const LISTEN: Kind = Kind::Text("address", "^((unix|systemd):.|\\[?[0-9a-fA-F.:%]+\\]?:[0-9]+$)");
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
            Kind::List(&Kind::Either(&[LISTEN, Kind::Table])),
            Value(r#"["127.0.0.1:8080"]"#),
            "`\"address:port\"`, `\"[v6]:port\"`, `\"unix:path\"` or `\"systemd:name\"`, or a table with one",
        )
        .within("one or more"),
        key("server.listen.address", LISTEN, Required, "the same address, in a table"),
        key("server.listen.tls", Kind::Boolean, Value("false"), "TLS, by the certificates of `[tls]`"),
        key(
            "server.listen.proxy_protocol",
            Kind::Boolean,
            Value("false"),
            "connections begin with a PROXY header, from `trusted_proxies` only",
        ),
        key(
            "server.listen.h2c",
            Kind::Boolean,
            Said("`false`"),
            "HTTP/2 without TLS, from clients that begin with it",
        ),
        key(
            "server.listen.redirect_to_https",
            Kind::Boolean,
            Said("`false`"),
            "every request is sent on to https (308)",
        ),
        key(
            "server.listen.https_port",
            Kind::Integer(1, 65535),
            Value("443"),
            "the port that `redirect_to_https` names",
        ),
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
            SPAN,
            Value(r#""30s""#),
            "how long a shutdown waits for requests in flight, WebSockets included",
        ),
        key(
            "server.handshake_timeout",
            SPAN,
            Value(r#""10s""#),
            "time for the PROXY header and the TLS handshake together; with `h2c`, for the first bytes, which tell the protocol",
        ),
        key("server.first_byte_timeout", SPAN, Value(r#""30s""#), "time for the first byte of a connection"),
        key("server.head_timeout", SPAN, Value(r#""60s""#), "time for a whole request head"),
        key(
            "server.body_timeout",
            SPAN,
            Value(r#""60s""#),
            "longest pause while a body arrives or a response is taken; of one stream with HTTP/2",
        ),
        key(
            "server.idle_timeout",
            SPAN,
            Value(r#""60s""#),
            "how long a connection may rest between requests",
        ),
        key(
            "server.tunnel_timeout",
            Kind::Either(&[Kind::Duration(seconds(1), days(30)), Kind::Only(false)]),
            Value("false"),
            "how long a WebSocket may rest",
        ),
        key(
            "server.max_connections",
            Kind::Integer(1, 10_000_000),
            Value("10000"),
            "client connections in all; more are closed at once",
        ),
        key(
            "server.max_connections_per_source",
            Kind::Integer(1, 10_000_000),
            Value("1000"),
            "client connections of one address (IPv6: of its /64), and requests of it over HTTP/2 at a time beside the first of each connection (or `server.http2.max_concurrent_streams`, if that is more); `trusted_proxies` apart",
        ),
        key(
            "server.max_head",
            Kind::Integer(8192, 1_048_576),
            Value("65536"),
            "largest request head in bytes; above it: 431",
        ),
        key(
            "server.max_uri",
            Kind::Integer(256, 1_048_576),
            Value("16384"),
            "longest request target in bytes; above it: 414",
        ),
        key(
            "server.max_headers",
            Kind::Integer(10, 1000),
            Value("100"),
            "most fields of a request head; above it: 431. Above 100, each request costs an allocation more",
        ),
        key("server.http2", Kind::Table, Said(""), "limits of HTTP/2 connections"),
        key(
            "server.http2.max_concurrent_streams",
            Kind::Integer(1, 10_000),
            Value("100"),
            "requests of one connection at a time",
        ),
        key(
            "server.http2.max_header_list",
            Kind::Integer(8192, 1_048_576),
            Said("`server.max_head`"),
            "largest header list of a request in bytes, as RFC 9113 counts them; above it: 431",
        ),
        key(
            "server.http2.max_pending_resets",
            Kind::Integer(1, 10_000),
            Value("20"),
            "streams that a client may reset before they were looked at, at a time; above it the connection ends",
        ),
        key(
            "server.http2.max_stream_errors",
            Kind::Integer(1, 100_000),
            Value("128"),
            "streams that may end by the client's errors; above it the connection ends",
        ),
        key(
            "server.http2.ping_interval",
            SPAN,
            Value(r#""30s""#),
            "how often a client is asked whether it is still there",
        ),
        key("server.http2.ping_timeout", SPAN, Value(r#""60s""#), "how long it has to answer"),
    ],
    notes: "`systemd:NAME` takes over a socket that systemd opened, by its `FileDescriptorName=`, and `systemd:0` the first one. `[::]` takes\n\
            IPv4 clients as well, unless the same port has an IPv4 listener of its own. A unix socket is for its owner alone (mode 0600);\n\
            whoever connects there is taken for a proxy in front.\n\
            \n\
            With `proxy_protocol` a connection begins with a PROXY header (version 1 or 2), and the address in it is the client's. It must come\n\
            from one of `trusted_proxies`; any other connection is closed. With `redirect_to_https` every request is answered 308 to the same\n\
            address by https, if a route serves its host.\n\
            \n\
            The time limits are looked at once a second. A connection or a stream that is beyond one is ended, whatever else goes on.\n",
};
