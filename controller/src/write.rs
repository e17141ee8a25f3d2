//! Effects as API calls: one function for each, one attempt each.
//!
//! A record that says what the API shows already is not written (promise P6): what was seen is kept by digest.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, OwnerReference};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Status;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Resource, ResourceExt};
use muster_crds::names::{self, condition};
use muster_crds::{
    Activity, ActivityStatus, BaselineRollout, DisruptionBudget, FleetMachine, FleetPolicy, KernelBaseline,
    MaintenanceWindow, PackageBaseline, PackageInventory, PackageProposal,
};
use muster_fleet::{Change, Effect, Garbage, Key, Note, NoteKind, Written};
use muster_model::{ActivityName, BaselineKind, BaselineRef, Digest, OutcomeReason, Phase, Rollout};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tracing::{debug, warn};

use crate::conditions::{Finding, fold};
use crate::read;
use crate::render;
use crate::watch::Chain;

/// What a watch showed of an object that we write, as far as writing it again needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    pub(crate) generation: i64,
    pub(crate) conditions: Vec<Condition>,
    /// Digest of the part of the status that is ours.
    pub(crate) status: Option<Digest>,
    /// Why a window cannot be read.
    pub(crate) unreadable: Option<String>,
}

/// Carries out effects in one namespace.
pub(crate) struct Writer {
    client: kube::Client,
    pub(crate) namespace: String,
    recorder: Recorder,
    seen: Mutex<BTreeMap<Key, Seen>>,
    /// Notes that were dropped because too many waited.
    dropped_notes: AtomicU64,
}

/// How a call failed, as far as it matters.
pub(crate) enum Failed {
    /// The API refused it: it was surely not made.
    Refused(kube::Error),
    /// Nobody knows whether it was made.
    Unknown(kube::Error),
}

impl From<kube::Error> for Failed {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if (400..500).contains(&status.code) => Self::Refused(error),
            _ => Self::Unknown(error),
        }
    }
}

pub(crate) type Outcome = Result<Vec<Change>, Failed>;

impl Writer {
    /// A writer for one namespace; `instance` names this process in events.
    pub(crate) fn new(client: kube::Client, namespace: &str, instance: &str) -> Self {
        let reporter =
            Reporter { controller: names::MANAGER_CONTROLLER.into(), instance: Some(instance.to_owned()) };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            namespace: namespace.to_owned(),
            seen: Mutex::default(),
            dropped_notes: AtomicU64::new(0),
        }
    }

    /// Notes what a watch showed.
    pub(crate) fn see(&self, key: Key, seen: Seen) {
        self.lock().insert(key, seen);
    }

    /// Notes that an object is gone.
    pub(crate) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    /// Counts a note that was dropped because too many wait.
    pub(crate) fn count_dropped_note(&self) {
        self.dropped_notes.fetch_add(1, Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Seen>> {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn seen(&self, key: &Key) -> Option<Seen> {
        self.lock().get(key).cloned()
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Carries out one effect: how it ended, and what the answer showed.
    pub(crate) async fn write(&self, effect: Effect) -> (Written, Vec<Change>) {
        let what = effect.key();
        let outcome = match effect {
            Effect::CreateActivity { spec, epoch } => return self.create(&spec, epoch).await,
            Effect::AdoptActivity { name, epoch } => self.adopt(&name, epoch).await,
            Effect::EndActivity { name, seen, phase, outcome, message } => {
                self.end(&name, seen, phase, outcome, &message).await
            }
            Effect::AskCancel { name, outcome } => self.ask_cancel(&name, outcome).await,
            Effect::DeleteActivity { name } => {
                self.delete::<Activity>(&name.to_string(), DeleteParams::default()).await
            }
            Effect::RecordMachine { name, decision } => self.record_machine(name, &decision).await,
            Effect::RecordBaseline { baseline, summary } => {
                let render =
                    |seen: &Seen, now| render::baseline(&summary, seen.generation, &seen.conditions, now);
                match baseline.kind {
                    BaselineKind::PackageBaseline => {
                        self.record::<PackageBaseline, _>(
                            Key::Baseline(baseline.clone()),
                            baseline.name.as_str(),
                            render,
                        )
                        .await
                    }
                    BaselineKind::KernelBaseline => {
                        self.record::<KernelBaseline, _>(
                            Key::Baseline(baseline.clone()),
                            baseline.name.as_str(),
                            render,
                        )
                        .await
                    }
                }
            }
            Effect::RecordWindow { name, summary } => {
                let render = |seen: &Seen, now| {
                    render::window(
                        &summary,
                        seen.unreadable.as_deref(),
                        seen.generation,
                        &seen.conditions,
                        now,
                    )
                };
                self.record::<MaintenanceWindow, _>(Key::Window(name.clone()), name.as_str(), render).await
            }
            Effect::RecordBudget { name, summary } => {
                let render =
                    |seen: &Seen, now| render::budget(&summary, seen.generation, &seen.conditions, now);
                self.record::<DisruptionBudget, _>(Key::Budget(name.clone()), name.as_str(), render).await
            }
            Effect::RecordRollout { baseline, rollout } => self.record_rollout(baseline, &rollout).await,
            Effect::RecordEstimates { medians, estimates } => {
                let render = |seen: &Seen, now| {
                    render::policy(&medians, &estimates, seen.generation, &seen.conditions, now)
                };
                self.record::<FleetPolicy, _>(Key::Policy, names::FLEET_POLICY_NAME, render).await
            }
            Effect::DeleteRollout { baseline } => {
                self.delete::<BaselineRollout>(&muster_crds::rollout_name(&baseline), DeleteParams::default())
                    .await
            }
            Effect::DeleteApproval { approval } => self.delete_approval(&approval).await,
            Effect::Mark { garbage, since } => self.mark(&garbage, since).await,
            Effect::Collect { garbage } => self.collect(&garbage).await,
            Effect::Tell(note) => {
                self.tell(note).await;
                return (Written::Done, Vec::new());
            }
        };
        match outcome {
            Ok(shown) => (Written::Done, shown),
            Err(Failed::Refused(error)) => {
                debug!(object = ?what, error = %Chain(&error), "a write was refused; it will be looked at anew");
                (Written::Refused, Vec::new())
            }
            Err(Failed::Unknown(error)) => {
                warn!(object = ?what, error = %Chain(&error), "a write may have failed; it will be looked at anew");
                (Written::Unknown, Vec::new())
            }
        }
    }

    async fn adopt(&self, name: &ActivityName, epoch: u64) -> Outcome {
        let api = self.api::<Activity>();
        let text = name.to_string();
        let Some(there) = api.get_opt(&text).await? else {
            return Ok(vec![Change::ActivityGone(name.clone())]);
        };
        if there.status.as_ref().and_then(|status| status.phase).is_some_and(|phase| phase != Phase::Pending)
        {
            return Ok(read::activity(there));
        }
        let patch = json!({"metadata": {
            "resourceVersion": there.resource_version(),
            "labels": {names::LABEL_EPOCH: epoch.to_string()},
        }});
        let adopted = api.patch(&text, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(read::activity(adopted))
    }

    async fn end(
        &self,
        name: &ActivityName,
        seen: Phase,
        phase: Phase,
        outcome: OutcomeReason,
        message: &str,
    ) -> Outcome {
        let api = self.api::<Activity>();
        let text = name.to_string();
        let Some(mut there) = api.get_opt(&text).await? else {
            return Ok(vec![Change::ActivityGone(name.clone())]);
        };
        let status = there.status.get_or_insert_with(ActivityStatus::default);
        if status.phase.unwrap_or(Phase::Pending) != seen {
            return Ok(read::activity(there));
        }
        let now = Timestamp::now();
        status.phase = Some(phase);
        status.outcome = Some(outcome);
        message.clone_into(&mut status.message);
        status.finished_time = Some(MicroTime(now));
        let done = |holds: bool| {
            Finding::new(
                if holds { condition::COMPLETE } else { condition::FAILED },
                Some(true),
                outcome.as_str(),
                message,
            )
        };
        let kept = status.conditions.iter().filter(|old| old.type_ == condition::DELIVERED).cloned();
        let generation = there.metadata.generation.unwrap_or(0);
        let ended = fold(&status.conditions, vec![done(phase != Phase::Failed)], generation, now);
        status.conditions = kept.chain(ended).collect();
        let ended = api.replace_status(&text, &PostParams::default(), &there).await?;
        Ok(read::activity(ended))
    }

    async fn ask_cancel(&self, name: &ActivityName, outcome: OutcomeReason) -> Outcome {
        let patch = json!({
            "metadata": {"annotations": {"muster.dev/cancel-reason": outcome.as_str()}},
            "spec": {"cancel": true},
        });
        let asked = self
            .api::<Activity>()
            .patch(&name.to_string(), &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(read::activity(asked))
    }

    pub(crate) async fn delete<K>(&self, name: &str, parameters: DeleteParams) -> Outcome
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        match self.api::<K>().delete(name, &parameters).await {
            Ok(_) => Ok(Vec::new()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    async fn record_machine(
        &self,
        name: muster_model::MachineName,
        decision: &muster_fleet::Decision,
    ) -> Outcome {
        let render = |seen: &Seen, now| {
            let (decision, conditions) =
                render::decision(&name, decision, seen.generation, &seen.conditions, now);
            MachineStatus { decision, conditions }
        };
        self.record::<FleetMachine, _>(Key::Machine(name.clone()), name.as_str(), render).await
    }

    /// Records a status by server-side apply, unless it is there already.
    async fn record<K, S>(&self, key: Key, name: &str, render: impl Fn(&Seen, Timestamp) -> S) -> Outcome
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
        S: Serialize,
    {
        // Gone meanwhile: there is nothing to record on.
        let Some(seen) = self.seen(&key) else { return Ok(Vec::new()) };
        let status = serde_json::to_value(render(&seen, Timestamp::now()))
            .expect("a status is plain data, which JSON can always hold");
        let digest = digest(&status);
        if seen.status.as_ref() == Some(&digest) {
            return Ok(Vec::new());
        }
        self.apply_status::<K>(name, &status).await?;
        if let Some(seen) = self.lock().get_mut(&key) {
            seen.conditions = serde_json::from_value(status["conditions"].clone()).unwrap_or_default();
            seen.status = Some(digest);
        }
        Ok(Vec::new())
    }

    async fn apply_status<K>(&self, name: &str, status: &Value) -> Result<K, Failed>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let body = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": {"name": name},
            "status": status,
        });
        let parameters = PatchParams::apply(names::MANAGER_CONTROLLER).force();
        Ok(self.api::<K>().patch_status(name, &parameters, &Patch::Apply(&body)).await?)
    }

    async fn record_rollout(&self, baseline: BaselineRef, rollout: &Rollout) -> Outcome {
        let name = muster_crds::rollout_name(&baseline);
        let key = Key::Rollout(baseline.clone());
        if self.seen(&key).is_none() {
            let owner = self.seen(&Key::Baseline(baseline.clone())).unwrap_or_default();
            let body = json!({
                "apiVersion": BaselineRollout::api_version(&()),
                "kind": BaselineRollout::kind(&()),
                "metadata": {"name": name, "ownerReferences": owners(&baseline, &owner.uid)},
                "spec": {"baselineRef": {"kind": baseline.kind, "name": baseline.name, "uid": owner.uid}},
            });
            let parameters = PatchParams::apply(names::MANAGER_CONTROLLER).force();
            let made: BaselineRollout = self.api().patch(&name, &parameters, &Patch::Apply(&body)).await?;
            self.see(key.clone(), read::seen(&made, None));
        }
        self.record::<BaselineRollout, _>(key, &name, |seen, now| {
            render::rollout(rollout, seen.generation, &seen.conditions, now)
        })
        .await
    }

    async fn mark(&self, garbage: &Garbage, since: Timestamp) -> Outcome {
        let patch = json!({"metadata": {"annotations": {names::ANNOTATION_UNREFERENCED: since.to_string()}}});
        let parameters = PatchParams::default();
        match garbage {
            Garbage::Inventory(digest) => {
                let name = muster_crds::inventory_name(digest);
                drop(
                    self.api::<PackageInventory>()
                        .patch_metadata(&name, &parameters, &Patch::Merge(patch))
                        .await?,
                );
            }
            Garbage::Proposal(key) => {
                let name = muster_crds::proposal_name(key);
                drop(
                    self.api::<PackageProposal>()
                        .patch_metadata(&name, &parameters, &Patch::Merge(patch))
                        .await?,
                );
            }
        }
        Ok(Vec::new())
    }

    /// Deletes what was marked, as it was seen: whoever unmarked it meanwhile keeps it.
    async fn collect(&self, garbage: &Garbage) -> Outcome {
        let Some(seen) = self.seen(&Key::Garbage(garbage.clone())) else { return Ok(Vec::new()) };
        let preconditions =
            Preconditions { resource_version: Some(seen.resource_version), uid: Some(seen.uid) };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match garbage {
            Garbage::Inventory(digest) => {
                self.delete::<PackageInventory>(&muster_crds::inventory_name(digest), parameters).await
            }
            Garbage::Proposal(key) => {
                self.delete::<PackageProposal>(&muster_crds::proposal_name(key), parameters).await
            }
        }
    }

    async fn tell(&self, note: Note) {
        let machine = self.seen(&Key::Machine(note.machine.clone())).unwrap_or_default();
        let regarding = ObjectReference {
            api_version: Some(FleetMachine::api_version(&()).into_owned()),
            kind: Some(FleetMachine::kind(&()).into_owned()),
            name: Some(note.machine.to_string()),
            namespace: Some(self.namespace.clone()),
            uid: Some(machine.uid),
            ..ObjectReference::default()
        };
        let related = note.activity.map(|activity| ObjectReference {
            api_version: Some(Activity::api_version(&()).into_owned()),
            kind: Some(Activity::kind(&()).into_owned()),
            name: Some(activity.to_string()),
            namespace: Some(self.namespace.clone()),
            ..ObjectReference::default()
        });
        let event = Event {
            type_: match note.kind {
                NoteKind::Normal => EventType::Normal,
                NoteKind::Warning => EventType::Warning,
            },
            reason: note.reason.to_owned(),
            note: Some(note.text),
            action: "Reconcile".to_owned(),
            secondary: related,
        };
        if let Err(error) = self.recorder.publish(&event, &regarding).await {
            debug!(error = %Chain(&error), "an event could not be published");
        }
    }

    /// Mirrors a machine's reported facts as labels, for `kubectl -l` (design §4).
    ///
    /// Answers with the version that the machine has then; `None` when it is gone.
    pub(crate) async fn mirror_facts(
        &self,
        name: &str,
        facts: &BTreeMap<String, String>,
    ) -> Result<Option<u64>, kube::Error> {
        let body = json!({
            "apiVersion": FleetMachine::api_version(&()),
            "kind": FleetMachine::kind(&()),
            "metadata": {"name": name, "labels": facts},
        });
        let parameters = PatchParams::apply(names::MANAGER_FACTS).force();
        match self.api::<FleetMachine>().patch_metadata(name, &parameters, &Patch::Apply(&body)).await {
            Ok(mirrored) => Ok(mirrored.resource_version().and_then(|version| version.parse().ok())),
            Err(kube::Error::Api(status)) if Status::is_not_found(&status) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The part of a FleetMachine's status that is the controller's.
#[derive(Serialize)]
struct MachineStatus {
    decision: muster_crds::DecisionStatus,
    conditions: Vec<Condition>,
}

/// The digest of a status as JSON.
pub(crate) fn digest(status: &Value) -> Digest {
    Digest::of(&serde_json::to_vec(status).expect("a JSON value can always be written"))
}

fn owners(baseline: &BaselineRef, uid: &str) -> Vec<OwnerReference> {
    if uid.is_empty() {
        return Vec::new();
    }
    vec![OwnerReference {
        api_version: format!("{}/{}", names::GROUP, names::VERSION),
        kind: baseline.kind.as_str().to_owned(),
        name: baseline.name.to_string(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: None,
    }]
}
