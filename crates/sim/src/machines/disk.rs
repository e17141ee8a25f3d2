//! What a fake machine has on its disk: one JSON file, replaced as a whole, so that it can be stopped anywhere.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use muster_journal::{Journal, Moment};
use muster_model::{Digest, WantedSet};
use muster_wire::{EnrollResponse, pki};
use serde::{Deserialize, Serialize};

use super::apt::Dpkg;
use super::loader::{Entry, Loader};

/// The whole of it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Disk {
    pub(super) key: String,
    pub(super) enrolled: Option<Enrolled>,
    pub(super) session: u64,
    pub(super) sequence: u64,
    /// How often it booted: the boot's id is made from it.
    pub(super) boots: u64,
    pub(super) booted: Timestamp,
    pub(super) release: String,
    /// The running kernel's command line.
    #[serde(default = "command_line")]
    pub(super) line: String,
    #[serde(default)]
    pub(super) loader: Loader,
    /// Since when another kernel than the running one would boot.
    pub(super) reboot_since: Option<Timestamp>,
    pub(super) dpkg: Dpkg,
    pub(super) wanted: WantedSet,
    /// The proposal that was sent last.
    pub(super) proposed: Option<Digest>,
    /// When the transaction or reboot that is under way ends.
    pub(super) busy_until: Option<Timestamp>,
    pub(super) journal: Journal,
}

/// What enrolment gave.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Enrolled {
    pub(super) name: String,
    pub(super) certificate: String,
    pub(super) renew: Timestamp,
}

impl Enrolled {
    pub(super) fn new(response: &EnrollResponse, now: Timestamp) -> Self {
        let seconds = i64::try_from(response.renew_after_seconds).unwrap_or(i64::MAX / 2);
        let renew = now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
        Self { name: response.name.clone(), certificate: response.certificate.clone(), renew }
    }
}

/// What a fresh installation boots with.
fn command_line() -> String {
    "root=/dev/vda1 ro quiet".to_owned()
}

impl Disk {
    /// The kernel that runs.
    pub(super) fn running(&self) -> Entry {
        Entry { release: self.release.clone(), line: self.line.clone() }
    }

    /// Reads a machine's disk, or makes a new one. A file that cannot be read is a machine that has to be set up anew.
    pub(super) fn load(path: &Path, seed: u64, n: u32) -> io::Result<Self> {
        let now = Timestamp::now();
        let disk = match std::fs::read(path) {
            Ok(text) => serde_json::from_slice::<Self>(&text).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let Some(mut disk) = disk else {
            return Ok(Self {
                key: pki::new_key().map_err(io::Error::other)?,
                enrolled: None,
                session: 0,
                sequence: 0,
                boots: 1,
                booted: now,
                release: "6.1.0-50-cloud-amd64".to_owned(),
                line: command_line(),
                loader: Loader::default(),
                reboot_since: None,
                dpkg: Dpkg::default(),
                wanted: WantedSet::default(),
                proposed: None,
                busy_until: None,
                journal: Journal::default(),
            });
        };
        let moment = disk.moment(seed, n);
        disk.journal = Journal::resume(&disk.journal.to_bytes(), &moment).map_err(io::Error::other)?;
        Ok(disk)
    }

    /// Replaces the file; a crash leaves the old one or the new one.
    pub(super) fn save(&self, path: &Path) -> io::Result<()> {
        let next: PathBuf = path.with_extension("next");
        std::fs::write(&next, serde_json::to_vec(self)?)?;
        std::fs::rename(next, path)
    }

    /// The present boot's id: never the same for two boots or two machines.
    pub(super) fn boot_id(&self, seed: u64, n: u32) -> String {
        let hex = Digest::of(format!("{seed} {n} {}", self.boots).as_bytes()).hex().to_owned();
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32])
    }

    /// Now, by the machine's boot clock.
    pub(super) fn moment(&self, seed: u64, n: u32) -> Moment {
        let now = Timestamp::now();
        let uptime = now.as_microsecond().saturating_sub(self.booted.as_microsecond());
        Moment {
            boot: self.boot_id(seed, n).into(),
            uptime_micros: u64::try_from(uptime).unwrap_or(0),
            wall_micros: now.as_microsecond(),
        }
    }
}
