//! Watches what sources own, by its metadata alone: somebody else's change or deletion brings the revision back.
//!
//! Without it a budget that somebody deleted by hand would be missing until the next commit, and nothing would start
//! meanwhile, since the revision is not seen whole (rule G2).

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::{self, Stream, StreamExt as _};
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt as _};
use muster_crds::names::LABEL_SOURCE;
use muster_source::{Kind, ObjectKey};
use tracing::warn;

use super::Context;
use super::live::resource;
use crate::watch::Chain;

/// An owned object as a watch showed it.
pub(super) struct Drift {
    pub(super) source: String,
    pub(super) key: ObjectKey,
    /// Its generation; `None`: it is gone, or no longer labelled.
    pub(super) generation: Option<i64>,
}

/// All changes of what sources own. Machines are left out: their spec is others' too, and changes all the time.
pub(super) fn watch(context: &Arc<Context>) -> impl Stream<Item = Drift> + use<> {
    let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::FleetMachine);
    stream::select_all(kinds.map(|kind| Box::pin(watch_kind(context, kind))))
}

fn watch_kind(context: &Context, kind: Kind) -> impl Stream<Item = Drift> + use<> {
    let api: Api<PartialObjectMeta<DynamicObject>> =
        Api::namespaced_with(context.client.clone(), &context.namespace, &resource(kind));
    let stream = watcher::watcher(api, watcher::Config::default().labels(LABEL_SOURCE)).default_backoff();
    // Whose each object was, so that its end can be told.
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut before: BTreeMap<String, String> = BTreeMap::new();
    stream.flat_map(move |event| {
        let gone = |name: String, source| Drift { source, key: ObjectKey { kind, name }, generation: None };
        let drifts = match event {
            Ok(Event::Init) => {
                before = std::mem::take(&mut known);
                Vec::new()
            }
            Ok(Event::InitApply(object) | Event::Apply(object)) => {
                let name = object.name_any();
                before.remove(&name);
                let source = object.labels().get(LABEL_SOURCE).cloned().unwrap_or_default();
                known.insert(name.clone(), source.clone());
                vec![Drift { source, key: ObjectKey { kind, name }, generation: object.metadata.generation }]
            }
            Ok(Event::InitDone) => std::mem::take(&mut before).into_iter().map(|(name, source)| gone(name, source)).collect(),
            Ok(Event::Delete(object)) => {
                let name = object.name_any();
                known.remove(&name).map(|source| gone(name, source)).into_iter().collect()
            }
            Err(error) => {
                warn!(kind = kind.as_str(), error = %Chain(&error), "a watch of owned objects failed; it will be tried again");
                Vec::new()
            }
        };
        stream::iter(drifts)
    })
}
