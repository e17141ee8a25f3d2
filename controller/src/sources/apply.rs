//! A change set's writes: the dry run of all of it (rule G1), then phase by phase (rule G2), removals last.
//!
//! Nothing retries here; what was asked and how it ended goes back to the pass.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::{DynamicObject, Status};
use kube::{Api, ResourceExt as _};
use muster_crds::GitSource;
use muster_crds::names::{
    ANNOTATION_FILE, ANNOTATION_REVISION, GROUP, LABEL_SOURCE, MANAGER_SOURCE, VERSION,
};
use muster_source::{Kind, Object, ObjectKey, Problem, Step};
use serde_json::{Value, json};

use super::Context;
use super::live::{self, api};

/// Writes under way at a time: a commit of a thousand objects takes seconds, and an API server's fairness is kept.
const WRITES_AT_ONCE: usize = 16;

/// A write that did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApplyError {
    /// Trying the same again would end the same.
    #[error("the API refused {key}")]
    Refused { key: ObjectKey, source: Box<kube::Error> },
    /// It may succeed another time.
    #[error("the API did not take {key}")]
    Unreachable { key: ObjectKey, source: Box<kube::Error> },
}

impl ApplyError {
    fn new(key: &ObjectKey, error: kube::Error) -> Self {
        let (key, source) = (key.clone(), Box::new(error));
        match &*source {
            kube::Error::Api(status) if is_final(status) => Self::Refused { key, source },
            _ => Self::Unreachable { key, source },
        }
    }
}

/// Whether asking again without a change would be in vain; not so for conflicts, throttling and a server's own trouble.
fn is_final(status: &Status) -> bool {
    (400..500).contains(&status.code) && ![401, 409, 429].contains(&status.code)
}

/// Whose writes these are.
#[derive(Clone, Copy)]
pub(super) struct Writer<'a> {
    pub(super) context: &'a Context,
    pub(super) source: &'a str,
    pub(super) revision: &'a str,
}

/// How the writes of a change set ended.
#[derive(Default)]
pub(super) struct Written {
    /// Generations of what was applied.
    pub(super) generations: BTreeMap<ObjectKey, i64>,
    /// Removals that are asked for and not confirmed (rule G6).
    pub(super) pending: BTreeSet<ObjectKey>,
}

impl Writer<'_> {
    /// Objects of the set that another source owns, as problems.
    pub(super) async fn taken(&self, objects: &[Object]) -> Result<Vec<Problem>, kube::Error> {
        let sources: Api<GitSource> = Api::namespaced(self.context.client.clone(), &self.context.namespace);
        let others: BTreeSet<String> = sources
            .list_metadata(&Default::default())
            .await?
            .items
            .iter()
            .map(|source| source.name_any())
            .collect();
        if others.iter().all(|other| other == self.source) {
            return Ok(Vec::new());
        }
        let mut problems = Vec::new();
        for object in objects {
            let there = api(self.context, object.key.kind).get_metadata_opt(&object.key.name).await?;
            let owner = there.as_ref().and_then(|there| live::label(&there.metadata));
            // A source that is gone has no claim (rule G2).
            if let Some(owner) = owner.filter(|owner| *owner != self.source && others.contains(*owner)) {
                let message =
                    format!("the GitSource {owner} owns {}: write it in one of the two only", object.key);
                problems.push(object.problem("metadata.name", "G2", message));
            }
        }
        Ok(problems)
    }

    /// What the server would refuse, at its place in the files.
    pub(super) async fn dry_run(&self, objects: &[Object]) -> Result<Vec<Problem>, ApplyError> {
        // Boxed: the compiler cannot see that futures over borrowed objects are Send otherwise.
        let tries: Vec<BoxFuture<'_, _>> =
            objects.iter().map(|object| self.try_out(object).boxed()).collect();
        let tried = stream::iter(tries).buffer_unordered(WRITES_AT_ONCE);
        let mut problems: Vec<Problem> = tried.try_collect::<Vec<_>>().await?.into_iter().flatten().collect();
        problems.sort();
        Ok(problems)
    }

    async fn try_out(&self, object: &Object) -> Result<Vec<Problem>, ApplyError> {
        match self.patch(object, true).await {
            Ok(_) => Ok(Vec::new()),
            Err(kube::Error::Api(status)) if [400, 404, 422].contains(&status.code) => {
                Ok(told(object, &status))
            }
            Err(error) => Err(ApplyError::new(&object.key, error)),
        }
    }

    /// Carries the phases out, each complete before the next begins.
    pub(super) async fn carry_out(&self, phases: &[Vec<Step<'_>>]) -> Result<Written, ApplyError> {
        let mut written = Written::default();
        for phase in phases {
            let steps: Vec<BoxFuture<'_, _>> = phase.iter().map(|step| self.step(step).boxed()).collect();
            let done = stream::iter(steps).buffer_unordered(WRITES_AT_ONCE);
            for (key, done) in done.try_collect::<Vec<_>>().await? {
                match done {
                    Done::Applied(generation) => drop(written.generations.insert(key, generation)),
                    Done::Pending => drop(written.pending.insert(key)),
                    Done::Gone => {}
                }
            }
        }
        Ok(written)
    }

    async fn step(&self, step: &Step<'_>) -> Result<(ObjectKey, Done), ApplyError> {
        let (key, done) = match step {
            Step::Apply(object) => {
                let applied = self.patch(object, false).await;
                (
                    &object.key,
                    applied.map(|applied| Done::Applied(applied.metadata.generation.unwrap_or_default())),
                )
            }
            Step::Remove(key) => (key, self.remove(key).await),
            Step::Release(key) => (key, self.release(key).await),
        };
        done.map(|done| (key.clone(), done)).map_err(|error| ApplyError::new(key, error))
    }

    async fn patch(&self, object: &Object, dry_run: bool) -> Result<DynamicObject, kube::Error> {
        let mut parameters = PatchParams::apply(MANAGER_SOURCE).force();
        parameters.dry_run = dry_run;
        api(self.context, object.key.kind)
            .patch(&object.key.name, &parameters, &Patch::Apply(&self.rendered(object)))
            .await
    }

    /// The object as it is applied: as written, with where it comes from.
    fn rendered(&self, object: &Object) -> Value {
        let mut value = object.value.clone();
        let place = format!("{}:{}", object.file, object.line);
        let ours = [
            ("labels", LABEL_SOURCE, self.source),
            ("annotations", ANNOTATION_REVISION, self.revision),
            ("annotations", ANNOTATION_FILE, &place),
        ];
        if let Some(metadata) = value.pointer_mut("/metadata").and_then(Value::as_object_mut) {
            metadata.insert("namespace".to_owned(), self.context.namespace.clone().into());
            for (member, key, text) in ours {
                let pairs = metadata.entry(member).or_insert_with(|| json!({}));
                if let Some(pairs) = pairs.as_object_mut() {
                    pairs.insert(key.to_owned(), text.into());
                }
            }
        }
        value
    }

    /// Deletes what is ours, and looks whether it is gone (rule G6).
    async fn remove(&self, key: &ObjectKey) -> Result<Done, kube::Error> {
        let api = api(self.context, key.kind);
        let Some(there) = api.get_metadata_opt(&key.name).await? else { return Ok(Done::Gone) };
        // Somebody else's by now: what we had put there is gone.
        if live::label(&there.metadata) != Some(self.source) {
            return Ok(Done::Gone);
        }
        let preconditions = Preconditions { uid: there.uid(), resource_version: None };
        match api.delete(&key.name, &DeleteParams::default().preconditions(preconditions)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(Done::Gone),
            Err(error) => return Err(error),
        }
        let still = api.get_metadata_opt(&key.name).await?.is_some_and(|still| still.uid() == there.uid());
        Ok(if still { Done::Pending } else { Done::Gone })
    }

    /// Lets go of a machine: what we said of it goes, the machine stays (rule G5).
    async fn release(&self, key: &ObjectKey) -> Result<Done, kube::Error> {
        let api = api(self.context, key.kind);
        let Some(there) = api.get_opt(&key.name).await? else { return Ok(Done::Gone) };
        if live::label(&there.metadata) != Some(self.source) {
            return Ok(Done::Gone);
        }
        // The uid keeps the apply from making a machine that was deleted meanwhile.
        let mut nothing = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"), "kind": Kind::FleetMachine.as_str(),
            "metadata": {"name": key.name, "uid": there.uid()},
        });
        let parameters = PatchParams::apply(MANAGER_SOURCE).force();
        match api.patch(&key.name, &parameters, &Patch::Apply(&nothing)).await {
            Err(kube::Error::Api(status)) if status.code == 422 => {}
            result => return result.map(|_| Done::Gone),
        }
        // An identity never changes, so one that only the source said stays.
        nothing["spec"] = json!({"identity": there.data.pointer("/spec/identity")});
        api.patch(&key.name, &parameters, &Patch::Apply(&nothing)).await.map(|_| Done::Gone)
    }

    /// What of these is ours alone, so that an apply that failed may take it away again: an object that somebody else
    /// has written, too, was there before us or is used by others.
    pub(super) async fn ours_alone(
        &self,
        keys: &BTreeSet<ObjectKey>,
    ) -> Result<BTreeSet<ObjectKey>, kube::Error> {
        let mut ours = BTreeSet::new();
        for key in keys {
            let Some(there) = api(self.context, key.kind).get_metadata_opt(&key.name).await? else {
                continue;
            };
            let managers =
                there.metadata.managed_fields.iter().flatten().filter(|entry| entry.subresource.is_none());
            let is_alone = managers.into_iter().all(|entry| entry.manager.as_deref() == Some(MANAGER_SOURCE));
            if is_alone && live::label(&there.metadata) == Some(self.source) {
                ours.insert(key.clone());
            }
        }
        Ok(ours)
    }
}

enum Done {
    Applied(i64),
    Gone,
    Pending,
}

/// A server's refusal as problems of the object's fields.
fn told(object: &Object, status: &Status) -> Vec<Problem> {
    let causes = status.details.as_ref().map_or(&[][..], |details| &details.causes);
    let named = causes.iter().map(|cause| {
        let field = if cause.field == "<nil>" { "" } else { cause.field.as_str() };
        object.problem(field, "G1", format!("the server refuses it: {}", cause.message))
    });
    let named: Vec<Problem> = named.collect();
    if named.is_empty() {
        vec![object.problem("", "G1", format!("the server refuses it: {}", status.message))]
    } else {
        named
    }
}
