//! The link to the gateway: reports (digest first), polls, simulates what is wanted, renews the certificate.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use muster_journal::Moment;
use muster_model::{ActivityName, Boot, Digest, Proposal, ProposalKey, Report, WantedSet};
use muster_wire::{ClientError, PollRequest, PollResponse, ProposalRequest, Reason, ReportRequest};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::carry::News;
use crate::enroll;
use crate::execute::chain;
use crate::host::Host;
use crate::inventory::{self, Gathered};
use crate::shared::{Backoff, Shared, jittered};
use crate::state::{Enrolment, State};
use crate::tools::ToolError;
use crate::{dpkg, report, simulate};

/// What no file event tells (failed units, a reboot required) is looked at so often.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// Changes come in bursts: so long after the first the machine is looked at.
const DEBOUNCE: Duration = Duration::from_secs(1);

/// The longest wait after failures of the gateway.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// Rounds of one report: digest, inventory, whole report, and one more for a session that ended meanwhile.
const REPORT_ROUNDS: usize = 5;

/// After a certificate could not be renewed.
const RENEW_AGAIN: Duration = Duration::from_secs(600);

/// The link's own loop.
pub(crate) struct Link {
    pub(crate) host: Host,
    pub(crate) state: State,
    pub(crate) shared: Arc<Shared>,
    pub(crate) enrolment: Enrolment,
    pub(crate) observe: bool,
    pub(crate) news: mpsc::Sender<News>,
    pub(crate) report_now: mpsc::Receiver<oneshot::Sender<()>>,
    pub(crate) known: Known,
}

/// What the link knows; nothing of it outlives the process.
#[derive(Default)]
pub(crate) struct Known {
    gathered: Option<Gathered>,
    report: Option<(Digest, Report)>,
    /// The digest of the report that the gateway has.
    confirmed: Option<Digest>,
    sequence: u64,
    wanted: Option<WantedSet>,
    proposed: Option<ProposalKey>,
    /// The gateway refused a proposal for `wanted`: the next poll asks what is wanted, whatever is known.
    superseded: bool,
    /// The activity offered last.
    offered: Option<ActivityName>,
    looked: Option<Instant>,
    renew_not_before: Option<Instant>,
}

/// Why a round of the link failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error(transparent)]
    Gateway(#[from] ClientError),
    #[error("cannot find out what is on this machine")]
    Machine(#[from] ToolError),
}

impl Link {
    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::up_to(LONGEST_WAIT);
        loop {
            match self.round().await {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    let wait = backoff.next();
                    tracing::warn!(
                        error = chain(&error),
                        wait_seconds = wait.as_secs(),
                        "cannot report or poll"
                    );
                    self.recover(&error).await;
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Looks, reports, simulates, then waits for news.
    async fn round(&mut self) -> Result<(), LinkError> {
        self.renew_if_due().await;
        self.look(false).await?;
        self.deliver().await?;
        self.propose().await?;
        self.wait().await
    }

    async fn wait(&mut self) -> Result<(), LinkError> {
        let shared = self.shared.clone();
        let client = shared.client();
        let Some((digest, _)) = &self.known.report else {
            // dpkg is busy, and nothing was reported yet.
            tokio::time::sleep(DEBOUNCE).await;
            return Ok(());
        };
        let (activity, cancel_seen) = shared.activity();
        if self.known.offered.is_some() && self.known.offered != activity {
            // The carrier is not done with the one before: the same offer would come back at once.
            tokio::time::sleep(DEBOUNCE).await;
        }
        let request = PollRequest {
            session: shared.session(),
            digest: digest.clone(),
            wanted: self.known.wanted.as_ref().filter(|_| !self.known.superseded).map(WantedSet::digest),
            activity,
            cancel_seen,
        };
        let asked = self.host.now();
        tokio::select! {
            answer = client.poll(&request) => self.take(answer?, request.activity.clone(), asked).await,
            () = shared.wake.notified() => {
                tokio::time::sleep(DEBOUNCE).await;
            }
            Some(answer) = self.report_now.recv() => {
                self.look(true).await?;
                self.deliver().await?;
                let _gave_up = answer.send(());
            }
        }
        Ok(())
    }

    async fn take(&mut self, answer: PollResponse, about: Option<ActivityName>, asked: Moment) {
        let PollResponse { wanted, activity, cancel, report_again } = answer;
        if report_again {
            self.forget_session();
        }
        if let Some(wanted) = wanted {
            self.known.proposed = None;
            self.known.superseded = false;
            self.known.wanted = Some(wanted);
        }
        if let Some(activity) = activity {
            tracing::info!(activity = %activity.name, "offered");
            self.known.offered = Some(activity.name.clone());
            let _ended = self.news.send(News::Offer(activity, asked)).await;
        }
        if let (true, Some(activity)) = (cancel, about) {
            let _ended = self.news.send(News::Cancel(activity)).await;
        }
    }

    /// Finds out what is on the machine now, unless it is in flux: then what was before stays in force.
    async fn look(&mut self, now: bool) -> Result<(), LinkError> {
        if self.shared.is_acting() || dpkg::is_locked(&self.host) {
            return Ok(());
        }
        let interest = self.known.wanted.as_ref().map(|wanted| wanted.interest.clone()).unwrap_or_default();
        let is_current = self.known.gathered.as_ref().is_some_and(|gathered| {
            gathered.inventory.interest == *interest && gathered.stamp == inventory::stamp(&self.host)
        });
        let is_due = self.known.looked.is_none_or(|looked| looked.elapsed() >= jittered(LOOK_INTERVAL));
        if is_current && !now && !is_due {
            return Ok(());
        }
        if !is_current {
            let gathered = inventory::gather(&self.host, &interest).await?;
            if dpkg::is_locked(&self.host) || gathered.stamp != inventory::stamp(&self.host) {
                // It changed while we looked: the change wakes us again.
                self.shared.wake.notify_one();
                return Ok(());
            }
            self.known.gathered = Some(gathered);
        }
        let Some(gathered) = &self.known.gathered else { return Ok(()) };
        let boot = boot(&self.host, &self.state);
        let last = self.shared.last_finished();
        let report = report::gather(&self.host, self.observe, gathered, boot, last).await?;
        self.known.report = Some((report.digest(), report));
        self.known.looked = Some(Instant::now());
        Ok(())
    }

    /// Gets the gateway to have the report: by its digest, if it has it already (rule M2).
    async fn deliver(&mut self) -> Result<(), LinkError> {
        let (Some((digest, report)), Some(gathered)) = (&self.known.report, &self.known.gathered) else {
            return Ok(());
        };
        if self.known.confirmed.as_ref() == Some(digest) && self.shared.session() != 0 {
            return Ok(());
        }
        let client = self.shared.client();
        // After a restart the gateway may well have it; a report that changed it cannot have.
        let mut whole = self.known.confirmed.is_some();
        for _ in 0..REPORT_ROUNDS {
            self.known.sequence += 1;
            let request = ReportRequest {
                session: self.shared.session(),
                sequence: self.known.sequence,
                digest: digest.clone(),
                report: whole.then(|| Box::new(report.clone())),
                clock_micros: Timestamp::now().as_microsecond(),
            };
            let answer = match client.report(&request).await {
                Err(error) if error.reason() == Some(Reason::StaleSession) && self.shared.session() != 0 => {
                    self.shared.set_session(0);
                    continue;
                }
                answer => answer?,
            };
            self.shared.set_session(answer.session);
            if answer.send_inventory.as_ref() == Some(&gathered.digest) {
                client.put_inventory(&gathered.digest, muster_wire::compress(&gathered.inventory)).await?;
            } else if !answer.send_report {
                self.known.confirmed = Some(digest.clone());
                let held = gathered.dpkg.packages.iter().filter(|(_, package)| package.held);
                self.shared.set_held(held.map(|(key, _)| key.clone()).collect::<BTreeSet<_>>());
                tracing::info!(session = answer.session, sequence = self.known.sequence, "reported");
                return Ok(());
            }
            whole |= answer.send_report;
        }
        tracing::warn!("the gateway asks for the same report again and again");
        Ok(())
    }

    /// Simulates what is wanted on what was reported, once for each pair of the two.
    async fn propose(&mut self) -> Result<(), LinkError> {
        let (Some(wanted), Some(gathered)) = (&self.known.wanted, &self.known.gathered) else {
            return Ok(());
        };
        if wanted.items.is_empty() || *wanted.interest != gathered.inventory.interest {
            return Ok(());
        }
        let key = ProposalKey { inventory: gathered.digest.clone(), wanted: wanted.digest() };
        let is_reported = self
            .known
            .report
            .as_ref()
            .is_some_and(|(digest, _)| self.known.confirmed.as_ref() == Some(digest));
        if self.known.proposed.as_ref() == Some(&key) || !is_reported || self.shared.is_acting() {
            return Ok(());
        }
        let dpkg = &gathered.dpkg;
        let proposal = simulate::propose(&self.host, &dpkg.packages, &dpkg.native, &wanted.items).await?;
        if gathered.stamp != inventory::stamp(&self.host) || dpkg::is_locked(&self.host) {
            return Ok(());
        }
        let changes = match &proposal {
            Proposal::Transaction { changes } => changes.len(),
            Proposal::Refused { .. } => 0,
        };
        tracing::info!(items = wanted.items.len(), changes, "simulated");
        let request = ProposalRequest { session: self.shared.session(), key: key.clone(), proposal };
        let answer = self.shared.client().propose(&request).await;
        // Something else is wanted by now, or another report is on record. Only the poll tells: to wait and try the same
        // again would never end, and the machine would fall silent over it.
        if answer.as_ref().is_err_and(|error| error.reason() == Some(Reason::NotYours)) {
            tracing::info!("what was simulated is not wanted any more");
            self.known.superseded = true;
            tokio::time::sleep(DEBOUNCE).await;
        } else {
            answer?;
        }
        self.known.proposed = Some(key);
        Ok(())
    }

    fn forget_session(&mut self) {
        self.shared.set_session(0);
        self.known.confirmed = None;
        self.known.proposed = None;
    }

    /// What a refusal asks for, beside waiting.
    async fn recover(&mut self, error: &LinkError) {
        let LinkError::Gateway(error) = error else { return };
        match error.reason() {
            Some(Reason::StaleSession) => self.forget_session(),
            Some(Reason::CertificateExpired) => self.renew().await,
            Some(
                Reason::BadRequest
                | Reason::TooLarge
                | Reason::NotEnrolled
                | Reason::Revoked
                | Reason::DuplicateIdentity
                | Reason::TokenRefused
                | Reason::NotYours
                | Reason::Busy
                | Reason::Unavailable,
            )
            | None => {}
        }
    }

    async fn renew_if_due(&mut self) {
        let may = self.known.renew_not_before.is_none_or(|moment| moment <= Instant::now());
        if may && Timestamp::now() >= self.enrolment.renew_time {
            self.renew().await;
        }
    }

    async fn renew(&mut self) {
        self.known.renew_not_before = Some(Instant::now() + jittered(RENEW_AGAIN));
        let renewed = enroll::renew(&self.state, &self.shared.client(), &self.enrolment).await;
        let renewed = renewed.and_then(|enrolment| Ok((enroll::client(&enrolment)?, enrolment)));
        match renewed {
            Ok((client, enrolment)) => {
                self.enrolment = enrolment;
                self.shared.replace_client(client);
                tracing::info!("the certificate was renewed");
            }
            Err(error) => tracing::warn!(error = chain(&error), "the certificate could not be renewed"),
        }
    }
}

/// This boot, as it was first reported.
pub(crate) fn boot(host: &Host, state: &State) -> Boot {
    let boot = report::boot(host);
    match state.boot() {
        Some(known) if known.id == boot.id => known,
        Some(_) | None => {
            if let Err(error) = state.save_boot(&boot) {
                tracing::warn!(
                    error = chain(&error),
                    "the time of this boot may be reported otherwise later"
                );
            }
            boot
        }
    }
}
