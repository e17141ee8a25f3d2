//! The two roots of `muster up`: the fleet's, which agents pin, and the API's, which makes its users.
//!
//! They are apart because a gateway's intermediate hangs below the fleet's root: below one common root it could sign
//! itself a certificate for the API. The API's server and user certificates are made anew at each start; a process that
//! runs longer than a year needs a restart for its kubeconfig.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use muster_wire::pki::{self, Pair, PkiError};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::state::{State, StateError};

/// How long the API's root is valid: only files in the state directory refer to it.
const ROOT_DAYS: i64 = 20 * 365;

/// How long its server and user certificates are: made anew at each start.
const LEAF_DAYS: i64 = 366;

/// Clocks differ a little, also in time.
const BACKDATED: SignedDuration = SignedDuration::from_mins(5);

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorityError {
    /// The state directory fails.
    #[error(transparent)]
    State(#[from] StateError),
    /// The fleet's root.
    #[error("cannot make or read the fleet's root in pki/")]
    Root(#[from] PkiError),
    /// Half of a pair is missing.
    #[error(
        "{missing} is missing beside its other half; restore it, or remove both (agents must then enrol anew)"
    )]
    Half {
        /// The file.
        missing: String,
    },
    /// A certificate cannot be made.
    #[error("cannot make {what}")]
    Make {
        /// What was to be made.
        what: &'static str,
        source: rcgen::Error,
    },
    /// The API's TLS.
    #[error("cannot configure the API's TLS")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn make(what: &'static str) -> impl FnOnce(rcgen::Error) -> AuthorityError {
    move |source| AuthorityError::Make { what, source }
}

/// The fleet's root, made at the first start.
pub(crate) fn fleet_root(state: &State) -> Result<Pair, AuthorityError> {
    load(state, "ca", || Ok(pki::new_root(Timestamp::now())?))
}

/// The API's root, made at the first start.
pub(crate) fn api_root(state: &State) -> Result<Pair, AuthorityError> {
    load(state, "api-ca", new_api_root)
}

fn load(
    state: &State,
    name: &str,
    new: impl FnOnce() -> Result<Pair, AuthorityError>,
) -> Result<Pair, AuthorityError> {
    state.folder("pki")?;
    let (certificate, key) = (format!("pki/{name}.crt"), format!("pki/{name}.key"));
    match (state.read(&certificate)?, state.read(&key)?) {
        (Some(certificate), Some(key)) => Ok(Pair { certificate, key }),
        // A start that ended between the two: nothing was made of that key yet.
        (None, _) => {
            let pair = new()?;
            state.write(&key, &pair.key)?;
            state.write(&certificate, &pair.certificate)?;
            Ok(pair)
        }
        (Some(_), None) => Err(AuthorityError::Half { missing: key }),
    }
}

fn new_api_root() -> Result<Pair, AuthorityError> {
    let what = "the API's root";
    let key = KeyPair::generate().map_err(make(what))?;
    let mut params = params("Muster API root", &[], ROOT_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root = params.self_signed(&key).map_err(make(what))?;
    Ok(Pair { certificate: root.pem(), key: key.serialize_pem() })
}

/// The API's TLS: its certificate for these addresses, and users by certificates of its root.
pub(crate) fn server_config(root: &Pair, addresses: &[IpAddr]) -> Result<ServerConfig, AuthorityError> {
    let mut params = params("muster", &[], LEAF_DAYS);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names = addresses.iter().map(|address| SanType::IpAddress(*address)).collect();
    let localhost = "localhost".try_into().expect("the constant is plain ASCII");
    params.subject_alt_names.push(SanType::DnsName(localhost));
    let pair = sign(root, params, "the API's certificate")?;
    let tls = |error: Box<dyn std::error::Error + Send + Sync>| AuthorityError::Tls(error);
    let mut roots = RootCertStore::empty();
    for certificate in pki::certificates(&root.certificate, "the API's root")? {
        roots.add(certificate).map_err(|error| tls(error.into()))?;
    }
    let provider = muster_wire::tls_provider();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|error| tls(error.into()))?;
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| tls(error.into()))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            pki::certificates(&pair.certificate, "the API's certificate")?,
            pki::private_key(&pair.key)?,
        )
        .map_err(|error| tls(error.into()))
}

/// A certificate for a user of the API.
pub(crate) fn user(root: &Pair, name: &str, groups: &[&str]) -> Result<Pair, AuthorityError> {
    let mut params = params(name, groups, LEAF_DAYS);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    sign(root, params, "a user's certificate")
}

fn sign(root: &Pair, params: CertificateParams, what: &'static str) -> Result<Pair, AuthorityError> {
    let key = KeyPair::from_pem(&root.key).map_err(make(what))?;
    let issuer = Issuer::from_ca_cert_pem(&root.certificate, key).map_err(make(what))?;
    let key = KeyPair::generate().map_err(make(what))?;
    let certificate = params.signed_by(&key, &issuer).map_err(make(what))?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn params(name: &str, organizations: &[&str], days: i64) -> CertificateParams {
    let now = Timestamp::now();
    let at = |time: Timestamp| {
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(time.as_second()).unwrap_or(0))
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    for organization in organizations {
        params.distinguished_name.push(DnType::OrganizationName, *organization);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.not_before = at(now.checked_sub(BACKDATED).unwrap_or(now));
    params.not_after = at(now.checked_add(SignedDuration::from_hours(24 * days)).unwrap_or(Timestamp::MAX));
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roots_are_made_once_and_apart() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::take(folder.path()).unwrap();
        let (fleet, api) = (fleet_root(&state).unwrap(), api_root(&state).unwrap());
        assert_eq!(fleet_root(&state).unwrap(), fleet);
        assert_ne!(fleet.certificate, api.certificate);
        server_config(&api, &[IpAddr::from([127, 0, 0, 1])]).unwrap();
        user(&api, "me", &["system:masters"]).unwrap();
        std::fs::remove_file(state.file("pki/ca.key")).unwrap();
        assert!(matches!(fleet_root(&state), Err(AuthorityError::Half { .. })));
    }
}
