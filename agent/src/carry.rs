//! Drives the journal against the real machine: one thing at a time, each transition on disk before the next.

use std::sync::Arc;
use std::time::Duration;

use muster_journal::{Input, Journal, Moment, Next, Observation, Offer, OfferedStep, Progress};
use muster_model::{ActivityName, OutcomeReason, Uid};
use muster_wire::{ClientError, MayStartRequest, Reason, StepProgress, WireActivity};
use tokio::sync::{mpsc, oneshot};

use crate::execute::Executor;
use crate::facts::{self, UnitState};
use crate::shared::{Backoff, Shared};
use crate::state::{State, StateError};
use crate::unit;

/// Between two looks at what runs.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The longest wait between two tries to reach the gateway.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long the result of an activity waits for the report that shows it.
const REPORT_PATIENCE: Duration = Duration::from_secs(90);

/// News for the carrier.
#[derive(Debug)]
pub(crate) enum News {
    /// The gateway offers an activity; asked for at that moment.
    Offer(Box<WireActivity>, Moment),
    /// The gateway wants this activity to end.
    Cancel(ActivityName),
}

/// Asks the link to report now; answered when it did.
pub(crate) type ReportNow = mpsc::Sender<oneshot::Sender<()>>;

/// Carries out activities.
pub(crate) struct Carrier {
    executor: Executor,
    state: State,
    shared: Arc<Shared>,
    news: mpsc::Receiver<News>,
    to_self: mpsc::Sender<News>,
    report_now: ReportNow,
    journal: Journal,
    on_disk: Vec<u8>,
    /// What the gateway was last told, without the times.
    told: Option<(Uid, usize, usize, &'static str)>,
    backoff: Backoff,
}

impl Carrier {
    /// Wakes the journal.
    pub(crate) fn new(
        executor: Executor,
        state: State,
        shared: Arc<Shared>,
        (to_self, news): (mpsc::Sender<News>, mpsc::Receiver<News>),
        report_now: ReportNow,
    ) -> Result<Self, StateError> {
        let journal = state.journal(&executor.host.now())?;
        let mut carrier = Self {
            executor,
            state,
            shared,
            news,
            to_self,
            report_now,
            on_disk: Vec::new(),
            journal,
            told: None,
            backoff: Backoff::up_to(LONGEST_WAIT),
        };
        carrier.save()?;
        Ok(carrier)
    }

    /// Runs until it is dropped, or the journal cannot be written: then nothing may be done.
    pub(crate) async fn run(mut self) -> StateError {
        loop {
            let step = async {
                while let Ok(news) = self.news.try_recv() {
                    self.take(news)?;
                }
                self.perform().await
            };
            if let Err(error) = step.await {
                return error;
            }
        }
    }

    async fn perform(&mut self) -> Result<(), StateError> {
        match self.journal.next(&self.executor.host.now()) {
            Next::Idle => {
                unit::sweep(&self.executor.acts);
                // Never closed: it holds a sender itself.
                let news = self.news.recv().await;
                news.map_or(Ok(()), |news| self.take(news))
            }
            Next::Prepare { step, action } => {
                let held = self.shared.held();
                let result = self.executor.prepare(&action, held.as_ref()).await;
                if let Err((reason, message)) = &result {
                    tracing::warn!(step, reason = reason.as_str(), message, "the step is refused");
                    if matches!(reason, OutcomeReason::VersionGone | OutcomeReason::FetchError) {
                        self.shared.stale_lists.notify_one();
                    }
                }
                self.tell(Input::Prepared { step, result })
            }
            Next::Report(progress) => self.report(progress).await,
            Next::AskMayStart { name, uid, step } => {
                let number = u32::try_from(step).unwrap_or(u32::MAX);
                let request =
                    MayStartRequest { session: self.shared.session(), uid: uid.clone(), step: number };
                match self.shared.client().may_start(&name, &request).await {
                    Ok(word) => {
                        self.backoff.reset();
                        let why = word.outcome.unwrap_or(OutcomeReason::WindowClosed);
                        let allowed = if word.allowed { Ok(()) } else { Err(why) };
                        self.tell(Input::MayStart { step, allowed })
                    }
                    Err(error) => self.wait_out(&uid, &error).await,
                }
            }
            Next::Act { uid, step, action, attempt } => {
                tracing::info!(activity = %uid, step, kind = action.type_name(), attempt, "the step begins");
                match self.executor.act(&uid, step, &action, attempt).await {
                    Ok(()) => self.tell(Input::Issued { step }),
                    Err(error) => {
                        tracing::warn!(step, error, "the step could not be begun");
                        self.tell(Input::IssueFailed { step })
                    }
                }
            }
            Next::Observe { uid, step, action, attempt, intent: _ } => {
                let seen = self.executor.observe(&uid, step, &action, attempt).await;
                let observation = seen.unwrap_or_else(|error| {
                    tracing::warn!(
                        step,
                        error = crate::execute::chain(&error),
                        "nothing can be seen; looking again"
                    );
                    Observation::Running
                });
                let goes_on = matches!(observation, Observation::Running | Observation::Booted { .. });
                self.tell(Input::Observed { step, observation })?;
                if goes_on {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Ok(())
            }
            Next::WatchHealth { units } => {
                let states = facts::unit_states(&self.executor.host, &units).await;
                let of = |wanted: UnitState| {
                    let paired = units.iter().zip(&states).filter(|(_, state)| **state == wanted);
                    paired.map(|(unit, _)| unit.clone()).collect()
                };
                self.tell(Input::Health {
                    starting: of(UnitState::Starting),
                    failed: of(UnitState::Failed),
                })?;
                tokio::time::sleep(LOOK_AGAIN).await;
                Ok(())
            }
        }
    }

    /// Tells the gateway, which must have it before anything goes on. An end is told after the report that shows it,
    /// so that nobody plans the same again on what was before.
    async fn report(&mut self, progress: Progress) -> Result<(), StateError> {
        if progress.phase.is_finished() {
            let (answer, reported) = oneshot::channel();
            if self.report_now.send(answer).await.is_ok() {
                let _told_all_the_same = tokio::time::timeout(REPORT_PATIENCE, reported).await;
            }
        }
        let (name, uid, phase) = (progress.name.clone(), progress.uid.clone(), progress.phase);
        if self.shared.session() == 0 {
            return self.pause().await;
        }
        match self.shared.client().progress(&name, &wire(progress, self.shared.session())).await {
            Ok(answer) => {
                self.backoff.reset();
                tracing::info!(activity = %name, phase = phase.as_str(), "reported");
                if answer.cancel {
                    self.tell(Input::CancelAsked { uid: uid.clone() })?;
                }
                self.tell(Input::Acknowledged { uid, phase })
            }
            Err(error) => self.wait_out(&uid, &error).await,
        }
    }

    /// Says in passing how far it is, when that changed; what is lost is said again with the next.
    fn tell_in_passing(&mut self) {
        let now = self.executor.host.now();
        let Some(progress) = self.journal.progress(&now) else { return };
        let completed = progress.steps.iter().filter(|step| step.completed_micros_ago.is_some()).count();
        let news = (progress.uid.clone(), progress.steps.len(), completed, progress.phase.as_str());
        if progress.phase.is_finished() || self.told.as_ref() == Some(&news) {
            return;
        }
        self.told = Some(news);
        let (client, to_self) = (self.shared.client(), self.to_self.clone());
        let (name, progress) = (progress.name.clone(), wire(progress, self.shared.session()));
        tokio::spawn(async move {
            if client.progress(&name, &progress).await.is_ok_and(|answer| answer.cancel) {
                let _ended = to_self.send(News::Cancel(name)).await;
            }
        });
    }

    fn take(&mut self, news: News) -> Result<(), StateError> {
        match news {
            News::Offer(activity, asked) => self.tell(Input::Offered(Box::new(offer(*activity, asked)))),
            News::Cancel(name) => match self.journal.current().cloned() {
                Some(uid) if self.journal.last() == Some(&name) => self.tell(Input::CancelAsked { uid }),
                Some(_) | None => Ok(()),
            },
        }
    }

    async fn wait_out(&mut self, uid: &Uid, error: &ClientError) -> Result<(), StateError> {
        let message = crate::execute::chain(error);
        tracing::warn!(activity = %uid, error = message, "the gateway does not take it");
        if error.reason() == Some(Reason::NotYours) {
            return self.tell(Input::Rejected { uid: uid.clone(), message });
        }
        self.pause().await
    }

    /// Waits until the gateway may answer again, or there is news.
    async fn pause(&mut self) -> Result<(), StateError> {
        let wait = self.backoff.next();
        let news = tokio::time::timeout(wait, self.news.recv()).await;
        if let Ok(Some(news)) = news {
            self.take(news)?;
        }
        self.tell(Input::Waited)
    }

    fn tell(&mut self, input: Input) -> Result<(), StateError> {
        self.journal.apply(input, &self.executor.host.now());
        self.save()?;
        self.tell_in_passing();
        Ok(())
    }

    fn save(&mut self) -> Result<(), StateError> {
        let bytes = self.journal.to_bytes();
        if bytes != self.on_disk {
            self.state.save_journal(&self.journal)?;
            self.on_disk = bytes;
        }
        self.shared.note(&self.journal);
        Ok(())
    }
}

fn offer(activity: WireActivity, asked: Moment) -> Offer {
    let WireActivity { name, uid, steps, health, expires_in_seconds, cancel } = activity;
    let steps = steps
        .iter()
        .map(|step| OfferedStep { action: (&step.action).into(), timeout_seconds: step.timeout_seconds });
    Offer { name, uid, steps: steps.collect(), health, asked, expires_in_seconds, cancel }
}

fn wire(progress: Progress, session: u64) -> muster_wire::Progress {
    let Progress { name: _, uid, phase, steps, outcome, message } = progress;
    let steps = steps.into_iter().map(|step| StepProgress {
        started_micros_ago: step.started_micros_ago,
        completed_micros_ago: step.completed_micros_ago,
    });
    muster_wire::Progress { session, uid, phase, steps: steps.collect(), outcome, message }
}
