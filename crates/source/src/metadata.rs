//! What a source may say in an object's metadata: name, labels, annotations, and its own namespace (rule G3).

use muster_model::{MachineName, ObjectName, label_key, label_value};

use crate::kinds::Kind;
use crate::placed::{Entry, Node};
use crate::problem::Problems;
use crate::written::Written;

/// The most bytes of all annotations of an object, as an API server bounds them.
const MAX_ANNOTATION_BYTES: usize = 256 << 10;

/// Checks it, and returns the name if there is a good one.
pub(crate) fn check(
    written: &Written,
    kind: Kind,
    namespace: Option<&str>,
    problems: &mut Problems,
) -> Option<String> {
    let Some(metadata) = written.document.entry("metadata") else {
        problems.push(written.problem("metadata.name", "", "the resource has no name: write metadata.name"));
        return None;
    };
    let Node::Map(entries) = &metadata.value.node else {
        problems.push(written.problem("metadata", "", "metadata must be a mapping with a name"));
        return None;
    };
    for entry in entries {
        let field = format!("metadata.{}", entry.key);
        match entry.key.as_str() {
            "name" => {}
            "namespace" => check_namespace(written, entry, namespace, problems),
            "labels" => check_pairs(written, entry, &field, true, problems),
            "annotations" => check_pairs(written, entry, &field, false, problems),
            _ => problems.push(written.problem(
                &field,
                "G3",
                "a source says only name, namespace, labels and annotations here: leave it out",
            )),
        }
    }
    let Some(name) = written.document.entry("metadata").and_then(|metadata| metadata.value.text("name"))
    else {
        problems.push(written.problem(
            "metadata.name",
            "",
            "the resource has no name: write metadata.name, as a text",
        ));
        return None;
    };
    let parsed = match kind {
        Kind::FleetMachine => MachineName::parse(name).map(|_| ()),
        Kind::FleetPolicy
        | Kind::DisruptionBudget
        | Kind::MaintenanceWindow
        | Kind::PackageBaseline
        | Kind::KernelBaseline => ObjectName::parse(name).map(|_| ()),
    };
    match parsed {
        Ok(()) => Some(name.to_owned()),
        Err(error) => {
            problems.push(written.problem("metadata.name", "", chain(&error)));
            None
        }
    }
}

fn check_namespace(written: &Written, entry: &Entry, namespace: Option<&str>, problems: &mut Problems) {
    let field = "metadata.namespace";
    match (&entry.value.node, namespace) {
        (Node::Text(named), Some(own)) if named != own => {
            let message = format!("the source fills the namespace {own}, not {named}: leave it out");
            problems.push(written.problem(field, "G3", message));
        }
        (Node::Text(_) | Node::Null, _) => {}
        (Node::Bool(_) | Node::Number(_) | Node::List(_) | Node::Map(_), _) => {
            problems.push(written.problem(field, "", "a namespace is a text: leave it out"));
        }
    }
}

fn check_pairs(written: &Written, entry: &Entry, field: &str, is_labels: bool, problems: &mut Problems) {
    let Node::Map(pairs) = &entry.value.node else {
        problems.push(written.problem(field, "", "this must be a mapping of texts"));
        return;
    };
    let mut bytes = 0;
    for pair in pairs {
        let place = format!("{field}[{}]", pair.key);
        if is_reserved(&pair.key) {
            problems.push(written.problem(
                &place,
                "G3",
                "keys of muster.dev are written by Muster itself: choose another",
            ));
        }
        if let Err(error) = label_key(&pair.key) {
            problems.push(written.problem(&place, "", chain(&error)));
        }
        let Node::Text(value) = &pair.value.node else {
            problems.push(written.problem(&place, "", "a value must be a text: put it in quotes"));
            continue;
        };
        bytes += pair.key.len() + value.len();
        if is_labels && let Err(error) = label_value(&pair.key, value) {
            problems.push(written.problem(&place, "", chain(&error)));
        }
    }
    if !is_labels && bytes > MAX_ANNOTATION_BYTES {
        problems.push(written.problem(
            field,
            "",
            format!("annotations are longer than {MAX_ANNOTATION_BYTES} bytes"),
        ));
    }
}

/// Facts, provenance, epochs: everything below our own domain.
fn is_reserved(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    domain == "muster.dev" || domain.ends_with(".muster.dev")
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}
