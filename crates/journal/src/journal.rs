//! The journal itself: what it keeps, what each input does to it, what is next.

use std::collections::VecDeque;

use muster_model::{ActivityName, OutcomeReason, Phase, StepAction, Uid, UnitName};
use serde::{Deserialize, Serialize};

use crate::activity::{Record, Stage, StepRecord, StepStage};
use crate::progress::bounded;
use crate::{Input, JournalError, Moment, Next, Observation, Offer, Progress, format, judge};

/// How many uids are remembered, so that none is carried out twice.
///
/// 100: an activity is offered again only until it is finished, and a controller that lost its record finds the
/// number in the report (`last_activity`); the uids are the second line of defence.
pub const SEEN_LIMIT: usize = 100;

/// A machine may boot so often within one activity (rule K4).
pub const BOOTS_PER_ACTIVITY: u32 = 3;

/// We reboot a machine so often in 24 hours (rule K4).
pub const REBOOTS_PER_DAY: usize = 6;

/// An action is issued at most so often, where each time it was observed that nothing had been done.
///
/// 8: an agent may be killed a few times in the same spot by a full memory or an impatient person; one that always
/// dies there must not go on for ever.
const ATTEMPTS: u32 = 8;

/// Units may take so long to become active after the last step, beside the time for which they must stay so.
///
/// systemd's own default for starting a unit (DefaultTimeoutStartSec).
const START_GRACE_SECONDS: u64 = 90;

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// One machine's memory of what it was asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Journal {
    format: u32,
    current: Option<Record>,
    /// The uids taken, oldest first.
    seen: VecDeque<Uid>,
    /// The activity taken last, kept after its end.
    last: Option<ActivityName>,
    /// The highest number carried out to its end.
    last_finished: u64,
    /// When we last meant to reboot, oldest first.
    reboots: VecDeque<Moment>,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            format: format::FORMAT,
            current: None,
            seen: VecDeque::new(),
            last: None,
            last_finished: 0,
            reboots: VecDeque::new(),
        }
    }
}

impl Journal {
    /// Goes on with what is on disk after the process, or the machine, died.
    ///
    /// # Errors
    /// When it is damaged or of a newer format: then nothing may be carried out.
    pub fn resume(text: &[u8], now: &Moment) -> Result<Self, JournalError> {
        let mut journal: Self = format::read(text)?;
        journal.wake(now);
        Ok(journal)
    }

    /// What belongs on disk.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a journal is plain data, which JSON can always hold")
    }

    /// The activity taken last, whether or not it is over.
    #[must_use]
    pub fn last(&self) -> Option<&ActivityName> {
        self.last.as_ref()
    }

    /// The number of the last activity carried out to its end; 0: none.
    #[must_use]
    pub fn last_finished(&self) -> u64 {
        self.last_finished
    }

    /// The uid of the unfinished or unreported activity.
    #[must_use]
    pub fn current(&self) -> Option<&Uid> {
        self.current.as_ref().map(|record| &record.offer.uid)
    }

    /// Whether a cancel of the present activity is known.
    #[must_use]
    pub fn is_cancel_seen(&self) -> bool {
        self.current.as_ref().is_some_and(|record| record.cancel)
    }

    /// Whether the machine's packages or boot may be changing because of us just now.
    #[must_use]
    pub fn is_acting(&self) -> bool {
        matches!(
            self.current.as_ref().map(|record| &record.stage),
            Some(Stage::Step { stage: StepStage::Acting | StepStage::Unsure | StepStage::Judging, .. })
        )
    }

    /// How far the present activity is; `None` when there is none or nothing of it was begun.
    #[must_use]
    pub fn progress(&self, now: &Moment) -> Option<Progress> {
        let record = self.current.as_ref()?;
        (record.begun || record.phase().is_finished()).then(|| Progress::of(record, now))
    }

    /// What to do now. Do it once, then tell the answer.
    #[must_use]
    pub fn next(&self, now: &Moment) -> Next {
        let Some(record) = &self.current else { return Next::Idle };
        let (step, stage) = match &record.stage {
            Stage::Finished { .. } => return Next::Report(Progress::of(record, now)),
            Stage::Verifying { .. } => {
                return Next::WatchHealth { units: record.offer.health.units.iter().cloned().collect() };
            }
            Stage::Step { at, stage } => (*at, *stage),
        };
        let (name, uid) = (record.offer.name.clone(), record.offer.uid.clone());
        let action = record.offer.steps[step].action.clone();
        match stage {
            StepStage::Waiting => Next::Prepare { step, action },
            StepStage::Prepared if !record.begun => Next::Report(Progress::of(record, now)),
            StepStage::Prepared => Next::AskMayStart { name, uid, step },
            StepStage::Acting => Next::Act { uid, step, action, attempt: record.steps[step].attempts },
            StepStage::Unsure | StepStage::Judging => {
                let StepRecord { attempts, intent, .. } = &record.steps[step];
                let intent = intent.clone().expect("a step that was issued has an intent");
                Next::Observe { uid, step, action, attempt: *attempts, intent }
            }
        }
    }

    /// Takes note of something that happened. Write the journal to disk before doing anything else.
    pub fn apply(&mut self, input: Input, now: &Moment) {
        match input {
            Input::Offered(offer) => self.take(*offer, now),
            Input::CancelAsked { uid } => self.cancel(&uid),
            Input::Acknowledged { uid, phase } => self.acknowledge(&uid, phase, now),
            Input::Rejected { uid, message } => self.reject(&uid, message),
            Input::Prepared { step, result } => self.prepared(step, result, now),
            Input::MayStart { step, allowed } => self.may_start(step, allowed, now),
            Input::Issued { step } => self.move_on(step, StepStage::Acting, StepStage::Judging),
            Input::IssueFailed { step } => self.move_on(step, StepStage::Acting, StepStage::Unsure),
            Input::Observed { step, observation } => self.observed(step, observation, now),
            Input::Health { starting, failed } => self.health(&starting, &failed, now),
            Input::Waited => {
                self.stop_if_due(now);
            }
        }
    }

    /// After a death: what is free of consequences is done again, what is not is observed first.
    fn wake(&mut self, now: &Moment) {
        let Some(record) = &mut self.current else { return };
        if record.last_boot != now.boot {
            record.last_boot = now.boot.clone();
            record.boots += 1;
        }
        let boots = record.boots;
        match &mut record.stage {
            Stage::Finished { .. } => {}
            Stage::Verifying { since, healthy_since, before: _ } => {
                *since = now.clone();
                *healthy_since = None;
            }
            Stage::Step { stage, .. } => {
                *stage = match stage {
                    StepStage::Waiting | StepStage::Prepared => StepStage::Waiting,
                    StepStage::Acting | StepStage::Unsure => StepStage::Unsure,
                    StepStage::Judging => StepStage::Judging,
                };
            }
        }
        if boots > BOOTS_PER_ACTIVITY && !record.phase().is_finished() {
            let message = format!("the machine booted {boots} times during this activity");
            self.finish(Phase::Failed, Some(OutcomeReason::RebootLoop), message);
        }
    }

    fn take(&mut self, offer: Offer, now: &Moment) {
        if self.current.is_some() {
            return; // The gateway offers it again once this one is reported; the same one needs nothing.
        }
        let done = self.seen.contains(&offer.uid) || offer.name.number <= self.last_finished;
        let empty = offer.steps.is_empty();
        self.last = Some(offer.name.clone());
        self.seen.push_back(offer.uid.clone());
        while self.seen.len() > SEEN_LIMIT {
            self.seen.pop_front();
        }
        let cancel = offer.cancel;
        let number = offer.name.number;
        self.current = Some(Record {
            offer,
            begun: false,
            cancel,
            boots: 0,
            last_boot: now.boot.clone(),
            steps: Vec::new(),
            stage: Stage::Step { at: 0, stage: StepStage::Waiting },
        });
        if let Some(record) = self.current.as_mut().filter(|_| !empty) {
            record.stage = record.turn_of(0, now);
        }
        if done {
            let last = self.last_finished;
            let message = format!(
                "activity {number} was carried out here before, or a newer one was (the last is {last})"
            );
            self.finish(Phase::Refused, Some(OutcomeReason::Superseded), message);
        } else if empty {
            self.finish(Phase::Refused, Some(OutcomeReason::Preflight), "the activity has no steps".into());
        } else {
            self.stop_if_due(now);
        }
    }

    fn cancel(&mut self, uid: &Uid) {
        if let Some(record) = self.current_of(uid) {
            record.cancel = true;
        }
        // A step that acts goes on; between steps it takes effect at once.
        if self.current_of(uid).is_some_and(|record| record.is_between_steps()) {
            self.stop_canceled();
        }
    }

    fn acknowledge(&mut self, uid: &Uid, phase: Phase, now: &Moment) {
        let Some(record) = self.current_of(uid) else { return };
        if record.phase() != phase {
            return;
        }
        if phase.is_finished() {
            self.current = None;
        } else {
            record.begun = true;
            self.start_if_may(false, now);
        }
    }

    fn reject(&mut self, uid: &Uid, message: String) {
        let Some(record) = self.current_of(uid) else { return };
        match &record.stage {
            // Nobody wants to know how it ended.
            Stage::Finished { .. } => self.current = None,
            Stage::Step { .. } | Stage::Verifying { .. } if record.is_between_steps() => {
                let phase = if record.may_be_begun() { Phase::Interrupted } else { Phase::Canceled };
                self.finish(phase, Some(OutcomeReason::CancelRequested), message);
            }
            // What acts is seen through to its end, and watched.
            Stage::Step { .. } | Stage::Verifying { .. } => record.cancel = true,
        }
    }

    fn prepared(&mut self, step: usize, result: Result<(), (OutcomeReason, String)>, now: &Moment) {
        let Some(record) = self.in_step(step, StepStage::Waiting) else { return };
        if record.steps.len() == step {
            record.steps.push(StepRecord {
                started: now.clone(),
                completed: None,
                intent: None,
                attempts: 0,
            });
        }
        match result {
            Ok(()) => {
                self.move_on(step, StepStage::Waiting, StepStage::Prepared);
                self.start_if_may(false, now);
            }
            Err((reason, message)) => self.nothing_changed(step, reason, message),
        }
    }

    fn may_start(&mut self, step: usize, allowed: Result<(), OutcomeReason>, now: &Moment) {
        if self.in_step(step, StepStage::Prepared).is_none() {
            return;
        }
        match allowed {
            Ok(()) => self.start_if_may(true, now),
            Err(OutcomeReason::CancelRequested) => self.stop_canceled(),
            Err(reason) => {
                let message = format!("step {} may not start now", step + 1);
                self.finish(Phase::Interrupted, Some(reason), message);
            }
        }
    }

    /// Records the intent of the prepared step if nothing stands in its way.
    fn start_if_may(&mut self, has_fresh_word: bool, now: &Moment) {
        if self.stop_if_due(now) {
            return;
        }
        let Some(record) = &mut self.current else { return };
        let Stage::Step { at, stage: StepStage::Prepared } = record.stage else { return };
        let is_reboot = matches!(record.offer.steps[at].action, StepAction::Reboot { .. });
        if !record.begun || (is_reboot && !has_fresh_word) {
            return;
        }
        if is_reboot && !self.note_reboot(now) {
            let message = format!("the machine was rebooted {REBOOTS_PER_DAY} times in 24 hours");
            self.finish(Phase::Failed, Some(OutcomeReason::RebootLoop), message);
            return;
        }
        self.intend(at, now);
    }

    fn intend(&mut self, step: usize, now: &Moment) {
        let Some(record) = &mut self.current else { return };
        let entry = &mut record.steps[step];
        entry.intent = Some(now.clone());
        entry.attempts += 1;
        record.stage = Stage::Step { at: step, stage: StepStage::Acting };
    }

    /// Nothing came of what was meant: the step is where it was before, whatever time has passed since. It goes on if
    /// nothing stands in its way by now: a cancel, the expiry, and for a reboot the gateway's word, which is of then (W6).
    fn take_back(&mut self, step: usize, now: &Moment) {
        let Some(record) = &mut self.current else { return };
        if let StepAction::Reboot { .. } = record.offer.steps[step].action {
            self.reboots.pop_back();
        }
        record.stage = Stage::Step { at: step, stage: StepStage::Prepared };
        self.start_if_may(false, now);
    }

    /// Whether rule K4 leaves room for one more reboot; notes it if so.
    fn note_reboot(&mut self, now: &Moment) -> bool {
        self.reboots.retain(|reboot| !reboot.is_past(DAY_SECONDS, now));
        if self.reboots.len() >= REBOOTS_PER_DAY {
            return false;
        }
        self.reboots.push_back(now.clone());
        true
    }

    fn observed(&mut self, step: usize, observation: Observation, now: &Moment) {
        let Some(record) = &self.current else { return };
        let Stage::Step { at, stage: stage @ (StepStage::Unsure | StepStage::Judging) } = record.stage else {
            return;
        };
        if at != step {
            return;
        }
        let observation = match observation {
            Observation::Booted { release, command_line } => {
                judge::boot(record, step, &release, &command_line, now)
            }
            other => other,
        };
        match observation {
            Observation::Running => {
                if record.is_overdue(step, now) {
                    self.time_out(step);
                }
            }
            Observation::Done => self.complete(step, now),
            Observation::NotDone { reason, message } => {
                if stage == StepStage::Unsure && record.steps[step].attempts < ATTEMPTS {
                    self.take_back(step, now);
                } else {
                    self.nothing_changed(step, reason, message);
                }
            }
            Observation::Unchanged { reason, message } => self.nothing_changed(step, reason, message),
            Observation::Failed { reason, message } => self.finish(Phase::Failed, Some(reason), message),
            Observation::Booted { .. } => unreachable!("judge::boot gives none"),
        }
    }

    fn complete(&mut self, step: usize, now: &Moment) {
        let Some(record) = &mut self.current else { return };
        record.steps[step].completed = Some(now.clone());
        if step + 1 < record.offer.steps.len() {
            record.stage = record.turn_of(step + 1, now);
            self.stop_if_due(now);
        } else if record.offer.health.units.is_empty() || record.is_proven() {
            self.finish(Phase::Succeeded, None, String::new());
        } else {
            record.stage = Stage::Verifying { since: now.clone(), healthy_since: None, before: None };
        }
    }

    fn health(&mut self, starting: &[UnitName], failed: &[UnitName], now: &Moment) {
        let Some(record) = &mut self.current else { return };
        let settle = u64::from(record.offer.health.settle_seconds);
        let Stage::Verifying { since, healthy_since, before } = &mut record.stage else { return };
        if starting.is_empty() && failed.is_empty() {
            if healthy_since.get_or_insert_with(|| now.clone()).is_past(settle, now) {
                match *before {
                    None => self.finish(Phase::Succeeded, None, String::new()),
                    Some(at) => {
                        record.stage = Stage::Step { at, stage: StepStage::Waiting };
                        self.stop_if_due(now);
                    }
                }
            }
            return;
        }
        *healthy_since = None;
        let overdue = since.is_past(settle.saturating_add(START_GRACE_SECONDS), now);
        let list = |units: &[UnitName]| units.iter().map(UnitName::as_str).collect::<Vec<_>>().join(", ");
        if !failed.is_empty() {
            self.finish(Phase::Failed, Some(OutcomeReason::Unhealthy), format!("failed: {}", list(failed)));
        } else if overdue {
            let message = format!("not active for {settle} s: {}", list(starting));
            self.finish(Phase::Failed, Some(OutcomeReason::Unhealthy), message);
        }
    }

    fn time_out(&mut self, step: usize) {
        let Some(record) = &self.current else { return };
        let (reason, message) = judge::overdue(&record.offer.steps[step]);
        self.finish(Phase::Failed, Some(reason), message);
    }

    /// Ends an activity of which a step turned out to change nothing.
    fn nothing_changed(&mut self, step: usize, reason: OutcomeReason, message: String) {
        self.finish(judge::phase_of_nothing(step, reason), Some(reason), message);
    }

    /// Between steps: ends the activity if it was canceled or is past its expiry. Whether it did.
    fn stop_if_due(&mut self, now: &Moment) -> bool {
        let Some(record) = &self.current else { return false };
        if !record.is_between_steps() {
            return false;
        }
        if record.cancel {
            self.stop_canceled();
        } else if record.is_expired(now) {
            let (phase, reason) = if record.may_be_begun() {
                (Phase::Interrupted, OutcomeReason::WindowClosed)
            } else {
                (Phase::Expired, OutcomeReason::NotBegun)
            };
            self.finish(phase, Some(reason), "no step may start any more".into());
        } else {
            return false;
        }
        true
    }

    fn stop_canceled(&mut self) {
        let phase = if self.current.as_ref().is_some_and(Record::may_be_begun) {
            Phase::Interrupted
        } else {
            Phase::Canceled
        };
        self.finish(phase, Some(OutcomeReason::CancelRequested), String::new());
    }

    fn finish(&mut self, phase: Phase, outcome: Option<OutcomeReason>, message: String) {
        let Some(record) = &mut self.current else { return };
        record.stage = Stage::Finished { phase, outcome, message: bounded(message) };
        if outcome != Some(OutcomeReason::Superseded) {
            self.last_finished = self.last_finished.max(record.offer.name.number);
        }
    }

    fn move_on(&mut self, step: usize, from: StepStage, to: StepStage) {
        if let Some(record) = self.in_step(step, from) {
            record.stage = Stage::Step { at: step, stage: to };
        }
    }

    fn current_of(&mut self, uid: &Uid) -> Option<&mut Record> {
        self.current.as_mut().filter(|record| record.offer.uid == *uid)
    }

    fn in_step(&mut self, step: usize, wanted: StepStage) -> Option<&mut Record> {
        self.current.as_mut().filter(|record| record.stage == Stage::Step { at: step, stage: wanted })
    }
}
