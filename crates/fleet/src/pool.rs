//! What many machines have alike is held once (design §8): their labels, what their reports have in common, and what their
//! activities do.
//!
//! Deliberately not here: inventories and proposals, which are shared by name in the API itself.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{
    Activity, ActivitySpec, Capability, Cause, Cover, Hardware, HealthCheck, Kernel, Machine, ObjectName, Os,
    Passed, Report, Reported, Shared, Step, UnitName,
};
use smol_str::SmolStr;

/// Values that somebody holds, each once.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    texts: Alike<BTreeMap<SmolStr, SmolStr>>,
    capabilities: Alike<BTreeSet<Capability>>,
    os: Alike<Os>,
    kernels: Alike<Kernel>,
    hardware: Alike<Hardware>,
    steps: Alike<Vec<Step>>,
    causes: Alike<Cause>,
    budgets: Alike<BTreeSet<ObjectName>>,
    windows: Alike<BTreeMap<Cover, ObjectName>>,
    passed: Alike<BTreeSet<Passed>>,
    health: Alike<HealthCheck>,
    units: Alike<BTreeSet<UnitName>>,
}

impl Pool {
    /// Makes a machine hold what others hold already.
    pub(crate) fn share_machine(&mut self, machine: &mut Machine) {
        self.texts.share(&mut machine.labels);
        let Some(Reported { report, facts, .. }) = &mut machine.reported else { return };
        let Report { capabilities, os, kernel, hardware, .. } = report;
        self.texts.share(facts);
        self.capabilities.share(capabilities);
        self.os.share(os);
        self.kernels.share(kernel);
        self.hardware.share(hardware);
    }

    /// Makes an activity hold what others, and its machine, hold already.
    pub(crate) fn share_activity(&mut self, activity: &mut Activity, machine: Option<&Machine>) {
        let ActivitySpec {
            name,
            machine_uid,
            steps,
            cause,
            budgets,
            windows,
            passed,
            expiry: _,
            health,
            failed_units,
        } = &mut activity.spec;
        if let Some(machine) = machine {
            name.machine.clone_from(&machine.name);
            if *machine_uid == machine.uid {
                machine_uid.clone_from(&machine.uid);
            }
        }
        self.steps.share(steps);
        self.causes.share(cause);
        self.budgets.share(budgets);
        self.windows.share(windows);
        self.passed.share(passed);
        self.health.share(health);
        self.units.share(failed_units);
    }
}

/// The values of one kind.
#[derive(Debug)]
struct Alike<T> {
    all: BTreeSet<Shared<T>>,
    /// So many may be there before it is looked which of them nobody holds any more.
    room: usize,
}

/// The least that is looked through: less is not worth it.
const ROOM: usize = 64;

impl<T> Default for Alike<T> {
    fn default() -> Self {
        Self { all: BTreeSet::new(), room: ROOM }
    }
}

impl<T: Ord> Alike<T> {
    fn share(&mut self, value: &mut Shared<T>) {
        if let Some(known) = self.all.get(value) {
            *value = known.clone();
            return;
        }
        // Looking costs what came since it was looked last.
        if self.all.len() >= self.room {
            self.all.retain(|known| !known.is_alone());
            self.room = ROOM.max(self.all.len() * 2);
        }
        self.all.insert(value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_is_held_once_and_what_nobody_holds_goes() {
        let mut alike = Alike::default();
        let mut held: Vec<Shared<u32>> = Vec::new();
        for number in 0..10_000 {
            let mut value = Shared::from(number % 100);
            alike.share(&mut value);
            held.push(value);
        }
        assert_eq!(alike.all.len(), 100);
        held.clear();
        (100..100 + 2 * ROOM as u32).for_each(|number| alike.share(&mut number.into()));
        assert!(alike.all.len() <= ROOM, "{} are held", alike.all.len());
    }
}
