//! A change spreads over machines, whatever happens to Muster meanwhile.

use muster_tests::{Machine, Package, most_at_once, until};

use crate::fleet::{Fleet, PATIENCE, baseline, comes_to_have, decides, done_with};

/// The file that lets the new version be configured.
const GATE: &str = "/run/gate";
/// One machine at a time.
const ONE: &str = "rollout: {maxUnavailable: 1}";

fn three_with_a_gate() -> Fleet {
    let archive =
        [Package::new("ferry", "1.0-1"), Package::new("ferry", "1.1-1").configures_only_after(GATE)];
    Fleet::new(["web-01", "web-02", "web-03"], &archive, &["ferry=1.0-1"])
}

/// Waits until apt is in the middle on one of the machines; which.
#[track_caller]
fn in_the_middle<'a>(machines: &[&'a Machine]) -> &'a Machine {
    let reached = format!("test -e {GATE}.reached");
    until(PATIENCE, "apt to be in the middle on one machine", || {
        machines.iter().copied().find(|machine| machine.exec(&reached).is_success())
    })
}

// rule: B2, B3, A1
#[test]
fn a_change_upgrades_three_machines_never_two_at_once() {
    let fleet = three_with_a_gate();
    fleet.desired.write("ferry.yaml", &baseline("ferry", r#"[{name: ferry, version: ">= 1.1-1"}]"#, ONE));

    let mut waiting: Vec<&Machine> = fleet.machines.iter().collect();
    while !waiting.is_empty() {
        let name = in_the_middle(&waiting).name();
        let (at_work, others): (Vec<&Machine>, Vec<&Machine>) =
            waiting.into_iter().partition(|machine| machine.name() == name);
        for other in &others {
            let decision = fleet.decides(other.name(), "Waiting", "MaxUnavailable");
            assert_eq!(decision["blocker"]["name"], "ferry", "{decision:#}");
            assert_eq!(other.installed("ferry").as_deref(), Some("1.0-1"));
        }
        at_work[0].run(&format!("touch {GATE}"));
        waiting = others;
    }

    for machine in &fleet.machines {
        fleet.has(machine, "ferry", Some("1.1-1"));
        assert_eq!(done_with(machine, "ferry")[2..], ["upgrade 1.1-1", "configure 1.1-1"]);
    }
    let activities = fleet.finished(3);
    assert_eq!(most_at_once(&activities), 1, "{activities:#?}");
    for activity in &activities {
        assert_eq!((activity.phase.as_str(), activity.number), ("Succeeded", 1), "{activity:#?}");
        let [moved] = &activity.moved()[..] else { panic!("one package moves: {activity:#?}") };
        assert_eq!((moved.from.as_deref(), moved.to.as_deref()), (Some("1.0-1"), Some("1.1-1")));
    }
    let rollout = fleet.kubectl().json(&["get", "baselinerollout", "pb-ferry"]);
    let item = &rollout["status"]["items"][0];
    assert_eq!((&item["wanted"], &item["done"]), (&3.into(), &3.into()), "{rollout:#}");
}

// rule: A1, A2, A3
#[test]
fn muster_killed_in_the_middle_of_a_rollout_goes_on_and_does_no_step_twice() {
    let mut fleet = three_with_a_gate();
    fleet.desired.write("ferry.yaml", &baseline("ferry", r#"[{name: ferry, version: ">= 1.1-1"}]"#, ONE));

    let all: Vec<&Machine> = fleet.machines.iter().collect();
    let first = in_the_middle(&all).name().to_owned();
    let before = fleet.activities_on(&first);
    assert_eq!(before.len(), 1);
    fleet.muster.kill();
    // The first machine comes to its end while nobody listens.
    for machine in &fleet.machines {
        machine.run(&format!("touch {GATE}"));
        if machine.name() == first {
            until(PATIENCE, "dpkg to end", || (machine.installed("ferry")? == "1.1-1").then_some(()));
        }
    }
    fleet.muster.restart();

    let kubectl = fleet.kubectl();
    for machine in &fleet.machines {
        comes_to_have(&kubectl, machine, "ferry", Some("1.1-1"));
        decides(&kubectl, machine.name(), "Converged", "AsWanted");
        assert_eq!(done_with(machine, "ferry")[2..], ["upgrade 1.1-1", "configure 1.1-1"], "{machine:?}");
    }
    let activities = fleet.finished(3);
    assert_eq!(most_at_once(&activities), 1, "{activities:#?}");
    assert!(activities.iter().all(|one| one.phase == "Succeeded" && one.number == 1), "{activities:#?}");
    let after = fleet.activities_on(&first);
    assert_eq!(after[0].uid, before[0].uid, "it is the same activity");
}
