//! Conditions, folded once at the end of a pass (style 9): only a change of status moves the transition time.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The longest message that Kubernetes lets a condition have is 32 KiB; ours are sentences.
const MESSAGE_LIMIT: usize = 1024;

/// What a pass found out about one condition.
#[derive(Debug)]
pub(crate) struct Finding {
    /// The condition's type, from `muster_crds::names::condition`.
    pub(crate) kind: &'static str,
    /// True, false, or not known.
    pub(crate) holds: Option<bool>,
    /// A CamelCase reason.
    pub(crate) reason: String,
    /// For people.
    pub(crate) message: String,
}

impl Finding {
    /// A finding.
    pub(crate) fn new(
        kind: &'static str,
        holds: Option<bool>,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { kind, holds, reason: reason.into(), message: message.into() }
    }
}

/// The conditions that follow from the old ones and what was found. A condition that nobody found any more vanishes.
pub(crate) fn fold(
    old: &[Condition],
    found: Vec<Finding>,
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let mut new: Vec<Condition> = found
        .into_iter()
        .map(|finding| {
            let status = match finding.holds {
                Some(true) => "True",
                Some(false) => "False",
                None => "Unknown",
            };
            let before =
                old.iter().find(|condition| condition.type_ == finding.kind && condition.status == status);
            let mut message = finding.message;
            if message.len() > MESSAGE_LIMIT {
                let cut = (0..=MESSAGE_LIMIT).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
                message.truncate(cut);
            }
            Condition {
                type_: finding.kind.to_owned(),
                status: status.to_owned(),
                reason: finding.reason,
                message,
                observed_generation: Some(generation),
                last_transition_time: before
                    .map_or_else(|| Time(whole_seconds(now)), |before| before.last_transition_time.clone()),
            }
        })
        .collect();
    new.sort_by(|a, b| a.type_.cmp(&b.type_));
    new
}

/// The next whole second: what RFC 3339 times in resources hold. Never earlier than the instant, so that nothing is
/// promised before it can be.
pub(crate) fn whole_seconds(at: Timestamp) -> Timestamp {
    let up = i64::from(at.subsec_nanosecond() > 0);
    Timestamp::from_second(at.as_second() + up).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_of_status_moves_the_transition_time() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let finding = |holds, reason: &str| vec![Finding::new("Ready", Some(holds), reason, "")];
        let first = fold(&[], finding(false, "Waiting"), 1, at(10));
        let second = fold(&first, finding(false, "Blocked"), 2, at(20));
        assert_eq!(second[0].last_transition_time, Time(at(10)));
        assert_eq!((second[0].reason.as_str(), second[0].observed_generation), ("Blocked", Some(2)));
        let third = fold(&second, finding(true, "Converged"), 2, at(30));
        assert_eq!(third[0].last_transition_time, Time(at(30)));
        assert!(fold(&third, Vec::new(), 2, at(40)).is_empty(), "what nobody finds any more vanishes");
    }
}
