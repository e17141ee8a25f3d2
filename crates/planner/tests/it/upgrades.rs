//! Upgrades of what is installed: whose, which, and what stops them.

use expect_test::expect;

use crate::check;

// rule: S1, O1
#[test]
fn security_takes_what_a_security_pocket_offers_and_all_takes_what_apt_would() {
    check(
        "baseline all on role=lab upgrades All:
         baseline secure on role=web upgrades Security: nginx
         machine lab role=lab: curl 7 -> 8; nginx - -> 1.22; openssl 3.0.14 -> 3.0.16 3.0.15!; zlib 1 -> 1
         machine web role=web: curl 7 -> 8; nginx 1.22 -> 1.23!; openssl 3.0.14 -> 3.0.16 3.0.15!; zlib 1 -> 1
         show rollouts",
        expect![[r#"
            + lab: starts lab-1: install curl 7 > 8, openssl 3.0.14 > 3.0.16 for all
            + web: starts web-1: install nginx 1.22 > 1.23, openssl 3.0.14 > 3.0.15 for secure
            # rollout all curl=8: done 0/1, failed 0
            # rollout all openssl=3.0.16: done 0/1, failed 0
            # rollout secure nginx=1.23: done 0/1, failed 0
            # rollout secure openssl=3.0.15: done 0/1, failed 0
        "#]],
    );
}

// rule: S1
#[test]
fn the_highest_priority_that_has_a_say_decides_about_upgrades() {
    check(
        "baseline all on role=web upgrades All:
         baseline frozen priority 5 on freeze=yes upgrades None:
         baseline secure upgrades Security:
         baseline tools priority 9: git
         machine a role=web: git 1; openssl 3.0.14 -> 3.0.16 3.0.15!; zlib 1 -> 2
         machine b: git 1; openssl 3.0.14 -> 3.0.16 3.0.15!; zlib 1 -> 2
         machine c role=web freeze=yes: git 1; openssl 3.0.14 -> 3.0.16 3.0.15!; zlib 1 -> 2",
        expect![[r#"
            + a: starts a-1: install openssl 3.0.14 > 3.0.16, zlib 1 > 2 for all+secure
            + b: starts b-1: install openssl 3.0.14 > 3.0.15 for secure
            = c: converged
        "#]],
    );
}

// rule: S1, A7
#[test]
fn an_upgrade_stays_within_what_a_requirement_asks() {
    check(
        "baseline all upgrades All: apple << 3; berry = 1; cherry; date hold; elder absent; fig latest; grape >= 2
         machine a: apple 1 -> 3 2; berry 1 -> 2; cherry 1 -> 2; date 1 held -> 2; elder 1 -> 2; fig 1 -> 2
         | ; grape 1 -> 2; hazel 1 -> 2
         show wanted targets",
        expect![[r#"
            + a: starts a-1: install apple 1 > 2, cherry 1 > 2, elder 1 > -, fig 1 > 2, grape 1 > 2, hazel 1 > 2 for all
              + all apple:amd64 [1 → 2] Start a-1
              + all cherry:amd64 [1 → 2] Start a-1
              + all elder:amd64 [1 → absent] Start a-1
              + all fig:amd64 [1 → 2] Start a-1
              + all grape:amd64 [1 → 2] Start a-1
              + all hazel:amd64 [1 → 2] Start a-1
                wanted {"apple", "berry", "cherry", "date", "elder", "fig", "grape"}: apple=2, cherry=2, elder-, fig=2, grape=2, hazel=2
        "#]],
    );
}

// rule: A7, V6
#[test]
fn what_somebody_holds_is_skipped_and_said_so() {
    check(
        "baseline all upgrades All:
         baseline pinned: libssl3 = 1
         machine a: curl 7 held -> 8; libssl3 1 -> 2; openssl 1 -> 2; zlib 1 -> 2
         apt with openssl: libssl3 1 > 2",
        expect![[r#"
            + a: starts a-1: install zlib 1 > 2 for all
              + all zlib:amd64 [1 → 2] Start a-1
              ! all curl:amd64 [7 → = 8] Held V6: curl:amd64 is held on the machine, not by us
              ! all openssl:amd64 [1 → 2] Contradicts A7: the transaction would change libssl3:amd64, which PackageBaseline/pinned wants as it is
        "#]],
    );
}

// rule: A7
#[test]
fn one_upgrade_that_would_remove_something_holds_up_none_of_the_others() {
    check(
        "baseline all upgrades All:
         machine a: apple 1 -> 2; berry 1 -> 2; cherry 1 -> 2; date 1 -> 2; elder 1 -> 2
         apt with date: fig 1 > -
         show wanted",
        expect![[r#"
            + a: starts a-1: install apple 1 > 2, berry 1 > 2, cherry 1 > 2, elder 1 > 2 for all
              + all apple:amd64 [1 → 2] Start a-1
              + all berry:amd64 [1 → 2] Start a-1
              + all cherry:amd64 [1 → 2] Start a-1
              + all elder:amd64 [1 → 2] Start a-1
              ! all date:amd64 [1 → 2] RemovalNotAllowed A7: the transaction would remove fig:amd64
                wanted {}: apple=2, berry=2, cherry=2, elder=2
        "#]],
    );
}

// rule: V2
#[test]
fn a_phased_update_waits_for_the_machines_turn_as_apt_has_it() {
    check(
        "baseline all upgrades All: curl latest
         machine early draws curl/8=10,zlib/2=10: curl 7 -> 8%10; zlib 1 -> 2%10
         machine exempt draws zlib/2=90: curl 7 -> 7; zlib 1 -> 2%10 1.5!
         machine late draws curl/8=11,zlib/2=11: curl 7 -> 8%10; zlib 1 -> 2%10
         machine new draws curl/8=90: curl - -> 8%10; zlib 2 -> 2%10
         machine undrawn: curl 7 -> 8%99; zlib 1 -> 2%99",
        expect![[r#"
            + early: starts early-1: install curl 7 > 8, zlib 1 > 2 for all
            + exempt: starts exempt-1: install zlib 1 > 2 for all
            = late: converged
            + new: starts new-1: install curl - > 8 for all
            = undrawn: converged
        "#]],
    );
}

// rule: V2
#[test]
fn a_version_asked_for_by_relation_is_not_phased() {
    check(
        "baseline fix: curl >= 8
         machine a draws curl/8=90: curl 7 -> 8%10",
        expect![[r#"
            + a: starts a-1: install curl 7 > 8 for fix
        "#]],
    );
}

// rule: K2
#[test]
fn an_upgrade_that_brings_a_kernel_waits_for_an_agent_that_can_try_it() {
    check(
        "baseline all upgrades All:
         machine a: curl 7 -> 8; linux-image-amd64 6.1.170 -> 6.1.176; openssl 1 -> 2; zlib 1 -> 2
         apt with linux-image-amd64: linux-image-6.1.0-50-amd64 - > 6.1.176",
        expect![[r#"
            + a: starts a-1: install curl 7 > 8, openssl 1 > 2, zlib 1 > 2 for all
              + all curl:amd64 [7 → 8] Start a-1
              + all openssl:amd64 [1 → 2] Start a-1
              + all zlib:amd64 [1 → 2] Start a-1
              ! all linux-image-amd64:amd64 [6.1.170 → 6.1.176] NotCapable M5: the machine's agent cannot do this: KernelSelection
        "#]],
    );
}

// rule: O1, O3
#[test]
fn an_upgrade_is_one_item_that_is_barred_when_it_fails() {
    check(
        "baseline secure fail 0 upgrades Security:
         machine a: openssl 1 -> 2!; zlib 1 -> 2!
         machine b: openssl 2 -> 2!; zlib 1 -> 2!
         activity b-1 Failed(Unhealthy) 30m ago: install secure zlib 2
         show rollouts",
        expect![[r#"
            + a: starts a-1: install openssl 1 > 2 for secure
              + secure openssl:amd64 [1 → 2] Start a-1
              ! secure zlib:amd64 [1 → 2] Barred O3: 1 machine(s) failed it, at most 0 may in PackageBaseline/secure
            ! b: Barred O3: 1 machine(s) failed it, at most 0 may in PackageBaseline/secure
            # rollout secure openssl=2: done 1/2, failed 0
            # rollout secure zlib=2: done 0/2, failed 1, barred since 2026-11-23T12:00:00Z
        "#]],
    );
}

// rule: S1
#[test]
fn a_baseline_that_observes_reports_upgrades_and_starts_none() {
    check(
        "baseline all observe upgrades All:
         machine a: curl 7 -> 8; openssl 1 -> 2!
         show targets",
        expect![[r#"
            ! a: ObserveOnly S4: the baseline observes only
              ! all curl:amd64 [7 → 8] ObserveOnly S4: the baseline observes only
              ! all openssl:amd64 [1 → 2] ObserveOnly S4: the baseline observes only
        "#]],
    );
}

// rule: A9
#[test]
fn an_upgrade_that_is_no_longer_on_offer_is_not_begun() {
    check(
        "baseline all upgrades All:
         machine a: curl 7 -> 8.1 8
         machine b: curl 7 -> 8
         activity a-1 Pending 1m ago: install all curl 8
         activity b-1 Pending 1m ago: install all curl 8",
        expect![[r#"
            ~ a: Pending A2: a-1 is Pending
            ~ b: Pending A2: b-1 is Pending
            x a-1: Contradicted
        "#]],
    );
}
