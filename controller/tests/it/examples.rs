//! Every example is what a source would apply, and the planner knows what to do with it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use expect_test::{Expect, expect};
use muster_model::*;
use muster_source::{Model, read_folder, validate};

use crate::world::report;

fn example(name: &str) -> Snapshot {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
    let set = validate(&read_folder(&folder).unwrap(), Some("default"))
        .unwrap_or_else(|rejected| panic!("{:#?}", rejected.problems));
    // A weekday noon: the weekend's window is closed.
    let mut snapshot =
        Snapshot { now: "2026-11-24T12:00:00Z".parse().unwrap(), epoch: 1, ..Snapshot::default() };
    for object in set.objects {
        let name = ObjectName::parse(&object.key.name).unwrap();
        match object.model {
            Model::Policy(policy) => snapshot.policy = policy,
            Model::Budget(budget) => drop(snapshot.budgets.insert(name, Arc::new(budget))),
            Model::Window(window) => drop(snapshot.windows.insert(name, Arc::new(window))),
            Model::Machine(_) => {}
            Model::PackageBaseline(baseline) => {
                drop(snapshot.package_baselines.insert(name, Arc::new(*baseline)))
            }
            Model::KernelBaseline(baseline) => {
                drop(snapshot.kernel_baselines.insert(name, Arc::new(*baseline)))
            }
        }
    }
    snapshot
}

/// Adds a machine of a role, with nothing installed, whose hardware is as the closure has it.
fn machine(snapshot: &mut Snapshot, name: &str, role: &str, hardware: impl FnOnce(&mut Hardware)) {
    let interest = snapshot
        .package_baselines
        .values()
        .flat_map(|baseline| &baseline.packages)
        .map(|package| package.name.clone());
    let mut inventory = Inventory {
        architecture: Architecture::parse("amd64").unwrap(),
        lists: Digest::of(b"lists"),
        interest: interest.collect(),
        packages: Vec::new(),
    };
    inventory.canonicalise();
    let mut report = report(&inventory.digest());
    report.hardware.virtualization = "none".into();
    hardware(&mut report.hardware);
    let name = MachineName::parse(name).unwrap();
    let machine = Machine {
        name: name.clone(),
        uid: Uid::parse(&format!("u-{name}")).unwrap(),
        labels: [("role".into(), role.into())].into(),
        admitted: true,
        suspend: false,
        revoked: false,
        resolved_through: 0,
        retried_through: 0,
        reported: Some(Reported {
            session: 1,
            sequence: 1,
            digest: report.digest(),
            time: snapshot.now,
            facts: report.facts(),
            report,
        }),
        presence: Presence::Present,
        last_number: 0,
        holds: Default::default(),
        first_converged: None,
    };
    snapshot.inventories.insert(inventory.digest(), Arc::new(inventory));
    snapshot.machines.insert(name, Arc::new(machine));
}

/// Which requirements each machine has, and what the planner says of them.
fn check(snapshot: &Snapshot, expected: Expect) {
    let mut text = String::new();
    for (name, machine) in &muster_planner::plan(snapshot).machines {
        writeln!(text, "{name}: {} of {} requirements", machine.requirements.len(), machine.total).unwrap();
        let mut lines: BTreeMap<String, String> = BTreeMap::new();
        for one in &machine.requirements {
            lines.insert(format!("{} {}", one.baseline.name, one.resource), one.verdict.reason().to_owned());
        }
        for (what, reason) in lines {
            writeln!(text, "- {what}: {reason}").unwrap();
        }
    }
    expected.assert_eq(&text);
}

#[test]
fn the_quickstart_is_valid_and_planned() {
    let mut snapshot = example("quickstart");
    machine(&mut snapshot, "web-01", "web", |_| {});
    machine(&mut snapshot, "db-01", "db", |_| {});
    check(
        &snapshot,
        expect![[r#"
        db-01: 1 of 1 requirements
        - openssl openssl:amd64: Unsatisfiable
        web-01: 3 of 4 requirements
        - openssl openssl:amd64: Unsatisfiable
        - web curl:amd64: Unsatisfiable
        - web nginx:amd64: Unsatisfiable
    "#]],
    );
}

#[test]
fn new_silicon_gets_its_packages_by_facts() {
    let mut snapshot = example("silicon-enablement");
    machine(&mut snapshot, "gpu-01", "gpu", |hardware| {
        hardware.cpu_vendor = "AuthenticAMD".into();
        hardware.gpus = ["nvidia".into()].into();
    });
    machine(&mut snapshot, "compute-01", "compute", |hardware| hardware.cpu_vendor = "GenuineIntel".into());
    machine(&mut snapshot, "vm-01", "web", |hardware| {
        hardware.cpu_vendor = "GenuineIntel".into();
        hardware.virtualization = "kvm".into();
    });
    check(
        &snapshot,
        expect![[r#"
        compute-01: 5 of 6 requirements
        - microcode-intel intel-microcode:amd64: Unsatisfiable
        - new-cpus kernel: Inventory
        - virtualization-hosts openvswitch-switch:amd64: Unsatisfiable
        - virtualization-hosts ovmf:amd64: Unsatisfiable
        - virtualization-hosts qemu-system-x86:amd64: Unsatisfiable
        gpu-01: 5 of 7 requirements
        - gpu-nvidia firmware-misc-nonfree:amd64: Unsatisfiable
        - gpu-nvidia linux-headers-amd64:amd64: Unsatisfiable
        - gpu-nvidia nvidia-driver:amd64: Unsatisfiable
        - microcode-amd amd64-microcode:amd64: Unsatisfiable
        - new-cpus kernel: Inventory
        vm-01: 1 of 1 requirements
        - new-cpus kernel: Inventory
    "#]],
    );
}
