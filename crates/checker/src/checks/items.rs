//! O1, O2, O3, O6, O7: an item starts in its wave, unless it is barred, paused or waits for approval.

use muster_model::{BaselineRef, Instant, MachineName, Mode};

use crate::event::{ApprovalAction, Baseline, Rollout};
use crate::items::{
    self, Item, Items, Spread, approves, has, has_evidence, is_anywhere, is_released, items, size, unpassed,
    wants, wave_of,
};
use crate::start::Start;
use crate::target::{Target, target};
use crate::violation::{About, Findings};
use crate::world::{ActivityState, MachineState, World};

pub(crate) fn check(world: &World, start: &Start<'_>, known: &Items, findings: &mut Findings<'_>) {
    let Some(machine) = start.machine else { return };
    let nothing = Spread::default();
    for item in along(world, start, machine) {
        let spread = known.known.get(&item).unwrap_or(&nothing);
        barred(world, start, &item, spread, findings);
        paused(world, start, &item, findings);
    }
    for item in items(world, start.spec) {
        if is_overruled(world, start, &item) {
            continue;
        }
        let Some(kept) = world.baselines.get(&item.baseline) else { continue };
        // While an edit may not have been seen, the rollout of either version may go on.
        let versions = kept.possible(start.at, world.lag);
        let [Some(baseline)] = versions.as_slice() else { continue };
        let Some(rollout) = &baseline.rollout else { continue };
        let spread = known.known.get(&item).unwrap_or(&nothing);
        barred(world, start, &item, spread, findings);
        paused(world, start, &item, findings);
        // What has passed them all goes on anywhere, though another target is asked for by now (rule O4).
        if is_released(world, &item, start.at) {
            continue;
        }
        waves(world, start, machine, baseline, rollout, &item, spread, findings);
        zones(world, start, machine, rollout, &item, findings);
    }
}

/// The items that come along as what was asked for brings them: of baselines that name their packages and surely pick the
/// machine, of the highest priority alone (rule S1).
fn along(world: &World, start: &Start<'_>, machine: &MachineState) -> Vec<Item> {
    let changes = start.spec.steps.iter().flat_map(|step| step.dependencies());
    let mut found = Vec::new();
    for change in changes {
        let names = |baseline: &Baseline| {
            baseline.mode == Mode::Enforce
                && baseline.packages.iter().any(|asked| asked.name == change.package.name)
        };
        let mut naming: Vec<(i32, bool, &BaselineRef)> = Vec::new();
        for (reference, kept) in &world.baselines {
            let versions = kept.possible(start.at, world.lag);
            let picks: Vec<&Baseline> = versions
                .iter()
                .flatten()
                .copied()
                .filter(|one| names(one) && machine.maybe(&one.selector, start.at, world.lag))
                .collect();
            let surely = picks.len() == versions.len()
                && picks.iter().all(|one| machine.surely(&one.selector, start.at, world.lag));
            naming.extend(picks.iter().map(|one| one.priority).max().map(|most| (most, surely, reference)));
        }
        let highest = naming.iter().map(|(priority, ..)| *priority).max();
        let deciding =
            naming.into_iter().filter(|(priority, surely, _)| *surely && Some(*priority) == highest);
        found.extend(deciding.map(|(_, _, baseline)| Item {
            baseline: baseline.clone(),
            package: change.package.clone(),
            to: change.to.clone(),
        }));
    }
    found
}

/// Whether a baseline of higher priority asks for the package in the same step: then that one's item starts, and this
/// baseline is served by something else (rule S1).
fn is_overruled(world: &World, start: &Start<'_>, item: &Item) -> bool {
    let asks = |reference: &BaselineRef| {
        let baseline = world.baselines.get(reference).and_then(|kept| kept.now())?;
        let names = baseline.packages.iter().any(|asked| asked.name == item.package.name);
        names.then_some(baseline.priority)
    };
    let own = asks(&item.baseline);
    let carrying = start.spec.steps.iter().filter(|step| {
        step.baselines.contains(&item.baseline) && step.is_about(&item.package, item.to.as_ref())
    });
    carrying.flat_map(|step| &step.baselines).any(|other| asks(other) > own)
}

fn barred(world: &World, start: &Start<'_>, item: &Item, spread: &Spread, findings: &mut Findings<'_>) {
    if let Some((since, failed, most)) = spread.barred.filter(|(since, ..)| world.was_known(*since, start.at))
    {
        let message =
            format!("{} is barred since {since}: {failed} machines failed it, and {most} may", item.name());
        let about = About::Activity(&start.spec.name);
        findings.broken("O3", "StartedBarred", about, [item.baseline.to_string()], message);
    }
}

/// The last word about the item, by a person.
fn paused(world: &World, start: &Start<'_>, item: &Item, findings: &mut Findings<'_>) {
    if let Some((approval, since)) = items::paused(world, item, start.at) {
        let message = format!("{} is paused since {since}", item.name());
        let objects = [format!("RolloutApproval/{}", approval.name)];
        findings.broken("O7", "StartedPaused", About::Activity(&start.spec.name), objects, message);
    }
}

#[allow(clippy::too_many_arguments, reason = "what a wave is judged by")]
fn waves(
    world: &World,
    start: &Start<'_>,
    machine: &MachineState,
    baseline: &Baseline,
    rollout: &Rollout,
    item: &Item,
    spread: &Spread,
    findings: &mut Findings<'_>,
) {
    let (at, about) = (start.at, About::Activity(&start.spec.name));
    let own = wave_of(world, rollout, machine, at);
    let object = || [item.baseline.to_string()];
    // Machines that no selector picks: how many of them shares may have taken so far.
    let pool = |name: &MachineName| {
        world.machines.get(name).is_none_or(|machine| wave_of(world, rollout, machine, at).is_none())
    };
    let taken = spread.started.iter().filter(|name| pool(name) && **name != start.spec.name.machine).count();
    let machines = world
        .machines
        .values()
        .filter(|machine| {
            machine.maybe(&baseline.selector, at, world.lag) && machine.counts(at, world.lag, false)
        })
        .count();
    let mut room = 0;
    let mut asks_approval = false;
    for (place, wave) in rollout.waves.iter().enumerate() {
        if own == Some(place) {
            asks_approval = wave.approval_required;
            break;
        }
        if own.is_none() && wave.selector.is_none() {
            room += wave.machines.map_or(machines, |share| size(share, machines));
            if taken < room {
                asks_approval = wave.approval_required;
                break;
            }
        }
        if let Some(unpassed) = unpassed(world, baseline, rollout, place, item, spread, at) {
            let message = format!("{} has not passed wave {}: {}", item.name(), unpassed.wave, unpassed.why);
            findings.broken("O2", "StartedBeforeItsWave", about, object(), message);
            return;
        }
        if wave.selector.is_none()
            && !is_anywhere(world, baseline, item, at)
            && let Some((name, activity)) = in_flight_of_pool(world, spread, &pool, item)
        {
            let message = format!(
                "{} has not passed wave {}: nobody has it, and {activity} on {name} is under way",
                item.name(),
                wave.name
            );
            findings.broken("O2", "StartedBeforeItsWave", about, object(), message);
            return;
        }
    }
    if asks_approval {
        let wave = match own {
            Some(place) => rollout.waves.get(place),
            None => rollout.waves.iter().find(|wave| wave.selector.is_none() && wave.approval_required),
        };
        let Some(wave) = wave else { return };
        // What is there already, or has passed, was let in before.
        let there = own.is_some_and(|place| has_evidence(world, baseline, rollout, place, item, at));
        if spread.passed.contains(&wave.name) || (there && spread.started.is_empty()) {
            return;
        }
        let approved = world.approvals.values().any(|(approval, _)| {
            approval.action == ApprovalAction::Approve
                && approval.baseline == item.baseline
                && approves(approval, item, Some(&wave.name))
        });
        if !approved {
            let message =
                format!("wave {} asks for approval of {}, and nobody gave it", wave.name, item.name());
            findings.broken("O7", "StartedUnapproved", about, object(), message);
        }
    }
}

fn in_flight_of_pool<'w>(
    world: &'w World,
    spread: &Spread,
    pool: &impl Fn(&MachineName) -> bool,
    item: &Item,
) -> Option<(&'w MachineName, String)> {
    let mut running = world.activities.values().filter(|activity| {
        activity.is_in_flight()
            && activity.carries(item)
            && pool(&activity.spec.name.machine)
            && spread.started.contains(&activity.spec.name.machine)
    });
    running.next().map(|activity| (&activity.spec.name.machine, activity.spec.name.to_string()))
}

/// Zones take turns: nothing of an item runs in two at a time (rule O6).
fn zones(
    world: &World,
    start: &Start<'_>,
    machine: &MachineState,
    rollout: &Rollout,
    item: &Item,
    findings: &mut Findings<'_>,
) {
    let Some(zone_key) = &rollout.zone_key else { return };
    let zone =
        |machine: &MachineState| machine.spec.now().and_then(|spec| spec.labels.get(zone_key)).cloned();
    // By name, the one of machines without the label last.
    let order = |machine: &MachineState| {
        let zone = zone(machine).filter(|zone| !zone.is_empty());
        (zone.is_none(), zone)
    };
    let own = order(machine);
    let wave = wave_of(world, rollout, machine, start.at);
    // Zones take turns within a wave, and who is in one by number is not told.
    if wave.is_none() && rollout.waves.iter().any(|wave| wave.selector.is_none()) {
        return;
    }
    let of_wave = |activity: &ActivityState| {
        let other = world.machines.get(&activity.spec.name.machine);
        let zone = other.filter(|other| wave_of(world, rollout, other, start.at) == wave).map(order);
        zone.filter(|_| activity.carries(item) && activity.spec.name != start.spec.name)
    };
    // A zone that has passed stays passed: who comes to want the item there later holds up none of the zones after it, and
    // waits for none of them.
    if world.activities.values().any(|activity| of_wave(activity).is_some_and(|zone| zone >= own)) {
        return;
    }
    // A zone may be through without its last machine: the others have the item, or were not waited for.
    let may_be_through = |zone: &(bool, Option<smol_str::SmolStr>)| {
        world.machines.iter().any(|(name, machine)| {
            order(machine) == *zone
                && wave_of(world, rollout, machine, start.at) == wave
                && !world.history(name).any(|activity| activity.is_in_flight() && activity.carries(item))
                && !wants(world, name, machine, item, start.at)
        })
    };
    let in_zone = |name: &MachineName, zone: &(bool, Option<smol_str::SmolStr>)| {
        let other = world.machines.get(name);
        other.is_some_and(|other| order(other) == *zone && wave_of(world, rollout, other, start.at) == wave)
    };
    let is_before = |activity: &&ActivityState| {
        of_wave(activity).is_some_and(|zone| {
            let surely_open = || {
                let of_zone = |name: &MachineName| in_zone(name, &zone);
                let of_wave = |machine: &MachineState| wave_of(world, rollout, machine, start.at) == wave;
                goes_on(world, start, item, activity, of_zone, of_wave)
            };
            zone < own && (!may_be_through(&zone) || surely_open())
        })
    };
    let other = world.activities.values().filter(|activity| activity.is_in_flight()).find(is_before);
    if let Some(other) = other {
        let message = format!(
            "{} in zone {:?}, while {} is under way in one before it",
            item.name(),
            own.1.as_deref().unwrap_or(""),
            other.spec.name
        );
        findings.broken(
            "O6",
            "StartedInTwoZones",
            About::Activity(&start.spec.name),
            [item.baseline.to_string()],
            message,
        );
    }
}

/// Whether something of the item has been under way in a zone without a break since the item first came to anybody of its
/// wave, up to `activity`: then the zone was never through, whoever else is in it.
fn goes_on(
    world: &World,
    start: &Start<'_>,
    item: &Item,
    activity: &ActivityState,
    of_zone: impl Fn(&MachineName) -> bool,
    of_wave: impl Fn(&MachineState) -> bool,
) -> bool {
    // Its machine counts for the zone only as long as the item is what it is to have.
    if !still_wants(world, item, &activity.spec.name.machine, start.at) {
        return false;
    }
    let mut ours: Vec<&ActivityState> = world
        .activities
        .values()
        .filter(|one| !one.late && one.carries(item) && of_zone(&one.spec.name.machine))
        .collect();
    ours.sort_by_key(|one| one.created);
    let Some(first) = ours.first() else { return false };
    let decided_after = first.decided <= start.at && !ours.iter().any(|one| one.found);
    // Who has it otherwise may have let the zone pass before.
    let others_have_it = world.machines.iter().any(|(name, machine)| {
        let brought = ours.iter().any(|one| one.spec.name.machine == *name);
        of_wave(machine) && !brought && has(world, name, machine, item).is_some()
    });
    if !decided_after || others_have_it {
        return false;
    }
    let mut until = first.created;
    for one in ours {
        if one.created > until {
            return false;
        }
        until = until.max(match (one.finished, one.deleted) {
            (Some(ended), _) | (None, Some(ended)) => ended,
            (None, None) => Instant::MAX,
        });
    }
    until == Instant::MAX
}

/// Whether the item is what its baseline asks of the machine, by each report that may have been the last that was seen.
fn still_wants(world: &World, item: &Item, name: &MachineName, at: Instant) -> bool {
    let (Some(machine), Some(kept)) = (world.machines.get(name), world.baselines.get(&item.baseline)) else {
        return false;
    };
    let alone =
        world.baselines.iter().filter(|(reference, _)| **reference != item.baseline).all(|(_, kept)| {
            kept.possible(at, world.lag).into_iter().flatten().all(|other| {
                !(machine.maybe(&other.selector, at, world.lag)
                    && (other.upgrades_any()
                        || other.packages.iter().any(|one| one.name == item.package.name)))
            })
        });
    let reports = machine.report.possible(at, world.lag);
    let asks = |baseline: &Baseline| {
        let mut named = baseline.packages.iter().filter(|one| one.name == item.package.name);
        let (Some(asked), None) = (named.next(), named.next()) else { return false };
        machine.surely(&baseline.selector, at, world.lag)
            && reports.iter().all(|report| {
                report.is_some_and(|report| target(asked, report) == Target::Change(item.to.clone()))
            })
    };
    alone && kept.possible(at, world.lag).into_iter().all(|one| one.is_some_and(asks))
}
