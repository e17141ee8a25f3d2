//! What desired resources would do to a fleet: the planner's own answer, as a report (promise P1).
//!
//! `desired` reads and judges the resources, `overlay` puts them into the world, `outlook` asks the planner, `report` is
//! the answer, `text` and `markdown` are for people. Deliberately not here: any decision about a machine.

mod desired;
mod foresight;
mod groups;
mod held;
mod markdown;
mod outlook;
mod overlay;
mod places;
mod report;
mod text;

use std::collections::BTreeMap;

use muster_model::{BaselineRef, Machine, MachineName, PackageBaseline, Snapshot};
use muster_planner::forecast;
use muster_source::{ChangeSet, Problem, Rejected};
use muster_state::Owners;

use crate::foresee::turn;

pub(crate) use self::desired::{Judged, Wish, WishError, wish};
pub(crate) use self::foresight::{ForecastReport, in_words, of_forecast, why_not};
pub(crate) use self::groups::count;
pub(crate) use self::markdown::markdown;
pub(crate) use self::overlay::{Replaced, overlay};
pub(crate) use self::report::Report;
pub(crate) use self::text::text;

use self::held::held;
use self::outlook::Outlook;
use self::places::Places;
use self::report::{
    Answer, CancelReport, ChangeKind, ChangeReport, LimitReport, MachineReport, Totals, answers,
};

/// What is asked.
pub(crate) struct Question<'a> {
    /// The fleet.
    pub(crate) namespace: &'a str,
    /// As it is, at the instant of the plan.
    pub(crate) world: &'a Snapshot,
    /// Who put what there.
    pub(crate) owners: &'a Owners,
    /// Whose resources are replaced.
    pub(crate) replaced: &'a Replaced,
    /// By what, and what that is compared with.
    pub(crate) wish: &'a Wish,
}

/// What to end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing happens.
    Nothing,
    /// Something happens, or cannot be ruled out.
    Changes,
    /// The desired resources have problems.
    Problems,
    /// More machines are affected than the fleet policy allows.
    LimitExceeded,
}

/// The answer.
pub(crate) fn report(question: &Question<'_>) -> Report {
    let Question { namespace, world, owners, replaced, wish } = question;
    let head = match &wish.head {
        Ok(set) => set,
        Err(rejected) => return of_rejected(namespace, world, rejected),
    };
    let after = overlay(world, owners, replaced, head);
    let outlook = Outlook::of(&after);
    let found = forecast(&after);
    let places = Places::of_set(Some(head));
    let new = answers(&outlook, &places);
    let before = wish.base.as_ref().map(|base| Before::of(question, base));
    let machines: Vec<MachineReport> = new
        .into_iter()
        .map(|(name, answer)| MachineReport {
            namespace: (*namespace).to_owned(),
            change: before.as_ref().and_then(|before| before.change(&after, &name, &answer)),
            forecast: turn(&found, &name),
            name: name.to_string(),
            answer,
        })
        .collect();
    let is_affected = |machine: &&MachineReport| match (&before, &machine.change) {
        (Some(_), change) => change.as_ref().is_some_and(|change| change.of == ChangeKind::Work),
        (None, _) => machine.answer.is_work(),
    };
    let affected = machines.iter().filter(is_affected).count();
    let problems = [places.conflicts(&outlook.plan), places.circles(&outlook.circles)].concat();
    let cancels = outlook.plan.cancels.iter();
    Report {
        revision: head.revision.clone(),
        base: before.as_ref().map(|before| before.revision.clone()),
        at: world.now,
        namespace: (*namespace).to_owned(),
        totals: Totals::of(&machines, affected),
        limit: limit(&[*world, &after], before.as_ref().map(|before| &before.world), affected),
        machines,
        cancels: cancels
            .map(|(name, reason)| CancelReport { activity: name.to_string(), reason: reason.as_str() })
            .collect(),
        problems_total: problems.len(),
        problems,
        next_time: outlook.plan.next,
        forecast: Some(of_forecast(&found)),
        held: held(world, owners, replaced, head, &after),
    }
}

/// Nothing would be applied of it (rule G1), so there is nothing to plan.
fn of_rejected(namespace: &str, world: &Snapshot, rejected: &Rejected) -> Report {
    let Rejected { revision, problems, total } = rejected;
    Report {
        revision: revision.clone(),
        base: None,
        at: world.now,
        namespace: namespace.to_owned(),
        machines: Vec::new(),
        cancels: Vec::new(),
        totals: Totals::default(),
        limit: None,
        problems: Vec::<Problem>::clone(problems),
        problems_total: *total,
        next_time: None,
        forecast: None,
        held: None,
    }
}

/// What would be without the change.
struct Before {
    revision: String,
    world: Snapshot,
    answers: BTreeMap<MachineName, Answer>,
}

impl Before {
    fn of(question: &Question<'_>, base: &Judged) -> Self {
        let Question { world, owners, replaced, .. } = question;
        let set: Option<&ChangeSet> = base.as_ref().ok();
        let (revision, before) = match set {
            Some(set) => (set.revision.clone(), overlay(world, owners, replaced, set)),
            // A revision with problems is not in force: the last good one is (rule G1).
            None => (in_force(world), (*world).clone()),
        };
        let answers = answers(&Outlook::of(&before), &Places::of_set(set));
        Self { revision, world: before, answers }
    }

    fn change(&self, after: &Snapshot, name: &MachineName, new: &Answer) -> Option<ChangeReport> {
        let old = self.answers.get(name);
        let blank;
        let old = match old {
            Some(old) => old,
            None => {
                blank = Answer::nothing();
                &blank
            }
        };
        let judged = old.verdict != "Unknown" || new.verdict != "Unknown";
        let same_work = old.work() == new.work() && (judged || !self.touches(after, name));
        if same_work && groups::when(old) == groups::when(new) {
            return None;
        }
        let of = if same_work { ChangeKind::Time } else { ChangeKind::Work };
        Some(ChangeReport { of, before: Box::new(old.clone()) })
    }

    /// Whether a baseline that the change makes, takes away or alters selects the machine: all that can be said of one
    /// that does not report.
    fn touches(&self, after: &Snapshot, name: &MachineName) -> bool {
        let worlds = [(&self.world, after), (after, &self.world)];
        worlds.into_iter().any(|(one, other)| {
            let Some(machine) = one.machines.get(name) else { return false };
            let packages = one.package_baselines.values().any(|baseline| {
                baseline.common.selector.matches(|key| machine.label(key)) && !has(other, baseline)
            });
            packages || kernels(one, machine) != kernels(other, machine)
        })
    }
}

/// Whether the other world has the same baseline, wherever it is written.
fn has(other: &Snapshot, baseline: &PackageBaseline) -> bool {
    let bare = |baseline: &PackageBaseline| {
        let mut baseline = baseline.clone();
        (baseline.common.provenance, baseline.common.generation) = (None, 0);
        baseline
    };
    other.package_baselines.get(&baseline.common.name).is_some_and(|there| bare(there) == bare(baseline))
}

fn kernels(world: &Snapshot, machine: &Machine) -> Vec<(BaselineRef, String)> {
    let selected = world.kernel_baselines.values();
    selected
        .filter(|baseline| baseline.common.selector.matches(|key| machine.label(key)))
        .map(|baseline| {
            let mut bare = muster_model::KernelBaseline::clone(baseline);
            (bare.common.provenance, bare.common.generation) = (None, 0);
            (baseline.reference(), format!("{bare:?}"))
        })
        .collect()
}

fn in_force(world: &Snapshot) -> String {
    world.revision.as_ref().map_or_else(|| "what is in force".to_owned(), ToString::to_string)
}

/// The fleet policy's limit: the narrowest of those in force and planned, since a change does not lift its own limit.
fn limit(worlds: &[&Snapshot], base: Option<&Snapshot>, affected: usize) -> Option<LimitReport> {
    let counted = |machine: &Machine| machine.admitted && !machine.revoked;
    let all = worlds.iter().copied().chain(base);
    let limits = all.filter_map(|world| {
        let of = world.machines.values().filter(|machine| counted(machine)).count();
        world.policy.blast_radius.map(|share| (share.max_unavailable_of(of), share))
    });
    let (allowed, share) = limits.min_by_key(|(allowed, share)| (*allowed, share.to_string()))?;
    Some(LimitReport { blast_radius: share.to_string(), allowed, affected, exceeded: affected > allowed })
}

impl Report {
    /// What it comes to.
    pub(crate) fn outcome(&self) -> Outcome {
        let changes = match self.base {
            Some(_) => self.machines.iter().any(|machine| machine.change.is_some()),
            // Of what cannot be judged nobody can say that there is nothing to do.
            None => self.machines.iter().any(|it| it.answer.is_work() || it.answer.verdict == "Unknown"),
        };
        if self.problems_total > 0 {
            Outcome::Problems
        } else if self.limit.as_ref().is_some_and(|limit| limit.exceeded) {
            Outcome::LimitExceeded
        } else if changes || !self.cancels.is_empty() {
            Outcome::Changes
        } else {
            Outcome::Nothing
        }
    }
}

impl Answer {
    /// Of a machine that is not there.
    fn nothing() -> Self {
        Self {
            verdict: "Unmanaged",
            rule: "",
            reason: "",
            message: "there is no such machine".to_owned(),
            until_time: None,
            clears: String::new(),
            blocker: None,
            requirements: Vec::new(),
            steps: Vec::new(),
            later: Vec::new(),
            needs: None,
            may_reboot: false,
        }
    }
}
