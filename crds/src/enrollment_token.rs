//! EnrollmentToken: who may enrol machines, as what, until when.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// A secret with which machines enrol: until when, how often, with which labels, admitted at once or pending.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "muster.dev",
    version = "v1alpha1",
    kind = "EnrollmentToken",
    plural = "enrollmenttokens",
    singular = "enrollmenttoken",
    shortname = "et",
    category = "muster",
    namespaced,
    status = "EnrollmentTokenStatus",
    derive = "PartialEq",
    doc = "A secret with which machines enrol: until when, how often, with which labels, admitted at once or pending.",
    printcolumn(name = "Admit", type_ = "string", json_path = ".spec.admit"),
    printcolumn(name = "Uses", type_ = "integer", json_path = ".status.uses"),
    printcolumn(name = "Max uses", type_ = "integer", json_path = ".spec.maxUses"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expiryTime"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.secretHash == oldSelf.secretHash").message("a token's secret never changes: make a new token"))]
pub struct EnrollmentTokenSpec {
    /// SHA-256 of the secret; the secret itself is shown once, when it is made, and kept nowhere.
    #[schemars(schema_with = "schema::digest")]
    pub secret_hash: String,
    /// Until when the token is good.
    pub expiry_time: Time,
    /// How many machines may enrol with it.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_uses: u32,
    /// Labels that machines get on enrolment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub labels: BTreeMap<String, String>,
    /// Admitted: machines are planned for at once. Pending: only after somebody sets spec.admitted of the FleetMachine.
    #[serde(default)]
    pub admit: Admit,
}

fn one() -> u32 {
    1
}

/// Whether machines are planned for as soon as they have enrolled.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admit {
    /// At once.
    Admitted,
    /// After somebody admits them.
    #[default]
    Pending,
}

/// How often a token was used.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EnrollmentTokenStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// How many machines enrolled with it; counted before the machine gets its certificate.
    #[serde(default)]
    pub uses: u32,
    /// Ready: it can still be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}
