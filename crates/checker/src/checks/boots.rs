//! K4: at most 3 boots per activity, and 6 of ours a day on a machine.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use muster_model::{Instant, MachineName, StepAction};

use crate::event::{Event, What};
use crate::violation::{About, Findings};
use crate::world::World;

const PER_ACTIVITY: u32 = 3;
const PER_DAY: usize = 6;
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// By machine: when a reboot of ours began within the last day.
pub(crate) type Boots = BTreeMap<MachineName, Vec<Instant>>;

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
        What::StepStarted(step) => {
            let Some(activity) = world.activities.get(&step.name) else { return };
            let reboots = matches!(
                activity.spec.steps.get(step.step).map(|step| &step.action),
                Some(StepAction::Reboot { .. })
            );
            let again = activity.started.get(step.step).is_some_and(Option::is_some);
            if !reboots || again {
                return;
            }
            let at = step.at.unwrap_or(event.time);
            let today = boots.entry(step.name.machine.clone()).or_default();
            today.retain(|earlier| at.duration_since(*earlier) < DAY);
            today.push(at);
            if today.len() > PER_DAY {
                let message = format!("reboot {} within 24 hours: {PER_DAY} are allowed", today.len());
                findings.broken("K4", "TooManyBoots", About::Activity(&step.name), [], message);
            }
        }
        _ => {}
    }
}
