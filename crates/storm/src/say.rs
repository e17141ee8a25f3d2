//! What people say of single items and activities: they cancel, approve late, pause and resume, let items pass windows, and
//! commit revisions that contradict what waits or freeze what runs (rules A5, A9, O3, O7, W6, W9).

use jiff::SignedDuration;
use muster_checker::event::What;
use muster_model::{
    Activity, ActivityName, Approval, ApprovalAction, BaselineKind, BaselineRef, Item, ItemProgress, Items,
    Mode, ObjectName, OverrideItem, OverrideWhat, PackageName, PackageWish, Phase, RolloutApproval,
    StepAction, WindowAction, WindowOverride,
};
use smol_str::{SmolStr, ToSmolStr, format_smolstr};

use crate::api::{Kind, Value};
use crate::archive;
use crate::people::{Act, ask};
use crate::storm::{Happening, Storm};
use crate::world::{name, once, version_of, window};

/// What somebody comes to say.
#[derive(Clone, Debug)]
pub(crate) enum Saying {
    /// Cancels an activity, if one is open.
    Cancel,
    /// Commits what contradicts that activity, if it still waits.
    Contradict(ActivityName),
    /// Takes that back.
    Enforce(BaselineRef),
    /// Looks at how rollouts are: approves, resumes, or pauses.
    Look,
    /// Ends the pause of that name.
    Resume(ObjectName),
    /// Lets items pass windows.
    Override,
    /// Takes the override of that name back, or clears it away.
    Withdraw(ObjectName),
    /// Freezes some machines, at once or soon.
    Freeze,
    /// Freezes machines like the one of that activity at once, if it still runs.
    FreezeAround(ActivityName),
    /// Clears the freeze of that name away.
    Thaw(ObjectName),
}

/// For so long what was said is kept; then it is tidied away.
const KEPT: SignedDuration = SignedDuration::from_hours(6);

impl Storm {
    /// People begin to speak, each in their time.
    pub(crate) fn begin_to_say(&mut self) {
        for (saying, least, most) in [
            (Saying::Cancel, 10, 60),
            (Saying::Look, 20, 90),
            (Saying::Override, 30, 240),
            (Saying::Freeze, 60, 300),
        ] {
            let wait = self.people.whims.minutes(least, most);
            self.plan_after(wait, Happening::Person(Act::Say(saying)));
        }
    }

    pub(crate) fn say_something(&mut self, saying: Saying) {
        match saying {
            Saying::Cancel => {
                if self.again(Saying::Cancel, 20, 90) {
                    self.cancel_one();
                }
            }
            Saying::Look => {
                if self.again(Saying::Look, 20, 120) {
                    self.look_at_rollouts();
                }
            }
            Saying::Override => {
                if self.again(Saying::Override, 60, 300) {
                    self.let_pass();
                }
            }
            Saying::Freeze => {
                if self.again(Saying::Freeze, 180, 540) {
                    let whims = &mut self.people.whims;
                    let wait = if whims.permille(500) { SignedDuration::ZERO } else { whims.minutes(1, 60) };
                    let labels: &[(&str, &str)] = *whims.pick(&[
                        &[] as &[_],
                        &[("env", "prod")],
                        &[("env", "test")],
                        &[("role", "db")],
                    ]);
                    self.freeze(labels, wait);
                }
            }
            Saying::FreezeAround(activity) => self.freeze_around(&activity),
            Saying::Thaw(freeze) => {
                if !self.calm && self.people.desired.windows.remove(&freeze).is_some() {
                    self.commit(true);
                }
            }
            Saying::Contradict(activity) => self.contradict(&activity),
            Saying::Enforce(baseline) => self.enforce(&baseline),
            Saying::Resume(pause) => self.resume_pause(&pause),
            Saying::Withdraw(one) => {
                if self.api.get(Kind::Override, one.as_str()).is_some() {
                    self.log_gone(Kind::Override, one.as_str());
                    self.api.delete(Kind::Override, one.as_str());
                }
            }
        }
    }

    /// Whether the weather lets them; then they come again.
    fn again(&mut self, saying: Saying, least: i64, most: i64) -> bool {
        if !self.calm {
            let wait = self.people.whims.minutes(least, most);
            self.plan_after(wait, Happening::Person(Act::Say(saying)));
        }
        !self.calm
    }

    /// Rule A5.
    fn cancel_one(&mut self) {
        let open = self.api.activities().filter(|one| !one.phase.is_finished() && !one.cancel);
        let open: Vec<ActivityName> = open.map(|one| one.spec.name.clone()).collect();
        if !open.is_empty() {
            let name = self.people.whims.pick(&open).clone();
            self.cancel(&name);
        }
    }

    pub(crate) fn cancel(&mut self, name: &ActivityName) {
        self.log(What::CancelRequested { name: name.clone() });
        self.api.edit_activity(name, |activity| activity.cancel = true);
    }

    /// An activity was created for a machine that nobody can give it to at once: somebody may think again (rule A9).
    pub(crate) fn think_again(&mut self, activity: &ActivityName) {
        let away = self.hosts.iter().any(|host| host.name == activity.machine && host.gateway.is_none());
        if !self.calm && away {
            let wait = self.people.whims.seconds(0, 5);
            self.plan_after(wait, Happening::Person(Act::Say(Saying::Contradict(activity.clone()))));
        }
    }

    /// An activity was created that comes to a reboot later: somebody may want its machine to stay up (rule W6).
    pub(crate) fn dread_reboot(&mut self, activity: &Activity) {
        let mut later = activity.spec.steps.iter().skip(1);
        let reboots = later.any(|step| matches!(step.action, StepAction::Reboot { .. }));
        if !self.calm && reboots && self.people.whims.permille(60) {
            let wait = self.people.whims.seconds(5, 300);
            let name = activity.spec.name.clone();
            self.plan_after(wait, Happening::Person(Act::Say(Saying::FreezeAround(name))));
        }
    }

    fn freeze_around(&mut self, name: &ActivityName) {
        let runs = self.api.activity(name).is_some_and(|(_, activity)| !activity.phase.is_finished());
        let machine = self.api.machine(&name.machine).filter(|_| runs);
        let Some(role) = machine.and_then(|object| object.machine.label("role").map(SmolStr::new)) else {
            return;
        };
        self.freeze(&[("role", &role)], SignedDuration::ZERO);
    }

    /// A freeze that is declared now, and cleared away some time after its end.
    fn freeze(&mut self, labels: &[(&str, &str)], wait: SignedDuration) {
        if self.calm || self.people.applying {
            return;
        }
        self.people.said += 1;
        let whims = &mut self.people.whims;
        let lasts = whims.minutes(30, 240);
        let thaws = wait + lasts + whims.minutes(5, 120);
        let when = once(self.now + wait, lasts);
        let mut freeze = window(&format!("stop-{}", self.people.said), labels, WindowAction::Deny, when);
        freeze.overridable = self.people.whims.permille(600);
        let called = freeze.name.clone();
        self.people.desired.window(freeze);
        self.commit(false);
        self.plan_after(thaws, Happening::Person(Act::Say(Saying::Thaw(called))));
    }

    fn contradict(&mut self, name: &ActivityName) {
        let waits = self.api.activity(name).filter(|(_, one)| one.phase == Phase::Pending);
        let Some((_, activity)) = waits.filter(|_| !self.calm) else { return };
        let baselines: Vec<BaselineRef> =
            activity.spec.steps.iter().flat_map(|step| step.baselines.keys().cloned()).collect();
        let kept = activity.spec.steps.iter().find_map(|step| match &step.action {
            StepAction::InstallPackages(transaction) => {
                let change = transaction.requested.first()?;
                Some((change.package.name.clone(), change.from.clone()?))
            }
            StepAction::RemovePackages(_)
            | StepAction::HoldPackages { .. }
            | StepAction::RepairPackages
            | StepAction::SelectKernel(_)
            | StepAction::SetDefaultKernel(_)
            | StepAction::Reboot { .. } => None,
        });
        if let Some((package, version)) = kept.filter(|_| self.people.whims.permille(500)) {
            ask(&mut self.people.desired, package.as_str(), &format!("<= {version}"));
        } else {
            for baseline in baselines {
                self.set_mode(&baseline, Mode::Observe);
                let wait = self.people.whims.minutes(20, 120);
                self.plan_after(wait, Happening::Person(Act::Say(Saying::Enforce(baseline))));
            }
        }
        self.commit(false);
    }

    fn enforce(&mut self, baseline: &BaselineRef) {
        if !self.calm && !self.people.applying {
            self.set_mode(baseline, Mode::Enforce);
            self.commit(false);
        }
    }

    fn set_mode(&mut self, baseline: &BaselineRef, mode: Mode) {
        for (_, common) in self.people.desired.commons().filter(|(reference, _)| reference == baseline) {
            common.mode = mode;
            common.generation += 1;
        }
    }

    /// What rollouts have on record, and what could be said of it.
    fn look_at_rollouts(&mut self) {
        self.tidy_approvals();
        let rollouts = self.api.rollouts();
        let items = rollouts.flat_map(|(baseline, rollout)| {
            rollout.items.iter().map(|(item, progress)| (baseline.clone(), item.clone(), progress.clone()))
        });
        let items: Vec<(BaselineRef, Item, ItemProgress)> = items.collect();
        for (baseline, item, progress) in items {
            let asks = self.asks_approval(&baseline) && progress.approved.is_none();
            let stuck = progress.barred.is_some() || progress.paused.is_some();
            let whims = &mut self.people.whims;
            if asks && whims.permille(400) {
                self.speak(baseline, Some(&item), ApprovalAction::Approve);
            } else if stuck && whims.permille(250) {
                self.speak(baseline, Some(&item), ApprovalAction::Resume);
            } else if progress.released.is_none() && whims.permille(60) {
                let all = whims.permille(300);
                let wait = whims.minutes(10, 120);
                let pause = self.speak(baseline, Some(&item).filter(|_| !all), ApprovalAction::Pause);
                self.plan_after(wait, Happening::Person(Act::Say(Saying::Resume(pause))));
            }
        }
    }

    pub(crate) fn asks_approval(&self, baseline: &BaselineRef) -> bool {
        let desired = &self.people.desired;
        let rollout = match baseline.kind {
            BaselineKind::PackageBaseline => desired.baselines.get(&baseline.name).map(|one| &one.rollout),
            BaselineKind::KernelBaseline => desired.kernels.get(&baseline.name).map(|one| &one.rollout),
        };
        rollout.is_some_and(|rollout| rollout.waves.iter().any(|wave| wave.approval == Approval::Required))
    }

    /// Ends all pauses.
    pub(crate) fn resume_all(&mut self) {
        let pauses = self.api.approvals().filter(|one| one.action == ApprovalAction::Pause);
        let pauses: Vec<ObjectName> = pauses.map(|one| one.name.clone()).collect();
        pauses.iter().for_each(|pause| self.resume_pause(pause));
    }

    /// A pause ends by a word, or by being taken back.
    fn resume_pause(&mut self, pause: &ObjectName) {
        let known = self.api.approvals().find(|one| one.name == *pause).cloned();
        let Some(known) = known else { return };
        if self.people.whims.permille(500) {
            self.say_of(known.baseline, known.items, ApprovalAction::Resume);
        }
        self.log_gone(Kind::Approval, pause.as_str());
        self.api.delete(Kind::Approval, pause.as_str());
    }

    fn tidy_approvals(&mut self) {
        let now = self.now;
        let old = self
            .api
            .approvals()
            .filter(|one| one.action != ApprovalAction::Pause && now.duration_since(one.created) > KEPT);
        let old: Vec<ObjectName> = old.map(|one| one.name.clone()).collect();
        for one in old {
            self.log_gone(Kind::Approval, one.as_str());
            self.api.delete(Kind::Approval, one.as_str());
        }
    }

    /// Of one item, or of all of a baseline's.
    pub(crate) fn speak(
        &mut self,
        baseline: BaselineRef,
        item: Option<&Item>,
        action: ApprovalAction,
    ) -> ObjectName {
        let items = item.map_or(Items::All, |item| Items::Of {
            package: item.package.name.clone(),
            architecture: Some(item.package.architecture.clone()),
            target: Some(item.target.clone()),
        });
        self.say_of(baseline, items, action)
    }

    fn say_of(&mut self, baseline: BaselineRef, items: Items, action: ApprovalAction) -> ObjectName {
        self.people.said += 1;
        let called = name(&format!("word-{}", self.people.said));
        let approval = RolloutApproval {
            name: called.clone(),
            baseline,
            items,
            action,
            by: SmolStr::new_static("somebody"),
            created: self.now,
            applied: false,
        };
        self.put(Value::Approval(approval.into()));
        called
    }

    /// Some items may pass some windows and freezes for a while (rule W9).
    fn let_pass(&mut self) {
        self.people.said += 1;
        let called = name(&format!("pass-{}", self.people.said));
        let windows: Vec<ObjectName> = self
            .api
            .windows()
            .filter(|window| window.action == WindowAction::Allow || window.overridable)
            .map(|window| window.name.clone())
            .collect();
        let whims = &mut self.people.whims;
        let windows = windows.into_iter().filter(|_| whims.permille(700)).collect();
        let until = self.now + whims.minutes(20, 360);
        let items = self.items_that_pass();
        if items.is_empty() {
            return;
        }
        let one =
            WindowOverride { name: called.clone(), windows, items, reason: "it is urgent".to_owned(), until };
        self.put(Value::Override(one.into()));
        // Most are cleared away when they have ended, some are taken back before.
        let lasts = until.duration_since(self.now);
        let early = self.people.whims.permille(300);
        let wait = if early { lasts / 2 } else { lasts + self.people.whims.minutes(5, 60) };
        self.plan_after(wait, Happening::Person(Act::Say(Saying::Withdraw(called))));
    }

    fn items_that_pass(&mut self) -> Vec<OverrideItem> {
        let latest = self.people.latest.clone();
        let whims = &mut self.people.whims;
        let mut asked: Vec<(BaselineRef, PackageName)> = Vec::new();
        for baseline in self.people.desired.baselines.values() {
            let present = baseline.packages.iter().filter(|asked| asked.state == PackageWish::Present);
            asked.extend(present.map(|one| (baseline.reference(), one.name.clone())));
        }
        let kernels = self.people.desired.kernels.values();
        asked.extend(kernels.map(|one| (one.reference(), one.package.name.clone())));
        let mut items = Vec::new();
        for (baseline, package) in asked {
            if !whims.permille(600) {
                continue;
            }
            let number = latest.get(&package).copied().unwrap_or(1);
            let what = OverrideWhat::Package(package.clone(), version_of(&package, number));
            items.push(OverrideItem { baseline: baseline.clone(), what });
            if package.as_str() == archive::KERNEL && whims.permille(600) {
                items.push(OverrideItem { baseline, what: OverrideWhat::Reboot });
            }
        }
        items
    }

    /// A resource that somebody wrote by hand cannot be read: the namespace is closed (rule W7).
    pub(crate) fn make_resource_unreadable(&mut self) {
        let what = format_smolstr!("MaintenanceWindow/{UNREAD}");
        self.put(Value::Unreadable(what, "spec.machineSelector: unknown operator Inn".to_owned()));
    }

    pub(crate) fn make_resource_readable(&mut self) {
        let what = format_smolstr!("MaintenanceWindow/{UNREAD}").to_smolstr();
        if self.api.get(Kind::Unreadable, &what).is_some() {
            self.log_gone(Kind::Unreadable, &what);
            self.api.delete(Kind::Unreadable, &what);
        }
    }
}

/// The window whose selector cannot be read.
const UNREAD: &str = "by-hand";
