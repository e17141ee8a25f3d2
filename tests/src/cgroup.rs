//! A control group for each machine.
//!
//! Without one, every machine's systemd would believe that the host's root group is its own, and `systemctl stop`
//! on one machine would kill the services of its neighbour. With one, the whole machine can also be killed at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::command::signal;

/// The group that all of the suite's groups are in.
const PARENT: &str = "muster-tests";
/// How long the kernel may take to empty a killed group.
const EMPTIED: Duration = Duration::from_secs(20);

/// One machine's control group, in each hierarchy that its systemd uses.
#[derive(Debug)]
pub(crate) struct Cgroup {
    paths: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes the group.
    pub(crate) fn create(run: &str, machine: &str) -> Self {
        let hierarchies = hierarchies(&mounts());
        assert!(!hierarchies.is_empty(), "no cgroup2 is mounted here: systemd-nspawn needs it");
        let paths: Vec<PathBuf> =
            hierarchies.iter().map(|at| at.join(PARENT).join(run).join(machine)).collect();
        for path in &paths {
            fs::create_dir_all(path).unwrap_or_else(|error| {
                panic!(
                    "cannot make the control group {}: {error}; is /sys/fs/cgroup writable?",
                    path.display()
                )
            });
        }
        Self { paths }
    }

    /// The files into which a process writes its id to be in the group.
    pub(crate) fn entrances(&self) -> impl Iterator<Item = PathBuf> {
        self.paths.iter().map(|path| path.join("cgroup.procs"))
    }

    /// Kills everything in the group, and removes it.
    pub(crate) fn destroy(&self) {
        for path in &self.paths {
            empty_and_remove(path);
        }
    }
}

/// Kills and removes all groups of a run that is no more.
pub(crate) fn sweep(run: &str) {
    for hierarchy in hierarchies(&mounts()) {
        let path = hierarchy.join(PARENT).join(run);
        if path.exists() {
            empty_and_remove(&path);
        }
    }
}

fn empty_and_remove(path: &Path) {
    let start = std::time::Instant::now();
    while path.exists() && start.elapsed() < EMPTIED {
        for group in groups_below(path) {
            // Not in every kernel and hierarchy; where it is not, each process gets its signal.
            if fs::write(group.join("cgroup.kill"), "1").is_err() {
                let processes = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
                processes.lines().filter_map(|pid| pid.parse().ok()).for_each(|pid| signal(pid, "KILL"));
            }
        }
        // Deepest last in the list, so removed first. A group with a dying process is busy for a moment.
        let groups = groups_below(path);
        if !groups.iter().rev().all(|group| fs::remove_dir(group).is_ok()) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A group and the groups in it, parents first.
fn groups_below(path: &Path) -> Vec<PathBuf> {
    let mut groups = vec![path.to_owned()];
    let mut next = 0;
    while let Some(group) = groups.get(next) {
        let entries = fs::read_dir(group).into_iter().flatten().filter_map(Result::ok);
        let mut children: Vec<PathBuf> = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect();
        groups.append(&mut children);
        next += 1;
    }
    groups
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted")
}

/// The hierarchies that systemd keeps its services in: the unified one, and on older hosts its own named one.
fn hierarchies(mountinfo: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in mountinfo.lines() {
        let Some((place, kind)) = line.split_once(" - ") else { continue };
        let (Some(mountpoint), Some(fstype)) = (place.split(' ').nth(4), kind.split(' ').next()) else {
            continue;
        };
        let named = fstype == "cgroup" && kind.contains("name=systemd");
        let path = PathBuf::from(mountpoint);
        if (fstype == "cgroup2" || named) && !found.contains(&path) {
            found.push(path);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_hierarchies_of_an_older_host_are_found() {
        let mountinfo = "24 1 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                         25 24 0:23 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                         26 24 0:24 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                         27 24 0:25 / /sys/fs/cgroup/unified rw shared:3 - cgroup2 cgroup2 rw\n";
        let expected = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"].map(PathBuf::from);
        assert_eq!(hierarchies(mountinfo), expected);
    }

    #[test]
    fn a_new_host_has_one() {
        let mountinfo = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(hierarchies(mountinfo), [PathBuf::from("/sys/fs/cgroup")]);
    }
}
