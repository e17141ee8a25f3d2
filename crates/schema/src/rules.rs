//! CEL rules (`x-kubernetes-validations`): compiled once, evaluated as the API server does.
//!
//! kube-cel gives the language and Kubernetes' functions. The walk and the conversion of values are ours: kube-cel's
//! own validator escapes single underscores (rules on such fields then pass anything), pairs old and new list items by
//! position, and leaves the value out of messages.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube_cel::KubeCelExt;
use kube_cel::cel::objects::{Key, Map as CelMap, OptionalValue};
use kube_cel::cel::parser::{Expression, Parser};
use kube_cel::cel::{Context, ExecutionError, Value as CelValue};
use serde_json::{Map, Value};

use crate::escape::escape;
use crate::formats::{Format, duration_nanoseconds};
use crate::node::{Additional, Kind, Node, member_path};
use crate::{Cause, MAX_CAUSES, print};

/// How long a rule may be, in bytes.
///
/// The parser and the evaluation recurse along the expression; the longest rule of our own has 400 bytes.
const MAX_RULE_BYTES: usize = 4096;

/// How deeply a rule's expression may be nested, for the same reason.
const MAX_RULE_DEPTH: u16 = 64;

/// How much of an evaluation's error is shown, in characters: some print whole values.
const MAX_ERROR_CHARS: usize = 512;

/// Why a rule cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuleProblem {
    /// Not an object with a `rule`, or a member has the wrong type.
    #[error(
        "a rule is an object with a text `rule`, and perhaps message, messageExpression, reason, fieldPath, optionalOldSelf"
    )]
    Shape,
    /// Longer than rules may be.
    #[error("it has {bytes} bytes; at most {MAX_RULE_BYTES} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not CEL.
    #[error("it is not a CEL expression: {problem}")]
    Syntax {
        /// What the parser says.
        problem: String,
    },
    /// A reason that the API does not know.
    #[error(
        "{reason:?} is not a reason; use FieldValueInvalid, FieldValueForbidden, FieldValueRequired or FieldValueDuplicate"
    )]
    Reason {
        /// The reason as written.
        reason: String,
    },
    /// It reads a field that the schema does not declare.
    #[error("undefined field {field:?}; declare it in the schema, or correct its name")]
    UndefinedField {
        /// The field.
        field: String,
    },
    /// It compares fields of types that have no value in common.
    #[error("{operator} has no meaning between {types}; compare values of one type")]
    NeverEqual {
        /// `==` or `!=`.
        operator: String,
        /// Of its two sides, as CEL names them: `(int, string)`.
        types: String,
    },
    /// It is a field, and not one that is true or false.
    #[error("it must be true or false")]
    NotBoolean,
    /// Its messageExpression is a field, and not a text.
    #[error("its messageExpression must be a text")]
    NotText,
    /// It reads `oldSelf` in items that have no identity over time.
    #[error("oldSelf cannot be used inside lists that are not of type map: their items have no older selves")]
    Uncorrelatable,
}

impl RuleProblem {
    /// Is it about types of values? Then the rule can be evaluated, and fails for each object that it is asked about.
    pub(crate) fn is_about_types(&self) -> bool {
        match self {
            Self::NeverEqual { .. } | Self::NotBoolean | Self::NotText => true,
            Self::Shape
            | Self::TooLong { .. }
            | Self::Syntax { .. }
            | Self::Reason { .. }
            | Self::UndefinedField { .. }
            | Self::Uncorrelatable => false,
        }
    }
}

/// One compiled rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) text: String,
    pub(crate) expression: Expression,
    message: Option<String>,
    pub(crate) message_expression: Option<Expression>,
    reason: &'static str,
    /// Of the field to blame, relative to the rule's own.
    field_path: Option<String>,
    pub(crate) optional_old_self: bool,
    /// Names `oldSelf`.
    pub(crate) is_transition: bool,
}

/// Compiles one element of `x-kubernetes-validations`.
pub(crate) fn compile(raw: &Value) -> Result<Rule, RuleProblem> {
    let text = |key: &str| match raw.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(RuleProblem::Shape),
    };
    let rule = text("rule")?.ok_or(RuleProblem::Shape)?;
    let expression = parse(&rule)?;
    let message_expression = text("messageExpression")?.map(|text| parse(&text)).transpose()?;
    Ok(Rule {
        is_transition: expression.references().has_variable("oldSelf"),
        expression,
        message: text("message")?,
        message_expression,
        reason: reason(text("reason")?)?,
        field_path: text("fieldPath")?.map(|path| plain_path(&path)),
        optional_old_self: raw.get("optionalOldSelf") == Some(&Value::Bool(true)),
        text: rule,
    })
}

fn parse(text: &str) -> Result<Expression, RuleProblem> {
    if text.len() > MAX_RULE_BYTES {
        return Err(RuleProblem::TooLong { bytes: text.len() });
    }
    Parser::default()
        .max_recursion_depth(MAX_RULE_DEPTH)
        .enable_optional_syntax(true)
        .parse(text)
        .map_err(|errors| RuleProblem::Syntax { problem: errors.to_string() })
}

fn reason(written: Option<String>) -> Result<&'static str, RuleProblem> {
    match written.as_deref() {
        None | Some("FieldValueInvalid") => Ok("FieldValueInvalid"),
        Some("FieldValueForbidden") => Ok("FieldValueForbidden"),
        Some("FieldValueRequired") => Ok("FieldValueRequired"),
        Some("FieldValueDuplicate") => Ok("FieldValueDuplicate"),
        Some(other) => Err(RuleProblem::Reason { reason: other.to_owned() }),
    }
}

/// `.to` → `to`, `.a['b']` → `a[b]`.
fn plain_path(path: &str) -> String {
    path.trim_start_matches('.').replace("['", "[").replace("']", "]")
}

thread_local! {
    /// Kubernetes' functions. Per thread, since a context cannot be shared, and filling one costs more than a rule.
    static FUNCTIONS: Context<'static> = Context::default().with_all();
}

/// Evaluates all rules and adds a cause for each that fails or cannot be evaluated.
pub(crate) fn check(root: &Node, object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    FUNCTIONS.with(|functions| Walk { functions, causes }.node(root, object, old, "", true));
}

struct Walk<'a> {
    functions: &'a Context<'static>,
    causes: &'a mut Vec<Cause>,
}

impl Walk<'_> {
    fn node(&mut self, node: &Node, value: &Value, old: Option<&Value>, path: &str, is_resource: bool) {
        if !node.has_rules || value.is_null() || self.causes.len() >= MAX_CAUSES {
            return;
        }
        if !node.rules.is_empty() {
            self.rules(node, value, old, path, is_resource);
        }
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    let (schema, path) = match (node.properties.get(name), &node.additional) {
                        (Some(schema), _) => (schema, member_path(path, name)),
                        (None, Additional::Values(schema)) => (&**schema, format!("{path}[{name}]")),
                        (None, Additional::Any | Additional::None) => continue,
                    };
                    self.node(schema, value, old.and_then(|o| o.get(name)), &path, schema.embedded);
                }
            }
            Value::Array(items) => {
                let Some(schema) = &node.items else { return };
                for (index, item) in items.iter().enumerate() {
                    let older = node.older_item(item, old);
                    self.node(schema, item, older, &format!("{path}[{index}]"), schema.embedded);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn rules(&mut self, node: &Node, value: &Value, old: Option<&Value>, path: &str, is_resource: bool) {
        let unchanged = old == Some(value);
        let old = old.filter(|old| !old.is_null()).map(|old| to_cel(node, old, is_resource));
        let mut scope = self.functions.new_inner_scope();
        scope.add_variable_from_value("self", to_cel(node, value, is_resource));
        for rule in &node.rules {
            let skipped =
                if rule.is_transition { old.is_none() && !rule.optional_old_self } else { unchanged };
            if !skipped && let Some(cause) = evaluate(rule, &scope, old.as_ref(), node, value, path) {
                self.causes.push(cause);
            }
        }
    }
}

fn evaluate(
    rule: &Rule,
    scope: &Context<'_>,
    old: Option<&CelValue>,
    node: &Node,
    value: &Value,
    path: &str,
) -> Option<Cause> {
    let mut inner = scope.new_inner_scope();
    match (old, rule.optional_old_self) {
        (Some(old), false) => inner.add_variable_from_value("oldSelf", old.clone()),
        (old, true) => {
            let old = old.map_or_else(OptionalValue::none, |old| OptionalValue::of(old.clone()));
            inner.add_variable_from_value("oldSelf", CelValue::Opaque(Arc::new(old)));
        }
        (None, false) => {}
    }
    match CelValue::resolve(&rule.expression, &inner) {
        Ok(CelValue::Bool(true)) => None,
        Ok(CelValue::Bool(false)) => Some(failed(rule, scope, old, node, value, path)),
        Ok(_) => Some(unevaluated(rule, node, path, "the rule's result is not a boolean".to_owned())),
        Err(error) => Some(unevaluated(rule, node, path, explain(&error))),
    }
}

fn failed(
    rule: &Rule,
    scope: &Context<'_>,
    old: Option<&CelValue>,
    node: &Node,
    value: &Value,
    path: &str,
) -> Cause {
    let detail = computed_message(rule, scope, old)
        .or_else(|| rule.message.clone())
        .unwrap_or_else(|| format!("failed rule: {}", rule.text.trim()));
    let field = match &rule.field_path {
        Some(relative) => member_path(path, relative),
        None => path.to_owned(),
    };
    // Objects and lists are left out of messages: they could be long.
    let shown = match node.kind {
        Kind::Object | Kind::Array => String::new(),
        _ => format!(": {}", print::value(value)),
    };
    let message = match rule.reason {
        "FieldValueForbidden" => format!("Forbidden: {detail}"),
        "FieldValueRequired" => format!("Required value: {detail}"),
        "FieldValueDuplicate" => format!("Duplicate value{shown}"),
        _ => format!("Invalid value{shown}: {detail}"),
    };
    Cause { reason: rule.reason, message, field: print::field(&field) }
}

/// The message that `messageExpression` gives. In it `oldSelf` is plain even where the rule's is optional, as it is in
/// the API server.
fn computed_message(rule: &Rule, scope: &Context<'_>, old: Option<&CelValue>) -> Option<String> {
    let expression = rule.message_expression.as_ref()?;
    let mut inner = scope.new_inner_scope();
    if let Some(old) = old {
        inner.add_variable_from_value("oldSelf", old.clone());
    }
    match CelValue::resolve(expression, &inner) {
        Ok(CelValue::String(text)) => {
            let text = text.trim();
            (!text.is_empty() && !text.contains('\n')).then(|| text.to_owned())
        }
        _ => None,
    }
}

/// A rule that cannot be evaluated refuses the object: it might have found something.
fn unevaluated(rule: &Rule, node: &Node, path: &str, problem: String) -> Cause {
    let rule = rule.message.as_deref().unwrap_or(&rule.text).trim();
    Cause {
        reason: "FieldValueInvalid",
        message: format!(
            "Invalid value: {}: {problem} evaluating rule: {rule}",
            print::quoted(node.kind.name())
        ),
        field: print::field(path),
    }
}

fn explain(error: &ExecutionError) -> String {
    match error {
        ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
        ExecutionError::RemainderByZero(_) => "modulus by zero".to_owned(),
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::Overflow(..) => "integer overflow".to_owned(),
        ExecutionError::UndeclaredReference(name) => format!("undeclared reference to '{name}'"),
        other => other.to_string().chars().take(MAX_ERROR_CHARS).collect(),
    }
}

/// A value as rules see it: declared fields under their escaped names, formats as CEL's own types.
fn to_cel(node: &Node, value: &Value, is_resource: bool) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(b) => CelValue::Bool(*b),
        Value::Number(n) => match (node.kind, n.as_i64()) {
            (Kind::Number, _) | (_, None) => match n.as_f64() {
                Some(f) if node.kind == Kind::Integer && f.fract() == 0.0 => CelValue::Int(f as i64),
                f => CelValue::Float(f.unwrap_or(f64::NAN)),
            },
            (_, Some(integer)) => CelValue::Int(integer),
        },
        Value::String(text) => text_to_cel(node, text),
        Value::Array(items) => {
            let convert = |item| match &node.items {
                Some(schema) => to_cel(schema, item, schema.embedded),
                None => CelValue::Null,
            };
            CelValue::List(Arc::new(items.iter().map(convert).collect()))
        }
        Value::Object(members) => members_to_cel(node, members, is_resource),
    }
}

fn text_to_cel(node: &Node, text: &str) -> CelValue {
    let plain = || CelValue::String(Arc::new(text.to_owned()));
    if node.kind != Kind::String {
        return plain();
    }
    match node.limits.format {
        Some(Format::DateTime) => {
            chrono::DateTime::parse_from_rfc3339(text).map_or_else(|_| plain(), CelValue::Timestamp)
        }
        Some(Format::Date) => chrono::DateTime::parse_from_rfc3339(&format!("{text}T00:00:00Z"))
            .map_or_else(|_| plain(), CelValue::Timestamp),
        Some(Format::Duration) => duration_nanoseconds(text)
            .map_or_else(plain, |n| CelValue::Duration(chrono::Duration::nanoseconds(n))),
        Some(Format::Byte) => {
            STANDARD.decode(text).map_or_else(|_| plain(), |bytes| CelValue::Bytes(Arc::new(bytes)))
        }
        _ => plain(),
    }
}

fn members_to_cel(node: &Node, members: &Map<String, Value>, is_resource: bool) -> CelValue {
    let mut map = HashMap::with_capacity(members.len());
    let key = |name: String| Key::String(Arc::new(name));
    for (name, value) in members {
        if let Some(schema) = node.properties.get(name) {
            if let Some(name) = escape(name) {
                map.insert(key(name), to_cel(schema, value, schema.embedded));
            }
        } else if let Additional::Values(schema) = &node.additional {
            map.insert(key(name.clone()), to_cel(schema, value, schema.embedded));
        }
    }
    if is_resource {
        let text = |value: Option<&Value>| {
            let text = value.and_then(Value::as_str).unwrap_or_default();
            CelValue::String(Arc::new(text.to_owned()))
        };
        for name in ["apiVersion", "kind"] {
            map.insert(key(name.to_owned()), text(members.get(name)));
        }
        let metadata = members.get("metadata");
        let mut of_metadata = HashMap::new();
        for name in ["name", "generateName"] {
            if let Some(value) = metadata.and_then(|metadata| metadata.get(name)) {
                of_metadata.insert(key(name.to_owned()), text(Some(value)));
            }
        }
        map.insert(key("metadata".to_owned()), CelValue::Map(CelMap { map: Arc::new(of_metadata) }));
    }
    CelValue::Map(CelMap { map: Arc::new(map) })
}
