//! An API in memory, a controller in front of it, and a gateway played by the test.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use muster_apiserver::{ApiServer, Config, Identity};
use muster_controller::Settings;
use muster_crds::presence::{self, PresenceShard};
use muster_crds::{FleetMachine, PackageInventory, ReportedStatus};
use muster_model::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub(crate) const NAMESPACE: &str = "default";

pub(crate) struct World {
    pub(crate) server: ApiServer,
    pub(crate) client: Client,
    folder: tempfile::TempDir,
    shutdown: CancellationToken,
    controller: Option<tokio::task::JoinHandle<()>>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let server = ApiServer::open(Config::default()).await.unwrap();
        let definitions: Vec<Value> =
            muster_crds::all_crds().iter().map(|crd| serde_json::to_value(crd).unwrap()).collect();
        server.apply_crds(&definitions).await.unwrap();
        let client = Client::new(server.service(Identity::admin("test")), NAMESPACE);
        let folder = tempfile::tempdir().unwrap();
        let mut world = Self { server, client, folder, shutdown: CancellationToken::new(), controller: None };
        world.start();
        world
    }

    /// Starts a controller of its own identity.
    pub(crate) fn start(&mut self) {
        self.shutdown = CancellationToken::new();
        let settings = Settings {
            client: Client::new(
                self.server.service(Identity::new("controller", &["muster:controller"])),
                NAMESPACE,
            ),
            namespace: NAMESPACE.to_owned(),
            sole: true,
            state_dir: self.folder.path().to_owned(),
            shutdown: self.shutdown.clone(),
            events: None,
        };
        self.controller = Some(tokio::spawn(async move { muster_controller::run(settings).await.unwrap() }));
    }

    /// Ends the controller, orderly.
    pub(crate) async fn stop(&mut self) {
        self.shutdown.cancel();
        self.controller.take().unwrap().await.unwrap();
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// Applies what a person wrote.
    pub(crate) async fn apply(&self, yaml: &str) {
        let value: Value = serde_saphyr::from_str(yaml).unwrap();
        let kind = value["kind"].as_str().unwrap().to_owned();
        let name = value["metadata"]["name"].as_str().unwrap().to_owned();
        let resource = kube::core::ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(
            "muster.dev",
            "v1alpha1",
            &kind,
        ));
        let api: Api<kube::core::DynamicObject> =
            Api::namespaced_with(self.client.clone(), NAMESPACE, &resource);
        api.patch(&name, &PatchParams::apply("person").force(), &Patch::Apply(&value)).await.unwrap();
    }

    /// Waits until an object is as it should be, by a watch; says what it was last otherwise.
    pub(crate) async fn until<K>(&self, name: &str, what: &str, check: impl Fn(&K) -> bool) -> K
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let last = std::sync::Mutex::new(None);
        let condition = |object: Option<&K>| {
            *last.lock().unwrap() = object.cloned();
            object.is_some_and(&check)
        };
        let found = kube::runtime::wait::await_condition(self.api::<K>(), name, condition);
        match tokio::time::timeout(Duration::from_secs(30), found).await {
            Ok(found) => found.unwrap().unwrap(),
            Err(_) => panic!("{name} did not become {what}; it is {:#?}", last.lock().unwrap()),
        }
    }

    /// A machine that is enrolled, admitted, heard, with that inventory.
    pub(crate) async fn machine(&self, name: &str, inventory: &Inventory) {
        let machine = FleetMachine {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            spec: muster_crds::FleetMachineSpec { admitted: true, ..Default::default() },
            status: None,
        };
        match self.api().create(&PostParams::default(), &machine).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(error) => panic!("{error}"),
        }
        self.report(name, 1, inventory).await;
    }

    /// What the gateway writes when a machine reports.
    pub(crate) async fn report(&self, name: &str, sequence: u64, inventory: &Inventory) {
        self.report_failed(name, sequence, inventory, &[]).await;
    }

    /// Likewise, of a machine with failed units.
    pub(crate) async fn report_failed(
        &self,
        name: &str,
        sequence: u64,
        inventory: &Inventory,
        failed: &[&str],
    ) {
        let list = PackageInventory::from_model(inventory).unwrap();
        match self.api().create(&PostParams::default(), &list).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(error) => panic!("{error}"),
        }
        let failed_units = failed.iter().map(|unit| unit.parse().unwrap()).collect();
        let report = Report { failed_units, ..report(&inventory.digest()) };
        let reported = Reported {
            session: 1,
            sequence,
            digest: report.digest(),
            time: Timestamp::now(),
            facts: report.facts(),
            report,
        };
        let status = json!({
            "apiVersion": "muster.dev/v1alpha1", "kind": "FleetMachine", "metadata": {"name": name},
            "status": {"reported": ReportedStatus::from_model(&reported, None)},
        });
        let parameters = PatchParams::apply("muster-gateway").force();
        self.api::<FleetMachine>().patch_status(name, &parameters, &Patch::Apply(&status)).await.unwrap();
    }

    /// What a gateway publishes: whom it hears.
    pub(crate) async fn heard(&self, names: &[&str]) {
        let now = MicroTime(Timestamp::now());
        let labels = [
            (presence::LABEL_GATEWAY.to_owned(), "test".to_owned()),
            (presence::LABEL_PRESENCE.to_owned(), "true".to_owned()),
        ];
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(presence::gateway_lease("test")),
                labels: Some(labels.clone().into()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some("test".to_owned()),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_duration_seconds: Some(3600),
                ..LeaseSpec::default()
            }),
        };
        self.api().create(&PostParams::default(), &lease).await.unwrap();
        let present: BTreeSet<MachineName> =
            names.iter().map(|name| MachineName::parse(name).unwrap()).collect();
        let shard = ConfigMap {
            metadata: ObjectMeta {
                name: Some(presence::presence_config_map("test", 0)),
                labels: Some(labels.into()),
                ..ObjectMeta::default()
            },
            data: Some(PresenceShard { present, ..PresenceShard::default() }.encode()),
            ..ConfigMap::default()
        };
        self.api().create(&PostParams::default(), &shard).await.unwrap();
    }

    /// The versions of all objects of ours: they tell whether anything was written.
    pub(crate) async fn versions(&self) -> Vec<String> {
        let mut versions = Vec::new();
        for crd in muster_crds::all_crds() {
            let kind = &crd.spec.names.kind;
            let resource = kube::core::ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(
                "muster.dev",
                "v1alpha1",
                kind,
            ));
            let api: Api<kube::core::DynamicObject> =
                Api::namespaced_with(self.client.clone(), NAMESPACE, &resource);
            for object in api.list(&Default::default()).await.unwrap() {
                versions.push(format!("{kind}/{} {}", object.name_any(), object.resource_version().unwrap()));
            }
        }
        versions
    }
}

pub(crate) fn key(name: &str) -> PackageKey {
    PackageKey {
        name: PackageName::parse(name).unwrap(),
        architecture: Architecture::parse("amd64").unwrap(),
    }
}

pub(crate) fn version(text: &str) -> DebianVersion {
    DebianVersion::parse(text).unwrap()
}

/// An inventory with openssl at that version, and 3.0.15-1 on offer.
pub(crate) fn openssl(installed: &str) -> Inventory {
    let offer = |text: &str| Offer {
        version: version(text),
        pin: 500,
        origins: vec!["Debian:bookworm".into()],
        phased: None,
    };
    let mut inventory = Inventory {
        architecture: Architecture::parse("amd64").unwrap(),
        lists: Digest::of(b"lists"),
        interest: [PackageName::parse("openssl").unwrap()].into(),
        packages: vec![Package {
            key: key("openssl"),
            installed: Some(Installed {
                version: version(installed),
                state: PackageState::Installed,
                held: false,
                automatic: false,
            }),
            candidate: Some(version("3.0.15-1")),
            offers: vec![offer("3.0.15-1"), offer("3.0.14-1")],
        }],
    };
    inventory.canonicalise();
    inventory
}

pub(crate) fn report(inventory: &Digest) -> Report {
    Report {
        agent: "0.1.0".into(),
        capabilities: [
            Capability::ExactSimulation,
            Capability::Packages,
            Capability::Reboot,
            Capability::Journal,
        ]
        .into(),
        os: Os { id: "debian".into(), version_id: "12".into(), codename: "bookworm".into() }.into(),
        architecture: Architecture::parse("amd64").unwrap(),
        kernel: Kernel {
            booted: "6.1.0-1-amd64".into(),
            installed: Vec::new(),
            next_boot: None,
            command_line: "quiet".into(),
        }
        .into(),
        boot: Boot { id: "5f1d".into(), time: "2026-11-01T00:00:00Z".parse().unwrap() },
        reboot_required: None,
        inventory: inventory.clone(),
        dpkg_interrupted: false,
        upgradable: 1,
        security_upgradable: 0,
        phasing: BTreeMap::new(),
        failed_units: Default::default(),
        hardware: Hardware::default().into(),
        last_activity: 0,
    }
}
