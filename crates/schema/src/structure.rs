//! Checks a value against everything in a schema but its rules, in the API server's words.

use serde_json::{Map, Number, Value};

use crate::formats::Format;
use crate::node::{Additional, Kind, Node, member_path};
use crate::{Cause, MAX_CAUSES, print};

/// What is wrong with the value. What is as it was in `old` is left alone.
pub(crate) fn check(root: &Node, value: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    walk(root, value, old, "", &mut causes);
    causes
}

fn walk(node: &Node, value: &Value, old: Option<&Value>, path: &str, causes: &mut Vec<Cause>) {
    if causes.len() >= MAX_CAUSES || old == Some(value) {
        return;
    }
    if value.is_null() {
        if !node.nullable && node.kind != Kind::Any {
            causes.push(wrong_type(path, node.kind.name(), "null"));
        }
        return;
    }
    check_type(node, value, path, causes);
    check_junctors(node, value, path, causes);
    match value {
        Value::String(text) => check_text(node, text, path, causes),
        Value::Number(n) => check_number(node, n, path, causes),
        Value::Array(items) => {
            check_item_count(node, items.len() as u64, path, causes);
            if let Some(schema) = &node.items {
                for (index, item) in items.iter().enumerate() {
                    walk(schema, item, node.older_item(item, old), &format!("{path}[{index}]"), causes);
                }
            }
        }
        Value::Object(members) => check_members(node, members, old, path, causes),
        Value::Null | Value::Bool(_) => {}
    }
    check_choices(node, value, path, causes);
}

fn invalid(path: &str, value: &str, detail: &str) -> Cause {
    Cause {
        reason: "FieldValueInvalid",
        message: format!("Invalid value: {value}: {detail}"),
        field: print::field(path),
    }
}

fn wrong_type(path: &str, wanted: &str, found: &str) -> Cause {
    let found = print::quoted(found);
    let place = if path.is_empty() { " in body".to_owned() } else { format!("{path} in body") };
    Cause {
        reason: "FieldValueTypeInvalid",
        message: format!("Invalid value: {found}: {place} must be of type {wanted}: {found}"),
        field: print::field(path),
    }
}

/// The type's name, and the name of its representation, which messages about number formats show.
fn type_of(value: &Value) -> (&'static str, &'static str) {
    match value {
        Value::Null => ("null", ""),
        Value::Bool(_) => ("boolean", ""),
        Value::Number(n) if n.is_i64() => ("integer", "int64"),
        Value::Number(_) => ("number", "float64"),
        Value::String(_) => ("string", ""),
        Value::Array(_) => ("array", ""),
        Value::Object(_) => ("object", ""),
    }
}

fn check_type(node: &Node, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let (found, representation) = type_of(value);
    let whole = value.as_f64().is_some_and(|f| f.fract() == 0.0 && f.abs() <= 9_007_199_254_740_991.0);
    let fits = match node.kind {
        Kind::Any => true,
        Kind::Integer => found == "integer" || (found == "number" && whole),
        Kind::IntOrString => found == "string" || found == "integer" || (found == "number" && whole),
        Kind::Number => found == "number" || found == "integer",
        Kind::Object | Kind::Array | Kind::String | Kind::Boolean => found == node.kind.name(),
    };
    let Some(format) = node.limits.format else {
        if !fits {
            causes.push(wrong_type(path, node.kind.name(), found));
        }
        return;
    };
    if !fits {
        let numeric = matches!(node.kind, Kind::Integer | Kind::Number);
        if numeric && !matches!(value, Value::String(_) | Value::Array(_)) {
            causes.push(wrong_type(path, format.name(), representation));
        } else {
            causes.push(wrong_type(path, node.kind.name(), found));
        }
    }
    if let (Value::Number(n), true) = (value, matches!(node.kind, Kind::Integer | Kind::Number)) {
        check_range_of_format(format, n, path, causes);
    }
}

/// A number must fit its format's range; the API server blames no field for it, only the message names it.
fn check_range_of_format(format: Format, n: &Number, path: &str, causes: &mut Vec<Cause>) {
    let fits = match format {
        Format::Int32 => n.as_i64().is_none_or(|n| i32::try_from(n).is_ok()) && within(n, 2_147_483_648.0),
        Format::Int64 => within(n, 9_223_372_036_854_775_808.0),
        Format::Float => n.as_f64().is_some_and(|f| f.abs() <= f64::from(f32::MAX)),
        _ => true,
    };
    if !fits {
        let kind = if format == Format::Float { "number" } else { "integer" };
        let name = format.name();
        let detail = format!("Checked value must be of type {kind} with format {name} in {path}");
        causes.push(invalid("", "\"\"", &detail));
    }
}

fn within(n: &Number, bound: f64) -> bool {
    n.is_i64() || n.as_f64().is_some_and(|f| f >= -bound && f < bound)
}

fn check_text(node: &Node, text: &str, path: &str, causes: &mut Vec<Cause>) {
    causes.extend(first_limit_broken(node, text, path));
    if let (Some(format), Kind::String | Kind::Any) = (node.limits.format, node.kind)
        && !format.admits(text)
    {
        causes.push(wrong_type(path, format.name(), text));
    }
}

/// Of length and pattern the API server names only the first that fails.
fn first_limit_broken(node: &Node, text: &str, path: &str) -> Option<Cause> {
    let limits = &node.limits;
    let quoted = || print::quoted(text);
    if limits.max_length.is_some() || limits.min_length.is_some() {
        let length = text.chars().count() as u64;
        if let Some(max) = limits.max_length.filter(|max| length > *max) {
            return Some(Cause {
                reason: "FieldValueTooLong",
                message: format!("Too long: may not be more than {max} bytes"),
                field: print::field(path),
            });
        }
        if let Some(min) = limits.min_length.filter(|min| length < *min) {
            let detail = format!("{path} in body should be at least {min} chars long");
            return Some(invalid(path, &quoted(), &detail));
        }
    }
    let (pattern, _) = limits.pattern.as_ref().filter(|(_, regex)| !regex.is_match(text))?;
    Some(invalid(path, &quoted(), &format!("{path} in body should match '{pattern}'")))
}

fn check_number(node: &Node, n: &Number, path: &str, causes: &mut Vec<Cause>) {
    let limits = &node.limits;
    let shown = || print::number(n);
    if let Some(factor) = limits.multiple_of {
        check_multiple(n, factor, path, causes);
    }
    if let Some(max) = &limits.maximum
        && (greater(n, max) || (limits.exclusive_maximum && !greater(max, n)))
    {
        let words = if limits.exclusive_maximum { "less than" } else { "less than or equal to" };
        let max = print::number(max);
        causes.push(invalid(path, &shown(), &format!("{path} in body should be {words} {max}")));
    }
    if let Some(min) = &limits.minimum
        && (greater(min, n) || (limits.exclusive_minimum && !greater(n, min)))
    {
        let words = if limits.exclusive_minimum { "greater than" } else { "greater than or equal to" };
        let min = print::number(min);
        causes.push(invalid(path, &shown(), &format!("{path} in body should be {words} {min}")));
    }
}

fn greater(a: &Number, b: &Number) -> bool {
    match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => a > b,
        _ => a.as_f64() > b.as_f64(),
    }
}

/// Integers are compared with the factor's whole part, as the API server does: with a factor below one it says so.
fn check_multiple(n: &Number, factor: f64, path: &str, causes: &mut Vec<Cause>) {
    let not_positive = |factor: &str| {
        invalid(path, factor, &format!("factor MultipleOf declared for {path} must be positive: {factor}"))
    };
    let is_multiple = match n.as_i64() {
        Some(_) if factor < 1.0 => return causes.push(not_positive(&print::float(factor.trunc()))),
        Some(n) => n % (factor as i64) == 0,
        None if factor <= 0.0 => return causes.push(not_positive(&print::float(factor))),
        None => n.as_f64().is_some_and(|n| (n / factor).fract() == 0.0),
    };
    if !is_multiple {
        let factor = print::float(factor);
        let detail = format!("{path} in body should be a multiple of {factor}");
        causes.push(invalid(path, &print::number(n), &detail));
    }
}

fn too_many(path: &str, actual: u64, max: u64) -> Cause {
    let noun = if max == 1 { "item" } else { "items" };
    Cause {
        reason: "FieldValueTooMany",
        message: format!("Too many: {actual}: must have at most {max} {noun}"),
        field: print::field(path),
    }
}

fn check_item_count(node: &Node, count: u64, path: &str, causes: &mut Vec<Cause>) {
    if let Some(max) = node.limits.max_items.filter(|max| count > *max) {
        causes.push(too_many(path, count, max));
    }
    if let Some(min) = node.limits.min_items.filter(|min| count < *min) {
        let detail = format!("{path} in body should have at least {min} items");
        causes.push(invalid(path, &count.to_string(), &detail));
    }
}

fn check_members(
    node: &Node,
    members: &Map<String, Value>,
    old: Option<&Value>,
    path: &str,
    causes: &mut Vec<Cause>,
) {
    let count = members.len() as u64;
    if let Some(max) = node.limits.max_properties.filter(|max| count > *max) {
        causes.push(too_many(path, count, max));
    }
    if let Some(min) = node.limits.min_properties.filter(|min| count < *min) {
        let detail = format!("{path} in body should have at least {min} properties");
        causes.push(invalid(path, &count.to_string(), &detail));
    }
    let of_resource: &[&str] = if node.embedded { &["apiVersion", "kind"] } else { &[] };
    for name in node.required.iter().map(String::as_str).chain(of_resource.iter().copied()) {
        if !members.contains_key(name) {
            causes.push(Cause {
                reason: "FieldValueRequired",
                message: "Required value".to_owned(),
                field: member_path(path, name),
            });
        }
    }
    for (name, value) in members {
        let schema = match (node.properties.get(name), &node.additional) {
            (Some(schema), _) => schema,
            (None, Additional::Values(schema)) => schema,
            (None, Additional::Any | Additional::None) => continue,
        };
        walk(schema, value, old.and_then(|o| o.get(name)), &member_path(path, name), causes);
    }
}

fn check_choices(node: &Node, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let choices = &node.limits.choices;
    if choices.is_empty() || choices.contains(value) {
        return;
    }
    let supported: Vec<String> = choices
        .iter()
        .map(|choice| match choice {
            Value::String(text) => print::quoted(text),
            other => print::quoted(&other.to_string()),
        })
        .collect();
    causes.push(Cause {
        reason: "FieldValueNotSupported",
        message: format!(
            "Unsupported value: {}: supported values: {}",
            print::value(value),
            supported.join(", ")
        ),
        field: print::field(path),
    });
}

/// `allOf`, `anyOf`, `oneOf` and `not`. Like formats' ranges, their failures name the field only in the message.
fn check_junctors(node: &Node, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let failures = |branch: &Node| {
        let mut causes = Vec::new();
        walk(branch, value, None, path, &mut causes);
        causes
    };
    let quoted = || print::quoted(path);
    if !node.any_of.is_empty() {
        let found: Vec<Vec<Cause>> = node.any_of.iter().map(failures).collect();
        if !found.iter().any(Vec::is_empty) {
            causes.push(invalid(
                "",
                "\"\"",
                &format!("{} must validate at least one schema (anyOf)", quoted()),
            ));
            causes.extend(closest(found));
        }
    }
    if !node.one_of.is_empty() {
        let found: Vec<Vec<Cause>> = node.one_of.iter().map(failures).collect();
        let valid = found.iter().filter(|causes| causes.is_empty()).count();
        if valid != 1 {
            let how = if valid == 0 {
                "Found none valid".to_owned()
            } else {
                format!("Found {valid} valid alternatives")
            };
            let detail = format!("{} must validate one and only one schema (oneOf). {how}", quoted());
            causes.push(invalid("", "\"\"", &detail));
            if valid == 0 {
                causes.extend(closest(found));
            }
        }
    }
    if !node.all_of.is_empty() {
        let found: Vec<Vec<Cause>> = node.all_of.iter().map(failures).collect();
        let valid = found.iter().filter(|causes| causes.is_empty()).count();
        if valid != found.len() {
            let none = if valid == 0 { ". None validated" } else { "" };
            let detail = format!("{} must validate all the schemas (allOf){none}", quoted());
            causes.push(invalid("", "\"\"", &detail));
            causes.extend(found.into_iter().flatten());
        }
    }
    if let Some(not) = &node.not
        && failures(not).is_empty()
    {
        causes.push(invalid("", "\"\"", &format!("{} must not validate the schema (not)", quoted())));
    }
}

/// The branch that fails least explains the failure best.
fn closest(found: Vec<Vec<Cause>>) -> Vec<Cause> {
    found.into_iter().min_by_key(Vec::len).unwrap_or_default()
}
