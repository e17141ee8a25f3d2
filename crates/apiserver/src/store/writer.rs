//! The writer thread: batches, versions, commit, publication.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use tokio::sync::{mpsc, oneshot};

use super::disk::Disk;
use super::{Command, Event, Notice, Place, Proposal, Refusal, State, read, write};
use crate::object::{Meta, Stored};

/// Proposals that share one commit.
///
/// A commit costs a disk flush (about 0.4 ms on our machines); at 256 objects it no longer shows.
pub(super) const BATCH: usize = 256;

/// Bytes of an object: what a cluster's etcd takes by default, so that whatever is here can move there.
const OBJECT: usize = 3 << 19;

pub(super) struct Writer {
    disk: Option<Disk>,
    state: Arc<RwLock<State>>,
    notices: mpsc::UnboundedSender<Notice>,
    /// The last version given out, even if its commit failed: a number is never used twice.
    version: u64,
}

type Answer = oneshot::Sender<Result<Arc<Stored>, Refusal>>;

/// A proposal that the writer has accepted into the batch.
struct Accepted {
    shelf: Arc<str>,
    event: Event,
    on_publish: Option<Box<dyn FnOnce() + Send>>,
    answer: Answer,
}

/// What the batch has already decided about a key: its version and whether it is being deleted, or that it is gone.
type Pending = HashMap<Place, Option<Arc<Stored>>>;

impl Writer {
    pub(super) fn new(
        disk: Option<Disk>,
        state: Arc<RwLock<State>>,
        notices: mpsc::UnboundedSender<Notice>,
    ) -> Self {
        let version = read(&state).version;
        Self { disk, state, notices, version }
    }

    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut batch = Vec::with_capacity(BATCH);
        while queue.blocking_recv_many(&mut batch, BATCH) > 0 {
            let accepted = self.accept(batch.drain(..));
            if accepted.is_empty() {
                continue;
            }
            match self.commit(&accepted) {
                Ok(()) => self.publish(accepted),
                Err(error) => {
                    tracing::error!(%error, objects = accepted.len(), "the store cannot write");
                    for Accepted { answer, .. } in accepted {
                        let _ = answer.send(Err(Refusal::Storage(error.to_string())));
                    }
                }
            }
        }
    }

    fn accept(&mut self, commands: impl Iterator<Item = Command>) -> Vec<Accepted> {
        let mut pending = Pending::new();
        let mut accepted = Vec::new();
        for (proposal, answer) in commands {
            match self.judge(&pending, &proposal) {
                Ok(before) => {
                    let Proposal { place, expect: _, draft, gone, on_publish } = proposal;
                    self.version += 1;
                    let object = Arc::new(draft.stored(self.version));
                    pending.insert(place.clone(), (!gone).then(|| object.clone()));
                    let (shelf, key) = place;
                    let event = Event { version: self.version, key, before, object, removed: gone };
                    accepted.push(Accepted { shelf, event, on_publish, answer });
                }
                // Whoever asked may have gone; then nobody needs the answer.
                Err(refusal) => drop(answer.send(Err(refusal))),
            }
        }
        accepted
    }

    /// The object that the proposal replaces, if it may.
    fn judge(&self, pending: &Pending, proposal: &Proposal) -> Result<Option<Arc<Stored>>, Refusal> {
        let state = read(&self.state);
        let find = |place: &Place| -> Option<Arc<Stored>> {
            match pending.get(place) {
                Some(decided) => decided.clone(),
                None => state.shelves.get(&place.0)?.objects.get(&place.1).cloned(),
            }
        };
        let before = find(&proposal.place);
        if before.as_ref().map(|object| object.meta.version) != proposal.expect {
            return Err(Refusal::Stale);
        }
        if before.is_none()
            && let Some((namespace, _)) = proposal.place.1.split_once('/')
        {
            match find(&(crate::registry::NAMESPACES.into(), namespace.into())) {
                None => return Err(Refusal::NamespaceMissing),
                Some(object) if object.meta.deleting => return Err(Refusal::NamespaceTerminating),
                Some(_) => {}
            }
        }
        if proposal.draft.len() > OBJECT && !proposal.gone {
            return Err(Refusal::TooLarge);
        }
        Ok(before)
    }

    fn commit(&mut self, accepted: &[Accepted]) -> Result<(), rusqlite::Error> {
        let Some(disk) = &mut self.disk else { return Ok(()) };
        disk.commit(self.version, accepted.iter().map(|one| (&*one.shelf, &one.event)))
    }

    fn publish(&mut self, accepted: Vec<Accepted>) {
        let mut answers = Vec::with_capacity(accepted.len());
        {
            let mut state = write(&self.state);
            for Accepted { shelf, event, on_publish, answer } in accepted {
                if let Some(run) = on_publish {
                    run();
                }
                let event = Arc::new(event);
                let after = (!event.removed).then_some(&*event.object);
                state.index(&shelf, &event.key, event.before.as_deref(), after);
                state.shelf(&shelf).publish(event.clone());
                state.version = event.version;
                answers.push((shelf, event, answer));
            }
            for (shelf, event, _) in &answers {
                state.shelf(shelf).head.send_replace(event.version);
            }
        }
        for (shelf, event, answer) in answers {
            if worth_a_look(&event.object.meta, event.removed) {
                let notice = Notice {
                    shelf,
                    key: event.key.clone(),
                    object: event.object.clone(),
                    gone: event.removed,
                };
                // The collector ends with the server; then nobody needs the notice.
                let _ = self.notices.send(notice);
            }
            let _ = answer.send(Ok(event.object.clone()));
        }
    }
}

/// Could the collector have to do something about it?
fn worth_a_look(meta: &Meta, removed: bool) -> bool {
    removed || meta.deleting || !meta.owners.is_empty()
}
