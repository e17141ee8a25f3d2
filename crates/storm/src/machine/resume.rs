//! What a recorded machine was in the middle of: its journal is led to where its activity's status says that it was, by the
//! journal's own questions.

use jiff::SignedDuration;
use muster_journal::{Input, Next, Observation, Offer, OfferedStep};
use muster_model::{Activity, Phase, StepAction};

use super::Busy;
use crate::storm::{Happening, Storm};

/// A journal asks no more often than that about one activity.
const QUESTIONS: usize = 256;

impl Storm {
    /// The machine has the activity that it has begun, and does what that was doing.
    pub(crate) fn go_on_with(&mut self, m: usize) {
        let begun = |activity: &&Activity| matches!(activity.phase, Phase::Running | Phase::Verifying);
        let name = self.hosts[m].name.clone();
        let newest = self.api.activities_of(&name).filter(begun).max_by_key(|one| one.spec.name.number);
        let Some(activity) = newest.cloned() else { return };
        if !self.hosts[m].agent {
            return;
        }
        let completed = activity.steps.iter().take_while(|step| step.completed.is_some()).count();
        // It was offered before the boots that it asked for; the last of these is the one that the report tells of.
        let done = activity.spec.steps.iter().take(completed);
        let boots = done.filter(|step| matches!(step.action, StepAction::Reboot { .. })).count();
        let host = &mut self.hosts[m];
        host.boots = host.boots.saturating_sub(u32::try_from(boots).unwrap_or(u32::MAX));
        self.take_up(m, &activity);
        for _ in 0..QUESTIONS {
            if !self.lead_on(m, &activity, completed) {
                return;
            }
        }
    }

    fn take_up(&mut self, m: usize, activity: &Activity) {
        let now = self.now;
        let host = &mut self.hosts[m];
        let steps = activity.spec.steps.iter().map(|step| OfferedStep {
            action: step.action.clone(),
            timeout_seconds: step.timeout.as_secs().unsigned_abs(),
        });
        let left = activity.spec.expiry.duration_since(now).as_secs().max(0);
        let offer = Offer {
            name: activity.spec.name.clone(),
            uid: activity.uid.clone(),
            steps: steps.collect(),
            health: muster_model::HealthCheck::clone(&activity.spec.health),
            asked: host.moment(now),
            expires_in_seconds: left.unsigned_abs(),
            cancel: activity.cancel,
        };
        host.tell(Input::Offered(Box::new(offer)), now);
        host.timeouts = activity.spec.steps.iter().map(|step| step.timeout).collect();
        host.settle_seconds = activity.spec.health.settle_seconds;
    }

    /// Answers the journal's next question as the status does; whether there may be another.
    fn lead_on(&mut self, m: usize, activity: &Activity, completed: usize) -> bool {
        let now = self.now;
        let begun = activity.steps.len();
        let host = &mut self.hosts[m];
        let moment = host.moment(now);
        match host.journal.next(&moment) {
            Next::Prepare { step, .. } if step < begun => {
                host.tell(Input::Prepared { step, result: Ok(()) }, now);
            }
            Next::Report(progress) if !progress.phase.is_finished() => {
                let (uid, phase) = (progress.uid, progress.phase);
                host.tell(Input::Acknowledged { uid, phase }, now);
            }
            Next::AskMayStart { step, .. } if step < begun => {
                host.tell(Input::MayStart { step, allowed: Ok(()) }, now);
            }
            Next::Act { step, .. } if step < completed => host.tell(Input::Issued { step }, now),
            Next::Act { step, action, .. } if step < begun => {
                self.is_at(m, activity, step, &action);
                return false;
            }
            Next::Observe { step, action, .. } if step < completed => {
                let observation = match action {
                    StepAction::Reboot { .. } => {
                        host.boots += 1;
                        Observation::Booted { release: host.release.clone(), command_line: host.line.clone() }
                    }
                    _ => Observation::Done,
                };
                host.tell(Input::Observed { step, observation }, now);
            }
            _ => return false,
        }
        true
    }

    /// The step that runs: what is left of the time that such a step takes.
    fn is_at(&mut self, m: usize, activity: &Activity, step: usize, action: &StepAction) {
        let now = self.now;
        let name = activity.spec.name.clone();
        let begun = activity.steps[step].started.unwrap_or(now);
        let takes = self.work_takes(&name, action, (40, 480));
        let spent = now.duration_since(begun).max(SignedDuration::ZERO);
        let left = (takes - spent).max(SignedDuration::from_secs(1));
        self.hosts[m].tell(Input::Issued { step }, now);
        if let StepAction::Reboot { .. } = action {
            self.hosts[m].boot_for = Some((name, action.clone()));
            return self.power_off(m, left);
        }
        self.acts += 1;
        let number = self.acts;
        let (uid, action) = (activity.uid.clone(), action.clone());
        let ends = now + left;
        self.hosts[m].busy = Some(Busy { activity: name, uid, step, action, ends, fails: false, number });
        self.plan_after(left, Happening::OperationEnds { m, number });
    }
}
