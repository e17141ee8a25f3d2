//! `muster up` as a user runs it, and the agents that are enrolled with it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::command::{Output, run, signal};
use crate::files::tail;
use crate::kubectl::Kubectl;
use crate::lab::World;
use crate::machine::Machine;
use crate::paths;

/// How long `muster up` may take to be ready: it takes a second or two, and ten beside a build.
const READY_PATIENCE: Duration = Duration::from_secs(60);
/// How long an orderly end may take.
const END_PATIENCE: Duration = Duration::from_secs(30);

/// How `muster up` is started.
#[derive(Clone, Debug)]
pub struct MusterOptions {
    /// The folder or URL of the desired state.
    pub source: String,
    /// More arguments of `muster up`.
    pub arguments: Vec<String>,
}

impl MusterOptions {
    /// From a folder or URL, with nothing more to say.
    #[must_use]
    pub fn of(source: &str) -> Self {
        Self { source: source.to_owned(), arguments: Vec::new() }
    }
}

/// What `muster enroll -o json` prints.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// The secret by which a machine may enrol.
    pub token: String,
    /// The digest of the certificate that agents pin.
    pub ca_sha256: String,
    /// The gateway's URL.
    pub gateway: String,
    /// The command that enrols a machine, to be run on it.
    pub command: String,
}

/// A running `muster up`, its state directory and logs.
#[derive(Debug)]
pub struct Muster {
    options: MusterOptions,
    /// Where agents find the gateway; kept through restarts, since they were told it once.
    agents_listen: String,
    kubeconfig: PathBuf,
    gateway: String,
    running: Option<Running>,
    world: Arc<World>,
}

impl Muster {
    #[track_caller]
    pub(crate) fn start(world: Arc<World>, options: MusterOptions) -> Self {
        let agents_listen = format!("{}:0", world.bridge().host());
        let (kubeconfig, gateway) = Default::default();
        let mut muster = Self { options, agents_listen, kubeconfig, gateway, running: None, world };
        muster.restart();
        muster
    }

    /// Starts it again on the state that it left, and waits until it is ready.
    ///
    /// # Panics
    ///
    /// If it is running, or does not get ready, with its last words.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.running.is_none(), "muster up is running already");
        let mut running = Running::start(self.command_up(), &self.log("stdout"), &self.log("stderr"));
        let first = running.first_line.recv_timeout(READY_PATIENCE);
        let line = first.unwrap_or_else(|why| {
            let ended = match why {
                RecvTimeoutError::Timeout => format!("was not ready within {READY_PATIENCE:?}"),
                RecvTimeoutError::Disconnected => "ended before it was ready".to_owned(),
            };
            running.end("KILL");
            panic!("muster up {ended}; it said:\n{}", tail(&self.log("stderr")))
        });
        self.running = Some(running);
        let ready: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("no JSON: {error}: {line}"));
        assert_eq!(ready["ready"], true, "the first line says whether it is ready: {line}");
        self.kubeconfig = PathBuf::from(field(&ready, "kubeconfig"));
        self.gateway = field(&ready, "gateway");
        let (_, address) = self.gateway.split_once("://").unwrap_or(("", &self.gateway));
        self.agents_listen = address.trim_end_matches('/').to_owned();
    }

    /// Kills it as a power failure would: SIGKILL, no last words.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.end("KILL");
        }
    }

    /// Ends it in order, by SIGTERM; how it ended.
    ///
    /// # Panics
    ///
    /// If it is not running, or goes on running.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        let mut running = self.running.take().expect("muster up is running");
        let status = running.end("TERM");
        status.unwrap_or_else(|| panic!("muster up goes on running; it said:\n{}", tail(&self.log("stderr"))))
    }

    /// kubectl with its kubeconfig.
    #[must_use]
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::with(&self.kubeconfig)
    }

    /// The gateway's URL.
    #[must_use]
    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    /// Its state directory.
    #[must_use]
    pub fn state_folder(&self) -> PathBuf {
        self.world.folder().join("state")
    }

    /// Everything that it logged so far, all its starts included.
    #[must_use]
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.log("stderr")).unwrap_or_default()
    }

    /// Runs another of its commands, such as `why web-01`, against the server that runs here.
    #[track_caller]
    pub fn exec(&self, arguments: &[&str]) -> Output {
        run(Command::new(muster()).args(arguments).env("KUBECONFIG", &self.kubeconfig))
    }

    /// `muster enroll`, with more arguments.
    ///
    /// # Panics
    ///
    /// If it fails, or leaves something out.
    #[must_use]
    #[track_caller]
    pub fn enrol(&self, arguments: &[&str]) -> Enrolment {
        let text = self.exec(&[&["enroll", "-o", "json"], arguments].concat()).expect_success();
        let value: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("no JSON: {error}: {text}"));
        Enrolment {
            token: field(&value, "token"),
            ca_sha256: field(&value, "caSHA256"),
            gateway: field(&value, "gateway"),
            command: field(&value, "command"),
        }
    }

    /// Installs the agent on a machine and enrols it, as the documentation tells people to: the binary to where its
    /// unit starts it from, the unit, the command of the enrolment, `systemctl enable --now`.
    ///
    /// # Panics
    ///
    /// If any of that fails.
    #[track_caller]
    pub fn install_agent(&self, machine: &Machine, enrolment: &Enrolment) {
        let unit_file = paths::workspace().join("deploy/agent/muster-agent.service");
        let unit =
            fs::read_to_string(&unit_file).unwrap_or_else(|why| panic!("{}: {why}", unit_file.display()));
        let place = started_from(&unit).unwrap_or_else(|| panic!("no ExecStart= in {}", unit_file.display()));
        let agent = paths::binary("muster-agent", "MUSTER_AGENT_BIN");
        let bytes =
            fs::read(&agent).unwrap_or_else(|error| panic!("cannot read {}: {error}", agent.display()));
        machine.copy_in(place, &bytes, "755");
        machine.copy_in("/etc/systemd/system/muster-agent.service", unit.as_bytes(), "644");
        machine.run("systemctl daemon-reload");
        machine.run(&enrolment.command);
        machine.run("systemctl enable --now muster-agent.service");
    }

    fn command_up(&self) -> Command {
        let mut command = Command::new("setpriv");
        // The kernel ends it with this process: a killed suite leaves no server.
        command.args(["--pdeathsig", "KILL"]).arg(muster()).args(["up", &self.options.source]);
        command.arg("--state-dir").arg(self.state_folder());
        command.args(["--listen", "127.0.0.1:0", "--agents-listen", &self.agents_listen, "-o", "json"]);
        command.args(&self.options.arguments).env_remove("KUBECONFIG");
        command
    }

    fn log(&self, stream: &str) -> PathBuf {
        self.world.folder().join(format!("muster.{stream}"))
    }
}

impl Drop for Muster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- muster up\n{}", tail(&self.log("stderr")));
        }
        self.kill();
    }
}

/// The process, and the thread that it ends with.
#[derive(Debug)]
struct Running {
    pid: u32,
    first_line: Receiver<String>,
    ended: Receiver<Option<ExitStatus>>,
    keeper: Option<JoinHandle<()>>,
}

impl Running {
    /// The parent, for the kernel, is the thread that starts it: so that is one which waits for its end.
    fn start(mut command: Command, stdout: &Path, stderr: &Path) -> Self {
        let append = |path: &Path| {
            let file = File::options().create(true).append(true).open(path);
            file.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()))
        };
        let log = append(stdout);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(append(stderr));
        let (started, pid) = channel();
        let (line, first_line) = channel();
        let (end, ended) = channel();
        let keeper = std::thread::spawn(move || {
            let mut child = command.spawn().expect("setpriv is there: tests/tools/prepare.sh saw to it");
            started.send(child.id()).ok();
            forward(&mut child, log, &line);
            // From here on "not ready yet" can only mean "never".
            drop(line);
            end.send(child.wait().ok()).ok();
        });
        let pid = pid.recv().expect("the thread sends it, or panicked with the reason");
        Self { pid, first_line, ended, keeper: Some(keeper) }
    }

    /// Ends it by a signal; `None` if it did not end in time.
    fn end(&mut self, name: &str) -> Option<ExitStatus> {
        signal(self.pid, name);
        let status = self.ended.recv_timeout(END_PATIENCE).ok().flatten();
        if status.is_none() {
            signal(self.pid, "KILL");
        }
        if let Some(keeper) = self.keeper.take() {
            keeper.join().ok();
        }
        status
    }
}

/// Copies standard output to the log, and the first line of it to whoever waits for it.
fn forward(child: &mut Child, mut log: File, line: &std::sync::mpsc::Sender<String>) {
    let stdout = child.stdout.take().expect("it is piped");
    for text in BufReader::new(stdout).lines().map_while(Result::ok) {
        writeln!(log, "{text}").ok();
        line.send(text).ok();
    }
}

fn muster() -> PathBuf {
    paths::binary("muster", "MUSTER_BIN")
}

/// The program that a unit starts.
fn started_from(unit: &str) -> Option<&str> {
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart="))?;
    line.trim_start_matches(['-', '@', ':', '+', '!']).split_whitespace().next()
}

#[track_caller]
fn field(object: &Value, name: &str) -> String {
    object[name].as_str().unwrap_or_else(|| panic!("there is no {name} in {object}")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str) -> (Running, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        (Running::start(command, &folder.path().join("out"), &folder.path().join("err")), folder)
    }

    #[test]
    fn a_server_is_ready_at_its_first_line_and_ends_when_it_is_killed() {
        let (mut running, folder) = start("echo oh >&2; echo ready; exec sleep infinity");
        assert_eq!(running.first_line.recv_timeout(READY_PATIENCE).as_deref(), Ok("ready"));
        let status = running.end("KILL").expect("it ended");
        assert_eq!(status.code(), None, "it was killed");
        assert_eq!(tail(&folder.path().join("out")), "ready");
        assert_eq!(tail(&folder.path().join("err")), "oh");
    }

    #[test]
    fn a_server_that_ends_before_it_is_ready_is_not_waited_for() {
        let (mut running, folder) = start("echo no such folder >&2; exit 64");
        assert_eq!(running.first_line.recv_timeout(READY_PATIENCE), Err(RecvTimeoutError::Disconnected));
        assert_eq!(running.end("KILL").and_then(|status| status.code()), Some(64));
        assert_eq!(tail(&folder.path().join("err")), "no such folder");
    }

    #[test]
    fn the_agent_goes_to_where_its_unit_starts_it_from() {
        assert_eq!(
            started_from("[Service]\nExecStart=/usr/bin/muster-agent run\n"),
            Some("/usr/bin/muster-agent")
        );
        assert_eq!(started_from("[Service]\n"), None);
    }
}
