//! Which upgrades of installed packages are a machine's to have (rules S1, O1, V2)?
//!
//! Each becomes a requirement of its own for exactly one version, after those that name packages: so what holds for
//! these (attempts, bars, holds, proposals, verdicts) holds for it, too. One that names the package stands above it: an
//! upgrade stays within its versions, and never touches what is to be absent, held, or in dispute.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_model::{
    DebianVersion, Inventory, Package, PackageKey, PackageWish, Relation, Snapshot, Target, UpgradePolicy,
    VersionRequirement,
};

use crate::merge::{Merged, Requirement};
use crate::phasing::KeptBack;
use crate::select::{Picked, Resources};
use crate::target::choose;

/// How many upgrades one activity carries at most; the next takes the rest.
///
/// A machine that lags by a point release has some 150. Each takes some 60 bytes of its FleetMachine's status while it is
/// simulated, which is to stay small.
pub(crate) const UPGRADES_AT_ONCE: usize = 300;

/// Who asks for upgrades on a machine: the baselines of the highest priority that has a say (rule S1).
#[derive(Clone, Debug, Default)]
pub(crate) struct Upgrades {
    all: Vec<usize>,
    security: Vec<usize>,
    priority: i32,
    /// Each baseline that observes is judged by itself.
    observed: Vec<(usize, UpgradePolicy)>,
}

impl Upgrades {
    pub(crate) fn of(resources: &Resources<'_>, picked: &Picked) -> Self {
        let mut upgrades = Self::default();
        let mut asked: Vec<(i32, usize, UpgradePolicy)> = Vec::new();
        for place in &picked.packages {
            let baseline = resources.packages[*place];
            match baseline.upgrades {
                None => {}
                Some(policy) if resources.enforces(*place) => {
                    asked.push((baseline.common.priority, *place, policy));
                }
                Some(policy) => upgrades.observed.push((*place, policy)),
            }
        }
        upgrades.priority = asked.iter().map(|(priority, ..)| *priority).max().unwrap_or_default();
        for (_, place, policy) in asked.into_iter().filter(|(priority, ..)| *priority == upgrades.priority) {
            match policy {
                UpgradePolicy::None => {}
                UpgradePolicy::Security => upgrades.security.push(place),
                UpgradePolicy::All => upgrades.all.push(place),
            }
        }
        upgrades
    }

    pub(crate) fn is_any(&self) -> bool {
        !(self.all.is_empty() && self.security.is_empty() && self.observed.is_empty())
    }

    /// Whether the baseline has its say here.
    pub(crate) fn asks(&self, place: usize) -> bool {
        self.all.contains(&place) || self.security.contains(&place)
    }
}

/// Items of upgrades, with the baselines that they are an item of: what some machine lacks, or what is on record.
pub(crate) type Known = BTreeMap<(PackageKey, DebianVersion), BTreeSet<usize>>;

/// What is on record as spreading for the baselines that ask for upgrades.
pub(crate) fn recorded(snapshot: &Snapshot, resources: &Resources<'_>) -> Known {
    let mut known = Known::new();
    for (place, baseline) in resources.packages.iter().enumerate() {
        let asks = baseline.upgrades.is_some_and(|policy| policy > UpgradePolicy::None);
        let Some(rollout) = snapshot.rollouts.get(&baseline.reference()).filter(|_| asks) else { continue };
        for item in rollout.items.keys() {
            if let Target::Version(version) = &item.target {
                known.entry((item.package.clone(), version.clone())).or_default().insert(place);
            }
        }
    }
    known
}

/// Adds the upgrades that machines with this inventory lack.
pub(crate) fn learn(known: &mut Known, merged: &Merged, inventory: &Inventory, kept_back: &KeptBack) {
    for package in inventory.packages.iter().filter(|package| package.installed.is_some()) {
        let Some(found) = Found::of(merged, package, kept_back) else { continue };
        if let Some((target, by)) = found.enforced(&merged.upgrades) {
            known.entry((package.key.clone(), target.clone())).or_default().extend(by);
        }
    }
}

/// What is asked of a machine with this inventory: its upgrades included, those that it lacks and those of others that it
/// has.
pub(crate) fn extended(
    merged: &Arc<Merged>,
    inventory: &Inventory,
    kept_back: &KeptBack,
    known: &Known,
) -> Arc<Merged> {
    let upgrades = &merged.upgrades;
    if !upgrades.is_any() {
        return merged.clone();
    }
    let mut extended = Merged::clone(merged);
    for package in &inventory.packages {
        let Some(installed) = &package.installed else { continue };
        let Some(found) = Found::of(merged, package, kept_back) else { continue };
        let has = || {
            let by = known.get(&(package.key.clone(), installed.version.clone()))?;
            let by: Vec<usize> = by.iter().copied().filter(|place| upgrades.asks(*place)).collect();
            (!by.is_empty()).then_some((&installed.version, by))
        };
        if let Some((target, by)) = found.enforced(upgrades).or_else(has) {
            let one = requirement(&package.key, target, by, upgrades.priority);
            extended.enforced.push(Arc::new(one));
        }
        for (place, policy) in &upgrades.observed {
            let target = match policy {
                UpgradePolicy::None => None,
                UpgradePolicy::Security => found.secure,
                UpgradePolicy::All => found.all,
            };
            let one = target.map(|target| requirement(&package.key, target, vec![*place], 0));
            extended.observed.extend(one.map(Arc::new));
        }
    }
    Arc::new(extended)
}

/// What one installed package could be upgraded to.
struct Found<'a> {
    all: Option<&'a DebianVersion>,
    secure: Option<&'a DebianVersion>,
}

impl<'a> Found<'a> {
    /// `None`: what names the package alone decides about it.
    fn of(merged: &Merged, package: &'a Package, kept_back: &KeptBack) -> Option<Self> {
        let named = merged.place_of(&package.key).map(|place| &*merged.enforced[place]);
        let room = room(named, package)?;
        let all = target(room, package, kept_back.contains(&package.key));
        Some(Self { all, secure: security_target(room, package) })
    }

    /// The upgrade to enforce, and for whom.
    fn enforced(&self, upgrades: &Upgrades) -> Option<(&'a DebianVersion, Vec<usize>)> {
        let asked = |by: &[usize], target| if by.is_empty() { None } else { target };
        let (all, secure) = (asked(&upgrades.all, self.all), asked(&upgrades.security, self.secure));
        let target = all.max(secure)?;
        let all = all.map_or(&[][..], |_| &upgrades.all);
        let mut by = [all, secure.map_or(&[][..], |_| &upgrades.security)].concat();
        by.sort_unstable();
        Some((target, by))
    }
}

/// The versions that an upgrade may go to, given what names the package; `None`: that alone decides about it.
fn room<'a>(named: Option<&'a Requirement>, package: &Package) -> Option<&'a VersionRequirement> {
    const ANY: &VersionRequirement = &VersionRequirement::Any;
    let Some(named) = named else { return Some(ANY) };
    let installed = &package.installed.as_ref()?.version;
    let leaves_room = match named.wish {
        PackageWish::Absent => false,
        PackageWish::Present => {
            !named.conflict
                && !named.hold
                && !named.version.is_latest()
                && named.version.satisfied_by(installed)
        }
    };
    leaves_room.then_some(&named.version)
}

/// What apt would upgrade to, within `room`.
fn target<'a>(
    room: &VersionRequirement,
    package: &'a Package,
    is_kept_back: bool,
) -> Option<&'a DebianVersion> {
    let target = choose(room, package, false)?;
    let kept = is_kept_back && package.candidate.as_ref() == Some(target);
    is_higher(package, target).then_some(target).filter(|_| !kept)
}

/// The highest version that a security pocket offers, within `room`.
fn security_target<'a>(room: &VersionRequirement, package: &'a Package) -> Option<&'a DebianVersion> {
    package.security_updates().filter(|version| room.satisfied_by(version)).max()
}

fn is_higher(package: &Package, target: &DebianVersion) -> bool {
    package.installed.as_ref().is_some_and(|installed| *target > installed.version)
}

fn requirement(key: &PackageKey, target: &DebianVersion, by: Vec<usize>, priority: i32) -> Requirement {
    Requirement {
        key: key.clone(),
        wish: PackageWish::Present,
        version: VersionRequirement::Relations(vec![(Relation::Equal, target.clone())]),
        hold: false,
        by,
        priority,
        conflict: false,
        spare: false,
    }
}
