//! Storms that must break nothing, and planted bugs that they must find.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use muster_checker::Severity;
use muster_storm::{Options, Outcome, Plant, run};

/// What broke, in words.
fn broken(outcome: &Outcome) -> Vec<String> {
    let judged = outcome.judge().violations.into_iter();
    judged.filter(|one| one.severity == Severity::Violation).map(|one| one.to_string()).collect()
}

fn hours(seed: u64, hours: i64, plant: Option<Plant>) -> Options {
    let mut options = Options::of(seed);
    options.misbehaves = SignedDuration::from_hours(hours);
    options.calms = SignedDuration::ZERO;
    options.plant = plant;
    options
}

#[test]
fn one_seed_makes_one_run_byte_for_byte() {
    let log = |seed| {
        let outcome = run(hours(seed, 4, None));
        outcome.events.iter().map(|event| event.to_line()).collect::<Vec<_>>()
    };
    let first = log(1);
    assert!(first.len() > 200, "{} events", first.len());
    assert_eq!(first, log(1));
    assert_ne!(first, log(2));
}

/// Seeds that are run whole by every `cargo test`; `just storm` runs more.
const SEEDS: [u64; 1] = [1];

#[test]
fn a_storm_breaks_no_rule_and_the_fleet_arrives() {
    for seed in SEEDS {
        let outcome = run(Options::of(seed));
        assert!(outcome.machine_hours >= 50 * 48, "seed {seed}: {} machine-hours", outcome.machine_hours);
        assert!(outcome.faults.total() >= 100, "seed {seed}: {} faults", outcome.faults.total());
        assert!(outcome.counts.activities >= 50, "seed {seed}: {} activities", outcome.counts.activities);
        let broken = broken(&outcome);
        assert!(broken.is_empty(), "seed {seed} broke rules:\n{}", broken.join("\n"));
        assert!(outcome.missing.is_empty(), "seed {seed}: not arrived:\n{}", outcome.missing.join("\n"));
    }
}

/// Planted bugs with a seed that finds each, within so many hours of the storm, and the rule that is seen broken.
const FOUND: &[(Plant, u64, i64, &str)] = &[
    (Plant::BudgetPlusOne, 0, 4, "B2"),
    (Plant::MaxUnavailablePlusOne, 0, 4, "B2"),
    (Plant::FailureNotCounted, 0, 8, "O3"),
    (Plant::TwoUnfinished, 0, 4, "A1"),
    (Plant::RetryWithoutBackoff, 0, 4, "B2"),
    (Plant::MinReadyIgnored, 0, 4, "B2"),
    (Plant::SilentStarted, 3, 4, "B2"),
    (Plant::NotAdmittedStarted, 0, 4, "M5"),
    (Plant::AbsentNotCounted, 0, 6, "B2"),
    (Plant::BarredStarted, 0, 8, "O3"),
    (Plant::SuspendIgnored, 1, 24, "A3"),
    (Plant::MachineSuspendIgnored, 1, 24, "M5"),
    (Plant::UnhealthyNotCounted, 0, 13, "B2"),
    (Plant::UndeliveredForEver, 1, 24, "A4"),
    (Plant::PhaseGoesBack, 2, 4, "A2"),
    (Plant::SoakSkipped, 4, 8, "O2"),
    (Plant::WavesIgnored, 0, 4, "O2"),
    (Plant::ApplyingIgnored, 2, 4, "G2"),
    (Plant::RequiredIgnored, 1, 14, "W1"),
    (Plant::ExpiryStretched, 4, 11, "A4"),
];

#[test]
fn planted_bugs_are_found_by_their_seeds() {
    let mut missed = Vec::new();
    for (plant, seed, length, rule) in FOUND {
        let with = broken(&run(hours(*seed, *length, Some(*plant))));
        if !with.iter().any(|line| line.contains(&format!(" {rule} "))) {
            missed.push(format!("{} is not found by seed {seed}: {with:?}", plant.as_str()));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn the_same_seeds_are_clean_without_them() {
    let mut seeds: BTreeMap<u64, i64> = BTreeMap::new();
    for (_, seed, length, _) in FOUND {
        let longest = seeds.entry(*seed).or_insert(0);
        *longest = (*longest).max(*length);
    }
    for (seed, length) in seeds {
        let broken = broken(&run(hours(seed, length, None)));
        assert!(broken.is_empty(), "seed {seed} breaks a rule by itself:\n{}", broken.join("\n"));
    }
}
