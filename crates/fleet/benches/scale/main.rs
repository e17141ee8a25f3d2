//! What the controller holds of a fleet, and what a pass costs after one machine's report, or after its gateway
//! says that it is silent: `just bench-fleet`. The figures are
//! in docs/figures.md.
//!
//! The fleet is the planner's benchmark's; each object is made anew before it is shown, as a watch would, so that nothing is
//! shared but what fleet shares. What is held is counted by the allocator. `--size N` measures that size alone.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on stops where it stands")]

#[path = "../../../planner/benches/scale/clock.rs"]
mod clock;
#[path = "../../../planner/benches/scale/fleet.rs"]
mod fleet;
#[path = "../../../planner/benches/scale/memory.rs"]
mod memory;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use muster_fleet::{Change, Effect, GatewayLease, Input, PresenceShard, State, Written, step};
use muster_model::*;

use crate::clock::timed;
use crate::memory::held;

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

/// The target of issue 3.
const MOST_HELD: usize = 2048;

/// How many machines a shard of presence is about.
const SHARD: usize = 1_000;

/// How often a machine reports, and how often one falls silent.
const REPORTS: usize = 200;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let size = arguments.iter().position(|argument| argument == "--size");
    let sizes = match size.and_then(|at| arguments.get(at + 1)) {
        Some(size) => vec![size.parse().expect("a number of machines")],
        None => SIZES.to_vec(),
    };
    println!("machines of {} packages, each with an activity that is over", fleet::PACKAGES);
    println!(
        "| machines | held a machine | as reported | its last activity | heard by whom | decided | first pass | a pass after a report, p50 | p95 | after a silence, p50 | p95 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let each: Vec<(usize, usize)> = sizes.into_iter().map(|size| (size, measure(size))).collect();
    let tell = |bytes: usize, what: &str| {
        let met = if bytes <= MOST_HELD { "met:   " } else { "MISSED:" };
        println!("{met} {bytes} bytes {what}, at most {MOST_HELD}");
    };
    for (size, bytes) in &each {
        tell(bytes / size, &format!("are held a machine of {size}, all counted"));
    }
    for pair in each.windows(2) {
        // What does not grow with the fleet is divided by few in a small one: told apart so.
        let [(few, least), (many, most)] = [pair[0], pair[1]];
        let more = (most - least) / (many - few);
        let besides = least.saturating_sub(more * few) / 1000;
        tell(
            more,
            &format!("are taken by a machine more, from {few} (which take {besides} kB besides) to {many}"),
        );
    }
}

fn show(state: &mut State, change: Change) {
    step(state, Input::Observed(Box::new(change)));
}

/// Measures one size; how many bytes are held.
fn measure(machines: usize) -> usize {
    let snapshot = fleet::fleet(machines);
    let mut now = snapshot.now;
    let mut state = State::new();
    resources(&mut state, &snapshot);
    let inventory_of: Vec<Digest> = {
        let all = snapshot.machines.values().map(|machine| {
            let number = machine.name.as_str().rsplit_once('-').unwrap().1;
            let number: usize = number.parse().unwrap();
            (number, machine.reported.as_ref().unwrap().report.inventory.clone())
        });
        all.collect::<BTreeMap<usize, Digest>>().into_values().collect()
    };
    let machine = |number: usize| fleet::machine(number, inventory_of[number].clone(), snapshot.now);
    let ((), reported) = held(|| {
        (0..machines).for_each(|number| show(&mut state, Change::Machine(Box::new(machine(number)))));
    });
    let ((), acted) = held(|| {
        for number in 0..machines {
            let activity = fleet::activity(&snapshot, &machine(number), number);
            show(&mut state, Change::Activity(Box::new(activity)));
        }
    });
    let ((), heard) = held(|| presence(&mut state, &snapshot));
    let (first, decided) = held(|| {
        let (_, first) = timed(|| settle(&mut state, now));
        first
    });
    let mut passes: Vec<Duration> = Vec::new();
    for time in 0..REPORTS {
        now += SignedDuration::from_millis(50);
        let number = (time * (machines / REPORTS).max(1) + 37) % machines;
        let mut machine = machine(number);
        machine.last_number = state.snapshot().machines[&machine.name].last_number;
        let reported = machine.reported.as_mut().unwrap();
        (reported.time, reported.sequence) = (now, reported.sequence + 1);
        // What comes due by itself is not what is measured.
        settle(&mut state, now);
        show(&mut state, Change::Machine(Box::new(machine)));
        passes.push(timed(|| step(&mut state, Input::Pass(now))).1);
    }
    let mut silences: Vec<Duration> = Vec::new();
    let names: Vec<MachineName> = snapshot.machines.keys().cloned().collect();
    for time in 0..REPORTS {
        now += SignedDuration::from_millis(50);
        settle(&mut state, now);
        let number = (time * (machines / REPORTS).max(1) + 91) % machines;
        let place = number / SHARD;
        let mut shard = shard(&snapshot, &names, place);
        shard.present.remove(&names[number]);
        shard.silent.insert(names[number].clone(), now);
        // The copy that it takes of what a watch shows is not what is measured.
        let silent = || {
            show(&mut state, told(place, shard));
            step(&mut state, Input::Pass(now))
        };
        silences.push(timed(silent).1);
    }
    passes.sort_unstable();
    silences.sort_unstable();
    let each = [reported, acted, heard, decided].map(|bytes| bytes / machines);
    let all = reported + acted + heard + decided;
    println!(
        "| {machines} | {} B | {} | {} | {} | {} | {first:.0?} | {:.0?} | {:.0?} | {:.0?} | {:.0?} |",
        all / machines,
        each[0],
        each[1],
        each[2],
        each[3],
        passes[passes.len() / 2],
        passes[passes.len() * 95 / 100],
        silences[silences.len() / 2],
        silences[silences.len() * 95 / 100],
    );
    all
}

/// Passes until nothing is left to write; every write is made.
fn settle(state: &mut State, now: Instant) {
    while state.wants_pass(now) {
        for effect in step(state, Input::Pass(now)) {
            if let Effect::CreateActivity { spec, epoch } = &effect {
                let activity = Activity {
                    spec: ActivitySpec::clone(spec),
                    uid: Uid::parse("ac700000-0000-4000-8000-000000000000").unwrap(),
                    created: now,
                    cancel: false,
                    epoch: *epoch,
                    phase: Phase::Pending,
                    delivered: None,
                    finished: None,
                    outcome: None,
                    message: String::new(),
                    steps: Vec::new(),
                };
                show(state, Change::Activity(Box::new(activity)));
            }
            if let Some(key) = effect.key() {
                step(state, Input::Written { key, now, outcome: Written::Done });
            }
        }
    }
}

fn resources(state: &mut State, snapshot: &Snapshot) {
    show(state, Change::Epoch(snapshot.epoch));
    for baseline in snapshot.package_baselines.values() {
        show(state, Change::PackageBaseline(PackageBaseline::clone(baseline)));
    }
    for window in snapshot.windows.values() {
        show(state, Change::Window(Window::clone(window)));
    }
    for budget in snapshot.budgets.values() {
        show(state, Change::Budget(Budget::clone(budget)));
    }
    for (digest, inventory) in &snapshot.inventories {
        show(state, Change::Inventory(digest.clone(), inventory.clone(), None));
    }
    for (key, proposal) in &snapshot.proposals {
        show(state, Change::Proposal(key.clone(), proposal.clone(), None));
    }
    for (baseline, rollout) in &snapshot.rollouts {
        show(state, Change::Rollout(baseline.clone(), Rollout::clone(rollout)));
    }
}

/// One gateway hears them all.
fn presence(state: &mut State, snapshot: &Snapshot) {
    let now = snapshot.now;
    let hour = SignedDuration::from_hours(1);
    let lease = GatewayLease { acquired: now - hour, renewed: now, valid_until: now + hour };
    show(state, Change::Gateway("gateway-0".into(), Some(lease)));
    let names: Vec<MachineName> = snapshot.machines.keys().cloned().collect();
    for place in 0..names.len().div_ceil(SHARD) {
        show(state, told(place, shard(snapshot, &names, place)));
    }
}

fn told(place: usize, shard: PresenceShard) -> Change {
    Change::Presence("gateway-0".into(), place.to_string().into(), Some(shard))
}

/// A shard of which all machines are heard; their names are its own, as a watch would show them.
fn shard(snapshot: &Snapshot, names: &[MachineName], place: usize) -> PresenceShard {
    let names = names.iter().skip(place * SHARD).take(SHARD);
    let present = names.map(|name| MachineName::parse(name.as_str()).unwrap()).collect();
    let since = Some(snapshot.now - SignedDuration::from_hours(1));
    PresenceShard { present, silent: BTreeMap::new(), since }
}
