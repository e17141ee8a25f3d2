//! What is there: the namespace's guards, its machines' labels, who owns an object.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::{ListParams, ObjectMeta};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, PartialObjectMeta};
use kube::{Api, Resource, ResourceExt as _};
use muster_crds::names::{ANNOTATION_REVISION, GROUP, LABEL_SOURCE, VERSION};
use muster_crds::{DisruptionBudget, FleetMachine, FleetPolicy, MaintenanceWindow};
use muster_model::Policy;
use muster_source::{Guards, Kind, LabelledMachine, Model, Object, ObjectKey};
use serde::de::DeserializeOwned;
use smol_str::SmolStr;

use super::Context;

/// Objects a page: what kubectl asks for too.
const PAGE: u32 = 500;

type Result<T> = std::result::Result<T, kube::Error>;

/// A kind as kube's dynamic API wants it.
pub(super) fn resource(kind: Kind) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, kind.as_str()), kind.plural())
}

/// The objects of a kind in the namespace.
pub(super) fn api(context: &Context, kind: Kind) -> Api<DynamicObject> {
    Api::namespaced_with(context.client.clone(), &context.namespace, &resource(kind))
}

/// All objects, page by page.
async fn list<K: Resource + Clone + std::fmt::Debug + DeserializeOwned>(
    api: &Api<K>,
    labels: Option<&str>,
) -> Result<Vec<K>> {
    let mut parameters =
        ListParams { limit: Some(PAGE), label_selector: labels.map(str::to_owned), ..ListParams::default() };
    let mut all = Vec::new();
    loop {
        let page = api.list(&parameters).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters.continue_token = Some(token),
            None => return Ok(all),
        }
    }
}

/// The guards in force. One that cannot be read closes machines by itself (rule W7), so that nothing is lost with it.
pub(super) async fn guards(context: &Context) -> Result<Guards> {
    let (client, namespace) = (|| context.client.clone(), &context.namespace);
    let windows: Vec<MaintenanceWindow> = list(&Api::namespaced(client(), namespace), None).await?;
    let budgets: Vec<DisruptionBudget> = list(&Api::namespaced(client(), namespace), None).await?;
    let policies: Vec<FleetPolicy> = list(&Api::namespaced(client(), namespace), None).await?;
    Ok(Guards {
        windows: windows
            .iter()
            .filter_map(|window| Some((window.name_any(), window.to_model().ok()?)))
            .collect(),
        budgets: budgets
            .iter()
            .filter_map(|budget| Some((budget.name_any(), budget.to_model().ok()?)))
            .collect(),
        policy: policies.iter().find_map(|policy| policy.to_model().ok()).unwrap_or_default(),
    })
}

/// The guards after a change set is applied and `leaving` is gone.
pub(super) fn guards_after(before: &Guards, wanted: &[Object], leaving: &BTreeSet<ObjectKey>) -> Guards {
    let mut after = before.clone();
    for ObjectKey { kind, name } in leaving {
        match kind {
            Kind::MaintenanceWindow => drop(after.windows.remove(name)),
            Kind::DisruptionBudget => drop(after.budgets.remove(name)),
            Kind::FleetPolicy => after.policy = Policy::default(),
            Kind::FleetMachine | Kind::PackageBaseline | Kind::KernelBaseline => {}
        }
    }
    for object in wanted {
        let name = object.key.name.clone();
        match &object.model {
            Model::Window(window) => drop(after.windows.insert(name, window.clone())),
            Model::Budget(budget) => drop(after.budgets.insert(name, budget.clone())),
            Model::Policy(policy) => after.policy = policy.clone(),
            Model::Machine(_) | Model::PackageBaseline(_) | Model::KernelBaseline(_) => {}
        }
    }
    after
}

/// All machines with their labels and facts, now and as a change set makes them. `old` is what the source says now.
pub(super) async fn machines(
    context: &Context,
    old: &[Object],
    wanted: &[Object],
) -> Result<Vec<LabelledMachine>> {
    let api: Api<FleetMachine> = Api::namespaced(context.client.clone(), &context.namespace);
    let (old, wanted) = (machine_labels(old), machine_labels(wanted));
    let none = BTreeMap::new();
    let machines = list(&api, None).await?;
    Ok(machines
        .into_iter()
        .map(|machine| {
            let (taken, given) = (old.get(&machine.name_any()), wanted.get(&machine.name_any()));
            let (taken, given) = (taken.unwrap_or(&none), given.unwrap_or(&none));
            let reported = machine.status.as_ref().and_then(|status| status.reported.as_ref());
            let facts: BTreeMap<SmolStr, SmolStr> = reported
                .into_iter()
                .flat_map(|reported| &reported.facts)
                .map(|(key, value)| (key.into(), value.into()))
                .collect();
            let mut before = facts.clone();
            let labels = machine.labels();
            before.extend(labels.iter().map(|(key, value)| (key.into(), value.into())));
            let after = (taken != given).then(|| {
                let mut after = facts;
                let kept = labels.iter().filter(|(key, _)| !taken.contains_key(key.as_str()));
                after.extend(kept.map(|(key, value)| (key.into(), value.into())));
                after.extend(given.iter().map(|(key, value)| ((*key).into(), (*value).into())));
                after
            });
            LabelledMachine { before, after }
        })
        .collect())
}

/// Whether a change set changes any machine's labels.
pub(super) fn relabels(old: &[Object], wanted: &[Object]) -> bool {
    machine_labels(old) != machine_labels(wanted)
}

fn machine_labels(objects: &[Object]) -> BTreeMap<String, BTreeMap<&str, &str>> {
    let machines = objects.iter().filter(|object| object.key.kind == Kind::FleetMachine);
    machines.map(|object| (object.key.name.clone(), object.labels().collect())).collect()
}

/// What carries the source's label: generation and revision by key.
pub(super) async fn owned(context: &Context, source: &str) -> Result<BTreeMap<ObjectKey, Owned>> {
    let mut all = BTreeMap::new();
    for kind in Kind::ALL {
        let api: Api<PartialObjectMeta<DynamicObject>> =
            Api::namespaced_with(context.client.clone(), &context.namespace, &resource(kind));
        for object in list(&api, Some(&format!("{LABEL_SOURCE}={source}"))).await? {
            let revision = object.annotations().get(ANNOTATION_REVISION).cloned();
            let generation = object.metadata.generation.unwrap_or_default();
            all.insert(ObjectKey { kind, name: object.name_any() }, Owned { generation, revision });
        }
    }
    Ok(all)
}

/// An owned object as it is.
pub(super) struct Owned {
    pub(super) generation: i64,
    pub(super) revision: Option<String>,
}

/// The source whose label an object carries.
pub(super) fn label(metadata: &ObjectMeta) -> Option<&str> {
    metadata.labels.as_ref()?.get(LABEL_SOURCE).map(String::as_str)
}
