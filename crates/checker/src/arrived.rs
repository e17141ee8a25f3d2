//! Liveness: once nothing goes wrong any more, and windows were open for long enough, the fleet has arrived.

use jiff::SignedDuration;
use muster_model::{
    BaselineKind, Cover, Instant, MachineName, Mode, RebootWhen, WindowAction, WindowsPolicy,
};

use crate::event::{ApprovalAction, Baseline, Report, Window};
use crate::items::{Item, Items, approves, paused};
use crate::target::{Target, key, target};
use crate::violation::{About, Findings};
use crate::window::{Calendar, merge};
use crate::world::{MachineState, Presence, World};

/// How densely it is looked whether a window was open.
const SAMPLE: SignedDuration = SignedDuration::from_mins(15);

/// How long an activity may stay what it is beyond its deadline: a controller has to come by.
const SLACK: SignedDuration = SignedDuration::from_mins(5);

/// Judges the world at the end of a log, if it was calm before: who should have arrived and has not.
pub(crate) fn check(
    world: &World,
    items: &Items,
    calendar: &mut Calendar,
    enough: SignedDuration,
    now: Instant,
    findings: &mut Findings<'_>,
) {
    let Some(calm) = world.calm else { return };
    for activity in world.activities.values().filter(|activity| activity.is_unfinished()) {
        let left = activity.spec.steps.iter().map(|step| step.timeout.length()).max().unwrap_or_default();
        let settle = SignedDuration::from_secs(i64::from(activity.spec.health.settle_seconds)) * 2;
        let last = activity.started.iter().chain(&activity.completed).flatten().max().copied();
        let due =
            last.unwrap_or(activity.spec.expiry) + left + settle + SignedDuration::from_mins(10) + SLACK;
        if due < now && world.epoch > 0 {
            let message = format!("it is {} still, and was due by {due}", activity.phase.as_str());
            findings.broken("A4", "NeverEnded", About::Activity(&activity.spec.name), [], message);
        }
    }
    if world.policy.now().is_some_and(|policy| policy.suspend) {
        return;
    }
    for (name, machine) in &world.machines {
        let (Some(spec), Some(report)) = (machine.spec.now(), machine.report.now()) else { continue };
        let heard = matches!(machine.presence.now(), Some(Presence::Heard));
        let under_way = world.history(name).any(|activity| activity.is_in_flight());
        if !heard
            || !spec.admitted
            || spec.revoked
            || spec.suspend
            || under_way
            || machine.verdict == "Blocked"
        {
            continue;
        }
        for (cover, baseline, what) in lacks(world, items, name, machine, report, now) {
            if open_for(world, machine, cover, calm, now, calendar) < enough {
                continue;
            }
            let message = format!("{what}, though windows were open for {enough:#} and more since {calm}");
            let objects = [baseline.reference().to_string()];
            findings.broken("P2", "NeverArrived", About::Machine(name), objects, message);
        }
    }
}

/// What a machine lacks that nothing stands in the way of.
fn lacks<'w>(
    world: &'w World,
    items: &Items,
    name: &MachineName,
    machine: &MachineState,
    report: &Report,
    at: Instant,
) -> Vec<(Cover, &'w Baseline, String)> {
    let zero = SignedDuration::ZERO;
    let now = machine.reported.unwrap_or(Instant::MIN);
    let mut lacking = Vec::new();
    let enforced: Vec<&Baseline> = world
        .baselines
        .values()
        .filter_map(|kept| kept.now())
        .filter(|one| one.mode == Mode::Enforce && machine.surely(&one.selector, now, zero))
        .collect();
    for baseline in &enforced {
        if baseline.kind != BaselineKind::PackageBaseline {
            continue;
        }
        for requirement in &baseline.packages {
            let Target::Change(to) = target(requirement, report) else { continue };
            let package = key(requirement, &report.architecture);
            let shared = enforced
                .iter()
                .filter(|other| other.packages.iter().any(|asked| asked.name == package.name))
                .count();
            let item = Item { baseline: baseline.reference(), package, to };
            if shared == 1 && !is_held_up(world, items, name, &item, report, at) {
                lacking.push((Cover::Packages, *baseline, format!("it lacks {}", item.name())));
            }
        }
        if baseline.reboot == RebootWhen::WhenRequired && report.reboot_required {
            lacking.push((Cover::Reboot, *baseline, "it wants a reboot".to_owned()));
        }
    }
    lacking
}

/// Barred, paused, on hold, or out of attempts.
fn is_held_up(
    world: &World,
    items: &Items,
    name: &MachineName,
    item: &Item,
    report: &Report,
    now: Instant,
) -> bool {
    let barred = items.known.get(item).is_some_and(|spread| spread.barred.is_some());
    let paused = paused(world, item, now).is_some() || lacks_approval(world, item);
    let held = report.packages.iter().any(|package| package.key() == item.package && package.held);
    let failed = world
        .history(name)
        .any(|activity| activity.charged().iter().any(|step| step.is_about(&item.package, item.to.as_ref())));
    barred || paused || held || failed
}

/// Whether a wave asks for somebody's word about the item, and nobody gave it (rule O7).
fn lacks_approval(world: &World, item: &Item) -> bool {
    let baseline = world.baselines.get(&item.baseline).and_then(|kept| kept.now());
    let rollout = baseline.and_then(|baseline| baseline.rollout.as_ref());
    let asks = rollout.is_some_and(|rollout| rollout.waves.iter().any(|wave| wave.approval_required));
    let approved = world.approvals.values().any(|(approval, _)| {
        approval.action == ApprovalAction::Approve
            && approval.baseline == item.baseline
            && approves(approval, item, None)
    });
    asks && !approved
}

/// For how long steps of one kind could start on a machine, in samples.
fn open_for(
    world: &World,
    machine: &MachineState,
    cover: Cover,
    from: Instant,
    to: Instant,
    calendar: &mut Calendar,
) -> SignedDuration {
    let policy = world.policy.now().cloned().unwrap_or_default();
    let windows: Vec<&Window> = world
        .windows
        .values()
        .filter_map(|kept| kept.now())
        .filter(|window| window.covers.as_ref().is_none_or(|covers| covers.contains(&cover)))
        .filter(|window| machine.surely(&window.selector, to, SignedDuration::ZERO))
        .collect();
    if windows.iter().any(|window| window.unreadable.is_some()) || !world.unreadable.is_empty() {
        return SignedDuration::ZERO;
    }
    let (allows, denies): (Vec<&Window>, Vec<&Window>) =
        windows.into_iter().partition(|window| window.action == WindowAction::Allow);
    let needed = policy.estimate_packages.length() + policy.estimate_reboot.length();
    let mut open = SignedDuration::ZERO;
    let mut at = from;
    while at < to {
        let mut spans = |guards: &[&Window]| {
            let openings =
                guards.iter().filter_map(|window| calendar.around(window, at).ok().map(<[_]>::to_vec));
            merge(openings.flatten().collect())
        };
        let frozen = spans(&denies).iter().any(|(start, end)| *start <= at + needed && at < *end);
        let cutoff = allows.iter().map(|window| window.cutoff.length()).max().unwrap_or_default();
        let allowed = if allows.is_empty() {
            policy.windows == WindowsPolicy::Optional
        } else {
            spans(&allows).iter().any(|(start, end)| *start <= at && at + needed.max(cutoff) < *end)
        };
        if allowed && !frozen {
            open += SAMPLE;
        }
        at += SAMPLE;
    }
    open
}
