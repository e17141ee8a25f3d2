//! How a machine becomes one of the fleet's, and how its certificate is renewed.
//!
//! The name is the host's, made valid. Where a FleetMachine of that name exists: without an identity (written by Git or
//! a person in advance), it becomes this machine's; with an identity of the same key, it is the same machine, whose
//! first answer was lost, and gets that identity again without using the token up further; else the name gets `-2`,
//! `-3` and so on. A use of the token is counted before anything else, so that a crash in between loses a use and never
//! gives one for free.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::api::{ListParams, ObjectMeta, PostParams};
use muster_crds::{Admit, EnrollmentToken, EnrollmentTokenStatus, FleetMachine, FleetMachineSpec, names};
use muster_model::{Digest, MachineName};
use muster_wire::{EnrollRequest, EnrollResponse, Reason, RenewRequest};

use crate::fleet::{Fleet, Record};
use crate::gateway::Core;
use crate::refusal::Refusal;

/// Annotation on a FleetMachine: digest of the public key that it enrolled with.
const ANNOTATION_KEY: &str = "muster.dev/enrolled-key";

/// So many machines may have the same host name.
const NAMESAKES: u32 = 1000;

/// How often a write that met another is tried again.
const ATTEMPTS: usize = 10;

/// The longest token, host name and machine id.
const TOKEN_LIMIT: usize = 512;
const HOSTNAME_LIMIT: usize = 253;

impl Core {
    /// A machine asks to become one of the fleet's.
    pub(crate) async fn enroll(&self, request: EnrollRequest) -> Result<EnrollResponse, Refusal> {
        let EnrollRequest { token, csr, hostname, machine_id, observe } = request;
        if token.len() > TOKEN_LIMIT || hostname.len() > HOSTNAME_LIMIT || machine_id.len() > HOSTNAME_LIMIT {
            return Err(Refusal::bad_request("the token, host name or machine id is too long"));
        }
        let key = key_of(&csr)?;
        let (fleet, token) = self.token(&token).await?;
        let (machine, same) = self.claim(&fleet, &token, &valid_name(&hostname, &key), &key).await?;
        fleet.machine_is(&machine);
        let identity = machine.spec.identity.clone().unwrap_or_default();
        let name = machine.name_any();
        let signed = self
            .issuer
            .sign(&csr, &identity)
            .map_err(|_| Refusal::bad_request("the certificate request cannot be read"))?;
        tracing::info!(
            machine = name,
            namespace = fleet.namespace,
            token = token.name_any(),
            same,
            observe,
            "enrolled"
        );
        self.metrics.enrolled.inc();
        Ok(EnrollResponse {
            namespace: fleet.namespace.clone(),
            name,
            identity,
            certificate: signed.certificate,
            ca: signed.root,
            renew_after_seconds: signed.renew_after_seconds,
            admitted: machine.spec.admitted,
        })
    }

    /// A known machine asks for a new certificate.
    pub(crate) fn renew(
        &self,
        fleet: &Fleet,
        record: &Record,
        request: &RenewRequest,
    ) -> Result<EnrollResponse, Refusal> {
        let signed = self
            .issuer
            .sign(&request.csr, &record.identity)
            .map_err(|_| Refusal::bad_request("the certificate request cannot be read"))?;
        Ok(EnrollResponse {
            namespace: fleet.namespace.clone(),
            name: record.name.to_string(),
            identity: record.identity.clone(),
            certificate: signed.certificate,
            ca: signed.root,
            renew_after_seconds: signed.renew_after_seconds,
            admitted: true,
        })
    }

    /// The token, if it is good for one machine more; stored hashed, so it is found by its hash.
    async fn token(&self, secret: &str) -> Result<(std::sync::Arc<Fleet>, EnrollmentToken), Refusal> {
        let hash = Digest::of(secret.as_bytes()).to_string();
        let now = (self.clock)();
        for fleet in &self.fleets {
            let tokens = fleet.apis.tokens.list(&ListParams::default()).await;
            let tokens = tokens.map_err(|error| Refusal::unavailable("the enrolment", &error))?;
            let found = tokens.items.into_iter().find(|token| token.spec.secret_hash == hash);
            if let Some(token) = found.filter(|token| token.spec.expiry_time.0 > now) {
                return Ok((fleet.clone(), token));
            }
        }
        Err(refused_token())
    }

    /// Makes, takes or finds the machine's FleetMachine; the second is whether it was there with this key.
    async fn claim(
        &self,
        fleet: &Fleet,
        token: &EnrollmentToken,
        name: &str,
        key: &Digest,
    ) -> Result<(FleetMachine, bool), Refusal> {
        let failed = |error: kube::Error| Refusal::unavailable("the enrolment", &error);
        let mut counted = false;
        for namesake in 1..=NAMESAKES {
            let name = if namesake == 1 { name.to_owned() } else { suffixed(name, namesake) };
            let existing = fleet.apis.machines.get_opt(&name).await.map_err(failed)?;
            if let Some(machine) = &existing {
                let same_key =
                    machine.annotations().get(ANNOTATION_KEY).is_some_and(|known| *known == key.to_string());
                match (&machine.spec.identity, same_key) {
                    (Some(_), true) if machine.spec.revoked => return Err(Refusal::revoked()),
                    (Some(_), true) => return Ok((machine.clone(), true)),
                    (Some(_), false) => continue,
                    (None, _) => {}
                }
            }
            if !counted {
                use_token(fleet, token).await?;
                counted = true;
            }
            let written = match existing {
                Some(machine) => take(fleet, machine, token, key).await,
                None => create(fleet, &name, token, key).await,
            };
            match written {
                Ok(machine) => return Ok((machine, false)),
                // Somebody was faster: the next name.
                Err(kube::Error::Api(status)) if status.is_already_exists() || status.is_conflict() => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(Refusal::bad_request("too many machines have this host name; give it another one"))
    }
}

fn refused_token() -> Refusal {
    Refusal::new(
        Reason::TokenRefused,
        "the enrolment token is unknown, expired or used up; make a new one with `muster enroll`",
    )
}

/// Counts a use, by compare-and-set: two machines never share the last one.
async fn use_token(fleet: &Fleet, token: &EnrollmentToken) -> Result<(), Refusal> {
    let failed = |error: kube::Error| Refusal::unavailable("the enrolment", &error);
    let _turn = fleet.token_uses.lock().await;
    for _ in 0..ATTEMPTS {
        let Some(mut token) = fleet.apis.tokens.get_opt(&token.name_any()).await.map_err(failed)? else {
            return Err(refused_token());
        };
        let mut status = token.status.take().unwrap_or_else(EnrollmentTokenStatus::default);
        if status.uses >= token.spec.max_uses {
            return Err(refused_token());
        }
        status.uses += 1;
        token.status = Some(status);
        match fleet.apis.tokens.replace_status(&token.name_any(), &manager(), &token).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Err(Refusal::new(Reason::Busy, "many machines enrol with this token just now; try again"))
}

async fn create(
    fleet: &Fleet,
    name: &str,
    token: &EnrollmentToken,
    key: &Digest,
) -> Result<FleetMachine, kube::Error> {
    let machine = FleetMachine {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: (!token.spec.labels.is_empty()).then(|| token.spec.labels.clone()),
            annotations: Some(BTreeMap::from([(ANNOTATION_KEY.to_owned(), key.to_string())])),
            ..ObjectMeta::default()
        },
        spec: FleetMachineSpec {
            identity: Some(uuid::Uuid::new_v4().to_string()),
            admitted: token.spec.admit == Admit::Admitted,
            ..FleetMachineSpec::default()
        },
        status: None,
    };
    fleet.apis.machines.create(&manager(), &machine).await
}

/// Gives an identity to a FleetMachine that was written in advance; what it says already stays.
async fn take(
    fleet: &Fleet,
    mut machine: FleetMachine,
    token: &EnrollmentToken,
    key: &Digest,
) -> Result<FleetMachine, kube::Error> {
    let name = machine.name_any();
    machine.spec.identity = Some(uuid::Uuid::new_v4().to_string());
    machine.spec.admitted |= token.spec.admit == Admit::Admitted;
    machine.annotations_mut().insert(ANNOTATION_KEY.to_owned(), key.to_string());
    for (label, value) in &token.spec.labels {
        machine.labels_mut().entry(label.clone()).or_insert_with(|| value.clone());
    }
    fleet.apis.machines.replace(&name, &manager(), &machine).await
}

pub(crate) fn manager() -> PostParams {
    PostParams { dry_run: false, field_manager: Some(names::MANAGER_GATEWAY.to_owned()) }
}

/// The digest of the request's public key.
fn key_of(request: &str) -> Result<Digest, Refusal> {
    use x509_parser::prelude::FromDer;
    let wrong = || Refusal::bad_request("the certificate request cannot be read");
    let (_, pem) = x509_parser::pem::parse_x509_pem(request.as_bytes()).map_err(|_| wrong())?;
    let (_, request) = x509_parser::certification_request::X509CertificationRequest::from_der(&pem.contents)
        .map_err(|_| wrong())?;
    Ok(Digest::of(request.certification_request_info.subject_pki.raw))
}

/// The host name as an object's name; without anything usable in it, one made from the key.
fn valid_name(hostname: &str, key: &Digest) -> String {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let lower = hostname.to_ascii_lowercase();
    let replaced: String = lower.chars().map(|c| if good(c) { c } else { '-' }).take(63).collect();
    let parts = replaced.split('.').map(|part| part.trim_matches('-')).filter(|part| !part.is_empty());
    let name = parts.collect::<Vec<_>>().join(".");
    if MachineName::parse(&name).is_ok() { name } else { format!("machine-{}", &key.hex()[..8]) }
}

fn suffixed(name: &str, number: u32) -> String {
    let suffix = format!("-{number}");
    let room = 63 - suffix.len();
    let cut = name.get(..room).unwrap_or(name).trim_end_matches(['-', '.']);
    format!("{cut}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_host_name_gives_a_valid_machine_name() {
        let key = Digest::of(b"key");
        for (host, name) in [
            ("web-01", "web-01"),
            ("Web_01.Example.COM", "web-01.example.com"),
            ("-x-.-.y", "x.y"),
            ("größe", "gr--e"),
            ("", &format!("machine-{}", &key.hex()[..8])),
        ] {
            assert_eq!(valid_name(host, &key), name, "{host}");
        }
        assert_eq!(suffixed("web-01", 2), "web-01-2");
        let long = "a".repeat(63);
        assert!(MachineName::parse(&suffixed(&long, 12)).is_ok());
        assert!(
            MachineName::parse(&valid_name(&format!("{}-{}", "a".repeat(62), "b".repeat(9)), &key)).is_ok()
        );
    }
}
