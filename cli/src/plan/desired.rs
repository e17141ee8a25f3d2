//! The desired resources of a plan: a folder's, or those of two commits; validated as a source would (rule G1).

use std::path::{Path, PathBuf};

use muster_source::{ChangeSet, Rejected, Tree, TreeError, git::read_commit, read_folder, validate};

use crate::arguments::DesiredArguments;

/// What a plan is about.
pub(crate) struct Wish {
    /// What is to be in force.
    pub(crate) head: Judged,
    /// What is compared with.
    pub(crate) base: Option<Judged>,
}

/// A revision, judged.
pub(crate) type Judged = Result<ChangeSet, Rejected>;

/// Why the resources cannot be read. Nothing is known of them then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WishError {
    /// The folder.
    #[error("cannot read {folder} as a whole, so nothing can be said of it")]
    Folder {
        /// Which.
        folder: PathBuf,
        source: TreeError,
    },
    /// A commit.
    #[error("cannot read {commit} of {repository} as a whole, so nothing can be said of it")]
    Commit {
        /// Which.
        commit: String,
        /// Of which repository.
        repository: PathBuf,
        source: TreeError,
    },
}

/// Reads and judges what the arguments name.
pub(crate) fn wish(arguments: &DesiredArguments, namespace: &str) -> Result<Wish, WishError> {
    let DesiredArguments { desired, repo, base, head, path, source: _ } = arguments;
    let judge = |tree: &Tree| validate(tree, Some(namespace));
    if let Some(folder) = desired {
        let tree =
            read_folder(folder).map_err(|source| WishError::Folder { folder: folder.clone(), source })?;
        return Ok(Wish { head: judge(&tree), base: None });
    }
    let repository = repo.as_deref().unwrap_or(Path::new("."));
    let read = |commit: &str| {
        read_commit(repository, commit, path.as_deref()).map_err(|source| WishError::Commit {
            commit: commit.to_owned(),
            repository: repository.to_owned(),
            source,
        })
    };
    let base = base.as_deref().map(read).transpose()?;
    let head = read(head.as_deref().unwrap_or("HEAD"))?;
    Ok(Wish { head: judge(&head), base: base.as_ref().map(judge) })
}
