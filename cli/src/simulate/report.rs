//! The answer of `muster simulate`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use muster_model::{ActivityName, MachineName, ObjectName, Phase, Snapshot, Unknown, Verdict};
use muster_storm::Simulated;
use serde::Serialize;

use super::tell::{Tale, Told};

/// What is asked.
pub(crate) struct Question<'a> {
    /// What is simulated.
    pub(crate) revision: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) seed: u64,
    /// What came of it.
    pub(crate) simulated: &'a Simulated,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) revision: String,
    pub(crate) namespace: String,
    pub(crate) from_time: Timestamp,
    pub(crate) until_time: Timestamp,
    pub(crate) seed: u64,
    /// Every machine is as wanted by then, but for those that are not ours to change and those that are absent.
    pub(crate) converged: bool,
    /// When the last of them was; absent while some are not.
    pub(crate) converged_time: Option<Timestamp>,
    pub(crate) totals: Totals,
    /// The most machines with an activity at a time.
    pub(crate) most_at_once: usize,
    /// Since when.
    pub(crate) most_at_once_time: Option<Timestamp>,
    /// In which openings of windows activities were created, in the order of time.
    pub(crate) openings: Vec<OpeningReport>,
    /// Every machine, by name.
    pub(crate) machines: Vec<MachineReport>,
    /// Machines whose transaction was taken to be what was asked and nothing besides.
    pub(crate) assumed: usize,
}

/// How many machines ended how; these sum to all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Totals {
    pub(crate) machines: usize,
    /// As wanted from the first.
    pub(crate) converged_before: usize,
    /// As wanted at the end, and not from the first.
    pub(crate) converged: usize,
    /// Something was under way, or waited, at the end.
    pub(crate) not_yet: usize,
    /// Nothing but a person helps.
    pub(crate) blocked: usize,
    pub(crate) unknown: usize,
    pub(crate) unmanaged: usize,
}

/// One opening of a window, or a day (in UTC) of what needs none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OpeningReport {
    pub(crate) window: Option<String>,
    /// When it opened; without a window, when the first activity of the day was created.
    pub(crate) from_time: Timestamp,
    pub(crate) until_time: Option<Timestamp>,
    pub(crate) machines_total: usize,
    /// Their names.
    pub(crate) machines: BTreeSet<String>,
    pub(crate) most_at_once: usize,
    /// When the last of its activities was over; absent while one is not.
    pub(crate) finished_time: Option<Timestamp>,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MachineReport {
    pub(crate) name: String,
    /// Since when it is as wanted, if it is.
    pub(crate) converged_time: Option<Timestamp>,
    /// The verdict at the end, and why.
    pub(crate) verdict: &'static str,
    pub(crate) rule: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// When that clears by itself.
    pub(crate) until_time: Option<Timestamp>,
    pub(crate) activities: Vec<ActivityReport>,
}

/// One activity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ActivityReport {
    pub(crate) name: String,
    pub(crate) steps: Vec<&'static str>,
    /// Absent: it was there before.
    pub(crate) created_time: Option<Timestamp>,
    pub(crate) finished_time: Option<Timestamp>,
    pub(crate) phase: &'static str,
}

/// From the log, and the planner's word at the end.
pub(crate) fn report(question: &Question<'_>) -> Report {
    let Question { revision, namespace, from, until, seed, simulated } = question;
    let tale = Tale::of(&simulated.events);
    let mut by_machine: BTreeMap<&MachineName, Vec<ActivityReport>> = BTreeMap::new();
    for (name, told) in &tale.activities {
        by_machine.entry(&name.machine).or_default().push(activity(name, told));
    }
    let plan = muster_planner::plan(&simulated.world);
    let (mut totals, mut machines, mut last, mut converged) = (Totals::default(), Vec::new(), *from, true);
    for (name, decided) in &plan.machines {
        let since = tale.converged.get(name).copied();
        let since = since.filter(|_| decided.verdict == Verdict::Converged);
        let activities = by_machine.remove(name).unwrap_or_default();
        let touched = !activities.is_empty();
        totals.note(&decided.verdict, touched);
        converged &= is_settled(&decided.verdict);
        last = last.max(since.filter(|_| touched).unwrap_or(*from));
        machines.push(MachineReport {
            name: name.to_string(),
            converged_time: since,
            verdict: decided.verdict.name(),
            rule: decided.verdict.rule(),
            reason: decided.verdict.reason(),
            message: decided.verdict.message(),
            until_time: decided.verdict.until(),
            activities,
        });
    }
    let most = tale.most_at_once();
    let is_assumed = |told: &Told| told.proposal.as_ref().is_some_and(|it| simulated.assumed.contains(it));
    let assumed = tale.activities.iter().filter(|(_, told)| is_assumed(told));
    Report {
        revision: (*revision).to_owned(),
        namespace: (*namespace).to_owned(),
        from_time: *from,
        until_time: *until,
        seed: *seed,
        converged,
        converged_time: converged.then_some(last),
        totals,
        most_at_once: most.map_or(0, |(most, _)| most),
        most_at_once_time: most.map(|(_, at)| at.max(*from)),
        openings: openings(&tale, &simulated.world),
        machines,
        assumed: assumed.map(|(name, _)| &name.machine).collect::<BTreeSet<_>>().len(),
    }
}

/// Whether nobody waits for the machine any more: an absent one is out of completion (rule B4).
fn is_settled(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Converged | Verdict::Unmanaged(_) | Verdict::Unknown(Unknown::Absent { .. }) => true,
        Verdict::Start(_)
        | Verdict::Active { .. }
        | Verdict::Waiting(_)
        | Verdict::Blocked(_)
        | Verdict::Unknown(Unknown::NeverReported | Unknown::Stale { .. }) => false,
    }
}

impl Totals {
    fn note(&mut self, verdict: &Verdict, touched: bool) {
        self.machines += 1;
        *match verdict {
            Verdict::Converged if touched => &mut self.converged,
            Verdict::Converged => &mut self.converged_before,
            Verdict::Start(_) | Verdict::Active { .. } | Verdict::Waiting(_) => &mut self.not_yet,
            Verdict::Blocked(_) => &mut self.blocked,
            Verdict::Unknown(_) => &mut self.unknown,
            Verdict::Unmanaged(_) => &mut self.unmanaged,
        } += 1;
    }
}

fn activity(name: &ActivityName, told: &Told) -> ActivityReport {
    let Told { steps, window: _, proposal: _, created, finished, phase } = told;
    ActivityReport {
        name: name.to_string(),
        steps: steps.clone(),
        created_time: *created,
        finished_time: *finished,
        phase: phase.as_str(),
    }
}

/// What one opening is told from others by: when it opened, and of which window.
type Key = (Timestamp, Option<ObjectName>);

/// By opening, as the forecast has them.
fn openings(tale: &Tale, world: &Snapshot) -> Vec<OpeningReport> {
    let mut found: BTreeMap<Key, Tale> = BTreeMap::new();
    for (name, told) in &tale.activities {
        // What was created and never sent changed nothing.
        if matches!(told.phase, Phase::Canceled | Phase::Expired) {
            continue;
        }
        let Some(created) = told.created else { continue };
        let opened = span(world, told.window.as_ref(), created).map(|(from, _)| from);
        let day = || created.to_zoned(TimeZone::UTC).start_of_day().map_or(created, |day| day.timestamp());
        let these = found.entry((opened.unwrap_or_else(day), told.window.clone())).or_default();
        these.activities.insert(name.clone(), told.clone());
    }
    found.into_iter().map(|((_, window), these)| opening(world, window, &these)).collect()
}

fn opening(world: &Snapshot, window: Option<ObjectName>, these: &Tale) -> OpeningReport {
    let first = these.activities.values().filter_map(|told| told.created).min().unwrap_or_default();
    let (from_time, until_time) = match span(world, window.as_ref(), first) {
        Some((from, until)) => (from, until),
        None => (first, None),
    };
    let machines: BTreeSet<String> = these.activities.keys().map(|name| name.machine.to_string()).collect();
    let over: Option<Vec<Timestamp>> = these.activities.values().map(|told| told.finished).collect();
    OpeningReport {
        window: window.map(|window| window.to_string()),
        from_time,
        until_time,
        machines_total: machines.len(),
        machines,
        most_at_once: these.most_at_once().map_or(0, |(most, _)| most),
        finished_time: over.and_then(|over| over.into_iter().max()),
    }
}

/// The span of a window that is open then.
fn span(
    world: &Snapshot,
    window: Option<&ObjectName>,
    at: Timestamp,
) -> Option<(Timestamp, Option<Timestamp>)> {
    let span = world.windows.get(window?)?.when.as_ref().ok()?.span_at(at)?;
    Some((span.start.unwrap_or(at), span.end))
}
