//! RolloutApproval: what a person said about a baseline's items.

use kube::{CustomResource, KubeSchema};
use muster_model::ApprovalAction;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BaselineReference, schema};

/// Somebody's word about a rollout's items: pause, resume or approve them. It never changes: say another word instead.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "muster.dev",
    version = "v1alpha1",
    kind = "RolloutApproval",
    plural = "rolloutapprovals",
    singular = "rolloutapproval",
    shortname = "ra",
    category = "muster",
    namespaced,
    derive = "PartialEq",
    doc = "Somebody's word about a rollout's items: pause, resume or approve them. It never changes: say another word instead.",
    printcolumn(name = "Action", type_ = "string", json_path = ".spec.action"),
    printcolumn(name = "Baseline", type_ = "string", json_path = ".spec.baselineRef.name"),
    printcolumn(name = "Package", type_ = "string", json_path = ".spec.item.package"),
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.item.target"),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.by"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self == oldSelf").message("an approval never changes: make another one")
)]
pub struct RolloutApprovalSpec {
    /// The baseline whose items it is about.
    pub baseline_ref: BaselineReference,
    /// Pause: they start nowhere until they are resumed. Resume: a pause ends, bars fall with the failures so far, and a wave
    /// without evidence is passed over. Approve: they may enter waves that ask for approval.
    #[schemars(schema_with = "schema::approval_action")]
    pub action: ApprovalAction,
    /// Which items. Absent: all of the baseline's; an approval is then of those that were there to see, not of what comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<ApprovedItem>,
    /// Who says so: the user that creates it, as the API server knows them (`kubectl auth whoami`). Another name is refused.
    #[schemars(length(min = 1, max = 256))]
    pub by: String,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub reason: String,
}

/// Which items somebody speaks of.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ApprovedItem {
    /// The package's name.
    #[schemars(schema_with = "schema::package_name")]
    pub package: String,
    /// Its dpkg architecture. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::architecture")]
    pub architecture: Option<String>,
    /// The exact target, a version or `absent`. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::version")]
    pub target: Option<String>,
}
