//! How writes ended, and when what failed is tried again.

use muster_model::Instant;

use crate::State;
use crate::input::{Key, Written};

/// The first wait after a write that failed; it doubles.
const FIRST_BACKOFF_SECONDS: i64 = 1;

/// The longest wait between attempts at a write.
pub(crate) const LONGEST_BACKOFF_SECONDS: i64 = 60;

impl State {
    /// Takes in how a write ended.
    pub(crate) fn written(&mut self, key: &Key, now: Instant, outcome: Written) {
        match outcome {
            Written::Done => {
                self.backoff.remove(key);
                return;
            }
            // The reservation may exist: it counts until a consistent read shows it, or shows nothing.
            Written::Unknown => {}
            Written::Refused => {
                if let Key::Activity(name) = key
                    && self.reserved.remove(name)
                {
                    self.touched.machines.insert(name.machine.clone());
                    self.world.activities.remove(name);
                }
            }
        }
        self.dirty = true;
        let (times, until) = self.backoff.entry(key.clone()).or_insert((0, now));
        let seconds = (FIRST_BACKOFF_SECONDS << (*times).min(10)).min(LONGEST_BACKOFF_SECONDS);
        *times += 1;
        *until = now + jiff::SignedDuration::from_secs(seconds);
        self.deleting.remove(key);
        match key {
            Key::Activity(name) => {
                self.asked.remove(name);
                self.touched.machines.insert(name.machine.clone());
            }
            Key::Garbage(garbage) => {
                // The mark was not made: it is due as before.
                if let Some(since) = self.unreferenced.get_mut(garbage) {
                    *since = Instant::MIN;
                }
                self.garbage_looked = None;
            }
            Key::Approval(_) => {}
            Key::Machine(_)
            | Key::Baseline(_)
            | Key::Window(_)
            | Key::Budget(_)
            | Key::Rollout(_)
            | Key::Policy => {
                self.unrecorded.insert(key.clone());
            }
        }
    }

    /// Whether a write about the object may be made now.
    pub(crate) fn may_write(&self, key: &Key, now: Instant) -> bool {
        self.backoff.get(key).is_none_or(|(_, until)| *until <= now)
    }
}
