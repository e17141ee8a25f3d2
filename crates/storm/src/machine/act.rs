//! What a machine does: the journal says what, this does it, and things go wrong.

use jiff::SignedDuration;
use muster_checker::event::{Acted, Booted, What};
use muster_journal::{Input, Next, Observation};
use muster_model::{ActivityName, OutcomeReason, StepAction, Uid, UnitName};

use super::{Busy, Host, Mishap};
use crate::archive::{self, Bad, Suite};
use crate::fault::Fault;
use crate::storm::{ForHost, Storm};

/// More inputs in a row than that, and the journal and the machine play ping-pong.
const INPUTS_IN_A_ROW: usize = 64;

impl Storm {
    /// The agent goes on with whatever there is to do.
    pub(crate) fn turn(&mut self, m: usize) {
        if !self.hosts[m].agent {
            return;
        }
        self.report_if_due(m);
        self.propose_if_due(m);
        for _ in 0..INPUTS_IN_A_ROW {
            if !self.go_on(m) {
                return;
            }
        }
        panic!("{} and its journal never come to rest: {:?}", self.hosts[m].name, self.hosts[m].journal);
    }

    /// Does one thing; whether there may be another at once.
    fn go_on(&mut self, m: usize) -> bool {
        let now = self.now;
        let host = &mut self.hosts[m];
        if !host.agent {
            return false;
        }
        let moment = host.moment(now);
        match host.journal.next(&moment) {
            Next::Idle => false,
            Next::Prepare { step, action } => {
                let uid = host.journal.current().cloned().expect("it prepares a step of an activity");
                if host.preparing != Some((uid.clone(), step)) {
                    host.preparing = Some((uid.clone(), step));
                    let takes = match self.pace {
                        Some(_) => self.dice.seconds(1, 5),
                        None => self.dice.seconds(2, 30),
                    };
                    self.for_host(m, takes, ForHost::Prepared { uid, step, action });
                }
                false
            }
            Next::Report(progress) => {
                self.send_progress(m, progress);
                false
            }
            Next::AskMayStart { name, uid, step } => {
                self.ask_may_start(m, name, uid, step);
                false
            }
            Next::Act { uid, step, action, attempt: _ } => self.act(m, uid, step, &action),
            Next::Observe { uid, step, action, attempt: _, intent } => {
                let observation = host.observe(&uid, step, &action);
                host.tell(Input::Observed { step, observation }, now);
                let again = matches!(
                    host.journal.next(&moment),
                    Next::Observe { uid: ref of, step: at, .. } if *of == uid && at == step
                );
                if again {
                    // Not before what runs has ended, or has taken too long.
                    let timeout = host.timeout_of(step);
                    let spent =
                        SignedDuration::from_micros(i64::try_from(intent.micros_until(&moment)).unwrap_or(0));
                    let overdue = (timeout - spent).max(SignedDuration::ZERO) + SignedDuration::from_secs(1);
                    let ends = host.busy.as_ref().map(|busy| busy.ends.duration_since(now));
                    let wait =
                        ends.filter(|ends| ends.is_positive()).map_or(overdue, |ends| ends.min(overdue));
                    self.for_host(m, wait, ForHost::Turn);
                }
                !again
            }
            Next::WatchHealth { units } => {
                let failed: Vec<UnitName> =
                    units.into_iter().filter(|unit| host.failed_units.contains(unit)).collect();
                host.tell(Input::Health { starting: Vec::new(), failed }, now);
                let again = matches!(host.journal.next(&moment), Next::WatchHealth { .. });
                if again {
                    let settle = SignedDuration::from_secs(i64::from(host.settle_seconds.max(1)));
                    self.for_host(m, settle, ForHost::Turn);
                }
                !again
            }
        }
    }

    /// A step's preparation is over: nothing was changed.
    pub(crate) fn prepared(&mut self, m: usize, uid: &Uid, step: usize, action: &StepAction) {
        let suite = &self.suites[self.hosts[m].suite];
        let host = &mut self.hosts[m];
        host.preparing = None;
        if host.journal.current() != Some(uid) {
            return self.turn(m);
        }
        let packages = action.cover() == muster_model::Cover::Packages;
        let refused = |reason, message: &str| Err((reason, message.to_owned()));
        let result = if packages && (host.locked || host.busy.is_some()) {
            refused(OutcomeReason::Locked, "another program holds dpkg's lock")
        } else if packages && host.disk_full {
            refused(OutcomeReason::Preflight, "no space left on device")
        } else if host.mirror_down && matches!(action, StepAction::InstallPackages(_)) {
            refused(OutcomeReason::FetchError, "the mirror does not answer")
        } else if let Some(recorded) = &host.recorded {
            recorded.would_do(action)
        } else {
            suite.would_do(&host.dpkg, action).and_then(|()| host.may_load(action))
        };
        host.tell(Input::Prepared { step, result }, self.now);
        self.turn(m);
    }

    /// Issues a step's action; whether the agent lives on.
    fn act(&mut self, m: usize, uid: Uid, step: usize, action: &StepAction) -> bool {
        let now = self.now;
        if self.strikes(Fault::AgentDies, m) && self.dice.permille(500) {
            self.agent_dies(m);
            return false;
        }
        let host = &mut self.hosts[m];
        let name = host.journal.last().cloned().expect("it acts for an activity");
        if let StepAction::Reboot { .. } = action {
            return self.reboot(m, name, step, action);
        }
        let mishap = host.next_act.take();
        let takes = match (action, mishap) {
            (_, Some(Mishap::Hangs)) => self.dice.minutes(70, 200),
            (
                StepAction::HoldPackages { .. }
                | StepAction::SelectKernel(_)
                | StepAction::SetDefaultKernel(_),
                _,
            ) => self.dice.seconds(1, 3),
            (_, _) => self.work_takes(&name, action, (40, 480)),
        };
        self.acts += 1;
        let number = self.acts;
        let fails = mishap == Some(Mishap::Fails);
        let ends = now + takes;
        let busy = Busy {
            activity: name.clone(),
            uid: uid.clone(),
            step,
            action: action.clone(),
            ends,
            fails,
            number,
        };
        let host = &mut self.hosts[m];
        host.busy = Some(busy);
        let machine = host.label.clone();
        self.log(What::Acted(Acted { machine, activity: name, uid, step, done: false }));
        self.plan_after(takes, crate::storm::Happening::OperationEnds { m, number });
        if self.strikes(Fault::AgentDies, m) {
            self.agent_dies(m);
            return false;
        }
        self.hosts[m].tell(Input::Issued { step }, now);
        true
    }

    fn reboot(&mut self, m: usize, name: ActivityName, step: usize, action: &StepAction) -> bool {
        let now = self.now;
        let host = &mut self.hosts[m];
        let mishap = host.next_act.take();
        let uid = host.journal.current().cloned().expect("it acts for an activity");
        let machine = host.label.clone();
        self.log(What::Acted(Acted { machine, activity: name.clone(), uid, step, done: false }));
        let told = self.dice.permille(500);
        let host = &mut self.hosts[m];
        if told || mishap == Some(Mishap::RebootIgnored) {
            host.tell(Input::Issued { step }, now);
        }
        if mishap == Some(Mishap::RebootIgnored) {
            return true;
        }
        let boots_for = name.clone();
        host.boot_for = Some((name, action.clone()));
        host.falls_back |= mishap == Some(Mishap::FallsBack);
        let away = if mishap == Some(Mishap::RebootSlow) {
            self.dice.minutes(40, 240)
        } else {
            self.work_takes(&boots_for, action, (30, 400))
        };
        self.power_off(m, away);
        false
    }

    /// How long a step takes: on a recorded machine its share of what its kind of step takes there, as the forecast has it.
    pub(super) fn work_takes(
        &mut self,
        name: &ActivityName,
        action: &StepAction,
        (least, most): (i64, i64),
    ) -> SignedDuration {
        let Some(pace) = self.pace else { return self.dice.seconds(least, most) };
        let alike = |step: &&muster_model::Step| {
            step.action.cover() == action.cover() && !matches!(step.action, StepAction::HoldPackages { .. })
        };
        let steps = self.api.activity(name).map_or(1, |(_, one)| one.spec.steps.iter().filter(alike).count());
        pace.draw(action.cover(), &mut self.dice) / i32::try_from(steps.max(1)).unwrap_or(1)
    }

    /// What ran on a machine ended by itself.
    pub(crate) fn operation_ends(&mut self, m: usize, number: u64) {
        let now = self.now;
        let Some(busy) = self.hosts[m].busy.take_if(|busy| busy.number == number) else { return };
        let suite = &self.suites[self.hosts[m].suite];
        let host = &mut self.hosts[m];
        let Busy { activity, uid, step, action, ends: _, fails, number: _ } = busy;
        let silent = if fails {
            host.half_done(&action);
            false
        } else if let Some(recorded) = &mut host.recorded {
            self.lore.carry_out(recorded, &action, now);
            if let StepAction::SelectKernel(choice) = &action {
                host.select_kernel(choice);
            }
            false
        } else {
            host.carry_out(suite, &action, now)
        };
        host.changed();
        let observation = host.judge(&action);
        let done = observation == Observation::Done;
        host.ran = Some((uid.clone(), step, observation));
        let machine = host.label.clone();
        if done {
            self.log(What::Acted(Acted { machine, activity, uid, step, done }));
        }
        if silent {
            let starts = self.dice.seconds(5, 90);
            let lasts = self.dice.minutes(120, 480);
            self.for_host_of_any_life(m, starts, ForHost::Unreachable { lasts });
        }
        self.turn(m);
    }

    /// The agent's process dies, and its service manager starts it again.
    pub(crate) fn agent_dies(&mut self, m: usize) {
        self.disconnect(m);
        self.hosts[m].agent_dies();
        let wait = self.dice.seconds(1, 30);
        self.for_host(m, wait, ForHost::AgentStarts);
    }

    pub(crate) fn agent_starts(&mut self, m: usize) {
        let now = self.now;
        if !self.hosts[m].on || self.hosts[m].agent {
            return;
        }
        self.hosts[m].agent_starts(now);
        if let Some(expires) = self.hosts[m].expires.filter(|expires| *expires > now) {
            self.for_host(m, expires.duration_since(now), ForHost::Waited);
        }
        let wait = self.dice.seconds(0, 3);
        self.for_host(m, wait, ForHost::Connect);
        self.turn(m);
    }

    /// The machine goes off, whatever runs on it, and comes back.
    pub(crate) fn power_off(&mut self, m: usize, away: SignedDuration) {
        if !self.hosts[m].on {
            return;
        }
        self.disconnect(m);
        let half = self.dice.permille(500);
        let host = &mut self.hosts[m];
        host.agent_dies();
        host.on = false;
        if let Some(busy) = host.busy.take()
            && half
        {
            host.half_done(&busy.action);
        }
        host.changed();
        self.for_host(m, away, ForHost::Boots);
    }

    pub(crate) fn boots(&mut self, m: usize) {
        let now = self.now;
        if self.hosts[m].on {
            return;
        }
        let suite = &self.suites[self.hosts[m].suite];
        let host = &mut self.hosts[m];
        host.on = true;
        host.boots += 1;
        host.booted = now;
        let asked = host.boot_for.take();
        let newest = host.newest_release().map(|release| (release, host.line.clone()));
        let comes = host.loader.next().or(newest.as_ref()).map(|(release, _)| release);
        let bad = comes.and_then(|release| host.version_of_kernel(release)).is_some_and(|version| {
            suite.bad(&archive::package(archive::KERNEL), &version) == Some(Bad::Boot)
        });
        let falls_back = std::mem::take(&mut host.falls_back) || bad;
        let chosen = host.loader.boot(falls_back).or_else(|| newest.filter(|_| !falls_back));
        if let Some((release, line)) = chosen {
            (host.release, host.line) = (release, line);
        }
        if let Some(recorded) = &mut host.recorded {
            recorded.booted();
        }
        if host.newest_release().is_none_or(|newest| newest == host.release) {
            host.reboot_since = None;
        }
        let still: Vec<UnitName> = host.bad_units(suite);
        host.failed_units.retain(|unit| still.contains(unit));
        host.changed();
        let booted = Booted {
            machine: host.label.clone(),
            boot_id: host.boot_id(),
            kernel: host.release.clone(),
            activity: asked.map(|(name, _)| name),
        };
        self.log(What::Booted(booted));
        self.agent_starts(m);
    }
}

impl Host {
    fn timeout_of(&self, step: usize) -> SignedDuration {
        self.timeouts.get(step).copied().unwrap_or(SignedDuration::from_hours(1))
    }

    fn observe(&self, uid: &Uid, step: usize, action: &StepAction) -> Observation {
        if self.busy.as_ref().is_some_and(|busy| busy.uid == *uid && busy.step == step) {
            return Observation::Running;
        }
        if let Some((ran, at, observation)) = &self.ran
            && ran == uid
            && *at == step
        {
            return observation.clone();
        }
        self.judge(action)
    }

    /// What the machine's state says of a step (promise P5).
    fn judge(&self, action: &StepAction) -> Observation {
        if let StepAction::Reboot { .. } = action {
            return Observation::Booted { release: self.release.clone(), command_line: self.line.clone() };
        }
        let done = match &self.recorded {
            Some(recorded) => recorded.is_done(action),
            None => self.is_done(action),
        };
        if done {
            return Observation::Done;
        }
        if self.dpkg.broken.is_empty() {
            let message = "nothing was changed".to_owned();
            return Observation::NotDone { reason: OutcomeReason::Preflight, message };
        }
        let message = "packages are half-configured".to_owned();
        Observation::Failed { reason: OutcomeReason::PackagesNotAsWanted, message }
    }

    fn is_done(&self, action: &StepAction) -> bool {
        match action {
            StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
                transaction.changes().all(|change| {
                    let name = &change.package.name;
                    self.dpkg.installed.get(name) == change.to.as_ref() && !self.dpkg.broken.contains(name)
                })
            }
            StepAction::HoldPackages { hold, unhold } => {
                hold.iter().all(|key| self.dpkg.held.contains(&key.name))
                    && !unhold.iter().any(|key| self.dpkg.held.contains(&key.name))
            }
            StepAction::RepairPackages => self.dpkg.broken.is_empty(),
            StepAction::SelectKernel(choice) => self.is_selected(choice),
            StepAction::SetDefaultKernel(choice) => self.is_default(choice),
            StepAction::Reboot { .. } => false,
        }
    }

    /// It was stopped in the middle.
    fn half_done(&mut self, action: &StepAction) {
        let (StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction)) = action
        else {
            return;
        };
        if let Some(change) = transaction.changes().find(|change| change.to.is_some()) {
            let name = change.package.name.clone();
            self.dpkg.installed.insert(name.clone(), change.to.clone().expect("it was looked for"));
            self.dpkg.broken.insert(name);
        }
    }

    /// Does what the step says; whether the machine goes silent by it.
    fn carry_out(&mut self, suite: &Suite, action: &StepAction, now: muster_model::Instant) -> bool {
        let mut silent = false;
        match action {
            StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
                for change in transaction.changes() {
                    let name = &change.package.name;
                    self.dpkg.broken.remove(name);
                    match &change.to {
                        None => drop(self.dpkg.installed.remove(name)),
                        Some(version) => {
                            self.dpkg.installed.insert(name.clone(), version.clone());
                            match suite.bad(name, version) {
                                Some(Bad::Configure) => drop(self.dpkg.broken.insert(name.clone())),
                                Some(Bad::Silence) => silent = true,
                                Some(Bad::Unit | Bad::Boot) | None => {}
                            }
                            if archive::release_of(name).is_some() {
                                self.keep_default();
                                self.reboot_since = Some(self.wall(now));
                            }
                        }
                    }
                    self.failed_units.remove(&unit_of(name));
                }
                self.failed_units.extend(self.bad_units(suite));
            }
            StepAction::HoldPackages { hold, unhold } => {
                self.dpkg.held.extend(hold.iter().map(|key| key.name.clone()));
                self.dpkg.held.retain(|name| !unhold.iter().any(|key| key.name == *name));
            }
            StepAction::RepairPackages => {
                let installed = &self.dpkg.installed;
                self.dpkg.broken.retain(|name| {
                    let version = installed.get(name);
                    version.is_some_and(|version| suite.bad(name, version) == Some(Bad::Configure))
                });
            }
            StepAction::SelectKernel(choice) => self.select_kernel(choice),
            StepAction::SetDefaultKernel(_) => self.set_default_kernel(),
            StepAction::Reboot { .. } => {}
        }
        silent
    }

    /// Units that failed by themselves are restarted.
    pub(crate) fn restart_units(&mut self, suite: &Suite) {
        self.failed_units = self.bad_units(suite).into_iter().collect();
    }

    /// Units of packages whose installed version is bad.
    fn bad_units(&self, suite: &Suite) -> Vec<UnitName> {
        let bad =
            self.dpkg.installed.iter().filter(|(name, version)| suite.bad(name, version) == Some(Bad::Unit));
        bad.map(|(name, _)| unit_of(name)).collect()
    }
}

/// The service of a package.
pub(crate) fn unit_of(package: &muster_model::PackageName) -> UnitName {
    UnitName::parse(&format!("{package}.service")).expect("a package's name and .service make a unit's")
}
