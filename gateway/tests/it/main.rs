//! Machines at a real gateway, over TLS, in front of the embedded Kubernetes API.

#![allow(clippy::unwrap_used, reason = "tests")]

mod activities;
mod enrolment;
mod reports;
mod world;
