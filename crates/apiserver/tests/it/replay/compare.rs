//! What was recorded against what was answered.

use serde_json::{Map, Value, json};

/// Elements of a dotted path.
fn parts(path: &str) -> Vec<&str> {
    path.split('.').filter(|part| !part.is_empty()).collect()
}

/// What is at a path.
pub(super) fn dig<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    parts(path).into_iter().try_fold(value, |at, part| match at {
        Value::Array(list) => list.get(part.parse::<usize>().ok()?),
        other => other.get(part),
    })
}

/// Narrows a body to what the recording looked at.
pub(super) fn view(body: Value, steps: &[Value]) -> Value {
    let mut at = body;
    for step in steps {
        at = match step {
            Value::String(key) => at.get(key).cloned().unwrap_or_default(),
            Value::Array(keys) => match &at {
                Value::Object(members) => keys
                    .iter()
                    .filter_map(Value::as_str)
                    .filter_map(|key| Some((key.to_owned(), members.get(key)?.clone())))
                    .collect::<Map<_, _>>()
                    .into(),
                _ => Value::Null,
            },
            Value::Object(wanted) => pick(&at, wanted),
            other => panic!("a view has no such step: {other}"),
        };
    }
    at
}

/// The first element with a value at a path, or all with one of several values, in their order.
fn pick(list: &Value, wanted: &Map<String, Value>) -> Value {
    let (Some(list), Some((path, value))) = (list.as_array(), wanted.iter().next()) else {
        return Value::Null;
    };
    let is = |one: &&Value, value: &Value| dig(one, path).unwrap_or(&Value::Null) == value;
    let with = |value: &Value| list.iter().filter(|one| is(one, value)).cloned().collect::<Vec<_>>();
    match value {
        Value::Array(values) => values.iter().flat_map(with).collect(),
        value => with(value).into_iter().next().unwrap_or_default(),
    }
}

/// Only the shape of a value.
pub(super) fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            members.iter().map(|(key, value)| (key.clone(), shape(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(list) => list.iter().map(shape).collect(),
        Value::Null => "<null>".into(),
        Value::String(_) => "<string>".into(),
        Value::Bool(_) => "<boolean>".into(),
        Value::Number(_) => "<number>".into(),
    }
}

/// Every difference between a step's recorded response and ours.
pub(super) fn differences(step: &Value, got: &Value) -> Vec<String> {
    let (mut want, mut got) = (step["response"].clone(), got.clone());
    for path in step["ignore"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        for side in [&mut want, &mut got] {
            let part = if side.get("body").is_some() { "body" } else { "stream" };
            blank(&mut side[part], &parts(path));
        }
    }
    let mut found = Vec::new();
    for part in ["status", "body", "stream", "ended"] {
        match (want.get(part), got.get(part)) {
            (Some(want), Some(got)) => compare(want, got, part, &mut found),
            (Some(want), None) => found.push(format!("{part}: missing, want {}", short(want))),
            (None, _) => {}
        }
    }
    let media = |side: &Value| {
        side["headers"]["content-type"].as_str().map(|text| text.replace(' ', "").to_lowercase())
    };
    if media(&want) != media(&got) {
        found.push(format!("content-type: got {:?}, want {:?}", media(&got), media(&want)));
    }
    compare(&want["headers"]["warning"], &got["headers"]["warning"], "warning", &mut found);
    found
}

/// Replaces what a path names by a mark; adds it where it is missing, since it may be.
fn blank(value: &mut Value, path: &[&str]) {
    let [first, rest @ ..] = path else { return };
    let mut mark = |at: &mut Value| if rest.is_empty() { *at = json!("<ignored>") } else { blank(at, rest) };
    match (value, *first) {
        (Value::Array(list), "*") => list.iter_mut().for_each(&mut mark),
        (Value::Array(list), index) => {
            if let Some(one) = index.parse::<usize>().ok().and_then(|index| list.get_mut(index)) {
                mark(one);
            }
        }
        (Value::Object(members), "*") => members.values_mut().for_each(&mut mark),
        (Value::Object(members), key) if members.contains_key(key) || rest.is_empty() => {
            mark(members.entry(key).or_insert(Value::Null));
        }
        _ => {}
    }
}

fn compare(want: &Value, got: &Value, at: &str, found: &mut Vec<String>) {
    match (want, got) {
        // Documentation: any will do.
        (Value::String(text), Value::String(_)) if text == "<text>" => {}
        (Value::Object(want), Value::Object(got)) => {
            for (key, value) in want {
                match got.get(key) {
                    Some(other) => compare(value, other, &format!("{at}.{key}"), found),
                    None => found.push(format!("{at}.{key}: missing, want {}", short(value))),
                }
            }
            for (key, value) in got.iter().filter(|(key, _)| !want.contains_key(*key)) {
                found.push(format!("{at}.{key}: unexpected {}", short(value)));
            }
        }
        (Value::Array(want), Value::Array(got)) => {
            for (index, (want, got)) in want.iter().zip(got).enumerate() {
                compare(want, got, &format!("{at}[{index}]"), found);
            }
            for (index, value) in want.iter().enumerate().skip(got.len()) {
                found.push(format!("{at}[{index}]: missing, want {}", short(value)));
            }
            for (index, value) in got.iter().enumerate().skip(want.len()) {
                found.push(format!("{at}[{index}]: unexpected {}", short(value)));
            }
        }
        _ if want == got => {}
        _ => found.push(format!("{at}: got {}, want {}", short(got), short(want))),
    }
}

fn short(value: &Value) -> String {
    const LENGTH: usize = 600;
    let text = value.to_string();
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
