//! W1 to W4, W6, W7, W9: whether steps may start.

use expect_test::expect;

use crate::check;
use crate::story::{judged, judged_late};

// Friday 22:00 to Saturday 04:00.
const NIGHT: &str = "
    00:00 machine a
    00:00 baseline fix
    00:00 window night
";

fn story(rest: &str) -> String {
    format!("{NIGHT}{rest}")
}

// rule: W1, W3
#[test]
fn nothing_starts_outside_its_windows() {
    check(
        &story("21:59:59 create a-1"),
        &expect![[r#"
        ! 2026-11-27T21:59:59Z W1 StartedOutsideWindows a-1: Packages started at 2026-11-27T21:59:59Z, when none of night was open
    "#]],
        &story("22:00 create a-1"),
    );
    check(
        &story("28:00 create a-1"),
        &expect![[r#"
        ! 2026-11-28T04:00:00Z W1 StartedOutsideWindows a-1: Packages started at 2026-11-28T04:00:00Z, when none of night was open
    "#]],
        &story("27:49 create a-1 until=27:50"),
    );
    let required = "00:00 policy {\"windows\": \"Required\"}\n";
    check(
        &format!("00:00 machine a\n 00:00 baseline fix\n {required} 01:00 create a-1"),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z W1 StartedWithoutWindow a-1: Packages started at 2026-11-27T01:00:00Z: windows are Required, and none selects the machine
        "#]],
        &story(&format!("{required} 22:00 create a-1")),
    );
}

// rule: W2
#[test]
fn nothing_starts_that_would_not_fit() {
    check(
        &story("27:51 create a-1 until=28:00"),
        &expect![[r#"
        ! 2026-11-28T03:51:00Z W2 StartedTooLate a-1: Packages started at 2026-11-28T03:51:00Z, 9m before the close at 2026-11-28T04:00:00Z, and takes 10m
    "#]],
        &story("27:50 create a-1 until=27:50"),
    );
    check(
        &story("27:41 create a-1 reboot until=27:50"),
        &expect![[r#"
            ! 2026-11-28T03:41:00Z W2 StartedTooLate a-1: Reboot started at 2026-11-28T03:41:00Z, 19m before the close at 2026-11-28T04:00:00Z, and takes 20m
        "#]],
        &story("27:40 create a-1 reboot until=27:50"),
    );
    let cutoff =
        |at: &str| story(&format!("00:00 window night {{\"cutoff\": \"1h\"}}\n {at} create a-1 until=27:00"));
    check(
        &cutoff("27:00"),
        &expect![[r#"
        ! 2026-11-28T03:00:00Z W2 StartedAfterCutoff a-1: Packages started at 2026-11-28T03:00:00Z; from 2026-11-28T03:00:00Z on nothing starts before the close at 2026-11-28T04:00:00Z
    "#]],
        &cutoff("26:59:59"),
    );
    // The estimate is capped at half the window's length.
    let short = |at: &str| {
        story(&format!("00:00 window night {{\"duration\": \"10m\"}}\n {at} create a-1 until=22:05"))
    };
    check(
        &short("22:05:01"),
        &expect![[r#"
        ! 2026-11-27T22:05:01Z W2 StartedTooLate a-1: Packages started at 2026-11-27T22:05:01Z, 4m 59s before the close at 2026-11-27T22:10:00Z, and takes 5m
    "#]],
        &short("22:05"),
    );
}

// rule: W1
#[test]
fn nothing_starts_in_a_freeze_or_too_shortly_before_it() {
    let freeze = |at: &str| {
        story(&format!(
            "00:00 freeze gala {{\"from\": \"2026-11-27T23:00:00Z\", \"to\": \"2026-11-28T01:00:00Z\"}}\n {at} create a-1"
        ))
    };
    check(
        &freeze("23:00"),
        &expect![[r#"
        ! 2026-11-27T23:00:00Z W1 StartedInFreeze a-1: Packages started at 2026-11-27T23:00:00Z, in the freeze from 2026-11-27T23:00:00Z to 2026-11-28T01:00:00Z [MaintenanceWindow/gala]
    "#]],
        &freeze("25:00"),
    );
    check(
        &freeze("22:51").replace("create a-1", "create a-1 until=23:00"),
        &expect![[r#"
        ! 2026-11-27T22:51:00Z W2 StartedTooLate a-1: Packages started at 2026-11-27T22:51:00Z, 9m before the close at 2026-11-27T23:00:00Z, and takes 10m
    "#]],
        &freeze("22:50").replace("create a-1", "create a-1 until=22:50"),
    );
}

// rule: W6
#[test]
fn a_reboot_waits_for_the_end_of_a_freeze_that_covers_it() {
    let covered = |words: &str| {
        story(&format!(
            "00:00 freeze gala {{\"from\": \"2026-11-27T23:00:00Z\", \"to\": \"2026-11-28T01:00:00Z\", \"covers\": [\"Reboot\"]}}
             22:55 create a-1 {words}"
        ))
    };
    check(
        &covered("reboot until=23:00"),
        &expect![[r#"
        ! 2026-11-27T22:55:00Z W2 StartedTooLate a-1: Reboot started at 2026-11-27T22:55:00Z, 5m before the close at 2026-11-27T23:00:00Z, and takes 20m
    "#]],
        &covered(""),
    );
    let begun =
        |at: &str| story(&format!("27:40 create a-1 until=27:50\n 27:41 deliver a-1\n {at} start a-1 0"));
    check(
        &begun("28:00:10"),
        &expect![[r#"
            ! 2026-11-28T04:00:10Z A4 StepAfterExpiry a-1: step 0 began at 2026-11-28T04:00:10Z: no step starts after 2026-11-28T03:50:00Z
            ! 2026-11-28T04:00:10Z W6 StepOutsideWindows a-1: step 0 began at 2026-11-28T04:00:10Z, when no window was open
        "#]],
        &begun("27:49"),
    );
}

// rule: W6
#[test]
fn a_reboot_has_a_fresh_word_about_what_was_declared_since() {
    let gala = "freeze gala {\"from\": \"2026-11-27T22:00:00Z\", \"to\": \"2026-11-28T01:00:00Z\"}";
    let begun = |frozen: &str| {
        let story = story(&format!(
            "22:00 create a-1 reboot\n 22:01 deliver a-1\n 22:02 start a-1 0\n 22:03 done a-1 0\n {frozen}\n 22:13 start a-1 1\n 22:13 acts a-1 1"
        ));
        judged_late(&story, 120)
    };
    expect![[r#"
        ! 2026-11-27T22:13:00Z W6 StepInFreeze a-1: step 1 began at 2026-11-27T22:13:00Z, in the freeze from 2026-11-27T22:00:00Z to 2026-11-28T01:00:00Z [MaintenanceWindow/gala]
    "#]]
    .assert_eq(&begun(&format!("22:10 {gala}")));
    // Its word may have been on its way just then; an agent that dies after it asks again. What is told again is nothing new.
    assert!(begun(&format!("22:12:50 {gala}")).contains("StepInFreeze"));
    assert_eq!(begun(&format!("22:12:56 {gala}")), "= nothing\n");
    assert!(begun(&format!("22:12 {gala}\n 22:12:56 {gala}")).contains("StepInFreeze"));
    // What it was asked for and did not get is no begin.
    assert_eq!(begun(&format!("22:10 {gala}")).lines().count(), 1);
}

// rule: A4, W6
#[test]
fn what_started_may_begin_until_the_close_and_no_later() {
    check(
        &story("27:30 create a-1 until=27:50:01"),
        &expect![[r#"
            ! 2026-11-28T03:30:00Z A4 ExpiryTooLate a-1: Packages may begin until 2026-11-28T03:50:01Z, and 2026-11-28T03:50:00Z is the last moment before the close at 2026-11-28T04:00:00Z
        "#]],
        &story("27:30 create a-1 until=27:50"),
    );
    let freeze = "00:00 freeze gala {\"from\": \"2026-11-27T23:00:00Z\", \"to\": \"2026-11-28T01:00:00Z\"}";
    let none = |until: &str| {
        format!("00:00 machine a\n 00:00 baseline fix\n {freeze}\n 22:30 create a-1 until={until}")
    };
    check(
        &none("22:50:01"),
        &expect![[r#"
            ! 2026-11-27T22:30:00Z A4 ExpiryTooLate a-1: Packages may begin until 2026-11-27T22:50:01Z, and 2026-11-27T22:50:00Z is the last moment before the close at 2026-11-27T23:00:00Z
        "#]],
        &none("22:50"),
    );
}

// rule: W4
#[test]
fn local_times_are_resolved_by_our_own_arithmetic() {
    let berlin = |at: &str| {
        story(&format!("00:00 window night {{\"timeZone\": \"Europe/Berlin\"}}\n {at} create a-1"))
    };
    check(
        &berlin("20:59:59"),
        &expect![[r#"
        ! 2026-11-27T20:59:59Z W1 StartedOutsideWindows a-1: Packages started at 2026-11-27T20:59:59Z, when none of night was open
    "#]],
        &berlin("21:00"),
    );
}

// rule: W7
#[test]
fn what_cannot_be_read_closes() {
    check(
        &story(
            "00:00 window other {\"unreadable\": \"no such zone\", \"schedule\": null, \"duration\": null}\n 22:00 create a-1",
        ),
        &expect![[r#"
            ! 2026-11-27T22:00:00Z W7 StartedUnderUnreadable a-1: Packages started at 2026-11-27T22:00:00Z under a window that cannot be read, which closes its machines [MaintenanceWindow/other]
        "#]],
        &story(
            "00:00 window other {\"selector\": {\"matchLabels\": {\"x\": \"y\"}}, \"unreadable\": \"no such zone\"}\n 22:00 create a-1",
        ),
    );
    check(
        &story("00:00 unreadable DisruptionBudget/x\n 22:00 create a-1"),
        &expect![[r#"
            ! 2026-11-27T22:00:00Z W7 StartedWhileUnreadable a-1: it cannot be read since 2026-11-27T00:00:00Z, which closes the namespace [DisruptionBudget/x]
        "#]],
        &story("00:00 unreadable DisruptionBudget/x\n 21:00 readable DisruptionBudget/x\n 22:00 create a-1"),
    );
}

// rule: W9
#[test]
fn an_override_passes_what_it_names_until_it_ends() {
    let freeze = |overridable: bool, rest: &str| {
        story(&format!(
            "00:00 freeze gala {{\"from\": \"2026-11-27T22:00:00Z\", \"to\": \"2026-11-28T05:00:00Z\", \"overridable\": {overridable}}}
             21:00 {rest}
             22:10 create a-1"
        ))
    };
    check(
        &freeze(false, "override urgent"),
        &expect![[r#"
        ! 2026-11-27T22:10:00Z W1 StartedInFreeze a-1: Packages started at 2026-11-27T22:10:00Z, in the freeze from 2026-11-27T22:00:00Z to 2026-11-28T05:00:00Z [MaintenanceWindow/gala]
    "#]],
        &freeze(true, "override urgent"),
    );
    for other in [
        "override urgent {\"items\": [{\"package\": \"nginx\"}]}",
        "override urgent {\"windows\": [\"night\"]}",
        "override urgent {\"until\": \"2026-11-27T22:00:00Z\"}",
        "override urgent {\"selector\": {\"matchLabels\": {\"x\": \"y\"}}}",
    ] {
        let said = judged(&freeze(true, other));
        assert!(said.contains("StartedInFreeze"), "{other}: {said}");
    }
    let short = judged(&freeze(true, "override urgent {\"until\": \"2026-11-27T22:15:00Z\"}"));
    assert!(
        short.contains("W2 StartedTooLate"),
        "the freeze is on again before the packages are in: {short}"
    );
    let reboot = |words: &str| {
        freeze(true, "override urgent {\"items\": [{\"reboot\": true}]}")
            .replace("create a-1", &format!("create a-1 {words}"))
    };
    assert!(judged(&reboot("reboot")).contains("Packages started"), "packages are not named");
    assert_eq!(judged(&reboot("only reboot")), "= nothing\n");
    check(
        &story("05:00 create a-1"),
        &expect![[r#"
            ! 2026-11-27T05:00:00Z W1 StartedOutsideWindows a-1: Packages started at 2026-11-27T05:00:00Z, when none of night was open
        "#]],
        &story("04:00 override urgent {\"windows\": [\"night\"]}\n 05:00 create a-1"),
    );
}

// rule: W9
#[test]
fn an_override_opens_a_window_where_windows_are_required() {
    let required =
        "00:00 policy {\"windows\": \"Required\"}\n 04:00 override urgent {\"windows\": [\"night\"]}\n";
    assert_eq!(judged(&story(&format!("{required} 05:00 create a-1"))), "= nothing\n");
    let elsewhere = required.replace("night", "day");
    assert!(judged(&story(&format!("{elsewhere} 05:00 create a-1"))).contains("StartedOutsideWindows"));
}

// rule: W9
#[test]
fn one_window_may_be_passed_by_several_overrides_together() {
    let two = |second: &str| {
        story(&format!(
            "04:00 override one {{\"windows\": [\"night\"]}}
             04:00 override other {{\"windows\": [\"night\"], \"items\": [{{\"package\": \"{second}\"}}]}}
             04:30 report a openssl=1 curl=1
             05:00 create a-1 openssl=1..2 curl=1..2"
        ))
    };
    check(
        &two("nginx"),
        &expect![[r#"
            ! 2026-11-27T05:00:00Z W1 StartedOutsideWindows a-1: Packages started at 2026-11-27T05:00:00Z, when none of night was open
        "#]],
        &two("curl"),
    );
}

// rule: W9
#[test]
fn a_kernel_that_makes_room_passes_with_the_one_that_comes() {
    let kernel = |coming: &str| {
        story(&format!(
            "04:00 override urgent {{\"windows\": [\"night\"], \"items\": [{{\"package\": \"{coming}\"}}]}}
             05:00 report a openssl=1 linux-image-6.2=1 selects
             05:00 create a-1 {coming}=..2 linux-image-6.2=1.."
        ))
    };
    assert!(judged(&kernel("nginx")).contains("StartedOutsideWindows"), "nobody asked for its removal");
    assert!(!judged(&kernel("linux-image-6.3")).contains("StartedOutsideWindows"));
}

// rule: W9, K2
#[test]
fn a_boot_is_one_thing_for_all_who_ask_for_it() {
    let boot = |baseline: &str| {
        let steps = [
            r#"{"action": {"SelectKernel": {"release": "6.3"}}, "baselines": [KERNEL], "timeout": "10m"}"#,
            r#"{"action": {"Reboot": {"kernel": "6.3"}}, "baselines": [FIX, KERNEL], "timeout": "10m"}"#,
            r#"{"action": {"SetDefaultKernel": {"release": "6.3"}}, "baselines": [KERNEL], "timeout": "10m"}"#,
        ];
        let steps = steps
            .join(", ")
            .replace("KERNEL", r#"{"kind": "KernelBaseline", "name": "k"}"#)
            .replace("FIX", r#"{"kind": "PackageBaseline", "name": "fix"}"#);
        story(&format!(
            "00:00 kernel-baseline k
             04:00 override urgent {{\"windows\": [\"night\"], \"items\": [{{\"baseline\": {{\"kind\": \"PackageBaseline\", \"name\": \"{baseline}\"}}, \"reboot\": true}}]}}
             05:00 create a-1 {{\"spec\": {{\"steps\": [{steps}]}}}}"
        ))
    };
    assert!(!judged(&boot("fix")).contains("StartedOutsideWindows"), "{}", judged(&boot("fix")));
    assert!(judged(&boot("another")).contains("Kernel started"), "{}", judged(&boot("another")));
}

// rule: W9
#[test]
fn a_kernel_that_is_named_for_any_baseline_that_its_boot_serves_passes_and_its_reboot_does_not() {
    let named = |baseline: &str, covers: &str| {
        let select = r#"{"action": {"SelectKernel": {"release": "6.2", "followed":
            {"package": {"name": "linux-image-amd64", "architecture": "amd64"}, "version": "2"}}},
            "baselines": [{"kind": "KernelBaseline", "name": "boot"}], "timeout": "10m"}"#;
        let reboot = r#"{"action": {"Reboot": {"kernel": "6.2"}}, "timeout": "30m", "baselines":
            [{"kind": "PackageBaseline", "name": "fix"}, {"kind": "KernelBaseline", "name": "boot"}]}"#;
        let item = format!(
            "{{\"package\": \"linux-image-amd64\", \"version\": \"2\", \"baseline\": {{\"kind\": \"PackageBaseline\", \"name\": \"{baseline}\"}}}}"
        );
        story(
            &format!(
                "00:00 kernel-baseline boot
             00:00 window night {{\"covers\": [\"{covers}\"]}}
             04:00 override urgent {{\"windows\": [\"night\"], \"items\": [{item}]}}
             05:00 create a-1 only {{\"spec\": {{\"steps\": [{select}, {reboot}]}}}}"
            )
            .replace("\n            \"baselines", " \"baselines")
            .replace("\n            {\"package", " {\"package")
            .replace("\n            [{", " [{"),
        )
    };
    let outside =
        |baseline, covers| judged(&named(baseline, covers)).contains(&format!("{covers} started at"));
    assert!(outside("other", "Kernel"), "{}", judged(&named("other", "Kernel")));
    assert!(!outside("fix", "Kernel"), "{}", judged(&named("fix", "Kernel")));
    assert!(outside("fix", "Reboot"), "a machine goes down only where that is named");
}

// rule: W9
#[test]
fn an_override_that_is_taken_back_lets_nothing_start_but_what_has_started_goes_on() {
    let taken = |rest: &str| story(&format!("04:00 override urgent {{\"windows\": [\"night\"]}}\n{rest}"));
    check(
        &taken("04:30 taken-back urgent\n 05:00 create a-1"),
        &expect![[r#"
            ! 2026-11-27T05:00:00Z W1 StartedOutsideWindows a-1: Packages started at 2026-11-27T05:00:00Z, when none of night was open
        "#]],
        &taken("05:00 create a-1\n 05:00 deliver a-1\n 05:01 taken-back urgent\n 05:02 start a-1 0"),
    );
    // Who has not seen yet that it was taken back may start something.
    let late = taken("04:59 taken-back urgent\n 05:00 create a-1");
    assert_eq!(judged_late(&late, 120), "= nothing\n");
}

// rule: G2
#[test]
fn nothing_starts_while_a_revision_is_applied() {
    check(
        &story("00:00 source git {\"applying\": true}\n 22:00 create a-1"),
        &expect![[r#"
            ! 2026-11-27T22:00:00Z G2 StartedWhileApplying a-1: the source has been applying another revision since 2026-11-27T00:00:00Z [GitSource/git]
        "#]],
        &story("00:00 source git {\"applying\": true}\n 01:00 source git\n 22:00 create a-1"),
    );
}
