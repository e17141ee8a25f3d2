//! What an activity leaves behind when all goes well, and the report that shows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_model::{
    Activity, ActivityName, Digest, Instant, Inventory, Machine, Phase, Report, Snapshot, StepAction,
    StepStatus,
};

/// Successes; machines with the same packages that do the same have the same packages afterwards.
#[derive(Default)]
pub(super) struct Outcomes {
    /// By what was there and what was done.
    known: BTreeMap<(Digest, Digest), Digest>,
}

impl Outcomes {
    /// The activity has succeeded by now, and the machine has said so.
    pub(super) fn succeed(&mut self, snapshot: &mut Snapshot, name: &ActivityName) {
        let now = snapshot.now;
        let Some(activity) = snapshot.activities.get_mut(name) else { return };
        let activity = Arc::make_mut(activity);
        activity.phase = Phase::Succeeded;
        activity.finished = Some(now);
        activity.steps = activity
            .spec
            .steps
            .iter()
            .enumerate()
            .map(|(place, _)| StepStatus {
                started: activity.steps.get(place).and_then(|step| step.started).or(Some(now)),
                completed: Some(now),
            })
            .collect();
        let activity: &Activity = activity;
        let Some(machine) = snapshot.machines.get_mut(&name.machine) else { return };
        let machine: &mut Machine = Arc::make_mut(machine);
        let Some(reported) = &mut machine.reported else { return };
        reported.time = now;
        reported.sequence += 1;
        reported.report.last_activity = name.number;
        activity.spec.steps.iter().for_each(|step| shown(&mut reported.report, &step.action, now));
        let before = reported.report.inventory.clone();
        if let Some(inventory) = snapshot.inventories.get(&before) {
            let done: Vec<&StepAction> = activity.spec.steps.iter().map(|step| &step.action).collect();
            // Not the digest of its JSON: a name for it is enough here, and costs a hundredth.
            let done_digest = Digest::of(format!("{done:?}").as_bytes());
            let known = self
                .known
                .entry((before.clone(), done_digest.clone()))
                .or_insert_with(|| Digest::of(format!("{before} after {done_digest}").as_bytes()));
            reported.report.inventory = known.clone();
            if !snapshot.inventories.contains_key(known) {
                let mut inventory = Inventory::clone(inventory);
                done.into_iter().for_each(|action| inventory.carry_out(action));
                snapshot.inventories.insert(known.clone(), Arc::new(inventory));
            }
        }
    }
}

/// What the report says beside packages.
fn shown(report: &mut Report, action: &StepAction, now: Instant) {
    report.kernel.carry_out(action);
    match action {
        StepAction::RepairPackages => report.dpkg_interrupted = false,
        StepAction::Reboot { .. } => {
            report.boot.time = now;
            report.reboot_required = None;
        }
        StepAction::InstallPackages(_)
        | StepAction::RemovePackages(_)
        | StepAction::HoldPackages { .. }
        | StepAction::SelectKernel(_)
        | StepAction::SetDefaultKernel(_) => {}
    }
}
