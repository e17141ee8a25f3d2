//! Desired state from a Git repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use muster_tests::{Lab, Package};
use serde_json::Value;

use crate::fleet::{baseline, becomes, comes_to_have, decides, muster_on_git, update};

/// A repository on this host.
struct Repository {
    folder: PathBuf,
}

impl Repository {
    fn at(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("a lab's folder is writable");
        let repository = Self { folder: folder.to_owned() };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }

    #[track_caller]
    fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.current_dir(&self.folder).args([
            "-c",
            "user.name=A person",
            "-c",
            "user.email=person@muster.invalid",
        ]);
        let output =
            command.args(["-c", "commit.gpgsign=false"]).args(arguments).output().expect("git is there");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Commits these files and no others; the commit's hash.
    #[track_caller]
    fn commit(&self, files: &[(&str, &str)]) -> String {
        self.git(&["rm", "--quiet", "-r", "--ignore-unmatch", "."]);
        for (name, contents) in files {
            std::fs::write(self.folder.join(name), contents).expect("the repository is writable");
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "What the machines are to have"]);
        self.git(&["rev-parse", "HEAD"])
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("nothing at {pointer} of {value:#}"))
}

// rule: G1, G4, G7
#[test]
fn a_broken_commit_changes_nothing_an_empty_one_removes_nothing_and_a_good_one_goes_on() {
    let lab = Lab::new();
    lab.archive().publish(&[Package::new("ferry", "1.0-1"), Package::new("ferry", "1.1-1")]);
    let repository = Repository::at(&lab.folder().join("fleet"));
    let old = baseline("ferry", r#"[{name: ferry, version: "= 1.0-1"}]"#, "");
    let good = repository.commit(&[("ferry.yaml", &old), ("README.md", "ours\n")]);
    let muster = muster_on_git(&lab, &format!("file://{}", repository.folder.display()));
    let machine = lab.machine("web-01");
    update(&machine);
    muster.install_agent(&machine, &muster.enrol(&[]));
    let kubectl = muster.kubectl();
    comes_to_have(&kubectl, &machine, "ferry", Some("1.0-1"));
    let source = becomes(&kubectl, &["gitsource", "up"], "Ready", "True", "Applied");
    assert!(text(&source, "/status/appliedRevision").contains(&good), "{source:#}");
    assert_eq!(source["status"]["owns"][0]["file"], "ferry.yaml", "{source:#}");
    let before = kubectl.json(&["get", "pb", "ferry"]);

    // One file is better, the other is broken in line 8: neither counts.
    let better = baseline("ferry", r#"[{name: ferry, version: ">= 1.1-1"}]"#, "");
    let sick = baseline("sick", "\n  - {name: ferry, version: \"is the newest\"}", "");
    let broken = repository.commit(&[("ferry.yaml", &better), ("sick.yaml", &sick)]);
    let source = becomes(&kubectl, &["gitsource", "up"], "Ready", "False", "RevisionInvalid");
    assert!(text(&source, "/status/attemptedRevision").contains(&broken), "{source:#}");
    assert!(text(&source, "/status/appliedRevision").contains(&good), "{source:#}");
    assert_eq!(source["status"]["errorsTotal"], 1, "{source:#}");
    let error = &source["status"]["errors"][0];
    assert_eq!((error["file"].as_str(), error["line"].as_u64()), (Some("sick.yaml"), Some(8)), "{source:#}");
    let same = kubectl.json(&["get", "pb", "ferry"]);
    assert_eq!(
        (&same["spec"], &same["metadata"]["generation"]),
        (&before["spec"], &before["metadata"]["generation"])
    );
    assert_eq!(kubectl.list("pb").len(), 1);

    let empty = repository.commit(&[]);
    let source = becomes(&kubectl, &["gitsource", "up"], "Ready", "False", "RemovalHeld");
    assert!(text(&source, "/status/attemptedRevision").contains(&empty), "{source:#}");
    assert_eq!(source["status"]["heldRemoval"]["total"], 1, "{source:#}");
    assert_eq!(source["status"]["heldRemoval"]["objects"][0]["name"], "ferry", "{source:#}");
    assert_eq!(kubectl.list("pb").len(), 1);
    decides(&kubectl, "web-01", "Converged", "AsWanted");
    assert_eq!(machine.installed("ferry").as_deref(), Some("1.0-1"));
    assert_eq!(kubectl.activities().len(), 1);

    let best = repository.commit(&[("ferry.yaml", &better)]);
    comes_to_have(&kubectl, &machine, "ferry", Some("1.1-1"));
    let source = becomes(&kubectl, &["gitsource", "up"], "Ready", "True", "Applied");
    assert!(text(&source, "/status/appliedRevision").contains(&best), "{source:#}");
    assert_eq!(
        (source["status"]["errorsTotal"].as_u64(), source["status"].get("heldRemoval")),
        (Some(0), None)
    );
    decides(&kubectl, "web-01", "Converged", "AsWanted");
    let object = kubectl.json(&["get", "act", "web-01-2"]);
    assert!(text(&object, "/spec/cause/revision").contains(&best), "an activity names its cause: {object:#}");
}
