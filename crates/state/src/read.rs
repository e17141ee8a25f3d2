//! Resources as model values: what each kind means to fleet, whether a watch shows it or a state file.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Resource, ResourceExt};
use muster_crds::names;
use muster_crds::{
    Activity, BaselineRollout, DisruptionBudget, FieldError, FleetMachine, FleetPolicy, GitSource,
    KernelBaseline, MaintenanceWindow, PackageBaseline, PackageInventory, PackageProposal, RolloutApproval,
    WindowOverride, presence,
};
use muster_fleet::{Change, Garbage, GatewayLease, Key, PresenceShard, SourceState};
use muster_model::{BaselineKind, BaselineRef, Digest, MachineName, ObjectName, Presence};
use smol_str::SmolStr;
use std::sync::Arc;

/// A gateway's Lease without a duration is believed for so long: what our gateways write.
const GATEWAY_LEASE_SECONDS: i32 = 30;

/// What an object means.
#[derive(Debug, Default)]
pub struct Read {
    /// To fleet.
    pub changes: Vec<Change>,
    /// The object's key, where the controller writes about it.
    pub key: Option<Key>,
    /// Why the object, or a part of it, cannot be read. What that closes or hides is in `changes`.
    pub fault: Option<String>,
}

impl Read {
    fn good(changes: Vec<Change>, key: Option<Key>) -> Self {
        Self { changes, key, fault: None }
    }

    fn bad(changes: Vec<Change>, fault: impl Into<String>) -> Self {
        Self { changes, key: None, fault: Some(fault.into()) }
    }

    /// The resource closes its namespace until it can be read (rule W7).
    fn closing(what: SmolStr, gone: Option<Change>, fault: String) -> Self {
        let closes = Change::Unreadable(what, Some(fault.clone()));
        Self::bad(gone.into_iter().chain([closes]).collect(), fault)
    }
}

/// One sentence from all field errors.
fn sentence(errors: &[FieldError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn name(text: &str) -> Result<ObjectName, String> {
    ObjectName::parse(text).map_err(|error| error.to_string())
}

/// `Kind/name`, the key of what cannot be read.
#[must_use]
pub fn place(kind: &str, name: &str) -> SmolStr {
    SmolStr::new(format!("{kind}/{name}"))
}

/// A FleetMachine.
#[must_use]
pub fn machine(object: &FleetMachine) -> Read {
    let resolved =
        object.annotations().get(names::ANNOTATION_ABSENCE_RESOLVED).and_then(|at| at.parse().ok());
    let decided = object.status.as_ref().and_then(|status| status.decision.as_ref());
    let of_older = decided.and_then(|decision| decision.observed_generation) != object.metadata.generation;
    match (object.to_model(Presence::Never), MachineName::parse(&object.name_any())) {
        (Ok(machine), Ok(name)) => {
            let mut changes =
                vec![Change::Machine(Box::new(machine)), Change::AbsenceResolved(name.clone(), resolved)];
            // A status about an older generation keeps `kubectl wait` waiting, though it would say the same.
            if of_older {
                changes.push(Change::Unrecorded(Key::Machine(name.clone())));
            }
            Read::good(changes, Some(Key::Machine(name)))
        }
        // It is not planned for; others are.
        (Err(errors), Ok(name)) => Read::bad(vec![Change::MachineGone(name)], sentence(&errors)),
        (_, Err(error)) => Read::bad(Vec::new(), error.to_string()),
    }
}

/// A PackageBaseline.
#[must_use]
pub fn package_baseline(object: &PackageBaseline) -> Read {
    baseline(
        BaselineKind::PackageBaseline,
        &object.name_any(),
        object.to_model().map(Change::PackageBaseline),
    )
}

/// A KernelBaseline.
#[must_use]
pub fn kernel_baseline(object: &KernelBaseline) -> Read {
    baseline(BaselineKind::KernelBaseline, &object.name_any(), object.to_model().map(Change::KernelBaseline))
}

fn baseline(kind: BaselineKind, text: &str, model: Result<Change, Vec<FieldError>>) -> Read {
    let reference = match name(text) {
        Ok(name) => BaselineRef { kind, name },
        Err(error) => return Read::bad(Vec::new(), error),
    };
    let what = place(kind.as_str(), text);
    match model {
        Ok(change) => {
            Read::good(vec![change, Change::Unreadable(what, None)], Some(Key::Baseline(reference)))
        }
        Err(errors) => Read::closing(what, Some(Change::BaselineGone(reference)), sentence(&errors)),
    }
}

/// A MaintenanceWindow.
#[must_use]
pub fn window(object: &MaintenanceWindow) -> Read {
    let name = match name(&object.name_any()) {
        Ok(name) => name,
        Err(error) => return Read::bad(Vec::new(), error),
    };
    let what = place("MaintenanceWindow", name.as_str());
    match object.to_model() {
        Ok(window) => {
            // What cannot be read of it closes its own machines only.
            let fault = window.when.as_ref().err().cloned();
            let changes = vec![Change::Window(window), Change::Unreadable(what, None)];
            Read { changes, key: Some(Key::Window(name)), fault }
        }
        // A selector that cannot be read closes the namespace (rule W7).
        Err(errors) => Read::closing(what, Some(Change::WindowGone(name)), sentence(&errors)),
    }
}

/// A RolloutApproval. One that cannot be read may be a pause: nothing starts until it is mended or gone.
#[must_use]
pub fn approval(object: &RolloutApproval) -> Read {
    let what = place("RolloutApproval", &object.name_any());
    match object.to_model() {
        Ok(model) => Read::good(vec![Change::Approval(model), Change::Unreadable(what, None)], None),
        Err(errors) => Read::closing(what, None, sentence(&errors)),
    }
}

/// A RolloutApproval is gone.
#[must_use]
pub fn approval_gone(text: &str) -> Vec<Change> {
    let Ok(name) = name(text) else { return Vec::new() };
    vec![Change::ApprovalGone(name), Change::Unreadable(place("RolloutApproval", text), None)]
}

/// A WindowOverride. One that cannot be read lets nothing pass.
#[must_use]
pub fn window_override(object: &WindowOverride) -> Read {
    match object.to_model() {
        Ok(model) => Read::good(vec![Change::Override(model)], None),
        Err(errors) => Read::bad(window_override_gone(&object.name_any()), sentence(&errors)),
    }
}

/// A WindowOverride is gone.
#[must_use]
pub fn window_override_gone(text: &str) -> Vec<Change> {
    name(text).map(Change::OverrideGone).into_iter().collect()
}

/// A DisruptionBudget.
#[must_use]
pub fn budget(object: &DisruptionBudget) -> Read {
    let name = match name(&object.name_any()) {
        Ok(name) => name,
        Err(error) => return Read::bad(Vec::new(), error),
    };
    let what = place("DisruptionBudget", name.as_str());
    match object.to_model() {
        Ok(budget) => {
            Read::good(vec![Change::Budget(budget), Change::Unreadable(what, None)], Some(Key::Budget(name)))
        }
        Err(errors) => Read::closing(what, Some(Change::BudgetGone(name)), sentence(&errors)),
    }
}

/// The FleetPolicy; one of another name is none.
#[must_use]
pub fn policy(object: &FleetPolicy) -> Read {
    if object.name_any() != names::FLEET_POLICY_NAME {
        return Read::default();
    }
    let what = place("FleetPolicy", names::FLEET_POLICY_NAME);
    match object.to_model() {
        Ok(policy) => {
            let revision = object.annotations().get(names::ANNOTATION_REVISION).map(SmolStr::new);
            let mut changes = vec![Change::Policy(Some((policy, revision))), Change::Unreadable(what, None)];
            // What was measured is on record for an older generation.
            let recorded = object.status.as_ref().and_then(|status| status.observed_generation);
            if recorded.is_some_and(|recorded| Some(recorded) != object.metadata.generation) {
                changes.push(Change::Unrecorded(Key::Policy));
            }
            Read::good(changes, Some(Key::Policy))
        }
        // Defaults in place of what a person wrote could be less careful: nothing starts.
        Err(errors) => Read::closing(what, Some(Change::Policy(None)), sentence(&errors)),
    }
}

fn marked<K: Resource>(object: &K) -> Option<Timestamp> {
    object.meta().annotations.as_ref()?.get(names::ANNOTATION_UNREFERENCED)?.parse().ok()
}

/// A PackageInventory.
#[must_use]
pub fn inventory(object: &PackageInventory) -> Read {
    let digest = match Digest::parse(&object.spec.digest) {
        Ok(digest) => digest,
        Err(error) => return Read::bad(Vec::new(), error.to_string()),
    };
    match object.to_model() {
        Ok(inventory) => {
            let key = Key::Garbage(Garbage::Inventory(digest.clone()));
            Read::good(vec![Change::Inventory(digest, Arc::new(inventory), marked(object))], Some(key))
        }
        Err(error) => Read::bad(Vec::new(), chain(&error)),
    }
}

/// A PackageProposal.
#[must_use]
pub fn proposal(object: &PackageProposal) -> Read {
    match object.to_model() {
        Ok((key, proposal)) => {
            let place = Key::Garbage(Garbage::Proposal(key.clone()));
            Read::good(vec![Change::Proposal(key, Arc::new(proposal), marked(object))], Some(place))
        }
        Err(errors) => Read::bad(Vec::new(), sentence(&errors)),
    }
}

/// A BaselineRollout.
#[must_use]
pub fn rollout(object: &BaselineRollout) -> Read {
    match object.to_model() {
        Ok((reference, rollout)) => {
            Read::good(vec![Change::Rollout(reference.clone(), rollout)], Some(Key::Rollout(reference)))
        }
        Err(errors) => Read::bad(Vec::new(), sentence(&errors)),
    }
}

/// An Activity. One that cannot be read may be in flight: starting anything would be a guess.
#[must_use]
pub fn activity(object: &Activity) -> Read {
    match object.to_model() {
        Ok(activity) => {
            let key = Key::Activity(activity.spec.name.clone());
            Read::good(vec![Change::Activity(Box::new(activity))], Some(key))
        }
        Err(errors) => Read::closing(place("Activity", &object.name_any()), None, sentence(&errors)),
    }
}

/// A GitSource: which revision is in force and what it consists of, and whether another one is being applied.
#[must_use]
pub fn source(object: &GitSource) -> Read {
    let name = SmolStr::from(object.name_any());
    // A suspended source, or one that is being deleted, makes no claim (rule G2).
    if object.spec.suspend || object.metadata.deletion_timestamp.is_some() {
        return Read::good(vec![Change::Source(name, None)], None);
    }
    let status = object.status.clone().unwrap_or_default();
    let state = SourceState {
        applying: status.applying_revision.is_some() && status.applying_revision != status.applied_revision,
        revision: status.applied_revision.map(SmolStr::from),
        owns: status.owns.iter().map(|owned| place(&owned.kind, &owned.name)).collect(),
    };
    Read::good(vec![Change::Source(name, Some(state))], None)
}

/// A Lease; nothing, if it is no gateway's.
#[must_use]
pub fn lease(object: &Lease) -> Read {
    let Some(gateway) = object.labels().get(presence::LABEL_GATEWAY).map(SmolStr::new) else {
        return Read::default();
    };
    let spec = object.spec.clone().unwrap_or_default();
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
    Read::good(vec![Change::Gateway(gateway, lease)], None)
}

/// A ConfigMap with presence; nothing, if it has none.
#[must_use]
pub fn presence_shard(object: &ConfigMap) -> Read {
    let Some(gateway) = object.labels().get(presence::LABEL_GATEWAY).map(SmolStr::new) else {
        return Read::default();
    };
    let name = SmolStr::from(object.name_any());
    match presence::PresenceShard::decode(&object.data.clone().unwrap_or_default()) {
        Ok(shard) => {
            let presence::PresenceShard { present, silent, since } = shard;
            let heard = PresenceShard { present, silent, since };
            Read::good(vec![Change::Presence(gateway, name, Some(heard))], None)
        }
        // Its machines count as silent.
        Err(error) => Read::bad(vec![Change::Presence(gateway, name, None)], error.to_string()),
    }
}

/// An error with its causes, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text += &format!(": {cause_text}");
        }
        next = cause.source();
    }
    text
}
