//! Fake machines: each enrols, reports, simulates and carries out activities through the real protocol over TLS, with
//! its own key, certificate and journal; only apt and the reboot are make-believe ([`apt`](self), `disk`).
//!
//! Machine `n` is `sim-<n>` with five digits. Its labels follow from its number ([`labels_of`]). All begin as the same
//! recorded Debian 12 server, so they share inventories and proposals as a real fleet of one image does. What a machine
//! has become is in one file under the state directory, and goes on from there after a restart.
//!
//! Whoever starts many of them raises the soft limit of open files first (`RLIMIT_NOFILE`); see [`MACHINES_LIMIT`].

mod apt;
mod disk;
mod loader;
mod machine;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use muster_model::Digest;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use apt::Archive;

/// So many fake machines run in one process at most.
///
/// Each may hold two connections to a gateway at one address, and Linux has 28,232 ports for those
/// (`net.ipv4.ip_local_port_range`), of which some wait to be used again; both ends of each connection are files of this
/// process when the gateway is in it (36,000 of them); and each machine costs some 100 KiB at both ends together.
pub const MACHINES_LIMIT: u32 = 9_000;

/// So many machines enrol at once: a handshake and two signatures each, on few cores.
const ENROL_AT_ONCE: usize = 16;

/// How a fake fleet is started.
#[derive(Clone)]
pub struct Options {
    /// How many machines, at most [`MACHINES_LIMIT`].
    pub count: u32,
    /// For boot ids and jitter.
    pub seed: u64,
    /// How long a step takes: a transaction, a reboot.
    pub step: Duration,
    /// The gateway, `host:port`.
    pub gateway: String,
    /// SHA-256 of the fleet's root.
    pub root: Digest,
    /// The enrolment token for machine `n`; asked for only when it enrols.
    pub token: Arc<dyn Fn(u32) -> String + Send + Sync>,
    /// Where the machines' files are.
    pub state_dir: PathBuf,
}

/// Why a fake fleet does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Too many.
    #[error(
        "{count} fake machines are more than {MACHINES_LIMIT}, for which one process has ports and files enough; start fewer"
    )]
    TooMany {
        /// How many were asked for.
        count: u32,
    },
    /// The state directory cannot be made.
    #[error("cannot make the directory {path} for the fake machines' state")]
    Directory {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
}

/// What all machines share.
struct Shared {
    options: Options,
    archive: Archive,
    enrolling: Semaphore,
    enrolled: AtomicUsize,
}

/// A fleet of fake machines; it ends when dropped.
pub struct FakeFleet {
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// The name of machine `n`, which is also its host name.
#[must_use]
pub fn name_of(n: u32) -> String {
    format!("sim-{n:05}")
}

/// The labels of machine `n`: of each ten, six have role `web`, two `db`, two `worker`; each twentieth is in ring
/// `canary`, the others in `main`; zones `a`, `b`, `c` by turns.
#[must_use]
pub fn labels_of(n: u32) -> BTreeMap<String, String> {
    let role = match n % 10 {
        0..=5 => "web",
        6 | 7 => "db",
        _ => "worker",
    };
    let ring = if n.is_multiple_of(20) { "canary" } else { "main" };
    let zone = ["a", "b", "c"][(n % 3) as usize];
    [("role", role), ("ring", ring), ("zone", zone)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

impl FakeFleet {
    /// Starts the machines; they enrol by themselves.
    ///
    /// # Errors
    /// When there are too many, or their directory cannot be made.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let count = options.count;
        if count > MACHINES_LIMIT {
            return Err(StartError::TooMany { count });
        }
        std::fs::create_dir_all(&options.state_dir)
            .map_err(|source| StartError::Directory { path: options.state_dir.clone(), source })?;
        let shared = Arc::new(Shared {
            options,
            archive: Archive::recorded(),
            enrolling: Semaphore::new(ENROL_AT_ONCE),
            enrolled: AtomicUsize::new(0),
        });
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for n in 0..count {
            let (shared, stop) = (shared.clone(), stop.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = machine::run(shared, n) => {}
                }
            });
        }
        Ok(Self { shared, stop, tasks })
    }

    /// How many have enrolled, now or in an earlier life.
    #[must_use]
    pub fn enrolled(&self) -> usize {
        self.shared.enrolled.load(Ordering::Relaxed)
    }

    /// Ends them where they stand, as a power cut would: they go on from their files.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_follow_from_the_number_alone() {
        assert_eq!(name_of(7), "sim-00007");
        let count = |key: &str, value: &str| (0..600).filter(|n| labels_of(*n)[key] == value).count();
        assert_eq!((count("role", "web"), count("role", "db"), count("role", "worker")), (360, 120, 120));
        assert_eq!((count("ring", "canary"), count("zone", "a")), (30, 200));
    }
}
