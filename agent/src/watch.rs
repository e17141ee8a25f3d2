//! Wakes the agent when packages, lists or apt's settings change: inotify, not polling.

use std::sync::Arc;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::host::Host;
use crate::inventory::LISTS;

/// Watches until it is dropped. What cannot be watched is looked at on the agent's interval all the same.
pub(crate) fn watch(host: &Host, wake: Arc<Notify>) -> Option<RecommendedWatcher> {
    let handler = move |event: notify::Result<Event>| {
        let is_change = |kind: &EventKind| !matches!(kind, EventKind::Access(_));
        if event.as_ref().map_or(true, |event| is_change(&event.kind)) {
            wake.notify_one();
        }
    };
    let mut watcher = match notify::recommended_watcher(handler) {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(%error, "no file can be watched; changes are found on the interval");
            return None;
        }
    };
    for (path, mode) in [
        ("/var/lib/dpkg", RecursiveMode::NonRecursive),
        ("/var/lib/apt", RecursiveMode::NonRecursive),
        (LISTS, RecursiveMode::NonRecursive),
        ("/etc/apt", RecursiveMode::Recursive),
    ] {
        if let Err(error) = watcher.watch(&host.path(path), mode) {
            tracing::warn!(%error, path, "cannot be watched; its changes are found on the interval");
        }
    }
    Some(watcher)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::fake::FakeTools;

    #[tokio::test]
    async fn a_change_of_dpkgs_status_wakes_the_agent() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::fake(folder.path(), Arc::new(FakeTools::default()));
        std::fs::create_dir_all(host.path("/var/lib/dpkg")).unwrap();
        let wake = Arc::new(Notify::new());
        let _watcher = watch(&host, wake.clone()).unwrap();
        std::fs::write(host.path("/var/lib/dpkg/status"), "Package: less\n").unwrap();
        wake.notified().await;
    }
}
