//! An action that outlives the agent: in its own transient unit, where systemd runs, else in its own process group.
//!
//! The agent's own binary wraps it (`muster-agent act`): it leaves a mark before the program starts, and a result after
//! it ended. The mark can be made once only, so that whatever is issued twice runs once.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use muster_model::{Digest, Uid};
use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::state::write_whole;
use crate::tools::{Invocation, ToolError, must};

/// How much of a program's output is kept: its end, for people.
const TAIL_LIMIT: usize = 16 << 10;

/// How long a program's last words are waited for after its end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Where the agent's binary is, unless it runs from elsewhere.
const PROGRAM: &str = "/usr/bin/muster-agent";

/// One step's action: its files and its unit.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    /// Its files are this with `.started` and `.result`.
    base: PathBuf,
    /// Without the attempt.
    unit: String,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ActResult {
    /// Its exit code, 128 and the signal where one ended it. For people: nothing is judged by it (promise P5).
    pub(crate) code: i32,
    /// The end of what it printed.
    pub(crate) tail: String,
}

#[derive(Serialize, Deserialize)]
struct Started {
    boot: String,
    pid: u32,
}

impl Act {
    pub(crate) fn new(acts: &Path, uid: &Uid, step: usize) -> Self {
        let digest = Digest::of(uid.to_string().as_bytes());
        let name = format!("{}-{step}", &digest.hex()[..16]);
        Self { base: acts.join(&name), unit: format!("muster-act-{name}") }
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.base.with_extension(ending)
    }

    fn unit(&self, attempt: u32) -> String {
        format!("{}-{attempt}.service", self.unit)
    }

    /// Starts the program; does not wait for it.
    pub(crate) async fn start(&self, host: &Host, attempt: u32, program: &[String]) -> Result<(), ToolError> {
        let wrapper = wrapper();
        let base = self.base.to_string_lossy().into_owned();
        let wrapped = ["act".to_owned(), "--base".to_owned(), base, "--".to_owned()].into_iter();
        let wrapped = wrapped.chain(program.iter().cloned());
        if !host.has_systemd() {
            let shift = [wrapper].into_iter().chain(wrapped);
            return host.tools.detach(Invocation::reading("env", &[]).with(shift));
        }
        let unit = self.unit(attempt);
        // As for apt-daily-upgrade.service: stopping the unit ends the wrapper, not dpkg in the middle.
        let options = [
            "--collect",
            "--quiet",
            "--service-type=exec",
            "--property=KillMode=process",
            "--property=TimeoutStopSec=900",
            "--property=OOMPolicy=continue",
            "--description=Packages, changed by Muster",
            "--unit",
        ];
        let invocation =
            Invocation::reading("systemd-run", &options).with([unit, "--".to_owned(), wrapper]).with(wrapped);
        must(&*host.tools, invocation).await.map(drop)
    }

    /// Whether it goes on.
    pub(crate) async fn is_running(&self, host: &Host, attempt: u32) -> bool {
        if let Some(Started { boot, pid }) = self.started()
            && boot == host.boot_id()
        {
            let line = host.text(&format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if line.contains(self.base.to_string_lossy().as_ref()) {
                return true;
            }
        }
        if !host.has_systemd() {
            return false;
        }
        let unit = self.unit(attempt);
        let show = Invocation::reading("systemctl", &["show", "--property=ActiveState", "--value", "--"])
            .with([unit]);
        let state = host.tools.run(show).await.map(|output| output.stdout).unwrap_or_default();
        matches!(state.trim(), "active" | "activating" | "deactivating" | "reloading")
    }

    /// Whether its program was started at all.
    pub(crate) fn was_started(&self) -> bool {
        self.file("started").exists()
    }

    fn started(&self) -> Option<Started> {
        serde_json::from_slice(&std::fs::read(self.file("started")).ok()?).ok()
    }

    /// How it ended, if it did so by itself.
    pub(crate) fn result(&self) -> Option<ActResult> {
        serde_json::from_slice(&std::fs::read(self.file("result")).ok()?).ok()
    }

    /// Lets it be started once more: only after it was seen that it does not run and changed nothing.
    pub(crate) fn forget(&self) {
        for ending in ["result", "started"] {
            let _gone_already = std::fs::remove_file(self.file(ending));
        }
    }
}

/// Removes what actions before left behind.
pub(crate) fn sweep(acts: &Path) {
    for entry in std::fs::read_dir(acts).into_iter().flatten().flatten() {
        let _gone_already = std::fs::remove_file(entry.path());
    }
}

/// This binary, also after an upgrade replaced it.
fn wrapper() -> String {
    let path = std::env::current_exe().ok().and_then(|path| path.to_str().map(str::to_owned));
    let path = path.unwrap_or_else(|| PROGRAM.to_owned());
    path.strip_suffix(" (deleted)").map_or(path.clone(), str::to_owned)
}

/// Runs one program for the agent: `muster-agent act --base BASE -- PROGRAM…`. Runs nothing if it ran before.
///
/// # Errors
/// When the mark or the result cannot be written, or the program not be started.
pub fn act(base: &Path, program: &[String]) -> std::io::Result<()> {
    let (program, arguments) =
        program.split_first().ok_or_else(|| std::io::Error::other("no program given"))?;
    let mut mark =
        match std::fs::File::options().create_new(true).write(true).open(base.with_extension("started")) {
            Ok(mark) => mark,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
            Err(error) => return Err(error),
        };
    let started = Started { boot: Host::system().boot_id(), pid: std::process::id() };
    mark.write_all(&serde_json::to_vec(&started)?)?;
    mark.sync_all()?;
    let mut command = Command::new(program);
    command.args(arguments).envs(ENVIRONMENT).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let tail = Arc::new(Mutex::new(VecDeque::new()));
    let (ended, ends) = mpsc::channel();
    copy(child.stdout.take().expect("it is piped"), tail.clone(), ended.clone());
    copy(child.stderr.take().expect("it is piped"), tail.clone(), ended);
    let status = child.wait()?;
    // Daemons that it started may keep the pipes open for ever: they are not waited for.
    while ends.recv_timeout(LAST_WORDS).is_ok() {}
    let bytes: Vec<u8> = tail.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
    let code = status.code().unwrap_or(128 + status.signal().unwrap_or(0));
    let result = ActResult { code, tail: String::from_utf8_lossy(&bytes).into_owned() };
    write_whole(&base.with_extension("result"), &serde_json::to_vec(&result)?)
}

/// What keeps apt, debconf and their hooks from asking, and from restarting services by themselves.
const ENVIRONMENT: [(&str, &str); 8] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("LC_ALL", "C.UTF-8"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("NEEDRESTART_SUSPEND", "1"),
    ("NEEDRESTART_MODE", "l"),
    ("APT_LISTCHANGES_FRONTEND", "none"),
    ("APT_LISTBUGS_FRONTEND", "none"),
];

/// Passes output on (to the unit's journal) and keeps its end.
fn copy(mut from: impl Read + Send + 'static, tail: Arc<Mutex<VecDeque<u8>>>, ended: mpsc::Sender<()>) {
    std::thread::spawn(move || {
        let mut buffer = [0_u8; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let _nobody_listens = std::io::stdout().write_all(&buffer[..count]);
            let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            tail.extend(&buffer[..count]);
            let surplus = tail.len().saturating_sub(TAIL_LIMIT);
            tail.drain(..surplus);
        }
        let _nobody_waits = ended.send(());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    // rule: A2
    #[test]
    fn an_action_that_is_issued_twice_runs_once() {
        let folder = tempfile::tempdir().unwrap();
        let act_files = Act::new(folder.path(), &"uid-1".parse().unwrap(), 0);
        assert!(!act_files.was_started());
        let program = ["sh", "-c", "echo once; echo twice >&2; exit 100"].map(str::to_owned);
        act(&act_files.base, &program).unwrap();
        let result = act_files.result().unwrap();
        assert_eq!(result.code, 100);
        assert!(result.tail.contains("once\n") && result.tail.contains("twice\n"), "{}", result.tail);
        act(&act_files.base, &["sh", "-c", "echo again"].map(str::to_owned)).unwrap();
        assert_eq!(act_files.result().unwrap(), result);
        act_files.forget();
        act(&act_files.base, &["true".to_owned()]).unwrap();
        assert_eq!(act_files.result().unwrap().code, 0);
    }

    #[tokio::test]
    async fn a_restarted_agent_finds_what_runs_and_what_died() {
        let folder = tempfile::tempdir().unwrap();
        let tools = Arc::new(crate::tools::fake::FakeTools::default());
        let host = Host::fake(folder.path(), tools.clone());
        std::fs::create_dir_all(host.path("/proc/77")).unwrap();
        std::fs::create_dir_all(host.path("/proc/sys/kernel/random")).unwrap();
        std::fs::write(host.path("/proc/sys/kernel/random/boot_id"), "boot-1\n").unwrap();
        let act = Act::new(folder.path(), &"uid-1".parse().unwrap(), 0);
        assert!(!act.is_running(&host, 1).await);
        std::fs::write(act.file("started"), r#"{"boot":"boot-1","pid":77}"#).unwrap();
        std::fs::write(host.path("/proc/77/cmdline"), "another\0program").unwrap();
        assert!(!act.is_running(&host, 1).await, "its pid belongs to another program now");
        std::fs::write(
            host.path("/proc/77/cmdline"),
            format!("muster-agent\0act\0--base\0{}", act.base.display()),
        )
        .unwrap();
        assert!(act.is_running(&host, 1).await);
        std::fs::write(host.path("/proc/sys/kernel/random/boot_id"), "boot-2\n").unwrap();
        assert!(!act.is_running(&host, 1).await, "the machine booted since");
        std::fs::create_dir_all(host.path("/run/systemd/system")).unwrap();
        tools.on("systemctl show", 0, "activating\n", "");
        assert!(act.is_running(&host, 1).await, "systemd says that it is about to start");
    }
}
