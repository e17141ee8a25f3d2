//! What surrounds the waves: the last released target, zones, approvals, and what people say (rules O4 to O7).

use expect_test::expect;

use crate::{check, check_over_time};

// rule: O4, O5
#[test]
fn elsewhere_the_last_released_target_stays_enforced() {
    check(
        "baseline fix: openssl >= 3.0.15
         wave canary fix on ring=canary soak 1h
         rollout fix openssl=3.0.15 released 9h seen 9h passed canary
         rollout fix openssl=3.0.14 released 20h seen 20h passed canary
         machine a ring=canary reported 10m: openssl 3.0.16
         machine b: openssl 3.0.15
         machine c: openssl 3.0.13 -> 3.0.16 3.0.15
         machine d: openssl - -> 3.0.16 3.0.15
         machine e: openssl 3.0.13 -> 3.0.16
         show rollouts waves wanted",
        expect![[r#"
            = a: converged
                wanted {"openssl"}: -
            = b: converged
                wanted {"openssl"}: -
            + c: starts c-1: install openssl 3.0.13 > 3.0.15 for fix
                wanted {"openssl"}: openssl=3.0.15
            + d: starts d-1: install openssl - > 3.0.15 for fix
                wanted {"openssl"}: openssl=3.0.15
            ~ e: Soaking O2: wave canary of PackageBaseline/fix has it, and is watched for a while, until 2026-11-23T12:50:00Z
                wanted {"openssl"}: -
            # rollout fix openssl=3.0.14: done 0/0, failed 0
            #   wave canary: 0/0 have it, 0 skipped, 0 failed, passed 2026-11-23T11:00:00Z
            #   released 2026-11-22T16:00:00Z
            # rollout fix openssl=3.0.15: done 1/1, failed 0
            #   wave canary: 0/0 have it, 0 skipped, 0 failed, passed 2026-11-23T11:00:00Z
            #   released 2026-11-23T03:00:00Z
            # rollout fix openssl=3.0.16: done 1/4, failed 0
            #   wave canary: 1/1 have it since 2026-11-23T11:50:00Z, 0 skipped, 0 failed
        "#]],
    );
}

// rule: O5
#[test]
fn a_machine_that_is_new_to_a_baseline_takes_the_last_released_target_at_once_and_the_newer_one_by_its_wave()
{
    check(
        "baseline fix: curl latest
         wave canary fix on ring=canary soak 1h
         rollout fix curl=8 released 9h seen 9h passed canary
         machine a ring=canary reported 10m: curl 9 -> 9
         machine b: curl 8 -> 9
         machine new: curl - -> 9 8
         activity new-1 Pending 10s: install fix curl 8",
        expect![[r#"
            = a: converged
            ~ b: Soaking O2: wave canary of PackageBaseline/fix has it, and is watched for a while, until 2026-11-23T12:50:00Z
            ~ new: Pending A2: new-1 is Pending
        "#]],
    );
}

// rule: O4, O5, A9
#[test]
fn what_a_revision_turns_back_from_goes_nowhere_any_more() {
    check(
        "show rollouts
         baseline fix: openssl = 3.0.15
         wave canary fix on ring=canary
         rollout fix openssl=3.2 seen 9h released 2h
         machine a ring=canary suspended: openssl 3.0.14 -> 3.2 3.0.15
         machine b: openssl 3.0.14 -> 3.2 3.0.15
         machine c: openssl - -> 3.2 3.0.15
         machine d: openssl 3.0.14 -> 3.2 3.0.15
         activity d-1 Pending 10s: install fix openssl 3.2",
        expect![[r#"
            ~ a: Suspended A4: the machine is suspended
            ~ b: Wave O2: wave canary of PackageBaseline/fix is first: 0 of 1 machine(s) have it
            ~ c: Wave O2: wave canary of PackageBaseline/fix is first: 0 of 1 machine(s) have it
            ~ d: Pending A2: d-1 is Pending
            x d-1: Contradicted
            # rollout fix openssl=3.0.15: done 0/4, failed 0
            # rollout fix openssl=3.2: done 0/0, failed 0
        "#]],
    );
}

// rule: O4, O3
#[test]
fn where_the_newest_target_is_barred_the_one_before_is_enforced() {
    check(
        "baseline fix fail 0: curl latest
         rollout fix curl=9 released 1h barred 10m seen 1h
         rollout fix curl=8 released 9h seen 9h
         machine a: curl 8 -> 9
         machine b: curl 7 -> 9 8",
        expect![[r#"
            ! a: Barred O3: it stays barred in PackageBaseline/fix, since too many machines failed it before
            + b: starts b-1: install curl 7 > 8 for fix
        "#]],
    );
}

// rule: O5
#[test]
fn what_is_released_goes_to_a_new_canary_and_its_neighbours_at_once() {
    check(
        "baseline fix: openssl >= 3.0.15
         wave canary fix on ring=canary soak 1h
         rollout fix openssl=3.0.15 released 9h seen 9h passed canary
         machine a ring=canary: openssl 3.0.14 -> 3.0.15
         machine b: openssl 3.0.14 -> 3.0.15
         show rollouts waves",
        expect![[r#"
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 for fix
            + b: starts b-1: install openssl 3.0.14 > 3.0.15 for fix
            # rollout fix openssl=3.0.15: done 0/2, failed 0
            #   wave canary: 0/0 have it, 0 skipped, 0 failed, passed 2026-11-23T11:00:00Z
            #   released 2026-11-23T03:00:00Z
        "#]],
    );
}

// rule: O6
#[test]
fn a_zone_starts_when_the_one_before_has_passed_and_machines_without_one_are_last() {
    let world = |now: &str, first: &str, second: &str| {
        format!(
            "time {now}
             baseline fix zones zone: openssl >= 3.0.15
             wave canary fix on ring=canary soak 10m
             machine a ring=canary zone=z1 reported 1m: openssl {first}
             machine b ring=canary zone=z2 reported 1m: openssl {second}
             machine c zone=z1: openssl 3.0.14 -> 3.0.15
             machine d zone=z2: openssl 3.0.14 -> 3.0.15
             machine e: openssl 3.0.14 -> 3.0.15
             show rollouts waves next"
        )
    };
    let (old, new) = ("3.0.14 -> 3.0.15", "3.0.15");
    check_over_time(
        &[
            &world("0", old, old),
            &world("1m", new, old),
            &world("10m", new, old),
            &world("12m", new, new),
            &world("21m", new, new),
            // z1 falls back in part; what passed there stays passed.
            &world("22m", old, new).replace("zone=z1: openssl 3.0.14 -> 3.0.15", "zone=z1: openssl 3.0.15"),
        ],
        expect![[r#"
            @ 2026-11-23T12:00:00Z
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 for fix
            ~ b: Zone O6: zone z1 of PackageBaseline/fix is first: 0 of 1 machine(s) have it
            ~ c: Wave O2: wave canary of PackageBaseline/fix is first: 0 of 2 machine(s) have it
            ~ d: Wave O2: wave canary of PackageBaseline/fix is first: 0 of 2 machine(s) have it
            ~ e: Wave O2: wave canary of PackageBaseline/fix is first: 0 of 2 machine(s) have it
            # rollout fix openssl=3.0.15: done 0/5, failed 0
            #   wave canary: 0/2 have it, 0 skipped, 0 failed
            # next -
            @ 2026-11-23T12:01:00Z
            = a: converged
            ~ b: Zone O6: zone z1 of PackageBaseline/fix is first: 1 of 1 machine(s) have it, until 2026-11-23T12:10:00Z
            ~ c: Wave O2: wave canary of PackageBaseline/fix is first: 1 of 2 machine(s) have it
            ~ d: Wave O2: wave canary of PackageBaseline/fix is first: 1 of 2 machine(s) have it
            ~ e: Wave O2: wave canary of PackageBaseline/fix is first: 1 of 2 machine(s) have it
            # rollout fix openssl=3.0.15: done 1/5, failed 0
            #   wave canary: 1/2 have it since 2026-11-23T12:00:00Z, 0 skipped, 0 failed
            # next 2026-11-23T12:10:00Z
            @ 2026-11-23T12:10:00Z
            = a: converged
            + b: starts b-1: install openssl 3.0.14 > 3.0.15 for fix
            ~ c: Wave O2: wave canary of PackageBaseline/fix is first: 1 of 2 machine(s) have it
            ~ d: Wave O2: wave canary of PackageBaseline/fix is first: 1 of 2 machine(s) have it
            ~ e: Wave O2: wave canary of PackageBaseline/fix is first: 1 of 2 machine(s) have it
            # rollout fix openssl=3.0.15: done 1/5, failed 0
            #   wave canary: 1/2 have it since 2026-11-23T12:00:00Z, 0 skipped, 0 failed, through zone "z1"
            # next -
            @ 2026-11-23T12:12:00Z
            = a: converged
            = b: converged
            ~ c: Soaking O2: wave canary of PackageBaseline/fix has it, and is watched for a while, until 2026-11-23T12:21:00Z
            ~ d: Soaking O2: wave canary of PackageBaseline/fix has it, and is watched for a while, until 2026-11-23T12:21:00Z
            ~ e: Soaking O2: wave canary of PackageBaseline/fix has it, and is watched for a while, until 2026-11-23T12:21:00Z
            # rollout fix openssl=3.0.15: done 2/5, failed 0
            #   wave canary: 2/2 have it since 2026-11-23T12:11:00Z, 0 skipped, 0 failed, through zone "z1"
            # next 2026-11-23T12:21:00Z
            @ 2026-11-23T12:21:00Z
            = a: converged
            = b: converged
            + c: starts c-1: install openssl 3.0.14 > 3.0.15 for fix
            ~ d: Zone O6: zone z1 of PackageBaseline/fix is first: 0 of 1 machine(s) have it
            ~ e: Zone O6: zone z1 of PackageBaseline/fix is first: 0 of 1 machine(s) have it
            # rollout fix openssl=3.0.15: done 2/5, failed 0
            #   wave canary: 2/2 have it since 2026-11-23T12:11:00Z, 0 skipped, 0 failed, through zone "z2", passed 2026-11-23T12:21:00Z
            #   wave rest: 0/3 have it, 0 skipped, 0 failed
            # next -
            @ 2026-11-23T12:22:00Z
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 for fix
            = b: converged
            = c: converged
            + d: starts d-1: install openssl 3.0.14 > 3.0.15 for fix
            ~ e: Zone O6: zone z2 of PackageBaseline/fix is first: 0 of 1 machine(s) have it
            # rollout fix openssl=3.0.15: done 2/5, failed 0
            #   wave canary: 2/2 have it since 2026-11-23T12:11:00Z, 0 skipped, 0 failed, through zone "z2", passed 2026-11-23T12:21:00Z
            #   wave rest: 1/3 have it since 2026-11-23T11:22:00Z, 0 skipped, 0 failed, through zone "z1"
            # next -
        "#]],
    );
}

// rule: O2, O6
#[test]
fn zones_of_which_no_machine_can_show_anything_yet_are_not_passed_for_good() {
    let world = |now: &str, first: &str, second: &str| {
        format!(
            "time {now}
             baseline fix zones zone: openssl >= 3.0.15
             wave canary fix on ring=canary soak 10m
             machine a ring=canary zone=z1 {first}
             machine b ring=canary zone=z2 {second}
             machine c zone=z1: openssl 3.0.14 -> 3.0.15
             show rollouts waves"
        )
    };
    let (silent, back) = ("silent 10m: openssl 3.0.14 -> 3.0.15", "reported 1m: openssl 3.0.14 -> 3.0.15");
    check_over_time(
        &[
            &world("0", silent, silent),
            &world("1m", back, back),
            &world("2m", "reported 1m: openssl 3.0.15", silent),
        ],
        expect![[r#"
            @ 2026-11-23T12:00:00Z
            ~ a: Silent A4: the machine is silent since 2026-11-23T11:50:00Z
            ~ b: Silent A4: the machine is silent since 2026-11-23T11:50:00Z
            ! c: PausedNoEvidence O2: paused: none of the 2 machine(s) of wave canary of PackageBaseline/fix can show whether it works
            # rollout fix openssl=3.0.15: done 0/3, failed 0
            #   wave canary: 0/2 have it, 2 skipped, 0 failed
            #   paused 2026-11-23T12:00:00Z
            @ 2026-11-23T12:01:00Z
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 for fix
            ~ b: Zone O6: zone z1 of PackageBaseline/fix is first: 0 of 1 machine(s) have it
            ~ c: Wave O2: wave canary of PackageBaseline/fix is first: 0 of 2 machine(s) have it
            # rollout fix openssl=3.0.15: done 0/3, failed 0
            #   wave canary: 0/2 have it, 0 skipped, 0 failed
            @ 2026-11-23T12:02:00Z
            = a: converged
            ~ b: Zone O6: zone z1 of PackageBaseline/fix is first: 1 of 1 machine(s) have it, until 2026-11-23T12:11:00Z
            ~ c: Soaking O2: wave canary of PackageBaseline/fix has it, and is watched for a while, until 2026-11-23T12:11:00Z
            # rollout fix openssl=3.0.15: done 1/3, failed 0
            #   wave canary: 1/2 have it since 2026-11-23T12:01:00Z, 1 skipped, 0 failed
        "#]],
    );
}

// rule: O6
#[test]
fn zones_of_the_rest_take_turns_though_all_their_machines_were_closed_at_first() {
    let world = |now: &str, how: &str| {
        format!(
            "time {now}
             baseline fix zones zone: openssl >= 3.0.15
             machine a zone=z1 {how}: openssl 3.0.14 -> 3.0.15
             machine b zone=z2 {how}: openssl 3.0.14 -> 3.0.15
             show rollouts waves"
        )
    };
    check_over_time(
        &[&world("0", "silent 10m"), &world("1m", "reported 1m")],
        expect![[r#"
        @ 2026-11-23T12:00:00Z
        ~ a: Silent A4: the machine is silent since 2026-11-23T11:50:00Z
        ~ b: Silent A4: the machine is silent since 2026-11-23T11:50:00Z
        # rollout fix openssl=3.0.15: done 0/2, failed 0
        #   wave rest: 0/2 have it, 2 skipped, 0 failed
        @ 2026-11-23T12:01:00Z
        + a: starts a-1: install openssl 3.0.14 > 3.0.15 for fix
        ~ b: Zone O6: zone z1 of PackageBaseline/fix is first: 0 of 1 machine(s) have it
        # rollout fix openssl=3.0.15: done 0/2, failed 0
        #   wave rest: 0/2 have it, 0 skipped, 0 failed
    "#]],
    );
}

// rule: O6
#[test]
fn zones_take_turns_though_it_is_not_known_what_all_canaries_want() {
    check(
        "baseline fix zones zone: openssl >= 3.0.15
         wave canary fix on ring=canary
         machine a ring=canary zone=z1: openssl 3.0.14 -> 3.0.15
         machine b ring=canary zone=z2: openssl 3.0.14 -> 3.0.15
         machine c ring=canary zone=z2 no-inventory: openssl 3.0.13 -> 3.0.15",
        expect![[r#"
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 for fix
            ~ b: Zone O6: zone z1 of PackageBaseline/fix is first: 0 of 1 machine(s) have it
            ~ c: Inventory V2: the machine was asked what is on offer for openssl:amd64
        "#]],
    );
}

// rule: O2, O6
#[test]
fn what_is_under_way_on_a_machine_that_wants_something_newer_by_now_is_waited_for() {
    let world = |more: &str| {
        format!(
            "baseline fix zones zone: curl latest
             machine a zone=z1 lists 1m: curl 8 -> 10
             machine b zone=z2: curl 8 -> 9
             {more}
             show rollouts waves"
        )
    };
    check_over_time(
        &[&world("activity a-1 Running 1m: install fix curl 9"), &world("")],
        expect![[r#"
        @ 2026-11-23T12:00:00Z
        ~ a: Running A2: a-1 is Running
        ~ b: Zone O6: zone z1 of PackageBaseline/fix is first: 0 of 1 machine(s) have it
        # rollout fix curl=9: done 0/1, failed 0
        #   wave rest: 0/2 have it, 0 skipped, 0 failed
        # rollout fix curl=10: done 0/1, failed 0
        #   wave rest: 0/1 have it, 0 skipped, 0 failed
        @ 2026-11-23T12:00:00Z
        + a: starts a-1: install curl 8 > 10 for fix
        + b: starts b-1: install curl 8 > 9 for fix
        # rollout fix curl=9: done 0/1, failed 0
        #   wave rest: 0/1 have it, 0 skipped, 0 failed
        # rollout fix curl=10: done 0/1, failed 0
        #   wave rest: 0/1 have it, 0 skipped, 0 failed
    "#]],
    );
}

// rule: O6
#[test]
fn between_baselines_priority_decides_who_goes_first_and_then_the_name() {
    check(
        "baseline b on role=b: curl
         baseline a on role=a: curl
         baseline low on role=low priority -1: curl
         baseline high on role=high priority 7: curl
         budget all max 2
         machine m1 role=b: curl - -> 8
         machine m2 role=low: curl - -> 8
         machine m3 role=a: curl - -> 8
         machine m4 role=high: curl - -> 8",
        expect![[r#"
            ~ m1: Budget B2: budget all: 2 of at most 2 unavailable
            ~ m2: Budget B2: budget all: 2 of at most 2 unavailable
            + m3: starts m3-1: install curl - > 8 for a
            + m4: starts m4-1: install curl - > 8 for high
        "#]],
    );
}

// rule: O7
#[test]
fn a_wave_that_asks_for_approval_starts_nothing_before_it() {
    let world = |said: &str| {
        format!(
            "baseline fix: openssl >= 3.0.15; curl >= 9
             wave canary fix on ring=canary
             wave prod fix on env=prod approval
             rollout fix openssl=3.0.15 seen 20m
             rollout fix curl=9 seen 2m
             machine a ring=canary: openssl 3.0.15; curl 9
             machine b env=prod: openssl 3.0.14 -> 3.0.15; curl 9
             machine c env=prod: openssl 3.0.14 -> 3.0.15; curl 8 -> 9
             {said}
             show rollouts waves"
        )
    };
    check(
        &world(""),
        expect![[r#"
            = a: converged
            ~ b: Approval O7: wave prod of PackageBaseline/fix asks for somebody's approval of it
            ~ c: Approval O7: wave prod of PackageBaseline/fix asks for somebody's approval of it
            # rollout fix curl=9: done 2/3, failed 0
            #   wave canary: 1/1 have it since 2026-11-23T11:00:00Z, 0 skipped, 0 failed, passed 2026-11-23T12:00:00Z
            #   wave prod: 1/2 have it since 2026-11-23T11:00:00Z, 0 skipped, 0 failed
            # rollout fix openssl=3.0.15: done 1/3, failed 0
            #   wave canary: 1/1 have it since 2026-11-23T11:00:00Z, 0 skipped, 0 failed, passed 2026-11-23T12:00:00Z
            #   wave prod: 0/2 have it, 0 skipped, 0 failed
        "#]],
    );
    // All that there was to see: not curl, which came later.
    check(
        &world("approval yes approve fix by alice 10m"),
        expect![[r#"
            = a: converged
            + b: starts b-1: install openssl 3.0.14 > 3.0.15 for fix
            + c: starts c-1: install openssl 3.0.14 > 3.0.15 for fix
              + fix openssl:amd64 [3.0.14 → 3.0.15] Start c-1
              ~ fix curl:amd64 [8 → 9] Approval O7: wave prod of PackageBaseline/fix asks for somebody's approval of it
            # rollout fix curl=9: done 2/3, failed 0
            #   wave canary: 1/1 have it since 2026-11-23T11:00:00Z, 0 skipped, 0 failed, passed 2026-11-23T12:00:00Z
            #   wave prod: 1/2 have it since 2026-11-23T11:00:00Z, 0 skipped, 0 failed
            # rollout fix openssl=3.0.15: done 1/3, failed 0
            #   wave canary: 1/1 have it since 2026-11-23T11:00:00Z, 0 skipped, 0 failed, passed 2026-11-23T12:00:00Z
            #   wave prod: 0/2 have it, 0 skipped, 0 failed
            #   approved 2026-11-23T11:50:00Z
        "#]],
    );
    check(
        &world("approval yes approve fix curl=9 by alice 10m"),
        expect![[r#"
            = a: converged
            ~ b: Approval O7: wave prod of PackageBaseline/fix asks for somebody's approval of it
            + c: starts c-1: install curl 8 > 9 for fix
              + fix curl:amd64 [8 → 9] Start c-1
              ~ fix openssl:amd64 [3.0.14 → 3.0.15] Approval O7: wave prod of PackageBaseline/fix asks for somebody's approval of it
            # rollout fix curl=9: done 2/3, failed 0
            #   wave canary: 1/1 have it since 2026-11-23T11:00:00Z, 0 skipped, 0 failed, passed 2026-11-23T12:00:00Z
            #   wave prod: 1/2 have it since 2026-11-23T11:00:00Z, 0 skipped, 0 failed
            #   approved 2026-11-23T11:50:00Z
            # rollout fix openssl=3.0.15: done 1/3, failed 0
            #   wave canary: 1/1 have it since 2026-11-23T11:00:00Z, 0 skipped, 0 failed, passed 2026-11-23T12:00:00Z
            #   wave prod: 0/2 have it, 0 skipped, 0 failed
        "#]],
    );
}

// rule: O3
#[test]
fn what_a_person_paused_starts_nowhere_until_it_is_resumed() {
    let world = |said: &str| {
        format!(
            "baseline fix: openssl >= 3.0.15; curl >= 9
             machine a: openssl 3.0.14 -> 3.0.15; curl 9
             machine b: openssl 3.0.15; curl 8 -> 9
             machine c: openssl 3.0.14 -> 3.0.15; curl 9
             activity c-1 Pending 10s: install fix openssl 3.0.15
             {said}"
        )
    };
    check(
        &world("approval stop pause fix openssl by alice 10m"),
        expect![[r#"
        ~ a: PausedByPerson O3: alice paused it with stop
        + b: starts b-1: install curl 8 > 9 for fix
        ~ c: Pending A2: c-1 is Pending
        x c-1: Contradicted
    "#]],
    );
    check(
        &world(
            "approval stop pause fix by alice 10m
             approval go resume fix openssl by bob 5m",
        ),
        expect![[r#"
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 for fix
            ~ b: PausedByPerson O3: alice paused it with stop
            ~ c: Pending A2: c-1 is Pending
        "#]],
    );
}

// rule: O3
#[test]
fn a_barred_item_goes_on_when_a_person_resumes_it_and_old_failures_count_no_more() {
    let world = |now: &str, more: &str| {
        format!(
            "time {now}
             baseline fix fail 0: openssl >= 3.0.15
             machine a carried 9: openssl 3.0.14 -> 3.0.15
             machine b carried 9: openssl 3.0.14 -> 3.0.15
             {more}
             show rollouts waves"
        )
    };
    check_over_time(
        &[
            &world("0", "activity a-1 Failed(TimedOut) 1h: install fix openssl 3.0.15"),
            &world(
                "20m",
                "activity a-1 Failed(TimedOut) 80m: install fix openssl 3.0.15
                 approval go resume fix by alice 10m",
            ),
            // The same word does not help a second time.
            &world(
                "40m",
                "activity a-1 Failed(TimedOut) 100m: install fix openssl 3.0.15
                 activity b-1 Failed(TimedOut) 5m: install fix openssl 3.0.15
                 approval go resume fix by alice 30m",
            ),
        ],
        expect![[r#"
            @ 2026-11-23T12:00:00Z
            ! a: Barred O3: 1 machine(s) failed it, at most 0 may in PackageBaseline/fix
            ! b: Barred O3: 1 machine(s) failed it, at most 0 may in PackageBaseline/fix
            # rollout fix openssl=3.0.15: done 0/2, failed 1, barred since 2026-11-23T12:00:00Z
            @ 2026-11-23T12:20:00Z
            + a: starts a-10: install openssl 3.0.14 > 3.0.15 for fix
            + b: starts b-10: install openssl 3.0.14 > 3.0.15 for fix
            # rollout fix openssl=3.0.15: done 0/2, failed 0
            #   released 2026-11-23T12:20:00Z
            #   resumed 2026-11-23T12:10:00Z
            @ 2026-11-23T12:40:00Z
            ! a: Barred O3: 1 machine(s) failed it, at most 0 may in PackageBaseline/fix
            ! b: Barred O3: 1 machine(s) failed it, at most 0 may in PackageBaseline/fix
            # rollout fix openssl=3.0.15: done 0/2, failed 1, barred since 2026-11-23T12:40:00Z
            #   released 2026-11-23T12:20:00Z
            #   resumed 2026-11-23T12:10:00Z
        "#]],
    );
}

// rule: O2
#[test]
fn a_person_may_send_an_item_past_a_wave_without_evidence() {
    let world = |now: &str, said: &str| {
        format!(
            "time {now}
             baseline fix: openssl >= 3.0.15
             wave canary fix on ring=canary
             wave second fix on ring=second
             machine a: openssl 3.0.14 -> 3.0.15
             {said}
             show rollouts waves"
        )
    };
    check_over_time(
        &[
            &world("0", ""),
            &world("20m", "approval go resume fix by alice 10m"),
            &world("30m", "approval go resume fix by alice 20m\napproval go-on resume fix by alice 1m"),
        ],
        expect![[r#"
            @ 2026-11-23T12:00:00Z
            ! a: PausedNoEvidence O2: paused: wave canary of PackageBaseline/fix picks no machine
            # rollout fix openssl=3.0.15: done 0/1, failed 0
            #   paused 2026-11-23T12:00:00Z
            @ 2026-11-23T12:20:00Z
            ! a: PausedNoEvidence O2: paused: wave second of PackageBaseline/fix picks no machine
            # rollout fix openssl=3.0.15: done 0/1, failed 0
            #   wave canary: 0/0 have it, 0 skipped, 0 failed, passed 2026-11-23T12:20:00Z
            #   resumed 2026-11-23T12:10:00Z
            #   paused 2026-11-23T12:20:00Z
            @ 2026-11-23T12:30:00Z
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 for fix
            # rollout fix openssl=3.0.15: done 0/1, failed 0
            #   wave canary: 0/0 have it, 0 skipped, 0 failed, passed 2026-11-23T12:20:00Z
            #   wave second: 0/0 have it, 0 skipped, 0 failed, passed 2026-11-23T12:30:00Z
            #   released 2026-11-23T12:30:00Z
            #   resumed 2026-11-23T12:29:00Z
        "#]],
    );
}

// rule: O2
#[test]
fn evidence_outlives_a_moment_without_inventories() {
    check(
        "baseline fix: openssl >= 3.0.15
         wave canary fix on ring=canary soak 1h
         rollout fix openssl=3.0.15 seen 2h passed canary
         machine a ring=canary no-inventory: openssl 3.0.15
         machine b no-inventory: openssl 3.0.14 -> 3.0.15
         show rollouts waves",
        expect![[r#"
            ~ a: Inventory V2: the machine was asked what is on offer for openssl:amd64
            ~ b: Inventory V2: the machine was asked what is on offer for openssl:amd64
            # rollout fix openssl=3.0.15: done 0/0, failed 0
            #   wave canary: 0/0 have it, 0 skipped, 0 failed, passed 2026-11-23T11:00:00Z
            #   released 2026-11-23T12:00:00Z
        "#]],
    );
}

// rule: O2
#[test]
fn a_canary_of_which_nothing_is_known_for_a_moment_is_waited_for() {
    check(
        "baseline fix: openssl >= 3.0.15
         wave canary fix on ring=canary
         rollout fix openssl=3.0.15 seen 9h
         machine a ring=canary no-inventory: openssl 3.0.14 -> 3.0.15
         machine b ring=canary: openssl 3.0.15
         machine c: openssl 3.0.14 -> 3.0.15",
        expect![[r#"
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 for fix
            = b: converged
            ~ c: Wave O2: wave canary of PackageBaseline/fix is first: 1 of 2 machine(s) have it
        "#]],
    );
}

// rule: O2
#[test]
fn canaries_that_moved_on_to_a_newer_version_in_their_soak_show_nothing_of_the_older_one() {
    let world = |now: &str, canary: &str| {
        format!(
            "time {now}
             baseline fix: curl latest
             wave canary fix on ring=canary soak 1h
             machine a ring=canary lists {now} reported 5m: curl {canary}
             machine b: curl 8 -> 9"
        )
    };
    check_over_time(
        &[&world("0", "9 -> 9"), &world("2h", "9 -> 10")],
        expect![[r#"
        @ 2026-11-23T12:00:00Z
        = a: converged
        ~ b: Soaking O2: wave canary of PackageBaseline/fix has it, and is watched for a while, until 2026-11-23T12:55:00Z
        @ 2026-11-23T14:00:00Z
        + a: starts a-1: install curl 9 > 10 for fix
        ! b: PausedNoEvidence O2: paused: none of the 1 machine(s) of wave canary of PackageBaseline/fix can show whether it works
    "#]],
    );
}

// rule: O1
#[test]
fn a_share_whose_machines_are_all_in_earlier_waves_holds_up_nothing() {
    check(
        "baseline fix: openssl >= 3.0.15
         wave canary fix on ring=canary
         wave some fix share 1
         machine a ring=canary: openssl 3.0.15
         machine b ring=canary: openssl 3.0.15
         machine c ring=canary: openssl 3.0.15
         machine d ring=canary: openssl 3.0.15
         machine e: openssl 3.0.14 -> 3.0.15",
        expect![[r#"
            = a: converged
            = b: converged
            = c: converged
            = d: converged
            + e: starts e-1: install openssl 3.0.14 > 3.0.15 for fix
        "#]],
    );
}

// rule: O1, O2
#[test]
fn an_upgrade_goes_through_the_waves_as_a_named_version_does() {
    let world = |now: &str, canary: &str, lists: &str| {
        format!(
            "time {now}
             baseline fix upgrades All: vim
             wave canary fix on ring=canary soak 30m
             machine a ring=canary lists {lists} reported 5m: curl {canary}; vim 1
             machine b reported 5m: curl 8 -> 9; vim 1
             show rollouts waves"
        )
    };
    check_over_time(
        &[
            // The other machine sees it first.
            &world("0", "8 -> 8", "old"),
            &world("10m", "8 -> 9", "lists"),
            &world("20m", "9 -> 9", "lists"),
            &world("45m", "9 -> 9", "lists"),
        ],
        expect![[r#"
            @ 2026-11-23T12:00:00Z
            = a: converged
            ~ b: Wave O2: wave canary of PackageBaseline/fix is first: 0 of 1 machine(s) have it
            # rollout fix curl=9: done 0/1, failed 0
            @ 2026-11-23T12:10:00Z
            + a: starts a-1: install curl 8 > 9 for fix
            ~ b: Wave O2: wave canary of PackageBaseline/fix is first: 0 of 1 machine(s) have it
            # rollout fix curl=9: done 0/2, failed 0
            #   wave canary: 0/1 have it, 0 skipped, 0 failed
            @ 2026-11-23T12:20:00Z
            = a: converged
            ~ b: Soaking O2: wave canary of PackageBaseline/fix has it, and is watched for a while, until 2026-11-23T12:45:00Z
            # rollout fix curl=9: done 1/2, failed 0
            #   wave canary: 1/1 have it since 2026-11-23T12:15:00Z, 0 skipped, 0 failed
            @ 2026-11-23T12:45:00Z
            = a: converged
            + b: starts b-1: install curl 8 > 9 for fix
            # rollout fix curl=9: done 1/2, failed 0
            #   wave canary: 1/1 have it since 2026-11-23T12:15:00Z, 0 skipped, 0 failed, passed 2026-11-23T12:45:00Z
            #   released 2026-11-23T12:45:00Z
        "#]],
    );
}

// rule: O1, O3, A9
#[test]
fn nothing_comes_along_that_is_barred_or_paused_or_before_its_wave() {
    let story = |libs: &str| {
        format!(
            "{libs}
             baseline fix: openssl >= 3.0.15; curl >= 8
             machine a ring=canary: openssl 3.0.14 -> 3.0.15; libssl3 3.0.14 -> 3.0.15; curl 8
             machine b: openssl 3.0.14 -> 3.0.15; libssl3 3.0.14 -> 3.0.15; curl 7 -> 8
             machine c: openssl 3.0.14 -> 3.0.15; libssl3 3.0.14 -> 3.0.15; curl 8
             activity c-1 Pending 10s: install fix openssl 3.0.15 with libssl3 3.0.15
             apt with openssl: libssl3 3.0.14 > 3.0.15"
        )
    };
    let barred = "baseline libs fail 0: libssl3 >= 3.0.15
        rollout libs libssl3=3.0.15 barred 10m seen 1h";
    check(
        &story(barred),
        expect![[r#"
        ! a: Barred O3: it stays barred in PackageBaseline/libs, since too many machines failed it before
        + b: starts b-1: install curl 7 > 8 for fix
          + fix curl:amd64 [7 → 8] Start b-1
          ! libs libssl3:amd64 [3.0.14 → 3.0.15] Barred O3: it stays barred in PackageBaseline/libs, since too many machines failed it before
          ~ fix openssl:amd64 [3.0.14 → 3.0.15] OtherActivity A1: b-1 is first
        ~ c: Pending A2: c-1 is Pending
          ~ fix openssl:amd64 [3.0.14 → 3.0.15] Pending A2: c-1 is Pending
          ! libs libssl3:amd64 [3.0.14 → 3.0.15] Barred O3: it stays barred in PackageBaseline/libs, since too many machines failed it before
        x c-1: Contradicted
    "#]],
    );
    let paused = "baseline libs: libssl3 >= 3.0.15
        approval stop pause libs libssl3=3.0.15 by alice 10m";
    check(
        &story(paused),
        expect![[r#"
        ~ a: PausedByPerson O3: alice paused it with stop
        + b: starts b-1: install curl 7 > 8 for fix
          + fix curl:amd64 [7 → 8] Start b-1
          ~ libs libssl3:amd64 [3.0.14 → 3.0.15] PausedByPerson O3: alice paused it with stop
          ~ fix openssl:amd64 [3.0.14 → 3.0.15] OtherActivity A1: b-1 is first
        ~ c: Pending A2: c-1 is Pending
          ~ fix openssl:amd64 [3.0.14 → 3.0.15] Pending A2: c-1 is Pending
          ~ libs libssl3:amd64 [3.0.14 → 3.0.15] PausedByPerson O3: alice paused it with stop
        x c-1: Contradicted
    "#]],
    );
    let canary = "baseline libs: libssl3 >= 3.0.15
        wave canary libs on ring=canary soak 1h";
    check(
        &story(canary),
        expect![[r#"
        + a: starts a-1: install libssl3 3.0.14 > 3.0.15, openssl 3.0.14 > 3.0.15 for fix+libs
        + b: starts b-1: install curl 7 > 8 for fix
          + fix curl:amd64 [7 → 8] Start b-1
          ~ libs libssl3:amd64 [3.0.14 → 3.0.15] Wave O2: wave canary of PackageBaseline/libs is first: 0 of 1 machine(s) have it
          ~ fix openssl:amd64 [3.0.14 → 3.0.15] OtherActivity A1: b-1 is first
        ~ c: Pending A2: c-1 is Pending
          ~ fix openssl:amd64 [3.0.14 → 3.0.15] Pending A2: c-1 is Pending
          ~ libs libssl3:amd64 [3.0.14 → 3.0.15] Wave O2: wave canary of PackageBaseline/libs is first: 0 of 1 machine(s) have it
    "#]],
    );
}

// rule: O2, O3
#[test]
fn a_canary_that_may_not_have_what_another_baseline_has_barred_is_not_waited_for() {
    let barred = |rest: &str| {
        format!(
            "baseline aa: openssl >= 3.0.15
             wave canary aa on ring=canary
             {rest}
             machine a ring=canary also=bb: openssl 3.0.14 -> 3.0.15; libssl3 3.0.14 -> 3.0.15
             machine b: openssl 3.0.14 -> 3.0.15; libssl3 3.0.14"
        )
    };
    let itself = "baseline bb on also=bb fail 0: openssl >= 3.0.15
        rollout bb openssl=3.0.15 barred 10m seen 1h";
    check(
        &barred(itself),
        expect![[r#"
        ! a: Barred O3: it stays barred in PackageBaseline/bb, since too many machines failed it before
        ! b: PausedNoEvidence O2: paused: none of the 1 machine(s) of wave canary of PackageBaseline/aa can show whether it works
    "#]],
    );
    let other = "machine c ring=canary: openssl 3.0.15";
    check(
        &barred(&format!("{itself}\n{other}")),
        expect![[r#"
        ! a: Barred O3: it stays barred in PackageBaseline/bb, since too many machines failed it before
        + b: starts b-1: install openssl 3.0.14 > 3.0.15 for aa
        = c: converged
    "#]],
    );
    let along = "baseline bb on also=bb fail 0: libssl3 >= 3.0.15
        rollout bb libssl3=3.0.15 barred 10m seen 1h
        apt with openssl: libssl3 3.0.14 > 3.0.15";
    check(
        &barred(&format!("{along}\n{other}")),
        expect![[r#"
        ! a: Barred O3: it stays barred in PackageBaseline/bb, since too many machines failed it before
        + b: starts b-1: install openssl 3.0.14 > 3.0.15 with libssl3 3.0.14 > 3.0.15 for aa
        = c: converged
    "#]],
    );
}

// rule: O1, O3
#[test]
fn what_is_barred_comes_along_to_no_machine_that_its_baseline_is_content_with_either() {
    let libs = |rest: &str| {
        format!(
            "baseline fix: openssl >= 3.0.15
             baseline libs fail 0: libssl3 >= 3.0.14
             {rest}
             machine a: openssl 3.0.14 -> 3.0.15; libssl3 3.0.14 -> 3.0.15
             machine b: openssl 3.0.14 -> 3.0.15; libssl3 3.0.13 -> 3.0.15
             apt with openssl: libssl3 3.0.14 > 3.0.15"
        )
    };
    check(
        &libs("rollout libs libssl3=3.0.15 barred 10m seen 1h"),
        expect![[r#"
        ! a: Barred O3: it stays barred in PackageBaseline/libs, since too many machines failed it before
        ! b: Barred O3: it stays barred in PackageBaseline/libs, since too many machines failed it before
    "#]],
    );
    check(
        &libs("wave canary libs on ring=canary"),
        expect![[r#"
        ! a: PausedNoEvidence O2: paused: wave canary of PackageBaseline/libs picks no machine
        ! b: PausedNoEvidence O2: paused: wave canary of PackageBaseline/libs picks no machine
    "#]],
    );
}

// rule: O3, A6
#[test]
fn a_retry_lifts_no_bar() {
    check(
        "baseline fix fail 0: openssl >= 3.0.15
         machine a retried 1: openssl 3.0.14 -> 3.0.15
         activity a-1 Failed(TimedOut) 1h: install fix openssl 3.0.15
         rollout fix openssl=3.0.15 barred 50m seen 2h
         machine b: openssl 3.0.14 -> 3.0.15
         show rollouts",
        expect![[r#"
            ! a: Barred O3: it stays barred in PackageBaseline/fix, since too many machines failed it before
            ! b: Barred O3: it stays barred in PackageBaseline/fix, since too many machines failed it before
            # rollout fix openssl=3.0.15: done 0/2, failed 0, barred since 2026-11-23T11:10:00Z
        "#]],
    );
}
