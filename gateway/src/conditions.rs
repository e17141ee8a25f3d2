//! Conditions as lists of maps: one entry for each type, whose transition time moves with its status only.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Sets a condition; returns whether anything changed.
pub(crate) fn set(
    conditions: &mut Vec<Condition>,
    type_: &str,
    status: bool,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> bool {
    let status = if status { "True" } else { "False" };
    if let Some(old) = conditions.iter_mut().find(|condition| condition.type_ == type_) {
        if old.status == status && old.reason == reason && old.message == message {
            return false;
        }
        if old.status != status {
            old.last_transition_time = Time(now);
        }
        status.clone_into(&mut old.status);
        reason.clone_into(&mut old.reason);
        message.clone_into(&mut old.message);
        return true;
    }
    conditions.push(new(type_, status, reason, message, now));
    true
}

/// A condition that is true.
pub(crate) fn new(type_: &str, status: &str, reason: &str, message: &str, now: Timestamp) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: Time(now),
        observed_generation: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_of_status_moves_the_transition_time() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut conditions = Vec::new();
        assert!(set(&mut conditions, "Complete", false, "Pending", "", at(1)));
        assert!(!set(&mut conditions, "Complete", false, "Pending", "", at(2)));
        assert!(set(&mut conditions, "Complete", false, "Pending", "step 2 of 3", at(3)));
        assert_eq!(conditions[0].last_transition_time.0, at(1));
        assert!(set(&mut conditions, "Complete", true, "Succeeded", "", at(4)));
        assert_eq!((conditions.len(), conditions[0].last_transition_time.0), (1, at(4)));
    }
}
