//! What people see with the stock kubectl: a transcript of everyday work on Muster's own kinds, compared to the letter.
//! `UPDATE_EXPECT=1` writes it anew. Needs a kubectl (`tests/tools/kubectl.sh` brings it), and so the feature.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as its tests do")]

#[path = "it/door.rs"]
mod door;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use expect_test::expect_file;
use muster_apiserver::{ApiServer, Config};
use regex::Regex;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn kubectl() -> String {
    let found = Command::new("sh").arg(root().join("tests/tools/kubectl.sh")).output().unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    String::from_utf8(found.stdout).unwrap().trim().to_owned()
}

/// A script is commands (`$ …`), each perhaps with its input below; `#` begins a remark.
fn steps(script: &str) -> Vec<(&str, String)> {
    let mut steps: Vec<(&str, String)> = Vec::new();
    for line in script.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push((command, String::new())),
            (None, Some((_, input))) if !line.starts_with('#') => {
                input.push_str(line);
                input.push('\n');
            }
            (None, _) => {}
        }
    }
    steps
}

/// What differs from run to run.
fn normal(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, instead) in [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uid>"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
        (r#"(resourceVersion"?:\s+)"?\d+"?"#, "$1<version>"),
        (r"(?m)^(Created At|Creation Timestamp|  Resource Version|    Time): .*$", "$1: …"),
        (r"(?m)^(diff|---|\+\+\+) .*$", "$1 …"),
        (r"(?m)(\s)\d+m?\d*s(\s|$)", "$1<age>$2"),
        (r"\S*kubectl-edit-\d+", "…/kubectl-edit-…"),
        (r"https://127\.0\.0\.1:\d+", "<server>"),
        (r"(?m)[ \t]+$", ""),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, instead).into_owned();
    }
    text
}

fn transcript(script: &str, kubectl: &str, folder: &Path) -> String {
    let mut out = String::new();
    for (command, input) in steps(script) {
        let mut child = Command::new("sh")
            .args([
                "-c",
                &format!("PATH={}:$PATH; {command}", Path::new(kubectl).parent().unwrap().display()),
            ])
            .current_dir(folder)
            .env("HOME", folder)
            .env("KUBECONFIG", folder.join("kubeconfig"))
            .env("KUBECTL_KUBERC", "false")
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        let _ = writeln!(out, "$ {command}");
        for line in normal(&String::from_utf8_lossy(&done.stdout)).lines() {
            let _ = writeln!(out, "{line}");
        }
        for line in normal(&String::from_utf8_lossy(&done.stderr)).lines() {
            let _ = writeln!(out, "! {line}");
        }
        match done.status.code() {
            Some(0) => {}
            code => drop(writeln!(out, "(exit {})", code.unwrap_or_default())),
        }
        out.push('\n');
    }
    out
}

async fn check(script: &'static str, expected: expect_test::ExpectFile) {
    let folder = tempfile::tempdir().unwrap();
    let path = Some(folder.path().join("api.db"));
    let server = ApiServer::open(Config { path, ..Config::default() }).await.unwrap();
    let mut files: Vec<PathBuf> = std::fs::read_dir(root().join("crds/yaml"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    for file in files {
        let definition = serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        server.apply_crds(&[definition]).await.unwrap();
    }
    let door = door::Door::open(server.clone()).await;
    let kubeconfig = door.kubeconfig("admin", &["system:masters"]);
    std::fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
    let home = folder.path().to_owned();
    let text = tokio::task::spawn_blocking(move || transcript(script, &kubectl(), &home)).await.unwrap();
    door.close().await;
    server.shutdown().await;
    expected.assert_eq(&text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyday_work() {
    check(include_str!("testdata/kubectl/work.script"), expect_file!["testdata/kubectl/work.txt"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_around() {
    check(include_str!("testdata/kubectl/look.script"), expect_file!["testdata/kubectl/look.txt"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_do_what() {
    check(include_str!("testdata/kubectl/access.script"), expect_file!["testdata/kubectl/access.txt"]).await;
}
