//! Stories of one namespace: what fleet writes, and above all what it does not.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as its tests do")]

mod durations;
mod found;
mod hearing;
mod safety;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use muster_fleet::{
    Change, Effect, Garbage, GatewayLease, Input, Key, PresenceShard, SourceState, State, Written, step,
};
use muster_model::*;
use muster_planner::plan;

/// A world: what the API would hold, fed back to fleet as watches would.
struct World {
    state: State,
    now: Instant,
    /// Activities in the API, by name.
    activities: BTreeMap<ActivityName, Activity>,
    inventory: Digest,
}

const START: i64 = 1_800_000_000;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn version(text: &str) -> DebianVersion {
    DebianVersion::parse(text).unwrap()
}

fn key(name: &str) -> PackageKey {
    PackageKey {
        name: PackageName::parse(name).unwrap(),
        architecture: Architecture::parse("amd64").unwrap(),
    }
}

fn inventory(installed: &str, held: bool) -> Inventory {
    let offer = |text: &str| Offer { version: version(text), pin: 500, origins: Vec::new(), phased: None };
    let mut inventory = Inventory {
        architecture: Architecture::parse("amd64").unwrap(),
        lists: Digest::of(b"lists"),
        interest: BTreeSet::new(),
        packages: vec![Package {
            key: key("openssl"),
            installed: Some(Installed {
                version: version(installed),
                state: PackageState::Installed,
                held,
                automatic: false,
            }),
            candidate: Some(version("3.0.15-1")),
            offers: vec![offer("3.0.15-1"), offer("3.0.14-1")],
        }],
    };
    inventory.canonicalise();
    inventory
}

fn report(inventory: &Digest) -> Report {
    Report {
        agent: "0.1.0".into(),
        capabilities: [
            Capability::ExactSimulation,
            Capability::Packages,
            Capability::Reboot,
            Capability::Journal,
        ]
        .into(),
        os: Os { id: "debian".into(), version_id: "12".into(), codename: "bookworm".into() }.into(),
        architecture: Architecture::parse("amd64").unwrap(),
        kernel: Kernel {
            booted: "6.1.0-1-amd64".into(),
            installed: Vec::new(),
            next_boot: None,
            command_line: "".into(),
        }
        .into(),
        boot: Boot { id: "b1".into(), time: Instant::from_second(START - 1000).unwrap() },
        reboot_required: None,
        inventory: inventory.clone(),
        dpkg_interrupted: false,
        upgradable: 1,
        security_upgradable: 0,
        phasing: BTreeMap::new(),
        failed_units: Default::default(),
        hardware: Hardware::default().into(),
        last_activity: 0,
    }
}

impl World {
    /// `machines` machines with openssl 3.0.14, a baseline that wants the latest, a gateway that hears them all.
    fn new(machines: usize, max_unavailable: u64) -> Self {
        let old = inventory("3.0.14-1", false);
        let mut world = Self {
            state: State::new(),
            now: Instant::from_second(START).unwrap(),
            activities: BTreeMap::new(),
            inventory: old.digest(),
        };
        world.observe(Change::Epoch(1));
        world.observe(Change::Inventory(old.digest(), Arc::new(old), None));
        world.baseline("latest", false, max_unavailable);
        for n in 0..machines {
            world.machine(&name(n), |_| {});
        }
        world.heard((0..machines).map(name));
        world
    }

    fn observe(&mut self, change: Change) {
        assert!(step(&mut self.state, Input::Observed(Box::new(change))).is_empty());
    }

    fn baseline(&mut self, wanted: &str, hold: bool, max_unavailable: u64) {
        let openssl = PackageRequirement {
            name: PackageName::parse("openssl").unwrap(),
            architecture: None,
            state: PackageWish::Present,
            version: VersionRequirement::parse(wanted).unwrap(),
            hold,
        };
        self.observe(Change::PackageBaseline(PackageBaseline {
            common: BaselineCommon {
                name: ObjectName::parse("fix").unwrap(),
                uid: Uid::parse("u-fix").unwrap(),
                generation: 1,
                selector: LabelSelector::all(),
                mode: Mode::Enforce,
                priority: 0,
                provenance: None,
            },
            packages: vec![openssl],
            upgrades: None,
            downgrades: Permit::Refuse,
            removals: Permit::Refuse,
            conffiles: Conffiles::Keep,
            reboot: RebootPolicy { policy: RebootWhen::Never, timeout: SignedDuration::from_mins(30) },
            health: Health { units: BTreeSet::new(), settle: SignedDuration::ZERO },
            rollout: RolloutSpec {
                waves: Vec::new(),
                zone_key: None,
                max_unavailable: Share::count(max_unavailable).unwrap(),
                max_failures: Share::count(0).unwrap(),
                min_ready: SignedDuration::ZERO,
            },
        }));
    }

    fn machine(&mut self, name: &MachineName, change: impl FnOnce(&mut Machine)) {
        let report = report(&self.inventory);
        let mut machine = Machine {
            name: name.clone(),
            uid: Uid::parse(&format!("u-{name}")).unwrap(),
            labels: Shared::default(),
            admitted: true,
            suspend: false,
            revoked: false,
            resolved_through: 0,
            retried_through: 0,
            reported: Some(Reported {
                session: 1,
                sequence: 1,
                digest: report.digest(),
                time: self.now,
                facts: report.facts(),
                report,
            }),
            presence: Presence::Never,
            last_number: 0,
            holds: Default::default(),
            first_converged: None,
        };
        change(&mut machine);
        self.observe(Change::Machine(Box::new(machine)));
    }

    fn heard(&mut self, names: impl Iterator<Item = MachineName>) {
        let shard = PresenceShard { present: names.collect(), ..PresenceShard::default() };
        self.observe(Change::Presence("g".into(), "g-0".into(), Some(shard)));
        self.lease(SignedDuration::from_hours(24 * 365));
    }

    fn lease(&mut self, valid: SignedDuration) {
        let lease = GatewayLease {
            acquired: self.now - SignedDuration::from_hours(1),
            renewed: self.now,
            valid_until: self.now + valid,
        };
        self.observe(Change::Gateway("g".into(), Some(lease)));
    }

    /// The machines' apt says what the wanted set would do.
    fn propose(&mut self) {
        let wanted: BTreeSet<Digest> = self.pass().iter().filter_map(wanted_of).collect();
        for wanted in wanted {
            let change = Change::Proposal(
                ProposalKey { inventory: self.inventory.clone(), wanted },
                Arc::new(Proposal::Transaction {
                    changes: vec![muster_model::Change {
                        package: key("openssl"),
                        from: Some(version("3.0.14-1")),
                        to: Some(version("3.0.15-1")),
                    }],
                }),
                None,
            );
            self.observe(change);
        }
    }

    fn pass(&mut self) -> Vec<Effect> {
        // A clock that was set back is to be seen by the pass.
        let wanted = self.state.wants_pass(self.now) && self.state.snapshot().now <= self.now;
        let mut from_scratch = if wanted { plan(self.state.look(self.now)) } else { Plan::default() };
        // Where no gateway seems to be up, it gives its watches a moment to say otherwise.
        let moment = self.now + SignedDuration::from_secs(5);
        if wanted && !self.state.wants_pass(self.now) && self.state.next() == Some(moment) {
            self.now = moment;
            from_scratch = plan(self.state.look(self.now));
        }
        let effects = step(&mut self.state, Input::Pass(self.now));
        if wanted && self.state.snapshot().epoch > 0 {
            assert!(*self.state.plan() == from_scratch, "fleet knows what has changed since it planned last");
        }
        for effect in &effects {
            if let Effect::RecordRollout { baseline, rollout } = effect {
                let (baseline, rollout) = (baseline.clone(), rollout.clone());
                self.observe(Change::Rollout(baseline, rollout));
            }
        }
        effects
    }

    fn wait(&mut self, time: SignedDuration) {
        self.now += time;
    }

    /// The API took the activities in, and the watch shows them.
    fn created(&mut self, effects: &[Effect]) -> Vec<ActivityName> {
        let mut names = Vec::new();
        for effect in effects {
            let Effect::CreateActivity { spec, epoch } = effect else { continue };
            let activity = Activity {
                spec: ActivitySpec::clone(spec),
                uid: Uid::parse(&format!("u-{}", spec.name)).unwrap(),
                created: self.now,
                cancel: false,
                epoch: *epoch,
                phase: Phase::Pending,
                delivered: None,
                finished: None,
                outcome: None,
                message: String::new(),
                steps: Vec::new(),
            };
            names.push(spec.name.clone());
            self.activities.insert(spec.name.clone(), activity);
            self.show(&spec.name, |_| {});
        }
        names
    }

    fn show(&mut self, name: &ActivityName, change: impl FnOnce(&mut Activity)) {
        let activity = self.activities.get_mut(name).unwrap();
        change(activity);
        let activity = activity.clone();
        self.observe(Change::Activity(Box::new(activity)));
    }

    fn written(&mut self, key: Key, outcome: Written) {
        let now = self.now;
        drop(step(&mut self.state, Input::Written { key, now, outcome }));
    }

    /// Starts one activity on machine m0 and shows it.
    fn one_pending(&mut self) -> ActivityName {
        self.propose();
        let effects = self.pass();
        self.created(&effects).remove(0)
    }
}

fn name(n: usize) -> MachineName {
    MachineName::parse(&format!("m{n}")).unwrap()
}

fn wanted_of(effect: &Effect) -> Option<Digest> {
    match effect {
        Effect::RecordMachine { decision, .. } => Some(decision.plan.wanted.digest()),
        _ => None,
    }
}

/// The effects in short, without records of totals.
fn short(effects: &[Effect]) -> Vec<String> {
    effects
        .iter()
        .filter_map(|effect| {
            Some(match effect {
                Effect::CreateActivity { spec, epoch } => format!("create {} in epoch {epoch}", spec.name),
                Effect::AdoptActivity { name, epoch } => format!("adopt {name} in epoch {epoch}"),
                Effect::EndActivity { name, phase, outcome, .. } => {
                    format!("end {name} {}({})", phase.as_str(), outcome.as_str())
                }
                Effect::AskCancel { name, outcome } => format!("cancel {name} ({})", outcome.as_str()),
                Effect::DeleteActivity { name } => format!("delete {name}"),
                Effect::Mark { garbage: Garbage::Inventory(_), .. } => "mark an inventory".to_owned(),
                Effect::Mark { garbage: Garbage::Proposal(_), .. } => "mark a proposal".to_owned(),
                Effect::Collect { .. } => "collect".to_owned(),
                Effect::DeleteApproval { approval } => format!("delete {}", approval.name),
                Effect::DeleteRollout { baseline } => format!("delete the rollout of {baseline}"),
                Effect::RecordMachine { .. }
                | Effect::RecordBaseline { .. }
                | Effect::RecordWindow { .. }
                | Effect::RecordBudget { .. }
                | Effect::RecordRollout { .. }
                | Effect::RecordEstimates { .. }
                | Effect::Tell(_) => return None,
            })
        })
        .collect()
}

// rule: A3, B2
#[test]
fn own_writes_count_before_any_watch_shows_them() {
    let mut world = World::new(3, 1);
    world.propose();
    let effects = world.pass();
    assert_eq!(short(&effects).len(), 1, "{effects:?}");
    world.wait(SignedDuration::from_secs(1));
    assert!(short(&world.pass()).is_empty(), "the reservation holds the only place");
    let created = world.created(&effects);
    assert!(short(&world.pass()).is_empty(), "so does the activity");
    assert_eq!(created.len(), 1);
}

// rule: A3
#[test]
fn a_refused_creation_frees_its_place_and_waits_before_the_next() {
    let mut world = World::new(1, 1);
    world.propose();
    let effects = world.pass();
    let key = effects
        .iter()
        .find(|effect| matches!(effect, Effect::CreateActivity { .. }))
        .and_then(Effect::key)
        .unwrap();
    world.written(key, Written::Refused);
    assert!(short(&world.pass()).is_empty(), "not at once");
    world.wait(SignedDuration::from_secs(2));
    assert_eq!(short(&world.pass()), ["create m0-1 in epoch 1"]);
}

// rule: A1
#[test]
fn a_creation_that_is_refused_while_an_earlier_try_is_on_its_way_is_made_under_the_same_name() {
    let mut world = World::new(1, 1);
    world.propose();
    let effects = world.pass();
    let created = effects.iter().find(|effect| matches!(effect, Effect::CreateActivity { .. }));
    let key = created.and_then(Effect::key).unwrap();
    // Something of the machine changes, and decisions are recorded, while nobody knows how the creation ended.
    world.wait(SignedDuration::from_secs(1));
    let m0 = name(0);
    world.machine(&m0, |machine| drop(machine.labels.insert("ring".into(), "canary".into())));
    let recorded = |effect: &Effect| match effect {
        Effect::RecordMachine { decision, .. } => Some(decision.highest_number),
        _ => None,
    };
    assert_eq!(world.pass().iter().filter_map(recorded).max().unwrap_or(0), 0, "no number is used yet");
    world.written(key, Written::Refused);
    drop(world.pass());
    world.wait(SignedDuration::from_secs(2));
    assert_eq!(short(&world.pass()), ["create m0-1 in epoch 1"]);
}

// rule: A3
#[test]
fn a_creation_of_which_nobody_knows_keeps_its_place() {
    let mut world = World::new(2, 1);
    world.propose();
    let effects = world.pass();
    let key = effects
        .iter()
        .find(|effect| matches!(effect, Effect::CreateActivity { .. }))
        .and_then(Effect::key)
        .unwrap();
    world.written(key, Written::Unknown);
    world.wait(SignedDuration::from_mins(1));
    assert!(short(&world.pass()).is_empty());
}

// rule: A3
#[test]
fn who_does_not_lead_writes_nothing() {
    let mut world = World::new(1, 1);
    world.observe(Change::Epoch(0));
    assert!(world.pass().is_empty());
}

// rule: A3
#[test]
fn a_new_leader_adopts_what_waits_and_leaves_what_runs() {
    let mut world = World::new(2, 2);
    world.propose();
    let effects = world.pass();
    let names = world.created(&effects);
    world.show(&names[1], |activity| activity.phase = Phase::Delivered);
    world.observe(Change::Epoch(2));
    assert_eq!(short(&world.pass()), [format!("adopt {} in epoch 2", names[0])]);
    world.show(&names[0], |activity| activity.epoch = 2);
    assert!(short(&world.pass()).is_empty());
}

// rule: A4
#[test]
fn what_no_gateway_delivers_expires_after_two_minutes() {
    let mut world = World::new(1, 1);
    let activity = world.one_pending();
    world.wait(SignedDuration::from_secs(119));
    assert!(short(&world.pass()).is_empty());
    assert!(
        world.state.next().is_some_and(|next| next <= world.now + SignedDuration::from_secs(1)),
        "it wakes by itself"
    );
    world.wait(SignedDuration::from_secs(1));
    assert_eq!(short(&world.pass()), [format!("end {activity} Expired(Undelivered)")]);
    assert!(short(&world.pass()).is_empty(), "once");
}

// rule: A4
#[test]
fn what_is_delivered_and_not_begun_expires_after_its_expiry() {
    let mut world = World::new(1, 1);
    let activity = world.one_pending();
    world.show(&activity, |activity| activity.phase = Phase::Delivered);
    let expiry = world.activities[&activity].spec.expiry;
    world.now = expiry + SignedDuration::from_mins(2);
    assert_eq!(short(&world.pass()), [format!("end {activity} Expired(NotBegun)")]);
}

// rule: A4
#[test]
fn a_step_past_its_timeout_fails() {
    let mut world = World::new(1, 1);
    let activity = world.one_pending();
    let started = world.now;
    world.show(&activity, |activity| {
        activity.phase = Phase::Running;
        activity.steps = vec![StepStatus { started: Some(started), completed: None }];
    });
    let timeout = world.activities[&activity].spec.steps[0].timeout;
    world.wait(timeout + SignedDuration::from_mins(2));
    assert_eq!(short(&world.pass()), [format!("end {activity} Failed(TimedOut)")]);
}

// rule: A2
#[test]
fn a_stale_watch_never_takes_a_phase_back() {
    let mut world = World::new(1, 1);
    let activity = world.one_pending();
    world.show(&activity, |activity| activity.phase = Phase::Running);
    world.show(&activity, |activity| activity.phase = Phase::Pending);
    world.wait(SignedDuration::from_mins(3));
    assert!(short(&world.pass()).is_empty(), "a Pending activity would have expired");
}

// rule: A5, A9
#[test]
fn a_change_of_mind_cancels_what_waits() {
    let mut world = World::new(1, 1);
    let activity = world.one_pending();
    world.baseline("= 3.0.14-1", false, 1);
    assert_eq!(short(&world.pass()), [format!("end {activity} Canceled(Contradicted)")]);
}

// rule: A1
#[test]
fn numbers_never_repeat_whatever_the_record_says() {
    let mut world = World::new(1, 1);
    world.machine(&name(0), |machine| {
        machine.last_number = 3;
        machine.reported.as_mut().unwrap().report.last_activity = 7;
    });
    world.heard([name(0)].into_iter());
    world.propose();
    assert_eq!(short(&world.pass()), ["create m0-8 in epoch 1"]);
}

// rule: A10
#[test]
fn old_activities_go_and_the_newest_stays() {
    let mut world = World::new(1, 1);
    let activity = world.one_pending();
    let template = world.activities[&activity].clone();
    for number in 1..=15 {
        let mut old = template.clone();
        old.spec.name.number = number;
        old.phase = if number == 2 { Phase::Failed } else { Phase::Succeeded };
        old.outcome = (number == 2).then_some(OutcomeReason::TimedOut);
        old.finished = Some(world.now);
        world.observe(Change::Activity(Box::new(old)));
    }
    let deleted = |effects: &[Effect]| {
        short(effects).into_iter().filter(|text| text.starts_with("delete")).collect::<Vec<_>>()
    };
    let gone = deleted(&world.pass());
    assert_eq!(
        gone,
        ["delete m0-5", "delete m0-4", "delete m0-1"],
        "the failure is judged by rule A6 still, and by the success after it"
    );
    world.wait(SignedDuration::from_hours(24 * 31));
    let gone = deleted(&world.pass());
    assert!(
        !gone.contains(&"delete m0-15".to_owned()) && gone.contains(&"delete m0-14".to_owned()),
        "{gone:?}"
    );
    // The last change tells which units failed after it (rule B2), however many attempts changed nothing since.
    for number in 16..=30 {
        let mut refused = template.clone();
        refused.spec.name.number = number;
        (refused.phase, refused.finished) = (Phase::Refused, Some(world.now));
        world.observe(Change::Activity(Box::new(refused)));
    }
    world.wait(SignedDuration::from_hours(24 * 31));
    let gone = deleted(&world.pass());
    assert!(
        !gone.contains(&"delete m0-15".to_owned()) && gone.contains(&"delete m0-29".to_owned()),
        "{gone:?}"
    );
}

// rule: B2
#[test]
fn silence_counts_only_while_a_gateway_is_up() {
    let mut world = World::new(1, 1);
    world.lease(SignedDuration::from_secs(30));
    drop(world.pass());
    let presence = |world: &World| world.state.snapshot().machines[&name(0)].presence;
    assert_eq!(presence(&world), Presence::Present);
    let heard_until = world.now;
    world.wait(SignedDuration::from_mins(20));
    drop(world.pass());
    assert_eq!(presence(&world), Presence::Silent { last_heard: heard_until, counted_from: world.now });
    // Another gateway comes up and does not hear it: from here on it counts.
    let up = world.now;
    let lease = GatewayLease { acquired: up, renewed: up, valid_until: up + SignedDuration::from_hours(10) };
    world.observe(Change::Gateway("h".into(), Some(lease)));
    drop(world.pass());
    world.wait(SignedDuration::from_mins(4));
    drop(world.pass());
    assert_eq!(presence(&world), Presence::Silent { last_heard: heard_until, counted_from: up });
}

// rule: G2
#[test]
fn nothing_starts_until_a_revision_has_been_seen_whole() {
    let mut world = World::new(1, 1);
    world.propose();
    let source = |owns: &[&str], applying| SourceState {
        revision: Some("main@sha1:2".into()),
        applying,
        owns: owns.iter().map(|owned| (*owned).into()).collect(),
    };
    world.observe(Change::Source("git".into(), Some(source(&[], true))));
    assert!(short(&world.pass()).is_empty(), "it is being applied");
    world.observe(Change::Source("git".into(), Some(source(&["MaintenanceWindow/freeze"], false))));
    assert!(short(&world.pass()).is_empty(), "applied, but the freeze has not been seen");
    world.observe(Change::Window(Window {
        name: ObjectName::parse("freeze").unwrap(),
        uid: Uid::parse("u-freeze").unwrap(),
        generation: 1,
        selector: LabelSelector::all(),
        action: WindowAction::Deny,
        when: Ok(When::once(
            world.now - SignedDuration::from_hours(2),
            world.now - SignedDuration::from_hours(1),
        )
        .unwrap()),
        cutoff: SignedDuration::ZERO,
        covers: None,
        overridable: false,
        provenance: Some(Provenance { revision: "main@sha1:2".into(), file: "guards.yaml".into(), line: 1 }),
    }));
    assert_eq!(short(&world.pass()), ["create m0-1 in epoch 1"]);
}

// rule: V6
#[test]
fn a_hold_is_on_record_before_it_is_set() {
    let mut world = World::new(1, 1);
    world.inventory = {
        let done = inventory("3.0.15-1", false);
        let digest = done.digest();
        world.observe(Change::Inventory(digest.clone(), Arc::new(done), None));
        digest
    };
    world.baseline("= 3.0.15-1", true, 1);
    world.machine(&name(0), |_| {});
    world.heard([name(0)].into_iter());
    let effects = world.pass();
    assert!(short(&effects).is_empty(), "{effects:?}");
    let recorded = effects.iter().any(|effect| matches!(effect, Effect::RecordMachine { decision, .. } if decision.holds.contains(&key("openssl"))));
    assert!(recorded, "{effects:?}");
    world.machine(&name(0), |machine| machine.holds = [key("openssl")].into());
    assert_eq!(short(&world.pass()), ["create m0-1 in epoch 1"]);
}

#[test]
fn what_nothing_refers_to_is_marked_after_a_day_and_then_collected() {
    let mut world = World::new(1, 1);
    let other = inventory("1.0-1", false);
    let digest = other.digest();
    world.observe(Change::Inventory(digest.clone(), Arc::new(other.clone()), None));
    assert!(short(&world.pass()).is_empty());
    world.wait(SignedDuration::from_hours(24));
    assert_eq!(short(&world.pass()), ["mark an inventory"], "only the one that nothing refers to");
    world.observe(Change::Inventory(digest.clone(), Arc::new(other), Some(world.now)));
    assert!(short(&world.pass()).is_empty(), "a gateway may be about to refer to it");
    world.wait(SignedDuration::from_mins(10));
    assert_eq!(short(&world.pass()), ["collect"]);
    world.observe(Change::InventoryGone(digest));
    assert!(short(&world.pass()).is_empty());
}

#[test]
fn a_converged_fleet_costs_nothing_in_a_day() {
    let mut world = World::new(20, 5);
    let done = inventory("3.0.15-1", false);
    world.inventory = done.digest();
    world.observe(Change::Inventory(done.digest(), Arc::new(done), None));
    for n in 0..20 {
        world.machine(&name(n), |_| {});
    }
    world.heard((0..20).map(name));
    let first = world.pass();
    assert_eq!(first.iter().filter(|effect| matches!(effect, Effect::RecordMachine { .. })).count(), 20);
    world.wait(SignedDuration::from_secs(2));
    drop(world.pass());
    let mut passes = 0;
    let end = world.now + SignedDuration::from_hours(24);
    while let Some(next) = world.state.next().filter(|next| *next < end) {
        world.now = next.max(world.now);
        let effects = world.pass();
        let writes: Vec<_> = effects.iter().filter(|effect| !matches!(effect, Effect::Mark { .. })).collect();
        assert!(writes.is_empty(), "{writes:?}");
        passes += 1;
        assert!(passes < 100, "a fleet at rest is not looked at all the time");
    }
}
