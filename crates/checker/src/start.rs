//! A start: the moment at which an activity takes its place and its windows, which most rules are about.
//!
//! That is its creation. What a leader wrote after it had been replaced is no start, since nobody is to carry it out
//! (rule A3); it becomes one when the new leader adopts it.

use muster_model::Instant;

use crate::event::{ActivitySpec, Baseline, Step, What};
use crate::world::{MachineState, World};

/// A start.
#[derive(Clone, Copy)]
pub(crate) struct Start<'a> {
    pub(crate) spec: &'a ActivitySpec,
    /// The instant for which it was decided.
    pub(crate) at: Instant,
    /// Its machine, if there is one.
    pub(crate) machine: Option<&'a MachineState>,
}

impl<'a> Start<'a> {
    /// Whether the event is a start, in the world before it.
    pub(crate) fn of(world: &'a World, now: Instant, what: &'a What) -> Option<Self> {
        let (spec, at) = match what {
            What::ActivityCreated(created) if created.epoch >= world.epoch => {
                (&created.spec, created.decided.unwrap_or(now))
            }
            What::ActivityAdopted { name, .. } => {
                let activity = world.activities.get(name).filter(|activity| activity.late)?;
                (&activity.spec, now)
            }
            _ => return None,
        };
        Some(Self { spec, at, machine: world.machines.get(&spec.name.machine) })
    }

    /// The baselines that a step serves, as they may be seen, where they are there.
    pub(crate) fn baselines_of(&self, world: &'a World, step: &Step) -> Vec<Vec<&'a Baseline>> {
        let versions = |reference| {
            let kept = world.baselines.get(reference);
            kept.map_or_else(Vec::new, |kept| {
                kept.possible(self.at, world.lag).into_iter().flatten().collect()
            })
        };
        step.baselines.iter().map(versions).collect()
    }
}
