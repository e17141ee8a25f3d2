//! The whole agent against a gateway that follows a script, over real TLS.

use std::convert::Infallible;
use std::sync::Mutex;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use muster_model::{ActivityName, Conffiles, Digest, HealthCheck, Phase, Proposal, Transaction};
use muster_wire::{Progress, ProposalRequest, ReportRequest, WireAction, WireActivity, WireStep, pki};
use serde_json::json;
use tokio::sync::{Notify, watch as channel};

use super::*;
use crate::dpkg::tests::change;
use crate::state::Enrolment;
use crate::tools::fake::FakeTools;

/// What the gateway saw, in order.
#[derive(Default)]
struct Script {
    log: Mutex<Vec<String>>,
    inventories: Mutex<Vec<Digest>>,
    proposals: Mutex<Vec<ProposalRequest>>,
    finished: Mutex<Option<Progress>>,
    changed: Notify,
}

impl Script {
    fn log(&self, line: impl Into<String>) {
        self.log.lock().unwrap().push(line.into());
        self.changed.notify_waiters();
    }

    fn count(&self, beginning: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|line| line.starts_with(beginning)).count()
    }

    fn report(&self, request: &ReportRequest) -> serde_json::Value {
        let answer = |send_report: bool, inventory: Option<&Digest>| json!({"session": 7, "sendReport": send_report, "sendInventory": inventory});
        if request.session != 7 {
            return answer(true, None);
        }
        let Some(report) = &request.report else { return answer(true, None) };
        if !self.inventories.lock().unwrap().contains(&report.inventory) {
            return answer(true, Some(&report.inventory));
        }
        self.log(format!("report last={}", report.last_activity));
        answer(false, None)
    }

    /// First the wanted set, and once more to who asks for it after a refusal; then, once it was simulated, the activity;
    /// then there is no news.
    async fn poll(&self, body: &[u8]) -> serde_json::Value {
        let request: muster_wire::PollRequest = serde_json::from_slice(body).unwrap();
        match (request.wanted, self.count("proposal"), self.count("offer")) {
            (None, _, _) => {
                self.log("wanted");
                json!({"wanted": {"interest": ["openssl"], "items": [{"name": "openssl", "architecture": "amd64", "version": "3-2"}]}})
            }
            (_, 1.., 0) => {
                self.log("offer");
                let offered = WireActivity {
                    name: ActivityName::parse("web-1").unwrap(),
                    uid: "uid-1".parse().unwrap(),
                    steps: vec![WireStep {
                        action: WireAction::InstallPackages {
                            transaction: Transaction {
                                requested: vec![change("openssl", Some("3-1"), Some("3-2"))],
                                dependencies: vec![change("libssl3", Some("3-1"), Some("3-2"))],
                                conffiles: Conffiles::Keep,
                            },
                        },
                        timeout_seconds: 60,
                    }],
                    health: HealthCheck::default(),
                    expires_in_seconds: 600,
                    cancel: false,
                };
                json!({ "activity": offered })
            }
            _ => {
                self.changed.notified().await;
                json!({})
            }
        }
    }

    async fn answer(&self, path: &str, body: &[u8]) -> (StatusCode, serde_json::Value) {
        let progress = "/v1/activities/web-1/progress";
        let answer = match path {
            "/v1/report" => self.report(&serde_json::from_slice(body).unwrap()),
            "/v1/poll" => self.poll(body).await,
            "/v1/proposals" if self.count("refused") == 0 => {
                self.log("refused");
                let refusal = json!({"reason": "NotYours", "message": "something else is wanted by now"});
                return (StatusCode::CONFLICT, refusal);
            }
            "/v1/proposals" => {
                self.proposals.lock().unwrap().push(serde_json::from_slice(body).unwrap());
                self.log("proposal");
                json!(null)
            }
            _ if path == progress => {
                let progress: Progress = serde_json::from_slice(body).unwrap();
                self.log(format!("progress {}", progress.phase.as_str()));
                if progress.phase.is_finished() {
                    *self.finished.lock().unwrap() = Some(progress);
                    self.changed.notify_waiters();
                }
                json!({"cancel": false})
            }
            _ => match path.strip_prefix("/v1/inventories/") {
                Some(digest) => {
                    self.inventories.lock().unwrap().push(Digest::parse(digest).unwrap());
                    json!(null)
                }
                None => return (StatusCode::NOT_FOUND, json!({"reason": "BadRequest", "message": path})),
            },
        };
        (StatusCode::OK, answer)
    }
}

/// Starts the gateway; returns the enrolment of a machine with it.
async fn gateway(script: Arc<Script>) -> Enrolment {
    let (now, hour) = (Timestamp::now(), SignedDuration::from_hours(1));
    let root = pki::new_root(now).unwrap();
    let intermediate = pki::new_intermediate(&root, "test", now, hour).unwrap();
    let server = pki::server_certificate(&intermediate, now, hour).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            pki::certificates(&server.certificate, "the chain").unwrap(),
            pki::private_key(&server.key).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, script) = (acceptor.clone(), script.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(move |request: Request<Incoming>| {
                    let script = script.clone();
                    async move {
                        let path = request.uri().path().to_owned();
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let (status, answer) = script.answer(&path, &body).await;
                        let body = Full::new(Bytes::from(answer.to_string()));
                        Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
                    }
                });
                let io = hyper_util::rt::TokioIo::new(stream);
                let _client_left =
                    hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
            });
        }
    });
    let key = pki::new_key().unwrap();
    let request = pki::signing_request(&key).unwrap();
    let certificate = pki::sign_machine(&intermediate, &request, "identity", now, hour).unwrap();
    Enrolment {
        gateway: address.to_string(),
        root: pki::digest(&root.certificate).unwrap(),
        namespace: "default".into(),
        name: "web".into(),
        identity: "identity".into(),
        certificate: certificate + &intermediate.certificate,
        key,
        renew_time: now + hour,
        observe: false,
    }
}

fn machine(folder: &std::path::Path) -> (Host, Arc<FakeTools>) {
    let dpkg = |version: &str| {
        let line = |name: &str| format!("install\tinstalled\tok\t{name}\tamd64\t{version}\n");
        line("libssl3") + &line("openssl")
    };
    let policy = |version: &str| {
        format!(
            "openssl:\n  Installed: {version}\n  Candidate: 3-2\n  Version table:\n     3-2 500\n        500 copy:/srv stable/main amd64 Packages\n"
        )
    };
    let tools = Arc::new(FakeTools::default());
    tools.on("dpkg --print-architecture", 0, "amd64\n", "");
    tools.on("dpkg-query -W -f ${db:Status-Want}", 0, &dpkg("3-1"), "");
    tools.on(
        "dpkg-query -W -f ${db:Status-Status}",
        1,
        "",
        "dpkg-query: no packages found matching linux-*\n",
    );
    tools.on("apt-mark", 0, "", "");
    tools.on("apt-config dump", 0, "", "");
    tools.on("apt-cache policy", 0, "", "");
    tools.on("apt-cache policy --", 0, &policy("3-1"), "");
    let inst = |name: &str| format!("Inst {name} [3-1] (3-2 X:1/stable [amd64])\n");
    tools.on("apt-get -s", 0, &(inst("libssl3") + &inst("openssl")), "");
    tools.on("apt-get --download-only", 0, "", "");
    tools.on("df", 0, "Avail\n9000000000\n", "");
    tools.after("& env", "dpkg-query -W -f ${db:Status-Want}", &dpkg("3-2"));
    tools.after("& env", "apt-cache policy --", &policy("3-2"));
    let host = Host::fake(folder, tools.clone());
    for (path, text) in [
        ("/proc/uptime", "100.00 200.00\n"),
        ("/proc/sys/kernel/random/boot_id", "boot-1\n"),
        ("/var/lib/dpkg/status", "as the test has it\n"),
        ("/var/lib/apt/lists/lock", ""),
        ("/etc/apt/sources.list", ""),
    ] {
        std::fs::create_dir_all(host.path(path).parent().unwrap()).unwrap();
        std::fs::write(host.path(path), text).unwrap();
    }
    (host, tools)
}

// rule: A7, M2
#[tokio::test]
async fn a_machine_reports_simulates_carries_out_and_shows_the_result_before_it_claims_it() {
    let folder = tempfile::tempdir().unwrap();
    let (host, tools) = machine(&folder.path().join("root"));
    let script = Arc::new(Script::default());
    let settings = Settings { directory: folder.path().join("state"), observe: false };
    State::open(&settings.directory).unwrap().save_enrolment(&gateway(script.clone()).await).unwrap();
    let stop = CancellationToken::new();
    let (ended, mut ends) = channel::channel(false);
    let (watched, trigger) = (script.clone(), stop.clone());
    tokio::spawn(async move {
        loop {
            let changed = watched.changed.notified();
            if watched.finished.lock().unwrap().is_some() {
                trigger.cancel();
                let _nobody_waits = ended.send(true);
                return;
            }
            changed.await;
        }
    });
    let patience = std::time::Duration::from_secs(30);
    let run = tokio::time::timeout(patience, run_on(host, &settings, stop)).await;
    run.unwrap_or_else(|_| panic!("it never ends: {:#?} {:#?}", script.log.lock(), tools.ran(""))).unwrap();
    ends.wait_for(|ended| *ended).await.unwrap();

    let finished = script.finished.lock().unwrap().clone().unwrap();
    assert_eq!(
        (finished.phase, finished.outcome, finished.session),
        (Phase::Succeeded, None, 7),
        "{finished:?}"
    );
    assert_eq!(finished.steps.len(), 1);
    let proposals = script.proposals.lock().unwrap();
    let Proposal::Transaction { changes } = &proposals[0].proposal else { panic!() };
    assert_eq!(changes.len(), 2, "libssl3 comes along");
    assert_eq!(
        (script.count("refused"), script.count("wanted")),
        (1, 2),
        "a refused one asks what is wanted"
    );
    assert_eq!(tools.ran("& env").len(), 1, "apt ran once");
    let log = script.log.lock().unwrap();
    let at = |line: &str| {
        log.iter().position(|known| known == line).unwrap_or_else(|| panic!("no {line}: {log:?}"))
    };
    assert!(at("progress Running") < at("report last=1"), "{log:?}");
    assert!(at("report last=1") < at("progress Succeeded"), "{log:?}");
    assert!(script.inventories.lock().unwrap().len() >= 2);
}
