//! Serves the embedded API over TLS in a folder, for trying kubectl on it by hand:
//! `cargo run -p muster-apiserver --example serve FOLDER [DEFINITION.yaml …]`, then
//! `kubectl --kubeconfig FOLDER/kubeconfig get namespaces`.

use std::error::Error;
use std::sync::Arc;

use base64::Engine as _;
use muster_apiserver::{ApiServer, Config};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_util::sync::CancellationToken;

/// What `muster` itself has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn leaf(
    issuer: &Issuer<'_, KeyPair>,
    name: &str,
    group: &str,
) -> Result<(rcgen::Certificate, KeyPair), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, group);
    Ok((params.signed_by(&key, issuer)?, key))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = std::path::PathBuf::from(arguments.next().ok_or("usage: serve FOLDER [DEFINITION.yaml …]")?);
    std::fs::create_dir_all(&folder)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let root_key = KeyPair::generate()?;
    let mut root = CertificateParams::new(vec![])?;
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = root.self_signed(&root_key)?;
    let issuer = Issuer::new(root, root_key);
    let (own, own_key) = leaf(&issuer, "api", "")?;
    let (admin, admin_key) = leaf(&issuer, "admin", "system:masters")?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone())?;
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
            .allow_unauthenticated()
            .build()?;
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![own.der().clone()],
            PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own_key.serialize_der())),
        )?;
    let config = Config {
        path: Some(folder.join("api.db")),
        audit: Some(folder.join("audit.jsonl")),
        ..Config::default()
    };
    let server = ApiServer::open(config).await?;
    for path in arguments {
        let definition: serde_json::Value = serde_saphyr::from_str(&std::fs::read_to_string(path)?)?;
        server.apply_crds(&[definition]).await?;
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let encode = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "muster",
        "clusters": [{"name": "muster", "cluster": {
            "server": format!("https://{}", listener.local_addr()?), "certificate-authority-data": encode(certificate.pem())}}],
        "contexts": [{"name": "muster", "context": {"cluster": "muster", "user": "admin"}}],
        "users": [{"name": "admin", "user": {
            "client-certificate-data": encode(admin.pem()), "client-key-data": encode(admin_key.serialize_pem())}}],
    });
    std::fs::write(folder.join("kubeconfig"), kubeconfig.to_string())?;
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        // Without signals the only end is kill, which the store survives.
        let _ = tokio::signal::ctrl_c().await;
        stop.cancel();
    });
    server.serve(listener, tls, shutdown).await;
    server.shutdown().await;
    Ok(())
}
