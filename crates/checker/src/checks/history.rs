//! A10: only what is over is deleted, beyond the limit or past its time, and the newest is kept.

use crate::event::{Event, What};
use crate::violation::{About, Findings};
use crate::world::World;

pub(crate) fn check(world: &World, event: &Event, findings: &mut Findings<'_>) {
    let What::ActivityDeleted { name } = &event.event else { return };
    let about = About::Activity(name);
    let Some(activity) = world.activities.get(name) else { return };
    let Some(machine) = world.machines.get(&name.machine) else { return };
    // Of an earlier machine of the same name nothing need be kept.
    if machine.spec.now().is_none_or(|spec| spec.uid != activity.spec.machine_uid) {
        return;
    }
    if !activity.phase.is_finished() {
        let message = format!("it is {}: only what is over is deleted", activity.phase.as_str());
        findings.broken("A10", "DeletedUnfinished", about, [], message);
        return;
    }
    let newer = world
        .history(&name.machine)
        .filter(|other| {
            other.deleted.is_none() && other.phase.is_finished() && other.spec.name.number > name.number
        })
        .count();
    let policies = world.policies(event.time);
    let limit = policies.iter().map(|policy| policy.history_limit as usize).min().unwrap_or(0);
    let ttl = policies.iter().map(|policy| policy.ttl.length()).min().unwrap_or_default();
    let old = activity.age(event.time).is_none_or(|age| age + world.lag >= ttl);
    if newer == 0 || (newer < limit && !old) {
        let message = format!(
            "{newer} newer ones are kept of {limit}, and it ended {} ago, not {ttl:#}: the newest stay",
            activity.age(event.time).map_or_else(String::new, |age| format!("{:#}", rounded(age)))
        );
        findings.broken("A10", "DeletedTooEarly", about, [], message);
    }
}

fn rounded(length: jiff::SignedDuration) -> jiff::SignedDuration {
    jiff::SignedDuration::from_secs(length.as_secs())
}
