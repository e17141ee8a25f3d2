//! To the model and back.

use std::collections::{BTreeMap, BTreeSet};

use expect_test::expect;
use jiff::SignedDuration;
use muster_crds::{
    Activity, ActivityStatus, BaselineRollout, BaselineRolloutStatus, DisruptionBudget, FieldError,
    FleetMachine, FleetMachineStatus, FleetPolicy, InventoryError, KernelBaseline, MaintenanceWindow,
    MaintenanceWindowStatus, PackageBaseline, PackageInventory, PackageProposal, ReportedStatus,
    RolloutApproval, WantedStatus, inventory_name,
};
use muster_model::{
    ActivityName, ActivitySpec, Architecture, BaselineKind, BaselineRef, Boot, Capability, Cause, Change,
    CommandLine, Conffiles, Cover, DebianVersion, Digest, Followed, Hardware, HealthCheck, Installed,
    InstalledKernel, Instant, Inventory, Item, ItemProgress, Kernel, KernelChoice, Machine, MachineName,
    ObjectName, Offer, Os, OutcomeReason, Package, PackageKey, PackageName, PackageState, Passed, Phase,
    Phased, Policy, Presence, Proposal, ProposalKey, RebootRequired, Report, Reported, Rollout, Step,
    StepAction, StepStatus, Target, Transaction, Uid, UnitName, UpgradePolicy, WantedItem, WantedSet,
    WaveProgress, WindowSummary,
};
use serde_json::{Value, json};

use crate::definitions::schemas;

pub(crate) fn key(name: &str) -> PackageKey {
    PackageKey {
        name: PackageName::parse(name).unwrap(),
        architecture: Architecture::parse("amd64").unwrap(),
    }
}

pub(crate) fn version(text: &str) -> DebianVersion {
    DebianVersion::parse(text).unwrap()
}

pub(crate) fn instant(text: &str) -> Instant {
    text.parse().unwrap()
}

fn uid(text: &str) -> Uid {
    Uid::parse(text).unwrap()
}

fn name(text: &str) -> ObjectName {
    ObjectName::parse(text).unwrap()
}

fn baseline(text: &str) -> BaselineRef {
    BaselineRef { kind: BaselineKind::PackageBaseline, name: name(text) }
}

/// What a server would hold of an object: through JSON, judged by its schema.
pub(crate) fn stored<T: serde::Serialize + serde::de::DeserializeOwned>(plural: &str, object: &T) -> T {
    let (_, schema) = schemas().into_iter().find(|(name, _)| name == plural).unwrap();
    let schema = muster_schema::CompiledSchema::compile(&schema).unwrap();
    let mut value = serde_json::to_value(object).unwrap();
    assert_eq!(schema.prune(&mut value), Vec::<String>::new());
    schema.apply_defaults(&mut value);
    let causes = schema.validate(&value, None);
    assert!(causes.is_empty(), "{causes:?}");
    serde_json::from_value(value).unwrap()
}

fn read<T: serde::de::DeserializeOwned>(spec: Value) -> T {
    let value = json!({"apiVersion": "muster.dev/v1alpha1", "kind": std::any::type_name::<T>().rsplit("::").next(),
        "metadata": {"name": "x", "generation": 3, "annotations": {
            "source.muster.dev/revision": "main@sha1:0123", "source.muster.dev/file": "prod/web.yaml:12"}}, "spec": spec});
    serde_json::from_value(value).unwrap()
}

fn problems(errors: &[FieldError]) -> String {
    errors.iter().map(|error| format!("= {} [{}] {}\n", error.field, error.rule, error.message)).collect()
}

#[test]
fn a_bare_baseline_has_the_defaults_of_the_design() {
    let baseline: PackageBaseline = read(
        json!({"machineSelector": {}, "packages": [{"name": "nginx"}, {"name": "curl", "version": "latest"}],
            "upgrades": {"policy": "Security"}}),
    );
    let model = baseline.to_model().unwrap();
    assert!(model.common.selector.is_all());
    assert_eq!(
        model.common.provenance.as_ref().map(|from| (from.file.as_str(), from.line)),
        Some(("prod/web.yaml", 12))
    );
    assert_eq!(model.packages.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["curl", "nginx"]);
    assert_eq!(model.packages[1].architecture, None);
    assert_eq!(model.rollout.max_unavailable.to_string(), "10%");
    assert_eq!(model.rollout.max_failures.to_string(), "0");
    assert_eq!(model.reboot.timeout, SignedDuration::from_mins(30));
    assert_eq!(model.health.settle, SignedDuration::ZERO);
    assert_eq!(model.conffiles, Conffiles::Keep);
    assert_eq!(model.upgrades, Some(UpgradePolicy::Security));
}

// rule: V1, W7
#[test]
fn all_that_is_wrong_with_a_baseline_is_said_at_once() {
    let baseline: PackageBaseline = read(json!({
        "machineSelector": {"matchExpressions": [{"key": "role", "operator": "In", "values": []}]},
        "packages": [{"name": "nginx", "version": ">= 1, << v2"}, {"name": "x"}, {"name": "telnet", "state": "Absent", "hold": true}],
        "health": {"units": ["nginx"]},
        "rollout": {"maxUnavailable": "many", "minReady": "5"},
    }));
    expect![[r#"
        = spec.machineSelector [W7] the requirement on label "role" has no values: In and NotIn need at least one
        = spec.packages[0].version [V1] the version at character 10 of the requirement cannot be read: "v2" is not a Debian version: the upstream version must start with a digit, at character 1
        = spec.packages[1].name [] "x" is not a package name: a package name has 2 to 128 characters
        = spec.packages[2] [] a package that is to be absent has neither version nor hold
        = spec.health.units[0] [] "nginx" is not a unit name: write a systemd unit with its suffix, such as nginx.service
        = spec.rollout.maxUnavailable [B1] "many" is neither a number of machines nor a percentage: write 3, or "25%" (whole, 0% to 100%)
        = spec.rollout.minReady [] "5" is not a duration: the unit is missing, at character 2; write for example "1h30m", "90s" or "500ms"
    "#]].assert_eq(&problems(&baseline.to_model().unwrap_err()));
    let kernel: KernelBaseline =
        read(json!({"machineSelector": {}, "package": "linux-image-amd64", "version": "latest",
        "commandLine": {"present": ["nosmt"], "absent": ["nosmt"]}}));
    expect![[r#"
        = spec.version [K5] a kernel is compared as booted: write relations such as ">= 6.1.176", not latest
        = spec.commandLine [] "nosmt" is both in present and in absent: take it out of one
    "#]]
    .assert_eq(&problems(&kernel.to_model().unwrap_err()));
}

// rule: W7
#[test]
fn a_window_that_cannot_be_read_is_still_a_window() {
    for (spec, field) in [
        (
            json!({"machineSelector": {}, "action": "Allow", "schedule": "0 25 * * *", "duration": "1h"}),
            "spec.schedule",
        ),
        (
            json!({"machineSelector": {}, "action": "Allow", "schedule": "0 5 * * *", "duration": "1h", "timeZone": "Mars/Base"}),
            "spec.timeZone",
        ),
        (
            json!({"machineSelector": {}, "action": "Allow", "schedule": "0 5 * * *", "duration": "0s"}),
            "spec.duration",
        ),
        (
            json!({"machineSelector": {}, "action": "Allow", "schedule": "0 5 * * *", "duration": "1h", "cutoff": "x"}),
            "spec.cutoff",
        ),
    ] {
        let window: MaintenanceWindow = read(spec);
        assert!(window.to_model().unwrap().when.is_err(), "{field}");
        let problems = window.problems();
        assert_eq!(problems.iter().map(|p| (p.field.as_str(), p.rule)).collect::<Vec<_>>(), [(field, "W7")]);
    }
    let fine: MaintenanceWindow = read(
        json!({"machineSelector": {}, "action": "Deny", "schedule": "0 5 * * *", "duration": "1h", "covers": ["Reboot"]}),
    );
    let model = fine.to_model().unwrap();
    assert!(model.when.is_ok() && model.covers(Cover::Reboot) && !model.covers(Cover::Packages));
    assert_eq!(fine.problems(), []);
}

#[test]
fn a_policy_without_words_is_the_models_default() {
    let policy: FleetPolicy = read(json!({}));
    assert_eq!(policy.to_model().unwrap(), Policy::default());
    let policy: FleetPolicy = read(json!({"unreachableAfter": "2h", "absentAfter": "1h"}));
    assert_eq!(policy.to_model().unwrap_err()[0].rule, "B4");
    let budget: DisruptionBudget = read(json!({"machineSelector": {}, "minAvailable": "50%"}));
    assert_eq!(budget.to_model().unwrap().limit.allowed_of(3), 1);
}

pub(crate) fn reported() -> Reported {
    let report = Report {
        agent: "0.1.0".into(),
        capabilities: [Capability::Packages, Capability::Reboot].into(),
        os: Os { id: "debian".into(), version_id: "12".into(), codename: "bookworm".into() }.into(),
        architecture: Architecture::parse("amd64").unwrap(),
        kernel: Kernel {
            booted: "6.1.0-50-cloud-amd64".into(),
            installed: vec![InstalledKernel {
                release: "6.1.0-50-cloud-amd64".into(),
                package: PackageName::parse("linux-image-6.1.0-50-cloud-amd64").unwrap(),
                version: version("6.1.176-1"),
                followed_by: BTreeMap::from([(
                    PackageName::parse("linux-image-cloud-amd64").unwrap(),
                    version("6.1.176-1"),
                )]),
            }],
            next_boot: None,
            command_line: "root=/dev/vda1 ro mitigations=auto".into(),
        }
        .into(),
        boot: Boot { id: "5a0c9f0e".into(), time: instant("2026-10-01T01:00:00Z") },
        reboot_required: Some(Box::new(RebootRequired {
            since: instant("2026-10-01T02:00:00Z"),
            packages: ["libc6".into()].into(),
        })),
        inventory: Digest::of(b"inventory"),
        dpkg_interrupted: false,
        upgradable: 12,
        security_upgradable: 3,
        phasing: BTreeMap::from([("systemd 255.4-1ubuntu8.5".into(), 72)]),
        failed_units: [UnitName::parse("nginx.service").unwrap()].into(),
        hardware: Hardware {
            cpu_vendor: "GenuineIntel".into(),
            cpus: 4,
            memory_mib: 8192,
            gpus: ["nvidia".into()].into(),
            ..Hardware::default()
        }
        .into(),
        last_activity: 41,
    };
    Reported {
        session: 7,
        sequence: 3,
        digest: report.digest(),
        time: instant("2026-10-01T03:00:00Z"),
        facts: report.facts(),
        report,
    }
}

// rule: M4
#[test]
fn a_report_survives_the_api() {
    let mut object: FleetMachine = read(json!({"admitted": true, "resolvedThrough": 40}));
    object.metadata.name = Some("web-01".to_owned());
    object.metadata.uid = Some("u1".to_owned());
    object.metadata.labels = Some(BTreeMap::from([("role".to_owned(), "web".to_owned())]));
    let reported = reported();
    object.status = Some(FleetMachineStatus {
        reported: Some(ReportedStatus::from_model(&reported, None)),
        ..Default::default()
    });
    let machine = stored("fleetmachines", &object).to_model(Presence::Present).unwrap();
    let Machine { labels, admitted, resolved_through, last_number, .. } = &machine;
    assert_eq!((*admitted, *resolved_through, *last_number), (true, 40, 0));
    assert_eq!(labels.get("role").map(|role| role.as_str()), Some("web"));
    assert_eq!(machine.label("fact.muster.dev/os"), Some("debian"));
    assert_eq!(machine.reported, Some(reported));
}

fn activity() -> ActivitySpec {
    let change =
        Change { package: key("openssl"), from: Some(version("3.0.14-1")), to: Some(version("3.0.15-1")) };
    let removal = Change { package: key("telnet"), from: Some(version("0.17-1")), to: None };
    let step = |action| Step {
        action,
        baselines: BTreeMap::from([(baseline("openssl-fix"), uid("u2"))]),
        timeout: SignedDuration::from_hours(1),
    };
    let kernel = KernelChoice {
        release: "6.1.0-50-cloud-amd64".into(),
        command_line: CommandLine {
            present: ["mitigations=auto".into()].into(),
            absent: ["nosmt".into()].into(),
        },
        followed: Some(Followed { package: key("linux-image-cloud-amd64"), version: version("6.1.176-1") }),
    };
    ActivitySpec {
        name: ActivityName { machine: MachineName::parse("web-01").unwrap(), number: 42 },
        machine_uid: uid("u1"),
        steps: vec![
            step(StepAction::RepairPackages),
            step(StepAction::HoldPackages { hold: [key("curl")].into(), unhold: [key("nginx")].into() }),
            step(StepAction::InstallPackages(Transaction {
                requested: vec![change.clone()],
                dependencies: vec![Change { package: key("libssl3"), ..change }],
                conffiles: Conffiles::Fail,
            })),
            step(StepAction::RemovePackages(Transaction {
                requested: vec![removal],
                ..Transaction::default()
            })),
            step(StepAction::SelectKernel(kernel.clone())),
            step(StepAction::Reboot {
                kernel: Some(kernel.release.clone()),
                command_line: kernel.command_line.clone(),
            }),
            step(StepAction::SetDefaultKernel(kernel)),
        ]
        .into(),
        cause: Cause { revision: Some("main@sha1:0123".into()), proposal: Some(Digest::of(b"proposal")) }
            .into(),
        budgets: [name("etcd")].into(),
        windows: BTreeMap::from([(Cover::Packages, name("weekend"))]).into(),
        passed: BTreeSet::from([Passed { cover: Cover::Packages, window: name("freeze"), by: name("cve") }])
            .into(),
        expiry: instant("2026-10-01T04:00:00Z"),
        health: HealthCheck {
            units: [UnitName::parse("nginx.service").unwrap()].into(),
            settle_seconds: 120,
        }
        .into(),
        failed_units: [UnitName::parse("fwupd-refresh.service").unwrap()].into(),
    }
}

// rule: A1, A3
#[test]
fn an_activity_survives_the_api_with_its_epoch() {
    let mut object = Activity::from_model(&activity(), 9);
    object.metadata.uid = Some("u3".to_owned());
    object.metadata.creation_timestamp = Some(instant("2026-10-01T03:00:00Z").into());
    let mut model = stored("activities", &object).to_model().unwrap();
    assert_eq!(
        (&model.spec, model.epoch, model.phase, model.cancel),
        (&activity(), 9, Phase::Pending, false)
    );

    model.phase = Phase::Failed;
    model.outcome = Some(OutcomeReason::TimedOut);
    model.message = "step 1 took longer than 1h".to_owned();
    model.delivered = Some(instant("2026-10-01T03:00:01.5Z"));
    model.finished = Some(instant("2026-10-01T04:00:02.25Z"));
    model.steps = vec![StepStatus { started: model.delivered, completed: None }];
    object.status = Some(ActivityStatus::from_model(&model));
    let conditions = &object.status.as_ref().unwrap().conditions;
    assert_eq!(
        conditions.iter().map(|c| (c.type_.as_str(), c.reason.as_str())).collect::<Vec<_>>(),
        [("Delivered", "Delivered"), ("Failed", "TimedOut")]
    );
    assert_eq!(stored("activities", &object).to_model().unwrap(), model);

    object.metadata.labels = None;
    assert_eq!(object.to_model().unwrap_err()[0].rule, "A3");
    let mut other = Activity::from_model(&activity(), 9);
    other.spec.machine_ref.name = "web-02".to_owned();
    assert!(other.to_model().unwrap_err().iter().any(|error| error.rule == "A1"));
}

fn inventory() -> Inventory {
    let package = |name: &str, state| Package {
        key: key(name),
        installed: Some(Installed { version: version("3.0.14-1"), state, held: true, automatic: false }),
        candidate: Some(version("3.0.15-1")),
        offers: vec![Offer {
            version: version("3.0.15-1"),
            pin: 500,
            origins: vec!["Debian:bookworm-security".into()],
            phased: Some(Phased {
                percentage: 20,
                source: "openssl".into(),
                source_version: "3.0.15-1".into(),
            }),
        }],
    };
    Inventory {
        architecture: Architecture::parse("amd64").unwrap(),
        lists: Digest::of(b"lists"),
        interest: [PackageName::parse("curl").unwrap()].into(),
        packages: vec![package("libssl3", PackageState::Installed), package("openssl", PackageState::Broken)],
    }
}

#[test]
fn an_inventory_is_packed_under_its_digest() {
    let inventory = inventory();
    let mut object = PackageInventory::from_model(&inventory).unwrap();
    assert_eq!(object.metadata.name, Some(inventory_name(&inventory.digest())));
    assert_eq!(stored("packageinventories", &object).to_model().unwrap(), inventory);
    object.spec.digest = Digest::of(b"other").to_string();
    assert!(matches!(object.to_model(), Err(InventoryError::Digest { .. })));
    object.spec.data = "AAAA".to_owned();
    assert!(matches!(object.to_model(), Err(InventoryError::Zstd(_))));
    object.spec.data = "%".to_owned();
    assert!(matches!(object.to_model(), Err(InventoryError::Base64(_))));
}

// rule: A7
#[test]
fn a_proposal_answers_what_it_was_asked() {
    let asked = ProposalKey { inventory: Digest::of(b"inventory"), wanted: Digest::of(b"wanted") };
    let change = |name: &str| Change { package: key(name), from: None, to: Some(version("1")) };
    let transaction = Proposal::Transaction { changes: vec![change("curl"), change("libcurl4")] };
    for proposal in [transaction, Proposal::Refused { message: "held packages".to_owned() }] {
        let object = stored("packageproposals", &PackageProposal::from_model(&asked, &proposal));
        assert_eq!(object.to_model().unwrap(), (asked.clone(), proposal));
    }
    let endless = Proposal::Transaction { changes: (0..2001).map(|n| change(&format!("p{n}"))).collect() };
    let (_, refused) = PackageProposal::from_model(&asked, &endless).to_model().unwrap();
    assert!(matches!(refused, Proposal::Refused { message } if message.contains("2001 packages")));
    let mut renamed = PackageProposal::from_model(&asked, &endless);
    renamed.metadata.name = Some("other".to_owned());
    assert_eq!(renamed.to_model().unwrap_err()[0].rule, "A7");
}

#[test]
fn a_wanted_set_is_read_back_whole_or_not_at_all() {
    let wanted = WantedSet {
        interest: [PackageName::parse("curl").unwrap()].into(),
        items: vec![
            WantedItem { package: key("curl"), version: Some(version("1")) },
            WantedItem { package: key("telnet"), version: None },
        ],
    };
    let mut status = WantedStatus::from_model(&wanted);
    assert_eq!(status.to_model().unwrap(), wanted);
    status.items.pop();
    assert_eq!(status.to_model().unwrap_err()[0].field, "status.decision.wanted.digest");
}

// rule: O3
#[test]
fn a_rollout_remembers_what_is_barred() {
    let item = |package: &str, target| Item { package: key(package), target };
    let progress =
        |done, barred| ItemProgress { wanted: 10, done, failed: 1, barred, ..ItemProgress::default() };
    let mut rollout = Rollout::default();
    rollout.items.insert(item("openssl", Target::Version(version("3.0.15-1"))), progress(10, None));
    rollout.items.insert(item("telnet", Target::Absent), progress(2, Some(instant("2026-10-01T03:00:00Z"))));
    let mut object = BaselineRollout::new_for(&baseline("web"), &uid("u2"));
    object.status = Some(BaselineRolloutStatus::from_model(&rollout, 3));
    assert_eq!(object.metadata.name.as_deref(), Some("pb-web"));
    assert_eq!(stored("baselinerollouts", &object).to_model().unwrap(), (baseline("web"), rollout.clone()));

    for n in 0..3000 {
        rollout.items.insert(item(&format!("a{n}"), Target::Absent), progress(0, None));
    }
    let status = BaselineRolloutStatus::from_model(&rollout, 3);
    assert_eq!(
        (status.items.len(), status.items_total, status.items_done, status.items_barred),
        (2000, 3002, 1, 1)
    );
    assert!(status.items.iter().any(|item| item.package == "telnet"), "what is barred is kept");
}

/// Else each pass would find another status than the one that it wrote, and write again (promise P6).
#[test]
fn what_status_says_is_the_same_when_it_is_read_back() {
    let summary = WindowSummary {
        open: true,
        next_open: Some(instant("2026-10-01T03:00:00.123456789Z")),
        next_close: None,
        machines: 3,
        capped: BTreeSet::new(),
    };
    let status = MaintenanceWindowStatus::from_model(&summary, 2);
    let read: MaintenanceWindowStatus =
        serde_json::from_value(serde_json::to_value(&status).unwrap()).unwrap();
    assert_eq!(read, status);
    let mut late = activity();
    late.expiry = instant("2026-10-01T04:00:00.9Z");
    let object = Activity::from_model(&late, 9);
    assert_eq!(stored("activities", &object).spec.expiry_time, object.spec.expiry_time);
}

// rule: O2, O4
#[test]
fn a_rollout_remembers_what_passed_and_what_is_released_to_the_second() {
    let at = |text: &str| Some(instant(text));
    let waves = [
        ("canary", WaveProgress { passed: at("2026-10-01T03:00:00Z"), ..WaveProgress::default() }),
        (
            "tenth",
            WaveProgress {
                wanted: 5,
                done: 3,
                skipped: 1,
                failed: 1,
                since: at("2026-10-01T04:00:00Z"),
                holders: Some(u64::MAX),
                zone: Some("z1".into()),
                passed: None,
            },
        ),
    ];
    let progress = ItemProgress {
        wanted: 10,
        done: 4,
        failed: 1,
        barred: None,
        seen: at("2026-10-01T02:00:00Z"),
        released: None,
        approved: at("2026-10-01T03:10:00Z"),
        resumed: at("2026-10-01T03:20:00Z"),
        paused: at("2026-10-01T03:30:00Z"),
        waves: waves.into_iter().map(|(name, wave)| (name.parse().unwrap(), wave)).collect(),
    };
    let item =
        |version: &str| Item { package: key("curl"), target: Target::Version(version.parse().unwrap()) };
    let released = ItemProgress { released: at("2026-10-01T01:00:00Z"), ..ItemProgress::default() };
    let rollout = Rollout { items: [(item("9"), progress), (item("8"), released)].into() };
    let mut object = BaselineRollout::new_for(&baseline("web"), &uid("u2"));
    object.status = Some(BaselineRolloutStatus::from_model(&rollout, 3));
    assert_eq!(stored("baselinerollouts", &object).to_model().unwrap(), (baseline("web"), rollout.clone()));
    let status = object.status.unwrap();
    assert_eq!((status.items_total, status.items_released, status.wave.as_str()), (2, 1, "tenth"));
}

/// What a server stores ends at 1.5 MB: with many items on their way through ten waves, what is done says no more.
#[test]
fn the_largest_rollout_can_be_stored() {
    let times = instant("2026-10-01T03:00:00Z");
    let wave = |passed: Option<_>| WaveProgress {
        wanted: 100_000,
        done: 99_999,
        skipped: 12_345,
        failed: 12_345,
        since: Some(times),
        holders: passed.is_none().then_some(u64::MAX),
        zone: None,
        passed,
    };
    let waves = (0..10).map(|n| (format!("wave-{n}").parse().unwrap(), wave((n < 9).then_some(times))));
    let waves: std::collections::BTreeMap<_, _> = waves.collect();
    let mut rollout = Rollout::default();
    for n in 0..2000 {
        let item = Item { package: key(&format!("a-package-of-usual-length-{n}")), target: Target::Absent };
        let released = (n >= 300).then_some(times);
        let progress =
            ItemProgress { seen: Some(times), released, waves: waves.clone(), ..ItemProgress::default() };
        rollout.items.insert(item, progress);
    }
    let status = BaselineRolloutStatus::from_model(&rollout, 3);
    assert_eq!(status.items.len(), 2000);
    let bytes = serde_json::to_vec(&status).unwrap().len();
    assert!(bytes < 1_500_000, "{bytes}");
}

// rule: O1
#[test]
fn waves_that_make_no_sense_are_refused_with_what_would() {
    let object = json!({
        "apiVersion": "muster.dev/v1alpha1", "kind": "PackageBaseline", "metadata": {"name": "web", "uid": "u"},
        "spec": {"machineSelector": {}, "rollout": {"waves": [
            {"name": "canary", "machines": "10%"},
            {"name": "canary", "machines": "10%"},
            {"name": "none", "machines": 0},
            {"name": "rest", "machineSelector": {}, "machines": 1},
            {"name": "bad", "machineSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}, "soak": "1"},
        ]}},
    });
    let baseline: PackageBaseline = serde_json::from_value(object).unwrap();
    let errors = baseline.to_model().unwrap_err();
    let out: String = errors
        .iter()
        .map(|FieldError { field, rule, message }| format!("= {field} [{rule}] {message}\n"))
        .collect();
    expect![[r#"
        = spec.rollout.waves[1].name [O1] canary is there twice: rename one
        = spec.rollout.waves[1].machines [O1] 10% is not more than the 10% of an earlier wave, which holds these machines: shares grow from wave to wave
        = spec.rollout.waves[2].machines [O1] a wave of no machine can show nothing: take it out
        = spec.rollout.waves[3] [O1] write exactly one of machineSelector and machines
        = spec.rollout.waves[3].name [O1] rest is the implicit last wave: give this one another name
        = spec.rollout.waves[4].soak [] "1" is not a duration: the unit is missing, at character 2; write for example "1h30m", "90s" or "500ms"
        = spec.rollout.waves[4].machineSelector [W7] "Is" is no operator: write In, NotIn, Exists or DoesNotExist
    "#]].assert_eq(&out);
}

// rule: O7
#[test]
fn an_approval_says_which_items_it_is_about() {
    let read = |item: Value| {
        let object = json!({
            "apiVersion": "muster.dev/v1alpha1", "kind": "RolloutApproval",
            "metadata": {"name": "go", "creationTimestamp": "2026-10-01T03:00:00Z"},
            "spec": {"baselineRef": {"kind": "PackageBaseline", "name": "web"}, "action": "Pause", "item": item, "by": "alice"},
        });
        serde_json::from_value::<RolloutApproval>(object).unwrap().to_model()
    };
    let item =
        |version: &str| Item { package: key("curl"), target: Target::Version(version.parse().unwrap()) };
    let all = read(Value::Null).unwrap();
    assert_eq!((all.created, all.by.as_str()), (instant("2026-10-01T03:00:00Z"), "alice"));
    assert!(all.items.contain(&item("9")));
    let exact = read(json!({"package": "curl", "target": "9"})).unwrap();
    assert!(exact.items.contain(&item("9")) && !exact.items.contain(&item("10")));
    let absent = read(json!({"package": "curl", "target": "absent"})).unwrap();
    assert!(absent.items.contain(&Item { package: key("curl"), target: Target::Absent }));
    let other = read(json!({"package": "curl", "architecture": "arm64"})).unwrap();
    assert!(!other.items.contain(&item("9")));
    assert_eq!(read(json!({"package": "curl", "target": "x:"})).unwrap_err()[0].field, "spec.item.target");
}

// rule: O7
#[test]
fn what_is_said_of_a_kernels_rollout_is_heard_and_what_is_kept_in_a_file_known() {
    let read = |metadata: Value| {
        let mut object = json!({
            "apiVersion": "muster.dev/v1alpha1", "kind": "RolloutApproval", "metadata": {"name": "go"},
            "spec": {"baselineRef": {"kind": "KernelBaseline", "name": "cloud"}, "action": "Approve", "by": "alice"},
        });
        object["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        serde_json::from_value::<RolloutApproval>(object).unwrap().to_model().unwrap()
    };
    let managed = |operation: &str| {
        let entry = json!({
            "manager": "somebody", "operation": operation, "apiVersion": "muster.dev/v1alpha1", "fieldsType": "FieldsV1",
            "fieldsV1": {},
        });
        json!({"managedFields": [entry]})
    };
    assert_eq!(read(json!({})).baseline.kind, BaselineKind::KernelBaseline);
    assert!(!read(managed("Update")).applied, "made by `muster approve` or `kubectl create`");
    assert!(read(managed("Apply")).applied);
    let annotated = json!({"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}});
    assert!(read(annotated).applied);
    let owner = json!({"apiVersion": "example.org/v1", "kind": "Release", "name": "may", "uid": "u"});
    assert!(read(json!({"ownerReferences": [owner]})).applied);
}
