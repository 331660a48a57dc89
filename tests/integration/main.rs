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
mod forwarding;
mod identity_headers;
mod login;
mod logout;
mod messages;
mod operation;
mod own_pages;
mod redis;
mod routing;
mod session_cookie;
mod session_life;
mod support;
