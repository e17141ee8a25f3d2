//! Leading: the loop around `fleet`, for as long as the lease is ours.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Api;
use kube::core::DeserializeGuard;
use muster_crds::names;
use muster_fleet::{Change, Effect, Input, Key, State, Written};
use muster_model::{BaselineKind, BaselineRef, Digest, MachineName, ObjectName, ProposalKey};
use smol_str::SmolStr;
use tokio::sync::{Notify, mpsc, watch as value};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::lease::{Election, RENEW_EVERY};
use crate::tap::Tap;
use crate::unreadable::reopening;
use crate::watch::{Chain, Kind, LOOK_EVERY, News, watch};
use crate::work::{Ended, Work};
use crate::write::Writer;
use crate::{ControllerError, Settings, clock, read, sources};

/// Batches of news that wait for the loop; a full channel makes the watches wait, which loses nothing.
const NEWS_WAITING: usize = 1024;

/// Passes are at least so far apart: what comes together is decided together.
const PASS_EVERY: Duration = Duration::from_millis(50);

/// How long writes under way may take when the leadership ends or the process is told to end.
const DRAIN: Duration = Duration::from_secs(5);

/// Runs until shutdown.
pub(crate) async fn run(settings: Settings) -> Result<(), ControllerError> {
    let identity = format!("{}-{}", hostname(), uuid::Uuid::new_v4());
    let (leading_sender, leading) = value::channel(None);
    let mut tasks = JoinSet::new();
    tasks.spawn({
        let (settings, leading) = (settings.clone(), leading.clone());
        async move {
            sources::run(settings.client, settings.namespace, leading, settings.shutdown, settings.state_dir)
                .await;
            "sources"
        }
    });
    let mut election =
        Election::new(settings.client.clone(), &settings.namespace, identity.clone(), settings.sole);
    let elected = elect(&mut election, &leading_sender, &settings);
    let led = lead_whenever(&settings, &identity, leading.clone());
    let result = {
        let (mut elected, mut led) = (std::pin::pin!(elected), std::pin::pin!(led));
        loop {
            tokio::select! {
                // Ends by shutdown, and never in the middle of a write of the lease, which is released below.
                () = &mut elected => {
                    // Writes under way end before the lease is let go of; what does not is answered for by the next leader.
                    drop(tokio::time::timeout(DRAIN, &mut led).await);
                    break Ok(());
                }
                () = &mut led, if !settings.shutdown.is_cancelled() => {
                    if settings.shutdown.is_cancelled() {
                        elected.await;
                        break Ok(());
                    }
                    break Err(ControllerError::Ended("loop"));
                }
                Some(ended) = tasks.join_next(), if !settings.shutdown.is_cancelled() => {
                    if settings.shutdown.is_cancelled() {
                        continue;
                    }
                    if let Err(error) = ended {
                        warn!(%error, "a task of the controller failed");
                    }
                    break Err(ControllerError::Ended("sources"));
                }
            }
        }
    };
    leading_sender.send_replace(None);
    // Sources end by the token: give them the time to finish a write.
    drop(tokio::time::timeout(DRAIN, async { while tasks.join_next().await.is_some() {} }).await);
    if let Err(error) = election.release(Timestamp::now()).await {
        info!(error = %Chain(&error), "the lease could not be released; it runs out by itself");
    }
    result
}

fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "muster".to_owned() } else { name.to_owned() }
}

/// Takes and keeps the lease until shutdown, and tells the epoch.
async fn elect(election: &mut Election, leading: &value::Sender<Option<u64>>, settings: &Settings) {
    loop {
        let wait = match election.contend(Timestamp::now()).await {
            Ok(epoch) => {
                leading.send_if_modified(|now| {
                    let changed = *now != epoch;
                    *now = epoch;
                    changed
                });
                if epoch.is_some() { RENEW_EVERY } else { LOOK_EVERY }
            }
            Err(error) => {
                warn!(error = %Chain(&error), "the lease could not be renewed; trying again");
                LOOK_EVERY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = settings.shutdown.cancelled() => return,
        }
    }
}

/// Leads for each epoch that is ours, with a world read anew each time (rule A3), until shutdown.
async fn lead_whenever(settings: &Settings, identity: &str, mut leading: value::Receiver<Option<u64>>) {
    while !settings.shutdown.is_cancelled() {
        let epoch = *leading.borrow_and_update();
        match epoch {
            Some(epoch) => {
                info!(namespace = settings.namespace, epoch, "leading");
                lead(settings, identity, epoch, &mut leading).await;
            }
            None => {
                tokio::select! {
                    changed = leading.changed() => if changed.is_err() {
                        return;
                    },
                    () = settings.shutdown.cancelled() => return,
                }
            }
        }
    }
}

/// One epoch: until the lease is lost, another epoch begins, or shutdown.
async fn lead(settings: &Settings, identity: &str, epoch: u64, leading: &mut value::Receiver<Option<u64>>) {
    let writer = Arc::new(Writer::new(settings.client.clone(), &settings.namespace, identity));
    let (sender, mut news) = mpsc::channel(NEWS_WAITING);
    let (facts_sender, facts) = mpsc::unbounded_channel();
    let mut watches = watches(settings, &writer, &sender, facts_sender);
    watches.spawn(mirror(writer.clone(), facts));
    let compare_again = Arc::new(Notify::new());
    watches.spawn(clock::compare(
        settings.client.clone(),
        settings.namespace.clone(),
        sender.clone(),
        compare_again.clone(),
    ));
    let mut steady = clock::Steady::new();
    drop(sender);
    let mut unsynced: BTreeSet<&'static str> = KINDS.iter().copied().collect();
    let mut state = State::new();
    let mut tap = Tap::new(settings.events.as_ref(), identity, epoch);
    observe(&mut state, &mut tap, Change::Epoch(epoch));
    let mut work = Work::new(writer);
    let mut last_pass = Instant::now() - PASS_EVERY;
    loop {
        let wake = unsynced.is_empty().then(|| wake_in(&state)).flatten();
        let due = wake.map(|wait| (Instant::now() + wait).max(last_pass + PASS_EVERY));
        tokio::select! {
            changed = leading.changed() => {
                if changed.is_err() || *leading.borrow() != Some(epoch) {
                    break;
                }
            }
            () = settings.shutdown.cancelled() => break,
            one = news.recv() => match one {
                Some(News::Changed(changes)) => {
                    changes.into_iter().for_each(|change| observe(&mut state, &mut tap, change));
                }
                Some(News::Synced(kind)) => {
                    unsynced.remove(kind);
                }
                None => break,
            },
            Ended { key, written, shown } = work.ended() => {
                shown.into_iter().for_each(|change| observe(&mut state, &mut tap, change));
                if let Some(key) = key {
                    written_back(&mut state, &mut tap, &mut work, key, written);
                }
            }
            () = sleep_until(due) => {
                last_pass = Instant::now();
                if steady.was_set() {
                    warn!("the clock was set: nothing starts until it has been compared with the API server's");
                    observe(&mut state, &mut tap, Change::ClockOff(true));
                    compare_again.notify_one();
                }
                let effects = tap.step(&mut state, Input::Pass(Timestamp::now()));
                work.push(effects);
            }
        }
    }
    work.clear();
    let drained = tokio::time::timeout(DRAIN, async {
        while !work.is_idle() {
            drop(work.ended().await)
        }
    })
    .await;
    if drained.is_err() {
        info!("writes were still under way when the leadership ended");
    }
    watches.shutdown().await;
    tap.ends();
    info!(namespace = settings.namespace, epoch, "not leading any more");
}

fn observe(state: &mut State, tap: &mut Tap, change: Change) {
    // Observing has no effects; a pass has.
    drop(tap.step(state, Input::Observed(Box::new(change))));
}

fn written_back(state: &mut State, tap: &mut Tap, work: &mut Work, key: Key, outcome: Written) {
    let effects: Vec<Effect> = tap.step(state, Input::Written { key, now: Timestamp::now(), outcome });
    work.push(effects);
}

/// How long until the next pass is due; `None`: never, by itself.
fn wake_in(state: &State) -> Option<Duration> {
    let now = Timestamp::now();
    if state.wants_pass(now) {
        return Some(Duration::ZERO);
    }
    let wait = state.next()?.duration_since(now);
    // At most an hour: a clock that jumped is noticed.
    Some(wait.unsigned_abs().min(Duration::from_secs(3600)))
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// What must have been seen whole before the first pass: a list of each kind, and the server's clock.
const KINDS: [&str; 16] = [
    clock::CLOCK,
    "fleetmachines",
    "packagebaselines",
    "kernelbaselines",
    "maintenancewindows",
    "windowoverrides",
    "disruptionbudgets",
    "fleetpolicies",
    "packageinventories",
    "packageproposals",
    "baselinerollouts",
    "rolloutapprovals",
    "activities",
    "gitsources",
    "leases",
    "presence",
];

fn watches(
    settings: &Settings,
    writer: &Arc<Writer>,
    news: &mpsc::Sender<News>,
    facts: mpsc::UnboundedSender<Unmirrored>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    macro_rules! kind {
        ($type:ty, $name:literal, $selector:expr, $kind:expr) => {
            let api: Api<DeserializeGuard<$type>> =
                Api::namespaced(settings.client.clone(), &settings.namespace);
            tasks.spawn(watch(api, $selector, reopening($kind), news.clone()));
        };
    }
    kind!(muster_crds::FleetMachine, "fleetmachines", None, machines(writer, facts));
    kind!(
        muster_crds::PackageBaseline,
        "packagebaselines",
        None,
        kept("packagebaselines", writer, read::package_baseline, |name| {
            Key::Baseline(BaselineRef { kind: BaselineKind::PackageBaseline, name })
        })
    );
    kind!(
        muster_crds::KernelBaseline,
        "kernelbaselines",
        None,
        kept("kernelbaselines", writer, read::kernel_baseline, |name| {
            Key::Baseline(BaselineRef { kind: BaselineKind::KernelBaseline, name })
        })
    );
    kind!(
        muster_crds::MaintenanceWindow,
        "maintenancewindows",
        None,
        kept("maintenancewindows", writer, read::window, Key::Window)
    );
    kind!(muster_crds::WindowOverride, "windowoverrides", None, overrides());
    kind!(
        muster_crds::DisruptionBudget,
        "disruptionbudgets",
        None,
        kept("disruptionbudgets", writer, read::budget, Key::Budget)
    );
    kind!(muster_crds::FleetPolicy, "fleetpolicies", None, policies(writer));
    kind!(muster_crds::PackageInventory, "packageinventories", None, inventories(writer));
    kind!(muster_crds::PackageProposal, "packageproposals", None, proposals(writer));
    kind!(muster_crds::BaselineRollout, "baselinerollouts", None, rollouts(writer));
    kind!(
        muster_crds::RolloutApproval,
        "rolloutapprovals",
        None,
        plain("rolloutapprovals", read::approval, read::approval_gone)
    );
    kind!(muster_crds::Activity, "activities", None, plain("activities", read::activity, activity_gone));
    kind!(muster_crds::GitSource, "gitsources", None, plain("gitsources", read::source, source_gone));
    kind!(
        k8s_openapi::api::coordination::v1::Lease,
        "leases",
        None,
        plain("leases", read::lease, read::lease_gone)
    );
    kind!(
        k8s_openapi::api::core::v1::ConfigMap,
        "presence",
        Some("muster.dev/presence=true"),
        plain("presence", read::presence_shard, read::presence_gone)
    );
    tasks
}

/// A kind that is only read.
fn plain<K: 'static>(
    name: &'static str,
    read: fn(K) -> Vec<Change>,
    gone: fn(&str) -> Vec<Change>,
) -> Kind<K> {
    Kind {
        name,
        read: Box::new(read),
        gone: Box::new(move |object, ()| gone(object)),
        unreadable: Box::new(move |object, why| {
            vec![Change::Unreadable(read::place(name, object), Some(why))]
        }),
    }
}

/// What does not parse lets nothing pass, and closes nothing.
fn overrides() -> Kind<muster_crds::WindowOverride> {
    Kind {
        name: "windowoverrides",
        read: Box::new(read::window_override),
        gone: Box::new(|object, ()| read::window_override_gone(object)),
        unreadable: Box::new(|object, why| {
            warn!(window_override = object, why, "the WindowOverride cannot be read");
            read::window_override_gone(object)
        }),
    }
}

/// A kind whose status we write: what was seen is remembered for that.
fn kept<K: 'static>(
    name: &'static str,
    writer: &Arc<Writer>,
    read: fn(K) -> read::Read,
    key: impl Fn(ObjectName) -> Key + Send + Sync + 'static,
) -> Kind<K> {
    let (seen_by, forgotten_by) = (writer.clone(), writer.clone());
    Kind {
        name,
        read: Box::new(move |object| remember(&seen_by, read(object))),
        gone: Box::new(move |object, ()| {
            let Ok(object) = ObjectName::parse(object) else { return Vec::new() };
            let key = key(object);
            forgotten_by.forget(&key);
            gone(key)
        }),
        unreadable: Box::new(move |object, why| {
            vec![Change::Unreadable(read::place(name, object), Some(why))]
        }),
    }
}

fn remember(writer: &Writer, (changes, seen): read::Read) -> Vec<Change> {
    if let Some((key, seen)) = seen {
        writer.see(key, seen);
    }
    changes
}

fn gone(key: Key) -> Vec<Change> {
    match key {
        Key::Baseline(baseline) => {
            let what = read::place(baseline.kind.as_str(), baseline.name.as_str());
            vec![Change::BaselineGone(baseline), Change::Unreadable(what, None)]
        }
        Key::Window(name) => {
            let what = read::place("MaintenanceWindow", name.as_str());
            vec![Change::WindowGone(name), Change::Unreadable(what, None)]
        }
        Key::Budget(name) => {
            let what = read::place("DisruptionBudget", name.as_str());
            vec![Change::BudgetGone(name), Change::Unreadable(what, None)]
        }
        Key::Rollout(baseline) => vec![Change::RolloutGone(baseline)],
        Key::Machine(name) => vec![Change::MachineGone(name)],
        Key::Activity(name) => vec![Change::ActivityGone(name)],
        Key::Approval(name) => read::approval_gone(name.as_str()),
        Key::Policy | Key::Garbage(_) => Vec::new(),
    }
}

fn machines(
    writer: &Arc<Writer>,
    facts: mpsc::UnboundedSender<Unmirrored>,
) -> Kind<muster_crds::FleetMachine> {
    let (seen_by, forgotten_by) = (writer.clone(), writer.clone());
    Kind {
        name: "fleetmachines",
        read: Box::new(move |object| {
            let machine = object.metadata.name.clone().unwrap_or_default();
            let version = object.metadata.resource_version.as_ref().and_then(|version| version.parse().ok());
            let (read, unmirrored) = read::machine(object);
            if let Some(unmirrored) = unmirrored {
                drop(facts.send(Unmirrored { machine, version, facts: unmirrored }));
            }
            remember(&seen_by, read)
        }),
        gone: Box::new(move |object, ()| {
            let Ok(name) = MachineName::parse(object) else { return Vec::new() };
            let key = Key::Machine(name);
            forgotten_by.forget(&key);
            gone(key)
        }),
        // It is not planned for; others are.
        unreadable: Box::new(|object, why| {
            warn!(machine = object, why, "the FleetMachine cannot be read; it is not planned for");
            MachineName::parse(object).map(|name| vec![Change::MachineGone(name)]).unwrap_or_default()
        }),
    }
}

fn policies(writer: &Arc<Writer>) -> Kind<muster_crds::FleetPolicy> {
    let (seen_by, forgotten_by) = (writer.clone(), writer.clone());
    Kind {
        name: "fleetpolicies",
        read: Box::new(move |object| remember(&seen_by, read::policy(object))),
        gone: Box::new(move |object, ()| {
            if object == names::FLEET_POLICY_NAME {
                forgotten_by.forget(&Key::Policy);
                vec![Change::Policy(None), Change::Unreadable(read::place("FleetPolicy", object), None)]
            } else {
                Vec::new()
            }
        }),
        unreadable: Box::new(|object, why| {
            vec![Change::Unreadable(read::place("FleetPolicy", object), Some(why))]
        }),
    }
}

/// Inventories and proposals are named by their digest, which the name holds only in part: the full one is remembered.
fn inventories(writer: &Arc<Writer>) -> Kind<muster_crds::PackageInventory> {
    let names: Arc<std::sync::Mutex<BTreeMap<String, Digest>>> = Arc::default();
    let (seen_by, known) = (writer.clone(), names.clone());
    Kind {
        name: "packageinventories",
        read: Box::new(move |object| {
            if let (Some(name), Ok(digest)) =
                (object.metadata.name.clone(), Digest::parse(&object.spec.digest))
            {
                lock(&known).insert(name, digest);
            }
            remember(&seen_by, read::inventory(object))
        }),
        gone: Box::new(move |object, ()| {
            lock(&names).remove(object).map(Change::InventoryGone).into_iter().collect()
        }),
        unreadable: Box::new(|object, why| {
            warn!(inventory = object, why, "the inventory cannot be read");
            Vec::new()
        }),
    }
}

fn proposals(writer: &Arc<Writer>) -> Kind<muster_crds::PackageProposal> {
    let names: Arc<std::sync::Mutex<BTreeMap<String, ProposalKey>>> = Arc::default();
    let (seen_by, known) = (writer.clone(), names.clone());
    Kind {
        name: "packageproposals",
        read: Box::new(move |object| {
            let name = object.metadata.name.clone();
            let read = read::proposal(object);
            if let (Some(name), Some(Change::Proposal(key, ..))) = (name, read.0.first()) {
                lock(&known).insert(name, key.clone());
            }
            remember(&seen_by, read)
        }),
        gone: Box::new(move |object, ()| {
            lock(&names).remove(object).map(Change::ProposalGone).into_iter().collect()
        }),
        unreadable: Box::new(|object, why| {
            warn!(proposal = object, why, "the proposal cannot be read");
            Vec::new()
        }),
    }
}

fn rollouts(writer: &Arc<Writer>) -> Kind<muster_crds::BaselineRollout> {
    let (seen_by, forgotten_by) = (writer.clone(), writer.clone());
    Kind {
        name: "baselinerollouts",
        read: Box::new(move |object| remember(&seen_by, read::rollout(object))),
        gone: Box::new(move |object, ()| {
            let Some(baseline) = rollout_of(object) else { return Vec::new() };
            let key = Key::Rollout(baseline);
            forgotten_by.forget(&key);
            gone(key)
        }),
        unreadable: Box::new(|object, why| {
            vec![Change::Unreadable(read::place("BaselineRollout", object), Some(why))]
        }),
    }
}

/// The baseline of a rollout, from the rollout's name.
fn rollout_of(name: &str) -> Option<BaselineRef> {
    [BaselineKind::PackageBaseline, BaselineKind::KernelBaseline].into_iter().find_map(|kind| {
        let name = ObjectName::parse(name.strip_prefix(kind.rollout_prefix())?).ok()?;
        Some(BaselineRef { kind, name })
    })
}

fn activity_gone(name: &str) -> Vec<Change> {
    let unreadable = Change::Unreadable(read::place("Activity", name), None);
    muster_model::ActivityName::parse(name)
        .map(|name| vec![Change::ActivityGone(name), unreadable])
        .unwrap_or_default()
}

fn source_gone(name: &str) -> Vec<Change> {
    vec![Change::Source(SmolStr::new(name), None)]
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Mirrors facts as labels, one machine after the other: they change when a machine is enrolled or gets other hardware.
///
/// A machine is seen several times before its labels are; what was seen before our write is older than its answer.
async fn mirror(writer: Arc<Writer>, mut seen: mpsc::UnboundedReceiver<Unmirrored>) {
    let mut written: BTreeMap<String, u64> = BTreeMap::new();
    let mut batch = Vec::new();
    while seen.recv_many(&mut batch, MACHINES_AT_ONCE).await > 0 {
        let latest: BTreeMap<String, Unmirrored> =
            batch.drain(..).map(|one| (one.machine.clone(), one)).collect();
        for (machine, Unmirrored { version, facts, .. }) in latest {
            if written.get(&machine).is_some_and(|written| version.is_some_and(|version| version < *written))
            {
                continue;
            }
            match writer.mirror_facts(&machine, &facts).await {
                Ok(Some(version)) => {
                    written.insert(machine, version);
                }
                Ok(None) => {
                    written.remove(&machine);
                }
                Err(error) => {
                    warn!(machine, error = %Chain(&error), "facts could not be mirrored as labels; the next report tries again");
                }
            }
        }
    }
}

/// A machine whose labels did not mirror its facts when it was seen.
struct Unmirrored {
    machine: String,
    /// The version that was seen, where it is a number.
    version: Option<u64>,
    facts: BTreeMap<String, String>,
}

/// Machines looked at together: the last that was seen of each counts.
const MACHINES_AT_ONCE: usize = 4096;
