//! What the gateway keeps of one namespace in memory: only what polls need, never whole objects.
//!
//! It is a projection of watches (`watch`) that may be behind; whatever would do harm if stale is read afresh where it
//! is used (`deliver`, `progress`, `word`).

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use muster_crds::{
    Activity, EnrollmentToken, FleetMachine, FleetPolicy, MaintenanceWindow, PackageInventory,
    PackageProposal, WindowOverride, names, presence,
};
use muster_model::{ActivityName, BootId, Digest, MachineName, Phase, WantedSet};
use tokio::sync::{Notify, watch};

use crate::inventory::KnownInventories;
use crate::presence::Presence;
use crate::refusal::Refusal;

/// An identity that is not known is looked up again after so long, so that a deleted machine's agent costs nothing.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);

/// Of so many unknown identities it is remembered that they are.
const UNKNOWN_LIMIT: usize = 10_000;

/// No epoch is known: nothing is delivered.
const NO_EPOCH: u64 = u64::MAX;

/// The parts of the API that a gateway uses in a namespace.
pub(crate) struct Apis {
    pub(crate) machines: Api<FleetMachine>,
    pub(crate) activities: Api<Activity>,
    pub(crate) tokens: Api<EnrollmentToken>,
    pub(crate) inventories: Api<PackageInventory>,
    pub(crate) proposals: Api<PackageProposal>,
    pub(crate) windows: Api<MaintenanceWindow>,
    pub(crate) overrides: Api<WindowOverride>,
    pub(crate) policies: Api<FleetPolicy>,
    pub(crate) leases: Api<Lease>,
    pub(crate) config_maps: Api<ConfigMap>,
}

impl Apis {
    fn new(client: &Client, namespace: &str) -> Self {
        Self {
            machines: Api::namespaced(client.clone(), namespace),
            activities: Api::namespaced(client.clone(), namespace),
            tokens: Api::namespaced(client.clone(), namespace),
            inventories: Api::namespaced(client.clone(), namespace),
            proposals: Api::namespaced(client.clone(), namespace),
            windows: Api::namespaced(client.clone(), namespace),
            overrides: Api::namespaced(client.clone(), namespace),
            policies: Api::namespaced(client.clone(), namespace),
            leases: Api::namespaced(client.clone(), namespace),
            config_maps: Api::namespaced(client.clone(), namespace),
        }
    }
}

/// The machines of one namespace.
pub(crate) struct Fleet {
    pub(crate) namespace: String,
    pub(crate) apis: Apis,
    pub(crate) presence: Presence,
    pub(crate) inventories: KnownInventories,
    /// Uses of tokens are counted one after the other here, so that machines that enrol together don't collide.
    pub(crate) token_uses: tokio::sync::Mutex<()>,
    state: RwLock<State>,
    epoch: AtomicU64,
    /// How many of the watches have been listed to their end.
    pub(crate) listed: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    by_identity: HashMap<String, Arc<Record>>,
    by_name: HashMap<MachineName, Arc<Record>>,
    /// Apart from the records: an activity may be seen before its machine.
    activities: HashMap<MachineName, Unfinished>,
    wanted: HashMap<Digest, Weak<Wanted>>,
    unknown: HashMap<String, Instant>,
}

/// One machine.
pub(crate) struct Record {
    pub(crate) name: MachineName,
    pub(crate) uid: String,
    pub(crate) identity: String,
    /// Wakes its polls.
    pub(crate) news: Notify,
    /// Its reports are taken one after the other.
    pub(crate) turn: tokio::sync::Mutex<()>,
    seen: Mutex<Seen>,
}

/// What is known of a machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) suspended: bool,
    pub(crate) revoked: bool,
    /// Two machines use the identity.
    pub(crate) quarantined: bool,
    /// The FleetMachine is gone or another one by now.
    pub(crate) gone: bool,
    pub(crate) reported: Option<Reported>,
    pub(crate) wanted: Option<Arc<Wanted>>,
    /// Boots that opened sessions, the last few: see `report`.
    pub(crate) boots: VecDeque<BootId>,
}

/// The report on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reported {
    pub(crate) session: u64,
    pub(crate) sequence: u64,
    pub(crate) digest: Digest,
    pub(crate) inventory: Digest,
    pub(crate) skewed: bool,
}

/// A wanted set; machines that want the same share it.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) set: WantedSet,
    pub(crate) digest: Digest,
}

/// An unfinished activity, as far as polls need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unfinished {
    pub(crate) name: ActivityName,
    pub(crate) uid: String,
    pub(crate) version: String,
    pub(crate) phase: Phase,
    pub(crate) epoch: Option<u64>,
    pub(crate) cancel: bool,
}

impl Record {
    fn new(name: MachineName, uid: String, identity: String) -> Self {
        Self {
            name,
            uid,
            identity,
            news: Notify::new(),
            turn: tokio::sync::Mutex::new(()),
            seen: Mutex::new(Seen::default()),
        }
    }

    /// What is known of it now.
    pub(crate) fn seen(&self) -> Seen {
        self.lock().clone()
    }

    /// Whether it may say and hear anything at all.
    pub(crate) fn admit(&self) -> Result<Seen, Refusal> {
        let seen = self.seen();
        if seen.gone || seen.revoked {
            return Err(Refusal::revoked());
        }
        if seen.quarantined {
            return Err(Refusal::new(
                muster_wire::Reason::DuplicateIdentity,
                "two machines use this identity; delete the FleetMachine and enrol both anew",
            ));
        }
        Ok(seen)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a report on record, unless a newer one is known (rule M4).
    pub(crate) fn note_report(&self, reported: Reported) {
        let mut seen = self.lock();
        let newer =
            |known: &Reported| (known.session, known.sequence) > (reported.session, reported.sequence);
        if !seen.reported.as_ref().is_some_and(newer) {
            seen.reported = Some(reported);
        }
    }
}

impl Fleet {
    pub(crate) fn new(client: &Client, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            apis: Apis::new(client, namespace),
            presence: Presence::default(),
            inventories: KnownInventories::default(),
            token_uses: tokio::sync::Mutex::default(),
            state: RwLock::default(),
            epoch: AtomicU64::new(NO_EPOCH),
            listed: watch::Sender::new(0),
        }
    }

    /// The machine with that identity, if the cache has it.
    pub(crate) fn cached(&self, identity: &str) -> Option<Arc<Record>> {
        self.read().by_identity.get(identity).cloned()
    }

    /// The machine with that identity, asking the API if the cache does not have it (yet).
    pub(crate) async fn find(&self, identity: &str) -> Result<Option<Arc<Record>>, kube::Error> {
        if let Some(record) = self.cached(identity) {
            return Ok(Some(record));
        }
        if self.read().unknown.get(identity).is_some_and(|since| since.elapsed() < UNKNOWN_FOR) {
            return Ok(None);
        }
        let list = self
            .apis
            .machines
            .list(&ListParams::default().fields(&format!("spec.identity={identity}")))
            .await?;
        for machine in list.items {
            self.machine_is(&machine);
        }
        let found = self.cached(identity);
        if found.is_none() {
            let mut state = self.write();
            if state.unknown.len() >= UNKNOWN_LIMIT {
                state.unknown.clear();
            }
            state.unknown.insert(identity.to_owned(), Instant::now());
        }
        Ok(found)
    }

    /// The machine's unfinished activity.
    pub(crate) fn activity(&self, machine: &MachineName) -> Option<Unfinished> {
        self.read().activities.get(machine).cloned()
    }

    /// The controllers' epoch, as last seen.
    pub(crate) fn epoch(&self) -> Option<u64> {
        let epoch = self.epoch.load(Ordering::Acquire);
        (epoch != NO_EPOCH).then_some(epoch)
    }

    /// A FleetMachine is so.
    pub(crate) fn machine_is(&self, machine: &FleetMachine) {
        let name = machine.name_any();
        let (Ok(name), Some(identity), Some(uid)) =
            (MachineName::parse(&name), machine.spec.identity.as_ref(), machine.metadata.uid.as_ref())
        else {
            return;
        };
        let record = self.record(&name, uid, identity);
        let status = machine.status.as_ref();
        let wanted = status
            .and_then(|status| status.decision.as_ref())
            .and_then(|decision| wanted(&name, &decision.wanted));
        let wanted = wanted.map(|set| self.intern(set));
        if let Some(reported) = status.and_then(|status| status.reported.as_ref()).and_then(reported) {
            record.note_report(reported);
        }
        let mut seen = record.lock();
        seen.suspended = machine.spec.suspend;
        seen.revoked = machine.spec.revoked || machine.metadata.deletion_timestamp.is_some();
        seen.quarantined = status.is_some_and(|status| {
            status.conditions.iter().any(|condition| {
                condition.type_ == names::reason::DUPLICATE_IDENTITY && condition.status == "True"
            })
        });
        if wanted.is_some() {
            seen.wanted = wanted;
        }
        drop(seen);
        record.news.notify_waiters();
    }

    fn record(&self, name: &MachineName, uid: &str, identity: &str) -> Arc<Record> {
        let same = |record: &Arc<Record>| record.uid == uid && record.identity == identity;
        if let Some(record) = self.read().by_name.get(name).filter(|record| same(record)) {
            return record.clone();
        }
        let mut state = self.write();
        if let Some(record) = state.by_name.get(name).filter(|record| same(record)) {
            return record.clone();
        }
        let record = Arc::new(Record::new(name.clone(), uid.to_owned(), identity.to_owned()));
        if let Some(old) = state.by_name.insert(name.clone(), record.clone()) {
            end(&old);
            state.by_identity.remove(&old.identity);
        }
        state.unknown.remove(identity);
        state.by_identity.insert(identity.to_owned(), record.clone());
        record
    }

    /// A FleetMachine is gone.
    pub(crate) fn machine_gone(&self, name: &str) {
        let mut state = self.write();
        if let Some(old) = state.by_name.remove(name) {
            state.by_identity.remove(&old.identity);
            end(&old);
            self.presence.forget(&old.name);
        }
    }

    /// These are all the FleetMachines.
    pub(crate) fn machines_are(&self, names: &HashSet<String>) {
        let gone: Vec<_> =
            self.read().by_name.keys().filter(|name| !names.contains(name.as_str())).cloned().collect();
        for name in gone {
            self.machine_gone(name.as_str());
        }
    }

    /// An activity is so.
    pub(crate) fn activity_is(&self, activity: &Activity) {
        let Ok(name) = ActivityName::parse(&activity.name_any()) else { return };
        let phase = activity.status.as_ref().and_then(|status| status.phase).unwrap_or(Phase::Pending);
        if phase.is_finished() {
            self.activity_gone(&activity.name_any());
            return;
        }
        let epoch = activity.labels().get(names::LABEL_EPOCH).and_then(|epoch| epoch.parse().ok());
        let unfinished = Unfinished {
            uid: activity.uid().unwrap_or_default(),
            version: activity.resource_version().unwrap_or_default(),
            phase,
            epoch,
            cancel: activity.spec.cancel,
            name: name.clone(),
        };
        let mut state = self.write();
        // Should there be two, which rule A1 excludes, the newer one is the machine's.
        if state.activities.get(&name.machine).is_none_or(|known| known.name.number <= name.number) {
            state.activities.insert(name.machine.clone(), unfinished);
        }
        notify(&state, &name.machine);
    }

    /// An activity is finished or gone.
    pub(crate) fn activity_gone(&self, name: &str) {
        let Ok(name) = ActivityName::parse(name) else { return };
        let mut state = self.write();
        if state.activities.get(&name.machine).is_some_and(|known| known.name == name) {
            state.activities.remove(&name.machine);
            notify(&state, &name.machine);
        }
    }

    /// These are all the unfinished activities.
    pub(crate) fn activities_are(&self, names: &HashSet<String>) {
        let known: Vec<_> =
            self.read().activities.values().map(|activity| activity.name.to_string()).collect();
        for name in known.into_iter().filter(|name| !names.contains(name)) {
            self.activity_gone(&name);
        }
    }

    /// The controllers' Lease is so, or gone.
    pub(crate) fn lease_is(&self, lease: Option<&Lease>) {
        let epoch = lease.map_or(NO_EPOCH, epoch_of);
        if self.epoch.swap(epoch, Ordering::AcqRel) != epoch {
            let state = self.read();
            for machine in state.activities.keys() {
                notify(&state, machine);
            }
        }
    }

    fn intern(&self, set: WantedSet) -> Arc<Wanted> {
        let digest = set.digest();
        let mut state = self.write();
        if let Some(wanted) = state.wanted.get(&digest).and_then(Weak::upgrade) {
            return wanted;
        }
        if state.wanted.len() > 2 * state.by_name.len() {
            state.wanted.retain(|_, wanted| wanted.strong_count() > 0);
        }
        let wanted = Arc::new(Wanted { set, digest: digest.clone() });
        state.wanted.insert(digest, Arc::downgrade(&wanted));
        wanted
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The watched Lease's name.
    pub(crate) fn lease_name() -> &'static str {
        presence::CONTROLLER_LEASE
    }
}

/// The epoch that a Lease stands for.
pub(crate) fn epoch_of(lease: &Lease) -> u64 {
    let transitions = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0);
    u64::try_from(transitions).unwrap_or(0)
}

fn notify(state: &State, machine: &MachineName) {
    if let Some(record) = state.by_name.get(machine) {
        record.news.notify_waiters();
    }
}

fn end(record: &Record) {
    record.lock().gone = true;
    record.news.notify_waiters();
}

/// What of a report on record the gateway needs; `None` if something else wrote it.
pub(crate) fn reported(status: &muster_crds::ReportedStatus) -> Option<Reported> {
    Some(Reported {
        session: status.session,
        sequence: status.sequence,
        digest: Digest::parse(&status.digest).ok()?,
        inventory: Digest::parse(&status.inventory).ok()?,
        skewed: status.clock_skew_seconds.is_some(),
    })
}

fn wanted(machine: &MachineName, status: &muster_crds::WantedStatus) -> Option<WantedSet> {
    status.digest.as_ref()?;
    match status.to_model() {
        Ok(set) => Some(set),
        Err(errors) => {
            let error = errors.first().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(%machine, error, "the wanted set cannot be read; the machine keeps the one that it has");
            None
        }
    }
}
