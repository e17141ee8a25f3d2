//! Which fields differ between two objects?

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::element_of;
use super::set::{Element, FieldSet};
use super::types::{Atom, Type};

/// The difference between two objects. No field is in two of the sets.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) removed: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) added: FieldSet,
}

impl Comparison {
    /// Without those fields and what is below them.
    pub(super) fn excluding(self, fields: &FieldSet) -> Self {
        if fields.is_empty() {
            return self;
        }
        Self {
            removed: self.removed.difference_with_children(fields),
            modified: self.modified.difference_with_children(fields),
            added: self.added.difference_with_children(fields),
        }
    }
}

/// Compares two objects of one type.
pub(super) fn compare(of: Type<'_>, old: &Value, new: &Value) -> Comparison {
    let mut walk = Walk { path: Vec::new(), found: Comparison::default() };
    walk.value(of, Some(old), Some(new));
    walk.found
}

struct Walk {
    path: Vec<Element>,
    found: Comparison,
}

impl Walk {
    fn value(&mut self, of: Type<'_>, old: Option<&Value>, new: Option<&Value>) {
        let was = of.atom(old);
        let is = of.atom(new);
        let was_leaf = match (old, new) {
            (_, None) => self.atom(was, of, old, new),
            (None, _) => self.atom(is, of, old, new),
            _ if was == is => self.atom(is, of, old, new),
            // A map became a scalar, or the like: what was in it is gone, and the field has changed.
            _ => {
                self.atom(was, of, old, new);
                self.atom(is, of, old, new)
            }
        };
        if !was_leaf {
            match (old, new) {
                (None, _) => self.found.added.insert(&self.path),
                (_, None) => self.found.removed.insert(&self.path),
                _ => {}
            }
        }
    }

    /// Compares as that kind of value; true if it was compared as a whole.
    fn atom(&mut self, atom: Atom, of: Type<'_>, old: Option<&Value>, new: Option<&Value>) -> bool {
        let empty = |value: Option<&Value>| match value {
            Some(Value::Array(items)) => items.is_empty() || atom == Atom::Map,
            Some(Value::Object(members)) => members.is_empty() || atom != Atom::Map,
            _ => true,
        };
        let whole = matches!(atom, Atom::Leaf(_) | Atom::WholeList | Atom::WholeMap);
        if whole || (empty(old) && empty(new)) {
            self.leaf(old, new);
            return true;
        }
        match atom {
            Atom::Map => self.members(of, old, new),
            _ => self.items(of, old, new),
        }
        false
    }

    fn leaf(&mut self, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            (None, _) => self.found.added.insert(&self.path),
            (_, None) => self.found.removed.insert(&self.path),
            (Some(old), Some(new)) if old != new => self.found.modified.insert(&self.path),
            _ => {}
        }
    }

    fn members(&mut self, of: Type<'_>, old: Option<&Value>, new: Option<&Value>) {
        let old = old.and_then(Value::as_object);
        let new = new.and_then(Value::as_object);
        let mut names: Vec<&String> = old.into_iter().chain(new).flat_map(|members| members.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            self.path.push(Element::Field(name.clone()));
            self.value(of.member(name), old.and_then(|o| o.get(name)), new.and_then(|n| n.get(name)));
            self.path.pop();
        }
    }

    fn items(&mut self, of: Type<'_>, old: Option<&Value>, new: Option<&Value>) {
        let mut pairs: BTreeMap<Element, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
        for item in old.and_then(Value::as_array).into_iter().flatten() {
            if let Ok(element) = element_of(of, item) {
                pairs.entry(element).or_default().0.push(item);
            }
        }
        for item in new.and_then(Value::as_array).into_iter().flatten() {
            if let Ok(element) = element_of(of, item) {
                pairs.entry(element).or_default().1.push(item);
            }
        }
        for (element, (old, new)) in pairs {
            self.path.push(element);
            match (&*old, &*new) {
                ([] | [_], [] | [_]) => self.value(of.item(), old.first().copied(), new.first().copied()),
                // Repeated items, which an update may leave behind, are owned together.
                ([_, _, ..], [_, _, ..]) => {
                    if old != new {
                        self.found.modified.insert(&self.path);
                    }
                }
                ([_, _, ..], _) => {
                    if let Some(new) = new.first() {
                        self.value(of.item(), None, Some(new));
                    }
                    self.found.removed.insert(&self.path);
                }
                (_, _) => {
                    if let Some(old) = old.first() {
                        self.value(of.item(), Some(old), None);
                    }
                    self.found.added.insert(&self.path);
                }
            }
            self.path.pop();
        }
    }
}
