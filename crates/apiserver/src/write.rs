//! Writing: create, replace, patch, apply. Each decides on the newest object it can read and proposes; if somebody
//! else was faster, it decides again.

use std::sync::Arc;

use http::Method;
use serde_json::Value;

use crate::admit::{self, Given};
use crate::definition;
use crate::json::Decoded;
use crate::managed;
use crate::media;
use crate::object::key_of;
use crate::patch::{self, Format};
use crate::query::WriteOptions;
use crate::read;
use crate::registry::Nature;
use crate::reply::Reply;
use crate::scale::Scale;
use crate::server::Ask;
use crate::status::Fault;
use crate::store::Refusal;

/// How often a request decides anew before it gives up with 409. Each loss means that another write went through.
const ATTEMPTS: usize = 32;

/// Generated names that may be taken before a create gives up.
const NAMES: usize = 8;

pub(crate) async fn create(ask: &Ask<'_>) -> Result<Reply, Fault> {
    let options = WriteOptions::parse(ask.query, "CreateOptions", false)?;
    let Decoded { value: body, duplicates } = media::decode(&ask.media(), &ask.body)?;
    admit::check_kind(ask, &body)?;
    let given = Given::Whole(&duplicates);
    let generated = body["metadata"]["name"].as_str().is_none_or(str::is_empty);
    for _ in 1..if generated { NAMES } else { 1 } {
        match insert(ask, &options, body.clone(), given).await {
            Err(fault) if fault.reason == "AlreadyExists" => {}
            result => return result,
        }
    }
    insert(ask, &options, body, given).await
}

/// Makes an object that does not exist.
async fn insert(
    ask: &Ask<'_>,
    options: &WriteOptions,
    mut object: Value,
    given: Given<'_>,
) -> Result<Reply, Fault> {
    if ask.resource.terminating {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let why = "create not allowed while custom resource definition is terminating";
        return Err(Fault::forbidden(&ask.resource, name, why));
    }
    admit::set_namespace(ask, &mut object)?;
    admit::create(ask, &mut object)?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let warnings = admit::finish(ask, options, None, &mut object, given)?;
    if ask.parts.method != Method::POST {
        // Only now does it show that this is a create, which another right may permit.
        ask.authorize("create")?;
    }
    admit::check_author(ask, &object)?;
    let key = key_of(&ask.target.namespace, &name);
    let compiled = compile(ask, &object)?;
    admit::to_stored(&ask.resource, &mut object);
    if options.dry_run {
        if ask.inner.store.get(&ask.resource.shelf, &key).is_some() {
            return Err(Fault::already_exists(&ask.resource, &name));
        }
        return Ok(Reply { warnings, ..read::one(ask, 201, object)? });
    }
    match ask.inner.propose(&ask.resource, &key, None, object, false, compiled).await {
        Ok(stored) => {
            established(ask, &key).await?;
            Ok(Reply { warnings, ..read::stored(ask, 201, &stored)? })
        }
        Err(Refusal::Stale) => Err(Fault::already_exists(&ask.resource, &name)),
        Err(refusal) => Err(refused(ask, &name, refusal)),
    }
}

pub(crate) async fn replace(ask: &Ask<'_>) -> Result<Reply, Fault> {
    let options = WriteOptions::parse(ask.query, "UpdateOptions", false)?;
    let Decoded { value: mut body, duplicates } = media::decode(&ask.media(), &ask.body)?;
    admit::check_kind(ask, &body)?;
    let given = Given::Whole(&duplicates);
    let name = body["metadata"]["name"].as_str().unwrap_or_default();
    if !name.is_empty() && name != ask.target.name {
        return Err(Fault::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            ask.target.name
        )));
    }
    admit::set_namespace(ask, &mut body)?;
    body["metadata"]["name"] = ask.target.name.clone().into();
    let unconditional = !matches!(ask.resource.nature, Nature::Custom | Nature::Definition | Nature::Lease);
    let unversioned = body["metadata"]["resourceVersion"]
        .as_str()
        .is_none_or(|version| version.is_empty() || version == "0");
    let exists = ask.inner.store.get(&ask.resource.shelf, &ask.key()).is_some();
    if !exists
        && matches!(ask.resource.nature, Nature::Lease | Nature::Event)
        && ask.target.subresource.is_empty()
    {
        if !unversioned {
            return Err(Fault::modified(&ask.resource, &ask.target.name));
        }
        return insert(ask, &options, body, given).await;
    }
    if exists && unversioned && !unconditional {
        let zero = if ask.resource.nature == Nature::Lease { "0" } else { "0x0" };
        let message = format!("Invalid value: {zero}: must be specified for an update");
        let causes = vec![crate::status::cause("FieldValueInvalid", "metadata.resourceVersion", message)];
        return Err(Fault::invalid(&ask.resource.group, &ask.resource.plural, &ask.target.name, causes));
    }
    modify(ask, &options, given, |_| Ok(body.clone())).await
}

pub(crate) async fn patch(ask: &Ask<'_>) -> Result<Reply, Fault> {
    let format = Format::of(&ask.media(), &ask.resource)?;
    let options = WriteOptions::parse(ask.query, "PatchOptions", format == Format::Apply)?;
    if format != Format::Apply {
        let parsed = patch::parse(format, &ask.body)?;
        return modify(ask, &options, Given::Patch, |live| patch::apply(&parsed, live)).await;
    }
    let mut config = media::yaml(&ask.body)?;
    admit::check_kind(ask, &config)?;
    admit::set_namespace(ask, &mut config.clone())?;
    if config["metadata"]["name"].as_str().is_none_or(str::is_empty) && read::find(ask).is_err() {
        return Err(Fault::bad_request(format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            ask.target.name
        )));
    }
    let named = config["metadata"]["name"].as_str().unwrap_or(&ask.target.name);
    if named != ask.target.name {
        return Err(Fault::bad_request(format!(
            "the name of the object ({named}) does not match the name on the URL ({})",
            ask.target.name
        )));
    }
    config["metadata"]["name"] = ask.target.name.clone().into();
    let writer = admit::writer(ask, options.manager.as_deref());
    for _ in 0..ATTEMPTS {
        if ask.inner.store.get(&ask.resource.shelf, &ask.key()).is_none() {
            if !ask.target.subresource.is_empty() {
                return Err(Fault::not_found(&ask.resource, &ask.target.name));
            }
            let mut object = managed::apply(&writer, None, &config, options.force)?;
            // There is no version that it could be based on.
            admit::remove(&mut object["metadata"], "resourceVersion");
            match insert(ask, &options, object, Given::Applied).await {
                // Somebody made it in between: merge with that.
                Err(fault) if fault.reason == "AlreadyExists" => {}
                result => return result,
            }
        } else {
            let apply = |live: &Value| managed::apply(&writer, Some(live), &config, options.force);
            match modify(ask, &options, Given::Applied, apply).await {
                // Somebody removed it in between: make it.
                Err(fault) if fault.reason == "NotFound" => {}
                result => return result,
            }
        }
    }
    Err(Fault::modified(&ask.resource, &ask.target.name))
}

/// Changes how many replicas an object asks for, told as a Scale.
pub(crate) async fn scale(ask: &Ask<'_>, scale: &Scale) -> Result<Reply, Fault> {
    if ask.parts.method == Method::PUT {
        let options = WriteOptions::parse(ask.query, "UpdateOptions", false)?;
        let Decoded { value: wanted, duplicates } = media::decode(&ask.media(), &ask.body)?;
        return modify(ask, &options, Given::Whole(&duplicates), |live| scale.write(live, &wanted)).await;
    }
    let format = Format::of(&ask.media(), &ask.resource)?;
    let options = WriteOptions::parse(ask.query, "PatchOptions", format == Format::Apply)?;
    if format == Format::Apply {
        // In these words by the real server, which cannot either.
        let object = &ask.key();
        let why = format!(
            "failed to convert new object ({object}; autoscaling/v1, Kind=Scale) to proper version: request to convert CR to an invalid group/version: autoscaling/v1"
        );
        return Err(Fault::new(500, "", why));
    }
    let parsed = patch::parse(format, &ask.body)?;
    let decide = |live: &Value| scale.write(live, &patch::apply(&parsed, &scale.view(live))?);
    modify(ask, &options, Given::Patch, decide).await
}

/// Decides on the live object and proposes, until nobody was faster.
async fn modify(
    ask: &Ask<'_>,
    options: &WriteOptions,
    given: Given<'_>,
    decide: impl Fn(&Value) -> Result<Value, Fault>,
) -> Result<Reply, Fault> {
    let name = &*ask.target.name;
    for _ in 0..ATTEMPTS {
        let stored = read::find(ask)?;
        let live = read::present(&ask.resource, &ask.target.version, &stored);
        let mut object = decide(&live)?;
        match object["metadata"]["resourceVersion"].as_str() {
            None | Some("" | "0") => {}
            Some(version) if version == stored.meta.version.to_string() => {}
            Some(_) => return Err(Fault::modified(&ask.resource, name)),
        }
        if !object["metadata"].is_object() {
            object["metadata"] = serde_json::json!({});
        }
        check_identity(ask, &object)?;
        admit::update(ask, &live, &mut object)?;
        let warnings = admit::finish(ask, options, Some(&live), &mut object, given)?;
        object["metadata"]["resourceVersion"] = stored.meta.version.to_string().into();
        let compiled = compile(ask, &object)?;
        let unchanged = managed::is_unchanged(&live, &object);
        admit::to_stored(&ask.resource, &mut object);
        if unchanged || options.dry_run {
            return Ok(Reply { warnings, ..read::one(ask, 200, object)? });
        }
        if admit::is_finished(&ask.resource, &object) {
            // Watchers see it as it was; whoever let it go, as it would have been.
            let last = stored.value();
            match ask.inner.propose(&ask.resource, &ask.key(), Some(&stored), last, true, compiled).await {
                Ok(_) => return Ok(Reply { warnings, ..read::one(ask, 200, object)? }),
                Err(Refusal::Stale) => continue,
                Err(refusal) => return Err(refused(ask, name, refusal)),
            }
        }
        match ask.inner.propose(&ask.resource, &ask.key(), Some(&stored), object, false, compiled).await {
            Ok(stored) => {
                established(ask, &ask.key()).await?;
                return Ok(Reply { warnings, ..read::stored(ask, 200, &stored)? });
            }
            Err(Refusal::Stale) => {}
            Err(refusal) => return Err(refused(ask, name, refusal)),
        }
    }
    Err(Fault::modified(&ask.resource, name))
}

/// A definition that was written is judged before anybody hears that it was: it is served from then on.
async fn established(ask: &Ask<'_>, key: &str) -> Result<(), Fault> {
    if ask.resource.nature != Nature::Definition || !ask.target.subresource.is_empty() {
        return Ok(());
    }
    definition::establish(ask.inner, &ask.resource, key).await.map_err(|refusal| refused(ask, key, refusal))
}

/// A patch may change neither what the object is nor what it is called.
fn check_identity(ask: &Ask<'_>, object: &Value) -> Result<(), Fault> {
    admit::check_kind(ask, object)?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if !name.is_empty() && name != ask.target.name {
        return Err(Fault::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            ask.target.name
        )));
    }
    Ok(())
}

/// The resource that a definition makes, or why it cannot.
fn compile(ask: &Ask<'_>, object: &Value) -> Result<Option<Arc<crate::registry::Resource>>, Fault> {
    if ask.resource.nature != Nature::Definition {
        return Ok(None);
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    definition::accept(object).map(|resource| Some(resource.into())).map_err(|causes| ask.fault(causes, name))
}

/// Why the writer did not take it, for the client.
pub(crate) fn refused(ask: &Ask<'_>, name: &str, refusal: Refusal) -> Fault {
    let namespace = &ask.target.namespace;
    match refusal {
        Refusal::Stale => Fault::modified(&ask.resource, name),
        Refusal::NamespaceMissing => match ask.inner.registry.get("", "namespaces") {
            Some(namespaces) => Fault::not_found(&namespaces, namespace),
            None => Fault::no_resource(),
        },
        Refusal::NamespaceTerminating => Fault::namespace_terminating(&ask.resource, name, namespace),
        Refusal::TooLarge => Fault::new(500, "", "etcdserver: request is too large"),
        Refusal::Storage(why) => Fault::internal(format!("the store cannot write: {why}")),
        Refusal::Stopping => Fault::new(503, "ServiceUnavailable", "the server is stopping"),
    }
}
