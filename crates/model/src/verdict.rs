//! The answer for every machine, and why not (rule S4, promise P3): closed enums with the numbers inside.
//!
//! Every reason names its rule, and says when it clears: an instant, or an event that it waits for.

use std::collections::BTreeSet;
use std::fmt;

use smol_str::SmolStr;

use crate::{
    ActivityName, ActivitySpec, BaselineRef, Capability, DebianVersion, Instant, ObjectName, OutcomeReason,
    PackageKey, Phase,
};

/// The decision about one machine, or about one requirement on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As wanted.
    Converged,
    /// Start this activity now.
    Start(Box<ActivitySpec>),
    /// An activity is under way.
    Active {
        /// Which.
        activity: ActivityName,
        /// How far it is.
        phase: Phase,
    },
    /// Not yet: clears by itself, by time or by an event.
    Waiting(WaitingOn),
    /// Not unless somebody does something.
    Blocked(Reason),
    /// No baseline selects the machine, or it is not ours to plan.
    Unmanaged(Unmanaged),
    /// Nothing can be said: no fresh report.
    Unknown(Unknown),
}

/// What a machine waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitingOn {
    /// The machine has been asked what is on offer for these packages (rule V2).
    Inventory {
        /// At most 20.
        packages: BTreeSet<PackageKey>,
    },
    /// The machine's own apt simulates the wanted set (rule A7).
    Proposal,
    /// No Allow window is open (rule W1).
    WindowClosed {
        /// The window that opens next.
        window: Option<ObjectName>,
        /// When; absent: none ever opens.
        until: Option<Instant>,
    },
    /// A freeze is on (rule W1).
    Frozen {
        /// The Deny window.
        window: ObjectName,
        /// Its end.
        until: Option<Instant>,
    },
    /// What is left of the window is too short (rule W2).
    WindowTooShort {
        /// The window that is open, or the freeze that begins.
        window: Option<ObjectName>,
        /// Its edge: when the window closes, or the freeze begins.
        closes: Instant,
        /// Seconds needed.
        needed_seconds: i64,
        /// When a start is next possible.
        until: Option<Instant>,
    },
    /// A window that selects the machine cannot be read (rule W7).
    WindowUnreadable {
        /// Which.
        window: ObjectName,
    },
    /// A DisruptionBudget has no place left (rules B1, B2).
    Budget {
        /// Which.
        budget: ObjectName,
        /// How many count as unavailable now.
        unavailable: usize,
        /// How many may.
        max_unavailable: usize,
    },
    /// The baseline's own maxUnavailable has no place left (rule B2).
    MaxUnavailable {
        /// Which.
        baseline: BaselineRef,
        /// How many count as unavailable now.
        unavailable: usize,
        /// How many may.
        max_unavailable: usize,
    },
    /// The last attempt failed; the next comes (rule A6).
    Retry {
        /// Attempts made.
        attempts: u32,
        /// When the next may start.
        until: Instant,
    },
    /// The last activity was refused or expired without changing anything (rule A2).
    Backoff {
        /// Why.
        reason: OutcomeReason,
        /// How many in a row.
        count: u32,
        /// When the next may start.
        until: Instant,
    },
    /// The machine is silent; activities start only where presence is current (rule A4).
    Silent {
        /// When it was last heard.
        last_heard: Instant,
    },
    /// What is left of the window is its cutoff (rule W2).
    CutoffReached {
        /// The window that is open.
        window: ObjectName,
        /// When a start is next possible.
        until: Option<Instant>,
    },
    /// The machine's one activity is about something else; this comes after it (rule A1).
    Activity {
        /// Which.
        activity: ActivityName,
    },
    /// The machine booted as often as it may in a day (rule K4).
    BootLimit {
        /// Boots of ours within 24 hours.
        boots: usize,
        /// When the next may start.
        until: Instant,
    },
    /// A kernel is selected for the next boot, and no baseline has the machine rebooted (rule K2).
    ManualReboot {
        /// The kernel that is to boot.
        kernel: SmolStr,
    },
    /// A revision is being applied (rule G2).
    Applying,
    /// A new inventory is awaited: the last activity changed what was reported (rule V4).
    Report,
    /// An earlier wave has not passed the item (rules O1, O2).
    Wave {
        /// The baseline whose rollout it is.
        baseline: BaselineRef,
        /// The wave.
        wave: ObjectName,
        /// How many of its machines have the item.
        done: usize,
        /// How many of its machines are to have it.
        wanted: usize,
    },
    /// All machines of an earlier wave have the item, and it is watched there for a while (rule O2).
    Soaking {
        /// The baseline whose rollout it is.
        baseline: BaselineRef,
        /// The wave.
        wave: ObjectName,
        /// When the wave passes, if nothing happens.
        until: Instant,
    },
    /// An earlier zone of the wave has not passed the item (rule O6).
    Zone {
        /// The baseline whose rollout it is.
        baseline: BaselineRef,
        /// The zone; empty: machines without the label.
        zone: SmolStr,
        /// How many of its machines have the item.
        done: usize,
        /// How many of its machines are to have it.
        wanted: usize,
        /// When the zone passes, if only time is missing.
        until: Option<Instant>,
    },
    /// A wave asks for a person's approval of the item (rule O7).
    Approval {
        /// The baseline whose rollout it is.
        baseline: BaselineRef,
        /// The wave.
        wave: ObjectName,
    },
    /// A person paused the item (rule O3).
    PausedByPerson {
        /// The baseline whose rollout it is.
        baseline: BaselineRef,
        /// The RolloutApproval that says so.
        approval: ObjectName,
        /// Who.
        by: SmolStr,
    },
    /// Starts are suspended, by the policy, by the machine's own spec, or by clock skew (rule A3).
    Suspended {
        /// By what.
        by: Suspender,
    },
}

/// Who suspended starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspender {
    /// `FleetPolicy.spec.suspend`.
    FleetPolicy,
    /// `FleetMachine.spec.suspend`.
    FleetMachine,
    /// The controller's clock is more than 30 s off the API server's (rule A3).
    Clock,
}

/// Why nothing will happen unless somebody does something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Nothing on offer satisfies the requirement (rule V3).
    Unsatisfiable {
        /// The package.
        package: PackageKey,
        /// What was asked for.
        wanted: String,
        /// What is on offer, highest first, at most 5.
        on_offer: Vec<DebianVersion>,
    },
    /// The target is lower than what is installed (rule V5).
    DowngradeNotAllowed {
        /// The package.
        package: PackageKey,
        /// Installed.
        installed: DebianVersion,
        /// Wanted.
        target: DebianVersion,
    },
    /// The transaction would remove packages (rule A7).
    RemovalNotAllowed {
        /// Which, at most 20.
        packages: BTreeSet<PackageKey>,
    },
    /// Somebody else holds the package (rule V6).
    Held {
        /// Which.
        package: PackageKey,
    },
    /// Two baselines of equal priority contradict each other (rule S2).
    Conflicted {
        /// About which package.
        package: PackageKey,
        /// The baselines.
        baselines: BTreeSet<BaselineRef>,
    },
    /// The transaction would take a package out of another requirement or hold (rule A7).
    Contradicts {
        /// Which.
        package: PackageKey,
        /// The baseline whose requirement it would break.
        baseline: BaselineRef,
    },
    /// apt refuses the transaction (rule A7).
    SimulationRefused {
        /// apt's words.
        message: String,
    },
    /// The machine lacks a capability (rule M5).
    NotCapable {
        /// Which.
        capability: Capability,
    },
    /// No attempt left (rule A6).
    Stalled {
        /// Attempts made.
        attempts: u32,
        /// How the last ended.
        last: OutcomeReason,
    },
    /// Refused or expired three times or more in a row (rule A2).
    RefusedRepeatedly {
        /// Why.
        reason: OutcomeReason,
        /// How many in a row.
        count: u32,
        /// When the next attempt comes all the same.
        until: Instant,
    },
    /// Too many machines failed the item (rule O3).
    Barred {
        /// The baseline.
        baseline: BaselineRef,
        /// Machines that failed.
        failed: usize,
        /// How many may.
        max_failures: usize,
    },
    /// A wave can bring no evidence of the item: it picks no machine, or none of those that it judges has it and none can
    /// get it (rule O2).
    NoEvidence {
        /// The baseline whose rollout it is.
        baseline: BaselineRef,
        /// The wave.
        wave: ObjectName,
        /// How many machines it picks.
        machines: usize,
    },
    /// A resource's selector cannot be read, so nothing starts in the namespace (rule W7).
    SelectorUnreadable {
        /// The resource, as `Kind/name`.
        resource: SmolStr,
        /// What is wrong with it.
        why: String,
    },
    /// The reboot did not clear the reason for it (rule K4).
    RebootIneffective,
    /// The meta-package that is followed is installed, and no installed kernel is the one that it brings (rule K5).
    NoKernel {
        /// The meta-package.
        package: PackageKey,
    },
    /// It would take away the kernel that runs, or the one that boots next (rule K3).
    KernelInUse {
        /// The kernel's package.
        package: PackageKey,
    },
    /// A baseline observes only.
    ObserveOnly,
    /// A budget allows none at all (rule B1).
    BudgetIsZero {
        /// The budget, if it is a DisruptionBudget.
        budget: Option<ObjectName>,
        /// The baseline, if it is a baseline's own maxUnavailable.
        baseline: Option<BaselineRef>,
    },
}

/// Why a machine is not planned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmanaged {
    /// Not admitted yet (rule M5).
    NotAdmitted,
    /// Revoked.
    Revoked,
    /// No baseline selects it (rule S3).
    NotSelected,
}

/// Why nothing can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Never reported.
    NeverReported,
    /// The last report is older than `freshness` (rule M1).
    Stale {
        /// When the machine was last heard.
        last_heard: Instant,
    },
    /// Silent for `absentAfter` (rule B4).
    Absent {
        /// When the machine was last heard.
        last_heard: Instant,
    },
}

/// What stands in the way: an object, so that `why` can join its numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blocker {
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: SmolStr,
}

/// One requirement's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequirementVerdict {
    /// Whose requirement.
    pub baseline: BaselineRef,
    /// What it is about: `openssl:amd64`, `reboot`, `kernel`.
    pub resource: SmolStr,
    /// The decision.
    pub verdict: Verdict,
    /// What is there, for people.
    pub installed: Option<SmolStr>,
    /// What is to be there, for people.
    pub target: Option<SmolStr>,
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}
