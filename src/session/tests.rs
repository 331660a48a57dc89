//! The session layer as the gateway uses it: cookies in, cookies out, a clock that is moved by hand.

mod bad_cookies;
mod cap;
mod every_store;
mod exchange;
mod hot_path;
mod kill;
mod redis;
mod rig;
mod size;
mod start;
mod sweep;
mod trail;
mod verbs;
