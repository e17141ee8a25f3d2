//! Leadership of a namespace.

use k8s_openapi::api::coordination::v1::Lease;

use crate::world::World;

fn transitions(lease: &Lease) -> i32 {
    lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0)
}

fn held(lease: &Lease) -> bool {
    lease
        .spec
        .as_ref()
        .and_then(|spec| spec.holder_identity.as_deref())
        .is_some_and(|holder| !holder.is_empty())
}

// rule: A3
#[tokio::test]
async fn each_new_leader_begins_an_epoch_of_its_own() {
    let mut world = World::new().await;
    world
        .until::<Lease>("muster-controller", "held in epoch 1", |lease| {
            held(lease) && transitions(lease) == 1
        })
        .await;
    world.stop().await;
    world.until::<Lease>("muster-controller", "released", |lease| !held(lease)).await;
    world.start();
    world
        .until::<Lease>("muster-controller", "held in epoch 2", |lease| {
            held(lease) && transitions(lease) == 2
        })
        .await;
    world.stop().await;
}
