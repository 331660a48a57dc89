//! The gateway from the outside: started from TOML text through the real path, asked by a browser, watched by an upstream.

mod access;
mod forwarding;
mod identity_headers;
mod login;
mod logout;
mod messages;
mod operation;
mod own_pages;
mod routing;
mod session_cookie;
mod session_life;
mod support;
