//! The leaf values against the golden vectors, dpkg itself, and a brute-force oracle of windows.
//!
//! The vectors are copies of the design's; here alone files are read and processes started.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests read their vectors, and fail by unwrap"
)]

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::process::Command;

use jiff::{SignedDuration, Timestamp};
use muster_model::openness::{Guard, Openness, openness};
use muster_model::{
    DebianVersion, GoDuration, OpenSpan, Recurrence, Relation, Schedule, Share, When, WindowState,
    WindowsPolicy, Zone, phasing_draw,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde::Deserialize;

fn vectors<T: for<'de> Deserialize<'de>>(name: &str) -> Vec<T> {
    let path = format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_saphyr::from_str(&std::fs::read_to_string(&path).expect("the vector file is there"))
        .expect("a list of vectors")
}

fn version(text: &str) -> DebianVersion {
    DebianVersion::parse(text).unwrap()
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

// rule: V1
#[test]
fn versions_are_ordered_as_the_vectors_say() {
    for line in vectors::<Vec<String>>("versions.yaml") {
        match line.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [text, "invalid"] => assert!(DebianVersion::parse(text).is_err(), "{text:?} is no version"),
            [left, relation, right] => {
                let wanted = match relation {
                    "<<" => Relation::StrictlyEarlier,
                    "=" => Relation::Equal,
                    ">>" => Relation::StrictlyLater,
                    other => panic!("{other} is in no vector"),
                };
                let (left, right) = (version(left), version(right));
                assert!(wanted.holds(&left, &right), "{left} {relation} {right}");
                if wanted == Relation::Equal {
                    assert_eq!(hash(&left), hash(&right), "{left} and {right} are one key");
                }
            }
            _ => panic!("{line:?} is no vector"),
        }
    }
}

/// Versions made of few characters, so that many are nearly alike.
fn any_version() -> impl Strategy<Value = DebianVersion> {
    ("([01]:)?", "[0-2][0-2a~+.-]{0,5}", "(-[0-2a~+.]{1,3})?")
        .prop_filter_map("a version", |(epoch, upstream, revision)| {
            DebianVersion::parse(&format!("{epoch}{upstream}{revision}")).ok()
        })
}

proptest! {
    // Failures print their input; nothing is written beside the sources.
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

    // rule: V1
    #[test]
    fn versions_are_totally_ordered(a in any_version(), b in any_version(), c in any_version()) {
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        if a <= b && b <= c {
            prop_assert!(a <= c);
        }
        if a == b {
            prop_assert_eq!(hash(&a), hash(&b));
            prop_assert_eq!(a.cmp(&c), b.cmp(&c));
        }
        prop_assert_eq!(DebianVersion::parse(a.as_str()).unwrap().to_string(), a.to_string());
    }

    #[test]
    fn what_a_duration_shows_reads_as_the_same(nanos in 0_i128..10_000_000_000_000_000) {
        let duration = GoDuration::new(SignedDuration::from_nanos_i128(nanos)).unwrap();
        prop_assert_eq!(GoDuration::parse(&duration.to_string()).unwrap(), duration);
    }
}

fn runner() -> TestRunner {
    TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// What dpkg says to each question, one shell for all of them; `None` where there is no dpkg.
fn dpkg(question: &str, arguments: &[Vec<String>]) -> Option<Vec<bool>> {
    let is_there = Command::new("dpkg").arg("--version").output().is_ok_and(|output| output.status.success());
    if !is_there {
        return None; // Not a Debian machine: the vectors must do.
    }
    let script = format!(
        "while [ $# -gt 0 ]; do n=$1; shift; dpkg {question} >/dev/null 2>&1; echo $?; shift $n; done"
    );
    let mut asked = Command::new("sh");
    asked.args(["-c", &script, "sh"]);
    for one in arguments {
        asked.arg(one.len().to_string()).args(one);
    }
    let output = asked.output().expect("a shell runs");
    let text = String::from_utf8(output.stdout).expect("codes are ASCII");
    let answers: Vec<bool> = text.lines().map(|code| code == "0").collect();
    assert_eq!(answers.len(), arguments.len(), "an answer to each question");
    Some(answers)
}

/// Versions with letters, too, and with parts that agree far in: where dpkg's order has its corners.
fn odd_version() -> impl Strategy<Value = DebianVersion> {
    let upstream = "[0-9]{1,3}([.+~-]?[a-zA-Z0-9]{1,4}){0,3}~?";
    ("([0-2]:)?", upstream, "(-[0-9a-zA-Z+.~]{1,6})?")
        .prop_filter_map("a version", |(epoch, upstream, revision)| {
            DebianVersion::parse(&format!("{epoch}{upstream}{revision}")).ok()
        })
}

// rule: V1
#[test]
fn dpkg_orders_random_versions_the_same() {
    let mut runner = runner();
    let mut pairs = Vec::new();
    for _ in 0..300 {
        let alike = (any_version(), any_version()).new_tree(&mut runner).unwrap().current();
        let odd = (odd_version(), odd_version()).new_tree(&mut runner).unwrap().current();
        pairs.extend([alike, odd]);
    }
    let questions: Vec<Vec<String>> = pairs
        .iter()
        .map(|(left, right)| {
            let relation = match left.cmp(right) {
                std::cmp::Ordering::Less => "lt",
                std::cmp::Ordering::Equal => "eq",
                std::cmp::Ordering::Greater => "gt",
            };
            vec![left.to_string(), relation.to_owned(), right.to_string()]
        })
        .collect();
    let Some(answers) = dpkg(r#"--compare-versions "$1" "$2" "$3""#, &questions) else { return };
    for (question, is_so) in questions.iter().zip(answers) {
        assert!(is_so, "dpkg says otherwise: {question:?}");
    }
    assert!(questions.iter().any(|question| question[1] == "eq"), "some are equal");
}

// rule: V1
#[test]
fn dpkg_refuses_the_same_texts() {
    let short = "[0-9a:~ _.+-]{0,6}";
    let long = "([0-9]:)?[0-9][0-9a-zA-Z.+~-]{0,8}[_:]?(-[a-zA-Z0-9+.~_]{0,4})?";
    let mut runner = runner();
    let mut texts: Vec<String> = Vec::new();
    for _ in 0..200 {
        texts.push(short.new_tree(&mut runner).unwrap().current());
        texts.push(long.new_tree(&mut runner).unwrap().current());
    }
    texts.retain(|text| !text.starts_with('-'));
    let questions: Vec<Vec<String>> = texts.iter().map(|text| vec![text.clone()]).collect();
    let Some(answers) = dpkg(r#"--validate-version "$1""#, &questions) else { return };
    for (text, is_valid) in texts.iter().zip(&answers) {
        assert_eq!(DebianVersion::parse(text).is_ok(), *is_valid, "{text:?}");
    }
    let valid = answers.iter().filter(|is_valid| **is_valid).count();
    assert!((50..350).contains(&valid), "{valid} of {} are valid: both kinds are asked", answers.len());
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PhasingVector {
    source: String,
    version: String,
    machine_id: String,
    draw: u8,
}

// rule: V2
#[test]
fn machines_draw_for_phased_updates_as_their_apt_does() {
    for PhasingVector { source, version, machine_id, draw } in vectors("phasing.yaml") {
        assert_eq!(phasing_draw(&source, &version, &machine_id), draw, "{source} {version} {machine_id}");
    }
}

// rule: V2
#[test]
fn a_percentage_is_about_that_share_of_machines() {
    let draws = (0..10_000).map(|machine| phasing_draw("systemd", "255.4-1", &format!("{machine:032x}")));
    let mut counts = [0_usize; 101];
    draws.for_each(|draw| counts[usize::from(draw)] += 1);
    assert!(counts.iter().all(|count| (50..160).contains(count)), "each draw is as likely: {counts:?}");
    let within: usize = counts[..=10].iter().sum();
    assert!((950..1_250).contains(&within), "{within} of 10000 machines are within 10%");
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BudgetVector {
    max_unavailable: Option<Share>,
    min_available: Option<Share>,
    of: usize,
    is: usize,
}

// rule: B1
#[test]
fn budgets_count_as_the_vectors_say() {
    for BudgetVector { max_unavailable, min_available, of, is } in vectors("budgets.yaml") {
        match (max_unavailable, min_available) {
            (Some(share), None) => {
                assert_eq!(share.max_unavailable_of(of), is, "maxUnavailable {share} of {of}")
            }
            (None, Some(share)) => assert_eq!(share.min_available_of(of), is, "minAvailable {share} of {of}"),
            (None, None) | (Some(_), Some(_)) => panic!("a vector has one of them"),
        }
    }
}

#[derive(Deserialize)]
struct WindowVector {
    name: String,
    window: WindowText,
    from: Timestamp,
    to: Timestamp,
    open: Vec<(Timestamp, Timestamp)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WindowText {
    schedule: String,
    time_zone: String,
    duration: GoDuration,
    #[serde(default)]
    offset_days: i32,
}

fn recurring(schedule: &str, offset_days: i32, zone: &str, duration: SignedDuration) -> When {
    let (schedule, zone) = (Schedule::parse(schedule).unwrap(), Zone::parse(zone).unwrap());
    When::Recurring(Recurrence::new(schedule, offset_days, zone, duration).unwrap())
}

// rule: W3, W4, W5
#[test]
fn windows_open_as_the_vectors_say() {
    for WindowVector { name, window, from, to, open } in vectors("windows.yaml") {
        let when =
            recurring(&window.schedule, window.offset_days, &window.time_zone, window.duration.length());
        let spans: Vec<_> =
            when.open_spans(from, to).map(|span| (span.start.unwrap(), span.end.unwrap())).collect();
        assert_eq!(spans, open, "{name}");
        for (start, end) in open {
            let span = Some(OpenSpan { start: Some(start), end: Some(end) });
            let before = start - SignedDuration::from_nanos(1);
            assert_eq!(when.span_at(start), span, "{name}: open from the start on");
            assert_eq!(when.span_at(end - SignedDuration::from_nanos(1)), span, "{name}: open up to the end");
            assert!(!when.is_open(end) && !when.is_open(before), "{name}: closed around it");
            assert_eq!(when.next_open(before), Some(start), "{name}");
            assert_ne!(
                when.next_open(start),
                Some(start),
                "{name}: once it is open, the next opening is another"
            );
        }
    }
}

/// Every start from the local minutes around, one by one, and whether one of them is less than `duration` ago.
struct Oracle {
    starts: Vec<Timestamp>,
    duration: SignedDuration,
}

impl Oracle {
    fn new(
        schedule: &str,
        offset_days: i32,
        zone: &str,
        duration: SignedDuration,
        from: Timestamp,
        to: Timestamp,
    ) -> Self {
        let zone = jiff::tz::TimeZoneDatabase::bundled().get(zone).unwrap();
        let schedule = Schedule::parse(schedule).unwrap();
        let week = SignedDuration::from_hours(7 * 24);
        let (mut day, last) =
            (zone.to_datetime(from - duration - week).date(), zone.to_datetime(to + week).date());
        let mut starts = Vec::new();
        while day <= last {
            let written = day.checked_sub(jiff::Span::new().days(offset_days)).unwrap();
            let runs = schedule.runs_on(written);
            for minute in (0..24 * 60).filter(|minute| runs && schedule.minutes().contains(minute)) {
                let (hour, minute) = (i8::try_from(minute / 60).unwrap(), i8::try_from(minute % 60).unwrap());
                starts.push(zone.to_ambiguous_timestamp(day.at(hour, minute, 0, 0)).compatible().unwrap());
            }
            day = day.tomorrow().unwrap();
        }
        starts.sort();
        Self { starts, duration }
    }

    fn is_open(&self, t: Timestamp) -> bool {
        let after = self.starts.partition_point(|start| *start <= t);
        self.starts[..after].iter().any(|start| t < *start + self.duration)
    }
}

// rule: W3, W4, W5
#[test]
fn windows_open_as_brute_force_finds() {
    let minute = SignedDuration::from_mins(1);
    for (schedule, offset_days, zone, minutes, from) in [
        ("30 2 * * *", 0, "Europe/Berlin", 60, "2027-03-20T00:00:00Z"),
        ("*/30 * * * *", 0, "Europe/Berlin", 20, "2027-03-20T00:00:00Z"),
        ("*/30 1-4 * * *", 0, "Europe/Berlin", 30, "2026-10-18T00:00:00Z"),
        ("0 0 * * *", 0, "Europe/Berlin", 24 * 60, "2026-10-18T00:00:00Z"),
        ("0 22 * * FRI-SAT", 0, "America/St_Johns", 30 * 60, "2026-10-24T00:00:00Z"),
        ("15 0 * * SUN#1", -2, "America/Santiago", 150, "2026-08-27T00:00:00Z"),
        ("0 2 * * *", 1, "Australia/Lord_Howe", 45, "2027-03-28T00:00:00Z"),
        ("7 */5 29-31 * *", 3, "Africa/Casablanca", 90, "2026-02-10T00:00:00Z"),
        ("0 */6 * * *", 0, "Pacific/Apia", 200, "2011-12-24T00:00:00Z"),
        ("* 3 L * *", -1, "Asia/Kathmandu", 1, "2026-02-20T00:00:00Z"),
        ("0 0 * * *", 0, "Africa/Cairo", 50, "2026-04-20T00:00:00Z"),
        ("0 12 * * MON", 0, "America/New_York", 3 * 24 * 60, "2026-10-25T00:00:00Z"),
    ] {
        let from: Timestamp = from.parse().unwrap();
        let to = from + SignedDuration::from_hours(15 * 24);
        let duration = SignedDuration::from_mins(minutes);
        let when = recurring(schedule, offset_days, zone, duration);
        let oracle = Oracle::new(schedule, offset_days, zone, duration, from, to);
        let story = format!("{schedule} +{offset_days} {zone} {minutes}m");
        let spans: Vec<OpenSpan> = when.open_spans(from, to).collect();
        assert!(
            spans.windows(2).all(|pair| pair[0].end.unwrap() < pair[1].start.unwrap()),
            "{story}: in order, merged"
        );
        let (mut t, mut changed) = (from, None);
        while t < to {
            let open = oracle.is_open(t);
            let span = spans.iter().find(|span| span.contains(t)).copied();
            assert_eq!(span.is_some(), open, "{story} at {t}");
            // Asking at one instant says the same as listing; at each change, and now and then.
            if changed != Some(open) || t.as_second() % (13 * 3600) == 0 {
                assert_eq!(when.span_at(t), span, "{story} at {t}");
                let until = span.map(|span| WindowState::Open { until: span.end });
                assert_eq!(when.state_at(t), until.unwrap_or(WindowState::Closed), "{story} at {t}");
                let next = spans.iter().filter_map(|span| span.start).find(|start| *start > t);
                assert!(next.is_none() || when.next_open(t) == next, "{story} at {t}");
            }
            changed = Some(open);
            t += minute;
        }
    }
}

/// Zones with all that zones do: no change, half hours, three quarters, a change of 30 minutes, changes at midnight, a dropped
/// day, a month without summer time, a zone that gave it up; each with a schedule that meets it.
const ZONES: [(&str, &str, i32, i64); 20] = [
    ("UTC", "0 22 * * FRI", 0, 360),
    ("Europe/Berlin", "30 2 * * *", 0, 90),
    ("Europe/London", "0 1 L * *", 0, 120),
    ("Europe/Lisbon", "0 0 * * MON-FRI", 0, 60 * 24),
    ("Europe/Istanbul", "15 3 1 * *", 2, 45),
    ("Europe/Moscow", "*/15 2 * * SUN", 0, 10),
    ("America/New_York", "0 3 * * TUE#2", 3, 90),
    ("America/St_Johns", "1 0 * * *", 0, 60),
    ("America/Santiago", "0 0 * * SAT,SUN", 0, 30),
    ("America/Sao_Paulo", "0 0 * * *", 0, 23 * 60),
    ("America/Asuncion", "30 23 * * *", -1, 61),
    ("Asia/Kathmandu", "0 23 L * *", 0, 120),
    ("Asia/Tehran", "0 0 * 3,9 *", 0, 60),
    ("Asia/Kolkata", "30 5 15 * *", 31, 5),
    ("Asia/Gaza", "0 */2 * * *", 0, 30),
    ("Africa/Casablanca", "0 2-3 * * *", 0, 59),
    ("Africa/Cairo", "0 0 * * THU-FRI", 0, 100),
    ("Australia/Lord_Howe", "0 2 * * *", 0, 60),
    ("Pacific/Chatham", "45 2 * * SUN#1", 0, 600),
    ("Pacific/Apia", "0 12 * * MON", 0, 3 * 24 * 60),
];

/// Ten years, in which each date falls on most days of the week.
const YEARS: std::ops::Range<i16> = 2021..2031;

// rule: W3, W4, W5
#[test]
fn windows_open_minute_by_minute_in_twenty_zones_over_ten_years() {
    let minute = SignedDuration::from_mins(1);
    for (zone, schedule, offset_days, minutes) in ZONES {
        let duration = SignedDuration::from_mins(minutes);
        let when = recurring(schedule, offset_days, zone, duration);
        for year in YEARS {
            let new_year = |year: i16| -> Timestamp { format!("{year}-01-01T00:00:00Z").parse().unwrap() };
            let (from, to) = (new_year(year), new_year(year + 1));
            let starts = Oracle::new(schedule, offset_days, zone, duration, from, to).starts;
            let mut starts = starts.into_iter().peekable();
            let mut spans = when.open_spans(from, to).peekable();
            let (mut t, mut until, mut opened) = (from, Timestamp::MIN, 0);
            while t < to {
                while let Some(start) = starts.next_if(|start| *start <= t) {
                    until = until.max(start + duration);
                }
                while spans.next_if(|span| span.end.is_some_and(|end| end <= t)).is_some() {}
                let is_open = spans.peek().is_some_and(|span| span.contains(t));
                assert_eq!(is_open, t < until, "{schedule} +{offset_days} {zone} for {minutes} min at {t}");
                opened += u32::from(is_open);
                t += minute;
            }
            assert!(opened > 0, "{schedule} {zone} opens in {year}");
        }
    }
}

// rule: W8
#[test]
fn the_rarest_window_is_found_and_a_window_that_never_opens_is_too() {
    let next = |schedule: &str, t: &str| {
        let when = recurring(schedule, 0, "UTC", SignedDuration::from_hours(1));
        when.next_open(t.parse().unwrap()).map(|t| t.to_string())
    };
    assert_eq!(next("0 0 29 2 *", "2096-03-01T00:00:00Z").as_deref(), Some("2104-02-29T00:00:00Z"));
    assert_eq!(next("0 0 * 2 THU#5", "2080-03-01T00:00:00Z").as_deref(), Some("2120-02-29T00:00:00Z"));
    assert_eq!(next("0 0 30 2 *", "2026-01-01T00:00:00Z"), None);
}

// rule: W3
#[test]
fn an_always_open_window_has_no_ends_and_a_daily_one_closes_for_the_extra_hour() {
    let day = SignedDuration::from_hours(24);
    let t: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
    let always = recurring("0 0 * * *", 0, "UTC", day);
    assert_eq!(always.span_at(t), Some(OpenSpan { start: None, end: None }));
    assert_eq!(always.next_open(t), None);
    let berlin = recurring("0 0 * * *", 0, "Europe/Berlin", day).span_at(t).unwrap();
    assert_eq!(berlin.start.unwrap().to_string(), "2025-10-26T23:00:00Z");
    assert_eq!(berlin.end.unwrap().to_string(), "2026-10-25T22:00:00Z");
    let daily = recurring("0 0 * * *", 0, "Europe/Berlin", day);
    assert_eq!(daily.state_at(t), WindowState::Open { until: berlin.end });
    assert_eq!(daily.next_open(t).unwrap().to_string(), "2026-10-25T23:00:00Z");
    assert_eq!(always.state_at(t), WindowState::Open { until: None });
    let minutely = recurring("* * * * *", 0, "Europe/Berlin", SignedDuration::from_mins(1));
    // In the repeated hour of autumn each minute comes once, the first time (rule W4): the second time is closed.
    assert_eq!(minutely.span_at(t).unwrap().end.unwrap().to_string(), "2026-10-25T01:00:00Z");
}

// rule: W1, W2, W3
#[test]
fn a_closed_machine_is_told_the_first_minute_at_which_its_steps_may_start() {
    let minutes = SignedDuration::from_mins;
    let windows = [
        ("evening", recurring("0 20 * * *", 0, "Europe/Berlin", minutes(180)), 30),
        ("late", recurring("0 22 * * SAT-SUN", 0, "America/New_York", minutes(300)), 0),
        ("often", recurring("5 */4 * * MON", 0, "UTC", minutes(25)), 5),
        ("freeze", recurring("30 20 * * TUE-SAT", 0, "Europe/Berlin", minutes(100)), 0),
        ("dawn", recurring("0 3-9/2 * * *", 0, "UTC", minutes(50)), 0),
    ];
    let guards: Vec<Guard<'_>> = windows
        .iter()
        .map(|(name, when, cutoff)| Guard { name, when: Some(when), cutoff: minutes(*cutoff) })
        .collect();
    let (allows, denies) = guards.split_at(3);
    let from: Timestamp = "2026-10-22T00:00:00Z".parse().unwrap();
    for estimate in [10, 45, 100] {
        let (mut promised, mut open) = (None, 0);
        for t in (0..6 * 24 * 60).map(|minute| from + minutes(minute)) {
            match openness(allows, denies, WindowsPolicy::Required, t, minutes(estimate)) {
                Openness::Open { until, starts_until, .. } => {
                    assert!(
                        promised.is_none_or(|promised| promised <= t),
                        "{t} was promised only for {promised:?}"
                    );
                    assert!(starts_until.unwrap() >= t && until.unwrap() > t, "{t}");
                    assert!(denies.iter().all(|deny| !deny.when.unwrap().is_open(t)), "{t} is frozen");
                    (promised, open) = (None, open + 1);
                }
                Openness::Closed { until, .. } => {
                    assert!(
                        until.unwrap() > t && promised.is_none_or(|promised| Some(promised) == until),
                        "{t}"
                    );
                    promised = until;
                }
            }
        }
        assert!(open > 100, "{estimate}: {open} minutes");
    }
}
