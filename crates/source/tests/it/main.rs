//! Stories of revisions: what is wrong with one, what waits for a person, in which order it is applied, real Git.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as its tests do")]

mod git;
mod guards;
mod revisions;

use muster_source::{ChangeSet, SourceFile, Tree, validate};

/// A tree of files, each `(path, text)`.
fn tree(files: &[(&str, &str)]) -> Tree {
    let files =
        files.iter().map(|(path, text)| SourceFile { path: (*path).to_owned(), text: (*text).to_owned() });
    Tree { revision: "test".to_owned(), files: files.collect() }
}

/// A change set of one file's text, which must be good.
fn good(text: &str) -> ChangeSet {
    match validate(&tree(&[("a.yaml", text)]), Some("default")) {
        Ok(set) => set,
        Err(rejected) => panic!("{:#?}", rejected.problems),
    }
}

fn window(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: muster.dev/v1alpha1\nkind: MaintenanceWindow\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
    )
}

fn budget(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: muster.dev/v1alpha1\nkind: DisruptionBudget\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
    )
}

fn baseline(name: &str) -> String {
    format!(
        "---\napiVersion: muster.dev/v1alpha1\nkind: PackageBaseline\nmetadata: {{name: {name}}}\nspec: {{machineSelector: {{}}, packages: [{{name: curl}}]}}\n"
    )
}
