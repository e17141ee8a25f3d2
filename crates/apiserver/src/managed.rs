//! Who owns which field: the one place that calls server-side apply and the managedFields bookkeeping of `merge`.

use std::sync::Arc;

use jiff::Timestamp;
use muster_schema::CompiledSchema;
use serde_json::Value;

use crate::merge::{self, FieldRules, Manager, MergeError};
use crate::registry::Resource;
use crate::status::{Fault, cause};
use crate::typed;

/// Who writes, and how the object's fields are to be read.
pub(crate) struct Writer<'a> {
    pub resource: &'a Resource,
    pub schema: Option<Arc<CompiledSchema>>,
    pub has_status: bool,
    pub manager: &'a str,
    /// With the group.
    pub api_version: String,
    pub subresource: &'a str,
    pub now: Timestamp,
}

impl Writer<'_> {
    fn rules(&self) -> FieldRules {
        let skeleton = typed::skeleton(self.resource.nature);
        FieldRules { schema: self.schema.clone(), has_status: self.has_status, skeleton }
    }

    fn manager(&self) -> Manager<'_> {
        Manager {
            name: self.manager,
            api_version: &self.api_version,
            subresource: self.subresource,
            now: self.now,
        }
    }
}

/// A server-side apply: the merged object, its bookkeeping done.
pub(crate) fn apply(
    writer: &Writer<'_>,
    live: Option<&Value>,
    config: &Value,
    force: bool,
) -> Result<Value, Fault> {
    let meta = &config["metadata"];
    let name = meta["name"].as_str().unwrap_or_default();
    let differs = |field: &str, live: &Value| {
        let wanted = meta[field].as_str().filter(|text| !text.is_empty());
        wanted.is_some() && wanted != live["metadata"][field].as_str()
    };
    if live.is_some_and(|live| differs("resourceVersion", live)) {
        return Err(Fault::modified(writer.resource, name));
    }
    if differs("uid", live.unwrap_or(&Value::Null)) {
        let causes = vec![cause(
            "FieldValueInvalid",
            "metadata.uid",
            format!("Invalid value: {}: field is immutable", meta["uid"]),
        )];
        // Twice, as the real server says it.
        let causes = [causes.clone(), causes].concat();
        return Err(Fault::invalid(&writer.resource.group, &writer.resource.kind, name, causes));
    }
    merge::apply(&writer.rules(), live, config, &writer.manager(), force).map_err(|error| match error {
        MergeError::Conflict(ref conflicts) => Fault::apply_conflicts(&error.to_string(), conflicts),
        MergeError::Invalid(why) => {
            let namespace = meta["namespace"].as_str().unwrap_or_default();
            let kind = &writer.resource.kind;
            let object = format!("{namespace}/{name}; {}, Kind={kind}", writer.api_version);
            Fault::new(500, "", format!("failed to create typed patch object ({object}): {why}"))
        }
    })
}

/// The bookkeeping of any other write.
pub(crate) fn update(writer: &Writer<'_>, live: Option<&Value>, new: Value) -> Value {
    merge::update(&writer.rules(), live, new, &writer.manager())
}

/// Need nothing be written?
pub(crate) fn is_unchanged(live: &Value, new: &Value) -> bool {
    live == new || merge::same_but_times(live, new)
}
