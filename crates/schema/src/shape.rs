//! Gives an object the schema's shape: pruning and defaulting.

use serde_json::{Map, Value};

use crate::node::{Additional, Node, member_path};

/// The fields of Kubernetes' ObjectMeta.
pub const METADATA: &[&str] = &[
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// See [`crate::CompiledSchema::prune`].
pub(crate) fn prune(root: &Node, object: &mut Value) -> Vec<String> {
    let mut removed = Vec::new();
    prune_node(root, object, "", true, &mut removed);
    removed.sort();
    removed
}

/// The same for a value below the root, such as a default.
pub(crate) fn prune_within(node: &Node, value: &mut Value) -> Vec<String> {
    let mut removed = Vec::new();
    prune_node(node, value, "", node.embedded, &mut removed);
    removed
}

fn prune_node(node: &Node, value: &mut Value, path: &str, is_resource: bool, removed: &mut Vec<String>) {
    match value {
        Value::Object(members) => prune_members(node, members, path, is_resource, removed),
        Value::Array(items) => {
            let Some(schema) = &node.items else { return };
            for (index, item) in items.iter_mut().enumerate() {
                prune_node(schema, item, &format!("{path}[{index}]"), schema.embedded, removed);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn prune_members(
    node: &Node,
    members: &mut Map<String, Value>,
    path: &str,
    is_resource: bool,
    removed: &mut Vec<String>,
) {
    members.retain(|name, value| {
        let here = || member_path(path, name);
        if is_resource && matches!(&**name, "apiVersion" | "kind") {
            return true;
        }
        if is_resource && name == "metadata" {
            prune_metadata(value, &here(), removed);
            return true;
        }
        if let Some(schema) = node.member(name) {
            prune_node(schema, value, &here(), schema.embedded, removed);
            return true;
        }
        let known = node.preserve_unknown || matches!(node.additional, Additional::Any);
        if !known {
            removed.push(here());
        }
        known
    });
}

fn prune_metadata(metadata: &mut Value, path: &str, removed: &mut Vec<String>) {
    let Value::Object(members) = metadata else { return };
    members.retain(|name, _| {
        let known = METADATA.contains(&name.as_str());
        if !known {
            removed.push(member_path(path, name));
        }
        known
    });
}

/// See [`crate::CompiledSchema::apply_defaults`].
pub(crate) fn apply_defaults(node: &Node, value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, value| {
                !value.is_null() || node.member(name).is_none_or(|m| m.nullable || m.default.is_some())
            });
            for (name, schema) in &node.properties {
                if let Some(default) = &schema.default
                    && members.get(name).is_none_or(|value| value.is_null() && !schema.nullable)
                {
                    members.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in members.iter_mut() {
                if let Some(schema) = node.member(name) {
                    default_null(schema, value);
                    apply_defaults(schema, value);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &node.items else { return };
            for item in items {
                default_null(schema, item);
                apply_defaults(schema, item);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn default_null(schema: &Node, value: &mut Value) {
    if let Some(default) = &schema.default
        && value.is_null()
        && !schema.nullable
    {
        *value = default.clone();
    }
}
