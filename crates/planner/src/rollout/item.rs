//! Which item a requirement comes to on a machine (rule O1).

use muster_model::{Item, PackageWish, Reason, Target};

use crate::evaluate::Evaluation;
use crate::merge::Requirement;
use crate::target::{Judged, Outcome, choose};

/// How a machine stands towards an item, by its inventory alone; what is surely known comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holding {
    /// It has it.
    Has,
    /// It is to get it.
    Lacks,
    /// It is to get it, and somebody must do something first.
    Blocked,
    /// What it is to get is not known yet.
    Unknown,
    /// It wants another item, but may come to want this one once its apt has seen what is on offer.
    MayCome,
}

/// A requirement's item on a machine, and whether the machine has it; none where it is not to be had there.
pub(crate) fn item_of(requirement: &Requirement, judged: &Judged) -> Option<(Item, bool)> {
    if requirement.spare {
        return None;
    }
    let (target, done) = match &judged.outcome {
        Outcome::Change(target) => (target.clone(), false),
        Outcome::Met | Outcome::Hold => (judged.installed.clone(), true),
        // Evidence is what runs (rule K1).
        Outcome::Repair | Outcome::Boot(_) | Outcome::SetDefault(_) => (judged.installed.clone(), false),
        Outcome::NotCovered | Outcome::Blocked(_) => return None,
    };
    let target = match (target, requirement.wish) {
        (Some(version), PackageWish::Present) => Target::Version(version),
        (None, PackageWish::Absent) => Target::Absent,
        (None, PackageWish::Present) | (Some(_), PackageWish::Absent) => return None,
    };
    Some((Item { package: requirement.key.clone(), target }, done))
}

/// The item that a requirement is about on a machine, though it may not be had there.
pub(crate) fn aim_of(
    evaluation: &Evaluation<'_>,
    requirement: &Requirement,
    judged: &Judged,
) -> Option<(Item, Holding)> {
    if let Some((item, has)) = item_of(requirement, judged) {
        return Some((item, if has { Holding::Has } else { Holding::Lacks }));
    }
    let Outcome::Blocked(reason) = &judged.outcome else { return None };
    let target = match (&**reason, requirement.wish) {
        (Reason::Conflicted { .. }, _) => return None,
        (_, PackageWish::Absent) => Target::Absent,
        (_, PackageWish::Present) => {
            let package = evaluation.inventory.and_then(|inventory| inventory.package(&requirement.key));
            let chosen = package
                .and_then(|package| choose(&requirement.version, package, evaluation.is_kept_back(package)));
            Target::Version(chosen.or(requirement.version.exact())?.clone())
        }
    };
    Some((Item { package: requirement.key.clone(), target }, Holding::Blocked))
}

/// Whether a machine whose item is another one by now may still come to want `item`: its apt may see the version later
/// than that of others. What satisfies a requirement already is not moved (rule V2), unless it asks for the latest.
pub(crate) fn may_come(requirement: &Requirement, judged: &Judged, item: &Item) -> bool {
    let Target::Version(wanted) = &item.target else { return false };
    if requirement.wish == PackageWish::Absent || !requirement.version.satisfied_by(wanted) {
        return false;
    }
    match &judged.outcome {
        Outcome::Blocked(reason) if matches!(**reason, Reason::Conflicted { .. }) => false,
        Outcome::Met | Outcome::Hold | Outcome::Boot(_) | Outcome::SetDefault(_) | Outcome::Repair => {
            requirement.version.is_latest()
        }
        Outcome::Change(_) | Outcome::Blocked(_) | Outcome::NotCovered => true,
    }
}

/// Whether an upgrade that a machine is asked for may come to be its own: it has the package in an older version.
pub(crate) fn upgrade_may_come(evaluation: &Evaluation<'_>, item: &Item) -> Option<Holding> {
    let Target::Version(wanted) = &item.target else { return None };
    let Some(inventory) = evaluation.inventory else { return Some(Holding::Unknown) };
    let installed = inventory.package(&item.package)?.installed.as_ref()?;
    (installed.version < *wanted).then_some(Holding::MayCome)
}
