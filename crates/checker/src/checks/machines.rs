//! M1, M5, A4: nothing starts on a machine that is not admitted, was taken out, is not heard, or cannot do it.

use muster_model::{Capability, StepAction};

use crate::event::Report;
use crate::start::Start;
use crate::violation::{About, Findings};
use crate::world::{Presence, World};

pub(crate) fn check(world: &World, start: &Start<'_>, findings: &mut Findings<'_>) {
    let name = &start.spec.name;
    let about = About::Activity(name);
    if world.policies(start.at).iter().all(|policy| policy.suspend) {
        findings.broken(
            "A3",
            "StartedSuspended",
            about,
            [],
            "the FleetPolicy suspends all starts".to_owned(),
        );
    }
    let specs = start.machine.map(|machine| machine.spec.possible(start.at, world.lag)).unwrap_or_default();
    let (Some(machine), false) = (start.machine, specs.iter().all(Option::is_none)) else {
        findings.broken("M5", "StartedOnNoMachine", about, [], "there is no such FleetMachine".to_owned());
        return;
    };
    let all = |test: fn(&crate::event::Machine) -> bool| specs.iter().all(|spec| spec.is_none_or(test));
    if all(|spec| !spec.admitted) {
        findings.broken("M5", "StartedNotAdmitted", about, [], "the machine is not admitted".to_owned());
    }
    if all(|spec| spec.revoked) {
        findings.broken("M5", "StartedRevoked", about, [], "the machine is revoked".to_owned());
    }
    if all(|spec| spec.suspend) {
        findings.broken("M5", "StartedSuspended", about, [], "the machine's own spec suspends it".to_owned());
    }
    if specs.iter().flatten().all(|spec| spec.uid != start.spec.machine_uid) {
        let message = format!("it is for uid {}, an earlier machine of the name", start.spec.machine_uid);
        findings.broken("A1", "StartedForAnother", about, [], message);
    }
    match (machine.presence.now(), machine.presence.since()) {
        (Some(Presence::Heard), _) => {}
        (Some(Presence::Silent { last_heard }), Some(since)) if world.was_known(since, start.at) => {
            let message = format!("the machine was last heard at {last_heard}");
            findings.broken("A4", "StartedOnSilent", about, [], message);
        }
        (Some(Presence::Silent { .. }), _) => {}
        // Who reported a moment ago is heard, though its gateway has not said so yet.
        (None, _) if machine.reported.is_some_and(|since| !world.was_known(since, start.at)) => {}
        (None, _) => {
            findings.broken("M1", "StartedOnUnheard", about, [], "the machine was never heard".to_owned());
        }
    }
    let reports: Vec<&Report> = machine.report.possible(start.at, world.lag).into_iter().flatten().collect();
    if reports.is_empty() {
        findings.broken("M1", "StartedUnreported", about, [], "the machine never reported".to_owned());
    }
    for step in &start.spec.steps {
        let needs: &[Capability] = match &step.action {
            StepAction::InstallPackages(_) | StepAction::RemovePackages(_) => {
                &[Capability::ExactSimulation, Capability::Packages]
            }
            StepAction::HoldPackages { .. } | StepAction::RepairPackages => &[Capability::Packages],
            StepAction::SelectKernel(_) | StepAction::SetDefaultKernel(_) => &[Capability::KernelSelection],
            StepAction::Reboot { kernel: Some(_), .. } => &[Capability::Reboot, Capability::KernelSelection],
            StepAction::Reboot { kernel: None, .. } => &[Capability::Reboot],
        };
        for need in needs {
            if !reports.is_empty() && reports.iter().all(|report| !report.capabilities.contains(need)) {
                let message =
                    format!("{} needs {}, which the machine lacks", step.action.type_name(), need.as_str());
                findings.broken("M5", "StartedNotCapable", about, [], message);
            }
        }
    }
}
