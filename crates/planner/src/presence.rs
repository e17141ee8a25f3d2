//! Is the machine heard, and does its report still say anything (rules B2, B4, M1)?

use jiff::SignedDuration;
use muster_model::{Instant, Machine, Policy, Presence, Unknown};

use crate::timer::{Timer, after};

/// How well a machine is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hearing {
    /// It never reported.
    Never,
    /// It is heard now.
    Heard,
    /// It is not heard now, though not long enough to count.
    Quiet { last_heard: Instant },
    /// Silent for `unreachableAfter`: it counts as unavailable (rule B2).
    Silent { last_heard: Instant },
    /// Silent for `absentAfter` (rule B4).
    Absent { last_heard: Instant },
}

pub(crate) fn hearing(machine: &Machine, policy: &Policy, timer: &Timer) -> Hearing {
    if machine.reported.is_none() {
        return Hearing::Never;
    }
    match machine.presence {
        Presence::Never => Hearing::Never,
        Presence::Present => Hearing::Heard,
        Presence::Silent { last_heard, counted_from } => {
            if timer.reached(after(counted_from, policy.absent_after)) {
                Hearing::Absent { last_heard }
            } else if timer.reached(after(counted_from, policy.unreachable_after)) {
                Hearing::Silent { last_heard }
            } else {
                Hearing::Quiet { last_heard }
            }
        }
    }
}

impl Hearing {
    /// Why nothing can be said of the machine, if that is so (rule M1).
    pub(crate) fn unknown(self, policy: &Policy, timer: &Timer) -> Option<Unknown> {
        match self {
            Self::Never => Some(Unknown::NeverReported),
            Self::Heard => None,
            Self::Absent { last_heard } => Some(Unknown::Absent { last_heard }),
            Self::Quiet { last_heard } | Self::Silent { last_heard } => {
                // Older than: at exactly that age it still holds.
                let stale = after(after(last_heard, policy.freshness), SignedDuration::from_nanos(1));
                timer.reached(stale).then_some(Unknown::Stale { last_heard })
            }
        }
    }
}
