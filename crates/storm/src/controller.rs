//! Controllers: the shell around fleet, as the product has it, with everything that can happen to it.
//!
//! Watches, leadership, passes and the order of writes are here; what a write does to the API is in `effect`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::SignedDuration;
use muster_checker::event::What;
use muster_fleet::{Change, Effect, Input, Key, State, Written, step};
use muster_model::Instant;
use smol_str::{SmolStr, format_smolstr};

use crate::api::{KINDS, Kind, Shown, Value};
use crate::fault::Fault;
use crate::storm::{ForController, Storm};

/// How long a leader that says nothing keeps the lease, and how often it renews it: the product's numbers.
const LEASE: SignedDuration = SignedDuration::from_secs(15);
const RENEWAL: i64 = 4;

/// How often the clocks are compared; the product also compares when its clock is set.
const COMPARE: SignedDuration = SignedDuration::from_mins(5);

/// How far a controller's clock may be off.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(30);

/// One controller.
#[derive(Debug)]
pub(crate) struct Controller {
    pub(crate) name: SmolStr,
    pub(crate) up: bool,
    /// It stands still until it is told to go on.
    pub(crate) paused: bool,
    /// Grows whenever it dies or stops to lead: what was planned before is void.
    pub(crate) life: u64,
    /// How far its clock is ahead.
    pub(crate) offset: SignedDuration,
    /// Whether the log says that its clock is off.
    clock_off: bool,
    lead: Option<Lead>,
    /// What came while it stood still.
    missed: Vec<ForController>,
}

/// What it has while it leads.
#[derive(Debug)]
struct Lead {
    epoch: u64,
    state: State,
    watches: BTreeMap<Kind, Watch>,
    /// Kinds that were not seen whole yet.
    unsynced: BTreeSet<Kind>,
    waiting: BTreeMap<Key, VecDeque<Effect>>,
    busy: BTreeSet<Key>,
    last_pass: Instant,
    next_pass: Option<Instant>,
}

/// One kind's watch.
#[derive(Debug, Default)]
struct Watch {
    live: bool,
    queue: VecDeque<(Instant, Shown)>,
    /// How late it is, beside the usual.
    lag: SignedDuration,
    /// Objects that it has shown, for telling what is gone.
    known: BTreeMap<SmolStr, Arc<Value>>,
}

impl Controller {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            name: format_smolstr!("controller-{number}"),
            up: true,
            paused: false,
            life: 1,
            offset: SignedDuration::ZERO,
            clock_off: false,
            lead: None,
            missed: Vec::new(),
        }
    }

    pub(crate) fn leads(&self) -> bool {
        self.lead.is_some()
    }

    pub(crate) fn state(&self) -> Option<&State> {
        self.lead.as_ref().map(|lead| &lead.state)
    }

    /// What it knows, to look at the world with.
    pub(crate) fn state_mut(&mut self) -> Option<&mut State> {
        self.lead.as_mut().map(|lead| &mut lead.state)
    }
}

impl Storm {
    /// Looks at the lease, and takes it if it is free.
    pub(crate) fn contend(&mut self, c: usize) {
        let now = self.now;
        let controller = &self.controllers[c];
        if !controller.up || controller.lead.is_some() {
            return;
        }
        let lease = &mut self.api.lease;
        let free = lease.holder.is_none() || lease.valid_until.is_some_and(|until| until <= now);
        if !free {
            if let Some(until) = lease.valid_until {
                let wait = until.duration_since(now) + self.dice.millis(10, 2000);
                self.for_controller(c, wait, ForController::Contend);
            }
            return;
        }
        if let Some(holder) = lease.holder {
            let (controller, epoch) = (self.controllers[holder].name.clone(), lease.epoch);
            self.log(What::LeaseLost { controller, epoch });
        }
        let lease = &mut self.api.lease;
        lease.holder = Some(c);
        lease.epoch += 1;
        lease.valid_until = None;
        let epoch = lease.epoch;
        let controller = self.controllers[c].name.clone();
        self.log(What::Leading { controller, epoch });
        // What the one before measured, and had not recorded yet, it does not know.
        self.log_estimates(self.api.policy().estimates);
        self.begin(c, epoch);
    }

    fn begin(&mut self, c: usize, epoch: u64) {
        self.count_lead();
        let mut state = State::new();
        drop(step(&mut state, Input::Observed(Box::new(Change::Epoch(epoch)))));
        if let Some(recorder) = &mut self.recorder {
            self.events.extend(recorder.leads(self.now, epoch));
        }
        self.controllers[c].lead = Some(Lead {
            epoch,
            state,
            watches: BTreeMap::new(),
            unsynced: KINDS.into(),
            waiting: BTreeMap::new(),
            busy: BTreeSet::new(),
            last_pass: self.now,
            next_pass: None,
        });
        for kind in KINDS {
            let wait = self.dice.millis(5, 800);
            self.for_controller(c, wait, ForController::List(kind));
        }
        self.compare_clocks(c);
    }

    /// It stops to lead, whatever is on its way.
    pub(crate) fn stop_leading(&mut self, c: usize) {
        self.controllers[c].lead = None;
        self.controllers[c].life += 1;
        self.controllers[c].missed.clear();
    }

    /// The lease runs out by itself, since nobody renews it.
    pub(crate) fn let_lease_run_out(&mut self, c: usize) {
        if self.api.lease.holder != Some(c) || self.api.lease.valid_until.is_some() {
            return;
        }
        let renewed = self.dice.millis(0, RENEWAL * 1000);
        let until = self.now + LEASE - renewed;
        self.api.lease.valid_until = Some(until);
        for other in 0..self.controllers.len() {
            if other != c && self.controllers[other].up {
                let wait = until.duration_since(self.now) + self.dice.millis(10, 2000);
                self.for_controller(other, wait, ForController::Contend);
            }
        }
    }

    /// Its process dies, and its pod starts again.
    pub(crate) fn controller_dies(&mut self, c: usize) {
        if !self.controllers[c].up {
            return;
        }
        self.let_lease_run_out(c);
        self.stop_leading(c);
        self.controllers[c].up = false;
        self.controllers[c].paused = false;
        let wait = self.dice.seconds(2, 60);
        self.for_controller(c, wait, ForController::Starts);
    }

    pub(crate) fn controller_starts(&mut self, c: usize) {
        self.controllers[c].up = true;
        self.contend(c);
    }

    /// It stands still for a while: a long stop of its virtual machine, say.
    pub(crate) fn pause(&mut self, c: usize, lasts: SignedDuration) {
        if !self.controllers[c].up || self.controllers[c].paused {
            return;
        }
        self.controllers[c].paused = true;
        self.let_lease_run_out(c);
        self.for_controller(c, lasts, ForController::Resumes);
    }

    /// It goes on as if nothing had been; soon it looks at the lease.
    pub(crate) fn resume(&mut self, c: usize) {
        self.controllers[c].paused = false;
        for missed in std::mem::take(&mut self.controllers[c].missed) {
            self.for_controller(c, SignedDuration::ZERO, missed);
        }
        self.want_pass(c);
        let wait = self.dice.millis(5, 2500);
        self.for_controller(c, wait, ForController::LooksAtLease);
    }

    /// The leader renews its lease, or learns that it is another's.
    pub(crate) fn look_at_lease(&mut self, c: usize) {
        let now = self.now;
        let Some(lead) = &self.controllers[c].lead else { return self.contend(c) };
        let lease = &mut self.api.lease;
        let ours = lease.holder == Some(c) && lease.epoch == lead.epoch;
        if ours && lease.valid_until.is_none_or(|until| until > now) {
            lease.valid_until = None;
            return;
        }
        self.stop_leading(c);
        self.contend(c);
    }

    /// Something happens to a controller.
    pub(crate) fn controller(&mut self, c: usize, what: ForController) {
        if self.controllers[c].paused && !matches!(what, ForController::Resumes) {
            return self.controllers[c].missed.push(what);
        }
        match what {
            ForController::Contend => self.contend(c),
            ForController::Starts => self.controller_starts(c),
            ForController::Resumes => self.resume(c),
            ForController::LooksAtLease => self.look_at_lease(c),
            ForController::List(kind) => self.list(c, kind),
            ForController::Watched(kind) => self.watched(c, kind),
            ForController::Pass => self.pass(c),
            ForController::Compare => self.compare_clocks(c),
            ForController::ClockBack => {
                self.controllers[c].offset = SignedDuration::ZERO;
                self.compare_clocks(c);
            }
            ForController::LagEnds(kind) => {
                if let Some(watch) = self.watch(c, kind) {
                    watch.lag = SignedDuration::ZERO;
                }
            }
            ForController::Answered { key, written, shown } => self.answered(c, &key, written, shown),
        }
    }

    fn watch(&mut self, c: usize, kind: Kind) -> Option<&mut Watch> {
        self.controllers[c].lead.as_mut()?.watches.get_mut(&kind)
    }

    /// Lists a kind, and watches it from there.
    fn list(&mut self, c: usize, kind: Kind) {
        let all: BTreeMap<SmolStr, Arc<Value>> =
            self.api.all(kind).map(|stored| (stored.value.name(), stored.value.clone())).collect();
        let Some(lead) = &mut self.controllers[c].lead else { return };
        let watch = lead.watches.entry(kind).or_default();
        watch.live = true;
        watch.queue.clear();
        let known = std::mem::replace(&mut watch.known, all.clone());
        lead.unsynced.remove(&kind);
        for value in all.values() {
            for change in value.changes() {
                self.observe(c, change);
            }
        }
        for (name, value) in known {
            if !all.contains_key(&name) {
                self.observe(c, value.gone());
            }
        }
        self.want_pass(c);
    }

    /// A watch breaks: what happens meanwhile is lost to it, until it lists anew.
    pub(crate) fn break_watch(&mut self, c: usize, kind: Kind, lasts: SignedDuration) {
        if let Some(watch) = self.watch(c, kind).filter(|watch| watch.live) {
            watch.live = false;
            watch.queue.clear();
            self.for_controller(c, lasts, ForController::List(kind));
        }
    }

    /// A watch is late for a while.
    pub(crate) fn delay_watch(&mut self, c: usize, kind: Kind, lag: SignedDuration, lasts: SignedDuration) {
        if let Some(watch) = self.watch(c, kind) {
            watch.lag = lag;
            self.for_controller(c, lasts, ForController::LagEnds(kind));
        }
    }

    /// Tells all watchers what was written.
    pub(crate) fn spread_news(&mut self) {
        let news = std::mem::take(&mut self.api.news);
        for shown in news {
            let kind = shown.value.kind();
            for c in 0..self.controllers.len() {
                let usual = self.dice.millis(2, 120);
                let now = self.now;
                let Some(watch) = self.watch(c, kind).filter(|watch| watch.live) else { continue };
                let last = watch.queue.back().map_or(now, |(at, _)| *at);
                let at = last.max(now + usual + watch.lag);
                watch.queue.push_back((at, shown.clone()));
                self.for_controller(c, at.duration_since(now), ForController::Watched(kind));
            }
            self.note_written(&shown);
        }
    }

    fn watched(&mut self, c: usize, kind: Kind) {
        let now = self.now;
        while let Some(watch) = self.watch(c, kind) {
            let Some((_, shown)) = watch.queue.pop_front_if(|(at, _)| *at <= now) else { break };
            let name = shown.value.name();
            if shown.deleted {
                watch.known.remove(&name);
                self.observe(c, shown.value.gone());
            } else {
                watch.known.insert(name, shown.value.clone());
                for change in shown.value.changes() {
                    self.observe(c, change);
                }
            }
        }
        self.want_pass(c);
    }

    fn observe(&mut self, c: usize, change: Change) {
        let Some(change) = self.bend(change) else { return };
        drop(self.tell_fleet(c, Input::Observed(Box::new(change))));
    }

    /// Tells fleet, and the log.
    fn tell_fleet(&mut self, c: usize, input: Input) -> Vec<Effect> {
        let now = self.now;
        let Some(lead) = &mut self.controllers[c].lead else { return Vec::new() };
        let Some(recorder) = &mut self.recorder else { return step(&mut lead.state, input) };
        self.events.extend(recorder.input(now, &input));
        let effects = step(&mut lead.state, input);
        self.events.extend(recorder.effects(now, &effects));
        effects
    }

    fn clock(&self, c: usize) -> Instant {
        self.now.checked_add(self.controllers[c].offset).unwrap_or(self.now)
    }

    /// The API server's clock beside its own (rule A3).
    pub(crate) fn compare_clocks(&mut self, c: usize) {
        if !self.controllers[c].leads() {
            return;
        }
        let off = self.controllers[c].offset.abs() > TOLERANCE;
        let known = self.controllers[c].state().is_some_and(|state| state.snapshot().clock_off);
        if std::mem::replace(&mut self.controllers[c].clock_off, off) != off {
            let controller = self.controllers[c].name.clone();
            self.log(What::ClockOff { controller, off });
        }
        if off != known {
            self.observe(c, Change::ClockOff(off));
            self.want_pass(c);
        }
        self.for_controller(c, COMPARE, ForController::Compare);
    }

    /// Plans the next pass, if there is to be one.
    fn want_pass(&mut self, c: usize) {
        let clock = self.clock(c);
        let gap = self.options.pass_every;
        let now = self.now;
        let Some(lead) = &mut self.controllers[c].lead else { return };
        if !lead.unsynced.is_empty() {
            return;
        }
        let wait = if lead.state.wants_pass(clock) {
            SignedDuration::ZERO
        } else {
            match lead.state.next() {
                Some(next) => next.duration_since(clock).max(SignedDuration::ZERO),
                None => return,
            }
        };
        let at = (now + wait).max(lead.last_pass + gap);
        if lead.next_pass.is_none_or(|planned| planned > at || planned < now) {
            lead.next_pass = Some(at);
            self.for_controller(c, at.duration_since(now), ForController::Pass);
        }
    }

    fn pass(&mut self, c: usize) {
        let now = self.now;
        let clock = self.clock(c);
        let Some(lead) = &mut self.controllers[c].lead else { return };
        if lead.next_pass != Some(now) || !lead.unsynced.is_empty() {
            return;
        }
        lead.next_pass = None;
        if lead.state.wants_pass(clock) {
            lead.last_pass = now;
            self.passes += 1;
            let effects = self.tell_fleet(c, Input::Pass(clock));
            self.push(c, effects);
        }
        self.want_pass(c);
    }

    /// Takes effects in, and sends what may be sent: one at a time for each object.
    fn push(&mut self, c: usize, effects: Vec<Effect>) {
        let effects = self.bend_effects(effects);
        for effect in effects {
            self.counts.note_effect(&effect);
            let epoch = self.controllers[c].lead.as_ref().map_or(0, |lead| lead.epoch);
            match &effect {
                Effect::RecordRollout { baseline, rollout } => self.log_released(epoch, baseline, rollout),
                Effect::DeleteRollout { baseline } => {
                    self.log_released(epoch, baseline, &muster_model::Rollout::default());
                }
                Effect::RecordEstimates { estimates, .. } if epoch == self.api.lease.epoch => {
                    self.log_estimates(*estimates);
                }
                _ => {}
            }
            let Some(lead) = &mut self.controllers[c].lead else { return };
            let Some(key) = effect.key() else { continue };
            let queue = lead.waiting.entry(key.clone()).or_default();
            if queue.back().is_some_and(|last| replaces(&effect, last)) {
                queue.pop_back();
            }
            queue.push_back(effect);
            self.send(c, &key);
        }
    }

    fn send(&mut self, c: usize, key: &Key) {
        let decided = self.clock(c);
        let Some(lead) = &mut self.controllers[c].lead else { return };
        if lead.busy.contains(key) {
            return;
        }
        let Some(effect) = lead.waiting.get_mut(key).and_then(VecDeque::pop_front) else {
            lead.waiting.remove(key);
            return;
        };
        lead.busy.insert(key.clone());
        let life = self.controllers[c].life;
        if self.is_recorded(&effect) {
            // As the product has it: what the API shows already is not written.
            let wait = SignedDuration::from_millis(1);
            let answer =
                ForController::Answered { key: key.clone(), written: Written::Done, shown: Vec::new() };
            return self.for_controller(c, wait, answer);
        }
        if self.strikes(Fault::CrashBeforeWrite, c) {
            return self.controller_dies(c);
        }
        self.send_write(c, life, effect, decided);
    }

    fn answered(&mut self, c: usize, key: &Key, written: Written, shown: Vec<Change>) {
        let (bent, shown) = self.bend_answer(key, written, shown);
        for change in shown {
            self.observe(c, change);
        }
        let clock = self.clock(c);
        let Some(lead) = &mut self.controllers[c].lead else { return };
        lead.busy.remove(key);
        let effects = self.tell_fleet(c, Input::Written { key: key.clone(), now: clock, outcome: bent });
        self.push(c, effects);
        self.send(c, key);
        self.want_pass(c);
    }
}

/// Whether the newer effect makes the older one pointless: both record the same thing.
fn replaces(newer: &Effect, older: &Effect) -> bool {
    matches!(
        (newer, older),
        (Effect::RecordMachine { .. }, Effect::RecordMachine { .. })
            | (Effect::RecordBaseline { .. }, Effect::RecordBaseline { .. })
            | (Effect::RecordWindow { .. }, Effect::RecordWindow { .. })
            | (Effect::RecordBudget { .. }, Effect::RecordBudget { .. })
            | (Effect::RecordRollout { .. }, Effect::RecordRollout { .. })
    )
}
