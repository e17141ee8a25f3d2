//! Windows, observing, silence: what keeps work from starting, and lets it start.

use jiff::SignedDuration;
use muster_tests::{Package, until};

use crate::fleet::{Fleet, PATIENCE, baseline, condition, decision, from_now, time};

/// How much later than a window's opening work may start on a busy machine: the machine's own interval of a minute
/// would be another event.
const PROMPT: SignedDuration = SignedDuration::from_secs(30);

fn window(from: jiff::Timestamp) -> String {
    let to = from + SignedDuration::from_hours(3);
    format!(
        "apiVersion: muster.dev/v1alpha1\nkind: MaintenanceWindow\nmetadata: {{name: night}}\nspec:\n  \
         machineSelector: {{}}\n  action: Allow\n  from: \"{from}\"\n  to: \"{to}\"\n"
    )
}

// rule: W1, W5, W8
#[test]
fn a_closed_window_delays_and_its_opening_starts_work() {
    let fleet = Fleet::new(["web-01"], &[Package::new("ferry", "1.0-1")], &[]);
    let [machine] = &fleet.machines[..] else { panic!("one machine") };
    let tomorrow = from_now(24 * 60 * 60);
    let ferry = baseline("ferry", "[{name: ferry}]", "");
    fleet.desired.write("all.yaml", &format!("{}---\n{ferry}", window(tomorrow)));

    let waiting = fleet.decides("web-01", "Waiting", "WindowClosed");
    assert_eq!((waiting["rule"].as_str(), waiting["blocker"]["name"].as_str()), (Some("W1"), Some("night")));
    assert_eq!(time(&waiting, "/untilTime"), tomorrow);
    let night = fleet.kubectl().json(&["get", "mw", "night"]);
    assert_eq!(night["status"]["open"], false, "{night:#}");
    assert_eq!(time(&night, "/status/nextOpenTime"), tomorrow);

    // Saved before it opens, and nothing else happens after that but time.
    let opening = from_now(15);
    fleet.desired.write("all.yaml", &format!("{}---\n{ferry}", window(opening)));
    let created = until(PATIENCE, "an activity after the window has opened", || {
        fleet.kubectl().list("act").first().map(|activity| time(activity, "/metadata/creationTimestamp"))
    });
    assert!(created >= opening, "it was created at {created}, before {opening}");
    assert!(created <= opening + PROMPT, "it was created at {created}, long after {opening}");
    fleet.has(machine, "ferry", Some("1.0-1"));
    let [activity] = &fleet.finished(1)[..] else { panic!("one activity") };
    assert!(activity.span().is_some_and(|span| span.start >= opening), "{activity:#?}");
    let night = fleet.kubectl().json(&["get", "mw", "night"]);
    assert_eq!(night["status"]["open"], true, "{night:#}");
}

const KERNEL: &str = "
apiVersion: muster.dev/v1alpha1
kind: KernelBaseline
metadata: {name: kernel}
spec:
  machineSelector: {}
  mode: Observe
  package: linux-image-amd64
  version: \">= 6.1\"
  commandLine: {present: [muster.never=said]}
";

// rule: K1, S4
#[test]
fn a_kernel_and_an_observing_baseline_report_and_change_nothing() {
    let fleet = Fleet::new(["web-01"], &[Package::new("ferry", "1.0-1")], &[]);
    fleet.desired.write("kernel.yaml", KERNEL);
    let kubectl = fleet.kubectl();
    let decision = fleet.decides("web-01", "Blocked", "ObserveOnly");
    let requirement = &decision["requirements"][0];
    assert_eq!(
        (requirement["resource"].as_str(), requirement["baseline"]["name"].as_str()),
        (Some("kernel"), Some("kernel")),
        "{decision:#}"
    );
    kubectl.wait(&["kb/kernel"], "jsonpath={.status.blocked}=1", 60);
    let kernel = kubectl.json(&["get", "kb", "kernel"]);
    assert_eq!(
        (&kernel["status"]["selected"], &kernel["status"]["notConverged"]),
        (&1.into(), &1.into()),
        "{kernel:#}"
    );
    let release = fleet.machines[0].run("uname -r");
    let machine = kubectl.json(&["get", "fm", "web-01"]);
    assert_eq!(machine["status"]["reported"]["kernel"]["booted"], release.as_str());
    assert_eq!(machine["status"]["reported"]["boot"]["id"], fleet.machines[0].boot_id().as_str());

    fleet.desired.write("ferry.yaml", &baseline("ferry", "[{name: ferry}]", "mode: Observe"));
    kubectl.wait(&["fm/web-01"], "jsonpath={.status.decision.requirementsNotConverged}=2", 60);
    fleet.desired.remove("kernel.yaml");
    kubectl.wait(&["fm/web-01"], "jsonpath={.status.decision.requirementsTotal}=1", 60);
    fleet.decides("web-01", "Blocked", "ObserveOnly");
    assert_eq!(kubectl.activities(), []);
    assert_eq!(fleet.machines[0].installed("ferry"), None);
}

const SHORT_SILENCE: &str = "
apiVersion: muster.dev/v1alpha1
kind: FleetPolicy
metadata: {name: default}
spec: {unreachableAfter: 10s, freshness: 20s}
";

// rule: M1, A4, B4
#[test]
fn a_machine_off_the_network_gets_nothing_and_converges_when_it_is_back() {
    let archive = [Package::new("ferry", "1.0-1"), Package::new("ferry", "1.1-1")];
    let fleet = Fleet::new(["web-01", "web-02"], &archive, &["ferry=1.0-1"]);
    let [near, far] = &fleet.machines[..] else { panic!("two machines") };
    fleet.desired.write("policy.yaml", SHORT_SILENCE);
    fleet.desired.write("ferry.yaml", &baseline("ferry", r#"[{name: ferry, version: ">= 1.0"}]"#, ""));
    for machine in &fleet.machines {
        fleet.decides(machine.name(), "Converged", "AsWanted");
    }

    far.cut_network();
    let unknown = fleet.decides("web-02", "Unknown", "Stale");
    assert_eq!(unknown["rule"], "M1");
    let object = fleet.kubectl().json(&["get", "fm", "web-02"]);
    assert_eq!(condition(&object, "Reporting")["status"], "False", "{object:#}");
    assert_ne!(condition(&object, "Converged")["status"], "True", "{object:#}");

    fleet.desired.write("ferry.yaml", &baseline("ferry", r#"[{name: ferry, version: ">= 1.1-1"}]"#, ""));
    fleet.has(near, "ferry", Some("1.1-1"));
    assert_eq!(fleet.activities_on("web-02"), [], "nothing is sent to where nobody hears");
    assert_eq!(decision(&fleet.kubectl(), "web-02")["verdict"], "Unknown");
    assert_eq!(fleet.kubectl().json(&["get", "pb", "ferry"])["status"]["unknown"], 1);

    far.restore_network();
    fleet.has(far, "ferry", Some("1.1-1"));
    assert!(fleet.finished(2).iter().all(|activity| activity.phase == "Succeeded"));
}
