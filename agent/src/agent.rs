//! The agent as a whole: its loops, and their orderly end.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::carry::Carrier;
use crate::execute::Executor;
use crate::host::Host;
use crate::link::Link;
use crate::shared::Shared;
use crate::state::{State, StateError};
use crate::{enroll, inventory, lists, report, watch};

/// News that may wait while the carrier is busy: one offer and one cancel, with room for repetitions.
const NEWS: usize = 16;

/// How the agent runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its directory.
    pub directory: PathBuf,
    /// Never change the machine, whatever the enrolment says.
    pub observe: bool,
}

/// Why the agent ended.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The state directory fails.
    #[error(transparent)]
    State(#[from] StateError),
    /// Not enrolled.
    #[error(
        "this machine is not enrolled: run `muster enroll` where you administer the fleet, and the command that it prints here"
    )]
    NotEnrolled,
    /// The certificate or key cannot be used.
    #[error(transparent)]
    Client(#[from] muster_wire::ClientError),
    /// The machine cannot be read.
    #[error("cannot find out what is on this machine: {0}")]
    Machine(String),
}

/// Runs the agent until `stop`, or until its journal cannot be written.
///
/// What acts in its own unit goes on after the end, and is found again at the next start.
///
/// # Errors
/// When the machine is not enrolled, another agent runs, or the state directory fails.
pub async fn run(settings: &Settings, stop: CancellationToken) -> Result<(), AgentError> {
    run_on(Host::system(), settings, stop).await
}

async fn run_on(host: Host, settings: &Settings, stop: CancellationToken) -> Result<(), AgentError> {
    let state = State::open(&settings.directory)?;
    let _claim = state.claim()?;
    let enrolment = state.enrolment()?.ok_or(AgentError::NotEnrolled)?;
    let observe = settings.observe || enrolment.observe;
    let shared = Arc::new(Shared::new(enroll::client(&enrolment)?));
    let (news, inbox) = mpsc::channel(NEWS);
    let (report_now, asked_to_report) = mpsc::channel(1);
    let executor = Executor::new(host.clone(), state.acts(), observe);
    let carrier = Carrier::new(executor, state.clone(), shared.clone(), (news.clone(), inbox), report_now)?;
    let _watcher = watch::watch(&host, shared.wake.clone());
    tracing::info!(machine = %enrolment.name, gateway = %enrolment.gateway, observe, "the agent runs");
    let link = Link {
        host: host.clone(),
        state,
        shared: shared.clone(),
        enrolment,
        observe,
        news,
        report_now: asked_to_report,
        known: Default::default(),
    };
    let lists = async {
        if observe {
            std::future::pending::<()>().await;
        }
        lists::run(host, shared).await;
    };
    tokio::select! {
        () = stop.cancelled() => {
            tracing::info!("the agent ends; what it began goes on by itself");
            Ok(())
        }
        error = carrier.run() => Err(error.into()),
        () = link.run() => Ok(()),
        () = lists => Ok(()),
    }
}

/// What the agent would report, as JSON: the report and its inventory.
///
/// # Errors
/// When the machine cannot be read.
pub async fn describe(observe: bool) -> Result<serde_json::Value, AgentError> {
    let host = Host::system();
    let failed = |error: crate::tools::ToolError| AgentError::Machine(crate::execute::chain(&error));
    let gathered = inventory::gather(&host, &BTreeSet::new()).await.map_err(failed)?;
    let report = report::gather(&host, observe, &gathered, report::boot(&host), 0).await.map_err(failed)?;
    Ok(serde_json::json!({ "digest": report.digest(), "report": report, "inventory": gathered.inventory }))
}

#[cfg(test)]
mod tests;
