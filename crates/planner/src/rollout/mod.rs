//! How items spread: wave by wave on evidence, zone by zone, as people allow, and nowhere once too many machines failed
//! them (rules O1 to O7).
//!
//! What has passed has passed: it is recorded (`ItemProgress`), and the next plan begins from the record. What is not
//! recorded yet follows anew from the same reports and activities, so it may be lost at any write. One question per file:
//! which item a requirement is about (`item`), who is in which wave (`seats`), who failed what (`failures`), what people
//! said (`people`), how one machine stands (`stand`), how far an item may go (`judge`), what is enforced meanwhile
//! (`released`), what stays on record (`keep`).

mod failures;
mod item;
mod judge;
mod keep;
mod people;
mod released;
mod seats;
mod stand;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use muster_model::{
    BaselineRef, Digest, Instant, Item, ItemProgress, PackageBaseline, PackageKey, Reason, Rollout, Snapshot,
    Verdict, WaitingOn,
};

use crate::budget::Tally as Budgets;
use crate::case::Case;
use crate::evaluate::Evaluation;
use crate::merge::{Merged, Requirement};
use crate::presence::Hearing;
use crate::rollout::failures::{Failures, failures};
use crate::rollout::item::{Holding, aim_of, item_of, may_come, upgrade_may_come};
use crate::rollout::judge::{Front, Hold, Judge, Obstacle, Tally, seconds};
use crate::rollout::people::{Pause, Words};
use crate::rollout::seats::Seats;
use crate::rollout::stand::{Question, stand};
use crate::select::Resources;
use crate::target::{Judged, Outcome};
use crate::timer::Timer;

pub(crate) use crate::rollout::released::Lowered;

/// The rollouts as they are to be recorded, and what they say of each machine's targets.
pub(crate) struct Rollouts {
    /// Along the package baselines.
    tracks: Vec<Track>,
}

/// One baseline's rollout.
#[derive(Default)]
struct Track {
    items: BTreeMap<Item, ItemProgress>,
    /// How many machines may fail an item, over all.
    max_failures: usize,
    /// Where there are waves or zones.
    seats: Option<Seats>,
    /// How far those items may go that are not released.
    fronts: BTreeMap<Item, Front>,
    pauses: BTreeMap<Item, Pause>,
    /// Where one wave's failures are too many: how many there are and may be.
    excesses: BTreeMap<Item, (usize, usize)>,
}

/// What a plan's rollouts follow from.
struct Facts<'a> {
    snapshot: &'a Snapshot,
    resources: &'a Resources<'a>,
    cases: &'a [Case<'a>],
    budgets: &'a Budgets<'a>,
    timer: &'a Timer,
    references: Vec<BaselineRef>,
    /// Along the package baselines.
    before: Vec<&'a Rollout>,
    /// Along the package baselines.
    failed: Vec<BTreeMap<Item, Failures>>,
    now: Instant,
}

impl Rollouts {
    pub(crate) fn of<'a>(
        snapshot: &'a Snapshot,
        resources: &'a Resources<'a>,
        cases: &'a [Case<'a>],
        budgets: &'a Budgets<'a>,
        timer: &'a Timer,
    ) -> Self {
        let references: Vec<BaselineRef> =
            resources.packages.iter().map(|baseline| baseline.reference()).collect();
        let empty = Rollout::default();
        let before = references.iter().map(|reference| snapshot.rollouts.get(reference));
        let facts = Facts {
            snapshot,
            resources,
            cases,
            budgets,
            timer,
            before: before.map(|known| known.map_or(&empty, AsRef::as_ref)).collect(),
            failed: failures(cases, &references),
            references,
            now: seconds(timer.now()),
        };
        let mut found = Self { tracks: Vec::new() };
        for baseline in &resources.packages {
            let place = found.tracks.len();
            let machines = budgets.package_baseline(place).machines;
            found.tracks.push(Track {
                max_failures: baseline.rollout.max_failures.floor_of(machines),
                seats: Seats::of(&baseline.rollout, place, cases),
                ..Track::default()
            });
        }
        found.count(&facts);
        for (place, track) in found.tracks.iter_mut().enumerate() {
            keep::keep(resources.packages[place], facts.before[place], facts.now, &mut track.items);
            track.hear(&facts, place);
        }
        let tallies = found.ask(&facts);
        for ((place, track), tallies) in found.tracks.iter_mut().enumerate().zip(tallies) {
            track.judge(&facts, place, &tallies);
        }
        found
    }

    /// Counts the machines of each item; only what some machine lacks, has failed or had to get is an item at all.
    fn count(&mut self, facts: &Facts<'_>) {
        let mut evaluations = Vec::new();
        for case in
            facts.cases.iter().filter(|case| case.counts() && !matches!(case.hearing, Hearing::Absent { .. }))
        {
            let machines = &case.evaluation.machines;
            if machines.get() == 0 {
                evaluations.push(case);
            }
            machines.set(machines.get() + 1);
        }
        for reached in [false, true] {
            for case in &evaluations {
                // What is named and upgraded is one item.
                let mut counted: BTreeSet<(usize, Item)> = BTreeSet::new();
                for (requirement, judged) in case.merged.enforced.iter().zip(&case.evaluation.judged) {
                    let Some((item, done)) = item_of(requirement, judged) else { continue };
                    if done != reached {
                        continue;
                    }
                    for place in &requirement.by {
                        let items = &mut self.tracks[*place].items;
                        let known = items.contains_key(&item)
                            || facts.before[*place].items.contains_key(&item)
                            || facts.failed[*place].contains_key(&item);
                        if (done && !known) || !counted.insert((*place, item.clone())) {
                            continue;
                        }
                        let progress = items
                            .entry(item.clone())
                            .or_insert_with(|| keep::fresh(facts.before[*place], &item, facts.now));
                        progress.wanted += case.evaluation.machines.get();
                        progress.done += if done { case.evaluation.machines.get() } else { 0 };
                    }
                }
            }
        }
    }

    /// What the machines of each wave say of each item that is not released, along the package baselines.
    fn ask(&self, facts: &Facts<'_>) -> Vec<BTreeMap<Item, Vec<Tally>>> {
        let mut tallies: Vec<BTreeMap<Item, Vec<Tally>>> = self.tracks.iter().map(Track::blank).collect();
        if tallies.iter().all(BTreeMap::is_empty) {
            return tallies;
        }
        let mut ties: BTreeMap<*const Evaluation<'_>, Vec<Tie>> = BTreeMap::new();
        let offered = self.offered(facts);
        for case in facts.cases.iter().filter(|case| case.counts()) {
            let evaluation: &Evaluation<'_> = &case.evaluation;
            let ties = ties
                .entry(std::ptr::from_ref(evaluation))
                .or_insert_with(|| self.ties(&case.merged, evaluation, &offered));
            for tie in ties.iter() {
                let track = &self.tracks[tie.baseline];
                let Some(seat) = track.seats.as_ref().and_then(|seats| seats.get(case)) else { continue };
                let Some(waves) = tallies[tie.baseline].get_mut(&tie.item) else { continue };
                let tally = &mut waves[seat.wave];
                let failed = facts.has_failed(tie.baseline, &tie.item, case, &track.items[&tie.item]);
                tally.failed += usize::from(failed);
                let heard = usize::from(!matches!(case.hearing, Hearing::Silent { .. }));
                match tie.holding {
                    Holding::Unknown => tally.unknown += heard,
                    Holding::MayCome => tally.undecided += heard,
                    Holding::Has | Holding::Lacks | Holding::Blocked => {}
                }
                if matches!(tie.holding, Holding::Unknown | Holding::MayCome) {
                    continue;
                }
                let refused = tie.holding == Holding::Lacks
                    && (facts.budgets.has_none(case.place)
                        || evaluation.refuses(facts.snapshot, facts.resources, &case.merged, tie.place));
                let question = Question {
                    resources: facts.resources,
                    baseline: &facts.references[tie.baseline],
                    item: &tie.item,
                    holding: tie.holding,
                    failed,
                    refused,
                    timer: facts.timer,
                };
                tally.zones.entry(seat.zone).or_default().add(stand(&question, case));
            }
        }
        tallies
    }

    /// The package lists from which some machine was offered an item: who has the same lists sees what it sees.
    fn offered<'a>(&self, facts: &'a Facts<'_>) -> BTreeMap<(usize, Item), BTreeSet<&'a Digest>> {
        let mut offered: BTreeMap<(usize, Item), BTreeSet<&Digest>> = BTreeMap::new();
        let mut seen: BTreeSet<*const Evaluation<'_>> = BTreeSet::new();
        for case in facts.cases.iter().filter(|case| seen.insert(Rc::as_ptr(&case.evaluation))) {
            let Some(inventory) = case.evaluation.inventory else { continue };
            for (requirement, judged) in case.merged.enforced.iter().zip(&case.evaluation.judged) {
                let Some((item, false)) = item_of(requirement, judged) else { continue };
                for place in requirement.by.iter().filter(|place| self.tracks[**place].is_open(&item)) {
                    offered.entry((*place, item.clone())).or_default().insert(&inventory.lists);
                }
            }
        }
        offered
    }

    /// How machines of one evaluation stand towards the items that are not released, by their inventory.
    fn ties(
        &self,
        merged: &Merged,
        evaluation: &Evaluation<'_>,
        offered: &BTreeMap<(usize, Item), BTreeSet<&Digest>>,
    ) -> Vec<Tie> {
        let mut ties: BTreeMap<(usize, &Item), (usize, Holding)> = BTreeMap::new();
        let looked = |baseline: usize, item: &Item| {
            let lists = evaluation.inventory.map(|inventory| &inventory.lists);
            let all = offered.get(&(baseline, item.clone()));
            lists.is_some_and(|lists| all.is_some_and(|all| all.contains(lists)))
        };
        for (place, requirement) in merged.enforced.iter().enumerate() {
            let judged = evaluation.judged.get(place);
            let aim = judged.and_then(|judged| aim_of(evaluation, requirement, judged));
            for baseline in requirement.by.iter().copied() {
                for item in self.tracks[baseline].open_items_of(&requirement.key) {
                    let holding = match (&aim, judged) {
                        (Some((aim, holding)), _) if aim == item => *holding,
                        (_, None) => Holding::Unknown,
                        (_, Some(Judged { outcome: Outcome::NotCovered, .. })) => Holding::Unknown,
                        (_, Some(judged)) => {
                            if looked(baseline, item) || !may_come(requirement, judged, item) {
                                continue;
                            }
                            Holding::MayCome
                        }
                    };
                    // What is named and upgraded is one item: what is known of it goes before what may be.
                    let known = ties.entry((baseline, item)).or_insert((place, holding));
                    if holding < known.1 {
                        *known = (place, holding);
                    }
                }
            }
        }
        for (baseline, track) in self.tracks.iter().enumerate() {
            if !merged.upgrades.asks(baseline) {
                continue;
            }
            for item in track.fronted() {
                let Some(holding) = upgrade_may_come(evaluation, item) else { continue };
                if holding == Holding::Unknown || !looked(baseline, item) {
                    ties.entry((baseline, item)).or_insert((0, holding));
                }
            }
        }
        let ties = ties.into_iter();
        ties.map(|((baseline, item), (place, holding))| Tie { baseline, item: item.clone(), place, holding })
            .collect()
    }

    /// Why a requirement's target may not be gone for on a machine, if so.
    pub(crate) fn gate(
        &self,
        resources: &Resources<'_>,
        case: &Case<'_>,
        requirement: &Requirement,
        judged: &Judged,
    ) -> Option<Verdict> {
        let (item, _) = item_of(requirement, judged)?;
        let stops = || requirement.by.iter().find_map(|place| self.stop(resources, *place, &item));
        let waits = || requirement.by.iter().find_map(|place| self.obstacle(resources, *place, &item, case));
        stops().or_else(waits)
    }

    /// Whether nobody may begin with a requirement's target any more, though it was allowed before.
    pub(crate) fn is_stopped(
        &self,
        resources: &Resources<'_>,
        requirement: &Requirement,
        judged: &Judged,
    ) -> bool {
        item_of(requirement, judged).is_some_and(|(item, _)| {
            requirement.by.iter().any(|place| self.stop(resources, *place, &item).is_some())
        })
    }

    fn stop(&self, resources: &Resources<'_>, place: usize, item: &Item) -> Option<Verdict> {
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

    fn obstacle(
        &self,
        resources: &Resources<'_>,
        place: usize,
        item: &Item,
        case: &Case<'_>,
    ) -> Option<Verdict> {
        let track = &self.tracks[place];
        let seat = track.seats.as_ref()?.get(case)?;
        let obstacle = track.fronts.get(item)?.obstacle(seat)?;
        let baseline: &PackageBaseline = resources.packages[place];
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

    /// As recorded: one for each package baseline that has items, and an empty one where there was one.
    pub(crate) fn record(
        self,
        snapshot: &Snapshot,
        resources: &Resources<'_>,
    ) -> BTreeMap<BaselineRef, Rollout> {
        let references = resources.packages.iter().map(|baseline| baseline.reference());
        let all =
            references.zip(self.tracks).map(|(reference, track)| (reference, Rollout { items: track.items }));
        all.filter(|(reference, rollout)| {
            !rollout.items.is_empty() || snapshot.rollouts.contains_key(reference)
        })
        .collect()
    }
}

/// A requirement of an evaluation that is, or may come to be, about an item.
struct Tie {
    baseline: usize,
    item: Item,
    /// The requirement's number in `Merged::enforced`; without a meaning where it is but may be.
    place: usize,
    holding: Holding,
}

impl Facts<'_> {
    fn has_failed(&self, baseline: usize, item: &Item, case: &Case<'_>, progress: &ItemProgress) -> bool {
        let failures = self.failed[baseline].get(item).and_then(|machines| machines.get(&case.place));
        failures.is_some_and(|at| counts_still(*at, progress))
    }
}

/// Whether a failure at that instant counts: a person who resumes an item sets what failed before aside.
fn counts_still(at: Instant, progress: &ItemProgress) -> bool {
    progress.resumed.is_none_or(|resumed| at > resumed)
}

impl Track {
    /// Whether its waves still have a say in the item.
    fn is_open(&self, item: &Item) -> bool {
        self.seats.is_some() && self.items.get(item).is_some_and(|progress| progress.released.is_none())
    }

    /// The items in which its waves still have a say.
    fn fronted(&self) -> impl Iterator<Item = &Item> {
        let all = self.items.iter().filter(|(_, progress)| progress.released.is_none());
        all.filter(|_| self.seats.is_some()).map(|(item, _)| item)
    }

    /// Of these, those of a package.
    fn open_items_of(&self, package: &PackageKey) -> impl Iterator<Item = &Item> {
        let all = keep::of_package(&self.items, package).filter(|_| self.seats.is_some());
        all.filter(|(_, progress)| progress.released.is_none()).map(|(item, _)| item)
    }

    fn blank(&self) -> BTreeMap<Item, Vec<Tally>> {
        let Some(seats) = &self.seats else { return BTreeMap::new() };
        self.fronted().map(|item| (item.clone(), vec![Tally::default(); seats.machines.len()])).collect()
    }

    /// Takes in what people said and what machines failed, before anything is judged.
    fn hear(&mut self, facts: &Facts<'_>, place: usize) {
        let words = Words::about(facts.snapshot, &facts.references[place]);
        for (item, progress) in &mut self.items {
            let seen = progress.seen.unwrap_or(facts.now);
            progress.approved = progress.approved.or_else(|| words.approved(item, seen));
            let resumed = words.resumed(item, progress);
            if let Some(resumed) = resumed
                && progress.barred.is_some_and(|barred| resumed >= barred)
            {
                progress.barred = None;
                progress.resumed = Some(resumed);
            }
            let failed = facts.failed[place].get(item);
            progress.failed = failed
                .map_or(0, |machines| machines.values().filter(|at| counts_still(**at, progress)).count());
            if progress.failed > self.max_failures {
                progress.barred = progress.barred.or(Some(facts.now));
            }
            if let Some(pause) = words.pause(item) {
                self.pauses.insert(item.clone(), pause);
            }
        }
    }

    /// Judges the items that are not released.
    fn judge(&mut self, facts: &Facts<'_>, place: usize, tallies: &BTreeMap<Item, Vec<Tally>>) {
        let spec = &facts.resources.packages[place].rollout;
        let words = Words::about(facts.snapshot, &facts.references[place]);
        for (item, progress) in &mut self.items {
            if progress.released.is_some() {
                continue;
            }
            let (Some(seats), Some(tallies)) = (&self.seats, tallies.get(item)) else {
                progress.released = progress.barred.is_none().then_some(facts.now);
                continue;
            };
            let limits = seats.machines.iter().map(|machines| spec.max_failures.floor_of(*machines));
            let too_many = tallies.iter().zip(limits).find(|(tally, most)| tally.failed > *most);
            if let Some((tally, most)) = too_many {
                progress.barred = progress.barred.or(Some(facts.now));
                self.excesses.insert(item.clone(), (tally.failed, most));
            }
            if progress.barred.is_some() {
                judge::note(spec, progress, tallies);
                continue;
            }
            let resumed = words
                .resumed(item, progress)
                .filter(|resumed| progress.paused.is_some_and(|paused| *resumed >= paused));
            progress.resumed = resumed.or(progress.resumed);
            let look = facts.snapshot.policy.freshness;
            let judge = Judge { spec, seats, look, now: facts.now, timer: facts.timer };
            let front = judge.judge(progress, tallies, resumed.is_some());
            let paused = matches!(front.hold, Some(Hold::NoEvidence { .. }));
            progress.paused =
                paused.then(|| progress.paused.filter(|_| resumed.is_none()).unwrap_or(facts.now));
            self.fronts.insert(item.clone(), front);
        }
    }
}
