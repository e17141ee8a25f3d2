//! An object as the store keeps it: its JSON bytes, and the metadata that lists, watches, selectors and the
//! collector ask for again and again, parsed once.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::json;

/// Bytes that most objects take at most: to write one does not begin small and move again and again.
const OBJECT: usize = 8 << 10;

/// A stored object; shared by the store, the event rings and every watcher.
#[derive(Debug)]
pub(crate) struct Stored {
    /// The JSON text in the storage version, resourceVersion included.
    pub body: Bytes,
    /// What was parsed of it.
    pub meta: Meta,
}

/// Parsed metadata.
#[derive(Debug, Default)]
pub(crate) struct Meta {
    /// `metadata.name`.
    pub name: Box<str>,
    /// `metadata.namespace`, empty for cluster-scoped kinds.
    pub namespace: Box<str>,
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// `metadata.resourceVersion`.
    pub version: u64,
    /// `apiVersion` of the stored bytes.
    pub api_version: Box<str>,
    /// Labels, sorted by key.
    pub labels: Box<[(Box<str>, Box<str>)]>,
    /// Has it a deletionTimestamp?
    pub deleting: bool,
    /// `metadata.finalizers`.
    pub finalizers: Box<[Box<str>]>,
    /// `metadata.ownerReferences`.
    pub owners: Box<[Owner]>,
    /// Values of the kind's selectable fields, by path, as they were when the object was written.
    pub fields: Box<[(Arc<str>, Box<str>)]>,
}

/// One owner reference.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    /// Of the owner.
    pub api_version: Box<str>,
    /// Of the owner.
    pub kind: Box<str>,
    /// Of the owner.
    pub name: Box<str>,
    /// Of the owner.
    pub uid: Box<str>,
}

impl Stored {
    /// What the store wrote; `fields` are the selectable paths of the kind.
    pub(crate) fn read(body: Bytes, fields: &[Arc<str>]) -> Result<Self, serde_json::Error> {
        let meta = Meta::of(&serde_json::from_slice(&body)?, fields);
        Ok(Self { body, meta })
    }

    /// The object again.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the store keeps only what it serialised itself")
    }

    /// The value of a selectable field; empty where the object has none.
    pub(crate) fn field(&self, path: &str) -> String {
        match path {
            "metadata.name" => self.meta.name.to_string(),
            "metadata.namespace" => self.meta.namespace.to_string(),
            _ => match self.meta.fields.iter().find(|(known, _)| &**known == path) {
                Some((_, value)) => value.to_string(),
                // Written before the kind made this field selectable.
                None => field_text(&self.value(), path),
            },
        }
    }
}

/// An object on its way to the store: written as far as it can be before the writer gives it a version, so that the one
/// thread that all writes share has little to do for it.
pub(crate) struct Draft {
    text: String,
    /// Where in the text the version goes.
    gap: usize,
    meta: Meta,
}

impl Draft {
    pub(crate) fn new(mut object: Value, fields: &[Arc<str>]) -> Self {
        object["metadata"]["resourceVersion"] = "".into();
        let (mut text, mut gap) = (String::with_capacity(OBJECT), 0);
        json::write_members(&mut text, &object, |text, name, value| match name {
            "metadata" => json::write_members(text, value, |text, name, value| {
                if name == "resourceVersion" {
                    gap = text.len() + 1;
                }
                json::write(text, value);
            }),
            _ => json::write(text, value),
        });
        Self { text, gap, meta: Meta::of(&object, fields) }
    }

    /// Bytes of the object, but for its version.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// The object with its version.
    pub(crate) fn stored(self, version: u64) -> Stored {
        let (before, after) = self.text.split_at(self.gap);
        // A copy of the right size: what grew to hold it is up to twice as large, and an object may be kept for ever.
        let body = [before, &version.to_string(), after].concat();
        Stored { body: body.into(), meta: Meta { version, ..self.meta } }
    }
}

impl Meta {
    fn of(object: &Value, fields: &[Arc<str>]) -> Self {
        let meta = &object["metadata"];
        let text = |value: &Value| -> Box<str> { value.as_str().unwrap_or_default().into() };
        let mut labels: Vec<(Box<str>, Box<str>)> = meta["labels"]
            .as_object()
            .map(|labels| labels.iter().map(|(k, v)| (k.as_str().into(), text(v))).collect())
            .unwrap_or_default();
        labels.sort();
        Self {
            name: text(&meta["name"]),
            namespace: text(&meta["namespace"]),
            uid: text(&meta["uid"]),
            version: version_of(object).unwrap_or_default(),
            api_version: text(&object["apiVersion"]),
            labels: labels.into(),
            deleting: meta["deletionTimestamp"].is_string(),
            finalizers: items(&meta["finalizers"]).map(&text).collect(),
            owners: items(&meta["ownerReferences"])
                .map(|owner| Owner {
                    api_version: text(&owner["apiVersion"]),
                    kind: text(&owner["kind"]),
                    name: text(&owner["name"]),
                    uid: text(&owner["uid"]),
                })
                .collect(),
            fields: fields
                .iter()
                .map(|path| (path.clone(), field_text(object, path).into_boxed_str()))
                .collect(),
        }
    }

    /// A label's value.
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.labels.binary_search_by(|(k, _)| (**k).cmp(key)).ok().map(|index| &*self.labels[index].1)
    }
}

/// The items of a list, none if it is not one.
pub(crate) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A field by its dotted path, as text: strings bare, other scalars as JSON, nothing as "".
pub(crate) fn field_text(object: &Value, path: &str) -> String {
    let mut at = object;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        at = &at[part];
    }
    match at {
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => at.to_string(),
    }
}

/// `metadata.resourceVersion` as a number.
pub(crate) fn version_of(object: &Value) -> Option<u64> {
    object["metadata"]["resourceVersion"].as_str()?.parse().ok()
}

/// The key of an object on its shelf, in the order in which etcd would list it.
pub(crate) fn key_of(namespace: &str, name: &str) -> Box<str> {
    if namespace.is_empty() { name.into() } else { format!("{namespace}/{name}").into() }
}
