//! Trust in the gateway: its certificate chain must end in the root whose SHA-256 the agent pinned.
//!
//! The name that is verified is always [`GATEWAY_NAME`], not the address that was dialled: the root is this fleet's
//! own, only gateways get server certificates from it, and a gateway may move without any certificate changing.

use std::sync::{Arc, OnceLock};

use muster_model::Digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// The DNS name in every gateway's certificate.
pub const GATEWAY_NAME: &str = "gateway.muster.dev";

/// The cryptography of both sides, made once for the process: thousands of fake machines share it.
pub fn tls_provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())).clone()
}

/// Accepts a gateway whose chain ends in the pinned root.
#[derive(Debug)]
pub(crate) struct Pin {
    root: Digest,
    /// Made when the root was first seen; the root of a digest cannot change.
    verifier: OnceLock<Arc<WebPkiServerVerifier>>,
}

impl Pin {
    pub(crate) fn new(root: Digest) -> Self {
        Self { root, verifier: OnceLock::new() }
    }

    fn verifier(&self, sent: &[CertificateDer<'_>]) -> Result<Arc<WebPkiServerVerifier>, Error> {
        if let Some(verifier) = self.verifier.get() {
            return Ok(verifier.clone());
        }
        let root = sent.iter().find(|certificate| Digest::of(certificate) == self.root);
        let root = root.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(root.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), tls_provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(self.verifier.get_or_init(|| verifier).clone())
    }
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = ServerName::try_from(GATEWAY_NAME).expect("the constant is a DNS name");
        self.verifier(intermediates)?.verify_server_cert(end_entity, intermediates, &name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("gateways speak TLS 1.3".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signed,
            &tls_provider().signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls_provider().signature_verification_algorithms.supported_schemes()
    }
}
