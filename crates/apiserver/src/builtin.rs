//! The built-in kinds: what they look like, and the few rules that are theirs alone.
//!
//! Events with their two views are in `events`, definitions in `definition`, reviews in `reviews`.

use std::sync::Arc;

use base64::Engine as _;
use muster_schema::{Cause, CompiledSchema};
use serde_json::{Value, json};

use crate::definition::age_column;
use crate::registry::{Column, EVENTS, Nature, Resource, Version, builtin_fields, shelf_name};
use crate::status::cause;

/// Namespaces that always exist and cannot be deleted.
pub(crate) const STANDARD_NAMESPACES: &[&str] = &["default", "kube-node-lease", "kube-public", "kube-system"];

struct Builtin {
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
    namespaced: bool,
    short: &'static [&'static str],
    nature: Nature,
    status: bool,
    schema: Value,
    columns: Vec<Column>,
}

/// All of them, schemas compiled.
pub(crate) fn resources() -> Vec<Resource> {
    let mut all: Vec<Resource> = stored().into_iter().map(resource).collect();
    for (group, kind) in [
        ("authentication.k8s.io", "SelfSubjectReview"),
        ("authorization.k8s.io", "SelfSubjectAccessReview"),
        ("authorization.k8s.io", "SelfSubjectRulesReview"),
        ("authorization.k8s.io", "SubjectAccessReview"),
    ] {
        let plural: &'static str = match kind {
            "SelfSubjectReview" => "selfsubjectreviews",
            "SelfSubjectAccessReview" => "selfsubjectaccessreviews",
            "SelfSubjectRulesReview" => "selfsubjectrulesreviews",
            _ => "subjectaccessreviews",
        };
        all.push(resource(Builtin {
            group,
            version: "v1",
            plural,
            kind,
            namespaced: false,
            short: &[],
            nature: Nature::Review,
            status: false,
            schema: root(
                "A question about what somebody may do.",
                json!({"spec": any("The question."), "status": any("The answer.")}),
            ),
            columns: vec![],
        }));
    }
    all
}

fn resource(builtin: Builtin) -> Resource {
    let Builtin { group, version, plural, kind, namespaced, short, nature, status, schema, columns } =
        builtin;
    let schema = CompiledSchema::compile(&schema).expect("a test compiles every built-in schema");
    let shelf: Arc<str> = match nature {
        // Two groups, one store.
        Nature::Event => EVENTS.into(),
        _ => shelf_name(group, plural),
    };
    Resource {
        group: group.to_owned(),
        plural: plural.to_owned(),
        singular: kind.to_lowercase(),
        kind: kind.to_owned(),
        list_kind: format!("{kind}List"),
        namespaced,
        short_names: short.iter().map(|name| (*name).to_owned()).collect(),
        categories: if nature == Nature::Definition { vec!["api-extensions".to_owned()] } else { vec![] },
        versions: vec![Version {
            name: version.to_owned(),
            served: true,
            deprecated: None,
            schema: Some(schema.into()),
            columns,
            status,
            scale: None,
        }],
        storage: version.to_owned(),
        nature,
        fields: builtin_fields(&shelf),
        shelf,
        terminating: false,
    }
}

fn column(name: &str, kind: &str, path: &str, description: &str) -> Column {
    Column {
        name: name.to_owned(),
        kind: kind.to_owned(),
        format: String::new(),
        priority: 0,
        description: description.to_owned(),
        path: path.to_owned(),
    }
}

fn wide(column: Column) -> Column {
    Column { priority: 1, ..column }
}

fn root(description: &str, properties: Value) -> Value {
    let mut all = json!({
        "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
    });
    if let (Some(all), Value::Object(more)) = (all.as_object_mut(), properties) {
        all.extend(more);
    }
    json!({"type": "object", "description": description, "properties": all})
}

fn any(description: &str) -> Value {
    json!({"type": "object", "description": description, "x-kubernetes-preserve-unknown-fields": true})
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn nullable_text(description: &str) -> Value {
    json!({"type": "string", "description": description, "nullable": true})
}

fn number(description: &str) -> Value {
    json!({"type": "integer", "format": "int32", "description": description})
}

fn flag(description: &str) -> Value {
    json!({"type": "boolean", "description": description})
}

fn text_map(description: &str) -> Value {
    json!({"type": "object", "description": description, "additionalProperties": {"type": "string"}})
}

fn reference(description: &str) -> Value {
    json!({
        "type": "object", "description": description, "x-kubernetes-map-type": "atomic",
        "properties": {
            "apiVersion": text("API version of the object."), "kind": text("Kind of the object."),
            "name": text("Name of the object."), "namespace": text("Namespace of the object."),
            "uid": text("UID of the object."), "resourceVersion": text("Version of the object."),
            "fieldPath": text("Part of the object."),
        },
    })
}

fn source(description: &str) -> Value {
    json!({
        "type": "object", "description": description,
        "properties": {"component": text("The component."), "host": text("The node.")},
    })
}

fn series(counter: &str) -> Value {
    json!({
        "type": "object", "description": "Data about repetitions of this event.", "nullable": true,
        "properties": {"count": number(counter), "lastObservedTime": nullable_text("When it was seen last.")},
    })
}

fn core_event() -> Value {
    root(
        "Event is a report of an event somewhere in the cluster.",
        json!({
            "action": text("What was done or failed."), "count": number("How often it occurred."),
            "eventTime": nullable_text("When it was first observed."), "firstTimestamp": nullable_text("When it was first recorded."),
            "lastTimestamp": nullable_text("When it was last recorded."), "involvedObject": reference("The object that this event is about."),
            "message": text("What happened, for people."), "reason": text("What happened, for machines."),
            "related": reference("A second object."), "reportingComponent": text("Who reports."),
            "reportingInstance": text("Which of them reports."), "series": series("How often it occurred."),
            "source": source("Who reports, in the old form."), "type": text("Normal or Warning."),
        }),
    )
}

fn new_event() -> Value {
    root(
        "Event is a report of an event somewhere in the cluster.",
        json!({
            "action": text("What was done or failed."), "deprecatedCount": number("How often it occurred."),
            "eventTime": nullable_text("When it was first observed."),
            "deprecatedFirstTimestamp": nullable_text("When it was first recorded."),
            "deprecatedLastTimestamp": nullable_text("When it was last recorded."),
            "deprecatedSource": source("Who reports, in the old form."), "note": text("What happened, for people."),
            "reason": text("What happened, for machines."), "regarding": reference("The object that this event is about."),
            "related": reference("A second object."), "reportingController": text("Who reports."),
            "reportingInstance": text("Which of them reports."), "series": series("How often it occurred."),
            "type": text("Normal or Warning."),
        }),
    )
}

fn event_columns() -> Vec<Column> {
    vec![
        column("Last Seen", "date", ".lastTimestamp", "When it was last seen."),
        column("Type", "string", ".type", "Normal or Warning."),
        column("Reason", "string", ".reason", "What happened, for machines."),
        column("Object", "string", ".involvedObject", "The object that this event is about."),
        wide(column("Subobject", "string", ".involvedObject.fieldPath", "The part that it is about.")),
        wide(column("Source", "string", ".source.component", "Who reports.")),
        column("Message", "string", ".message", "What happened, for people."),
        wide(column("First Seen", "date", ".firstTimestamp", "When it was first seen.")),
        wide(column("Count", "string", ".count", "The number of times this event has occurred.")),
        Column {
            format: "name".to_owned(),
            ..wide(column("Name", "string", ".metadata.name", "Name of the event."))
        },
    ]
}

fn definition_schema() -> Value {
    root(
        "CustomResourceDefinition represents a resource that should be exposed on the API server.",
        json!({
            "spec": {
                "type": "object", "description": "The wanted resource.",
                "required": ["group", "names", "scope", "versions"],
                "properties": {
                    "group": text("API group of the resource."), "scope": text("Cluster or Namespaced."),
                    "preserveUnknownFields": flag("Must be false."), "conversion": any("How to convert between versions."),
                    "names": {
                        "type": "object", "description": "Its names.", "required": ["plural", "kind"],
                        "properties": {
                            "plural": text("As in paths."), "singular": text("For people."), "kind": text("Kind of an object."),
                            "listKind": text("Kind of a list."),
                            "shortNames": {"type": "array", "items": {"type": "string"}, "description": "For kubectl."},
                            "categories": {"type": "array", "items": {"type": "string"}, "description": "For kubectl."},
                        },
                    },
                    "versions": {
                        "type": "array", "description": "Its versions.",
                        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    },
                },
            },
            "status": {
                "type": "object", "description": "What is in force.",
                "properties": {
                    "acceptedNames": any("The names in force."),
                    "storedVersions": {"type": "array", "items": {"type": "string"}, "description": "Versions that were ever stored."},
                    "conditions": {
                        "type": "array", "description": "Established, NamesAccepted.", "nullable": true,
                        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
                        "items": {"type": "object", "required": ["type"], "properties": {"type": {"type": "string"}}, "x-kubernetes-preserve-unknown-fields": true},
                    },
                },
            },
        }),
    )
}

fn stored() -> Vec<Builtin> {
    let name_space = root(
        "Namespace provides a scope for names.",
        json!({
            "spec": {"type": "object", "description": "Its behaviour.", "properties": {
                "finalizers": {"type": "array", "items": {"type": "string"}, "description": "What must happen before it goes."}}},
            "status": {"type": "object", "description": "Its state.", "properties": {
                "phase": text("Active or Terminating."),
                "conditions": {
                    "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
                    "description": "Why it does not go.",
                    "items": {"type": "object", "required": ["type"], "x-kubernetes-preserve-unknown-fields": true,
                              "properties": {"type": text("Which.")}},
                }}},
        }),
    );
    let config_map = root(
        "ConfigMap holds configuration data.",
        json!({
        "data": text_map("The texts."), "binaryData": text_map("The binary data, in base64."),
        "immutable": flag("Refuses changes of the data.") }),
    );
    let secret = root(
        "Secret holds secret data.",
        json!({
        "data": text_map("The secrets, in base64."), "stringData": text_map("The secrets as texts; write only."),
        "immutable": flag("Refuses changes of the data."), "type": text("What it is for.") }),
    );
    let lease = root(
        "Lease defines a lease concept.",
        json!({
        "spec": {"type": "object", "description": "Its holder and time.", "properties": {
            "holderIdentity": nullable_text("Who holds it."), "leaseDurationSeconds": number("How long it is valid after a renewal."),
            "acquireTime": nullable_text("When it was acquired."), "renewTime": nullable_text("When it was last renewed."),
            "leaseTransitions": number("How often it changed hands."), "preferredHolder": text("Who should take it."),
            "strategy": text("How a holder is chosen.") }} }),
    );
    let entry = |group, version, plural, kind, namespaced, short, nature, status, schema, columns| Builtin {
        group,
        version,
        plural,
        kind,
        namespaced,
        short,
        nature,
        status,
        schema,
        columns,
    };
    vec![
        entry(
            "",
            "v1",
            "namespaces",
            "Namespace",
            false,
            &["ns"],
            Nature::Namespace,
            true,
            name_space,
            vec![column("Status", "string", ".status.phase", "Active or Terminating."), age_column()],
        ),
        entry(
            "",
            "v1",
            "configmaps",
            "ConfigMap",
            true,
            &["cm"],
            Nature::ConfigMap,
            false,
            config_map,
            vec![column("Data", "string", ".data", "Number of entries."), age_column()],
        ),
        entry(
            "",
            "v1",
            "secrets",
            "Secret",
            true,
            &[],
            Nature::Secret,
            false,
            secret,
            vec![
                column("Type", "string", ".type", "What it is for."),
                column("Data", "string", ".data", "Number of entries."),
                age_column(),
            ],
        ),
        entry(
            "",
            "v1",
            "events",
            "Event",
            true,
            &["ev"],
            Nature::Event,
            false,
            core_event(),
            event_columns(),
        ),
        entry(
            "events.k8s.io",
            "v1",
            "events",
            "Event",
            true,
            &["ev"],
            Nature::Event,
            false,
            new_event(),
            event_columns(),
        ),
        entry(
            "coordination.k8s.io",
            "v1",
            "leases",
            "Lease",
            true,
            &[],
            Nature::Lease,
            false,
            lease,
            vec![column("Holder", "string", ".spec.holderIdentity", "Who holds it."), age_column()],
        ),
        entry(
            "apiextensions.k8s.io",
            "v1",
            "customresourcedefinitions",
            "CustomResourceDefinition",
            false,
            &["crd", "crds"],
            Nature::Definition,
            true,
            definition_schema(),
            vec![column("Created At", "string", ".metadata.creationTimestamp", "When it was created.")],
        ),
    ]
}

/// Fills in what a built-in kind's object may leave out.
pub(crate) fn default(nature: Nature, object: &mut Value) {
    match nature {
        Nature::Namespace => {
            let name = object["metadata"]["name"].clone();
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
        }
        Nature::Secret => {
            if let Some(texts) = object.as_object_mut().and_then(|object| object.remove("stringData"))
                && let Some(texts) = texts.as_object()
            {
                for (key, text) in texts {
                    let bytes = text.as_str().unwrap_or_default().as_bytes();
                    object["data"][key] = base64::engine::general_purpose::STANDARD.encode(bytes).into();
                }
            }
            if object["type"].as_str().is_none_or(str::is_empty) {
                object["type"] = "Opaque".into();
            }
        }
        Nature::Definition => crate::definition::default(object),
        Nature::Custom | Nature::ConfigMap | Nature::Event | Nature::Lease | Nature::Review => {}
    }
}

/// What is wrong with a built-in kind's object that its schema cannot say.
pub(crate) fn validate(nature: Nature, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    match nature {
        Nature::ConfigMap | Nature::Secret => immutable_data(nature, object, old),
        Nature::Custom
        | Nature::Namespace
        | Nature::Event
        | Nature::Lease
        | Nature::Definition
        | Nature::Review => vec![],
    }
}

fn immutable_data(nature: Nature, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(old) = old {
        let mut keep = |field: &str| {
            if old[field] != object[field] {
                let message = "Forbidden: field is immutable when `immutable` is set";
                causes.push(cause("FieldValueForbidden", field, message));
            }
        };
        if old["immutable"] == true {
            ["immutable", "data", "binaryData"].into_iter().for_each(&mut keep);
        }
        if nature == Nature::Secret && old["type"] != object["type"] {
            let message = format!("Invalid value: {}: field is immutable", object["type"]);
            causes.push(cause("FieldValueInvalid", "type", message));
        }
    }
    let binary = if nature == Nature::Secret { "data" } else { "binaryData" };
    for (key, value) in object[binary].as_object().into_iter().flatten() {
        if base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap_or_default()).is_err() {
            let message = "Invalid value: \"<hidden>\": illegal base64 data";
            causes.push(cause("FieldValueInvalid", format!("{binary}[{key}]"), message));
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_builtin_schema_compiles() {
        assert_eq!(super::resources().len(), 11);
    }
}
