//! Label and field selectors, parsed from their query texts.

use crate::names;
use crate::object::Stored;
use crate::registry::Resource;

/// Requirements per selector; a longer text is refused.
const REQUIREMENTS: usize = 64;

/// A parsed label selector; the empty one selects everything.
#[derive(Debug, Default, Clone)]
pub(crate) struct LabelSelector(Vec<Requirement>);

#[derive(Debug, Clone)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    Missing,
    Greater,
    Less,
}

impl LabelSelector {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = Tokens { rest: text };
        let mut requirements = Vec::new();
        if tokens.peek().is_empty() {
            return Ok(Self::default());
        }
        loop {
            requirements
                .push(requirement(&mut tokens).map_err(|why| format!("unable to parse requirement: {why}"))?);
            if requirements.len() > REQUIREMENTS {
                return Err(format!("a label selector may have at most {REQUIREMENTS} requirements"));
            }
            match tokens.next() {
                "" => return Ok(Self(requirements)),
                "," => {}
                other => return Err(format!("found '{other}', expected: ',' or 'end of string'")),
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn matches(&self, object: &Stored) -> bool {
        self.0.iter().all(|requirement| {
            let value = object.meta.label(&requirement.key);
            let number = || requirement.values.first().and_then(|value| value.parse::<i64>().ok());
            let compare = |order: fn(&i64, &i64) -> bool| {
                value
                    .and_then(|value| value.parse::<i64>().ok())
                    .zip(number())
                    .is_some_and(|(have, limit)| order(&have, &limit))
            };
            match requirement.operator {
                Operator::In => value.is_some_and(|value| requirement.values.iter().any(|one| one == value)),
                Operator::NotIn => {
                    !value.is_some_and(|value| requirement.values.iter().any(|one| one == value))
                }
                Operator::Exists => value.is_some(),
                Operator::Missing => value.is_none(),
                Operator::Greater => compare(i64::gt),
                Operator::Less => compare(i64::lt),
            }
        })
    }
}

/// Splits a selector into words and signs; an empty token is the end.
struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn peek(&self) -> &'a str {
        Self { rest: self.rest }.next()
    }

    fn next(&mut self) -> &'a str {
        let text = self.rest.trim_start();
        let length = match text.as_bytes() {
            [] => 0,
            [b'=', b'=', ..] | [b'!', b'=', ..] => 2,
            [b'=' | b'!' | b',' | b'(' | b')' | b'<' | b'>', ..] => 1,
            _ => text.find(|c: char| c.is_whitespace() || "=!,()<>".contains(c)).unwrap_or(text.len()),
        };
        let (token, rest) = text.split_at(length);
        self.rest = rest;
        token
    }
}

fn is_sign(token: &str) -> bool {
    token.is_empty() || token.starts_with(['=', '!', ',', '(', ')', '<', '>'])
}

fn requirement(tokens: &mut Tokens<'_>) -> Result<Requirement, String> {
    let mut key = tokens.next();
    let missing = key == "!";
    if missing {
        key = tokens.next();
    }
    if is_sign(key) {
        return Err(format!("found '{key}', expected: identifier"));
    }
    if let Some(why) = names::label_key(key) {
        return Err(format!("<nil>: Invalid value: \"{key}\": {why}"));
    }
    let done = |operator, values| Ok(Requirement { key: key.to_owned(), operator, values });
    if missing {
        return done(Operator::Missing, vec![]);
    }
    match tokens.peek() {
        "" | "," => done(Operator::Exists, vec![]),
        "=" | "==" => {
            tokens.next();
            done(Operator::In, vec![exact_value(tokens)?])
        }
        "!=" => {
            tokens.next();
            done(Operator::NotIn, vec![exact_value(tokens)?])
        }
        sign @ (">" | "<") => {
            tokens.next();
            let value = exact_value(tokens)?;
            if value.parse::<i64>().is_err() {
                return Err(format!(
                    "values[0]: Invalid value: \"{value}\": for 'Gt', 'Lt' operators, the value must be an integer"
                ));
            }
            done(if sign == ">" { Operator::Greater } else { Operator::Less }, vec![value])
        }
        word @ ("in" | "notin") => {
            tokens.next();
            done(if word == "in" { Operator::In } else { Operator::NotIn }, value_list(tokens)?)
        }
        other => Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt")),
    }
}

fn exact_value(tokens: &mut Tokens<'_>) -> Result<String, String> {
    if matches!(tokens.peek(), "" | ",") {
        return Ok(String::new());
    }
    let value = tokens.next();
    if is_sign(value) {
        return Err(format!("found '{value}', expected: identifier"));
    }
    check_value(value)
}

fn value_list(tokens: &mut Tokens<'_>) -> Result<Vec<String>, String> {
    let open = tokens.next();
    if open != "(" {
        return Err(format!("found '{open}' expected: '('"));
    }
    let mut values = Vec::new();
    loop {
        match tokens.peek() {
            ")" => {
                tokens.next();
                if values.is_empty() {
                    values.push(String::new());
                }
                return Ok(values);
            }
            "," => {
                tokens.next();
                if values.is_empty() || matches!(tokens.peek(), "," | ")") {
                    values.push(String::new());
                }
            }
            word if !is_sign(word) => {
                tokens.next();
                values.push(check_value(word)?);
                if !matches!(tokens.peek(), "," | ")") {
                    return Err(format!("found '{}', expected: ',' or ')'", tokens.peek()));
                }
            }
            other => return Err(format!("found '{other}', expected: ',', ')' or identifier")),
        }
    }
}

fn check_value(value: &str) -> Result<String, String> {
    match names::label_value(value) {
        Some(why) => Err(format!("values[0]: Invalid value: \"{value}\": {why}")),
        None => Ok(value.to_owned()),
    }
}

/// A parsed field selector.
#[derive(Debug, Default, Clone)]
pub(crate) struct FieldSelector(Vec<(String, bool, String)>);

impl FieldSelector {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut terms = Vec::new();
        for term in split_terms(text) {
            let (path, equal, value) = match (term.split_once("!="), term.split_once("=")) {
                (Some((path, value)), _) => (path, false, value),
                (None, Some((path, value))) => (path, true, value.strip_prefix('=').unwrap_or(value)),
                (None, None) => return Err(format!("invalid selector: '{text}'; can't understand '{term}'")),
            };
            terms.push((
                path.trim().to_owned(),
                equal,
                value.replace("\\,", ",").replace("\\=", "=").replace("\\\\", "\\"),
            ));
            if terms.len() > REQUIREMENTS {
                return Err(format!("a field selector may have at most {REQUIREMENTS} requirements"));
            }
        }
        Ok(Self(terms))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The single name that it asks for, if it does.
    pub(crate) fn name(&self) -> Option<&str> {
        self.0.iter().find(|(path, equal, _)| path == "metadata.name" && *equal).map(|(_, _, name)| &**name)
    }

    /// With the paths as they are stored, or the path that the resource does not know.
    pub(crate) fn resolve(mut self, resource: &Resource) -> Result<Self, String> {
        for (path, _, _) in &mut self.0 {
            let stored = crate::events::stored_path(resource, path);
            let namespaced = stored == "metadata.namespace" && resource.namespaced;
            if stored != "metadata.name"
                && !namespaced
                && !resource.fields.iter().any(|known| **known == *stored)
            {
                return Err(format!("field label not supported: {path}"));
            }
            *path = stored;
        }
        Ok(self)
    }

    pub(crate) fn matches(&self, object: &Stored) -> bool {
        self.0.iter().all(|(path, equal, value)| (object.field(path) == *value) == *equal)
    }
}

/// Terms are separated by commas that no backslash escapes.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (index, c) in text.char_indices() {
        if c == ',' && !escaped {
            terms.push(&text[start..index]);
            start = index + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    terms.push(&text[start..]);
    terms.retain(|term| !term.trim().is_empty());
    terms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Draft;

    fn object(labels: serde_json::Value) -> Stored {
        let object = serde_json::json!({"metadata": {"name": "a", "labels": labels}, "spec": {"x": 5}});
        Draft::new(object, &["spec.x".into()]).stored(1)
    }

    #[test]
    fn a_label_selector_selects_as_kubectl_expects() {
        let web = object(serde_json::json!({"role": "web", "ring": "1"}));
        for (text, expected) in [
            ("", true),
            ("role=web", true),
            ("role==web,ring!=2", true),
            ("role in (db, web)", true),
            ("role notin (web)", false),
            ("!gpu", true),
            ("gpu", false),
            ("ring>0", true),
            ("ring<1", false),
            ("absent!=x", true),
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap().matches(&web), expected, "{text}");
        }
        assert_eq!(
            LabelSelector::parse("a like b").unwrap_err(),
            "unable to parse requirement: found 'like', expected: in, notin, =, ==, !=, gt, lt"
        );
        assert_eq!(
            LabelSelector::parse("a in (b").unwrap_err(),
            "unable to parse requirement: found '', expected: ',' or ')'"
        );
    }

    #[test]
    fn a_field_selector_reads_names_and_numbers() {
        let one = object(serde_json::json!({}));
        for (text, expected) in
            [("metadata.name=a", true), ("spec.x=5", true), ("spec.x!=5", false), ("spec.x==4", false)]
        {
            assert_eq!(FieldSelector::parse(text).unwrap().matches(&one), expected, "{text}");
        }
        assert!(FieldSelector::parse("nonsense").is_err());
    }
}
