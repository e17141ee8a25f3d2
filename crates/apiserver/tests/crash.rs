//! The server is killed under load, again and again, and its disk fills up: nothing that it acknowledged or showed is
//! lost, versions never go back, and a watch goes on without a gap or a repetition, or is told to start over.
//!
//! `CRASHES=200 cargo test -p muster-apiserver --test crash` for more rounds. No test harness here: this program is
//! also the server that it kills.

#![allow(clippy::unwrap_used, reason = "a broken promise ends the test, with a backtrace")]

use std::collections::BTreeMap;
use std::io::{BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use futures::StreamExt as _;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use muster_apiserver::{ApiServer, Config, Identity};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

/// Writers at a time.
const WRITERS: usize = 8;
/// Objects that each of them writes in turn.
const NAMES: usize = 20;
/// Lines of the child after which it is killed, at least and at most.
const LINES: std::ops::Range<usize> = 50..1500;

/// Blocks of 512 bytes that the store's log takes.
const LOG: u64 = 2048;

const OBJECTS: &str = "/api/v1/namespaces/default/configmaps";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let [_, role, folder] = &arguments[..]
        && role == "child"
    {
        runtime.block_on(child(Path::new(folder)));
        return;
    }
    let rounds = std::env::var("CRASHES").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("{rounds} crashes, SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let mut dice = StdRng::seed_from_u64(seed);
    let mut known = Known::default();
    for round in 0..rounds {
        let lines = dice.random_range(LINES);
        known.hear(folder.path(), None, Some(lines));
        runtime.block_on(known.check(folder.path(), &format!("crash {round} after {lines} lines")));
    }
    // The disk is full before SQLite would begin its log anew: the child ends by itself when nothing goes any more.
    let refused = known.hear(folder.path(), Some(LOG / 2), None);
    assert!(refused, "the disk was to be full, and no write was refused");
    runtime.block_on(known.check(folder.path(), "a full disk"));
    println!("{} objects, version {}: all there", known.objects.len(), known.newest);
}

async fn ask(server: &ApiServer, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", media)
        .body(Full::new(body))
        .unwrap();
    let response = server.handle(request, Identity::admin("crash")).await;
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or_default())
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap()
}

async fn open(folder: &Path) -> ApiServer {
    ApiServer::open(Config { path: Some(folder.join("api.db")), ..Config::default() }).await.unwrap()
}

/// Writes for ever, and says what was acknowledged and what a watcher saw.
async fn child(folder: &Path) {
    let server = open(folder).await;
    let start = server.resource_version();
    println!("watch {start}");
    let request = Request::get(format!("{OBJECTS}?watch=1&resourceVersion={start}"))
        .body(Full::new(Bytes::new()))
        .unwrap();
    let mut events = server.handle(request, Identity::admin("watcher")).await.into_body().into_data_stream();
    tokio::spawn(async move {
        while let Some(Ok(chunk)) = events.next().await {
            for line in chunk.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let event: Value = serde_json::from_slice(line).unwrap();
                let gone = if event["type"] == "DELETED" { "gone" } else { "is" };
                say("saw", gone, &event["object"]);
            }
        }
    });
    let writers = (0..WRITERS).map(|number| {
        let server = server.clone();
        tokio::spawn(async move {
            let mut refusals = 0;
            for turn in 0_usize.. {
                let name = format!("w{number}-{}", turn % NAMES);
                let path = format!("{OBJECTS}/{name}");
                let data = json!({"turn": turn.to_string(), "fill": "x".repeat(2000)});
                let (code, answer) = match turn / NAMES % 3 {
                    2 => {
                        println!("try {name}");
                        ask(&server, "DELETE", &path, &Value::Null).await
                    }
                    // A run before this one may have left it.
                    _ => match ask(&server, "PATCH", &path, &json!({"data": data})).await {
                        (404, _) => {
                            let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
                            ask(&server, "POST", OBJECTS, &body).await
                        }
                        answer => answer,
                    },
                };
                match code {
                    200 | 201 if answer["kind"] == "Status" => {
                        println!("ack gone {name} {}", server.resource_version());
                    }
                    200 | 201 => say("ack", "is", &answer),
                    404 => {}
                    500 => {
                        // The disk is full: reading goes on.
                        refusals += 1;
                        let (code, list) = ask(&server, "GET", OBJECTS, &Value::Null).await;
                        assert_eq!((code, list["kind"].as_str()), (200, Some("ConfigMapList")));
                        println!("refused {}", answer["message"]);
                        if refusals == 3 {
                            return;
                        }
                    }
                    other => panic!("{other}: {answer}"),
                }
            }
        })
    });
    futures::future::join_all(writers.collect::<Vec<_>>()).await;
}

fn next_line(out: &mut impl std::io::BufRead) -> Option<String> {
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    line.strip_suffix('\n').map(str::to_owned)
}

fn say(who: &str, how: &str, object: &Value) {
    let name = object["metadata"]["name"].as_str().unwrap();
    let mut out = std::io::stdout().lock();
    // The parent has enough and kills us.
    let _ = writeln!(out, "{who} {how} {name} {}", version(object));
}

/// The newest that was told of an object.
#[derive(Default)]
struct Told {
    version: u64,
    there: bool,
    /// It was to be deleted after that; whether it was, the kill may have kept from us.
    doomed: bool,
}

/// What the parent was told.
#[derive(Default)]
struct Known {
    objects: BTreeMap<String, Told>,
    newest: u64,
    /// The last version that the watcher showed, in order; the one that it began with before it shows any.
    watched: u64,
}

impl Known {
    /// Runs a child, until it has said so many lines or ends; did it refuse a write?
    fn hear(&mut self, folder: &Path, blocks: Option<u64>, lines: Option<usize>) -> bool {
        let own = std::env::current_exe().unwrap();
        let mut command = Command::new("sh");
        // Beyond the limit a write fails, as on a full disk.
        let limit = blocks.map(|blocks| format!("ulimit -f {blocks}; trap '' XFSZ; ")).unwrap_or_default();
        command.args(["-c", &format!("{limit}exec \"$0\" child \"$1\"")]).arg(own).arg(folder);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut refused = false;
        let mut heard = 0;
        let mut out = BufReader::new(child.stdout.take().unwrap());
        // To the end, also of what it said between our decision and its death; but for half a line.
        while let Some(line) = next_line(&mut out) {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                [who, how, name, version] if matches!(who, "ack" | "saw") => {
                    let version = version.parse().unwrap();
                    if who == "saw" {
                        assert!(
                            version > self.watched,
                            "a watch went back from {} to {version}",
                            self.watched
                        );
                        self.watched = version;
                    }
                    let told = self.objects.entry(name.to_owned()).or_default();
                    // What is told of an older state says nothing about the newest.
                    if version > told.version {
                        *told = Told { version, there: how == "is", doomed: false };
                    }
                    self.newest = self.newest.max(version);
                }
                // A watch from 0 would begin with what is there, in no order of versions.
                ["watch", start] => self.watched = start.parse().unwrap(),
                ["try", name] => self.objects.entry(name.to_owned()).or_default().doomed = true,
                ["refused", ..] => refused = true,
                _ => panic!("the child says {line}"),
            }
            heard += 1;
            if lines == Some(heard) {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        refused
    }

    /// Opens what the child left, and compares.
    async fn check(&mut self, folder: &Path, when: &str) {
        let server = open(folder).await;
        assert!(server.resource_version() >= self.newest, "{when}: versions went back");
        let (_, list) = ask(&server, "GET", OBJECTS, &Value::Null).await;
        let found: BTreeMap<&str, u64> = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|object| (object["metadata"]["name"].as_str().unwrap(), version(object)))
            .collect();
        for (name, Told { version: told, there, doomed }) in &self.objects {
            match found.get(&**name) {
                Some(version) if *there => assert!(version >= told, "{when}: {name} is older than told"),
                Some(version) => assert!(version > told, "{when}: {name} came back"),
                None => assert!(!*there || *doomed, "{when}: {name} is lost"),
            }
        }
        self.resume(&server, when).await;
        server.shutdown().await;
    }

    /// A watch goes on from what the child's watcher saw last, or is told that it cannot.
    async fn resume(&mut self, server: &ApiServer, when: &str) {
        let path = format!("{OBJECTS}?watch=1&resourceVersion={}", self.watched);
        let request = Request::get(path).body(Full::new(Bytes::new())).unwrap();
        let mut events =
            server.handle(request, Identity::admin("watcher")).await.into_body().into_data_stream();
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "mark-"}});
        let (code, mark) = ask(server, "POST", OBJECTS, &body).await;
        assert_eq!(code, 201, "{when}: {mark}");
        // What was written and not seen before the end comes first, each once and in order, then what happens now.
        let mut shown: Vec<u64> = Vec::new();
        'watch: while shown.last() != Some(&version(&mark)) {
            let chunk = events.next().await.unwrap().unwrap();
            for line in chunk.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let event: Value = serde_json::from_slice(line).unwrap();
                if event["type"] == "ERROR" {
                    assert_eq!(event["object"]["code"], 410, "{when}: {event}");
                    break 'watch;
                }
                let (last, next) = (shown.last().copied().unwrap_or(self.watched), version(&event["object"]));
                assert!(last < next && next <= version(&mark), "{when}: {next} after {last}");
                shown.push(next);
            }
        }
        if shown.last() == Some(&version(&mark)) {
            let told = self.objects.values().filter(|told| told.there && told.version > self.watched);
            for told in told {
                assert!(shown.contains(&told.version), "{when}: {} was left out", told.version);
            }
        }
        let name = mark["metadata"]["name"].as_str().unwrap();
        ask(server, "DELETE", &format!("{OBJECTS}/{name}"), &Value::Null).await;
        self.newest = server.resource_version();
    }
}
