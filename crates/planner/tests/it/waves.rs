//! Waves: who goes first, what passes, and what does not (rules O1, O2, O3).

use expect_test::expect;

use crate::{check, check_over_time};

// rule: O1
#[test]
fn a_machine_takes_the_first_wave_that_picks_it_and_the_rest_comes_last() {
    check(
        "baseline fix: openssl >= 3.0.15
         wave canary fix on ring=canary soak 1h
         wave half fix share 50%
         machine a ring=canary: openssl 3.0.14 -> 3.0.15
         machine b: openssl 3.0.14 -> 3.0.15
         machine c: openssl 3.0.14 -> 3.0.15
         machine d: openssl 3.0.15
         show rollouts waves",
        expect![[r#"
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 for fix
            ~ b: Wave O2: wave canary of PackageBaseline/fix is first: 0 of 1 machine(s) have it
            ~ c: Wave O2: wave canary of PackageBaseline/fix is first: 0 of 1 machine(s) have it
            = d: converged
            # rollout fix openssl=3.0.15: done 1/4, failed 0
            #   wave canary: 0/1 have it, 0 skipped, 0 failed
        "#]],
    );
}

// rule: O1
#[test]
fn a_share_is_the_same_machines_in_every_plan_and_a_larger_one_holds_it() {
    check_over_time(
        &[
            "baseline fix: openssl >= 3.0.15
             wave some fix share 25%
             machine a: openssl 3.0.14 -> 3.0.15
             machine b: openssl 3.0.14 -> 3.0.15
             machine c: openssl 3.0.14 -> 3.0.15
             machine d: openssl 3.0.14 -> 3.0.15",
            "baseline other: openssl >= 3.0.15
             wave more other share 50%
             machine a: openssl 3.0.14 -> 3.0.15
             machine b: openssl 3.0.14 -> 3.0.15
             machine c: openssl 3.0.14 -> 3.0.15
             machine d: openssl 3.0.14 -> 3.0.15",
            "baseline third: openssl >= 3.0.15
             wave two third share 2
             machine a: openssl 3.0.14 -> 3.0.15
             machine b: openssl 3.0.14 -> 3.0.15
             machine c: openssl 3.0.14 -> 3.0.15
             machine d: openssl 3.0.14 -> 3.0.15
             machine e: openssl 3.0.14 -> 3.0.15",
        ],
        expect![[r#"
            @ 2026-11-23T12:00:00Z
            ~ a: Wave O2: wave some of PackageBaseline/fix is first: 0 of 1 machine(s) have it
            ~ b: Wave O2: wave some of PackageBaseline/fix is first: 0 of 1 machine(s) have it
            ~ c: Wave O2: wave some of PackageBaseline/fix is first: 0 of 1 machine(s) have it
            + d: starts d-1: install openssl 3.0.14 > 3.0.15 for fix
            @ 2026-11-23T12:00:00Z
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 for other
            ~ b: Wave O2: wave more of PackageBaseline/other is first: 0 of 2 machine(s) have it
            ~ c: Wave O2: wave more of PackageBaseline/other is first: 0 of 2 machine(s) have it
            + d: starts d-1: install openssl 3.0.14 > 3.0.15 for other
            @ 2026-11-23T12:00:00Z
            ~ a: Wave O2: wave two of PackageBaseline/third is first: 0 of 2 machine(s) have it
            ~ b: Wave O2: wave two of PackageBaseline/third is first: 0 of 2 machine(s) have it
            ~ c: Wave O2: wave two of PackageBaseline/third is first: 0 of 2 machine(s) have it
            + d: starts d-1: install openssl 3.0.14 > 3.0.15 for third
            + e: starts e-1: install openssl 3.0.14 > 3.0.15 for third
        "#]],
    );
}

// rule: O1, B1
#[test]
fn a_quarter_of_a_few_machines_is_rounded_down_but_at_least_one() {
    for (machines, first) in [(1, 1), (3, 1), (4, 1), (7, 1), (8, 2), (11, 2)] {
        let mut story = "baseline fix: curl\nwave some fix share 25%\n".to_owned();
        (0..machines).for_each(|number| story += &format!("machine m{number}: curl - -> 8\n"));
        assert_eq!(crate::story::starts(&story), first, "of {machines}");
        let story = story.replace("wave some fix share 25%\n", "").replace("fix:", "fix max 25%:");
        assert_eq!(crate::story::starts(&story), first, "at a time, of {machines}");
    }
}

// rule: O2
#[test]
fn a_wave_passes_when_it_has_soaked_and_what_passed_stays_passed() {
    let world = "wave canary fix on ring=canary soak 1h
         machine a ring=canary reported 10m: openssl 3.0.15
         machine b ring=canary reported 20m: openssl 3.0.15
         machine c: openssl 3.0.14 -> 3.0.15
         show rollouts waves next";
    let baseline = "baseline fix: openssl >= 3.0.15\n";
    check_over_time(
        &[
            &format!("{baseline}{world}"),
            // An hour later, with later reports: the soak counts from when they first showed it.
            &format!("time 49m\n{baseline}{world}"),
            &format!("time 50m\n{baseline}{world}"),
            // One of them falls back: what passed, stays passed.
            &format!("time 51m\n{baseline}{world}")
                .replace("reported 10m: openssl 3.0.15", "reported 10m: openssl 3.0.14 -> 3.0.15"),
        ],
        expect![[r#"
            @ 2026-11-23T12:00:00Z
            = a: converged
            = b: converged
            ~ c: Soaking O2: wave canary of PackageBaseline/fix has it, and is watched for a while, until 2026-11-23T12:50:00Z
            # rollout fix openssl=3.0.15: done 2/3, failed 0
            #   wave canary: 2/2 have it since 2026-11-23T11:50:00Z, 0 skipped, 0 failed
            # next 2026-11-23T12:50:00Z
            @ 2026-11-23T12:49:00Z
            = a: converged
            = b: converged
            ~ c: Soaking O2: wave canary of PackageBaseline/fix has it, and is watched for a while, until 2026-11-23T12:50:00Z
            # rollout fix openssl=3.0.15: done 2/3, failed 0
            #   wave canary: 2/2 have it since 2026-11-23T11:50:00Z, 0 skipped, 0 failed
            # next 2026-11-23T12:50:00Z
            @ 2026-11-23T12:50:00Z
            = a: converged
            = b: converged
            + c: starts c-1: install openssl 3.0.14 > 3.0.15 for fix
            # rollout fix openssl=3.0.15: done 2/3, failed 0
            #   wave canary: 2/2 have it since 2026-11-23T11:50:00Z, 0 skipped, 0 failed, passed 2026-11-23T12:50:00Z
            #   released 2026-11-23T12:50:00Z
            # next -
            @ 2026-11-23T12:51:00Z
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 for fix
            = b: converged
            + c: starts c-1: install openssl 3.0.14 > 3.0.15 for fix
            # rollout fix openssl=3.0.15: done 1/3, failed 0
            #   wave canary: 2/2 have it since 2026-11-23T11:50:00Z, 0 skipped, 0 failed, passed 2026-11-23T12:50:00Z
            #   released 2026-11-23T12:50:00Z
            # next -
        "#]],
    );
}

// rule: O2, B2
#[test]
fn a_canary_on_which_something_else_fails_after_the_change_holds_its_wave() {
    let world = |unit: &str| {
        format!(
            "baseline fix: openssl >= 3.0.15
             wave canary fix on ring=canary
             machine a ring=canary {unit}: openssl 3.0.15
             machine b: openssl 3.0.14 -> 3.0.15
             activity a-1 Succeeded 2h: install fix openssl 3.0.15"
        )
    };
    check_over_time(
        &[&world("failed-unit app.service"), &world("")],
        expect![[r#"
        @ 2026-11-23T12:00:00Z
        = a: converged
        ~ b: Wave O2: wave canary of PackageBaseline/fix is first: 0 of 1 machine(s) have it
        @ 2026-11-23T12:00:00Z
        = a: converged
        + b: starts b-1: install openssl 3.0.14 > 3.0.15 for fix
    "#]],
    );
}

// rule: O2
#[test]
fn an_unhealthy_canary_holds_its_wave_and_soaks_anew() {
    let world = |now: &str, unit: &str| {
        format!(
            "time {now}
             baseline fix units nginx.service: openssl >= 3.0.15
             wave canary fix on ring=canary soak 1h
             machine a ring=canary reported 10m {unit}: openssl 3.0.15
             machine b ring=canary reported 10m: openssl 3.0.15
             machine c: openssl 3.0.14 -> 3.0.15
             show next"
        )
    };
    check_over_time(
        &[
            &world("0", ""),
            &world("30m", "failed-unit nginx.service"),
            &world("55m", ""),
            &world("1h44m", ""),
            &world("1h45m", ""),
        ],
        expect![[r#"
            @ 2026-11-23T12:00:00Z
            = a: converged
            = b: converged
            ~ c: Soaking O2: wave canary of PackageBaseline/fix has it, and is watched for a while, until 2026-11-23T12:50:00Z
            # next 2026-11-23T12:50:00Z
            @ 2026-11-23T12:30:00Z
            = a: converged
            = b: converged
            ~ c: Wave O2: wave canary of PackageBaseline/fix is first: 1 of 2 machine(s) have it
            # next -
            @ 2026-11-23T12:55:00Z
            = a: converged
            = b: converged
            ~ c: Soaking O2: wave canary of PackageBaseline/fix has it, and is watched for a while, until 2026-11-23T13:45:00Z
            # next 2026-11-23T13:45:00Z
            @ 2026-11-23T13:44:00Z
            = a: converged
            = b: converged
            ~ c: Soaking O2: wave canary of PackageBaseline/fix has it, and is watched for a while, until 2026-11-23T13:45:00Z
            # next 2026-11-23T13:45:00Z
            @ 2026-11-23T13:45:00Z
            = a: converged
            = b: converged
            + c: starts c-1: install openssl 3.0.14 > 3.0.15 for fix
            # next -
        "#]],
    );
}

// rule: O3
#[test]
fn three_of_five_canaries_fail_and_nothing_starts_it_anywhere() {
    check(
        "baseline fix fail 0: openssl >= 3.0.15; curl >= 9
         wave canary fix on ring=canary
         machine a ring=canary carried 1: openssl 3.0.14 -> 3.0.15; curl 9
         machine b ring=canary carried 1: openssl 3.0.14 -> 3.0.15; curl 9
         machine c ring=canary carried 1: openssl 3.0.14 -> 3.0.15; curl 8 -> 9
         machine d ring=canary: openssl 3.0.15; curl 9
         machine e ring=canary: openssl 3.0.14 -> 3.0.15; curl 9
         machine f: openssl 3.0.14 -> 3.0.15; curl 9
         activity a-1 Failed(TimedOut) 1h: install fix openssl 3.0.15
         activity b-1 Failed(TimedOut) 1h: install fix openssl 3.0.15
         activity c-1 Failed(PackagesNotAsWanted) 1h: install fix openssl 3.0.15
         activity e-1 Pending 10s: install fix openssl 3.0.15
         show rollouts waves",
        expect![[r#"
            ! a: Barred O3: 3 machine(s) failed it, at most 0 may in PackageBaseline/fix
            ! b: Barred O3: 3 machine(s) failed it, at most 0 may in PackageBaseline/fix
            + c: starts c-2: install curl 8 > 9 for fix
              + fix curl:amd64 [8 → 9] Start c-2
              ! fix openssl:amd64 [3.0.14 → 3.0.15] Barred O3: 3 machine(s) failed it, at most 0 may in PackageBaseline/fix
            = d: converged
            ~ e: Pending A2: e-1 is Pending
            ! f: Barred O3: 3 machine(s) failed it, at most 0 may in PackageBaseline/fix
            x e-1: Contradicted
            # rollout fix curl=9: done 5/6, failed 0
            #   wave canary: 4/5 have it since 2026-11-23T11:00:00Z, 0 skipped, 0 failed
            # rollout fix openssl=3.0.15: done 1/6, failed 3, barred since 2026-11-23T12:00:00Z
            #   wave canary: 1/5 have it, 0 skipped, 3 failed
        "#]],
    );
}

// rule: O3
#[test]
fn failures_are_counted_in_each_wave_and_over_all() {
    // 20% of ten may fail over all, of the five canaries one.
    check(
        "baseline fix fail 20%: openssl >= 3.0.15
         wave canary fix on ring=canary
         machine a ring=canary carried 1: openssl 3.0.14 -> 3.0.15
         machine b ring=canary carried 1: openssl 3.0.14 -> 3.0.15
         machine c ring=canary: openssl 3.0.15
         machine d ring=canary: openssl 3.0.15
         machine e ring=canary: openssl 3.0.15
         machine f: openssl 3.0.14 -> 3.0.15
         machine g: openssl 3.0.15
         machine h: openssl 3.0.15
         machine i: openssl 3.0.15
         machine j: openssl 3.0.15
         activity a-1 Failed(TimedOut) 1h: install fix openssl 3.0.15
         activity b-1 Failed(TimedOut) 1h: install fix openssl 3.0.15
         show rollouts waves",
        expect![[r#"
            ! a: Barred O3: 2 machine(s) failed it, at most 1 may in PackageBaseline/fix
            ! b: Barred O3: 2 machine(s) failed it, at most 1 may in PackageBaseline/fix
            = c: converged
            = d: converged
            = e: converged
            ! f: Barred O3: 2 machine(s) failed it, at most 1 may in PackageBaseline/fix
            = g: converged
            = h: converged
            = i: converged
            = j: converged
            # rollout fix openssl=3.0.15: done 7/10, failed 2, barred since 2026-11-23T12:00:00Z
            #   wave canary: 3/5 have it, 0 skipped, 2 failed
        "#]],
    );
}

// rule: O3
#[test]
fn a_canary_that_failed_an_item_and_moved_on_to_a_newer_one_failed_it_all_the_same() {
    check(
        "baseline fix fail 20%: curl latest
         wave canary fix on ring=canary
         machine a ring=canary lists 5m carried 1: curl 10 -> 10
         machine b ring=canary lists 5m carried 1: curl 10 -> 10
         machine c ring=canary: curl 9 -> 9
         machine d ring=canary: curl 9 -> 9
         machine e ring=canary: curl 9 -> 9
         machine f: curl 8 -> 9
         machine g: curl 9 -> 9
         machine h: curl 9 -> 9
         machine i: curl 9 -> 9
         machine j: curl 9 -> 9
         activity a-1 Failed(TimedOut) 1h: install fix curl 9
         activity b-1 Failed(TimedOut) 1h: install fix curl 9
         show rollouts waves",
        expect![[r#"
        = a: converged
        = b: converged
        = c: converged
        = d: converged
        = e: converged
        ! f: Barred O3: 2 machine(s) failed it, at most 1 may in PackageBaseline/fix
        = g: converged
        = h: converged
        = i: converged
        = j: converged
        # rollout fix curl=9: done 7/8, failed 2, barred since 2026-11-23T12:00:00Z
        #   wave canary: 3/3 have it, 0 skipped, 2 failed
    "#]],
    );
}

// rule: O2, A6
#[test]
fn one_failure_within_the_limit_does_not_hang_its_wave() {
    let world = |attempts: &str| {
        format!(
            "baseline fix fail 1: openssl >= 3.0.15
             wave canary fix on ring=canary
             machine a ring=canary carried 9: openssl 3.0.14 -> 3.0.15
             machine b ring=canary: openssl 3.0.15
             machine c: openssl 3.0.14 -> 3.0.15
             activity a-1 Failed(TimedOut) 5h: install fix openssl 3.0.15
             {attempts}
             show rollouts waves"
        )
    };
    let all = "activity a-2 Failed(TimedOut) 4h: install fix openssl 3.0.15
         activity a-3 Failed(TimedOut) 3h: install fix openssl 3.0.15
         activity a-4 Failed(TimedOut) 2h: install fix openssl 3.0.15";
    check_over_time(
        &[&world(""), &world(all)],
        expect![[r#"
        @ 2026-11-23T12:00:00Z
        + a: starts a-10: install openssl 3.0.14 > 3.0.15 for fix
        = b: converged
        ~ c: Wave O2: wave canary of PackageBaseline/fix is first: 1 of 2 machine(s) have it
        # rollout fix openssl=3.0.15: done 1/3, failed 1
        #   wave canary: 1/2 have it since 2026-11-23T11:00:00Z, 0 skipped, 1 failed
        @ 2026-11-23T12:00:00Z
        ! a: Stalled A6: 4 attempt(s) failed, the last with TimedOut
        = b: converged
        + c: starts c-1: install openssl 3.0.14 > 3.0.15 for fix
        # rollout fix openssl=3.0.15: done 1/3, failed 1
        #   wave canary: 1/2 have it since 2026-11-23T11:00:00Z, 0 skipped, 1 failed, passed 2026-11-23T12:00:00Z
        #   released 2026-11-23T12:00:00Z
    "#]],
    );
}

// rule: O2, O3
#[test]
fn a_change_after_which_a_canary_is_unhealthy_counts_against_it_and_hangs_nothing() {
    check(
        "baseline fix fail 1 units nginx.service: openssl >= 3.0.15
         wave canary fix on ring=canary
         machine a ring=canary carried 1 failed-unit nginx.service: openssl 3.0.15
         machine b ring=canary: openssl 3.0.15
         machine c: openssl 3.0.14 -> 3.0.15
         activity a-1 Failed(Unhealthy) 2h units nginx.service: install fix openssl 3.0.15
         show rollouts waves",
        expect![[r#"
            = a: converged
            = b: converged
            + c: starts c-1: install openssl 3.0.14 > 3.0.15 for fix
            # rollout fix openssl=3.0.15: done 2/3, failed 1
            #   wave canary: 1/2 have it since 2026-11-23T11:00:00Z, 0 skipped, 1 failed, passed 2026-11-23T12:00:00Z
            #   released 2026-11-23T12:00:00Z
        "#]],
    );
}

// rule: O2, A4
#[test]
fn canaries_that_go_silent_in_their_reboot_let_nothing_through() {
    let canaries = "machine a ring=canary silent 20m reboot-required 1h: openssl 3.0.15
         machine b ring=canary silent 20m reboot-required 1h: openssl 3.0.15
         machine c ring=canary silent 20m reboot-required 1h: openssl 3.0.15
         machine d ring=canary silent 20m reboot-required 1h: openssl 3.0.15
         machine e ring=canary silent 20m reboot-required 1h: openssl 3.0.15
         machine f: openssl 3.0.14 -> 3.0.15
         show rollouts waves";
    let world = |fail: &str, phase: &str| {
        let activities = ["a", "b", "c", "d", "e"].map(|name| {
            format!("activity {name}-1 {phase} completed 1: install fix openssl 3.0.15 | reboot fix\n")
        });
        format!(
            "baseline fix fail {fail} reboot 30m: openssl >= 3.0.15
             wave canary fix on ring=canary
             {canaries}
             {}",
            activities.concat()
        )
    };
    check_over_time(
        &[
            &world("0", "Running 20m"),
            &world("0", "Failed(Unreachable) 1m"),
            // However many may fail: five that are gone are no evidence that it works.
            &world("100%", "Failed(Unreachable) 1m").replace("fix ", "other ").replace(" fix", " other"),
        ],
        expect![[r#"
            @ 2026-11-23T12:00:00Z
            ~ a: Running A2: a-1 is Running
            ~ b: Running A2: b-1 is Running
            ~ c: Running A2: c-1 is Running
            ~ d: Running A2: d-1 is Running
            ~ e: Running A2: e-1 is Running
            ~ f: Wave O2: wave canary of PackageBaseline/fix is first: 0 of 5 machine(s) have it
            # rollout fix openssl=3.0.15: done 5/6, failed 0
            #   wave canary: 0/5 have it, 0 skipped, 0 failed
            @ 2026-11-23T12:00:00Z
            ~ a: Silent A4: the machine is silent since 2026-11-23T11:40:00Z
            ~ b: Silent A4: the machine is silent since 2026-11-23T11:40:00Z
            ~ c: Silent A4: the machine is silent since 2026-11-23T11:40:00Z
            ~ d: Silent A4: the machine is silent since 2026-11-23T11:40:00Z
            ~ e: Silent A4: the machine is silent since 2026-11-23T11:40:00Z
            ! f: Barred O3: 5 machine(s) failed it, at most 0 may in PackageBaseline/fix
            # rollout fix openssl=3.0.15: done 5/6, failed 5, barred since 2026-11-23T12:00:00Z
            #   wave canary: 0/5 have it, 0 skipped, 5 failed
            @ 2026-11-23T12:00:00Z
            ~ a: Silent A4: the machine is silent since 2026-11-23T11:40:00Z
            ~ b: Silent A4: the machine is silent since 2026-11-23T11:40:00Z
            ~ c: Silent A4: the machine is silent since 2026-11-23T11:40:00Z
            ~ d: Silent A4: the machine is silent since 2026-11-23T11:40:00Z
            ~ e: Silent A4: the machine is silent since 2026-11-23T11:40:00Z
            ! f: PausedNoEvidence O2: paused: none of the 5 machine(s) of wave canary of PackageBaseline/other can show whether it works
            # rollout other openssl=3.0.15: done 5/6, failed 5
            #   wave canary: 0/5 have it, 0 skipped, 5 failed
            #   paused 2026-11-23T12:00:00Z
        "#]],
    );
}

// rule: O2
#[test]
fn a_wave_that_picks_no_machine_pauses_the_item() {
    check(
        "baseline fix: openssl >= 3.0.15
         wave canary fix on ring=canry
         machine a ring=canary: openssl 3.0.14 -> 3.0.15
         machine b: openssl 3.0.14 -> 3.0.15
         show rollouts waves",
        expect![[r#"
            ! a: PausedNoEvidence O2: paused: wave canary of PackageBaseline/fix picks no machine
            ! b: PausedNoEvidence O2: paused: wave canary of PackageBaseline/fix picks no machine
            # rollout fix openssl=3.0.15: done 0/2, failed 0
            #   paused 2026-11-23T12:00:00Z
        "#]],
    );
}

// rule: O2
#[test]
fn a_canary_that_takes_anothers_place_soaks_like_any_other() {
    let world = |now: &str, rings: [&str; 2], second: &str| {
        let [a, b] = rings;
        format!(
            "time {now}
             baseline fix: openssl >= 3.0.15
             wave canary fix on ring=canary soak 10m
             machine a ring={a} reported 1m: openssl 3.0.15
             machine b ring={b} reported 1m: openssl {second}
             machine c: openssl 3.0.14 -> 3.0.15
             show rollouts waves"
        )
    };
    // As many have it as before, but not the same: soaking begins with the last of those who have it now.
    check_over_time(
        &[
            &world("0", ["canary", "canary"], "3.0.14 -> 3.0.15"),
            &world("9m", ["rest", "canary"], "3.0.15"),
            &world("11m", ["rest", "canary"], "3.0.15"),
            &world("18m", ["rest", "canary"], "3.0.15"),
        ],
        expect![[r#"
            @ 2026-11-23T12:00:00Z
            = a: converged
            + b: starts b-1: install openssl 3.0.14 > 3.0.15 for fix
            ~ c: Wave O2: wave canary of PackageBaseline/fix is first: 1 of 2 machine(s) have it
            # rollout fix openssl=3.0.15: done 1/3, failed 0
            #   wave canary: 1/2 have it since 2026-11-23T11:59:00Z, 0 skipped, 0 failed
            @ 2026-11-23T12:09:00Z
            = a: converged
            = b: converged
            ~ c: Soaking O2: wave canary of PackageBaseline/fix has it, and is watched for a while, until 2026-11-23T12:18:00Z
            # rollout fix openssl=3.0.15: done 2/3, failed 0
            #   wave canary: 1/1 have it since 2026-11-23T12:08:00Z, 0 skipped, 0 failed
            @ 2026-11-23T12:11:00Z
            = a: converged
            = b: converged
            ~ c: Soaking O2: wave canary of PackageBaseline/fix has it, and is watched for a while, until 2026-11-23T12:18:00Z
            # rollout fix openssl=3.0.15: done 2/3, failed 0
            #   wave canary: 1/1 have it since 2026-11-23T12:08:00Z, 0 skipped, 0 failed
            @ 2026-11-23T12:18:00Z
            = a: converged
            = b: converged
            + c: starts c-1: install openssl 3.0.14 > 3.0.15 for fix
            # rollout fix openssl=3.0.15: done 2/3, failed 0
            #   wave canary: 1/1 have it since 2026-11-23T12:08:00Z, 0 skipped, 0 failed, passed 2026-11-23T12:18:00Z
            #   released 2026-11-23T12:18:00Z
        "#]],
    );
}

// rule: O2, B4
#[test]
fn closed_laptops_hold_up_nothing_unless_something_was_sent_to_them() {
    check(
        "baseline fix: openssl >= 3.0.15
         wave canary fix on ring=canary
         machine a ring=canary: openssl 3.0.15
         machine b ring=canary silent 10m: openssl 3.0.14 -> 3.0.15
         machine c ring=canary silent 30h: openssl 3.0.14 -> 3.0.15
         machine d ring=canary silent 10m: openssl 3.0.14 -> 3.0.15
         machine f: openssl 3.0.14 -> 3.0.15
         activity d-1 Refused(Locked) 2h: install fix openssl 3.0.15
         show rollouts waves",
        expect![[r#"
            = a: converged
            ~ b: Silent A4: the machine is silent since 2026-11-23T11:50:00Z
            ? c: Absent B4: the machine is absent; last heard 2026-11-22T06:00:00Z
            ~ d: Silent A4: the machine is silent since 2026-11-23T11:50:00Z
            + f: starts f-1: install openssl 3.0.14 > 3.0.15 for fix
            # rollout fix openssl=3.0.15: done 1/4, failed 0
            #   wave canary: 1/3 have it since 2026-11-23T11:00:00Z, 2 skipped, 0 failed, passed 2026-11-23T12:00:00Z
            #   released 2026-11-23T12:00:00Z
        "#]],
    );
    check(
        "baseline fix: openssl >= 3.0.15
         wave canary fix on ring=canary
         machine a ring=canary: openssl 3.0.15
         machine b ring=canary silent 10m: openssl 3.0.14 -> 3.0.15
         machine f: openssl 3.0.14 -> 3.0.15
         activity b-1 Running 12m: install fix openssl 3.0.15",
        expect![[r#"
            = a: converged
            ~ b: Running A2: b-1 is Running
            ~ f: Wave O2: wave canary of PackageBaseline/fix is first: 1 of 2 machine(s) have it
        "#]],
    );
}

// rule: O2, B2
#[test]
fn four_of_thirty_laptops_closed_do_not_stop_the_others() {
    let mut story = "baseline fix max 10%: curl\nwave some fix share 20%\n".to_owned();
    for number in 0..30 {
        let closed = if number % 8 == 0 { "silent 2h" } else { "" };
        story += &format!("machine m{number} {closed}: curl - -> 8\n");
    }
    // Of the 26 that are there, 2 at a time.
    assert_eq!(crate::story::starts(&story), 2);
    // The closed ones of the wave are not waited for; the others have it.
    let wave = crate::story::first_in(&story, 6);
    assert!(wave.iter().any(|name| story.contains(&format!("machine {name} silent"))), "{wave:?}");
    for name in &wave {
        story = story.replace(&format!("machine {name} : curl - -> 8"), &format!("machine {name}: curl 8"));
    }
    assert_eq!(crate::story::starts(&story), 2);
}

// rule: O2, A2
#[test]
fn a_canary_with_a_full_boot_neither_spins_nor_hangs_its_wave() {
    let world = |refusals: &str| {
        format!(
            "baseline fix: openssl >= 3.0.15
             wave canary fix on ring=canary
             machine a ring=canary: openssl 3.0.14 -> 3.0.15
             machine b ring=canary: openssl 3.0.15
             machine c: openssl 3.0.14 -> 3.0.15
             activity a-1 Refused(Preflight) 50m: install fix openssl 3.0.15
             activity a-2 Refused(Preflight) 49m: install fix openssl 3.0.15
             {refusals}
             show rollouts waves next"
        )
    };
    check_over_time(
        &[&world(""), &world("activity a-3 Refused(Preflight) 10m: install fix openssl 3.0.15")],
        expect![[r#"
            @ 2026-11-23T12:00:00Z
            + a: starts a-3: install openssl 3.0.14 > 3.0.15 for fix
            = b: converged
            ~ c: Wave O2: wave canary of PackageBaseline/fix is first: 1 of 2 machine(s) have it
            # rollout fix openssl=3.0.15: done 1/3, failed 0
            #   wave canary: 1/2 have it since 2026-11-23T11:00:00Z, 0 skipped, 0 failed
            # next -
            @ 2026-11-23T12:00:00Z
            ! a: RefusedRepeatedly A2: not carried out 3 times in a row, last Preflight, until 2026-11-23T12:15:00Z
            = b: converged
            + c: starts c-1: install openssl 3.0.14 > 3.0.15 for fix
            # rollout fix openssl=3.0.15: done 1/3, failed 0
            #   wave canary: 1/2 have it since 2026-11-23T11:00:00Z, 1 skipped, 0 failed, passed 2026-11-23T12:00:00Z
            #   released 2026-11-23T12:00:00Z
            # next 2026-11-23T12:15:00Z
        "#]],
    );
}

// rule: O2, O3, A2
#[test]
fn a_mirrors_outage_bars_nothing() {
    let activity = |name: &str, number: u32, ago: &str| {
        format!("activity {name}-{number} Refused(FetchError) {ago}: install fix openssl 3.0.15\n")
    };
    let refusals: String = ["a", "b"]
        .into_iter()
        .flat_map(|name| [activity(name, 1, "50m"), activity(name, 2, "49m"), activity(name, 3, "10m")])
        .collect();
    check(
        &format!(
            "baseline fix fail 0: openssl >= 3.0.15
             wave canary fix on ring=canary
             machine a ring=canary: openssl 3.0.14 -> 3.0.15
             machine b ring=canary: openssl 3.0.14 -> 3.0.15
             machine c: openssl 3.0.14 -> 3.0.15
             {refusals}
             show rollouts waves"
        ),
        expect![[r#"
            ! a: RefusedRepeatedly A2: not carried out 3 times in a row, last FetchError, until 2026-11-23T12:15:00Z
            ! b: RefusedRepeatedly A2: not carried out 3 times in a row, last FetchError, until 2026-11-23T12:15:00Z
            ! c: PausedNoEvidence O2: paused: none of the 2 machine(s) of wave canary of PackageBaseline/fix can show whether it works
            # rollout fix openssl=3.0.15: done 0/3, failed 0
            #   wave canary: 0/2 have it, 2 skipped, 0 failed
            #   paused 2026-11-23T12:00:00Z
        "#]],
    );
}

// rule: O2, A7
#[test]
fn a_canary_whose_apt_refuses_is_skipped() {
    check(
        "baseline fix: openssl >= 3.0.15
         wave canary fix on ring=canary
         machine a ring=canary: openssl 3.0.13 -> 3.0.15
         machine b ring=canary: openssl 3.0.15
         machine c: openssl 3.0.14 -> 3.0.15
         machine d ring=canary: openssl 3.0.14 held -> 3.0.15
         machine e ring=canary cannot Packages: openssl 3.0.14 -> 3.0.15
         apt with openssl: libssl3 3 > -
         show rollouts waves",
        expect![[r#"
            ! a: RemovalNotAllowed A7: the transaction would remove libssl3:amd64
            = b: converged
            ! c: RemovalNotAllowed A7: the transaction would remove libssl3:amd64
            ! d: Held V6: openssl:amd64 is held on the machine, not by us
            ! e: NotCapable M5: the machine's agent cannot do this: Packages
            # rollout fix openssl=3.0.15: done 1/4, failed 0
            #   wave canary: 1/4 have it since 2026-11-23T11:00:00Z, 3 skipped, 0 failed, passed 2026-11-23T12:00:00Z
            #   released 2026-11-23T12:00:00Z
        "#]],
    );
}

// rule: O1, O2
#[test]
fn a_canary_ring_of_two_releases_judges_each_releases_item_by_itself() {
    check(
        "baseline fix: openssl >= 3.0.15
         wave canary fix on ring=canary
         machine a ring=canary: openssl 3.0.15
         machine b ring=canary: openssl 3.4.0 -> 3.5.1
         machine c: openssl 3.0.14 -> 3.0.15
         machine d: openssl 3.0.2 -> 3.5.1
         show rollouts waves",
        expect![[r#"
            = a: converged
            = b: converged
            + c: starts c-1: install openssl 3.0.14 > 3.0.15 for fix
            + d: starts d-1: install openssl 3.0.2 > 3.5.1 for fix
            # rollout fix openssl=3.0.15: done 1/2, failed 0
            #   wave canary: 1/1 have it since 2026-11-23T11:00:00Z, 0 skipped, 0 failed, passed 2026-11-23T12:00:00Z
            #   released 2026-11-23T12:00:00Z
            # rollout fix openssl=3.5.1: done 0/1, failed 0
            #   released 2026-11-23T12:00:00Z
        "#]],
    );
    check(
        "baseline fix: openssl >= 3.0.15
         wave canary fix on ring=canary
         machine a ring=canary: openssl 3.0.15
         machine d: openssl 3.0.2 -> 3.5.1
         show rollouts waves",
        expect![[r#"
            = a: converged
            + d: starts d-1: install openssl 3.0.2 > 3.5.1 for fix
            # rollout fix openssl=3.5.1: done 0/1, failed 0
            #   released 2026-11-23T12:00:00Z
        "#]],
    );
}

// rule: O1, O2
#[test]
fn a_new_latest_version_goes_through_the_waves_without_any_commit() {
    let world = |now: &str, canary: &str, lists: &str, other: &str| {
        format!(
            "time {now}
             baseline fix: curl latest
             wave canary fix on ring=canary soak 30m
             machine a ring=canary lists {lists} reported 5m: curl {canary}
             machine b reported 5m: curl {other}
             show rollouts waves"
        )
    };
    check_over_time(
        &[
            // The other machine sees it first: it waits until the canary has looked.
            &world("0", "8 -> 8", "old", "8 -> 9"),
            &world("20m", "8 -> 9", "new", "8 -> 9"),
            &world("30m", "9 -> 9", "new", "8 -> 9"),
            &world("54m", "9 -> 9", "new", "8 -> 9"),
            &world("55m", "9 -> 9", "new", "8 -> 9"),
            // The next one, a day later.
            &world("24h", "9 -> 10", "newer", "9 -> 10"),
        ],
        expect![[r#"
            @ 2026-11-23T12:00:00Z
            = a: converged
            ~ b: Wave O2: wave canary of PackageBaseline/fix is first: 0 of 1 machine(s) have it
            # rollout fix curl=9: done 0/1, failed 0
            @ 2026-11-23T12:20:00Z
            + a: starts a-1: install curl 8 > 9 for fix
            ~ b: Wave O2: wave canary of PackageBaseline/fix is first: 0 of 1 machine(s) have it
            # rollout fix curl=9: done 0/2, failed 0
            #   wave canary: 0/1 have it, 0 skipped, 0 failed
            @ 2026-11-23T12:30:00Z
            = a: converged
            ~ b: Soaking O2: wave canary of PackageBaseline/fix has it, and is watched for a while, until 2026-11-23T12:55:00Z
            # rollout fix curl=9: done 1/2, failed 0
            #   wave canary: 1/1 have it since 2026-11-23T12:25:00Z, 0 skipped, 0 failed
            @ 2026-11-23T12:54:00Z
            = a: converged
            ~ b: Soaking O2: wave canary of PackageBaseline/fix has it, and is watched for a while, until 2026-11-23T12:55:00Z
            # rollout fix curl=9: done 1/2, failed 0
            #   wave canary: 1/1 have it since 2026-11-23T12:25:00Z, 0 skipped, 0 failed
            @ 2026-11-23T12:55:00Z
            = a: converged
            + b: starts b-1: install curl 8 > 9 for fix
            # rollout fix curl=9: done 1/2, failed 0
            #   wave canary: 1/1 have it since 2026-11-23T12:25:00Z, 0 skipped, 0 failed, passed 2026-11-23T12:55:00Z
            #   released 2026-11-23T12:55:00Z
            @ 2026-11-24T12:00:00Z
            + a: starts a-1: install curl 9 > 10 for fix
            ~ b: Wave O2: wave canary of PackageBaseline/fix is first: 0 of 1 machine(s) have it
            # rollout fix curl=9: done 0/0, failed 0
            #   wave canary: 1/1 have it since 2026-11-23T12:25:00Z, 0 skipped, 0 failed, passed 2026-11-23T12:55:00Z
            #   released 2026-11-23T12:55:00Z
            # rollout fix curl=10: done 0/2, failed 0
            #   wave canary: 0/1 have it, 0 skipped, 0 failed
        "#]],
    );
}

// rule: O2
#[test]
fn a_canary_that_never_sees_the_version_is_waited_for_an_hour() {
    let world = |now: &str| {
        format!(
            "time {now}
             baseline fix: curl latest
             wave canary fix on ring=canary
             machine a ring=canary lists other: curl 8 -> 8
             machine b: curl 8 -> 9
             show next"
        )
    };
    check_over_time(
        &[&world("0"), &world("59m"), &world("1h")],
        expect![[r#"
        @ 2026-11-23T12:00:00Z
        = a: converged
        ~ b: Wave O2: wave canary of PackageBaseline/fix is first: 0 of 1 machine(s) have it
        # next 2026-11-23T13:00:00Z
        @ 2026-11-23T12:59:00Z
        = a: converged
        ~ b: Wave O2: wave canary of PackageBaseline/fix is first: 0 of 1 machine(s) have it
        # next 2026-11-23T13:00:00Z
        @ 2026-11-23T13:00:00Z
        = a: converged
        + b: starts b-1: install curl 8 > 9 for fix
        # next -
    "#]],
    );
}

// rule: O1
#[test]
fn a_commit_every_forty_minutes_does_not_keep_an_unchanged_item_from_its_next_wave() {
    let world = |now: &str, more: &str| {
        format!(
            "time {now}
             baseline fix: openssl >= 3.0.15; {more}
             wave canary fix on ring=canary soak 1h
             machine a ring=canary reported 10m: openssl 3.0.15; curl 8; zlib 1; vim 9
             machine b: openssl 3.0.14 -> 3.0.15; curl 8; zlib 1; vim 9"
        )
    };
    check_over_time(
        &[&world("0", "curl"), &world("40m", "curl; zlib"), &world("1h20m", "zlib; vim")],
        expect![[r#"
            @ 2026-11-23T12:00:00Z
            = a: converged
            ~ b: Soaking O2: wave canary of PackageBaseline/fix has it, and is watched for a while, until 2026-11-23T12:50:00Z
            @ 2026-11-23T12:40:00Z
            = a: converged
            ~ b: Soaking O2: wave canary of PackageBaseline/fix has it, and is watched for a while, until 2026-11-23T12:50:00Z
            @ 2026-11-23T13:20:00Z
            = a: converged
            + b: starts b-1: install openssl 3.0.14 > 3.0.15 for fix
        "#]],
    );
}

// rule: V5, A9
#[test]
fn a_revert_after_forty_of_a_hundred_blocks_the_forty_and_cancels_what_was_not_delivered() {
    let mut story = "baseline fix fail 0: openssl = 3.0.14\n".to_owned();
    for number in 0..100 {
        let has = if number < 40 { "3.0.15 -> 3.0.15 3.0.14" } else { "3.0.14 -> 3.0.15" };
        story += &format!("machine m{number}: openssl {has}\n");
    }
    for number in 40..44 {
        story += &format!("activity m{number}-1 Pending 10s: install fix openssl 3.0.15\n");
    }
    let shown = crate::story::told(&story);
    let count = |what: &str| shown.lines().filter(|line| line.contains(what)).count();
    assert_eq!(count("DowngradeNotAllowed V5"), 40, "{shown}");
    assert_eq!((count(": Contradicted"), count("Pending A2"), count("converged")), (4, 4, 56), "{shown}");
    assert_eq!((count("starts"), count("Barred")), (0, 0), "{shown}");
}

// rule: O1, O6
#[test]
fn zones_go_one_after_another_within_a_share() {
    check(
        "baseline fix zones zone: openssl >= 3.0.15
         wave half fix share 50%
         machine a zone=z1: openssl 3.0.14 -> 3.0.15
         machine b zone=z1: openssl 3.0.14 -> 3.0.15
         machine c zone=z2: openssl 3.0.14 -> 3.0.15
         machine d zone=z2: openssl 3.0.14 -> 3.0.15
         machine e: openssl 3.0.14 -> 3.0.15
         machine f: openssl 3.0.14 -> 3.0.15
         show rollouts waves",
        expect![[r#"
            ~ a: Wave O2: wave half of PackageBaseline/fix is first: 0 of 3 machine(s) have it
            ~ b: Wave O2: wave half of PackageBaseline/fix is first: 0 of 3 machine(s) have it
            ~ c: Wave O2: wave half of PackageBaseline/fix is first: 0 of 3 machine(s) have it
            + d: starts d-1: install openssl 3.0.14 > 3.0.15 for fix
            ~ e: Zone O6: zone z2 of PackageBaseline/fix is first: 0 of 1 machine(s) have it
            ~ f: Zone O6: zone z2 of PackageBaseline/fix is first: 0 of 1 machine(s) have it
            # rollout fix openssl=3.0.15: done 0/6, failed 0
            #   wave half: 0/3 have it, 0 skipped, 0 failed
        "#]],
    );
}
