//! B1 to B4, B6: who counts, against which number.

use expect_test::expect;

use crate::check;
use crate::story::{judged, judged_late};

const FOUR: &str = "
    00:00 machine a
    00:00 machine b
    00:00 machine c
    00:00 machine d
    00:00 baseline fix
    00:00 budget all
";

fn story(rest: &str) -> String {
    format!("{FOUR}{rest}")
}

// rule: B2
#[test]
fn one_at_a_time_means_one() {
    check(
        &story("01:00 create a-1 charged=all\n 01:00 create b-1 charged=all"),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z B2 BudgetExceeded b-1: one too many; 1 of 4 machines may be unavailable, and 1 are: a [DisruptionBudget/all]
        "#]],
        &story("01:00 create a-1 charged=all\n 01:01 succeed a-1\n 01:01 create b-1 charged=all"),
    );
}

// rule: B1
#[test]
fn shares_are_rounded_as_designed() {
    let budget = |number: &str| {
        story(&format!(
            "00:00 budget all {{\"maxUnavailable\": {number}}}\n 01:00 create a-1 charged=all\n 01:00 create b-1 charged=all"
        ))
    };
    check(
        &budget("\"49%\""),
        &expect![[r#"
        ! 2026-11-27T01:00:00Z B2 BudgetExceeded b-1: one too many; 1 of 4 machines may be unavailable, and 1 are: a [DisruptionBudget/all]
    "#]],
        &budget("\"50%\""),
    );
    check(
        &budget("0"),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z B1 StartedAtZero a-1: none may start; 0 of 4 machines may be unavailable, and 0 are: none [DisruptionBudget/all]
            ! 2026-11-27T01:00:00Z B1 StartedAtZero b-1: none may start; 0 of 4 machines may be unavailable, and 1 are: a [DisruptionBudget/all]
        "#]],
        &budget("2"),
    );
    let least = |number: &str| {
        story(&format!(
            "00:00 budget all {{\"maxUnavailable\": null, \"minAvailable\": {number}}}\n 01:00 create a-1 charged=all\n 01:00 create b-1 charged=all"
        ))
    };
    check(
        &least("\"51%\""),
        &expect![[r#"
        ! 2026-11-27T01:00:00Z B2 BudgetExceeded b-1: one too many; 1 of 4 machines may be unavailable, and 1 are: a [DisruptionBudget/all]
    "#]],
        &least("\"50%\""),
    );
}

// rule: B2
#[test]
fn a_baselines_own_number_counts_too() {
    let own = |number: u32| {
        story(&format!(
            "00:00 budget all {{\"maxUnavailable\": 4}}
             00:00 baseline fix {{\"rollout\": {{\"maxUnavailable\": {number}, \"maxFailures\": 0}}}}
             01:00 create a-1 charged=all
             01:00 create b-1 charged=all"
        ))
    };
    check(
        &own(1),
        &expect![[r#"
        ! 2026-11-27T01:00:00Z B2 BudgetExceeded b-1: one too many; 1 of 4 machines may be unavailable, and 1 are: a [PackageBaseline/fix]
    "#]],
        &own(2),
    );
}

// rule: B2
#[test]
fn a_machine_holds_its_place_for_min_ready() {
    let ready = |at: &str| {
        story(&format!(
            "00:00 baseline fix {{\"rollout\": {{\"maxUnavailable\": 4, \"maxFailures\": 0, \"minReady\": \"10m\"}}}}
             01:00 create a-1 charged=all
             01:01 succeed a-1
             {at} create b-1 charged=all"
        ))
    };
    check(
        &ready("01:10:59"),
        &expect![[r#"
        ! 2026-11-27T01:10:59Z B2 BudgetExceeded b-1: one too many; 1 of 4 machines may be unavailable, and 1 are: a [DisruptionBudget/all]
    "#]],
        &ready("01:11"),
    );
}

// rule: B2, B3
#[test]
fn an_edit_of_min_ready_makes_a_success_hold_its_place_again() {
    let again = |edited: &str| {
        let ready = |length: &str| {
            format!(
                "baseline fix {{\"rollout\": {{\"maxUnavailable\": 4, \"maxFailures\": 0, \"minReady\": \"{length}\"}}}}"
            )
        };
        judged_late(
            &story(&format!(
                "00:00 {}
                 01:00 create a-1 charged=all
                 01:01 succeed a-1
                 01:02 report a openssl=1 last=1
                 01:20 create c-1 charged=all
                 01:21 fail c-1
                 01:30 {}
                 01:31 create a-2 charged=all",
                ready("10m"),
                ready(edited)
            )),
            150,
        )
    };
    assert_eq!(again("1h"), "= nothing\n", "it takes no second place");
    assert!(again("10m").contains("BudgetExceeded a-2"), "{}", again("10m"));
}

// rule: B2
#[test]
fn a_failure_counts_until_it_is_resolved() {
    let failed = |then: &str| {
        story(&format!(
            "01:00 create a-1 charged=all
             01:01 fail a-1
             01:01 report a openssl=1 last=1
             {then}
             02:00 create b-1 charged=all"
        ))
    };
    check(
        &failed(""),
        &expect![[r#"
        ! 2026-11-27T02:00:00Z B2 BudgetExceeded b-1: one too many; 1 of 4 machines may be unavailable, and 1 are: a [DisruptionBudget/all]
    "#]],
        &failed("01:30 machine a again {\"resolvedThrough\": 1}"),
    );
    // A later report shows what it was to reach.
    assert_eq!(judged(&failed("01:30 report a openssl=2 last=1")), "= nothing\n");
}

// rule: B2
#[test]
fn a_later_report_that_says_the_same_makes_no_failure_count_again() {
    // b-1 is decided a moment before a's newest report, and created after it.
    let failed = |resolves: &str| {
        story(&format!(
            "01:00 create a-1 charged=all
             01:01 fail a-1
             {resolves}
             01:59:59 report a openssl=2 last=1
             02:00:01 create b-1 charged=all {{\"decided\": \"2026-11-27T01:59:58.000000Z\"}}"
        ))
    };
    assert_eq!(judged_late(&failed("01:30 report a openssl=2 last=1"), 30), "= nothing\n");
    assert!(judged_late(&failed("01:30 report a openssl=1 last=1"), 30).contains("BudgetExceeded b-1"));
}

// rule: B4
#[test]
fn a_machine_made_anew_is_seen_to_be_gone_for_a_moment() {
    let anew = |after: &str| {
        story(&format!(
            "01:00 create a-1 charged=all
             01:10:00 gone a
             01:10:00 machine a {{\"uid\": \"another\"}}
             {after} create b-1 charged=all"
        ))
    };
    assert_eq!(judged_late(&anew("01:10:20"), 30), "= nothing\n", "deletion frees the place at once");
    assert!(judged_late(&anew("01:10:31"), 30).contains("BudgetExceeded b-1"), "and a-1 is not over");
}

// rule: B2
#[test]
fn what_was_over_on_a_machine_made_anew_says_nothing_of_it() {
    let anew = |uid: &str| {
        story(&format!(
            "00:00 baseline fix {{\"rollout\": {{\"maxUnavailable\": 4, \"maxFailures\": 0, \"minReady\": \"1h\"}}}}
             01:00 create a-1 charged=all
             01:01 succeed a-1
             01:10 machine a {{\"uid\": \"{uid}\"}}
             01:20 create b-1 charged=all"
        ))
    };
    assert_eq!(judged(&anew("another")), "= nothing\n");
    assert!(judged(&anew("m-a")).contains("BudgetExceeded b-1"), "within minReady");
}

// rule: B2
#[test]
fn a_start_whose_creation_was_tried_again_is_judged_before_what_was_decided_after_it() {
    let again = |decided: &str| {
        story(&format!(
            "01:00:30 create b-1 charged=all
             01:01:00 create a-1 charged=all until=02:00 {{\"decided\": \"2026-11-27T{decided}.000000Z\"}}"
        ))
    };
    assert_eq!(judged(&again("01:00:10")), "= nothing\n");
    assert!(judged(&again("01:00:40")).contains("BudgetExceeded a-1"));
}

// rule: B2
#[test]
fn a_baselines_number_counts_what_serves_it_now_not_what_did() {
    let story = |role: &str| {
        format!(
            "00:00 machine a role=web
             00:00 machine b role=web
             00:00 baseline web {{\"selector\": {{\"matchLabels\": {{\"role\": \"web\"}}}}, \"rollout\": {{\"maxUnavailable\": 1, \"maxFailures\": 0, \"minReady\": \"1h\"}}}}
             00:00 baseline fix {{\"rollout\": {{\"maxUnavailable\": 2, \"maxFailures\": 0}}}}
             01:00 create a-1 for=web
             01:01 succeed a-1
             01:10 machine a role={role} again
             01:11 report a openssl=1
             01:12 create a-2
             01:20 create b-1 for=web"
        )
    };
    let told = judged(&story("db"));
    assert!(!told.contains("PackageBaseline/web"), "{told}");
    let told = judged(&story("web"));
    assert!(told.contains("BudgetExceeded b-1") && told.contains("PackageBaseline/web"), "{told}");
}

// rule: B2, K2
#[test]
fn a_failed_kernel_is_reached_when_it_is_the_default_not_when_it_runs_once() {
    let failed = |next: &str| {
        story(&format!(
            "00:30 report a selects kernel=6.1 next=6.1 openssl=1
             01:00 create a-1 only charged=all select=6.2 into=6.2 default=6.2
             01:01 fail a-1 BootFallback
             01:10 report a selects kernel=6.2 next={next} openssl=1 last=1
             01:30 create b-1 charged=all"
        ))
    };
    assert!(judged(&failed("6.1")).contains("BudgetExceeded b-1"));
    assert!(!judged(&failed("6.2")).contains("BudgetExceeded"));
}

// rule: B2, B4
#[test]
fn silence_counts_where_a_gateway_could_hear() {
    let silent = |budget: &str, then: &str| {
        story(&format!("00:00 budget all {budget}\n 01:00 silent a\n {then}\n 01:06 create b-1 charged=all"))
    };
    check(
        &silent("", ""),
        &expect![[r#"
        ! 2026-11-27T01:06:00Z B2 BudgetExceeded b-1: one too many; 1 of 4 machines may be unavailable, and 1 are: a [DisruptionBudget/all]
    "#]],
        &silent("{\"absent\": \"Ignore\"}", ""),
    );
    assert_eq!(judged(&silent("", "01:01 down\n 01:02 up")), "= nothing\n", "four minutes, not five");
    assert_eq!(judged(&silent("", "01:03 heard a")), "= nothing\n");
    assert_eq!(judged(&silent("", "01:03 gone a")), "= nothing\n", "deletion frees the place");
}

// rule: B2
#[test]
fn disruption_that_is_not_ours_counts() {
    let unhealthy = |units: &str| {
        story(&format!(
            "00:00 baseline fix {{\"units\": [\"nginx.service\"]}}
             01:00 report a openssl=1 failed={units}
             01:30 create b-1 charged=all"
        ))
    };
    check(
        &unhealthy("nginx.service"),
        &expect![[r#"
        ! 2026-11-27T01:30:00Z B2 BudgetExceeded b-1: one too many; 1 of 4 machines may be unavailable, and 1 are: a [DisruptionBudget/all]
    "#]],
        &unhealthy("other.service"),
    );
}

// rule: B2
#[test]
fn a_unit_that_fails_after_our_activity_counts_though_nobody_named_it() {
    let failing = |before: &str, between: &str| {
        story(&format!(
            "00:30 report a openssl=1 failed={before}
             01:00 create a-1 charged=all
             01:01 succeed a-1
             01:10 report a openssl=2 failed=old.service,new.service
             {between}
             01:30 create b-1 charged=all"
        ))
    };
    check(
        &failing("old.service", ""),
        &expect![[r#"
        ! 2026-11-27T01:30:00Z B2 BudgetExceeded b-1: one too many; 1 of 4 machines may be unavailable, and 1 are: a [DisruptionBudget/all]
    "#]],
        &failing("old.service,new.service", ""),
    );
    assert_eq!(judged(&failing("old.service", "01:20 machine a {\"resolvedThrough\": 1}")), "= nothing\n");
    assert_eq!(judged(&failing("old.service", "01:20 report a openssl=2")), "= nothing\n", "it runs again");
}

// rule: B3
#[test]
fn a_broken_machines_fix_takes_no_second_place_but_ours_in_flight_never_exceed_the_number() {
    let broken = "
        00:00 baseline fix {\"units\": [\"nginx.service\"]}
        01:00 report a openssl=1 failed=nginx.service
        01:00 report b openssl=1 failed=nginx.service
        01:00 report c openssl=1 failed=nginx.service
        02:00 create a-1 charged=all
    ";
    check(
        &story(&format!("{broken} 02:00 create b-1 charged=all")),
        &expect![[r#"
        ! 2026-11-27T02:00:00Z B3 TooManyInFlight b-1: 1 of ours are in flight already; 1 of 4 machines may be unavailable, and 2 are: a, c [DisruptionBudget/all]
    "#]],
        &story(broken),
    );
}

// rule: B3
#[test]
fn a_machine_that_has_just_become_unhealthy_may_be_seen_to_be_so() {
    // Another machine has the place; this one counts already, by its newest report.
    let broken = "
        00:00 baseline fix {\"units\": [\"nginx.service\"]}
        00:30 silent b
        01:00:00 report a openssl=1 failed=nginx.service
        01:00:01 create a-1 charged=all
    ";
    assert_eq!(judged_late(&story(broken), 30), "= nothing\n");
    let well = broken.replace(" failed=nginx.service", "");
    assert!(
        judged_late(&story(&well), 30).contains("BudgetExceeded a-1"),
        "{}",
        judged_late(&story(&well), 30)
    );
}

// rule: B6
#[test]
fn an_activity_is_charged_to_the_budgets_of_its_machine() {
    check(
        &story("01:00 create a-1"),
        &expect![[r#"
        ! 2026-11-27T01:00:00Z B6 NotCharged a-1: it selects the machine, and the activity is not charged to it [DisruptionBudget/all]
    "#]],
        &story("01:00 create a-1 charged=all"),
    );
    // And stays so when the budget selects it no more.
    let relabelled = |charged: &str| {
        story(&format!(
            "00:00 machine a again x=1
             00:00 budget all {{\"selector\": {{\"matchExpressions\": [{{\"key\": \"x\", \"operator\": \"In\", \"values\": [\"1\", \"2\"]}}]}}}}
             00:00 machine b again x=2
             01:00 create a-1 {charged}
             01:00 machine a again x=3
             01:01 create b-1 charged=all"
        ))
    };
    check(
        &relabelled("charged=all"),
        &expect![[r#"
            ! 2026-11-27T01:01:00Z B2 BudgetExceeded b-1: one too many; 1 of 1 machines may be unavailable, and 1 are: a [DisruptionBudget/all]
        "#]],
        &relabelled("charged=all").replace("01:00 create a-1 charged=all", ""),
    );
}

// rule: B2
#[test]
fn what_a_report_resolved_does_not_count_again_with_the_next_one() {
    let failed = |resolves: &str| {
        story(&format!(
            "01:00 create a-1 charged=all
             01:01 fail a-1
             01:02 report a {resolves} last=1
             02:00:00 report a {resolves} last=1 reboot
             02:00:00 create b-1 charged=all"
        ))
    };
    assert_eq!(judged_late(&failed("openssl=2"), 30), "= nothing\n");
    assert!(judged_late(&failed("openssl=1"), 30).contains("BudgetExceeded b-1"));
}

// rule: B3
#[test]
fn a_failure_that_was_resolved_a_moment_ago_may_be_seen_to_hold_its_place() {
    let again = |reported: &str| {
        story(&format!(
            "00:10 silent b
             01:00 create a-1 charged=all
             01:01 fail a-1
             01:05 create a-2 charged=all
             01:05 refuse a-2
             {reported} report a openssl=2 last=2
             02:00:01 create a-3 charged=all"
        ))
    };
    assert!(!judged_late(&again("02:00:00"), 30).contains("BudgetExceeded a-3"));
    assert!(judged_late(&again("01:30:00"), 30).contains("BudgetExceeded a-3"));
}

#[test]
fn who_could_not_know_yet_is_not_blamed() {
    let edited = story(
        "00:00 budget all {\"maxUnavailable\": 2}
         01:00 create a-1 charged=all
         01:00 budget all {\"maxUnavailable\": 1}
         01:00:20 create b-1 charged=all",
    );
    assert_ne!(judged(&edited), "= nothing\n");
    assert_eq!(judged_late(&edited, 30), "= nothing\n");
    assert_ne!(judged_late(&edited, 10), "= nothing\n");
    // But what was created counts at once.
    assert_ne!(
        judged_late(&story("01:00 create a-1 charged=all\n 01:00 create b-1 charged=all"), 30),
        "= nothing\n"
    );
}
