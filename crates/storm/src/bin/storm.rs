//! Runs storms, and says what broke: `storm 200` runs the seeds below 200, `storm --seed 7` one.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use muster_checker::Severity;
use muster_storm::{Fault, Options, Outcome, Plant, RULES, run};

/// Storms: a world in which everything goes wrong, around the real fleet and the real journal.
#[derive(Debug, Parser)]
#[command(name = "storm")]
struct Arguments {
    /// Runs the seeds below this one.
    #[arg(default_value_t = 10)]
    seeds: u64,
    /// Runs none below this one.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Runs this seed alone.
    #[arg(long)]
    seed: Option<u64>,
    /// Plants a bug, by its name.
    #[arg(long)]
    plant: Option<String>,
    /// Looks for the first seed that finds each planted bug, or the one of `--plant`, and within how many hours.
    #[arg(long)]
    find: bool,
    /// Ends after so many hours, without calm weather.
    #[arg(long)]
    hours: Option<i64>,
    /// Writes the log of the one seed there, as docs/events.md has it.
    #[arg(long)]
    events: Option<std::path::PathBuf>,
    /// How many violations of a seed are shown.
    #[arg(long, default_value_t = 5)]
    show: usize,
}

/// From so many seeds on every fault and every rule must have had its chance.
const SEEDS_THAT_SHOW_ALL: usize = 200;

/// For so many hours a storm looks for a planted bug, if nothing else is said.
const LOOKS_FOR_HOURS: i64 = 10;

/// So often each fault must have struck, and each rule held something back.
const FAULTS_AT_LEAST: u64 = 50;
const BINDING_AT_LEAST: u64 = 100;

/// One seed's result, as far as it is needed later.
struct Ran {
    seed: u64,
    outcome: Outcome,
    violations: Vec<String>,
    millis: u128,
}

fn options(seed: u64, hours: Option<i64>, plant: Option<Plant>) -> Options {
    let mut options = Options::of(seed);
    options.plant = plant;
    if let Some(hours) = hours {
        options.misbehaves = jiff::SignedDuration::from_hours(hours);
        options.calms = jiff::SignedDuration::ZERO;
    }
    options
}

fn one(options: Options) -> Ran {
    let begun = Instant::now();
    let seed = options.seed;
    let mut outcome = run(options);
    let judgement = outcome.judge();
    let broken = judgement.violations.iter().filter(|one| one.severity == Severity::Violation);
    let violations = broken.map(ToString::to_string).collect();
    outcome.counts.raise(&judgement.counts);
    Ran { seed, outcome, violations, millis: begun.elapsed().as_millis() }
}

/// Runs many, on all processors, and gives back those of each seed in order.
fn many(all: Vec<Options>, mut each: impl FnMut(Ran) + Send) {
    let next = AtomicU64::new(0);
    // How many were given back, and those that wait for an earlier seed.
    let kept: Vec<Option<Ran>> = all.iter().map(|_| None).collect();
    let done = Mutex::new((0, kept, &mut each));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let place = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap_or(usize::MAX);
                    let Some(options) = all.get(place) else { return };
                    let ran = one(options.clone());
                    let mut done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    let (told, kept, each) = &mut *done;
                    kept[place] = Some(ran);
                    while let Some(ran) = kept.get_mut(*told).and_then(Option::take) {
                        *told += 1;
                        each(ran);
                    }
                }
            });
        }
    });
}

fn say(ran: &Ran, show: usize) {
    let Ran { seed, outcome, violations, millis } = ran;
    println!(
        "seed {seed}: {} machine-hours, {} faults, {} activities, {} passes, {} events, {} violations, {} not arrived, {millis} ms",
        outcome.machine_hours,
        outcome.faults.total(),
        outcome.counts.activities,
        outcome.passes,
        outcome.events.len(),
        violations.len(),
        outcome.missing.len(),
    );
    for line in violations.iter().chain(&outcome.missing).take(show) {
        println!("    {line}");
    }
    if !violations.is_empty() || !outcome.missing.is_empty() {
        println!("    again: storm --seed {seed} --events storm-{seed}.jsonl");
    }
}

fn find(arguments: &Arguments, plants: &[Plant]) -> ExitCode {
    let mut missed = 0;
    for plant in plants {
        let broken =
            |seed, hours| one(options(seed, Some(hours), Some(*plant))).violations.into_iter().next();
        let most = arguments.hours.unwrap_or(LOOKS_FOR_HOURS);
        let seed = (arguments.from..arguments.seeds).find(|seed| broken(*seed, most).is_some());
        let within = seed.and_then(|seed| {
            (1..=most).find_map(|hours| broken(seed, hours).map(|first| (seed, hours, first)))
        });
        match within {
            Some((seed, hours, first)) => {
                println!("{}: seed {seed} within {hours} h: {first}", plant.as_str());
            }
            None => {
                missed += 1;
                println!(
                    "{}: NOT FOUND in {} seeds",
                    plant.as_str(),
                    arguments.seeds.saturating_sub(arguments.from)
                );
            }
        }
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let plant = match &arguments.plant {
        None => None,
        Some(name) => match Plant::ALL.iter().find(|plant| plant.as_str() == name) {
            Some(plant) => Some(*plant),
            None => {
                let names: Vec<&str> = Plant::ALL.iter().map(|plant| plant.as_str()).collect();
                eprintln!("no such bug: {name}; there are {}", names.join(", "));
                return ExitCode::from(64);
            }
        },
    };
    if arguments.find {
        return find(&arguments, plant.as_ref().map_or(Plant::ALL, std::slice::from_ref));
    }
    let below = || (arguments.from..arguments.seeds).collect();
    let seeds: Vec<u64> = arguments.seed.map_or_else(below, |seed| vec![seed]);
    if seeds.is_empty() {
        eprintln!("no seed is below {} and not below {}", arguments.seeds, arguments.from);
        return ExitCode::from(64);
    }
    let all = seeds.iter().map(|seed| options(*seed, arguments.hours, plant)).collect();
    let begun = Instant::now();
    let mut faults = muster_storm::Faults::default();
    let mut counts = muster_storm::Counts::default();
    let (mut hours, mut stormy, mut broken) = (0, 0, 0);
    many(all, |ran| {
        say(&ran, arguments.show);
        faults.add(&ran.outcome.faults);
        counts.add(&ran.outcome.counts);
        hours += ran.outcome.machine_hours;
        stormy += ran.outcome.stormy_hours;
        broken += usize::from(!ran.violations.is_empty() || !ran.outcome.missing.is_empty());
        if let Some(path) = &arguments.events
            && let Err(error) = write(path, &ran.outcome)
        {
            eprintln!("cannot write {}: {error}", path.display());
        }
    });
    for fault in Fault::ALL {
        println!("fault {:>20} {:>8}", fault.as_str(), faults.of(*fault));
    }
    for rule in RULES {
        println!("rule {rule:>4} {:>8}", counts.rules().get(rule).copied().unwrap_or(0));
    }
    println!(
        "{hours} machine-hours, {stormy} of them in the storm, in {} s; {broken} of {} seeds broken",
        begun.elapsed().as_secs(),
        seeds.len()
    );
    if broken > 0 {
        return ExitCode::FAILURE;
    }
    let whole = plant.is_none() && arguments.hours.is_none() && seeds.len() >= SEEDS_THAT_SHOW_ALL;
    let rare: Vec<&str> = Fault::ALL
        .iter()
        .filter(|fault| whole && faults.of(**fault) < FAULTS_AT_LEAST)
        .map(|fault| fault.as_str())
        .chain(
            RULES
                .iter()
                .copied()
                .filter(|rule| whole && counts.rules().get(rule).copied().unwrap_or(0) < BINDING_AT_LEAST),
        )
        .collect();
    if !rare.is_empty() {
        println!("too rare to say that they were tried: {}", rare.join(", "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn write(path: &std::path::Path, outcome: &Outcome) -> std::io::Result<()> {
    let mut text = outcome.header.to_line();
    text.push('\n');
    for event in &outcome.events {
        text.push_str(&event.to_line());
        text.push('\n');
    }
    std::fs::write(path, text)
}
