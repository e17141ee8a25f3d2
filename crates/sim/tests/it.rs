//! Fake machines at a real gateway, in front of the embedded Kubernetes API.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use muster_apiserver::{ApiServer, Config, Identity};
use muster_crds::{
    Activity, Admit, EnrollmentToken, EnrollmentTokenSpec, FleetMachine, PackageInventory, PackageProposal,
    WantedStatus,
};
use muster_gateway::{Gateway, GatewayConfig, Handle, Metrics, RootIssuer};
use muster_model::{Digest, PackageKey, Phase, Proposal, WantedItem, WantedSet};
use muster_sim::machines::{FakeFleet, Options, labels_of, name_of};
use muster_wire::pki;
use serde_json::json;

struct World {
    kube: Client,
    gateway: Handle,
    root: Digest,
}

impl World {
    async fn start() -> Self {
        let api = ApiServer::open(Config::default()).await.unwrap();
        let definitions: Vec<_> =
            muster_crds::all_crds().into_iter().map(|crd| serde_json::to_value(crd).unwrap()).collect();
        api.apply_crds(&definitions).await.unwrap();
        let kube = Client::new(api.service(Identity::admin("test")), "default");
        let root = pki::new_root(Timestamp::now()).unwrap();
        let gateway = Gateway::start(GatewayConfig {
            client: Client::new(api.service(Identity::new("gateway-a", &["muster:gateway"])), "default"),
            namespaces: vec!["default".to_owned()],
            listener: tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(),
            id: "a".to_owned(),
            issuer: Arc::new(RootIssuer::new(root.clone())),
            clock: Arc::new(Timestamp::now),
            metrics: Metrics::default(),
        })
        .await
        .unwrap();
        Self { kube, gateway, root: pki::digest(&root.certificate).unwrap() }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.kube.clone(), "default")
    }

    /// A token for each machine, as `muster up` makes one for each set of labels.
    async fn tokens(&self, count: u32) {
        for n in 0..count {
            let spec = EnrollmentTokenSpec {
                secret_hash: Digest::of(format!("secret-{n}").as_bytes()).to_string(),
                expiry_time: Time(Timestamp::now() + SignedDuration::from_hours(1)),
                max_uses: 1,
                labels: labels_of(n),
                admit: Admit::Admitted,
            };
            let token = EnrollmentToken::new(&format!("token-{n}"), spec);
            self.api::<EnrollmentToken>().create(&PostParams::default(), &token).await.unwrap();
        }
    }

    fn fleet(&self, count: u32, state_dir: &Path) -> FakeFleet {
        FakeFleet::start(Options {
            count,
            seed: 7,
            step: Duration::from_millis(50),
            gateway: self.gateway.address().to_string(),
            root: self.root.clone(),
            token: Arc::new(|n| format!("secret-{n}")),
            state_dir: state_dir.to_owned(),
        })
        .unwrap()
    }

    /// Waits until an object is as wanted.
    async fn until<K>(&self, name: &str, is_so: impl Fn(&K) -> bool) -> K
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned
            + Send
            + 'static,
    {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut objects = watcher(self.api::<K>(), config).applied_objects().boxed();
        while let Some(object) = objects.try_next().await.unwrap() {
            if is_so(&object) {
                return object;
            }
        }
        panic!("the watch ended");
    }

    async fn want(&self, machine: &str, wanted: &WantedSet) {
        let patch = json!({
            "apiVersion": "muster.dev/v1alpha1", "kind": "FleetMachine", "metadata": {"name": machine},
            "status": {"decision": {"verdict": "Waiting", "wanted": WantedStatus::from_model(wanted)}},
        });
        let params = PatchParams::apply("muster-controller").force();
        self.api::<FleetMachine>().patch_status(machine, &params, &Patch::Apply(&patch)).await.unwrap();
    }

    async fn epoch(&self) {
        let lease = Lease {
            metadata: ObjectMeta { name: Some("muster-controller".to_owned()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec { lease_transitions: Some(1), ..LeaseSpec::default() }),
        };
        self.api::<Lease>().create(&PostParams::default(), &lease).await.unwrap();
    }

    /// An activity with these steps.
    async fn activity(&self, machine: &str, steps: serde_json::Value) {
        let uid = self.api::<FleetMachine>().get(machine).await.unwrap().uid().unwrap();
        let activity: Activity = serde_json::from_value(json!({
            "apiVersion": "muster.dev/v1alpha1", "kind": "Activity",
            "metadata": {
                "name": format!("{machine}-1"),
                "labels": {"muster.dev/machine": machine, "muster.dev/epoch": "1"},
            },
            "spec": {
                "machineRef": {"name": machine, "uid": uid}, "steps": steps, "cause": {},
                "expiryTime": Timestamp::now() + SignedDuration::from_hours(1),
            },
        }))
        .unwrap();
        self.api().create(&PostParams::default(), &activity).await.unwrap();
    }
}

fn reported(machine: &FleetMachine) -> bool {
    machine.status.as_ref().is_some_and(|status| status.reported.is_some())
}

fn finished(activity: &Activity) -> bool {
    activity.status.as_ref().and_then(|status| status.phase).is_some_and(Phase::is_finished)
}

fn openssl() -> WantedSet {
    let package = PackageKey { name: "openssl".parse().unwrap(), architecture: "amd64".parse().unwrap() };
    let version = Some("3.0.22-1~deb12u2".parse().unwrap());
    WantedSet { interest: [package.name.clone()].into(), items: vec![WantedItem { package, version }] }
}

// rule: M2
#[tokio::test]
async fn twenty_fake_machines_enrol_and_report_one_inventory_and_go_on_after_a_restart() {
    let world = World::start().await;
    let state = tempfile::tempdir().unwrap();
    world.tokens(20).await;
    let fleet = world.fleet(20, state.path());
    for n in 0..20 {
        let machine = world.until(&name_of(n), reported).await;
        assert_eq!(machine.labels().get("role"), labels_of(n).get("role"));
    }
    assert_eq!(fleet.enrolled(), 20);
    let inventories = world.api::<PackageInventory>().list(&ListParams::default()).await.unwrap();
    assert_eq!(inventories.items.len(), 1);
    fleet.stop().await;

    // Its tokens are used up by now: only a machine that remembers who it is can come back.
    let before = world.api::<FleetMachine>().get("sim-00003").await.unwrap();
    let fleet = world.fleet(20, state.path());
    world.want("sim-00003", &openssl()).await;
    let proposals = world.api::<PackageProposal>();
    let mut seen = watcher(proposals, watcher::Config::default()).applied_objects().boxed();
    let (_, proposal) = seen.try_next().await.unwrap().unwrap().to_model().unwrap();
    let Proposal::Transaction { changes } = proposal else { panic!("refused: {proposal:?}") };
    assert_eq!(changes.len(), 2, "libssl3 comes along: {changes:?}");
    let after = world.api::<FleetMachine>().get("sim-00003").await.unwrap();
    assert_eq!(after.uid(), before.uid());
    let session =
        |machine: &FleetMachine| machine.status.as_ref().unwrap().reported.as_ref().unwrap().session;
    assert_eq!(session(&after), session(&before), "nothing was lost, so the session goes on");
    fleet.stop().await;
}

// rule: A7
#[tokio::test]
async fn a_fake_machine_carries_out_a_transaction_and_a_reboot_and_reports_what_became_of_it() {
    let world = World::start().await;
    world.epoch().await;
    let state = tempfile::tempdir().unwrap();
    world.tokens(2).await;
    let fleet = world.fleet(2, state.path());
    let before = world.until("sim-00000", reported).await.status.unwrap().reported.unwrap();
    let change = |name: &str| json!({"name": name, "architecture": "amd64", "from": "3.0.20-1~deb12u2", "to": "3.0.22-1~deb12u2"});
    let transaction = json!({"requested": [change("openssl")], "dependencies": [change("libssl3")]});
    world
        .activity(
            "sim-00000",
            json!([
                {"type": "InstallPackages", "installPackages": transaction, "timeout": "1h"},
                {"type": "Reboot", "reboot": {}, "timeout": "30m"},
            ]),
        )
        .await;
    let activity = world.until("sim-00000-1", finished).await;
    let status = activity.status.unwrap();
    assert_eq!(status.phase, Some(Phase::Succeeded), "{status:?}");
    let times: Vec<_> = status
        .steps
        .iter()
        .flat_map(|step| [step.start_time.clone(), step.completion_time.clone()])
        .map(|time| time.unwrap().0)
        .collect();
    assert!(times.len() == 4 && times.is_sorted(), "{times:?}");
    let is_new = |machine: &FleetMachine| {
        let reported = machine.status.as_ref().and_then(|status| status.reported.as_ref());
        reported.is_some_and(|reported| reported.inventory != before.inventory && reported.last_activity == 1)
    };
    let after = world.until("sim-00000", is_new).await.status.unwrap().reported.unwrap();
    assert_ne!(after.boot.id, before.boot.id);

    // The other machine's apt says something else than this activity.
    world.until("sim-00001", reported).await;
    let alone = json!({"requested": [change("openssl")]});
    world
        .activity(
            "sim-00001",
            json!([{"type": "InstallPackages", "installPackages": alone, "timeout": "1h"}]),
        )
        .await;
    let refused = world.until("sim-00001-1", finished).await.status.unwrap();
    assert_eq!(
        (refused.phase, refused.outcome.map(|o| o.as_str())),
        (Some(Phase::Refused), Some("PlanMismatch"))
    );
    fleet.stop().await;
}
