//! How items spread, and which are barred since too many machines failed them (rule O3).
//!
//! Deliberately not here yet: waves and soak.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{
    BaselineRef, Item, ItemProgress, PackageWish, Reason, Rollout, Snapshot, Target, UpgradePolicy,
};

use crate::attempts::failed_items;
use crate::budget::Tally;
use crate::case::Case;
use crate::merge::Requirement;
use crate::presence::Hearing;
use crate::select::Resources;
use crate::target::{Judged, Outcome};

/// The rollouts as they are to be recorded.
pub(crate) struct Rollouts {
    /// Along the package baselines.
    items: Vec<BTreeMap<Item, ItemProgress>>,
    /// Along the package baselines: how many machines may fail an item.
    max_failures: Vec<usize>,
}

impl Rollouts {
    pub(crate) fn of(
        snapshot: &Snapshot,
        resources: &Resources<'_>,
        cases: &[Case<'_>],
        tally: &Tally<'_>,
    ) -> Self {
        let mut found =
            Self { items: vec![BTreeMap::new(); resources.packages.len()], max_failures: Vec::new() };
        let references: Vec<BaselineRef> =
            resources.packages.iter().map(|baseline| baseline.reference()).collect();
        let empty = Rollout::default();
        let before: Vec<&Rollout> = references
            .iter()
            .map(|reference| snapshot.rollouts.get(reference).map_or(&empty, AsRef::as_ref))
            .collect();
        let failed = failures(cases, &references);
        found.count(cases, &before, &failed);
        found.keep_bars(resources, &before);
        for (place, items) in found.items.iter_mut().enumerate() {
            let baseline = resources.packages[place];
            let most = baseline.rollout.max_failures.floor_of(tally.package_baseline(place).machines);
            for (item, progress) in items {
                progress.failed = failed[place].get(item).copied().unwrap_or(0);
                let barred = before[place].items.get(item).and_then(|before| before.barred);
                progress.barred = barred.or((progress.failed > most).then_some(snapshot.now));
            }
            found.max_failures.push(most);
        }
        found
    }

    /// Counts the machines of each item; only what some machine lacks, has failed or had to get is an item at all.
    fn count(&mut self, cases: &[Case<'_>], before: &[&Rollout], failed: &[BTreeMap<Item, usize>]) {
        let mut evaluations = Vec::new();
        for case in
            cases.iter().filter(|case| case.counts() && !matches!(case.hearing, Hearing::Absent { .. }))
        {
            let machines = &case.evaluation.machines;
            if machines.get() == 0 {
                evaluations.push(case);
            }
            machines.set(machines.get() + 1);
        }
        for reached in [false, true] {
            for case in &evaluations {
                for (requirement, judged) in case.merged.enforced.iter().zip(&case.evaluation.judged) {
                    let Some((item, done)) = item_of(requirement, judged) else { continue };
                    if done != reached {
                        continue;
                    }
                    for place in &requirement.by {
                        let known = self.items[*place].contains_key(&item)
                            || before[*place].items.contains_key(&item)
                            || failed[*place].contains_key(&item);
                        if done && !known {
                            continue;
                        }
                        let progress = self.items[*place].entry(item.clone()).or_default();
                        progress.wanted += case.evaluation.machines.get();
                        progress.done += if done { case.evaluation.machines.get() } else { 0 };
                    }
                }
            }
        }
    }

    /// A bar outlives a moment in which no machine can be said to want the item (its inventory is on its way, say): it
    /// stays while the baseline would still take the item, and no machine wants another one instead.
    fn keep_bars(&mut self, resources: &Resources<'_>, before: &[&Rollout]) {
        for (place, items) in self.items.iter_mut().enumerate() {
            for item in before[place]
                .items
                .iter()
                .filter(|(_, progress)| progress.barred.is_some())
                .map(|(item, _)| item)
            {
                let baseline = resources.packages[place];
                let upgrades = baseline.upgrades.is_some_and(|policy| policy > UpgradePolicy::None);
                let named = baseline.packages.iter().any(|asked| {
                    asked.name == item.package.name
                        && match &item.target {
                            Target::Version(version) => {
                                asked.state == PackageWish::Present && asked.version.satisfied_by(version)
                            }
                            Target::Absent => asked.state == PackageWish::Absent,
                        }
                });
                let takes = named || (upgrades && item.target != Target::Absent);
                let replaced = items.iter().any(|(other, progress)| {
                    other.package == item.package
                        && other.target != item.target
                        && progress.done < progress.wanted
                });
                if takes && !replaced {
                    items.entry(item.clone()).or_default();
                }
            }
        }
    }

    /// Why a requirement's target may not be gone for, if so.
    pub(crate) fn barred(
        &self,
        resources: &Resources<'_>,
        requirement: &Requirement,
        judged: &Judged,
    ) -> Option<Reason> {
        let (item, _) = item_of(requirement, judged)?;
        requirement.by.iter().find_map(|place| {
            let progress = self.items[*place].get(&item)?;
            progress.barred?;
            let baseline = resources.packages[*place].reference();
            Some(Reason::Barred {
                baseline,
                failed: progress.failed,
                max_failures: self.max_failures[*place],
            })
        })
    }

    /// As recorded: one for each package baseline that has items, and an empty one where there was one.
    pub(crate) fn record(
        self,
        snapshot: &Snapshot,
        resources: &Resources<'_>,
    ) -> BTreeMap<BaselineRef, Rollout> {
        let references = resources.packages.iter().map(|baseline| baseline.reference());
        let all = references.zip(self.items).map(|(reference, items)| (reference, Rollout { items }));
        all.filter(|(reference, rollout)| {
            !rollout.items.is_empty() || snapshot.rollouts.contains_key(reference)
        })
        .collect()
    }
}

/// A requirement's item on a machine, and whether the machine has it.
fn item_of(requirement: &Requirement, judged: &Judged) -> Option<(Item, bool)> {
    let (target, done) = match &judged.outcome {
        Outcome::Change(target) => (target.clone(), false),
        Outcome::Met | Outcome::Hold => (judged.installed.clone(), true),
        Outcome::Repair => (judged.installed.clone(), false),
        Outcome::NotCovered | Outcome::Blocked(_) => return None,
    };
    let target = match (target, requirement.wish) {
        (Some(version), PackageWish::Present) => Target::Version(version),
        (None, PackageWish::Absent) => Target::Absent,
        (None, PackageWish::Present) | (Some(_), PackageWish::Absent) => return None,
    };
    Some((Item { package: requirement.key.clone(), target }, done))
}

/// For each baseline, the machines that failed each item at least once (rule O3).
fn failures(cases: &[Case<'_>], references: &[BaselineRef]) -> Vec<BTreeMap<Item, usize>> {
    let mut failed = vec![BTreeMap::new(); references.len()];
    for case in cases.iter().filter(|case| !case.history.all.is_empty()) {
        let mut seen: BTreeSet<(usize, Item)> = BTreeSet::new();
        for activity in
            case.history.newest_first().filter(|one| one.spec.name.number > case.machine.retried_through)
        {
            for place in &case.picked.packages {
                for (package, version) in failed_items(activity, &references[*place]) {
                    let target = version.map_or(Target::Absent, |version| Target::Version(version.clone()));
                    seen.insert((*place, Item { package: package.clone(), target }));
                }
            }
        }
        for (place, item) in seen {
            *failed[place].entry(item).or_insert(0) += 1;
        }
    }
    failed
}
