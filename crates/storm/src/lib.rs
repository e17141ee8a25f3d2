//! Storms: a deterministic world around the real `fleet` and the real `journal`, in which everything goes wrong.
//!
//! One seed, one run, byte for byte. The API, gateways, machines, archives and people are models that live in one queue
//! of events; what is under test is the product's own: [`muster_fleet::step`] decides for one or two controllers, and a
//! [`muster_journal::Journal`] carries out on each machine. First everything misbehaves ([`Fault`]), then the weather
//! calms down and the fleet is to arrive. What happened is an event log for the checker, which shares no code with the
//! planner. A [`Plant`] is a bug put in front of fleet on purpose: the storm must find it.
//!
//! Deliberately not here: real clocks, threads, files, Kubernetes.

#![allow(
    clippy::explicit_auto_deref,
    reason = "its suggestion does not compile where the element is itself a reference"
)]

mod api;
mod archive;
mod controller;
mod count;
mod dice;
mod effect;
mod fault;
mod gateway;
mod kernels;
mod log;
mod machine;
mod moments;
mod options;
mod pace;
mod people;
mod plant;
mod queue;
mod recorded;
mod run;
mod say;
mod simulate;
mod storm;
mod tend;
mod trouble;
mod world;

pub use count::{Counts, RULES};
pub use fault::{Fault, Faults};
pub use options::Options;
pub use plant::Plant;
pub use run::{LAG_SECONDS, Outcome, run};
pub use simulate::{Simulated, simulate};
