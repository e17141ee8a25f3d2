//! Judges a revision whole (rule G1): a change set without a single problem, or every problem there is.
//!
//! In the API server's own order: form, unknown fields, structure, CEL rules; then the model's values (versions,
//! schedules, zones, selectors); then what objects have to do with each other. The server-side dry run is the
//! caller's.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_crds::names::{GROUP, VERSION};
use serde::Serialize;
use serde_json::{Value, json};

use crate::files::Tree;
use crate::kinds::{Kind, Model};
use crate::metadata;
use crate::placed::Place;
use crate::problem::{Problem, Problems};
use crate::written::{self, Written};

/// The most objects of one source: all of them are on record in its status (rule G6).
pub const MAX_OBJECTS: usize = muster_crds::MAX_OWNED;

/// A revision without a problem.
#[derive(Clone, Debug)]
pub struct ChangeSet {
    /// Names the content.
    pub revision: String,
    /// Its objects, by file and line.
    pub objects: Vec<Object>,
}

/// A revision with problems: nothing of it is applied (rule G1).
#[derive(Clone, Debug)]
pub struct Rejected {
    /// Names the content.
    pub revision: String,
    /// What is wrong, by place; at most [`MAX_PROBLEMS`](crate::MAX_PROBLEMS).
    pub problems: Vec<Problem>,
    /// How many problems there are in all.
    pub total: usize,
}

/// An object's kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// One object of a revision.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its kind and name.
    pub key: ObjectKey,
    /// As it is written; the server adds defaults.
    pub value: Value,
    /// What it means.
    pub model: Model,
    /// The file, relative to the source's root.
    pub file: String,
    /// The line of its first key, from 1.
    pub line: u32,
    written: Arc<Written>,
}

impl Object {
    /// A problem with one of its fields that somebody else found, such as a server's dry run.
    #[must_use]
    pub fn problem(&self, field: &str, rule: &str, message: impl Into<String>) -> Problem {
        self.written.problem(field, rule, message)
    }

    /// Its labels, as written.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let labels = self.value.pointer("/metadata/labels").and_then(Value::as_object);
        labels.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
    }
}

/// Judges a tree. With `namespace`, objects that name another one are refused (rule G3).
///
/// # Errors
/// Everything that is wrong with it, as files, lines and columns.
pub fn validate(tree: &Tree, namespace: Option<&str>) -> Result<ChangeSet, Rejected> {
    let mut problems = Problems::new();
    let mut objects: Vec<Object> = Vec::new();
    let mut first: BTreeMap<ObjectKey, (String, u32)> = BTreeMap::new();
    for file in &tree.files {
        for written in written::objects(file, &mut problems) {
            if let Some(key) = key_of(&written, namespace, &mut problems) {
                let line = written.document.at.line;
                if let Some((file, line)) = first.get(&key) {
                    let message = format!("{key} is written twice, first in {file}:{line}: keep one of them");
                    problems.push(written.problem("metadata.name", "G1", message));
                } else {
                    first.insert(key.clone(), (written.file.clone(), line));
                }
                objects.extend(object(key, written, &mut problems));
            }
        }
    }
    if let Some(object) = objects.get(MAX_OBJECTS) {
        let message = format!(
            "a source has at most {MAX_OBJECTS} resources, not {}: make two sources of it",
            objects.len()
        );
        problems.push(object.problem("", "G6", message));
    }
    if problems.is_empty() {
        return Ok(ChangeSet { revision: tree.revision.clone(), objects });
    }
    let (problems, total) = problems.into_sorted();
    Err(Rejected { revision: tree.revision.clone(), problems, total })
}

/// Its kind and name, if both are good; checks all that is outside `spec`.
fn key_of(written: &Written, namespace: Option<&str>, problems: &mut Problems) -> Option<ObjectKey> {
    let document = &written.document;
    let Some(name) = document.text("kind") else {
        problems.push(written.problem("kind", "", "this is not a resource: it has no kind"));
        return None;
    };
    let allowed = || Kind::ALL.map(Kind::as_str).join(", ");
    let wanted = format!("{GROUP}/{VERSION}");
    let version = document.text("apiVersion").unwrap_or("");
    let Some(kind) = Kind::parse(name).filter(|_| version.split('/').next() == Some(GROUP)) else {
        let written_kind = if version.is_empty() { name.to_owned() } else { format!("{version} {name}") };
        let message =
            format!("{written_kind} does not belong into a source: it may hold {wanted} {}", allowed());
        problems.push(written.problem("kind", "G3", message));
        return None;
    };
    if version != wanted {
        problems.push(written.problem(
            "apiVersion",
            "",
            format!("write {wanted}: this version of Muster knows no {version}"),
        ));
        return None;
    }
    if document.entry("status").is_some() {
        problems.push(written.problem(
            "status",
            "G3",
            "a status is written by Muster, not by a source: leave it out",
        ));
    }
    metadata::check(written, kind, namespace, problems).map(|name| ObjectKey { kind, name })
}

/// The object, if nothing is wrong with it.
fn object(key: ObjectKey, written: Written, problems: &mut Problems) -> Option<Object> {
    let before = problems.total();
    let value = written.document.to_value();
    let schema = key.kind.schema();
    let mut judged = value.clone();
    if let Some(members) = judged.as_object_mut() {
        members.remove("status");
        if key.kind == Kind::FleetMachine {
            // Labels alone are a FleetMachine in a source (rule G3); its spec is there already.
            members.entry("spec").or_insert_with(|| json!({}));
        }
    }
    for field in schema.prune(&mut judged) {
        // What is in metadata has been judged.
        if !field.starts_with("metadata") {
            problems.push(unknown_field(&written, &field));
        }
    }
    schema.apply_defaults(&mut judged);
    let causes = schema.validate(&judged, None);
    let model = key.kind.to_model(judged);
    let errors = model.as_ref().err().map_or(&[][..], Vec::as_slice);
    for cause in &causes {
        let field = if cause.field == "<nil>" { "" } else { cause.field.as_str() };
        // The model says more of a bad version than that it does not match a pattern.
        if !errors.iter().any(|error| error.field == field) {
            problems.push(written.problem(field, "", cause.message.clone()));
        }
    }
    for error in errors {
        // What has no field is a shape that the schema has refused already.
        if causes.is_empty() || !error.field.is_empty() {
            problems.push(written.problem(&error.field, error.rule, error.message.clone()));
        }
    }
    let model = model.ok()?;
    let Place { line, .. } = written.document.at;
    let file = written.file.clone();
    (problems.total() == before).then(|| Object { key, value, model, file, line, written: Arc::new(written) })
}

/// Unknown fields stand at their key, not at their value.
fn unknown_field(written: &Written, field: &str) -> Problem {
    let Place { line, column } = written.document.find_key(field);
    let name = field.rsplit('.').next().unwrap_or(field);
    let message =
        format!("there is no field {name} here: correct its name or its indentation, or leave it out");
    Problem { line, column, ..written.problem(field, "", message) }
}
