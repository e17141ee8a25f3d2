//! What is decided about one machine before budgets have their say, and the last word once they had it (rule S4).

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_model::{
    ActivitySpec, BaselineRef, Instant, Kernel, MachinePlan, PackageKey, PackageRequirement, PackageWish,
    ProposalKey, Reason, RequirementVerdict, Shared, StepAction, Verdict, VersionRequirement, WaitingOn,
    Wanted,
};
use smol_str::{SmolStr, format_smolstr};

use crate::baseline::Baseline;
use crate::case::Case;
use crate::evaluate::Judgement;
use crate::kernel;
use crate::machine::{State, States, asked};
use crate::merge::{Merged, Requirement};
use crate::order::rank;
use crate::select::Resources;
use crate::target::{Judged, Outcome, wording};

/// The answer for one machine, but for its budgets. What is said of each requirement follows from it, and is put into words
/// once for all that have it alike.
#[derive(Debug)]
pub(crate) struct Draft {
    /// What is decided already; what waits for its turn, of which there may be many, has none.
    pub(crate) verdict: Option<Box<Verdict>>,
    merged: Arc<Merged>,
    judgement: Arc<Judgement>,
    /// How all of it stands; `None`: nothing is said of it.
    pub(crate) states: Option<States>,
    reboot_required: bool,
    /// What the machine reports of its kernels, where a baseline asks for one.
    kernel: Option<Shared<Kernel>>,
    pub(crate) wanted: Arc<Wanted>,
    /// Holds that are ours by the report.
    pub(crate) holds: Shared<BTreeSet<PackageKey>>,
    /// What would start.
    pub(crate) spec: Option<Box<ActivitySpec>>,
    /// The proposals that were looked for besides those of the machine's own case.
    pub(crate) asked: BTreeSet<ProposalKey>,
    /// The baselines (by number) whose items came along in these.
    pub(crate) along: BTreeSet<usize>,
}

impl Draft {
    /// Nothing is decided yet, and nothing said.
    pub(crate) fn new(case: &Case<'_>, wanted: Arc<Wanted>, holds: Shared<BTreeSet<PackageKey>>) -> Self {
        let report = case.reported.map(|reported| &reported.report);
        Self {
            verdict: None,
            merged: case.merged.clone(),
            judgement: case.evaluation.judgement.clone(),
            states: None,
            reboot_required: report.is_some_and(|report| report.reboot_required.is_some()),
            kernel: report.filter(|_| case.merged.asks_for_kernels).map(|report| report.kernel.clone()),
            wanted,
            holds,
            spec: None,
            asked: BTreeSet::new(),
            along: BTreeSet::new(),
        }
    }

    /// Whether the same is said of both, given the same of what would start. What would start is told by name alone, and no
    /// two states of different machines are the same that name one.
    pub(crate) fn is_alike(&self, other: &Self) -> bool {
        let Self {
            verdict,
            merged,
            judgement,
            states,
            reboot_required,
            kernel,
            wanted,
            holds,
            spec: _,
            asked: _,
            along: _,
        } = self;
        Arc::ptr_eq(judgement, &other.judgement)
            && Arc::ptr_eq(merged, &other.merged)
            && Arc::ptr_eq(wanted, &other.wanted)
            && (verdict, states, reboot_required, holds)
                == (&other.verdict, &other.states, &other.reboot_required, &other.holds)
            && match (kernel, &other.kernel) {
                (Some(left), Some(right)) => kernel::cmp(left, right).is_eq(),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            }
    }

    /// What is said of how something stands, given what the budgets said of what would start.
    fn word<'a>(&'a self, state: &'a State, start: &'a Verdict) -> Option<&'a Verdict> {
        match state {
            State::Met => None,
            State::Ready => Some(start),
            // What was to come after an activity that does not start waits for what that waits for.
            State::Stuck(Verdict::Waiting(WaitingOn::Activity { activity }))
                if !matches!(start, Verdict::Start(_))
                    && self.spec.as_ref().is_some_and(|spec| spec.name == *activity) =>
            {
                Some(start)
            }
            State::Stuck(verdict) => Some(verdict),
        }
    }

    /// Says what is not as wanted: by which baseline (its number), what it is about (`None`: the reboot) with what that comes to
    /// (`None`: nothing is known of the machine's packages), and the verdict.
    pub(crate) fn each(
        &self,
        resources: &Resources<'_>,
        start: &Verdict,
        mut say: impl FnMut(usize, Option<(&Requirement, Option<&Judged>)>, &Verdict),
    ) {
        let Self { merged, judgement, states: Some(states), .. } = self else { return };
        for (place, state) in &states.enforced {
            let Some(verdict) = self.word(state, start) else { continue };
            let requirement = &merged.enforced[*place];
            let judged = judgement.judged.get(*place).map(|judged| &**judged);
            // Who asks for the package alone has what it asks for.
            let boots = judged.is_some_and(|judged| judged.outcome.boots().is_some());
            let is_kernel = |by: &&usize| resources.packages[**by].kernel.is_some();
            requirement
                .by
                .iter()
                .filter(|by| !boots || is_kernel(by))
                .for_each(|by| say(*by, Some((requirement, judged)), verdict));
        }
        for (place, requirement) in merged.observed.iter().enumerate() {
            let judged = judgement.observed.get(place).map(|judged| &**judged);
            let verdict = match judged.map(|judged| &judged.outcome) {
                Some(Outcome::Met) => continue,
                Some(Outcome::NotCovered) | None => asked([requirement.key.clone()]),
                Some(
                    Outcome::Hold
                    | Outcome::Boot(_)
                    | Outcome::SetDefault(_)
                    | Outcome::Change(_)
                    | Outcome::Repair
                    | Outcome::Blocked(_),
                ) => Verdict::Blocked(Reason::ObserveOnly),
            };
            requirement.by.iter().for_each(|by| say(*by, Some((requirement, judged)), &verdict));
        }
        for place in merged.reboots.iter().filter(|_| self.reboot_required) {
            let observes = Verdict::Blocked(Reason::ObserveOnly);
            let enforces = resources.enforces(*place);
            let verdict = if enforces { self.word(&states.reboot, start) } else { Some(&observes) };
            verdict.into_iter().for_each(|verdict| say(*place, None, verdict));
        }
    }

    /// With what the budgets said of what would start.
    pub(crate) fn decide(&self, resources: &Resources<'_>, start: &Verdict) -> MachinePlan {
        let entries = self.states.as_ref().map_or(0, |states| states.enforced.len());
        let mut requirements: Vec<RequirementVerdict> = Vec::with_capacity(entries);
        self.each(resources, start, |by, about, verdict| {
            let baseline = resources.packages[by];
            let (resource, installed, target) = match (about, &self.kernel) {
                (None, _) => {
                    let [resource, installed, target] =
                        ["reboot", "required", "rebooted"].map(SmolStr::new_static);
                    (resource, Some(installed), target)
                }
                // A kernel baseline is about what runs.
                (Some((requirement, judged)), Some(kernel))
                    if baseline.kernel.is_some() && !requirement.spare =>
                {
                    let target = kernel::aimed(kernel, requirement, outcome_of(judged));
                    (
                        SmolStr::new_static("kernel"),
                        Some(kernel::running(kernel, &requirement.key)),
                        target.unwrap_or_else(|| aimed(&baseline, requirement, judged)),
                    )
                }
                (Some((requirement, judged)), _) => {
                    (written(&requirement.key), installed(judged), aimed(&baseline, requirement, judged))
                }
            };
            let (baseline, verdict, target) = (baseline.reference(), verdict.clone(), Some(target));
            requirements.push(RequirementVerdict { baseline, resource, verdict, installed, target });
        });
        requirements.sort_by(|left, right| urgency(left).cmp(&urgency(right)));
        requirements.shrink_to_fit();
        let first = requirements.first().map(|first| &first.verdict);
        let lifts = || self.word(&self.states.as_ref()?.lifts, start);
        let verdict = match &self.verdict {
            Some(verdict) => Verdict::clone(verdict),
            None => first
                .into_iter()
                .chain(lifts())
                .min_by_key(|verdict| rank(verdict))
                .cloned()
                .unwrap_or(Verdict::Converged),
        };
        let mut holds = self.holds.clone();
        if let Verdict::Start(spec) = start {
            for step in &spec.steps {
                if let StepAction::HoldPackages { hold, unhold: _ } = &step.action {
                    holds.extend(hold.iter().cloned());
                }
            }
        }
        MachinePlan { verdict, requirements, total: self.merged.total(), wanted: self.wanted.clone(), holds }
    }
}

fn outcome_of(judged: Option<&Judged>) -> &Outcome {
    judged.map_or(&Outcome::NotCovered, |judged| &judged.outcome)
}

/// As its `Display`, without what formatting costs.
fn written(key: &PackageKey) -> SmolStr {
    [key.name.as_str(), ":", key.architecture.as_str()].into_iter().collect()
}

/// What is there, for people.
fn installed(judged: Option<&Judged>) -> Option<SmolStr> {
    let Some(judged) = judged else { return Some(SmolStr::new_static("unknown")) };
    judged.installed.as_ref().map(|version| match judged.outcome {
        Outcome::Repair => format_smolstr!("{version}, broken"),
        _ => SmolStr::new(version.as_str()),
    })
}

/// What is to be there, for people.
fn aimed(baseline: &Baseline<'_>, requirement: &Requirement, judged: Option<&Judged>) -> SmolStr {
    if requirement.conflict && baseline.packages.iter().any(|one| one.name == requirement.key.name) {
        return asked_by(baseline, &requirement.key);
    }
    match outcome_of(judged) {
        Outcome::Change(Some(version)) => SmolStr::new(version.as_str()),
        Outcome::Change(None) => SmolStr::new_static("absent"),
        Outcome::Hold => SmolStr::new_static("held"),
        Outcome::Met
        | Outcome::Boot(_)
        | Outcome::SetDefault(_)
        | Outcome::Repair
        | Outcome::NotCovered
        | Outcome::Blocked(_) => as_written(requirement.wish, &requirement.version),
    }
}

/// What a baseline that contradicts another, or itself, asks of a package (rule S2).
fn asked_by(baseline: &Baseline<'_>, key: &PackageKey) -> SmolStr {
    let is_about = |one: &&PackageRequirement| {
        one.name == key.name && one.architecture.as_ref().is_none_or(|of| *of == key.architecture)
    };
    let asked = baseline.packages.iter().filter(is_about).map(|one| as_written(one.state, &one.version));
    SmolStr::from(asked.collect::<Vec<_>>().join("; "))
}

fn as_written(wish: PackageWish, version: &VersionRequirement) -> SmolStr {
    match wish {
        PackageWish::Absent => SmolStr::new_static("absent"),
        PackageWish::Present => SmolStr::from(wording(version)),
    }
}

/// By which the requirements of a machine are in order: what is to be looked at soonest comes first (rule S4).
fn urgency(requirement: &RequirementVerdict) -> (u8, bool, Option<Instant>, &SmolStr, &BaselineRef) {
    let RequirementVerdict { baseline, resource, verdict, installed: _, target: _ } = requirement;
    let until = verdict.until();
    (rank(verdict), until.is_none(), until, resource, baseline)
}
