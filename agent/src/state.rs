//! The agent's directory: who it is, and its journal. Written whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use muster_journal::{Journal, JournalError, Moment};
use muster_model::{Boot, Digest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Where a package keeps it.
pub const STATE_DIR: &str = "/var/lib/muster";

/// The largest file that is read back: a journal with the largest activity is some 200 KiB.
const FILE_LIMIT: u64 = 16 << 20;

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be read.
    #[error("cannot read {}; is this root?", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {}; is the disk full or read-only?", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A file is damaged.
    #[error("{} is damaged; enrol the machine anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The journal is damaged or newer.
    #[error("the journal {} cannot be used, so nothing is carried out here", path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: JournalError,
    },
    /// Another agent runs on the same directory.
    #[error("another muster-agent uses {}; end it first", path.display())]
    InUse {
        /// The lock.
        path: PathBuf,
    },
}

/// Who the machine is: made by `muster-agent enroll`, renewed by `run`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Enrolment {
    /// `host:port`.
    pub gateway: String,
    /// SHA-256 of the fleet's root.
    pub root: Digest,
    /// The namespace.
    pub namespace: String,
    /// The FleetMachine's name.
    pub name: String,
    /// Its identity, the certificate's common name.
    pub identity: String,
    /// The certificate and its intermediate, in PEM.
    pub certificate: String,
    /// The private key, in PEM: a secret.
    pub key: String,
    /// When to ask for the next certificate.
    pub renew_time: Timestamp,
    /// The machine is only observed.
    #[serde(default)]
    pub observe: bool,
}

impl std::fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrolment")
            .field("name", &self.name)
            .field("gateway", &self.gateway)
            .finish_non_exhaustive()
    }
}

/// The directory.
#[derive(Clone, Debug)]
pub struct State {
    directory: PathBuf,
}

/// Held while an agent runs; the operating system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Claim {
    _file: fs::File,
}

impl State {
    /// The directory, made if it is missing, for root alone.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(directory: &Path) -> Result<Self, StateError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let make = |path: &Path| fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        for path in [directory.to_owned(), directory.join("acts")] {
            make(&path).map_err(|source| StateError::Write { path, source })?;
        }
        Ok(Self { directory: directory.to_owned() })
    }

    /// Where results of actions are.
    pub(crate) fn acts(&self) -> PathBuf {
        self.directory.join("acts")
    }

    /// Makes sure that no second agent carries out the same journal.
    pub(crate) fn claim(&self) -> Result<Claim, StateError> {
        let path = self.directory.join("lock");
        let opened = fs::File::options().create(true).truncate(false).write(true).open(&path);
        let file = opened.map_err(|source| StateError::Write { path: path.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(Claim { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(StateError::InUse { path }),
            Err(fs::TryLockError::Error(source)) => Err(StateError::Write { path, source }),
        }
    }

    /// Who the machine is; `None` before it is enrolled.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn enrolment(&self) -> Result<Option<Enrolment>, StateError> {
        self.load("enrolment.json")
    }

    /// Keeps who the machine is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save_enrolment(&self, enrolment: &Enrolment) -> Result<(), StateError> {
        self.save("enrolment.json", &json(enrolment))
    }

    /// The key of an enrolment that was begun: asking again with the same key makes it the same machine.
    pub(crate) fn pending_key(&self) -> Result<Option<String>, StateError> {
        self.load("key.json")
    }

    pub(crate) fn save_pending_key(&self, key: &str) -> Result<(), StateError> {
        self.save("key.json", &json(&key))
    }

    /// What was first reported of a boot.
    pub(crate) fn boot(&self) -> Option<Boot> {
        self.load("boot.json").ok().flatten()
    }

    pub(crate) fn save_boot(&self, boot: &Boot) -> Result<(), StateError> {
        self.save("boot.json", &json(boot))
    }

    /// The journal, woken up if there is one.
    pub(crate) fn journal(&self, now: &Moment) -> Result<Journal, StateError> {
        let path = self.directory.join("journal.json");
        match read(&path)? {
            None => Ok(Journal::default()),
            Some(bytes) => {
                Journal::resume(&bytes, now).map_err(|source| StateError::Journal { path, source })
            }
        }
    }

    pub(crate) fn save_journal(&self, journal: &Journal) -> Result<(), StateError> {
        self.save("journal.json", &journal.to_bytes())
    }

    fn load<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        let path = self.directory.join(name);
        let Some(bytes) = read(&path)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|source| StateError::Damaged { path, source })
    }

    fn save(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let path = self.directory.join(name);
        write_whole(&path, bytes).map_err(|source| StateError::Write { path, source })
    }
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data, which JSON can always hold")
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    use std::io::Read as _;
    let failed = |source| StateError::Read { path: path.to_owned(), source };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

/// Writes a file so that after any crash it is the old one or the new one: draft, fsync, rename, fsync of the folder.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let draft = path.with_extension("draft");
    let mut file = fs::File::options().create(true).write(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    fs::File::open(path.parent().expect("a file in a folder has one"))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_is_kept_is_read_back_and_for_root_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("muster")).unwrap();
        assert_eq!(state.enrolment().unwrap(), None);
        state.save_pending_key("secret").unwrap();
        assert_eq!(state.pending_key().unwrap().as_deref(), Some("secret"));
        let mode = fs::metadata(folder.path().join("muster/key.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(folder.path().join("muster/enrolment.json"), "{").unwrap();
        assert!(matches!(state.enrolment(), Err(StateError::Damaged { .. })));
    }

    // rule: A2
    #[test]
    fn two_agents_do_not_share_a_journal_and_a_damaged_one_is_no_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let claim = state.claim().unwrap();
        assert!(matches!(state.claim(), Err(StateError::InUse { .. })));
        drop(claim);
        state.claim().unwrap();
        fs::write(folder.path().join("journal.json"), "").unwrap();
        let now = crate::host::Host::system().now();
        assert!(matches!(state.journal(&now), Err(StateError::Journal { .. })));
    }
}
