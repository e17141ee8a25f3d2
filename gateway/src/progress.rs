//! Results: how far an activity is, in the agent's words, folded into its status (rules A2, A4, A5).
//!
//! Each message has the whole of it, so losing or repeating one changes nothing. Phases never go back. What comes after
//! the activity was judged without the agent becomes a condition, and the machine's next report decides.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::ResourceExt;
use muster_crds::{Activity, ActivityStatus, ActivityStepStatus, names};
use muster_model::{ActivityName, Phase};
use muster_wire::{Progress, ProgressResponse, Reason};

use crate::conditions;
use crate::enroll::manager;
use crate::fleet::{Fleet, Record};
use crate::gateway::Core;
use crate::refusal::Refusal;

/// How often a write that met another is tried again.
const ATTEMPTS: usize = 8;

/// The longest message in a status and in a condition, in characters.
const MESSAGE_LIMIT: usize = 2048;
const CONDITION_LIMIT: usize = 1024;

impl Core {
    /// A machine says how far its activity is.
    pub(crate) async fn progress(
        &self,
        fleet: &Fleet,
        record: &Record,
        name: &ActivityName,
        progress: Progress,
    ) -> Result<ProgressResponse, Refusal> {
        let seen = record.admit()?;
        for _ in 0..ATTEMPTS {
            let mut activity = self.own_activity(fleet, record, name, &progress.uid.to_string()).await?;
            let now = (self.clock)();
            if seen.reported.as_ref().is_some_and(|reported| reported.session == progress.session) {
                fleet.presence.heard(&record.name, now);
            }
            let over =
                activity.status.as_ref().and_then(|status| status.phase).is_some_and(Phase::is_finished);
            let response = ProgressResponse { cancel: activity.spec.cancel || over };
            if !fold(&mut activity, &progress, now)? {
                return Ok(response);
            }
            match fleet.apis.activities.replace_status(&activity.name_any(), &manager(), &activity).await {
                Ok(written) => {
                    let phase = progress.phase.as_str();
                    tracing::info!(machine = %record.name, activity = %name, phase, outcome = ?progress.outcome, "progress");
                    fleet.activity_is(&written);
                    return Ok(response);
                }
                Err(kube::Error::Api(status)) if status.is_conflict() => {}
                Err(kube::Error::Api(status)) if status.is_invalid() => {
                    return Err(Refusal::bad_request(format!("the progress is refused: {}", status.message)));
                }
                Err(error) => return Err(Refusal::unavailable("the progress", &error)),
            }
        }
        Err(Refusal::new(Reason::Busy, "somebody else keeps writing this activity; try again"))
    }

    /// The activity as it is now, if it is this machine's and was delivered.
    pub(crate) async fn own_activity(
        &self,
        fleet: &Fleet,
        record: &Record,
        name: &ActivityName,
        uid: &str,
    ) -> Result<Activity, Refusal> {
        let not_yours = || Refusal::not_yours("this machine has no such activity");
        if name.machine != record.name {
            return Err(not_yours());
        }
        let activity = self.fresh_activity(fleet, &name.to_string()).await?.ok_or_else(not_yours)?;
        let is_mine = activity.uid().as_deref() == Some(uid) && activity.spec.machine_ref.uid == record.uid;
        let phase = activity.status.as_ref().and_then(|status| status.phase).unwrap_or(Phase::Pending);
        if is_mine && phase != Phase::Pending { Ok(activity) } else { Err(not_yours()) }
    }
}

/// Folds the agent's words into the status; returns whether anything changed.
fn fold(activity: &mut Activity, progress: &Progress, now: Timestamp) -> Result<bool, Refusal> {
    if rank(progress.phase) < rank(Phase::Running) {
        return Err(Refusal::bad_request("progress says Running, Verifying or how the activity ended"));
    }
    if progress.steps.len() > activity.spec.steps.len() {
        return Err(Refusal::bad_request("progress has more steps than the activity"));
    }
    let types: Vec<_> = activity.spec.steps.iter().map(|step| step.type_).collect();
    let status = activity.status.get_or_insert_default();
    let phase = status.phase.unwrap_or(Phase::Pending);
    if phase.is_finished() {
        return Ok(phase != progress.phase && progress.phase.is_finished() && late(status, progress, now));
    }
    if rank(progress.phase) < rank(phase) {
        return Ok(false);
    }
    let before = status.clone();
    let floor = status.delivered_time.as_ref().map_or(Timestamp::MIN, |time| time.0);
    for (at, step) in progress.steps.iter().enumerate() {
        if status.steps.len() == at {
            status.steps.push(ActivityStepStatus {
                type_: types[at],
                start_time: None,
                completion_time: None,
            });
        }
        let entry = &mut status.steps[at];
        // The first word counts: repeating it later, counted from another moment, would only blur it.
        let start = entry
            .start_time
            .get_or_insert_with(|| MicroTime(before_by(now, step.started_micros_ago).max(floor)));
        let start = start.0;
        if let Some(ago) = step.completed_micros_ago {
            entry.completion_time.get_or_insert_with(|| MicroTime(before_by(now, ago).max(start)));
        }
    }
    status.phase = Some(progress.phase);
    if progress.phase.is_finished() {
        finish(status, progress, now);
    }
    Ok(*status != before)
}

fn finish(status: &mut ActivityStatus, progress: &Progress, now: Timestamp) {
    let succeeded = progress.phase == Phase::Succeeded;
    status.outcome = progress.outcome.filter(|_| !succeeded);
    status.message = cut(&progress.message, MESSAGE_LIMIT);
    status.finished_time = Some(MicroTime(now));
    let type_ = if succeeded { names::condition::COMPLETE } else { names::condition::FAILED };
    let reason = status.outcome.map_or(progress.phase.as_str(), |outcome| outcome.as_str());
    conditions::set(
        &mut status.conditions,
        type_,
        true,
        reason,
        &cut(&progress.message, CONDITION_LIMIT),
        now,
    );
}

/// A result after the activity was judged without the agent (rule A4).
fn late(status: &mut ActivityStatus, progress: &Progress, now: Timestamp) -> bool {
    let why = progress.outcome.map_or("", |outcome| outcome.as_str());
    let message = format!("the machine says {} {why} {}", progress.phase.as_str(), progress.message);
    let late = names::reason::LATE_RESULT;
    conditions::set(&mut status.conditions, late, true, late, cut(&message, CONDITION_LIMIT).trim(), now)
}

/// How far along a phase is; all ends are equally far.
fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Pending => 0,
        Phase::Delivered => 1,
        Phase::Running => 2,
        Phase::Verifying => 3,
        Phase::Succeeded
        | Phase::Failed
        | Phase::Refused
        | Phase::Interrupted
        | Phase::Canceled
        | Phase::Expired => 4,
    }
}

fn before_by(now: Timestamp, micros: u64) -> Timestamp {
    now.checked_sub(Duration::from_micros(micros)).unwrap_or(Timestamp::MIN)
}

fn cut(text: &str, limit: usize) -> String {
    text.chars().take(limit).collect()
}

#[cfg(test)]
mod tests {
    use muster_model::OutcomeReason;
    use muster_wire::StepProgress;
    use serde_json::json;

    use super::*;

    fn activity() -> Activity {
        serde_json::from_value(json!({
            "apiVersion": "muster.dev/v1alpha1", "kind": "Activity",
            "metadata": {"name": "web-01-1", "uid": "a"},
            "spec": {
                "machineRef": {"name": "web-01", "uid": "m"},
                "steps": [{"type": "Reboot", "reboot": {}, "timeout": "30m"}],
                "cause": {}, "expiryTime": "2026-11-23T03:00:00Z",
            },
            "status": {"phase": "Delivered", "deliveredTime": "2026-11-23T02:00:00.000000Z"},
        }))
        .unwrap()
    }

    fn at(text: &str) -> Timestamp {
        format!("2026-11-23T{text}Z").parse().unwrap()
    }

    fn says(phase: Phase, steps: &[(u64, Option<u64>)], outcome: Option<OutcomeReason>) -> Progress {
        let step = |&(started_micros_ago, completed_micros_ago)| StepProgress {
            started_micros_ago,
            completed_micros_ago,
        };
        Progress {
            session: 1,
            uid: muster_model::Uid::parse("a").unwrap(),
            phase,
            steps: steps.iter().map(step).collect(),
            outcome,
            message: String::new(),
        }
    }

    // rule: A2, A4
    #[test]
    fn an_activity_goes_forward_only_and_repeated_or_late_words_change_nothing() {
        let mut activity = activity();
        let running = says(Phase::Running, &[(5_000_000, None)], None);
        assert_eq!(fold(&mut activity, &running, at("02:00:10")), Ok(true));
        let start = activity.status.as_ref().unwrap().steps[0].start_time.clone().unwrap();
        assert_eq!(start.0, at("02:00:05"), "the gateway's clock minus the machine's count");
        assert_eq!(fold(&mut activity, &running, at("02:00:11")), Ok(false), "said twice");
        let done = says(Phase::Succeeded, &[(9_000_000, Some(1_000_000))], None);
        assert_eq!(fold(&mut activity, &done, at("02:00:14")), Ok(true));
        assert_eq!(fold(&mut activity, &running, at("02:00:15")), Ok(false), "an old word comes late");
        let status = activity.status.unwrap();
        assert_eq!(status.phase, Some(Phase::Succeeded));
        assert_eq!(status.steps[0].completion_time.as_ref().unwrap().0, at("02:00:13"));
        assert!(
            status
                .conditions
                .iter()
                .any(|condition| condition.type_ == "Complete" && condition.status == "True")
        );
    }

    // rule: A4
    #[test]
    fn a_result_after_the_activity_was_judged_is_a_condition_only() {
        let mut activity = activity();
        let status = activity.status.as_mut().unwrap();
        status.phase = Some(Phase::Failed);
        status.outcome = Some(OutcomeReason::Unreachable);
        let done = says(Phase::Succeeded, &[(9, Some(1))], None);
        assert_eq!(fold(&mut activity, &done, at("02:30:00")), Ok(true));
        assert_eq!(fold(&mut activity, &done, at("02:31:00")), Ok(false));
        let status = activity.status.unwrap();
        assert_eq!((status.phase, status.outcome), (Some(Phase::Failed), Some(OutcomeReason::Unreachable)));
        assert!(status.conditions.iter().any(|condition| condition.type_ == "LateResult"));
    }

    #[test]
    fn a_machine_cannot_claim_more_steps_or_an_earlier_phase() {
        let many = says(Phase::Running, &[(1, None), (1, None)], None);
        assert!(fold(&mut activity(), &many, at("02:00:10")).is_err());
        assert!(fold(&mut activity(), &says(Phase::Pending, &[], None), at("02:00:10")).is_err());
        let before = says(Phase::Running, &[(u64::MAX, None)], None);
        let mut early = activity();
        assert_eq!(fold(&mut early, &before, at("02:00:10")), Ok(true));
        assert_eq!(
            early.status.unwrap().steps[0].start_time.as_ref().unwrap().0,
            at("02:00:00"),
            "not before delivery"
        );
    }
}
