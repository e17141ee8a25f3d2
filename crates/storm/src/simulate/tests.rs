use std::collections::BTreeMap;

use muster_checker::event::What;
use muster_checker::{Checker, Severity};
use muster_model::{
    ActivityName, ActivitySpec, Architecture, Boot, Capability, Cause, Change, Conffiles, Estimates,
    Hardware, HealthCheck, Installed, Kernel, Offer, Os, Package, PackageKey, PackageState, Phase, Policy,
    RebootRequired, RebootWhen, Report, Reported, Shared, Step, StepAction, StepStatus, Transaction, Verdict,
    WindowAction,
};
use muster_planner::{forecast, plan};

use super::*;
use crate::archive::{package, version};
use crate::world;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn at(text: &str) -> Instant {
    text.parse().unwrap()
}

/// A list with openssl and its library installed, and a newer openssl on offer.
fn inventory(installed: &str) -> Inventory {
    let one = |name: &str| Package {
        key: PackageKey { name: package(name), architecture: Architecture::parse("amd64").unwrap() },
        installed: Some(Installed {
            version: version(installed),
            state: PackageState::Installed,
            held: false,
            automatic: false,
        }),
        candidate: Some(version("3.0.15")),
        offers: vec![Offer { version: version("3.0.15"), pin: 500, origins: Vec::new(), phased: None }],
    };
    let mut inventory = Inventory {
        architecture: Architecture::parse("amd64").unwrap(),
        lists: Digest::of(b"lists"),
        interest: [package("openssl")].into(),
        packages: vec![one("libssl3"), one("openssl")],
    };
    inventory.canonicalise();
    inventory
}

/// A machine that was heard just now.
fn machine(name: &str, labels: &[(&str, &str)], inventory: &Digest, now: Instant) -> Machine {
    let report = Report {
        agent: "0.1.0".into(),
        capabilities: [
            Capability::ExactSimulation,
            Capability::Packages,
            Capability::Reboot,
            Capability::Journal,
        ]
        .into(),
        os: Os { id: "debian".into(), version_id: "12".into(), codename: "bookworm".into() }.into(),
        architecture: Architecture::parse("amd64").unwrap(),
        kernel: Kernel {
            booted: "6.1.0-1-amd64".into(),
            installed: Vec::new(),
            next_boot: None,
            command_line: SmolStr::default(),
        }
        .into(),
        boot: Boot { id: format_smolstr!("boot-of-{name}").into(), time: now - MINUTE * 600 },
        reboot_required: None,
        inventory: inventory.clone(),
        dpkg_interrupted: false,
        upgradable: 1,
        security_upgradable: 0,
        phasing: BTreeMap::new(),
        failed_units: Default::default(),
        hardware: Hardware::default().into(),
        last_activity: 0,
    };
    let reported = Reported {
        session: 1,
        sequence: 1,
        digest: report.digest(),
        time: now - MINUTE,
        facts: report.facts(),
        report,
    };
    let labels = labels.iter().map(|(key, value)| (SmolStr::new(key), SmolStr::new(value))).collect();
    let uid = muster_model::Uid::parse(&format!("uid-of-{name}")).unwrap();
    let known = world::machine(MachineName::parse(name).unwrap(), uid, labels, true);
    Machine { reported: Some(reported), presence: Presence::Present, ..known }
}

/// So many twins at noon, of which 5% may change at a time between ten and two.
fn fleet(machines: usize) -> Snapshot {
    let now = at("2026-11-23T12:00:00Z");
    let list = inventory("3.0.14");
    let digest = list.digest();
    let mut world = Snapshot { now, ..Snapshot::default() };
    for number in 0..machines {
        let machine = machine(&format!("m{number:04}"), &[], &digest, now);
        world.machines.insert(machine.name.clone(), Arc::new(machine));
    }
    world.inventories.insert(digest, Arc::new(list));
    let mut fix = world::baseline("fix", &[], &[("openssl", ">= 3.0.15")], "5%");
    fix.rollout.min_ready = MINUTE * 10;
    world.package_baselines.insert(fix.common.name.clone(), Arc::new(fix));
    let mut night = world::window("night", &[], WindowAction::Allow, nightly());
    night.cutoff = MINUTE * 30;
    world.windows.insert(night.name.clone(), Arc::new(night));
    let estimates = Estimates { packages: MINUTE * 12, ..Estimates::default() };
    world.policy = Policy { estimates, medians: estimates, ..Policy::default() };
    world
}

fn nightly() -> muster_model::When {
    let schedule = muster_model::Schedule::parse("0 22 * * *").unwrap();
    let zone = muster_model::Zone::parse("UTC").unwrap();
    let length = SignedDuration::from_hours(4);
    muster_model::When::Recurring(muster_model::Recurrence::new(schedule, 0, zone, length).unwrap())
}

/// What the checker, which shares no code with the planner, says of the log.
fn broken(simulated: &Simulated) -> Vec<String> {
    let mut checker = Checker::new(&simulated.header);
    simulated.events.iter().for_each(|event| checker.feed(event));
    let found = checker.violations().iter().filter(|one| one.severity == Severity::Violation);
    found.map(ToString::to_string).collect()
}

/// How many activities were created between noon and noon, and when the last one was over.
fn nights(simulated: &Simulated) -> (Vec<usize>, Instant) {
    let mut nights: BTreeMap<i64, usize> = BTreeMap::new();
    let mut last = Instant::MIN;
    for event in &simulated.events {
        match &event.event {
            What::ActivityCreated(_) => {
                let hours = event.time.duration_since(simulated.header.begins).as_hours();
                *nights.entry(hours / 24).or_default() += 1;
            }
            What::ActivityFinished(_) => last = event.time,
            _ => {}
        }
    }
    (nights.into_values().collect(), last)
}

fn is_converged(world: &Snapshot) -> bool {
    plan(world).machines.values().all(|machine| machine.verdict == Verdict::Converged)
}

// rule: W2, B2
#[test]
fn a_thousand_machines_take_the_nights_that_the_forecast_says() {
    let world = fleet(1000);
    let foreseen = forecast(&world).typical;
    let simulated = simulate(&world, "default", "test", at("2026-11-26T12:00:00Z"), 1);
    let (nights, last) = nights(&simulated);
    let expected: Vec<usize> = foreseen.openings.iter().map(|one| one.machines.len()).collect();
    assert_eq!(nights, expected);
    assert_eq!(nights, [500, 500]);
    let converged = foreseen.converged.unwrap();
    // Messages take seconds, and each machine that makes way for another adds its own.
    assert!(last > converged && last < converged + MINUTE * 15, "{last}, {converged} was foreseen");
    assert!(is_converged(&simulated.world));
    assert_eq!(broken(&simulated), Vec::<String>::new());
}

#[test]
fn one_seed_is_one_run() {
    let world = fleet(40);
    let run = |seed| {
        let simulated = simulate(&world, "default", "test", at("2026-11-24T12:00:00Z"), seed);
        simulated.events.iter().map(Event::to_line).collect::<Vec<_>>()
    };
    let first = run(1);
    assert_eq!(first, run(1));
    assert_ne!(first, run(2));
}

fn edit(world: &mut Snapshot, name: &str, edit: impl FnOnce(&mut Machine)) {
    let machine = world.machines.get_mut(&MachineName::parse(name).unwrap()).unwrap();
    edit(Arc::make_mut(machine));
}

fn report(machine: &mut Machine) -> &mut Report {
    &mut machine.reported.as_mut().unwrap().report
}

fn verdict(world: &Snapshot, name: &str) -> String {
    let plan = plan(world);
    let verdict = &plan.machines[&MachineName::parse(name).unwrap()].verdict;
    format!("{} {}", verdict.name(), verdict.reason())
}

/// When what happened to the activities of a machine.
fn told(simulated: &Simulated, machine: &str) -> Vec<String> {
    let of = |name: &ActivityName| name.machine.as_str() == machine;
    let line = |event: &Event| {
        let what = match &event.event {
            What::ActivityCreated(created) if of(&created.spec.name) => "created",
            What::ActivityFound(found) if of(&found.spec.name) => "found",
            What::ActivityFinished(finished) if of(&finished.name) => finished.phase.as_str(),
            What::StepStarted(step) if of(&step.name) => "step",
            _ => return None,
        };
        // A reboot says so when the machine is back.
        let begun = match &event.event {
            What::StepStarted(step) => step.at,
            _ => None,
        };
        let minutes = begun.unwrap_or(event.time).duration_since(simulated.header.begins).as_mins();
        Some(format!("{what} after {minutes}m"))
    };
    simulated.events.iter().filter_map(line).collect()
}

// rule: A1, A2
#[test]
fn what_is_under_way_goes_on_where_it_was_and_nothing_is_done_twice() {
    let mut world = fleet(2);
    world.windows.clear();
    let (m0, list) = (MachineName::parse("m0000").unwrap(), inventory("3.0.14"));
    let package = list.packages[1].key.clone();
    let change = Change { package, from: Some(version("3.0.14")), to: Some(version("3.0.15")) };
    let transaction =
        Transaction { requested: vec![change], dependencies: Vec::new(), conffiles: Conffiles::Keep };
    let step = Step {
        action: StepAction::InstallPackages(transaction),
        baselines: [(world.package_baselines.values().next().unwrap().reference(), uid("pb-fix"))].into(),
        timeout: MINUTE * 60,
    };
    let spec = ActivitySpec {
        name: ActivityName { machine: m0.clone(), number: 7 },
        machine_uid: uid("uid-of-m0000"),
        steps: vec![step].into(),
        cause: Cause { revision: None, proposal: None }.into(),
        budgets: Shared::default(),
        windows: Shared::default(),
        passed: Shared::default(),
        expiry: world.now + MINUTE * 60,
        health: HealthCheck::default().into(),
        failed_units: Default::default(),
    };
    let begun = world.now - MINUTE * 4;
    let activity = Activity {
        spec,
        uid: uid("uid-of-the-activity"),
        created: begun - MINUTE,
        cancel: false,
        epoch: 41,
        phase: Phase::Running,
        delivered: Some(begun),
        finished: None,
        outcome: None,
        message: String::new(),
        steps: vec![StepStatus { started: Some(begun), completed: None }],
    };
    world.activities.insert(activity.spec.name.clone(), Arc::new(activity));
    let simulated = simulate(&world, "default", "test", world.now + MINUTE * 120, 5);
    assert_eq!(told(&simulated, "m0000"), ["found after 0m", "Succeeded after 8m"]);
    // 5% of two is one: m0000 keeps its place for ten minutes more.
    assert_eq!(told(&simulated, "m0001"), ["created after 18m", "step after 18m", "Succeeded after 30m"]);
    assert_eq!(broken(&simulated), Vec::<String>::new());
    assert_eq!(verdict(&simulated.world, "m0000"), "Converged AsWanted");
}

fn uid(text: &str) -> muster_model::Uid {
    muster_model::Uid::parse(text).unwrap()
}

// rule: W1, W6, A4
#[test]
fn reboots_take_their_time_freezes_hold_and_the_silent_stay_silent() {
    let mut world = fleet(3);
    world.windows.clear();
    let frozen = muster_model::When::once(world.now, world.now + MINUTE * 90).unwrap();
    let freeze = world::window("freeze", &[("frozen", "yes")], WindowAction::Deny, frozen);
    world.windows.insert(freeze.name.clone(), Arc::new(freeze));
    let fix = world.package_baselines.values_mut().next().unwrap();
    let fix = Arc::make_mut(fix);
    fix.rollout.max_unavailable = world::share("100%");
    fix.reboot.policy = RebootWhen::WhenRequired;
    let now = world.now;
    edit(&mut world, "m0000", |machine| {
        report(machine).reboot_required =
            Some(Box::new(RebootRequired { since: now, packages: BTreeSet::new() }));
    });
    edit(&mut world, "m0001", |machine| drop(machine.labels.insert("frozen".into(), "yes".into())));
    edit(&mut world, "m0002", |machine| {
        machine.presence = Presence::Silent { last_heard: now - MINUTE, counted_from: now - MINUTE };
    });
    let simulated = simulate(&world, "default", "test", now + MINUTE * 180, 5);
    // Twelve minutes of packages, ten of the reboot.
    let steps = ["created after 0m", "step after 0m", "step after 12m", "Succeeded after 22m"];
    assert_eq!(told(&simulated, "m0000"), steps);
    assert_eq!(told(&simulated, "m0001"), ["created after 90m", "step after 90m", "Succeeded after 102m"]);
    assert_eq!(told(&simulated, "m0002"), Vec::<String>::new());
    assert_eq!(verdict(&simulated.world, "m0000"), "Converged AsWanted");
    assert!(verdict(&simulated.world, "m0002").starts_with("Unknown"));
    assert_eq!(broken(&simulated), Vec::<String>::new());
    let boots = simulated.events.iter().filter_map(|event| match &event.event {
        What::Report(report) if report.machine.as_str() == "m0000" => Some(report.boot_id.clone()),
        _ => None,
    });
    assert_eq!(boots.collect::<BTreeSet<_>>().len(), 2, "it says that it booted");
}
