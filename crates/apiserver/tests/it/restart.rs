//! The store on disk: what was acknowledged is there after a restart, and versions go on.

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use muster_apiserver::{ApiServer, Clock, Config, Identity};
use serde_json::{Value, json};

use crate::support::{client, create, definition, raw, version, widgets};

/// A server that has a widget, and had another; the one that it has.
async fn one_kept_and_one_gone(config: &Config) -> (ApiServer, DynamicObject) {
    let server = ApiServer::open(config.clone()).await.unwrap();
    server.apply_crds(&[definition()]).await.unwrap();
    let api = widgets(&server);
    let kept = create(&api, "kept").await;
    create(&api, "gone").await;
    api.delete("gone", &DeleteParams::default()).await.unwrap();
    (server, kept)
}

#[tokio::test]
async fn a_restart_keeps_objects_definitions_and_versions() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { path: Some(folder.path().join("api.db")), ..Config::default() };
    let (server, kept) = one_kept_and_one_gone(&config).await;
    let newest = server.resource_version();
    assert!(ApiServer::open(config.clone()).await.is_err(), "a second server on the same file");
    server.shutdown().await;

    let server = ApiServer::open(config).await.unwrap();
    assert_eq!(server.resource_version(), newest);
    server.apply_crds(&[definition()]).await.unwrap();
    assert_eq!(server.resource_version(), newest, "installing the same definition again writes nothing");
    let api = widgets(&server);
    assert_eq!(api.get("kept").await.unwrap(), kept);
    assert!(api.get_opt("gone").await.unwrap().is_none());
    let label = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    let changed = api.patch("kept", &PatchParams::default(), &label).await.unwrap();
    assert!(version(&changed).parse::<u64>().unwrap() > newest);
    let path = format!("/apis/demo.example.com/v1/widgets?watch=1&resourceVersion={}", newest - 1);
    let (_, event) = raw(&server, "GET", &path, &[], "").await;
    assert_eq!(event["object"]["code"], 410, "history does not survive, so it is not claimed to");
    server.shutdown().await;
}

#[tokio::test]
async fn a_file_of_the_first_layout_is_brought_up_to_the_present_one() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { path: Some(folder.path().join("api.db")), ..Config::default() };
    let (server, kept) = one_kept_and_one_gone(&config).await;
    let newest = server.resource_version();
    server.shutdown().await;
    // As the first release had it.
    let file = rusqlite::Connection::open(config.path.as_ref().unwrap()).unwrap();
    file.execute_batch(
        "ALTER TABLE objects RENAME TO present;
         CREATE TABLE objects (
             shelf TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, body BLOB NOT NULL,
             PRIMARY KEY (shelf, key)
         ) WITHOUT ROWID;
         INSERT INTO objects SELECT shelf, key, version, body FROM present;
         DROP TABLE present;
         PRAGMA user_version = 1;",
    )
    .unwrap();
    file.close().unwrap();

    for life in 0..2 {
        let server = ApiServer::open(config.clone()).await.unwrap();
        assert_eq!(server.resource_version(), newest + life);
        let api = widgets(&server);
        let found = api.list(&kube::api::ListParams::default()).await.unwrap();
        assert_eq!((found.items.len(), &found.items[0].data), (1, &kept.data));
        let label = Patch::Merge(json!({"metadata": {"labels": {"life": life.to_string()}}}));
        let changed = api.patch("kept", &PatchParams::default(), &label).await.unwrap();
        assert_eq!(version(&changed), (newest + life + 1).to_string());
        server.shutdown().await;
    }
}

#[tokio::test]
async fn every_request_is_in_the_audit_file() {
    let folder = tempfile::tempdir().unwrap();
    let audit = folder.path().join("audit.jsonl");
    let server = ApiServer::open(Config { audit: Some(audit.clone()), ..Config::default() }).await.unwrap();
    server.apply_crds(&[definition()]).await.unwrap();
    create(&widgets(&server), "a").await;
    let mut afar = http::Request::new(http_body_util::Full::new(bytes::Bytes::new()));
    afar.extensions_mut().insert(std::net::IpAddr::from([192, 0, 2, 7]));
    server.handle(afar, Identity::anonymous()).await;
    server.shutdown().await;
    let text = std::fs::read_to_string(audit).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [.., last, afar] = &*events else { panic!("{text}") };
    assert_eq!((&afar["sourceIPs"], &afar["responseStatus"]["code"]), (&json!(["192.0.2.7"]), &json!(403)));
    assert_eq!(last["sourceIPs"], json!(["127.0.0.1"]));
    assert_eq!((&last["verb"], &last["stage"]), (&json!("create"), &json!("ResponseComplete")));
    assert_eq!(
        last["objectRef"],
        json!({"resource": "widgets", "namespace": "default", "name": "a", "apiGroup": "demo.example.com", "apiVersion": "v1"})
    );
    assert_eq!(last["responseStatus"]["code"], 201);
    assert_eq!(last["stageTimestamp"].as_str().unwrap().len(), "2026-01-01T00:00:00.000000Z".len());
    assert!(server.metrics().contains("muster_api_requests_total{verb=\"create\",resource=\"widgets\",manager=\"tester\",code=\"201\"} 1"), "{}", server.metrics());
}

#[tokio::test]
async fn an_event_goes_after_an_hour() {
    let folder = tempfile::tempdir().unwrap();
    let path = Some(folder.path().join("api.db"));
    let noon: jiff::Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    let at = |minutes: i64| {
        let now = noon + jiff::SignedDuration::from_mins(minutes);
        Config { path: path.clone(), clock: Clock::new(move || now), ..Config::default() }
    };
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}});
    let events = "/api/v1/namespaces/default/events";
    let server = ApiServer::open(at(0)).await.unwrap();
    let headers = [("content-type", "application/json")];
    assert_eq!(raw(&server, "POST", events, &headers, &event.to_string()).await.0, 201);
    server.shutdown().await;
    // Swept once at the start, and then every minute.
    let server = ApiServer::open(at(61)).await.unwrap();
    let client = client(&server);
    let api: kube::Api<k8s_openapi::api::core::v1::Event> = kube::Api::default_namespaced(client);
    let gone = |event: Option<&k8s_openapi::api::core::v1::Event>| event.is_none();
    kube::runtime::wait::await_condition(api, "e", gone).await.unwrap();
    server.shutdown().await;
}
