//! The TLS door: certificates are identities.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use crate::support::server;

type Identity = (CertificateDer<'static>, KeyPair, String);

fn leaf(issuer: &Issuer<'_, KeyPair>, name: &str, groups: &[&str]) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
    params.distinguished_name.push(DnType::CommonName, name);
    for group in groups {
        params.distinguished_name.push(DnType::OrganizationName, *group);
    }
    let certificate = params.signed_by(&key, issuer).unwrap();
    (certificate.der().clone(), key, certificate.pem())
}

#[tokio::test]
async fn a_client_certificate_says_who_asks() {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let root_key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::new(vec![]).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = root.self_signed(&root_key).unwrap();
    let issuer = Issuer::new(root, root_key);
    let (own, own_key, _) = leaf(&issuer, "server", &[]);
    let (_, client_key, client_pem) = leaf(&issuer, "alice", &["system:masters"]);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
            .allow_unauthenticated()
            .build()
            .unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![own], PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own_key.serialize_der())))
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let (server, stop) = (server().await, shutdown.clone());
    let serving = tokio::spawn(async move { server.serve(listener, config, stop).await });

    let mut kubeconfig = kube::Config::new(format!("https://{address}").parse().unwrap());
    kubeconfig.root_cert = Some(vec![certificate.der().to_vec()]);
    let anonymous = kube::Client::try_from(kubeconfig.clone()).unwrap();
    assert!(anonymous.apiserver_version().await.unwrap().git_version.starts_with("v1.34"));
    assert!(anonymous.list_core_api_versions().await.is_err());
    kubeconfig.auth_info.client_certificate_data = Some(encode(&client_pem));
    kubeconfig.auth_info.client_key_data = Some(encode(&client_key.serialize_pem()).into());
    let alice = kube::Client::try_from(kubeconfig).unwrap();
    let found = kube::discovery::Discovery::new(alice).run_aggregated().await.unwrap();
    assert!(found.has_group("demo.example.com"));
    shutdown.cancel();
    serving.await.unwrap();
}

fn encode(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
