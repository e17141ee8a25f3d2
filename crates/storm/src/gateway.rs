//! Gateways: reports, presence, delivery by compare-and-set in the present epoch, results, the fresh word.
//!
//! It does what the product's gateway does, against the model of the API. Each read and each write is an instant of its
//! own, so that anything may come between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::SignedDuration;
use muster_checker::event::{ActivityFinished, StepEvent, What};
use muster_fleet::{GatewayLease, PresenceShard};
use muster_journal::{Moment, Progress};
use muster_model::openness::Openness;
use muster_model::{
    Activity, ActivityName, ActivitySpec, Cover, Instant, Inventory, MachineName, OutcomeReason, Pass,
    Passes, Phase, Proposal, ProposalKey, Report, Reported, StepStatus, Uid, WantedSet, Window,
    openness_past,
};
use smol_str::{SmolStr, ToSmolStr, format_smolstr};

use crate::api::{Kind, Value};
use crate::fault::Fault;
use crate::plant::Plant;
use crate::storm::{ForGateway, ForHost, Storm};

/// A machine that is not heard for so long is published as silent; the product's number.
const HEARD_FOR: SignedDuration = SignedDuration::from_secs(75);

/// How often a machine polls at the least.
const POLL: SignedDuration = SignedDuration::from_secs(50);

/// Older than that, an undelivered activity is not delivered any more (rule A4).
const UNDELIVERED: SignedDuration = SignedDuration::from_mins(2);

/// How often the Lease is renewed, and for how long it is good: rarer than in the product, since it changes nothing.
const RENEWAL: SignedDuration = SignedDuration::from_secs(60);
const LEASE: SignedDuration = SignedDuration::from_secs(180);

/// Where no gateway ever dies, each renewal would only be looked at.
const LEASES_OF_RECORDED: i32 = 60;

/// How many shards a gateway's presence has.
const SHARDS: usize = 2;

/// How many boots are remembered, to tell two machines of one identity.
const BOOTS: usize = 4;

/// One gateway.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    pub(crate) name: SmolStr,
    pub(crate) up: bool,
    /// Grows whenever it dies.
    pub(crate) life: u64,
    since: Instant,
    renewed: Instant,
    present: BTreeSet<MachineName>,
    silent: BTreeMap<MachineName, Instant>,
    /// Of machines that left: when they were last heard.
    left: BTreeMap<MachineName, Instant>,
    publishing: bool,
    /// By identity: a machine that is enrolled anew begins anew.
    boots: BTreeMap<Uid, VecDeque<SmolStr>>,
    polls: BTreeSet<usize>,
}

/// What a machine asks.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Report { session: u64, sequence: u64, report: Box<Report>, inventory: Arc<Inventory> },
    Propose { key: ProposalKey, proposal: Proposal },
    Progress(Progress),
    MayStart { name: ActivityName, uid: Uid, step: usize },
}

/// What a machine is told.
#[derive(Clone, Debug)]
pub(crate) enum Word {
    Wanted(WantedSet),
    Offer { activity: Box<Activity>, asked: Moment, left: u64 },
    Cancel { uid: Uid },
    Acknowledged { uid: Uid, phase: Phase, cancel: bool },
    Rejected { uid: Uid },
    MayStart { step: usize, allowed: Result<(), OutcomeReason> },
    ShutOut,
}

/// A delivery under way: what was read.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) m: usize,
    activity: Box<Activity>,
    version: u64,
    asked: Moment,
    left: u64,
}

impl Gateway {
    pub(crate) fn new(number: usize, now: Instant) -> Self {
        Self {
            name: format_smolstr!("gateway-{number}"),
            up: true,
            life: 1,
            since: now,
            renewed: now,
            present: BTreeSet::new(),
            silent: BTreeMap::new(),
            left: BTreeMap::new(),
            publishing: false,
            boots: BTreeMap::new(),
            polls: BTreeSet::new(),
        }
    }

    /// Whom it heard, and whom not any more and when last, before anything happens.
    pub(crate) fn knows(
        mut self,
        present: BTreeSet<MachineName>,
        silent: BTreeMap<MachineName, Instant>,
    ) -> Self {
        (self.present, self.silent) = (present, silent);
        self
    }

    fn shard(&self, number: usize) -> SmolStr {
        format_smolstr!("{}-{number}", self.name)
    }
}

/// The shard of a machine.
fn shard_of(machine: &MachineName) -> usize {
    machine.as_str().bytes().map(usize::from).sum::<usize>() % SHARDS
}

impl Storm {
    /// Says something to a machine that is connected.
    fn answer(&mut self, m: usize, word: Word) {
        if self.strikes(Fault::MessageLost, m) {
            return;
        }
        let latency = self.dice.millis(10, 300);
        self.for_host(m, latency, ForHost::Hear(Box::new(word)));
    }

    pub(crate) fn renew(&mut self, g: usize) {
        let now = self.now;
        let times = if self.recorder.is_some() { LEASES_OF_RECORDED } else { 1 };
        let gateway = &mut self.gateways[g];
        gateway.renewed = now;
        let lease = GatewayLease { acquired: gateway.since, renewed: now, valid_until: now + LEASE * times };
        let name = gateway.name.clone();
        self.api.put(Value::Gateway(name, lease));
        self.for_gateway(g, RENEWAL * times, ForGateway::Renew);
        self.note_gateways();
    }

    /// It stops; its machines look for another.
    pub(crate) fn gateway_dies(&mut self, g: usize, lasts: SignedDuration) {
        let gateway = &mut self.gateways[g];
        if !gateway.up {
            return;
        }
        gateway.up = false;
        gateway.life += 1;
        gateway.polls.clear();
        gateway.publishing = false;
        let expires = gateway.renewed + LEASE;
        for m in 0..self.hosts.len() {
            if self.hosts[m].gateway == Some(g) {
                self.hosts[m].gateway = None;
                let wait = self.dice.seconds(1, 20);
                self.for_host(m, wait, ForHost::Connect);
            }
        }
        self.note_gateways();
        self.for_gateway(g, lasts, ForGateway::Starts);
        self.for_gateway(g, (expires - self.now).try_into().unwrap_or(LEASE), ForGateway::LeaseExpires);
    }

    /// Its Lease ran out: whom it heard is silent since it last said so, unless another hears it.
    pub(crate) fn gateway_lease_expires(&mut self, g: usize) {
        let gateway = &self.gateways[g];
        let renewed = gateway.renewed;
        for machine in gateway.present.clone() {
            self.log_silent(machine, renewed);
        }
    }

    pub(crate) fn gateway_starts(&mut self, g: usize) {
        let now = self.now;
        let gateway = &mut self.gateways[g];
        // People may have started it before it would have come back by itself.
        if gateway.up {
            return;
        }
        gateway.up = true;
        gateway.since = now;
        let renewed = gateway.renewed;
        // What it published before it died: who was present then is silent since, until heard.
        let before = std::mem::take(&mut gateway.present);
        for machine in before {
            self.gateways[g].silent.entry(machine.clone()).or_insert(renewed);
            self.log_silent(machine, renewed);
        }
        self.gateways[g].left.clear();
        self.renew(g);
        self.publish_soon(g);
    }

    /// Whether any gateway is up, for the log (rule B2).
    fn note_gateways(&mut self) {
        let up = self.gateways.iter().any(|gateway| gateway.up);
        if up != self.gateways_up {
            self.gateways_up = up;
            self.log(if up { What::GatewaysUp {} } else { What::GatewaysDown {} });
        }
    }

    /// A machine is heard and its report on record confirmed.
    pub(crate) fn hears(&mut self, m: usize) {
        let Some(g) = self.hosts[m].gateway else { return };
        let name = self.hosts[m].name.clone();
        let gateway = &mut self.gateways[g];
        gateway.left.remove(&name);
        let silent = gateway.silent.remove(&name).is_some();
        let new = gateway.present.insert(name.clone());
        if self.heard.insert(name.clone()) {
            self.log(What::Heard { machine: name });
        }
        if new || silent {
            self.publish_soon(g);
        }
    }

    /// A machine has left a gateway, which heard it until its last poll.
    pub(crate) fn unheard(&mut self, g: usize, m: usize) {
        let name = self.hosts[m].name.clone();
        if !self.gateways[g].present.contains(&name) {
            return;
        }
        let ago = self.dice.seconds(0, 50);
        let heard = self.now - ago;
        self.gateways[g].left.insert(name.clone(), heard);
        self.for_gateway(g, HEARD_FOR - ago, ForGateway::Sweep { machine: name });
    }

    pub(crate) fn sweep(&mut self, g: usize, machine: MachineName) {
        let now = self.now;
        let gateway = &mut self.gateways[g];
        let Some(heard) = gateway.left.get(&machine).copied().filter(|heard| *heard + HEARD_FOR <= now)
        else {
            return;
        };
        gateway.left.remove(&machine);
        // A clone went; its original polls on.
        if self.hosts.iter().any(|host| host.name == machine && host.gateway == Some(g)) {
            return;
        }
        let gateway = &mut self.gateways[g];
        gateway.present.remove(&machine);
        gateway.silent.insert(machine.clone(), heard);
        self.log_silent(machine, heard);
        self.publish_soon(g);
    }

    fn log_silent(&mut self, machine: MachineName, last_heard: Instant) {
        let elsewhere = self.gateways.iter().any(|other| other.up && other.present.contains(&machine));
        if !elsewhere && self.heard.remove(&machine) {
            self.log(What::Silent { machine, last_heard });
        }
    }

    fn publish_soon(&mut self, g: usize) {
        if !std::mem::replace(&mut self.gateways[g].publishing, true) {
            let wait = self.dice.millis(250, 8_000);
            self.for_gateway(g, wait, ForGateway::Publish);
        }
    }

    pub(crate) fn publish(&mut self, g: usize) {
        self.gateways[g].publishing = false;
        for number in 0..SHARDS {
            let gateway = &self.gateways[g];
            let mine = |machine: &MachineName| shard_of(machine) == number;
            let heard = PresenceShard {
                since: Some(gateway.since),
                present: gateway.present.iter().filter(|machine| mine(machine)).cloned().collect(),
                silent: gateway
                    .silent
                    .iter()
                    .filter(|(machine, _)| mine(machine))
                    .map(|(a, b)| (a.clone(), *b))
                    .collect(),
            };
            let shard = gateway.shard(number);
            let known = self.api.get(Kind::Presence, &shard).map(|stored| stored.value.clone());
            let same =
                matches!(known.as_deref(), Some(Value::Presence { heard: known, .. }) if *known == heard);
            if !same {
                let gateway = gateway.name.clone();
                self.api.put(Value::Presence { gateway, shard, heard });
            }
        }
    }

    /// A machine asks something.
    pub(crate) fn asked(&mut self, g: usize, m: usize, life: u64, request: Request) {
        if self.hosts[m].life != life
            || self.hosts[m].gateway != Some(g)
            || self.strikes(Fault::GatewayError, g)
        {
            return;
        }
        let Some(object) = self.api.machine(&self.hosts[m].name) else {
            return self.answer(m, Word::ShutOut);
        };
        if object.machine.uid != self.hosts[m].uid || object.machine.revoked || object.quarantined {
            return self.answer(m, Word::ShutOut);
        }
        match request {
            Request::Report { session, sequence, report, inventory } => {
                self.take_report(g, m, session, sequence, *report, inventory);
            }
            Request::Propose { key, proposal } => self.take_proposal(m, key, proposal),
            Request::Progress(progress) => self.take_progress(m, &progress),
            Request::MayStart { name, uid, step } => self.say_whether_it_may_start(m, &name, &uid, step),
        }
    }

    /// Reports are ordered by a sequence within a session that the gateway opens (rule M4).
    fn take_report(
        &mut self,
        g: usize,
        m: usize,
        session: u64,
        sequence: u64,
        report: Report,
        inventory: Arc<Inventory>,
    ) {
        let now = self.now;
        let name = self.hosts[m].name.clone();
        let object = self.api.machine(&name).expect("it was just looked at");
        let known = object.machine.reported.as_ref();
        let digest = report.digest();
        let (known_session, known_sequence) = known.map_or((0, 0), |known| (known.session, known.sequence));
        let same = known.is_some_and(|known| known.session == session && known.digest == digest);
        let older = known.is_some() && (session, sequence) < (known_session, known_sequence);
        let lists = self.api.get(Kind::Inventory, &report.inventory.to_smolstr()).is_some();
        if older {
            self.counts.bind("M4");
        }
        if lists {
            self.counts.bind("M2");
        }
        if !self.hosts[m].skew.is_zero() {
            self.counts.bind("M3");
        }
        let object = self.api.machine(&name).expect("it was just looked at");
        let known = object.machine.reported.as_ref();
        if same {
            return self.report_taken(m, session, sequence.max(known_sequence), digest);
        }
        let follows = known.is_some() && session == known_session && sequence + 1 > known_sequence;
        let (session, sequence) = if follows { (session, sequence + 1) } else { (known_session + 1, 1) };
        let identity = object.machine.uid.clone();
        if session > known_session && self.is_duplicate(g, identity, &report.boot.id) {
            self.api.edit_machine(&name, |object| object.quarantined = true);
            return self.answer(m, Word::ShutOut);
        }
        self.keep_inventory(&report, inventory);
        let facts = report.facts();
        let reported = Reported { session, sequence, digest: digest.clone(), time: now, report, facts };
        self.log_report(&name, &reported);
        self.api.edit_machine(&name, |object| object.machine.reported = Some(reported));
        self.report_taken(m, session, sequence, digest);
    }

    fn report_taken(&mut self, m: usize, session: u64, sequence: u64, digest: muster_model::Digest) {
        if self.strikes(Fault::MessageLost, m) {
            return;
        }
        let latency = self.dice.millis(10, 300);
        self.for_host(m, latency, ForHost::ReportAnswered { session, sequence, digest });
    }

    /// A boot never comes back after another: A, B, A, B are two machines with one identity.
    fn is_duplicate(&mut self, g: usize, identity: Uid, boot: &SmolStr) -> bool {
        let boots = self.gateways[g].boots.entry(identity).or_default();
        if boots.back() != Some(boot) {
            boots.push_back(boot.clone());
        }
        while boots.len() > BOOTS {
            boots.pop_front();
        }
        matches!(boots.make_contiguous(), [a, b, c, d] if a == c && b == d && a != b)
    }

    /// Makes sure that what a report refers to is there, and stays.
    fn keep_inventory(&mut self, report: &Report, inventory: Arc<Inventory>) {
        let name = report.inventory.clone();
        let kept = self.api.get(Kind::Inventory, &name.to_string()).map(|stored| stored.value.clone());
        if !matches!(kept.as_deref(), Some(Value::Inventory(_, _, None))) {
            self.api.put(Value::Inventory(name, inventory, None));
        }
    }

    fn take_proposal(&mut self, m: usize, key: ProposalKey, proposal: Proposal) {
        let object = self.api.machine(&self.hosts[m].name).expect("it was just looked at");
        let reported = object.machine.reported.as_ref().map(|reported| &reported.report.inventory);
        let wanted = object.wanted.as_ref().map(WantedSet::digest);
        let taken = reported == Some(&key.inventory) && wanted.as_ref() == Some(&key.wanted);
        if taken {
            let kept =
                self.api.get(Kind::Proposal, &key.digest().to_string()).map(|stored| stored.value.clone());
            if !matches!(kept.as_deref(), Some(Value::Proposal(_, _, None))) {
                self.api.put(Value::Proposal(key.clone(), Arc::new(proposal), None));
            }
        }
        let latency = self.dice.millis(10, 300);
        self.for_host(m, latency, ForHost::ProposalAnswered { key, taken });
    }

    /// What a machine that polls is told: what differs from what it has.
    pub(crate) fn news(&mut self, g: usize, m: usize) {
        self.gateways[g].polls.remove(&m);
        if self.hosts[m].gateway != Some(g) || !self.hosts[m].agent {
            return;
        }
        let Some(object) = self.api.machine(&self.hosts[m].name) else {
            return self.answer(m, Word::ShutOut);
        };
        if object.machine.uid != self.hosts[m].uid || object.machine.revoked || object.quarantined {
            return self.answer(m, Word::ShutOut);
        }
        let mut again = false;
        let wanted = object.wanted.clone().filter(|wanted| *wanted != self.hosts[m].wanted);
        if let Some(wanted) = wanted {
            self.answer(m, Word::Wanted(wanted));
            again = true;
        }
        if let Some(activity) = self.unfinished(m) {
            let last = self.hosts[m].journal.last().cloned();
            if last.as_ref() == Some(&activity.0) {
                if activity.2 && !self.hosts[m].journal.is_cancel_seen() {
                    self.answer(m, Word::Cancel { uid: activity.3 });
                    again = true;
                }
            } else if last.is_none_or(|last| last.number < activity.0.number) {
                self.read_for_delivery(g, m, &activity.0);
                again = true;
            }
        }
        if again && self.gateways[g].polls.insert(m) {
            self.for_gateway(g, POLL, ForGateway::News { m });
        }
    }

    /// The machine's unfinished activity, the newest if there are more.
    fn unfinished(&self, m: usize) -> Option<(ActivityName, Phase, bool, Uid)> {
        let all = self.api.activities_of(&self.hosts[m].name);
        let open = all.filter(|activity| !activity.phase.is_finished());
        open.max_by_key(|activity| activity.spec.name.number)
            .map(|one| (one.spec.name.clone(), one.phase, one.cancel, one.uid.clone()))
    }

    /// Delivery, first: the activity as it is.
    fn read_for_delivery(&mut self, g: usize, m: usize, name: &ActivityName) {
        if self.strikes(Fault::GatewayError, g) {
            return;
        }
        let now = self.now;
        let Some((version, activity)) = self.api.activity(name) else { return };
        let suspended = self.api.machine(&name.machine).is_none_or(|object| object.machine.suspend);
        let late =
            now.duration_since(activity.created) > UNDELIVERED && !self.plants(Plant::UndeliveredForEver);
        let may_begin = match activity.phase {
            Phase::Pending => !activity.cancel && !suspended && !late,
            Phase::Delivered => true,
            Phase::Running
            | Phase::Verifying
            | Phase::Succeeded
            | Phase::Failed
            | Phase::Refused
            | Phase::Interrupted
            | Phase::Canceled
            | Phase::Expired => false,
        };
        let left = activity.spec.expiry.duration_since(now).as_secs();
        let left = if self.plants(Plant::ExpiryIgnored) { left + 7 * 24 * 3600 } else { left };
        if !may_begin || left <= 0 || activity.spec.machine_uid != self.hosts[m].uid {
            return;
        }
        let delivery = Delivery {
            m,
            activity: Box::new(activity.clone()),
            version,
            asked: self.hosts[m].moment(now),
            left: left.unsigned_abs(),
        };
        let wait = self.dice.millis(1, 80);
        self.for_gateway(g, wait, ForGateway::DeliverIfCurrent(delivery));
    }

    /// Delivery, second: whether the activity is of the present epoch (rule A3).
    pub(crate) fn deliver_if_current(&mut self, g: usize, delivery: Delivery) {
        let current = self.api.lease.epoch == delivery.activity.epoch;
        if !current {
            self.stale_deliveries += 1;
        }
        if current || self.plants(Plant::LateLeaderDelivered) {
            let wait = self.dice.millis(1, 80);
            self.for_gateway(g, wait, ForGateway::Deliver(delivery));
        }
    }

    /// Delivery, third: the compare-and-set, before the bytes leave.
    pub(crate) fn deliver(&mut self, g: usize, delivery: Delivery) {
        let now = self.now;
        let Delivery { m, activity, version, asked, left } = delivery;
        let name = activity.spec.name.clone();
        let Some((there, stored)) = self.api.activity(&name) else { return };
        let delivered = stored.phase == Phase::Delivered && stored.uid == activity.uid;
        if activity.phase != Phase::Delivered || !delivered {
            if there != version {
                // Somebody wrote it meanwhile: it is read again.
                let wait = self.dice.millis(1, 80);
                return self.for_gateway(g, wait, ForGateway::News { m });
            }
            self.api.edit_activity(&name, |activity| {
                activity.phase = Phase::Delivered;
                activity.delivered = Some(now);
            });
            let gateway = Some(self.gateways[g].name.clone());
            self.log(What::ActivityDelivered { name, gateway, at: None });
        }
        self.answer(m, Word::Offer { activity, asked, left });
    }

    /// How far a machine is, in its words (rules A2, A4).
    fn take_progress(&mut self, m: usize, progress: &Progress) {
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
        let cancel = activity.cancel || over;
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

    /// A planted bug: the machine forgets what it did, and is given it again, once.
    fn dispatch_again(&mut self, m: usize, name: &ActivityName) {
        let Some((_, activity)) = self.api.activity(name) else { return };
        let activity = Box::new(activity.clone());
        if self.bent.doubled(name) {
            self.hosts[m].journal = muster_journal::Journal::default();
            let asked = self.hosts[m].moment(self.now);
            self.answer(m, Word::Offer { activity, asked, left: 3600 });
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

    /// The fresh word before a reboot (rule W6): everything is read afresh.
    fn say_whether_it_may_start(&mut self, m: usize, name: &ActivityName, uid: &Uid, step: usize) {
        let now = self.now;
        let machine = &self.hosts[m].name;
        let (Some(object), Some((_, activity))) = (self.api.machine(machine), self.api.activity(name)) else {
            return self.answer(m, Word::Rejected { uid: uid.clone() });
        };
        let Some(one) = activity.spec.steps.get(step).filter(|_| activity.uid == *uid) else {
            return self.answer(m, Word::Rejected { uid: uid.clone() });
        };
        let policy = self.api.policy();
        let away = object.machine.suspend || !object.machine.admitted || policy.suspend;
        let allowed = if activity.cancel || activity.phase.is_finished() || away {
            Err(OutcomeReason::CancelRequested)
        } else if activity.spec.expiry <= now
            || !self.is_open(&object.machine, &activity.spec, one.action.cover(), now)
        {
            Err(OutcomeReason::WindowClosed)
        } else {
            Ok(())
        };
        let allowed = if self.plants(Plant::FreshWordAlwaysYes) { Ok(()) } else { allowed };
        self.answer(m, Word::MayStart { step, allowed });
    }

    fn is_open(
        &self,
        machine: &muster_model::Machine,
        activity: &ActivitySpec,
        cover: Cover,
        now: Instant,
    ) -> bool {
        let policy = self.api.policy();
        let selecting: Vec<&Window> = self
            .api
            .windows()
            .filter(|window| window.covers(cover) && window.selector.matches(|key| machine.label(key)))
            .collect();
        let mut passes = Passes::new();
        for passed in activity.passed.iter().filter(|passed| passed.cover == cover) {
            let found = self.api.window_override(&passed.by);
            if let Some(found) = found.filter(|one| now < one.until && one.windows.contains(&passed.window)) {
                let pass = Pass { by: found.name.clone(), until: found.until };
                passes.insert(passed.window.clone(), pass);
            }
        }
        let estimate = policy.estimates.of(cover);
        matches!(openness_past(&selecting, &passes, policy.windows, now, estimate), Openness::Open { .. })
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
