//! What must not hurt: slow clients, many watchers, large objects, damaged and newer files; and backups.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use muster_apiserver::{ApiServer, Config, Identity, OpenError};
use serde_json::{Value, json};

use crate::support::{raw, raw_as, server};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const MEDIA: [(&str, &str); 1] = [("content-type", "application/json")];

async fn watch(server: &ApiServer, version: u64) -> muster_apiserver::Body {
    let request = http::Request::get(format!("{MAPS}?watch=1&resourceVersion={version}"))
        .body(Full::new(Bytes::new()))
        .unwrap();
    server.handle(request, Identity::admin("watcher")).await.into_body()
}

async fn put(server: &ApiServer, turn: usize) {
    let body = json!({"data": {"turn": turn.to_string()}}).to_string();
    let media = [("content-type", "application/merge-patch+json")];
    assert_eq!(raw(server, "PATCH", &format!("{MAPS}/a"), &media, &body).await.0, 200);
}

fn map(name: &str) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_does_not_read_holds_up_nobody_and_is_told_to_start_over() {
    // More than the ring of events remembers.
    const WRITES: usize = 8_500;
    let server = server().await;
    assert_eq!(raw(&server, "POST", MAPS, &MEDIA, &map("a")).await.0, 201);
    let start = server.resource_version();
    let mut slow = watch(&server, start).await;
    let readers: Vec<_> = (0..20)
        .map(|_| {
            let server = server.clone();
            tokio::spawn(async move {
                let mut body = watch(&server, start).await;
                let mut lines = 0;
                while lines < WRITES {
                    let chunk = body.frame().await.unwrap().unwrap().into_data().unwrap();
                    lines += chunk.iter().filter(|byte| **byte == b'\n').count();
                }
                lines
            })
        })
        .collect();
    for turn in 0..WRITES {
        put(&server, turn).await;
    }
    for reader in readers {
        assert_eq!(reader.await.unwrap(), WRITES, "nothing is missing, and nothing came twice");
    }
    let chunk = slow.frame().await.unwrap().unwrap().into_data().unwrap();
    let event: Value = serde_json::from_slice(&chunk).unwrap();
    assert_eq!((&event["type"], &event["object"]["reason"]), (&json!("ERROR"), &json!("Expired")));
    assert!(slow.frame().await.is_none(), "that is the end of it");
    assert!(server.metrics().contains("muster_api"), "{}", server.metrics());
}

#[tokio::test]
async fn what_is_too_large_for_a_cluster_is_too_large_here() {
    let server = server().await;
    let large = |bytes: usize| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "x".repeat(bytes)}})
            .to_string()
    };
    assert_eq!(raw(&server, "POST", MAPS, &MEDIA, &large(4 << 20)).await.0, 413);
    let (code, status) = raw(&server, "POST", MAPS, &MEDIA, &large(2 << 20)).await;
    assert_eq!((code, &status["message"]), (500, &json!("etcdserver: request is too large")));
    assert_eq!(raw(&server, "GET", &format!("{MAPS}/a"), &[], "").await.0, 404, "nothing was kept of it");
    assert_eq!(raw(&server, "POST", MAPS, &MEDIA, &large(1 << 20)).await.0, 201);
}

#[tokio::test]
async fn a_client_that_never_finishes_its_request_loses_its_place() {
    let config = Config { body_time: Duration::from_millis(50), ..Config::default() };
    let server = ApiServer::open(config).await.unwrap();
    let never = futures::stream::pending::<Result<hyper::body::Frame<Bytes>, std::convert::Infallible>>();
    let request = http::Request::post(MAPS).body(http_body_util::StreamBody::new(never)).unwrap();
    let response = server.handle(request, Identity::admin("slow")).await;
    assert_eq!(response.status(), 504);
}

#[tokio::test]
async fn a_backup_is_a_store_of_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| Config { path: Some(folder.path().join(name)), ..Config::default() };
    let server = ApiServer::open(at("api.db")).await.unwrap();
    for name in ["a", "b"] {
        assert_eq!(raw(&server, "POST", MAPS, &MEDIA, &map(name)).await.0, 201);
    }
    let version = server.resource_version();
    let file = folder.path().join("copy.db");
    server.backup(file.clone()).await.unwrap();
    let refused = server.backup(file).await.unwrap_err();
    assert!(refused.to_string().contains("exists"), "{refused}");
    assert_eq!(raw(&server, "POST", MAPS, &MEDIA, &map("later")).await.0, 201);
    // The same from outside, for who may do everything; and nothing stays of it.
    let request = http::Request::get("/backup").body(Full::new(Bytes::new())).unwrap();
    let bytes =
        server.handle(request, Identity::admin("a")).await.into_body().collect().await.unwrap().to_bytes();
    std::fs::write(folder.path().join("download.db"), &bytes).unwrap();
    let viewer = Identity::new("v", &["muster:viewer"]);
    assert_eq!(raw_as(&server, viewer, "GET", "/backup", &[], "").await.0, 403);
    server.shutdown().await;
    let mut names: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["api.db", "copy.db", "download.db"]);
    for (name, objects) in [("copy.db", 2), ("download.db", 3)] {
        let copy = ApiServer::open(at(name)).await.unwrap();
        let (_, list) = raw(&copy, "GET", MAPS, &[], "").await;
        assert_eq!(list["items"].as_array().unwrap().len(), objects);
        if objects == 2 {
            assert_eq!(copy.resource_version(), version);
        }
        copy.shutdown().await;
    }
}

#[tokio::test]
async fn a_damaged_foreign_or_newer_file_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api.db");
    let config = Config { path: Some(path.clone()), ..Config::default() };
    let server = ApiServer::open(config.clone()).await.unwrap();
    for number in 0..50 {
        assert_eq!(raw(&server, "POST", MAPS, &MEDIA, &map(&format!("m{number}"))).await.0, 201);
    }
    server.shutdown().await;
    let good = std::fs::read(&path).unwrap();
    let refuse = async |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let refused = ApiServer::open(config.clone()).await.err().expect("it must not open");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "it was touched");
        refused
    };
    let mut damaged = good.clone();
    damaged[4096..4096 + 512].fill(0xa5);
    let error = refuse(&damaged).await;
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("restore it from a backup"), "{error}");
    let error = refuse(
        b"this is a text file, and not even a short one, that somebody named by mistake\n"
            .repeat(20)
            .as_slice(),
    )
    .await;
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    std::fs::write(&path, &good).unwrap();
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    newer.close().unwrap();
    let newer = std::fs::read(&path).unwrap();
    let error = refuse(&newer).await;
    assert!(matches!(error, OpenError::Layout { found: 99, .. }), "{error}");
    std::fs::write(&path, &good).unwrap();
    let server = ApiServer::open(config.clone()).await.unwrap();
    let (_, list) = raw(&server, "GET", MAPS, &[], "").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 50);
    server.shutdown().await;
}

#[tokio::test]
async fn a_write_ends_and_is_counted_though_its_client_has_gone() {
    let server = server().await;
    let request = http::Request::post(MAPS).header("content-type", "application/json");
    let request = request.body(Full::new(Bytes::from(map("a")))).unwrap();
    let mut write = Box::pin(server.handle(request, Identity::admin("gone")));
    // It waits for the writer by now (or has ended already, on a machine that stood still just here).
    let _ = futures::poll!(&mut write);
    drop(write);
    let counted =
        "muster_api_requests_total{verb=\"create\",resource=\"configmaps\",manager=\"gone\",code=\"201\"} 1";
    let ends = async {
        while !server.metrics().contains(counted) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ends).await.expect("it ends");
    assert_eq!(raw(&server, "GET", &format!("{MAPS}/a"), &[], "").await.0, 200);
}
