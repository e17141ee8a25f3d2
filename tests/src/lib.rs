//! The harness for tests against real Debian machines.
//!
//! A [`Lab`] is the world of one test: a network of its own, a package [`Archive`] of its own, and
//! [`Machine`]s that boot Debian with systemd-nspawn from one shared [`Base`]. [`Muster`] runs the product as a
//! user would: the `muster` binary, `kubectl`, and the agent installed by the command that `muster enroll`
//! prints. The harness knows the product only by those and by the resources' documented fields.
//!
//! Everything here panics where something fails, with the command and what it said: a harness that cannot go on
//! is a failed test, and the story in the test stays free of error handling. What was started or mounted is taken
//! down when its owner is dropped, also by a panic; what a killed suite left behind is swept by the next one.
//!
//! Deliberately not here: the cases themselves (`tests/machines/`), and any code of the product.

mod activity;
mod archive;
mod base;
mod cgroup;
mod command;
mod dpkg;
mod files;
mod kubectl;
mod lab;
mod machine;
mod muster;
mod network;
mod nspawn;
mod package;
mod paths;
mod wait;

pub use activity::{Activity, Moved, Span, Step, most_at_once};
pub use archive::{Archive, STABLE, STABLE_SECURITY};
pub use base::Base;
pub use command::Output;
pub use dpkg::DpkgAction;
pub use files::Desired;
pub use kubectl::Kubectl;
pub use lab::Lab;
pub use machine::{Machine, MachineOptions};
pub use muster::{Enrolment, Muster, MusterOptions};
pub use package::Package;
pub use wait::{until, until_or_say};
