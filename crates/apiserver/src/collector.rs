//! The collector: deletes what has lost its owners, empties namespaces and definitions that are going away, and
//! finishes foreground and orphaning deletions, and sweeps old events. It hears of every deletion from the writer, and
//! looks at everything unsettled once when the server starts.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::definition;
use crate::managed;
use crate::object::{Owner, Stored, key_of};
use crate::registry::{DEFINITIONS, NAMESPACES, Nature, Resource, shelf_of_definition};
use crate::remove::{self, Propagation};
use crate::server::Inner;
use crate::store::{Notice, Refusal};

/// How long an event is kept after it was last written, in seconds: an hour, as in Kubernetes.
const EVENT_LIFE: i64 = 3600;

/// How often old events are swept.
const BROOM: Duration = Duration::from_secs(60);

pub(crate) async fn run(
    server: Weak<Inner>,
    mut notices: mpsc::UnboundedReceiver<Notice>,
    stop: CancellationToken,
) {
    let mut pending = match server.upgrade() {
        Some(inner) => inner.store.unsettled(),
        None => return,
    };
    let mut broom = tokio::time::interval(BROOM);
    broom.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        for notice in pending.drain(..) {
            let Some(inner) = server.upgrade() else { return };
            if let Err(refusal) = settle(&inner, &notice).await {
                if matches!(refusal, Refusal::Stopping) {
                    return;
                }
                tracing::warn!(shelf = %notice.shelf, key = %notice.key, ?refusal, "the collector could not finish");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = broom.tick() => {
                let Some(inner) = server.upgrade() else { return };
                if let Err(refusal) = expire_events(&inner).await {
                    tracing::warn!(?refusal, "the collector could not remove old events");
                }
            }
            next = notices.recv() => match next {
                Some(notice) => pending.push(notice),
                None => return,
            },
        }
    }
}

async fn settle(inner: &Inner, notice: &Notice) -> Result<(), Refusal> {
    let Notice { shelf, key, object, gone } = notice;
    let meta = &object.meta;
    if *gone {
        for (shelf, key) in inner.store.dependents(&meta.uid) {
            judge_owners(inner, &shelf, &key).await?;
        }
        for owner in &meta.owners {
            finish_foreground(inner, owner, &meta.namespace).await?;
        }
        let empty_namespace = !meta.namespace.is_empty() && is_leaving(inner, NAMESPACES, &meta.namespace);
        if empty_namespace {
            sweep_namespace(inner, &meta.namespace).await?;
        }
        if let Some(resource) = inner.registry.by_shelf(shelf)
            && resource.nature == Nature::Custom
        {
            let name = resource.qualified();
            if is_leaving(inner, DEFINITIONS, &name) {
                sweep_definition(inner, &name).await?;
            }
        }
        return Ok(());
    }
    if !meta.deleting {
        return judge_owners(inner, shelf, key).await;
    }
    match &**shelf {
        NAMESPACES => sweep_namespace(inner, key).await?,
        DEFINITIONS => sweep_definition(inner, key).await?,
        _ => {}
    }
    let waits_for = |name: &str| meta.finalizers.iter().any(|one| &**one == name);
    if let Some(resource) = inner.registry.by_shelf(shelf) {
        if waits_for("orphan") {
            orphan(inner, &resource, key, &meta.uid).await?;
        }
        if waits_for("foregroundDeletion") {
            for (shelf, key) in inner.store.dependents(&meta.uid) {
                delete_dependent(inner, &shelf, &key).await?;
            }
            release_if_alone(inner, &resource, key, &meta.uid).await?;
        }
    }
    Ok(())
}

fn is_leaving(inner: &Inner, shelf: &str, key: &str) -> bool {
    inner.store.get(shelf, key).is_some_and(|object| object.meta.deleting)
}

fn find_owner(
    inner: &Inner,
    owner: &Owner,
    namespace: &str,
) -> Option<(Arc<Resource>, Box<str>, Arc<Stored>)> {
    let resource = inner.registry.by_kind(&owner.api_version, &owner.kind)?;
    let key = key_of(if resource.namespaced { namespace } else { "" }, &owner.name);
    let object = inner.store.get(&resource.shelf, &key)?;
    (object.meta.uid == owner.uid).then_some((resource, key, object))
}

/// Deletes an object all of whose owners are gone; forgets those that are.
async fn judge_owners(inner: &Inner, shelf: &str, key: &str) -> Result<(), Refusal> {
    let Some(object) = inner.store.get(shelf, key) else { return Ok(()) };
    let Some(resource) = inner.registry.by_shelf(shelf) else { return Ok(()) };
    let meta = &object.meta;
    let lost: Vec<&Owner> =
        meta.owners.iter().filter(|owner| find_owner(inner, owner, &meta.namespace).is_none()).collect();
    if lost.is_empty() || meta.deleting {
        return Ok(());
    }
    if lost.len() == meta.owners.len() {
        return remove::collect(inner, &resource, key, &meta.uid, Propagation::Background).await;
    }
    let lost: Vec<&str> = lost.iter().map(|owner| &*owner.uid).collect();
    inner.edit(&resource, key, |value| forget_owners(value, &lost)).await
}

fn forget_owners(value: &mut Value, lost: &[&str]) -> bool {
    let Some(owners) = value["metadata"]["ownerReferences"].as_array_mut() else { return false };
    let before = owners.len();
    owners.retain(|owner| !lost.contains(&owner["uid"].as_str().unwrap_or_default()));
    let changed = owners.len() != before;
    if owners.is_empty() {
        crate::admit::remove(&mut value["metadata"], "ownerReferences");
    }
    changed
}

async fn delete_dependent(inner: &Inner, shelf: &str, key: &str) -> Result<(), Refusal> {
    let (Some(resource), Some(object)) = (inner.registry.by_shelf(shelf), inner.store.get(shelf, key)) else {
        return Ok(());
    };
    if object.meta.deleting {
        return Ok(());
    }
    remove::collect(inner, &resource, key, &object.meta.uid, Propagation::Foreground).await
}

async fn finish_foreground(inner: &Inner, owner: &Owner, namespace: &str) -> Result<(), Refusal> {
    let Some((resource, key, object)) = find_owner(inner, owner, namespace) else { return Ok(()) };
    if object.meta.deleting && object.meta.finalizers.iter().any(|one| &**one == "foregroundDeletion") {
        return release_if_alone(inner, &resource, &key, &owner.uid).await;
    }
    Ok(())
}

async fn release_if_alone(inner: &Inner, resource: &Resource, key: &str, uid: &str) -> Result<(), Refusal> {
    if inner.store.dependents(uid).is_empty() {
        return inner.edit(resource, key, |value| drop_finalizer(value, uid, "foregroundDeletion")).await;
    }
    Ok(())
}

async fn orphan(inner: &Inner, resource: &Resource, key: &str, uid: &str) -> Result<(), Refusal> {
    for (shelf, key) in inner.store.dependents(uid) {
        if let Some(dependent) = inner.registry.by_shelf(&shelf) {
            inner.edit(&dependent, &key, |value| forget_owners(value, &[uid])).await?;
        }
    }
    inner.edit(resource, key, |value| drop_finalizer(value, uid, "orphan")).await
}

fn drop_finalizer(value: &mut Value, uid: &str, name: &str) -> bool {
    if value["metadata"]["uid"] != uid {
        return false;
    }
    let Some(finalizers) = value["metadata"]["finalizers"].as_array_mut() else { return false };
    let before = finalizers.len();
    finalizers.retain(|one| one != name);
    let changed = finalizers.len() != before;
    if finalizers.is_empty() {
        crate::admit::remove(&mut value["metadata"], "finalizers");
    }
    changed
}

/// Deletes what is left in a namespace; lets it go when nothing is.
async fn sweep_namespace(inner: &Inner, namespace: &str) -> Result<(), Refusal> {
    let prefix = format!("{namespace}/");
    let mut left = Vec::new();
    for resource in inner.registry.snapshot().values().filter(|resource| resource.namespaced) {
        let objects = sweep(inner, resource, &prefix).await?;
        if !objects.is_empty() {
            left.push((format!("{}.{}", resource.plural, resource.group), objects));
        }
    }
    let Some(namespaces) = inner.registry.get("", "namespaces") else { return Ok(()) };
    let now = inner.clock.now();
    inner
        .edit(&namespaces, namespace, |value| {
            if !value["metadata"]["deletionTimestamp"].is_string() {
                return false;
            }
            if left.is_empty() {
                let Some(finalizers) = value["spec"]["finalizers"].as_array_mut() else { return false };
                let before = finalizers.len();
                finalizers.retain(|one| one != "kubernetes");
                return finalizers.len() != before;
            }
            let before = value.clone();
            for (kind, status, reason, message) in remaining(&left) {
                let since = crate::admit::seconds(now);
                definition::set_condition(value, kind, status, reason, &message, &since);
            }
            if *value == before {
                return false;
            }
            let writer = managed::Writer {
                resource: &namespaces,
                schema: namespaces.version("v1").and_then(|version| version.schema.clone()),
                has_status: true,
                manager: "kube-controller-manager",
                api_version: "v1".to_owned(),
                subresource: "status",
                now,
            };
            *value = managed::update(&writer, Some(&before), value.take());
            true
        })
        .await
}

/// What a namespace that cannot go yet says about it: type, status, reason, message.
fn remaining(left: &[(String, Vec<Arc<Stored>>)]) -> [(&'static str, &'static str, &'static str, String); 5] {
    let resources: Vec<String> = left
        .iter()
        .map(|(resource, objects)| format!("{resource} has {} resource instances", objects.len()))
        .collect();
    let mut finalizers: BTreeMap<&str, usize> = BTreeMap::new();
    for name in left.iter().flat_map(|(_, objects)| objects).flat_map(|object| &object.meta.finalizers) {
        *finalizers.entry(name).or_default() += 1;
    }
    let finalizers: Vec<String> =
        finalizers.iter().map(|(name, count)| format!("{name} in {count} resource instances")).collect();
    let resources = format!("Some resources are remaining: {}", resources.join(", "));
    let discovered = "All resources successfully discovered".to_owned();
    let parsed = "All legacy kube types successfully parsed".to_owned();
    let deleted = "All content successfully deleted, may be waiting on finalization".to_owned();
    let finalized = "All content-preserving finalizers finished".to_owned();
    let finalizing =
        format!("Some content in the namespace has finalizers remaining: {}", finalizers.join(", "));
    [
        ("NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered", discovered),
        ("NamespaceDeletionGroupVersionParsingFailure", "False", "ParsedGroupVersions", parsed),
        ("NamespaceDeletionContentFailure", "False", "ContentDeleted", deleted),
        ("NamespaceContentRemaining", "True", "SomeResourcesRemain", resources),
        if finalizers.is_empty() {
            ("NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers", finalized)
        } else {
            ("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", finalizing)
        },
    ]
}

/// Deletes events that nothing has happened to for long.
async fn expire_events(inner: &Inner) -> Result<(), Refusal> {
    let Some(events) = inner.registry.get("", "events") else { return Ok(()) };
    let now = inner.clock.now().as_second();
    let is_old = |object: &Stored| {
        let value = object.value();
        let times = [
            &value["series"]["lastObservedTime"],
            &value["lastTimestamp"],
            &value["eventTime"],
            &value["metadata"]["creationTimestamp"],
        ];
        let parse = |time: &Value| time.as_str()?.parse::<jiff::Timestamp>().ok();
        // A time to come is nonsense, whoever wrote it.
        let last = times
            .into_iter()
            .filter_map(parse)
            .map(|time| time.as_second())
            .filter(|time| *time <= now)
            .max();
        last.is_some_and(|last| now - last > EVENT_LIFE)
    };
    let page = inner.store.list(&events.shelf, "", "", None, usize::MAX, &is_old);
    for event in page.map(|page| page.items).unwrap_or_default() {
        let key = key_of(&event.meta.namespace, &event.meta.name);
        remove::collect(inner, &events, &key, &event.meta.uid, Propagation::Background).await?;
    }
    Ok(())
}

/// Deletes the objects of a definition; lets it go when none is left.
async fn sweep_definition(inner: &Inner, name: &str) -> Result<(), Refusal> {
    let Some(stored) = inner.store.get(DEFINITIONS, name) else { return Ok(()) };
    let shelf = shelf_of_definition(&stored.value());
    let left = match inner.registry.by_shelf(&shelf) {
        Some(resource) => sweep(inner, &resource, "").await?.len(),
        None => 0,
    };
    let Some(definitions) = inner.registry.by_shelf(DEFINITIONS) else { return Ok(()) };
    if left > 0 {
        let now = crate::admit::seconds(inner.clock.now());
        return inner
            .edit(&definitions, name, |value| {
                let before = value.clone();
                let message = "CustomResource deletion is in progress";
                let reason = "InstanceDeletionInProgress";
                definition::set_condition(value, "Terminating", "True", reason, message, &now);
                *value != before
            })
            .await;
    }
    let uid = stored.meta.uid.clone();
    inner.edit(&definitions, name, |value| drop_finalizer(value, &uid, definition::CLEANUP)).await
}

/// Deletes what is on a shelf under a prefix; returns the objects that still wait for finalizers.
async fn sweep(inner: &Inner, resource: &Resource, prefix: &str) -> Result<Vec<Arc<Stored>>, Refusal> {
    let list =
        || inner.store.list(&resource.shelf, prefix, "", None, usize::MAX, &|_| true).map(|page| page.items);
    for object in list().unwrap_or_default() {
        let key = key_of(&object.meta.namespace, &object.meta.name);
        if !object.meta.deleting {
            remove::collect(inner, resource, &key, &object.meta.uid, Propagation::Background).await?;
        }
    }
    Ok(list().unwrap_or_default())
}
