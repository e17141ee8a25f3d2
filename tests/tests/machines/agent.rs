//! The agent can be killed anywhere.

use muster_tests::{Machine, Package, until};

use crate::fleet::{Fleet, PATIENCE, baseline, done_with};

const GATE: &str = "/run/gate";

// rule: A2, A8
#[test]
fn an_agent_killed_in_the_middle_of_apt_resumes_the_same_activity() {
    let archive = [Package::new("ferry", "1.0-1").configures_only_after(GATE)];
    let fleet = Fleet::new(["web-01"], &archive, &[]);
    let [machine] = &fleet.machines[..] else { panic!("one machine") };
    fleet.desired.write("ferry.yaml", &baseline("ferry", "[{name: ferry}]", ""));
    machine.wait_for_file(&format!("{GATE}.reached"), PATIENCE);
    fleet.kubectl().wait(&["act/web-01-1"], "jsonpath={.status.phase}=Running", 60);
    let [before] = &fleet.activities_on("web-01")[..] else { panic!("one activity") };

    let process = || machine.run("systemctl show --value --property=MainPID muster-agent");
    let first = process();
    machine.kill_unit("muster-agent.service");
    until(PATIENCE, "systemd to start the agent again", || {
        let now = process();
        (now != first && now != "0").then_some(())
    });
    assert_eq!(machine.installed("ferry"), None, "apt is still in the middle");
    // And once more, now that it has found what it began.
    machine.kill_unit("muster-agent.service");
    machine.run(&format!("touch {GATE}"));

    fleet.has(machine, "ferry", Some("1.0-1"));
    let [after] = &fleet.finished(1)[..] else { panic!("one activity") };
    assert_eq!((after.phase.as_str(), &after.uid), ("Succeeded", &before.uid), "{after:#?}");
    assert_eq!(after.steps[0].start, before.steps[0].start, "its step did not begin anew");
    assert_eq!(done_with(machine, "ferry"), ["install 1.0-1", "configure 1.0-1"]);
}

// rule: A6, A7, O3
#[test]
fn a_failure_by_dpkgs_word_stops_the_change_everywhere_and_is_repaired_where_it_was() {
    let archive = [Package::new("ferry", "1.0-1"), Package::new("ferry", "1.1-1").fails_until("/run/cure")];
    let fleet = Fleet::new(["web-01", "web-02"], &archive, &["ferry=1.0-1"]);
    let wanted = r#"[{name: ferry, version: ">= 1.1-1"}]"#;
    fleet.desired.write("ferry.yaml", &baseline("ferry", wanted, "rollout: {maxUnavailable: 1}"));
    let kubectl = fleet.kubectl();
    let failed = until(PATIENCE, "an activity to fail", || {
        kubectl.activities().into_iter().find(|activity| activity.phase == "Failed")
    });
    let object = kubectl.json(&["get", "act", &failed.name]);
    assert_eq!(object["status"]["outcome"], "PackagesNotAsWanted", "{object:#}");
    let message = object["status"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("not before there is /run/cure"), "the package's own words: {message}");
    let (sick, well): (Vec<&Machine>, Vec<&Machine>) =
        fleet.machines.iter().partition(|machine| machine.name() == failed.machine);

    fleet.decides(well[0].name(), "Blocked", "Barred");
    assert_eq!(kubectl.json(&["get", "br", "pb-ferry"])["status"]["itemsBarred"], 1);
    assert_eq!(sick[0].installed("ferry"), None, "it is unpacked and not configured");

    // Its dpkg is repaired by an activity of its own, again after a minute.
    sick[0].run("touch /run/cure");
    fleet.has(sick[0], "ferry", Some("1.1-1"));
    let last = fleet.activities_on(sick[0].name()).pop().expect("there were several");
    assert_eq!((last.phase.as_str(), last.steps[0].kind.as_str()), ("Succeeded", "RepairPackages"));
    fleet.decides(well[0].name(), "Blocked", "Barred");
    assert_eq!(well[0].installed("ferry").as_deref(), Some("1.0-1"));
    assert_eq!(fleet.activities_on(well[0].name()), []);
}
