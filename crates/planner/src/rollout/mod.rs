//! How items spread: wave by wave on evidence, zone by zone, as people allow, and nowhere once too many machines failed
//! them (rules O1 to O7).
//!
//! What has passed has passed: it is recorded (`ItemProgress`), and the next plan begins from the record. What is not
//! recorded yet follows anew from the same reports and activities, so it may be lost at any write. One question per file:
//! which item a requirement is about (`item`), what machines want and have (`share`), who is in which wave (`seats`), who
//! failed what (`failures`), what people said (`people`), how one machine stands (`stand`, `tie`), how far an item may go
//! (`judge`), what is enforced meanwhile (`released`), what stays on record (`keep`), all of one baseline (`track`).

mod failures;
mod item;
mod judge;
mod keep;
mod people;
mod released;
mod seats;
mod share;
mod stand;
mod tie;
mod track;

use std::rc::Rc;
use std::sync::Arc;

use muster_model::{
    BaselineRef, DebianVersion, Instant, Item, Reason, Rollout, Snapshot, Verdict, WaitingOn,
};

use crate::case::Case;
use crate::rollout::item::item_of;
use crate::rollout::judge::seconds;
use crate::rollout::people::Pause;
use crate::select::Resources;
use crate::timer::Timer;

pub(crate) use crate::rollout::failures::failures;
pub(crate) use crate::rollout::judge::{Front, Hold, Obstacle};
pub(crate) use crate::rollout::released::Lowered;
pub(crate) use crate::rollout::seats::has_seats;
pub(crate) use crate::rollout::share::{Held, Share};
pub(crate) use crate::rollout::tie::{Tied, Ties};
pub(crate) use crate::rollout::track::Track;

/// The rollouts as they are to be recorded, and what they say of each machine's targets.
///
/// It is kept from plan to plan: machines are counted in and out one by one, and what follows from the counts is worked
/// out anew for the baselines whose counts changed.
#[derive(Debug)]
pub(crate) struct Rollouts {
    /// Along the package baselines.
    pub(crate) tracks: Vec<Track>,
    /// In order, since package baselines come before kernel baselines, each in the order of their names.
    pub(crate) references: Vec<BaselineRef>,
}

/// What rollouts say of a requirement, wherever its machine has its place.
#[derive(Debug)]
pub(crate) struct Outlook {
    /// The item that it comes to.
    item: Option<Item>,
    /// Why nobody may begin with its target, if so.
    stop: Option<Verdict>,
    /// The last released version of its package, where its target is another one.
    last_released: Option<DebianVersion>,
}

/// What rollouts follow from, beside the machines.
pub(crate) struct Facts<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) resources: &'a Resources<'a>,
    pub(crate) timer: &'a Timer,
    /// In whole seconds.
    now: Instant,
    /// What is on record, along the package baselines.
    pub(crate) records: Vec<Option<&'a Arc<Rollout>>>,
}

impl<'a> Facts<'a> {
    pub(crate) fn new(
        snapshot: &'a Snapshot,
        resources: &'a Resources<'a>,
        rollouts: &Rollouts,
        timer: &'a Timer,
    ) -> Self {
        // Both are in the order of their references.
        let mut all = snapshot.rollouts.iter().peekable();
        let record = |reference: &BaselineRef| {
            while all.next_if(|(other, _)| *other < reference).is_some() {}
            all.next_if(|(other, _)| *other == reference).map(|(_, record)| record)
        };
        let records = rollouts.references.iter().map(record).collect();
        Self { snapshot, resources, timer, now: seconds(timer.now()), records }
    }
}

impl Rollouts {
    pub(crate) fn new(resources: &Resources<'_>) -> Self {
        let references: Vec<BaselineRef> =
            resources.packages.iter().map(|baseline| baseline.reference()).collect();
        Self { tracks: references.iter().map(|_| Track::default()).collect(), references }
    }

    /// Counts machines in that share this.
    pub(crate) fn add(&mut self, share: &Share, machines: usize) {
        share.items.iter().for_each(|one| self.tracks[one.baseline].add(one, share, machines));
    }

    /// Counts machines out that shared this.
    pub(crate) fn take_away(&mut self, share: &Share, machines: usize) {
        share.items.iter().for_each(|one| self.tracks[one.baseline].take_away(one, share, machines));
    }

    pub(crate) fn add_failure(&mut self, baseline: usize, item: &Item, machine: usize, at: Instant) {
        let track = &mut self.tracks[baseline];
        track.failed.entry(item.clone()).or_default().insert(machine, at);
        track.note_change();
    }

    pub(crate) fn take_failure(&mut self, baseline: usize, item: &Item, machine: usize) {
        let track = &mut self.tracks[baseline];
        if let Some(machines) = track.failed.get_mut(item) {
            machines.remove(&machine);
            if machines.is_empty() {
                track.failed.remove(item);
            }
        }
        track.note_change();
    }

    /// What is said of a requirement (by its number) to all machines that share the evaluation.
    fn outlook(&self, resources: &Resources<'_>, case: &Case<'_>, place: usize) -> Rc<Outlook> {
        let requirement = &case.merged.enforced[place];
        case.evaluation.outlooks.of(place, |_| {
            let judged = case.evaluation.judged.get(place);
            let item = judged.and_then(|judged| Some(item_of(requirement, judged)?.0));
            let stop = item.as_ref().and_then(|item| {
                requirement.by.iter().find_map(|baseline| self.stop(resources, *baseline, item))
            });
            let last_released = judged.and_then(|judged| self.last_released(requirement, judged)).cloned();
            Outlook { item, stop, last_released }
        })
    }

    /// Why a requirement's target may not be gone for on a machine, if so.
    pub(crate) fn gate(&self, resources: &Resources<'_>, case: &Case<'_>, place: usize) -> Option<Verdict> {
        let outlook = self.outlook(resources, case, place);
        let item = outlook.item.as_ref()?;
        let mut by = case.merged.enforced[place].by.iter();
        let waits = || by.find_map(|baseline| self.obstacle(resources, *baseline, item, case));
        outlook.stop.clone().or_else(waits)
    }

    /// Whether nobody may begin with a requirement's target any more, though it was allowed before.
    pub(crate) fn is_stopped(&self, resources: &Resources<'_>, case: &Case<'_>, place: usize) -> bool {
        self.outlook(resources, case, place).stop.is_some()
    }

    /// Why nobody may begin with a baseline's item any more, if so.
    pub(crate) fn stop(&self, resources: &Resources<'_>, place: usize, item: &Item) -> Option<Verdict> {
        let track = &self.tracks[place];
        let progress = track.items.get(item)?;
        let baseline = resources.packages[place].reference();
        if progress.barred.is_some() {
            let over_all = (progress.failed, track.max_failures);
            let (failed, max_failures) = track.excesses.get(item).copied().unwrap_or(over_all);
            return Some(Verdict::Blocked(Reason::Barred { baseline, failed, max_failures }));
        }
        let Pause { approval, by } = track.pauses.get(item)?.clone();
        Some(Verdict::Waiting(WaitingOn::PausedByPerson { baseline, approval, by }))
    }

    /// What a baseline's item waits for before a machine may begin with it, if so.
    pub(crate) fn obstacle(
        &self,
        resources: &Resources<'_>,
        place: usize,
        item: &Item,
        case: &Case<'_>,
    ) -> Option<Verdict> {
        let track = &self.tracks[place];
        let seat = track.seats.as_ref()?.get(case.place)?;
        let obstacle = track.fronts.get(item)?.obstacle(seat)?;
        let baseline = resources.packages[place];
        let reference = baseline.reference();
        Some(match obstacle {
            Obstacle::Zone(open) => Verdict::Waiting(WaitingOn::Zone {
                baseline: reference,
                zone: open.name.clone(),
                done: open.done,
                wanted: open.wanted,
                until: open.until,
            }),
            Obstacle::Wave(number, hold) => {
                let wave = baseline.rollout.waves[number].name.clone();
                match *hold {
                    Hold::Wave { done, wanted } => {
                        Verdict::Waiting(WaitingOn::Wave { baseline: reference, wave, done, wanted })
                    }
                    Hold::Soak { until } => {
                        Verdict::Waiting(WaitingOn::Soaking { baseline: reference, wave, until })
                    }
                    Hold::Approval => Verdict::Waiting(WaitingOn::Approval { baseline: reference, wave }),
                    Hold::NoEvidence { machines } => {
                        Verdict::Blocked(Reason::NoEvidence { baseline: reference, wave, machines })
                    }
                }
            }
        })
    }
}
