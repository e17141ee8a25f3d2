//! Watches: what the API shows, as model values, in batches.
//!
//! Nothing is cached here but names, so that a relist can tell what is gone. An object that does not parse never stops
//! a watch: it is told as unreadable.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource, ResourceExt};
use muster_fleet::Change;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tracing::warn;

/// Objects a page: what kubectl asks for too.
const PAGE: u32 = 500;

/// What watches say to the loop.
pub(crate) enum News {
    /// These things changed.
    Changed(Vec<Change>),
    /// The first list of one kind is complete.
    Synced(&'static str),
}

/// What an object of that name, and a word about it, change.
type About<T> = Box<dyn Fn(&str, T) -> Vec<Change> + Send + Sync>;

/// How one kind becomes changes.
pub(crate) struct Kind<K> {
    /// Its plural name, for logs.
    pub(crate) name: &'static str,
    /// An object as it is now; errors name the field.
    pub(crate) read: Box<dyn Fn(K) -> Vec<Change> + Send + Sync>,
    /// An object of that name is gone.
    pub(crate) gone: About<()>,
    /// An object of that name does not parse.
    pub(crate) unreadable: About<String>,
}

/// Watches one kind until the receiver is gone.
pub(crate) async fn watch<K>(
    api: Api<DeserializeGuard<K>>,
    selector: Option<&'static str>,
    kind: Kind<K>,
    news: mpsc::Sender<News>,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut config = watcher::Config::default().page_size(PAGE);
    if let Some(selector) = selector {
        config = config.labels(selector);
    }
    let stream = watcher::watcher(api, config).default_backoff();
    let mut stream = std::pin::pin!(stream);
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut listed: BTreeSet<String> = BTreeSet::new();
    let mut batch = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                listed.insert(object.name_any());
                batch.extend(read(&kind, object));
                if batch.len() < PAGE as usize {
                    continue;
                }
            }
            Ok(Event::InitDone) => {
                for name in known.difference(&listed) {
                    batch.extend((kind.gone)(name, ()));
                }
                known = std::mem::take(&mut listed);
                let done = [News::Changed(std::mem::take(&mut batch)), News::Synced(kind.name)];
                for one in done {
                    if news.send(one).await.is_err() {
                        return;
                    }
                }
            }
            Ok(Event::Apply(object)) => {
                known.insert(object.name_any());
                batch.extend(read(&kind, object));
            }
            Ok(Event::Delete(object)) => {
                known.remove(&object.name_any());
                batch.extend((kind.gone)(&object.name_any(), ()));
            }
            Err(error) => {
                warn!(kind = kind.name, error = %Chain(&error), "a watch failed; it will be tried again");
                // Watcher backs off by itself; this yields to the runtime between errors that need no waiting.
                tokio::task::yield_now().await;
            }
        }
        if !batch.is_empty() && news.send(News::Changed(std::mem::take(&mut batch))).await.is_err() {
            return;
        }
    }
}

fn read<K>(kind: &Kind<K>, object: DeserializeGuard<K>) -> Vec<Change>
where
    K: Resource<DynamicType = ()>,
{
    match object.0 {
        Ok(object) => (kind.read)(object),
        Err(invalid) => {
            (kind.unreadable)(&invalid.metadata.name.clone().unwrap_or_default(), invalid.error.to_string())
        }
    }
}

/// An error with all its causes, each once.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn std::error::Error + 'a));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            if !last.contains(&text) {
                write!(f, ": {text}")?;
            }
            last = text;
            next = cause.source();
        }
        Ok(())
    }
}

/// The time between looks at the lease while another controller leads.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(2);
