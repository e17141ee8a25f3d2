//! Which kernels never go, whoever asks for it (rule K3).

use expect_test::expect;

use crate::check;

// rule: K3
#[test]
fn no_baseline_takes_away_the_kernel_that_runs_or_boots_next() {
    check(
        "baseline b: linux-image-6.1.0-49 absent
         machine a selects kernels 6.1.0-49=6.1.170 runs 6.1.0-49: linux-image-6.1.0-49 6.1.0-49
         machine b selects kernels 6.1.0-49=6.1.170,6.1.0-50=6.1.176 runs 6.1.0-50 next 6.1.0-49: linux-image-6.1.0-49 6.1.0-49; linux-image-6.1.0-50 6.1.0-50
         machine c selects kernels 6.1.0-49=6.1.170,6.1.0-50=6.1.176 runs 6.1.0-50 next 6.1.0-50: linux-image-6.1.0-49 6.1.0-49; linux-image-6.1.0-50 6.1.0-50",
        expect![[r#"
            ! a: KernelInUse K3: linux-image-6.1.0-49:amd64 is the kernel that runs, or boots next: it would be removed
            ! b: KernelInUse K3: linux-image-6.1.0-49:amd64 is the kernel that runs, or boots next: it would be removed
            + c: starts c-1: remove linux-image-6.1.0-49 6.1.0-49 > - for b
        "#]],
    );
}

// rule: K3, A7
#[test]
fn what_takes_the_running_kernel_along_does_not_start_and_all_else_goes_on() {
    check(
        "baseline b removals: openssl >= 3.0.15; curl >= 9
         machine a runs 6.1.0-49: openssl 3.0.14 -> 3.0.15; curl 9; linux-image-6.1.0-49 6.1.0-49
         machine b runs 6.1.0-49: openssl 3.0.15; curl 8 -> 9; linux-image-6.1.0-49 6.1.0-49
         apt with openssl: linux-image-6.1.0-49 6.1.0-49 > -",
        expect![[r#"
            ! a: KernelInUse K3: linux-image-6.1.0-49:amd64 is the kernel that runs, or boots next: it would be removed
            + b: starts b-1: install curl 8 > 9 for b
        "#]],
    );
}

// rule: K3, O2
#[test]
fn a_canary_whose_kernel_would_go_is_skipped() {
    check(
        "baseline b: linux-image-6.1.0-49 absent
         wave canary b on ring=canary
         machine a ring=canary runs 6.1.0-49: linux-image-6.1.0-49 6.1.0-49
         machine b ring=canary runs 6.1.0-50: linux-image-6.1.0-49 6.1.0-49
         machine c runs 6.1.0-50: linux-image-6.1.0-49 6.1.0-49
         show rollouts waves",
        expect![[r#"
            ! a: KernelInUse K3: linux-image-6.1.0-49:amd64 is the kernel that runs, or boots next: it would be removed
            + b: starts b-1: remove linux-image-6.1.0-49 6.1.0-49 > - for b
            ~ c: Wave O2: wave canary of PackageBaseline/b is first: 0 of 2 machine(s) have it
            # rollout b linux-image-6.1.0-49=absent: done 0/3, failed 0
            #   wave canary: 0/2 have it, 1 skipped, 0 failed
        "#]],
    );
}

// rule: K3, A9
#[test]
fn a_kernel_that_runs_by_now_is_not_taken_away() {
    check(
        "baseline b: linux-image-6.1.0-49 absent
         machine a runs 6.1.0-49: linux-image-6.1.0-49 6.1.0-49
         machine b runs 6.1.0-50: linux-image-6.1.0-49 6.1.0-49
         activity a-1 Pending 10s: remove b linux-image-6.1.0-49 - from 6.1.0-49
         activity b-1 Pending 10s: remove b linux-image-6.1.0-49 - from 6.1.0-49",
        expect![[r#"
            ~ a: Pending A2: a-1 is Pending
            ~ b: Pending A2: b-1 is Pending
            x a-1: Contradicted
        "#]],
    );
}
