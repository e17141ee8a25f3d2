//! Whom a gateway hears, for how long its Lease is good, and what it publishes of both.

use jiff::SignedDuration;
use muster_checker::event::What;
use muster_fleet::{GatewayLease, PresenceShard};
use muster_model::{Instant, MachineName};

use crate::api::{Kind, Value};
use crate::storm::{ForGateway, ForHost, Storm};

/// A machine that is not heard for so long is published as silent; the product's number.
const HEARD_FOR: SignedDuration = SignedDuration::from_secs(75);

/// How often the Lease is renewed, and for how long it is good: rarer than in the product, since it changes nothing.
const RENEWAL: SignedDuration = SignedDuration::from_secs(60);
const LEASE: SignedDuration = SignedDuration::from_secs(180);

/// Where no gateway ever dies, each renewal would only be looked at.
const LEASES_OF_RECORDED: i32 = 60;

/// How many shards a gateway's presence has.
const SHARDS: usize = 2;

/// The shard of a machine.
fn shard_of(machine: &MachineName) -> usize {
    machine.as_str().bytes().map(usize::from).sum::<usize>() % SHARDS
}

impl Storm {
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
}
