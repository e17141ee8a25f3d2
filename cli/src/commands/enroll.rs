//! `muster enroll`: makes an enrolment token, and prints the one command to run on the machine.
//!
//! The token's secret is printed here, once; the object holds its SHA-256. Where the gateway is, and the root that
//! agents pin, is in the ConfigMap `muster-gateway` of the namespace, which whoever runs a gateway keeps.

use std::collections::BTreeMap;

use base64::Engine as _;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use muster_crds::{Admit, EnrollmentToken, EnrollmentTokenSpec};
use muster_model::Digest;
use muster_wire::pki::{self, PkiError};
use rand::RngCore as _;
use serde::Serialize;

use crate::arguments::{EnrollArguments, Output};
use crate::connect::{ConnectError, Connection, connect, is_missing};
use crate::exit::ExitStatus;
use crate::printer::Printer;

/// The ConfigMap that says where the gateway is.
pub(crate) const GATEWAY_CONFIG_MAP: &str = "muster-gateway";

/// In it: the gateway's address, `host:port`.
pub(crate) const GATEWAY_ADDRESS: &str = "address";

/// In it: the fleet's root certificate, PEM.
pub(crate) const GATEWAY_CA: &str = "ca.crt";

/// What every secret begins with: secret scanners know it by that, and no secret looks like an option.
const SECRET_PREFIX: &str = "muster_";

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrollError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Nobody runs a gateway there.
    #[error("there is no ConfigMap muster-gateway in namespace {namespace}; is `muster up` running for it?")]
    NoGateway {
        /// Where it was looked for.
        namespace: String,
    },
    /// The ConfigMap lacks something.
    #[error("the ConfigMap muster-gateway has no usable {key}; restart `muster up`, which writes it")]
    BadGateway {
        /// What it lacks.
        key: &'static str,
        source: Option<PkiError>,
    },
    /// The API did not answer as it should.
    #[error("cannot {operation}")]
    Api {
        /// What was tried.
        operation: &'static str,
        source: Box<kube::Error>,
    },
}

fn api(operation: &'static str) -> impl FnOnce(kube::Error) -> EnrollError {
    move |source| EnrollError::Api { operation, source: Box::new(source) }
}

/// Where agents go, and whom they trust.
#[derive(Clone, Debug)]
pub(crate) struct GatewayPlace {
    /// `host:port`.
    pub(crate) address: String,
    /// The digest of the fleet's root.
    pub(crate) root: Digest,
}

/// What a token is good for.
#[derive(Clone, Debug)]
pub(crate) struct TokenWish {
    /// Labels that machines get.
    pub(crate) labels: BTreeMap<String, String>,
    /// How many machines.
    pub(crate) max_uses: u32,
    /// For how long.
    pub(crate) expires: SignedDuration,
    /// Planned for at once, or not.
    pub(crate) admit: Admit,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    token: &'a str,
    #[serde(rename = "caSHA256")]
    ca_sha256: &'a str,
    gateway: String,
    command: String,
}

/// `muster enroll`.
pub(crate) async fn enroll(arguments: &EnrollArguments, printer: Printer) -> Result<ExitStatus, EnrollError> {
    let EnrollArguments { labels, max_uses, expires, pending, client, output } = arguments;
    let Connection { client, namespace } = connect(client).await?;
    let place = gateway_of(client.clone(), &namespace).await?;
    let wish = TokenWish {
        labels: labels.iter().cloned().collect(),
        max_uses: *max_uses,
        expires: *expires,
        admit: if *pending { Admit::Pending } else { Admit::Admitted },
    };
    let secret = new_token(client, &namespace, random_name("enroll"), &wish).await?;
    let GatewayPlace { address, root } = &place;
    let command =
        format!("muster-agent enroll --gateway {address} --ca-sha256 {} --token {secret}", root.hex());
    match output {
        Output::Json => {
            printer.json(&Answer {
                token: &secret,
                ca_sha256: &root.hex(),
                gateway: format!("https://{address}"),
                command,
            });
        }
        Output::Text => {
            let times =
                if *max_uses == 1 { "one machine".to_owned() } else { format!("up to {max_uses} machines") };
            printer.note(format!(
                "# On {times}, within {expires:#}, as root, once the agent is installed there:"
            ));
            printer.line(command);
        }
    }
    Ok(ExitStatus::Done)
}

/// Where the gateway of a namespace is.
pub(crate) async fn gateway_of(client: Client, namespace: &str) -> Result<GatewayPlace, EnrollError> {
    let maps: Api<ConfigMap> = Api::namespaced(client, namespace);
    let map = maps.get(GATEWAY_CONFIG_MAP).await.map_err(|error| match is_missing(&error) {
        true => EnrollError::NoGateway { namespace: namespace.to_owned() },
        false => api("read the ConfigMap muster-gateway")(error),
    })?;
    let mut data = map.data.unwrap_or_default();
    let mut take = |key| data.remove(key).ok_or(EnrollError::BadGateway { key, source: None });
    let (address, root) = (take(GATEWAY_ADDRESS)?, take(GATEWAY_CA)?);
    let root = pki::digest(&root)
        .map_err(|source| EnrollError::BadGateway { key: GATEWAY_CA, source: Some(source) })?;
    Ok(GatewayPlace { address, root })
}

/// A name for a token. It is not derived from the secret: names are in logs.
pub(crate) fn random_name(prefix: &str) -> String {
    format!("{prefix}-{}", &uuid::Uuid::new_v4().simple().to_string()[..10])
}

/// Makes a token; returns its secret, which is kept nowhere.
pub(crate) async fn new_token(
    client: Client,
    namespace: &str,
    name: String,
    wish: &TokenWish,
) -> Result<String, EnrollError> {
    let mut bytes = [0_u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    let secret = SECRET_PREFIX.to_owned() + &base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let TokenWish { labels, max_uses, expires, admit } = wish.clone();
    let expiry = Timestamp::now().checked_add(expires).unwrap_or(Timestamp::MAX);
    let token = EnrollmentToken {
        metadata: ObjectMeta { name: Some(name), ..ObjectMeta::default() },
        spec: EnrollmentTokenSpec {
            secret_hash: Digest::of(secret.as_bytes()).to_string(),
            expiry_time: Time(expiry.round(jiff::Unit::Second).unwrap_or(expiry)),
            max_uses,
            labels,
            admit,
        },
        status: None,
    };
    let tokens: Api<EnrollmentToken> = Api::namespaced(client, namespace);
    tokens.create(&PostParams::default(), &token).await.map_err(api("make the EnrollmentToken"))?;
    Ok(secret)
}
