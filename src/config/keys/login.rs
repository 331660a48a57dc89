//! Keys of `[login]`.

use super::{FILE, Kind, ORIGIN, Required, Said, Section, Value, days, key, seconds};

pub(super) const LOGIN: Section = Section {
    title: "[login]",
    about: "How people prove who they are, and how often they may try.",
    examples: &[r#"[login.password]
users = "users.toml"

[login.throttle]
per_account = 5
"#],
    keys: &[
        key(
            "login.return_origins",
            Kind::List(&ORIGIN),
            Value("[]"),
            "other origins that `return_to` may lead to",
        ),
        key("login.clear_site_data", Kind::Boolean, Value("true"), "whether logout sends `Clear-Site-Data`"),
        key("login.password", Kind::Table, Required, "password login"),
        key("login.password.users", FILE, Required, "the user file; refused when others may change it"),
        key("login.password.hashing", Kind::Table, Said(""), "Argon2id"),
        key(
            "login.password.hashing.memory_kib",
            Kind::Integer(1024, 4_194_304),
            Value("19456"),
            "memory of one run",
        ),
        key("login.password.hashing.iterations", Kind::Integer(1, 64), Value("2"), "passes"),
        key("login.password.hashing.threads", Kind::Integer(1, 64), Value("1"), "runs at a time"),
        key(
            "login.password.hashing.queue",
            Kind::Integer(1, 65536),
            Value("64"),
            "logins that may wait for a thread",
        ),
        key("login.throttle", Kind::Table, Said(""), "limits on attempts"),
        key(
            "login.throttle.per_account",
            Kind::Integer(1, 1_000_000),
            Value("10"),
            "failures of one account in the window",
        ),
        key(
            "login.throttle.per_source",
            Kind::Integer(1, 1_000_000),
            Value("30"),
            "failures of one address (IPv6: its /64) in the window",
        ),
        key("login.throttle.window", Kind::Duration(seconds(1), days(1)), Value(r#""5m""#), "the window"),
    ],
    notes: "",
};
