//! What a controller's writes do to the API, and what becomes of them on their way.

use jiff::SignedDuration;
use muster_checker::event::{ActivityCreated, ActivityFinished, What};
use muster_fleet::{Change, Effect, Garbage, Key, Written};
use muster_model::{Activity, ActivityName, BaselineKind, Instant, OutcomeReason, Phase, Policy};
use muster_recorder::told;
use smol_str::ToSmolStr;

use crate::api::{Kind, Value, rollout_name};
use crate::fault::Fault;
use crate::storm::{ForController, Happening, Storm};

/// A request of which nobody knows is over by then: the product's number.
const LANDED: SignedDuration = SignedDuration::from_secs(90);

/// A write on its way.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) c: usize,
    pub(crate) life: u64,
    pub(crate) effect: Effect,
    /// When it was decided, by the controller's clock.
    pub(crate) decided: Instant,
    /// Nobody waits for its answer any more.
    pub(crate) stray: bool,
    /// Until then an attempt of which its writer never heard may still land.
    pub(crate) open_until: Option<Instant>,
}

impl Storm {
    pub(crate) fn send_write(&mut self, c: usize, life: u64, effect: Effect, decided: Instant) {
        let latency = self.dice.millis(3, 150);
        let write = Write { c, life, effect, decided, stray: false, open_until: None };
        self.plan_after(latency, Happening::WriteLands(Box::new(write)));
    }

    /// A write reaches the API.
    pub(crate) fn write_lands(&mut self, write: Write) {
        let c = write.c;
        // What a paused leader had sent is stuck with it, and lands when it goes on.
        if self.controllers[c].paused && self.controllers[c].life == write.life && !write.stray {
            if !matches!(write.effect.key(), Some(Key::Activity(_))) {
                return;
            }
            let wait = self.dice.seconds(20, 40);
            return self.plan_after(wait, Happening::WriteLands(Box::new(write)));
        }
        if write.stray {
            drop(self.apply(&write));
            return;
        }
        if self.strikes(Fault::WriteRefused, c) {
            return self.refuse(write);
        }
        if self.strikes(Fault::WriteLost, c) {
            return self.lose(write);
        }
        // Records have no precondition in the product either: a late one is not told apart yet (docs/storm.md).
        let about_activity = matches!(write.effect.key(), Some(Key::Activity(_)));
        if about_activity && self.strikes(Fault::WriteLate, c) {
            let wait = self.dice.seconds(1, 60);
            let stray = Write { stray: true, ..write.clone() };
            self.plan_after(wait, Happening::WriteLands(Box::new(stray)));
            return self.lose(write);
        }
        if self.strikes(Fault::WriteUnknown, c) {
            drop(self.apply(&write));
            return self.lose(write);
        }
        let (written, shown) = self.apply(&write);
        if self.strikes(Fault::CrashAfterWrite, c) && self.controllers[c].life == write.life {
            return self.controller_dies(c);
        }
        self.answer_write(write, written, shown);
    }

    /// The API refuses it. A creation that may have landed before is made again all the same, as the product does.
    fn refuse(&mut self, write: Write) {
        if write.open_until.is_some_and(|until| until > self.now) {
            return self.write_again(write);
        }
        self.answer_write(write, Written::Refused, Vec::new());
    }

    /// Its writer never hears how it ended. A creation it makes again until it is certain, as the product does.
    fn lose(&mut self, write: Write) {
        if let Effect::CreateActivity { .. } = write.effect {
            return self.write_again(Write { open_until: Some(self.now + LANDED), ..write });
        }
        self.answer_write(write, Written::Unknown, Vec::new());
    }

    fn write_again(&mut self, write: Write) {
        if self.controllers[write.c].life != write.life {
            return;
        }
        let wait = self.dice.millis(500, 5000);
        self.plan_after(wait, Happening::WriteLands(Box::new(write)));
    }

    fn answer_write(&mut self, write: Write, written: Written, shown: Vec<Change>) {
        let Some(key) = write.effect.key() else { return };
        if self.controllers[write.c].life == write.life {
            let latency = self.dice.millis(3, 150);
            self.for_controller(write.c, latency, ForController::Answered { key, written, shown });
        }
    }

    /// Whether the API shows it already, or nobody here reads it.
    pub(crate) fn is_recorded(&self, effect: &Effect) -> bool {
        match effect {
            Effect::RecordMachine { name, decision } => self.api.machine(name).is_none_or(|object| {
                object.wanted.as_ref() == Some(&**decision.plan.wanted)
                    && object.machine.holds == decision.holds
                    && object.machine.first_converged == decision.first_converged
                    && object.machine.last_number >= decision.highest_number
                    && self.is_logged(name, decision)
            }),
            Effect::RecordRollout { baseline, rollout } => {
                let stored = self.api.get(Kind::Rollout, &rollout_name(baseline)).map(|stored| &stored.value);
                matches!(stored.map(AsRef::as_ref), Some(Value::Rollout(_, known)) if known == rollout)
            }
            Effect::RecordBaseline { .. } | Effect::RecordWindow { .. } | Effect::RecordBudget { .. } => true,
            Effect::RecordEstimates { medians, estimates } => {
                let policy = self.api.policy();
                policy.medians == *medians && policy.estimates == *estimates
            }
            Effect::CreateActivity { .. }
            | Effect::AdoptActivity { .. }
            | Effect::EndActivity { .. }
            | Effect::AskCancel { .. }
            | Effect::DeleteActivity { .. }
            | Effect::DeleteRollout { .. }
            | Effect::DeleteApproval { .. }
            | Effect::Mark { .. }
            | Effect::Collect { .. }
            | Effect::Tell(_) => false,
        }
    }

    /// Carries a write out.
    fn apply(&mut self, write: &Write) -> (Written, Vec<Change>) {
        let now = self.now;
        match &write.effect {
            Effect::CreateActivity { spec, epoch } => {
                if let Some((_, there)) = self.api.activity(&spec.name) {
                    return (Written::Refused, vec![Change::Activity(Box::new(there.clone()))]);
                }
                let activity = Activity {
                    spec: muster_model::ActivitySpec::clone(spec),
                    uid: self.api.uid(),
                    created: now,
                    cancel: false,
                    epoch: *epoch,
                    phase: Phase::Pending,
                    delivered: None,
                    finished: None,
                    outcome: None,
                    message: String::new(),
                    steps: Vec::new(),
                };
                let created = ActivityCreated {
                    spec: told::spec(spec),
                    epoch: *epoch,
                    decided: Some(write.decided),
                    by: Some(self.controllers[write.c].name.clone()),
                };
                self.log(What::ActivityCreated(Box::new(created)));
                self.counts.note_created(&activity);
                self.count_items(&activity);
                self.api.put(Value::Activity(activity.clone()));
                self.think_again(&activity.spec.name);
                self.dread_reboot(&activity);
                (Written::Done, vec![Change::Activity(Box::new(activity))])
            }
            Effect::AdoptActivity { name, epoch } => self.adopt(name, *epoch),
            Effect::EndActivity { name, seen, phase, outcome, message } => {
                self.end(name, *seen, *phase, *outcome, message)
            }
            Effect::AskCancel { name, outcome: _ } => {
                let asked = self.api.activity(name).is_some_and(|(_, activity)| !activity.cancel);
                if asked {
                    self.log(What::CancelRequested { name: name.clone() });
                    self.api.edit_activity(name, |activity| activity.cancel = true);
                }
                self.shown(name)
            }
            Effect::DeleteActivity { name } => {
                if self.api.delete(Kind::Activity, &name.to_smolstr()) {
                    self.log(What::ActivityDeleted { name: name.clone() });
                }
                (Written::Done, Vec::new())
            }
            Effect::RecordMachine { name, decision } => {
                self.log_decision(name, decision);
                let holds = self.api.machine(name).map(|object| object.machine.holds.clone());
                self.api.edit_machine(name, |object| {
                    object.wanted = Some(muster_model::WantedSet::clone(&decision.plan.wanted));
                    object.machine.last_number = object.machine.last_number.max(decision.highest_number);
                    object.machine.holds.clone_from(&decision.holds);
                    object.machine.first_converged = decision.first_converged;
                });
                if holds.is_some_and(|holds| holds != decision.holds)
                    && let Some(object) = self.api.machine(name)
                {
                    self.log_value(&Value::Machine(object.clone()));
                }
                (Written::Done, Vec::new())
            }
            Effect::RecordRollout { baseline, rollout } => {
                let there = match baseline.kind {
                    BaselineKind::PackageBaseline => {
                        self.api.get(Kind::PackageBaseline, baseline.name.as_str())
                    }
                    BaselineKind::KernelBaseline => {
                        self.api.get(Kind::KernelBaseline, baseline.name.as_str())
                    }
                };
                if there.is_some() {
                    self.api.put(Value::Rollout(baseline.clone(), rollout.clone()));
                }
                (Written::Done, Vec::new())
            }
            Effect::DeleteRollout { baseline } => {
                self.api.delete(Kind::Rollout, &rollout_name(baseline));
                (Written::Done, Vec::new())
            }
            Effect::DeleteApproval { approval } => {
                self.delete_approval(approval);
                (Written::Done, Vec::new())
            }
            Effect::Mark { garbage, since } => self.mark(garbage, *since),
            Effect::Collect { garbage } => self.collect(garbage),
            Effect::RecordEstimates { medians, estimates } => {
                let known = self.api.get(Kind::Policy, "default").map(|stored| stored.value.clone());
                if let Some(Value::Policy(policy, revision)) = known.as_deref() {
                    let policy = Policy { medians: *medians, estimates: *estimates, ..policy.clone() };
                    self.api.put(Value::Policy(policy, revision.clone()));
                }
                (Written::Done, Vec::new())
            }
            // Statuses that nobody reads here.
            Effect::RecordBaseline { .. } | Effect::RecordWindow { .. } | Effect::RecordBudget { .. } => {
                (Written::Done, Vec::new())
            }
            Effect::Tell(_) => (Written::Done, Vec::new()),
        }
    }

    /// An activity as it is, or that it is gone.
    fn shown(&self, name: &ActivityName) -> (Written, Vec<Change>) {
        let shown = match self.api.activity(name) {
            Some((_, activity)) => Change::Activity(Box::new(activity.clone())),
            None => Change::ActivityGone(name.clone()),
        };
        (Written::Done, vec![shown])
    }

    fn adopt(&mut self, name: &ActivityName, epoch: u64) -> (Written, Vec<Change>) {
        if self.api.activity(name).is_some_and(|(_, activity)| activity.phase == Phase::Pending) {
            self.log(What::ActivityAdopted { name: name.clone(), epoch });
            self.api.edit_activity(name, |activity| activity.epoch = epoch);
        }
        self.shown(name)
    }

    fn end(
        &mut self,
        name: &ActivityName,
        seen: Phase,
        phase: Phase,
        outcome: OutcomeReason,
        message: &str,
    ) -> (Written, Vec<Change>) {
        let now = self.now;
        if self.api.activity(name).is_some_and(|(_, activity)| activity.phase == seen) {
            let finished = ActivityFinished {
                name: name.clone(),
                phase,
                outcome: Some(outcome),
                at: None,
                message: message.to_owned(),
            };
            self.log(What::ActivityFinished(Box::new(finished)));
            self.api.edit_activity(name, |activity| {
                activity.phase = phase;
                activity.outcome = Some(outcome);
                message.clone_into(&mut activity.message);
                activity.finished = Some(now);
            });
        }
        self.shown(name)
    }

    /// Deletes a word that still is what was seen.
    fn delete_approval(&mut self, seen: &muster_model::RolloutApproval) {
        let there = self.api.get(Kind::Approval, seen.name.as_str()).map(|stored| stored.value.clone());
        if matches!(there.as_deref(), Some(Value::Approval(there)) if **there == *seen) {
            self.log_gone(Kind::Approval, seen.name.as_str());
            self.api.delete(Kind::Approval, seen.name.as_str());
        }
    }

    fn mark(&mut self, garbage: &Garbage, since: Instant) -> (Written, Vec<Change>) {
        let (kind, name) = place(garbage);
        let marked = match self.api.get(kind, &name).map(|stored| stored.value.as_ref()) {
            Some(Value::Inventory(digest, inventory, _)) => {
                Value::Inventory(digest.clone(), inventory.clone(), Some(since))
            }
            Some(Value::Proposal(key, proposal, _)) => {
                Value::Proposal(key.clone(), proposal.clone(), Some(since))
            }
            _ => return (Written::Refused, Vec::new()),
        };
        self.api.put(marked);
        (Written::Done, Vec::new())
    }

    /// Deletes what is still marked: whoever unmarked it meanwhile keeps it.
    fn collect(&mut self, garbage: &Garbage) -> (Written, Vec<Change>) {
        let (kind, name) = place(garbage);
        match self.api.get(kind, &name).map(|stored| stored.value.as_ref()) {
            Some(Value::Inventory(_, _, None) | Value::Proposal(_, _, None)) => {
                (Written::Refused, Vec::new())
            }
            Some(_) | None => {
                self.api.delete(kind, &name);
                (Written::Done, Vec::new())
            }
        }
    }
}

fn place(garbage: &Garbage) -> (Kind, smol_str::SmolStr) {
    match garbage {
        Garbage::Inventory(digest) => (Kind::Inventory, digest.to_smolstr()),
        Garbage::Proposal(key) => (Kind::Proposal, key.digest().to_smolstr()),
    }
}
