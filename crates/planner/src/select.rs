//! Who is selected: which baselines, budgets and windows pick a machine by its labels and facts.
//!
//! A machine that is not admitted, or is revoked, is picked by nothing (rules B4, M5).

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{Budget, KernelBaseline, LabelSelector, Machine, Mode, PackageBaseline, Snapshot, Window};
use smol_str::SmolStr;

/// The namespace's resources in the order of their names; everywhere else they are numbers into these.
pub(crate) struct Resources<'a> {
    pub(crate) packages: Vec<&'a PackageBaseline>,
    pub(crate) kernels: Vec<&'a KernelBaseline>,
    pub(crate) budgets: Vec<&'a Budget>,
    pub(crate) windows: Vec<&'a Window>,
}

impl<'a> Resources<'a> {
    pub(crate) fn of(snapshot: &'a Snapshot) -> Self {
        Self {
            packages: snapshot.package_baselines.values().map(AsRef::as_ref).collect(),
            kernels: snapshot.kernel_baselines.values().map(AsRef::as_ref).collect(),
            budgets: snapshot.budgets.values().map(AsRef::as_ref).collect(),
            windows: snapshot.windows.values().map(AsRef::as_ref).collect(),
        }
    }

    pub(crate) fn enforces(&self, package_baseline: usize) -> bool {
        match self.packages[package_baseline].common.mode {
            Mode::Enforce => true,
            Mode::Observe => false,
        }
    }
}

/// What picks a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Picked {
    pub(crate) packages: Vec<usize>,
    pub(crate) kernels: Vec<usize>,
    pub(crate) budgets: Vec<usize>,
    /// The number of the set of windows; see [`Selector::window_sets`].
    pub(crate) windows: usize,
}

/// Picks machine after machine, and numbers the sets of windows that it meets: most machines share one.
///
/// What picks a machine depends on the labels that some selector names, and on nothing else of it: machines that have
/// these alike are picked alike.
pub(crate) struct Selector<'a> {
    resources: &'a Resources<'a>,
    /// The labels that selectors name.
    keys: BTreeSet<&'a str>,
    /// By the values of `keys`.
    known: BTreeMap<Vec<Option<SmolStr>>, Picked>,
    sets: BTreeMap<Vec<usize>, usize>,
}

impl<'a> Selector<'a> {
    pub(crate) fn new(resources: &'a Resources<'a>) -> Self {
        let baselines = resources.packages.iter().map(|baseline| &baseline.common.selector);
        let kernels = resources.kernels.iter().map(|baseline| &baseline.common.selector);
        let budgets = resources.budgets.iter().map(|budget| &budget.selector);
        let windows = resources.windows.iter().map(|window| &window.selector);
        let all = baselines.chain(kernels).chain(budgets).chain(windows);
        Self {
            resources,
            keys: all.flat_map(LabelSelector::terms).map(|(key, _)| key).collect(),
            known: BTreeMap::new(),
            sets: BTreeMap::from([(Vec::new(), 0)]),
        }
    }

    pub(crate) fn pick(&mut self, machine: &Machine) -> Picked {
        if !machine.admitted || machine.revoked {
            return Picked::default();
        }
        let values: Vec<Option<SmolStr>> =
            self.keys.iter().map(|key| machine.label(key).map(SmolStr::new)).collect();
        if let Some(known) = self.known.get(&values) {
            return known.clone();
        }
        let picked = self.work_out(machine);
        self.known.insert(values, picked.clone());
        picked
    }

    fn work_out(&mut self, machine: &Machine) -> Picked {
        let picks = |selector: &LabelSelector| selector.matches(|key| machine.label(key));
        fn places<T>(all: &[&T], picks: impl Fn(&T) -> bool) -> Vec<usize> {
            all.iter().enumerate().filter(|(_, one)| picks(one)).map(|(place, _)| place).collect()
        }
        let windows = places(&self.resources.windows, |window| picks(&window.selector));
        let next = self.sets.len();
        Picked {
            packages: places(&self.resources.packages, |baseline| picks(&baseline.common.selector)),
            kernels: places(&self.resources.kernels, |baseline| picks(&baseline.common.selector)),
            budgets: places(&self.resources.budgets, |budget| picks(&budget.selector)),
            windows: *self.sets.entry(windows).or_insert(next),
        }
    }

    /// Every set of windows that picks some machine, by its number.
    pub(crate) fn window_sets(self) -> Vec<Vec<usize>> {
        let mut sets = vec![Vec::new(); self.sets.len()];
        for (windows, number) in self.sets {
            sets[number] = windows;
        }
        sets
    }
}
