//! What a baseline asks of a package's version: relations as Debian writes them, read as intervals of dpkg's order.
//!
//! Deliberately not here: which version on offer is chosen (rule V2 is the planner's).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::version::{DebianVersion, VersionError};

/// The longest requirement that is read, in bytes; two bounds of the longest real versions take under 200.
pub const MAX_REQUIREMENT_BYTES: usize = 256;

/// The most relations in one requirement; two say every interval there is, the others are for readability.
pub const MAX_RELATIONS: usize = 8;

/// How a version must stand to another (rule V1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Relation {
    /// `<<`
    StrictlyEarlier,
    /// `<=`
    EarlierEqual,
    /// `=`
    Equal,
    /// `>=`
    LaterEqual,
    /// `>>`
    StrictlyLater,
}

impl Relation {
    /// As Debian writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StrictlyEarlier => "<<",
            Self::EarlierEqual => "<=",
            Self::Equal => "=",
            Self::LaterEqual => ">=",
            Self::StrictlyLater => ">>",
        }
    }

    /// Whether `version` stands so to `bound`.
    #[must_use]
    pub fn holds(self, version: &DebianVersion, bound: &DebianVersion) -> bool {
        let order = version.cmp(bound);
        match self {
            Self::StrictlyEarlier => order.is_lt(),
            Self::EarlierEqual => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::LaterEqual => order.is_ge(),
            Self::StrictlyLater => order.is_gt(),
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a baseline asks of a version: the text of `packages[].version`.
///
/// Never one that no version can satisfy: neither [`parse`](Self::parse) nor [`intersect`](Self::intersect) makes such.
/// Variants can be made by hand, though; then it is the maker's business.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "SmolStr", into = "String")]
pub enum VersionRequirement {
    /// Written as nothing: any version will do.
    #[default]
    Any,
    /// `latest`: what apt would install, phasing honoured (rule V2).
    Latest,
    /// All of these hold.
    Relations(Vec<(Relation, DebianVersion)>),
    /// What apt would install, which must also satisfy these; written `latest, >= 1`. Comes of two baselines that meet.
    LatestWithin(Vec<(Relation, DebianVersion)>),
}

impl VersionRequirement {
    /// Reads a requirement: nothing, `latest`, or relations with `,` between them, which is "and".
    ///
    /// # Errors
    /// What is wrong, at which byte, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, RequirementError> {
        if text.len() > MAX_REQUIREMENT_BYTES {
            return Err(RequirementError::TooLong { length: text.len() });
        }
        if text.trim().is_empty() {
            return Ok(Self::Any);
        }
        let mut latest = false;
        let mut relations = Vec::new();
        let mut at = 0;
        for part in text.split(',') {
            let begin = at + (part.len() - part.trim_start().len());
            at += part.len() + 1;
            match part.trim() {
                "" => return Err(RequirementError::EmptyPart { at: begin }),
                "latest" => latest = true,
                part => relations.push(parse_relation(part, begin)?),
            }
        }
        if relations.len() > MAX_RELATIONS {
            return Err(RequirementError::TooMany { count: relations.len() });
        }
        let requirement = Self::of(latest, relations);
        if requirement.bounds().is_empty() {
            return Err(RequirementError::Contradictory { text: SmolStr::new(text.trim()) });
        }
        Ok(requirement)
    }

    fn of(latest: bool, relations: Vec<(Relation, DebianVersion)>) -> Self {
        match (latest, relations.is_empty()) {
            (false, true) => Self::Any,
            (false, false) => Self::Relations(relations),
            (true, true) => Self::Latest,
            (true, false) => Self::LatestWithin(relations),
        }
    }

    /// Whether it asks for what apt would install.
    #[must_use]
    pub fn is_latest(&self) -> bool {
        match self {
            Self::Any | Self::Relations(_) => false,
            Self::Latest | Self::LatestWithin(_) => true,
        }
    }

    /// The relations that must hold; none for `Any` and `Latest`.
    #[must_use]
    pub fn relations(&self) -> &[(Relation, DebianVersion)] {
        match self {
            Self::Any | Self::Latest => &[],
            Self::Relations(relations) | Self::LatestWithin(relations) => relations,
        }
    }

    /// Whether all relations hold for `version`. Of `latest` it says nothing: that takes what is on offer (rule V2).
    #[must_use]
    pub fn satisfied_by(&self, version: &DebianVersion) -> bool {
        self.relations().iter().all(|(relation, bound)| relation.holds(version, bound))
    }

    /// The versions that it names by `=`, which alone may have a pin below 500 (rule V2).
    #[must_use]
    pub fn exact(&self) -> Option<&DebianVersion> {
        self.relations().iter().find(|(relation, _)| *relation == Relation::Equal).map(|(_, version)| version)
    }

    /// What both ask, as at most two relations; `None` if no version can satisfy both: a conflict (rule S2).
    ///
    /// Dpkg's order is taken as dense: between two different versions there is another (`1.0` < `1.0+` < `1.0.1`), so
    /// only crossed bounds, or bounds that meet where one excludes it, leave nothing. `latest` with relations keeps both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let mut both = self.bounds();
        both.narrow(other.relations());
        (!both.is_empty()).then(|| Self::of(self.is_latest() || other.is_latest(), both.relations()))
    }

    fn bounds(&self) -> Bounds<'_> {
        let mut bounds = Bounds::default();
        bounds.narrow(self.relations());
        bounds
    }
}

/// One end of an interval: the version there, and whether it is inside.
type Bound<'a> = Option<(&'a DebianVersion, bool)>;

#[derive(Default)]
struct Bounds<'a> {
    lower: Bound<'a>,
    upper: Bound<'a>,
}

impl<'a> Bounds<'a> {
    fn narrow(&mut self, relations: &'a [(Relation, DebianVersion)]) {
        for (relation, version) in relations {
            match relation {
                Relation::StrictlyEarlier => self.cap(version, false),
                Relation::EarlierEqual => self.cap(version, true),
                Relation::Equal => {
                    self.cap(version, true);
                    self.raise(version, true);
                }
                Relation::LaterEqual => self.raise(version, true),
                Relation::StrictlyLater => self.raise(version, false),
            }
        }
    }

    fn raise(&mut self, version: &'a DebianVersion, inside: bool) {
        self.lower = Some(tighter(self.lower, (version, inside), Ordering::Greater));
    }

    fn cap(&mut self, version: &'a DebianVersion, inside: bool) {
        self.upper = Some(tighter(self.upper, (version, inside), Ordering::Less));
    }

    fn is_empty(&self) -> bool {
        let (Some((lower, lower_inside)), Some((upper, upper_inside))) = (self.lower, self.upper) else {
            return false;
        };
        match lower.cmp(upper) {
            Ordering::Less => false,
            Ordering::Equal => !(lower_inside && upper_inside),
            Ordering::Greater => true,
        }
    }

    fn relations(&self) -> Vec<(Relation, DebianVersion)> {
        match (self.lower, self.upper) {
            (Some((lower, true)), Some((upper, true))) if lower == upper => {
                vec![(Relation::Equal, lower.clone())]
            }
            (lower, upper) => {
                let lower = lower.map(|(version, inside)| {
                    (if inside { Relation::LaterEqual } else { Relation::StrictlyLater }, version.clone())
                });
                let upper = upper.map(|(version, inside)| {
                    (if inside { Relation::EarlierEqual } else { Relation::StrictlyEarlier }, version.clone())
                });
                lower.into_iter().chain(upper).collect()
            }
        }
    }
}

/// The end that leaves less; `inward` is where the inside lies. Of two at one version, the one that excludes it.
fn tighter<'a>(
    old: Bound<'a>,
    new: (&'a DebianVersion, bool),
    inward: Ordering,
) -> (&'a DebianVersion, bool) {
    match old {
        None => new,
        Some(old) => match new.0.cmp(old.0) {
            Ordering::Equal => (old.0, old.1 && new.1),
            order if order == inward => new,
            Ordering::Less | Ordering::Greater => old,
        },
    }
}

fn parse_relation(part: &str, at: usize) -> Result<(Relation, DebianVersion), RequirementError> {
    const WRITTEN: [(&str, Relation); 5] = [
        ("<<", Relation::StrictlyEarlier),
        ("<=", Relation::EarlierEqual),
        (">=", Relation::LaterEqual),
        (">>", Relation::StrictlyLater),
        ("=", Relation::Equal),
    ];
    for (sign, relation) in WRITTEN {
        if let Some(version) = part.strip_prefix(sign) {
            let begin = at + sign.len() + (version.len() - version.trim_start().len());
            return DebianVersion::parse(version.trim())
                .map(|version| (relation, version))
                .map_err(|source| RequirementError::Version { at: begin + source.at, source });
        }
    }
    Err(match part.as_bytes()[0] {
        sign @ (b'<' | b'>') => RequirementError::OldRelation { sign: char::from(sign), at },
        _ => RequirementError::NoRelation { text: SmolStr::new(part), at },
    })
}

/// A text is not a version requirement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequirementError {
    /// Longer than [`MAX_REQUIREMENT_BYTES`].
    #[error(
        "the version requirement has {length} bytes; at most {MAX_REQUIREMENT_BYTES} are read: two bounds are enough"
    )]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// More than [`MAX_RELATIONS`].
    #[error(
        "the version requirement has {count} relations; at most {MAX_RELATIONS} are read: two bounds are enough"
    )]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// Nothing between two commas.
    #[error("nothing stands before or after a comma, at character {}: write a relation there, or take the comma away", at + 1)]
    EmptyPart {
        /// The byte, from 0.
        at: usize,
    },
    /// A version without relation.
    #[error("{text:?} at character {} has no relation: write \"= {text}\", \">= {text}\" or \"latest\"", at + 1)]
    NoRelation {
        /// What stands there.
        text: SmolStr,
        /// The byte, from 0.
        at: usize,
    },
    /// Debian's deprecated `<` and `>`, which meant `<=` and `>=`.
    #[error("\"{sign}\" at character {} is ambiguous in Debian: write \"{sign}{sign}\" or \"{sign}=\"", at + 1)]
    OldRelation {
        /// `<` or `>`.
        sign: char,
        /// The byte, from 0.
        at: usize,
    },
    /// What follows a relation is not a version; `at` is in the whole text.
    #[error("the version at character {} of the requirement cannot be read", at + 1)]
    Version {
        /// The byte, from 0.
        at: usize,
        /// What is wrong with it.
        source: VersionError,
    },
    /// No version can satisfy it.
    #[error("no version satisfies {text:?}: its relations exclude each other")]
    Contradictory {
        /// The requirement.
        text: SmolStr,
    },
}

impl fmt::Display for VersionRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        if self.is_latest() {
            f.write_str("latest")?;
            between = ", ";
        }
        for (relation, version) in self.relations() {
            write!(f, "{between}{relation} {version}")?;
            between = ", ";
        }
        Ok(())
    }
}

impl FromStr for VersionRequirement {
    type Err = RequirementError;
    fn from_str(text: &str) -> Result<Self, RequirementError> {
        Self::parse(text)
    }
}

impl TryFrom<SmolStr> for VersionRequirement {
    type Error = RequirementError;
    fn try_from(text: SmolStr) -> Result<Self, RequirementError> {
        Self::parse(&text)
    }
}

impl From<VersionRequirement> for String {
    fn from(requirement: VersionRequirement) -> Self {
        requirement.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn read(text: &str) -> VersionRequirement {
        VersionRequirement::parse(text).unwrap()
    }

    #[test]
    fn a_refused_requirement_says_what_to_write() {
        let mut out = String::new();
        for text in ["1.2", "< 2", ">1", ">= 1,", ">= 1, << v2", ">= 2, << 1", "= 1, << 1", "latest, 1"] {
            let error = VersionRequirement::parse(text).unwrap_err();
            out += &format!("= {error}\n");
        }
        expect![[r#"
            = "1.2" at character 1 has no relation: write "= 1.2", ">= 1.2" or "latest"
            = "<" at character 1 is ambiguous in Debian: write "<<" or "<="
            = ">" at character 1 is ambiguous in Debian: write ">>" or ">="
            = nothing stands before or after a comma, at character 6: write a relation there, or take the comma away
            = the version at character 10 of the requirement cannot be read
            = no version satisfies ">= 2, << 1": its relations exclude each other
            = no version satisfies "= 1, << 1": its relations exclude each other
            = "1" at character 9 has no relation: write "= 1", ">= 1" or "latest"
        "#]]
        .assert_eq(&out);
        assert!(matches!(
            VersionRequirement::parse(&">= 1,".repeat(9)),
            Err(RequirementError::EmptyPart { .. })
        ));
        assert!(matches!(
            VersionRequirement::parse(&[">= 1"; 9].join(",")),
            Err(RequirementError::TooMany { count: 9 })
        ));
        assert!(matches!(VersionRequirement::parse(&"x".repeat(257)), Err(RequirementError::TooLong { .. })));
    }

    // rule: V1
    #[test]
    fn a_requirement_is_all_of_its_relations() {
        let requirement = read(">= 3.0.15-1~deb12u1,<<3.1");
        assert_eq!(requirement.to_string(), ">= 3.0.15-1~deb12u1, << 3.1");
        for (version, wanted) in [
            ("3.0.15-1~deb12u1", true),
            ("3.0.15-1", true),
            ("3.0.14-1", false),
            ("3.1~rc1", true),
            ("3.1", false),
        ] {
            assert_eq!(
                requirement.satisfied_by(&DebianVersion::parse(version).unwrap()),
                wanted,
                "{version}"
            );
        }
        assert_eq!(serde_json::to_string(&requirement).unwrap(), "\">= 3.0.15-1~deb12u1, << 3.1\"");
    }

    // rule: S2
    #[test]
    fn two_baselines_meet_or_conflict() {
        let meet = |left: &str, right: &str| {
            let meeting = read(left).intersect(&read(right));
            assert_eq!(
                meeting,
                read(right).intersect(&read(left)),
                "{left} with {right}: order does not matter"
            );
            meeting.map_or("conflict".to_owned(), |both| both.to_string())
        };
        assert_eq!(meet("", ""), "");
        assert_eq!(meet("", "latest"), "latest");
        assert_eq!(meet("latest", ">= 1"), "latest, >= 1");
        assert_eq!(meet(">= 1, << 3", ">> 1, <= 2"), ">> 1, <= 2");
        assert_eq!(meet(">= 1", "<= 1"), "= 1");
        assert_eq!(meet(">= 1", "<< 1"), "conflict");
        assert_eq!(meet("= 1.0", "= 1.0-0"), "= 1.0");
        assert_eq!(meet("= 1.0", "= 1.1"), "conflict");
        assert_eq!(meet(">> 2", "<< 1"), "conflict");
        assert_eq!(meet(">> 1.0", "<< 1.0.1"), ">> 1.0, << 1.0.1");
    }
}
