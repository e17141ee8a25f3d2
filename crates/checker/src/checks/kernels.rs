//! K1, K2, K3: a kernel is tried before it boots by default, and what runs, boots next or was good last is never removed.

use std::collections::BTreeMap;

use muster_model::{ActivityName, Capability, MachineName, Phase, StepAction};
use smol_str::SmolStr;

use crate::checks::windows::brings_kernel;
use crate::event::{Event, Report, What};
use crate::start::Start;
use crate::violation::{About, Findings};
use crate::world::{ActivityState, World};

/// By machine, what is known of its kernels.
pub(crate) type Kernels = BTreeMap<MachineName, Known>;

/// What is known of one machine's kernels.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// What its last boot came to, and for which activity.
    booted: Option<(SmolStr, Option<ActivityName>)>,
    /// What was last made the default there.
    default: Option<SmolStr>,
}

/// What a machine does and what comes of it.
pub(crate) fn check(event: &Event, known: &mut Kernels, world: &World, findings: &mut Findings<'_>) {
    match &event.event {
        What::Booted(booted) => {
            known.entry(booted.machine.clone()).or_default().booted =
                Some((booted.kernel.clone(), booted.activity.clone()));
        }
        What::Acted(acted) => {
            let Some(activity) = world.activities.get(&acted.activity) else { return };
            let step = activity.spec.steps.get(acted.step);
            let Some(StepAction::SetDefaultKernel(choice)) = step.map(|step| &step.action) else { return };
            let known = known.entry(acted.machine.clone()).or_default();
            if let (Some((booted, _)), false) = (&known.booted, acted.done)
                && *booted != choice.release
            {
                let message = format!("{} becomes the default while {booted} runs", choice.release);
                findings.broken("K2", "DefaultNotRunning", About::Activity(&acted.activity), [], message);
            }
            if acted.done {
                known.default = Some(choice.release.clone());
            }
        }
        What::StepCompleted(step) => {
            let Some(activity) = world.activities.get(&step.name) else { return };
            if let Some(StepAction::SetDefaultKernel(choice)) =
                activity.spec.steps.get(step.step).map(|step| &step.action)
            {
                known.entry(step.name.machine.clone()).or_default().default = Some(choice.release.clone());
            }
        }
        What::ActivityFinished(finished) if finished.phase == Phase::Succeeded => {
            let Some(activity) = world.activities.get(&finished.name) else { return };
            let Some((booted, Some(by))) =
                known.get(&finished.name.machine).and_then(|known| known.booted.as_ref())
            else {
                return;
            };
            if let Some(wanted) =
                wanted_kernel(activity).filter(|wanted| *by == finished.name && *wanted != booted)
            {
                let message = format!("it succeeded with {booted}, and was to run {wanted}");
                findings.broken("K1", "SucceededElsewhere", About::Activity(&finished.name), [], message);
            }
        }
        _ => {}
    }
}

fn wanted_kernel(activity: &ActivityState) -> Option<&SmolStr> {
    activity.spec.steps.iter().rev().find_map(|step| match &step.action {
        StepAction::Reboot { kernel, .. } => kernel.as_ref(),
        StepAction::InstallPackages(_)
        | StepAction::RemovePackages(_)
        | StepAction::HoldPackages { .. }
        | StepAction::RepairPackages
        | StepAction::SelectKernel(_)
        | StepAction::SetDefaultKernel(_) => None,
    })
}

/// What starts.
pub(crate) fn check_start(world: &World, start: &Start<'_>, known: &Kernels, findings: &mut Findings<'_>) {
    let Some(machine) = start.machine else { return };
    let reports: Vec<&Report> = machine.report.possible(start.at, world.lag).into_iter().flatten().collect();
    let all = |test: &dyn Fn(&Report) -> bool| !reports.is_empty() && reports.iter().all(|one| test(one));
    let about = About::Activity(&start.spec.name);
    let (mut selected, mut booted) = (None, None);
    for step in &start.spec.steps {
        match &step.action {
            StepAction::SelectKernel(choice) => selected = Some(&choice.release),
            StepAction::Reboot { kernel: Some(kernel), .. } => {
                if selected != Some(kernel) {
                    let message = format!("it boots {kernel}, which was not selected for one boot");
                    findings.broken("K2", "BootedUntried", about, [], message);
                }
                booted = Some(kernel);
            }
            StepAction::SetDefaultKernel(choice) => {
                let runs = reports.iter().any(|report| report.kernel == choice.release);
                if booted != Some(&choice.release) && !runs {
                    let message = format!("{} becomes the default and was never tried", choice.release);
                    findings.broken("K2", "DefaultUntried", about, [], message);
                }
            }
            StepAction::InstallPackages(_) | StepAction::RemovePackages(_) => {
                if brings_kernel(step)
                    && all(&|report| !report.capabilities.contains(&Capability::KernelSelection))
                {
                    let message = "it brings a kernel that the machine cannot let boot on trial".to_owned();
                    findings.broken("K2", "KernelUntried", about, [], message);
                }
            }
            StepAction::Reboot { kernel: None, .. }
            | StepAction::HoldPackages { .. }
            | StepAction::RepairPackages => {}
        }
        let good = known.get(&start.spec.name.machine).and_then(|known| known.default.as_ref());
        for change in step.changes().filter(|change| change.to.is_none()) {
            let Some(image) = change.package.name.as_str().strip_prefix("linux-image-") else { continue };
            let release = image.strip_prefix("unsigned-").unwrap_or(image);
            let kind = if all(&|report| report.kernel == release) {
                "RemovesRunning"
            } else if all(&|report| report.next_boot.as_deref() == Some(release)) {
                "RemovesNextBoot"
            } else if good.is_some_and(|good| good == release) {
                "RemovesLastGood"
            } else {
                continue;
            };
            let message = format!("{} goes", change.package);
            findings.broken("K3", kind, about, [], message);
        }
    }
}
