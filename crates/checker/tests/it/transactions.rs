//! A7, V4, V5, V6: what a transaction may do, and from which report it is built.

use expect_test::expect;

use crate::check;

const ONE: &str = "
    00:00 machine a
    00:00 baseline fix
";

fn story(rest: &str) -> String {
    format!("{ONE}{rest}")
}

// rule: V5
#[test]
fn nothing_goes_down_unless_every_baseline_allows_it() {
    let down = |permit: &str| {
        story(&format!(
            "00:10 baseline fix {{\"downgrades\": \"{permit}\", \"packages\": [{{\"name\": \"openssl\", \"version\": \"= 2\"}}]}}
             00:10 report a openssl=3
             01:00 create a-1 openssl=3..2"
        ))
    };
    check(
        &down("Refuse"),
        &expect![[r#"
        ! 2026-11-27T01:00:00Z V5 DowngradeNotAllowed a-1: openssl:amd64 goes down, and downgrades are refused [PackageBaseline/fix]
    "#]],
        &down("Allow"),
    );
}

// rule: A7
#[test]
fn nothing_is_removed_along_the_way_unless_allowed() {
    let removal = |permit: &str| {
        let step = r#"{"action": {"InstallPackages": {"requested": [{"name": "openssl", "architecture": "amd64", "from": "1", "to": "2"}], "dependencies": [{"name": "telnet", "architecture": "amd64", "from": "1"}]}}, "baselines": [{"kind": "PackageBaseline", "name": "fix"}], "timeout": "1h"}"#;
        story(&format!(
            "00:10 baseline fix {{\"removals\": \"{permit}\"}}\n 01:00 create a-1 {{\"spec\": {{\"steps\": [{step}]}}}}"
        ))
    };
    check(
        &removal("Refuse"),
        &expect![[r#"
        ! 2026-11-27T01:00:00Z A7 RemovalNotAllowed a-1: telnet:amd64 is removed, and removals are refused [PackageBaseline/fix]
    "#]],
        &removal("Allow"),
    );
}

// rule: A7
#[test]
fn a_transaction_starts_from_what_was_reported() {
    check(
        &story("00:10 report a openssl=1.5\n 01:00 create a-1"),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z A7 BuiltFromStale a-1: openssl:amd64 goes from 1, and 1.5 was reported
        "#]],
        &story("00:10 report a openssl=1.5\n 01:00 create a-1 openssl=1.5..2"),
    );
}

// rule: V4
#[test]
fn what_an_activity_left_behind_is_reported_before_the_next() {
    check(
        &story("01:00 create a-1\n 01:01 fail a-1\n 02:00 create a-2"),
        &expect![[r#"
            ! 2026-11-27T02:00:00Z V4 StartedUnreported a-2: a-1 is Failed since 2026-11-27T01:01:00Z, and the last report is from 2026-11-27T00:00:00Z: what it left behind is to be reported first
        "#]],
        &story("01:00 create a-1\n 01:01 fail a-1\n 01:02 report a openssl=1 last=1\n 02:00 create a-2"),
    );
}

// rule: V6
#[test]
fn a_hold_of_others_is_left_alone() {
    check(
        &story("00:10 report a held=openssl\n 01:00 create a-1"),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z V6 HeldByOthers a-1: openssl:amd64 is on hold, and the hold is none of ours
        "#]],
        &story(
            "00:10 report a held=openssl\n 00:10 machine a again {\"holds\": [{\"name\": \"openssl\", \"architecture\": \"amd64\"}]}\n 01:00 create a-1",
        ),
    );
}
