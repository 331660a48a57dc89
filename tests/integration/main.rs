//! The gateway from the outside: started from TOML text through the real path, asked by a browser, watched by an upstream.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test stops at what it did not expect"
)]

mod access;
mod account;
mod administration;
mod anonymous;
mod audit;
mod bad_cookies;
mod bodies;
mod caching;
mod client_certificates;
mod client_claims;
mod cookie_lifetime;
mod faults;
mod forwarding;
mod hostile_answers;
mod hosts;
mod http2;
mod identity_headers;
mod identity_values;
mod kept_connection;
mod known_attacks;
mod listeners;
mod login;
mod logout;
mod messages;
mod metrics;
mod open_streams;
mod operation;
mod own_pages;
mod paths;
mod redirects;
mod redis;
mod reload;
mod rewriting;
mod routing;
mod seed_defects;
mod seed_mapping;
mod session_cap;
mod session_cookie;
mod session_life;
mod smuggling;
mod spoofing;
mod support;
mod tls;
mod traces;
mod tunnels;
mod upstreams;
mod websocket;
