//! The journal's form on disk.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The form that is written; a number above it was written by a newer agent.
pub(crate) const FORMAT: u32 = 1;

/// Why a journal on disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It is damaged.
    #[error(
        "the journal cannot be read; look at what it says was begun, then remove it to let the machine take activities again"
    )]
    Damaged {
        /// Where and how.
        source: serde_json::Error,
    },
    /// A newer agent wrote it.
    #[error("the journal is of format {found}, this agent reads {FORMAT}; install the newer agent again")]
    Newer {
        /// Its format.
        found: u32,
    },
}

/// What is on disk, if it is of a form that is known.
pub(crate) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, JournalError> {
    #[derive(Deserialize)]
    struct Header {
        format: u32,
    }
    let damaged = |source| JournalError::Damaged { source };
    let Header { format: found } = serde_json::from_slice(text).map_err(damaged)?;
    if found > FORMAT {
        return Err(JournalError::Newer { found });
    }
    serde_json::from_slice(text).map_err(damaged)
}
