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
    (Plant::BudgetPlusOne, 0, 1, "B2"),
    (Plant::MaxUnavailablePlusOne, 0, 1, "B2"),
    (Plant::WindowEndPlusOne, 11, 2, "A4"),
    (Plant::FreezeIgnored, 2, 3, "W1"),
    (Plant::RequiredIgnored, 3, 10, "W1"),
    (Plant::FailureNotCounted, 0, 6, "O3"),
    (Plant::StaleCacheTrusted, 12, 2, "A2"),
    (Plant::TwoUnfinished, 0, 1, "A1"),
    (Plant::DoubleDispatch, 2, 1, "A1"),
    (Plant::LateLeaderDelivered, 2, 5, "A3"),
    (Plant::AbsentNotCounted, 3, 2, "B2"),
    (Plant::ExpiryIgnored, 31, 5, "A4"),
    (Plant::RetryWithoutBackoff, 0, 1, "B2"),
    (Plant::MinReadyIgnored, 0, 1, "B2"),
    (Plant::SilentStarted, 5, 2, "A4"),
    (Plant::ApplyingIgnored, 2, 1, "G2"),
    (Plant::NotAdmittedStarted, 0, 1, "M5"),
    (Plant::BarredStarted, 0, 6, "O3"),
    (Plant::SuspendIgnored, 1, 1, "A3"),
    (Plant::MachineSuspendIgnored, 0, 9, "M5"),
    (Plant::DowngradeAllowed, 7, 6, "V5"),
    (Plant::HoldsIgnored, 7, 4, "V6"),
    (Plant::UnhealthyNotCounted, 4, 6, "B2"),
    (Plant::FreshWordAlwaysYes, 38, 1, "W6"),
    (Plant::UndeliveredForEver, 27, 1, "A4"),
    (Plant::PhaseGoesBack, 2, 1, "A2"),
    (Plant::SoakSkipped, 6, 10, "O2"),
    (Plant::WavesIgnored, 0, 1, "O2"),
    (Plant::ZoneOrderIgnored, 16, 7, "O6"),
    (Plant::UnreadableIgnored, 0, 4, "W7"),
    (Plant::ExpiryStretched, 11, 2, "A4"),
    (Plant::LastLeftOut, 5, 2, "B5"),
];

#[test]
fn every_planted_bug_has_a_seed() {
    let without = Plant::ALL.iter().filter(|plant| FOUND.iter().all(|(found, ..)| found != *plant));
    assert_eq!(without.map(|plant| plant.as_str()).collect::<Vec<_>>(), Vec::<&str>::new());
}

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
