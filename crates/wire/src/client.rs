//! The agent's side of the protocol: one method for each endpoint.
//!
//! Retries, back-off and what to do with an answer are the agent's; see [`ClientError::is_transient`].

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use muster_model::{ActivityName, Digest};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::connection::{ClientError, Connections};
use crate::{
    EnrollRequest, EnrollResponse, MayStartRequest, MayStartResponse, POLL_SECONDS, PollRequest,
    PollResponse, Progress, ProgressResponse, ProposalRequest, RenewRequest, ReportRequest, ReportResponse,
    pki,
};

/// How long any answer but a poll's may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a poll's may: the gateway answers by itself after [`POLL_SECONDS`].
const POLL_PATIENCE: Duration = Duration::from_secs(POLL_SECONDS + 15);

const JSON: &str = "application/json";
const ZSTD: &str = "application/zstd";

/// A machine's certificate (with the intermediate after it) and its key, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// [`EnrollResponse::certificate`].
    pub certificate: String,
    /// The key that it was requested with. A secret: it never leaves the machine.
    pub key: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificate", &self.certificate).field("key", &"…").finish()
    }
}

/// A machine's client: cheap enough for thousands in one process; its connections end with it.
#[derive(Debug)]
pub struct Client {
    connections: Connections,
}

impl Client {
    /// A client for an enrolled machine. Connects when first used.
    ///
    /// `gateway` is `host:port`; `root` is the SHA-256 of the fleet's root certificate (DER).
    ///
    /// # Errors
    /// When the certificate or key cannot be used.
    pub fn new(gateway: &str, root: &Digest, identity: &Identity) -> Result<Self, ClientError> {
        Ok(Self { connections: Connections::new(gateway, root, Some(identity))? })
    }

    /// The first contact: verifies the gateway by the pinned root before the token is sent.
    ///
    /// # Errors
    /// When the gateway cannot be reached, is not the fleet's, or refuses the token.
    pub async fn enroll(
        gateway: &str,
        root: &Digest,
        request: &EnrollRequest,
    ) -> Result<EnrollResponse, ClientError> {
        let client = Self { connections: Connections::new(gateway, root, None)? };
        let response: EnrollResponse = client.post("/v1/enroll", request, PATIENCE).await?;
        match pki::digest(&response.ca) {
            Ok(digest) if digest == *root => Ok(response),
            Ok(_) | Err(_) => Err(ClientError::Unreadable {
                gateway: gateway.to_owned(),
                what: "with another root than the pinned one".into(),
            }),
        }
    }

    /// A new certificate for the same identity; the client goes on with its old one, so make a new client with it.
    ///
    /// # Errors
    /// When the identity is unknown or revoked, or its certificate expired more than 90 days ago.
    pub async fn renew(&self, request: &RenewRequest) -> Result<EnrollResponse, ClientError> {
        self.post("/v1/renew", request, PATIENCE).await
    }

    /// Reports, or confirms the last report.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn report(&self, request: &ReportRequest) -> Result<ReportResponse, ClientError> {
        self.post("/v1/report", request, PATIENCE).await
    }

    /// Sends an inventory as [`compress`](crate::compress) made it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn put_inventory(&self, digest: &Digest, compressed: Vec<u8>) -> Result<(), ClientError> {
        let path = format!("/v1/inventories/{digest}");
        self.connections.request(Method::PUT, &path, ZSTD, compressed.into(), PATIENCE).await.map(drop)
    }

    /// Waits for news; answered at the latest after [`POLL_SECONDS`]. May be given up at any time.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn poll(&self, request: &PollRequest) -> Result<PollResponse, ClientError> {
        self.post("/v1/poll", request, POLL_PATIENCE).await
    }

    /// Sends what apt said of a wanted set.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn propose(&self, request: &ProposalRequest) -> Result<(), ClientError> {
        self.send("/v1/proposals", request, PATIENCE).await.map(drop)
    }

    /// Says how far an activity is: the whole of it, as often as one likes.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn progress(
        &self,
        activity: &ActivityName,
        progress: &Progress,
    ) -> Result<ProgressResponse, ClientError> {
        self.post(&format!("/v1/activities/{activity}/progress"), progress, PATIENCE).await
    }

    /// Asks for the fresh word before a reboot (rule W6).
    ///
    /// # Errors
    /// See [`ClientError`]; without an answer the step must not start.
    pub async fn may_start(
        &self,
        activity: &ActivityName,
        request: &MayStartRequest,
    ) -> Result<MayStartResponse, ClientError> {
        self.post(&format!("/v1/activities/{activity}/may-start"), request, PATIENCE).await
    }

    async fn post<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        request: &Q,
        patience: Duration,
    ) -> Result<A, ClientError> {
        let answer = self.send(path, request, patience).await?;
        serde_json::from_slice(&answer).map_err(|error| ClientError::Unreadable {
            gateway: self.connections.gateway().to_owned(),
            what: format!("{path} with what cannot be read ({error})"),
        })
    }

    async fn send<Q: Serialize>(
        &self,
        path: &str,
        request: &Q,
        patience: Duration,
    ) -> Result<Bytes, ClientError> {
        let body = serde_json::to_vec(request).expect("messages are plain data, which JSON can always hold");
        self.connections.request(Method::POST, path, JSON, body.into(), patience).await
    }
}
