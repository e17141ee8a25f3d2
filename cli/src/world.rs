//! The state that commands plan from: a file of `muster state export`, or the same objects from a live API.

use std::fs::File;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp, Unit};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use muster_state::{ExportError, Kind, Spool, StateError, StateFile};

use crate::arguments::WorldArguments;
use crate::connect::{ConnectError, Connection, connect};
use crate::printer::Printer;

/// Objects a page: what kubectl asks for.
const PAGE: u32 = 500;

/// How many unreadable objects of a state are named; more say nothing new.
const FAULTS_NAMED: usize = 20;

/// How a live state is called in messages.
const LIVE: &str = "the live state";

/// Why there is no state.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorldError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The API did not answer as it should.
    #[error("cannot list {kind} in namespace {namespace}")]
    List {
        /// Of which kind.
        kind: &'static str,
        /// Where.
        namespace: String,
        source: Box<kube::Error>,
    },
    /// There is too much of it.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The file cannot be opened.
    #[error("cannot open {file}")]
    Open {
        /// The file.
        file: PathBuf,
        source: std::io::Error,
    },
    /// It is no state.
    #[error(transparent)]
    State(#[from] StateError),
}

/// All objects that decisions depend on, and the instant at which they were read.
pub(crate) async fn collect(connection: &Connection) -> Result<(Spool, Timestamp), WorldError> {
    let all = collect_up_to(connection, usize::MAX).await?;
    Ok(all.expect("no fleet has as many machines as that"))
}

/// The same of a fleet with at most so many machines; `None`: it has more.
async fn collect_up_to(
    connection: &Connection,
    machines: usize,
) -> Result<Option<(Spool, Timestamp)>, WorldError> {
    let mut spool = Spool::new()?;
    if collect_kind(connection, Kind::FleetMachine, machines, &mut spool).await?.is_none() {
        return Ok(None);
    }
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::FleetMachine) {
        collect_kind(connection, kind, usize::MAX, &mut spool).await?;
    }
    // Whole seconds, and none of the objects is from after them.
    let now = Timestamp::now();
    let second = now.round(Unit::Second).unwrap_or(now);
    Ok(Some((spool, if second < now { second + SignedDuration::from_secs(1) } else { second })))
}

/// All objects of a kind; `None` once there are more than `most`.
async fn collect_kind(
    connection: &Connection,
    kind: Kind,
    most: usize,
    spool: &mut Spool,
) -> Result<Option<()>, WorldError> {
    let mut found = 0;
    let Connection { client, namespace } = connection;
    let (group, version) = kind.group_version();
    let resource = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk(group, version, kind.as_str()),
        kind.plural(),
    );
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let mut parameters = ListParams::default().limit(PAGE);
    if let Some(labels) = kind.label_selector() {
        parameters = parameters.labels(labels);
    }
    loop {
        let page = api.list(&parameters).await.map_err(|source| WorldError::List {
            kind: kind.plural(),
            namespace: namespace.clone(),
            source: Box::new(source),
        })?;
        found += page.items.len();
        if found > most {
            return Ok(None);
        }
        for object in page.items {
            let object = serde_json::to_value(object).expect("what was JSON can be JSON again");
            spool.push(kind, object)?;
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(Some(())),
        }
    }
}

/// The state that the arguments name.
pub(crate) async fn load(arguments: &WorldArguments) -> Result<StateFile, WorldError> {
    if let Some(file) = &arguments.state {
        return read(file);
    }
    let connection = connect(&arguments.client).await?;
    let live = live_of(&connection, usize::MAX).await?;
    Ok(live.expect("no fleet has as many machines as that"))
}

/// The live state of a fleet with at most so many machines; `None`: it has more.
pub(crate) async fn live_of(
    connection: &Connection,
    machines: usize,
) -> Result<Option<StateFile>, WorldError> {
    let Some((spool, time)) = collect_up_to(connection, machines).await? else { return Ok(None) };
    // Through the form of the file, so that a live plan and one of an export cannot differ.
    let mut bytes = Vec::new();
    spool.finish(&connection.namespace, time, true, &mut bytes)?;
    Ok(Some(StateFile::read(LIVE, bytes.as_slice())?))
}

/// Says what of a state cannot be read: the controller cannot read it either.
pub(crate) fn note_faults(arguments: &WorldArguments, state: &StateFile, printer: Printer) {
    let file = arguments.state.as_deref().map_or_else(|| LIVE.to_owned(), |file| file.display().to_string());
    for fault in state.faults.iter().take(FAULTS_NAMED) {
        printer.note(format!("{file}:{}: {} cannot be read: {}", fault.line, fault.what, fault.why));
    }
    if let Some(more) = state.faults.len().checked_sub(FAULTS_NAMED).filter(|more| *more > 0) {
        printer.note(format!("{more} more objects of {file} cannot be read"));
    }
}

fn read(file: &Path) -> Result<StateFile, WorldError> {
    let open = |source| WorldError::Open { file: file.to_owned(), source };
    Ok(StateFile::read(&file.display().to_string(), File::open(file).map_err(open)?)?)
}
