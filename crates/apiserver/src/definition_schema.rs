//! A definition's schemas: what of them means nothing, and why one cannot be used, in the real server's words and at the
//! field that is to blame.
//!
//! Not here: judging a schema (`muster_schema`), and the types of a rule's operators and functions, which show only when it
//! is evaluated.

use muster_schema::{Cause, RuleProblem, SchemaError};
use serde_json::{Value, json};

use crate::definition_rules::{places, schema_path};
use crate::object::items;
use crate::status::cause;

/// Why the schema of that version cannot be used, at the field that is to blame.
pub(crate) fn unusable(spec: &Value, version: usize, error: &SchemaError) -> Cause {
    let shared = places(spec, "schema");
    let place = if shared.len() == 1 { &shared[0] } else { &shared[version] };
    let (root, schema) = (schema_path(&place.0), &place.1["schema"]["openAPIV3Schema"]);
    let at = |path: &str| descend(&root, schema, path);
    let invalid = |field: String, value: &str, why: &str| {
        cause("FieldValueInvalid", field, format!("Invalid value: {value}: {why}"))
    };
    match error {
        SchemaError::NotStructural { .. } => {
            let field = format!("spec.versions[{version}].schema.openAPIV3Schema");
            cause("FieldValueInvalid", field, format!("Invalid value: {error}"))
        }
        SchemaError::Default { path, cause: found } => {
            cause(found.reason, format!("{}.default", at(path).0), &*found.message)
        }
        SchemaError::Pattern { path, pattern, source } => {
            let why =
                format!("must be a valid regular expression, but isn't: {}", go_regexp(pattern, source));
            invalid(format!("{}.pattern", at(path).0), &json!(pattern).to_string(), &why)
        }
        SchemaError::Rule { path, rule, source } => {
            let (field, node) = at(path);
            let rules = || items(&node["x-kubernetes-validations"]);
            let index = rules().position(|raw| raw["rule"].as_str().unwrap_or_default() == rule);
            let index = index.unwrap_or_default();
            let raw = rules().nth(index).unwrap_or(&Value::Null);
            let field = format!("{field}.x-kubernetes-validations[{index}]");
            match source {
                RuleProblem::Shape if rule.trim().is_empty() => {
                    let message = "Required value: rule is not specified";
                    cause("FieldValueRequired", format!("{field}.rule"), message)
                }
                RuleProblem::Reason { reason } => {
                    let known = REASONS.map(|one| format!("\"{one}\"")).join(", ");
                    let message = format!("Unsupported value: {}: supported values: {known}", json!(reason));
                    cause("FieldValueNotSupported", format!("{field}.reason"), message)
                }
                RuleProblem::UndefinedField { field: undefined } => {
                    let what = format!("undefined field '{undefined}'");
                    let why = compilation_failed(rule, &format!(".{undefined}"), &what);
                    invalid(format!("{field}.rule"), &go_rule(raw), &why)
                }
                RuleProblem::NeverEqual { operator, types } => {
                    let what = format!("found no matching overload for '_{operator}_' applied to '{types}'");
                    let why = compilation_failed(rule, operator, &what);
                    invalid(format!("{field}.rule"), &go_rule(raw), &why)
                }
                RuleProblem::NotBoolean => {
                    let why = "cel expression must evaluate to a bool";
                    invalid(format!("{field}.rule"), &go_rule(raw), why)
                }
                RuleProblem::NotText => {
                    let why = "messageExpression must evaluate to a string";
                    invalid(format!("{field}.messageExpression"), &go_rule(raw), why)
                }
                RuleProblem::Uncorrelatable => invalid(
                    format!("{field}.rule"),
                    &json!(rule).to_string(),
                    "oldSelf cannot be used on the uncorrelatable portion of the schema",
                ),
                RuleProblem::Syntax { problem } => {
                    let why = format!("compilation failed: {}", problem.replace("\n| ", "\n | "));
                    invalid(format!("{field}.rule"), &go_rule(raw), &why)
                }
                RuleProblem::Shape | RuleProblem::TooLong { .. } => {
                    invalid(format!("{field}.rule"), &go_rule(raw), &format!("compilation failed: {source}"))
                }
            }
        }
    }
}

/// What CEL's compiler says of the first place where the rule has that text.
fn compilation_failed(rule: &str, at: &str, what: &str) -> String {
    let column = rule.find(at).unwrap_or_default();
    let dots = ".".repeat(column);
    format!("compilation failed: ERROR: <input>:1:{}: {what}\n | {rule}\n | {dots}^", column + 1)
}

/// Reasons that a rule may give.
const REASONS: [&str; 4] =
    ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// A rule as the real server prints it: as its Go type has it.
fn go_rule(raw: &Value) -> String {
    let text = |field: &str| json!(raw[field].as_str().unwrap_or_default()).to_string();
    let whole = format!(
        "{{\"Rule\":{},\"Message\":{},\"MessageExpression\":{},\"Reason\":{},\"FieldPath\":{},\"OptionalOldSelf\":{}}}",
        text("rule"),
        text("message"),
        text("messageExpression"),
        raw["reason"],
        text("fieldPath"),
        raw["optionalOldSelf"],
    );
    // Go's encoder is made for HTML.
    whole.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// What is wrong with a pattern, in the words of Go's regular expressions where those are known.
fn go_regexp(pattern: &str, error: &dyn std::error::Error) -> String {
    let ours = error.to_string();
    let last = ours.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let from = |c: char| &pattern[pattern.rfind(c).unwrap_or_default()..];
    let known = match &*last {
        "unclosed character class" => format!("missing closing ]: `{}`", from('[')),
        "unclosed group" => format!("missing closing ): `{pattern}`"),
        "unopened group" => format!("unexpected ): `{pattern}`"),
        _ => last,
    };
    format!("error parsing regexp: {known}")
}

/// From a path among values (`spec.ports[].name`, `the schema`) to the field of the definition and the schema there.
fn descend<'a>(root: &str, schema: &'a Value, path: &str) -> (String, &'a Value) {
    let (mut field, mut at) = (root.to_owned(), schema);
    let path = if path == "the schema" { "" } else { path };
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let name_end = part.find("[]").or_else(|| part.find("[*]")).unwrap_or(part.len());
        let (name, mut rest) = part.split_at(name_end);
        if !name.is_empty() {
            field.push_str(&format!(".properties[{name}]"));
            at = &at["properties"][name];
        }
        while !rest.is_empty() {
            let (step, left) = match rest.strip_prefix("[]") {
                Some(left) => ("items", left),
                None => ("additionalProperties", rest.strip_prefix("[*]").unwrap_or_default()),
            };
            field.push_str(&format!(".{step}"));
            at = &at[step];
            rest = left;
        }
    }
    (field, at)
}

/// Members that a schema may have; others are unknown fields of a definition.
const SCHEMA_MEMBERS: &[&str] = &[
    "$ref",
    "$schema",
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "default",
    "definitions",
    "dependencies",
    "description",
    "enum",
    "example",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "externalDocs",
    "format",
    "id",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "nullable",
    "oneOf",
    "pattern",
    "patternProperties",
    "properties",
    "required",
    "title",
    "type",
    "uniqueItems",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
];

/// Removes what a definition's schemas have and no schema may; returns the paths.
pub(crate) fn prune(definition: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    let Some(versions) = definition["spec"]["versions"].as_array_mut() else { return unknown };
    for (index, version) in versions.iter_mut().enumerate() {
        if let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema") {
            prune_schema(schema, &format!("spec.versions[{index}].schema.openAPIV3Schema"), &mut unknown);
        }
    }
    unknown
}

fn prune_schema(schema: &mut Value, path: &str, unknown: &mut Vec<String>) {
    let Some(members) = schema.as_object_mut() else { return };
    members.retain(|name, _| {
        let known = SCHEMA_MEMBERS.contains(&&**name);
        if !known {
            unknown.push(format!("{path}.{name}"));
        }
        known
    });
    for (name, value) in members.iter_mut() {
        let path = format!("{path}.{name}");
        match (&**name, value) {
            ("properties" | "patternProperties" | "definitions", Value::Object(schemas)) => {
                for (name, schema) in schemas {
                    prune_schema(schema, &format!("{path}.{name}"), unknown);
                }
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => {
                for (index, schema) in schemas.iter_mut().enumerate() {
                    prune_schema(schema, &format!("{path}[{index}]"), unknown);
                }
            }
            ("items" | "additionalProperties" | "not", schema) => prune_schema(schema, &path, unknown),
            _ => {}
        }
    }
}
