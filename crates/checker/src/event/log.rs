//! The log as text: a header line, then an event a line.

use muster_model::Instant;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::Event;
use super::text::instant;

/// The `format` of the header.
pub const FORMAT: &str = "muster.dev/events";

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// The longest line that is read, in bytes: a report of 10,000 packages has about 2 MB.
pub const MAX_LINE_BYTES: usize = 4 << 20;

/// The first line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub format: SmolStr,
    /// [`VERSION`].
    pub version: u32,
    /// Who writes, for readers.
    pub writer: SmolStr,
    /// The namespace: the fleet.
    pub namespace: SmolStr,
    /// When the log begins.
    #[serde(with = "instant")]
    pub begins: Instant,
    /// By how many seconds what somebody decides from may be older than the log. A start is not blamed for a
    /// restraint (an edited window, a machine that falls silent or unhealthy) that is younger. 0, the default, for a
    /// log that is written where decisions are made, in the order in which that place saw the world.
    #[serde(default)]
    pub lag_seconds: u32,
    /// The storm's seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

impl Header {
    /// The header of a log that begins now.
    #[must_use]
    pub fn new(writer: &str, namespace: &str, begins: Instant) -> Self {
        Self {
            format: FORMAT.into(),
            version: VERSION,
            writer: writer.into(),
            namespace: namespace.into(),
            begins,
            lag_seconds: 0,
            seed: None,
        }
    }

    /// As a line, without its end.
    #[must_use]
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("a header is plain data, which JSON can always hold")
    }

    /// Reads the first line.
    ///
    /// # Errors
    /// If it is no header of an event log of this version.
    pub fn parse(line: &str) -> Result<Self, LogError> {
        let header: Self = serde_json::from_str(line).map_err(LogError::Header)?;
        if header.format != FORMAT {
            return Err(LogError::Format(header.format));
        }
        if header.version != VERSION {
            return Err(LogError::Version(header.version));
        }
        Ok(header)
    }
}

impl Event {
    /// As a line, without its end.
    #[must_use]
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("an event is plain data, which JSON can always hold")
    }

    /// Reads a line after the first.
    ///
    /// # Errors
    /// If it is no event.
    pub fn parse(line: &str) -> Result<Self, LogError> {
        if line.len() > MAX_LINE_BYTES {
            return Err(LogError::TooLong(line.len()));
        }
        serde_json::from_str(line).map_err(LogError::Event)
    }
}

/// A line that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The first line is something else.
    #[error("no header of an event log: the first line of `muster up --events FILE` is one")]
    Header(#[source] serde_json::Error),
    /// It is a header, but of something else.
    #[error("the format is {0:?}, not {FORMAT:?}")]
    Format(SmolStr),
    /// Written by another Muster.
    #[error("version {0} of the event log, and this muster reads {VERSION}: use the muster that wrote it")]
    Version(u32),
    /// A line that is no event.
    #[error("no event of version {VERSION}")]
    Event(#[source] serde_json::Error),
    /// A line beyond the limit.
    #[error("a line of {0} bytes: the longest that is read has {MAX_LINE_BYTES}")]
    TooLong(usize),
}
