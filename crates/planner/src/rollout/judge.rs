//! How far an item may go: which waves have passed it, and what the first that has not waits for (rules O2, O6, O7).
//!
//! Arithmetic alone; what machines say was counted before.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use muster_model::{Approval, Instant, ItemProgress, ObjectName, REST, RolloutSpec, WaveProgress};
use smol_str::SmolStr;

use crate::rollout::seats::{Seat, Seats};
use crate::rollout::stand::Stand;
use crate::timer::{Timer, after};

/// What the machines of one zone of a wave say of an item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) wanted: usize,
    pub(crate) done: usize,
    pub(crate) skipped: usize,
    pub(crate) spent: usize,
    /// The instants since when those that have it have it, each with how many they are.
    since: BTreeMap<Instant, usize>,
    /// The sum of their marks.
    holders: u64,
}

impl Count {
    /// Counts a machine in, by its mark.
    pub(crate) fn add(&mut self, stand: Stand, mark: u64) {
        self.wanted += 1;
        match stand {
            Stand::Done(since) => {
                self.done += 1;
                self.holders = self.holders.wrapping_add(mark);
                *self.since.entry(since).or_insert(0) += 1;
            }
            Stand::Skipped => self.skipped += 1,
            Stand::Spent => self.spent += 1,
            Stand::Open => {}
        }
    }

    /// Counts it out.
    pub(crate) fn take_away(&mut self, stand: Stand, mark: u64) {
        self.wanted -= 1;
        match stand {
            Stand::Done(since) => {
                self.done -= 1;
                self.holders = self.holders.wrapping_sub(mark);
                if let Some(machines) = self.since.get_mut(&since) {
                    *machines -= 1;
                    if *machines == 0 {
                        self.since.remove(&since);
                    }
                }
            }
            Stand::Skipped => self.skipped -= 1,
            Stand::Spent => self.spent -= 1,
            Stand::Open => {}
        }
    }

    /// The latest of the instants since when those that have it have it.
    fn since(&self) -> Option<Instant> {
        self.since.last_key_value().map(|(since, _)| *since)
    }

    fn open(&self) -> usize {
        self.wanted - self.done - self.skipped - self.spent
    }
}

/// What all zones of a wave say of an item.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    wanted: usize,
    done: usize,
    skipped: usize,
    open: usize,
    holders: u64,
}

impl Total {
    /// Whether those that have it are those of when it was noted last, as far as that is known: then it is since then, and
    /// a later report alone restarts no soak. Another one in place of one of them does.
    fn holds_on(&self, known: &WaveProgress) -> bool {
        known.done == self.done && known.holders.is_none_or(|holders| holders == self.holders)
    }
}

/// What the machines of one wave say of an item.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// By the zone's number.
    pub(crate) zones: BTreeMap<usize, Count>,
    /// Machines of which it is not known what they want.
    pub(crate) unknown: usize,
    /// Machines that may come to want it once they have looked what is on offer.
    pub(crate) undecided: usize,
    /// Machines that failed it.
    pub(crate) failed: usize,
}

impl Tally {
    fn total(&self) -> Total {
        let mut total = Total::default();
        for count in self.zones.values() {
            total.wanted += count.wanted;
            total.done += count.done;
            total.skipped += count.skipped;
            total.open += count.open();
            total.holders = total.holders.wrapping_add(count.holders);
        }
        total
    }
}

/// What an item that is not released waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// The wave's machines.
    Wave { done: usize, wanted: usize },
    /// The wave's soak.
    Soak { until: Instant },
    /// A person's approval.
    Approval,
    /// Evidence, which the wave cannot bring.
    NoEvidence { machines: usize },
}

/// A zone that is not through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenZone {
    pub(crate) number: usize,
    pub(crate) name: SmolStr,
    pub(crate) done: usize,
    pub(crate) wanted: usize,
    /// When it is, if only time is missing.
    pub(crate) until: Option<Instant>,
}

/// How far an item may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Front {
    /// The first wave that has not passed it; its machines may start it.
    pub(crate) wave: usize,
    /// Of these, those up to this zone.
    pub(crate) zone: Option<OpenZone>,
    /// What the waves after it wait for; `None` where it is the last.
    pub(crate) hold: Option<Hold>,
}

/// Why a machine may not start an item yet.
pub(crate) enum Obstacle<'a> {
    /// For what its wave, or one before, waits.
    Wave(usize, &'a Hold),
    /// For a zone before its own.
    Zone(&'a OpenZone),
}

impl Front {
    pub(crate) fn obstacle(&self, seat: Seat) -> Option<Obstacle<'_>> {
        let hold = self.hold.as_ref();
        if seat.wave > self.wave || (seat.wave == self.wave && hold == Some(&Hold::Approval)) {
            return hold.map(|hold| Obstacle::Wave(self.wave, hold));
        }
        let zone = self.zone.as_ref().filter(|zone| seat.wave == self.wave && seat.zone > zone.number);
        zone.map(Obstacle::Zone)
    }
}

/// What one item's waves are judged by.
pub(crate) struct Judge<'a> {
    pub(crate) spec: &'a RolloutSpec,
    pub(crate) seats: &'a Seats,
    /// How long a wave of which no machine wants an item is waited for, since machines do not all look at the same time.
    pub(crate) look: SignedDuration,
    /// Now, in whole seconds.
    pub(crate) now: Instant,
    pub(crate) timer: &'a Timer,
}

/// How a wave came out.
enum Judged {
    Passed,
    /// None of its machines wants the item: the next may be the first.
    Void,
    Holds(Option<OpenZone>, Hold),
}

impl Judge<'_> {
    /// Judges wave after wave, notes what passes in `progress`, and says how far the item may go. `overrules`: a person
    /// resumed the item though a wave had no evidence of it.
    pub(crate) fn judge(&self, progress: &mut ItemProgress, tallies: &[Tally], mut overrules: bool) -> Front {
        let mut void: Vec<&ObjectName> = Vec::new();
        for (number, wave) in self.spec.waves.iter().enumerate() {
            if progress.waves.get(&wave.name).is_some_and(|known| known.passed.is_some()) {
                continue;
            }
            let approved = progress.approved.is_some();
            let mut known = progress.waves.remove(&wave.name).unwrap_or_default();
            let mut judged = self.wave(number, &tallies[number], &mut known, progress.seen);
            if wave.approval == Approval::Required && !approved {
                judged = Judged::Holds(None, Hold::Approval);
            }
            if overrules && matches!(judged, Judged::Holds(_, Hold::NoEvidence { .. })) {
                overrules = false;
                judged = Judged::Passed;
            }
            match judged {
                Judged::Passed => {
                    known.passed = Some(self.now);
                    known.holders = None;
                    progress.waves.insert(wave.name.clone(), known);
                    // What was passed over is behind it for good, too.
                    for name in void.drain(..) {
                        progress.waves.entry(name.clone()).or_default().passed = Some(self.now);
                    }
                }
                Judged::Void => void.push(&wave.name),
                Judged::Holds(zone, hold) => {
                    if known != WaveProgress::default() {
                        progress.waves.insert(wave.name.clone(), known);
                    }
                    return Front { wave: number, zone, hold: Some(hold) };
                }
            }
        }
        let rest = self.spec.waves.len();
        let zone = self.rest(&tallies[rest], progress);
        if zone.is_none() && !self.may_still_take_turns(&tallies[rest], progress.seen) {
            progress.released = Some(self.now);
        }
        Front { wave: rest, zone, hold: None }
    }

    fn wave(&self, number: usize, tally: &Tally, known: &mut WaveProgress, seen: Option<Instant>) -> Judged {
        let machines = self.seats.machines[number];
        let total = tally.total();
        if self.seats.picked[number] == 0 {
            return Judged::Holds(None, Hold::NoEvidence { machines });
        }
        if tally.unknown > 0 {
            let wanted = total.wanted + tally.unknown;
            let zone = self.open_zone(tally, known);
            return Judged::Holds(zone, Hold::Wave { done: total.done, wanted });
        }
        if total.wanted == 0 {
            // Its machines began with it and want something else by now: what they were to show is not shown.
            if known.wanted > 0 {
                return Judged::Holds(None, Hold::NoEvidence { machines });
            }
            let looked = after(seen.unwrap_or(self.now), self.look);
            if tally.undecided > 0 && !self.timer.reached(looked) {
                return Judged::Holds(None, Hold::Wave { done: 0, wanted: tally.undecided });
            }
            return Judged::Void;
        }
        let soak = self.spec.waves[number].soak;
        let zone = self.zones(tally, known, soak);
        if let Some(zone) = zone {
            let hold = match zone.until {
                Some(until) if total.open == 0 => Hold::Soak { until },
                Some(_) | None => Hold::Wave { done: total.done, wanted: total.wanted },
            };
            return Judged::Holds(Some(zone), hold);
        }
        // Who came to want it in a zone that was through already holds up no zone, but the wave.
        if total.open > 0 {
            return Judged::Holds(None, Hold::Wave { done: total.done, wanted: total.wanted });
        }
        if total.done == 0 {
            return Judged::Holds(None, Hold::NoEvidence { machines });
        }
        match known.since.map(|since| after(since, soak)).filter(|until| !self.timer.reached(*until)) {
            Some(until) => Judged::Holds(None, Hold::Soak { until }),
            None => Judged::Passed,
        }
    }

    /// Whether the zones of the rest, none of which holds up another now, may have to take turns yet: its machines do not all
    /// look at the same time, and those that cannot go on now may later.
    fn may_still_take_turns(&self, tally: &Tally, seen: Option<Instant>) -> bool {
        if self.spec.zone_key.is_none() {
            return false;
        }
        let total = tally.total();
        if total.wanted > 0 {
            return total.skipped == total.wanted;
        }
        let looked = after(seen.unwrap_or(self.now), self.look);
        tally.unknown + tally.undecided > 0 && !self.timer.reached(looked)
    }

    /// The rest has no soak and needs no evidence: it is the last. Without zones there is nothing to wait for.
    fn rest(&self, tally: &Tally, progress: &mut ItemProgress) -> Option<OpenZone> {
        self.spec.zone_key.as_ref()?;
        let name = ObjectName::parse(REST).expect("a constant that is a name");
        let mut known = progress.waves.remove(&name).unwrap_or_default();
        let zone = self.zones(tally, &mut known, SignedDuration::ZERO);
        if known != WaveProgress::default() {
            progress.waves.insert(name, known);
        }
        zone
    }

    /// The first zone that is not known to be through: while it is not known what all machines want, none passes.
    fn open_zone(&self, tally: &Tally, known: &WaveProgress) -> Option<OpenZone> {
        let through = known.zone.as_ref().map_or(0, |zone| self.seats.zones_through(zone));
        let (number, count) =
            tally.zones.iter().find(|(number, count)| **number >= through && count.wanted > 0)?;
        let name = self.seats.zones[*number].clone();
        Some(OpenZone { number: *number, name, done: count.done, wanted: count.wanted, until: None })
    }

    /// The first zone that is not through, if there is one; without a zone key all machines are in the same.
    ///
    /// A zone is through when each of its machines has the item, soaked, or is not waited for; for good, when one has it.
    /// That there is evidence is asked of the wave, not of each of its zones: one that has none holds up no other, and has its
    /// turn when its machines come to want the item.
    fn zones(&self, tally: &Tally, known: &mut WaveProgress, soak: SignedDuration) -> Option<OpenZone> {
        let since = noted(tally, known);
        let through = known.zone.as_ref().map_or(0, |zone| self.seats.zones_through(zone));
        let mut latest = None;
        for (number, count) in tally.zones.iter().filter(|(_, count)| count.wanted > 0) {
            latest = latest.max(count.since());
            known.since = since.or(latest.map(seconds_up));
            if *number < through {
                continue;
            }
            let name = self.seats.zones[*number].clone();
            let mut open = OpenZone {
                number: *number,
                name: name.clone(),
                done: count.done,
                wanted: count.wanted,
                until: None,
            };
            if count.open() > 0 {
                return Some(open);
            }
            let until = known.since.filter(|_| count.done > 0).map(|since| after(since, soak));
            if let Some(until) = until.filter(|until| !self.timer.reached(*until)) {
                open.until = Some(until);
                return Some(open);
            }
            if self.spec.zone_key.is_some() && count.done > 0 {
                known.zone = Some(name);
            }
        }
        None
    }
}

/// Notes what the machines of a wave say, and since when those that have it have it, as far as that was known before.
fn noted(tally: &Tally, known: &mut WaveProgress) -> Option<Instant> {
    let total = tally.total();
    let since = known.since.filter(|_| total.holds_on(known));
    let Total { wanted, done, skipped, open: _, holders } = total;
    let holders = (done > 0).then_some(holders);
    *known = WaveProgress { wanted, done, skipped, failed: tally.failed, since, holders, ..known.clone() };
    since
}

/// Notes what the waves of an item say that is not judged, since it is barred.
pub(crate) fn note(spec: &RolloutSpec, progress: &mut ItemProgress, tallies: &[Tally]) {
    for (wave, tally) in spec.waves.iter().zip(tallies) {
        let total = tally.total();
        if total.wanted == 0 && tally.failed == 0 {
            continue;
        }
        let known = progress.waves.entry(wave.name.clone()).or_default();
        if known.passed.is_none() {
            noted(tally, known);
        }
    }
}

/// In whole seconds, never earlier: what soaks must not end before its time.
fn seconds_up(at: Instant) -> Instant {
    let whole = seconds(at);
    if whole == at { at } else { after(whole, SignedDuration::from_secs(1)) }
}

/// In whole seconds, as it is recorded.
pub(crate) fn seconds(at: Instant) -> Instant {
    Instant::from_second(at.as_second()).expect("the seconds of an instant are an instant")
}
