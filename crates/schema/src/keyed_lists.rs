//! Lists of type set and map: no value, no key may occur twice.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::node::{ListType, Node, member_path};
use crate::{Cause, MAX_CAUSES, print};

/// Adds a cause for each item that repeats an earlier one. What is as it was in `old` is left alone.
pub(crate) fn check(root: &Node, object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    walk(root, object, old, "", causes);
}

fn walk(node: &Node, value: &Value, old: Option<&Value>, path: &str, causes: &mut Vec<Cause>) {
    if !node.has_keyed_lists || causes.len() >= MAX_CAUSES || old == Some(value) {
        return;
    }
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if let Some(schema) = node.member(name) {
                    walk(schema, value, old.and_then(|o| o.get(name)), &member_path(path, name), causes);
                }
            }
        }
        Value::Array(items) => {
            repeated(node, items, path, causes);
            let Some(schema) = &node.items else { return };
            for (index, item) in items.iter().enumerate() {
                walk(schema, item, node.older_item(item, old), &format!("{path}[{index}]"), causes);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn repeated(node: &Node, items: &[Value], path: &str, causes: &mut Vec<Cause>) {
    let mut seen = HashSet::new();
    for (index, item) in items.iter().enumerate() {
        let identity = match (&node.list_type, item) {
            (ListType::Atomic, _) | (ListType::Map(_), Value::Null) => continue,
            (ListType::Set, item) => item.clone(),
            (ListType::Map(keys), item) => Value::Object(
                keys.iter()
                    .filter_map(|key| Some((key.clone(), item.get(key)?.clone())))
                    .collect::<Map<_, _>>(),
            ),
        };
        if !seen.insert(identity.to_string()) {
            causes.push(Cause {
                reason: "FieldValueDuplicate",
                message: format!("Duplicate value: {}", print::value(&identity)),
                field: format!("{path}[{index}]"),
            });
        }
    }
}
