//! The planner's answer, and what each machine would do once nothing but time held it back.
//!
//! A machine that waits for a window or a free place has no activity yet, though what it will do is known. It is asked
//! of the same planner, of a world without windows, budgets and suspensions: never when, only what.

use std::sync::Arc;

use muster_model::{
    KernelBaseline, MachineName, MachinePlan, PackageBaseline, Plan, Policy, RolloutSpec, Share, Snapshot,
    Step, StepAction, Verdict, WaitingOn, WindowsPolicy,
};
use muster_planner::{Circle, Planner, Touched};

/// Both answers.
pub(crate) struct Outlook<'a> {
    /// The world.
    pub(crate) world: &'a Snapshot,
    /// What happens now, and why not the rest.
    pub(crate) plan: Plan,
    /// Where rollouts wait for each other's machines.
    pub(crate) circles: Vec<Circle>,
    unguarded: Plan,
}

/// What is missing to say exactly what a machine will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Missing {
    /// Its apt has not simulated the change yet: what comes along is unknown.
    Simulation,
    /// It has not said yet what is on offer for the packages: not even versions are known.
    Report,
}

impl Missing {
    /// As JSON says it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Simulation => "Simulation",
            Self::Report => "Report",
        }
    }
}

impl<'a> Outlook<'a> {
    /// Plans the world twice.
    pub(crate) fn of(world: &'a Snapshot) -> Self {
        let mut planner = Planner::default();
        planner.plan(world, &Touched::default());
        let (circles, unguarded) = (planner.circles(), muster_planner::plan(&unguarded(world)));
        Self { world, plan: planner.into_plan(), circles, unguarded }
    }

    /// Every machine with its plan.
    pub(crate) fn machines(&self) -> impl Iterator<Item = (&MachineName, &MachinePlan)> {
        self.plan.machines.iter().map(|(name, plan)| (name, &**plan))
    }

    /// What the machine does now or, while it waits, would do if windows, budgets and suspensions let it.
    pub(crate) fn steps(&self, machine: &MachineName) -> &[Step] {
        match (self.verdict(machine), self.freely(machine)) {
            (Some(Verdict::Start(spec)), _) => &spec.steps,
            (Some(Verdict::Waiting(_) | Verdict::Blocked(_)), Some(Verdict::Start(spec))) => &spec.steps,
            _ => &[],
        }
    }

    /// Steps that the machine would do at once if it could, and that come later: a reboot that waits for its window.
    pub(crate) fn later(&self, machine: &MachineName) -> Vec<&Step> {
        match (self.verdict(machine), self.freely(machine)) {
            (Some(Verdict::Start(now)), Some(Verdict::Start(all))) => {
                let is_now = |step: &&Step| now.steps.iter().any(|one| one.action == step.action);
                all.steps.iter().filter(|step| !is_now(step)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// What is missing to know exactly, if anything.
    pub(crate) fn missing(&self, machine: &MachineName) -> Option<Missing> {
        let free = self.unguarded.machines.get(machine)?;
        let missing = free.requirements.iter().filter_map(|requirement| match &requirement.verdict {
            Verdict::Waiting(WaitingOn::Proposal) => Some(Missing::Simulation),
            Verdict::Waiting(WaitingOn::Inventory { .. } | WaitingOn::Report) => Some(Missing::Report),
            Verdict::Converged
            | Verdict::Start(_)
            | Verdict::Active { .. }
            | Verdict::Waiting(_)
            | Verdict::Blocked(_)
            | Verdict::Unmanaged(_)
            | Verdict::Unknown(_) => None,
        });
        missing.max()
    }

    /// Whether its packages may ask for a reboot afterwards, which a baseline then gives them: not known before.
    pub(crate) fn may_reboot(&self, machine: &MachineName) -> bool {
        let steps = self.steps(machine);
        let reboots = |step: &Step| matches!(step.action, StepAction::Reboot { .. });
        let changes = |step: &Step| matches!(step.action, StepAction::InstallPackages(_));
        let changes_packages = steps.iter().any(changes) || self.missing(machine).is_some();
        let rebooted = steps.iter().any(reboots) || self.later(machine).into_iter().any(reboots);
        changes_packages && !rebooted && self.wants_reboots(machine)
    }

    fn wants_reboots(&self, machine: &MachineName) -> bool {
        let Some(machine) = self.world.machines.get(machine) else { return false };
        self.world.package_baselines.values().any(|baseline| {
            baseline.reboot.policy == muster_model::RebootWhen::WhenRequired
                && baseline.common.mode == muster_model::Mode::Enforce
                && baseline.common.selector.matches(|key| machine.label(key))
        })
    }

    fn verdict(&self, machine: &MachineName) -> Option<&Verdict> {
        self.plan.machines.get(machine).map(|plan| &plan.verdict)
    }

    fn freely(&self, machine: &MachineName) -> Option<&Verdict> {
        self.unguarded.machines.get(machine).map(|plan| &plan.verdict)
    }
}

/// The same world, in which nothing waits for its time.
fn unguarded(world: &Snapshot) -> Snapshot {
    let mut free = world.clone();
    free.policy = Policy { suspend: false, windows: WindowsPolicy::Optional, ..free.policy };
    free.windows.clear();
    free.budgets.clear();
    free.unreadable.clear();
    (free.applying, free.clock_off) = (false, false);
    for baseline in free.package_baselines.values_mut() {
        let unbounded = PackageBaseline { rollout: at_once(&baseline.rollout), ..(**baseline).clone() };
        *baseline = Arc::new(unbounded);
    }
    for baseline in free.kernel_baselines.values_mut() {
        let unbounded = KernelBaseline { rollout: at_once(&baseline.rollout), ..(**baseline).clone() };
        *baseline = Arc::new(unbounded);
    }
    for machine in free.machines.values_mut().filter(|machine| machine.suspend) {
        Arc::make_mut(machine).suspend = false;
    }
    free
}

/// Every machine at a time, in no wave. What failed too often stays barred: that is no matter of time.
fn at_once(rollout: &RolloutSpec) -> RolloutSpec {
    let RolloutSpec { waves: _, zone_key: _, max_unavailable: _, max_failures, min_ready } = rollout;
    RolloutSpec {
        waves: Vec::new(),
        zone_key: None,
        max_unavailable: Share::parse("100%").expect("a constant that is a share"),
        max_failures: *max_failures,
        min_ready: *min_ready,
    }
}
