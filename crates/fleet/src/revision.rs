//! Whether what was seen is one whole revision (rule G2).

use muster_model::ObjectName;
use smol_str::SmolStr;

use crate::State;

/// Whether a revision is being applied, or has been applied and not been seen whole yet.
///
/// A source says which objects its revision consists of, and each object which revision it is from. A watch that lags
/// behind the others would otherwise show the new baseline without the new freeze.
pub(crate) fn is_applying(state: &State) -> bool {
    state.sources.values().any(|source| {
        source.applying || !source.owns.iter().all(|object| is_shown(state, object, source.revision.as_ref()))
    })
}

/// Whether the object (`Kind/name`) was seen as that revision has it.
fn is_shown(state: &State, object: &SmolStr, revision: Option<&SmolStr>) -> bool {
    let Some((kind, name)) = object.split_once('/') else { return false };
    let Ok(name) = ObjectName::parse(name) else { return false };
    let world = &state.world;
    let provenance = match kind {
        "PackageBaseline" => world.package_baselines.get(&name).map(|found| &found.common.provenance),
        "KernelBaseline" => world.kernel_baselines.get(&name).map(|found| &found.common.provenance),
        "MaintenanceWindow" => world.windows.get(&name).map(|found| &found.provenance),
        "DisruptionBudget" => world.budgets.get(&name).map(|found| &found.provenance),
        "FleetPolicy" => return state.policy_revision.as_ref() == revision,
        // Machines are labelled by sources, not made by them: a label that is late selects as before.
        _ => return true,
    };
    match provenance {
        Some(provenance) => provenance.as_ref().map(|provenance| &provenance.revision) == revision,
        // What cannot be read closes the namespace by itself (rule W7).
        None => world.unreadable.contains_key(object),
    }
}
