//! A server behind TLS, and kubeconfigs for whoever is to come in.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use muster_apiserver::ApiServer;
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub(crate) struct Door {
    address: SocketAddr,
    root: Certificate,
    issuer: Issuer<'static, KeyPair>,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

fn encode(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn leaf(issuer: &Issuer<'static, KeyPair>, name: &str, groups: &[&str]) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
    params.distinguished_name.push(DnType::CommonName, name);
    for group in groups {
        params.distinguished_name.push(DnType::OrganizationName, *group);
    }
    (params.signed_by(&key, issuer).unwrap(), key)
}

impl Door {
    pub(crate) async fn open(server: ApiServer) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let (own, own_key) = leaf(&issuer, "server", &[]);
        let mut roots = rustls::RootCertStore::empty();
        roots.add(root.der().clone()).unwrap();
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
                .allow_unauthenticated()
                .build()
                .unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own_key.serialize_der()));
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![own.der().clone()], key)
            .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let shutdown = stop.clone();
        let serving = tokio::spawn(async move { server.serve(listener, config, shutdown).await });
        Self { address, root, issuer, stop, serving }
    }

    /// A kubeconfig: without a name, for nobody in particular.
    pub(crate) fn kubeconfig(&self, name: &str, groups: &[&str]) -> Value {
        let mut user = json!({});
        if !name.is_empty() {
            let (certificate, key) = leaf(&self.issuer, name, groups);
            user = json!({
                "client-certificate-data": encode(&certificate.pem()),
                "client-key-data": encode(&key.serialize_pem()),
            });
        }
        let cluster = json!({
            "server": format!("https://{}", self.address),
            "certificate-authority-data": encode(&self.root.pem()),
        });
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "muster",
            "clusters": [{"name": "muster", "cluster": cluster}],
            "contexts": [{"name": "muster", "context": {"cluster": "muster", "user": "user"}}],
            "users": [{"name": "user", "user": user}],
        })
    }

    pub(crate) async fn close(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
    }
}
