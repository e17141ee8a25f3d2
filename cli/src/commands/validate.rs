//! `muster validate`: judges a folder as a source would before it applies it (rule G1), without a server.

use std::path::PathBuf;

use muster_source::{ChangeSet, Problem, Rejected, TreeError, read_folder, validate as judge};
use serde::Serialize;

use crate::arguments::{Output, ValidateArguments};
use crate::exit::ExitStatus;
use crate::printer::Printer;

/// Why a folder could not be judged.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {folder} as a whole, so nothing can be said of it")]
pub(crate) struct ValidateError {
    folder: PathBuf,
    source: TreeError,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    valid: bool,
    revision: &'a str,
    objects: usize,
    problems: &'a [Problem],
    problems_total: usize,
}

/// `muster validate DIR`: 0 without problems, else 1.
pub(crate) fn validate(arguments: &ValidateArguments, printer: Printer) -> Result<ExitStatus, ValidateError> {
    let ValidateArguments { folder, output } = arguments;
    let tree = read_folder(folder).map_err(|source| ValidateError { folder: folder.clone(), source })?;
    let revision = &tree.revision;
    let judged = judge(&tree, None);
    let (objects, problems, total) = match &judged {
        Ok(ChangeSet { objects, .. }) => (objects.len(), [].as_slice(), 0),
        Err(Rejected { problems, total, .. }) => (0, problems.as_slice(), *total),
    };
    match output {
        Output::Json => printer.pretty_json(&Answer {
            valid: judged.is_ok(),
            revision,
            objects,
            problems,
            problems_total: total,
        }),
        Output::Text => {
            for problem in problems {
                printer.line(problem.to_string());
            }
            match (total, problems.len()) {
                (0, _) => printer.line(format!("{objects} objects, no problems")),
                (total, listed) if total > listed => {
                    printer.line(format!("{total} problems, of which {listed} are listed"))
                }
                (1, _) => printer.line("1 problem"),
                (total, _) => printer.line(format!("{total} problems")),
            }
        }
    }
    Ok(if judged.is_ok() { ExitStatus::Done } else { ExitStatus::Problems })
}
