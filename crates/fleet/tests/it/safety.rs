//! What an adversary would try: late writes, lost presence, clocks, objects made anew, writes that never end.

use super::*;

fn records(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::RecordMachine { .. })).count()
}

/// An activity as another controller would have written it, in that epoch.
fn late(world: &mut World, template: &ActivityName, name: &str, epoch: u64) -> ActivityName {
    let mut activity = world.activities[template].clone();
    activity.spec.name = ActivityName::parse(name).unwrap();
    activity.spec.machine_uid = Uid::parse(&format!("u-{}", activity.spec.name.machine)).unwrap();
    activity.epoch = epoch;
    activity.uid = Uid::parse(&format!("late-{name}")).unwrap();
    let name = activity.spec.name.clone();
    world.activities.insert(name.clone(), activity);
    world.show(&name, |_| {});
    name
}

// rule: A3
#[test]
fn the_late_write_of_a_paused_leader_is_canceled_and_not_adopted() {
    let mut world = World::new(2, 1);
    world.observe(Change::Epoch(2));
    world.propose();
    let effects = world.pass();
    let ours = world.created(&effects).remove(0);
    assert!(short(&world.pass()).is_empty(), "the only place is taken");
    let other = if ours.machine == name(0) { "m1-1" } else { "m0-1" };
    let late = late(&mut world, &ours, other, 1);
    assert_eq!(
        short(&world.pass()),
        [format!("end {late} Canceled(NotAdopted)")],
        "adopting it would bring a second machine down"
    );
}

// rule: A3
#[test]
fn what_a_newer_leader_wrote_is_left_alone() {
    let mut world = World::new(2, 2);
    world.propose();
    let effects = world.pass();
    let ours = world.created(&effects);
    drop(world.pass());
    late(&mut world, &ours[0], "m0-2", 9);
    assert!(short(&world.pass()).is_empty());
}

// rule: A3, A4
#[test]
fn an_adoption_that_shows_no_effect_is_looked_at_again_whatever_happens_meanwhile() {
    let mut world = World::new(1, 1);
    let activity = world.one_pending();
    assert!(short(&world.pass()).is_empty(), "it waits, and nothing comes due for two minutes");
    world.observe(Change::Epoch(2));
    assert_eq!(short(&world.pass()), [format!("adopt {activity} in epoch 2")]);
    world.wait(SignedDuration::from_secs(1));
    // Something else, and no gateway is up: nothing but this activity wakes anybody.
    world.observe(Change::Gateway("g".into(), None));
    assert!(short(&world.pass()).is_empty());
    let next = world.state.next().unwrap();
    assert!(next <= world.now + SignedDuration::from_secs(30), "{next}");
}

// rule: A5
#[test]
fn what_a_person_cancels_before_its_delivery_ends_at_once() {
    let mut world = World::new(1, 1);
    let activity = world.one_pending();
    world.show(&activity, |activity| activity.cancel = true);
    assert_eq!(short(&world.pass()), [format!("end {activity} Canceled(CancelRequested)")]);
}

// rule: B2
#[test]
fn silence_does_not_count_while_no_gateway_is_up_however_often_it_is_looked_at() {
    let mut world = World::new(1, 1);
    world.lease(SignedDuration::from_secs(30));
    drop(world.pass());
    for _ in 0..20 {
        world.wait(SignedDuration::from_mins(2));
        drop(world.pass());
    }
    let machine = &world.state.snapshot().machines[&name(0)];
    let Presence::Silent { counted_from, .. } = machine.presence else { panic!("{:?}", machine.presence) };
    assert_eq!(counted_from, world.now);
}

// rule: B2, B4
#[test]
fn a_machine_whose_presence_is_lost_counts_as_silent_and_not_as_never_heard() {
    let mut world = World::new(2, 1);
    world.observe(Change::Budget(Budget {
        name: ObjectName::parse("all").unwrap(),
        uid: Uid::parse("u-all").unwrap(),
        generation: 1,
        selector: LabelSelector::all(),
        limit: BudgetLimit::MaxUnavailable(Share::count(1).unwrap()),
        absent: AbsentMachines::Count,
        provenance: None,
    }));
    drop(world.pass());
    let present = |n: usize| PresenceShard { present: [name(n)].into(), ..PresenceShard::default() };
    world.observe(Change::Presence("g".into(), "g-0".into(), Some(present(0))));
    drop(world.pass());
    let presence = |world: &World| world.state.snapshot().machines[&name(1)].presence;
    assert!(matches!(presence(&world), Presence::Silent { .. }), "{:?}", presence(&world));
    world.wait(SignedDuration::from_mins(6));
    world.propose();
    assert!(short(&world.pass()).is_empty(), "it may be down: m0 is not to follow it");
}

// rule: A3
#[test]
fn a_controller_that_restarts_counts_reported_machines_of_which_no_gateway_speaks() {
    let mut world = World::new(1, 1);
    world.observe(Change::Presence("g".into(), "g-0".into(), None));
    let presence = |world: &World| world.state.snapshot().machines[&name(0)].presence;
    drop(world.pass());
    assert_eq!(presence(&world), Presence::Never, "its first report may be older than its presence");
    let next = world.state.next().unwrap();
    assert!(next <= world.now + SignedDuration::from_mins(3));
    world.now = next;
    drop(world.pass());
    assert!(matches!(presence(&world), Presence::Silent { .. }), "{:?}", presence(&world));
}

// rule: M4
#[test]
fn a_machine_made_anew_between_two_lists_is_told_what_is_wanted_of_it() {
    let mut world = World::new(1, 1);
    assert_eq!(records(&world.pass()), 1);
    assert_eq!(records(&world.pass()), 0);
    world.machine(&name(0), |machine| machine.uid = Uid::parse("u-anew").unwrap());
    world.heard([name(0)].into_iter());
    assert_eq!(records(&world.pass()), 1, "the new object has no status yet");
}

// rule: S4
#[test]
fn an_edited_object_is_recorded_again_though_its_numbers_are_the_same() {
    let mut world = World::new(1, 1);
    drop(world.pass());
    world.wait(SignedDuration::from_secs(2));
    drop(world.pass());
    let baselines = |effects: &[Effect]| {
        effects.iter().filter(|effect| matches!(effect, Effect::RecordBaseline { .. })).count()
    };
    let baseline = world.state.snapshot().package_baselines.values().next().unwrap().clone();
    let mut baseline = PackageBaseline::clone(&baseline);
    baseline.common.generation = 2;
    world.observe(Change::PackageBaseline(baseline));
    assert_eq!(baselines(&world.pass()), 1, "observedGeneration is what `kubectl wait` goes by");
    world.wait(SignedDuration::from_secs(2));
    assert_eq!(baselines(&world.pass()), 0);
    world.observe(Change::Unrecorded(Key::Machine(name(0))));
    assert_eq!(records(&world.pass()), 1);
    assert_eq!(records(&world.pass()), 0);
}

// rule: A10
#[test]
fn a_deletion_is_asked_for_once() {
    let mut world = World::new(1, 1);
    let activity = world.one_pending();
    let template = world.activities[&activity].clone();
    for number in 1..=12 {
        let mut old = template.clone();
        old.spec.name.number = number;
        old.phase = Phase::Succeeded;
        old.finished = Some(world.now);
        world.observe(Change::Activity(Box::new(old)));
    }
    assert_eq!(short(&world.pass()), ["delete m0-2", "delete m0-1"]);
    assert!(short(&world.pass()).is_empty());
    world.written(Key::Activity(ActivityName::parse("m0-1").unwrap()), Written::Unknown);
    world.wait(SignedDuration::from_secs(2));
    assert_eq!(short(&world.pass()), ["delete m0-1"], "nobody knows whether it is gone");
}

// rule: A10
#[test]
fn of_a_machine_that_is_gone_nothing_is_kept_for_ever() {
    let mut world = World::new(1, 1);
    let activity = world.one_pending();
    let now = world.now;
    world.show(&activity, |activity| {
        activity.phase = Phase::Failed;
        activity.finished = Some(now);
    });
    world.observe(Change::MachineGone(name(0)));
    assert!(short(&world.pass()).is_empty());
    world.wait(SignedDuration::from_hours(24 * 30));
    assert!(short(&world.pass()).contains(&format!("delete {activity}")));
}

/// An activity that ended just now: like the template, or with another action.
fn past(world: &mut World, template: &Activity, number: u64, action: Option<StepAction>, phase: Phase) {
    let mut old = template.clone();
    old.spec.name.number = number;
    if let Some(action) = action {
        old.spec.steps[0].action = action;
    }
    (old.phase, old.finished) = (phase, Some(world.now));
    world.observe(Change::Activity(Box::new(old)));
}

/// What the next pass deletes.
fn deleted(world: &mut World) -> Vec<String> {
    short(&world.pass()).into_iter().filter(|text| text.starts_with("delete")).collect()
}

// rule: A6, A10, O3
#[test]
fn failures_that_count_stay_whatever_came_after_them() {
    let mut world = World::new(1, 1);
    let activity = world.one_pending();
    let template = world.activities[&activity].clone();
    let past = |world: &mut World, number, action, phase| past(world, &template, number, action, phase);
    // The item failed, a boot fell back; then dpkg was repaired again and again, in vain.
    let reboot = StepAction::Reboot { kernel: None, command_line: CommandLine::default() };
    past(&mut world, 1, None, Phase::Failed);
    past(&mut world, 2, Some(reboot.clone()), Phase::Failed);
    (3..=8).for_each(|number| past(&mut world, number, Some(StepAction::RepairPackages), Phase::Failed));
    (9..=20).for_each(|number| past(&mut world, number, None, Phase::Refused));
    assert_eq!(
        deleted(&mut world),
        ["delete m0-10", "delete m0-9"],
        "refusals in a row say enough by the newest"
    );
    // Once dpkg is well again and the machine has booted, only the item's failure says something still.
    past(&mut world, 21, Some(StepAction::RepairPackages), Phase::Succeeded);
    past(&mut world, 22, Some(reboot), Phase::Succeeded);
    world.wait(SignedDuration::from_hours(24 * 31));
    let gone = deleted(&mut world);
    assert!(!gone.contains(&"delete m0-1".to_owned()), "{gone:?}");
    assert!(gone.contains(&"delete m0-2".to_owned()) && gone.contains(&"delete m0-3".to_owned()), "{gone:?}");
}

// rule: A2, A10
#[test]
fn refusals_in_a_row_stay_when_what_was_canceled_came_between_them() {
    let mut world = World::new(1, 1);
    let activity = world.one_pending();
    let template = world.activities[&activity].clone();
    for number in 1..=20 {
        let refused = matches!(number, 4..=6 | 20);
        past(&mut world, &template, number, None, if refused { Phase::Refused } else { Phase::Canceled });
    }
    let gone = deleted(&mut world);
    let kept: Vec<u64> = (1..=7).filter(|number| !gone.contains(&format!("delete m0-{number}"))).collect();
    assert_eq!(kept, [4, 5, 6]);
}

// rule: A10, B2
#[test]
fn a_failure_stays_while_it_holds_its_place() {
    let mut world = World::new(1, 1);
    let activity = world.one_pending();
    let template = world.activities[&activity].clone();
    for number in 1..=9 {
        let action = (number > 1).then_some(StepAction::RepairPackages);
        past(&mut world, &template, number, action, Phase::Failed);
    }
    let mut machine = Machine::clone(&world.state.snapshot().machines[&name(0)]);
    machine.retried_through = 9;
    world.observe(Change::Machine(Box::new(machine.clone())));
    world.wait(SignedDuration::from_hours(24 * 31));
    assert!(deleted(&mut world).is_empty(), "to try again resolves nothing");
    machine.resolved_through = 3;
    world.observe(Change::Machine(Box::new(machine)));
    assert_eq!(deleted(&mut world), ["delete m0-3", "delete m0-2", "delete m0-1"]);
}

// rule: A10, B2, B3
#[test]
fn what_made_a_failure_good_is_kept_as_long_as_the_failure() {
    let mut world = World::new(1, 1);
    let activity = world.one_pending();
    let template = world.activities[&activity].clone();
    for number in 1..=20 {
        let action = (number > 2).then_some(StepAction::RepairPackages);
        let phase = if number == 1 { Phase::Failed } else { Phase::Succeeded };
        past(&mut world, &template, number, action, phase);
    }
    let gone = deleted(&mut world);
    assert!(gone.contains(&"delete m0-3".to_owned()), "{gone:?}");
    // The failure is kept for what rollouts have on record; without its success it would hold a place again.
    assert!(
        !gone.contains(&"delete m0-1".to_owned()) && !gone.contains(&"delete m0-2".to_owned()),
        "{gone:?}"
    );
}

// rule: O3, W7
#[test]
fn a_baseline_that_cannot_be_read_for_a_while_keeps_its_bars() {
    let mut world = World::new(1, 1);
    drop(world.pass());
    let fix = BaselineRef { kind: BaselineKind::PackageBaseline, name: ObjectName::parse("fix").unwrap() };
    assert!(world.state.snapshot().rollouts.contains_key(&fix));
    world.observe(Change::BaselineGone(fix.clone()));
    world.observe(Change::Unreadable(fix.to_string().into(), Some("no such version".to_owned())));
    assert!(short(&world.pass()).is_empty());
    world.observe(Change::Unreadable(fix.to_string().into(), None));
    assert_eq!(short(&world.pass()), [format!("delete the rollout of {fix}")]);
    assert!(short(&world.pass()).is_empty(), "once");
}

// rule: S4
#[test]
fn what_the_api_refuses_to_create_is_said_and_not_asked_for_all_the_time() {
    let mut world = World::new(1, 1);
    world.propose();
    let (mut creations, mut told) = (0, 0);
    let end = world.now + SignedDuration::from_hours(1);
    while world.now < end {
        let effects = world.pass();
        told += effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Tell(note) if note.reason == "CreationRefused"))
            .count();
        for effect in &effects {
            if matches!(effect, Effect::CreateActivity { .. }) {
                creations += 1;
                world.written(effect.key().unwrap(), Written::Refused);
            }
        }
        world.wait(SignedDuration::from_secs(1));
    }
    assert!((50..70).contains(&creations), "{creations} in an hour");
    assert_eq!(told, 1);
}

// rule: B2
#[test]
fn a_thousand_machines_that_wait_for_one_place_are_not_written_when_it_changes_hands() {
    let mut world = World::new(1000, 1);
    world.propose();
    let effects = world.pass();
    let running = world.created(&effects).remove(0);
    drop(world.pass());
    world.wait(SignedDuration::from_secs(2));
    drop(world.pass());
    world.show(&running, |activity| activity.phase = Phase::Running);
    assert_eq!(records(&world.pass()), 1);
    let now = world.now;
    world.show(&running, |activity| {
        activity.phase = Phase::Refused;
        activity.outcome = Some(OutcomeReason::Locked);
        activity.finished = Some(now);
    });
    let effects = world.pass();
    assert_eq!(world.created(&effects).len(), 1, "the place goes to another");
    assert_eq!(records(&effects) + records(&world.pass()), 2, "the one that had it, and the one that has it");
    // One more place and one machine less: the thousand's numbers change, their verdicts do not.
    world.baseline("latest", false, 2);
    let effects = world.pass();
    assert_eq!(world.created(&effects).len(), 1);
    assert_eq!(records(&effects) + records(&world.pass()), 1);
}

// promise P6
#[test]
fn a_gateways_renewals_do_not_make_anybody_plan() {
    let mut world = World::new(3, 1);
    world.lease(SignedDuration::from_secs(30));
    drop(world.pass());
    world.wait(SignedDuration::from_secs(2));
    drop(world.pass());
    for _ in 0..10 {
        world.wait(SignedDuration::from_secs(10));
        world.lease(SignedDuration::from_secs(30));
        assert!(world.pass().is_empty());
    }
    assert!(world.state.next().unwrap() > world.now);
    assert!(matches!(world.state.snapshot().machines[&name(0)].presence, Presence::Present));
}

// rule: W5
#[test]
fn a_fleet_that_waits_eight_hours_for_its_window_writes_nothing() {
    let mut world = World::new(50, 5);
    let start = world.now;
    world.observe(Change::Window(Window {
        name: ObjectName::parse("night").unwrap(),
        uid: Uid::parse("u-night").unwrap(),
        generation: 1,
        selector: LabelSelector::all(),
        action: WindowAction::Allow,
        when: Ok(When::once(start + SignedDuration::from_hours(8), start + SignedDuration::from_hours(10))
            .unwrap()),
        cutoff: SignedDuration::ZERO,
        covers: None,
        overridable: false,
        provenance: None,
    }));
    world.propose();
    drop(world.pass());
    world.wait(SignedDuration::from_secs(2));
    drop(world.pass());
    let mut passes = 0;
    while let Some(next) = world.state.next().filter(|next| *next < start + SignedDuration::from_hours(8)) {
        assert!(next > world.now, "it never asks to be woken in the past");
        world.now = next;
        let effects = world.pass();
        assert!(effects.is_empty(), "{effects:?}");
        passes += 1;
    }
    assert!(passes < 10, "{passes}");
    world.now = start + SignedDuration::from_hours(8);
    assert_eq!(short(&world.pass()).len(), 5, "it opens by the clock alone");
}

// rule: O2, A3
#[test]
fn an_older_record_that_a_late_watch_shows_takes_nothing_back() {
    let mut world = World::new(1, 1);
    let fix = BaselineRef { kind: BaselineKind::PackageBaseline, name: ObjectName::parse("fix").unwrap() };
    let recorded = |effects: &[Effect]| {
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::RecordRollout { baseline, .. } if *baseline == fix))
    };
    assert!(recorded(&world.pass()));
    let ours = world.state.snapshot().rollouts[&fix].clone();
    assert!(ours.items.values().all(|progress| progress.released.is_some()));
    world.wait(SignedDuration::from_mins(5));
    world.observe(Change::Rollout(fix.clone(), Rollout::default()));
    assert!(recorded(&world.pass()), "what is on record by now is written over");
    assert_eq!(world.state.snapshot().rollouts[&fix], ours, "what passed stays as it was");
    assert!(!recorded(&world.pass()), "once");
}

// rule: O3, O7
#[test]
fn a_person_who_pauses_an_item_is_heard_in_the_next_pass() {
    let mut world = World::new(1, 1);
    world.propose();
    let said = |action, created| RolloutApproval {
        name: ObjectName::parse("word").unwrap(),
        baseline: BaselineRef {
            kind: BaselineKind::PackageBaseline,
            name: ObjectName::parse("fix").unwrap(),
        },
        items: Items::All,
        action,
        by: "alice".into(),
        created,
        applied: false,
    };
    world.observe(Change::Approval(said(ApprovalAction::Pause, world.now)));
    assert!(short(&world.pass()).is_empty());
    world.observe(Change::ApprovalGone(ObjectName::parse("word").unwrap()));
    assert_eq!(short(&world.pass()).len(), 1, "a pause that is deleted is over");
}
