//! M1, M4, M5, A4, S1 to S3: on whom anything may start, and for whom.

use expect_test::expect;

use crate::check;

const ONE: &str = "
    00:00 machine a
    00:00 baseline fix
";

fn story(rest: &str) -> String {
    format!("{ONE}{rest}")
}

// rule: M5
#[test]
fn nothing_starts_on_a_machine_that_is_not_ours_to_change() {
    check(
        &story("00:10 machine a pending again\n 01:00 create a-1"),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z M5 StartedNotAdmitted a-1: the machine is not admitted
        "#]],
        &story("00:10 machine a pending again\n 00:20 machine a again\n 01:00 create a-1"),
    );
    check(
        &story("00:10 machine a again {\"revoked\": true}\n 01:00 create a-1"),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z M5 StartedRevoked a-1: the machine is revoked
        "#]],
        &story("01:00 create a-1"),
    );
    check(
        &story("00:10 machine a again {\"suspend\": true}\n 01:00 create a-1"),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z M5 StartedSuspended a-1: the machine's own spec suspends it
        "#]],
        &story("01:00 create a-1"),
    );
    check(
        &story("00:10 policy {\"suspend\": true}\n 01:00 create a-1"),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z A3 StartedSuspended a-1: the FleetPolicy suspends all starts
        "#]],
        &story("01:00 create a-1"),
    );
    check(
        &story("00:10 gone a\n 01:00 create a-1"),
        &expect![[r#"
        ! 2026-11-27T01:00:00Z M5 StartedOnNoMachine a-1: there is no such FleetMachine
    "#]],
        &story("01:00 create a-1"),
    );
    check(
        &story(
            "00:10 report a openssl=1 {\"capabilities\": [\"ExactSimulation\", \"Packages\"]}\n 01:00 create a-1 reboot",
        ),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z M5 StartedNotCapable a-1: Reboot needs Reboot, which the machine lacks
        "#]],
        &story(
            "00:10 report a openssl=1 {\"capabilities\": [\"ExactSimulation\", \"Packages\"]}\n 01:00 create a-1",
        ),
    );
}

// rule: A4, M1
#[test]
fn nothing_starts_where_nobody_is_heard() {
    check(
        &story("00:59 silent a\n 01:00 create a-1"),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z A4 StartedOnSilent a-1: the machine was last heard at 2026-11-27T00:59:00Z
        "#]],
        &story("00:58 silent a\n 00:59 heard a\n 01:00 create a-1"),
    );
}

// rule: M4
#[test]
fn an_older_report_is_ignored() {
    check(
        &story("00:10 report a openssl=1 {\"sequence\": 9}\n 00:11 report a openssl=1 {\"sequence\": 8}"),
        &expect![[r#"
            ! 2026-11-27T00:11:00Z M4 ReportWentBack a: session 1 number 8 came after 1 number 9
        "#]],
        &story(
            "00:10 report a openssl=1 {\"sequence\": 9}\n 00:11 report a openssl=1 {\"session\": 2, \"sequence\": 1}",
        ),
    );
}

// rule: S3
#[test]
fn what_no_baseline_asks_for_is_not_done() {
    check(
        &story(
            "00:10 baseline fix {\"selector\": {\"matchLabels\": {\"role\": \"web\"}}}\n 01:00 create a-1",
        ),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z S3 ServesUnselected a-1: it does not select the machine [PackageBaseline/fix]
        "#]],
        &story(
            "00:10 machine a role=web\n 00:10 baseline fix {\"selector\": {\"matchLabels\": {\"role\": \"web\"}}}\n 01:00 create a-1",
        ),
    );
    check(
        &story("00:10 baseline fix {\"mode\": \"Observe\"}\n 01:00 create a-1"),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z S1 StartedObserving a-1: it observes only, and emits nothing [PackageBaseline/fix]
        "#]],
        &story("01:00 create a-1"),
    );
    check(
        &story("01:00 create a-1 openssl=1..1.5"),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z S1 NotAsked a-1: openssl:amd64 goes to 1.5, and what is asked, by priority 0, is Present ">= 2" [PackageBaseline/fix]
        "#]],
        &story("01:00 create a-1 openssl=1..2.5"),
    );
}

// rule: S1, S2
#[test]
fn the_highest_priority_decides_and_equals_must_agree() {
    let other = |priority: i32, version: &str| {
        story(&format!(
            "00:10 baseline other {{\"priority\": {priority}, \"packages\": [{{\"name\": \"openssl\", \"version\": \"{version}\"}}]}}
             01:00 create a-1"
        ))
    };
    check(
        &other(0, "<< 2"),
        &expect![[r#"
        ! 2026-11-27T01:00:00Z S2 NotAsked a-1: openssl:amd64 goes to 2, and what is asked, by priority 0, is Present "<< 2" [PackageBaseline/other]
    "#]],
        &other(-1, "<< 2"),
    );
    check(
        &other(1, "<< 2"),
        &expect![[r#"
        ! 2026-11-27T01:00:00Z S2 NotAsked a-1: openssl:amd64 goes to 2, and what is asked, by priority 1, is Present "<< 2" [PackageBaseline/other]
    "#]],
        &other(1, "<< 3"),
    );
}

// rule: S1, S3
#[test]
fn a_label_that_was_not_seen_yet_leaves_open_who_decides() {
    let started = |label: &str| {
        let story = story(&format!(
            "00:10 baseline other {{\"priority\": 1, \"selector\": {{\"matchLabels\": {{\"role\": \"web\"}}}}, \"packages\": [{{\"name\": \"openssl\", \"version\": \"<< 2\"}}]}}
             {label}
             01:00 create a-1 openssl=1..1.5"
        ));
        crate::story::judged_late(&story, 120)
    };
    assert_eq!(started("00:59 machine a role=web again"), "= nothing\n");
    assert_eq!(started("00:30 machine a role=web again"), "= nothing\n");
    assert!(started("00:59 machine a role=db again").contains("NotAsked a-1"));
}

// rule: M1
#[test]
fn who_reported_a_moment_ago_is_heard_though_its_gateway_has_not_said_so() {
    let started = |at: &str| {
        let story =
            format!("00:00 baseline fix\n00:10 machine z again\n00:20 report z openssl=1\n{at} create z-1");
        crate::story::judged_late(&story, 120)
    };
    assert!(!started("00:21").contains("StartedOnUnheard"), "{}", started("00:21"));
    assert!(started("00:23").contains("StartedOnUnheard"), "{}", started("00:23"));
}
