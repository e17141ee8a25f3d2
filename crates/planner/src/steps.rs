//! What one activity carries: everything that the machine may have now (rules A7, A8, B5, W6).

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use muster_model::{
    ActivityName, ActivitySpec, BaselineRef, Cause, Cover, HealthCheck, Instant, PackageKey, Passed, Passes,
    Step, StepAction, Transaction, Uid, Verdict, WaitingOn,
};

use crate::attempts::Subject;
use crate::boots;
use crate::case::Case;
use crate::evaluate::Choice;
use crate::machine::{State, States, World, is_kernel};
use crate::overrides::together;
use crate::select::Resources;
use crate::target::Outcome;
use crate::timer::after;
use crate::window::Opening;

/// How long a package step may take until it fails as timed out (rule A4).
pub(crate) const PACKAGES_TIMEOUT: SignedDuration = SignedDuration::from_hours(1);

/// The activity that would start, if anything may; what may not is stuck afterwards, with its reason.
pub(crate) fn compose(
    world: &World<'_>,
    case: &Case<'_>,
    states: &mut States,
    choice: &Choice,
    passes: &Passes,
) -> Option<ActivitySpec> {
    if !states.each().any(|state| state.is_ready()) {
        return None;
    }
    let name = ActivityName { machine: case.machine.name.clone(), number: next_number(case) };
    let mut load = Load::default();
    packages(world, case, states, choice, passes, &name, &mut load);
    let later = Verdict::Waiting(WaitingOn::Activity { activity: name.clone() });
    boots::add(world, case, states, &mut load, &later);
    if load.steps.is_empty() {
        debug_assert!(!states.each().any(|state| state.is_ready()), "what is ready is carried");
        return None;
    }
    let Load { steps, openings, proposal, repairs: _ } = load;
    let expiry = openings.values().filter_map(|opening| opening.until).min();
    let latest = after(world.snapshot.now, world.snapshot.policy.activity_expiry);
    Some(ActivitySpec {
        name,
        machine_uid: case.machine.uid.clone(),
        health: health(world.resources, &steps).into(),
        steps: steps.into(),
        cause: Cause { revision: world.snapshot.revision.clone(), proposal }.into(),
        failed_units: case.reported.map(|one| one.report.failed_units.clone()).unwrap_or_default(),
        budgets: case
            .picked
            .budgets
            .iter()
            .map(|place| world.resources.budgets[*place].name.clone())
            .collect(),
        passed: openings.iter().flat_map(|(cover, opening)| passed(*cover, opening)).collect(),
        windows: openings.into_iter().filter_map(|(cover, opening)| Some((cover, opening.open()?))).collect(),
        expiry: expiry.map_or(latest, |expiry: Instant| expiry.min(latest)),
    })
}

fn passed(cover: Cover, opening: &Opening) -> impl Iterator<Item = Passed> + '_ {
    let all = opening.passed.iter();
    all.map(move |(window, by)| Passed { cover, window: window.clone(), by: by.clone() })
}

/// One above the highest ever used, wherever that is known from (rule A1).
fn next_number(case: &Case<'_>) -> u64 {
    let recorded = case.machine.last_number;
    let kept = case.history.highest;
    let reported = case.reported.map_or(0, |reported| reported.report.last_activity);
    recorded.max(kept).max(reported) + 1
}

/// What goes into the activity.
#[derive(Default)]
pub(crate) struct Load {
    pub(crate) steps: Vec<Step>,
    pub(crate) openings: BTreeMap<Cover, Opening>,
    proposal: Option<muster_model::Digest>,
    /// It repairs dpkg, and nothing besides.
    pub(crate) repairs: bool,
}

impl Load {
    /// The transaction, if it brings a kernel.
    pub(crate) fn brought(&self) -> Option<&Transaction> {
        self.steps.iter().find_map(|step| match &step.action {
            StepAction::InstallPackages(transaction) => {
                transaction.new_kernels().next().is_some().then_some(transaction)
            }
            StepAction::RemovePackages(_)
            | StepAction::HoldPackages { .. }
            | StepAction::RepairPackages
            | StepAction::SelectKernel(_)
            | StepAction::Reboot { .. }
            | StepAction::SetDefaultKernel(_) => None,
        })
    }
}

/// Adds the package steps, or says of each package requirement that is ready why not.
fn packages(
    world: &World<'_>,
    case: &Case<'_>,
    states: &mut States,
    choice: &Choice,
    passes: &Passes,
    name: &ActivityName,
    load: &mut Load,
) {
    let judged = &case.evaluation.judged;
    let is_work = |states: &States| {
        states.lifts.is_ready() || states.ready().any(|place| judged[place].outcome.boots().is_none())
    };
    if !is_work(states) {
        return;
    }
    let broken = case.reported.is_some_and(|reported| reported.report.dpkg_interrupted)
        || case.evaluation.needs_repair();
    if broken {
        if let Some(verdict) = case.history.retry(case.machine, Subject::Repair, world.timer) {
            about_packages(case, states, |state| state.stick(&verdict));
        }
    } else {
        let waits = Verdict::Waiting(match choice.answer {
            None => WaitingOn::Proposal,
            Some(_) => WaitingOn::Activity { activity: name.clone() },
        });
        for (place, state) in states.enforced.iter_mut().filter(|(_, state)| state.is_ready()) {
            let goes = choice.answer.is_some() && choice.picked.contains(place);
            if matches!(judged[*place].outcome, Outcome::Change(_)) && !goes {
                state.stick(&waits);
            }
        }
    }
    if !is_work(states) {
        return;
    }
    let estimates = &world.snapshot.policy.estimates;
    let estimate = estimates.of(Cover::Packages);
    let opening = world.windows.ask_past(case.picked.windows, Cover::Packages, estimate, passes);
    match opening.and_then(|opening| Ok((opening, kernel_opening(world, case, states, choice)?))) {
        Err(closed) => {
            let (closed, first) =
                (Verdict::Waiting(closed), Verdict::Waiting(WaitingOn::Activity { activity: name.clone() }));
            about_packages(case, states, |state| {
                state.stick(&closed);
                state.instead(&first, &closed);
            });
        }
        Ok((opening, kernel)) => {
            load.openings.insert(Cover::Packages, opening);
            if broken {
                load.repairs = true;
                let served = served(case, states, |_| true);
                load.steps.push(step(world.resources, StepAction::RepairPackages, &served));
            } else {
                load.openings.extend(kernel.map(|kernel| (Cover::Kernel, kernel)));
                package_steps(world.resources, case, states, choice, load);
            }
        }
    }
}

/// What a transaction that brings a kernel starts in beside the opening for packages: what is judged again while it waits
/// (rule A9) must be on record.
fn kernel_opening(
    world: &World<'_>,
    case: &Case<'_>,
    states: &States,
    choice: &Choice,
) -> Result<Option<Opening>, WaitingOn> {
    let brings = choice.answer.as_ref().is_some_and(|(_, answer)| answer.new_kernels().next().is_some());
    if !brings || !choice.picked.iter().any(|place| states.of(*place).is_ready()) {
        return Ok(None);
    }
    let kernels = choice.picked.iter().copied().filter(|place| is_kernel(case, *place));
    let passes = kernels.fold(None, |all, place| {
        let (requirement, judged) = (&case.merged.enforced[place], &case.evaluation.judged[place]);
        let passes = world.overrides.of_change(world.resources, requirement, &judged.outcome);
        Some(together(all.as_ref(), passes))
    });
    boots::open(world, case, &passes.unwrap_or_default()).map(Some)
}

/// What is done about packages, and not by a boot.
fn about_packages(case: &Case<'_>, states: &mut States, each: impl FnMut(&mut State)) {
    let judged = &case.evaluation.judged;
    let boots = |place: usize| judged.get(place).is_some_and(|judged| judged.outcome.boots().is_some());
    let packages = states.enforced.iter_mut().filter(|(place, _)| !boots(*place)).map(|(_, state)| state);
    packages.chain([&mut states.lifts]).for_each(each);
}

/// Holds to lift, the transaction, holds to set.
fn package_steps(
    resources: &Resources<'_>,
    case: &Case<'_>,
    states: &States,
    choice: &Choice,
    load: &mut Load,
) {
    let (mut hold, mut unhold) = (BTreeSet::new(), BTreeSet::new());
    if states.lifts.is_ready() {
        unhold.extend(case.evaluation.lifts.iter().cloned());
    }
    for place in states.ready() {
        let (requirement, judged) = (&case.merged.enforced[place], &case.evaluation.judged[place]);
        match &judged.outcome {
            Outcome::Change(version) => {
                if judged.held {
                    unhold.insert(requirement.key.clone());
                }
                if requirement.hold && version.is_some() {
                    hold.insert(requirement.key.clone());
                }
            }
            Outcome::Hold => {
                hold.insert(requirement.key.clone());
            }
            Outcome::Met
            | Outcome::Boot(_)
            | Outcome::SetDefault(_)
            | Outcome::Repair
            | Outcome::NotCovered
            | Outcome::Blocked(_) => {}
        }
    }
    let touched = |keys: &BTreeSet<PackageKey>| served(case, states, |key| keys.contains(key));
    let hold_step = |hold: BTreeSet<PackageKey>, unhold: BTreeSet<PackageKey>| {
        let keys = hold.union(&unhold).cloned().collect();
        step(resources, StepAction::HoldPackages { hold, unhold }, &touched(&keys))
    };
    let Some((key, transaction)) =
        choice.answer.as_ref().filter(|_| choice.picked.iter().any(|place| states.of(*place).is_ready()))
    else {
        load.steps.push(hold_step(hold, unhold));
        return;
    };
    if !unhold.is_empty() {
        load.steps.push(hold_step(BTreeSet::new(), unhold));
    }
    let changed: BTreeSet<PackageKey> =
        transaction.requested.iter().map(|change| change.package.clone()).collect();
    load.steps.push(step(resources, action(transaction), &touched(&changed)));
    load.proposal = Some(key.digest());
    if !hold.is_empty() {
        load.steps.push(hold_step(hold, BTreeSet::new()));
    }
}

fn action(transaction: &Transaction) -> StepAction {
    if transaction.changes().all(muster_model::Change::is_removal) {
        StepAction::RemovePackages(transaction.clone())
    } else {
        StepAction::InstallPackages(transaction.clone())
    }
}

/// The baselines whose ready requirements are about such packages.
fn served(case: &Case<'_>, states: &States, is_about: impl Fn(&PackageKey) -> bool) -> BTreeSet<usize> {
    let ready = states.ready().map(|place| &case.merged.enforced[place]);
    ready.filter(|one| is_about(&one.key)).flat_map(|one| one.by.iter().copied()).collect()
}

pub(crate) fn step(resources: &Resources<'_>, action: StepAction, baselines: &BTreeSet<usize>) -> Step {
    let named = |place: &usize| -> (BaselineRef, Uid) {
        let baseline = resources.packages[*place];
        (baseline.reference(), baseline.common.uid.clone())
    };
    Step { action, baselines: baselines.iter().map(named).collect(), timeout: PACKAGES_TIMEOUT }
}

/// The union over the baselines served (rule S1).
fn health(resources: &Resources<'_>, steps: &[Step]) -> HealthCheck {
    let served: BTreeSet<&BaselineRef> = steps.iter().flat_map(|step| step.baselines.keys()).collect();
    let mut check = HealthCheck::default();
    for baseline in resources.packages.iter().filter(|one| served.iter().any(|served| one.is(served))) {
        check.units.extend(baseline.health.units.iter().cloned());
        let settle = u32::try_from(baseline.health.settle.as_secs()).unwrap_or(u32::MAX);
        check.settle_seconds = check.settle_seconds.max(settle);
    }
    check
}
