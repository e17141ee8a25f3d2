//! The harness does what its users count on.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use muster_tests::{Lab, Package, until};

/// How long apt may be in coming to a gate; it takes a second.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn machines_boot_side_by_side_each_its_own() {
    let lab = Lab::new();
    let start = Instant::now();
    let machines = lab.machines(["web-01", "web-02", "web-03"]);
    println!("three machines booted in {:?}", start.elapsed());

    let each =
        |script: &str| -> BTreeSet<String> { machines.iter().map(|machine| machine.run(script)).collect() };
    assert_eq!(each("hostname"), BTreeSet::from(["web-01", "web-02", "web-03"].map(str::to_owned)));
    assert_eq!(each("cat /etc/machine-id").len(), 3);
    assert_eq!(each("cat /proc/sys/kernel/random/boot_id").len(), 3);
    assert_eq!(each("systemctl is-system-running"), BTreeSet::from(["running".to_owned()]));

    // A unit is the machine's own, although all run under one kernel: stopping one stops no other's.
    each("systemd-run --quiet --unit=ferry sleep infinity");
    machines[0].run("systemctl stop ferry");
    assert!(!machines[0].exec("systemctl is-active --quiet ferry").is_success());
    assert!(machines[1].exec("systemctl is-active --quiet ferry").is_success());
}

#[test]
fn a_reboot_has_a_new_boot_id_and_the_same_disk() {
    let lab = Lab::new();
    let machine = lab.machine("web-01");
    let before = machine.boot_id();
    machine.copy_in("/var/lib/kept", b"still here", "600");

    machine.run("systemctl reboot");
    machine.wait_until_boots(2);
    let after = machine.boot_id();
    assert_ne!(before, after);
    assert_eq!(machine.run("cat /var/lib/kept"), "still here");

    machine.power_cut();
    assert!(
        std::panic::catch_unwind(|| machine.exec("true")).is_err(),
        "a machine without power runs nothing"
    );
    machine.power_on();
    assert_eq!(machine.boots(), 3);
    assert!(![before, after].contains(&machine.boot_id()));

    machine.shut_down();
    machine.power_on();
    assert_eq!(machine.run("cat /var/lib/kept"), "still here");
}

#[test]
fn an_archive_offers_versions_brings_dependencies_and_changes() {
    let lab = Lab::new();
    lab.archive().publish(&[
        Package::new("ferry", "1.0-1"),
        Package::new("ferry", "1.1-1"),
        Package::new("ferry", "1.2-1").depends("oar (>= 2.0)"),
        Package::new("oar", "2.0-1"),
    ]);
    let machine = lab.machine("web-01");
    machine.run("apt-get -q -o APT::Update::Error-Mode=any update");
    let policy = machine.run("apt-cache policy ferry");
    for version in ["1.0-1", "1.1-1", "1.2-1"] {
        assert!(policy.contains(&format!(" {version} 500")), "{version} is not on offer:\n{policy}");
    }

    machine.run("apt-get -q install -y ferry=1.1-1");
    assert_eq!(machine.installed("ferry").as_deref(), Some("1.1-1"));
    assert_eq!(machine.installed("oar"), None);
    machine.run("apt-get -q install -y ferry");
    assert_eq!(machine.installed("oar").as_deref(), Some("2.0-1"), "a dependency comes along");
    let done: Vec<String> = machine
        .dpkg_actions()
        .into_iter()
        .filter(|done| done.action != "configure")
        .map(|done| format!("{} {} {}", done.action, done.package, done.to.unwrap_or_default()))
        .collect();
    assert_eq!(done, ["install ferry 1.1-1", "install oar 2.0-1", "upgrade ferry 1.2-1"]);

    // What the machine knows is its last update, as with an archive far away.
    lab.archive().publish_in(muster_tests::STABLE_SECURITY, &[Package::new("ferry", "1.3-1")]);
    lab.archive().withdraw("ferry", "1.0-1");
    assert_eq!(machine.run("apt-cache madison ferry | wc -l"), "3");
    machine.run("apt-get -q -o APT::Update::Error-Mode=any update");
    let policy = machine.run("apt-cache policy ferry");
    assert!(policy.contains("Candidate: 1.3-1"), "{policy}");
    assert!(!policy.contains("1.0-1"), "{policy}");
    assert!(machine.run("apt-cache policy").contains("l=Debian-Security"));
}

#[test]
fn apt_can_be_caught_in_the_middle() {
    let lab = Lab::new();
    lab.archive().publish(&[
        Package::new("slow", "1.0").configures_only_after("/run/gate"),
        Package::new("sick", "1.0").fails_until("/run/cure").asks_for_a_reboot(),
    ]);
    let machine = lab.machine("web-01");
    machine.run("apt-get -q update");
    machine.run("systemd-run --quiet --unit=slow apt-get -q install -y slow");
    machine.wait_for_file("/run/gate.reached", PATIENCE);
    assert_eq!(machine.installed("slow"), None);
    machine.run("touch /run/gate");
    // Not only configured: apt goes on holding its lock for a moment, and would refuse the next one.
    let ended = || (!machine.exec("systemctl is-active --quiet slow").is_success()).then_some(());
    until(PATIENCE, "apt to end", ended);
    assert_eq!(machine.installed("slow").as_deref(), Some("1.0"));

    let refused = machine.exec("apt-get -q install -y sick");
    assert!(!refused.is_success());
    assert!(format!("{refused}").contains("not before there is /run/cure"), "{refused}");
    assert_eq!(machine.installed("sick"), None);
    machine.run("touch /run/cure && dpkg --configure -a");
    assert_eq!(machine.installed("sick").as_deref(), Some("1.0"));
    assert_eq!(machine.run("cat /run/reboot-required.pkgs"), "sick");
}

#[test]
fn a_cut_network_is_cut_and_can_be_mended() {
    let lab = Lab::new();
    let [near, far] = lab.machines(["near", "far"]);
    let gateway =
        TcpListener::bind((near.gateway_address(), 0)).expect("the host has an address on the bridge");
    let address = gateway.local_addr().expect("it is bound");
    let knock = format!("timeout 2 bash -c 'echo hello >/dev/tcp/{}/{}'", address.ip(), address.port());
    assert!(near.exec(&knock).is_success());

    near.cut_network();
    assert!(!near.exec(&knock).is_success(), "a silent machine reaches the gateway");
    assert!(far.exec(&knock).is_success(), "its neighbour is cut off too");
    assert_eq!(near.run("systemctl is-system-running"), "running", "a silent machine goes on running");

    near.restore_network();
    until(PATIENCE, "the gateway to be reached again", || near.exec(&knock).is_success().then_some(()));
}
