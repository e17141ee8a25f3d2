//! CustomResourceDefinitions: defaulting, checking, and the resource that one of them adds.
//!
//! Not here: conversion webhooks (only strategy `None` is taken).

use std::sync::Arc;

use muster_schema::{Cause, CompiledSchema, SchemaError};
use serde_json::{Value, json};

use crate::definition_rules;
use crate::definition_schema;
use crate::managed;
use crate::names;
use crate::object::items;
use crate::registry::{Column, Nature, Registry, Resource, Version, selectable_fields, shelf_name};
use crate::scale::Scale;
use crate::server::Inner;
use crate::status::cause;
use crate::store::Refusal;

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

/// The resource of a definition that somebody writes, or everything that is wrong with it.
///
/// A stored one is only compiled: what an earlier version took must not keep the server from starting.
pub(crate) fn accept(definition: &Value) -> Result<Resource, Vec<Cause>> {
    let mut broken = definition_rules::broken(&definition["spec"]);
    match compile(definition) {
        Ok(resource) => {
            for (index, raw) in items(&definition["spec"]["versions"]).enumerate() {
                let version = resource.version(&text(&raw["name"]));
                let schema = version.and_then(|version| version.schema.as_ref());
                if let Some(Err(error)) = schema.map(|schema| schema.check_types()) {
                    add_once(&mut broken, definition_schema::unusable(&definition["spec"], index, &error));
                }
            }
            if broken.is_empty() { Ok(resource) } else { Err(broken) }
        }
        Err(mut causes) => {
            // What does not compile about a schema may be just that.
            causes.retain(|cause| broken.is_empty() || !cause.field.ends_with(".schema.openAPIV3Schema"));
            causes.extend(broken);
            Err(causes)
        }
    }
}

/// What all versions share is named once.
fn add_once(causes: &mut Vec<Cause>, cause: Cause) {
    if !causes.contains(&cause) {
        causes.push(cause);
    }
}

/// The resource of a definition, or why there can be none.
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
        let unsaid = definition_rules::incomplete_webhook(&spec["conversion"]);
        if unsaid.is_empty() {
            let message =
                "Forbidden: this server converts between versions of one schema only (strategy None)";
            causes.push(cause("FieldValueForbidden", "spec.conversion.strategy", message));
        }
        causes.extend(unsaid);
    }
    let storage: Vec<String> = items(&spec["versions"])
        .filter(|version| version["storage"] == true)
        .map(|version| text(&version["name"]))
        .collect();
    causes.extend(definition_rules::versions(spec, &definition["status"]["storedVersions"]));
    let mut versions = Vec::new();
    for (index, raw) in items(&spec["versions"]).enumerate() {
        match version(raw) {
            Ok(version) => versions.push(version),
            Err(error) => add_once(&mut causes, definition_schema::unusable(spec, index, &error)),
        }
    }
    let declared: Vec<String> = versions.iter().map(|version: &Version| version.name.clone()).collect();
    for (index, name) in texts(&definition["status"]["storedVersions"]).iter().enumerate() {
        if !declared.contains(name) && causes.is_empty() {
            let message = format!(
                "Invalid value: \"{name}\": missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            );
            causes.push(cause("FieldValueInvalid", format!("status.storedVersions[{index}]"), message));
        }
    }
    if !causes.is_empty() {
        return Err(causes);
    }
    let names = &spec["names"];
    versions.sort_by_key(|version: &Version| rank(&version.name));
    let kind = text(&names["kind"]);
    let better = versions.iter().find(|version| version.served && version.deprecated.is_none());
    let instead = better.map(|better| format!("; use {group}/{} {kind}", better.name)).unwrap_or_default();
    for version in &mut versions {
        if let Some(warning) = version.deprecated.as_mut().filter(|warning| warning.is_empty()) {
            *warning = format!("{group}/{} {kind} is deprecated{instead}", version.name);
        }
    }
    Ok(Resource {
        singular: text(&names["singular"]),
        kind,
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

fn version(raw: &Value) -> Result<Version, SchemaError> {
    let schema = CompiledSchema::compile(&raw["schema"]["openAPIV3Schema"])?;
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
        schema: Some(Arc::new(schema)),
        columns,
        status: raw["subresources"]["status"].is_object(),
        scale: Scale::of(&raw["subresources"]["scale"]),
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

/// The status of a definition that nobody has judged yet; what was judged before stays.
pub(crate) fn begin_status(definition: &mut Value) {
    if !definition["status"].is_object() {
        definition["status"] = json!({"acceptedNames": {"kind": "", "plural": ""}, "conditions": null});
    }
    let mut stored = texts(&definition["status"]["storedVersions"]);
    for version in items(&definition["spec"]["versions"]).filter(|version| version["storage"] == true) {
        let name = text(&version["name"]);
        if !stored.contains(&name) {
            stored.push(name);
        }
    }
    definition["status"]["storedVersions"] = stored.into();
}

/// Judges the names of a stored definition: from then on it is served, or says why not.
pub(crate) async fn establish(inner: &Inner, resource: &Resource, key: &str) -> Result<(), Refusal> {
    loop {
        let Some(live) = inner.store.get(&resource.shelf, key) else { return Ok(()) };
        let before = live.value();
        let mut value = before.clone();
        let now = inner.clock.now();
        judge(&mut value, &inner.registry, &crate::admit::seconds(now));
        if value == before {
            return Ok(());
        }
        let version = &resource.storage;
        let writer = managed::Writer {
            resource,
            schema: resource.version(version).and_then(|version| version.schema.clone()),
            has_status: true,
            manager: "kube-apiserver",
            api_version: resource.api_version(version),
            subresource: "status",
            now,
        };
        let value = managed::update(&writer, Some(&before), value);
        let compiled = compile(&value).ok().map(Arc::new);
        match inner.propose(resource, key, Some(&live), value, false, compiled).await {
            Err(Refusal::Stale) => {}
            Ok(_) => return Ok(()),
            Err(refusal) => return Err(refusal),
        }
    }
}

/// Writes into the status which names are accepted and whether the definition is in force, keeping the times of what
/// did not change.
fn judge(definition: &mut Value, registry: &Registry, now: &str) {
    let wanted = &definition["spec"]["names"];
    let (group, own) = (text(&definition["spec"]["group"]), text(&definition["metadata"]["name"]));
    let mut accepted = wanted.clone();
    let mut conflict = None;
    let others = registry.snapshot();
    let others = || {
        others
            .values()
            .filter(|other| other.group == group && format!("{}.{}", other.plural, other.group) != own)
    };
    // The last conflict is the one that is told.
    for (field, reason) in
        [("singular", "SingularConflict"), ("kind", "KindConflict"), ("listKind", "ListKindConflict")]
    {
        let name = text(&wanted[field]);
        let taken = others().any(|other| match field {
            "singular" => other.singular == name,
            _ => other.kind == name || other.list_kind == name,
        });
        if taken {
            conflict = Some((reason, format!("\"{name}\" is already in use")));
            crate::admit::remove(&mut accepted, field);
        }
    }
    if accepted["kind"].is_null() {
        accepted["kind"] = "".into();
    }
    let (status, reason, message) = match conflict {
        None => ("True", "NoConflicts", "no conflicts found".to_owned()),
        Some((reason, message)) => ("False", reason, message),
    };
    let established = match status {
        "True" => ("InitialNamesAccepted", "the initial names have been accepted"),
        _ => ("NotAccepted", "not all names are accepted"),
    };
    set_condition(definition, "NamesAccepted", status, reason, &message, now);
    set_condition(definition, "Established", status, established.0, established.1, now);
    definition["status"]["acceptedNames"] = accepted;
}

/// Sets one condition; its time moves only with its status.
pub(crate) fn set_condition(
    definition: &mut Value,
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: &str,
) {
    if !definition["status"]["conditions"].is_array() {
        definition["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = definition["status"]["conditions"].as_array_mut() else { return };
    let at = conditions.iter().position(|one| one["type"] == kind);
    let since = at.map(|at| &conditions[at]).filter(|old| old["status"] == status);
    let since = since.and_then(|old| old["lastTransitionTime"].as_str()).unwrap_or(now).to_owned();
    let condition = json!({
        "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since,
    });
    match at {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
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
