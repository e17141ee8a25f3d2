//! The protobuf bodies that kubectl's typed clients send (`kubectl create namespace`, `create configmap`,
//! `create secret`, `auth can-i`), turned into JSON. Answers are always JSON: every client takes that.
//!
//! Not here: other kinds; a client that sends them gets 415.

use std::collections::BTreeMap;

use base64::Engine as _;
use prost::Message;
use serde_json::{Map, Value, json};

use crate::status::Fault;

#[derive(Clone, PartialEq, Message)]
struct Unknown {
    #[prost(message, optional, tag = "1")]
    type_meta: Option<TypeMeta>,
    #[prost(bytes = "vec", optional, tag = "2")]
    raw: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeMeta {
    #[prost(string, optional, tag = "1")]
    api_version: Option<String>,
    #[prost(string, optional, tag = "2")]
    kind: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ObjectMeta {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    generate_name: Option<String>,
    #[prost(string, optional, tag = "3")]
    namespace: Option<String>,
    #[prost(string, optional, tag = "5")]
    uid: Option<String>,
    #[prost(string, optional, tag = "6")]
    resource_version: Option<String>,
    #[prost(btree_map = "string, string", tag = "11")]
    labels: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "12")]
    annotations: BTreeMap<String, String>,
    #[prost(string, repeated, tag = "14")]
    finalizers: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Namespace {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
}

#[derive(Clone, PartialEq, Message)]
struct ConfigMap {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(btree_map = "string, string", tag = "2")]
    data: BTreeMap<String, String>,
    #[prost(btree_map = "string, bytes", tag = "3")]
    binary_data: BTreeMap<String, Vec<u8>>,
    #[prost(bool, optional, tag = "4")]
    immutable: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct Secret {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(btree_map = "string, bytes", tag = "2")]
    data: BTreeMap<String, Vec<u8>>,
    #[prost(string, optional, tag = "3")]
    kind: Option<String>,
    #[prost(btree_map = "string, string", tag = "4")]
    string_data: BTreeMap<String, String>,
    #[prost(bool, optional, tag = "5")]
    immutable: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceAttributes {
    #[prost(string, optional, tag = "1")]
    namespace: Option<String>,
    #[prost(string, optional, tag = "2")]
    verb: Option<String>,
    #[prost(string, optional, tag = "3")]
    group: Option<String>,
    #[prost(string, optional, tag = "4")]
    version: Option<String>,
    #[prost(string, optional, tag = "5")]
    resource: Option<String>,
    #[prost(string, optional, tag = "6")]
    subresource: Option<String>,
    #[prost(string, optional, tag = "7")]
    name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct NonResourceAttributes {
    #[prost(string, optional, tag = "1")]
    path: Option<String>,
    #[prost(string, optional, tag = "2")]
    verb: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ReviewSpec {
    #[prost(message, optional, tag = "1")]
    resource: Option<ResourceAttributes>,
    #[prost(message, optional, tag = "2")]
    path: Option<NonResourceAttributes>,
}

#[derive(Clone, PartialEq, Message)]
struct Review {
    #[prost(message, optional, tag = "2")]
    spec: Option<ReviewSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct RulesReviewSpec {
    #[prost(string, optional, tag = "1")]
    namespace: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct RulesReview {
    #[prost(message, optional, tag = "2")]
    spec: Option<RulesReviewSpec>,
}

/// `k8s\0`, an envelope, and one of the kinds above.
pub(crate) fn decode(body: &[u8]) -> Result<Value, Fault> {
    let broken =
        |error: prost::DecodeError| Fault::bad_request(format!("unable to decode protobuf: {error}"));
    let envelope = body
        .strip_prefix(b"k8s\0")
        .ok_or_else(|| Fault::bad_request("provided data does not appear to be a protobuf message"))?;
    let envelope = Unknown::decode(envelope).map_err(broken)?;
    let TypeMeta { api_version, kind } = envelope.type_meta.unwrap_or_default();
    let (api_version, kind) = (api_version.unwrap_or_default(), kind.unwrap_or_default());
    let raw = envelope.raw.unwrap_or_default();
    let mut object = match &*kind {
        "Namespace" => {
            let Namespace { metadata } = Namespace::decode(&*raw).map_err(broken)?;
            json!({"metadata": meta(metadata)})
        }
        "ConfigMap" => {
            let ConfigMap { metadata, data, binary_data, immutable } =
                ConfigMap::decode(&*raw).map_err(broken)?;
            json!({"metadata": meta(metadata), "data": texts(data), "binaryData": binaries(binary_data), "immutable": immutable})
        }
        "Secret" => {
            let Secret { metadata, data, kind, string_data, immutable } =
                Secret::decode(&*raw).map_err(broken)?;
            json!({"metadata": meta(metadata), "data": binaries(data), "type": kind, "stringData": texts(string_data), "immutable": immutable})
        }
        "SelfSubjectAccessReview" => {
            let ReviewSpec { resource, path } =
                Review::decode(&*raw).map_err(broken)?.spec.unwrap_or_default();
            json!({"spec": {"resourceAttributes": resource.map(attributes), "nonResourceAttributes": path.map(|path| json!({"path": path.path, "verb": path.verb}))}})
        }
        "SelfSubjectRulesReview" => {
            let spec = RulesReview::decode(&*raw).map_err(broken)?.spec.unwrap_or_default();
            json!({"spec": {"namespace": spec.namespace}})
        }
        "SelfSubjectReview" => json!({}),
        _ => return Err(Fault::unsupported_media(&["application/json", "application/yaml"])),
    };
    drop_empty(&mut object);
    object["apiVersion"] = api_version.into();
    object["kind"] = kind.into();
    Ok(object)
}

fn meta(meta: Option<ObjectMeta>) -> Value {
    let ObjectMeta { name, generate_name, namespace, uid, resource_version, labels, annotations, finalizers } =
        meta.unwrap_or_default();
    json!({
        "name": name, "generateName": generate_name, "namespace": namespace, "uid": uid,
        "resourceVersion": resource_version, "labels": texts(labels), "annotations": texts(annotations),
        "finalizers": finalizers,
    })
}

fn attributes(attributes: ResourceAttributes) -> Value {
    let ResourceAttributes { namespace, verb, group, version, resource, subresource, name } = attributes;
    json!({
        "namespace": namespace, "verb": verb, "group": group, "version": version, "resource": resource,
        "subresource": subresource, "name": name,
    })
}

fn texts(map: BTreeMap<String, String>) -> Map<String, Value> {
    map.into_iter().map(|(key, text)| (key, text.into())).collect()
}

fn binaries(map: BTreeMap<String, Vec<u8>>) -> Map<String, Value> {
    let encode = |bytes: Vec<u8>| base64::engine::general_purpose::STANDARD.encode(bytes);
    map.into_iter().map(|(key, bytes)| (key, encode(bytes).into())).collect()
}

/// Protobuf cannot tell empty from absent; JSON from kubectl leaves both out. Values in data maps stay.
fn drop_empty(object: &mut Value) {
    let Some(fields) = object.as_object_mut() else { return };
    for (key, value) in fields.iter_mut() {
        if !matches!(&**key, "data" | "stringData" | "labels" | "annotations") {
            drop_empty(value);
        }
    }
    fields.retain(|_, value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    });
}
