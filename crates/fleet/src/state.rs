//! What fleet knows of one namespace: what watches showed, overlaid with its own writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_model::{
    Activity, ActivityName, ActivityPools, BaselineCommon, BaselineKind, BaselineRef, BaselineSummary,
    BudgetSummary, Instant, Machine, MachineName, MachinePools, ObjectName, Phase, Plan, Presence, Rollout,
    Snapshot, WindowSummary,
};
use muster_planner::{Planner, Touched};
use smol_str::SmolStr;

use crate::agenda::Agenda;
use crate::durations::Durations;
use crate::input::{Change, Garbage, GatewayLease, Key, PresenceShard, SourceState};
use crate::presence::Doubt;
use crate::record::Decision;
use crate::written::LONGEST_BACKOFF_SECONDS;
use crate::{pass, presence, revision};

/// One namespace, as seen by the controller that leads it.
#[derive(Debug, Default)]
pub struct State {
    /// What watches showed, and activities that we created whether or not a watch showed them yet.
    pub(crate) world: Snapshot,
    /// Activities that we asked to be created and no watch has shown (rule A3: own writes count at once).
    pub(crate) reserved: BTreeSet<ActivityName>,
    /// By gateway.
    pub(crate) gateways: BTreeMap<SmolStr, GatewayLease>,
    /// The gateways that were up when presence was last looked at.
    pub(crate) gateways_up: BTreeSet<SmolStr>,
    /// By gateway and shard.
    pub(crate) shards: BTreeMap<(SmolStr, SmolStr), PresenceShard>,
    /// Since when at least one gateway is up; `None`: none is.
    pub(crate) gateway_up_since: Option<Instant>,
    /// When it was last looked at: a gateway that is up now, and was not then, came up since.
    pub(crate) looked: Option<Instant>,
    /// Until then nothing is decided, since every gateway's Lease seems to have run out: it may be that we stood still.
    pub(crate) catches_up: Option<Instant>,
    /// Sources: what is in force, and whether another revision is being applied.
    pub(crate) sources: BTreeMap<SmolStr, SourceState>,
    /// The revision that the FleetPolicy was applied from.
    pub(crate) policy_revision: Option<SmolStr>,
    /// What was last emitted for each object.
    pub(crate) machines: BTreeMap<MachineName, Box<Decision>>,
    pub(crate) baselines: BTreeMap<BaselineRef, (BaselineSummary, Instant)>,
    pub(crate) windows: BTreeMap<ObjectName, WindowSummary>,
    pub(crate) budgets: BTreeMap<ObjectName, (BudgetSummary, Instant)>,
    pub(crate) rollouts: BTreeMap<BaselineRef, (Rollout, Instant)>,
    /// Writes about an activity that were emitted and whose effect no watch has shown: not emitted again meanwhile.
    pub(crate) asked: BTreeMap<ActivityName, (Phase, bool, Instant)>,
    /// Deletions that were emitted and that no watch has shown.
    pub(crate) deleting: BTreeMap<Key, Instant>,
    /// Recorded as last emitted or not: to be emitted again, since a write failed or the object changed under it.
    pub(crate) unrecorded: BTreeSet<Key>,
    /// A new epoch has begun: what waits now is inherited, what shows up later is a late write (rule A3).
    pub(crate) inherit: bool,
    /// Activities of earlier epochs that were there when ours began.
    pub(crate) inherited: BTreeSet<ActivityName>,
    /// Activities whose creation is refused again and again, and people were told.
    pub(crate) complained: BTreeSet<ActivityName>,
    /// Writes that failed: how often, and when the next may be made.
    pub(crate) backoff: BTreeMap<Key, (u32, Instant)>,
    /// Since when nothing refers to it.
    pub(crate) unreferenced: BTreeMap<Garbage, Instant>,
    /// Marked in the API for collection.
    pub(crate) marked: BTreeMap<Garbage, Instant>,
    /// How long steps took (rule W2).
    pub(crate) durations: Durations,
    /// When their estimates were last recorded.
    pub(crate) estimated: Option<Instant>,
    /// Something changed that may leave an inventory or a proposal unreferenced.
    pub(crate) garbage_dirty: bool,
    /// When it was last looked for what nothing refers to.
    pub(crate) garbage_looked: Option<Instant>,
    /// When the next of them is to be marked or deleted.
    pub(crate) garbage_due: Option<Instant>,
    /// Something has changed by which what people said of rollouts is judged.
    pub(crate) words_dirty: bool,
    /// When some of it is old enough to go.
    pub(crate) words_due: Option<Instant>,
    /// Activities that have ended since the last pass, which people are to be told.
    pub(crate) ended: BTreeSet<ActivityName>,
    /// Unfinished activities, and when something is to be done about them.
    pub(crate) deadlines: Agenda<ActivityName>,
    /// Machines, and when some of their finished activities may go.
    pub(crate) history: Agenda<MachineName>,
    /// Something has changed that all activities' fates depend on.
    pub(crate) look_at_all: bool,
    /// Something changed since the last pass.
    pub(crate) dirty: bool,
    /// Whose presence may have changed since the last pass.
    pub(crate) doubt: Doubt,
    /// Whether there was a pass yet; before, nothing is told to people again.
    pub(crate) begun: bool,
    /// When the next pass is due though nothing changes.
    pub(crate) next: Option<Instant>,
    /// When presence is to be looked at again; there is nothing to decide unless it changed.
    pub(crate) next_look: Option<Instant>,
    /// When the first machine that reported and that no gateway speaks of counts as silent.
    pub(crate) first_words: Option<Instant>,
    /// What many machines and activities have alike.
    pub(crate) pools: (MachinePools, ActivityPools),
    /// Plans again at the cost of what changed.
    pub(crate) planner: Planner,
    /// What of the world changed since it planned last.
    pub(crate) touched: Touched,
}

impl State {
    /// A namespace of which nothing is known yet. Observe everything that is there before the first pass.
    #[must_use]
    pub fn new() -> Self {
        Self {
            dirty: true,
            doubt: Doubt::OfAll,
            inherit: true,
            look_at_all: true,
            words_dirty: true,
            ..Self::default()
        }
    }

    /// Whether a pass is due: something changed, or it is time.
    #[must_use]
    pub fn wants_pass(&self, now: Instant) -> bool {
        match self.catches_up {
            Some(until) => until <= now,
            None => self.dirty || !self.doubt.is_none() || self.next().is_some_and(|next| next <= now),
        }
    }

    /// When the next pass is due though nothing changes; `None`: never.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.catches_up.or_else(|| self.next.into_iter().chain(self.next_look).min())
    }

    /// The world as the planner is given it, for `why`, metrics and tests.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.world
    }

    /// The world at an instant, as a pass would plan from it, for a plan that nobody carries out.
    pub fn look(&mut self, now: Instant) -> &Snapshot {
        self.world.now = now;
        presence::refresh(self, now);
        pass::note_numbers(self);
        self.world.applying = revision::is_applying(self);
        &self.world
    }

    /// What was decided last.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        self.planner.last()
    }

    /// Takes in what a watch showed.
    pub(crate) fn observe(&mut self, change: Change) {
        if self.is_known(&change) {
            return;
        }
        match change {
            Change::Gateway(..) | Change::Presence(..) => {}
            _ => self.dirty = true,
        }
        match change {
            Change::Machine(_) | Change::MachineGone(_) => self.garbage_dirty = true,
            Change::Inventory(..) | Change::InventoryGone(_) => self.garbage_dirty = true,
            Change::Proposal(..) | Change::ProposalGone(_) => self.garbage_dirty = true,
            Change::Approval(_) | Change::ApprovalGone(_) => self.words_dirty = true,
            Change::Rollout(..) | Change::RolloutGone(_) => self.words_dirty = true,
            Change::Policy(..) | Change::Unreadable(..) => self.words_dirty = true,
            _ => {}
        }
        let world = &mut self.world;
        match &change {
            Change::Machine(machine) => drop(self.touched.machines.insert(machine.name.clone())),
            Change::MachineGone(name) | Change::AbsenceResolved(name, _) => {
                self.touched.machines.insert(name.clone());
            }
            Change::Activity(activity) => {
                self.touched.machines.insert(activity.spec.name.machine.clone());
            }
            Change::ActivityGone(name) => drop(self.touched.machines.insert(name.machine.clone())),
            Change::Inventory(digest, ..) | Change::InventoryGone(digest) => {
                self.touched.inventories.insert(digest.clone());
            }
            Change::Proposal(key, ..) | Change::ProposalGone(key) => {
                self.touched.proposals.insert(key.clone());
            }
            _ => {}
        }
        match change {
            Change::Machine(mut machine) => {
                // Made anew under the name, between two lists: what is known of the old one says nothing of it.
                if world.machines.get(&machine.name).is_some_and(|known| known.uid != machine.uid) {
                    world.machines.remove(&machine.name);
                    self.machines.remove(&machine.name);
                }
                let known = world.machines.get(&machine.name);
                machine.presence = known.map_or(Presence::Never, |known| known.presence);
                if known.is_none_or(|known| known.reported.is_some() != machine.reported.is_some()) {
                    self.doubt.add([&machine.name]);
                }
                self.pools.0.pool(&mut machine);
                world.machines.insert(machine.name.clone(), Arc::new(*machine));
            }
            Change::MachineGone(name) => {
                world.machines.remove(&name);
                world.resolved_absences.remove(&name);
                self.machines.remove(&name);
            }
            Change::AbsenceResolved(name, at) => match at {
                Some(at) => {
                    world.resolved_absences.insert(name, at);
                }
                None => {
                    world.resolved_absences.remove(&name);
                }
            },
            Change::PackageBaseline(baseline) => {
                let known = world.package_baselines.get(&baseline.common.name).map(|known| &known.common);
                if known.is_some_and(|known| is_another(known, &baseline.common)) {
                    self.unrecorded.insert(Key::Baseline(baseline.reference()));
                }
                world.package_baselines.insert(baseline.common.name.clone(), Arc::new(baseline));
            }
            Change::KernelBaseline(baseline) => {
                let known = world.kernel_baselines.get(&baseline.common.name).map(|known| &known.common);
                if known.is_some_and(|known| is_another(known, &baseline.common)) {
                    self.unrecorded.insert(Key::Baseline(baseline.reference()));
                }
                world.kernel_baselines.insert(baseline.common.name.clone(), Arc::new(baseline));
            }
            Change::BaselineGone(baseline) => {
                match baseline.kind {
                    BaselineKind::PackageBaseline => drop(world.package_baselines.remove(&baseline.name)),
                    BaselineKind::KernelBaseline => drop(world.kernel_baselines.remove(&baseline.name)),
                }
                self.baselines.remove(&baseline);
            }
            Change::Window(window) => {
                let known = world.windows.get(&window.name);
                if known
                    .is_some_and(|known| (&known.uid, known.generation) != (&window.uid, window.generation))
                {
                    self.unrecorded.insert(Key::Window(window.name.clone()));
                }
                world.windows.insert(window.name.clone(), Arc::new(window));
            }
            Change::WindowGone(name) => {
                world.windows.remove(&name);
                self.windows.remove(&name);
            }
            Change::Override(one) => drop(world.overrides.insert(one.name.clone(), Arc::new(one))),
            Change::OverrideGone(name) => drop(world.overrides.remove(&name)),
            Change::Budget(budget) => {
                let known = world.budgets.get(&budget.name);
                if known
                    .is_some_and(|known| (&known.uid, known.generation) != (&budget.uid, budget.generation))
                {
                    self.unrecorded.insert(Key::Budget(budget.name.clone()));
                }
                world.budgets.insert(budget.name.clone(), Arc::new(budget));
            }
            Change::BudgetGone(name) => {
                world.budgets.remove(&name);
                self.budgets.remove(&name);
            }
            Change::Policy(policy) => {
                let (policy, revision) = policy.unwrap_or_default();
                self.look_at_all |= world.policy != policy;
                world.policy = policy;
                self.policy_revision = revision;
            }
            Change::Unreadable(what, why) => match why {
                Some(why) => drop(world.unreadable.insert(what, why)),
                None => drop(world.unreadable.remove(&what)),
            },
            Change::Inventory(digest, inventory, marked) => {
                self.mark_seen(Garbage::Inventory(digest.clone()), marked);
                self.world.inventories.insert(digest, inventory);
            }
            Change::InventoryGone(digest) => {
                world.inventories.remove(&digest);
                self.forget(&Garbage::Inventory(digest));
            }
            Change::Proposal(key, proposal, marked) => {
                self.mark_seen(Garbage::Proposal(key.clone()), marked);
                self.world.proposals.insert(key, proposal);
            }
            Change::ProposalGone(key) => {
                world.proposals.remove(&key);
                self.forget(&Garbage::Proposal(key));
            }
            // What was written last counts before a watch shows it (rule A3): an older one takes back nothing that passed
            // (rule O2), and another one than ours is written over.
            Change::Rollout(baseline, rollout) => match self.rollouts.get(&baseline) {
                Some((ours, _)) if *ours == rollout => {}
                Some(_) => drop(self.unrecorded.insert(Key::Rollout(baseline))),
                None => drop(world.rollouts.insert(baseline, Arc::new(rollout))),
            },
            Change::Approval(approval) => {
                world.approvals.insert(approval.name.clone(), Arc::new(approval));
            }
            Change::ApprovalGone(name) => {
                world.approvals.remove(&name);
                self.deleting.remove(&Key::Approval(name));
            }
            Change::RolloutGone(baseline) => {
                world.rollouts.remove(&baseline);
                self.rollouts.remove(&baseline);
                self.deleting.remove(&Key::Rollout(baseline));
            }
            Change::Activity(activity) => self.observe_activity(*activity),
            Change::ActivityGone(name) => {
                world.activities.remove(&name);
                self.reserved.remove(&name);
                self.asked.remove(&name);
                self.ended.remove(&name);
                self.deadlines.set(&name, None);
                self.inherited.remove(&name);
                self.complained.remove(&name);
                self.deleting.remove(&Key::Activity(name));
            }
            Change::Source(name, state) => {
                match state {
                    Some(state) => drop(self.sources.insert(name, state)),
                    None => drop(self.sources.remove(&name)),
                }
                world.revision = self.sources.values().find_map(|source| source.revision.clone());
            }
            Change::Gateway(name, lease) => {
                // A renewal alone changes nothing: whether the lease is valid is looked at when it runs out.
                let before = match lease {
                    Some(lease) => self.gateways.insert(name, lease),
                    None => self.gateways.remove(&name),
                };
                let same = |a: GatewayLease, b: GatewayLease| {
                    a.acquired == b.acquired && b.renewed <= a.valid_until && b.valid_until >= a.valid_until
                };
                if !matches!((before, lease), (Some(a), Some(b)) if same(a, b)) {
                    self.doubt = Doubt::OfAll;
                }
            }
            Change::Presence(gateway, shard, heard) => {
                let key = (gateway, shard);
                let before = self.shards.remove(&key).unwrap_or_default();
                self.doubt
                    .add(presence::changed(&before, heard.as_ref().unwrap_or(&PresenceShard::default())));
                if let Some(heard) = heard {
                    self.shards.insert(key, heard);
                }
            }
            Change::Epoch(epoch) => {
                self.inherit |= world.epoch != epoch;
                self.look_at_all = true;
                world.epoch = epoch;
            }
            Change::Unrecorded(key) => drop(self.unrecorded.insert(key)),
            Change::ClockOff(off) => {
                world.clock_off = off;
                self.look_at_all = true;
                if !off {
                    self.doubt = Doubt::OfAll;
                }
            }
        }
    }

    /// Whether a watch shows what is known already: what we wrote ourselves comes back to us, and a relist shows all of it
    /// again. There is nothing to decide anew then.
    fn is_known(&self, change: &Change) -> bool {
        let world = &self.world;
        match change {
            Change::Machine(machine) => world.machines.get(&machine.name).is_some_and(|known| {
                // Presence is ours to know: it says nothing of the object.
                let shown = Machine { presence: known.presence, ..Machine::clone(machine) };
                **known == shown
            }),
            Change::AbsenceResolved(name, at) => world.resolved_absences.get(name) == at.as_ref(),
            Change::Activity(activity) => {
                let name = &activity.spec.name;
                world.activities.get(name).is_some_and(|known| **known == **activity)
                    && !self.reserved.contains(name)
                    && !self.asked.contains_key(name)
                    && !self.complained.contains(name)
            }
            Change::Rollout(baseline, rollout) => {
                world.rollouts.get(baseline).is_some_and(|known| **known == *rollout)
            }
            Change::Inventory(digest, _, marked) => {
                world.inventories.contains_key(digest)
                    && self.marked.get(&Garbage::Inventory(digest.clone())) == marked.as_ref()
            }
            Change::Proposal(key, proposal, marked) => {
                world.proposals.get(key) == Some(proposal)
                    && self.marked.get(&Garbage::Proposal(key.clone())) == marked.as_ref()
            }
            Change::ClockOff(off) => world.clock_off == *off,
            Change::Unreadable(what, why) => world.unreadable.get(what) == why.as_ref(),
            _ => false,
        }
    }

    fn observe_activity(&mut self, mut activity: Activity) {
        let name = activity.spec.name.clone();
        self.reserved.remove(&name);
        self.complained.remove(&name);
        let settled = self
            .asked
            .get(&name)
            .is_some_and(|(seen, cancel, _)| *seen != activity.phase || (*cancel && activity.cancel));
        if settled {
            self.asked.remove(&name);
        }
        // A stale watch never takes a phase back (rule A2).
        if self
            .world
            .activities
            .get(&name)
            .is_some_and(|known| known.uid == activity.uid && known.phase > activity.phase)
        {
            return;
        }
        // What had ended before we began was told then.
        let was_open = self.world.activities.get(&name).is_none_or(|known| !known.phase.is_finished());
        if self.begun && was_open && activity.phase.is_finished() {
            self.ended.insert(name.clone());
        }
        self.durations.observe(&activity);
        self.pools.1.pool(&mut activity.spec);
        let spec = &mut activity.spec;
        if let Some(machine) = self.world.machines.get(&name.machine) {
            spec.name.machine.clone_from(&machine.name);
            if spec.machine_uid == machine.uid {
                spec.machine_uid.clone_from(&machine.uid);
            }
        }
        self.world.activities.insert(activity.spec.name.clone(), Arc::new(activity));
    }

    fn mark_seen(&mut self, garbage: Garbage, marked: Option<Instant>) {
        match marked {
            Some(since) => drop(self.marked.insert(garbage, since)),
            None => drop(self.marked.remove(&garbage)),
        }
    }

    fn forget(&mut self, garbage: &Garbage) {
        self.marked.remove(garbage);
        self.unreferenced.remove(garbage);
        self.deleting.remove(&Key::Garbage(garbage.clone()));
    }

    /// The clock was ahead and was set back: what was noted meanwhile lies in the future, and nothing is to wait for that.
    pub(crate) fn clock_went_back(&mut self, now: Instant) {
        let earlier = |at: &mut Instant| *at = (*at).min(now);
        let longest = now + jiff::SignedDuration::from_secs(LONGEST_BACKOFF_SECONDS);
        self.backoff.values_mut().for_each(|(_, until)| *until = (*until).min(longest));
        self.asked.values_mut().for_each(|(_, _, since)| earlier(since));
        self.deleting.values_mut().for_each(earlier);
        self.unreferenced.values_mut().for_each(earlier);
        self.baselines.values_mut().for_each(|(_, at)| earlier(at));
        self.budgets.values_mut().for_each(|(_, at)| earlier(at));
        self.rollouts.values_mut().for_each(|(_, at)| earlier(at));
        self.gateway_up_since.iter_mut().for_each(earlier);
        self.garbage_looked = None;
        self.words_dirty = true;
        self.catches_up = None;
        self.look_at_all = true;
        self.dirty = true;
        self.doubt = Doubt::OfAll;
    }

    /// Notes that the next pass is due at that instant, at the latest.
    pub(crate) fn wake_at(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

/// Whether it was edited or made anew: the status that it has is not about it as it is now.
fn is_another(known: &BaselineCommon, new: &BaselineCommon) -> bool {
    (&known.uid, known.generation) != (&new.uid, new.generation)
}
