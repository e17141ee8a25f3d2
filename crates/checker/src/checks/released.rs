//! O2, O4: what is said to be released was asked for, and has passed its waves; what is enforced meanwhile is the last of
//! it.

use muster_model::{Change, DebianVersion, Instant, PackageKey};

use crate::event::{Baseline, Event, Released, ReleasedItem, Requirement, What};
use crate::items::{Item, Items, Spread, asks_for, paused, unpassed};
use crate::violation::{About, Findings};
use crate::world::World;

/// Judges what a record newly says.
pub(crate) fn check(world: &World, event: &Event, known: &Items, findings: &mut Findings<'_>) {
    let What::Released(released) = &event.event else { return };
    if released.found {
        return;
    }
    let before = world.released.get(&released.baseline).and_then(|kept| kept.now());
    for item in &released.items {
        let stood = before.is_some_and(|before| {
            before.items.iter().any(|old| old.package == item.package && old.to == item.to)
        });
        if !stood {
            judge(world, event.time, released, item, known, findings);
        }
    }
}

fn judge(
    world: &World,
    now: Instant,
    released: &Released,
    item: &ReleasedItem,
    known: &Items,
    findings: &mut Findings<'_>,
) {
    let ReleasedItem { package, to, since: _ } = item;
    let item = Item { baseline: released.baseline.clone(), package: package.clone(), to: to.clone() };
    let object = || [released.baseline.to_string()];
    let Some(kept) = world.baselines.get(&released.baseline) else {
        let message = format!("{} is said to be released, and there is no such baseline", item.name());
        return findings.broken("O4", "ReleasedUnasked", About::Fleet, object(), message);
    };
    let versions: Vec<&Baseline> = kept.possible(now, world.lag).into_iter().flatten().collect();
    if !versions.iter().any(|baseline| may_ask(baseline, package, to.as_ref())) {
        let message = format!("{} is said to be released, and is not what is asked for", item.name());
        return findings.broken("O4", "ReleasedUnasked", About::Fleet, object(), message);
    }
    // While an edit may not have been seen, the waves of either version may have passed it.
    let [baseline] = versions.as_slice() else { return };
    let Some(rollout) = &baseline.rollout else { return };
    let nothing = Spread::default();
    let spread = known.known.get(&item).unwrap_or(&nothing);
    let unpassed = (0..rollout.waves.len())
        .find_map(|place| unpassed(world, baseline, rollout, place, &item, spread, now));
    if let Some(unpassed) = unpassed {
        let message = format!(
            "{} is said to be released, and has not passed wave {}: {}",
            item.name(),
            unpassed.wave,
            unpassed.why
        );
        findings.broken("O2", "ReleasedTooEarly", About::Fleet, object(), message);
    }
}

fn may_ask(baseline: &Baseline, package: &PackageKey, to: Option<&DebianVersion>) -> bool {
    let named = baseline.packages.iter().any(|asked| {
        asked.name == package.name
            && asked.architecture.as_ref().is_none_or(|one| *one == package.architecture)
            && asks_for(asked, to)
    });
    named || baseline.upgrades_any()
}

/// Whether the change brings what a baseline enforces where its newer target has yet to come: the last item of the package
/// that was released, but for those that are what it asks for by now, or that people paused.
pub(crate) fn enforces(
    world: &World,
    baseline: &Baseline,
    requirement: &Requirement,
    change: &Change,
    at: Instant,
) -> bool {
    let Some(kept) = world.released.get(&baseline.reference()) else { return false };
    kept.possible(at, world.lag).into_iter().flatten().any(|released| {
        let goes_on = |one: &&ReleasedItem| {
            let item =
                Item { baseline: baseline.reference(), package: one.package.clone(), to: one.to.clone() };
            one.package == change.package
                && !asks_for(requirement, one.to.as_ref())
                && paused(world, &item, at).is_none()
        };
        let last = released.items.iter().filter(goes_on).max_by_key(|one| (one.since, &one.to));
        change.to.is_some() && last.is_some_and(|last| last.to == change.to)
    })
}
