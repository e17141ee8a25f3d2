//! The event log: one JSON object a line, a header first (docs/events.md).
//!
//! Events say what became true, not what somebody thinks of it; the one exception is [`What::Decided`], which lets
//! the checker count how often a rule held something back. Fields that are not known are refused: a checker must not
//! pass over what it does not understand.

mod activities;
mod log;
mod machines;
mod people;
mod resources;
mod rollouts;
mod text;

use muster_model::{ActivityName, BaselineRef, Instant, MachineName, ObjectName};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

pub use activities::*;
pub use log::*;
pub use machines::*;
pub use people::*;
pub use resources::*;
pub use rollouts::*;
use text::{activity_name, instant, optional_instant};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Event {
    /// When it became true, by the writer's clock. Events are in the order in which they happened; where two have the
    /// same time the order counts.
    #[serde(with = "instant")]
    pub time: Instant,
    /// What happened.
    pub event: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum What {
    /// The writer reads the world anew: what is not told again from here on is not there any more. Activity numbers
    /// that were used stay used.
    Anew {},

    /// A baseline was created or changed: all of it, as it is now.
    Baseline(Box<Baseline>),
    /// A baseline is gone.
    BaselineGone {
        /// Which.
        baseline: BaselineRef,
    },
    /// A MaintenanceWindow was created or changed.
    Window(Box<Window>),
    /// A MaintenanceWindow is gone.
    WindowGone {
        /// Which.
        name: ObjectName,
    },
    /// A DisruptionBudget was created or changed.
    Budget(Budget),
    /// A DisruptionBudget is gone.
    BudgetGone {
        /// Which.
        name: ObjectName,
    },
    /// The FleetPolicy was created or changed. Without one, [`Policy::default`] is in force.
    Policy(Policy),
    /// The FleetPolicy is gone: the defaults are in force.
    PolicyGone {},
    /// A resource's selector, or all of it, cannot be read: the namespace is closed (rule W7).
    Unreadable {
        /// `Kind/name`.
        resource: SmolStr,
        /// What is wrong.
        why: String,
    },
    /// It can be read again, or is gone.
    Readable {
        /// `Kind/name`.
        resource: SmolStr,
    },
    /// A source's status changed.
    Source(Source),
    /// A source is gone or suspended: it makes no claim.
    SourceGone {
        /// Which.
        name: SmolStr,
    },
    /// Somebody created a RolloutApproval.
    Approval(Approval),
    /// A RolloutApproval was deleted: what it approved or resumed stays so; a pause ends.
    ApprovalGone {
        /// Which.
        name: ObjectName,
    },
    /// Somebody created a WindowOverride.
    Override(Override),
    /// A WindowOverride was deleted: it ends.
    OverrideGone {
        /// Which.
        name: ObjectName,
    },

    /// Which items of a baseline are released changed, by a controller's decision (rule O4).
    Released(Released),

    /// A FleetMachine was created or changed: what people and enrolment say of it.
    Machine(Machine),
    /// A FleetMachine is gone.
    MachineGone {
        /// Which.
        name: MachineName,
    },
    /// A machine's report was accepted, and differs from the one before.
    Report(Box<Report>),
    /// A machine is heard.
    Heard {
        /// Which.
        machine: MachineName,
    },
    /// A machine is not heard any more.
    Silent {
        /// Which.
        machine: MachineName,
        /// When it was last heard.
        #[serde(with = "instant")]
        last_heard: Instant,
    },
    /// At least one gateway is up. A log begins with gateways down.
    GatewaysUp {},
    /// No gateway is up: nobody can be heard, and silence does not count (rule B2).
    GatewaysDown {},

    /// A controller leads in this epoch: it took the lease.
    Leading {
        /// Which controller.
        controller: SmolStr,
        /// The lease's epoch, one above every earlier one.
        epoch: u64,
    },
    /// The lease is free: its holder released it, or it ran out.
    LeaseLost {
        /// Which controller had it.
        controller: SmolStr,
        /// In which epoch.
        epoch: u64,
    },
    /// Whether a controller's clock is more than 30 s off the API server's (rule A3).
    ClockOff {
        /// Which controller.
        controller: SmolStr,
        /// Whether it is.
        off: bool,
    },

    /// An activity that existed before the log, or before the writer could look: its start is not judged.
    ActivityFound(Box<ActivityFound>),
    /// An activity was created: its durable reservation.
    ActivityCreated(Box<ActivityCreated>),
    /// Its creation was refused after all, though the writer had counted it: it never was.
    ActivityWithdrawn {
        /// Which.
        #[serde(with = "activity_name")]
        name: ActivityName,
    },
    /// A new leader stamped its epoch on it.
    ActivityAdopted {
        /// Which.
        #[serde(with = "activity_name")]
        name: ActivityName,
        /// The epoch that it carries now.
        epoch: u64,
    },
    /// A gateway set it to `Delivered`: from here on the agent may have it.
    ActivityDelivered {
        /// Which.
        #[serde(with = "activity_name")]
        name: ActivityName,
        /// By which gateway, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gateway: Option<SmolStr>,
        /// When, by the status, where that differs from the event's time: a watch showed it later.
        #[serde(default, with = "optional_instant", skip_serializing_if = "Option::is_none")]
        at: Option<Instant>,
    },
    /// The status says that a step began.
    StepStarted(StepEvent),
    /// The status says that a step is done.
    StepCompleted(StepEvent),
    /// All steps are done; health is watched.
    ActivityVerifying {
        /// Which.
        #[serde(with = "activity_name")]
        name: ActivityName,
    },
    /// Its `spec.cancel` was set.
    CancelRequested {
        /// Which.
        #[serde(with = "activity_name")]
        name: ActivityName,
    },
    /// It is over.
    ActivityFinished(Box<ActivityFinished>),
    /// An agent's result came after it was over: a condition, and nothing else (rule A4).
    LateResult {
        /// Which.
        #[serde(with = "activity_name")]
        name: ActivityName,
    },
    /// It was deleted.
    ActivityDeleted {
        /// Which.
        #[serde(with = "activity_name")]
        name: ActivityName,
    },
    /// What a machine really did, which only a simulated world can tell.
    Acted(Acted),
    /// A machine booted, which only a simulated world can tell at once.
    Booted(Booted),

    /// What was decided about a machine, when that changed. No check trusts it; it is counted.
    Decided(Decided),

    /// A fault that was made on purpose.
    Fault {
        /// Its kind, from the closed set of whoever makes faults.
        kind: SmolStr,
        /// To which machine, controller or gateway; absent: to all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<SmolStr>,
        /// Whether it begins (or happens at once: `true`) or ends.
        #[serde(default = "begins", skip_serializing_if = "is_true")]
        begins: bool,
    },
    /// From here on there are no more faults, and nobody changes anything: the fleet is to arrive.
    Calm {},
    /// A remark for readers; nothing is judged by it.
    Remark {
        /// One sentence.
        text: String,
    },
}

fn begins() -> bool {
    true
}

fn is_true(begins: &bool) -> bool {
    *begins
}
