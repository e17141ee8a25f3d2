//! Other programs: how they are run, and the seam by which tests give their answers.
//!
//! Arguments never pass through a shell; the environment is ours; time and output are limited.

use std::future::Future;
use std::pin::Pin;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The largest output that is read: `apt-cache policy` of 10,000 packages with three sources each is some 5 MiB.
const OUTPUT_LIMIT: usize = 32 << 20;

/// How long a program may take that only reads.
pub(crate) const READ_PATIENCE: Duration = Duration::from_secs(120);

const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invocation {
    pub(crate) program: &'static str,
    pub(crate) arguments: Vec<String>,
    pub(crate) patience: Duration,
}

impl Invocation {
    /// One that only reads.
    pub(crate) fn reading(program: &'static str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { program, arguments, patience: READ_PATIENCE }
    }

    pub(crate) fn with(mut self, more: impl IntoIterator<Item = String>) -> Self {
        self.arguments.extend(more);
        self
    }

    pub(crate) fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

/// What a program said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Output {
    /// Its exit code; `None` where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    pub(crate) fn is_success(&self) -> bool {
        self.code == Some(0)
    }
}

/// Why a program gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolError {
    #[error("cannot run {program}; is it installed?")]
    Start { program: &'static str, source: std::io::Error },
    #[error("cannot read what {program} says")]
    Read { program: &'static str, source: std::io::Error },
    #[error("{program} took longer than {} s and was ended", patience.as_secs())]
    TimedOut { program: &'static str, patience: Duration },
    #[error("{program} says more than {OUTPUT_LIMIT} bytes")]
    TooMuch { program: &'static str },
    #[error("{program} failed ({code:?}): {message}")]
    Failed { program: &'static str, code: Option<i32>, message: String },
}

/// A boxed future, so that the seam can be a trait object.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs programs.
pub(crate) trait Tools: Send + Sync {
    /// Runs it to its end.
    fn run(&self, invocation: Invocation) -> Answer<'_, Result<Output, ToolError>>;

    /// Starts it and lets it go on by itself, in a process group of its own.
    fn detach(&self, invocation: Invocation) -> Result<(), ToolError>;
}

/// Runs it and wants exit code 0: what it printed.
pub(crate) async fn must(tools: &dyn Tools, invocation: Invocation) -> Result<String, ToolError> {
    let program = invocation.program;
    let output = tools.run(invocation).await?;
    if output.is_success() {
        return Ok(output.stdout);
    }
    Err(ToolError::Failed { program, code: output.code, message: tail(&output.stderr, 512) })
}

/// The last `limit` bytes of a text, from the beginning of a character.
pub(crate) fn tail(text: &str, limit: usize) -> String {
    let text = text.trim();
    let mut from = text.len().saturating_sub(limit);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text[from..].to_owned()
}

/// The machine's own programs.
#[derive(Debug)]
pub(crate) struct SystemTools;

impl Tools for SystemTools {
    fn run(&self, invocation: Invocation) -> Answer<'_, Result<Output, ToolError>> {
        Box::pin(async move {
            let (program, patience) = (invocation.program, invocation.patience);
            match tokio::time::timeout(patience, run(invocation)).await {
                Ok(answer) => answer,
                Err(_) => Err(ToolError::TimedOut { program, patience }),
            }
        })
    }

    fn detach(&self, invocation: Invocation) -> Result<(), ToolError> {
        use std::os::unix::process::CommandExt as _;
        let program = invocation.program;
        let mut command = std::process::Command::new(program);
        command.args(&invocation.arguments).env_clear().env("PATH", SEARCH_PATH).env("HOME", "/root");
        command.current_dir("/").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|source| ToolError::Start { program, source })?;
        // Only so that it does not stay a zombie; how it ends is read from its result.
        std::thread::spawn(move || child.wait());
        Ok(())
    }
}

async fn run(invocation: Invocation) -> Result<Output, ToolError> {
    let program = invocation.program;
    let mut command = tokio::process::Command::new(program);
    command.args(&invocation.arguments).env_clear().env("PATH", SEARCH_PATH).env("LC_ALL", "C");
    command.env("HOME", "/root").env("DEBIAN_FRONTEND", "noninteractive").current_dir("/");
    // Dropped (too late, or the agent ends): ended. What must outlive us runs in a unit of its own.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|source| ToolError::Start { program, source })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = tokio::join!(read(stdout, program), read(stderr, program));
    let (stdout, stderr) = (stdout?, stderr?);
    let status = child.wait().await.map_err(|source| ToolError::Read { program, source })?;
    Ok(Output { code: status.code(), stdout, stderr })
}

async fn read(from: Option<impl AsyncRead + Unpin>, program: &'static str) -> Result<String, ToolError> {
    let mut bytes = Vec::new();
    let from = from.expect("both outputs are piped");
    let limit = u64::try_from(OUTPUT_LIMIT).expect("the limit fits") + 1;
    from.take(limit).read_to_end(&mut bytes).await.map_err(|source| ToolError::Read { program, source })?;
    if bytes.len() > OUTPUT_LIMIT {
        return Err(ToolError::TooMuch { program });
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
pub(crate) mod fake {
    //! Programs whose answers a test gives.

    use std::sync::Mutex;

    use super::{Answer, Invocation, Output, ToolError, Tools};

    /// Answers by what the command line begins with (the longest wins); unknown programs are not installed.
    #[derive(Default)]
    pub(crate) struct FakeTools {
        answers: Mutex<Vec<(String, Output)>>,
        ran: Mutex<Vec<String>>,
        /// What becomes of the answers once a command ran.
        effects: Mutex<Vec<(String, String, Output)>>,
    }

    impl FakeTools {
        pub(crate) fn on(&self, beginning: &str, code: i32, stdout: &str, stderr: &str) {
            let output = Output { code: Some(code), stdout: stdout.into(), stderr: stderr.into() };
            let mut answers = self.answers.lock().unwrap();
            answers.retain(|(known, _)| known != beginning);
            answers.push((beginning.into(), output));
        }

        /// Once a command that has `words` in it ran, `beginning` is answered so.
        pub(crate) fn after(&self, words: &str, beginning: &str, stdout: &str) {
            let output = Output { code: Some(0), stdout: stdout.into(), stderr: String::new() };
            self.effects.lock().unwrap().push((words.into(), beginning.into(), output));
        }

        fn note(&self, line: String) {
            for (words, beginning, output) in self.effects.lock().unwrap().iter() {
                if line.contains(words) {
                    self.on(beginning, 0, &output.stdout, "");
                }
            }
            self.ran.lock().unwrap().push(line);
        }

        /// The command lines that ran and begin so.
        pub(crate) fn ran(&self, beginning: &str) -> Vec<String> {
            self.ran.lock().unwrap().iter().filter(|line| line.starts_with(beginning)).cloned().collect()
        }
    }

    impl Tools for FakeTools {
        fn run(&self, invocation: Invocation) -> Answer<'_, Result<Output, ToolError>> {
            let program = invocation.program;
            let line = format!("{program} {}", invocation.arguments.join(" "));
            let answers = self.answers.lock().unwrap();
            let answer =
                answers.iter().filter(|(known, _)| line.starts_with(known)).max_by_key(|(k, _)| k.len());
            let answer = answer.map(|(_, output)| output.clone());
            drop(answers);
            self.note(line);
            let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
            Box::pin(async move { answer.ok_or_else(|| ToolError::Start { program, source: missing() }) })
        }

        fn detach(&self, invocation: Invocation) -> Result<(), ToolError> {
            self.note(format!("& {} {}", invocation.program, invocation.arguments.join(" ")));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_hangs_is_ended_and_one_that_is_missing_is_named() {
        let hangs = Invocation::reading("sleep", &["60"]).within(Duration::from_millis(20));
        assert!(matches!(SystemTools.run(hangs).await, Err(ToolError::TimedOut { .. })));
        let missing = SystemTools.run(Invocation::reading("no-such-program", &[])).await.unwrap_err();
        assert_eq!(missing.to_string(), "cannot run no-such-program; is it installed?");
    }

    #[tokio::test]
    async fn an_argument_is_an_argument_whatever_is_in_it() {
        let odd = "$(touch /tmp/x); `y` * \"";
        let output = SystemTools.run(Invocation::reading("printf", &["%s", odd])).await.unwrap();
        assert_eq!((output.code, output.stdout.as_str()), (Some(0), odd));
    }
}
