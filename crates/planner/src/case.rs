//! One machine with everything that a decision about it looks at, worked out once.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use muster_model::{
    Activity, Architecture, Capability, Digest, Inventory, Machine, MachineName, PackageKey, Report,
    Reported, Snapshot, Unknown,
};

use crate::attempts::History;
use crate::evaluate::Evaluation;
use crate::merge::Merged;
use crate::phasing::{KeptBack, Phased};
use crate::presence::{Hearing, hearing};
use crate::select::{Picked, Resources, Selector};
use crate::timer::Timer;
use crate::upgrade::{Known, extended, learn, recorded};

/// One machine's case.
pub(crate) struct Case<'a> {
    /// Its number among the cases.
    pub(crate) place: usize,
    pub(crate) machine: &'a Machine,
    pub(crate) reported: Option<&'a Reported>,
    pub(crate) picked: Picked,
    pub(crate) hearing: Hearing,
    /// Why nothing can be said of it, if so (rule M1).
    pub(crate) unknown: Option<Unknown>,
    pub(crate) history: History<'a>,
    pub(crate) merged: Rc<Merged>,
    pub(crate) evaluation: Rc<Evaluation<'a>>,
}

impl<'a> Case<'a> {
    /// The same case, judged otherwise.
    pub(crate) fn with(&self, evaluation: Rc<Evaluation<'a>>) -> Self {
        let Self { place, machine, reported, picked, hearing, unknown, history, merged, evaluation: _ } =
            self;
        Self {
            place: *place,
            machine,
            reported: *reported,
            picked: picked.clone(),
            hearing: *hearing,
            unknown: *unknown,
            history: *history,
            merged: merged.clone(),
            evaluation,
        }
    }

    /// Admitted, not revoked, heard at least once: what counts are taken of (rule B4).
    pub(crate) fn counts(&self) -> bool {
        self.machine.admitted && !self.machine.revoked && self.hearing != Hearing::Never
    }
}

/// One machine's activities, and the highest number among all of its name.
#[derive(Default)]
pub(crate) struct Kept<'a> {
    all: Vec<&'a Activity>,
    highest: u64,
}

/// Every machine's activities, oldest first.
///
/// A machine made anew under an old name is another one: what the old one finished says nothing of it. What is not
/// finished is on its way to that name all the same, so nothing else starts there.
pub(crate) fn histories(snapshot: &Snapshot) -> BTreeMap<&MachineName, Kept<'_>> {
    let mut histories: BTreeMap<&MachineName, Kept<'_>> = BTreeMap::new();
    for (name, activity) in &snapshot.activities {
        let kept = histories.entry(&name.machine).or_default();
        kept.highest = kept.highest.max(name.number);
        let ours = snapshot
            .machines
            .get(&name.machine)
            .is_none_or(|machine| machine.uid == activity.spec.machine_uid);
        if ours || !activity.phase.is_finished() {
            kept.all.push(activity);
        }
    }
    histories
}

/// What a machine's evaluation depends on.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Twins<'a> {
    merged: *const Merged,
    inventory: &'a Digest,
    holds: &'a BTreeSet<PackageKey>,
    kept_back: KeptBack,
    selects_kernels: bool,
}

/// What is asked of a machine, its upgrades included, and what that comes to.
type Evaluated<'a> = (Rc<Merged>, Rc<Evaluation<'a>>);

/// What machines share, by what it depends on.
#[derive(Default)]
struct Shared<'a> {
    merged: BTreeMap<(Picked, Architecture), Rc<Merged>>,
    evaluations: BTreeMap<Twins<'a>, Evaluated<'a>>,
    /// Of machines without an inventory.
    blank: BTreeMap<*const Merged, Rc<Evaluation<'a>>>,
    phased: Phased<'a>,
    known: Known,
    /// Whose upgrades are known.
    learned: BTreeSet<(*const Merged, &'a Digest, KeptBack)>,
}

/// All machines' cases in the order of their names, and the sets of windows that they refer to.
pub(crate) fn cases<'a>(
    snapshot: &'a Snapshot,
    resources: &Resources<'_>,
    histories: &'a BTreeMap<&MachineName, Kept<'a>>,
    timer: &Timer,
) -> (Vec<Case<'a>>, Vec<Vec<usize>>) {
    let mut selector = Selector::new(resources);
    let mut shared = Shared::default();
    let nowhere = Architecture::parse("all").expect("all is an architecture's name");
    let asked: Vec<(Picked, Rc<Merged>)> = snapshot
        .machines
        .values()
        .map(|machine| {
            let picked = selector.pick(machine);
            let reported = machine.reported.as_ref();
            let architecture = reported.map_or(&nowhere, |reported| &reported.report.architecture);
            let merged = shared.merge(resources, &picked, architecture);
            (picked, merged)
        })
        .collect();
    // What one machine lacks, others have: so all upgrades are looked for first.
    shared.known = recorded(snapshot, resources);
    for (machine, (_, merged)) in snapshot.machines.values().zip(&asked) {
        shared.learn(snapshot, merged, machine);
    }
    let machines = snapshot.machines.values().zip(asked);
    let cases = machines.enumerate().map(|(place, (machine, (picked, merged)))| {
        let machine: &Machine = machine;
        let hearing = hearing(machine, &snapshot.policy, timer);
        let (merged, evaluation) = shared.evaluate(snapshot, resources, &merged, machine);
        Case {
            place,
            machine,
            reported: machine.reported.as_ref(),
            picked,
            hearing,
            unknown: hearing.unknown(&snapshot.policy, timer),
            history: match histories.get(&machine.name) {
                Some(kept) => History { all: &kept.all, highest: kept.highest },
                None => History { all: &[], highest: 0 },
            },
            merged,
            evaluation,
        }
    });
    let cases = cases.collect();
    (cases, selector.window_sets())
}

impl<'a> Shared<'a> {
    fn merge(
        &mut self,
        resources: &Resources<'_>,
        picked: &Picked,
        architecture: &Architecture,
    ) -> Rc<Merged> {
        // Budgets and windows have no say in what is asked.
        let asked = Picked {
            packages: picked.packages.clone(),
            kernels: picked.kernels.clone(),
            budgets: Vec::new(),
            windows: 0,
        };
        let key = (asked, architecture.clone());
        if let Some(known) = self.merged.get(&key) {
            return known.clone();
        }
        let merged = Rc::new(Merged::of(resources, picked, architecture));
        self.merged.insert(key, merged.clone());
        merged
    }

    fn evaluate(
        &mut self,
        snapshot: &'a Snapshot,
        resources: &Resources<'_>,
        merged: &Rc<Merged>,
        machine: &'a Machine,
    ) -> Evaluated<'a> {
        let address = Rc::as_ptr(merged);
        let Some((report, digest, inventory)) = known_packages(snapshot, machine) else {
            let blank = self.blank.entry(address).or_insert_with(|| {
                Rc::new(Evaluation::of(resources, merged, None, &machine.holds, KeptBack::new(), false))
            });
            return (merged.clone(), blank.clone());
        };
        let kept_back = self.kept_back(merged, report, digest, inventory);
        let selects_kernels =
            merged.upgrades.is_any() && report.capabilities.contains(&Capability::KernelSelection);
        let twins = Twins {
            merged: address,
            inventory: digest,
            holds: &machine.holds,
            kept_back: kept_back.clone(),
            selects_kernels,
        };
        let make = || {
            let merged = extended(merged, inventory, &kept_back, &self.known);
            let inventory = Some((digest, inventory));
            let holds = &machine.holds;
            let evaluation = Evaluation::of(resources, &merged, inventory, holds, kept_back, selects_kernels);
            (merged, Rc::new(evaluation))
        };
        self.evaluations.entry(twins).or_insert_with(make).clone()
    }

    /// Looks for the upgrades that a machine lacks.
    fn learn(&mut self, snapshot: &'a Snapshot, merged: &Rc<Merged>, machine: &'a Machine) {
        if !merged.upgrades.is_any() {
            return;
        }
        let Some((report, digest, inventory)) = known_packages(snapshot, machine) else { return };
        let kept_back = self.kept_back(merged, report, digest, inventory);
        if self.learned.insert((Rc::as_ptr(merged), digest, kept_back.clone())) {
            learn(&mut self.known, merged, inventory, &kept_back);
        }
    }

    fn kept_back(
        &mut self,
        merged: &Merged,
        report: &Report,
        digest: &'a Digest,
        inventory: &'a Inventory,
    ) -> KeptBack {
        if !merged.heeds_phasing() {
            return KeptBack::new();
        }
        self.phased.kept_back(digest, inventory, &report.phasing)
    }
}

/// What is known of a machine's packages: its report and the inventory that this names.
fn known_packages<'a>(
    snapshot: &'a Snapshot,
    machine: &'a Machine,
) -> Option<(&'a Report, &'a Digest, &'a Inventory)> {
    let report = &machine.reported.as_ref()?.report;
    let (digest, inventory) = snapshot.inventories.get_key_value(&report.inventory)?;
    Some((report, digest, inventory))
}
