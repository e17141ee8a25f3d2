//! Sources: keeps a namespace's desired resources at what its GitSources say (design §5, G1–G7).
//!
//! One task per GitSource while this controller leads. A pass is: gather the revision, judge it whole, decide, apply in
//! order, report; what a revision means is decided in `muster-source`.
//!
//! A GitSource has no finalizer: deleting one deletes nothing else. What it had applied stays in force, with labels
//! that say where it came from, and another source may take it over.

mod apply;
mod drift;
mod gather;
mod good;
mod live;
mod pass;
mod report;
mod task;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt as _;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt as _};
use muster_crds::GitSource;
use tokio::sync::watch as value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::watch::Chain;
use task::{Handle, Task};

/// What all sources of a namespace share.
pub(crate) struct Context {
    pub(crate) client: kube::Client,
    pub(crate) namespace: String,
    /// Each source has a folder of its uid below it.
    pub(crate) folder: PathBuf,
}

/// Serves the namespace's GitSources for as long as the lease is ours, until shutdown.
pub(crate) async fn run(
    client: kube::Client,
    namespace: String,
    mut leading: value::Receiver<Option<u64>>,
    shutdown: CancellationToken,
    state_dir: PathBuf,
) {
    let context = Arc::new(Context { client, namespace, folder: state_dir.join("sources") });
    while !shutdown.is_cancelled() {
        let epoch = *leading.borrow_and_update();
        let mut tasks = Tasks::default();
        tokio::select! {
            () = lead(&context, &mut tasks), if epoch.is_some() => {}
            changed = leading.changed() => if changed.is_err() {
                // Who told us is gone, and the process with it.
                break;
            },
            () = shutdown.cancelled() => {}
        }
        tasks.end().await;
    }
}

/// The tasks of the sources that are known.
#[derive(Default)]
struct Tasks {
    handles: BTreeMap<String, Handle>,
    running: JoinSet<()>,
}

impl Tasks {
    /// A source is there, or has changed.
    fn see(&mut self, context: &Arc<Context>, source: &GitSource) {
        let name = source.name_any();
        let uid = source.uid().unwrap_or_default();
        if let Some(handle) = self.handles.get(&name).filter(|handle| handle.uid == uid) {
            handle.see(source);
            return;
        }
        self.forget(context, &name);
        let (handle, task) = Task::new(Arc::clone(context), source);
        self.handles.insert(name, handle);
        self.running.spawn(task.run());
    }

    /// A source is gone, and its claim with it (rule G2).
    fn forget(&mut self, context: &Context, name: &str) {
        if let Some(handle) = self.handles.remove(name) {
            handle.end();
            let folder = good::folder(context, &handle.uid);
            if let Err(error) = std::fs::remove_dir_all(&folder)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                warn!(folder = %folder.display(), %error, "the folder of a deleted source stays");
            }
        }
    }

    async fn end(&mut self) {
        for handle in std::mem::take(&mut self.handles).into_values() {
            handle.end();
        }
        while self.running.join_next().await.is_some() {}
    }
}

/// Watches the namespace's sources and what they own. Ends only by being dropped.
async fn lead(context: &Arc<Context>, tasks: &mut Tasks) {
    let sources: Api<DeserializeGuard<GitSource>> =
        Api::namespaced(context.client.clone(), &context.namespace);
    let stream = watcher::watcher(sources, watcher::Config::default()).default_backoff();
    let mut stream = std::pin::pin!(stream);
    let mut drifts = std::pin::pin!(drift::watch(context));
    let mut listed = Vec::new();
    loop {
        let event = tokio::select! {
            Some(event) = stream.next() => event,
            Some(drift) = drifts.next() => {
                if let Some(handle) = tasks.handles.get(&drift.source) {
                    handle.drifted(&drift);
                }
                continue;
            }
            Some(ended) = tasks.running.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    // Our mistake: the process is not to go on as if the source were served.
                    std::panic::resume_unwind(error.into_panic());
                }
                continue;
            }
        };
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                listed.push(object.name_any());
                see(context, tasks, object);
            }
            Ok(Event::InitDone) => {
                let gone: Vec<String> =
                    tasks.handles.keys().filter(|name| !listed.contains(name)).cloned().collect();
                gone.iter().for_each(|name| tasks.forget(context, name));
            }
            Ok(Event::Apply(object)) => see(context, tasks, object),
            Ok(Event::Delete(object)) => tasks.forget(context, &object.name_any()),
            Err(error) => {
                warn!(error = %Chain(&error), "the watch of sources failed; it will be tried again");
                tokio::task::yield_now().await;
            }
        }
    }
}

fn see(context: &Arc<Context>, tasks: &mut Tasks, object: DeserializeGuard<GitSource>) {
    match object.0 {
        Ok(source) => tasks.see(context, &source),
        Err(invalid) => {
            let name = invalid.metadata.name.unwrap_or_default();
            warn!(
                source = name,
                error = invalid.error.to_string(),
                "the GitSource cannot be read and is not served"
            );
        }
    }
}
