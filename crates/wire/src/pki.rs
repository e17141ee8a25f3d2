//! Certificates: the fleet's root, a gateway's intermediate, machines' leaves; all ECDSA P-256.
//!
//! The root's key stays with the controller. A gateway gets an intermediate that may sign leaves only (path length 0)
//! and that outlives each of them, so that an expired leaf can still be judged at the last moment of its validity.
//! Deliberately not here: where keys are kept, and when anything is renewed.

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use muster_model::Digest;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::GATEWAY_NAME;

/// The organization in a machine's certificate.
pub const MACHINES: &str = "muster:machines";

/// The organization in a gateway's certificates.
pub const GATEWAYS: &str = "muster:gateways";

/// How long a machine's certificate is valid: long enough for a weekend's outage of the gateways, short enough that
/// a stolen one is soon worth nothing.
pub const MACHINE_VALIDITY: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How long a gateway's intermediate is valid; renewed after two thirds it outlives every leaf that it signed.
pub const INTERMEDIATE_VALIDITY: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How long the root is valid: agents pin it, so replacing it means touching each machine.
pub const ROOT_VALIDITY: SignedDuration = SignedDuration::from_hours(20 * 365 * 24);

/// Certificates are valid from a little before they were made: clocks differ.
const BACKDATED: SignedDuration = SignedDuration::from_mins(5);

/// A certificate chain and the key of its first certificate, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate, and after it those that lead to the root, as far as they are needed.
    pub certificate: String,
    /// Its PKCS #8 key. A secret.
    pub key: String,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("certificate", &self.certificate).field("key", &"…").finish()
    }
}

/// Why a certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// Making it failed.
    #[error("cannot make {what}; is the authority's key the one of its certificate?")]
    Make {
        /// What was to be made.
        what: &'static str,
        /// What went wrong.
        source: rcgen::Error,
    },
    /// The text is not PEM of the right kind.
    #[error("cannot read {what}: expected PEM")]
    Read {
        /// What was to be read.
        what: &'static str,
        /// What went wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// There is nothing in it.
    #[error("{what} holds no certificate")]
    Empty {
        /// What was to be read.
        what: &'static str,
    },
    /// The certificate lacks something that ours have.
    #[error("the certificate is not one of a machine of this fleet")]
    NotAMachine,
}

fn make(what: &'static str) -> impl FnOnce(rcgen::Error) -> PkiError {
    move |source| PkiError::Make { what, source }
}

/// A new key in PEM (PKCS #8).
///
/// # Errors
/// When the system gives no randomness.
pub fn new_key() -> Result<String, PkiError> {
    Ok(KeyPair::generate().map_err(make("a key"))?.serialize_pem())
}

/// A certificate signing request for a key; the gateway decides what the certificate says.
///
/// # Errors
/// When the key cannot be read.
pub fn signing_request(key: &str) -> Result<String, PkiError> {
    let what = "a certificate request";
    let key = KeyPair::from_pem(key).map_err(make(what))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = subject("machine", MACHINES);
    params.serialize_request(&key).and_then(|request| request.pem()).map_err(make(what))
}

/// A new root for a fleet.
///
/// # Errors
/// When the system gives no randomness.
pub fn new_root(now: Timestamp) -> Result<Pair, PkiError> {
    let what = "the fleet's root";
    let key = KeyPair::generate().map_err(make(what))?;
    let mut params = authority("Muster fleet root", now, ROOT_VALIDITY, 1);
    params.distinguished_name.push(DnType::OrganizationName, "muster");
    let root = params.self_signed(&key).map_err(make(what))?;
    Ok(Pair { certificate: root.pem(), key: key.serialize_pem() })
}

/// A new intermediate for one gateway; its chain includes the root.
///
/// # Errors
/// When the root cannot be read or its key is another's.
pub fn new_intermediate(
    root: &Pair,
    id: &str,
    now: Timestamp,
    validity: SignedDuration,
) -> Result<Pair, PkiError> {
    let what = "a gateway's intermediate";
    let key = KeyPair::generate().map_err(make(what))?;
    let mut params = authority(&format!("Muster gateway {id}"), now, validity, 0);
    params.distinguished_name.push(DnType::OrganizationName, GATEWAYS);
    let intermediate = params.signed_by(&key, &issuer(root)?).map_err(make(what))?;
    Ok(Pair { certificate: intermediate.pem() + &root.certificate, key: key.serialize_pem() })
}

/// A server certificate for the gateway that has this intermediate; its chain includes intermediate and root.
///
/// # Errors
/// When the intermediate cannot be read.
pub fn server_certificate(
    intermediate: &Pair,
    now: Timestamp,
    validity: SignedDuration,
) -> Result<Pair, PkiError> {
    let what = "a gateway's certificate";
    let key = KeyPair::generate().map_err(make(what))?;
    let mut params = leaf(subject("gateway", GATEWAYS), now, validity);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names =
        vec![SanType::DnsName(GATEWAY_NAME.try_into().expect("the constant is plain ASCII"))];
    let server = params.signed_by(&key, &issuer(intermediate)?).map_err(make(what))?;
    Ok(Pair { certificate: server.pem() + &intermediate.certificate, key: key.serialize_pem() })
}

/// Signs a machine's request: whatever it asks for, the certificate names this identity and can only be a client's.
///
/// # Errors
/// When the request cannot be read or was not signed with its own key.
pub fn sign_machine(
    intermediate: &Pair,
    request: &str,
    identity: &str,
    now: Timestamp,
    validity: SignedDuration,
) -> Result<String, PkiError> {
    let what = "a machine's certificate from its request";
    let mut request = CertificateSigningRequestParams::from_pem(request).map_err(make(what))?;
    request.params = leaf(subject(identity, MACHINES), now, validity);
    request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(request.signed_by(&issuer(intermediate)?).map_err(make(what))?.pem())
}

/// The identity in a machine's certificate: its common name, if its organization is [`MACHINES`].
///
/// The caller has verified the chain.
///
/// # Errors
/// When the certificate is of another kind.
pub fn identity_of(certificate: &[u8]) -> Result<String, PkiError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|_| PkiError::NotAMachine)?;
    let subject = parsed.subject();
    let one = |mut names: Box<dyn Iterator<Item = &str> + '_>| names.next().map(str::to_owned);
    let organization = one(Box::new(subject.iter_organization().filter_map(|name| name.as_str().ok())));
    let name = one(Box::new(subject.iter_common_name().filter_map(|name| name.as_str().ok())));
    match (organization, name) {
        (Some(organization), Some(name)) if organization == MACHINES && !name.is_empty() => Ok(name),
        _ => Err(PkiError::NotAMachine),
    }
}

/// When the first certificate of a chain ends.
///
/// # Errors
/// When it cannot be read.
pub fn not_after(certificate: &str) -> Result<Timestamp, PkiError> {
    let what = "a certificate";
    let chain = certificates(certificate, what)?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&chain[0]).map_err(|_| PkiError::Empty { what })?;
    Timestamp::from_second(parsed.validity().not_after.timestamp()).map_err(|_| PkiError::Empty { what })
}

/// The digest of a PEM certificate: what agents pin of the root.
///
/// # Errors
/// When it cannot be read.
pub fn digest(certificate: &str) -> Result<Digest, PkiError> {
    Ok(Digest::of(&certificates(certificate, "a certificate")?[0]))
}

/// The certificates in a PEM text, at least one.
///
/// # Errors
/// When there is none or one cannot be read.
pub fn certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let certificates = certificates.map_err(|source| PkiError::Read { what, source })?;
    if certificates.is_empty() { Err(PkiError::Empty { what }) } else { Ok(certificates) }
}

/// The private key in a PEM text.
///
/// # Errors
/// When there is none.
pub fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>, PkiError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|source| PkiError::Read { what: "a private key", source })
}

fn issuer(pair: &Pair) -> Result<Issuer<'static, KeyPair>, PkiError> {
    let what = "an authority";
    let key = KeyPair::from_pem(&pair.key).map_err(make(what))?;
    let chain = certificates(&pair.certificate, what)?;
    Issuer::from_ca_cert_der(&chain[0], key).map_err(make(what))
}

fn subject(name: &str, organization: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject.push(DnType::OrganizationName, organization);
    subject
}

fn leaf(subject: DistinguishedName, now: Timestamp, validity: SignedDuration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    set_validity(&mut params, now, validity);
    params
}

fn authority(name: &str, now: Timestamp, validity: SignedDuration, path_length: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, now, validity);
    params
}

fn set_validity(params: &mut CertificateParams, now: Timestamp, validity: SignedDuration) {
    let at = |time: Timestamp| {
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(time.as_second()).unwrap_or(0))
    };
    params.not_before = at(now.checked_sub(BACKDATED).unwrap_or(now));
    params.not_after = at(now.checked_add(validity).unwrap_or(Timestamp::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machines_certificate_says_what_the_gateway_decides_not_what_the_request_asks() {
        let now = Timestamp::now();
        let root = new_root(now).unwrap();
        let intermediate = new_intermediate(&root, "a", now, INTERMEDIATE_VALIDITY).unwrap();
        let request = signing_request(&new_key().unwrap()).unwrap();
        let signed = sign_machine(&intermediate, &request, "id-1", now, MACHINE_VALIDITY).unwrap();
        let der = certificates(&signed, "it").unwrap().remove(0);
        assert_eq!(identity_of(&der).unwrap(), "id-1");
        assert_eq!(not_after(&signed).unwrap().as_second(), (now + MACHINE_VALIDITY).as_second());
        let gateway = server_certificate(&intermediate, now, MACHINE_VALIDITY).unwrap();
        let der = certificates(&gateway.certificate, "it").unwrap().remove(0);
        assert!(identity_of(&der).is_err());
        assert!(sign_machine(&intermediate, "nonsense", "id-1", now, MACHINE_VALIDITY).is_err());
    }

    #[test]
    fn a_key_is_never_printed() {
        let root = new_root(Timestamp::now()).unwrap();
        assert!(!format!("{root:?}").contains("PRIVATE"));
    }
}
