//! The last word about each machine, and what the statuses say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_model::{ActivityName, MachineName, MachinePlan, OutcomeReason, Rollout, Snapshot, Verdict};

use crate::admit::Turn;
use crate::case::Case;
use crate::draft::Draft;
use crate::known::alike::{Answer, Answers};
use crate::known::net::Net;
use crate::known::{Decided, Known};
use crate::near::comes_to;
use crate::order::stable_hash;
use crate::select::Resources;
use crate::summary::{Mark, Marks};

impl Known {
    /// What is to be canceled of one machine's activities.
    pub(crate) fn cancel(&mut self, machine: &MachineName, found: Vec<(ActivityName, OutcomeReason)>) {
        if self.plan.cancels.is_empty() && found.is_empty() {
            return;
        }
        let from = ActivityName { machine: machine.clone(), number: 0 };
        let to = ActivityName { machine: machine.clone(), number: u64::MAX };
        let old: Vec<ActivityName> =
            self.plan.cancels.range(from..=to).map(|(name, _)| name.clone()).collect();
        for name in old {
            self.plan.cancels.remove(&name);
        }
        self.plan.cancels.extend(found);
    }

    /// Puts what would start into the queue; gives back what would not.
    pub(super) fn enqueue(&mut self, case: &Case<'_>, mut draft: Draft) -> Option<Draft> {
        let kept = &mut self.kept[case.place];
        let own = case.evaluation.asked();
        let before = kept.asked.as_deref().map(Vec::as_slice).unwrap_or_default();
        if !draft.asked.is_empty() || !before.iter().eq(own.iter()) {
            let mut asked = std::mem::take(&mut draft.asked);
            asked.extend(own.iter().cloned());
            for proposal in before.iter().filter(|proposal| !asked.contains(proposal)) {
                forget(&mut self.by_proposal, proposal, case.place);
            }
            for proposal in asked.iter().filter(|proposal| !before.contains(proposal)) {
                self.by_proposal.entry(proposal.clone()).or_default().insert(case.place);
            }
            kept.asked = (!asked.is_empty()).then(|| Box::new(asked.into_iter().collect()));
        }
        self.note_along(case, std::mem::take(&mut draft.along));
        let kept = &mut self.kept[case.place];
        let named = case.reported.map(|reported| &reported.report.inventory);
        let missing = named.filter(|_| case.evaluation.inventory.is_none());
        if kept.missing.as_deref() != missing {
            if let Some(digest) = kept.missing.take() {
                forget(&mut self.by_missing, &digest, case.place);
            }
            if let Some(digest) = missing {
                self.by_missing.entry(digest.clone()).or_default().insert(case.place);
                kept.missing = Some(Box::new(digest.clone()));
            }
        }
        let (Some(spec), Some(standing)) = (&mut draft.spec, &kept.standing) else { return Some(draft) };
        self.waiting.pool(spec);
        let turn = Turn {
            takes_place: !standing.is_counted(),
            served: self.ranks.first_served(spec),
            hash: stable_hash(&case.machine.name),
            place: case.place,
        };
        self.queue.add(standing, turn);
        kept.queued = Some(Box::new((turn, draft)));
        None
    }

    /// Notes whose items come along in what the machine may get.
    fn note_along(&mut self, case: &Case<'_>, mut along: BTreeSet<usize>) {
        along.extend(case.evaluation.along().iter());
        self.along.retain(|baseline, machines| {
            if !along.contains(baseline) {
                machines.remove(&case.place);
            }
            !machines.is_empty()
        });
        for baseline in along {
            self.along.entry(baseline).or_default().insert(case.place);
        }
    }

    /// The answers for the machines that were decided, and for those that are told something else.
    pub(super) fn conclude(&mut self, resources: &Resources<'_>, decided: &[Decided]) {
        let mut starts: Vec<Verdict> = Vec::with_capacity(decided.len());
        for Decided { place, next, .. } in decided {
            let start = self.start_of(resources, *place);
            let kept = &mut self.kept[*place];
            if kept.next != *next {
                if let Some(at) = kept.next {
                    self.due.remove(&(at, *place));
                }
                self.due.extend(next.map(|at| (at, *place)));
                kept.next = *next;
            }
            if matches!(start, Verdict::Start(_)) {
                self.restless.insert(*place);
            } else {
                self.restless.remove(place);
            }
            starts.push(start);
        }
        let told = std::mem::take(&mut self.told).into_iter();
        let told: Vec<(usize, Verdict)> =
            told.map(|place| (place, self.start_of(resources, place))).collect();
        let Self { alike, marks, kept, .. } = self;
        let mut answers = Answers::new(resources, alike, marks);
        let mut all: Vec<(usize, Answer)> = Vec::with_capacity(decided.len() + told.len());
        for (Decided { place, first, settled, .. }, start) in decided.iter().zip(starts) {
            let kept = &kept[*place];
            if let Some(draft) = settled.as_ref().or(kept.queued.as_ref().map(|queued| &queued.1)) {
                all.push((*place, answers.of(kept, *first, draft, start)));
            }
        }
        for (place, start) in told {
            let kept = &kept[place];
            if let Some(queued) = &kept.queued {
                all.push((place, answers.of(kept, Mark::Converged, &queued.1, start)));
            }
        }
        all.sort_by_key(|(place, _)| *place);
        self.take_in(all);
    }

    /// Takes in the answers for machines (by number), in order.
    fn take_in(&mut self, answers: Vec<(usize, Answer)>) {
        let Self { plan, changed, kept, summaries, .. } = self;
        let mut net = Net::new();
        let mut near = plan.machines.range_mut::<MachineName, _>(..).peekable();
        let mut new: Vec<(MachineName, Arc<MachinePlan>)> = Vec::new();
        for (place, answer) in answers {
            let kept = &mut kept[place];
            net.change(kept.marks.as_ref(), Some(&answer.marks));
            kept.marks = Some(answer.marks);
            let name = &kept.machine.name;
            if !comes_to(&mut near, name) {
                near = plan.machines.range_mut::<MachineName, _>(name..).peekable();
            }
            match near.next_if(|(known, _)| *known == name) {
                Some((_, known)) if *known == answer.plan => continue,
                Some((_, known)) => *known = answer.plan,
                None => new.push((name.clone(), answer.plan)),
            }
            changed.push(name.clone());
        }
        // Made of all of them at once, a tree is full; one that grows name by name is little more than half so.
        plan.machines.append(&mut new.into_iter().collect());
        net.apply(
            summaries,
            |summaries, marks: &Marks, machines| {
                marks.iter().for_each(|(baseline, mark)| mark.add(&mut summaries[*baseline], machines));
            },
            |summaries, marks, machines| {
                marks.iter().for_each(|(baseline, mark)| mark.take_away(&mut summaries[*baseline], machines));
            },
        );
    }

    /// What the budgets say of what would start.
    fn start_of(&self, resources: &Resources<'_>, place: usize) -> Verdict {
        let kept = &self.kept[place];
        let (Some(queued), Some(standing)) = (&kept.queued, &kept.standing) else {
            return Verdict::Converged;
        };
        match (self.queue.told(standing, queued.0), &queued.1.spec) {
            (Some(full), _) => full.verdict(resources),
            (None, Some(spec)) => Verdict::Start(spec.clone()),
            (None, None) => Verdict::Converged,
        }
    }

    /// What the statuses say.
    pub(super) fn sum_up(&mut self, snapshot: &Snapshot, resources: &Resources<'_>) {
        for (number, summary) in self.summaries.iter_mut().enumerate() {
            let group = self.after.package_baseline(resources, number);
            (summary.unavailable, summary.max_unavailable) = (group.unavailable, group.allowed);
        }
        let references = self.rollouts.references.iter().cloned();
        if self.plan.baselines.is_empty() {
            self.plan.baselines = references.zip(self.summaries.iter().cloned()).collect();
        } else {
            // Both are in the order of their references.
            let told = self.plan.baselines.values_mut().zip(&self.summaries);
            told.filter(|(told, summary)| told != summary)
                .for_each(|(told, summary)| told.clone_from(summary));
        }
        for (place, budget) in resources.budgets.iter().enumerate() {
            let summary = self.after.budget(place).summary();
            if self.plan.budgets.get(&budget.name) != Some(&summary) {
                self.plan.budgets.insert(budget.name.clone(), summary);
            }
        }
        if std::mem::take(&mut self.tell_windows) {
            let mut machines = vec![0; resources.windows.len()];
            for (windows, count) in self.selection.sets.sets().iter().zip(&self.of_set) {
                windows.iter().for_each(|window| machines[*window] += count);
            }
            for ((window, summary), machines) in resources.windows.iter().zip(&mut self.windows).zip(machines)
            {
                summary.machines = machines;
                self.plan.windows.insert(window.name.clone(), summary.clone());
            }
        }
        for place in std::mem::take(&mut self.judged) {
            let (track, reference) = (&self.rollouts.tracks[place], &self.rollouts.references[place]);
            if track.items.is_empty() && !snapshot.rollouts.contains_key(reference) {
                self.plan.rollouts.remove(reference);
            } else if self.plan.rollouts.get(reference).is_none_or(|known| known.items != track.items) {
                self.plan.rollouts.insert(reference.clone(), Rollout { items: track.items.clone() });
            }
        }
        let tracks = self.rollouts.tracks.iter().filter_map(|track| track.next);
        let own = [self.windows_next, self.overrides_next].into_iter().flatten();
        self.plan.next = tracks.chain(own).chain(self.due.first().map(|(at, _)| *at)).min();
    }
}

fn forget<K: Ord>(index: &mut BTreeMap<K, BTreeSet<usize>>, key: &K, place: usize) {
    if let Some(places) = index.get_mut(key) {
        places.remove(&place);
        if places.is_empty() {
            index.remove(key);
        }
    }
}
