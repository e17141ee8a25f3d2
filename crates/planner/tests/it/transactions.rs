//! What one apt transaction may do, whom it serves, and what it must leave alone.

use expect_test::expect;

use crate::check;

// rule: A7
#[test]
fn a_transaction_shows_what_comes_along() {
    check(
        "baseline fix: openssl >= 3.0.15
         machine a: openssl 3.0.14 -> 3.0.15; libssl3 3.0.14
         apt with openssl: libssl3 3.0.14 > 3.0.15
         show wanted",
        expect![[r#"
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 with libssl3 3.0.14 > 3.0.15 for fix
                wanted {"openssl"}: openssl=3.0.15
        "#]],
    );
}

// rule: A7
#[test]
fn nothing_starts_before_apt_has_said_what_it_would_do() {
    check(
        "baseline fix: openssl >= 3.0.15
         machine a: openssl 3.0.14 -> 3.0.15
         apt silent",
        expect![[r#"
            ~ a: Proposal A7: the machine's apt simulates the change
        "#]],
    );
}

// rule: A7
#[test]
fn a_removal_that_comes_along_needs_leave_and_holds_up_nothing_else() {
    check(
        "baseline fix: openssl >= 3.0.15; curl >= 9
         machine a: openssl 3.0.14 -> 3.0.15; curl 8 -> 9; exim 4
         apt with openssl: exim 4 > -",
        expect![[r#"
            + a: starts a-1: install curl 8 > 9 for fix
              + fix curl:amd64 [8 → 9] Start a-1
              ! fix openssl:amd64 [3.0.14 → 3.0.15] RemovalNotAllowed A7: the transaction would remove exim:amd64
        "#]],
    );
}

// rule: A7
#[test]
fn a_removal_that_comes_along_is_fine_where_all_baselines_allow_it() {
    check(
        "baseline fix removals: openssl >= 3.0.15
         machine a: openssl 3.0.14 -> 3.0.15; exim 4
         apt with openssl: exim 4 > -",
        expect![[r#"
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 with exim 4 > - for fix
        "#]],
    );
}

// rule: A7
#[test]
fn a_transaction_that_breaks_another_requirement_contradicts_it() {
    check(
        "baseline fix: nginx >= 2
         baseline pin: libssl3 = 3.0.14
         machine a: nginx 1 -> 2; libssl3 3.0.14 -> 3.0.15 3.0.14
         apt with nginx: libssl3 3.0.14 > 3.0.15",
        expect![[r#"
            ! a: Contradicts A7: the transaction would change libssl3:amd64, which PackageBaseline/pin wants as it is
        "#]],
    );
}

// rule: A7, V6
#[test]
fn a_transaction_that_changes_a_held_package_is_refused() {
    check(
        "baseline fix: nginx >= 2
         machine a: nginx 1 -> 2; libssl3 3.0.14 held
         machine b: nginx 1 -> 2; libssl3 3.0.14
         apt with nginx: libssl3 3.0.14 > 3.0.15",
        expect![[r#"
            ! a: Held V6: libssl3:amd64 is held on the machine, not by us
            + b: starts b-1: install nginx 1 > 2 with libssl3 3.0.14 > 3.0.15 for fix
        "#]],
    );
}

// rule: A7
#[test]
fn what_apt_refuses_is_said_in_its_words_and_holds_up_nothing_else() {
    check(
        "baseline fix: nginx >= 2; curl >= 9; zlib >= 2
         machine a: nginx 1 -> 2; curl 8 -> 9; zlib 1 -> 2
         apt refuses nginx: unmet dependencies",
        expect![[r#"
            + a: starts a-1: install curl 8 > 9, zlib 1 > 2 for fix
              + fix curl:amd64 [8 → 9] Start a-1
              + fix zlib:amd64 [1 → 2] Start a-1
              ! fix nginx:amd64 [1 → 2] SimulationRefused A7: apt refuses: unmet dependencies
        "#]],
    );
}

// rule: A7
#[test]
fn an_interrupted_dpkg_is_repaired_alone_and_first() {
    check(
        "baseline fix reboot 30m: openssl >= 3.0.15
         machine a interrupted reboot-required 2h: openssl 3.0.14 -> 3.0.15
         machine b: openssl 3.0.15 broken -> 3.0.15
         machine c interrupted: openssl 3.0.15 -> 3.0.15",
        expect![[r#"
            + a: starts a-1: repair for fix
              + fix openssl:amd64 [3.0.14 → 3.0.15] Start a-1
              ~ fix reboot [required → rebooted] OtherActivity A1: a-1 is first
            + b: starts b-1: repair for fix
            = c: converged
        "#]],
    );
}

// rule: A8, S1
#[test]
fn one_step_serves_several_baselines_with_the_strictest_settings() {
    check(
        "baseline app conffiles Replace units app.service settle 2m: openssl >= 3.0.15
         baseline web conffiles Fail units web.service settle 1m: curl >= 9
         machine a: openssl 3.0.14 -> 3.0.15; curl 8 -> 9
         show details",
        expect![[r#"
            + a: starts a-1: install curl 8 > 9, openssl 3.0.14 > 3.0.15 (Fail conffiles) for app+web
                expires 2026-11-23T13:00:00Z, budgets {}, windows {}
                health {"app.service", "web.service"} for 120s
        "#]],
    );
}

// rule: A8
#[test]
fn downgrades_go_apart_from_baselines_that_refuse_them() {
    check(
        "baseline back downgrades: curl << 8
         baseline fix: openssl >= 3.0.15
         machine a: openssl 3.0.14 -> 3.0.15; curl 8 -> 8 7",
        expect![[r#"
            + a: starts a-1: install curl 8 > 7 for back
              + back curl:amd64 [8 → 7] Start a-1
              ~ fix openssl:amd64 [3.0.14 → 3.0.15] OtherActivity A1: a-1 is first
        "#]],
    );
}

// rule: S2, A7
#[test]
fn a_package_in_conflict_is_not_changed_in_passing_either() {
    check(
        "baseline left: libssl3 = 1; openssl >= 3
         baseline right: libssl3 = 2
         machine a: openssl 2 -> 3; libssl3 1 -> 2
         apt with openssl: libssl3 1 > 2",
        expect![[r#"
            ! a: Conflicted S2: PackageBaseline/left, PackageBaseline/right contradict each other about libssl3:amd64
        "#]],
    );
}

// rule: A8, B1
#[test]
fn what_comes_after_a_start_waits_for_what_that_waits_for() {
    check(
        "baseline back downgrades: curl << 8
         baseline fix max 0: openssl >= 3.0.15
         machine a: openssl 3.0.14 -> 3.0.15; curl 8 -> 8 7",
        expect![[r#"
            ! a: BudgetIsZero B1: maxUnavailable of PackageBaseline/fix allows no machine to be unavailable
        "#]],
    );
}
