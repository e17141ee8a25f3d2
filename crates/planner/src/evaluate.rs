//! What one set of requirements comes to on one inventory, and which part of it may be one transaction (rules V2, A7).
//!
//! Machines that share baselines, architecture, inventory and our holds share the answer: in a fleet of twins it is
//! worked out once, and kept (`twins`).

use std::cell::{OnceCell, Ref, RefCell};
use std::collections::BTreeSet;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use muster_model::{
    DebianVersion, Digest, Inventory, Package, PackageKey, ProposalKey, Reason, Shared, Snapshot,
    Transaction, Wanted, WantedItem, WantedSet,
};

use crate::kernel::Kernels;
use crate::memo::Memo;
use crate::merge::{Merged, Requirement};
use crate::phasing::KeptBack;
use crate::rollout::Outlook;
use crate::select::Resources;
use crate::target::{Judged, Outcome, are_written_alike, judge};

/// What requirements come to, whatever apt was asked so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judgement {
    /// Along `Merged::enforced`; empty without an inventory.
    pub(crate) judged: Vec<Shared<Judged>>,
    /// The numbers of those that are not as wanted: few are.
    pub(crate) open: Vec<usize>,
    /// Along `Merged::observed`.
    pub(crate) observed: Vec<Shared<Judged>>,
    /// Holds of ours that nothing wants any more (rule V6).
    pub(crate) lifts: BTreeSet<PackageKey>,
    /// The packages whose candidates apt keeps back there for now.
    kept_back: KeptBack,
    /// The machine can let a new kernel boot on trial (rule K2).
    pub(crate) selects_kernels: bool,
    /// The kernels that go when the one that is asked for comes, so that as many stay as are to be kept (rule K3).
    pub(crate) spares: Vec<PackageKey>,
}

/// The answer that machines share in one round. It reads as its judgement.
#[derive(Debug)]
pub(crate) struct Evaluation<'a> {
    pub(crate) inventory: Option<&'a Inventory>,
    digest: Option<&'a Digest>,
    pub(crate) judgement: Arc<Judgement>,
    choices: Memo<Vec<usize>, Choice>,
    /// What rollouts say of requirements, by their numbers in `Merged::enforced`.
    pub(crate) outlooks: Memo<usize, Outlook>,
    /// The numbers of those with another version released last.
    pub(crate) released: OnceCell<Vec<usize>>,
    /// The proposals that were looked for.
    asked: RefCell<BTreeSet<ProposalKey>>,
    /// The baselines (by number) that ask for something about what came along in them.
    along: RefCell<BTreeSet<usize>>,
}

/// Which of the wanted changes one transaction may make.
#[derive(Debug)]
pub(crate) struct Choice {
    /// What is asked of the machine's apt now: numbers into `Merged::enforced`.
    pub(crate) picked: Vec<usize>,
    /// Its wanted set.
    pub(crate) wanted: Arc<Wanted>,
    /// The proposal that answers it and what to make of it; `None` while it is awaited, or where nothing is picked.
    pub(crate) answer: Option<(ProposalKey, Transaction)>,
    /// The others, each with why its transaction cannot be.
    pub(crate) refused: Vec<(usize, Reason)>,
}

impl Judgement {
    pub(crate) fn of(
        resources: &Resources<'_>,
        merged: &Merged,
        inventory: &Inventory,
        our_holds: &BTreeSet<PackageKey>,
        kept_back: KeptBack,
        kernels: &Kernels,
    ) -> Self {
        let judge =
            |one: &Arc<Requirement>| Shared::from(judge(resources, one, inventory, our_holds, &kept_back));
        let judged = merged.enforced.iter().map(judge).collect();
        let observed = merged.observed.iter().map(judge).collect();
        let held = |key: &&PackageKey| inventory.holds(key);
        // About a package in conflict nothing is done, its hold included (rule S2).
        let wanted = |key: &PackageKey| {
            merged.enforced.iter().any(|one| one.key == *key && (one.hold || one.conflict))
        };
        let lifts = our_holds.iter().filter(held).filter(|key| !wanted(key)).cloned().collect();
        let selects_kernels = kernels.selects;
        let (open, spares) = (Vec::new(), Vec::new());
        let mut found = Self { judged, open, observed, lifts, kept_back, selects_kernels, spares };
        found.boot(resources, merged, inventory, kernels);
        let all = found.judged.iter().enumerate();
        found.open = all.filter(|(_, one)| one.outcome != Outcome::Met).map(|(place, _)| place).collect();
        found.open.shrink_to_fit();
        found
    }

    /// Judges kernels on: by what runs.
    fn boot(&mut self, resources: &Resources<'_>, merged: &Merged, inventory: &Inventory, kernels: &Kernels) {
        if let Some(wish) = &merged.kernel {
            let key = &merged.enforced[wish.place].key;
            kernels.enforced(wish, key, &mut self.judged[wish.place]);
            if let Outcome::Change(Some(_)) = &self.judged[wish.place].outcome {
                self.spares = kernels.spares(merged, wish, 1, |spare| inventory.holds(spare));
            }
        }
        for (place, one) in merged.observed.iter().enumerate() {
            if let Some(kernel) = one.by.first().and_then(|by| resources.packages[*by].kernel) {
                kernels.observed(place, &one.key, &kernel.command_line, &mut self.observed[place]);
            }
        }
    }

    /// The kernels that go with a requirement's change.
    pub(crate) fn spares_of(&self, merged: &Merged, place: usize) -> &[PackageKey] {
        let is_kernel = merged.kernel.as_ref().is_some_and(|wish| wish.place == place);
        if is_kernel { &self.spares } else { &[] }
    }

    /// Whether apt keeps the package's candidate back there for now.
    pub(crate) fn is_kept_back(&self, package: &Package) -> bool {
        self.kept_back.contains(&package.key)
    }

    /// Whether dpkg left a package that a requirement names unfinished.
    pub(crate) fn needs_repair(&self) -> bool {
        self.open.iter().any(|place| matches!(self.judged[*place].outcome, Outcome::Repair))
    }

    /// Whether one may stand for the other, to the letter. What is hard to compare and rare is taken to differ.
    pub(crate) fn is_alike(&self, other: &Self) -> bool {
        let are_alike = |left: &[Shared<Judged>], right: &[Shared<Judged>]| {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.is_alike(right))
        };
        let Self { judged, open: _, observed, lifts, kept_back, selects_kernels, spares } = self;
        *selects_kernels == other.selects_kernels
            && (lifts, kept_back, spares) == (&other.lifts, &other.kept_back, &other.spares)
            && are_alike(judged, &other.judged)
            && are_alike(observed, &other.observed)
    }
}

impl Deref for Evaluation<'_> {
    type Target = Judgement;

    fn deref(&self) -> &Judgement {
        &self.judgement
    }
}

impl<'a> Evaluation<'a> {
    pub(crate) fn new(judgement: Arc<Judgement>, inventory: Option<(&'a Digest, &'a Inventory)>) -> Self {
        Self {
            inventory: inventory.map(|(_, inventory)| inventory),
            digest: inventory.map(|(digest, _)| digest),
            judgement,
            choices: Memo::default(),
            outlooks: Memo::default(),
            released: OnceCell::new(),
            asked: RefCell::default(),
            along: RefCell::default(),
        }
    }

    /// The same, but for these targets.
    pub(crate) fn with(&self, targets: &[(usize, DebianVersion)]) -> Self {
        let mut judgement = Judgement::clone(&self.judgement);
        for (place, version) in targets {
            judgement.judged[*place].outcome = Outcome::Change(Some(version.clone()));
        }
        Self::new(Arc::new(judgement), self.digest.zip(self.inventory))
    }

    /// How to go about one requirement by itself, as far as the machine was asked.
    pub(crate) fn alone(
        &self,
        snapshot: &Snapshot,
        resources: &Resources<'_>,
        merged: &Merged,
        place: usize,
    ) -> Rc<Choice> {
        self.choose(snapshot, resources, merged, vec![place], || None)
    }

    /// The proposals that were looked for so far: what is chosen may be another once one of them comes or goes.
    pub(crate) fn asked(&self) -> Ref<'_, BTreeSet<ProposalKey>> {
        self.asked.borrow()
    }

    /// The baselines (by number) whose items came along in what was looked at so far: what is chosen may be another once one of
    /// these rollouts moves.
    pub(crate) fn along(&self) -> Ref<'_, BTreeSet<usize>> {
        self.along.borrow()
    }

    /// How to go about the `ready` requirements: all in one transaction if that may be, else those that may be by
    /// themselves. So one that apt refuses, or that another baseline forbids, holds up nothing else. `last`: what such a machine
    /// was asked before, which is not named anew if it is asked again.
    pub(crate) fn choose<'b>(
        &self,
        snapshot: &Snapshot,
        resources: &Resources<'_>,
        merged: &Merged,
        ready: Vec<usize>,
        last: impl Fn() -> Option<&'b Arc<Wanted>>,
    ) -> Rc<Choice> {
        let chooser = Chooser { evaluation: self, snapshot, resources, merged, last: &last };
        self.choices.of(ready, |ready| chooser.choose(ready))
    }
}

struct Chooser<'a, 'b> {
    evaluation: &'a Evaluation<'a>,
    snapshot: &'a Snapshot,
    resources: &'a Resources<'a>,
    merged: &'a Merged,
    last: &'a dyn Fn() -> Option<&'b Arc<Wanted>>,
}

/// What of a refused group is known to be fine, in groups, and what is to blame, each by itself.
#[derive(Default)]
struct Sieve {
    fine: Vec<Vec<usize>>,
    refused: Vec<(usize, Reason)>,
}

enum Answer {
    Awaited(Arc<Wanted>),
    Refused(Reason),
    Fine(Arc<Wanted>, ProposalKey, Transaction),
}

impl Chooser<'_, '_> {
    fn choose(&self, ready: &[usize]) -> Choice {
        if ready.is_empty() {
            return self.picked(Vec::new(), Answer::Awaited(self.wanted(&[])), Vec::new());
        }
        let reason = match self.answer(ready) {
            Answer::Refused(reason) => reason,
            answer => return self.picked(ready.to_vec(), answer, Vec::new()),
        };
        let mut sieve = Sieve::default();
        if let Some((group, question)) = self.sift(ready, reason.clone(), &mut sieve) {
            return self.picked(group, question, sieve.refused);
        }
        let Sieve { fine, refused } = sieve;
        let mut together: Vec<usize> = fine.concat();
        together.sort_unstable();
        let answer =
            if together.len() == ready.len() { Answer::Refused(reason) } else { self.answer(&together) };
        match (answer, fine.into_iter().next()) {
            (_, None) => self.picked(Vec::new(), Answer::Awaited(self.wanted(&[])), refused),
            // Each group is fine by itself; where together they are not, one comes after the other.
            (Answer::Refused(_), Some(first)) => {
                let answer = self.answer(&first);
                self.picked(first, answer, refused)
            }
            (answer @ (Answer::Awaited(_) | Answer::Fine(..)), Some(_)) => {
                self.picked(together, answer, refused)
            }
        }
    }

    /// Finds out which of a refused group are to blame, by halves: a few among hundreds of upgrades take a few questions.
    /// Gives the next question that is not answered yet, if it takes one: what is known to be fine could start, but the
    /// whole is worth one more question.
    fn sift(&self, group: &[usize], reason: Reason, sieve: &mut Sieve) -> Option<(Vec<usize>, Answer)> {
        if let [alone] = group {
            sieve.refused.push((*alone, reason));
            return None;
        }
        let (left, right) = group.split_at(group.len() / 2);
        for half in [left, right] {
            match self.answer(half) {
                Answer::Fine(..) => sieve.fine.push(half.to_vec()),
                Answer::Refused(reason) => {
                    if let Some(question) = self.sift(half, reason, sieve) {
                        return Some(question);
                    }
                }
                question @ Answer::Awaited(_) => return Some((half.to_vec(), question)),
            }
        }
        None
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
        self.evaluation.asked.borrow_mut().insert(key.clone());
        let Some(proposal) = self.snapshot.proposals.get(&key) else { return Answer::Awaited(wanted) };
        match crate::transaction::transaction(self.resources, self.merged, self.evaluation, picked, proposal)
        {
            Ok(transaction) => {
                let named =
                    transaction.dependencies.iter().filter_map(|one| self.merged.asked_of(&one.package));
                let by = named.flat_map(|place| &self.merged.enforced[place].by);
                self.evaluation.along.borrow_mut().extend(by);
                Answer::Fine(wanted, key, transaction)
            }
            Err(reason) => Answer::Refused(reason),
        }
    }

    fn wanted(&self, picked: &[usize]) -> Arc<Wanted> {
        let items = picked.iter().filter_map(|place| match &self.evaluation.judged[*place].outcome {
            Outcome::Change(version) => Some(WantedItem {
                package: self.merged.enforced[*place].key.clone(),
                version: version.clone(),
            }),
            Outcome::Met
            | Outcome::Hold
            | Outcome::Boot(_)
            | Outcome::SetDefault(_)
            | Outcome::Repair
            | Outcome::NotCovered
            | Outcome::Blocked(_) => None,
        });
        let mut items: Vec<WantedItem> = items.collect();
        let spares = picked.iter().flat_map(|place| self.evaluation.spares_of(self.merged, *place));
        items.extend(spares.map(|key| WantedItem { package: key.clone(), version: None }));
        // Upgrades come after what is asked by name.
        items.sort();
        items.dedup();
        if items.is_empty() {
            return self.merged.nothing.clone();
        }
        let interest = &self.merged.nothing.interest;
        let is_item = |(last, item): (&WantedItem, &WantedItem)| {
            last.package == item.package && are_written_alike(&last.version, &item.version)
        };
        if let Some(last) = (self.last)()
            && last.items.len() == items.len()
            && last.items.iter().zip(&items).all(is_item)
            && last.interest == *interest
        {
            return last.clone();
        }
        let interest = interest.clone();
        Arc::new(Wanted::new(WantedSet { interest, items }))
    }
}
