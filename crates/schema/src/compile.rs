//! Makes a [`Node`] tree from a CustomResourceDefinition's schema, and refuses what is not structural.

use regex::Regex;
use serde_json::{Map, Value};

use crate::formats::Format;
use crate::node::{Additional, Kind, Limits, ListType, Node, member_path};
use crate::rules::{self, Rule, RuleProblem};
use crate::{Cause, rule_fields, shape, structure};

/// How deeply schemas may be nested.
///
/// Twice what any schema of Kubernetes' own needs; every walk of this crate recurses along the schema, so this is also
/// what keeps the stack.
pub(crate) const MAX_DEPTH: usize = 64;

/// How many rules one schema may have.
///
/// A real server limits their estimated cost; our largest kind has fewer than thirty.
const MAX_RULES: usize = 500;

/// Why a schema cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// It breaks a rule of structural schemas.
    #[error("{path}: {problem}")]
    NotStructural {
        /// Where in the schema, as `spec.ports[]`.
        path: String,
        /// What is wrong and what to write.
        problem: String,
    },
    /// A pattern is not a regular expression.
    #[error(
        "{path}: the pattern {pattern:?} is not a regular expression that can be used; write it in RE2 syntax"
    )]
    Pattern {
        /// Where in the schema.
        path: String,
        /// The pattern.
        pattern: String,
        /// What the expression's compiler says.
        source: Box<regex::Error>,
    },
    /// A CEL rule cannot be used.
    #[error("{path}: the rule {rule:?} cannot be used")]
    Rule {
        /// Where in the schema.
        path: String,
        /// The rule as written.
        rule: String,
        /// Why.
        source: RuleProblem,
    },
    /// A default value does not fit its own schema.
    #[error("{path}: the default does not fit the schema: {}", cause.message)]
    Default {
        /// Where in the schema.
        path: String,
        /// The first thing that is wrong with it.
        cause: Cause,
    },
}

/// Compiles a whole schema.
pub(crate) fn compile(schema: &Value) -> Result<Node, SchemaError> {
    let mut compiler = Compiler { rules: 0 };
    let root = compiler.node(schema, "", 0, Place::Value)?;
    if root.kind != Kind::Object {
        return Err(not_structural("", "the root must be of type object"));
    }
    match check_rules(&root, "", true) {
        // See `CompiledSchema::check_types`.
        Err(SchemaError::Rule { source, .. }) if source.is_about_types() => {}
        checked => checked?,
    }
    check_defaults(&root, "")?;
    Ok(root)
}

/// Where a node stands: inside `allOf`, `anyOf`, `oneOf` and `not` only checks may be written, no structure.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Value,
    Junctor,
}

struct Compiler {
    rules: usize,
}

impl Compiler {
    fn node(&mut self, schema: &Value, path: &str, depth: usize, place: Place) -> Result<Node, SchemaError> {
        let Value::Object(map) = schema else {
            return Err(not_structural(path, "a schema must be an object"));
        };
        if depth > MAX_DEPTH {
            return Err(not_structural(path, &format!("schemas may be nested at most {MAX_DEPTH} deep")));
        }
        refuse_unsupported(map, path, place)?;
        let flag = |key: &str| map.get(key) == Some(&Value::Bool(true));
        let preserve_unknown = flag("x-kubernetes-preserve-unknown-fields");
        let embedded = flag("x-kubernetes-embedded-resource");
        let kind = kind(map, path, place, preserve_unknown)?;
        let mut properties = std::collections::BTreeMap::new();
        if let Some(Value::Object(declared)) = map.get("properties") {
            for (name, schema) in declared {
                properties
                    .insert(name.clone(), self.node(schema, &member_path(path, name), depth + 1, place)?);
            }
        }
        let additional = match map.get("additionalProperties") {
            None | Some(Value::Bool(false)) => Additional::None,
            Some(Value::Bool(true)) => Additional::Any,
            Some(schema) => {
                Additional::Values(Box::new(self.node(schema, &format!("{path}[*]"), depth + 1, place)?))
            }
        };
        let items = match map.get("items") {
            None => None,
            Some(schema) => Some(Box::new(self.node(schema, &format!("{path}[]"), depth + 1, place)?)),
        };
        let mut node = Node {
            kind,
            nullable: flag("nullable"),
            preserve_unknown,
            embedded,
            required: strings(map.get("required")),
            limits: limits(map, path)?,
            all_of: self.branches(map, "allOf", path, depth)?,
            any_of: self.branches(map, "anyOf", path, depth)?,
            one_of: self.branches(map, "oneOf", path, depth)?,
            not: match map.get("not") {
                None => None,
                Some(schema) => Some(Box::new(self.node(schema, path, depth + 1, Place::Junctor)?)),
            },
            list_type: list_type(map, path, items.as_deref())?,
            default: map.get("default").cloned(),
            rules: self.rules(map, path)?,
            has_rules: false,
            has_keyed_lists: false,
            properties,
            additional,
            items,
        };
        node.has_rules = !node.rules.is_empty() || node.children().any(|child| child.has_rules);
        node.has_keyed_lists =
            node.list_type != ListType::Atomic || node.children().any(|child| child.has_keyed_lists);
        Ok(node)
    }

    fn branches(
        &mut self,
        map: &Map<String, Value>,
        key: &str,
        path: &str,
        depth: usize,
    ) -> Result<Vec<Node>, SchemaError> {
        let Some(Value::Array(branches)) = map.get(key) else { return Ok(Vec::new()) };
        branches.iter().map(|branch| self.node(branch, path, depth + 1, Place::Junctor)).collect()
    }

    fn rules(&mut self, map: &Map<String, Value>, path: &str) -> Result<Vec<Rule>, SchemaError> {
        let Some(rules) = map.get("x-kubernetes-validations") else { return Ok(Vec::new()) };
        let Value::Array(rules) = rules else {
            return Err(not_structural(path, "x-kubernetes-validations must be a list"));
        };
        self.rules += rules.len();
        if self.rules > MAX_RULES {
            return Err(not_structural(path, &format!("a schema may have at most {MAX_RULES} rules")));
        }
        rules.iter().map(|raw| rules::compile(raw).map_err(|source| rule_error(path, raw, source))).collect()
    }
}

fn rule_error(path: &str, raw: &Value, source: RuleProblem) -> SchemaError {
    let rule = raw.get("rule").and_then(Value::as_str).unwrap_or_default().to_owned();
    SchemaError::Rule { path: named(path), rule, source }
}

fn not_structural(path: &str, problem: &str) -> SchemaError {
    SchemaError::NotStructural { path: named(path), problem: problem.to_owned() }
}

fn named(path: &str) -> String {
    if path.is_empty() { "the schema".to_owned() } else { path.to_owned() }
}

fn refuse_unsupported(map: &Map<String, Value>, path: &str, place: Place) -> Result<(), SchemaError> {
    for key in
        ["$ref", "definitions", "dependencies", "deprecated", "discriminator", "id", "patternProperties"]
    {
        if map.contains_key(key) {
            return Err(not_structural(path, &format!("{key} is not allowed in a structural schema")));
        }
    }
    if map.contains_key("properties") && map.contains_key("additionalProperties") {
        return Err(not_structural(path, "properties and additionalProperties exclude each other"));
    }
    if map.get("uniqueItems") == Some(&Value::Bool(true)) {
        return Err(not_structural(path, "uniqueItems cannot be true; use x-kubernetes-list-type: set"));
    }
    if place == Place::Junctor {
        for key in ["default", "nullable", "additionalProperties", "x-kubernetes-validations"] {
            if map.contains_key(key) {
                return Err(not_structural(
                    path,
                    &format!(
                        "{key} must not be set inside allOf, anyOf, oneOf or not; set it outside of them"
                    ),
                ));
            }
        }
    }
    Ok(())
}

fn kind(
    map: &Map<String, Value>,
    path: &str,
    place: Place,
    preserve_unknown: bool,
) -> Result<Kind, SchemaError> {
    if map.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        return Ok(Kind::IntOrString);
    }
    let named = match map.get("type") {
        Some(Value::String(name)) => name.as_str(),
        None => "",
        Some(_) => return Err(not_structural(path, "type must be one name")),
    };
    Ok(match named {
        "object" => Kind::Object,
        "array" if place == Place::Value && !map.contains_key("items") => {
            return Err(not_structural(path, "an array must say what its items are"));
        }
        "array" => Kind::Array,
        "string" => Kind::String,
        "integer" => Kind::Integer,
        "number" => Kind::Number,
        "boolean" => Kind::Boolean,
        "" if place == Place::Junctor || preserve_unknown => Kind::Any,
        "" => return Err(not_structural(path, "type must be set")),
        other => return Err(not_structural(path, &format!("{other:?} is not a type"))),
    })
}

fn list_type(map: &Map<String, Value>, path: &str, items: Option<&Node>) -> Result<ListType, SchemaError> {
    let keys = strings(map.get("x-kubernetes-list-map-keys"));
    match map.get("x-kubernetes-list-type").and_then(Value::as_str) {
        None | Some("atomic") => Ok(ListType::Atomic),
        Some("set") => Ok(ListType::Set),
        Some("map") => {
            if keys.is_empty() {
                return Err(not_structural(path, "a list of type map needs x-kubernetes-list-map-keys"));
            }
            for key in &keys {
                let sure = items.is_some_and(|items| {
                    items.required.contains(key)
                        || items.properties.get(key).is_some_and(|property| property.default.is_some())
                });
                if !sure {
                    return Err(not_structural(
                        path,
                        &format!("the key {key:?} must be required or have a default"),
                    ));
                }
            }
            Ok(ListType::Map(keys))
        }
        Some(other) => {
            Err(not_structural(path, &format!("{other:?} is not a list type; use atomic, set or map")))
        }
    }
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn limits(map: &Map<String, Value>, path: &str) -> Result<Limits, SchemaError> {
    let count = |key: &str| map.get(key).and_then(Value::as_u64);
    let flag = |key: &str| map.get(key) == Some(&Value::Bool(true));
    let number = |key: &str| map.get(key).and_then(Value::as_number).cloned();
    let pattern = match map.get("pattern").and_then(Value::as_str) {
        None => None,
        Some(pattern) => {
            let compiled = Regex::new(&ascii_classes(pattern)).map_err(|source| SchemaError::Pattern {
                path: named(path),
                pattern: pattern.to_owned(),
                source: Box::new(source),
            })?;
            Some((pattern.to_owned(), compiled))
        }
    };
    Ok(Limits {
        max_length: count("maxLength"),
        min_length: count("minLength"),
        max_items: count("maxItems"),
        min_items: count("minItems"),
        max_properties: count("maxProperties"),
        min_properties: count("minProperties"),
        maximum: number("maximum"),
        exclusive_maximum: flag("exclusiveMaximum"),
        minimum: number("minimum"),
        exclusive_minimum: flag("exclusiveMinimum"),
        multiple_of: map.get("multipleOf").and_then(Value::as_f64),
        pattern,
        format: map.get("format").and_then(Value::as_str).and_then(Format::named),
        choices: map.get("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
    })
}

/// Rewrites `\d`, `\w` and `\s` to ASCII classes: that is what they mean in RE2, while Rust's know all of Unicode.
fn ascii_classes(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => match (chars.next(), in_class) {
                (Some('d'), false) => out.push_str("[0-9]"),
                (Some('w'), false) => out.push_str("[0-9A-Za-z_]"),
                (Some('s'), false) => out.push_str(r"[\t\n\f\r ]"),
                (Some('d'), true) => out.push_str("0-9"),
                (Some('w'), true) => out.push_str("0-9A-Za-z_"),
                (Some('s'), true) => out.push_str(r"\t\n\f\r "),
                (Some(other), _) => out.extend(['\\', other]),
                (None, _) => out.push('\\'),
            },
            _ => {
                in_class = match c {
                    '[' => true,
                    ']' => false,
                    _ => in_class,
                };
                out.push(c);
            }
        }
    }
    out
}

/// Rules may name only fields that exist, and older selves only where there are any.
pub(crate) fn check_rules(node: &Node, path: &str, has_older_self: bool) -> Result<(), SchemaError> {
    for rule in &node.rules {
        let checked = if rule.is_transition && !has_older_self {
            Err(RuleProblem::Uncorrelatable)
        } else {
            rule_fields::check(rule, node, path.is_empty())
        };
        checked.map_err(|source| SchemaError::Rule { path: named(path), rule: rule.text.clone(), source })?;
    }
    for (name, child) in &node.properties {
        check_rules(child, &member_path(path, name), has_older_self)?;
    }
    if let Additional::Values(values) = &node.additional {
        check_rules(values, &format!("{path}[*]"), has_older_self)?;
    }
    let Some(items) = &node.items else { return Ok(()) };
    let items_have = has_older_self && matches!(node.list_type, ListType::Map(_));
    check_rules(items, &format!("{path}[]"), items_have)
}

fn check_defaults(node: &Node, path: &str) -> Result<(), SchemaError> {
    if let Some(default) = &node.default {
        let fail = |cause: Cause| SchemaError::Default { path: named(path), cause };
        let mut whole = default.clone();
        if let Some(field) = shape::prune_within(node, &mut whole).into_iter().next() {
            let message = format!("Invalid value: {default}: must not have unknown fields");
            return Err(fail(Cause { reason: "FieldValueInvalid", message, field }));
        }
        shape::apply_defaults(node, &mut whole);
        if let Some(cause) = structure::check(node, &whole, None).into_iter().next() {
            return Err(fail(cause));
        }
    }
    for (name, child) in &node.properties {
        check_defaults(child, &member_path(path, name))?;
    }
    if let Additional::Values(values) = &node.additional {
        check_defaults(values, &format!("{path}[*]"))?;
    }
    node.items.as_deref().map_or(Ok(()), |items| check_defaults(items, &format!("{path}[]")))
}
