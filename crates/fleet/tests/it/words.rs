//! What people said of rollouts goes once it is old and says nothing any more; nothing else of it does.

use super::*;

const DAYS: i64 = 30;

fn fix() -> BaselineRef {
    BaselineRef { kind: BaselineKind::PackageBaseline, name: ObjectName::parse("fix").unwrap() }
}

/// A world of one machine, in which `words` were said, an hour apart: `pause p1`, `resume r1 openssl`,
/// `approve a1 openssl=3.0.15-1`.
fn said(words: &[&str]) -> World {
    let mut world = World::new(1, 1);
    for word in words {
        say(&mut world, word);
        world.wait(SignedDuration::from_hours(1));
    }
    world
}

fn say(world: &mut World, word: &str) {
    let created = world.now;
    world.observe(Change::Approval(word_of(word, created)));
}

fn word_of(word: &str, created: Instant) -> RolloutApproval {
    let parts: Vec<&str> = word.split(' ').collect();
    let items = match parts.get(2).map(|item| item.split_once('=').unwrap_or((item, ""))) {
        None => Items::All,
        Some((package, target)) => Items::Of {
            package: PackageName::parse(package).unwrap(),
            architecture: None,
            target: (!target.is_empty()).then(|| Target::Version(version(target))),
        },
    };
    let action = match parts[0] {
        "pause" => ApprovalAction::Pause,
        "resume" => ApprovalAction::Resume,
        "approve" => ApprovalAction::Approve,
        other => panic!("{other}: what is that?"),
    };
    let name = ObjectName::parse(parts[1]).unwrap();
    RolloutApproval { name, baseline: fix(), items, action, by: "alice".into(), created, applied: false }
}

/// The words that a pass lets go; a watch shows that they are gone.
fn gone(world: &mut World) -> Vec<String> {
    let effects = world.pass();
    let mut names = Vec::new();
    for effect in &effects {
        if let Effect::DeleteApproval { approval } = effect {
            names.push(approval.name.to_string());
            world.observe(Change::ApprovalGone(approval.name.clone()));
        }
    }
    names
}

fn after_a_month(words: &[&str]) -> Vec<String> {
    let mut world = said(words);
    assert_eq!(gone(&mut world), Vec::<String>::new(), "nothing goes while it is young");
    world.wait(SignedDuration::from_hours(DAYS * 24));
    let mut all = gone(&mut world);
    all.extend(gone(&mut world));
    all.extend(gone(&mut world));
    all
}

// rule: O3
#[test]
fn a_pause_that_nobody_ended_stays_and_of_several_the_last() {
    assert!(after_a_month(&["pause p1"]).is_empty());
    assert_eq!(after_a_month(&["pause p1", "pause p2"]), ["p1"]);
    assert_eq!(after_a_month(&["pause p1 openssl", "resume r1", "pause p2"]), ["p1", "r1"]);
    assert!(after_a_month(&["pause p1", "resume r1 openssl"]).is_empty(), "the rest of it is paused still");
    assert_eq!(after_a_month(&["pause p1 openssl=3.0.15-1", "pause p2 openssl"]), ["p1"]);
    assert!(after_a_month(&["pause p1 openssl", "pause p2 openssl=3.0.15-1"]).is_empty());
    assert!(after_a_month(&["pause p1 openssl", "resume r1 nginx"]) == ["r1"], "of another package");
}

// rule: O3
#[test]
fn a_resume_outlives_the_pause_that_it_ended() {
    let mut world = said(&["pause p1", "resume r1"]);
    drop(world.pass());
    world.wait(SignedDuration::from_hours(DAYS * 24));
    let going = |effects: &[Effect]| {
        let all = short(effects).into_iter().filter(|text| text.starts_with("delete"));
        all.collect::<Vec<_>>()
    };
    assert_eq!(going(&world.pass()), ["delete p1"]);
    world.wait(SignedDuration::from_mins(10));
    assert_eq!(going(&world.pass()), ["delete p1"], "asked for again: no watch has shown it");
    world.observe(Change::ApprovalGone(ObjectName::parse("p1").unwrap()));
    assert_eq!(going(&world.pass()), ["delete r1"]);
    world.wait(SignedDuration::from_hours(1));
    world.observe(Change::ApprovalGone(ObjectName::parse("r1").unwrap()));
    assert!(going(&world.pass()).is_empty());
}

// rule: O7
#[test]
fn an_approval_stays_until_what_it_approved_is_everywhere() {
    let of_old = Item { package: key("openssl"), target: Target::Version(version("3.0.15-1")) };
    let record = |released: bool| {
        let mut world = World::new(1, 1);
        say(&mut world, "approve a1 openssl=3.0.15-1");
        say(&mut world, "approve a2");
        say(&mut world, "approve a3 openssl=3.0.16-1");
        // On hold: it neither has the item nor gets it.
        let held = inventory("3.0.14-1", true);
        world.inventory = held.digest();
        world.observe(Change::Inventory(held.digest(), Arc::new(held), None));
        let digest = world.inventory.clone();
        world.machine(&name(0), |machine| machine.reported.as_mut().unwrap().report.inventory = digest);
        let now = world.now;
        let progress = ItemProgress {
            seen: Some(now),
            released: released.then_some(now),
            barred: (!released).then_some(now),
            ..ItemProgress::default()
        };
        world.observe(Change::Rollout(fix(), Rollout { items: [(of_old.clone(), progress)].into() }));
        world.wait(SignedDuration::from_hours(DAYS * 24));
        gone(&mut world)
    };
    assert_eq!(record(false), ["a3"], "what it approved never came");
    assert_eq!(record(true), ["a1", "a2", "a3"]);
}

#[test]
fn what_somebody_keeps_in_a_file_stays_and_so_does_all_while_a_word_cannot_be_read() {
    let mut world = World::new(1, 1);
    let created = world.now;
    world.observe(Change::Approval(RolloutApproval { applied: true, ..word_of("pause p1", created) }));
    world.observe(Change::Approval(word_of("pause p2", created)));
    say(&mut world, "pause p3");
    world.observe(Change::Unreadable("RolloutApproval/odd".into(), Some("no such action".into())));
    world.wait(SignedDuration::from_hours(DAYS * 24));
    assert!(gone(&mut world).is_empty());
    world.observe(Change::Unreadable("RolloutApproval/odd".into(), None));
    assert_eq!(gone(&mut world), ["p2"]);
}

#[test]
fn words_are_kept_for_the_policys_ttl_if_that_is_longer_and_are_due_without_anything_else() {
    let mut world = said(&["resume r1"]);
    let policy = Policy { ttl: SignedDuration::from_hours(90 * 24), ..Policy::default() };
    world.observe(Change::Policy(Some((policy, None))));
    drop(world.pass());
    world.wait(SignedDuration::from_hours(DAYS * 24));
    assert!(gone(&mut world).is_empty());
    world.wait(SignedDuration::from_hours(60 * 24));
    assert!(world.state.wants_pass(world.now));
    assert_eq!(gone(&mut world), ["r1"]);
}
