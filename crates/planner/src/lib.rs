//! The decision: which machines change now, how, and why not the others (design §6).
//!
//! [`plan`] is a function of the snapshot alone: the instant is in it, and nothing is read or written. One question per
//! file: who is selected (`select`), what is asked (`merge`), which upgrades (`upgrade`, `phasing`), what it comes to
//! (`target`, `kernel`, `reboot`), what was tried (`attempts`), which changes make one transaction (`evaluate`,
//! `transaction`), when (`window`, `overrides`), how many at a time (`budget`), what one activity carries (`steps`), how one
//! machine stands (`machine`, `draft`), what is no longer wanted (`cancel`), how items spread (`rollout`), and what the statuses say
//! (`summary`). [`forecast`] runs it forward.
//!
//! [`Planner`] makes the same plan again and again, at the cost of what changed in between: it keeps what each machine counts
//! for, and the sums of that (`known`), and what twins come to (`twins`); who may start is decided by classes of machines
//! that count alike (`admit`). There is one way to a plan: from scratch is a planner's first. From what it keeps it also tells whom
//! a machine waits for, and which rollouts wait for each other (`known/awaited`).

mod admit;
mod along;
mod attempts;
mod baseline;
mod boots;
mod budget;
mod cancel;
mod case;
mod draft;
mod evaluate;
mod forecast;
mod kernel;
mod known;
mod machine;
mod memo;
mod merge;
mod near;
mod order;
mod overrides;
mod phasing;
mod planner;
mod presence;
mod reboot;
mod rollout;
mod select;
mod steps;
mod summary;
mod target;
mod timer;
mod transaction;
mod twins;
mod upgrade;
mod window;

pub use forecast::{Course, Ending, Fate, Fates, Forecast, Freeze, HORIZON, Opening, forecast};

use muster_model::{Plan, Snapshot};

pub use known::{Awaited, Circle};
pub use planner::{Planner, Touched};

/// The decision for all machines of a namespace at the snapshot's instant: total, and the same for the same snapshot.
///
/// What it starts is to be counted in the next snapshot, as activities; then planning again starts nothing twice.
#[must_use]
pub fn plan(snapshot: &Snapshot) -> Plan {
    let mut planner = Planner::default();
    planner.plan(snapshot, &Touched::default());
    planner.into_plan()
}
