//! From what goes in and out of `fleet` to the event log (docs/events.md): a translation, and nothing else.
//!
//! The controller records what its fleet sees and decides; the storm records what is true in its world, with the same
//! code: a [`Recorder`] is told of each change, each pass and each effect, in the order in which they happen.
//!
//! A crate of its own, since two need it (the controller and `sim`), and neither `fleet` nor `checker` may know the other:
//! what decides must not know its judge (docs/decisions).

mod activity;
mod machines;
mod presence;
mod resources;
pub mod told;

use std::collections::{BTreeMap, BTreeSet};

use muster_checker::event::{self, Event, What};
use muster_fleet::{Change, Decision, Effect, Input, Key, Written};
use muster_model::{
    Activity, ActivityName, ActivitySpec, BaselineRef, Instant, MachineName, ObjectName, Policy, Rollout,
};
use smol_str::SmolStr;

use machines::Machines;
use presence::Hearing;

/// Turns what fleet sees and decides into events.
#[derive(Debug)]
pub struct Recorder {
    controller: SmolStr,
    machines: Machines,
    hearing: Hearing,
    activities: BTreeMap<ActivityName, Activity>,
    /// Created by an effect, and shown by no watch yet.
    asked: BTreeSet<ActivityName>,
    unreadable: BTreeSet<SmolStr>,
    approvals: BTreeMap<ObjectName, event::Approval>,
    /// What was said last of what each baseline's rollout released.
    released: BTreeMap<BaselineRef, Vec<event::ReleasedItem>>,
    /// As it is by now, with what was measured.
    policy: Policy,
    clock_off: bool,
    /// The picture is complete: what shows up from here on was created meanwhile.
    begun: bool,
    events: Vec<Event>,
}

impl Recorder {
    /// A recorder that knows nothing yet; `controller` names whose fleet it listens to.
    #[must_use]
    pub fn new(controller: &str) -> Self {
        Self {
            controller: SmolStr::new(controller),
            machines: Machines::default(),
            hearing: Hearing::default(),
            activities: BTreeMap::new(),
            asked: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            approvals: BTreeMap::new(),
            released: BTreeMap::new(),
            policy: Policy::default(),
            clock_off: false,
            begun: false,
            events: Vec::new(),
        }
    }

    /// The controller leads, with a world that it reads anew: so does the log.
    pub fn leads(&mut self, now: Instant, epoch: u64) -> Vec<Event> {
        *self = Self::new(&self.controller.clone());
        self.put(now, What::Anew {});
        self.put(now, What::Leading { controller: self.controller.clone(), epoch });
        self.take()
    }

    /// It leads no more.
    pub fn lost(&mut self, now: Instant, epoch: u64) -> Vec<Event> {
        self.put(now, What::LeaseLost { controller: self.controller.clone(), epoch });
        self.take()
    }

    /// What an input says, before fleet takes it.
    pub fn input(&mut self, now: Instant, input: &Input) -> Vec<Event> {
        match input {
            Input::Observed(change) => self.observe(now, change),
            Input::Written { key, now, outcome } => self.written(*now, key, *outcome),
            Input::Pass(now) => self.pass(*now),
        }
        self.take()
    }

    /// What a pass's effects say. Activities count from here on, as they do for fleet.
    pub fn effects(&mut self, now: Instant, effects: &[Effect]) -> Vec<Event> {
        for effect in effects {
            match effect {
                Effect::CreateActivity { spec, epoch } => self.created(now, spec, *epoch),
                Effect::RecordMachine { name, decision } => self.decided(now, name, decision),
                Effect::RecordEstimates { estimates, .. } => {
                    self.policy.estimates = *estimates;
                    self.put(now, What::Policy(resources::policy(&self.policy)));
                }
                Effect::RecordRollout { baseline, rollout } => self.released(now, baseline, rollout),
                Effect::DeleteRollout { baseline } => self.released(now, baseline, &Rollout::default()),
                Effect::AdoptActivity { .. }
                | Effect::EndActivity { .. }
                | Effect::AskCancel { .. }
                | Effect::DeleteActivity { .. }
                | Effect::RecordBaseline { .. }
                | Effect::RecordWindow { .. }
                | Effect::RecordBudget { .. }
                | Effect::DeleteApproval { .. }
                | Effect::Mark { .. }
                | Effect::Collect { .. }
                | Effect::Tell(_) => {}
            }
        }
        self.take()
    }

    /// What was decided about a machine; part of [`Self::effects`].
    pub fn decision(&mut self, now: Instant, machine: &MachineName, decision: &Decision) -> Vec<Event> {
        self.decided(now, machine, decision);
        self.take()
    }

    fn put(&mut self, time: Instant, event: What) {
        self.events.push(Event { time, event });
    }

    fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The world as of a pass: who is heard by now.
    fn pass(&mut self, now: Instant) {
        self.begun = true;
        for what in self.hearing.look(now, self.machines.names()) {
            self.put(now, what);
        }
    }

    fn created(&mut self, now: Instant, spec: &ActivitySpec, epoch: u64) {
        self.asked.insert(spec.name.clone());
        let packages = spec.steps.iter().flat_map(|step| activity::packages(&step.action));
        self.machines.changed(now, &spec.name.machine, packages, &mut self.events);
        let created = event::ActivityCreated {
            spec: activity::spec(spec),
            epoch,
            decided: None,
            by: Some(self.controller.clone()),
        };
        self.put(now, What::ActivityCreated(Box::new(created)));
    }

    fn written(&mut self, now: Instant, key: &Key, outcome: Written) {
        let Key::Activity(name) = key else { return };
        match outcome {
            Written::Done | Written::Unknown => {}
            Written::Refused => {
                if self.asked.remove(name) {
                    self.put(now, What::ActivityWithdrawn { name: name.clone() });
                }
            }
        }
    }

    fn decided(&mut self, now: Instant, machine: &MachineName, decision: &Decision) {
        self.put(now, What::Decided(told::decided(machine, decision)));
    }

    fn released(&mut self, now: Instant, baseline: &BaselineRef, rollout: &Rollout) {
        let items = resources::released(rollout);
        if self.released.insert(baseline.clone(), items.clone()).as_ref() != Some(&items) {
            let found = !self.begun;
            self.put(now, What::Released(event::Released { baseline: baseline.clone(), items, found }));
        }
    }

    fn observe(&mut self, now: Instant, change: &Change) {
        match change {
            Change::Machine(machine) => self.machines.seen(now, machine, &mut self.events),
            Change::MachineGone(name) => {
                if self.machines.forget(name) {
                    self.hearing.forget(name);
                    self.put(now, What::MachineGone { name: name.clone() });
                }
            }
            Change::AbsenceResolved(name, at) => self.machines.resolved(now, name, *at, &mut self.events),
            Change::Inventory(digest, inventory, _) => {
                self.machines.inventory(now, digest, inventory, &mut self.events);
            }
            Change::InventoryGone(digest) => self.machines.inventory_gone(digest),
            Change::PackageBaseline(baseline) => {
                let names = baseline.packages.iter().map(|one| one.name.clone());
                self.machines.named(now, names, &mut self.events);
                self.put(now, What::Baseline(Box::new(resources::package_baseline(baseline))));
            }
            Change::KernelBaseline(baseline) => {
                self.put(now, What::Baseline(Box::new(resources::kernel_baseline(baseline))));
            }
            Change::BaselineGone(baseline) => {
                self.put(now, What::BaselineGone { baseline: baseline.clone() });
            }
            Change::Window(window) => self.put(now, What::Window(Box::new(resources::window(window)))),
            Change::WindowGone(name) => self.put(now, What::WindowGone { name: name.clone() }),
            Change::Override(one) => {
                self.put(now, What::Override(resources::window_override(one, now)));
            }
            Change::OverrideGone(name) => self.put(now, What::OverrideGone { name: name.clone() }),
            Change::Budget(budget) => self.put(now, What::Budget(resources::budget(budget))),
            Change::BudgetGone(name) => self.put(now, What::BudgetGone { name: name.clone() }),
            Change::Policy(policy) => {
                self.policy = policy.as_ref().map(|(policy, _)| policy.clone()).unwrap_or_default();
                let what = match policy {
                    Some((policy, _)) => What::Policy(resources::policy(policy)),
                    None => What::PolicyGone {},
                };
                self.put(now, what);
            }
            Change::Unreadable(resource, Some(why)) => {
                self.unreadable.insert(resource.clone());
                self.put(now, What::Unreadable { resource: resource.clone(), why: why.clone() });
            }
            Change::Unreadable(resource, None) => {
                if self.unreadable.remove(resource) {
                    self.put(now, What::Readable { resource: resource.clone() });
                }
            }
            Change::Source(name, source) => self.put(
                now,
                match source {
                    Some(source) => What::Source(resources::source(name, source)),
                    None => What::SourceGone { name: name.clone() },
                },
            ),
            Change::Approval(approval) => {
                let approval = resources::approval(approval);
                // A relist shows it again: it was said once.
                let known = self.approvals.insert(approval.name.clone(), approval.clone());
                if known.as_ref() != Some(&approval) {
                    self.put(now, What::Approval(approval));
                }
            }
            Change::ApprovalGone(name) => {
                // A pause that is deleted is over; what came of other words stays.
                let paused = |one: &event::Approval| one.action == event::ApprovalAction::Pause;
                if let Some(pause) = self.approvals.remove(name).filter(paused) {
                    let action = event::ApprovalAction::Resume;
                    self.put(now, What::Approval(event::Approval { action, created: now, ..pause }));
                }
            }
            Change::Activity(activity) => self.activity(now, activity),
            Change::ActivityGone(name) => {
                self.asked.remove(name);
                if self.activities.remove(name).is_some() {
                    self.put(now, What::ActivityDeleted { name: name.clone() });
                }
            }
            Change::Gateway(name, lease) => self.hearing.gateway(name, *lease),
            Change::Presence(gateway, shard, heard) => self.hearing.shard(gateway, shard, heard.as_ref()),
            Change::ClockOff(off) => {
                if *off != self.clock_off {
                    self.clock_off = *off;
                    self.put(now, What::ClockOff { controller: self.controller.clone(), off: *off });
                }
            }
            // Once the picture is complete the record is our own word, said when it was decided.
            Change::Rollout(baseline, rollout) => {
                if !self.begun {
                    self.released(now, baseline, rollout);
                }
            }
            Change::Proposal(..)
            | Change::ProposalGone(_)
            | Change::RolloutGone(_)
            | Change::Epoch(_)
            | Change::Unrecorded(_) => {}
        }
    }

    fn activity(&mut self, now: Instant, new: &Activity) {
        let name = new.spec.name.clone();
        let asked = self.asked.remove(&name);
        let before = self.activities.get(&name);
        // A stale watch takes nothing back.
        if before.is_some_and(|before| before.uid == new.uid && before.phase > new.phase) {
            return;
        }
        let packages = new.spec.steps.iter().flat_map(|step| activity::packages(&step.action));
        self.machines.changed(now, &name.machine, packages, &mut self.events);
        match before {
            Some(before) if before.uid == new.uid => {
                let changes = activity::changes(before, new);
                self.activities.insert(name, new.clone());
                changes.into_iter().for_each(|what| self.put(now, what));
            }
            Some(_) | None if asked => {
                let before = activity::just_created(new);
                let changes = activity::changes(&before, new);
                self.activities.insert(name, new.clone());
                changes.into_iter().for_each(|what| self.put(now, what));
            }
            Some(_) | None => {
                self.activities.insert(name, new.clone());
                if self.begun {
                    let before = activity::just_created(new);
                    self.put(now, What::ActivityCreated(Box::new(activity::created(new))));
                    activity::changes(&before, new).into_iter().for_each(|what| self.put(now, what));
                } else {
                    self.put(now, What::ActivityFound(Box::new(activity::found(new))));
                }
            }
        }
    }
}
