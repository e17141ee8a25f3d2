//! Activities: what of them is new.

use jiff::SignedDuration;
use muster_checker::event::{self, ActivityFinished, ActivityFound, StepEvent, What};
use std::collections::{BTreeMap, BTreeSet};

use muster_model::{
    Activity, ActivitySpec, GoDuration, HealthCheck, MAX_DURATION, PackageName, Phase, StepAction,
};

/// A length as resources write it.
pub(crate) fn duration(length: SignedDuration) -> GoDuration {
    GoDuration::new(length.clamp(SignedDuration::ZERO, MAX_DURATION))
        .expect("it was brought within the bounds")
}

/// All of an activity's spec.
#[must_use]
pub fn spec(spec: &ActivitySpec) -> event::ActivitySpec {
    let ActivitySpec {
        name,
        machine_uid,
        steps,
        cause,
        budgets,
        windows,
        passed,
        expiry,
        health,
        failed_units: _,
    } = spec;
    let steps = steps.iter().map(|step| event::Step {
        action: step.action.clone(),
        baselines: step.baselines.keys().cloned().collect(),
        timeout: duration(step.timeout),
    });
    event::ActivitySpec {
        name: name.clone(),
        machine_uid: machine_uid.clone(),
        steps: steps.collect(),
        revision: cause.revision.clone(),
        proposal: cause.proposal.clone(),
        budgets: BTreeSet::clone(budgets),
        windows: BTreeMap::clone(windows),
        overrides: passed.iter().map(|one| one.by.clone()).collect(),
        expiry: *expiry,
        health: HealthCheck::clone(health),
    }
}

/// The packages that a step is about.
pub(crate) fn packages(action: &StepAction) -> Vec<PackageName> {
    match action {
        StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
            transaction.requested.iter().map(|change| change.package.name.clone()).collect()
        }
        StepAction::HoldPackages { hold, unhold } => {
            hold.iter().chain(unhold).map(|package| package.name.clone()).collect()
        }
        StepAction::SelectKernel(choice) | StepAction::SetDefaultKernel(choice) => {
            choice.followed.iter().map(|followed| followed.package.name.clone()).collect()
        }
        StepAction::RepairPackages | StepAction::Reboot { .. } => Vec::new(),
    }
}

/// One that was there already.
pub(crate) fn found(activity: &Activity) -> ActivityFound {
    ActivityFound {
        spec: spec(&activity.spec),
        uid: activity.uid.clone(),
        epoch: activity.epoch,
        created: activity.created,
        phase: activity.phase,
        cancel: activity.cancel,
        delivered: activity.delivered,
        finished: activity.finished,
        outcome: activity.outcome,
        started: activity.steps.iter().filter(|step| step.started.is_some()).count(),
        completed: activity.steps.iter().filter(|step| step.completed.is_some()).count(),
    }
}

/// One that somebody else created meanwhile.
pub(crate) fn created(activity: &Activity) -> event::ActivityCreated {
    event::ActivityCreated { spec: spec(&activity.spec), epoch: activity.epoch, decided: None, by: None }
}

/// What it was as it was created.
pub(crate) fn just_created(activity: &Activity) -> Activity {
    Activity {
        cancel: false,
        phase: Phase::Pending,
        delivered: None,
        finished: None,
        outcome: None,
        message: String::new(),
        steps: Vec::new(),
        ..activity.clone()
    }
}

/// What happened between two sights of one activity, in the order in which it can have.
pub(crate) fn changes(before: &Activity, after: &Activity) -> Vec<What> {
    let name = &after.spec.name;
    let mut changes = Vec::new();
    if after.epoch != before.epoch {
        changes.push(What::ActivityAdopted { name: name.clone(), epoch: after.epoch });
    }
    if after.delivered.is_some() && before.delivered.is_none() {
        changes.push(What::ActivityDelivered { name: name.clone(), gateway: None, at: after.delivered });
    }
    for (step, status) in after.steps.iter().enumerate() {
        let known = before.steps.get(step);
        let event = |at| StepEvent { name: name.clone(), step, at };
        if status.started.is_some() && known.is_none_or(|known| known.started.is_none()) {
            changes.push(What::StepStarted(event(status.started)));
        }
        if status.completed.is_some() && known.is_none_or(|known| known.completed.is_none()) {
            changes.push(What::StepCompleted(event(status.completed)));
        }
    }
    if after.cancel && !before.cancel {
        changes.push(What::CancelRequested { name: name.clone() });
    }
    if after.phase == Phase::Verifying && before.phase < Phase::Verifying {
        changes.push(What::ActivityVerifying { name: name.clone() });
    }
    if after.phase.is_finished() && !before.phase.is_finished() {
        changes.push(What::ActivityFinished(Box::new(ActivityFinished {
            name: name.clone(),
            phase: after.phase,
            outcome: after.outcome,
            at: after.finished,
            message: after.message.clone(),
        })));
    }
    changes
}
