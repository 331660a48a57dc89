//! Keys of `[[routes]]` that say where the upstreams are and how work is shared between them.

use super::{HEADER, Kind, Required, STRING, Said, Section, Value, key};

const UPSTREAM: Kind = Kind::Text("address", "^http://[^/@]+/?$");

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
upstream = ["http://10.0.0.1:3000"]
balance = { hash_header = "X-Tenant" }
"#,
    ],
    keys: &[
        key(
            "routes.upstream",
            Kind::List(&Kind::Either(&[UPSTREAM, Kind::Table])),
            Required,
            "`http://host[:port]`, or a table",
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
            "always the same upstream for the same value of this cookie; without it, `least_requests`",
        )
        .within("this or `hash_header`"),
        key(
            "routes.balance.hash_header",
            HEADER,
            Said(""),
            "always the same upstream for the same value of this field; without it, `least_requests`",
        )
        .within("this or `hash_cookie`"),
    ],
    notes: "",
};
