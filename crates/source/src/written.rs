//! From files to the objects written in them: documents, and the items of `kind: List`.

use crate::files::SourceFile;
use crate::placed::{Node, Place, Placed};
use crate::problem::{Problem, Problems};
use crate::yaml;

/// One object as it is written, with its places.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) file: String,
    pub(crate) document: Placed,
}

impl Written {
    /// A problem with a field of it.
    pub(crate) fn problem(&self, field: &str, rule: &str, message: impl Into<String>) -> Problem {
        let Place { line, column } = self.document.find(field);
        Problem {
            file: self.file.clone(),
            line,
            column,
            field: field.to_owned(),
            rule: rule.to_owned(),
            message: message.into(),
        }
    }
}

/// All objects of a file; what is wrong with its form goes to `problems`.
pub(crate) fn objects(file: &SourceFile, problems: &mut Problems) -> Vec<Written> {
    let (documents, faults) = yaml::parse(&file.text);
    for fault in faults {
        problems.push(Problem {
            file: file.path.clone(),
            line: fault.at.line,
            column: fault.at.column,
            field: String::new(),
            rule: String::new(),
            message: fault.message,
        });
    }
    let mut objects = Vec::new();
    for document in documents {
        take(Written { file: file.path.clone(), document }, &mut objects, problems);
    }
    objects
}

fn take(written: Written, objects: &mut Vec<Written>, problems: &mut Problems) {
    if !matches!(written.document.node, Node::Map(_)) {
        problems.push(written.problem(
            "",
            "",
            "this is not a resource: write apiVersion, kind, metadata and spec",
        ));
        return;
    }
    let is_list = written.document.text("kind").is_some_and(|kind| kind == "List")
        && written.document.text("apiVersion").is_some_and(|version| version == "v1");
    if !is_list {
        objects.push(written);
        return;
    }
    match written.document.entry("items").map(|entry| &entry.value.node) {
        Some(Node::List(items)) => {
            for item in items {
                if item.text("kind").is_some_and(|kind| kind == "List") {
                    let inner = Written { file: written.file.clone(), document: item.clone() };
                    problems.push(inner.problem("kind", "G3", "a List inside a List: write its items out"));
                    continue;
                }
                take(Written { file: written.file.clone(), document: item.clone() }, objects, problems);
            }
        }
        Some(_) | None => problems.push(written.problem("items", "", "a List has its resources in `items`")),
    }
}
