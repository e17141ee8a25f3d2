//! Whether the source holds the revision back for what it takes away (rule G4), and what allows it: the source's own judgement,
//! of the state in place of the live objects.
//!
//! A plan of a revision that is held says all the same what it would do: that is what whoever allows it wants to know.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{Machine, Snapshot};
use muster_source::{
    ChangeSet, Guards, Held, Kind, LabelledMachine, ObjectKey, Removals, judge_removals, loosened, may_loosen,
};
use muster_state::{Owners, SourceGuards};
use serde::Serialize;
use smol_str::SmolStr;

use super::overlay::Replaced;
use super::report::ObjectName;

/// How many objects are listed; the total is always said.
const LISTED: usize = 100;

/// A revision that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HeldReport {
    /// The source that holds it.
    pub(crate) source: String,
    /// What `spec.allowRemoval` of the source must say.
    pub(crate) digest: String,
    /// Why, for people.
    pub(crate) why: String,
    /// What would be removed or loosened, the first hundred.
    pub(crate) objects: Vec<ObjectName>,
    pub(crate) objects_total: usize,
}

/// `None`: it goes ahead, or no source is there to hold it.
pub(crate) fn held(
    before: &Snapshot,
    owners: &Owners,
    replaced: &Replaced,
    set: &ChangeSet,
    after: &Snapshot,
) -> Option<HeldReport> {
    let source = replaced.source()?;
    let SourceGuards { removal_limit_percent, allow_removal } =
        owners.guards.get(source).cloned().unwrap_or_default();
    let owned: BTreeSet<ObjectKey> =
        owners.of.iter().filter(|(_, owner)| *owner == source).filter_map(|(what, _)| key(what)).collect();
    let wanted: BTreeSet<ObjectKey> = set.objects.iter().map(|object| object.key.clone()).collect();
    let (were, are) = (guards(before), guards(after));
    let machines = machines(before, after);
    let lost = match may_loosen(&were, &are) || machines.iter().any(|machine| machine.after.is_some()) {
        true => loosened(&were, &are, &machines, before.now),
        false => Vec::new(),
    };
    let Held { digest, objects, why } = judge_removals(&Removals {
        owned: &owned,
        wanted: &wanted,
        loosened: &lost,
        limit_percent: removal_limit_percent,
        allowed: allow_removal.as_deref(),
    })?;
    let named = |key: &ObjectKey| ObjectName { kind: key.kind.as_str(), name: key.name.clone() };
    Some(HeldReport {
        source: source.to_string(),
        digest,
        why,
        objects_total: objects.len(),
        objects: objects.iter().take(LISTED).map(named).collect(),
    })
}

/// In words, for people.
pub(crate) fn in_words(held: &HeldReport) -> Vec<String> {
    let HeldReport { source, digest, why, objects: _, objects_total: _ } = held;
    vec![
        format!("GitSource {source} will hold it back: {why}"),
        format!(
            "    to let it go ahead: kubectl patch gs {source} --type merge -p '{{\"spec\":{{\"allowRemoval\":\"{digest}\"}}}}'"
        ),
    ]
}

/// `Kind/name`.
fn key(what: &SmolStr) -> Option<ObjectKey> {
    let (kind, name) = what.split_once('/')?;
    let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind)?;
    Some(ObjectKey { kind, name: name.to_owned() })
}

fn guards(world: &Snapshot) -> Guards {
    let Snapshot { windows, budgets, policy, .. } = world;
    Guards {
        windows: windows
            .iter()
            .map(|(name, one)| (name.to_string(), muster_model::Window::clone(one)))
            .collect(),
        budgets: budgets
            .iter()
            .map(|(name, one)| (name.to_string(), muster_model::Budget::clone(one)))
            .collect(),
        policy: policy.clone(),
    }
}

/// Machines that are there already, with their labels and facts before and after.
fn machines(before: &Snapshot, after: &Snapshot) -> Vec<LabelledMachine> {
    let labels = |machine: &Machine| {
        let facts = machine.reported.as_ref().map(|reported| &*reported.facts);
        let all = facts.into_iter().flatten().chain(&*machine.labels);
        all.map(|(key, value)| (key.clone(), value.clone())).collect::<BTreeMap<SmolStr, SmolStr>>()
    };
    let one = |(name, machine): (_, &std::sync::Arc<Machine>)| {
        let was = labels(machine);
        let is = after.machines.get(name).map(|machine| labels(machine)).filter(|is| *is != was);
        LabelledMachine { before: was, after: is }
    };
    before.machines.iter().map(one).collect()
}
