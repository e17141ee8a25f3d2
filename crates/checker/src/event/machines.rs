//! What is known of machines: what people say, what they report, what they do.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{
    ActivityName, Architecture, BaselineRef, Capability, DebianVersion, Instant, MachineName, PackageKey,
    Uid, UnitName,
};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::text::{activity_name, instant, optional_activity_name, optional_instant};

/// A FleetMachine's spec and labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Machine {
    /// Its name.
    pub name: MachineName,
    /// Its uid: a machine of the same name made anew is another one.
    pub uid: Uid,
    /// Labels from Git, a person or its token, mirrored facts included.
    #[serde(default)]
    pub labels: BTreeMap<SmolStr, SmolStr>,
    /// Whether it may be planned for (rule M5).
    pub admitted: bool,
    /// A person took it out of planning for now.
    #[serde(default)]
    pub suspend: bool,
    /// Shut out for good.
    #[serde(default)]
    pub revoked: bool,
    /// Failures of activities up to this number are resolved.
    #[serde(default)]
    pub resolved_through: u64,
    /// Attempts up to this number don't count any more.
    #[serde(default)]
    pub retried_through: u64,
    /// Holds that are on record as ours (rule V6).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<PackageKey>,
    /// When a person last resolved its absence (rule B4).
    #[serde(default, with = "optional_instant", skip_serializing_if = "Option::is_none")]
    pub absence_resolved: Option<Instant>,
    /// When it had first converged, if that is on record as the log begins (rule O5).
    #[serde(default, with = "optional_instant", skip_serializing_if = "Option::is_none")]
    pub first_converged: Option<Instant>,
}

/// What a machine reported, as far as rules need it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Report {
    /// Which.
    pub machine: MachineName,
    /// The session that the gateway opened (rule M4).
    pub session: u64,
    /// The report's number within the session.
    pub sequence: u64,
    /// When the gateway received it.
    #[serde(with = "instant")]
    pub received: Instant,
    /// dpkg's native architecture.
    pub architecture: Architecture,
    /// What the agent can do.
    pub capabilities: BTreeSet<Capability>,
    /// Facts that selectors read.
    #[serde(default)]
    pub facts: BTreeMap<SmolStr, SmolStr>,
    /// The boot's id.
    pub boot_id: SmolStr,
    /// The running kernel.
    pub kernel: SmolStr,
    /// The running kernel's command line.
    #[serde(default)]
    pub command_line: SmolStr,
    /// The kernel that boots next, where that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_boot: Option<SmolStr>,
    /// Whether a reboot is required.
    #[serde(default)]
    pub reboot_required: bool,
    /// Whether dpkg was interrupted.
    #[serde(default)]
    pub dpkg_interrupted: bool,
    /// Units that failed.
    #[serde(default)]
    pub failed_units: BTreeSet<UnitName>,
    /// The last activity that the agent carried out to its end; 0: none.
    #[serde(default)]
    pub last_activity: u64,
    /// The packages that some baseline names or some activity changed, whether installed or only on offer.
    #[serde(default)]
    pub packages: Vec<ReportedPackage>,
}

/// One package of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportedPackage {
    /// Its name.
    pub name: muster_model::PackageName,
    /// Its architecture, the native one for `all`.
    pub architecture: Architecture,
    /// The version that is installed and configured; absent: none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed: Option<DebianVersion>,
    /// It is there, but unpacked, half-configured or half-installed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub broken: bool,
    /// On hold.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// What apt would install.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<DebianVersion>,
    /// What is on offer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offers: Vec<ReportedOffer>,
}

impl ReportedPackage {
    /// Name and architecture.
    #[must_use]
    pub fn key(&self) -> PackageKey {
        PackageKey { name: self.name.clone(), architecture: self.architecture.clone() }
    }
}

/// One version on offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportedOffer {
    /// The version.
    pub version: DebianVersion,
    /// Its pin priority.
    pub pin: i32,
}

/// A machine really began or finished a step: the truth behind what statuses say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Acted {
    /// Which machine: for a clone or a mix-up, not the activity's.
    pub machine: MachineName,
    /// On behalf of which activity.
    #[serde(with = "activity_name")]
    pub activity: ActivityName,
    /// The activity's uid: what an agent knows it by.
    pub uid: Uid,
    /// Which step, from 0.
    pub step: usize,
    /// Whether it did what the step says (`true`), or is about to begin (`false`).
    pub done: bool,
}

/// A machine booted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Booted {
    /// Which.
    pub machine: MachineName,
    /// The new boot's id.
    pub boot_id: SmolStr,
    /// The kernel that runs.
    pub kernel: SmolStr,
    /// The activity that asked for it; absent: somebody or something else did.
    #[serde(default, with = "optional_activity_name", skip_serializing_if = "Option::is_none")]
    pub activity: Option<ActivityName>,
}

/// What was decided about a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Decided {
    /// Which.
    pub machine: MachineName,
    /// `Converged`, `Waiting`, `Blocked` …
    pub verdict: SmolStr,
    /// The rule that it names.
    pub rule: SmolStr,
    /// The reason: `WindowClosed`, `Budget` …; empty where there is none.
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub reason: SmolStr,
    /// Those of its requirements that have not converged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<DecidedRequirement>,
}

/// What was decided about one requirement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DecidedRequirement {
    /// Whose.
    pub baseline: BaselineRef,
    /// What about: `openssl:amd64`, `reboot`.
    pub resource: SmolStr,
    /// As of the machine.
    pub verdict: SmolStr,
    /// As of the machine.
    pub rule: SmolStr,
    /// As of the machine.
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub reason: SmolStr,
}
