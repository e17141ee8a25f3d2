//! How items spread (rules O1 to O7), followed from the log: who failed one, who has it, which waves it has passed.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{BaselineRef, DebianVersion, Instant, MachineName, PackageKey, Phase, Share};

use crate::booted::is_installed_only;
use crate::event::{Approval, ApprovalAction, Baseline, Event, Rollout, Wave, What};
use crate::target::{Target, target};
use crate::unavailable::floor;
use crate::world::{MachineState, Presence, World};

/// What is on record of a rollout is on record in whole seconds.
const WHOLE_SECONDS: jiff::SignedDuration = jiff::SignedDuration::from_secs(1);

/// An exact target of a baseline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Item {
    pub(crate) baseline: BaselineRef,
    pub(crate) package: PackageKey,
    /// `None`: gone.
    pub(crate) to: Option<DebianVersion>,
}

impl Item {
    pub(crate) fn name(&self) -> String {
        match &self.to {
            Some(to) => format!("{} {to}", self.package),
            None => format!("{} away", self.package),
        }
    }
}

/// What is remembered of one item.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spread {
    /// Machines that something of it was started on.
    pub(crate) started: BTreeSet<MachineName>,
    /// Since when too many machines have failed it, and how many of how many may.
    pub(crate) barred: Option<(Instant, usize, usize)>,
    /// Names of waves that it has passed, for good.
    pub(crate) passed: BTreeSet<smol_str::SmolStr>,
}

/// All items that anything was started for.
#[derive(Debug, Default)]
pub(crate) struct Items {
    pub(crate) known: BTreeMap<Item, Spread>,
}

/// Why a wave has not passed an item.
pub(crate) struct Unpassed {
    pub(crate) wave: smol_str::SmolStr,
    pub(crate) why: String,
}

impl Items {
    /// Remembers which waves are passed by now, before an event changes who they are.
    pub(crate) fn settle(&mut self, world: &World, event: &Event) {
        let moves = matches!(
            event.event,
            What::Machine(_)
                | What::MachineGone { .. }
                | What::Baseline(_)
                | What::Report(_)
                | What::Silent { .. }
                | What::ActivityCreated(_)
        );
        if !moves {
            return;
        }
        for (item, spread) in &mut self.known {
            let Some(baseline) = world.baselines.get(&item.baseline).and_then(|kept| kept.now()) else {
                continue;
            };
            let Some(rollout) = &baseline.rollout else { continue };
            for (place, wave) in rollout.waves.iter().enumerate() {
                if spread.passed.contains(&wave.name) {
                    continue;
                }
                // Whoever resumed it let it pass over a wave without evidence: what that brings later soaks for itself.
                let evident = has_evidence(world, baseline, rollout, place, item, event.time)
                    || resumed(world, item).is_some();
                if !evident || unpassed(world, baseline, rollout, place, item, spread, event.time).is_some() {
                    break;
                }
                spread.passed.insert(wave.name.clone());
            }
        }
    }

    /// Takes in an event, after the world has.
    pub(crate) fn follow(&mut self, world: &World, event: &Event) {
        match &event.event {
            What::Anew {} => self.known.clear(),
            What::ActivityCreated(created) => self.started(world, &created.spec.name),
            What::ActivityFound(found) => self.started(world, &found.spec.name),
            What::ActivityFinished(finished) if finished.phase == Phase::Failed => {
                self.bar(world, &finished.name, event.time);
            }
            // Another target, or another rollout, goes on.
            What::Baseline(baseline) => {
                let reference = baseline.reference();
                self.known.retain(|item, _| {
                    item.baseline != reference
                        || baseline
                            .packages
                            .iter()
                            .any(|asked| asked.name == item.package.name && asks_for(asked, item.to.as_ref()))
                        || baseline.upgrades_any()
                });
            }
            What::BaselineGone { baseline } => self.known.retain(|item, _| item.baseline != *baseline),
            What::Approval(approval) if approval.action == ApprovalAction::Resume => {
                for (item, spread) in &mut self.known {
                    if item.baseline == approval.baseline && approves(approval, item, None) {
                        spread.barred = None;
                    }
                }
            }
            _ => {}
        }
    }

    fn started(&mut self, world: &World, name: &muster_model::ActivityName) {
        let Some(activity) = world.activities.get(name).filter(|activity| !activity.late) else { return };
        for item in items(world, &activity.spec) {
            self.known.entry(item).or_default().started.insert(name.machine.clone());
        }
    }

    /// A failure counts against its items, for the wave and over all (rule O3).
    fn bar(&mut self, world: &World, name: &muster_model::ActivityName, now: Instant) {
        let Some(activity) = world.activities.get(name) else { return };
        for item in items(world, &activity.spec) {
            let Some(baseline) = world.baselines.get(&item.baseline).and_then(|kept| kept.now()) else {
                continue;
            };
            let Some(rollout) = &baseline.rollout else { continue };
            let spread = self.known.entry(item.clone()).or_default();
            let members = members(world, baseline, now);
            let resumed = resumed(world, &item);
            let failed =
                members.iter().filter(|machine| failures(world, machine, &item, resumed) > 0).count();
            let most = floor(rollout.max_failures, members.len());
            if failed > most && spread.barred.is_none() {
                spread.barred = Some((now, failed, most));
            }
        }
    }
}

pub(crate) fn asks_for(asked: &crate::event::Requirement, to: Option<&DebianVersion>) -> bool {
    match (asked.state, to) {
        (muster_model::PackageWish::Absent, to) => to.is_none(),
        (muster_model::PackageWish::Present, None) => false,
        (muster_model::PackageWish::Present, Some(to)) => {
            muster_model::VersionRequirement::parse(&asked.version)
                .is_ok_and(|wanted| wanted.satisfied_by(to))
        }
    }
}

/// The items that an activity carries: what its baselines ask for. Of those that name a package the highest priority alone
/// has a say about it (rule S1).
pub(crate) fn items(world: &World, spec: &crate::event::ActivitySpec) -> Vec<Item> {
    let mut found = Vec::new();
    for step in &spec.steps {
        let served: Vec<&Baseline> = step
            .baselines
            .iter()
            .filter_map(|reference| world.baselines.get(reference).and_then(|kept| kept.now()))
            .collect();
        for change in step.requested() {
            let names = |one: &Baseline| one.packages.iter().any(|asked| asked.name == change.package.name);
            let highest = served.iter().filter(|one| names(one)).map(|one| one.priority).max();
            let asking = served
                .iter()
                .filter(|one| if names(one) { Some(one.priority) == highest } else { one.upgrades_any() });
            found.extend(asking.map(|one| Item {
                baseline: one.reference(),
                package: change.package.clone(),
                to: change.to.clone(),
            }));
        }
    }
    found
}

/// Whether an approval is about the item, and the wave where one is asked about.
pub(crate) fn approves(approval: &Approval, item: &Item, wave: Option<&str>) -> bool {
    let named = approval.item.as_ref().is_none_or(|pattern| {
        pattern.package.as_ref().is_none_or(|package| *package == item.package.name)
            && pattern.architecture.as_ref().is_none_or(|one| *one == item.package.architecture)
            && pattern.version.as_ref().is_none_or(|version| Some(version) == item.to.as_ref())
    });
    named && wave.is_none_or(|wave| approval.wave.as_ref().is_none_or(|named| named == wave))
}

/// The pause that is the last word about an item, by a person, and since when it is known. What ends it counts at once.
pub(crate) fn paused<'w>(world: &'w World, item: &Item, at: Instant) -> Option<(&'w Approval, Instant)> {
    let about_it = world.approvals.values().filter(|(approval, since)| {
        approval.action != ApprovalAction::Approve
            && approval.baseline == item.baseline
            && approves(approval, item, None)
            && (approval.action == ApprovalAction::Resume || world.was_known(*since, at))
    });
    let last = about_it.max_by_key(|(approval, since)| (*since, approval.created))?;
    (last.0.action == ApprovalAction::Pause).then_some((&last.0, last.1))
}

/// Whether a baseline's rollout has the item on record as released, as somebody may see it at `at` (rule O4).
pub(crate) fn is_released(world: &World, item: &Item, at: Instant) -> bool {
    let Some(kept) = world.released.get(&item.baseline) else { return false };
    let versions = kept.possible(at, world.lag);
    let mut items = versions.into_iter().flatten().flat_map(|released| &released.items);
    items.any(|one| one.package == item.package && one.to == item.to)
}

/// When a person last let the item go on: failures before that count no more (rule O3).
fn resumed(world: &World, item: &Item) -> Option<Instant> {
    let about_it = world.approvals.values().filter(|(approval, _)| {
        approval.action == ApprovalAction::Resume
            && approval.baseline == item.baseline
            && approves(approval, item, None)
    });
    about_it.map(|(_, since)| *since).max()
}

/// The machines of a baseline that counts are taken of.
fn members<'w>(world: &'w World, baseline: &Baseline, at: Instant) -> Vec<&'w MachineName> {
    let selected = world.machines.iter().filter(|(_, machine)| {
        machine.maybe(&baseline.selector, at, world.lag) && machine.counts(at, world.lag, false)
    });
    selected.map(|(name, _)| name).collect()
}

/// The first wave with a selector that picks the machine; `None`: a share, or the rest.
pub(crate) fn wave_of(
    world: &World,
    rollout: &Rollout,
    machine: &MachineState,
    at: Instant,
) -> Option<usize> {
    rollout.waves.iter().position(|wave| {
        wave.selector.as_ref().is_some_and(|selector| machine.maybe(selector, at, world.lag))
    })
}

/// How many machines a wave by number takes, at most.
pub(crate) fn size(share: Share, of: usize) -> usize {
    match share {
        Share::Count(count) => count as usize,
        Share::Percent(percent) => (of * usize::from(percent)).div_ceil(100),
    }
}

/// The machines of a wave with a selector.
fn wave_members<'w>(
    world: &'w World,
    baseline: &Baseline,
    rollout: &Rollout,
    place: usize,
    at: Instant,
) -> Vec<(&'w MachineName, &'w MachineState)> {
    members(world, baseline, at)
        .into_iter()
        .filter_map(|name| Some((name, world.machines.get(name)?)))
        .filter(|(_, machine)| wave_of(world, rollout, machine, at) == Some(place))
        .collect()
}

/// How often a machine has failed the item, as far as that still counts.
fn failures(world: &World, name: &MachineName, item: &Item, resumed: Option<Instant>) -> usize {
    let Some(spec) = world.machines.get(name).and_then(|machine| machine.spec.now()) else { return 0 };
    let counts = |activity: &&crate::world::ActivityState| {
        activity.spec.machine_uid == spec.uid
            && activity.spec.name.number > spec.retried_through
            && resumed.is_none_or(|resumed| activity.finished.is_some_and(|finished| finished > resumed))
            && activity.charged().iter().any(|step| {
                step.baselines.contains(&item.baseline) && step.is_about(&item.package, item.to.as_ref())
            })
    };
    world.history(name).filter(counts).count()
}

/// Since when the machine has the item, at the earliest: we brought it, or it was reported; `None`: it does not.
pub(crate) fn has(world: &World, name: &MachineName, machine: &MachineState, item: &Item) -> Option<Instant> {
    let report = machine.report.now()?;
    let package = report.packages.iter().find(|package| package.key() == item.package);
    let is = match (package, &item.to) {
        (Some(package), to) => package.installed == *to && !package.broken,
        (None, to) => to.is_none(),
    };
    let mut brought = world
        .history(name)
        .filter(|activity| activity.phase == Phase::Succeeded && activity.carries(item))
        .filter_map(|activity| activity.finished);
    let reported = machine.versions_since.get(&item.package).copied().unwrap_or(Instant::MIN);
    is.then(|| brought.next_back().map_or(reported, |brought| brought.min(reported)))
}

/// Whether the item is surely the machine's target by this baseline: nobody else has a say about the package there.
pub(crate) fn wants(
    world: &World,
    name: &MachineName,
    machine: &MachineState,
    item: &Item,
    at: Instant,
) -> bool {
    let Some(report) = machine.report.now() else { return false };
    let Some(spec) = machine.spec.now() else { return false };
    let silent = !matches!(machine.presence.now(), Some(Presence::Heard));
    let packages = report.packages.iter().find(|package| package.key() == item.package);
    if silent || spec.suspend || packages.is_some_and(|package| package.held) || machine.verdict == "Blocked"
    {
        return false;
    }
    let mut asked = false;
    for (reference, kept) in &world.baselines {
        let Some(baseline) = kept.now().filter(|one| machine.maybe(&one.selector, at, world.lag)) else {
            continue;
        };
        let names = baseline.packages.iter().filter(|one| one.name == item.package.name).collect::<Vec<_>>();
        if *reference != item.baseline {
            if !names.is_empty() || baseline.upgrades_any() {
                return false;
            }
            continue;
        }
        let [requirement] = names.as_slice() else { return false };
        asked = target(requirement, report) == Target::Change(item.to.clone());
    }
    asked && world.history(name).all(|activity| !activity.is_in_flight())
}

/// Some machine of the baseline has the item.
pub(crate) fn is_anywhere(world: &World, baseline: &Baseline, item: &Item, at: Instant) -> bool {
    members(world, baseline, at)
        .into_iter()
        .any(|name| world.machines.get(name).is_some_and(|machine| has(world, name, machine, item).is_some()))
}

/// At least one machine of a wave has the item.
pub(crate) fn has_evidence(
    world: &World,
    baseline: &Baseline,
    rollout: &Rollout,
    place: usize,
    item: &Item,
    at: Instant,
) -> bool {
    let wave = &rollout.waves[place];
    wave.selector.is_some()
        && wave_members(world, baseline, rollout, place, at)
            .iter()
            .any(|(name, machine)| has(world, name, machine, item).is_some())
}

/// Why a wave with a selector has surely not passed the item (rule O2); `None`: it may have.
pub(crate) fn unpassed(
    world: &World,
    baseline: &Baseline,
    rollout: &Rollout,
    place: usize,
    item: &Item,
    spread: &Spread,
    at: Instant,
) -> Option<Unpassed> {
    let wave: &Wave = &rollout.waves[place];
    if wave.selector.is_none() || spread.passed.contains(&wave.name) {
        return None;
    }
    let members = wave_members(world, baseline, rollout, place, at);
    let no = |why: String| Some(Unpassed { wave: wave.name.clone(), why });
    // Whoever resumed an item lets it pass over waves that can bring no evidence.
    let resumed = resumed(world, item);
    if members.is_empty() {
        return resumed.map_or_else(|| no("it picks no machine".to_owned()), |_| None);
    }
    let most = floor(wave.max_failures.unwrap_or(rollout.max_failures), members.len());
    let failed = members.iter().filter(|(name, _)| failures(world, name, item, resumed) > 0).count();
    if failed > most {
        return no(format!("{failed} of its machines failed it, and {most} may"));
    }
    let mut evidence = false;
    let mut wanting = None;
    for (name, machine) in &members {
        // It came to the wave after somebody let the item pass over it: then the wave may have passed it without this one.
        if resumed.is_some_and(|resumed| machine.spec.since().is_some_and(|since| since > resumed)) {
            continue;
        }
        if let Some(activity) =
            world.history(name).find(|activity| activity.is_in_flight() && activity.carries(item))
        {
            return no(format!("{} is under way", activity.spec.name));
        }
        match has(world, name, machine, item) {
            // A wave judges only machines whose target the item is.
            Some(_) if may_want_another(world, baseline, machine, item, at) => {}
            // Its packages are there, and it failed: not healthy, or back on the kernel before. That is no success that soaks.
            Some(_) if failed_last(world, name, item) => {}
            Some(_) if is_installed_only(world, baseline, name, machine, item, at) => {
                return no(format!("{name} has it installed and does not run it"));
            }
            Some(since) => {
                evidence = true;
                let soaked = since.saturating_add(wave.soak.length()).unwrap_or(Instant::MAX);
                if soaked > at + world.lag + WHOLE_SECONDS && started_there(world, name, item) {
                    return no(format!("{name} has it since {since}, and it soaks until {soaked}"));
                }
            }
            None if failures(world, name, item, None) >= 4 => {}
            None if wants(world, name, machine, item, at) && world.lag.is_zero() => wanting = Some(*name),
            None => {}
        }
    }
    match wanting {
        Some(_) if !evidence && resumed.is_some() => None,
        Some(name) if !evidence => no(format!("none of its machines has it, and {name} wants it")),
        Some(name) => no(format!("{name} wants it still")),
        None => None,
    }
}

/// A machine that has the item may be seen to have another target by the same baseline by now.
fn may_want_another(
    world: &World,
    baseline: &Baseline,
    machine: &MachineState,
    item: &Item,
    at: Instant,
) -> bool {
    let asked = baseline.packages.iter().find(|asked| asked.name == item.package.name);
    let reports = machine.report.possible(at, world.lag);
    asked.is_some_and(|asked| {
        let mut targets = reports.into_iter().flatten().map(|report| target(asked, report));
        targets.any(|target| matches!(target, Target::Change(to) if to != item.to))
    })
}

/// What we last did there for the item failed.
fn failed_last(world: &World, name: &MachineName, item: &Item) -> bool {
    let mut ended = world
        .history(name)
        .filter(|one| matches!(one.phase, Phase::Succeeded | Phase::Failed) && one.carries(item));
    ended.next_back().is_some_and(|last| last.phase == Phase::Failed)
}

/// We brought the item there.
fn started_there(world: &World, name: &MachineName, item: &Item) -> bool {
    world.history(name).any(|activity| !activity.found && activity.carries(item))
}

impl crate::world::ActivityState {
    /// Whether it asks for the item.
    pub(crate) fn carries(&self, item: &Item) -> bool {
        self.spec.steps.iter().any(|step| {
            step.baselines.contains(&item.baseline) && step.is_about(&item.package, item.to.as_ref())
        })
    }
}
