//! The CustomResourceDefinitions, in the order in which they are applied, in the form that goes to a server.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use serde_json::Value;

use crate::{
    Activity, BaselineRollout, DisruptionBudget, EnrollmentToken, FleetMachine, FleetPolicy, GitSource,
    KernelBaseline, MaintenanceWindow, PackageBaseline, PackageInventory, PackageProposal, RolloutApproval,
    WindowOverride,
};

/// The definitions of all kinds, in the order to apply them: guards before what they guard, sources last.
#[must_use]
pub fn all_crds() -> Vec<CustomResourceDefinition> {
    [
        FleetPolicy::crd(),
        DisruptionBudget::crd(),
        MaintenanceWindow::crd(),
        WindowOverride::crd(),
        FleetMachine::crd(),
        EnrollmentToken::crd(),
        PackageInventory::crd(),
        PackageProposal::crd(),
        Activity::crd(),
        BaselineRollout::crd(),
        RolloutApproval::crd(),
        PackageBaseline::crd(),
        KernelBaseline::crd(),
        GitSource::crd(),
    ]
    .into_iter()
    .map(tidy)
    .collect()
}

/// What the derive cannot say: see [`tidy_schema`].
fn tidy(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let mut value =
        serde_json::to_value(crd).expect("a definition is plain data, which JSON can always hold");
    if let Some(versions) = value.pointer_mut("/spec/versions").and_then(Value::as_array_mut) {
        for version in versions {
            if let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema") {
                tidy_schema(schema);
            }
        }
    }
    serde_json::from_value(value).expect("it was a definition, and still is")
}

/// Makes optional fields absent rather than null, gives unsigned numbers a format that Kubernetes knows, and joins the
/// lines of descriptions, which `kubectl explain` breaks where the terminal ends.
fn tidy_schema(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    members.remove("nullable");
    if let Some(Value::String(description)) = members.get_mut("description") {
        *description = description.replace('\n', " ");
    }
    let format = match members.get("format").and_then(Value::as_str) {
        Some("uint8" | "uint16" | "uint32") => Some(("int64", Some(u32::MAX.into()))),
        Some("uint" | "uint64") => Some(("int64", None)),
        Some(_) | None => None,
    };
    if let Some((format, maximum)) = format {
        members.insert("format".to_owned(), format.into());
        if let (Some(maximum), false) = (maximum, members.contains_key("maximum")) {
            members.insert("maximum".to_owned(), maximum);
        }
    }
    for (name, member) in members.iter_mut() {
        match name.as_str() {
            "properties" => {
                if let Value::Object(properties) = member {
                    properties.values_mut().for_each(tidy_schema);
                }
            }
            "items" | "additionalProperties" => tidy_schema(member),
            _ => {}
        }
    }
}
