//! FleetPolicy: a namespace's defaults and guards. There is one, named `default`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::CustomResource;
use muster_model::WindowsPolicy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// The fleet's defaults and guards; one per namespace, named `default`.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "muster.dev",
    version = "v1alpha1",
    kind = "FleetPolicy",
    plural = "fleetpolicies",
    singular = "fleetpolicy",
    shortname = "fp",
    category = "muster",
    namespaced,
    status = "FleetPolicyStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "The fleet's defaults and guards; one per namespace, named `default`.",
    validation = Rule::new("self.metadata.name == 'default'")
        .message("a namespace has one FleetPolicy, and its name is default"),
    printcolumn(name = "Suspend", type_ = "boolean", json_path = ".spec.suspend"),
    printcolumn(name = "Windows", type_ = "string", json_path = ".spec.windows"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Packages", type_ = "string", json_path = ".status.estimates.packages", priority = 1),
    printcolumn(name = "Reboot", type_ = "string", json_path = ".status.estimates.reboot", priority = 1)
)]
#[serde(rename_all = "camelCase", default)]
pub struct FleetPolicySpec {
    /// Nothing starts in the namespace while true; what runs, finishes.
    pub suspend: bool,
    /// Whether machines without an Allow window may be changed at any time (Optional) or never (Required).
    #[schemars(schema_with = "schema::windows_policy")]
    pub windows: WindowsPolicy,
    /// A machine that is silent for so long counts as unavailable.
    #[schemars(schema_with = "schema::duration")]
    pub unreachable_after: String,
    /// A machine that is silent for so long is absent.
    #[schemars(schema_with = "schema::duration")]
    pub absent_after: String,
    /// A report that nothing confirmed for so long says nothing any more.
    #[schemars(schema_with = "schema::duration")]
    pub freshness: String,
    /// How many finished activities are kept for each machine. More are, while they say something still: failures that hold a
    /// place in budgets, bar an item or count as attempts, and the successes that made such failures good.
    #[schemars(range(min = 1, max = 1000))]
    pub history_limit: u32,
    /// How long finished activities are kept; the newest of a machine always is. RolloutApprovals that say nothing any more
    /// are kept for so long, too, and for 30 days at least.
    #[schemars(schema_with = "schema::duration")]
    pub ttl: String,
    /// How long after its creation an activity may still begin.
    #[schemars(schema_with = "schema::duration")]
    pub activity_expiry: String,
    /// The most machines that one change may affect: `muster plan` ends with 3 above it, for a pull request to fail. A
    /// number, or a percentage of the admitted machines rounded down but at least 1. Absent: no limit. A change does not
    /// lift its own limit: the narrower one of before and after counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::share")]
    pub blast_radius: Option<IntOrString>,
}

impl Default for FleetPolicySpec {
    fn default() -> Self {
        Self {
            suspend: false,
            windows: WindowsPolicy::Optional,
            unreachable_after: "5m".to_owned(),
            absent_after: "24h".to_owned(),
            freshness: "1h".to_owned(),
            history_limit: 10,
            ttl: "720h".to_owned(),
            activity_expiry: "1h".to_owned(),
            blast_radius: None,
        }
    }
}

/// What the controller measured.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FleetPolicyStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// How long 95 of 100 steps take at most; windows with less time left are too short for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimates: Option<EstimatesStatus>,
    /// How long half of the steps take at most; for forecasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medians: Option<EstimatesStatus>,
    /// Ready: it can be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// How long steps take, by kind: a percentile of the last 200 that ended, rounded up to half a minute; with fewer than twenty,
/// what is assumed at first.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct EstimatesStatus {
    /// Of package transactions, holds and repairs.
    #[schemars(schema_with = "schema::duration")]
    pub packages: String,
    /// Of kernel changes.
    #[schemars(schema_with = "schema::duration")]
    pub kernel: String,
    /// Of reboots.
    #[schemars(schema_with = "schema::duration")]
    pub reboot: String,
}

impl Default for EstimatesStatus {
    fn default() -> Self {
        Self { packages: "10m".to_owned(), kernel: "15m".to_owned(), reboot: "10m".to_owned() }
    }
}
