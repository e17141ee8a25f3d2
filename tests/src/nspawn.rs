//! One machine's power: the supervisor that keeps systemd-nspawn running, and what it heard from it.
//!
//! systemd-nspawn ends with 133 when its machine reboots; the supervisor starts it again, which is a boot with a
//! boot id of its own. That the machine is up, and the process id of its init, come by systemd's notification
//! protocol (sd_notify(3)), so nobody polls.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::command::signal;

/// How systemd-nspawn says that its machine rebooted: EXIT_FORCE_RESTART of systemd.
const REBOOTED: i32 = 133;
/// The datagram that ends the listener.
const HANG_UP: &[u8] = b"MUSTER_TESTS_HANG_UP=1";
/// The longest notification: systemd's own limit.
const LONGEST_NOTIFICATION: usize = 4096;

/// Puts itself into the control groups named before `--`, then becomes the command after it.
const ENTER_GROUPS: &str =
    r#"while [ "$1" != -- ]; do echo $$ >"$1" || exit 97; shift; done; shift; exec "$@""#;

/// How to start a machine's systemd-nspawn; the same at each boot.
#[derive(Debug)]
pub(crate) struct Startup {
    /// Arguments of systemd-nspawn.
    pub(crate) arguments: Vec<String>,
    /// `cgroup.procs` files of the machine's control groups.
    pub(crate) groups: Vec<PathBuf>,
    /// Where the console's words go, one boot after the other.
    pub(crate) console: PathBuf,
    /// The socket that notifications come to. A short path: the kernel allows 107 bytes.
    pub(crate) socket: PathBuf,
}

/// What is known of a machine's power.
#[derive(Clone, Debug, Default)]
pub(crate) struct Power {
    /// How often it came up, the first boot included.
    pub(crate) boots: u32,
    /// Its init, as the host numbers processes; absent while it is off or between boots.
    pub(crate) leader: Option<u32>,
    /// It came up, and has not gone down since.
    pub(crate) up: bool,
    /// Nothing runs and nothing will, until it is switched on.
    pub(crate) off: bool,
}

/// Keeps one machine running.
#[derive(Debug)]
pub(crate) struct Supervisor {
    power: Arc<(Mutex<Power>, Condvar)>,
    keeper: Option<JoinHandle<()>>,
    listener: Option<JoinHandle<()>>,
    socket: PathBuf,
}

impl Supervisor {
    /// Switches the machine on, and keeps it on through its reboots.
    pub(crate) fn start(startup: Startup, earlier_boots: u32) -> Self {
        fs::remove_file(&startup.socket).ok();
        let notifications = UnixDatagram::bind(&startup.socket)
            .unwrap_or_else(|error| panic!("cannot bind {}: {error}", startup.socket.display()));
        let power =
            Arc::new((Mutex::new(Power { boots: earlier_boots, ..Power::default() }), Condvar::new()));
        let socket = startup.socket.clone();
        let heard = Arc::clone(&power);
        let listener = std::thread::spawn(move || listen(&notifications, &heard));
        let kept = Arc::clone(&power);
        let keeper = std::thread::spawn(move || keep(&startup, &kept));
        Self { power, keeper: Some(keeper), listener: Some(listener), socket }
    }

    /// What is known now.
    pub(crate) fn power(&self) -> Power {
        lock(&self.power.0).clone()
    }

    /// Waits until what is known satisfies `wanted`; `None` if that is not so within `patience`.
    pub(crate) fn wait(&self, patience: Duration, wanted: impl Fn(&Power) -> bool) -> Option<Power> {
        let (known, changed) = &*self.power;
        let (seen, _) = changed
            .wait_timeout_while(lock(known), patience, |power| !wanted(power))
            .unwrap_or_else(PoisonError::into_inner);
        wanted(&seen).then(|| seen.clone())
    }

    /// Sends a signal to the machine's init, if there is one.
    pub(crate) fn signal(&self, name: &str) {
        if let Some(leader) = self.power().leader {
            signal(leader, name);
        }
    }
}

impl Drop for Supervisor {
    /// Whoever drops it has killed the machine; this waits for both threads to notice.
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.join().ok();
        }
        if let (Some(listener), Ok(socket)) = (self.listener.take(), UnixDatagram::unbound())
            && socket.send_to(HANG_UP, &self.socket).is_ok()
        {
            listener.join().ok();
        }
        fs::remove_file(&self.socket).ok();
    }
}

fn lock(power: &Mutex<Power>) -> MutexGuard<'_, Power> {
    // A thread that panicked with the lock held left a value that is still whole.
    power.lock().unwrap_or_else(PoisonError::into_inner)
}

fn change(power: &(Mutex<Power>, Condvar), edit: impl FnOnce(&mut Power)) {
    edit(&mut lock(&power.0));
    power.1.notify_all();
}

/// Starts systemd-nspawn again for as long as it ends because its machine rebooted.
///
/// `setpriv` has the kernel kill it when this thread ends, so that a killed suite leaves no machine running.
fn keep(startup: &Startup, power: &(Mutex<Power>, Condvar)) {
    loop {
        let status = spawn(startup).and_then(|mut child| child.wait());
        let again = status.as_ref().is_ok_and(|status| status.code() == Some(REBOOTED));
        change(power, |power| {
            power.leader = None;
            power.up = false;
            power.off = !again;
        });
        if !again {
            return;
        }
    }
}

fn spawn(startup: &Startup) -> std::io::Result<std::process::Child> {
    let console = fs::File::options().create(true).append(true).open(&startup.console)?;
    let mut command = Command::new("sh");
    command.args(["-c", ENTER_GROUPS, "sh"]).args(&startup.groups).arg("--");
    command.args(["setpriv", "--pdeathsig", "KILL", "systemd-nspawn"]).args(&startup.arguments);
    command.env_clear().env("PATH", SYSTEM_PATH).env("NOTIFY_SOCKET", &startup.socket);
    command.stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console);
    command.spawn()
}

/// Where a Debian's programs are, on the host as in the machines.
pub(crate) const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn listen(notifications: &UnixDatagram, power: &(Mutex<Power>, Condvar)) {
    let mut buffer = [0; LONGEST_NOTIFICATION];
    while let Ok(length) = notifications.recv(&mut buffer) {
        if &buffer[..length] == HANG_UP {
            return;
        }
        for line in String::from_utf8_lossy(&buffer[..length]).lines() {
            note(line, power);
        }
    }
}

fn note(line: &str, power: &(Mutex<Power>, Condvar)) {
    if let Some(pid) = line.strip_prefix("X_NSPAWN_LEADER_PID=") {
        change(power, |power| power.leader = pid.parse().ok());
    } else if line == "READY=1" {
        change(power, |power| {
            power.boots += 1;
            power.up = true;
        });
    }
}

/// Directories that systemd-nspawn makes for a machine by its name and leaves behind.
pub(crate) fn leftovers(machine: &str) -> PathBuf {
    Path::new("/run/systemd/nspawn/propagate").join(machine)
}
