//! Watches: resumed, filtered, expired, announced.

use futures::{StreamExt as _, TryStreamExt as _};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, WatchEvent, WatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::json;

use crate::support::{create, raw, server, version, widgets};

fn line(event: &WatchEvent<DynamicObject>) -> String {
    match event {
        WatchEvent::Added(object) => format!("+ {}", object.name_any()),
        WatchEvent::Modified(object) => format!("~ {}", object.name_any()),
        WatchEvent::Deleted(object) => format!("- {}", object.name_any()),
        WatchEvent::Bookmark(_) => "bookmark".to_owned(),
        WatchEvent::Error(status) => format!("error {} {}", status.code, status.reason),
    }
}

#[tokio::test]
async fn a_watch_resumes_where_the_client_was() {
    let server = server().await;
    let api = widgets(&server);
    let start = create(&api, "a").await;
    create(&api, "b").await;
    let deleted = create(&api, "c").await;
    api.delete("c", &DeleteParams::default()).await.unwrap();
    let stream = api.watch(&WatchParams::default(), &version(&start)).await.unwrap();
    let events: Vec<_> = stream.take(3).try_collect().await.unwrap();
    let lines: Vec<String> = events.iter().map(line).collect();
    assert_eq!(lines, ["+ b", "+ c", "- c"]);
    let WatchEvent::Deleted(last) = &events[2] else { unreachable!() };
    assert!(version(last).parse::<u64>().unwrap() > version(&deleted).parse::<u64>().unwrap());
}

#[tokio::test]
async fn objects_enter_and_leave_a_selection() {
    let server = server().await;
    let api = widgets(&server);
    let start = create(&api, "a").await;
    let label = |value| Patch::Merge(json!({"metadata": {"labels": {"ring": value}}}));
    for value in [json!("1"), json!("1x"), json!("1"), json!(null)] {
        api.patch("a", &PatchParams::default(), &label(value)).await.unwrap();
    }
    let params = WatchParams::default().labels("ring=1");
    let stream = api.watch(&params, &version(&start)).await.unwrap();
    let lines: Vec<String> = stream.take(4).map_ok(|event| line(&event)).try_collect().await.unwrap();
    assert_eq!(lines, ["+ a", "- a", "+ a", "- a"]);
}

#[tokio::test]
async fn a_version_that_is_too_old_gets_410_inside_the_stream() {
    let server = server().await;
    let path = "/apis/demo.example.com/v1/namespaces/default/widgets?watch=1&resourceVersion=0000";
    let (code, _) = raw(&server, "GET", &format!("{path}&timeoutSeconds=1"), &[], "").await;
    assert_eq!(code, 200);
    // A version from another life of the store.
    let path = "/apis/demo.example.com/v1/namespaces/default/widgets?watch=1&resourceVersion=99999999";
    let (code, event) = raw(&server, "GET", path, &[], "").await;
    assert_eq!((code, &event["type"], &event["object"]["code"]), (200, &json!("ERROR"), &json!(410)));
}

#[tokio::test]
async fn kube_runtime_follows_by_list_and_by_stream() {
    let server = server().await;
    let api = widgets(&server);
    create(&api, "a").await;
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let mut stream = std::pin::pin!(watcher(api.clone(), config).applied_objects());
        assert_eq!(stream.next().await.unwrap().unwrap().name_any(), "a");
        api.patch(
            "a",
            &PatchParams::default(),
            &Patch::Merge(json!({"metadata": {"annotations": {"n": server.resource_version().to_string()}}})),
        )
        .await
        .unwrap();
        let changed = stream.next().await.unwrap().unwrap();
        assert!(changed.annotations().contains_key("n"));
    }
}

#[tokio::test]
async fn a_watch_ends_when_asked_and_says_where_it_was() {
    let server = server().await;
    create(&widgets(&server), "a").await;
    let path = "/apis/demo.example.com/v1/widgets?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1";
    let (_, text) = raw(&server, "GET", path, &[], "").await;
    let kinds: Vec<String> = text
        .as_str()
        .unwrap()
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["type"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(kinds, ["ADDED", "BOOKMARK", "BOOKMARK"]);
    server.shutdown().await;
}
