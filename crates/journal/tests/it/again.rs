//! What was meant and never begun, since the agent died in between: it goes on only if it may still.

use muster_journal::{Input, Next, Offer, Progress, REBOOTS_PER_DAY};
use muster_model::{OutcomeReason, Phase, StepAction};

use crate::machine::{Machine, install, offer, reboot};

/// A machine whose agent died after the intent of the activity's first step was on disk and before it acted.
fn died_before(activity: &Offer) -> Machine {
    let mut machine = Machine::new();
    dies_before(&mut machine, activity);
    machine
}

fn dies_before(machine: &mut Machine, activity: &Offer) {
    machine.tell(Input::Offered(Box::new(activity.clone()))).unwrap();
    goes_on_to_act(machine);
    machine.restart();
}

fn goes_on_to_act(machine: &mut Machine) {
    loop {
        match machine.journal().next(&machine.now) {
            Next::Act { .. } => return,
            Next::Idle => panic!("it ended: {:?}", machine.reported.last()),
            next => machine.perform(next).unwrap(),
        }
    }
}

fn one(action: StepAction) -> Offer {
    offer(1, vec![action], &Machine::new().now)
}

fn end(progress: &Progress) -> (Phase, Option<OutcomeReason>) {
    (progress.phase, progress.outcome)
}

// rule: W6
#[test]
fn a_reboot_that_did_not_happen_needs_a_fresh_word_again() {
    let activity = one(reboot(None));
    let mut machine = died_before(&activity);
    assert_eq!(machine.asked, 1);
    machine.pass(300);
    assert_eq!(machine.carry_out(&activity).phase, Phase::Succeeded);
    assert_eq!((machine.asked, machine.issued[&0]), (2, 1));

    let mut machine = died_before(&activity);
    machine.pass(300);
    machine.word = Err(OutcomeReason::WindowClosed);
    let interrupted = (Phase::Interrupted, Some(OutcomeReason::WindowClosed));
    assert_eq!(end(&machine.carry_out(&activity)), interrupted, "a freeze began while it was away");
    assert!(machine.issued.is_empty() && !machine.journal().is_acting());
}

// rule: W6
#[test]
fn a_reboot_that_failed_to_begin_needs_one_too() {
    let activity = one(reboot(None));
    let mut machine = Machine::new();
    machine.tell(Input::Offered(Box::new(activity.clone()))).unwrap();
    goes_on_to_act(&mut machine);
    machine.tell(Input::IssueFailed { step: 0 }).unwrap();
    machine.word = Err(OutcomeReason::WindowClosed);
    let interrupted = (Phase::Interrupted, Some(OutcomeReason::WindowClosed));
    assert_eq!(end(&machine.carry_out(&activity)), interrupted);
    assert_eq!(machine.asked, 2);
}

// rule: A4, A5
#[test]
fn what_was_never_begun_is_not_begun_after_its_expiry_or_a_cancel() {
    for action in [install("openssl"), reboot(None)] {
        let activity = one(action);
        let mut machine = died_before(&activity);
        machine.pass(3600);
        let interrupted = (Phase::Interrupted, Some(OutcomeReason::WindowClosed));
        assert_eq!(end(&machine.carry_out(&activity)), interrupted, "it was away for too long");
        assert!(machine.issued.is_empty());

        let mut machine = died_before(&activity);
        machine.tell(Input::CancelAsked { uid: activity.uid.clone() }).unwrap();
        let canceled = (Phase::Interrupted, Some(OutcomeReason::CancelRequested));
        assert_eq!(end(&machine.carry_out(&activity)), canceled, "nothing of it is under way after all");
        assert!(machine.issued.is_empty());
    }
}

// rule: K4
#[test]
fn reboots_that_did_not_happen_are_none_of_the_day() {
    let mut machine = Machine::new();
    for number in 1..=REBOOTS_PER_DAY {
        let number = u64::try_from(number).unwrap();
        let activity = offer(number, vec![reboot(None)], &machine.now);
        dies_before(&mut machine, &activity);
        assert_eq!(machine.carry_out(&activity).phase, Phase::Succeeded, "{number}");
    }
    let last = offer(9, vec![reboot(None)], &machine.now);
    assert_eq!(end(&machine.carry_out(&last)), (Phase::Failed, Some(OutcomeReason::RebootLoop)));
}
