//! BaselineRollout: how a baseline's items have spread.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BaselineReference, schema};

/// How many items a rollout records: 500 packages of a baseline in four architectures.
pub const MAX_ITEMS: usize = 2000;

/// How many of a rollout's items say what their waves say: those not released yet come first, since a released one has passed
/// them all. So the object stays below what a server stores, with ten waves each.
pub const MAX_ITEMS_WITH_WAVES: usize = 500;

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
    printcolumn(name = "Released", type_ = "integer", json_path = ".status.itemsReleased"),
    printcolumn(name = "Barred", type_ = "integer", json_path = ".status.itemsBarred"),
    printcolumn(name = "Wave", type_ = "string", json_path = ".status.wave"),
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
    /// How many of them have passed every wave.
    #[serde(default)]
    pub items_released: u32,
    /// The first wave that an item waits for; `rest` where none does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub wave: String,
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
    /// When it was first wanted somewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_time: Option<Time>,
    /// Since when it may go to every machine. The last released target of a package stays enforced where a newer one has yet
    /// to come. Absent: not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_time: Option<Time>,
    /// When somebody approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_time: Option<Time>,
    /// When somebody last resumed it: failures before that count no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_time: Option<Time>,
    /// Since when it is paused, because a wave can bring no evidence of it. Absent: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_time: Option<Time>,
    /// What its waves say, as far as they have begun.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub waves: Vec<RolloutItemWave>,
}

/// What one wave says of one item.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RolloutItemWave {
    /// The wave's name; `rest` for the machines that no wave picks.
    #[schemars(schema_with = "schema::wave_name")]
    pub name: String,
    /// Machines of the wave whose target the item is.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub wanted: u32,
    /// Of these, machines that have it and are healthy.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub done: u32,
    /// Of these, machines that the wave does not wait for: blocked, or silent before anything was sent to them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: u32,
    /// Machines of the wave with a failed attempt at it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed: u32,
    /// Since when the last of those that have it has it: the soak counts from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_time: Option<Time>,
    /// A hash of the names of those that have it, in hexadecimal digits: when they are others, the soak begins anew. Absent
    /// once the wave has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub holders: Option<String>,
    /// The last zone that passed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub zone: Option<String>,
    /// When the item passed the wave, for good. Absent: not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed_time: Option<Time>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
