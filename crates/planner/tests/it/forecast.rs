//! What is to come, told in stories; and beside the planner run forward, a loop that knows nothing of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use expect_test::{Expect, expect};
use jiff::SignedDuration;
use muster_model::{Instant, Verdict};
use muster_planner::{Course, Fate, Forecast, forecast};

use crate::world::{World, read};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn check(text: &str, expected: Expect) {
    let world = read(text);
    let found = forecast(&world.snapshot);
    assert_eq!(forecast(&world.snapshot), found, "two forecasts of one world differ");
    expected.assert_eq(&show(&found));
}

fn show(found: &Forecast) -> String {
    let mut out = String::new();
    course(&mut out, &found.typical);
    if found.slow != found.typical {
        writeln!(out, "= at the slowest").unwrap();
        course(&mut out, &found.slow);
    }
    out
}

fn course(out: &mut String, course: &Course) {
    for opening in &course.openings {
        let window = opening.window.as_ref().map_or("any time", |window| window.as_str());
        let machines: Vec<&str> = opening.machines.iter().map(|name| name.as_str()).collect();
        writeln!(out, "+ {window} from {}: {}", opening.from, machines.join(" ")).unwrap();
    }
    for (name, fate) in &course.fates {
        let verdict = |verdict: &Verdict| format!("{} {}", verdict.reason(), verdict.rule());
        let fate = match fate {
            Fate::Converges(at) => format!("converges {at}"),
            Fate::Later(why) => format!("later: {}", verdict(why)),
            Fate::Never(why) => format!("never: {}", verdict(why)),
            Fate::Unknown(why) => format!("unknown: {why:?}"),
            Fate::Unmanaged(why) => format!("unmanaged: {why:?}"),
        };
        writeln!(out, "  {name} {fate}").unwrap();
    }
    for freeze in &course.freezes {
        let until = freeze.until.map_or("-".to_owned(), |until| until.to_string());
        writeln!(out, "! freeze {} {} to {until}: {} wait", freeze.window, freeze.from, freeze.machines)
            .unwrap();
    }
    let converged = course.converged.map_or("-".to_owned(), |at| at.to_string());
    writeln!(out, "= {:?}, converged {converged}, {} assumed", course.ending, course.assumed).unwrap();
}

/// Issue 3's fleet: 1,000 machines, 5%, 12 min work, 10 min minReady, 4 h a night with the last 30 min cut off.
fn thousand() -> World {
    let mut story = String::from(
        "baseline fix max 5% ready 10m: openssl >= 3.0.15\n window night allow cutoff 30m: daily 22 4h\n",
    );
    for number in 0..1000 {
        story.push_str(&format!("machine m{number:04}: openssl 3.0.14 -> 3.0.15\n"));
    }
    let mut world = read(&story);
    world.snapshot.policy.estimates.packages = MINUTE * 12;
    world.snapshot.policy.medians = world.snapshot.policy.estimates;
    world
}

/// How many machines begin in each night and when the last one is done, minute by minute.
fn nights(mut waiting: usize, noon: Instant) -> (Vec<usize>, Instant) {
    let (places, work, hold) = (50, 12, 22);
    let mut begun: BTreeMap<i32, usize> = BTreeMap::new();
    let (mut nights, mut minute) = (Vec::new(), 0);
    while waiting > 0 {
        let since_ten = (minute - 600i32).rem_euclid(24 * 60);
        if minute >= 600 && since_ten == 0 {
            nights.push(0);
        }
        let taken: usize = begun.range(minute - hold + 1..=minute).map(|(_, count)| count).sum();
        if minute >= 600 && since_ten < 4 * 60 - 30 && taken < places {
            let now = waiting.min(places - taken);
            begun.insert(minute, now);
            waiting -= now;
            *nights.last_mut().unwrap() += now;
        }
        minute += 1;
    }
    let last = begun.last_key_value().map_or(0, |(minute, _)| *minute);
    (nights, noon + MINUTE * (last + work))
}

// rule: W2, B2
#[test]
fn a_thousand_machines_take_two_nights_as_a_loop_that_only_counts_says_too() {
    let world = thousand();
    let (nights, done) = nights(1000, world.snapshot.now);
    let found = forecast(&world.snapshot);
    let foreseen: Vec<usize> = found.typical.openings.iter().map(|one| one.machines.len()).collect();
    assert_eq!(foreseen, nights);
    assert_eq!(foreseen, [500, 500]);
    assert_eq!(found.typical.converged, Some(done));
    assert_eq!(done, "2026-11-25T01:30:00Z".parse().unwrap());
    assert_eq!(found.totals().converging, 1000);
    assert_eq!(found.typical.assumed, 1000, "no machine's apt was asked yet");
}

// rule: W1
#[test]
fn a_freeze_that_comes_first_is_named_and_waited_for() {
    check(
        "baseline fix max 1: openssl >= 3.0.15
         window night allow: daily 22 1h
         window freeze deny: once 2026-11-23T22:15:00Z 2026-11-24T23:30:00Z
         machine a: openssl 3.0.14 -> 3.0.15
         machine b: openssl 3.0.14 -> 3.0.15
         machine c: openssl 3.0.15",
        expect![[r#"
            + night from 2026-11-23T22:00:00Z: a
            + night from 2026-11-25T22:00:00Z: b
              a converges 2026-11-23T22:10:00Z
              b converges 2026-11-25T22:10:00Z
              c converges 2026-11-23T12:00:00Z
            ! freeze freeze 2026-11-23T22:15:00Z to 2026-11-24T23:30:00Z: 1 wait
            = Settled, converged 2026-11-25T22:10:00Z, 2 assumed
        "#]],
    );
}

// rule: W6, B5
#[test]
fn a_reboot_comes_along_and_what_needs_no_window_starts_at_once() {
    check(
        "baseline fix reboot 30m max 1: openssl >= 3.0.15
         machine a reboot-required 1h: openssl 3.0.14 -> 3.0.15
         machine b: openssl 3.0.14 -> 3.0.15
         machine c role=x silent 2h: openssl 3.0.14 -> 3.0.15
         machine d unadmitted: openssl 3.0.14 -> 3.0.15",
        expect![[r#"
            + any time from 2026-11-23T12:00:00Z: a b
              a converges 2026-11-23T12:20:00Z
              b converges 2026-11-23T12:30:00Z
              c unknown: Stale { last_heard: 2026-11-23T10:00:00Z }
              d unmanaged: NotAdmitted
            = Settled, converged 2026-11-23T12:30:00Z, 2 assumed
        "#]],
    );
}

// rule: V6, V3, A6
#[test]
fn what_only_a_person_can_mend_never_converges() {
    check(
        "baseline fix fail 100%: openssl >= 3.0.15; curl
         machine a: openssl 3.0.14 held -> 3.0.15; curl - -> 8
         machine b: openssl 3.0.14; curl 8
         machine c carried 9: openssl 3.0.14 -> 3.0.15; curl 8
         activity c-1 Failed(TimedOut) 30s: install fix openssl 3.0.15",
        expect![[r#"
            + any time from 2026-11-23T12:00:00Z: a c
              a never: Held V6
              b never: Unsatisfiable V3
              c converges 2026-11-23T12:10:30Z
            = Settled, converged 2026-11-23T12:10:30Z, 2 assumed
        "#]],
    );
}

// rule: V2, V6, W1
#[test]
fn what_a_machine_has_yet_to_report_is_counted_apart_and_each_machine_knows_when_its_turn_is() {
    let world = read(
        "baseline fix max 1: openssl >= 3.0.15
         baseline new on tier=app: nginx
         window night allow: daily 22 4h
         machine a tier=app: openssl 3.0.15
         machine b: openssl 3.0.14 -> 3.0.15
         machine c: openssl 3.0.14 -> 3.0.15
         machine d: openssl 3.0.14 held -> 3.0.15",
    );
    let found = forecast(&world.snapshot);
    let totals = found.totals();
    assert_eq!((totals.awaiting_report, totals.never, totals.converging), (1, 1, 2));
    let starts = found.typical.starts.iter().map(|(name, (at, window))| {
        format!("{name} {at} {}", window.as_ref().map_or("-", |window| window.as_str()))
    });
    let starts: Vec<String> = starts.collect();
    assert_eq!(starts, ["b 2026-11-23T22:10:00Z night", "c 2026-11-23T22:00:00Z night"]);
}

// rule: W1
#[test]
fn a_window_that_never_opens_again_is_never() {
    check(
        "baseline fix: openssl >= 3.0.15
         window past allow: once 2026-01-01T00:00:00Z 2026-01-02T00:00:00Z
         machine a: openssl 3.0.14 -> 3.0.15",
        expect![[r#"
              a never: WindowClosed W1
            = Settled, converged -, 1 assumed
        "#]],
    );
}

// rule: B2, W1
#[test]
fn what_a_failure_that_nobody_mends_holds_up_is_not_said_to_wait_for_the_night() {
    check(
        "baseline fix: openssl >= 3.0.15
         budget z max 1
         window night allow: daily 22 4h
         machine a carried 9: openssl 3.0.14 held -> 3.0.15
         activity a-1 Failed(TimedOut) 5m: install fix openssl 3.0.15
         machine b: openssl 3.0.14 -> 3.0.15",
        expect![[r#"
              a never: Held V6
              b never: Budget B2
            = Horizon, converged -, 1 assumed
        "#]],
    );
}

// rule: O2, A4
#[test]
fn what_waits_behind_a_machine_that_a_person_suspended_never_converges() {
    check(
        "baseline fix max 1: openssl >= 3.0.15
         wave canary fix on ring=canary
         baseline app on tier=app: curl >= 9
         wave canary app on ring=canary
         window quarter allow on tier=db: once 2027-06-01T00:00:00Z 2027-06-02T00:00:00Z
         window night allow on tier=night: daily 22 4h
         machine a ring=canary suspended: openssl 3.0.14 -> 3.0.15; curl 9
         machine b tier=night: openssl 3.0.14 -> 3.0.15; curl 9
         machine c tier=db: openssl 3.0.14 -> 3.0.15; curl 9
         machine d tier=app ring=canary: openssl 3.0.15; curl 8 -> 9
         machine e tier=app: openssl 3.0.15; curl 8 -> 9",
        expect![[r#"
            + any time from 2026-11-23T12:00:00Z: d e
              a never: Suspended A4
              b never: Wave O2
              c never: Wave O2
              d converges 2026-11-23T12:10:00Z
              e converges 2026-11-23T12:20:00Z
            = Horizon, converged 2026-11-23T12:20:00Z, 2 assumed
        "#]],
    );
}

// rule: O2, W1
#[test]
fn what_waits_behind_machines_whose_window_opens_after_the_horizon_comes_later() {
    check(
        "baseline fix on team=a max 1: openssl >= 3.0.15
         wave canary fix on ring=canary
         baseline other max 1: openssl >= 3.0.15
         wave first other on tier=db
         window quarter allow on tier=db: once 2027-06-01T00:00:00Z 2027-06-02T00:00:00Z
         machine a team=a ring=canary: openssl 3.0.14 -> 3.0.15
         machine b team=a: openssl 3.0.14 -> 3.0.15
         machine c tier=db: openssl 3.0.14 -> 3.0.15",
        expect![[r#"
              a later: Wave O2
              b later: Wave O2
              c later: WindowClosed W1
            = Horizon, converged -, 1 assumed
        "#]],
    );
}

// rule: W1
#[test]
fn what_is_under_way_at_the_horizon_ends_after_it() {
    check(
        "baseline fix max 1: openssl >= 3.0.15
         window far allow: once 2027-01-22T11:55:00Z 2027-01-22T13:00:00Z
         machine a: openssl 3.0.14 -> 3.0.15
         machine b: openssl 3.0.14 -> 3.0.15",
        expect![[r#"
            + far from 2027-01-22T11:55:00Z: a
              a later: Starting B5
              b later: MaxUnavailable B2
            = Horizon, converged -, 2 assumed
        "#]],
    );
}

// rule: W1
#[test]
fn a_freeze_of_other_steps_than_a_change_has_is_not_listed() {
    check(
        "baseline fix max 1: openssl >= 3.0.15
         window night allow: daily 22 1h
         window boots deny covers Kernel,Reboot: once 2026-11-23T20:00:00Z 2026-11-24T23:30:00Z
         window all deny covers Packages: once 2026-11-23T20:00:00Z 2026-11-24T21:30:00Z
         baseline base on role=x reboot 30m:
         machine a: openssl 3.0.14 -> 3.0.15
         machine b role=x reboot-required 1h: openssl 3.0.15",
        expect![[r#"
            + night from 2026-11-24T22:00:00Z: a
            + night from 2026-11-25T22:00:00Z: b
              a converges 2026-11-24T22:10:00Z
              b converges 2026-11-25T22:10:00Z
            ! freeze all 2026-11-23T20:00:00Z to 2026-11-24T21:30:00Z: 1 wait
            ! freeze boots 2026-11-23T20:00:00Z to 2026-11-24T23:30:00Z: 1 wait
            = Settled, converged 2026-11-25T22:10:00Z, 1 assumed
        "#]],
    );
}

// rule: B1
#[test]
fn a_year_long_freeze_is_beyond_the_horizon() {
    check(
        "baseline fix: openssl >= 3.0.15
         window freeze deny: once 2026-11-01T00:00:00Z 2027-11-01T00:00:00Z
         machine a: openssl 3.0.14 -> 3.0.15",
        expect![[r#"
              a later: Frozen W1
            ! freeze freeze 2026-11-01T00:00:00Z to 2027-11-01T00:00:00Z: 1 wait
            = Horizon, converged -, 1 assumed
        "#]],
    );
}

// rule: A1, A4
#[test]
fn what_is_under_way_ends_first() {
    check(
        "baseline fix max 1: openssl >= 3.0.15
         machine a: openssl 3.0.14 -> 3.0.15
         machine b: openssl 3.0.14 -> 3.0.15
         activity a-1 Running 4m: install fix openssl 3.0.15",
        expect![[r#"
            + any time from 2026-11-23T12:06:00Z: b
              a converges 2026-11-23T12:06:00Z
              b converges 2026-11-23T12:16:00Z
            = Settled, converged 2026-11-23T12:16:00Z, 1 assumed
        "#]],
    );
}

// rule: V6
#[test]
fn holds_are_set_on_the_way() {
    check(
        "baseline fix: openssl >= 3.0.15 hold; curl absent
         machine a interrupted: openssl 3.0.14 held broken -> 3.0.15; curl 8
         machine b ours openssl: openssl 3.0.14 held -> 3.0.15; curl 8",
        expect![[r#"
            + any time from 2026-11-23T12:00:00Z: a b
              a converges 2026-11-23T12:20:00Z
              b converges 2026-11-23T12:10:00Z
            = Settled, converged 2026-11-23T12:20:00Z, 2 assumed
        "#]],
    );
}

// rule: O1, O2, O7
#[test]
fn waves_and_their_soak_take_their_time_and_an_approval_is_nobodys_to_foresee() {
    check(
        "baseline fix max 2: openssl >= 3.0.15
         wave canary fix on ring=canary soak 1h
         baseline app max 2 on tier=app: curl >= 9
         wave canary app on ring=canary approval
         window night allow on tier=db: daily 22 4h
         machine a ring=canary: openssl 3.0.14 -> 3.0.15; curl 9
         machine b tier=db: openssl 3.0.14 -> 3.0.15; curl 9
         machine c: openssl 3.0.14 -> 3.0.15; curl 9
         machine d: openssl 3.0.14 -> 3.0.15; curl 9
         machine e tier=app ring=canary: openssl 3.0.15; curl 8 -> 9",
        expect![[r#"
            + any time from 2026-11-23T12:00:00Z: a c d
            + night from 2026-11-23T22:00:00Z: b
              a converges 2026-11-23T12:10:00Z
              b converges 2026-11-23T22:10:00Z
              c converges 2026-11-23T13:20:00Z
              d converges 2026-11-23T13:20:00Z
              e never: Approval O7
            = Settled, converged 2026-11-23T22:10:00Z, 4 assumed
        "#]],
    );
}

// rule: B1
#[test]
fn an_answer_that_is_the_same_is_the_same_object() {
    let decided = muster_planner::plan(&thousand().snapshot);
    let mut answers = decided.machines.values();
    let first = answers.next().unwrap();
    assert!(
        answers.all(|answer| std::sync::Arc::ptr_eq(answer, first)),
        "a thousand twins wait for one window"
    );
}
