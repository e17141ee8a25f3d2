//! Which machines failed which items (rule O3).

use std::collections::BTreeMap;

use muster_model::{Activity, BaselineRef, Instant, Item, Phase, Target};

use crate::attempts::failed_items;
use crate::case::Case;

/// The machines that failed an item, by their place, and when each did last.
pub(crate) type Failures = BTreeMap<usize, Instant>;

/// What one machine failed, for which baseline (a number), and when it did last. Attempts that `muster retry` set aside
/// are none.
pub(crate) fn failures(case: &Case<'_>, references: &[BaselineRef]) -> BTreeMap<(usize, Item), Instant> {
    let mut failed = BTreeMap::new();
    let all = case.history.newest_first();
    let failed_since =
        |one: &&Activity| one.phase == Phase::Failed && one.spec.name.number > case.machine.retried_through;
    for activity in all.filter(failed_since) {
        for place in &case.picked.packages {
            for (package, version) in failed_items(activity, &references[*place]) {
                let target = version.map_or(Target::Absent, |version| Target::Version(version.clone()));
                let at = activity.finished.unwrap_or(activity.created);
                let item = Item { package: package.clone(), target };
                let latest = failed.entry((*place, item)).or_insert(at);
                *latest = at.max(*latest);
            }
        }
    }
    failed
}
