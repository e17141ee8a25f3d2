//! Names that API servers and kernels make up: nearly always a UUID, which takes sixteen bytes and not the text of one.

use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::NameError;
use crate::names::refuse;

/// The uid that the API server gave an object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "SmolStr", into = "SmolStr")]
pub struct Uid(Form);

/// What Linux calls one boot: `/proc/sys/kernel/random/boot_id`. Any text is one, as machines say what they like.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "SmolStr", into = "SmolStr")]
pub struct BootId(Form);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Form {
    /// As RFC 9562 writes it, in lower case: so its text is known from its bytes.
    Uuid([u8; 16]),
    /// Nobody promises more than that it is a text.
    Text(SmolStr),
}

/// The length of a UUID's text.
const LENGTH: usize = 36;

/// Where its hyphens are.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

const DIGITS: &[u8; 16] = b"0123456789abcdef";

impl Uid {
    /// Parses the uid.
    ///
    /// # Errors
    /// When the text is none: it is empty, longer than 64 characters, or has some that cannot be printed.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > 64 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refuse(text, "uid", "a uid has 1 to 64 printable characters"));
        }
        Ok(Self(Form::from(text)))
    }
}

impl From<&str> for Form {
    fn from(text: &str) -> Self {
        bytes_of(text).map_or_else(|| Self::Text(SmolStr::new(text)), Self::Uuid)
    }
}

impl From<Form> for SmolStr {
    fn from(form: Form) -> SmolStr {
        match form {
            Form::Uuid(bytes) => SmolStr::new(ascii(&text_of(&bytes))),
            Form::Text(text) => text,
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(bytes) => f.write_str(ascii(&text_of(bytes))),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// A UUID's bytes; `None`: the text is none, or not as it would be written from its bytes.
fn bytes_of(text: &str) -> Option<[u8; 16]> {
    if text.len() != LENGTH || !HYPHENS.iter().all(|at| text.as_bytes()[*at] == b'-') {
        return None;
    }
    let digit =
        |byte: u8| DIGITS.iter().position(|digit| *digit == byte).and_then(|at| u8::try_from(at).ok());
    let digits = text.bytes().enumerate().filter(|(at, _)| !HYPHENS.contains(at));
    let mut bytes = [0; 16];
    for (place, (_, byte)) in digits.enumerate() {
        bytes[place / 2] = bytes[place / 2] << 4 | digit(byte)?;
    }
    Some(bytes)
}

fn text_of(bytes: &[u8; 16]) -> [u8; LENGTH] {
    let mut text = [b'-'; LENGTH];
    let places = (0..LENGTH).filter(|at| !HYPHENS.contains(at));
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    places.zip(digits).for_each(|(at, digit)| text[at] = DIGITS[usize::from(digit)]);
    text
}

fn ascii(text: &[u8]) -> &str {
    std::str::from_utf8(text).expect("digits and hyphens are ASCII")
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl TryFrom<SmolStr> for Uid {
    type Error = NameError;
    fn try_from(text: SmolStr) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<Uid> for SmolStr {
    fn from(uid: Uid) -> SmolStr {
        uid.0.into()
    }
}

impl std::str::FromStr for Uid {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl From<&str> for BootId {
    fn from(text: &str) -> Self {
        Self(Form::from(text))
    }
}

impl From<SmolStr> for BootId {
    fn from(text: SmolStr) -> Self {
        Self::from(&*text)
    }
}

impl From<BootId> for SmolStr {
    fn from(id: BootId) -> SmolStr {
        id.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_stays_as_it_is_written_and_a_uuid_needs_no_room_beside_it() {
        for (text, is_uuid) in [
            ("8e7c0f1d-2b3a-4c5d-9e6f-0123456789ab", true),
            ("00000000-0000-0000-0000-000000000000", true),
            ("8E7C0F1D-2b3a-4c5d-9e6f-0123456789ab", false),
            ("8e7c0f1d-2b3a-4c5d-9e6f-0123456789a", false),
            ("8e7c0f1d02b3a-4c5d-9e6f-0123456789ab", false),
            ("8e7c0f1d-2b3a-4c5d-9e6f-0123456789ag", false),
            ("reserved", false),
        ] {
            let uid = Uid::parse(text).unwrap();
            assert_eq!(matches!(uid.0, Form::Uuid(_)), is_uuid, "{text}");
            assert_eq!((uid.to_string(), SmolStr::from(uid.clone())), (text.to_owned(), text.into()));
            assert_eq!(format!("{uid:?}"), format!("{text:?}"));
            assert_eq!(BootId::from(text).to_string(), text);
            assert_eq!(serde_json::from_str::<Uid>(&serde_json::to_string(&uid).unwrap()).unwrap(), uid);
        }
        let empty: BootId = serde_json::from_str("\"\"").unwrap();
        assert_eq!((SmolStr::from(empty.clone()), format!("{empty:?}")), (SmolStr::default(), "\"\"".into()));
        assert_eq!(size_of::<Uid>(), size_of::<SmolStr>());
        assert!(
            Uid::parse("").is_err() && Uid::parse("a b").is_err() && Uid::parse(&"x".repeat(65)).is_err()
        );
    }
}
