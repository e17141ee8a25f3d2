//! Objects: written, refused, merged, deleted.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, PropagationPolicy};
use kube::{Api, Error, ResourceExt as _};
use serde_json::{Value, json};

use crate::support::{client, create, raw, raw_as, server, version, widget, widgets};
use muster_apiserver::Identity;

const WIDGETS: &str = "/apis/demo.example.com/v1/namespaces/default/widgets";
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

fn refusal(error: Error) -> (u16, String) {
    match error {
        Error::Api(status) => (status.code, status.message),
        other => panic!("{other}"),
    }
}

/// Waits (by a watch) until the object with that uid is gone.
async fn until_gone<K>(api: &Api<K>, name: &str, uid: &str)
where
    K: kube::Resource + Clone + std::fmt::Debug + Send + serde::de::DeserializeOwned + 'static,
{
    let gone = kube::runtime::wait::conditions::is_deleted(uid);
    kube::runtime::wait::await_condition(api.clone(), name, gone).await.unwrap();
}

#[tokio::test]
async fn an_object_is_defaulted_counted_and_found_again() {
    let server = server().await;
    let api = widgets(&server);
    let made = create(&api, "a").await;
    assert_eq!(made.data["spec"], json!({"size": 1, "color": "green"}));
    assert_eq!(made.metadata.generation, Some(1));
    let mut changed = made.clone();
    changed.data["spec"]["size"] = 2.into();
    changed.data["status"] = json!({"phase": "ignored"});
    let changed = api.replace("a", &PostParams::default(), &changed).await.unwrap();
    assert_eq!(changed.metadata.generation, Some(2));
    assert_eq!(changed.data["status"], Value::Null);
    let selected = |selector: &str| ListParams::default().fields(selector);
    assert_eq!(api.list(&selected("spec.color=green")).await.unwrap().items.len(), 1);
    assert_eq!(api.list(&selected("spec.color=red")).await.unwrap().items.len(), 0);
    let (code, message) = refusal(api.list(&selected("spec.size=2")).await.unwrap_err());
    assert_eq!((code, &*message), (400, "field label not supported: spec.size"));
}

#[tokio::test]
async fn a_stale_update_is_refused_and_one_that_changes_nothing_writes_nothing() {
    let server = server().await;
    let api = widgets(&server);
    let first = create(&api, "a").await;
    let mut second = first.clone();
    second.data["spec"]["size"] = 5.into();
    let second = api.replace("a", &PostParams::default(), &second).await.unwrap();
    let (code, message) = refusal(api.replace("a", &PostParams::default(), &first).await.unwrap_err());
    assert_eq!(code, 409);
    assert!(message.ends_with("please apply your changes to the latest version and try again"), "{message}");
    let again = api.replace("a", &PostParams::default(), &second).await.unwrap();
    assert_eq!(version(&again), version(&second));
    assert_eq!(again.metadata.managed_fields, second.metadata.managed_fields);
}

#[tokio::test]
async fn of_a_hundred_racing_increments_none_is_lost() {
    let server = server().await;
    let api = widgets(&server);
    create(&api, "a").await;
    let increments = (0..100).map(|_| {
        let api = api.clone();
        tokio::spawn(async move {
            loop {
                let mut object = api.get("a").await.unwrap();
                let size = object.data["spec"]["size"].as_i64().unwrap();
                // 13 is refused by a rule.
                object.data["spec"]["size"] = if size == 12 { 14 } else { size + 1 }.into();
                match api.replace("a", &PostParams::default(), &object).await {
                    Ok(_) => return,
                    Err(Error::Api(status)) if status.code == 409 => {}
                    Err(other) => panic!("{other}"),
                }
            }
        })
    });
    for one in increments.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    let object = api.get("a").await.unwrap();
    assert_eq!(object.data["spec"]["size"], 102);
    assert_eq!(object.metadata.generation, Some(101));
}

#[tokio::test]
async fn what_the_schema_and_its_rules_forbid_is_refused_with_causes() {
    let server = server().await;
    let api = widgets(&server);
    for (spec, expected) in [
        (
            json!({"size": 0}),
            "Widget.demo.example.com \"a\" is invalid: spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
        ),
        (json!({"size": 13}), "Widget.demo.example.com \"a\" is invalid: spec: Invalid value: 13 is unlucky"),
    ] {
        let error = api.create(&PostParams::default(), &widget("a", spec)).await.unwrap_err();
        let (code, message) = refusal(error);
        assert_eq!(code, 422);
        let cut = if message.contains("unlucky") {
            message.replace("{\"color\":\"green\",\"size\":13}: ", "")
        } else {
            message
        };
        assert_eq!(cut, expected);
    }
    let body =
        r#"{"apiVersion":"demo.example.com/v1","kind":"Widget","metadata":{"name":"a"},"spec":{"sizee":1}}"#;
    let (code, status) = raw(&server, "POST", &format!("{WIDGETS}?fieldValidation=Strict"), JSON, body).await;
    assert_eq!(code, 400);
    assert!(
        status["message"].as_str().unwrap().ends_with("strict decoding error: unknown field \"spec.sizee\""),
        "{status}"
    );
    let (code, _) =
        raw(&server, "POST", &format!("{WIDGETS}?fieldValidation=Ignore&dryRun=All"), JSON, body).await;
    assert_eq!(code, 201);
    assert!(api.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn the_status_has_its_own_door() {
    let server = server().await;
    let api = widgets(&server);
    create(&api, "a").await;
    let patch =
        json!({"spec": {"size": 9}, "metadata": {"labels": {"x": "y"}}, "status": {"phase": "Running"}});
    let object = api.patch_status("a", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    assert_eq!(object.data["spec"]["size"], 1);
    assert_eq!(object.data["status"]["phase"], "Running");
    assert_eq!(object.metadata.generation, Some(1));
    assert!(object.labels().is_empty());
}

#[tokio::test]
async fn appliers_own_their_fields_and_conflict_over_others() {
    let server = server().await;
    let api = widgets(&server);
    let config = |size| json!({"apiVersion": "demo.example.com/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": {"size": size}});
    let first = api.patch("a", &PatchParams::apply("one"), &Patch::Apply(config(2))).await.unwrap();
    assert_eq!(first.data["spec"]["size"], 2);
    let again = api.patch("a", &PatchParams::apply("one"), &Patch::Apply(config(2))).await.unwrap();
    assert_eq!(version(&again), version(&first));
    let error = api.patch("a", &PatchParams::apply("two"), &Patch::Apply(config(3))).await.unwrap_err();
    assert_eq!(
        refusal(error),
        (409, "Apply failed with 1 conflict: conflict with \"one\": .spec.size".to_owned())
    );
    let forced = api.patch("a", &PatchParams::apply("two").force(), &Patch::Apply(config(3))).await.unwrap();
    assert_eq!(forced.data["spec"]["size"], 3);
    let status = json!({"apiVersion": "demo.example.com/v1", "kind": "Widget", "status": {"phase": "Fine"}});
    let object =
        api.patch_status("a", &PatchParams::apply("one").force(), &Patch::Apply(status)).await.unwrap();
    assert_eq!(object.data["status"]["phase"], "Fine");
}

#[tokio::test]
async fn a_finalizer_holds_an_object_until_it_is_removed() {
    let server = server().await;
    let api = widgets(&server);
    create(&api, "a").await;
    let finalizers = |list: Value| Patch::Merge(json!({"metadata": {"finalizers": list}}));
    api.patch("a", &PatchParams::default(), &finalizers(json!(["x.example.com/f"]))).await.unwrap();
    let waiting = api.delete("a", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert!(waiting.metadata.deletion_timestamp.is_some());
    assert_eq!(waiting.metadata.generation, Some(2));
    let error = api
        .patch("a", &PatchParams::default(), &finalizers(json!(["x.example.com/f", "y.example.com/g"])))
        .await;
    assert_eq!(refusal(error.unwrap_err()).0, 422);
    api.patch("a", &PatchParams::default(), &finalizers(Value::Null)).await.unwrap();
    assert!(api.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn what_belongs_to_a_deleted_object_is_collected() {
    let server = server().await;
    let api = widgets(&server);
    for policy in [PropagationPolicy::Background, PropagationPolicy::Foreground] {
        let owner = create(&api, "owner").await;
        let mut child = widget("child", json!({}));
        child.metadata.owner_references = Some(vec![serde_json::from_value(json!({
            "apiVersion": "demo.example.com/v1", "kind": "Widget", "name": "owner", "uid": owner.uid().unwrap(),
        })).unwrap()]);
        let child = api.create(&PostParams::default(), &child).await.unwrap();
        let params = DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() };
        api.delete("owner", &params).await.unwrap();
        for (name, object) in [("child", &child), ("owner", &owner)] {
            until_gone(&api, name, &object.uid().unwrap()).await;
        }
    }
}

#[tokio::test]
async fn a_namespace_takes_its_objects_with_it() {
    let server = server().await;
    let client = client(&server);
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "team");
    let map: ConfigMap = serde_json::from_value(
        json!({"metadata": {"name": "m", "finalizers": ["x.example.com/f"]}, "data": {"k": "v"}}),
    )
    .unwrap();
    let error = maps.create(&PostParams::default(), &map).await.unwrap_err();
    assert_eq!(refusal(error), (404, "namespaces \"team\" not found".to_owned()));
    let space: Namespace = serde_json::from_value(json!({"metadata": {"name": "team"}})).unwrap();
    let space = namespaces.create(&PostParams::default(), &space).await.unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
    namespaces.delete("team", &DeleteParams::default()).await.unwrap();
    let other: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap();
    let (code, message) = refusal(maps.create(&PostParams::default(), &other).await.unwrap_err());
    assert_eq!(
        (code, &*message),
        (
            403,
            "configmaps \"n\" is forbidden: unable to create new content in namespace team because it is being terminated"
        )
    );
    maps.patch("m", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"finalizers": null}})))
        .await
        .unwrap();
    until_gone(&namespaces, "team", &space.uid().unwrap()).await;
}

#[tokio::test]
async fn a_table_says_what_kubectl_prints() {
    let server = server().await;
    create(&widgets(&server), "a").await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let (code, table) = raw(&server, "GET", WIDGETS, &accept, "").await;
    assert_eq!(code, 200);
    let columns: Vec<&str> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(columns, ["Name", "Size", "Ready", "Age"]);
    let cells = &table["rows"][0]["cells"];
    assert_eq!((&cells[0], &cells[1], &cells[2]), (&json!("a"), &json!(1), &Value::Null));
    assert!(cells[3].as_str().unwrap().ends_with('s'));
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
}

#[tokio::test]
async fn a_paged_list_is_of_one_moment() {
    let server = server().await;
    let api = widgets(&server);
    for name in ["a", "b", "c", "d"] {
        create(&api, name).await;
    }
    let first = api.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!(first.metadata.remaining_item_count, Some(2));
    api.delete("c", &DeleteParams::default()).await.unwrap();
    create(&api, "bb").await;
    let token = first.metadata.continue_.clone().unwrap();
    let second = api.list(&ListParams::default().limit(2).continue_token(&token)).await.unwrap();
    let names: Vec<String> = second.items.iter().map(kube::ResourceExt::name_any).collect();
    assert_eq!(names, ["c", "d"]);
    assert_eq!(second.metadata.resource_version, first.metadata.resource_version);
    assert_eq!(
        second.metadata.continue_.as_deref(),
        Some(""),
        "as the real server says that there is no more"
    );
}

#[tokio::test]
async fn an_event_has_two_faces() {
    let server = server().await;
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "note": "it was tested",
        "reason": "Tested", "regarding": {"kind": "Widget", "name": "a", "namespace": "default"}, "type": "Normal",
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "x/y", "reportingInstance": "z", "action": "Test",
    });
    let (code, made) =
        raw(&server, "POST", "/apis/events.k8s.io/v1/namespaces/default/events", JSON, &event.to_string())
            .await;
    assert_eq!((code, &made["note"]), (201, &json!("it was tested")));
    let path = "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Da,involvedObject.kind%3DWidget";
    let (_, list) = raw(&server, "GET", path, &[], "").await;
    assert_eq!(list["items"][0]["message"], "it was tested");
    let path = "/apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=regarding.name%3Da";
    let (_, list) = raw(&server, "GET", path, &[], "").await;
    assert_eq!(list["items"][0]["regarding"]["name"], "a");
}

#[tokio::test]
async fn a_recorder_counts_what_it_repeats() {
    use kube::runtime::events::{Event, EventType, Recorder};
    let server = server().await;
    let object = create(&widgets(&server), "a").await;
    let recorder = Recorder::new(client(&server), "tester".into());
    let event = Event {
        type_: EventType::Normal,
        reason: "Tested".into(),
        note: Some("it was tested".into()),
        action: "Test".into(),
        secondary: None,
    };
    let mut about = kube::Resource::object_ref(&object, &crate::support::resource());
    about.namespace = Some("default".into());
    for _ in 0..3 {
        recorder.publish(&event, &about).await.unwrap();
    }
    let (_, list) = raw(&server, "GET", "/api/v1/namespaces/default/events", &[], "").await;
    let events = list["items"].as_array().unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["series"]["count"], 3);
}

#[tokio::test]
async fn a_lease_changes_hands_by_version_only() {
    let server = server().await;
    let leases: Api<k8s_openapi::api::coordination::v1::Lease> = Api::default_namespaced(client(&server));
    let lease = serde_json::from_value(json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "one"}}))
        .unwrap();
    let first = leases.create(&PostParams::default(), &lease).await.unwrap();
    let hand_over = |holder: &str| {
        let mut next = first.clone();
        next.spec.get_or_insert_default().holder_identity = Some(holder.to_owned());
        next
    };
    leases.replace("l", &PostParams::default(), &hand_over("two")).await.unwrap();
    let late = leases.replace("l", &PostParams::default(), &hand_over("three")).await;
    assert_eq!(refusal(late.unwrap_err()).0, 409);
}

#[tokio::test]
async fn what_is_not_served_is_not_found_whatever_the_client_takes() {
    let server = server().await;
    let protobuf = [("accept", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")];
    assert_eq!(raw(&server, "GET", "/openapi/v9", &protobuf, "").await.0, 404);
    // kubectl asks this for kinds that it does not know, and goes on only with an answer.
    assert_eq!(raw(&server, "GET", "/openapi/v2", &protobuf, "").await, (200, json!("\n\u{3}2.0")));
    assert_eq!(raw(&server, "GET", "/apis/demo.example.com/v1", &protobuf, "").await.0, 406);
    assert_eq!(raw(&server, "GET", "/readyz/nonsense", &[], "").await.0, 404);
    // A built-in kind has no door of that name; a custom one might have.
    for (path, expected) in [
        (
            "/api/v1/namespaces/default/configmaps/a/status",
            "the server could not find the requested resource",
        ),
        (&*format!("{WIDGETS}/a/scale"), "widgets.demo.example.com \"a\" not found"),
    ] {
        let (code, status) = raw(&server, "GET", path, &[], "").await;
        assert_eq!((code, &status["message"]), (404, &json!(expected)), "{path}");
    }
}

#[tokio::test]
async fn a_json_patch_that_does_not_apply_is_refused_in_a_clusters_words() {
    let server = server().await;
    create(&widgets(&server), "a").await;
    let media = [("content-type", "application/json-patch+json")];
    let patch = r#"[{"op": "test", "path": "/spec/size", "value": 4711}]"#;
    let (code, status) = raw(&server, "PATCH", &format!("{WIDGETS}/a"), &media, patch).await;
    let words = "the server rejected our request due to an error in our request";
    assert_eq!((code, &status["reason"], &status["message"]), (422, &json!("Invalid"), &json!(words)));
    assert_eq!(status["details"], json!({}));
}

#[tokio::test]
async fn who_may_not_is_told_so() {
    let server = server().await;
    let viewer = Identity::new("eve", &["nobody"]);
    let (code, status) = raw_as(&server, viewer, "GET", &format!("{WIDGETS}/a"), &[], "").await;
    assert_eq!(code, 403);
    assert_eq!(
        status["message"],
        "widgets.demo.example.com \"a\" is forbidden: User \"eve\" cannot get resource \"widgets\" in API group \"demo.example.com\" in the namespace \"default\""
    );
    let (code, _) = raw_as(&server, Identity::anonymous(), "GET", "/version", &[], "").await;
    assert_eq!(code, 200);
    let (code, _) =
        raw_as(&server, Identity::anonymous(), "GET", WIDGETS, &[("authorization", "Bearer x")], "").await;
    assert_eq!(code, 401);
}

// rule: O7
#[tokio::test]
async fn a_rollout_approval_names_the_user_that_creates_it_and_no_other() {
    let server = server().await;
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "rolloutapprovals.muster.dev"},
        "spec": {
            "group": "muster.dev", "scope": "Namespaced",
            "names": {"plural": "rolloutapprovals", "singular": "rolloutapproval", "kind": "RolloutApproval"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object",
                "properties": {"spec": {"type": "object", "properties": {"by": {"type": "string"}}}},
            }}}],
        },
    });
    server.apply_crds(&[definition]).await.unwrap();
    let say = async |name: &str, by: &str| {
        let path = "/apis/muster.dev/v1alpha1/namespaces/default/rolloutapprovals";
        let body = json!({
            "apiVersion": "muster.dev/v1alpha1", "kind": "RolloutApproval",
            "metadata": {"name": name}, "spec": {"by": by},
        });
        let alice = Identity::new("alice", &["muster:admin"]);
        raw_as(&server, alice, "POST", path, JSON, &body.to_string()).await
    };
    assert_eq!(say("mine", "alice").await.0, 201);
    let (status, answer) = say("forged", "bob").await;
    assert_eq!(status, 422, "{answer}");
    assert!(
        answer["message"].as_str().unwrap().contains("must be the user that creates it: alice"),
        "{answer}"
    );
}

#[tokio::test]
async fn an_apply_that_makes_an_object_needs_the_right_to_create_it() {
    let server = server().await;
    let mut definition = crate::support::definition();
    definition["metadata"]["name"] = "activities.muster.dev".into();
    definition["spec"]["group"] = "muster.dev".into();
    definition["spec"]["names"] = json!({"plural": "activities", "singular": "activity", "kind": "Activity"});
    server.apply_crds(&[definition]).await.unwrap();
    let version = "muster.dev/v1";
    let path = format!("/apis/{version}/namespaces/default/activities/a");
    let apply = async |user: &str, group: &str, dry: &str| {
        let path = format!("{path}?fieldManager={user}{dry}");
        let object = json!({"apiVersion": version, "kind": "Activity", "metadata": {"name": "a"}});
        let media = [("content-type", "application/apply-patch+yaml")];
        raw_as(&server, Identity::new(user, &[group]), "PATCH", &path, &media, &object.to_string()).await
    };
    // Editors may patch activities, to cancel them, and not make any.
    for dry in ["", "&dryRun=All"] {
        let (code, status) = apply("eve", "muster:editor", dry).await;
        assert_eq!(code, 403);
        assert_eq!(
            status["message"],
            "activities.muster.dev \"a\" is forbidden: User \"eve\" cannot create resource \"activities\" in API group \"muster.dev\" in the namespace \"default\""
        );
    }
    assert_eq!(raw(&server, "GET", &path, &[], "").await.0, 404);
    assert_eq!(apply("ann", "muster:admin", "").await.0, 201);
    assert_eq!(apply("eve", "muster:editor", "").await.0, 200);
}

#[tokio::test]
async fn a_definition_that_the_process_works_with_cannot_be_deleted() {
    const PATH: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let server = server().await;
    let mut other = crate::support::definition();
    other["metadata"]["name"] = "others.example.org".into();
    other["spec"]["group"] = "example.org".into();
    other["spec"]["names"] = json!({"plural": "others", "singular": "other", "kind": "Other"});
    assert_eq!(raw(&server, "POST", PATH, JSON, &other.to_string()).await.0, 201);
    let delete = async |path: &str| raw(&server, "DELETE", &format!("{PATH}{path}"), &[], "").await;
    for path in ["/widgets.demo.example.com", "/widgets.demo.example.com?dryRun=All", "", "?dryRun=All"] {
        let (code, status) = delete(path).await;
        assert_eq!(
            (code, status["message"].as_str().unwrap()),
            (
                403,
                "customresourcedefinitions.apiextensions.k8s.io \"widgets.demo.example.com\" is forbidden: this definition may not be deleted while the server's own process works with it; to delete its objects: kubectl delete widgets.demo.example.com --all"
            )
        );
    }
    // A collection with one such in it is left as it is.
    create(&widgets(&server), "a").await;
    assert_eq!(raw(&server, "GET", &format!("{PATH}/others.example.org"), &[], "").await.0, 200);
    assert_eq!(delete("/others.example.org").await.0, 200);
}
