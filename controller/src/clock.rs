//! The API server's clock beside ours (rule A3): a controller whose clock is off starts nothing.
//!
//! A dry-run creation answers with the server's time and writes nothing.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use muster_fleet::Change;
use tokio::sync::{Notify, mpsc};
use tracing::warn;

use crate::watch::{Chain, News};

/// The name under which the loop hears of it.
pub(crate) const CLOCK: &str = "clock";

/// How far apart the clocks may be.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(30);

/// How often they are compared: clocks drift slowly, and a step is noticed at once (see [`Steady`]).
const LOOK_EVERY: Duration = Duration::from_secs(300);

/// How soon after a failure.
const RETRY: Duration = Duration::from_secs(2);

/// Tells when the machine's clock was set: by a clock that nobody can set.
pub(crate) struct Steady {
    wall: Timestamp,
    mono: std::time::Instant,
}

impl Steady {
    pub(crate) fn new() -> Self {
        Self { wall: Timestamp::now(), mono: std::time::Instant::now() }
    }

    /// Whether it was set since the last question, by more than may be. Drift is for the comparison.
    pub(crate) fn was_set(&mut self) -> bool {
        let now = Self::new();
        let passed =
            SignedDuration::try_from(now.mono.duration_since(self.mono)).unwrap_or(SignedDuration::MAX);
        let shown = now.wall.duration_since(self.wall);
        *self = now;
        is_set(passed, shown)
    }
}

/// Whether the clock shows that another time passed than did.
fn is_set(passed: SignedDuration, shown: SignedDuration) -> bool {
    shown.checked_sub(passed).is_none_or(|step| step.abs() > TOLERANCE)
}

/// Compares the clocks until the receiver is gone, now and then and whenever `again` says so. Nothing starts before the
/// first comparison.
pub(crate) async fn compare(client: Client, namespace: String, news: mpsc::Sender<News>, again: Arc<Notify>) {
    let leases: Api<Lease> = Api::namespaced(client, &namespace);
    let probe = Lease {
        metadata: ObjectMeta { generate_name: Some("muster-clock-".to_owned()), ..ObjectMeta::default() },
        spec: None,
    };
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    loop {
        let before = Timestamp::now();
        let answer = leases.create(&parameters, &probe).await;
        let after = Timestamp::now();
        let server = match answer {
            Ok(made) => made.metadata.creation_timestamp.map(|time| time.0),
            Err(error) => {
                warn!(error = %Chain(&error), "cannot compare clocks with the API server; nothing starts until then");
                None
            }
        };
        let Some(server) = server else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        let off = is_off(before, server, after);
        if off {
            warn!(%server, controller = %after, "the controller's clock is off by more than 30 s; nothing starts");
        }
        for one in [News::Changed(vec![Change::ClockOff(off)]), News::Synced(CLOCK)] {
            if news.send(one).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = again.notified() => {}
        }
    }
}

/// Whether the server's time, in whole seconds, cannot have been within the tolerance between the two of ours.
fn is_off(before: Timestamp, server: Timestamp, after: Timestamp) -> bool {
    server + SignedDuration::from_secs(1) + TOLERANCE < before || server > after + TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    // rule: A3
    #[test]
    fn a_clock_that_is_set_is_noticed_before_the_next_pass() {
        let seconds = SignedDuration::from_secs;
        assert!(!is_set(seconds(3600), seconds(3601)), "an hour passed, and the clock says so");
        assert!(is_set(seconds(1), seconds(3600)), "an hour ahead");
        assert!(is_set(seconds(1), seconds(-3600)), "an hour back");
        assert!(!Steady::new().was_set());
    }

    // rule: A3
    #[test]
    fn a_clock_that_is_half_a_minute_off_is_noticed_and_a_slow_answer_is_not() {
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        assert!(!is_off(at(0), at(0), at(0)));
        assert!(!is_off(at(0), at(-31), at(0)), "the server's second may have just begun");
        assert!(is_off(at(0), at(-32), at(0)));
        assert!(!is_off(at(0), at(30), at(0)));
        assert!(is_off(at(0), at(31), at(0)));
        assert!(!is_off(at(0), at(40), at(60)), "the answer took a minute");
    }
}
