//! Server-side apply and managed fields, as functions of values.
//!
//! [`apply`] merges a configuration into an object and says who owns what; [`update`] says it after any other write.
//! The rules are those of Kubernetes (KEP-555 and its implementation): each manager owns the fields that it set; a
//! manager that applies must not change what another owns, unless it forces; what it stops applying goes, unless
//! another owns it too.
//!
//! Deliberately not here: identity checks (name, uid, resourceVersion of a configuration), defaults, pruning,
//! validation and generation, which the server does around these functions; conversion between versions (our
//! definitions have one schema for all their versions); kubectl's `last-applied-configuration` annotation.

mod check;
mod combine;
mod compare;
mod fields;
mod made;
mod managers;
#[cfg(all(test, feature = "oracle"))]
mod oracle;
mod set;
#[cfg(test)]
mod tests;
mod types;

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use muster_schema::CompiledSchema;
use serde_json::{Value, json};

use fields::{fields_of, restore_emptied, without};
use managers::{Id, Managers, Operation, Owned};
use set::FieldSet;
use types::Type;

/// Who owns the fields of an object that was written before anybody tracked it, once somebody applies.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// What decides how objects of a kind are merged.
#[derive(Debug)]
pub(crate) struct FieldRules {
    /// The kind's schema. None: types are deduced from values (maps in parts, lists whole).
    pub(crate) schema: Option<Arc<CompiledSchema>>,
    /// Whether the kind has a status subresource, so that the main endpoint leaves the status alone.
    pub(crate) has_status: bool,
    /// What even an empty object of the kind has, and so nobody owns for having made it: the members of the real
    /// server's types that cannot be absent.
    pub(crate) skeleton: Value,
}

/// Who writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manager<'a> {
    /// The field manager's name.
    pub(crate) name: &'a str,
    /// The version that it writes, as `muster.dev/v1alpha1`.
    pub(crate) api_version: &'a str,
    /// `""` or `"status"`.
    pub(crate) subresource: &'a str,
    /// When.
    pub(crate) now: Timestamp,
}

/// Why a configuration was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MergeError {
    /// Other managers own fields that the configuration would change: who (as `"m" using v1`), and which field. By manager,
    /// then by field. Displays as the API server's message.
    #[error("{}", conflict_message(.0))]
    Conflict(Vec<(String, String)>),
    /// The configuration does not fit the schema; the text is what follows "failed to create typed patch object (…): ".
    #[error("{0}")]
    Invalid(String),
}

fn conflict_message(conflicts: &[(String, String)]) -> String {
    if let [(manager, path)] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {manager}: {path}");
    }
    let mut lines = Vec::new();
    let mut last = None;
    for (manager, path) in conflicts {
        if last != Some(manager) {
            lines.push(format!("conflicts with {manager}:"));
            last = Some(manager);
        }
        lines.push(format!("- {path}"));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

/// The live object with the configuration applied, its managed fields included.
///
/// When nothing changes, the result is the live object itself. Metadata that only the server sets (uid, times,
/// versions, name) is the live object's, whatever the configuration says.
///
/// # Errors
///
/// [`MergeError::Conflict`] when another manager owns something that would change, unless `force`;
/// [`MergeError::Invalid`] when the configuration is not of the kind's type.
pub(crate) fn apply(
    rules: &FieldRules,
    live: Option<&Value>,
    config: &Value,
    m: &Manager<'_>,
    force: bool,
) -> Result<Value, MergeError> {
    let root = rules.root();
    if config.pointer("/metadata/managedFields").is_some_and(|list| !list.is_null()) {
        return Err(MergeError::Invalid("metadata.managedFields must be nil".to_owned()));
    }
    check::check(root, config, "").map_err(MergeError::Invalid)?;
    let empty = json!({"apiVersion": config.get("apiVersion"), "kind": config.get("kind")});
    let before = without_managers(live.unwrap_or(&empty));
    let former = live.and_then(managers::read).unwrap_or_default();
    let mut managers = former.clone();
    managers::reconcile(root, &mut managers);
    if managers.is_empty() && live.is_some() {
        let first = Manager { name: BEFORE_FIRST_APPLY, ..*m };
        track(rules, &empty, &before, &mut managers, &first);
    }
    let me = Id::new(m, Operation::Apply);
    let last = managers.get(&me).cloned();
    let ignored = rules.ignored(m.subresource);
    let own = Owned {
        api_version: m.api_version.to_owned(),
        fields: fields_of(root, config).difference_with_children(ignored),
        time: last.as_ref().and_then(|last| last.time),
    };
    managers.insert(me.clone(), own);
    let whole = combine::combine(root, &before, config);
    let mut merged = match &last {
        None => whole.clone(),
        Some(last) => prune(root, &whole, &managers, &last.fields),
    };
    take(rules, &before, &merged, &mut managers, &me, m.subresource, force)?;
    strip_own(&mut managers, &me);
    restore_emptied(&whole, &mut merged);
    rules.keep_ignored(&before, &mut merged, m.subresource, live.is_some());
    if let Some(live) = live
        && merged == before
        && same_owners(&managers, &former)
    {
        return Ok(live.clone());
    }
    // Who comes to own what is so already has changed nothing, and at no time.
    if let Some(own) = managers.get_mut(&me).filter(|_| merged != before) {
        own.time = Some(m.now);
    }
    managers::write(&mut merged, &managers);
    Ok(merged)
}

/// The new object with its managed fields, after a create, update or patch.
///
/// `new` may carry managed fields of its own: `[{}]` gives tracking up, a readable list replaces the live one (not
/// through a subresource), anything else is ignored, so that clients that do not know the field cannot lose it.
pub(crate) fn update(rules: &FieldRules, live: Option<&Value>, mut new: Value, m: &Manager<'_>) -> Value {
    let mut managers = live_or_new(live, &new, m);
    managers::reconcile(rules.root(), &mut managers);
    drop_managers(&mut new);
    let before = match live {
        Some(_) if managers.is_empty() => return new,
        None if managers.is_empty() => {
            let fields = made::fields(rules.root(), &rules.skeleton, &new, rules.has_status);
            managers::write_first(&mut new, m, fields);
            return new;
        }
        Some(live) => without_managers(live),
        None => {
            let mut empty = json!({"apiVersion": new.get("apiVersion"), "kind": new.get("kind")});
            json_patch::merge(&mut empty, &rules.skeleton);
            empty
        }
    };
    track(rules, &before, &new, &mut managers, m);
    managers::cap(&mut managers);
    managers::write(&mut new, &managers);
    new
}

/// Whether two objects are the same but for the times in their managed fields, so that nothing need be written.
pub(crate) fn same_but_times(a: &Value, b: &Value) -> bool {
    let (Some(of_a), Some(of_b)) = (managers::read(a), managers::read(b)) else { return a == b };
    same_owners(&of_a, &of_b) && without_managers(a) == without_managers(b)
}

impl FieldRules {
    fn root(&self) -> Type<'_> {
        Type::Root(self.schema.as_deref().map(CompiledSchema::raw))
    }

    /// What a write through that endpoint cannot change, and so nobody owns by it.
    fn ignored(&self, subresource: &str) -> &'static FieldSet {
        static BY_STATUS: LazyLock<FieldSet> =
            LazyLock::new(|| FieldSet::of_fields(&[&["metadata"], &["spec"]]));
        static BESIDE_STATUS: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of_fields(&[&["status"]]));
        static NOTHING: FieldSet = FieldSet::empty();
        match (subresource, self.has_status) {
            ("status", _) => &BY_STATUS,
            (_, true) => &BESIDE_STATUS,
            (_, false) => &NOTHING,
        }
    }

    /// Puts back what a write through that endpoint cannot change.
    fn keep_ignored(&self, before: &Value, merged: &mut Value, subresource: &str, exists: bool) {
        let Value::Object(members) = merged else { return };
        if subresource == "status" {
            let status = members.remove("status");
            let Value::Object(kept) = before else { return };
            *members = kept.clone();
            members.remove("status");
            members.extend(status.map(|status| ("status".to_owned(), status)));
            return;
        }
        if self.has_status {
            members.remove("status");
            members.extend(before.get("status").map(|status| ("status".to_owned(), status.clone())));
        }
        let Some(Value::Object(metadata)) = members.get_mut("metadata") else { return };
        for name in SERVER_METADATA {
            match before.pointer(&format!("/metadata/{name}")) {
                Some(value) => {
                    metadata.insert((*name).to_owned(), value.clone());
                }
                None if exists || metadata.get(*name).is_some_and(Value::is_null) => {
                    metadata.remove(*name);
                }
                None => {}
            }
        }
    }
}

/// Metadata that only the server writes.
const SERVER_METADATA: &[&str] = &[
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Fields that every object has and nobody owns.
static UNOWNED: LazyLock<FieldSet> = LazyLock::new(|| {
    let mut set = FieldSet::of_fields(&[&["apiVersion"], &["kind"], &["metadata"]]);
    for name in UNOWNED_METADATA {
        set.add(&FieldSet::of_fields(&[&["metadata", name]]));
    }
    set
});

/// Those of them in the metadata.
const UNOWNED_METADATA: &[&str] = &[
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
];

fn without_managers(object: &Value) -> Value {
    let mut object = object.clone();
    drop_managers(&mut object);
    object
}

fn drop_managers(object: &mut Value) {
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.remove("managedFields");
    }
}

fn live_or_new(live: Option<&Value>, new: &Value, m: &Manager<'_>) -> Managers {
    let of_live = || live.and_then(managers::read).unwrap_or_default();
    if !m.subresource.is_empty() {
        return of_live();
    }
    if new["metadata"]["managedFields"].as_array().is_some_and(|list| *list == [json!({})]) {
        return Managers::new();
    }
    managers::read(new).filter(|managers| !managers.is_empty()).unwrap_or_else(of_live)
}

fn same_owners(a: &Managers, b: &Managers) -> bool {
    let same = |((id, x), (other, y)): ((&Id, &Owned), (&Id, &Owned))| {
        id == other && x.fields == y.fields && x.api_version == y.api_version
    };
    a.len() == b.len() && a.iter().zip(b).all(same)
}

/// Gives what changed between two objects to the manager that changed it.
fn track(rules: &FieldRules, before: &Value, after: &Value, managers: &mut Managers, m: &Manager<'_>) {
    let ignored = rules.ignored(m.subresource);
    let found = compare::compare(rules.root(), before, after).excluding(ignored);
    let changed = found.modified.union(&found.added);
    let me = Id::new(m, Operation::Update);
    let former = managers.get(&me).cloned();
    for owned in managers.values_mut() {
        owned.fields = owned.fields.difference(&changed).difference(&found.removed);
    }
    let taken = changed.difference(&UNOWNED);
    if !taken.is_empty() {
        let fields = match managers.get(&me) {
            Some(owned) => taken.union(&owned.fields),
            None => taken,
        };
        let unchanged =
            former.filter(|former| former.fields == fields && former.api_version == m.api_version);
        let time = unchanged.map_or(Some(m.now), |former| former.time);
        managers.insert(me, Owned { api_version: m.api_version.to_owned(), fields, time });
    }
    managers.retain(|_, owned| !owned.fields.is_empty());
}

/// Takes from the other managers what an apply changes, or says that they own it.
fn take(
    rules: &FieldRules,
    before: &Value,
    merged: &Value,
    managers: &mut Managers,
    me: &Id,
    subresource: &str,
    force: bool,
) -> Result<(), MergeError> {
    let ignored = rules.ignored(subresource);
    let found = compare::compare(rules.root(), before, merged).excluding(ignored);
    let changed = found.modified.union(&found.added);
    let mut conflicts = Vec::new();
    for (id, owned) in managers.iter_mut().filter(|(id, _)| *id != me) {
        let conflict = owned.fields.intersection(&changed);
        conflicts.extend(conflict.paths().into_iter().map(|path| (id.to_string(), path)));
        owned.fields = owned.fields.difference(&conflict).difference(&found.removed);
    }
    if !force && !conflicts.is_empty() {
        return Err(MergeError::Conflict(conflicts));
    }
    managers.retain(|_, owned| !owned.fields.is_empty());
    Ok(())
}

fn strip_own(managers: &mut Managers, me: &Id) {
    let Some(own) = managers.get_mut(me) else { return };
    own.fields = own.fields.difference(&UNOWNED);
    if own.fields.is_empty() {
        managers.remove(me);
    }
}

/// Removes what the manager applied last time and not this time, unless somebody owns it, or something in it.
fn prune(root: Type<'_>, whole: &Value, managers: &Managers, last: &FieldSet) -> Value {
    let last = last.with_named_parents(root);
    let fields = |object: &Value| fields_of(root, object).with_named_parents(root);
    let pruned = without(root, whole, &last);
    if pruned == *whole {
        return pruned;
    }
    let all = fields(whole);
    let owned = managers.values().fold(FieldSet::default(), |all, owned| all.union(&owned.fields));
    let kept = fields(&pruned).union(&owned.with_named_parents(root));
    let pruned = without(root, whole, &all.difference(&kept));
    let gone = all.difference(&fields(&pruned)).intersection(&last);
    without(root, whole, &gone)
}
