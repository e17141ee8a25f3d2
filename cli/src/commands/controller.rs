//! `muster controller`: leads one namespace of a real cluster, and keeps the fleet's root.
//!
//! The root's key stays in the Secret `muster-ca`, which only controllers may read. Gateways get a short-lived
//! intermediate, in the Secret `muster-gateway-issuer`, renewed here at half of its life (design §7).

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use muster_controller::{ControllerError, Settings};
use muster_wire::pki::{self, Pair, PkiError};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::arguments::ControllerArguments;
use crate::connect::{ConnectError, connect_server};
use crate::exit::ExitStatus;
use crate::logs;
use crate::printer::Printer;
use crate::signals::Signals;

/// The Secret with the fleet's root: `tls.crt` and `tls.key`.
pub(crate) const ROOT_SECRET: &str = "muster-ca";

/// The Secret with the gateways' intermediate and its chain: `tls.crt` and `tls.key`.
pub(crate) const ISSUER_SECRET: &str = "muster-gateway-issuer";

/// How often the intermediate's age is looked at; it is renewed days before it ends.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// Why the controller could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeadError {
    /// No API.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The controller ended.
    #[error(transparent)]
    Controller(#[from] ControllerError),
    /// The fleet's root, or what hangs below it.
    #[error("cannot make a certificate")]
    Pki(#[from] PkiError),
    /// A Secret of ours is not what we wrote.
    #[error(
        "the Secret {0} has no tls.crt and tls.key; restore it, or delete it (agents must then enrol anew)"
    )]
    Secret(&'static str),
    /// The API refuses.
    #[error("cannot {operation} the Secret {secret}; may this service account do that?")]
    Api {
        /// What was tried.
        operation: &'static str,
        /// On which.
        secret: &'static str,
        source: Box<kube::Error>,
    },
    /// Signals cannot be listened for.
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
}

fn api(operation: &'static str, secret: &'static str) -> impl FnOnce(kube::Error) -> LeadError {
    move |source| LeadError::Api { operation, secret, source: Box::new(source) }
}

/// Leads until a signal.
///
/// # Errors
/// When the API cannot be reached at the start, the root cannot be had, or a part ends by itself.
pub(crate) async fn controller(
    arguments: ControllerArguments,
    printer: Printer,
) -> Result<ExitStatus, LeadError> {
    logs::start(None, logs::TALKATIVE);
    let connection = connect_server(&arguments.client).await?;
    let mut signals = Signals::listen().map_err(LeadError::Signals)?;
    let secrets: Api<Secret> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let root = fleet_root(&secrets).await?;
    issue(&secrets, &root).await?;
    let shutdown = CancellationToken::new();
    let renewing = tokio::spawn(renew(connection.client.clone(), connection.namespace.clone(), root));
    let settings = Settings {
        client: connection.client,
        namespace: connection.namespace.clone(),
        sole: false,
        state_dir: arguments.state_dir,
        shutdown: shutdown.clone(),
        events: None,
    };
    printer.note(format!("controller of namespace {}", connection.namespace));
    let mut running = tokio::spawn(muster_controller::run(settings));
    tokio::select! {
        () = signals.next() => shutdown.cancel(),
        ended = &mut running => {
            renewing.abort();
            return match ended {
                Ok(result) => result.map(|()| ExitStatus::Done).map_err(LeadError::from),
                Err(_) => Err(ControllerError::Ended("process").into()),
            };
        }
    }
    renewing.abort();
    if let Ok(Err(error)) = running.await {
        return Err(error.into());
    }
    Ok(ExitStatus::Done)
}

/// The fleet's root: made once; of two controllers that start at a time the API lets one win.
async fn fleet_root(secrets: &Api<Secret>) -> Result<Pair, LeadError> {
    loop {
        if let Some(secret) = secrets.get_opt(ROOT_SECRET).await.map_err(api("read", ROOT_SECRET))? {
            return pair(&secret).ok_or(LeadError::Secret(ROOT_SECRET));
        }
        let made = secret(ROOT_SECRET, &pki::new_root(Timestamp::now())?);
        match secrets.create(&PostParams::default(), &made).await {
            Ok(_) => info!("made the fleet's root: back up the Secret {ROOT_SECRET}"),
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(error) => return Err(api("create", ROOT_SECRET)(error)),
        }
    }
}

/// Makes the gateways' intermediate anew where half of its life is over.
async fn issue(secrets: &Api<Secret>, root: &Pair) -> Result<(), LeadError> {
    let there = secrets.get_opt(ISSUER_SECRET).await.map_err(api("read", ISSUER_SECRET))?;
    let half = pki::INTERMEDIATE_VALIDITY / 2;
    let now = Timestamp::now();
    let left = there.as_ref().and_then(pair).and_then(|pair| pki::not_after(&pair.certificate).ok());
    if left.is_some_and(|end| end.duration_since(now) > half) {
        return Ok(());
    }
    let mut made =
        secret(ISSUER_SECRET, &pki::new_intermediate(root, "gateways", now, pki::INTERMEDIATE_VALIDITY)?);
    let written = match there {
        None => secrets.create(&PostParams::default(), &made).await,
        Some(there) => {
            made.metadata.resource_version = there.metadata.resource_version;
            secrets.replace(ISSUER_SECRET, &PostParams::default(), &made).await
        }
    };
    match written {
        Ok(_) => info!("issued the gateways' intermediate certificate"),
        // Another controller was first, with as good a one.
        Err(kube::Error::Api(status)) if status.is_already_exists() || status.is_conflict() => {}
        Err(error) => return Err(api("write", ISSUER_SECRET)(error)),
    }
    Ok(())
}

async fn renew(client: Client, namespace: String, root: Pair) {
    let secrets: Api<Secret> = Api::namespaced(client, &namespace);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Err(error) = issue(&secrets, &root).await {
            warn!(
                error = &error as &dyn std::error::Error,
                "cannot renew the gateways' intermediate; trying again"
            );
        }
    }
}

fn secret(name: &str, pair: &Pair) -> Secret {
    let entry = |key: &str, text: &str| (key.to_owned(), ByteString(text.as_bytes().to_vec()));
    Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(BTreeMap::from([entry("tls.crt", &pair.certificate), entry("tls.key", &pair.key)])),
        ..Secret::default()
    }
}

/// Certificate and key of a Secret of type `kubernetes.io/tls`.
pub(crate) fn pair(secret: &Secret) -> Option<Pair> {
    let text = |key: &str| {
        let bytes = secret.data.as_ref()?.get(key)?;
        String::from_utf8(bytes.0.clone()).ok()
    };
    Some(Pair { certificate: text("tls.crt")?, key: text("tls.key")? })
}

/// How long an intermediate has to be valid at least for a gateway to begin with it.
pub(crate) const LEFT_AT_LEAST: SignedDuration = SignedDuration::from_mins(10);
