//! How many machines may be disrupted at a time.

use expect_test::expect;

use crate::{check, check_over_time};

// rule: B1
#[test]
fn a_percentage_is_at_least_one_and_zero_is_said_as_such() {
    check(
        "baseline fix max 10%: openssl >= 3.0.15
         baseline none max 0 on role=b: curl
         budget all on role=c max 0%
         machine a1: openssl 3.0.14 -> 3.0.15
         machine a2: openssl 3.0.14 -> 3.0.15
         machine b role=b: openssl 3.0.14 -> 3.0.15; curl - -> 8
         machine c role=c: openssl 3.0.14 -> 3.0.15
         show baselines budgets",
        expect![[r#"
            + a1: starts a1-1: install openssl 3.0.14 > 3.0.15 for fix
            ~ a2: MaxUnavailable B2: PackageBaseline/fix: 1 of at most 1 unavailable
            ! b: BudgetIsZero B1: maxUnavailable of PackageBaseline/none allows no machine to be unavailable
            ! c: BudgetIsZero B1: budget all allows no machine to be unavailable
            # PackageBaseline/fix: selected 4 = converged 0 + not 4 + unknown 0 + absent 0; active 1, blocked 2, unavailable 1/1
            # PackageBaseline/none: selected 1 = converged 0 + not 1 + unknown 0 + absent 0; active 0, blocked 1, unavailable 0/0
            # budget all: 0/0 of 1, 0 in flight
        "#]],
    );
}

// rule: B1
#[test]
fn a_budget_may_say_how_many_must_be_there() {
    check(
        "baseline fix: openssl >= 3.0.15
         budget quorum min 67%
         machine a: openssl 3.0.14 -> 3.0.15
         machine b: openssl 3.0.14 -> 3.0.15
         machine c: openssl 3.0.14 -> 3.0.15
         machine d: openssl 3.0.14 -> 3.0.15
         show budgets",
        expect![[r#"
            ~ a: Budget B2: budget quorum: 1 of at most 1 unavailable
            ~ b: Budget B2: budget quorum: 1 of at most 1 unavailable
            ~ c: Budget B2: budget quorum: 1 of at most 1 unavailable
            + d: starts d-1: install openssl 3.0.14 > 3.0.15 for fix
            # budget quorum: 1/1 of 4, 1 in flight
        "#]],
    );
}

// rule: B2
#[test]
fn a_machine_counts_once_against_each_budget_while_anything_is_amiss() {
    check(
        "baseline fix max 1 ready 5m units web.service: openssl >= 3.0.15
         budget flying on n=1 max 1
         budget ready on n=2 max 1
         budget failed on n=3 max 1
         budget silent on n=4 max 1
         budget sick on n=5 max 1
         machine m1 n=1: openssl 3.0.14 -> 3.0.15
         machine m2 n=2 reported 1m: openssl 3.0.15
         machine m3 n=3 reported 5m: openssl 3.0.14 -> 3.0.15
         machine m4 n=4 silent 6m: openssl 3.0.15
         machine m5 n=5 failed-unit web.service: openssl 3.0.15
         machine m6: openssl 3.0.14 -> 3.0.15
         activity m1-1 Running 1m: install fix openssl 3.0.15
         activity m2-1 Succeeded 2m: install fix openssl 3.0.15
         activity m3-1 Failed(PackagesNotAsWanted) 10m: install fix openssl 3.0.15
         show budgets baselines next",
        expect![[r#"
            ~ m1: Running A2: m1-1 is Running
            = m2: converged
            ~ m3: MaxUnavailable B2: PackageBaseline/fix: 4 of at most 1 unavailable
            = m4: converged
            = m5: converged
            ~ m6: MaxUnavailable B2: PackageBaseline/fix: 4 of at most 1 unavailable
            # PackageBaseline/fix: selected 6 = converged 3 + not 3 + unknown 0 + absent 0; active 1, blocked 0, unavailable 4/1
            # budget failed: 1/1 of 1, 0 in flight
            # budget flying: 1/1 of 1, 1 in flight
            # budget ready: 1/1 of 1, 0 in flight
            # budget sick: 1/1 of 1, 0 in flight
            # budget silent: 1/1 of 1, 0 in flight
            # next 2026-11-23T12:03:00Z
        "#]],
    );
}

// rule: B2
#[test]
fn a_unit_that_failed_since_our_activity_counts_though_nobody_named_it() {
    check(
        "baseline fix: openssl >= 3.0.15
         budget since on n=1 max 1
         budget before on n=2 max 1
         budget refused on n=3 max 1
         budget older on n=4 max 1
         budget resolved on n=5 max 1
         budget untouched on n=6 max 1
         machine m1 n=1 failed-unit app.service: openssl 3.0.15
         machine m2 n=2 failed-unit app.service: openssl 3.0.15
         machine m3 n=3 failed-unit app.service: openssl 3.0.15
         machine m4 n=4 failed-unit app.service: openssl 3.0.15
         machine m5 n=5 failed-unit app.service resolved 1: openssl 3.0.15
         machine m6 n=6 failed-unit app.service: openssl 3.0.15
         activity m1-1 Succeeded 3h: install fix openssl 3.0.15
         activity m2-1 Succeeded 3h failed app.service: install fix openssl 3.0.15
         activity m3-1 Refused(Locked) 3h: install fix openssl 3.0.15
         activity m4-1 Succeeded 3h: install fix openssl 3.0.14
         activity m4-2 Expired(Undelivered) 2h: install fix openssl 3.0.15
         activity m5-1 Interrupted 3h: install fix openssl 3.0.15
         show budgets",
        expect![[r#"
            = m1: converged
            = m2: converged
            = m3: converged
            = m4: converged
            = m5: converged
            = m6: converged
            # budget before: 0/1 of 1, 0 in flight
            # budget older: 1/1 of 1, 0 in flight
            # budget refused: 0/1 of 1, 0 in flight
            # budget resolved: 0/1 of 1, 0 in flight
            # budget since: 1/1 of 1, 0 in flight
            # budget untouched: 0/1 of 1, 0 in flight
        "#]],
    );
}

// rule: B2
#[test]
fn what_is_under_way_for_a_baseline_counts_there_though_its_machine_has_left() {
    check(
        "baseline web on role=web max 1: openssl >= 3.0.15
         machine a role=db: openssl 3.0.14 -> 3.0.15
         machine b role=web: openssl 3.0.14 -> 3.0.15
         activity a-1 Running 1m: install web openssl 3.0.15",
        expect![[r#"
            . a: NotSelected S3: no baseline selects the machine
            ~ b: MaxUnavailable B2: PackageBaseline/web: 1 of at most 1 unavailable
        "#]],
    );
}

// rule: B2
#[test]
fn after_min_ready_the_place_is_free_again() {
    check(
        "baseline fix max 1 ready 5m: openssl >= 3.0.15
         machine a reported 1m: openssl 3.0.15
         machine b: openssl 3.0.14 -> 3.0.15
         activity a-1 Succeeded 5m: install fix openssl 3.0.15",
        expect![[r#"
            = a: converged
            + b: starts b-1: install openssl 3.0.14 > 3.0.15 for fix
        "#]],
    );
}

// rule: B2
#[test]
fn a_failure_holds_its_place_until_it_is_resolved_or_seen_to_be_reached() {
    check(
        "baseline fix max 1: openssl >= 3.0.15
         budget one on n=1 max 1
         budget two on n=2 max 1
         budget three on n=3 max 1
         machine a n=1 resolved 1 retried 1 reported 5m: openssl 3.0.15
         machine b n=2 reported 2m: openssl 3.0.15
         machine c n=3 reported 30s: openssl 3.0.15
         activity a-1 Failed(Unhealthy) 10m: install fix openssl 3.0.15
         activity b-1 Failed(TimedOut) 10m settle 1m: install fix openssl 3.0.15
         activity c-1 Failed(TimedOut) 10m settle 1m: install fix openssl 3.0.15
         show budgets next",
        expect![[r#"
            = a: converged
            = b: converged
            = c: converged
            # budget one: 0/1 of 1, 0 in flight
            # budget three: 1/1 of 1, 0 in flight
            # budget two: 0/1 of 1, 0 in flight
            # next 2026-11-23T12:00:30Z
        "#]],
    );
}

// rule: A4, B2
#[test]
fn a_machine_back_after_35_minutes_of_reboot_frees_its_place() {
    let world = |back: &str| {
        format!(
            "baseline fix reboot 30m: openssl >= 3.0.15
             budget one max 1
             machine a {back}: openssl 3.0.15
             machine b: openssl 3.0.14 -> 3.0.15
             activity a-1 Failed(Unreachable) 5m settle 1m completed 1: install fix openssl 3.0.15 | reboot fix
             show budgets"
        )
    };
    check_over_time(
        &[
            &world("silent 34m reboot-required 1h reported 34m"),
            // Its first report after the boot shows what was to be reached; then it settles.
            &world("reported 30s"),
            &world("reported 1m"),
        ],
        expect![[r#"
            @ 2026-11-23T12:00:00Z
            ~ a: Silent A4: the machine is silent since 2026-11-23T11:26:00Z
            ~ b: Budget B2: budget one: 1 of at most 1 unavailable
            # budget one: 1/1 of 2, 0 in flight
            @ 2026-11-23T12:00:00Z
            = a: converged
            ~ b: Budget B2: budget one: 1 of at most 1 unavailable
            # budget one: 1/1 of 2, 0 in flight
            @ 2026-11-23T12:00:00Z
            = a: converged
            + b: starts b-1: install openssl 3.0.14 > 3.0.15 for fix
            # budget one: 1/1 of 2, 1 in flight
        "#]],
    );
}

// rule: B3
#[test]
fn what_counts_already_takes_no_second_place_but_flights_stay_within_the_number() {
    check(
        "baseline fix units web.service: openssl >= 3.0.15
         budget one max 1
         machine a failed-unit web.service: openssl 3.0.14 -> 3.0.15
         machine b failed-unit web.service: openssl 3.0.14 -> 3.0.15
         machine c: openssl 3.0.14 -> 3.0.15
         show budgets",
        expect![[r#"
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 for fix
            ~ b: Budget B2: budget one: 2 of at most 1 unavailable
            ~ c: Budget B2: budget one: 2 of at most 1 unavailable
            # budget one: 2/1 of 3, 1 in flight
        "#]],
    );
}

// rule: B4
#[test]
fn a_silent_machine_that_we_did_not_touch_counts_only_where_absence_counts() {
    check(
        "baseline fix max 50%: openssl >= 3.0.15
         budget count on b=count max 1
         budget ignore on b=ignore max 1 ignore
         machine a b=count: openssl 3.0.14 -> 3.0.15
         machine b b=count silent 6m: openssl 3.0.15
         machine c b=ignore: openssl 3.0.14 -> 3.0.15
         machine d b=ignore silent 6m: openssl 3.0.15
         machine e b=count never
         show budgets baselines",
        expect![[r#"
            ~ a: Budget B2: budget count: 1 of at most 1 unavailable
            = b: converged
            + c: starts c-1: install openssl 3.0.14 > 3.0.15 for fix
            = d: converged
            ? e: NeverReported M1: the machine never reported
            # PackageBaseline/fix: selected 5 = converged 2 + not 2 + unknown 1 + absent 0; active 1, blocked 0, unavailable 1/1
            # budget count: 1/1 of 2, 0 in flight
            # budget ignore: 1/1 of 1, 1 in flight
        "#]],
    );
}

// rule: B4
#[test]
fn an_absent_machine_leaves_a_counting_budget_only_when_somebody_resolves_it() {
    check(
        "baseline fix: openssl >= 3.0.15
         budget one on n=1 max 1
         budget two on n=2 max 1
         machine a n=1: openssl 3.0.14 -> 3.0.15
         machine b n=1 silent 25h: openssl 3.0.15
         machine c n=2: openssl 3.0.14 -> 3.0.15
         machine d n=2 silent 25h absence-resolved 1h: openssl 3.0.15
         show budgets",
        expect![[r#"
            ~ a: Budget B2: budget one: 1 of at most 1 unavailable
            ? b: Absent B4: the machine is absent; last heard 2026-11-22T11:00:00Z
            + c: starts c-1: install openssl 3.0.14 > 3.0.15 for fix
            ? d: Absent B4: the machine is absent; last heard 2026-11-22T11:00:00Z
            # budget one: 1/1 of 2, 0 in flight
            # budget two: 1/1 of 1, 1 in flight
        "#]],
    );
}

// rule: B4, B2
#[test]
fn a_machine_that_fell_silent_under_our_hands_counts_everywhere() {
    check(
        "baseline fix max 1: openssl >= 3.0.15
         budget ignore max 1 ignore
         machine a silent 25h: openssl 3.0.14 -> 3.0.15
         machine b: openssl 3.0.14 -> 3.0.15
         activity a-1 Failed(Unreachable) 24h: install fix openssl 3.0.15
         show budgets",
        expect![[r#"
            ? a: Absent B4: the machine is absent; last heard 2026-11-22T11:00:00Z
            ~ b: Budget B2: budget ignore: 1 of at most 1 unavailable
            # budget ignore: 1/1 of 2, 0 in flight
        "#]],
    );
}

// rule: B2, B3
#[test]
fn a_machine_that_has_long_recovered_starts_nothing_beside_those_that_are_unavailable() {
    // b has had for hours what it failed; it has just reported anew, and that seems to settle once more.
    check(
        "baseline fix max 2: openssl >= 3.0.15
         baseline more max 2: curl >= 9
         budget all max 1
         machine a silent 6m: openssl 3.0.15; curl 9
         machine b reported 10s: openssl 3.0.15; curl 8 -> 9
         activity b-1 Failed(TimedOut) 3h settle 1m budgets all: install fix openssl 3.0.15",
        expect![[r#"
            = a: converged
            ~ b: Budget B2: budget all: 2 of at most 1 unavailable
        "#]],
    );
}

// rule: B5
#[test]
fn one_activity_carries_all_that_its_machine_may_have_now() {
    check(
        "baseline app: curl >= 9; telnet absent
         baseline fix reboot 30m: openssl >= 3.0.15 hold
         machine a reboot-required 1h: openssl 3.0.14 -> 3.0.15; curl 8 -> 9; telnet 1",
        expect![[r#"
            + a: starts a-1: install curl 8 > 9, openssl 3.0.14 > 3.0.15, telnet 1 > - for app+fix | hold +openssl for fix | reboot for fix
        "#]],
    );
}

// rule: B6
#[test]
fn an_activity_stays_charged_to_the_budget_that_it_was_made_under() {
    check(
        "baseline fix: openssl >= 3.0.15
         budget etcd on role=etcd max 1
         machine a: openssl 3.0.14 -> 3.0.15
         machine b role=etcd: openssl 3.0.14 -> 3.0.15
         activity a-1 Running 1m budgets etcd: install fix openssl 3.0.15
         show budgets details",
        expect![[r#"
            ~ a: Running A2: a-1 is Running
            ~ b: Budget B2: budget etcd: 1 of at most 1 unavailable
            # budget etcd: 1/1 of 1, 1 in flight
        "#]],
    );
}

// rule: O6
#[test]
fn which_machine_goes_first_is_not_a_matter_of_names() {
    check(
        "baseline fix max 2: openssl >= 3.0.15
         machine a: openssl 3.0.14 -> 3.0.15
         machine b: openssl 3.0.14 -> 3.0.15
         machine c: openssl 3.0.14 -> 3.0.15
         machine d: openssl 3.0.14 -> 3.0.15",
        expect![[r#"
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 for fix
            ~ b: MaxUnavailable B2: PackageBaseline/fix: 2 of at most 2 unavailable
            ~ c: MaxUnavailable B2: PackageBaseline/fix: 2 of at most 2 unavailable
            + d: starts d-1: install openssl 3.0.14 > 3.0.15 for fix
        "#]],
    );
}
