//! One baseline's rollout: what machines want, have and failed, and what follows from that.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_model::{Digest, Instant, Item, ItemProgress, Machine, PackageKey, Rollout, RolloutSpec};

use crate::rollout::Facts;
use crate::rollout::failures::Failures;
use crate::rollout::judge::{self, Front, Hold, Judge, Tally};
use crate::rollout::keep;
use crate::rollout::people::{Pause, Words};
use crate::rollout::seats::{Seats, has_seats};
use crate::rollout::share::{Held, Share};

/// How many machines are to get an item, and how many have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    lack: usize,
    have: usize,
}

/// One baseline's rollout.
#[derive(Debug)]
pub(crate) struct Track {
    counted: BTreeMap<Item, Counted>,
    pub(crate) failed: BTreeMap<Item, Failures>,
    /// The package lists from which machines are offered an item that they lack, with how many these are.
    offered: BTreeMap<Item, BTreeMap<Digest, usize>>,
    /// As recorded when it was last worked out.
    before: Option<Arc<Rollout>>,
    /// Something that it follows from has changed.
    pub(crate) is_stale: bool,
    /// Machines have come, gone or changed their labels: places have to be found anew.
    pub(crate) must_seat: bool,
    /// All of its machines have to be asked anew how they stand.
    pub(crate) must_ask: bool,
    /// What it says of its machines' targets has changed: they have to be decided anew.
    pub(crate) must_decide: bool,
    /// When it may be otherwise by itself.
    pub(crate) next: Option<Instant>,
    /// Something is said to be of the instant of the last plan, which is not on record yet.
    is_fresh: bool,
    /// The instant for which it was last worked out.
    heard: Option<Instant>,
    /// Counts, record and words are taken in; what is missing is the judgement.
    is_heard: bool,
    /// How many it picks, as its own number of unavailable machines is taken of.
    machines: usize,
    marks: Vec<Marked>,
    pub(crate) items: BTreeMap<Item, ItemProgress>,
    /// How many machines may fail an item, over all.
    pub(crate) max_failures: usize,
    /// Where there are waves or zones.
    pub(crate) seats: Option<Seats>,
    /// The items in which its waves have a say, in order.
    pub(crate) open: Vec<Item>,
    /// Along `open`, by wave.
    pub(crate) tallies: Vec<Vec<Tally>>,
    /// How far those items may go that are not released.
    pub(crate) fronts: BTreeMap<Item, Front>,
    pub(crate) pauses: BTreeMap<Item, Pause>,
    /// Where one wave's failures are too many: how many there are and may be.
    pub(crate) excesses: BTreeMap<Item, (usize, usize)>,
}

impl Default for Track {
    /// Nothing is known of it.
    fn default() -> Self {
        Self {
            counted: BTreeMap::new(),
            failed: BTreeMap::new(),
            offered: BTreeMap::new(),
            before: None,
            is_stale: true,
            must_seat: false,
            must_ask: false,
            must_decide: false,
            next: None,
            is_fresh: false,
            heard: None,
            is_heard: false,
            machines: 0,
            marks: Vec::new(),
            items: BTreeMap::new(),
            max_failures: 0,
            seats: None,
            open: Vec::new(),
            tallies: Vec::new(),
            fronts: BTreeMap::new(),
            pauses: BTreeMap::new(),
            excesses: BTreeMap::new(),
        }
    }
}

impl Track {
    pub(crate) fn add(&mut self, held: &Held, share: &Share, machines: usize) {
        self.note_change();
        let counted = counted(&mut self.counted, &held.item);
        if held.has {
            counted.have += machines;
            return;
        }
        counted.lack += machines;
        if let Some(lists) = &share.lists {
            let of_item = match self.offered.get_mut(&held.item) {
                Some(of_item) => of_item,
                None => self.offered.entry(held.item.clone()).or_default(),
            };
            match of_item.get_mut(lists) {
                Some(known) => *known += machines,
                None => {
                    of_item.insert(lists.clone(), machines);
                    self.must_ask |= self.open.binary_search(&held.item).is_ok();
                }
            }
        }
    }

    pub(crate) fn take_away(&mut self, held: &Held, share: &Share, machines: usize) {
        self.note_change();
        if let Some(counted) = self.counted.get_mut(&held.item) {
            if held.has {
                counted.have -= machines;
            } else {
                counted.lack -= machines;
            }
            if *counted == Counted::default() {
                self.counted.remove(&held.item);
            }
        }
        let (false, Some(lists)) = (held.has, &share.lists) else { return };
        let Some(of_item) = self.offered.get_mut(&held.item) else { return };
        if let Some(known) = of_item.get_mut(lists) {
            *known -= machines;
            if *known == 0 {
                of_item.remove(lists);
                self.must_ask |= self.open.binary_search(&held.item).is_ok();
            }
        }
        if of_item.is_empty() {
            self.offered.remove(&held.item);
        }
    }

    /// Whether some machine that was offered an item has these package lists.
    pub(crate) fn has_offered(&self, item: &Item, lists: &Digest) -> bool {
        self.offered.get(item).is_some_and(|all| all.contains_key(lists))
    }

    /// Whether it was last worked out from this record.
    pub(crate) fn was_heard_with(&self, before: Option<&Arc<Rollout>>) -> bool {
        match (&self.before, before) {
            (Some(known), Some(before)) => Arc::ptr_eq(known, before),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// [`Self::hear`], if its machines, its record or the time has changed; whether they have.
    pub(crate) fn hear_if_due(
        &mut self,
        facts: &Facts<'_>,
        place: usize,
        before: Option<&Arc<Rollout>>,
        machines: usize,
    ) -> bool {
        let is_later = self.heard != Some(facts.timer.now());
        let due = is_later && (self.is_fresh || self.next.is_some_and(|next| next <= facts.timer.now()));
        if due || self.machines != machines || !self.was_heard_with(before) {
            self.note_change();
        }
        if self.is_stale && !self.is_heard {
            self.machines = machines;
            self.hear(facts, place, before);
            self.heard = Some(facts.timer.now());
            self.is_heard = true;
        }
        self.is_stale
    }

    /// What it follows from has changed.
    pub(crate) fn note_change(&mut self) {
        self.is_stale = true;
        self.is_heard = false;
    }

    /// Finds its members' places.
    pub(crate) fn seat(
        &mut self,
        facts: &Facts<'_>,
        place: usize,
        members: &[(usize, &Machine)],
        all: usize,
    ) {
        let spec = &facts.resources.packages[place].rollout;
        self.must_seat = false;
        self.note_change();
        if has_seats(spec) {
            self.seats = Some(Seats::of(spec, members, all));
            self.must_ask = true;
            self.must_decide = true;
        }
    }

    /// Takes in the record, the counts, what people said and what machines failed, before anything is judged: which items
    /// there are, and in which its waves have a say.
    fn hear(&mut self, facts: &Facts<'_>, place: usize, before: Option<&Arc<Rollout>>) {
        let baseline = facts.resources.packages[place];
        self.max_failures = baseline.rollout.max_failures.floor_of(self.machines);
        self.before = before.cloned();
        let empty = Rollout::default();
        let before: &Rollout = before.map_or(&empty, AsRef::as_ref);
        let old = std::mem::take(&mut self.items);
        for (item, Counted { lack, have }) in &self.counted {
            // Only what some machine lacks, has failed or had to get is an item at all.
            if *lack > 0 || before.items.contains_key(item) || self.failed.contains_key(item) {
                let mut progress = keep::fresh(before, item, facts.now);
                progress.wanted += lack + have;
                progress.done += have;
                self.items.insert(item.clone(), progress);
            }
        }
        keep::keep(&baseline, before, facts.now, &mut self.items);
        let pauses = std::mem::take(&mut self.pauses);
        let words = Words::about(facts.snapshot, &baseline.reference());
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
            let failed = self.failed.get(item);
            progress.failed = failed
                .map_or(0, |machines| machines.values().filter(|at| counts_still(**at, progress)).count());
            if progress.failed > self.max_failures {
                progress.barred = progress.barred.or(Some(facts.now));
            }
            if let Some(pause) = words.pause(item) {
                self.pauses.insert(item.clone(), pause);
            }
        }
        let open = match self.seats {
            Some(_) => {
                let all = self.items.iter().filter(|(_, progress)| progress.released.is_none());
                all.map(|(item, _)| item.clone()).collect()
            }
            None => Vec::new(),
        };
        // Who has failed an item is told by when it was resumed.
        let resumed =
            |items: &BTreeMap<Item, ItemProgress>, item| items.get(item).and_then(|one| one.resumed);
        self.must_ask |=
            open != self.open || open.iter().any(|item| resumed(&old, item) != resumed(&self.items, item));
        if self.must_ask {
            let waves = self.seats.as_ref().map_or(0, |seats| seats.machines.len());
            self.tallies = open.iter().map(|_| vec![Tally::default(); waves]).collect();
            self.open = open;
        }
        self.must_decide |= pauses != self.pauses;
        self.bar_by_wave(baseline.rollout, facts.now);
    }

    /// Counts in each wave who failed the items that are open there, and bars those that too many did: before anybody is asked
    /// how it stands, since what one baseline bars another's waves do not wait for.
    fn bar_by_wave(&mut self, spec: &RolloutSpec, now: Instant) {
        let before = std::mem::take(&mut self.excesses);
        if let Some(seats) = &self.seats {
            let limits: Vec<usize> =
                seats.machines.iter().map(|machines| spec.max_failures.floor_of(*machines)).collect();
            for (item, tallies) in self.open.iter().zip(&mut self.tallies) {
                tallies.iter_mut().for_each(|tally| tally.failed = 0);
                let (Some(failed), Some(progress)) = (self.failed.get(item), self.items.get_mut(item)) else {
                    continue;
                };
                let counting = failed.iter().filter(|(_, at)| counts_still(**at, progress));
                for seat in counting.filter_map(|(machine, _)| seats.get(*machine)) {
                    tallies[seat.wave].failed += 1;
                }
                let too_many = tallies.iter().zip(&limits).find(|(tally, most)| tally.failed > **most);
                if let Some((tally, most)) = too_many {
                    progress.barred = progress.barred.or(Some(now));
                    self.excesses.insert(item.clone(), (tally.failed, *most));
                }
            }
        }
        self.must_decide |= before != self.excesses;
    }

    /// Judges the items that are not released.
    pub(crate) fn judge(&mut self, facts: &Facts<'_>, place: usize) {
        let baseline = facts.resources.packages[place];
        let spec = &baseline.rollout;
        let words = Words::about(facts.snapshot, &baseline.reference());
        let fronts = std::mem::take(&mut self.fronts);
        for (item, progress) in &mut self.items {
            if progress.released.is_some() {
                continue;
            }
            let tallies = self.open.binary_search(item).ok().map(|number| &self.tallies[number]);
            let (Some(seats), Some(tallies)) = (&self.seats, tallies) else {
                progress.released = progress.barred.is_none().then_some(facts.now);
                continue;
            };
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
        self.next = facts.timer.take();
        (self.is_stale, self.is_heard) = (false, false);
        self.is_fresh = self.items.values().any(|progress| is_of(progress, facts.now));
        let marks: Vec<Marked> =
            self.items.iter().filter_map(|(item, progress)| self.marked(item, progress)).collect();
        self.must_decide |= fronts != self.fronts || marks != self.marks;
        self.marks = marks;
    }

    /// What of an item's progress is said of its machines' targets.
    fn marked(&self, item: &Item, progress: &ItemProgress) -> Option<Marked> {
        let barred = progress.barred.map(|_| (progress.failed, self.max_failures));
        (barred.is_some() || progress.released.is_some()).then(|| (item.clone(), barred, progress.released))
    }

    /// Of these, those of a package.
    pub(crate) fn open_items_of(&self, package: &PackageKey) -> impl Iterator<Item = (usize, &Item)> {
        let from = self.open.partition_point(|item| item.package < *package);
        let package = package.clone();
        self.open[from..]
            .iter()
            .take_while(move |item| item.package == package)
            .enumerate()
            .map(move |(number, item)| (from + number, item))
    }

    /// Whether too many failed an item, so that it starts nowhere any more.
    pub(crate) fn has_barred(&self, item: &Item) -> bool {
        self.items.get(item).is_some_and(|progress| progress.barred.is_some())
    }

    pub(crate) fn has_failed(&self, item: &Item, machine: usize) -> bool {
        let failed = self.failed.get(item).and_then(|machines| machines.get(&machine));
        failed.is_some_and(|at| self.items.get(item).is_some_and(|progress| counts_still(*at, progress)))
    }
}

/// An item that is barred (by how many failures, of how many that may be) or released.
type Marked = (Item, Option<(usize, usize)>, Option<Instant>);

fn counted<'a>(all: &'a mut BTreeMap<Item, Counted>, item: &Item) -> &'a mut Counted {
    if !all.contains_key(item) {
        all.insert(item.clone(), Counted::default());
    }
    all.get_mut(item).expect("it is there by now")
}

/// Whether a failure at that instant counts: a person who resumes an item sets what failed before aside.
fn counts_still(at: Instant, progress: &ItemProgress) -> bool {
    progress.resumed.is_none_or(|resumed| at > resumed)
}

/// Whether something is said to be of this instant.
fn is_of(progress: &ItemProgress, now: Instant) -> bool {
    let ItemProgress {
        wanted: _,
        done: _,
        failed: _,
        barred,
        seen,
        released,
        approved,
        resumed,
        paused,
        waves,
    } = progress;
    let own = [barred, seen, released, approved, resumed, paused].into_iter().flatten();
    own.chain(waves.values().flat_map(|wave| wave.passed.iter())).any(|at| *at == now)
}
