//! How often each rule held something back, as far as the decisions and what became of them show.

use std::collections::BTreeMap;

use muster_fleet::{Decision, Effect};
use muster_model::{
    Activity, BaselineCommon, BaselineKind, Change, OutcomeReason, PackageRequirement, Phase, RolloutSpec,
    StepAction, Target, Verdict,
};

use crate::api::{Kind, MachineObject, Value, rollout_name};
use crate::archive;
use crate::storm::Storm;

/// Rules whose holding back shows: in decisions, in what becomes of activities, or in what they are made of. Which are not
/// here, and why, is in docs/storm.md.
pub const RULES: &[&str] = &[
    "V1", "V2", "V3", "V4", "V5", "V6", "S1", "S2", "S3", "S4", "W1", "W2", "W5", "W6", "W7", "W9", "B1",
    "B2", "B3", "B4", "B5", "B6", "O1", "O2", "O3", "O4", "O5", "O6", "O7", "A1", "A2", "A3", "A4", "A5",
    "A6", "A7", "A8", "A9", "A10", "K1", "K2", "K3", "K4", "K5", "G2", "M1", "M2", "M3", "M4", "M5",
];

/// Numbers of one run, or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    rules: BTreeMap<&'static str, u64>,
    /// Activities that were created.
    pub activities: u64,
}

impl Counts {
    pub(crate) fn bind(&mut self, rule: &'static str) {
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

    /// Where the checker counted a rule more often by what it saw of the log, that counts.
    pub fn raise(&mut self, judged: &muster_checker::Counts) {
        for rule in RULES {
            let seen = judged.binding.get(*rule).copied().unwrap_or(0);
            let known = self.rules.entry(rule).or_insert(0);
            *known = (*known).max(seen);
        }
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
        for step in &activity.spec.steps {
            match &step.action {
                StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
                    for change in transaction.changes() {
                        match (&change.from, &change.to) {
                            (Some(from), Some(to)) if from < to => self.bind("V1"),
                            (Some(_), None) if archive::release_of(&change.package.name).is_some() => {
                                self.bind("K3");
                            }
                            _ => {}
                        }
                    }
                }
                StepAction::Reboot { kernel: Some(_), .. } => self.bind("K1"),
                StepAction::SetDefaultKernel(_) => self.bind("K2"),
                StepAction::SelectKernel(choice) if choice.followed.is_some() => self.bind("K5"),
                StepAction::HoldPackages { .. }
                | StepAction::RepairPackages
                | StepAction::SelectKernel(_)
                | StepAction::Reboot { kernel: None, .. } => {}
            }
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
            | Effect::DeleteApproval { .. }
            | Effect::Mark { .. }
            | Effect::Collect { .. }
            | Effect::Tell(_) => {}
        }
    }
}

impl Storm {
    /// A leader that begins in the middle of a window goes by when it opened, not by when it looked first (rule W5).
    pub(crate) fn count_lead(&mut self) {
        let now = self.now;
        let open = self
            .api
            .windows()
            .any(|window| window.when.as_ref().is_ok_and(|when| when.span_at(now).is_some()));
        if open {
            self.counts.bind("W5");
        }
    }

    /// What an activity shows of the baselines that ask for what it brings.
    pub(crate) fn count_items(&mut self, activity: &Activity) {
        let name = activity.spec.name.clone();
        let Some(object) = self.api.machine(&name.machine).cloned() else { return };
        let mut bound = Vec::new();
        for step in &activity.spec.steps {
            let (StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction)) =
                &step.action
            else {
                continue;
            };
            for change in &transaction.requested {
                let asked = self.asked_of(&object, change);
                let highest = asked.iter().map(|one| one.common.priority).max();
                if asked.iter().any(|one| Some(one.common.priority) != highest) {
                    bound.push("S1");
                }
                for one in asked.iter().filter(|one| Some(one.common.priority) == highest) {
                    bound.extend((!one.rollout.waves.is_empty()).then_some("O1"));
                    let meets = change.to.as_ref().is_some_and(|to| one.requirement.version.satisfied_by(to));
                    bound.extend((change.to.is_some() && !meets).then_some("O4"));
                    let first = name.number == 1 && self.is_released(one, change);
                    bound.extend(first.then_some("O5"));
                }
            }
        }
        bound.into_iter().for_each(|rule| self.counts.bind(rule));
    }

    /// Who asks for a package on a machine.
    fn asked_of(&self, object: &MachineObject, change: &Change) -> Vec<Asked> {
        let packages = self.api.all(Kind::PackageBaseline).chain(self.api.all(Kind::KernelBaseline));
        let asked = packages.filter_map(|stored| {
            let (kind, common, requirement, rollout) = match stored.value.as_ref() {
                Value::PackageBaseline(one) => {
                    let mut named = one.packages.iter().filter(|asked| asked.name == change.package.name);
                    (BaselineKind::PackageBaseline, &one.common, named.next()?, &one.rollout)
                }
                Value::KernelBaseline(one) => {
                    (BaselineKind::KernelBaseline, &one.common, &one.package, &one.rollout)
                }
                _ => return None,
            };
            let selects = common.selector.matches(|key| object.machine.label(key));
            (selects && requirement.name == change.package.name).then(|| Asked {
                kind,
                common: common.clone(),
                requirement: requirement.clone(),
                rollout: rollout.clone(),
            })
        });
        asked.collect()
    }

    fn is_released(&self, asked: &Asked, change: &Change) -> bool {
        let reference = muster_model::BaselineRef { kind: asked.kind, name: asked.common.name.clone() };
        let stored = self.api.get(Kind::Rollout, &rollout_name(&reference));
        let Some(Value::Rollout(_, rollout)) = stored.map(|stored| stored.value.as_ref()) else {
            return false;
        };
        rollout.items.iter().any(|(item, progress)| {
            let same = match (&item.target, &change.to) {
                (Target::Version(version), Some(to)) => version == to,
                (Target::Absent, None) => true,
                _ => false,
            };
            same && item.package == change.package && progress.released.is_some()
        })
    }
}

/// A baseline that asks for a package.
struct Asked {
    kind: BaselineKind,
    common: BaselineCommon,
    requirement: PackageRequirement,
    rollout: RolloutSpec,
}
