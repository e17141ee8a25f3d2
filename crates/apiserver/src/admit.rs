//! What happens to an object between the request and the store: names, defaults, pruning, validation, generation.
//! Values here are in the version of the request; [`to_stored`] turns them around at the end.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::managed;
use crate::metadata;
use crate::object::items;
use crate::query::{Unknown, WriteOptions};
use crate::registry::{Nature, Resource};
use crate::server::Ask;
use crate::status::{Fault, cause};
use crate::{builtin, definition, definition_schema, events, names, typed};

/// Longest base of a generated name: with its five random characters it is still a label.
const GENERATED: usize = 58;

/// Checks that a body is an object of the kind that the path names.
pub(crate) fn check_kind(ask: &Ask<'_>, object: &Value) -> Result<(), Fault> {
    let (kind, api_version) =
        (object["kind"].as_str().unwrap_or_default(), object["apiVersion"].as_str().unwrap_or_default());
    let wanted = &ask.resource.kind;
    if !object.is_object() || kind.is_empty() {
        let mut text = String::from_utf8_lossy(&ask.body).into_owned();
        let short: String = text.chars().take(30).collect();
        text.truncate(text.char_indices().nth(1000).map_or(text.len(), |(index, _)| index));
        return Err(Fault::bad_request(format!(
            "the object provided is unrecognized (must be of type {wanted}): Object 'Kind' is missing in '{text}' ({short} ...)"
        )));
    }
    if api_version != ask.api_version() {
        let mut fault = Fault::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({})",
            ask.api_version()
        ));
        let of_group = api_version.strip_prefix(&*ask.resource.group).and_then(|rest| rest.strip_prefix('/'));
        if ask.resource.nature == Nature::Custom
            && matches!(ask.query.get("fieldValidation"), None | Some("Warn"))
            && of_group.is_some_and(|version| ask.resource.version(version).is_none())
        {
            // A version without a schema knows no fields.
            let fields = object.as_object().into_iter().flatten().map(|(name, _)| &**name);
            let unknown = fields.filter(|name| !matches!(*name, "apiVersion" | "kind" | "metadata"));
            fault.warnings = unknown.map(|name| format!("unknown field \"{name}\"")).collect();
        }
        return Err(fault);
    }
    if kind != wanted {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let causes =
            vec![cause("FieldValueInvalid", "kind", format!("Invalid value: \"{kind}\": must be {wanted}"))];
        return Err(Fault::invalid(&ask.resource.group, kind, name, causes));
    }
    Ok(())
}

/// Puts the namespace of the path into the object, or refuses another one.
pub(crate) fn set_namespace(ask: &Ask<'_>, object: &mut Value) -> Result<(), Fault> {
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    let wanted = &ask.target.namespace;
    match object["metadata"]["namespace"].as_str().filter(|_| ask.resource.namespaced) {
        Some(named) if !named.is_empty() && named != wanted => Err(Fault::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        )),
        _ if wanted.is_empty() => {
            remove(&mut object["metadata"], "namespace");
            Ok(())
        }
        _ => {
            object["metadata"]["namespace"] = wanted.clone().into();
            Ok(())
        }
    }
}

/// A new object, ready for [`finish`].
pub(crate) fn create(ask: &Ask<'_>, object: &mut Value) -> Result<(), Fault> {
    let meta = &mut object["metadata"];
    if meta["resourceVersion"].as_str().is_some_and(|version| !version.is_empty() && version != "0") {
        return Err(Fault::bad_request("resourceVersion should not be set on objects to be created"));
    }
    for field in
        ["resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"]
    {
        remove(meta, field);
    }
    let base = meta["generateName"].as_str().unwrap_or_default();
    if meta["name"].as_str().is_none_or(str::is_empty) {
        if base.is_empty() {
            let causes = vec![cause(
                "FieldValueRequired",
                "metadata.name",
                "Required value: name or generateName is required",
            )];
            return Err(ask.fault(causes, ""));
        }
        let end = base.char_indices().nth(GENERATED).map_or(base.len(), |(index, _)| index);
        meta["name"] = format!("{}{}", &base[..end], names::suffix()).into();
    }
    meta["uid"] = names::unique().into();
    meta["creationTimestamp"] = seconds(ask.inner.clock.now()).into();
    if has_generation(&ask.resource) {
        meta["generation"] = 1.into();
    }
    if has_own_status(ask) {
        remove(object, "status");
    }
    Ok(())
}

/// Refuses an object that says that somebody else made it: what deploy/base/approvals.yaml does on a cluster.
pub(crate) fn check_author(ask: &Ask<'_>, object: &Value) -> Result<(), Fault> {
    let signed = ask.resource.group == "muster.dev" && ask.resource.kind == "RolloutApproval";
    let by = object["spec"]["by"].as_str().unwrap_or_default();
    if !signed || by == ask.identity.user {
        return Ok(());
    }
    let message = format!(
        "Invalid value: {}: spec.by must be the user that creates it: {}",
        json!(by),
        ask.identity.user
    );
    let causes = vec![cause("FieldValueInvalid", "spec.by", message)];
    Err(ask.fault(causes, object["metadata"]["name"].as_str().unwrap_or_default()))
}

/// A changed object: what no client may change comes from the live one.
pub(crate) fn update(ask: &Ask<'_>, live: &Value, object: &mut Value) -> Result<(), Fault> {
    const KEPT: &[&str] = &[
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "selfLink",
        "generateName",
    ];
    let name = &*ask.target.name;
    let given = object["metadata"]["uid"].as_str().unwrap_or_default();
    let own = live["metadata"]["uid"].as_str().unwrap_or_default();
    if !given.is_empty() && given != own {
        let place = format!("/registry/{}/{}", ask.resource.shelf.trim_start_matches('/'), ask.key());
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: {place}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {given}, UID in object meta: {own}"
        );
        return Err(Fault::conflict(&ask.resource, name, &why));
    }
    for field in KEPT {
        let value = live["metadata"][field].clone();
        set_or_remove(&mut object["metadata"], field, value);
    }
    match &*ask.target.subresource {
        "status" => {
            let (status, managed) = (object["status"].take(), object["metadata"]["managedFields"].take());
            *object = live.clone();
            set_or_remove(object, "status", status);
            set_or_remove(&mut object["metadata"], "managedFields", managed);
        }
        "finalize" => {
            let finalizers = object["spec"]["finalizers"].take();
            *object = live.clone();
            object["spec"]["finalizers"] = finalizers;
        }
        _ if has_own_status(ask) => {
            let status = live["status"].clone();
            set_or_remove(object, "status", status);
        }
        _ => {}
    }
    if ask.resource.nature == Nature::Namespace && ask.target.subresource.is_empty() {
        let finalizers = live["spec"]["finalizers"].clone();
        set_or_remove(&mut object["spec"], "finalizers", finalizers);
    }
    Ok(())
}

/// How a client gives an object.
#[derive(Clone, Copy)]
pub(crate) enum Given<'a> {
    /// All of it; what the body names twice.
    Whole(&'a [String]),
    /// As a patch.
    Patch,
    /// As a configuration for a server-side apply, which books the fields.
    Applied,
}

/// Prunes, defaults, books the fields, validates, counts the generation. Returns warnings.
pub(crate) fn finish(
    ask: &Ask<'_>,
    options: &WriteOptions,
    live: Option<&Value>,
    object: &mut Value,
    given: Given<'_>,
) -> Result<Vec<String>, Fault> {
    let version = ask.version();
    let mut warnings = Vec::new();
    typed::check_times(ask.resource.nature, object).map_err(|why| not_handled(ask, &why))?;
    let patched = match given {
        Given::Patch if options.unknown == Unknown::Refuse => Some(object.to_string()),
        Given::Patch | Given::Whole(_) | Given::Applied => None,
    };
    if let Some(schema) = &version.schema {
        let mut unknown = schema.prune(object);
        if ask.resource.nature == Nature::Definition {
            unknown.extend(definition_schema::prune(object));
        }
        unknown.extend(metadata::unknown(&object["metadata"]));
        let mut texts = match given {
            Given::Whole(duplicates) => duplicates.to_vec(),
            Given::Patch | Given::Applied => vec![],
        };
        texts.extend(unknown.iter().map(|path| format!("unknown field \"{path}\"")));
        if !texts.is_empty() {
            match options.unknown {
                Unknown::Refuse => {
                    let why = format!("strict decoding error: {}", texts.join(", "));
                    let Some(patched) = patched else { return Err(not_handled(ask, &why)) };
                    let message = format!("Invalid value: {}: {why}", json!(patched));
                    return Err(Fault::invalid(
                        "",
                        "",
                        "",
                        vec![cause("FieldValueInvalid", "patch", message)],
                    ));
                }
                Unknown::Warn => warnings.extend(texts),
                Unknown::Ignore => {}
            }
        }
        schema.apply_defaults(object);
    }
    builtin::default(ask.resource.nature, object);
    metadata::normalize(&mut object["metadata"]);
    if !matches!(given, Given::Applied) {
        let writer = writer(ask, options.manager.as_deref());
        let owned = std::mem::take(object);
        *object = managed::update(&writer, live, owned);
    }
    typed::settle(ask.resource.nature, object);
    if ask.resource.nature == Nature::Definition && ask.target.subresource.is_empty() {
        definition::begin_status(object);
    }
    validate(ask, live, object)?;
    keep_storable(ask, object);
    if let Some(live) = live
        && has_generation(&ask.resource)
        && !same_content(ask, live, object)
    {
        object["metadata"]["generation"] = (live["metadata"]["generation"].as_i64().unwrap_or(0) + 1).into();
    }
    for finalizer in items(&object["metadata"]["finalizers"]).filter_map(Value::as_str) {
        let known = matches!(finalizer, "foregroundDeletion" | "orphan" | "kubernetes");
        if live.is_none() && !finalizer.contains('/') && !known {
            warnings.push(format!("metadata.finalizers: \"{finalizer}\": prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers"));
        }
    }
    Ok(warnings)
}

/// What comes in through another version than the stored one keeps what that can hold: nobody converts here, so more
/// would come back to light with the next change of the stored version.
fn keep_storable(ask: &Ask<'_>, object: &mut Value) {
    let storage = &ask.resource.storage;
    if ask.target.version == *storage {
        return;
    }
    if let Some(schema) = ask.resource.version(storage).and_then(|version| version.schema.as_ref()) {
        schema.prune(object);
        schema.apply_defaults(object);
    }
}

fn not_handled(ask: &Ask<'_>, why: &str) -> Fault {
    let (kind, version) = (&ask.resource.kind, &ask.target.version);
    Fault::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"))
}

/// Who writes in this request.
pub(crate) fn writer<'a>(ask: &'a Ask<'a>, manager: Option<&'a str>) -> managed::Writer<'a> {
    managed::Writer {
        resource: &ask.resource,
        schema: ask.version().schema.clone(),
        has_status: ask.version().status,
        manager: manager.unwrap_or(ask.manager),
        api_version: ask.api_version(),
        subresource: &ask.target.subresource,
        now: ask.inner.clock.now(),
    }
}

fn validate(ask: &Ask<'_>, live: Option<&Value>, object: &Value) -> Result<(), Fault> {
    let mut causes = metadata::causes(&ask.resource, live, object);
    if let Some(schema) = &ask.version().schema {
        causes.extend(schema.validate(object, live));
    }
    if let Some(scale) = &ask.version().scale {
        causes.extend(scale.validate(object));
    }
    if ask.resource.nature == Nature::Event {
        let mut stored = object.clone();
        events::absorb(&ask.resource, &mut stored);
        causes.extend(events::validate(&stored));
        if events::is_new(&ask.resource) {
            causes.extend(match live {
                None => events::validate_new(&stored),
                Some(live) => {
                    let mut before = live.clone();
                    events::absorb(&ask.resource, &mut before);
                    events::validate_change(&before, &stored)
                }
            });
        }
    }
    causes.extend(builtin::validate(ask.resource.nature, object, live));
    if causes.is_empty() {
        return Ok(());
    }
    Err(ask.fault(causes, object["metadata"]["name"].as_str().unwrap_or_default()))
}

/// Are they the same in what a generation counts: everything but metadata, and but status where it has its own door?
fn same_content(ask: &Ask<'_>, one: &Value, other: &Value) -> bool {
    let counts = |(field, _): &(&String, &Value)| {
        *field != "metadata" && (*field != "status" || !ask.version().status)
    };
    let content = |object: &Value| object.as_object().into_iter().flatten().filter(counts).count();
    let mut fields = one.as_object().into_iter().flatten().filter(counts);
    content(one) == content(other) && fields.all(|(field, value)| other.get(field) == Some(value))
}

/// Does a write through the main door leave the status alone?
fn has_own_status(ask: &Ask<'_>) -> bool {
    ask.version().status && ask.target.subresource.is_empty()
}

pub(crate) fn has_generation(resource: &Resource) -> bool {
    matches!(resource.nature, Nature::Custom | Nature::Definition)
}

/// Is it on its way out with nothing left that holds it? (A value in stored form.)
pub(crate) fn is_finished(resource: &Resource, object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
        && items(&object["metadata"]["finalizers"]).next().is_none()
        && (resource.nature != Nature::Namespace || items(&object["spec"]["finalizers"]).next().is_none())
}

/// A value of the request's version as it is stored.
pub(crate) fn to_stored(resource: &Resource, object: &mut Value) {
    events::absorb(resource, object);
    let group = if resource.nature == Nature::Event { "" } else { &*resource.group };
    let version = &resource.storage;
    object["apiVersion"] =
        if group.is_empty() { version.clone() } else { format!("{group}/{version}") }.into();
}

/// Whole seconds, as in object metadata.
pub(crate) fn seconds(time: Timestamp) -> String {
    format!("{time:.0}")
}

pub(crate) fn remove(object: &mut Value, field: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(field);
    }
}

fn set_or_remove(object: &mut Value, field: &str, value: Value) {
    if value.is_null() {
        remove(object, field);
    } else {
        object[field] = value;
    }
}
