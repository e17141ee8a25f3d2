//! What goes: old activities (rule A10), rollouts of baselines that are gone, inventories and proposals that nothing
//! refers to (design §8), and what people said that says nothing any more (`words`).

use std::collections::{BTreeMap, BTreeSet};
use std::mem::{Discriminant, discriminant};

use jiff::SignedDuration;
use muster_model::{
    Activity, ActivityName, Instant, Item, MachineName, PackageKey, Phase, Step, StepAction, Target,
};

use crate::State;
use crate::deadlines::ASKED;
use crate::input::{Effect, Garbage};
use crate::words;

/// The newest failures, which are kept whatever the limits.
const FAILURES_KEPT: usize = 4;

/// Failures in a row that are kept while they may hold their machine's place (rule B2), at the most.
const UNRESOLVED_KEPT: usize = 50;

/// How long something must have been unreferenced before it is marked: a machine that comes back after a day's
/// maintenance finds its inventory.
const UNREFERENCED: SignedDuration = SignedDuration::from_hours(24);

/// How long between mark and deletion, so that a gateway that is about to refer to it sees the mark.
const MARKED: SignedDuration = SignedDuration::from_mins(10);

/// The time to the next batch of deletions, if nothing wakes us before.
const NEXT_BATCH: SignedDuration = SignedDuration::from_secs(1);

/// Whatever the limit, so many finished ones are kept while they are fresh, those aside that were canceled: rule A2 counts refusals
/// in a row, and passes over what was canceled between them.
const JUDGED: usize = 4;

/// Reboots are counted over so long (rule K4).
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Deletions of one pass, so that a large change of the limit does not flood the API.
const DELETIONS_AT_ONCE: usize = 200;

/// What is to be deleted or marked now; of machines' activities where something has `changed` or come due (`None`: of all).
pub(crate) fn effects(
    state: &mut State,
    now: Instant,
    changed: Option<&BTreeSet<MachineName>>,
) -> Vec<Effect> {
    state.deleting.retain(|_, since| *since + ASKED > now);
    // By a clock that is off nothing is old (rule A3).
    if state.world.clock_off {
        return Vec::new();
    }
    let mut effects = activities(state, now, changed);
    effects.extend(rollouts(state));
    effects.extend(garbage(state, now));
    effects.extend(words::effects(state, now));
    effects.retain(|effect| {
        effect.key().is_none_or(|key| state.may_write(&key, now) && !state.deleting.contains_key(&key))
    });
    if effects.len() > DELETIONS_AT_ONCE {
        effects.truncate(DELETIONS_AT_ONCE);
        state.garbage_looked = None;
        state.wake_at(now + NEXT_BATCH);
    }
    for effect in &effects {
        match (effect, effect.key()) {
            // Once is enough until a watch shows it; a write that failed makes it due again.
            (Effect::Mark { garbage, .. }, _) => drop(state.unreferenced.insert(garbage.clone(), now)),
            (_, Some(key)) => drop(state.deleting.insert(key, now)),
            (_, None) => {}
        }
    }
    if let Some(since) = state.deleting.values().min().copied() {
        state.wake_at(since + ASKED);
    }
    effects
}

fn activities(state: &mut State, now: Instant, changed: Option<&BTreeSet<MachineName>>) -> Vec<Effect> {
    let machines: BTreeSet<MachineName> = match changed {
        None => state.world.activities.keys().map(|name| name.machine.clone()).collect(),
        Some(machines) => machines.iter().chain(state.history.due(now)).cloned().collect(),
    };
    let mut effects = Vec::new();
    for machine in &machines {
        let Look { gone, next, is_kept_by_record } = look(state, machine, now);
        // Until they are gone, and until the record lets them go.
        if is_kept_by_record || !gone.is_empty() {
            state.history.set_always(machine);
            next.into_iter().for_each(|next| state.wake_at(next));
        } else {
            state.history.set(machine, next);
        }
        effects.extend(gone);
    }
    if let Some(next) = state.history.next(now) {
        state.wake_at(next);
    }
    effects
}

/// What becomes of one machine's finished activities.
#[derive(Default)]
struct Look {
    gone: Vec<Effect>,
    /// When the next of them may go.
    next: Option<Instant>,
    /// One is kept because of what rollouts have on record, which may change.
    is_kept_by_record: bool,
}

fn look(state: &State, machine: &MachineName, now: Instant) -> Look {
    let limit = state.world.policy.history_limit as usize;
    let ttl = state.world.policy.ttl;
    let mut look = Look::default();
    // Of a machine that is gone nothing is judged any more.
    let there = state.world.machines.contains_key(machine);
    let (retried, resolved) = state
        .world
        .machines
        .get(machine)
        .map_or((0, 0), |machine| (machine.retried_through, machine.resolved_through));
    let (mut finished, mut judged) = (0, 0);
    let mut failures = 0;
    let mut succeeded: Vec<Discriminant<StepAction>> = Vec::new();
    let mut has_last_change = false;
    for (age, activity) in state.world.activities_of(machine).rev().enumerate() {
        if !activity.phase.is_finished() {
            continue;
        }
        finished += 1;
        judged += usize::from(activity.phase != Phase::Canceled);
        if activity.phase == Phase::Succeeded {
            succeeded.extend(activity.spec.steps.iter().map(|step| discriminant(&step.action)));
        }
        failures += usize::from(activity.phase == Phase::Failed);
        let is_newest = age == 0 || (activity.phase == Phase::Failed && failures <= FAILURES_KEPT);
        // What failed since the last change there is told by that (rule B2).
        let is_last_change = activity.phase.may_have_changed() && !has_last_change;
        has_last_change |= is_last_change;
        // It holds its place until somebody resolves it, a later success, or a report that shows what it was to reach.
        let holds = activity.phase == Phase::Failed
            && succeeded.is_empty()
            && activity.spec.name.number > resolved
            && failures <= UNRESOLVED_KEPT;
        if there && (is_newest || is_last_change || holds) {
            continue;
        }
        let counts = activity.phase == Phase::Failed
            && activity.spec.name.number > retried
            && may_count(state, activity, &succeeded);
        if there && counts {
            look.is_kept_by_record = true;
            continue;
        }
        let mut end = ended(activity) + ttl;
        if finished > limit && (judged > JUDGED || activity.phase == Phase::Canceled) {
            end = Instant::MIN;
        }
        if there && is_reboot(activity) {
            end = end.max(ended(activity) + DAY);
        }
        if end <= now {
            look.gone.push(Effect::DeleteActivity { name: activity.spec.name.clone() });
        } else {
            look.next = Some(look.next.map_or(end, |next| next.min(end)));
        }
    }
    if there {
        let gone = look.gone.len();
        let made_good = made_good(state, machine, &look.gone);
        look.gone
            .retain(|effect| !matches!(effect, Effect::DeleteActivity { name } if made_good.contains(name)));
        look.is_kept_by_record |= look.gone.len() < gone;
    }
    look
}

/// Successes that say of a failure which is kept that it counts no more: the first one after it (rule B2), and the first that
/// brought one of its packages (rules O3, A6). Without them it would count again.
fn made_good<'a>(state: &'a State, machine: &'a MachineName, gone: &[Effect]) -> BTreeSet<ActivityName> {
    let goes = |activity: &Activity| {
        gone.iter()
            .any(|effect| matches!(effect, Effect::DeleteActivity { name } if *name == activity.spec.name))
    };
    let packages = |activity: &'a Activity| {
        let steps = activity.spec.steps.iter();
        let requested = steps.flat_map(|step| match &step.action {
            StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
                transaction.requested.as_slice()
            }
            StepAction::HoldPackages { .. }
            | StepAction::RepairPackages
            | StepAction::SelectKernel(_)
            | StepAction::SetDefaultKernel(_)
            | StepAction::Reboot { .. } => &[],
        });
        requested.map(|change| &change.package)
    };
    let mut first: Option<&ActivityName> = None;
    let mut brought: BTreeMap<&PackageKey, &ActivityName> = BTreeMap::new();
    let mut kept = BTreeSet::new();
    for activity in state.world.activities_of(machine).rev() {
        let name = &activity.spec.name;
        match activity.phase {
            Phase::Succeeded => {
                first = Some(name);
                brought.extend(packages(activity).map(|package| (package, name)));
            }
            Phase::Failed if !goes(activity) => {
                kept.extend(first.cloned());
                kept.extend(packages(activity).filter_map(|package| brought.get(package).copied().cloned()));
            }
            _ => {}
        }
    }
    kept
}

/// Whether a failure may still judge what is to come: it failed an item that is on record, so that it counts against that
/// (rule O3) and as an attempt (rule A6); or it was at something else that has not succeeded since, such as a repair or a
/// boot, of which there are few attempts and after some failures none (rule A6).
fn may_count(state: &State, activity: &Activity, succeeded: &[Discriminant<StepAction>]) -> bool {
    let is_on_record = |step: &Step, change: &muster_model::Change| {
        let target = change.to.clone().map_or(Target::Absent, Target::Version);
        let item = Item { package: change.package.clone(), target };
        let rollouts = step.baselines.keys().filter_map(|baseline| state.world.rollouts.get(baseline));
        rollouts.into_iter().any(|rollout| rollout.items.contains_key(&item))
    };
    activity.spec.steps.iter().any(|step| match &step.action {
        StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
            transaction.requested.iter().any(|change| is_on_record(step, change))
        }
        action => !succeeded.contains(&discriminant(action)),
    })
}

fn is_reboot(activity: &Activity) -> bool {
    let mut steps = activity.spec.steps.iter().zip(&activity.steps);
    steps.any(|(step, status)| matches!(step.action, StepAction::Reboot { .. }) && status.started.is_some())
}

fn ended(activity: &Activity) -> Instant {
    activity.finished.unwrap_or(activity.created)
}

fn rollouts(state: &State) -> Vec<Effect> {
    let gone = |baseline: &&muster_model::BaselineRef| match baseline.kind {
        muster_model::BaselineKind::PackageBaseline => {
            !state.world.package_baselines.contains_key(&baseline.name)
        }
        muster_model::BaselineKind::KernelBaseline => {
            !state.world.kernel_baselines.contains_key(&baseline.name)
        }
    };
    state
        .world
        .rollouts
        .keys()
        .filter(gone)
        // What cannot be read at the moment is still there, and so are its bars (rule O3).
        .filter(|baseline| !state.world.unreadable.contains_key(baseline.to_string().as_str()))
        .map(|baseline| Effect::DeleteRollout { baseline: baseline.clone() })
        .collect()
}

/// What nothing refers to is looked for so often at the most: it is kept for a day anyway, and in a fleet in motion there
/// are thousands to look at.
const LOOK_EVERY: SignedDuration = SignedDuration::from_mins(1);

fn garbage(state: &mut State, now: Instant) -> Vec<Effect> {
    let next = state.garbage_looked.map(|looked| looked + LOOK_EVERY);
    if let Some(next) = next.filter(|next| *next > now) {
        if state.garbage_dirty {
            state.wake_at(next);
        } else if let Some(due) = state.garbage_due {
            state.wake_at(due.max(next));
        }
        return Vec::new();
    }
    // What is referred to is as it was, and nothing has been unreferenced for long enough.
    let is_due = state.garbage_due.is_some_and(|due| due <= now);
    if state.garbage_looked.is_some() && !state.garbage_dirty && !is_due {
        state.garbage_due.into_iter().for_each(|due| state.wake_at(due));
        return Vec::new();
    }
    state.garbage_looked = Some(now);
    state.garbage_dirty = false;
    state.garbage_due = None;
    let used = referenced(state);
    let all: BTreeSet<Garbage> = state
        .world
        .inventories
        .keys()
        .map(|digest| Garbage::Inventory(digest.clone()))
        .chain(state.world.proposals.keys().map(|key| Garbage::Proposal(key.clone())))
        .collect();
    state.unreferenced.retain(|garbage, _| all.contains(garbage) && !used.contains(garbage));
    let mut effects = Vec::new();
    for garbage in all.difference(&used) {
        let since = *state.unreferenced.entry(garbage.clone()).or_insert(now);
        let due = match state.marked.get(garbage) {
            Some(marked) => *marked + MARKED,
            None => since + UNREFERENCED,
        };
        if due > now {
            state.garbage_due = state.garbage_due.into_iter().chain([due]).min();
            state.wake_at(due);
        } else if state.marked.contains_key(garbage) {
            effects.push(Effect::Collect { garbage: garbage.clone() });
        } else {
            effects.push(Effect::Mark { garbage: garbage.clone(), since: now });
        }
    }
    // What was asked for is looked at again until it shows.
    state.garbage_dirty = !effects.is_empty();
    effects
}

fn referenced(state: &State) -> BTreeSet<Garbage> {
    let mut used = BTreeSet::new();
    for (name, machine) in &state.world.machines {
        let Some(reported) = &machine.reported else { continue };
        let inventory = reported.report.inventory.clone();
        if let Some(decision) = state.machines.get(name) {
            let wanted = decision.plan.wanted.digest();
            used.insert(Garbage::Proposal(muster_model::ProposalKey {
                inventory: inventory.clone(),
                wanted,
            }));
        }
        used.insert(Garbage::Inventory(inventory));
    }
    used
}
