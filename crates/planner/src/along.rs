//! What comes along in a transaction is begun by it, too: nothing that is barred or paused, and nothing before its wave (rules
//! O1, O3).
//!
//! What a package brings as its dependency may be what a baseline of the machine names: a transaction that brings it is the
//! start of that item. The requirement that brings it then waits for what that waits for.

use std::rc::Rc;

use muster_model::{Change, Item, Reason, Target, Transaction, Verdict};

use crate::boots;
use crate::case::Case;
use crate::evaluate::Choice;
use crate::machine::{States, World};
use crate::rollout::Rollouts;

/// [`Evaluation::choose`](crate::evaluate::Evaluation::choose), but of what brings nothing along that has to wait, and takes no
/// kernel away that is in use; what does is stuck afterwards.
pub(crate) fn choose(
    world: &World<'_>,
    case: &Case<'_>,
    states: &mut States,
    ready: Vec<usize>,
) -> Rc<Choice> {
    let last = || Some(&world.last.machines.get(&case.machine.name)?.wanted);
    let ask = |ready| case.evaluation.choose(world.snapshot, world.resources, &case.merged, ready, last);
    let all = ask(ready.clone());
    if obstacle(world, case, &all).is_none() {
        return all;
    }
    // Whose dependency it is only each by itself can tell.
    let mut left = Vec::new();
    for place in ready {
        match obstacle(world, case, &ask(vec![place])) {
            Some(verdict) => states.stick(place, &verdict),
            None => left.push(place),
        }
    }
    let together = ask(left.clone());
    match (obstacle(world, case, &together), left.first()) {
        // Apt has not been asked about all of them by themselves yet: one after the other.
        (Some(_), Some(first)) => ask(vec![*first]),
        (Some(_) | None, _) => together,
    }
}

/// Whether something comes along in a transaction that nobody may begin with any more.
pub(crate) fn is_stopped(world: &World<'_>, case: &Case<'_>, transaction: &Transaction) -> bool {
    let mut along = transaction.dependencies.iter();
    along.any(|change| {
        item(case, change).is_some_and(|(place, item)| stop(world, case, place, &item).is_some())
    })
}

/// Whether a baseline has barred what comes along in a transaction.
pub(crate) fn is_barred(rollouts: &Rollouts, case: &Case<'_>, transaction: &Transaction) -> bool {
    let barred = |(place, item): (usize, Item)| {
        case.merged.enforced[place].by.iter().any(|by| rollouts.tracks[*by].has_barred(&item))
    };
    transaction.dependencies.iter().filter_map(|change| item(case, change)).any(barred)
}

fn obstacle(world: &World<'_>, case: &Case<'_>, choice: &Choice) -> Option<Verdict> {
    let (_, transaction) = choice.answer.as_ref()?;
    if let Some(package) = boots::taken_away(case, transaction) {
        return Some(Verdict::Blocked(Reason::KernelInUse { package }));
    }
    transaction.dependencies.iter().find_map(|change| {
        let (place, item) = item(case, change)?;
        let by = || case.merged.enforced[place].by.iter().copied();
        let waits = || by().find_map(|by| world.rollouts.obstacle(world.resources, by, &item, case));
        stop(world, case, place, &item).or_else(waits)
    })
}

fn stop(world: &World<'_>, case: &Case<'_>, place: usize, item: &Item) -> Option<Verdict> {
    let mut by = case.merged.enforced[place].by.iter();
    by.find_map(|by| world.rollouts.stop(world.resources, *by, item))
}

/// The item that a change begins, with the requirement (a number) that is about its package.
fn item(case: &Case<'_>, change: &Change) -> Option<(usize, Item)> {
    let place = case.merged.asked_of(&change.package)?;
    let target = change.to.as_ref().map_or(Target::Absent, |version| Target::Version(version.clone()));
    Some((place, Item { package: change.package.clone(), target }))
}
