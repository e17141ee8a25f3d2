//! Recorded conversations with a real Kubernetes 1.36 API server, replayed against this one.
//!
//! Every step answers as recorded, or has a row in docs/api.md under "Where we answer differently" with the reason
//! why Muster's users never need it. A step that has a row and answers as recorded fails too: the list stays honest.

mod compare;
mod normalise;
mod run;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use futures::StreamExt as _;
use serde_json::Value;

/// Scenarios at a time: some wait for the collector, so there are more of them than processors.
const AT_ONCE: usize = 32;

fn recording() -> Value {
    let packed = include_bytes!("../../testdata/transcripts.json.zst");
    let text = zstd::decode_all(&packed[..]).expect("the recording is a zstd file");
    serde_json::from_slice(&text).expect("the recording is JSON")
}

/// Rows of the list of differences: step → reason.
fn listed() -> BTreeMap<String, String> {
    let document = include_str!("../../../../../docs/api.md");
    let (_, section) =
        document.split_once("## Where we answer differently").expect("docs/api.md has the list");
    let section = section.split("\n## ").next().unwrap_or_default();
    section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(step, reason)| (step.to_owned(), reason.trim_end_matches(['|', ' ']).to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn we_answer_as_the_real_server_did() {
    let recording = recording();
    let setup = recording["setup"].as_array().expect("a recording has a setup");
    let scenarios = recording["scenarios"].as_array().expect("a recording has scenarios");
    // `REPLAY=area/name` narrows it down while one works on something.
    let only = std::env::var("REPLAY").unwrap_or_default();
    let name = |scenario: &Value| {
        format!(
            "{}/{}",
            scenario["area"].as_str().unwrap_or_default(),
            scenario["name"].as_str().unwrap_or_default()
        )
    };
    let mut listed = listed();
    let mut answered: Vec<(String, &[Value], Vec<Value>)> = futures::stream::iter(scenarios)
        .filter(|scenario| std::future::ready(name(scenario).contains(&only)))
        .map(|scenario| {
            let steps = scenario["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
            let name = name(scenario);
            let step = |listed: &String| Some(listed.strip_prefix(&name)?.strip_prefix('/')?.to_owned());
            let differing = listed.keys().filter_map(step).collect();
            async move {
                let answers = run::Scenario::new(setup, steps, differing).await.run().await;
                (name, steps, answers)
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    answered.sort_by(|a, b| a.0.cmp(&b.0));
    let (mut wrong, mut steps) = (String::new(), 0);
    for (scenario, recorded, answers) in answered {
        for (step, answer) in recorded.iter().zip(answers) {
            steps += 1;
            let name = format!("{scenario}/{}", step["name"].as_str().unwrap_or_default());
            let differences = compare::differences(step, &answer);
            let reason = listed.remove(&name);
            if differences.is_empty() && reason.is_some() {
                let _ = writeln!(wrong, "{name}\n  answers as recorded: take it off the list");
            }
            if differences.is_empty() || reason.is_some() {
                continue;
            }
            let (method, path) = (step["method"].as_str().unwrap_or("read"), step["path"].as_str());
            let _ = writeln!(wrong, "{name} ({method} {})", path.unwrap_or_default());
            for line in differences {
                let _ = writeln!(wrong, "  {line}");
            }
        }
    }
    if only.is_empty() {
        for name in listed.keys() {
            let _ = writeln!(wrong, "{name}\n  is on the list, and nobody asks it");
        }
        assert!(steps > 600, "the recording has shrunk to {steps} steps");
    }
    assert!(wrong.is_empty(), "{wrong}");
}
