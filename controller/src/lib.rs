//! The controller of one namespace: sources, the fleet pass, activities' life cycle, under one lease.
//!
//! The pass is the architecture: watches bring model values, [`muster_fleet::step`] decides, effects are carried out,
//! and how they ended goes back in. What to decide is not here (`muster-fleet`, `muster-planner`).

mod clock;
mod conditions;
mod create;
mod kinds;
mod lease;
mod mirror;
mod read;
mod render;
mod run;
mod sources;
mod tap;
mod unreadable;
mod watch;
mod words;
mod work;
mod write;

use std::path::PathBuf;

pub use tap::EventSink;
use tokio_util::sync::CancellationToken;

/// What a controller is told.
#[derive(Clone)]
pub struct Settings {
    /// The API, with the controller's own identity.
    pub client: kube::Client,
    /// The namespace: the fleet.
    pub namespace: String,
    /// No other process can lead (`muster up` holds the store's lock): the lease is taken at once.
    pub sole: bool,
    /// Where sources keep their caches.
    pub state_dir: PathBuf,
    /// Ends it, orderly.
    pub shutdown: CancellationToken,
    /// Where events go, if somebody wants them (docs/events.md).
    pub events: Option<EventSink>,
}

/// Why the controller ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// A task of it ended by itself; its panic is in the log. Start the process again.
    #[error("the controller's {0} ended by itself; start muster again and report this with its log")]
    Ended(&'static str),
}

/// Runs a controller until it is told to end: leads when it can, waits while another leads.
///
/// # Errors
/// When a part of it ends by itself, which is a mistake of ours.
pub async fn run(settings: Settings) -> Result<(), ControllerError> {
    run::run(settings).await
}
