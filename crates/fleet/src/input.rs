//! What goes in and what comes out.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{
    Activity, ActivityName, ActivitySpec, BaselineRef, BaselineSummary, Budget, BudgetSummary, Digest,
    Estimates, Instant, Inventory, KernelBaseline, Machine, MachineName, ObjectName, OutcomeReason,
    PackageBaseline, Phase, Policy, Proposal, ProposalKey, Rollout, RolloutApproval, Window, WindowOverride,
    WindowSummary,
};
use smol_str::SmolStr;
use std::sync::Arc;

use crate::record::Decision;

/// One thing that happened.
#[derive(Debug)]
pub enum Input {
    /// A watch showed something.
    Observed(Box<Change>),
    /// A write ended.
    Written {
        /// Which object it was about.
        key: Key,
        /// The instant.
        now: Instant,
        /// How it ended.
        outcome: Written,
    },
    /// Look at everything and decide.
    Pass(Instant),
}

/// What a watch showed: the object as it is now, or that it is gone.
#[derive(Debug)]
pub enum Change {
    /// A FleetMachine; its presence is not looked at, fleet knows better.
    Machine(Box<Machine>),
    /// A FleetMachine is gone.
    MachineGone(MachineName),
    /// When a person last resolved a machine's absence (rule B4).
    AbsenceResolved(MachineName, Option<Instant>),
    /// A PackageBaseline.
    PackageBaseline(PackageBaseline),
    /// A KernelBaseline.
    KernelBaseline(KernelBaseline),
    /// A baseline is gone.
    BaselineGone(BaselineRef),
    /// A MaintenanceWindow.
    Window(Window),
    /// A MaintenanceWindow is gone.
    WindowGone(ObjectName),
    /// A WindowOverride.
    Override(WindowOverride),
    /// A WindowOverride is gone, or cannot be read: nothing passes by it.
    OverrideGone(ObjectName),
    /// A DisruptionBudget.
    Budget(Budget),
    /// A DisruptionBudget is gone.
    BudgetGone(ObjectName),
    /// The FleetPolicy named `default` and the revision that it was applied from; `None`: there is none.
    Policy(Option<(Policy, Option<SmolStr>)>),
    /// A resource that cannot be read closes the namespace (rule W7): its `Kind/name` and why; `None`: it can again.
    Unreadable(SmolStr, Option<String>),
    /// An inventory, and since when it is marked for collection.
    Inventory(Digest, Arc<Inventory>, Option<Instant>),
    /// An inventory is gone.
    InventoryGone(Digest),
    /// A proposal, and since when it is marked for collection.
    Proposal(ProposalKey, Arc<Proposal>, Option<Instant>),
    /// A proposal is gone.
    ProposalGone(ProposalKey),
    /// A BaselineRollout.
    Rollout(BaselineRef, Rollout),
    /// What a person said about a rollout's items.
    Approval(RolloutApproval),
    /// A RolloutApproval is gone: what came of it stays, but for a pause.
    ApprovalGone(ObjectName),
    /// A BaselineRollout is gone.
    RolloutGone(BaselineRef),
    /// An Activity.
    Activity(Box<Activity>),
    /// An Activity is gone.
    ActivityGone(ActivityName),
    /// A source; `None`: it is gone, or suspended, and makes no claim.
    Source(SmolStr, Option<SourceState>),
    /// A gateway's Lease: since when it holds it, until when it is valid; `None`: it is gone.
    Gateway(SmolStr, Option<GatewayLease>),
    /// One shard of what a gateway hears; `None`: the shard is gone.
    Presence(SmolStr, SmolStr, Option<PresenceShard>),
    /// The lease epoch in which this controller leads (rule A3).
    Epoch(u64),
    /// The object's status does not say what was last recorded of it, or says it of an older generation.
    Unrecorded(Key),
    /// Whether the controller's clock is more than 30 s off the API server's (rule A3).
    ClockOff(bool),
}

/// What a source says of itself (rule G2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    /// The revision in force.
    pub revision: Option<SmolStr>,
    /// Another one is being applied.
    pub applying: bool,
    /// The objects of the revision in force, as `Kind/name`. Watches of different kinds are not ordered among each
    /// other, so nothing starts until each of these has been seen at that revision.
    pub owns: BTreeSet<SmolStr>,
}

/// A gateway's Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayLease {
    /// Since when the gateway is up without a break.
    pub acquired: Instant,
    /// When it last said so.
    pub renewed: Instant,
    /// Until when that is worth something.
    pub valid_until: Instant,
}

/// Whom a gateway hears, for one shard of the machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PresenceShard {
    /// Heard now.
    pub present: BTreeSet<MachineName>,
    /// Not heard any more, and when last.
    pub silent: BTreeMap<MachineName, Instant>,
    /// Since when the gateway that published it is up, as its Lease says in `acquired`; absent: it does not say.
    pub since: Option<Instant>,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is durable.
    Done,
    /// It was surely not made: a conflict, a refusal.
    Refused,
    /// It may or may not have been made. The controller follows with what a consistent read shows.
    Unknown,
}

/// Which object a write is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// An activity.
    Activity(ActivityName),
    /// A machine's decision.
    Machine(MachineName),
    /// A baseline's status.
    Baseline(BaselineRef),
    /// A window's status.
    Window(ObjectName),
    /// A budget's status.
    Budget(ObjectName),
    /// A rollout.
    Rollout(BaselineRef),
    /// The FleetPolicy.
    Policy,
    /// An inventory or proposal.
    Garbage(Garbage),
    /// A RolloutApproval.
    Approval(ObjectName),
}

/// What is collected once nothing refers to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Garbage {
    /// An inventory.
    Inventory(Digest),
    /// A proposal.
    Proposal(ProposalKey),
}

/// One write to carry out.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Create this activity: its creation is the reservation (rule A3). The label carries the epoch.
    CreateActivity {
        /// What it does.
        spec: Arc<ActivitySpec>,
        /// The epoch to stamp.
        epoch: u64,
    },
    /// Stamp the present epoch on an inherited activity (rule A3).
    AdoptActivity {
        /// Which.
        name: ActivityName,
        /// The epoch.
        epoch: u64,
    },
    /// End an activity by its status, if it still is as we saw it.
    EndActivity {
        /// Which.
        name: ActivityName,
        /// The phase that it was seen in; the write is refused when it is another by now.
        seen: Phase,
        /// The phase to set.
        phase: Phase,
        /// Why.
        outcome: OutcomeReason,
        /// For people.
        message: String,
    },
    /// Ask for the end of a delivered activity: `spec.cancel` (rule A5).
    AskCancel {
        /// Which.
        name: ActivityName,
        /// Why.
        outcome: OutcomeReason,
    },
    /// Delete a finished activity (rule A10).
    DeleteActivity {
        /// Which.
        name: ActivityName,
    },
    /// Record the decision about a machine.
    RecordMachine {
        /// Which.
        name: MachineName,
        /// The decision.
        decision: Box<Decision>,
    },
    /// Record a baseline's totals.
    RecordBaseline {
        /// Which.
        baseline: BaselineRef,
        /// Its totals.
        summary: Box<BaselineSummary>,
    },
    /// Record a window's state.
    RecordWindow {
        /// Which.
        name: ObjectName,
        /// Its state.
        summary: WindowSummary,
    },
    /// Record a budget's state.
    RecordBudget {
        /// Which.
        name: ObjectName,
        /// Its state.
        summary: BudgetSummary,
    },
    /// Record a rollout; creates the BaselineRollout if need be.
    RecordRollout {
        /// Whose.
        baseline: BaselineRef,
        /// How far its items are.
        rollout: Rollout,
    },
    /// Record how long steps take.
    RecordEstimates {
        /// Half of them, at most.
        medians: Estimates,
        /// 95 of 100, at most: what windows are asked with (rule W2).
        estimates: Estimates,
    },
    /// Delete the rollout of a baseline that is gone.
    DeleteRollout {
        /// Whose.
        baseline: BaselineRef,
    },
    /// Delete a RolloutApproval that says nothing any more, if it is as we saw it: another one may have its name by now.
    DeleteApproval {
        /// As it was seen.
        approval: Arc<RolloutApproval>,
    },
    /// Mark an inventory or proposal: it will be collected unless somebody unmarks it.
    Mark {
        /// Which.
        garbage: Garbage,
        /// Since when.
        since: Instant,
    },
    /// Delete a marked inventory or proposal, if it is as we saw it.
    Collect {
        /// Which.
        garbage: Garbage,
    },
    /// Tell people about it: an Event.
    Tell(Note),
}

impl Effect {
    /// The object that it is about; `None` for notes.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        Some(match self {
            Self::CreateActivity { spec, .. } => Key::Activity(spec.name.clone()),
            Self::AdoptActivity { name, .. }
            | Self::EndActivity { name, .. }
            | Self::AskCancel { name, .. }
            | Self::DeleteActivity { name } => Key::Activity(name.clone()),
            Self::RecordMachine { name, .. } => Key::Machine(name.clone()),
            Self::RecordBaseline { baseline, .. } => Key::Baseline(baseline.clone()),
            Self::RecordWindow { name, .. } => Key::Window(name.clone()),
            Self::RecordBudget { name, .. } => Key::Budget(name.clone()),
            Self::RecordRollout { baseline, .. } | Self::DeleteRollout { baseline } => {
                Key::Rollout(baseline.clone())
            }
            Self::RecordEstimates { .. } => Key::Policy,
            Self::Mark { garbage, .. } | Self::Collect { garbage } => Key::Garbage(garbage.clone()),
            Self::DeleteApproval { approval } => Key::Approval(approval.name.clone()),
            Self::Tell(_) => return None,
        })
    }
}

/// Something that people want to hear of: it becomes an Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The machine.
    pub machine: MachineName,
    /// The activity, if it is about one.
    pub activity: Option<ActivityName>,
    /// Normal or a warning.
    pub kind: NoteKind,
    /// A CamelCase reason from a closed set.
    pub reason: &'static str,
    /// One sentence, at most 1,000 bytes.
    pub text: String,
}

/// An Event's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// As it should be.
    Normal,
    /// A person should look.
    Warning,
}
