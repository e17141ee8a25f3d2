//! How commands find the Kubernetes API: which kubeconfig, which namespace.
//!
//! Order: `--kubeconfig`; `$KUBECONFIG`; the kubeconfig of the last `muster up` that chose its own state directory;
//! `~/.kube/config`. A file that is named and cannot be read is an error, never a reason to take the next.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use crate::arguments::ClientArguments;
use crate::places;

/// How long an answer may take: a person waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The API, and the namespace to look at.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The service account is not mounted, or cannot be read.
    #[error("cannot read the cluster's service account; name a --kubeconfig instead")]
    Inside(#[source] kube::config::InClusterError),
    /// No kubeconfig anywhere.
    #[error("there is no kubeconfig; start `muster up DIR`, or name one with --kubeconfig")]
    Nowhere,
    /// It cannot be read.
    #[error("cannot use the kubeconfig {place}")]
    Kubeconfig {
        /// Where it was looked for.
        place: String,
        source: KubeconfigError,
    },
    /// No client can be made of it.
    #[error("cannot make a client of the kubeconfig {place}")]
    Client {
        /// Where it is.
        place: String,
        source: kube::Error,
    },
}

/// Connects, which sends nothing yet.
pub(crate) async fn connect(arguments: &ClientArguments) -> Result<Connection, ConnectError> {
    let (place, kubeconfig) = find(arguments)?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let mut config = config.map_err(|source| ConnectError::Kubeconfig { place: place.clone(), source })?;
    // A person waits: no answer is an answer.
    config.default_retry = false;
    config.read_timeout = Some(PATIENCE);
    config.connect_timeout = Some(PATIENCE);
    let namespace = arguments.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).map_err(|source| ConnectError::Client { place, source })?;
    Ok(Connection { client, namespace })
}

/// Connects a server: from inside the cluster that it runs in, unless a kubeconfig is named. Its watches stay open for as
/// long as they like, and its own loops try again.
pub(crate) async fn connect_server(arguments: &ClientArguments) -> Result<Connection, ConnectError> {
    let inside = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let (place, mut config) = if inside && arguments.kubeconfig.is_none() {
        ("the cluster's service account".to_owned(), Config::incluster().map_err(ConnectError::Inside)?)
    } else {
        let (place, kubeconfig) = find(arguments)?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        (place.clone(), config.map_err(|source| ConnectError::Kubeconfig { place, source })?)
    };
    config.default_retry = false;
    config.connect_timeout = Some(PATIENCE);
    let namespace = arguments.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).map_err(|source| ConnectError::Client { place, source })?;
    Ok(Connection { client, namespace })
}

fn find(arguments: &ClientArguments) -> Result<(String, Kubeconfig), ConnectError> {
    if let Some(file) = &arguments.kubeconfig {
        return read(file);
    }
    let place = "$KUBECONFIG".to_owned();
    match Kubeconfig::from_env() {
        Ok(Some(kubeconfig)) => return Ok((place, kubeconfig)),
        Ok(None) => {}
        Err(source) => return Err(ConnectError::Kubeconfig { place, source }),
    }
    let standard = [places::current().map(|state| state.join(places::KUBECONFIG)), home_config()];
    standard
        .into_iter()
        .flatten()
        .find(|file| file.exists())
        .map_or(Err(ConnectError::Nowhere), |file| read(&file))
}

/// The file of the kubeconfig, where it is a single one.
pub(crate) fn kubeconfig_file(arguments: &ClientArguments) -> Option<PathBuf> {
    if let Some(file) = &arguments.kubeconfig {
        return Some(file.clone());
    }
    if let Some(named) = std::env::var_os("KUBECONFIG").filter(|named| !named.is_empty()) {
        return Some(PathBuf::from(named)).filter(|file| file.is_file());
    }
    let standard = [places::current().map(|state| state.join(places::KUBECONFIG)), home_config()];
    standard.into_iter().flatten().find(|file| file.exists())
}

fn read(file: &Path) -> Result<(String, Kubeconfig), ConnectError> {
    let place = file.display().to_string();
    match Kubeconfig::read_from(file) {
        Ok(kubeconfig) => Ok((place, kubeconfig)),
        Err(source) => Err(ConnectError::Kubeconfig { place, source }),
    }
}

fn home_config() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".kube/config"))
}

/// Whether an error says that there is no such object.
pub(crate) fn is_missing(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_not_found())
}
