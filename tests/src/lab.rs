//! The world of one test, and what becomes of the world of a test that was killed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once};

use crate::archive::Archive;
use crate::base::Base;
use crate::command::may;
use crate::files::Desired;
use crate::machine::{Machine, MachineOptions};
use crate::muster::{Muster, MusterOptions};
use crate::network::{self, Bridge};
use crate::{cgroup, paths};

/// A world of its own for one test: a network, an archive, machines. Several can be there at a time.
///
/// What comes out of it keeps the world alive, so the order of dropping doesn't matter.
#[derive(Debug)]
pub struct Lab {
    world: Arc<World>,
}

impl Lab {
    /// Makes the base if it is missing, sweeps what killed suites left, and makes an empty world.
    ///
    /// # Panics
    ///
    /// Where this host cannot: not root, no control groups, no bridges. The message says which.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a lab is expensive; nobody should get one by default")]
    pub fn new() -> Self {
        static SWEPT: Once = Once::new();
        Base::ensure();
        SWEPT.call_once(sweep);
        Self { world: Arc::new(World::create()) }
    }

    /// The packages that this world's machines are offered.
    #[must_use]
    pub fn archive(&self) -> &Archive {
        self.world.archive()
    }

    /// Boots a machine and waits until it is up.
    #[must_use]
    pub fn machine(&self, name: &str) -> Machine {
        self.machine_with(&MachineOptions::named(name))
    }

    /// Boots a machine with files of its own and waits until it is up.
    #[must_use]
    pub fn machine_with(&self, options: &MachineOptions) -> Machine {
        Machine::boot(Base::ensure(), &self.world, options)
    }

    /// Boots several machines at the same time.
    #[must_use]
    pub fn machines<const N: usize>(&self, names: [&str; N]) -> [Machine; N] {
        std::thread::scope(|scope| {
            names.map(|name| scope.spawn(move || self.machine(name))).map(|boot| match boot.join() {
                Ok(machine) => machine,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    }

    /// A folder of desired state in this world, empty at first.
    #[must_use]
    pub fn desired(&self) -> Desired {
        Desired::at(&self.world.folder().join("desired"))
    }

    /// A folder of this world for whatever a test keeps.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.world.folder()
    }

    /// Starts `muster up` on a folder or URL, its gateway on this world's network.
    #[must_use]
    #[track_caller]
    pub fn muster(&self, source: &str) -> Muster {
        self.muster_with(MusterOptions::of(source))
    }

    /// Starts `muster up` with more to say.
    #[must_use]
    #[track_caller]
    pub fn muster_with(&self, options: MusterOptions) -> Muster {
        Muster::start(Arc::clone(&self.world), options)
    }
}

/// What the things of one lab share.
#[derive(Debug)]
pub(crate) struct World {
    run: String,
    folder: PathBuf,
    sockets: PathBuf,
    archive: Archive,
    bridge: Bridge,
    /// Locked for as long as this process lives: how another suite knows that the run is not a dead one's.
    _lock: File,
}

impl World {
    fn create() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let run = format!("run-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = paths::machines().join(&run);
        // Locked before it has its name, so that no other suite sees it without its lock.
        let draft = paths::machines().join(format!("draft-{run}"));
        let locked = fs::create_dir_all(&draft)
            .and_then(|()| File::create(draft.join("lock")))
            .and_then(|lock| lock.try_lock().map(|()| lock).map_err(Into::into))
            .and_then(|lock| fs::rename(&draft, &folder).map(|()| lock));
        let lock = locked.unwrap_or_else(|error| panic!("cannot make {}: {error}", folder.display()));

        let bridge = Bridge::create();
        fs::write(folder.join("bridge"), bridge.name()).expect("the folder was just made");
        let sockets = sockets_of(&run);
        fs::create_dir_all(&sockets)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", sockets.display()));
        let archive = Archive::create(&folder.join("archive"), Base::ensure().codename());
        Self { run, folder, sockets, archive, bridge, _lock: lock }
    }

    pub(crate) fn run(&self) -> &str {
        &self.run
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn sockets(&self) -> &Path {
        &self.sockets
    }

    pub(crate) fn archive(&self) -> &Archive {
        &self.archive
    }

    pub(crate) fn bridge(&self) -> &Bridge {
        &self.bridge
    }
}

impl Drop for World {
    fn drop(&mut self) {
        cgroup::sweep(&self.run);
        remove(&self.run, &self.folder);
    }
}

/// Short, since the kernel allows 107 bytes for a socket's path; a checkout's own path may be longer.
fn sockets_of(run: &str) -> PathBuf {
    Path::new("/run/muster-tests").join(run)
}

/// Takes away the runs whose suite is gone.
fn sweep() {
    let entries = fs::read_dir(paths::machines()).into_iter().flatten().filter_map(Result::ok);
    for folder in entries.map(|entry| entry.path()) {
        let Some(run) = folder.file_name().and_then(|name| name.to_str()) else { continue };
        if !run.starts_with("run-") || !is_dead(&folder) {
            continue;
        }
        cgroup::sweep(run);
        if let Ok(bridge) = fs::read_to_string(folder.join("bridge")) {
            network::sweep(&bridge);
        }
        remove(run, &folder);
    }
}

/// A run is dead if nobody holds its lock.
fn is_dead(folder: &Path) -> bool {
    File::open(folder.join("lock")).is_ok_and(|lock| lock.try_lock().is_ok())
}

/// Unmounts what is mounted below a run's folder, and removes it.
fn remove(run: &str, folder: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for mountpoint in mounts.lines().filter_map(|line| line.split(' ').nth(4)) {
        if Path::new(mountpoint).starts_with(folder) {
            may("umount", &["-l", mountpoint]);
        }
    }
    may("rm", &["-rf", "--one-file-system", &folder.to_string_lossy(), &sockets_of(run).to_string_lossy()]);
}
