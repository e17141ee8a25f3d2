//! K1, O2: of a kernel's item it is what runs that a wave is judged by, not what is installed.

use std::collections::BTreeSet;

use muster_model::{BaselineKind, Instant, MachineName, RebootWhen, StepAction};
use smol_str::SmolStr;

use crate::event::{Baseline, Report};
use crate::items::Item;
use crate::world::{MachineState, Presence, World};

/// Whether the machine surely has the kernel's package, does not run the kernel, and is waited for: it is heard, nothing is
/// in its way, nothing went wrong there, and nobody else has a say about its kernel.
pub(crate) fn is_installed_only(
    world: &World,
    baseline: &Baseline,
    name: &MachineName,
    machine: &MachineState,
    item: &Item,
    at: Instant,
) -> bool {
    let lag = world.lag;
    if baseline.kind != BaselineKind::KernelBaseline
        || baseline.reboot != RebootWhen::WhenRequired
        || machine.verdict == "Blocked"
    {
        return false;
    }
    let ready = machine
        .spec
        .possible(at, lag)
        .into_iter()
        .all(|spec| spec.is_some_and(|spec| spec.admitted && !spec.revoked && !spec.suspend));
    let presence = machine.presence.possible(at, lag);
    let heard = presence.into_iter().all(|presence| matches!(presence, Some(Presence::Heard)));
    let went_wrong = world.history(name).any(|one| {
        one.carries(item)
            && matches!(one.outcome, Some(outcome) if outcome != muster_model::OutcomeReason::WindowClosed)
    });
    if !ready || !heard || went_wrong || has_another_say(world, machine, item, at) {
        return false;
    }
    let releases = releases(world, item);
    let only_installed = |report: &Report| {
        let package = report.packages.iter().find(|package| package.key() == item.package);
        package.is_some_and(|one| one.installed == item.to && !one.broken && !one.held)
            && !releases.contains(&report.kernel)
    };
    let reports = machine.report.possible(at, lag);
    !releases.is_empty() && reports.into_iter().all(|report| report.is_some_and(only_installed))
}

/// The kernels that the item, or a later version of its package, is known to bring: steps say which they follow.
fn releases<'w>(world: &'w World, item: &Item) -> BTreeSet<&'w SmolStr> {
    let mut brought = BTreeSet::new();
    let mut is_known = false;
    let steps = world.activities.values().flat_map(|activity| &activity.spec.steps);
    for step in steps {
        let (StepAction::SelectKernel(choice) | StepAction::SetDefaultKernel(choice)) = &step.action else {
            continue;
        };
        let followed = choice.followed.as_ref().filter(|followed| followed.package == item.package);
        if let Some(followed) = followed.filter(|one| Some(&one.version) >= item.to.as_ref()) {
            is_known |= Some(&followed.version) == item.to.as_ref();
            brought.insert(&choice.release);
        }
    }
    if is_known { brought } else { BTreeSet::new() }
}

fn has_another_say(world: &World, machine: &MachineState, item: &Item, at: Instant) -> bool {
    world.baselines.iter().filter(|(reference, _)| **reference != item.baseline).any(|(_, kept)| {
        kept.possible(at, world.lag).into_iter().flatten().any(|other| {
            let names = other.packages.iter().any(|asked| asked.name == item.package.name);
            machine.maybe(&other.selector, at, world.lag)
                && (names || other.upgrades_any() || other.kind == BaselineKind::KernelBaseline)
        })
    })
}
