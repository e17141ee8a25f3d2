//! Whom machines wait for in waves and zones, and where rollouts wait for each other.

use expect_test::{Expect, expect};
use muster_model::{Item, Target};
use muster_planner::{Planner, Touched};

use crate::story::settled;

/// For each machine whom it waits for, then the circles.
fn check(story: &str, expected: Expect) {
    let (world, _) = settled(story);
    let snapshot = &world.snapshot;
    let mut planner = Planner::default();
    planner.plan(snapshot, &Touched::default());
    let mut out = String::new();
    for machine in snapshot.machines.keys() {
        for awaited in planner.awaited(snapshot, machine) {
            let zone = awaited.zone.map_or(String::new(), |zone| format!(" in zone {zone:?}"));
            let machines: Vec<&str> = awaited.machines.iter().map(|name| name.as_str()).collect();
            out += &format!(
                "{machine}: {} of {} comes to wave {}{zone} first: {}\n",
                show(&awaited.item),
                awaited.baseline,
                awaited.wave,
                machines.join(", ")
            );
        }
    }
    for circle in planner.circles() {
        let baselines: Vec<String> = circle.baselines.iter().map(ToString::to_string).collect();
        let machines: Vec<&str> = circle.machines.iter().map(|name| name.as_str()).collect();
        out += &format!("o {} of {}: {}\n", show(&circle.item), baselines.join(" and "), machines.join(", "));
    }
    expected.assert_eq(&out);
}

fn show(item: &Item) -> String {
    match &item.target {
        Target::Version(version) => format!("{}={version}", item.package),
        Target::Absent => format!("{}=absent", item.package),
    }
}

// rule: O2
#[test]
fn who_waits_for_a_wave_waits_for_those_of_its_machines_that_are_to_have_the_item_first() {
    let fix = "baseline fix: openssl >= 3.0.15
        wave canary fix on ring=canary soak 1h
        wave half fix share 50%";
    check(
        &format!(
            "{fix}
             machine a ring=canary: openssl 3.0.14 -> 3.0.15
             machine b ring=canary: openssl 3.0.15
             machine c ring=canary silent 2h: openssl 3.0.14 -> 3.0.15
             machine d ring=canary no-inventory: openssl 3.0.14
             machine e: openssl 3.0.14 -> 3.0.15"
        ),
        expect![[r#"
            e: openssl:amd64=3.0.15 of PackageBaseline/fix comes to wave canary first: a, d
        "#]],
    );
    // It soaks, or somebody is to approve it: it waits for nobody's machine.
    check(
        &format!(
            "{fix}
             machine a ring=canary: openssl 3.0.15
             machine e: openssl 3.0.14 -> 3.0.15"
        ),
        expect![[""]],
    );
    // Until all have looked, somebody may come to want it.
    check(
        &format!(
            "{fix}
             machine a ring=canary lists old: openssl 3.0.14
             machine e lists new: openssl 3.0.14 -> 3.0.15"
        ),
        expect![[r#"
            e: openssl:amd64=3.0.15 of PackageBaseline/fix comes to wave canary first: a
        "#]],
    );
}

// rule: O6
#[test]
fn who_waits_for_a_zone_waits_for_those_of_its_wave_there() {
    check(
        "baseline fix zones zone: openssl >= 3.0.15
         wave canary fix on ring=canary
         machine a ring=canary zone=x: openssl 3.0.14 -> 3.0.15
         machine b ring=canary zone=y: openssl 3.0.14 -> 3.0.15
         machine c zone=x: openssl 3.0.14 -> 3.0.15",
        expect![[r#"
            b: openssl:amd64=3.0.15 of PackageBaseline/fix comes to wave canary in zone "x" first: a
            c: openssl:amd64=3.0.15 of PackageBaseline/fix comes to wave canary first: a, b
        "#]],
    );
}

// rule: O1, O2
#[test]
fn rollouts_that_wait_for_each_others_machines_are_a_circle() {
    let both = |more: &str| {
        format!(
            "baseline aa: openssl >= 3.0.15
             wave one aa on ring=canary
             baseline bb: openssl >= 3.0.14
             wave first bb on also=early
             {more}"
        )
    };
    let a = "machine a ring=canary: openssl 3.0.13 -> 3.0.15\n";
    let b = "machine b also=early: openssl 3.0.13 -> 3.0.15\n";
    let c = "machine c: openssl 3.0.13 -> 3.0.15\n";
    check(
        &both(&format!("{a}{b}{c}")),
        expect![[r#"
        a: openssl:amd64=3.0.15 of PackageBaseline/bb comes to wave first first: b
        b: openssl:amd64=3.0.15 of PackageBaseline/aa comes to wave one first: a
        c: openssl:amd64=3.0.15 of PackageBaseline/aa comes to wave one first: a
        c: openssl:amd64=3.0.15 of PackageBaseline/bb comes to wave first first: b
        o openssl:amd64=3.0.15 of PackageBaseline/aa and PackageBaseline/bb: a, b
    "#]],
    );
    // The same canaries, or what is under way already: no circle.
    let first = "machine a ring=canary also=early: openssl 3.0.13 -> 3.0.15\n";
    check(
        &both(&format!("{first}{c}")),
        expect![[r#"
        c: openssl:amd64=3.0.15 of PackageBaseline/aa comes to wave one first: a
        c: openssl:amd64=3.0.15 of PackageBaseline/bb comes to wave first first: a
    "#]],
    );
    let running = "activity a-1 Running 1m: install aa openssl 3.0.15\n";
    check(
        &both(&format!("{a}{b}{c}{running}")),
        expect![[r#"
        b: openssl:amd64=3.0.15 of PackageBaseline/aa comes to wave one first: a
        c: openssl:amd64=3.0.15 of PackageBaseline/aa comes to wave one first: a
        c: openssl:amd64=3.0.15 of PackageBaseline/bb comes to wave first first: b
    "#]],
    );
}
