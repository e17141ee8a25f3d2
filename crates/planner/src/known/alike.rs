//! Answers that are the same for many machines are held once: most twins have converged, or wait for the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_model::{MachinePlan, Verdict, Wanted};

/// With one wanted set, so many of the last different answers are looked through.
const LOOKED_AT: usize = 8;

/// The answers given last.
#[derive(Debug, Default)]
pub(super) struct Alike {
    /// By the address of the wanted set, which each of them keeps where it is.
    last: BTreeMap<usize, Vec<Arc<MachinePlan>>>,
    /// So many wanted sets may be there before it is looked which of them nobody is asked any more.
    room: usize,
}

impl Alike {
    /// The answer as another machine holds it already, if one does. What names an activity is nobody else's.
    pub(super) fn shared(&mut self, answer: MachinePlan) -> Arc<MachinePlan> {
        if matches!(answer.verdict, Verdict::Start(_) | Verdict::Active { .. }) {
            return Arc::new(answer);
        }
        if self.last.len() > self.room {
            self.last.retain(|_, answers| {
                answers.retain(|answer| Arc::strong_count(answer) > 1);
                !answers.is_empty()
            });
            self.room = self.last.len() * 2;
        }
        let answers = self.last.entry(Arc::<Wanted>::as_ptr(&answer.wanted).addr()).or_default();
        if let Some(known) = answers.iter().rev().find(|known| ***known == answer) {
            return known.clone();
        }
        if answers.len() == LOOKED_AT {
            answers.remove(0);
        }
        let answer = Arc::new(answer);
        answers.push(answer.clone());
        answer
    }
}
