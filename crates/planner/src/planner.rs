//! Planning again and again, at the cost of what changed (design §6).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_model::{
    Budget, Digest, Instant, KernelBaseline, MachineName, ObjectName, PackageBaseline, Plan, Policy,
    ProposalKey, RolloutApproval, Snapshot, Window, WindowOverride,
};
use smol_str::SmolStr;

use crate::cancel;
use crate::known::{Awaited, Circle, Dirty, Known, Next, Why};

/// What may differ between a snapshot and the one planned from before, of what there is much of.
///
/// What is not named here must be the same in both. All else (resources, rollouts, overrides, approvals, the policy, the
/// instant) need not be named: it is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Machines of which something differs: the machine itself, its activities, or that its absence was resolved; those that
    /// came or went, too.
    pub machines: BTreeSet<MachineName>,
    /// Inventories that came or went.
    pub inventories: BTreeSet<Digest>,
    /// Proposals that came, went or are others.
    pub proposals: BTreeSet<ProposalKey>,
}

/// Plans one namespace again and again. Each plan is the one that [`plan`](crate::plan) would make, byte for byte; it costs
/// what the machines cost that are touched, or decided otherwise.
///
/// Resources that change, machines that come or go, and an upgrade that is new to the whole fleet cost a plan from scratch.
#[derive(Debug, Default)]
pub struct Planner {
    known: Option<Known>,
    base: Base,
    changed: BTreeSet<MachineName>,
    /// By number; `None`: all.
    decided: Option<BTreeMap<usize, Why>>,
    nothing: Plan,
}

impl Planner {
    /// The decision for all machines at the snapshot's instant; `touched`: what differs from the snapshot before.
    pub fn plan(&mut self, snapshot: &Snapshot, touched: &Touched) -> &Plan {
        let mut dirty = Dirty::All;
        let mut known = match self.known.take() {
            Some(known) if self.base.is_of(snapshot) => match known.touched(snapshot, touched) {
                Some(places) => {
                    dirty = Dirty::Some(places);
                    known
                }
                None => known.anew(snapshot),
            },
            Some(known) => known.anew(snapshot),
            None => Known::new(snapshot),
        };
        loop {
            match known.round(snapshot, &dirty) {
                Next::Done => break,
                Next::More(places) => dirty.extend(places),
                Next::Anew => {
                    known = known.anew(snapshot);
                    dirty = Dirty::All;
                }
            }
        }
        self.changed = known.take_changed();
        match dirty {
            Dirty::All => {
                self.base = Base::of(snapshot);
                self.decided = None;
            }
            Dirty::Some(places) => {
                self.decided = Some(places);
                self.base.now = snapshot.now;
                for name in touched.machines.iter().filter(|name| !snapshot.machines.contains_key(*name)) {
                    known.cancel(name, cancel::of_nobody(snapshot, name));
                }
            }
        }
        &self.known.insert(known).plan
    }

    /// The machines whose answers the last plan changed.
    #[must_use]
    pub fn changed(&self) -> &BTreeSet<MachineName> {
        &self.changed
    }

    /// The machines that the last plan decided: those touched, those whose time had come, those that start something, and those
    /// for which these make a difference; some may be named twice. `None`: all.
    #[must_use]
    pub fn decided(&self) -> Option<impl Iterator<Item = &MachineName>> {
        let (known, decided) = (self.known.as_ref()?, self.decided.as_ref()?);
        Some(decided.keys().map(|place| known.name_of(*place)).chain(&self.changed))
    }

    /// Whom a machine waits for, by baseline and item: nobody while something is under way there. `snapshot`: the one planned last.
    #[must_use]
    pub fn awaited(&self, snapshot: &Snapshot, machine: &MachineName) -> Vec<Awaited> {
        self.known.as_ref().map(|known| known.awaited(snapshot, machine)).unwrap_or_default()
    }

    /// Where, by the last plan, rollouts wait for each other's machines.
    #[must_use]
    pub fn circles(&self) -> Vec<Circle> {
        self.known.as_ref().map(Known::circles).unwrap_or_default()
    }

    /// The last plan; an empty one before the first.
    #[must_use]
    pub fn last(&self) -> &Plan {
        self.known.as_ref().map_or(&self.nothing, |known| &known.plan)
    }

    /// The last plan, when no other is to follow.
    #[must_use]
    pub fn into_plan(self) -> Plan {
        self.known.map(|known| known.plan).unwrap_or_default()
    }
}

/// What all machines' decisions look at: where it differs, all are decided anew.
#[derive(Debug, Default)]
struct Base {
    now: Instant,
    policy: Policy,
    revision: Option<SmolStr>,
    flags: (bool, bool),
    package_baselines: BTreeMap<ObjectName, Arc<PackageBaseline>>,
    kernel_baselines: BTreeMap<ObjectName, Arc<KernelBaseline>>,
    windows: BTreeMap<ObjectName, Arc<Window>>,
    overrides: BTreeMap<ObjectName, Arc<WindowOverride>>,
    unreadable: BTreeMap<SmolStr, String>,
    budgets: BTreeMap<ObjectName, Arc<Budget>>,
    approvals: BTreeMap<ObjectName, Arc<RolloutApproval>>,
}

impl Base {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            now: snapshot.now,
            policy: snapshot.policy.clone(),
            revision: snapshot.revision.clone(),
            flags: (snapshot.applying, snapshot.clock_off),
            package_baselines: snapshot.package_baselines.clone(),
            kernel_baselines: snapshot.kernel_baselines.clone(),
            windows: snapshot.windows.clone(),
            overrides: snapshot.overrides.clone(),
            unreadable: snapshot.unreadable.clone(),
            budgets: snapshot.budgets.clone(),
            approvals: snapshot.approvals.clone(),
        }
    }

    /// Whether the snapshot has the same, now or later.
    fn is_of(&self, snapshot: &Snapshot) -> bool {
        self.now <= snapshot.now
            && self.policy == snapshot.policy
            && self.revision == snapshot.revision
            && self.flags == (snapshot.applying, snapshot.clock_off)
            && self.unreadable == snapshot.unreadable
            && are_same(&self.package_baselines, &snapshot.package_baselines)
            && are_same(&self.kernel_baselines, &snapshot.kernel_baselines)
            && are_same(&self.windows, &snapshot.windows)
            && are_same(&self.overrides, &snapshot.overrides)
            && are_same(&self.budgets, &snapshot.budgets)
            && are_same(&self.approvals, &snapshot.approvals)
    }
}

/// Whether the same objects are in both.
fn are_same<K: Eq, T>(left: &BTreeMap<K, Arc<T>>, right: &BTreeMap<K, Arc<T>>) -> bool {
    let values = || left.values().zip(right.values()).all(|(left, right)| Arc::ptr_eq(left, right));
    left.len() == right.len() && left.keys().eq(right.keys()) && values()
}
