//! Git's smart protocol over http(s), by a rustls client.

use std::io::{self, Read, Write};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream};
use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::{Credentials, GitError, MAX_FETCH_BYTES, REMOTE_TIMEOUT_SECONDS, shown};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client with its credentials.
#[derive(Clone)]
pub(super) struct Http {
    agent: Agent,
    authorization: Option<String>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Http(…)")
    }
}

impl Http {
    pub(super) fn new(url: &str, credentials: &Credentials) -> Result<Self, GitError> {
        let mut config = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(REMOTE_TIMEOUT_SECONDS)))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .user_agent(concat!("git/2 muster/", env!("CARGO_PKG_VERSION")));
        if let Some(ca) = &credentials.ca {
            let refuse =
                GitError::Url { url: shown(url), why: "the secret's ca.crt holds no certificate in PEM" };
            let certificates: Vec<_> = parse_pem(ca.as_bytes())
                .filter_map(|item| match item {
                    Ok(PemItem::Certificate(certificate)) => Some(certificate),
                    Ok(_) | Err(_) => None,
                })
                .collect();
            if certificates.is_empty() {
                return Err(refuse);
            }
            config = config.tls_config(
                TlsConfig::builder().root_certs(RootCerts::new_with_certs(&certificates)).build(),
            );
        }
        let Credentials { username, password, bearer_token, .. } = credentials;
        let authorization = match (bearer_token, username, password) {
            (Some(token), _, _) => Some(format!("Bearer {}", token.trim())),
            (None, None, None) => None,
            (None, username, password) => {
                let pair =
                    [username, password].map(|part| part.as_deref().unwrap_or_default().trim().to_owned());
                Some(format!("Basic {}", STANDARD.encode(pair.join(":"))))
            }
        };
        Ok(Self { agent: config.build().new_agent(), authorization })
    }
}

impl SmartSubtransport for Http {
    fn action(&self, url: &str, action: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        let url = url.trim_end_matches('/');
        let (url, asks) = match action {
            Service::UploadPackLs => (format!("{url}/info/refs?service=git-upload-pack"), true),
            Service::UploadPack => (format!("{url}/git-upload-pack"), false),
            Service::ReceivePackLs | Service::ReceivePack => {
                return Err(git2::Error::from_str("a source is only read, never pushed to"));
            }
        };
        Ok(Box::new(Exchange { http: self.clone(), url, asks, request: Vec::new(), response: None }))
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

/// One request and its response: what is written is sent when it is first read.
struct Exchange {
    http: Http,
    url: String,
    asks: bool,
    request: Vec<u8>,
    response: Option<Box<dyn Read + Send>>,
}

impl Exchange {
    fn send(&self) -> io::Result<Box<dyn Read + Send>> {
        const RESULT: &str = "application/x-git-upload-pack-result";
        const ADVERTISEMENT: &str = "application/x-git-upload-pack-advertisement";
        let Http { agent, authorization } = &self.http;
        let (result, expected) = if self.asks {
            let mut request = agent.get(&self.url);
            if let Some(authorization) = authorization {
                request = request.header("authorization", authorization);
            }
            (request.call(), ADVERTISEMENT)
        } else {
            let mut request = agent
                .post(&self.url)
                .header("content-type", "application/x-git-upload-pack-request")
                .header("accept", RESULT);
            if let Some(authorization) = authorization {
                request = request.header("authorization", authorization);
            }
            (request.send(&self.request[..]), RESULT)
        };
        let response = result.map_err(|error| io::Error::other(told(&error)))?;
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or("");
        if kind.split(';').next().map(str::trim) != Some(expected) {
            return Err(io::Error::other("the server's answer is not Git's: check the address"));
        }
        Ok(Box::new(response.into_body().into_with_config().limit(MAX_FETCH_BYTES as u64).reader()))
    }
}

fn told(error: &ureq::Error) -> String {
    match error {
        ureq::Error::StatusCode(status @ (401 | 403)) => {
            format!("the server answered {status}: it wants other credentials, or any")
        }
        ureq::Error::StatusCode(404) => {
            "the server answered 404: there is no such repository, or not for these credentials".to_owned()
        }
        other => other.to_string(),
    }
}

impl Read for Exchange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.response.is_none() {
            self.response = Some(self.send()?);
        }
        self.response.as_mut().map_or(Ok(0), |response| response.read(buffer))
    }
}

impl Write for Exchange {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.request.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
