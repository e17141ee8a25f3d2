//! What comes first: among machines that could start, and among the verdicts of one machine (rules O6, S4).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use muster_model::{ActivitySpec, BaselineRef, MachineName, ObjectName, Reason, Unknown, Verdict, WaitingOn};

use crate::select::Resources;

/// A hash that stays the same for ever (FNV-1a), so that the same machines go first in every plan, and not those whose
/// names come first.
pub(crate) fn stable_hash(machine: &MachineName) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    machine.as_str().bytes().fold(BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

/// A machine's mark: sums of them tell sets of machines apart, also of such as are called alike.
pub(crate) fn mark(machine: &MachineName) -> u64 {
    // The last steps of MurmurHash3, after which each bit depends on each.
    let hash = stable_hash(machine);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// The baselines' ranks by which turns are taken: the highest priority first, then the name (rule O6).
#[derive(Debug, Default)]
pub(crate) struct Ranks(BTreeMap<BaselineRef, usize>);

impl Ranks {
    pub(crate) fn of(resources: &Resources<'_>) -> Self {
        let all: Vec<(Reverse<i32>, BaselineRef)> =
            resources.packages.iter().map(|one| (Reverse(one.common.priority), one.reference())).collect();
        // What is called the same, of two kinds, has the same rank.
        let ranks: BTreeSet<(Reverse<i32>, &ObjectName)> =
            all.iter().map(|(priority, reference)| (*priority, &reference.name)).collect();
        let ranks: BTreeMap<(Reverse<i32>, &ObjectName), usize> =
            ranks.into_iter().enumerate().map(|(rank, key)| (key, rank)).collect();
        Self(all.iter().map(|(priority, one)| (one.clone(), ranks[&(*priority, &one.name)])).collect())
    }

    /// That of the baseline that decides an activity's turn, of those that it serves.
    pub(crate) fn first_served(&self, spec: &ActivitySpec) -> Option<usize> {
        let served = spec.steps.iter().flat_map(|step| step.baselines.keys());
        served.filter_map(|baseline| self.0.get(baseline).copied()).min()
    }
}

/// How soon a verdict should be looked at: the least is the machine's (rule S4).
///
/// What happens now comes first; then what a person can mend, since waiting does not; then waiting for what a person
/// switched off; then waiting that ends by itself; then drift that is merely observed.
pub(crate) fn rank(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Start(_) => 0,
        Verdict::Active { .. } => 1,
        Verdict::Blocked(reason) => match reason {
            Reason::SelectorUnreadable { .. } => 2,
            Reason::Conflicted { .. }
            | Reason::Unsatisfiable { .. }
            | Reason::DowngradeNotAllowed { .. }
            | Reason::RemovalNotAllowed { .. }
            | Reason::Held { .. }
            | Reason::Contradicts { .. }
            | Reason::SimulationRefused { .. }
            | Reason::NotCapable { .. }
            | Reason::NoKernel { .. }
            | Reason::KernelInUse { .. }
            | Reason::RebootIneffective => 3,
            Reason::Stalled { .. }
            | Reason::Barred { .. }
            | Reason::NoEvidence { .. }
            | Reason::BudgetIsZero { .. } => 4,
            Reason::RefusedRepeatedly { .. } => 5,
            Reason::ObserveOnly => 10,
        },
        Verdict::Waiting(on) => match on {
            WaitingOn::WindowUnreadable { .. }
            | WaitingOn::Suspended { .. }
            | WaitingOn::PausedByPerson { .. }
            | WaitingOn::ManualReboot { .. }
            | WaitingOn::Approval { .. } => 6,
            WaitingOn::Silent { .. }
            | WaitingOn::Backoff { .. }
            | WaitingOn::Retry { .. }
            | WaitingOn::BootLimit { .. } => 7,
            WaitingOn::WindowClosed { .. }
            | WaitingOn::Frozen { .. }
            | WaitingOn::WindowTooShort { .. }
            | WaitingOn::CutoffReached { .. }
            | WaitingOn::Budget { .. }
            | WaitingOn::MaxUnavailable { .. }
            | WaitingOn::Wave { .. }
            | WaitingOn::Soaking { .. }
            | WaitingOn::Zone { .. }
            | WaitingOn::Applying => 8,
            WaitingOn::Inventory { .. }
            | WaitingOn::Proposal
            | WaitingOn::Report
            | WaitingOn::Activity { .. } => 9,
        },
        Verdict::Unknown(Unknown::NeverReported | Unknown::Stale { .. } | Unknown::Absent { .. }) => 11,
        Verdict::Converged => 12,
        Verdict::Unmanaged(_) => 13,
    }
}
