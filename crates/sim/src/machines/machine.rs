//! One fake machine's life: enrol, report, propose, poll, carry out; what an agent does, in the same order.

mod found;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use muster_journal::{Input, Journal, Next, Observation, Offer, OfferedStep, Progress};
use muster_model::{Digest, OutcomeReason, ProposalKey, StepAction};
use muster_wire::{
    Client, ClientError, EnrollRequest, Identity, MayStartRequest, PollRequest, ProposalRequest, Reason,
    RenewRequest, ReportRequest, StepProgress, WireActivity, pki,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::disk::{Disk, Enrolled};
use super::{Shared, name_of};

/// Waits between attempts: 250 ms, doubled up to this, each time with jitter.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// During a long step it is heard so often.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Why a machine cannot go on just now.
enum Trouble {
    /// Of the network, or the gateway has its own.
    Gateway(ClientError),
    /// Of the disk.
    Disk(std::io::Error),
    /// The machine is none of the fleet's any more.
    ShutOut(ClientError),
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        match error.reason() {
            Some(Reason::Revoked | Reason::DuplicateIdentity | Reason::TokenRefused) => Self::ShutOut(error),
            Some(
                Reason::BadRequest
                | Reason::TooLarge
                | Reason::NotEnrolled
                | Reason::CertificateExpired
                | Reason::NotYours
                | Reason::StaleSession
                | Reason::Busy
                | Reason::Unavailable,
            )
            | None => Self::Gateway(error),
        }
    }
}

struct Machine {
    shared: Arc<Shared>,
    n: u32,
    path: PathBuf,
    disk: Disk,
    client: Option<Client>,
    /// Digest of its inventory, until packages or the interest change: making one is the most costly thing here.
    inventory: Option<Digest>,
    dice: StdRng,
}

/// Runs machine `n` until it is shut out for good.
pub(super) async fn run(shared: Arc<Shared>, n: u32) {
    let options = &shared.options;
    let path = options.state_dir.join(format!("{}.json", name_of(n)));
    let disk = match Disk::load(&path, options.seed, n) {
        Ok(disk) => disk,
        Err(error) => {
            tracing::error!(machine = name_of(n), %error, "a fake machine's disk cannot be read; remove it to set it up anew");
            return;
        }
    };
    let dice = StdRng::seed_from_u64(options.seed ^ u64::from(n));
    let mut machine = Machine { shared: shared.clone(), n, path, disk, client: None, inventory: None, dice };
    if machine.disk.enrolled.is_some() {
        shared.enrolled.fetch_add(1, Ordering::Relaxed);
    }
    let mut wait = FIRST_WAIT;
    loop {
        match machine.turn().await {
            Ok(()) => wait = FIRST_WAIT,
            Err(Trouble::ShutOut(error)) => {
                tracing::warn!(machine = name_of(n), %error, "a fake machine is shut out");
                return;
            }
            Err(trouble) => {
                match trouble {
                    Trouble::Gateway(error) | Trouble::ShutOut(error) => {
                        tracing::debug!(
                            machine = name_of(n),
                            error = &error as &dyn std::error::Error,
                            "trying again"
                        );
                    }
                    Trouble::Disk(error) => {
                        tracing::warn!(machine = name_of(n), %error, "cannot write; trying again")
                    }
                }
                tokio::time::sleep(wait.mul_f64(machine.dice.random_range(0.5..1.5))).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }
}

impl Machine {
    /// Everything from the last news to the next.
    async fn turn(&mut self) -> Result<(), Trouble> {
        if self.client.is_none() || self.disk.enrolled.is_none() {
            let shared = self.shared.clone();
            let _place = shared.enrolling.acquire().await;
            self.enrol().await?;
            self.report().await?;
        }
        self.renew().await?;
        self.carry_out().await?;
        self.report().await?;
        self.propose().await?;
        self.poll().await
    }

    async fn enrol(&mut self) -> Result<(), Trouble> {
        let options = &self.shared.options;
        if self.disk.enrolled.is_none() {
            let request = EnrollRequest {
                token: (options.token)(self.n),
                csr: self.signing_request()?,
                hostname: name_of(self.n),
                machine_id: format!("{:032x}", self.n),
                observe: false,
            };
            // The key is on disk before it is certified: a lost answer is asked for again with the same key.
            self.save()?;
            let response = Client::enroll(&options.gateway, &options.root, &request).await?;
            self.disk.enrolled = Some(Enrolled::new(&response, Timestamp::now()));
            self.save()?;
            self.shared.enrolled.fetch_add(1, Ordering::Relaxed);
        }
        self.connect()
    }

    fn connect(&mut self) -> Result<(), Trouble> {
        let options = &self.shared.options;
        if let Some(enrolled) = &self.disk.enrolled {
            let identity = Identity { certificate: enrolled.certificate.clone(), key: self.disk.key.clone() };
            self.client = Some(Client::new(&options.gateway, &options.root, &identity)?);
        }
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), Trouble> {
        if self.disk.enrolled.as_ref().is_none_or(|enrolled| Timestamp::now() < enrolled.renew) {
            return Ok(());
        }
        let request = RenewRequest { csr: self.signing_request()? };
        let response = self.client()?.renew(&request).await?;
        self.disk.enrolled = Some(Enrolled::new(&response, Timestamp::now()));
        self.save()?;
        self.connect()
    }

    /// Says the report until the gateway has it (rules M2, M4).
    async fn report(&mut self) -> Result<(), Trouble> {
        let report = self.found();
        let digest = report.digest();
        let mut whole = false;
        loop {
            let request = ReportRequest {
                session: self.disk.session,
                sequence: self.disk.sequence + 1,
                digest: digest.clone(),
                report: whole.then(|| Box::new(report.clone())),
                clock_micros: Timestamp::now().as_microsecond(),
            };
            let answer = self.client()?.report(&request).await?;
            if answer.session != self.disk.session {
                (self.disk.session, self.disk.sequence) = (answer.session, 0);
                self.save()?;
                whole = true;
                continue;
            }
            if whole {
                self.disk.sequence += 1;
                self.save()?;
            }
            if let Some(inventory) = &answer.send_inventory {
                let compressed = muster_wire::compress(&self.inventory());
                self.client()?.put_inventory(inventory, compressed).await?;
            } else if !answer.send_report {
                return Ok(());
            }
            whole = true;
        }
    }

    /// Simulates what is wanted, once for each inventory and wanted set (rule A7).
    async fn propose(&mut self) -> Result<(), Trouble> {
        if self.disk.wanted.items.is_empty() {
            return Ok(());
        }
        let key = ProposalKey { inventory: self.inventory_digest(), wanted: self.disk.wanted.digest() };
        if self.disk.proposed.as_ref() == Some(&key.digest()) {
            return Ok(());
        }
        let proposal = self.shared.archive.simulate(&self.disk.dpkg, &self.disk.wanted);
        let request = ProposalRequest { session: self.disk.session, key: key.clone(), proposal };
        match self.client()?.propose(&request).await {
            Ok(()) => {
                self.disk.proposed = Some(key.digest());
                self.save()
            }
            // Something else is wanted meanwhile: the poll will say what.
            Err(error) if error.reason() == Some(Reason::NotYours) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn poll(&mut self) -> Result<(), Trouble> {
        let asked = self.disk.moment(self.shared.options.seed, self.n);
        let request = PollRequest {
            session: self.disk.session,
            digest: self.found().digest(),
            wanted: Some(self.disk.wanted.digest()),
            activity: self.disk.journal.last().cloned(),
            cancel_seen: self.disk.journal.is_cancel_seen(),
        };
        let news = self.client()?.poll(&request).await?;
        if let Some(wanted) = news.wanted {
            self.disk.wanted = wanted;
            self.inventory = None;
            self.save()?;
        }
        if let Some(activity) = news.activity {
            self.take(Input::Offered(Box::new(offer(*activity, asked))))?;
        }
        if let (true, Some(uid)) = (news.cancel, self.disk.journal.current().cloned()) {
            self.take(Input::CancelAsked { uid })?;
        }
        Ok(())
    }

    /// Does what the journal says until there is nothing left to do.
    async fn carry_out(&mut self) -> Result<(), Trouble> {
        loop {
            let input = match self.disk.journal.next(&self.moment()) {
                Next::Idle => return Ok(()),
                Next::Prepare { step, action } => {
                    let (running, installed) = (self.disk.running(), self.releases());
                    let result = self.shared.archive.would_do(&self.disk.dpkg, &action);
                    let result = result
                        .map_err(|message| (OutcomeReason::PlanMismatch, message))
                        .and_then(|()| self.disk.loader.would_do(&action, &running, &installed));
                    Input::Prepared { step, result }
                }
                Next::Report(progress) => self.tell(progress).await?,
                Next::AskMayStart { name, uid, step } => {
                    let number = u32::try_from(step).unwrap_or(u32::MAX);
                    let request = MayStartRequest { session: self.disk.session, uid, step: number };
                    let answer = self.client()?.may_start(&name, &request).await?;
                    let refusal = answer.outcome.unwrap_or(OutcomeReason::WindowClosed);
                    Input::MayStart { step, allowed: if answer.allowed { Ok(()) } else { Err(refusal) } }
                }
                Next::Act { step, .. } => {
                    let takes = i64::try_from(self.shared.options.step.as_millis()).unwrap_or(i64::MAX);
                    let until = Timestamp::now().checked_add(jiff::SignedDuration::from_millis(takes));
                    self.disk.busy_until = Some(until.unwrap_or(Timestamp::MAX));
                    Input::Issued { step }
                }
                Next::Observe { step, action, .. } => {
                    let observation = self.observe(&action).await?;
                    Input::Observed { step, observation }
                }
                Next::WatchHealth { .. } => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    Input::Health { starting: vec![], failed: vec![] }
                }
            };
            self.take(input)?;
        }
    }

    async fn tell(&mut self, progress: Progress) -> Result<Input, Trouble> {
        let Progress { name, uid, phase, steps, outcome, message } = progress;
        let steps = steps.iter().map(|step| StepProgress {
            started_micros_ago: step.started_micros_ago,
            completed_micros_ago: step.completed_micros_ago,
        });
        let words = muster_wire::Progress {
            session: self.disk.session,
            uid: uid.clone(),
            phase,
            steps: steps.collect(),
            outcome,
            message,
        };
        match self.client()?.progress(&name, &words).await {
            Ok(answer) => {
                if answer.cancel && !phase.is_finished() {
                    self.take(Input::CancelAsked { uid: uid.clone() })?;
                }
                Ok(Input::Acknowledged { uid, phase })
            }
            Err(error) if error.reason() == Some(Reason::NotYours) => {
                Ok(Input::Rejected { uid, message: error.to_string() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for what is under way to end, and looks at the state (promise P5).
    async fn observe(&mut self, action: &StepAction) -> Result<Observation, Trouble> {
        let Some(until) = self.disk.busy_until else {
            let about_loader = self.disk.loader.is_done(action);
            if about_loader.unwrap_or_else(|| self.shared.archive.is_done(&self.disk.dpkg, action)) {
                return Ok(Observation::Done);
            }
            if let StepAction::Reboot { .. } = action {
                return Ok(self.booted());
            }
            let message = "it was never begun".to_owned();
            return Ok(Observation::NotDone { reason: OutcomeReason::PackagesNotAsWanted, message });
        };
        let reboots = matches!(action, StepAction::Reboot { .. });
        while let Ok(left) = Duration::try_from(until.duration_since(Timestamp::now())) {
            if left.is_zero() {
                break;
            }
            tokio::time::sleep(left.min(HEARTBEAT)).await;
            // A machine that reboots says nothing.
            if left > HEARTBEAT && !reboots {
                self.report().await?;
            }
        }
        let shared = self.shared.clone();
        shared.archive.act(&mut self.disk.dpkg, action);
        let running = self.disk.running();
        self.disk.loader.act(action, &running);
        self.inventory = None;
        self.disk.busy_until = None;
        if let StepAction::Reboot { .. } = action {
            self.boot();
            self.save()?;
            return Ok(self.booted());
        }
        self.look_for_newer();
        self.save()?;
        Ok(Observation::Done)
    }

    /// A newer kernel than the running one asks for a reboot.
    fn look_for_newer(&mut self) {
        if self.newest_kernel() == Some(self.disk.release.clone()) {
            self.disk.reboot_since = None;
        } else {
            self.disk.reboot_since.get_or_insert_with(Timestamp::now);
        }
    }

    fn booted(&self) -> Observation {
        let Disk { release, line, .. } = &self.disk;
        Observation::Booted { release: release.as_str().into(), command_line: line.as_str().into() }
    }

    fn boot(&mut self) {
        let (newest, running, installed) = (self.newest_kernel(), self.disk.running(), self.releases());
        self.disk.boots += 1;
        self.disk.booted = Timestamp::now();
        let entry = self.disk.loader.boot(newest.as_deref(), &running, &installed);
        (self.disk.release, self.disk.line) = (entry.release, entry.line);
        self.disk.reboot_since = None;
        self.look_for_newer();
        let moment = self.moment();
        // The agent's process ended with the boot: its journal goes on from the disk.
        if let Ok(journal) = Journal::resume(&self.disk.journal.to_bytes(), &moment) {
            self.disk.journal = journal;
        }
    }

    /// Tells the journal, and writes it down before anything else happens.
    fn take(&mut self, input: Input) -> Result<(), Trouble> {
        let moment = self.moment();
        self.disk.journal.apply(input, &moment);
        self.save()
    }

    fn save(&self) -> Result<(), Trouble> {
        self.disk.save(&self.path).map_err(Trouble::Disk)
    }

    fn moment(&self) -> muster_journal::Moment {
        self.disk.moment(self.shared.options.seed, self.n)
    }

    fn client(&self) -> Result<&Client, Trouble> {
        self.client
            .as_ref()
            .ok_or_else(|| Trouble::Disk(std::io::Error::other("the machine has not enrolled")))
    }

    fn signing_request(&self) -> Result<String, Trouble> {
        pki::signing_request(&self.disk.key).map_err(|error| Trouble::Disk(std::io::Error::other(error)))
    }
}

fn offer(activity: WireActivity, asked: muster_journal::Moment) -> Offer {
    let WireActivity { name, uid, steps, health, expires_in_seconds, cancel } = activity;
    let steps = steps
        .iter()
        .map(|step| OfferedStep { action: (&step.action).into(), timeout_seconds: step.timeout_seconds })
        .collect();
    Offer { name, uid, steps, health, asked, expires_in_seconds, cancel }
}
