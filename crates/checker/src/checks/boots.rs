//! K4: at most 3 boots per activity, and 6 of ours a day on a machine.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use muster_model::{ActivityName, Instant, MachineName, OutcomeReason, StepAction};

use crate::event::{Event, StepEvent, What};
use crate::violation::{About, Findings};
use crate::world::World;

const PER_ACTIVITY: u32 = 3;
const PER_DAY: usize = 6;
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// By machine: the reboots of ours that began within the last day.
pub(crate) type Boots = BTreeMap<MachineName, Vec<Began>>;

/// A reboot that a machine was asked for: on record it begins with its preparation, and then may never be.
pub(crate) struct Began {
    activity: ActivityName,
    step: usize,
    at: Instant,
}

pub(crate) fn check(event: &Event, boots: &mut Boots, world: &World, findings: &mut Findings<'_>) {
    match &event.event {
        What::Booted(booted) => {
            let Some(name) = &booted.activity else { return };
            let boots = world.activities.get(name).map_or(0, |activity| activity.boots) + 1;
            if boots > PER_ACTIVITY {
                let message = format!("boot {boots} of one activity: {PER_ACTIVITY} are allowed");
                findings.broken("K4", "TooManyBoots", About::Activity(name), [], message);
            }
        }
        What::Acted(acted) if !acted.done => {
            began(&acted.activity, acted.step, event.time, boots, world, findings);
        }
        // Where no machine says what it does, as its status says afterwards.
        What::StepCompleted(StepEvent { name, step, at: _ }) => {
            let Some(activity) = world.activities.get(name) else { return };
            let at = activity.started.get(*step).copied().flatten().unwrap_or(event.time);
            began(name, *step, at, boots, world, findings);
        }
        What::ActivityFinished(end) if end.outcome == Some(OutcomeReason::BootFallback) => {
            let Some(activity) = world.activities.get(&end.name) else { return };
            if let Some((step, at)) = activity.started.iter().flatten().enumerate().last() {
                began(&end.name, step, *at, boots, world, findings);
            }
        }
        _ => {}
    }
}

fn began(
    name: &ActivityName,
    step: usize,
    at: Instant,
    boots: &mut Boots,
    world: &World,
    findings: &mut Findings<'_>,
) {
    let Some(activity) = world.activities.get(name) else { return };
    let reboots =
        matches!(activity.spec.steps.get(step).map(|step| &step.action), Some(StepAction::Reboot { .. }));
    let today = boots.entry(name.machine.clone()).or_default();
    if !reboots || today.iter().any(|one| one.activity == *name && one.step == step) {
        return;
    }
    today.retain(|earlier| at.duration_since(earlier.at) < DAY);
    today.push(Began { activity: name.clone(), step, at });
    if today.len() > PER_DAY {
        let message = format!("reboot {} within 24 hours: {PER_DAY} are allowed", today.len());
        findings.broken("K4", "TooManyBoots", About::Activity(name), [], message);
    }
}
