//! Resources as model values: what each watched kind means to fleet, and what the writer needs to know of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Resource, ResourceExt};
use muster_crds::names;
use muster_crds::{
    Activity, BaselineRollout, DisruptionBudget, FieldError, FleetMachine, FleetPolicy, GitSource,
    KernelBaseline, MaintenanceWindow, PackageBaseline, PackageInventory, PackageProposal, WindowOverride,
    presence,
};
use muster_fleet::{Change, Garbage, GatewayLease, Key, PresenceShard, SourceState};
use muster_model::{BaselineKind, BaselineRef, Digest, MachineName, ObjectName, Presence};
use serde::Serialize;
use serde_json::Value;
use smol_str::SmolStr;
use tracing::warn;

use crate::write::{Seen, digest};

/// A gateway's Lease without a duration is believed for so long: what our gateways write.
const GATEWAY_LEASE_SECONDS: i32 = 30;

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

/// One sentence from all field errors.
fn sentence(errors: &[FieldError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn name(text: &str) -> Option<ObjectName> {
    ObjectName::parse(text).ok()
}

/// `Kind/name`, the key of what cannot be read.
pub(crate) fn place(kind: &str, name: &str) -> SmolStr {
    SmolStr::new(format!("{kind}/{name}"))
}

/// A FleetMachine; and the facts that its labels do not mirror yet.
pub(crate) fn machine(object: FleetMachine) -> (Read, Option<BTreeMap<String, String>>) {
    let text = object.name_any();
    let facts = unmirrored(&object);
    let status =
        object.status.as_ref().filter(|status| status.decision.is_some() || !status.conditions.is_empty());
    // As the writer renders it: the decision and the conditions, not what the gateway reported.
    let ours = status
        .map(|status| serde_json::json!({"decision": status.decision, "conditions": status.conditions}));
    let seen = seen(&object, ours);
    let resolved =
        object.annotations().get(names::ANNOTATION_ABSENCE_RESOLVED).and_then(|at| at.parse().ok());
    let decided = object.status.as_ref().and_then(|status| status.decision.as_ref());
    let of_older = decided.and_then(|decision| decision.observed_generation) != object.metadata.generation;
    let read = match (object.to_model(Presence::Never), MachineName::parse(&text)) {
        (Ok(machine), Ok(name)) => {
            let mut changes =
                vec![Change::Machine(Box::new(machine)), Change::AbsenceResolved(name.clone(), resolved)];
            // A status about an older generation keeps `kubectl wait` waiting, though it would say the same.
            if of_older {
                changes.push(Change::Unrecorded(Key::Machine(name.clone())));
            }
            (changes, Some((Key::Machine(name), seen)))
        }
        (Err(errors), Ok(name)) => {
            warn!(machine = %text, errors = sentence(&errors), "the FleetMachine cannot be read; it is not planned for");
            (vec![Change::MachineGone(name)], None)
        }
        (_, Err(error)) => {
            warn!(machine = %text, %error, "the FleetMachine's name is none");
            (Vec::new(), None)
        }
    };
    (read, facts)
}

fn unmirrored(machine: &FleetMachine) -> Option<BTreeMap<String, String>> {
    let facts = &machine.status.as_ref()?.reported.as_ref()?.facts;
    let labels = machine.labels();
    let mirrored: BTreeMap<&String, &String> = labels.iter().filter(|(key, _)| names::is_fact(key)).collect();
    (mirrored != facts.iter().collect()).then(|| facts.clone())
}

/// A PackageBaseline.
pub(crate) fn package_baseline(object: PackageBaseline) -> Read {
    let reference =
        name(&object.name_any()).map(|name| BaselineRef { kind: BaselineKind::PackageBaseline, name });
    let seen = seen(&object, value(object.status.as_ref()));
    baseline(reference, object.to_model().map(Change::PackageBaseline), seen)
}

/// A KernelBaseline.
pub(crate) fn kernel_baseline(object: KernelBaseline) -> Read {
    let reference =
        name(&object.name_any()).map(|name| BaselineRef { kind: BaselineKind::KernelBaseline, name });
    let seen = seen(&object, value(object.status.as_ref()));
    baseline(reference, object.to_model().map(Change::KernelBaseline), seen)
}

fn baseline(reference: Option<BaselineRef>, model: Result<Change, Vec<FieldError>>, seen: Seen) -> Read {
    let Some(reference) = reference else { return (Vec::new(), None) };
    let what = place(reference.kind.as_str(), reference.name.as_str());
    match model {
        Ok(change) => (vec![change, Change::Unreadable(what, None)], Some((Key::Baseline(reference), seen))),
        Err(errors) => {
            (vec![Change::BaselineGone(reference), Change::Unreadable(what, Some(sentence(&errors)))], None)
        }
    }
}

/// A MaintenanceWindow.
pub(crate) fn window(object: MaintenanceWindow) -> Read {
    let Some(name) = name(&object.name_any()) else { return (Vec::new(), None) };
    let mut seen = seen(&object, value(object.status.as_ref()));
    let what = place("MaintenanceWindow", name.as_str());
    match object.to_model() {
        Ok(window) => {
            seen.unreadable = window.when.as_ref().err().cloned();
            (vec![Change::Window(window), Change::Unreadable(what, None)], Some((Key::Window(name), seen)))
        }
        // A selector that cannot be read closes the namespace (rule W7).
        Err(errors) => {
            (vec![Change::WindowGone(name), Change::Unreadable(what, Some(sentence(&errors)))], None)
        }
    }
}

/// A WindowOverride. One that cannot be read lets nothing pass.
pub(crate) fn window_override(object: WindowOverride) -> Vec<Change> {
    match object.to_model() {
        Ok(model) => vec![Change::Override(model)],
        Err(errors) => {
            let name = object.name_any();
            warn!(window_override = name, errors = sentence(&errors), "the WindowOverride cannot be read");
            window_override_gone(&name)
        }
    }
}

/// A WindowOverride is gone.
pub(crate) fn window_override_gone(text: &str) -> Vec<Change> {
    name(text).map(Change::OverrideGone).into_iter().collect()
}

/// A DisruptionBudget.
pub(crate) fn budget(object: DisruptionBudget) -> Read {
    let Some(name) = name(&object.name_any()) else { return (Vec::new(), None) };
    let seen = seen(&object, value(object.status.as_ref()));
    let what = place("DisruptionBudget", name.as_str());
    match object.to_model() {
        Ok(budget) => {
            (vec![Change::Budget(budget), Change::Unreadable(what, None)], Some((Key::Budget(name), seen)))
        }
        Err(errors) => {
            (vec![Change::BudgetGone(name), Change::Unreadable(what, Some(sentence(&errors)))], None)
        }
    }
}

/// The FleetPolicy.
pub(crate) fn policy(object: FleetPolicy) -> Read {
    if object.name_any() != names::FLEET_POLICY_NAME {
        return (Vec::new(), None);
    }
    let what = place("FleetPolicy", names::FLEET_POLICY_NAME);
    let seen = seen(&object, value(object.status.as_ref()));
    match object.to_model() {
        Ok(policy) => {
            let revision = object.annotations().get(names::ANNOTATION_REVISION).map(SmolStr::new);
            let mut changes = vec![Change::Policy(Some((policy, revision))), Change::Unreadable(what, None)];
            // What was measured is on record for an older generation.
            let recorded = object.status.as_ref().and_then(|status| status.observed_generation);
            if recorded.is_some_and(|recorded| Some(recorded) != object.metadata.generation) {
                changes.push(Change::Unrecorded(Key::Policy));
            }
            (changes, Some((Key::Policy, seen)))
        }
        // Defaults in place of what a person wrote could be less careful: nothing starts.
        Err(errors) => (vec![Change::Policy(None), Change::Unreadable(what, Some(sentence(&errors)))], None),
    }
}

fn marked<K: Resource>(object: &K) -> Option<Timestamp> {
    object.annotations().get(names::ANNOTATION_UNREFERENCED).and_then(|since| since.parse().ok())
}

/// A PackageInventory.
pub(crate) fn inventory(object: PackageInventory) -> Read {
    let Ok(digest) = Digest::parse(&object.spec.digest) else { return (Vec::new(), None) };
    let marked = marked(&object);
    let seen = seen(&object, None);
    match object.to_model() {
        Ok(inventory) => {
            let key = Key::Garbage(Garbage::Inventory(digest.clone()));
            (vec![Change::Inventory(digest, Arc::new(inventory), marked)], Some((key, seen)))
        }
        Err(error) => {
            warn!(inventory = %digest, error = %crate::watch::Chain(&error), "the inventory cannot be read");
            (Vec::new(), None)
        }
    }
}

/// A PackageProposal.
pub(crate) fn proposal(object: PackageProposal) -> Read {
    let marked = marked(&object);
    let seen = seen(&object, None);
    match object.to_model() {
        Ok((key, proposal)) => {
            let place = Key::Garbage(Garbage::Proposal(key.clone()));
            (vec![Change::Proposal(key, Arc::new(proposal), marked)], Some((place, seen)))
        }
        Err(errors) => {
            warn!(proposal = object.name_any(), errors = sentence(&errors), "the proposal cannot be read");
            (Vec::new(), None)
        }
    }
}

/// A BaselineRollout.
pub(crate) fn rollout(object: BaselineRollout) -> Read {
    let seen = seen(&object, value(object.status.as_ref()));
    match object.to_model() {
        Ok((reference, rollout)) => {
            (vec![Change::Rollout(reference.clone(), rollout)], Some((Key::Rollout(reference), seen)))
        }
        Err(errors) => {
            warn!(rollout = object.name_any(), errors = sentence(&errors), "the rollout cannot be read");
            (Vec::new(), None)
        }
    }
}

/// An Activity.
pub(crate) fn activity(object: Activity) -> Vec<Change> {
    match object.to_model() {
        Ok(activity) => vec![Change::Activity(Box::new(activity))],
        Err(errors) => {
            // It may be in flight: starting anything would be a guess.
            warn!(
                activity = object.name_any(),
                errors = sentence(&errors),
                "the activity cannot be read; nothing starts"
            );
            vec![Change::Unreadable(place("Activity", &object.name_any()), Some(sentence(&errors)))]
        }
    }
}

/// A GitSource: which revision is in force and what it consists of, and whether another one is being applied.
pub(crate) fn source(object: GitSource) -> Vec<Change> {
    let name = SmolStr::from(object.name_any());
    // A suspended source, or one that is being deleted, makes no claim (rule G2).
    if object.spec.suspend || object.metadata.deletion_timestamp.is_some() {
        return vec![Change::Source(name, None)];
    }
    let status = object.status.unwrap_or_default();
    let state = SourceState {
        applying: status.applying_revision.is_some() && status.applying_revision != status.applied_revision,
        revision: status.applied_revision.map(SmolStr::from),
        owns: status.owns.iter().map(|owned| place(&owned.kind, &owned.name)).collect(),
    };
    vec![Change::Source(name, Some(state))]
}

/// A Lease, if it is a gateway's.
pub(crate) fn lease(object: Lease) -> Vec<Change> {
    let Some(gateway) = object.labels().get(presence::LABEL_GATEWAY).map(SmolStr::new) else {
        return Vec::new();
    };
    let spec = object.spec.unwrap_or_default();
    let renewed = spec.renew_time.map(|time| time.0);
    let held = spec.holder_identity.is_some_and(|holder| !holder.is_empty());
    let lease = renewed.map(|renewed| {
        let seconds = if held { spec.lease_duration_seconds.unwrap_or(GATEWAY_LEASE_SECONDS) } else { 0 };
        GatewayLease {
            acquired: spec.acquire_time.map_or(renewed, |time| time.0),
            renewed,
            valid_until: renewed + SignedDuration::from_secs(i64::from(seconds)),
        }
    });
    vec![Change::Gateway(gateway, lease)]
}

/// A ConfigMap with presence.
pub(crate) fn presence_shard(object: ConfigMap) -> Vec<Change> {
    let Some(gateway) = object.labels().get(presence::LABEL_GATEWAY).map(SmolStr::new) else {
        return Vec::new();
    };
    let name = object.name_any();
    match presence::PresenceShard::decode(&object.data.unwrap_or_default()) {
        Ok(shard) => {
            let presence::PresenceShard { present, silent, since } = shard;
            let shard = PresenceShard { present, silent, since };
            vec![Change::Presence(gateway, SmolStr::from(name), Some(shard))]
        }
        Err(error) => {
            warn!(config_map = name, %error, "presence cannot be read; its machines count as silent");
            vec![Change::Presence(gateway, SmolStr::from(name), None)]
        }
    }
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
