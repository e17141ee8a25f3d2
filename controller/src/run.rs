//! Leading: the loop around `fleet`, for as long as the lease is ours.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use muster_fleet::{Change, Effect, Input, Key, State, Written};
use tokio::sync::{Notify, mpsc, watch as value};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::kinds::{KINDS, watches};
use crate::lease::{Election, RENEW_EVERY};
use crate::mirror::mirror;
use crate::tap::Tap;
use crate::watch::{Chain, LOOK_EVERY, News};
use crate::work::{Ended, Work};
use crate::write::Writer;
use crate::{ControllerError, Settings, clock, sources};

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
