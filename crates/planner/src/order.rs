//! What comes first: among machines that could start, and among the verdicts of one machine (rules O6, S4).

use std::cmp::Reverse;

use muster_model::{
    ActivitySpec, BaselineKind, MachineName, ObjectName, Reason, Snapshot, Unknown, Verdict, WaitingOn,
};

/// A hash that stays the same for ever (FNV-1a), so that the same machines go first in every plan, and not those whose
/// names come first.
pub(crate) fn stable_hash(machine: &MachineName) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    machine.as_str().bytes().fold(BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

/// Of the baselines that an activity serves the one that decides its turn: the highest priority, then the name (rule O6).
pub(crate) fn first_served(snapshot: &Snapshot, spec: &ActivitySpec) -> Option<(Reverse<i32>, ObjectName)> {
    let served = spec.steps.iter().flat_map(|step| step.baselines.keys());
    let turns = served.map(|baseline| {
        let priority = match baseline.kind {
            BaselineKind::PackageBaseline => {
                snapshot.package_baselines.get(&baseline.name).map(|one| one.common.priority)
            }
            BaselineKind::KernelBaseline => {
                snapshot.kernel_baselines.get(&baseline.name).map(|one| one.common.priority)
            }
        };
        (Reverse(priority.unwrap_or(0)), baseline.name.clone())
    });
    turns.min()
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
