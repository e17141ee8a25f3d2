//! A server in memory, a kind to play with, and clients.

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::{Client, ResourceExt as _};
use muster_apiserver::{ApiServer, Config, Identity};
use serde_json::{Value, json};

/// A definition with defaults, a rule, a status, columns and a selectable field.
pub(crate) fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.demo.example.com"},
        "spec": {
            "group": "demo.example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}},
                "selectableFields": [{"jsonPath": ".spec.color"}],
                "additionalPrinterColumns": [
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                    {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Ready')].status"},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {
                        "spec": {
                            "type": "object",
                            "x-kubernetes-validations": [{"rule": "self.size != 13", "message": "13 is unlucky"}],
                            "properties": {
                                "size": {"type": "integer", "minimum": 1, "default": 1},
                                "color": {"type": "string", "default": "green"},
                            },
                        },
                        "status": {"type": "object", "properties": {
                            "phase": {"type": "string"},
                            "conditions": {
                                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
                                "items": {"type": "object", "required": ["type"], "properties": {"type": {"type": "string"}, "status": {"type": "string"}}},
                            },
                        }},
                    },
                }},
            }],
        },
    })
}

pub(crate) async fn server() -> ApiServer {
    let server = ApiServer::open(Config::default()).await.unwrap();
    server.apply_crds(&[definition()]).await.unwrap();
    server
}

pub(crate) fn client(server: &ApiServer) -> Client {
    Client::new(server.service(Identity::admin("tester")), "default")
}

pub(crate) fn resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("demo.example.com", "v1", "Widget"))
}

pub(crate) fn widgets(server: &ApiServer) -> Api<DynamicObject> {
    Api::default_namespaced_with(client(server), &resource())
}

pub(crate) fn widget(name: &str, spec: Value) -> DynamicObject {
    DynamicObject::new(name, &resource()).data(json!({"spec": spec}))
}

pub(crate) async fn create(api: &Api<DynamicObject>, name: &str) -> DynamicObject {
    api.create(&PostParams::default(), &widget(name, json!({}))).await.unwrap()
}

pub(crate) fn version(object: &DynamicObject) -> String {
    object.resource_version().unwrap()
}

/// One raw request; the status and the body as JSON.
pub(crate) async fn raw(
    server: &ApiServer,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, Value) {
    raw_as(server, Identity::admin("tester"), method, path, headers, body).await
}

pub(crate) async fn raw_as(
    server: &ApiServer,
    identity: Identity,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, Value) {
    use http_body_util::BodyExt as _;
    let mut request = http::Request::builder().method(method).uri(path);
    for (key, value) in headers {
        request = request.header(*key, *value);
    }
    let request = request.body(http_body_util::Full::new(bytes::Bytes::from(body.to_owned()))).unwrap();
    let response = server.handle(request, identity).await;
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (
        status,
        serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into()),
    )
}
