//! One story: read the world, let the machines' apt answer what it is asked, plan, and show the plan; then do what it
//! says and see that planning again changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use expect_test::Expect;
use muster_model::{
    Activity, Change, MachineName, Phase, Plan, Proposal, ProposalKey, Snapshot, StepAction, Verdict,
    WantedSet,
};
use muster_planner::plan;

use crate::show::show;
use crate::world::{World, read};

/// How often a machine may be asked before the story counts as endless.
const MOST_QUESTIONS: usize = 50;

/// Tells the story in `text`; its language is that of [`crate::world`].
pub(crate) fn check(text: &str, expected: Expect) {
    let (world, decided) = settled(text);
    expected.assert_eq(&show(&world, &decided));
    is_settled(&world, &decided);
}

/// Tells a story in several worlds, one after the other; what was recorded of rollouts goes from each to the next.
pub(crate) fn check_over_time(texts: &[&str], expected: Expect) {
    let mut out = String::new();
    let mut recorded = BTreeMap::new();
    for text in texts {
        let mut world = read(text);
        world.snapshot.rollouts = recorded;
        let decided = settle(&mut world);
        out += &format!("@ {}\n{}", world.snapshot.now, show(&world, &decided));
        is_settled(&world, &decided);
        let rollouts = decided.rollouts.into_iter();
        recorded = rollouts.map(|(baseline, rollout)| (baseline, Arc::new(rollout))).collect();
    }
    expected.assert_eq(&out);
}

/// What a story's plan says, for stories of many machines.
pub(crate) fn told(text: &str) -> String {
    let (world, decided) = settled(text);
    is_settled(&world, &decided);
    show(&world, &decided)
}

/// A story's world, with all that its machines' apt says, and the plan of it.
pub(crate) fn settled(text: &str) -> (World, Plan) {
    let mut world = read(text);
    let decided = settle(&mut world);
    (world, decided)
}

/// How many machines start something.
pub(crate) fn starts(text: &str) -> usize {
    told(text).lines().filter(|line| line.starts_with('+')).count()
}

/// The first so many of a story's machines by the order of waves.
pub(crate) fn first_in(text: &str, most: usize) -> Vec<String> {
    let (baseline, machines) = text.split_once("\nmachine").unwrap();
    let waves = baseline.lines().map(|line| match line.split_once(" share ") {
        Some((wave, _)) => format!("{wave} share {most}"),
        None => line.replace(" max 10%", ""),
    });
    let story =
        format!("{}\nmachine{machines}", waves.collect::<Vec<_>>().join("\n")).replace("silent 2h", "");
    let told = told(&story);
    let first = told.lines().filter_map(|line| line.strip_prefix("+ ")?.split(':').next());
    first.map(str::to_owned).collect()
}

/// Planning again changes nothing.
fn is_settled(world: &World, decided: &Plan) {
    let mut after = world.snapshot.clone();
    apply(&mut after, decided);
    let again = plan(&after);
    assert_eq!(again.rollouts, decided.rollouts, "planning again moves the rollouts");
    assert!(again.cancels.is_empty(), "planning again cancels {:?}", again.cancels);
    for (name, machine) in &again.machines {
        let before = &decided.machines[name];
        assert!(!matches!(machine.verdict, Verdict::Start(_)), "planning again starts {name}");
        if !matches!(before.verdict, Verdict::Start(_)) {
            assert_eq!(machine, before, "planning again changes its mind about {name}");
        }
    }
    assert_eq!(&plan(&world.snapshot), decided, "two plans of one world differ");
}

/// Plans until every question to a machine's apt is answered.
fn settle(world: &mut World) -> Plan {
    for _ in 0..MOST_QUESTIONS {
        let decided = plan(&world.snapshot);
        let mut asked = false;
        for (name, machine) in &decided.machines {
            let Some((key, proposal)) = answer(world, name, &machine.wanted) else { continue };
            asked |= world.snapshot.proposals.insert(key, Arc::new(proposal)).is_none();
        }
        if !asked {
            return decided;
        }
    }
    panic!("the machines are asked again and again");
}

/// What the machine's apt says: what is wanted, with what the story says that comes along.
pub(crate) fn answer(
    world: &World,
    name: &MachineName,
    wanted: &WantedSet,
) -> Option<(ProposalKey, Proposal)> {
    let digest = &world.snapshot.machines[name].reported.as_ref()?.report.inventory;
    let inventory = world.snapshot.inventories.get(digest)?;
    if wanted.items.is_empty() || world.apt.silent {
        return None;
    }
    let key = ProposalKey { inventory: digest.clone(), wanted: wanted.digest() };
    let mut changes: Vec<Change> = Vec::new();
    for item in &wanted.items {
        let word = item.package.name.as_str();
        if let Some(message) = world.apt.refused.get(word) {
            return Some((key, Proposal::Refused { message: message.clone() }));
        }
        let installed = inventory.package(&item.package).and_then(|package| package.installed.as_ref());
        let from = installed.map(|installed| installed.version.clone());
        changes.push(Change { package: item.package.clone(), from, to: item.version.clone() });
        changes.extend(world.apt.with.get(word).into_iter().flatten().cloned());
    }
    changes.sort();
    changes.dedup();
    Some((key, Proposal::Transaction { changes }))
}

/// Does what the plan says: creates, cancels, records.
fn apply(snapshot: &mut Snapshot, decided: &Plan) {
    let rollouts = decided.rollouts.iter().map(|(name, rollout)| (name.clone(), Arc::new(rollout.clone())));
    snapshot.rollouts = rollouts.collect();
    for name in decided.cancels.keys() {
        Arc::make_mut(snapshot.activities.get_mut(name).unwrap()).cancel = true;
    }
    for (name, machine) in &decided.machines {
        let known = Arc::make_mut(snapshot.machines.get_mut(name).unwrap());
        known.holds.clone_from(&machine.holds);
        let Verdict::Start(spec) = &machine.verdict else { continue };
        for step in &spec.steps {
            if let StepAction::HoldPackages { hold, .. } = &step.action {
                assert!(hold.is_subset(&machine.holds), "holds are on record before they are set");
            }
        }
        known.last_number = spec.name.number;
        let activity = Activity {
            spec: (**spec).clone(),
            uid: format!("uid-{}", spec.name).parse().unwrap(),
            created: snapshot.now,
            cancel: false,
            epoch: snapshot.epoch,
            phase: Phase::Pending,
            delivered: None,
            finished: None,
            outcome: None,
            message: String::new(),
            steps: Vec::new(),
        };
        snapshot.activities.insert(spec.name.clone(), Arc::new(activity));
    }
}
