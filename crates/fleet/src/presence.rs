//! Who is heard: from what the gateways publish (design §8, rules B2, M1).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use muster_model::{Instant, Machine, MachineName, Presence};
use smol_str::SmolStr;

use crate::State;
use crate::input::{GatewayLease, PresenceShard};

/// A machine's first report is on record before its gateway publishes that it hears it: seconds later, as a rule.
const FIRST_WORDS: SignedDuration = SignedDuration::from_mins(2);

/// How long watches have to show what was missed.
const CATCH_UP: SignedDuration = SignedDuration::from_secs(5);

/// Whose presence may be another than it was when they were last looked at.
#[derive(Debug)]
pub(crate) enum Doubt {
    /// That of these.
    Of(BTreeSet<MachineName>),
    /// Anybody's.
    OfAll,
}

impl Default for Doubt {
    fn default() -> Self {
        Self::Of(BTreeSet::new())
    }
}

impl Doubt {
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::Of(names) if names.is_empty())
    }

    pub(crate) fn add<'a>(&mut self, names: impl IntoIterator<Item = &'a MachineName>) {
        if let Self::Of(all) = self {
            all.extend(names.into_iter().cloned());
        }
    }

    /// What `all` says of those whom it is about.
    fn of<'a, T>(&self, all: &'a BTreeMap<MachineName, T>) -> Vec<(&'a MachineName, &'a T)> {
        match self {
            Self::Of(names) => names.iter().filter_map(|name| all.get_key_value(name)).collect(),
            Self::OfAll => all.iter().collect(),
        }
    }

    /// Those of `all` whom it is about.
    fn among<'a>(&self, all: &'a BTreeSet<MachineName>) -> Vec<&'a MachineName> {
        match self {
            Self::Of(names) => names.iter().filter_map(|name| all.get(name)).collect(),
            Self::OfAll => all.iter().collect(),
        }
    }
}

/// Of whom a shard says something else by now.
pub(crate) fn changed<'a>(
    before: &'a PresenceShard,
    after: &'a PresenceShard,
) -> impl Iterator<Item = &'a MachineName> {
    // Of another life of its gateway it says something else of everybody.
    let anew = before.since != after.since;
    let present = before.present.symmetric_difference(&after.present);
    let silent = [(before, after), (after, before)].into_iter().flat_map(|(one, other)| {
        one.silent.iter().filter(|(name, at)| other.silent.get(*name) != Some(*at)).map(|(name, _)| name)
    });
    let all = [before, after].into_iter().flat_map(|shard| shard.present.iter());
    present.chain(silent).chain(all.filter(move |_| anew))
}

/// Brings presence up to date where it may have changed and notes when it may change by itself.
pub(crate) fn refresh(state: &mut State, now: Instant) {
    // By a clock that is off no Lease has run out and nobody is silent (rule A3): it is looked at once it is right again.
    if state.world.clock_off {
        state.doubt = Doubt::default();
        state.next_look = None;
        state.catches_up = None;
        return;
    }
    if must_catch_up(state, now) {
        return;
    }
    let due = state.next_look.is_some_and(|next| next <= now) || state.gateway_up_since.is_none();
    if due || !state.doubt.is_none() {
        let up: BTreeSet<SmolStr> = up(state, now).map(|(name, _)| name.clone()).collect();
        let is_due = |until: Option<Instant>| until.is_some_and(|until| until <= now);
        if up != state.gateways_up || state.gateway_up_since.is_none() || is_due(state.first_words) {
            state.doubt = Doubt::OfAll;
            state.first_words = None;
        }
        state.gateways_up = up;
        note_gateways(state, now);
        look(state, now);
    }
    let ends = state.gateways.values().map(|lease| lease.valid_until);
    state.next_look = ends.chain(state.first_words).filter(|end| *end > now).min();
}

/// Looks at those who are in doubt.
fn look(state: &mut State, now: Instant) {
    let doubt = std::mem::take(&mut state.doubt);
    let heard = heard(state, now, &doubt);
    let up_since = state.gateway_up_since;
    let mut first_words = state.first_words;
    let mut others: Vec<(MachineName, Presence)> = Vec::new();
    for (name, machine) in doubt.of(&state.world.machines) {
        let last_heard = match heard.get(name) {
            Some(Heard::Now) => Ok(None),
            Some(Heard::Until(last_heard)) => Ok(Some(*last_heard)),
            // A gateway that comes back has not heard it: who was silent is so for as long as before.
            Some(Heard::Before { died_by, last_heard }) => Ok(Some(match machine.presence {
                Presence::Silent { last_heard: known, .. } => last_heard.map_or(known, |at| at.max(known)),
                Presence::Present | Presence::Never => *died_by,
            })),
            None => match unheard(machine, now) {
                Unheard::Since(last_heard) => Ok(Some(last_heard)),
                Unheard::Yet(until) => Err(until),
            },
        };
        let presence = match last_heard {
            Ok(None) => Presence::Present,
            Ok(Some(last_heard)) => {
                // With no gateway up nobody could hear it: that time does not count (rule B2).
                let counted_from = up_since.map_or(now, |since| since.max(last_heard));
                Presence::Silent { last_heard, counted_from }
            }
            Err(until) => {
                first_words = first_words.into_iter().chain(until).min();
                Presence::Never
            }
        };
        if machine.presence != presence {
            others.push((name.clone(), presence));
        }
    }
    state.first_words = first_words;
    for (name, presence) in others {
        let Some(machine) = state.world.machines.get_mut(&name) else { continue };
        // While no gateway is up `counted_from` moves with the clock; that alone changes nothing.
        let moves = match (machine.presence, presence) {
            (Presence::Silent { last_heard: a, .. }, Presence::Silent { last_heard: b, .. }) => a == b,
            _ => false,
        };
        state.dirty |= !(moves && up_since.is_none());
        Arc::make_mut(machine).presence = presence;
        state.touched.machines.insert(name);
    }
}

/// Whether nothing is to be decided yet, since the last gateway's Lease seems to have run out only now.
///
/// It may be we who stood still, with renewals that we have not read: a controller that goes on after a pause would take
/// its own for the gateways', and silence would begin anew for machines that have been silent for hours (rule B2). Watches
/// show what was missed within moments; if no gateway is up, nothing can start in the meantime anyway.
fn must_catch_up(state: &mut State, now: Instant) -> bool {
    match state.catches_up {
        Some(until) if now < until => return true,
        Some(_) => {
            state.catches_up = None;
            return false;
        }
        None => {}
    }
    if state.gateway_up_since.is_some() && state.gateways.values().all(|lease| lease.valid_until <= now) {
        state.catches_up = Some(now + CATCH_UP);
        return true;
    }
    false
}

/// What is to be made of a machine of which no gateway speaks.
enum Unheard {
    /// It is silent: it was heard once, and what a gateway published of it is gone. It may be down.
    Since(Instant),
    /// It was never heard, or its first report may still be on the way to its gateway's presence; then until when.
    Yet(Option<Instant>),
}

fn unheard(machine: &Machine, now: Instant) -> Unheard {
    let Some(reported) = &machine.reported else { return Unheard::Yet(None) };
    match machine.presence {
        Presence::Present => Unheard::Since(now),
        Presence::Silent { last_heard, .. } => Unheard::Since(last_heard),
        Presence::Never => match reported.time + FIRST_WORDS {
            until if until > now => Unheard::Yet(Some(until)),
            _ => Unheard::Since(reported.time),
        },
    }
}

/// The gateways whose Lease is good.
fn up(state: &State, now: Instant) -> impl Iterator<Item = (&SmolStr, &GatewayLease)> {
    state.gateways.iter().filter(move |(_, lease)| lease.valid_until > now)
}

/// Notes since when some gateway is up without a break.
fn note_gateways(state: &mut State, now: Instant) {
    let up = up(state, now).map(|(_, lease)| lease.acquired).min();
    state.gateway_up_since = match (state.gateway_up_since, up) {
        (Some(since), Some(_)) => Some(since),
        (None, Some(acquired)) => match state.looked {
            None => Some(acquired),
            // Not before we last saw that none was; but while our clock was off we did not look (rule A3).
            Some(before) => Some(acquired.max(before).min(now)),
        },
        (_, None) => None,
    };
    state.looked = Some(now);
}

/// When a machine was heard.
enum Heard {
    Now,
    Until(Instant),
    /// By a gateway in an earlier life, which had ended by then; and when another heard it last.
    Before {
        died_by: Instant,
        last_heard: Option<Instant>,
    },
}

/// What gateways say of those in doubt.
fn heard<'a>(state: &'a State, now: Instant, doubt: &Doubt) -> BTreeMap<&'a MachineName, Heard> {
    let mut all: BTreeMap<&MachineName, Heard> = BTreeMap::new();
    let mut put = |name: &'a MachineName, new: Heard| {
        let heard = match (all.remove(name), new) {
            (None, heard) | (Some(Heard::Now), heard @ Heard::Now) => heard,
            (Some(Heard::Now), _) | (Some(_), Heard::Now) => Heard::Now,
            (Some(Heard::Until(a)), Heard::Until(b)) => Heard::Until(a.max(b)),
            (Some(Heard::Before { died_by, last_heard }), Heard::Until(at))
            | (Some(Heard::Until(at)), Heard::Before { died_by, last_heard }) => {
                Heard::Before { died_by: died_by.max(at), last_heard: last_heard.max(Some(at)) }
            }
            (
                Some(Heard::Before { died_by: a, last_heard: x }),
                Heard::Before { died_by: b, last_heard: y },
            ) => Heard::Before { died_by: a.max(b), last_heard: x.max(y) },
        };
        all.insert(name, heard);
    };
    for ((gateway, _), shard) in &state.shards {
        let lease = state.gateways.get(gateway);
        let up = lease.is_some_and(|lease| lease.valid_until > now);
        // Of an earlier life of the gateway: whom it heard then may have been silent for as long as it was down, and its
        // Lease may be seen before what it publishes anew.
        let old = lease.is_some_and(|lease| shard.since.is_some_and(|since| since < lease.acquired));
        for name in doubt.among(&shard.present) {
            match (up, lease) {
                (true, Some(lease)) if old => {
                    put(name, Heard::Before { died_by: lease.acquired, last_heard: None });
                }
                (true, _) => put(name, Heard::Now),
                // The gateway died: what it heard, it heard until it last said so.
                (false, Some(lease)) => put(name, Heard::Until(lease.renewed)),
                (false, None) => {}
            }
        }
        for (name, at) in doubt.of(&shard.silent) {
            put(name, Heard::Until(*at));
        }
    }
    all
}
