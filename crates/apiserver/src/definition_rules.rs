//! What a CustomResourceDefinition must keep to, in the real server's words: versions, columns, selectable fields, the
//! scale's paths, kinds of lists and maps.
//!
//! Not here: why a schema cannot be used at all (`definition_schema`).

use muster_schema::Cause;
use serde_json::{Value, json};

use crate::object::items;
use crate::status::cause;

const COLUMN_TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: &[&str] =
    &["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];

/// Everything of that kind that is wrong with a definition's spec.
pub(crate) fn broken(spec: &Value) -> Vec<Cause> {
    let mut causes = Causes::default();
    if spec["preserveUnknownFields"] == true {
        let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        causes.invalid("spec.preserveUnknownFields", &json!(true), why);
    }
    for (index, version) in items(&spec["versions"]).enumerate() {
        let name = version["name"].as_str().unwrap_or_default();
        if !is_dns_1035(name) {
            let why = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
            causes.invalid(&format!("spec.versions[{index}].name"), &json!(name), why);
            if index == 0 {
                // The field that there was before versions were a list.
                causes.invalid("spec.version", &json!(name), why);
            }
        }
        if !version["schema"]["openAPIV3Schema"].is_object() {
            causes.required(&format!("spec.versions[{index}].schema.openAPIV3Schema"), "");
        }
    }
    for (path, version) in places(spec, "additionalPrinterColumns") {
        for (index, column) in items(&version["additionalPrinterColumns"]).enumerate() {
            causes.column(&format!("{path}.additionalPrinterColumns[{index}]"), column);
        }
    }
    for (path, version) in places(spec, "selectableFields") {
        causes.selectable_fields(&format!("{path}.selectableFields"), version);
    }
    for (path, version) in places(spec, "subresources") {
        causes.scale(&format!("{path}.subresources.scale"), &version["subresources"]["scale"]);
    }
    for (path, version) in places(spec, "schema") {
        causes.schema(&schema_path(&path), &version["schema"]["openAPIV3Schema"]);
    }
    causes.0
}

pub(crate) fn schema_path(of_version: &str) -> String {
    match of_version {
        "spec" => "spec.validation.openAPIV3Schema".to_owned(),
        _ => format!("{of_version}.schema.openAPIV3Schema"),
    }
}

/// What the versions must be together: one of them stored, each with a name of its own.
pub(crate) fn versions(spec: &Value, stored: &Value) -> Vec<Cause> {
    let mut causes = Causes::default();
    let names: Vec<&str> = items(&spec["versions"]).filter_map(|version| version["name"].as_str()).collect();
    let storage = items(&spec["versions"]).filter(|version| version["storage"] == true);
    let storage: Vec<&str> = storage.filter_map(|version| version["name"].as_str()).collect();
    if storage.len() != 1 {
        let why = "must have exactly one version marked as storage version";
        causes.invalid_text("spec.versions", &go_versions(spec), why);
    }
    if names.iter().enumerate().any(|(index, name)| names[..index].contains(name)) {
        causes.invalid_text("spec.versions", &go_versions(spec), "must contain unique version names");
    }
    match storage.last() {
        None => {
            causes.invalid("status.storedVersions", &Value::Null, "must have at least one stored version")
        }
        // The first is what a definition begins with.
        Some(last) if storage.len() > 1 => {
            let begun: Vec<&Value> = items(stored).filter(|name| **name != **last).collect();
            let why = format!("must have the storage version {last}");
            causes.invalid("status.storedVersions", &json!(begun), &why);
        }
        Some(_) => {}
    }
    causes.0
}

/// The versions as the real server prints them: as its Go types have it, without what all of them share.
fn go_versions(spec: &Value) -> String {
    let go = |version: &Value| {
        let flag = |field: &str| version[field] == true;
        format!(
            "{{\"Name\":{},\"Served\":{},\"Storage\":{},\"Deprecated\":{},\"DeprecationWarning\":{},\"Schema\":null,\"Subresources\":null,\"AdditionalPrinterColumns\":null,\"SelectableFields\":null}}",
            version["name"],
            flag("served"),
            flag("storage"),
            flag("deprecated"),
            version["deprecationWarning"],
        )
    };
    format!("[{}]", items(&spec["versions"]).map(go).collect::<Vec<_>>().join(","))
}

/// What a conversion by webhook must say and does not.
pub(crate) fn incomplete_webhook(conversion: &Value) -> Vec<Cause> {
    let mut causes = Causes::default();
    if conversion["strategy"] == "Webhook" {
        if items(&conversion["webhook"]["conversionReviewVersions"]).next().is_none() {
            causes.required("spec.conversion.conversionReviewVersions", "");
        }
        if !conversion["webhook"]["clientConfig"].is_object() {
            let why = "required when strategy is set to Webhook";
            causes.required("spec.conversion.webhookClientConfig", why);
        }
    }
    causes.0
}

/// Where the real server finds a field that versions have: what all of them share, it names once, without a version.
pub(crate) fn places<'a>(spec: &'a Value, field: &str) -> Vec<(String, &'a Value)> {
    let versions: Vec<&Value> = items(&spec["versions"]).collect();
    match versions.first() {
        Some(first) if versions.iter().all(|version| version[field] == first[field]) => {
            vec![("spec".to_owned(), first)]
        }
        _ => versions
            .into_iter()
            .enumerate()
            .map(|(index, version)| (format!("spec.versions[{index}]"), version))
            .collect(),
    }
}

/// Is there such a field? The path is `.a.b['c']`; a map's members are all there.
fn blamed_field_exists(schema: &Value, path: &str) -> bool {
    let mut at = schema;
    let dotted = path.replace("['", ".").replace("']", "");
    if !dotted.starts_with('.') {
        return false;
    }
    for name in dotted.split('.').skip(1) {
        at = match &at["properties"][name] {
            Value::Null => &at["additionalProperties"],
            property => property,
        };
        if !at.is_object() {
            return false;
        }
    }
    true
}

fn is_dns_1035(name: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(good)
        && name.len() <= 63
}

#[derive(Default)]
struct Causes(Vec<Cause>);

impl Causes {
    fn invalid(&mut self, field: &str, value: &Value, why: &str) {
        self.0.push(cause("FieldValueInvalid", field, format!("Invalid value: {value}: {why}")));
    }

    /// The same of a value that is not printed as JSON.
    fn invalid_text(&mut self, field: &str, value: &str, why: &str) {
        self.0.push(cause("FieldValueInvalid", field, format!("Invalid value: {value}: {why}")));
    }

    fn required(&mut self, field: &str, why: &str) {
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        self.0.push(cause("FieldValueRequired", field, format!("Required value{why}")));
    }

    fn unsupported(&mut self, field: &str, value: &Value, known: &[&str]) {
        let known: Vec<String> = known.iter().map(|one| format!("\"{one}\"")).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", known.join(", "));
        self.0.push(cause("FieldValueNotSupported", field, message));
    }

    fn column(&mut self, path: &str, column: &Value) {
        let text = |field: &str| column[field].as_str().unwrap_or_default();
        if text("name").is_empty() {
            self.required(&format!("{path}.name"), "");
        }
        let kind = text("type");
        if kind.is_empty() {
            let why = format!("must be one of {}", COLUMN_TYPES.join(","));
            self.required(&format!("{path}.type"), &why);
        } else if !COLUMN_TYPES.contains(&kind) {
            let why = format!("must be one of {}", COLUMN_TYPES.join(","));
            self.invalid(&format!("{path}.type"), &json!(kind), &why);
        }
        let format = text("format");
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
            let why = format!("must be one of {}", COLUMN_FORMATS.join(","));
            self.invalid(&format!("{path}.format"), &json!(format), &why);
        }
        match text("jsonPath") {
            "" => self.required(&format!("{path}.JSONPath"), ""),
            simple if simple.starts_with('.') => {}
            other => {
                let why = "must be a simple json path starting with .";
                self.invalid(&format!("{path}.JSONPath"), &json!(other), why);
            }
        }
    }

    fn selectable_fields(&mut self, path: &str, version: &Value) {
        let mut seen = Vec::new();
        for (index, field) in items(&version["selectableFields"]).enumerate() {
            let path = format!("{path}[{index}].jsonPath");
            let selected = field["jsonPath"].as_str().unwrap_or_default();
            if selected.is_empty() {
                self.required(&path, "");
                continue;
            }
            if seen.contains(&selected) {
                let message = format!("Duplicate value: {}", json!(selected));
                self.0.push(cause("FieldValueDuplicate", &*path, message));
                continue;
            }
            seen.push(selected);
            let mut at = &version["schema"]["openAPIV3Schema"];
            for name in selected.trim_start_matches('.').split('.') {
                at = &at["properties"][name];
            }
            match at["type"].as_str() {
                _ if selected.starts_with(".metadata") || at.is_null() => {
                    let why = "is an invalid path: does not refer to a valid field";
                    self.invalid(&path, &json!(selected), why);
                }
                Some("string" | "boolean" | "integer") => {}
                _ => {
                    let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
                    self.invalid(&path, &json!(selected), why);
                }
            }
        }
    }

    /// Where a scale finds its numbers.
    fn scale(&mut self, path: &str, scale: &Value) {
        if !scale.is_object() {
            return;
        }
        for (field, below) in [("specReplicasPath", ".spec"), ("statusReplicasPath", ".status")] {
            let given = scale[field].as_str().unwrap_or_default();
            let field = format!("{path}.{field}");
            if given.is_empty() {
                self.required(&field, "");
            } else if !given.starts_with('.') {
                self.invalid(&field, &json!(given), "must be a simple json path starting with .");
            } else if !given.strip_prefix(below).is_some_and(|rest| rest.starts_with('.')) {
                self.invalid(&field, &json!(given), &format!("should be a json path under {below}"));
            }
        }
    }

    /// What a rule says beside its expression.
    fn rule(&mut self, path: &str, schema: &Value, raw: &Value) {
        let text = |field: &str| raw[field].as_str().unwrap_or_default();
        if text("message").contains(['\n', '\r']) {
            let message = format!("{path}.message");
            self.invalid(&message, &raw["message"], "must not contain line breaks");
        }
        let blamed = text("fieldPath");
        if !blamed.is_empty() && !blamed_field_exists(schema, blamed) {
            self.invalid(&format!("{path}.fieldPath"), &raw["fieldPath"], "must be a valid path");
        }
        if !raw["optionalOldSelf"].is_null() && !text("rule").contains("oldSelf") {
            let why = "may not be set if oldSelf is not used in rule";
            self.invalid(&format!("{path}.optionalOldSelf"), &raw["optionalOldSelf"], why);
        }
    }

    /// A schema's rules, and the kinds of its lists and maps.
    fn schema(&mut self, path: &str, schema: &Value) {
        if !schema.is_object() {
            return;
        }
        for (index, raw) in items(&schema["x-kubernetes-validations"]).enumerate() {
            self.rule(&format!("{path}.x-kubernetes-validations[{index}]"), schema, raw);
        }
        let kind = &schema["x-kubernetes-list-type"];
        let list_items = &schema["items"];
        match kind.as_str() {
            None | Some("atomic") => {}
            Some("set") => {
                if list_items["type"] == "object" && list_items["x-kubernetes-map-type"] != "atomic" {
                    let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
                    let found = &list_items["x-kubernetes-map-type"];
                    self.invalid(&format!("{path}.items.x-kubernetes-map-type"), found, why);
                }
            }
            Some("map") => self.keys(path, schema),
            Some(_) => {
                let field = format!("{path}.x-kubernetes-list-type");
                self.unsupported(&field, kind, &["atomic", "set", "map"]);
            }
        }
        let kind = &schema["x-kubernetes-map-type"];
        if !matches!(kind.as_str(), None | Some("atomic" | "granular")) {
            self.unsupported(&format!("{path}.x-kubernetes-map-type"), kind, &["atomic", "granular"]);
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            self.schema(&format!("{path}.properties[{name}]"), property);
        }
        self.schema(&format!("{path}.items"), list_items);
        self.schema(&format!("{path}.additionalProperties"), &schema["additionalProperties"]);
    }

    /// The keys of a list whose items are known by them.
    fn keys(&mut self, path: &str, schema: &Value) {
        let field = format!("{path}.x-kubernetes-list-map-keys");
        let keys = &schema["x-kubernetes-list-map-keys"];
        if items(keys).next().is_none() {
            self.required(&field, "must not be empty if x-kubernetes-list-type is map");
            return;
        }
        let of_item = &schema["items"];
        for key in items(keys).filter_map(Value::as_str) {
            let property = &of_item["properties"][key];
            if property.is_null() {
                self.invalid(&field, keys, "entries must all be names of item properties");
            } else if property["default"].is_null() && !items(&of_item["required"]).any(|name| name == key) {
                let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                self.required(&format!("{path}.items.properties[{key}].default"), why);
            }
        }
    }
}
