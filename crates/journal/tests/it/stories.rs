//! What a machine makes of activities that are late, canceled, known, or go wrong.

use muster_journal::{
    BOOTS_PER_ACTIVITY, Input, Journal, JournalError, Next, Observation, Offer, REBOOTS_PER_DAY,
};
use muster_model::{CommandLine, HealthCheck, KernelChoice, OutcomeReason, Phase, StepAction, Uid};

use crate::machine::{Machine, install, offer, reboot};

fn step(machine: &mut Machine) {
    let next = machine.journal().next(&machine.now);
    machine.perform(next).unwrap();
}

// rule: A2
#[test]
fn an_activity_that_was_carried_out_is_refused_when_it_comes_again() {
    let mut machine = Machine::new();
    let first = offer(7, vec![install("openssl")], &machine.now);
    assert_eq!(machine.carry_out(&first).phase, Phase::Succeeded);
    machine.reported.clear();
    let again = machine.carry_out(&first);
    assert_eq!((again.phase, again.outcome), (Phase::Refused, Some(OutcomeReason::Superseded)));
    let older = offer(6, vec![install("nginx")], &machine.now);
    let refused = machine.carry_out(&older);
    assert_eq!((refused.phase, refused.outcome), (Phase::Refused, Some(OutcomeReason::Superseded)));
    assert_eq!(machine.issued.values().sum::<u32>(), 1);
    assert_eq!(machine.journal().last_finished(), 7);
}

// rule: A4
#[test]
fn no_step_acts_before_the_gateway_knows_that_it_runs() {
    let mut machine = Machine::new();
    let openssl = offer(1, vec![install("openssl")], &machine.now);
    machine.tell(Input::Offered(Box::new(openssl))).unwrap();
    step(&mut machine);
    for _ in 0..3 {
        let Next::Report(progress) = machine.journal().next(&machine.now) else { panic!() };
        assert_eq!(progress.phase, Phase::Running);
        machine.tell(Input::Waited).unwrap();
    }
    machine.pass(3600);
    machine.tell(Input::Waited).unwrap();
    // It may be on record as running by now, though nobody answered.
    let Next::Report(progress) = machine.journal().next(&machine.now) else { panic!() };
    assert_eq!((progress.phase, progress.outcome), (Phase::Interrupted, Some(OutcomeReason::WindowClosed)));
    assert!(machine.issued.is_empty());

    let mut machine = Machine::new();
    let openssl = offer(1, vec![install("openssl")], &machine.now);
    machine.tell(Input::Offered(Box::new(openssl))).unwrap();
    machine.pass(3600);
    machine.tell(Input::Waited).unwrap();
    let Next::Report(progress) = machine.journal().next(&machine.now) else { panic!() };
    assert_eq!((progress.phase, progress.outcome), (Phase::Expired, Some(OutcomeReason::NotBegun)));
}

// rule: A5
#[test]
fn what_may_be_on_record_as_running_is_interrupted_and_not_canceled() {
    let mut machine = Machine::new();
    machine.tell(Input::Offered(Box::new(offer(1, vec![install("nginx")], &machine.now)))).unwrap();
    step(&mut machine);
    let uid: Uid = "uid-1".parse().unwrap();
    // The gateway took the word that it runs; its answer was lost, and the next one brings the cancel.
    let Next::Report(running) = machine.journal().next(&machine.now) else { panic!() };
    assert_eq!((running.phase, running.steps.len()), (Phase::Running, 1));
    machine.tell(Input::CancelAsked { uid }).unwrap();
    let Next::Report(end) = machine.journal().next(&machine.now) else { panic!() };
    assert_eq!((end.phase, end.outcome), (Phase::Interrupted, Some(OutcomeReason::CancelRequested)));
    assert!(machine.issued.is_empty(), "and nothing was done");
}

// rule: A4
#[test]
fn an_activity_that_expires_between_two_steps_is_interrupted() {
    let mut machine = Machine::new();
    let mut offer = offer(1, vec![install("openssl"), reboot(None)], &machine.now);
    offer.expires_in_seconds = 4;
    let end = machine.carry_out(&offer);
    assert_eq!((end.phase, end.outcome), (Phase::Interrupted, Some(OutcomeReason::WindowClosed)));
    assert_eq!(machine.effects.len(), 1, "the first step was done, the second not begun");
}

// rule: A5
#[test]
fn a_cancel_takes_effect_between_steps_and_never_in_one() {
    let uid: Uid = "uid-1".parse().unwrap();
    let mut machine = Machine::new();
    let activity = offer(1, vec![install("openssl"), install("nginx")], &machine.now);
    machine.tell(Input::Offered(Box::new(activity.clone()))).unwrap();
    while machine.issued.is_empty() {
        step(&mut machine);
    }
    machine.tell(Input::CancelAsked { uid: uid.clone() }).unwrap();
    let end = machine.carry_out(&activity);
    assert_eq!((end.phase, end.outcome), (Phase::Interrupted, Some(OutcomeReason::CancelRequested)));
    assert_eq!(machine.effects.len(), 1);

    let mut machine = Machine::new();
    machine.tell(Input::Offered(Box::new(activity.clone()))).unwrap();
    machine.tell(Input::CancelAsked { uid }).unwrap();
    let end = machine.carry_out(&activity);
    assert_eq!((end.phase, machine.issued.len()), (Phase::Canceled, 0));
}

// rule: A2
#[test]
fn what_changed_nothing_is_refused_and_the_rest_of_an_activity_interrupted() {
    let mut machine = Machine::new();
    machine.refuse = Some(OutcomeReason::PlanMismatch);
    let end = machine.carry_out(&offer(1, vec![install("openssl")], &machine.now));
    assert_eq!((end.phase, end.outcome), (Phase::Refused, Some(OutcomeReason::PlanMismatch)));

    let mut machine = Machine::new();
    let two = offer(1, vec![install("openssl"), install("nginx")], &machine.now);
    machine.tell(Input::Offered(Box::new(two.clone()))).unwrap();
    while machine.issued.is_empty() {
        step(&mut machine);
    }
    machine.refuse = Some(OutcomeReason::Locked);
    let end = machine.carry_out(&two);
    assert_eq!((end.phase, end.outcome), (Phase::Interrupted, Some(OutcomeReason::Locked)));
}

// rule: K2
#[test]
fn a_machine_that_comes_back_on_the_old_kernel_fell_back() {
    let mut machine = Machine::new();
    machine.next_release = machine.release.clone();
    let end = machine.carry_out(&offer(1, vec![reboot(Some("6.1.0-2"))], &machine.now));
    assert_eq!((end.phase, end.outcome), (Phase::Failed, Some(OutcomeReason::BootFallback)));
    assert_eq!(end.message, "wanted kernel 6.1.0-2, running is 6.1.0-1");
}

// rule: K2
#[test]
fn a_machine_whose_boot_id_stays_did_not_reboot_whatever_systemctl_said() {
    let mut machine = Machine::new();
    machine.reboots = false;
    let end = machine.carry_out(&offer(1, vec![reboot(None)], &machine.now));
    assert_eq!((end.phase, end.outcome), (Phase::Failed, Some(OutcomeReason::RebootNotObserved)));
    assert_eq!(machine.issued[&0], 1);
}

// rule: K2
#[test]
fn an_agent_that_is_restarted_while_the_machine_goes_down_waits_for_the_new_boot() {
    let mut machine = Machine::new();
    machine.reboots = false;
    let activity = offer(1, vec![reboot(None)], &machine.now);
    machine.tell(Input::Offered(Box::new(activity.clone()))).unwrap();
    while machine.issued.is_empty() {
        step(&mut machine);
    }
    machine.restart();
    step(&mut machine);
    machine.boot();
    machine.restart();
    assert_eq!(machine.carry_out(&activity).phase, Phase::Succeeded);
    assert_eq!(machine.issued[&0], 1);
}

// rule: K4
#[test]
fn so_is_one_that_keeps_booting_while_its_units_are_watched() {
    let mut machine = Machine::new();
    let mut activity = offer(1, vec![install("openssl")], &machine.now);
    activity.health.units = [muster_model::UnitName::parse("nginx.service").unwrap()].into();
    activity.health.settle_seconds = 3600;
    machine.tell(Input::Offered(Box::new(activity))).unwrap();
    while !matches!(machine.journal().next(&machine.now), Next::WatchHealth { .. }) {
        step(&mut machine);
    }
    for _ in 0..=BOOTS_PER_ACTIVITY {
        machine.boot();
        machine.restart();
        machine.tell(Input::Waited).unwrap();
    }
    let Next::Report(end) = machine.journal().next(&machine.now) else { panic!("it goes on for ever") };
    assert_eq!((end.phase, end.outcome), (Phase::Failed, Some(OutcomeReason::RebootLoop)));
}

// rule: K4
#[test]
fn a_machine_that_keeps_booting_is_in_a_loop() {
    let mut machine = Machine::new();
    let activity = offer(1, vec![install("openssl")], &machine.now);
    machine.tell(Input::Offered(Box::new(activity.clone()))).unwrap();
    for _ in 0..=BOOTS_PER_ACTIVITY {
        machine.boot();
        machine.restart();
        machine.tell(Input::Waited).unwrap();
    }
    let end = machine.carry_out(&activity);
    assert_eq!((end.phase, end.outcome), (Phase::Failed, Some(OutcomeReason::RebootLoop)));

    let mut machine = Machine::new();
    let ends =
        (1..=8).map(|number| machine.carry_out(&offer(number, vec![reboot(None)], &machine.now)).phase);
    assert_eq!(ends.filter(|phase| *phase == Phase::Succeeded).count(), REBOOTS_PER_DAY);
    machine.pass(24 * 60 * 60);
    assert_eq!(machine.carry_out(&offer(9, vec![reboot(None)], &machine.now)).phase, Phase::Succeeded);
}

// rule: A4
#[test]
fn a_step_past_its_timeout_fails_and_what_runs_is_left_alone() {
    let mut machine = Machine::new();
    let activity = offer(1, vec![install("openssl")], &machine.now);
    machine.tell(Input::Offered(Box::new(activity))).unwrap();
    while machine.issued.is_empty() {
        step(&mut machine);
    }
    machine.pass(300);
    machine.tell(Input::Observed { step: 0, observation: Observation::Running }).unwrap();
    assert!(machine.journal().is_acting());
    machine.pass(300);
    machine.tell(Input::Observed { step: 0, observation: Observation::Running }).unwrap();
    let Next::Report(progress) = machine.journal().next(&machine.now) else { panic!() };
    assert_eq!((progress.phase, progress.outcome), (Phase::Failed, Some(OutcomeReason::TimedOut)));
}

// rule: B2
#[test]
fn units_must_stay_active_for_as_long_as_the_activity_says() {
    let mut machine = Machine::new();
    let mut activity = offer(1, vec![install("nginx")], &machine.now);
    activity.health = HealthCheck { units: ["nginx.service".parse().unwrap()].into(), settle_seconds: 30 };
    let before = machine.now.uptime_micros;
    assert_eq!(machine.carry_out(&activity).phase, Phase::Succeeded);
    assert!(machine.now.uptime_micros - before >= 30_000_000);

    machine.units_active = false;
    activity.name.number = 2;
    activity.uid = "uid-2".parse().unwrap();
    activity.asked = machine.now.clone();
    let end = machine.carry_out(&activity);
    assert_eq!((end.phase, end.outcome), (Phase::Failed, Some(OutcomeReason::Unhealthy)));
    assert_eq!(end.message, "not active for 30 s: nginx.service");
}

#[test]
fn an_activity_that_the_gateway_disowns_is_not_begun() {
    let mut machine = Machine::new();
    machine.tell(Input::Offered(Box::new(offer(1, vec![install("nginx")], &machine.now)))).unwrap();
    let uid: Uid = "uid-1".parse().unwrap();
    machine.tell(Input::Rejected { uid: uid.clone(), message: "not yours".into() }).unwrap();
    let Next::Report(progress) = machine.journal().next(&machine.now) else { panic!() };
    assert_eq!(progress.phase, Phase::Canceled);
    machine.tell(Input::Rejected { uid, message: "not yours".into() }).unwrap();
    assert_eq!(machine.journal().next(&machine.now), Next::Idle);
}

#[test]
fn a_journal_that_cannot_be_read_stops_everything() {
    let machine = Machine::new();
    let damaged = Journal::resume(b"{\"format\":1,\"cur", &machine.now);
    assert!(matches!(damaged, Err(JournalError::Damaged { .. })));
    let newer = Journal::resume(b"{\"format\":2}", &machine.now).unwrap_err();
    assert_eq!(
        newer.to_string(),
        "the journal is of format 2, this agent reads 1; install the newer agent again"
    );
}

/// Select, reboot, default.
fn trial() -> Vec<StepAction> {
    let line = CommandLine { present: ["nosmt".into()].into(), absent: ["quiet".into()].into() };
    let choice = KernelChoice { release: "6.1.0-2".into(), command_line: line.clone(), followed: None };
    vec![
        StepAction::SelectKernel(choice.clone()),
        StepAction::Reboot { kernel: Some(choice.release.clone()), command_line: line },
        StepAction::SetDefaultKernel(choice),
    ]
}

fn trial_of(machine: &Machine) -> Offer {
    let mut offer = offer(1, trial(), &machine.now);
    offer.health = HealthCheck { units: ["nginx.service".parse().unwrap()].into(), settle_seconds: 30 };
    offer
}

// rule: K2
#[test]
fn a_kernel_becomes_the_default_only_on_a_machine_that_is_healthy_with_it() {
    let mut machine = Machine::new();
    machine.line = "ro nosmt".into();
    let mut offer = trial_of(&machine);
    let end = machine.carry_out(&offer);
    assert_eq!((end.phase, end.steps.len()), (Phase::Succeeded, 3));
    let phases: Vec<Phase> = machine.reported.iter().map(|progress| progress.phase).collect();
    assert_eq!(phases, [Phase::Running, Phase::Succeeded], "it is watched before, and not once more after");

    let mut ill = Machine::new();
    (ill.line, ill.units_active) = ("ro nosmt".into(), false);
    offer.asked = ill.now.clone();
    let end = ill.carry_out(&offer);
    assert_eq!((end.phase, end.outcome), (Phase::Failed, Some(OutcomeReason::Unhealthy)));
    assert_eq!(ill.issued.keys().copied().collect::<Vec<_>>(), [0, 1], "the default was left alone");
}

// rule: K2, A6
#[test]
fn a_machine_that_comes_back_on_another_kernel_or_line_fell_back() {
    let mut machine = Machine::new();
    machine.next_release = machine.release.clone();
    let offer = trial_of(&machine);
    let end = machine.carry_out(&offer);
    assert_eq!((end.phase, end.outcome), (Phase::Failed, Some(OutcomeReason::BootFallback)));
    assert_eq!(end.message, "wanted kernel 6.1.0-2, running is 6.1.0-1");

    let mut other = Machine::new();
    let offer = trial_of(&other);
    let end = other.carry_out(&offer);
    assert_eq!((end.phase, end.outcome), (Phase::Failed, Some(OutcomeReason::BootFallback)));
    assert_eq!(
        end.message,
        "6.1.0-2 runs with another command line than was wanted: no nosmt, quiet is there"
    );
}

// rule: K2, W6
#[test]
fn a_trial_that_outlasts_its_window_leaves_the_default_alone() {
    let mut machine = Machine::new();
    machine.line = "ro nosmt".into();
    let mut offer = trial_of(&machine);
    offer.expires_in_seconds = 50;
    let end = machine.carry_out(&offer);
    assert_eq!((end.phase, end.outcome), (Phase::Interrupted, Some(OutcomeReason::WindowClosed)));
    assert_eq!(end.steps.len(), 2, "it booted, and what is left is planned anew");
}
