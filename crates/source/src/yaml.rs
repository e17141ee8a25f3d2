//! YAML with places: what each document says, and at which line and column each key and value stands.
//!
//! YAML 1.2's core schema: `yes` and `no` are words, not booleans. What kubectl would read otherwise (octal numbers
//! written `0777`) is refused rather than guessed. JSON is read by the same rules, being YAML.

use std::collections::BTreeMap;

use serde_json::Number;
use serde_saphyr::granit_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag, options};

use crate::placed::{Entry, Node, Place, Placed};

/// The most values of one file, those that aliases repeat included: a mebibyte of YAML has fewer, a bomb has more.
const MAX_VALUES: usize = 100_000;

/// The deepest nesting; our kinds need twelve levels.
const MAX_NESTING: usize = 64;

/// What is wrong with a file's form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: Place,
    pub(crate) message: String,
}

/// The documents of a file, empty ones left out, and everything that is wrong with its form.
///
/// After a fault of syntax the rest of the file is unknown; the documents before it are returned.
pub(crate) fn parse(text: &str) -> (Vec<Placed>, Vec<Fault>) {
    let mut builder = Builder::default();
    let mut options = options! {
        flow_nesting_limit: MAX_NESTING,
        block_nesting_limit: MAX_NESTING,
        block_scalar_eof_without_line_feed: false,
    };
    options.set_emit_comments(false);
    for next in Parser::new_from_str_with_options(text, options) {
        match next {
            Ok((event, span)) => {
                if builder.take(event, span).is_none() {
                    break;
                }
            }
            Err(error) => {
                let message = format!("not YAML: {}", error.info());
                builder.faults.push(Fault { at: place(error.marker()), message });
                break;
            }
        }
    }
    (builder.documents, builder.faults)
}

fn place(marker: &Marker) -> Place {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Place { line: number(marker.line()), column: number(marker.col() + 1) }
}

#[derive(Default)]
struct Builder {
    documents: Vec<Placed>,
    faults: Vec<Fault>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Placed>,
    values: usize,
}

/// A collection that is not over.
struct Open {
    at: Place,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Placed>),
    Map { entries: Vec<Entry>, key: Option<(String, Place, bool)> },
}

impl Builder {
    /// `None` when there is no use in going on.
    fn take(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        let at = place(&span.start);
        match event {
            Event::DocumentStart(..) => self.anchors.clear(),
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain && tag.is_none();
                let node = self.scalar(&text, style, tag.as_deref(), at);
                self.put(Placed { at, node }, anchor, Some((&text, is_plain)))?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), "seq", at);
                self.open.push(Open { at, anchor, content: Content::List(Vec::new()) });
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), "map", at);
                self.open.push(Open { at, anchor, content: Content::Map { entries: Vec::new(), key: None } });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Open { at, anchor, content } = self.open.pop()?;
                let node = match content {
                    Content::List(items) => Node::List(items),
                    Content::Map { entries, .. } => Node::Map(self.merged(entries)),
                };
                self.put(Placed { at, node }, anchor, None)?;
            }
            Event::Alias(id) => {
                let Some(target) = self.anchors.get(&id).cloned() else {
                    self.fault(at, "an alias to something that contains it: write the value out".to_owned());
                    return None;
                };
                self.count(at, size(&target))?;
                self.put(target, 0, None)?;
            }
            // Nothing else carries values.
            _ => {}
        }
        Some(())
    }

    fn fault(&mut self, at: Place, message: String) {
        self.faults.push(Fault { at, message });
    }

    fn count(&mut self, at: Place, values: usize) -> Option<()> {
        self.values += values;
        if self.values > MAX_VALUES {
            self.fault(
                at,
                format!("the file has more than {MAX_VALUES} values, aliases written out: split it"),
            );
            return None;
        }
        Some(())
    }

    /// Puts a finished value where it belongs. `scalar` is its text and whether it is plain, if it is a scalar.
    fn put(&mut self, value: Placed, anchor: usize, scalar: Option<(&str, bool)>) -> Option<()> {
        // What is anchored is kept once more.
        self.count(value.at, if anchor == 0 { 1 } else { size(&value) })?;
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut() {
            None => {
                if !matches!(value.node, Node::Null) {
                    self.documents.push(value);
                }
            }
            Some(Open { content: Content::List(items), .. }) => items.push(value),
            Some(Open { content: Content::Map { entries, key }, .. }) => match key.take() {
                Some((key, at, plain)) => {
                    let first = entries.iter().find(|entry| entry.key == key);
                    // A merge key may be repeated in effect, by a list of mappings, but not written twice.
                    if let Some(first) = first {
                        let line = first.at.line;
                        self.fault(
                            at,
                            format!("the key {key:?} is here twice, first in line {line}: keep one of them"),
                        );
                    } else {
                        let key = if key == "<<" && plain { MERGE.to_owned() } else { key };
                        entries.push(Entry { key, at, value });
                    }
                }
                None => match (scalar, &value.node) {
                    (Some((text, plain)), _) => *key = Some((text.to_owned(), value.at, plain)),
                    (None, Node::Text(text)) => *key = Some((text.clone(), value.at, false)),
                    (None, _) => {
                        let at = value.at;
                        *key = Some((String::new(), at, false));
                        self.fault(at, "a key must be a text".to_owned());
                    }
                },
            },
        }
        Some(())
    }

    /// Merge keys: entries of the mappings that `<<` names, where the mapping has none of that key itself.
    fn merged(&mut self, mut entries: Vec<Entry>) -> Vec<Entry> {
        let Some(index) = entries.iter().position(|entry| entry.key == MERGE) else { return entries };
        let Entry { at, value, .. } = entries.remove(index);
        let sources = match value.node {
            Node::List(items) => items,
            Node::Map(_) | Node::Null | Node::Bool(_) | Node::Number(_) | Node::Text(_) => vec![value],
        };
        for source in sources {
            let Node::Map(merged) = source.node else {
                self.fault(at, "`<<` takes a mapping, or a list of mappings".to_owned());
                continue;
            };
            for entry in merged {
                if !entries.iter().any(|own| own.key == entry.key) {
                    entries.push(entry);
                }
            }
        }
        entries
    }

    fn check_tag(&mut self, tag: Option<&Tag>, expected: &str, at: Place) {
        if let Some(tag) = tag
            && tag.core_suffix() != Some(expected)
        {
            self.fault(at, format!("the tag {} has no meaning here: leave it out", tag.original()));
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, at: Place) -> Node {
        let tagged = match tag.map(|tag| (tag.core_suffix(), tag)) {
            None => None,
            Some((Some(suffix @ ("str" | "int" | "float" | "bool" | "null")), _)) => Some(suffix),
            Some((_, tag)) => {
                self.fault(at, format!("the tag {} has no meaning here: leave it out", tag.original()));
                None
            }
        };
        if tagged == Some("str") || (tagged.is_none() && style != ScalarStyle::Plain) {
            return Node::Text(text.to_owned());
        }
        match resolve(text) {
            Ok(node) => node,
            Err(message) => {
                self.fault(at, message);
                Node::Null
            }
        }
    }
}

/// What a merge key is kept as until its mapping is over; no key of a text can be it.
const MERGE: &str = "\u{0}<<";

/// How many values there are in it, itself included.
fn size(value: &Placed) -> usize {
    match &value.node {
        Node::Null | Node::Bool(_) | Node::Number(_) | Node::Text(_) => 1,
        Node::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Node::Map(entries) => 1 + entries.iter().map(|entry| size(&entry.value)).sum::<usize>(),
    }
}

/// A plain scalar's meaning in YAML 1.2's core schema.
fn resolve(text: &str) -> Result<Node, String> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Node::Null,
        "true" | "True" | "TRUE" => Node::Bool(true),
        "false" | "False" | "FALSE" => Node::Bool(false),
        _ if digits(unsigned) => {
            if unsigned.len() > 1 && unsigned.starts_with('0') {
                return Err(format!(
                    "{text} is octal to some and decimal to others: write it without the 0, or in quotes"
                ));
            }
            let plain = text.strip_prefix('+').unwrap_or(text);
            match (plain.parse::<i64>(), plain.parse::<u64>()) {
                (Ok(number), _) => Node::Number(number.into()),
                (Err(_), Ok(number)) => Node::Number(number.into()),
                (Err(_), Err(_)) => {
                    return Err(format!("{text} is too large a number: put it in quotes if it is a text"));
                }
            }
        }
        _ if text.starts_with("0x") && text.len() > 2 && text[2..].bytes().all(|b| b.is_ascii_hexdigit()) => {
            u64::from_str_radix(&text[2..], 16)
                .map(|n| Node::Number(n.into()))
                .map_err(|_| format!("{text} is too large a number"))?
        }
        _ if text.starts_with("0o")
            && text.len() > 2
            && text[2..].bytes().all(|b| (b'0'..=b'7').contains(&b)) =>
        {
            u64::from_str_radix(&text[2..], 8)
                .map(|n| Node::Number(n.into()))
                .map_err(|_| format!("{text} is too large a number"))?
        }
        _ if is_float(unsigned) => match text.parse::<f64>().ok().and_then(Number::from_f64) {
            Some(number) => Node::Number(number),
            None => return Err(format!("{text} is too large a number: put it in quotes if it is a text")),
        },
        _ => Node::Text(text.to_owned()),
    })
}

/// `[0-9]+ [. [0-9]*] [e…]` or `. [0-9]+ [e…]`, without a sign.
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_good = match mantissa.split_once('.') {
        Some((whole, part)) => {
            all_digits(whole) && all_digits(part) && !(whole.is_empty() && part.is_empty())
        }
        None => !mantissa.is_empty() && all_digits(mantissa),
    };
    let exponent_good = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    mantissa_good && exponent_good
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(text: &str, expected: Expect) {
        let (documents, faults) = parse(text);
        let mut out = String::new();
        for document in documents {
            out += &format!("= {}:{} {}\n", document.at.line, document.at.column, document.to_value());
        }
        for Fault { at, message } in faults {
            out += &format!("! {}:{} {message}\n", at.line, at.column);
        }
        expected.assert_eq(&out);
    }

    #[test]
    fn values_mean_what_yaml_1_2_says() {
        check(
            "a: [1, -2, 0x10, 0o17, 1.5, 1e3, 18446744073709551615, true, null, ~, yes, '1', \"x\\n\", 2026-01-01, 1.2.3, +7]\nb: !!str 5\n",
            expect![[r#"
                = 1:1 {"a":[1,-2,16,15,1.5,1000.0,18446744073709551615,true,null,null,"yes","1","x\n","2026-01-01","1.2.3",7],"b":"5"}
            "#]],
        );
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        check(
            "a: 0777\na: 2\nb: !secret x\nc: 99999999999999999999\n? [x]\n: 1\n",
            expect![[r#"
                = 1:1 {"":1,"a":null,"b":"x","c":null}
                ! 1:4 0777 is octal to some and decimal to others: write it without the 0, or in quotes
                ! 2:1 the key "a" is here twice, first in line 1: keep one of them
                ! 3:12 the tag !secret has no meaning here: leave it out
                ! 4:4 99999999999999999999 is too large a number: put it in quotes if it is a text
                ! 5:3 a key must be a text
            "#]],
        );
    }

    #[test]
    fn several_documents_and_empty_ones() {
        check(
            "# only a comment\n---\n---\na: 1\n---\n# nothing\n---\nb: 2\n...\n",
            expect![[r#"
                = 4:1 {"a":1}
                = 8:1 {"b":2}
            "#]],
        );
        check("", expect![""]);
    }

    #[test]
    fn a_fault_of_syntax_keeps_what_stood_before_it() {
        let (documents, faults) = parse("a: 1\n---\nb: [1\nc: 2\n---\nd: 3\n");
        assert_eq!(documents.len(), 1);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].message.starts_with("not YAML: "), "{faults:?}");
    }

    #[test]
    fn aliases_and_merge_keys_are_written_out() {
        check(
            "base: &base {x: 1, y: 2}\na: {<<: *base, y: 3}\nb: *base\n",
            expect![[r#"
                = 1:1 {"a":{"x":1,"y":3},"b":{"x":1,"y":2},"base":{"x":1,"y":2}}
            "#]],
        );
    }

    #[test]
    fn a_bomb_of_aliases_does_not_go_off() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let previous = format!("*a{}, ", n - 1).repeat(9);
            bomb += &format!("a{n}: &a{n} [{}]\n", previous.trim_end_matches(", "));
        }
        let (_, faults) = parse(&bomb);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].message.contains("more than 100000 values"), "{faults:?}");
        let (_, faults) = parse(&"[".repeat(100));
        assert!(faults[0].message.starts_with("not YAML"), "{faults:?}");
    }

    #[test]
    fn json_is_read_too() {
        check(
            "{\n  \"a\": \"\\u00e9\\/\",\n  \"b\": [1.5, {\"c\": null}]\n}\n",
            expect![[r#"
                = 1:1 {"a":"é/","b":[1.5,{"c":null}]}
            "#]],
        );
    }
}
