//! The controller's decision about a machine, as a FleetMachine shows it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use muster_model::BaselineKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ObjectReference, PackageReference, schema};

/// How many requirements that have not converged a decision lists; the totals are beside them.
pub const MAX_LISTED_REQUIREMENTS: usize = 20;

/// The longest message of a decision, in characters.
pub const MAX_MESSAGE_CHARACTERS: usize = 512;

/// What the controller decided about a machine, and why.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DecisionStatus {
    /// The generation of the FleetMachine's spec that was decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// The decision: Converged, Start, Active, Waiting, Blocked, Unmanaged or Unknown; the most actionable of the
    /// requirements'.
    #[schemars(schema_with = "schema::verdict")]
    pub verdict: String,
    /// The rule of the design that decided.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 16))]
    pub rule: String,
    /// Why, as one word of a closed set.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub reason: String,
    /// Why, in words, with the numbers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub message: String,
    /// When it clears by itself; absent: on an event, or never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_time: Option<Time>,
    /// The object that stands in the way; its own status has the numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocker: Option<ObjectReference>,
    /// Requirements that have not converged, most actionable first; the first 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    pub requirements: Vec<RequirementStatus>,
    /// How many requirements have not converged.
    #[serde(default)]
    pub requirements_not_converged: u32,
    /// How many requirements the machine has.
    #[serde(default)]
    pub requirements_total: u32,
    /// What the machine is asked to report on and to simulate.
    #[serde(default)]
    pub wanted: WantedStatus,
    /// The unfinished activity on the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_name")]
    pub current_activity: Option<String>,
    /// The highest number that an activity of the machine ever had; 0: none.
    #[serde(default)]
    pub highest_activity_number: u64,
    /// Holds that Muster set on the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), extend("x-kubernetes-list-type" = "atomic"))]
    pub holds: Vec<PackageReference>,
    /// When the machine first converged with all its baselines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_converged_time: Option<Time>,
    /// The source's revision that was decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::revision")]
    pub revision: Option<String>,
}

/// One requirement that has not converged.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RequirementStatus {
    /// Whose requirement it is.
    pub baseline: RequirementBaseline,
    /// What it is about: a package (`openssl:amd64`), `reboot` or `kernel`.
    #[schemars(length(max = 161))]
    pub resource: String,
    /// The decision about it.
    #[schemars(schema_with = "schema::verdict")]
    pub verdict: String,
    /// The rule of the design that decided.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 16))]
    pub rule: String,
    /// Why, as one word of a closed set.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub reason: String,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub message: String,
    /// What is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub installed: Option<String>,
    /// What is to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub target: Option<String>,
    /// When it clears by itself; absent: on an event, or never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_time: Option<Time>,
}

/// A baseline, by kind and name.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RequirementBaseline {
    /// The baseline's kind.
    #[schemars(schema_with = "schema::baseline_kind")]
    pub kind: BaselineKind,
    /// The baseline's name.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

/// What the machine is asked to report on and to simulate.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WantedStatus {
    /// Digest of the wanted set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::digest")]
    pub digest: Option<String>,
    /// Packages whose offers belong in the inventory, installed or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::package_names")]
    pub interest: Vec<String>,
    /// Exact targets to simulate, sorted by package.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), extend("x-kubernetes-list-type" = "atomic"))]
    pub items: Vec<WantedItemStatus>,
}

/// One exact target.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WantedItemStatus {
    /// The package's name.
    #[schemars(schema_with = "schema::package_name")]
    pub name: String,
    /// Its dpkg architecture.
    #[schemars(schema_with = "schema::architecture")]
    pub architecture: String,
    /// The version to have; absent: the package is to be removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::version")]
    pub version: Option<String>,
}
