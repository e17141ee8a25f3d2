//! Reports, inventories, presence, proposals.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{ListParams, PostParams};
use kube::runtime::wait::await_condition;
use muster_crds::presence::{PresenceShard, presence_config_map, presence_shard};
use muster_crds::{PackageInventory, PackageProposal, names};
use muster_model::{MachineName, Proposal, ProposalKey, WantedItem, WantedSet};
use muster_wire::{ProposalRequest, Reason};

use crate::world::{World, inventory, report};

// rule: M1, M2, M4
#[tokio::test]
async fn a_report_is_written_once_and_heartbeats_write_nothing() {
    let world = World::start().await;
    let mut machine = world.machine("web-01").await;
    let mut report = report();
    let first = machine.client.report(&machine.request(&report, false)).await.unwrap();
    assert!(first.send_report && first.session == 1, "the gateway opens the session: {first:?}");
    machine.report(&report, &inventory()).await.unwrap();
    let written = world.fleet_machine("web-01").await;
    let reported = written.status.as_ref().unwrap().reported.as_ref().unwrap();
    assert_eq!((reported.session, reported.digest.clone()), (1, report.digest().to_string()));
    assert_eq!(reported.facts["fact.muster.dev/os"], "debian");

    for _ in 0..3 {
        let answer = machine.client.report(&machine.request(&report, false)).await.unwrap();
        assert!(!answer.send_report && answer.send_inventory.is_none());
    }
    let after = world.fleet_machine("web-01").await;
    assert_eq!(after.resource_version(), written.resource_version(), "nothing changed, nothing was written");

    report.upgradable = 3;
    machine.report(&report, &inventory()).await.unwrap();
    let changed = world.fleet_machine("web-01").await;
    assert_eq!(changed.status.unwrap().reported.unwrap().upgradable, 3);

    // The machine is set back to an old snapshot: its old session is told to begin anew.
    machine.sequence = 0;
    report.upgradable = 0;
    let stale = machine.client.report(&machine.request(&report, true)).await.unwrap();
    assert_eq!((stale.session, stale.send_report), (2, true));
    machine.report(&report, &inventory()).await.unwrap();
    assert_eq!(world.fleet_machine("web-01").await.status.unwrap().reported.unwrap().session, 2);
}

// rule: M2
#[tokio::test]
async fn machines_with_the_same_packages_share_one_inventory() {
    let world = World::start().await;
    for host in ["web-01", "web-02", "web-03"] {
        world.machine(host).await.report(&report(), &inventory()).await.unwrap();
    }
    let inventories = world.api::<PackageInventory>().list(&ListParams::default()).await.unwrap();
    assert_eq!(inventories.items.len(), 1);
    assert_eq!(inventories.items[0].to_model().unwrap(), inventory());
}

#[tokio::test]
async fn an_inventory_that_is_about_to_be_collected_is_kept_by_who_reports_it_again() {
    let world = World::start().await;
    let mut marked = PackageInventory::from_model(&inventory()).unwrap();
    let mark = (names::ANNOTATION_UNREFERENCED.to_owned(), "2026-11-22T00:00:00Z".to_owned());
    marked.annotations_mut().extend([mark]);
    let marked = world.api::<PackageInventory>().create(&PostParams::default(), &marked).await.unwrap();
    world.machine("web-01").await.report(&report(), &inventory()).await.unwrap();
    let kept = world.api::<PackageInventory>().get(&marked.name_any()).await.unwrap();
    assert!(kept.annotations().is_empty(), "{:?}", kept.annotations());
    // So the deletion that was under way finds another version than the one that was marked.
    assert_ne!(kept.resource_version(), marked.resource_version());
}

// rule: M1
#[tokio::test]
async fn a_machine_that_confirms_its_report_is_published_as_present() {
    let world = World::start().await;
    let mut machine = world.machine("web-01").await;
    machine.report(&report(), &inventory()).await.unwrap();
    let name = MachineName::parse("web-01").unwrap();
    let object = presence_config_map("a", presence_shard(&name));
    let is_present = |object: Option<&ConfigMap>| {
        let data = object.and_then(|object| object.data.clone()).unwrap_or_default();
        PresenceShard::decode(&data).is_ok_and(|shard| shard.present.contains("web-01"))
    };
    await_condition(world.api::<ConfigMap>(), &object, is_present).await.unwrap();
}

// rule: A7
#[tokio::test]
async fn a_wanted_set_reaches_the_machine_at_once_and_its_simulation_becomes_a_proposal() {
    let world = World::start().await;
    let mut machine = world.machine("web-01").await;
    let report = report();
    machine.report(&report, &inventory()).await.unwrap();
    let wanted = WantedSet {
        interest: ["openssl".parse().unwrap()].into(),
        items: vec![WantedItem {
            package: muster_model::PackageKey {
                name: "openssl".parse().unwrap(),
                architecture: "amd64".parse().unwrap(),
            },
            version: Some("3.0.22-1~deb12u2".parse().unwrap()),
        }],
    };
    let poll = machine.poll(&report);
    let ((), news) = tokio::join!(world.want("web-01", &wanted), machine.client.poll(&poll));
    assert_eq!(news.unwrap().wanted.as_ref(), Some(&wanted));

    let key = ProposalKey { inventory: inventory().digest(), wanted: wanted.digest() };
    let proposal = Proposal::Refused { message: "nothing provides it".into() };
    let mut request =
        ProposalRequest { session: machine.session, key: key.clone(), proposal: proposal.clone() };
    machine.client.propose(&request).await.unwrap();
    machine.client.propose(&request).await.unwrap();
    let written = world.api::<PackageProposal>().list(&ListParams::default()).await.unwrap();
    assert_eq!(written.items.len(), 1);
    assert_eq!(written.items[0].to_model().unwrap(), (key, proposal));

    request.key.inventory = muster_model::Digest::of(b"another machine's");
    assert_eq!(machine.client.propose(&request).await.unwrap_err().reason(), Some(Reason::NotYours));
}

#[tokio::test]
async fn two_machines_with_one_identity_are_both_shut_out() {
    let world = World::start().await;
    let mut machine = world.machine("web-01").await;
    let mut refused = None;
    for boot in ["here", "there", "here", "there"] {
        let mut report = report();
        report.boot.id = boot.into();
        // Each has its own idea of session and sequence, and finds that it is not the gateway's.
        (machine.session, machine.sequence) = (0, 0);
        refused = machine.report(&report, &inventory()).await.err();
    }
    assert_eq!(refused.and_then(|error| error.reason()), Some(Reason::DuplicateIdentity));
    let status = world.fleet_machine("web-01").await.status.unwrap();
    assert!(status.conditions.iter().any(|condition| condition.type_ == "DuplicateIdentity"));
    assert!(status.reported.is_some(), "the last report stays");
}

// rule: M3
#[tokio::test]
async fn a_machine_whose_clock_is_off_is_judged_by_ours_and_says_so() {
    let world = World::start().await;
    let mut machine = world.machine("web-01").await;
    world.advance(-120);
    machine.report(&report(), &inventory()).await.unwrap();
    let reported = world.fleet_machine("web-01").await.status.unwrap().reported.unwrap();
    let skew = reported.clock_skew_seconds.unwrap();
    assert!((119..=121).contains(&skew), "{skew}");
}
