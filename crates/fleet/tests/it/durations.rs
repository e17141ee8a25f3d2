//! How long steps take, measured.

use muster_model::Cover;

use super::*;

/// An activity that ended `ago`, with one step that took so long.
fn ended(world: &mut World, number: u64, action: StepAction, took: SignedDuration, ago: SignedDuration) {
    let completed = world.now - ago;
    let spec = ActivitySpec {
        name: ActivityName { machine: name(0), number },
        machine_uid: Uid::parse("u-m0").unwrap(),
        steps: vec![Step { action, baselines: BTreeMap::new(), timeout: SignedDuration::from_hours(1) }]
            .into(),
        cause: Cause { revision: None, proposal: None }.into(),
        budgets: Shared::default(),
        windows: Shared::default(),
        passed: Shared::default(),
        expiry: completed,
        health: HealthCheck::default().into(),
        failed_units: Default::default(),
    };
    let activity = Activity {
        uid: Uid::parse(&format!("u-{}", spec.name)).unwrap(),
        created: completed - took,
        cancel: false,
        epoch: 1,
        phase: Phase::Succeeded,
        delivered: Some(completed - took),
        finished: Some(completed),
        outcome: None,
        message: String::new(),
        steps: vec![StepStatus { started: Some(completed - took), completed: Some(completed) }],
        spec,
    };
    world.observe(Change::Activity(Box::new(activity)));
}

fn install() -> StepAction {
    StepAction::InstallPackages(Transaction::default())
}

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

fn recorded(effects: &[Effect]) -> Option<(Estimates, Estimates)> {
    effects.iter().find_map(|effect| match effect {
        Effect::RecordEstimates { medians, estimates } => Some((*medians, *estimates)),
        _ => None,
    })
}

// rule: W2
#[test]
fn what_steps_took_is_what_windows_are_asked_with() {
    let mut world = World::new(1, 1);
    for number in 0..19 {
        ended(&mut world, number, install(), minutes(2), minutes(60));
    }
    assert_eq!(recorded(&world.pass()), None, "nineteen say nothing yet");
    ended(&mut world, 19, install(), minutes(34), minutes(60));
    let hold = StepAction::HoldPackages { hold: BTreeSet::new(), unhold: BTreeSet::new() };
    (20..60).for_each(|number| ended(&mut world, number, hold.clone(), minutes(0), minutes(60)));
    let (medians, estimates) = recorded(&world.pass()).unwrap();
    assert_eq!(medians.packages, minutes(2));
    assert_eq!(estimates.packages, minutes(2), "one of twenty is beyond the 95th percentile");
    assert_eq!(estimates.reboot, Estimates::default().reboot, "of reboots nothing is known");
    assert_eq!(world.state.snapshot().policy.estimates, estimates, "planned with at once");
    assert_eq!(recorded(&world.pass()), None, "said once");
    ended(&mut world, 60, install(), minutes(34), minutes(1));
    assert_eq!(recorded(&world.pass()), None, "not with every machine that ends");
    world.wait(minutes(10));
    assert_eq!(recorded(&world.pass()).unwrap().1.of(Cover::Packages), minutes(34));
}

// rule: W2
#[test]
fn the_last_two_hundred_count_in_whatever_order_they_were_seen() {
    let measure = |order: &mut dyn Iterator<Item = u64>| {
        let mut world = World::new(1, 1);
        for number in order {
            // The older half took an hour, the newer one took 61 s, which is rounded up.
            let took = if number < 200 { minutes(60) } else { SignedDuration::from_secs(61) };
            ended(&mut world, number, install(), took, minutes(1000 - i64::try_from(number).unwrap()));
        }
        recorded(&world.pass()).unwrap()
    };
    let (medians, estimates) = measure(&mut (0..400));
    assert_eq!(
        (medians.packages, estimates.packages),
        (SignedDuration::from_secs(90), SignedDuration::from_secs(90))
    );
    assert_eq!(measure(&mut (0..400).rev()), (medians, estimates));
}
