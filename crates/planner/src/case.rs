//! One machine with everything that a decision about it looks at, worked out once.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use muster_model::{
    Activity, ActivityName, Architecture, Digest, Inventory, Machine, Report, Reported, Snapshot, Unknown,
};

use crate::attempts::History;
use crate::evaluate::Evaluation;
use crate::merge::{Alone, Merged};
use crate::near::comes_to;
use crate::phasing::{KeptBack, Phased};
use crate::presence::{Hearing, hearing};
use crate::select::{Picked, Resources, Selection};
use crate::timer::Timers;
use crate::twins::{Evaluated, Twins};
use crate::upgrade::{Known, learn};

/// One machine's case.
pub(crate) struct Case<'a> {
    /// Its number among the machines.
    pub(crate) place: usize,
    pub(crate) machine: &'a Machine,
    pub(crate) reported: Option<&'a Reported>,
    pub(crate) picked: Arc<Picked>,
    pub(crate) hearing: Hearing,
    /// Why nothing can be said of it, if so (rule M1).
    pub(crate) unknown: Option<Unknown>,
    pub(crate) history: History<'a>,
    pub(crate) evaluated: Arc<Evaluated>,
    /// What is asked of it, its upgrades included.
    pub(crate) merged: Arc<Merged>,
    pub(crate) evaluation: Rc<Evaluation<'a>>,
}

impl<'a> Case<'a> {
    /// The same case, judged otherwise.
    pub(crate) fn with(&self, evaluation: Rc<Evaluation<'a>>) -> Self {
        let Self {
            place,
            machine,
            reported,
            picked,
            hearing,
            unknown,
            history,
            evaluated,
            merged,
            evaluation: _,
        } = self;
        Self {
            place: *place,
            machine,
            reported: *reported,
            picked: picked.clone(),
            hearing: *hearing,
            unknown: *unknown,
            history: *history,
            evaluated: evaluated.clone(),
            merged: merged.clone(),
            evaluation,
        }
    }

    /// Admitted, not revoked, heard at least once: what counts are taken of (rule B4).
    pub(crate) fn counts(&self) -> bool {
        self.machine.admitted && !self.machine.revoked && self.hearing != Hearing::Never
    }

    /// Of these, what rollouts are about: not absent (rule B4).
    pub(crate) fn is_member(&self) -> bool {
        self.counts() && !matches!(self.hearing, Hearing::Absent { .. })
    }
}

/// Machines' activities.
pub(crate) struct Histories<'a> {
    all: Vec<&'a Activity>,
    /// Of each machine: where its own end, and the highest number among all of its name.
    ends: Vec<(usize, u64)>,
}

/// Machines' activities, each's oldest first; the machines are in the order of their names.
///
/// A machine made anew under an old name is another one: what the old one finished says nothing of it. What is not
/// finished is on its way to that name all the same, so nothing else starts there.
pub(crate) fn histories<'a>(
    snapshot: &'a Snapshot,
    machines: impl Iterator<Item = &'a Machine>,
) -> Histories<'a> {
    let mut all: Vec<&Activity> = Vec::new();
    let mut near = snapshot.activities.range(..).peekable();
    let history = |machine: &'a Machine| {
        let mut highest = 0;
        let from = ActivityName { machine: machine.name.clone(), number: 0 };
        if !comes_to(&mut near, &from) {
            near = snapshot.activities.range(from..).peekable();
        }
        while let Some((_, activity)) = near.next_if(|(name, _)| name.machine == machine.name) {
            highest = highest.max(activity.spec.name.number);
            if activity.spec.machine_uid == machine.uid || !activity.phase.is_finished() {
                all.push(activity);
            }
        }
        (all.len(), highest)
    };
    let ends = machines.map(history).collect();
    Histories { all, ends }
}

/// What is asked of machines, kept as long as resources stay as they are.
#[derive(Debug, Default)]
pub(crate) struct Mergers {
    /// By who asks, and for which architecture.
    known: BTreeMap<(Vec<usize>, Architecture), Arc<Merged>>,
    /// By the address of what picks, which `Selection` keeps where it is: most machines are found here.
    of_picked: BTreeMap<usize, Vec<(Architecture, Arc<Merged>)>>,
    alone: Alone,
}

impl Mergers {
    fn merge(
        &mut self,
        resources: &Resources<'_>,
        picked: &Arc<Picked>,
        architecture: &Architecture,
    ) -> Arc<Merged> {
        let Self { known: all, of_picked, alone } = self;
        let known = of_picked.entry(Arc::as_ptr(picked).addr()).or_default();
        if let Some((_, merged)) = known.iter().find(|(other, _)| other == architecture) {
            return merged.clone();
        }
        // Budgets and windows have no say in what is asked.
        let key = (picked.packages.clone(), architecture.clone());
        let make = || Arc::new(Merged::of(resources, picked, architecture, alone));
        let merged = all.entry(key).or_insert_with(make);
        known.push((architecture.clone(), merged.clone()));
        merged.clone()
    }
}

/// What machines share, by what it depends on.
#[derive(Default)]
struct Shared<'a> {
    /// By the address of what was evaluated.
    evaluations: BTreeMap<*const Evaluated, Rc<Evaluation<'a>>>,
    phased: Phased<'a>,
    /// What is known of upgrades, by who sees them.
    lacks: BTreeMap<(*const Merged, &'a Digest, KeptBack), Arc<Known>>,
}

/// A machine as it was when it was looked at before, and what picked it then.
type Before<'b> = (&'b Machine, &'b Arc<Picked>);

/// Machines that are looked at again, with what is asked of each.
pub(crate) struct Asked<'a> {
    machines: Vec<(usize, &'a Machine, Arc<Picked>, Arc<Merged>)>,
    shared: Shared<'a>,
}

impl<'a> Asked<'a> {
    pub(crate) fn of<'b>(
        resources: &Resources<'_>,
        selection: &mut Selection,
        mergers: &mut Mergers,
        machines: impl Iterator<Item = (usize, &'a Machine, Option<Before<'b>>)>,
    ) -> Self {
        let shared = Shared::default();
        let nowhere = Architecture::parse("all").expect("all is an architecture's name");
        let machines = machines.map(|(place, machine, before)| {
            let picked = match before {
                Some(before) => selection.pick_again(resources, machine, before),
                None => selection.pick(resources, machine),
            };
            let reported = machine.reported.as_ref();
            let architecture = reported.map_or(&nowhere, |reported| &reported.report.architecture);
            let merged = mergers.merge(resources, &picked, architecture);
            (place, machine, picked, merged)
        });
        let machines = machines.collect();
        Self { machines, shared }
    }

    /// The upgrades that each of them lacks, of those whose `is_changed`. What one machine lacks, others have: so all are
    /// looked for first.
    pub(crate) fn lacks(
        &mut self,
        snapshot: &'a Snapshot,
        is_changed: impl Fn(usize) -> bool,
    ) -> Vec<(usize, Option<Arc<Known>>)> {
        let Self { machines, shared } = self;
        let changed = machines.iter().filter(|(place, ..)| is_changed(*place));
        changed.map(|(place, machine, _, merged)| (*place, shared.lacks(snapshot, merged, machine))).collect()
    }

    /// Their cases; `known`: all upgrades that somebody lacks, or that are on record.
    pub(crate) fn cases(
        self,
        snapshot: &'a Snapshot,
        resources: &Resources<'_>,
        histories: &'a Histories<'a>,
        known: &Known,
        twins: &mut Twins,
        timers: &mut Timers<'_>,
    ) -> Vec<Case<'a>> {
        let Self { machines, mut shared } = self;
        let mut from = 0;
        let cases = machines.into_iter().enumerate().map(|(number, (place, machine, picked, merged))| {
            let (to, highest) = histories.ends[number];
            let all = &histories.all[std::mem::replace(&mut from, to)..to];
            let (evaluated, evaluation) =
                shared.evaluate(snapshot, resources, &merged, machine, known, twins);
            timers.of(number, |timer| {
                let hearing = hearing(machine, &snapshot.policy, timer);
                if let Some(reported) = &machine.reported {
                    // What is said to be of the future is taken for of now.
                    timer.wake(Some(reported.time));
                }
                Case {
                    place,
                    machine,
                    reported: machine.reported.as_ref(),
                    picked,
                    hearing,
                    unknown: hearing.unknown(&snapshot.policy, timer),
                    history: History { all, highest },
                    merged: evaluated.merged.clone(),
                    evaluated,
                    evaluation,
                }
            })
        });
        cases.collect()
    }
}

impl<'a> Shared<'a> {
    fn evaluate(
        &mut self,
        snapshot: &'a Snapshot,
        resources: &Resources<'_>,
        merged: &Arc<Merged>,
        machine: &'a Machine,
        known: &Known,
        twins: &mut Twins,
    ) -> (Arc<Evaluated>, Rc<Evaluation<'a>>) {
        let packages = known_packages(snapshot, machine);
        let evaluated = match packages {
            None => twins.blank(merged),
            Some((report, digest, inventory)) => {
                let kept_back = self.kept_back(merged, report, digest, inventory);
                twins.of(resources, merged, (digest, inventory), machine, report, kept_back, known)
            }
        };
        let inventory = packages.map(|(_, digest, inventory)| (digest, inventory));
        let make = || Rc::new(Evaluation::new(evaluated.judgement.clone(), inventory));
        let evaluation = self.evaluations.entry(Arc::as_ptr(&evaluated)).or_insert_with(make).clone();
        (evaluated, evaluation)
    }

    /// The upgrades that a machine lacks.
    fn lacks(
        &mut self,
        snapshot: &'a Snapshot,
        merged: &Arc<Merged>,
        machine: &'a Machine,
    ) -> Option<Arc<Known>> {
        if !merged.upgrades.is_any() {
            return None;
        }
        let (report, digest, inventory) = known_packages(snapshot, machine)?;
        let kept_back = self.kept_back(merged, report, digest, inventory);
        let key = (Arc::as_ptr(merged), digest, kept_back);
        if let Some(known) = self.lacks.get(&key) {
            return Some(known.clone());
        }
        let mut known = Known::new();
        learn(&mut known, merged, inventory, &key.2);
        let known = Arc::new(known);
        self.lacks.insert(key, known.clone());
        Some(known)
    }

    fn kept_back(
        &mut self,
        merged: &Merged,
        report: &Report,
        digest: &'a Digest,
        inventory: &'a Inventory,
    ) -> KeptBack {
        if !merged.heeds_phasing {
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
