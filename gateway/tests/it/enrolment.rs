//! Who gets in, and who does not any more.

use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use muster_crds::{EnrollmentToken, FleetMachine, FleetMachineSpec};
use muster_model::Digest;
use muster_wire::{Client, EnrollRequest, Identity, Reason, RenewRequest, pki};
use serde_json::json;

use crate::world::{World, inventory, report};

// rule: M5
#[tokio::test]
async fn a_machine_with_a_token_becomes_one_of_the_fleets_with_the_tokens_labels() {
    let world = World::start().await;
    world.token("secret", 2).await;
    let key = pki::new_key().unwrap();
    let enrolled = world.enroll("secret", "Web_01", &key).await.unwrap();
    assert_eq!(
        (enrolled.name.as_str(), enrolled.namespace.as_str(), enrolled.admitted),
        ("web-01", "default", true)
    );
    let machine = world.fleet_machine("web-01").await;
    assert_eq!(machine.spec.identity.as_ref(), Some(&enrolled.identity));
    assert_eq!(machine.labels().get("role").map(String::as_str), Some("web"));

    let again = world.enroll("secret", "Web_01", &key).await.unwrap();
    assert_eq!(again.identity, enrolled.identity, "the answer was lost: the same key is the same machine");
    let other = world.enroll("secret", "web-01", &pki::new_key().unwrap()).await.unwrap();
    assert_eq!(other.name, "web-01-2", "another machine of that host name");
    let token: EnrollmentToken = world.api().get("token-secret").await.unwrap();
    assert_eq!(token.status.unwrap().uses, 2);
    let third = world.enroll("secret", "web-02", &pki::new_key().unwrap()).await.unwrap_err();
    assert_eq!(third.reason(), Some(Reason::TokenRefused), "the token is used up");
}

#[tokio::test]
async fn an_unknown_or_expired_token_lets_nobody_in() {
    let world = World::start().await;
    let key = pki::new_key().unwrap();
    assert_eq!(world.enroll("guess", "web-01", &key).await.unwrap_err().reason(), Some(Reason::TokenRefused));
    world.token("secret", 1).await;
    world.advance(2 * 3600);
    assert_eq!(
        world.enroll("secret", "web-01", &key).await.unwrap_err().reason(),
        Some(Reason::TokenRefused)
    );
}

#[tokio::test]
async fn the_token_is_not_sent_to_a_gateway_of_another_fleet() {
    let world = World::start().await;
    let request = EnrollRequest {
        token: "secret".into(),
        csr: pki::signing_request(&pki::new_key().unwrap()).unwrap(),
        hostname: "web-01".into(),
        machine_id: "m".into(),
        observe: false,
    };
    let address = world.gateway.address().to_string();
    let error = Client::enroll(&address, &Digest::of(b"another root"), &request).await.unwrap_err();
    assert!(error.to_string().contains("the pinned SHA-256"), "{error}");
}

#[tokio::test]
async fn a_machine_that_was_written_in_advance_keeps_its_name_and_labels() {
    let world = World::start().await;
    let mut written = FleetMachine::new("db-01", FleetMachineSpec::default());
    written.labels_mut().insert("role".into(), "db".into());
    world.api().create(&PostParams::default(), &written).await.unwrap();
    let machine = world.machine("db-01").await;
    assert_eq!(machine.name, "db-01");
    let taken = world.fleet_machine("db-01").await;
    assert_eq!(taken.labels().get("role").map(String::as_str), Some("db"));
    assert!(taken.spec.identity.is_some() && taken.spec.admitted);
}

#[tokio::test]
async fn a_revoked_or_deleted_machine_is_shut_out_while_it_waits() {
    let world = World::start().await;
    let mut revoked = world.machine("web-01").await;
    let mut deleted = world.machine("web-02").await;
    let report = report();
    revoked.report(&report, &inventory()).await.unwrap();
    deleted.report(&report, &inventory()).await.unwrap();
    let change = async {
        let machines = world.api::<FleetMachine>();
        let patch = Patch::Merge(json!({"spec": {"revoked": true}}));
        machines.patch("web-01", &PatchParams::default(), &patch).await.unwrap();
        machines.delete("web-02", &DeleteParams::default()).await.unwrap();
    };
    let (first, second) = (revoked.poll(&report), deleted.poll(&report));
    let (_, first, second) = tokio::join!(change, revoked.client.poll(&first), deleted.client.poll(&second));
    assert_eq!(first.unwrap_err().reason(), Some(Reason::Revoked));
    assert_eq!(second.unwrap_err().reason(), Some(Reason::Revoked));
    let renewal = RenewRequest { csr: pki::signing_request(&pki::new_key().unwrap()).unwrap() };
    assert_eq!(revoked.client.renew(&renewal).await.unwrap_err().reason(), Some(Reason::Revoked));
}

#[tokio::test]
async fn an_expired_certificate_can_renew_itself_and_nothing_else() {
    let world = World::start().await;
    let mut machine = world.machine("web-01").await;
    let report = report();
    machine.report(&report, &inventory()).await.unwrap();
    world.advance(8 * 24 * 3600);
    let refused = machine.client.report(&machine.request(&report, false)).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::CertificateExpired));
    let key = pki::new_key().unwrap();
    let renewed =
        machine.client.renew(&RenewRequest { csr: pki::signing_request(&key).unwrap() }).await.unwrap();
    let end = pki::not_after(&renewed.certificate).unwrap();
    assert!(end > jiff::Timestamp::now() + jiff::SignedDuration::from_hours(14 * 24), "{end}");
}

#[tokio::test]
async fn without_a_certificate_nothing_but_enrolment_is_answered() {
    let world = World::start().await;
    let stranger = pki::new_root(jiff::Timestamp::now()).unwrap();
    let identity = Identity { certificate: stranger.certificate, key: stranger.key };
    let client = Client::new(&world.gateway.address().to_string(), &world.root, &identity).unwrap();
    let machine = crate::world::Machine { name: "x".into(), client, session: 0, sequence: 0 };
    let refused = machine.client.report(&machine.request(&report(), true)).await.unwrap_err();
    assert_eq!(refused.reason(), None, "TLS refuses another fleet's certificate: {refused}");
}
