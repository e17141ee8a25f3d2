//! B5: whether an activity carries all that its machine may have now.

use expect_test::expect;

use crate::check;
use crate::story::{judged, judged_late};

const BOTH: &str = "{\"packages\": [{\"name\": \"openssl\", \"version\": \">= 2\"}, {\"name\": \"curl\", \"version\": \">= 2\"}]}";

/// A machine that lacks two things, of which the activity brings one, unless it is said otherwise.
fn story(more: &str) -> String {
    format!(
        "00:00 machine a\n 00:00 baseline fix {BOTH}\n 00:30 report a openssl=1 curl=1\n {more}\n 01:00 create a-1"
    )
}

// rule: B5
#[test]
fn an_activity_carries_all_that_its_machine_may_have() {
    check(
        &story(""),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z B5 LeftOut a-1: it leaves out curl:amd64 2, which the machine may have now [PackageBaseline/fix]
        "#]],
        &format!("{} openssl=1..2 curl=1..2", story("")),
    );
}

// rule: B5
#[test]
fn what_has_to_wait_is_left_out() {
    let waits = |more: &str| assert_eq!(judged(&story(more)), "= nothing\n", "{more}");
    waits("00:40 report a openssl=1 curl=2");
    waits("00:40 report a openssl=1 held=curl");
    // It may need what somebody holds.
    waits("00:40 report a openssl=1 curl=1 zlib=1 held=zlib");
    waits("00:40 approval no {\"action\": \"Pause\", \"item\": {\"package\": \"curl\"}}");
    waits(
        "00:40 baseline other {\"packages\": [{\"name\": \"curl\", \"version\": \"<< 2\"}], \"priority\": 5}",
    );
    waits(
        "00:40 machine b\n 00:40 report b openssl=1 curl=1\n 00:41 create b-1 openssl=1..2 curl=1..2\n 00:42 fail b-1",
    );
    let waves = BOTH.replacen(
        '{',
        "{\"rollout\": {\"maxUnavailable\": 1, \"maxFailures\": 0, \"zoneKey\": \"zone\"}, ",
        1,
    );
    waits(&format!("00:40 baseline fix {waves}"));
    // What nobody may have seen yet is nobody's fault.
    assert_eq!(judged_late(&story(""), 3600), "= nothing\n");
    assert!(judged_late(&story(""), 600).contains("B5"));
}
