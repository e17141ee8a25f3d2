//! Delivery (rule A3): an activity of the present epoch goes to its machine once it is durably `Delivered`.
//!
//! The order of reads matters: first the activity, then the Lease, then the compare-and-set on the activity as read. A
//! leader that was paused may still create an activity after its time; by then the Lease has moved on, and since it is
//! read after the activity, that activity is never delivered. A new leader that adopts or cancels writes the activity,
//! so the compare-and-set fails.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::ResourceExt;
use muster_crds::{Activity, names};
use muster_model::Phase;
use muster_wire::{WireActivity, WireStep};

use crate::conditions;
use crate::enroll::manager;
use crate::fleet::{Fleet, Record, Unfinished, epoch_of};
use crate::gateway::Core;
use crate::refusal::Refusal;

/// Older than that, an undelivered activity is not delivered any more: the controller expires it (rule A4).
const UNDELIVERED: SignedDuration = SignedDuration::from_mins(2);

/// How often a write that met another is tried again.
const ATTEMPTS: usize = 3;

impl Core {
    /// Offers the machine its activity; `None` when it is not to have it (now).
    pub(crate) async fn deliver(
        &self,
        fleet: &Fleet,
        record: &Record,
        known: &Unfinished,
    ) -> Result<Option<Box<WireActivity>>, Refusal> {
        if known.epoch.is_none() || known.epoch != fleet.epoch() {
            return Ok(None);
        }
        let _permit = self.permit().await?;
        for _ in 0..ATTEMPTS {
            let Some(mut activity) = self.fresh_activity(fleet, &known.name.to_string()).await? else {
                return Ok(None);
            };
            let Some(wire) = self.deliverable(&activity, record, known) else { return Ok(None) };
            let lease = fleet.apis.leases.get_opt(Fleet::lease_name()).await;
            let lease = lease.map_err(|error| Refusal::unavailable("the delivery", &error))?;
            if lease.as_ref().map(epoch_of) != epoch_label(&activity) {
                return Ok(None);
            }
            let status = activity.status.get_or_insert_default();
            if status.phase == Some(Phase::Delivered) {
                return Ok(Some(wire));
            }
            let now = (self.clock)();
            status.phase = Some(Phase::Delivered);
            status.delivered_time = Some(MicroTime(now));
            let reason = names::reason::DELIVERED;
            conditions::set(
                &mut status.conditions,
                names::condition::DELIVERED,
                true,
                reason,
                "given to the machine",
                now,
            );
            match fleet.apis.activities.replace_status(&activity.name_any(), &manager(), &activity).await {
                Ok(written) => {
                    self.metrics.delivered.inc();
                    tracing::info!(machine = %record.name, activity = %known.name, "delivered");
                    fleet.activity_is(&written);
                    return Ok(Some(wire));
                }
                Err(kube::Error::Api(status)) if status.is_conflict() => {}
                Err(error) => return Err(Refusal::unavailable("the delivery", &error)),
            }
        }
        Ok(None)
    }

    /// As it travels, if it is this machine's and may (still) begin.
    fn deliverable(
        &self,
        activity: &Activity,
        record: &Record,
        known: &Unfinished,
    ) -> Option<Box<WireActivity>> {
        let model = match activity.to_model() {
            Ok(model) => model,
            Err(errors) => {
                let error = errors.first().map(ToString::to_string).unwrap_or_default();
                tracing::warn!(activity = %known.name, error, "an activity cannot be read and is not delivered");
                return None;
            }
        };
        let now = (self.clock)();
        let is_mine = model.uid.to_string() == known.uid && model.spec.machine_uid.to_string() == record.uid;
        let may_begin = match model.phase {
            Phase::Pending => {
                !model.cancel && !record.seen().suspended && now.duration_since(model.created) <= UNDELIVERED
            }
            // Offered again until it is begun; with a cancel, so that the agent can answer it.
            Phase::Delivered => true,
            Phase::Running
            | Phase::Verifying
            | Phase::Succeeded
            | Phase::Failed
            | Phase::Refused
            | Phase::Interrupted
            | Phase::Canceled
            | Phase::Expired => false,
        };
        let left = u64::try_from(model.spec.expiry.duration_since(now).as_secs()).unwrap_or(0);
        (is_mine && may_begin && left > 0).then(|| {
            Box::new(WireActivity {
                name: model.spec.name,
                uid: model.uid,
                steps: model
                    .spec
                    .steps
                    .iter()
                    .map(|step| WireStep::new(&step.action, step.timeout))
                    .collect(),
                health: muster_model::HealthCheck::clone(&model.spec.health),
                expires_in_seconds: left,
                cancel: model.cancel,
            })
        })
    }

    /// The activity as it is now.
    pub(crate) async fn fresh_activity(
        &self,
        fleet: &Fleet,
        name: &str,
    ) -> Result<Option<Activity>, Refusal> {
        fleet.apis.activities.get_opt(name).await.map_err(|error| Refusal::unavailable("the request", &error))
    }
}

fn epoch_label(activity: &Activity) -> Option<u64> {
    activity.labels().get(names::LABEL_EPOCH)?.parse().ok()
}
