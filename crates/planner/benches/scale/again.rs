//! What it costs to plan again after one thing happened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use muster_model::{
    Activity, ActivityName, ActivitySpec, Digest, Machine, MachineName, Phase, Plan, Snapshot, StepStatus,
    Verdict,
};
use muster_planner::{Planner, Touched};

use crate::clock::timed;

/// What happens to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    ReportsTheSame,
    HasOtherPackages,
    Ends,
    Starts,
}

/// In turn.
const EVENTS: [Event; 4] = [Event::ReportsTheSame, Event::HasOtherPackages, Event::Ends, Event::Starts];

impl Event {
    fn says(self) -> &'static str {
        match self {
            Self::ReportsTheSame => "reports the same",
            Self::HasOtherPackages => "has other packages",
            Self::Ends => "fails, and is resolved",
            Self::Starts => "starts",
        }
    }
}

/// How often each of it happens.
const TIMES: usize = 200;

/// The same happens so often from the beginning; of each time the shortest counts, since what else the machine does only ever
/// makes one longer. A course of 1,000 takes some 40 ms, and a virtual machine's processor is slow for a second on end: three
/// of them measured the neighbours.
fn courses(machines: usize) -> usize {
    (50_000 / machines).clamp(3, 50)
}

/// Targets of issue 3, in microseconds: for a report, and for each answer that it changes.
const MOST: f64 = 100.0;
const MOST_AN_ANSWER: f64 = 2.0;

/// How long it took to plan again, and how many answers changed.
struct Sample {
    took: Duration,
    changed: usize,
}

impl Sample {
    /// By how much it was longer than the target.
    fn of_target(&self) -> f64 {
        self.took.as_secs_f64() * 1e6 / (MOST + MOST_AN_ANSWER * self.changed as f64)
    }
}

/// Plans a fleet again and again, prints what each kind of event costs, and gives the 95th percentile of what that is of the
/// target.
pub(crate) fn measure(snapshot: &Snapshot) -> f64 {
    let mut all = course(snapshot.clone());
    for _ in 1..courses(snapshot.machines.len()) {
        for (samples, others) in all.iter_mut().zip(course(snapshot.clone())) {
            assert_eq!(samples.len(), others.len(), "the same happens each time");
            for (sample, other) in samples.iter_mut().zip(others) {
                assert_eq!(sample.changed, other.changed, "and makes the same difference");
                sample.took = sample.took.min(other.took);
            }
        }
    }
    tell(snapshot.machines.len(), all)
}

/// Lets things happen; what each took, along `EVENTS`.
fn course(mut snapshot: Snapshot) -> Vec<Vec<Sample>> {
    let mut planner = Planner::default();
    let mut touched = Touched::default();
    // What may start has started.
    loop {
        let plan = planner.plan(&snapshot, &touched);
        let starts: Vec<MachineName> = starting(plan).map(|(name, _)| name.clone()).collect();
        touched = Touched { machines: starts.iter().cloned().collect(), ..Touched::default() };
        if starts.is_empty() {
            break;
        }
        let plan = plan.clone();
        starting(&plan).for_each(|(name, spec)| start(&mut snapshot, name, spec));
        record(&mut snapshot, &plan);
    }
    let names: Vec<MachineName> = snapshot.machines.keys().cloned().collect();
    let mut motion = Motion::of(&snapshot);
    let stride = (names.len() / TIMES).max(1);
    let mut all: Vec<Vec<Sample>> = EVENTS.iter().map(|_| Vec::new()).collect();
    for time in 0..TIMES {
        for (event, samples) in EVENTS.iter().zip(&mut all) {
            snapshot.now += SignedDuration::from_millis(50);
            // What comes due by itself is not what is measured.
            let due = planner.plan(&snapshot, &Touched::default());
            record(&mut snapshot, due);
            planner.plan(&snapshot, &Touched::default());
            motion.note(&planner);
            let some = &names[(time * stride + 37) % names.len()];
            let Some(machine) = happen(&mut snapshot, &mut motion, *event, some) else { continue };
            let touched = Touched { machines: BTreeSet::from([machine]), ..Touched::default() };
            let (_, took) = timed(|| planner.plan(&snapshot, &touched).next);
            motion.note(&planner);
            samples.push(Sample { took, changed: planner.changed().len() });
        }
    }
    all
}

fn tell(machines: usize, all: Vec<Vec<Sample>>) -> f64 {
    let mut worst: f64 = 0.0;
    for (event, mut samples) in EVENTS.iter().zip(all) {
        if samples.is_empty() {
            continue;
        }
        samples.sort_by(|left, right| left.of_target().total_cmp(&right.of_target()));
        let (median, late) = (&samples[samples.len() / 2], &samples[samples.len() * 95 / 100]);
        println!(
            "| {} | a machine {} | {} | {:.0?} ({}) | {:.0?} ({}) | {:.2} |",
            machines,
            event.says(),
            samples.len(),
            median.took,
            median.changed,
            late.took,
            late.changed,
            late.of_target(),
        );
        worst = worst.max(late.of_target());
    }
    worst
}

fn starting(plan: &Plan) -> impl Iterator<Item = (&MachineName, &ActivitySpec)> {
    plan.machines.iter().filter_map(|(name, one)| match &one.verdict {
        Verdict::Start(spec) => Some((name, &**spec)),
        _ => None,
    })
}

fn start(snapshot: &mut Snapshot, name: &MachineName, spec: &ActivitySpec) {
    let machine = Arc::make_mut(snapshot.machines.get_mut(name).unwrap());
    machine.last_number = spec.name.number;
    let activity = Activity {
        uid: machine.uid.clone(),
        created: snapshot.now,
        cancel: false,
        epoch: 1,
        phase: Phase::Running,
        delivered: None,
        finished: None,
        outcome: None,
        message: String::new(),
        steps: vec![StepStatus { started: Some(snapshot.now), completed: None }],
        spec: spec.clone(),
    };
    snapshot.activities.insert(spec.name.clone(), Arc::new(activity));
}

fn record(snapshot: &mut Snapshot, plan: &Plan) {
    for (baseline, rollout) in &plan.rollouts {
        if snapshot.rollouts.get(baseline).is_none_or(|known| **known != *rollout) {
            snapshot.rollouts.insert(baseline.clone(), Arc::new(rollout.clone()));
        }
    }
}

pub(crate) fn heading() {
    println!(
        "\n| machines | what happens | times | planned again in, p50 (answers changed) | p95 | of the target |"
    );
    println!("|---|---|---|---|---|---|");
}

/// Who has something under way, and who may start something: kept, so that the benchmark's own searches leave the caches as
/// they are.
struct Motion {
    open: BTreeSet<MachineName>,
    starting: BTreeMap<MachineName, ActivitySpec>,
}

impl Motion {
    fn of(snapshot: &Snapshot) -> Self {
        let open = snapshot.activities.values().filter(|one| !one.phase.is_finished());
        Self { open: open.map(|one| one.spec.name.machine.clone()).collect(), starting: BTreeMap::new() }
    }

    fn note(&mut self, planner: &Planner) {
        for name in planner.changed() {
            self.starting.remove(name);
            if let Some(Verdict::Start(spec)) = planner.last().machines.get(name).map(|one| &one.verdict) {
                self.starting.insert(name.clone(), ActivitySpec::clone(spec));
            }
        }
    }
}

/// Lets it happen to `some` machine, or to one to which it can; which that was.
fn happen(
    snapshot: &mut Snapshot,
    motion: &mut Motion,
    event: Event,
    some: &MachineName,
) -> Option<MachineName> {
    let now = snapshot.now;
    let name = match event {
        Event::ReportsTheSame | Event::HasOtherPackages => some.clone(),
        Event::Starts => {
            let (name, spec) = motion.starting.pop_first()?;
            start(snapshot, &name, &spec);
            motion.open.insert(name.clone());
            return Some(name);
        }
        Event::Ends => motion.open.pop_first()?,
    };
    let inventories: Vec<Digest> = snapshot.inventories.keys().take(50).cloned().collect();
    let machine: &mut Machine = Arc::make_mut(snapshot.machines.get_mut(&name)?);
    let reported = machine.reported.as_mut()?;
    (reported.time, reported.sequence) = (now, reported.sequence + 1);
    if event == Event::HasOtherPackages {
        let at = inventories.iter().position(|one| *one == reported.report.inventory).unwrap_or(0);
        reported.report.inventory = inventories[(at + 1) % inventories.len()].clone();
    }
    if event == Event::Ends {
        let number = machine.last_number;
        reported.report.last_activity = number;
        let ended = snapshot.activities.get_mut(&ActivityName { machine: name.clone(), number })?;
        let ended = Arc::make_mut(ended);
        (ended.phase, ended.finished) = (Phase::Failed, Some(now));
        // Nobody counts it any more: its place is free.
        machine.resolved_through = number;
    }
    Some(name)
}
