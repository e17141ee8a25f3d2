//! What holds for the repository as a whole: arrows between crates, rules and their tests, words that must not occur.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_owned()
}

/// The files that Git knows, as paths relative to the root.
fn files() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git runs");
    String::from_utf8(output.stdout).expect("paths are UTF-8").lines().map(str::to_owned).collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_default()
}

/// The arrows of design §9: who may depend on whom (beside itself), development dependencies apart.
const ARROWS: &[(&str, &[&str])] = &[
    ("muster-model", &[]),
    ("muster-planner", &["model"]),
    ("muster-fleet", &["planner", "model"]),
    ("muster-journal", &["model"]),
    ("muster-checker", &["model"]),
    ("muster-recorder", &["fleet", "checker", "model"]),
    ("muster-schema", &[]),
    ("muster-crds", &["model"]),
    ("muster-wire", &["model"]),
    ("muster-source", &["schema", "crds", "model"]),
    ("muster-state", &["fleet", "crds", "model"]),
    ("muster-apiserver", &["schema"]),
    ("muster-sim", &["fleet", "journal", "recorder", "checker", "wire", "planner", "model"]),
    ("muster-storm", &["fleet", "journal", "recorder", "checker", "model"]),
    (
        "muster-controller",
        &["fleet", "recorder", "checker", "planner", "source", "state", "schema", "crds", "model"],
    ),
    ("muster-gateway", &["wire", "crds", "model"]),
    ("muster-agent", &["journal", "wire", "model"]),
    ("muster-tests", &[]),
];

#[test]
fn arrows_between_crates_point_one_way() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let allowed: BTreeMap<&str, BTreeSet<String>> = ARROWS
        .iter()
        .map(|(name, to)| (*name, to.iter().map(|one| format!("muster-{one}")).collect()))
        .collect();
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().expect("a list of packages") {
        let name = package["name"].as_str().expect("a name");
        if name == "muster" {
            continue; // the command line is the top: nothing depends on it, and it may start everything
        }
        let Some(allowed) = allowed.get(name) else {
            wrong.push(format!("{name} has no row in ARROWS: add it, and to design §9"));
            continue;
        };
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let to = dependency["name"].as_str().expect("a name");
            let normal = dependency["kind"].is_null();
            if normal && (to.starts_with("muster-") || to == "muster") && !allowed.contains(to) {
                wrong.push(format!("{name} -> {to}"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that design §9 does not have:\n{}", wrong.join("\n"));
}

/// Crates without I/O, clock, environment, randomness, async or hash order.
const PURE: &[&str] = &["model", "planner", "fleet", "journal", "checker", "recorder"];

#[test]
fn pure_crates_have_their_bans_and_no_runtime() {
    for name in PURE {
        let bans = read(&format!("crates/{name}/clippy.toml"));
        for ban in [
            "std::time::SystemTime::now",
            "jiff::Timestamp::now",
            "std::collections::HashMap",
            "std::fs::File",
        ] {
            assert!(bans.contains(ban), "crates/{name}/clippy.toml does not ban {ban}");
        }
        let manifest = read(&format!("crates/{name}/Cargo.toml"));
        let dependencies = manifest.split("[dev-dependencies]").next().unwrap_or_default();
        for runtime in ["tokio", "futures", "rand", "kube", "reqwest", "hyper", "uuid"] {
            assert!(
                !dependencies.lines().any(|line| line.starts_with(runtime)),
                "crates/{name} depends on {runtime}"
            );
        }
    }
}

/// The rules of design §5 that are in force; each must be named by a test (`// rule: W1`).
const RULES: &[&str] = &[
    "V1", "V2", "V3", "V4", "V5", "V6", "S1", "S2", "S3", "S4", "W1", "W2", "W3", "W4", "W5", "W6", "W7",
    "W8", "W9", "B1", "B2", "B3", "B4", "B5", "B6", "O1", "O2", "O3", "O4", "O5", "O6", "O7", "A1", "A2",
    "A3", "A4", "A5", "A6", "A7", "A8", "A9", "A10", "K1", "K4", "K5", "G1", "G2", "G3", "G4", "G5", "G6",
    "G7", "M1", "M2", "M3", "M4", "M5",
];

#[test]
fn every_rule_names_its_test() {
    let mut named: BTreeSet<String> = BTreeSet::new();
    for file in files().iter().filter(|file| file.ends_with(".rs")) {
        let text = read(file);
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let Some(rules) = line.trim().strip_prefix("// rule: ") else { continue };
            let test = lines[at + 1..]
                .iter()
                .take(8)
                .any(|next| next.trim().starts_with("fn ") || next.contains("async fn "));
            assert!(test, "{file}:{}: a rule comment stands above a test", at + 1);
            named.extend(
                rules.split([',', ' ']).map(str::trim).filter(|rule| !rule.is_empty()).map(str::to_owned),
            );
        }
    }
    let missing: Vec<&&str> = RULES.iter().filter(|rule| !named.contains(**rule)).collect();
    assert!(missing.is_empty(), "rules that no test names with `// rule: …`: {missing:?}");
}

#[test]
fn no_file_names_a_package_host() {
    let hosts =
        [["debian", ".org"], ["ubuntu", ".com"], ["crates", ".io/"], ["pypi", ".org"], ["npmjs", ".org"]];
    let mut found = Vec::new();
    for file in files().iter().filter(|file| !file.ends_with("Cargo.lock")) {
        let text = read(file);
        for host in hosts.iter().map(|parts| parts.concat()) {
            if text.contains(&format!("//{host}")) || text.contains(&format!(".{host}")) {
                found.push(format!("{file}: {host}"));
            }
        }
    }
    assert!(found.is_empty(), "read package hosts from the machine's own settings:\n{}", found.join("\n"));
}

#[test]
fn no_test_is_ignored_and_none_sleeps() {
    let words = [["#[ig", "nore"], ["thread::sl", "eep"]];
    for file in files().iter().filter(|file| file.ends_with(".rs")) {
        let text = read(file);
        for word in words.iter().map(|parts| parts.concat()) {
            // The harness of real machines waits for conditions; it says how, in one place.
            let harness = file.starts_with("tests/src/");
            assert!(harness || !text.contains(&word), "{file} has {word}");
        }
    }
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for file in files().iter().filter(|file| file.ends_with(".md")) {
        let folder = Path::new(file).parent().unwrap_or(Path::new(""));
        for part in read(file).split("](").skip(1) {
            let target = part.split([')', '#']).next().unwrap_or_default();
            let outside = target.is_empty() || target.contains("://") || target.contains(' ');
            if !outside && !root().join(folder).join(target).exists() {
                broken.push(format!("{file}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}
