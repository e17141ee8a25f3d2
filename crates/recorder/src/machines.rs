//! Machines: what people say of them, and what they report of the packages that matter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_checker::event::{self, Event, ReportedOffer, ReportedPackage, What};
use muster_model::{Digest, Instant, Inventory, Machine, MachineName, PackageName, PackageState, Reported};

/// How many offers of a package are told: the highest, which is what a target can be.
const OFFERS: usize = 16;

/// What was told of machines.
#[derive(Debug, Default)]
pub(crate) struct Machines {
    all: BTreeMap<MachineName, Known>,
    inventories: BTreeMap<Digest, Arc<Inventory>>,
    /// The packages that some baseline names, or named.
    names: BTreeSet<PackageName>,
}

#[derive(Debug, Default)]
struct Known {
    told: Option<event::Machine>,
    absence_resolved: Option<Instant>,
    reported: Option<Reported>,
    report: Option<event::Report>,
    /// The packages that activities changed there.
    changed: BTreeSet<PackageName>,
}

impl Machines {
    pub(crate) fn names(&self) -> impl Iterator<Item = &MachineName> {
        self.all.iter().filter(|(_, known)| known.reported.is_some()).map(|(name, _)| name)
    }

    /// Whether it was there.
    pub(crate) fn forget(&mut self, name: &MachineName) -> bool {
        self.all.remove(name).is_some()
    }

    pub(crate) fn seen(&mut self, now: Instant, machine: &Machine, events: &mut Vec<Event>) {
        let known = self.all.entry(machine.name.clone()).or_default();
        // Made anew under the name: nothing of the old one holds.
        if known.told.as_ref().is_some_and(|told| told.uid != machine.uid) {
            *known = Known::default();
        }
        known.reported.clone_from(&machine.reported);
        let mut told = of_people(machine, known.absence_resolved);
        // As of the first sight: what the controller itself records later is no news.
        if let Some(known) = &known.told {
            told.first_converged = known.first_converged;
        }
        tell(now, known, told, events);
        self.report(now, &machine.name, events);
    }

    pub(crate) fn resolved(
        &mut self,
        now: Instant,
        name: &MachineName,
        at: Option<Instant>,
        events: &mut Vec<Event>,
    ) {
        let known = self.all.entry(name.clone()).or_default();
        known.absence_resolved = at;
        if let Some(told) = known.told.clone() {
            tell(now, known, event::Machine { absence_resolved: at, ..told }, events);
        }
    }

    pub(crate) fn inventory(
        &mut self,
        now: Instant,
        digest: &Digest,
        inventory: &Arc<Inventory>,
        events: &mut Vec<Event>,
    ) {
        if self.inventories.insert(digest.clone(), inventory.clone()).is_some() {
            return; // the same: it is named by its digest
        }
        let waiting: Vec<MachineName> = self
            .all
            .iter()
            .filter(|(_, known)| {
                known.reported.as_ref().is_some_and(|reported| reported.report.inventory == *digest)
            })
            .map(|(name, _)| name.clone())
            .collect();
        waiting.iter().for_each(|name| self.report(now, name, events));
    }

    pub(crate) fn inventory_gone(&mut self, digest: &Digest) {
        self.inventories.remove(digest);
    }

    /// These packages matter on one machine from now on: an activity is about them.
    pub(crate) fn changed(
        &mut self,
        now: Instant,
        name: &MachineName,
        packages: impl IntoIterator<Item = PackageName>,
        events: &mut Vec<Event>,
    ) {
        let known = self.all.entry(name.clone()).or_default();
        let before = known.changed.len();
        known.changed.extend(packages);
        if known.changed.len() > before {
            self.report(now, name, events);
        }
    }

    /// These packages matter from now on.
    pub(crate) fn named(
        &mut self,
        now: Instant,
        names: impl Iterator<Item = PackageName>,
        events: &mut Vec<Event>,
    ) {
        let before = self.names.len();
        self.names.extend(names);
        if self.names.len() > before {
            let all: Vec<MachineName> = self.all.keys().cloned().collect();
            all.iter().for_each(|name| self.report(now, name, events));
        }
    }

    /// Tells a machine's report, once its inventory is known and if it says anything new.
    fn report(&mut self, now: Instant, name: &MachineName, events: &mut Vec<Event>) {
        let Some(known) = self.all.get_mut(name) else { return };
        let Some(reported) = &known.reported else { return };
        let Some(inventory) = self.inventories.get(&reported.report.inventory) else { return };
        let matters = |package: &PackageName| self.names.contains(package) || known.changed.contains(package);
        let report = report(name, reported, inventory, matters);
        if known.report.as_ref() != Some(&report) {
            known.report = Some(report.clone());
            events.push(Event { time: now, event: What::Report(Box::new(report)) });
        }
    }
}

/// What people and enrolment say of a FleetMachine.
#[must_use]
pub fn of_people(machine: &Machine, absence_resolved: Option<Instant>) -> event::Machine {
    event::Machine {
        name: machine.name.clone(),
        uid: machine.uid.clone(),
        labels: BTreeMap::clone(&machine.labels),
        admitted: machine.admitted,
        suspend: machine.suspend,
        revoked: machine.revoked,
        resolved_through: machine.resolved_through,
        retried_through: machine.retried_through,
        holds: machine.holds.iter().cloned().collect(),
        absence_resolved,
        first_converged: machine.first_converged,
    }
}

fn tell(now: Instant, known: &mut Known, told: event::Machine, events: &mut Vec<Event>) {
    if known.told.as_ref() != Some(&told) {
        known.told = Some(told.clone());
        events.push(Event { time: now, event: What::Machine(told) });
    }
}

/// What a machine reported, of the packages that matter.
#[must_use]
pub fn report(
    name: &MachineName,
    reported: &Reported,
    inventory: &Inventory,
    matters: impl Fn(&PackageName) -> bool,
) -> event::Report {
    let report = &reported.report;
    let packages = inventory.packages.iter().filter(|package| matters(&package.key.name)).map(|package| {
        let installed = package.installed.as_ref();
        let good = installed.filter(|installed| installed.state == PackageState::Installed);
        let mut offers: Vec<ReportedOffer> = package
            .offers
            .iter()
            .map(|offer| ReportedOffer { version: offer.version.clone(), pin: offer.pin })
            .collect();
        offers.truncate(OFFERS);
        ReportedPackage {
            name: package.key.name.clone(),
            architecture: package.key.architecture.clone(),
            installed: good.map(|installed| installed.version.clone()),
            broken: installed.is_some() && good.is_none(),
            held: installed.is_some_and(|installed| installed.held),
            candidate: package.candidate.clone(),
            offers,
        }
    });
    event::Report {
        machine: name.clone(),
        session: reported.session,
        sequence: reported.sequence,
        received: reported.time,
        architecture: report.architecture.clone(),
        capabilities: BTreeSet::clone(&report.capabilities),
        facts: BTreeMap::clone(&reported.facts),
        boot_id: report.boot.id.clone().into(),
        kernel: report.kernel.booted.clone(),
        command_line: report.kernel.command_line.clone(),
        next_boot: report.kernel.next_boot.clone(),
        reboot_required: report.reboot_required.is_some(),
        dpkg_interrupted: report.dpkg_interrupted,
        failed_units: (*report.failed_units).clone(),
        last_activity: report.last_activity,
        packages: packages.collect(),
    }
}
