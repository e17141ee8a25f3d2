//! In which order a change set is applied (rule G2): what tightens first, what loosens last, removals after all.
//!
//! Kubernetes has no transaction. Nothing starts in the namespace while a revision is being applied; the order is what
//! protects machines where that is not enough, such as from work that a gateway has delivered already.

use std::collections::BTreeSet;

use muster_model::{Budget, Cover, Instant, Policy, Window, WindowAction, WindowsPolicy};

use crate::kinds::{Kind, Model};
use crate::loosened::{Guards, contains, is_no_looser};
use crate::validate::{Object, ObjectKey};

/// One write.
#[derive(Clone, Debug)]
pub enum Step<'a> {
    /// Put the object there as it is written.
    Apply(&'a Object),
    /// Delete it.
    Remove(ObjectKey),
    /// Let go of it: a FleetMachine is never deleted (rule G5).
    Release(ObjectKey),
}

/// What a changed guard does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Tightens,
    Same,
    /// Also what does both.
    Loosens,
}

/// The writes that make `wanted` of what is there, in phases: a phase begins when the one before it is complete, and
/// within one the order does not matter. Empty phases are left out.
#[must_use]
pub fn order<'a>(
    before: &Guards,
    wanted: &'a [Object],
    leaving: &BTreeSet<ObjectKey>,
    now: Instant,
) -> Vec<Vec<Step<'a>>> {
    let mut phases: [Vec<Step<'a>>; 6] = Default::default();
    let [tightening, machines, baselines, loosening, leaving_first, leaving_last] = &mut phases;
    for object in wanted {
        let phase = match direction(before, &object.model, now) {
            Some(Direction::Tightens) => &mut *tightening,
            Some(Direction::Loosens) => &mut *loosening,
            Some(Direction::Same) => &mut *baselines,
            None if object.key.kind == Kind::FleetMachine => &mut *machines,
            None => &mut *baselines,
        };
        phase.push(Step::Apply(object));
    }
    for key in leaving.iter().cloned() {
        match key.kind {
            Kind::PackageBaseline | Kind::KernelBaseline => leaving_first.push(Step::Remove(key)),
            Kind::FleetMachine => leaving_first.push(Step::Release(key)),
            Kind::MaintenanceWindow | Kind::DisruptionBudget | Kind::FleetPolicy => {
                leaving_last.push(Step::Remove(key))
            }
        }
    }
    phases.into_iter().filter(|phase| !phase.is_empty()).collect()
}

/// What it does as a guard; `None` if it is none.
fn direction(before: &Guards, model: &Model, now: Instant) -> Option<Direction> {
    match model {
        Model::Policy(policy) => Some(policy_direction(&before.policy, policy)),
        Model::Budget(budget) => Some(budget_direction(before.budgets.get(budget.name.as_str()), budget)),
        Model::Window(window) => Some(window_direction(before, window, now)),
        Model::Machine(_) | Model::PackageBaseline(_) | Model::KernelBaseline(_) => None,
    }
}

fn policy_direction(old: &Policy, new: &Policy) -> Direction {
    let loosens = (old.suspend && !new.suspend)
        || (old.windows == WindowsPolicy::Required && new.windows == WindowsPolicy::Optional)
        || new.unreachable_after > old.unreachable_after
        || new.absent_after < old.absent_after
        || new.freshness > old.freshness;
    if loosens {
        Direction::Loosens
    } else if old == new {
        Direction::Same
    } else {
        Direction::Tightens
    }
}

fn budget_direction(old: Option<&Budget>, new: &Budget) -> Direction {
    let Some(old) = old else { return Direction::Tightens };
    let selects_as_many = old.selector == new.selector || new.selector.is_all();
    if !selects_as_many || !is_no_looser(new, old) {
        Direction::Loosens
    } else if old.selector == new.selector && is_no_looser(old, new) {
        Direction::Same
    } else {
        Direction::Tightens
    }
}

fn window_direction(before: &Guards, new: &Window, now: Instant) -> Direction {
    let old = before.windows.get(new.name.as_str());
    match (old.map(|old| old.action), new.action) {
        (None | Some(WindowAction::Allow), WindowAction::Deny) => Direction::Tightens,
        (Some(WindowAction::Deny), WindowAction::Allow) => Direction::Loosens,
        // The first Allow binds machines that could be changed at any time.
        (None, WindowAction::Allow) => {
            let mut windows = before.windows.values();
            let is_first = !windows.any(|window| window.action == WindowAction::Allow);
            if is_first && before.policy.windows == WindowsPolicy::Optional {
                Direction::Tightens
            } else {
                Direction::Loosens
            }
        }
        (Some(WindowAction::Deny), WindowAction::Deny) | (Some(WindowAction::Allow), WindowAction::Allow) => {
            let old = old.expect("its action was just looked at");
            let is_same = (&old.selector, &old.when, &old.covers, old.cutoff)
                == (&new.selector, &new.when, &new.covers, new.cutoff);
            match new.action {
                _ if is_same => Direction::Same,
                WindowAction::Deny if closes_at_least(new, old, now) => Direction::Tightens,
                WindowAction::Allow
                    if old.selector == new.selector
                        && old.cutoff <= new.cutoff
                        && opens_at_most(new, old, now) =>
                {
                    Direction::Tightens
                }
                WindowAction::Deny | WindowAction::Allow => Direction::Loosens,
            }
        }
    }
}

/// Whether a freeze closes at least what another one did.
fn closes_at_least(new: &Window, old: &Window, now: Instant) -> bool {
    (old.selector == new.selector || new.selector.is_all())
        && covers_at_least(new, old)
        && match (&new.when, &old.when) {
            (Ok(new), Ok(old)) => contains(&[new], old, now),
            (Err(_), _) => true,
            (Ok(_), Err(_)) => false,
        }
}

/// Whether a window opens no more than it did, for the same kinds of step.
fn opens_at_most(new: &Window, old: &Window, now: Instant) -> bool {
    old.covers == new.covers
        && match (&new.when, &old.when) {
            (Ok(new), Ok(old)) => contains(&[old], new, now),
            (Err(_), _) => true,
            (Ok(_), Err(_)) => false,
        }
}

fn covers_at_least(new: &Window, old: &Window) -> bool {
    [Cover::Packages, Cover::Kernel, Cover::Reboot]
        .into_iter()
        .all(|cover| new.covers(cover) || !old.covers(cover))
        && (new.covers.is_none() || old.covers.is_some())
}
