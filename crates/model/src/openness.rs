//! May a step start now? The arithmetic over all windows that matter to one machine and one type of step (rules W1 to W3,
//! W5, W7), as a pure function of them and the instant.
//!
//! Deliberately not here: which windows those are, overrides (rule W9) and estimates; the planner knows.

use jiff::{SignedDuration, Timestamp};
use smol_str::SmolStr;

use crate::guard::WindowsPolicy;
use crate::spans::{ENDLESS, When, WindowState};

/// How many openings and closings ahead a possible start is looked for.
///
/// A night without one is two of them, so that is four months of nights in which the steps never fit.
const MAX_CHANGES_AHEAD: usize = 256;

/// How many spans of different windows are merged at most; a longer chain counts as closing there, which only starts less.
const MAX_MERGED: usize = 1_000;

/// A window that selects the machine and covers the type of step.
#[derive(Debug, Clone, Copy)]
pub struct Guard<'a> {
    /// Its name.
    pub name: &'a str,
    /// When it is open; `None` if it cannot be read, which closes its machines (rule W7).
    pub when: Option<&'a When>,
    /// Nothing starts in so much time before it closes (rule W2). Of a Deny window it means nothing.
    pub cutoff: SignedDuration,
}

/// Whether a step may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Openness {
    /// It may.
    Open {
        /// The close: the end of the Allow span or the start of the next Deny, whichever is earlier (rule W2).
        until: Option<Timestamp>,
        /// From then on, or a nanosecond later, it may not start any more: the cutoff, or too little time left.
        starts_until: Option<Timestamp>,
        /// The Allow window that is open, of several the one that closes last; `None` where none selects the machine.
        allow: Option<SmolStr>,
        /// The next Deny, and when it begins.
        freeze_next: Option<(SmolStr, Timestamp)>,
        /// The estimate was capped at half the window's length (rule W2): worth a warning.
        capped: bool,
    },
    /// It may not.
    Closed {
        /// Why.
        reason: ClosedReason,
        /// When it may next, as the windows are now; `None` if not within the search's limits.
        until: Option<Timestamp>,
    },
}

/// Why no step may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClosedReason {
    /// A window cannot be read (rule W7).
    Unreadable {
        /// The window.
        name: SmolStr,
    },
    /// A Deny is open (rule W1).
    Denied {
        /// The Deny; of several, the one that is open longest.
        name: SmolStr,
    },
    /// No Allow is open (rule W1).
    NoneOpen {
        /// The Allow that opens next; `None` if none ever does or none selects the machine.
        next: Option<SmolStr>,
    },
    /// An Allow is open, but its cutoff is reached (rule W2).
    CutoffReached {
        /// The Allow whose cutoff was the last to be reached.
        name: SmolStr,
    },
    /// The steps would take longer than the time to the close (rule W2).
    NotEnoughTime {
        /// What closes: the Allow window that ends, or the Deny that begins.
        name: SmolStr,
        /// The time to the close.
        left: SignedDuration,
        /// What the steps are estimated to take, after capping.
        estimate: SignedDuration,
    },
}

/// Whether steps that are estimated to take `estimate` may start at `t`.
///
/// `allows` and `denies` are the windows that select the machine and cover the type of step. Spans of several Allow windows
/// that overlap or touch count as one, with the later end; so do those of one window (rule W3). Without any Allow window,
/// `policy` decides (rule W1), and the time to the next Deny must suffice all the same; there is no length to cap at then.
#[must_use]
pub fn openness(
    allows: &[Guard<'_>],
    denies: &[Guard<'_>],
    policy: WindowsPolicy,
    t: Timestamp,
    estimate: SignedDuration,
) -> Openness {
    if let Some(guard) = denies.iter().chain(allows).find(|guard| guard.when.is_none()) {
        let reason = ClosedReason::Unreadable { name: SmolStr::new(guard.name) };
        return Openness::Closed { reason, until: None };
    }
    let question = Question { allows, denies, policy, estimate };
    match question.decide(t) {
        Ok(open) => open,
        Err(reason) => {
            let until = question.next_start(t, reason.clone());
            Openness::Closed { reason, until }
        }
    }
}

struct Question<'a> {
    allows: &'a [Guard<'a>],
    denies: &'a [Guard<'a>],
    policy: WindowsPolicy,
    estimate: SignedDuration,
}

/// Spans of several windows, merged, from some instant on.
struct Reach<'a> {
    /// The window whose span ends last.
    name: &'a str,
    /// `None`: endless.
    end: Option<Timestamp>,
    /// The last of the merged spans' cutoffs, and whose; `None`: endless.
    deadline: Option<(Timestamp, &'a str)>,
}

impl Question<'_> {
    fn decide(&self, t: Timestamp) -> Result<Openness, ClosedReason> {
        if let Some(name) = open_longest(self.denies, t) {
            return Err(ClosedReason::Denied { name });
        }
        let allow = match reach(self.allows, t) {
            Some(allow) => Some(allow),
            None if self.allows.is_empty() && self.policy == WindowsPolicy::Optional => None,
            None => {
                let next = next_open(self.allows, t).map(|(name, _)| SmolStr::new(name));
                return Err(ClosedReason::NoneOpen { next });
            }
        };
        let deadline = allow.as_ref().and_then(|allow| allow.deadline);
        if let Some((deadline, name)) = deadline
            && t >= deadline
        {
            return Err(ClosedReason::CutoffReached { name: SmolStr::new(name) });
        }
        let freeze = next_open(self.denies, t);
        let end = allow.as_ref().and_then(|allow| Some((allow.name, allow.end?)));
        let close = [end, freeze].into_iter().flatten().min_by_key(|(_, at)| *at);
        let (estimate, capped) = self.capped_estimate(t, allow.as_ref());
        if let Some((name, at)) = close
            && at.duration_since(t) < estimate
        {
            let (name, left) = (SmolStr::new(name), at.duration_since(t));
            return Err(ClosedReason::NotEnoughTime { name, left, estimate });
        }
        let too_late = close.and_then(|(_, at)| at.checked_sub(estimate).ok());
        Ok(Openness::Open {
            until: close.map(|(_, at)| at),
            starts_until: too_late.into_iter().chain(deadline.map(|(at, _)| at)).min(),
            allow: open_longest(self.allows, t),
            freeze_next: freeze.map(|(name, at)| (SmolStr::new(name), at)),
            capped,
        })
    }

    /// The estimate, at most half the merged Allow span's length (rule W2): else what is too long would never start.
    fn capped_estimate(&self, t: Timestamp, allow: Option<&Reach<'_>>) -> (SignedDuration, bool) {
        let Some(end) = allow.and_then(|allow| allow.end) else { return (self.estimate, false) };
        // The length takes a look back; where half of what is left suffices, so does half of the whole.
        if end.duration_since(t) / 2 >= self.estimate {
            return (self.estimate, false);
        }
        match reached_from(self.allows, t).map(|start| end.duration_since(start) / 2) {
            Some(half) if half < self.estimate => (half, true),
            Some(_) | None => (self.estimate, false),
        }
    }

    /// The first instant after `t` at which the steps may start, given why they may not at `t`.
    ///
    /// Whether they may is, within a stretch that is open and not frozen, true up to some point and false after; so only
    /// the starts of such stretches need a look: starts of Allow spans and ends of Deny spans.
    fn next_start(&self, mut t: Timestamp, mut reason: ClosedReason) -> Option<Timestamp> {
        for _ in 0..MAX_CHANGES_AHEAD {
            let next_allow = next_open(self.allows, t).map(|(_, at)| at);
            t = match reason {
                ClosedReason::Unreadable { .. } => return None,
                ClosedReason::Denied { .. } => reach(self.denies, t)?.end?,
                ClosedReason::NoneOpen { .. } => next_allow?,
                ClosedReason::CutoffReached { .. } | ClosedReason::NotEnoughTime { .. } => {
                    let thaw = next_open(self.denies, t).and_then(|(_, at)| reach(self.denies, at)?.end);
                    next_allow.into_iter().chain(thaw).min()?
                }
            };
            match self.decide(t) {
                Ok(_) => return Some(t),
                Err(next) => reason = next,
            }
        }
        None
    }
}

/// The guard that opens next after `t`, and when; of several at once, the first by order.
fn next_open<'a>(guards: &[Guard<'a>], t: Timestamp) -> Option<(&'a str, Timestamp)> {
    guards.iter().filter_map(|guard| Some((guard.name, guard.when?.next_open(t)?))).min_by_key(|(_, at)| *at)
}

/// Of the guards that are open at `t`, the one that closes last by itself; the first of several by order.
fn open_longest(guards: &[Guard<'_>], t: Timestamp) -> Option<SmolStr> {
    let open = guards.iter().rev().filter_map(|guard| match guard.when?.state_at(t) {
        WindowState::Closed => None,
        WindowState::Open { until } => Some((guard.name, until.unwrap_or(Timestamp::MAX))),
    });
    open.max_by_key(|(_, until)| *until).map(|(name, _)| SmolStr::new(name))
}

/// How far the guards that are open at `t` reach together, or `None` if none is open (rule W3).
fn reach<'a>(guards: &[Guard<'a>], t: Timestamp) -> Option<Reach<'a>> {
    let mut found: Option<Reach<'a>> = None;
    let mut at = t;
    for _ in 0..MAX_MERGED {
        let before = found.as_ref().and_then(|found| found.end);
        for guard in guards {
            let Some(WindowState::Open { until }) = guard.when.map(|when| when.state_at(at)) else {
                continue;
            };
            let Some(end) = until else {
                return Some(Reach { name: guard.name, end: None, deadline: None });
            };
            let cutoff = (end.checked_sub(guard.cutoff).unwrap_or(Timestamp::MIN), guard.name);
            match &mut found {
                None => found = Some(Reach { name: guard.name, end: Some(end), deadline: Some(cutoff) }),
                Some(found) => {
                    if found.end.is_some_and(|known| end > known) {
                        (found.name, found.end) = (guard.name, Some(end));
                    }
                    if found.deadline.is_some_and(|(known, _)| cutoff.0 > known) {
                        found.deadline = Some(cutoff);
                    }
                }
            }
        }
        let end = found.as_ref()?.end?;
        if Some(end) == before {
            return found;
        }
        if end.duration_since(t) > ENDLESS {
            return found.map(|found| Reach { end: None, deadline: None, ..found });
        }
        at = end;
    }
    found
}

/// Since when the guards that are open at `t` have been open together; `None`: endless.
fn reached_from(guards: &[Guard<'_>], t: Timestamp) -> Option<Timestamp> {
    let mut start = t;
    for _ in 0..MAX_MERGED {
        // A span that ends where the known ones begin touches them, so look just before, too.
        let before = start.checked_sub(SignedDuration::from_nanos(1)).ok()?;
        let mut earliest = start;
        for guard in guards {
            for span in [before, start].into_iter().filter_map(|at| guard.when?.span_at(at)) {
                earliest = earliest.min(span.start?);
            }
        }
        if earliest == start {
            break;
        }
        start = earliest;
    }
    Some(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::GoDuration;
    use crate::schedule::{Schedule, Zone};
    use crate::spans::Recurrence;
    use expect_test::{Expect, expect};

    fn minutes(text: &str) -> SignedDuration {
        GoDuration::parse(text).unwrap().length()
    }

    /// Windows in UTC, a line each: `allow|deny NAME CUTOFF`, `DURATION SCHEDULE`, `once FROM TO` or `unreadable`.
    fn check(windows: &str, policy: WindowsPolicy, estimate: &str, instants: &[&str], expected: Expect) {
        let mut read = Vec::new();
        for line in windows.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.splitn(5, ' ').collect();
            let when = match words[3] {
                "once" => {
                    let (from, to) = words[4].split_once(' ').unwrap();
                    Some(When::once(from.parse().unwrap(), to.parse().unwrap()).unwrap())
                }
                "unreadable" => None,
                duration => {
                    let schedule = Schedule::parse(words[4]).unwrap();
                    let recurrence = Recurrence::new(schedule, 0, Zone::utc(), minutes(duration));
                    Some(When::Recurring(recurrence.unwrap()))
                }
            };
            read.push((words[0], words[1], minutes(words[2]), when));
        }
        let guards = |action| {
            read.iter()
                .filter(|(kind, ..)| *kind == action)
                .map(|(_, name, cutoff, when)| Guard { name, when: when.as_ref(), cutoff: *cutoff })
                .collect::<Vec<_>>()
        };
        let mut out = String::new();
        for t in instants {
            let show = |t: Option<Timestamp>| t.map_or("ever".to_owned(), |t| t.to_string());
            let (at, estimate) = (t.parse().unwrap(), minutes(estimate));
            out += &match openness(&guards("allow"), &guards("deny"), policy, at, estimate) {
                Openness::Open { until, starts_until, allow, freeze_next, capped } => format!(
                    "+ {t} open until {} (starts until {}){}{}{}\n",
                    show(until),
                    show(starts_until),
                    allow.map_or(String::new(), |name| format!(", {name}")),
                    freeze_next.map_or(String::new(), |(name, at)| format!(", freeze {name} at {at}")),
                    if capped { ", capped" } else { "" },
                ),
                Openness::Closed { reason, until } => format!("~ {t} {reason:?}, until {}\n", show(until)),
            };
        }
        expected.assert_eq(&out);
    }

    // rule: W1, W2, W3
    #[test]
    fn a_nightly_window_opens_closes_and_has_a_cutoff() {
        check(
            "allow night 1h 4h 0 22 * * *",
            WindowsPolicy::Required,
            "10m",
            &[
                "2026-10-01T21:59:59Z",
                "2026-10-01T22:00:00Z",
                "2026-10-02T00:59:59Z",
                "2026-10-02T01:00:00Z",
                "2026-10-02T02:00:00Z",
            ],
            expect![[r#"
                ~ 2026-10-01T21:59:59Z NoneOpen { next: Some("night") }, until 2026-10-01T22:00:00Z
                + 2026-10-01T22:00:00Z open until 2026-10-02T02:00:00Z (starts until 2026-10-02T01:00:00Z), night
                + 2026-10-02T00:59:59Z open until 2026-10-02T02:00:00Z (starts until 2026-10-02T01:00:00Z), night
                ~ 2026-10-02T01:00:00Z CutoffReached { name: "night" }, until 2026-10-02T22:00:00Z
                ~ 2026-10-02T02:00:00Z NoneOpen { next: Some("night") }, until 2026-10-02T22:00:00Z
            "#]],
        );
    }

    // rule: W1
    #[test]
    fn without_any_allow_window_the_policy_decides() {
        let freeze = "deny freeze 0s 1h 0 12 * * *";
        let at = ["2026-10-01T10:00:00Z", "2026-10-01T11:55:00Z", "2026-10-01T12:30:00Z"];
        check(
            freeze,
            WindowsPolicy::Optional,
            "10m",
            &at,
            expect![[r#"
            + 2026-10-01T10:00:00Z open until 2026-10-01T12:00:00Z (starts until 2026-10-01T11:50:00Z), freeze freeze at 2026-10-01T12:00:00Z
            ~ 2026-10-01T11:55:00Z NotEnoughTime { name: "freeze", left: 5m, estimate: 10m }, until 2026-10-01T13:00:00Z
            ~ 2026-10-01T12:30:00Z Denied { name: "freeze" }, until 2026-10-01T13:00:00Z
        "#]],
        );
        check(
            freeze,
            WindowsPolicy::Required,
            "10m",
            &at[..1],
            expect![[r#"
            ~ 2026-10-01T10:00:00Z NoneOpen { next: None }, until ever
        "#]],
        );
        check(
            "",
            WindowsPolicy::Optional,
            "10m",
            &at[..1],
            expect![[r#"
            + 2026-10-01T10:00:00Z open until ever (starts until ever)
        "#]],
        );
    }

    // rule: W1, W2
    #[test]
    fn a_freeze_beats_every_window_and_ends_the_time_left() {
        check(
            "allow night 0s 4h 0 22 * * *
             deny xmas 0s once 2026-12-20T23:00:00Z 2026-12-27T23:30:00Z
             deny ball 0s 1h 30 23 27 12 *",
            WindowsPolicy::Required,
            "30m",
            &[
                "2026-12-20T22:30:00Z",
                "2026-12-20T22:30:01Z",
                "2026-12-20T23:00:00Z",
                "2026-12-25T22:10:00Z",
                "2026-12-28T00:30:00Z",
            ],
            expect![[r#"
                + 2026-12-20T22:30:00Z open until 2026-12-20T23:00:00Z (starts until 2026-12-20T22:30:00Z), night, freeze xmas at 2026-12-20T23:00:00Z
                ~ 2026-12-20T22:30:01Z NotEnoughTime { name: "xmas", left: 29m 59s, estimate: 30m }, until 2026-12-28T00:30:00Z
                ~ 2026-12-20T23:00:00Z Denied { name: "xmas" }, until 2026-12-28T00:30:00Z
                ~ 2026-12-25T22:10:00Z Denied { name: "xmas" }, until 2026-12-28T00:30:00Z
                + 2026-12-28T00:30:00Z open until 2026-12-28T02:00:00Z (starts until 2026-12-28T01:30:00Z), night, freeze ball at 2027-12-27T23:30:00Z
            "#]],
        );
    }

    // rule: W2
    #[test]
    fn an_estimate_longer_than_half_the_window_is_capped() {
        check(
            "allow short 0s 1h 0 22 * * *",
            WindowsPolicy::Required,
            "2h",
            &["2026-10-01T22:00:00Z", "2026-10-01T22:30:00Z", "2026-10-01T22:31:00Z"],
            expect![[r#"
                + 2026-10-01T22:00:00Z open until 2026-10-01T23:00:00Z (starts until 2026-10-01T22:30:00Z), short, capped
                + 2026-10-01T22:30:00Z open until 2026-10-01T23:00:00Z (starts until 2026-10-01T22:30:00Z), short, capped
                ~ 2026-10-01T22:31:00Z NotEnoughTime { name: "short", left: 29m, estimate: 30m }, until 2026-10-02T22:00:00Z
            "#]],
        );
    }

    // rule: W3
    #[test]
    fn windows_that_touch_are_one_with_the_later_end() {
        check(
            "allow first 1h 2h 0 20 * * *
             allow second 0s 2h 0 22 * * *
             allow third 0s 1h 0 23 * * *",
            WindowsPolicy::Required,
            "2h",
            &["2026-10-01T21:30:00Z", "2026-10-01T22:30:00Z"],
            expect![[r#"
                + 2026-10-01T21:30:00Z open until 2026-10-02T00:00:00Z (starts until 2026-10-01T22:00:00Z), first
                ~ 2026-10-01T22:30:00Z NotEnoughTime { name: "second", left: 1h 30m, estimate: 2h }, until 2026-10-02T20:00:00Z
            "#]],
        );
    }

    // rule: W2
    #[test]
    fn steps_that_never_fit_have_no_time_to_wait_for() {
        check(
            "allow night 2h 1h 0 22 * * *",
            WindowsPolicy::Required,
            "10m",
            &["2026-10-01T22:00:00Z"],
            expect![[r#"
                ~ 2026-10-01T22:00:00Z CutoffReached { name: "night" }, until ever
            "#]],
        );
    }

    // rule: W7
    #[test]
    fn a_window_that_cannot_be_read_closes_its_machines() {
        check(
            "allow always 0s 24h 0 0 * * *
             deny broken 0s unreadable",
            WindowsPolicy::Optional,
            "10m",
            &["2026-10-01T22:00:00Z"],
            expect![[r#"
                ~ 2026-10-01T22:00:00Z Unreadable { name: "broken" }, until ever
            "#]],
        );
    }

    // rule: W5
    #[test]
    fn a_window_that_is_always_open_has_no_end() {
        check(
            "allow always 1h 24h 0 0 * * *",
            WindowsPolicy::Required,
            "10m",
            &["2026-10-01T00:00:00Z"],
            expect![[r#"
            + 2026-10-01T00:00:00Z open until ever (starts until ever), always
        "#]],
        );
    }
}
