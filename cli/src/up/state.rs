//! The state directory: who holds it, and how files in it are written.
//!
//! | file | what |
//! |---|---|
//! | `lock` | held by the running `muster up`; says which process that is |
//! | `kubeconfig` | for kubectl and the other commands; its holder may do everything |
//! | `pki/ca.crt`, `pki/ca.key` | the fleet's root, which agents pin |
//! | `pki/api-ca.crt`, `pki/api-ca.key` | the API's own root, so that no gateway's certificate is ever an API user's |
//! | `store.db` | the Kubernetes API's objects |
//! | `addresses.json` | the ports of the last time |
//! | `muster.log` | the log, while a terminal shows the progress |
//! | `machines/`, `sources/`, `this-host/` | fake machines, sources' caches, this machine's agent |

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// What a lock file can say, in bytes.
const HOLDER_LIMIT: u64 = 512;

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// Another process uses it.
    #[error("{} is in use by {holder}; end that, or give another --state-dir", path.display())]
    Held {
        /// The directory.
        path: PathBuf,
        /// What the lock file says of its holder.
        holder: String,
    },
    /// A file or directory fails.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        source: io::Error,
    },
}

/// A state directory that this process holds, until this is dropped.
#[derive(Debug)]
pub(crate) struct State {
    root: PathBuf,
    /// Closing it lets go of the lock, however the process ends.
    _lock: File,
}

impl State {
    /// Makes it if need be, and takes it.
    pub(crate) fn take(root: &Path) -> Result<Self, StateError> {
        make_folder(root)?;
        let root = root.canonicalize().map_err(failed("find", root))?;
        let path = root.join("lock");
        let mut lock = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Without it the message is poorer, and that is all.
                let _ = lock.take(HOLDER_LIMIT).read_to_string(&mut holder);
                let holder = holder.trim();
                let holder = if holder.is_empty() { "another process" } else { holder }.to_owned();
                return Err(StateError::Held { path: root, holder });
            }
            Err(TryLockError::Error(source)) => {
                return Err(StateError::File { operation: "lock", path, source });
            }
        }
        let holder =
            format!("muster up, process {}, since {:.0}\n", std::process::id(), jiff::Timestamp::now());
        lock.set_len(0).and_then(|()| lock.write_all(holder.as_bytes())).map_err(failed("write", &path))?;
        Ok(Self { root, _lock: lock })
    }

    /// The directory, absolute.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A directory in it, made if need be, for this user alone.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, StateError> {
        let path = self.root.join(name);
        make_folder(&path)?;
        Ok(path)
    }

    /// A file's text; `None` if there is no such file.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>, StateError> {
        let path = self.file(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateError::File { operation: "read", path, source }),
        }
    }

    /// Writes a file for this user alone: whole or not at all, and on the disk when this returns.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), StateError> {
        let path = self.file(name);
        let aside = path.with_extension("new");
        let write = || -> io::Result<()> {
            let mut file =
                OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&aside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&aside, &path)
        };
        write().map_err(failed("write", &path))
    }

    /// The log file, to append to.
    pub(crate) fn log(&self) -> Result<File, StateError> {
        let path = self.file("muster.log");
        OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(failed("open", &path))
    }
}

fn make_folder(path: &Path) -> Result<(), StateError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("make", path))
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::File { operation, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_up_is_told_who_holds_the_state() {
        let folder = tempfile::tempdir().unwrap();
        let first = State::take(&folder.path().join("a/b")).unwrap();
        let refused = State::take(&folder.path().join("a/b")).unwrap_err();
        let who = format!("in use by muster up, process {}", std::process::id());
        assert!(refused.to_string().contains(&who), "{refused}");
        drop(first);
        State::take(&folder.path().join("a/b")).unwrap();
    }

    #[test]
    fn files_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let state = State::take(folder.path()).unwrap();
        assert_eq!(state.read("secret").unwrap(), None);
        state.write("secret", "x").unwrap();
        assert_eq!(state.read("secret").unwrap().as_deref(), Some("x"));
        let mode = fs::metadata(state.file("secret")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
