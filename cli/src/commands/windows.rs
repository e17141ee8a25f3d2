//! `muster windows`: when the windows of a folder are open, in UTC, as the planner reckons (rules W3 to W5).

use std::path::PathBuf;

use jiff::Timestamp;
use muster_model::Window;
use muster_source::{Model, Rejected, TreeError, read_folder, validate};
use serde::Serialize;

use crate::arguments::{Output, WindowsArguments};
use crate::exit::ExitStatus;
use crate::printer::{Printer, table};

/// The most spans that are printed of one window: a year of every half hour.
const MAX_SPANS: usize = 20_000;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WindowsError {
    /// The folder cannot be read.
    #[error("cannot read {folder} as a whole, so nothing can be said of it")]
    Folder {
        /// Which.
        folder: PathBuf,
        source: TreeError,
    },
    /// Too much was asked.
    #[error("window {window} opens more than {MAX_SPANS} times from {from} to {to}: ask for less")]
    TooMany {
        /// Which.
        window: String,
        /// From when.
        from: Timestamp,
        /// Until when.
        to: Timestamp,
    },
}

#[derive(Serialize)]
struct Answer {
    windows: Vec<WindowAnswer>,
}

#[derive(Serialize)]
struct WindowAnswer {
    namespace: String,
    name: String,
    open: Vec<[Timestamp; 2]>,
    #[serde(skip)]
    action: &'static str,
}

/// `muster windows --desired DIR --from T --to T`.
pub(crate) fn windows(arguments: &WindowsArguments, printer: Printer) -> Result<ExitStatus, WindowsError> {
    let WindowsArguments { desired, from, to, namespace, output } = arguments;
    if to <= from {
        printer.note("error: --to must be after --from");
        return Ok(ExitStatus::Usage);
    }
    let tree =
        read_folder(desired).map_err(|source| WindowsError::Folder { folder: desired.clone(), source })?;
    let set = match validate(&tree, None) {
        Ok(set) => set,
        Err(Rejected { problems, total, .. }) => {
            problems.iter().for_each(|problem| printer.note(problem.to_string()));
            printer.note(format!("error: {total} problem(s); mend them first"));
            return Ok(ExitStatus::Problems);
        }
    };
    let mut windows = Vec::new();
    for object in &set.objects {
        let Model::Window(window) = &object.model else { continue };
        let written = object.value.pointer("/metadata/namespace").and_then(serde_json::Value::as_str);
        windows.push(WindowAnswer {
            namespace: written.unwrap_or(namespace).to_owned(),
            name: window.name.to_string(),
            open: open(window, *from, *to)?,
            action: match window.action {
                muster_model::WindowAction::Allow => "Allow",
                muster_model::WindowAction::Deny => "Deny",
            },
        });
    }
    windows.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    match output {
        Output::Json => printer.pretty_json(&Answer { windows }),
        Output::Text => printer.line(text(&windows)),
    }
    Ok(ExitStatus::Done)
}

/// Every span that touches the time asked for; one without a beginning or an end is cut to it.
fn open(window: &Window, from: Timestamp, to: Timestamp) -> Result<Vec<[Timestamp; 2]>, WindowsError> {
    let Ok(when) = &window.when else { return Ok(Vec::new()) };
    let spans = when.open_spans(from, to).take(MAX_SPANS + 1);
    let spans: Vec<[Timestamp; 2]> =
        spans.map(|span| [span.start.unwrap_or(from), span.end.unwrap_or(to)]).collect();
    if spans.len() > MAX_SPANS {
        return Err(WindowsError::TooMany { window: window.name.to_string(), from, to });
    }
    Ok(spans)
}

fn text(windows: &[WindowAnswer]) -> String {
    let mut rows = vec![["WINDOW", "ACTION", "OPEN", "CLOSED AGAIN"].map(str::to_owned).to_vec()];
    for WindowAnswer { namespace: _, name, open, action } in windows {
        if open.is_empty() {
            rows.push(vec![name.clone(), (*action).to_owned(), "never in this time".to_owned()]);
        }
        for [start, end] in open {
            rows.push(vec![name.clone(), (*action).to_owned(), start.to_string(), end.to_string()]);
        }
    }
    if windows.is_empty() { "there is no MaintenanceWindow".to_owned() } else { table(&rows, 0) }
}
