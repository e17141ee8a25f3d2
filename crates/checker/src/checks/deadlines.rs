//! A4: no step starts after the expiry; ends by time come at their time and not before.

use jiff::SignedDuration;
use muster_model::{Instant, OutcomeReason, Phase};

use crate::event::{ActivityFinished, Event, What};
use crate::violation::{About, Findings};
use crate::world::{ActivityState, World};

/// A gateway says how many seconds are left, cut to whole ones, and the message takes a moment.
const WORD: SignedDuration = SignedDuration::from_secs(5);

/// Undelivered for so long: expired.
const UNDELIVERED: SignedDuration = SignedDuration::from_mins(2);

pub(crate) fn check(world: &World, event: &Event, findings: &mut Findings<'_>) {
    let now = event.time;
    match &event.event {
        What::StepStarted(step) => begun(world, &step.name, step.step, step.at.unwrap_or(now), findings),
        What::Acted(acted) if !acted.done => begun(world, &acted.activity, acted.step, now, findings),
        What::ActivityDelivered { name, at, .. } => {
            let Some(activity) = world.activities.get(name) else { return };
            let at = at.unwrap_or(now);
            if !activity.found && at.duration_since(activity.created) > UNDELIVERED + world.lag + WORD {
                let message =
                    format!("delivered at {at}, created at {}: after 2 min it is Expired", activity.created);
                findings.broken("A4", "DeliveredTooLate", About::Activity(name), [], message);
            }
        }
        What::ActivityFinished(finished) => {
            if let Some(activity) = world.activities.get(&finished.name) {
                end(world, activity, finished, finished.at.unwrap_or(now), findings);
            }
        }
        _ => {}
    }
}

fn begun(
    world: &World,
    name: &muster_model::ActivityName,
    step: usize,
    at: Instant,
    findings: &mut Findings<'_>,
) {
    let Some(activity) = world.activities.get(name) else { return };
    let again = activity.started.get(step).is_some_and(Option::is_some)
        || activity.acted.get(step).is_some_and(|(began, _)| *began > 0);
    if !again && at > activity.spec.expiry + WORD {
        let message = format!("step {step} began at {at}: no step starts after {}", activity.spec.expiry);
        findings.broken("A4", "StepAfterExpiry", About::Activity(name), [], message);
    }
}

fn end(
    world: &World,
    activity: &ActivityState,
    finished: &ActivityFinished,
    at: Instant,
    findings: &mut Findings<'_>,
) {
    let (due, what) = match (finished.phase, finished.outcome) {
        (Phase::Expired, Some(OutcomeReason::Undelivered)) => {
            (activity.created + UNDELIVERED, "2 min undelivered")
        }
        (Phase::Expired, _) => (activity.spec.expiry, "its expiry"),
        (Phase::Failed, Some(reason @ (OutcomeReason::TimedOut | OutcomeReason::Unreachable))) => {
            let Some(due) = step_deadline(activity, reason) else { return };
            (due, "its step's timeout")
        }
        _ => return,
    };
    if at + world.lag + WORD < due {
        let message = format!("ended at {at}, before {what} at {due}");
        findings.broken("A4", "EndedTooEarly", About::Activity(&activity.spec.name), [], message);
    }
}

/// When the step that is under way, if one is, has taken too long.
///
/// The machine's own clock ends what times out, and when it began may be on record only later: not before it was
/// delivered, in any case. That a machine is unreachable is told from the record alone.
fn step_deadline(activity: &ActivityState, reason: OutcomeReason) -> Option<Instant> {
    let open = activity.completed.iter().position(Option::is_none)?;
    let started = activity.started.get(open).copied().flatten()?;
    let step = activity.spec.steps.get(open)?;
    let since = match (reason, activity.delivered) {
        (OutcomeReason::TimedOut, Some(delivered)) => delivered.min(started),
        _ => started,
    };
    Some(since + step.timeout.length())
}
