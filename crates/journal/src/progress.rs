//! What is told to the gateway.

use muster_model::{ActivityName, OutcomeReason, Phase, Uid};

use crate::Moment;
use crate::activity::{Record, Stage};

/// The longest message that is reported, in bytes: what people read, not a log.
pub const MESSAGE_LIMIT: usize = 2048;

/// How far an activity is: the whole of it each time, so that a lost message costs nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The activity.
    pub name: ActivityName,
    /// Its uid.
    pub uid: Uid,
    /// `Running`, `Verifying` or an end.
    pub phase: Phase,
    /// By step, as far as begun.
    pub steps: Vec<StepTimes>,
    /// Why it ended, unless it succeeded.
    pub outcome: Option<OutcomeReason>,
    /// For people.
    pub message: String,
}

/// When a step began and ended, in microseconds before now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepTimes {
    /// It began so long ago.
    pub started_micros_ago: u64,
    /// It ended so long ago; absent: it runs.
    pub completed_micros_ago: Option<u64>,
}

impl Progress {
    pub(crate) fn of(record: &Record, now: &Moment) -> Self {
        let steps = record.steps.iter().map(|step| StepTimes {
            started_micros_ago: step.started.micros_until(now),
            completed_micros_ago: step.completed.as_ref().map(|end| end.micros_until(now)),
        });
        let (outcome, message) = match &record.stage {
            Stage::Finished { phase: _, outcome, message } => (*outcome, message.clone()),
            Stage::Step { .. } | Stage::Verifying { .. } => (None, String::new()),
        };
        Self {
            name: record.offer.name.clone(),
            uid: record.offer.uid.clone(),
            phase: record.phase(),
            steps: steps.collect(),
            outcome,
            message,
        }
    }
}

/// The text, cut to [`MESSAGE_LIMIT`]: its end is kept, since that is where programs say why they gave up.
pub(crate) fn bounded(mut message: String) -> String {
    if message.len() > MESSAGE_LIMIT {
        let mut cut = message.len() - (MESSAGE_LIMIT - "…".len());
        while !message.is_char_boundary(cut) {
            cut += 1;
        }
        message.replace_range(..cut, "…");
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_message_the_end_is_kept() {
        assert_eq!(bounded("short".into()), "short");
        let long = bounded(format!("{}the reason", "ä".repeat(2000)));
        assert!(
            long.len() <= MESSAGE_LIMIT && long.starts_with('…') && long.ends_with("the reason"),
            "{long}"
        );
    }
}
