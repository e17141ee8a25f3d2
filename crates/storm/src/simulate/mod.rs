//! A recorded fleet, run forward: the storm's world without its weather, made from a snapshot instead of dice.
//!
//! The same controller, gateway and machines as in a storm, around the same `fleet` and `journal`; nothing goes wrong and
//! nobody changes anything. The dice only say how long steps and messages take. The log is the product's own, written by
//! its recorder from what the controller sees and decides.
//!
//! Deliberately not here: what the fleet is, and what to make of the answer. `muster simulate` reads the one and prints the
//! other.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use muster_checker::event::{Event, Header};
use muster_fleet::SourceState;
use muster_model::{
    Activity, BaselineKind, Digest, Instant, Inventory, Machine, MachineName, Presence, Provenance, Snapshot,
};
use muster_recorder::Recorder;
use smol_str::{SmolStr, ToSmolStr, format_smolstr};

use crate::api::{MachineObject, Value};
use crate::archive::{Dpkg, Suite};
use crate::controller::Controller;
use crate::gateway::Gateway;
use crate::machine::Host;
use crate::options::Options;
use crate::pace::Pace;
use crate::recorded::{Lore, Recorded};
use crate::storm::{ForController, ForHost, Storm};

/// What came of a simulation.
#[derive(Clone, Debug)]
pub struct Simulated {
    /// The first line of the log.
    pub header: Header,
    /// What happened (docs/events.md).
    pub events: Vec<Event>,
    /// The world at the end, as the controller sees it.
    pub world: Snapshot,
    /// Proposals that no machine's apt made: what was asked was taken to bring nothing besides.
    pub assumed: BTreeSet<Digest>,
    /// How often the controller decided.
    pub passes: u64,
}

/// Runs a recorded fleet from the snapshot's instant: the same for the same snapshot, end and seed.
#[must_use]
pub fn simulate(world: &Snapshot, namespace: &str, writer: &str, until: Instant, seed: u64) -> Simulated {
    let begins = world.now;
    let mut storm = Storm::recorded(world, until, seed);
    storm.run(until);
    let end = match storm.controllers[0].state_mut() {
        Some(state) => state.look(until).clone(),
        // It has not even begun to lead.
        None => Snapshot { now: until, ..world.clone() },
    };
    Simulated {
        header: Header { seed: Some(seed), ..Header::new(writer, namespace, begins) },
        events: storm.events,
        world: end,
        assumed: storm.lore.invented,
        passes: storm.passes,
    }
}

impl Storm {
    fn recorded(world: &Snapshot, until: Instant, seed: u64) -> Self {
        let lasts = until.duration_since(world.now);
        let mut storm = Self::empty(Options::fair(seed, world.machines.len(), world.now, lasts));
        storm.calm = true;
        storm.recorder = Some(Recorder::new("controller-0"));
        storm.pace = Some(Pace { medians: world.policy.medians, estimates: world.policy.estimates });
        storm.lore = Lore::new(&world.proposals);
        // Machines name a suite; recorded ones never look at it.
        storm.suites.push(Suite::new("amd64", &[]));
        storm.put_world(world);
        for machine in world.machines.values() {
            storm.put_recorded(world, machine);
        }
        storm.begin_recorded(world);
        storm
    }

    fn put_world(&mut self, world: &Snapshot) {
        let Snapshot {
            now: _,
            policy,
            revision,
            // Over in a moment, as the forecast has it.
            applying: _,
            clock_off: _,
            epoch,
            machines: _,
            inventories,
            proposals,
            package_baselines,
            kernel_baselines,
            windows,
            overrides,
            unreadable,
            budgets,
            rollouts,
            approvals,
            activities,
            resolved_absences: _,
        } = world;
        let mut values = vec![Value::Policy(policy.clone(), revision.clone())];
        let baselines = package_baselines.values();
        values.extend(baselines.map(|one| Value::PackageBaseline(muster_model::PackageBaseline::clone(one))));
        values.extend(kernel_baselines.values().map(|one| Value::KernelBaseline(one.clone())));
        values.extend(windows.values().map(|one| Value::Window(muster_model::Window::clone(one))));
        values.extend(budgets.values().map(|one| Value::Budget(muster_model::Budget::clone(one))));
        values.extend(overrides.values().map(|one| Value::Override(one.clone())));
        values.extend(approvals.values().map(|one| Value::Approval(one.clone())));
        values.extend(unreadable.iter().map(|(what, why)| Value::Unreadable(what.clone(), why.clone())));
        values.extend(inventories.iter().map(|(of, one)| Value::Inventory(of.clone(), one.clone(), None)));
        values.extend(proposals.iter().map(|(of, one)| Value::Proposal(of.clone(), one.clone(), None)));
        let rollouts = rollouts.iter();
        values
            .extend(rollouts.map(|(of, one)| Value::Rollout(of.clone(), muster_model::Rollout::clone(one))));
        values.extend(activities.values().map(|one| Value::Activity(Activity::clone(one))));
        if revision.is_some() {
            let state = SourceState { revision: revision.clone(), applying: false, owns: owns(world) };
            values.push(Value::Source(SmolStr::new_static("desired"), state));
        }
        values.into_iter().for_each(|value| self.api.put(value));
        // The next leader's epoch is above all that were.
        let used = activities.values().map(|activity| activity.epoch).max();
        self.api.lease.epoch = used.unwrap_or(0).max(*epoch);
    }

    fn put_recorded(&mut self, world: &Snapshot, machine: &Machine) {
        let object = MachineObject {
            machine: machine.clone(),
            absence_resolved: world.resolved_absences.get(&machine.name).copied(),
            wanted: None,
            quarantined: false,
        };
        self.api.put(Value::Machine(object));
        let present = machine.presence == Presence::Present && !machine.revoked;
        if let (Some(reported), true) = (&machine.reported, present) {
            let inventory = world.inventories.get(&reported.report.inventory);
            self.add_host(machine, reported, inventory.cloned());
        }
    }

    /// A machine that is heard. Without its package list it can do nothing, and nothing can be planned for it.
    fn add_host(
        &mut self,
        machine: &Machine,
        reported: &muster_model::Reported,
        inventory: Option<Arc<Inventory>>,
    ) {
        let report = reported.report.clone();
        let (release, booted) = (report.kernel.booted.clone(), report.boot.time);
        let mut host =
            Host::new(machine.name.clone(), machine.uid.clone(), 0, Dpkg::default(), release, booted);
        (host.session, host.sequence) = (reported.session, reported.sequence);
        host.agent = inventory.is_some();
        host.line = report.kernel.command_line.clone();
        host.recorded = inventory.map(|inventory| Box::new(Recorded { report, inventory }));
        self.hosts.push(host);
    }

    /// Everybody goes on with what they were at.
    fn begin_recorded(&mut self, world: &Snapshot) {
        let (present, silent) = heard(world);
        let since = gateway_since(world);
        self.heard.clone_from(&present);
        self.gateways.push(Gateway::new(0, since).knows(present, silent));
        self.renew(0);
        self.publish(0);
        self.controllers.push(Controller::new(0));
        self.for_controller(0, SignedDuration::from_millis(1), ForController::Contend);
        for m in 0..self.hosts.len() {
            self.go_on_with(m);
            let wait = self.dice.seconds(0, 5);
            self.for_host(m, wait, ForHost::Connect);
        }
        // Nobody watches yet: the first list shows it all.
        self.api.news.clear();
    }
}

/// Whom gateways hear, and whom not any more and when last.
fn heard(world: &Snapshot) -> (BTreeSet<MachineName>, BTreeMap<MachineName, Instant>) {
    let (mut present, mut silent) = (BTreeSet::new(), BTreeMap::new());
    for (name, machine) in &world.machines {
        match machine.presence {
            Presence::Never => {}
            Presence::Present => drop(present.insert(name.clone())),
            Presence::Silent { last_heard, counted_from: _ } => drop(silent.insert(name.clone(), last_heard)),
        }
    }
    (present, silent)
}

/// Since when some gateway is up: silence counts from there (rule B2).
fn gateway_since(world: &Snapshot) -> Instant {
    let silences = world.machines.values().filter_map(|machine| match machine.presence {
        Presence::Silent { last_heard, counted_from } => Some((last_heard, counted_from)),
        Presence::Present | Presence::Never => None,
    });
    let (heard, counted): (Vec<Instant>, Vec<Instant>) = silences.unzip();
    let bounds = heard.iter().zip(&counted).filter(|(heard, counted)| counted > heard);
    let known = bounds.map(|(_, counted)| *counted).max();
    known.or(heard.into_iter().min()).unwrap_or(world.now).min(world.now)
}

/// The objects that are as the revision in force has them (rule G2).
fn owns(world: &Snapshot) -> BTreeSet<SmolStr> {
    let Snapshot { revision, package_baselines, kernel_baselines, windows, budgets, .. } = world;
    let ours = |provenance: Option<&Provenance>| {
        provenance.is_some_and(|provenance| Some(&provenance.revision) == revision.as_ref())
    };
    let mut owns = BTreeSet::new();
    let mut own = |kind: &str, name: SmolStr, provenance: Option<&Provenance>| {
        if ours(provenance) {
            owns.insert(format_smolstr!("{kind}/{name}"));
        }
    };
    for (name, one) in package_baselines {
        own(BaselineKind::PackageBaseline.as_str(), name.to_smolstr(), one.common.provenance.as_ref());
    }
    for (name, one) in kernel_baselines {
        own(BaselineKind::KernelBaseline.as_str(), name.to_smolstr(), one.common.provenance.as_ref());
    }
    windows
        .iter()
        .for_each(|(name, one)| own("MaintenanceWindow", name.to_smolstr(), one.provenance.as_ref()));
    budgets
        .iter()
        .for_each(|(name, one)| own("DisruptionBudget", name.to_smolstr(), one.provenance.as_ref()));
    owns
}
