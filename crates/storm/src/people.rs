//! People: they commit revisions, publish packages, and meddle with single machines.
//!
//! A revision is applied object by object, as the product's source does (rule G2): guards that tighten first, those that
//! loosen last; while it is being applied the source says so.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::SignedDuration;
use muster_fleet::SourceState;
use muster_model::{
    AbsentMachines, BaselineCommon, BaselineRef, Budget, BudgetLimit, KernelBaseline, Mode, ObjectName,
    PackageBaseline, PackageName, PackageWish, Permit, Policy, Provenance, Window, WindowAction,
    WindowsPolicy,
};
use smol_str::{SmolStr, format_smolstr};

use crate::api::{Kind, Value};
use crate::archive::{self, Bad, KERNEL};
use crate::dice::Dice;
use crate::fault::Fault;
use crate::kernels::command_line;
use crate::say::Saying;
use crate::storm::{Happening, Storm};
use crate::world::{PUBLISHED, daily, name, once, requirement, share, version_of, window};

/// The source's name.
pub(crate) const SOURCE: &str = "fleet";

/// What a person does.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Commits a revision.
    Commit,
    /// The next object of the revision is applied.
    Apply,
    /// Publishes a version of a package.
    Publish,
    /// Publishes a version that mends a bad one, and asks for it.
    Mend(PackageName),
    /// Does something to one machine.
    Meddle,
    /// Looks after what is stuck.
    Tend,
    /// Says something of single items or activities.
    Say(Saying),
}

/// What Git asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Desired {
    pub(crate) baselines: BTreeMap<ObjectName, PackageBaseline>,
    pub(crate) kernels: BTreeMap<ObjectName, KernelBaseline>,
    pub(crate) budgets: BTreeMap<ObjectName, Budget>,
    pub(crate) windows: BTreeMap<ObjectName, Window>,
    pub(crate) policy: Policy,
}

/// Those who change things.
#[derive(Debug)]
pub(crate) struct People {
    pub(crate) dice: Dice,
    /// For what they say of single items and activities.
    pub(crate) whims: Dice,
    /// How many approvals and overrides there were.
    pub(crate) said: u32,
    pub(crate) desired: Desired,
    /// What of the present revision is still to be applied.
    pub(crate) queue: VecDeque<Value>,
    gone: VecDeque<(Kind, SmolStr)>,
    revision: u64,
    in_force: SmolStr,
    pub(crate) applying: bool,
    /// The number of the newest version of each package.
    pub(crate) latest: BTreeMap<PackageName, u32>,
    frozen: u32,
}

impl People {
    pub(crate) fn new(dice: Dice) -> Self {
        let mut whims = dice.clone();
        Self {
            dice,
            whims: whims.fork(),
            said: 0,
            desired: Desired::default(),
            queue: VecDeque::new(),
            gone: VecDeque::new(),
            revision: 0,
            in_force: SmolStr::new_static("r0"),
            applying: false,
            latest: BTreeMap::new(),
            frozen: 0,
        }
    }
}

impl Desired {
    pub(crate) fn baseline(&mut self, baseline: PackageBaseline) {
        self.baselines.insert(baseline.common.name.clone(), baseline);
    }

    pub(crate) fn kernel(&mut self, baseline: KernelBaseline) {
        self.kernels.insert(baseline.common.name.clone(), baseline);
    }

    /// What all baselines have, by either kind.
    pub(crate) fn commons(&mut self) -> impl Iterator<Item = (BaselineRef, &mut BaselineCommon)> {
        let packages = self.baselines.values_mut().map(|one| (one.reference(), &mut one.common));
        packages.chain(self.kernels.values_mut().map(|one| (one.reference(), &mut one.common)))
    }

    pub(crate) fn budget(&mut self, budget: Budget) {
        self.budgets.insert(budget.name.clone(), budget);
    }

    pub(crate) fn window(&mut self, window: Window) {
        self.windows.insert(window.name.clone(), window);
    }

    /// All objects as they are at a revision.
    pub(crate) fn values(&self, revision: &SmolStr) -> Vec<Value> {
        let from = |name: &ObjectName| {
            let file = format_smolstr!("{name}.yaml");
            Some(Provenance { revision: revision.clone(), file, line: 1 })
        };
        let mut values = vec![Value::Policy(self.policy.clone(), Some(revision.clone()))];
        for (name, window) in &self.windows {
            values.push(Value::Window(Window { provenance: from(name), ..window.clone() }));
        }
        for (name, budget) in &self.budgets {
            values.push(Value::Budget(Budget { provenance: from(name), ..budget.clone() }));
        }
        for (name, baseline) in &self.baselines {
            let mut baseline = baseline.clone();
            baseline.common.provenance = from(name);
            values.push(Value::PackageBaseline(baseline));
        }
        for (name, baseline) in &self.kernels {
            let mut baseline = baseline.clone();
            baseline.common.provenance = from(name);
            values.push(Value::KernelBaseline(Arc::new(baseline)));
        }
        values
    }

    fn owns(&self) -> std::collections::BTreeSet<SmolStr> {
        let baselines = self.baselines.keys().map(|name| format_smolstr!("PackageBaseline/{name}"));
        let kernels = self.kernels.keys().map(|name| format_smolstr!("KernelBaseline/{name}"));
        let windows = self.windows.keys().map(|name| format_smolstr!("MaintenanceWindow/{name}"));
        let budgets = self.budgets.keys().map(|name| format_smolstr!("DisruptionBudget/{name}"));
        let policy = [SmolStr::new_static("FleetPolicy/default")];
        baselines.chain(kernels).chain(windows).chain(budgets).chain(policy).collect()
    }
}

impl Storm {
    pub(crate) fn person(&mut self, act: Act) {
        match act {
            Act::Commit => {
                if !self.calm {
                    let wait = self.people.dice.minutes(30, 240);
                    self.plan_after(wait, Happening::Person(Act::Commit));
                    self.commit_something();
                }
            }
            Act::Apply => self.apply_next(),
            Act::Publish => {
                if !self.calm {
                    let wait = self.people.dice.minutes(120, 480);
                    self.plan_after(wait, Happening::Person(Act::Publish));
                    let package = archive::package(*self.people.dice.pick(&PUBLISHED));
                    self.publish_version(&package, None);
                }
            }
            Act::Mend(package) => self.mend(&package),
            Act::Meddle => {
                if !self.calm {
                    let wait = self.people.dice.minutes(10, 60);
                    self.plan_after(wait, Happening::Person(Act::Meddle));
                    self.meddle();
                }
            }
            Act::Tend => self.tend(),
            Act::Say(saying) => self.say_something(saying),
        }
    }

    /// A new version of a package, in all suites.
    pub(crate) fn publish_version(&mut self, package: &PackageName, bad: Option<Bad>) {
        let number = self.people.latest.entry(package.clone()).or_insert(1);
        *number += 1;
        let new = version_of(package, *number);
        for suite in &mut self.suites {
            suite.publish(package, &new, bad);
        }
        self.lists_changed();
    }

    /// What machines have on offer is another thing.
    pub(crate) fn lists_changed(&mut self) {
        // Machines ask their mirrors by timers, many at a time.
        let waits: Vec<SignedDuration> = (0..5).map(|_| self.dice.minutes(1, 40)).collect();
        for m in 0..self.hosts.len() {
            let wait = *self.dice.pick(&waits) + self.dice.millis(0, 1500);
            self.for_host_of_any_life(m, wait, crate::storm::ForHost::ListsChanged);
        }
    }

    /// A newer version mends what a bad one broke.
    fn mend(&mut self, package: &PackageName) {
        self.publish_version(package, None);
        let least = version_of(package, self.people.latest[package]);
        ask(&mut self.people.desired, package.as_str(), &format!(">= {least}"));
        self.commit(false);
    }

    fn commit_something(&mut self) {
        if self.people.applying {
            return;
        }
        let now = self.now;
        let zone = self.options.zone;
        let People { dice, whims, desired, latest, frozen, .. } = &mut self.people;
        let loosens = match dice.below(14) {
            0..=2 => {
                let package = *dice.pick(&PUBLISHED[..6]);
                let least = version_of(&archive::package(package), latest[&archive::package(package)]);
                ask(desired, package, &format!(">= {least}"));
                false
            }
            3 => {
                let least = version_of(&archive::package(KERNEL), latest[&archive::package(KERNEL)]);
                ask(desired, KERNEL, &format!(">= {least}"));
                let loosens = whims.permille(300);
                for kernel in desired.kernels.values_mut().skip(usize::from(!loosens)) {
                    kernel.keep = *whims.pick(&[2, 2, 3]);
                    kernel.rollout.max_failures = share(*whims.pick(&["0", "1", "20%"]));
                    kernel.command_line = command_line(whims);
                    kernel.common.generation += 1;
                }
                loosens
            }
            4 => {
                let package = *dice.pick(&PUBLISHED[..6]);
                let number = latest[&archive::package(package)];
                let back = u32::try_from(dice.between(0, 1)).unwrap_or(0);
                let exact = version_of(&archive::package(package), number.saturating_sub(back).max(1));
                ask(desired, package, &format!("= {exact}"));
                false
            }
            5 => {
                *frozen += 1;
                let starts = now + dice.minutes(0, 240);
                let lasts = dice.minutes(30, 360);
                let labels: &[(&str, &str)] =
                    *dice.pick(&[&[] as &[_], &[("env", "prod")], &[("role", "web")]]);
                let name = format!("freeze-{frozen}");
                let mut freeze = window(&name, labels, WindowAction::Deny, once(starts, lasts));
                freeze.overridable = whims.permille(600);
                desired.window(freeze);
                false
            }
            6 => {
                let freezes: Vec<ObjectName> = desired
                    .windows
                    .keys()
                    .filter(|name| name.as_str().starts_with("freeze-"))
                    .cloned()
                    .collect();
                if !freezes.is_empty() {
                    desired.windows.remove(dice.pick(&freezes));
                }
                true
            }
            7 => {
                let hour = dice.between(0, 23);
                let hours = dice.between(2, 9);
                if let Some(nights) = desired.windows.get_mut(&name("nights")) {
                    nights.when = Ok(daily(hour, hours, zone));
                    nights.generation += 1;
                }
                true
            }
            8 | 9 => {
                let which = *dice.pick(&["etcd", "all", "web", "laptops"]);
                let limit = match which {
                    "web" => BudgetLimit::MinAvailable(share(*dice.pick(&["50%", "80%", "9"]))),
                    "etcd" => BudgetLimit::MaxUnavailable(share(*dice.pick(&["1", "2", "0"]))),
                    _ => BudgetLimit::MaxUnavailable(share(*dice.pick(&["2", "5", "10%", "25%"]))),
                };
                let budget = desired.budgets.get_mut(&name(which)).expect("it was there from the beginning");
                budget.limit = limit;
                budget.generation += 1;
                if which == "laptops" {
                    budget.absent = *dice.pick(&[AbsentMachines::Ignore, AbsentMachines::Count]);
                }
                true
            }
            10 => {
                let unavailable = *dice.pick(&["1", "10%", "30%"]);
                let failures = *dice.pick(&["0", "1", "20%"]);
                let ready = *dice.pick(&[0, 5, 20]);
                let names: Vec<ObjectName> = desired.baselines.keys().cloned().collect();
                let one = desired.baselines.get_mut(dice.pick(&names)).expect("it is one of them");
                one.rollout.max_unavailable = share(unavailable);
                one.rollout.max_failures = share(failures);
                one.rollout.min_ready = SignedDuration::from_mins(ready);
                one.common.generation += 1;
                true
            }
            11 => {
                let names: Vec<ObjectName> = desired.baselines.keys().cloned().collect();
                let permits = dice.permille(300);
                let one = desired.baselines.get_mut(dice.pick(&names)).expect("it is one of them");
                one.common.mode = *dice.pick(&[Mode::Enforce, Mode::Enforce, Mode::Observe]);
                one.downgrades = if permits { Permit::Allow } else { Permit::Refuse };
                one.common.generation += 1;
                true
            }
            12 => {
                desired.policy.suspend = !desired.policy.suspend && dice.permille(300);
                desired.policy.windows =
                    *dice.pick(&[WindowsPolicy::Optional, WindowsPolicy::Optional, WindowsPolicy::Required]);
                true
            }
            _ => {
                // Another baseline about the same package, of the same priority or a higher one.
                let newest = version_of(&archive::package("openssl"), latest[&archive::package("openssl")]);
                let version =
                    if dice.permille(500) { format!(">= {newest}") } else { format!("<< {newest}") };
                let mut other =
                    crate::world::baseline("other", &[("role", "worker")], &[("openssl", &version)], "2");
                other.common.priority = *dice.pick(&[0, 5]);
                if dice.permille(400) {
                    desired.baselines.remove(&name("other"));
                } else {
                    desired.baseline(other);
                }
                false
            }
        };
        self.commit(loosens);
    }

    /// Commits what is desired; it is applied object by object.
    pub(crate) fn commit(&mut self, loosens: bool) {
        self.people.revision += 1;
        let revision = format_smolstr!("r{}", self.people.revision);
        let mut values = self.people.desired.values(&revision);
        if loosens {
            values.reverse();
        }
        let kinds = [Kind::PackageBaseline, Kind::KernelBaseline, Kind::Budget, Kind::Window];
        let stored: Vec<(Kind, SmolStr)> = kinds
            .iter()
            .flat_map(|kind| self.api.all(*kind).map(|stored| (*kind, stored.value.name())))
            .collect();
        let wanted = |kind: Kind, name: &SmolStr| {
            values.iter().any(|value| value.kind() == kind && value.name() == *name)
        };
        self.people.gone = stored.into_iter().filter(|(kind, name)| !wanted(*kind, name)).collect();
        self.people.queue = values.into();
        self.people.in_force = revision;
        let applying = std::mem::replace(&mut self.people.applying, true);
        self.put_source(true);
        if !applying {
            self.plan_after(SignedDuration::from_millis(50), Happening::Person(Act::Apply));
        }
    }

    fn apply_next(&mut self) {
        if let Some(value) = self.people.queue.pop_front() {
            self.put(value);
        } else if let Some((kind, gone)) = self.people.gone.pop_front() {
            self.count_unselected(kind, &gone);
            self.log_gone(kind, &gone);
            self.api.delete(kind, &gone);
        } else {
            self.people.applying = false;
            self.put_source(false);
            return;
        }
        let stalls = self.stalls_apply();
        let wait = if stalls { self.people.dice.minutes(2, 30) } else { self.people.dice.millis(20, 1500) };
        self.plan_after(wait, Happening::Person(Act::Apply));
    }

    /// Machines that a baseline which goes does not manage any more (rule S3).
    fn count_unselected(&mut self, kind: Kind, gone: &str) {
        let Some(Value::PackageBaseline(baseline)) =
            self.api.get(kind, gone).map(|stored| stored.value.as_ref())
        else {
            return;
        };
        let machines = self.api.all(Kind::Machine).filter(|stored| match stored.value.as_ref() {
            Value::Machine(object) => baseline.common.selector.matches(|key| object.machine.label(key)),
            _ => false,
        });
        for _ in 0..machines.count() {
            self.counts.bind("S3");
        }
    }

    fn stalls_apply(&mut self) -> bool {
        let stalls =
            !self.calm && self.options.enabled.contains(&Fault::ApplyStalls) && self.dice.permille(30);
        if stalls {
            self.note_fault(Fault::ApplyStalls, 0);
        }
        stalls
    }

    /// The source's status: what is in force, or that something else is being applied.
    pub(crate) fn put_source(&mut self, applying: bool) {
        let before = match self.api.get(Kind::Source, SOURCE).map(|stored| stored.value.as_ref()) {
            Some(Value::Source(_, state)) if applying => state.clone(),
            _ => SourceState {
                revision: Some(self.people.in_force.clone()),
                applying: false,
                owns: self.people.desired.owns(),
            },
        };
        self.put(Value::Source(SmolStr::new_static(SOURCE), SourceState { applying, ..before }));
    }

    /// A person does something to one machine.
    fn meddle(&mut self) {
        let m = self.people.dice.below(self.hosts.len());
        let host = self.hosts[m].name.clone();
        let what = self.people.dice.below(8);
        let role = *self.people.dice.pick(&["web", "db", "worker"]);
        let Some(object) = self.api.machine(&host) else { return };
        let mut machine = object.clone();
        match what {
            0 | 1 => machine.machine.suspend = !machine.machine.suspend,
            2 => machine.machine.admitted = true,
            3 => machine.machine.resolved_through = machine.machine.last_number,
            4 => machine.machine.retried_through = machine.machine.last_number,
            5 => machine.absence_resolved = Some(self.now),
            6 => {
                machine.machine.labels.insert(SmolStr::new_static("role"), SmolStr::new(role));
            }
            _ => {
                let open = self.api.activities_of(&host).find(|one| !one.phase.is_finished() && !one.cancel);
                let Some(name) = open.map(|one| one.spec.name.clone()) else { return };
                return self.cancel(&name);
            }
        }
        self.put(Value::Machine(machine));
    }
}

/// Every baseline that asks for the package asks for that version.
pub(crate) fn ask(desired: &mut Desired, package: &str, version: &str) {
    for baseline in desired.baselines.values_mut() {
        let mut changed = false;
        for asked in baseline.packages.iter_mut().filter(|asked| asked.name.as_str() == package) {
            if asked.state == PackageWish::Present {
                let hold = asked.hold;
                *asked = requirement(package, version);
                asked.hold = hold;
                changed = true;
            }
        }
        baseline.common.generation += i64::from(changed);
    }
    for baseline in desired.kernels.values_mut().filter(|baseline| baseline.package.name.as_str() == package)
    {
        baseline.package = requirement(package, version);
        baseline.common.generation += 1;
    }
}
