//! One agent's connections to one gateway: HTTP/1.1 with keep-alive over TLS 1.3, at most two of them idle.
//!
//! HTTP/1.1, not 2: a machine says one thing at a time, apart from a poll that waits, and a connection costs both
//! sides a quarter of the memory. A request that is given up closes its connection.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use muster_model::Digest;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::pin::{Pin, tls_provider};
use crate::pki::{self, PkiError};
use crate::{BODY_LIMIT, ErrorBody, GATEWAY_NAME, Identity, Reason};

/// How long connecting and the TLS handshake may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Connections kept while idle: one for the poll, one for everything else.
const IDLE_CONNECTIONS: usize = 2;

/// The largest message of an error that is kept.
const MESSAGE_LIMIT: usize = 2048;

/// Why a request to the gateway failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The machine's certificate or key cannot be used.
    #[error("this machine's certificate cannot be used; enrol it anew")]
    Identity {
        /// What is wrong with it.
        source: PkiError,
    },
    /// TLS refuses the certificate or key.
    #[error("this machine's certificate and key do not fit; enrol it anew")]
    Tls {
        /// What is wrong with them.
        source: rustls::Error,
    },
    /// Nobody answers there, or it is not this fleet's gateway.
    #[error(
        "cannot connect to the gateway {gateway}; check the address and the pinned SHA-256 of the fleet's root"
    )]
    Connect {
        /// The address.
        gateway: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The connection broke before the answer was complete.
    #[error(
        "the connection to the gateway {gateway} broke; the request may or may not have been carried out"
    )]
    Broken {
        /// The address.
        gateway: String,
        /// What went wrong.
        source: hyper::Error,
    },
    /// The gateway took too long.
    #[error("the gateway {gateway} did not answer within {seconds} s")]
    TimedOut {
        /// The address.
        gateway: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The gateway refuses.
    #[error("the gateway refuses ({reason}): {message}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// One of [`Reason`], or a newer one.
        reason: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// The answer is no answer of this protocol's.
    #[error("the gateway {gateway} answers {what}; is it one of this version?")]
    Unreadable {
        /// The address.
        gateway: String,
        /// What is wrong with it.
        what: String,
    },
}

impl ClientError {
    /// The reason, if the gateway gave one that this version knows.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refused { reason, .. } => Reason::parse(reason),
            Self::Identity { .. }
            | Self::Tls { .. }
            | Self::Connect { .. }
            | Self::Broken { .. }
            | Self::TimedOut { .. }
            | Self::Unreadable { .. } => None,
        }
    }

    /// Whether the same request may succeed later without anybody doing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Broken { .. } | Self::TimedOut { .. } | Self::Unreadable { .. } => {
                true
            }
            Self::Refused { status, .. } => {
                self.reason().map_or(status.is_server_error(), Reason::is_transient)
            }
            Self::Identity { .. } | Self::Tls { .. } => false,
        }
    }
}

type Sender = SendRequest<Full<Bytes>>;

/// Connections to one gateway.
pub(crate) struct Connections {
    gateway: String,
    connector: TlsConnector,
    idle: Mutex<Vec<Sender>>,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").field("gateway", &self.gateway).finish_non_exhaustive()
    }
}

impl Connections {
    pub(crate) fn new(
        gateway: &str,
        root: &Digest,
        identity: Option<&Identity>,
    ) -> Result<Self, ClientError> {
        let builder = ClientConfig::builder_with_provider(tls_provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|source| ClientError::Tls { source })?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pin::new(root.clone())));
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = pki::certificates(&identity.certificate, "this machine's certificate")
                    .map_err(|source| ClientError::Identity { source })?;
                let key =
                    pki::private_key(&identity.key).map_err(|source| ClientError::Identity { source })?;
                builder.with_client_auth_cert(chain, key).map_err(|source| ClientError::Tls { source })?
            }
        };
        // A resumed session would not show the gateway a renewed certificate, and its cache costs more memory than
        // all the rest of a client.
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            gateway: gateway.to_owned(),
            connector: TlsConnector::from(Arc::new(config)),
            idle: Mutex::new(Vec::new()),
        })
    }

    /// The address, `host:port`.
    pub(crate) fn gateway(&self) -> &str {
        &self.gateway
    }

    /// Sends a request and returns the body of its success.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Bytes,
        patience: Duration,
    ) -> Result<Bytes, ClientError> {
        let exchange = self.exchange(method, path, content_type, body);
        let (status, body) = tokio::time::timeout(patience, exchange).await.map_err(|_| {
            ClientError::TimedOut { gateway: self.gateway.clone(), seconds: patience.as_secs() }
        })??;
        if status.is_success() { Ok(body) } else { Err(refusal(status, &body)) }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let request = |body: Bytes| {
            Request::builder()
                .method(method.clone())
                .uri(path)
                .header(http::header::HOST, GATEWAY_NAME)
                .header(http::header::CONTENT_TYPE, content_type)
                .body(Full::new(body))
                .expect("the method, path and headers are ours and valid")
        };
        // An idle connection that the gateway has closed meanwhile gives the request back unsent: once more, anew.
        while let Some(mut sender) = self.take_idle() {
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request(body.clone())).await {
                Ok(response) => return self.read(sender, response).await,
                Err(mut error) => {
                    if error.take_message().is_none() {
                        return Err(ClientError::Broken {
                            gateway: self.gateway.clone(),
                            source: error.into_error(),
                        });
                    }
                }
            }
        }
        let mut sender = self.connect().await?;
        let response = sender
            .send_request(request(body))
            .await
            .map_err(|source| ClientError::Broken { gateway: self.gateway.clone(), source })?;
        self.read(sender, response).await
    }

    async fn read(
        &self,
        sender: Sender,
        response: http::Response<hyper::body::Incoming>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_LIMIT).collect().await.map_err(|error| {
            let what = if error.is::<LengthLimitError>() { "more than it may" } else { "half of an answer" };
            ClientError::Unreadable { gateway: self.gateway.clone(), what: what.to_owned() }
        })?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS {
            idle.push(sender);
        }
        Ok((status, body.to_bytes()))
    }

    fn take_idle(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(sender) = idle.pop() {
            if !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    async fn connect(&self) -> Result<Sender, ClientError> {
        let connect = async {
            let stream = TcpStream::connect(&self.gateway).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(GATEWAY_NAME).expect("the constant is a DNS name");
            self.connector.connect(name, stream).await
        };
        let failed = |source| ClientError::Connect { gateway: self.gateway.clone(), source };
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connect)
            .await
            .map_err(|_| failed(std::io::ErrorKind::TimedOut.into()))?
            .map_err(failed)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|source| ClientError::Broken { gateway: self.gateway.clone(), source })?;
        // Ends with the sender; its errors reach the request that is under way.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> ClientError {
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(ErrorBody { reason, message }) => {
            ClientError::Refused { status, reason, message: message.chars().take(MESSAGE_LIMIT).collect() }
        }
        Err(_) => {
            ClientError::Refused { status, reason: "Unknown".into(), message: format!("status {status}") }
        }
    }
}
