//! What many machines have alike is held once (design §8): their labels, what their reports have in common, and what their
//! activities do.
//!
//! Deliberately not here: inventories and proposals, which are shared by name in the API itself.

use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use crate::{
    ActivitySpec, Capability, Cause, Cover, DebianVersion, Hardware, HealthCheck, Kernel, Machine,
    ObjectName, Os, PackageKey, Passed, Pool, Report, Reported, Step, StepAction, UnitName,
};

/// What machines have alike.
#[derive(Debug, Default)]
pub struct MachinePools {
    texts: Pool<BTreeMap<SmolStr, SmolStr>>,
    holds: Pool<BTreeSet<PackageKey>>,
    units: Pool<BTreeSet<UnitName>>,
    capabilities: Pool<BTreeSet<Capability>>,
    os: Pool<Os>,
    kernels: Pool<Kernel>,
    hardware: Pool<Hardware>,
}

impl MachinePools {
    /// Makes a machine hold what others hold already.
    pub fn pool(&mut self, machine: &mut Machine) {
        machine.labels.pool(&mut self.texts);
        machine.holds.pool(&mut self.holds);
        let Some(Reported { report, facts, .. }) = &mut machine.reported else { return };
        let Report { capabilities, os, kernel, hardware, failed_units, .. } = report;
        failed_units.pool(&mut self.units);
        facts.pool(&mut self.texts);
        capabilities.pool(&mut self.capabilities);
        os.pool(&mut self.os);
        kernel.pool_if(&mut self.kernels, |one, other| {
            kernel_versions(one)
                .map(DebianVersion::as_str)
                .eq(kernel_versions(other).map(DebianVersion::as_str))
        });
        hardware.pool(&mut self.hardware);
    }
}

fn kernel_versions(kernel: &Kernel) -> impl Iterator<Item = &DebianVersion> {
    kernel.installed.iter().flat_map(|one| one.followed_by.values().chain([&one.version]))
}

/// What activities have alike.
#[derive(Debug, Default)]
pub struct ActivityPools {
    steps: Pool<Vec<Step>>,
    causes: Pool<Cause>,
    budgets: Pool<BTreeSet<ObjectName>>,
    windows: Pool<BTreeMap<Cover, ObjectName>>,
    passed: Pool<BTreeSet<Passed>>,
    health: Pool<HealthCheck>,
    units: Pool<BTreeSet<UnitName>>,
}

impl ActivityPools {
    /// Makes an activity hold what others hold already.
    pub fn pool(&mut self, activity: &mut ActivitySpec) {
        let ActivitySpec {
            name: _,
            machine_uid: _,
            steps,
            cause,
            budgets,
            windows,
            passed,
            expiry: _,
            health,
            failed_units,
        } = activity;
        steps.pool_if(&mut self.steps, |one, other| step_versions(one) == step_versions(other));
        cause.pool(&mut self.causes);
        budgets.pool(&mut self.budgets);
        windows.pool(&mut self.windows);
        passed.pool(&mut self.passed);
        health.pool(&mut self.health);
        failed_units.pool(&mut self.units);
    }
}

fn step_versions(steps: &[Step]) -> Vec<&str> {
    let mut versions = Vec::new();
    for step in steps {
        match &step.action {
            StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
                let changes = transaction.changes().flat_map(|change| [&change.from, &change.to]);
                versions.extend(changes.flatten().map(DebianVersion::as_str));
            }
            StepAction::SelectKernel(choice) | StepAction::SetDefaultKernel(choice) => {
                versions.extend(choice.followed.iter().map(|followed| followed.version.as_str()));
            }
            StepAction::HoldPackages { .. } | StepAction::RepairPackages | StepAction::Reboot { .. } => {}
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, PackageKey, Shared, Transaction};

    fn install(version: &str) -> Shared<Vec<Step>> {
        let package = PackageKey { name: "openssl".parse().unwrap(), architecture: "amd64".parse().unwrap() };
        let change = Change { package, from: None, to: Some(version.parse().unwrap()) };
        let transaction = Transaction { requested: vec![change], ..Transaction::default() };
        let step = Step {
            action: StepAction::InstallPackages(transaction),
            baselines: BTreeMap::new(),
            timeout: jiff::SignedDuration::from_hours(1),
        };
        vec![step].into()
    }

    #[test]
    fn a_version_stays_as_it_is_written() {
        let spec = |version: &str| ActivitySpec {
            name: crate::ActivityName { machine: "web-01".parse().unwrap(), number: 1 },
            machine_uid: "uid".parse().unwrap(),
            steps: install(version),
            cause: Cause { revision: None, proposal: None }.into(),
            budgets: Shared::default(),
            windows: Shared::default(),
            passed: Shared::default(),
            expiry: crate::Instant::UNIX_EPOCH,
            health: Shared::default(),
            failed_units: Shared::default(),
        };
        let mut pools = ActivityPools::default();
        for version in ["1.0-1", "0:1.0-1", "1.0-1", "1.0-2"] {
            let mut pooled = spec(version);
            pools.pool(&mut pooled);
            assert_eq!(step_versions(&pooled.steps), [version]);
        }
    }
}
