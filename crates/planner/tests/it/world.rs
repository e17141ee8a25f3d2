//! The stories' language: a world in lines, each a noun, a name, words, and after a colon what it is about.
//!
//! ```text
//! time 40m                                     (that long after noon; first of all lines)
//! policy suspend | required | applying | clock-off | packages 40m
//! unreadable MaintenanceWindow/x
//! baseline fix on role=web priority 5 max 25% fail 2% ready 5m observe downgrades removals conffiles Fail
//!          reboot 30m units nginx.service settle 2m zones zone upgrades All: openssl >= 3.0.15; nginx; telnet absent
//!          | ; curl latest hold
//! kernel k reboot 30m keep 2 …: linux-image >= 6.1; line quiet; not nosmt   (else as a baseline)
//! wave canary fix on ring=canary | share 10% soak 1h approval          (a wave of the baseline fix, after those before)
//! override cve of freeze until 2h: fix openssl 3.0.15; fix reboot
//! window night allow|deny overridable on env=prod covers Packages cutoff 1h: daily 22 6h | once FROM TO | broken
//! budget etcd on role=etcd max 1 | min 50% | ignore
//! machine a role=web silent 10m lists old draws zlib/2=56 …: openssl 3.0.14 -> 3.0.15! 3.0.16@100; zlib 1 -> 2%10
//! activity a-1 Failed(Unhealthy) 10m ago …: install fix openssl 3.0.15 | reboot fix | hold fix openssl | repair fix
//! rollout fix openssl=3.0.15 barred 10m seen 1h released 1h passed canary,tenth soaking canary/2/30m
//! approval stop pause fix openssl=3.0.15 by alice 10m | approval go resume fix by alice 10m
//! apt with openssl: libssl3 3.0.14 > 3.0.15 | apt refuses foo: why | apt silent
//! show rollouts waves next …
//! ```
//! A long line goes on in the next one that begins with `|`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use muster_model::*;
use smol_str::SmolStr;

use crate::words::{Words, length};

/// A Monday, noon.
const NOON: &str = "2026-11-23T12:00:00Z";

/// A story's world.
pub(crate) struct World {
    pub(crate) snapshot: Snapshot,
    pub(crate) apt: Apt,
    shown: BTreeSet<String>,
}

/// What the machines' apt says when it is asked.
#[derive(Default)]
pub(crate) struct Apt {
    pub(crate) with: BTreeMap<String, Vec<Change>>,
    pub(crate) refused: BTreeMap<String, String>,
    pub(crate) silent: bool,
}

impl World {
    pub(crate) fn shown(&self, what: &str) -> bool {
        self.shown.contains(what)
    }

    fn ago(&self, text: &str) -> Instant {
        self.snapshot.now - length(text)
    }
}

pub(crate) fn read(text: &str) -> World {
    let snapshot = Snapshot { now: NOON.parse().unwrap(), epoch: 7, ..Snapshot::default() };
    let mut world = World { snapshot, apt: Apt::default(), shown: BTreeSet::new() };
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.strip_prefix("| ") {
            Some(more) => lines.last_mut().unwrap().push_str(&format!(" {more}")),
            None => lines.push(line.to_owned()),
        }
    }
    for line in &lines {
        let (head, body) =
            line.split_once(": ").map_or((line.trim_end_matches(':'), ""), |(head, body)| (head, body));
        let words = Words::of(head);
        match words.at(0) {
            "time" => world.snapshot.now += length(words.at(1)),
            "policy" => policy(&mut world, &words),
            "unreadable" => {
                world.snapshot.unreadable.insert(words.at(1).into(), "the selector has no values".to_owned());
            }
            "baseline" => baseline(&mut world, &words, body),
            "wave" => wave(&mut world, &words),
            "approval" => approval(&mut world, &words),
            "kernel" => kernel(&mut world, &words, body),
            "window" => window(&mut world, &words, body),
            "override" => window_override(&mut world, &words, body),
            "budget" => budget(&mut world, &words),
            "machine" => machine(&mut world, &words, body),
            "activity" => activity(&mut world, &words, body),
            "rollout" => rollout(&mut world, &words),
            "apt" => apt(&mut world, &words, body),
            "show" => world.shown.extend(words.words[1..].iter().map(|word| (*word).to_owned())),
            other => panic!("no such noun: {other}"),
        }
    }
    world
}

fn uid(kind: &str, name: &str) -> Uid {
    Uid::parse(&format!("{kind}-{name}")).unwrap()
}

pub(crate) fn key(name: &str) -> PackageKey {
    let (name, architecture) = name.split_once('/').unwrap_or((name, "amd64"));
    PackageKey { name: name.parse().unwrap(), architecture: architecture.parse().unwrap() }
}

fn policy(world: &mut World, words: &Words<'_>) {
    let snapshot = &mut world.snapshot;
    snapshot.policy.suspend |= words.has("suspend");
    snapshot.applying |= words.has("applying");
    snapshot.clock_off |= words.has("clock-off");
    if words.value("packages").is_some() {
        snapshot.policy.estimates.packages = words.length("packages");
    }
    if words.has("required") {
        snapshot.policy.windows = WindowsPolicy::Required;
    }
}

fn common(words: &Words<'_>, kind: &str) -> BaselineCommon {
    BaselineCommon {
        name: words.at(1).parse().unwrap(),
        uid: uid(kind, words.at(1)),
        generation: 1,
        selector: words.selector(),
        mode: if words.has("observe") { Mode::Observe } else { Mode::Enforce },
        priority: words.value("priority").map_or(0, |text| text.parse().unwrap()),
        provenance: None,
    }
}

fn baseline(world: &mut World, words: &Words<'_>, body: &str) {
    let permit = |flag| if words.has(flag) { Permit::Allow } else { Permit::Refuse };
    let baseline = PackageBaseline {
        common: common(words, "pb"),
        packages: body.split(';').map(str::trim).filter(|text| !text.is_empty()).map(requirement).collect(),
        upgrades: words.value("upgrades").map(parsed::<UpgradePolicy>),
        downgrades: permit("downgrades"),
        removals: permit("removals"),
        conffiles: match words.value("conffiles") {
            None => Conffiles::Keep,
            Some("Fail") => Conffiles::Fail,
            Some("Replace") => Conffiles::Replace,
            Some(other) => panic!("no such conffiles: {other}"),
        },
        reboot: reboot_policy(words),
        health: health(words),
        rollout: rollout_spec(words),
    };
    world.snapshot.package_baselines.insert(baseline.common.name.clone(), Arc::new(baseline));
}

fn reboot_policy(words: &Words<'_>) -> RebootPolicy {
    RebootPolicy {
        policy: if words.has("reboot") { RebootWhen::WhenRequired } else { RebootWhen::Never },
        timeout: words.length("reboot"),
    }
}

fn health(words: &Words<'_>) -> Health {
    let units = words.value("units").into_iter().flat_map(|units| units.split(','));
    Health { units: units.map(|unit| unit.parse().unwrap()).collect(), settle: words.length("settle") }
}

fn rollout_spec(words: &Words<'_>) -> RolloutSpec {
    RolloutSpec {
        waves: Vec::new(),
        zone_key: words.value("zones").map(SmolStr::new),
        max_unavailable: Share::parse(words.value("max").unwrap_or("100%")).unwrap(),
        max_failures: Share::parse(words.value("fail").unwrap_or("100%")).unwrap(),
        min_ready: words.length("ready"),
    }
}

fn requirement(text: &str) -> PackageRequirement {
    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
    let (name, architecture) = match name.split_once('/') {
        Some((name, architecture)) => (name, Some(architecture.parse().unwrap())),
        None => (name, None),
    };
    let (rest, hold) = rest.strip_suffix("hold").map_or((rest, false), |rest| (rest, true));
    let absent = rest.trim() == "absent";
    PackageRequirement {
        name: name.parse().unwrap(),
        architecture,
        state: if absent { PackageWish::Absent } else { PackageWish::Present },
        version: VersionRequirement::parse(if absent { "" } else { rest }).unwrap(),
        hold,
    }
}

fn kernel(world: &mut World, words: &Words<'_>, body: &str) {
    let mut parts = body.split(';').map(str::trim);
    let (package, version) = parts.next().unwrap().split_once(' ').unwrap();
    let mut baseline = KernelBaseline {
        common: common(words, "kb"),
        package: requirement(&format!("{package} {version}")),
        command_line: CommandLine::default(),
        keep: words.value("keep").map_or(2, |keep| keep.parse().unwrap()),
        reboot: reboot_policy(words),
        health: health(words),
        rollout: rollout_spec(words),
    };
    for part in parts {
        match part.split_once(' ').unwrap() {
            ("line", word) => baseline.command_line.present.insert(word.into()),
            ("not", word) => baseline.command_line.absent.insert(word.into()),
            (other, _) => panic!("no such part of a kernel: {other}"),
        };
    }
    world.snapshot.kernel_baselines.insert(baseline.common.name.clone(), Arc::new(baseline));
}

fn window(world: &mut World, words: &Words<'_>, body: &str) {
    let when = match body.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["daily", hour, long] => {
            let schedule = Schedule::parse(&format!("0 {hour} * * *")).unwrap();
            Ok(When::Recurring(Recurrence::new(schedule, 0, Zone::utc(), length(long)).unwrap()))
        }
        ["once", from, to] => Ok(When::once(from.parse().unwrap(), to.parse().unwrap()).unwrap()),
        ["broken"] => Err("no such zone".to_owned()),
        other => panic!("no such window: {other:?}"),
    };
    let cover = |word: &str| match word {
        "Packages" => Cover::Packages,
        "Kernel" => Cover::Kernel,
        "Reboot" => Cover::Reboot,
        other => panic!("no such cover: {other}"),
    };
    let window = Window {
        name: words.at(1).parse().unwrap(),
        uid: uid("mw", words.at(1)),
        generation: 1,
        selector: words.selector(),
        action: if words.at(2) == "deny" { WindowAction::Deny } else { WindowAction::Allow },
        when,
        cutoff: words.length("cutoff"),
        covers: words.value("covers").map(|covers| covers.split(',').map(cover).collect()),
        overridable: words.has("overridable"),
        provenance: None,
    };
    world.snapshot.windows.insert(window.name.clone(), Arc::new(window));
}

/// `override cve of freeze,night until 2h: fix openssl 3.0.15; fix reboot`.
fn window_override(world: &mut World, words: &Words<'_>, body: &str) {
    let items = body.split(';').map(|text| {
        let item = Words::of(text);
        let name: ObjectName = item.at(0).parse().unwrap();
        let kind = if world.snapshot.kernel_baselines.contains_key(&name) {
            BaselineKind::KernelBaseline
        } else {
            BaselineKind::PackageBaseline
        };
        OverrideItem {
            baseline: BaselineRef { kind, name },
            what: match item.at(1) {
                "reboot" => OverrideWhat::Reboot,
                name => OverrideWhat::Package(name.parse().unwrap(), item.at(2).parse().unwrap()),
            },
        }
    });
    let one = WindowOverride {
        name: words.at(1).parse().unwrap(),
        windows: words.value("of").unwrap().split(',').map(|window| window.parse().unwrap()).collect(),
        items: items.collect(),
        reason: "an incident".to_owned(),
        until: world.snapshot.now + words.length("until"),
    };
    world.snapshot.overrides.insert(one.name.clone(), Arc::new(one));
}

fn budget(world: &mut World, words: &Words<'_>) {
    let limit = match (words.value("max"), words.value("min")) {
        (Some(max), None) => BudgetLimit::MaxUnavailable(Share::parse(max).unwrap()),
        (None, Some(min)) => BudgetLimit::MinAvailable(Share::parse(min).unwrap()),
        other => panic!("a budget has max or min, not {other:?}"),
    };
    let budget = Budget {
        name: words.at(1).parse().unwrap(),
        uid: uid("mdb", words.at(1)),
        generation: 1,
        selector: words.selector(),
        limit,
        absent: if words.has("ignore") { AbsentMachines::Ignore } else { AbsentMachines::Count },
        provenance: None,
    };
    world.snapshot.budgets.insert(budget.name.clone(), Arc::new(budget));
}

fn machine(world: &mut World, words: &Words<'_>, body: &str) {
    let name: MachineName = words.at(1).parse().unwrap();
    let silent = words.value("silent");
    let reported = if words.has("never") { None } else { Some(reported(world, words, body)) };
    let labels = words.words.iter().filter_map(|word| word.split_once('='));
    let number = |option| words.value(option).map_or(0, |text| text.parse().unwrap());
    if let Some(resolved) = words.value("absence-resolved") {
        world.snapshot.resolved_absences.insert(name.clone(), world.ago(resolved));
    }
    let machine = Machine {
        uid: uid(if words.has("anew") { "new" } else { "fm" }, words.at(1)),
        labels: labels.map(|(key, value)| (key.into(), value.into())).collect(),
        admitted: !words.has("unadmitted"),
        suspend: words.has("suspended"),
        revoked: words.has("revoked"),
        resolved_through: number("resolved"),
        retried_through: number("retried"),
        presence: match silent {
            _ if reported.is_none() => Presence::Never,
            None => Presence::Present,
            Some(silent) => Presence::Silent {
                last_heard: world.ago(silent),
                counted_from: world.ago(words.value("counted").unwrap_or(silent)),
            },
        },
        reported,
        last_number: number("last"),
        holds: words.value("ours").into_iter().flat_map(|ours| ours.split(',')).map(key).collect(),
        first_converged: None,
        name,
    };
    world.snapshot.machines.insert(machine.name.clone(), Arc::new(machine));
}

fn reported(world: &mut World, words: &Words<'_>, body: &str) -> Reported {
    let architecture: Architecture = words.value("arch").unwrap_or("amd64").parse().unwrap();
    let packages: Vec<Package> =
        body.split(';').map(str::trim).filter(|text| !text.is_empty()).map(package).collect();
    let mut inventory = Inventory {
        architecture: architecture.clone(),
        lists: Digest::of(words.value("lists").unwrap_or("lists").as_bytes()),
        interest: packages.iter().map(|package| package.key.name.clone()).collect(),
        packages,
    };
    inventory.canonicalise();
    let digest = inventory.digest();
    if !words.has("no-inventory") {
        world.snapshot.inventories.insert(digest.clone(), Arc::new(inventory));
    }
    let mut capabilities = BTreeSet::from([
        Capability::ExactSimulation,
        Capability::Packages,
        Capability::Reboot,
        Capability::Journal,
    ]);
    if words.has("selects") {
        capabilities.insert(Capability::KernelSelection);
    }
    capabilities.retain(|capability| words.value("cannot") != Some(capability.as_str()));
    let report = Report {
        agent: "0.1.0".into(),
        capabilities: capabilities.into(),
        os: Os { id: "debian".into(), version_id: "12".into(), codename: "bookworm".into() }.into(),
        architecture,
        kernel: kernels(words).into(),
        boot: Boot { id: "boot".into(), time: world.ago(words.value("booted").unwrap_or("100h")) },
        reboot_required: words.value("reboot-required").map(|since| {
            Box::new(RebootRequired {
                since: world.ago(since),
                packages: words
                    .value("for")
                    .into_iter()
                    .flat_map(|all| all.split(','))
                    .map(SmolStr::new)
                    .collect(),
            })
        }),
        inventory: digest,
        dpkg_interrupted: words.has("interrupted"),
        upgradable: 0,
        security_upgradable: 0,
        phasing: words
            .value("draws")
            .into_iter()
            .flat_map(|all| all.split(','))
            .map(|one| {
                let (update, draw) = one.split_once('=').unwrap();
                (update.replace('/', " ").into(), draw.parse().unwrap())
            })
            .collect(),
        failed_units: words.value("failed-unit").into_iter().map(|unit| unit.parse().unwrap()).collect(),
        hardware: Hardware { cpu_vendor: "GenuineIntel".into(), ..Hardware::default() }.into(),
        last_activity: words.value("carried").map_or(0, |text| text.parse().unwrap()),
    };
    let time = world.ago(words.value("reported").unwrap_or("1h"));
    Reported { session: 1, sequence: 1, digest: report.digest(), time, facts: report.facts(), report }
}

/// `kernels 6.1.0-49=6.1.170,6.1.0-50=6.1.176` with the meta-package `linux-image`; `runs 6.1.0-49`.
fn kernels(words: &Words<'_>) -> Kernel {
    let installed = words.value("kernels").into_iter().flat_map(|all| all.split(',')).map(|one| {
        let (release, version) = one.split_once('=').unwrap_or((one, ""));
        let followed =
            DebianVersion::parse(version).ok().map(|version| ("linux-image".parse().unwrap(), version));
        InstalledKernel {
            release: release.into(),
            package: format!("linux-image-{release}").parse().unwrap(),
            version: release.parse().unwrap(),
            followed_by: followed.into_iter().collect(),
        }
    });
    Kernel {
        booted: words.value("runs").unwrap_or("6.1.0-49").into(),
        installed: installed.collect(),
        next_boot: words.value("next").map(SmolStr::new),
        command_line: words.value("line").map_or("quiet".into(), SmolStr::new),
    }
}

/// `openssl 3.0.14 held broken -> 3.0.15 3.0.16@100`: the first on offer is the candidate, if its pin is 500 or more.
fn package(text: &str) -> Package {
    let (installed, offers) = text.split_once("->").unwrap_or((text, ""));
    let words = Words::of(installed);
    let offers: Vec<Offer> = offers.split_whitespace().map(|text| offer(words.at(0), text)).collect();
    let installed =
        DebianVersion::parse(words.at(1)).ok().filter(|_| words.at(1) != "-").map(|version| Installed {
            version,
            state: if words.has("broken") { PackageState::Broken } else { PackageState::Installed },
            held: words.has("held"),
            automatic: false,
        });
    let first = offers.first().filter(|offer| offer.pin >= 500).map(|offer| offer.version.clone());
    Package {
        key: key(words.at(0)),
        candidate: first.or_else(|| installed.as_ref().map(|one| one.version.clone())),
        installed,
        offers,
    }
}

/// `3.0.15`, `3.0.15@100` with that pin, `3.0.15!` from a security pocket, `3.0.15%10` phased: for 10% of machines.
fn offer(package: &str, text: &str) -> Offer {
    let (text, phased) = text.split_once('%').map_or((text, None), |(text, share)| (text, Some(share)));
    let (text, pin) = text.split_once('@').unwrap_or((text, "500"));
    let (version, origin) = match text.strip_suffix('!') {
        Some(version) => (version, "Debian:bookworm-security"),
        None => (text, "Debian:bookworm"),
    };
    Offer {
        version: version.parse().unwrap(),
        pin: pin.parse().unwrap(),
        origins: vec![origin.into()],
        phased: phased.map(|share| Phased {
            percentage: share.parse().unwrap(),
            source: package.into(),
            source_version: version.into(),
        }),
    }
}

fn activity(world: &mut World, words: &Words<'_>, body: &str) {
    let name = ActivityName::parse(words.at(1)).unwrap();
    let (phase, outcome) = words.at(2).split_once('(').unwrap_or((words.at(2), ""));
    let phase: Phase = parsed(phase);
    let outcome = outcome.strip_suffix(')').map(parsed::<OutcomeReason>);
    let at = world.ago(words.at(3));
    let created = if phase.is_finished() { at - SignedDuration::from_mins(1) } else { at };
    let steps: Vec<Step> = body.split('|').map(|text| step(world, text)).collect();
    let completed: usize = words.value("completed").map_or(0, |text| text.parse().unwrap());
    let done = if phase == Phase::Succeeded { steps.len() } else { completed };
    let passed = words.value("past").into_iter().map(|passed| {
        let (window, by) = passed.split_once('/').unwrap();
        Passed { cover: Cover::Packages, window: window.parse().unwrap(), by: by.parse().unwrap() }
    });
    let spec = ActivitySpec {
        machine_uid: uid("fm", name.machine.as_str()),
        health: HealthCheck {
            units: words.value("units").into_iter().map(|unit| unit.parse().unwrap()).collect(),
            settle_seconds: u32::try_from(words.length("settle").as_secs()).unwrap(),
        }
        .into(),
        cause: Cause { revision: None, proposal: None }.into(),
        failed_units: words.value("failed").into_iter().map(|unit| unit.parse().unwrap()).collect(),
        budgets: words
            .value("budgets")
            .into_iter()
            .flat_map(|all| all.split(','))
            .map(|one| one.parse().unwrap())
            .collect(),
        windows: Shared::default(),
        passed: passed.collect(),
        expiry: world.snapshot.now + SignedDuration::from_hours(1),
        name: name.clone(),
        steps: steps.into(),
    };
    let begun = phase != Phase::Pending && phase != Phase::Refused && phase != Phase::Expired;
    let steps = spec.steps.iter().enumerate().map(|(place, _)| StepStatus {
        started: (begun && place <= done).then_some(created),
        completed: (place < done).then_some(at),
    });
    let activity = Activity {
        uid: uid("act", words.at(1)),
        created,
        cancel: false,
        epoch: 7,
        phase,
        delivered: begun.then_some(created),
        finished: phase.is_finished().then_some(at),
        outcome,
        message: String::new(),
        steps: steps.collect(),
        spec,
    };
    if let Some(machine) = world.snapshot.machines.get_mut(&name.machine) {
        let machine = Arc::make_mut(machine);
        machine.last_number = machine.last_number.max(name.number);
    }
    world.snapshot.activities.insert(name, Arc::new(activity));
}

fn parsed<T: for<'a> serde::Deserialize<'a>>(word: &str) -> T {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).unwrap()
}

/// `install fix openssl 3.0.15 from 3.0.14, curl 8 with libssl3 3.0.15`; `remove fix telnet -`; `reboot fix`, `reboot k into 6.1.0-50`;
/// `hold fix openssl`;
/// `repair fix`; `select k 6.1.0-50=6.1.176`; `default k …`.
fn step(world: &World, text: &str) -> Step {
    let words = Words::of(text);
    let transaction = || {
        let rest = words.words[2..].join(" ");
        let (requested, along) = rest.split_once(" with ").unwrap_or((&rest, ""));
        let changes = |all: &str| {
            let all = all.split(',').map(str::trim).filter(|change| !change.is_empty());
            let change = all.map(|change| {
                let change = Words::of(change);
                let version = |word: &str| DebianVersion::parse(word).ok().filter(|_| word != "-");
                let (package, to) = (key(change.at(0)), version(change.at(1)));
                Change { package, from: change.value("from").and_then(version), to }
            });
            change.collect()
        };
        Transaction { requested: changes(requested), dependencies: changes(along), ..Transaction::default() }
    };
    let action = match words.at(0) {
        "install" => StepAction::InstallPackages(transaction()),
        "remove" => StepAction::RemovePackages(transaction()),
        "hold" => StepAction::HoldPackages {
            hold: words.words[2..].iter().map(|one| key(one)).collect(),
            unhold: BTreeSet::new(),
        },
        "repair" => StepAction::RepairPackages,
        "select" => StepAction::SelectKernel(choice(words.at(2))),
        "default" => StepAction::SetDefaultKernel(choice(words.at(2))),
        "reboot" => StepAction::Reboot {
            kernel: words.value("into").map(SmolStr::new),
            command_line: CommandLine::default(),
        },
        other => panic!("no such step: {other}"),
    };
    let baselines = words.at(1).split('+').map(|name| {
        let name: ObjectName = name.parse().unwrap();
        if let Some(kernel) = world.snapshot.kernel_baselines.get(&name) {
            return (kernel.reference(), kernel.common.uid.clone());
        }
        let uid = world
            .snapshot
            .package_baselines
            .get(&name)
            .map_or(uid("pb", "gone"), |one| one.common.uid.clone());
        (BaselineRef { kind: BaselineKind::PackageBaseline, name }, uid)
    });
    Step { action, baselines: baselines.collect(), timeout: SignedDuration::from_hours(1) }
}

/// `6.1.0-50=6.1.176`, that version of the meta-package `linux-image`.
fn choice(text: &str) -> KernelChoice {
    let (release, version) = text.split_once('=').unwrap();
    KernelChoice {
        release: release.into(),
        command_line: CommandLine::default(),
        followed: Some(Followed { package: key("linux-image"), version: version.parse().unwrap() }),
    }
}

fn wave(world: &mut World, words: &Words<'_>) {
    let picks = match words.value("share") {
        Some(share) => Picks::Share(Share::parse(share).unwrap()),
        None => Picks::Selected(words.selector()),
    };
    let wave = Wave {
        name: words.at(1).parse().unwrap(),
        picks,
        soak: words.length("soak"),
        approval: if words.has("approval") { Approval::Required } else { Approval::None },
    };
    match world.snapshot.package_baselines.get_mut(words.at(2)) {
        Some(baseline) => Arc::make_mut(baseline).rollout.waves.push(wave),
        None => {
            let baseline = world.snapshot.kernel_baselines.get_mut(words.at(2)).unwrap();
            Arc::make_mut(baseline).rollout.waves.push(wave);
        }
    }
}

fn approval(world: &mut World, words: &Words<'_>) {
    let items = match words.at(4).split_once('=') {
        Some((package, version)) => Items::Of {
            package: package.parse().unwrap(),
            architecture: None,
            target: Some(Target::Version(version.parse().unwrap())),
        },
        None if words.at(4) == "by" => Items::All,
        None => Items::Of { package: words.at(4).parse().unwrap(), architecture: None, target: None },
    };
    let approval = RolloutApproval {
        name: words.at(1).parse().unwrap(),
        baseline: BaselineRef { kind: BaselineKind::PackageBaseline, name: words.at(3).parse().unwrap() },
        items,
        action: match words.at(2) {
            "pause" => ApprovalAction::Pause,
            "resume" => ApprovalAction::Resume,
            "approve" => ApprovalAction::Approve,
            other => panic!("no such action: {other}"),
        },
        by: words.value("by").unwrap().into(),
        created: world.ago(words.words.last().unwrap()),
        applied: false,
    };
    world.snapshot.approvals.insert(approval.name.clone(), Arc::new(approval));
}

fn rollout(world: &mut World, words: &Words<'_>) {
    let baseline = BaselineRef { kind: BaselineKind::PackageBaseline, name: words.at(1).parse().unwrap() };
    let (package, version) = words.at(2).split_once('=').unwrap();
    let item = Item { package: key(package), target: Target::Version(version.parse().unwrap()) };
    let ago = |option| words.value(option).map(|ago| world.ago(ago));
    let mut progress = ItemProgress {
        barred: ago("barred"),
        seen: ago("seen"),
        released: ago("released"),
        resumed: ago("resumed"),
        paused: ago("paused"),
        ..ItemProgress::default()
    };
    for name in words.value("passed").into_iter().flat_map(|names| names.split(',')) {
        progress.waves.entry(name.parse().unwrap()).or_default().passed = Some(world.ago("1h"));
    }
    if let Some(soaking) = words.value("soaking") {
        let [name, done, since] = soaking.split('/').collect::<Vec<_>>().try_into().unwrap();
        let wave = progress.waves.entry(name.parse().unwrap()).or_default();
        (wave.done, wave.since) = (done.parse().unwrap(), Some(world.ago(since)));
    }
    let rollout = world.snapshot.rollouts.entry(baseline).or_default();
    Arc::make_mut(rollout).items.insert(item, progress);
}

fn apt(world: &mut World, words: &Words<'_>, body: &str) {
    match words.at(1) {
        "silent" => world.apt.silent = true,
        "refuses" => {
            world.apt.refused.insert(words.at(2).to_owned(), body.to_owned());
        }
        "with" => {
            let changes = body.split(',').map(|text| {
                let change = Words::of(text);
                let version = |word: &str| DebianVersion::parse(word).ok().filter(|_| word != "-");
                Change { package: key(change.at(0)), from: version(change.at(1)), to: version(change.at(3)) }
            });
            world.apt.with.insert(words.at(2).to_owned(), changes.collect());
        }
        other => panic!("apt cannot {other}"),
    }
}
