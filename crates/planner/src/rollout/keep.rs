//! What stays on record of items (rules O2, O3, O4).

use std::collections::BTreeMap;

use muster_model::{Instant, Item, ItemProgress, PackageKey, PackageWish, Rollout, Target, UpgradePolicy};

use crate::baseline::Baseline;

/// How many items of one package are remembered that no machine wants now: the last released target and the one before
/// it (which comes back when the last is barred), and what is on its way while its machines' inventories are.
const REMEMBERED: usize = 3;

/// An item's record, with counts to be taken anew.
pub(crate) fn fresh(before: &Rollout, item: &Item, now: Instant) -> ItemProgress {
    let known = before.items.get(item).cloned().unwrap_or_default();
    ItemProgress { wanted: 0, done: 0, failed: 0, seen: known.seen.or(Some(now)), ..known }
}

/// The items about one package.
pub(crate) fn of_package<'a>(
    items: &'a BTreeMap<Item, ItemProgress>,
    package: &PackageKey,
) -> impl Iterator<Item = (&'a Item, &'a ItemProgress)> + use<'a> {
    let from = Item { package: package.clone(), target: Target::Absent };
    let package = package.clone();
    items.range(from..).take_while(move |(item, _)| item.package == package)
}

/// Adds what is to be remembered though no machine wants it at the moment.
pub(crate) fn keep(
    baseline: &Baseline<'_>,
    before: &Rollout,
    now: Instant,
    items: &mut BTreeMap<Item, ItemProgress>,
) {
    let unwanted: Vec<&Item> = before.items.keys().filter(|item| !items.contains_key(item)).collect();
    let mut remembered: BTreeMap<&PackageKey, Vec<&Item>> = BTreeMap::new();
    let mut kept: Vec<&Item> = Vec::new();
    for item in unwanted {
        let progress = &before.items[item];
        if progress.barred.is_some() {
            if takes(baseline, item) && !is_replaced(items, item) {
                kept.push(item);
            }
        } else if progress.released.is_some() || (takes(baseline, item) && has_begun(progress)) {
            remembered.entry(&item.package).or_default().push(item);
        }
    }
    for mut of_package in remembered.into_values() {
        of_package.sort_by_key(|item| {
            let progress = &before.items[*item];
            std::cmp::Reverse((progress.released, progress.seen, &item.target))
        });
        kept.extend(of_package.into_iter().take(REMEMBERED));
    }
    for item in kept {
        items.insert(item.clone(), fresh(before, item, now));
    }
}

/// Whether the baseline, as it is, could ask for the item.
fn takes(baseline: &Baseline<'_>, item: &Item) -> bool {
    // Any upgrade may be asked for, where upgrades are.
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
    named || (upgrades && item.target != Target::Absent)
}

/// A bar outlives a moment in which no machine can be said to want the item (its inventory is on its way, say), but not
/// another item that machines want instead.
fn is_replaced(items: &BTreeMap<Item, ItemProgress>, item: &Item) -> bool {
    items.iter().any(|(other, progress)| {
        other.package == item.package && other.target != item.target && progress.done < progress.wanted
    })
}

/// Whether something is on record that must not be lost.
fn has_begun(progress: &ItemProgress) -> bool {
    let marked = progress.approved.is_some() || progress.resumed.is_some();
    marked || progress.waves.values().any(|wave| wave.passed.is_some() || wave.zone.is_some())
}
