//! Who is heard, published compactly (design §8): see [`muster_crds::presence`] for the format.
//!
//! A machine is present while it confirmed the report on record within [`HEARD_FOR`]; a poll waits less long than that.
//! A machine that is heard but has another report to make is not confirmed, so it goes silent if that report does not
//! get through (rule M1).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Api;
use kube::api::{Patch, PatchParams};
use muster_crds::names;
use muster_crds::presence::{
    LABEL_GATEWAY, LABEL_PRESENCE, PRESENCE_SHARDS, PresenceShard, gateway_lease, presence_config_map,
    presence_shard,
};
use muster_model::MachineName;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::fleet::Fleet;
use crate::gateway::Clock;
use crate::metrics::Metrics;

/// For so long a machine counts as heard: a poll's 50 seconds, and half of that for everything between two polls.
const HEARD_FOR: SignedDuration = SignedDuration::from_secs(75);

/// How often it is looked who has fallen silent.
const SWEEP: Duration = Duration::from_secs(5);

/// A first change is published after so long, so that what comes at once goes together and new machines start fast.
const FIRST_WRITE: Duration = Duration::from_millis(250);

/// While a shard keeps changing, the time between its writes doubles up to this: six writes in ten seconds, then one
/// in ten seconds for as long as it takes.
const SLOWEST_WRITES: Duration = Duration::from_secs(10);

/// After so long without a write a shard's next change is published quickly again.
const QUIET: Duration = Duration::from_secs(60);

/// How often the gateway's Lease is renewed, and for how long it is good.
const LEASE_RENEWAL: Duration = Duration::from_secs(10);
const LEASE_SECONDS: i32 = 30;

/// One gateway's presence in one namespace.
#[derive(Default)]
pub(crate) struct Presence {
    shards: Mutex<[Shard; PRESENCE_SHARDS as usize]>,
    changed: Notify,
    /// Since when this process is up: its Lease and all that it publishes say the same.
    since: OnceLock<Timestamp>,
}

#[derive(Default)]
struct Shard {
    heard: HashMap<MachineName, Timestamp>,
    silent: HashMap<MachineName, Timestamp>,
    dirty: bool,
    /// When it may be written next, and how long after that again.
    next_write: Option<Instant>,
    last_write: Option<Instant>,
    pause: Duration,
}

impl Presence {
    /// A machine is heard and its report on record confirmed.
    pub(crate) fn heard(&self, machine: &MachineName, now: Timestamp) {
        let mut shards = self.lock();
        let shard = &mut shards[usize::from(presence_shard(machine))];
        if let Some(heard) = shard.heard.get_mut(machine) {
            *heard = now;
            return;
        }
        shard.silent.remove(machine);
        shard.heard.insert(machine.clone(), now);
        shard.touch();
        drop(shards);
        self.changed.notify_one();
    }

    /// A machine is none of the fleet's any more.
    pub(crate) fn forget(&self, machine: &MachineName) {
        let mut shards = self.lock();
        let shard = &mut shards[usize::from(presence_shard(machine))];
        if shard.heard.remove(machine).is_some() | shard.silent.remove(machine).is_some() {
            shard.touch();
            drop(shards);
            self.changed.notify_one();
        }
    }

    /// Moves those that have not been heard for long to the silent ones.
    fn sweep(&self, now: Timestamp) {
        for shard in self.lock().iter_mut() {
            // A clock that was set back must not make anybody heard until it has caught up.
            shard.heard.values_mut().for_each(|heard| *heard = (*heard).min(now));
            let lapsed: Vec<_> = shard
                .heard
                .iter()
                .filter(|(_, heard)| now.duration_since(**heard) > HEARD_FOR)
                .map(|(machine, heard)| (machine.clone(), *heard))
                .collect();
            for (machine, heard) in lapsed {
                shard.heard.remove(&machine);
                shard.silent.insert(machine, heard);
                shard.touch();
            }
        }
    }

    /// What is to be written now, by shard.
    fn due(&self, now: Instant) -> Vec<(u8, PresenceShard)> {
        let mut due = Vec::new();
        for (number, shard) in (0..).zip(self.lock().iter_mut()) {
            if shard.dirty && shard.next_write.is_some_and(|at| at <= now) {
                shard.dirty = false;
                shard.next_write = None;
                shard.last_write = Some(now);
                shard.pause = (shard.pause * 2).clamp(FIRST_WRITE, SLOWEST_WRITES);
                let present = shard.heard.keys().cloned().collect();
                let silent = shard.silent.iter().map(|(machine, heard)| (machine.clone(), *heard)).collect();
                due.push((number, PresenceShard { present, silent, since: self.since.get().copied() }));
            }
        }
        due
    }

    fn next_write(&self) -> Option<Instant> {
        self.lock().iter().filter_map(|shard| shard.next_write).min()
    }

    fn retry(&self, number: u8) {
        self.lock()[usize::from(number)].touch();
    }

    fn lock(&self) -> MutexGuard<'_, [Shard; PRESENCE_SHARDS as usize]> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    /// Its set changed: plans the write.
    fn touch(&mut self) {
        self.dirty = true;
        if self.next_write.is_some() {
            return;
        }
        let now = Instant::now();
        let earliest = match self.last_write {
            Some(last) if now.duration_since(last) < QUIET => last + self.pause,
            Some(_) | None => {
                self.pause = Duration::ZERO;
                now
            }
        };
        self.next_write = Some(earliest.max(now + FIRST_WRITE));
    }
}

/// Takes up what the gateway of this id published before it died: who was present then is silent since, until heard.
pub(crate) async fn resume(fleet: &Fleet, id: &str, now: Timestamp) -> Result<(), kube::Error> {
    fleet.presence.since.get_or_init(|| now);
    let lease = fleet.apis.leases.get_opt(&gateway_lease(id)).await?;
    let renewed =
        lease.and_then(|lease| lease.spec).and_then(|spec| spec.renew_time).map_or(now, |time| time.0);
    for number in 0..PRESENCE_SHARDS {
        let Some(object) = fleet.apis.config_maps.get_opt(&presence_config_map(id, number)).await? else {
            continue;
        };
        let before = match PresenceShard::decode(&object.data.unwrap_or_default()) {
            Ok(before) => before,
            Err(error) => {
                tracing::warn!(number, %error, "forgetting what was published of presence");
                continue;
            }
        };
        let mut shards = fleet.presence.lock();
        let shard = &mut shards[usize::from(number)];
        shard.silent =
            before.silent.into_iter().chain(before.present.into_iter().map(|name| (name, renewed))).collect();
        shard.touch();
    }
    Ok(())
}

/// Publishes for as long as the gateway runs.
pub(crate) async fn publish(
    fleet: Arc<Fleet>,
    id: String,
    clock: Clock,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let next = fleet.presence.next_write();
        let write = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = fleet.presence.changed.notified() => continue,
            _ = sweep.tick() => fleet.presence.sweep(clock()),
            () = write => {}
        }
        for (number, shard) in fleet.presence.due(Instant::now()) {
            match write_shard(&fleet.apis.config_maps, &id, number, &shard).await {
                Ok(()) => {
                    metrics.presence_writes.inc();
                }
                Err(error) => {
                    tracing::warn!(
                        number,
                        error = &error as &dyn std::error::Error,
                        "cannot publish presence; trying again"
                    );
                    fleet.presence.retry(number);
                }
            }
        }
    }
}

async fn write_shard(
    api: &Api<ConfigMap>,
    id: &str,
    number: u8,
    shard: &PresenceShard,
) -> Result<(), kube::Error> {
    let name = presence_config_map(id, number);
    let object = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some(
                [(LABEL_PRESENCE.to_owned(), "true".to_owned()), (LABEL_GATEWAY.to_owned(), id.to_owned())]
                    .into(),
            ),
            ..ObjectMeta::default()
        },
        data: Some(shard.encode()),
        ..ConfigMap::default()
    };
    api.patch(&name, &PatchParams::apply(names::MANAGER_GATEWAY).force(), &Patch::Apply(&object))
        .await
        .map(drop)
}

/// Keeps the gateway's Lease alive.
pub(crate) async fn keep_lease(fleet: Arc<Fleet>, id: String, clock: Clock, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LEASE_RENEWAL);
    let since = *fleet.presence.since.get_or_init(|| clock());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = write_lease(&fleet.apis.leases, &id, since, clock()).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot renew the gateway's Lease");
        }
    }
}

async fn write_lease(
    api: &Api<Lease>,
    id: &str,
    since: Timestamp,
    now: Timestamp,
) -> Result<(), kube::Error> {
    let name = gateway_lease(id);
    let object = Lease {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some([(LABEL_GATEWAY.to_owned(), id.to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(id.to_owned()),
            acquire_time: Some(MicroTime(since)),
            renew_time: Some(MicroTime(now)),
            lease_duration_seconds: Some(LEASE_SECONDS),
            ..LeaseSpec::default()
        }),
    };
    api.patch(&name, &PatchParams::apply(names::MANAGER_GATEWAY).force(), &Patch::Apply(&object))
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn published(presence: &Presence, now: Instant) -> (Vec<String>, Vec<String>) {
        let (mut present, mut silent) = (Vec::new(), Vec::new());
        for (_, shard) in presence.due(now) {
            present.extend(shard.present.iter().map(ToString::to_string));
            silent.extend(shard.silent.iter().map(|(name, heard)| format!("{name} {heard}")));
        }
        (present, silent)
    }

    // rule: M1
    #[tokio::test(start_paused = true)]
    async fn a_machine_that_is_not_heard_for_75_seconds_is_published_as_silent_once() {
        let presence = Presence::default();
        let machine = MachineName::parse("web-01").unwrap();
        presence.heard(&machine, at(0));
        assert_eq!(
            published(&presence, Instant::now()),
            (vec![], vec![]),
            "a little later, together with others"
        );
        tokio::time::advance(FIRST_WRITE).await;
        assert_eq!(published(&presence, Instant::now()), (vec!["web-01".to_owned()], vec![]));
        for second in [50, 100, 150] {
            presence.heard(&machine, at(second));
            presence.sweep(at(second + 75));
        }
        assert_eq!(presence.next_write(), None, "nothing changed, nothing is written");
        presence.sweep(at(226));
        tokio::time::advance(SLOWEST_WRITES).await;
        assert_eq!(
            published(&presence, Instant::now()),
            (vec![], vec!["web-01 1970-01-01T00:02:30Z".to_owned()])
        );
        presence.forget(&machine);
        tokio::time::advance(SLOWEST_WRITES).await;
        assert_eq!(
            presence.due(Instant::now()).first().map(|(_, shard)| shard.clone()),
            Some(PresenceShard::default())
        );
    }

    // rule: B2
    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_back_makes_nobody_heard_for_longer() {
        let presence = Presence::default();
        presence.heard(&MachineName::parse("web-01").unwrap(), at(10_000));
        presence.sweep(at(0));
        presence.sweep(at(76));
        tokio::time::advance(SLOWEST_WRITES).await;
        assert_eq!(
            published(&presence, Instant::now()),
            (vec![], vec!["web-01 1970-01-01T00:00:00Z".to_owned()])
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_that_keeps_changing_is_written_ever_less_often() {
        let presence = Presence::default();
        let machine = MachineName::parse("web-01").unwrap();
        let mut writes = 0;
        for tick in 0..400 {
            if tick % 2 == 0 {
                presence.heard(&machine, at(tick))
            } else {
                presence.forget(&machine)
            }
            tokio::time::advance(Duration::from_millis(250)).await;
            writes += presence.due(Instant::now()).len();
        }
        assert!((12..=17).contains(&writes), "{writes} writes in 100 s of constant change");
    }
}
