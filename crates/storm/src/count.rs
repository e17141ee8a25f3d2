//! How often each rule held something back, as far as the decisions and what became of them show.

use std::collections::BTreeMap;

use muster_fleet::{Decision, Effect};
use muster_model::{Activity, OutcomeReason, Phase, Verdict};

/// Numbers of one run, or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    rules: BTreeMap<&'static str, u64>,
    /// Activities that were created.
    pub activities: u64,
}

impl Counts {
    fn bind(&mut self, rule: &'static str) {
        *self.rules.entry(rule).or_insert(0) += 1;
    }

    /// How often a rule held something back, by its name.
    #[must_use]
    pub fn rules(&self) -> &BTreeMap<&'static str, u64> {
        &self.rules
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        for (rule, times) in &other.rules {
            *self.rules.entry(rule).or_insert(0) += times;
        }
        self.activities += other.activities;
    }

    pub(crate) fn note_decision(&mut self, decision: &Decision) {
        let verdicts =
            decision.plan.requirements.iter().map(|one| &one.verdict).chain([&decision.plan.verdict]);
        let mut rules: Vec<&'static str> = verdicts
            .filter(|verdict| {
                !matches!(verdict, Verdict::Converged | Verdict::Start(_) | Verdict::Active { .. })
            })
            .map(Verdict::rule)
            .collect();
        rules.sort_unstable();
        rules.dedup();
        for rule in rules {
            self.bind(rule);
        }
    }

    pub(crate) fn note_created(&mut self, activity: &Activity) {
        self.activities += 1;
        if activity.spec.steps.len() > 1 {
            self.bind("B5");
        }
        if activity.spec.steps.iter().any(|step| step.baselines.len() > 1) {
            self.bind("A8");
        }
        if !activity.spec.budgets.is_empty() {
            self.bind("B6");
        }
    }

    pub(crate) fn note_effect(&mut self, effect: &Effect) {
        match effect {
            Effect::AdoptActivity { .. } => self.bind("A3"),
            Effect::EndActivity { phase: Phase::Expired, .. } => self.bind("A4"),
            Effect::EndActivity { outcome: OutcomeReason::Contradicted, .. } => self.bind("A9"),
            Effect::EndActivity { outcome: OutcomeReason::NotAdopted, .. } => self.bind("A3"),
            Effect::EndActivity { phase: Phase::Canceled, .. } | Effect::AskCancel { .. } => self.bind("A5"),
            Effect::EndActivity { .. } => self.bind("A4"),
            Effect::DeleteActivity { .. } => self.bind("A10"),
            Effect::CreateActivity { .. }
            | Effect::RecordMachine { .. }
            | Effect::RecordBaseline { .. }
            | Effect::RecordWindow { .. }
            | Effect::RecordBudget { .. }
            | Effect::RecordRollout { .. }
            | Effect::RecordEstimates { .. }
            | Effect::DeleteRollout { .. }
            | Effect::Mark { .. }
            | Effect::Collect { .. }
            | Effect::Tell(_) => {}
        }
    }
}
