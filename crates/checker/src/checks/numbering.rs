//! A1: numbers are never used twice; a machine has at most one unfinished activity.

use crate::event::What;
use crate::unavailable::unfinished;
use crate::violation::{About, Findings};
use crate::world::World;

pub(crate) fn check(world: &World, what: &What, findings: &mut Findings<'_>) {
    let What::ActivityCreated(created) = what else { return };
    let name = &created.spec.name;
    let highest = world.highest.get(&name.machine).copied().unwrap_or(0);
    if name.number <= highest {
        findings.broken(
            "A1",
            "NumberUsedTwice",
            About::Activity(name),
            [],
            format!("{highest} was used already: the next number is {}", highest + 1),
        );
    }
    // What a late leader wrote is nobody's: it is not carried out.
    if created.epoch < world.epoch {
        return;
    }
    if let Some(other) = unfinished(world, name) {
        findings.broken(
            "A1",
            "TwoUnfinished",
            About::Activity(name),
            [format!("Activity/{}", other.spec.name)],
            format!("{} of the same machine is {} still", other.spec.name, other.phase.as_str()),
        );
    }
}
