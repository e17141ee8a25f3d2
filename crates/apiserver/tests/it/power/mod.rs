//! The power fails under load, again and again, and with it goes what was written and not synced: nothing that was
//! acknowledged or shown is lost, versions never go back, and the file is whole.
//!
//! `CRASHES=200 SEED=n cargo test -p muster-apiserver --test it power` for more rounds, or those of a failure. The seed
//! decides when the power goes and what survives; how the writers take turns it does not.

mod disk;
mod vfs;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, Full};
use muster_apiserver::{ApiServer, Config, Identity, OpenError};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::support::raw;
use disk::Disk;
use vfs::Mutation;

/// Writers at a time; each has names of its own.
const WRITERS: usize = 6;
/// Objects that each of them writes.
const NAMES: usize = 6;
/// Changes and syncs until the power goes, at most: while the store is opened, soon after, and after a thousand
/// commits, some of which the database has taken over from its log.
const POWER: [u64; 3] = [60, 600, 6000];

const OBJECTS: &str = "/api/v1/namespaces/default/configmaps";

/// What an object holds: the number of the write that made it so, or nothing when it was deleted.
type State = Option<u64>;

/// What is known of an object.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    /// Its newest version that was acknowledged or shown.
    version: u64,
    state: State,
    /// A write that was not answered: it may have happened, as a whole.
    tried: Option<State>,
}

/// What must not be.
#[derive(Debug)]
#[expect(dead_code, reason = "read in the panic of a test that fails")]
enum Wrong {
    Version { told: u64, found: u64 },
    Object { name: String, told: Told, found: State },
    File(String),
}

type Names = BTreeMap<String, Told>;

/// One writer's life, until the power goes.
async fn write(server: ApiServer, mut names: Names, seed: u64) -> Names {
    let headers = [("content-type", "application/json")];
    let mut dice = StdRng::seed_from_u64(seed);
    let order: Vec<String> = names.keys().cloned().collect();
    loop {
        let name = &order[dice.random_range(0..order.len())];
        let told = names.get_mut(name).unwrap();
        let path = format!("{OBJECTS}/{name}");
        let turn: u64 = dice.random();
        let fill = "x".repeat(dice.random_range(10..9000));
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"turn": turn.to_string(), "fill": fill}});
        let delete = told.state.is_some() && dice.random_bool(0.2);
        told.tried = Some((!delete).then_some(turn));
        let (code, answer) = match (told.state, delete) {
            (Some(_), true) => raw(&server, "DELETE", &path, &headers, "").await,
            (Some(_), false) => raw(&server, "PUT", &path, &headers, &object.to_string()).await,
            (None, _) => raw(&server, "POST", OBJECTS, &headers, &object.to_string()).await,
        };
        match code {
            200 | 201 => {
                // What a deletion answers has no version: at the latest it is the newest of now.
                let version = if delete { server.resource_version() } else { version(&answer) };
                *told = Told { version, state: (!delete).then_some(turn), tried: None };
            }
            500 => return names,
            other => panic!("{other}: {answer}"),
        }
    }
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap()
}

fn turn(object: &Value) -> State {
    object["data"]["turn"].as_str().and_then(|text| text.parse().ok())
}

/// The newest that a watcher was shown of each object.
async fn watch(server: ApiServer) -> Names {
    let path = format!("{OBJECTS}?watch=1&resourceVersion={}", server.resource_version());
    let request = http::Request::get(path).body(Full::new(Bytes::new())).unwrap();
    let mut events = server.handle(request, Identity::admin("watcher")).await.into_body().into_data_stream();
    let (mut seen, mut newest) = (Names::new(), 0);
    while let Some(Ok(chunk)) = events.next().await {
        for line in chunk.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let event: Value = serde_json::from_slice(line).unwrap();
            let object = &event["object"];
            let (version, name) = (version(object), object["metadata"]["name"].as_str().unwrap());
            assert!(version > newest, "a watch went back from {newest} to {version}");
            newest = version;
            let state = if event["type"] == "DELETED" { None } else { turn(object) };
            seen.insert(name.to_owned(), Told { version, state, tried: None });
        }
    }
    seen
}

/// A machine, its disk, and what its clients were told.
struct Machine {
    /// Where its disk is mounted.
    name: String,
    mutation: Mutation,
    dice: StdRng,
    files: BTreeMap<String, Vec<u8>>,
    writers: Vec<Names>,
    newest: u64,
}

impl Machine {
    fn new(seed: u64, mutation: Mutation) -> Self {
        let names = |writer: usize| (0..NAMES).map(move |number| format!("w{writer}-{number}"));
        let writers = (0..WRITERS).map(|writer| names(writer).map(|name| (name, Told::default())).collect());
        Self {
            name: format!("machine-{seed}-{}", mutation.unwrap_or_default()),
            mutation,
            dice: StdRng::seed_from_u64(seed),
            files: BTreeMap::new(),
            writers: writers.collect(),
            newest: 0,
        }
    }

    /// Goes on from what is on the disk until the power fails; then what survives is there.
    async fn run(&mut self) {
        let mut disk = Disk::with(std::mem::take(&mut self.files));
        let most = POWER[self.dice.random_range(0..POWER.len())];
        disk.power = Some(self.dice.random_range(0..most));
        let (mount, path) = vfs::mount(&self.name, disk, self.mutation);
        // The power may go before it is open.
        if let Ok(server) = ApiServer::open(Config { path: Some(path), ..Config::default() }).await {
            let watcher = tokio::spawn(watch(server.clone()));
            let writers = self
                .writers
                .iter()
                .map(|names| tokio::spawn(write(server.clone(), names.clone(), self.dice.random())));
            let writers = futures::future::join_all(writers.collect::<Vec<_>>()).await;
            self.newest = self.newest.max(server.resource_version());
            server.shutdown().await;
            let seen = watcher.await.unwrap();
            for (names, told) in self.writers.iter_mut().zip(writers) {
                *names = told.unwrap();
                for (name, told) in names {
                    if let Some(seen) = seen.get(name).filter(|seen| seen.version > told.version) {
                        *told = *seen;
                    }
                }
            }
        }
        self.files = mount.disk().survivors(&mut self.dice);
    }

    /// Opens a copy of what survived, on a real disk and with SQLite's own file system: what is wrong with it.
    async fn check(&mut self) -> Result<Vec<Wrong>, OpenError> {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in &self.files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let path = folder.path().join("api.db");
        let server = ApiServer::open(Config { path: Some(path.clone()), ..Config::default() }).await?;
        let mut wrong = Vec::new();
        let newest = server.resource_version();
        if newest < self.newest {
            wrong.push(Wrong::Version { told: self.newest, found: newest });
            self.newest = newest;
        }
        let (_, list) = raw(&server, "GET", OBJECTS, &[], "").await;
        server.shutdown().await;
        let list = list["items"].as_array().unwrap();
        let found: BTreeMap<&str, &Value> =
            list.iter().map(|object| (object["metadata"]["name"].as_str().unwrap(), object)).collect();
        for (name, told) in self.writers.iter_mut().flatten() {
            let there = found.get(&**name);
            let state = there.and_then(|object| turn(object));
            let version = there.map_or(told.version, |object| version(object));
            let as_told = state == told.state && (version == told.version || state.is_none());
            let as_tried = told.tried == Some(state) && (version > told.version || state.is_none());
            if !as_told && !as_tried {
                wrong.push(Wrong::Object { name: name.clone(), told: *told, found: state });
            }
            *told = Told { version, state, tried: None };
        }
        let file = rusqlite::Connection::open(path).unwrap();
        let verdict: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        if verdict != "ok" {
            wrong.push(Wrong::File(verdict));
        }
        Ok(wrong)
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_any_power_failure() {
    let seed = number("SEED").unwrap_or_else(rand::random);
    let mut written = BTreeSet::new();
    for machine in 0..4_u64 {
        let seed = seed.wrapping_add(machine);
        let mut machine = Machine::new(seed, None);
        for round in 0..number("CRASHES").unwrap_or(80) / 4 {
            machine.run().await;
            match machine.check().await {
                Ok(wrong) if wrong.is_empty() => {}
                wrong => panic!("SEED={seed}, power failure {round}: {wrong:?}"),
            }
            written.extend(machine.writers.iter().flatten().map(|(name, told)| (name.clone(), told.version)));
        }
    }
    assert!(written.len() > 100, "a load that writes nothing loses nothing: {}", written.len());
}

/// The same with a store that does not wait for the disk: so the test above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_does_not_sync_every_commit_is_found_out() {
    // NORMAL, as a number: it takes the room of FULL.
    for mutation in ["OFF", "1"] {
        let mut machine = Machine::new(7, Some(mutation));
        let (mut version, mut object) = (false, false);
        for _ in 0..100 {
            machine.run().await;
            let Ok(wrong) = machine.check().await else { break };
            version |= wrong.iter().any(|wrong| matches!(wrong, Wrong::Version { .. }));
            object |= wrong.iter().any(|wrong| matches!(wrong, Wrong::Object { .. }));
            if version && object {
                break;
            }
        }
        assert!(version && object, "PRAGMA synchronous={mutation} was not found out in 100 power failures");
    }
}
