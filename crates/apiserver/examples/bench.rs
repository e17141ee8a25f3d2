//! How fast the embedded API is, against raw SQLite on the same disk in the same run:
//! `cargo run -p muster-apiserver --example bench` (or `just api-bench`). The server is a process of its own (the
//! `serve` example), reached over TLS; figures are in docs/api.md.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ObjectMeta, PostParams, WatchEvent, WatchParams};
use kube::client::ConfigExt as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, ResourceExt as _};

/// What the server has too: the clients share two processors with it, and are not what is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn Error + Send + Sync>;

/// Clients at a time, each with a connection of its own.
const CLIENTS: usize = 32;
/// Bytes of an object's payload; with its metadata it has 4 KiB.
const PAYLOAD: usize = 3700;
/// Objects that the creates make.
const OBJECTS: usize = 10_000;
/// Watchers of the fan-out.
const WATCHERS: usize = 1000;
/// Writes that each of them must see.
const WRITES: usize = 50;
/// How long raw SQLite is measured.
const RAW: Duration = Duration::from_secs(3);

fn config_map(name: String) -> ConfigMap {
    let data = BTreeMap::from([("payload".to_owned(), "x".repeat(PAYLOAD))]);
    let metadata = ObjectMeta { name: Some(name), ..ObjectMeta::default() };
    ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
}

/// Rows of 4 KiB that SQLite commits in a second, in groups of as many as there are clients, and how long each group took.
fn raw_rows(folder: &Path, name: &str) -> Result<(f64, Vec<Duration>), Failure> {
    let connection = rusqlite::Connection::open(folder.join(name))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch("CREATE TABLE rows (key TEXT PRIMARY KEY, body BLOB) WITHOUT ROWID")?;
    let (start, body, mut count) = (Instant::now(), vec![b'x'; 4096], 0_u32);
    let mut times = Vec::new();
    while start.elapsed() < RAW {
        let began = Instant::now();
        let transaction = connection.unchecked_transaction()?;
        for _ in 0..CLIENTS {
            count += 1;
            transaction
                .prepare_cached("INSERT INTO rows VALUES (?1, ?2)")?
                .execute(rusqlite::params![format!("k{count:09}"), body])?;
        }
        transaction.commit()?;
        times.push(began.elapsed());
    }
    Ok((f64::from(count) / start.elapsed().as_secs_f64(), times))
}

struct Server {
    child: Child,
}

impl Server {
    /// Starts it on a folder; the time until it answered that it is ready.
    async fn start(folder: &Path) -> Result<(Self, Duration), Failure> {
        let serve = std::env::current_exe()?.with_file_name("serve");
        if !serve.exists() {
            return Err("build the server first: cargo build -p muster-apiserver --examples".into());
        }
        // The old one tells where an older server was.
        let _ = std::fs::remove_file(folder.join("kubeconfig"));
        let start = Instant::now();
        let child = Command::new(serve).arg(folder).stdin(Stdio::null()).spawn()?;
        let server = Self { child };
        while start.elapsed() < Duration::from_secs(60) {
            if let Ok(client) = client(folder).await
                && client.apiserver_version().await.is_ok()
            {
                return Ok((server, start.elapsed()));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Err("the server did not become ready within a minute".into())
    }

    /// Seconds of processor time that it has taken.
    fn processor(&self) -> Result<f64, Failure> {
        let mut nanoseconds = 0.0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let schedstat = std::fs::read_to_string(task?.path().join("schedstat"))?;
            let on_cpu = schedstat.split_whitespace().next().ok_or("no schedstat")?;
            nanoseconds += on_cpu.parse::<f64>()?;
        }
        Ok(nanoseconds / 1e9)
    }

    /// Resident memory in MiB.
    fn memory(&self) -> Result<f64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
        let kilobytes: f64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
        Ok(kilobytes / 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client with a connection pool of its own, and without Nagle's algorithm: what is measured is the server, not how
/// long a kernel waits for more to send.
async fn client(folder: &Path) -> Result<Client, Failure> {
    let kubeconfig = Kubeconfig::read_from(folder.join("kubeconfig"))?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let service = tower::ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .service(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector));
    Ok(Client::new(service, "default"))
}

/// Creates everything; the seconds that it took, and how long each took.
async fn creates(clients: &[Client]) -> Result<(f64, Vec<Duration>), Failure> {
    let start = Instant::now();
    let tasks = clients.iter().enumerate().map(|(number, client)| {
        let api: Api<ConfigMap> = Api::default_namespaced(client.clone());
        tokio::spawn(async move {
            let mut times = Vec::new();
            for index in (number..OBJECTS).step_by(CLIENTS) {
                let start = Instant::now();
                api.create(&PostParams::default(), &config_map(format!("c{index}"))).await?;
                times.push(start.elapsed());
            }
            Ok::<_, kube::Error>(times)
        })
    });
    let mut times = Vec::new();
    for one in futures::future::try_join_all(tasks).await? {
        times.extend(one?);
    }
    Ok((start.elapsed().as_secs_f64(), times))
}

/// From the moment when a write was acknowledged to when the last watcher has seen it, for each write.
async fn fan_out(clients: &[Client]) -> Result<Vec<Duration>, Failure> {
    let opened = Arc::new(tokio::sync::Barrier::new(WATCHERS + 1));
    let watchers = (0..WATCHERS).map(|number| {
        let api: Api<ConfigMap> = Api::default_namespaced(clients[number % clients.len()].clone());
        let opened = opened.clone();
        tokio::spawn(async move {
            // From where the list is: nothing of what is there already.
            let list = api.list(&kube::api::ListParams::default().limit(1)).await?;
            let version = list.metadata.resource_version.unwrap_or_default();
            let mut stream = api.watch(&WatchParams::default().timeout(280), &version).await?.boxed();
            opened.wait().await;
            let mut seen = Vec::with_capacity(WRITES);
            while let Some(event) = stream.try_next().await? {
                if let WatchEvent::Added(object) = event
                    && object.name_any().starts_with("w")
                {
                    seen.push(Instant::now());
                    if seen.len() == WRITES {
                        break;
                    }
                }
            }
            Ok::<_, kube::Error>(seen)
        })
    });
    let watchers: Vec<_> = watchers.collect();
    opened.wait().await;
    let api: Api<ConfigMap> = Api::default_namespaced(clients[0].clone());
    let mut acknowledged = Vec::new();
    for index in 0..WRITES {
        api.create(&PostParams::default(), &config_map(format!("w{index}"))).await?;
        acknowledged.push(Instant::now());
    }
    let mut last = acknowledged.clone();
    for seen in futures::future::try_join_all(watchers).await? {
        let seen = seen?;
        if seen.len() < WRITES {
            return Err(format!("a watcher saw {} of {WRITES} writes", seen.len()).into());
        }
        for (last, seen) in last.iter_mut().zip(seen) {
            *last = (*last).max(seen);
        }
    }
    Ok(last.into_iter().zip(acknowledged).map(|(last, acknowledged)| last - acknowledged).collect())
}

fn percentile(times: &mut [Duration], part: f64) -> f64 {
    times.sort_unstable();
    let index = ((times.len() as f64 - 1.0) * part).round() as usize;
    times[index].as_secs_f64() * 1000.0
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = tempfile::tempdir_in(std::env::current_dir()?)?;
    let folder = folder.path();
    let (before, mut commits) = raw_rows(folder, "before.db")?;
    let (server, ready) = Server::start(folder).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let idle = server.memory()?;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(client(folder).await?);
    }
    let before_creates = server.processor()?;
    let (seconds, mut times) = creates(&clients).await?;
    let processor = server.processor()? - before_creates;
    let rate = OBJECTS as f64 / seconds;
    // Others use the disk as well: before and after.
    let (after, commits_after) = raw_rows(folder, "after.db")?;
    let raw = (before + after) / 2.0;
    commits.extend(commits_after);
    let full = server.memory()?;
    let bytes = OBJECTS as f64 * 4096.0 / 1024.0 / 1024.0;
    let mut lags = fan_out(&clients).await?;
    println!("| what | measured | goal |\n|---|---|---|");
    println!("| ready after the start of the process | {:.0} ms | ≤ 300 ms |", ready.as_secs_f64() * 1000.0);
    println!("| resident memory, idle | {idle:.0} MiB | ≤ 40 MiB |");
    println!(
        "| resident memory with {OBJECTS} objects of 4 KiB ({bytes:.0} MiB) | {full:.0} MiB | ≤ {:.0} MiB |",
        idle + 2.0 * bytes + 30.0
    );
    println!("| raw SQLite, groups of {CLIENTS} rows of 4 KiB | {raw:.0} rows/s | |");
    println!(
        "| such a group, median and 99th percentile | {:.1} and {:.1} ms | |",
        percentile(&mut commits, 0.5),
        percentile(&mut commits, 0.99)
    );
    println!("| creates by {CLIENTS} clients over TLS | {rate:.0}/s | |");
    println!("| creates in relation to raw SQLite | {:.2} | ≥ 0.25 |", rate / raw);
    println!("| the server's processor time for a create | {:.0} µs | |", processor / OBJECTS as f64 * 1e6);
    println!("| a create, median | {:.1} ms | |", percentile(&mut times, 0.5));
    println!("| a create, 99th percentile | {:.1} ms | ≤ 25 ms |", percentile(&mut times, 0.99));
    println!(
        "| a write until the last of {WATCHERS} watchers has it, median | {:.0} ms | |",
        percentile(&mut lags, 0.5)
    );
    println!("| the same, worst of {WRITES} | {:.0} ms | |", percentile(&mut lags, 1.0));
    let events = (WATCHERS * WRITES) as f64;
    drop(server);
    let (server, again) = Server::start(folder).await?;
    println!("| ready again with all those objects | {:.0} ms | |", again.as_secs_f64() * 1000.0);
    println!("| resident memory then | {:.0} MiB | |", server.memory()?);
    eprintln!("{events:.0} events reached the watchers");
    Ok(())
}
