//! A Kubernetes API in memory, a gateway before it, and machines that talk to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client as Kube, ResourceExt};
use muster_apiserver::{ApiServer, Config, Identity as Who};
use muster_crds::{Activity, Admit, EnrollmentToken, EnrollmentTokenSpec, FleetMachine, WantedStatus};
use muster_gateway::{Gateway, GatewayConfig, Handle, Metrics, RootIssuer};
use muster_model::{Boot, Capability, Digest, Hardware, Inventory, Kernel, Os, Report, WantedSet};
use muster_wire::{
    Client, ClientError, EnrollRequest, EnrollResponse, Identity, PollRequest, ReportRequest, pki,
};
use serde_json::json;

pub(crate) struct World {
    pub(crate) kube: Kube,
    pub(crate) gateway: Handle,
    pub(crate) root: Digest,
    offset: Arc<AtomicI64>,
}

impl World {
    pub(crate) async fn start() -> Self {
        let api = ApiServer::open(Config::default()).await.unwrap();
        let definitions: Vec<_> =
            muster_crds::all_crds().into_iter().map(|crd| serde_json::to_value(crd).unwrap()).collect();
        api.apply_crds(&definitions).await.unwrap();
        let kube = Kube::new(api.service(Who::admin("test")), "default");
        let offset = Arc::new(AtomicI64::new(0));
        let seconds = offset.clone();
        let root = pki::new_root(Timestamp::now()).unwrap();
        let gateway = Gateway::start(GatewayConfig {
            client: Kube::new(api.service(Who::new("gateway-a", &["muster:gateway"])), "default"),
            namespaces: vec!["default".to_owned()],
            listener: tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(),
            id: "a".to_owned(),
            issuer: Arc::new(RootIssuer::new(root.clone())),
            clock: Arc::new(move || {
                Timestamp::now() + SignedDuration::from_secs(seconds.load(Ordering::Relaxed))
            }),
            metrics: Metrics::default(),
        })
        .await
        .unwrap();
        let root = pki::digest(&root.certificate).unwrap();
        Self { kube, gateway, root, offset }
    }

    /// Moves the gateway's clock.
    pub(crate) fn advance(&self, seconds: i64) {
        self.offset.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.kube.clone(), "default")
    }

    /// A token that admits at once, good for `uses` machines.
    pub(crate) async fn token(&self, secret: &str, uses: u32) {
        let spec = EnrollmentTokenSpec {
            secret_hash: Digest::of(secret.as_bytes()).to_string(),
            expiry_time: Time(Timestamp::now() + SignedDuration::from_hours(1)),
            max_uses: uses,
            labels: BTreeMap::from([("role".to_owned(), "web".to_owned())]),
            admit: Admit::Admitted,
        };
        let token = EnrollmentToken::new(&format!("token-{secret}"), spec);
        self.api::<EnrollmentToken>().create(&PostParams::default(), &token).await.unwrap();
    }

    pub(crate) async fn enroll(
        &self,
        secret: &str,
        host: &str,
        key: &str,
    ) -> Result<EnrollResponse, ClientError> {
        let request = EnrollRequest {
            token: secret.to_owned(),
            csr: pki::signing_request(key).unwrap(),
            hostname: host.to_owned(),
            machine_id: "0123456789abcdef".to_owned(),
            observe: false,
        };
        Client::enroll(&self.gateway.address().to_string(), &self.root, &request).await
    }

    /// A machine with a token of its own.
    pub(crate) async fn machine(&self, host: &str) -> Machine {
        self.token(host, 1).await;
        let key = pki::new_key().unwrap();
        let enrolled = self.enroll(host, host, &key).await.unwrap();
        let identity = Identity { certificate: enrolled.certificate, key };
        let client = Client::new(&self.gateway.address().to_string(), &self.root, &identity).unwrap();
        Machine { name: enrolled.name, client, session: 0, sequence: 0 }
    }

    pub(crate) async fn fleet_machine(&self, name: &str) -> FleetMachine {
        self.api().get(name).await.unwrap()
    }

    /// What the controller would decide: the wanted set, and no more.
    pub(crate) async fn want(&self, machine: &str, wanted: &WantedSet) {
        let patch = json!({
            "apiVersion": "muster.dev/v1alpha1", "kind": "FleetMachine", "metadata": {"name": machine},
            "status": {"decision": {"verdict": "Waiting", "wanted": WantedStatus::from_model(wanted)}},
        });
        let params = PatchParams::apply("muster-controller").force();
        self.api::<FleetMachine>().patch_status(machine, &params, &Patch::Apply(&patch)).await.unwrap();
    }

    /// The controllers' epoch.
    pub(crate) async fn epoch(&self, transitions: i32) {
        let lease = Lease {
            metadata: ObjectMeta { name: Some("muster-controller".to_owned()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec { lease_transitions: Some(transitions), ..LeaseSpec::default() }),
        };
        let params = PatchParams::apply("test").force();
        self.api::<Lease>().patch("muster-controller", &params, &Patch::Apply(&lease)).await.unwrap();
    }

    /// An activity that reboots the machine, written in that epoch.
    pub(crate) async fn activity(&self, machine: &str, number: u64, epoch: u64) -> Activity {
        self.activity_past(machine, number, epoch, &json!([])).await
    }

    /// One that passes windows.
    pub(crate) async fn activity_past(
        &self,
        machine: &str,
        number: u64,
        epoch: u64,
        windows: &serde_json::Value,
    ) -> Activity {
        let uid = self.fleet_machine(machine).await.uid().unwrap();
        let activity: Activity = serde_json::from_value(json!({
            "apiVersion": "muster.dev/v1alpha1", "kind": "Activity",
            "metadata": {
                "name": format!("{machine}-{number}"),
                "labels": {"muster.dev/machine": machine, "muster.dev/epoch": epoch.to_string()},
            },
            "spec": {
                "machineRef": {"name": machine, "uid": uid},
                "steps": [{"type": "Reboot", "reboot": {}, "timeout": "30m"}],
                "cause": {}, "expiryTime": Timestamp::now() + SignedDuration::from_hours(1),
                "windows": windows,
            },
        }))
        .unwrap();
        self.api().create(&PostParams::default(), &activity).await.unwrap()
    }
}

/// One machine's side.
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) client: Client,
    pub(crate) session: u64,
    pub(crate) sequence: u64,
}

impl Machine {
    /// Says what an agent would until the gateway has the report.
    pub(crate) async fn report(&mut self, report: &Report, inventory: &Inventory) -> Result<(), ClientError> {
        loop {
            self.sequence += 1;
            let answer = self.client.report(&self.request(report, true)).await?;
            if answer.session != self.session {
                (self.session, self.sequence) = (answer.session, 0);
            } else if let Some(digest) = answer.send_inventory {
                self.client.put_inventory(&digest, muster_wire::compress(inventory)).await?;
            } else if !answer.send_report {
                return Ok(());
            }
        }
    }

    pub(crate) fn request(&self, report: &Report, whole: bool) -> ReportRequest {
        ReportRequest {
            session: self.session,
            sequence: self.sequence,
            digest: report.digest(),
            report: whole.then(|| Box::new(report.clone())),
            clock_micros: Timestamp::now().as_microsecond(),
        }
    }

    pub(crate) fn poll(&self, report: &Report) -> PollRequest {
        PollRequest {
            session: self.session,
            digest: report.digest(),
            wanted: None,
            activity: None,
            cancel_seen: false,
        }
    }
}

pub(crate) fn inventory() -> Inventory {
    Inventory {
        architecture: "amd64".parse().unwrap(),
        lists: Digest::of(b"lists"),
        interest: ["openssl".parse().unwrap()].into(),
        packages: vec![],
    }
}

pub(crate) fn report() -> Report {
    Report {
        agent: "0.1.0".into(),
        capabilities: [Capability::ExactSimulation, Capability::Packages].into(),
        os: Os { id: "debian".into(), version_id: "12".into(), codename: "bookworm".into() }.into(),
        architecture: "amd64".parse().unwrap(),
        kernel: Kernel {
            booted: "6.1.0-50-cloud-amd64".into(),
            installed: vec![],
            next_boot: None,
            command_line: "quiet".into(),
        }
        .into(),
        boot: Boot { id: "boot-1".into(), time: "2026-11-23T00:00:00Z".parse().unwrap() },
        reboot_required: None,
        inventory: inventory().digest(),
        dpkg_interrupted: false,
        upgradable: 0,
        security_upgradable: 0,
        phasing: BTreeMap::new(),
        failed_units: Default::default(),
        hardware: Hardware { cpu_vendor: "GenuineIntel".into(), cpus: 2, ..Hardware::default() }.into(),
        last_activity: 0,
    }
}
