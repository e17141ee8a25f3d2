//! One disruption of one machine: complete, immutable, judged by what was observed afterwards.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::{
    ActivityName, BaselineRef, Change, CommandLine, Conffiles, Cover, Digest, Instant, KernelChoice, Machine,
    ObjectName, PackageKey, Passed, Report, Shared, Uid, UnitName,
};

/// What an activity is to do; never changes once created (rule A1, style 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivitySpec {
    /// `<machine>-<n>`.
    pub name: ActivityName,
    /// The machine's uid: a machine of the same name made anew is another one.
    pub machine_uid: Uid,
    /// In this order.
    pub steps: Shared<Vec<Step>>,
    /// Why it exists.
    pub cause: Shared<Cause>,
    /// The DisruptionBudgets that it is charged to (rule B6).
    pub budgets: Shared<BTreeSet<ObjectName>>,
    /// The Allow windows that it started in, by what they cover.
    pub windows: Shared<BTreeMap<Cover, ObjectName>>,
    /// The windows and freezes that its steps pass, and by which overrides (rule W9).
    pub passed: Shared<BTreeSet<Passed>>,
    /// No step starts after it (rule A4).
    pub expiry: Instant,
    /// Must be so for `settle` after the last step.
    pub health: Shared<HealthCheck>,
    /// Units that had failed on the machine when it was made: those that fail since make the machine unhealthy (rule B2).
    pub failed_units: Shared<BTreeSet<UnitName>>,
}

/// What must be healthy after the last step: the union over the baselines served (rule S1).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// Units that must be active.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub units: BTreeSet<UnitName>,
    /// For so many seconds.
    #[serde(default)]
    pub settle_seconds: u32,
}

/// Why an activity exists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause {
    /// The revision of the resources in force, if they came from a source.
    pub revision: Option<SmolStr>,
    /// The proposal that its package step was built from (rule A7).
    pub proposal: Option<Digest>,
}

/// One step and the baselines that it serves and is charged to (rule A8).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// What to do.
    pub action: StepAction,
    /// For which baselines, with their uids.
    pub baselines: BTreeMap<BaselineRef, Uid>,
    /// The step fails as `TimedOut` after so long.
    pub timeout: SignedDuration,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StepAction {
    /// One apt transaction that installs, upgrades or downgrades (and removes, where that is permitted).
    InstallPackages(Transaction),
    /// One apt transaction that only removes.
    RemovePackages(Transaction),
    /// Sets and lifts holds.
    HoldPackages {
        /// To hold.
        hold: BTreeSet<PackageKey>,
        /// To let go.
        unhold: BTreeSet<PackageKey>,
    },
    /// `dpkg --configure -a`, and nothing else.
    RepairPackages,
    /// Makes a kernel the boot loader's choice for one boot, with this command line; the default stays (rule K2).
    SelectKernel(KernelChoice),
    /// Reboots the machine.
    Reboot {
        /// The release that is to run afterwards; absent: whichever the machine boots by itself.
        kernel: Option<SmolStr>,
        /// What the command line must and must not have afterwards.
        #[serde(default, skip_serializing_if = "CommandLine::is_empty")]
        command_line: CommandLine,
    },
    /// Makes the kernel that runs, with the command line that it has, the one that boots by default (rule K2). It begins
    /// only when the machine is healthy.
    SetDefaultKernel(KernelChoice),
}

impl StepAction {
    /// What windows call it; for a transaction that brings a kernel they call it [`Cover::Kernel`], too: see
    /// [`StepAction::covers`].
    #[must_use]
    pub fn cover(&self) -> Cover {
        match self {
            Self::InstallPackages(_)
            | Self::RemovePackages(_)
            | Self::HoldPackages { .. }
            | Self::RepairPackages => Cover::Packages,
            Self::SelectKernel(_) | Self::SetDefaultKernel(_) => Cover::Kernel,
            Self::Reboot { .. } => Cover::Reboot,
        }
    }

    /// All that windows call it: each of these must be open for it to start (rule W1).
    #[must_use]
    pub fn covers(&self) -> &'static [Cover] {
        match self {
            Self::InstallPackages(transaction) if transaction.new_kernels().next().is_some() => {
                &[Cover::Packages, Cover::Kernel]
            }
            Self::InstallPackages(_)
            | Self::RemovePackages(_)
            | Self::HoldPackages { .. }
            | Self::RepairPackages => &[Cover::Packages],
            Self::SelectKernel(_) | Self::SetDefaultKernel(_) => &[Cover::Kernel],
            Self::Reboot { .. } => &[Cover::Reboot],
        }
    }

    /// Its `type` in resources.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::InstallPackages(_) => "InstallPackages",
            Self::RemovePackages(_) => "RemovePackages",
            Self::HoldPackages { .. } => "HoldPackages",
            Self::RepairPackages => "RepairPackages",
            Self::SelectKernel(_) => "SelectKernel",
            Self::Reboot { .. } => "Reboot",
            Self::SetDefaultKernel(_) => "SetDefaultKernel",
        }
    }
}

/// An exact apt transaction: what was asked for and what comes with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transaction {
    /// What requirements asked for.
    pub requested: Vec<Change>,
    /// What apt does besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Change>,
    /// What becomes of changed configuration files.
    #[serde(default)]
    pub conffiles: Conffiles,
}

impl Transaction {
    /// Every change.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.requested.iter().chain(&self.dependencies)
    }
}

/// An activity as the planner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// What it does.
    pub spec: ActivitySpec,
    /// Its uid.
    pub uid: Uid,
    /// When it was created.
    pub created: Instant,
    /// A person or the controller asked for it to end (rule A5).
    pub cancel: bool,
    /// The lease epoch of the controller that answers for it (rule A3).
    pub epoch: u64,
    /// How far it is.
    pub phase: Phase,
    /// When it was delivered.
    pub delivered: Option<Instant>,
    /// When it ended.
    pub finished: Option<Instant>,
    /// Why it ended as it did; absent for `Succeeded` and while unfinished.
    pub outcome: Option<OutcomeReason>,
    /// The agent's or controller's words about the outcome.
    pub message: String,
    /// By step, as far as begun.
    pub steps: Vec<StepStatus>,
}

/// The units of a machine's report that failed since the newest of its activities that changed something there
/// (rule B2): those that had not failed when that was made. None once a person has resolved that activity.
///
/// A unit that had failed already, came up and failed once more is not found: only the last report is known.
pub fn failed_since<'a>(
    newest_first: impl Iterator<Item = &'a Activity>,
    machine: &Machine,
    report: &'a Report,
) -> impl Iterator<Item = &'a UnitName> {
    let mut ours = newest_first.filter(|activity| activity.spec.machine_uid == machine.uid);
    // Most machines have no failed unit, and need no look at their activities.
    let last = if report.failed_units.is_empty() {
        None
    } else {
        ours.find(|activity| activity.phase.may_have_changed())
    };
    let last = last.filter(|activity| activity.spec.name.number > machine.resolved_through);
    let failed = last.map(|activity| report.failed_units.difference(&activity.spec.failed_units));
    failed.into_iter().flatten()
}

/// How far a step is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// When it began, by the controller's reckoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Instant>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<Instant>,
}

/// An activity's phases (rule A2); they never go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Created; no gateway gave it to the agent yet.
    Pending,
    /// A gateway answers for its delivery.
    Delivered,
    /// The agent began.
    Running,
    /// All steps done; health is watched.
    Verifying,
    /// The wanted state was observed.
    Succeeded,
    /// It was not reached.
    Failed,
    /// Nothing was changed.
    Refused,
    /// Stopped between steps.
    Interrupted,
    /// Canceled before it began.
    Canceled,
    /// Not begun in time.
    Expired,
}

impl Phase {
    /// Whether it is over.
    #[must_use]
    pub fn is_finished(self) -> bool {
        match self {
            Self::Pending | Self::Delivered | Self::Running | Self::Verifying => false,
            Self::Succeeded
            | Self::Failed
            | Self::Refused
            | Self::Interrupted
            | Self::Canceled
            | Self::Expired => true,
        }
    }

    /// Whether it is over, and may have changed the machine.
    #[must_use]
    pub fn may_have_changed(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Interrupted => true,
            Self::Pending
            | Self::Delivered
            | Self::Running
            | Self::Verifying
            | Self::Refused
            | Self::Canceled
            | Self::Expired => false,
        }
    }

    /// Its name in resources.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Delivered => "Delivered",
            Self::Running => "Running",
            Self::Verifying => "Verifying",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Refused => "Refused",
            Self::Interrupted => "Interrupted",
            Self::Canceled => "Canceled",
            Self::Expired => "Expired",
        }
    }
}

/// Why an activity did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OutcomeReason {
    /// Refused: the machine's own simulation said something else than the activity (rule A7).
    PlanMismatch,
    /// Refused: a version is not on offer any more (rule V4).
    VersionGone,
    /// Refused: a package could not be fetched.
    FetchError,
    /// Refused: another program holds dpkg's lock.
    Locked,
    /// Refused: a check before the first change failed, such as disk space or an interrupted dpkg.
    Preflight,
    /// Refused: the agent has carried it out already or a newer one (style 4).
    Superseded,
    /// Failed: dpkg's state afterwards is not what the step wanted (promise P5).
    PackagesNotAsWanted,
    /// Failed: a step passed its timeout.
    TimedOut,
    /// Failed: silent past the reboot timeout, or past the step's.
    Unreachable,
    /// Failed: the boot id did not change.
    RebootNotObserved,
    /// Failed: another kernel runs than the step said.
    BootFallback,
    /// Failed: a unit was not active for as long as it must.
    Unhealthy,
    /// Failed: more boots than rule K4 allows.
    RebootLoop,
    /// Canceled: a revision contradicts it (rule A9).
    Contradicted,
    /// Canceled: a person asked.
    CancelRequested,
    /// Canceled: a new leader did not adopt it (rule A3).
    NotAdopted,
    /// Expired: not delivered within two minutes (rule A4).
    Undelivered,
    /// Expired: delivered, not begun before its expiry (rule A4).
    NotBegun,
    /// Interrupted: its window closed between two steps (rule W6).
    WindowClosed,
}

impl OutcomeReason {
    /// Its name in resources.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PlanMismatch => "PlanMismatch",
            Self::VersionGone => "VersionGone",
            Self::FetchError => "FetchError",
            Self::Locked => "Locked",
            Self::Preflight => "Preflight",
            Self::Superseded => "Superseded",
            Self::PackagesNotAsWanted => "PackagesNotAsWanted",
            Self::TimedOut => "TimedOut",
            Self::Unreachable => "Unreachable",
            Self::RebootNotObserved => "RebootNotObserved",
            Self::BootFallback => "BootFallback",
            Self::Unhealthy => "Unhealthy",
            Self::RebootLoop => "RebootLoop",
            Self::Contradicted => "Contradicted",
            Self::CancelRequested => "CancelRequested",
            Self::NotAdopted => "NotAdopted",
            Self::Undelivered => "Undelivered",
            Self::NotBegun => "NotBegun",
            Self::WindowClosed => "WindowClosed",
        }
    }

    /// Whether another attempt could help (rule A6: none after a boot that went wrong).
    #[must_use]
    pub fn may_be_retried(self) -> bool {
        !matches!(self, Self::BootFallback | Self::RebootLoop | Self::RebootNotObserved)
    }
}
