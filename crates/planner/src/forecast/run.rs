//! The planner, run forward: from one instant at which something ends or may start to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use muster_model::{
    Activity, ActivityName, ActivitySpec, Change, Cover, Digest, Estimates, Instant, MachineName,
    MachinePlan, ObjectName, OutcomeReason, Phase, Presence, Proposal, ProposalKey, Snapshot, StepStatus,
    Uid, Verdict, WaitingOn,
};

use super::outcome::Outcomes;
use super::rest::{Besides, Prospects, is_at_rest};
use super::{Course, Ending, Fate, Opening, freezes};
use crate::timer::after;
use crate::{Planner, Touched};

/// How many answers one course may take, so that it takes seconds. What does not change costs nothing, but for the plan.
const MOST_ANSWERS: usize = 2_000_000;

/// What one plan counts for by itself.
const ANSWERS_A_PLAN: usize = 100;

/// The course of events if steps take so long.
pub(super) fn run(snapshot: &Snapshot, durations: Estimates, until: Instant) -> Course {
    let mut run = Run::new(snapshot.clone(), durations);
    run.decide();
    let mut ending = Ending::Limit;
    while run.answers < MOST_ANSWERS {
        match run.next() {
            // What was recorded just now may let something start at once.
            None => {
                if !run.decide().is_empty() {
                    continue;
                }
                ending = Ending::Settled;
            }
            Some(next) if next > until => ending = Ending::Horizon,
            Some(next) => {
                run.advance(next);
                run.decide();
                continue;
            }
        }
        break;
    }
    run.course(snapshot, ending, until)
}

struct Run {
    snapshot: Snapshot,
    planner: Planner,
    /// What happened since the last plan.
    touched: Touched,
    /// How many answers were worked out.
    answers: usize,
    durations: Estimates,
    /// What is under way, by when it ends.
    ends: BTreeSet<(Instant, ActivityName)>,
    outcomes: Outcomes,
    converged: BTreeMap<MachineName, Instant>,
    besides: Besides,
    openings: BTreeMap<(Instant, Option<ObjectName>), Opening>,
    starts: BTreeMap<MachineName, (Instant, Option<ObjectName>)>,
    /// The kinds of step that were begun on machines.
    begun: BTreeMap<MachineName, BTreeSet<Cover>>,
    assumed: BTreeSet<MachineName>,
    /// What no machine's apt said, by the proposals' digests: twins share them.
    invented: BTreeSet<Digest>,
}

impl Run {
    fn new(mut snapshot: Snapshot, durations: Estimates) -> Self {
        // Over in a moment.
        snapshot.applying = false;
        snapshot.clock_off = false;
        let mut run = Self {
            snapshot,
            planner: Planner::default(),
            touched: Touched::default(),
            answers: 0,
            durations,
            ends: BTreeSet::new(),
            outcomes: Outcomes::default(),
            converged: BTreeMap::new(),
            besides: Besides::default(),
            openings: BTreeMap::new(),
            starts: BTreeMap::new(),
            begun: BTreeMap::new(),
            assumed: BTreeSet::new(),
            invented: BTreeSet::new(),
        };
        let under_way: Vec<ActivityName> = run
            .snapshot
            .activities
            .iter()
            .filter(|(_, activity)| !activity.phase.is_finished())
            .map(|(name, _)| name.clone())
            .collect();
        under_way.into_iter().for_each(|name| run.expect_end(name));
        run
    }

    /// Notes when it ends; on a machine that is not heard it never does.
    fn expect_end(&mut self, name: ActivityName) {
        let heard =
            self.snapshot.machines.get(&name.machine).is_some_and(|one| one.presence == Presence::Present);
        let Some(activity) = self.snapshot.activities.get(&name).filter(|_| heard) else { return };
        let begun = activity.steps.first().and_then(|step| step.started).unwrap_or(self.snapshot.now);
        let end = after(begun, length(&self.durations, &activity.spec)).max(self.snapshot.now);
        self.begun.entry(name.machine.clone()).or_default().extend(kinds(&activity.spec));
        self.ends.insert((end, name));
    }

    /// Plans; the machines whose answers are others.
    fn plan(&mut self) -> BTreeSet<MachineName> {
        let touched = std::mem::take(&mut self.touched);
        self.planner.plan(&self.snapshot, &touched);
        let changed = self.planner.changed().clone();
        self.answers += ANSWERS_A_PLAN + changed.len();
        changed
    }

    /// Plans, and does what the plan says; the machines whose answers are others.
    fn decide(&mut self) -> BTreeSet<MachineName> {
        let mut changed = self.plan();
        // Its questions are answered at once. Each answer can bring one more question: not without end.
        for _ in 0..MOST_QUESTIONS {
            if !self.answer(&changed) {
                break;
            }
            changed.extend(self.plan());
        }
        let decided = self.planner.last();
        let mut starts: Vec<(MachineName, Arc<MachinePlan>)> = Vec::new();
        for name in &changed {
            let Some(machine) = decided.machines.get(name) else { continue };
            if machine.verdict == Verdict::Converged {
                self.converged.entry(name.clone()).or_insert(self.snapshot.now);
            } else {
                self.converged.remove(name);
            }
            self.besides.note(name, &machine.verdict, self.snapshot.now);
            if matches!(machine.verdict, Verdict::Start(_)) {
                starts.push((name.clone(), machine.clone()));
            }
        }
        let cancels = decided.cancels.clone();
        self.snapshot.rollouts.retain(|baseline, _| decided.rollouts.contains_key(baseline));
        for (baseline, rollout) in &decided.rollouts {
            if self.snapshot.rollouts.get(baseline).is_none_or(|known| **known != *rollout) {
                self.snapshot.rollouts.insert(baseline.clone(), Arc::new(rollout.clone()));
            }
        }
        for (name, outcome) in cancels {
            self.cancel(&name, outcome);
        }
        for (name, machine) in starts {
            if let Verdict::Start(spec) = &machine.verdict {
                self.start(&name, &machine, spec);
            }
        }
        changed
    }

    /// Answers what machines' apt has been asked; whether there was a question.
    fn answer(&mut self, changed: &BTreeSet<MachineName>) -> bool {
        let mut asked = false;
        for name in changed {
            let Some(machine) = self.planner.last().machines.get(name) else { continue };
            let is_question = |verdict: &Verdict| *verdict == Verdict::Waiting(WaitingOn::Proposal);
            let open = is_question(&machine.verdict)
                || machine.requirements.iter().any(|one| is_question(&one.verdict));
            let reported = self.snapshot.machines.get(name).and_then(|known| known.reported.as_ref());
            let (true, Some(reported)) = (open, reported) else { continue };
            let digest = &reported.report.inventory;
            let Some(inventory) = self.snapshot.inventories.get(digest) else { continue };
            self.assumed.insert(name.clone());
            let key = ProposalKey { inventory: digest.clone(), wanted: machine.wanted.digest() };
            let mut changes: Vec<Change> = machine
                .wanted
                .items
                .iter()
                .map(|item| Change {
                    package: item.package.clone(),
                    from: inventory
                        .package(&item.package)
                        .and_then(|package| Some(package.installed.as_ref()?.version.clone())),
                    to: item.version.clone(),
                })
                .collect();
            changes.sort();
            let proposal = Arc::new(Proposal::Transaction { changes });
            self.invented.insert(key.digest());
            self.touched.proposals.insert(key.clone());
            asked |= self.snapshot.proposals.insert(key, proposal).is_none();
        }
        asked
    }

    fn cancel(&mut self, name: &ActivityName, outcome: OutcomeReason) {
        let now = self.snapshot.now;
        let Some(activity) = self.snapshot.activities.get_mut(name) else { return };
        let activity = Arc::make_mut(activity);
        activity.cancel = true;
        self.touched.machines.insert(name.machine.clone());
        match activity.phase {
            Phase::Pending | Phase::Delivered => {
                activity.phase = Phase::Canceled;
                activity.finished = Some(now);
                activity.outcome = Some(outcome);
                self.ends.retain(|(_, other)| other != name);
            }
            Phase::Running
            | Phase::Verifying
            | Phase::Succeeded
            | Phase::Failed
            | Phase::Refused
            | Phase::Interrupted
            | Phase::Canceled
            | Phase::Expired => {}
        }
    }

    fn start(&mut self, name: &MachineName, decided: &MachinePlan, spec: &ActivitySpec) {
        let now = self.snapshot.now;
        self.besides.moved = now;
        self.touched.machines.insert(name.clone());
        if let Some(machine) = self.snapshot.machines.get_mut(name) {
            let machine = Arc::make_mut(machine);
            machine.holds.clone_from(&decided.holds);
            machine.last_number = spec.name.number;
        }
        let activity = Activity {
            spec: spec.clone(),
            uid: Uid::parse("foreseen").expect("a constant that is a uid"),
            created: now,
            cancel: false,
            epoch: self.snapshot.epoch,
            phase: Phase::Running,
            delivered: Some(now),
            finished: None,
            outcome: None,
            message: String::new(),
            steps: vec![StepStatus { started: Some(now), completed: None }],
        };
        if spec.cause.proposal.as_ref().is_some_and(|proposal| self.invented.contains(proposal)) {
            self.assumed.insert(name.clone());
        }
        self.snapshot.activities.insert(spec.name.clone(), Arc::new(activity));
        self.ends.insert((after(now, length(&self.durations, spec)), spec.name.clone()));
        self.begun.entry(name.clone()).or_default().extend(kinds(spec));
        self.note_opening(name, spec);
    }

    fn note_opening(&mut self, name: &MachineName, spec: &ActivitySpec) {
        let now = self.snapshot.now;
        let window = spec.windows.values().next().cloned();
        self.starts.entry(name.clone()).or_insert_with(|| (now, window.clone()));
        let span = window
            .as_ref()
            .and_then(|window| self.snapshot.windows.get(window)?.when.as_ref().ok()?.span_at(now));
        let opened = match span {
            Some(span) => span.start.unwrap_or(Instant::MIN),
            None => now.to_zoned(TimeZone::UTC).start_of_day().map_or(now, |day| day.timestamp()),
        };
        let opening = self.openings.entry((opened, window.clone())).or_insert_with(|| Opening {
            window,
            from: span.and_then(|span| span.start).unwrap_or(now),
            until: span.and_then(|span| span.end),
            machines: BTreeSet::new(),
        });
        opening.machines.insert(name.clone());
    }

    /// When the plan may be another; `None` once nothing that is foreseen changes any machine.
    fn next(&self) -> Option<Instant> {
        let decided = self.planner.last();
        let end = self.ends.first().map(|(end, _)| *end);
        if end.is_none() && decided.machines.values().all(|machine| is_at_rest(machine)) {
            return None;
        }
        end.into_iter().chain(decided.next).min()
    }

    fn advance(&mut self, next: Instant) {
        self.snapshot.now = next;
        while let Some((end, name)) = self.ends.first().cloned().filter(|(end, _)| *end <= next) {
            self.ends.remove(&(end, name.clone()));
            self.besides.moved = next;
            self.touched.machines.insert(name.machine.clone());
            self.outcomes.succeed(&mut self.snapshot, &name);
        }
    }

    fn course(mut self, before: &Snapshot, ending: Ending, until: Instant) -> Course {
        self.besides.under_way = self.ends.iter().map(|(_, name)| name.machine.clone()).collect();
        let decided = self.planner.last();
        let prospects = Prospects::of(decided, &self.besides);
        let may_change = |name: &MachineName, machine: &MachinePlan| match ending {
            Ending::Settled => false,
            Ending::Limit => self.besides.under_way.contains(name) || !is_at_rest(machine),
            Ending::Horizon => prospects.may_change(name, machine),
        };
        let fate = |name: &MachineName, machine: &MachinePlan| match &machine.verdict {
            Verdict::Converged => Fate::Converges(self.converged[name]),
            Verdict::Unmanaged(unmanaged) => Fate::Unmanaged(*unmanaged),
            Verdict::Unknown(unknown) => Fate::Unknown(*unknown),
            verdict @ (Verdict::Start(_)
            | Verdict::Active { .. }
            | Verdict::Waiting(_)
            | Verdict::Blocked(_)) => {
                let verdict = match ending {
                    Ending::Settled => verdict,
                    Ending::Horizon | Ending::Limit => self.besides.in_truth(name, verdict),
                };
                let of = if may_change(name, machine) { Fate::Later } else { Fate::Never };
                of(verdict.clone())
            }
        };
        let fates: BTreeMap<MachineName, Fate> =
            decided.machines.iter().map(|(name, machine)| (name.clone(), fate(name, machine))).collect();
        let mut kinds = self.begun;
        for (name, _) in fates.iter().filter(|(_, fate)| matches!(fate, Fate::Later(_))) {
            kinds.entry(name.clone()).or_default().extend(freezes::kinds(&decided.machines[name]));
        }
        let open = fates.values().any(|fate| matches!(fate, Fate::Later(_)));
        let last = self.converged.values().max().copied();
        Course {
            ending,
            converged: last.filter(|_| !open),
            freezes: freezes::freezes(before, &fates, &kinds, until),
            openings: self.openings.into_values().collect(),
            starts: self.starts,
            fates,
            assumed: self.assumed.len(),
        }
    }
}

/// How often machines may be asked at one instant.
const MOST_QUESTIONS: usize = 10;

/// How long an activity takes: its kinds of step, and as long as its units must be well afterwards.
fn length(durations: &Estimates, spec: &ActivitySpec) -> SignedDuration {
    let kinds: BTreeSet<Cover> = kinds(spec).collect();
    let settle = SignedDuration::from_secs(i64::from(spec.health.settle_seconds));
    kinds.into_iter().fold(settle, |sum, kind| sum.saturating_add(durations.of(kind)))
}

fn kinds(spec: &ActivitySpec) -> impl Iterator<Item = Cover> + '_ {
    spec.steps.iter().flat_map(|step| step.action.covers()).copied()
}
