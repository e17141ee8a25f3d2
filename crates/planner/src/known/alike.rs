//! Answers that are the same for many machines are held once: most twins have converged, or wait for the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_model::{MachinePlan, Pool, Verdict, Wanted};

use crate::draft::Draft;
use crate::known::Kept;
use crate::select::{Picked, Resources};
use crate::summary::{Mark, Marks};

/// So many of the last different answers are looked through: of a round, and with one wanted set.
const LOOKED_AT: usize = 8;

/// What a machine is told, and what it is in the totals of the baselines that pick it.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) plan: Arc<MachinePlan>,
    pub(super) marks: Arc<Marks>,
}

/// All that an answer follows from.
struct From<'a> {
    picked: &'a Arc<Picked>,
    first: Mark,
    draft: &'a Draft,
    start: Verdict,
}

/// One round's answers: those of twins are made once.
pub(super) struct Answers<'a> {
    resources: &'a Resources<'a>,
    alike: &'a mut Alike,
    marks: &'a mut Pool<Marks>,
    /// By the address of the wanted set.
    last: BTreeMap<usize, Vec<(From<'a>, Answer)>>,
}

impl<'a> Answers<'a> {
    pub(super) fn new(
        resources: &'a Resources<'a>,
        alike: &'a mut Alike,
        marks: &'a mut Pool<Marks>,
    ) -> Self {
        Self { resources, alike, marks, last: BTreeMap::new() }
    }

    /// What follows from a machine's draft, given what the budgets said of what would `start`; `first`: what it is in totals
    /// before anything is said of a requirement.
    pub(super) fn of(&mut self, kept: &'a Kept, first: Mark, draft: &'a Draft, start: Verdict) -> Answer {
        let picked = &kept.picked;
        let is_alike = |from: &From<'a>| {
            Arc::ptr_eq(from.picked, picked)
                && from.first == first
                && from.start == start
                && from.draft.is_alike(draft)
        };
        let last = self.last.entry(Arc::as_ptr(&draft.wanted).addr()).or_default();
        if let Some((_, answer)) = last.iter().rev().find(|(from, _)| is_alike(from)) {
            return answer.clone();
        }
        let marks = marks(self.resources, picked, first, draft, &start);
        let marks = match &kept.marks {
            Some(known) if **known == marks => known.clone(),
            Some(_) | None => {
                let mut marks = Arc::new(marks);
                self.marks.pool(&mut marks);
                marks
            }
        };
        let plan = self.alike.shared(draft.decide(self.resources, &start));
        let answer = Answer { plan, marks };
        if !is_its_own(&answer.plan) {
            if last.len() == LOOKED_AT {
                last.remove(0);
            }
            last.push((From { picked, first, draft, start }, answer.clone()));
        }
        answer
    }
}

/// What names an activity is nobody else's.
fn is_its_own(answer: &MachinePlan) -> bool {
    matches!(answer.verdict, Verdict::Start(_) | Verdict::Active { .. })
}

/// What a machine is in the totals of the baselines that pick it.
fn marks(resources: &Resources<'_>, picked: &Picked, first: Mark, draft: &Draft, start: &Verdict) -> Marks {
    let mut marks: Marks = picked.packages.iter().map(|baseline| (*baseline, first)).collect();
    draft.each(resources, start, |by, _, verdict| {
        if let Ok(at) = marks.binary_search_by_key(&by, |(baseline, _)| *baseline) {
            marks[at].1 = marks[at].1.and(verdict);
        }
    });
    marks
}

/// The answers given last.
#[derive(Debug, Default)]
pub(super) struct Alike {
    /// By the address of the wanted set, which each of them keeps where it is.
    last: BTreeMap<usize, Vec<Arc<MachinePlan>>>,
    /// So many wanted sets may be there before it is looked which of them nobody is asked any more.
    room: usize,
}

impl Alike {
    /// The answer as another machine holds it already, if one does.
    fn shared(&mut self, answer: MachinePlan) -> Arc<MachinePlan> {
        if is_its_own(&answer) {
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
