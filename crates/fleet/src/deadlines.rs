//! What becomes of activities that don't move: adoption, cancel, deadlines (rules A3, A4, A5, A9).

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use muster_model::{
    Activity, ActivityName, Instant, MachineName, OutcomeReason, Phase, Presence, StepAction,
};

use crate::State;
use crate::input::{Effect, Key};

/// An activity that no gateway delivered in that time is taken back (rule A4).
const UNDELIVERED: SignedDuration = SignedDuration::from_mins(2);

/// How long after its deadline we wait for the agent's own word, which may be under way.
const GRACE: SignedDuration = SignedDuration::from_mins(2);

/// How long a write about an activity may stay unseen before it is made again; it is conditional, so twice is harmless.
pub(crate) const ASKED: SignedDuration = SignedDuration::from_secs(30);

/// Adopts, cancels and ends what needs it: of machines that have `changed`, of what came due, and of what the plan cancels.
/// All is looked at where `changed` is `None`.
pub(crate) fn effects(
    state: &mut State,
    now: Instant,
    cancels: &BTreeMap<ActivityName, OutcomeReason>,
    changed: Option<&BTreeSet<MachineName>>,
) -> Vec<Effect> {
    let mut effects = Vec::new();
    for name in to_look_at(state, now, cancels, changed) {
        let (effect, again) = look(state, now, &name, cancels.get(&name).copied());
        match again {
            Again::Never => state.deadlines.set(&name, None),
            Again::At(at) => state.deadlines.set(&name, Some(at)),
            Again::Always => state.deadlines.set_always(&name),
        }
        let Some(effect) = effect else { continue };
        let cancel = matches!(effect, Effect::AskCancel { .. });
        let seen = state.world.activities[&name].phase;
        state.deadlines.set(&name, Some(now + ASKED));
        state.asked.insert(name, (seen, cancel, now));
        effects.push(effect);
    }
    if let Some(next) = state.deadlines.next(now) {
        state.wake_at(next);
    }
    effects
}

fn to_look_at(
    state: &State,
    now: Instant,
    cancels: &BTreeMap<ActivityName, OutcomeReason>,
    changed: Option<&BTreeSet<MachineName>>,
) -> BTreeSet<ActivityName> {
    let due = state.deadlines.due(now).chain(cancels.keys()).cloned();
    match changed {
        None => due.chain(state.world.activities.keys().cloned()).collect(),
        Some(machines) => {
            let theirs = machines.iter().flat_map(|machine| state.world.activities_of(machine));
            due.chain(theirs.map(|activity| activity.spec.name.clone())).collect()
        }
    }
}

/// When an activity is to be looked at again though nothing is heard of it.
enum Again {
    Never,
    At(Instant),
    Always,
}

/// What is to be done about one activity.
fn look(
    state: &State,
    now: Instant,
    name: &ActivityName,
    wish: Option<OutcomeReason>,
) -> (Option<Effect>, Again) {
    let open = state.world.activities.get(name).filter(|activity| !activity.phase.is_finished());
    let Some(activity) = open.filter(|_| !state.reserved.contains(name)) else { return (None, Again::Never) };
    let epoch = state.world.epoch;
    let key = Key::Activity(name.clone());
    if let Some((_, _, since)) = state.asked.get(name)
        && now < *since + ASKED
    {
        return (None, Again::At(*since + ASKED));
    }
    if !state.may_write(&key, now) {
        return (None, Again::Always);
    }
    let late = activity.epoch < epoch && !state.inherited.contains(name);
    let wish = match activity.phase {
        Phase::Pending if activity.cancel => Some(OutcomeReason::CancelRequested),
        // A leader that was paused wrote it after we had counted the places: nobody answers for it (rule A3).
        Phase::Pending if late => Some(OutcomeReason::NotAdopted),
        _ => wish,
    };
    match wish {
        Some(outcome) => (cancel(activity, outcome), Again::Always),
        // By a clock that is off nothing is overdue (rule A3).
        None if state.world.clock_off => (None, Again::Never),
        None => match overdue(state, activity, now) {
            Overdue::Ended(phase, outcome, message) => {
                let (name, seen) = (name.clone(), activity.phase);
                (Some(Effect::EndActivity { name, seen, phase, outcome, message }), Again::Never)
            }
            Overdue::At(at) => {
                let inherited = activity.epoch != epoch && state.inherited.contains(name);
                let adopts = activity.phase == Phase::Pending && inherited;
                (adopts.then(|| Effect::AdoptActivity { name: name.clone(), epoch }), Again::At(at))
            }
        },
    }
}

fn cancel(activity: &Activity, outcome: OutcomeReason) -> Option<Effect> {
    let name = activity.spec.name.clone();
    match activity.phase {
        Phase::Pending => Some(Effect::EndActivity {
            name,
            seen: Phase::Pending,
            phase: Phase::Canceled,
            outcome,
            message: "canceled before it was delivered".to_owned(),
        }),
        Phase::Delivered | Phase::Running if !activity.cancel => Some(Effect::AskCancel { name, outcome }),
        _ => None,
    }
}

enum Overdue {
    Ended(Phase, OutcomeReason, String),
    At(Instant),
}

fn overdue(state: &State, activity: &Activity, now: Instant) -> Overdue {
    match activity.phase {
        Phase::Pending => {
            let at = activity.created + UNDELIVERED;
            if at > now {
                return Overdue::At(at);
            }
            Overdue::Ended(
                Phase::Expired,
                OutcomeReason::Undelivered,
                "no gateway could deliver it within two minutes".to_owned(),
            )
        }
        Phase::Delivered => {
            let at = activity.spec.expiry + GRACE;
            if at > now {
                return Overdue::At(at);
            }
            Overdue::Ended(
                Phase::Expired,
                OutcomeReason::NotBegun,
                "the agent did not begin it before it expired".to_owned(),
            )
        }
        Phase::Running | Phase::Verifying => running(state, activity, now),
        Phase::Succeeded
        | Phase::Failed
        | Phase::Refused
        | Phase::Interrupted
        | Phase::Canceled
        | Phase::Expired => Overdue::At(Instant::MAX),
    }
}

/// Whether its health may be watched now, before the step of that number begins.
fn proves_next(activity: &Activity, begun: usize) -> bool {
    let next = activity.spec.steps.get(begun);
    next.is_some_and(|step| matches!(step.action, StepAction::SetDefaultKernel(_)))
        && activity.steps.last().is_some_and(|step| step.completed.is_some())
}

fn running(state: &State, activity: &Activity, now: Instant) -> Overdue {
    let begun = activity.steps.len();
    let last = activity.steps.last();
    let since = last
        .and_then(|step| step.completed.or(step.started))
        .or(activity.delivered)
        .unwrap_or(activity.created);
    let step = begun.checked_sub(1).and_then(|at| activity.spec.steps.get(at));
    let settle = SignedDuration::from_secs(i64::from(activity.spec.health.settle_seconds));
    // As long as the units must be well, and as long again for them to come up.
    let verifying = settle * 2 + SignedDuration::from_mins(10);
    let timeout = match step {
        // A kernel becomes the default only once the machine is healthy with it (rule K2).
        Some(step) if activity.phase == Phase::Running && proves_next(activity, begun) => {
            step.timeout.max(verifying)
        }
        Some(step) if activity.phase == Phase::Running => step.timeout,
        _ => verifying,
    };
    let at = since + timeout + GRACE;
    if at > now {
        return Overdue::At(at);
    }
    let silent = state
        .world
        .machines
        .get(&activity.spec.name.machine)
        .is_none_or(|machine| !matches!(machine.presence, Presence::Present));
    let reboot = step.is_some_and(|step| matches!(step.action, StepAction::Reboot { .. }));
    let minutes = timeout.as_mins();
    if silent && (reboot || activity.phase == Phase::Verifying) {
        let message = format!("the machine has not been heard for more than {minutes} min after its reboot");
        return Overdue::Ended(Phase::Failed, OutcomeReason::Unreachable, message);
    }
    let what = step.map_or("its check", |step| step.action.type_name());
    Overdue::Ended(Phase::Failed, OutcomeReason::TimedOut, format!("{what} took more than {minutes} min"))
}
