//! Which wave and which zone a machine is in (rules O1, O6).

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{MachineName, Picks, RolloutSpec};
use smol_str::SmolStr;

use crate::case::Case;
use crate::order::stable_hash;
use crate::presence::Hearing;

/// A machine's place in a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    /// The wave's number; that of the rest is the number of waves.
    pub(crate) wave: usize,
    /// The zone's number.
    pub(crate) zone: usize,
}

/// All machines' places in one baseline's rollout.
pub(crate) struct Seats {
    /// Along the cases; `None`: no part of it, or absent (rule B4).
    of: Vec<Option<Seat>>,
    /// Machines in each wave, the rest last.
    pub(crate) machines: Vec<usize>,
    /// Machines that each wave picks, whether or not one before it has them.
    pub(crate) picked: Vec<usize>,
    /// In their order: by name, the one of machines without the label last.
    pub(crate) zones: Vec<SmolStr>,
}

impl Seats {
    /// The places of the machines that `baseline` (a number) picks. Without waves and zones there is nothing to place.
    pub(crate) fn of(spec: &RolloutSpec, baseline: usize, cases: &[Case<'_>]) -> Option<Self> {
        if spec.waves.is_empty() && spec.zone_key.is_none() {
            return None;
        }
        let members: Vec<&Case<'_>> = cases
            .iter()
            .filter(|case| case.counts() && !matches!(case.hearing, Hearing::Absent { .. }))
            .filter(|case| case.picked.packages.contains(&baseline))
            .collect();
        let ranks = ranks(spec, &members);
        let zone_of = |case: &Case<'_>| -> SmolStr {
            let key = spec.zone_key.as_ref();
            key.and_then(|key| case.machine.label(key)).map(SmolStr::from).unwrap_or_default()
        };
        let zones: BTreeSet<(bool, SmolStr)> =
            members.iter().map(|case| zone_of(case)).map(|zone| (zone.is_empty(), zone)).collect();
        let zones: Vec<SmolStr> = zones.into_iter().map(|(_, zone)| zone).collect();
        let waves = spec.waves.len();
        let mut seats = Self {
            of: vec![None; cases.len()],
            machines: vec![0; waves + 1],
            picked: vec![0; waves],
            zones: Vec::new(),
        };
        for case in &members {
            let picks = |picks: &Picks| match picks {
                Picks::Selected(selector) => selector.matches(|key| case.machine.label(key)),
                Picks::Share(share) => ranks
                    .get(&case.machine.name)
                    .is_some_and(|rank| *rank < share.max_unavailable_of(members.len())),
            };
            let mut wave = waves;
            for number in (0..waves).rev().filter(|number| picks(&spec.waves[*number].picks)) {
                wave = number;
                seats.picked[number] += 1;
            }
            let zone = zones.partition_point(|zone| is_before(zone, &zone_of(case)));
            seats.of[case.place] = Some(Seat { wave, zone });
            seats.machines[wave] += 1;
        }
        seats.zones = zones;
        Some(seats)
    }

    pub(crate) fn get(&self, case: &Case<'_>) -> Option<Seat> {
        self.of[case.place]
    }

    /// How many zones come up to `zone`, which may be one that is no more.
    pub(crate) fn zones_through(&self, zone: &str) -> usize {
        self.zones.partition_point(|known| known == zone || is_before(known, zone))
    }
}

/// By a stable hash, so that a share is the same machines in every plan, and a larger one holds a smaller one.
fn ranks<'a>(spec: &RolloutSpec, members: &[&'a Case<'_>]) -> BTreeMap<&'a MachineName, usize> {
    if !spec.waves.iter().any(|wave| matches!(wave.picks, Picks::Share(_))) {
        return BTreeMap::new();
    }
    let mut names: Vec<&MachineName> = members.iter().map(|case| &case.machine.name).collect();
    names.sort_by_cached_key(|name| (stable_hash(name), (*name).clone()));
    names.into_iter().enumerate().map(|(rank, name)| (name, rank)).collect()
}

/// Zones go by name; the one without a name is last.
fn is_before(zone: &str, other: &str) -> bool {
    (zone.is_empty(), zone) < (other.is_empty(), other)
}
