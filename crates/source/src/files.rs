//! A revision's files, whether they come from a folder or from a commit, and what bounds them.
//!
//! A file that cannot be read, and a limit that is passed, is an error of the whole tree: what is missing from a tree
//! would otherwise look as if somebody had removed it (rule G4).

use std::path::PathBuf;

use muster_model::Digest;
use serde::{Deserialize, Serialize};

/// The most files of one tree: ten times the most objects, so that only a wrong folder meets it.
pub const MAX_FILES: usize = 10_000;

/// The longest file, in bytes: what an API server takes in one request, roughly.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// The most bytes of one tree: it is held in memory, with its parsed form.
pub const MAX_TREE_BYTES: u64 = 64 << 20;

/// The deepest folder below the root.
pub const MAX_DEPTH: usize = 16;

/// A revision's files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// Names the content: `main@sha1:…`, `folder@sha256:…`.
    pub revision: String,
    /// The YAML and JSON files, by path.
    pub files: Vec<SourceFile>,
}

/// One file of a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Relative to the source's root, with `/`.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// Why a tree cannot be read. Nothing is known of its content then; what was applied before stays.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// There is no such folder.
    #[error("there is no folder {path}: create it, or correct the path")]
    Missing {
        /// The folder.
        path: String,
    },
    /// Something in the tree cannot be read.
    #[error("cannot read {path}: let the controller read it, or move it out of the source")]
    Unreadable {
        /// What.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not UTF-8.
    #[error("{path}:{line} is not UTF-8 text: save it as UTF-8, or move it out of the source")]
    NotText {
        /// The file.
        path: String,
        /// The line of the first bad byte.
        line: usize,
    },
    /// A symbolic link that is not followed.
    #[error("{path} is a symbolic link {why}: put the file itself there")]
    Link {
        /// The link.
        path: String,
        /// To what.
        why: &'static str,
    },
    /// A file is too long.
    #[error("{path} is longer than {MAX_FILE_BYTES} bytes: split it, or move it out of the source")]
    FileTooLong {
        /// The file.
        path: String,
    },
    /// The tree is too big.
    #[error(
        "the source has more than {limit}: give resources a folder of their own, and name it in the source's path"
    )]
    TooMuch {
        /// Of what.
        limit: &'static str,
    },
    /// A path is not UTF-8, or too long to be shown.
    #[error("a file's path cannot be shown: {path:?}; give it a name in UTF-8 of at most 1,024 bytes")]
    BadPath {
        /// The path.
        path: PathBuf,
    },
    /// A Git submodule, which is not fetched.
    #[error("{path} is a Git submodule, which Muster does not fetch: name a path without submodules")]
    Submodule {
        /// Its path.
        path: String,
    },
    /// The repository's objects cannot be read.
    #[error("cannot read the commit {commit}")]
    Repository {
        /// The commit.
        commit: String,
        /// What libgit2 said.
        source: git2::Error,
    },
}

/// Takes files within the limits.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    files: Vec<SourceFile>,
    bytes: u64,
}

impl Gathered {
    pub(crate) fn push(&mut self, path: String, content: Vec<u8>) -> Result<(), TreeError> {
        /// As in `GitSource.status`.
        const MAX_PATH_BYTES: usize = 1024;
        let length = content.len() as u64;
        if path.len() > MAX_PATH_BYTES {
            return Err(TreeError::BadPath { path: path.into() });
        }
        if length > MAX_FILE_BYTES {
            return Err(TreeError::FileTooLong { path });
        }
        if self.files.len() == MAX_FILES {
            return Err(TreeError::TooMuch { limit: "10,000 YAML and JSON files" });
        }
        self.bytes += length;
        if self.bytes > MAX_TREE_BYTES {
            return Err(TreeError::TooMuch { limit: "64 MiB of YAML and JSON" });
        }
        let text = String::from_utf8(content).map_err(|error| {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            TreeError::NotText {
                path: path.clone(),
                line: 1 + good.iter().filter(|byte| **byte == b'\n').count(),
            }
        })?;
        self.files.push(SourceFile { path, text });
        Ok(())
    }

    /// The files by path.
    pub(crate) fn finish(mut self) -> Vec<SourceFile> {
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        self.files
    }
}

/// The revision of files that have no commit: a digest of names and contents, each with its length before it.
pub(crate) fn content_revision(files: &[SourceFile]) -> String {
    let mut bytes = Vec::new();
    for SourceFile { path, text } in files {
        for part in [path, text] {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part.as_bytes());
        }
    }
    format!("folder@{}", Digest::of(&bytes))
}

/// Whether a file or folder of that name is left out whatever it is: hidden ones are tools' own.
pub(crate) fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}

/// Whether a file of that name holds resources; editors' backups and half-written files end otherwise.
pub(crate) fn is_resource_file(name: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|end| name.len() > end.len() && name.ends_with(end))
}

/// Whether a folder is too deep to be read.
pub(crate) fn check_depth(depth: usize) -> Result<(), TreeError> {
    if depth > MAX_DEPTH {
        return Err(TreeError::TooMuch { limit: "16 levels of folders" });
    }
    Ok(())
}
