//! DisruptionBudget: how many of the selected machines may be disrupted at a time, over all baselines.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use muster_model::AbsentMachines;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// How many of the selected machines may be disrupted at a time, or must be available, over all baselines.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "muster.dev",
    version = "v1alpha1",
    kind = "DisruptionBudget",
    plural = "disruptionbudgets",
    singular = "disruptionbudget",
    shortname = "mdb",
    category = "muster",
    namespaced,
    status = "DisruptionBudgetStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "How many of the selected machines may be disrupted at a time, or must be available, over all baselines.",
    printcolumn(name = "Machines", type_ = "integer", json_path = ".status.machines"),
    printcolumn(name = "Unavailable", type_ = "integer", json_path = ".status.unavailable"),
    printcolumn(name = "Max", type_ = "integer", json_path = ".status.maxUnavailable"),
    printcolumn(name = "In flight", type_ = "integer", json_path = ".status.inFlight"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Absent", type_ = "string", json_path = ".spec.absent", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.maxUnavailable) != has(self.minAvailable)")
        .message("write exactly one of maxUnavailable and minAvailable")
)]
pub struct DisruptionBudgetSpec {
    /// The machines that the budget is about, by their labels and facts; `{}` is all of the namespace.
    #[schemars(schema_with = "schema::machine_selector")]
    pub machine_selector: LabelSelector,
    /// At most so many of them may be unavailable: a number, or a percentage rounded down but at least 1. 0 means that nothing
    /// starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::share")]
    pub max_unavailable: Option<IntOrString>,
    /// At least so many of them must be available: a number, or a percentage rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::share")]
    pub min_available: Option<IntOrString>,
    /// What silent machines on which nothing of ours was under way mean: Count as unavailable (an etcd member that is gone is
    /// missed), or Ignore (closed laptops).
    #[serde(default)]
    #[schemars(schema_with = "schema::absent_machines")]
    pub absent: AbsentMachines,
}

/// How much of a budget is used.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DisruptionBudgetStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// How many machines it is about.
    #[serde(default)]
    pub machines: u32,
    /// How many of them may be unavailable.
    #[serde(default)]
    pub max_unavailable: u32,
    /// How many are.
    #[serde(default)]
    pub unavailable: u32,
    /// How many of these by activities under way.
    #[serde(default)]
    pub in_flight: u32,
    /// Ready: it can be read and allows something.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}
