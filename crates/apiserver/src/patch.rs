//! The patch formats: JSON patch, merge patch, and what kubectl's strategic merge patches need of the built-in
//! kinds. Server-side apply is in `managed`.

use json_patch::{Patch, PatchOperation};
use serde_json::{Map, Value, json};

use crate::object::items;
use crate::registry::{Nature, Resource};
use crate::status::Fault;

/// Operations per JSON patch, as in Kubernetes.
const OPERATIONS: usize = 10_000;

/// How a patch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl Format {
    /// By media type, for this resource.
    pub(crate) fn of(media: &str, resource: &Resource) -> Result<Self, Fault> {
        match media {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            "application/strategic-merge-patch+json" if !matches!(resource.nature, Nature::Custom) => {
                Ok(Self::Strategic)
            }
            _ => Err(Fault::unsupported_media(&[
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/apply-patch+yaml",
            ])),
        }
    }
}

/// A patch, parsed once and applied as often as the object changes under it.
pub(crate) enum Parsed {
    Operations(Patch),
    Merge(Value),
    Strategic(Value),
}

pub(crate) fn parse(format: Format, body: &[u8]) -> Result<Parsed, Fault> {
    let broken = |error: serde_json::Error| Fault::bad_request(format!("error decoding patch: {error}"));
    if format == Format::Json {
        let operations: Patch = serde_json::from_slice(body).map_err(broken)?;
        if operations.0.len() > OPERATIONS {
            let message = format!(
                "The allowed maximum operations in a JSON patch is {OPERATIONS}, got {}",
                operations.0.len()
            );
            return Err(Fault::new(413, "RequestEntityTooLarge", message));
        }
        return Ok(Parsed::Operations(operations));
    }
    let value: Value = serde_json::from_slice(body).map_err(broken)?;
    let kind = match &value {
        Value::Object(_) => {
            return Ok(if format == Format::Strategic {
                Parsed::Strategic(value)
            } else {
                Parsed::Merge(value)
            });
        }
        Value::Null => return Err(Fault::bad_request("Invalid JSON Patch")),
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
    };
    Err(Fault::bad_request(format!(
        "error decoding patch: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
    )))
}

/// The patched object.
pub(crate) fn apply(patch: &Parsed, live: &Value) -> Result<Value, Fault> {
    let mut object = live.clone();
    match patch {
        Parsed::Operations(operations) => operate(&mut object, operations)?,
        Parsed::Merge(patch) => json_patch::merge(&mut object, patch),
        Parsed::Strategic(patch) => strategic(&mut object, patch),
    }
    if object.is_object() {
        Ok(object)
    } else {
        Err(Fault::bad_request("the patched object is not an object"))
    }
}

/// A test for null passes where there is nothing, unlike in RFC 6902: the real server's library has it so, and clients
/// (kube-rs adding the first finalizer) rely on it.
fn operate(object: &mut Value, operations: &Patch) -> Result<(), Fault> {
    for operation in &operations.0 {
        if let PatchOperation::Test(test) = operation
            && test.value.is_null()
            && object.pointer(test.path.as_str()).is_none()
        {
            continue;
        }
        // Which operation and why, the real server does not say either.
        json_patch::patch(object, std::slice::from_ref(operation)).map_err(|_| {
            let message = "the server rejected our request due to an error in our request";
            Fault { details: Some(json!({})), ..Fault::new(422, "Invalid", message) }
        })?;
    }
    Ok(())
}

/// Merge, but finalizers are a set, owner references a map by uid, conditions a map by type, and directives are
/// obeyed or dropped: the built-in kinds here have no other lists that merge.
fn strategic(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        object.clone_from(patch);
        return;
    };
    if patch.get("$patch").is_some_and(|directive| directive == "replace") {
        *object = Value::Object(
            patch
                .iter()
                .filter(|(key, _)| !key.starts_with('$'))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        );
        return;
    }
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let Some(fields) = object.as_object_mut() else { return };
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            if let Some(Value::Array(live)) = fields.get_mut(list) {
                live.retain(|one| !items(value).any(|gone| gone == one));
            }
            continue;
        }
        if key.starts_with('$') {
            continue;
        }
        match (&**key, value) {
            (_, Value::Null) => {
                fields.remove(key);
            }
            ("finalizers" | "ownerReferences" | "conditions", Value::Array(new)) => {
                let id: fn(&Value) -> Option<&Value> = match &**key {
                    "finalizers" => |one| Some(one),
                    "ownerReferences" => |one| one.get("uid"),
                    _ => |one| one.get("type"),
                };
                let order = patch.get(&format!("$setElementOrder/{key}")).and_then(Value::as_array);
                merge_list(fields, key, new, order, id);
            }
            (_, Value::Object(_)) => strategic(fields.entry(key.clone()).or_insert(Value::Null), value),
            _ => {
                fields.insert(key.clone(), value.clone());
            }
        }
    }
}

fn merge_list(
    fields: &mut Map<String, Value>,
    key: &str,
    new: &[Value],
    order: Option<&Vec<Value>>,
    id: fn(&Value) -> Option<&Value>,
) {
    let list = fields.entry(key).or_insert_with(|| Value::Array(vec![]));
    let Value::Array(list) = list else { return };
    let mut added = 0;
    for item in new {
        let at = list.iter().position(|one| id(one).is_some() && id(one) == id(item));
        let delete = item.get("$patch").is_some_and(|directive| directive == "delete");
        match at {
            Some(index) if delete => drop(list.remove(index)),
            Some(index) => json_patch::merge(&mut list[index], item),
            None if delete => {}
            // What is new comes first.
            None => {
                list.insert(added, item.clone());
                added += 1;
            }
        }
    }
    // Unless the patch says in which order the items are to be.
    if let Some(order) = order {
        let place =
            |one: &Value| order.iter().position(|wanted| id(wanted).is_some() && id(wanted) == id(one));
        list.sort_by_key(|one| place(one).unwrap_or(usize::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_strategic_patch_merges_finalizers_and_obeys_directives() {
        let mut object = json!({"metadata": {"finalizers": ["a/x", "b/y"], "labels": {"k": "v"}}, "data": {"a": "1", "b": "2"}});
        let patch = json!({
            "metadata": {"finalizers": ["c/z"], "$deleteFromPrimitiveList/finalizers": ["a/x"], "$setElementOrder/finalizers": ["b/y", "c/z"], "labels": {"k": null}},
            "data": {"a": null, "c": "3"},
        });
        strategic(&mut object, &patch);
        assert_eq!(object["metadata"]["finalizers"], json!(["b/y", "c/z"]));
        assert_eq!(object["data"], json!({"b": "2", "c": "3"}));
        assert_eq!(object["metadata"]["labels"], json!({}));
    }
}
