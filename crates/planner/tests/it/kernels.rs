//! Kernel baselines: installed, tried for one boot, made the default (rules K1 to K5).

use expect_test::expect;

use crate::story::{check, check_over_time, told};

/// What apt brings with the kernel's meta-package.
const APT: &str = "apt with linux-image: linux-image-6.1.0-50 - > 6.1.0-50";

// rule: K2, K1, B5
#[test]
fn a_kernel_is_installed_tried_for_one_boot_and_made_the_default() {
    check(
        &format!(
            "kernel k reboot 30m units nginx.service settle 2m: linux-image >= 6.1.176
             machine a selects kernels 6.1.0-49=6.1.170 runs 6.1.0-49 next 6.1.0-49: linux-image 6.1.170 -> 6.1.176
             {APT}
             show details targets"
        ),
        expect![[r#"
            + a: starts a-1: install linux-image 6.1.170 > 6.1.176 with linux-image-6.1.0-50 - > 6.1.0-50 for k | select 6.1.0-50 for k | reboot 6.1.0-50 for k | default 6.1.0-50 for k
              + k kernel [6.1.0-49 (linux-image 6.1.170) → linux-image=6.1.176] Start a-1
                expires 2026-11-23T13:00:00Z, budgets {}, windows {}
                health {"nginx.service"} for 120s
        "#]],
    );
}

// rule: K1, K2
#[test]
fn what_is_installed_and_not_booted_is_only_booted_and_what_runs_only_made_the_default() {
    check(
        "kernel k reboot 30m: linux-image >= 6.1.176
         machine a selects kernels 6.1.0-49,6.1.0-50=6.1.176 runs 6.1.0-49 next 6.1.0-49: linux-image 6.1.176
         machine b selects kernels 6.1.0-49,6.1.0-50=6.1.176 runs 6.1.0-50 next 6.1.0-49: linux-image 6.1.176
         machine c selects kernels 6.1.0-49,6.1.0-50=6.1.176 runs 6.1.0-50 next 6.1.0-50: linux-image 6.1.176
         machine d kernels 6.1.0-49,6.1.0-50=6.1.176 runs 6.1.0-50: linux-image 6.1.176
         show targets",
        expect![[r#"
            + a: starts a-1: select 6.1.0-50 for k | reboot 6.1.0-50 for k | default 6.1.0-50 for k
              + k kernel [6.1.0-49 → 6.1.0-50, installed and not booted] Start a-1
            + b: starts b-1: default 6.1.0-50 for k
              + k kernel [6.1.0-50 (linux-image 6.1.176) → 6.1.0-50 as the default] Start b-1
            = c: converged
            = d: converged
        "#]],
    );
}

// rule: M5, K2
#[test]
fn where_no_boot_can_be_tried_no_kernel_comes_whoever_asks_for_it() {
    check(
        &format!(
            "kernel k reboot 30m on role=k: linux-image >= 6.1.176
             baseline p on role=p: linux-image >= 6.1.176; openssl
             machine a role=k kernels 6.1.0-49=6.1.170 runs 6.1.0-49: linux-image 6.1.170 -> 6.1.176
             machine b role=k kernels 6.1.0-49,6.1.0-50=6.1.176 runs 6.1.0-49: linux-image 6.1.176
             machine c role=p kernels 6.1.0-49=6.1.170 runs 6.1.0-49: linux-image 6.1.170 -> 6.1.176; openssl - -> 3
             {APT}"
        ),
        expect![[r#"
            ! a: NotCapable M5: the machine's agent cannot do this: KernelSelection
            ! b: NotCapable M5: the machine's agent cannot do this: KernelSelection
            + c: starts c-1: install openssl - > 3 for p
              + p openssl:amd64 [- → 3] Start c-1
              ! p linux-image:amd64 [6.1.170 → 6.1.176] NotCapable M5: the machine's agent cannot do this: KernelSelection
        "#]],
    );
}

// rule: K2
#[test]
fn a_kernel_that_a_package_baseline_brings_is_tried_too() {
    check(
        &format!(
            "baseline p reboot 20m on role=p: linux-image >= 6.1.176
             baseline q on role=q: linux-image >= 6.1.176
             baseline r reboot 20m on role=r: openssl
             machine a role=p selects kernels 6.1.0-49=6.1.170 runs 6.1.0-49: linux-image 6.1.170 -> 6.1.176
             machine b role=q selects kernels 6.1.0-49=6.1.170 runs 6.1.0-49: linux-image 6.1.170 -> 6.1.176
             machine c role=r selects kernels 6.1.0-49,6.1.0-50 runs 6.1.0-49 reboot-required 1h: openssl 3
             {APT}"
        ),
        expect![[r#"
            + a: starts a-1: install linux-image 6.1.170 > 6.1.176 with linux-image-6.1.0-50 - > 6.1.0-50 for p | select 6.1.0-50 for p | reboot 6.1.0-50 for p | default 6.1.0-50 for p
            + b: starts b-1: install linux-image 6.1.170 > 6.1.176 with linux-image-6.1.0-50 - > 6.1.0-50 for q
            + c: starts c-1: select 6.1.0-50 for r | reboot 6.1.0-50 for r | default 6.1.0-50 for r
        "#]],
    );
}

// rule: B5
#[test]
fn one_boot_serves_a_kernel_and_the_packages_that_ask_for_a_reboot() {
    check(
        &format!(
            "kernel k reboot 30m: linux-image >= 6.1.176
             baseline fix reboot 20m: openssl >= 3.0.15
             machine a selects reboot-required 1h for libc6 kernels 6.1.0-49=6.1.170 runs 6.1.0-49 next 6.1.0-49:
             | openssl 3.0.14 -> 3.0.15; linux-image 6.1.170 -> 6.1.176
             machine b selects reboot-required 1h for linux-image-6.1.0-50 kernels 6.1.0-49,6.1.0-50=6.1.176
             | runs 6.1.0-49 next 6.1.0-49: openssl 3.0.15; linux-image 6.1.176
             {APT}"
        ),
        expect![[r#"
            + a: starts a-1: install linux-image 6.1.170 > 6.1.176, openssl 3.0.14 > 3.0.15 with linux-image-6.1.0-50 - > 6.1.0-50 for fix+k | select 6.1.0-50 for k | reboot 6.1.0-50 for fix+k | default 6.1.0-50 for k
            + b: starts b-1: select 6.1.0-50 for k | reboot 6.1.0-50 for fix+k | default 6.1.0-50 for k
        "#]],
    );
}

// rule: B5, B2
#[test]
fn a_kernel_and_a_package_baseline_under_one_budget_disrupt_each_machine_once() {
    let machine = |n: usize| {
        format!(
            "machine m{n} selects kernels 6.1.0-49=6.1.170 runs 6.1.0-49 next 6.1.0-49:
             | openssl 3.0.14 -> 3.0.15; linux-image 6.1.170 -> 6.1.176"
        )
    };
    let machines: Vec<String> = (0..10).map(machine).collect();
    let story = format!(
        "kernel k reboot 30m: linux-image >= 6.1.176
         baseline fix reboot 20m: openssl >= 3.0.15
         budget fleet max 4
         {}
         {APT}",
        machines.join("\n")
    );
    let told = told(&story);
    let starts: Vec<&str> = told.lines().filter(|line| line.starts_with('+')).collect();
    assert_eq!(starts.len(), 4, "{told}");
    for start in starts {
        let carries = [
            "openssl 3.0.14 > 3.0.15",
            "linux-image 6.1.170 > 6.1.176",
            "select 6.1.0-50",
            "default 6.1.0-50",
        ];
        assert!(carries.iter().all(|what| start.contains(what)), "{start}");
        assert_eq!(start.matches("reboot").count(), 1, "{start}");
    }
    assert_eq!(told.matches("Budget B2").count(), 6, "{told}");
}

// rule: W6
#[test]
fn what_may_not_boot_before_a_freeze_goes_in_and_boots_after_it() {
    let kernel = "kernel k reboot 30m: linux-image >= 6.1.176
                  window freeze deny covers Reboot: once 2026-11-23T12:20:00Z 2026-11-23T18:00:00Z";
    check_over_time(
        &[
            &format!(
                "{kernel}
                 machine a selects kernels 6.1.0-49=6.1.170 runs 6.1.0-49 next 6.1.0-49: linux-image 6.1.170 -> 6.1.176
                 {APT}"
            ),
            &format!(
                "time 30m
                 {kernel}
                 machine a selects kernels 6.1.0-49,6.1.0-50=6.1.176 runs 6.1.0-49 next 6.1.0-49: linux-image 6.1.176"
            ),
            &format!(
                "time 6h
                 {kernel}
                 machine a selects kernels 6.1.0-49,6.1.0-50=6.1.176 runs 6.1.0-49 next 6.1.0-49: linux-image 6.1.176"
            ),
        ],
        expect![[r#"
            @ 2026-11-23T12:00:00Z
            + a: starts a-1: install linux-image 6.1.170 > 6.1.176 with linux-image-6.1.0-50 - > 6.1.0-50 for k
            @ 2026-11-23T12:30:00Z
            ~ a: Frozen W1: freeze freeze is on, until 2026-11-23T18:00:00Z
            @ 2026-11-23T18:00:00Z
            + a: starts a-1: select 6.1.0-50 for k | reboot 6.1.0-50 for k | default 6.1.0-50 for k
        "#]],
    );
}

// rule: W1
#[test]
fn a_freeze_of_kernels_holds_up_nothing_else() {
    check(
        &format!(
            "kernel k reboot 30m: linux-image >= 6.1.176
             baseline fix: openssl >= 3.0.15
             window freeze deny covers Kernel: once 2026-11-23T10:00:00Z 2026-11-23T18:00:00Z
             machine a selects kernels 6.1.0-49=6.1.170 runs 6.1.0-49 next 6.1.0-49:
             | openssl 3.0.14 -> 3.0.15; linux-image 6.1.170 -> 6.1.176
             {APT}"
        ),
        expect![[r#"
            + a: starts a-1: install openssl 3.0.14 > 3.0.15 for fix
              + fix openssl:amd64 [3.0.14 → 3.0.15] Start a-1
              ~ k kernel [6.1.0-49 (linux-image 6.1.170) → linux-image=6.1.176] Frozen W1: freeze freeze is on, until 2026-11-23T18:00:00Z
        "#]],
    );
}

// rule: A6, K2
#[test]
fn after_a_fallback_nothing_more_is_tried_until_the_target_changes_or_somebody_says_so() {
    let failed = "activity a-1 Failed(BootFallback) 10m completed 1: select k 6.1.0-50=6.1.176
                  | | reboot k into 6.1.0-50 | default k 6.1.0-50=6.1.176";
    check(
        &format!(
            "kernel k reboot 30m: linux-image >= 6.1.176
             machine a carried 1 selects kernels 6.1.0-49,6.1.0-50=6.1.176 runs 6.1.0-49 next 6.1.0-49: linux-image 6.1.176
             machine b carried 1 retried 1 selects kernels 6.1.0-49,6.1.0-50=6.1.176 runs 6.1.0-49 next 6.1.0-49: linux-image 6.1.176
             machine c carried 1 selects kernels 6.1.0-49,6.1.0-50,6.1.0-51=6.1.180 runs 6.1.0-49 next 6.1.0-49: linux-image 6.1.180
             {failed}
             {}
             {}",
            failed.replace("a-1", "b-1"),
            failed.replace("a-1", "c-1"),
        ),
        expect![[r#"
            ! a: Stalled A6: 1 attempt(s) failed, the last with BootFallback
            + b: starts b-2: select 6.1.0-50 for k | reboot 6.1.0-50 for k | default 6.1.0-50 for k
            + c: starts c-2: select 6.1.0-51 for k | reboot 6.1.0-51 for k | default 6.1.0-51 for k
        "#]],
    );
}

// rule: K3
#[test]
fn old_kernels_go_with_the_next_one_but_never_what_runs_or_boots() {
    check(
        &format!(
            "kernel k reboot 30m keep 2: linux-image >= 6.1.176
             machine a selects kernels 6.1.0-47,6.1.0-48,6.1.0-49=6.1.170 runs 6.1.0-48 next 6.1.0-49:
             | linux-image 6.1.170 -> 6.1.176; linux-image-6.1.0-47 6.1.0-47; linux-image-6.1.0-48 6.1.0-48
             machine b selects kernels 6.1.0-47,6.1.0-48,6.1.0-50=6.1.176 runs 6.1.0-50 next 6.1.0-50:
             | linux-image 6.1.176; linux-image-6.1.0-47 6.1.0-47; linux-image-6.1.0-48 6.1.0-48
             machine c selects kernels 6.1.0-47,6.1.0-48,6.1.0-50=6.1.176 runs 6.1.0-48 next 6.1.0-48:
             | linux-image 6.1.176; linux-image-6.1.0-47 6.1.0-47; linux-image-6.1.0-48 6.1.0-48
             machine d selects kernels 6.1.0-47,6.1.0-48-rt,6.1.0-50=6.1.176 runs 6.1.0-50 next 6.1.0-50:
             | linux-image 6.1.176; linux-image-6.1.0-47 6.1.0-47; linux-image-6.1.0-48-rt 6.1.0-48
             {APT}"
        ),
        expect![[r#"
            + a: starts a-1: install linux-image 6.1.170 > 6.1.176, linux-image-6.1.0-47 6.1.0-47 > - with linux-image-6.1.0-50 - > 6.1.0-50 for k | select 6.1.0-50 for k | reboot 6.1.0-50 for k | default 6.1.0-50 for k
            + b: starts b-1: remove linux-image-6.1.0-47 6.1.0-47 > - for k
            + c: starts c-1: select 6.1.0-50 for k | reboot 6.1.0-50 for k | default 6.1.0-50 for k
            = d: converged
        "#]],
    );
}

// rule: V6
#[test]
fn an_old_kernel_that_somebody_holds_does_not_go_with_the_next_one() {
    check(
        &format!(
            "kernel k reboot 30m keep 2: linux-image >= 6.1.176
             machine a selects kernels 6.1.0-47,6.1.0-48,6.1.0-49=6.1.170 runs 6.1.0-49 next 6.1.0-49:
             | linux-image 6.1.170 -> 6.1.176; linux-image-6.1.0-47 6.1.0-47 held; linux-image-6.1.0-48 6.1.0-48
             {APT}"
        ),
        expect![[r#"
            + a: starts a-1: install linux-image 6.1.170 > 6.1.176, linux-image-6.1.0-48 6.1.0-48 > - with linux-image-6.1.0-50 - > 6.1.0-50 for k | select 6.1.0-50 for k | reboot 6.1.0-50 for k | default 6.1.0-50 for k
        "#]],
    );
}

// rule: K3, V6
#[test]
fn an_old_kernel_that_somebody_holds_is_one_of_those_that_are_kept() {
    check(
        &format!(
            "kernel k reboot 30m keep 3: linux-image >= 6.1.176
             machine a selects kernels 6.1.0-46,6.1.0-47,6.1.0-48,6.1.0-49=6.1.170 runs 6.1.0-49 next 6.1.0-49:
             | linux-image 6.1.170 -> 6.1.176; linux-image-6.1.0-46 6.1.0-46 held; linux-image-6.1.0-47 6.1.0-47; linux-image-6.1.0-48 6.1.0-48
             {APT}"
        ),
        expect![[r#"
            + a: starts a-1: install linux-image 6.1.170 > 6.1.176, linux-image-6.1.0-47 6.1.0-47 > -, linux-image-6.1.0-48 6.1.0-48 > - with linux-image-6.1.0-50 - > 6.1.0-50 for k | select 6.1.0-50 for k | reboot 6.1.0-50 for k | default 6.1.0-50 for k
        "#]],
    );
}

// rule: K3, V6
#[test]
fn a_machine_that_runs_what_it_is_to_run_keeps_an_old_kernel_that_somebody_holds() {
    check(
        &format!(
            "kernel k reboot 30m keep 2: linux-image >= 6.1.176
             machine a selects kernels 6.1.0-47,6.1.0-49,6.1.0-50=6.1.176 runs 6.1.0-50 next 6.1.0-50:
             | linux-image 6.1.176; linux-image-6.1.0-47 6.1.0-47 held; linux-image-6.1.0-49 6.1.0-49 held
             machine b selects kernels 6.1.0-47,6.1.0-48,6.1.0-49,6.1.0-50=6.1.176 runs 6.1.0-50 next 6.1.0-50:
             | linux-image 6.1.176; linux-image-6.1.0-47 6.1.0-47 held; linux-image-6.1.0-48 6.1.0-48; linux-image-6.1.0-49 6.1.0-49
             {APT}"
        ),
        expect![[r#"
            = a: converged
            + b: starts b-1: remove linux-image-6.1.0-48 6.1.0-48 > -, linux-image-6.1.0-49 6.1.0-49 > - for k
        "#]],
    );
}

// rule: K2
#[test]
fn another_command_line_is_tried_like_another_kernel() {
    check(
        "kernel k reboot 30m: linux-image >= 6.1.176; line mitigations=auto; not quiet
         machine a selects kernels 6.1.0-50=6.1.176 runs 6.1.0-50 next 6.1.0-50 line quiet: linux-image 6.1.176
         machine b selects kernels 6.1.0-50=6.1.176 runs 6.1.0-50 next 6.1.0-50 line mitigations=auto: linux-image 6.1.176
         machine c kernels 6.1.0-50=6.1.176 runs 6.1.0-50 line quiet: linux-image 6.1.176
         show targets",
        expect![[r#"
            + a: starts a-1: select 6.1.0-50 +mitigations=auto -quiet for k | reboot 6.1.0-50 +mitigations=auto -quiet for k | default 6.1.0-50 +mitigations=auto -quiet for k
              + k kernel [6.1.0-50 (linux-image 6.1.176) → another command line] Start a-1
            = b: converged
            ! c: NotCapable M5: the machine's agent cannot do this: KernelSelection
              ! k kernel [6.1.0-50 (linux-image 6.1.176) → >= 6.1.176] NotCapable M5: the machine's agent cannot do this: KernelSelection
        "#]],
    );
}

// rule: K2
#[test]
fn where_no_baseline_reboots_a_kernel_waits_for_somebody_who_does() {
    check(
        "kernel k: linux-image >= 6.1.176
         machine a selects kernels 6.1.0-49,6.1.0-50=6.1.176 runs 6.1.0-49 next 6.1.0-49: linux-image 6.1.176
         machine b selects kernels 6.1.0-49,6.1.0-50=6.1.176 runs 6.1.0-49 next 6.1.0-50: linux-image 6.1.176",
        expect![[r#"
            + a: starts a-1: select 6.1.0-50 for k
            ~ b: ManualReboot K2: 6.1.0-50 is selected for the next boot, and no baseline reboots the machine for it
        "#]],
    );
}

// rule: S1, S2
#[test]
fn of_two_kernels_the_higher_priority_decides_and_equals_must_agree() {
    let machines = "machine a selects kernels 6.1.0-50=6.1.176 runs 6.1.0-50 next 6.1.0-50: linux-image 6.1.176; linux-image-rt - -> 6.1.176";
    check(
        &format!(
            "kernel k reboot 30m priority 5: linux-image >= 6.1
             kernel rt reboot 30m: linux-image-rt >= 6.1
             {machines}"
        ),
        expect![[r#"
            = a: converged
        "#]],
    );
    check(
        &format!(
            "kernel k reboot 30m: linux-image >= 6.1
             kernel rt reboot 30m: linux-image-rt >= 6.1
             {machines}
             show baselines"
        ),
        expect![[r#"
            ! a: Conflicted S2: KernelBaseline/k, KernelBaseline/rt contradict each other about linux-image:amd64
              ! k kernel [6.1.0-50 (linux-image 6.1.176) → >= 6.1] Conflicted S2: KernelBaseline/k, KernelBaseline/rt contradict each other about linux-image:amd64
              ! k kernel [6.1.0-50 → >= 6.1] Conflicted S2: KernelBaseline/k, KernelBaseline/rt contradict each other about linux-image-rt:amd64
              ! rt kernel [6.1.0-50 (linux-image 6.1.176) → >= 6.1] Conflicted S2: KernelBaseline/k, KernelBaseline/rt contradict each other about linux-image:amd64
              ! rt kernel [6.1.0-50 → >= 6.1] Conflicted S2: KernelBaseline/k, KernelBaseline/rt contradict each other about linux-image-rt:amd64
            # KernelBaseline/k: selected 1 = converged 0 + not 1 + unknown 0 + absent 0; active 0, blocked 1, unavailable 0/1
            #   conflicts with KernelBaseline/rt about linux-image:amd64 on 1
            #   conflicts with KernelBaseline/rt about linux-image-rt:amd64 on 1
            # KernelBaseline/rt: selected 1 = converged 0 + not 1 + unknown 0 + absent 0; active 0, blocked 1, unavailable 0/1
            #   conflicts with KernelBaseline/k about linux-image:amd64 on 1
            #   conflicts with KernelBaseline/k about linux-image-rt:amd64 on 1
        "#]],
    );
    check(
        &format!(
            "kernel k reboot 30m: linux-image >= 6.1; line nosmt
             kernel l reboot 30m: linux-image >= 6.1; not nosmt
             {machines}"
        ),
        expect![[r#"
            ! a: Conflicted S2: KernelBaseline/k, KernelBaseline/l contradict each other about linux-image:amd64
        "#]],
    );
}

// rule: O1, O2, O3, K1
#[test]
fn a_kernel_goes_wave_by_wave_on_the_evidence_of_machines_that_run_it() {
    let fleet = |canary: &str| {
        format!(
            "kernel k reboot 30m fail 0 max 50%: linux-image >= 6.1.176
             wave canary k on ring=canary soak 10m
             machine a ring=canary {canary}
             machine b selects kernels 6.1.0-49=6.1.170 runs 6.1.0-49 next 6.1.0-49: linux-image 6.1.170 -> 6.1.176
             {APT}
             show rollouts baselines"
        )
    };
    check(
        &fleet(
            "selects reported 1m kernels 6.1.0-49,6.1.0-50=6.1.176 runs 6.1.0-49 next 6.1.0-49: linux-image 6.1.176",
        ),
        expect![[r#"
            + a: starts a-1: select 6.1.0-50 for k | reboot 6.1.0-50 for k | default 6.1.0-50 for k
            ~ b: Wave O2: wave canary of KernelBaseline/k is first: 0 of 1 machine(s) have it
            # KernelBaseline/k: selected 2 = converged 0 + not 2 + unknown 0 + absent 0; active 1, blocked 0, unavailable 1/1
            # rollout k linux-image=6.1.176: done 0/2, failed 0
        "#]],
    );
    check(
        &fleet(
            "selects reported 20m kernels 6.1.0-49,6.1.0-50=6.1.176 runs 6.1.0-50 next 6.1.0-50: linux-image 6.1.176",
        ),
        expect![[r#"
            = a: converged
            + b: starts b-1: install linux-image 6.1.170 > 6.1.176 with linux-image-6.1.0-50 - > 6.1.0-50 for k | select 6.1.0-50 for k | reboot 6.1.0-50 for k | default 6.1.0-50 for k
            # KernelBaseline/k: selected 2 = converged 1 + not 1 + unknown 0 + absent 0; active 1, blocked 0, unavailable 1/1
            # rollout k linux-image=6.1.176: done 1/2, failed 0
        "#]],
    );
    let fell_back =
        "carried 1 selects kernels 6.1.0-49,6.1.0-50=6.1.176 runs 6.1.0-49 next 6.1.0-49: linux-image 6.1.176
             activity a-1 Failed(BootFallback) 10m completed 1: select k 6.1.0-50=6.1.176
             | | reboot k into 6.1.0-50 | default k 6.1.0-50=6.1.176";
    check(
        &fleet(fell_back),
        expect![[r#"
        ! a: Barred O3: 1 machine(s) failed it, at most 0 may in KernelBaseline/k
        ! b: Barred O3: 1 machine(s) failed it, at most 0 may in KernelBaseline/k
        # KernelBaseline/k: selected 2 = converged 0 + not 2 + unknown 0 + absent 0; active 0, blocked 2, unavailable 1/1
        # rollout k linux-image=6.1.176: done 0/2, failed 1, barred since 2026-11-23T12:00:00Z
    "#]],
    );
}

// rule: S4
#[test]
fn a_baseline_that_observes_says_what_it_would_do() {
    check(
        "kernel k observe: linux-image >= 6.1.176
         machine a kernels 6.1.0-49=6.1.170 runs 6.1.0-49: linux-image 6.1.170 -> 6.1.176
         machine b kernels 6.1.0-49,6.1.0-50=6.1.176 runs 6.1.0-49: linux-image 6.1.176
         show targets",
        expect![[r#"
            ! a: ObserveOnly S4: the baseline observes only
              ! k kernel [6.1.0-49 (linux-image 6.1.170) → linux-image=6.1.176] ObserveOnly S4: the baseline observes only
            ! b: ObserveOnly S4: the baseline observes only
              ! k kernel [6.1.0-49 → 6.1.0-50, installed and not booted] ObserveOnly S4: the baseline observes only
        "#]],
    );
}

// rule: O2, A2
#[test]
fn a_canary_whose_boot_is_too_full_for_the_kernel_neither_spins_nor_hangs_its_wave() {
    let brings = "install k linux-image 6.1.176 | select k 6.1.0-50=6.1.176 | reboot k into 6.1.0-50";
    let world = |third: &str| {
        format!(
            "kernel k reboot 30m max 100%: linux-image >= 6.1.176
             wave canary k on ring=canary
             machine a ring=canary selects kernels 6.1.0-49=6.1.170 runs 6.1.0-49 next 6.1.0-49: linux-image 6.1.170 -> 6.1.176
             machine b ring=canary selects kernels 6.1.0-49,6.1.0-50=6.1.176 runs 6.1.0-50 next 6.1.0-50: linux-image 6.1.176
             machine c selects kernels 6.1.0-49=6.1.170 runs 6.1.0-49 next 6.1.0-49: linux-image 6.1.170 -> 6.1.176
             activity a-1 Refused(Preflight) 50m: {brings}
             activity a-2 Refused(Preflight) 49m: {brings}
             {third}
             {APT}
             show rollouts waves next"
        )
    };
    check_over_time(
        &[&world(""), &world(&format!("activity a-3 Refused(Preflight) 10m: {brings}"))],
        expect![[r#"
            @ 2026-11-23T12:00:00Z
            + a: starts a-3: install linux-image 6.1.170 > 6.1.176 with linux-image-6.1.0-50 - > 6.1.0-50 for k | select 6.1.0-50 for k | reboot 6.1.0-50 for k | default 6.1.0-50 for k
            = b: converged
            ~ c: Wave O2: wave canary of KernelBaseline/k is first: 1 of 2 machine(s) have it
            # rollout k linux-image=6.1.176: done 1/3, failed 0
            #   wave canary: 1/2 have it since 2026-11-23T11:00:00Z, 0 skipped, 0 failed
            # next -
            @ 2026-11-23T12:00:00Z
            ! a: RefusedRepeatedly A2: not carried out 3 times in a row, last Preflight, until 2026-11-23T12:15:00Z
            = b: converged
            + c: starts c-1: install linux-image 6.1.170 > 6.1.176 with linux-image-6.1.0-50 - > 6.1.0-50 for k | select 6.1.0-50 for k | reboot 6.1.0-50 for k | default 6.1.0-50 for k
            # rollout k linux-image=6.1.176: done 1/3, failed 0
            #   wave canary: 1/2 have it since 2026-11-23T11:00:00Z, 1 skipped, 0 failed, passed 2026-11-23T12:00:00Z
            #   released 2026-11-23T12:00:00Z
            # next 2026-11-23T12:15:00Z
        "#]],
    );
}
