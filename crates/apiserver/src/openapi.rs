//! OpenAPI v3: what `kubectl explain` prints, and what `kubectl apply` asks before it trusts the server with
//! validation. Not here: v2, which only clients older than 1.28 need; they get an empty one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::discovery::hash;
use crate::registry::{Nature, Registry, Resource};
use crate::reply::Reply;
use crate::status::Fault;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

pub(crate) fn answer(registry: &Registry, path: &str) -> Result<Reply, Fault> {
    let served = registry.group_versions();
    let wanted = path.strip_prefix("/openapi/v3").unwrap_or_default().trim_matches('/');
    if wanted.is_empty() {
        let mut paths = Map::new();
        for ((group, version), resources) in &served {
            let path = place(group, version);
            let hash = hash(document(group, version, resources).to_string().as_bytes());
            let url = format!("/openapi/v3/{path}?hash={hash}");
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
        let document = version_document();
        let hash = hash(document.to_string().as_bytes());
        paths.insert(
            "version".to_owned(),
            json!({"serverRelativeURL": format!("/openapi/v3/version?hash={hash}")}),
        );
        // The real server says so, though it is JSON; clients do not look.
        return Ok(Reply::text(200, json!({"paths": paths}).to_string()));
    }
    if wanted == "version" {
        return Ok(Reply::json(200, &version_document()));
    }
    for ((group, version), resources) in &served {
        if place(group, version) == wanted {
            return Ok(Reply::json(200, &document(group, version, resources)));
        }
    }
    Err(Fault { message: String::new(), ..Fault::no_page() })
}

/// OpenAPI v2, of nothing: kubectl asks for it when v3 does not know a kind, fails without it, and skips its own
/// validation of what is not in it.
pub(crate) fn version_two(headers: &http::HeaderMap) -> Reply {
    const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    let accept = headers.get(http::header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains("proto-openapi.spec.v2") {
        // Field 1, the text "2.0".
        return Reply::bytes(200, PROTOBUF, &b"\x0a\x032.0"[..]);
    }
    let title = json!({"title": "Muster", "version": crate::discovery::version()["gitVersion"]});
    Reply::json(200, &json!({"swagger": "2.0", "info": title, "paths": {}, "definitions": {}}))
}

/// What `/version` answers.
fn version_document() -> Value {
    let content = json!({"application/json": {"schema": {"type": "object"}}});
    let answer = json!({"200": {"description": "OK", "content": content}});
    json!({
        "openapi": "3.0.0", "info": {"title": "Muster", "version": crate::discovery::version()["gitVersion"]},
        "paths": {"/version": {"get": {"description": "The version of this server.", "responses": answer}}},
    })
}

fn place(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn document(group: &str, version: &str, resources: &[Arc<Resource>]) -> Value {
    let mut schemas = meta_schemas();
    let mut paths = BTreeMap::new();
    for resource in resources {
        let name = schema_name(group, version, &resource.kind);
        let gvk = json!({"group": group, "version": version, "kind": resource.kind});
        schemas.insert(name.clone(), object_schema(resource, version, &gvk));
        let list_gvk = json!([{"group": group, "version": version, "kind": resource.list_kind}]);
        let mut list = json!({
            "description": format!("{} is a list of {}", resource.list_kind, resource.kind), "type": "object",
            "required": ["items"], "x-kubernetes-group-version-kind": list_gvk,
            "properties": {
                "apiVersion": {"type": "string", "description": "The group and version of this list."},
                "kind": {"type": "string", "description": "The kind of this list."},
                "metadata": {"allOf": [reference(&format!("{META}.ListMeta"))], "description": "The list's own metadata."},
                "items": {"type": "array", "items": reference(&name), "description": "The objects."},
            },
        });
        if resource.nature == Nature::Custom && !resource.fields.is_empty() {
            let fields = resource.fields.iter().map(|path| json!({"fieldPath": &**path}));
            list["x-kubernetes-selectable-fields"] = fields.collect();
        }
        schemas.insert(schema_name(group, version, &resource.list_kind), list);
        let base = format!("/{}", place(group, version));
        let base = if resource.namespaced { format!("{base}/namespaces/{{namespace}}") } else { base };
        let collection = format!("{base}/{}", resource.plural);
        let body = reference(&name);
        let operation = |action: &str| operation(action, &gvk, &body);
        if resource.nature == Nature::Review {
            paths.insert(collection, json!({"post": operation("post")}));
            continue;
        }
        let item = format!("{collection}/{{name}}");
        paths.insert(collection, json!({"get": operation("list"), "post": operation("post"), "delete": operation("deletecollection")}));
        let doors = json!({"get": operation("get"), "put": operation("put"), "patch": operation("patch")});
        if resource.version(version).is_some_and(|version| version.status) {
            paths.insert(format!("{item}/status"), doors.clone());
        }
        let mut doors = doors;
        doors["delete"] = operation("delete");
        paths.insert(item, doors);
    }
    json!({
        "openapi": "3.0.0", "info": {"title": "Muster", "version": crate::discovery::version()["gitVersion"]},
        "paths": paths, "components": {"schemas": schemas},
    })
}

fn operation(action: &str, gvk: &Value, body: &Value) -> Value {
    let parameter = |name: &str, about: &str| json!({"name": name, "in": "query", "description": about, "schema": {"type": "string", "uniqueItems": true}});
    let answer = json!({"200": {"description": "OK", "content": {"application/json": {"schema": body}}}});
    let mut value =
        json!({"x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk, "responses": answer});
    if matches!(action, "post" | "put" | "patch") {
        let mut parameters = vec![
            parameter("dryRun", "Only All: check, and write nothing."),
            parameter("fieldManager", "Who writes."),
            parameter("fieldValidation", "What to do about unknown fields: Ignore, Warn, Strict."),
        ];
        if action == "patch" {
            parameters.push(
                json!({"name": "force", "in": "query", "schema": {"type": "boolean", "uniqueItems": true}}),
            );
        }
        value["parameters"] = parameters.into();
        let media = if action == "patch" {
            json!({
                "application/json-patch+json": {"schema": {"type": "object"}},
                "application/merge-patch+json": {"schema": {"type": "object"}},
                "application/apply-patch+yaml": {"schema": {"type": "object"}},
            })
        } else {
            json!({"application/json": {"schema": body}})
        };
        value["requestBody"] = json!({"content": media});
    }
    value
}

/// `com.example.demo.v1.Widget`: the group backwards, as Kubernetes names it.
fn schema_name(group: &str, version: &str, kind: &str) -> String {
    if group.is_empty() {
        return format!("io.k8s.api.core.{version}.{kind}");
    }
    let backwards: Vec<&str> = group.split('.').rev().collect();
    format!("{}.{version}.{kind}", backwards.join("."))
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn object_schema(resource: &Resource, version: &str, gvk: &Value) -> Value {
    let schema = resource.version(version).and_then(|version| version.schema.as_ref());
    let mut value = schema.map_or_else(|| json!({"type": "object"}), |schema| schema.raw().clone());
    let text = |about: &str| json!({"type": "string", "description": about});
    value["properties"]["apiVersion"] = text(
        "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values.",
    );
    value["properties"]["kind"] =
        text("Kind is a string value representing the REST resource this object represents.");
    value["properties"]["metadata"] = json!({"description": "Standard object's metadata.", "allOf": [reference(&format!("{META}.ObjectMeta"))]});
    value["x-kubernetes-group-version-kind"] = json!([gvk]);
    value
}

fn meta_schemas() -> Map<String, Value> {
    let text = |about: &str| json!({"type": "string", "description": about});
    let map = |about: &str| json!({"type": "object", "description": about, "additionalProperties": {"type": "string", "default": ""}});
    let time = |about: &str| json!({"type": "string", "format": "date-time", "description": about});
    let owner = json!({
        "type": "object", "description": "An object that this object belongs to.",
        "required": ["apiVersion", "kind", "name", "uid"], "x-kubernetes-map-type": "atomic",
        "properties": {
            "apiVersion": text("API version of the owner."), "kind": text("Kind of the owner."),
            "name": text("Name of the owner."), "uid": text("UID of the owner."),
            "controller": {"type": "boolean", "description": "Is it the managing controller?"},
            "blockOwnerDeletion": {"type": "boolean", "description": "Does a foreground deletion of the owner wait for this object?"},
        },
    });
    let object_meta = json!({
        "type": "object", "description": "ObjectMeta is metadata that all persisted resources must have.",
        "properties": {
            "name": text("Name, unique within a namespace."), "generateName": text("Prefix of a generated name."),
            "namespace": text("The space within which the name is unique."), "uid": text("Unique in time and space."),
            "resourceVersion": text("Version of this object, opaque."), "selfLink": text("No longer used."),
            "generation": {"type": "integer", "format": "int64", "description": "Counts changes of the desired state."},
            "creationTimestamp": time("When it was created."), "deletionTimestamp": time("When it was asked to go."),
            "deletionGracePeriodSeconds": {"type": "integer", "format": "int64", "description": "How long it may take to go."},
            "labels": map("Keys and values to select by."), "annotations": map("Keys and values for tools."),
            "finalizers": {"type": "array", "items": {"type": "string", "default": ""}, "description": "What must happen before it goes.", "x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge"},
            "ownerReferences": {"type": "array", "items": reference(&format!("{META}.OwnerReference")), "description": "Objects that it belongs to.", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"], "x-kubernetes-patch-merge-key": "uid", "x-kubernetes-patch-strategy": "merge"},
            "managedFields": {"type": "array", "items": {"type": "object"}, "description": "Who set which field.", "x-kubernetes-list-type": "atomic"},
        },
    });
    let list_meta = json!({
        "type": "object", "description": "Metadata of a list.",
        "properties": {
            "resourceVersion": text("Version of the list."), "continue": text("Token for the next page."), "selfLink": text("No longer used."),
            "remainingItemCount": {"type": "integer", "format": "int64", "description": "How many items follow."},
        },
    });
    [("ObjectMeta", object_meta), ("ListMeta", list_meta), ("OwnerReference", owner)]
        .into_iter()
        .map(|(name, schema)| (format!("{META}.{name}"), schema))
        .collect()
}
