//! String and number formats, as the API server checks them.
//!
//! A format that Kubernetes does not know is ignored, as it does; of those that it knows we check what resources use
//! (not ISBNs, credit cards or colours).

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A format that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Int32,
    Int64,
    Float,
    Double,
    DateTime,
    Date,
    Duration,
    Byte,
    Ipv4,
    Ipv6,
    Cidr,
    Mac,
    Uuid,
    Hostname,
    Uri,
    Email,
}

impl Format {
    /// The format of that name, if it is one that is checked.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "float" => Self::Float,
            "double" => Self::Double,
            "date-time" | "datetime" => Self::DateTime,
            "date" => Self::Date,
            "duration" => Self::Duration,
            "byte" => Self::Byte,
            "ipv4" => Self::Ipv4,
            "ipv6" => Self::Ipv6,
            "cidr" => Self::Cidr,
            "mac" => Self::Mac,
            "uuid" => Self::Uuid,
            "hostname" => Self::Hostname,
            "uri" => Self::Uri,
            "email" => Self::Email,
            _ => return None,
        })
    }

    /// Its name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float => "float",
            Self::Double => "double",
            Self::DateTime => "date-time",
            Self::Date => "date",
            Self::Duration => "duration",
            Self::Byte => "byte",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Cidr => "cidr",
            Self::Mac => "mac",
            Self::Uuid => "uuid",
            Self::Hostname => "hostname",
            Self::Uri => "uri",
            Self::Email => "email",
        }
    }

    /// Whether a text has this format; the number formats say nothing about texts.
    pub(crate) fn admits(self, text: &str) -> bool {
        match self {
            Self::Int32 | Self::Int64 | Self::Float | Self::Double => true,
            Self::DateTime => is_date_time(text),
            Self::Date => is_date(text),
            Self::Duration => duration_nanoseconds(text).is_some(),
            Self::Byte => STANDARD.decode(text).is_ok(),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Self::Cidr => is_cidr(text),
            Self::Mac => is_mac(text),
            Self::Uuid => is_uuid(text),
            Self::Hostname => is_hostname(text),
            Self::Uri => is_uri(text),
            Self::Email => is_email(text),
        }
    }

    /// Whether values of this format have a length that needs no `maxLength` to be known.
    pub(crate) fn is_bounded(self) -> bool {
        matches!(
            self,
            Self::DateTime
                | Self::Date
                | Self::Duration
                | Self::Ipv4
                | Self::Ipv6
                | Self::Cidr
                | Self::Mac
                | Self::Uuid
        )
    }
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

/// RFC 3339 with any number of decimals, no leap second: what Go's strfmt takes.
fn is_date_time(text: &str) -> bool {
    let Some((date, time)) = text.split_once(['T', 't']) else { return false };
    if !is_date(date) || time.len() < 9 || !time.is_ascii() {
        return false;
    }
    let (clock, rest) = time.split_at(8);
    let parts: Vec<&str> = clock.split(':').collect();
    let within = |index: usize, max: u8| {
        parts.get(index).is_some_and(|p| p.len() == 2 && p.parse::<u8>().is_ok_and(|n| n <= max))
    };
    if parts.len() != 3 || !within(0, 23) || !within(1, 59) || !within(2, 59) {
        return false;
    }
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if zone.len() == fraction.len() {
                return false;
            }
            zone
        }
        None => rest,
    };
    let digits = |s: &str| s.len() == 2 && s.bytes().all(|b| b.is_ascii_digit());
    match zone.strip_prefix(['+', '-']) {
        Some(offset) => offset.split_once(':').is_some_and(|(h, m)| digits(h) && digits(m)),
        None => zone == "Z" || zone == "z",
    }
}

/// The length of a duration in nanoseconds: Go's `1h30m`, or strfmt's longer words (`3 days`).
pub(crate) fn duration_nanoseconds(text: &str) -> Option<i64> {
    go_duration(text).or_else(|| worded_duration(text))
}

/// A duration as Go's `time.ParseDuration` reads it.
fn go_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(unit)?)?;
        let mut part = unit;
        for digit in fraction.bytes() {
            part /= 10;
            total += i128::from(digit - b'0') * part;
        }
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// One number and one word, as strfmt takes beside Go's form.
fn worded_duration(text: &str) -> Option<i64> {
    let text = text.trim().to_lowercase();
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, word) = text.split_at(end);
    let unit: i64 = match word.trim() {
        "ns" | "nano" | "nanosecond" | "nanoseconds" => 1,
        "us" | "µs" | "micro" | "microsecond" | "microseconds" => 1_000,
        "ms" | "milli" | "millisecond" | "milliseconds" => 1_000_000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000_000,
        "h" | "hr" | "hour" | "hours" => 3_600_000_000_000,
        "d" | "day" | "days" => 86_400_000_000_000,
        "w" | "wk" | "week" | "weeks" => 604_800_000_000_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit)
}

fn is_cidr(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, length)| {
        let Ok(length) = length.parse::<u8>() else { return false };
        (address.parse::<Ipv4Addr>().is_ok() && length <= 32)
            || (address.parse::<Ipv6Addr>().is_ok() && length <= 128)
    })
}

fn is_mac(text: &str) -> bool {
    let separator = if text.contains(':') { ':' } else { '-' };
    let parts: Vec<&str> = text.split(separator).collect();
    matches!(parts.len(), 6 | 8)
        && parts.iter().all(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn is_uuid(text: &str) -> bool {
    let plain: String = text.chars().filter(|c| *c != '-').collect();
    let dashed = text.len() == 36 && [8, 13, 18, 23].iter().all(|&i| text.as_bytes()[i] == b'-');
    (dashed || text.len() == 32) && plain.len() == 32 && plain.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_hostname(text: &str) -> bool {
    let label = |part: &str| {
        !part.is_empty()
            && part.len() <= 63
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= 255 && text.trim_end_matches('.').split('.').all(label)
}

/// An absolute URI or path, as Go's `url.ParseRequestURI` takes it.
fn is_uri(text: &str) -> bool {
    if text.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return false;
    }
    if text.starts_with('/') {
        return true;
    }
    text.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
            && !rest.is_empty()
    })
}

fn is_email(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(user, host)| {
        !user.is_empty() && !user.contains(char::is_whitespace) && is_hostname(host)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_go_durations_or_a_number_and_a_word() {
        assert_eq!(duration_nanoseconds("1h30m"), Some(5_400_000_000_000));
        assert_eq!(duration_nanoseconds("-1.5s"), Some(-1_500_000_000));
        assert_eq!(duration_nanoseconds("0"), Some(0));
        assert_eq!(duration_nanoseconds("3 days"), Some(259_200_000_000_000));
        for bad in ["", "1", "1 parsec", "1.2.3s", ".s", "999999999999h"] {
            assert_eq!(duration_nanoseconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn date_times_are_rfc_3339() {
        for good in ["2020-02-29T00:00:00Z", "2020-01-01t10:00:00.123456789012+02:00"] {
            assert!(Format::DateTime.admits(good), "{good}");
        }
        for bad in [
            "yesterday",
            "2020-02-30T00:00:00Z",
            "2020-01-01T24:00:00Z",
            "2020-01-01T00:00:00",
            "2020-01-01T00:00:00.Z",
        ] {
            assert!(!Format::DateTime.admits(bad), "{bad}");
        }
    }

    #[test]
    fn addresses_and_identifiers() {
        assert!(Format::Cidr.admits("10.0.0.0/8") && !Format::Cidr.admits("10.0.0.0/33"));
        assert!(
            Format::Uuid.admits("123e4567-e89b-12d3-a456-426614174000") && !Format::Uuid.admits("123e4567")
        );
        assert!(Format::Uri.admits("https://example.com/a") && !Format::Uri.admits("example.com/a b"));
        assert!(Format::Mac.admits("00:11:22:33:44:55") && !Format::Mac.admits("00:11"));
    }
}
