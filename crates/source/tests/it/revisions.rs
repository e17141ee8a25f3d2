//! What is wrong with a revision, and where.

use expect_test::{Expect, expect};
use muster_source::{MAX_PROBLEMS, validate};

use crate::{baseline, good, tree};

fn check(files: &[(&str, &str)], expected: Expect) {
    let mut out = String::new();
    match validate(&tree(files), Some("default")) {
        Ok(set) => {
            for object in set.objects {
                out += &format!("= {} at {}:{}\n", object.key, object.file, object.line);
            }
        }
        Err(rejected) => {
            for problem in &rejected.problems {
                out += &format!("! {problem}\n");
            }
            assert_eq!(rejected.total, rejected.problems.len());
        }
    }
    expected.assert_eq(&out);
}

const GOOD: &str = "\
# the web tier
apiVersion: muster.dev/v1alpha1
kind: PackageBaseline
metadata:
  name: web
  labels: {team: web}
spec:
  machineSelector: {matchLabels: {role: web}}
  packages:
    - name: openssl
      version: '>= 3.0.15-1~deb12u1, << 3.1'
    - {name: telnet, state: Absent}
---
apiVersion: muster.dev/v1alpha1
kind: FleetMachine
metadata:
  name: web-01
  labels: {role: web}
";

#[test]
fn a_good_revision_names_every_object_with_its_place() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: muster.dev/v1alpha1\n  kind: FleetPolicy\n  metadata: {name: default}\n  spec: {windows: Required}\n";
    check(
        &[("a/web.yaml", GOOD), ("list.yaml", list)],
        expect![[r#"
            = PackageBaseline web at a/web.yaml:2
            = FleetMachine web-01 at a/web.yaml:14
            = FleetPolicy default at list.yaml:4
        "#]],
    );
}

// rule: G1
#[test]
fn every_problem_is_named_with_file_line_and_column_not_only_the_first() {
    let broken = "\
apiVersion: muster.dev/v1alpha1
kind: PackageBaseline
metadata:
  name: web
spec:
  machineSelector: {}
  packges: []
  packages:
    - name: openssl
      version: '>= 3.0_1'
    - name: Nginx
---
apiVersion: muster.dev/v1alpha1
kind: MaintenanceWindow
metadata: {name: nights}
spec:
  machineSelector: {}
  action: Allow
  schedule: 0 25 * * *
  timeZone: Europe/Atlantis
  duration: 6h
";
    check(
        &[("a.yaml", broken), ("b.yaml", "kind: [\n"), ("c.yaml", "- 1\n")],
        expect![[r#"
            ! a.yaml:7:3: spec.packges: there is no field packges here: correct its name or its indentation, or leave it out
            ! a.yaml:10:16: spec.packages[0].version: the version at character 7 of the requirement cannot be read: "3.0_1" is not a Debian version: the upstream version may hold only letters, digits and . + ~ - :, at character 4 (V1)
            ! a.yaml:11:13: spec.packages[1].name: "Nginx" is not a package name: a package name has lower-case letters, digits, '+', '-' and '.', the first a letter or digit
            ! a.yaml:19:13: spec.schedule: the schedule's hour "25" cannot be read: number out of bounds (W7)
            ! b.yaml:1:7: not YAML: unclosed bracket '['
            ! c.yaml:1:1: this is not a resource: write apiVersion, kind, metadata and spec
        "#]],
    );
}

// rule: V1, W4, W7
#[test]
fn versions_schedules_and_zones_are_judged_before_anything_is_applied() {
    let text = "\
apiVersion: muster.dev/v1alpha1
kind: PackageBaseline
metadata: {name: web}
spec:
  machineSelector: {}
  packages:
    - {name: openssl, version: '>= 3.0_1'}
---
apiVersion: muster.dev/v1alpha1
kind: MaintenanceWindow
metadata: {name: nights}
spec: {machineSelector: {}, action: Allow, schedule: 0 25 * * *, duration: 6h}
---
apiVersion: muster.dev/v1alpha1
kind: MaintenanceWindow
metadata: {name: days}
spec:
  machineSelector: {}
  action: Deny
  schedule: 0 9 * * *
  timeZone: Europe/Atlantis
  duration: 6h
";
    check(
        &[("a.yaml", text)],
        expect![[r#"
            ! a.yaml:7:32: spec.packages[0].version: the version at character 7 of the requirement cannot be read: "3.0_1" is not a Debian version: the upstream version may hold only letters, digits and . + ~ - :, at character 4 (V1)
            ! a.yaml:12:54: spec.schedule: the schedule's hour "25" cannot be read: number out of bounds (W7)
            ! a.yaml:21:13: spec.timeZone: there is no time zone "Europe/Atlantis": write an IANA name such as "Europe/Berlin", or nothing for UTC (W7)
        "#]],
    );
}

// rule: W2
#[test]
fn windows_in_which_nothing_could_ever_start_are_complained_of() {
    let text = "\
apiVersion: muster.dev/v1alpha1
kind: MaintenanceWindow
metadata: {name: nights}
spec:
  machineSelector: {}
  action: Allow
  schedule: 0 22 * * *
  duration: 1h
  cutoff: 60m
---
apiVersion: muster.dev/v1alpha1
kind: MaintenanceWindow
metadata: {name: once}
spec:
  machineSelector: {}
  action: Allow
  from: 2026-12-20T00:00:00Z
  to: 2026-12-20T06:00:00Z
  cutoff: 1d
---
apiVersion: muster.dev/v1alpha1
kind: MaintenanceWindow
metadata: {name: twice}
spec: {machineSelector: {}, action: Allow, schedule: 0 22 * * *, duration: 1d, cutoff: 6h}
---
apiVersion: muster.dev/v1alpha1
kind: MaintenanceWindow
metadata: {name: thrice}
spec: {machineSelector: {}, action: Allow, from: 2026-12-20T00:00:00Z, to: 2026-12-20T06:00:00Z, cutoff: 6h}
";
    check(
        &[("a.yaml", text)],
        expect![[r#"
        ! a.yaml:9:11: spec.cutoff: Invalid value: cutoff must be shorter than duration: nothing would ever start
        ! a.yaml:19:11: spec.cutoff: "1d" is not a duration: the unit is none of h, m, s, ms, us, ns, at character 2; write for example "1h30m", "90s" or "500ms" (W7)
        ! a.yaml:24:76: spec.duration: "1d" is not a duration: the unit is none of h, m, s, ms, us, ns, at character 2; write for example "1h30m", "90s" or "500ms" (W7)
        ! a.yaml:29:106: spec.cutoff: Invalid value: cutoff must be shorter than the time between from and to: nothing would ever start
    "#]],
    );
}

// rule: G3
#[test]
fn only_what_a_source_may_hold_is_taken() {
    let text = "\
apiVersion: v1
kind: Secret
metadata: {name: a}
---
apiVersion: muster.dev/v1alpha1
kind: Activity
metadata: {name: web-01-1}
---
apiVersion: muster.dev/v1
kind: FleetPolicy
metadata: {name: default}
---
apiVersion: muster.dev/v1alpha1
kind: FleetMachine
metadata:
  name: web-01
  namespace: other
  ownerReferences: []
  labels: {fact.muster.dev/os: debian, role: web, bad: '-'}
status: {}
---
apiVersion: muster.dev/v1alpha1
kind: FleetPolicy
metadata: {name: other}
spec: {}
---
apiVersion: muster.dev/v1alpha1
kind: FleetPolicy
metadata: {}
spec: {}
";
    check(
        &[("a.yaml", text)],
        expect![[r#"
            ! a.yaml:2:7: kind: v1 Secret does not belong into a source: it may hold muster.dev/v1alpha1 FleetPolicy, DisruptionBudget, MaintenanceWindow, FleetMachine, PackageBaseline, KernelBaseline (G3)
            ! a.yaml:6:7: kind: muster.dev/v1alpha1 Activity does not belong into a source: it may hold muster.dev/v1alpha1 FleetPolicy, DisruptionBudget, MaintenanceWindow, FleetMachine, PackageBaseline, KernelBaseline (G3)
            ! a.yaml:9:13: apiVersion: write muster.dev/v1alpha1: this version of Muster knows no muster.dev/v1
            ! a.yaml:17:14: metadata.namespace: the source fills the namespace default, not other: leave it out (G3)
            ! a.yaml:18:3: metadata.ownerReferences: a source says only name, namespace, labels and annotations here: leave it out (G3)
            ! a.yaml:19:32: metadata.labels[fact.muster.dev/os]: keys of muster.dev are written by Muster itself: choose another (G3)
            ! a.yaml:19:56: metadata.labels[bad]: "-" cannot be the value of label "bad": it takes 1 to 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit
            ! a.yaml:20:1: status: a status is written by Muster, not by a source: leave it out (G3)
            ! a.yaml:22:1: Invalid value: a namespace has one FleetPolicy, and its name is default
            ! a.yaml:29:1: metadata.name: the resource has no name: write metadata.name, as a text
        "#]],
    );
}

// rule: G1
#[test]
fn the_same_resource_twice_names_both_places() {
    check(
        &[
            ("a.yaml", &baseline("web")),
            ("b.yaml", &format!("# moved\n{}{}", baseline("db"), baseline("web"))),
        ],
        expect![[r#"
            ! b.yaml:10:18: metadata.name: PackageBaseline web is written twice, first in a.yaml:2: keep one of them (G1)
        "#]],
    );
}

#[test]
fn a_thousand_equal_mistakes_are_counted_honestly() {
    let text: String = (0..1500).map(|n| format!("---\nkind: Nothing{n}\n")).collect();
    let rejected = validate(&tree(&[("a.yaml", &text)]), None).unwrap_err();
    assert_eq!((rejected.problems.len(), rejected.total), (MAX_PROBLEMS, 1500));
    let many: String = (0..1001).map(|n| baseline(&format!("b{n}"))).collect();
    let rejected = validate(&tree(&[("a.yaml", &many)]), None).unwrap_err();
    assert_eq!(rejected.total, 1);
    assert!(rejected.problems[0].message.starts_with("a source has at most 1000 resources"));
}

#[test]
fn a_server_that_refuses_a_field_is_answered_with_its_place() {
    let set = good(GOOD);
    let problem = set.objects[0].problem("spec.packages[1].state", "", "no");
    assert_eq!(problem.to_string(), "a.yaml:12:29: spec.packages[1].state: no");
}

#[test]
fn nothing_but_a_good_revision_comes_out_of_arbitrary_bytes() {
    // Every prefix of a good file is judged, never a panic; what is cut off is a problem or a smaller set.
    for end in 0..GOOD.len() {
        let _ = validate(&tree(&[("a.yaml", &GOOD[..end])]), None);
    }
}

// rule: G3, W9
#[test]
fn what_passes_a_freeze_is_said_by_a_person_and_not_by_a_commit() {
    let text = "apiVersion: muster.dev/v1alpha1\nkind: WindowOverride\nmetadata: {name: cve}\nspec: {}\n";
    check(
        &[("a.yaml", text)],
        expect![[r#"
            ! a.yaml:2:7: kind: muster.dev/v1alpha1 WindowOverride does not belong into a source: it may hold muster.dev/v1alpha1 FleetPolicy, DisruptionBudget, MaintenanceWindow, FleetMachine, PackageBaseline, KernelBaseline (G3)
        "#]],
    );
}
