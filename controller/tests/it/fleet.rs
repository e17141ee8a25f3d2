//! From a baseline to a converged machine, and silence afterwards.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::PostParams;
use kube::{Resource, ResourceExt};
use muster_crds::{
    Activity, ActivityStepStatus, BaselineRollout, FleetMachine, PackageBaseline, PackageProposal, StepType,
    WantedStatus,
};
use muster_model::{Change, Phase, Proposal, ProposalKey};

use crate::world::{World, key, openssl, version};

const BASELINE: &str = "
apiVersion: muster.dev/v1alpha1
kind: PackageBaseline
metadata: {name: fix}
spec:
  machineSelector: {matchLabels: {fact.muster.dev/os: debian}}
  packages: [{name: openssl, version: latest}]
";

fn verdict(machine: &FleetMachine) -> &str {
    machine
        .status
        .as_ref()
        .and_then(|status| status.decision.as_ref())
        .map_or("", |decision| decision.verdict.as_str())
}

fn condition<'a>(machine: &'a FleetMachine, kind: &str) -> &'a str {
    let conditions = machine.status.as_ref().map_or(&[][..], |status| &status.conditions);
    conditions
        .iter()
        .find(|condition| condition.type_ == kind)
        .map_or("", |condition| condition.status.as_str())
}

/// Plays the machine's apt and the gateway: the proposal for what is wanted of it.
async fn propose(world: &World, wanted: &WantedStatus) {
    let wanted = wanted.to_model().unwrap();
    let key = ProposalKey { inventory: openssl("3.0.14-1").digest(), wanted: wanted.digest() };
    let change = Change { package: key_of(), from: Some(version("3.0.14-1")), to: Some(version("3.0.15-1")) };
    let proposal = PackageProposal::from_model(&key, &Proposal::Transaction { changes: vec![change] });
    world.api().create(&PostParams::default(), &proposal).await.unwrap();
}

fn key_of() -> muster_model::PackageKey {
    key("openssl")
}

/// Plays the agent and the gateway: the activity is done.
async fn carry_out(world: &World, name: &str) {
    let api = world.api::<Activity>();
    let mut activity = api.get(name).await.unwrap();
    let status = activity.status.get_or_insert_default();
    let now = MicroTime(Timestamp::now());
    status.phase = Some(Phase::Succeeded);
    status.finished_time = Some(now.clone());
    status.steps = vec![ActivityStepStatus {
        type_: StepType::InstallPackages,
        start_time: Some(now.clone()),
        completion_time: Some(now),
    }];
    api.replace_status(name, &PostParams::default(), &activity).await.unwrap();
    world.report("web-01", 2, &openssl("3.0.15-1")).await;
}

async fn converge(world: &World) {
    world.apply(BASELINE).await;
    world.machine("web-01", &openssl("3.0.14-1")).await;
    world.heard(&["web-01"]).await;
    let waiting = world
        .until::<FleetMachine>("web-01", "asked for a proposal", |machine| {
            let decision = machine.status.as_ref().and_then(|status| status.decision.as_ref());
            decision
                .is_some_and(|decision| decision.reason == "Proposal" && !decision.wanted.items.is_empty())
        })
        .await;
    let decision = waiting.status.unwrap().decision.unwrap();
    assert_eq!((decision.verdict.as_str(), decision.rule.as_str()), ("Waiting", "A7"));
    propose(world, &decision.wanted).await;
    let activity = world.until::<Activity>("web-01-1", "created", |_| true).await;
    assert_eq!(activity.labels()[muster_crds::names::LABEL_EPOCH], "1");
    world.until::<FleetMachine>("web-01", "active", |machine| verdict(machine) == "Active").await;
    carry_out(world, &activity.name_any()).await;
    world
        .until::<FleetMachine>("web-01", "converged", |machine| condition(machine, "Converged") == "True")
        .await;
}

// rule: M1
#[tokio::test]
async fn a_machine_goes_from_its_baseline_to_converged() {
    let mut world = World::new().await;
    converge(&world).await;
    let baseline = world
        .until::<PackageBaseline>("fix", "ready", |baseline| {
            baseline.status.as_ref().is_some_and(|status| status.converged == 1)
        })
        .await;
    let status = baseline.status.unwrap();
    assert_eq!((status.selected, status.not_converged, status.unknown, status.absent), (1, 0, 0, 0));
    let done = |rollout: &BaselineRollout| {
        rollout.status.as_ref().is_some_and(|status| status.items_total == status.items_done)
    };
    world.until::<BaselineRollout>("pb-fix", "done", done).await;
    let machine = world.until::<FleetMachine>("web-01", "labelled with its facts", |machine| {
        machine.labels().get("fact.muster.dev/release").is_some_and(|release| release == "12")
    });
    assert_eq!(machine.await.labels()["fact.muster.dev/arch"], "amd64");
    world.stop().await;
}

// rule: B2
#[tokio::test]
async fn a_unit_that_fails_after_the_activity_is_named_by_the_machines_conditions() {
    let mut world = World::new().await;
    converge(&world).await;
    world.report_failed("web-01", 3, &openssl("3.0.15-1"), &["app.service"]).await;
    let machine = world
        .until::<FleetMachine>("web-01", "unhealthy", |machine| condition(machine, "Healthy") == "False")
        .await;
    let conditions = machine.status.unwrap().conditions;
    let told = ["Healthy", "Ready"].map(|kind| {
        let condition = conditions.iter().find(|condition| condition.type_ == kind).unwrap();
        (condition.status.as_str(), condition.reason.as_str(), condition.message.as_str())
    });
    let units = "failed since the last activity, or named by a baseline: app.service";
    assert_eq!(told, [("False", "UnitsFailed", units); 2]);
    world.stop().await;
}

#[tokio::test]
async fn a_restarted_controller_of_a_converged_fleet_writes_nothing() {
    let mut world = World::new().await;
    converge(&world).await;
    let done = |rollout: &BaselineRollout| {
        rollout.status.as_ref().is_some_and(|status| status.items_total == status.items_done)
    };
    world.until::<BaselineRollout>("pb-fix", "done", done).await;
    world
        .until::<PackageBaseline>("fix", "ready", |baseline| {
            baseline.status.as_ref().is_some_and(|status| status.converged == 1)
        })
        .await;
    world.stop().await;
    let before = world.versions().await;
    world.start();
    // The new leader has looked at everything once it has decided about something new.
    let mut probe = FleetMachine::new("probe", muster_crds::FleetMachineSpec::default());
    probe.meta_mut().labels = Some([("probe".to_owned(), "yes".to_owned())].into());
    world.api().create(&PostParams::default(), &probe).await.unwrap();
    world.until::<FleetMachine>("probe", "decided about", |machine| verdict(machine) == "Unmanaged").await;
    world.stop().await;
    let after: Vec<String> =
        world.versions().await.into_iter().filter(|line| !line.contains("/probe ")).collect();
    assert_eq!(after, before);
}
