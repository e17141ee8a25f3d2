//! Git repositories: which commit a reference names now, and the files of a commit.
//!
//! [`Repository::revision`] asks the remote for one line and moves nothing (rule G7); [`Repository::tree`] fetches what
//! the cache lacks. libgit2 reads local paths and `file://` itself; `http(s)://` and `ssh://` go through the transports
//! of this module, so that no TLS or SSH library comes with it.

mod commit;
mod http;
mod register;
mod ssh;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use git2::{AutotagOption, Direction, FetchOptions, Oid, RemoteCallbacks};

use crate::files::{Tree, TreeError};

pub use commit::read_commit;
use register::Access;

/// The most bytes that one fetch may bring: a hundred times what a source's files may be.
pub const MAX_FETCH_BYTES: usize = 256 << 20;

/// How long one request to a remote may take, in seconds.
pub const REMOTE_TIMEOUT_SECONDS: u64 = 120;

/// What opens a repository. `Debug` shows none of it.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The user, with `password`, for http(s).
    pub username: Option<String>,
    /// The password or token of `username`.
    pub password: Option<String>,
    /// A token that goes alone, for http(s).
    pub bearer_token: Option<String>,
    /// Certificates (PEM) of the authorities to trust instead of the public ones, for https.
    pub ca: Option<String>,
    /// A private key, for ssh.
    pub identity: Option<String>,
    /// The hosts' keys, for ssh; without them no host is trusted.
    pub known_hosts: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// Which commit is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// The head of a branch.
    Branch(String),
    /// One commit, by its whole hash.
    Commit(String),
}

/// Why a repository cannot be used. No message holds a credential.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The address cannot be used.
    #[error("cannot use the address {url}: {why}")]
    Url {
        /// The address, without what may be secret.
        url: String,
        /// What would be right.
        why: &'static str,
    },
    /// The remote did not say which commits it has.
    #[error("cannot reach {url}: check its address and credentials")]
    Reach {
        /// The address.
        url: String,
        /// What libgit2 said.
        source: git2::Error,
    },
    /// There is no such branch.
    #[error("{url} has no branch {branch}: push it, or correct the source's ref")]
    NoBranch {
        /// The address.
        url: String,
        /// The branch.
        branch: String,
    },
    /// There is no such commit.
    #[error("{url} has no commit {commit} on any branch: push it, or correct the source's ref")]
    NoCommit {
        /// The address.
        url: String,
        /// The commit.
        commit: String,
    },
    /// The commit could not be fetched.
    #[error("cannot fetch from {url}")]
    Fetch {
        /// The address.
        url: String,
        /// What libgit2 said.
        source: git2::Error,
    },
    /// The cache cannot be used.
    #[error("cannot use the cache {path}: make its folder writable, or delete it")]
    Cache {
        /// Where it is.
        path: PathBuf,
        /// What libgit2 said.
        source: git2::Error,
    },
    /// The folder for keys cannot be made.
    #[error("cannot keep the SSH key for the time of a request")]
    Keys {
        /// Why.
        source: std::io::Error,
    },
    /// The commit's files cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// A repository, and what is wanted of it.
#[derive(Debug)]
pub struct Repository {
    url: String,
    reference: Reference,
    path: Option<String>,
    access: Arc<Access>,
    cache: PathBuf,
}

impl Repository {
    /// A repository of which `path` (absent: everything) is wanted. `cache` is a folder of this repository alone.
    ///
    /// # Errors
    /// If the address or the credentials cannot be used; nothing is asked of the remote yet.
    pub fn new(
        url: &str,
        reference: Reference,
        path: Option<&str>,
        credentials: &Credentials,
        cache: PathBuf,
    ) -> Result<Self, GitError> {
        let refuse = |why| Err(GitError::Url { url: shown(url), why });
        if url.starts_with("http") && url.split('/').nth(2).is_some_and(|host| host.contains('@')) {
            return refuse("it holds a user or password; put them into the secret");
        }
        let schemes = ["https://", "http://", "ssh://", "file://", "/"];
        if !schemes.iter().any(|scheme| url.starts_with(scheme)) {
            return refuse("it begins with none of https://, http://, ssh:// and file://");
        }
        if url.starts_with("http://")
            && (credentials.password.is_some() || credentials.bearer_token.is_some())
        {
            return refuse("http:// would show the password to everybody on the way; use https://");
        }
        let access = Arc::new(Access::new(url, credentials)?);
        Ok(Self { url: url.to_owned(), reference, path: path.map(str::to_owned), access, cache })
    }

    /// The revision that the reference names now: `main@sha1:…` or `sha1:…`. For a commit nothing is asked.
    ///
    /// # Errors
    /// If the remote cannot be reached or has no such branch.
    pub fn revision(&self) -> Result<String, GitError> {
        match &self.reference {
            Reference::Commit(commit) => Ok(format!("sha1:{commit}")),
            Reference::Branch(branch) => Ok(revision_of_branch(branch, self.head_of(branch)?)),
        }
    }

    /// The files of the commit that the reference names now; fetches it if the cache lacks it.
    ///
    /// # Errors
    /// If it cannot be fetched or read.
    pub fn tree(&self) -> Result<Tree, GitError> {
        let (commit, revision) = match &self.reference {
            Reference::Branch(branch) => {
                let head = self.head_of(branch)?;
                let fetched = self.ensure(head, &format!("+refs/heads/{branch}:refs/heads/{branch}"))?;
                (fetched, revision_of_branch(branch, fetched))
            }
            Reference::Commit(hash) => {
                let no_commit = || GitError::NoCommit { url: shown(&self.url), commit: hash.clone() };
                let commit = Oid::from_str(hash).map_err(|_| no_commit())?;
                let exact = format!("+{hash}:refs/muster/wanted");
                // Not every server gives out any commit by its hash; its branches it does.
                if self.ensure(commit, &exact).is_err() {
                    self.fetch("+refs/heads/*:refs/heads/*", false)?;
                }
                let repository = self.open_cache()?;
                repository.find_commit(commit).map_err(|_| no_commit())?;
                (commit, format!("sha1:{hash}"))
            }
        };
        let repository = self.open_cache()?;
        Ok(commit::read(&repository, commit, self.path.as_deref(), revision)?)
    }

    /// One `ls-remote`.
    fn head_of(&self, branch: &str) -> Result<Oid, GitError> {
        let reach = |source| GitError::Reach { url: shown(&self.url), source };
        let wanted = format!("refs/heads/{branch}");
        register::with(&self.access, || {
            let mut remote = git2::Remote::create_detached(self.url.as_str()).map_err(reach)?;
            let connection = remote.connect_auth(Direction::Fetch, None, None).map_err(reach)?;
            let heads = connection.list().map_err(reach)?;
            let head = heads.iter().find(|head| head.name() == wanted).map(git2::RemoteHead::oid);
            head.ok_or_else(|| GitError::NoBranch { url: shown(&self.url), branch: branch.to_owned() })
        })
    }

    /// Has the commit in the cache, or what the branch has become meanwhile; the commit that it is.
    fn ensure(&self, commit: Oid, refspec: &str) -> Result<Oid, GitError> {
        let repository = self.open_cache()?;
        if repository.find_commit(commit).is_ok() {
            return Ok(commit);
        }
        let local = refspec.rsplit(':').next().unwrap_or_default();
        if let Err(error) = self.fetch(refspec, true) {
            // A cache that was cut off in the middle, or whose history was rewritten, may not take any more.
            tracing::warn!(url = shown(&self.url), error = %error, "fetching failed; trying once more with an empty cache");
            self.clear_cache()?;
            self.fetch(refspec, true)?;
        }
        let cache = |source| GitError::Cache { path: self.cache.clone(), source };
        let repository = self.open_cache()?;
        let fetched =
            repository.find_reference(local).and_then(|found| found.peel_to_commit()).map_err(cache)?;
        Ok(fetched.id())
    }

    fn fetch(&self, refspec: &str, shallow: bool) -> Result<(), GitError> {
        let fetch = |source| GitError::Fetch { url: shown(&self.url), source };
        let repository = self.open_cache()?;
        let mut callbacks = RemoteCallbacks::new();
        callbacks.transfer_progress(|progress| progress.received_bytes() <= MAX_FETCH_BYTES);
        let mut options = FetchOptions::new();
        options.remote_callbacks(callbacks).download_tags(AutotagOption::None).update_fetchhead(false);
        if shallow && register::is_networked(&self.url) {
            options.depth(1);
        }
        register::with(&self.access, || {
            let mut remote = repository.remote_anonymous(&self.url).map_err(fetch)?;
            remote.fetch(&[refspec], Some(&mut options), None).map_err(fetch)
        })
    }

    /// The cache, made anew where it is none.
    fn open_cache(&self) -> Result<git2::Repository, GitError> {
        if let Ok(repository) = git2::Repository::open_bare(&self.cache) {
            return Ok(repository);
        }
        self.clear_cache()?;
        git2::Repository::init_bare(&self.cache)
            .map_err(|source| GitError::Cache { path: self.cache.clone(), source })
    }

    fn clear_cache(&self) -> Result<(), GitError> {
        match std::fs::remove_dir_all(&self.cache) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(GitError::Cache {
                path: self.cache.clone(),
                source: git2::Error::from_str(&error.to_string()),
            }),
        }
    }
}

fn revision_of_branch(branch: &str, commit: Oid) -> String {
    format!("{branch}@sha1:{commit}")
}

/// An address without what may be secret in it.
fn shown(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit('@').next().unwrap_or(host);
            format!("{scheme}://{host}/{path}")
        }
        None => url.to_owned(),
    }
}

/// Whether a folder lies in a Git repository that libgit2 can open, and where its root is.
#[must_use]
pub fn root_of(folder: &Path) -> Option<PathBuf> {
    let repository = git2::Repository::discover(folder).ok()?;
    repository.workdir().map(Path::to_owned)
}
