//! B5: an activity carries all that its machine may have now.
//!
//! Judged where the log alone tells that more could have gone along: another upgrade that the same baseline asks for, so that
//! the same places and windows are asked for it, in which nobody else has a say, and which neither waves, nor words, nor
//! attempts that went wrong hold up.

use muster_model::{
    BaselineKind, Change, DebianVersion, MachineName, Mode, PackageKey, PackageWish, StepAction,
};

use crate::event::{Baseline, Report, Requirement};
use crate::items::{Item, Items, approves};
use crate::start::Start;
use crate::target::{Target, key, target};
use crate::violation::{About, Findings};
use crate::world::{MachineState, World};

pub(crate) fn check(world: &World, start: &Start<'_>, known: &Items, findings: &mut Findings<'_>) {
    let Some(machine) = start.machine.filter(|_| start.spec.overrides.is_empty()) else { return };
    // By each report that may have been the last that was seen.
    let reports: Vec<Option<&Report>> = machine.report.possible(start.at, world.lag);
    let Some(reports) = reports.into_iter().collect::<Option<Vec<_>>>() else { return };
    let steps = start.spec.steps.iter().filter(|step| matches!(step.action, StepAction::InstallPackages(_)));
    for (step, reference) in steps.flat_map(|step| step.baselines.iter().map(move |one| (step, one))) {
        let Some(kept) = world.baselines.get(reference) else { continue };
        let versions = kept.possible(start.at, world.lag);
        let [Some(baseline)] = versions.as_slice() else { continue };
        let names = |change: &Change| baseline.packages.iter().any(|one| one.name == change.package.name);
        if !step.requested().any(names)
            || !goes_at_once(baseline)
            || !machine.surely(&baseline.selector, start.at, world.lag)
        {
            continue;
        }
        for requirement in &baseline.packages {
            let Some((package, to)) = upgrade(requirement, &reports) else { continue };
            if step.changes().any(|change| change.package == package) {
                continue;
            }
            let item = Item { baseline: reference.clone(), package, to: Some(to) };
            if !has_another_say(world, start, machine, &item) && !is_held_up(world, known, start, &item) {
                let message = format!("it leaves out {}, which the machine may have now", item.name());
                let about = About::Activity(&start.spec.name);
                findings.broken("B5", "LeftOut", about, [reference.to_string()], message);
            }
        }
    }
}

/// Whether each of its items may go to all of its machines from the first moment on.
fn goes_at_once(baseline: &Baseline) -> bool {
    baseline.kind == BaselineKind::PackageBaseline
        && baseline.mode == Mode::Enforce
        && baseline.rollout.as_ref().is_none_or(|one| one.waves.is_empty() && one.zone_key.is_none())
}

/// What surely goes up by the requirement; phasing is not told from the log, and a kernel passes other windows. A hold on any
/// package may stand in the way of what it needs.
fn upgrade(requirement: &Requirement, reports: &[&Report]) -> Option<(PackageKey, DebianVersion)> {
    let first = reports.first()?;
    let package = key(requirement, &first.architecture);
    let is_plain = requirement.state == PackageWish::Present
        && !requirement.hold
        && requirement.version != "latest"
        && !package.name.as_str().starts_with("linux-");
    let Target::Change(Some(to)) = target(requirement, first) else { return None };
    let goes_up = |report: &&Report| {
        let known = report.packages.iter().find(|one| one.key() == package);
        target(requirement, report) == Target::Change(Some(to.clone()))
            && !report.dpkg_interrupted
            && report.packages.iter().all(|one| !one.held)
            && known.is_some_and(|one| one.installed.as_ref().is_some_and(|from| *from < to))
    };
    (is_plain && reports.iter().all(goes_up)).then_some((package, to))
}

/// Whether another requirement or baseline may decide about the package there (rules S1, S2).
fn has_another_say(world: &World, start: &Start<'_>, machine: &MachineState, item: &Item) -> bool {
    world.baselines.iter().any(|(reference, kept)| {
        kept.possible(start.at, world.lag).into_iter().flatten().any(|one| {
            let named = one.packages.iter().filter(|asked| asked.name == item.package.name).count();
            let own = *reference == item.baseline;
            machine.maybe(&one.selector, start.at, world.lag)
                && (named > usize::from(own) || (!own && one.upgrades_any()))
        })
    })
}

/// Somebody paused it, somebody failed it, or it was tried here before: then it may have to wait.
fn is_held_up(world: &World, known: &Items, start: &Start<'_>, item: &Item) -> bool {
    let own: &MachineName = &start.spec.name.machine;
    known.known.get(item).is_some_and(|spread| spread.barred.is_some())
        || world
            .approvals
            .values()
            .any(|(approval, _)| approval.baseline == item.baseline && approves(approval, item, None))
        || world.activities.values().any(|activity| {
            activity.carries(item)
                && activity.spec.name != start.spec.name
                && (activity.phase == muster_model::Phase::Failed || activity.spec.name.machine == *own)
        })
}
