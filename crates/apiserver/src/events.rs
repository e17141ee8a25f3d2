//! Events have two faces, `v1` and `events.k8s.io/v1`, and one store: objects are kept as core events and turned
//! around at the rim.

use muster_schema::Cause;
use serde_json::{Value, json};

use crate::registry::{Nature, Resource};
use crate::status::cause;

/// Core name ↔ new name of each field that differs.
const NAMES: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("count", "deprecatedCount"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
];

/// Longest note, in bytes.
const NOTE: usize = 1024;

/// Is this the resource whose objects are stored under other names?
pub(crate) fn is_new(resource: &Resource) -> bool {
    resource.nature == Nature::Event && !resource.group.is_empty()
}

/// The stored object as the resource shows it.
pub(crate) fn present(resource: &Resource, object: &mut Value) {
    if !is_new(resource) {
        return;
    }
    for (core, new) in NAMES {
        rename(object, core, new);
    }
    for optional in ["reportingController", "reportingInstance"] {
        if object[optional] == "" {
            crate::admit::remove(object, optional);
        }
    }
    object["apiVersion"] = "events.k8s.io/v1".into();
}

/// An object of the resource as it is stored: a core event, with the members that the real server always shows.
pub(crate) fn absorb(resource: &Resource, object: &mut Value) {
    if is_new(resource) {
        for (core, new) in NAMES {
            rename(object, new, core);
        }
        object["apiVersion"] = "v1".into();
    }
    if let (Nature::Event, Some(members)) = (resource.nature, object.as_object_mut()) {
        for (name, empty) in [
            ("eventTime", Value::Null),
            ("firstTimestamp", Value::Null),
            ("lastTimestamp", Value::Null),
            ("reportingComponent", "".into()),
            ("reportingInstance", "".into()),
            ("source", json!({})),
        ] {
            members.entry(name).or_insert(empty);
        }
    }
}

fn rename(object: &mut Value, from: &str, to: &str) {
    if let Some(fields) = object.as_object_mut()
        && let Some(value) = fields.remove(from)
    {
        fields.insert(to.to_owned(), value);
    }
}

/// The stored path of a selectable field.
pub(crate) fn stored_path(resource: &Resource, path: &str) -> String {
    match path {
        "source" if resource.nature == Nature::Event && resource.group.is_empty() => {
            "source.component".to_owned()
        }
        _ if is_new(resource) => {
            let (first, rest) =
                path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
            if NAMES.iter().any(|(core, _)| *core == first) {
                // A core name means nothing here; as a path that nobody knows it is refused.
                return format!("events.k8s.io/{path}");
            }
            let core = NAMES.iter().find(|(_, new)| *new == first).map_or(first, |(core, _)| core);
            rest.map_or_else(|| core.to_owned(), |rest| format!("{core}.{rest}"))
        }
        _ => path.to_owned(),
    }
}

/// What a new event of the new group must have besides.
pub(crate) fn validate_new(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if object["eventTime"].is_null() {
        causes.push(cause("FieldValueRequired", "eventTime", "Required value"));
    }
    let kind = object["type"].as_str().unwrap_or_default();
    if !matches!(kind, "Normal" | "Warning") {
        let message = format!("Invalid value: \"\": has invalid value: {kind}");
        causes.push(cause("FieldValueInvalid", "type", message));
    }
    causes
}

/// Whoever writes by the new group may only go on counting: what an event says stays as it is. (A reason that was changed
/// is told twice, as the real server does.)
pub(crate) fn validate_change(before: &Value, after: &Value) -> Vec<Cause> {
    const FIXED: &[&str] = &[
        "involvedObject",
        "reason",
        "message",
        "source",
        "firstTimestamp",
        "lastTimestamp",
        "count",
        "reason",
        "type",
        "eventTime",
        "action",
        "related",
        "reportingComponent",
        "reportingInstance",
    ];
    let changed = FIXED.iter().filter(|field| before[**field] != after[**field]);
    changed
        .map(|field| {
            let message = format!("Invalid value: {}: field is immutable", after[*field]);
            cause("FieldValueInvalid", *field, message)
        })
        .collect()
}

/// Checks a stored event.
pub(crate) fn validate(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if object["message"].as_str().is_some_and(|note| note.len() > NOTE) {
        let message = format!("Invalid value: \"\": can have at most {NOTE} characters");
        causes.push(cause("FieldValueInvalid", "message", message));
    }
    let involved = object["involvedObject"]["namespace"].as_str().unwrap_or_default();
    let own = object["metadata"]["namespace"].as_str().unwrap_or_default();
    if involved != own && !(involved.is_empty() && own == "default") {
        let message = format!("Invalid value: {}: does not match event.namespace", json!(involved));
        causes.push(cause("FieldValueInvalid", "involvedObject.namespace", message));
    }
    causes
}
