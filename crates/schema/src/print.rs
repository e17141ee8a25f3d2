//! Go's way to print values, which the API server's messages show.

use serde_json::{Number, Value};

/// A field's path as causes show it: the root has no name.
pub(crate) fn field(path: &str) -> String {
    if path.is_empty() { "<nil>".to_owned() } else { path.to_owned() }
}

/// A value inside a message: `"x"`, `3`, `true`, `null`, `{"a":1}`.
pub(crate) fn value(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Number(n) => number(n),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// A number as Go's `%v` prints it: integers plainly, floats like [`float`].
pub(crate) fn number(n: &Number) -> String {
    match n.as_i64() {
        Some(integer) => integer.to_string(),
        None => float(n.as_f64().unwrap_or(f64::NAN)),
    }
}

/// A float as Go's `%v` prints it: `0.5`, `1`, `1e+06`.
pub(crate) fn float(f: f64) -> String {
    if f == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{f:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return f.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// Text in quotes, with Go's escapes.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x80 && c.is_control() => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_text_print_like_go() {
        assert_eq!(float(0.5), "0.5");
        assert_eq!(float(9.5e21), "9.5e+21");
        assert_eq!(float(1e-7), "1e-07");
        assert_eq!(quoted("a\u{0}\"b\\\n"), r#""a\x00\"b\\\n""#);
    }
}
