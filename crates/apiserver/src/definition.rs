//! CustomResourceDefinitions: defaulting, checking, and the resource that one of them adds.
//!
//! Not here: conversion webhooks (only strategy `None` is taken) and the scale subresource.

use std::sync::Arc;

use muster_schema::{Cause, CompiledSchema};
use serde_json::{Value, json};

use crate::names;
use crate::object::items;
use crate::registry::{Column, Nature, Registry, Resource, Version, selectable_fields, shelf_name};
use crate::status::cause;

/// The finalizer that keeps a definition until its objects are gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    items(value).map(text).collect()
}

/// Fills in what a definition may leave out.
pub(crate) fn default(definition: &mut Value) {
    let spec = &mut definition["spec"];
    let kind = text(&spec["names"]["kind"]);
    if let Some(names) = spec["names"].as_object_mut() {
        names.entry("singular").or_insert_with(|| kind.to_lowercase().into());
        names.entry("listKind").or_insert_with(|| format!("{kind}List").into());
    }
    if spec["conversion"].is_null() && spec.is_object() {
        spec["conversion"] = json!({"strategy": "None"});
    }
}

/// Everything that is wrong with a definition, and the resource if nothing is.
pub(crate) fn compile(definition: &Value) -> Result<Resource, Vec<Cause>> {
    let spec = &definition["spec"];
    let mut causes = Vec::new();
    let mut require = |value: &Value, field: &str| {
        if value.as_str().is_none_or(str::is_empty) {
            causes.push(cause("FieldValueRequired", field, "Required value"));
        }
    };
    require(&spec["group"], "spec.group");
    require(&spec["names"]["plural"], "spec.names.plural");
    require(&spec["names"]["kind"], "spec.names.kind");
    require(&spec["scope"], "spec.scope");
    let (group, plural) = (text(&spec["group"]), text(&spec["names"]["plural"]));
    let name = text(&definition["metadata"]["name"]);
    if name != format!("{plural}.{group}") {
        let message = format!("Invalid value: \"{name}\": must be spec.names.plural+\".\"+spec.group");
        causes.push(cause("FieldValueInvalid", "metadata.name", message));
    }
    if let Some(why) = names::dns_label(&plural) {
        causes.push(cause(
            "FieldValueInvalid",
            "spec.names.plural",
            format!("Invalid value: \"{plural}\": {why}"),
        ));
    }
    let scope = text(&spec["scope"]);
    if !matches!(&*scope, "Namespaced" | "Cluster" | "") {
        let message =
            format!("Unsupported value: \"{scope}\": supported values: \"Cluster\", \"Namespaced\"");
        causes.push(cause("FieldValueNotSupported", "spec.scope", message));
    }
    if text(&spec["conversion"]["strategy"]) != "None" {
        let message = "Forbidden: this server converts between versions of one schema only (strategy None)";
        causes.push(cause("FieldValueForbidden", "spec.conversion.strategy", message));
    }
    let storage: Vec<String> = items(&spec["versions"])
        .filter(|version| version["storage"] == true)
        .map(|version| text(&version["name"]))
        .collect();
    if storage.len() != 1 {
        let message = format!(
            "Invalid value: {}: must have exactly one version marked as storage version",
            spec["versions"]
        );
        causes.push(cause("FieldValueInvalid", "spec.versions", message));
    }
    let mut versions = Vec::new();
    for (index, raw) in items(&spec["versions"]).enumerate() {
        match version(raw) {
            Ok(version) => versions.push(version),
            Err(message) => causes.push(cause(
                "FieldValueInvalid",
                format!("spec.versions[{index}].schema.openAPIV3Schema"),
                message,
            )),
        }
    }
    if !causes.is_empty() {
        return Err(causes);
    }
    let names = &spec["names"];
    versions.sort_by_key(|version: &Version| rank(&version.name));
    Ok(Resource {
        singular: text(&names["singular"]),
        kind: text(&names["kind"]),
        list_kind: text(&names["listKind"]),
        namespaced: scope == "Namespaced",
        short_names: texts(&names["shortNames"]),
        categories: texts(&names["categories"]),
        versions,
        storage: storage.into_iter().next().unwrap_or_default(),
        nature: Nature::Custom,
        shelf: shelf_name(&group, &plural),
        fields: selectable_fields(definition),
        terminating: definition["metadata"]["deletionTimestamp"].is_string(),
        group,
        plural,
    })
}

fn version(raw: &Value) -> Result<Version, String> {
    let schema = &raw["schema"]["openAPIV3Schema"];
    let schema = if schema.is_object() {
        Some(Arc::new(CompiledSchema::compile(schema).map_err(|error| format!("Invalid value: {error}"))?))
    } else {
        return Err("Required value: schemas are required".to_owned());
    };
    let mut columns: Vec<Column> = items(&raw["additionalPrinterColumns"])
        .map(|column| Column {
            name: text(&column["name"]),
            kind: text(&column["type"]),
            format: text(&column["format"]),
            priority: column["priority"].as_i64().unwrap_or_default(),
            description: match column["description"].as_str() {
                Some(description) if !description.is_empty() => description.to_owned(),
                _ => format!(
                    "Custom resource definition column (in JSONPath format): {}",
                    text(&column["jsonPath"])
                ),
            },
            path: text(&column["jsonPath"]),
        })
        .collect();
    if columns.is_empty() {
        columns.push(age_column());
    }
    let deprecated = (raw["deprecated"] == true).then(|| text(&raw["deprecationWarning"]));
    Ok(Version {
        name: text(&raw["name"]),
        served: raw["served"] == true,
        deprecated,
        schema,
        columns,
        status: raw["subresources"]["status"].is_object(),
    })
}

/// The column that every kind has that says nothing else.
pub(crate) fn age_column() -> Column {
    Column {
        name: "Age".to_owned(),
        kind: "date".to_owned(),
        format: String::new(),
        priority: 0,
        description: "When the object was created.".to_owned(),
        path: ".metadata.creationTimestamp".to_owned(),
    }
}

/// Kubernetes' order of versions: stable before beta before alpha, newer first, oddly named last.
fn rank(name: &str) -> (u8, std::cmp::Reverse<u64>, std::cmp::Reverse<u64>, String) {
    let odd = (3, std::cmp::Reverse(0), std::cmp::Reverse(0), name.to_owned());
    let Some(rest) = name.strip_prefix('v') else { return odd };
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (major, tail) = rest.split_at(digits);
    let Ok(major) = major.parse() else { return odd };
    let (class, minor) = match tail {
        "" => (0, Some(0)),
        _ => match (tail.strip_prefix("beta"), tail.strip_prefix("alpha")) {
            (Some(minor), _) => (1, minor.parse().ok()),
            (None, Some(minor)) => (2, minor.parse().ok()),
            (None, None) => return odd,
        },
    };
    match minor {
        Some(minor) => (class, std::cmp::Reverse(major), std::cmp::Reverse(minor), String::new()),
        None => odd,
    }
}

/// Writes the status that says whether the definition is in force, keeping the times of what did not change.
pub(crate) fn set_status(definition: &mut Value, registry: &Registry, now: &str) {
    let names = definition["spec"]["names"].clone();
    let group = text(&definition["spec"]["group"]);
    let rival = registry.snapshot().values().find_map(|other| {
        let other_name = format!("{}.{}", other.plural, other.group);
        let clash = other.group == group
            && other_name != text(&definition["metadata"]["name"])
            && (other.kind == text(&names["kind"]) || other.singular == text(&names["singular"]));
        clash.then_some(other_name)
    });
    let (accepted, reason, message) = match &rival {
        None => ("True", "NoConflicts", "no conflicts found".to_owned()),
        Some(rival) => {
            ("False", "KindConflict", format!("its kind or singular name is already in use by {rival}"))
        }
    };
    let established = match accepted {
        "True" => ("InitialNamesAccepted", "the initial names have been accepted"),
        _ => ("NotAccepted", "not all names are accepted"),
    };
    let old = definition["status"]["conditions"].clone();
    let condition = |kind: &str, reason: &str, message: &str| {
        let since = items(&old)
            .find(|one| one["type"] == kind && one["status"] == accepted)
            .and_then(|one| one["lastTransitionTime"].as_str())
            .unwrap_or(now);
        json!({"type": kind, "status": accepted, "reason": reason, "message": message, "lastTransitionTime": since})
    };
    let conditions = json!([
        condition("NamesAccepted", reason, &message),
        condition("Established", established.0, established.1)
    ]);
    let mut stored = texts(&definition["status"]["storedVersions"]);
    for version in items(&definition["spec"]["versions"]).filter(|version| version["storage"] == true) {
        let name = text(&version["name"]);
        if !stored.contains(&name) {
            stored.push(name);
        }
    }
    definition["status"] = json!({
        "acceptedNames": if rival.is_none() { names } else { json!({"kind": "", "plural": ""}) },
        "conditions": conditions,
        "storedVersions": stored,
    });
}

/// Is the definition in force?
pub(crate) fn is_established(definition: &Value) -> bool {
    items(&definition["status"]["conditions"])
        .any(|condition| condition["type"] == "Established" && condition["status"] == "True")
}

#[cfg(test)]
mod tests {
    use super::rank;

    #[test]
    fn versions_are_ordered_as_kubernetes_orders_them() {
        let mut names = vec!["v1alpha1", "v10", "foo", "v1beta2", "v2", "v1beta10", "v1"];
        names.sort_by_key(|name| rank(name));
        assert_eq!(names, ["v10", "v2", "v1", "v1beta10", "v1beta2", "v1alpha1", "foo"]);
    }
}
