//! Do a rule's fields exist, and is it a question about values that can be equal?
//!
//! The API server type-checks rules when a CustomResourceDefinition is created. Of that, this is the part that keeps
//! wrong rules from passing in silence, or from failing for every object: `has(self.replcias)` is never true, so what it
//! guards would never be checked. Types of functions and of operators other than `==` and `!=` are not checked; a mismatch
//! there fails when the rule is evaluated.

use kube_cel::cel::common::ast::{EntryExpr, Expr, IdedExpr, operators};

use crate::escape::escape;
use crate::node::{Additional, Kind, Node};
use crate::rules::{Rule, RuleProblem};

/// What an expression denotes, as far as it is followed.
#[derive(Clone, Copy)]
enum Type<'a> {
    /// A value of that schema; true: with apiVersion, kind and metadata.
    Of(&'a Node, bool),
    /// An object's metadata, of which rules see the name alone.
    Metadata,
    Unknown,
}

/// Refuses a rule that selects a field which its node does not have, compares fields that cannot be equal, or is itself a
/// field that is no answer.
pub(crate) fn check(rule: &Rule, node: &Node, is_root: bool) -> Result<(), RuleProblem> {
    let own = Type::Of(node, is_root || node.embedded);
    let old = if rule.optional_old_self { Type::Unknown } else { own };
    let scope = || vec![("self", own), ("oldSelf", old)];
    let is = |found: Type<'_>, wanted: Kind| match found {
        Type::Of(node, _) => node.kind == wanted || matches!(node.kind, Kind::Any | Kind::IntOrString),
        Type::Metadata => false,
        Type::Unknown => true,
    };
    if !is(follow(&rule.expression, &mut scope())?, Kind::Boolean) {
        return Err(RuleProblem::NotBoolean);
    }
    if let Some(message) = &rule.message_expression
        && !is(follow(message, &mut scope())?, Kind::String)
    {
        return Err(RuleProblem::NotText);
    }
    Ok(())
}

/// The name of a scalar's type in CEL; none for what has several, or is more than a scalar.
fn scalar(of: Type<'_>) -> Option<&'static str> {
    let Type::Of(node, _) = of else { return None };
    match (node.kind, &node.limits.format) {
        (Kind::String, None) => Some("string"),
        (Kind::Integer, _) => Some("int"),
        (Kind::Number, _) => Some("double"),
        (Kind::Boolean, _) => Some("bool"),
        (Kind::String | Kind::Object | Kind::Array | Kind::Any | Kind::IntOrString, _) => None,
    }
}

fn follow<'a>(
    expression: &'a IdedExpr,
    scope: &mut Vec<(&'a str, Type<'a>)>,
) -> Result<Type<'a>, RuleProblem> {
    match &expression.expr {
        Expr::Ident(name) => {
            let known = scope.iter().rev().find(|(known, _)| known == name);
            Ok(known.map_or(Type::Unknown, |(_, known)| *known))
        }
        Expr::Select(select) => {
            let found = member(follow(&select.operand, scope)?, &select.field)?;
            // `has(a.b)` asks for the field, and is true or false whatever that is.
            Ok(if select.test { Type::Unknown } else { found })
        }
        Expr::Call(call) => {
            if let Some(target) = &call.target {
                follow(target, scope)?;
            }
            let mut found = Vec::new();
            for argument in &call.args {
                found.push(follow(argument, scope)?);
            }
            match (&*call.func_name, &*found) {
                (operators::INDEX, [first, ..]) => Ok(element(*first)),
                (operators::EQUALS | operators::NOT_EQUALS, [left, right]) => {
                    match (scalar(*left), scalar(*right)) {
                        (Some(left), Some(right)) if left != right => Err(RuleProblem::NeverEqual {
                            operator: call.func_name.trim_matches('_').to_owned(),
                            types: format!("({left}, {right})"),
                        }),
                        _ => Ok(Type::Unknown),
                    }
                }
                _ => Ok(Type::Unknown),
            }
        }
        Expr::Comprehension(loop_) => {
            let range = follow(&loop_.iter_range, scope)?;
            let depth = scope.len();
            scope.push((&loop_.accu_var, Type::Unknown));
            match &loop_.iter_var2 {
                None => scope.push((&loop_.iter_var, item(range))),
                // Of two variables the first is the index or key.
                Some(second) => {
                    scope.extend([(loop_.iter_var.as_str(), Type::Unknown), (second, element(range))])
                }
            }
            for part in [&loop_.accu_init, &loop_.loop_cond, &loop_.loop_step, &loop_.result] {
                follow(part, scope)?;
            }
            scope.truncate(depth);
            Ok(Type::Unknown)
        }
        Expr::List(list) => {
            list.elements.iter().try_for_each(|element| follow(element, scope).map(|_| ()))?;
            Ok(Type::Unknown)
        }
        Expr::Map(map) => entries(&map.entries, scope),
        Expr::Struct(fields) => entries(&fields.entries, scope),
        Expr::Unspecified | Expr::Literal(_) => Ok(Type::Unknown),
    }
}

fn entries<'a>(
    entries: &'a [kube_cel::cel::common::ast::IdedEntryExpr],
    scope: &mut Vec<(&'a str, Type<'a>)>,
) -> Result<Type<'a>, RuleProblem> {
    for entry in entries {
        match &entry.expr {
            EntryExpr::StructField(field) => follow(&field.value, scope).map(|_| ())?,
            EntryExpr::MapEntry(entry) => {
                follow(&entry.key, scope)?;
                follow(&entry.value, scope)?;
            }
        }
    }
    Ok(Type::Unknown)
}

fn member<'a>(of: Type<'a>, field: &str) -> Result<Type<'a>, RuleProblem> {
    let undefined = || RuleProblem::UndefinedField { field: field.to_owned() };
    match of {
        Type::Unknown => Ok(Type::Unknown),
        Type::Metadata if matches!(field, "name" | "generateName") => Ok(Type::Unknown),
        Type::Metadata => Err(undefined()),
        Type::Of(node, is_resource) => match (node.kind, &node.additional) {
            (Kind::Any | Kind::IntOrString, _) | (Kind::Object, Additional::Any) => Ok(Type::Unknown),
            (Kind::Object, Additional::Values(values)) => Ok(Type::Of(values, values.embedded)),
            (Kind::Object, Additional::None) => {
                if is_resource && matches!(field, "apiVersion" | "kind") {
                    return Ok(Type::Unknown);
                }
                if is_resource && field == "metadata" {
                    return Ok(Type::Metadata);
                }
                let mut properties = node.properties.iter();
                properties
                    .find(|(name, _)| escape(name).as_deref() == Some(field))
                    .map(|(_, property)| Type::Of(property, property.embedded))
                    .ok_or_else(undefined)
            }
            (Kind::Array | Kind::String | Kind::Integer | Kind::Number | Kind::Boolean, _) => {
                Err(undefined())
            }
        },
    }
}

/// What `x[…]` denotes.
fn element(of: Type<'_>) -> Type<'_> {
    match of {
        Type::Of(Node { items: Some(items), .. }, _) => Type::Of(items, items.embedded),
        Type::Of(Node { additional: Additional::Values(values), .. }, _) => Type::Of(values, values.embedded),
        _ => Type::Unknown,
    }
}

/// What the variable of a macro over `x` denotes: items of a list, but keys of a map.
fn item(of: Type<'_>) -> Type<'_> {
    match of {
        Type::Of(Node { items: Some(items), .. }, _) => Type::Of(items, items.embedded),
        _ => Type::Unknown,
    }
}
