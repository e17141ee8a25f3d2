//! What is served: `/version`, `/api`, `/apis` and below, plain or in one aggregated document.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::Digest as _;

use crate::media::Form;
use crate::registry::{Nature, Registry, Resource};
use crate::reply::Reply;
use crate::status::Fault;

/// The Kubernetes release whose API this is. Clients parse it; kubectl from one minor version below to one above says
/// nothing about skew.
const RELEASE: (&str, &str) = ("1", "34");

pub(crate) fn version() -> Value {
    let (major, minor) = RELEASE;
    json!({
        "major": major, "minor": minor, "gitVersion": format!("v{major}.{minor}.0+muster-{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "", "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
        "emulationMajor": major, "emulationMinor": minor,
        "minCompatibilityMajor": major, "minCompatibilityMinor": minor,
    })
}

pub(crate) fn answer(registry: &Registry, path: &str, form: Form) -> Result<Reply, Fault> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let served = registry.group_versions();
    if let (Form::Aggregated(version), ["api" | "apis"]) = (form, parts.as_slice()) {
        return Ok(aggregated(&served, parts == ["api"], version));
    }
    let resources = |group: &str, version: &str| {
        let key = (group.to_owned(), version.to_owned());
        served
            .get(&key)
            .map(|list| Reply::value(200, form, &resource_list(group, version, list)))
            .ok_or_else(Fault::no_page)
    };
    match parts.as_slice() {
        [] => {
            let mut paths: Vec<String> = [
                "/api",
                "/api/v1",
                "/apis",
                "/healthz",
                "/livez",
                "/metrics",
                "/openapi/v3",
                "/readyz",
                "/version",
            ]
            .iter()
            .map(|path| (*path).to_owned())
            .collect();
            for (group, version) in served.keys().filter(|(group, _)| !group.is_empty()) {
                paths.extend([format!("/apis/{group}"), format!("/apis/{group}/{version}")]);
            }
            paths.sort();
            paths.dedup();
            Ok(Reply::json(200, &json!({"paths": paths})))
        }
        ["api"] => Ok(Reply::value(
            200,
            form,
            &json!({
                "kind": "APIVersions", "versions": ["v1"],
                "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}],
            }),
        )),
        ["api", version] => resources("", version),
        ["apis"] => {
            let groups: Vec<Value> = groups(&served)
                .into_iter()
                .filter(|(name, _)| !name.is_empty())
                .map(|(name, versions)| group(name, &versions))
                .collect();
            Ok(Reply::value(
                200,
                form,
                &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}),
            ))
        }
        ["apis", name] => {
            let groups = groups(&served);
            let versions = groups.get(name).filter(|_| !name.is_empty()).ok_or_else(Fault::no_page)?;
            let mut value = group(name, versions);
            value["kind"] = "APIGroup".into();
            value["apiVersion"] = "v1".into();
            Ok(Reply::value(200, form, &value))
        }
        ["apis", group, version] => resources(group, version),
        _ => Err(Fault::no_page()),
    }
}

type Served = BTreeMap<(String, String), Vec<Arc<Resource>>>;

/// Groups with their versions, best first.
fn groups(served: &Served) -> BTreeMap<&str, Vec<&str>> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (group, resources) in served.iter().map(|((group, _), resources)| (group, resources)) {
        let versions = groups.entry(group).or_default();
        for version in
            resources.iter().flat_map(|resource| &resource.versions).filter(|version| version.served)
        {
            if !versions.contains(&&*version.name) {
                versions.push(&version.name);
            }
        }
    }
    groups
}

fn group(name: &str, versions: &[&str]) -> Value {
    let all: Vec<Value> = versions
        .iter()
        .map(|version| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
        .collect();
    json!({"name": name, "versions": all, "preferredVersion": all.first()})
}

fn status_verbs() -> Value {
    json!(["get", "patch", "update"])
}

fn has_status(resource: &Resource, version: &str) -> bool {
    resource.version(version).is_some_and(|version| version.status)
}

fn has_scale(resource: &Resource, version: &str) -> bool {
    resource.version(version).is_some_and(|version| version.scale.is_some())
}

fn resource_list(group: &str, version: &str, resources: &[Arc<Resource>]) -> Value {
    let mut list = Vec::new();
    for resource in resources {
        let mut entry = json!({
            "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
            "kind": resource.kind, "verbs": resource.verbs(),
        });
        if !resource.short_names.is_empty() {
            entry["shortNames"] = resource.short_names.clone().into();
        }
        if !resource.categories.is_empty() {
            entry["categories"] = resource.categories.clone().into();
        }
        if let Some(hash) = resource.storage_hash() {
            entry["storageVersionHash"] = hash.into();
        }
        list.push(entry);
        let mut sub = |name: &str, verbs: Value| {
            list.push(json!({
                "name": format!("{}/{name}", resource.plural), "singularName": "", "namespaced": resource.namespaced,
                "kind": resource.kind, "verbs": verbs,
            }));
        };
        if resource.nature == Nature::Namespace {
            sub("finalize", json!(["update"]));
        }
        if has_status(resource, version) {
            sub("status", status_verbs());
        }
        if has_scale(resource, version) {
            list.push(json!({
                "name": format!("{}/scale", resource.plural), "singularName": "", "namespaced": resource.namespaced,
                "group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": status_verbs(),
            }));
        }
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list})
}

fn aggregated(served: &Served, core: bool, document: &str) -> Reply {
    let mut entries = Vec::new();
    for (name, versions) in groups(served).into_iter().filter(|(name, _)| name.is_empty() == core) {
        let versions: Vec<Value> = versions
            .into_iter()
            .map(|version| {
                let key = (name.to_owned(), version.to_owned());
                let resources: Vec<Value> = served
                    .get(&key)
                    .into_iter()
                    .flatten()
                    .map(|resource| aggregated_resource(resource, version))
                    .collect();
                json!({"version": version, "resources": resources, "freshness": "Current"})
            })
            .collect();
        let metadata = if name.is_empty() { json!({}) } else { json!({"name": name}) };
        entries.push(json!({"metadata": metadata, "versions": versions}));
    }
    let list = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{document}"), "metadata": {},
        "items": entries,
    });
    let media = format!("application/json;g=apidiscovery.k8s.io;v={document};as=APIGroupDiscoveryList");
    let text = list.to_string();
    let etag = format!("\"{}\"", hash(text.as_bytes()));
    Reply { etag: Some(etag), ..Reply::bytes(200, &media, text) }
}

fn aggregated_resource(resource: &Resource, version: &str) -> Value {
    let kind = json!({"group": "", "version": "", "kind": resource.kind});
    let mut entry = json!({
        "resource": resource.plural, "responseKind": kind, "singularResource": resource.singular,
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" }, "verbs": resource.verbs(),
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = resource.short_names.clone().into();
    }
    if !resource.categories.is_empty() {
        entry["categories"] = resource.categories.clone().into();
    }
    let mut subresources = Vec::new();
    if resource.nature == Nature::Namespace {
        subresources.push(json!({"subresource": "finalize", "responseKind": kind, "verbs": ["update"]}));
    }
    if has_status(resource, version) {
        subresources.push(json!({"subresource": "status", "responseKind": kind, "verbs": status_verbs()}));
    }
    if has_scale(resource, version) {
        let kind = json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
        subresources.push(json!({"subresource": "scale", "responseKind": kind, "verbs": status_verbs()}));
    }
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}

/// The hash of a document, for caches.
pub(crate) fn hash(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02X}")).collect()
}
