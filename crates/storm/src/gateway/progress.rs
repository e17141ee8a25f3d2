//! How far machines say that they are (rules A2, A4).

use jiff::SignedDuration;
use muster_checker::event::{ActivityFinished, StepEvent, What};
use muster_journal::Progress;
use muster_model::{Instant, Phase, StepStatus};

use super::Word;
use crate::api::Value;
use crate::plant::Plant;
use crate::storm::Storm;

impl Storm {
    /// How far a machine is, in its words (rules A2, A4).
    pub(super) fn take_progress(&mut self, m: usize, progress: &Progress) {
        let now = self.now;
        let uid = progress.uid.clone();
        let known = self.api.activity(&progress.name).map(|(_, activity)| activity);
        let mine = known.filter(|activity| {
            activity.uid == uid
                && activity.spec.machine_uid == self.hosts[m].uid
                && activity.phase != Phase::Pending
        });
        let Some(activity) = mine else { return self.answer(m, Word::Rejected { uid }) };
        let over = activity.phase.is_finished();
        let cancel = activity.cancel || (over && !self.plants(Plant::DoubleDispatch));
        let phase = progress.phase;
        if over && !self.plants(Plant::PhaseGoesBack) {
            if phase.is_finished() && phase != activity.phase {
                self.log(What::LateResult { name: progress.name.clone() });
            }
        } else if rank(phase) >= rank(activity.phase) || self.plants(Plant::PhaseGoesBack) {
            self.fold(progress, now);
        }
        self.answer(m, Word::Acknowledged { uid, phase, cancel });
        if phase.is_finished() && self.plants(Plant::DoubleDispatch) {
            self.dispatch_again(m, &progress.name);
        }
    }

    fn fold(&mut self, progress: &Progress, now: Instant) {
        let Some((_, before)) = self.api.activity(&progress.name) else { return };
        let mut activity = before.clone();
        let floor = activity.delivered.unwrap_or(Instant::MIN);
        let mut steps = Vec::new();
        for (at, step) in progress.steps.iter().enumerate().take(activity.spec.steps.len()) {
            if activity.steps.len() == at {
                activity.steps.push(StepStatus::default());
            }
            let status = &mut activity.steps[at];
            let started = *status.started.get_or_insert_with(|| {
                steps.push((at, false));
                before_by(now, step.started_micros_ago).max(floor)
            });
            if let Some(ago) = step.completed_micros_ago {
                status.completed.get_or_insert_with(|| {
                    steps.push((at, true));
                    before_by(now, ago).max(started)
                });
            }
        }
        activity.phase = progress.phase;
        if progress.phase.is_finished() {
            let succeeded = progress.phase == Phase::Succeeded;
            activity.outcome = progress.outcome.filter(|_| !succeeded);
            activity.message.clone_from(&progress.message);
            activity.finished = Some(now);
        }
        if activity == *before {
            return;
        }
        let name = progress.name.clone();
        if steps.contains(&(0, false)) {
            self.lose_sight();
        }
        for (step, completed) in steps {
            let status = &activity.steps[step];
            let at = if completed { status.completed } else { status.started };
            let event = StepEvent { name: name.clone(), step, at };
            self.log(if completed { What::StepCompleted(event) } else { What::StepStarted(event) });
        }
        if progress.phase == Phase::Verifying
            && self.api.activity(&name).is_some_and(|(_, one)| one.phase != Phase::Verifying)
        {
            self.log(What::ActivityVerifying { name: name.clone() });
        }
        if progress.phase.is_finished() {
            let (phase, outcome, message) = (activity.phase, activity.outcome, activity.message.clone());
            self.log(What::ActivityFinished(Box::new(ActivityFinished {
                name,
                phase,
                outcome,
                at: None,
                message,
            })));
        }
        self.api.put(Value::Activity(activity));
    }
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

fn before_by(now: Instant, micros: u64) -> Instant {
    let micros = i64::try_from(micros).unwrap_or(i64::MAX);
    now.checked_sub(SignedDuration::from_micros(micros)).unwrap_or(Instant::MIN)
}
