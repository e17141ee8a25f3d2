//! Deleting: preconditions, finalizers, propagation; one object or a collection.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::admit;
use crate::builtin::STANDARD_NAMESPACES;
use crate::definition;
use crate::media;
use crate::object::{Stored, items, key_of};
use crate::query::{ListOptions, dry_run};
use crate::read;
use crate::registry::{Nature, Resource};
use crate::reply::Reply;
use crate::server::{Ask, Inner};
use crate::status::{self, Fault, cause};
use crate::store::Refusal;
use crate::write;

/// What becomes of the dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// Options of a deletion.
#[derive(Debug)]
struct Options {
    propagation: Propagation,
    uid: Option<String>,
    version: Option<String>,
    dry_run: bool,
}

/// How a deletion went.
pub(crate) enum Outcome {
    /// It is gone; this was its last state.
    Gone(Arc<Stored>),
    /// It waits for its finalizers.
    Waits(Arc<Stored>),
}

fn options(ask: &Ask<'_>) -> Result<Options, Fault> {
    const KIND: &str = "DeleteOptions";
    let body = if ask.body.is_empty() { json!({}) } else { media::decode(&ask.media(), &ask.body)?.value };
    if let Some(kind) = body["kind"].as_str()
        && kind != KIND
    {
        let version = body["apiVersion"].as_str().unwrap_or_default();
        return Err(Fault::bad_request(format!(
            "no kind \"{kind}\" is registered for version \"{version}\" in scheme \"muster\""
        )));
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let policy =
        text(&body["propagationPolicy"]).or_else(|| ask.query.get("propagationPolicy").map(str::to_owned));
    if policy.is_some() && !body["orphanDependents"].is_null() {
        let message = format!(
            "Invalid value: {}: orphanDependents and deletionPropagation cannot be both set",
            json!(policy)
        );
        return Err(Fault::invalid_options(KIND, cause("FieldValueInvalid", "propagationPolicy", message)));
    }
    let propagation = match policy.as_deref() {
        None if body["orphanDependents"] == true => Propagation::Orphan,
        None | Some("Background") => Propagation::Background,
        Some("Foreground") => Propagation::Foreground,
        Some("Orphan") => Propagation::Orphan,
        Some(other) => {
            let message = format!(
                "Unsupported value: \"{other}\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
            );
            return Err(Fault::invalid_options(
                KIND,
                cause("FieldValueNotSupported", "propagationPolicy", message),
            ));
        }
    };
    let dry = items(&body["dryRun"]).next().and_then(Value::as_str).or_else(|| ask.query.get("dryRun"));
    Ok(Options {
        propagation,
        uid: text(&body["preconditions"]["uid"]),
        version: text(&body["preconditions"]["resourceVersion"]),
        dry_run: dry_run(dry, KIND)?,
    })
}

pub(crate) async fn one(ask: &Ask<'_>) -> Result<Reply, Fault> {
    let options = options(ask)?;
    let name = &*ask.target.name;
    if options.dry_run {
        let stored = read::find(ask)?;
        check(ask.inner, &ask.resource, &stored, &options)?;
        return Ok(Reply::json(200, &status::deleted(&ask.resource, name, &stored.meta.uid)));
    }
    match delete(ask.inner, &ask.resource, &ask.key(), &options).await? {
        Some(Ok(Outcome::Gone(stored))) => {
            Ok(Reply::json(200, &status::deleted(&ask.resource, name, &stored.meta.uid)))
        }
        Some(Ok(Outcome::Waits(stored))) => read::one(ask, 200, stored.value()),
        Some(Err(refusal)) => Err(write::refused(ask, name, refusal)),
        None => Err(Fault::not_found(&ask.resource, name)),
    }
}

pub(crate) async fn all(ask: &Ask<'_>) -> Result<Reply, Fault> {
    let options = options(ask)?;
    let mut list = ListOptions::parse(ask.query, false)?;
    list.fields = list.fields.resolve(&ask.resource).map_err(Fault::bad_request)?;
    let keep = |object: &Stored| list.labels.matches(object) && list.fields.matches(object);
    let page = ask
        .inner
        .store
        .list(&ask.resource.shelf, &read::prefix(ask), "", None, list.limit, &keep)
        .map_err(|_| Fault::internal("the present is always known"))?;
    for object in &page.items {
        check(ask.inner, &ask.resource, object, &options)?;
    }
    if !options.dry_run {
        for object in &page.items {
            let key = key_of(&object.meta.namespace, &object.meta.name);
            if let Some(Err(refusal)) = delete(ask.inner, &ask.resource, &key, &options).await? {
                return Err(write::refused(ask, &object.meta.name, refusal));
            }
        }
    }
    read::render(ask, json!({"resourceVersion": ask.inner.store.version().to_string()}), &page.items)
}

/// Deletes for the collector: in the background, only if it is still that object.
pub(crate) async fn collect(
    inner: &Inner,
    resource: &Resource,
    key: &str,
    uid: &str,
    propagation: Propagation,
) -> Result<(), Refusal> {
    let options = Options { propagation, uid: Some(uid.to_owned()), version: None, dry_run: false };
    match delete(inner, resource, key, &options).await {
        // A fault here is a failed precondition, that it is another object by now, or that it may not go.
        Ok(None | Some(Ok(_))) | Err(_) => Ok(()),
        Ok(Some(Err(refusal))) => Err(refusal),
    }
}

/// May it be deleted, and is it what the client means?
fn check(inner: &Inner, resource: &Resource, stored: &Stored, options: &Options) -> Result<(), Fault> {
    let name = &*stored.meta.name;
    let kept = match resource.nature {
        Nature::Namespace if STANDARD_NAMESPACES.contains(&name) => {
            Some("this namespace may not be deleted".to_owned())
        }
        // On a cluster it may, and whoever installed them installs them again. Here it is this process.
        Nature::Definition if inner.is_own(name) => Some(format!(
            "this definition may not be deleted while the server's own process works with it; to delete its objects: kubectl delete {name} --all"
        )),
        _ => None,
    };
    if let Some(why) = kept {
        return Err(Fault::forbidden(resource, name, &why));
    }
    let conflict = |why: String| {
        let dot = if resource.group.is_empty() { "" } else { "." };
        let message = format!(
            "Operation cannot be fulfilled on {}{dot}{} \"{}\": {why}",
            resource.kind, resource.group, stored.meta.name
        );
        let mut fault = Fault::conflict(resource, &stored.meta.name, &why);
        fault.message = message;
        if let Some(details) = &mut fault.details {
            details["kind"] = resource.kind.clone().into();
        }
        fault
    };
    if let Some(uid) = &options.uid
        && **uid != *stored.meta.uid
    {
        return Err(conflict(format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
            stored.meta.uid
        )));
    }
    if let Some(version) = &options.version
        && *version != stored.meta.version.to_string()
    {
        return Err(conflict(format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The object might have been modified",
            stored.meta.version
        )));
    }
    Ok(())
}

/// `None`: there is no such object.
async fn delete(
    inner: &Inner,
    resource: &Resource,
    key: &str,
    options: &Options,
) -> Result<Option<Result<Outcome, Refusal>>, Fault> {
    loop {
        let Some(stored) = inner.store.get(&resource.shelf, key) else { return Ok(None) };
        check(inner, resource, &stored, options)?;
        let mut value = stored.value();
        let before = value.clone();
        mark(inner, resource, &mut value, options.propagation);
        let gone = admit::is_finished(resource, &value);
        if gone && !stored.meta.deleting {
            // Nobody waits for it: it goes as it was.
            value = before;
        } else if value == before {
            return Ok(Some(Ok(Outcome::Waits(stored))));
        }
        let compiled = match resource.nature {
            // Served until its objects are gone, but nothing new is made.
            Nature::Definition if !gone => definition::compile(&value).ok().map(Arc::new),
            _ => None,
        };
        match inner.propose(resource, key, Some(&stored), value, gone, compiled).await {
            Ok(last) if gone => return Ok(Some(Ok(Outcome::Gone(last)))),
            Ok(waits) => return Ok(Some(Ok(Outcome::Waits(waits)))),
            Err(Refusal::Stale) => {}
            Err(refusal) => return Ok(Some(Err(refusal))),
        }
    }
}

/// Marks an object for deletion.
fn mark(inner: &Inner, resource: &Resource, value: &mut Value, propagation: Propagation) {
    let mut finalizers: Vec<Value> = items(&value["metadata"]["finalizers"]).cloned().collect();
    let mut want = |name: &str| {
        if !finalizers.iter().any(|one| one == name) {
            finalizers.push(name.into());
        }
    };
    let first = !value["metadata"]["deletionTimestamp"].is_string();
    match propagation {
        Propagation::Background => {}
        Propagation::Foreground => want("foregroundDeletion"),
        Propagation::Orphan => want("orphan"),
    }
    if resource.nature == Nature::Definition && first {
        want(definition::CLEANUP);
    }
    if !finalizers.is_empty() {
        value["metadata"]["finalizers"] = finalizers.into();
    }
    if !first {
        return;
    }
    let now = admit::seconds(inner.clock.now());
    value["metadata"]["deletionTimestamp"] = now.clone().into();
    match resource.nature {
        Nature::Namespace => value["status"]["phase"] = "Terminating".into(),
        Nature::Definition => {
            let message =
                "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
            definition::set_condition(value, "Terminating", "True", "InstanceDeletionPending", message, &now);
        }
        _ => value["metadata"]["deletionGracePeriodSeconds"] = 0.into(),
    }
    if resource.nature == Nature::Custom {
        value["metadata"]["generation"] = (value["metadata"]["generation"].as_i64().unwrap_or(0) + 1).into();
    }
}
