//! Reboots are judged by the boot id.

use muster_tests::Package;

use crate::fleet::{Fleet, baseline};

// rule: K1, K4
#[test]
fn a_reboot_is_verified_by_its_boot_id() {
    let archive = [Package::new("ferry", "1.0-1").asks_for_a_reboot()];
    let fleet = Fleet::new(["web-01"], &archive, &[]);
    let [machine] = &fleet.machines[..] else { panic!("one machine") };
    let before = machine.boot_id();
    let when_required = "reboot: {policy: WhenRequired}";
    fleet.desired.write("ferry.yaml", &baseline("ferry", "[{name: ferry}]", when_required));

    machine.wait_until_boots(2);
    fleet.has(machine, "ferry", Some("1.0-1"));
    let after = machine.boot_id();
    assert_ne!(before, after);
    let object = fleet.kubectl().json(&["get", "fm", "web-01"]);
    let reported = &object["status"]["reported"];
    assert_eq!(reported["boot"]["id"], after.as_str(), "{object:#}");
    assert_eq!(reported.get("rebootRequired"), None, "{object:#}");

    let activities = fleet.activities_on("web-01");
    assert!(activities.iter().all(|activity| activity.phase == "Succeeded"), "{activities:#?}");
    let steps: Vec<&str> =
        activities.iter().flat_map(|activity| &activity.steps).map(|step| step.kind.as_str()).collect();
    assert_eq!(steps, ["InstallPackages", "Reboot"]);
    let reboot = activities.iter().flat_map(|activity| &activity.steps).next_back().expect("two steps");
    assert!(reboot.start < reboot.completion, "{reboot:#?}");
    assert_eq!(machine.boots(), 2, "once is enough");
}

// rule: K4
#[test]
fn a_reason_that_a_reboot_does_not_clear_does_not_reboot_the_machine_again() {
    // A newer kernel than the running one waits to be booted; a container goes on with its host's for ever.
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is mounted");
    let (running, flavour) = release.trim().split_once('-').unwrap_or((release.trim(), ""));
    let image = |version: &str| {
        let release = format!("{version}-{flavour}");
        let release = release.trim_end_matches('-');
        Package::new(&format!("linux-image-{release}"), version).file(&format!("/boot/vmlinuz-{release}"), "")
    };
    let newer = format!("linux-image-999.0-{flavour}");
    let newer = newer.trim_end_matches('-');
    let archive = [image(running), image("999.0")];
    let fleet = Fleet::new(["web-01"], &archive, &[&format!("linux-image-{}", release.trim())]);
    let [machine] = &fleet.machines[..] else { panic!("one machine") };
    // Somebody installs it: no transaction of ours brings a kernel that cannot be tried (rule K2).
    let when_required = "reboot: {policy: WhenRequired}";
    fleet.desired.write("kernel.yaml", &baseline("kernel", &format!("[{{name: {newer}}}]"), when_required));
    fleet.decides("web-01", "Blocked", "NotCapable");
    machine.run(&format!("apt-get -q -o DPkg::Lock::Timeout=60 install -y {newer}"));

    let decision = fleet.decides("web-01", "Blocked", "RebootIneffective");
    assert_eq!(decision["rule"], "K4");
    let object = fleet.kubectl().json(&["get", "fm", "web-01"]);
    let required = &object["status"]["reported"]["rebootRequired"];
    assert_eq!(required["packages"], serde_json::json!([newer]), "{object:#}");
    assert_eq!(machine.boots(), 2);
    assert_eq!(machine.installed(newer).as_deref(), Some("999.0"));
}
