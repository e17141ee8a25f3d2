//! The servers of `muster up`, and their order.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use muster_apiserver::{ApiServer, Clock, Config, Identity, OpenError};
use muster_controller::{ControllerError, Settings};
use muster_gateway::{Gateway, GatewayConfig, GatewayError, Handle, Metrics, RootIssuer};
use muster_model::Digest;
use muster_wire::pki::{self, Pair};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::addresses::{self, Listeners, reachable};
use super::authority::{self, AuthorityError};
use super::events::EventFile;
use super::source::{self, Desired};
use super::state::{State, StateError};
use super::{UpError, kubeconfig};
use crate::arguments::UpArguments;
use crate::commands::{GATEWAY_ADDRESS, GATEWAY_CA, GATEWAY_CONFIG_MAP};
use crate::places;

/// The gateway's id: there is one.
const GATEWAY_ID: &str = "up";

/// Group of the controller's identity.
const CONTROLLER_GROUP: &str = "muster:controller";

/// Group of the gateway's.
const GATEWAY_GROUP: &str = "muster:gateway";

/// Group of whoever holds the kubeconfig.
const ADMIN_GROUP: &str = "system:masters";

/// Why a part did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartsError {
    /// The API's store.
    #[error("cannot start the API")]
    Api(#[from] OpenError),
    /// A resource type is no JSON: cannot happen with ours, but is no reason to fall.
    #[error("cannot write down the resource types")]
    Definitions(#[from] serde_json::Error),
    /// Writing what every namespace needs.
    #[error("cannot write {what}")]
    Write {
        /// What was to be written.
        what: &'static str,
        source: Box<kube::Error>,
    },
    /// The gateway.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The controller ended.
    #[error(transparent)]
    Controller(#[from] ControllerError),
    /// A part panicked, or ended without being told to.
    #[error("the {0} ended by itself; its log says more")]
    Ended(&'static str),
}

/// What runs.
pub(super) struct Parts {
    server: ApiServer,
    namespace: String,
    api_address: SocketAddr,
    gateway_address: SocketAddr,
    root: Digest,
    serving: JoinHandle<()>,
    serving_stop: CancellationToken,
    controller: JoinHandle<Result<(), ControllerError>>,
    controller_stop: CancellationToken,
    gateway: Option<Handle>,
    events: Option<EventFile>,
}

impl Parts {
    /// Starts them; all is served when this returns.
    pub(super) async fn start(
        arguments: &UpArguments,
        desired: &Desired,
        state: &State,
    ) -> Result<Self, UpError> {
        let namespace = arguments.namespace.clone();
        let (fleet_root, api_root) = (authority::fleet_root(state)?, authority::api_root(state)?);
        let events = arguments.events.as_ref().map(|file| EventFile::open(file, &namespace)).transpose()?;
        let listeners = addresses::listen(state, arguments.listen, arguments.agents_listen).await?;
        let Listeners { api, api_address, gateway, gateway_address } = listeners;
        let server = open(arguments, state).await?;
        let admin = client(&server, "muster-up", ADMIN_GROUP, &namespace);
        prepare(admin.clone(), &namespace).await?;
        let (api_address, gateway_address) = (reachable(api_address), reachable(gateway_address));
        write_kubeconfig(state, &api_root, api_address, &namespace)?;

        let serving_stop = CancellationToken::new();
        let tls = authority::server_config(&api_root, &names(arguments.listen.ip(), api_address.ip()))?;
        let serving = tokio::spawn({
            let (server, stop) = (server.clone(), serving_stop.clone());
            async move { server.serve(api, tls, stop).await }
        });
        let controller_stop = CancellationToken::new();
        let settings = Settings {
            client: client(&server, "muster-controller", CONTROLLER_GROUP, &namespace),
            namespace: namespace.clone(),
            sole: true,
            state_dir: state.folder("sources")?,
            shutdown: controller_stop.clone(),
            events: events.as_ref().map(EventFile::sink),
        };
        let controller = tokio::spawn(muster_controller::run(settings));
        let config = GatewayConfig {
            client: client(&server, "muster-gateway", GATEWAY_GROUP, &namespace),
            namespaces: vec![namespace.clone()],
            listener: gateway,
            id: GATEWAY_ID.to_owned(),
            issuer: Arc::new(RootIssuer::new(fleet_root.clone())),
            clock: Arc::new(Timestamp::now),
            metrics: Metrics::default(),
        };
        let gateway = Gateway::start(config).await.map_err(PartsError::from)?;
        write_gateway(admin.clone(), &namespace, gateway_address, &fleet_root).await?;
        source::apply(admin, &namespace, desired).await.map_err(write("the GitSource"))?;
        let root = pki::digest(&fleet_root.certificate).map_err(AuthorityError::from)?;
        Ok(Self {
            server,
            namespace,
            api_address,
            gateway_address,
            root,
            serving,
            serving_stop,
            controller,
            controller_stop,
            gateway: Some(gateway),
            events,
        })
    }

    /// A client that may do everything.
    pub(super) fn admin(&self) -> Client {
        client(&self.server, "muster-up", ADMIN_GROUP, &self.namespace)
    }

    /// Where kubectl goes.
    pub(super) fn api_url(&self) -> String {
        format!("https://{}", self.api_address)
    }

    /// Where agents go.
    pub(super) fn gateway_url(&self) -> String {
        format!("https://{}", self.gateway_address)
    }

    /// The same, as agents dial it.
    pub(super) fn gateway_address(&self) -> String {
        self.gateway_address.to_string()
    }

    /// What agents pin.
    pub(super) fn root(&self) -> Digest {
        self.root.clone()
    }

    /// Waits for a part to end that should not.
    pub(super) async fn failed(&mut self) -> PartsError {
        tokio::select! {
            _ = &mut self.serving => PartsError::Ended("API"),
            ended = &mut self.controller => match ended {
                Ok(Err(error)) => error.into(),
                Ok(Ok(())) | Err(_) => PartsError::Ended("controller"),
            },
        }
    }

    /// Ends them, orderly: whoever writes ends before what is written to.
    pub(super) async fn stop(mut self) {
        if let Some(gateway) = self.gateway.take() {
            gateway.stop().await;
        }
        self.controller_stop.cancel();
        if !self.controller.is_finished()
            && let Ok(Err(error)) = (&mut self.controller).await
        {
            tracing::warn!(%error, "the controller ended badly");
        }
        if let Some(events) = self.events.take() {
            events.close();
        }
        self.serving_stop.cancel();
        if !self.serving.is_finished() {
            // A panic has been reported, and there is nothing more to end.
            let _ = (&mut self.serving).await;
        }
        self.server.shutdown().await;
    }
}

async fn open(arguments: &UpArguments, state: &State) -> Result<ApiServer, PartsError> {
    let path = Some(state.file("store.db"));
    let config = Config { path, audit: arguments.audit.clone(), clock: Clock::system(), ..Config::default() };
    let server = ApiServer::open(config).await?;
    let definitions: Result<Vec<_>, _> = muster_crds::all_crds().iter().map(serde_json::to_value).collect();
    server.apply_crds(&definitions?).await?;
    Ok(server)
}

fn client(server: &ApiServer, user: &str, group: &str, namespace: &str) -> Client {
    Client::new(server.service(Identity::new(user, &[group])), namespace)
}

fn write(what: &'static str) -> impl FnOnce(kube::Error) -> PartsError {
    move |source| PartsError::Write { what, source: Box::new(source) }
}

/// The namespace, where it is not there yet.
async fn prepare(client: Client, namespace: &str) -> Result<(), PartsError> {
    let namespaces: Api<Namespace> = Api::all(client);
    if namespaces.get_opt(namespace).await.map_err(write("the namespace"))?.is_some() {
        return Ok(());
    }
    let metadata = ObjectMeta { name: Some(namespace.to_owned()), ..ObjectMeta::default() };
    let object = Namespace { metadata, ..Namespace::default() };
    namespaces.create(&PostParams::default(), &object).await.map(drop).map_err(write("the namespace"))
}

/// Where the gateway is and what to pin: for `muster enroll`.
async fn write_gateway(
    client: Client,
    namespace: &str,
    address: SocketAddr,
    root: &Pair,
) -> Result<(), PartsError> {
    let maps: Api<ConfigMap> = Api::namespaced(client, namespace);
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": GATEWAY_CONFIG_MAP},
        "data": {GATEWAY_ADDRESS: address.to_string(), GATEWAY_CA: root.certificate},
    });
    let parameters = PatchParams::apply("muster-up").force();
    let written = maps.patch(GATEWAY_CONFIG_MAP, &parameters, &Patch::Apply(object)).await;
    written.map(drop).map_err(write("the ConfigMap muster-gateway"))
}

fn write_kubeconfig(state: &State, root: &Pair, address: SocketAddr, namespace: &str) -> Result<(), UpError> {
    let user = authority::user(root, "muster-admin", &[ADMIN_GROUP])?;
    let text = kubeconfig::render(&format!("https://{address}"), root, &user, namespace);
    state.write(places::KUBECONFIG, &text).map_err(|error: StateError| error.into())
}

/// The addresses that the API's certificate is for.
fn names(listening: IpAddr, reachable: IpAddr) -> Vec<IpAddr> {
    let mut names = vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), reachable];
    if !listening.is_unspecified() {
        names.push(listening);
    }
    names.sort_unstable();
    names.dedup();
    names
}
