//! The words that several programs must spell alike: label and annotation keys, field managers, conditions, reasons.

/// The API group.
pub const GROUP: &str = "muster.dev";

/// The API version.
pub const VERSION: &str = "v1alpha1";

/// Label on an Activity: its machine's name.
pub const LABEL_MACHINE: &str = "muster.dev/machine";

/// Label on an Activity: the lease epoch of the controller that answers for it (rule A3).
pub const LABEL_EPOCH: &str = "muster.dev/epoch";

/// Label on what a source applied: the GitSource's name.
pub const LABEL_SOURCE: &str = "source.muster.dev/name";

/// Annotation on what a source applied: the revision (rule G2).
pub const ANNOTATION_REVISION: &str = "source.muster.dev/revision";

/// Annotation on what a source applied: where it was written, as `path:line`.
pub const ANNOTATION_FILE: &str = "source.muster.dev/file";

/// Name of the one FleetPolicy of a namespace.
pub const FLEET_POLICY_NAME: &str = "default";

/// Field manager of the controller's fleet pass.
pub const MANAGER_CONTROLLER: &str = "muster-controller";

/// Field manager of gateways.
pub const MANAGER_GATEWAY: &str = "muster-gateway";

/// Field manager of what comes from a source.
pub const MANAGER_SOURCE: &str = "muster-source";

/// Field manager of the facts that the controller mirrors as labels of FleetMachines.
pub const MANAGER_FACTS: &str = "muster-facts";

/// Annotation on inventories and proposals that nothing refers to: since when, in RFC 3339. They are deleted a while
/// after; who wants to refer to one takes the annotation away first, so that the deletion finds another version.
pub const ANNOTATION_UNREFERENCED: &str = "muster.dev/unreferenced-since";

/// Annotation on a FleetMachine: when `muster resolve` last took the machine out of budgets that count absent machines,
/// in RFC 3339 (rule B4). It holds until the machine is heard again.
pub const ANNOTATION_ABSENCE_RESOLVED: &str = "muster.dev/absence-resolved-time";

/// Whether a label's key is that of a mirrored fact: `fact.muster.dev/…` or `<domain>.fact.muster.dev/…`.
#[must_use]
pub fn is_fact(key: &str) -> bool {
    key.split_once('/')
        .is_some_and(|(prefix, _)| prefix == "fact.muster.dev" || prefix.ends_with(".fact.muster.dev"))
}

/// Condition types.
pub mod condition {
    /// All is as it should be; what kstatus and `kubectl wait` look at.
    pub const READY: &str = "Ready";
    /// Work is under way (kstatus); present only while true.
    pub const RECONCILING: &str = "Reconciling";
    /// No progress without somebody's help (kstatus); present only while true.
    pub const STALLED: &str = "Stalled";
    /// The resource makes sense, alone and beside the others (rule S2).
    pub const ACCEPTED: &str = "Accepted";
    /// The machine reports (rule M1).
    pub const REPORTING: &str = "Reporting";
    /// The machine is as its baselines want it.
    pub const CONVERGED: &str = "Converged";
    /// The units that must be active are.
    pub const HEALTHY: &str = "Healthy";
    /// The machine's clock agrees with the controller's (rule M3).
    pub const CLOCK_IN_SYNC: &str = "ClockInSync";
    /// The activity was given to its machine.
    pub const DELIVERED: &str = "Delivered";
    /// The activity is over and did what it was to do.
    pub const COMPLETE: &str = "Complete";
    /// The activity is over and did not.
    pub const FAILED: &str = "Failed";
}

/// Reasons of conditions; an activity's outcome reasons and verdicts' reasons serve as such besides.
pub mod reason {
    /// All selected machines are as wanted.
    pub const CONVERGED: &str = "Converged";
    /// Some machines are not as wanted yet.
    pub const NOT_CONVERGED: &str = "NotConverged";
    /// Nothing can be said: no fresh report.
    pub const UNKNOWN: &str = "Unknown";
    /// The resource selects no machine.
    pub const NO_MACHINES: &str = "NoMachines";
    /// The resource is in order.
    pub const VALID: &str = "Valid";
    /// Steps are estimated to take longer than half of the window.
    pub const SHORT: &str = "Short";
    /// The resource cannot be read; the message says which field and why.
    pub const INVALID: &str = "Invalid";
    /// Another baseline of the same priority contradicts (rule S2).
    pub const CONFLICTED: &str = "Conflicted";
    /// A window's schedule, zone or duration cannot be read: it closes its machines (rule W7).
    pub const UNREADABLE: &str = "Unreadable";
    /// A window never opens again (rule W8).
    pub const NEVER_OPENS: &str = "NeverOpens";
    /// A budget allows no disruption at all (rule B1).
    pub const ALLOWS_NONE: &str = "AllowsNone";
    /// A budget has no place left.
    pub const EXHAUSTED: &str = "Exhausted";
    /// A budget has places left.
    pub const AVAILABLE: &str = "Available";
    /// An item is barred (rule O3).
    pub const BARRED: &str = "Barred";
    /// A wave can bring no evidence of an item (rule O2).
    pub const NO_EVIDENCE: &str = "NoEvidence";
    /// Machines have still to take an item.
    pub const IN_PROGRESS: &str = "InProgress";
    /// Starts are suspended.
    pub const SUSPENDED: &str = "Suspended";
    /// The source's revision is in force.
    pub const APPLIED: &str = "Applied";
    /// The source's revision is being applied (rule G2).
    pub const APPLYING: &str = "Applying";
    /// The revision has errors, and the one before stays in force (rule G1).
    pub const REVISION_INVALID: &str = "RevisionInvalid";
    /// The source cannot be fetched or read; the last good revision stays in force (rule G4).
    pub const SOURCE_UNREADABLE: &str = "SourceUnreadable";
    /// Removals wait until the spec allows them (rule G4).
    pub const REMOVAL_HELD: &str = "RemovalHeld";
    /// Applying failed midway and went back to the last good revision (rule G2).
    pub const APPLY_FAILED: &str = "ApplyFailed";
    /// Another source owns an object of the same name.
    pub const NOT_OURS: &str = "NotOurs";
    /// The token is past its time.
    pub const EXPIRED: &str = "Expired";
    /// The token has been used as often as it may be.
    pub const USED_UP: &str = "UsedUp";
    /// The machine is heard.
    pub const HEARD: &str = "Heard";
    /// The machine is silent.
    pub const SILENT: &str = "Silent";
    /// The machine never reported.
    pub const NEVER_REPORTED: &str = "NeverReported";
    /// The machine is not admitted yet (rule M5).
    pub const NOT_ADMITTED: &str = "NotAdmitted";
    /// The machine is shut out.
    pub const REVOKED: &str = "Revoked";
    /// Two machines have the same identity; both are shut out until somebody decides.
    pub const DUPLICATE_IDENTITY: &str = "DuplicateIdentity";
    /// All units are active.
    pub const UNITS_ACTIVE: &str = "UnitsActive";
    /// Units failed.
    pub const UNITS_FAILED: &str = "UnitsFailed";
    /// The clock is off.
    pub const CLOCK_SKEW: &str = "ClockSkew";
    /// The clock agrees.
    pub const IN_SYNC: &str = "InSync";
    /// The activity is not over.
    pub const PENDING: &str = "Pending";
    /// The activity succeeded.
    pub const SUCCEEDED: &str = "Succeeded";
    /// The activity was given to its machine.
    pub const DELIVERED: &str = "Delivered";
    /// A result came after the activity was judged (rule A4).
    pub const LATE_RESULT: &str = "LateResult";
}
