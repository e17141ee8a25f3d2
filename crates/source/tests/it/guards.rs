//! What a change set may not take away by itself, and the order in which it is applied.

use std::collections::{BTreeMap, BTreeSet};

use expect_test::{Expect, expect};
use muster_model::Instant;
use muster_source::{
    Guards, Kind, LabelledMachine, Loosened, Model, ObjectKey, Removals, Step, judge_removals, loosened,
    may_loosen, order,
};

use crate::{baseline, budget, good, window};

const NOW: &str = "2026-11-02T12:00:00Z";
const ALWAYS: &str = "machineSelector: {}, action: Allow, schedule: '0 0 * * *', duration: 24h";
const FREEZE: &str = "machineSelector: {matchLabels: {env: prod}}, action: Deny, from: 2026-12-20T00:00:00Z, to: 2027-01-02T00:00:00Z";

fn now() -> Instant {
    NOW.parse().unwrap()
}

fn guards(text: &str) -> Guards {
    let mut guards = Guards::default();
    for object in good(text).objects {
        match object.model {
            Model::Window(window) => drop(guards.windows.insert(object.key.name, window)),
            Model::Budget(budget) => drop(guards.budgets.insert(object.key.name, budget)),
            Model::Policy(policy) => guards.policy = policy,
            Model::Machine(_) | Model::PackageBaseline(_) | Model::KernelBaseline(_) => {}
        }
    }
    guards
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<smol_str::SmolStr, smol_str::SmolStr> {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

fn prod() -> LabelledMachine {
    LabelledMachine { before: labels(&[("env", "prod")]), after: None }
}

fn lost(before: &str, after: &str, machines: &[LabelledMachine]) -> Vec<String> {
    let (before, after) = (guards(before), guards(after));
    let lost = loosened(&before, &after, machines, now());
    let labels_stay = machines.iter().all(|machine| machine.after.is_none());
    assert!(
        lost.is_empty() || !labels_stay || may_loosen(&before, &after),
        "the short cut would have missed it"
    );
    assert!(!may_loosen(&after, &after));
    lost.iter().map(|lost| format!("{}: {}", lost.key, lost.why.as_str())).collect()
}

fn keys(names: &[&str]) -> BTreeSet<ObjectKey> {
    names.iter().map(|name| ObjectKey { kind: Kind::PackageBaseline, name: (*name).to_owned() }).collect()
}

fn held(owned: &[&str], wanted: &[&str], allowed: Option<&str>) -> Option<(String, String)> {
    let (owned, wanted) = (keys(owned), keys(wanted));
    let removals = Removals { owned: &owned, wanted: &wanted, loosened: &[], limit_percent: 30, allowed };
    judge_removals(&removals).map(|held| (held.digest, held.why))
}

// rule: G4
#[test]
fn an_empty_revision_removes_nothing_until_it_is_allowed() {
    let (digest, why) = held(&["a"], &[], None).unwrap();
    assert_eq!(why, "it removes everything that the source owns (1 object)");
    assert_eq!(held(&["a"], &[], Some(&digest)), None);
    let (other, _) = held(&["a", "b"], &[], Some(&digest)).unwrap();
    assert_ne!(other, digest, "what was allowed is this set and no other");
    assert_eq!(held(&[], &[], None), None);
    assert_eq!(held(&[], &["a"], None), None);
}

// rule: G4
#[test]
fn from_five_objects_up_more_than_the_limit_waits() {
    let four = ["a", "b", "c", "d"];
    assert_eq!(held(&four, &["a"], None), None);
    let ten = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    assert_eq!(held(&ten, &ten[3..], None), None);
    let (_, why) = held(&ten, &ten[4..], None).unwrap();
    assert_eq!(why, "it removes 4 of 10 objects, more than 30%");
}

// rule: G4
#[test]
fn a_freeze_that_goes_or_shrinks_is_seen_and_one_that_is_over_or_renamed_is_not() {
    let freeze = window("xmas", FREEZE);
    let gone = ["MaintenanceWindow xmas: a freeze"];
    assert_eq!(lost(&freeze, "", &[prod()]), gone);
    assert_eq!(lost(&freeze, &window("xmas", &FREEZE.replace("env: prod", "env: lab")), &[prod()]), gone);
    assert_eq!(lost(&freeze, &window("xmas", &FREEZE.replace("01-02", "01-01")), &[prod()]), gone);
    assert_eq!(lost(&freeze, &window("xmas", &format!("{FREEZE}, covers: [Reboot]")), &[prod()]), gone);
    assert_eq!(lost(&freeze, &window("winter", FREEZE), &[prod()]), [""; 0]);
    assert_eq!(lost(&freeze, &window("winter", &FREEZE.replace("12-20", "12-01")), &[prod()]), [""; 0]);
    let over = window("xmas", &FREEZE.replace("2027", "2026").replace("2026-12", "2025-12"));
    assert_eq!(lost(&over, "", &[prod()]), [""; 0]);
    let two = window("first", &FREEZE.replace("2027-01-02", "2026-12-28"))
        + &window("second", &FREEZE.replace("12-20", "12-27"));
    assert_eq!(lost(&freeze, &two, &[prod()]), [""; 0]);
    assert_eq!(lost(&freeze, "", &[]), [""; 0], "no machine loses anything");
}

// rule: G4
#[test]
fn a_machine_that_is_relabelled_away_from_its_guards_is_less_guarded() {
    let text = window("xmas", FREEZE)
        + &budget("prod", "machineSelector: {matchLabels: {env: prod}}, maxUnavailable: 1");
    let moved =
        LabelledMachine { before: labels(&[("env", "prod")]), after: Some(labels(&[("env", "lab")])) };
    assert_eq!(
        lost(&text, &text, &[moved]),
        ["DisruptionBudget prod: a budget", "MaintenanceWindow xmas: a freeze"]
    );
    assert_eq!(lost(&text, &text, &[prod()]), [""; 0]);
}

// rule: G4
#[test]
fn the_last_window_and_a_budget_do_not_go_unseen() {
    let unbound = ["MaintenanceWindow always: their last window and could be changed at any time"];
    assert_eq!(lost(&window("always", ALWAYS), "", &[prod()]), unbound);
    assert_eq!(
        lost(&(window("always", ALWAYS) + &window("more", ALWAYS)), &window("more", ALWAYS), &[prod()]),
        [""; 0]
    );
    let required = "---\napiVersion: muster.dev/v1alpha1\nkind: FleetPolicy\nmetadata: {name: default}\nspec: {windows: Required}\n";
    assert_eq!(lost(&(window("always", ALWAYS) + required), required, &[prod()]), [""; 0]);
    assert_eq!(
        lost(required, "", &[prod()]),
        ["FleetPolicy default: their last window and could be changed at any time"]
    );
    let one = budget("one", "machineSelector: {}, maxUnavailable: 1");
    assert_eq!(lost(&one, "", &[prod()]), ["DisruptionBudget one: a budget"]);
    assert_eq!(lost(&one, &budget("uno", "machineSelector: {}, maxUnavailable: 1"), &[prod()]), [""; 0]);
    assert_eq!(
        lost(&one, &budget("many", "machineSelector: {}, maxUnavailable: 50%"), &[prod()]),
        ["DisruptionBudget one: a budget"]
    );
}

// rule: G4
#[test]
fn what_is_held_is_named_with_its_reasons() {
    let lost = loosened(&guards(&window("xmas", FREEZE)), &Guards::default(), &[prod()], now());
    let owned = BTreeSet::from([
        ObjectKey { kind: Kind::MaintenanceWindow, name: "xmas".to_owned() },
        ObjectKey { kind: Kind::PackageBaseline, name: "a".to_owned() },
    ]);
    let wanted = keys(&["a"]);
    let removals =
        Removals { owned: &owned, wanted: &wanted, loosened: &lost, limit_percent: 30, allowed: None };
    let held = judge_removals(&removals).unwrap();
    assert_eq!(held.why, "machines lose a freeze: MaintenanceWindow xmas");
    assert_eq!(held.objects.len(), 1);
    let allowed = Removals { allowed: Some(&held.digest), ..removals.clone() };
    assert_eq!(judge_removals(&allowed), None);
    let edited =
        lost.iter().cloned().map(|lost| Loosened { seen: "uid 2".to_owned(), ..lost }).collect::<Vec<_>>();
    let later = Removals { loosened: &edited, allowed: Some(&held.digest), ..removals };
    assert!(judge_removals(&later).is_some(), "an approval is of the guard as it was seen");
}

fn check_order(before: &str, after: &str, leaving: &[(Kind, &str)], expected: Expect) {
    let set = good(after);
    let leaving =
        leaving.iter().map(|(kind, name)| ObjectKey { kind: *kind, name: (*name).to_owned() }).collect();
    let mut out = String::new();
    for (index, phase) in order(&guards(before), &set.objects, &leaving, now()).iter().enumerate() {
        for step in phase {
            out += &match step {
                Step::Apply(object) => format!("{}: apply {}\n", index + 1, object.key),
                Step::Remove(key) => format!("{}: remove {key}\n", index + 1),
                Step::Release(key) => format!("{}: release {key}\n", index + 1),
            };
        }
    }
    expected.assert_eq(&out);
}

// rule: G2, G5
#[test]
fn what_tightens_comes_first_what_loosens_last_and_removals_after_all() {
    let before = budget("lower", "machineSelector: {}, maxUnavailable: 5")
        + &budget("raise", "machineSelector: {}, maxUnavailable: 1")
        + &window("shrinks", FREEZE)
        + &window("more", ALWAYS);
    let after = baseline("web")
        + &budget("raise", "machineSelector: {}, maxUnavailable: 2")
        + &budget("lower", "machineSelector: {}, maxUnavailable: 4")
        + &window("shrinks", &FREEZE.replace("01-02", "01-01"))
        + &window("new-freeze", FREEZE)
        + &window("more", ALWAYS)
        + &window("another", ALWAYS)
        + "---\napiVersion: muster.dev/v1alpha1\nkind: FleetMachine\nmetadata: {name: web-01, labels: {role: web}}\n";
    let leaving =
        [(Kind::MaintenanceWindow, "old"), (Kind::PackageBaseline, "old"), (Kind::FleetMachine, "old")];
    check_order(
        &before,
        &after,
        &leaving,
        expect![[r#"
        1: apply DisruptionBudget lower
        1: apply MaintenanceWindow new-freeze
        2: apply FleetMachine web-01
        3: apply PackageBaseline web
        3: apply MaintenanceWindow more
        4: apply DisruptionBudget raise
        4: apply MaintenanceWindow shrinks
        4: apply MaintenanceWindow another
        5: release FleetMachine old
        5: remove PackageBaseline old
        6: remove MaintenanceWindow old
    "#]],
    );
}

// rule: G2
#[test]
fn the_first_window_binds_and_so_comes_first() {
    check_order(
        "",
        &(baseline("web") + &window("always", ALWAYS)),
        &[],
        expect![[r#"
        1: apply MaintenanceWindow always
        2: apply PackageBaseline web
    "#]],
    );
}
