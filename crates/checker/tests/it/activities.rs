//! A1 to A10, K4: numbers, phases, epochs, deadlines, retries, history, boots.

use expect_test::expect;

use crate::check;
use crate::story::judged;

const ONE: &str = "
    00:00 machine a
    00:00 baseline fix
";

fn story(rest: &str) -> String {
    format!("{ONE}{rest}")
}

// rule: A1
#[test]
fn a_number_is_used_once() {
    check(
        &story(
            "01:00 create a-1\n 01:01 fail a-1\n 01:01 report a openssl=1 last=1\n 02:00 delete a-1\n 02:00 create a-1",
        ),
        &expect![[r#"
            ! 2026-11-27T02:00:00Z A10 DeletedTooEarly a-1: 0 newer ones are kept of 10, and it ended 59m ago, not 720h: the newest stay
            ! 2026-11-27T02:00:00Z A1 NumberUsedTwice a-1: 1 was used already: the next number is 2
        "#]],
        &story("01:00 create a-1\n 01:01 fail a-1\n 01:01 report a openssl=1 last=1\n 02:00 create a-2"),
    );
    // A creation that was refused after all gives its number back.
    assert_eq!(judged(&story("01:00 create a-1\n 01:01 withdraw a-1\n 01:02 create a-1")), "= nothing\n");
}

// rule: A1
#[test]
fn a_machine_has_one_unfinished_activity() {
    check(
        &story("01:00 create a-1\n 01:00:30 create a-2"),
        &expect![[r#"
            ! 2026-11-27T01:00:30Z A1 TwoUnfinished a-2: a-1 of the same machine is Pending still [Activity/a-1]
        "#]],
        &story("01:00 create a-1\n 01:01 withdraw a-1\n 01:01 create a-2"),
    );
}

// rule: A2
#[test]
fn phases_never_go_back() {
    check(
        &story("01:00 create a-1\n 01:01 succeed a-1\n 01:02 start a-1 0"),
        &expect![[r#"
            ! 2026-11-27T01:02:00Z A2 PhaseWentBack a-1: from Succeeded to Running: phases never go back
        "#]],
        &story(
            "01:00 create a-1\n 01:01 deliver a-1\n 01:02 start a-1 0\n 01:03 done a-1 0\n 01:04 verify a-1\n 01:05 finish a-1 Succeeded",
        ),
    );
    check(
        &story("01:00 create a-1\n 01:01 start a-1 0"),
        &expect![[r#"
            ! 2026-11-27T01:01:00Z A2 BegunUndelivered a-1: it began without having been delivered
        "#]],
        &story("01:00 create a-1\n 01:00 deliver a-1\n 01:01 start a-1 0"),
    );
}

// rule: A2
#[test]
fn an_end_says_what_it_means() {
    check(
        &story("01:00 create a-1\n 01:00 deliver a-1\n 01:01 finish a-1 Succeeded"),
        &expect![[r#"
            ! 2026-11-27T01:01:00Z A2 SucceededUndone a-1: Succeeded with 0 of 1 steps done
        "#]],
        &story("01:00 create a-1\n 01:01 succeed a-1"),
    );
    check(
        &story(
            "01:00 create a-1\n 01:00 deliver a-1\n 01:01 start a-1 0\n 01:02 done a-1 0\n 01:03 finish a-1 Refused PlanMismatch",
        ),
        &expect![[r#"
            ! 2026-11-27T01:03:00Z A2 RefusedChanged a-1: Refused says that nothing was changed, but 1 steps are done
        "#]],
        &story(
            "01:00 create a-1\n 01:00 deliver a-1\n 01:01 start a-1 0\n 01:03 finish a-1 Refused PlanMismatch",
        ),
    );
}

// rule: A3
#[test]
fn what_a_late_leader_wrote_is_not_delivered() {
    check(
        &story("00:01 lead x 1\n 00:30 lead y 2\n 01:00 create a-1 epoch=1\n 01:01 deliver a-1"),
        &expect![[r#"
            ! 2026-11-27T01:01:00Z A3 LateLeaderDelivered a-1: a leader of epoch 1 wrote it after epoch 2 had begun, and nobody adopted it
        "#]],
        &story(
            "00:01 lead x 1\n 00:30 lead y 2\n 01:00 create a-1 epoch=1\n 01:01 finish a-1 Canceled NotAdopted",
        ),
    );
    // Not counted either, until it is adopted: then it starts, and takes a place.
    check(
        &story(
            "
            00:00 machine b
            00:00 budget all
            00:01 lead x 1
            00:30 lead y 2
            01:00 create b-1 epoch=2 charged=all
            01:00 create a-1 epoch=1 charged=all
            01:01 adopt a-1 2",
        ),
        &expect![[r#"
            ! 2026-11-27T01:01:00Z B2 BudgetExceeded a-1: one too many; 1 of 2 machines may be unavailable, and 1 are: b [DisruptionBudget/all]
        "#]],
        &story(
            "
            00:00 machine b
            00:00 budget all
            00:01 lead x 1
            00:30 lead y 2
            01:00 create b-1 epoch=2 charged=all
            01:00 create a-1 epoch=1 charged=all
            01:01 finish a-1 Canceled NotAdopted",
        ),
    );
}

// rule: A3
#[test]
fn what_an_earlier_epoch_left_waits_for_adoption() {
    check(
        &story("00:01 lead x 1\n 01:00 create a-1 epoch=1\n 01:00:10 lead y 2\n 01:01 deliver a-1"),
        &expect![[r#"
            ! 2026-11-27T01:01:00Z A3 OldEpochDelivered a-1: it carries epoch 1, and epoch 2 has gone on since 2026-11-27T01:00:10Z
        "#]],
        &story(
            "00:01 lead x 1\n 01:00 create a-1 epoch=1\n 01:00:10 lead y 2\n 01:00:11 adopt a-1 2\n 01:01 deliver a-1",
        ),
    );
    check(
        &story("00:01 lead x 1\n 00:02 lead y 1"),
        &expect![[r#"
            ! 2026-11-27T00:02:00Z A3 EpochRepeated: y leads in epoch 1, and 1 was before it
        "#]],
        &story("00:01 lead x 1\n 00:02 lead y 2"),
    );
}

// rule: A3
#[test]
fn a_controller_whose_clock_is_off_starts_nothing() {
    check(
        &story("00:30 clock x {\"off\": true}\n 01:00 create a-1 {\"by\": \"x\"}"),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z A3 StartedWithClockOff a-1: the clock of x is off since 2026-11-27T00:30:00Z: it is to start nothing
        "#]],
        &story("00:30 clock x\n 00:31 clock x {\"off\": false}\n 01:00 create a-1 {\"by\": \"x\"}"),
    );
}

// rule: A4
#[test]
fn no_step_starts_after_the_expiry() {
    check(
        &story("01:00 create a-1\n 01:01 deliver a-1\n 02:00:10 start a-1 0"),
        &expect![[r#"
            ! 2026-11-27T02:00:10Z A4 StepAfterExpiry a-1: step 0 began at 2026-11-27T02:00:10Z: no step starts after 2026-11-27T02:00:00Z
        "#]],
        &story("01:00 create a-1\n 01:01 deliver a-1\n 01:59:59 start a-1 0"),
    );
    check(
        &story("01:00 create a-1\n 01:03 deliver a-1"),
        &expect![[r#"
            ! 2026-11-27T01:03:00Z A4 DeliveredTooLate a-1: delivered at 2026-11-27T01:03:00Z, created at 2026-11-27T01:00:00Z: after 2 min it is Expired
        "#]],
        &story("01:00 create a-1\n 01:01:59 deliver a-1"),
    );
    check(
        &story("01:00 create a-1\n 01:01 deliver a-1\n 01:02 start a-1 0\n 01:30 finish a-1 Failed TimedOut"),
        &expect![[r#"
            ! 2026-11-27T01:30:00Z A4 EndedTooEarly a-1: ended at 2026-11-27T01:30:00Z, before its step's timeout at 2026-11-27T02:01:00Z
        "#]],
        &story("01:00 create a-1\n 01:01 deliver a-1\n 01:02 start a-1 0\n 02:02 finish a-1 Failed TimedOut"),
    );
    check(
        &story("01:00 create a-1 {\"spec\": {\"expiry\": \"2026-11-27T09:00:00Z\"}}"),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z A4 ExpiryTooLate a-1: it expires at 2026-11-27T09:00:00Z, and 1h after 2026-11-27T01:00:00Z is the latest
        "#]],
        &story("01:00 create a-1 {\"spec\": {\"expiry\": \"2026-11-27T01:10:00Z\"}}"),
    );
}

// rule: A5
#[test]
fn what_has_begun_is_not_canceled_behind_the_agents_back() {
    check(
        &story("01:00 create a-1\n 01:01 deliver a-1\n 01:02 finish a-1 Canceled CancelRequested"),
        &expect![[r#"
            ! 2026-11-27T01:02:00Z A5 CanceledUnasked a-1: it was delivered, and nobody had asked for its end
        "#]],
        &story(
            "01:00 create a-1\n 01:01 deliver a-1\n 01:02 cancel a-1\n 01:02 finish a-1 Canceled CancelRequested",
        ),
    );
    check(
        &story(
            "01:00 create a-1\n 01:01 deliver a-1\n 01:01 start a-1 0\n 01:02 cancel a-1\n 01:02 finish a-1 Canceled CancelRequested",
        ),
        &expect![[r#"
            ! 2026-11-27T01:02:00Z A5 CanceledBegun a-1: Canceled says that nothing began; what has begun is Interrupted
        "#]],
        &story("01:00 create a-1\n 01:02 finish a-1 Canceled CancelRequested"),
    );
}

// rule: A6
#[test]
fn a_failure_is_tried_again_after_its_wait_and_not_for_ever() {
    let try_again = |number: u32, at: &str| {
        format!("{at} create a-{number}\n {at} fail a-{number}\n {at} report a openssl=1 last={number}\n")
    };
    let tries = [try_again(1, "01:00"), try_again(2, "01:01"), try_again(3, "01:06")].concat();
    check(
        &story(&format!("{tries} 01:30:59 create a-4")),
        &expect![[r#"
            ! 2026-11-27T01:30:59Z A6 RetriedTooEarly a-4: openssl:amd64 2 failed 3 times, last in a-3: the next try is due at 2026-11-27T01:31:00Z
        "#]],
        &story(&format!("{tries} 01:31 create a-4")),
    );
    check(
        &story(&format!("{tries} {} 09:00 create a-5", try_again(4, "01:31"))),
        &expect![[r#"
            ! 2026-11-27T09:00:00Z A6 TooManyRetries a-5: openssl:amd64 2 failed 4 times: three retries are allowed
        "#]],
        &story(&format!(
            "{tries} {} 08:00 machine a again {{\"retriedThrough\": 4}}\n 09:00 create a-5",
            try_again(4, "01:31")
        )),
    );
}

// rule: A6, K3
#[test]
fn a_kernel_that_makes_room_goes_with_another_one_at_once() {
    let next = |second: &str| {
        story(&format!(
            "00:30 report a openssl=1 linux-image-6.1=1 selects
             01:00 create a-1 linux-image-6.2=..2 linux-image-6.1=1..
             01:00 fail a-1
             01:00 report a openssl=1 linux-image-6.1=1 selects last=1
             01:00:30 create a-2 {second}"
        ))
    };
    assert!(!judged(&next("linux-image-6.3=..2 linux-image-6.1=1..")).contains("RetriedTooEarly"));
    assert!(judged(&next("linux-image-6.2=..2 linux-image-6.1=1..")).contains("RetriedTooEarly"));
}

// rule: A6
#[test]
fn a_boot_that_went_wrong_is_not_tried_again() {
    check(
        &story("01:00 create a-1 only reboot\n 01:01 fail a-1 BootFallback\n 01:02 report a openssl=1 last=1\n 09:00 create a-2 only reboot"),
        &expect![[r#"
            ! 2026-11-27T09:00:00Z A6 RetriedAfterBoot a-2: the reboot ended as BootFallback in a-1: there is no retry after that
        "#]],
        &story("01:00 create a-1 only reboot\n 01:01 fail a-1 Unreachable\n 01:35 report a openssl=1 last=1\n 09:00 create a-2 only reboot")
            .replace("fail a-1 Unreachable", "deliver a-1\n 01:02 start a-1 0\n 01:34 finish a-1 Failed Unreachable"),
    );
}

// rule: A2
#[test]
fn refusals_in_a_row_wait_longer_and_longer() {
    let refusals = "01:00 create a-1\n 01:00 refuse a-1\n 01:01 create a-2\n 01:01 refuse a-2\n";
    check(
        &story(&format!("{refusals} 01:05 create a-3")),
        &expect![[r#"
            ! 2026-11-27T01:05:00Z A2 BackoffIgnored a-3: 2 ended in a row without a change, last a-2 as Refused: the next is due at 2026-11-27T01:06:00Z
        "#]],
        &story(&format!("{refusals} 01:06 create a-3")),
    );
}

// rule: A10
#[test]
fn the_newest_activities_are_kept() {
    let three = "
        00:00 policy {\"historyLimit\": 1}
        01:00 create a-1
        01:00 refuse a-1
        02:00 create a-2
        02:00 refuse a-2
    ";
    check(
        &story(&format!("{three} 02:01 delete a-2")),
        &expect![[r#"
            ! 2026-11-27T02:01:00Z A10 DeletedTooEarly a-2: 0 newer ones are kept of 1, and it ended 1m ago, not 720h: the newest stay
        "#]],
        &story(&format!("{three} 02:01 delete a-1")),
    );
    check(
        &story("01:00 create a-1\n 01:01 delete a-1"),
        &expect![[r#"
            ! 2026-11-27T01:01:00Z A10 DeletedUnfinished a-1: it is Pending: only what is over is deleted
        "#]],
        &story("01:00 create a-1\n 01:01 gone a\n 01:01 delete a-1"),
    );
}

// rule: K4
#[test]
fn boots_are_counted() {
    let boots = |count: u32| {
        let mut story = story("01:00 create a-1 only reboot\n 01:01 deliver a-1\n 01:01 start a-1 0\n");
        for _ in 0..count {
            story += "01:05 boots a-1\n";
        }
        story
    };
    check(
        &boots(4),
        &expect![[r#"
        ! 2026-11-27T01:05:00Z K4 TooManyBoots a-1: boot 4 of one activity: 3 are allowed
    "#]],
        &boots(3),
    );
    let reboots = |count: u32| {
        let mut story = story("");
        for number in 1..=count {
            let hour = number;
            story +=
                &format!("{hour:02}:00 create a-{number} only reboot\n{hour:02}:01 succeed a-{number}\n");
            story += &format!("{hour:02}:02 report a openssl=1 last={number}\n");
        }
        story
    };
    check(
        &reboots(7),
        &expect![[r#"
        ! 2026-11-27T07:01:00Z K4 TooManyBoots a-7: reboot 7 within 24 hours: 6 are allowed
    "#]],
        &reboots(6),
    );
    // On record the seventh begins, too, with its preparation; then its machine says that this is enough.
    let seventh = "07:00 create a-7 only reboot\n07:01 deliver a-7\n07:01 start a-7 0\n";
    let after = |word: &str| format!("{}{seventh}{word}", reboots(6));
    check(
        &after("07:02 acts a-7 0"),
        &expect![[r#"
            ! 2026-11-27T07:02:00Z K4 TooManyBoots a-7: reboot 7 within 24 hours: 6 are allowed
        "#]],
        &after("07:02 finish a-7 Failed RebootLoop"),
    );
    check(
        &after("07:05 finish a-7 Failed BootFallback"),
        &expect![[r#"
            ! 2026-11-27T07:05:00Z K4 TooManyBoots a-7: reboot 7 within 24 hours: 6 are allowed
        "#]],
        &after("07:32 finish a-7 Failed TimedOut"),
    );
}

#[test]
fn no_step_is_done_twice() {
    check(
        &story(
            "01:00 create a-1\n 01:01 deliver a-1\n 01:01 acts a-1 0\n 01:02 acted a-1 0\n 01:03 acts a-1 0\n 01:04 acted a-1 0",
        ),
        &expect![[r#"
            ! 2026-11-27T01:03:00Z A1 StepDoneTwice a-1: step 0 was done already
            ! 2026-11-27T01:04:00Z A1 StepDoneTwice a-1: step 0 was done already
        "#]],
        // Killed on the way, and taken up again.
        &story(
            "01:00 create a-1\n 01:01 deliver a-1\n 01:01 acts a-1 0\n 01:02 acts a-1 0\n 01:04 acted a-1 0",
        ),
    );
    check(
        &story("01:00 create a-1\n 01:01 acts a-1 0"),
        &expect![[r#"
            ! 2026-11-27T01:01:00Z A3 BegunUndelivered a-1: it began though it is Pending
        "#]],
        &story("01:00 create a-1\n 01:01 deliver a-1\n 01:01 acts a-1 0\n 01:02 acted a-1 0"),
    );
    check(
        &story(
            "00:00 machine b\n 01:00 create a-1\n 01:01 deliver a-1\n 01:01 acts a-1 0 {\"machine\": \"b\"}",
        ),
        &expect![[r#"
            ! 2026-11-27T01:01:00Z A1 ActedByAnother a-1: b acted on it
        "#]],
        &story("01:00 create a-1\n 01:01 deliver a-1\n 01:01 acts a-1 0"),
    );
}

#[test]
fn what_its_machine_said_is_over_does_not_begin_again() {
    let again = |end: &str| {
        story(&format!(
            "01:00 create a-1\n 01:01 deliver a-1\n 01:01 acts a-1 0\n 01:02 start a-1 0\n 01:10 finish a-1 {end}\n 01:12 acts a-1 0"
        ))
    };
    check(
        &again("Failed PackagesNotAsWanted"),
        &expect![[r#"
            ! 2026-11-27T01:12:00Z A1 BegunAfterEnd a-1: step 0 began again, and its machine had said that it is Failed
        "#]],
        // Who gave up on it was not its machine.
        &again("Failed TimedOut")
            .replace("01:10 finish", "02:10 finish")
            .replace("01:12 acts", "02:12 acts")
            .replace("01:02 start", "01:01 start"),
    );
}
