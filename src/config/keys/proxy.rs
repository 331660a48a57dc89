//! Keys of `[proxy]`.

use super::{Kind, Said, Section, Value, days, hours, key, millis, minutes};

pub(super) const WHOLE_REQUEST: Kind =
    Kind::Either(&[Kind::Duration(millis(100), days(1)), Kind::Only(false)]);
pub(super) const EJECTION: Kind = Kind::Either(&[Kind::Only(false), Kind::Table]);

pub(super) const PROXY: Section = Section {
    title: "[proxy]",
    about: "What holds for the upstreams of every route unless it says otherwise.",
    examples: &[r#"[proxy]
connect_timeout = "2s"
response_timeout = "5m"
request_timeout = "30m"
ejection = { failures = 3, period = "30s" }
"#],
    keys: &[
        key(
            "proxy.connect_timeout",
            Kind::Duration(millis(100), minutes(5)),
            Value(r#""5s""#),
            "time to connect to an upstream, TLS included",
        ),
        key(
            "proxy.response_timeout",
            Kind::Duration(millis(100), days(1)),
            Value(r#""60s""#),
            "from the request sent to the first byte of the response",
        ),
        key(
            "proxy.body_timeout",
            Kind::Duration(millis(100), days(1)),
            Value(r#""10m""#),
            "longest pause within a response body, whether the upstream sends nothing or the client takes nothing",
        ),
        key(
            "proxy.request_timeout",
            WHOLE_REQUEST,
            Value("false"),
            "longest time from a request's head to the end of its response; tunnels are not bound by it",
        ),
        key(
            "proxy.retries",
            Kind::Integer(0, 5),
            Value("1"),
            "on how many other upstreams a request may be tried after the first: one that was never sent, or a GET, HEAD, OPTIONS \
             or TRACE without a body whose connection broke before a response. Retries are at most a fifth of a route's requests, \
             or three a second",
        ),
        key(
            "proxy.ejection",
            EJECTION,
            Said(""),
            "when one of several upstreams is left alone for a while because requests fail there; `false`: never",
        ),
        key(
            "proxy.ejection.failures",
            Kind::Integer(1, 1000),
            Value("5"),
            "failures in a row: no connection, no response, or none in time",
        ),
        key(
            "proxy.ejection.period",
            Kind::Duration(millis(100), hours(1)),
            Value(r#""10s""#),
            "for how long",
        ),
        key(
            "proxy.max_connections",
            Kind::Integer(1, 1_000_000),
            Said("any number"),
            "most connections to one upstream over all workers; of one that speaks HTTP/2, most requests in flight",
        ),
        key(
            "proxy.queue",
            Kind::Integer(0, 1_000_000),
            Value("256"),
            "requests that may wait for a connection to one upstream that has `max_connections`; one more gets 503",
        ),
        key(
            "proxy.queue_timeout",
            Kind::Duration(millis(100), hours(1)),
            Value(r#""5s""#),
            "for how long; then they get 503",
        ),
        key(
            "proxy.max_idle",
            Kind::Integer(0, 65536),
            Value("64"),
            "idle connections kept per worker and upstream",
        ),
        key(
            "proxy.idle_timeout",
            Kind::Duration(millis(100), hours(1)),
            Value(r#""30s""#),
            "how long an idle connection is kept",
        ),
        key(
            "proxy.max_lifetime",
            Kind::Duration(millis(100), days(7)),
            Value(r#""1h""#),
            "how long a connection is used at all",
        ),
    ],
    notes: "",
};
