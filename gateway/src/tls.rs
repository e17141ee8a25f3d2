//! Mutual TLS: a machine shows its certificate, or none when it enrols.
//!
//! A certificate that expired up to 90 days ago gets through here, so that the machine can renew it; `front` lets it do
//! nothing else (design §11).

use std::sync::Arc;

use muster_wire::pki::{self, Pair};
use muster_wire::tls_provider;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use std::time::Duration;

/// For so long after its end a certificate may still be renewed.
const RENEWABLE: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// The configuration for a server certificate (with its chain) and the root that machines' certificates end in.
pub(crate) fn server_config(
    server: &Pair,
    root: &str,
) -> Result<Arc<ServerConfig>, Box<dyn std::error::Error + Send + Sync>> {
    let mut roots = RootCertStore::empty();
    for certificate in pki::certificates(root, "the fleet's root")? {
        roots.add(certificate)?;
    }
    let webpki = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls_provider())
        .allow_unauthenticated()
        .build()?;
    let mut config = ServerConfig::builder_with_provider(tls_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(MachineVerifier { webpki }))
        .with_single_cert(
            pki::certificates(&server.certificate, "the gateway's certificate")?,
            pki::private_key(&server.key)?,
        )?;
    // A resumed session would keep an old certificate alive.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Accepts machines' certificates, also those that expired not too long ago.
#[derive(Debug)]
struct MachineVerifier {
    webpki: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for MachineVerifier {
    fn offer_client_auth(&self) -> bool {
        self.webpki.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.webpki.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.webpki.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verdict = self.webpki.verify_client_cert(end_entity, intermediates, now);
        let Err(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) = verdict
        else {
            return verdict;
        };
        // The intermediate outlived it: judge it at its last moment.
        match not_after(end_entity) {
            Some(end) if now.as_secs() <= end.as_secs().saturating_add(RENEWABLE.as_secs()) => {
                let last = Duration::from_secs(end.as_secs().saturating_sub(1).min(now.as_secs()));
                self.webpki.verify_client_cert(end_entity, intermediates, UnixTime::since_unix_epoch(last))
            }
            Some(_) | None => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// When a certificate ends, in time since 1970.
pub(crate) fn not_after(certificate: &CertificateDer<'_>) -> Option<Duration> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    u64::try_from(parsed.validity().not_after.timestamp()).ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;

    #[test]
    fn a_certificate_that_expired_gets_through_for_90_days_and_a_strangers_never() {
        let made = Timestamp::from_second(1_800_000_000).unwrap();
        let chain = |root: &Pair| {
            let intermediate = pki::new_intermediate(root, "a", made, pki::INTERMEDIATE_VALIDITY).unwrap();
            let request = pki::signing_request(&pki::new_key().unwrap()).unwrap();
            let leaf = pki::sign_machine(&intermediate, &request, "id", made, pki::MACHINE_VALIDITY).unwrap();
            let leaf = pki::certificates(&leaf, "it").unwrap().remove(0);
            (leaf, pki::certificates(&intermediate.certificate, "it").unwrap())
        };
        let root = pki::new_root(made).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(pki::certificates(&root.certificate, "it").unwrap().remove(0)).unwrap();
        let webpki =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls_provider()).build().unwrap();
        let verifier = MachineVerifier { webpki };
        let ok = |(leaf, chain): &(CertificateDer<'static>, Vec<CertificateDer<'static>>), days: i64| {
            let at = made + SignedDuration::from_hours(24 * days);
            let at = UnixTime::since_unix_epoch(Duration::from_secs(at.as_second().unsigned_abs()));
            verifier.verify_client_cert(leaf, chain, at).is_ok()
        };
        let ours = chain(&root);
        assert!(ok(&ours, 1) && ok(&ours, 8) && ok(&ours, 96), "the intermediate expired on day 30");
        assert!(!ok(&ours, 98) && !ok(&ours, -1));
        let strangers = chain(&pki::new_root(made).unwrap());
        assert!(!ok(&strangers, 1) && !ok(&strangers, 8));
    }
}
