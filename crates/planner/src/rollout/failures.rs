//! Which machines failed which items (rule O3).

use std::collections::BTreeMap;

use muster_model::{BaselineRef, Instant, Item, Target};

use crate::attempts::failed_items;
use crate::case::Case;

/// The machines that failed an item, by their place, and when each did last.
pub(crate) type Failures = BTreeMap<usize, Instant>;

/// Of each baseline, by item. Attempts that `muster retry` set aside are none.
pub(crate) fn failures(cases: &[Case<'_>], references: &[BaselineRef]) -> Vec<BTreeMap<Item, Failures>> {
    let mut failed = vec![BTreeMap::new(); references.len()];
    for case in cases.iter().filter(|case| !case.history.all.is_empty()) {
        for activity in
            case.history.newest_first().filter(|one| one.spec.name.number > case.machine.retried_through)
        {
            for place in &case.picked.packages {
                for (package, version) in failed_items(activity, &references[*place]) {
                    let target = version.map_or(Target::Absent, |version| Target::Version(version.clone()));
                    let at = activity.finished.unwrap_or(activity.created);
                    let machines: &mut Failures =
                        failed[*place].entry(Item { package: package.clone(), target }).or_default();
                    let latest = machines.entry(case.place).or_insert(at);
                    *latest = at.max(*latest);
                }
            }
        }
    }
    failed
}
