//! Running a command and keeping what it said.

use std::fmt;
use std::io::Write;
use std::process::{Command, ExitStatus, Stdio};

/// What a command left behind: its exit status and its words.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output, as text.
    pub stdout: String,
    /// Its standard error, as text.
    pub stderr: String,
}

impl Output {
    /// Whether it ended with 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status.success()
    }

    /// Its standard output without the last newline.
    ///
    /// # Panics
    ///
    /// If it failed, with everything that it said.
    #[track_caller]
    #[must_use]
    pub fn expect_success(self) -> String {
        assert!(self.is_success(), "{self}");
        self.stdout.trim_end_matches('\n').to_owned()
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, status, stdout, stderr } = self;
        write!(f, "`{command}` ended with {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// Runs a command to its end with nothing on its standard input.
///
/// # Panics
///
/// If it cannot be started: `tools/prepare.sh` installs what is needed.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Output {
    run_with_input(command, &[])
}

/// Runs a command to its end with `input` on its standard input.
#[track_caller]
pub(crate) fn run_with_input(command: &mut Command, input: &[u8]) -> Output {
    let said = describe(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            panic!("cannot start `{said}`: {error}; tests/tools/prepare.sh installs what is needed")
        }
    };
    let mut stdin = child.stdin.take().expect("stdin is piped, three lines above");
    let output = std::thread::scope(|scope| {
        // A command that ends without reading everything is judged by its status, not by our broken pipe.
        scope.spawn(move || stdin.write_all(input).ok());
        child.wait_with_output().expect("a child that we started can be waited for")
    });
    Output {
        command: said,
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a program of the host with arguments, wanting success.
#[track_caller]
pub(crate) fn must(program: &str, arguments: &[&str]) -> String {
    run(Command::new(program).args(arguments)).expect_success()
}

/// Runs a program of the host with arguments; whether it succeeded. For taking down what may already be gone.
pub(crate) fn may(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Sends a signal to a process of the host. A process that is gone already is no error.
pub(crate) fn signal(pid: u32, name: &str) {
    may("sh", &["-c", "kill -s \"$0\" \"$1\"", name, &pid.to_string()]);
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_gets_its_input_and_keeps_its_words() {
        let output = run_with_input(Command::new("sh").args(["-c", "cat; echo oh >&2; exit 3"]), b"hello");
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("hello", "oh\n"));
        assert_eq!(output.status.code(), Some(3));
    }
}
