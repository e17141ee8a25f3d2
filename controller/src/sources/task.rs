//! One source's task: when to look, again and again, until the source is gone or the lease is lost.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::{Api, ResourceExt as _};
use muster_crds::GitSource;
use muster_model::GoDuration;
use muster_source::{FolderWatch, ObjectKey};
use rand::Rng as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Context;
use super::drift::Drift;
use super::pass::{Memory, Next, pass};
use crate::watch::Chain;

/// The first wait after a failure, and the longest: twice as long each time between.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(300);

/// A repository is never asked more often, whatever the spec says.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// What is said to a task.
pub(super) struct Handle {
    pub(super) uid: String,
    shared: Arc<Shared>,
    end: CancellationToken,
}

/// What a task and those who wake it share.
#[derive(Default)]
pub(super) struct Shared {
    wake: Notify,
    /// The spec's generation, as the watch saw it last.
    generation: Mutex<i64>,
    /// Owned objects were changed by somebody else.
    drifted: AtomicBool,
    /// The generations that we made, of what we own and nobody has changed since.
    made: Mutex<BTreeMap<ObjectKey, i64>>,
}

impl Shared {
    /// The generations that we made; writes of ours are entered before anybody looks at what watches showed of them.
    pub(super) fn made(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, i64>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    /// The source is as given; wakes the task if its spec is new.
    pub(super) fn see(&self, source: &GitSource) {
        let mut generation = self.shared.generation.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = source.metadata.generation.unwrap_or_default();
        if *generation != seen {
            *generation = seen;
            self.shared.wake.notify_one();
        }
    }

    /// A watch showed an owned object; wakes the task if it is not as we made it.
    pub(super) fn drifted(&self, drift: &Drift) {
        let mut made = self.shared.made();
        let is_ours = match (made.get(&drift.key), drift.generation) {
            // Unknown, or removed by us.
            (None, _) => true,
            (Some(made), Some(seen)) => seen <= *made,
            (Some(_), None) => false,
        };
        if !is_ours {
            made.remove(&drift.key);
            self.shared.drifted.store(true, Ordering::Relaxed);
            self.shared.wake.notify_one();
        }
    }

    /// Ends the task where it is: what is half applied is on record as such, and the next leader goes on with it.
    pub(super) fn end(&self) {
        self.end.cancel();
    }
}

/// One source's task.
pub(super) struct Task {
    context: Arc<Context>,
    name: String,
    uid: String,
    shared: Arc<Shared>,
    end: CancellationToken,
}

impl Task {
    pub(super) fn new(context: Arc<Context>, source: &GitSource) -> (Handle, Self) {
        let shared = Arc::new(Shared::default());
        let (uid, end) = (source.uid().unwrap_or_default(), CancellationToken::new());
        let handle = Handle { uid: uid.clone(), shared: Arc::clone(&shared), end: end.clone() };
        handle.see(source);
        (handle, Self { context, name: source.name_any(), uid, shared, end })
    }

    /// Looks whenever there is a reason to.
    pub(super) async fn run(self) {
        let mut memory = Memory::default();
        let mut watched: Option<(PathBuf, FolderWatch)> = None;
        let mut failures = 0;
        loop {
            let looked = tokio::select! {
                looked = self.look(&mut memory, &mut watched) => looked,
                () = self.end.cancelled() => return,
            };
            let wait = match looked {
                Some(Next::Wait(wait)) => {
                    failures = 0;
                    wait
                }
                Some(Next::Retry) => {
                    failures += 1;
                    Some(backoff(failures))
                }
                None => return,
            };
            let timer = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.shared.wake.notified() => {}
                () = timer => {}
                () = self.end.cancelled() => return,
            }
        }
    }

    /// One look; `None` when the source is gone.
    async fn look(&self, memory: &mut Memory, watched: &mut Option<(PathBuf, FolderWatch)>) -> Option<Next> {
        let api: Api<GitSource> = Api::namespaced(self.context.client.clone(), &self.context.namespace);
        let source = match api.get_opt(&self.name).await {
            Ok(Some(source)) if source.uid().as_deref() == Some(&self.uid) => source,
            Ok(_) => return None,
            Err(error) => {
                warn!(source = self.name, error = %Chain(&error), "the GitSource cannot be read; trying again");
                return Some(Next::Retry);
            }
        };
        self.watch_folder(&source, watched).await;
        let drifted = self.shared.drifted.swap(false, Ordering::Relaxed);
        let next = pass(&self.context, &source, memory, &self.shared, drifted).await;
        if drifted && matches!(next, Next::Retry) {
            self.shared.drifted.store(true, Ordering::Relaxed);
        }
        Some(match next {
            Next::Wait(None) if is_polled(&source) => Next::Wait(interval(&source)),
            Next::Wait(wait) => Next::Wait(wait),
            Next::Retry => Next::Retry,
        })
    }

    /// Watches the folder that the spec names, before it is read.
    async fn watch_folder(&self, source: &GitSource, watched: &mut Option<(PathBuf, FolderWatch)>) {
        let wanted = source
            .spec
            .folder
            .as_ref()
            .filter(|_| !source.spec.suspend)
            .map(|folder| PathBuf::from(&folder.path));
        if watched.as_ref().map(|(path, _)| path) == wanted.as_ref() {
            return;
        }
        let old = watched.take();
        let shared = Arc::clone(&self.shared);
        // Setting up the watches reads the folder's whole tree.
        let started = tokio::task::spawn_blocking(move || {
            drop(old);
            wanted.map(|path| (path.clone(), FolderWatch::start(path, move || shared.wake.notify_one())))
        });
        *watched = started.await.unwrap_or_default();
    }
}

/// A branch may move; a commit cannot.
fn is_polled(source: &GitSource) -> bool {
    let branch = source.spec.git.as_ref().and_then(|git| git.reference.branch.as_ref());
    branch.is_some() && !source.spec.suspend
}

/// The time to the next poll: the spec's, a tenth more or less, so that many sources do not ask at once.
fn interval(source: &GitSource) -> Option<Duration> {
    let interval = &source.spec.git.as_ref()?.interval;
    let interval = GoDuration::parse(interval).ok().and_then(|interval| interval.length().try_into().ok());
    let interval: Duration = interval.unwrap_or(Duration::from_secs(60)).max(SHORTEST_INTERVAL);
    Some(interval.mul_f64(rand::rng().random_range(0.9..1.1)))
}

fn backoff(failures: u32) -> Duration {
    let full = RETRY_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(RETRY_LONGEST);
    full.mul_f64(rand::rng().random_range(0.8..1.0))
}
