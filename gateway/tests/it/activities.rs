//! Delivery and results.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams, PostParams};
use muster_crds::{Activity, MaintenanceWindow};
use muster_model::{ActivityName, OutcomeReason, Phase, Uid, WantedSet};
use muster_wire::{MayStartRequest, PollResponse, Progress, Reason, StepProgress};
use serde_json::json;

use crate::world::{Machine, World, inventory, report};

async fn phase(world: &World, name: &str) -> Option<Phase> {
    world.api::<Activity>().get(name).await.unwrap().status.and_then(|status| status.phase)
}

async fn machine(world: &World, name: &str) -> Machine {
    let mut machine = world.machine(name).await;
    machine.report(&report(), &inventory()).await.unwrap();
    machine
}

async fn poll(machine: &Machine) -> PollResponse {
    machine.client.poll(&machine.poll(&report())).await.unwrap()
}

fn running(machine: &Machine, activity: &Activity) -> Progress {
    Progress {
        session: machine.session,
        uid: Uid::parse(&activity.uid().unwrap()).unwrap(),
        phase: Phase::Running,
        steps: vec![StepProgress { started_micros_ago: 0, completed_micros_ago: None }],
        outcome: None,
        message: String::new(),
    }
}

fn named(activity: &Activity) -> ActivityName {
    ActivityName::parse(&activity.name_any()).unwrap()
}

// rule: A3
#[tokio::test]
async fn only_an_activity_of_the_present_epoch_is_delivered_and_only_once_it_is_on_record() {
    let world = World::start().await;
    world.epoch(3).await;
    let machine = machine(&world, "web-01").await;
    world.activity("web-01", 1, 2).await;
    // Other news answers the poll; the late write of a leader of epoch 2 does not go with it.
    world.want("web-01", &WantedSet { interest: ["curl".parse().unwrap()].into(), items: vec![] }).await;
    let news = poll(&machine).await;
    assert!(news.wanted.is_some() && news.activity.is_none());
    assert_eq!(phase(&world, "web-01-1").await, None);

    let mut request = machine.poll(&report());
    request.wanted = news.wanted.map(|wanted| wanted.digest());
    let adopt = async {
        let label = Patch::Merge(json!({"metadata": {"labels": {"muster.dev/epoch": "3"}}}));
        world.api::<Activity>().patch("web-01-1", &PatchParams::default(), &label).await.unwrap();
    };
    let ((), news) = tokio::join!(adopt, machine.client.poll(&request));
    let activity = news.unwrap().activity.unwrap();
    assert_eq!(activity.name.to_string(), "web-01-1");
    assert!((3500..=3600).contains(&activity.expires_in_seconds), "seconds remaining, not a time of day");
    let written = world.api::<Activity>().get("web-01-1").await.unwrap();
    let status = written.status.as_ref().unwrap();
    assert_eq!(status.phase, Some(Phase::Delivered));
    assert!(status.delivered_time.is_some() && status.conditions.iter().any(|c| c.type_ == "Delivered"));

    // Not begun, it is offered again, without another write.
    let again = machine.client.poll(&request).await.unwrap().activity.unwrap();
    assert_eq!(again.uid, activity.uid);
    let after = world.api::<Activity>().get("web-01-1").await.unwrap();
    assert_eq!(after.resource_version(), written.resource_version());
}

// rule: A3
#[tokio::test]
async fn a_new_epoch_stops_the_delivery_of_what_the_old_leader_wrote() {
    let world = World::start().await;
    world.epoch(1).await;
    let machine = machine(&world, "web-01").await;
    world.epoch(2).await;
    world.activity("web-01", 1, 1).await;
    world.want("web-01", &WantedSet { interest: ["curl".parse().unwrap()].into(), items: vec![] }).await;
    assert_eq!(poll(&machine).await.activity, None);
    assert_eq!(phase(&world, "web-01-1").await, None);
}

// rule: A4
#[tokio::test]
async fn what_was_not_delivered_within_two_minutes_is_not_delivered_any_more() {
    let world = World::start().await;
    world.epoch(1).await;
    let machine = machine(&world, "web-01").await;
    world.advance(130);
    world.activity("web-01", 1, 1).await;
    world.want("web-01", &WantedSet { interest: ["curl".parse().unwrap()].into(), items: vec![] }).await;
    assert_eq!(poll(&machine).await.activity, None);
    assert_eq!(phase(&world, "web-01-1").await, None);
}

// rule: A2, A5
#[tokio::test]
async fn a_machine_answers_its_own_activity_and_hears_of_a_cancel() {
    let world = World::start().await;
    world.epoch(1).await;
    let first = machine(&world, "web-01").await;
    let second = machine(&world, "web-02").await;
    let activity = world.activity("web-01", 1, 1).await;
    let name = named(&activity);
    let early = first.client.progress(&name, &running(&first, &activity)).await.unwrap_err();
    assert_eq!(early.reason(), Some(Reason::NotYours), "it was not delivered");
    assert!(poll(&first).await.activity.is_some());
    let foreign = second.client.progress(&name, &running(&second, &activity)).await.unwrap_err();
    assert_eq!(foreign.reason(), Some(Reason::NotYours));

    assert!(!first.client.progress(&name, &running(&first, &activity)).await.unwrap().cancel);
    assert_eq!(phase(&world, "web-01-1").await, Some(Phase::Running));
    let cancel = Patch::Merge(json!({"spec": {"cancel": true}}));
    world.api::<Activity>().patch("web-01-1", &PatchParams::default(), &cancel).await.unwrap();
    let mut request = first.poll(&report());
    request.activity = Some(name.clone());
    assert!(first.client.poll(&request).await.unwrap().cancel);

    let mut end = running(&first, &activity);
    end.phase = Phase::Interrupted;
    end.outcome = Some(OutcomeReason::CancelRequested);
    assert!(first.client.progress(&name, &end).await.unwrap().cancel);
    let status = world.api::<Activity>().get("web-01-1").await.unwrap().status.unwrap();
    assert_eq!(
        (status.phase, status.outcome),
        (Some(Phase::Interrupted), Some(OutcomeReason::CancelRequested))
    );
    assert!(status.conditions.iter().any(|condition| condition.type_ == "Failed"));
}

// rule: W6
#[tokio::test]
async fn a_reboot_waits_for_the_gateways_fresh_word() {
    let world = World::start().await;
    world.epoch(1).await;
    let machine = machine(&world, "web-01").await;
    let activity = world.activity("web-01", 1, 1).await;
    assert!(poll(&machine).await.activity.is_some());
    machine.client.progress(&named(&activity), &running(&machine, &activity)).await.unwrap();
    let ask = MayStartRequest {
        session: machine.session,
        uid: Uid::parse(&activity.uid().unwrap()).unwrap(),
        step: 0,
    };
    assert!(machine.client.may_start(&named(&activity), &ask).await.unwrap().allowed);

    let now = Timestamp::now();
    let freeze: MaintenanceWindow = serde_json::from_value(json!({
        "apiVersion": "muster.dev/v1alpha1", "kind": "MaintenanceWindow", "metadata": {"name": "freeze"},
        "spec": {
            "machineSelector": {"matchLabels": {"role": "web"}}, "action": "Deny",
            "from": now - SignedDuration::from_hours(1), "to": now + SignedDuration::from_hours(1),
        },
    }))
    .unwrap();
    world.api::<MaintenanceWindow>().create(&PostParams::default(), &freeze).await.unwrap();
    let answer = machine.client.may_start(&named(&activity), &ask).await.unwrap();
    assert_eq!((answer.allowed, answer.outcome), (false, Some(OutcomeReason::WindowClosed)));
}

// rule: W6, W9
#[tokio::test]
async fn a_reboot_passes_a_freeze_for_as_long_as_its_override_is_there() {
    let world = World::start().await;
    world.epoch(1).await;
    let machine = machine(&world, "web-01").await;
    let now = Timestamp::now();
    let freeze = |name: &str, overridable: bool| -> MaintenanceWindow {
        serde_json::from_value(json!({
            "apiVersion": "muster.dev/v1alpha1", "kind": "MaintenanceWindow", "metadata": {"name": name},
            "spec": {
                "machineSelector": {"matchLabels": {"role": "web"}}, "action": "Deny", "overridable": overridable,
                "from": now - SignedDuration::from_hours(1), "to": now + SignedDuration::from_hours(2),
            },
        }))
        .unwrap()
    };
    let windows = world.api::<MaintenanceWindow>();
    windows.create(&PostParams::default(), &freeze("freeze", true)).await.unwrap();
    let overrides = world.api::<muster_crds::WindowOverride>();
    let cve = serde_json::from_value(json!({
        "apiVersion": "muster.dev/v1alpha1", "kind": "WindowOverride", "metadata": {"name": "cve"},
        "spec": {
            "windows": ["freeze", "hard"], "items": [{"baseline": {"name": "fix"}, "reboot": true}],
            "reason": "an incident", "untilTime": now + SignedDuration::from_hours(1),
        },
    }))
    .unwrap();
    overrides.create(&PostParams::default(), &cve).await.unwrap();
    let passed = json!([{"covers": "Reboot", "name": "freeze", "overriddenBy": "cve"}]);
    let activity = world.activity_past("web-01", 1, 1, &passed).await;
    assert!(poll(&machine).await.activity.is_some());
    machine.client.progress(&named(&activity), &running(&machine, &activity)).await.unwrap();
    let ask = MayStartRequest {
        session: machine.session,
        uid: Uid::parse(&activity.uid().unwrap()).unwrap(),
        step: 0,
    };
    assert!(machine.client.may_start(&named(&activity), &ask).await.unwrap().allowed);
    windows.create(&PostParams::default(), &freeze("hard", false)).await.unwrap();
    assert!(!machine.client.may_start(&named(&activity), &ask).await.unwrap().allowed, "a hard one stays");
    windows.delete("hard", &kube::api::DeleteParams::default()).await.unwrap();
    assert!(machine.client.may_start(&named(&activity), &ask).await.unwrap().allowed);
    overrides.delete("cve", &kube::api::DeleteParams::default()).await.unwrap();
    let answer = machine.client.may_start(&named(&activity), &ask).await.unwrap();
    assert_eq!((answer.allowed, answer.outcome), (false, Some(OutcomeReason::WindowClosed)));
}

// rule: W6, M5
#[tokio::test]
async fn a_machine_that_is_not_admitted_any_more_may_not_start_its_reboot() {
    let world = World::start().await;
    world.epoch(1).await;
    let machine = machine(&world, "web-01").await;
    let activity = world.activity("web-01", 1, 1).await;
    assert!(poll(&machine).await.activity.is_some());
    machine.client.progress(&named(&activity), &running(&machine, &activity)).await.unwrap();
    let out = Patch::Merge(json!({"spec": {"admitted": false}}));
    world.api::<muster_crds::FleetMachine>().patch("web-01", &PatchParams::default(), &out).await.unwrap();
    let ask = MayStartRequest {
        session: machine.session,
        uid: Uid::parse(&activity.uid().unwrap()).unwrap(),
        step: 0,
    };
    let answer = machine.client.may_start(&named(&activity), &ask).await.unwrap();
    assert_eq!((answer.allowed, answer.outcome), (false, Some(OutcomeReason::CancelRequested)));
}
