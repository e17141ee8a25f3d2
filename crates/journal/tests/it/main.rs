//! Stories of one machine's activity, and the property that no death makes it do a step twice.

#![allow(clippy::unwrap_used, reason = "a test fails where its fixture is wrong")]
mod again;
mod crash;
mod machine;
mod stories;
