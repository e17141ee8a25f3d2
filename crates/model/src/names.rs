//! Names that cannot be wrong: each is parsed once, at the rim, and cheap to clone afterwards.
//!
//! Deliberately not here: what the names refer to.

use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}: {why}")]
pub struct NameError {
    /// The text as it was given, cut to 80 bytes.
    pub text: String,
    /// What it should have been, as in "machine name".
    pub what: &'static str,
    /// What is wrong and what would be right.
    pub why: &'static str,
}

pub(crate) fn refuse(text: &str, what: &'static str, why: &'static str) -> NameError {
    NameError { text: text.chars().take(80).collect(), what, why }
}

fn dns_subdomain(text: &str, limit: usize) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > limit {
        return Err("it must be 1 to 63 characters long (253 for objects other than machines)");
    }
    let ok = |part: &str| {
        let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        !part.is_empty()
            && part.bytes().all(|b| edge(b) || b == b'-')
            && part.bytes().next().is_some_and(edge)
            && part.bytes().last().is_some_and(edge)
    };
    if text.split('.').all(ok) {
        Ok(())
    } else {
        Err("use lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit")
    }
}

fn machine(text: &str) -> Result<(), &'static str> {
    dns_subdomain(text, 63)
}

fn object(text: &str) -> Result<(), &'static str> {
    dns_subdomain(text, 253)
}

fn package(text: &str) -> Result<(), &'static str> {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.');
    if !(2..=128).contains(&text.len()) {
        return Err("a package name has 2 to 128 characters");
    }
    if !text.bytes().all(good) || !text.as_bytes()[0].is_ascii_alphanumeric() {
        return Err(
            "a package name has lower-case letters, digits, '+', '-' and '.', the first a letter or digit",
        );
    }
    Ok(())
}

fn architecture(text: &str) -> Result<(), &'static str> {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if text.is_empty() || text.len() > 32 || !text.bytes().all(good) || text.starts_with('-') {
        return Err("write a dpkg architecture such as amd64 or arm64");
    }
    Ok(())
}

fn unit(text: &str) -> Result<(), &'static str> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'-' | b'_' | b'.' | b'\\' | b'@');
    if text.len() > 255 || !text.contains('.') || !text.bytes().all(good) || text.starts_with('-') {
        return Err("write a systemd unit with its suffix, such as nginx.service");
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "SmolStr", into = "SmolStr")]
        pub struct $type(SmolStr);

        impl $type {
            /// Parses the name.
            ///
            /// # Errors
            /// When the text is not one; the error says what would be.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                $check(text).map_err(|why| refuse(text, $what, why))?;
                Ok(Self(SmolStr::new(text)))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<SmolStr> for $type {
            type Error = NameError;
            fn try_from(text: SmolStr) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }

        impl From<$type> for SmolStr {
            fn from(name: $type) -> SmolStr {
                name.0
            }
        }

        impl std::str::FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.0.as_str(), f)
            }
        }
    };
}

name!(
    /// A FleetMachine's name: a DNS subdomain of at most 63 characters, since it is also a label's value.
    MachineName, "machine name", machine
);
name!(
    /// The name of any other object of ours (baseline, window, budget …): a DNS subdomain.
    ObjectName, "object name", object
);
name!(
    /// A binary package's name, as deb-control(5) has it.
    PackageName, "package name", package
);
name!(
    /// A dpkg architecture: `amd64`, `arm64` …
    Architecture, "architecture", architecture
);
name!(
    /// A systemd unit, with its suffix: `nginx.service`.
    UnitName, "unit name", unit
);

/// A SHA-256; as text `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "SmolStr", into = "SmolStr")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Parses `sha256:<64 hexadecimal digits>`.
    ///
    /// # Errors
    /// When the text has any other form.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let wrong = || refuse(text, "digest", "write sha256: and 64 lower-case hexadecimal digits");
        let hex = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64).ok_or_else(wrong)?;
        let digit = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = digit(digits[0])
                .zip(digit(digits[1]))
                .map(|(high, low)| high << 4 | low)
                .ok_or_else(wrong)?;
        }
        Ok(Self(bytes))
    }

    /// The hexadecimal digits alone, for object names.
    #[must_use]
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
    }
}

impl TryFrom<SmolStr> for Digest {
    type Error = NameError;
    fn try_from(text: SmolStr) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<Digest> for SmolStr {
    fn from(digest: Digest) -> SmolStr {
        SmolStr::from(digest.to_string())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One package on one machine: dpkg's key.
///
/// A package of architecture `all` is listed under the machine's native architecture, as apt does: a package may
/// change between `all` and native from one version to the next and stays the same package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackageKey {
    /// The package.
    pub name: PackageName,
    /// Its architecture, the native one for `all`.
    pub architecture: Architecture,
}

impl fmt::Display for PackageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.architecture)
    }
}

/// Which kind of baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BaselineKind {
    /// `PackageBaseline`.
    PackageBaseline,
    /// `KernelBaseline`.
    KernelBaseline,
}

impl BaselineKind {
    /// The resource kind's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PackageBaseline => "PackageBaseline",
            Self::KernelBaseline => "KernelBaseline",
        }
    }

    /// The prefix of the name of its `BaselineRollout`: `pb-` or `kb-`.
    #[must_use]
    pub fn rollout_prefix(self) -> &'static str {
        match self {
            Self::PackageBaseline => "pb-",
            Self::KernelBaseline => "kb-",
        }
    }
}

/// One baseline, by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BaselineRef {
    /// Its kind.
    pub kind: BaselineKind,
    /// Its name.
    pub name: ObjectName,
}

impl fmt::Display for BaselineRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.name)
    }
}

/// An activity's name: `<machine>-<n>` (rule A1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ActivityName {
    /// The machine.
    pub machine: MachineName,
    /// Its number: one above the highest ever used for the machine, so never repeated.
    pub number: u64,
}

impl ActivityName {
    /// Parses `<machine>-<n>`.
    ///
    /// # Errors
    /// When there is no number at the end or the rest is no machine name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let wrong = || refuse(text, "activity name", "write <machine>-<number>");
        let (machine, number) = text.rsplit_once('-').ok_or_else(wrong)?;
        if number.is_empty() || number.starts_with('0') || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        Ok(Self { machine: MachineName::parse(machine)?, number: number.parse().map_err(|_| wrong())? })
    }
}

impl fmt::Display for ActivityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.machine, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_with_what_would_be_right() {
        assert!(MachineName::parse("web-01.example").is_ok());
        for bad in ["", "Web", "web_1", "-web", "web-", "a..b", &"x".repeat(64)] {
            assert!(MachineName::parse(bad).is_err(), "{bad}");
        }
        assert!(PackageName::parse("libstdc++6").is_ok());
        assert!(PackageName::parse("x").is_err());
        assert!(PackageName::parse("-oAPT::x").is_err());
        assert!(UnitName::parse("nginx.service").is_ok());
        assert!(UnitName::parse("nginx").is_err());
        let text = PackageName::parse("Bad").unwrap_err().to_string();
        assert!(text.starts_with("\"Bad\" is not a package name: "), "{text}");
    }

    // rule: A1
    #[test]
    fn an_activity_is_named_by_machine_and_number() {
        let name = ActivityName::parse("web-01-42").unwrap();
        assert_eq!((name.machine.as_str(), name.number), ("web-01", 42));
        assert_eq!(name.to_string(), "web-01-42");
        assert!(ActivityName::parse("web-01-042").is_err());
        assert!(ActivityName::parse("42").is_err());
    }

    #[test]
    fn a_digest_is_of_the_bytes() {
        let digest = Digest::of(b"");
        assert_eq!(digest.hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(Digest::parse(&digest.to_string()).unwrap(), digest);
        assert!(Digest::parse("sha256:xyz").is_err());
    }
}
