//! Values with their places, and where in them a field stands.

use serde_json::{Map, Number, Value};

/// A place in a file, from 1; the default is no place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// A value and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) at: Place,
    pub(crate) node: Node,
}

#[derive(Clone, Debug)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Placed>),
    Map(Vec<Entry>),
}

/// One entry of a mapping.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) at: Place,
    pub(crate) value: Placed,
}

impl Placed {
    /// The value alone.
    pub(crate) fn to_value(&self) -> Value {
        match &self.node {
            Node::Null => Value::Null,
            Node::Bool(value) => Value::Bool(*value),
            Node::Number(value) => Value::Number(value.clone()),
            Node::Text(value) => Value::String(value.clone()),
            Node::List(items) => Value::Array(items.iter().map(Placed::to_value).collect()),
            Node::Map(entries) => {
                let members = entries.iter().map(|entry| (entry.key.clone(), entry.value.to_value()));
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }

    /// An entry of a mapping.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.node {
            Node::Map(entries) => entries.iter().find(|entry| entry.key == key),
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::Text(_) | Node::List(_) => None,
        }
    }

    /// The text of an entry, if it is one.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match &self.entry(key)?.value.node {
            Node::Text(text) => Some(text),
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::List(_) | Node::Map(_) => None,
        }
    }

    /// Where a field stands (`spec.packages[2].version`, `metadata.labels[a.b/c]`): a simple value's own place, a
    /// collection's key; what is not there is at the nearest thing around it that is.
    pub(crate) fn find(&self, path: &str) -> Place {
        let (value, key) = self.walk(path);
        match value.node {
            Node::List(_) | Node::Map(_) | Node::Null => key,
            Node::Bool(_) | Node::Number(_) | Node::Text(_) => value.at,
        }
    }

    /// Where a field's key stands, as [`Self::find`] does for its value.
    pub(crate) fn find_key(&self, path: &str) -> Place {
        self.walk(path).1
    }

    fn walk(&self, path: &str) -> (&Placed, Place) {
        let (mut here, mut key, mut rest) = (self, self.at, path);
        while !rest.is_empty() {
            let Some((next, next_key, left)) = here.descend(rest) else { break };
            (here, key, rest) = (next, next_key, left);
        }
        (here, key)
    }

    /// One step down: the value, its key's place, and what is left of the path.
    fn descend<'a>(&self, path: &'a str) -> Option<(&Placed, Place, &'a str)> {
        let path = path.strip_prefix('.').unwrap_or(path);
        match &self.node {
            Node::List(items) => {
                let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
                let item = items.get(index.parse::<usize>().ok()?)?;
                Some((item, item.at, rest))
            }
            Node::Map(entries) => {
                let fits = |entry: &&Entry| {
                    let bare = path.strip_prefix(entry.key.as_str());
                    bare.filter(|rest| rest.is_empty() || rest.starts_with(['.', '['])).is_some()
                };
                // A key may hold dots itself, so the longest that fits is meant.
                let bare = entries.iter().filter(fits).max_by_key(|entry| entry.key.len());
                let (entry, rest) = match bare {
                    Some(entry) => (entry, &path[entry.key.len()..]),
                    None => {
                        let (key, rest) = path.strip_prefix('[')?.split_once(']')?;
                        (entries.iter().find(|entry| entry.key == key.trim_matches('"'))?, rest)
                    }
                };
                Some((&entry.value, entry.at, rest))
            }
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::Text(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::yaml::parse;

    #[test]
    fn fields_are_found_by_their_paths() {
        let text = "kind: X\nspec:\n  packages:\n    - name: a\n      version: '1'\n    - {name: b, version: 2}\nmetadata:\n  labels:\n    a.b/c: d\n";
        let (documents, _) = parse(text);
        let find = |path| {
            let Place { line, column } = documents[0].find(path);
            (line, column)
        };
        assert_eq!(find("spec.packages[0].version"), (5, 16));
        assert_eq!(find("spec.packages[1].version"), (6, 26));
        assert_eq!(find("spec.packages"), (3, 3));
        assert_eq!(find("spec.machineSelector"), (2, 1));
        assert_eq!(find("metadata.labels.a.b/c"), (9, 12));
        assert_eq!(find("metadata.labels[a.b/c]"), (9, 12));
        assert_eq!(find("nothing"), (1, 1));
        assert_eq!(documents[0].to_value()["spec"]["packages"][1], json!({"name": "b", "version": 2}));
    }
}
