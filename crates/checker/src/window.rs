//! When a window is open: from the schedule's local times to spans of instants, worked out day by day (rules W3, W4).

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Span, ToSpan};
use muster_model::Instant;

use crate::event::Window;
use crate::schedule::Schedule;

/// One opening, `[start, end)`.
pub(crate) type Opening = (Instant, Instant);

/// How far around an instant openings are worked out: beyond it nothing that is judged reaches.
const AROUND: SignedDuration = SignedDuration::from_hours(8 * 24);

/// A window as it can be asked, or why it cannot be read.
#[derive(Clone, Debug)]
pub(crate) enum Times {
    Unreadable(String),
    Once(Instant, Instant),
    Recurring { schedule: Schedule, offset_days: i32, zone: TimeZone, duration: SignedDuration },
}

impl Times {
    pub(crate) fn of(window: &Window) -> Self {
        if let Some(why) = &window.unreadable {
            return Self::Unreadable(why.clone());
        }
        match (&window.schedule, window.duration, window.from, window.to) {
            (Some(schedule), Some(duration), None, None) => {
                let zone = match &window.time_zone {
                    None => Some(TimeZone::UTC),
                    Some(name) => TimeZoneDatabase::bundled().get(name).ok(),
                };
                match (Schedule::parse(schedule), zone) {
                    (Ok(schedule), Some(zone)) => Self::Recurring {
                        schedule,
                        offset_days: window.offset_days,
                        zone,
                        duration: duration.length(),
                    },
                    (Err(why), _) => Self::Unreadable(why),
                    (_, None) => Self::Unreadable(format!("no time zone {:?}", window.time_zone)),
                }
            }
            (None, None, Some(from), Some(to)) => Self::Once(from, to),
            _ => Self::Unreadable("neither a schedule with a duration nor from and to".to_owned()),
        }
    }

    /// All openings that touch `[from, to)`, merged where they overlap or touch, in order.
    pub(crate) fn openings(&self, from: Instant, to: Instant) -> Vec<Opening> {
        match self {
            Self::Unreadable(_) => Vec::new(),
            Self::Once(start, end) => {
                if *start < *end && *start < to && from < *end {
                    vec![(*start, *end)]
                } else {
                    Vec::new()
                }
            }
            Self::Recurring { schedule, offset_days, zone, duration } => {
                let back = from - *duration - SignedDuration::from_hours(48);
                let first = date_of(back, zone).saturating_sub(days(*offset_days));
                let last =
                    date_of(to + SignedDuration::from_hours(48), zone).saturating_sub(days(*offset_days));
                let mut starts = Vec::new();
                let mut date = first;
                while date <= last {
                    if schedule.runs_on(date) {
                        let day = date.saturating_add(days(*offset_days));
                        starts.extend(schedule.minutes.iter().filter_map(|minute| start(day, *minute, zone)));
                    }
                    let Ok(next) = date.tomorrow() else { break };
                    date = next;
                }
                let openings = merge(starts.into_iter().map(|start| (start, start + *duration)).collect());
                openings.into_iter().filter(|(start, end)| *start < to && from < *end).collect()
            }
        }
    }
}

fn days(count: i32) -> Span {
    i64::from(count).days()
}

fn date_of(at: Instant, zone: &TimeZone) -> Date {
    zone.to_datetime(at).date()
}

/// The instant of a local time: in a gap by the offset before it, in a fold the first (rule W4).
fn start(day: Date, minute: u16, zone: &TimeZone) -> Option<Instant> {
    let (hour, minute) = (i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?);
    let local = DateTime::from_parts(day, jiff::civil::Time::new(hour, minute, 0, 0).ok()?);
    zone.to_ambiguous_timestamp(local).compatible().ok()
}

/// Overlapping and touching spans as one (rule W3).
pub(crate) fn merge(mut spans: Vec<Opening>) -> Vec<Opening> {
    spans.sort_unstable();
    let mut merged: Vec<Opening> = Vec::new();
    for (start, end) in spans {
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

/// The openings of windows, each worked out once for a stretch of time around what was asked.
#[derive(Debug, Default)]
pub(crate) struct Calendar {
    known: BTreeMap<String, (Instant, Instant, Vec<Opening>)>,
}

impl Calendar {
    /// The openings of a window around `at`: all that touch some days before and after it.
    pub(crate) fn around(&mut self, window: &Window, at: Instant) -> Result<&[Opening], String> {
        let key = format!(
            "{:?} {} {:?} {:?} {:?} {:?} {:?}",
            window.schedule,
            window.offset_days,
            window.time_zone,
            window.duration,
            window.from,
            window.to,
            window.unreadable
        );
        let (near, far) = (at - AROUND / 2, at + AROUND / 2);
        let fits = self.known.get(&key).is_some_and(|(from, to, _)| *from <= near && far <= *to);
        if !fits {
            let times = Times::of(window);
            if let Times::Unreadable(why) = times {
                return Err(why);
            }
            let (from, to) = (at - AROUND, at + AROUND * 2);
            let openings = times.openings(from, to);
            self.known.insert(key.clone(), (from, to, openings));
        }
        Ok(self.known.get(&key).map_or(&[], |(_, _, openings)| openings.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use muster_model::{Recurrence, When, Zone};
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Vector {
        name: String,
        schedule: String,
        time_zone: String,
        minutes: i64,
        offset_days: i32,
        from: Instant,
        to: Instant,
        open: Vec<Opening>,
    }

    fn times(schedule: &str, offset_days: i32, zone: &str, minutes: i64) -> Times {
        Times::Recurring {
            schedule: Schedule::parse(schedule).unwrap_or_else(|why| panic!("{schedule}: {why}")),
            offset_days,
            zone: TimeZoneDatabase::bundled().get(zone).unwrap(),
            duration: SignedDuration::from_mins(minutes),
        }
    }

    // rule: W3, W4
    #[test]
    fn the_golden_windows_are_open_when_they_should_be() {
        let vectors: Vec<Vector> =
            serde_json::from_str(include_str!("../tests/testdata/windows.json")).unwrap();
        assert!(vectors.len() >= 8);
        for vector in vectors {
            let times = times(&vector.schedule, vector.offset_days, &vector.time_zone, vector.minutes);
            assert_eq!(times.openings(vector.from, vector.to), vector.open, "{}", vector.name);
        }
    }

    /// The model's arithmetic, which the planner uses, and ours are different code and say the same.
    // rule: W3, W4, W5
    #[test]
    fn two_ways_of_working_out_openings_agree() {
        let schedules = [
            "0 22 * * FRI",
            "30 2 * * *",
            "*/20 1-3 * * SUN",
            "0 3 * * TUE#2",
            "15 23 L * *",
            "0 0 1,15 * *",
            "0 4 * 3,10 SATL",
            "0 12 * JAN-MAR MON-WED",
            "5 0-23/6 * * 0",
            "0 2 29 FEB *",
            "0 20 * * FRI#5",
            "0 1 * * 7",
            "59 23 31 12 *",
            "0 */8 * * *",
        ];
        let zones = [
            "UTC",
            "Europe/Berlin",
            "America/New_York",
            "Australia/Lord_Howe",
            "Asia/Kathmandu",
            "Pacific/Apia",
            "Africa/Casablanca",
        ];
        let minutes = [10, 90, 6 * 60, 25 * 60];
        let mut state = 1_u64;
        let mut dice = |sides: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % sides
        };
        for schedule in schedules {
            for _ in 0..25 {
                let (zone, length) = (zones[dice(zones.len())], minutes[dice(minutes.len())]);
                let offset = i32::try_from(dice(9)).unwrap() - 4;
                let from: Instant = "2010-01-01T00:00:00Z".parse().unwrap();
                let from = from + SignedDuration::from_mins(i64::try_from(dice(20 * 365 * 24 * 60)).unwrap());
                let to = from + SignedDuration::from_hours(40 * 24);
                // Beyond what was asked they reach as far as each looks.
                let clipped = |(start, end): Opening| (start.max(from), end.min(to));
                let ours: Vec<Opening> = times(schedule, offset, zone, length)
                    .openings(from, to)
                    .into_iter()
                    .map(clipped)
                    .collect();
                let duration = SignedDuration::from_mins(length);
                let parsed = muster_model::Schedule::parse(schedule).unwrap();
                let other = Recurrence::new(parsed, offset, Zone::parse(zone).unwrap(), duration).unwrap();
                let theirs: Vec<Opening> = When::Recurring(other)
                    .open_spans(from, to)
                    .map(|span| clipped((span.start.unwrap_or(from), span.end.unwrap_or(to))))
                    .collect();
                assert_eq!(ours, theirs, "{schedule} {zone} {offset:+} {length} min from {from}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        for bad in [
            "",
            "0 22 * *",
            "0 25 * * *",
            "0 0 32 * *",
            "0 0 1 * MON",
            "x 0 * * *",
            "0 0 * * FRI#6",
            "*/0 0 * * *",
        ] {
            assert!(Schedule::parse(bad).is_err(), "{bad}");
        }
    }
}
