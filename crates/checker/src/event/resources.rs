//! What Git says: baselines, windows, budgets, the policy; selectors and schedules as they were written.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use muster_model::{
    AbsentMachines, Architecture, BaselineKind, BaselineRef, Conffiles, Cover, GoDuration, Instant, Mode,
    ObjectName, PackageName, PackageWish, Permit, RebootWhen, Share, Uid, UnitName, WindowAction,
    WindowsPolicy,
};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::text::optional_instant;

/// A label selector as Kubernetes has it; an empty one selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    /// Each label has that value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<SmolStr, SmolStr>,
    /// Each of these holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Expression>,
}

/// One expression of a selector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expression {
    /// The label.
    pub key: SmolStr,
    /// What is asked of it.
    pub operator: Operator,
    /// Of `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub values: BTreeSet<SmolStr>,
}

/// What is asked of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// It has one of the values.
    In,
    /// It has none of them, or is not there.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

/// A PackageBaseline or KernelBaseline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Baseline {
    /// Its kind.
    pub kind: BaselineKind,
    /// Its name.
    pub name: ObjectName,
    /// Its uid.
    pub uid: Uid,
    /// The revision that it was applied from, if a source did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<SmolStr>,
    /// Which machines.
    pub selector: Selector,
    /// Enforce or observe.
    #[serde(default)]
    pub mode: Mode,
    /// Higher wins.
    #[serde(default)]
    pub priority: i32,
    /// Its requirements; of a KernelBaseline the followed package.
    #[serde(default)]
    pub packages: Vec<Requirement>,
    /// Which upgrades it wants: `None`, `Security`, `All`; absent: it has no say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrades: Option<SmolStr>,
    /// Whether versions may go down (rule V5).
    #[serde(default)]
    pub downgrades: Permit,
    /// Whether packages may be removed that it does not name (rule A7).
    #[serde(default)]
    pub removals: Permit,
    /// Changed configuration files.
    #[serde(default)]
    pub conffiles: Conffiles,
    /// Whether it reboots.
    #[serde(default)]
    pub reboot: RebootWhen,
    /// How long a reboot may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot_timeout: Option<GoDuration>,
    /// Units that must be active.
    #[serde(default)]
    pub units: BTreeSet<UnitName>,
    /// How long they must be.
    #[serde(default)]
    pub settle: GoDuration,
    /// How it spreads; absent: nothing is asked of that, neither waves nor a number of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
}

impl Baseline {
    /// Whether it asks for upgrades of packages that it does not name.
    pub(crate) fn upgrades_any(&self) -> bool {
        self.upgrades.as_ref().is_some_and(|policy| policy != "None")
    }

    /// Kind and name.
    #[must_use]
    pub fn reference(&self) -> BaselineRef {
        BaselineRef { kind: self.kind, name: self.name.clone() }
    }
}

/// One requirement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Requirement {
    /// The package.
    pub name: PackageName,
    /// Its architecture; absent: the machine's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Architecture>,
    /// Present or absent.
    #[serde(default)]
    pub state: PackageWish,
    /// Versions, as written: `>= 1.2, << 2`, `latest`; empty: any.
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub version: SmolStr,
    /// Whether it is to be held.
    #[serde(default)]
    pub hold: bool,
}

/// How a baseline's items spread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollout {
    /// In this order; the rest is a last one of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waves: Vec<Wave>,
    /// How many machines may be unavailable.
    pub max_unavailable: Share,
    /// How many machines may fail an item.
    pub max_failures: Share,
    /// How long a machine holds its place after success.
    #[serde(default)]
    pub min_ready: GoDuration,
    /// Zones by this label take turns (rule O6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_key: Option<SmolStr>,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            waves: Vec::new(),
            max_unavailable: Share::Percent(10),
            max_failures: Share::Count(0),
            min_ready: GoDuration::default(),
            zone_key: None,
        }
    }
}

/// One wave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wave {
    /// Its name.
    pub name: SmolStr,
    /// Which of the baseline's machines; absent: by number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// How many of the baseline's machines, by a stable hash; absent: by selector, or all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machines: Option<Share>,
    /// How long it must be well after the last of its machines.
    #[serde(default)]
    pub soak: GoDuration,
    /// Its own number of failures; absent: the rollout's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_failures: Option<Share>,
    /// Whether somebody must approve each item first (rule O7).
    #[serde(default)]
    pub approval_required: bool,
}

/// A MaintenanceWindow: a schedule, or one span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// Its name.
    pub name: ObjectName,
    /// The revision that it was applied from, if a source did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<SmolStr>,
    /// Which machines.
    pub selector: Selector,
    /// Allow or deny.
    pub action: WindowAction,
    /// The schedule's five fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<SmolStr>,
    /// Days later than the schedule says.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset_days: i32,
    /// The zone's name; absent: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<SmolStr>,
    /// How long each opening lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<GoDuration>,
    /// Of one span: its start.
    #[serde(default, with = "optional_instant", skip_serializing_if = "Option::is_none")]
    pub from: Option<Instant>,
    /// Of one span: its end.
    #[serde(default, with = "optional_instant", skip_serializing_if = "Option::is_none")]
    pub to: Option<Instant>,
    /// It cannot be read, and closes its machines (rule W7): why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// Nothing starts in the last part.
    #[serde(default)]
    pub cutoff: GoDuration,
    /// Which step types; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covers: Option<BTreeSet<Cover>>,
    /// Of a Deny: whether an override may pass it (rule W9).
    #[serde(default)]
    pub overridable: bool,
}

fn is_zero(days: &i32) -> bool {
    *days == 0
}

/// A DisruptionBudget: one of the two numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Budget {
    /// Its name.
    pub name: ObjectName,
    /// The revision that it was applied from, if a source did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<SmolStr>,
    /// Which machines.
    pub selector: Selector,
    /// How many may be unavailable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<Share>,
    /// How many must be available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_available: Option<Share>,
    /// Whether silent machines count (rule B4).
    #[serde(default)]
    pub absent: AbsentMachines,
}

/// The FleetPolicy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Policy {
    /// Nothing starts.
    pub suspend: bool,
    /// Whether machines need an Allow window.
    pub windows: WindowsPolicy,
    /// Silent for so long: unavailable.
    pub unreachable_after: GoDuration,
    /// Silent for so long: absent.
    pub absent_after: GoDuration,
    /// A report older than that says nothing.
    pub freshness: GoDuration,
    /// Finished activities kept for each machine.
    pub history_limit: u32,
    /// How long they are kept.
    pub ttl: GoDuration,
    /// How long an activity may wait to be begun.
    pub activity_expiry: GoDuration,
    /// How long a package transaction takes.
    pub estimate_packages: GoDuration,
    /// How long a kernel change takes.
    pub estimate_kernel: GoDuration,
    /// How long a reboot takes.
    pub estimate_reboot: GoDuration,
}

impl Default for Policy {
    fn default() -> Self {
        let minutes = |minutes| {
            GoDuration::new(SignedDuration::from_mins(minutes)).expect("a constant within the bounds")
        };
        Self {
            suspend: false,
            windows: WindowsPolicy::Optional,
            unreachable_after: minutes(5),
            absent_after: minutes(24 * 60),
            freshness: minutes(60),
            history_limit: 10,
            ttl: minutes(30 * 24 * 60),
            activity_expiry: minutes(60),
            estimate_packages: minutes(10),
            estimate_kernel: minutes(15),
            estimate_reboot: minutes(10),
        }
    }
}

/// A GitSource's status (rule G2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// Its name.
    pub name: SmolStr,
    /// The revision in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<SmolStr>,
    /// Whether another one is being applied.
    pub applying: bool,
    /// The objects of the revision in force, as `Kind/name`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub owns: BTreeSet<SmolStr>,
}
