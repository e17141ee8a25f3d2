//! Sets of fields: a trie of path elements, and its form in `managedFields`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value};

use super::types::{Atom, Type};

/// How deeply a set of fields may be nested: as deeply as JSON may be that we read.
const MAX_DEPTH: usize = 128;

/// One step on the way to a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Element {
    /// A member of a map.
    Field(String),
    /// An item of a keyed list: its keys, as JSON with sorted names.
    Key(String),
    /// An item of a set, as JSON.
    Value(String),
    /// An item by its place (which nothing of ours makes; old objects may have them).
    Index(i64),
}

impl Element {
    /// The element of a keyed list's item.
    pub(super) fn key(keys: &BTreeMap<&str, &Value>) -> Self {
        Self::Key(serde_json::to_string(keys).expect("JSON values can be written as JSON"))
    }

    /// The element of a set's item.
    pub(super) fn value(value: &Value) -> Self {
        Self::Value(value.to_string())
    }

    fn read(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Self::Field(rest.to_owned())),
            "v" => Some(Self::value(&serde_json::from_str(rest).ok()?)),
            "k" => {
                let keys: BTreeMap<String, Value> = serde_json::from_str(rest).ok()?;
                Some(Self::key(&keys.iter().map(|(name, value)| (name.as_str(), value)).collect()))
            }
            "i" => rest.parse().ok().map(Self::Index),
            _ => None,
        }
    }

    pub(super) fn write(&self) -> String {
        match self {
            Self::Field(name) => field_key(name),
            Self::Key(keys) => format!("k:{keys}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }
}

/// A member of a map, as `fieldsV1` names it.
pub(super) fn field_key(name: &str) -> String {
    let mut key = String::with_capacity(2 + name.len());
    key.push_str("f:");
    key.push_str(name);
    key
}

/// As conflicts name it: `.name`, `[name="a"]`, `[="x"]`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Key(keys) => {
                let keys: BTreeMap<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(f, "[{}]", keys.join(","))
            }
        }
    }
}

/// A set of fields. A field's parents are in it only when they were put there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSet {
    members: BTreeSet<Element>,
    /// None of them empty.
    children: BTreeMap<Element, FieldSet>,
}

impl FieldSet {
    /// Adds a field. The empty path is the object itself, which nobody owns.
    pub(super) fn insert(&mut self, path: &[Element]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => match self.children.get_mut(first) {
                Some(below) => below.insert(rest),
                None => self.children.entry(first.clone()).or_default().insert(rest),
            },
        }
    }

    /// No field.
    pub(super) const fn empty() -> Self {
        Self { members: BTreeSet::new(), children: BTreeMap::new() }
    }

    /// A set of fields that are members of members: `["metadata.name", "kind"]`.
    pub(super) fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let path: Vec<Element> = path.iter().map(|name| Element::Field((*name).to_owned())).collect();
            set.insert(&path);
        }
        set
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.is_empty()
    }

    pub(super) fn has_member(&self, element: &Element) -> bool {
        self.members.contains(element)
    }

    /// What of the set lies below that element.
    pub(super) fn below(&self, element: &Element) -> Option<&FieldSet> {
        self.children.get(element)
    }

    pub(super) fn union(mut self, other: &Self) -> Self {
        self.add(other);
        self
    }

    /// Takes in the fields of the other.
    pub(super) fn add(&mut self, other: &Self) {
        self.members.extend(other.members.iter().cloned());
        for (element, theirs) in &other.children {
            match self.children.get_mut(element) {
                Some(ours) => ours.add(theirs),
                None => drop(self.children.insert(element.clone(), theirs.clone())),
            }
        }
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        let members = self.members.intersection(&other.members).cloned().collect();
        let both = |(element, ours): (&Element, &FieldSet)| {
            let common = ours.intersection(other.children.get(element)?);
            (!common.is_empty()).then(|| (element.clone(), common))
        };
        Self { members, children: self.children.iter().filter_map(both).collect() }
    }

    /// Without the other's fields; their children stay.
    pub(super) fn difference(&self, other: &Self) -> Self {
        let members = self.members.difference(&other.members).cloned().collect();
        let rest = |(element, ours): (&Element, &FieldSet)| {
            let rest = match other.children.get(element) {
                None => ours.clone(),
                Some(theirs) => ours.difference(theirs),
            };
            (!rest.is_empty()).then(|| (element.clone(), rest))
        };
        Self { members, children: self.children.iter().filter_map(rest).collect() }
    }

    /// Without the other's fields and all that is below them.
    pub(super) fn difference_with_children(&self, other: &Self) -> Self {
        let members = self.members.difference(&other.members).cloned().collect();
        let rest = |(element, ours): (&Element, &FieldSet)| {
            if other.members.contains(element) {
                return None;
            }
            let rest = match other.children.get(element) {
                None => ours.clone(),
                Some(theirs) => ours.difference_with_children(theirs),
            };
            (!rest.is_empty()).then(|| (element.clone(), rest))
        };
        Self { members, children: self.children.iter().filter_map(rest).collect() }
    }

    /// With the fields that the schema names and that lie on the way to others: `a` of `a.b`, but not a map's keys.
    pub(super) fn with_named_parents(&self, of: Type<'_>) -> Self {
        let mut out = Self { members: self.members.clone(), children: BTreeMap::new() };
        for (element, below) in &self.children {
            let inner = match element {
                Element::Field(name) => {
                    if of.field(name).is_some() {
                        out.members.insert(element.clone());
                    }
                    of.member(name)
                }
                Element::Key(_) => of.item(),
                Element::Value(_) | Element::Index(_) => Type::Deduced,
            };
            out.children.insert(element.clone(), below.with_named_parents(inner));
        }
        out
    }

    /// As the schema is now: where it has come to take a map or list as a whole, the owner of a part owns all of it.
    /// None: nothing has changed. (Where it has come to take the parts one by one, whoever owned the whole keeps its name
    /// and no part of it: nothing tells it from an empty map.)
    pub(super) fn reconciled(&self, of: Type<'_>) -> Option<Self> {
        let mut out = None;
        for (element, below) in &self.children {
            let inner = match (of.atom(None), element) {
                (Atom::Set | Atom::KeyedList, _) => Some(of.item()),
                (_, Element::Field(name)) => of.field(name).or_else(|| of.element()),
                (_, Element::Key(_) | Element::Value(_) | Element::Index(_)) => of.element(),
            };
            let Some(inner) = inner else { continue };
            let whole =
                matches!(inner.atom(None), Atom::WholeList | Atom::WholeMap) && !inner.is_untyped_map();
            if whole {
                let out = out.get_or_insert_with(|| self.clone());
                out.children.remove(element);
                out.members.insert(element.clone());
            } else if let Some(below) = below.reconciled(inner) {
                out.get_or_insert_with(|| self.clone()).children.insert(element.clone(), below);
            }
        }
        out
    }

    /// All paths, as conflicts name them.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.collect_paths("", &mut out);
        out
    }

    fn collect_paths(&self, prefix: &str, out: &mut Vec<String>) {
        out.extend(self.members.iter().map(|element| format!("{prefix}{element}")));
        for (element, below) in &self.children {
            below.collect_paths(&format!("{prefix}{element}"), out);
        }
    }

    /// The `fieldsV1` form.
    pub(super) fn write(&self) -> Value {
        let mut out = Map::new();
        for element in &self.members {
            out.insert(element.write(), Value::Object(Map::new()));
        }
        for (element, below) in &self.children {
            let mut below = match below.write() {
                Value::Object(below) => below,
                _ => Map::new(),
            };
            if self.members.contains(element) {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            out.insert(element.write(), Value::Object(below));
        }
        Value::Object(out)
    }

    /// Reads `fieldsV1`. Elements of unknown kinds are left out, as every server does; none: it is no set of fields.
    pub(super) fn read(fields: &Value) -> Option<Self> {
        Self::read_at(fields, 0)
    }

    fn read_at(fields: &Value, depth: usize) -> Option<Self> {
        if depth > MAX_DEPTH {
            return None;
        }
        let mut out = Self::default();
        for (key, below) in fields.as_object()? {
            let Some(element) = Element::read(key) else { continue };
            let names_itself = below.as_object().is_some_and(|b| b.is_empty() || b.contains_key("."));
            let below = Self::read_at(below, depth + 1)?;
            if names_itself {
                out.members.insert(element.clone());
            }
            if !below.is_empty() {
                out.children.insert(element, below);
            }
        }
        Some(out)
    }
}
