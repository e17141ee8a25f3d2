//! What `muster up` is given to follow, as the GitSource `up`.

use std::io;
use std::path::{Path, PathBuf};

use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use muster_crds::GitSource;
use serde_json::{Value, json};

/// The GitSource's name.
pub(super) const NAME: &str = "up";

/// Who writes it: only the fields below, so that `suspend`, `allowRemoval` and so on are a person's.
const MANAGER: &str = "muster-up";

/// The branch that is followed unless another is named.
const BRANCH: &str = "main";

/// A folder or a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Desired {
    /// A folder on this machine, absolute.
    Folder(PathBuf),
    /// A Git repository.
    Git {
        /// https, ssh or file.
        url: String,
        /// A branch, or a commit by its whole hash.
        reference: Reference,
        /// The folder in it; absent: all of it.
        path: Option<String>,
    },
}

/// Which commit is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// The head of a branch.
    Branch(String),
    /// One commit.
    Commit(String),
}

/// Why it is neither.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// No such folder.
    #[error("{text} is neither a folder nor a URL (https://, ssh://, file:// or user@host:path)")]
    Neither {
        /// What was given.
        text: String,
        source: io::Error,
    },
    /// A file.
    #[error("{text} is a file; give the folder that it is in")]
    NoFolder {
        /// What was given.
        text: String,
    },
    /// The part after `?` or `#`.
    #[error("{text:?} after the URL is unknown; write #BRANCH, or ?ref=BRANCH-OR-COMMIT&path=DIR")]
    Suffix {
        /// The part that is unknown.
        text: String,
    },
}

impl Desired {
    /// Reads what the user wrote.
    pub(crate) fn parse(text: &str) -> Result<Self, SourceError> {
        if let Some(url) = url_of(text) {
            return git(&url);
        }
        let path = Path::new(text).canonicalize();
        let path = path.map_err(|source| SourceError::Neither { text: text.to_owned(), source })?;
        if path.is_dir() {
            Ok(Self::Folder(path))
        } else {
            Err(SourceError::NoFolder { text: text.to_owned() })
        }
    }

    /// For people, and to tell sources apart.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Folder(path) => path.display().to_string(),
            Self::Git { url, path: None, .. } => url.clone(),
            Self::Git { url, path: Some(path), .. } => format!("{url}?path={path}"),
        }
    }

    fn spec(&self) -> Value {
        match self {
            Self::Folder(path) => json!({"type": "Folder", "folder": {"path": path}}),
            Self::Git { url, reference, path } => {
                let reference = match reference {
                    Reference::Branch(branch) => json!({"branch": branch}),
                    Reference::Commit(commit) => json!({"commit": commit}),
                };
                let mut git = json!({"url": url, "ref": reference});
                if let Some(path) = path {
                    git["path"] = path.clone().into();
                }
                json!({"type": "Git", "git": git})
            }
        }
    }
}

/// The URL, if it is one; scp's way of writing ssh is turned into it.
fn url_of(text: &str) -> Option<String> {
    if text.contains("://") {
        return Some(text.to_owned());
    }
    let (host, path) = text.split_once(':')?;
    let is_scp = host.contains('@') && !host.contains('/');
    is_scp.then(|| format!("ssh://{host}/{}", path.trim_start_matches('/')))
}

fn git(url: &str) -> Result<Desired, SourceError> {
    let unknown = |text: &str| SourceError::Suffix { text: text.to_owned() };
    let (url, fragment) = url.split_once('#').map_or((url, None), |(url, branch)| (url, Some(branch)));
    let (url, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut wanted, mut path) = (fragment.map(str::to_owned), None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("ref", value)) if !value.is_empty() && wanted.is_none() => wanted = Some(value.to_owned()),
            Some(("path", value)) if !value.is_empty() && path.is_none() => path = Some(value.to_owned()),
            Some(_) | None => return Err(unknown(pair)),
        }
    }
    let wanted = wanted.unwrap_or_else(|| BRANCH.to_owned());
    if wanted.is_empty() {
        return Err(unknown("#"));
    }
    let is_commit = wanted.len() == 40 && wanted.bytes().all(|byte| byte.is_ascii_hexdigit());
    let reference =
        if is_commit { Reference::Commit(wanted.to_lowercase()) } else { Reference::Branch(wanted) };
    Ok(Desired::Git { url: url.to_owned(), reference, path })
}

/// Makes or updates the GitSource.
pub(super) async fn apply(client: Client, namespace: &str, desired: &Desired) -> kube::Result<()> {
    let sources: Api<GitSource> = Api::namespaced(client, namespace);
    let object = json!({
        "apiVersion": "muster.dev/v1alpha1", "kind": "GitSource",
        "metadata": {"name": NAME}, "spec": desired.spec(),
    });
    let parameters = PatchParams::apply(MANAGER).force();
    sources.patch(NAME, &parameters, &Patch::Apply(object)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match Desired::parse(text) {
            Ok(desired) => desired.spec().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_repository_is_followed_at_its_main_branch_unless_told_otherwise() {
        assert_eq!(
            read("https://example.com/fleet.git"),
            r#"{"git":{"ref":{"branch":"main"},"url":"https://example.com/fleet.git"},"type":"Git"}"#
        );
        assert_eq!(
            read("git@example.com:team/fleet.git#prod"),
            r#"{"git":{"ref":{"branch":"prod"},"url":"ssh://git@example.com/team/fleet.git"},"type":"Git"}"#
        );
        let commit = "0123456789012345678901234567890123456789";
        assert_eq!(
            read(&format!("file:///srv/fleet.git?ref={commit}&path=envs/prod")),
            format!(
                r#"{{"git":{{"path":"envs/prod","ref":{{"commit":"{commit}"}},"url":"file:///srv/fleet.git"}},"type":"Git"}}"#
            )
        );
    }

    #[test]
    fn what_cannot_be_followed_is_refused_before_anything_starts() {
        assert!(read("/nowhere/at/all").starts_with("/nowhere/at/all is neither a folder nor a URL"));
        assert!(read("https://example.com/x?branch=y").starts_with("\"branch=y\" after the URL is unknown"));
        assert!(read("https://example.com/x#").contains("is unknown"));
        assert!(read("/proc/self/status").contains("is a file"));
    }
}
