//! Who owns which fields: the entries of `metadata.managedFields`.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Manager;
use super::set::FieldSet;
use super::types::Type;

/// How many entries of updates an object may have before the oldest are folded together, as in Kubernetes.
const MAX_UPDATERS: usize = 10;

/// Who owns what the oldest updaters owned.
const ANCIENT: &str = "ancient-changes";

/// How fields came to be owned. In the order in which entries are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What makes two entries the same one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) name: String,
    pub(super) operation: Operation,
    /// Empty for Apply: an applier is the same whatever version it applies.
    pub(super) api_version: String,
    pub(super) subresource: String,
}

impl Id {
    pub(super) fn new(manager: &Manager<'_>, operation: Operation) -> Self {
        let name = if manager.name.is_empty() { "unknown" } else { manager.name };
        Self {
            name: name.to_owned(),
            operation,
            api_version: match operation {
                Operation::Apply => String::new(),
                Operation::Update => manager.api_version.to_owned(),
            },
            subresource: manager.subresource.to_owned(),
        }
    }
}

/// As conflicts name it: `"m"`, `"m" with subresource "status"`, `"m" using v1`.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.name)?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {:?}", self.subresource)?;
        }
        match self.operation {
            Operation::Apply => Ok(()),
            Operation::Update => write!(f, " using {}", self.api_version),
        }
    }
}

/// What one manager owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owned {
    pub(super) api_version: String,
    pub(super) fields: FieldSet,
    /// When the fields last changed.
    pub(super) time: Option<Timestamp>,
}

/// All managers of an object.
pub(super) type Managers = BTreeMap<Id, Owned>;

/// The managers that an object lists; none if the list makes no sense.
pub(super) fn read(object: &Value) -> Option<Managers> {
    let Some(list) = object.get("metadata").and_then(|metadata| metadata.get("managedFields")) else {
        return Some(Managers::new());
    };
    if list.is_null() {
        return Some(Managers::new());
    }
    list.as_array()?.iter().map(read_entry).collect()
}

fn read_entry(entry: &Value) -> Option<(Id, Owned)> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let operation = match text("operation").as_str() {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return None,
    };
    if text("fieldsType") != "FieldsV1" {
        return None;
    }
    let fields = match entry.get("fieldsV1") {
        None => FieldSet::default(),
        Some(fields) => FieldSet::read(fields)?,
    };
    let manager = Manager {
        name: &text("manager"),
        api_version: &text("apiVersion"),
        subresource: &text("subresource"),
        now: Timestamp::UNIX_EPOCH,
    };
    let owned = Owned { api_version: text("apiVersion"), fields, time: text("time").parse().ok() };
    Some((Id::new(&manager, operation), owned))
}

/// Makes of what was owned what it is by the present schema.
pub(super) fn reconcile(of: Type<'_>, managers: &mut Managers) {
    for owned in managers.values_mut() {
        if let Some(fields) = owned.fields.reconciled(of) {
            owned.fields = fields;
        }
    }
}

/// Lists the managers in an object, in Kubernetes' order: operation, time, name, version, subresource.
pub(super) fn write(object: &mut Value, managers: &Managers) {
    let Value::Object(object) = object else { return };
    if managers.is_empty() {
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.remove("managedFields");
        }
        return;
    }
    let mut sorted: Vec<(&Id, &Owned)> = managers.iter().collect();
    sorted.sort_by_key(|(id, owned)| {
        let seconds = owned.time.map_or(0, Timestamp::as_second);
        (id.operation, seconds, &id.name, &owned.api_version, &id.subresource)
    });
    let entry =
        |(id, owned): (&Id, &Owned)| write_entry(id, &owned.api_version, owned.fields.write(), owned.time);
    put(object, sorted.into_iter().map(entry).collect());
}

/// Lists whoever made an object as its one manager, if it owns anything.
pub(super) fn write_first(object: &mut Value, m: &Manager<'_>, fields: Map<String, Value>) {
    let Value::Object(object) = object else { return };
    if !fields.is_empty() {
        let id = Id::new(m, Operation::Update);
        put(object, vec![write_entry(&id, m.api_version, Value::Object(fields), Some(m.now))]);
    }
}

fn put(object: &mut Map<String, Value>, entries: Vec<Value>) {
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(metadata) = metadata {
        metadata.insert("managedFields".to_owned(), Value::Array(entries));
    }
}

fn write_entry(id: &Id, api_version: &str, fields: Value, time: Option<Timestamp>) -> Value {
    let mut entry = Map::new();
    let mut put = |key: &str, value: Value| drop(entry.insert(key.to_owned(), value));
    put("manager", id.name.as_str().into());
    put("operation", id.operation.name().into());
    put("apiVersion", api_version.into());
    put("fieldsType", "FieldsV1".into());
    put("fieldsV1", fields);
    if let Some(time) = time {
        put("time", format!("{time:.0}").into());
    }
    if !id.subresource.is_empty() {
        put("subresource", id.subresource.as_str().into());
    }
    Value::Object(entry)
}

/// Folds the oldest updaters of each version together while there are too many of them.
pub(super) fn cap(managers: &mut Managers) {
    let mut updaters: Vec<(i64, Id)> = managers
        .iter()
        .filter(|(id, _)| id.operation == Operation::Update)
        .map(|(id, owned)| (owned.time.map_or(0, Timestamp::as_second), id.clone()))
        .collect();
    let mut count = updaters.len();
    updaters.sort();
    let mut first_of_version: BTreeMap<String, Id> = BTreeMap::new();
    for (_, id) in updaters {
        if count <= MAX_UPDATERS {
            return;
        }
        let Some(version) = managers.get(&id).map(|owned| owned.api_version.clone()) else { continue };
        let bucket = Id {
            name: ANCIENT.to_owned(),
            operation: Operation::Update,
            api_version: version.clone(),
            subresource: String::new(),
        };
        let Some(first) = first_of_version.get(&version) else {
            first_of_version.insert(version, id);
            continue;
        };
        if !managers.contains_key(&bucket)
            && let Some(owned) = managers.remove(first)
        {
            managers.insert(bucket.clone(), owned);
        }
        if let Some(owned) = managers.remove(&id) {
            managers.entry(bucket).and_modify(|old| {
                old.fields.add(&owned.fields);
                old.time = owned.time;
            });
            count -= 1;
        }
    }
}
