//! The world as it will be when a change set has been applied: the state, with what the source says in place of what it
//! said before (rules G3, G5).
//!
//! Deliberately not here: the guards against removals (rule G4), which `held` asks. They hold a revision back; a plan says what
//! it would do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_crds::FleetMachine;
use muster_crds::UID_UNSAVED;
use muster_model::{
    BaselineCommon, Machine, MachineName, ObjectName, Policy, Presence, Provenance, Shared, Snapshot, Uid,
};
use muster_source::{ChangeSet, Kind, Model, Object};
use muster_state::{Owners, SourceFields, read::place};
use serde_json::Value;
use smol_str::SmolStr;

/// Which source's objects a change set replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replaced(Option<SmolStr>);

/// The state has several sources, and nobody said which one is meant.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SourceError {
    /// There are several.
    #[error("the namespace has the GitSources {sources}: say with --source which one the plan is about")]
    Several {
        /// Their names.
        sources: String,
    },
    /// There is no such source.
    #[error("the namespace has no GitSource {name}; it has {sources}")]
    Missing {
        /// What was asked for.
        name: String,
        /// Their names.
        sources: String,
    },
}

impl Replaced {
    /// The source that is named, or the only one that there is; where there is none, whatever has the same name.
    pub(crate) fn of(owners: &Owners, named: Option<&str>) -> Result<Self, SourceError> {
        let all: BTreeSet<&SmolStr> = owners.sources.iter().chain(owners.of.values()).collect();
        let sources = || all.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
        match (named, all.len()) {
            (Some(name), _) if all.iter().any(|one| *one == name) => Ok(Self(Some(name.into()))),
            (Some(name), 0) => {
                Err(SourceError::Missing { name: name.to_owned(), sources: "none".to_owned() })
            }
            (Some(name), _) => Err(SourceError::Missing { name: name.to_owned(), sources: sources() }),
            (None, 0 | 1) => Ok(Self(all.first().map(|name| (*name).clone()))),
            (None, _) => Err(SourceError::Several { sources: sources() }),
        }
    }

    fn has(&self, owners: &Owners, kind: Kind, name: &str) -> bool {
        self.owns(owners, &place(kind.as_str(), name))
    }

    /// The source whose objects are replaced; `None`: there is none yet.
    pub(crate) fn source(&self) -> Option<&SmolStr> {
        self.0.as_ref()
    }

    fn owns(&self, owners: &Owners, what: &str) -> bool {
        self.0.is_some() && owners.of.get(what) == self.0.as_ref()
    }
}

/// The world with the change set in force.
pub(crate) fn overlay(world: &Snapshot, owners: &Owners, replaced: &Replaced, set: &ChangeSet) -> Snapshot {
    let mut after = world.clone();
    let ours = |kind: Kind, name: &ObjectName| replaced.has(owners, kind, name.as_str());
    after.package_baselines.retain(|name, _| !ours(Kind::PackageBaseline, name));
    after.kernel_baselines.retain(|name, _| !ours(Kind::KernelBaseline, name));
    after.windows.retain(|name, _| !ours(Kind::MaintenanceWindow, name));
    after.budgets.retain(|name, _| !ours(Kind::DisruptionBudget, name));
    after.unreadable.retain(|what, _| !replaced.owns(owners, what));
    if replaced.has(owners, Kind::FleetPolicy, muster_crds::names::FLEET_POLICY_NAME) {
        after.policy = Policy::default();
    }
    let mut said: BTreeMap<MachineName, &Object> = BTreeMap::new();
    for object in &set.objects {
        let provenance = Some(Provenance {
            revision: set.revision.as_str().into(),
            file: object.file.as_str().into(),
            line: object.line,
        });
        after.unreadable.remove(place(object.key.kind.as_str(), &object.key.name).as_str());
        match &object.model {
            Model::PackageBaseline(baseline) => {
                let mut baseline = muster_model::PackageBaseline::clone(baseline);
                let known = world.package_baselines.get(&baseline.common.name);
                keep_identity(&mut baseline.common, known.map(|known| &known.common), provenance);
                after.package_baselines.insert(baseline.common.name.clone(), Arc::new(baseline));
            }
            Model::KernelBaseline(baseline) => {
                let mut baseline = muster_model::KernelBaseline::clone(baseline);
                let known = world.kernel_baselines.get(&baseline.common.name);
                keep_identity(&mut baseline.common, known.map(|known| &known.common), provenance);
                after.kernel_baselines.insert(baseline.common.name.clone(), Arc::new(baseline));
            }
            Model::Window(window) => {
                let mut window = window.clone();
                if let Some(known) = world.windows.get(&window.name) {
                    (window.uid, window.generation) = (known.uid.clone(), known.generation);
                }
                window.provenance = provenance;
                after.windows.insert(window.name.clone(), Arc::new(window));
            }
            Model::Budget(budget) => {
                let mut budget = budget.clone();
                if let Some(known) = world.budgets.get(&budget.name) {
                    (budget.uid, budget.generation) = (known.uid.clone(), known.generation);
                }
                budget.provenance = provenance;
                after.budgets.insert(budget.name.clone(), Arc::new(budget));
            }
            // What was measured is in its status, which stays.
            Model::Policy(policy) => {
                let (estimates, medians) = (world.policy.estimates, world.policy.medians);
                after.policy = Policy { estimates, medians, ..policy.clone() };
            }
            Model::Machine(_) => {
                if let Ok(name) = MachineName::parse(&object.key.name) {
                    said.insert(name, object);
                }
            }
        }
    }
    machines(&mut after, owners, replaced, &said);
    after.revision = Some(set.revision.as_str().into());
    // The plan is of the time when all of it is in force.
    after.applying = false;
    after
}

fn keep_identity(
    common: &mut BaselineCommon,
    known: Option<&BaselineCommon>,
    provenance: Option<Provenance>,
) {
    if let Some(known) = known {
        (common.uid, common.generation) = (known.uid.clone(), known.generation);
    }
    common.provenance = provenance;
}

/// What the source said of machines goes, what it says now comes.
fn machines(
    after: &mut Snapshot,
    owners: &Owners,
    replaced: &Replaced,
    said: &BTreeMap<MachineName, &Object>,
) {
    for (name, fields) in &owners.fields {
        let Some(machine) = after.machines.get_mut(name) else { continue };
        if replaced.has(owners, Kind::FleetMachine, name.as_str()) {
            take_back(Arc::make_mut(machine), fields);
        }
    }
    for (name, object) in said {
        let Model::Machine(typed) = &object.model else { continue };
        let machine = after.machines.entry(name.clone()).or_insert_with(|| Arc::new(unheard(name)));
        say(Arc::make_mut(machine), typed, object);
    }
}

/// A machine that Git names before it has ever reported.
fn unheard(name: &MachineName) -> Machine {
    Machine {
        name: name.clone(),
        uid: Uid::parse(UID_UNSAVED).expect("a constant that is a uid"),
        labels: Shared::default(),
        admitted: false,
        suspend: false,
        revoked: false,
        resolved_through: 0,
        retried_through: 0,
        reported: None,
        presence: Presence::Never,
        last_number: 0,
        holds: Shared::default(),
        first_converged: None,
    }
}

fn take_back(machine: &mut Machine, fields: &SourceFields) {
    machine.labels.retain(|key, _| !fields.labels.contains(key));
    for field in &fields.spec {
        match field.as_str() {
            "admitted" => machine.admitted = false,
            "suspend" => machine.suspend = false,
            "revoked" => machine.revoked = false,
            "resolvedThrough" => machine.resolved_through = 0,
            "retriedThrough" => machine.retried_through = 0,
            // The others say nothing to the planner.
            _ => {}
        }
    }
}

/// Only what is written counts: the rest of a FleetMachine is other people's to say.
fn say(machine: &mut Machine, typed: &FleetMachine, object: &Object) {
    machine.labels.extend(object.labels().map(|(key, value)| (key.into(), value.into())));
    let spec = object.value.get("spec").and_then(Value::as_object);
    let says = |field: &str| spec.is_some_and(|spec| spec.contains_key(field));
    if says("admitted") {
        machine.admitted = typed.spec.admitted;
    }
    if says("suspend") {
        machine.suspend = typed.spec.suspend;
    }
    if says("revoked") {
        machine.revoked = typed.spec.revoked;
    }
    if says("resolvedThrough") {
        machine.resolved_through = typed.spec.resolved_through;
    }
    if says("retriedThrough") {
        machine.retried_through = typed.spec.retried_through;
    }
}
