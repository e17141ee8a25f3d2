//! From a proposal to an exact transaction, or why not (rules A7, A8).

use std::collections::BTreeSet;

use muster_model::{
    BaselineRef, Capability, Change, Conffiles, Inventory, PackageKey, PackageWish, Permit, Proposal, Reason,
    Step, Transaction, kernel_release,
};

use crate::evaluate::Evaluation;
use crate::merge::{Merged, Requirement};
use crate::select::Resources;
use crate::target::{Outcome, choose, is_met};

/// How many packages a refusal lists.
const PACKAGES_LISTED: usize = 20;

/// The transaction that brings exactly the `picked` requirements (numbers into `Merged::enforced`) to their targets.
pub(crate) fn transaction(
    resources: &Resources<'_>,
    merged: &Merged,
    evaluation: &Evaluation<'_>,
    picked: &[usize],
    proposal: &Proposal,
) -> Result<Transaction, Reason> {
    let changes = match proposal {
        Proposal::Refused { message } => return Err(Reason::SimulationRefused { message: message.clone() }),
        Proposal::Transaction { changes } => changes,
    };
    let mut requested = Vec::new();
    for place in picked {
        let (key, outcome) = (&merged.enforced[*place].key, &evaluation.judged[*place].outcome);
        match changes.iter().find(|change| change.package == *key) {
            Some(change) if matches!(outcome, Outcome::Change(target) if *target == change.to) => {
                requested.push(change.clone())
            }
            Some(_) | None => {
                return Err(Reason::SimulationRefused {
                    message: format!("apt's transaction does not bring {key} to its target"),
                });
            }
        }
        for spare in evaluation.spares_of(merged, *place) {
            let goes = |change: &&Change| change.package == *spare && change.is_removal();
            requested.extend(changes.iter().find(goes).cloned());
        }
    }
    requested.sort();
    requested.dedup();
    let is_requested = |change: &&Change| requested.iter().any(|one| one.package == change.package);
    let dependencies: Vec<Change> = changes.iter().filter(|change| !is_requested(change)).cloned().collect();
    let served: BTreeSet<usize> =
        picked.iter().flat_map(|place| merged.enforced[*place].by.iter().copied()).collect();
    permitted(resources, &served, &requested, &dependencies)?;
    if !evaluation.selects_kernels {
        brings_no_kernel(changes)?;
    }
    for change in &dependencies {
        undisturbed(resources, merged, evaluation, change)?;
    }
    let conffiles = served.iter().map(|place| resources.packages[*place].conffiles).max();
    Ok(Transaction { requested, dependencies, conffiles: conffiles.unwrap_or(Conffiles::Keep) })
}

/// Whether a transaction that was allowed when its step was made is so still: by the baselines that the step serves, and by
/// what else is asked of the packages that come along.
pub(crate) fn is_allowed(
    resources: &Resources<'_>,
    merged: &Merged,
    evaluation: &Evaluation<'_>,
    step: &Step,
    transaction: &Transaction,
) -> bool {
    let Transaction { requested, dependencies, .. } = transaction;
    let is_served = |place: &usize| step.baselines.contains_key(&resources.packages[*place].reference());
    let served = (0..resources.packages.len()).filter(is_served).collect();
    let along = || dependencies.iter().all(|one| undisturbed(resources, merged, evaluation, one).is_ok());
    permitted(resources, &served, requested, dependencies).is_ok() && along()
}

/// Removals and downgrades only where every baseline that is served allows them.
fn permitted(
    resources: &Resources<'_>,
    served: &BTreeSet<usize>,
    requested: &[Change],
    dependencies: &[Change],
) -> Result<(), Reason> {
    let removed: BTreeSet<PackageKey> = dependencies
        .iter()
        .filter(|change| change.is_removal())
        .map(|change| change.package.clone())
        .take(PACKAGES_LISTED)
        .collect();
    if !removed.is_empty() && served.iter().any(|place| resources.packages[*place].removals == Permit::Refuse)
    {
        return Err(Reason::RemovalNotAllowed { packages: removed });
    }
    if served.iter().all(|place| resources.packages[*place].downgrades == Permit::Allow) {
        return Ok(());
    }
    for change in requested.iter().chain(dependencies) {
        if let Change { package, from: Some(from), to: Some(to) } = change
            && to < from
        {
            let (package, installed, target) = (package.clone(), from.clone(), to.clone());
            return Err(Reason::DowngradeNotAllowed { package, installed, target });
        }
    }
    Ok(())
}

/// No transaction brings a kernel to a machine that could not let it boot on trial first (rule K2).
fn brings_no_kernel(changes: &[Change]) -> Result<(), Reason> {
    let is_new = |change: &&Change| change.from.is_none() && change.to.is_some();
    match changes.iter().filter(is_new).find(|change| kernel_release(&change.package.name).is_some()) {
        Some(_) => Err(Reason::NotCapable { capability: Capability::KernelSelection }),
        None => Ok(()),
    }
}

/// What comes along must neither take a package out of a requirement nor change one that is held.
fn undisturbed(
    resources: &Resources<'_>,
    merged: &Merged,
    evaluation: &Evaluation<'_>,
    change: &Change,
) -> Result<(), Reason> {
    let key = &change.package;
    let first = |requirement: &Requirement| -> Option<BaselineRef> {
        requirement.by.first().map(|place| resources.packages[*place].reference())
    };
    if let Some(disputed) = merged.place_of(key).map(|place| &merged.enforced[place])
        && disputed.conflict
    {
        let baselines = disputed.baselines(resources);
        return Err(Reason::Conflicted { package: key.clone(), baselines });
    }
    let requirement = merged.about(key);
    let Some(inventory) = evaluation.inventory else { return Ok(()) };
    if let Some(requirement) = requirement
        && breaks(requirement, evaluation, inventory, change)
        && let Some(baseline) = first(requirement)
    {
        return Err(Reason::Contradicts { package: key.clone(), baseline });
    }
    if inventory.holds(key) && !evaluation.lifts.contains(key) {
        return Err(match requirement.filter(|requirement| requirement.hold).and_then(first) {
            Some(baseline) => Reason::Contradicts { package: key.clone(), baseline },
            None => Reason::Held { package: key.clone() },
        });
    }
    Ok(())
}

/// Whether what is as wanted would no longer be.
fn breaks(
    requirement: &Requirement,
    evaluation: &Evaluation<'_>,
    inventory: &Inventory,
    change: &Change,
) -> bool {
    let package = inventory.package(&requirement.key);
    match requirement.wish {
        PackageWish::Absent => change.from.is_none() && change.to.is_some(),
        PackageWish::Present => {
            let choose = |package| choose(&requirement.version, package, evaluation.is_kept_back(package));
            let best = package.and_then(choose);
            let met = |version| is_met(&requirement.version, version, best);
            change.from.as_ref().is_some_and(met) && !change.to.as_ref().is_some_and(met)
        }
    }
}
