//! What several kinds have in common: references, health, changes of packages.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use muster_model::BaselineKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// One thing that is wrong with a resource: what [`to_model`](crate::PackageBaseline::to_model) and its like return.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct FieldError {
    /// The field's path, as in `spec.packages[2].version`.
    pub field: String,
    /// The rule of the design that says so, as in `V1`; empty for plain form.
    pub rule: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

/// A baseline, by kind, name and uid.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BaselineReference {
    /// The baseline's kind.
    #[schemars(schema_with = "schema::baseline_kind")]
    pub kind: BaselineKind,
    /// The baseline's name.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// The baseline's uid, where a baseline of the same name made anew would be another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::uid")]
    pub uid: Option<String>,
}

/// A machine, by name and uid.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MachineReference {
    /// The FleetMachine's name.
    #[schemars(schema_with = "schema::machine_name")]
    pub name: String,
    /// The FleetMachine's uid: a machine of the same name made anew is another one.
    #[schemars(schema_with = "schema::uid")]
    pub uid: String,
}

/// Any object of the namespace, by kind and name.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    /// The object's kind.
    #[schemars(length(max = 63))]
    pub kind: String,
    /// The object's name.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

/// One package on one machine.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PackageReference {
    /// The package's name.
    #[schemars(schema_with = "schema::package_name")]
    pub name: String,
    /// Its dpkg architecture; packages of architecture `all` are listed under the machine's own.
    #[schemars(schema_with = "schema::architecture")]
    pub architecture: String,
}

/// One package's change in an apt transaction.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PackageChange {
    /// The package's name.
    #[schemars(schema_with = "schema::package_name")]
    pub name: String,
    /// Its dpkg architecture; packages of architecture `all` are listed under the machine's own.
    #[schemars(schema_with = "schema::architecture")]
    pub architecture: String,
    /// The version before; absent: not installed before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::version")]
    pub from: Option<String>,
    /// The version after; absent: removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::version")]
    pub to: Option<String>,
}

/// What healthy means for a machine.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthSpec {
    /// The systemd units that must be active, with their suffix: `nginx.service`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::units")]
    pub units: Vec<String>,
    /// How long they must stay so after a change before it counts as done, as in `2m`.
    #[schemars(schema_with = "schema::duration")]
    pub settle: String,
}

impl Default for HealthSpec {
    fn default() -> Self {
        Self { units: Vec::new(), settle: "0s".to_owned() }
    }
}

/// The state of a baseline over the machines that it selects; converged, notConverged, unknown and absent sum to selected.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BaselineStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// How many admitted machines the baseline selects.
    #[serde(default)]
    pub selected: u32,
    /// Of these, how many have a fresh report and are as wanted.
    #[serde(default)]
    pub converged: u32,
    /// How many have a fresh report and are not as wanted.
    #[serde(default)]
    pub not_converged: u32,
    /// How many have no fresh report.
    #[serde(default)]
    pub unknown: u32,
    /// How many have been silent for the policy's absentAfter.
    #[serde(default)]
    pub absent: u32,
    /// Of those not converged, how many an activity is under way on.
    #[serde(default)]
    pub active: u32,
    /// Of those not converged, how many wait for somebody to do something.
    #[serde(default)]
    pub blocked: u32,
    /// How many machines count as unavailable against the baseline's maxUnavailable.
    #[serde(default)]
    pub unavailable: u32,
    /// How many may be unavailable at a time.
    #[serde(default)]
    pub max_unavailable: u32,
    /// Contradictions with other baselines of the same priority; the first 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    pub conflicts: Vec<BaselineConflict>,
    /// Accepted: it makes sense beside the others. Ready: all selected machines are as wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// A package about which two baselines of equal priority cannot both be right.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BaselineConflict {
    /// The package, as in `openssl:amd64`.
    #[schemars(length(max = 161))]
    pub package: String,
    /// The other baseline.
    pub with: BaselineReference,
    /// On how many machines.
    pub machines: u32,
}
