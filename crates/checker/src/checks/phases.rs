//! A2, A5: phases never go back; an end says what it means.

use muster_model::Phase;

use crate::event::{ActivityFinished, StepEvent, What};
use crate::violation::{About, Findings};
use crate::world::{ActivityState, World};

pub(crate) fn check(world: &World, what: &What, findings: &mut Findings<'_>) {
    let (name, to) = match what {
        What::ActivityDelivered { name, .. } => (name, Phase::Delivered),
        What::StepStarted(StepEvent { name, .. }) | What::StepCompleted(StepEvent { name, .. }) => {
            (name, Phase::Running)
        }
        What::ActivityVerifying { name } => (name, Phase::Verifying),
        What::ActivityFinished(finished) => (&finished.name, finished.phase),
        What::ActivityAdopted { name, .. } => (name, Phase::Pending),
        _ => return,
    };
    let about = About::Activity(name);
    let Some(activity) = world.activities.get(name) else {
        findings.unjudged("A2", "UnknownActivity", about, "nothing said that it exists".to_owned());
        return;
    };
    let back = activity.phase.is_finished()
        || match to {
            Phase::Pending | Phase::Delivered => activity.phase != Phase::Pending,
            Phase::Running => activity.phase > Phase::Running,
            _ => false,
        };
    if back {
        let message = format!("from {} to {}: phases never go back", activity.phase.as_str(), to.as_str());
        findings.broken("A2", "PhaseWentBack", about, [], message);
        return;
    }
    match what {
        What::StepStarted(_) | What::ActivityVerifying { .. } if activity.phase == Phase::Pending => {
            let message = "it began without having been delivered".to_owned();
            findings.broken("A2", "BegunUndelivered", about, [], message);
        }
        What::StepStarted(step) => order(activity, step.step, findings),
        What::ActivityFinished(finished) => end(activity, finished, findings),
        _ => {}
    }
}

/// Steps come in their order, each after the one before is done.
fn order(activity: &ActivityState, step: usize, findings: &mut Findings<'_>) {
    let about = About::Activity(&activity.spec.name);
    if step >= activity.spec.steps.len() {
        findings.broken(
            "A2",
            "NoSuchStep",
            about,
            [],
            format!("step {step} of {}", activity.spec.steps.len()),
        );
    } else if let Some(open) = activity.completed[..step].iter().position(Option::is_none) {
        let message = format!("step {step} began while step {open} was not done: steps come in their order");
        findings.broken("A2", "StepOutOfOrder", about, [], message);
    }
}

fn end(activity: &ActivityState, finished: &ActivityFinished, findings: &mut Findings<'_>) {
    let about = About::Activity(&activity.spec.name);
    let done = activity.completed.iter().flatten().count();
    let began = activity.started.iter().flatten().count();
    match finished.phase {
        Phase::Succeeded if done < activity.spec.steps.len() => {
            let message = format!("Succeeded with {done} of {} steps done", activity.spec.steps.len());
            findings.broken("A2", "SucceededUndone", about, [], message);
        }
        Phase::Refused if done > 0 => {
            let message = format!("Refused says that nothing was changed, but {done} steps are done");
            findings.broken("A2", "RefusedChanged", about, [], message);
        }
        Phase::Expired if began > 0 => {
            let message = format!("Expired says that nothing began, but {began} steps did");
            findings.broken("A2", "ExpiredBegun", about, [], message);
        }
        Phase::Canceled if began > 0 => {
            let message = "Canceled says that nothing began; what has begun is Interrupted".to_owned();
            findings.broken("A5", "CanceledBegun", about, [], message);
        }
        Phase::Canceled if activity.phase > Phase::Pending && !activity.cancel => {
            let message = "it was delivered, and nobody had asked for its end".to_owned();
            findings.broken("A5", "CanceledUnasked", about, [], message);
        }
        Phase::Pending | Phase::Delivered | Phase::Running | Phase::Verifying => {
            findings.unjudged("A2", "NoEnd", about, format!("{} is no end", finished.phase.as_str()));
        }
        Phase::Succeeded
        | Phase::Failed
        | Phase::Refused
        | Phase::Interrupted
        | Phase::Canceled
        | Phase::Expired => {}
    }
}
