//! `muster gateway`: the agents' side, on a real cluster; any number of them.
//!
//! It keeps nothing but the intermediate that the controller issues, and may read only that Secret.

use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use muster_gateway::{Gateway, GatewayConfig, GatewayError, IssuerError, IssuerSource, Metrics};
use muster_wire::pki::{self, Pair};
use serde_json::json;
use tokio::net::TcpListener;

use super::controller::{ISSUER_SECRET, LEFT_AT_LEAST, pair};
use crate::arguments::GatewayArguments;
use crate::commands::{GATEWAY_ADDRESS, GATEWAY_CA, GATEWAY_CONFIG_MAP};
use crate::connect::{ConnectError, connect_server};
use crate::exit::ExitStatus;
use crate::logs;
use crate::printer::Printer;
use crate::signals::Signals;

/// Why the gateway could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// No API.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The address is not free.
    #[error("cannot listen on {address}; choose another --listen")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        source: std::io::Error,
    },
    /// It does not start.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The address cannot be published.
    #[error(
        "cannot write the ConfigMap {GATEWAY_CONFIG_MAP}, from which `muster enroll` reads the gateway's address"
    )]
    Publish(#[source] Box<kube::Error>),
    /// No intermediate.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// Signals cannot be listened for.
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
}

/// Serves agents until a signal.
///
/// # Errors
/// When the API cannot be reached at the start, the address is taken, or there is no intermediate yet.
pub(crate) async fn gateway(arguments: GatewayArguments, printer: Printer) -> Result<ExitStatus, ServeError> {
    logs::start(None, logs::TALKATIVE);
    let connection = connect_server(&arguments.client).await?;
    let mut signals = Signals::listen().map_err(ServeError::Signals)?;
    let address = arguments.listen;
    let listener =
        TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })?;
    let issuer =
        Arc::new(SecretIssuer { secrets: Api::namespaced(connection.client.clone(), &connection.namespace) });
    let root = issuer.root().await?;
    let config = GatewayConfig {
        client: connection.client.clone(),
        namespaces: vec![connection.namespace.clone()],
        listener,
        id: arguments.id,
        issuer,
        clock: Arc::new(Timestamp::now),
        metrics: Metrics::default(),
    };
    let handle = Gateway::start(config).await?;
    let public = arguments.public_address.unwrap_or_else(|| handle.address().to_string());
    publish(connection.client, &connection.namespace, &public, &root).await?;
    printer.note(format!(
        "gateway of namespace {} on {}, for agents {public}",
        connection.namespace,
        handle.address()
    ));
    signals.next().await;
    handle.stop().await;
    Ok(ExitStatus::Done)
}

/// Where `muster enroll` finds the gateway.
async fn publish(client: Client, namespace: &str, address: &str, root: &str) -> Result<(), ServeError> {
    let maps: Api<ConfigMap> = Api::namespaced(client, namespace);
    let body = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": GATEWAY_CONFIG_MAP},
        "data": {GATEWAY_ADDRESS: address, GATEWAY_CA: root},
    });
    let parameters = PatchParams::apply(muster_crds::names::MANAGER_GATEWAY).force();
    maps.patch(GATEWAY_CONFIG_MAP, &parameters, &Patch::Apply(&body))
        .await
        .map_err(|source| ServeError::Publish(Box::new(source)))?;
    Ok(())
}

/// The intermediate that the controller keeps in a Secret.
struct SecretIssuer {
    secrets: Api<Secret>,
}

/// Why the Secret has no intermediate to begin with.
#[derive(Debug, thiserror::Error)]
enum NoIssuer {
    /// Not there.
    #[error("there is no Secret {ISSUER_SECRET} yet: the controller makes it when it starts")]
    Missing,
    /// Not what the controller writes.
    #[error("the Secret {ISSUER_SECRET} has no tls.crt and tls.key")]
    Broken,
    /// About to end.
    #[error("the certificate in the Secret {ISSUER_SECRET} has ended: no controller has renewed it")]
    Ended,
}

impl SecretIssuer {
    async fn read(&self) -> Result<Pair, IssuerError> {
        let wrong = |source: NoIssuer| IssuerError { source: Box::new(source) };
        let secret = self
            .secrets
            .get_opt(ISSUER_SECRET)
            .await
            .map_err(|error| IssuerError { source: Box::new(error) })?;
        let pair =
            pair(&secret.ok_or_else(|| wrong(NoIssuer::Missing))?).ok_or_else(|| wrong(NoIssuer::Broken))?;
        if pki::not_after(&pair.certificate)?.duration_since(Timestamp::now()) < LEFT_AT_LEAST {
            return Err(wrong(NoIssuer::Ended));
        }
        Ok(pair)
    }

    /// The fleet's root, the last of the chain.
    async fn root(&self) -> Result<String, IssuerError> {
        let pair = self.read().await?;
        let begin = pair.certificate.rfind("-----BEGIN CERTIFICATE-----").unwrap_or(0);
        Ok(pair.certificate[begin..].to_owned())
    }
}

impl IssuerSource for SecretIssuer {
    fn intermediate<'a>(&'a self, _gateway: &'a str) -> BoxFuture<'a, Result<Pair, IssuerError>> {
        Box::pin(self.read())
    }
}
