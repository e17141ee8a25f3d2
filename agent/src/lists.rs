//! Keeps apt's package lists fresh: what is not known to be on offer cannot be planned.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::dpkg;
use crate::execute::chain;
use crate::host::Host;
use crate::inventory::LISTS;
use crate::shared::{Shared, jittered};
use crate::tools::{Invocation, must};

/// Lists older than this are fetched again: as often as landscape-client does; apt's own timer may do it more often.
const FRESH_FOR: Duration = Duration::from_secs(6 * 60 * 60);

/// The first look comes within so long after the start, at a moment of each machine's own: a power cut must not bring a
/// whole fleet to its mirror at once.
const FIRST_LOOK: Duration = Duration::from_secs(60 * 60);

/// Lists that turned out to be stale are fetched at most so often.
const STALE_AGAIN: Duration = Duration::from_secs(10 * 60);

/// How long fetching may take.
const PATIENCE: Duration = Duration::from_secs(900);

/// Runs until it is dropped.
pub(crate) async fn run(host: Host, shared: Arc<Shared>) {
    let mut wait = jittered(FIRST_LOOK);
    loop {
        let asked = tokio::select! {
            () = shared.stale_lists.notified() => true,
            () = tokio::time::sleep(wait) => false,
        };
        wait = jittered(FIRST_LOOK);
        if shared.is_acting() || dpkg::is_locked(&host) || !(asked || is_old(&host)) {
            continue;
        }
        match update(&host).await {
            Ok(()) => tracing::info!("the package lists were fetched"),
            Err(error) => tracing::warn!(error = chain(&error), "the package lists could not be fetched"),
        }
        // The change of the lists wakes the link; this is for the case that there was none.
        shared.wake.notify_one();
        tokio::time::sleep(STALE_AGAIN).await;
    }
}

fn is_old(host: &Host) -> bool {
    let modified = std::fs::metadata(host.path(LISTS)).and_then(|found| found.modified());
    modified.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age >= FRESH_FOR))
}

/// A dead mirror is an error (by itself apt says 0).
async fn update(host: &Host) -> Result<(), crate::tools::ToolError> {
    let options = ["update", "-q", "-o", "APT::Update::Error-Mode=any", "-o", "DPkg::Lock::Timeout=60"];
    must(&*host.tools, Invocation::reading("apt-get", &options).within(PATIENCE)).await.map(drop)
}
