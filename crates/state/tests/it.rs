//! A state file is what was exported, whatever the order of its lines, and says file and line of what is wrong.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as its tests do")]

use expect_test::expect;
use muster_model::{MachineName, Presence, Snapshot};
use muster_state::{Kind, Spool, StateFile};
use serde_json::{Value, json};

const EXPORTED: &str = "2026-11-23T12:00:00Z";

fn instant(text: &str) -> jiff::Timestamp {
    text.parse().unwrap()
}

fn machine(name: &str) -> Value {
    json!({
        "metadata": {
            "name": name, "uid": format!("uid-{name}"), "generation": 1, "resourceVersion": "77",
            "labels": {"role": "web", "source.muster.dev/name": "fleet"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
            "managedFields": [
                {"manager": "muster-gateway", "fieldsV1": {"f:status": {}}},
                {"manager": "muster-source", "time": EXPORTED,
                 "fieldsV1": {"f:metadata": {"f:labels": {"f:role": {}}}, "f:spec": {"f:suspend": {}}}},
            ],
        },
        "spec": {"identity": "8a2f3c1e-0000-4000-8000-000000000000", "admitted": true},
        "status": {"reported": {
            "session": 1, "sequence": 1, "digest": digest('a'), "time": "2026-11-23T11:00:00Z", "agent": "0.1.0",
            "capabilities": [], "os": {"id": "debian", "versionId": "12", "codename": "bookworm"},
            "architecture": "amd64", "kernel": {"booted": "6.1.0-1-amd64"}, "boot": {"id": "b", "time": "2026-11-23T10:00:00Z"},
            "inventory": digest('b'), "upgradable": 0, "hardware": {}, "facts": {},
        }},
    })
}

fn digest(hex: char) -> String {
    format!("sha256:{}", hex.to_string().repeat(64))
}

fn lease(renewed: &str) -> Value {
    json!({
        "metadata": {"name": "muster-gateway-g", "labels": {"muster.dev/gateway": "g"}},
        "spec": {"holderIdentity": "g", "leaseDurationSeconds": 30, "acquireTime": "2026-11-23T10:00:00.000000Z",
            "renewTime": renewed},
    })
}

fn presence() -> Value {
    json!({
        "metadata": {"name": "muster-presence-g-0", "labels": {"muster.dev/gateway": "g", "muster.dev/presence": "true"}},
        "data": {"present": "web-01", "silent": "web-02 2026-11-23T11:30:00Z"},
    })
}

fn export(objects: Vec<(Kind, Value)>, compressed: bool) -> Vec<u8> {
    let mut spool = Spool::new().unwrap();
    for (kind, object) in objects {
        spool.push(kind, object).unwrap();
    }
    let mut out = Vec::new();
    spool.finish("default", instant(EXPORTED), compressed, &mut out).unwrap();
    out
}

fn fleet(compressed: bool) -> Vec<u8> {
    let objects = vec![
        (Kind::FleetMachine, machine("web-01")),
        (Kind::FleetMachine, machine("web-02")),
        (Kind::Lease, lease("2026-11-23T11:59:50.000000Z")),
        (Kind::ConfigMap, presence()),
    ];
    export(objects, compressed)
}

fn read(bytes: &[u8]) -> StateFile {
    StateFile::read("state.jsonl", bytes).unwrap()
}

fn refused(bytes: &[u8]) -> String {
    StateFile::read("state.jsonl", bytes).map(|_| ()).unwrap_err().to_string()
}

fn presence_of(world: &Snapshot, name: &str) -> Presence {
    world.machines[&MachineName::parse(name).unwrap()].presence
}

#[test]
fn a_file_is_a_header_and_an_object_a_line_without_what_the_server_keeps_for_itself() {
    let text = String::from_utf8(fleet(false)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5);
    expect![[
        r#"{"kind":"MusterState","version":1,"namespace":"default","time":"2026-11-23T12:00:00Z","objects":4}"#
    ]]
    .assert_eq(lines[0]);
    let first: Value = serde_json::from_str(lines[1]).unwrap();
    assert_eq!(
        (&first["apiVersion"], &first["kind"]),
        (&json!("muster.dev/v1alpha1"), &json!("FleetMachine"))
    );
    let metadata = &first["metadata"];
    assert_eq!((&metadata["resourceVersion"], &metadata["annotations"]), (&Value::Null, &json!({})));
    assert_eq!(
        metadata["managedFields"].as_array().map(Vec::len),
        Some(1),
        "of a machine: what its source said"
    );
    let lease: Value = serde_json::from_str(lines[3]).unwrap();
    assert_eq!(lease["apiVersion"], "coordination.k8s.io/v1");
}

#[test]
fn compressed_or_not_and_in_any_order_it_is_the_same_world() {
    let (text, compressed) = (fleet(false), fleet(true));
    assert!(compressed.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) && compressed != text);
    let mut lines: Vec<&str> = std::str::from_utf8(&text).unwrap().lines().collect();
    lines[1..].reverse();
    let turned = lines.join("\n\n");
    let shown = |bytes: &[u8]| format!("{:?}", read(bytes).into_snapshot(instant(EXPORTED)));
    assert_eq!(shown(&text), shown(&compressed));
    assert_eq!(shown(&text), shown(turned.as_bytes()));
}

#[test]
fn who_was_heard_is_heard_at_the_time_of_the_plan_and_who_was_silent_stays_so() {
    for at in [EXPORTED, "2026-11-27T22:00:00Z"] {
        let world = read(&fleet(false)).into_snapshot(instant(at));
        assert_eq!(world.now, instant(at));
        assert_eq!(presence_of(&world, "web-01"), Presence::Present, "{at}");
        assert!(
            matches!(presence_of(&world, "web-02"), Presence::Silent { last_heard, .. } if last_heard == instant("2026-11-23T11:30:00Z")),
            "{at}"
        );
    }
    let dead = export(
        vec![
            (Kind::FleetMachine, machine("web-01")),
            (Kind::Lease, lease("2026-11-23T11:50:00.000000Z")),
            (Kind::ConfigMap, presence()),
        ],
        false,
    );
    let world = read(&dead).into_snapshot(instant(EXPORTED));
    assert!(
        matches!(presence_of(&world, "web-01"), Presence::Silent { last_heard, .. } if last_heard == instant("2026-11-23T11:50:00Z")),
        "its gateway had died before the export"
    );
}

#[test]
fn what_a_source_put_there_is_known() {
    let owners = read(&fleet(false)).owners;
    assert_eq!(owners.of["FleetMachine/web-01"], "fleet");
    let fields = &owners.fields[&MachineName::parse("web-01").unwrap()];
    assert!(fields.labels.contains("role") && fields.spec.contains("suspend"));
}

#[test]
fn what_cannot_be_read_closes_the_namespace_as_it_does_for_the_controller_and_is_named_by_line() {
    let window = json!({"metadata": {"name": "night"}, "spec": {"action": "Allow", "duration": 5}});
    let state = read(&export(
        vec![(Kind::FleetMachine, machine("web-01")), (Kind::MaintenanceWindow, window)],
        false,
    ));
    let faults: Vec<String> =
        state.faults.iter().map(|fault| format!("{} {}", fault.line, fault.what)).collect();
    assert_eq!(faults, ["3 MaintenanceWindow/night"]);
    assert!(state.into_snapshot(instant(EXPORTED)).unreadable.contains_key("MaintenanceWindow/night"));
}

#[test]
fn a_file_that_is_no_whole_state_says_where_and_what_to_do() {
    let text = String::from_utf8(fleet(false)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let said = [
        refused(b""),
        refused(b"apiVersion: v1\n"),
        refused(text.replace("\"version\":1", "\"version\":9").as_bytes()),
        refused(lines[..4].join("\n").as_bytes()),
        refused(format!("{text}{}", lines[2]).as_bytes()),
        refused(format!("{}\n{{\"apiVersion\":\"v1\",\"kind\":\"Secret\"}}", lines[0]).as_bytes()),
        refused(&text.as_bytes()[..text.len() - 9]),
    ];
    expect![[r#"
        state.jsonl:1 is not the header of a state; write one with `muster state export -o state.jsonl`
        state.jsonl:1 is not the header of a state; write one with `muster state export -o state.jsonl`
        state.jsonl has version 9, and this muster reads 1: export the state with this one
        state.jsonl has 3 objects, and its header says 4: export the state anew
        state.jsonl:6 is not an object of a state: FleetMachine/web-02 stands in line 3 already; export the state anew
        state.jsonl:2 is not an object of a state: "v1" "Secret" is no kind that a state holds; export the state anew
        state.jsonl:5 is not an object of a state: EOF while parsing a string at line 1 column 204; export the state anew
    "#]]
    .assert_eq(&(said.join("\n") + "\n"));
    let compressed = fleet(true);
    assert_eq!(refused(&compressed[..compressed.len() - 4]), "cannot read state.jsonl");
}

#[test]
fn a_line_without_end_is_refused() {
    let mut bytes = fleet(false);
    bytes.extend(vec![b' '; muster_state::MAX_LINE_BYTES + 2]);
    assert_eq!(refused(&bytes), "state.jsonl:6: the state has more than 4194304 bytes in a line");
}
