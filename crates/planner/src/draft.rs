//! What is decided about one machine before budgets have their say, and the last word once they had it (rule S4).

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_model::{
    ActivitySpec, BaselineRef, Instant, MachinePlan, PackageKey, PackageWish, ProposalKey, Reason, Report,
    RequirementVerdict, Shared, StepAction, Verdict, WaitingOn, Wanted,
};
use smol_str::{SmolStr, ToSmolStr, format_smolstr};

use crate::case::Case;
use crate::kernel;
use crate::machine::{State, States, World, asked};
use crate::merge::Requirement;
use crate::order::rank;
use crate::select::Resources;
use crate::target::{Judged, Outcome, wording};

/// A requirement that is not as wanted.
#[derive(Debug, PartialEq)]
pub(crate) struct Entry {
    /// Whose it is: the baseline's number.
    pub(crate) by: usize,
    words: Arc<Words>,
    state: State,
}

/// How a requirement is told, whoever's it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Words {
    resource: SmolStr,
    installed: Option<SmolStr>,
    target: SmolStr,
}

impl Words {
    fn of(requirement: &Requirement, judged: &Judged) -> Self {
        let target = match &judged.outcome {
            Outcome::Change(Some(version)) => version.to_smolstr(),
            Outcome::Change(None) => SmolStr::new_static("absent"),
            Outcome::Hold => SmolStr::new_static("held"),
            Outcome::Met
            | Outcome::Boot(_)
            | Outcome::SetDefault(_)
            | Outcome::Repair
            | Outcome::NotCovered
            | Outcome::Blocked(_) => match requirement.wish {
                PackageWish::Absent => SmolStr::new_static("absent"),
                PackageWish::Present => SmolStr::from(wording(&requirement.version)),
            },
        };
        let installed = judged.installed.as_ref().map(|version| match judged.outcome {
            Outcome::Repair => format_smolstr!("{version}, broken"),
            _ => version.to_smolstr(),
        });
        Self { resource: requirement.key.to_smolstr(), installed, target }
    }

    /// The same where nothing is known of the machine's packages.
    fn of_unknown(requirement: &Requirement, judged: &Judged) -> Self {
        let installed = Some(SmolStr::new_static("unknown"));
        Self { installed, ..Self::of(requirement, judged) }
    }

    /// The same of a kernel baseline: it is about what runs.
    fn of_kernel(self: &Arc<Self>, report: &Report, requirement: &Requirement, judged: &Judged) -> Arc<Self> {
        let target = kernel::aimed(report, requirement, &judged.outcome);
        Arc::new(Self {
            resource: SmolStr::new_static("kernel"),
            installed: Some(kernel::running(report, &requirement.key)),
            target: target.unwrap_or_else(|| self.target.clone()),
        })
    }
}

/// The answer for one machine, but for its budgets.
#[derive(Debug)]
pub(crate) struct Draft {
    /// What is decided already.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) lifts: State,
    pub(crate) total: usize,
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

/// What is not as wanted on one machine.
pub(crate) fn entries(world: &World<'_>, case: &Case<'_>, states: &States) -> Vec<Entry> {
    let mut entries = Vec::new();
    let words = if case.evaluation.inventory.is_some() { Words::of } else { Words::of_unknown };
    let blank = Shared::from(Judged { outcome: Outcome::NotCovered, installed: None, held: false });
    for (place, state) in &states.enforced {
        if *state != State::Met {
            let requirement = &case.merged.enforced[*place];
            let judged = case.evaluation.judged.get(*place).unwrap_or(&blank);
            // Who asks for the package alone has what it asks for.
            let is_kernel = |by: &&usize| world.resources.packages[**by].kernel.is_some();
            let by = requirement.by.iter().filter(|by| judged.outcome.boots().is_none() || is_kernel(by));
            let words = case.evaluation.words.of(*place, |_| Arc::new(words(requirement, judged)));
            entries
                .extend(by.map(|by| entry(world, case, *by, (requirement, judged, &words), state.clone())));
        }
    }
    for (place, requirement) in case.merged.observed.iter().enumerate() {
        let judged = case.evaluation.observed.get(place).unwrap_or(&blank);
        let verdict = match judged.outcome {
            Outcome::Met => continue,
            Outcome::NotCovered => asked([requirement.key.clone()]),
            Outcome::Hold
            | Outcome::Boot(_)
            | Outcome::SetDefault(_)
            | Outcome::Change(_)
            | Outcome::Repair
            | Outcome::Blocked(_) => Verdict::Blocked(Reason::ObserveOnly),
        };
        let stuck = || State::Stuck(verdict.clone());
        let words = Arc::new(words(requirement, judged));
        let by = requirement.by.iter();
        entries.extend(by.map(|by| entry(world, case, *by, (requirement, judged, &words), stuck())));
    }
    let Some(reported) = case.reported else { return entries };
    if reported.report.reboot_required.is_some() {
        let words = Arc::new(Words {
            resource: SmolStr::new_static("reboot"),
            installed: Some(SmolStr::new_static("required")),
            target: SmolStr::new_static("rebooted"),
        });
        for place in &case.merged.reboots {
            let observes = State::Stuck(Verdict::Blocked(Reason::ObserveOnly));
            entries.push(Entry {
                by: *place,
                words: words.clone(),
                state: if world.resources.enforces(*place) { states.reboot.clone() } else { observes },
            });
        }
    }
    entries
}

fn entry(
    world: &World<'_>,
    case: &Case<'_>,
    by: usize,
    (requirement, judged, words): (&Requirement, &Judged, &Arc<Words>),
    state: State,
) -> Entry {
    let follows = world.resources.packages[by].kernel.is_some() && !requirement.spare;
    let words = match case.reported.filter(|_| follows) {
        Some(reported) => words.of_kernel(&reported.report, requirement, judged),
        None => words.clone(),
    };
    Entry { by, words, state }
}

impl Draft {
    /// Whether the same is said of both, given the same of what would start. What would start is told by name alone, and no
    /// two entries of different machines are the same that name one.
    pub(crate) fn is_alike(&self, other: &Self) -> bool {
        let Self { verdict, entries, lifts, total, wanted, holds, spec: _, asked: _, along: _ } = self;
        Arc::ptr_eq(wanted, &other.wanted)
            && (verdict, lifts, total, holds) == (&other.verdict, &other.lifts, &other.total, &other.holds)
            && *entries == other.entries
    }

    /// What is said of an entry, given what the budgets said of what would start.
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

    /// With what the budgets said of what would start.
    pub(crate) fn decide(&self, resources: &Resources<'_>, start: &Verdict) -> MachinePlan {
        let verdicts = self.entries.iter().filter_map(|entry| {
            let verdict = self.word(&entry.state, start)?;
            let requirement = RequirementVerdict {
                baseline: resources.packages[entry.by].reference(),
                resource: entry.words.resource.clone(),
                verdict: verdict.clone(),
                installed: entry.words.installed.clone(),
                target: Some(entry.words.target.clone()),
            };
            Some(requirement)
        });
        let mut requirements: Vec<RequirementVerdict> = Vec::with_capacity(self.entries.len());
        requirements.extend(verdicts);
        requirements.sort_by(|left, right| urgency(left).cmp(&urgency(right)));
        let first = requirements.first().map(|first| &first.verdict);
        let verdict = match &self.verdict {
            Some(verdict) => verdict.clone(),
            None => first
                .into_iter()
                .chain(self.word(&self.lifts, start))
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
        MachinePlan { verdict, requirements, total: self.total, wanted: self.wanted.clone(), holds }
    }

    /// What is said of baselines' requirements, by the baselines' numbers.
    pub(crate) fn verdicts<'a>(&'a self, start: &'a Verdict) -> impl Iterator<Item = (usize, &'a Verdict)> {
        self.entries.iter().filter_map(move |entry| Some((entry.by, self.word(&entry.state, start)?)))
    }
}

/// By which the requirements of a machine are in order: what is to be looked at soonest comes first (rule S4).
fn urgency(requirement: &RequirementVerdict) -> (u8, bool, Option<Instant>, &SmolStr, &BaselineRef) {
    let RequirementVerdict { baseline, resource, verdict, installed: _, target: _ } = requirement;
    (rank(verdict), verdict.until().is_none(), verdict.until(), resource, baseline)
}
