//! Tables for `kubectl get`: columns by Kubernetes JSONPath, ages for dates, metadata beside each row.

use jiff::Timestamp;
use jsonpath_rust::parser::{model::JpQuery, parse_json_path};
use jsonpath_rust::query::js_path_process;
use serde_json::{Value, json};

use crate::definition::age_column;
use crate::object::items;
use crate::registry::{Column, Nature, Resource};

/// What goes with each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Include {
    Metadata,
    Object,
    None,
}

/// Makes the tables of one request.
pub(crate) struct Printer {
    nature: Nature,
    columns: Vec<(Column, Option<JpQuery>)>,
    include: Include,
    now: Timestamp,
}

impl Printer {
    pub(crate) fn new(resource: &Resource, columns: &[Column], include: Include, now: Timestamp) -> Self {
        let columns = if columns.is_empty() { vec![age_column()] } else { columns.to_vec() };
        let columns = columns
            .into_iter()
            .map(|column| {
                let query = parse_json_path(&standard_path(&column.path)).ok();
                (column, query)
            })
            .collect();
        Self { nature: resource.nature, columns, include, now }
    }

    /// A table of stored objects; `definitions`: with its columns? `metadata` is the list's.
    pub(crate) fn table(&self, objects: &[Value], metadata: Value, definitions: bool) -> Value {
        let rows: Vec<Value> = objects.iter().map(|object| self.row(object)).collect();
        let columns = if definitions { self.definitions().into() } else { Value::Null };
        json!({
            "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            "columnDefinitions": columns, "rows": rows,
        })
    }

    fn names_first(&self) -> bool {
        self.nature != Nature::Event
    }

    fn definitions(&self) -> Vec<Value> {
        let name = json!({
            "name": "Name", "type": "string", "format": "name", "priority": 0,
            "description": "Name must be unique within a namespace.",
        });
        let rest = self.columns.iter().map(|(column, _)| {
            json!({
                "name": column.name, "type": self.shown_type(column), "format": column.format, "priority": column.priority,
                "description": column.description,
            })
        });
        self.names_first().then_some(name).into_iter().chain(rest).collect()
    }

    /// The real server's own printers call an age a string.
    fn shown_type<'a>(&self, column: &'a Column) -> &'a str {
        let own = !matches!(self.nature, Nature::Custom | Nature::Definition);
        if own && column.kind == "date" { "string" } else { &column.kind }
    }

    fn row(&self, object: &Value) -> Value {
        let name = Value::from(object["metadata"]["name"].as_str().unwrap_or_default());
        let cells: Vec<Value> = self
            .names_first()
            .then_some(name)
            .into_iter()
            .chain(self.columns.iter().map(|(column, query)| self.cell(column, query.as_ref(), object)))
            .collect();
        let mut row = json!({"cells": cells});
        match self.include {
            Include::Metadata => row["object"] = partial(object),
            Include::Object => row["object"] = object.clone(),
            Include::None => row["object"] = Value::Null,
        }
        row
    }

    fn cell(&self, column: &Column, query: Option<&JpQuery>, object: &Value) -> Value {
        match (self.nature, &*column.path) {
            (Nature::ConfigMap | Nature::Secret, ".data") => {
                let count = |field: &str| object[field].as_object().map_or(0, serde_json::Map::len);
                return (count("data") + count("binaryData")).into();
            }
            (Nature::Event, ".involvedObject") => {
                let text = |field: &str| object["involvedObject"][field].as_str().unwrap_or_default();
                return format!("{}/{}", text("kind").to_lowercase(), text("name")).into();
            }
            (Nature::Event, ".involvedObject.fieldPath") => {
                return object["involvedObject"]["fieldPath"].as_str().unwrap_or_default().into();
            }
            (Nature::Event, ".lastTimestamp" | ".firstTimestamp") => {
                return self.event_age(&column.path, object);
            }
            (Nature::Event, ".source.component") => {
                let either = |old: &str, new: &str| {
                    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    let old = text(&object["source"][old]);
                    if old.is_empty() { text(&object[new]) } else { old }
                };
                let parts = [either("component", "reportingComponent"), either("host", "reportingInstance")];
                let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
                return parts.join(", ").into();
            }
            (Nature::Event, ".count") => {
                let count = object["series"]["count"].as_i64().or(object["count"].as_i64());
                return count.unwrap_or(1).into();
            }
            _ => {}
        }
        let Some(found) = query.and_then(|query| js_path_process(query, object).ok()) else {
            return Value::Null;
        };
        let values: Vec<&Value> = found.into_iter().map(|one| one.val()).collect();
        let Some(first) = values.first().copied() else { return Value::Null };
        match &*column.kind {
            "string" => text_cell(first),
            "date" => match first.as_str() {
                Some(text) => self.age(text).into(),
                None => Value::Null,
            },
            "integer" => match first.as_i64() {
                Some(number) => number.into(),
                None => first.as_f64().map_or(Value::Null, |number| json!(number.trunc())),
            },
            "number" if first.is_number() => first.clone(),
            "boolean" if first.is_boolean() => first.clone(),
            _ => Value::Null,
        }
    }

    fn event_age(&self, path: &str, object: &Value) -> Value {
        let fields: [&Value; 3] = if path == ".lastTimestamp" {
            [&object["series"]["lastObservedTime"], &object["lastTimestamp"], &object["eventTime"]]
        } else {
            [&object["firstTimestamp"], &object["eventTime"], &object["metadata"]["creationTimestamp"]]
        };
        match fields.into_iter().find_map(Value::as_str) {
            Some(text) => self.age(text).into(),
            None => "<unknown>".into(),
        }
    }

    fn age(&self, text: &str) -> String {
        match text.parse::<Timestamp>() {
            Ok(then) => human_duration(self.now.as_second() - then.as_second()),
            Err(_) => "<invalid>".to_owned(),
        }
    }
}

fn text_cell(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::String(text) => text.clone().into(),
        other => other.to_string().into(),
    }
}

/// The metadata of an object, alone.
pub(crate) fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// The metadata of a list's objects.
pub(crate) fn partial_list(list: &Value) -> Value {
    let objects: Vec<Value> = items(&list["items"]).map(partial).collect();
    json!({
        "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": list["metadata"],
        "items": objects,
    })
}

/// Kubernetes' JSONPath dialect as RFC 9535: a leading `$`, and `\.` as a quoted name.
fn standard_path(path: &str) -> String {
    let mut out = String::from("$");
    let path = path.trim().trim_start_matches('{').trim_end_matches('}').trim_start_matches('$');
    let mut chars = path.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '[' {
            // A filter or index: as it is, to its end.
            out.push(c);
            let (mut depth, mut quote) = (1, None);
            for c in chars.by_ref() {
                out.push(c);
                match (quote, c) {
                    (Some(open), _) if open == c => quote = None,
                    (Some(_), _) => {}
                    (None, '\'' | '"') => quote = Some(c),
                    (None, '[') => depth += 1,
                    (None, ']') => depth -= 1,
                    (None, _) => {}
                }
                if depth == 0 {
                    break;
                }
            }
        } else if c == '.' && chars.peek().is_some_and(|next| !matches!(next, '.' | '[' | '*')) {
            let mut name = String::new();
            while let Some(&next) = chars.peek() {
                if matches!(next, '.' | '[') {
                    break;
                }
                chars.next();
                if next == '\\' {
                    name.extend(chars.next());
                } else {
                    name.push(next);
                }
            }
            out.push_str(&format!("['{}']", name.replace('\'', "\\'")));
        } else if !(c == '.' && chars.peek().is_some_and(|next| *next == '[')) {
            out.push(c);
        }
    }
    out
}

/// A duration as kubectl prints ages.
pub(crate) fn human_duration(seconds: i64) -> String {
    let pair = |big: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{small_unit}") }
    };
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => pair(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => pair(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => pair(hours / 24, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{}d", hours / 24),
        63_072_000..252_288_000 => pair(hours / 24 / 365, "y", hours / 24 % 365, "d"),
        252_288_000.. => format!("{}y", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectl_prints_them() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (3600, "60m"),
            (11_100, "3h5m"),
            (90_000, "25h"),
            (180_000, "2d2h"),
            (700_000, "8d"),
        ] {
            assert_eq!(human_duration(seconds), text);
        }
    }

    #[test]
    fn kubernetes_paths_become_standard_ones() {
        let object = json!({"metadata": {"labels": {"a.b/c": "x"}}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}, "l": [1, 2]});
        for (path, expected) in [
            (r".metadata.labels.a\.b/c", json!("x")),
            (".status.conditions[?(@.type=='Ready')].status", json!("True")),
            (r#".status.conditions[?(@.type=="Ready")].status"#, json!("True")),
            (".l[0]", json!(1)),
            (".l[-1]", json!(2)),
            (".l[*]", json!(1)),
        ] {
            let query = parse_json_path(&standard_path(path)).unwrap();
            let found = js_path_process(&query, &object).unwrap();
            assert_eq!(found.first().map(|one| one.clone().val()), Some(&expected), "{path}");
        }
    }
}
