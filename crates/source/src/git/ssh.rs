//! Git's smart protocol over a child process: `ssh host git-upload-pack path`.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream};

use super::{Credentials, GitError, REMOTE_TIMEOUT_SECONDS};

/// How much of ssh's complaints is shown.
const MAX_COMPLAINT_BYTES: u64 = 1000;

/// A key and the known hosts, in a folder that nobody else reads and that goes with this.
#[derive(Debug)]
pub(super) struct Keys {
    /// Absent: ssh's own settings decide, as for a person at a terminal.
    folder: Option<tempfile::TempDir>,
    has_identity: bool,
}

impl Keys {
    pub(super) fn new(credentials: &Credentials) -> Result<Self, GitError> {
        let Credentials { identity, known_hosts, .. } = credentials;
        if identity.is_none() && known_hosts.is_none() {
            return Ok(Self { folder: None, has_identity: false });
        }
        Self::write(identity.as_deref(), known_hosts.as_deref().unwrap_or(""))
            .map_err(|source| GitError::Keys { source })
    }

    fn write(identity: Option<&str>, known_hosts: &str) -> io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("muster-ssh-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir()?;
        write_secret(&folder.path().join("known_hosts"), known_hosts)?;
        if let Some(identity) = identity {
            // ssh refuses a key without a last line feed, and Secrets lose it easily.
            write_secret(&folder.path().join("identity"), &format!("{}\n", identity.trim_end()))?;
        }
        Ok(Self { folder: Some(folder), has_identity: identity.is_some() })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-T", "-oBatchMode=yes", "-oConnectTimeout=10", "-oServerAliveInterval=15"]);
        if let Some(folder) = &self.folder {
            let file = |name: &str| folder.path().join(name).display().to_string();
            command.args(["-F", "none", "-oStrictHostKeyChecking=yes", "-oGlobalKnownHostsFile=/dev/null"]);
            command.arg(format!("-oUserKnownHostsFile={}", file("known_hosts")));
            if self.has_identity {
                command.args(["-oIdentitiesOnly=yes", "-i"]).arg(file("identity"));
            }
        }
        command
    }
}

fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// Makes connections.
pub(super) struct Ssh {
    keys: Arc<Keys>,
}

impl Ssh {
    pub(super) fn new(keys: Arc<Keys>) -> Self {
        Self { keys }
    }
}

impl SmartSubtransport for Ssh {
    fn action(&self, url: &str, action: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        match action {
            Service::UploadPackLs | Service::UploadPack => {}
            Service::ReceivePackLs | Service::ReceivePack => {
                return Err(git2::Error::from_str("a source is only read, never pushed to"));
            }
        }
        let address = Address::parse(url).map_err(git2::Error::from_str)?;
        let mut command = self.keys.command();
        if let Some(port) = address.port {
            command.arg(format!("-p{port}"));
        }
        command.arg("--").arg(address.host).arg(format!("git-upload-pack {}", quoted(address.path)));
        let connection = Connection::start(command, Duration::from_secs(REMOTE_TIMEOUT_SECONDS));
        let connection =
            connection.map_err(|error| git2::Error::from_str(&format!("cannot run ssh: {error}")))?;
        Ok(Box::new(connection))
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

struct Address<'a> {
    /// With its user.
    host: &'a str,
    port: Option<u16>,
    path: &'a str,
}

impl<'a> Address<'a> {
    fn parse(url: &'a str) -> Result<Self, &'static str> {
        let rest = url.strip_prefix("ssh://").ok_or("an address for ssh begins with ssh://")?;
        let slash = rest.find('/').ok_or("the address has no path: write ssh://user@host/path")?;
        let (authority, path) = rest.split_at(slash);
        let is_in_brackets = authority.ends_with(']');
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !is_in_brackets => {
                (host, Some(port.parse().map_err(|_| "the address's port is not a number")?))
            }
            Some(_) | None => (authority, None),
        };
        let name = host.rsplit('@').next().unwrap_or(host);
        // ssh would take such a host for an option.
        if host.starts_with('-') || name.starts_with('-') || name.is_empty() {
            return Err("the address has no host");
        }
        if host.split('@').next().is_some_and(|user| user.contains(':')) && host.contains('@') {
            return Err("the address holds a password; put a key into the secret");
        }
        // `/~user/path` is relative to a home, as Git has it.
        let path = if path.starts_with("/~") { &path[1..] } else { path };
        Ok(Self { host, port, path })
    }
}

/// A word for the remote shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''").replace('!', r"'\!'"))
}

/// A running `ssh`; killed when it is dropped or takes too long.
struct Connection {
    child: Arc<Mutex<Child>>,
    input: Option<ChildStdin>,
    output: ChildStdout,
    complaint: Option<JoinHandle<String>>,
    heard: bool,
    /// Dropped with the connection, which ends the watchdog.
    _alive: mpsc::Sender<()>,
}

impl Connection {
    fn start(mut command: Command, deadline: Duration) -> io::Result<Self> {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"))?;
        let complaints = child.stderr.take();
        let complaint = std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut complaints) = complaints {
                let _ = complaints.by_ref().take(MAX_COMPLAINT_BYTES).read_to_end(&mut text);
                let _ = io::copy(&mut complaints, &mut io::sink());
            }
            String::from_utf8_lossy(&text).trim().to_owned()
        });
        let child = Arc::new(Mutex::new(child));
        let (alive, is_alive) = mpsc::channel::<()>();
        let watched = Arc::clone(&child);
        std::thread::spawn(move || {
            if is_alive.recv_timeout(deadline) == Err(mpsc::RecvTimeoutError::Timeout) {
                kill(&watched);
            }
        });
        Ok(Self { child, input, output, complaint: Some(complaint), heard: false, _alive: alive })
    }
}

fn kill(child: &Mutex<Child>) {
    let mut child = child.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let _ = child.kill();
    let _ = child.wait();
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.output.read(buffer)?;
        if read == 0 && !self.heard {
            let complaint = self.complaint.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
            return Err(io::Error::other(format!("ssh ended without an answer: {complaint}")));
        }
        self.heard = true;
        Ok(read)
    }
}

impl Write for Connection {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.input.as_mut().map_or(Ok(0), |input| input.write(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.input.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.input.take();
        kill(&self.child);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> Result<(&str, Option<u16>, &str), &'static str> {
        Address::parse(url).map(|Address { host, port, path }| (host, port, path))
    }

    #[test]
    fn addresses_are_taken_apart_and_never_become_options() {
        assert_eq!(parts("ssh://git@example.org/a/b.git"), Ok(("git@example.org", None, "/a/b.git")));
        assert_eq!(parts("ssh://example.org:2222/~me/b"), Ok(("example.org", Some(2222), "~me/b")));
        assert!(parts("ssh://-oProxyCommand=x/a").is_err());
        assert!(parts("ssh://git@-oProxyCommand=x/a").is_err());
        assert!(parts("ssh://git:secret@host/a").is_err());
        assert!(parts("ssh://host").is_err());
        assert_eq!(quoted("/a b'c"), r"'/a b'\''c'");
    }

    #[test]
    fn keys_are_for_nobody_else_and_go_away() {
        let keys = Keys::write(Some("key"), "host ssh-ed25519 AAAA").unwrap();
        let folder = keys.folder.as_ref().unwrap().path().to_owned();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(folder.join("identity")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(folder.join("identity")).unwrap(), "key\n");
        drop(keys);
        assert!(!folder.exists());
    }

    #[test]
    fn a_connection_that_says_nothing_tells_why() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 'Permission denied (publickey).' >&2; exit 255"]);
        let mut connection = Connection::start(command, Duration::from_secs(60)).unwrap();
        let error = connection.read(&mut [0; 10]).unwrap_err();
        assert_eq!(error.to_string(), "ssh ended without an answer: Permission denied (publickey).");
    }

    #[test]
    fn a_connection_that_hangs_is_ended() {
        let mut command = Command::new("sh");
        command.args(["-c", "exec cat"]);
        let mut connection = Connection::start(command, Duration::from_millis(1)).unwrap();
        assert!(connection.read(&mut [0; 10]).is_err());
    }
}
