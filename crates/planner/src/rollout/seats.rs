//! Which wave and which zone a machine is in (rules O1, O6).

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use muster_model::{Machine, Picks, RolloutSpec};
use smol_str::SmolStr;

use crate::order::stable_hash;

/// A machine's place in a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    /// The wave's number; that of the rest is the number of waves.
    pub(crate) wave: usize,
    /// The zone's number.
    pub(crate) zone: usize,
}

/// A place as it is kept for each machine, in four bytes: one more than the wave's number, and above it the zone's.
#[derive(Clone, Copy, Debug)]
struct Packed(NonZeroU32);

/// A schema allows fewer waves than that.
const WAVES: usize = 1 << 8;

impl Packed {
    fn of(Seat { wave, zone }: Seat) -> Self {
        assert!(wave + 1 < WAVES, "{wave} is not the number of a wave");
        let packed = u32::try_from(zone * WAVES + wave + 1).ok().and_then(NonZeroU32::new);
        Self(packed.expect("there are no more zones than machines, and less than 16 million of these"))
    }

    fn seat(self) -> Seat {
        let packed = self.0.get() as usize;
        Seat { wave: packed % WAVES - 1, zone: packed / WAVES }
    }
}

/// All machines' places in one baseline's rollout.
#[derive(Debug)]
pub(crate) struct Seats {
    /// Along all machines; `None`: no part of it, or absent (rule B4).
    of: Vec<Option<Packed>>,
    /// Machines in each wave, the rest last.
    pub(crate) machines: Vec<usize>,
    /// Machines that each wave picks, whether or not one before it has them.
    pub(crate) picked: Vec<usize>,
    /// In their order: by name, the one of machines without the label last.
    pub(crate) zones: Vec<SmolStr>,
}

/// Whether there are places at all: without waves and zones there is nothing to place.
pub(crate) fn has_seats(spec: &RolloutSpec) -> bool {
    !spec.waves.is_empty() || spec.zone_key.is_some()
}

impl Seats {
    /// The places of a baseline's members (by number, in the order of their names), of `all` machines.
    pub(crate) fn of(spec: &RolloutSpec, members: &[(usize, &Machine)], all: usize) -> Self {
        let ranks = ranks(spec, members);
        let zone_of = |machine: &Machine| -> SmolStr {
            let key = spec.zone_key.as_ref();
            key.and_then(|key| machine.label(key)).map(SmolStr::from).unwrap_or_default()
        };
        let zones: BTreeSet<(bool, SmolStr)> = match &spec.zone_key {
            Some(_) => members
                .iter()
                .map(|(_, machine)| zone_of(machine))
                .map(|zone| (zone.is_empty(), zone))
                .collect(),
            None => members.iter().take(1).map(|_| (true, SmolStr::default())).collect(),
        };
        let zones: Vec<SmolStr> = zones.into_iter().map(|(_, zone)| zone).collect();
        let waves = spec.waves.len();
        let mut seats = Self {
            of: vec![None; all],
            machines: vec![0; waves + 1],
            picked: vec![0; waves],
            zones: Vec::new(),
        };
        for (number, (place, machine)) in members.iter().enumerate() {
            let picks = |picks: &Picks| match picks {
                Picks::Selected(selector) => selector.matches(|key| machine.label(key)),
                Picks::Share(share) => ranks[number] < share.max_unavailable_of(members.len()),
            };
            let mut wave = waves;
            for number in (0..waves).rev().filter(|number| picks(&spec.waves[*number].picks)) {
                wave = number;
                seats.picked[number] += 1;
            }
            let zone = match &spec.zone_key {
                Some(_) => zones.partition_point(|zone| is_before(zone, &zone_of(machine))),
                None => 0,
            };
            seats.of[*place] = Some(Packed::of(Seat { wave, zone }));
            seats.machines[wave] += 1;
        }
        seats.zones = zones;
        seats
    }

    /// A machine's place.
    pub(crate) fn get(&self, place: usize) -> Option<Seat> {
        self.of[place].map(Packed::seat)
    }

    /// How many zones come up to `zone`, which may be one that is no more.
    pub(crate) fn zones_through(&self, zone: &str) -> usize {
        self.zones.partition_point(|known| known == zone || is_before(known, zone))
    }
}

/// Each member's rank by a stable hash, so that a share is the same machines in every plan, and a larger one holds a
/// smaller one; empty where no wave takes a share.
fn ranks(spec: &RolloutSpec, members: &[(usize, &Machine)]) -> Vec<usize> {
    if !spec.waves.iter().any(|wave| matches!(wave.picks, Picks::Share(_))) {
        return Vec::new();
    }
    let mut order: Vec<(u64, usize)> = members
        .iter()
        .enumerate()
        .map(|(number, (_, machine))| (stable_hash(&machine.name), number))
        .collect();
    order.sort_unstable();
    let mut ranks = vec![0; members.len()];
    for (rank, (_, number)) in order.into_iter().enumerate() {
        ranks[number] = rank;
    }
    ranks
}

/// Zones go by name; the one without a name is last.
fn is_before(zone: &str, other: &str) -> bool {
    (zone.is_empty(), zone) < (other.is_empty(), other)
}
