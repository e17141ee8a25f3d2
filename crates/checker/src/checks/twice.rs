//! Style 4, design §7: no step is ever done twice, nor by another machine, nor without having been delivered.

use crate::event::What;
use crate::violation::{About, Findings};
use crate::world::{ActivityState, World};
use muster_model::{OutcomeReason, Phase};

pub(crate) fn check(world: &World, what: &What, findings: &mut Findings<'_>) {
    let What::Acted(acted) = what else { return };
    let about = About::Activity(&acted.activity);
    let Some(activity) = world.activities.get(&acted.activity) else {
        let message = format!("{} acts on an activity that nothing said exists", acted.machine);
        findings.broken("A1", "ActedOnNothing", about, [], message);
        return;
    };
    if acted.machine != acted.activity.machine {
        let message = format!("{} acted on it", acted.machine);
        findings.broken("A1", "ActedByAnother", about, [], message);
    }
    if activity.uid.as_ref().is_some_and(|uid| *uid != acted.uid) {
        let message = format!("uid {} acted, and it has another", acted.uid);
        findings.broken("A1", "ActedOnAnother", about, [], message);
    }
    let done = activity.acted.get(acted.step).map_or(0, |(_, done)| *done);
    if done > 0 {
        let message = format!("step {} was done already", acted.step);
        findings.broken("A1", "StepDoneTwice", about, [], message);
    }
    let begun = activity.acted.get(acted.step).is_some_and(|(began, _)| *began > 0);
    if !acted.done && begun && done == 0 && said_its_end(activity) {
        let message = format!(
            "step {} began again, and its machine had said that it is {}",
            acted.step,
            activity.phase.as_str()
        );
        findings.broken("A1", "BegunAfterEnd", about, [], message);
    }
    let begins = !acted.done && activity.acted.iter().all(|(began, _)| *began == 0);
    let undone = matches!(activity.phase, Phase::Pending | Phase::Canceled | Phase::Expired | Phase::Refused);
    if begins && undone {
        let message = format!("it began though it is {}", activity.phase.as_str());
        findings.broken("A3", "BegunUndelivered", about, [], message);
    }
    let other = world.history(&acted.machine).find(|other| {
        other.spec.name != acted.activity
            && other.acted.iter().any(|(began, done)| began > done)
            && other.is_unfinished()
    });
    if let Some(other) = other.filter(|_| begins) {
        let message = format!("it began while {} is under way there", other.spec.name);
        findings.broken("A1", "TwoAtOnce", about, [format!("Activity/{}", other.spec.name)], message);
    }
}

/// Whether the machine itself told how it ended. What a controller ends by time, its machine may be in the middle of.
fn said_its_end(activity: &ActivityState) -> bool {
    let told =
        matches!(activity.phase, Phase::Succeeded | Phase::Failed | Phase::Refused | Phase::Interrupted);
    told && !matches!(activity.outcome, Some(OutcomeReason::TimedOut | OutcomeReason::Unreachable))
}
