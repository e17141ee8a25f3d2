//! What an adversary would try: machines that leave the count while they are disrupted, guards that close late.

use expect_test::expect;

use crate::check;

// rule: B6, B4
#[test]
fn a_machine_that_leaves_the_fleet_keeps_its_place_while_something_of_ours_runs_there() {
    check(
        "baseline fix max 1: openssl >= 3.0.15
         budget etcd on role=etcd max 1
         machine a role=etcd revoked: openssl 3.0.14 -> 3.0.15
         machine b role=etcd: openssl 3.0.14 -> 3.0.15
         activity a-1 Running 1m budgets etcd: install fix openssl 3.0.15
         show budgets baselines",
        expect![[r#"
            . a: Revoked M5: the machine is revoked
            ~ b: Budget B2: budget etcd: 1 of at most 1 unavailable
            # PackageBaseline/fix: selected 1 = converged 0 + not 1 + unknown 0 + absent 0; active 0, blocked 0, unavailable 1/1
            # budget etcd: 1/1 of 1, 1 in flight
        "#]],
    );
}

// rule: B6, M5
#[test]
fn so_does_one_that_is_not_admitted_any_more() {
    check(
        "baseline fix max 1: openssl >= 3.0.15
         machine a unadmitted: openssl 3.0.14 -> 3.0.15
         machine b: openssl 3.0.14 -> 3.0.15
         activity a-1 Running 1m: install fix openssl 3.0.15",
        expect![[r#"
            . a: NotAdmitted M5: the machine is not admitted yet
            ~ b: MaxUnavailable B2: PackageBaseline/fix: 1 of at most 1 unavailable
        "#]],
    );
}

// rule: W1, A9
#[test]
fn a_freeze_that_is_made_after_an_activity_stops_what_was_not_begun() {
    check(
        "baseline fix: openssl >= 3.0.15
         window freeze deny: daily 11 6h
         machine a: openssl 3.0.14 -> 3.0.15
         machine b: openssl 3.0.14 -> 3.0.15
         machine c: openssl 3.0.14 -> 3.0.15
         activity a-1 Pending 10s: install fix openssl 3.0.15
         activity b-1 Delivered 10s: install fix openssl 3.0.15
         activity c-1 Running 10s: install fix openssl 3.0.15",
        expect![[r#"
            ~ a: Pending A2: a-1 is Pending
            ~ b: Delivered A2: b-1 is Delivered
            ~ c: Running A2: c-1 is Running
            x a-1: WindowClosed
            x b-1: WindowClosed
        "#]],
    );
}

// rule: W7, A9
#[test]
fn a_guard_that_cannot_be_read_any_more_stops_what_was_not_begun() {
    check(
        "baseline fix: openssl >= 3.0.15
         unreadable MaintenanceWindow/freeze
         machine a: openssl 3.0.14 -> 3.0.15
         activity a-1 Delivered 10s: install fix openssl 3.0.15",
        expect![[r#"
            ~ a: Delivered A2: a-1 is Delivered
            x a-1: WindowClosed
        "#]],
    );
}

// rule: A5
#[test]
fn a_machine_that_is_suspended_is_asked_to_leave_what_it_was_given() {
    check(
        "baseline fix: openssl >= 3.0.15
         machine a suspended: openssl 3.0.14 -> 3.0.15
         machine b: openssl 3.0.14 -> 3.0.16
         activity a-1 Delivered 10s: install fix openssl 3.0.15
         activity b-1 Delivered 10s: install fix openssl 3.0.15",
        expect![[r#"
            ~ a: Delivered A2: a-1 is Delivered
            ~ b: Delivered A2: b-1 is Delivered
            x a-1: CancelRequested
        "#]],
    );
}

// rule: V6, A9
#[test]
fn a_repair_before_a_hold_is_lifted_is_not_canceled_again_and_again() {
    check(
        "baseline fix on role=web: openssl hold
         machine a interrupted ours openssl: openssl 3.0.15 held
         activity a-1 Pending 10s: repair fix",
        expect![[r#"
            ~ a: Pending A2: a-1 is Pending
        "#]],
    );
}

// rule: A2, W6
#[test]
fn what_was_stopped_before_its_first_step_waits_like_a_refusal() {
    check(
        "baseline fix reboot 30m: openssl
         machine a carried 1 reboot-required 1h: openssl 3
         machine b carried 1 reboot-required 1h: openssl 3
         activity a-1 Interrupted(WindowClosed) 10s: reboot fix
         activity b-1 Interrupted(WindowClosed) 10s completed 1: install fix openssl 3 | reboot fix",
        expect![[r#"
            ~ a: Backoff A2: not carried out 1 time(s) in a row, last WindowClosed, until 2026-11-23T12:00:50Z
            + b: starts b-2: reboot for fix
        "#]],
    );
}
