//! The gateway's own authority: a short-lived intermediate, and the server certificate under it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use muster_wire::pki::{self, PkiError};
use rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use crate::gateway::Clock;
use crate::tls;

/// A machine's certificate is renewed after two thirds of its validity.
const RENEW_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24 * 2 / 3);

/// How long to wait before asking for an intermediate again after a failure.
const RETRY: Duration = Duration::from_secs(60);

/// Who signs gateways' intermediates: the controller, which has the fleet's root key.
pub trait IssuerSource: Send + Sync + 'static {
    /// A new intermediate for the gateway of that id, its chain ending in the fleet's root.
    fn intermediate<'a>(&'a self, gateway: &'a str) -> BoxFuture<'a, Result<pki::Pair, IssuerError>>;
}

/// Why there is no intermediate.
#[derive(Debug, thiserror::Error)]
#[error("cannot get the gateway's intermediate certificate; is a controller running?")]
pub struct IssuerError {
    /// What went wrong.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl From<PkiError> for IssuerError {
    fn from(source: PkiError) -> Self {
        Self { source: Box::new(source) }
    }
}

/// Signs intermediates with a root in this process: what `muster up` and the controller use.
#[derive(Clone, Debug)]
pub struct RootIssuer {
    root: pki::Pair,
}

impl RootIssuer {
    /// From the fleet's root and its key.
    #[must_use]
    pub fn new(root: pki::Pair) -> Self {
        Self { root }
    }
}

impl IssuerSource for RootIssuer {
    fn intermediate<'a>(&'a self, gateway: &'a str) -> BoxFuture<'a, Result<pki::Pair, IssuerError>> {
        let signed = pki::new_intermediate(&self.root, gateway, Timestamp::now(), pki::INTERMEDIATE_VALIDITY);
        Box::pin(std::future::ready(signed.map_err(IssuerError::from)))
    }
}

/// What is in force.
struct Issued {
    intermediate: pki::Pair,
    /// The intermediate alone, for after a machine's certificate.
    chain: String,
    root: String,
    tls: Arc<ServerConfig>,
    renew: Timestamp,
}

/// The authority that signs machines' certificates.
pub(crate) struct Issuer {
    issued: RwLock<Arc<Issued>>,
    clock: Clock,
}

/// A machine's certificate, signed.
pub(crate) struct Signed {
    /// With the intermediate after it.
    pub(crate) certificate: String,
    pub(crate) root: String,
    pub(crate) renew_after_seconds: u64,
}

impl Issuer {
    /// Gets the first intermediate.
    pub(crate) async fn start(
        source: &dyn IssuerSource,
        id: &str,
        clock: Clock,
    ) -> Result<Self, IssuerError> {
        let issued = issue(source, id, clock()).await?;
        Ok(Self { issued: RwLock::new(Arc::new(issued)), clock })
    }

    /// Renews for as long as the gateway runs.
    pub(crate) async fn renew(&self, source: Arc<dyn IssuerSource>, id: String, stop: CancellationToken) {
        loop {
            let left = self.issued().renew.duration_since((self.clock)());
            let wait = Duration::try_from(left).unwrap_or(Duration::ZERO).min(Duration::from_secs(3600));
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            if (self.clock)() < self.issued().renew {
                continue;
            }
            match issue(source.as_ref(), &id, (self.clock)()).await {
                Ok(issued) => {
                    *self.issued.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(issued);
                    tracing::info!("renewed the gateway's intermediate certificate");
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot renew the intermediate; trying again"
                    );
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// The configuration for new connections.
    pub(crate) fn tls(&self) -> Arc<ServerConfig> {
        self.issued().tls.clone()
    }

    /// Signs a machine's request.
    pub(crate) fn sign(&self, request: &str, identity: &str) -> Result<Signed, PkiError> {
        let issued = self.issued();
        let now = (self.clock)();
        let leaf = pki::sign_machine(&issued.intermediate, request, identity, now, pki::MACHINE_VALIDITY)?;
        Ok(Signed {
            certificate: leaf + &issued.chain,
            root: issued.root.clone(),
            renew_after_seconds: RENEW_AFTER.as_secs().unsigned_abs(),
        })
    }

    fn issued(&self) -> Arc<Issued> {
        self.issued.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn issue(source: &dyn IssuerSource, id: &str, now: Timestamp) -> Result<Issued, IssuerError> {
    let intermediate = source.intermediate(id).await?;
    let end = pki::not_after(&intermediate.certificate)?;
    let validity = end.duration_since(now);
    let (chain, root) = split(&intermediate.certificate);
    let server = pki::server_certificate(&intermediate, now, validity)?;
    let tls = tls::server_config(&server, &root).map_err(|source| IssuerError { source })?;
    // What is left after this is longer than a machine's certificate is valid.
    let renew = now.checked_add(validity * 2 / 3).unwrap_or(end);
    Ok(Issued { intermediate, chain, root, tls, renew })
}

/// The intermediate and the root of a chain of PEM texts.
fn split(chain: &str) -> (String, String) {
    const BEGIN: &str = "-----BEGIN";
    match chain.rfind(BEGIN) {
        Some(at) if at > 0 => (chain[..at].to_owned(), chain[at..].to_owned()),
        Some(_) | None => (chain.to_owned(), chain.to_owned()),
    }
}
