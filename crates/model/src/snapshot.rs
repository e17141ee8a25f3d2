//! The world at one instant, as the planner is given it, and the decision that it returns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smol_str::SmolStr;

use crate::{
    Activity, ActivityName, BaselineRef, Budget, Cover, Digest, Instant, Inventory, KernelBaseline, Machine,
    MachineName, ObjectName, OutcomeReason, PackageBaseline, PackageKey, Policy, Proposal, ProposalKey,
    RequirementVerdict, Rollout, RolloutApproval, Shared, Verdict, Wanted, Window, WindowOverride,
};

/// Everything that a decision about one namespace depends on.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The instant.
    pub now: Instant,
    /// The fleet's policy.
    pub policy: Policy,
    /// The revision in force, if a source applied one.
    pub revision: Option<SmolStr>,
    /// A revision is being applied: nothing starts (rule G2).
    pub applying: bool,
    /// The controller's clock is off: nothing starts (rule A3).
    pub clock_off: bool,
    /// The lease epoch of the controller that plans; stamped on what it creates (rule A3).
    pub epoch: u64,
    /// Machines by name.
    pub machines: BTreeMap<MachineName, Arc<Machine>>,
    /// Inventories by digest.
    pub inventories: BTreeMap<Digest, Arc<Inventory>>,
    /// Proposals by what they are about.
    pub proposals: BTreeMap<ProposalKey, Arc<Proposal>>,
    /// Package baselines.
    pub package_baselines: BTreeMap<ObjectName, Arc<PackageBaseline>>,
    /// Kernel baselines.
    pub kernel_baselines: BTreeMap<ObjectName, Arc<KernelBaseline>>,
    /// Windows.
    pub windows: BTreeMap<ObjectName, Arc<Window>>,
    /// What people let pass windows and freezes (rule W9).
    pub overrides: BTreeMap<ObjectName, Arc<WindowOverride>>,
    /// Resources whose selector cannot be read: nothing starts in the namespace (rule W7).
    pub unreadable: BTreeMap<SmolStr, String>,
    /// Budgets.
    pub budgets: BTreeMap<ObjectName, Arc<Budget>>,
    /// Rollouts by baseline.
    pub rollouts: BTreeMap<BaselineRef, Arc<Rollout>>,
    /// What people said about items: paused, resumed, approved.
    pub approvals: BTreeMap<ObjectName, Arc<RolloutApproval>>,
    /// Unfinished activities, and the finished ones that are kept.
    pub activities: BTreeMap<ActivityName, Arc<Activity>>,
    /// When a person last resolved a machine's absence: it then leaves the budgets that count absent machines, until it
    /// is heard again (rule B4).
    pub resolved_absences: BTreeMap<MachineName, Instant>,
}

impl Snapshot {
    /// One machine's activities, oldest first.
    pub fn activities_of<'a>(
        &'a self,
        machine: &'a MachineName,
    ) -> impl DoubleEndedIterator<Item = &'a Arc<Activity>> + 'a {
        let from = ActivityName { machine: machine.clone(), number: 0 };
        let to = ActivityName { machine: machine.clone(), number: u64::MAX };
        self.activities.range(from..=to).map(|(_, activity)| activity)
    }
}

/// The decision for all machines at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// An answer for every machine (promise P3).
    pub machines: BTreeMap<MachineName, Arc<MachinePlan>>,
    /// Unfinished activities that are to be canceled, and why (rules A5, A9).
    pub cancels: BTreeMap<ActivityName, OutcomeReason>,
    /// What each baseline's status says.
    pub baselines: BTreeMap<BaselineRef, BaselineSummary>,
    /// What each window's status says.
    pub windows: BTreeMap<ObjectName, WindowSummary>,
    /// What each budget's status says.
    pub budgets: BTreeMap<ObjectName, BudgetSummary>,
    /// How rollouts are to be recorded.
    pub rollouts: BTreeMap<BaselineRef, Rollout>,
    /// When planning again could give another answer though nothing else happens.
    pub next: Option<Instant>,
}

/// The decision for one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachinePlan {
    /// The machine's: the most actionable of its requirements' (rule S4).
    pub verdict: Verdict,
    /// Those that have not converged, most actionable first.
    pub requirements: Vec<RequirementVerdict>,
    /// How many requirements the machine has in all.
    pub total: usize,
    /// What to report on and to simulate.
    pub wanted: Arc<Wanted>,
    /// Holds that are ours after this plan's start is done (rule V6).
    pub holds: Shared<BTreeSet<PackageKey>>,
}

/// A baseline's totals (rule M1): the four sum to `selected`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaselineSummary {
    /// Machines selected and admitted.
    pub selected: usize,
    /// Fresh and as wanted.
    pub converged: usize,
    /// Fresh and not as wanted.
    pub not_converged: usize,
    /// Without a fresh report.
    pub unknown: usize,
    /// Silent for `absentAfter`.
    pub absent: usize,
    /// Of those not converged: an activity is under way.
    pub active: usize,
    /// Of those not converged: blocked.
    pub blocked: usize,
    /// How many count as unavailable against its maxUnavailable.
    pub unavailable: usize,
    /// How many may.
    pub max_unavailable: usize,
    /// Packages about which it conflicts with another baseline, and on how many machines (rule S2).
    pub conflicts: BTreeMap<(PackageKey, BaselineRef), usize>,
}

/// A window's state (rule W8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WindowSummary {
    /// Whether it is open.
    pub open: bool,
    /// When it opens next; absent: never again.
    pub next_open: Option<Instant>,
    /// When it closes next.
    pub next_close: Option<Instant>,
    /// How many machines it selects.
    pub machines: usize,
    /// Of an Allow: the kinds of step that are estimated to take longer than half of its next span, and are started as if
    /// they took half (rule W2).
    pub capped: BTreeSet<Cover>,
}

/// A budget's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BudgetSummary {
    /// How many machines it is about (N of rule B1).
    pub machines: usize,
    /// How many may be unavailable.
    pub max_unavailable: usize,
    /// How many are.
    pub unavailable: usize,
    /// How many of these by activities of ours in flight.
    pub in_flight: usize,
}
