//! Resources as fleet is told of them, and what the writer needs to know of each.
//!
//! What an object means is `muster_state`'s to say, so that a plan from a state file means the same.

use std::collections::BTreeMap;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Resource, ResourceExt};
use muster_crds::names;
use muster_crds::{
    Activity, BaselineRollout, DisruptionBudget, FleetMachine, FleetPolicy, GitSource, KernelBaseline,
    MaintenanceWindow, PackageBaseline, PackageInventory, PackageProposal, RolloutApproval, WindowOverride,
};
use muster_fleet::{Change, Key};
use muster_state::read as state;
pub(crate) use muster_state::read::place;
use serde::Serialize;
use serde_json::Value;
use smol_str::SmolStr;
use tracing::warn;

use crate::write::{Seen, digest};

/// What the writer needs to know of an object: `status` is the part of its status that the controller writes.
pub(crate) fn seen<K: Resource>(object: &K, status: Option<Value>) -> Seen {
    let conditions =
        status.as_ref().and_then(|status| serde_json::from_value(status["conditions"].clone()).ok());
    Seen {
        uid: object.uid().unwrap_or_default(),
        resource_version: object.resource_version().unwrap_or_default(),
        generation: object.meta().generation.unwrap_or(0),
        conditions: conditions.unwrap_or_default(),
        status: status.as_ref().map(digest),
        unreadable: None,
    }
}

fn value<S: Serialize>(status: Option<&S>) -> Option<Value> {
    status.map(|status| {
        serde_json::to_value(status).expect("a status is plain data, which JSON can always hold")
    })
}

/// The changes, and what to remember for writing.
pub(crate) type Read = (Vec<Change>, Option<(Key, Seen)>);

/// What the object means, with what to remember of it; what cannot be read is logged.
fn kept<K: Resource<DynamicType = ()>>(object: &K, status: Option<Value>, read: state::Read) -> Read {
    let state::Read { changes, key, fault } = read;
    if let Some(fault) = &fault {
        warn!(kind = %K::kind(&()), name = object.name_any(), fault, "an object cannot be read");
    }
    let seen = |key| (key, Seen { unreadable: fault.clone(), ..seen(object, status) });
    (changes, key.map(seen))
}

/// A FleetMachine; and the facts that its labels do not mirror yet.
pub(crate) fn machine(object: FleetMachine) -> (Read, Option<BTreeMap<String, String>>) {
    let facts = unmirrored(&object);
    let status =
        object.status.as_ref().filter(|status| status.decision.is_some() || !status.conditions.is_empty());
    // As the writer renders it: the decision and the conditions, not what the gateway reported.
    let ours = status
        .map(|status| serde_json::json!({"decision": status.decision, "conditions": status.conditions}));
    (kept(&object, ours, state::machine(&object)), facts)
}

fn unmirrored(machine: &FleetMachine) -> Option<BTreeMap<String, String>> {
    let facts = &machine.status.as_ref()?.reported.as_ref()?.facts;
    let labels = machine.labels();
    let mirrored: BTreeMap<&String, &String> = labels.iter().filter(|(key, _)| names::is_fact(key)).collect();
    (mirrored != facts.iter().collect()).then(|| facts.clone())
}

/// A PackageBaseline.
pub(crate) fn package_baseline(object: PackageBaseline) -> Read {
    kept(&object, value(object.status.as_ref()), state::package_baseline(&object))
}

/// A KernelBaseline.
pub(crate) fn kernel_baseline(object: KernelBaseline) -> Read {
    kept(&object, value(object.status.as_ref()), state::kernel_baseline(&object))
}

/// A MaintenanceWindow.
pub(crate) fn window(object: MaintenanceWindow) -> Read {
    kept(&object, value(object.status.as_ref()), state::window(&object))
}

/// A WindowOverride.
pub(crate) fn window_override(object: WindowOverride) -> Vec<Change> {
    kept(&object, None, state::window_override(&object)).0
}

/// A WindowOverride is gone.
pub(crate) fn window_override_gone(text: &str) -> Vec<Change> {
    state::window_override_gone(text)
}

/// A DisruptionBudget.
pub(crate) fn budget(object: DisruptionBudget) -> Read {
    kept(&object, value(object.status.as_ref()), state::budget(&object))
}

/// The FleetPolicy.
pub(crate) fn policy(object: FleetPolicy) -> Read {
    kept(&object, value(object.status.as_ref()), state::policy(&object))
}

/// A PackageInventory.
pub(crate) fn inventory(object: PackageInventory) -> Read {
    kept(&object, None, state::inventory(&object))
}

/// A PackageProposal.
pub(crate) fn proposal(object: PackageProposal) -> Read {
    kept(&object, None, state::proposal(&object))
}

/// A RolloutApproval.
pub(crate) fn approval(object: RolloutApproval) -> Vec<Change> {
    kept(&object, None, state::approval(&object)).0
}

/// A RolloutApproval is gone.
pub(crate) fn approval_gone(text: &str) -> Vec<Change> {
    state::approval_gone(text)
}

/// A BaselineRollout.
pub(crate) fn rollout(object: BaselineRollout) -> Read {
    kept(&object, value(object.status.as_ref()), state::rollout(&object))
}

/// An Activity, whose status the gateways write too: nothing is remembered of it.
pub(crate) fn activity(object: Activity) -> Vec<Change> {
    kept(&object, None, state::activity(&object)).0
}

/// A GitSource: which revision is in force and what it consists of, and whether another one is being applied.
pub(crate) fn source(object: GitSource) -> Vec<Change> {
    kept(&object, None, state::source(&object)).0
}

/// A Lease, if it is a gateway's.
pub(crate) fn lease(object: Lease) -> Vec<Change> {
    kept(&object, None, state::lease(&object)).0
}

/// A ConfigMap with presence.
pub(crate) fn presence_shard(object: ConfigMap) -> Vec<Change> {
    kept(&object, None, state::presence_shard(&object)).0
}

/// The gateway and the shard's name, from a presence ConfigMap's name: `muster-presence-<gateway>-<shard>`.
pub(crate) fn presence_gone(name: &str) -> Vec<Change> {
    let gateway = name
        .strip_prefix("muster-presence-")
        .and_then(|rest| rest.rsplit_once('-'))
        .map(|(gateway, _)| gateway);
    gateway
        .map(|gateway| Change::Presence(SmolStr::new(gateway), SmolStr::new(name), None))
        .into_iter()
        .collect()
}

/// The gateway, from its Lease's name.
pub(crate) fn lease_gone(name: &str) -> Vec<Change> {
    name.strip_prefix("muster-gateway-")
        .map(|gateway| Change::Gateway(SmolStr::new(gateway), None))
        .into_iter()
        .collect()
}
