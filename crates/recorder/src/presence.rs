//! Who is heard: from gateways' leases and what they publish.

use std::collections::{BTreeMap, BTreeSet};

use muster_checker::event::What;
use muster_fleet::{GatewayLease, PresenceShard};
use muster_model::{Instant, MachineName};
use smol_str::SmolStr;

/// What gateways say.
#[derive(Debug, Default)]
pub(crate) struct Hearing {
    gateways: BTreeMap<SmolStr, GatewayLease>,
    shards: BTreeMap<(SmolStr, SmolStr), PresenceShard>,
    up: bool,
    /// What was told: whether it is heard.
    told: BTreeMap<MachineName, bool>,
    /// Something was published since the last look.
    news: bool,
    /// When a lease runs out, unless it is renewed.
    next: Option<Instant>,
}

impl Hearing {
    pub(crate) fn gateway(&mut self, name: &SmolStr, lease: Option<GatewayLease>) {
        self.news = true;
        match lease {
            Some(lease) => drop(self.gateways.insert(name.clone(), lease)),
            None => drop(self.gateways.remove(name)),
        }
    }

    pub(crate) fn shard(&mut self, gateway: &SmolStr, shard: &SmolStr, heard: Option<&PresenceShard>) {
        self.news = true;
        let key = (gateway.clone(), shard.clone());
        match heard {
            Some(heard) => drop(self.shards.insert(key, heard.clone())),
            None => drop(self.shards.remove(&key)),
        }
    }

    pub(crate) fn forget(&mut self, machine: &MachineName) {
        self.told.remove(machine);
    }

    /// What is new at that instant about the machines that have reported.
    pub(crate) fn look<'a>(
        &mut self,
        now: Instant,
        machines: impl Iterator<Item = &'a MachineName>,
    ) -> Vec<What> {
        let up = self.gateways.values().any(|lease| lease.valid_until > now);
        let mut events = Vec::new();
        if up != self.up {
            self.up = up;
            self.news = true;
            events.push(if up { What::GatewaysUp {} } else { What::GatewaysDown {} });
        }
        let unknown: Vec<&MachineName> = machines.collect();
        let news = std::mem::take(&mut self.news) || self.next.is_some_and(|next| next <= now);
        if !news && unknown.len() == self.told.len() {
            return events;
        }
        self.next = self.gateways.values().map(|lease| lease.valid_until).filter(|end| *end > now).min();
        let mut told = std::mem::take(&mut self.told);
        let (heard, silent) = self.heard(now);
        for machine in unknown {
            let was = told.get(machine).copied();
            if heard.contains(machine) {
                if was != Some(true) {
                    told.insert(machine.clone(), true);
                    events.push(What::Heard { machine: machine.clone() });
                }
            } else if let (last, Some(true)) | (last @ Some(_), None) = (silent.get(machine), was) {
                told.insert(machine.clone(), false);
                let last_heard = last.copied().unwrap_or(now);
                events.push(What::Silent { machine: machine.clone(), last_heard });
            }
        }
        self.told = told;
        events
    }

    /// Who is heard now, and of the others when last.
    fn heard(&self, now: Instant) -> (BTreeSet<&MachineName>, BTreeMap<&MachineName, Instant>) {
        let (mut heard, mut silent): (BTreeSet<&MachineName>, BTreeMap<&MachineName, Instant>) =
            Default::default();
        for ((gateway, _), shard) in &self.shards {
            let Some(lease) = self.gateways.get(gateway) else { continue };
            let mut until = |machine, at: Instant| {
                let last = silent.entry(machine).or_insert(at);
                *last = (*last).max(at);
            };
            for machine in &shard.present {
                if lease.valid_until > now {
                    heard.insert(machine);
                } else {
                    until(machine, lease.renewed);
                }
            }
            shard.silent.iter().for_each(|(machine, at)| until(machine, *at));
        }
        (heard, silent)
    }
}
