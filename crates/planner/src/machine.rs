//! The answer for one machine, up to its budgets (rule S4).
//!
//! The gates, in order: is it managed; is anything known of it; does it do something already; then each requirement by
//! itself: what it comes to, whether it may be tried, whether the machine may start at all, what the transaction is,
//! whether the windows are open. Budgets come last, over all machines (`budget`).

use std::collections::BTreeSet;

use muster_model::{
    Activity, Capability, Machine, PackageKey, Plan, Presence, Reason, Shared, Snapshot, StepAction,
    Suspender, Unmanaged, Verdict, WaitingOn, kernel_release,
};

use crate::along;
use crate::attempts::Subject;
use crate::boots;
use crate::case::Case;
use crate::draft::Draft;
use crate::evaluate::Choice;
use crate::merge::Requirement;
use crate::overrides::{Overrides, let_kernel_pass, let_pass};
use crate::reboot::reboot;
use crate::rollout::{Lowered, Rollouts};
use crate::select::Resources;
use crate::steps;
use crate::target::Outcome;
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
    /// The plan before.
    pub(crate) last: &'a Plan,
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
        matches!(self, Self::Ready)
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
#[derive(Debug, PartialEq)]
pub(crate) struct States {
    /// Of `Merged::enforced`, by number, what is not as wanted, in order.
    pub(crate) enforced: Vec<(usize, State)>,
    /// Holds of ours to lift.
    pub(crate) lifts: State,
    pub(crate) reboot: State,
}

impl States {
    pub(crate) fn each(&mut self) -> impl Iterator<Item = &mut State> {
        let enforced = self.enforced.iter_mut().map(|(_, state)| state);
        enforced.chain([&mut self.lifts, &mut self.reboot])
    }

    /// The state of one of `Merged::enforced`.
    pub(crate) fn of(&self, place: usize) -> &State {
        let found = self.enforced.binary_search_by_key(&place, |(place, _)| *place);
        found.map_or(&State::Met, |at| &self.enforced[at].1)
    }

    /// If one of `Merged::enforced` is to be done: not now.
    pub(crate) fn stick(&mut self, place: usize, verdict: &Verdict) {
        if let Ok(at) = self.enforced.binary_search_by_key(&place, |(place, _)| *place) {
            self.enforced[at].1.stick(verdict);
        }
    }

    /// The numbers of those of `Merged::enforced` that are to be done.
    pub(crate) fn ready(&self) -> impl Iterator<Item = usize> {
        self.enforced.iter().filter(|(_, state)| state.is_ready()).map(|(place, _)| *place)
    }
}

pub(crate) fn draft<'a>(world: &World<'a>, case: &Case<'a>) -> Draft {
    let lowered = world.rollouts.lower(world.resources, &world.lowered, case);
    let case = lowered.as_ref().unwrap_or(case);
    let evaluation = &case.evaluation;
    let mut states = judge(world, case);
    boots::leave_to_kernels(case, &mut states);
    let is_change = |place: &usize| matches!(evaluation.judged[*place].outcome, Outcome::Change(_));
    let mut ready: Vec<usize> = states.ready().filter(is_change).collect();
    let named = ready.partition_point(|place| *place < case.merged.named);
    ready.truncate(named + UPGRADES_AT_ONCE);
    let passes = let_pass(world, case, &mut states, &mut ready);
    let_kernel_pass(world, case, &mut ready);
    let choice = along::choose(world, case, &mut states, ready);
    let mut draft = Draft::new(case, choice.wanted.clone(), holds(case));
    draft.asked = lowered.as_ref().map(|lowered| lowered.evaluation.asked().clone()).unwrap_or_default();
    draft.along = lowered.as_ref().map(|lowered| lowered.evaluation.along().clone()).unwrap_or_default();
    if let Some(unmanaged) = unmanaged(case) {
        draft.verdict = Some(Verdict::Unmanaged(unmanaged).into());
        return draft;
    }
    if let Some(unknown) = case.unknown {
        draft.verdict = Some(Verdict::Unknown(unknown).into());
        return draft;
    }
    if let Some(activity) = case.history.unfinished() {
        draft.verdict = Some(active(activity).into());
        engage(world.resources, case, &mut states, activity);
    } else {
        if let Some(gate) = gate(world, case) {
            states.each().for_each(|state| state.stick(&gate));
        }
        refuse(&mut states, &choice);
        draft.spec = steps::compose(world, case, &mut states, &choice, &passes).map(Box::new);
    }
    draft.states = Some(states);
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
    let mut enforced: Vec<(usize, State)> = evaluation
        .open
        .iter()
        .map(|place| {
            let place = *place;
            let (requirement, judged) = (&case.merged.enforced[place], &evaluation.judged[place]);
            let key = &requirement.key;
            let is_kernel = || is_kernel(case, place);
            let retry = |subject| case.history.retry(case.machine, subject, world.timer);
            let gated = || world.rollouts.gate(world.resources, case, place);
            let stuck = match &judged.outcome {
                Outcome::Met => return (place, State::Met),
                Outcome::NotCovered => Some(asked([key.clone()])),
                Outcome::Blocked(reason) => Some(Verdict::Blocked(Reason::clone(reason))),
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
                        if is_kernel() { boots::closed(world, case, &passes()) } else { None }
                    }),
                Outcome::Boot(choice) => gated().or_else(|| boots::hindered(world, case, choice)),
                Outcome::SetDefault(choice) => retry(Subject::Kernel(choice)),
            };
            (place, stuck.map_or(State::Ready, State::Stuck))
        })
        .collect();
    if evaluation.inventory.is_none() {
        let all = case.merged.enforced.iter().map(|one| State::Stuck(asked([one.key.clone()])));
        enforced = all.enumerate().collect();
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
pub(crate) fn is_kernel(case: &Case<'_>, place: usize) -> bool {
    let key = &case.merged.enforced[place].key;
    case.merged.kernel.as_ref().is_some_and(|wish| wish.place == place)
        || kernel_release(&key.name).is_some()
        || case.reported.is_some_and(|reported| {
            let mut installed = reported.report.kernel.installed.iter();
            installed.any(|kernel| kernel.followed_by.contains_key(&key.name))
        })
}

/// The machine is asked what is on offer.
pub(crate) fn asked(packages: impl IntoIterator<Item = PackageKey>) -> Verdict {
    Verdict::Waiting(WaitingOn::Inventory { packages: packages.into_iter().collect() })
}

fn active(activity: &Activity) -> Verdict {
    Verdict::Active { activity: activity.spec.name.clone(), phase: activity.phase }
}

/// While an activity is under way: what it serves is active, the rest waits for its end.
fn engage(resources: &Resources<'_>, case: &Case<'_>, states: &mut States, activity: &Activity) {
    let later = Verdict::Waiting(WaitingOn::Activity { activity: activity.spec.name.clone() });
    for (place, state) in &mut states.enforced {
        if *state != State::Met && serves(resources, activity, &case.merged.enforced[*place]) {
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
    let by = || requirement.by.iter().map(|place| resources.packages[*place].reference());
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
        touches && by().any(|baseline| step.baselines.contains_key(&baseline))
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
        states.stick(*place, &Verdict::Blocked(reason.clone()));
    }
}

/// Holds that are ours: those on record that are still set, or are wanted, or may be set by what is under way (rule V6).
fn holds(case: &Case<'_>) -> Shared<BTreeSet<PackageKey>> {
    let Machine { holds, .. } = case.machine;
    let unsure = || case.history.unfinished().is_some() || case.history.awaits_report(case.machine);
    if holds.is_empty() || unsure() {
        return holds.clone();
    }
    let Some(inventory) = case.evaluation.inventory else { return holds.clone() };
    let wanted = |key: &PackageKey| case.merged.about(key).is_some_and(|requirement| requirement.hold);
    let stays = |key: &&PackageKey| inventory.holds(key) || wanted(key);
    if holds.iter().all(|key| stays(&key)) {
        return holds.clone();
    }
    holds.iter().filter(stays).cloned().collect()
}

/// Whether some baseline wants the machine rebooted when it says that it must be.
pub(crate) fn may_reboot(resources: &Resources<'_>, case: &Case<'_>) -> bool {
    case.merged.reboots_any(resources) || boots::reboots_for_kernel(resources, case)
}
