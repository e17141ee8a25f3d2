//! One run: first everything misbehaves, then the weather calms down and the fleet is to arrive.

use jiff::SignedDuration;
use muster_checker::event::{Event, Header, What};
use muster_checker::{Checker, Violation};
use muster_model::{Instant, Mode, PackageWish, Phase, Policy, WindowAction};

use crate::archive;
use crate::count::Counts;
use crate::fault::Faults;
use crate::kernels;
use crate::options::Options;
use crate::people::Act;
use crate::storm::{ForHost, Happening, Storm};
use crate::trouble::LONGEST_LAG;
use crate::world::{self, name};

/// By how much the log may be ahead of what a controller knows: the longest lag of a watch, a broken watch that lists
/// anew, a gateway that publishes late.
pub const LAG_SECONDS: u32 = 150;

/// For so long before its end the fleet is to be at rest.
pub(crate) const REST: SignedDuration = SignedDuration::from_hours(6);

/// What came of one storm.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The first line of the log.
    pub header: Header,
    /// What happened.
    pub events: Vec<Event>,
    /// Faults that struck.
    pub faults: Faults,
    /// How often rules held something back.
    pub counts: Counts,
    /// How many machines there were, for so many hours.
    pub machine_hours: u64,
    /// Those of them in which things went wrong.
    pub stormy_hours: u64,
    /// How often a controller decided.
    pub passes: u64,
    /// How many things happened in the world.
    pub happened: u64,
    /// What had not arrived at the end, in words; empty: everything.
    pub missing: Vec<String>,
}

impl Outcome {
    /// What the checker says of the log: rules that were broken, and what has not arrived.
    #[must_use]
    pub fn judge(&self) -> Judgement {
        let mut checker = Checker::new(&self.header);
        for event in &self.events {
            checker.feed(event);
        }
        let mut violations = checker.violations().to_vec();
        violations.extend(checker.arrived(ENOUGH));
        Judgement { violations, counts: checker.counts().clone() }
    }
}

/// What the checker says of a log.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Rules that were broken.
    pub violations: Vec<Violation>,
    /// How often each rule was binding, by the checker's own count.
    pub counts: muster_checker::Counts,
}

/// Windows that were open for so long since the weather calmed down are enough to arrive.
const ENOUGH: SignedDuration = SignedDuration::from_hours(24);

/// Runs one storm.
#[must_use]
pub fn run(options: Options) -> Outcome {
    let Options { seed, begins, misbehaves, calms, .. } = options.clone();
    let machines = u64::try_from(options.machines).unwrap_or(0);
    let mut storm = Storm::of(options);
    storm.run(begins + misbehaves);
    if calms.is_positive() {
        storm.calm_down();
        storm.run(begins + misbehaves + calms);
    }
    let missing = if calms.is_positive() { storm.missing() } else { Vec::new() };
    let hours = u64::try_from((misbehaves + calms).as_hours()).unwrap_or(0);
    Outcome {
        seed,
        header: Header {
            seed: Some(seed),
            lag_seconds: LAG_SECONDS,
            ..Header::new("muster storm", "default", begins)
        },
        events: storm.events,
        faults: storm.faults,
        counts: storm.counts,
        machine_hours: machines * hours,
        stormy_hours: machines * u64::try_from(misbehaves.as_hours()).unwrap_or(0),
        passes: storm.passes,
        happened: storm.happened,
        missing,
    }
}

const _: () = assert!(LAG_SECONDS > 2 * LONGEST_LAG.unsigned_abs() as u32);

impl Storm {
    /// No more faults; what broke is mended as people would, and Git asks for what can be had.
    fn calm_down(&mut self) {
        self.calm = true;
        self.log(What::Calm {});
        self.mend_controllers();
        for package in world::PUBLISHED {
            self.publish_version(&archive::package(package), None);
        }
        self.make_resource_readable();
        self.resume_all();
        self.mend_desired();
        self.commit(true);
        for m in (self.options.machines..self.hosts.len()).rev() {
            if self.hosts[m].on {
                self.trouble_ends(crate::fault::Fault::Cloned, m);
            }
        }
        for m in 0..self.options.machines {
            self.mend_machine(m);
        }
        self.plan_after(SignedDuration::from_hours(1), Happening::Person(Act::Tend));
    }

    fn mend_controllers(&mut self) {
        for c in 0..self.controllers.len() {
            self.controllers[c].offset = SignedDuration::ZERO;
            self.compare_clocks(c);
        }
        for g in 0..self.gateways.len() {
            if !self.gateways[g].up {
                self.gateway_starts(g);
            }
        }
    }

    fn mend_desired(&mut self) {
        let zone = self.options.zone;
        let latest = self.people.latest.clone();
        let desired = &mut self.people.desired;
        desired.policy = Policy { history_limit: 5, ..Policy::default() };
        desired.windows.retain(|_, window| window.action == WindowAction::Allow);
        for window in desired.windows.values_mut() {
            window.when = Ok(world::daily(1, 12, zone));
            window.cutoff = SignedDuration::from_mins(10);
            window.generation += 10;
        }
        for budget in desired.budgets.values_mut() {
            budget.limit = muster_model::BudgetLimit::MaxUnavailable(world::share("3"));
            budget.generation += 1;
        }
        desired.baselines.remove(&name("other"));
        for kernel in desired.kernels.values_mut() {
            kernels::mend(kernel, latest[&kernel.package.name], self.options.asks_approval);
        }
        for baseline in desired.baselines.values_mut() {
            baseline.common.mode = Mode::Enforce;
            baseline.common.generation += 1;
            baseline.rollout.waves.clear();
            baseline.rollout.zone_key = None;
            baseline.rollout.max_unavailable = world::share("30%");
            baseline.rollout.max_failures = world::share("50%");
            for asked in &mut baseline.packages {
                if asked.state == PackageWish::Present {
                    let least = world::version_of(&asked.name, latest[&asked.name]);
                    let hold = asked.hold;
                    *asked = world::requirement(asked.name.as_str(), &format!(">= {least}"));
                    asked.hold = hold;
                }
            }
        }
    }

    fn mend_machine(&mut self, m: usize) {
        let host = self.hosts[m].name.clone();
        if self.api.machine(&host).is_none_or(|object| object.quarantined) {
            self.enroll_anew(m);
        }
        // The record of our holds goes with the FleetMachine: those of before are nobody's, and a person lifts them.
        let ours = self.api.machine(&host).map(|object| object.machine.holds.clone());
        let machine = &mut self.hosts[m];
        machine.skew = SignedDuration::ZERO;
        machine.next_act = None;
        machine.locked = false;
        machine.mirror_down = false;
        machine.disk_full = false;
        machine.dpkg.held.retain(|name| ours.iter().flatten().any(|key| key.name == *name));
        machine.restart_units(&self.suites[machine.suite]);
        machine.changed();
        if let Some(object) = self.api.machine(&host) {
            let mut object = object.clone();
            object.machine.suspend = false;
            object.machine.admitted = true;
            self.put(crate::api::Value::Machine(object));
        }
        let wait = self.dice.minutes(1, 30);
        self.for_host_of_any_life(m, wait, ForHost::Reachable);
        self.for_host_of_any_life(m, wait, ForHost::Boots);
        self.for_host_of_any_life(m, wait, ForHost::AgentStarts);
    }

    /// What has not arrived.
    fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for host in &self.hosts[..self.options.machines] {
            let Some(object) = self.api.machine(&host.name) else {
                missing.push(format!("{} has no FleetMachine", host.name));
                continue;
            };
            let verdict = self.decided.get(&host.name).map_or("none", |(_, words)| words.as_str());
            for baseline in self.people.desired.baselines.values() {
                if !baseline.common.selector.matches(|key| object.machine.label(key)) {
                    continue;
                }
                for asked in &baseline.packages {
                    let installed = host.dpkg.installed.get(&asked.name);
                    let met = match asked.state {
                        PackageWish::Present => {
                            installed.is_some_and(|version| asked.version.satisfied_by(version))
                        }
                        PackageWish::Absent => installed.is_none(),
                    };
                    if !met {
                        missing.push(format!(
                            "{}: {} {:?} is not as {} wants it, verdict: {verdict}",
                            host.name, asked.name, installed, baseline.common.name
                        ));
                    }
                }
            }
            missing.extend(self.kernel_missing(host, object, verdict));
            if !host.dpkg.broken.is_empty() {
                missing.push(format!(
                    "{}: {:?} are half-configured, verdict: {verdict}",
                    host.name, host.dpkg.broken
                ));
            }
        }
        for activity in self.api.activities().filter(|activity| !activity.phase.is_finished()) {
            let phase: Phase = activity.phase;
            missing.push(format!("{} is still {}", activity.spec.name, phase.as_str()));
        }
        let rest: Instant = self.now - REST;
        let (written, what) = &self.last_write;
        if *written > rest {
            missing.push(format!("somebody still writes: the last time at {written}, to {what}"));
        }
        missing
    }
}
