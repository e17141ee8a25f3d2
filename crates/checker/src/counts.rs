//! How often each rule held something back: a storm in which a rule was never binding has not tried it.
//!
//! Most of it is read from [`What::Decided`], each time that a machine comes to be held back by a rule; the rest is what
//! events themselves show. No check trusts any of this.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{MachineName, OutcomeReason, Phase};
use smol_str::SmolStr;

use crate::event::{ActivityFinished, Decided, Event, What};
use crate::unavailable::Standing;
use crate::world::World;

/// How often each rule was binding, and each fault fired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By rule: `W1`.
    pub binding: BTreeMap<SmolStr, u64>,
    /// By kind.
    pub faults: BTreeMap<SmolStr, u64>,
    /// Starts that were judged.
    pub starts: u64,
    /// The rules that hold a machine back now, so that only a change counts.
    held: BTreeMap<MachineName, BTreeSet<SmolStr>>,
}

impl Counts {
    fn bind(&mut self, rule: &str) {
        *self.binding.entry(SmolStr::new(rule)).or_insert(0) += 1;
    }

    /// Adds another log's.
    pub fn add(&mut self, other: &Self) {
        for (rule, count) in &other.binding {
            *self.binding.entry(rule.clone()).or_insert(0) += count;
        }
        for (kind, count) in &other.faults {
            *self.faults.entry(kind.clone()).or_insert(0) += count;
        }
        self.starts += other.starts;
    }

    /// What a start was judged by.
    pub(crate) fn numbers(&mut self, standing: &Standing) {
        // A number with a place taken; one that a machine that counts already did not have to take again.
        if !standing.unavailable.is_empty() {
            self.bind("B1");
        }
        if standing.counted {
            self.bind("B3");
        }
    }

    /// Takes in an event, in the world before it.
    pub(crate) fn follow(&mut self, world: &World, event: &Event) {
        match &event.event {
            What::Decided(decided) => self.decided(decided),
            What::MachineGone { name } => drop(self.held.remove(name)),
            What::ActivityCreated(created) => {
                self.starts += 1;
                if world.highest.get(&created.spec.name.machine).is_some_and(|highest| *highest > 0) {
                    self.bind("A1");
                }
                if created.epoch < world.epoch {
                    self.bind("A3");
                }
                if !created.spec.overrides.is_empty() {
                    self.bind("W9");
                }
            }
            What::ActivityAdopted { .. } => self.bind("A3"),
            What::CancelRequested { .. } => self.bind("A5"),
            What::ActivityDeleted { .. } => self.bind("A10"),
            What::ActivityFinished(finished) => self.finished(world, finished),
            What::Silent { .. } => self.bind("B4"),
            What::Fault { kind, begins: true, .. } => *self.faults.entry(kind.clone()).or_insert(0) += 1,
            _ => {}
        }
    }

    fn finished(&mut self, world: &World, finished: &ActivityFinished) {
        if let Some(activity) = world.activities.get(&finished.name) {
            let gone = |budget| {
                let machine = world.machines.get(&finished.name.machine);
                let kept = world.budgets.get(budget).and_then(|kept| kept.now());
                kept.zip(machine).is_none_or(|(budget, machine)| {
                    !machine.surely(&budget.selector, activity.created, jiff::SignedDuration::ZERO)
                })
            };
            if activity.spec.budgets.iter().any(gone) {
                self.bind("B6");
            }
        }
        match finished.phase {
            Phase::Canceled => self.bind("A5"),
            Phase::Refused | Phase::Expired => self.bind("A2"),
            Phase::Pending
            | Phase::Delivered
            | Phase::Running
            | Phase::Verifying
            | Phase::Succeeded
            | Phase::Failed
            | Phase::Interrupted => {}
        }
        match finished.outcome {
            Some(
                OutcomeReason::TimedOut
                | OutcomeReason::Unreachable
                | OutcomeReason::Undelivered
                | OutcomeReason::NotBegun,
            ) => self.bind("A4"),
            Some(OutcomeReason::Contradicted) => self.bind("A9"),
            Some(OutcomeReason::NotAdopted) => self.bind("A3"),
            Some(OutcomeReason::WindowClosed) => self.bind("W6"),
            Some(OutcomeReason::PlanMismatch) => self.bind("A7"),
            Some(OutcomeReason::VersionGone) => self.bind("V4"),
            Some(OutcomeReason::BootFallback | OutcomeReason::RebootNotObserved) => self.bind("K2"),
            Some(OutcomeReason::RebootLoop) => self.bind("K4"),
            Some(_) | None => {}
        }
    }

    fn decided(&mut self, decided: &Decided) {
        let holds = |verdict: &str| matches!(verdict, "Waiting" | "Blocked" | "Unmanaged" | "Unknown");
        let mut rules: BTreeSet<SmolStr> = BTreeSet::new();
        if holds(&decided.verdict) {
            rules.insert(decided.rule.clone());
        }
        let requirements = decided.requirements.iter().filter(|one| holds(&one.verdict));
        rules.extend(requirements.map(|one| one.rule.clone()));
        let before = self.held.insert(decided.machine.clone(), rules.clone()).unwrap_or_default();
        for rule in rules.difference(&before) {
            self.bind(rule);
        }
    }
}
