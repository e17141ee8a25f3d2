//! Every verb on every kind in every situation: the table in docs/api-matrix.md is what this test was answered.
//! `UPDATE_EXPECT=1` writes it anew.

use std::fmt::Write as _;

use expect_test::expect_file;
use muster_apiserver::{ApiServer, Config, Identity};
use serde_json::{Value, json};

use crate::support::{definition, raw_as};

/// A kind, where it lives, and what makes an object of it (beside its name).
struct Kind {
    name: &'static str,
    api_version: &'static str,
    path: &'static str,
    content: Value,
    /// A change that its rules forbid, if a rule can.
    forbidden: Value,
}

fn kinds() -> Vec<Kind> {
    let kind =
        |name, api_version, path, content, forbidden| Kind { name, api_version, path, content, forbidden };
    let about = json!({"namespace": "default", "kind": "ConfigMap", "name": "x"});
    let thing = definition();
    vec![
        kind(
            "Widget",
            "demo.example.com/v1",
            "/apis/demo.example.com/v1/namespaces/default/widgets",
            json!({"spec": {"size": 2}}),
            json!({"spec": {"size": 13}}),
        ),
        kind(
            "Namespace",
            "v1",
            "/api/v1/namespaces",
            json!({}),
            json!({"metadata": {"labels": {"a b": "c"}}}),
        ),
        kind(
            "ConfigMap",
            "v1",
            "/api/v1/namespaces/default/configmaps",
            json!({"data": {"a": "1"}}),
            json!({"metadata": {"labels": {"a b": "c"}}}),
        ),
        kind(
            "Secret",
            "v1",
            "/api/v1/namespaces/default/secrets",
            json!({"stringData": {"a": "1"}}),
            json!({"type": "other"}),
        ),
        kind(
            "Event",
            "v1",
            "/api/v1/namespaces/default/events",
            json!({"involvedObject": about, "message": "m"}),
            json!({"message": "x".repeat(2000)}),
        ),
        kind(
            "Event (events.k8s.io)",
            "events.k8s.io/v1",
            "/apis/events.k8s.io/v1/namespaces/default/events",
            json!({"regarding": about, "note": "n", "eventTime": "2026-01-01T00:00:00.000000Z", "action": "a", "reason": "r", "type": "Normal", "reportingController": "c", "reportingInstance": "i"}),
            json!({"metadata": {"labels": {"a b": "c"}}}),
        ),
        kind(
            "Lease",
            "coordination.k8s.io/v1",
            "/apis/coordination.k8s.io/v1/namespaces/default/leases",
            json!({"spec": {"holderIdentity": "a"}}),
            json!({"metadata": {"labels": {"a b": "c"}}}),
        ),
        kind(
            "CustomResourceDefinition",
            "apiextensions.k8s.io/v1",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            json!({"spec": thing["spec"]}),
            json!({"spec": {"scope": "Galaxy"}}),
        ),
    ]
}

struct Asker {
    server: ApiServer,
    kind: Kind,
}

impl Asker {
    fn name(&self, name: &str) -> String {
        if self.kind.name == "CustomResourceDefinition" {
            format!("{name}s.{name}.example.com")
        } else {
            name.to_owned()
        }
    }

    fn object(&self, name: &str) -> Value {
        let mut object = json!({"apiVersion": self.kind.api_version, "kind": self.kind.name.split(' ').next(), "metadata": {"name": self.name(name)}});
        json_patch::merge(&mut object, &self.kind.content);
        if self.kind.name == "CustomResourceDefinition" {
            let kind = format!("K{name}");
            let names = json!({"plural": format!("{name}s"), "singular": name, "kind": kind, "listKind": format!("{kind}List"), "shortNames": null});
            json_patch::merge(
                &mut object,
                &json!({"spec": {"group": format!("{name}.example.com"), "names": names}}),
            );
        }
        object
    }

    async fn ask(&self, who: &Identity, method: &str, path: &str, media: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        raw_as(&self.server, who.clone(), method, path, &[("content-type", media)], &body).await
    }

    /// As an administrator; the code.
    async fn code(&self, method: &str, path: &str, media: &str, body: &Value) -> u16 {
        self.ask(&Identity::admin("matrix"), method, path, media, body).await.0
    }

    async fn denied(&self, method: &str, path: &str, media: &str) -> u16 {
        self.ask(&Identity::new("nobody", &[]), method, path, media, &json!({})).await.0
    }

    /// Each verb with the codes of its situations.
    async fn rows(&self) -> Vec<(&'static str, Vec<u16>)> {
        const JSON: &str = "application/json";
        const MERGE: &str = "application/merge-patch+json";
        const PATCH: &str = "application/json-patch+json";
        const STRATEGIC: &str = "application/strategic-merge-patch+json";
        const APPLY: &str = "application/apply-patch+yaml";
        let all = self.kind.path.to_owned();
        let one = |name: &str| format!("{all}/{}", self.name(name));
        let mut bad = self.object("a");
        bad["metadata"]["name"] = "Not A Name".into();
        let label = json!({"metadata": {"labels": {"l": "1"}}});
        let stale = json!({"metadata": {"labels": {"l": "2"}, "resourceVersion": "1"}});
        let mut rows = Vec::new();
        rows.push((
            "create: done, exists, invalid, not allowed",
            vec![
                self.code("POST", &all, JSON, &self.object("a")).await,
                self.code("POST", &all, JSON, &self.object("a")).await,
                self.code("POST", &all, JSON, &bad).await,
                self.denied("POST", &all, JSON).await,
            ],
        ));
        rows.push((
            "get: done, missing, not allowed",
            vec![
                self.code("GET", &one("a"), JSON, &Value::Null).await,
                self.code("GET", &one("none"), JSON, &Value::Null).await,
                self.denied("GET", &one("a"), JSON).await,
            ],
        ));
        rows.push((
            "list: done, a bad selector, not allowed",
            vec![
                self.code("GET", &all, JSON, &Value::Null).await,
                self.code("GET", &format!("{all}?fieldSelector=no.such=x"), JSON, &Value::Null).await,
                self.denied("GET", &all, JSON).await,
            ],
        ));
        let watch = format!("{all}?watch=1&timeoutSeconds=1&resourceVersion=");
        let (_, gone) = self
            .ask(&Identity::admin("matrix"), "GET", &format!("{watch}999999999"), JSON, &Value::Null)
            .await;
        rows.push((
            "watch: done, a lost version (in the stream), a bad selector, not allowed",
            vec![
                self.code("GET", &watch, JSON, &Value::Null).await,
                gone["object"]["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or_default(),
                self.code("GET", &format!("{watch}&fieldSelector=no.such=x"), JSON, &Value::Null).await,
                self.denied("GET", &watch, JSON).await,
            ],
        ));
        let (_, live) = self.ask(&Identity::admin("matrix"), "GET", &one("a"), JSON, &Value::Null).await;
        let changed = |change: &Value| {
            let mut object = live.clone();
            json_patch::merge(&mut object, change);
            object
        };
        rows.push((
            "update: done, missing, stale, invalid, not allowed",
            vec![
                self.code("PUT", &one("a"), JSON, &changed(&label)).await,
                self.code("PUT", &one("none"), JSON, &self.object("none")).await,
                self.code("PUT", &one("a"), JSON, &changed(&stale)).await,
                self.code(
                    "PUT",
                    &one("a"),
                    JSON,
                    &changed(&json!({"metadata": {"resourceVersion": null, "labels": {"a b": "c"}}})),
                )
                .await,
                self.denied("PUT", &one("a"), JSON).await,
            ],
        ));
        rows.push((
            "patch (merge): done, missing, stale, invalid, not allowed",
            vec![
                self.code("PATCH", &one("a"), MERGE, &json!({"metadata": {"labels": {"m": "1"}}})).await,
                self.code("PATCH", &one("missing"), MERGE, &label).await,
                self.code("PATCH", &one("a"), MERGE, &stale).await,
                self.code("PATCH", &one("a"), MERGE, &self.kind.forbidden).await,
                self.denied("PATCH", &one("a"), MERGE).await,
            ],
        ));
        rows.push((
            "patch (JSON): done, missing, a test that fails",
            vec![
                self.code(
                    "PATCH",
                    &one("a"),
                    PATCH,
                    &json!([{"op": "add", "path": "/metadata/labels/j", "value": "1"}]),
                )
                .await,
                self.code("PATCH", &one("missing"), PATCH, &json!([])).await,
                self.code(
                    "PATCH",
                    &one("a"),
                    PATCH,
                    &json!([{"op": "test", "path": "/metadata/name", "value": "other"}]),
                )
                .await,
            ],
        ));
        rows.push((
            "patch (strategic): done or not for this kind",
            vec![
                self.code("PATCH", &one("a"), STRATEGIC, &json!({"metadata": {"labels": {"s": "1"}}})).await,
            ],
        ));
        let applied = |value: &str| {
            let mut object = self.object("applied");
            object["metadata"]["labels"] = json!({"l": value});
            object
        };
        let path = |manager: &str| format!("{}?fieldManager={manager}", one("applied"));
        rows.push((
            "apply: made, again, conflict, forced, without a manager, not allowed",
            vec![
                self.code("PATCH", &path("one"), APPLY, &applied("1")).await,
                self.code("PATCH", &path("one"), APPLY, &applied("1")).await,
                self.code("PATCH", &path("two"), APPLY, &applied("2")).await,
                self.code("PATCH", &format!("{}&force=true", path("two")), APPLY, &applied("2")).await,
                self.code("PATCH", &one("applied"), APPLY, &applied("2")).await,
                self.denied("PATCH", &path("one"), APPLY).await,
            ],
        ));
        rows.push((
            "status: get, patch, not allowed",
            vec![
                self.code("GET", &format!("{}/status", one("a")), JSON, &Value::Null).await,
                self.code("PATCH", &format!("{}/status", one("a")), MERGE, &json!({})).await,
                self.denied("GET", &format!("{}/status", one("a")), JSON).await,
            ],
        ));
        rows.push((
            "delete: missing, another uid, done, not allowed",
            vec![
                self.code("DELETE", &one("missing"), JSON, &json!({})).await,
                self.code("DELETE", &one("a"), JSON, &json!({"preconditions": {"uid": "other"}})).await,
                self.code("DELETE", &one("a"), JSON, &json!({})).await,
                self.denied("DELETE", &one("a"), JSON).await,
            ],
        ));
        rows.push((
            "deletecollection: done or not for this kind, not allowed",
            vec![
                self.code("DELETE", &format!("{all}?labelSelector=l=2"), JSON, &json!({})).await,
                self.denied("DELETE", &all, JSON).await,
            ],
        ));
        rows
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_on_every_kind_in_every_situation() {
    let mut names = Vec::new();
    let mut table: Vec<(&str, Vec<String>)> = Vec::new();
    for kind in kinds() {
        let server = ApiServer::open(Config::default()).await.unwrap();
        server.apply_crds(&[definition()]).await.unwrap();
        names.push(kind.name);
        for (index, (verb, codes)) in (Asker { server, kind }).rows().await.into_iter().enumerate() {
            if table.len() == index {
                table.push((verb, vec![]));
            }
            let situations =
                verb.split_once(": ").map_or(0, |(_, situations)| situations.split(", ").count());
            assert_eq!(situations, codes.len(), "{verb} on {}: an empty cell", names[names.len() - 1]);
            assert!(codes.iter().all(|code| *code >= 200), "{verb} on {}: no answer", names[names.len() - 1]);
            let codes: Vec<String> = codes.iter().map(u16::to_string).collect();
            table[index].1.push(codes.join(" "));
        }
    }
    let mut text = String::from("# Verbs and kinds of the embedded API\n\n");
    text.push_str("What each verb answers on each kind, in the situations that the first column names, in that order.\n");
    text.push_str("Written by `crates/apiserver/tests/it/matrix.rs`, which asks all of it; never edited. Widget stands for any kind\n");
    text.push_str("that a definition adds, Muster's own included. Reviews (access, rules, who am I) can be created, and nothing else.\n\n");
    let _ = writeln!(text, "| verb | {} |", names.join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(names.len()));
    for (verb, cells) in table {
        let _ = writeln!(text, "| {verb} | {} |", cells.join(" | "));
    }
    expect_file!["../../../../docs/api-matrix.md"].assert_eq(&text);
}
