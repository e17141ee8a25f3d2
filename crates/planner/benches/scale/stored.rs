//! The same state as JSON, an object a line, and how long serde_json takes to decode it.
//!
//! Leaner than Kubernetes objects are (no managed fields, no defaults): what is measured against is the least that
//! decoding can take.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::time::Duration;

use muster_model::*;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::clock::timed;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredMachine {
    name: MachineName,
    uid: Uid,
    labels: Shared<BTreeMap<SmolStr, SmolStr>>,
    admitted: bool,
    suspend: bool,
    revoked: bool,
    resolved_through: u64,
    retried_through: u64,
    reported: Option<Reported>,
    last_number: u64,
    holds: Shared<BTreeSet<PackageKey>>,
    first_converged: Option<Instant>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredActivity {
    name: ActivityName,
    machine_uid: Uid,
    steps: Vec<StoredStep>,
    revision: Option<SmolStr>,
    budgets: Shared<BTreeSet<ObjectName>>,
    windows: Shared<BTreeMap<Cover, ObjectName>>,
    expiry: Instant,
    health: Shared<HealthCheck>,
    uid: Uid,
    created: Instant,
    cancel: bool,
    epoch: u64,
    phase: Phase,
    delivered: Option<Instant>,
    finished: Option<Instant>,
    outcome: Option<OutcomeReason>,
    message: String,
    step_statuses: Vec<StepStatus>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredStep {
    action: StepAction,
    baselines: Vec<(BaselineRef, Uid)>,
    timeout_seconds: i64,
}

#[derive(Serialize, Deserialize)]
struct StoredProposal {
    key: ProposalKey,
    proposal: Proposal,
}

/// How long it takes to decode all of it.
pub(crate) fn decode(snapshot: &Snapshot) -> Duration {
    let inventories: Duration = snapshot.inventories.values().map(|one| one_line::<Inventory>(one)).sum();
    let machines: Duration = snapshot.machines.values().map(|one| one_line(&machine(one))).sum();
    let activities: Duration = snapshot.activities.values().map(|one| one_line(&activity(one))).sum();
    let proposals = snapshot.proposals.iter();
    let proposals = proposals
        .map(|(key, proposal)| StoredProposal { key: key.clone(), proposal: Proposal::clone(proposal) });
    inventories + machines + activities + proposals.map(|one| one_line(&one)).sum::<Duration>()
}

fn one_line<T: Serialize + for<'a> Deserialize<'a>>(value: &T) -> Duration {
    let text = serde_json::to_string(value).unwrap();
    let (read, took): (T, Duration) = timed(|| serde_json::from_str(black_box(&text)).unwrap());
    black_box(read);
    took
}

fn machine(machine: &Machine) -> StoredMachine {
    let machine = machine.clone();
    StoredMachine {
        name: machine.name,
        uid: machine.uid,
        labels: machine.labels,
        admitted: machine.admitted,
        suspend: machine.suspend,
        revoked: machine.revoked,
        resolved_through: machine.resolved_through,
        retried_through: machine.retried_through,
        reported: machine.reported,
        last_number: machine.last_number,
        holds: machine.holds,
        first_converged: machine.first_converged,
    }
}

fn activity(activity: &Activity) -> StoredActivity {
    let activity = activity.clone();
    let steps = activity.spec.steps.iter().map(|step| StoredStep {
        action: step.action.clone(),
        baselines: step.baselines.clone().into_iter().collect(),
        timeout_seconds: step.timeout.as_secs(),
    });
    StoredActivity {
        name: activity.spec.name,
        machine_uid: activity.spec.machine_uid,
        steps: steps.collect(),
        revision: activity.spec.cause.revision.clone(),
        budgets: activity.spec.budgets,
        windows: activity.spec.windows,
        expiry: activity.spec.expiry,
        health: activity.spec.health,
        uid: activity.uid,
        created: activity.created,
        cancel: activity.cancel,
        epoch: activity.epoch,
        phase: activity.phase,
        delivered: activity.delivered,
        finished: activity.finished,
        outcome: activity.outcome,
        message: activity.message,
        step_statuses: activity.steps,
    }
}
