//! Reading: one object, or a list, whole or page by page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::admit;
use crate::events;
use crate::media::Form;
use crate::object::{Stored, key_of};
use crate::query::ListOptions;
use crate::registry::Resource;
use crate::reply::Reply;
use crate::scale;
use crate::server::Ask;
use crate::status::Fault;
use crate::table::{Include, Printer, partial, partial_list};

/// Does the resource's version show the object as it is stored?
pub(crate) fn is_stored_form(resource: &Resource, version: &str, object: &Stored) -> bool {
    !events::is_new(resource) && *object.meta.api_version == *resource.api_version(version)
}

/// A stored object in the version that was asked for.
pub(crate) fn present(resource: &Resource, version: &str, object: &Stored) -> Value {
    let mut value = object.value();
    present_value(resource, version, &mut value);
    value
}

/// The same for a value in stored form.
pub(crate) fn present_value(resource: &Resource, version: &str, value: &mut Value) {
    events::present(resource, value);
    value["apiVersion"] = resource.api_version(version).into();
}

/// The object of the request, or 404.
pub(crate) fn find(ask: &Ask<'_>) -> Result<Arc<Stored>, Fault> {
    ask.inner
        .store
        .get(&ask.resource.shelf, &ask.key())
        .ok_or_else(|| Fault::not_found(&ask.resource, &ask.target.name))
}

pub(crate) fn get(ask: &Ask<'_>) -> Result<Reply, Fault> {
    if ask.query.flag("export") {
        return Err(Fault::bad_request(
            "the export parameter, deprecated since v1.14, is no longer supported",
        ));
    }
    stored(ask, 200, &*find(ask)?)
}

/// An answer that is one object of the store: its very bytes, where nothing has to be turned around.
pub(crate) fn stored(ask: &Ask<'_>, code: u16, object: &Stored) -> Result<Reply, Fault> {
    if ask.form == Form::Json
        && ask.scale().is_none()
        && is_stored_form(&ask.resource, &ask.target.version, object)
    {
        let name = object.meta.name.to_string();
        return Ok(Reply { name, ..Reply::bytes(code, "application/json", object.body.clone()) });
    }
    one(ask, code, object.value())
}

/// An answer that is one object, given in stored form; through its scale, that.
pub(crate) fn one(ask: &Ask<'_>, code: u16, mut stored: Value) -> Result<Reply, Fault> {
    if let Some(scale) = ask.scale() {
        stored = scale.shown(&stored)?;
    }
    let name = stored["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let value = match ask.form {
        Form::Table => {
            let metadata = json!({"resourceVersion": stored["metadata"]["resourceVersion"]});
            printer(ask)?.table(&[stored], metadata, true)
        }
        Form::Partial => partial(&stored),
        Form::PartialList | Form::Aggregated(_) => return Err(Fault::not_acceptable()),
        Form::Json | Form::Yaml => {
            if ask.scale().is_none() {
                present_value(&ask.resource, &ask.target.version, &mut stored);
            }
            stored
        }
    };
    Ok(Reply { name, ..Reply::value(code, ask.form, &value) })
}

/// Makes the tables of a request.
pub(crate) fn printer(ask: &Ask<'_>) -> Result<Printer, Fault> {
    let include = match ask.query.get("includeObject") {
        None | Some("Metadata") => Include::Metadata,
        Some("Object") => Include::Object,
        Some("None") => Include::None,
        Some(other) => {
            return Err(Fault::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: \"{other}\": must be 'Metadata', 'Object', 'None', or empty"
            )));
        }
    };
    let now = ask.inner.clock.now();
    Ok(match ask.scale() {
        None => Printer::new(&ask.resource, &ask.version().columns, include, now),
        Some(_) => Printer::new(&ask.resource, &scale::columns(), include, now),
    })
}

/// Which keys a list or watch covers.
pub(crate) fn prefix(ask: &Ask<'_>) -> String {
    if ask.target.namespace.is_empty() { String::new() } else { format!("{}/", ask.target.namespace) }
}

pub(crate) fn list(ask: &Ask<'_>) -> Result<Reply, Fault> {
    let mut options = ListOptions::parse(ask.query, false)?;
    options.fields = options.fields.resolve(&ask.resource).map_err(Fault::bad_request)?;
    let ListOptions { labels, fields, limit, resume, version, exact, .. } = options;
    let newest = ask.inner.store.version();
    if let Some(version) = version
        && version > newest
    {
        let mut fault =
            Fault::new(504, "Timeout", format!("Too large resource version: {version}, current: {newest}"));
        fault.details = Some(
            json!({"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}], "retryAfterSeconds": 1}),
        );
        return Err(fault);
    }
    let (start, at) = match &resume {
        Some(token) => decode_token(token)?,
        None => (String::new(), version.filter(|_| exact)),
    };
    let prefix = prefix(ask);
    let keep = |object: &Stored| labels.matches(object) && fields.matches(object);
    let page = match (fields.name(), &resume) {
        // The common question about one name needs no walk.
        (Some(name), None) if !ask.target.namespace.is_empty() || !ask.resource.namespaced => {
            let found = ask.inner.store.get(&ask.resource.shelf, &key_of(&ask.target.namespace, name));
            let items = found.into_iter().filter(|object| keep(object)).collect();
            crate::store::Page { version: newest, items, next: None, remaining: 0 }
        }
        _ => ask.inner.store.list(&ask.resource.shelf, &prefix, &start, at, limit, &keep).map_err(|_| {
            let mut fault = Fault::expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
            );
            fault.resume = resume.is_some().then(|| encode_token(&start, None));
            fault
        })?,
    };
    let mut metadata = json!({"resourceVersion": page.version.to_string()});
    if let Some(next) = &page.next {
        metadata["continue"] = encode_token(next, Some(page.version)).into();
        if labels.is_empty() && fields.is_empty() {
            metadata["remainingItemCount"] = page.remaining.into();
        }
    }
    render(ask, metadata, &page.items)
}

/// A list in the form that was asked for.
pub(crate) fn render(ask: &Ask<'_>, metadata: Value, objects: &[Arc<Stored>]) -> Result<Reply, Fault> {
    let (resource, version) = (&*ask.resource, &*ask.target.version);
    let mut metadata = metadata;
    if !resource.is_typed() && matches!(ask.form, Form::Json | Form::Yaml) && metadata["continue"].is_null() {
        metadata["continue"] = "".into();
    }
    match ask.form {
        Form::Json => {
            let mut text =
                format!("{{\"apiVersion\":{},\"items\":[", Value::from(resource.api_version(version)))
                    .into_bytes();
            text.reserve(objects.iter().map(|object| object.body.len() + 1).sum());
            for (index, object) in objects.iter().enumerate() {
                if index > 0 {
                    text.push(b',');
                }
                if is_stored_form(resource, version, object) && !resource.is_typed() {
                    text.extend_from_slice(&object.body);
                } else {
                    text.extend_from_slice(item(resource, version, object).to_string().as_bytes());
                }
            }
            let end =
                format!("],\"kind\":{},\"metadata\":{metadata}}}", Value::from(resource.list_kind.clone()));
            text.extend_from_slice(end.as_bytes());
            Ok(Reply::bytes(200, "application/json", text))
        }
        Form::Table => {
            let values: Vec<Value> = objects.iter().map(|object| object.value()).collect();
            Ok(Reply::json(200, &printer(ask)?.table(&values, metadata, true)))
        }
        Form::Yaml | Form::PartialList => {
            let items: Vec<Value> = objects.iter().map(|object| item(resource, version, object)).collect();
            let list = json!({
                "apiVersion": resource.api_version(version), "kind": resource.list_kind, "metadata": metadata, "items": items,
            });
            let list = if ask.form == Form::PartialList { partial_list(&list) } else { list };
            Ok(Reply::value(200, ask.form, &list))
        }
        Form::Partial | Form::Aggregated(_) => Err(Fault::not_acceptable()),
    }
}

/// An object as an item of a list.
fn item(resource: &Resource, version: &str, object: &Stored) -> Value {
    let mut value = present(resource, version, object);
    if resource.is_typed() {
        admit::remove(&mut value, "apiVersion");
        admit::remove(&mut value, "kind");
    }
    value
}

/// Where to go on: the last key seen, and the version of the first page (none: as things are then).
fn encode_token(start: &str, version: Option<u64>) -> String {
    URL_SAFE_NO_PAD
        .encode(json!({"v": "meta.k8s.io/v1", "rv": version.unwrap_or(0), "start": start}).to_string())
}

fn decode_token(token: &str) -> Result<(String, Option<u64>), Fault> {
    let invalid =
        |why: &str| Fault::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
    let bytes =
        URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).map_err(|error| invalid(&error.to_string()))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| invalid(&error.to_string()))?;
    if value["v"] != "meta.k8s.io/v1" {
        return Err(invalid("server does not recognize this encoded version"));
    }
    let start = value["start"].as_str().ok_or_else(|| invalid("no start"))?.to_owned();
    Ok((start, value["rv"].as_u64().filter(|version| *version > 0)))
}
