//! The stock kubectl, as a user has it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::activity::Activity;
use crate::command::{Output, must, run, run_with_input};
use crate::paths;

/// kubectl against one server.
#[derive(Clone, Debug)]
pub struct Kubectl {
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// kubectl with this configuration, which is read anew at each call.
    #[must_use]
    pub fn with(kubeconfig: &Path) -> Self {
        Self { kubeconfig: kubeconfig.to_owned() }
    }

    /// Runs it.
    #[track_caller]
    pub fn exec(&self, arguments: &[&str]) -> Output {
        run(&mut self.command(arguments))
    }

    /// Runs it, wanting success: what it printed, without the last newline.
    ///
    /// # Panics
    ///
    /// If it fails, with everything that it said.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        self.exec(arguments).expect_success()
    }

    /// Runs it with `-o json`, and reads what it printed.
    ///
    /// # Panics
    ///
    /// If it fails, or prints something else.
    #[track_caller]
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.run(&[arguments, &["-o", "json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("kubectl printed no JSON: {error}\n{text}"))
    }

    /// The items of a list.
    ///
    /// # Panics
    ///
    /// If there is no such resource.
    #[track_caller]
    #[must_use]
    pub fn list(&self, resource: &str) -> Vec<Value> {
        let mut list = self.json(&["get", resource]);
        match list["items"].take() {
            Value::Array(items) => items,
            other => panic!("`kubectl get {resource}` gave no list: {other}"),
        }
    }

    /// All activities, by machine and number.
    #[track_caller]
    #[must_use]
    pub fn activities(&self) -> Vec<Activity> {
        let mut activities: Vec<Activity> =
            self.list("activities.muster.dev").iter().map(Activity::read).collect();
        activities.sort_by(|a, b| (&a.machine, a.number).cmp(&(&b.machine, b.number)));
        activities
    }

    /// `kubectl apply -f -` of a manifest.
    ///
    /// # Panics
    ///
    /// If the server refuses it, with its words.
    #[track_caller]
    pub fn apply(&self, manifest: &str) {
        let _: String =
            run_with_input(&mut self.command(&["apply", "-f", "-"]), manifest.as_bytes()).expect_success();
    }

    /// `kubectl wait`, which listens rather than polls: `what` as in `&["fm", "--all"]`, `condition` as after `--for=`.
    ///
    /// # Panics
    ///
    /// If it is not so within `seconds`.
    #[track_caller]
    pub fn wait(&self, what: &[&str], condition: &str, seconds: u32) {
        let (condition, timeout) = (format!("--for={condition}"), format!("--timeout={seconds}s"));
        self.run(&[&["wait"], what, &[&condition, &timeout]].concat());
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments);
        command
    }
}

/// Where kubectl is; the script brings it if it has to.
fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM
        .get_or_init(|| must("bash", &[&paths::workspace().join("tests/tools/kubectl.sh").to_string_lossy()]))
}
