//! What kube-rs's own examples do (define and apply a kind, watch, control with a finalizer, lead by a lease, go
//! without types), call by call.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{
    Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::core::{ObjectMeta, PartialObjectMetaExt as _};
use kube::discovery::{Discovery, Scope, verbs};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::finalizer::{Event as Finalizer, finalizer};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, CustomResource, CustomResourceExt as _, Resource as _, ResourceExt as _};
use muster_apiserver::{ApiServer, Config};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::support::client;

/// A document.
#[derive(CustomResource, Deserialize, Serialize, Clone, Debug, schemars::JsonSchema)]
#[kube(
    group = "kube.rs",
    version = "v1",
    kind = "Document",
    namespaced,
    shortname = "doc",
    status = "DocumentStatus"
)]
pub(crate) struct DocumentSpec {
    title: String,
    #[serde(default)]
    hide: bool,
}

/// What is so.
#[derive(Deserialize, Serialize, Clone, Default, Debug, schemars::JsonSchema)]
pub(crate) struct DocumentStatus {
    hidden: bool,
}

const DEFINITION: &str = "documents.kube.rs";

/// crd_apply: a definition by server-side apply, waited for, used at once.
async fn documents(client: &Client) -> Api<Document> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = PatchParams::apply("crd_apply_example").force();
    definitions.patch(DEFINITION, &params, &Patch::Apply(Document::crd())).await.unwrap();
    let established = await_condition(definitions, DEFINITION, conditions::is_crd_established());
    tokio::time::timeout(Duration::from_secs(10), established).await.unwrap().unwrap();
    Api::default_namespaced(client.clone())
}

fn document(name: &str) -> Document {
    Document::new(name, DocumentSpec { title: name.to_owned(), hide: false })
}

async fn open() -> (ApiServer, Client) {
    let server = ApiServer::open(Config::default()).await.unwrap();
    let client = client(&server);
    (server, client)
}

#[tokio::test]
async fn a_definition_is_applied_used_and_deleted_with_its_objects() {
    let (_server, client) = open().await;
    let api = documents(&client).await;
    let params = PatchParams::apply("crd_apply_example").force();
    let patch = Patch::Apply(document("guide"));
    let applied = api.patch("guide", &params, &patch).await.unwrap();
    assert_eq!(
        api.patch("guide", &params, &patch).await.unwrap().resource_version(),
        applied.resource_version()
    );
    let status =
        Patch::Apply(json!({"apiVersion": "kube.rs/v1", "kind": "Document", "status": {"hidden": true}}));
    let with_status = api.patch_status("guide", &params, &status).await.unwrap();
    assert!(with_status.status.unwrap().hidden);
    // crd_api: replace with a version that is out of date.
    let mut stale = applied.clone();
    stale.spec.hide = true;
    let refused = api.replace("guide", &PostParams::default(), &stale).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.is_conflict()));
    // crd_derive_schema: what the schema forbids.
    let wrong = Patch::Merge(json!({"spec": {"title": 5}}));
    let refused = api.patch("guide", &PatchParams::default(), &wrong).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.is_invalid()));
    let deleted = api.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    assert!(deleted.left().is_some_and(|list| list.items.len() == 1));
    let definitions: Api<CustomResourceDefinition> = Api::all(client);
    let gone = definitions.delete(DEFINITION, &DeleteParams::default()).await.unwrap();
    let uid = gone.left().and_then(|definition| definition.metadata.uid);
    if let Some(uid) = uid {
        await_condition(definitions, DEFINITION, conditions::is_deleted(&uid)).await.unwrap();
    }
    let refused = api.list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 404));
}

#[tokio::test]
async fn reflectors_follow_with_metadata_alone_as_well() {
    let (_server, client) = open().await;
    let api = documents(&client).await;
    let (reader, writer) = reflector::store();
    let stream = watcher(api.clone(), watcher::Config::default().any_semantic())
        .default_backoff()
        .modify(|document| document.managed_fields_mut().clear())
        .reflect(writer)
        .applied_objects();
    let mut stream = std::pin::pin!(stream);
    let mut partial = std::pin::pin!(
        watcher(
            Api::<kube::api::PartialObjectMeta<Document>>::default_namespaced(client),
            watcher::Config::default().labels("shown")
        )
        .touched_objects()
    );
    let mut labelled = document("a");
    labelled.metadata.labels = Some([("shown".to_owned(), String::new())].into());
    api.create(&PostParams::default(), &labelled).await.unwrap();
    api.create(&PostParams::default(), &document("b")).await.unwrap();
    let follow = async {
        while let Some(document) = stream.next().await {
            document.unwrap();
        }
    };
    tokio::select! {
        () = follow => panic!("a watcher does not end"),
        ready = reader.wait_until_ready() => ready.unwrap(),
    }
    let mut names: Vec<String> = reader.state().iter().map(|document| document.name_any()).collect();
    names.sort();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(partial.next().await.unwrap().unwrap().name_any(), "a");
}

struct World {
    client: Client,
}

async fn reconcile(
    document: Arc<Document>,
    world: Arc<World>,
) -> Result<Action, kube::runtime::finalizer::Error<kube::Error>> {
    let namespace = document.namespace().unwrap_or_default();
    let documents: Api<Document> = Api::namespaced(world.client.clone(), &namespace);
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), &namespace);
    finalizer(&documents, "documents.kube.rs/cleanup", document, |event| async {
        match event {
            Finalizer::Apply(document) => {
                let map = ConfigMap {
                    metadata: ObjectMeta {
                        name: Some(document.name_any()),
                        owner_references: document.controller_owner_ref(&()).map(|owner| vec![owner]),
                        ..ObjectMeta::default()
                    },
                    data: Some([("title".to_owned(), document.spec.title.clone())].into()),
                    ..ConfigMap::default()
                };
                maps.patch(&document.name_any(), &PatchParams::apply("cntrlr"), &Patch::Apply(map)).await?;
                let status = json!({"status": DocumentStatus { hidden: document.spec.hide }});
                documents
                    .patch_status(&document.name_any(), &PatchParams::default(), &Patch::Merge(status))
                    .await?;
            }
            Finalizer::Cleanup(document) => {
                let patch = Patch::Merge(json!({"metadata": {"labels": {"left-by": document.name_any()}}}));
                let mark: Api<ConfigMap> = Api::namespaced(world.client.clone(), "kube-public");
                mark.patch("cleaned", &PatchParams::default(), &patch).await?;
            }
        }
        Ok(Action::requeue(Duration::from_secs(300)))
    })
    .await
}

#[tokio::test]
async fn a_controller_with_a_finalizer_makes_repairs_and_cleans_up() {
    let (_server, client) = open().await;
    let api = documents(&client).await;
    let public: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-public");
    let cleaned = ConfigMap {
        metadata: ObjectMeta { name: Some("cleaned".to_owned()), ..ObjectMeta::default() },
        ..ConfigMap::default()
    };
    public.create(&PostParams::default(), &cleaned).await.unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let controller = Controller::new(api.clone(), watcher::Config::default())
        .owns(maps.clone(), watcher::Config::default())
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_millis(50)), Arc::new(World { client }))
        .for_each(|_| std::future::ready(()));
    let running = tokio::spawn(controller);
    let guide = api.create(&PostParams::default(), &document("guide")).await.unwrap();
    let has_status = |document: Option<&Document>| document.is_some_and(|document| document.status.is_some());
    await_condition(api.clone(), "guide", has_status).await.unwrap();
    // What belongs to it comes back.
    let map = maps.get("guide").await.unwrap();
    maps.delete("guide", &DeleteParams::default()).await.unwrap();
    let other = |again: Option<&ConfigMap>| again.is_some_and(|again| again.uid() != map.uid());
    await_condition(maps.clone(), "guide", other).await.unwrap();
    // It goes only when it has been cleaned up after, and takes what belongs to it along.
    api.delete("guide", &DeleteParams::background()).await.unwrap();
    let uid = guide.uid().unwrap();
    await_condition(api, "guide", conditions::is_deleted(&uid)).await.unwrap();
    assert_eq!(public.get("cleaned").await.unwrap().labels()["left-by"], "guide");
    let collected = |map: Option<&ConfigMap>| map.is_none();
    await_condition(maps, "guide", collected).await.unwrap();
    running.abort();
}

#[tokio::test]
async fn one_of_two_candidates_leads() {
    let (_server, client) = open().await;
    let api: Api<Lease> = Api::default_namespaced(client);
    let now = MicroTime(k8s_openapi::jiff::Timestamp::now());
    let lease = |holder: &str| Lease {
        metadata: ObjectMeta { name: Some("leader".to_owned()), ..ObjectMeta::default() },
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            renew_time: Some(now.clone()),
            ..LeaseSpec::default()
        }),
    };
    let claim = |holder: &'static str| {
        let (api, lease) = (api.clone(), lease(holder));
        async move { api.create(&PostParams::default(), &lease).await }
    };
    let (one, two) = tokio::join!(claim("one"), claim("two"));
    assert!(one.is_ok() != two.is_ok(), "exactly one makes it");
    let (held, refused) = match (one, two) {
        (Ok(held), Err(refused)) | (Err(refused), Ok(held)) => (held, refused),
        _ => unreachable!(),
    };
    assert!(matches!(refused, kube::Error::Api(status) if status.is_already_exists()));
    // By server-side apply the holder is a field that its manager owns.
    let apply = |who: &'static str| (PatchParams::apply(who), Patch::Apply(lease(who)));
    let (params, patch) = apply("three");
    let refused = api.patch("leader", &params, &patch).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.is_conflict()));
    let taken = api.patch("leader", &params.force(), &patch).await.unwrap();
    assert_eq!(taken.spec.unwrap().holder_identity.as_deref(), Some("three"));
    let refused = api.replace("leader", &PostParams::default(), &held).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.is_conflict()));
}

#[tokio::test]
async fn everything_is_found_and_read_without_types() {
    let (_server, client) = open().await;
    documents(&client).await.create(&PostParams::default(), &document("guide")).await.unwrap();
    let mut seen = Vec::new();
    for discovery in [
        Discovery::new(client.clone()).run().await.unwrap(),
        Discovery::new(client.clone()).run_aggregated().await.unwrap(),
    ] {
        for group in discovery.groups() {
            for (resource, capabilities) in group.recommended_resources() {
                if !capabilities.supports_operation(verbs::LIST) {
                    continue;
                }
                let api: Api<DynamicObject> = if capabilities.scope == Scope::Cluster {
                    Api::all_with(client.clone(), &resource)
                } else {
                    Api::default_namespaced_with(client.clone(), &resource)
                };
                let count = api.list(&ListParams::default()).await.unwrap().items.len();
                let version = api.list_metadata(&ListParams::default()).await.unwrap();
                assert!(version.metadata.resource_version.is_some());
                seen.push(format!("{} {count}", resource.kind));
            }
        }
    }
    seen.sort();
    let expected = [
        "ConfigMap 0",
        "CustomResourceDefinition 1",
        "Document 1",
        "Event 0",
        "Lease 0",
        "Namespace 4",
        "Secret 0",
    ];
    for line in expected {
        let times = seen.iter().filter(|one| *one == line).count();
        let wanted = if line == "Event 0" { 4 } else { 2 };
        assert_eq!(times, wanted, "{line} in {seen:?}");
    }
    // errorbounded_configmap_watcher, pod_watcher: raw watches with bookmarks.
    let api: Api<DynamicObject> =
        Api::default_namespaced_with(client, &kube::core::ApiResource::erase::<Document>(&()));
    let stream = api.watch(&WatchParams::default().timeout(1), "0").await.unwrap();
    let events: Vec<WatchEvent<DynamicObject>> = stream.try_collect().await.unwrap();
    assert!(matches!(&events[0], WatchEvent::Added(object) if object.name_any() == "guide"));
    let reference: ObjectRef<DynamicObject> =
        ObjectRef::new_with("guide", kube::core::ApiResource::erase::<Document>(&()));
    assert_eq!(reference.name, "guide");
    let meta =
        ObjectMeta { labels: Some([("a".to_owned(), "b".to_owned())].into()), ..ObjectMeta::default() };
    let patch = meta.into_request_partial::<Document>();
    let patched = api.patch_metadata("guide", &PatchParams::apply("m"), &Patch::Apply(&patch)).await.unwrap();
    assert_eq!(patched.labels()["a"], "b");
}

/// crd_api: a kind that can be scaled.
mod fleet {
    use super::{CustomResource, Deserialize, Serialize};

    /// Workers.
    #[derive(CustomResource, Deserialize, Serialize, Clone, Debug, schemars::JsonSchema)]
    #[kube(group = "kube.rs", version = "v1", kind = "Pool", namespaced, status = "PoolStatus")]
    #[kube(scale(
        spec_replicas_path = ".spec.workers.wanted",
        status_replicas_path = ".status.running",
        label_selector_path = ".status.selector"
    ))]
    pub(crate) struct PoolSpec {
        pub workers: Workers,
    }

    /// How many.
    #[derive(Deserialize, Serialize, Clone, Default, Debug, schemars::JsonSchema)]
    pub(crate) struct Workers {
        pub wanted: Option<i32>,
    }

    /// What is so.
    #[derive(Deserialize, Serialize, Clone, Default, Debug, schemars::JsonSchema)]
    pub(crate) struct PoolStatus {
        pub running: i32,
        pub selector: String,
    }
}

#[tokio::test]
async fn an_object_is_scaled_wherever_its_kind_keeps_the_number() {
    use fleet::{Pool, PoolSpec, Workers};
    let (_server, client) = open().await;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.create(&PostParams::default(), &Pool::crd()).await.unwrap();
    let api: Api<Pool> = Api::default_namespaced(client.clone());
    let (post, plain) = (PostParams::default(), PatchParams::default());
    let wants = |wanted| Pool::new("web", PoolSpec { workers: Workers { wanted } });
    let made = api.create(&post, &wants(None)).await.unwrap();
    // Nobody has said how many: there is nothing to show, but it can be said.
    let refused = api.get_scale("web").await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 500));
    let set = Patch::Merge(json!({"spec": {"replicas": 2}}));
    let scale = api.patch_scale("web", &plain, &set).await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(2));
    assert_eq!((scale.metadata.uid, scale.metadata.labels), (made.uid(), None));
    let status = json!({"status": {"running": 1, "selector": "app=web"}});
    api.patch_status("web", &plain, &Patch::Merge(status)).await.unwrap();
    let mut scale = api.get_scale("web").await.unwrap();
    let told = scale.status.clone().unwrap();
    assert_eq!((told.replicas, told.selector.as_deref()), (1, Some("app=web")));
    // On the version that it was read from, and on no other.
    scale.spec.as_mut().unwrap().replicas = Some(3);
    let replaced = api.replace_scale("web", &post, &scale).await.unwrap();
    assert_eq!(replaced.spec.unwrap().replicas, Some(3));
    let refused = api.replace_scale("web", &post, &scale).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.is_conflict()));
    let pool = api.get("web").await.unwrap();
    assert_eq!((pool.spec.workers.wanted, pool.status.clone().unwrap().running), (Some(3), 1));
    let owner = pool.managed_fields().iter().find(|one| one.subresource.as_deref() == Some("scale")).unwrap();
    let fields = &owner.fields_v1.as_ref().unwrap().0;
    assert_eq!(*fields, json!({"f:spec": {"f:workers": {"f:wanted": {}}}}));
    // Through whichever door: no number that is none.
    let refused = api.patch_scale("web", &plain, &Patch::Merge(json!({"spec": {"replicas": -1}}))).await;
    assert!(matches!(refused.unwrap_err(), kube::Error::Api(status) if status.is_invalid()));
    let refused = api.patch("web", &plain, &Patch::Merge(wants(Some(-1)))).await.unwrap_err();
    let said = ".spec.workers.wanted: Invalid value: -1: should be a non-negative integer";
    assert!(matches!(refused, kube::Error::Api(status) if status.message.contains(said)));
}

/// crd_derive_multi: a kind in two versions of which neither can hold all of the other.
mod report {
    use super::{CustomResource, Deserialize, Serialize};

    /// The old one.
    #[derive(CustomResource, Deserialize, Serialize, Clone, Debug, schemars::JsonSchema)]
    #[kube(group = "kube.rs", version = "v1", kind = "Report", root = "Earlier", namespaced)]
    pub(crate) struct EarlierSpec {
        pub name: String,
        pub pages: u32,
    }

    /// The new one.
    #[derive(CustomResource, Deserialize, Serialize, Clone, Debug, schemars::JsonSchema)]
    #[kube(group = "kube.rs", version = "v2", kind = "Report", root = "Later", namespaced)]
    pub(crate) struct LaterSpec {
        pub name: String,
        pub extra: Option<String>,
    }
}

#[tokio::test]
async fn an_object_keeps_what_the_stored_version_can_hold() {
    use report::{Earlier, EarlierSpec, Later, LaterSpec};
    let (_server, client) = open().await;
    let params = PatchParams::apply("crd_derive_multi").force();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let store_as = |version: &'static str| {
        let (definitions, params) = (definitions.clone(), params.clone());
        async move {
            let merged = kube::core::crd::merge_crds(vec![Earlier::crd(), Later::crd()], version).unwrap();
            definitions.patch("reports.kube.rs", &params, &Patch::Apply(&merged)).await.unwrap();
        }
    };
    let old: Api<Earlier> = Api::default_namespaced(client.clone());
    let new: Api<Later> = Api::default_namespaced(client);
    let in_old = Patch::Apply(Earlier::new("a", EarlierSpec { name: "a".to_owned(), pages: 5 }));
    let in_new =
        Patch::Apply(Later::new("b", LaterSpec { name: "b".to_owned(), extra: Some("more".to_owned()) }));
    store_as("v1").await;
    assert_eq!(old.patch("a", &params, &in_old).await.unwrap().spec.pages, 5);
    assert_eq!(new.patch("b", &params, &in_new).await.unwrap().spec.extra, None);
    store_as("v2").await;
    // What is there already stays as it is until it is written.
    assert_eq!(old.get("a").await.unwrap().spec.pages, 5);
    assert_eq!(new.patch("b", &params, &in_new).await.unwrap().spec.extra.as_deref(), Some("more"));
    let longer = Patch::Apply(Earlier::new("a", EarlierSpec { name: "longer".to_owned(), pages: 6 }));
    let refused = old.patch("a", &params, &longer).await.unwrap_err();
    assert!(matches!(refused, kube::Error::SerdeError(_)), "{refused}");
    let kept = new.get("a").await.unwrap();
    assert_eq!((kept.spec.name.as_str(), kept.metadata.generation), ("longer", Some(2)));
    // The same again through the version that cannot hold it all changes nothing.
    assert!(old.patch("a", &params, &longer).await.is_err());
    assert_eq!(new.get("a").await.unwrap().resource_version(), kept.resource_version());
}
