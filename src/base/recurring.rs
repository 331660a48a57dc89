//! What is done again and again for as long as the process lives: a panic in one turn ends that turn, not those after it. A sweep that
//! were gone for good would cut no stalled client and end no stream of a session that is over.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Takes one turn. A panic in it is said by the panic hook.
pub fn one_turn(turn: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(turn));
}
