//! `muster state export`: everything that decisions depend on, as one file to plan from elsewhere.

use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use muster_state::ExportError;
use tempfile::NamedTempFile;

use crate::arguments::StateExportArguments;
use crate::connect::{ConnectError, connect};
use crate::exit::ExitStatus;
use crate::printer::Printer;
use crate::world::{WorldError, collect};

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateExportError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The state cannot be read.
    #[error(transparent)]
    World(#[from] WorldError),
    /// The file cannot be made.
    #[error("cannot write {file}")]
    Create {
        /// The file.
        file: PathBuf,
        source: io::Error,
    },
    /// It cannot be written.
    #[error(transparent)]
    Export(#[from] ExportError),
}

/// `muster state export [-o FILE]`.
pub(crate) async fn state_export(
    arguments: &StateExportArguments,
    printer: Printer,
) -> Result<ExitStatus, StateExportError> {
    let StateExportArguments { output, client } = arguments;
    let connection = connect(client).await?;
    let (spool, time) = collect(&connection).await?;
    let namespace = &connection.namespace;
    let header = match output.as_deref() {
        None => spool.finish(namespace, time, false, &mut BufWriter::new(io::stdout().lock()))?,
        Some(file) => {
            let create = |source| StateExportError::Create { file: file.to_owned(), source };
            let compressed = file.extension().is_some_and(|end| end == "zst");
            // A file that is there is whole: a plan from half a fleet would be a wrong one.
            let mut aside = NamedTempFile::new_in(folder(file)).map_err(create)?;
            let header = spool.finish(namespace, time, compressed, &mut BufWriter::new(&mut aside))?;
            aside.as_file().sync_all().map_err(create)?;
            aside.persist(file).map_err(|error| create(error.error))?;
            header
        }
    };
    printer.note(format!("{} objects of namespace {namespace} at {}", header.objects, header.time));
    Ok(ExitStatus::Done)
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
