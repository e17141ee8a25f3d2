//! Debian package versions and what a baseline may ask of them: dpkg's order, and sets of versions as intervals of it.
//!
//! Deliberately not here: which version apt would choose, pins and phasing (rule V2 is the planner's).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// The longest version that is read, in bytes.
///
/// dpkg has no limit; the longest in Debian and Ubuntu is under 80, and inventories hold thousands of them.
pub const MAX_VERSION_BYTES: usize = 256;

/// A Debian version, `[epoch:]upstream[-revision]`, ordered exactly as dpkg does (rule V1).
///
/// Two texts can be the same version: `1.0`, `0:1.0` and `1.0-0` are equal and hash alike. `Display` gives the text that was
/// read, without blanks around it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "SmolStr", into = "SmolStr")]
pub struct DebianVersion {
    text: SmolStr,
    epoch: u32,
    /// Where the upstream version begins in `text`, and where it ends; the revision is what follows the hyphen there.
    upstream: (u16, u16),
}

impl DebianVersion {
    /// Reads a version; accepts what `dpkg --validate-version` accepts (rule V1).
    ///
    /// # Errors
    /// What is wrong, and at which byte, if it is not a version.
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        let fail = |at: usize, problem| Err(VersionError { text: shortened(text), at, problem });
        if text.len() > MAX_VERSION_BYTES {
            return fail(MAX_VERSION_BYTES, VersionProblem::TooLong);
        }
        let blank = |c| c == ' ' || c == '\t';
        let lead = text.len() - text.trim_start_matches(blank).len();
        let trimmed = text.trim_matches(blank);
        if trimmed.is_empty() {
            return fail(0, VersionProblem::Empty);
        }
        if let Some(at) = trimmed.find(char::is_whitespace) {
            return fail(lead + at, VersionProblem::EmbeddedSpace);
        }
        let (epoch, start) = match trimmed.find(':') {
            None => (0, 0),
            Some(colon) => match read_epoch(&trimmed[..colon]) {
                Ok(_) if colon + 1 == trimmed.len() => {
                    return fail(lead + colon + 1, VersionProblem::EmptyUpstream);
                }
                Ok(epoch) => (epoch, colon + 1),
                Err(problem) => return fail(lead, problem),
            },
        };
        let (end, revision) = match trimmed[start..].rfind('-') {
            None => (trimmed.len(), None),
            Some(hyphen) => (start + hyphen, Some(start + hyphen + 1)),
        };
        if revision == Some(trimmed.len()) {
            return fail(lead + trimmed.len(), VersionProblem::EmptyRevision);
        }
        if start == end {
            return fail(lead + start, VersionProblem::EmptyUpstream);
        }
        if !trimmed.as_bytes()[start].is_ascii_digit() {
            return fail(lead + start, VersionProblem::NoDigit);
        }
        let upstream_ok = |c: char| c.is_ascii_alphanumeric() || ".-+~:".contains(c);
        if let Some(at) = trimmed[start..end].find(|c| !upstream_ok(c)) {
            return fail(lead + start + at, VersionProblem::UpstreamCharacter);
        }
        let revision_ok = |c: char| c.is_ascii_alphanumeric() || ".+~".contains(c);
        if let Some(from) = revision
            && let Some(at) = trimmed[from..].find(|c| !revision_ok(c))
        {
            return fail(lead + from + at, VersionProblem::RevisionCharacter);
        }
        let place = |at: usize| u16::try_from(at).expect("MAX_VERSION_BYTES fits u16");
        Ok(Self { text: SmolStr::new(trimmed), epoch, upstream: (place(start), place(end)) })
    }

    /// The text that was read.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The epoch; 0 where none is written.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The upstream part, without epoch and revision.
    #[must_use]
    pub fn upstream(&self) -> &str {
        &self.text[usize::from(self.upstream.0)..usize::from(self.upstream.1)]
    }

    /// The Debian revision; empty where none is written, which dpkg holds equal to `0`.
    #[must_use]
    pub fn revision(&self) -> &str {
        self.text.get(usize::from(self.upstream.1) + 1..).unwrap_or("")
    }
}

fn read_epoch(text: &str) -> Result<u32, VersionProblem> {
    // dpkg reads it with strtoimax, so a plus sign is fine.
    let digits = text.strip_prefix('+').unwrap_or(text);
    match text.bytes().next() {
        None => return Err(VersionProblem::EmptyEpoch),
        // dpkg says "epoch in version is empty" of letters, too; "not a number" helps more.
        Some(_) if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) => {
            return Err(VersionProblem::EpochNotNumber);
        }
        Some(_) => {}
    }
    digits.parse::<i32>().map(i32::unsigned_abs).map_err(|_| VersionProblem::EpochTooBig)
}

/// What of a refused text goes into its error: enough to find it again.
fn shortened(text: &str) -> SmolStr {
    const SHOWN_CHARACTERS: usize = 80;
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        None => SmolStr::new(text),
        Some((end, _)) => SmolStr::from(format!("{}…", &text[..end])),
    }
}

/// A text is not a Debian version (rule V1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a Debian version: {problem}, at character {}", at + 1)]
pub struct VersionError {
    /// The refused text, shortened.
    pub text: SmolStr,
    /// The byte where it goes wrong, from 0.
    pub at: usize,
    /// What is wrong there.
    pub problem: VersionProblem,
}

/// What can be wrong with a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's message is its documentation")]
pub enum VersionProblem {
    #[error("it is longer than {MAX_VERSION_BYTES} bytes")]
    TooLong,
    #[error("it is empty")]
    Empty,
    #[error("there is a space inside")]
    EmbeddedSpace,
    #[error("the epoch before the colon is empty")]
    EmptyEpoch,
    #[error("the epoch before the colon is not a number")]
    EpochNotNumber,
    #[error("the epoch is above 2147483647")]
    EpochTooBig,
    #[error("the upstream version is empty")]
    EmptyUpstream,
    #[error("the revision after the last hyphen is empty")]
    EmptyRevision,
    #[error("the upstream version must start with a digit")]
    NoDigit,
    #[error("the upstream version may hold only letters, digits and . + ~ - :")]
    UpstreamCharacter,
    #[error("the revision after the last hyphen may hold only letters, digits and . + ~")]
    RevisionCharacter,
}

impl Ord for DebianVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        // Most machines have what they are to have, and most twins have the same: that is told without parsing.
        if self.text == other.text {
            return Ordering::Equal;
        }
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare_parts(self.upstream(), other.upstream()))
            .then_with(|| compare_parts(self.revision(), other.revision()))
    }
}

/// dpkg's `verrevcmp`: stretches without digits by `weight`, then numbers by value, in turn.
fn compare_parts(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    while !left.is_empty() || !right.is_empty() {
        let (left_words, left_rest) = split_at_digit(left);
        let (right_words, right_rest) = split_at_digit(right);
        for place in 0..left_words.len().max(right_words.len()) {
            let order = weight(left_words.get(place)).cmp(&weight(right_words.get(place)));
            if order.is_ne() {
                return order;
            }
        }
        let (left_number, left_rest) = split_number(left_rest);
        let (right_number, right_rest) = split_number(right_rest);
        // Without leading zeros, the longer number is the greater; so no number is too big.
        let order = left_number.len().cmp(&right_number.len()).then_with(|| left_number.cmp(right_number));
        if order.is_ne() {
            return order;
        }
        (left, right) = (left_rest, right_rest);
    }
    Ordering::Equal
}

/// `~` sorts before the end of the part, that before letters, those before everything else.
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    }
}

fn split_at_digit(part: &[u8]) -> (&[u8], &[u8]) {
    part.split_at(part.iter().position(u8::is_ascii_digit).unwrap_or(part.len()))
}

/// A number without its leading zeros, and what follows it.
fn split_number(part: &[u8]) -> (&[u8], &[u8]) {
    let (number, rest) = part.split_at(part.iter().position(|b| !b.is_ascii_digit()).unwrap_or(part.len()));
    (&number[number.iter().position(|b| *b != b'0').unwrap_or(number.len())..], rest)
}

impl PartialOrd for DebianVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for DebianVersion {
    fn eq(&self, other: &Self) -> bool {
        // Nearly all that are equal are so by their text.
        self.text == other.text || self.cmp(other).is_eq()
    }
}

impl Eq for DebianVersion {}

impl Hash for DebianVersion {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.epoch.hash(state);
        for part in [self.upstream(), self.revision()] {
            let mut rest = part.as_bytes();
            while !rest.is_empty() {
                let (words, after) = split_at_digit(rest);
                let (number, after) = split_number(after);
                // A part of nothing but zeros equals an empty one.
                if !(words.is_empty() && number.is_empty()) {
                    (words, number).hash(state);
                }
                rest = after;
            }
            0xff_u8.hash(state);
        }
    }
}

impl fmt::Display for DebianVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for DebianVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DebianVersion({})", self.text)
    }
}

impl FromStr for DebianVersion {
    type Err = VersionError;
    fn from_str(text: &str) -> Result<Self, VersionError> {
        Self::parse(text)
    }
}

impl TryFrom<SmolStr> for DebianVersion {
    type Error = VersionError;
    fn try_from(text: SmolStr) -> Result<Self, VersionError> {
        Self::parse(&text)
    }
}

impl From<DebianVersion> for SmolStr {
    fn from(version: DebianVersion) -> Self {
        version.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_refused_version_says_where_it_goes_wrong() {
        let mut out = String::new();
        for text in ["", "abc:1", "1.0-", "1 0", "2147483648:1", "1.0_1", "1-2_3", "v1", "1:", "1:-1"] {
            out += &format!("= {}\n", DebianVersion::parse(text).unwrap_err());
        }
        expect![[r#"
            = "" is not a Debian version: it is empty, at character 1
            = "abc:1" is not a Debian version: the epoch before the colon is not a number, at character 1
            = "1.0-" is not a Debian version: the revision after the last hyphen is empty, at character 5
            = "1 0" is not a Debian version: there is a space inside, at character 2
            = "2147483648:1" is not a Debian version: the epoch is above 2147483647, at character 1
            = "1.0_1" is not a Debian version: the upstream version may hold only letters, digits and . + ~ - :, at character 4
            = "1-2_3" is not a Debian version: the revision after the last hyphen may hold only letters, digits and . + ~, at character 4
            = "v1" is not a Debian version: the upstream version must start with a digit, at character 1
            = "1:" is not a Debian version: the upstream version is empty, at character 3
            = "1:-1" is not a Debian version: the upstream version is empty, at character 3
        "#]]
        .assert_eq(&out);
    }

    #[test]
    fn blanks_around_a_version_are_not_part_of_it() {
        assert_eq!(DebianVersion::parse("\t 1:1.0-1 ").unwrap().as_str(), "1:1.0-1");
    }

    #[test]
    fn a_version_shows_its_parts() {
        let version = DebianVersion::parse("2:1.0-rc1:x-3").unwrap();
        assert_eq!((version.epoch(), version.upstream(), version.revision()), (2, "1.0-rc1:x", "3"));
        assert_eq!(DebianVersion::parse("1.0").unwrap().revision(), "");
    }
}
