//! Polls: answered when something differs from what the agent has, at the latest after [`POLL_SECONDS`].

use std::time::Duration;

use muster_model::ActivityName;
use muster_wire::{POLL_SECONDS, PollRequest, PollResponse};
use tokio::time::Instant;

use crate::fleet::{Fleet, Record, Seen, Unfinished};
use crate::gateway::Core;
use crate::refusal::Refusal;

impl Core {
    /// A machine waits for news.
    pub(crate) async fn poll(
        &self,
        fleet: &Fleet,
        record: &Record,
        request: &PollRequest,
    ) -> Result<PollResponse, Refusal> {
        let deadline = Instant::now() + Duration::from_secs(POLL_SECONDS);
        let mut confirmed = false;
        let mut tried = None;
        loop {
            // Armed before anything is looked at, so that nothing falls between looking and waiting.
            let news = record.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();

            let seen = record.admit()?;
            if !confirmed && confirms(request, &seen) {
                confirmed = true;
                fleet.presence.heard(&record.name, (self.clock)());
            }
            let mut response = differences(request, &seen);
            if let Some(activity) = fleet.activity(&record.name) {
                if request.activity.as_ref() == Some(&activity.name) {
                    response.cancel = activity.cancel && !request.cancel_seen;
                } else if is_newer(&activity.name, request.activity.as_ref()) {
                    let attempt = Attempt::new(&activity, fleet.epoch(), seen.suspended);
                    if tried.as_ref() != Some(&attempt) {
                        tried = Some(attempt);
                        response.activity = self.deliver(fleet, record, &activity).await?;
                    }
                }
            }
            if response != PollResponse::default() {
                return Ok(response);
            }
            tokio::select! {
                () = news => {}
                () = tokio::time::sleep_until(deadline) => return Ok(PollResponse::default()),
            }
        }
    }
}

/// What a delivery depends on: after one that failed, the next waits for a change of it.
#[derive(PartialEq, Eq)]
struct Attempt {
    version: String,
    epoch: Option<u64>,
    suspended: bool,
}

impl Attempt {
    fn new(activity: &Unfinished, epoch: Option<u64>, suspended: bool) -> Self {
        Self { version: activity.version.clone(), epoch, suspended }
    }
}

/// Whether the poll confirms the report on record, as a heartbeat does (rule M1).
fn confirms(request: &PollRequest, seen: &Seen) -> bool {
    seen.reported
        .as_ref()
        .is_some_and(|known| request.session == known.session && request.digest == known.digest)
}

/// What can be told from memory.
fn differences(request: &PollRequest, seen: &Seen) -> PollResponse {
    let report_again = match &seen.reported {
        None => request.session == 0,
        // A session above the one that this gateway has seen yet was opened by another: the watch will show it.
        Some(known) => {
            request.session < known.session
                || (request.session == known.session && request.digest != known.digest)
        }
    };
    let wanted = seen.wanted.as_ref().filter(|wanted| request.wanted.as_ref() != Some(&wanted.digest));
    PollResponse {
        wanted: wanted.map(|wanted| wanted.set.clone()),
        activity: None,
        cancel: false,
        report_again,
    }
}

fn is_newer(activity: &ActivityName, known: Option<&ActivityName>) -> bool {
    known.is_none_or(|known| known.machine != activity.machine || known.number < activity.number)
}
