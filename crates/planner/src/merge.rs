//! What several baselines together ask of one machine (rules S1, S2).
//!
//! The highest priority decides about a package; baselines of equal priority are intersected, and where nothing is left
//! they are in conflict about that package alone. A baseline that observes is judged by itself and never changes what
//! is done: it neither wins nor conflicts.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_model::{
    Architecture, BaselineRef, PackageKey, PackageName, PackageRequirement, PackageWish, RebootWhen,
    VersionRequirement, Wanted, WantedSet,
};

use crate::kernel::{KernelWish, deciding, wish};
use crate::upgrade::Upgrades;

use crate::select::{Picked, Resources};

/// What is asked of one package on one machine, and by whom.
#[derive(Clone, Debug)]
pub(crate) struct Requirement {
    pub(crate) key: PackageKey,
    pub(crate) wish: PackageWish,
    pub(crate) version: VersionRequirement,
    pub(crate) hold: bool,
    /// The baselines of the deciding priority that name it, by number.
    pub(crate) by: Vec<usize>,
    pub(crate) priority: i32,
    /// They contradict each other (rule S2).
    pub(crate) conflict: bool,
    /// A kernel that is one too many: it goes without waves, since that is no item (rule K3).
    pub(crate) spare: bool,
}

impl Requirement {
    /// The baselines that ask for it.
    pub(crate) fn baselines(&self, resources: &Resources<'_>) -> BTreeSet<BaselineRef> {
        self.by.iter().map(|place| resources.packages[*place].reference()).collect()
    }

    fn of(asked: &PackageRequirement, key: PackageKey, place: usize, priority: i32) -> Self {
        let PackageRequirement { name: _, architecture: _, state, version, hold } = asked;
        Self {
            key,
            wish: *state,
            version: version.clone(),
            hold: *hold,
            by: vec![place],
            priority,
            conflict: false,
            spare: false,
        }
    }

    fn meet(known: &mut Arc<Self>, other: Arc<Self>) {
        match other.priority.cmp(&known.priority) {
            Ordering::Less => {}
            Ordering::Greater => *known = other,
            Ordering::Equal => {
                let both = Arc::make_mut(known);
                both.conflict |= both.wish != other.wish;
                match both.version.intersect(&other.version) {
                    Some(version) => both.version = version,
                    None => both.conflict = true,
                }
                both.hold |= other.hold;
                let more: Vec<usize> =
                    other.by.iter().copied().filter(|place| !both.by.contains(place)).collect();
                both.by.extend(more);
            }
        }
    }
}

/// What baselines ask by themselves: by the baseline's number, the requirement's number in it, and the architecture. Most
/// requirements are those of one baseline, and the same for all machines that it picks.
pub(crate) type Alone = BTreeMap<(usize, usize, Architecture), Arc<Requirement>>;

/// What a machine's baselines ask of it; the same for all machines of one architecture that the same baselines pick.
#[derive(Clone, Debug)]
pub(crate) struct Merged {
    /// To be enforced: what is asked by name, by package; then the upgrades that an inventory has for who asks for them,
    /// by package, too.
    pub(crate) enforced: Vec<Arc<Requirement>>,
    /// How many of them are asked by name.
    pub(crate) named: usize,
    /// Who asks for upgrades.
    pub(crate) upgrades: Upgrades,
    /// Of baselines that observe, each by itself.
    pub(crate) observed: Vec<Arc<Requirement>>,
    /// Package baselines that ask for a reboot when one is required.
    pub(crate) reboots: Vec<usize>,
    /// The kernel that is asked for.
    pub(crate) kernel: Option<KernelWish>,
    /// Whether some kernel baseline picks the machine, be it to observe.
    pub(crate) asks_for_kernels: bool,
    /// Whether what apt keeps back for now makes a difference.
    pub(crate) heeds_phasing: bool,
    /// What is wanted where nothing is to be simulated: the packages to report offers for.
    pub(crate) nothing: Arc<Wanted>,
}

impl Merged {
    pub(crate) fn of(
        resources: &Resources<'_>,
        picked: &Picked,
        architecture: &Architecture,
        alone: &mut Alone,
    ) -> Self {
        let mut interest: BTreeSet<PackageName> = BTreeSet::new();
        let (mut observed, mut reboots) = (Vec::new(), Vec::new());
        let mut enforced: BTreeMap<PackageKey, Arc<Requirement>> = BTreeMap::new();
        let deciding = deciding(resources, &picked.packages);
        for place in &picked.packages {
            let baseline = resources.packages[*place];
            match (baseline.reboot.policy, baseline.kernel) {
                (RebootWhen::WhenRequired, None) => reboots.push(*place),
                (RebootWhen::Never, _) | (RebootWhen::WhenRequired, Some(_)) => {}
            }
            for (number, asked) in baseline.packages.iter().enumerate() {
                let architecture = asked.architecture.as_ref().unwrap_or(architecture);
                interest.insert(asked.name.clone());
                let make = || {
                    let key = PackageKey { name: asked.name.clone(), architecture: architecture.clone() };
                    Arc::new(Requirement::of(asked, key, *place, baseline.common.priority))
                };
                let one = alone.entry((*place, number, architecture.clone())).or_insert_with(make).clone();
                if !resources.enforces(*place) {
                    observed.push(one);
                } else if baseline.kernel.is_some() && !deciding.contains(place) {
                    // Another kernel is asked for with a higher priority.
                } else if let Some(known) = enforced.get_mut(&one.key) {
                    Requirement::meet(known, one);
                } else {
                    enforced.insert(one.key.clone(), one);
                }
            }
        }
        let mut enforced: Vec<Arc<Requirement>> = enforced.into_values().collect();
        let named = enforced.len();
        let kernel = wish(resources, deciding, &mut enforced, architecture);
        let nothing = Arc::new(Wanted::new(WantedSet { interest: interest.into(), items: Vec::new() }));
        let upgrades = Upgrades::of(resources, picked);
        observed.shrink_to_fit();
        let asks_for_kernels =
            picked.packages.iter().any(|place| resources.packages[*place].kernel.is_some());
        let is_latest = |one: &Arc<Requirement>| one.version.is_latest();
        let heeds_phasing =
            upgrades.is_any() || enforced.iter().any(is_latest) || observed.iter().any(is_latest);
        Self {
            enforced,
            named,
            upgrades,
            observed,
            reboots,
            kernel,
            asks_for_kernels,
            heeds_phasing,
            nothing,
        }
    }

    /// The number of the requirement that names a package.
    pub(crate) fn place_of(&self, key: &PackageKey) -> Option<usize> {
        self.enforced[..self.named].binary_search_by(|one| one.key.cmp(key)).ok()
    }

    /// The requirement that names a package, unless baselines are in conflict about it.
    pub(crate) fn about(&self, key: &PackageKey) -> Option<&Requirement> {
        self.place_of(key).map(|place| &*self.enforced[place]).filter(|one| !one.conflict)
    }

    /// The number of a package's upgrade, if it is to have one.
    pub(crate) fn upgrade_of(&self, key: &PackageKey) -> Option<usize> {
        let found = self.enforced[self.named..].binary_search_by(|one| one.key.cmp(key)).ok()?;
        Some(self.named + found)
    }

    /// The number of what is asked about a package, by name or as an upgrade.
    pub(crate) fn asked_of(&self, key: &PackageKey) -> Option<usize> {
        self.place_of(key).or_else(|| self.upgrade_of(key))
    }

    /// Whether some baseline that is enforced has the machine rebooted when it says that it must be.
    pub(crate) fn reboots_any(&self, resources: &Resources<'_>) -> bool {
        self.reboots.iter().any(|place| resources.enforces(*place))
    }

    /// How many verdicts it takes: one for each requirement of each baseline that has a say.
    pub(crate) fn total(&self) -> usize {
        let enforced: usize = self.enforced.iter().map(|one| one.by.len()).sum();
        enforced + self.observed.len() + self.reboots.len()
    }
}
