use std::sync::Arc;

use super::*;
use crate::dpkg::tests::{change, key};
use crate::tools::fake::FakeTools;

struct Lab {
    folder: tempfile::TempDir,
    tools: Arc<FakeTools>,
    executor: Executor,
}

const UID: &str = "uid-1";

fn uid() -> Uid {
    UID.parse().unwrap()
}

/// What dpkg says of openssl and libssl3.
fn dpkg_says(openssl: &str, libssl3: &str) -> String {
    format!(
        "install\tinstalled\tok\topenssl\tamd64\t{openssl}\ninstall\tinstalled\tok\tlibssl3\tamd64\t{libssl3}\n"
    )
}

fn lab() -> Lab {
    let folder = tempfile::tempdir().unwrap();
    let tools = Arc::new(FakeTools::default());
    tools.on("dpkg --print-architecture", 0, "amd64\n", "");
    tools.on("dpkg-query", 0, &dpkg_says("3-1", "3-1"), "");
    tools.on("df", 0, "     Avail\n9000000000\n9000000000\n", "");
    tools.on("apt-mark", 0, "", "");
    tools.on(
        "apt-get -s",
        0,
        "Inst libssl3 [3-1] (3-2 X:1/stable [amd64])\nInst openssl [3-1] (3-2 X:1/stable [amd64])\n",
        "",
    );
    tools.on("apt-get --download-only", 0, "", "");
    let host = Host::fake(folder.path(), tools.clone());
    let executor = Executor::new(host, folder.path().join("acts"), false);
    std::fs::create_dir_all(folder.path().join("acts")).unwrap();
    Lab { folder, tools, executor }
}

fn upgrade() -> StepAction {
    StepAction::InstallPackages(Transaction {
        requested: vec![change("openssl", Some("3-1"), Some("3-2"))],
        dependencies: vec![change("libssl3", Some("3-1"), Some("3-2"))],
        conffiles: Conffiles::Keep,
    })
}

impl Lab {
    async fn refusal(&self) -> Refusal {
        self.executor.prepare(&upgrade(), Some(&BTreeSet::new())).await.unwrap_err()
    }

    async fn observe(&self) -> Observation {
        self.executor.observe(&uid(), 0, &upgrade(), 1).await.unwrap()
    }

    fn ended(&self, code: i32, words: &str) {
        let script = format!("echo \"{words}\"; exit {code}");
        let base = Act::new(&self.executor.acts, &uid(), 0);
        base.forget();
        let base = format!(
            "{}/acts/{}-0",
            self.folder.path().display(),
            &muster_model::Digest::of(UID.as_bytes()).hex()[..16]
        );
        crate::unit::act(std::path::Path::new(&base), &["sh".into(), "-c".into(), script]).unwrap();
    }
}

// rule: A7
#[tokio::test]
async fn a_transaction_is_carried_out_only_if_apt_would_do_exactly_it() {
    let lab = lab();
    lab.executor.prepare(&upgrade(), None).await.unwrap();
    lab.executor.act(&uid(), 0, &upgrade(), 1).await.unwrap();
    let ran = lab.tools.ran("& env");
    assert!(
        ran[0].ends_with(
            "-- apt-get -y -q --allow-downgrades --allow-change-held-packages -o Dpkg::Options::=--force-confdef \
             -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=60 install -- openssl:amd64=3-2 libssl3:amd64=3-2"
        ),
        "{ran:?}"
    );

    lab.tools.on(
        "apt-get -s",
        0,
        "Inst libssl3 [3-1] (3-3 X:1/stable [amd64])\nInst openssl [3-1] (3-2 X:1/stable [amd64])\nRemv less [1]\n",
        "",
    );
    let (reason, message) = lab.refusal().await;
    assert_eq!(reason, OutcomeReason::PlanMismatch);
    assert_eq!(
        message,
        "apt would do less:amd64 removed, libssl3:amd64=3-3 that the plan does not say, and not libssl3:amd64=3-2"
    );
}

// rule: V4
#[tokio::test]
async fn a_version_that_vanished_is_told_from_a_fetch_that_failed() {
    let lab = lab();
    lab.tools.on("apt-get -s", 100, "", "E: Version '3-2' for 'openssl' was not found\n");
    assert_eq!(lab.refusal().await.0, OutcomeReason::VersionGone);
    let lab = self::lab();
    lab.tools.on("apt-get --download-only", 100, "", "E: Failed to fetch http://mirror.example/x.deb  404\n");
    assert_eq!(lab.refusal().await.0, OutcomeReason::FetchError);
    assert!(lab.tools.ran("&").is_empty());
}

// rule: A2
#[tokio::test]
async fn what_could_not_go_well_is_refused_before_anything_changes() {
    let lab = lab();
    lab.tools.on("df", 0, "     Avail\n1000\n9000000000\n", "");
    assert_eq!(
        lab.refusal().await,
        (OutcomeReason::Preflight, "0 MiB are free on / or /var, 512 are needed".into())
    );
    std::fs::create_dir_all(lab.folder.path().join("var/lib/dpkg/updates")).unwrap();
    std::fs::write(lab.folder.path().join("var/lib/dpkg/updates/0001"), "").unwrap();
    assert_eq!(lab.refusal().await.1, "dpkg was interrupted and must be repaired first");
}

// rule: V6
#[tokio::test]
async fn a_hold_set_after_the_last_report_stops_the_step() {
    let lab = lab();
    let held = dpkg_says("3-1", "3-1").replacen("install", "hold", 1);
    lab.tools.on("dpkg-query", 0, &held, "");
    assert_eq!(lab.refusal().await.0, OutcomeReason::PlanMismatch);
    let reported = BTreeSet::from([key("openssl")]);
    lab.executor.prepare(&upgrade(), Some(&reported)).await.unwrap();
}

// rule: A2
#[tokio::test]
async fn the_state_counts_and_not_apts_exit_code() {
    let lab = lab();
    lab.tools.on(
        "dpkg-query",
        0,
        &(dpkg_says("3-2", "3-2") + "install\thalf-configured\tok\tless\tamd64\t1\n"),
        "",
    );
    lab.ended(100, "E: Sub-process /usr/bin/dpkg returned an error code (1)");
    assert_eq!(lab.observe().await, Observation::Done, "an unrelated broken package makes apt say 100");

    lab.tools.on("dpkg-query", 0, &dpkg_says("3-1", "3-2"), "");
    lab.ended(0, "all is well");
    let Observation::Failed { reason, message } = lab.observe().await else { panic!() };
    assert_eq!(reason, OutcomeReason::PackagesNotAsWanted);
    assert_eq!(message, "openssl:amd64: wanted 3-2, is 3-1\nall is well");
}

// rule: A2
#[tokio::test]
async fn what_ended_without_a_change_says_why_and_what_never_began_may_begin_again() {
    let lab = lab();
    let not_begun =
        Observation::NotDone { reason: OutcomeReason::Preflight, message: "apt was not started".into() };
    assert_eq!(lab.observe().await, not_begun);
    lab.ended(100, "E: Could not get lock /var/lib/dpkg/lock-frontend");
    assert!(matches!(lab.observe().await, Observation::Unchanged { reason: OutcomeReason::Locked, .. }));
    lab.ended(100, "preinst failed");
    assert!(matches!(
        lab.observe().await,
        Observation::Unchanged { reason: OutcomeReason::PackagesNotAsWanted, .. }
    ));
}

// rule: A2
#[tokio::test]
async fn an_apt_that_was_killed_half_way_is_a_failure_and_not_begun_again() {
    let lab = lab();
    lab.tools.on("dpkg-query", 0, &dpkg_says("3-1", "3-2"), "");
    let Observation::Failed { message, .. } = lab.observe().await else { panic!() };
    assert!(message.ends_with("it was ended in the middle"), "{message}");
}

#[tokio::test]
async fn packages_that_came_along_stay_automatic() {
    let lab = lab();
    lab.tools.on(
        "dpkg-query",
        0,
        "install\tinstalled\tok\tnginx\tamd64\t1\ninstall\tinstalled\tok\tnginx-common\tall\t1\n",
        "",
    );
    let install = StepAction::InstallPackages(Transaction {
        requested: vec![change("nginx", None, Some("1"))],
        dependencies: vec![change("nginx-common", None, Some("1"))],
        conffiles: Conffiles::Fail,
    });
    assert_eq!(lab.executor.observe(&uid(), 0, &install, 1).await.unwrap(), Observation::Done);
    assert_eq!(lab.tools.ran("apt-mark"), ["apt-mark auto nginx-common:amd64"]);
}

// rule: M5
#[tokio::test]
async fn an_observing_agent_refuses_every_step() {
    let lab = lab();
    let observing = Executor::new(lab.executor.host.clone(), lab.executor.acts.clone(), true);
    for action in [
        upgrade(),
        StepAction::RepairPackages,
        StepAction::Reboot { kernel: None, command_line: Default::default() },
    ] {
        assert!(observing.prepare(&action, None).await.is_err());
    }
}

#[tokio::test]
async fn holds_are_set_lifted_and_looked_at() {
    let lab = lab();
    let action = StepAction::HoldPackages { hold: [key("openssl")].into(), unhold: [key("libssl3")].into() };
    lab.executor.act(&uid(), 0, &action, 1).await.unwrap();
    assert_eq!(lab.tools.ran("apt-mark"), ["apt-mark unhold libssl3:amd64", "apt-mark hold openssl:amd64"]);
    assert!(matches!(
        lab.executor.observe(&uid(), 0, &action, 1).await.unwrap(),
        Observation::NotDone { .. }
    ));
    lab.tools.on("dpkg-query", 0, &dpkg_says("3-1", "3-1").replacen("install", "hold", 1), "");
    assert_eq!(lab.executor.observe(&uid(), 0, &action, 1).await.unwrap(), Observation::Done);
}

// rule: K2
#[tokio::test]
async fn a_machine_is_not_rebooted_for_a_kernel_that_it_does_not_have() {
    let lab = lab();
    std::fs::create_dir_all(lab.folder.path().join("run/systemd/system")).unwrap();
    let to =
        |kernel: &str| StepAction::Reboot { kernel: Some(kernel.into()), command_line: Default::default() };
    assert!(lab.executor.prepare(&to("6.1.0-50-cloud-amd64"), None).await.is_err());
    std::fs::create_dir_all(lab.folder.path().join("boot")).unwrap();
    std::fs::write(lab.folder.path().join("boot/vmlinuz-6.1.0-50-cloud-amd64"), "").unwrap();
    lab.executor.prepare(&to("6.1.0-50-cloud-amd64"), None).await.unwrap();
}

// rule: W6, K2
#[tokio::test]
async fn what_runs_is_judged_only_on_a_machine_that_does_not_go_down() {
    let lab = lab();
    let reboot = StepAction::Reboot { kernel: None, command_line: Default::default() };
    lab.tools.on("busctl", 1, "", "");
    lab.tools.on("systemctl is-system-running", 1, "stopping\n", "");
    let seen = lab.executor.observe(&uid(), 0, &reboot, 1).await.unwrap();
    assert_eq!(seen, Observation::Running, "it was asked to reboot, though nobody wrote that down");
    lab.tools.on("systemctl is-system-running", 0, "running\n", "");
    let seen = lab.executor.observe(&uid(), 0, &reboot, 1).await.unwrap();
    assert!(matches!(seen, Observation::Booted { .. }), "{seen:?}");
}
