//! Which activities that were not begun are no longer wanted, or may no longer begin (rules A5, A9, W1).
//!
//! One that waits for a gateway is ended. One that a machine was given may be under way unseen, so it is only asked to
//! end, and only where somebody closed what was open: a change of mind about its packages is for the next activity.

use muster_model::{
    Activity, ActivityName, Change, Followed, MachineName, OutcomeReason, PackageKey, PackageWish, Phase,
    Snapshot, Step, StepAction,
};

use crate::along;
use crate::boots;
use crate::case::Case;
use crate::machine::{World, may_reboot};
use crate::target::{choose, is_met};
use crate::transaction::is_allowed;

/// Of one machine's activities. `is_zero`: one of its numbers allows none at all (rule B1).
pub(crate) fn cancels(
    world: &World<'_>,
    case: &Case<'_>,
    is_zero: bool,
) -> Vec<(ActivityName, OutcomeReason)> {
    let asked = case.history.newest_first().filter(|activity| !activity.cancel);
    let reasons = asked.filter_map(|activity| {
        let reason = match activity.phase {
            Phase::Pending => shut(world, case, activity)
                .or_else(|| unwanted(world, case, activity))
                .or(is_zero.then_some(OutcomeReason::Contradicted)),
            Phase::Delivered => shut(world, case, activity),
            Phase::Running
            | Phase::Verifying
            | Phase::Succeeded
            | Phase::Failed
            | Phase::Refused
            | Phase::Interrupted
            | Phase::Canceled
            | Phase::Expired => None,
        };
        Some((activity.spec.name.clone(), reason?))
    });
    reasons.collect()
}

/// Of the activities of a machine that is no more.
pub(crate) fn of_nobody(snapshot: &Snapshot, machine: &MachineName) -> Vec<(ActivityName, OutcomeReason)> {
    let open = snapshot
        .activities_of(machine)
        .filter(|activity| activity.phase == Phase::Pending && !activity.cancel);
    open.map(|activity| (activity.spec.name.clone(), OutcomeReason::Contradicted)).collect()
}

/// Whether somebody closed what was open when it was made: the machine, or its windows.
fn shut(world: &World<'_>, case: &Case<'_>, activity: &Activity) -> Option<OutcomeReason> {
    let machine = case.machine;
    if activity.spec.machine_uid != machine.uid || !machine.admitted || machine.revoked {
        return Some(OutcomeReason::Contradicted);
    }
    if machine.suspend || world.snapshot.policy.suspend {
        return Some(OutcomeReason::CancelRequested);
    }
    // A resource that cannot be read may be a freeze (rule W7).
    if !world.snapshot.unreadable.is_empty() {
        return Some(OutcomeReason::WindowClosed);
    }
    // What closes by time alone is in its expiry already, and what began before that may finish (rule W6).
    if world.timer.reached(activity.spec.expiry) {
        return None;
    }
    let is_closed = |step: &Step| {
        step.action.covers().iter().any(|cover| {
            let estimate = world.snapshot.policy.estimates.of(*cover);
            let passed = activity.spec.passed.iter().filter(|passed| passed.cover == *cover);
            let passes = world.overrides.still(passed);
            world.windows.ask_past(case.picked.windows, *cover, estimate, &passes).is_err()
        })
    };
    activity.spec.steps.iter().any(is_closed).then_some(OutcomeReason::WindowClosed)
}

/// Whether it would not be made as it is now.
fn unwanted(world: &World<'_>, case: &Case<'_>, activity: &Activity) -> Option<OutcomeReason> {
    let wanted = activity.spec.steps.iter().all(|step| is_wanted(world, case, activity, step));
    (!wanted).then_some(OutcomeReason::Contradicted)
}

fn is_wanted(world: &World<'_>, case: &Case<'_>, activity: &Activity, step: &Step) -> bool {
    match &step.action {
        StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
            transaction.requested.iter().all(|change| is_target(world, case, change))
                && !along::is_stopped(world, case, transaction)
                && boots::taken_away(case, transaction).is_none()
                && is_allowed(world.resources, &case.merged, &case.evaluation, step, transaction)
        }
        StepAction::HoldPackages { hold, unhold } => {
            let is_held =
                |key: &PackageKey| case.merged.about(key).is_some_and(|requirement| requirement.hold);
            let is_changed = |key: &PackageKey| {
                activity.spec.steps.iter().any(|step| match &step.action {
                    StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
                        transaction.requested.iter().any(|change| change.package == *key)
                    }
                    StepAction::HoldPackages { .. }
                    | StepAction::RepairPackages
                    | StepAction::SelectKernel(_)
                    | StepAction::Reboot { .. }
                    | StepAction::SetDefaultKernel(_) => false,
                })
            };
            hold.iter().all(is_held) && unhold.iter().all(|key| is_changed(key) || !is_held(key))
        }
        StepAction::RepairPackages => !case.merged.enforced.is_empty() || !case.evaluation.lifts.is_empty(),
        StepAction::SelectKernel(choice) | StepAction::SetDefaultKernel(choice) => {
            choice.followed.as_ref().is_none_or(|Followed { package, version }| {
                let change = Change { package: package.clone(), from: None, to: Some(version.clone()) };
                is_target(world, case, &change)
            })
        }
        StepAction::Reboot { .. } => may_reboot(world.resources, case),
    }
}

/// Whether a requirement still asks for what the change brings, and it is neither barred nor paused.
fn is_target(world: &World<'_>, case: &Case<'_>, change: &Change) -> bool {
    // A kernel that goes as another comes.
    if change.is_removal() && case.evaluation.spares.contains(&change.package) {
        return true;
    }
    let named = case.merged.place_of(&change.package);
    let upgrade = case.merged.upgrade_of(&change.package);
    named.into_iter().chain(upgrade).any(|place| is_target_of(world, case, change, place))
}

fn is_target_of(world: &World<'_>, case: &Case<'_>, change: &Change, place: usize) -> bool {
    let requirement = &case.merged.enforced[place];
    if requirement.conflict {
        return false;
    }
    let stopped = world.rollouts.is_stopped(world.resources, case, place);
    // The last released target, where a newer one has yet to come (rule O4).
    if change.to.is_some() && world.rollouts.instead(world.resources, case, place) == change.to {
        return true;
    }
    let satisfied = match (requirement.wish, &change.to) {
        (PackageWish::Absent, to) => to.is_none(),
        (PackageWish::Present, None) => false,
        (PackageWish::Present, Some(version)) => {
            let package = case.evaluation.inventory.and_then(|inventory| inventory.package(&change.package));
            let choose =
                |package| choose(&requirement.version, package, case.evaluation.is_kept_back(package));
            is_met(&requirement.version, version, package.and_then(choose))
        }
    };
    satisfied && !stopped
}
