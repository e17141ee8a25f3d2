//! Gateways: reports, presence, delivery by compare-and-set in the present epoch, results, the fresh word.
//!
//! Who asks what, and what is news, is here; each answer is in a file of its own. It does what the product's gateway does,
//! against the model of the API. Each read and each write is an instant of its own, so that anything may come between them.

mod delivery;
mod presence;
mod progress;
mod reports;
mod word;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::SignedDuration;
use muster_journal::{Moment, Progress};
use muster_model::{
    Activity, ActivityName, BootId, Instant, Inventory, MachineName, OutcomeReason, Phase, Proposal,
    ProposalKey, Report, Uid, WantedSet,
};
use smol_str::{SmolStr, format_smolstr};

use crate::fault::Fault;
use crate::storm::{ForGateway, ForHost, Storm};

/// How often a machine polls at the least.
const POLL: SignedDuration = SignedDuration::from_secs(50);

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
    boots: BTreeMap<Uid, VecDeque<BootId>>,
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

impl Storm {
    /// Says something to a machine that is connected.
    fn answer(&mut self, m: usize, word: Word) {
        if self.strikes(Fault::MessageLost, m) {
            return;
        }
        let latency = self.dice.millis(10, 300);
        self.for_host(m, latency, ForHost::Hear(Box::new(word)));
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
}
