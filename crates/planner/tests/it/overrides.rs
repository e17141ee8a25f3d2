//! What may pass a window or a freeze, since somebody said so.

use expect_test::expect;

use crate::check;

// rule: W9
#[test]
fn what_an_override_names_passes_a_freeze_and_nothing_else_does() {
    check(
        "baseline fix: curl >= 8; openssl >= 2
         window freeze deny overridable: once 2026-11-20T00:00:00Z 2026-12-01T00:00:00Z
         override cve of freeze until 2h: fix openssl 2
         machine a: curl 7 -> 8; openssl 1 -> 2
         machine b: curl 7 -> 8; openssl 1 -> 3 2
         show next details",
        expect![[r#"
            + a: starts a-1: install openssl 1 > 2 for fix past freeze for Packages by cve
              + fix openssl:amd64 [1 → 2] Start a-1
              ~ fix curl:amd64 [7 → 8] Frozen W1: freeze freeze is on, until 2026-12-01T00:00:00Z
                expires 2026-11-23T13:00:00Z, budgets {}, windows {}
                health {} for 0s
            ~ b: Frozen W1: freeze freeze is on, until 2026-12-01T00:00:00Z
            # next 2026-11-23T13:50:00Z
        "#]],
    );
}

// rule: W9
#[test]
fn what_goes_together_passes_only_what_each_of_it_may_pass() {
    check(
        "baseline fix: curl >= 8; openssl >= 2
         window night allow: daily 22 6h
         window freeze deny overridable: once 2026-11-23T12:40:00Z 2026-12-01T00:00:00Z
         override one of night until 3h: fix curl 8
         override two of night,freeze until 4h: fix openssl 2
         machine a: curl 7 -> 8; openssl 1 -> 2
         machine b: curl 8; openssl 1 -> 2
         show details",
        expect![[r#"
            + a: starts a-1: install curl 7 > 8, openssl 1 > 2 for fix past night for Packages by one
                expires 2026-11-23T12:30:00Z, budgets {}, windows {}
                health {} for 0s
            + b: starts b-1: install openssl 1 > 2 for fix past freeze for Packages by two past night for Packages by two
                expires 2026-11-23T13:00:00Z, budgets {}, windows {}
                health {} for 0s
        "#]],
    );
    check(
        "baseline fix: curl >= 8; openssl >= 2
         window early allow: daily 4 1h
         window night allow: daily 22 6h
         override one of early until 3h: fix curl 8
         override two of night until 4h: fix openssl 2
         machine a: curl 7 -> 8; openssl 1 -> 2",
        expect![[r#"
            + a: starts a-1: install curl 7 > 8 for fix past early for Packages by one
              + fix curl:amd64 [7 → 8] Start a-1
              ~ fix openssl:amd64 [1 → 2] WindowClosed W1: window night opens at 2026-11-23T22:00:00Z, until 2026-11-23T22:00:00Z
        "#]],
    );
}

// rule: W9
#[test]
fn a_freeze_that_may_not_be_passed_stays() {
    check(
        "baseline fix: openssl >= 2
         window freeze deny: once 2026-11-20T00:00:00Z 2026-12-01T00:00:00Z
         window other deny overridable: once 2026-11-20T00:00:00Z 2026-11-30T00:00:00Z
         override cve of freeze,other until 2h: fix openssl 2
         machine a: openssl 1 -> 2",
        expect![[r#"
            ~ a: Frozen W1: freeze freeze is on, until 2026-12-01T00:00:00Z
        "#]],
    );
}

// rule: W9, S4
#[test]
fn what_an_override_does_not_pass_is_said_and_not_what_it_does() {
    let story = |rest: &str| {
        format!(
            "baseline fix: openssl >= 2; zlib >= 2
             window freeze deny overridable: once 2026-11-20T00:00:00Z 2026-12-01T00:00:00Z
             override cve of freeze until 2h: fix openssl 2
             machine a: openssl 1 -> 2; zlib 1 -> 2
             {rest}"
        )
    };
    check(
        &story("policy required"),
        expect![[r#"
        ~ a: WindowClosed W1: no window opens for the machine
          ~ fix openssl:amd64 [1 → 2] WindowClosed W1: no window opens for the machine
          ~ fix zlib:amd64 [1 → 2] Frozen W1: freeze freeze is on
    "#]],
    );
    check(
        &story("window next deny: once 2026-11-23T12:05:00Z 2026-11-25T00:00:00Z"),
        expect![[r#"
            ~ a: WindowTooShort W2: the time until 2026-11-23T12:05:00Z by next is too short, the change needs 600s, until 2026-12-01T00:00:00Z
              ~ fix openssl:amd64 [1 → 2] WindowTooShort W2: the time until 2026-11-23T12:05:00Z by next is too short, the change needs 600s, until 2026-12-01T00:00:00Z
              ~ fix zlib:amd64 [1 → 2] Frozen W1: freeze freeze is on, until 2026-12-01T00:00:00Z
        "#]],
    );
}

// rule: W9
#[test]
fn an_override_ends() {
    check(
        "baseline fix: openssl >= 2
         window freeze deny overridable: once 2026-11-20T00:00:00Z 2026-12-01T00:00:00Z
         override cve of freeze until 0s: fix openssl 2
         machine a: openssl 1 -> 2",
        expect![[r#"
            ~ a: Frozen W1: freeze freeze is on, until 2026-12-01T00:00:00Z
        "#]],
    );
}

// rule: W9
#[test]
fn a_closed_allow_is_passed_and_a_reboot_needs_to_be_named() {
    check(
        "baseline fix reboot 30m: openssl >= 2
         baseline other: zlib >= 2
         window night allow: daily 22 6h
         override cve of night until 1h: fix openssl 2
         override both of night until 1h: other zlib 2; other reboot
         machine a reboot-required 1h: openssl 1 -> 2; zlib 2
         machine b reboot-required 1h: openssl 2; zlib 2",
        expect![[r#"
            + a: starts a-1: install openssl 1 > 2 for fix past night for Packages by cve
              + fix openssl:amd64 [1 → 2] Start a-1
              ~ fix reboot [required → rebooted] WindowClosed W1: window night opens at 2026-11-23T22:00:00Z, until 2026-11-23T22:00:00Z
            ~ b: WindowClosed W1: window night opens at 2026-11-23T22:00:00Z, until 2026-11-23T22:00:00Z
        "#]],
    );
}

// rule: W9
#[test]
fn a_reboot_that_is_named_passes() {
    check(
        "baseline fix reboot 30m: openssl >= 2
         window night allow: daily 22 6h
         override cve of night until 1h: fix openssl 2; fix reboot
         machine a reboot-required 1h: openssl 1 -> 2",
        expect![[r#"
            + a: starts a-1: install openssl 1 > 2 for fix | reboot for fix past night for Packages by cve past night for Reboot by cve
        "#]],
    );
}

// rule: W9, A5
#[test]
fn what_passes_is_called_back_when_its_override_is_taken_away() {
    check(
        "baseline fix: openssl >= 2
         window freeze deny overridable: once 2026-11-20T00:00:00Z 2026-12-01T00:00:00Z
         override cve of freeze until 2h: fix openssl 2
         machine a: openssl 1 -> 2
         machine b: openssl 1 -> 2
         activity a-1 Pending 1m ago past freeze/cve: install fix openssl 2
         activity b-1 Pending 1m ago past freeze/gone: install fix openssl 2",
        expect![[r#"
            ~ a: Pending A2: a-1 is Pending
            ~ b: Pending A2: b-1 is Pending
            x b-1: WindowClosed
        "#]],
    );
}

// rule: W7, W9
#[test]
fn a_window_that_cannot_be_read_is_passed_by_nothing() {
    check(
        "baseline fix: openssl >= 2
         window broken allow: broken
         override cve of broken until 2h: fix openssl 2
         machine a: openssl 1 -> 2",
        expect![[r#"
            ~ a: WindowUnreadable W7: window broken cannot be read, which closes its machines
        "#]],
    );
}

// rule: W9, K2
#[test]
fn a_kernel_that_passes_is_not_called_back_at_once() {
    let apt = "apt with linux-image: linux-image-6.1.0-50 - > 6.1.0-50";
    let story = |kind: &str, covers: &str| {
        format!(
            "{kind} k: linux-image >= 6.1.176
             window night allow{covers}: daily 22 6h
             override cve of night until 1h: k linux-image 6.1.176
             machine a selects kernels 6.1.0-49=6.1.170 runs 6.1.0-49 next 6.1.0-49: linux-image 6.1.170 -> 6.1.176
             {apt}"
        )
    };
    check(
        &story("baseline", ""),
        expect![[r#"
        + a: starts a-1: install linux-image 6.1.170 > 6.1.176 with linux-image-6.1.0-50 - > 6.1.0-50 for k past night for Packages by cve past night for Kernel by cve
    "#]],
    );
    check(
        &story("baseline", " covers Kernel"),
        expect![[r#"
        + a: starts a-1: install linux-image 6.1.170 > 6.1.176 with linux-image-6.1.0-50 - > 6.1.0-50 for k past night for Kernel by cve
    "#]],
    );
    check(
        &story("kernel", ""),
        expect![[r#"
        + a: starts a-1: install linux-image 6.1.170 > 6.1.176 with linux-image-6.1.0-50 - > 6.1.0-50 for k | select 6.1.0-50 for k past night for Packages by cve past night for Kernel by cve
    "#]],
    );
}

// rule: W9, K2
#[test]
fn a_kernel_that_passes_a_freeze_boots_only_where_the_reboot_is_named_too() {
    let story = |items: &str, has: &str| {
        format!(
            "kernel k reboot 30m: linux-image >= 6.1.176
             window freeze deny overridable: once 2026-11-20T00:00:00Z 2026-12-01T00:00:00Z
             override cve of freeze until 2h: {items}
             machine a selects kernels 6.1.0-49=6.1.170{has} runs 6.1.0-49 next 6.1.0-49: linux-image 6.1.170 -> 6.1.176
             apt with linux-image: linux-image-6.1.0-50 - > 6.1.0-50"
        )
    };
    check(
        &story("k linux-image 6.1.176", ""),
        expect![[r#"
        + a: starts a-1: install linux-image 6.1.170 > 6.1.176 with linux-image-6.1.0-50 - > 6.1.0-50 for k past freeze for Packages by cve past freeze for Kernel by cve
    "#]],
    );
    check(
        &story("k linux-image 6.1.176; k reboot", ""),
        expect![[r#"
        + a: starts a-1: install linux-image 6.1.170 > 6.1.176 with linux-image-6.1.0-50 - > 6.1.0-50 for k | select 6.1.0-50 for k | reboot 6.1.0-50 for k | default 6.1.0-50 for k past freeze for Packages by cve past freeze for Kernel by cve past freeze for Reboot by cve
    "#]],
    );
    let installed =
        |items| story(items, ",6.1.0-50=6.1.176").replace("linux-image 6.1.170 ->", "linux-image 6.1.176 ->");
    check(
        &installed("k linux-image 6.1.176"),
        expect![[r#"
        ~ a: Frozen W1: freeze freeze is on, until 2026-12-01T00:00:00Z
    "#]],
    );
    check(
        &installed("k reboot"),
        expect![[r#"
        + a: starts a-1: select 6.1.0-50 for k | reboot 6.1.0-50 for k | default 6.1.0-50 for k past freeze for Kernel by cve past freeze for Reboot by cve
    "#]],
    );
}

// rule: W9, W2
#[test]
fn a_kernel_that_passes_takes_nothing_along_that_may_not() {
    let story = |items: &str| {
        format!(
            "kernel k: linux-image >= 6.1.176
             baseline other: zlib >= 2
             window night allow covers Kernel: daily 22 6h
             override cve of night until 1h: k linux-image 6.1.176{items}
             machine a selects kernels 6.1.0-49=6.1.170 runs 6.1.0-49 next 6.1.0-49: linux-image 6.1.170 -> 6.1.176; zlib 1 -> 2
             apt with linux-image: linux-image-6.1.0-50 - > 6.1.0-50"
        )
    };
    check(
        &story(""),
        expect![[r#"
        + a: starts a-1: install linux-image 6.1.170 > 6.1.176 with linux-image-6.1.0-50 - > 6.1.0-50 for k | select 6.1.0-50 for k past night for Kernel by cve
          + k kernel [6.1.0-49 (linux-image 6.1.170) → linux-image=6.1.176] Start a-1
          ~ other zlib:amd64 [1 → 2] OtherActivity A1: a-1 is first
    "#]],
    );
    check(
        &story("; other zlib 2"),
        expect![[r#"
        + a: starts a-1: install linux-image 6.1.170 > 6.1.176, zlib 1 > 2 with linux-image-6.1.0-50 - > 6.1.0-50 for other+k | select 6.1.0-50 for k past night for Kernel by cve
    "#]],
    );
}

// rule: W9, W2
#[test]
fn what_lets_a_boot_run_past_the_close_is_on_record() {
    check(
        "baseline fix reboot 30m: openssl >= 2
         window noon allow: daily 11 75m
         override cve of noon until 1h: fix openssl 2; fix reboot
         machine a reboot-required 1h: openssl 1 -> 2",
        expect![[r#"
            + a: starts a-1: install openssl 1 > 2 for fix | reboot for fix past noon for Reboot by cve
        "#]],
    );
}

// rule: W9, W2
#[test]
fn a_freeze_that_is_on_again_when_the_override_ends_leaves_time_enough_or_nothing_starts() {
    check(
        "baseline fix: openssl >= 3.0.15
         window freeze deny overridable on role=long: once 2026-11-23T11:00:00Z 2026-11-24T13:00:00Z
         window noon deny overridable on role=noon: once 2026-11-23T11:00:00Z 2026-11-23T12:03:00Z
         window two deny overridable on role=two: daily 11 62m
         override cve of freeze,noon until 5m: fix openssl 3.0.15
         override two of two until 15m: fix openssl 3.0.15
         machine a role=long: openssl 3.0.14 -> 3.0.15
         machine b role=noon: openssl 3.0.14 -> 3.0.15
         machine c role=two: openssl 3.0.14 -> 3.0.15
         show details",
        expect![[r#"
            ~ a: WindowTooShort W2: the time until 2026-11-23T12:05:00Z by freeze is too short, the change needs 600s, until 2026-11-24T13:00:00Z
            + b: starts b-1: install openssl 3.0.14 > 3.0.15 for fix past noon for Packages by cve
                expires 2026-11-23T12:05:00Z, budgets {}, windows {}
                health {} for 0s
            + c: starts c-1: install openssl 3.0.14 > 3.0.15 for fix past two for Packages by two
                expires 2026-11-23T12:15:00Z, budgets {}, windows {}
                health {} for 0s
        "#]],
    );
}
