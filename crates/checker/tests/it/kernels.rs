//! K1, K2, K3: kernels are tried, and not removed under a machine.

use expect_test::expect;

use crate::check;

/// A machine that can choose what it boots, and runs 6.1.
fn story(rest: &str) -> String {
    format!(
        "00:00 machine a
         00:00 baseline fix
         00:01 report a selects kernel=6.1 next=6.1 openssl=1 linux-image-6.1=1 linux-image-6.0=1
         {rest}"
    )
}

// rule: K2
#[test]
fn a_kernel_is_selected_before_it_boots_and_runs_before_it_is_the_default() {
    check(
        &story("01:00 create a-1 only into=6.2 default=6.2"),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z K2 BootedUntried a-1: it boots 6.2, which was not selected for one boot
        "#]],
        &story("01:00 create a-1 only select=6.2 into=6.2 default=6.2"),
    );
    check(
        &story("01:00 create a-1 only default=6.2"),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z K2 DefaultUntried a-1: 6.2 becomes the default and was never tried
        "#]],
        &story("01:00 create a-1 only default=6.1"),
    );
}

// rule: K1, K2
#[test]
fn what_booted_is_what_was_wanted() {
    let trial = |kernel: &str, end: &str| {
        story(&format!(
            "01:00 create a-1 only select=6.2 into=6.2 default=6.2
             01:01 deliver a-1
             01:05 boots a-1 kernel={kernel}
             {end}"
        ))
    };
    check(
        &trial("6.1", "01:06 acts a-1 2"),
        &expect![[r#"
        ! 2026-11-27T01:06:00Z K2 DefaultNotRunning a-1: 6.2 becomes the default while 6.1 runs
    "#]],
        &trial("6.2", "01:06 acts a-1 2"),
    );
    let all =
        "01:06 start a-1 0\n 01:06 done a-1 0\n 01:06 start a-1 1\n 01:06 done a-1 1\n 01:06 start a-1 2
             01:06 done a-1 2\n 01:07 finish a-1 Succeeded";
    check(
        &trial("6.1", all),
        &expect![[r#"
        ! 2026-11-27T01:07:00Z K1 SucceededElsewhere a-1: it succeeded with 6.1, and was to run 6.2
    "#]],
        &trial("6.2", all),
    );
}

// rule: K2
#[test]
fn no_kernel_comes_where_none_can_be_tried() {
    let plain = "00:00 machine a
         00:00 baseline fix
         00:01 report a openssl=1
         01:00 create a-1 linux-image-6.2=..2";
    check(
        plain,
        &expect![[r#"
        ! 2026-11-27T01:00:00Z K2 KernelUntried a-1: it brings a kernel that the machine cannot let boot on trial
    "#]],
        &story("01:00 create a-1 linux-image-6.2=..2"),
    );
}

// rule: K3
#[test]
fn the_kernel_that_runs_or_boots_next_or_was_good_last_stays() {
    check(
        &story("01:00 create a-1 linux-image-6.1=1.."),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z K3 RemovesRunning a-1: linux-image-6.1:amd64 goes
        "#]],
        &story("01:00 create a-1 linux-image-6.0=1.."),
    );
    check(
        &story(
            "00:30 report a selects kernel=6.1 next=6.0 linux-image-6.0=1\n 01:00 create a-1 linux-image-6.0=1..",
        ),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z K3 RemovesNextBoot a-1: linux-image-6.0:amd64 goes
        "#]],
        &story(
            "00:30 report a selects kernel=6.1 next=6.1 linux-image-6.0=1\n 01:00 create a-1 linux-image-6.0=1..",
        ),
    );
    let good = |release: &str| {
        story(&format!(
            "01:00 create a-1 only default=6.1\n 01:01 succeed a-1
             02:00 report a selects kernel=6.2 next=6.2 linux-image-6.1=1 linux-image-6.0=1 last=1
             03:00 create a-2 linux-image-{release}=1.."
        ))
    };
    check(
        &good("6.1"),
        &expect![[r#"
        ! 2026-11-27T03:00:00Z K3 RemovesLastGood a-2: linux-image-6.1:amd64 goes
    "#]],
        &good("6.0"),
    );
}
