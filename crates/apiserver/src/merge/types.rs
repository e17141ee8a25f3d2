//! What a field is, for merging: a scalar, a list or a map, whole or in parts.
//!
//! Read straight from a CustomResourceDefinition's schema; metadata has the types that Kubernetes gives it; what has no
//! schema is deduced from the value (maps in parts, lists whole).

use serde_json::Value;

/// The type of a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Type<'s> {
    /// A whole object, with its schema if there is one.
    Root(Option<&'s Value>),
    /// What that schema describes.
    Schema(&'s Value),
    Metadata,
    Text,
    /// Labels, annotations.
    TextMap,
    /// Finalizers.
    TextSet,
    /// Owner references, by uid.
    Owners,
    /// One owner reference, which is whole.
    Owner,
    /// Whatever the value is.
    Deduced,
}

/// How a value of some type is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Atom {
    /// One value, owned as such.
    Leaf(Scalar),
    /// Owned as a whole, though it is a list or a map.
    WholeList,
    WholeMap,
    /// Owned item by item.
    Set,
    KeyedList,
    Map,
}

/// What a scalar may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Text,
    Numeric,
    Boolean,
    Any,
}

impl<'s> Type<'s> {
    /// How this value of this type is walked; without a value, as a map where that is possible.
    pub(super) fn atom(self, value: Option<&Value>) -> Atom {
        match self {
            Self::Root(_) | Self::Metadata | Self::TextMap => Atom::Map,
            Self::Text => Atom::Leaf(Scalar::Text),
            Self::TextSet => Atom::Set,
            Self::Owners => Atom::KeyedList,
            Self::Owner => Atom::WholeMap,
            Self::Deduced => match value {
                None | Some(Value::Null | Value::Object(_)) => Atom::Map,
                Some(Value::Array(_)) => Atom::WholeList,
                Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) => Atom::Leaf(Scalar::Any),
            },
            Self::Schema(schema) => schema_atom(schema, value),
        }
    }

    /// The type of a member that the schema names.
    pub(super) fn field(self, name: &str) -> Option<Type<'s>> {
        match self {
            Self::Root(schema) => {
                resource_field(name).or_else(|| Some(Self::Schema(schema?.get("properties")?.get(name)?)))
            }
            Self::Schema(schema) => {
                let embedded = schema.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true));
                let of_resource = if embedded { resource_field(name) } else { None };
                of_resource.or_else(|| Some(Self::Schema(schema.get("properties")?.get(name)?)))
            }
            Self::Metadata => Some(match name {
                "labels" | "annotations" => Self::TextMap,
                "finalizers" => Self::TextSet,
                "ownerReferences" => Self::Owners,
                "generation" | "deletionGracePeriodSeconds" | "managedFields" => Self::Deduced,
                "name" | "generateName" | "namespace" | "uid" | "resourceVersion" | "selfLink"
                | "creationTimestamp" | "deletionTimestamp" => Self::Text,
                _ => return None,
            }),
            Self::Text | Self::TextMap | Self::TextSet | Self::Owners | Self::Owner | Self::Deduced => None,
        }
    }

    /// The type of members that the schema does not name; none: there may not be any.
    pub(super) fn element(self) -> Option<Type<'s>> {
        match self {
            Self::Root(None) | Self::Deduced | Self::Owner => Some(Self::Deduced),
            Self::Root(Some(schema)) | Self::Schema(schema) => {
                match schema.get("additionalProperties") {
                    Some(values @ Value::Object(_)) => return Some(Self::Schema(values)),
                    Some(Value::Bool(true)) => return Some(Self::Deduced),
                    _ => {}
                }
                let preserved =
                    schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
                let untyped = schema.get("type").is_none();
                (preserved || untyped).then_some(Self::Deduced)
            }
            Self::TextMap => Some(Self::Text),
            Self::Metadata | Self::Text | Self::TextSet | Self::Owners => None,
        }
    }

    /// A map of which the schema says nothing but that it may hold anything.
    pub(super) fn is_untyped_map(self) -> bool {
        let names = |schema: &Value| schema.get("properties").is_some();
        matches!(self, Self::Schema(schema) if !names(schema))
            && matches!(self.element(), Some(Self::Deduced))
    }

    /// The type of a member, whatever the schema says of it.
    pub(super) fn member(self, name: &str) -> Type<'s> {
        self.field(name).or_else(|| self.element()).unwrap_or(Self::Deduced)
    }

    /// The type of a list's items.
    pub(super) fn item(self) -> Type<'s> {
        match self {
            Self::TextSet => Self::Text,
            Self::Owners => Self::Owner,
            Self::Schema(schema) => schema.get("items").map_or(Self::Deduced, Self::Schema),
            _ => Self::Deduced,
        }
    }

    /// The names of the fields that identify an item of a keyed list.
    pub(super) fn keys(self) -> Vec<&'s str> {
        match self {
            Self::Owners => vec!["uid"],
            Self::Schema(schema) => {
                let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
                keys.into_iter().flatten().filter_map(Value::as_str).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The default of a field that identifies items.
    pub(super) fn default_of(self, key: &str) -> Option<&'s Value> {
        match self {
            Self::Schema(schema) => schema.get("items")?.get("properties")?.get(key)?.get("default"),
            _ => None,
        }
    }
}

fn resource_field<'s>(name: &str) -> Option<Type<'s>> {
    match name {
        "apiVersion" | "kind" => Some(Type::Text),
        "metadata" => Some(Type::Metadata),
        _ => None,
    }
}

fn schema_atom(schema: &Value, value: Option<&Value>) -> Atom {
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        return Atom::Leaf(Scalar::Any);
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => match schema.get("x-kubernetes-map-type").and_then(Value::as_str) {
            Some("atomic") => Atom::WholeMap,
            _ => Atom::Map,
        },
        Some("array") => match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("map") => Atom::KeyedList,
            Some("set") => Atom::Set,
            _ => Atom::WholeList,
        },
        Some("string") => Atom::Leaf(Scalar::Text),
        Some("integer" | "number") => Atom::Leaf(Scalar::Numeric),
        Some("boolean") => Atom::Leaf(Scalar::Boolean),
        _ => Type::Deduced.atom(value),
    }
}
