//! What planning costs by the size of the fleet: `just bench`. The figures are in docs/figures.md.
//!
//! One table row a size, and a line for the forecast. Planning is measured against decoding the same state with serde_json
//! in the same run, so that the ratio says the same on a slow machine as on a fast one; time is what the thread computed,
//! what the plan holds is counted by the allocator (what
//! the controller holds besides: `just bench-fleet`). `--short` leaves the largest size out, `--size N` measures that size alone;
//! `--again` measures planning again alone, and `--plans N` only plans from scratch so often: for a profiler.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on stops where it stands")]

mod again;
mod clock;
mod fleet;
mod memory;
mod stored;

use std::hint::black_box;
use std::time::Duration;

use muster_model::{Snapshot, Verdict};
use muster_planner::{forecast, plan};

use crate::clock::timed;
use crate::memory::held;

/// The sizes of issue 3.
const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

/// The best of so many runs: what else the machine does only ever makes one longer.
const RUNS: usize = 5;

/// Targets of issue 3.
const MOST_OF_DECODING: f64 = 0.5;
const MOST_GROWTH: f64 = 1.3;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        let number: usize = arguments.get(at + 1)?.parse().expect("it is followed by a number");
        Some(number)
    };
    if let Some(plans) = number("--plans") {
        let snapshot = fleet::fleet(number("--size").unwrap_or(SIZES[1]));
        (0..plans).for_each(|_| drop(black_box(plan(black_box(&snapshot)))));
        return;
    }
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let sizes = match number("--size") {
        Some(size) => vec![size],
        None if has("--short") => SIZES[..2].to_vec(),
        None => SIZES.to_vec(),
    };
    if has("--again") {
        again::heading();
        for size in sizes {
            again::measure(&fleet::fleet(size));
        }
        return;
    }
    let fleets: Vec<Snapshot> = sizes.into_iter().map(fleet::fleet).collect();
    println!("machines of {} packages, 30 baselines, 10 windows, 5 budgets", fleet::PACKAGES);
    println!(
        "| machines | inventories | not as wanted | decode | plan | of decode | µs a machine | the plan holds a machine |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let rows: Vec<Row> =
        fleets.iter().zip(plans(&fleets)).map(|(fleet, took)| measure(fleet, took)).collect();
    again::heading();
    let again = fleets.iter().map(again::measure).fold(0.0, f64::max);
    let fast =
        format!("planning again takes {again:.2} of 100 µs and 2 µs an answer that changes, at most 1");
    for (what, met) in targets(&rows).into_iter().chain([(fast, again <= 1.0)]) {
        println!("{} {what}", if met { "met:   " } else { "MISSED:" });
    }
}

/// How long planning from scratch takes each fleet. They take turns, so that what else the machine does meets all of them, and
/// each begins with cold caches: they would hold a thousand machines and not a hundred thousand, and the caches would be
/// compared.
fn plans(fleets: &[Snapshot]) -> Vec<Duration> {
    let mut best = vec![Duration::MAX; fleets.len()];
    for _ in 0..RUNS {
        for (fleet, best) in fleets.iter().zip(&mut best) {
            cool();
            let (decided, took) = timed(|| plan(fleet));
            drop(decided);
            *best = took.min(*best);
        }
    }
    best
}

/// More than the largest cache holds, as far as machines are common on which this is measured.
const MORE_THAN_CACHES: usize = 128 << 20;

/// Leaves nothing of what comes next in the caches.
fn cool() {
    let all: Vec<u8> = (0..MORE_THAN_CACHES).map(|number| number.to_le_bytes()[0]).collect();
    std::hint::black_box(all);
}

/// What was measured at one size.
struct Row {
    machines: usize,
    decode: Duration,
    plan: Duration,
}

impl Row {
    fn of_decoding(&self) -> f64 {
        self.plan.as_secs_f64() / self.decode.as_secs_f64()
    }

    fn micros_a_machine(&self) -> f64 {
        self.plan.as_secs_f64() * 1e6 / self.machines as f64
    }
}

fn measure(snapshot: &Snapshot, best: Duration) -> Row {
    let machines = snapshot.machines.len();
    let decode =
        (0..if machines > 10_000 { 1 } else { RUNS }).map(|_| stored::decode(snapshot)).min().unwrap();
    let (decided, plan_bytes) = held(|| plan(snapshot));
    let waiting = decided.machines.values().filter(|one| one.verdict != Verdict::Converged).count();
    assert!(
        decided.machines.values().any(|one| matches!(one.verdict, Verdict::Start(_))),
        "something starts"
    );
    let row = Row { machines, decode, plan: best };
    println!(
        "| {machines} | {} | {waiting} | {:.1?} | {:.1?} | {:.2} | {:.2} | {} B |",
        snapshot.inventories.len(),
        row.decode,
        row.plan,
        row.of_decoding(),
        row.micros_a_machine(),
        plan_bytes / machines,
    );
    if machines <= 10_000 {
        let (found, took) = timed(|| forecast(snapshot));
        let openings = found.typical.openings.len();
        eprintln!("forecast of {machines} over {openings} openings: {took:.1?}, {:?}", found.typical.ending);
    }
    row
}

fn targets(rows: &[Row]) -> Vec<(String, bool)> {
    let most = rows.iter().map(Row::of_decoding).fold(0.0, f64::max);
    let mut targets = vec![(
        format!("planning from scratch takes {most:.2} of decoding, at most {MOST_OF_DECODING}"),
        most <= MOST_OF_DECODING,
    )];
    if let [first, .., last] = rows {
        let growth = last.micros_a_machine() / first.micros_a_machine();
        targets.push((
            format!(
                "a machine takes {growth:.2} times as long at {} as at {}, at most {MOST_GROWTH}",
                last.machines, first.machines
            ),
            growth <= MOST_GROWTH,
        ));
    }
    targets
}
