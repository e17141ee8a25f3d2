//! Event logs as people get them: `muster simulate` and `muster up --events` write them, `muster check` judges them.
//!
//! `testdata/fleet.jsonl` is a real export: six fake machines with an older openssl.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as its tests do")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use expect_test::expect;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a fleet of fake machines may take beside a build on a busy machine.
const PATIENCE: &str = "180s";

const OPENSSL: &str = "apiVersion: muster.dev/v1alpha1
kind: PackageBaseline
metadata: {name: openssl}
spec:
  machineSelector: {}
  rollout: {maxUnavailable: 2, minReady: 10m}
  packages:
    - {name: openssl, version: latest}
";

const NIGHT: &str = "apiVersion: muster.dev/v1alpha1
kind: MaintenanceWindow
metadata: {name: night}
spec:
  machineSelector: {}
  action: Allow
  schedule: \"0 22 * * *\"
  duration: 50m
  cutoff: 5m
";

/// A folder with desired resources, and nothing else in the environment.
struct Place(TempDir);

impl Place {
    fn with(files: &[(&str, &str)]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(place.path("desired")).unwrap();
        files.iter().for_each(|(name, text)| place.write(&format!("desired/{name}"), text));
        place
    }

    fn fleet() -> Self {
        Self::with(&[("openssl.yaml", OPENSSL), ("night.yaml", NIGHT)])
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
        command.args(arguments).env_clear().env("HOME", self.0.path()).current_dir(self.0.path());
        command.stdin(Stdio::null()).env("RUST_LOG", "warn").output().unwrap()
    }

    fn simulate(&self, more: &[&str]) -> Output {
        let state = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata/fleet.jsonl");
        let fixed = ["simulate", "--desired", "desired", "--state", state.to_str().unwrap()];
        self.run(&[&fixed, more].concat())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("no JSON: {error}: {}{}", text(&output.stdout), text(&output.stderr)))
}

/// What was printed and how it ended. Left out is what says nothing here: digests of folders, and what any new event of the
/// log moves, the seconds that messages take and how many events there are.
fn said(output: &Output) -> String {
    let mut said = text(&output.stdout) + &text(&output.stderr);
    if let (Some(from), Some(to)) = (said.find("@sha256:"), said.find(" for namespace")) {
        said.replace_range(from..to, "@…");
    }
    let words: Vec<&str> = said.split_inclusive([' ', '\n']).collect();
    let said: String = words
        .iter()
        .enumerate()
        .map(|(place, word)| {
            let next = words.get(place + 1).copied().unwrap_or_default();
            match word.find("Z").filter(|end| *end == 19 && !word.contains(":00Z") && !word.contains(":22Z"))
            {
                Some(end) => format!("{}…{}", &word[..end - 2], &word[end..]),
                None if next.starts_with("events,") => "… ".to_owned(),
                None => (*word).to_owned(),
            }
        })
        .collect();
    format!("{said}exit {}\n", output.status.code().unwrap_or(-1))
}

// rule: W1, B2
#[test]
fn a_fleet_run_forward_says_who_changes_in_which_night_and_its_log_breaks_no_rule() {
    let place = Place::fleet();
    let run = place.simulate(&["--until", "2026-11-28T12:00:00Z", "--seed", "1", "--events", "log.jsonl"]);
    expect![[r#"
        simulation of folder@… for namespace default, 2026-11-25T14:50:22Z to 2026-11-28T12:00:00Z, seed 1

        ~ night from 2026-11-25T22:00:00Z to 2026-11-25T22:50:00Z: 4 change, at most 2 at a time, over at 2026-11-25T22:30:…Z
            sim-00000, sim-00001, sim-00002, sim-00003
        ~ night from 2026-11-26T22:00:00Z to 2026-11-26T22:50:00Z: 2 change, at most 2 at a time, over at 2026-11-26T22:10:…Z
            sim-00004, sim-00005

        6 machines: 0 converged before, 6 converged, 0 not yet, 0 blocked, 0 unmanaged, 0 unknown
        at most 2 with an activity at a time, first at 2026-11-25T22:00:00Z
        6 machines without a word from their own apt: taken to change what is asked and nothing besides
        the fleet converges at 2026-11-26T22:10:…Z
        exit 0
    "#]]
    .assert_eq(&said(&run));
    expect![[r#"
        … events, 6 starts: no rule was broken
        exit 0
    "#]]
    .assert_eq(&said(&place.run(&["check", "log.jsonl"])));
    let log = place.read("log.jsonl");
    place.simulate(&["--until", "2026-11-28T12:00:00Z", "--seed", "1", "--events", "log.jsonl"]);
    assert_eq!(place.read("log.jsonl"), log, "one seed, one run, byte for byte");
    place.simulate(&["--until", "2026-11-28T12:00:00Z", "--seed", "2", "--events", "log.jsonl"]);
    assert_ne!(place.read("log.jsonl"), log);
}

// rule: W1
#[test]
fn a_log_in_which_an_activity_starts_before_its_window_opens_is_caught() {
    let place = Place::fleet();
    place.simulate(&["--until", "2026-11-26T12:00:00Z", "--events", "log.jsonl"]);
    let log = place.read("log.jsonl");
    let mut lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let created = lines.iter().position(|line| line["event"]["ActivityCreated"].is_object()).unwrap();
    let mut early = lines.remove(created);
    early["time"] = json!("2026-11-25T21:59:00.000000Z");
    let before = |line: &Value| line["time"].as_str().is_none_or(|time| time < "2026-11-25T21:59");
    let at = lines.iter().position(|line| !before(line)).unwrap();
    lines.insert(at, early);
    let tampered: String = lines.iter().map(|line| format!("{line}\n")).collect();
    place.write("tampered.jsonl", &tampered);
    let line = format!("jsonl:{}:", at + 1);
    expect![[r#"
        tampered.jsonl:…: ! 2026-11-25T21:59:00Z W1 StartedOutsideWindows sim-00002-1: Packages started at 2026-11-25T21:59:00Z, when none of night was open
        … events, 4 starts: 1 violation
        exit 2
    "#]].assert_eq(&said(&place.run(&["check", "tampered.jsonl"])).replace(&line, "jsonl:…:"));
    let judged = json_of(&place.run(&["check", "tampered.jsonl", "-o", "json"]));
    assert_eq!((&judged["clean"], &judged["violations"][0]["rule"]), (&json!(false), &json!("W1")));
    assert_eq!(judged["violations"][0]["line"], json!(at + 1));
}

#[test]
fn what_is_not_through_in_time_is_named_with_its_reason() {
    let place = Place::fleet();
    let run = place.simulate(&["--until", "2026-11-25T23:00:00Z"]);
    expect![[r#"
        simulation of folder@… for namespace default, 2026-11-25T14:50:22Z to 2026-11-25T23:00:00Z, seed 1

        ~ night from 2026-11-25T22:00:00Z to 2026-11-25T22:50:00Z: 4 change, at most 2 at a time, over at 2026-11-25T22:30:…Z
            sim-00000, sim-00001, sim-00002, sim-00003
        x 2 not converged: Waiting, WindowClosed (rule W1)
            sim-00004, sim-00005
            sim-00004: window night opens at 2026-11-26T22:00:00Z

        6 machines: 0 converged before, 4 converged, 2 not yet, 0 blocked, 0 unmanaged, 0 unknown
        at most 2 with an activity at a time, first at 2026-11-25T22:00:00Z
        4 machines without a word from their own apt: taken to change what is asked and nothing besides
        the fleet has not converged by 2026-11-25T23:00:00Z
        exit 2
    "#]]
    .assert_eq(&said(&run));
    let answer = json_of(&place.simulate(&["--until", "2026-11-25T23:00:00Z", "-o", "json"]));
    assert_eq!((&answer["converged"], &answer["convergedTime"]), (&json!(false), &Value::Null));
    assert_eq!(answer["openings"][0]["machinesTotal"], 4);
    let first = &answer["machines"][0];
    assert_eq!((&first["name"], &first["verdict"]), (&json!("sim-00000"), &json!("Converged")));
    assert_eq!(first["activities"][0]["steps"], json!(["InstallPackages"]));
    let last = &answer["machines"][5];
    assert_eq!(
        (&last["reason"], &last["untilTime"]),
        (&json!("WindowClosed"), &json!("2026-11-26T22:00:00Z"))
    );
}

#[test]
fn what_cannot_be_simulated_says_why_and_harms_no_file() {
    let place = Place::fleet();
    place.write("notes.txt", "mine\n");
    let run = place.simulate(&["--until", "2026-11-26T12:00:00Z", "--events", "notes.txt"]);
    expect![[r#"
        error: notes.txt is there and no log of a simulation: give --events another file
        exit 1
    "#]]
    .assert_eq(&said(&run));
    assert_eq!(place.read("notes.txt"), "mine\n");
    let backwards = place.simulate(&["--until", "2026-11-20T12:00:00Z"]);
    expect![[r#"
        error: --until must be after 2026-11-25T14:50:22Z, by a year at the most
        exit 64
    "#]]
    .assert_eq(&said(&backwards));
    place.write("desired/night.yaml", &NIGHT.replace("22 * * *", "25 * * *"));
    let wrong = place.simulate(&["--until", "2026-11-26T12:00:00Z"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(wrong.stdout.is_empty(), "{}", text(&wrong.stdout));
    assert!(text(&wrong.stderr).contains("night.yaml:7:13: spec.schedule"), "{}", text(&wrong.stderr));
}

#[test]
fn a_log_that_is_none_is_told_from_one_that_was_cut_off() {
    let place = Place::fleet();
    place.write("no.jsonl", "{\"hello\": 1}\n");
    expect![[r#"
        error: no.jsonl:1: cannot be read as an event log (docs/events.md says what one is)
          because: no header of an event log: the first line of `muster up --events FILE` is one
          because: unknown field `hello`, expected one of `format`, `version`, `writer`, `namespace`, `begins`, `lagSeconds`, `seed` at line 1 column 8
        exit 1
    "#]].assert_eq(&said(&place.run(&["check", "no.jsonl"])));
    place.simulate(&["--until", "2026-11-26T12:00:00Z", "--events", "log.jsonl"]);
    let log = place.read("log.jsonl");
    place.write("cut.jsonl", &log[..log.len() - 20]);
    let lines = log.lines().count();
    let cut = place.run(&["check", "cut.jsonl"]);
    assert_eq!(cut.status.code(), Some(0), "{}", text(&cut.stderr));
    let note = format!("cut.jsonl:{lines}: the last line is incomplete and was left out\n");
    assert_eq!(text(&cut.stderr), note);
    place.write("broken.jsonl", &log.replacen("\"event\":{\"Leading\"", "\"event\":{\"Laeding\"", 1));
    let broken = place.run(&["check", "broken.jsonl"]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(text(&broken.stderr).contains("broken.jsonl:3: cannot be read"), "{}", text(&broken.stderr));
}

/// A real controller, gateway and machines: the log that they leave is judged by what shares no code with them.
#[test]
fn the_log_of_a_fleet_that_ran_breaks_no_rule_and_goes_on_where_it_ended() {
    let place = Place::with(&[("openssl.yaml", OPENSSL)]);
    let up = || {
        let output = place.run(&[
            "up",
            "desired",
            "--state-dir",
            "state",
            "--simulate",
            "4",
            "--sim-step",
            "100ms",
            "--until",
            "converged",
            "--timeout",
            PATIENCE,
            "--events",
            "log.jsonl",
            "-o",
            "json",
        ]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    };
    // minReady holds the second pair back for ten minutes: of them all without it.
    place.write("desired/openssl.yaml", &OPENSSL.replace(", minReady: 10m", ""));
    up();
    let first = json_of(&place.run(&["check", "log.jsonl", "-o", "json"]));
    assert_eq!((&first["clean"], &first["starts"]), (&json!(true), &json!(4)), "{first}");
    let before = place.read("log.jsonl");
    up();
    let after = place.read("log.jsonl");
    assert!(after.starts_with(&before) && after.len() > before.len(), "a second run appends");
    let second = json_of(&place.run(&["check", "log.jsonl", "-o", "json"]));
    assert_eq!((&second["clean"], &second["starts"]), (&json!(true), &json!(4)), "{second}");
    let other = place.run(&["up", "desired", "--state-dir", "state", "--events", "desired/openssl.yaml"]);
    assert_eq!(other.status.code(), Some(1));
    let why = "desired/openssl.yaml is there and no event log of this fleet: give --events another file";
    assert!(text(&other.stderr).contains(why), "{}", text(&other.stderr));
    let simulated = place.simulate(&["--until", "2026-11-26T12:00:00Z", "--events", "log.jsonl"]);
    assert_eq!(simulated.status.code(), Some(1), "a simulation does not write over what happened");
    assert_eq!(place.read("log.jsonl"), after);
}
