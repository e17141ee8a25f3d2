//! When a window is open: from a schedule's local times to merged spans of instants (rules W3 to W5).
//!
//! Only days around the asked instant are looked at, nothing is remembered. Deliberately not here: which windows matter
//! to a machine, cutoffs and freezes (`openness`).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use crate::schedule::{Schedule, Zone};

/// The longest duration of one opening: a leap year. What is longer is written as `from` and `to`.
pub const MAX_WINDOW_DURATION: SignedDuration = SignedDuration::from_hours(366 * 24);

/// How far `offsetDays` may reach: a month either way.
pub const MAX_OFFSET_DAYS: i32 = 31;

/// A span that has no end within so much time is called endless; so much before, without start.
///
/// Over a year: a window of 24 hours every day still closes for the hour of the autumn change, once a year.
pub const ENDLESS: SignedDuration = SignedDuration::from_hours(400 * 24);

/// How far ahead a next opening is looked for.
///
/// 40 years: the rarest date that the five fields can name, a 29 February on one weekday (`THU#5` of February), comes back
/// after 28, or after 40 over a year such as 2100. What does not come in that time never does.
const SEARCH_YEARS: i16 = 41;

/// No offset of a time zone is longer, by jiff's range; so no local midnight is farther from that of UTC.
const WIDEST_OFFSET: SignedDuration = SignedDuration::from_hours(26);

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// So long after a change of offset, no local time repeats: not even when a zone moved over the date line, a whole day.
const CALM_AFTER: SignedDuration = SignedDuration::from_hours(48);

/// So long before a change of offset, no local time of a later day comes earlier than its day begins now.
const CALM_BEFORE: SignedDuration = SignedDuration::from_hours(72);

/// One stretch of time in which a window is open, `[start, end)` (rule W3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenSpan {
    /// When it opened; `None`: longer ago than [`ENDLESS`] before what was asked.
    pub start: Option<Timestamp>,
    /// When it closes; `None`: later than [`ENDLESS`] after what was asked.
    pub end: Option<Timestamp>,
}

impl OpenSpan {
    /// Whether `t` is in it: from the start on, before the end (rule W3).
    #[must_use]
    pub fn contains(&self, t: Timestamp) -> bool {
        self.start.is_none_or(|start| start <= t) && self.end.is_none_or(|end| t < end)
    }

    /// Its length, if it has both ends.
    #[must_use]
    pub fn length(&self) -> Option<SignedDuration> {
        Some(self.end?.duration_since(self.start?))
    }
}

/// Whether a window is open at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowState {
    /// It is not.
    Closed,
    /// It is.
    Open {
        /// When it closes; `None`: later than [`ENDLESS`].
        until: Option<Timestamp>,
    },
}

/// When a window is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// Again and again, by a schedule.
    Recurring(Recurrence),
    /// Once, `[from, to)`; never, if `to` is not after `from` (which [`When::once`] refuses).
    Once {
        /// When it opens.
        from: Timestamp,
        /// When it closes.
        to: Timestamp,
    },
}

/// A schedule with what makes spans of it: an offset in days, a zone, a duration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recurrence {
    schedule: Schedule,
    offset_days: i32,
    zone: Zone,
    duration: SignedDuration,
    /// The starts of a day, as (first, last) second of stretches within which each opening reaches the next.
    stretches: Arc<[(i32, i32)]>,
    /// Each day's openings reach the next day's: it never closes, but for changes of the zone's offset.
    gapless: bool,
}

/// A window that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// The duration is zero, negative, or above [`MAX_WINDOW_DURATION`].
    #[error(
        "a window's duration is above 0 and at most 8784h (a leap year), not {duration:#}: write `from` and `to` for what is longer"
    )]
    Duration {
        /// What was written.
        duration: SignedDuration,
    },
    /// The offset is above [`MAX_OFFSET_DAYS`] either way.
    #[error("offsetDays is at most {MAX_OFFSET_DAYS} either way, not {offset_days}")]
    OffsetDays {
        /// What was written.
        offset_days: i32,
    },
    /// `to` is not after `from`.
    #[error("a window from {from} must end after that, not at {to}")]
    Backwards {
        /// When it would open.
        from: Timestamp,
        /// When it would close.
        to: Timestamp,
    },
}

impl Recurrence {
    /// A window that opens at `schedule`'s local times in `zone`, `offset_days` later, for `duration` of elapsed time.
    ///
    /// # Errors
    /// If the duration or the offset is out of bounds.
    pub fn new(
        schedule: Schedule,
        offset_days: i32,
        zone: Zone,
        duration: SignedDuration,
    ) -> Result<Self, WindowError> {
        if duration <= SignedDuration::ZERO || duration > MAX_WINDOW_DURATION {
            return Err(WindowError::Duration { duration });
        }
        if offset_days.abs() > MAX_OFFSET_DAYS {
            return Err(WindowError::OffsetDays { offset_days });
        }
        let mut stretches: Vec<(i32, i32)> = Vec::new();
        for start in schedule.minutes().iter().map(|minute| i32::from(*minute) * 60) {
            match stretches.last_mut() {
                Some((_, last)) if SignedDuration::from_secs(i64::from(start - *last)) <= duration => {
                    *last = start
                }
                Some(_) | None => stretches.push((start, start)),
            }
        }
        let gapless = match stretches[..] {
            [(first, last)] => {
                schedule.runs_daily()
                    && SignedDuration::from_secs(i64::from(first + 86_400 - last)) <= duration
            }
            _ => false,
        };
        Ok(Self { schedule, offset_days, zone, duration, stretches: stretches.into(), gapless })
    }

    /// When it starts, in local time, before `offset_days`.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// How many days later than the schedule says.
    #[must_use]
    pub fn offset_days(&self) -> i32 {
        self.offset_days
    }

    /// Where its local times are.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// How long each opening lasts, elapsed.
    #[must_use]
    pub fn duration(&self) -> SignedDuration {
        self.duration
    }

    /// Merged spans, of which those that begin `back` or less before `from` are whole.
    fn merged(&self, from: Timestamp, to: Timestamp, back: SignedDuration) -> Merged<'_> {
        let whole_from = minus(from, back);
        let openings = Openings::new(self, whole_from);
        Merged { openings, to, whole_from, give_up: plus(to.max(from), ENDLESS), over: false }
    }

    fn spans(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = OpenSpan> + '_ {
        let touching = move |back| {
            self.merged(from, to, back).skip_while(move |span| span.end.is_some_and(|end| end <= from))
        };
        // Nearly always the first look back suffices; what is open for longer takes a longer one.
        let month = SignedDuration::from_hours(30 * 24) + self.duration;
        let back = [DAY, month]
            .into_iter()
            .find(|back| touching(*back).next().is_none_or(|first| first.start.is_some()))
            .unwrap_or(ENDLESS + self.duration);
        touching(back)
    }

    /// The state, and the openings that come after it.
    fn state_at(&self, t: Timestamp) -> (WindowState, Openings<'_>) {
        if self.gapless {
            // It can close only at a change of the offset: go there at once, not day by day.
            let calm = Calm::around(&self.zone, t);
            let near_change = minus(calm.until, CALM_BEFORE);
            if plus(calm.since, CALM_AFTER + DAY + self.duration) <= t && plus(t, DAY) < near_change {
                if near_change > plus(t, ENDLESS) {
                    return (WindowState::Open { until: None }, Openings::new(self, t));
                }
                return match self.state_at(near_change) {
                    (WindowState::Open { until: Some(until) }, openings) if until <= plus(t, ENDLESS) => {
                        (WindowState::Open { until: Some(until) }, openings)
                    }
                    (_, openings) => (WindowState::Open { until: None }, openings),
                };
            }
        }
        let mut openings = Openings::new(self, t);
        let mut reach = Timestamp::MIN;
        while let Some(opening) = openings.next_until(t.max(reach)) {
            reach = reach.max(opening.end);
            if reach > plus(t, ENDLESS) {
                return (WindowState::Open { until: None }, openings);
            }
        }
        let state = if reach > t { WindowState::Open { until: Some(reach) } } else { WindowState::Closed };
        (state, openings)
    }
}

impl When {
    /// Open once, `[from, to)`.
    ///
    /// # Errors
    /// If `to` is not after `from`.
    pub fn once(from: Timestamp, to: Timestamp) -> Result<Self, WindowError> {
        if to > from { Ok(Self::Once { from, to }) } else { Err(WindowError::Backwards { from, to }) }
    }

    /// Every span that touches `[from, to)`, whole and in order; overlapping and touching ones are one (rule W3).
    pub fn open_spans(&self, from: Timestamp, to: Timestamp) -> Box<dyn Iterator<Item = OpenSpan> + '_> {
        match self {
            Self::Recurring(recurrence) => Box::new(recurrence.spans(from, to)),
            Self::Once { from: start, to: end } => {
                let touches = start < end && *start < to && from < *end;
                Box::new(touches.then_some(OpenSpan { start: Some(*start), end: Some(*end) }).into_iter())
            }
        }
    }

    /// The span that `t` is in.
    #[must_use]
    pub fn span_at(&self, t: Timestamp) -> Option<OpenSpan> {
        self.open_spans(t, plus(t, SignedDuration::from_nanos(1))).next()
    }

    /// Whether it is open at `t`, and until when: a pure function of the two (rule W5), cheaper than [`Self::span_at`].
    #[must_use]
    pub fn state_at(&self, t: Timestamp) -> WindowState {
        match self {
            Self::Recurring(recurrence) => recurrence.state_at(t).0,
            Self::Once { from, to } if (*from..*to).contains(&t) => WindowState::Open { until: Some(*to) },
            Self::Once { .. } => WindowState::Closed,
        }
    }

    /// Whether it is open at `t`.
    #[must_use]
    pub fn is_open(&self, t: Timestamp) -> bool {
        self.state_at(t) != WindowState::Closed
    }

    /// The next instant after `t` at which it opens: after it closed, if it is open at `t`.
    ///
    /// `None` if it never opens again, or stays open for longer than [`ENDLESS`].
    #[must_use]
    pub fn next_open(&self, t: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Recurring(recurrence) => match recurrence.state_at(t) {
                (WindowState::Open { until: None }, _) => None,
                (WindowState::Open { until: Some(_) } | WindowState::Closed, mut openings) => {
                    openings.next_until(Timestamp::MAX).map(|opening| opening.start)
                }
            },
            Self::Once { from, to } => (from < to && t < *from).then_some(*from),
        }
    }
}

/// Merges openings that overlap or touch (rule W3).
struct Merged<'a> {
    openings: Openings<'a>,
    to: Timestamp,
    /// Nothing unseen reaches past here.
    whole_from: Timestamp,
    give_up: Timestamp,
    over: bool,
}

impl Iterator for Merged<'_> {
    type Item = OpenSpan;

    fn next(&mut self) -> Option<OpenSpan> {
        if self.over {
            return None;
        }
        let Opening { start, mut end } =
            self.openings.next_until(minus(self.to, SignedDuration::from_nanos(1)))?;
        while let Some(opening) = self.openings.next_until(end) {
            end = end.max(opening.end);
            if end > self.give_up {
                self.over = true;
                break;
            }
        }
        Some(OpenSpan {
            start: (start >= self.whole_from).then_some(start),
            end: (!self.over).then_some(end),
        })
    }
}

/// One opening, or several of a day of which each reaches the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Opening {
    start: Timestamp,
    end: Timestamp,
}

/// A recurrence's openings in the order of their starts, computed day by day as they are asked for.
struct Openings<'a> {
    recurrence: &'a Recurrence,
    /// What ends before this is left out.
    from: Timestamp,
    /// The next local date of the schedule, before `offset_days`, to look at; `None` past the calendar's end.
    cursor: Option<Date>,
    last: Date,
    /// No date from the cursor on can have an opening before this.
    bound: Timestamp,
    calm: Calm,
    /// Openings of dates before the cursor. A gap can put a later local time before an earlier one.
    pending: BinaryHeap<Reverse<Opening>>,
}

impl<'a> Openings<'a> {
    /// All that end at `t` or later, so that what touches `t` is among them.
    fn new(recurrence: &'a Recurrence, t: Timestamp) -> Self {
        // Two days: one for the widest offset, one because of the rounding to whole days.
        let earliest = minus(t, recurrence.duration + SignedDuration::from_hours(48));
        let first = shifted(date_of(earliest), -recurrence.offset_days).unwrap_or(Date::MIN);
        let last = Date::new(date_of(t).year().saturating_add(SEARCH_YEARS).min(9998), 1, 1)
            .expect("1 January is a day of every year up to 9999");
        let calm = Calm::around(&recurrence.zone, earliest);
        let (cursor, pending) = (Some(first), BinaryHeap::new());
        let mut openings = Self { recurrence, from: t, cursor, last, bound: Timestamp::MIN, calm, pending };
        openings.bound = openings.bound_at_cursor();
        openings
    }

    fn date_at_cursor(&self) -> Option<Date> {
        shifted(self.cursor?, self.recurrence.offset_days)
    }

    /// The next opening, if it starts at `limit` or before; days that cannot matter to that are not looked at.
    fn next_until(&mut self, limit: Timestamp) -> Option<Opening> {
        loop {
            if let Some(Reverse(first)) = self.pending.peek().copied()
                && (first.start < self.bound || self.cursor.is_none())
            {
                return (first.start <= limit).then(|| {
                    self.pending.pop();
                    first
                });
            }
            if self.bound > limit {
                return None;
            }
            self.advance()?;
            self.bound = self.bound_at_cursor();
        }
    }

    fn bound_at_cursor(&mut self) -> Timestamp {
        let Some(date) = self.date_at_cursor() else { return Timestamp::MAX };
        // Where the offset stays the same for days, local midnight is a sharp bound, which saves looking at days ahead.
        match self.calm.midnight(&self.recurrence.zone, date) {
            Some(midnight) if plus(midnight, CALM_BEFORE) <= self.calm.until => midnight,
            Some(_) | None => minus(midnight(date), WIDEST_OFFSET),
        }
    }

    /// Looks at one date, or past a month without any; `None` at the calendar's end with nothing pending.
    fn advance(&mut self) -> Option<()> {
        let Some(date) = self.cursor.filter(|date| *date < self.last) else {
            self.cursor = None;
            return (!self.pending.is_empty()).then_some(());
        };
        if !self.recurrence.schedule.runs_in_month_of(date) {
            self.cursor = date.last_of_month().tomorrow().ok();
            return Some(());
        }
        self.cursor = date.tomorrow().ok();
        if self.recurrence.schedule.runs_on(date)
            && let Some(local) = shifted(date, self.recurrence.offset_days)
        {
            self.push_openings_of(local);
        }
        Some(())
    }

    fn push_openings_of(&mut self, date: Date) {
        let Recurrence { schedule, zone, duration, stretches, offset_days: _, gapless: _ } = self.recurrence;
        if let Some(midnight) = self.calm.midnight(zone, date) {
            let at = |second: i32| plus(midnight, SignedDuration::from_secs(i64::from(second)));
            let over = stretches.partition_point(|(_, last)| plus(at(*last), *duration) < self.from);
            self.pending.extend(stretches[over..].iter().map(|(first, last)| {
                Reverse(Opening { start: at(*first), end: plus(at(*last), *duration) })
            }));
            return;
        }
        for minute in schedule.minutes() {
            let minute = i8::try_from(minute % 60).and_then(|m| i8::try_from(minute / 60).map(|h| (h, m)));
            let (hour, minute) = minute.expect("a minute of the day is below 24 * 60");
            // Rule W4: "compatible" is RFC 5545's: in a gap the offset before it, in a fold the first.
            if let Ok(start) =
                zone.time_zone().to_ambiguous_timestamp(date.at(hour, minute, 0, 0)).compatible()
            {
                let end = plus(start, *duration);
                if end >= self.from {
                    self.pending.push(Reverse(Opening { start, end }));
                }
            }
        }
    }
}

/// A stretch of time in which a zone's offset stays as it is: there, a day's times need no look-up.
struct Calm {
    offset: Offset,
    since: Timestamp,
    until: Timestamp,
}

impl Calm {
    fn around(zone: &Zone, t: Timestamp) -> Self {
        let zone = zone.time_zone();
        let since = zone.preceding(plus(t, SignedDuration::from_secs(1))).next();
        let until = zone.following(t).next();
        Self {
            offset: zone.to_offset(t),
            since: since.map_or(Timestamp::MIN, |change| change.timestamp()),
            until: until.map_or(Timestamp::MAX, |change| change.timestamp()),
        }
    }

    /// The midnight that begins `date`, if all of its local times are plain: none in a gap or fold, one offset for all.
    fn midnight(&mut self, zone: &Zone, date: Date) -> Option<Timestamp> {
        let utc = midnight(date);
        let mut midnight = self.offset.to_timestamp(date.at(0, 0, 0, 0)).ok()?;
        if midnight >= self.until || midnight < self.since {
            *self = Self::around(zone, utc);
            midnight = self.offset.to_timestamp(date.at(0, 0, 0, 0)).ok()?;
        }
        let plain = midnight >= plus(self.since, CALM_AFTER) && plus(midnight, DAY) <= self.until;
        plain.then_some(midnight)
    }
}

fn plus(t: Timestamp, duration: SignedDuration) -> Timestamp {
    t.checked_add(duration).unwrap_or(Timestamp::MAX)
}

fn minus(t: Timestamp, duration: SignedDuration) -> Timestamp {
    t.checked_sub(duration).unwrap_or(Timestamp::MIN)
}

fn date_of(t: Timestamp) -> Date {
    Offset::UTC.to_datetime(t).date()
}

fn midnight(date: Date) -> Timestamp {
    Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).unwrap_or(Timestamp::MAX)
}

fn shifted(date: Date, days: i32) -> Option<Date> {
    if days == 0 { Some(date) } else { date.checked_add(jiff::Span::new().days(days)).ok() }
}
