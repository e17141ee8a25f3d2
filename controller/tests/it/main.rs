//! The controller against the embedded API: what it writes, and when it writes nothing.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as its tests do")]

mod examples;
mod fleet;
mod lease;
mod sources;
mod world;
