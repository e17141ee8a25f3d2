//! What a machine says to its gateway, and what it hears. Every message, either way, may be lost; then it is said again.

use jiff::SignedDuration;
use muster_journal::{Input, Moment, Offer, OfferedStep, Progress};
use muster_model::{Activity, ActivityName, Digest, ProposalKey, Uid, WantedSet};

use crate::fault::Fault;
use crate::gateway::{Request, Word};
use crate::storm::{ForGateway, ForHost, Storm};

/// An answer that has not come by then is asked for again.
const ANSWER_WITHIN: SignedDuration = SignedDuration::from_secs(15);

impl Storm {
    /// Says something to the machine's gateway; `false`: there is none.
    fn say(&mut self, m: usize, request: Request) -> bool {
        let Some(gateway) = self.hosts[m].gateway else { return false };
        let latency = self.dice.millis(10, 300);
        let life = self.hosts[m].life;
        if !self.is_lost(m) {
            self.for_gateway(gateway, latency, ForGateway::Asked { m, life, request: Box::new(request) });
        }
        self.for_host(m, ANSWER_WITHIN, ForHost::Turn);
        true
    }

    /// Whether an answer is still to be waited for.
    fn waits(&self, sent: Option<muster_model::Instant>) -> bool {
        sent.is_some_and(|sent| self.now < sent + ANSWER_WITHIN)
    }

    /// Says the report, unless its gateway has it (rule M2).
    pub(super) fn report_if_due(&mut self, m: usize) {
        let host = &self.hosts[m];
        if host.gateway.is_none() || self.waits(host.report_sent) {
            return;
        }
        let suite = &self.suites[host.suite];
        let host = &mut self.hosts[m];
        if host.is_told(suite) {
            return;
        }
        let report = host.found(suite);
        let (_, inventory) = host.inventory(suite);
        host.report_sent = Some(self.now);
        let (session, sequence) = (host.session, host.sequence);
        self.say(m, Request::Report { session, sequence, report: Box::new(report), inventory });
    }

    pub(crate) fn report_answered(&mut self, m: usize, session: u64, sequence: u64, digest: Digest) {
        let host = &mut self.hosts[m];
        host.report_sent = None;
        host.session = session;
        host.sequence = sequence;
        host.told = Some(digest);
        self.hears(m);
        self.turn(m);
    }

    /// Lets apt simulate what is wanted, once for each inventory and wanted set (rule A7).
    pub(super) fn propose_if_due(&mut self, m: usize) {
        let host = &self.hosts[m];
        let suite = &self.suites[host.suite];
        if host.gateway.is_none() || host.wanted.items.is_empty() || self.waits(host.proposal_sent) {
            return;
        }
        let host = &mut self.hosts[m];
        let (inventory, _) = host.inventory(suite);
        let key = ProposalKey { inventory, wanted: host.wanted.digest() };
        if host.proposed.as_ref() == Some(&key.digest()) || !host.is_told(suite) {
            return;
        }
        let proposal = match &host.recorded {
            Some(recorded) => self.lore.propose(recorded, &host.wanted),
            None => suite.simulate(&host.dpkg, &host.wanted),
        };
        host.proposal_sent = Some(self.now);
        self.say(m, Request::Propose { key, proposal });
    }

    pub(crate) fn proposal_answered(&mut self, m: usize, key: &ProposalKey, taken: bool) {
        let host = &mut self.hosts[m];
        host.proposal_sent = None;
        // Where something else is wanted meanwhile, the next word says what.
        if taken || host.wanted.digest() != key.wanted {
            host.proposed = Some(key.digest());
            self.turn(m);
        }
    }

    pub(super) fn send_progress(&mut self, m: usize, progress: Progress) {
        if self.waits(self.hosts[m].asked) {
            return;
        }
        let sent = self.say(m, Request::Progress(progress));
        self.hosts[m].asked = sent.then_some(self.now);
    }

    pub(super) fn ask_may_start(&mut self, m: usize, name: ActivityName, uid: Uid, step: usize) {
        if self.waits(self.hosts[m].asked) {
            return;
        }
        let sent = self.say(m, Request::MayStart { name, uid, step });
        self.hosts[m].asked = sent.then_some(self.now);
    }

    /// The machine hears something from its gateway.
    pub(crate) fn hear(&mut self, m: usize, word: Word) {
        let now = self.now;
        match word {
            Word::Wanted(wanted) => return self.take_wanted(m, wanted),
            Word::Offer { activity, asked, left } => return self.take_offer(m, &activity, asked, left),
            Word::Cancel { uid } => self.hosts[m].tell(Input::CancelAsked { uid }, now),
            Word::Acknowledged { uid, phase, cancel } => {
                let host = &mut self.hosts[m];
                host.asked = None;
                if cancel && !phase.is_finished() {
                    host.tell(Input::CancelAsked { uid: uid.clone() }, now);
                }
                host.tell(Input::Acknowledged { uid, phase }, now);
                if phase.is_finished() {
                    host.expires = None;
                    // The next activity may be waiting for the machine to be done with this one.
                    let wait = self.dice.millis(50, 1000);
                    self.for_host(m, wait, ForHost::Poll);
                }
            }
            Word::Rejected { uid } => {
                let host = &mut self.hosts[m];
                host.asked = None;
                host.tell(
                    Input::Rejected { uid, message: "this machine has no such activity".to_owned() },
                    now,
                );
                self.for_host(m, SignedDuration::from_secs(1), ForHost::Poll);
            }
            Word::MayStart { step, allowed } => {
                self.hosts[m].asked = None;
                self.hosts[m].tell(Input::MayStart { step, allowed }, now);
            }
            Word::ShutOut => {
                // It tries again, like an agent that is refused: it may have been enrolled anew meanwhile.
                self.disconnect(m);
                let wait = self.dice.minutes(1, 5);
                return self.for_host(m, wait, ForHost::Connect);
            }
        }
        self.turn(m);
    }

    fn take_wanted(&mut self, m: usize, wanted: WantedSet) {
        let host = &mut self.hosts[m];
        if host.wanted != wanted {
            host.wanted = wanted;
            // As the agent does: what was refused for another wanted set may be wanted again.
            host.proposed = None;
            host.changed();
        }
        self.turn(m);
    }

    fn take_offer(&mut self, m: usize, activity: &Activity, asked: Moment, left: u64) {
        let now = self.now;
        let host = &mut self.hosts[m];
        let steps = activity.spec.steps.iter().map(|step| OfferedStep {
            action: step.action.clone(),
            timeout_seconds: step.timeout.as_secs().unsigned_abs(),
        });
        let offer = Offer {
            name: activity.spec.name.clone(),
            uid: activity.uid.clone(),
            steps: steps.collect(),
            health: muster_model::HealthCheck::clone(&activity.spec.health),
            asked,
            expires_in_seconds: left,
            cancel: activity.cancel,
        };
        let free = host.journal.current().is_none();
        host.tell(Input::Offered(Box::new(offer)), now);
        if free {
            host.timeouts = activity.spec.steps.iter().map(|step| step.timeout).collect();
            host.settle_seconds = activity.spec.health.settle_seconds;
            let wait = SignedDuration::from_secs(i64::try_from(left).unwrap_or(i64::MAX) + 1);
            self.hosts[m].expires = Some(now + wait);
            self.for_host(m, wait, ForHost::Waited);
        }
        self.turn(m);
    }

    /// Time passed: is it too late to begin?
    pub(crate) fn waited(&mut self, m: usize) {
        let now = self.now;
        if self.hosts[m].agent {
            self.hosts[m].tell(Input::Waited, now);
            self.turn(m);
        }
    }

    /// The machine looks for a gateway that is up.
    pub(crate) fn connect(&mut self, m: usize) {
        let host = &self.hosts[m];
        if !host.agent || !host.reachable || host.gateway.is_some() {
            return;
        }
        let up: Vec<usize> = (0..self.gateways.len()).filter(|g| self.gateways[*g].up).collect();
        if up.is_empty() {
            let wait = self.dice.seconds(10, 30);
            return self.for_host(m, wait, ForHost::Connect);
        }
        let gateway = *self.dice.pick(&up);
        self.hosts[m].gateway = Some(gateway);
        // Before anything else it says who it is, and confirms its report.
        self.hosts[m].told = None;
        self.hosts[m].report_sent = None;
        self.hosts[m].asked = None;
        self.turn(m);
        self.poll(m);
    }

    /// What its gateway may have for it.
    pub(crate) fn poll(&mut self, m: usize) {
        if let Some(gateway) = self.hosts[m].gateway {
            let wait = self.dice.millis(5, 100);
            self.for_gateway(gateway, wait, ForGateway::News { m });
        }
    }

    /// It talks to nobody any more; its gateway notices after a while.
    pub(crate) fn disconnect(&mut self, m: usize) {
        let Some(gateway) = self.hosts[m].gateway.take() else { return };
        self.hosts[m].told = None;
        self.hosts[m].report_sent = None;
        self.hosts[m].proposal_sent = None;
        self.hosts[m].asked = None;
        self.unheard(gateway, m);
    }

    pub(crate) fn unreachable(&mut self, m: usize, lasts: SignedDuration) {
        self.disconnect(m);
        self.hosts[m].reachable = false;
        self.for_host_of_any_life(m, lasts, ForHost::Reachable);
    }

    pub(crate) fn reachable(&mut self, m: usize) {
        self.hosts[m].reachable = true;
        self.connect(m);
    }

    /// Whether a message is lost.
    fn is_lost(&mut self, m: usize) -> bool {
        self.strikes(Fault::MessageLost, m)
    }
}
