//! Who counts as unavailable, against which number (rules B1 to B4, B6): counted anew from facts at every start.
//!
//! Where a fact may not have been known yet (`World::lag`), the number is the one that blames less.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use muster_model::{
    AbsentMachines, ActivityName, BaselineRef, Instant, MachineName, Mode, ObjectName, PackageKey, Phase,
    Share, StepAction,
};

use crate::event::{Budget, Report, Selector};
use crate::health::{is_unhealthy, may_be_unhealthy};
use crate::world::{ActivityState, MachineState, Presence, World};

/// A number and whom it is about.
#[derive(Clone, Debug)]
pub(crate) enum Group<'a> {
    Budget(&'a ObjectName),
    Baseline(&'a BaselineRef),
}

/// How a group stands.
#[derive(Debug)]
pub(crate) struct Standing {
    /// N of rule B1, at most.
    pub(crate) machines: usize,
    /// At most.
    pub(crate) allowed: usize,
    /// Machines that surely count, other than the one that starts.
    pub(crate) unavailable: BTreeSet<MachineName>,
    /// Those of them with something of ours in flight.
    pub(crate) in_flight: usize,
    /// The one that starts may be seen to count already.
    pub(crate) counted: bool,
}

impl Group<'_> {
    pub(crate) fn object(&self) -> String {
        match self {
            Self::Budget(name) => format!("DisruptionBudget/{name}"),
            Self::Baseline(baseline) => baseline.to_string(),
        }
    }

    /// Its selectors as they may be seen; empty if it may not be there, or has no number.
    fn selectors<'w>(&self, world: &'w World, at: Instant) -> Vec<&'w Selector> {
        match self {
            Self::Budget(name) => {
                let versions =
                    world.budgets.get(*name).map(|kept| kept.possible(at, world.lag)).unwrap_or_default();
                versions.into_iter().flatten().map(|budget| &budget.selector).collect()
            }
            Self::Baseline(name) => {
                let versions =
                    world.baselines.get(*name).map(|kept| kept.possible(at, world.lag)).unwrap_or_default();
                versions.into_iter().flatten().map(|baseline| &baseline.selector).collect()
            }
        }
    }

    /// Whether it restrains at all: there, in each way in which it may be seen, and with a number.
    pub(crate) fn restrains(&self, world: &World, at: Instant) -> bool {
        match self {
            Self::Budget(name) => world
                .budgets
                .get(*name)
                .is_some_and(|kept| kept.possible(at, world.lag).iter().all(Option::is_some)),
            Self::Baseline(name) => world.baselines.get(*name).is_some_and(|kept| {
                kept.possible(at, world.lag).iter().all(|baseline| {
                    baseline.is_some_and(|one| one.mode == Mode::Enforce && one.rollout.is_some())
                })
            }),
        }
    }

    /// Whether it surely selects the machine.
    pub(crate) fn surely(&self, world: &World, machine: &MachineState, at: Instant) -> bool {
        let selectors = self.selectors(world, at);
        !selectors.is_empty() && selectors.iter().all(|selector| machine.surely(selector, at, world.lag))
    }

    fn maybe(&self, world: &World, machine: &MachineState, at: Instant) -> bool {
        self.selectors(world, at).iter().any(|selector| machine.maybe(selector, at, world.lag))
    }

    /// The largest number that it may be seen to allow of so many machines (rule B1).
    fn allowed(&self, world: &World, at: Instant, machines: usize) -> usize {
        match self {
            Self::Budget(name) => {
                let versions =
                    world.budgets.get(*name).map(|kept| kept.possible(at, world.lag)).unwrap_or_default();
                versions
                    .into_iter()
                    .flatten()
                    .map(|budget| allowed(budget, machines))
                    .max()
                    .unwrap_or(usize::MAX)
            }
            Self::Baseline(name) => {
                let versions =
                    world.baselines.get(*name).map(|kept| kept.possible(at, world.lag)).unwrap_or_default();
                let rollouts =
                    versions.into_iter().flatten().filter_map(|baseline| baseline.rollout.as_ref());
                rollouts.map(|rollout| at_most(rollout.max_unavailable, machines)).max().unwrap_or(usize::MAX)
            }
        }
    }

    /// Whether silent machines of which nothing of ours is open count here (rule B4), however it may be seen.
    fn counts_absent(&self, world: &World, at: Instant) -> (bool, bool) {
        match self {
            Self::Budget(name) => {
                let versions =
                    world.budgets.get(*name).map(|kept| kept.possible(at, world.lag)).unwrap_or_default();
                let mut counts =
                    versions.into_iter().flatten().map(|budget| budget.absent == AbsentMachines::Count);
                (counts.clone().all(|counts| counts), counts.any(|counts| counts))
            }
            Self::Baseline(_) => (false, false),
        }
    }
}

/// How many of `machines` a budget lets be unavailable.
pub(crate) fn allowed(budget: &Budget, machines: usize) -> usize {
    match (budget.max_unavailable, budget.min_available) {
        (Some(share), None) => at_most(share, machines),
        (None, Some(share)) => machines.saturating_sub(at_least(share, machines)),
        // One of the two, says the schema; of both the stricter.
        (Some(most), Some(least)) => {
            at_most(most, machines).min(machines.saturating_sub(at_least(least, machines)))
        }
        (None, None) => usize::MAX,
    }
}

/// The floor, but at least 1 of a percentage above 0 (rule B1).
fn at_most(share: Share, machines: usize) -> usize {
    match share {
        Share::Count(count) => count as usize,
        Share::Percent(percent) => {
            let floor = machines * usize::from(percent) / 100;
            if percent > 0 && machines > 0 { floor.max(1) } else { floor }
        }
    }
}

/// The ceiling (rule B1).
fn at_least(share: Share, machines: usize) -> usize {
    match share {
        Share::Count(count) => count as usize,
        Share::Percent(percent) => (machines * usize::from(percent)).div_ceil(100),
    }
}

/// The floor, without a minimum (rule O3).
pub(crate) fn floor(share: Share, machines: usize) -> usize {
    match share {
        Share::Count(count) => count as usize,
        Share::Percent(percent) => machines * usize::from(percent) / 100,
    }
}

/// Counts a group at a start on `starting`.
pub(crate) fn standing(world: &World, group: &Group<'_>, starting: &MachineName, at: Instant) -> Standing {
    let mut standing =
        Standing { machines: 0, allowed: 0, unavailable: BTreeSet::new(), in_flight: 0, counted: false };
    for (name, machine) in &world.machines {
        let ours = ours(world, name, at);
        let charged = match group {
            Group::Budget(budget) => ours.charged.contains(*budget),
            Group::Baseline(baseline) => ours.in_flight && ours.served.contains(*baseline),
        };
        let (surely, maybe) = (group.surely(world, machine, at), group.maybe(world, machine, at));
        if !charged && !maybe {
            continue;
        }
        let quiet = silence(world, machine, at);
        let by_us = ours.in_flight || ours.settling || ours.failed;
        let (always, sometimes) = group.counts_absent(world, at);
        if maybe && machine.counts(at, world.lag, false) {
            // A silent one leaves N where it does not count; it stays where nobody may know yet.
            let leaves = !by_us && quiet.is_surely_silent && !sometimes;
            standing.machines += usize::from(!leaves);
        }
        let member = surely && machine.counts(at, world.lag, true);
        // Deletion frees the place at once, until it is seen that a machine of the name is there again (rule B4).
        let there = machine.spec.possible(at, world.lag).iter().all(Option::is_some);
        let counts = (member || charged && there) && by_us
            || member && quiet.is_surely_silent && always && !quiet.is_resolved
            || member && !quiet.may_be_silent && is_unhealthy(world, name, machine, at);
        // Who may be seen to count already takes no second place (rule B3).
        if *name == *starting {
            let may = (maybe || charged) && (by_us || ours.may_settle || may_be_ours(world, name, at))
                || maybe && quiet.may_be_silent && sometimes
                || maybe && may_be_unhealthy(world, name, machine, at);
            standing.counted = counts || may;
            continue;
        }
        if counts {
            standing.unavailable.insert(name.clone());
            standing.in_flight += usize::from(ours.in_flight);
        }
    }
    standing.allowed = group.allowed(world, at, standing.machines);
    standing
}

/// What we did on a machine that still counts.
#[derive(Default)]
struct Ours<'w> {
    in_flight: bool,
    settling: bool,
    /// By the longest `minReady` that may be seen: an edit makes a success settle again.
    may_settle: bool,
    failed: bool,
    charged: BTreeSet<&'w ObjectName>,
    /// By what is in flight.
    served: BTreeSet<&'w BaselineRef>,
}

fn ours<'w>(world: &'w World, machine: &MachineName, at: Instant) -> Ours<'w> {
    // A machine made anew under an old name is another one: what the old one finished says nothing of it.
    let uid = world.machines.get(machine).and_then(|machine| machine.spec.now()).map(|spec| &spec.uid);
    let is_its_own = |activity: &&ActivityState| {
        !activity.phase.is_finished() || uid.is_none_or(|uid| *uid == activity.spec.machine_uid)
    };
    // What was decided later knew of this start, and not the other way round.
    let is_before = |activity: &&ActivityState| activity.decided <= at;
    count_ours(world, world.history(machine).rev().filter(is_its_own).filter(is_before), machine, at)
}

fn count_ours<'w>(
    world: &'w World,
    newest_first: impl Iterator<Item = &'w ActivityState>,
    machine: &MachineName,
    at: Instant,
) -> Ours<'w> {
    let mut ours = Ours::default();
    let mut later_success = false;
    for activity in newest_first {
        let holds = match activity.phase {
            Phase::Pending | Phase::Delivered | Phase::Running | Phase::Verifying => {
                let holds = activity.is_in_flight();
                ours.in_flight |= holds;
                holds
            }
            Phase::Succeeded => {
                later_success = true;
                let (shortest, longest) = min_ready(world, activity, at);
                let settling = activity.age(at).is_some_and(|age| age < shortest);
                ours.settling |= settling;
                ours.may_settle |= activity.age(at).is_some_and(|age| age < longest);
                settling
            }
            Phase::Failed => {
                let failed = !later_success && is_unresolved(world, machine, activity, at);
                ours.failed |= failed;
                failed
            }
            Phase::Refused | Phase::Interrupted | Phase::Canceled | Phase::Expired => false,
        };
        if holds {
            ours.charged.extend(&activity.spec.budgets);
        }
        if activity.is_in_flight() {
            ours.served.extend(activity.spec.steps.iter().flat_map(|step| &step.baselines));
        }
    }
    ours
}

/// Whether what we did there may still be seen to count: a moment ago it did.
fn may_be_ours(world: &World, machine: &MachineName, at: Instant) -> bool {
    let before = count_ours(world, world.history(machine).rev(), machine, at - world.lag);
    let unseen = |activity: &ActivityState| {
        let since = world.machines.get(machine).and_then(|machine| machine.report.since());
        activity.phase == Phase::Failed && since.is_some_and(|since| !world.was_known(since, at))
    };
    let failures = world.history(machine).rev().take_while(|activity| activity.phase != Phase::Succeeded);
    before.settling || before.failed || failures.into_iter().any(unseen)
}

/// The longest `minReady` of the baselines that it served: each as short, and each as long, as it may be seen.
fn min_ready(world: &World, activity: &ActivityState, at: Instant) -> (SignedDuration, SignedDuration) {
    let served = activity.spec.steps.iter().flat_map(|step| &step.baselines);
    let of = |baseline: &BaselineRef| {
        let versions =
            world.baselines.get(baseline).map(|kept| kept.possible(at, world.lag)).unwrap_or_default();
        let lengths = versions.into_iter().map(|baseline| {
            let rollout = baseline.and_then(|baseline| baseline.rollout.as_ref());
            rollout.map_or(SignedDuration::ZERO, |rollout| rollout.min_ready.length())
        });
        let (shortest, longest) = (lengths.clone().min(), lengths.max());
        (shortest.unwrap_or_default(), longest.unwrap_or_default())
    };
    let of_all = served.map(of);
    of_all.fold(Default::default(), |(a, b), (shortest, longest)| (a.max(shortest), b.max(longest)))
}

/// A failure that still counts: nobody resolved it, and no later report shows what it was to reach (rule B2), whichever
/// report was the last that was seen.
fn is_unresolved(world: &World, name: &MachineName, activity: &ActivityState, at: Instant) -> bool {
    let Some(machine) = world.machines.get(name) else { return false };
    let Some(spec) = machine.spec.now() else { return false };
    if spec.uid != activity.spec.machine_uid || activity.spec.name.number <= spec.resolved_through {
        return false;
    }
    // By each report that may be the last that was seen: a newer one does not make what was resolved count again.
    let reports = machine.report.possible(at, world.lag);
    reports.into_iter().all(|report| report.is_none_or(|report| leaves_unresolved(report, activity, at)))
}

fn leaves_unresolved(report: &Report, activity: &ActivityState, at: Instant) -> bool {
    let later = activity.finished.is_some_and(|finished| report.received > finished)
        || report.last_activity >= activity.spec.name.number;
    if !later || !shows_reached(report, activity) {
        return true;
    }
    let settle = SignedDuration::from_secs(i64::from(activity.spec.health.settle_seconds));
    report.received + settle > at
}

/// Whether a report shows all that an activity was to reach, healthy.
pub(crate) fn shows_reached(report: &Report, activity: &ActivityState) -> bool {
    let package = |key: &PackageKey| report.packages.iter().find(|package| package.key() == *key);
    let steps = activity.spec.steps.iter().all(|step| match &step.action {
        StepAction::InstallPackages(_) | StepAction::RemovePackages(_) => {
            step.requested().all(|change| match package(&change.package) {
                Some(found) => found.installed == change.to && !found.broken,
                None => change.to.is_none(),
            })
        }
        StepAction::HoldPackages { hold, unhold: _ } => {
            hold.iter().all(|key| package(key).is_some_and(|found| found.held))
        }
        StepAction::RepairPackages => !report.dpkg_interrupted,
        // What was chosen for one boot shows in the boot.
        StepAction::SelectKernel(_) => true,
        StepAction::Reboot { kernel, command_line } => {
            !report.reboot_required
                && kernel.as_ref().is_none_or(|kernel| *kernel == report.kernel)
                && command_line.fits(&report.command_line)
        }
        StepAction::SetDefaultKernel(choice) => {
            choice.is_booted(&report.kernel, &report.command_line)
                && report.next_boot.as_ref().is_none_or(|next| *next == choice.release)
        }
    });
    steps && activity.spec.health.units.is_disjoint(&report.failed_units)
}

/// A machine's silence (rules B2, B4).
pub(crate) struct Silence {
    /// For `unreachableAfter`, over time in which a gateway was up, and known.
    pub(crate) is_surely_silent: bool,
    /// For so long by any reckoning, or no time at all: it is not heard.
    pub(crate) may_be_silent: bool,
    /// It is absent, and a person resolved that.
    pub(crate) is_resolved: bool,
}

pub(crate) fn silence(world: &World, machine: &MachineState, at: Instant) -> Silence {
    let heard = Silence { is_surely_silent: false, may_be_silent: false, is_resolved: false };
    let (Some(Presence::Silent { last_heard }), Some(since)) =
        (machine.presence.now(), machine.presence.since())
    else {
        return heard;
    };
    let Some(up) = world.gateways_up else { return Silence { may_be_silent: true, ..heard } };
    let counted = at.duration_since(up.max(*last_heard));
    let policies = world.policies(at);
    let after = |pick: fn(&crate::event::Policy) -> SignedDuration| {
        policies.iter().map(pick).max().unwrap_or(SignedDuration::ZERO)
    };
    let unreachable = after(|policy| policy.unreachable_after.length());
    let resolved = machine.spec.now().and_then(|spec| spec.absence_resolved);
    Silence {
        is_surely_silent: counted >= unreachable + world.lag && world.was_known(since, at),
        may_be_silent: true,
        is_resolved: resolved.is_some_and(|resolved| resolved >= *last_heard),
    }
}

/// Machines, for a message.
pub(crate) fn listed(names: &BTreeSet<MachineName>) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let shown: Vec<&str> = names.iter().take(8).map(MachineName::as_str).collect();
    let more = names.len().saturating_sub(shown.len());
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

/// Another activity of the machine that has its one place (rule A1).
pub(crate) fn unfinished<'w>(world: &'w World, name: &ActivityName) -> Option<&'w ActivityState> {
    world.history(&name.machine).find(|activity| activity.is_in_flight() && activity.spec.name != *name)
}
