//! Writes a state file: the header, then one object a line, without what says nothing about machines.

use std::io::{self, Write};

use jiff::Timestamp;
use muster_crds::names::MANAGER_SOURCE;
use serde_json::{Map, Value};

use crate::file::{Header, MAX_LINE_BYTES, MAX_OBJECTS, MAX_STATE_BYTES, VERSION};
use crate::kinds::Kind;

/// A fast level: the same lists and words come again and again, and compress well at any.
const LEVEL: i32 = 3;

/// What kubectl keeps for itself.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Why a state cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The namespace holds too much.
    #[error("the namespace has more than {limit}: divide the fleet into namespaces")]
    TooMuch {
        /// Of what.
        limit: String,
    },
    /// It cannot be compressed or written.
    #[error("cannot write the state")]
    Write(#[from] io::Error),
}

/// Objects as they come, kept compressed, until their number is known: the header says it.
pub struct Spool {
    lines: zstd::stream::write::Encoder<'static, Vec<u8>>,
    objects: usize,
    bytes: u64,
}

impl Spool {
    /// An empty one.
    ///
    /// # Errors
    /// When there is no memory for the compressor.
    pub fn new() -> Result<Self, ExportError> {
        let mut lines = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
        lines.include_checksum(true)?;
        Ok(Self { lines, objects: 0, bytes: 0 })
    }

    /// Adds an object.
    ///
    /// # Errors
    /// When it is one too many, or too long.
    pub fn push(&mut self, kind: Kind, object: Value) -> Result<(), ExportError> {
        let too_much = |limit| Err(ExportError::TooMuch { limit });
        if self.objects == MAX_OBJECTS {
            return too_much(format!("{MAX_OBJECTS} objects"));
        }
        let mut line = pared(kind, object).to_string();
        if line.len() > MAX_LINE_BYTES {
            return too_much(format!("{MAX_LINE_BYTES} bytes in one {}", kind.as_str()));
        }
        line.push('\n');
        self.bytes += line.len() as u64;
        if self.bytes > MAX_STATE_BYTES {
            return too_much(format!("{MAX_STATE_BYTES} bytes of objects"));
        }
        self.lines.write_all(line.as_bytes())?;
        self.objects += 1;
        Ok(())
    }

    /// Writes the file: compressed or as text.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(
        self,
        namespace: &str,
        time: Timestamp,
        compressed: bool,
        out: &mut impl Write,
    ) -> Result<Header, ExportError> {
        let Self { lines, objects, bytes: _ } = self;
        let header = Header {
            kind: Header::KIND.to_owned(),
            version: VERSION,
            namespace: namespace.to_owned(),
            time,
            objects,
        };
        let first = serde_json::to_string(&header).expect("a header is plain data") + "\n";
        let frame = lines.finish()?;
        if compressed {
            // Frames that follow each other are one stream.
            out.write_all(&zstd::encode_all(first.as_bytes(), LEVEL)?)?;
            out.write_all(&frame)?;
        } else {
            out.write_all(first.as_bytes())?;
            zstd::stream::copy_decode(frame.as_slice(), &mut *out)?;
        }
        out.flush()?;
        Ok(header)
    }
}

/// The object without what the API server keeps for itself; lists of builtin kinds leave out what each item is.
fn pared(kind: Kind, mut object: Value) -> Value {
    let Some(members) = object.as_object_mut() else { return object };
    members.insert("apiVersion".to_owned(), kind.api_version().into());
    members.insert("kind".to_owned(), kind.as_str().into());
    if let Some(metadata) = members.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
        metadata.remove("selfLink");
        pare_managers(kind, metadata);
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
    }
    object
}

/// Of a machine it matters which of its labels a source set: another revision takes them back.
fn pare_managers(kind: Kind, metadata: &mut Map<String, Value>) {
    let Some(Value::Array(mut managers)) = metadata.remove("managedFields") else { return };
    managers.retain(|entry| kind == Kind::FleetMachine && entry["manager"] == MANAGER_SOURCE);
    for entry in &mut managers {
        if let Some(entry) = entry.as_object_mut() {
            entry.remove("time");
        }
    }
    if !managers.is_empty() {
        metadata.insert("managedFields".to_owned(), Value::Array(managers));
    }
}
