//! Starting and stopping a gateway, and what all its parts share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use muster_wire::Reason;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::fleet::{Fleet, Record};
use crate::issuer::{Issuer, IssuerError, IssuerSource};
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::{front, presence, watch};

/// The clock by which a gateway judges (rule M3); tests bring their own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// So many requests are worked on at once; polls that wait are not among them.
///
/// 64: each costs a few requests to the Kubernetes API, which answers some thousands a second.
const WORK_AT_ONCE: usize = 64;

/// A request waits so long for its turn.
const WORK_PATIENCE: Duration = Duration::from_secs(15);

/// How a gateway is started.
pub struct GatewayConfig {
    /// The Kubernetes API.
    pub client: Client,
    /// The namespaces whose machines it serves.
    pub namespaces: Vec<String>,
    /// Where agents connect.
    pub listener: TcpListener,
    /// Its id: a lower-case DNS label, the same after a restart, different from every other gateway's.
    pub id: String,
    /// Who signs its intermediate certificate.
    pub issuer: Arc<dyn IssuerSource>,
    /// The clock.
    pub clock: Clock,
    /// What it counts.
    pub metrics: Metrics,
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// No intermediate certificate.
    #[error("cannot start the gateway without its certificate")]
    Issuer {
        /// What went wrong.
        source: IssuerError,
    },
    /// The address is not known.
    #[error("cannot tell which address the gateway listens on")]
    Address {
        /// What went wrong.
        source: std::io::Error,
    },
    /// What it published before cannot be read.
    #[error(
        "cannot read the gateway's presence in namespace {namespace}; may it get Leases and ConfigMaps there?"
    )]
    Presence {
        /// The namespace.
        namespace: String,
        /// What went wrong.
        source: Box<kube::Error>,
    },
}

/// The agents' side of Muster.
pub struct Gateway;

/// A running gateway; it ends when this is stopped or dropped.
pub struct Handle {
    address: SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// What all parts share.
pub(crate) struct Core {
    pub(crate) fleets: Vec<Arc<Fleet>>,
    pub(crate) issuer: Issuer,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    work: Arc<Semaphore>,
}

impl Gateway {
    /// Starts serving; agents are answered from the moment that all is known about the machines.
    ///
    /// # Errors
    /// When there is no certificate, or the API cannot be read.
    pub async fn start(config: GatewayConfig) -> Result<Handle, GatewayError> {
        let GatewayConfig { client, namespaces, listener, id, issuer: source, clock, metrics } = config;
        let address = listener.local_addr().map_err(|source| GatewayError::Address { source })?;
        let issuer = Issuer::start(source.as_ref(), &id, clock.clone())
            .await
            .map_err(|source| GatewayError::Issuer { source })?;
        let fleets: Vec<_> =
            namespaces.iter().map(|namespace| Arc::new(Fleet::new(&client, namespace))).collect();
        let core = Arc::new(Core {
            fleets,
            issuer,
            clock: clock.clone(),
            metrics: metrics.clone(),
            work: Arc::new(Semaphore::new(WORK_AT_ONCE)),
        });
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for fleet in &core.fleets {
            presence::resume(fleet, &id, clock()).await.map_err(|source| GatewayError::Presence {
                namespace: fleet.namespace.clone(),
                source: Box::new(source),
            })?;
            tasks.spawn(watch::machines(client.clone(), fleet.clone()));
            tasks.spawn(watch::activities(client.clone(), fleet.clone()));
            tasks.spawn(watch::lease(client.clone(), fleet.clone()));
            tasks.spawn(presence::keep_lease(fleet.clone(), id.clone(), clock.clone(), stop.clone()));
            tasks.spawn(presence::publish(
                fleet.clone(),
                id.clone(),
                clock.clone(),
                metrics.clone(),
                stop.clone(),
            ));
        }
        let renewing = core.clone();
        let until = stop.clone();
        tasks.spawn(async move { renewing.issuer.renew(source, id, until).await });
        tasks.spawn(front::serve(core, listener, stop.clone()));
        Ok(Handle { address, stop, tasks })
    }
}

impl Handle {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it: no new request is taken, what is being written is written.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let orderly = async {
            // The watches end only by being dropped.
            while let Some(ended) = self.tasks.join_next().await {
                if let Err(error) = ended {
                    tracing::warn!(%error, "a part of the gateway had failed");
                }
                if self.tasks.len() <= 3 * watch::WATCHES {
                    break;
                }
            }
        };
        if tokio::time::timeout(Duration::from_secs(5), orderly).await.is_err() {
            tracing::warn!("the gateway did not end within 5 s");
        }
        self.tasks.abort_all();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Core {
    /// The machine with that identity.
    pub(crate) async fn find(&self, identity: &str) -> Result<(Arc<Fleet>, Arc<Record>), Refusal> {
        for fleet in &self.fleets {
            if let Some(record) = fleet.cached(identity) {
                return Ok((fleet.clone(), record));
            }
        }
        for fleet in &self.fleets {
            // Until a machine's list is complete, not knowing it means nothing.
            if *fleet.listed.borrow() < watch::WATCHES {
                return Err(Refusal::new(
                    Reason::Unavailable,
                    "the gateway is starting; try again in a moment",
                ));
            }
            let found = fleet.find(identity).await;
            if let Some(record) = found.map_err(|error| Refusal::unavailable("the request", &error))? {
                return Ok((fleet.clone(), record));
            }
        }
        Err(Refusal::revoked())
    }

    /// A place among those who may use the Kubernetes API.
    pub(crate) async fn permit(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        match tokio::time::timeout(WORK_PATIENCE, self.work.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Refusal::new(Reason::Busy, "the gateway is busy; try again later")),
        }
    }
}
