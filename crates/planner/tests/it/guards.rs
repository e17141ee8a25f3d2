//! When steps may start: windows, freezes, suspension, silence.

use expect_test::expect;

use crate::check;

// rule: W1
#[test]
fn outside_the_window_a_machine_waits_for_it_to_open() {
    check(
        "baseline fix: openssl >= 3.0.15
         window night allow on env=prod: daily 22 6h
         machine a env=prod: openssl 3.0.14 -> 3.0.15
         machine b: openssl 3.0.14 -> 3.0.15
         show next windows",
        expect![[r#"
            ~ a: WindowClosed W1: window night opens at 2026-11-23T22:00:00Z, until 2026-11-23T22:00:00Z
            + b: starts b-1: install openssl 3.0.14 > 3.0.15 for fix
            # window night: closed, opens 2026-11-23T22:00:00Z, closes 2026-11-24T04:00:00Z, 1 machines
            # next 2026-11-23T22:00:00Z
        "#]],
    );
}

// rule: W1
#[test]
fn inside_the_window_it_starts_and_expires_before_the_close() {
    check(
        "baseline fix: openssl >= 3.0.15
         window noon allow: daily 12 30m
         machine a: openssl 3.0.14 -> 3.0.15
         show details windows",
        expect![[r#"
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 for fix
                expires 2026-11-23T12:20:00Z, budgets {}, windows {Packages: "noon"}
                health {} for 0s
            # window noon: open, opens 2026-11-24T12:00:00Z, closes 2026-11-23T12:30:00Z, 1 machines
        "#]],
    );
}

// rule: W1
#[test]
fn a_freeze_wins_over_an_open_window() {
    check(
        "baseline fix: openssl >= 3.0.15
         window noon allow: daily 12 4h
         window freeze deny: once 2026-11-23T00:00:00Z 2026-11-23T13:00:00Z
         machine a: openssl 3.0.14 -> 3.0.15",
        expect![[r#"
            ~ a: Frozen W1: freeze freeze is on, until 2026-11-23T13:00:00Z
        "#]],
    );
}

// rule: W1
#[test]
fn without_a_window_nothing_starts_where_the_policy_requires_one() {
    check(
        "policy required
         baseline fix: openssl >= 3.0.15
         machine a: openssl 3.0.14 -> 3.0.15",
        expect![[r#"
            ~ a: WindowClosed W1: no window opens for the machine
        "#]],
    );
}

// rule: W2
#[test]
fn what_is_left_of_the_window_must_be_enough() {
    check(
        "baseline fix: openssl >= 3.0.15
         window short allow on role=a: once 2026-11-23T06:00:00Z 2026-11-23T12:05:00Z
         window cut allow on role=b cutoff 1h: once 2026-11-23T06:00:00Z 2026-11-23T12:30:00Z
         window soon deny on role=c: once 2026-11-23T12:05:00Z 2026-11-23T13:00:00Z
         machine a role=a: openssl 3.0.14 -> 3.0.15
         machine b role=b: openssl 3.0.14 -> 3.0.15
         machine c role=c: openssl 3.0.14 -> 3.0.15",
        expect![[r#"
            ~ a: WindowTooShort W2: the time until 2026-11-23T12:05:00Z by short is too short, the change needs 600s
            ~ b: CutoffReached W2: the cutoff of window cut is reached
            ~ c: WindowTooShort W2: the time until 2026-11-23T12:05:00Z by soon is too short, the change needs 600s, until 2026-11-23T13:00:00Z
        "#]],
    );
}

// rule: W6, W2
#[test]
fn packages_go_in_before_a_freeze_and_their_reboot_waits() {
    check(
        "baseline fix reboot 30m: openssl >= 3.0.15
         window quiet deny covers Reboot: daily 8 10h
         machine a reboot-required 1h: openssl 3.0.14 -> 3.0.15",
        expect![[r#"
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 for fix
              + fix openssl:amd64 [3.0.14 → 3.0.15] Start a-1
              ~ fix reboot [required → rebooted] Frozen W1: freeze quiet is on, until 2026-11-23T18:00:00Z
        "#]],
    );
}

// rule: W6, W2
#[test]
fn a_reboot_that_no_longer_fits_behind_the_packages_comes_later() {
    check(
        "baseline fix reboot 30m: openssl >= 3.0.15
         window noon allow: once 2026-11-23T10:00:00Z 2026-11-23T12:15:00Z
         machine a reboot-required 1h: openssl 3.0.14 -> 3.0.15
         machine b reboot-required 1h: openssl 3.0.15",
        expect![[r#"
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 for fix
              + fix openssl:amd64 [3.0.14 → 3.0.15] Start a-1
              ~ fix reboot [required → rebooted] WindowTooShort W2: the time until 2026-11-23T12:15:00Z by noon is too short, the change needs 1200s
            + b: starts b-1: reboot for fix
        "#]],
    );
}

// rule: W7
#[test]
fn a_window_that_cannot_be_read_closes_its_machines() {
    check(
        "baseline fix: openssl >= 3.0.15
         window bad allow on role=a: broken
         machine a role=a: openssl 3.0.14 -> 3.0.15
         machine b role=b: openssl 3.0.14 -> 3.0.15",
        expect![[r#"
            ~ a: WindowUnreadable W7: window bad cannot be read, which closes its machines
            + b: starts b-1: install openssl 3.0.14 > 3.0.15 for fix
        "#]],
    );
}

// rule: W7
#[test]
fn a_selector_that_cannot_be_read_closes_the_namespace() {
    check(
        "unreadable MaintenanceWindow/bad
         baseline fix: openssl >= 3.0.15
         machine a: openssl 3.0.14 -> 3.0.15",
        expect![[r#"
            ! a: SelectorUnreadable W7: nothing starts: the selector of MaintenanceWindow/bad cannot be read: the selector has no values
        "#]],
    );
}

// rule: W8
#[test]
fn a_windows_status_says_when_it_opens_and_closes_and_for_how_many() {
    check(
        "window night allow on env=prod: daily 22 6h
         window noon allow: daily 12 1h
         window past allow: once 2026-11-22T00:00:00Z 2026-11-22T01:00:00Z
         machine a env=prod:
         machine b:
         show windows next",
        expect![[r#"
            . a: NotSelected S3: no baseline selects the machine
            . b: NotSelected S3: no baseline selects the machine
            # window night: closed, opens 2026-11-23T22:00:00Z, closes 2026-11-24T04:00:00Z, 1 machines
            # window noon: open, opens 2026-11-24T12:00:00Z, closes 2026-11-23T13:00:00Z, 2 machines
            # window past: closed, opens -, closes -, 2 machines
            # next 2026-11-23T13:00:00Z
        "#]],
    );
}

// rule: G2
#[test]
fn while_a_revision_is_applied_nothing_starts() {
    check(
        "policy applying
         baseline fix: openssl >= 3.0.15
         machine a: openssl 3.0.14 -> 3.0.15",
        expect![[r#"
            ~ a: Applying G2: a revision is being applied
        "#]],
    );
}

// rule: A3
#[test]
fn with_a_clock_that_is_off_nothing_starts() {
    check(
        "policy clock-off
         baseline fix: openssl >= 3.0.15
         machine a: openssl 3.0.14 -> 3.0.15",
        expect![[r#"
            ~ a: ClockOff A3: the controller's clock is off by more than 30s
        "#]],
    );
}

// rule: A5
#[test]
fn who_suspends_stops_what_nobody_was_given_yet() {
    check(
        "baseline fix: openssl >= 3.0.15
         machine a suspended: openssl 3.0.14 -> 3.0.15
         machine b suspended: openssl 3.0.14 -> 3.0.15
         machine c: openssl 3.0.14 -> 3.0.15
         activity b-1 Pending 1m: install fix openssl 3.0.15",
        expect![[r#"
            ~ a: Suspended A4: the machine is suspended
            ~ b: Pending A2: b-1 is Pending
            + c: starts c-1: install openssl 3.0.14 > 3.0.15 for fix
            x b-1: CancelRequested
        "#]],
    );
}

// rule: A5
#[test]
fn a_suspended_fleet_starts_nothing() {
    check(
        "policy suspend
         baseline fix: openssl >= 3.0.15
         machine a: openssl 3.0.14 -> 3.0.15",
        expect![[r#"
            ~ a: Suspended A4: the fleet policy suspends every start
        "#]],
    );
}

// rule: A4
#[test]
fn nothing_starts_on_a_machine_that_is_not_heard() {
    check(
        "baseline fix: openssl >= 3.0.15
         machine a silent 1m: openssl 3.0.14 -> 3.0.15
         machine b silent 1m: openssl 3.0.15",
        expect![[r#"
            ~ a: Silent A4: the machine is silent since 2026-11-23T11:59:00Z
            = b: converged
        "#]],
    );
}

// rule: M1
#[test]
fn a_verdict_is_as_fresh_as_its_report_and_totals_sum_to_the_selected() {
    check(
        "baseline fix: openssl >= 3.0.15
         machine a: openssl 3.0.15
         machine b silent 50m: openssl 3.0.15
         machine c silent 2h: openssl 3.0.15
         machine d silent 25h: openssl 3.0.14 -> 3.0.15
         machine e never
         machine f silent 25h counted 1m: openssl 3.0.15
         machine g silent 1m: openssl 3.0.14 -> 3.0.15
         show baselines next",
        expect![[r#"
            = a: converged
            = b: converged
            ? c: Stale M1: the last word is too old to go by: 2026-11-23T10:00:00Z
            ? d: Absent B4: the machine is absent; last heard 2026-11-22T11:00:00Z
            ? e: NeverReported M1: the machine never reported
            ? f: Stale M1: the last word is too old to go by: 2026-11-22T11:00:00Z
            ~ g: Silent A4: the machine is silent since 2026-11-23T11:59:00Z
            # PackageBaseline/fix: selected 7 = converged 2 + not 1 + unknown 3 + absent 1; active 0, blocked 0, unavailable 0/3
            # next 2026-11-23T12:04:00Z
        "#]],
    );
}

// rule: M1
#[test]
fn without_its_inventory_a_machine_is_not_judged() {
    check(
        "baseline fix: openssl >= 3.0.15
         machine a no-inventory: openssl 3.0.15
         machine b:
         show targets",
        expect![[r#"
            ~ a: Inventory V2: the machine was asked what is on offer for openssl:amd64
              ~ fix openssl:amd64 [unknown → >= 3.0.15] Inventory V2: the machine was asked what is on offer for openssl:amd64
            ~ b: Inventory V2: the machine was asked what is on offer for openssl:amd64
              ~ fix openssl:amd64 [- → >= 3.0.15] Inventory V2: the machine was asked what is on offer for openssl:amd64
        "#]],
    );
}

// rule: W2
#[test]
fn a_window_that_is_short_for_what_steps_take_warns_and_starts_them_all_the_same() {
    check(
        "baseline fix: openssl >= 3.0.15
         policy packages 40m
         window noon allow: once 2026-11-23T11:50:00Z 2026-11-23T12:50:00Z
         window long allow on ring=late: once 2026-11-23T11:50:00Z 2026-11-23T13:50:00Z
         machine a: openssl 3.0.14 -> 3.0.15
         show windows",
        expect![[r#"
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 for fix
            # window long: open, opens -, closes 2026-11-23T13:50:00Z, 0 machines
            # window noon: open, opens -, closes 2026-11-23T12:50:00Z, 1 machines, too short for Packages
        "#]],
    );
}
