//! Label selectors, with Kubernetes' meaning and syntax.
//!
//! Deliberately not here: where a machine's labels and facts come from; the caller looks them up.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use smol_str::SmolStr;

/// The most requirements in one selector, `matchLabels` and `matchExpressions` together.
///
/// CEL's cost estimate needs a bound, and nobody reads a selector of more.
pub const MAX_SELECTOR_REQUIREMENTS: usize = 64;

/// The most values in one expression.
pub const MAX_SELECTOR_VALUES: usize = 256;

/// Which machines, by their labels; an empty one selects all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct LabelSelector {
    /// Sorted, without doubles, so that two selectors that were written in another order are equal.
    terms: BTreeSet<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Term {
    key: SmolStr,
    test: LabelTest,
}

/// What is asked of one label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LabelTest {
    /// It has that value; a `matchLabels` entry.
    Is(SmolStr),
    /// It has one of the values.
    In(BTreeSet<SmolStr>),
    /// It has none of the values, or is not there.
    NotIn(BTreeSet<SmolStr>),
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

impl LabelSelector {
    /// The selector that selects every machine.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// A selector of `matchLabels` (as [`LabelTest::Is`]) and `matchExpressions`; all must hold.
    ///
    /// # Errors
    /// A key or value that cannot be a label's, `In` or `NotIn` without values, or more than the limits allow.
    pub fn new(terms: impl IntoIterator<Item = (SmolStr, LabelTest)>) -> Result<Self, SelectorError> {
        let mut selector = Self::default();
        for (index, (key, test)) in terms.into_iter().enumerate() {
            if index == MAX_SELECTOR_REQUIREMENTS {
                return Err(SelectorError::TooManyRequirements);
            }
            label_key(&key)?;
            test.check(&key)?;
            selector.terms.insert(Term { key, test });
        }
        Ok(selector)
    }

    /// Whether it selects every machine.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.terms.is_empty()
    }

    /// What it asks, sorted by key.
    pub fn terms(&self) -> impl Iterator<Item = (&str, &LabelTest)> {
        self.terms.iter().map(|term| (term.key.as_str(), &term.test))
    }

    /// Whether it selects the machine whose labels `lookup` finds.
    pub fn matches<'a>(&self, lookup: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.terms.iter().all(|term| term.test.holds(lookup(&term.key)))
    }

    /// Whether it selects the machine with these labels.
    #[must_use]
    pub fn matches_labels(&self, labels: &BTreeMap<SmolStr, SmolStr>) -> bool {
        self.matches(|key| labels.get(key).map(SmolStr::as_str))
    }
}

impl LabelTest {
    fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Self::Is(wanted) => value == Some(wanted),
            Self::In(values) => value.is_some_and(|value| values.contains(value)),
            Self::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Self::Exists => value.is_some(),
            Self::DoesNotExist => value.is_none(),
        }
    }

    fn check(&self, key: &str) -> Result<(), SelectorError> {
        match self {
            Self::Is(value) => label_value(key, value),
            Self::In(values) | Self::NotIn(values) => {
                if values.is_empty() {
                    return Err(SelectorError::NoValues { key: SmolStr::new(key) });
                }
                if values.len() > MAX_SELECTOR_VALUES {
                    return Err(SelectorError::TooManyValues { key: SmolStr::new(key) });
                }
                values.iter().try_for_each(|value| label_value(key, value))
            }
            Self::Exists | Self::DoesNotExist => Ok(()),
        }
    }
}

/// A selector that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// More than [`MAX_SELECTOR_REQUIREMENTS`].
    #[error(
        "a selector has at most {MAX_SELECTOR_REQUIREMENTS} requirements: label the machines with what they have in common"
    )]
    TooManyRequirements,
    /// More than [`MAX_SELECTOR_VALUES`].
    #[error(
        "the requirement on label {key:?} has more than {MAX_SELECTOR_VALUES} values: give those machines a label of their own"
    )]
    TooManyValues {
        /// The label's key.
        key: SmolStr,
    },
    /// `In` or `NotIn` of nothing.
    #[error("the requirement on label {key:?} has no values: In and NotIn need at least one")]
    NoValues {
        /// The label's key.
        key: SmolStr,
    },
    /// Not a label's key.
    #[error("{key:?} cannot be a label's key: {why}")]
    Key {
        /// What was written.
        key: SmolStr,
        /// What would be right.
        why: &'static str,
    },
    /// Not a label's value.
    #[error("{value:?} cannot be the value of label {key:?}: {why}")]
    Value {
        /// The label's key.
        key: SmolStr,
        /// What was written.
        value: SmolStr,
        /// What would be right.
        why: &'static str,
    },
}

const NAME_RULE: &str =
    "it takes 1 to 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit";
const PREFIX_RULE: &str =
    "before the '/' stands a DNS name: up to 253 lower-case letters, digits, '-' and '.'";

/// Checks a label's key: an optional DNS name and `/`, then a name of at most 63 characters, as Kubernetes does.
///
/// # Errors
/// What would be right.
pub fn label_key(key: &str) -> Result<(), SelectorError> {
    let fail = |why| Err(SelectorError::Key { key: key.chars().take(80).collect(), why });
    let name = match key.split_once('/') {
        Some((prefix, _)) if !is_dns_name(prefix) => return fail(PREFIX_RULE),
        Some((_, name)) => name,
        None => key,
    };
    if name.is_empty() || !is_label_text(name) { fail(NAME_RULE) } else { Ok(()) }
}

/// Checks the value of label `key`: empty, or a name of at most 63 characters, as Kubernetes does.
///
/// # Errors
/// What would be right.
pub fn label_value(key: &str, value: &str) -> Result<(), SelectorError> {
    if is_label_text(value) {
        return Ok(());
    }
    Err(SelectorError::Value {
        key: SmolStr::new(key),
        value: value.chars().take(80).collect(),
        why: NAME_RULE,
    })
}

fn is_label_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
        && bytes.first().is_none_or(u8::is_ascii_alphanumeric)
        && bytes.last().is_none_or(u8::is_ascii_alphanumeric)
}

fn is_dns_name(text: &str) -> bool {
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.len() <= 253
        && text.split('.').all(|part| {
            let bytes = part.as_bytes();
            bytes.iter().all(|b| edge(*b) || *b == b'-')
                && bytes.first().is_some_and(|b| edge(*b))
                && bytes.last().is_some_and(|b| edge(*b))
        })
}

impl fmt::Display for LabelSelector {
    /// As `kubectl -l` takes it; nothing for the selector of all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |values: &BTreeSet<SmolStr>| values.iter().map(SmolStr::as_str).collect::<Vec<_>>().join(",");
        for (index, Term { key, test }) in self.terms.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match test {
                LabelTest::Is(value) => write!(f, "{key}={value}")?,
                LabelTest::In(values) => write!(f, "{key} in ({})", list(values))?,
                LabelTest::NotIn(values) => write!(f, "{key} notin ({})", list(values))?,
                LabelTest::Exists => write!(f, "{key}")?,
                LabelTest::DoesNotExist => write!(f, "!{key}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(values: &[&str]) -> BTreeSet<SmolStr> {
        values.iter().map(SmolStr::new).collect()
    }

    fn select(terms: &[(&str, LabelTest)]) -> Result<LabelSelector, SelectorError> {
        LabelSelector::new(terms.iter().map(|(key, test)| (SmolStr::new(key), test.clone())))
    }

    fn web() -> BTreeMap<SmolStr, SmolStr> {
        [("role", "web"), ("zone", "a"), ("empty", "")].map(|(k, v)| (k.into(), v.into())).into()
    }

    #[test]
    fn a_selector_means_what_it_means_to_kubectl() {
        let selects = |key, test| select(&[(key, test)]).unwrap().matches_labels(&web());
        assert!(LabelSelector::all().matches_labels(&web()));
        assert!(selects("role", LabelTest::Is("web".into())));
        assert!(selects("empty", LabelTest::Is("".into())));
        assert!(!selects("gone", LabelTest::Is("".into())));
        assert!(selects("zone", LabelTest::In(values(&["a", "b"]))));
        assert!(!selects("gone", LabelTest::In(values(&["a"]))));
        assert!(!selects("zone", LabelTest::NotIn(values(&["a"]))));
        assert!(selects("gone", LabelTest::NotIn(values(&["a"]))), "a missing label is not in any set");
        assert!(selects("role", LabelTest::Exists));
        assert!(selects("gone", LabelTest::DoesNotExist));
    }

    #[test]
    fn a_selector_can_be_pasted_behind_kubectl_l() {
        let selector = select(&[
            ("zone", LabelTest::NotIn(values(&["b", "a"]))),
            ("role", LabelTest::Is("web".into())),
            ("fact.muster.dev/os", LabelTest::In(values(&["ubuntu", "debian"]))),
            ("old", LabelTest::DoesNotExist),
            ("gpu", LabelTest::Exists),
        ]);
        assert_eq!(
            selector.unwrap().to_string(),
            "fact.muster.dev/os in (debian,ubuntu),gpu,!old,role=web,zone notin (a,b)"
        );
    }

    #[test]
    fn what_cannot_be_a_label_is_refused() {
        for key in ["", "a/", "/a", "A.b/c", "a/b/c", "-a", "a b", &"x".repeat(64)] {
            assert!(matches!(select(&[(key, LabelTest::Exists)]), Err(SelectorError::Key { .. })), "{key}");
        }
        for value in ["-a", "a b", "ü", &"x".repeat(64)] {
            assert!(select(&[("a", LabelTest::Is(value.into()))]).is_err(), "{value}");
        }
        assert!(matches!(select(&[("a", LabelTest::In(values(&[])))]), Err(SelectorError::NoValues { .. })));
        let many = (0..65).map(|n| (SmolStr::from(format!("k{n}")), LabelTest::Exists));
        assert_eq!(LabelSelector::new(many), Err(SelectorError::TooManyRequirements));
    }
}
