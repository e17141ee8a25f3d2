//! Quantities as people write them in YAML: shares of a fleet and durations.
//!
//! Deliberately not here: what is counted (the planner's budgets and waves).

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use smol_str::SmolStr;

/// The largest count that is read: ten times the fleet that one control plane is built for.
pub const MAX_COUNT: u32 = 1_000_000;

/// A number of machines, or a percentage of them: `3` or `"25%"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Share {
    /// That many, at most [`MAX_COUNT`].
    Count(u32),
    /// That many of a hundred, at most 100.
    Percent(u8),
}

impl Share {
    /// A count.
    ///
    /// # Errors
    /// If it is above [`MAX_COUNT`].
    pub fn count(count: u64) -> Result<Self, ShareError> {
        match u32::try_from(count) {
            Ok(count) if count <= MAX_COUNT => Ok(Self::Count(count)),
            Ok(_) | Err(_) => Err(ShareError::TooMany { count }),
        }
    }

    /// Reads `"25%"`, or a number.
    ///
    /// # Errors
    /// If it is neither, or out of bounds.
    pub fn parse(text: &str) -> Result<Self, ShareError> {
        let fail = || ShareError::Unreadable { text: text.chars().take(40).collect() };
        let digits = text.strip_suffix('%').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(fail());
        }
        let number = digits.parse::<u64>().map_err(|_| fail())?;
        if digits.len() == text.len() {
            return Self::count(number);
        }
        match u8::try_from(number) {
            Ok(percent) if percent <= 100 => Ok(Self::Percent(percent)),
            Ok(_) | Err(_) => Err(fail()),
        }
    }

    /// How many of `of` machines may be unavailable: the floor, but at least 1 of a percentage above 0 where there is a
    /// machine at all (rule B1). A count is itself, even if there are fewer machines.
    #[must_use]
    pub fn max_unavailable_of(self, of: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(0) => 0,
            Self::Percent(percent) => percent_of(percent, of).0.max(usize::from(of > 0)),
        }
    }

    /// How many of `of` machines must be available: the ceiling (rule B1).
    #[must_use]
    pub fn min_available_of(self, of: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => {
                let (floor, rest) = percent_of(percent, of);
                floor + usize::from(rest > 0)
            }
        }
    }

    /// How many of `of` machines may fail: the floor, with no minimum (rule O3).
    #[must_use]
    pub fn floor_of(self, of: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => percent_of(percent, of).0,
        }
    }
}

/// Quotient and remainder of `of * percent / 100`, without overflow.
fn percent_of(percent: u8, of: usize) -> (usize, usize) {
    let percent = usize::from(percent);
    let part = (of % 100) * percent;
    (of / 100 * percent + part / 100, part % 100)
}

/// A value is not a share of machines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// Neither number nor percentage.
    #[error(
        "{text:?} is neither a number of machines nor a percentage: write 3, or \"25%\" (whole, 0% to 100%)"
    )]
    Unreadable {
        /// What was read, shortened.
        text: SmolStr,
    },
    /// Above [`MAX_COUNT`].
    #[error("{count} machines are more than {MAX_COUNT}: write a percentage")]
    TooMany {
        /// What was read.
        count: u64,
    },
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for Share {
    type Err = ShareError;
    fn from_str(text: &str) -> Result<Self, ShareError> {
        Self::parse(text)
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Share;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of machines or a percentage such as \"25%\"")
            }
            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Share, E> {
                Share::count(count).map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, count: i64) -> Result<Share, E> {
                let count = u64::try_from(count).map_err(|_| {
                    E::custom(ShareError::Unreadable { text: SmolStr::from(count.to_string()) })
                })?;
                self.visit_u64(count)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Share, E> {
                Share::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// The longest duration text that is read, in bytes; the longest in use, `87600h59m59.999999999s`, is a fifth of it.
pub const MAX_DURATION_BYTES: usize = 100;

/// The longest duration that is read: ten years, beyond which a span is written as two times.
pub const MAX_DURATION: SignedDuration = SignedDuration::from_hours(87_600);

/// A duration as Go and Kubernetes write it: `1h30m`, `90s`, `500ms`. Never negative, at most [`MAX_DURATION`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "SmolStr", into = "String")]
pub struct GoDuration(SignedDuration);

impl GoDuration {
    /// A duration of that length.
    ///
    /// # Errors
    /// If it is negative or above [`MAX_DURATION`].
    pub fn new(length: SignedDuration) -> Result<Self, DurationError> {
        if length < SignedDuration::ZERO || length > MAX_DURATION {
            let problem =
                if length.is_negative() { DurationProblem::Negative } else { DurationProblem::TooLarge };
            return Err(DurationError { text: SmolStr::from(format!("{length:#}")), at: 0, problem });
        }
        Ok(Self(length))
    }

    /// Reads a duration, as Go's `time.ParseDuration` does.
    ///
    /// # Errors
    /// What is wrong, and at which byte.
    pub fn parse(text: &str) -> Result<Self, DurationError> {
        let fail = |at: usize, problem| DurationError {
            text: text.chars().take(MAX_DURATION_BYTES).collect(),
            at,
            problem,
        };
        if text.len() > MAX_DURATION_BYTES {
            return Err(fail(MAX_DURATION_BYTES, DurationProblem::TooLarge));
        }
        if text.starts_with('-') {
            return Err(fail(0, DurationProblem::Negative));
        }
        let body = text.strip_prefix('+').unwrap_or(text);
        if body == "0" {
            return Ok(Self::default());
        }
        if body.is_empty() {
            return Err(fail(text.len(), DurationProblem::Number));
        }
        let mut total: i128 = 0;
        let mut rest = body;
        while !rest.is_empty() {
            let at = text.len() - rest.len();
            let number_end = rest.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, after) = rest.split_at(number_end);
            let unit_end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
            let (unit, after) = after.split_at(unit_end);
            let scale: i128 = match unit {
                "ns" => 1,
                "us" | "µs" | "μs" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                "" => return Err(fail(at + number_end, DurationProblem::NoUnit)),
                _ => return Err(fail(at + number_end, DurationProblem::Unit)),
            };
            total += scaled(number, scale).ok_or_else(|| fail(at, DurationProblem::Number))?;
            if total > MAX_DURATION.as_nanos() {
                return Err(fail(at, DurationProblem::TooLarge));
            }
            rest = after;
        }
        Ok(Self(SignedDuration::from_nanos_i128(total)))
    }

    /// Its length.
    #[must_use]
    pub fn length(self) -> SignedDuration {
        self.0
    }
}

/// `number`, digits with at most one point among them, times `scale`, what is below a nanosecond cut off.
fn scaled(number: &str, scale: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() > 20 {
        return None;
    }
    let mut sum = if whole.is_empty() { 0 } else { whole.parse::<i128>().ok()?.checked_mul(scale)? };
    let mut unit = scale;
    for digit in fraction.bytes() {
        unit /= 10;
        sum += unit * i128::from(digit - b'0');
    }
    Some(sum)
}

/// A text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration: {problem}, at character {}; write for example \"1h30m\", \"90s\" or \"500ms\"", at + 1)]
pub struct DurationError {
    /// The refused text, shortened.
    pub text: SmolStr,
    /// The byte where it goes wrong, from 0.
    pub at: usize,
    /// What is wrong there.
    pub problem: DurationProblem,
}

/// What can be wrong with a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's message is its documentation")]
pub enum DurationProblem {
    #[error("a number is missing or cannot be read")]
    Number,
    #[error("the unit is missing")]
    NoUnit,
    #[error("the unit is none of h, m, s, ms, us, ns")]
    Unit,
    #[error("it must not be negative")]
    Negative,
    #[error("it is longer than ten years (87600h)")]
    TooLarge,
}

impl fmt::Display for GoDuration {
    /// In Go's form, but without the parts that are zero: `1h30m`, not `1h30m0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.0.as_nanos();
        if total == 0 {
            return f.write_str("0s");
        }
        if total < 1_000_000_000 {
            let (unit, scale) = match total {
                0..1_000 => ("ns", 1),
                1_000..1_000_000 => ("µs", 1_000),
                _ => ("ms", 1_000_000),
            };
            return write_decimal(f, total, scale, unit);
        }
        let (hours, rest) = (total / 3_600_000_000_000, total % 3_600_000_000_000);
        let (minutes, rest) = (rest / 60_000_000_000, rest % 60_000_000_000);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        if rest > 0 { write_decimal(f, rest, 1_000_000_000, "s") } else { Ok(()) }
    }
}

fn write_decimal(f: &mut fmt::Formatter<'_>, value: i128, scale: i128, unit: &str) -> fmt::Result {
    write!(f, "{}", value / scale)?;
    let places = scale.to_string().len() - 1;
    let fraction = format!("{:0places$}", value % scale);
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        write!(f, ".{fraction}")?;
    }
    f.write_str(unit)
}

impl FromStr for GoDuration {
    type Err = DurationError;
    fn from_str(text: &str) -> Result<Self, DurationError> {
        Self::parse(text)
    }
}

impl TryFrom<SmolStr> for GoDuration {
    type Error = DurationError;
    fn try_from(text: SmolStr) -> Result<Self, DurationError> {
        Self::parse(&text)
    }
}

impl From<GoDuration> for String {
    fn from(duration: GoDuration) -> Self {
        duration.to_string()
    }
}

impl From<GoDuration> for SignedDuration {
    fn from(duration: GoDuration) -> Self {
        duration.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_share_is_written_as_a_number_or_a_percentage() {
        let read = serde_json::from_str::<Share>;
        assert_eq!(read("3").unwrap(), Share::Count(3));
        assert_eq!(read("\"25%\"").unwrap(), Share::Percent(25));
        assert_eq!(serde_json::to_string(&[Share::Count(3), Share::Percent(25)]).unwrap(), r#"[3,"25%"]"#);
        for bad in [
            "-1",
            "1000001",
            "\"101%\"",
            "\"2.5%\"",
            "\"%\"",
            "\"\"",
            "\"-3\"",
            "1.5",
            "\"99999999999999999999%\"",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    // rule: B1
    #[test]
    fn no_percentage_of_no_machines_is_a_machine() {
        assert_eq!(Share::Percent(25).max_unavailable_of(0), 0);
        assert_eq!(Share::Percent(25).min_available_of(0), 0);
        assert_eq!(Share::Percent(100).max_unavailable_of(usize::MAX), usize::MAX);
    }

    // rule: O3
    #[test]
    fn failures_have_no_minimum() {
        assert_eq!(Share::Percent(2).floor_of(49), 0);
        assert_eq!(Share::Percent(2).floor_of(50), 1);
        assert_eq!(Share::Count(2).floor_of(1), 2);
    }

    #[test]
    fn durations_are_read_as_go_does() {
        for (text, nanos, shown) in [
            ("0", 0, "0s"),
            ("1h30m", 5_400_000_000_000, "1h30m"),
            ("1h30m0s", 5_400_000_000_000, "1h30m"),
            ("90s", 90_000_000_000, "1m30s"),
            ("500ms", 500_000_000, "500ms"),
            ("1.5h", 5_400_000_000_000, "1h30m"),
            (".5s", 500_000_000, "500ms"),
            ("1.000000001s", 1_000_000_001, "1.000000001s"),
            ("+36h", 129_600_000_000_000, "36h"),
            ("10µs", 10_000, "10µs"),
            ("1h1s", 3_601_000_000_000, "1h1s"),
        ] {
            let duration = GoDuration::parse(text).unwrap();
            assert_eq!(duration.length().as_nanos(), nanos, "{text}");
            assert_eq!(duration.to_string(), shown);
            assert_eq!(GoDuration::parse(shown).unwrap(), duration);
        }
    }

    #[test]
    fn a_refused_duration_says_where_it_goes_wrong() {
        let mut out = String::new();
        for text in ["", "30", "1h30", "1d", "1h 30m", "-5m", "1..5s", ".s", "87601h", "h"] {
            let error = GoDuration::parse(text).unwrap_err();
            out += &format!("= {text:?} at {}: {}\n", error.at, error.problem);
        }
        expect![[r#"
            = "" at 0: a number is missing or cannot be read
            = "30" at 2: the unit is missing
            = "1h30" at 4: the unit is missing
            = "1d" at 1: the unit is none of h, m, s, ms, us, ns
            = "1h 30m" at 1: the unit is none of h, m, s, ms, us, ns
            = "-5m" at 0: it must not be negative
            = "1..5s" at 0: a number is missing or cannot be read
            = ".s" at 0: a number is missing or cannot be read
            = "87601h" at 0: it is longer than ten years (87600h)
            = "h" at 0: a number is missing or cannot be read
        "#]]
        .assert_eq(&out);
        assert!(GoDuration::new(SignedDuration::from_secs(-1)).is_err());
    }
}
