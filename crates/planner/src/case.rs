//! One machine with everything that a decision about it looks at, worked out once.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use muster_model::{
    Activity, Architecture, Digest, Machine, MachineName, PackageKey, Reported, Snapshot, Unknown,
};

use crate::attempts::History;
use crate::evaluate::Evaluation;
use crate::merge::Merged;
use crate::presence::{Hearing, hearing};
use crate::select::{Picked, Resources, Selector};
use crate::timer::Timer;

/// One machine's case.
pub(crate) struct Case<'a> {
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

impl Case<'_> {
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

/// What machines share, by what it depends on.
#[derive(Default)]
struct Shared<'a> {
    merged: BTreeMap<(Picked, Architecture), Rc<Merged>>,
    evaluations: BTreeMap<(*const Merged, &'a Digest, &'a BTreeSet<PackageKey>), Rc<Evaluation<'a>>>,
    /// Of machines without an inventory.
    blank: BTreeMap<*const Merged, Rc<Evaluation<'a>>>,
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
    let cases = snapshot.machines.values().map(|machine| {
        let machine: &Machine = machine;
        let reported = machine.reported.as_ref();
        let picked = selector.pick(machine);
        let hearing = hearing(machine, &snapshot.policy, timer);
        let architecture = reported.map_or(&nowhere, |reported| &reported.report.architecture);
        let merged = shared.merge(resources, &picked, architecture);
        let evaluation = shared.evaluate(snapshot, resources, &merged, machine);
        Case {
            machine,
            reported,
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
    ) -> Rc<Evaluation<'a>> {
        let address = Rc::as_ptr(merged);
        let found = machine
            .reported
            .as_ref()
            .and_then(|reported| snapshot.inventories.get_key_value(&reported.report.inventory));
        let Some((digest, inventory)) = found else {
            let blank = self.blank.entry(address);
            return blank
                .or_insert_with(|| Rc::new(Evaluation::of(resources, merged, None, &machine.holds)))
                .clone();
        };
        let key = (address, digest, &machine.holds);
        let evaluation = self.evaluations.entry(key);
        let make = || Rc::new(Evaluation::of(resources, merged, Some((digest, inventory)), &machine.holds));
        evaluation.or_insert_with(make).clone()
    }
}
