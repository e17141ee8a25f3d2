//! What baselines ask for is what a machine's dpkg comes to have, or Muster says why not.

use muster_tests::{Moved, Package};
use serde_json::Value;

use crate::fleet::{Fleet, baseline, becomes, condition, done_with};

fn moved(name: &str, from: Option<&str>, to: Option<&str>) -> Moved {
    Moved { name: name.to_owned(), from: from.map(str::to_owned), to: to.map(str::to_owned) }
}

// rule: A7, V2
#[test]
fn a_package_comes_with_exactly_the_dependencies_that_its_activity_named() {
    let archive = [
        Package::new("ferry", "1.2-1").depends("oar (>= 2.0), rope"),
        Package::new("oar", "1.0-1"),
        Package::new("oar", "2.0-1"),
        Package::new("rope", "1.0-1").for_all_architectures(),
    ];
    let fleet = Fleet::new(["web-01"], &archive, &["oar=1.0-1"]);
    fleet.desired.write("ferry.yaml", &baseline("ferry", "[{name: ferry}]", ""));

    let [machine] = &fleet.machines[..] else { panic!("one machine") };
    fleet.has(machine, "ferry", Some("1.2-1"));
    let [activity] = &fleet.finished(1)[..] else { panic!("one activity") };
    let [step] = &activity.steps[..] else { panic!("one step: {activity:#?}") };
    assert_eq!(step.requested, [moved("ferry", None, Some("1.2-1"))]);
    let mut dependencies = step.dependencies.clone();
    dependencies.sort();
    assert_eq!(
        dependencies,
        [moved("oar", Some("1.0-1"), Some("2.0-1")), moved("rope", None, Some("1.0-1"))]
    );

    let mut by_dpkg: Vec<Moved> = machine
        .dpkg_actions()
        .into_iter()
        .skip_while(|done| done.package == "oar" && done.to.as_deref() != Some("2.0-1"))
        .filter(|done| ["install", "upgrade", "remove"].contains(&done.action.as_str()))
        .map(|done| moved(&done.package, done.from.as_deref(), done.to.as_deref()))
        .collect();
    by_dpkg.sort();
    assert_eq!(by_dpkg, activity.moved(), "dpkg's own account is the activity's, no more and no less");
}

// rule: A1, S3
#[test]
fn a_package_removed_by_hand_comes_back_twice() {
    let archive = [Package::new("ferry", "1.0-1").depends("oar"), Package::new("oar", "1.0-1")];
    let fleet = Fleet::new(["web-01"], &archive, &[]);
    fleet.desired.write("ferry.yaml", &baseline("ferry", "[{name: ferry}]", ""));
    let [machine] = &fleet.machines[..] else { panic!("one machine") };
    fleet.has(machine, "ferry", Some("1.0-1"));

    for times in [2, 3] {
        machine.run("apt-get -q -o DPkg::Lock::Timeout=60 remove -y ferry");
        fleet.has(machine, "ferry", Some("1.0-1"));
        let activities = fleet.finished(times);
        let last = activities.last().expect("there is one for each time");
        assert_eq!((last.phase.as_str(), last.number), ("Succeeded", times as u64), "{last:#?}");
        assert_eq!(last.moved(), [moved("ferry", None, Some("1.0-1"))], "its dependency was still there");
    }
    let installs = done_with(machine, "ferry").into_iter().filter(|done| done == "install 1.0-1").count();
    assert_eq!(installs, 3);
}

// rule: V2
#[test]
fn what_is_new_in_the_archive_comes_where_the_latest_is_wanted_and_only_there() {
    let archive = [Package::new("ferry", "1.0-1"), Package::new("oar", "1.0-1")];
    let fleet = Fleet::new(["web-01"], &archive, &["oar"]);
    let [machine] = &fleet.machines[..] else { panic!("one machine") };
    fleet
        .desired
        .write("ferry.yaml", &baseline("ferry", "[{name: ferry, version: latest}, {name: oar}]", ""));
    fleet.has(machine, "ferry", Some("1.0-1"));

    fleet.publish(&[Package::new("ferry", "1.1-1"), Package::new("oar", "1.1-1")]);
    fleet.has(machine, "ferry", Some("1.1-1"));
    assert_eq!(machine.installed("oar").as_deref(), Some("1.0-1"), "any version of it will do");
    assert_eq!(fleet.finished(2)[1].moved(), [moved("ferry", Some("1.0-1"), Some("1.1-1"))]);
}

// rule: V6
#[test]
fn a_held_package_blocks_and_says_so() {
    let archive = [Package::new("ferry", "1.0-1"), Package::new("ferry", "1.1-1")];
    let fleet = Fleet::new(["web-01"], &archive, &["ferry=1.0-1"]);
    let [machine] = &fleet.machines[..] else { panic!("one machine") };
    machine.run("apt-mark hold ferry");
    fleet.desired.write("ferry.yaml", &baseline("ferry", r#"[{name: ferry, version: ">= 1.1-1"}]"#, ""));

    let decision = fleet.decides("web-01", "Blocked", "Held");
    assert_eq!(decision["rule"], "V6");
    let requirement = &decision["requirements"][0];
    assert_eq!(requirement["resource"].as_str().map(|text| text.starts_with("ferry:")), Some(true));
    assert_eq!(
        (requirement["installed"].as_str(), requirement["target"].as_str()),
        (Some("1.0-1"), Some(">= 1.1-1")),
        "a held package has no exact target: {decision:#}"
    );
    let why = fleet.muster.exec(&["why", "web-01"]).expect_success();
    assert!(why.starts_with("web-01: Blocked(Held), rule V6"), "{why}");
    assert!(why.contains("ferry") && why.contains("1.0-1 → >= 1.1-1"), "{why}");
    let json = fleet.muster.exec(&["why", "web-01", "-o", "json"]).expect_success();
    let json: Value = serde_json::from_str(&json).expect("-o json prints JSON");
    assert_eq!((json["verdict"].as_str(), json["reason"].as_str()), (Some("Blocked"), Some("Held")));
    assert_eq!(fleet.kubectl().activities(), []);

    machine.run("apt-mark unhold ferry");
    fleet.has(machine, "ferry", Some("1.1-1"));
}

// rule: S2
#[test]
fn a_conflict_between_two_baselines_is_named_and_all_else_goes_on() {
    let archive =
        [Package::new("ferry", "1.0-1"), Package::new("ferry", "1.1-1"), Package::new("oar", "1.0-1")];
    let fleet = Fleet::new(["web-01"], &archive, &[]);
    let old = r#"[{name: ferry, version: "<< 1.1"}, {name: oar}]"#;
    fleet.desired.write("old.yaml", &baseline("old", old, ""));
    let [machine] = &fleet.machines[..] else { panic!("one machine") };
    fleet.has(machine, "ferry", Some("1.0-1"));
    machine.run("apt-get -q -o DPkg::Lock::Timeout=60 remove -y oar");
    fleet.has(machine, "oar", Some("1.0-1"));

    let new = r#"[{name: ferry, version: ">= 1.1-1"}]"#;
    fleet.desired.write("new.yaml", &baseline("new", new, ""));
    let kubectl = fleet.kubectl();
    for (name, other) in [("old", "new"), ("new", "old")] {
        let seen = becomes(&kubectl, &["pb", name], "Accepted", "False", "Conflicted");
        let conflict = &seen["status"]["conflicts"][0];
        assert_eq!(conflict["with"]["name"], other, "{seen:#}");
        assert_eq!(conflict["machines"], 1, "{seen:#}");
        assert_eq!(conflict["package"].as_str().map(|text| text.starts_with("ferry:")), Some(true));
    }
    let decision = fleet.decides("web-01", "Blocked", "Conflicted");
    let message = decision["message"].as_str().unwrap_or_default();
    assert!(message.contains("old") && message.contains("new") && message.contains("ferry"), "{message}");

    machine.run("apt-get -q -o DPkg::Lock::Timeout=60 remove -y oar");
    crate::fleet::comes_to_have(&kubectl, machine, "oar", Some("1.0-1"));
    assert_eq!(machine.installed("ferry").as_deref(), Some("1.0-1"));

    fleet.desired.remove("old.yaml");
    fleet.has(machine, "ferry", Some("1.1-1"));
    let seen = kubectl.json(&["get", "pb", "new"]);
    assert_eq!(condition(&seen, "Accepted")["status"], "True", "{seen:#}");
}

// rule: V5
#[test]
fn a_downgrade_is_refused_and_then_allowed() {
    let archive = [Package::new("ferry", "1.0-1"), Package::new("ferry", "1.1-1")];
    let fleet = Fleet::new(["web-01"], &archive, &["ferry=1.1-1"]);
    let [machine] = &fleet.machines[..] else { panic!("one machine") };
    let wanted = r#"[{name: ferry, version: "= 1.0-1"}]"#;
    fleet.desired.write("ferry.yaml", &baseline("ferry", wanted, ""));
    let decision = fleet.decides("web-01", "Blocked", "DowngradeNotAllowed");
    assert_eq!(decision["rule"], "V5");
    assert_eq!(fleet.kubectl().activities(), []);

    fleet.desired.write("ferry.yaml", &baseline("ferry", wanted, "downgrades: Allow"));
    fleet.has(machine, "ferry", Some("1.0-1"));
    assert_eq!(fleet.finished(1)[0].moved(), [moved("ferry", Some("1.1-1"), Some("1.0-1"))]);
}

// rule: A7, S3
#[test]
fn a_package_that_is_to_be_absent_takes_others_along_only_where_that_is_allowed() {
    let archive = [Package::new("ferry", "1.0-1").depends("oar"), Package::new("oar", "1.0-1")];
    let fleet = Fleet::new(["web-01"], &archive, &["ferry", "oar"]);
    let [machine] = &fleet.machines[..] else { panic!("one machine") };
    let unwanted = "[{name: oar, state: Absent}]";
    fleet.desired.write("oar.yaml", &baseline("no-oar", unwanted, ""));
    let decision = fleet.decides("web-01", "Blocked", "RemovalNotAllowed");
    assert!(decision["message"].as_str().is_some_and(|text| text.contains("ferry")), "{decision:#}");
    assert_eq!(machine.installed("oar").as_deref(), Some("1.0-1"));
    assert_eq!(fleet.kubectl().activities(), []);

    fleet.desired.write("oar.yaml", &baseline("no-oar", unwanted, "removals: Allow"));
    fleet.has(machine, "oar", None);
    assert_eq!(machine.installed("ferry"), None);
    let [activity] = &fleet.finished(1)[..] else { panic!("one activity") };
    assert_eq!(activity.steps[0].kind, "RemovePackages");
    assert_eq!(activity.moved(), [moved("ferry", Some("1.0-1"), None), moved("oar", Some("1.0-1"), None)]);
}
