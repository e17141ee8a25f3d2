//! What one set of requirements comes to on one inventory, and which part of it may be one transaction (rules V2, A7).
//!
//! Machines that share baselines, architecture, inventory and our holds share the answer: in a fleet of twins it is
//! worked out once.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use muster_model::{
    Digest, Inventory, PackageKey, ProposalKey, Reason, Snapshot, Transaction, WantedItem, WantedSet,
};

use crate::merge::Merged;
use crate::select::Resources;
use crate::target::{Judged, Outcome, judge};

/// The shared answer.
#[derive(Debug)]
pub(crate) struct Evaluation<'a> {
    pub(crate) inventory: Option<&'a Inventory>,
    digest: Option<&'a Digest>,
    /// Along `Merged::enforced`; empty without an inventory.
    pub(crate) judged: Vec<Judged>,
    /// Along `Merged::observed`.
    pub(crate) observed: Vec<Judged>,
    /// Holds of ours that nothing wants any more (rule V6).
    pub(crate) lifts: BTreeSet<PackageKey>,
    /// Machines whose items it is; for the rollouts.
    pub(crate) machines: Cell<usize>,
    choices: RefCell<BTreeMap<Vec<usize>, Rc<Choice>>>,
}

/// Which of the wanted changes one transaction may make.
#[derive(Debug)]
pub(crate) struct Choice {
    /// What is asked of the machine's apt now: numbers into `Merged::enforced`.
    pub(crate) picked: Vec<usize>,
    /// Its wanted set.
    pub(crate) wanted: WantedSet,
    /// The proposal that answers it and what to make of it; `None` while it is awaited, or where nothing is picked.
    pub(crate) answer: Option<(ProposalKey, Transaction)>,
    /// The others, each with why its transaction cannot be.
    pub(crate) refused: Vec<(usize, Reason)>,
}

impl<'a> Evaluation<'a> {
    pub(crate) fn of(
        resources: &Resources<'_>,
        merged: &Merged,
        inventory: Option<(&'a Digest, &'a Inventory)>,
        our_holds: &BTreeSet<PackageKey>,
    ) -> Self {
        let mut found = Self {
            inventory: inventory.map(|(_, inventory)| inventory),
            digest: inventory.map(|(digest, _)| digest),
            judged: Vec::new(),
            observed: Vec::new(),
            lifts: BTreeSet::new(),
            machines: Cell::new(0),
            choices: RefCell::default(),
        };
        if let Some((_, inventory)) = inventory {
            found.judged =
                merged.enforced.iter().map(|one| judge(resources, one, inventory, our_holds)).collect();
            found.observed =
                merged.observed.iter().map(|one| judge(resources, one, inventory, our_holds)).collect();
            let held = |key: &&PackageKey| {
                let installed = inventory.package(key).and_then(|package| package.installed.as_ref());
                installed.is_some_and(|installed| installed.held)
            };
            // About a package in conflict nothing is done, its hold included (rule S2).
            let wanted = |key: &PackageKey| {
                merged.enforced.iter().any(|one| one.key == *key && (one.hold || one.conflict))
            };
            found.lifts = our_holds.iter().filter(held).filter(|key| !wanted(key)).cloned().collect();
        }
        found
    }

    /// Whether dpkg left a package that a requirement names unfinished.
    pub(crate) fn needs_repair(&self) -> bool {
        self.judged.iter().any(|judged| judged.outcome == Outcome::Repair)
    }

    /// How to go about the `ready` requirements: all in one transaction if that may be, else those that may be by
    /// themselves. So one that apt refuses, or that another baseline forbids, holds up nothing else.
    pub(crate) fn choose(
        &self,
        snapshot: &Snapshot,
        resources: &Resources<'_>,
        merged: &Merged,
        ready: Vec<usize>,
    ) -> Rc<Choice> {
        if let Some(known) = self.choices.borrow().get(&ready) {
            return known.clone();
        }
        let choice = Rc::new(Chooser { evaluation: self, snapshot, resources, merged }.choose(&ready));
        self.choices.borrow_mut().insert(ready, choice.clone());
        choice
    }
}

struct Chooser<'a> {
    evaluation: &'a Evaluation<'a>,
    snapshot: &'a Snapshot,
    resources: &'a Resources<'a>,
    merged: &'a Merged,
}

enum Answer {
    Awaited(WantedSet),
    Refused(Reason),
    Fine(WantedSet, ProposalKey, Transaction),
}

impl Chooser<'_> {
    fn choose(&self, ready: &[usize]) -> Choice {
        if ready.is_empty() {
            return self.picked(Vec::new(), Answer::Awaited(self.wanted(&[])), Vec::new());
        }
        let reason = match self.answer(ready) {
            Answer::Refused(reason) => reason,
            answer => return self.picked(ready.to_vec(), answer, Vec::new()),
        };
        if let [alone] = ready {
            return self.picked(Vec::new(), Answer::Awaited(self.wanted(&[])), vec![(*alone, reason)]);
        }
        let (mut fine, mut refused) = (Vec::new(), Vec::new());
        for place in ready {
            match self.answer(&[*place]) {
                Answer::Refused(reason) => refused.push((*place, reason)),
                Answer::Fine(..) => fine.push(*place),
                // What is known to be fine could start, but the whole is worth one more question.
                answer @ Answer::Awaited(_) => return self.picked(vec![*place], answer, refused),
            }
        }
        if fine.is_empty() {
            return self.picked(Vec::new(), Answer::Awaited(self.wanted(&[])), refused);
        }
        // Each alone is fine; where together they are not, one comes after the other.
        let together = if fine.len() == ready.len() { Answer::Refused(reason) } else { self.answer(&fine) };
        if let Answer::Refused(_) = together {
            fine.truncate(1);
            let answer = self.answer(&fine);
            return self.picked(fine, answer, refused);
        }
        self.picked(fine, together, refused)
    }

    fn picked(&self, picked: Vec<usize>, answer: Answer, refused: Vec<(usize, Reason)>) -> Choice {
        match answer {
            Answer::Awaited(wanted) => Choice { picked, wanted, answer: None, refused },
            Answer::Fine(wanted, key, transaction) => {
                Choice { picked, wanted, answer: Some((key, transaction)), refused }
            }
            Answer::Refused(reason) => {
                let mut refused = refused;
                refused.extend(picked.into_iter().map(|place| (place, reason.clone())));
                Choice { picked: Vec::new(), wanted: self.wanted(&[]), answer: None, refused }
            }
        }
    }

    fn answer(&self, picked: &[usize]) -> Answer {
        let wanted = self.wanted(picked);
        let Some(inventory) = self.evaluation.digest else { return Answer::Awaited(wanted) };
        let key = ProposalKey { inventory: inventory.clone(), wanted: wanted.digest() };
        let Some(proposal) = self.snapshot.proposals.get(&key) else { return Answer::Awaited(wanted) };
        match crate::transaction::transaction(self.resources, self.merged, self.evaluation, picked, proposal)
        {
            Ok(transaction) => Answer::Fine(wanted, key, transaction),
            Err(reason) => Answer::Refused(reason),
        }
    }

    fn wanted(&self, picked: &[usize]) -> WantedSet {
        let items = picked.iter().filter_map(|place| match &self.evaluation.judged[*place].outcome {
            Outcome::Change(version) => Some(WantedItem {
                package: self.merged.enforced[*place].key.clone(),
                version: version.clone(),
            }),
            Outcome::Met | Outcome::Hold | Outcome::Repair | Outcome::NotCovered | Outcome::Blocked(_) => {
                None
            }
        });
        WantedSet { interest: self.merged.interest.clone(), items: items.collect() }
    }
}
