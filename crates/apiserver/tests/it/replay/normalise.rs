//! What differs from run to run (names, times, versions, uids), replaced by tokens, so that two conversations can be
//! compared. The rules are those by which the real server's answers were recorded.

use std::collections::HashMap;
use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use regex::{Captures, Regex};
use serde_json::{Map, Value};

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the patterns of this file are valid")
}

static UUID: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"));
static STAMP: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\b(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)"));
static AGE: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(\d+y)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?$"));
static HASH: LazyLock<Regex> = LazyLock::new(|| pattern(r"hash=[0-9A-F]{64,}"));
static TOO_OLD: LazyLock<Regex> = LazyLock::new(|| pattern(r"(too old resource version: \d+) \(\d+\)"));
static TOO_LARGE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(Too large resource version: \d+, current: )\d+"));
/// Versions inside messages.
static VERSIONS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        r"(ResourceVersion in record \()(\d+)",
        r"(ResourceVersion in precondition: )(\d+)",
        r"(ResourceVersion in object meta: )(\d+)",
        r#"(resourceVersion: )"(\d+)""#,
        r#"(\\?"resourceVersion\\?":\\?")(\d+)"#,
        r"(resourceVersion=)(\d+)",
    ]
    .into_iter()
    .map(pattern)
    .collect()
});

/// Whose version a `resourceVersion` is, by what is around it.
#[derive(Clone, Copy, PartialEq)]
enum Within {
    Nothing,
    Event,
    Bookmark,
}

/// Numbers what it meets in order of first appearance; one for each scenario.
pub(super) struct Normaliser {
    names: Vec<(String, String)>,
    generated: usize,
    uids: HashMap<String, usize>,
    versions: HashMap<String, String>,
    high: u64,
}

impl Normaliser {
    /// `names`: what the scenario calls by variables, and the token of each.
    pub(super) fn new(names: Vec<(String, String)>) -> Self {
        Self { names, generated: 0, uids: HashMap::new(), versions: HashMap::new(), high: 0 }
    }

    pub(super) fn text(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (literal, token) in &self.names {
            text = text.replace(literal, token);
        }
        text = UUID.replace_all(&text, |found: &Captures<'_>| self.uid(&found[0])).into_owned();
        text = STAMP.replace_all(&text, stamp).into_owned();
        for pattern in VERSIONS.iter() {
            let token = |found: &Captures<'_>| {
                let known = self.versions.contains_key(&found[2]) || found[0].contains('"');
                let version = if known { self.version(&found[2]) } else { found[2].to_owned() };
                format!("{}{version}", &found[1])
            };
            text = pattern.replace_all(&text, token).into_owned();
        }
        text = TOO_OLD.replace_all(&text, "$1 (<rv:list>)").into_owned();
        text = TOO_LARGE.replace_all(&text, "$1<rv:list>").into_owned();
        HASH.replace_all(&text, "hash=<hash>").into_owned()
    }

    fn uid(&mut self, uid: &str) -> String {
        let next = self.uids.len() + 1;
        format!("<uid{}>", self.uids.entry(uid.to_owned()).or_insert(next))
    }

    fn version(&mut self, version: &str) -> String {
        if let Some(token) = self.versions.get(version) {
            return token.clone();
        }
        let number: Option<u64> = version.parse().ok();
        let lower = if number.is_some_and(|number| number < self.high) { ":lower" } else { "" };
        let token = format!("<rv{}{lower}>", self.versions.len() + 1);
        self.versions.insert(version.to_owned(), token.clone());
        self.high = self.high.max(number.unwrap_or_default());
        token
    }

    fn list_version(&self, version: &str) -> String {
        let ahead = version.parse::<u64>().is_ok_and(|number| number >= self.high);
        if ahead { "<rv:list>" } else { "<rv:list:behind>" }.to_owned()
    }

    pub(super) fn body(&mut self, value: &Value) -> Value {
        self.value(value, "", Within::Nothing)
    }

    fn value(&mut self, value: &Value, key: &str, within: Within) -> Value {
        match value {
            Value::Object(object) => Value::Object(self.object(object, key, within)),
            Value::Array(list) => list.iter().map(|one| self.value(one, "", within)).collect(),
            Value::String(text) => self.text(text).into(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn object(&mut self, object: &Map<String, Value>, key: &str, within: Within) -> Map<String, Value> {
        self.note_generated(object);
        let object = &in_order(object);
        const LIST: &[&str] = &["resourceVersion", "continue", "remainingItemCount", "selfLink"];
        let list = key == "metadata" && object.keys().all(|key| LIST.contains(&&**key));
        // The items are numbered before the list's own version.
        let late = object.contains_key("items") && object.contains_key("metadata")
            || object.get("kind").is_some_and(|kind| kind == "Table") && object.contains_key("rows");
        let mut members: Vec<(&String, &Value)> = object.iter().collect();
        if late {
            members.sort_by_key(|(key, _)| *key == "metadata");
        }
        let rules = object.contains_key("resourceRules") && object.contains_key("nonResourceRules");
        let mut out = Map::new();
        for (key, value) in members {
            let text = value.as_str().filter(|text| !text.is_empty());
            match (&**key, text, value) {
                ("resourceVersion", Some(version), _) => {
                    let of_list = within == Within::Bookmark || list && within != Within::Event;
                    let token = match version {
                        "0" => "0".to_owned(),
                        _ if of_list => self.list_version(version),
                        _ => self.version(version),
                    };
                    out.insert(key.clone(), token.into());
                }
                ("continue", Some(_), _) => drop(out.insert(key.clone(), "<continue>".into())),
                ("managedFields", _, Value::Array(entries)) => {
                    let mut entries: Vec<Value> =
                        entries.iter().map(|one| self.value(one, "", Within::Nothing)).collect();
                    entries.sort_by_key(|entry| {
                        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
                        let of = ["operation", "manager", "apiVersion", "subresource"];
                        (of.map(text), entry.to_string())
                    });
                    out.insert(key.clone(), entries.into());
                }
                ("cells", _, Value::Array(cells)) => {
                    let cells: Vec<Value> = cells.iter().map(|cell| self.cell(cell)).collect();
                    out.insert(key.clone(), cells.into());
                }
                (_, _, Value::Array(entries)) if rules => {
                    let mut entries = entries.clone();
                    entries.sort_by_key(Value::to_string);
                    let entries = self.value(&entries.into(), key, within);
                    out.insert(key.clone(), entries);
                }
                _ => {
                    let key = self.text(key);
                    let within = match object.get("type").and_then(Value::as_str) {
                        _ if within != Within::Nothing => within,
                        Some("BOOKMARK") if key == "object" => Within::Bookmark,
                        Some("ADDED" | "MODIFIED" | "DELETED") if key == "object" => Within::Event,
                        Some(_) | None => Within::Nothing,
                    };
                    let value = self.value(value, &key, within);
                    out.insert(key, value);
                }
            }
        }
        out
    }

    fn cell(&mut self, cell: &Value) -> Value {
        let is_age = |text: &str| {
            !text.is_empty() && AGE.is_match(text) && !text.bytes().all(|byte| byte.is_ascii_digit())
        };
        match cell.as_str() {
            Some(text) if is_age(text) => "<age>".into(),
            Some(_) | None => self.body(cell),
        }
    }

    /// A name that the server has made out of `generateName` gets a token of its own.
    fn note_generated(&mut self, object: &Map<String, Value>) {
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let (base, name) = (text("generateName"), text("name"));
        let made = !base.is_empty() && name.starts_with(base) && name.len() == base.len() + 5;
        if made && !self.names.iter().any(|(literal, _)| literal == name) {
            self.generated += 1;
            let number = if self.generated == 1 { String::new() } else { self.generated.to_string() };
            let token = format!("{}<gen{number}>", self.text(base));
            self.names.push((name.to_owned(), token));
        }
    }
}

fn stamp(found: &Captures<'_>) -> String {
    let then: Option<Timestamp> = format!("{}T{}Z", &found[1], &found[2]).parse().ok();
    let near =
        |then: Timestamp| then.duration_since(Timestamp::now()).abs() <= SignedDuration::from_hours(48);
    if !then.is_some_and(near) {
        // A date that the request sent, not the clock.
        return found[0].to_owned();
    }
    let token = match found.get(3).map(|fraction| fraction.len()) {
        None => "<time>",
        Some(7) => "<microtime>",
        Some(_) => "<nanotime>",
    };
    format!("{token}{}", if &found[4] == "Z" { "" } else { &found[4] })
}

/// The causes of a Status, and the same in its message, sorted: a server may find them in any order.
fn in_order(status: &Map<String, Value>) -> Map<String, Value> {
    let mut status = status.clone();
    let causes = match status.get("details").and_then(|details| details["causes"].as_array()) {
        Some(causes) if causes.len() > 1 && status.get("kind").is_some_and(|kind| kind == "Status") => {
            causes.clone()
        }
        Some(_) | None => return status,
    };
    let text = |cause: &Value, key: &str| cause[key].as_str().unwrap_or("None").to_owned();
    let texts = |causes: &[Value]| {
        let mut texts: Vec<String> = Vec::new();
        for cause in causes {
            let text = format!("{}: {}", text(cause, "field"), text(cause, "message"));
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        texts.join(", ")
    };
    let mut sorted = causes.clone();
    sorted.sort_by_key(|cause| {
        let text = |key: &str| cause[key].as_str().unwrap_or_default().to_owned();
        (text("field"), text("message"))
    });
    if let Some(Value::String(message)) = status.get_mut("message") {
        *message = message.replace(&texts(&causes), &texts(&sorted));
    }
    status["details"]["causes"] = sorted.into();
    status
}
