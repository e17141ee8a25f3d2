//! The scale subresource: how many replicas an object asks for and has, as an `autoscaling/v1` Scale, wherever its kind
//! keeps them. Muster's kinds have none; kinds that others define here do.
//!
//! Not here: what a definition may say of it (`definition_rules`).

use muster_schema::Cause;
use serde_json::{Value, json};

use crate::admit;
use crate::registry::Column;
use crate::status::{Fault, cause};

/// The name of the subresource.
pub(crate) const SCALE: &str = "scale";

/// Where a kind keeps its numbers: paths like `.spec.replicas`.
#[derive(Debug)]
pub(crate) struct Scale {
    wanted: String,
    actual: String,
    selector: Option<String>,
}

impl Scale {
    /// Of a version's `subresources.scale`.
    pub(crate) fn of(raw: &Value) -> Option<Self> {
        let text = |field: &str| raw[field].as_str().map(str::to_owned);
        let (wanted, actual) = (text("specReplicasPath")?, text("statusReplicasPath")?);
        Some(Self { wanted, actual, selector: text("labelSelectorPath") })
    }

    /// The object as a Scale, to be shown.
    pub(crate) fn shown(&self, object: &Value) -> Result<Value, Fault> {
        if at(object, &self.wanted).is_null() {
            let path = &self.wanted;
            let why = format!("Internal error occurred: the spec replicas field \"{path}\" does not exist");
            return Err(Fault::internal(why));
        }
        Ok(self.view(object))
    }

    /// The object as a Scale, to be changed: it may not say yet how many it wants.
    pub(crate) fn view(&self, object: &Value) -> Value {
        let count = |path: &str| at(object, path).as_i64().unwrap_or_default();
        let mut scale = json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {}, "spec": {},
            "status": {"replicas": count(&self.actual)},
        });
        for field in ["creationTimestamp", "name", "namespace", "resourceVersion", "uid"] {
            let value = &object["metadata"][field];
            if !value.is_null() {
                scale["metadata"][field] = value.clone();
            }
        }
        // As the real type does: none is not said.
        let wanted = count(&self.wanted);
        if wanted != 0 {
            scale["spec"]["replicas"] = wanted.into();
        }
        let selector = self.selector.as_ref().and_then(|path| at(object, path).as_str());
        if let Some(selector) = selector.filter(|selector| !selector.is_empty()) {
            scale["status"]["selector"] = selector.into();
        }
        scale
    }

    /// The object with the number of a changed Scale, on the version that the Scale names.
    pub(crate) fn write(&self, object: &Value, scale: &Value) -> Result<Value, Fault> {
        let kind = ["apiVersion", "kind"].map(|field| scale[field].as_str().unwrap_or_default());
        if kind != ["autoscaling/v1", "Scale"] {
            let why = format!("wrong object passed to Scale update: {}, Kind={}", kind[0], kind[1]);
            return Err(Fault::bad_request(why));
        }
        let wanted = &scale["spec"]["replicas"];
        let number = wanted.as_i64().filter(|number| i32::try_from(*number).is_ok());
        if number.is_none() && !wanted.is_null() {
            return Err(Fault::bad_request(format!(
                "Scale in version \"v1\" cannot be handled as a Scale: spec.replicas: {wanted} is not of type int32"
            )));
        }
        let mut object = object.clone();
        let mut place = &mut object;
        for part in parts(&self.wanted) {
            if !place.is_object() {
                *place = json!({});
            }
            place = &mut place[part];
        }
        *place = number.unwrap_or_default().into();
        admit::remove(&mut object["metadata"], "resourceVersion");
        for field in ["resourceVersion", "uid"] {
            if let Some(text) = scale["metadata"][field].as_str().filter(|text| !text.is_empty()) {
                object["metadata"][field] = text.into();
            }
        }
        Ok(object)
    }

    /// What is wrong with an object's numbers, whichever way it was written.
    pub(crate) fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        for path in [&self.wanted, &self.actual] {
            let value = at(object, path);
            let why = match value.as_i64() {
                Some(..0) => "should be a non-negative integer".to_owned(),
                Some(number) if number > i32::MAX.into() => {
                    format!("should be less than or equal to {}", i32::MAX)
                }
                None if !value.is_null() => "should be an integer".to_owned(),
                Some(_) | None => continue,
            };
            causes.push(cause("FieldValueInvalid", path.clone(), format!("Invalid value: {value}: {why}")));
        }
        causes
    }
}

/// The columns of its table, beside the name.
pub(crate) fn columns() -> Vec<Column> {
    let number = |name: &str, path: &str, description: &str| Column {
        name: name.to_owned(),
        kind: "integer".to_owned(),
        format: String::new(),
        priority: 0,
        description: description.to_owned(),
        path: path.to_owned(),
    };
    vec![
        number("Desired", ".spec.replicas", "Number of desired replicas"),
        number("Available", ".status.replicas", "Number of actual replicas"),
        crate::definition::age_column(),
    ]
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('.').filter(|part| !part.is_empty())
}

fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    parts(path).fold(object, |at, part| &at[part])
}
