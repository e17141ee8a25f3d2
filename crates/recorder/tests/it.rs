//! What fleet sees and does, as lines of the event log.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as its tests do")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use expect_test::expect;
use jiff::SignedDuration;
use muster_checker::event::Event;
use muster_fleet::{Change, Effect, GatewayLease, Input, Key, PresenceShard, Written};
use muster_model::*;
use muster_recorder::Recorder;

fn at(seconds: i64) -> Instant {
    "2026-11-27T22:00:00Z".parse::<Instant>().unwrap() + SignedDuration::from_secs(seconds)
}

fn machine() -> MachineName {
    MachineName::parse("web-0").unwrap()
}

fn activity(number: u64) -> Activity {
    let openssl = PackageKey {
        name: PackageName::parse("openssl").unwrap(),
        architecture: Architecture::parse("amd64").unwrap(),
    };
    let change =
        muster_model::Change { package: openssl, from: None, to: Some(DebianVersion::parse("2").unwrap()) };
    let fix = BaselineRef { kind: BaselineKind::PackageBaseline, name: ObjectName::parse("fix").unwrap() };
    Activity {
        spec: ActivitySpec {
            name: ActivityName { machine: machine(), number },
            machine_uid: Uid::parse("m").unwrap(),
            steps: vec![Step {
                action: StepAction::InstallPackages(Transaction {
                    requested: vec![change],
                    ..Transaction::default()
                }),
                baselines: BTreeMap::from([(fix, Uid::parse("b").unwrap())]),
                timeout: SignedDuration::from_hours(1),
            }]
            .into(),
            cause: Cause { revision: None, proposal: None }.into(),
            budgets: Shared::default(),
            windows: Shared::default(),
            passed: Default::default(),
            expiry: at(3600),
            health: HealthCheck::default().into(),
            failed_units: Default::default(),
        },
        uid: Uid::parse("a").unwrap(),
        created: at(0),
        cancel: false,
        epoch: 1,
        phase: Phase::Pending,
        delivered: None,
        finished: None,
        outcome: None,
        message: String::new(),
        steps: Vec::new(),
    }
}

fn shown(events: Vec<Event>) -> String {
    events.iter().map(|event| format!("{}\n", event.to_line().replace("2026-11-27T", ""))).collect()
}

fn observed(recorder: &mut Recorder, seconds: i64, change: Change) -> String {
    shown(recorder.input(at(seconds), &Input::Observed(Box::new(change))))
}

/// The names of the events, in their order.
fn kinds(text: &str) -> Vec<String> {
    let kind = |line: &str| line.split("\"event\":{\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    text.lines().map(kind).collect()
}

#[test]
fn what_one_sight_shows_of_an_activity_is_told_in_the_order_in_which_it_happened() {
    let mut recorder = Recorder::new("x");
    let mut known = activity(1);
    let created = [Effect::CreateActivity { spec: Arc::new(known.spec.clone()), epoch: 1 }];
    assert_eq!(kinds(&shown(recorder.effects(at(0), &created))), ["ActivityCreated"]);
    // The watch shows our own write: nothing new.
    assert_eq!(observed(&mut recorder, 1, Change::Activity(Box::new(known.clone()))), "");
    known.phase = Phase::Succeeded;
    known.delivered = Some(at(2));
    known.steps = vec![StepStatus { started: Some(at(3)), completed: Some(at(4)) }];
    known.finished = Some(at(5));
    expect![[r#"
        {"time":"22:00:09.000000Z","event":{"ActivityDelivered":{"name":"web-0-1","at":"22:00:02.000000Z"}}}
        {"time":"22:00:09.000000Z","event":{"StepStarted":{"name":"web-0-1","step":0,"at":"22:00:03.000000Z"}}}
        {"time":"22:00:09.000000Z","event":{"StepCompleted":{"name":"web-0-1","step":0,"at":"22:00:04.000000Z"}}}
        {"time":"22:00:09.000000Z","event":{"ActivityFinished":{"name":"web-0-1","phase":"Succeeded","at":"22:00:05.000000Z"}}}
    "#]]
    .assert_eq(&observed(&mut recorder, 9, Change::Activity(Box::new(known.clone()))));
    // Neither a repetition nor a stale watch says anything.
    assert_eq!(observed(&mut recorder, 10, Change::Activity(Box::new(known))), "");
    assert_eq!(observed(&mut recorder, 11, Change::Activity(Box::new(activity(1)))), "");
    let gone = Change::ActivityGone(activity(1).spec.name);
    assert_eq!(kinds(&observed(&mut recorder, 12, gone)), ["ActivityDeleted"]);
}

#[test]
fn a_creation_that_was_refused_is_taken_back() {
    let mut recorder = Recorder::new("x");
    let spec = Arc::new(activity(1).spec);
    let created = [Effect::CreateActivity { spec: spec.clone(), epoch: 1 }];
    let written = |outcome| Input::Written { key: Key::Activity(spec.name.clone()), now: at(1), outcome };
    recorder.effects(at(0), &created);
    assert_eq!(shown(recorder.input(at(1), &written(Written::Unknown))), "", "it may exist");
    assert_eq!(kinds(&shown(recorder.input(at(1), &written(Written::Refused)))), ["ActivityWithdrawn"]);
    // A write about one that exists is something else.
    recorder.effects(at(2), &created);
    observed(&mut recorder, 2, Change::Activity(Box::new(activity(1))));
    assert_eq!(shown(recorder.input(at(3), &written(Written::Refused))), "");
}

#[test]
fn what_was_there_before_is_found_and_what_comes_meanwhile_was_created() {
    let mut recorder = Recorder::new("x");
    assert_eq!(kinds(&shown(recorder.leads(at(0), 2))), ["Anew", "Leading"]);
    assert_eq!(
        kinds(&observed(&mut recorder, 0, Change::Activity(Box::new(activity(1))))),
        ["ActivityFound"]
    );
    recorder.input(at(1), &Input::Pass(at(1)));
    assert_eq!(
        kinds(&observed(&mut recorder, 2, Change::Activity(Box::new(activity(2))))),
        ["ActivityCreated"]
    );
    assert_eq!(kinds(&shown(recorder.lost(at(3), 2))), ["LeaseLost"]);
}

#[test]
fn presence_is_told_when_it_changes_and_when_a_lease_runs_out() {
    let mut recorder = Recorder::new("x");
    let lease = GatewayLease { acquired: at(0), renewed: at(0), valid_until: at(30) };
    let heard =
        PresenceShard { present: BTreeSet::from([machine()]), silent: BTreeMap::new(), since: Some(at(0)) };
    observed(&mut recorder, 0, Change::Machine(Box::new(reported())));
    observed(&mut recorder, 0, Change::Gateway("g".into(), Some(lease)));
    observed(&mut recorder, 0, Change::Presence("g".into(), "0".into(), Some(heard)));
    let pass =
        |recorder: &mut Recorder, seconds| shown(recorder.input(at(seconds), &Input::Pass(at(seconds))));
    assert_eq!(kinds(&pass(&mut recorder, 1)), ["GatewaysUp", "Heard"]);
    assert_eq!(pass(&mut recorder, 29), "");
    expect![[r#"
        {"time":"22:00:30.000000Z","event":{"GatewaysDown":{}}}
        {"time":"22:00:30.000000Z","event":{"Silent":{"machine":"web-0","lastHeard":"22:00:00.000000Z"}}}
    "#]]
    .assert_eq(&pass(&mut recorder, 30));
    let renewed = GatewayLease { renewed: at(31), valid_until: at(61), ..lease };
    observed(&mut recorder, 31, Change::Gateway("g".into(), Some(renewed)));
    assert_eq!(kinds(&pass(&mut recorder, 31)), ["GatewaysUp", "Heard"]);
}

#[test]
fn a_report_is_told_once_its_inventory_is_known_with_the_packages_that_matter() {
    let mut recorder = Recorder::new("x");
    let mut told = observed(&mut recorder, 0, Change::Machine(Box::new(reported())));
    told += &observed(&mut recorder, 1, Change::Inventory(inventory().digest(), Arc::new(inventory()), None));
    // An activity about openssl makes that matter; again, and nothing is said.
    for _ in 0..2 {
        told += &observed(&mut recorder, 2, Change::Machine(Box::new(reported())));
        told += &observed(&mut recorder, 2, Change::Activity(Box::new(activity(1))));
    }
    assert_eq!(kinds(&told), ["Machine", "Report", "Report", "ActivityFound"]);
    assert!(!told.lines().nth(1).unwrap().contains("openssl"));
    let packages =
        r#""packages":[{"name":"openssl","architecture":"amd64","installed":"1","candidate":"2"}]"#;
    assert!(told.lines().nth(2).unwrap().contains(packages), "{told}");
}

fn inventory() -> Inventory {
    let package = |name: &str| Package {
        key: PackageKey {
            name: PackageName::parse(name).unwrap(),
            architecture: Architecture::parse("amd64").unwrap(),
        },
        installed: Some(Installed {
            version: DebianVersion::parse("1").unwrap(),
            state: PackageState::Installed,
            held: false,
            automatic: false,
        }),
        candidate: Some(DebianVersion::parse("2").unwrap()),
        offers: Vec::new(),
    };
    Inventory {
        architecture: Architecture::parse("amd64").unwrap(),
        lists: Digest::of(b"lists"),
        interest: BTreeSet::new(),
        packages: vec![package("bash"), package("openssl")],
    }
}

fn reported() -> Machine {
    let report = Report {
        agent: "0.1.0".into(),
        capabilities: Shared::default(),
        os: Os { id: "debian".into(), version_id: "12".into(), codename: "bookworm".into() }.into(),
        architecture: Architecture::parse("amd64").unwrap(),
        kernel: Kernel {
            booted: "6.1".into(),
            installed: Vec::new(),
            next_boot: None,
            command_line: "".into(),
        }
        .into(),
        boot: Boot { id: "b".into(), time: at(-1000) },
        reboot_required: None,
        inventory: inventory().digest(),
        dpkg_interrupted: false,
        upgradable: 0,
        security_upgradable: 0,
        phasing: Default::default(),
        failed_units: Default::default(),
        hardware: Hardware::default().into(),
        last_activity: 0,
    };
    Machine {
        name: machine(),
        uid: Uid::parse("m").unwrap(),
        labels: Shared::default(),
        admitted: true,
        suspend: false,
        revoked: false,
        resolved_through: 0,
        retried_through: 0,
        reported: Some(Reported {
            session: 1,
            sequence: 1,
            digest: report.digest(),
            time: at(0),
            facts: report.facts(),
            report,
        }),
        presence: Presence::Never,
        last_number: 0,
        holds: Default::default(),
        first_converged: None,
    }
}

// rule: O4
#[test]
fn what_is_released_is_told_when_it_changes() {
    let mut recorder = Recorder::new("x");
    let fix = BaselineRef { kind: BaselineKind::PackageBaseline, name: ObjectName::parse("fix").unwrap() };
    let item = |version: &str| Item {
        package: PackageKey {
            name: PackageName::parse("openssl").unwrap(),
            architecture: Architecture::parse("amd64").unwrap(),
        },
        target: Target::Version(DebianVersion::parse(version).unwrap()),
    };
    let released = ItemProgress { released: Some(at(-60)), ..ItemProgress::default() };
    let on_its_way = ItemProgress::default();
    let barred = ItemProgress { barred: Some(at(-60)), ..released.clone() };
    let mut rollout = Rollout {
        items: BTreeMap::from([(item("1"), barred), (item("2"), released.clone()), (item("3"), on_its_way)]),
    };
    // On record before: how it came to be is not ours to tell.
    expect![[r#"
        {"time":"22:00:00.000000Z","event":{"Released":{"baseline":{"kind":"PackageBaseline","name":"fix"},"items":[{"package":{"name":"openssl","architecture":"amd64"},"to":"2","since":"21:59:00.000000Z"}],"found":true}}}
    "#]]
    .assert_eq(&observed(&mut recorder, 0, Change::Rollout(fix.clone(), rollout.clone())));
    recorder.input(at(1), &Input::Pass(at(1)));
    let record = |recorder: &mut Recorder, rollout: &Rollout| {
        let effect = Effect::RecordRollout { baseline: fix.clone(), rollout: rollout.clone() };
        shown(recorder.effects(at(1), &[effect]))
    };
    assert_eq!(record(&mut recorder, &rollout), "", "nothing new");
    rollout.items.insert(item("3"), released);
    let told = record(&mut recorder, &rollout);
    assert!(told.contains(r#""to":"3""#) && !told.contains("found"), "{told}");
    assert_eq!(observed(&mut recorder, 2, Change::Rollout(fix.clone(), rollout)), "", "our own word");
    let gone = shown(recorder.effects(at(3), &[Effect::DeleteRollout { baseline: fix }]));
    assert!(gone.contains(r#""items":[]"#), "{gone}");
}

// rule: W2
#[test]
fn what_was_measured_is_told_when_it_is_decided_by() {
    let mut recorder = Recorder::new("x");
    let policy = Policy { suspend: true, ..Policy::default() };
    observed(&mut recorder, 0, Change::Policy(Some((policy.clone(), None))));
    let estimates = Estimates { reboot: SignedDuration::from_mins(3), ..policy.estimates };
    let told =
        shown(recorder.effects(at(1), &[Effect::RecordEstimates { medians: policy.medians, estimates }]));
    assert!(told.contains(r#""estimateReboot":"3m""#) && told.contains(r#""suspend":true"#), "{told}");
}
