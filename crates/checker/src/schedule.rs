//! Schedules, read from their text: five cron fields, with names, steps, `#` and `L`.
//!
//! A reader of our own, since the planner's (croner, by way of the model) is what is to be checked.

use jiff::civil::Date;

/// When a window starts, in local time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// Minutes of the day, ascending.
    pub(crate) minutes: Vec<u16>,
    days: Days,
    /// By month, from January.
    months: [bool; 13],
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Days {
    Every,
    /// By day of the month, and whether the last day counts, too.
    OfMonth([bool; 32], bool),
    OfWeek(Vec<Weekday>),
}

/// One weekday, from Sunday 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weekday {
    Each(u8),
    Nth(u8, u8),
    Last(u8),
}

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

impl Schedule {
    /// Reads the text; says what cannot be read.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let fields: Vec<&str> = upper.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(format!("{text:?} has {} fields, not five", fields.len()));
        };
        let minute_set = numbers(minute, 0, 59, &[])?;
        let hour_set = numbers(hour, 0, 23, &[])?;
        let minutes: Vec<u16> = hour_set
            .iter()
            .flat_map(|hour| minute_set.iter().map(move |minute| u16::from(*hour) * 60 + u16::from(*minute)))
            .collect();
        let mut months = [false; 13];
        for month in numbers(month, 1, 12, &MONTHS)? {
            months[usize::from(month)] = true;
        }
        let days = match (*day, *weekday) {
            ("*", "*") => Days::Every,
            (day, "*") => {
                let (mut set, mut last) = ([false; 32], false);
                for item in day.split(',') {
                    if item == "L" {
                        last = true;
                    } else {
                        for day in numbers(item, 1, 31, &[])? {
                            set[usize::from(day)] = true;
                        }
                    }
                }
                Days::OfMonth(set, last)
            }
            ("*", weekday) => Days::OfWeek(weekdays(weekday)?),
            _ => return Err(format!("{text:?} restricts day-of-month and weekday")),
        };
        Ok(Self { minutes, days, months })
    }

    /// Whether it starts on that local date.
    pub(crate) fn runs_on(&self, date: Date) -> bool {
        if !self.months[usize::from(date.month().unsigned_abs())] {
            return false;
        }
        let day = date.day().unsigned_abs();
        let in_month = date.days_in_month().unsigned_abs();
        match &self.days {
            Days::Every => true,
            Days::OfMonth(days, last) => days[usize::from(day)] || (*last && day == in_month),
            Days::OfWeek(weekdays) => {
                let today = date.weekday().to_sunday_zero_offset().unsigned_abs();
                weekdays.iter().any(|weekday| match *weekday {
                    Weekday::Each(wanted) => wanted == today,
                    Weekday::Nth(wanted, nth) => wanted == today && (day - 1) / 7 + 1 == nth,
                    Weekday::Last(wanted) => wanted == today && day + 7 > in_month,
                })
            }
        }
    }
}

fn weekdays(field: &str) -> Result<Vec<Weekday>, String> {
    let mut found = Vec::new();
    for item in field.split(',') {
        if let Some((day, nth)) = item.split_once('#') {
            let nth = nth.parse::<u8>().ok().filter(|nth| (1..=5).contains(nth));
            let nth = nth.ok_or_else(|| format!("{item:?}: # takes 1 to 5"))?;
            found.push(Weekday::Nth(value(day, &WEEKDAYS, 0)? % 7, nth));
        } else if let Some(day) = item.strip_suffix('L').filter(|day| !day.is_empty()) {
            found.push(Weekday::Last(value(day, &WEEKDAYS, 0)? % 7));
        } else {
            found.extend(numbers(item, 0, 7, &WEEKDAYS)?.into_iter().map(|day| Weekday::Each(day % 7)));
        }
    }
    Ok(found)
}

/// Lists, ranges, steps; ascending, each once.
fn numbers(field: &str, low: u8, high: u8, names: &[&str]) -> Result<Vec<u8>, String> {
    let mut set = vec![false; usize::from(high) + 1];
    for item in field.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (
                range,
                step.parse::<u8>()
                    .ok()
                    .filter(|step| *step > 0)
                    .ok_or_else(|| format!("{item:?}: no step"))?,
            ),
            None => (item, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (low, if high == 7 { 6 } else { high }),
            Some((from, to)) => (value(from, names, low)?, value(to, names, low)?),
            None if item.contains('/') => (value(range, names, low)?, high),
            None => {
                let one = value(range, names, low)?;
                (one, one)
            }
        };
        // FRI-MON goes over the end of the week, and 22-2 over midnight.
        let reached: Vec<u8> =
            if from <= to { (from..=to).collect() } else { (from..=high).chain(low..=to).collect() };
        for (at, number) in reached.into_iter().enumerate() {
            let place = set.get_mut(usize::from(number)).filter(|_| number >= low);
            let place = place.ok_or_else(|| format!("{item:?} is not within {low} to {high}"))?;
            *place |= at % usize::from(step) == 0;
        }
    }
    let numbers = set.iter().enumerate().filter(|(_, wanted)| **wanted);
    Ok(numbers.map(|(number, _)| u8::try_from(number).expect("at most 59")).collect())
}

fn value(text: &str, names: &[&str], low: u8) -> Result<u8, String> {
    if let Some(place) = names.iter().position(|name| *name == text) {
        // Months count from 1, weekdays from 0.
        return Ok(u8::try_from(place).expect("at most 12") + low);
    }
    text.parse().map_err(|_| format!("{text:?} is no number that can stand there"))
}
