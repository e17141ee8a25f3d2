//! WindowOverride: which items may pass which window or freeze, why, until when.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use muster_model::BaselineKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Lets items pass a window or a freeze until a time: an emergency fix in a freeze. It never changes: delete it to end it, or
/// make another one.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "muster.dev",
    version = "v1alpha1",
    kind = "WindowOverride",
    plural = "windowoverrides",
    singular = "windowoverride",
    shortname = "wo",
    category = "muster",
    namespaced,
    derive = "PartialEq",
    doc = "Lets items pass a window or a freeze until a time. It never changes: delete it to end it, or make another one.",
    printcolumn(name = "Windows", type_ = "string", json_path = ".spec.windows[*]"),
    printcolumn(name = "Until", type_ = "string", json_path = ".spec.untilTime"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Baselines",
        type_ = "string",
        json_path = ".spec.items[*].baseline.name",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(concat!(
        "self.windows == oldSelf.windows && self.items == oldSelf.items && self.reason == oldSelf.reason",
        " && self.untilTime == oldSelf.untilTime"
    ))
    .message("an override never changes: delete it to end it, and make another one")
)]
pub struct WindowOverrideSpec {
    /// The MaintenanceWindows that may be passed. An Allow is then open to the items until the end; a Deny is then not there for
    /// them, if it says `overridable: true`, and stays in force otherwise.
    #[schemars(schema_with = "schema::overridden_windows")]
    pub windows: Vec<String>,
    /// What may pass them; all else waits as before.
    #[schemars(length(min = 1, max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    pub items: Vec<OverrideItem>,
    /// Why, for those who read it later: an incident, an advisory.
    #[schemars(length(min = 1, max = 512))]
    pub reason: String,
    /// Until when. Nothing starts by it from then on.
    pub until_time: Time,
}

/// One item that may pass.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.__package__) == has(self.version)").message("package and version go together"),
    validation = Rule::new("has(self.__package__) != self.reboot")
        .message("write either package and version, or reboot: true")
)]
pub struct OverrideItem {
    /// The baseline that asks for it.
    pub baseline: OverrideBaseline,
    /// The package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::package_name")]
    pub package: Option<String>,
    /// The exact version that the package is to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::version")]
    pub version: Option<String>,
    /// The reboot that the baseline asks for, instead of a package.
    #[serde(default)]
    pub reboot: bool,
}

/// A baseline, by kind and name.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OverrideBaseline {
    /// The baseline's kind.
    #[serde(default = "package_baseline")]
    #[schemars(schema_with = "schema::baseline_kind")]
    pub kind: BaselineKind,
    /// The baseline's name.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

fn package_baseline() -> BaselineKind {
    BaselineKind::PackageBaseline
}
