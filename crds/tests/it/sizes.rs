//! A FleetMachine stays small, since there are a hundred thousand of them.

use std::sync::Arc;

use muster_crds::{
    Decided, DecisionStatus, FleetMachine, FleetMachineSpec, FleetMachineStatus, MAX_LISTED_REQUIREMENTS,
    ReportedStatus,
};
use muster_model::{
    ActivityName, BaselineKind, BaselineRef, InstalledKernel, MachineName, MachinePlan, ObjectName,
    PackageName, Reason, RequirementVerdict, UnitName, Verdict, Wanted, WantedItem, WantedSet,
};

use crate::conversions::{instant, key, reported, stored, version};

/// What a FleetMachine's status may take (design §4).
const STATUS_BYTES: usize = 8192;

fn bytes(value: &impl serde::Serialize) -> usize {
    serde_json::to_vec(value).unwrap().len()
}

/// A machine with much to say: all its kernels, many failed units, forty long answers.
#[test]
fn a_machine_with_much_to_say_takes_less_than_8_kib() {
    let mut reported = reported();
    let kernel = |n: u32| InstalledKernel {
        release: format!("6.1.0-{n}-cloud-amd64").into(),
        package: PackageName::parse(&format!("linux-image-6.1.0-{n}-cloud-amd64")).unwrap(),
        version: version(&format!("6.1.{n}-1~deb12u1")),
        followed_by: Default::default(),
    };
    reported.report.kernel.installed = (40..46).map(kernel).collect();
    reported.report.failed_units =
        (0..12).map(|n| UnitName::parse(&format!("worker-instance@{n}.service")).unwrap()).collect();

    let verdict = |n: u32| RequirementVerdict {
        baseline: BaselineRef {
            kind: BaselineKind::PackageBaseline,
            name: ObjectName::parse("all-of-the-production-fleet").unwrap(),
        },
        resource: format!("a-package-with-a-long-name-{n}:amd64").into(),
        verdict: Verdict::Blocked(Reason::Unsatisfiable {
            package: key(&format!("a-package-with-a-long-name-{n}")),
            wanted: ">= 2:3.0.15-1~deb12u1, << 2:3.1".to_owned(),
            on_offer: vec![
                version("2:3.0.11-1~deb12u2"),
                version("2:3.0.14-1~deb12u2"),
                version("2:3.0.9-1"),
            ],
        }),
        installed: Some("2:3.0.14-1~deb12u2".into()),
        target: None,
    };
    let requirements: Vec<_> = (0..40).map(verdict).collect();
    let packages: Vec<_> = (0..20).map(|n| key(&format!("package-{n}"))).collect();
    let plan = MachinePlan {
        verdict: requirements[0].verdict.clone(),
        requirements,
        total: 60,
        wanted: Arc::new(Wanted::new(WantedSet {
            interest: packages.iter().map(|key| key.name.clone()).collect(),
            items: packages[..5]
                .iter()
                .map(|key| WantedItem { package: key.clone(), version: Some(version("1:2.3-4")) })
                .collect(),
        })),
        holds: [packages[0].clone()].into(),
    };
    let decided = Decided {
        observed_generation: 3,
        current_activity: Some(ActivityName { machine: MachineName::parse("web-01").unwrap(), number: 42 }),
        highest_activity_number: 42,
        first_converged: Some(instant("2026-10-01T03:00:00Z")),
        revision: Some("main@sha1:0123456789012345678901234567890123456789".into()),
    };
    let (reported, decision) =
        (ReportedStatus::from_model(&reported, Some(-31)), DecisionStatus::from_model(&plan, &decided));
    let total = bytes(&reported) + bytes(&decision);
    assert!(
        total < STATUS_BYTES,
        "{total} bytes: {} reported, {} decided",
        bytes(&reported),
        bytes(&decision)
    );
    assert!(
        (5..MAX_LISTED_REQUIREMENTS).contains(&decision.requirements.len()),
        "{} listed",
        decision.requirements.len()
    );
    let mut machine = FleetMachine::new("web-01", FleetMachineSpec::default());
    machine.status = Some(FleetMachineStatus {
        reported: Some(reported),
        decision: Some(decision.clone()),
        conditions: vec![],
    });
    assert_eq!(stored("fleetmachines", &machine), machine, "a server takes it as it is");
    assert_eq!(
        (decision.requirements_not_converged, decision.requirements_total),
        (40, 60),
        "the totals are honest"
    );
}
