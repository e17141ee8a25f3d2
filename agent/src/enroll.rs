//! Becoming a machine of the fleet, and staying one: the key never leaves the machine.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use muster_model::Digest;
use muster_wire::{Client, ClientError, EnrollRequest, EnrollResponse, Identity, RenewRequest, pki};

use crate::host::Host;
use crate::state::{Enrolment, State, StateError};

/// Why a machine could not be enrolled, or its certificate not renewed.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// The state directory fails.
    #[error(transparent)]
    State(#[from] StateError),
    /// The gateway refuses or cannot be reached.
    #[error(transparent)]
    Gateway(#[from] ClientError),
    /// No key or request can be made.
    #[error("cannot make a key and a certificate request")]
    Key {
        /// What went wrong.
        source: pki::PkiError,
    },
}

/// How to enrol.
#[derive(Clone)]
pub struct Enroll {
    /// `host:port`, with or without `https://`.
    pub gateway: String,
    /// SHA-256 of the fleet's root.
    pub root: Digest,
    /// The enrolment token: a secret.
    pub token: String,
    /// What the FleetMachine's name is made from; absent: the host name.
    pub name: Option<String>,
    /// Only observe.
    pub observe: bool,
}

/// Enrols this machine and keeps what it got in `directory`. Done again after a failure it goes on with the same key.
///
/// # Errors
/// When the gateway cannot be reached, is not the fleet's, refuses the token, or the directory cannot be written.
pub async fn enroll(directory: &Path, how: &Enroll) -> Result<Enrolment, EnrollError> {
    let host = Host::system();
    let state = State::open(directory)?;
    let key = match state.pending_key()? {
        Some(key) => key,
        None => {
            let key = pki::new_key().map_err(|source| EnrollError::Key { source })?;
            state.save_pending_key(&key)?;
            key
        }
    };
    let gateway = address(&how.gateway);
    let hostname = host.text("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let request = EnrollRequest {
        token: how.token.clone(),
        csr: pki::signing_request(&key).map_err(|source| EnrollError::Key { source })?,
        hostname: how.name.clone().unwrap_or(hostname),
        machine_id: host.text("/etc/machine-id").unwrap_or_default().trim().to_owned(),
        observe: how.observe,
    };
    let response = Client::enroll(&gateway, &how.root, &request).await?;
    let enrolment = Enrolment {
        gateway,
        root: how.root.clone(),
        namespace: response.namespace,
        name: response.name,
        identity: response.identity,
        certificate: response.certificate,
        key,
        renew_time: renew_time(response.renew_after_seconds),
        observe: how.observe,
    };
    state.save_enrolment(&enrolment)?;
    Ok(enrolment)
}

/// Asks for the next certificate, with the same key, and keeps it.
pub(crate) async fn renew(
    state: &State,
    client: &Client,
    enrolment: &Enrolment,
) -> Result<Enrolment, EnrollError> {
    let csr = pki::signing_request(&enrolment.key).map_err(|source| EnrollError::Key { source })?;
    let EnrollResponse { certificate, renew_after_seconds, .. } = client.renew(&RenewRequest { csr }).await?;
    let renewed = Enrolment { certificate, renew_time: renew_time(renew_after_seconds), ..enrolment.clone() };
    state.save_enrolment(&renewed)?;
    Ok(renewed)
}

/// The client of an enrolled machine.
pub(crate) fn client(enrolment: &Enrolment) -> Result<Client, ClientError> {
    let identity = Identity { certificate: enrolment.certificate.clone(), key: enrolment.key.clone() };
    Client::new(&enrolment.gateway, &enrolment.root, &identity)
}

fn renew_time(seconds: u64) -> Timestamp {
    let wait = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    Timestamp::now().checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// `host:port` of an address that may be written as a URL.
fn address(text: &str) -> String {
    text.trim().trim_start_matches("https://").trim_end_matches('/').to_owned()
}

/// Reads a SHA-256 as 64 hexadecimal digits, with or without `sha256:`.
///
/// # Errors
/// When it is none.
pub fn parse_root(text: &str) -> Result<Digest, String> {
    let hex = text.trim().to_ascii_lowercase();
    let hex = hex.strip_prefix("sha256:").unwrap_or(&hex);
    Digest::parse(&format!("sha256:{hex}")).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_a_url_and_a_pin_in_any_case() {
        assert_eq!(address("https://gw.example:8443/"), "gw.example:8443");
        let hex = "AB".repeat(32);
        assert_eq!(parse_root(&hex).unwrap().hex(), hex.to_lowercase());
        assert_eq!(parse_root(&format!("sha256:{hex}")).unwrap(), parse_root(&hex).unwrap());
        assert!(parse_root("abc").is_err());
    }
}
