//! The world as it begins: machines, archives, what Git asks for.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use muster_model::{
    AbsentMachines, Approval, BaselineCommon, Budget, BudgetLimit, Conffiles, Cover, Health, Instant,
    LabelSelector, LabelTest, Machine, MachineName, Mode, ObjectName, PackageBaseline, PackageName,
    PackageRequirement, PackageWish, Permit, Picks, Policy, Presence, RebootPolicy, RebootWhen, Recurrence,
    RolloutSpec, Schedule, Share, Shared, Uid, UnitName, VersionRequirement, Wave, When, Window,
    WindowAction, Zone,
};
use smol_str::SmolStr;

use crate::api::{MachineObject, Value};
use crate::archive::{self, Dpkg, KERNEL, Suite};
use crate::controller::Controller;
use crate::gateway::Gateway;
use crate::machine::Host;
use crate::options::Options;
use crate::people::{Act, Desired};
use crate::storm::{ForController, ForHost, Happening, Storm};

/// Packages that machines of a role have, beside those that all have.
const ROLES: [(&str, &[&str]); 5] = [
    ("web", &["nginx", "nginx-common"]),
    ("db", &["postgresql"]),
    ("etcd", &["etcd"]),
    ("laptop", &[]),
    ("worker", &["containerd"]),
];
const EVERYWHERE: [&str; 4] = ["openssl", "libssl3", "curl", KERNEL];
/// Packages that move together.
const TOGETHER: [&[&str]; 2] = [&["openssl", "libssl3"], &["nginx", "nginx-common"]];
/// All that archives have.
pub(crate) const PUBLISHED: [&str; 8] =
    ["openssl", "nginx", "postgresql", "etcd", "containerd", "curl", "telnet", KERNEL];

/// The label of a machine's zone.
const ZONE: &str = "topology.kubernetes.io/zone";

/// A wave of a ring of machines.
pub(crate) fn wave(text: &str, ring: &str, soak_minutes: i64) -> Wave {
    Wave {
        name: name(text),
        picks: Picks::Selected(selector(&[("ring", ring)])),
        soak: SignedDuration::from_mins(soak_minutes),
        approval: Approval::None,
    }
}

pub(crate) fn name(text: &str) -> ObjectName {
    ObjectName::parse(text).expect("the storm's names are such")
}

pub(crate) fn selector(terms: &[(&str, &str)]) -> LabelSelector {
    let terms = terms.iter().map(|(key, value)| (SmolStr::new(key), LabelTest::Is(SmolStr::new(value))));
    LabelSelector::new(terms).expect("the storm's labels are such")
}

pub(crate) fn share(text: &str) -> Share {
    Share::parse(text).expect("the storm's shares are such")
}

/// A version of a package, by its number.
pub(crate) fn version_of(package: &PackageName, number: u32) -> muster_model::DebianVersion {
    if package.as_str() == KERNEL {
        archive::version(&format!("6.1.{number}-1"))
    } else {
        archive::version(&format!("1.{number}-1"))
    }
}

impl Storm {
    /// The world of a seed.
    pub(crate) fn of(options: Options) -> Self {
        let mut storm = Self::empty(options);
        storm.make_archives();
        storm.people.desired = storm.first_desired();
        storm.people.queue = storm.people.desired.values(&SmolStr::new_static("r0")).into();
        while let Some(value) = storm.people.queue.pop_front() {
            storm.put(value);
        }
        storm.put_source(false);
        for number in 0..storm.options.machines {
            storm.make_machine(number);
        }
        storm.start_everything();
        let soon = storm.dice.minutes(1, 40);
        storm.plan_after(soon, Happening::Person(Act::Commit));
        let soon = storm.dice.minutes(5, 90);
        storm.plan_after(soon, Happening::Person(Act::Publish));
        let soon = storm.dice.minutes(5, 60);
        storm.plan_after(soon, Happening::Person(Act::Meddle));
        let soon = storm.dice.minutes(1, 10);
        storm.plan_after(soon, Happening::Trouble);
        storm.begin_to_say();
        storm
    }

    /// Gateways, controllers and agents begin to work.
    pub(crate) fn start_everything(&mut self) {
        let now = self.now;
        for g in 0..self.options.gateways {
            self.gateways.push(Gateway::new(g, now));
            self.renew(g);
        }
        for c in 0..self.options.controllers {
            self.controllers.push(Controller::new(c));
            let wait = self.dice.seconds(1, 10);
            self.for_controller(c, wait, ForController::Contend);
        }
        for m in 0..self.hosts.len() {
            let wait = self.dice.seconds(0, 60);
            self.for_host(m, wait, ForHost::Connect);
        }
        while !self.api.news.is_empty() {
            self.spread_news();
        }
    }

    fn make_archives(&mut self) {
        for _ in 0..2 {
            let mut suite = Suite::new("amd64", &TOGETHER);
            for package in PUBLISHED {
                let package = archive::package(package);
                for number in 1..=2 {
                    suite.publish(&package, &version_of(&package, number), None);
                }
                self.people.latest.insert(package, 2);
            }
            self.suites.push(suite);
        }
    }

    fn make_machine(&mut self, number: usize) {
        let (role, packages) = ROLES[number % ROLES.len()];
        let suite = self.dice.below(self.suites.len());
        let text = format!("m{number:02}");
        let host = MachineName::parse(&text).expect("a letter and digits make a machine's name");
        let mut dpkg = Dpkg::default();
        let more: &[&str] = if self.dice.permille(300) { &["telnet"] } else { &[] };
        for package in EVERYWHERE.iter().chain(packages).chain(more) {
            let package = archive::package(package);
            dpkg.installed.insert(package.clone(), version_of(&package, 1));
        }
        let kernel = version_of(&archive::package(KERNEL), 1);
        let image = archive::image(&kernel);
        let release = archive::release_of(&image).expect("an image has a release");
        dpkg.installed.insert(image, kernel);
        let labels: BTreeMap<SmolStr, SmolStr> = [
            ("role", role),
            ("env", *self.dice.pick(&["prod", "prod", "test"])),
            ("ring", *self.dice.pick(&["canary", "early", "rest", "rest", "rest"])),
            (ZONE, *self.dice.pick(&["a", "b", "c"])),
        ]
        .into_iter()
        .map(|(key, value)| (SmolStr::new(key), SmolStr::new(value)))
        .collect();
        let uid = self.api.uid();
        let admitted = !self.dice.permille(40);
        self.put_machine(machine(host.clone(), uid.clone(), labels.into(), admitted));
        let booted = self.now - self.dice.minutes(60, 5000);
        self.hosts.push(Host::new(host, uid, suite, dpkg, release, booted));
    }

    /// Puts a FleetMachine that nobody has decided about yet.
    pub(crate) fn put_machine(&mut self, machine: Machine) {
        let object = MachineObject { machine, absence_resolved: None, wanted: None, quarantined: false };
        self.put(Value::Machine(object));
    }

    fn first_desired(&mut self) -> Desired {
        let zone = self.options.zone;
        let dice = &mut self.dice;
        let mut desired =
            Desired { policy: Policy { history_limit: 5, ..Policy::default() }, ..Desired::default() };
        let unavailable = *dice.pick(&["10%", "20%", "3"]);
        let mut base = baseline("base", &[], &[("openssl", ">= 1.1-1"), ("curl", "latest")], unavailable);
        base.rollout.min_ready = *dice.pick(&[SignedDuration::ZERO, SignedDuration::from_mins(5)]);
        base.rollout.max_failures = share(*dice.pick(&["0", "2", "20%"]));
        desired.baseline(base);
        let mut web = baseline("web", &[("role", "web")], &[("nginx", "latest")], "2");
        web.health = Health {
            units: [unit("nginx")].into(),
            settle: *dice.pick(&[SignedDuration::from_secs(30), SignedDuration::from_mins(2)]),
        };
        web.rollout.min_ready = SignedDuration::from_mins(10);
        web.rollout.max_failures = share("1");
        web.rollout.waves =
            vec![wave("canary", "canary", dice.between(5, 60)), wave("early", "early", dice.between(5, 60))];
        desired.baseline(web);
        let mut db = baseline("db", &[("role", "db")], &[("postgresql", ">= 1.1-1")], "50%");
        db.rollout.max_failures = share(*dice.pick(&["0", "30%"]));
        db.packages[0].hold = dice.permille(500);
        db.health = Health { units: [unit("postgresql")].into(), settle: SignedDuration::from_mins(1) };
        desired.baseline(db);
        let mut etcd = baseline("etcd", &[("role", "etcd")], &[("etcd", ">= 1.1-1")], "100%");
        etcd.common.priority = 10;
        etcd.rollout.max_failures = share("1");
        desired.baseline(etcd);
        let mut kernel = baseline("kernel", &[], &[(KERNEL, ">= 6.1.1-1")], "25%");
        kernel.reboot =
            RebootPolicy { policy: RebootWhen::WhenRequired, timeout: SignedDuration::from_mins(30) };
        kernel.rollout.max_failures = share("10%");
        kernel.rollout.waves = vec![wave("canary", "canary", dice.between(5, 60))];
        kernel.rollout.zone_key = dice.permille(500).then(|| SmolStr::new_static(ZONE));
        desired.baseline(kernel);
        let mut tidy = baseline("tidy", &[("env", "test")], &[("telnet", "")], "5");
        tidy.packages[0].state = PackageWish::Absent;
        tidy.common.mode = *dice.pick(&[Mode::Enforce, Mode::Observe]);
        desired.baseline(tidy);
        desired.budget(budget("etcd", &[("role", "etcd")], BudgetLimit::MaxUnavailable(share("1"))));
        desired.budget(budget(
            "all",
            &[],
            BudgetLimit::MaxUnavailable(share(*dice.pick(&["4", "15%", "20%"]))),
        ));
        desired.budget(budget("web", &[("role", "web")], BudgetLimit::MinAvailable(share("70%"))));
        let mut laptops = budget("laptops", &[("role", "laptop")], BudgetLimit::MaxUnavailable(share("3")));
        laptops.absent = AbsentMachines::Ignore;
        desired.budget(laptops);
        let hour = dice.between(0, 23);
        let hours = dice.between(3, 8);
        let mut nights = window("nights", &[("env", "prod")], WindowAction::Allow, daily(hour, hours, zone));
        nights.cutoff = dice.minutes(0, 45);
        desired.window(nights);
        let mut reboots = window(
            "reboots",
            &[("role", "worker")],
            WindowAction::Allow,
            daily(dice.between(0, 23), 6, zone),
        );
        reboots.covers = Some([Cover::Reboot].into());
        desired.window(reboots);
        self.ask_for_kernels(&mut desired);
        self.ask_for_approval(&mut desired);
        desired
    }

    /// Writes an object, and says so in the log.
    pub(crate) fn put(&mut self, mut value: Value) {
        // What was measured is in the policy's status, which nobody commits.
        if let Value::Policy(policy, _) = &mut value {
            let known = self.api.policy();
            (policy.medians, policy.estimates) = (known.medians, known.estimates);
        }
        self.log_value(&value);
        self.api.put(value);
    }
}

pub(crate) fn machine(
    name: MachineName,
    uid: Uid,
    labels: Shared<BTreeMap<SmolStr, SmolStr>>,
    admitted: bool,
) -> Machine {
    Machine {
        name,
        uid,
        labels,
        admitted,
        suspend: false,
        revoked: false,
        resolved_through: 0,
        retried_through: 0,
        reported: None,
        presence: Presence::Never,
        last_number: 0,
        holds: Default::default(),
        first_converged: None,
    }
}

pub(crate) fn unit(package: &str) -> UnitName {
    UnitName::parse(&format!("{package}.service")).expect("a package's name and .service make a unit's")
}

pub(crate) fn requirement(package: &str, version: &str) -> PackageRequirement {
    PackageRequirement {
        name: archive::package(package),
        architecture: None,
        state: PackageWish::Present,
        version: VersionRequirement::parse(version).expect("the storm's requirements are such"),
        hold: false,
    }
}

pub(crate) fn baseline(
    text: &str,
    labels: &[(&str, &str)],
    packages: &[(&str, &str)],
    max_unavailable: &str,
) -> PackageBaseline {
    let mut packages: Vec<PackageRequirement> =
        packages.iter().map(|(package, version)| requirement(package, version)).collect();
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    PackageBaseline {
        common: BaselineCommon {
            name: name(text),
            uid: Uid::parse(&format!("pb-{text}")).expect("letters make a uid"),
            generation: 1,
            selector: selector(labels),
            mode: Mode::Enforce,
            priority: 0,
            provenance: None,
        },
        packages,
        upgrades: None,
        downgrades: Permit::Refuse,
        removals: Permit::Refuse,
        conffiles: Conffiles::Keep,
        reboot: RebootPolicy { policy: RebootWhen::Never, timeout: SignedDuration::from_mins(30) },
        health: Health { units: BTreeSet::new(), settle: SignedDuration::ZERO },
        rollout: RolloutSpec {
            waves: Vec::new(),
            zone_key: None,
            max_unavailable: share(max_unavailable),
            max_failures: share("0"),
            min_ready: SignedDuration::ZERO,
        },
    }
}

pub(crate) fn budget(text: &str, labels: &[(&str, &str)], limit: BudgetLimit) -> Budget {
    Budget {
        name: name(text),
        uid: Uid::parse(&format!("mdb-{text}")).expect("letters make a uid"),
        generation: 1,
        selector: selector(labels),
        limit,
        absent: AbsentMachines::Count,
        provenance: None,
    }
}

pub(crate) fn window(text: &str, labels: &[(&str, &str)], action: WindowAction, when: When) -> Window {
    Window {
        name: name(text),
        uid: Uid::parse(&format!("mw-{text}")).expect("letters make a uid"),
        generation: 1,
        selector: selector(labels),
        action,
        when: Ok(when),
        cutoff: SignedDuration::ZERO,
        covers: None,
        overridable: false,
        provenance: None,
    }
}

pub(crate) fn daily(hour: i64, hours: i64, zone: &str) -> When {
    let schedule = Schedule::parse(&format!("30 {hour} * * *")).expect("an hour of the day makes a schedule");
    let zone = Zone::parse(zone).expect("the storm's zones are such");
    let length = SignedDuration::from_hours(hours);
    When::Recurring(Recurrence::new(schedule, 0, zone, length).expect("some hours make a window"))
}

pub(crate) fn once(from: Instant, length: SignedDuration) -> When {
    When::once(from, from + length).expect("it ends after it begins")
}
