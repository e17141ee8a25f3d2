//! Open files: each fake machine has both ends of its connections in this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open files of everything else: the store, watches, kubectl, agents of real machines.
const BASE: u64 = 1024;

/// Both ends of the three connections that a fake machine may have.
const PER_MACHINE: u64 = 6;

/// Why there are not enough.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LimitError {
    /// The hard limit is in the way.
    #[error(
        "{machines} fake machines need {needed} open files, but at most {limit} are allowed; simulate fewer, or raise the hard limit (ulimit -Hn)"
    )]
    TooLow {
        /// How many machines were asked for.
        machines: u32,
        /// How many files they need.
        needed: u64,
        /// The hard limit.
        limit: u64,
    },
    /// The soft limit cannot be raised.
    #[error("cannot raise the limit of open files")]
    Raise(#[source] rustix::io::Errno),
}

/// Raises the soft limit as far as it goes.
pub(super) fn raise(machines: u32) -> Result<(), LimitError> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = BASE + PER_MACHINE * u64::from(machines);
    if let Some(limit) = maximum.filter(|limit| *limit < needed && machines > 0) {
        return Err(LimitError::TooLow { machines, needed, limit });
    }
    let wanted = maximum.map_or(needed, |limit| limit.min(needed));
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).map_err(LimitError::Raise)
}
