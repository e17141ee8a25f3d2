//! The compiled form of one schema node: what every other file of this crate walks.
//!
//! Only data is here. `compile.rs` makes it; nothing changes it afterwards.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Number, Value};

use crate::formats::Format;
use crate::rules::Rule;

/// The JSON type that a node asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    /// `x-kubernetes-int-or-string`.
    IntOrString,
    /// No type: inside `allOf`, `anyOf`, `oneOf`, `not`, or under preserve-unknown-fields.
    Any,
}

impl Kind {
    /// The name that the API server prints in "must be of type …".
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::IntOrString => "integer,string",
            Self::Any => "",
        }
    }
}

/// What may stand in a map beside the declared properties.
#[derive(Debug)]
pub(crate) enum Additional {
    /// Nothing: it is pruned.
    None,
    /// Anything, unchecked (`additionalProperties: true`).
    Any,
    /// Values of this schema.
    Values(Box<Node>),
}

/// `x-kubernetes-list-type`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ListType {
    Atomic,
    Set,
    /// With its `x-kubernetes-list-map-keys`.
    Map(Vec<String>),
}

/// Limits on a value; absent ones are not checked.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub(crate) max_length: Option<u64>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_properties: Option<u64>,
    pub(crate) min_properties: Option<u64>,
    pub(crate) maximum: Option<Number>,
    pub(crate) exclusive_maximum: bool,
    pub(crate) minimum: Option<Number>,
    pub(crate) exclusive_minimum: bool,
    pub(crate) multiple_of: Option<f64>,
    /// The pattern as written, and compiled.
    pub(crate) pattern: Option<(String, Regex)>,
    pub(crate) format: Option<Format>,
    /// Allowed values; empty: any.
    pub(crate) choices: Vec<Value>,
}

/// One node of a schema.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) nullable: bool,
    pub(crate) preserve_unknown: bool,
    /// An object with apiVersion, kind and metadata of its own, like the root.
    pub(crate) embedded: bool,
    pub(crate) properties: BTreeMap<String, Node>,
    pub(crate) additional: Additional,
    pub(crate) items: Option<Box<Node>>,
    pub(crate) required: Vec<String>,
    pub(crate) limits: Limits,
    pub(crate) all_of: Vec<Node>,
    pub(crate) any_of: Vec<Node>,
    pub(crate) one_of: Vec<Node>,
    pub(crate) not: Option<Box<Node>>,
    pub(crate) list_type: ListType,
    pub(crate) default: Option<Value>,
    pub(crate) rules: Vec<Rule>,
    /// Whether this node or one below it has rules: the others are not walked.
    pub(crate) has_rules: bool,
    /// Whether this node or one below it is a list of type set or map.
    pub(crate) has_keyed_lists: bool,
}

impl Node {
    /// The schema of a member of an object, if there is one.
    pub(crate) fn member(&self, name: &str) -> Option<&Node> {
        self.properties.get(name).or(match &self.additional {
            Additional::Values(values) => Some(values),
            Additional::None | Additional::Any => None,
        })
    }

    /// All nodes directly below this one that describe members and items.
    pub(crate) fn children(&self) -> impl Iterator<Item = &Node> {
        let values = match &self.additional {
            Additional::Values(values) => Some(&**values),
            Additional::None | Additional::Any => None,
        };
        self.properties.values().chain(values).chain(self.items.as_deref())
    }

    /// The item of an older list that is the same item as this one, by the map list's keys.
    ///
    /// Items of other lists have no identity, so nothing in them can be compared over time.
    pub(crate) fn older_item<'v>(&self, item: &Value, old: Option<&'v Value>) -> Option<&'v Value> {
        let ListType::Map(keys) = &self.list_type else { return None };
        let same = |other: &&Value| keys.iter().all(|key| other.get(key) == item.get(key));
        old?.as_array()?.iter().find(same)
    }
}

/// The path of a member, as the API server prints it.
pub(crate) fn member_path(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
