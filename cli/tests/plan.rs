//! `muster plan`, `windows`, `state export` and `export` as people and CI jobs run them.
//!
//! `testdata/fleet.jsonl` is a real export: six fake machines, two baselines, a window that is open on leap days only.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as its tests do")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use expect_test::expect;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a fleet of fake machines may take beside a build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A folder with nothing else in the environment.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A place with a folder `desired` of these files.
    fn with(files: &[(&str, &str)]) -> Self {
        let place = Self::new();
        std::fs::create_dir(place.path("desired")).unwrap();
        files.iter().for_each(|(name, text)| place.write(&format!("desired/{name}"), text));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("HOME", self.0.path()).current_dir(self.0.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null()).env("RUST_LOG", "warn");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(env!("CARGO_BIN_EXE_muster"), arguments).output().unwrap()
    }

    /// Plans `desired` against the recorded fleet.
    fn plan(&self, more: &[&str]) -> Output {
        let state = recorded();
        let fixed = ["plan", "--desired", "desired", "--state", state.to_str().unwrap()];
        self.run(&[&fixed, more].concat())
    }

    fn git(&self, arguments: &[&str]) {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-C", "repo"];
        let output = self.command("git", &[&identity, arguments].concat()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    }
}

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata/fleet.jsonl")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("no JSON: {error}: {}{}", text(&output.stdout), text(&output.stderr)))
}

/// A `muster up` in the background; ended when it is dropped.
struct Up {
    child: Child,
    kubeconfig: String,
    _output: BufReader<ChildStdout>,
}

impl Up {
    fn start(place: &Place, machines: &str) -> Self {
        let arguments = [
            "up",
            "desired",
            "--state-dir",
            "state",
            "-o",
            "json",
            "--simulate",
            machines,
            "--sim-step",
            "100ms",
        ];
        let mut child =
            place.command(env!("CARGO_BIN_EXE_muster"), &arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let kubeconfig = ready["kubeconfig"].as_str().unwrap().to_owned();
        Self { child, kubeconfig, _output: output }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn baseline(name: &str, role: &str, packages: &str) -> String {
    format!(
        "apiVersion: muster.dev/v1alpha1\nkind: PackageBaseline\nmetadata:\n  name: {name}\nspec:\n  \
         machineSelector: {{matchLabels: {{{role}}}}}\n  rollout: {{maxUnavailable: 100%}}\n  packages:\n{packages}"
    )
}

fn window(schedule: &str, duration: &str) -> String {
    format!(
        "apiVersion: muster.dev/v1alpha1\nkind: MaintenanceWindow\nmetadata:\n  name: night\nspec:\n  \
         machineSelector: {{}}\n  action: Allow\n  schedule: \"{schedule}\"\n  duration: {duration}\n"
    )
}

const OPENSSL: &str = "    - {name: openssl, version: latest}\n";
const NGINX: &str = "    - {name: nginx}\n";

/// What an activity, or a plan, does to packages: by type, what was asked for and what comes along.
fn packages(step: &Value, member: &str) -> Vec<String> {
    let changes = step[member].as_array().cloned().unwrap_or_default();
    let word = |change: &Value, key: &str| change[key].as_str().unwrap_or("-").to_owned();
    let mut all: Vec<String> = changes
        .iter()
        .map(|it| {
            let [name, architecture, from, to] =
                ["name", "architecture", "from", "to"].map(|key| word(it, key));
            format!("{name}:{architecture} {from} > {to}")
        })
        .collect();
    all.sort();
    all
}

fn shown_steps(steps: &[Value], of: impl Fn(&Value) -> Value) -> Vec<String> {
    let shown = |step: &Value| {
        let type_ = step["type"].as_str().unwrap_or_default();
        let body = of(step);
        let served: Vec<String> = step["baselines"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|it| {
                format!("{}/{}", it["kind"].as_str().unwrap_or("-"), it["name"].as_str().unwrap_or("-"))
            })
            .collect();
        format!(
            "{type_} {served:?} {:?} with {:?}",
            packages(&body, "requested"),
            packages(&body, "dependencies")
        )
    };
    steps.iter().map(shown).collect()
}

/// Promise P1: what the plan said is what happens. The fleet simulates a change while its window is closed; the plan for
/// an open window is made from an export; then the window opens.
#[test]
fn what_the_plan_said_is_what_happens() {
    let closed = window("0 0 29 2 *", "1h");
    let place = Place::with(&[
        ("all.yaml", &baseline("openssl", "", OPENSSL)),
        ("web.yaml", &baseline("web", "role: web", NGINX)),
        ("window.yaml", &closed),
    ]);
    let up = Up::start(&place, "5");
    let config = up.kubeconfig.as_str();
    let deadline = Instant::now() + PATIENCE;
    let live =
        |more: &[&str]| {
            json_of(&place.run(
                &[&["plan", "--desired", "desired", "--kubeconfig", config, "-o", "json"], more].concat(),
            ))
        };
    // Each look at the fleet is a whole plan of the live state.
    loop {
        let totals = live(&[])["totals"].clone();
        if totals["waiting"] == 5 && totals["needsSimulation"] == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "the machines have not simulated the change: {totals}");
    }
    let exported = place.run(&["state", "export", "-o", "state.jsonl.zst", "--kubeconfig", config]);
    assert_eq!(exported.status.code(), Some(0), "{}", text(&exported.stderr));
    place.write("desired/window.yaml", &window("0 0 * * *", "24h"));
    let planned = place.run(&["plan", "--desired", "desired", "--state", "state.jsonl.zst", "-o", "json"]);
    assert_eq!(planned.status.code(), Some(2), "{}", text(&planned.stderr));
    let planned = json_of(&planned);
    assert_eq!((&planned["totals"]["start"], &planned["totals"]["needsSimulation"]), (&json!(5), &json!(0)));
    loop {
        let totals = live(&[])["totals"].clone();
        if totals["converged"] == 5 {
            break;
        }
        assert!(Instant::now() < deadline, "the fleet has not converged: {totals}");
    }
    let done = place.run(&["plan", "--desired", "desired", "--kubeconfig", config]);
    assert_eq!(done.status.code(), Some(0), "nothing is left to do: {}", text(&done.stdout));
    let after = place.run(&["state", "export", "--kubeconfig", config]);
    let activities: Vec<Value> = text(&after.stdout)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|object| object["kind"] == "Activity")
        .collect();
    assert_eq!(activities.len(), 5, "one for each machine, and nothing else");
    for machine in planned["machines"].as_array().unwrap() {
        let activity =
            activities.iter().find(|it| it["spec"]["machineRef"]["name"] == machine["name"]).unwrap();
        let said = shown_steps(machine["steps"].as_array().unwrap(), Value::clone);
        let body = |step: &Value| {
            step.get("installPackages").or_else(|| step.get("removePackages")).cloned().unwrap_or_default()
        };
        let happened = shown_steps(activity["spec"]["steps"].as_array().unwrap(), body);
        assert_eq!(said, happened, "{}", machine["name"]);
        assert_eq!(activity["status"]["phase"], "Succeeded");
    }
}

/// The recorded fleet's own resources, with its window open every day.
fn opened() -> Place {
    Place::with(&[
        ("all.yaml", &baseline("openssl", "", OPENSSL)),
        ("web.yaml", &baseline("web", "role: web", NGINX)),
        ("window.yaml", &window("0 0 * * *", "24h")),
    ])
}

fn plan_text(place: &Place, more: &[&str]) -> (String, Option<i32>) {
    let output = place.plan(more);
    let said = text(&output.stdout) + &text(&output.stderr);
    (said, output.status.code())
}

/// Revisions of folders are digests, which say nothing here.
fn without_revisions(said: &str) -> String {
    let words = said.split_inclusive([' ', '\n']);
    words
        .map(|word| match word.find("@sha256:") {
            Some(at) => format!("{}@…{}", &word[..at], &word[word.trim_end().len()..]),
            None => word.to_owned(),
        })
        .collect()
}

#[test]
fn people_read_what_happens_to_which_machines_and_when() {
    let (said, code) = plan_text(&opened(), &[]);
    expect![[r#"
        plan of folder@… for namespace default at 2026-11-25T14:50:22Z

        ~ nginx 1.22.1-9+deb12u11 installed
        ~ openssl 3.0.20-1~deb12u2 → 3.0.22-1~deb12u2
        ~ with libssl3 3.0.20-1~deb12u2 → 3.0.22-1~deb12u2, nginx-common 1.22.1-9+deb12u11 installed
            6 machines: sim-00000, sim-00001, sim-00002, sim-00003, sim-00004 and 1 more
            6 now

        6 machines: 0 converged, 6 start now, 0 active, 0 waiting, 0 blocked, 0 unmanaged, 0 unknown
        6 machines affected by the plan
        forecast: 6 converge by 2026-11-25T15:00:22Z
        forecast: 6 start in night from 2026-11-25T14:50:22Z
    "#]]
    .assert_eq(&without_revisions(&said));
    assert_eq!(code, Some(2));
}

#[test]
fn a_window_that_stays_closed_says_what_waits_for_it() {
    let place = opened();
    place.write("desired/window.yaml", &window("0 0 29 2 *", "1h"));
    let (said, code) = plan_text(&place, &[]);
    expect![[r#"
        plan of folder@… for namespace default at 2026-11-25T14:50:22Z

        ~ nginx 1.22.1-9+deb12u11 installed
        ~ openssl 3.0.20-1~deb12u2 → 3.0.22-1~deb12u2
        ~ with libssl3 3.0.20-1~deb12u2 → 3.0.22-1~deb12u2, nginx-common 1.22.1-9+deb12u11 installed
            6 machines: sim-00000, sim-00001, sim-00002, sim-00003, sim-00004 and 1 more
            6 later (WindowClosed MaintenanceWindow/night, rule W1): at 2028-02-29T00:00:00Z

        6 machines: 0 converged, 0 start now, 0 active, 6 waiting, 0 blocked, 0 unmanaged, 0 unknown
        6 machines affected by the plan
        forecast: 6 perhaps later
        forecast:   6 (WindowClosed, rule W1), sim-00000: window night opens at 2028-02-29T00:00:00Z
        the answer may change by itself at 2028-02-29T00:00:00Z
    "#]]
    .assert_eq(&without_revisions(&said));
    assert_eq!(code, Some(2));
}

// rule: B1
#[test]
fn what_never_converges_says_why_though_no_machine_has_simulated_it() {
    let place = opened();
    let one = baseline("openssl", "", "    - {name: openssl, version: latest}\n");
    place.write("desired/all.yaml", &one.replace("maxUnavailable: 100%", "maxUnavailable: 0"));
    place.write("desired/web.yaml", &baseline("web", "", "    - {name: openssl}\n"));
    let (said, _) = plan_text(&place, &[]);
    let foreseen: Vec<&str> = said.lines().filter(|line| line.starts_with("forecast")).collect();
    assert_eq!(
        foreseen,
        [
            "forecast: 6 by nothing that is foreseen",
            "forecast:   6 (BudgetIsZero, rule B1), sim-00000: maxUnavailable of PackageBaseline/openssl allows no machine to be unavailable",
            "forecast: 6 without a word from their own apt: taken to change what is asked and nothing besides",
        ]
    );
    let plan = json_of(&place.plan(&["-o", "json"]));
    let (machine, reasons) = (&plan["machines"][0], &plan["forecast"]["reasons"]);
    assert_eq!(machine["reason"], "Proposal", "that is what it waits for first");
    assert_eq!(machine["forecast"]["fate"], "Never");
    assert_eq!(machine["forecast"]["reason"], "BudgetIsZero");
    assert_eq!((&reasons[0]["fate"], &reasons[0]["machines"]), (&json!("Never"), &json!(6)));
}

#[test]
fn a_change_that_no_machine_has_simulated_says_so() {
    let place = opened();
    let packages = "    - {name: openssl, state: Absent}\n    - {name: htop}\n";
    place.write("desired/all.yaml", &baseline("openssl", "", packages));
    let (said, code) = plan_text(&place, &[]);
    expect![[r#"
        plan of folder@… for namespace default at 2026-11-25T14:50:22Z

        - htop:amd64 absent → any version: not reported yet what is on offer
        - nginx:amd64 absent → 1.22.1-9+deb12u11, and what apt brings along: not simulated yet
        - openssl:amd64 3.0.20-1~deb12u2 → absent, and what apt brings along: not simulated yet
            6 machines: sim-00000, sim-00001, sim-00002, sim-00003, sim-00004 and 1 more
            6 later (Inventory, rule V2): with the machine's next report

        6 machines: 0 converged, 0 start now, 0 active, 6 waiting, 0 blocked, 0 unmanaged, 0 unknown
        6 machines affected by the plan
        6 machines not known exactly: needs simulation by their own apt, once the resources are in force
        forecast: 6 only when they have reported once more
        forecast: 6 without a word from their own apt: taken to change what is asked and nothing besides
        forecast: 6 start in night from 2026-11-25T14:50:22Z
    "#]]
    .assert_eq(&without_revisions(&said));
    assert_eq!(code, Some(2));
}

#[test]
fn the_same_inputs_give_the_same_bytes_whatever_the_order_of_the_state() {
    let place = opened();
    let state = std::fs::read_to_string(recorded()).unwrap();
    let mut lines: Vec<&str> = state.lines().collect();
    lines[1..].reverse();
    place.write("turned.jsonl", &(lines.join("\n") + "\n"));
    for output in ["text", "json", "markdown"] {
        let first = place.plan(&["-o", output]).stdout;
        assert!(!first.is_empty());
        assert_eq!(first, place.plan(&["-o", output]).stdout);
        let turned = place.run(&["plan", "--desired", "desired", "--state", "turned.jsonl", "-o", output]);
        assert_eq!(text(&first), text(&turned.stdout), "{output}");
    }
}

#[test]
fn scripts_get_an_answer_for_every_machine() {
    let answer = json_of(&opened().plan(&["-o", "json"]));
    let machine = &answer["machines"][0];
    let keys: Vec<&String> = machine.as_object().unwrap().keys().collect();
    expect![[r#"["blocker", "clears", "forecast", "mayReboot", "message", "name", "namespace", "reason", "requirements", "rule", "steps", "untilTime", "verdict"]"#]].assert_eq(&format!("{keys:?}"));
    expect![[r#"
        [
          {
            "baselines": [
              {
                "kind": "PackageBaseline",
                "name": "openssl"
              },
              {
                "kind": "PackageBaseline",
                "name": "web"
              }
            ],
            "dependencies": [
              {
                "architecture": "amd64",
                "from": "3.0.20-1~deb12u2",
                "name": "libssl3",
                "to": "3.0.22-1~deb12u2"
              },
              {
                "architecture": "amd64",
                "from": null,
                "name": "nginx-common",
                "to": "1.22.1-9+deb12u11"
              }
            ],
            "kernel": null,
            "requested": [
              {
                "architecture": "amd64",
                "from": null,
                "name": "nginx",
                "to": "1.22.1-9+deb12u11"
              },
              {
                "architecture": "amd64",
                "from": "3.0.20-1~deb12u2",
                "name": "openssl",
                "to": "3.0.22-1~deb12u2"
              }
            ],
            "type": "InstallPackages"
          }
        ]"#]]
    .assert_eq(&serde_json::to_string_pretty(&machine["steps"]).unwrap());
    expect![[r#"
        {
          "baseline": {
            "kind": "PackageBaseline",
            "name": "web"
          },
          "file": "web.yaml",
          "installed": null,
          "line": 9,
          "message": "starts sim-00000-1: nginx:amd64=1.22.1-9+deb12u11, openssl:amd64=3.0.22-1~deb12u2 with 2 more",
          "reason": "Starting",
          "resource": "nginx:amd64",
          "rule": "B5",
          "target": "1.22.1-9+deb12u11",
          "verdict": "Start"
        }"#]].assert_eq(&serde_json::to_string_pretty(&machine["requirements"][0]).unwrap());
    let totals = &answer["totals"];
    let sum: u64 = ["converged", "start", "active", "waiting", "blocked", "unmanaged", "unknown"]
        .iter()
        .map(|name| totals[name].as_u64().unwrap())
        .sum();
    assert_eq!(
        (totals["machines"].as_u64(), answer["machines"].as_array().map(Vec::len)),
        (Some(sum), Some(6))
    );
    assert_eq!((&answer["problems"], &answer["at"]), (&json!([]), &json!("2026-11-25T14:50:22Z")));
}

// rule: S2
#[test]
fn a_contradiction_fails_with_both_places_and_the_number_of_machines() {
    let place = opened();
    place.write(
        "desired/other.yaml",
        &baseline("other", "role: web", "    - {name: openssl, state: Absent}\n"),
    );
    let output = place.plan(&["-o", "json"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let problems = json_of(&output)["problems"].clone();
    expect![[r#"
        [
          {
            "column": 7,
            "field": "spec.packages[0]",
            "file": "all.yaml",
            "line": 9,
            "message": "openssl:amd64 is asked for otherwise by PackageBaseline/other in other.yaml:9, on 6 machines: give one of them a higher priority, or let them agree",
            "rule": "S2"
          },
          {
            "column": 7,
            "field": "spec.packages[0]",
            "file": "other.yaml",
            "line": 9,
            "message": "openssl:amd64 is asked for otherwise by PackageBaseline/openssl in all.yaml:9, on 6 machines: give one of them a higher priority, or let them agree",
            "rule": "S2"
          }
        ]"#]].assert_eq(&serde_json::to_string_pretty(&problems).unwrap());
}

// rule: O1, O2
#[test]
fn rollouts_that_wait_for_each_others_machines_fail_the_plan() {
    let place = opened();
    let first = |name: &str, selector: &str| {
        let wave = format!(
            "{{maxUnavailable: 100%, waves: [{{name: first, machineSelector: {{matchLabels: {selector}}}}}]}}"
        );
        baseline(name, "", OPENSSL).replace("{maxUnavailable: 100%}", &wave)
    };
    place.write("desired/all.yaml", &first("openssl", "{ring: canary}"));
    place.write("desired/other.yaml", &first("other", "{zone: c}"));
    let (said, code) = plan_text(&place, &[]);
    expect![[r#"
        plan of folder@… for namespace default at 2026-11-25T14:50:22Z

        all.yaml:9:7: spec.packages[0]: openssl:amd64 3.0.22-1~deb12u2, on 3 machines: the rollouts of PackageBaseline/openssl and PackageBaseline/other wait for each other's machines, so none goes on: let them have the same first waves, or give one a higher priority (O1)
        other.yaml:9:7: spec.packages[0]: openssl:amd64 3.0.22-1~deb12u2, on 3 machines: the rollouts of PackageBaseline/openssl and PackageBaseline/other wait for each other's machines, so none goes on: let them have the same first waves, or give one a higher priority (O1)

        ~ nginx 1.22.1-9+deb12u11 installed
        ~ openssl 3.0.20-1~deb12u2 → 3.0.22-1~deb12u2
        ~ with libssl3 3.0.20-1~deb12u2 → 3.0.22-1~deb12u2, nginx-common 1.22.1-9+deb12u11 installed
            6 machines: sim-00000, sim-00001, sim-00002, sim-00003, sim-00004 and 1 more
            5 later (Wave BaselineRollout/pb-openssl, rule O2): when wave first has passed it
            1 later (Wave BaselineRollout/pb-other, rule O2): when wave first has passed it

        6 machines: 0 converged, 0 start now, 0 active, 6 waiting, 0 blocked, 0 unmanaged, 0 unknown
        6 machines affected by the plan
        forecast: 6 by nothing that is foreseen
        forecast:   6 (Wave, rule O2), sim-00000: wave first of PackageBaseline/other is first: 0 of 2 machine(s) have it
        forecast: 6 without a word from their own apt: taken to change what is asked and nothing besides
        forecast: 6 start in night from 2026-11-25T14:50:22Z
    "#]].assert_eq(&without_revisions(&said));
    assert_eq!(code, Some(1));
    // The canary of one is a canary of the other, too.
    place.write("desired/other.yaml", &first("other", "{ring: canary}"));
    assert_eq!(plan_text(&place, &[]).1, Some(2));
}

// rule: G1
#[test]
fn resources_with_problems_are_not_planned() {
    let place = opened();
    place.write(
        "desired/all.yaml",
        &baseline("openssl", "", "    - {name: openssl, version: \">= not a version\"}\n"),
    );
    let (said, code) = plan_text(&place, &[]);
    expect![[r#"
        plan of folder@… for namespace default at 2026-11-25T14:50:22Z

        all.yaml:9:32: spec.packages[0].version: the version at character 7 of the requirement cannot be read: "not a version" is not a Debian version: there is a space inside, at character 4 (V1)

        0 machines: 0 converged, 0 start now, 0 active, 0 waiting, 0 blocked, 0 unmanaged, 0 unknown
        0 machines affected by the plan
    "#]].assert_eq(&without_revisions(&said));
    assert_eq!(code, Some(1));
}

#[test]
fn nothing_to_do_is_zero() {
    let place = Place::with(&[("window.yaml", &window("0 0 * * *", "24h"))]);
    let (said, code) = plan_text(&place, &[]);
    expect![[r#"
        plan of folder@… for namespace default at 2026-11-25T14:50:22Z

        6 machines: 0 converged, 0 start now, 0 active, 0 waiting, 0 blocked, 6 unmanaged, 0 unknown
        0 machines affected by the plan
    "#]]
    .assert_eq(&without_revisions(&said));
    assert_eq!(code, Some(0));
}

fn policy(blast_radius: &str) -> String {
    format!(
        "apiVersion: muster.dev/v1alpha1\nkind: FleetPolicy\nmetadata: {{name: default}}\nspec: {{blastRadius: {blast_radius}}}\n"
    )
}

#[test]
fn more_machines_than_the_fleet_policy_allows_are_three() {
    let place = opened();
    place.write("desired/policy.yaml", &policy("50%"));
    let (said, code) = plan_text(&place, &[]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("blastRadius 50% allows 3 machines, 6 affected: exceeded"), "{said}");
    place.write("desired/policy.yaml", &policy("6"));
    assert_eq!(plan_text(&place, &[]).1, Some(2));
}

#[test]
fn between_two_commits_only_what_the_change_changes_is_told() {
    let place = opened();
    let repo = |name: &str, text: &str| place.write(&format!("repo/fleet/{name}"), text);
    std::fs::create_dir_all(place.path("repo/fleet")).unwrap();
    place.git(&["init", "--quiet", "--initial-branch", "main"]);
    repo("all.yaml", &baseline("openssl", "", OPENSSL));
    repo("web.yaml", &baseline("web", "role: web", NGINX));
    repo("window.yaml", &window("0 0 29 2 *", "1h"));
    let commit = |message: &str| {
        place.git(&["add", "--all"]);
        place.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
    };
    commit("base");
    place.git(&["tag", "base"]);
    commit("nothing");
    let state = recorded();
    let plan = |base: &str, head: &str, more: &[&str]| {
        let state = state.to_str().unwrap();
        let fixed =
            ["plan", "--repo", "repo", "--path", "fleet", "--base", base, "--head", head, "--state", state];
        place.run(&[&fixed, more].concat())
    };
    let nothing = plan("base", "HEAD", &[]);
    assert_eq!(nothing.status.code(), Some(0), "{}", text(&nothing.stdout));
    // The window opens: the same work, at another time.
    repo("window.yaml", &window("0 0 * * *", "24h"));
    commit("open");
    place.git(&["tag", "open"]);
    let opened = plan("base", "open", &["-o", "markdown"]);
    assert_eq!(opened.status.code(), Some(2), "only the time changes: {}", text(&opened.stdout));
    let said = text(&opened.stdout);
    let said: Vec<&str> = said.lines().filter(|line| !line.contains("sha1:")).map(str::trim_end).collect();
    expect![[r#"
        ### Muster plan: the same at another time, on 6 machines



        #### 6 machines

        - the same, at another time or for another reason
        - before: later (WindowClosed MaintenanceWindow/night, rule W1): at 2028-02-29T00:00:00Z
        - 6 now

        <details><summary>which</summary>sim-00000, sim-00001, sim-00002, sim-00003, sim-00004, sim-00005</details>

        6 machines: 0 converged, 6 start now, 0 active, 0 waiting, 0 blocked, 0 unmanaged, 0 unknown
        0 machines affected by the change
        forecast: 6 converge by 2026-11-25T15:00:22Z
        forecast: 6 start in night from 2026-11-25T14:50:22Z
    "#]].assert_eq(&said.join("\n"));
    // Another target for the web servers, and a policy that allows one machine.
    repo("web.yaml", &baseline("web", "role: web", "    - {name: nginx, state: Absent}\n"));
    repo("policy.yaml", &policy("1"));
    commit("away with nginx");
    place.git(&["tag", "away"]);
    let away = plan("open", "away", &["-o", "json"]);
    assert_eq!(away.status.code(), Some(3), "{}", text(&away.stderr));
    let answer = json_of(&away);
    let changed: Vec<&Value> =
        answer["machines"].as_array().unwrap().iter().filter(|it| it.get("change").is_some()).collect();
    assert!(!changed.is_empty() && changed.iter().all(|it| it["change"]["of"] == "Work"), "{answer:#}");
    assert_eq!(answer["totals"]["affected"], changed.len());
    // The change that lifts the limit is still judged by it.
    repo("web.yaml", &baseline("web", "role: web", NGINX));
    repo("policy.yaml", &policy("100%"));
    commit("back");
    let back = plan("away", "HEAD", &[]);
    assert_eq!(back.status.code(), Some(3), "{}", text(&back.stdout));
    // A base with problems is not in force: what is, is compared with.
    repo("web.yaml", "kind: PackageBaseline\n");
    commit("broken");
    place.git(&["tag", "broken"]);
    repo("web.yaml", &baseline("web", "role: web", NGINX));
    repo("window.yaml", &window("0 0 29 2 *", "1h"));
    repo("policy.yaml", &policy("100%"));
    commit("mended");
    let mended = plan("broken", "HEAD", &[]);
    assert!(text(&mended.stderr).contains("problem(s), so it is not in force"), "{}", text(&mended.stderr));
    assert_eq!(mended.status.code(), Some(0), "{}", text(&mended.stdout));
}

#[test]
fn mistakes_on_the_command_line_are_usage_errors() {
    let place = opened();
    let state = recorded();
    let state = state.to_str().unwrap();
    for arguments in [
        vec!["plan", "--state", state],
        vec!["plan", "--desired", "desired", "--repo", ".", "--base", "a", "--head", "b", "--state", state],
        vec!["plan", "--repo", ".", "--base", "a", "--state", state],
        vec!["plan", "--desired", "desired", "--state", state, "--kubeconfig", "k"],
        vec!["plan", "--desired", "desired", "--state", state, "--at", "tonight"],
        vec!["plan", "--desired", "desired", "--state", state, "--source", "nobody"],
        vec![
            "windows",
            "--desired",
            "desired",
            "--from",
            "2027-01-01T00:00:00Z",
            "--to",
            "2026-01-01T00:00:00Z",
        ],
    ] {
        let output = place.run(&arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    let cut: String =
        std::fs::read_to_string(recorded()).unwrap().lines().take(3).collect::<Vec<_>>().join("\n");
    place.write("cut.jsonl", &cut);
    let output = place.run(&["plan", "--desired", "desired", "--state", "cut.jsonl"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("error: cut.jsonl has 2 objects"), "{}", text(&output.stderr));
}

// rule: W3
#[test]
fn windows_are_open_as_the_planner_reckons() {
    let place = Place::with(&[
        ("b.yaml", &window("0 22 * * FRI", "6h").replace("schedule", "timeZone: Europe/Berlin\n  schedule")),
        (
            "a.yaml",
            &window("30 2 * * SUN", "2h")
                .replace("night", "gap")
                .replace("schedule", "timeZone: Europe/Berlin\n  schedule"),
        ),
    ]);
    let asked =
        ["windows", "--desired", "desired", "--from", "2027-03-19T00:00:00Z", "--to", "2027-03-30T00:00:00Z"];
    let output = place.run(&[&asked[..], &["-o", "json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(
        json_of(&output),
        json!({"windows": [
            {"namespace": "default", "name": "gap", "open": [
                ["2027-03-21T01:30:00Z", "2027-03-21T03:30:00Z"],
                ["2027-03-28T01:30:00Z", "2027-03-28T03:30:00Z"],
            ]},
            {"namespace": "default", "name": "night", "open": [
                ["2027-03-19T21:00:00Z", "2027-03-20T03:00:00Z"],
                ["2027-03-26T21:00:00Z", "2027-03-27T03:00:00Z"],
            ]},
        ]})
    );
    expect![[r#"
        WINDOW  ACTION  OPEN                  CLOSED AGAIN
        gap     Allow   2027-03-21T01:30:00Z  2027-03-21T03:30:00Z
        gap     Allow   2027-03-28T01:30:00Z  2027-03-28T03:30:00Z
        night   Allow   2027-03-19T21:00:00Z  2027-03-20T03:00:00Z
        night   Allow   2027-03-26T21:00:00Z  2027-03-27T03:00:00Z
    "#]]
    .assert_eq(&text(&place.run(&asked).stdout));
}

/// What people wrote, and nothing else.
#[test]
fn an_export_holds_specs_tokens_and_the_root_and_no_status() {
    let place = Place::with(&[("all.yaml", &baseline("openssl", "", OPENSSL))]);
    let up = Up::start(&place, "2");
    let config = up.kubeconfig.as_str();
    let enrolled = place.run(&["enroll", "--label", "role=web", "--kubeconfig", config]);
    assert_eq!(enrolled.status.code(), Some(0), "{}", text(&enrolled.stderr));
    let deadline = Instant::now() + PATIENCE;
    let export = loop {
        let export = json_of(&place.run(&["export", "--kubeconfig", config]));
        let items = export["items"].as_array().unwrap();
        let count = |kind: &str| items.iter().filter(|item| item["kind"] == kind).count();
        if count("FleetMachine") == 2 && count("PackageBaseline") == 1 {
            break export;
        }
        assert!(Instant::now() < deadline, "not enrolled, or not applied: {export}");
    };
    let items = export["items"].as_array().unwrap();
    let mut kinds: Vec<&str> = items.iter().map(|item| item["kind"].as_str().unwrap()).collect();
    kinds.dedup();
    assert_eq!(kinds, ["Secret", "EnrollmentToken", "FleetMachine", "PackageBaseline"]);
    assert!(items.iter().all(|item| item.get("status").is_none() && item["metadata"].get("uid").is_none()));
    assert!(items.iter().all(|item| item["kind"] != "FleetMachine" || item["spec"]["identity"].is_string()));
    assert_eq!(items[0]["metadata"]["name"], "muster-ca");
    for word in ["pause", "resume", "pause"] {
        let said = place.run(&[word, "openssl", "--reason", "we move", "--kubeconfig", config]);
        assert_eq!(said.status.code(), Some(0), "{}", text(&said.stderr));
    }
    let written = place.run(&["export", "-o", "fleet.json", "--kubeconfig", config]);
    assert_eq!(written.status.code(), Some(0));
    let behind = "3 RolloutApproval(s) stay behind: only who says such a word can say it, so say again what still \
                  holds; pauses first, before anything may start there: openssl";
    assert!(text(&written.stderr).contains(behind), "{}", text(&written.stderr));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(place.path("fleet.json")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600, "it holds the key of the fleet's root");
    let again = place.run(&["export", "-o", "fleet.json", "--kubeconfig", config]);
    assert_eq!(again.status.code(), Some(1), "a file that is there is somebody's");
    let why = place.run(&["why", "--all", "--kubeconfig", config]);
    assert!(text(&why.stdout).starts_with("2 machines of namespace default\n"), "{}", text(&why.stdout));
}

// rule: G4
#[test]
fn a_revision_that_takes_machines_their_window_is_shown_as_held_with_what_lets_it_go() {
    let place = opened();
    std::fs::remove_file(place.path("desired/window.yaml")).unwrap();
    let (said, code) = plan_text(&place, &[]);
    expect![[r#"
        plan of folder@… for namespace default at 2026-11-25T14:50:22Z

        GitSource up will hold it back: machines lose their last window and could be changed at any time: MaintenanceWindow night
            to let it go ahead: kubectl patch gs up --type merge -p '{"spec":{"allowRemoval":"sha256:111260cbb40d344d61875340eccd912f0c939242fc109032b5fc736f03e80c4d"}}'

        ~ nginx 1.22.1-9+deb12u11 installed
        ~ openssl 3.0.20-1~deb12u2 → 3.0.22-1~deb12u2
        ~ with libssl3 3.0.20-1~deb12u2 → 3.0.22-1~deb12u2, nginx-common 1.22.1-9+deb12u11 installed
            6 machines: sim-00000, sim-00001, sim-00002, sim-00003, sim-00004 and 1 more
            6 now

        6 machines: 0 converged, 6 start now, 0 active, 0 waiting, 0 blocked, 0 unmanaged, 0 unknown
        6 machines affected by the plan
        forecast: 6 converge by 2026-11-25T15:00:22Z
        forecast: 6 start from 2026-11-25T14:50:22Z
    "#]].assert_eq(&without_revisions(&said));
    assert_eq!(code, Some(2), "it says all the same what would happen");
    let held = json_of(&place.plan(&["-o", "json"]))["held"].clone();
    assert_eq!((&held["source"], &held["objectsTotal"]), (&json!("up"), &json!(1)));
    assert_eq!(held["objects"], json!([{"kind": "MaintenanceWindow", "name": "night"}]));
    let markdown = text(&place.plan(&["-o", "markdown"]).stdout);
    assert!(markdown.contains(":lock: GitSource up will hold it back"), "{markdown}");
    let state = std::fs::read_to_string(recorded()).unwrap();
    let allowed = format!("\"spec\":{{\"allowRemoval\":{},", held["digest"]);
    let limit = "\"spec\":{\"folder\"";
    assert_eq!(state.matches(limit).count(), 1);
    place.write("allowed.jsonl", &state.replacen(limit, &format!("{allowed}\"folder\""), 1));
    let plan = place.run(&["plan", "--desired", "desired", "--state", "allowed.jsonl", "-o", "json"]);
    assert_eq!(json_of(&plan).get("held"), None, "a person has allowed just that");
}

// rule: G4, W1
#[test]
fn a_live_fleet_says_what_is_to_come_and_its_source_holds_what_the_plan_said_it_would() {
    let place = Place::with(&[
        ("all.yaml", &baseline("openssl", "", OPENSSL)),
        ("window.yaml", &window("0 0 29 2 *", "1h")),
    ]);
    let up = Up::start(&place, "1");
    let config = up.kubeconfig.as_str();
    let deadline = Instant::now() + PATIENCE;
    let ask = |arguments: &[&str]| {
        let output = place.run(&[arguments, &["--kubeconfig", config]].concat());
        (text(&output.stdout), text(&output.stderr))
    };
    let why = loop {
        let (said, _) = ask(&["why", "sim-00000", "-o", "json"]);
        match serde_json::from_str::<Value>(&said) {
            Ok(answer) if answer["reason"] == "WindowClosed" => break answer,
            _ => assert!(Instant::now() < deadline, "the machine does not wait for its window: {said}"),
        }
    };
    assert_eq!(why["forecast"]["fate"], "Later", "{why}");
    let (said, _) = ask(&["why", "sim-00000"]);
    let closed = "(WindowClosed, rule W1)";
    let turn = said.lines().find(|line| line.starts_with("  forecast: as wanted not before 2")).unwrap();
    assert!(turn.contains(closed), "{said}");
    let (said, noted) = ask(&["status"]);
    assert!(
        said.contains(&format!("\nforecast: 1 perhaps later\nforecast:   1 {closed}, sim-00000: ")),
        "{said}{noted}"
    );
    let (said, _) = ask(&["status", "-o", "json"]);
    let status: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(status["forecast"]["machines"]["later"], 1, "{status}");
    std::fs::remove_file(place.path("desired/window.yaml")).unwrap();
    let (said, _) = ask(&["plan", "--desired", "desired", "-o", "json"]);
    let planned: Value = serde_json::from_str(&said).unwrap();
    assert!(planned["held"]["digest"].is_string(), "{planned}");
    loop {
        let (said, _) = ask(&["status", "-o", "json"]);
        let status: Value = serde_json::from_str(&said).unwrap();
        let held = &status["sources"][0]["status"]["heldRemoval"]["digest"];
        if held.is_string() {
            assert_eq!(*held, planned["held"]["digest"]);
            break;
        }
        assert!(Instant::now() < deadline, "the source holds nothing: {status}");
    }
}
