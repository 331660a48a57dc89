//! fluidgate stands in front of web apps that know nothing of logins: it works out whose session a request belongs to,
//! decides, strips every identity header the client sent, injects its own, and forwards.
//!
//! Layers; arrows point down only, siblings do not import each other, and `tests/layering.rs` enforces it:
//!
//! | layer | modules |
//! | --- | --- |
//! | 6 | [`cli`] |
//! | 5 | [`app`] |
//! | 4 | [`config`] |
//! | 3 | [`gateway`] |
//! | 2 | [`session`] [`login`] [`policy`] [`proxy`] [`pages`] [`server`] |
//! | 1 | [`web`] [`observe`] |
//! | 0 | [`base`] |

pub mod app;
pub mod base;
pub mod cli;
pub mod config;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod gateway;
pub mod login;
pub mod observe;
pub mod pages;
pub mod policy;
pub mod proxy;
pub mod server;
pub mod session;
pub mod web;
