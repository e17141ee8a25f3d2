//! Whether a machine is healthy (rule B2): no unit has failed that one of its baselines names, and none since the last
//! activity that changed something there.

use std::collections::BTreeSet;

use muster_model::{Instant, MachineName, UnitName};

use crate::event::Report;
use crate::world::{ActivityState, FailedUnits, MachineState, World};

/// A unit has failed that counts, by each report that may be the last that was seen.
pub(crate) fn is_unhealthy(world: &World, name: &MachineName, machine: &MachineState, at: Instant) -> bool {
    let last = last_change(world, name, machine, at, Known::Surely);
    let since = |report: &Report| {
        let before = last.and_then(|last| last.failed_units.as_ref());
        before.is_some_and(|before| !report.failed_units.is_subset(&before.maybe))
    };
    let named = |report: &Report| {
        world.baselines.iter().any(|(_, kept)| {
            let versions = kept.possible(at, world.lag);
            versions.iter().all(|baseline| {
                baseline.is_some_and(|baseline| {
                    !baseline.units.is_disjoint(&report.failed_units)
                        && machine.surely(&baseline.selector, at, world.lag)
                })
            })
        })
    };
    let reports = machine.report.possible(at, world.lag);
    reports.iter().all(|report| report.is_some_and(|report| named(report) || since(report)))
}

/// Likewise by some report that may be the last that was seen.
pub(crate) fn may_be_unhealthy(
    world: &World,
    name: &MachineName,
    machine: &MachineState,
    at: Instant,
) -> bool {
    let last = last_change(world, name, machine, at, Known::Perhaps);
    let since = |report: &Report| {
        let nothing = BTreeSet::new();
        last.is_some_and(|last| {
            let before = last.failed_units.as_ref().map_or(&nothing, |before| &before.surely);
            !report.failed_units.is_subset(before)
        })
    };
    let named = |report: &Report| {
        world.baselines.values().any(|kept| {
            let versions = kept.possible(at, world.lag);
            versions.into_iter().flatten().any(|baseline| {
                !baseline.units.is_disjoint(&report.failed_units)
                    && machine.maybe(&baseline.selector, at, world.lag)
            })
        })
    };
    let reports = machine.report.possible(at, world.lag);
    reports.into_iter().flatten().any(|report| named(report) || since(report))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Surely,
    Perhaps,
}

/// The last activity that changed something on the machine, unless a person resolved it.
fn last_change<'w>(
    world: &'w World,
    name: &MachineName,
    machine: &MachineState,
    at: Instant,
    known: Known,
) -> Option<&'w ActivityState> {
    let specs = machine.spec.possible(at, world.lag);
    let is_open = |activity: &ActivityState| {
        let mut open = specs.iter().map(|spec| {
            spec.is_some_and(|spec| {
                spec.uid == activity.spec.machine_uid && spec.resolved_through < activity.spec.name.number
            })
        });
        if known == Known::Surely { open.all(|open| open) } else { open.any(|open| open) }
    };
    let mut newest_first = world.history(name).rev();
    let last = newest_first.find(|activity| activity.phase.may_have_changed())?;
    is_open(last).then_some(last)
}

/// The units that had failed when an activity is made now: its maker saw one of the reports that may be the last.
pub(crate) fn failed_units(machine: &MachineState, at: Instant, lag: jiff::SignedDuration) -> FailedUnits {
    let reports = machine.report.possible(at, lag);
    let sets = || reports.iter().map(|report| report.map(|report| &report.failed_units));
    let maybe: BTreeSet<UnitName> = sets().flatten().flatten().cloned().collect();
    let surely = maybe.iter().filter(|unit| sets().all(|set| set.is_some_and(|set| set.contains(*unit))));
    FailedUnits { surely: surely.cloned().collect(), maybe }
}
