//! FleetMachine: one host. What it reports of itself is in `reported`, what was decided about it in `decision`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{DecisionStatus, ReportedStatus, schema};

/// One machine of the fleet.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "muster.dev",
    version = "v1alpha1",
    kind = "FleetMachine",
    plural = "fleetmachines",
    singular = "fleetmachine",
    shortname = "fm",
    category = "muster",
    namespaced,
    status = "FleetMachineStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "One machine of the fleet: who it is, what it reports, what was decided about it and why.",
    selectable = ".spec.identity",
    selectable = ".status.decision.verdict",
    validation = Rule::new("self.metadata.name.size() <= 63")
        .message("a machine's name has at most 63 characters, since it is also a label's value"),
    printcolumn(name = "Verdict", type_ = "string", json_path = ".status.decision.verdict"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.decision.reason"),
    printcolumn(name = "Until", type_ = "string", json_path = ".status.decision.untilTime"),
    printcolumn(name = "Blocker", type_ = "string", json_path = ".status.decision.blocker.name"),
    printcolumn(name = "Activity", type_ = "string", json_path = ".status.decision.currentActivity"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.decision.message", priority = 1),
    printcolumn(name = "OS", type_ = "string", json_path = ".status.reported.os.id", priority = 1),
    printcolumn(name = "Release", type_ = "string", json_path = ".status.reported.os.versionId", priority = 1),
    printcolumn(name = "Kernel", type_ = "string", json_path = ".status.reported.kernel.booted", priority = 1),
    printcolumn(name = "Agent", type_ = "string", json_path = ".status.reported.agent", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(oldSelf.identity) || (has(self.identity) && self.identity == oldSelf.identity)")
        .message("a machine's identity never changes: delete the FleetMachine and enrol the machine again")
)]
pub struct FleetMachineSpec {
    /// The machine's identity: a UUID given at enrolment, in its certificate. Never changes; the name is for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::uuid")]
    pub identity: Option<String>,
    /// Whether the machine may be planned for.
    #[serde(default)]
    pub admitted: bool,
    /// Nothing starts on the machine while true; what runs, finishes.
    #[serde(default)]
    pub suspend: bool,
    /// What people call the machine.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub title: String,
    /// Shuts the machine out: its certificate is refused within a report interval.
    #[serde(default)]
    pub revoked: bool,
    /// Failures of activities up to this number are resolved (`muster resolve`).
    #[serde(default)]
    pub resolved_through: u64,
    /// Attempts of activities up to this number don't count any more (`muster retry`).
    #[serde(default)]
    pub retried_through: u64,
}

/// What a machine reported, and what was decided about it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FleetMachineStatus {
    /// What the machine last said of itself; written by gateways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    #[x_kube(
        validation = Rule::new(
            "self.session > oldSelf.session || (self.session == oldSelf.session && self.sequence >= oldSelf.sequence)"
        )
        .message("a newer report is there already: session and sequence never decrease (rule M4)")
    )]
    pub reported: Option<ReportedStatus>,
    /// What the controller decided about the machine; written by the controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub decision: Option<DecisionStatus>,
    /// Reporting, Converged, Healthy, ClockInSync and Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}
