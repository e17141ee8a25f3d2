//! What past and present activities mean for the next.

use expect_test::expect;

use crate::check;

// rule: A1
#[test]
fn while_an_activity_is_under_way_nothing_else_starts_there() {
    check(
        "baseline fix: openssl >= 3.0.15; curl >= 9
         machine a: openssl 3.0.14 -> 3.0.15; curl 8 -> 9
         machine b last 41: openssl 3.0.14 -> 3.0.15; curl 9
         activity a-7 Running 1m: install fix openssl 3.0.15",
        expect![[r#"
            ~ a: Running A2: a-7 is Running
              ~ fix openssl:amd64 [3.0.14 → 3.0.15] Running A2: a-7 is Running
              ~ fix curl:amd64 [8 → 9] OtherActivity A1: a-7 is first
            + b: starts b-42: install openssl 3.0.14 > 3.0.15 for fix
        "#]],
    );
}

// rule: A2
#[test]
fn refusals_in_a_row_wait_longer_and_block_from_the_third() {
    check(
        "baseline fix: openssl >= 3.0.15
         machine a: openssl 3.0.14 -> 3.0.15
         machine b: openssl 3.0.14 -> 3.0.15
         machine c: openssl 3.0.14 -> 3.0.15
         machine d: openssl 3.0.14 -> 3.0.15
         machine e retried 2: openssl 3.0.14 -> 3.0.15
         activity a-1 Refused(Locked) 30s: install fix openssl 3.0.15
         activity b-1 Refused(Locked) 1h: install fix openssl 3.0.15
         activity b-2 Expired(Undelivered) 4m: install fix openssl 3.0.15
         activity c-1 Refused(Locked) 2h: install fix openssl 3.0.15
         activity c-2 Refused(Locked) 1h: install fix openssl 3.0.15
         activity c-3 Refused(FetchError) 10m: install fix openssl 3.0.15
         activity d-1 Refused(Locked) 1m: install fix openssl 3.0.15
         activity e-2 Refused(Locked) 30s: install fix openssl 3.0.15
         show next",
        expect![[r#"
            ~ a: Backoff A2: not carried out 1 time(s) in a row, last Locked, until 2026-11-23T12:00:30Z
            ~ b: Backoff A2: not carried out 2 time(s) in a row, last Undelivered, until 2026-11-23T12:01:00Z
            ! c: RefusedRepeatedly A2: not carried out 3 times in a row, last FetchError, until 2026-11-23T12:15:00Z
            + d: starts d-2: install openssl 3.0.14 > 3.0.15 for fix
            + e: starts e-3: install openssl 3.0.14 > 3.0.15 for fix
            # next 2026-11-23T12:00:30Z
        "#]],
    );
}

// rule: V4
#[test]
fn a_version_that_vanished_wants_a_fresh_report() {
    check(
        "baseline fix: openssl >= 3.0.15
         machine a: openssl 3.0.14 -> 3.0.15
         machine b reported 1m: openssl 3.0.14 -> 3.0.16
         activity a-1 Refused(VersionGone) 10m: install fix openssl 3.0.15
         activity b-1 Refused(VersionGone) 10m: install fix openssl 3.0.15",
        expect![[r#"
            ~ a: Report V4: a report from after the last activity is awaited
            + b: starts b-2: install openssl 3.0.14 > 3.0.16 for fix
        "#]],
    );
}

// rule: V4, A6
#[test]
fn after_a_success_the_report_is_awaited() {
    check(
        "baseline fix: openssl >= 3.0.15
         machine a: openssl 3.0.14 -> 3.0.15
         machine b carried 1: openssl 3.0.14 -> 3.0.15
         activity a-1 Succeeded 1m: install fix openssl 3.0.15
         activity b-1 Succeeded 1m: install fix openssl 3.0.15",
        expect![[r#"
            ~ a: Report V4: a report from after the last activity is awaited
            + b: starts b-2: install openssl 3.0.14 > 3.0.15 for fix
        "#]],
    );
}

// rule: A6
#[test]
fn a_failed_item_is_tried_again_three_times_and_then_stalls() {
    check(
        "baseline fix: openssl >= 3.0.15; curl
         machine a carried 9: openssl 3.0.14 -> 3.0.15; curl - -> 8
         machine b carried 9: openssl 3.0.14 -> 3.0.15; curl 8
         machine c carried 9: openssl 3.0.14 -> 3.0.15; curl 8
         machine d carried 9 retried 4: openssl 3.0.14 -> 3.0.15; curl 8
         machine e carried 9: openssl 3.0.14 -> 3.0.16; curl 8
         machine f carried 9: openssl 3.0.14 -> 3.0.15; curl 8
         activity a-1 Failed(TimedOut) 30s: install fix openssl 3.0.15
         activity b-1 Failed(TimedOut) 2h: install fix openssl 3.0.15
         activity b-2 Failed(TimedOut) 3m: install fix openssl 3.0.15
         activity c-1 Failed(TimedOut) 5h: install fix openssl 3.0.15
         activity c-2 Failed(TimedOut) 4h: install fix openssl 3.0.15
         activity c-3 Failed(TimedOut) 3h: install fix openssl 3.0.15
         activity c-4 Failed(PackagesNotAsWanted) 2h: install fix openssl 3.0.15
         activity d-4 Failed(TimedOut) 30s: install fix openssl 3.0.15
         activity e-1 Failed(TimedOut) 30s: install fix openssl 3.0.15
         activity f-1 Failed(TimedOut) 2h: install fix openssl 3.0.15
         activity f-2 Succeeded 1h: install fix openssl 3.0.15
         show wanted next",
        expect![[r#"
            + a: starts a-10: install curl - > 8 for fix
              + fix curl:amd64 [- → 8] Start a-10
              ~ fix openssl:amd64 [3.0.14 → 3.0.15] Retry A6: 1 failed attempt(s); another comes, until 2026-11-23T12:00:30Z
                wanted {"curl", "openssl"}: curl=8
            ~ b: Retry A6: 2 failed attempt(s); another comes, until 2026-11-23T12:02:00Z
                wanted {"curl", "openssl"}: -
            ! c: Stalled A6: 4 attempt(s) failed, the last with PackagesNotAsWanted
                wanted {"curl", "openssl"}: -
            + d: starts d-10: install openssl 3.0.14 > 3.0.15 for fix
                wanted {"curl", "openssl"}: openssl=3.0.15
            + e: starts e-10: install openssl 3.0.14 > 3.0.16 for fix
                wanted {"curl", "openssl"}: openssl=3.0.16
            + f: starts f-10: install openssl 3.0.14 > 3.0.15 for fix
                wanted {"curl", "openssl"}: openssl=3.0.15
            # next 2026-11-23T12:00:30Z
        "#]],
    );
}

// rule: A6, K4
#[test]
fn a_boot_that_went_wrong_is_not_tried_again() {
    check(
        "baseline fix reboot 30m: openssl >= 3.0.15
         machine a carried 1 reboot-required 1h: openssl 3.0.14 -> 3.0.15
         activity a-1 Failed(RebootNotObserved) 1h completed 1: install fix openssl 3.0.15 | reboot fix",
        expect![[r#"
            + a: starts a-2: install openssl 3.0.14 > 3.0.15 for fix
              + fix openssl:amd64 [3.0.14 → 3.0.15] Start a-2
              ! fix reboot [required → rebooted] Stalled A6: 1 attempt(s) failed, the last with RebootNotObserved
        "#]],
    );
}

// rule: A8, O3
#[test]
fn a_failure_is_charged_to_the_step_that_failed_and_all_it_serves() {
    check(
        "baseline app fail 0: openssl >= 3.0.15
         baseline fix fail 0 reboot 30m: openssl >= 3.0.14; curl >= 9
         machine a carried 1 reboot-required 10m: openssl 3.0.14 -> 3.0.15; curl 9
         machine b carried 1: openssl 3.0.15; curl 8 -> 9
         activity a-1 Failed(Unreachable) 1h completed 1: install fix curl 9 | reboot fix
         activity b-1 Failed(TimedOut) 1h: install app+fix openssl 3.0.15, curl 9
         show rollouts",
        expect![[r#"
            + a: starts a-2: reboot for fix
              + fix reboot [required → rebooted] Start a-2
              ! app openssl:amd64 [3.0.14 → 3.0.15] Barred O3: 1 machine(s) failed it, at most 0 may in PackageBaseline/app
              ! fix openssl:amd64 [3.0.14 → 3.0.15] Barred O3: 1 machine(s) failed it, at most 0 may in PackageBaseline/app
            ! b: Barred O3: 2 machine(s) failed it, at most 0 may in PackageBaseline/fix
            # rollout app openssl=3.0.15: done 1/2, failed 1, barred since 2026-11-23T12:00:00Z
            # rollout fix curl=9: done 1/2, failed 2, barred since 2026-11-23T12:00:00Z
            # rollout fix openssl=3.0.15: done 1/2, failed 1, barred since 2026-11-23T12:00:00Z
        "#]],
    );
}

// rule: A9
#[test]
fn a_revision_that_wants_something_else_cancels_what_nobody_was_given_yet() {
    check(
        "baseline fix: openssl >= 3.0.16
         baseline gone on role=x: curl
         machine a: openssl 3.0.14 -> 3.0.16
         machine b: openssl 3.0.14 -> 3.0.16
         machine c: openssl 3.0.14 -> 3.0.16
         machine d unadmitted: openssl 3.0.14 -> 3.0.16
         activity a-1 Pending 10s: install fix openssl 3.0.15
         activity b-1 Pending 10s: install fix openssl 3.0.16
         activity c-1 Running 10s: install fix openssl 3.0.15
         activity d-1 Pending 10s: install fix openssl 3.0.16
         activity z-1 Pending 10s: install fix openssl 3.0.16",
        expect![[r#"
            ~ a: Pending A2: a-1 is Pending
            ~ b: Pending A2: b-1 is Pending
            ~ c: Running A2: c-1 is Running
            . d: NotAdmitted M5: the machine is not admitted yet
            x a-1: Contradicted
            x d-1: Contradicted
            x z-1: Contradicted
        "#]],
    );
}

// rule: A9
#[test]
fn a_reboot_that_nobody_wants_any_more_is_canceled() {
    check(
        "baseline fix: openssl
         machine a reboot-required 1h: openssl 3
         activity a-1 Pending 10s: reboot fix",
        expect![[r#"
            ~ a: Pending A2: a-1 is Pending
            x a-1: Contradicted
        "#]],
    );
}

// rule: O1, O3
#[test]
fn too_many_failures_bar_the_item_everywhere_and_for_good() {
    check(
        "baseline fix fail 34%: openssl >= 3.0.15
         machine a carried 1: openssl 3.0.14 -> 3.0.15
         machine b carried 1: openssl 3.0.14 -> 3.0.15
         machine c: openssl 3.0.14 -> 3.0.15
         machine d: openssl 3.0.14 -> 3.0.15
         machine e: openssl 3.0.14 -> 3.0.16
         activity a-1 Failed(TimedOut) 1h: install fix openssl 3.0.15
         activity b-1 Failed(TimedOut) 1h: install fix openssl 3.0.15
         activity d-1 Pending 1s: install fix openssl 3.0.15
         show rollouts",
        expect![[r#"
            ! a: Barred O3: 2 machine(s) failed it, at most 1 may in PackageBaseline/fix
            ! b: Barred O3: 2 machine(s) failed it, at most 1 may in PackageBaseline/fix
            ! c: Barred O3: 2 machine(s) failed it, at most 1 may in PackageBaseline/fix
            ~ d: Pending A2: d-1 is Pending
            + e: starts e-1: install openssl 3.0.14 > 3.0.16 for fix
            x d-1: Contradicted
            # rollout fix openssl=3.0.15: done 0/4, failed 2, barred since 2026-11-23T12:00:00Z
            # rollout fix openssl=3.0.16: done 0/1, failed 0
        "#]],
    );
}

// rule: O3
#[test]
fn with_max_failures_zero_the_first_failure_bars_and_stays_after_a_retry() {
    check(
        "baseline fix fail 0: openssl >= 3.0.15
         machine a: openssl 3.0.14 -> 3.0.15
         machine b: openssl 3.0.15
         machine c carried 1 retried 1: openssl 3.0.14 -> 3.0.15
         activity c-1 Failed(TimedOut) 1h: install fix openssl 3.0.15
         rollout fix openssl=3.0.15 barred 1h
         rollout fix openssl=3.0.13 barred 9h
         show rollouts",
        expect![[r#"
            ! a: Barred O3: it stays barred in PackageBaseline/fix, since too many machines failed it before
            = b: converged
            ! c: Barred O3: it stays barred in PackageBaseline/fix, since too many machines failed it before
            # rollout fix openssl=3.0.15: done 1/3, failed 0, barred since 2026-11-23T11:00:00Z
        "#]],
    );
}

// rule: A1, A6
#[test]
fn a_machine_made_anew_does_not_inherit_failures_only_numbers() {
    check(
        "baseline fix fail 0 max 1: openssl >= 3.0.15
         machine a anew: openssl 3.0.14 -> 3.0.15
         activity a-4 Failed(RebootLoop) 1h: install fix openssl 3.0.15",
        expect![[r#"
            + a: starts a-5: install openssl 3.0.14 > 3.0.15 for fix
        "#]],
    );
}

// rule: O3
#[test]
fn a_bar_outlives_a_moment_without_inventories() {
    check(
        "baseline fix: openssl >= 3.0.15
         machine a no-inventory: openssl 3.0.14 -> 3.0.15
         rollout fix openssl=3.0.15 barred 1h
         rollout fix openssl=3.0.14 barred 2h
         show rollouts",
        expect![[r#"
            ~ a: Inventory V2: the machine was asked what is on offer for openssl:amd64
            # rollout fix openssl=3.0.15: done 0/0, failed 0, barred since 2026-11-23T11:00:00Z
        "#]],
    );
}
