//! Schedules: cron text with its pitfalls taken out, and time zones.
//!
//! croner reads the text and judges days; it is never asked for instants, since it resolves gaps and folds otherwise than
//! rule W4 wants. Deliberately not here: from local times to instants and spans (`spans`).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use smol_str::SmolStr;

/// The longest schedule text that is read, in bytes; a list of all 24 hours takes about 70.
pub const MAX_SCHEDULE_BYTES: usize = 256;

/// The longest time zone name that is read, in bytes; the longest in the IANA database has 32.
pub const MAX_ZONE_BYTES: usize = 64;

/// When a window starts, in local time: five cron fields, of which day-of-month or weekday is `*`.
///
/// `#` (second Tuesday: `TUE#2`), `L` (last day of the month; last Friday: `FRIL` or `5L`) and names are read.
/// Seconds, years, `W`, `?` and `@daily` are not: what they say, the five fields and `offsetDays` say as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    text: SmolStr,
    cron: Arc<Cron>,
    daily: bool,
    /// Minutes of the day, ascending, at least one.
    minutes: Arc<[u16]>,
}

const FIELDS: [&str; 5] = ["minute", "hour", "day-of-month", "month", "weekday"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// Which field cannot be read, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        if text.len() > MAX_SCHEDULE_BYTES {
            return Err(ScheduleError::TooLong { length: text.len() });
        }
        let upper = text.to_ascii_uppercase();
        let fields: Vec<&str> = upper.split_ascii_whitespace().collect();
        let Ok(fields) = <[&str; 5]>::try_from(fields.as_slice()) else {
            return Err(ScheduleError::Fields { count: fields.len() });
        };
        for (index, field) in fields.into_iter().enumerate() {
            check_field(index, field).map_err(|why| ScheduleError::Field {
                field: FIELDS[index],
                text: SmolStr::new(field),
                why: SmolStr::new(why),
            })?;
        }
        if fields[2] != "*" && fields[4] != "*" {
            return Err(ScheduleError::TwoDays {
                day: SmolStr::new(fields[2]),
                weekday: SmolStr::new(fields[4]),
            });
        }
        let cron = parser().parse(&fields.join(" ")).map_err(|error| blame(&fields, &error.to_string()))?;
        let minutes: Arc<[u16]> = cron
            .pattern
            .hours
            .values()
            .into_iter()
            .flat_map(|hour| cron.pattern.minutes.values().into_iter().map(move |minute| hour * 60 + minute))
            .collect();
        if minutes.is_empty() {
            return Err(blame(&fields, "no minute of the day matches"));
        }
        let daily = fields[2..] == ["*"; 3];
        Ok(Self { text: SmolStr::new(text.trim()), cron: Arc::new(cron), daily, minutes })
    }

    /// The text that was read.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The minutes of the day at which it starts, ascending; never empty.
    #[must_use]
    pub fn minutes(&self) -> &[u16] {
        &self.minutes
    }

    /// Whether it starts every day.
    #[must_use]
    pub fn runs_daily(&self) -> bool {
        self.daily
    }

    /// Whether it starts in that month of the year at all; a hint that saves looking at its days.
    #[must_use]
    pub fn runs_in_month_of(&self, date: Date) -> bool {
        matches!(self.cron.pattern.month_match(u32::from(date.month().unsigned_abs())), Ok(true))
    }

    /// Whether it starts on that local date.
    #[must_use]
    pub fn runs_on(&self, date: Date) -> bool {
        let weekday = croner::Weekday::from_days_from_sunday(u32::from(
            date.weekday().to_sunday_zero_offset().unsigned_abs(),
        ));
        let (month, day) = (u32::from(date.month().unsigned_abs()), u32::from(date.day().unsigned_abs()));
        self.runs_in_month_of(date)
            && matches!(self.cron.pattern.day_match(i32::from(date.year()), month, day, weekday), Ok(true))
    }
}

fn parser() -> CronParser {
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build()
}

/// Finds the field that croner refused: it names none, so each is tried alone.
fn blame(fields: &[&str; 5], all: &str) -> ScheduleError {
    for (index, field) in fields.iter().enumerate() {
        let mut alone = ["*"; 5];
        alone[index] = field;
        if let Err(error) = parser().parse(&alone.join(" ")) {
            let (text, why) = (SmolStr::new(field), SmolStr::from(plain(&error.to_string())));
            return ScheduleError::Field { field: FIELDS[index], text, why };
        }
    }
    ScheduleError::Whole { why: SmolStr::from(plain(all)) }
}

/// croner's sentence as a clause of ours.
fn plain(sentence: &str) -> String {
    let sentence = sentence.trim_end_matches('.');
    let sentence = sentence.rsplit_once(": ").map_or(sentence, |(_, rest)| rest);
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_lowercase().to_string() + letters.as_str())
}

/// What croner would take, or take for something else: it replaces names anywhere, so that `MON` is a minute to it.
fn check_field(index: usize, field: &str) -> Result<(), &'static str> {
    let names: &[&str] = match index {
        3 => &MONTHS,
        4 => &WEEKDAYS,
        _ => &[],
    };
    for item in field.split(',') {
        if item.is_empty() {
            return Err("nothing stands before or after a comma");
        }
        if item.starts_with('@') || item.contains('?') || (index == 2 && item.contains('W')) {
            return Err("write *, numbers, ranges or L; ?, W and @ are not read");
        }
        if let Some(star) = item.find('*')
            && (star != 0 || !(item.len() == 1 || item[1..].starts_with('/')))
        {
            return Err("* stands alone or before a step, as in */15");
        }
        if item == "L" {
            if index == 2 {
                continue;
            } else {
                return Err("L alone is the last day of the month; write FRIL for the last Friday");
            }
        }
        check_words(item, names, index == 4)?;
        if !item
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"*/-".contains(&b) || (index == 4 && b == b'#'))
        {
            return Err("it has a character that means nothing here");
        }
    }
    Ok(())
}

/// Each run of letters must be a name, not glued to digits; weekdays may have an L behind them.
fn check_words(item: &str, names: &[&str], last: bool) -> Result<(), &'static str> {
    const WRONG: &str = "it has a word that means nothing here";
    let bytes = item.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_alphabetic() {
            at += 1;
            continue;
        }
        let end = (at..bytes.len()).find(|i| !bytes[*i].is_ascii_alphabetic()).unwrap_or(bytes.len());
        let (word, after_digit) = (&item[at..end], at > 0 && bytes[at - 1].is_ascii_digit());
        let at_end = end == bytes.len();
        let named = !after_digit
            && (names.contains(&word) || (last && at_end && names.contains(&word.trim_end_matches('L'))));
        let counted = after_digit && last && at_end && word == "L";
        if !(named || counted) || bytes.get(end).is_some_and(u8::is_ascii_digit) {
            return Err(WRONG);
        }
        at = end;
    }
    Ok(())
}

/// A text is not a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Longer than [`MAX_SCHEDULE_BYTES`].
    #[error("the schedule has {length} bytes; at most {MAX_SCHEDULE_BYTES} are read")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// Not five fields.
    #[error(
        "the schedule has {count} fields: write five (minute, hour, day-of-month, month, weekday), as in \"0 22 * * FRI\""
    )]
    Fields {
        /// How many there are.
        count: usize,
    },
    /// One field cannot be read.
    #[error("the schedule's {field} {text:?} cannot be read: {why}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What stands there.
        text: SmolStr,
        /// What is wrong with it.
        why: SmolStr,
    },
    /// Day-of-month and weekday are both restricted, which cron reads as "or" and people as "and".
    #[error(
        "the schedule restricts day-of-month ({day}) and weekday ({weekday}): make one of them *; for the second Tuesday write \"TUE#2\""
    )]
    TwoDays {
        /// The day-of-month field.
        day: SmolStr,
        /// The weekday field.
        weekday: SmolStr,
    },
    /// The fields can be read alone but not together.
    #[error("the schedule cannot be read: {why}")]
    Whole {
        /// What is wrong with it.
        why: SmolStr,
    },
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;
    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        Self::parse(text)
    }
}

/// A time zone of the IANA database that is built in: a plan must not depend on the machine that makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Coordinated Universal Time, where no zone is written.
    #[must_use]
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// Finds a zone by its IANA name, such as `Europe/Berlin`; case does not matter.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn parse(name: &str) -> Result<Self, ZoneError> {
        let fail = || ZoneError { name: name.chars().take(MAX_ZONE_BYTES).collect() };
        if name.is_empty() || name.len() > MAX_ZONE_BYTES {
            return Err(fail());
        }
        let zone = TimeZoneDatabase::bundled().get(name).map_err(|_| fail())?;
        // jiff's "Etc/Unknown" stands for not knowing the zone, which is no zone to plan by.
        if zone.is_unknown() { Err(fail()) } else { Ok(Self(zone)) }
    }

    /// Its IANA name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    pub(crate) fn time_zone(&self) -> &TimeZone {
        &self.0
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Zone {
    type Err = ZoneError;
    fn from_str(name: &str) -> Result<Self, ZoneError> {
        Self::parse(name)
    }
}

/// There is no such time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no time zone {name:?}: write an IANA name such as \"Europe/Berlin\", or nothing for UTC")]
pub struct ZoneError {
    /// The name, shortened.
    pub name: SmolStr,
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use jiff::civil::date;

    #[test]
    fn a_schedule_runs_on_the_days_it_names() {
        let runs = |text: &str, day| Schedule::parse(text).unwrap().runs_on(day);
        assert!(runs("0 22 * * FRI", date(2026, 10, 2)));
        assert!(runs("0 22 * * fri", date(2026, 10, 2)));
        assert!(!runs("0 22 * * FRI", date(2026, 10, 3)));
        assert!(runs("0 3 * * TUE#2", date(2026, 9, 8)));
        assert!(!runs("0 3 * * TUE#2", date(2026, 9, 1)));
        assert!(runs("0 3 * * FRIL", date(2026, 10, 30)));
        assert!(runs("0 3 * * 5L", date(2026, 10, 30)));
        assert!(runs("0 0 L * *", date(2028, 2, 29)));
        assert!(runs("0 0 * JAN-MAR SAT-SUN", date(2026, 2, 1)));
        assert!(runs("0 0 * * 7", date(2026, 2, 1)));
        assert_eq!(Schedule::parse("*/30 22,23 * * *").unwrap().minutes(), [1320, 1350, 1380, 1410]);
    }

    #[test]
    fn a_refused_schedule_names_the_field() {
        let mut out = String::new();
        for text in [
            "0 22 * *",
            "0 0 22 * * FRI",
            "@daily",
            "MON 3 * * *",
            "0 25 * * *",
            "0 0 1 * MON",
            "0 0 ? * MON",
            "0 0 1W * *",
            "0 0 * * MONTUE",
            "0 0 * * L",
            "0 0 * * FRI#6",
            "0 0 * FEB2 *",
            "0 0 *-5 * *",
            "0 0 1, * *",
            "0/15 * * * *",
            "0 0 * * FRI-MON",
            "*/0 * * * *",
            "0 0 32 * *",
            "0 0 * * FRI+1",
            "0 0 5L * *",
        ] {
            out += &format!("= {text}: {}\n", Schedule::parse(text).unwrap_err());
        }
        expect![[r#"
            = 0 22 * *: the schedule has 4 fields: write five (minute, hour, day-of-month, month, weekday), as in "0 22 * * FRI"
            = 0 0 22 * * FRI: the schedule has 6 fields: write five (minute, hour, day-of-month, month, weekday), as in "0 22 * * FRI"
            = @daily: the schedule has 1 fields: write five (minute, hour, day-of-month, month, weekday), as in "0 22 * * FRI"
            = MON 3 * * *: the schedule's minute "MON" cannot be read: it has a word that means nothing here
            = 0 25 * * *: the schedule's hour "25" cannot be read: number out of bounds
            = 0 0 1 * MON: the schedule restricts day-of-month (1) and weekday (MON): make one of them *; for the second Tuesday write "TUE#2"
            = 0 0 ? * MON: the schedule's day-of-month "?" cannot be read: write *, numbers, ranges or L; ?, W and @ are not read
            = 0 0 1W * *: the schedule's day-of-month "1W" cannot be read: write *, numbers, ranges or L; ?, W and @ are not read
            = 0 0 * * MONTUE: the schedule's weekday "MONTUE" cannot be read: it has a word that means nothing here
            = 0 0 * * L: the schedule's weekday "L" cannot be read: L alone is the last day of the month; write FRIL for the last Friday
            = 0 0 * * FRI#6: the schedule's weekday "FRI#6" cannot be read: nth specifier out of bounds
            = 0 0 * FEB2 *: the schedule's month "FEB2" cannot be read: it has a word that means nothing here
            = 0 0 *-5 * *: the schedule's day-of-month "*-5" cannot be read: * stands alone or before a step, as in */15
            = 0 0 1, * *: the schedule's day-of-month "1," cannot be read: nothing stands before or after a comma
            = 0/15 * * * *: the schedule's minute "0/15" cannot be read: single number steps like "0/15" are not allowed. Use "*/15" for wildcard steps or "X-Y/15" for range steps
            = 0 0 * * FRI-MON: the schedule's weekday "FRI-MON" cannot be read: range out of bounds
            = */0 * * * *: the schedule's minute "*/0" cannot be read: step cannot be zero
            = 0 0 32 * *: the schedule's day-of-month "32" cannot be read: number out of bounds
            = 0 0 * * FRI+1: the schedule's weekday "FRI+1" cannot be read: it has a character that means nothing here
            = 0 0 5L * *: the schedule's day-of-month "5L" cannot be read: it has a word that means nothing here
        "#]].assert_eq(&out);
    }

    #[test]
    fn zones_come_from_the_built_in_database() {
        assert_eq!(Zone::parse("europe/berlin").unwrap().name(), "Europe/Berlin");
        assert_eq!(Zone::parse("UTC").unwrap(), Zone::utc());
        for name in ["", "Local", "Europe/Atlantis", "../etc/passwd", "Etc/Unknown", &"x".repeat(65)] {
            assert!(Zone::parse(name).is_err(), "{name}");
        }
    }
}
