//! Planning again after anything gives what planning from scratch gives, byte for byte; the dice are seeded.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::SignedDuration;
use muster_model::{
    Activity, ActivityName, Inventory, Machine, MachineName, OutcomeReason, Phase, Plan, Presence, Snapshot,
    StepAction, StepStatus, Verdict,
};
use muster_planner::{Planner, Touched, plan};

use crate::story::answer;
use crate::world::{World, key, read};

/// xorshift64*: the same seed, the same sequence.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % most
    }

    fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

const MACHINES: usize = 14;

/// The resources of one revision. Zones, waves by label and by share, upgrades, two that contradict each other, windows with
/// cutoffs, freezes, budgets of zero.
fn resources(dice: &mut Dice) -> String {
    let mut story = format!(
        "policy packages {}\n\
         baseline fix max {} fail {} ready {} {} units nginx.service settle 2m: openssl {}; curl latest\n\
         wave canary fix on ring=canary soak {}\nwave some fix share 30% soak 10m {}\n\
         baseline web on role=web priority {} max 50% {}: nginx; telnet absent\n\
         baseline all on role=db upgrades {} max 3 {}: zlib\n",
        dice.pick(&["10m", "90m"]),
        dice.pick(&["10%", "3", "100%", "0"]),
        dice.pick(&["0", "20%"]),
        dice.pick(&["0m", "5m"]),
        dice.pick(&["reboot 30m", "zones zone", "reboot 30m zones zone"]),
        dice.pick(&[">= 3.0.15", "= 3.0.16", ">= 3.0.14"]),
        dice.pick(&["0m", "1h"]),
        dice.pick(&["", "approval"]),
        dice.pick(&["0", "5"]),
        dice.pick(&["", "observe", "removals"]),
        dice.pick(&["Security", "All"]),
        dice.pick(&["", "zones zone"]),
    );
    story.push_str("apt with linux-image: linux-image-6.1.0-50 - > 6.1.0-50\n");
    story.push_str("apt with openssl: libssl3 3.0.14 > 3.0.15\napt with curl: libssl3 3.0.14 > 3.0.15\n");
    for (often, line) in [
        (3, "baseline other on role=web: nginx = 9\n"),
        (2, "baseline libs fail 0: libssl3 >= 3.0.14; curl latest\nwave first libs on zone=a\n"),
        (2, "baseline more on zone=a upgrades All max 3:\n"),
        (2, "budget web on role=web max 1\n"),
        (2, "budget db on role=db min 50% ignore\n"),
        (4, "budget none on ring=canary max 0\n"),
        (2, "window night allow on role=db cutoff 1h: daily 22 6h\n"),
        (2, "window noon allow on role=db: daily 12 2h\n"),
        (3, "window freeze deny overridable: once 2026-11-23T15:00:00Z 2026-11-23T19:00:00Z\n"),
        (4, "override cve of freeze until 2h: fix openssl 3.0.15; fix reboot\n"),
        (6, "approval stop pause fix openssl=3.0.15 by alice 10m\n"),
        (3, "approval go approve fix by alice 1m\n"),
        (2, "kernel k reboot 30m max 50%: linux-image >= 6.1.176; not nosmt\n"),
        (3, "kernel l on role=db priority 5 keep 3: linux-image >= 6.1.170\n"),
        (4, "kernel rt on role=web observe: linux-image-rt >= 6\n"),
        (3, "window still deny covers Kernel,Reboot: once 2026-11-23T13:00:00Z 2026-11-23T16:00:00Z\n"),
        (9, "unreadable MaintenanceWindow/x\n"),
    ] {
        if dice.one_in(often) {
            story.push_str(line);
        }
    }
    story
}

fn machine(dice: &mut Dice, number: usize) -> String {
    let mut words = format!(
        "machine m{number:02} role={} ring={} zone={} lists {} reported {} draws zlib/2={}",
        dice.pick(&["web", "db"]),
        dice.pick(&["canary", "other", "other"]),
        dice.pick(&["a", "b", "c"]),
        dice.pick(&["old", "new"]),
        dice.pick(&["0m", "1m", "50m"]),
        dice.pick(&["10", "80"]),
    );
    for (often, word) in [
        (5, " reboot-required 1h"),
        (8, " failed-unit nginx.service"),
        (9, " suspended"),
        (9, " unadmitted"),
        (20, " revoked"),
        (8, " silent 4m"),
        (9, " silent 7h counted 2h"),
        (20, " never"),
        (6, " no-inventory"),
        (15, " interrupted"),
        (12, " cannot ExactSimulation"),
    ] {
        if dice.one_in(often) && !(word.contains("silent") && words.contains("silent")) {
            words.push_str(word);
        }
    }
    let (kernels, meta) = [
        ("6.1.0-48,6.1.0-49=6.1.170", "6.1.170 -> 6.1.176"),
        ("6.1.0-47,6.1.0-48,6.1.0-49,6.1.0-50=6.1.176", "6.1.176"),
        ("6.1.0-49", "- -> 6.1.176"),
    ][dice.below(3)];
    words += &format!(
        " {} kernels {kernels} runs 6.1.0-49 next {} line {}",
        dice.pick(&["selects", "selects", ""]),
        dice.pick(&["6.1.0-49", "6.1.0-48", "6.1.0-50"]),
        dice.pick(&["quiet", "nosmt"]),
    );
    format!(
        "{words}: linux-image {meta}; openssl {} -> {}; curl 8 -> {}; nginx {}; zlib {}; telnet {}; libssl3 {}\n",
        dice.pick(&["3.0.14", "3.0.14", "3.0.15", "3.0.16"]),
        dice.pick(&["3.0.15", "3.0.16 3.0.15", "3.0.15!"]),
        dice.pick(&["8", "9"]),
        dice.pick(&["- -> 1", "1", "1 held"]),
        dice.pick(&["1 -> 2%10", "1 -> 2!", "2", "1"]),
        dice.pick(&["-", "0.17", "-"]),
        dice.pick(&["3.0.13 -> 3.0.15", "3.0.14 -> 3.0.15", "3.0.14"]),
    )
}

/// The world, and what has been touched since it was planned.
struct Course {
    world: World,
    dice: Dice,
    touched: Touched,
}

impl Course {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed * 2 + 1);
        let mut story = resources(&mut dice);
        (0..MACHINES).for_each(|number| story.push_str(&machine(&mut dice, number)));
        Self { world: read(&story), dice, touched: Touched::default() }
    }

    fn some_machine(&mut self) -> Option<MachineName> {
        let all: Vec<MachineName> = self.world.snapshot.machines.keys().cloned().collect();
        (!all.is_empty()).then(|| all[self.dice.below(all.len())].clone())
    }

    /// What the story says, at this world's instant.
    fn read(&self, story: &str) -> Snapshot {
        let noon = read("").snapshot.now;
        let minutes = self.world.snapshot.now.duration_since(noon).as_mins();
        read(&format!("time {minutes}m\n{story}")).snapshot
    }

    /// One thing happens.
    fn happen(&mut self) {
        match self.dice.below(26) {
            0..=4 => self.time_passes(),
            5..=7 => self.report(),
            8 => self.presence(),
            9..=11 => self.answer(),
            12..=17 => self.activities(),
            18 => self.inventory_arrives(),
            19..=21 => self.record(),
            22 if self.dice.one_in(4) => self.revise(),
            23 if self.dice.one_in(3) => self.come_or_go(),
            24..=25 => self.holds(),
            _ => {}
        }
    }

    fn time_passes(&mut self) {
        let next = plan(&self.world.snapshot).next.filter(|_| self.dice.one_in(2));
        let seconds = [1, 30, 60, 301, 1800, 7200][self.dice.below(6)];
        let now = self.world.snapshot.now;
        self.world.snapshot.now = next.unwrap_or(now + SignedDuration::from_secs(seconds));
    }

    fn take(&mut self, from: Snapshot, name: &MachineName) {
        let known = self.world.snapshot.machines.get(name);
        let mut machine = Machine::clone(&from.machines[name]);
        if let Some(known) = known {
            (machine.last_number, machine.holds) = (known.last_number, known.holds.clone());
        }
        self.world.snapshot.machines.insert(name.clone(), Arc::new(machine));
        self.touched.machines.insert(name.clone());
        for (digest, inventory) in from.inventories {
            if !self.world.snapshot.inventories.contains_key(&digest) {
                self.world.snapshot.inventories.insert(digest.clone(), inventory);
                self.touched.inventories.insert(digest);
            }
        }
    }

    fn report(&mut self) {
        let number = self.dice.below(MACHINES);
        let name: MachineName = format!("m{number:02}").parse().unwrap();
        if self.world.snapshot.machines.contains_key(&name) {
            let line = machine(&mut self.dice, number);
            self.take(self.read(&line), &name);
        }
    }

    /// It is recorded that a hold on a machine is ours, or is not.
    fn holds(&mut self) {
        let Some(name) = self.some_machine() else { return };
        let machine = Arc::make_mut(self.world.snapshot.machines.get_mut(&name).unwrap());
        let key = key("nginx");
        if !machine.holds.remove(&key) {
            machine.holds.insert(key);
        }
        self.touched.machines.insert(name);
    }

    fn presence(&mut self) {
        let Some(name) = self.some_machine() else { return };
        let now = self.world.snapshot.now;
        let known = self.world.snapshot.machines.get_mut(&name).unwrap();
        if known.reported.is_some() {
            let last_heard = now - SignedDuration::from_secs([10, 400, 90_000][self.dice.below(3)]);
            Arc::make_mut(known).presence = match self.dice.one_in(2) {
                true => Presence::Present,
                false => Presence::Silent { last_heard, counted_from: last_heard },
            };
            self.touched.machines.insert(name);
        }
    }

    /// Some machines' apt answer what they are asked; sometimes an answer is lost again.
    fn answer(&mut self) {
        let decided = plan(&self.world.snapshot);
        for (name, machine) in &decided.machines {
            let Some((key, proposal)) = answer(&self.world, name, &machine.wanted) else { continue };
            if self.dice.one_in(3) || self.world.snapshot.proposals.contains_key(&key) {
                continue;
            }
            self.world.snapshot.proposals.insert(key.clone(), Arc::new(proposal));
            self.touched.proposals.insert(key);
        }
        if self.dice.one_in(6)
            && let Some((key, _)) = self.world.snapshot.proposals.pop_first()
        {
            self.touched.proposals.insert(key);
        }
    }

    /// What was decided is created, and what is under way goes on, or is deleted.
    fn activities(&mut self) {
        let decided = plan(&self.world.snapshot);
        let now = self.world.snapshot.now;
        let names: Vec<ActivityName> = self.world.snapshot.activities.keys().cloned().collect();
        for name in names {
            if !self.dice.one_in(2) {
                continue;
            }
            self.touched.machines.insert(name.machine.clone());
            let activity = Arc::make_mut(self.world.snapshot.activities.get_mut(&name).unwrap());
            if activity.phase.is_finished() {
                if self.dice.one_in(12) {
                    self.world.snapshot.activities.remove(&name);
                }
                continue;
            }
            let end = [
                Phase::Succeeded,
                Phase::Succeeded,
                Phase::Failed,
                Phase::Refused,
                Phase::Expired,
                Phase::Interrupted,
            ];
            activity.phase = match activity.phase {
                Phase::Pending => Phase::Delivered,
                Phase::Delivered => Phase::Running,
                _ => end[self.dice.below(end.len())],
            };
            if activity.phase == Phase::Running {
                activity.steps = vec![StepStatus { started: Some(now), completed: None }];
            }
            if activity.phase.is_finished() {
                activity.finished = Some(now);
                activity.outcome = match activity.phase {
                    Phase::Failed => Some(OutcomeReason::PackagesNotAsWanted),
                    Phase::Refused => Some(OutcomeReason::VersionGone),
                    _ => None,
                };
            }
            if activity.phase == Phase::Succeeded {
                self.succeed(&name);
            }
        }
        for (name, machine) in &decided.machines {
            let Verdict::Start(spec) = &machine.verdict else { continue };
            if self.dice.one_in(3) || self.world.snapshot.activities.contains_key(&spec.name) {
                continue;
            }
            self.touched.machines.insert(name.clone());
            let known = Arc::make_mut(self.world.snapshot.machines.get_mut(name).unwrap());
            known.holds.clone_from(&machine.holds);
            known.last_number = spec.name.number;
            let activity = Activity {
                spec: (**spec).clone(),
                uid: format!("uid-{}", spec.name).parse().unwrap(),
                created: now,
                cancel: false,
                epoch: 7,
                phase: Phase::Pending,
                delivered: None,
                finished: None,
                outcome: None,
                message: String::new(),
                steps: Vec::new(),
            };
            self.world.snapshot.activities.insert(spec.name.clone(), Arc::new(activity));
        }
    }

    /// The machine has what its activity was to bring, and says so.
    fn succeed(&mut self, name: &ActivityName) {
        let snapshot = &mut self.world.snapshot;
        let activity = snapshot.activities[name].clone();
        let Some(machine) = snapshot.machines.get_mut(&name.machine) else { return };
        let machine = Arc::make_mut(machine);
        let Some(reported) = &mut machine.reported else { return };
        let Some(inventory) = snapshot.inventories.get(&reported.report.inventory) else { return };
        let mut inventory = Inventory::clone(inventory);
        for step in &activity.spec.steps {
            inventory.carry_out(&step.action);
            reported.report.kernel.carry_out(&step.action);
            if let StepAction::Reboot { .. } = &step.action {
                reported.report.reboot_required = None;
            }
        }
        reported.report.inventory = inventory.digest();
        reported.report.last_activity = name.number;
        reported.time = snapshot.now;
        let digest = inventory.digest();
        snapshot.inventories.insert(digest.clone(), Arc::new(inventory));
        self.touched.inventories.insert(digest);
    }

    fn inventory_arrives(&mut self) {
        let number = self.dice.below(MACHINES);
        let name: MachineName = format!("m{number:02}").parse().unwrap();
        let line = machine(&mut self.dice, number).replace(" no-inventory", "").replace(" never", "");
        if !self.world.snapshot.machines.contains_key(&name) {
            return;
        }
        let mut from = self.read(&line);
        let late = std::mem::take(&mut from.inventories);
        self.take(from, &name);
        self.check_later(late);
    }

    /// The machine's report comes first, and its inventory after a plan.
    fn check_later(&mut self, late: std::collections::BTreeMap<muster_model::Digest, Arc<Inventory>>) {
        for (digest, inventory) in late {
            if self.dice.one_in(2) {
                self.touched.inventories.insert(digest.clone());
                self.world.snapshot.inventories.insert(digest, inventory);
            }
        }
    }

    fn record(&mut self) {
        let decided = plan(&self.world.snapshot);
        for (baseline, rollout) in decided.rollouts {
            if self.dice.one_in(4) {
                continue;
            }
            self.world.snapshot.rollouts.insert(baseline, Arc::new(rollout));
        }
    }

    fn revise(&mut self) {
        let story = resources(&mut self.dice);
        let from = self.read(&story);
        let snapshot = &mut self.world.snapshot;
        snapshot.policy = from.policy;
        snapshot.package_baselines = from.package_baselines;
        snapshot.windows = from.windows;
        snapshot.budgets = from.budgets;
        snapshot.overrides = from.overrides;
        snapshot.approvals = from.approvals;
        snapshot.unreadable = from.unreadable;
        snapshot.revision = Some(format!("main@{}", self.dice.below(100)).into());
    }

    fn come_or_go(&mut self) {
        let number = self.dice.below(MACHINES + 2);
        let name: MachineName = format!("m{number:02}").parse().unwrap();
        if self.world.snapshot.machines.remove(&name).is_none() {
            let line = machine(&mut self.dice, number);
            self.take(self.read(&line), &name);
        }
        self.touched.machines.insert(name);
    }
}

/// The lines in which two plans differ.
fn difference(again: &Plan, scratch: &Plan) -> String {
    if again == scratch {
        return String::new();
    }
    let lines = |plan: &Plan| {
        let machines = plan.machines.iter().map(|(name, one)| format!("{name}: {one:?}"));
        let rollouts = plan.rollouts.iter().flat_map(|(baseline, rollout)| {
            rollout.items.iter().map(move |(item, progress)| format!("{baseline} {item:?}: {progress:?}"))
        });
        let sums = plan.baselines.iter().map(|(baseline, one)| format!("{baseline}: {one:?}"));
        let rest =
            [format!("{:?} {:?} {:?}", plan.windows, plan.budgets, plan.cancels), format!("{:?}", plan.next)];
        machines.chain(rollouts).chain(sums).chain(rest).collect::<Vec<String>>()
    };
    let (left, right) = (lines(again), lines(scratch));
    let gone = left.iter().filter(|line| !right.contains(line)).map(|line| format!("- {line}"));
    let new = right.iter().filter(|line| !left.contains(line)).map(|line| format!("+ {line}"));
    gone.chain(new).collect::<Vec<String>>().join("\n")
}

/// Runs one seed; how often a machine's answer changed while few were touched.
fn run(seed: u64) -> usize {
    let mut course = Course::new(seed);
    let mut planner = Planner::default();
    let mut before = planner.plan(&course.world.snapshot, &Touched::default()).clone();
    let mut changes = 0;
    for step in 0..STEPS {
        for _ in 0..=course.dice.below(3) {
            course.happen();
        }
        let touched = std::mem::take(&mut course.touched);
        let again = planner.plan(&course.world.snapshot, &touched).clone();
        let scratch = plan(&course.world.snapshot);
        let lines = difference(&again, &scratch);
        assert!(
            again == scratch,
            "seed {seed}, step {step}: planned again (-), from scratch (+); {touched:?}\n{lines}"
        );
        let names: BTreeSet<&MachineName> = before.machines.keys().chain(again.machines.keys()).collect();
        let differ = names.into_iter().filter(|name| before.machines.get(*name) != again.machines.get(*name));
        let differ: BTreeSet<MachineName> = differ.cloned().collect();
        assert_eq!(*planner.changed(), differ, "seed {seed}, step {step}: which answers changed");
        changes += differ.len();
        before = again;
    }
    changes
}

const STEPS: usize = 120;

#[test]
fn planning_again_gives_what_planning_from_scratch_gives() {
    let changes: usize = (0..60).map(run).sum();
    assert!(changes > 5_000, "too little happens to say anything: {changes} answers changed");
}

/// A machine that has an item already lacks nothing of its baseline, so a bar makes no other difference to it.
#[test]
fn what_waits_to_bring_an_item_that_is_barred_meanwhile_is_canceled_where_the_item_is_there_already() {
    let mut world = read(
        "baseline fix max 100% fail 0: openssl >= 3.0.15
         machine a carried 1: openssl 3.0.15
         machine b carried 1: openssl 3.0.14 -> 3.0.15
         activity a-2 Pending 10s: install fix openssl 3.0.15
         activity b-2 Running 1m: install fix openssl 3.0.15",
    );
    let mut planner = Planner::default();
    assert!(planner.plan(&world.snapshot, &Touched::default()).cancels.is_empty());
    let (name, now) = ("b".parse::<MachineName>().unwrap(), world.snapshot.now);
    let failed = ActivityName { machine: name.clone(), number: 2 };
    let failed = Arc::make_mut(world.snapshot.activities.get_mut(&failed).unwrap());
    (failed.phase, failed.finished) = (Phase::Failed, Some(now));
    failed.outcome = Some(OutcomeReason::PackagesNotAsWanted);
    let touched = Touched { machines: BTreeSet::from([name]), ..Touched::default() };
    let again = planner.plan(&world.snapshot, &touched).clone();
    assert_eq!(difference(&again, &plan(&world.snapshot)), "");
    let canceled: Vec<String> = again.cancels.keys().map(ToString::to_string).collect();
    assert_eq!(canceled, ["a-2"]);
}
