//! Leadership of one namespace (rule A3): a Lease, taken and kept by compare-and-set.
//!
//! `spec.leaseTransitions` is the epoch: it grows each time the holder changes, every process is a holder of its own,
//! and gateways deliver only activities that carry the present one. A late write of a paused leader therefore stays
//! undelivered, whatever it says. For the same reason a leader that let go, and be it for a moment, leads in a new epoch
//! afterwards: what it sent before may still be on its way.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Api;
use kube::api::PostParams;
use tokio::time::Instant;

/// The Lease's name in every namespace.
pub(crate) const LEASE: &str = muster_crds::presence::CONTROLLER_LEASE;

/// How long a leader that says nothing keeps the lease: the usual value of Kubernetes' own controllers.
const DURATION_SECONDS: i32 = 15;

/// How often a leader renews: three tries before it would lose the lease.
pub(crate) const RENEW_EVERY: Duration = Duration::from_secs(4);

/// A leader that could not renew for so long stops deciding, well before another one may begin.
const GIVE_UP_AFTER: Duration = Duration::from_secs(11);

/// An API server that answers later than this does not answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Why the lease could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaseError {
    /// The API did not answer as it should.
    #[error("cannot {operation} the Lease {LEASE}")]
    Api {
        /// What was tried.
        operation: &'static str,
        /// What came back.
        source: Box<kube::Error>,
    },
    /// It did not answer in time.
    #[error("the API server did not answer about the Lease {LEASE} within {} s", ANSWER_WITHIN.as_secs())]
    Silent,
}

fn api(operation: &'static str) -> impl Fn(kube::Error) -> LeaseError {
    move |source| LeaseError::Api { operation, source: Box::new(source) }
}

/// One candidate for the leadership of one namespace.
pub(crate) struct Election {
    leases: Api<Lease>,
    identity: String,
    /// The process owns the store alone (`muster up` holds its lock), so whoever held the lease before is dead.
    sole: bool,
    /// When we last took or renewed it, by a clock that nobody can set; `None`: it is not ours.
    renewed: Option<Instant>,
}

impl Election {
    /// A candidate. `identity` must be unique to this process; `sole` says that no other process can hold the lease.
    #[must_use]
    pub(crate) fn new(client: kube::Client, namespace: &str, identity: String, sole: bool) -> Self {
        Self { leases: Api::namespaced(client, namespace), identity, sole, renewed: None }
    }

    /// Takes or renews the lease; the epoch while it is ours.
    ///
    /// # Errors
    /// When the API cannot be reached. The lease is then still ours until [`GIVE_UP_AFTER`] has passed.
    pub(crate) async fn contend(&mut self, now: Timestamp) -> Result<Option<u64>, LeaseError> {
        let begun = Instant::now();
        let tried = tokio::time::timeout(ANSWER_WITHIN, self.try_contend(now)).await;
        let result = tried.unwrap_or(Err(LeaseError::Silent));
        match &result {
            Ok(epoch) => self.renewed = epoch.map(|_| begun),
            Err(_) if self.renewed.is_some_and(|renewed| renewed.elapsed() >= GIVE_UP_AFTER) => {
                self.renewed = None;
                return Ok(None);
            }
            Err(_) => {}
        }
        result
    }

    async fn try_contend(&self, now: Timestamp) -> Result<Option<u64>, LeaseError> {
        let Some(mut lease) = self.leases.get_opt(LEASE).await.map_err(api("read"))? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(LEASE.to_owned()), ..ObjectMeta::default() },
                spec: Some(self.spec(now, now, 1)),
            };
            return match self.leases.create(&PostParams::default(), &lease).await {
                Ok(_) => Ok(Some(1)),
                Err(kube::Error::Api(status)) if status.is_already_exists() || status.is_conflict() => {
                    Ok(None)
                }
                Err(error) => Err(api("create")(error)),
            };
        };
        let old = lease.spec.take().unwrap_or_default();
        let transitions = old.lease_transitions.unwrap_or(0).max(0);
        let holder = old.holder_identity.as_deref().unwrap_or("");
        let ours = holder == self.identity;
        let duration = i64::from(old.lease_duration_seconds.unwrap_or(DURATION_SECONDS));
        let expired = old
            .renew_time
            .as_ref()
            .is_none_or(|renewed| renewed.0 + SignedDuration::from_secs(duration) <= now);
        if !ours && !expired && !holder.is_empty() && !self.sole {
            return Ok(None);
        }
        let goes_on = ours && self.renewed.is_some();
        let transitions = if goes_on { transitions } else { transitions + 1 };
        let acquired = old.acquire_time.filter(|_| goes_on).map_or(now, |time| time.0);
        lease.spec = Some(self.spec(now, acquired, transitions));
        match self.leases.replace(LEASE, &PostParams::default(), &lease).await {
            Ok(_) => Ok(Some(u64::try_from(transitions).unwrap_or(0))),
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => Ok(None),
            Err(error) => Err(api("renew")(error)),
        }
    }

    /// Lets go of the lease, so that the next leader need not wait.
    ///
    /// # Errors
    /// When the API cannot be reached; the lease then runs out by itself.
    pub(crate) async fn release(&mut self, now: Timestamp) -> Result<(), LeaseError> {
        if self.renewed.take().is_none() {
            return Ok(());
        }
        let mut lease = self.leases.get(LEASE).await.map_err(api("read"))?;
        if let Some(spec) =
            lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(&self.identity))
        {
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(now));
            self.leases.replace(LEASE, &PostParams::default(), &lease).await.map_err(api("release"))?;
        }
        Ok(())
    }

    fn spec(&self, now: Timestamp, acquired: Timestamp, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(DURATION_SECONDS),
            acquire_time: Some(MicroTime(acquired)),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::Client;
    use muster_apiserver::{ApiServer, Config, Identity};

    use super::*;

    // rule: A3
    #[tokio::test]
    async fn a_leader_that_let_go_for_a_moment_leads_in_a_new_epoch() {
        let server = ApiServer::open(Config::default()).await.unwrap();
        let client = Client::new(server.service(Identity::admin("test")), "default");
        let mut election = Election::new(client, "default", "one".to_owned(), false);
        let now = Timestamp::now();
        assert_eq!(election.contend(now).await.unwrap(), Some(1));
        assert_eq!(election.contend(now).await.unwrap(), Some(1), "it goes on");
        election.renewed = None;
        assert_eq!(election.contend(now).await.unwrap(), Some(2), "its own writes of before may come late");
    }

    // rule: A3
    #[tokio::test]
    async fn a_leader_that_gets_no_answer_gives_up_before_another_may_begin() {
        let server = ApiServer::open(Config::default()).await.unwrap();
        let client = Client::new(server.service(Identity::admin("test")), "default");
        let mut election = Election::new(client, "default", "one".to_owned(), false);
        assert_eq!(election.contend(Timestamp::now()).await.unwrap(), Some(1));
        tokio::time::pause();
        let taken = Instant::now();
        let nowhere = tower::service_fn(|_: http::Request<kube::client::Body>| {
            std::future::pending::<Result<http::Response<kube::client::Body>, std::convert::Infallible>>()
        });
        election.leases = Api::namespaced(Client::new(nowhere, "default"), "default");
        tokio::time::sleep(RENEW_EVERY).await;
        while !matches!(election.contend(Timestamp::now()).await, Ok(None)) {
            tokio::time::sleep(crate::watch::LOOK_EVERY).await;
        }
        let duration = Duration::from_secs(DURATION_SECONDS.unsigned_abs().into());
        assert!(taken.elapsed() < duration, "{:?}", taken.elapsed());
    }
}
