//! Is an applied configuration of its type? In the words of the API server's own typed values.

use std::collections::BTreeSet;

use serde_json::Value;

use super::fields::element_of;
use super::types::{Atom, Scalar, Type};

/// The first thing that is wrong with a configuration, with its path: `.spec.tags: duplicate entries for key [="q"]`.
pub(super) fn check(of: Type<'_>, value: &Value, path: &str) -> Result<(), String> {
    if value.is_null() {
        return Ok(());
    }
    let expected =
        |what: &str| Err(format!("{path}: expected {what}, got &value.valueUnstructured{{Value:{value}}}"));
    match of.atom(Some(value)) {
        Atom::Leaf(scalar) => {
            let (fits, what) = match scalar {
                Scalar::Text => (value.is_string(), "string"),
                Scalar::Numeric => (value.is_number(), "numeric (int or float)"),
                Scalar::Boolean => (value.is_boolean(), "boolean"),
                Scalar::Any => (!value.is_object() && !value.is_array(), "any scalar"),
            };
            if fits { Ok(()) } else { expected(what) }
        }
        Atom::WholeMap | Atom::Map => {
            let Value::Object(members) = value else { return expected("map") };
            members.iter().try_for_each(|(name, value)| {
                let path = format!("{path}.{name}");
                let Some(inner) = of.field(name).or_else(|| of.element()) else {
                    return Err(format!("{path}: field not declared in schema"));
                };
                check(inner, value, &path)
            })
        }
        Atom::WholeList => {
            let Value::Array(items) = value else { return expected("list") };
            items
                .iter()
                .enumerate()
                .try_for_each(|(index, item)| check(of.item(), item, &format!("{path}[{index}]")))
        }
        Atom::Set | Atom::KeyedList => {
            let Value::Array(items) = value else { return expected("list") };
            let mut seen = BTreeSet::new();
            items.iter().enumerate().try_for_each(|(index, item)| {
                let element =
                    element_of(of, item).map_err(|why| format!("{path}: element {index}: {why}"))?;
                check(of.item(), item, &format!("{path}{element}"))?;
                if seen.contains(&element) {
                    return Err(format!("{path}: duplicate entries for key {element}"));
                }
                seen.insert(element);
                Ok(())
            })
        }
    }
}
