//! Keys of the smaller sections: management, logs, connections to upstreams.

use super::{ADDRESS, FILE, Kind, Said, Section, Value, key};

pub(super) const MANAGEMENT: Section = Section {
    title: "[management]",
    about: "What is for the operator alone.",
    examples: &[r#"[management]
listen = "127.0.0.1:9091"
admin_socket = "/run/fluidgate/admin.sock"
"#],
    keys: &[
        key(
            "management.listen",
            Kind::Either(&[ADDRESS, Kind::Only(false)]),
            Value(r#""127.0.0.1:9091""#),
            "`/healthz`, `/readyz` and [`/metrics`](metrics.md), without a login",
        )
        .within("not a public one"),
        key(
            "management.admin_socket",
            Kind::Either(&[FILE, Kind::Only(false)]),
            Said("`admin.sock` in the folder of the session store; none with another store"),
            "the socket of `fluidgate sessions`; for root and the gateway's own user only",
        )
        .within("1 to 107 bytes"),
    ],
    notes: "",
};

pub(super) const ACCESS_LOG: Section = Section {
    title: "[access_log]",
    about: "One line per request, without cookies, credentials and query strings. A worker collects its lines and hands them over when\n\
there are 400 of them (fewer where they are long), after 200 ms, and when the gateway ends. What the log's thread and the target cannot keep\n\
up with waits: 32 hand-overs (5 MiB when they are full), and one batch with each worker. Beyond that lines are lost, which\n\
[metrics](metrics.md) count and a warning says, and requests go on.",
    examples: &[r#"[access_log]
target = "access.log"
format = "text"
"#],
    keys: &[
        key(
            "access_log.target",
            Kind::Either(&[Kind::Words(&["stdout", "off"]), FILE]),
            Value(r#""stdout""#),
            "where lines go",
        ),
        key("access_log.format", Kind::Words(&["json", "text"]), Value(r#""json""#), "the form of a line"),
    ],
    notes: "",
};

pub(super) const AUDIT_LOG: Section = Section {
    title: "[audit_log]",
    about: "One line for what becomes of each session.",
    examples: &["[audit_log]\ntarget = \"audit.log\"\n"],
    keys: &[key(
        "audit_log.target",
        Kind::Either(&[Kind::Words(&["stdout", "off"]), FILE]),
        Value(r#""off""#),
        "where lines about sessions go, one JSON object each: [sessions.md](sessions.md#events)",
    )],
    notes: "",
};
