//! A7, V4, V5, V6: transactions are built from what the machine last reported, and do nothing destructive unasked.

use muster_model::{Change, OutcomeReason, PackageKey, PackageWish, Permit, Phase, StepAction};

use super::baselines::asks;
use crate::event::{Baseline, Report, Step};
use crate::start::Start;
use crate::violation::{About, Findings};
use crate::world::{ActivityState, MachineState, World};

pub(crate) fn check(world: &World, start: &Start<'_>, findings: &mut Findings<'_>) {
    let Some(machine) = start.machine else { return };
    fresh(world, start, machine, findings);
    for step in &start.spec.steps {
        let permits = start.baselines_of(world, step);
        for change in step.changes() {
            permitted(start, step, change, &permits, machine, findings);
        }
        for change in step.requested() {
            stands(world, start, machine, change, findings);
        }
    }
}

/// After what may have changed the machine a report comes first (rule V4).
fn fresh(world: &World, start: &Start<'_>, machine: &MachineState, findings: &mut Findings<'_>) {
    let (Some(report), Some(spec)) = (machine.report.now(), machine.spec.now()) else { return };
    let changed = |activity: &&ActivityState| match activity.phase {
        Phase::Succeeded | Phase::Failed | Phase::Interrupted => true,
        Phase::Refused => {
            matches!(activity.outcome, Some(OutcomeReason::VersionGone | OutcomeReason::PlanMismatch))
        }
        Phase::Pending
        | Phase::Delivered
        | Phase::Running
        | Phase::Verifying
        | Phase::Canceled
        | Phase::Expired => false,
    };
    let ours = world.history(&start.spec.name.machine).rev();
    let last =
        ours.filter(|one| one.spec.machine_uid == spec.uid && one.spec.name != start.spec.name).find(changed);
    let Some(last) = last.filter(|last| last.spec.name.number > spec.retried_through) else { return };
    let later = last.finished.is_some_and(|finished| report.received > finished);
    if !later && report.last_activity < last.spec.name.number {
        let message = format!(
            "{} is {} since {}, and the last report is from {}: what it left behind is to be reported first",
            last.spec.name,
            last.phase.as_str(),
            last.finished.map_or_else(String::new, |at| at.to_string()),
            report.received
        );
        findings.broken("V4", "StartedUnreported", About::Activity(&start.spec.name), [], message);
    }
}

/// Downgrades and removals only where every baseline that the transaction serves allows them (rules A7, V5).
fn permitted(
    start: &Start<'_>,
    step: &Step,
    change: &Change,
    served: &[Vec<&Baseline>],
    machine: &MachineState,
    findings: &mut Findings<'_>,
) {
    let about = About::Activity(&start.spec.name);
    let native = machine.report.now().map(|report| &report.architecture);
    for (reference, versions) in step.baselines.iter().zip(served) {
        if versions.is_empty() {
            continue;
        }
        let object = [reference.to_string()];
        let is_downgrade = matches!((&change.from, &change.to), (Some(from), Some(to)) if to < from);
        if is_downgrade && versions.iter().all(|one| one.downgrades == Permit::Refuse) {
            let message = format!("{} goes down, and downgrades are refused", change.package);
            findings.broken("V5", "DowngradeNotAllowed", about, object, message);
        } else if change.to.is_none()
            && versions.iter().all(|one| {
                let asked = asks(one, change, native);
                one.removals == Permit::Refuse && asked.is_none_or(|asked| asked.state != PackageWish::Absent)
            })
            && !asked_away(step, change)
        {
            let message = format!("{} is removed, and removals are refused", change.package);
            findings.broken("A7", "RemovalNotAllowed", about, object, message);
        }
    }
}

/// A removal that some baseline of the step asked for is that baseline's wish, and no consequence.
fn asked_away(step: &Step, change: &Change) -> bool {
    step.requested().any(|requested| requested == change)
}

/// What the change starts from is what was reported, and it is not held by somebody else (rules A7, V6).
fn stands(
    world: &World,
    start: &Start<'_>,
    machine: &MachineState,
    change: &Change,
    findings: &mut Findings<'_>,
) {
    let about = About::Activity(&start.spec.name);
    let reports: Vec<&Report> = machine.report.possible(start.at, world.lag).into_iter().flatten().collect();
    let package =
        |report: &Report| report.packages.iter().find(|package| package.key() == change.package).cloned();
    let reported: Vec<_> = reports.iter().map(|report| package(report)).collect();
    let same = reported.iter().any(|package| match package {
        Some(package) => package.installed == change.from || package.broken,
        None => change.from.is_none(),
    });
    if !reported.is_empty() && !same {
        let installed = reported.iter().flatten().next().and_then(|package| package.installed.clone());
        let shown = |version: Option<&muster_model::DebianVersion>| {
            version.map_or_else(|| "none".to_owned(), ToString::to_string)
        };
        let message = format!(
            "{} goes from {}, and {} was reported",
            change.package,
            shown(change.from.as_ref()),
            shown(installed.as_ref())
        );
        findings.broken("A7", "BuiltFromStale", about, [], message);
    }
    let held = reported.iter().flatten().filter(|package| package.held).count();
    if held > 0 && held == reported.len() && !is_ours(world, start, machine, &change.package) {
        let message = format!("{} is on hold, and the hold is none of ours", change.package);
        findings.broken("V6", "HeldByOthers", about, [], message);
    }
}

/// Whether a baseline asks for the hold, or an activity of ours set it, or the record says so.
fn is_ours(world: &World, start: &Start<'_>, machine: &MachineState, package: &PackageKey) -> bool {
    let recorded = machine.spec.now().is_some_and(|spec| spec.holds.contains(package));
    let asked = world.baselines.values().any(|kept| {
        kept.possible(start.at, world.lag).into_iter().flatten().any(|baseline| {
            baseline.packages.iter().any(|one| one.hold && one.name == package.name)
                && machine.maybe(&baseline.selector, start.at, world.lag)
        })
    });
    let set = world.history(&start.spec.name.machine).any(|activity| {
        activity.spec.steps.iter().any(
            |step| matches!(&step.action, StepAction::HoldPackages { hold, .. } if hold.contains(package)),
        )
    });
    recorded || asked || set
}
