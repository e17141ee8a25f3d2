//! What is known of the fleet after some events: facts with when they became so, and no judgement.

mod activity;
mod apply;
mod kept;
mod machine;

use std::collections::BTreeMap;

use jiff::SignedDuration;
use muster_model::{ActivityName, BaselineRef, Instant, MachineName, ObjectName};
use smol_str::SmolStr;

pub(crate) use activity::{ActivityState, FailedUnits};
pub(crate) use kept::Kept;
pub(crate) use machine::{MachineState, Presence};

use crate::event::{Approval, Baseline, Budget, Override, Policy, Released, Source, Window};

/// Everything that the log told so far.
#[derive(Debug, Default)]
pub(crate) struct World {
    /// How much older than the log what somebody decides from may be.
    pub(crate) lag: SignedDuration,
    /// Someone leads, or led last, in this epoch; 0: nobody yet.
    pub(crate) epoch: u64,
    /// Since when.
    pub(crate) epoch_since: Option<Instant>,
    /// Controllers whose clock is off, and since when.
    pub(crate) clocks_off: BTreeMap<SmolStr, Instant>,
    pub(crate) baselines: BTreeMap<BaselineRef, Kept<Baseline>>,
    /// What each baseline's rollout has on record as released.
    pub(crate) released: BTreeMap<BaselineRef, Kept<Released>>,
    pub(crate) windows: BTreeMap<ObjectName, Kept<Window>>,
    pub(crate) budgets: BTreeMap<ObjectName, Kept<Budget>>,
    pub(crate) policy: Kept<Policy>,
    /// Resources that cannot be read, and since when.
    pub(crate) unreadable: BTreeMap<SmolStr, Instant>,
    pub(crate) sources: BTreeMap<SmolStr, (Source, Instant)>,
    pub(crate) approvals: BTreeMap<ObjectName, (Approval, Instant)>,
    pub(crate) overrides: BTreeMap<ObjectName, Override>,
    pub(crate) machines: BTreeMap<MachineName, MachineState>,
    /// The highest activity number ever used (rule A1), whether or not the machine or its activities are still there.
    pub(crate) highest: BTreeMap<MachineName, u64>,
    /// All, those that were deleted meanwhile included: what happened does not unhappen.
    pub(crate) activities: BTreeMap<ActivityName, ActivityState>,
    /// Since when some gateway is up without a break.
    pub(crate) gateways_up: Option<Instant>,
    /// From here on nothing goes wrong.
    pub(crate) calm: Option<Instant>,
}

impl World {
    /// The policy in force; several while an edit may not have been seen.
    pub(crate) fn policies(&self, at: Instant) -> Vec<Policy> {
        let versions = self.policy.possible(at, self.lag);
        versions.into_iter().map(|policy| policy.cloned().unwrap_or_default()).collect()
    }

    /// One machine's activities, oldest first.
    pub(crate) fn history(&self, machine: &MachineName) -> impl DoubleEndedIterator<Item = &ActivityState> {
        let from = ActivityName { machine: machine.clone(), number: 0 };
        let to = ActivityName { machine: machine.clone(), number: u64::MAX };
        self.activities.range(from..=to).map(|(_, activity)| activity)
    }

    /// Whether a fact that holds since `since` can be expected to have been known at `at`.
    pub(crate) fn was_known(&self, since: Instant, at: Instant) -> bool {
        since <= at - self.lag
    }
}
