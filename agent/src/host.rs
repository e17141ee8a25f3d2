//! The machine that the agent runs on: its files, read with limits, and its clocks.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_journal::Moment;

use crate::tools::{SystemTools, Tools};

/// The largest file that is read whole, /proc and package lists' Release files included (a big one is 200 KiB).
const FILE_LIMIT: u64 = 16 << 20;

/// The machine: a root directory and the programs in it. Tests have a root of their own.
#[derive(Clone)]
pub(crate) struct Host {
    root: PathBuf,
    pub(crate) tools: Arc<dyn Tools>,
}

impl Host {
    /// This machine.
    pub(crate) fn system() -> Self {
        Self { root: PathBuf::from("/"), tools: Arc::new(SystemTools) }
    }

    #[cfg(test)]
    pub(crate) fn fake(root: &Path, tools: Arc<dyn Tools>) -> Self {
        Self { root: root.to_owned(), tools }
    }

    /// Where an absolute path is.
    pub(crate) fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// A file's text; `None` where it is missing or cannot be read.
    pub(crate) fn text(&self, absolute: &str) -> Option<String> {
        Some(String::from_utf8_lossy(&self.bytes(&self.path(absolute))?).into_owned())
    }

    /// A file's bytes, at most [`FILE_LIMIT`] of them.
    pub(crate) fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(path).ok()?.take(FILE_LIMIT).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// The names in a directory, sorted; empty where there is none.
    pub(crate) fn names(&self, absolute: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(absolute)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Whether there is such a file or directory.
    pub(crate) fn has(&self, absolute: &str) -> bool {
        self.path(absolute).exists()
    }

    /// Whether systemd runs here (sd_booted(3)).
    pub(crate) fn has_systemd(&self) -> bool {
        self.has("/run/systemd/system")
    }

    /// The present boot's id.
    pub(crate) fn boot_id(&self) -> String {
        self.text("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    }

    /// The running kernel's release.
    pub(crate) fn release(&self) -> String {
        self.text("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
    }

    /// Now. /proc/uptime is CLOCK_BOOTTIME in hundredths of a second, which no one can set.
    pub(crate) fn now(&self) -> Moment {
        let uptime = self.text("/proc/uptime").unwrap_or_default();
        let (seconds, hundredths) =
            uptime.split(' ').next().and_then(|word| word.split_once('.')).unwrap_or(("0", "0"));
        let number = |text: &str| text.parse::<u64>().unwrap_or(0);
        Moment {
            boot: self.boot_id().into(),
            uptime_micros: number(seconds) * 1_000_000 + number(hundredths) * 10_000,
            wall_micros: jiff::Timestamp::now().as_microsecond(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_boot_and_its_clock_runs() {
        let host = Host::system();
        let now = host.now();
        assert_eq!(now.boot.len(), 36);
        assert!(now.uptime_micros > 0 && !host.release().is_empty());
    }
}
