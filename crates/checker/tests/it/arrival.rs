//! Liveness: who has not arrived though nothing stood in the way; and how often rules were binding.

use expect_test::expect;
use jiff::SignedDuration;
use muster_checker::Checker;

use crate::story::log;

fn arrived(story: &str, hours: i64) -> String {
    let mut checker = Checker::default();
    log(story).iter().for_each(|event| checker.feed(event));
    let found = checker.arrived(SignedDuration::from_hours(hours));
    let lines: Vec<String> = found.iter().map(|found| format!("{found}\n")).collect();
    if lines.is_empty() { "= all there\n".to_owned() } else { lines.concat() }
}

const QUIET: &str = "
    00:00 lead x 1
    00:00 machine a
    00:00 baseline fix
    01:00 calm
";

#[test]
fn a_machine_that_nothing_holds_back_arrives() {
    expect![[r#"
        ! 2026-11-28T16:00:00Z P2 NeverArrived a: it lacks openssl:amd64 2, though windows were open for 24h and more since 2026-11-27T01:00:00Z [PackageBaseline/fix]
    "#]].assert_eq(&arrived(&format!("{QUIET} 40:00 remark"), 24));
    assert_eq!(arrived(&format!("{QUIET} 02:00 report a openssl=2\n 40:00 remark"), 24), "= all there\n");
    // Nobody to blame: no time enough, blocked, silent, or no window was open.
    for held in ["20:00 remark", "02:00 decided a Blocked V3\n 40:00 remark", "02:00 silent a\n 40:00 remark"]
    {
        assert_eq!(arrived(&format!("{QUIET} {held}"), 24), "= all there\n", "{held}");
    }
    let nightly = format!("{QUIET} 01:00 window night {{\"schedule\": \"0 22 * * SUN\"}}\n 40:00 remark");
    assert_eq!(arrived(&nightly, 4), "= all there\n");
}

// rule: O7
#[test]
fn who_waits_for_approval_has_arrived_and_who_has_it_has_not() {
    let asks = |rest: &str| {
        let wave = r#"{"rollout": {"maxUnavailable": 1, "maxFailures": 0, "waves": [{"name": "all", "machines": "100%", "approvalRequired": true}]}}"#;
        format!("{QUIET} 01:00 baseline fix {wave}\n {rest} 40:00 remark")
    };
    assert_eq!(arrived(&asks(""), 24), "= all there\n");
    assert!(arrived(&asks("02:00 approval yes\n"), 24).contains("NeverArrived"));
    let paused = "02:00 approval yes\n 03:00 approval no {\"action\": \"Pause\"}\n";
    assert_eq!(arrived(&asks(paused), 24), "= all there\n");
}

#[test]
fn an_activity_ends() {
    let running = format!("{QUIET} 02:00 create a-1 epoch=1\n 02:01 deliver a-1\n 02:01 start a-1 0\n");
    expect![[r#"
        ! 2026-11-27T05:00:00Z A4 NeverEnded a-1: it is Running still, and was due by 2026-11-27T03:16:00Z
    "#]]
    .assert_eq(&arrived(&format!("{running} 05:00 remark"), 24));
    assert_eq!(arrived(&format!("{running} 02:30 remark"), 24), "= all there\n");
}

#[test]
fn without_calm_nothing_is_said() {
    assert_eq!(arrived(&QUIET.replace("01:00 calm", "40:00 remark"), 1), "= all there\n");
}

#[test]
fn what_held_machines_back_is_counted_when_it_changes() {
    let mut checker = Checker::default();
    let story = "
        00:00 machine a
        00:00 baseline fix
        00:01 decided a Waiting W1 WindowClosed
        00:02 decided a Waiting W1 WindowClosed
        00:03 decided a Waiting B2 Budget
        00:04 decided a Waiting W1 WindowClosed
        01:00 create a-1
        01:01 refuse a-1
        01:03 create a-2
        01:03 succeed a-2
        02:00 delete a-1
    ";
    log(story).iter().for_each(|event| checker.feed(event));
    let counts = checker.counts();
    let binding: Vec<String> = counts.binding.iter().map(|(rule, count)| format!("{rule} {count}")).collect();
    expect!["A1 1, A10 1, A2 1, B2 1, W1 2"].assert_eq(&binding.join(", "));
    assert_eq!(counts.starts, 2);
}
