//! What whoever makes an object owns, straight in the form of `managedFields`.
//!
//! The same as to compare it with an empty object, but most objects are made, and few are compared with anything twice:
//! so this is written for speed, without sets.

use serde_json::map::Entry;
use serde_json::{Map, Value};

use super::UNOWNED_METADATA;
use super::fields::element_of;
use super::set::field_key;
use super::types::{Atom, Type};

/// The fields of a new object, as `fieldsV1`; the skeleton is what even an empty one has.
pub(super) fn fields(root: Type<'_>, skeleton: &Value, new: &Value, has_status: bool) -> Map<String, Value> {
    let mut out = Map::new();
    for (name, value) in new.as_object().into_iter().flatten() {
        let fields = match &**name {
            "apiVersion" | "kind" => None,
            "metadata" => Some(metadata(value)).filter(|fields| !fields.is_empty()),
            "status" if has_status => None,
            _ => beyond(root.member(name), skeleton.get(name), value),
        };
        out.extend(fields.map(|fields| (field_key(name), Value::Object(fields))));
    }
    out
}

fn metadata(value: &Value) -> Map<String, Value> {
    let members = value.as_object().into_iter().flatten();
    let owned = members.filter(|(name, _)| !UNOWNED_METADATA.contains(&&***name));
    let field = |(name, value): (&String, &Value)| {
        (field_key(name), Value::Object(whole(Type::Metadata.member(name), value)))
    };
    owned.map(field).collect()
}

/// What a field has that the skeleton has not; none: nothing.
fn beyond(of: Type<'_>, skeleton: Option<&Value>, value: &Value) -> Option<Map<String, Value>> {
    match (skeleton, value) {
        (None, _) => Some(whole(of, value)),
        (Some(old), _) if old == value => None,
        (Some(old), Value::Object(members)) if of.atom(Some(value)) == Atom::Map => {
            let field = |(name, value): (&String, &Value)| {
                Some((field_key(name), Value::Object(beyond(of.member(name), old.get(name), value)?)))
            };
            Some(members.iter().filter_map(field).collect()).filter(|fields: &Map<_, _>| !fields.is_empty())
        }
        (Some(_), _) => Some(Map::new()),
    }
}

/// What is in a field that is new, and, if something is, the field itself.
fn whole(of: Type<'_>, value: &Value) -> Map<String, Value> {
    let mut out = Map::new();
    match (of.atom(Some(value)), value) {
        (Atom::Map, Value::Object(members)) => {
            for (name, value) in members {
                out.insert(field_key(name), Value::Object(whole(of.member(name), value)));
            }
        }
        (Atom::Set | Atom::KeyedList, Value::Array(items)) => {
            for item in items {
                let Ok(element) = element_of(of, item) else { continue };
                match out.entry(element.write()) {
                    Entry::Vacant(free) => drop(free.insert(Value::Object(whole(of.item(), item)))),
                    // Items that are there twice are owned together.
                    Entry::Occupied(mut twice) => drop(twice.insert(Value::Object(Map::new()))),
                }
            }
        }
        (Atom::Leaf(_) | Atom::WholeList | Atom::WholeMap | Atom::Map | Atom::Set | Atom::KeyedList, _) => {}
    }
    if !out.is_empty() {
        out.insert(".".to_owned(), Value::Object(Map::new()));
    }
    out
}
