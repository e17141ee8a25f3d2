//! A fleet as one meets it: most machines have many twins, one in a hundred is like no other, and one group in ten lacks
//! an update.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use muster_model::*;
use muster_planner::plan;
use smol_str::{SmolStr, format_smolstr};

pub(crate) const PACKAGES: usize = 800;
const BASELINES: usize = 30;
const REQUIREMENTS: usize = 3;

/// So many machines have the same packages and lists; the last of them has a package of its own.
const TWINS: usize = 100;
const ROLES: [&str; 8] = ["web", "db", "cache", "queue", "build", "edge", "mail", "log"];
const REGIONS: [&str; 5] = ["fra", "ams", "iad", "sin", "gru"];
const NOW: &str = "2026-11-23T21:00:00Z";

/// A fleet of so many machines, whose apt has answered what it was asked.
pub(crate) fn fleet(machines: usize) -> Snapshot {
    let mut snapshot = Snapshot { now: NOW.parse().unwrap(), epoch: 1, ..Snapshot::default() };
    snapshot.revision = Some("main@sha1:3f7a0c5e9d21b8467af3c0d5e9127b8461a0c5e9".into());
    for number in 0..BASELINES {
        let baseline = baseline(number);
        snapshot.package_baselines.insert(baseline.common.name.clone(), Arc::new(baseline));
    }
    for window in windows() {
        snapshot.windows.insert(window.name.clone(), Arc::new(window));
    }
    for budget in budgets() {
        snapshot.budgets.insert(budget.name.clone(), Arc::new(budget));
    }
    let mut digest = None;
    for number in 0..machines {
        let (group, odd) = (number / TWINS, number % TWINS == TWINS - 1);
        if number % TWINS == 0 || odd || digest.is_none() {
            let inventory = inventory(group, odd);
            let named = inventory.digest();
            snapshot.inventories.insert(named.clone(), Arc::new(inventory));
            digest = Some(named);
        }
        let machine = machine(number, digest.clone().unwrap(), snapshot.now);
        let past = activity(&snapshot, &machine, number);
        snapshot.activities.insert(past.spec.name.clone(), Arc::new(past));
        snapshot.machines.insert(machine.name.clone(), Arc::new(machine));
    }
    answer(&mut snapshot);
    snapshot
}

fn uid(kind: &str, number: usize) -> Uid {
    Uid::parse(&format!("{kind}00000-0000-4000-8000-{number:012}")).unwrap()
}

fn selector(terms: &[(&str, LabelTest)]) -> LabelSelector {
    LabelSelector::new(terms.iter().map(|(key, test)| (SmolStr::new(*key), test.clone()))).unwrap()
}

fn is(value: &str) -> LabelTest {
    LabelTest::Is(value.into())
}

fn package_name(number: usize) -> PackageName {
    const KINDS: [&str; 5] = ["common", "utils", "data", "core", "tools"];
    PackageName::parse(&format!("lib{}{number}-{}", ["ssl", "xml", "net"][number % 3], KINDS[number % 5]))
        .unwrap()
}

fn version(number: usize, update: usize) -> DebianVersion {
    DebianVersion::parse(&format!("{}.{}.{number}-{}+deb12u{update}", number % 9, number % 31, number % 4))
        .unwrap()
}

/// The packages that a baseline names: no two the same.
fn named(baseline: usize) -> impl Iterator<Item = usize> {
    (0..REQUIREMENTS).map(move |place| (baseline * REQUIREMENTS + place) * 7)
}

fn baseline(number: usize) -> PackageBaseline {
    let selector = match number {
        0..5 => LabelSelector::all(),
        5..21 => selector(&[("role", is(ROLES[number % ROLES.len()]))]),
        21..26 => selector(&[("env", is("prod")), ("region", is(REGIONS[number % REGIONS.len()]))]),
        _ => selector(&[(
            "region",
            LabelTest::In(BTreeSet::from([REGIONS[number % 5].into(), REGIONS[(number + 1) % 5].into()])),
        )]),
    };
    PackageBaseline {
        common: BaselineCommon {
            name: ObjectName::parse(&format!("baseline-{number:02}")).unwrap(),
            uid: uid("bb0", number),
            generation: 1,
            selector,
            mode: if number == 29 { Mode::Observe } else { Mode::Enforce },
            priority: 0,
            provenance: None,
        },
        packages: named(number)
            .map(|package| PackageRequirement {
                name: package_name(package),
                architecture: None,
                state: PackageWish::Present,
                version: VersionRequirement::parse(&format!(">= {}", version(package, 2))).unwrap(),
                hold: false,
            })
            .collect(),
        upgrades: None,
        downgrades: Permit::Refuse,
        removals: Permit::Refuse,
        conffiles: Conffiles::Keep,
        reboot: RebootPolicy { policy: RebootWhen::Never, timeout: SignedDuration::from_mins(30) },
        health: Health { units: BTreeSet::new(), settle: SignedDuration::from_mins(2) },
        rollout: RolloutSpec {
            waves: if number.is_multiple_of(3) { vec![tenth()] } else { Vec::new() },
            zone_key: None,
            max_unavailable: Share::parse("10%").unwrap(),
            max_failures: Share::parse("2%").unwrap(),
            min_ready: SignedDuration::from_mins(5),
        },
    }
}

fn tenth() -> Wave {
    Wave {
        name: ObjectName::parse("tenth").unwrap(),
        picks: Picks::Share(Share::parse("10%").unwrap()),
        soak: SignedDuration::from_mins(30),
        approval: Approval::None,
    }
}

fn window(
    number: usize,
    action: WindowAction,
    selector: LabelSelector,
    schedule: &str,
    hours: i64,
) -> Window {
    let zone = Zone::parse("Europe/Berlin").unwrap();
    let recurrence =
        Recurrence::new(Schedule::parse(schedule).unwrap(), 0, zone, SignedDuration::from_hours(hours))
            .unwrap();
    Window {
        name: ObjectName::parse(&format!("window-{number}")).unwrap(),
        uid: uid("da0", number),
        generation: 1,
        selector,
        action,
        when: Ok(When::Recurring(recurrence)),
        cutoff: SignedDuration::from_mins(30),
        covers: None,
        overridable: false,
        provenance: None,
    }
}

fn windows() -> Vec<Window> {
    let mut windows: Vec<Window> = (0..7)
        .map(|number| {
            let role = selector(&[("role", is(ROLES[number]))]);
            window(number, WindowAction::Allow, role, &format!("0 {} * * *", 18 + number % 6), 6)
        })
        .collect();
    let prod = || selector(&[("env", is("prod"))]);
    windows.push(window(7, WindowAction::Allow, prod(), "0 22 * * FRI", 8));
    windows.push(window(8, WindowAction::Deny, prod(), "0 8 1 * *", 24));
    windows.push(window(9, WindowAction::Deny, LabelSelector::all(), "0 0 24 12 *", 72));
    windows
}

fn budgets() -> Vec<Budget> {
    let limit = |text| BudgetLimit::MaxUnavailable(Share::parse(text).unwrap());
    let roles = (0..4).map(|number| (selector(&[("role", is(ROLES[number]))]), limit("10%")));
    let all = [(LabelSelector::all(), limit("5%"))];
    let budgets = roles.chain(all).enumerate().map(|(number, (selector, limit))| Budget {
        name: ObjectName::parse(&format!("budget-{number}")).unwrap(),
        uid: uid("bdb", number),
        generation: 1,
        selector,
        limit,
        absent: AbsentMachines::Count,
        provenance: None,
    });
    budgets.collect()
}

/// What a group of twins has: one group in ten lacks what one baseline asks for.
fn inventory(group: usize, odd: bool) -> Inventory {
    let architecture = Architecture::parse("amd64").unwrap();
    let behind: Vec<usize> =
        if group.is_multiple_of(10) { named(group / 10 % BASELINES).collect() } else { Vec::new() };
    let mut packages: Vec<Package> = (0..PACKAGES)
        .map(|number| {
            let installed = match (behind.contains(&number), number + 1 == PACKAGES && odd) {
                (true, _) => version(number, 1),
                (false, true) => version(number, 100 + group),
                (false, false) => version(number, 2),
            };
            let newest = version(number, 2);
            let offer =
                |version| Offer { version, pin: 500, origins: vec!["Debian:bookworm".into()], phased: None };
            let offers =
                if number % 5 == 0 { vec![newest.clone(), version(number, 1)] } else { vec![newest.clone()] };
            Package {
                key: PackageKey { name: package_name(number), architecture: architecture.clone() },
                installed: Some(Installed {
                    version: installed,
                    state: PackageState::Installed,
                    held: false,
                    automatic: number % 3 == 0,
                }),
                candidate: Some(newest),
                offers: offers.into_iter().map(offer).collect(),
            }
        })
        .collect();
    packages.sort_by(|left, right| left.key.cmp(&right.key));
    let interest = (0..BASELINES).flat_map(named).map(package_name).collect();
    let lists = Digest::of(format!("lists of {group}").as_bytes());
    Inventory { architecture, lists, interest, packages }
}

pub(crate) fn machine(number: usize, inventory: Digest, now: Instant) -> Machine {
    let release = format_smolstr!("6.1.0-{}-amd64", 40 + number % 4);
    let report = Report {
        agent: "0.1.0".into(),
        capabilities: BTreeSet::from([
            Capability::ExactSimulation,
            Capability::Packages,
            Capability::Reboot,
            Capability::Journal,
        ])
        .into(),
        os: Os { id: "debian".into(), version_id: "12".into(), codename: "bookworm".into() }.into(),
        architecture: Architecture::parse("amd64").unwrap(),
        kernel: Kernel {
            booted: release.clone(),
            installed: vec![InstalledKernel {
                package: PackageName::parse(&format!("linux-image-{release}")).unwrap(),
                version: DebianVersion::parse("6.1.140-1").unwrap(),
                followed_by: BTreeMap::from([(
                    PackageName::parse("linux-image-amd64").unwrap(),
                    DebianVersion::parse("6.1.140-1").unwrap(),
                )]),
                release,
            }],
            next_boot: None,
            command_line: "BOOT_IMAGE=/vmlinuz root=/dev/vda1 ro quiet".into(),
        }
        .into(),
        boot: Boot {
            id: format_smolstr!("8e7c0000-0000-4000-8000-{number:012}").into(),
            time: now - DAY * 20,
        },
        reboot_required: None,
        inventory,
        dpkg_interrupted: false,
        upgradable: 0,
        security_upgradable: 0,
        phasing: BTreeMap::new(),
        failed_units: Default::default(),
        hardware: Hardware {
            cpu_vendor: "GenuineIntel".into(),
            cpu_family: "6".into(),
            cpu_model: "Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz".into(),
            cpus: 8,
            memory_mib: 32_768,
            gpus: BTreeSet::new(),
            virtualization: "kvm".into(),
        }
        .into(),
        last_activity: 1,
    };
    let group = number / TWINS;
    let label = |key: &str, value: &str| (SmolStr::new(key), SmolStr::new(value));
    Machine {
        name: MachineName::parse(&format!("{}-{number:06}", ROLES[group % ROLES.len()])).unwrap(),
        uid: uid("fa0", number),
        labels: BTreeMap::from([
            label("role", ROLES[group % ROLES.len()]),
            label("region", REGIONS[number % REGIONS.len()]),
            label("env", if group.is_multiple_of(3) { "staging" } else { "prod" }),
            label("topology.kubernetes.io/zone", ["a", "b", "c"][number % 3]),
        ])
        .into(),
        admitted: true,
        suspend: false,
        revoked: false,
        resolved_through: 0,
        retried_through: 0,
        reported: Some(Reported {
            session: 1,
            sequence: 40,
            digest: Digest::of(format!("report of {number}").as_bytes()),
            time: now - SignedDuration::from_hours(2),
            facts: report.facts(),
            report,
        }),
        presence: Presence::Present,
        last_number: 1,
        holds: Default::default(),
        first_converged: Some(now - DAY * 10),
    }
}

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Each machine's last activity: three days ago, but for one machine in four hundred, where it is under way.
pub(crate) fn activity(snapshot: &Snapshot, machine: &Machine, number: usize) -> Activity {
    let under_way = number % 400 == 7;
    let at = snapshot.now - if under_way { SignedDuration::from_mins(3) } else { DAY * 3 };
    let name = ActivityName { machine: machine.name.clone(), number: 1 };
    let package = PackageKey { name: package_name(0), architecture: Architecture::parse("amd64").unwrap() };
    let change = Change { package, from: Some(version(0, 1)), to: Some(version(0, 2)) };
    let (baseline, known) = snapshot.package_baselines.first_key_value().unwrap();
    let by = BaselineRef { kind: BaselineKind::PackageBaseline, name: baseline.clone() };
    Activity {
        spec: ActivitySpec {
            name,
            machine_uid: machine.uid.clone(),
            steps: vec![Step {
                action: StepAction::InstallPackages(Transaction {
                    requested: vec![change],
                    ..Transaction::default()
                }),
                baselines: BTreeMap::from([(by, known.common.uid.clone())]),
                timeout: SignedDuration::from_hours(1),
            }]
            .into(),
            cause: Cause { revision: snapshot.revision.clone(), proposal: None }.into(),
            budgets: BTreeSet::from([ObjectName::parse("budget-4").unwrap()]).into(),
            windows: Shared::default(),
            passed: Shared::default(),
            expiry: at + SignedDuration::from_hours(1),
            health: HealthCheck::default().into(),
            failed_units: Default::default(),
        },
        uid: uid("ac0", number),
        created: at,
        cancel: false,
        epoch: 1,
        phase: if under_way { Phase::Running } else { Phase::Succeeded },
        delivered: Some(at),
        finished: (!under_way).then_some(at),
        outcome: None,
        message: String::new(),
        steps: vec![StepStatus { started: Some(at), completed: (!under_way).then_some(at) }],
    }
}

/// Every machine's apt says what it was asked: what is wanted, and nothing besides; and rollouts are on record.
fn answer(snapshot: &mut Snapshot) {
    let decided = plan(snapshot);
    let rollouts = decided.rollouts.iter();
    snapshot.rollouts =
        rollouts.map(|(baseline, rollout)| (baseline.clone(), Arc::new(rollout.clone()))).collect();
    for (name, one) in decided.machines.iter().filter(|(_, one)| !one.wanted.items.is_empty()) {
        let inventory = snapshot.machines[name].reported.as_ref().unwrap().report.inventory.clone();
        let known = &snapshot.inventories[&inventory];
        let changes = one.wanted.items.iter().map(|item| Change {
            package: item.package.clone(),
            from: known
                .package(&item.package)
                .and_then(|package| package.installed.as_ref())
                .map(|one| one.version.clone()),
            to: item.version.clone(),
        });
        let proposal = Proposal::Transaction { changes: changes.collect() };
        let key = ProposalKey { inventory, wanted: one.wanted.digest() };
        snapshot.proposals.insert(key, Arc::new(proposal));
    }
}
