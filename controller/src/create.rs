//! Creating an activity: its creation is the reservation (rule A3), so how it ended must be known before anything else is
//! decided about the machine's place.
//!
//! A read that shows nothing proves nothing: the request of which nobody knows may still be on its way, and land after
//! the place was given to another. So it is made again under the same name, until one of the two is there.

use std::time::Duration;

use kube::api::PostParams;
use muster_crds::Activity;
use muster_fleet::{Change, Written};
use muster_model::ActivitySpec;
use tokio::time::Instant;
use tracing::warn;

use crate::read;
use crate::watch::Chain;
use crate::write::{Failed, Writer};

/// The waits between attempts: from the first, doubling, to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A request of which nobody knows is over by then: API servers end requests after a minute.
const LANDED: Duration = Duration::from_secs(90);

impl Writer {
    /// Creates an activity; answers when it is certain whether it is there.
    pub(crate) async fn create(&self, spec: &ActivitySpec, epoch: u64) -> (Written, Vec<Change>) {
        let api = self.api::<Activity>();
        let mut activity = Activity::from_model(spec, epoch);
        activity.metadata.namespace = Some(self.namespace.clone());
        let mut wait = FIRST_WAIT;
        // Until then an attempt whose end is unknown may still land.
        let mut open_until: Option<Instant> = None;
        loop {
            match api.create(&PostParams::default(), &activity).await.map_err(Failed::from) {
                Ok(created) => return (Written::Done, read::activity(created)),
                Err(Failed::Refused(kube::Error::Api(status))) if status.is_already_exists() => {
                    match api.get_opt(&spec.name.to_string()).await {
                        Ok(there) => {
                            return (Written::Refused, there.map(read::activity).unwrap_or_default());
                        }
                        Err(error) => {
                            warn!(activity = %spec.name, error = %Chain(&error), "cannot read the activity that is there; trying again");
                        }
                    }
                }
                Err(Failed::Refused(error)) => {
                    warn!(activity = %spec.name, error = %Chain(&error), "cannot create the activity");
                    if open_until.is_none_or(|until| until <= Instant::now()) {
                        return (Written::Refused, Vec::new());
                    }
                }
                Err(Failed::Unknown(error)) => {
                    warn!(activity = %spec.name, error = %Chain(&error), "nobody knows whether the activity was created; creating it again");
                    open_until = Some(Instant::now() + LANDED);
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use http::{Method, Request, Response, StatusCode};
    use http_body_util::BodyExt;
    use kube::client::Body;
    use kube::{Api, Client};
    use muster_apiserver::{ApiServer, Config, Identity};
    use muster_model::{ActivityName, Cause, HealthCheck, Step, StepAction, Uid};
    use tower::ServiceExt;

    use super::*;

    fn spec() -> ActivitySpec {
        ActivitySpec {
            name: ActivityName::parse("web-01-1").unwrap(),
            machine_uid: Uid::parse("u").unwrap(),
            steps: vec![Step {
                action: StepAction::RepairPackages,
                baselines: BTreeMap::new(),
                timeout: jiff::SignedDuration::from_hours(1),
            }]
            .into(),
            cause: Cause { revision: None, proposal: None }.into(),
            budgets: muster_model::Shared::default(),
            windows: muster_model::Shared::default(),
            passed: muster_model::Shared::default(),
            expiry: jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1),
            health: HealthCheck::default().into(),
            failed_units: Default::default(),
        }
    }

    // rule: A3
    #[tokio::test(start_paused = true)]
    async fn a_creation_that_lands_late_never_comes_beside_what_took_its_place() {
        let server = ApiServer::open(Config::default()).await.unwrap();
        let definitions: Vec<_> =
            muster_crds::all_crds().iter().map(|crd| serde_json::to_value(crd).unwrap()).collect();
        server.apply_crds(&definitions).await.unwrap();
        let real = server.service(Identity::admin("test"));
        // The first creation goes astray: the client hears of an error, the server of the request much later.
        let astray: Arc<Mutex<Option<Request<Vec<u8>>>>> = Arc::default();
        let (kept, inner) = (astray.clone(), real.clone());
        let flaky = tower::service_fn(move |request: Request<Body>| {
            let (kept, inner) = (kept.clone(), inner.clone());
            async move {
                let (parts, body) = request.into_parts();
                let bytes = body.collect_bytes().await.unwrap().to_vec();
                let first = parts.method == Method::POST && kept.lock().unwrap().is_none();
                if first {
                    *kept.lock().unwrap() = Some(Request::from_parts(parts, bytes));
                    let gone = Response::builder().status(StatusCode::BAD_GATEWAY);
                    return Ok::<_, std::convert::Infallible>(gone.body(Body::empty()).unwrap());
                }
                let request = Request::from_parts(parts, Body::from(bytes));
                let (parts, body) = inner.oneshot(request).await.unwrap().into_parts();
                let bytes = body.collect().await.unwrap().to_bytes().to_vec();
                Ok(Response::from_parts(parts, Body::from(bytes)))
            }
        });
        let writer = Writer::new(Client::new(flaky, "default"), "default", "test");
        let (written, shown) = writer.create(&spec(), 1).await;
        assert_eq!((written, shown.len()), (Written::Done, 1), "the place is taken, for certain");

        let late = astray.lock().unwrap().take().unwrap();
        let (parts, bytes) = late.into_parts();
        let answer = real.clone().oneshot(Request::from_parts(parts, Body::from(bytes))).await.unwrap();
        assert_eq!(answer.status(), StatusCode::CONFLICT);
        let all: Api<Activity> = Api::namespaced(Client::new(real, "default"), "default");
        assert_eq!(all.list(&Default::default()).await.unwrap().items.len(), 1);
    }
}
