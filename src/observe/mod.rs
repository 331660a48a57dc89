//! Layer 1: what the gateway says of itself. Imports `base` only.

pub mod access_log;
pub mod audit;
pub mod diagnostics;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod log_target;
mod lost_lines;
pub mod metrics;

pub use self::lost_lines::{LogNumbers, LostLines};
