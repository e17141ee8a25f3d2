//! What of a verdict may be recorded: no count that lives elsewhere (design §4).
//!
//! A budget's count changes with every machine that starts or ends; written into each waiting machine's status, one
//! change would be a write for each of them. So the record names the blocker, whose own status has the numbers.

use crate::explain::zone_named;
use crate::{MachinePlan, Reason, RequirementVerdict, Verdict, WaitingOn};

impl Verdict {
    /// The message to record: as [`message`](Self::message), without counts that change.
    #[must_use]
    pub fn lasting_message(&self) -> String {
        match self {
            Self::Waiting(WaitingOn::Budget { budget, .. }) => {
                format!("budget {budget} has no place left: its status says how many are unavailable")
            }
            Self::Waiting(WaitingOn::MaxUnavailable { baseline, .. }) => {
                format!("{baseline} has no place left: its status says how many are unavailable")
            }
            Self::Waiting(WaitingOn::Wave { baseline, wave, .. }) => {
                format!("wave {wave} of {baseline} is first: its rollout says how many machines have it")
            }
            Self::Waiting(WaitingOn::Zone { baseline, zone, .. }) => {
                format!("{} of {baseline} is first", zone_named(zone))
            }
            Self::Blocked(Reason::NoEvidence { baseline, wave, .. }) => {
                format!("paused: wave {wave} of {baseline} has no machine that can show whether it works")
            }
            Self::Converged
            | Self::Start(_)
            | Self::Active { .. }
            | Self::Waiting(_)
            | Self::Blocked(_)
            | Self::Unmanaged(_)
            | Self::Unknown(_) => self.message(),
        }
    }

    /// Whether the two would be recorded alike.
    #[must_use]
    pub fn records_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Waiting(one), Self::Waiting(other)) => one.records_like(other),
            (
                Self::Blocked(Reason::NoEvidence { baseline, wave, machines: _ }),
                Self::Blocked(Reason::NoEvidence { baseline: other, wave: other_wave, machines: _ }),
            ) => (baseline, wave) == (other, other_wave),
            (one, other) => one == other,
        }
    }
}

impl WaitingOn {
    fn records_like(&self, other: &Self) -> bool {
        match (self, other) {
            // Neither count: of a percentage the limit, too, changes with every few machines that enrol.
            (
                Self::Budget { budget, max_unavailable: _, unavailable: _ },
                Self::Budget { budget: other, max_unavailable: _, unavailable: _ },
            ) => budget == other,
            (
                Self::MaxUnavailable { baseline, max_unavailable: _, unavailable: _ },
                Self::MaxUnavailable { baseline: other, max_unavailable: _, unavailable: _ },
            ) => baseline == other,
            (
                Self::Wave { baseline, wave, done: _, wanted: _ },
                Self::Wave { baseline: other, wave: other_wave, done: _, wanted: _ },
            ) => (baseline, wave) == (other, other_wave),
            (
                Self::Zone { baseline, zone, until, done: _, wanted: _ },
                Self::Zone { baseline: other, zone: other_zone, until: other_until, done: _, wanted: _ },
            ) => (baseline, zone, until) == (other, other_zone, other_until),
            (one, other) => one == other,
        }
    }
}

impl RequirementVerdict {
    /// Whether the two would be recorded alike.
    #[must_use]
    pub fn records_like(&self, other: &Self) -> bool {
        let Self { baseline, resource, verdict, installed, target } = self;
        verdict.records_like(&other.verdict)
            && (baseline, resource, installed, target)
                == (&other.baseline, &other.resource, &other.installed, &other.target)
    }
}

impl MachinePlan {
    /// Whether the two would be recorded alike.
    #[must_use]
    pub fn records_like(&self, other: &Self) -> bool {
        let Self { verdict, requirements, total, wanted, holds } = self;
        verdict.records_like(&other.verdict)
            && (total, wanted, holds) == (&other.total, &other.wanted, &other.holds)
            && requirements.len() == other.requirements.len()
            && requirements.iter().zip(&other.requirements).all(|(one, other)| one.records_like(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ObjectName;

    // rule: S4
    #[test]
    fn a_count_that_changes_is_not_recorded_with_every_machine_that_waits() {
        let waiting = |unavailable| {
            let budget = ObjectName::parse("etcd").unwrap();
            Verdict::Waiting(WaitingOn::Budget { budget, unavailable, max_unavailable: unavailable })
        };
        assert!(waiting(2).records_like(&waiting(3)));
        assert_eq!(waiting(2).lasting_message(), waiting(3).lasting_message());
        assert_ne!(waiting(2).message(), waiting(3).message());
        assert!(!waiting(2).records_like(&Verdict::Converged));
    }
}
