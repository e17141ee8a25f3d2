//! Carries out effects: in order for each object, many objects at once, never more than a bounded number.
//!
//! Nothing retries here (style 8): a failed write is answered as such, and fleet asks again when its backoff is over.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use muster_fleet::{Change, Effect, Key, Written};
use tokio::task::JoinSet;

use crate::write::Writer;

/// Writes under way at a time: enough to keep a group commit or an API server's priority level busy, and small beside
/// what an API server allows one client.
const WRITES_AT_ONCE: usize = 64;

/// Notes that wait to be told; more are dropped and counted, since an event is news, not a record.
const NOTES_WAITING: usize = 1000;

/// How one write ended, and what it showed.
pub(crate) struct Ended {
    /// Which object; `None` for notes.
    pub(crate) key: Option<Key>,
    /// How.
    pub(crate) written: Written,
    /// What a consistent read or the answer showed.
    pub(crate) shown: Vec<Change>,
}

/// Effects that wait and writes that run.
pub(crate) struct Work {
    writer: Arc<Writer>,
    waiting: BTreeMap<Key, VecDeque<Effect>>,
    ready: VecDeque<Key>,
    busy: BTreeSet<Key>,
    notes: VecDeque<Effect>,
    running: JoinSet<Ended>,
}

impl Work {
    /// Nothing to do yet.
    pub(crate) fn new(writer: Arc<Writer>) -> Self {
        Self {
            writer,
            waiting: BTreeMap::new(),
            ready: VecDeque::new(),
            busy: BTreeSet::new(),
            notes: VecDeque::new(),
            running: JoinSet::new(),
        }
    }

    /// Takes effects in.
    pub(crate) fn push(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let Some(key) = effect.key() else {
                if self.notes.len() < NOTES_WAITING {
                    self.notes.push_back(effect);
                } else {
                    self.writer.count_dropped_note();
                }
                continue;
            };
            let queue = self.waiting.entry(key.clone()).or_default();
            // Only the last record counts.
            if queue.back().is_some_and(|last| replaces(&effect, last)) {
                queue.pop_back();
            }
            queue.push_back(effect);
            if queue.len() == 1 && !self.busy.contains(&key) {
                self.ready.push_back(key);
            }
        }
        self.start();
    }

    /// Forgets what waits: the leadership is lost. What runs ends as it ends.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        self.ready.clear();
        self.notes.clear();
    }

    /// The next write that ended; pending while none runs.
    pub(crate) async fn ended(&mut self) -> Ended {
        loop {
            match self.running.join_next().await {
                None => std::future::pending::<()>().await,
                Some(Ok(ended)) => {
                    if let Some(key) = &ended.key {
                        self.busy.remove(key);
                        if self.waiting.get(key).is_some_and(|queue| !queue.is_empty()) {
                            self.ready.push_back(key.clone());
                        }
                    }
                    self.start();
                    return ended;
                }
                Some(Err(error)) => {
                    // A panic in a write is our mistake; its object would stay busy for ever, so it ends the process.
                    if let Ok(panic) = error.try_into_panic() {
                        std::panic::resume_unwind(panic);
                    }
                }
            }
        }
    }

    /// Whether nothing waits and nothing runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.ready.is_empty() && self.notes.is_empty()
    }

    fn start(&mut self) {
        while self.running.len() < WRITES_AT_ONCE {
            let effect = match self.ready.pop_front() {
                Some(key) => {
                    let Some(queue) = self.waiting.get_mut(&key) else { continue };
                    let effect = queue.pop_front();
                    if queue.is_empty() {
                        self.waiting.remove(&key);
                    }
                    let Some(effect) = effect else { continue };
                    self.busy.insert(key);
                    effect
                }
                None => match self.notes.pop_front() {
                    Some(note) => note,
                    None => return,
                },
            };
            let writer = self.writer.clone();
            self.running.spawn(async move {
                let key = effect.key();
                let (written, shown) = writer.write(effect).await;
                Ended { key, written, shown }
            });
        }
    }
}

/// Whether the newer effect makes the older one pointless: both record the same thing.
fn replaces(newer: &Effect, older: &Effect) -> bool {
    matches!(
        (newer, older),
        (Effect::RecordMachine { .. }, Effect::RecordMachine { .. })
            | (Effect::RecordBaseline { .. }, Effect::RecordBaseline { .. })
            | (Effect::RecordWindow { .. }, Effect::RecordWindow { .. })
            | (Effect::RecordBudget { .. }, Effect::RecordBudget { .. })
            | (Effect::RecordRollout { .. }, Effect::RecordRollout { .. })
            | (Effect::RecordEstimates { .. }, Effect::RecordEstimates { .. })
    )
}
