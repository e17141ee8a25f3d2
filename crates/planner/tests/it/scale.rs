//! A big fleet is planned in no time.

use std::sync::Arc;

use muster_model::{Change, Installed, Inventory, PackageState, Proposal, ProposalKey, StepAction, Verdict};
use muster_planner::plan;

use crate::world::{World, read};

/// A thousand machines under two baselines are decided, and most of them share the work. The bound is generous: it is to
/// find the quadratic, not the slow machine; the benchmark measures.
#[test]
fn a_thousand_machines_under_two_baselines_share_the_work() {
    let mut story = String::from(
        "baseline base max 10%: openssl >= 3.0.15; curl\n baseline web on role=web max 10%: nginx\n budget web on role=web max 5%\n\
         window night allow on role=db: daily 22 6h\n",
    );
    for number in 0..1000 {
        let role = if number % 2 == 0 { "web" } else { "db" };
        story.push_str(&format!(
            "machine m{number:04} role={role}: openssl 3.0.14 -> 3.0.15; curl 8; nginx - -> 1\n"
        ));
    }
    let world = read(&story);
    assert_eq!(world.snapshot.inventories.len(), 1);
    let decided = plan(&world.snapshot);
    assert_eq!(decided.machines.len(), 1000);
    assert!(decided.machines.values().all(|machine| matches!(machine.verdict, Verdict::Waiting(_))));
}

/// Every activity of the plan succeeds at once; returns how many there were.
fn carry_out(world: &mut World) -> usize {
    let decided = plan(&world.snapshot);
    let mut starts = 0;
    for (name, machine) in &decided.machines {
        let wanted = &machine.wanted;
        let known = Arc::make_mut(world.snapshot.machines.get_mut(name).unwrap());
        let reported = known.reported.as_mut().unwrap();
        let mut inventory = Inventory::clone(&world.snapshot.inventories[&reported.report.inventory]);
        let changes = wanted.items.iter().map(|item| Change {
            package: item.package.clone(),
            from: inventory
                .package(&item.package)
                .and_then(|package| Some(package.installed.as_ref()?.version.clone())),
            to: item.version.clone(),
        });
        let proposal = Proposal::Transaction { changes: changes.collect() };
        let key = ProposalKey { inventory: reported.report.inventory.clone(), wanted: wanted.digest() };
        world.snapshot.proposals.insert(key, Arc::new(proposal));
        let Verdict::Start(spec) = &machine.verdict else { continue };
        starts += 1;
        for step in &spec.steps {
            let StepAction::InstallPackages(transaction) = &step.action else { panic!("only packages here") };
            for change in transaction.changes() {
                let package =
                    inventory.packages.iter_mut().find(|package| package.key == change.package).unwrap();
                package.installed = change.to.clone().map(|version| Installed {
                    version,
                    state: PackageState::Installed,
                    held: false,
                    automatic: false,
                });
            }
        }
        reported.report.inventory = inventory.digest();
        reported.report.last_activity = spec.name.number;
        known.last_number = spec.name.number;
        world.snapshot.inventories.insert(inventory.digest(), Arc::new(inventory));
    }
    starts
}

// rule: B1, B2
#[test]
fn a_fleet_converges_quarter_by_quarter() {
    let mut story = String::from("baseline fix max 25%: openssl >= 3.0.15; nginx\n");
    for number in 0..20 {
        story.push_str(&format!("machine m{number:02}: openssl 3.0.14 -> 3.0.15; nginx - -> 1\n"));
    }
    let mut world = read(&story);
    let rounds: Vec<usize> = (0..6).map(|_| carry_out(&mut world)).collect();
    assert_eq!(rounds, [0, 5, 5, 5, 5, 0], "first the question to apt, then a quarter at a time");
    assert!(plan(&world.snapshot).machines.values().all(|machine| machine.verdict == Verdict::Converged));
    assert_eq!(plan(&world.snapshot).next, None, "a converged fleet wakes nobody");
}
