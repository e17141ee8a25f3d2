//! What the agent's two loops share: the link to the gateway, and what each must know of the other.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use muster_journal::Journal;
use muster_model::{ActivityName, PackageKey};
use muster_wire::Client;
use tokio::sync::Notify;

/// One agent's shared state. Everything in it can be had anew: what must last is in `state`.
pub(crate) struct Shared {
    client: RwLock<Arc<Client>>,
    session: AtomicU64,
    acting: AtomicBool,
    last_finished: AtomicU64,
    activity: Mutex<(Option<ActivityName>, bool)>,
    held: Mutex<Option<BTreeSet<PackageKey>>>,
    /// Something on the machine changed.
    pub(crate) wake: Arc<Notify>,
    /// The package lists turned out to be stale.
    pub(crate) stale_lists: Notify,
}

impl Shared {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client: RwLock::new(Arc::new(client)),
            session: AtomicU64::new(0),
            acting: AtomicBool::new(false),
            last_finished: AtomicU64::new(0),
            activity: Mutex::default(),
            held: Mutex::default(),
            wake: Arc::default(),
            stale_lists: Notify::new(),
        }
    }

    pub(crate) fn client(&self) -> Arc<Client> {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn replace_client(&self, client: Client) {
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(client);
    }

    /// The session that the gateway opened; 0: none (rule M4).
    pub(crate) fn session(&self) -> u64 {
        self.session.load(Ordering::Relaxed)
    }

    pub(crate) fn set_session(&self, session: u64) {
        self.session.store(session, Ordering::Relaxed);
    }

    /// Takes note of the journal for the reports and polls.
    pub(crate) fn note(&self, journal: &Journal) {
        self.acting.store(journal.is_acting(), Ordering::Relaxed);
        self.last_finished.store(journal.last_finished(), Ordering::Relaxed);
        *lock(&self.activity) = (journal.last().cloned(), journal.is_cancel_seen());
    }

    /// Whether packages or the boot are in flux because of us.
    pub(crate) fn is_acting(&self) -> bool {
        self.acting.load(Ordering::Relaxed)
    }

    pub(crate) fn last_finished(&self) -> u64 {
        self.last_finished.load(Ordering::Relaxed)
    }

    /// The activity taken last, and whether its cancel is known.
    pub(crate) fn activity(&self) -> (Option<ActivityName>, bool) {
        lock(&self.activity).clone()
    }

    /// The holds in the last report; `None` before the first.
    pub(crate) fn held(&self) -> Option<BTreeSet<PackageKey>> {
        lock(&self.held).clone()
    }

    pub(crate) fn set_held(&self, held: BTreeSet<PackageKey>) {
        *lock(&self.held) = Some(held);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits that grow with each failure, jittered, so that a fleet does not come back all at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: u32,
    longest: Duration,
}

impl Backoff {
    pub(crate) fn up_to(longest: Duration) -> Self {
        Self { failures: 0, longest }
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    pub(crate) fn next(&mut self) -> Duration {
        let full = Duration::from_secs(1 << self.failures.min(16)).min(self.longest);
        self.failures += 1;
        jittered(full)
    }
}

/// Between half and all of it.
pub(crate) fn jittered(full: Duration) -> Duration {
    full.mul_f64(rand::random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_begin_anew_after_success() {
        let mut backoff = Backoff::up_to(Duration::from_secs(60));
        let waits: Vec<Duration> = (0..12).map(|_| backoff.next()).collect();
        assert!(waits[0] <= Duration::from_secs(1) && waits[0] >= Duration::from_millis(500));
        assert!(waits[11] >= Duration::from_secs(30) && waits[11] <= Duration::from_secs(60));
        backoff.reset();
        assert!(backoff.next() <= Duration::from_secs(1));
    }
}
