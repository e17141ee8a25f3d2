//! The answer for one machine, up to its budgets (rule S4).
//!
//! The gates, in order: is it managed; is anything known of it; does it do something already; then each requirement by
//! itself: what it comes to, whether it may be tried, whether the machine may start at all, what the transaction is,
//! whether the windows are open. Budgets come last, over all machines (`budget`).

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_model::{
    Activity, ActivitySpec, BaselineRef, Capability, Machine, MachinePlan, PackageKey, Presence, ProposalKey,
    Reason, RequirementVerdict, Snapshot, StepAction, Suspender, Unmanaged, Verdict, WaitingOn, Wanted,
    kernel_release,
};
use smol_str::{SmolStr, ToSmolStr, format_smolstr};

use crate::attempts::Subject;
use crate::boots;
use crate::case::Case;
use crate::evaluate::Choice;
use crate::kernel;
use crate::merge::Requirement;
use crate::order::rank;
use crate::overrides::{Overrides, let_pass};
use crate::reboot::reboot;
use crate::rollout::{Lowered, Rollouts};
use crate::select::Resources;
use crate::steps;
use crate::target::{Judged, Outcome, wording};
use crate::timer::Timer;
use crate::upgrade::UPGRADES_AT_ONCE;
use crate::window::Windows;

/// What all machines' decisions look at.
pub(crate) struct World<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) resources: &'a Resources<'a>,
    pub(crate) windows: Windows<'a>,
    pub(crate) rollouts: &'a Rollouts,
    /// With the last released targets (rule O4).
    pub(crate) lowered: Lowered<'a>,
    pub(crate) overrides: Overrides<'a>,
    pub(crate) timer: &'a Timer,
}

/// How one requirement stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    /// As wanted.
    Met,
    /// Nothing is done about it now, and why.
    Stuck(Verdict),
    /// To be done.
    Ready,
}

impl State {
    pub(crate) fn is_ready(&self) -> bool {
        *self == Self::Ready
    }

    /// If it is to be done: not now.
    pub(crate) fn stick(&mut self, verdict: &Verdict) {
        if self.is_ready() {
            *self = Self::Stuck(verdict.clone());
        }
    }

    /// If it is stuck for `that` reason: for this instead.
    pub(crate) fn instead(&mut self, that: &Verdict, this: &Verdict) {
        if matches!(self, Self::Stuck(verdict) if verdict == that) {
            *self = Self::Stuck(this.clone());
        }
    }
}

/// How everything on one machine stands.
pub(crate) struct States {
    /// Along `Merged::enforced`.
    pub(crate) enforced: Vec<State>,
    /// Holds of ours to lift.
    pub(crate) lifts: State,
    pub(crate) reboot: State,
}

impl States {
    pub(crate) fn each(&mut self) -> impl Iterator<Item = &mut State> {
        self.enforced.iter_mut().chain([&mut self.lifts, &mut self.reboot])
    }
}

/// A requirement that is not as wanted.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Whose it is: the baseline's number.
    pub(crate) by: usize,
    resource: SmolStr,
    state: State,
    installed: Option<SmolStr>,
    target: Option<SmolStr>,
}

/// The answer for one machine, but for its budgets.
#[derive(Debug)]
pub(crate) struct Draft {
    /// What is decided already.
    verdict: Option<Verdict>,
    pub(crate) entries: Vec<Entry>,
    lifts: State,
    pub(crate) total: usize,
    pub(crate) wanted: Arc<Wanted>,
    /// Holds that are ours by the report.
    pub(crate) holds: BTreeSet<PackageKey>,
    /// What would start.
    pub(crate) spec: Option<Box<ActivitySpec>>,
    /// The proposals that were looked for.
    pub(crate) asked: BTreeSet<ProposalKey>,
}

pub(crate) fn draft<'a>(world: &World<'a>, case: &Case<'a>) -> Draft {
    let lowered = world.rollouts.lower(world.resources, &world.lowered, case);
    let case = lowered.as_ref().unwrap_or(case);
    let evaluation = &case.evaluation;
    let mut states = judge(world, case);
    boots::leave_to_kernels(case, &mut states);
    let places = 0..states.enforced.len();
    let is_change = |place: &usize| matches!(evaluation.judged[*place].outcome, Outcome::Change(_));
    let mut ready: Vec<usize> =
        places.filter(|place| states.enforced[*place].is_ready()).filter(is_change).collect();
    let named = ready.partition_point(|place| *place < case.merged.named);
    ready.truncate(named + UPGRADES_AT_ONCE);
    let passes = let_pass(world, case, &mut states, &mut ready);
    let choice = evaluation.choose(world.snapshot, world.resources, &case.merged, ready);
    let mut draft = Draft {
        verdict: None,
        entries: Vec::new(),
        lifts: State::Met,
        total: case.merged.total(),
        wanted: choice.wanted.clone(),
        holds: holds(case),
        spec: None,
        asked: evaluation.asked(),
    };
    if let Some(unmanaged) = unmanaged(case) {
        draft.verdict = Some(Verdict::Unmanaged(unmanaged));
        return draft;
    }
    if let Some(unknown) = case.unknown {
        draft.verdict = Some(Verdict::Unknown(unknown));
        return draft;
    }
    if let Some(activity) = case.history.unfinished() {
        draft.verdict = Some(active(activity));
        engage(world.resources, case, &mut states, activity);
    } else {
        if let Some(gate) = gate(world, case) {
            states.each().for_each(|state| state.stick(&gate));
        }
        refuse(&mut states, &choice);
        draft.spec = steps::compose(world, case, &mut states, &choice, &passes).map(Box::new);
    }
    draft.entries = entries(world, case, &states);
    draft.lifts = states.lifts;
    draft
}

fn unmanaged(case: &Case<'_>) -> Option<Unmanaged> {
    if case.machine.revoked {
        Some(Unmanaged::Revoked)
    } else if !case.machine.admitted {
        Some(Unmanaged::NotAdmitted)
    } else if case.picked.packages.is_empty() && case.evaluation.lifts.is_empty() {
        Some(Unmanaged::NotSelected)
    } else {
        None
    }
}

/// How each requirement stands by itself.
fn judge(world: &World<'_>, case: &Case<'_>) -> States {
    let evaluation = &case.evaluation;
    let incapable = |capability| {
        let able = case.reported.is_some_and(|reported| reported.report.capabilities.contains(&capability));
        (!able).then_some(Verdict::Blocked(Reason::NotCapable { capability }))
    };
    let cannot_change = incapable(Capability::Packages);
    let cannot_simulate = incapable(Capability::ExactSimulation);
    let mut enforced: Vec<State> = case
        .merged
        .enforced
        .iter()
        .zip(&evaluation.judged)
        .enumerate()
        .map(|(place, (requirement, judged))| {
            let key = &requirement.key;
            let is_kernel = is_kernel(case, place);
            let retry = |subject| case.history.retry(case.machine, subject, world.timer);
            let gated = || world.rollouts.gate(world.resources, case, requirement, judged);
            let stuck = match &judged.outcome {
                Outcome::Met => return State::Met,
                Outcome::NotCovered => Some(asked([key.clone()])),
                Outcome::Blocked(reason) => Some(Verdict::Blocked(reason.clone())),
                Outcome::Hold => cannot_change.clone().or_else(|| retry(Subject::Hold(key))),
                Outcome::Repair => cannot_change.clone(),
                Outcome::Change(version) => cannot_change
                    .clone()
                    .or_else(|| cannot_simulate.clone())
                    .or_else(gated)
                    .or_else(|| retry(Subject::Item(key, version.as_ref())))
                    .or_else(|| {
                        let passes =
                            || world.overrides.of_change(world.resources, requirement, &judged.outcome);
                        if is_kernel { boots::closed(world, case, &passes()) } else { None }
                    }),
                Outcome::Boot(choice) => gated().or_else(|| boots::hindered(world, case, choice)),
                Outcome::SetDefault(choice) => retry(Subject::Kernel(choice)),
            };
            stuck.map_or(State::Ready, State::Stuck)
        })
        .collect();
    if evaluation.inventory.is_none() {
        enforced = case.merged.enforced.iter().map(|one| State::Stuck(asked([one.key.clone()]))).collect();
    }
    let lifts = match (evaluation.lifts.is_empty(), cannot_change) {
        (true, _) => State::Met,
        (false, None) => State::Ready,
        (false, Some(verdict)) => State::Stuck(verdict),
    };
    States { enforced, lifts, reboot: reboot_state(world, case) }
}

fn reboot_state(world: &World<'_>, case: &Case<'_>) -> State {
    let Some(reported) = case.reported else { return State::Met };
    let wanted = case.merged.reboots_any(world.resources);
    if reported.report.reboot_required.is_none() || !wanted {
        return State::Met;
    }
    let tries = boots::waiting(case, reported);
    reboot(case.machine, reported, case.history, tries.as_ref(), world.timer)
        .map_or(State::Ready, State::Stuck)
}

/// Whether a requirement is about a kernel: a kernel baseline's, or one for a package that brings kernels on the machine, as
/// far as that can be told before its apt is asked.
fn is_kernel(case: &Case<'_>, place: usize) -> bool {
    let key = &case.merged.enforced[place].key;
    case.merged.kernel.as_ref().is_some_and(|wish| wish.place == place)
        || kernel_release(&key.name).is_some()
        || case.reported.is_some_and(|reported| {
            let mut installed = reported.report.kernel.installed.iter();
            installed.any(|kernel| kernel.followed_by.contains_key(&key.name))
        })
}

fn asked(packages: impl IntoIterator<Item = PackageKey>) -> Verdict {
    Verdict::Waiting(WaitingOn::Inventory { packages: packages.into_iter().collect() })
}

fn active(activity: &Activity) -> Verdict {
    Verdict::Active { activity: activity.spec.name.clone(), phase: activity.phase }
}

/// While an activity is under way: what it serves is active, the rest waits for its end.
fn engage(resources: &Resources<'_>, case: &Case<'_>, states: &mut States, activity: &Activity) {
    let later = Verdict::Waiting(WaitingOn::Activity { activity: activity.spec.name.clone() });
    for (requirement, state) in case.merged.enforced.iter().zip(&mut states.enforced) {
        if *state != State::Met && serves(resources, activity, requirement) {
            *state = State::Stuck(active(activity));
        }
    }
    let steps = &activity.spec.steps;
    if steps.iter().any(|step| matches!(step.action, StepAction::Reboot { .. }))
        && states.reboot != State::Met
    {
        states.reboot = State::Stuck(active(activity));
    }
    states.each().for_each(|state| state.stick(&later));
}

fn serves(resources: &Resources<'_>, activity: &Activity, requirement: &Requirement) -> bool {
    let by: Vec<BaselineRef> =
        requirement.by.iter().map(|place| resources.packages[*place].reference()).collect();
    activity.spec.steps.iter().any(|step| {
        let touches = match &step.action {
            StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
                transaction.requested.iter().any(|change| change.package == requirement.key)
            }
            StepAction::HoldPackages { hold, unhold } => {
                hold.contains(&requirement.key) || unhold.contains(&requirement.key)
            }
            StepAction::RepairPackages => true,
            StepAction::SelectKernel(choice) | StepAction::SetDefaultKernel(choice) => {
                choice.followed.as_ref().is_some_and(|followed| followed.package == requirement.key)
            }
            StepAction::Reboot { .. } => false,
        };
        touches && by.iter().any(|baseline| step.baselines.contains_key(baseline))
    })
}

/// Why the machine may start nothing at all now, if so.
fn gate(world: &World<'_>, case: &Case<'_>) -> Option<Verdict> {
    let snapshot = world.snapshot;
    let suspended = |by| Some(Verdict::Waiting(WaitingOn::Suspended { by }));
    if let Some((resource, why)) = snapshot.unreadable.first_key_value() {
        return Some(Verdict::Blocked(Reason::SelectorUnreadable {
            resource: resource.clone(),
            why: why.clone(),
        }));
    }
    if snapshot.policy.suspend {
        return suspended(Suspender::FleetPolicy);
    }
    if case.machine.suspend {
        return suspended(Suspender::FleetMachine);
    }
    if snapshot.clock_off {
        return suspended(Suspender::Clock);
    }
    if snapshot.applying {
        return Some(Verdict::Waiting(WaitingOn::Applying));
    }
    if let Presence::Silent { last_heard, counted_from: _ } = case.machine.presence {
        return Some(Verdict::Waiting(WaitingOn::Silent { last_heard }));
    }
    if let Some(backoff) = case.history.backoff(case.machine, world.timer) {
        return Some(backoff);
    }
    case.history.awaits_report(case.machine).then_some(Verdict::Waiting(WaitingOn::Report))
}

/// Changes that no transaction may make.
fn refuse(states: &mut States, choice: &Choice) {
    for (place, reason) in &choice.refused {
        states.enforced[*place].stick(&Verdict::Blocked(reason.clone()));
    }
}

/// Holds that are ours: those on record that are still set, or are wanted, or may be set by what is under way (rule V6).
fn holds(case: &Case<'_>) -> BTreeSet<PackageKey> {
    let Machine { holds, .. } = case.machine;
    let unsure = case.history.unfinished().is_some() || case.history.awaits_report(case.machine);
    let Some(inventory) = case.evaluation.inventory.filter(|_| !unsure) else { return holds.clone() };
    let set = |key: &PackageKey| {
        let installed = inventory.package(key).and_then(|package| package.installed.as_ref());
        installed.is_some_and(|installed| installed.held)
    };
    let wanted = |key: &PackageKey| case.merged.about(key).is_some_and(|requirement| requirement.hold);
    holds.iter().filter(|key| set(key) || wanted(key)).cloned().collect()
}

fn entries(world: &World<'_>, case: &Case<'_>, states: &States) -> Vec<Entry> {
    let mut entries = Vec::new();
    let blank = Judged { outcome: Outcome::NotCovered, installed: None, held: false };
    for (place, (requirement, state)) in case.merged.enforced.iter().zip(&states.enforced).enumerate() {
        if *state != State::Met {
            let judged = case.evaluation.judged.get(place).unwrap_or(&blank);
            // Who asks for the package alone has what it asks for.
            let is_kernel = |by: &&usize| world.resources.packages[**by].kernel.is_some();
            let by = requirement.by.iter().filter(|by| judged.outcome.boots().is_none() || is_kernel(by));
            entries.extend(by.map(|by| entry(world, case, *by, requirement, judged, state.clone())));
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
        entries.extend(requirement.by.iter().map(|by| entry(world, case, *by, requirement, judged, stuck())));
    }
    let Some(reported) = case.reported else { return entries };
    if reported.report.reboot_required.is_some() {
        for place in &case.merged.reboots {
            let observes = State::Stuck(Verdict::Blocked(Reason::ObserveOnly));
            entries.push(Entry {
                by: *place,
                resource: SmolStr::new_static("reboot"),
                state: if world.resources.enforces(*place) { states.reboot.clone() } else { observes },
                installed: Some(SmolStr::new_static("required")),
                target: Some(SmolStr::new_static("rebooted")),
            });
        }
    }
    entries
}

fn entry(
    world: &World<'_>,
    case: &Case<'_>,
    by: usize,
    requirement: &Requirement,
    judged: &Judged,
    state: State,
) -> Entry {
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
            muster_model::PackageWish::Absent => SmolStr::new_static("absent"),
            muster_model::PackageWish::Present => SmolStr::from(wording(&requirement.version)),
        },
    };
    let follows = world.resources.packages[by].kernel.is_some() && !requirement.spare;
    if let Some(reported) = case.reported.filter(|_| follows) {
        let (report, key) = (&reported.report, &requirement.key);
        return Entry {
            by,
            resource: SmolStr::new_static("kernel"),
            state,
            installed: Some(kernel::running(report, key)),
            target: kernel::aimed(report, requirement, &judged.outcome).or(Some(target)),
        };
    }
    Entry {
        by,
        resource: requirement.key.to_smolstr(),
        state,
        installed: judged.installed.as_ref().map(|version| match judged.outcome {
            Outcome::Repair => format_smolstr!("{version}, broken"),
            _ => version.to_smolstr(),
        }),
        target: Some(target),
    }
}

impl Draft {
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
                resource: entry.resource.clone(),
                verdict: verdict.clone(),
                installed: entry.installed.clone(),
                target: entry.target.clone(),
            };
            Some((rank(verdict), requirement))
        });
        let mut requirements: Vec<(u8, RequirementVerdict)> = verdicts.collect();
        requirements.sort_by(|(left_rank, left), (right_rank, right)| {
            let left = (
                left_rank,
                left.verdict.until().is_none(),
                left.verdict.until(),
                &left.resource,
                &left.baseline,
            );
            left.cmp(&(
                right_rank,
                right.verdict.until().is_none(),
                right.verdict.until(),
                &right.resource,
                &right.baseline,
            ))
        });
        let first = requirements.first().map(|(_, first)| &first.verdict);
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
        MachinePlan {
            verdict,
            requirements: requirements.into_iter().map(|(_, requirement)| requirement).collect(),
            total: self.total,
            wanted: self.wanted.clone(),
            holds,
        }
    }

    /// How one baseline's requirements stand on the machine.
    pub(crate) fn verdicts_of<'a>(
        &'a self,
        by: usize,
        start: &'a Verdict,
    ) -> impl Iterator<Item = &'a Verdict> {
        let entries = self.entries.iter().filter(move |entry| entry.by == by);
        entries.filter_map(move |entry| self.word(&entry.state, start))
    }
}

/// Whether some baseline wants the machine rebooted when it says that it must be.
pub(crate) fn may_reboot(resources: &Resources<'_>, case: &Case<'_>) -> bool {
    case.merged.reboots_any(resources) || boots::reboots_for_kernel(resources, case)
}
