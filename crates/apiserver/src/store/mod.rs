//! The heart: every object in memory, and the one writer.
//!
//! Handlers read a snapshot, decide, and propose a change together with the version they saw. The writer thread takes
//! proposals in order, refuses those whose version is no longer the newest (so no update is ever lost), gives the rest
//! the next resourceVersions, commits the whole batch to disk, publishes it in order, wakes the watchers, and only
//! then acknowledges. Nothing that anyone has seen can be lost or change its order.
//!
//! Not here: what an object must look like (`admit`), who may do what (`access`).

mod disk;
mod shelf;
mod writer;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::{mpsc, oneshot, watch};

use shelf::Shelf;
pub(crate) use shelf::{Event, Expired, Page};

use crate::object::{Draft, Stored};

/// Proposals that may wait for the writer; more make the proposers wait.
///
/// Four full batches: enough that the disk never idles, few enough that a wait stays below a second.
const QUEUE: usize = 4 * writer::BATCH;

/// What can go wrong when the store is opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be opened or is in use.
    #[error("cannot open the store {path}; is another server using it?")]
    Open {
        /// The file.
        path: String,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file is damaged, or no store at all.
    #[error("the store {path} is damaged ({found}); restore it from a backup")]
    Corrupt {
        /// The file.
        path: String,
        /// What SQLite found.
        found: String,
    },
    /// The file is from a newer version.
    #[error("the store {path} has layout {found}, this version reads up to {known}; use a newer muster")]
    Layout {
        /// The file.
        path: String,
        /// Layout in the file.
        found: i64,
        /// Newest layout that this version knows.
        known: i64,
    },
    /// A row cannot be read.
    #[error("the store {path} holds an unreadable object {key}; restore the file from a backup")]
    Row {
        /// The file.
        path: String,
        /// Shelf and key of the row.
        key: String,
        /// Why.
        source: serde_json::Error,
    },
    /// No backup was made.
    #[error("no backup was made: {why}")]
    Backup {
        /// Why.
        why: String,
    },
    /// A built-in definition is not valid.
    #[error("definition {name} cannot be installed: {message}")]
    Definition {
        /// Of the definition.
        name: String,
        /// Why.
        message: String,
    },
    /// The audit file cannot be written.
    #[error("cannot write the audit file {path}")]
    Audit {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// A change that somebody wants.
pub(crate) struct Proposal {
    /// Which object.
    pub place: Place,
    /// The version that the decision was based on; `None`: there must be no object.
    pub expect: Option<u64>,
    /// The object as it is to be; its last state, as watchers will see it, if it is to go.
    pub draft: Draft,
    /// Is it to go?
    pub gone: bool,
    /// Runs at publication, before any watcher or the proposer hears of it.
    pub on_publish: Option<Box<dyn FnOnce() + Send>>,
}

/// Why the writer refused.
#[derive(Debug, Clone)]
pub(crate) enum Refusal {
    /// Somebody else wrote first: read again.
    Stale,
    /// The namespace does not exist.
    NamespaceMissing,
    /// The namespace is going away.
    NamespaceTerminating,
    /// Larger than an object may be.
    TooLarge,
    /// The disk.
    Storage(String),
    /// The server is stopping.
    Stopping,
}

/// Shelf and key of an object.
pub(crate) type Place = (Arc<str>, Box<str>);

/// A proposal with the way back.
type Command = (Proposal, oneshot::Sender<Result<Arc<Stored>, Refusal>>);

/// What the collector hears: something went, or is on its way.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    /// Where.
    pub shelf: Arc<str>,
    /// Which.
    pub key: Box<str>,
    /// Its last or present state.
    pub object: Arc<Stored>,
    /// Is it gone?
    pub gone: bool,
}

/// The store; cheap to share.
pub(crate) struct Store {
    state: Arc<RwLock<State>>,
    commands: Mutex<Option<mpsc::Sender<Command>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// All objects, as published.
struct State {
    version: u64,
    /// Of the process's start: no ring knows anything older.
    base: u64,
    shelves: HashMap<Arc<str>, Shelf>,
    /// Owner's uid → its dependents.
    dependents: HashMap<Box<str>, BTreeSet<Place>>,
}

impl Store {
    /// Opens the file (or nothing, for tests), reads every object, starts the writer.
    pub(crate) fn open(path: Option<&Path>) -> Result<(Self, mpsc::UnboundedReceiver<Notice>), OpenError> {
        let (disk, version, rows) = match path {
            Some(path) => {
                let (disk, version, rows) = disk::Disk::open(path)?;
                (Some(disk), version, rows)
            }
            None => (None, 0, Vec::new()),
        };
        // 1 is nobody's: whoever asks for what came after it asks for what no server remembers.
        let version = version.max(2);
        let mut state = State { version, base: version, shelves: HashMap::new(), dependents: HashMap::new() };
        for (shelf, key, object) in rows {
            let shelf: Arc<str> = shelf.into();
            state.index(&shelf, &key, None, Some(&object));
            state.shelf(&shelf).objects.insert(key, object);
        }
        let state = Arc::new(RwLock::new(state));
        let (commands, queue) = mpsc::channel(QUEUE);
        let (notices, heard) = mpsc::unbounded_channel();
        let shared = state.clone();
        let thread = std::thread::Builder::new()
            .name("api-writer".into())
            .spawn(move || writer::Writer::new(disk, shared, notices).run(queue))
            .expect("a thread can be started when the server opens");
        Ok((Self { state, commands: Mutex::new(Some(commands)), thread: Mutex::new(Some(thread)) }, heard))
    }

    /// Proposes, and waits until it is on disk and published, or refused.
    pub(crate) async fn propose(&self, proposal: Proposal) -> Result<Arc<Stored>, Refusal> {
        let commands = lock(&self.commands).clone().ok_or(Refusal::Stopping)?;
        let (answer, answered) = oneshot::channel();
        commands.send((proposal, answer)).await.map_err(|_| Refusal::Stopping)?;
        drop(commands);
        answered.await.map_err(|_| Refusal::Stopping)?
    }

    /// One object.
    pub(crate) fn get(&self, shelf: &str, key: &str) -> Option<Arc<Stored>> {
        read(&self.state).shelves.get(shelf)?.objects.get(key).cloned()
    }

    /// The keys of a shelf.
    pub(crate) fn keys(&self, shelf: &str) -> Vec<Box<str>> {
        let state = read(&self.state);
        state.shelves.get(shelf).map(|shelf| shelf.objects.keys().cloned().collect()).unwrap_or_default()
    }

    /// The newest published version.
    pub(crate) fn version(&self) -> u64 {
        read(&self.state).version
    }

    /// A page of a shelf as it was at `at` (now, for `None`), in key order, after `start`, under `prefix`.
    pub(crate) fn list(
        &self,
        shelf: &str,
        prefix: &str,
        start: &str,
        at: Option<u64>,
        limit: usize,
        keep: &dyn Fn(&Stored) -> bool,
    ) -> Result<Page, Expired> {
        let state = read(&self.state);
        let version = at.unwrap_or(state.version);
        match state.shelves.get(shelf) {
            Some(shelf) => shelf.page(prefix, start, version, limit, keep),
            None => Ok(Page { version, items: Vec::new(), next: None, remaining: 0 }),
        }
    }

    /// What happened on a shelf after `version`: at most `limit` events, and the version up to which that is all.
    pub(crate) fn since(
        &self,
        shelf: &Arc<str>,
        version: u64,
        limit: usize,
    ) -> Result<(Vec<Arc<Event>>, u64), Expired> {
        let state = read(&self.state);
        if version > state.version {
            // From another life of this store: nothing can be said about what came after it.
            return Err(Expired { oldest: state.version });
        }
        let Some(shelf) = state.shelves.get(shelf) else {
            return if version < state.base {
                Err(Expired { oldest: state.base })
            } else {
                Ok((vec![], state.version))
            };
        };
        let events = shelf.since(version, limit)?;
        let through = match events.last() {
            Some(last) if events.len() == limit => last.version,
            Some(_) | None => state.version,
        };
        Ok((events, through))
    }

    /// Wakes whenever something is published on the shelf.
    pub(crate) fn subscribe(&self, shelf: &Arc<str>) -> watch::Receiver<u64> {
        if let Some(shelf) = read(&self.state).shelves.get(shelf) {
            return shelf.head.subscribe();
        }
        write(&self.state).shelf(shelf).head.subscribe()
    }

    /// The objects that name `uid` as an owner.
    pub(crate) fn dependents(&self, uid: &str) -> Vec<Place> {
        read(&self.state).dependents.get(uid).map(|keys| keys.iter().cloned().collect()).unwrap_or_default()
    }

    /// Every object that has owners, or is being deleted: what the collector looks at when it starts.
    pub(crate) fn unsettled(&self) -> Vec<Notice> {
        let state = read(&self.state);
        let mut notices = Vec::new();
        for (shelf, content) in &state.shelves {
            for (key, object) in &content.objects {
                if object.meta.deleting || !object.meta.owners.is_empty() {
                    notices.push(Notice {
                        shelf: shelf.clone(),
                        key: key.clone(),
                        object: object.clone(),
                        gone: false,
                    });
                }
            }
        }
        notices
    }

    /// Numbers of objects by shelf.
    pub(crate) fn counts(&self) -> Vec<(Arc<str>, usize)> {
        let state = read(&self.state);
        state.shelves.iter().map(|(name, shelf)| (name.clone(), shelf.objects.len())).collect()
    }

    /// Writes all objects, as of one moment, to a new file. Nobody waits for it: what is published is on disk, so
    /// the copy is made of what is in memory.
    pub(crate) fn copy_to(&self, path: &Path) -> Result<(), rusqlite::Error> {
        let (version, objects) = {
            let state = read(&self.state);
            let objects = state.shelves.iter().flat_map(|(name, shelf)| {
                shelf.objects.iter().map(|(key, object)| (name.clone(), key.clone(), object.clone()))
            });
            (state.version, objects.collect::<Vec<_>>())
        };
        disk::write_copy(path, version, &objects)
    }

    /// Takes no more proposals, commits those that wait, closes the file.
    pub(crate) fn close(&self) {
        drop(lock(&self.commands).take());
        if let Some(thread) = lock(&self.thread).take() {
            // A writer that panicked has said so; there is nothing left to wait for.
            let _ = thread.join();
        }
    }
}

impl State {
    fn shelf(&mut self, name: &Arc<str>) -> &mut Shelf {
        let base = self.base;
        self.shelves.entry(name.clone()).or_insert_with(|| Shelf::new(base))
    }

    fn index(&mut self, shelf: &Arc<str>, key: &str, old: Option<&Stored>, new: Option<&Stored>) {
        for owner in old.iter().flat_map(|object| object.meta.owners.iter()) {
            if let Some(keys) = self.dependents.get_mut(&owner.uid) {
                keys.remove(&(shelf.clone(), Box::from(key)));
                if keys.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
        for owner in new.iter().flat_map(|object| object.meta.owners.iter()) {
            self.dependents.entry(owner.uid.clone()).or_default().insert((shelf.clone(), key.into()));
        }
    }
}

// A poisoned lock means that a thread panicked between two statements that cannot panic; the data is whole.
fn read(state: &RwLock<State>) -> RwLockReadGuard<'_, State> {
    state.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(state: &RwLock<State>) -> RwLockWriteGuard<'_, State> {
    state.write().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
