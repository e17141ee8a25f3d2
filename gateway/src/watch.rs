//! Watches that keep a [`Fleet`] up to date; objects are projected and dropped as they come, never stored.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::coordination::v1::Lease;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt};
use muster_crds::{Activity, FleetMachine};
use serde::de::DeserializeOwned;

use crate::fleet::Fleet;

/// How many watches a fleet has.
pub(crate) const WATCHES: usize = 3;

/// Activities that are not over; the API server keeps the rest to itself.
const UNFINISHED: &str = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Refused,\
                          status.phase!=Interrupted,status.phase!=Canceled,status.phase!=Expired";

/// Something that a watch saw.
enum Change<'a, K> {
    Is(&'a K),
    Gone(String),
    /// A list is complete: these are all there are.
    All(&'a HashSet<String>),
}

/// Follows the FleetMachines.
pub(crate) async fn machines(client: Client, fleet: Arc<Fleet>) {
    let api = Api::<DeserializeGuard<FleetMachine>>::namespaced(client, &fleet.namespace);
    follow(api, watcher::Config::default(), &fleet, |change| match change {
        Change::Is(machine) => fleet.machine_is(machine),
        Change::Gone(name) => fleet.machine_gone(&name),
        Change::All(names) => fleet.machines_are(names),
    })
    .await;
}

/// Follows the unfinished activities.
pub(crate) async fn activities(client: Client, fleet: Arc<Fleet>) {
    let api = Api::<DeserializeGuard<Activity>>::namespaced(client, &fleet.namespace);
    follow(api, watcher::Config::default().fields(UNFINISHED), &fleet, |change| match change {
        Change::Is(activity) => fleet.activity_is(activity),
        Change::Gone(name) => fleet.activity_gone(&name),
        Change::All(names) => fleet.activities_are(names),
    })
    .await;
}

/// Follows the controllers' Lease.
pub(crate) async fn lease(client: Client, fleet: Arc<Fleet>) {
    let api = Api::<DeserializeGuard<Lease>>::namespaced(client, &fleet.namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={}", Fleet::lease_name()));
    follow(api, config, &fleet, |change| match change {
        Change::Is(lease) => fleet.lease_is(Some(lease)),
        Change::Gone(_) => fleet.lease_is(None),
        Change::All(names) => {
            if names.is_empty() {
                fleet.lease_is(None);
            }
        }
    })
    .await;
}

async fn follow<K>(
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
    fleet: &Fleet,
    mut see: impl FnMut(Change<'_, K>),
) where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + 'static,
{
    let mut listed = HashSet::new();
    let mut was_listed = false;
    let mut events = watcher::watcher(api, config).default_backoff().into_stream().boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                listed.insert(object.name_any());
                is(object, &mut see);
            }
            Ok(Event::InitDone) => {
                see(Change::All(&listed));
                listed = HashSet::new();
                if !was_listed {
                    was_listed = true;
                    fleet.listed.send_modify(|count| *count += 1);
                }
            }
            Ok(Event::Apply(object)) => is(object, &mut see),
            Ok(Event::Delete(object)) => see(Change::Gone(object.name_any())),
            Err(error) => {
                let kind = K::kind(&());
                tracing::warn!(%kind, error = &error as &dyn std::error::Error, "a watch broke; it goes on by itself");
            }
        }
    }
}

fn is<K: Resource<DynamicType = ()>>(object: DeserializeGuard<K>, see: &mut impl FnMut(Change<'_, K>)) {
    match object.0 {
        Ok(object) => see(Change::Is(&object)),
        // A machine that cannot be read stays as it was last read.
        Err(invalid) => {
            let name = invalid.metadata.name.unwrap_or_default();
            tracing::warn!(name, error = invalid.error, "an object cannot be read");
        }
    }
}
