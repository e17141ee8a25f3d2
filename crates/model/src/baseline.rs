//! Desired states: package baselines and kernel baselines.
//!
//! Guards (windows, budgets, policy) are in `guard`.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::{
    Architecture, BaselineKind, BaselineRef, CommandLine, LabelSelector, ObjectName, PackageName,
    RolloutSpec, Uid, UnitName, VersionRequirement,
};

/// Where a resource was written: for messages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// The revision it was applied from.
    pub revision: SmolStr,
    /// The file, relative to the source's root.
    pub file: SmolStr,
    /// The line of the resource's first key, from 1.
    pub line: u32,
}

/// Whether a baseline acts or only reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Emit activities until the machines have converged.
    #[default]
    Enforce,
    /// Report drift, emit nothing.
    Observe,
}

/// Whether something destructive may be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Permit {
    /// No.
    #[default]
    Refuse,
    /// Yes.
    Allow,
}

/// What both kinds of baseline have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaselineCommon {
    /// Its name.
    pub name: ObjectName,
    /// Its uid.
    pub uid: Uid,
    /// `metadata.generation`, for `observedGeneration`.
    pub generation: i64,
    /// Which machines.
    pub selector: LabelSelector,
    /// Enforce or observe.
    pub mode: Mode,
    /// Higher wins, per requirement (rule S1).
    pub priority: i32,
    /// Where it was written, if it came from a source.
    pub provenance: Option<Provenance>,
}

/// A PackageBaseline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageBaseline {
    /// Name, selector, mode, priority.
    pub common: BaselineCommon,
    /// Requirements by (name, architecture), in that order.
    pub packages: Vec<PackageRequirement>,
    /// Which upgrades of installed packages it asks for beside them; absent: it has no say (rule S1).
    pub upgrades: Option<UpgradePolicy>,
    /// Whether a target may be lower than what is installed (rule V5).
    pub downgrades: Permit,
    /// Whether a transaction may remove packages that the baseline does not name (rule A7).
    pub removals: Permit,
    /// What becomes of changed configuration files.
    pub conffiles: Conffiles,
    /// When to reboot.
    pub reboot: RebootPolicy,
    /// What healthy means for its machines.
    pub health: Health,
    /// How its items spread.
    pub rollout: RolloutSpec,
}

/// Which upgrades of installed packages a baseline asks for.
///
/// The order is by what it asks: of two at one priority the greater asks for all that the other does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum UpgradePolicy {
    /// None, and none that baselines of lower priority ask for.
    #[default]
    None,
    /// To the highest version that a security pocket offers, as unattended-upgrades does.
    Security,
    /// To what apt would upgrade to, phasing honoured.
    All,
}

/// One line of a package baseline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageRequirement {
    /// The package.
    pub name: PackageName,
    /// Its architecture; absent: the machine's own.
    pub architecture: Option<Architecture>,
    /// Present or absent.
    pub state: PackageWish,
    /// Which versions satisfy it; only with `Present`.
    pub version: VersionRequirement,
    /// Hold it at what satisfies it.
    pub hold: bool,
}

/// Whether a package is to be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PackageWish {
    /// Installed.
    #[default]
    Present,
    /// Not installed.
    Absent,
}

/// What dpkg does with a configuration file that was changed on the machine and in the package.
///
/// The order is by strictness: where a step serves several baselines the strictest (greatest) governs (rule A8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Conffiles {
    /// Take the package's version (`--force-confnew`).
    Replace,
    /// Keep the machine's version (`--force-confdef --force-confold`).
    #[default]
    Keep,
    /// Fail the step rather than decide.
    Fail,
}

/// When a baseline's machines are rebooted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebootPolicy {
    /// Never, or when required.
    pub policy: RebootWhen,
    /// How long a reboot may take until the machine reports again.
    pub timeout: SignedDuration,
}

/// Whether we reboot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RebootWhen {
    /// We never reboot for this baseline.
    #[default]
    Never,
    /// When the machine says that a reboot is required.
    WhenRequired,
}

/// What healthy means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Units that must be active.
    pub units: BTreeSet<UnitName>,
    /// How long they must stay so after a change before it counts as done.
    pub settle: SignedDuration,
}

/// A KernelBaseline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelBaseline {
    /// Name, selector, mode, priority.
    pub common: BaselineCommon,
    /// The meta-package followed, which decides flavour and series (rule K5), and which of its versions satisfy, as booted
    /// (rule K1).
    pub package: PackageRequirement,
    /// What the running kernel's command line must and must not have.
    pub command_line: CommandLine,
    /// How many kernels of the flavour stay installed (rule K3).
    pub keep: usize,
    /// When to reboot.
    pub reboot: RebootPolicy,
    /// What healthy means for its machines.
    pub health: Health,
    /// How its items spread.
    pub rollout: RolloutSpec,
}

/// The fewest kernels that a baseline may keep: the one that runs, and one to fall back on (rule K3).
pub const MIN_KERNELS_KEPT: usize = 2;

impl PackageBaseline {
    /// Kind and name.
    #[must_use]
    pub fn reference(&self) -> BaselineRef {
        BaselineRef { kind: BaselineKind::PackageBaseline, name: self.common.name.clone() }
    }
}

impl KernelBaseline {
    /// Kind and name.
    #[must_use]
    pub fn reference(&self) -> BaselineRef {
        BaselineRef { kind: BaselineKind::KernelBaseline, name: self.common.name.clone() }
    }
}
