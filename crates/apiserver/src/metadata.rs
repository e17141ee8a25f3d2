//! The metadata of any object: what is wrong with it, what it does not know, how the real server prints it.

use muster_schema::Cause;
use serde_json::{Value, json};

use crate::admit::remove;
use crate::names;
use crate::object::items;
use crate::registry::{Nature, Resource};
use crate::status::cause;

/// Bytes of all annotations together, as in Kubernetes.
const ANNOTATIONS: usize = 256 << 10;

/// What is wrong with an object's metadata.
pub(crate) fn causes(resource: &Resource, live: Option<&Value>, object: &Value) -> Vec<Cause> {
    let meta = &object["metadata"];
    let mut causes = Vec::new();
    let mut invalid = |field: &str, value: &str, why: &str| {
        causes.push(cause("FieldValueInvalid", field, format!("Invalid value: {}: {why}", json!(value))));
    };
    if live.is_none() {
        let name = meta["name"].as_str().unwrap_or_default();
        let check =
            if resource.nature == Nature::Namespace { names::dns_label } else { names::dns_subdomain };
        if let Some(why) = check(name) {
            invalid("metadata.name", name, &why);
        }
    }
    for (key, value) in meta["labels"].as_object().into_iter().flatten() {
        if let Some(why) = names::label_key(key) {
            invalid("metadata.labels", key, &why);
        }
        let text = value.as_str().unwrap_or_default();
        if let Some(why) = names::label_value(text) {
            invalid("metadata.labels", text, &why);
        }
    }
    let mut total = 0;
    for (key, value) in meta["annotations"].as_object().into_iter().flatten() {
        if let Some(why) = names::label_key(&key.to_lowercase()) {
            invalid("metadata.annotations", key, &why);
        }
        total += key.len() + value.as_str().map_or(0, str::len);
    }
    for finalizer in items(&meta["finalizers"]).filter_map(Value::as_str) {
        if let Some(why) = names::label_key(finalizer) {
            invalid("metadata.finalizers", finalizer, &why);
        }
    }
    for owner in items(&meta["ownerReferences"]) {
        for (field, why) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if owner[field].as_str().is_none_or(str::is_empty) {
                invalid(&format!("metadata.ownerReferences.{field}"), "", why);
            }
        }
    }
    let controllers: Vec<String> = items(&meta["ownerReferences"])
        .filter(|owner| owner["controller"] == true)
        .map(|owner| ["kind", "name"].map(|part| owner[part].as_str().unwrap_or_default()).join("/"))
        .collect();
    if let [.., before, last] = controllers.as_slice() {
        let why = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {before} and {last}"
        );
        let members = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
        let shown: Vec<String> =
            items(&meta["ownerReferences"]).map(|owner| shown(owner, &members)).collect();
        let message = format!("Invalid value: [{}]: {why}", shown.join(","));
        causes.push(cause("FieldValueInvalid", "metadata.ownerReferences", message));
    }
    if total > ANNOTATIONS {
        let message = format!("Too long: may not be more than {ANNOTATIONS} bytes");
        causes.push(cause("FieldValueTooLong", "metadata.annotations", message));
    }
    if let Some(live) = live.filter(|live| live["metadata"]["deletionTimestamp"].is_string()) {
        let old: Vec<&Value> = items(&live["metadata"]["finalizers"]).collect();
        let new: Vec<&str> =
            items(&meta["finalizers"]).filter(|one| !old.contains(one)).filter_map(Value::as_str).collect();
        if !new.is_empty() {
            let message = format!(
                "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                new.iter().map(|one| format!("\"{one}\"")).collect::<Vec<_>>().join(", ")
            );
            causes.push(cause("FieldValueForbidden", "metadata.finalizers", message));
        }
    }
    causes
}

/// An object as the real server prints it: those members that it has, in the order of their declaration.
pub(crate) fn shown(object: &Value, members: &[&str]) -> String {
    let shown = members.iter().filter(|member| !object[**member].is_null());
    let shown: Vec<String> = shown.map(|member| format!("\"{member}\":{}", object[*member])).collect();
    format!("{{{}}}", shown.join(","))
}

/// Fields that metadata does not have, with their paths.
pub(crate) fn unknown(meta: &Value) -> Vec<String> {
    let fields = meta.as_object().into_iter().flatten();
    fields
        .filter(|(key, _)| !muster_schema::METADATA.contains(&&***key))
        .map(|(key, _)| format!("metadata.{key}"))
        .collect()
}

/// Drops what means nothing in metadata: unknown fields, nulls, empty maps and lists.
pub(crate) fn normalize(meta: &mut Value) {
    for path in unknown(meta) {
        remove(meta, path.trim_start_matches("metadata."));
    }
    if let Some(fields) = meta.as_object_mut() {
        fields.retain(|_, value| match value {
            Value::Null => false,
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        });
    }
}
