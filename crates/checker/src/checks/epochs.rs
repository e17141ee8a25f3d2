//! A3: what is delivered is of the present epoch; a controller whose clock is off starts nothing.

use jiff::SignedDuration;

use crate::event::{Event, What};
use crate::violation::{About, Findings};
use crate::world::World;

/// A gateway reads the lease and then writes: a lease that changes in between is no mistake of its, since the new leader
/// reads the activity after that, as waiting or as delivered, and counts it either way. As long as a request may take.
const READ_THEN_WRITE: SignedDuration = SignedDuration::from_secs(30);

/// By how much a controller's clock may differ (rule A3).
const CLOCK: SignedDuration = SignedDuration::from_secs(30);

pub(crate) fn check(world: &World, event: &Event, findings: &mut Findings<'_>) {
    match &event.event {
        What::Leading { epoch, controller } if *epoch <= world.epoch && world.epoch > 0 => {
            let message = format!("{controller} leads in epoch {epoch}, and {} was before it", world.epoch);
            findings.broken("A3", "EpochRepeated", About::Fleet, [], message);
        }
        What::ActivityDelivered { name, .. } => {
            let Some(activity) = world.activities.get(name) else { return };
            let about = About::Activity(name);
            let since = world.epoch_since.unwrap_or(event.time);
            if activity.late {
                let message = format!(
                    "a leader of epoch {} wrote it after epoch {} had begun, and nobody adopted it",
                    activity.epoch, world.epoch
                );
                findings.broken("A3", "LateLeaderDelivered", about, [], message);
            } else if activity.epoch < world.epoch
                && event.time.duration_since(since) > READ_THEN_WRITE + world.lag
            {
                let message = format!(
                    "it carries epoch {}, and epoch {} has gone on since {since}",
                    activity.epoch, world.epoch
                );
                findings.broken("A3", "OldEpochDelivered", about, [], message);
            }
        }
        What::ActivityCreated(created) => {
            let about = About::Activity(&created.spec.name);
            if world.epoch > 0 && created.epoch > world.epoch {
                let message = format!("epoch {} has not begun: {} goes on", created.epoch, world.epoch);
                findings.broken("A3", "EpochFromNowhere", about, [], message);
            }
            let by = created.by.as_ref();
            let off = world.clocks_off.iter().find(|(controller, _)| by.is_none_or(|by| by == *controller));
            if let Some((controller, since)) = off.filter(|(_, since)| world.was_known(**since, event.time)) {
                let message =
                    format!("the clock of {controller} is off since {since}: it is to start nothing");
                findings.broken("A3", "StartedWithClockOff", about, [], message);
            }
            if let Some(decided) = created.decided
                && decided.duration_since(event.time) > CLOCK
            {
                let message = format!("its writer's clock said {decided}: more than 30 s ahead");
                findings.broken("A3", "StartedWithClockOff", about, [], message);
            }
        }
        What::ActivityAdopted { name, epoch } if *epoch != world.epoch => {
            let message = format!("adopted for epoch {epoch}, and {} goes on", world.epoch);
            findings.broken("A3", "AdoptedForAnother", About::Activity(name), [], message);
        }
        _ => {}
    }
}
