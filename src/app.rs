//! Layer 5: builds everything from a `Config`, runs it, shuts it down in order.
