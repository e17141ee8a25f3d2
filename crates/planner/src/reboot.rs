//! May a machine be rebooted because it says that it must be (rules K1, K4)?

use jiff::SignedDuration;
use muster_model::{
    Capability, Instant, KernelChoice, Machine, Phase, Reason, Reported, StepAction, Verdict, WaitingOn,
};

use crate::attempts::{History, Subject};
use crate::timer::{Timer, after};

/// Boots of ours within a day (rule K4).
const BOOTS_A_DAY: usize = 6;
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Why a required reboot is not to be, if so. `tries`: the kernel that it is to try.
pub(crate) fn reboot(
    machine: &Machine,
    reported: &Reported,
    history: History<'_>,
    tries: Option<&KernelChoice>,
    timer: &Timer,
) -> Option<Verdict> {
    if !reported.report.capabilities.contains(&Capability::Reboot) {
        return Some(Verdict::Blocked(Reason::NotCapable { capability: Capability::Reboot }));
    }
    if is_ineffective(machine, reported, history) {
        return Some(Verdict::Blocked(Reason::RebootIneffective));
    }
    let subject = tries.map_or(Subject::Reboot, Subject::Kernel);
    if let Some(verdict) = history.retry(machine, subject, timer) {
        return Some(verdict);
    }
    boot_limit(history, timer)
}

/// Whether the machine booted as often as it may (rule K4).
pub(crate) fn boot_limit(history: History<'_>, timer: &Timer) -> Option<Verdict> {
    let boots: Vec<Instant> = boots(history).collect();
    let within = |at: &&Instant| !timer.reached(after(**at, DAY));
    let oldest_that_counts = boots.iter().filter(within).nth(BOOTS_A_DAY - 1)?;
    Some(Verdict::Waiting(WaitingOn::BootLimit {
        boots: BOOTS_A_DAY,
        until: after(*oldest_that_counts, DAY),
    }))
}

/// When reboots of ours began, newest first.
fn boots(history: History<'_>) -> impl Iterator<Item = Instant> + '_ {
    history.newest_first().flat_map(|activity| {
        let steps = activity.spec.steps.iter().zip(&activity.steps);
        let reboots = steps.filter(|(step, _)| matches!(step.action, StepAction::Reboot { .. }));
        reboots.filter_map(|(_, status)| status.started)
    })
}

/// Whether the reason is older than a boot of ours (rule K4).
///
/// Both instants are by the machine's clock: since when the reason is there, and when the present boot was. So is its
/// skew no matter, and neither is who rebooted after us.
fn is_ineffective(machine: &Machine, reported: &Reported, history: History<'_>) -> bool {
    let Some(required) = &reported.report.reboot_required else { return false };
    let ours = history.newest_first().any(|activity| {
        activity.phase == Phase::Succeeded
            && activity.spec.name.number > machine.retried_through
            && activity.spec.steps.iter().any(|step| matches!(step.action, StepAction::Reboot { .. }))
    });
    ours && required.since <= reported.report.boot.time
}
