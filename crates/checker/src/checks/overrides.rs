//! W9: which windows and freezes a step may pass, since somebody said so.

use muster_model::{BaselineRef, Change, Instant, ObjectName, StepAction};

use super::windows::{Guards, goes_with_a_kernel};
use crate::event::{ItemPattern, Override, Step};
use crate::start::Start;
use crate::world::{MachineState, World};

impl Guards<'_> {
    /// Takes out what overrides that were in force at `when` let the step pass.
    pub(crate) fn pass(
        &mut self,
        world: &World,
        start: &Start<'_>,
        step: &Step,
        machine: &MachineState,
        when: Instant,
    ) {
        let in_force: Vec<&Override> = world
            .overrides
            .values()
            .filter(|one| when < one.until + world.lag)
            .filter(|one| {
                one.selector.as_ref().is_none_or(|selector| machine.maybe(selector, start.at, world.lag))
            })
            .collect();
        let passes = |window: &ObjectName| {
            let about: Vec<&ItemPattern> = in_force
                .iter()
                .filter(|one| one.windows.as_ref().is_none_or(|names| names.contains(window)))
                .flat_map(|one| &one.items)
                .collect();
            names(&about, start, step)
        };
        let ends = |window: &ObjectName| {
            let names = |one: &&&Override| one.windows.as_ref().is_none_or(|names| names.contains(window));
            in_force.iter().filter(names).map(|one| one.until).max()
        };
        let passed = self.denies.extract_if(.., |deny| deny.overridable && passes(&deny.name));
        self.resuming.extend(passed.filter_map(|deny| Some((deny, ends(&deny.name)?))));
        if self.allows.iter().any(|allow| passes(&allow.name)) {
            self.passed = true;
            self.needs_allow = false;
            self.allows.clear();
        }
    }
}

/// Whether all that the step does is named. A reboot is only if it is named itself; another step that changes no package is, if
/// the reboot of its boot is, or the kernel that it is about, or all that the activity changes. A boot is one thing, for all who
/// ask for it: its kernel is selected, it reboots, and what runs becomes the default.
fn names(items: &[&ItemPattern], start: &Start<'_>, step: &Step) -> bool {
    let named =
        |step: &Step, change: &Change| items.iter().any(|item| matches(item, &step.baselines, change));
    if step.requested().next().is_some() {
        return step.requested().all(|change| named(step, change) || goes_with_a_kernel(step, change));
    }
    let steps = || start.spec.steps.iter();
    let boot: Vec<BaselineRef> =
        steps().filter(|other| boots(other)).flat_map(|other| other.baselines.iter().cloned()).collect();
    let reboot = |item: &&ItemPattern| {
        item.reboot && item.baseline.as_ref().is_none_or(|baseline| boot.contains(baseline))
    };
    if matches!(step.action, StepAction::Reboot { .. }) {
        return items.iter().any(reboot);
    }
    let kernel = steps().any(|other| match &other.action {
        StepAction::SelectKernel(choice) | StepAction::SetDefaultKernel(choice) => {
            choice.followed.as_ref().is_some_and(|followed| {
                let change = Change {
                    package: followed.package.clone(),
                    from: None,
                    to: Some(followed.version.clone()),
                };
                items.iter().any(|item| matches(item, &boot, &change))
            })
        }
        StepAction::InstallPackages(_)
        | StepAction::RemovePackages(_)
        | StepAction::HoldPackages { .. }
        | StepAction::RepairPackages
        | StepAction::Reboot { .. } => false,
    });
    let mut changes =
        steps().flat_map(|other| other.requested().map(move |change| (other, change))).peekable();
    let all = changes.peek().is_some()
        && changes.all(|(other, change)| named(other, change) || goes_with_a_kernel(other, change));
    all || boots(step) && (items.iter().any(reboot) || kernel)
}

/// Whether a step belongs to a boot.
fn boots(step: &Step) -> bool {
    match &step.action {
        StepAction::SelectKernel(_) | StepAction::SetDefaultKernel(_) | StepAction::Reboot { .. } => true,
        StepAction::InstallPackages(_)
        | StepAction::RemovePackages(_)
        | StepAction::HoldPackages { .. }
        | StepAction::RepairPackages => false,
    }
}

/// Whether people's name of an item fits a change that is made for these baselines.
fn matches(item: &ItemPattern, baselines: &[BaselineRef], change: &Change) -> bool {
    !item.reboot
        && item.baseline.as_ref().is_none_or(|baseline| baselines.contains(baseline))
        && item.package.as_ref().is_none_or(|package| *package == change.package.name)
        && item.architecture.as_ref().is_none_or(|one| *one == change.package.architecture)
        && item.version.as_ref().is_none_or(|version| Some(version) == change.to.as_ref())
}
