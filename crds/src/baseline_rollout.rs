//! BaselineRollout: how a baseline's items have spread.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BaselineReference, schema};

/// How many items a rollout records: 500 packages of a baseline in four architectures.
pub const MAX_ITEMS: usize = 2000;

/// In `target`: the package is to be gone. No version, since those begin with a digit.
pub const TARGET_ABSENT: &str = "absent";

/// How far a baseline's changes have spread; one per baseline, `pb-NAME` or `kb-NAME`, kept by the controller.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "muster.dev",
    version = "v1alpha1",
    kind = "BaselineRollout",
    plural = "baselinerollouts",
    singular = "baselinerollout",
    shortname = "br",
    category = "muster",
    namespaced,
    status = "BaselineRolloutStatus",
    derive = "PartialEq",
    doc = "How far a baseline's changes have spread; one per baseline, `pb-NAME` or `kb-NAME`, kept by the controller.",
    printcolumn(name = "Items", type_ = "integer", json_path = ".status.itemsTotal"),
    printcolumn(name = "Done", type_ = "integer", json_path = ".status.itemsDone"),
    printcolumn(name = "Barred", type_ = "integer", json_path = ".status.itemsBarred"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.baselineRef.kind == oldSelf.baselineRef.kind && self.baselineRef.name == oldSelf.baselineRef.name")
        .message("a rollout belongs to one baseline for good")
)]
pub struct BaselineRolloutSpec {
    /// The baseline.
    pub baseline_ref: BaselineReference,
}

/// How far each item has spread.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BaselineRolloutStatus {
    /// The generation of the baseline's spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// By item: a package's exact target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 2000),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["package", "architecture", "target"])
    )]
    pub items: Vec<RolloutItem>,
    /// How many items there are.
    #[serde(default)]
    pub items_total: u32,
    /// How many of them every machine that wants them has.
    #[serde(default)]
    pub items_done: u32,
    /// How many of them are barred.
    #[serde(default)]
    pub items_barred: u32,
    /// Ready: every machine has every item that it wants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// How far one item has spread.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RolloutItem {
    /// The package's name.
    #[schemars(schema_with = "schema::package_name")]
    pub package: String,
    /// Its dpkg architecture.
    #[schemars(schema_with = "schema::architecture")]
    pub architecture: String,
    /// What it is to be: a version, or `absent`.
    #[schemars(schema_with = "schema::version")]
    pub target: String,
    /// Machines whose target it is.
    #[serde(default)]
    pub wanted: u32,
    /// Of these, machines that have it.
    #[serde(default)]
    pub done: u32,
    /// Machines with a failed attempt at it.
    #[serde(default)]
    pub failed: u32,
    /// Since when it is barred: too many machines failed, and it starts nowhere any more. Absent: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub barred_time: Option<Time>,
}
