//! What names, labels and annotations may look like, and names that nobody has to choose. Each check returns the complaint
//! in the real server's words.

use rand::Rng as _;

const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

/// A name that nothing else has: a random UUID. (`Uuid::new_v4` would ask the kernel each time.)
pub(crate) fn unique() -> String {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string()
}

/// The end of a generated name.
pub(crate) fn suffix() -> String {
    // No vowels and no look-alikes, as in Kubernetes: no generated name is ever a word.
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut dice = rand::rng();
    (0..5).map(|_| char::from(LETTERS[dice.random_range(0..LETTERS.len())])).collect()
}

fn too_long(limit: usize) -> Option<String> {
    Some(format!("must be no more than {limit} bytes"))
}

fn framed(text: &str, inner: fn(u8) -> bool, edge: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => edge(*first) && edge(*last) && bytes.iter().all(|byte| inner(*byte)),
        _ => false,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// A lower-case DNS label (namespaces).
pub(crate) fn dns_label(text: &str) -> Option<String> {
    if text.contains('.') {
        return Some("must not contain dots".to_owned());
    }
    if text.len() > 63 {
        return Some("must be no more than 63 characters".to_owned());
    }
    (!framed(text, |byte| is_lower(byte) || byte == b'-', is_lower)).then(|| LABEL.to_owned())
}

/// A lower-case DNS subdomain (most names).
pub(crate) fn dns_subdomain(text: &str) -> Option<String> {
    if text.len() > 253 {
        return too_long(253);
    }
    let good = text.split('.').all(|part| framed(part, |byte| is_lower(byte) || byte == b'-', is_lower));
    (!good).then(|| SUBDOMAIN.to_owned())
}

/// A label or annotation key, or a finalizer.
pub(crate) fn label_key(text: &str) -> Option<String> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    if name.contains('/') {
        return Some(
            "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')".to_owned(),
        );
    }
    match prefix {
        Some("") => return Some("prefix part must be non-empty".to_owned()),
        Some(prefix) => {
            if let Some(why) = dns_subdomain(prefix) {
                return Some(format!("prefix part {why}"));
            }
        }
        None => {}
    }
    if name.is_empty() {
        return Some(format!("name part must be non-empty; {QUALIFIED}"));
    }
    if name.len() > 63 {
        return Some("name part must be no more than 63 bytes".to_owned());
    }
    (!framed(name, is_word, |byte| byte.is_ascii_alphanumeric())).then(|| QUALIFIED.to_owned())
}

/// A label's value.
pub(crate) fn label_value(text: &str) -> Option<String> {
    if text.len() > 63 {
        return too_long(63);
    }
    let good = text.is_empty() || framed(text, is_word, |byte| byte.is_ascii_alphanumeric());
    (!good).then(|| VALUE.to_owned())
}
