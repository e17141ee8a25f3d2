//! What servers and users see of the resource types: definitions, rules, conversions.
#![allow(clippy::unwrap_used, reason = "tests")]

mod conversions;
mod definitions;
mod rules;
mod sizes;
