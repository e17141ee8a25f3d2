//! How a command ends, for scripts: design §11.

use std::process::ExitCode;

/// What became of a command that did its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// Done, or ended by a signal: 0.
    Done,
    /// It did its work, and the answer is bad news (problems found): 1.
    Problems,
    /// It did its work, and rules were broken: 2.
    Violations,
    /// A plan that changes something: 2.
    Changes,
    /// What it waited for did not come in time: 3.
    TimedOut,
    /// A plan that affects more machines than the fleet policy allows: 3.
    LimitExceeded,
    /// The command line makes no sense: 64, as sysexits(3) has it.
    Usage,
}

/// The exit code of an error.
pub(crate) const FAILURE: u8 = 1;

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(match status {
            ExitStatus::Done => 0,
            ExitStatus::Problems => FAILURE,
            ExitStatus::Violations | ExitStatus::Changes => 2,
            ExitStatus::TimedOut | ExitStatus::LimitExceeded => 3,
            ExitStatus::Usage => 64,
        })
    }
}
