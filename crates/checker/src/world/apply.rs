//! Takes an event in.

use muster_model::{ActivityName, BaselineRef, Instant, Phase};

use super::{ActivityState, Presence, World};
use crate::event::{
    ActivityCreated, ActivityFinished, ActivityFound, ApprovalAction, Event, Machine, Report, StepEvent, What,
};
use crate::health::failed_units;

/// How many deleted activities are remembered for each machine.
const DELETED_KEPT: usize = 32;

impl World {
    /// Takes an event in; judges nothing.
    pub(crate) fn apply(&mut self, event: &Event) {
        let now = event.time;
        match &event.event {
            What::Anew {} => self.anew(),
            What::Baseline(_)
            | What::BaselineGone { .. }
            | What::Released(_)
            | What::Window(_)
            | What::WindowGone { .. }
            | What::Budget(_)
            | What::BudgetGone { .. }
            | What::Policy(_)
            | What::PolicyGone {}
            | What::Unreadable { .. }
            | What::Readable { .. }
            | What::Source(_)
            | What::SourceGone { .. }
            | What::Approval(_)
            | What::ApprovalGone { .. }
            | What::Override(_)
            | What::OverrideGone { .. } => self.resource(now, &event.event),
            What::Machine(_)
            | What::MachineGone { .. }
            | What::Report(_)
            | What::Heard { .. }
            | What::Silent { .. }
            | What::Decided(_) => self.machine(now, &event.event),
            What::GatewaysUp {} => self.gateways_up = self.gateways_up.or(Some(now)),
            What::GatewaysDown {} => self.gateways_up = None,
            What::Leading { epoch, .. } => {
                if *epoch > self.epoch {
                    self.epoch = *epoch;
                    self.epoch_since = Some(now);
                }
            }
            What::ClockOff { controller, off: true } => {
                self.clocks_off.entry(controller.clone()).or_insert(now);
            }
            What::ClockOff { controller, off: false } => drop(self.clocks_off.remove(controller)),
            What::ActivityFound(found) => self.found(found),
            What::ActivityCreated(created) => self.created(now, created),
            What::ActivityWithdrawn { name } => self.withdrawn(name),
            What::ActivityAdopted { .. }
            | What::ActivityDelivered { .. }
            | What::StepStarted(_)
            | What::StepCompleted(_)
            | What::ActivityVerifying { .. }
            | What::CancelRequested { .. }
            | What::ActivityFinished(_)
            | What::ActivityDeleted { .. }
            | What::Acted(_)
            | What::Booted(_) => self.activity(now, &event.event),
            What::Calm {} => self.calm = Some(now),
            What::LeaseLost { .. } | What::LateResult { .. } | What::Fault { .. } | What::Remark { .. } => {}
        }
    }

    /// Only numbers survive, and what activities did: those that are still there are found again.
    fn anew(&mut self) {
        let lag = self.lag;
        let highest = std::mem::take(&mut self.highest);
        let (epoch, epoch_since) = (self.epoch, self.epoch_since);
        *self = Self { lag, highest, epoch, epoch_since, ..Self::default() };
    }

    fn resource(&mut self, now: Instant, what: &What) {
        let lag = self.lag;
        match what {
            What::Baseline(baseline) => {
                let kept = self.baselines.entry(baseline.reference()).or_default();
                kept.set(now, Some(baseline.as_ref().clone()), lag);
            }
            What::BaselineGone { baseline } => {
                self.baselines.entry(BaselineRef::clone(baseline)).or_default().set(now, None, lag);
            }
            What::Released(released) => {
                let kept = self.released.entry(released.baseline.clone()).or_default();
                kept.set(now, Some(released.clone()), lag);
            }
            What::Window(window) => {
                self.windows.entry(window.name.clone()).or_default().set(
                    now,
                    Some(window.as_ref().clone()),
                    lag,
                );
            }
            What::WindowGone { name } => self.windows.entry(name.clone()).or_default().set(now, None, lag),
            What::Budget(budget) => {
                self.budgets.entry(budget.name.clone()).or_default().set(now, Some(budget.clone()), lag);
            }
            What::BudgetGone { name } => self.budgets.entry(name.clone()).or_default().set(now, None, lag),
            What::Policy(policy) => self.policy.set(now, Some(policy.clone()), lag),
            What::PolicyGone {} => self.policy.set(now, None, lag),
            What::Unreadable { resource, .. } => {
                self.unreadable.entry(resource.clone()).or_insert(now);
            }
            What::Readable { resource } => drop(self.unreadable.remove(resource)),
            What::Source(source) => {
                let since = match self.sources.get(&source.name) {
                    Some((before, since)) if before.applying == source.applying => *since,
                    _ => now,
                };
                self.sources.insert(source.name.clone(), (source.clone(), since));
            }
            What::SourceGone { name } => drop(self.sources.remove(name)),
            What::Approval(approval) => {
                self.approvals.insert(approval.name.clone(), (approval.clone(), now));
            }
            // What it approved or resumed stays so.
            What::ApprovalGone { name } => {
                self.approvals
                    .retain(|known, (approval, _)| known != name || approval.action != ApprovalAction::Pause);
            }
            What::Override(one) => drop(self.overrides.insert(one.name.clone(), one.clone())),
            // Somebody may still plan with it for a while: it ends now, as one that ran out.
            What::OverrideGone { name } => {
                if let Some(gone) = self.overrides.get_mut(name) {
                    gone.until = gone.until.min(now);
                }
            }
            _ => {}
        }
    }

    fn machine(&mut self, now: Instant, what: &What) {
        let lag = self.lag;
        match what {
            What::Machine(machine) => self.machine_seen(now, machine),
            What::MachineGone { name } => drop(self.machines.remove(name)),
            What::Report(report) => self.report(now, report),
            What::Heard { machine } => {
                let state = self.machines.entry(machine.clone()).or_default();
                state.presence.set(now, Some(Presence::Heard), lag);
                state.joined = state.joined.or(Some(now));
            }
            What::Silent { machine, last_heard } => {
                let state = self.machines.entry(machine.clone()).or_default();
                state.presence.set(now, Some(Presence::Silent { last_heard: *last_heard }), lag);
                state.joined = state.joined.or(Some(now));
            }
            What::Decided(decided) => {
                if let Some(state) = self.machines.get_mut(&decided.machine) {
                    state.verdict = decided.verdict.clone();
                }
            }
            _ => {}
        }
    }

    fn machine_seen(&mut self, now: Instant, machine: &Machine) {
        let lag = self.lag;
        let known = self.machines.get(&machine.name).and_then(|state| state.spec.now());
        if known.is_some_and(|known| known.uid != machine.uid) {
            self.machines.remove(&machine.name);
        }
        let state = self.machines.entry(machine.name.clone()).or_default();
        state.spec.set(now, Some(machine.clone()), lag);
    }

    fn report(&mut self, now: Instant, report: &Report) {
        let lag = self.lag;
        let state = self.machines.entry(report.machine.clone()).or_default();
        let before = state.report.now();
        // What the first report shows has been so for longer than anybody asks.
        let since = if before.is_none() { Instant::MIN } else { now };
        for package in &report.packages {
            let same = before.is_some_and(|before| {
                before.packages.iter().any(|known| {
                    known.key() == package.key()
                        && known.installed == package.installed
                        && known.broken == package.broken
                })
            });
            if !same || !state.versions_since.contains_key(&package.key()) {
                state.versions_since.insert(package.key(), since);
            }
        }
        if before.is_none_or(|before| before.failed_units != report.failed_units) {
            state.units_since = Some(now);
        }
        let highest = self.highest.entry(report.machine.clone()).or_insert(0);
        *highest = (*highest).max(report.last_activity);
        state.report.set(now, Some(report.clone()), lag);
        state.reported = Some(now);
    }

    fn found(&mut self, found: &ActivityFound) {
        let steps = found.spec.steps.len();
        let at = |count: usize| (0..steps).map(|step| (step < count).then_some(found.created)).collect();
        self.note_number(&found.spec.name);
        self.activities.insert(
            found.spec.name.clone(),
            ActivityState {
                spec: found.spec.clone(),
                uid: Some(found.uid.clone()),
                found: true,
                epoch: found.epoch,
                late: false,
                created: found.created,
                decided: found.created,
                phase: found.phase,
                cancel: found.cancel,
                delivered: found.delivered,
                finished: found.finished,
                outcome: found.outcome,
                started: at(found.started),
                completed: at(found.completed),
                acted: vec![(0, 0); steps],
                boots: 0,
                deleted: None,
                failed_units: None,
            },
        );
    }

    fn created(&mut self, now: Instant, created: &ActivityCreated) {
        let steps = created.spec.steps.len();
        self.note_number(&created.spec.name);
        let decided = created.decided.unwrap_or(now);
        let machine = self.machines.get(&created.spec.name.machine);
        let failed_units = machine.map(|machine| failed_units(machine, decided, self.lag));
        self.activities.insert(
            created.spec.name.clone(),
            ActivityState {
                spec: created.spec.clone(),
                uid: None,
                found: false,
                epoch: created.epoch,
                late: created.epoch < self.epoch,
                created: now,
                decided,
                phase: Phase::Pending,
                cancel: false,
                delivered: None,
                finished: None,
                outcome: None,
                started: vec![None; steps],
                completed: vec![None; steps],
                acted: vec![(0, 0); steps],
                boots: 0,
                deleted: None,
                failed_units,
            },
        );
    }

    fn note_number(&mut self, name: &ActivityName) {
        let highest = self.highest.entry(name.machine.clone()).or_insert(0);
        *highest = (*highest).max(name.number);
    }

    /// It never was: its number is free again.
    fn withdrawn(&mut self, name: &ActivityName) {
        self.activities.remove(name);
        let last = self.history(&name.machine).next_back().map_or(0, |activity| activity.spec.name.number);
        let reported = self.machines.get(&name.machine).and_then(|machine| machine.report.now());
        let last = last.max(reported.map_or(0, |report| report.last_activity));
        self.highest.insert(name.machine.clone(), last.max(name.number.saturating_sub(1)));
    }

    fn activity(&mut self, now: Instant, what: &What) {
        let name = match what {
            What::ActivityAdopted { name, .. }
            | What::ActivityDelivered { name, .. }
            | What::ActivityVerifying { name }
            | What::CancelRequested { name }
            | What::ActivityDeleted { name } => name,
            What::StepStarted(StepEvent { name, .. }) | What::StepCompleted(StepEvent { name, .. }) => name,
            What::ActivityFinished(finished) => &finished.name,
            What::Acted(acted) => &acted.activity,
            What::Booted(booted) => match &booted.activity {
                Some(name) => name,
                None => return,
            },
            _ => return,
        };
        let Some(activity) = self.activities.get_mut(name) else { return };
        match what {
            What::ActivityAdopted { epoch, .. } => {
                activity.epoch = *epoch;
                activity.late = false;
            }
            What::ActivityDelivered { at, .. } => {
                activity.delivered = Some(at.unwrap_or(now));
                activity.phase = activity.phase.max(Phase::Delivered);
            }
            What::StepStarted(step) => {
                activity.phase = activity.phase.max(Phase::Running);
                if let Some(started) = activity.started.get_mut(step.step) {
                    *started = started.or(Some(step.at.unwrap_or(now)));
                }
            }
            What::StepCompleted(step) => {
                if let Some(completed) = activity.completed.get_mut(step.step) {
                    *completed = completed.or(Some(step.at.unwrap_or(now)));
                }
            }
            What::ActivityVerifying { .. } => activity.phase = activity.phase.max(Phase::Verifying),
            What::CancelRequested { .. } => activity.cancel = true,
            What::ActivityFinished(finished) => end(activity, now, finished),
            What::ActivityDeleted { .. } => {
                activity.deleted = Some(now);
                let machine = name.machine.clone();
                self.forget_deleted(&machine);
            }
            What::Acted(acted) => {
                activity.uid = Some(acted.uid.clone());
                if let Some((began, done)) = activity.acted.get_mut(acted.step) {
                    *began += u32::from(!acted.done);
                    *done += u32::from(acted.done);
                }
            }
            What::Booted(_) => activity.boots += 1,
            _ => {}
        }
    }
}

impl World {
    /// Of deleted ones the newest are kept: what is counted, such as attempts, does not reach farther back.
    fn forget_deleted(&mut self, machine: &muster_model::MachineName) {
        let deleted: Vec<ActivityName> = self
            .history(machine)
            .rev()
            .filter(|activity| activity.deleted.is_some())
            .skip(DELETED_KEPT)
            .map(|activity| activity.spec.name.clone())
            .collect();
        for name in deleted {
            self.activities.remove(&name);
        }
    }
}

fn end(activity: &mut ActivityState, now: Instant, finished: &ActivityFinished) {
    if activity.phase.is_finished() {
        return;
    }
    activity.phase = finished.phase;
    activity.outcome = finished.outcome;
    activity.finished = Some(finished.at.unwrap_or(now));
}
