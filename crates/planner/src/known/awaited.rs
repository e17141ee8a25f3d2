//! Whom a machine waits for: who is to have an item before it (rules O2, O6), and where that goes round in a circle.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{BaselineRef, Item, MachineName, ObjectName, REST, Snapshot, Verdict};
use smol_str::SmolStr;

use crate::known::Known;
use crate::rollout::{Front, Hold, Obstacle, Tied};
use crate::select::Resources;

/// An item that is not yet a machine's turn, and who is to have it first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// In whose rollout.
    pub baseline: BaselineRef,
    /// What the machine waits to begin with.
    pub item: Item,
    /// The wave that is at work; [`REST`] for the machines that no wave picks.
    pub wave: ObjectName,
    /// The zone of that wave that is at work, where the machine is in the same wave.
    pub zone: Option<SmolStr>,
    /// Its machines that the wave, or zone, waits for, in order.
    pub machines: Vec<MachineName>,
}

/// Rollouts of one item that wait for each other's machines: it comes to none of these, whatever time passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circle {
    /// The item.
    pub item: Item,
    /// In whose rollouts: two or more.
    pub baselines: BTreeSet<BaselineRef>,
    /// The machines that are to have it first for one of these and may not begin for another.
    pub machines: BTreeSet<MachineName>,
}

impl Known {
    /// Whom a machine waits for, by baseline and item; nobody while something is under way there.
    pub(crate) fn awaited(&self, snapshot: &Snapshot, machine: &MachineName) -> Vec<Awaited> {
        let Some(place) = self.place_of(machine).filter(|_| !self.is_active(machine)) else {
            return Vec::new();
        };
        let resources = Resources::of(snapshot);
        let awaited = self.kept[place].tied.iter().filter_map(|tied| {
            let (item, front) = self.front(tied)?;
            let zone = match waits(front, tied)? {
                Obstacle::Zone(zone) => Some(zone),
                Obstacle::Wave(..) => None,
            };
            let waves = &resources.packages[tied.baseline].rollout.waves;
            let rest = || ObjectName::parse(REST).expect("a constant that is a name");
            let of = |is_awaited: fn(&Tied) -> bool| -> Vec<MachineName> {
                let is_one = |other: &&Tied| {
                    (other.baseline, other.item) == (tied.baseline, tied.item)
                        && other.seat.wave == front.wave
                        && zone.is_none_or(|zone| other.seat.zone == zone.number)
                        && is_awaited(other)
                };
                let found = self.kept.iter().filter(|kept| kept.tied.iter().any(|other| is_one(&other)));
                found.map(|kept| kept.machine.name.clone()).collect()
            };
            // Who may come to want it is waited for where nobody wants it.
            let surely = of(Tied::is_awaited);
            let machines = if surely.is_empty() { of(Tied::may_be_awaited) } else { surely };
            Some(Awaited {
                baseline: self.rollouts.references[tied.baseline].clone(),
                item: item.clone(),
                wave: waves.get(front.wave).map_or_else(rest, |wave| wave.name.clone()),
                zone: zone.map(|zone| zone.name.clone()),
                machines,
            })
        });
        awaited.collect()
    }

    /// Where rollouts wait for each other's machines.
    pub(crate) fn circles(&self) -> Vec<Circle> {
        // Who of each item is to have it first for one rollout and may not begin for another.
        let mut edges: BTreeMap<&Item, BTreeMap<(usize, usize), BTreeSet<&MachineName>>> = BTreeMap::new();
        for kept in &self.kept {
            let name = &kept.machine.name;
            if kept.tied.len() < 2 || self.is_active(name) {
                continue;
            }
            for first in kept.tied.iter().filter(|tied| tied.is_open()) {
                let Some((item, front)) = self.front(first) else { continue };
                let is_at_work = first.seat.wave == front.wave
                    && front.zone.as_ref().is_none_or(|zone| zone.number == first.seat.zone)
                    && (front.zone.is_some() || matches!(front.hold, Some(Hold::Wave { .. })));
                for other in kept.tied.iter().filter(|other| is_at_work && other.baseline != first.baseline) {
                    if let Some((same, behind)) = self.front(other)
                        && same == item
                        && waits(behind, other).is_some()
                    {
                        let of_item = edges.entry(item).or_default();
                        of_item.entry((first.baseline, other.baseline)).or_default().insert(name);
                    }
                }
            }
        }
        let circles =
            edges.into_iter().filter_map(|(item, edges)| circle(item, &edges, &self.rollouts.references));
        circles.collect()
    }

    fn is_active(&self, machine: &MachineName) -> bool {
        let decided = self.plan.machines.get(machine);
        decided.is_some_and(|machine| matches!(machine.verdict, Verdict::Active { .. }))
    }

    /// The item that a machine's word is about, and how far it may go.
    fn front(&self, tied: &Tied) -> Option<(&Item, &Front)> {
        let track = &self.rollouts.tracks[tied.baseline];
        let item = track.open.get(tied.item)?;
        Some((item, track.fronts.get(item)?))
    }
}

/// What a machine waits for, if that is other machines.
fn waits<'a>(front: &'a Front, tied: &Tied) -> Option<Obstacle<'a>> {
    let obstacle = front.obstacle(tied.seat)?;
    matches!(obstacle, Obstacle::Zone(_) | Obstacle::Wave(_, Hold::Wave { .. })).then_some(obstacle)
}

/// The rollouts that come back to themselves, if any do: each waits for a machine that waits for the next.
fn circle(
    item: &Item,
    edges: &BTreeMap<(usize, usize), BTreeSet<&MachineName>>,
    references: &[BaselineRef],
) -> Option<Circle> {
    let reached = |from: usize| {
        let mut reached = BTreeSet::new();
        let mut next = vec![from];
        while let Some(one) = next.pop() {
            let to = edges.keys().filter(|(from, _)| *from == one).map(|(_, to)| *to);
            next.extend(to.filter(|to| reached.insert(*to)));
        }
        reached
    };
    let is_in = |one: &usize| reached(*one).contains(one);
    let all: BTreeSet<usize> = edges.keys().map(|(from, _)| *from).filter(is_in).collect();
    let within = edges.iter().filter(|((from, to), _)| all.contains(from) && all.contains(to));
    let machines: BTreeSet<MachineName> =
        within.flat_map(|(_, machines)| machines.iter().map(|name| (*name).clone())).collect();
    (!all.is_empty()).then(|| Circle {
        item: item.clone(),
        baselines: all.iter().map(|place| references[*place].clone()).collect(),
        machines,
    })
}
