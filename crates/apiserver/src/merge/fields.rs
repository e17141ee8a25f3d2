//! From values to sets of fields, and fields out of values.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::set::{Element, FieldSet};
use super::types::{Atom, Type};

/// The element by which an item of a set or keyed list is known; the message says why it has none.
pub(super) fn element_of(of: Type<'_>, item: &Value) -> Result<Element, String> {
    if of.atom(None) == Atom::Set {
        return match item {
            Value::Object(_) => {
                Err("associative list without keys has an element that's a map type".to_owned())
            }
            Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
            Value::Null => {
                Err("associative list without keys has an element that's an explicit null".to_owned())
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(Element::value(item)),
        };
    }
    let Value::Object(members) = item else {
        return Err("associative list with keys may not have non-map elements".to_owned());
    };
    let names = of.keys();
    let mut keys: BTreeMap<&str, &Value> = BTreeMap::new();
    for name in &names {
        if let Some(value) = members.get(*name).or_else(|| of.default_of(name)) {
            keys.insert(name, value);
        }
    }
    if keys.is_empty() {
        return Err(format!(
            "associative list with keys has an element that omits all key fields {names:?} (and doesn't have \
             default values for any key fields)"
        ));
    }
    Ok(Element::key(&keys))
}

/// The fields that a value sets.
pub(super) fn fields_of(of: Type<'_>, value: &Value) -> FieldSet {
    let mut out = FieldSet::default();
    collect(of, value, &mut Vec::new(), &mut out);
    out
}

fn collect(of: Type<'_>, value: &Value, path: &mut Vec<Element>, out: &mut FieldSet) {
    match (of.atom(Some(value)), value) {
        (Atom::Leaf(_) | Atom::WholeList | Atom::WholeMap, _) => out.insert(path),
        (Atom::Map, Value::Object(members)) => {
            for (name, value) in members {
                path.push(Element::Field(name.clone()));
                collect(of.member(name), value, path, out);
                let is_empty_map = value.as_object().is_some_and(serde_json::Map::is_empty);
                if value.is_null() || is_empty_map || of.field(name).is_none() {
                    out.insert(path);
                }
                path.pop();
            }
        }
        (Atom::Set | Atom::KeyedList, Value::Array(items)) => {
            let elements: Vec<Option<Element>> = items.iter().map(|item| element_of(of, item).ok()).collect();
            let mut seen = BTreeSet::new();
            let repeated: BTreeSet<&Element> =
                elements.iter().flatten().filter(|element| !seen.insert(*element)).collect();
            for (item, element) in items.iter().zip(&elements) {
                let Some(element) = element else { continue };
                path.push(element.clone());
                if !repeated.contains(element) {
                    collect(of.item(), item, path, out);
                }
                out.insert(path);
                path.pop();
            }
        }
        (Atom::Map | Atom::Set | Atom::KeyedList, _) => {}
    }
}

/// The value without those fields. What is emptied by it becomes null, and so still counts as being there: whoever owns
/// it as a whole keeps it. See [`restore_emptied`].
pub(super) fn without(of: Type<'_>, value: &Value, fields: &FieldSet) -> Value {
    match (of.atom(Some(value)), value) {
        (Atom::Map, Value::Object(members)) => {
            let keep = |(name, value): (&String, &Value)| {
                let element = Element::Field(name.clone());
                if fields.has_member(&element) {
                    return None;
                }
                let value = match fields.below(&element) {
                    None => value.clone(),
                    Some(below) => without(of.member(name), value, below),
                };
                Some((name.clone(), value))
            };
            let left: serde_json::Map<String, Value> = members.iter().filter_map(keep).collect();
            if left.is_empty() { Value::Null } else { Value::Object(left) }
        }
        (Atom::Set | Atom::KeyedList, Value::Array(items)) => {
            let keep = |item: &Value| {
                let Ok(element) = element_of(of, item) else { return Some(item.clone()) };
                if fields.has_member(&element) {
                    return None;
                }
                Some(match fields.below(&element) {
                    None => item.clone(),
                    Some(below) => without(of.item(), item, below),
                })
            };
            let left: Vec<Value> = items.iter().filter_map(keep).collect();
            if left.is_empty() { Value::Null } else { Value::Array(left) }
        }
        (Atom::Leaf(_), _) => value.clone(),
        (Atom::WholeList | Atom::WholeMap | Atom::Map | Atom::Set | Atom::KeyedList, _) => Value::Null,
    }
}

/// Makes the nulls that [`without`] left where there were maps and lists empty maps and lists again.
pub(super) fn restore_emptied(whole: &Value, pruned: &mut Value) {
    match (whole, pruned) {
        (Value::Object(_), pruned @ Value::Null) => *pruned = Value::Object(serde_json::Map::new()),
        (Value::Array(_), pruned @ Value::Null) => *pruned = Value::Array(Vec::new()),
        (Value::Object(whole), Value::Object(members)) => {
            for (name, value) in members {
                restore_emptied(whole.get(name).unwrap_or(&Value::Null), value);
            }
        }
        // An item of which nothing is left, not even its keys, is no item any more.
        (Value::Array(whole), Value::Array(items)) if !whole.contains(&Value::Null) => {
            items.retain(|item| !item.is_null());
        }
        _ => {}
    }
}
