//! What is recorded about a machine, and when a changed total is worth a write.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_model::{
    Instant, Machine, MachinePlan, PackageKey, Presence, Reported, Shared, UnitName, Unknown, Verdict,
    failed_since,
};
use smol_str::SmolStr;

use crate::State;

/// The decision about one machine as its status records it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Verdict, requirements, wanted set.
    pub plan: Arc<MachinePlan>,
    /// The number of the activity under way.
    pub current_activity: Option<u64>,
    /// The highest activity number ever used for it (rule A1).
    pub highest_number: u64,
    /// Holds that are ours (rule V6): on record before they are set.
    pub holds: Shared<BTreeSet<PackageKey>>,
    /// When it first converged.
    pub first_converged: Option<Instant>,
    /// The revision that the decision was made from.
    pub revision: Option<SmolStr>,
    /// Whether the machine is heard and its report fresh.
    pub reporting: bool,
    /// The units by which it is unhealthy (rule B2).
    pub failed_units: Shared<BTreeSet<UnitName>>,
}

impl Decision {
    /// Whether the two would be recorded alike. Another revision alone is no reason to write every machine.
    pub(crate) fn records_like(&self, other: &Self) -> bool {
        let Self {
            plan,
            current_activity,
            highest_number,
            holds,
            first_converged,
            revision: _,
            reporting,
            failed_units,
        } = self;
        plan.records_like(&other.plan)
            && (current_activity, highest_number) == (&other.current_activity, &other.highest_number)
            && (holds, first_converged, reporting, failed_units)
                == (&other.holds, &other.first_converged, &other.reporting, &other.failed_units)
    }
}

/// Totals are recorded at most so often for each object: a fleet in motion changes them with every machine.
pub(crate) const TOTALS_EVERY: jiff::SignedDuration = jiff::SignedDuration::from_secs(1);

/// Estimates are recorded at most so often: every machine that ends moves a percentile a little.
pub(crate) const ESTIMATES_EVERY: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

/// The highest number that is known to have been used for the machine.
pub(crate) fn highest_number(machine: &Machine, activities: impl Iterator<Item = u64>) -> u64 {
    let told = machine.reported.as_ref().map_or(0, |reported| reported.report.last_activity);
    activities.chain([machine.last_number, told]).max().unwrap_or(0)
}

/// What is to be recorded of a machine, given its plan: `decided` is what was planned, `plan` what is shown of it.
pub(crate) fn decision(
    state: &State,
    machine: &Machine,
    plan: Arc<MachinePlan>,
    decided: &MachinePlan,
    current_activity: Option<u64>,
    now: Instant,
) -> Decision {
    let known =
        state.machines.get(&machine.name).and_then(|old| old.first_converged).or(machine.first_converged);
    let converged = matches!(plan.verdict, Verdict::Converged);
    // A hold leaves the record only when the machine shows that it is gone (style 10).
    let mut holds = decided.holds.clone();
    for hold in machine.holds.iter().filter(|hold| is_held(state, machine, hold)) {
        if !holds.contains(hold) {
            holds.insert(hold.clone());
        }
    }
    let reporting = matches!(machine.presence, Presence::Present)
        || !matches!(
            plan.verdict,
            Verdict::Unknown(Unknown::NeverReported | Unknown::Stale { .. } | Unknown::Absent { .. })
        ) && machine.reported.is_some();
    Decision {
        current_activity,
        highest_number: machine.last_number,
        holds,
        first_converged: known.or_else(|| converged.then_some(now)),
        revision: state.world.revision.clone(),
        reporting,
        failed_units: failed_units(state, machine),
        plan,
    }
}

fn is_held(state: &State, machine: &Machine, package: &PackageKey) -> bool {
    let inventory = machine
        .reported
        .as_ref()
        .and_then(|reported| state.world.inventories.get(&reported.report.inventory));
    inventory.is_none_or(|inventory| inventory.holds(package))
}

/// The units by which a machine is unhealthy (rule B2): that failed and that one of its baselines names, or that failed since
/// our last activity.
fn failed_units(state: &State, machine: &Machine) -> Shared<BTreeSet<UnitName>> {
    let Some(Reported { report, .. }) = &machine.reported else { return Shared::default() };
    // Of most machines there is no more to say.
    if report.failed_units.is_empty() {
        return report.failed_units.clone();
    }
    let newest_first = state.world.activities_of(&machine.name).rev().map(AsRef::as_ref);
    let since = failed_since(newest_first, machine, report);
    let baselines = state.world.package_baselines.values();
    let named = baselines
        .filter(|baseline| baseline.common.selector.matches(|key| machine.label(key)))
        .flat_map(|baseline| baseline.health.units.intersection(&report.failed_units));
    since.chain(named).cloned().collect()
}
