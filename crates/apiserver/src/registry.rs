//! Which resources exist: the built-in ones, and those that CustomResourceDefinitions add at run time.
//!
//! Not here: what a definition must look like (`definition`), how the built-in kinds behave (`builtin`).

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use muster_schema::CompiledSchema;
use serde_json::Value;
use sha2::Digest as _;

use crate::object::items;
use crate::scale::Scale;

/// Shelf of the namespaces.
pub(crate) const NAMESPACES: &str = "/namespaces";
/// Shelf of the CustomResourceDefinitions.
pub(crate) const DEFINITIONS: &str = "apiextensions.k8s.io/customresourcedefinitions";
/// Shelf of the events, which two groups show.
pub(crate) const EVENTS: &str = "/events";

/// What custom resources can do, in the real server's order.
const CUSTOM_VERBS: &[&str] =
    &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];

/// What all other storable resources can do.
const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// How a resource behaves beyond the common rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    /// Defined by a CustomResourceDefinition.
    Custom,
    Namespace,
    ConfigMap,
    Secret,
    Event,
    Lease,
    Definition,
    /// Answers a question, stores nothing.
    Review,
}

/// A served resource.
#[derive(Debug)]
pub(crate) struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// As in paths.
    pub plural: String,
    /// For people.
    pub singular: String,
    /// Kind of an object.
    pub kind: String,
    /// Kind of a list.
    pub list_kind: String,
    /// Does it live in namespaces?
    pub namespaced: bool,
    /// For kubectl.
    pub short_names: Vec<String>,
    /// For kubectl (`kubectl get all`).
    pub categories: Vec<String>,
    /// Served and unserved versions, best first.
    pub versions: Vec<Version>,
    /// The version in which objects are stored.
    pub storage: String,
    pub(crate) nature: Nature,
    pub(crate) shelf: Arc<str>,
    /// Paths that field selectors know, besides name and namespace.
    pub(crate) fields: Arc<[Arc<str>]>,
    /// Is its definition being deleted?
    pub(crate) terminating: bool,
}

/// One version of a resource.
#[derive(Debug)]
pub(crate) struct Version {
    /// `v1`.
    pub name: String,
    /// Is it reachable?
    pub served: bool,
    /// The warning of a deprecated version.
    pub deprecated: Option<String>,
    /// What objects look like.
    pub schema: Option<Arc<CompiledSchema>>,
    /// Columns for `kubectl get`.
    pub columns: Vec<Column>,
    /// Is there a status subresource?
    pub status: bool,
    /// Is there a scale subresource, and where are its numbers?
    pub scale: Option<Scale>,
}

/// A printer column.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    /// Heading.
    pub name: String,
    /// OpenAPI type, or `date`.
    pub kind: String,
    /// OpenAPI format.
    pub format: String,
    /// For `-o wide`.
    pub priority: i64,
    /// For people.
    pub description: String,
    /// Kubernetes JSONPath.
    pub path: String,
}

impl Resource {
    /// `plural.group`, as messages name it.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `group/version`, or `version` in the core group.
    pub(crate) fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    /// A version by its name.
    pub(crate) fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.name == name)
    }

    /// Do its objects come out of typed code in the real server? Items of such lists do not repeat their kind.
    pub(crate) fn is_typed(&self) -> bool {
        self.nature != Nature::Custom
    }

    /// The hash of the version that objects are stored in: equal hashes are the same objects.
    pub(crate) fn storage_hash(&self) -> Option<String> {
        let (group, version) = match self.nature {
            Nature::Review => return None,
            // As the real server stores them.
            Nature::Event => ("", "v1"),
            Nature::Definition => (&*self.group, "v1beta1"),
            Nature::Custom | Nature::Namespace | Nature::ConfigMap | Nature::Secret | Nature::Lease => {
                (&*self.group, &*self.storage)
            }
        };
        let digest = sha2::Sha256::digest(format!("{group}/{version}/{}", self.kind));
        Some(base64::engine::general_purpose::STANDARD.encode(&digest[..8]))
    }

    pub(crate) fn verbs(&self) -> &'static [&'static str] {
        match self.nature {
            Nature::Review => &["create"],
            Nature::Namespace => &["create", "delete", "get", "list", "patch", "update", "watch"],
            Nature::Custom => CUSTOM_VERBS,
            Nature::ConfigMap | Nature::Secret | Nature::Event | Nature::Lease | Nature::Definition => VERBS,
        }
    }
}

type Map = BTreeMap<(String, String), Arc<Resource>>;

/// All resources; readers take a snapshot.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    map: RwLock<Arc<Map>>,
}

impl Registry {
    pub(crate) fn new(resources: impl IntoIterator<Item = Resource>) -> Self {
        let registry = Self::default();
        for resource in resources {
            registry.insert(resource.into());
        }
        registry
    }

    pub(crate) fn snapshot(&self) -> Arc<Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn insert(&self, resource: Arc<Resource>) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut map).insert((resource.group.clone(), resource.plural.clone()), resource);
    }

    pub(crate) fn remove(&self, group: &str, plural: &str) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut map).remove(&(group.to_owned(), plural.to_owned()));
    }

    pub(crate) fn get(&self, group: &str, plural: &str) -> Option<Arc<Resource>> {
        self.snapshot().get(&(group.to_owned(), plural.to_owned())).cloned()
    }

    /// The resource whose objects have this apiVersion and kind.
    pub(crate) fn by_kind(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        self.snapshot()
            .values()
            .find(|resource| {
                resource.group == group && resource.kind == kind && resource.nature != Nature::Review
            })
            .cloned()
    }

    /// The resource that stores on this shelf.
    pub(crate) fn by_shelf(&self, shelf: &str) -> Option<Arc<Resource>> {
        self.snapshot()
            .values()
            .find(|resource| &*resource.shelf == shelf && resource.nature != Nature::Review)
            .cloned()
    }

    /// Served group versions, each with its resources.
    pub(crate) fn group_versions(&self) -> BTreeMap<(String, String), Vec<Arc<Resource>>> {
        let mut all: BTreeMap<(String, String), Vec<Arc<Resource>>> = BTreeMap::new();
        for resource in self.snapshot().values() {
            for version in resource.versions.iter().filter(|version| version.served) {
                let key = (resource.group.clone(), version.name.clone());
                all.entry(key).or_default().push(resource.clone());
            }
        }
        all
    }
}

/// The name of a shelf.
pub(crate) fn shelf_name(group: &str, plural: &str) -> Arc<str> {
    format!("{group}/{plural}").into()
}

/// The shelf that a definition's objects live on.
pub(crate) fn shelf_of_definition(definition: &Value) -> String {
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{}/{}", text(&spec["group"]), text(&spec["names"]["plural"]))
}

/// The selectable fields of all versions of a definition, without the leading dot.
pub(crate) fn selectable_fields(definition: &Value) -> Arc<[Arc<str>]> {
    let mut paths: Vec<Arc<str>> = Vec::new();
    let fields =
        items(&definition["spec"]["versions"]).flat_map(|version| items(&version["selectableFields"]));
    for path in fields.filter_map(|field| field["jsonPath"].as_str()) {
        let path: Arc<str> = path.trim_start_matches('.').into();
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths.into()
}

/// The selectable fields of a built-in resource.
pub(crate) fn builtin_fields(shelf: &str) -> Arc<[Arc<str>]> {
    let paths: &[&str] = match shelf {
        NAMESPACES => &["status.phase"],
        "/secrets" => &["type"],
        EVENTS => &[
            "involvedObject.apiVersion",
            "involvedObject.fieldPath",
            "involvedObject.kind",
            "involvedObject.name",
            "involvedObject.namespace",
            "involvedObject.resourceVersion",
            "involvedObject.uid",
            "reason",
            "reportingComponent",
            "source.component",
            "type",
        ],
        _ => &[],
    };
    paths.iter().map(|path| Arc::from(*path)).collect()
}
