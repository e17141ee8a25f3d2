//! S1, S2, S3: what starts is what the baselines of the machine ask for, the highest priority first.

use muster_model::{Architecture, Change, Mode, PackageWish, StepAction, VersionRequirement};

use crate::checks::released::enforces;
use crate::event::{Baseline, Requirement, Step};
use crate::start::Start;
use crate::violation::{About, Findings};
use crate::world::{MachineState, World};

pub(crate) fn check(world: &World, start: &Start<'_>, findings: &mut Findings<'_>) {
    let Some(machine) = start.machine else { return };
    for step in &start.spec.steps {
        serves(world, start, machine, step, findings);
        for change in step.requested() {
            wanted(world, start, machine, change, findings);
        }
    }
}

/// Each baseline that a step is charged to is there, enforces, and selects the machine.
fn serves(
    world: &World,
    start: &Start<'_>,
    machine: &MachineState,
    step: &Step,
    findings: &mut Findings<'_>,
) {
    let about = About::Activity(&start.spec.name);
    if step.baselines.is_empty() && !lifts_holds(step) && !matches!(step.action, StepAction::RepairPackages) {
        let message = format!("{} serves no baseline", step.action.type_name());
        findings.broken("A8", "ServesNobody", about, [], message);
    }
    for (reference, versions) in step.baselines.iter().zip(start.baselines_of(world, step)) {
        // Lifting a hold that we set is asked for by nobody any more (rule V6).
        if lifts_holds(step) {
            continue;
        }
        let object = [reference.to_string()];
        if versions.is_empty() {
            findings.broken("S3", "ServesNoBaseline", about, object, "there is no such baseline".to_owned());
        } else if versions.iter().all(|one| one.mode == Mode::Observe) {
            let message = "it observes only, and emits nothing".to_owned();
            findings.broken("S1", "StartedObserving", about, object, message);
        } else if !versions.iter().any(|one| machine.maybe(&one.selector, start.at, world.lag)) {
            findings.broken(
                "S3",
                "ServesUnselected",
                about,
                object,
                "it does not select the machine".to_owned(),
            );
        }
    }
}

fn lifts_holds(step: &Step) -> bool {
    matches!(&step.action, StepAction::HoldPackages { unhold, .. } if !unhold.is_empty())
}

/// What is asked of a package by a baseline, on a machine of that architecture.
pub(crate) fn asks<'b>(
    baseline: &'b Baseline,
    change: &Change,
    native: Option<&Architecture>,
) -> Option<&'b Requirement> {
    baseline.packages.iter().find(|requirement| {
        requirement.name == change.package.name
            && requirement
                .architecture
                .as_ref()
                .or(native)
                .is_none_or(|architecture| *architecture == change.package.architecture)
    })
}

/// Whether a requirement can be met by this change.
pub(crate) fn is_met_by(requirement: &Requirement, change: &Change) -> bool {
    match (requirement.state, &change.to) {
        (PackageWish::Absent, to) => to.is_none(),
        (PackageWish::Present, None) => false,
        (PackageWish::Present, Some(to)) => {
            VersionRequirement::parse(&requirement.version).is_ok_and(|wanted| wanted.satisfied_by(to))
        }
    }
}

/// Of the baselines that surely select the machine and name the package, each of the highest priority is content:
/// it is what that one asks for, or the last released target meanwhile (rule O4).
fn wanted(
    world: &World,
    start: &Start<'_>,
    machine: &MachineState,
    change: &Change,
    findings: &mut Findings<'_>,
) {
    let native = machine.report.now().map(|report| &report.architecture);
    // While an edit may not have been seen, either side may be right.
    let steady: Vec<&Baseline> = world
        .baselines
        .values()
        .filter_map(|kept| match kept.possible(start.at, world.lag).as_slice() {
            [Some(one)] => Some(*one),
            _ => None,
        })
        .filter(|one| one.mode == Mode::Enforce)
        .filter(|one| machine.surely(&one.selector, start.at, world.lag))
        .collect();
    let asked: Vec<(&Baseline, &Requirement)> =
        steady.iter().filter_map(|one| Some((*one, asks(one, change, native)?))).collect();
    let Some(highest) = asked.iter().map(|(one, _)| one.priority).max() else { return };
    // Nor where one of a higher priority may have selected the machine, as an edit or a label was seen.
    let mut possible = world
        .baselines
        .values()
        .flat_map(|kept| kept.possible(start.at, world.lag))
        .flatten()
        .filter(|one| one.priority > highest && machine.maybe(&one.selector, start.at, world.lag));
    if possible.any(|one| asks(one, change, native).is_some()) {
        return;
    }
    for (one, requirement) in asked.iter().filter(|(one, _)| one.priority == highest) {
        if !is_met_by(requirement, change) && !enforces(world, one, requirement, change, start.at) {
            let to = change.to.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
            let message = format!(
                "{} goes to {to}, and what is asked, by priority {highest}, is {:?} {:?}",
                change.package, requirement.state, requirement.version
            );
            let rule = if asked.len() > 1 { "S2" } else { "S1" };
            findings.broken(
                rule,
                "NotAsked",
                About::Activity(&start.spec.name),
                [one.reference().to_string()],
                message,
            );
        }
    }
}
