//! The built binary as a user runs it: small folders, real servers on ports of their own, no sleeps.
//!
//! Each test has its own state directory and environment. What the fleet does in between is the other crates' to test.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use expect_test::expect;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a test waits for convergence at most, beside a build on a busy machine.
const TIMEOUT: &str = "120s";

/// A folder for desired state, one for Muster's, and an environment in which nothing else is found.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().expect("a temporary directory") };
        std::fs::create_dir(place.desired()).expect("a folder for the desired state");
        place
    }

    fn desired(&self) -> PathBuf {
        self.folder.path().join("desired")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.desired().join(file), text).expect("the folder can be written");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
        command.args(arguments).env_clear().env("HOME", self.folder.path()).current_dir(self.folder.path());
        command.stdin(Stdio::null()).env("RUST_LOG", "warn");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("muster can be started")
    }

    fn up(&self, more: &[&str]) -> Command {
        let mut command = self.command(&["up", "desired", "--state-dir", "state", "-o", "json"]);
        command.args(more);
        command
    }

    /// Runs until convergence; the ready line and the last one.
    fn converge(&self, more: &[&str]) -> (Value, Value) {
        let output = self.up(&["--until", "converged", "--timeout", TIMEOUT]).args(more).output();
        let output = output.expect("muster can be started");
        let lines: Vec<Value> = text(&output.stdout).lines().map(json_of).collect();
        assert_eq!(output.status.code(), Some(0), "{lines:?}\n{}", text(&output.stderr));
        (lines[0].clone(), lines[lines.len() - 1].clone())
    }
}

/// A `muster up` in the background; killed when it is dropped.
struct Running {
    child: Child,
    ready: Value,
    /// Open for as long as it runs: what it prints has a reader.
    _output: BufReader<ChildStdout>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("muster can be started");
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("its output can be read");
        Self { child, ready: json_of(&line), _output: output }
    }

    fn kubeconfig(&self) -> &str {
        self.ready["kubeconfig"].as_str().expect("the ready line names the kubeconfig")
    }

    /// SIGTERM, and how it ended.
    fn stop(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill is everywhere");
        assert!(sent.success());
        self.child.wait().expect("it is our child").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("no JSON: {error}: {text}"))
}

const OPENSSL: &str = "\
apiVersion: muster.dev/v1alpha1
kind: PackageBaseline
metadata:
  name: openssl
spec:
  machineSelector: {}
  packages:
    - name: openssl
      version: latest
  rollout:
    maxUnavailable: 50%
";

/// A window that is open on one day in four years only.
const LEAP_DAY: &str = "\
apiVersion: muster.dev/v1alpha1
kind: MaintenanceWindow
metadata:
  name: leap-day
spec:
  machineSelector: {}
  action: Allow
  schedule: \"0 0 29 2 *\"
  duration: 1h
";

#[test]
fn a_folder_without_problems_is_valid() {
    let place = Place::new();
    place.write("openssl.yaml", OPENSSL);
    let output = place.run(&["validate", "desired"]);
    assert_eq!((text(&output.stdout).as_str(), output.status.code()), ("1 objects, no problems\n", Some(0)));
}

// rule: G1
#[test]
fn every_problem_of_a_folder_is_named_with_its_place() {
    let place = Place::new();
    place.write("openssl.yaml", &OPENSSL.replace("version: latest", "version: \">= not a version\""));
    place.write("window.yaml", &LEAP_DAY.replace("0 0 29 2 *", "every day"));
    let output = place.run(&["validate", "desired", "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let answer = json_of(&text(&output.stdout));
    let places: Vec<String> = answer["problems"]
        .as_array()
        .expect("there are problems")
        .iter()
        .map(|it| format!("{}:{} {}", it["file"], it["line"], it["field"]))
        .collect();
    assert_eq!(
        places,
        [r#""openssl.yaml":9 "spec.packages[0].version""#, r#""window.yaml":8 "spec.schedule""#],
        "{answer:#}"
    );
    assert_eq!((&answer["valid"], &answer["problemsTotal"]), (&json!(false), &json!(2)));
    let output = place.run(&["validate", "desired"]);
    assert!(text(&output.stdout).starts_with("openssl.yaml:9:"), "{}", text(&output.stdout));
    assert!(text(&output.stdout).ends_with("2 problems\n"));
}

#[test]
fn mistakes_on_the_command_line_are_usage_errors_that_say_what_would_be_right() {
    let place = Place::new();
    let output = place.run(&["up", "nowhere"]);
    assert_eq!(output.status.code(), Some(64));
    expect!["error: nowhere is neither a folder nor a URL (https://, ssh://, file:// or user@host:path)\n"]
        .assert_eq(&text(&output.stderr));
    let output = place.run(&["up", "desired", "--simulate", "9001"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("9001 is not in 0..=9000"), "{}", text(&output.stderr));
    let output = place.run(&["why"]);
    assert_eq!(output.status.code(), Some(64));
    for command in ["why", "resolve", "retry"] {
        let output = place.run(&[command, "Bad Name"]);
        assert_eq!(output.status.code(), Some(64));
        let said = text(&output.stderr);
        assert_eq!(said.matches("use lower-case letters").count(), 1, "{said}");
    }
    let output = place.run(&["why", "web-01"]);
    assert_eq!(output.status.code(), Some(1));
    expect!["error: there is no kubeconfig; start `muster up DIR`, or name one with --kubeconfig\n"]
        .assert_eq(&text(&output.stderr));
    assert_eq!(place.run(&["--help"]).status.code(), Some(0));
}

#[test]
fn fake_machines_converge_and_go_on_after_a_restart() {
    let place = Place::new();
    place.write("openssl.yaml", OPENSSL);
    let fleet = ["--simulate", "5", "--sim-step", "100ms"];
    let (first, end) = place.converge(&fleet);
    assert_eq!((&end["converged"], &end["machines"]), (&json!(true), &json!(5)));
    let (second, end) = place.converge(&fleet);
    assert_eq!(
        (&second["api"], &second["gateway"]),
        (&first["api"], &first["gateway"]),
        "the ports are kept"
    );
    assert_eq!((&end["converged"], &end["machines"]), (&json!(true), &json!(5)), "nobody enrolled twice");
    assert!(place.state().join("pki/ca.crt").exists());
}

#[test]
fn a_fleet_that_does_not_converge_in_time_says_what_it_waits_for() {
    let place = Place::new();
    place.write("openssl.yaml", OPENSSL);
    let output = place.up(&["--until", "converged", "--timeout", "1s", "--simulate", "0"]).output();
    let output = output.expect("muster can be started");
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let last = json_of(text(&output.stdout).lines().last().expect("it says why"));
    assert_eq!(last["reasons"], json!(["1 × not enrolled or not admitted"]));
}

// rule: W1
#[test]
fn a_closed_window_is_why_and_opens_at_its_time() {
    let place = Place::new();
    let wave = "    waves: [{name: canary, machineSelector: {matchLabels: {ring: canary}}}]\n";
    place.write("openssl.yaml", &format!("{OPENSSL}{wave}"));
    // Another baseline asks for the same, without waves.
    place.write("all.yaml", &OPENSSL.replace("name: openssl\nspec", "name: all\nspec"));
    place.write("window.yaml", LEAP_DAY);
    let command = place.up(&["--simulate", "2", "--sim-step", "100ms"]);
    let up = Running::start(command);
    let api = Api { place: &place, kubeconfig: up.kubeconfig() };
    let answer = api.why_once("sim-00000", |answer| answer["reason"] == "WindowClosed");
    assert_eq!((&answer["verdict"], &answer["rule"]), (&json!("Waiting"), &json!("W1")));
    assert_eq!(answer["blocker"]["kind"], "MaintenanceWindow");
    assert_eq!(answer["blocker"]["name"], "leap-day");
    assert_eq!(answer["blocker"]["status"]["open"], false);
    let until = answer["untilTime"].as_str().expect("it opens some day");
    assert!(until.contains("-02-29T00:00:00Z"), "{until}");
    assert_eq!(answer["clears"], format!("at {until}"));
    assert_eq!(answer["requirements"][0]["resource"], "openssl:amd64");
    // Who comes after it is told whom it waits for, and why that is so.
    let after = api.why_once("sim-00001", |answer| answer["reason"] == "Wave");
    assert_eq!(after["requirements"][0]["baseline"]["name"], "all");
    assert_eq!(after["clears"], "when the earlier wave of openssl has passed it");
    let [wait] = after["waits"].as_array().map(Vec::as_slice).unwrap_or_default() else { panic!("{after}") };
    assert_eq!((&wait["wave"], &wait["resource"]), (&json!("canary"), &json!("openssl:amd64")));
    assert_eq!((&wait["machinesTotal"], &wait["machines"][0]["name"]), (&json!(1), &json!("sim-00000")));
    assert_eq!(wait["machines"][0]["reason"], "WindowClosed");
    let said = text(&api.run(&["why", "sim-00001"]).stdout);
    let waits = "  waits for 1 machine of wave canary of PackageBaseline/openssl to have openssl:amd64 ";
    assert!(
        said.contains(waits) && said.contains("\n    sim-00000: Waiting(WindowClosed), rule W1: "),
        "{said}"
    );
    let status = text(&api.run(&["status"]).stdout);
    assert!(status.contains("leap-day  Allow  closed  opens 20"), "{status}");
    second_up_is_refused(&place);
    tokens_are_made(&api);
    assert_eq!(up.stop(), Some(0), "a signal is an orderly end");
}

/// The other commands against a running server.
struct Api<'a> {
    place: &'a Place,
    kubeconfig: &'a str,
}

impl Api<'_> {
    fn run(&self, arguments: &[&str]) -> Output {
        self.place
            .command(arguments)
            .env("KUBECONFIG", self.kubeconfig)
            .output()
            .expect("muster can be started")
    }

    /// Asks until the answer is there. Each question takes the server as long as it takes; a fleet that never gets
    /// there ends the test by its count.
    fn why_once(&self, machine: &str, is_there: impl Fn(&Value) -> bool) -> Value {
        let mut last = String::new();
        for _ in 0..2000 {
            let output = self.run(&["why", machine, "-o", "json"]);
            last = text(&output.stdout) + &text(&output.stderr);
            if output.status.success() {
                let answer = json_of(&text(&output.stdout));
                if is_there(&answer) {
                    return answer;
                }
            }
        }
        panic!("the answer never came; the last one: {last}");
    }
}

fn second_up_is_refused(place: &Place) {
    let output = place.up(&[]).output().expect("muster can be started");
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("is in use by muster up, process ") && error.contains("--state-dir"), "{error}");
}

fn tokens_are_made(api: &Api<'_>) {
    let output = api.run(&["enroll", "--label", "role=web", "-o", "json"]);
    let token = json_of(&text(&output.stdout));
    let part = |key: &str| token[key].as_str().unwrap_or_default().to_owned();
    let gateway = part("gateway");
    let host = gateway.strip_prefix("https://").expect("the gateway is a URL");
    let (pin, secret) = (part("caSHA256"), part("token"));
    assert_eq!(
        part("command"),
        format!("muster-agent enroll --gateway {host} --ca-sha256 {pin} --token {secret}")
    );
    let output = api.run(&["enroll", "--label", "nonsense"]);
    assert_eq!(output.status.code(), Some(64));
    let output = api.run(&["resolve", "sim-00000"]);
    assert_eq!(text(&output.stdout), "sim-00000: no activity yet, so there is nothing to do\n");
    let output = api.run(&["retry", "nobody"]);
    assert_eq!(output.status.code(), Some(1));
    expect!["error: there is no machine nobody in namespace default; `kubectl get fm` lists them\n"]
        .assert_eq(&text(&output.stderr));
}

/// Paths are absolute in the ready line, whatever was given.
#[test]
fn the_ready_line_says_where_everything_is() {
    let place = Place::new();
    let up = Running::start(place.up(&[]));
    assert_eq!(up.ready["ready"], true);
    assert!(Path::new(up.kubeconfig()).is_absolute());
    assert!(up.ready["api"].as_str().is_some_and(|api| api.starts_with("https://127.0.0.1:")));
    assert_eq!(up.stop(), Some(0));
}
