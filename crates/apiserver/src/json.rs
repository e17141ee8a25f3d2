//! JSON: what a body names twice is found while it is read; objects are written without a look at each byte.

use std::fmt::{self, Write as _};

use serde::Deserializer;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Value};

/// A body, read.
pub(crate) struct Decoded {
    pub value: Value,
    /// The fields that JSON names twice, as `duplicate field "spec.size"`; the last of them counts.
    pub duplicates: Vec<String>,
}

impl From<Value> for Decoded {
    fn from(value: Value) -> Self {
        Self { value, duplicates: Vec::new() }
    }
}

/// Reads JSON.
pub(crate) fn read(body: &[u8]) -> Result<Decoded, serde_json::Error> {
    let mut duplicates = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = Reading { place: &Place::Top, duplicates: &mut duplicates }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(Decoded { value, duplicates })
}

/// Where in a body.
enum Place<'a> {
    Top,
    Member(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

/// As `spec.list[0].size`.
impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => Ok(()),
            Self::Member(Self::Top, name) => f.write_str(name),
            Self::Member(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Reads a value as serde_json does, and notes what is named twice on the way.
struct Reading<'a> {
    place: &'a Place<'a>,
    duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let place = &Place::Item(self.place, list.len());
            match items.next_element_seed(Reading { place, duplicates: &mut *self.duplicates })? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let place = &Place::Member(self.place, &name);
            let before = self.duplicates.len();
            let value = members.next_value_seed(Reading { place, duplicates: &mut *self.duplicates })?;
            match map.entry(name) {
                Entry::Vacant(free) => drop(free.insert(value)),
                Entry::Occupied(mut taken) => {
                    // Before those in it.
                    let place = Place::Member(self.place, taken.key());
                    self.duplicates.insert(before, format!("duplicate field \"{place}\""));
                    taken.insert(value);
                }
            }
        }
        Ok(Value::Object(map))
    }
}

/// Appends a value as JSON: what serde_json would write. An object's text is mostly long strings, which serde_json looks
/// through byte by byte.
pub(crate) fn write(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => write_text(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(out, item);
            }
            out.push(']');
        }
        Value::Object(_) => write_members(out, value, |out, _, value| write(out, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => by_serde(out, value),
    }
}

/// Appends an object as JSON, its values as `write_value` does. What is no object has no members.
pub(crate) fn write_members(
    out: &mut String,
    object: &Value,
    mut write_value: impl FnMut(&mut String, &str, &Value),
) {
    out.push('{');
    for (index, (name, value)) in object.as_object().into_iter().flatten().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_text(out, name);
        out.push(':');
        write_value(out, name, value);
    }
    out.push('}');
}

/// Appends a text as JSON.
pub(crate) fn write_text(out: &mut String, text: &str) {
    if !is_plain(text.as_bytes()) {
        return by_serde(out, &text.into());
    }
    out.push('"');
    out.push_str(text);
    out.push('"');
}

fn by_serde(out: &mut String, value: &Value) {
    write!(out, "{value}").expect("a string takes whatever is written");
}

/// Is there nothing to escape: no control character, quote or backslash? Eight bytes at a time.
fn is_plain(bytes: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    // In the high bit of each byte of ASCII that is below `n`, and perhaps of others behind one that is.
    let below = |word: u64, n: u64| word.wrapping_sub(ONES * n);
    let (words, rest) = bytes.as_chunks::<8>();
    let mut found = 0;
    for word in words {
        let word = u64::from_ne_bytes(*word);
        let quote = word ^ (ONES * u64::from(b'"'));
        let backslash = word ^ (ONES * u64::from(b'\\'));
        found |= (below(word, 0x20) | below(quote, 1) | below(backslash, 1)) & !word;
    }
    found & (ONES << 7) == 0 && rest.iter().all(|byte| *byte >= 0x20 && *byte != b'"' && *byte != b'\\')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            text().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(text(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// Long and short, mostly plain, with what has to be escaped anywhere.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z]{0,40}", "[ -~]{0,40}", "[a-z]{0,20}[\"\\\\\u{0}-\u{1f}\u{7f}é€😀]{1}[a-z]{0,20}"]
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_serde_writes_and_is_read_again(value in values()) {
            let mut out = String::new();
            write(&mut out, &value);
            prop_assert_eq!(&out, &value.to_string());
            let read = read(out.as_bytes()).unwrap();
            prop_assert_eq!(read.value, serde_json::from_str::<Value>(&out).unwrap());
            prop_assert!(read.duplicates.is_empty());
        }
    }

    #[test]
    fn what_is_named_twice_is_found_in_the_order_of_the_text_and_the_last_counts() {
        let text = r#"{"a": {"x": 1, "x": {"y": 1}}, "b": [{}, {"c": 1, "c": 2}], "a": {"x": 3, "x": 4}}"#;
        let read = read(text.as_bytes()).unwrap();
        assert_eq!(read.value, serde_json::from_str::<Value>(text).unwrap());
        let expected = ["a.x", "b[1].c", "a", "a.x"].map(|place| format!("duplicate field \"{place}\""));
        assert_eq!(read.duplicates, expected);
    }
}
