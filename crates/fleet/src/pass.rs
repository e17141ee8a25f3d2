//! One pass: bring presence up to date, plan, and turn the answer into effects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_model::{
    Activity, ActivityName, ActivitySpec, Instant, MachineName, MachinePlan, Phase, Plan, StepAction, Uid,
    Verdict,
};
use muster_planner::Planner;

use crate::durations::Measured;
use crate::input::{Effect, Key, Note, NoteKind};
use crate::record::{Decision, ESTIMATES_EVERY, TOTALS_EVERY, decision, highest_number};
use crate::{State, deadlines, history, presence, revision};

/// Activities created in one pass, so that a huge fleet's first pass is not one burst; the rest follows at once.
const STARTS_AT_ONCE: usize = 500;

/// After so many refusals in a row to create an activity people are told, once.
const REFUSALS_TOLD: u32 = 3;

/// How long after its end a wait between writes is remembered, since the next one is longer.
const FORGET_BACKOFF: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

/// How long a note's text may be: an event note holds 1,024 bytes.
const NOTE_LIMIT: usize = 1000;

/// Decides and says what to write. Nothing is written before an epoch is known: the controller does not lead yet.
pub(crate) fn pass(state: &mut State, now: Instant) -> Vec<Effect> {
    if now < state.world.now {
        state.clock_went_back(now);
    }
    state.world.now = now;
    let only_to_look = !state.dirty
        && state.next.is_none_or(|next| next > now)
        && (!state.doubt.is_none() || state.next_look.is_some_and(|next| next <= now));
    presence::refresh(state, now);
    if state.catches_up.is_some() {
        return Vec::new();
    }
    // A gateway renewed its Lease, say: nothing that a decision is made from has changed (promise P6).
    if state.world.epoch == 0 || (only_to_look && !state.dirty) {
        return Vec::new();
    }
    state.dirty = false;
    state.next = None;
    inherit(state);
    note_numbers(state);
    state.world.applying = revision::is_applying(state);
    let touched = std::mem::take(&mut state.touched);
    let look_at_all = std::mem::take(&mut state.look_at_all);
    let mut planner = std::mem::take(&mut state.planner);
    planner.plan(&state.world, &touched);
    let plan = planner.last();
    let decided = decided(state, &planner);
    if let Some(next) = plan.next {
        state.wake_at(next);
    }
    let mut effects = tell_ends(state);
    let changed = (!look_at_all).then_some(&touched.machines);
    effects.extend(deadlines::effects(state, now, &plan.cancels, changed));
    effects.extend(records(state, &decided, now));
    effects.extend(starts(state, &decided, now));
    effects.extend(totals(state, plan, now));
    state.planner = planner;
    effects.extend(estimates(state, now));
    let mut changed = touched.machines;
    changed.extend(state.touched.machines.iter().cloned());
    effects.extend(history::effects(state, now, (!look_at_all).then_some(&changed)));
    presence::refresh(state, now);
    state.backoff.retain(|_, (_, until)| *until + FORGET_BACKOFF > now);
    let due: Vec<Instant> =
        state.backoff.values().map(|(_, until)| *until).filter(|until| *until > now).collect();
    for until in due {
        state.wake_at(until);
    }
    if !state.begun {
        pack(&mut state.world.machines);
        pack(&mut state.world.activities);
        pack(&mut state.machines);
    }
    state.begun = true;
    effects
}

/// A tree that grew name by name is little more than half full; made of all of them at once it is full.
fn pack<K: Ord, V>(tree: &mut BTreeMap<K, V>) {
    *tree = std::mem::take(tree).into_iter().collect();
}

/// A machine's answer.
type Answer<'a> = (&'a MachineName, &'a Arc<MachinePlan>);

/// The answers that there may be something to do about: those decided anew, and those whose record is not as it was written.
fn decided<'a>(state: &State, planner: &'a Planner) -> Vec<Answer<'a>> {
    let all = &planner.last().machines;
    let Some(decided) = planner.decided() else { return all.iter().collect() };
    let unrecorded = state.unrecorded.iter().filter_map(|key| match key {
        Key::Machine(name) => Some(name),
        _ => None,
    });
    let names: BTreeSet<&MachineName> = decided.chain(unrecorded).collect();
    names.into_iter().filter_map(|name| all.get_key_value(name)).collect()
}

/// What waits as our epoch begins is ours to adopt: it was counted from the first plan on (rule A3).
fn inherit(state: &mut State) {
    if !std::mem::take(&mut state.inherit) {
        return;
    }
    let epoch = state.world.epoch;
    let waits = |activity: &Activity| activity.phase == Phase::Pending && activity.epoch != epoch;
    let all = state.world.activities.iter().filter(|(_, activity)| waits(activity));
    state.inherited = all.map(|(name, _)| name.clone()).collect();
}

/// Numbers are never used twice, whatever the record says (rule A1): those of machines of which something changed.
///
/// A reservation has used none yet: if its creation is refused though one that was sent before is still on its way, the next
/// try has to have the same name, so that the two collide.
pub(crate) fn note_numbers(state: &mut State) {
    let world = &mut state.world;
    for name in &state.touched.machines {
        let Some(machine) = world.machines.get_mut(name) else { continue };
        let from = ActivityName { machine: name.clone(), number: 0 };
        let to = ActivityName { machine: name.clone(), number: u64::MAX };
        let mut used =
            world.activities.range(from..=to).rev().filter(|(name, _)| !state.reserved.contains(*name));
        let last = used.next().map(|(name, _)| name.number);
        let highest = highest_number(machine, last.into_iter());
        if highest != machine.last_number {
            Arc::make_mut(machine).last_number = highest;
        }
    }
}

/// Creates what the plan starts: the reservation counts from here on, before any watch shows it (rule A3).
fn starts(state: &mut State, answers: &[Answer<'_>], now: Instant) -> Vec<Effect> {
    let mut effects = Vec::new();
    let epoch = state.world.epoch;
    for (name, decided) in answers.iter().copied() {
        let Verdict::Start(spec) = &decided.verdict else { continue };
        if effects.len() >= STARTS_AT_ONCE * 2 {
            state.dirty = true;
            break;
        }
        let key = Key::Activity(spec.name.clone());
        if !state.may_write(&key, now) {
            let refused = state.backoff.get(&key).is_some_and(|(times, _)| *times >= REFUSALS_TOLD);
            if refused && state.complained.insert(spec.name.clone()) {
                effects.push(Effect::Tell(Note {
                    machine: name.clone(),
                    activity: Some(spec.name.clone()),
                    kind: NoteKind::Warning,
                    reason: "CreationRefused",
                    text: cut(format!(
                        "{} cannot be created and is tried again; the controller's log says why: {}",
                        spec.name,
                        summary(spec)
                    )),
                }));
            }
            continue;
        }
        // A hold is on record before it is set (rule V6, style 10): the start comes once the record shows.
        let recorded = state.world.machines.get(name).map(|machine| &machine.holds);
        if recorded.is_none_or(|recorded| !holds_set(spec).all(|hold| recorded.contains(hold))) {
            continue;
        }
        state.dirty = true;
        state.touched.machines.insert(name.clone());
        let spec = Arc::new(ActivitySpec::clone(spec));
        state.world.activities.insert(spec.name.clone(), Arc::new(reservation(&spec, epoch, now)));
        state.reserved.insert(spec.name.clone());
        effects.push(Effect::CreateActivity { spec: spec.clone(), epoch });
        effects.push(Effect::Tell(Note {
            machine: name.clone(),
            activity: Some(spec.name.clone()),
            kind: NoteKind::Normal,
            reason: "ActivityCreated",
            text: cut(format!("{}: {}", spec.name, summary(&spec))),
        }));
    }
    effects
}

fn holds_set(spec: &ActivitySpec) -> impl Iterator<Item = &muster_model::PackageKey> {
    spec.steps.iter().flat_map(|step| match &step.action {
        StepAction::HoldPackages { hold, .. } => hold.iter().collect::<Vec<_>>(),
        StepAction::InstallPackages(_)
        | StepAction::RemovePackages(_)
        | StepAction::RepairPackages
        | StepAction::SelectKernel(_)
        | StepAction::Reboot { .. }
        | StepAction::SetDefaultKernel(_) => Vec::new(),
    })
}

fn reservation(spec: &Arc<ActivitySpec>, epoch: u64, now: Instant) -> Activity {
    Activity {
        spec: ActivitySpec::clone(spec),
        uid: Uid::parse("reserved").expect("a constant that is a uid"),
        created: now,
        cancel: false,
        epoch,
        phase: Phase::Pending,
        delivered: None,
        finished: None,
        outcome: None,
        message: String::new(),
        steps: Vec::new(),
    }
}

/// One line for people: what the activity does.
fn summary(spec: &ActivitySpec) -> String {
    let step = |action: &StepAction| match action {
        StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
            let mut words: Vec<String> = transaction
                .requested
                .iter()
                .take(5)
                .map(|change| match &change.to {
                    Some(to) => format!("{} {to}", change.package.name),
                    None => format!("{} removed", change.package.name),
                })
                .collect();
            let more = transaction.requested.len().saturating_sub(5) + transaction.dependencies.len();
            if more > 0 {
                words.push(format!("{more} more"));
            }
            words.join(", ")
        }
        StepAction::HoldPackages { hold, unhold } => {
            format!("{} holds set, {} lifted", hold.len(), unhold.len())
        }
        StepAction::RepairPackages => "dpkg --configure -a".to_owned(),
        StepAction::SelectKernel(choice) => format!("boot {} once", choice.release),
        StepAction::Reboot { kernel: Some(kernel), .. } => format!("reboot into {kernel}"),
        StepAction::Reboot { kernel: None, .. } => "reboot".to_owned(),
        StepAction::SetDefaultKernel(choice) => format!("boot {} by default", choice.release),
    };
    spec.steps.iter().map(|one| step(&one.action)).collect::<Vec<_>>().join("; ")
}

/// Tells people of ends, once.
fn tell_ends(state: &mut State) -> Vec<Effect> {
    let mut effects = Vec::new();
    for name in &std::mem::take(&mut state.ended) {
        let Some(activity) = state.world.activities.get(name) else { continue };
        let good = activity.phase == Phase::Succeeded;
        let why = activity.outcome.map_or_else(String::new, |outcome| format!(" ({})", outcome.as_str()));
        let text = match (good, activity.message.is_empty()) {
            (true, _) => format!("{name}: {}", summary(&activity.spec)),
            (false, true) => format!("{name}{why}"),
            (false, false) => format!("{name}{why}: {}", activity.message),
        };
        effects.push(Effect::Tell(Note {
            machine: name.machine.clone(),
            activity: Some(name.clone()),
            kind: if good { NoteKind::Normal } else { NoteKind::Warning },
            reason: ended_reason(activity.phase),
            text: cut(text),
        }));
    }
    effects
}

fn ended_reason(phase: Phase) -> &'static str {
    match phase {
        Phase::Succeeded => "ActivitySucceeded",
        Phase::Failed => "ActivityFailed",
        Phase::Refused => "ActivityRefused",
        Phase::Interrupted => "ActivityInterrupted",
        Phase::Canceled => "ActivityCanceled",
        Phase::Expired => "ActivityExpired",
        Phase::Pending | Phase::Delivered | Phase::Running | Phase::Verifying => "ActivityUnfinished",
    }
}

fn cut(mut text: String) -> String {
    if text.len() > NOTE_LIMIT {
        let mut at = NOTE_LIMIT - '…'.len_utf8();
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        text.truncate(at);
        text.push('…');
    }
    text
}

/// Records each decision that differs from the last one.
fn records(state: &mut State, answers: &[Answer<'_>], now: Instant) -> Vec<Effect> {
    let mut effects = Vec::new();
    let mut new = Vec::new();
    let mut later = Vec::new();
    for (name, decided) in answers.iter().copied() {
        let Some(machine) = state.world.machines.get(name) else { continue };
        let old = state.machines.get(name);
        let start = matches!(decided.verdict, Verdict::Start(_));
        // What starts is recorded once it has: the next pass says `Active`. But its holds are recorded before.
        let plan = match (start, old) {
            (true, Some(old)) if old.holds.is_superset(&decided.holds) => continue,
            (true, Some(old)) => old.plan.clone(),
            _ => decided.clone(),
        };
        if start && old.is_none() && decided.holds.is_empty() {
            continue;
        }
        let mut open = state.world.activities_of(name).rev().filter(|one| !one.phase.is_finished());
        let unfinished = open.next().map(|activity| activity.spec.name.number);
        let decision = decision(state, machine, plan, decided, unfinished, now);
        let key = Key::Machine(name.clone());
        if !old.is_some_and(|old| old.records_like(&decision)) || state.unrecorded.contains(&key) {
            if state.may_write(&key, now) {
                new.push((name.clone(), Box::new(decision)));
            } else {
                later.push(key);
            }
        }
    }
    state.unrecorded.extend(later);
    for (name, decision) in new {
        effects.extend(tell_verdict(state, &name, &decision));
        effects.push(Effect::RecordMachine { name: name.clone(), decision: decision.clone() });
        state.unrecorded.remove(&Key::Machine(name.clone()));
        state.garbage_dirty |=
            state.machines.get(&name).is_none_or(|old| old.plan.wanted != decision.plan.wanted);
        state.machines.insert(name, decision);
    }
    effects
}

/// Tells people when a machine becomes blocked, and when it has converged.
fn tell_verdict(state: &State, name: &MachineName, decision: &Decision) -> Option<Effect> {
    let old = state.machines.get(name);
    if !state.begun && old.is_none() {
        return None;
    }
    let before = old.map_or("", |old| old.plan.verdict.name());
    let verdict = &decision.plan.verdict;
    let (kind, reason) = match verdict {
        Verdict::Blocked(_) if before != "Blocked" => (NoteKind::Warning, "Blocked"),
        Verdict::Converged if before != "Converged" => (NoteKind::Normal, "Converged"),
        _ => return None,
    };
    let text = cut(format!("{} (rule {})", verdict.message(), verdict.rule()));
    Some(Effect::Tell(Note { machine: name.clone(), activity: None, kind, reason, text }))
}

/// Records how long steps take, when that is another by now (rule W2). Whoever plans from the record plans as we do.
fn estimates(state: &mut State, now: Instant) -> Option<Effect> {
    let policy = &state.world.policy;
    let known = Measured { p50: policy.medians, p95: policy.estimates };
    let measured = state.durations.measured(&known);
    let unrecorded = state.unrecorded.contains(&Key::Policy);
    if (measured == known && !unrecorded) || !state.may_write(&Key::Policy, now) {
        return None;
    }
    let due = state.estimated.map_or(now, |last| last + ESTIMATES_EVERY);
    if due > now {
        state.wake_at(due);
        return None;
    }
    state.unrecorded.remove(&Key::Policy);
    state.estimated = Some(now);
    let Measured { p50: medians, p95: estimates } = measured;
    (state.world.policy.medians, state.world.policy.estimates) = (medians, estimates);
    Some(Effect::RecordEstimates { medians, estimates })
}

/// Records totals that changed, for each object at most once a second.
fn totals(state: &mut State, plan: &Plan, now: Instant) -> Vec<Effect> {
    let mut effects = Vec::new();
    let mut wake: Option<Instant> = None;
    let mut due = |last: Option<Instant>| {
        let at = last.map_or(now, |last| last + TOTALS_EVERY);
        if at > now {
            wake = Some(wake.map_or(at, |wake| wake.min(at)));
        }
        at <= now
    };
    for (baseline, summary) in &plan.baselines {
        let last = state.baselines.get(baseline);
        let key = Key::Baseline(baseline.clone());
        let same = last.is_some_and(|(old, _)| old == summary) && !state.unrecorded.contains(&key);
        if same || !state.may_write(&key, now) {
            continue;
        }
        if due(last.map(|(_, at)| *at)) {
            state.unrecorded.remove(&key);
            state.baselines.insert(baseline.clone(), (summary.clone(), now));
            effects.push(Effect::RecordBaseline {
                baseline: baseline.clone(),
                summary: Box::new(summary.clone()),
            });
        }
    }
    for (name, summary) in &plan.windows {
        let key = Key::Window(name.clone());
        let changed = state.windows.get(name) != Some(summary) || state.unrecorded.contains(&key);
        if changed && state.may_write(&key, now) {
            state.unrecorded.remove(&key);
            state.windows.insert(name.clone(), summary.clone());
            effects.push(Effect::RecordWindow { name: name.clone(), summary: summary.clone() });
        }
    }
    for (name, summary) in &plan.budgets {
        let last = state.budgets.get(name);
        let key = Key::Budget(name.clone());
        let same = last.is_some_and(|(old, _)| old == summary) && !state.unrecorded.contains(&key);
        if same || !state.may_write(&key, now) {
            continue;
        }
        if due(last.map(|(_, at)| *at)) {
            state.unrecorded.remove(&key);
            state.budgets.insert(name.clone(), (summary.clone(), now));
            effects.push(Effect::RecordBudget { name: name.clone(), summary: summary.clone() });
        }
    }
    // By a clock that is off nothing has soaked and no wave has passed (rules O2, A3): it is judged once that is right.
    for (baseline, rollout) in plan.rollouts.iter().filter(|_| !state.world.clock_off) {
        let last = state.rollouts.get(baseline);
        let key = Key::Rollout(baseline.clone());
        let same = last.is_some_and(|(old, _)| old == rollout) && !state.unrecorded.contains(&key);
        if same || !state.may_write(&key, now) {
            continue;
        }
        // What passes or is barred is a decision, not a total: it is on record at once (rules O2, O3).
        let decided = last.is_none_or(|(old, _)| !old.decides_like(rollout));
        if decided || due(last.map(|(_, at)| *at)) {
            state.unrecorded.remove(&key);
            state.rollouts.insert(baseline.clone(), (rollout.clone(), now));
            state.world.rollouts.insert(baseline.clone(), Arc::new(rollout.clone()));
            state.words_dirty = true;
            effects.push(Effect::RecordRollout { baseline: baseline.clone(), rollout: rollout.clone() });
        }
    }
    if let Some(wake) = wake {
        state.wake_at(wake);
    }
    effects
}
