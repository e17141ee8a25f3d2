//! What machines report and propose (rules M2, M4), and who is two machines with one identity.

use std::sync::Arc;

use muster_model::{BootId, Inventory, Proposal, ProposalKey, Report, Reported, Uid, WantedSet};
use smol_str::ToSmolStr;

use super::Word;
use crate::api::{Kind, Value};
use crate::fault::Fault;
use crate::storm::{ForHost, Storm};

/// How many boots are remembered, to tell two machines of one identity.
const BOOTS: usize = 4;

impl Storm {
    /// Reports are ordered by a sequence within a session that the gateway opens (rule M4).
    pub(super) fn take_report(
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
    fn is_duplicate(&mut self, g: usize, identity: Uid, boot: &BootId) -> bool {
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

    pub(super) fn take_proposal(&mut self, m: usize, key: ProposalKey, proposal: Proposal) {
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
}
