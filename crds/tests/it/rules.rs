//! The schemas' rules do what they say: judged as the embedded API judges.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use muster_schema::CompiledSchema;
use serde_json::{Value, json};

use crate::definitions::schemas;

static COMPILED: LazyLock<BTreeMap<String, CompiledSchema>> = LazyLock::new(|| {
    schemas()
        .into_iter()
        .map(|(plural, schema)| (plural, CompiledSchema::compile(&schema).unwrap()))
        .collect()
});

/// What a server says of an object, or of its change from `old`.
fn judge(plural: &str, old: Option<&Value>, object: &Value) -> Vec<String> {
    let schema = &COMPILED[plural];
    let prepared = |object: &Value| {
        let mut object = object.clone();
        assert_eq!(schema.prune(&mut object), Vec::<String>::new(), "fields that the schema does not know");
        schema.apply_defaults(&mut object);
        object
    };
    let old = old.map(&prepared);
    schema
        .validate(&prepared(object), old.as_ref())
        .into_iter()
        .map(|cause| format!("{}: {}", cause.field, cause.message))
        .collect()
}

fn accepted(plural: &str, old: Option<&Value>, object: &Value) {
    assert_eq!(judge(plural, old, object), Vec::<String>::new());
}

/// Refused for one reason, which says `why`.
#[track_caller]
fn refused(plural: &str, old: Option<&Value>, object: &Value, why: &str) {
    let causes = judge(plural, old, object);
    assert!(causes.iter().any(|cause| cause.contains(why)), "{why:?} is not in {causes:?}");
}

/// `object` with the value at `path` replaced (or, with null, removed).
fn with(object: &Value, path: &str, value: Value) -> Value {
    let mut object = object.clone();
    let (parent, key) = path.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap();
    match (parent, value) {
        (Value::Object(members), Value::Null) => drop(members.remove(key)),
        (Value::Object(members), value) => drop(members.insert(key.to_owned(), value)),
        (Value::Array(items), value) => items[key.parse::<usize>().unwrap()] = value,
        _ => panic!("{path} leads nowhere"),
    }
    object
}

fn resource(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "muster.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

#[test]
fn a_package_baseline_as_the_design_writes_it_is_accepted() {
    let baseline = resource(
        "PackageBaseline",
        "web",
        &json!({
            "machineSelector": {"matchLabels": {"role": "web"}},
            "mode": "Enforce",
            "priority": 0,
            "packages": [
                {"name": "openssl", "version": ">= 3.0.15-1~deb12u1, << 3.1"},
                {"name": "nginx"},
                {"name": "curl", "version": "latest"},
                {"name": "telnet", "state": "Absent"},
                {"name": "postgresql-15", "version": "= 15.8-0+deb12u1", "hold": true},
                {"name": "libc6", "architecture": "i386"},
            ],
            "downgrades": "Refuse",
            "removals": "Refuse",
            "conffiles": "Keep",
            "reboot": {"policy": "Never", "timeout": "30m"},
            "health": {"units": ["nginx.service"], "settle": "2m"},
            "rollout": {
                "waves": [
                    {"name": "canary", "machineSelector": {"matchLabels": {"ring": "canary"}}, "soak": "1h"},
                    {"name": "tenth", "machines": "10%", "soak": "30m", "approval": "Required"},
                ],
                "maxUnavailable": "10%",
                "maxFailures": "2%",
                "minReady": "5m",
                "zoneKey": "topology.kubernetes.io/zone",
            },
        }),
    );
    accepted("packagebaselines", None, &baseline);
    refused(
        "packagebaselines",
        None,
        &with(&baseline, "/spec/machineSelector", Value::Null),
        "Required value",
    );
    refused(
        "packagebaselines",
        None,
        &with(&baseline, "/spec/packages/3/version", json!("= 1")),
        "neither version nor hold",
    );
    refused(
        "packagebaselines",
        None,
        &with(&baseline, "/spec/packages/1", json!({"name": "curl"})),
        "Duplicate value",
    );
    refused(
        "packagebaselines",
        None,
        &with(&baseline, "/spec/packages/0/version", json!("3.0.15")),
        "should match",
    );
    refused(
        "packagebaselines",
        None,
        &with(&baseline, "/spec/packages/0/version", json!(">= 3.0-")),
        "should match",
    );
    refused(
        "packagebaselines",
        None,
        &with(&baseline, "/spec/packages/0/name", json!("-oAPT::x")),
        "should match",
    );
    refused("packagebaselines", None, &with(&baseline, "/spec/reboot/timeout", json!("30")), "should match");
    let wave = "/spec/rollout/waves/1";
    for (path, value, why) in [
        ("name", json!("canary"), "Duplicate value"),
        ("name", json!("rest"), "rest is the implicit last wave"),
        ("name", json!("Canary"), "should match"),
        ("machines", Value::Null, "exactly one of machineSelector and machines"),
        ("machineSelector", json!({}), "exactly one of machineSelector and machines"),
        ("soak", json!("1"), "should match"),
        ("approval", json!("Maybe"), "Unsupported value"),
    ] {
        refused("packagebaselines", None, &with(&baseline, &format!("{wave}/{path}"), value), why);
    }
    let many: Vec<Value> = (0..11).map(|n| json!({"name": format!("w{n}"), "machines": n + 1})).collect();
    refused("packagebaselines", None, &with(&baseline, "/spec/rollout/waves", json!(many)), "Too many");
    refused(
        "packagebaselines",
        None,
        &with(&baseline, "/spec/rollout/zoneKey", json!("a/b/c")),
        "should match",
    );
    for share in [json!(0), json!(3), json!("0%"), json!("100%")] {
        accepted("packagebaselines", None, &with(&baseline, "/spec/rollout/maxUnavailable", share));
    }
    for share in [json!(-1), json!("101%"), json!("3"), json!("x")] {
        assert_ne!(
            judge("packagebaselines", None, &with(&baseline, "/spec/rollout/maxUnavailable", share)),
            Vec::<String>::new()
        );
    }
}

// rule: K3
#[test]
fn a_kernel_baseline_keeps_two_kernels_at_least() {
    let baseline = resource(
        "KernelBaseline",
        "kernel",
        &json!({
            "machineSelector": {"matchExpressions": [{"key": "cpu.fact.muster.dev/vendor", "operator": "In", "values": ["GenuineIntel"]}]},
            "package": "linux-image-cloud-amd64",
            "version": ">= 6.1.176",
            "commandLine": {"present": ["mitigations=auto"], "absent": ["nosmt"]},
            "keep": 2,
            "reboot": {"policy": "WhenRequired", "timeout": "30m"},
            "health": {"units": ["nginx.service"], "settle": "2m"},
            "rollout": {"waves": [{"name": "canary", "machineSelector": {"matchLabels": {"ring": "canary"}}, "soak": "24h"}]},
        }),
    );
    accepted("kernelbaselines", None, &baseline);
    accepted("kernelbaselines", None, &with(&baseline, "/spec/mode", json!("Observe")));
    refused("kernelbaselines", None, &with(&baseline, "/spec/keep", json!(1)), "greater than or equal to 2");
}

#[test]
fn a_window_is_a_schedule_or_a_span() {
    let schedule = resource(
        "MaintenanceWindow",
        "weekend",
        &json!({
            "machineSelector": {}, "action": "Allow", "schedule": "0 22 * * FRI", "timeZone": "Europe/Berlin", "offsetDays": 0,
            "duration": "6h", "cutoff": "1h", "covers": ["Packages", "Kernel", "Reboot"],
        }),
    );
    let span = resource(
        "MaintenanceWindow",
        "freeze",
        &json!({
            "machineSelector": {}, "action": "Deny", "from": "2026-12-20T00:00:00Z", "to": "2027-01-03T00:00:00Z",
        }),
    );
    accepted("maintenancewindows", None, &schedule);
    accepted("maintenancewindows", None, &span);
    refused("maintenancewindows", None, &with(&schedule, "/spec/duration", Value::Null), "go together");
    refused("maintenancewindows", None, &with(&schedule, "/spec/schedule", Value::Null), "either schedule");
    refused(
        "maintenancewindows",
        None,
        &with(&schedule, "/spec/from", json!("2026-12-20T00:00:00Z")),
        "either schedule",
    );
    refused("maintenancewindows", None, &with(&span, "/spec/to", Value::Null), "go together");
    refused(
        "maintenancewindows",
        None,
        &with(&span, "/spec/to", json!("2026-12-20T00:00:00Z")),
        "to must be after from",
    );
    refused("maintenancewindows", None, &with(&span, "/spec/timeZone", json!("UTC")), "belong to a schedule");
    refused("maintenancewindows", None, &with(&span, "/spec/covers", json!([])), "at least 1");
    accepted("maintenancewindows", None, &with(&span, "/spec/overridable", json!(true)));
    refused("maintenancewindows", None, &with(&schedule, "/spec/overridable", json!(true)), "is of a Deny");
}

// rule: W2
#[test]
fn a_window_in_which_nothing_could_start_for_its_cutoff_is_refused() {
    let night = json!({"machineSelector": {}, "action": "Allow", "schedule": "0 22 * * *", "duration": "6h"});
    let night = resource("MaintenanceWindow", "night", &night);
    let span = json!({
        "machineSelector": {}, "action": "Allow", "from": "2026-12-20T00:00:00Z", "to": "2026-12-20T06:00:00Z",
    });
    let span = resource("MaintenanceWindow", "span", &span);
    for (window, why) in [(night, "shorter than duration"), (span, "shorter than the time between")] {
        accepted("maintenancewindows", None, &with(&window, "/spec/cutoff", json!("5h59m")));
        for cutoff in ["6h", "360m", "7h"] {
            let window = with(&window, "/spec/cutoff", json!(cutoff));
            refused("maintenancewindows", None, &window, why);
            // A freeze has no end before which it would matter.
            accepted("maintenancewindows", None, &with(&window, "/spec/action", json!("Deny")));
        }
    }
}

// rule: W9
#[test]
fn an_override_names_windows_and_items_and_never_changes() {
    let item = json!({"baseline": {"name": "fix"}, "package": "openssl", "version": "3.0.15-1"});
    let cve = resource(
        "WindowOverride",
        "cve",
        &json!({
            "windows": ["freeze"], "items": [item, {"baseline": {"name": "fix"}, "reboot": true}],
            "reason": "an incident", "untilTime": "2026-12-20T00:00:00Z",
        }),
    );
    accepted("windowoverrides", None, &cve);
    accepted("windowoverrides", Some(&cve), &cve);
    for (field, value) in [
        ("/spec/untilTime", json!("2026-12-21T00:00:00Z")),
        ("/spec/windows", json!(["freeze", "night"])),
        ("/spec/items", json!([item])),
        ("/spec/reason", json!("another")),
    ] {
        refused("windowoverrides", Some(&cve), &with(&cve, field, value), "never changes");
    }
    refused("windowoverrides", None, &with(&cve, "/spec/windows", json!([])), "at least 1");
    refused("windowoverrides", None, &with(&cve, "/spec/items/0/version", Value::Null), "go together");
    refused("windowoverrides", None, &with(&cve, "/spec/items/0/reboot", json!(true)), "either package");
    refused("windowoverrides", None, &with(&cve, "/spec/items/1/reboot", json!(false)), "either package");
    refused("windowoverrides", None, &with(&cve, "/spec/reason", json!("")), "at least 1");
}

#[test]
fn a_budget_has_one_number() {
    let budget = resource(
        "DisruptionBudget",
        "etcd",
        &json!({"machineSelector": {"matchLabels": {"role": "etcd"}}, "maxUnavailable": 1}),
    );
    accepted("disruptionbudgets", None, &budget);
    refused("disruptionbudgets", None, &with(&budget, "/spec/minAvailable", json!("50%")), "exactly one");
    refused("disruptionbudgets", None, &with(&budget, "/spec/maxUnavailable", Value::Null), "exactly one");
}

#[test]
fn there_is_one_policy_and_it_is_named_default() {
    accepted("fleetpolicies", None, &resource("FleetPolicy", "default", &json!({"windows": "Required"})));
    refused("fleetpolicies", None, &resource("FleetPolicy", "other", &json!({})), "its name is default");
}

#[test]
fn a_source_is_a_repository_or_a_folder() {
    let git = resource(
        "GitSource",
        "fleet",
        &json!({
            "type": "Git",
            "git": {"url": "https://git.example/fleet.git", "ref": {"branch": "main"}, "path": "prod", "secretRef": {"name": "key"}},
        }),
    );
    accepted("gitsources", None, &git);
    accepted(
        "gitsources",
        None,
        &resource("GitSource", "local", &json!({"type": "Folder", "folder": {"path": "/srv/fleet"}})),
    );
    refused(
        "gitsources",
        None,
        &with(&git, "/spec/folder", json!({"path": "/srv"})),
        "type Folder takes folder",
    );
    refused("gitsources", None, &with(&git, "/spec/type", json!("Folder")), "type Git takes git");
    refused(
        "gitsources",
        None,
        &with(&git, "/spec/git/ref/commit", json!("0".repeat(40))),
        "exactly one of branch and commit",
    );
}

// rule: M4
#[test]
fn a_stale_gateway_cannot_write_an_older_report() {
    let reported = json!({
        "session": 7, "sequence": 3, "digest": format!("sha256:{}", "0".repeat(64)), "time": "2026-10-01T00:00:00Z",
        "agent": "0.1.0", "os": {"id": "debian"}, "architecture": "amd64", "kernel": {"booted": "6.1.0-50-cloud-amd64"},
        "boot": {"id": "b", "time": "2026-10-01T00:00:00Z"}, "inventory": format!("sha256:{}", "1".repeat(64)),
        "upgradable": 0, "hardware": {},
    });
    let mut old = resource(
        "FleetMachine",
        "web-01",
        &json!({"identity": "6f1f0a5e-8b5c-4c1e-9b5e-0a1b2c3d4e5f", "admitted": true}),
    );
    old["status"] = json!({"reported": reported});
    let report = |session: u64, sequence: u64| {
        let new = with(&old, "/status/reported/session", json!(session));
        with(&new, "/status/reported/sequence", json!(sequence))
    };
    for (session, sequence) in [(7, 3), (7, 4), (8, 1)] {
        accepted("fleetmachines", Some(&old), &report(session, sequence));
    }
    for (session, sequence) in [(7, 2), (6, 9)] {
        refused("fleetmachines", Some(&old), &report(session, sequence), "never decrease");
    }
}

#[test]
fn a_machine_keeps_its_identity_and_a_short_name() {
    let old =
        resource("FleetMachine", "web-01", &json!({"identity": "6f1f0a5e-8b5c-4c1e-9b5e-0a1b2c3d4e5f"}));
    accepted("fleetmachines", Some(&old), &with(&old, "/spec/admitted", json!(true)));
    accepted("fleetmachines", Some(&resource("FleetMachine", "web-01", &json!({}))), &old);
    refused("fleetmachines", Some(&old), &with(&old, "/spec/identity", Value::Null), "never changes");
    let other = json!("00000000-8b5c-4c1e-9b5e-0a1b2c3d4e5f");
    refused("fleetmachines", Some(&old), &with(&old, "/spec/identity", other), "never changes");
    refused("fleetmachines", None, &resource("FleetMachine", &"x".repeat(64), &json!({})), "at most 63");
}

fn activity() -> Value {
    let mut activity = resource(
        "Activity",
        "web-01-42",
        &json!({
            "machineRef": {"name": "web-01", "uid": "u1"},
            "steps": [
                {"type": "InstallPackages", "timeout": "1h",
                 "installPackages": {"requested": [{"name": "openssl", "architecture": "amd64", "from": "3.0.14-1", "to": "3.0.15-1"}]},
                 "baselines": [{"kind": "PackageBaseline", "name": "openssl-fix", "uid": "u2"}]},
                {"type": "Reboot", "timeout": "30m", "reboot": {}},
            ],
            "cause": {"revision": "main@sha1:0123"},
            "budgets": ["etcd"],
            "windows": [{"covers": "Packages", "name": "weekend"}],
            "expiryTime": "2026-10-01T00:00:00Z",
        }),
    );
    activity["status"] = json!({"phase": "Pending"});
    activity
}

#[test]
fn an_activity_never_changes_but_for_cancel() {
    let old = activity();
    accepted("activities", None, &old);
    let canceled = with(&old, "/spec/cancel", json!(true));
    accepted("activities", Some(&old), &canceled);
    refused("activities", Some(&canceled), &old, "cannot be taken back");
    for (path, value) in [
        ("/spec/steps/0/installPackages/requested/0/to", json!("3.0.16-1")),
        ("/spec/steps/1/timeout", json!("31m")),
        ("/spec/machineRef/uid", json!("u9")),
        ("/spec/cause/revision", Value::Null),
        ("/spec/budgets", Value::Null),
        ("/spec/windows/0/name", json!("other")),
        ("/spec/expiryTime", json!("2026-10-02T00:00:00Z")),
        ("/spec/health", json!({"units": ["nginx.service"]})),
    ] {
        refused("activities", Some(&old), &with(&old, path, value), "a change is a new activity");
    }
    refused(
        "activities",
        None,
        &with(&old, "/spec/steps/1/type", json!("RepairPackages")),
        "only that type does",
    );
    refused("activities", None, &with(&old, "/spec/steps", json!([])), "at least 1");
}

// rule: A2
#[test]
fn an_activitys_phase_never_goes_back() {
    const ORDER: [&[&str]; 5] = [
        &["Pending"],
        &["Delivered"],
        &["Running"],
        &["Verifying"],
        &["Succeeded", "Failed", "Refused", "Interrupted", "Canceled", "Expired"],
    ];
    let in_phase = |phase: &str| with(&activity(), "/status/phase", json!(phase));
    for (rank, phases) in ORDER.iter().enumerate() {
        for old in *phases {
            for (later, others) in ORDER.iter().enumerate() {
                for new in *others {
                    let allowed = old == new || later > rank;
                    let causes = judge("activities", Some(&in_phase(old)), &in_phase(new));
                    assert_eq!(causes.is_empty(), allowed, "{old} to {new}: {causes:?}");
                }
            }
        }
    }
    refused(
        "activities",
        Some(&in_phase("Running")),
        &with(&activity(), "/status/phase", Value::Null),
        "taken away",
    );
    refused(
        "activities",
        Some(&in_phase("Running")),
        &with(&activity(), "/status", Value::Null),
        "taken away",
    );
}

#[test]
fn lists_and_answers_never_change() {
    let digest = |digit: &str| json!(format!("sha256:{}", digit.repeat(64)));
    let inventory = resource(
        "PackageInventory",
        "x",
        &json!({
            "digest": digest("0"), "architecture": "amd64", "packages": 0, "encoding": "Zstd", "data": "",
        }),
    );
    accepted("packageinventories", Some(&inventory), &inventory);
    refused(
        "packageinventories",
        Some(&inventory),
        &with(&inventory, "/spec/digest", digest("1")),
        "never changes",
    );
    let proposal = resource(
        "PackageProposal",
        "x",
        &json!({
            "inventory": digest("0"), "wanted": digest("1"), "type": "Refused", "refused": {"message": "held"},
        }),
    );
    accepted("packageproposals", Some(&proposal), &proposal);
    refused(
        "packageproposals",
        Some(&proposal),
        &with(&proposal, "/spec/refused/message", json!("fine")),
        "never changes",
    );
    refused(
        "packageproposals",
        None,
        &with(&proposal, "/spec/type", json!("Transaction")),
        "takes transaction",
    );
    let token = resource(
        "EnrollmentToken",
        "x",
        &json!({"secretHash": digest("0"), "expiryTime": "2026-10-01T00:00:00Z"}),
    );
    accepted("enrollmenttokens", None, &token);
    refused(
        "enrollmenttokens",
        Some(&token),
        &with(&token, "/spec/secretHash", digest("1")),
        "never changes",
    );
    let rollout = resource(
        "BaselineRollout",
        "pb-x",
        &json!({"baselineRef": {"kind": "PackageBaseline", "name": "x", "uid": "u"}}),
    );
    accepted("baselinerollouts", Some(&rollout), &with(&rollout, "/spec/baselineRef/uid", json!("v")));
    refused(
        "baselinerollouts",
        Some(&rollout),
        &with(&rollout, "/spec/baselineRef/name", json!("y")),
        "for good",
    );
}

// rule: O7
#[test]
fn an_approval_never_changes_and_says_who() {
    let approval = resource(
        "RolloutApproval",
        "go",
        &json!({
            "baselineRef": {"kind": "PackageBaseline", "name": "x"},
            "action": "Approve",
            "item": {"package": "openssl", "target": "3.0.15-1"},
            "by": "alice",
        }),
    );
    accepted("rolloutapprovals", None, &approval);
    accepted("rolloutapprovals", Some(&approval), &approval);
    for (path, value) in
        [("/spec/action", json!("Resume")), ("/spec/item", Value::Null), ("/spec/by", json!("bob"))]
    {
        refused("rolloutapprovals", Some(&approval), &with(&approval, path, value), "never changes");
    }
    refused("rolloutapprovals", None, &with(&approval, "/spec/by", Value::Null), "Required value");
    refused("rolloutapprovals", None, &with(&approval, "/spec/action", json!("Stop")), "Unsupported value");
}
