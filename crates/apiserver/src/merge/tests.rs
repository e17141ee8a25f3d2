//! Stories of who owns what.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use muster_schema::CompiledSchema;
use serde_json::{Value, json};

use super::*;

const NOON: &str = "2024-05-01T12:00:00Z";
const LATER: &str = "2024-05-01T13:00:00Z";

fn at(time: &str) -> Timestamp {
    time.parse().expect("the story's time is good")
}

fn manager(name: &str) -> Manager<'_> {
    Manager { name, api_version: "v1", subresource: "", now: at(NOON) }
}

fn rules() -> FieldRules {
    let item = json!({"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string"}, "number": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}}});
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "pool": {"type": "string"}, "size": {"type": "integer"},
            "limits": {"type": "object", "additionalProperties": {"type": "integer"}},
            "endpoint": {"type": "object", "x-kubernetes-map-type": "atomic",
                         "properties": {"host": {"type": "string"}, "port": {"type": "integer"}}},
            "args": {"type": "array", "items": {"type": "string"}},
            "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "ports": {"type": "array", "x-kubernetes-list-type": "map",
                      "x-kubernetes-list-map-keys": ["name", "protocol"], "items": item},
        }},
        "status": {"type": "object", "properties": {"phase": {"type": "string"}, "note": {"type": "string"}}},
    }});
    let schema = CompiledSchema::compile(&schema).expect("the stories' schema is good");
    FieldRules { schema: Some(Arc::new(schema)), has_status: true, skeleton: json!({}) }
}

fn object(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "a"}, "spec": spec})
}

fn applied(live: Option<&Value>, spec: Value, by: &str) -> Value {
    apply(&rules(), live, &object(spec), &manager(by), false).expect("the story's apply succeeds")
}

/// `name/operation[/subresource]: fields`, in the order of the list.
fn owners(object: &Value) -> Vec<String> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let line = |entry: &Value| {
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let sub = entry.get("subresource").map(|_| format!("/{}", text("subresource"))).unwrap_or_default();
        format!("{}/{}{sub}: {}", text("manager"), text("operation"), entry["fieldsV1"])
    };
    entries.into_iter().flatten().map(line).collect()
}

#[test]
fn what_is_created_by_apply_is_owned_field_by_field() {
    let made = applied(None, json!({"pool": "x", "limits": {"cpu": 1}, "endpoint": {"host": "h"}}), "one");
    assert_eq!(made["spec"], json!({"pool": "x", "limits": {"cpu": 1}, "endpoint": {"host": "h"}}));
    assert_eq!(
        made["metadata"]["managedFields"],
        json!([{"manager": "one", "operation": "Apply", "apiVersion": "v1", "time": NOON, "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {"f:endpoint": {}, "f:limits": {"f:cpu": {}}, "f:pool": {}}}}])
    );
}

/// A create books without sets what the difference to an empty object would be.
#[test]
fn whoever_makes_an_object_owns_all_that_an_empty_one_has_not() {
    let metadata = json!({"name": "a", "uid": "u", "generation": 1, "labels": {"x": "y"}, "annotations": {},
        "finalizers": ["x/y", "x/z", "x/y"], "ownerReferences": [{"uid": "1", "kind": "K"}, {"kind": "K"}]});
    let spec = json!({"pool": null, "size": "wrong", "limits": {"cpu": 1}, "endpoint": {"host": "h"}, "args": ["a"],
        "tags": ["q", {"no": "map"}, "r", "q"], "unknown": {"a": {"b": []}},
        "ports": [{"name": "x"}, {"name": "x", "protocol": "TCP"}, {"name": "y", "number": 1}, 7]});
    let objects = [
        json!({"apiVersion": "v1", "kind": "K", "metadata": metadata, "spec": spec, "status": {"phase": "x"}}),
        json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "a"}, "spec": {}, "status": {}}),
        json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "a"}, "spec": {"limits": "wrong"}, "status": {"note": {}}}),
        json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "a"}, "spec": {"tags": {}, "ports": [7]}}),
    ];
    for skeleton in [json!({}), json!({"spec": {}}), json!({"spec": {"limits": {}}, "status": {}})] {
        for (has_status, schema) in [(true, rules().schema), (false, rules().schema), (false, None)] {
            let rules = FieldRules { schema, has_status, skeleton: skeleton.clone() };
            let mut empty = json!({"apiVersion": "v1", "kind": "K"});
            json_patch::merge(&mut empty, &rules.skeleton);
            for object in &objects {
                let mut by_sets = Managers::new();
                track(&rules, &empty, object, &mut by_sets, &manager("one"));
                let mut expected = object.clone();
                managers::write(&mut expected, &by_sets);
                assert_eq!(owners(&update(&rules, None, object.clone(), &manager("one"))), owners(&expected));
            }
        }
    }
}

#[test]
fn applying_the_same_again_returns_the_live_object_with_its_old_time() {
    let live = applied(None, json!({"pool": "x", "tags": ["a"]}), "one");
    let later = Manager { now: at(LATER), ..manager("one") };
    let again = apply(&rules(), Some(&live), &object(json!({"pool": "x", "tags": ["a"]})), &later, false);
    assert_eq!(again, Ok(live));
}

#[test]
fn a_second_manager_may_agree_but_not_change() {
    let live = applied(None, json!({"pool": "x", "size": 1}), "one");
    let shared = applied(Some(&live), json!({"pool": "x"}), "two");
    assert_eq!(
        owners(&shared),
        [r#"two/Apply: {"f:spec":{"f:pool":{}}}"#, r#"one/Apply: {"f:spec":{"f:pool":{},"f:size":{}}}"#]
    );
    let conflict = apply(&rules(), Some(&live), &object(json!({"pool": "y"})), &manager("two"), false);
    let conflict = conflict.expect_err("one owns the pool");
    assert_eq!(conflict, MergeError::Conflict(vec![("\"one\"".to_owned(), ".spec.pool".to_owned())]));
    assert_eq!(conflict.to_string(), "Apply failed with 1 conflict: conflict with \"one\": .spec.pool");
}

#[test]
fn several_conflicts_are_listed_by_manager() {
    let live = applied(None, json!({"pool": "x", "size": 1}), "one");
    let live = update(&rules(), Some(&live), with(&live, "/spec/args", json!(["a"])), &manager("editor"));
    let wanted = object(json!({"pool": "y", "size": 2, "args": ["b"]}));
    let conflict =
        apply(&rules(), Some(&live), &wanted, &manager("two"), false).expect_err("others own all three");
    assert_eq!(
        conflict.to_string(),
        "Apply failed with 3 conflicts: conflicts with \"editor\" using v1:\n- .spec.args\n\
         conflicts with \"one\":\n- .spec.pool\n- .spec.size"
    );
}

#[test]
fn force_takes_the_field_and_leaves_the_rest() {
    let live = applied(None, json!({"pool": "x", "size": 1}), "one");
    let taken =
        apply(&rules(), Some(&live), &object(json!({"pool": "y"})), &manager("two"), true).expect("forced");
    assert_eq!(taken["spec"], json!({"pool": "y", "size": 1}));
    assert_eq!(
        owners(&taken),
        [r#"one/Apply: {"f:spec":{"f:size":{}}}"#, r#"two/Apply: {"f:spec":{"f:pool":{}}}"#]
    );
}

#[test]
fn a_field_given_up_goes_unless_another_owns_it() {
    let live = applied(None, json!({"pool": "x", "size": 1, "limits": {"a": 1, "b": 2}}), "one");
    let live = applied(Some(&live), json!({"size": 1, "limits": {"b": 2}}), "two");
    let left = applied(Some(&live), json!({}), "one");
    assert_eq!(left["spec"], json!({"size": 1, "limits": {"b": 2}}));
    assert_eq!(
        owners(&left),
        [r#"two/Apply: {"f:spec":{"f:limits":{"f:b":{}},"f:size":{}}}"#, r#"one/Apply: {"f:spec":{}}"#]
    );
}

#[test]
fn list_items_are_known_by_their_keys_with_defaults() {
    let live =
        applied(None, json!({"ports": [{"name": "a", "number": 1}, {"name": "b", "number": 2}]}), "one");
    let live = applied(Some(&live), json!({"ports": [{"name": "c", "number": 3}]}), "two");
    let live = applied(
        Some(&live),
        json!({"ports": [{"name": "d", "number": 4}, {"name": "a", "number": 1}]}),
        "one",
    );
    let names: Vec<&Value> =
        live["spec"]["ports"].as_array().into_iter().flatten().map(|p| &p["name"]).collect();
    assert_eq!(names, ["d", "a", "c"]);
    let wanted = object(json!({"ports": [{"name": "a", "protocol": "TCP", "number": 9}]}));
    let conflict =
        apply(&rules(), Some(&live), &wanted, &manager("two"), false).expect_err("one owns its number");
    assert_eq!(
        conflict,
        MergeError::Conflict(vec![(
            "\"one\"".to_owned(),
            r#".spec.ports[name="a",protocol="TCP"].number"#.to_owned()
        )])
    );
}

#[test]
fn set_items_and_atomic_values() {
    let live = applied(
        None,
        json!({"tags": ["x", "y"], "args": ["1"], "endpoint": {"host": "h", "port": 1}}),
        "one",
    );
    let live = applied(Some(&live), json!({"tags": ["z", "y"]}), "two");
    assert_eq!(live["spec"]["tags"], json!(["x", "z", "y"]));
    let live =
        applied(Some(&live), json!({"tags": [], "args": ["1", "2"], "endpoint": {"host": "i"}}), "one");
    assert_eq!(live["spec"], json!({"tags": ["z", "y"], "args": ["1", "2"], "endpoint": {"host": "i"}}));
    let conflict = apply(&rules(), Some(&live), &object(json!({"args": ["3"]})), &manager("two"), false);
    assert_eq!(conflict, Err(MergeError::Conflict(vec![("\"one\"".to_owned(), ".spec.args".to_owned())])));
}

#[test]
fn each_endpoint_leaves_the_others_fields_alone() {
    let mut live = applied(None, json!({"pool": "x"}), "one");
    live["metadata"]["uid"] = "u".into();
    let controller = Manager { subresource: "status", ..manager("ctl") };
    let mut config = object(json!({"pool": "other"}));
    config["metadata"]["labels"] = json!({"l": "1"});
    config["status"] = json!({"phase": "Running"});
    let live = apply(&rules(), Some(&live), &config, &controller, false).expect("nobody owns the status");
    assert_eq!(live["spec"], json!({"pool": "x"}));
    assert_eq!(live["metadata"].get("labels"), None);
    assert_eq!(
        owners(&live),
        [r#"ctl/Apply/status: {"f:status":{"f:phase":{}}}"#, r#"one/Apply: {"f:spec":{"f:pool":{}}}"#]
    );
    let mut config = object(json!({"pool": "x"}));
    config["status"] = json!({"phase": "Done"});
    assert_eq!(apply(&rules(), Some(&live), &config, &manager("one"), false), Ok(live.clone()));
    let other = Manager { subresource: "status", ..manager("other") };
    let mut config = object(json!({}));
    config["status"] = json!({"phase": "Done"});
    let conflict = apply(&rules(), Some(&live), &config, &other, false).expect_err("ctl owns the phase");
    assert_eq!(
        conflict.to_string(),
        "Apply failed with 1 conflict: conflict with \"ctl\" with subresource \"status\": .status.phase"
    );
}

fn with(object: &Value, pointer: &str, value: Value) -> Value {
    let mut object = object.clone();
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer has a slash");
    object.pointer_mut(parent).expect("the parent exists")[name] = value;
    object
}

#[test]
fn an_update_after_an_apply_takes_what_it_changes() {
    let live = applied(None, json!({"pool": "x", "size": 1}), "one");
    let later = Manager { now: at(LATER), ..manager("editor") };
    let live = update(&rules(), Some(&live), with(&live, "/spec/size", json!(2)), &later);
    assert_eq!(
        owners(&live),
        [r#"one/Apply: {"f:spec":{"f:pool":{}}}"#, r#"editor/Update: {"f:spec":{"f:size":{}}}"#]
    );
    let unchanged = update(&rules(), Some(&live), live.clone(), &manager("editor"));
    assert_eq!(unchanged, live, "an update that changes nothing changes no times");
    let conflict =
        apply(&rules(), Some(&live), &object(json!({"pool": "x", "size": 1})), &manager("one"), false);
    assert_eq!(
        conflict,
        Err(MergeError::Conflict(vec![("\"editor\" using v1".to_owned(), ".spec.size".to_owned())]))
    );
    let again = Manager { now: at("2024-05-01T14:00:00Z"), ..manager("editor") };
    let changed = update(&rules(), Some(&live), with(&live, "/spec/size", json!(3)), &again);
    assert_eq!(
        changed["metadata"]["managedFields"], live["metadata"]["managedFields"],
        "the same fields, the same time"
    );
}

#[test]
fn tracking_can_be_given_up_and_starts_again_with_an_apply() {
    let live = applied(None, json!({"pool": "x"}), "one");
    let cleared = with(&live, "/metadata/managedFields", json!([{}]));
    let live = update(&rules(), Some(&live), cleared, &manager("editor"));
    assert_eq!(live["metadata"].get("managedFields"), None);
    let conflict = apply(&rules(), Some(&live), &object(json!({"pool": "y"})), &manager("two"), false);
    assert_eq!(
        conflict.expect_err("somebody wrote the pool").to_string(),
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .spec.pool"
    );
}

#[test]
fn a_client_that_drops_the_list_loses_nothing() {
    let live = applied(None, json!({"pool": "x"}), "one");
    let mut new = live.clone();
    new["metadata"] = json!({"name": "a"});
    assert_eq!(update(&rules(), Some(&live), new, &manager("editor")), live);
}

#[test]
fn the_oldest_of_many_updaters_are_folded_together() {
    let mut live = update(&rules(), None, object(json!({"limits": {}})), &manager("first"));
    for n in 0..14_i64 {
        let name = format!("m{n:02}");
        let now = at(NOON) + jiff::SignedDuration::from_secs(n + 1);
        let new = with(&live, &format!("/spec/limits/k{n}"), json!(n));
        live = update(&rules(), Some(&live), new, &Manager { now, ..manager(&name) });
    }
    let owners = owners(&live);
    assert_eq!(owners.len(), 10, "{owners:#?}");
    assert!(owners[0].starts_with("ancient-changes/Update: {\"f:spec\":{\".\":{}"), "{}", owners[0]);
    assert!(owners[9].starts_with("m13/Update"), "{}", owners[9]);
}

#[test]
fn without_a_schema_maps_are_merged_and_lists_replaced() {
    let rules = FieldRules { schema: None, has_status: false, skeleton: json!({}) };
    let config = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
    let live =
        apply(&rules, None, &config(json!({"a": "1", "l": [1]})), &manager("one"), false).expect("new");
    let live = apply(&rules, Some(&live), &config(json!({"b": "2"})), &manager("two"), false).expect("apart");
    assert_eq!(live["data"], json!({"a": "1", "b": "2", "l": [1]}));
    let live =
        apply(&rules, Some(&live), &config(json!({"a": "1"})), &manager("one"), false).expect("gives up l");
    assert_eq!(live["data"], json!({"a": "1", "b": "2"}));
}

#[test]
fn a_configuration_of_the_wrong_type_is_refused() {
    let refused = |spec: Value| match apply(&rules(), None, &object(spec), &manager("one"), false) {
        Err(MergeError::Invalid(why)) => why,
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(refused(json!({"tags": ["q", "q"]})), r#".spec.tags: duplicate entries for key [="q"]"#);
    assert_eq!(refused(json!({"foo": 1})), ".spec.foo: field not declared in schema");
    assert!(refused(json!({"pool": true})).starts_with(".spec.pool: expected string, got"));
    assert!(
        refused(json!({"ports": ["a"]})).starts_with(".spec.ports: element 0: associative list with keys")
    );
}

/// The server around these functions, as far as the recorded scenarios need it.
fn serve(rules: &FieldRules, live: Option<&Value>, step: &Value) -> Result<Value, MergeError> {
    let text = |key: &str| step[key].as_str().unwrap_or_default();
    let body = &step["body"];
    let schema = rules.schema.as_deref().expect("the recorded kinds have schemas");
    let of_live = || live.and_then(|live| live["apiVersion"].as_str()).unwrap_or("demo.example.com/v1");
    let m = Manager {
        name: text("manager"),
        api_version: body["apiVersion"].as_str().unwrap_or_else(of_live),
        subresource: text("subresource"),
        now: at(NOON),
    };
    if step["op"] == "apply" {
        let mut merged = apply(rules, live, body, &m, step["force"] == true)?;
        schema.apply_defaults(&mut merged);
        return Ok(merged);
    }
    let mut new = if step["op"] == "merge" { live.cloned().unwrap_or_default() } else { body.clone() };
    if step["op"] == "merge" {
        json_patch::merge(&mut new, body);
    }
    match (live, m.subresource) {
        (Some(live), "status") => {
            let status = new["status"].take();
            new = live.clone();
            new["status"] = status;
        }
        (live, _) if rules.has_status => {
            let status = live.and_then(|live| live.get("status")).cloned();
            new.as_object_mut().expect("an object").remove("status");
            if let Some(status) = status {
                new["status"] = status;
            }
        }
        _ => {}
    }
    schema.prune(&mut new);
    schema.apply_defaults(&mut new);
    let new = update(rules, live, new, &m);
    Ok(match live {
        Some(live) if same_but_times(live, &new) => live.clone(),
        _ => new,
    })
}

fn without_times(object: &Value) -> Value {
    let mut object = object.clone();
    let entries = object.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut);
    let mut entries: Vec<&mut Value> = entries.into_iter().flatten().collect();
    for entry in &mut entries {
        entry.as_object_mut().expect("an entry is an object").remove("time");
    }
    entries.sort_by_key(|entry| {
        ["operation", "manager", "apiVersion", "subresource"]
            .map(|key| entry[key].as_str().unwrap_or("").to_owned())
    });
    let sorted: Vec<Value> = entries.into_iter().map(|entry| entry.clone()).collect();
    if !sorted.is_empty() {
        object["metadata"]["managedFields"] = sorted.into();
    }
    object
}

#[test]
fn a_real_api_server_says_the_same() {
    let told: Value = serde_json::from_str(include_str!("real_server.json")).expect("the recording is JSON");
    let compiled = |kind: &str| {
        let schema = CompiledSchema::compile(&told["schemas"][kind]).expect("the recorded schema is good");
        FieldRules { schema: Some(Arc::new(schema)), has_status: kind == "Widget", skeleton: json!({}) }
    };
    let (widgets, gadgets) = (compiled("Widget"), compiled("Gadget"));
    let mut differences = Vec::new();
    for scenario in told["scenarios"].as_array().into_iter().flatten() {
        let mut live: BTreeMap<String, Value> = BTreeMap::new();
        for step in scenario["steps"].as_array().into_iter().flatten() {
            let name = step["object"].as_str().unwrap_or_default().to_owned();
            let rules = if name.starts_with("g-") { &gadgets } else { &widgets };
            let said = match serve(rules, live.get(&name), step) {
                Ok(object) => {
                    live.insert(name, object.clone());
                    without_times(&object)
                }
                Err(error) => error.to_string().into(),
            };
            let wanted = step.get("result").map_or_else(|| step["refused"].clone(), without_times);
            if said != wanted {
                differences.push(format!(
                    "{}: {}\n  server: {wanted}\n  we:     {said}",
                    scenario["name"], step["name"]
                ));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// The stories' rules, but for one definition: what `endpoint` (atomic) and `limits` (granular) are, turned around.
fn turned() -> FieldRules {
    let mut schema = rules().schema.expect("the stories have a schema").raw().clone();
    let spec = &mut schema["properties"]["spec"]["properties"];
    spec["endpoint"]["x-kubernetes-map-type"] = "granular".into();
    spec["limits"]["x-kubernetes-map-type"] = "atomic".into();
    spec["tags"]["x-kubernetes-list-type"] = "atomic".into();
    let schema = CompiledSchema::compile(&schema).expect("the turned schema is good");
    FieldRules { schema: Some(Arc::new(schema)), ..rules() }
}

#[test]
fn who_owned_a_part_owns_the_whole_once_the_definition_makes_it_one() {
    let live = applied(None, json!({"limits": {"cpu": 1}, "tags": ["a"], "size": 1}), "one");
    let wanted = object(json!({"limits": {"memory": 2}}));
    let conflict = apply(&turned(), Some(&live), &wanted, &manager("two"), false);
    assert_eq!(conflict, Err(MergeError::Conflict(vec![("\"one\"".to_owned(), ".spec.limits".to_owned())])));
    let taken = apply(&turned(), Some(&live), &wanted, &manager("two"), true).expect("forced");
    assert_eq!(taken["spec"], json!({"limits": {"memory": 2}, "tags": ["a"], "size": 1}));
    assert_eq!(
        owners(&taken),
        [r#"one/Apply: {"f:spec":{"f:size":{},"f:tags":{}}}"#, r#"two/Apply: {"f:spec":{"f:limits":{}}}"#]
    );
    let edited = update(&turned(), Some(&live), with(&live, "/spec/size", json!(2)), &manager("editor"));
    assert_eq!(
        owners(&edited),
        [
            r#"one/Apply: {"f:spec":{"f:limits":{},"f:tags":{}}}"#,
            r#"editor/Update: {"f:spec":{"f:size":{}}}"#
        ]
    );
}

#[test]
fn who_took_all_of_a_part_from_another_owns_the_whole_alone_once_it_is_one() {
    let live = applied(None, json!({"limits": {"cpu": 1}}), "one");
    let taken = object(json!({"limits": {"cpu": 2}}));
    let live = apply(&rules(), Some(&live), &taken, &manager("two"), true).expect("forced");
    let third =
        apply(&turned(), Some(&live), &object(json!({"limits": {"disk": 3}})), &manager("three"), false);
    assert_eq!(third, Err(MergeError::Conflict(vec![("\"two\"".to_owned(), ".spec.limits".to_owned())])));
}

#[test]
fn who_owned_a_whole_owns_no_part_of_it_once_the_definition_takes_it_apart() {
    let live = applied(None, json!({"endpoint": {"host": "h", "port": 1}}), "one");
    let wanted = object(json!({"endpoint": {"host": "other"}}));
    let conflict = apply(&rules(), Some(&live), &wanted, &manager("two"), false);
    assert!(conflict.is_err(), "as long as it is whole, one owns it");
    let both = apply(&turned(), Some(&live), &wanted, &manager("two"), false).expect("no conflict any more");
    assert_eq!(both["spec"], json!({"endpoint": {"host": "other", "port": 1}}));
    assert_eq!(
        owners(&both),
        [
            r#"one/Apply: {"f:spec":{"f:endpoint":{}}}"#,
            r#"two/Apply: {"f:spec":{"f:endpoint":{"f:host":{}}}}"#
        ]
    );
}
