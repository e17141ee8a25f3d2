//! Tests on real Debian machines. See tests/README.md for how to run them and what they need.
//!
//! What a test says about Muster it reads through kubectl's JSON, and what it says about a machine it asks that
//! machine's own dpkg and kernel: never a log of ours.

mod agent;
mod baselines;
mod enrolment;
mod fleet;
mod git;
mod guards;
mod harness;
mod kubectl;
mod reboot;
mod rollout;
