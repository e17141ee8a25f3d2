//! `muster up`: all of Muster on one machine. This reads the command line; `crate::up` runs it.

use crate::arguments::UpArguments;
use crate::exit::ExitStatus;
use crate::printer::Printer;
use crate::up::{self, Desired, UpError};

/// `muster up DIR|URL`.
pub(crate) async fn up(arguments: UpArguments, printer: Printer) -> Result<ExitStatus, UpError> {
    match Desired::parse(&arguments.source) {
        Ok(desired) => up::run(arguments, desired, printer).await,
        Err(error) => {
            printer.note(format!("error: {error}"));
            Ok(ExitStatus::Usage)
        }
    }
}
