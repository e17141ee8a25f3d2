//! What is wanted of packages, kernels and reboots, and what it comes to.

use expect_test::expect;

use crate::check;

// rule: V1, V2
#[test]
fn what_is_installed_and_satisfies_is_left_alone() {
    check(
        "baseline fix: openssl >= 3.0.9
         machine a: openssl 3.0.10 -> 3.0.15
         show next",
        expect![[r#"
            = a: converged
            # next -
        "#]],
    );
}

// rule: V2
#[test]
fn the_target_is_apts_choice_then_the_highest_with_a_good_pin() {
    check(
        "baseline fix: apple << 3; berry >= 2; cherry = 9; date >= 9; elder latest; fig
         machine a: apple 4 -> 4 2.5 2; berry 1 -> 2; cherry 1 -> 1 9@100; date 1 -> 1 9@100; elder 1 -> 2; fig - -> 7
         show targets wanted",
        expect![[r#"
            + a: starts a-1: install berry 1 > 2, cherry 1 > 9, elder 1 > 2, fig - > 7 for fix
              + fix berry:amd64 [1 → 2] Start a-1
              + fix cherry:amd64 [1 → 9] Start a-1
              + fix elder:amd64 [1 → 2] Start a-1
              + fix fig:amd64 [- → 7] Start a-1
              ! fix apple:amd64 [4 → << 3] DowngradeNotAllowed V5: apple:amd64 would go down from 4 to 2.5
              ! fix date:amd64 [1 → >= 9] Unsatisfiable V3: nothing on offer for date:amd64 is >= 9; on offer: 9, 1
                wanted {"apple", "berry", "cherry", "date", "elder", "fig"}: berry=2, cherry=9, elder=2, fig=7
        "#]],
    );
}

// rule: V3
#[test]
fn what_nobody_offers_is_unsatisfiable_and_says_what_is_on_offer() {
    check(
        "baseline fix: openssl >= 4
         machine a: openssl 3.0.14 -> 3.0.15 3.0.14",
        expect![[r#"
            ! a: Unsatisfiable V3: nothing on offer for openssl:amd64 is >= 4; on offer: 3.0.15, 3.0.14
        "#]],
    );
}

// rule: V2
#[test]
fn a_package_that_the_inventory_does_not_know_is_asked_for_first() {
    check(
        "baseline fix: openssl >= 3; nginx
         machine a: openssl 2 -> 3
         show wanted",
        expect![[r#"
            + a: starts a-1: install openssl 2 > 3 for fix
              + fix openssl:amd64 [2 → 3] Start a-1
              ~ fix nginx:amd64 [- → any version] Inventory V2: the machine was asked what is on offer for nginx:amd64
                wanted {"nginx", "openssl"}: openssl=3
        "#]],
    );
}

// rule: V5
#[test]
fn a_lower_version_needs_leave() {
    check(
        "baseline down downgrades on role=lab: curl << 8
         baseline fix on role=web: curl << 8
         machine a role=web: curl 8 -> 8 7
         machine b role=lab: curl 8 -> 8 7",
        expect![[r#"
            ! a: DowngradeNotAllowed V5: curl:amd64 would go down from 8 to 7
            + b: starts b-1: install curl 8 > 7 for down
        "#]],
    );
}

// rule: V6
#[test]
fn somebody_elses_hold_blocks() {
    check(
        "baseline fix: openssl >= 3.0.15
         machine a: openssl 3.0.14 held -> 3.0.15
         show holds",
        expect![[r#"
            ! a: Held V6: openssl:amd64 is held on the machine, not by us
                holds -
        "#]],
    );
}

// rule: V6
#[test]
fn a_hold_of_ours_is_lifted_for_the_change_and_set_again() {
    check(
        "baseline fix: openssl >= 3.0.15 hold
         machine a ours openssl: openssl 3.0.14 held -> 3.0.15
         machine b: openssl 3.0.15 -> 3.0.15
         machine c ours openssl: openssl 3.0.15 held -> 3.0.15
         show holds",
        expect![[r#"
            + a: starts a-1: hold -openssl for fix | install openssl 3.0.14 > 3.0.15 for fix | hold +openssl for fix
                holds openssl
            + b: starts b-1: hold +openssl for fix
                holds openssl
            = c: converged
                holds openssl
        "#]],
    );
}

// rule: V6, S3
#[test]
fn a_hold_of_ours_goes_with_its_requirement() {
    check(
        "baseline other on role=web: curl
         machine a ours openssl role=web: openssl 3 held; curl 8
         machine b ours openssl: openssl 3 held
         machine c ours openssl: openssl 3
         show holds",
        expect![[r#"
            + a: starts a-1: hold -openssl for 
                holds openssl
            + b: starts b-1: hold -openssl for 
                holds openssl
            . c: NotSelected S3: no baseline selects the machine
                holds -
        "#]],
    );
}

// rule: S1
#[test]
fn the_highest_priority_decides() {
    check(
        "baseline base: openssl >= 3.0.14; curl
         baseline pin priority 5: openssl = 3.0.10
         machine a: openssl 3.0.10 -> 3.0.15; curl - -> 8
         show targets",
        expect![[r#"
            + a: starts a-1: install curl - > 8 for base
              + base curl:amd64 [- → 8] Start a-1
        "#]],
    );
}

// rule: S2
#[test]
fn equal_priorities_are_intersected_and_conflicts_are_named() {
    check(
        "baseline left: openssl >= 3.0.14; curl >= 8; telnet
         baseline right: openssl << 3.0.16; curl << 8; telnet absent
         machine a: openssl 3.0.13 -> 3.0.16 3.0.15; curl 7 -> 8; telnet 1
         show baselines",
        expect![[r#"
            + a: starts a-1: install openssl 3.0.13 > 3.0.15 for left+right
              + left openssl:amd64 [3.0.13 → 3.0.15] Start a-1
              + right openssl:amd64 [3.0.13 → 3.0.15] Start a-1
              ! left curl:amd64 [7 → >= 8] Conflicted S2: PackageBaseline/left, PackageBaseline/right contradict each other about curl:amd64
              ! right curl:amd64 [7 → << 8] Conflicted S2: PackageBaseline/left, PackageBaseline/right contradict each other about curl:amd64
              ! left telnet:amd64 [1 → any version] Conflicted S2: PackageBaseline/left, PackageBaseline/right contradict each other about telnet:amd64
              ! right telnet:amd64 [1 → absent] Conflicted S2: PackageBaseline/left, PackageBaseline/right contradict each other about telnet:amd64
            # PackageBaseline/left: selected 1 = converged 0 + not 1 + unknown 0 + absent 0; active 1, blocked 0, unavailable 1/1
            #   conflicts with PackageBaseline/right about curl:amd64 on 1
            #   conflicts with PackageBaseline/right about telnet:amd64 on 1
            # PackageBaseline/right: selected 1 = converged 0 + not 1 + unknown 0 + absent 0; active 1, blocked 0, unavailable 1/1
            #   conflicts with PackageBaseline/left about curl:amd64 on 1
            #   conflicts with PackageBaseline/left about telnet:amd64 on 1
        "#]],
    );
}

// rule: S2
#[test]
fn an_observer_neither_wins_nor_conflicts() {
    check(
        "baseline fix: openssl >= 3.0.15
         baseline watch observe priority 9 max 0: openssl << 3; curl absent
         machine a: openssl 3.0.14 -> 3.0.15; curl 8",
        expect![[r#"
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 for fix
              + fix openssl:amd64 [3.0.14 → 3.0.15] Start a-1
              ! watch curl:amd64 [8 → absent] ObserveOnly S4: the baseline observes only
              ! watch openssl:amd64 [3.0.14 → << 3] ObserveOnly S4: the baseline observes only
        "#]],
    );
}

// rule: S4
#[test]
fn an_observer_says_of_each_twin_whether_it_is_to_be_rebooted() {
    check(
        "baseline watch observe reboot 30m: openssl >= 3.0.15
         machine a: openssl 3.0.15
         machine b reboot-required 1h: openssl 3.0.15",
        expect![[r#"
            = a: converged
            ! b: ObserveOnly S4: the baseline observes only
        "#]],
    );
}

// rule: S3
#[test]
fn a_machine_that_nothing_selects_is_left_alone() {
    check(
        "baseline fix on role=web: openssl >= 3.0.15
         machine a role=db: openssl 3.0.14 -> 3.0.15",
        expect![[r#"
            . a: NotSelected S3: no baseline selects the machine
        "#]],
    );
}

// rule: S3
#[test]
fn absent_takes_away_and_needs_no_leave() {
    check(
        "baseline fix: telnet absent
         machine a: telnet 1
         machine b: telnet - -> 1",
        expect![[r#"
            + a: starts a-1: remove telnet 1 > - for fix
            = b: converged
        "#]],
    );
}

// rule: S3, V2
#[test]
fn what_is_to_be_absent_and_is_not_there_is_as_wanted_whatever_is_on_offer() {
    check(
        "baseline fix: telnet absent; curl
         machine a: openssl 1
         machine b: openssl 1; curl 8",
        expect![[r#"
            ~ a: Inventory V2: the machine was asked what is on offer for curl:amd64
            = b: converged
        "#]],
    );
}

// rule: S4
#[test]
fn the_machines_verdict_is_the_one_to_act_on() {
    check(
        "baseline fix: openssl >= 3.0.15; curl >= 9; zlib
         machine a: openssl 3.0.14 -> 3.0.15; curl 8 -> 8; zlib 1
         machine b silent 2m: openssl 3.0.14 -> 3.0.15; curl 8 -> 8; zlib 1",
        expect![[r#"
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 for fix
              + fix openssl:amd64 [3.0.14 → 3.0.15] Start a-1
              ! fix curl:amd64 [8 → >= 9] Unsatisfiable V3: nothing on offer for curl:amd64 is >= 9; on offer: 8
            ! b: Unsatisfiable V3: nothing on offer for curl:amd64 is >= 9; on offer: 8
              ! fix curl:amd64 [8 → >= 9] Unsatisfiable V3: nothing on offer for curl:amd64 is >= 9; on offer: 8
              ~ fix openssl:amd64 [3.0.14 → 3.0.15] Silent A4: the machine is silent since 2026-11-23T11:58:00Z
        "#]],
    );
}

// rule: M5
#[test]
fn what_is_not_admitted_is_not_planned_and_what_cannot_be_done_is_said() {
    check(
        "baseline fix reboot 30m: openssl >= 3.0.15
         machine a unadmitted: openssl 3.0.14 -> 3.0.15
         machine b revoked: openssl 3.0.14 -> 3.0.15
         machine c cannot Packages: openssl 3.0.14 -> 3.0.15
         machine d cannot ExactSimulation: openssl 3.0.14 -> 3.0.15
         machine e cannot Reboot reboot-required 1h: openssl 3.0.15
         show baselines",
        expect![[r#"
            . a: NotAdmitted M5: the machine is not admitted yet
            . b: Revoked M5: the machine is revoked
            ! c: NotCapable M5: the machine's agent cannot do this: Packages
            ! d: NotCapable M5: the machine's agent cannot do this: ExactSimulation
            ! e: NotCapable M5: the machine's agent cannot do this: Reboot
            # PackageBaseline/fix: selected 3 = converged 0 + not 3 + unknown 0 + absent 0; active 0, blocked 3, unavailable 0/3
        "#]],
    );
}

// rule: K1, K5
#[test]
fn converged_means_the_followed_package_as_booted() {
    check(
        "kernel k: linux-image >= 6.1.176; line quiet; not nosmt
         machine a kernels 6.1.0-50=6.1.176 runs 6.1.0-50: linux-image 6.1.176
         machine b kernels 6.1.0-49,6.1.0-50=6.1.176 runs 6.1.0-49: linux-image 6.1.176
         machine c kernels 6.1.0-49=6.1.170 runs 6.1.0-49: linux-image 6.1.170 -> 6.1.176
         machine d kernels 6.1.0-50=6.1.176 runs 6.1.0-50 line nosmt: linux-image 6.1.176
         machine e kernels 6.12.0-1 runs 6.12.0-1: linux-image - -> 6.1.176
         show targets baselines",
        expect![[r#"
            = a: converged
            ! b: NotCapable M5: the machine's agent cannot do this: KernelSelection
              ! k kernel [6.1.0-49 → 6.1.0-50, installed and not booted] NotCapable M5: the machine's agent cannot do this: KernelSelection
            ! c: NotCapable M5: the machine's agent cannot do this: KernelSelection
              ! k kernel [6.1.0-49 (linux-image 6.1.170) → >= 6.1.176] NotCapable M5: the machine's agent cannot do this: KernelSelection
            ! d: NotCapable M5: the machine's agent cannot do this: KernelSelection
              ! k kernel [6.1.0-50 (linux-image 6.1.176) → >= 6.1.176] NotCapable M5: the machine's agent cannot do this: KernelSelection
            ! e: NotCapable M5: the machine's agent cannot do this: KernelSelection
              ! k kernel [6.12.0-1 → >= 6.1.176] NotCapable M5: the machine's agent cannot do this: KernelSelection
            # KernelBaseline/k: selected 5 = converged 1 + not 4 + unknown 0 + absent 0; active 0, blocked 4, unavailable 0/5
        "#]],
    );
}

// rule: K1
#[test]
fn a_required_reboot_comes_with_the_packages_where_it_is_known() {
    check(
        "baseline fix reboot 30m: openssl >= 3.0.15
         baseline never on role=no: openssl
         machine a reboot-required 1h: openssl 3.0.14 -> 3.0.15
         machine b reboot-required 1h: openssl 3.0.15",
        expect![[r#"
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 for fix | reboot for fix
            + b: starts b-1: reboot for fix
        "#]],
    );
}

// rule: K4
#[test]
fn a_reason_that_a_reboot_did_not_clear_is_said_and_boots_a_day_are_few() {
    check(
        "baseline fix reboot 30m:
         machine a reboot-required 3h booted 1h reported 30m:
         machine b reboot-required 30m booted 1h reported 30m:
         machine c reboot-required 10m booted 2h reported 10m:
         activity a-1 Succeeded 1h: reboot fix
         activity b-1 Succeeded 1h: reboot fix
         activity c-1 Succeeded 23h: reboot fix
         activity c-2 Succeeded 20h: reboot fix
         activity c-3 Succeeded 17h: reboot fix
         activity c-4 Succeeded 14h: reboot fix
         activity c-5 Succeeded 11h: reboot fix
         activity c-6 Succeeded 2h: reboot fix
         show next",
        expect![[r#"
            ! a: RebootIneffective K4: the machine still wants a reboot for a reason older than its last boot
            + b: starts b-2: reboot for fix
            ~ c: BootLimit K4: 6 boots within 24 hours are the most, until 2026-11-23T12:59:00Z
            # next 2026-11-23T12:59:00Z
        "#]],
    );
}

// rule: S1
#[test]
fn a_requirement_without_architecture_is_the_machines_own() {
    check(
        "baseline fix: openssl >= 3; libc6/i386
         machine a: openssl 2 -> 3; libc6/i386 - -> 2
         machine b arch arm64: openssl/arm64 2 -> 3; libc6/i386 2",
        expect![[r#"
            + a: starts a-1: install libc6 - > 2, openssl 2 > 3 for fix
            + b: starts b-1: install openssl 2 > 3 for fix
        "#]],
    );
}

// rule: K1
#[test]
fn a_reboot_waits_for_packages_that_are_moments_away() {
    check(
        "baseline fix reboot 30m: openssl >= 3.0.15
         machine a reboot-required 1h: openssl 3.0.14 -> 3.0.15
         apt silent",
        expect![[r#"
            ~ a: Proposal A7: the machine's apt simulates the change
        "#]],
    );
}

// rule: S2, V2
#[test]
fn an_exact_version_within_a_range_may_have_a_low_pin() {
    check(
        "baseline one: openssl = 9
         baseline two: openssl >= 5
         machine a: openssl 3 -> 6 9@100",
        expect![[r#"
            + a: starts a-1: install openssl 3 > 9 for one+two
        "#]],
    );
}

// rule: S1, S4, B1
#[test]
fn who_observes_holds_nobody_back_and_decides_nothing() {
    check(
        "baseline fix: openssl >= 3.0.15
         baseline look observe max 0 priority 9: openssl = 3.0.14; curl absent
         machine a: openssl 3.0.14 -> 3.0.15; curl 8
         show baselines",
        expect![[r#"
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 for fix
              + fix openssl:amd64 [3.0.14 → 3.0.15] Start a-1
              ! look curl:amd64 [8 → absent] ObserveOnly S4: the baseline observes only
            # PackageBaseline/fix: selected 1 = converged 0 + not 1 + unknown 0 + absent 0; active 1, blocked 0, unavailable 1/1
            # PackageBaseline/look: selected 1 = converged 0 + not 1 + unknown 0 + absent 0; active 0, blocked 1, unavailable 0/0
        "#]],
    );
}

// rule: S1, V6
#[test]
fn what_is_to_go_is_released_from_our_hold_and_from_no_other() {
    check(
        "baseline fix: openssl hold
         baseline gone priority 5 on role=x: openssl absent
         baseline same on role=y: openssl absent
         machine a role=x ours openssl: openssl 3 held
         machine b role=y ours openssl: openssl 3 held
         machine c role=x: openssl 3 held
         show targets holds",
        expect![[r#"
            + a: starts a-1: hold -openssl for gone | remove openssl 3 > - for gone
              + gone openssl:amd64 [3 → absent] Start a-1
                holds openssl
            ! b: Conflicted S2: PackageBaseline/fix, PackageBaseline/same contradict each other about openssl:amd64
              ! fix openssl:amd64 [3 → any version] Conflicted S2: PackageBaseline/fix, PackageBaseline/same contradict each other about openssl:amd64
              ! same openssl:amd64 [3 → absent] Conflicted S2: PackageBaseline/fix, PackageBaseline/same contradict each other about openssl:amd64
                holds openssl
            ! c: Held V6: openssl:amd64 is held on the machine, not by us
              ! gone openssl:amd64 [3 → absent] Held V6: openssl:amd64 is held on the machine, not by us
                holds -
        "#]],
    );
}

// rule: V6, S3
#[test]
fn our_holds_are_lifted_where_budgets_and_windows_let_them() {
    check(
        "budget b max 0 on role=z
         window night allow on role=w: daily 22 4h
         machine a ours openssl: openssl 3 held
         machine b role=z ours openssl: openssl 3 held
         machine c role=w ours openssl: openssl 3 held
         machine d ours openssl: openssl 3
         show holds",
        expect![[r#"
            + a: starts a-1: hold -openssl for 
                holds openssl
            ! b: BudgetIsZero B1: budget b allows no machine to be unavailable
                holds openssl
            ~ c: WindowClosed W1: window night opens at 2026-11-23T22:00:00Z, until 2026-11-23T22:00:00Z
                holds openssl
            . d: NotSelected S3: no baseline selects the machine
                holds -
        "#]],
    );
}
