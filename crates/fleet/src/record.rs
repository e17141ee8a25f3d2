//! What is recorded about a machine, and when a changed total is worth a write.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_model::{ActivityName, Digest, Instant, Machine, MachinePlan, PackageKey, UnitName};
use smol_str::SmolStr;

/// The decision about one machine as its status records it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Verdict, requirements, wanted set.
    pub plan: Arc<MachinePlan>,
    /// The wanted set's digest.
    pub wanted_digest: Digest,
    /// The activity under way.
    pub current_activity: Option<ActivityName>,
    /// The highest activity number ever used for it (rule A1).
    pub highest_number: u64,
    /// Holds that are ours (rule V6): on record before they are set.
    pub holds: BTreeSet<PackageKey>,
    /// When it first converged.
    pub first_converged: Option<Instant>,
    /// The revision that the decision was made from.
    pub revision: Option<SmolStr>,
    /// Whether the machine is heard and its report fresh.
    pub reporting: bool,
    /// The units by which it is unhealthy (rule B2).
    pub failed_units: BTreeSet<UnitName>,
}

impl Decision {
    /// Whether the two would be recorded alike. Another revision alone is no reason to write every machine.
    pub(crate) fn records_like(&self, other: &Self) -> bool {
        let Self {
            plan,
            wanted_digest,
            current_activity,
            highest_number,
            holds,
            first_converged,
            revision: _,
            reporting,
            failed_units,
        } = self;
        plan.records_like(&other.plan)
            && (wanted_digest, current_activity, highest_number)
                == (&other.wanted_digest, &other.current_activity, &other.highest_number)
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
