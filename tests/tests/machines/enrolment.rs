//! Who may be in the fleet.

use muster_tests::Package;

use crate::fleet::{Fleet, baseline, becomes, decision, update};

// rule: M5
#[test]
fn a_pending_machine_gets_nothing_until_it_is_admitted_and_a_revoked_one_nothing_more() {
    let archive = [Package::new("ferry", "1.0-1"), Package::new("ferry", "1.1-1")];
    let fleet = Fleet::new(["web-01", "web-02"], &archive, &[]);
    let [first, second] = &fleet.machines[..] else { panic!("two machines") };
    let pending = fleet.lab.machine("web-03");
    update(&pending);
    fleet.muster.install_agent(&pending, &fleet.muster.enrol(&["--pending", "--label", "role=web"]));
    fleet.desired.write("ferry.yaml", &baseline("ferry", r#"[{name: ferry, version: "= 1.0-1"}]"#, ""));
    fleet.has(first, "ferry", Some("1.0-1"));
    fleet.has(second, "ferry", Some("1.0-1"));

    let kubectl = fleet.kubectl();
    fleet.decides("web-03", "Unmanaged", "NotAdmitted");
    let machine = kubectl.json(&["get", "fm", "web-03"]);
    assert_eq!(machine["metadata"]["labels"]["role"], "web", "the label is the token's: {machine:#}");
    assert_eq!(machine["spec"]["admitted"], false);
    assert_eq!(fleet.activities_on("web-03"), []);
    let selected = &kubectl.json(&["get", "pb", "ferry"])["status"]["selected"];
    assert_eq!(*selected, 2, "a machine that is not admitted is in no N (rule B4)");
    kubectl.run(&["patch", "fm", "web-03", "--type=merge", "--patch", r#"{"spec":{"admitted":true}}"#]);
    fleet.has(&pending, "ferry", Some("1.0-1"));

    kubectl.run(&["patch", "fm", "web-02", "--type=merge", "--patch", r#"{"spec":{"revoked":true}}"#]);
    becomes(&kubectl, &["fm", "web-02"], "Reporting", "False", "Revoked");
    fleet.decides("web-02", "Unmanaged", "Revoked");
    fleet.desired.write("ferry.yaml", &baseline("ferry", r#"[{name: ferry, version: ">= 1.1-1"}]"#, ""));
    fleet.has(first, "ferry", Some("1.1-1"));
    fleet.has(&pending, "ferry", Some("1.1-1"));
    assert_eq!(second.installed("ferry").as_deref(), Some("1.0-1"));
    assert_eq!(fleet.activities_on("web-02").len(), 1, "only the one from before");
    assert_eq!(decision(&kubectl, "web-02")["verdict"], "Unmanaged");

    // A token is good for one machine unless it says otherwise.
    let token = fleet.muster.enrol(&[]);
    let late = fleet.lab.machine("web-04");
    fleet.muster.install_agent(&late, &token);
    let again = second.exec(&format!("{} --name web-05 --state-dir /tmp/again", token.command));
    assert!(!again.is_success(), "the token was used up: {again}");
    assert_eq!(kubectl.list("fm").len(), 4);
}
