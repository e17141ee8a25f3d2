//! Reads a state file, whatever the order of its lines: from objects to the planner's snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read as _};

use jiff::{SignedDuration, Timestamp};
use muster_crds::names::{LABEL_SOURCE, MANAGER_SOURCE};
use muster_fleet::{Change, GatewayLease, Input, State, step};
use muster_model::{Instant, MachineName, Snapshot};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use crate::kinds::Kind;
use crate::read::place;

/// The version of the file that this reads and writes.
pub const VERSION: u32 = 1;

/// The most objects of a file: a hundred thousand machines with their activities, three times over.
pub const MAX_OBJECTS: usize = 4_000_000;

/// The longest line: an API server takes no object of more than 3 MiB.
pub const MAX_LINE_BYTES: usize = 4 << 20;

/// The most bytes of a file, as text.
pub const MAX_STATE_BYTES: u64 = 16 << 30;

/// What a GitSource that says nothing lets go: the default of its field.
const REMOVAL_LIMIT: &str = "30%";

/// How zstd files begin.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How long a gateway's word is good, as its Lease says.
const GATEWAY_WORD: SignedDuration = SignedDuration::from_secs(30);

/// The first line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// `MusterState`.
    pub kind: String,
    /// [`VERSION`].
    pub version: u32,
    /// The namespace that it is of.
    pub namespace: String,
    /// When it was exported.
    pub time: Timestamp,
    /// How many objects follow.
    pub objects: usize,
}

impl Header {
    /// What `kind` says.
    pub const KIND: &'static str = "MusterState";
}

/// Why a state cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// I/O, or broken compression.
    #[error("cannot read {file}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// It begins with something else.
    #[error("{file}:1 is not the header of a state; write one with `muster state export -o {file}`")]
    NoHeader {
        /// The file.
        file: String,
        /// What is wrong with it, if it is JSON.
        source: serde_json::Error,
    },
    /// Another version wrote it.
    #[error("{file} has version {found}, and this muster reads {VERSION}: export the state with this one")]
    Version {
        /// The file.
        file: String,
        /// Its version.
        found: u32,
    },
    /// A line is no object.
    #[error("{file}:{line} is not an object of a state: {why}; export the state anew")]
    Line {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// It holds too much.
    #[error("{file}:{line}: the state has more than {limit}")]
    TooMuch {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// Of what.
        limit: String,
    },
    /// Lines are missing, or were added.
    #[error("{file} has {found} objects, and its header says {expected}: export the state anew")]
    Objects {
        /// The file.
        file: String,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
}

/// An object that cannot be read as what it is; the controller cannot read it either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// `Kind/name`.
    pub what: SmolStr,
    /// Why.
    pub why: String,
}

/// Who put what there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    /// The GitSources of the namespace.
    pub sources: BTreeSet<SmolStr>,
    /// What each of them lets go by itself (rule G4).
    pub guards: BTreeMap<SmolStr, SourceGuards>,
    /// The source that applied an object, by `Kind/name`.
    pub of: BTreeMap<SmolStr, SmolStr>,
    /// What a source says of a machine.
    pub fields: BTreeMap<MachineName, SourceFields>,
}

/// What a source lets go by itself, and what a person allowed besides (rule G4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceGuards {
    /// The most that may go by itself, in percent of what it owns; one that cannot be read is 0, as for the source.
    pub removal_limit_percent: u32,
    /// The digest of what a person allows to go.
    pub allow_removal: Option<String>,
}

/// What a source says of a machine: these go when it says them no longer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceFields {
    /// Keys of labels.
    pub labels: BTreeSet<SmolStr>,
    /// Members of `spec`.
    pub spec: BTreeSet<SmolStr>,
}

/// A state, as it was read.
#[derive(Debug)]
pub struct StateFile {
    /// Its header.
    pub header: Header,
    /// What cannot be read of it, by line.
    pub faults: Vec<Fault>,
    /// Who put what there.
    pub owners: Owners,
    changes: Vec<Change>,
}

impl StateFile {
    /// Reads one, compressed or not; `file` names it in errors.
    ///
    /// # Errors
    /// When it is not a whole state, with the line.
    pub fn read(file: &str, input: impl io::Read) -> Result<Self, StateError> {
        let fail = |source| StateError::Read { file: file.to_owned(), source };
        let mut input = BufReader::new(input);
        if input.fill_buf().map_err(fail)?.starts_with(&ZSTD_MAGIC) {
            let decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(fail)?;
            Reader::new(file).whole(BufReader::new(decoder))
        } else {
            Reader::new(file).whole(input)
        }
    }

    /// The world at an instant, as the controller would plan from it.
    ///
    /// Who was heard when the state was exported counts as heard at `at`, and who was silent stays so: a plan for
    /// tonight is about the fleet as it is, not about a day of silence.
    #[must_use]
    pub fn into_snapshot(self, at: Instant) -> Snapshot {
        let Self { header, faults: _, owners: _, changes } = self;
        let mut state = State::new();
        for mut change in changes {
            if let Change::Gateway(_, Some(lease)) = &mut change {
                *lease = spoken_at(*lease, header.time, at);
            }
            // Observing has no effects; a pass has.
            drop(step(&mut state, Input::Observed(Box::new(change))));
        }
        state.look(at).clone()
    }
}

/// The Lease of a gateway that was up then, as it would be at another instant.
fn spoken_at(lease: GatewayLease, exported: Instant, at: Instant) -> GatewayLease {
    if lease.valid_until <= exported {
        return lease;
    }
    let valid_until = at.checked_add(GATEWAY_WORD).unwrap_or(Instant::MAX);
    GatewayLease { acquired: lease.acquired.min(at), renewed: at, valid_until }
}

/// A file being read.
struct Reader<'a> {
    file: &'a str,
    line: usize,
    bytes: u64,
    seen: BTreeMap<SmolStr, usize>,
    faults: Vec<Fault>,
    owners: Owners,
    changes: Vec<Change>,
}

impl<'a> Reader<'a> {
    fn new(file: &'a str) -> Self {
        Self {
            file,
            line: 0,
            bytes: 0,
            seen: BTreeMap::new(),
            faults: Vec::new(),
            owners: Owners::default(),
            changes: Vec::new(),
        }
    }

    fn whole(mut self, mut input: impl BufRead) -> Result<StateFile, StateError> {
        let mut text = Vec::new();
        let first = self.next_line(&mut input, &mut text)?;
        let header: Header = match first {
            true => serde_json::from_slice(&text),
            false => serde_json::from_slice(b"null"),
        }
        .map_err(|source| StateError::NoHeader { file: self.file.to_owned(), source })?;
        if header.kind != Header::KIND || header.version != VERSION {
            return Err(StateError::Version { file: self.file.to_owned(), found: header.version });
        }
        while self.next_line(&mut input, &mut text)? {
            self.object(&text)?;
        }
        let found = self.seen.len();
        if found != header.objects {
            return Err(StateError::Objects { file: self.file.to_owned(), found, expected: header.objects });
        }
        // As in a file whose lines stand in their order, whatever order they have here.
        let Self { mut faults, owners, changes, .. } = self;
        faults.sort_by(|a, b| (&a.what, a.line).cmp(&(&b.what, b.line)));
        Ok(StateFile { header, faults, owners, changes })
    }

    /// The next line that is not blank; false at the end.
    fn next_line(&mut self, input: &mut impl BufRead, text: &mut Vec<u8>) -> Result<bool, StateError> {
        loop {
            text.clear();
            self.line += 1;
            let most = MAX_LINE_BYTES as u64 + 1;
            let read = input.take(most).read_until(b'\n', text);
            let read = read.map_err(|source| StateError::Read { file: self.file.to_owned(), source })?;
            self.bytes += read as u64;
            if text.len() > MAX_LINE_BYTES {
                return Err(self.too_much(format!("{MAX_LINE_BYTES} bytes in a line")));
            }
            if self.bytes > MAX_STATE_BYTES {
                return Err(self.too_much(format!("{MAX_STATE_BYTES} bytes")));
            }
            if read == 0 {
                return Ok(false);
            }
            if !text.iter().all(u8::is_ascii_whitespace) {
                return Ok(true);
            }
        }
    }

    fn too_much(&self, limit: String) -> StateError {
        StateError::TooMuch { file: self.file.to_owned(), line: self.line, limit }
    }

    fn wrong(&self, why: impl Into<String>) -> StateError {
        StateError::Line { file: self.file.to_owned(), line: self.line, why: why.into() }
    }

    fn object(&mut self, text: &[u8]) -> Result<(), StateError> {
        let object: Value = serde_json::from_slice(text).map_err(|error| self.wrong(error.to_string()))?;
        let word = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (version, kind_word, name) =
            (word("/apiVersion"), word("/kind"), SmolStr::new(word("/metadata/name")));
        let Some(kind) = Kind::parse(version, kind_word) else {
            return Err(self.wrong(format!("{version:?} {kind_word:?} is no kind that a state holds")));
        };
        if name.is_empty() {
            return Err(self.wrong("it has no metadata.name"));
        }
        if self.seen.len() == MAX_OBJECTS {
            return Err(self.too_much(format!("{MAX_OBJECTS} objects")));
        }
        let what = place(kind.as_str(), &name);
        if let Some(first) = self.seen.insert(what.clone(), self.line) {
            return Err(self.wrong(format!("{what} stands in line {first} already")));
        }
        self.note_owner(kind, &what, &name, &object);
        let read = kind.read(&name, object);
        if let Some(why) = read.fault {
            self.faults.push(Fault { line: self.line, what, why });
        }
        self.changes.extend(read.changes);
        Ok(())
    }

    fn note_owner(&mut self, kind: Kind, what: &SmolStr, name: &SmolStr, object: &Value) {
        if kind == Kind::GitSource {
            self.owners.sources.insert(name.clone());
            let spec = |field: &str| object.pointer("/spec").and_then(|spec| spec[field].as_str());
            let limit = spec("removalLimit").unwrap_or(REMOVAL_LIMIT);
            let guards = SourceGuards {
                removal_limit_percent: limit.trim_end_matches('%').parse().unwrap_or(0),
                allow_removal: spec("allowRemoval").map(str::to_owned),
            };
            self.owners.guards.insert(name.clone(), guards);
        }
        let source = object.pointer("/metadata/labels").and_then(|labels| labels[LABEL_SOURCE].as_str());
        if let Some(source) = source {
            self.owners.of.insert(what.clone(), source.into());
        }
        if kind == Kind::FleetMachine
            && let Ok(machine) = MachineName::parse(name)
            && let Some(managers) = object.pointer("/metadata/managedFields").and_then(Value::as_array)
        {
            let fields = self.owners.fields.entry(machine).or_default();
            for entry in managers.iter().filter(|entry| entry["manager"] == MANAGER_SOURCE) {
                fields.labels.extend(keys(entry.pointer("/fieldsV1/f:metadata/f:labels")));
                fields.spec.extend(keys(entry.pointer("/fieldsV1/f:spec")));
            }
        }
    }
}

/// The names in a set of managed fields.
fn keys(fields: Option<&Value>) -> impl Iterator<Item = SmolStr> {
    let members = fields.and_then(Value::as_object).into_iter().flatten();
    members.filter_map(|(key, _)| key.strip_prefix("f:").map(SmolStr::new))
}
