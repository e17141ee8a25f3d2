//! A real Debian machine: its own root, init, boot id, network and package database.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::base::{Base, write};
use crate::cgroup::Cgroup;
use crate::command::{Output, may, run, run_with_input};
use crate::dpkg::{self, DpkgAction};
use crate::files::tail;
use crate::lab::World;
use crate::network::Cable;
use crate::nspawn::{SYSTEM_PATH, Startup, Supervisor, leftovers};
use crate::wait::until;

/// How long a boot or an end may take: half a second alone, some seconds beside a build.
const POWER_PATIENCE: Duration = Duration::from_secs(90);
/// How long a command in a machine may run, before it and the test end: apt's longest here takes seconds.
const COMMAND_SECONDS: &str = "180";
/// Where a machine sees the lab's archive.
pub(crate) const ARCHIVE_IN_MACHINE: &str = "/srv/archive";

/// How a machine is to be.
#[derive(Clone, Debug, Default)]
pub struct MachineOptions {
    /// Its host name: short, lower case.
    pub name: String,
    /// Files that are there before it boots: an absolute path, and what is in it.
    pub files: Vec<(String, String)>,
}

impl MachineOptions {
    /// A machine of that name, with nothing special.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), files: Vec::new() }
    }
}

/// A running (or switched off) Debian machine. Dropping it kills it and takes its disk away.
#[derive(Debug)]
pub struct Machine {
    name: String,
    unique: String,
    folder: PathBuf,
    supervisor: Mutex<Arc<Supervisor>>,
    group: Cgroup,
    cable: Cable,
    // Last, since the lab's network and folder must outlive what is above.
    world: Arc<World>,
}

impl Machine {
    /// Boots a machine from the base and waits until it is up.
    ///
    /// # Panics
    ///
    /// If it does not come up, with the end of its console.
    pub(crate) fn boot(base: &Base, world: &Arc<World>, options: &MachineOptions) -> Self {
        let MachineOptions { name, files } = options;
        let folder = world.folder().join(name);
        let root = make_root(base, &folder);
        let identity =
            fs::read_to_string("/proc/sys/kernel/random/uuid").expect("/proc is mounted").replace('-', "");
        write(&root.join("etc/machine-id"), &identity);
        write(&root.join("etc/hostname"), &format!("{name}\n"));
        write(&root.join("etc/hosts"), &format!("127.0.0.1 localhost\n127.0.1.1 {name}\n"));
        write(
            &root.join("etc/apt/sources.list.d/archive.list"),
            &world.archive().sources(ARCHIVE_IN_MACHINE),
        );
        for (path, contents) in files {
            write(&root.join(path.trim_start_matches('/')), contents);
        }
        fs::create_dir_all(root.join(ARCHIVE_IN_MACHINE.trim_start_matches('/')))
            .expect("the root is writable");

        let unique = format!("{}-{name}", world.bridge().name());
        let group = Cgroup::create(world.run(), name);
        let cable = world.bridge().plug_in(name);
        let supervisor = Supervisor::start(startup(&unique, name, world, &cable, &group, 0), 0);
        let supervisor = Mutex::new(Arc::new(supervisor));
        let machine =
            Self { name: name.clone(), unique, folder, supervisor, group, cable, world: Arc::clone(world) };
        machine.wait_until_boots(1);
        machine
    }

    /// Its host name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address on the lab's network.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.cable.address()
    }

    /// The host's address on the lab's network, where the gateway listens.
    #[must_use]
    pub fn gateway_address(&self) -> Ipv4Addr {
        self.world.bridge().host()
    }

    /// How often it has come up so far.
    #[must_use]
    pub fn boots(&self) -> u32 {
        self.supervisor().power().boots
    }

    /// Whether it is up: booted, and not rebooting or off.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.supervisor().power().up
    }

    /// Waits until it has come up for the `count`-th time, or more often.
    ///
    /// # Panics
    ///
    /// If it does not, with the end of its console.
    #[track_caller]
    pub fn wait_until_boots(&self, count: u32) {
        let seen =
            self.supervisor().wait(POWER_PATIENCE, |power| power.off || (power.up && power.boots >= count));
        let up = seen.is_some_and(|power| !power.off);
        assert!(
            up,
            "{} did not come up for boot {count}; its console:\n{}",
            self.name,
            tail(&self.console())
        );
    }

    /// The kernel's name for this boot.
    #[must_use]
    #[track_caller]
    pub fn boot_id(&self) -> String {
        self.run("cat /proc/sys/kernel/random/boot_id")
    }

    /// Runs a shell script in the machine as root, with the environment of a fresh login, and waits for its end.
    ///
    /// # Panics
    ///
    /// If the machine is not running.
    #[track_caller]
    pub fn exec(&self, script: &str) -> Output {
        run(&mut self.inside(script))
    }

    /// Like [`Machine::exec`], wanting success: what the script printed, without the last newline.
    ///
    /// # Panics
    ///
    /// If it fails, with everything that it said.
    #[track_caller]
    pub fn run(&self, script: &str) -> String {
        self.exec(script).expect_success()
    }

    /// Writes a file in the machine in one step: it is whole or not there. `mode` as for chmod, such as `755`.
    #[track_caller]
    pub fn copy_in(&self, path: &str, contents: &[u8], mode: &str) {
        let script = format!(
            "set -e; mkdir -p \"$(dirname '{path}')\"; cat >'{path}.draft'; chmod {mode} '{path}.draft'; mv '{path}.draft' '{path}'"
        );
        let _: String = run_with_input(&mut self.inside(&script), contents).expect_success();
    }

    /// Waits until a file is there.
    #[track_caller]
    pub fn wait_for_file(&self, path: &str, patience: Duration) {
        until(patience, &format!("{path} on {}", self.name), || {
            self.exec(&format!("test -e '{path}'")).is_success().then_some(())
        });
    }

    /// Takes the power away from everything at once, as a fallen plug would; its disk stays.
    #[track_caller]
    pub fn power_cut(&self) {
        self.end_with("KILL");
    }

    /// Shuts it down in order.
    #[track_caller]
    pub fn shut_down(&self) {
        // SIGRTMIN+4, by which systemd powers off (systemd(1)).
        self.end_with("RTMIN+4");
    }

    /// Switches a machine that is off on again, and waits until it is up.
    #[track_caller]
    pub fn power_on(&self) {
        let power = self.supervisor().power();
        assert!(power.off, "{} is on already", self.name);
        let startup = startup(&self.unique, &self.name, &self.world, &self.cable, &self.group, power.boots);
        let next = Arc::new(Supervisor::start(startup, power.boots));
        *self.supervisor.lock().unwrap_or_else(PoisonError::into_inner) = next;
        self.wait_until_boots(power.boots + 1);
    }

    /// Makes it silent: nothing reaches it and nothing comes from it, while it goes on running.
    pub fn cut_network(&self) {
        self.cable.cut();
    }

    /// Ends [`Machine::cut_network`].
    pub fn restore_network(&self) {
        self.cable.mend();
    }

    /// What is installed of a package, as dpkg says it; `None` if nothing, or if it is not configured.
    #[track_caller]
    pub fn installed(&self, package: &str) -> Option<String> {
        let output = self.exec(&format!("dpkg-query -W -f '${{db:Status-Status}} ${{Version}}' '{package}'"));
        output.stdout.strip_prefix("installed ").map(str::to_owned)
    }

    /// What dpkg ever did on this machine since it was made, in order: an account that no part of the product wrote.
    #[track_caller]
    pub fn dpkg_actions(&self) -> Vec<DpkgAction> {
        dpkg::parse_log(&self.run("touch /var/log/dpkg.log; cat /var/log/dpkg.log"))
    }

    /// Kills a unit's main process by SIGKILL; what the unit's `Restart=` says then happens.
    ///
    /// # Panics
    ///
    /// If there is no such process.
    #[track_caller]
    pub fn kill_unit(&self, unit: &str) {
        self.run(&format!("systemctl kill --signal=KILL --kill-whom=main '{unit}'"));
    }

    /// The last lines that a unit logged.
    #[must_use]
    pub fn journal(&self, unit: &str) -> String {
        match self.inside_if_running(&format!(
            "journalctl --no-pager --quiet --unit='{unit}' --lines=60 --output=short-precise"
        )) {
            Some(mut command) => run(&mut command).stdout,
            None => "(the machine is off)".to_owned(),
        }
    }

    fn console(&self) -> PathBuf {
        self.world.folder().join(format!("{}.console", self.name))
    }

    fn supervisor(&self) -> Arc<Supervisor> {
        Arc::clone(&self.supervisor.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[track_caller]
    fn inside(&self, script: &str) -> Command {
        self.inside_if_running(script).unwrap_or_else(|| panic!("{} is not running", self.name))
    }

    fn inside_if_running(&self, script: &str) -> Option<Command> {
        let leader = self.supervisor().power().leader?.to_string();
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", COMMAND_SECONDS, "nsenter", "--all", "--target", &leader, "--"]);
        command.args(["sh", "-c", script]);
        command.env_clear().env("PATH", SYSTEM_PATH).env("HOME", "/root").env("LANG", "C.UTF-8");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        Some(command)
    }

    #[track_caller]
    fn end_with(&self, signal: &str) {
        let supervisor = self.supervisor();
        supervisor.signal(signal);
        let ended = supervisor.wait(POWER_PATIENCE, |power| power.off).is_some();
        assert!(ended, "{} goes on running after SIG{signal}", self.name);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- console of {}\n{}", self.name, tail(&self.console()));
            eprintln!("--- agent on {}\n{}", self.name, self.journal("muster-agent.service"));
        }
        self.group.destroy();
        let ended = self.supervisor().wait(POWER_PATIENCE, |power| power.off).is_some();
        if !ended {
            eprintln!("{} could not be killed; the next run sweeps it", self.name);
        }
        fs::remove_dir(leftovers(&self.unique)).ok();
        may("umount", &["-l", &self.folder.join("root").to_string_lossy()]);
    }
}

/// An overlay on the base where the file system can do that; else a copy.
fn make_root(base: &Base, folder: &std::path::Path) -> PathBuf {
    let [root, upper, work] = ["root", "upper", "work"].map(|part| folder.join(part));
    for directory in [&root, &upper, &work] {
        fs::create_dir_all(directory)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", directory.display()));
    }
    let layers =
        format!("lowerdir={},upperdir={},workdir={}", base.root().display(), upper.display(), work.display());
    if !may("mount", &["-t", "overlay", "overlay", "-o", &layers, &root.to_string_lossy()]) {
        let from = format!("{}/.", base.root().display());
        crate::command::must("cp", &["-a", "--reflink=auto", &from, &root.to_string_lossy()]);
    }
    root
}

fn startup(unique: &str, name: &str, world: &World, cable: &Cable, group: &Cgroup, boots: u32) -> Startup {
    let arguments = [
        "--quiet".to_owned(),
        "--boot".to_owned(),
        "--register=no".to_owned(),
        "--keep-unit".to_owned(),
        "--notify-ready=yes".to_owned(),
        "--console=pipe".to_owned(),
        "--resolv-conf=off".to_owned(),
        "--timezone=off".to_owned(),
        "--link-journal=no".to_owned(),
        format!("--machine={unique}"),
        format!("--hostname={name}"),
        format!("--directory={}", world.folder().join(name).join("root").display()),
        format!("--network-namespace-path={}", cable.namespace().display()),
        format!("--bind-ro={}:{ARCHIVE_IN_MACHINE}", world.archive().folder().display()),
    ];
    Startup {
        arguments: arguments.into(),
        groups: group.entrances().collect(),
        console: world.folder().join(format!("{name}.console")),
        // A name of its own for each time it is switched on: the one before may still be taking its own away.
        socket: world.sockets().join(format!("{name}-{boots}")),
    }
}
