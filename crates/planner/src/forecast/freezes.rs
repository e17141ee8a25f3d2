//! Which freezes begin, or are on, before their machines have converged.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{Cover, Instant, MachineName, MachinePlan, Snapshot, Window, WindowAction};

use super::{Fate, Freeze};

/// How many freezes of one window are listed.
const FREEZES_LISTED: usize = 20;

/// The kinds of step that a machine takes on its way.
pub(super) type Kinds = BTreeMap<MachineName, BTreeSet<Cover>>;

/// In the order of time.
pub(super) fn freezes(
    snapshot: &Snapshot,
    fates: &BTreeMap<MachineName, Fate>,
    kinds: &Kinds,
    until: Instant,
) -> Vec<Freeze> {
    let denies = snapshot.windows.values().filter(|window| window.action == WindowAction::Deny);
    let mut freezes: Vec<Freeze> =
        denies.flat_map(|window| of(snapshot, window, fates, kinds, until)).collect();
    freezes.sort_by(|left, right| (left.from, &left.window).cmp(&(right.from, &right.window)));
    freezes
}

fn of(
    snapshot: &Snapshot,
    window: &Window,
    fates: &BTreeMap<MachineName, Fate>,
    kinds: &Kinds,
    until: Instant,
) -> Vec<Freeze> {
    let Ok(when) = &window.when else { return Vec::new() };
    let picks = |name: &MachineName| {
        let machine = snapshot.machines.get(name);
        machine.is_some_and(|machine| window.selector.matches(|key| machine.label(key)))
            && kinds.get(name).into_iter().flatten().any(|kind| window.covers(*kind))
    };
    // When each of its machines converges; one that does so later than the horizon counts in every freeze.
    let ends: Vec<Instant> = fates
        .iter()
        .filter(|(name, _)| picks(name))
        .filter_map(|(_, fate)| match fate {
            Fate::Converges(at) => Some(*at),
            Fate::Later(_) => Some(Instant::MAX),
            Fate::Never(_) | Fate::Unknown(_) | Fate::Unmanaged(_) => None,
        })
        .collect();
    let Some(last) = ends.iter().max().map(|last| (*last).min(until)) else { return Vec::new() };
    when.open_spans(snapshot.now, last)
        .take(FREEZES_LISTED)
        .map(|span| {
            let from = span.start.unwrap_or(snapshot.now);
            let waiting = ends.iter().filter(|end| **end > from.max(snapshot.now));
            Freeze { window: window.name.clone(), from, until: span.end, machines: waiting.count() }
        })
        .filter(|freeze| freeze.machines > 0)
        .collect()
}

/// The kinds of step that what is left on a machine takes: all those of a kernel, since its packages come first.
pub(super) fn kinds(machine: &MachinePlan) -> BTreeSet<Cover> {
    let of = |resource: &str| match resource {
        "kernel" => &[Cover::Packages, Cover::Kernel, Cover::Reboot][..],
        "reboot" => &[Cover::Reboot],
        _ => &[Cover::Packages],
    };
    machine.requirements.iter().flat_map(|one| of(&one.resource)).copied().collect()
}
