//! What a plan leaves behind for the next one: what each machine counts for, the sums of that, and the plan itself.
//!
//! A *round* decides some machines (all of them, at first): it counts them out as they were and in as they are, works out
//! anew what follows from the sums that changed, and decides. Where that makes a difference to machines that are not among
//! them, they are named, and the round is made again with them.

mod alike;
mod awaited;
mod conclude;
mod count;
mod net;
mod spread;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_model::{
    ActivityName, ActivityPools, BaselineSummary, DebianVersion, Digest, Instant, Item, Machine, MachineName,
    OutcomeReason, PackageKey, Plan, Pool, ProposalKey, Snapshot, WindowSummary,
};

pub use crate::known::awaited::{Awaited, Circle};

use crate::admit::{Queue, Turn};
use crate::budget::{Charges, Groups, Standing};
use crate::cancel;
use crate::case::{self, Asked, Mergers};
use crate::draft::Draft;
use crate::known::alike::Alike;
use crate::machine::{self, World};
use crate::order::Ranks;
use crate::overrides::Overrides;
use crate::planner::Touched;
use crate::rollout::{Facts, Lowered, Rollouts, Share, Tied};
use crate::select::{Picked, Resources, Selection};
use crate::summary::{self, Conflicts, Mark, Marks};
use crate::timer::{Timer, Timers};
use crate::twins::Twins;
use crate::upgrade;
use crate::window::{self, Windows};

/// The machines to decide, by number.
#[derive(Debug)]
pub(crate) enum Dirty {
    All,
    Some(BTreeMap<usize, Why>),
}

/// Why a machine is decided again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Something of it has changed, or its time has come.
    Touched,
    /// Something has changed elsewhere: it counts as before.
    Besides,
}

impl Dirty {
    pub(crate) fn extend(&mut self, places: Vec<usize>) {
        match self {
            Self::All => {}
            Self::Some(known) => {
                // Of two that are about the same machine, the later one stays.
                let besides = places.into_iter().map(|place| (place, Why::Besides));
                *known = besides.chain(std::mem::take(known)).collect();
            }
        }
    }

    fn contains(&self, place: usize) -> bool {
        match self {
            Self::All => true,
            Self::Some(known) => known.contains_key(&place),
        }
    }

    fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }

    fn is_touched(&self, place: usize) -> bool {
        match self {
            Self::All => true,
            Self::Some(known) => known.get(&place) != Some(&Why::Besides),
        }
    }
}

/// How a round ended.
pub(crate) enum Next {
    Done,
    /// These machines are to be decided, too.
    More(Vec<usize>),
    /// Something differs that all machines depend on.
    Anew,
}

/// What was decided about one machine, but for what the budgets say.
#[derive(Debug)]
struct Decided {
    place: usize,
    /// What it is in totals before anything is said of a requirement.
    first: Mark,
    /// `None`: it would start, and is in the queue.
    settled: Option<Draft>,
    /// When it may be decided otherwise by itself.
    next: Option<Instant>,
}

/// What one machine counted for when it was last decided.
#[derive(Debug)]
struct Kept {
    machine: Arc<Machine>,
    picked: Arc<Picked>,
    is_member: bool,
    /// How it counts may change by itself.
    settles: bool,
    lacks: Option<Arc<upgrade::Known>>,
    share: Option<Arc<Share>>,
    standing: Option<Standing>,
    /// What it failed, for which baseline; few machines did.
    #[expect(clippy::box_collection, reason = "the others hold 8 bytes for it, not 24")]
    failures: Option<Box<BTreeMap<(usize, Item), Instant>>>,
    tied: Box<[Tied]>,
    /// What it is in the totals of the baselines that picked it when it was decided.
    marks: Option<Arc<Marks>>,
    conflicts: Option<Arc<Conflicts>>,
    /// The proposals that were looked for, if any were.
    #[expect(clippy::box_collection, reason = "the others hold 8 bytes for it, not 24")]
    asked: Option<Box<Vec<ProposalKey>>>,
    /// The inventory that it names, where that is missing.
    missing: Option<Box<Digest>>,
    /// When it may be decided otherwise by itself.
    next: Option<Instant>,
    /// What would start, and when its turn is.
    queued: Option<Box<(Turn, Draft)>>,
}

impl Kept {
    fn new(machine: &Arc<Machine>) -> Self {
        Self {
            machine: machine.clone(),
            picked: Arc::default(),
            is_member: false,
            settles: false,
            lacks: None,
            share: None,
            standing: None,
            failures: None,
            tied: Box::default(),
            marks: None,
            conflicts: None,
            asked: None,
            missing: None,
            next: None,
            queued: None,
        }
    }
}

/// Upgrades that machines lack: for which baselines, on how many.
type Lacking = BTreeMap<(PackageKey, DebianVersion), BTreeMap<usize, usize>>;

/// One namespace as it was last planned.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) plan: Plan,
    changed: Vec<MachineName>,
    alike: Alike,
    twins: Twins,
    /// What drafts that wait for their turn have alike.
    waiting: ActivityPools,
    /// What machines are in totals alike.
    marks: Pool<Marks>,
    /// In the order of their names.
    kept: Vec<Kept>,
    selection: Selection,
    mergers: Mergers,
    /// Machines by the number of their set of windows.
    of_set: Vec<usize>,
    windows: Vec<WindowSummary>,
    windows_next: Option<Instant>,
    openings: window::Answers,
    overrides_next: Option<Instant>,
    ranks: Ranks,
    charges: Charges,
    groups: Groups,
    /// With what the last plan starts.
    after: Groups,
    queue: Queue,
    rollouts: Rollouts,
    lacking: Lacking,
    upgrades: upgrade::Known,
    /// Along the package baselines, then the kernel baselines.
    summaries: Vec<BaselineSummary>,
    due: BTreeSet<(Instant, usize)>,
    by_proposal: BTreeMap<ProposalKey, BTreeSet<usize>>,
    by_missing: BTreeMap<Digest, BTreeSet<usize>>,
    /// Machines by the baselines (by number) whose items come along in what they may get.
    along: BTreeMap<usize, BTreeSet<usize>>,
    /// Machines whose answers name the instant of the plan.
    restless: BTreeSet<usize>,
    /// Machines that are told something else by the budgets.
    told: BTreeSet<usize>,
    /// Baselines (by number) whose rollouts were judged, and are to be told.
    judged: BTreeSet<usize>,
    /// Windows, or their machines, are others, and are to be told.
    tell_windows: bool,
}

impl Known {
    pub(crate) fn new(snapshot: &Snapshot) -> Self {
        let resources = Resources::of(snapshot);
        let baselines = resources.packages.len();
        Self {
            plan: Plan::default(),
            changed: Vec::new(),
            alike: Alike::default(),
            twins: Twins::default(),
            waiting: ActivityPools::default(),
            marks: Pool::default(),
            kept: snapshot.machines.values().map(Kept::new).collect(),
            selection: Selection::new(&resources),
            mergers: Mergers::default(),
            of_set: Vec::new(),
            windows: Vec::new(),
            windows_next: Some(snapshot.now),
            openings: window::Answers::new(),
            overrides_next: None,
            ranks: Ranks::of(&resources),
            charges: Charges::new(),
            groups: Groups::new(&resources),
            after: Groups::new(&resources),
            queue: Queue::default(),
            rollouts: Rollouts::new(&resources),
            lacking: BTreeMap::new(),
            upgrades: upgrade::Known::new(),
            summaries: vec![BaselineSummary::default(); baselines],
            due: BTreeSet::new(),
            by_proposal: BTreeMap::new(),
            by_missing: BTreeMap::new(),
            along: BTreeMap::new(),
            restless: BTreeSet::new(),
            told: BTreeSet::new(),
            judged: BTreeSet::new(),
            tell_windows: true,
        }
    }

    /// The same, but that nothing is known any more except what was said last.
    pub(crate) fn anew(self, snapshot: &Snapshot) -> Self {
        let (mut machines, mut changed) = (self.plan.machines, self.changed);
        machines.retain(|name, _| {
            let stays = snapshot.machines.contains_key(name);
            if !stays {
                changed.push(name.clone());
            }
            stays
        });
        Self { plan: Plan { machines, ..Plan::default() }, changed, ..Self::new(snapshot) }
    }

    pub(crate) fn take_changed(&mut self) -> BTreeSet<MachineName> {
        std::mem::take(&mut self.changed).into_iter().collect()
    }

    pub(crate) fn name_of(&self, place: usize) -> &MachineName {
        &self.kept[place].machine.name
    }

    fn place_of(&self, machine: &MachineName) -> Option<usize> {
        self.kept.binary_search_by(|kept| kept.machine.name.cmp(machine)).ok()
    }

    /// The machines that have to be decided; `None`: all.
    pub(crate) fn touched(&self, snapshot: &Snapshot, touched: &Touched) -> Option<BTreeMap<usize, Why>> {
        let now = snapshot.now;
        if self.overrides_next.is_some_and(|next| next <= now) || snapshot.machines.len() != self.kept.len() {
            return None;
        }
        let mut places = self.restless.clone();
        places.extend(self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, place)| *place));
        for name in &touched.machines {
            match (self.place_of(name), snapshot.machines.contains_key(name)) {
                (Some(place), true) => drop(places.insert(place)),
                (None, false) => {}
                (Some(_), false) | (None, true) => return None,
            }
        }
        for digest in &touched.inventories {
            if snapshot.inventories.contains_key(digest) {
                places.extend(self.by_missing.get(digest).into_iter().flatten());
            } else {
                let names = |kept: &Kept| {
                    kept.machine
                        .reported
                        .as_ref()
                        .is_some_and(|reported| reported.report.inventory == *digest)
                };
                places.extend((0..self.kept.len()).filter(|place| names(&self.kept[*place])));
            }
        }
        let asked = touched.proposals.iter().filter_map(|proposal| self.by_proposal.get(proposal));
        places.extend(asked.flatten());
        Some(places.into_iter().map(|place| (place, Why::Touched)).collect())
    }

    /// Decides machines, says what follows, and sums it up.
    pub(crate) fn round(&mut self, snapshot: &Snapshot, dirty: &Dirty) -> Next {
        let resources = Resources::of(snapshot);
        let mut decided = match self.decide(snapshot, &resources, dirty) {
            Ok(decided) => decided,
            Err(next) => return next,
        };
        // What waited and starts instead of others names the instant at which it was drafted, so it is decided once more; what the
        // others come to stays. Each time these are machines that were not decided yet, which bounds how often.
        let mut again = BTreeSet::new();
        loop {
            self.told.retain(|place| !dirty.contains(*place) && !again.contains(place));
            let starting: Vec<usize> =
                self.told.iter().copied().filter(|place| self.starts(*place)).collect();
            if starting.is_empty() {
                break;
            }
            let mut besides = Dirty::Some(BTreeMap::new());
            besides.extend(starting);
            let more = loop {
                match self.decide(snapshot, &resources, &besides) {
                    Ok(more) => break more,
                    Err(Next::More(places)) => besides.extend(places),
                    Err(next @ (Next::Anew | Next::Done)) => return next,
                }
            };
            again.extend(more.iter().map(|one| one.place));
            decided.retain(|one| !besides.contains(one.place));
            decided.extend(more);
        }
        self.conclude(&resources, &decided);
        self.sum_up(snapshot, &resources);
        self.twins.trim(self.kept.len());
        Next::Done
    }

    /// Whether what waits on a machine may start.
    fn starts(&self, place: usize) -> bool {
        let Kept { queued, standing, .. } = &self.kept[place];
        let both = queued.as_ref().zip(standing.as_ref());
        both.is_some_and(|(queued, standing)| self.queue.told(standing, queued.0).is_none())
    }

    /// Decides machines, up to what the budgets say of it; or what has to come before that.
    fn decide(
        &mut self,
        snapshot: &Snapshot,
        resources: &Resources<'_>,
        dirty: &Dirty,
    ) -> Result<Vec<Decided>, Next> {
        let timer = Timer::new(snapshot.now);
        let machines: Vec<(usize, Arc<Machine>)> = match dirty {
            Dirty::All => snapshot.machines.values().cloned().enumerate().collect(),
            Dirty::Some(places) => {
                let machine = |(place, why): (&usize, &Why)| {
                    let known = &self.kept[*place].machine;
                    Some(match why {
                        Why::Touched => (*place, snapshot.machines.get(&known.name)?.clone()),
                        Why::Besides => (*place, known.clone()),
                    })
                };
                places.iter().filter_map(machine).collect()
            }
        };
        if self.windows_next.is_some_and(|next| next <= snapshot.now) {
            self.tell_windows = true;
            self.windows = summary::windows(resources, &snapshot.policy.estimates, &timer);
            self.windows_next = timer.take();
        }
        let turns: Vec<Option<Instant>> = self.windows.iter().map(summary::turn).collect();
        let overrides = Overrides::of(snapshot, &timer);
        self.overrides_next = timer.take();

        let kept = &self.kept;
        let all = machines.iter().map(|(place, machine)| {
            let before = Some(&kept[*place]).filter(|kept| kept.standing.is_some());
            (*place, machine.as_ref(), before.map(|kept| (&*kept.machine, &kept.picked)))
        });
        let mut asked = Asked::of(resources, &mut self.selection, &mut self.mergers, all);
        if self.learn(snapshot, resources, asked.lacks(snapshot, |place| dirty.is_touched(place)))
            && !dirty.is_all()
        {
            return Err(Next::Anew);
        }
        let histories = case::histories(snapshot, machines.iter().map(|(_, machine)| machine.as_ref()));
        let mut timers = Timers::new(&timer, machines.len());
        let cases =
            asked.cases(snapshot, resources, &histories, &self.upgrades, &mut self.twins, &mut timers);
        let groups_before = self.groups.clone();
        self.count(snapshot, resources, &cases, &machines, dirty, &mut timers);
        let turned = self.groups.limit(resources);
        if turned && !dirty.is_all() {
            return Err(Next::Anew);
        }
        if self.groups != groups_before {
            self.queue.renew();
        }

        let facts = Facts::new(snapshot, resources, &self.rollouts, &timer);
        if let Some(more) = self.hear(&facts, dirty) {
            return Err(Next::More(more));
        }
        self.ask(&facts, &cases, &mut timers);
        self.judge(&facts);
        if let Some(more) = self.undecided(dirty) {
            return Err(Next::More(more));
        }

        let world = World {
            snapshot,
            resources,
            windows: Windows::new(
                resources,
                self.selection.sets.sets(),
                &turns,
                &snapshot.policy,
                &timer,
                std::mem::take(&mut self.openings),
            ),
            rollouts: &self.rollouts,
            lowered: Lowered::default(),
            overrides,
            timer: &timer,
            last: &self.plan,
        };
        let mut drafts: Vec<Draft> = Vec::with_capacity(cases.len());
        let mut cancels: Vec<(&MachineName, Vec<(ActivityName, OutcomeReason)>)> = Vec::new();
        for (number, case) in cases.iter().enumerate() {
            drafts.push(timers.of(number, |_| machine::draft(&world, case)));
            // Else nothing is to be canceled, as before.
            if case.history.unfinished().is_some() || !self.plan.cancels.is_empty() {
                let standing = self.kept[case.place].standing.as_ref();
                let is_zero = standing.is_some_and(|standing| self.groups.is_zero(standing));
                let found = timers.of(number, |_| cancel::cancels(&world, case, is_zero));
                cancels.push((&case.machine.name, found));
            }
        }
        self.openings = world.windows.into_known();
        for (name, found) in cancels {
            self.cancel(name, found);
        }
        if dirty.is_all() {
            let orphans: BTreeSet<&MachineName> = snapshot
                .activities
                .keys()
                .map(|name| &name.machine)
                .filter(|name| !snapshot.machines.contains_key(*name))
                .collect();
            orphans.into_iter().for_each(|name| self.cancel(name, cancel::of_nobody(snapshot, name)));
        }
        let both = cases.iter().zip(drafts).enumerate();
        let decided = both.map(|(number, (case, draft))| Decided {
            place: case.place,
            first: Mark::of(case),
            settled: self.enqueue(case, draft),
            next: timers.next_of(number),
        });
        let decided = decided.collect();
        if let Some((after, told)) = self.queue.take_turns(&self.groups) {
            self.after = after;
            self.told.extend(told);
        }
        Ok(decided)
    }
}
