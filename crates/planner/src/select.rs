//! Who is selected: which baselines, budgets and windows pick a machine by its labels and facts.
//!
//! A machine that is not admitted, or is revoked, is picked by nothing (rules B4, M5).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_model::{Budget, LabelSelector, Machine, Mode, Shared, Snapshot, Window};
use smol_str::SmolStr;

use crate::baseline::Baseline;

/// The namespace's resources in the order of their names; everywhere else they are numbers into these.
pub(crate) struct Resources<'a> {
    /// The package baselines and, after them, the kernel baselines, which ask for a package each.
    pub(crate) packages: Vec<Baseline<'a>>,
    pub(crate) budgets: Vec<&'a Budget>,
    pub(crate) windows: Vec<&'a Window>,
}

impl<'a> Resources<'a> {
    pub(crate) fn of(snapshot: &'a Snapshot) -> Self {
        Self {
            packages: snapshot
                .package_baselines
                .values()
                .map(|baseline| Baseline::from(baseline.as_ref()))
                .chain(snapshot.kernel_baselines.values().map(|baseline| Baseline::from(baseline.as_ref())))
                .collect(),
            budgets: snapshot.budgets.values().map(AsRef::as_ref).collect(),
            windows: snapshot.windows.values().map(AsRef::as_ref).collect(),
        }
    }

    pub(crate) fn enforces(&self, baseline: usize) -> bool {
        match self.packages[baseline].common.mode {
            Mode::Enforce => true,
            Mode::Observe => false,
        }
    }
}

/// What picks a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Picked {
    pub(crate) packages: Vec<usize>,
    pub(crate) budgets: Vec<usize>,
    /// The number of the set of windows.
    pub(crate) windows: usize,
}

/// The sets of windows that pick machines, numbered: most machines share one.
#[derive(Clone, Debug)]
pub(crate) struct WindowSets {
    numbers: BTreeMap<Vec<usize>, usize>,
    sets: Vec<Vec<usize>>,
}

impl Default for WindowSets {
    /// Number 0 is the empty set.
    fn default() -> Self {
        Self { numbers: BTreeMap::from([(Vec::new(), 0)]), sets: vec![Vec::new()] }
    }
}

impl WindowSets {
    pub(crate) fn sets(&self) -> &[Vec<usize>] {
        &self.sets
    }

    fn number(&mut self, windows: Vec<usize>) -> usize {
        let Self { numbers, sets } = self;
        *numbers.entry(windows).or_insert_with_key(|windows| {
            sets.push(windows.clone());
            sets.len() - 1
        })
    }
}

/// What is known of whom resources pick, kept as long as these stay as they are.
///
/// What picks a machine depends on the labels that some selector names, and on nothing else of it: machines that have
/// these alike are picked alike.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// The labels that selectors name.
    keys: BTreeSet<SmolStr>,
    /// By the values of `keys`.
    known: BTreeMap<Vec<Option<SmolStr>>, Arc<Picked>>,
    pub(crate) sets: WindowSets,
    nothing: Arc<Picked>,
}

impl Selection {
    pub(crate) fn new(resources: &Resources<'_>) -> Self {
        let baselines = resources.packages.iter().map(|baseline| &baseline.common.selector);
        let budgets = resources.budgets.iter().map(|budget| &budget.selector);
        let windows = resources.windows.iter().map(|window| &window.selector);
        let all = baselines.chain(budgets).chain(windows);
        let keys = all.flat_map(LabelSelector::terms).map(|(key, _)| SmolStr::new(key)).collect();
        Self { keys, ..Self::default() }
    }

    /// What picks a machine that was picked before, as it was then.
    pub(crate) fn pick_again(
        &mut self,
        resources: &Resources<'_>,
        machine: &Machine,
        (before, picked): (&Machine, &Arc<Picked>),
    ) -> Arc<Picked> {
        let is_admitted = |machine: &Machine| (machine.admitted, machine.revoked);
        if is_admitted(before) == is_admitted(machine) && has_same_labels(before, machine) {
            return picked.clone();
        }
        self.pick(resources, machine)
    }

    /// What picks a machine, of the resources that this is about.
    pub(crate) fn pick(&mut self, resources: &Resources<'_>, machine: &Machine) -> Arc<Picked> {
        if !machine.admitted || machine.revoked {
            return self.nothing.clone();
        }
        let values: Vec<Option<SmolStr>> =
            self.keys.iter().map(|key| machine.label(key).map(SmolStr::new)).collect();
        if let Some(known) = self.known.get(&values) {
            return known.clone();
        }
        let picked = Arc::new(self.work_out(resources, machine));
        self.known.insert(values, picked.clone());
        picked
    }

    fn work_out(&mut self, resources: &Resources<'_>, machine: &Machine) -> Picked {
        let picks = |selector: &LabelSelector| selector.matches(|key| machine.label(key));
        fn places<T>(all: &[T], picks: impl Fn(&T) -> bool) -> Vec<usize> {
            all.iter().enumerate().filter(|(_, one)| picks(one)).map(|(place, _)| place).collect()
        }
        Picked {
            packages: places(&resources.packages, |baseline| picks(&baseline.common.selector)),
            budgets: places(&resources.budgets, |budget| picks(&budget.selector)),
            windows: self.sets.number(places(&resources.windows, |window| picks(&window.selector))),
        }
    }
}

/// Whether labels and facts, which selectors, waves and zones look at, are the same.
pub(crate) fn has_same_labels(before: &Machine, after: &Machine) -> bool {
    std::ptr::eq(before, after) || (before.labels == after.labels && facts(before) == facts(after))
}

fn facts(machine: &Machine) -> Option<&Shared<BTreeMap<SmolStr, SmolStr>>> {
    machine.reported.as_ref().map(|reported| &reported.facts)
}
