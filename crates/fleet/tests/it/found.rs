//! What storms found: each of these broke a rule, or kept a fleet from arriving, before it was mended.

use super::*;

fn running(world: &mut World) -> ActivityName {
    let activity = world.one_pending();
    let now = world.now;
    world.show(&activity, |activity| {
        activity.phase = Phase::Running;
        activity.delivered = Some(now);
        activity.steps = vec![StepStatus { started: Some(now), completed: None }];
    });
    activity
}

// rule: A3, A4
#[test]
fn by_a_clock_that_is_off_nothing_is_overdue() {
    let mut world = World::new(2, 1);
    let activity = running(&mut world);
    world.observe(Change::ClockOff(true));
    world.wait(HOUR * 5);
    assert!(short(&world.pass()).is_empty(), "the machine has begun a minute ago, whatever our clock says");
    world.observe(Change::ClockOff(false));
    assert_eq!(short(&world.pass()), [format!("end {activity} Failed(TimedOut)")]);
}

// rule: A3, A10
#[test]
fn by_a_clock_that_is_off_nothing_is_old() {
    let mut world = World::new(1, 1);
    let activity = world.one_pending();
    let now = world.now;
    world.show(&activity, |activity| {
        activity.phase = Phase::Canceled;
        activity.finished = Some(now);
    });
    world.observe(Change::MachineGone(name(0)));
    drop(world.pass());
    world.observe(Change::ClockOff(true));
    world.wait(HOUR * 24 * 365);
    assert!(short(&world.pass()).is_empty());
    world.observe(Change::ClockOff(false));
    assert!(short(&world.pass()).contains(&format!("delete {activity}")));
}

// rule: A3
#[test]
fn a_clock_that_was_ahead_and_is_set_back_leaves_no_wait_behind() {
    let mut world = World::new(1, 1);
    world.propose();
    let start = world.now;
    world.wait(HOUR * 5);
    let effects = world.pass();
    let key =
        effects.iter().find(|effect| matches!(effect, Effect::CreateActivity { .. })).unwrap().key().unwrap();
    // Refused at what the clock says is five hours from now.
    world.written(key, Written::Refused);
    assert!(short(&world.pass()).is_empty());
    world.now = start + SignedDuration::from_secs(1);
    drop(world.pass());
    world.wait(SignedDuration::from_mins(2));
    assert_eq!(short(&world.pass()).len(), 1, "it is tried again in minutes, not in hours");
}

// rule: A4, B2
#[test]
fn what_a_gateway_published_before_it_died_says_nothing_once_it_is_back() {
    let mut world = World::new(1, 1);
    let lease = |acquired: Instant, now: Instant| {
        Change::Gateway(
            "g".into(),
            Some(GatewayLease { acquired, renewed: now, valid_until: now + SignedDuration::from_secs(30) }),
        )
    };
    let shard = |since: Instant| {
        let present = [name(0)].into();
        Change::Presence(
            "g".into(),
            "g-0".into(),
            Some(PresenceShard { present, since: Some(since), ..PresenceShard::default() }),
        )
    };
    let first = world.now;
    world.observe(lease(first, first));
    world.observe(shard(first));
    world.propose();
    world.wait(SignedDuration::from_mins(20));
    assert!(short(&world.pass()).is_empty(), "nobody is heard");
    // It is back, and its Lease is seen before what it publishes anew.
    let second = world.now;
    world.observe(lease(second, second));
    assert!(short(&world.pass()).is_empty(), "the machine may have been silent for twenty minutes");
    world.observe(shard(second));
    assert_eq!(short(&world.pass()).len(), 1);
}

// rule: A3, B2
#[test]
fn a_clock_that_was_off_forgets_nobodys_silence() {
    let mut world = one_of_two_is_silent();
    world.propose();
    assert!(short(&world.pass()).is_empty(), "m1 has the only place");
    let start = world.now;
    world.observe(Change::ClockOff(true));
    world.wait(HOUR * 5);
    assert!(short(&world.pass()).is_empty());
    world.now = start + SignedDuration::from_secs(1);
    world.observe(Change::ClockOff(false));
    assert!(
        short(&world.pass()).is_empty(),
        "it has been silent for ten minutes, not since the clock was set"
    );
}

// rule: A3, B2
#[test]
fn a_leader_whose_clock_is_off_as_it_begins_learns_of_silence_all_the_same() {
    let mut world = one_of_two_is_silent();
    world.observe(Change::ClockOff(true));
    assert!(short(&world.pass()).is_empty());
    world.wait(SignedDuration::from_secs(20));
    world.observe(Change::ClockOff(false));
    world.propose();
    assert!(short(&world.pass()).is_empty(), "m1 has the only place");
}

fn one_of_two_is_silent() -> World {
    let mut world = World::new(2, 2);
    world.observe(Change::Budget(Budget {
        name: ObjectName::parse("all").unwrap(),
        uid: Uid::parse("u-all").unwrap(),
        generation: 1,
        selector: LabelSelector::all(),
        limit: BudgetLimit::MaxUnavailable(Share::count(1).unwrap()),
        absent: AbsentMachines::Count,
        provenance: None,
    }));
    let silent = [(name(1), world.now - SignedDuration::from_mins(10))].into();
    let shard = PresenceShard { present: [name(0)].into(), silent, since: None };
    world.observe(Change::Presence("g".into(), "g-0".into(), Some(shard)));
    world.lease(SignedDuration::from_secs(30));
    world
}

// promise P6
#[test]
fn what_we_wrote_comes_back_to_us_and_asks_for_no_pass() {
    let mut world = World::new(2, 1);
    let activity = world.one_pending();
    drop(world.pass());
    world.wait(SignedDuration::from_secs(2));
    drop(world.pass());
    assert!(!world.state.wants_pass(world.now));
    let machine = Machine::clone(&world.state.snapshot().machines[&name(0)]);
    world.observe(Change::Machine(Box::new(Machine { presence: Presence::Never, ..machine })));
    world.show(&activity, |_| {});
    world.observe(Change::ClockOff(false));
    assert!(!world.state.wants_pass(world.now), "a relist shows what is known");
    world.show(&activity, |activity| activity.phase = Phase::Delivered);
    assert!(world.state.wants_pass(world.now));
}

// rule: A3, B2
#[test]
fn a_gateway_that_came_up_while_the_clock_was_off_has_been_up_since_then() {
    let mut world = one_of_two_is_silent();
    drop(world.pass());
    world.wait(SignedDuration::from_mins(1));
    drop(world.pass());
    world.observe(Change::ClockOff(true));
    world.wait(SignedDuration::from_mins(20));
    let (acquired, now) = (world.now - SignedDuration::from_mins(10), world.now);
    let lease = GatewayLease { acquired, renewed: now, valid_until: now + SignedDuration::from_secs(30) };
    world.observe(Change::Gateway("g".into(), Some(lease)));
    let silent = [(name(1), now - SignedDuration::from_mins(31))].into();
    let shard = PresenceShard { present: [name(0)].into(), silent, since: Some(acquired) };
    world.observe(Change::Presence("g".into(), "g-0".into(), Some(shard)));
    drop(world.pass());
    world.observe(Change::ClockOff(false));
    world.propose();
    assert!(
        short(&world.pass()).is_empty(),
        "for ten minutes it could have been heard, and m1 has the only place"
    );
}

// rule: O2, A3
#[test]
fn by_a_clock_that_is_off_nothing_passes_its_waves() {
    let mut world = World::new(1, 1);
    let recorded =
        |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::RecordRollout { .. }));
    world.observe(Change::ClockOff(true));
    world.wait(SignedDuration::from_hours(5));
    assert!(!recorded(&world.pass()));
    assert!(world.state.snapshot().rollouts.is_empty(), "nor is anything planned from it");
    world.now -= SignedDuration::from_hours(5);
    world.observe(Change::ClockOff(false));
    assert!(recorded(&world.pass()));
    let now = world.now;
    let mut items = world.state.snapshot().rollouts.values().flat_map(|rollout| rollout.items.values());
    assert!(items.all(|progress| progress.released == Some(now)));
}

// rule: B2, A3
#[test]
fn a_controller_that_stood_still_takes_its_pause_for_nobodys_silence() {
    let mut world = World::new(2, 1);
    let acquired = world.now - HOUR;
    let lease = |world: &mut World| {
        let valid_until = world.now + SignedDuration::from_secs(30);
        let lease = GatewayLease { acquired, renewed: world.now, valid_until };
        world.observe(Change::Gateway("g".into(), Some(lease)));
    };
    let last_heard = world.now - SignedDuration::from_mins(10);
    let shard = PresenceShard {
        present: [name(0)].into(),
        silent: [(name(1), last_heard)].into(),
        ..PresenceShard::default()
    };
    world.observe(Change::Presence("g".into(), "g-0".into(), Some(shard)));
    lease(&mut world);
    drop(world.pass());
    let silent = Presence::Silent { last_heard, counted_from: last_heard };
    let presence = |world: &World| world.state.snapshot().machines[&name(1)].presence;
    assert_eq!(presence(&world), silent);
    // It stands still, and plans before it reads what it missed.
    world.wait(SignedDuration::from_mins(4));
    assert!(step(&mut world.state, Input::Pass(world.now)).is_empty());
    lease(&mut world);
    assert!(!world.state.wants_pass(world.now), "it waits for its watches");
    world.now = world.state.next().unwrap();
    drop(world.pass());
    assert_eq!(presence(&world), silent, "silent for as long as before");
}

// rule: B2
#[test]
fn a_gateway_that_comes_back_makes_nobodys_silence_begin_anew() {
    let mut world = World::new(2, 1);
    let up_since = world.now - HOUR;
    let lease = |world: &mut World, gateway: &str, acquired: Instant, minutes: i64| {
        let valid_until = world.now + SignedDuration::from_mins(minutes);
        let lease = GatewayLease { acquired, renewed: acquired, valid_until };
        world.observe(Change::Gateway(gateway.into(), Some(lease)));
    };
    // `g` died an hour ago, when it heard both; `h` hears one of them, and has for a while.
    let both = PresenceShard {
        present: [name(0), name(1)].into(),
        since: Some(up_since - HOUR),
        ..PresenceShard::default()
    };
    let one = PresenceShard { present: [name(0)].into(), since: Some(up_since), ..PresenceShard::default() };
    world.observe(Change::Presence("g".into(), "g-0".into(), Some(both)));
    world.observe(Change::Presence("h".into(), "h-0".into(), Some(one)));
    lease(&mut world, "g", up_since - HOUR, -60);
    lease(&mut world, "h", up_since, 60);
    drop(world.pass());
    let presence = |world: &World| world.state.snapshot().machines[&name(1)].presence;
    let silent = Presence::Silent { last_heard: up_since - HOUR, counted_from: up_since };
    assert_eq!(presence(&world), silent);
    // It is back, and has not published anew whom it hears.
    let now = world.now;
    lease(&mut world, "g", now, 60);
    drop(world.pass());
    assert_eq!(presence(&world), silent);
}
