//! What people see with the stock kubectl.

use muster_tests::Package;

use crate::fleet::{Fleet, baseline, from_now};

/// The words of a table's first line.
fn header(table: &str) -> Vec<&str> {
    table.lines().next().unwrap_or_default().split_whitespace().collect()
}

const KERNEL: &str = "
apiVersion: muster.dev/v1alpha1
kind: KernelBaseline
metadata: {name: kernel}
spec: {machineSelector: {}, mode: Observe, package: linux-image-amd64}
";

#[test]
fn the_fleet_reads_well_in_kubectl() {
    let mut fleet = Fleet::new(["web-01"], &[Package::new("ferry", "1.0-1")], &[]);
    let to = from_now(24 * 60 * 60);
    let window = format!(
        "apiVersion: muster.dev/v1alpha1\nkind: MaintenanceWindow\nmetadata: {{name: now}}\nspec:\n  \
         machineSelector: {{}}\n  action: Allow\n  from: \"{}\"\n  to: \"{to}\"\n",
        from_now(-60)
    );
    let ferry = baseline("ferry", "[{name: ferry}]", "");
    fleet.desired.write("all.yaml", &format!("{ferry}---{KERNEL}---\n{window}"));
    crate::fleet::comes_to_have(&fleet.kubectl(), &fleet.machines[0], "ferry", Some("1.0-1"));
    fleet.finished(1);
    let kubectl = fleet.kubectl();
    kubectl.wait(&["pb/ferry"], "condition=Ready", 60);

    for (kind, columns) in [
        ("fm", "NAME VERDICT REASON UNTIL BLOCKER ACTIVITY AGE"),
        ("act", "NAME MACHINE PHASE STEPS REASON AGE"),
        ("pb", "NAME SELECTED CONVERGED ACTIVE BLOCKED UNKNOWN READY AGE"),
        ("kb", "NAME PACKAGE SELECTED CONVERGED BLOCKED ACTIVE UNKNOWN READY AGE"),
        ("mw", "NAME ACTION OPEN NEXT OPEN NEXT CLOSE MACHINES READY AGE"),
        ("br", "NAME ITEMS DONE RELEASED BARRED WAVE READY REASON AGE"),
        ("gs", "NAME TYPE REVISION READY REASON ERRORS OWNS AGE"),
    ] {
        let table = kubectl.run(&["get", kind]);
        assert_eq!(header(&table).join(" "), columns);
        assert!(table.lines().count() >= 2, "{table}");
    }
    let all = kubectl.run(&["get", "fm,act,pb,kb,mw,br"]);
    for name in
        ["fleetmachine.muster.dev/web-01", "activity.muster.dev/web-01-1", "packagebaseline.muster.dev/ferry"]
    {
        assert!(all.contains(name), "{all}");
    }
    let activity = kubectl.run(&["get", "act", "--no-headers"]);
    let words: Vec<&str> = activity.split_whitespace().collect();
    assert_eq!(words[..4], ["web-01-1", "web-01", "Succeeded", "InstallPackages"], "{activity}");
    let row = kubectl.run(&["get", "pb", "ferry", "--no-headers"]);
    let row: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(row[..7], ["ferry", "1", "1", "0", "0", "0", "True"]);
    let wide = kubectl.run(&["get", "fm", "-o", "wide"]);
    assert!(header(&wide).ends_with(&["MESSAGE", "OS", "RELEASE", "KERNEL", "AGENT"]), "{wide}");
    assert!(wide.contains("debian"), "{wide}");
    assert!(kubectl.run(&["get", "muster"]).contains("gitsource.muster.dev/up"), "there is a category");

    let explained = kubectl.run(&["explain", "fm.status"]);
    for words in
        ["KIND:       FleetMachine", "decision\t<Object>", "reported\t<Object>", "written by the controller"]
    {
        assert!(explained.contains(words), "{explained}");
    }
    let explained = kubectl.run(&["explain", "pb.spec.packages.version"]);
    assert!(explained.contains("Debian relations"), "{explained}");
    let described = kubectl.run(&["describe", "fm", "web-01"]);
    for words in ["Verdict:", "Inventory:", "Booted:", "Wanted:"] {
        assert!(described.contains(words), "{described}");
    }
    let by_field = kubectl.run(&["get", "act", "--field-selector", "status.phase=Succeeded", "-o", "name"]);
    assert_eq!(by_field, "activity.muster.dev/web-01-1");
    let by_label = kubectl.run(&["get", "fm", "-l", "fact.muster.dev/os=debian", "-o", "name"]);
    assert_eq!(by_label, "fleetmachine.muster.dev/web-01");

    // An orderly end is a success, and all of it is there again afterwards.
    let names = |all: &str| -> Vec<String> {
        all.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
    };
    assert_eq!(fleet.muster.stop().code(), Some(0));
    fleet.muster.restart();
    let again = fleet.kubectl().run(&["get", "fm,act,pb,kb,mw,br"]);
    assert_eq!(names(&again), names(&all));
}
