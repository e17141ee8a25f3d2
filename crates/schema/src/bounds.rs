//! Is everything that rules read bounded?
//!
//! Real API servers estimate what a rule may cost from the schema's limits, and refuse those that could be dear. So
//! our own resources bound everything that a rule can reach (design §4); a test asks this function.

use serde_json::Value;

use crate::compile::MAX_DEPTH;
use crate::formats::Format;
use crate::node::member_path;

/// The paths of strings, lists and maps without `maxLength`, `maxItems` or `maxProperties` that a rule can reach.
///
/// A rule reaches everything below its node, and is evaluated once for each item of the lists and maps around it.
/// Strings with an `enum` or a format of fixed length are bounded. What stands below preserve-unknown-fields without
/// being declared cannot be reached. Paths are `spec.packages[].name`, with `[*]` for a map's values; sorted, each once.
pub fn unbounded_under_rules(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(schema, "", false, &mut Vec::new(), &mut found, 0);
    found.sort();
    found.dedup();
    found
}

/// `around` holds the unbounded lists and maps on the way here.
fn walk(
    schema: &Value,
    path: &str,
    reached: bool,
    around: &mut Vec<String>,
    found: &mut Vec<String>,
    depth: usize,
) {
    if depth > MAX_DEPTH {
        return;
    }
    let has_rules =
        schema.get("x-kubernetes-validations").and_then(Value::as_array).is_some_and(|r| !r.is_empty());
    if has_rules {
        found.extend(around.iter().cloned());
    }
    let reached = reached || has_rules;
    let unbounded = is_unbounded(schema);
    if unbounded && reached {
        found.push(path.to_owned());
    }
    if let Some(Value::Object(properties)) = schema.get("properties") {
        for (name, property) in properties {
            let of_every_object = path.is_empty() && matches!(&**name, "apiVersion" | "kind" | "metadata");
            if !of_every_object {
                walk(property, &member_path(path, name), reached, around, found, depth + 1);
            }
        }
    }
    let many = [("items", "[]"), ("additionalProperties", "[*]")];
    for (key, suffix) in many {
        let Some(child @ Value::Object(_)) = schema.get(key) else { continue };
        let outer = around.len();
        if unbounded {
            around.push(path.to_owned());
        }
        walk(child, &format!("{path}{suffix}"), reached, around, found, depth + 1);
        around.truncate(outer);
    }
}

fn is_unbounded(schema: &Value) -> bool {
    let lacks = |key: &str| schema.get(key).is_none();
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => {
            let format = schema.get("format").and_then(Value::as_str).and_then(Format::named);
            lacks("maxLength") && lacks("enum") && !format.is_some_and(Format::is_bounded)
        }
        Some("array") => lacks("maxItems"),
        Some("object") => {
            lacks("maxProperties")
                && !matches!(schema.get("additionalProperties"), None | Some(Value::Bool(false)))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_rules_can_reach_must_be_bounded() {
        let schema = json!({"type": "object", "properties": {
            "free": {"type": "string"},
            "spec": {"type": "object", "x-kubernetes-validations": [{"rule": "true"}], "properties": {
                "name": {"type": "string"},
                "mode": {"type": "string", "enum": ["A"]},
                "when": {"type": "string", "format": "date-time"},
                "short": {"type": "string", "maxLength": 3},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            }},
            "status": {"type": "object", "properties": {
                "list": {"type": "array", "items": {"type": "object", "properties": {
                    "n": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 0"}]},
                    "unread": {"type": "string"},
                }}},
            }},
        }});
        assert_eq!(
            unbounded_under_rules(&schema),
            ["spec.labels", "spec.labels[*]", "spec.name", "status.list"]
        );
    }
}
