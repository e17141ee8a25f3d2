//! `muster check`: holds an event log against the rules, line by line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use muster_checker::event::{Event, Header, LogError, MAX_LINE_BYTES};
use muster_checker::{Checker, MAX_VIOLATIONS, Severity, Violation};
use serde::Serialize;
use smol_str::SmolStr;
use std::collections::BTreeMap;

use crate::arguments::{CheckArguments, Output};
use crate::exit::ExitStatus;
use crate::printer::Printer;

/// Why a log could not be judged to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    /// It cannot be opened or read.
    #[error("cannot read {}", file.display())]
    Read { file: PathBuf, source: io::Error },
    /// A line that is none.
    #[error("{}:{line}: cannot be read as an event log (docs/events.md says what one is)", file.display())]
    Line { file: PathBuf, line: u64, source: LogError },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    clean: bool,
    namespace: &'a str,
    events: u64,
    starts: u64,
    violations: Vec<Found<'a>>,
    violations_total: u64,
    /// How often each rule held something back.
    binding: &'a BTreeMap<SmolStr, u64>,
    faults: &'a BTreeMap<SmolStr, u64>,
}

#[derive(Serialize)]
struct Found<'a> {
    line: u64,
    #[serde(flatten)]
    violation: &'a Violation,
}

/// `muster check EVENTS`: 0 when no rule was broken, 2 when one was.
pub(crate) fn check(arguments: &CheckArguments, printer: Printer) -> Result<ExitStatus, CheckError> {
    let CheckArguments { events: file, output } = arguments;
    let (header, checker) = judge(file, printer)?;
    let (found, total) = (checker.violations(), checker.violations().len() as u64 + checker.left_out());
    match output {
        Output::Json => printer.pretty_json(&Answer {
            clean: total == 0,
            namespace: &header.namespace,
            events: checker.events(),
            starts: checker.counts().starts,
            violations: found.iter().map(|violation| Found { line: line_of(violation), violation }).collect(),
            violations_total: total,
            binding: &checker.counts().binding,
            faults: &checker.counts().faults,
        }),
        Output::Text => say(file, &checker, found, total, printer),
    }
    Ok(if total == 0 { ExitStatus::Done } else { ExitStatus::Violations })
}

fn say(file: &Path, checker: &Checker, found: &[Violation], total: u64, printer: Printer) {
    for violation in found {
        printer.line(format!("{}:{}: {violation}", file.display(), line_of(violation)));
    }
    let judged = format!("{} events, {} starts", checker.events(), checker.counts().starts);
    let broken = found.iter().filter(|one| one.severity == Severity::Violation).count();
    match (total, broken) {
        (0, _) => printer.line(format!("{judged}: no rule was broken")),
        (total, _) if checker.left_out() > 0 => {
            printer.line(format!("{judged}: {total} violations, of which {MAX_VIOLATIONS} are listed"));
        }
        (_, 0) => printer.line(format!("{judged}: {total} places that cannot be judged")),
        (total, broken) if total > broken as u64 => {
            let unjudged = total - broken as u64;
            printer.line(format!("{judged}: {broken} violations, {unjudged} places that cannot be judged"));
        }
        (1, _) => printer.line(format!("{judged}: 1 violation")),
        (total, _) => printer.line(format!("{judged}: {total} violations")),
    }
}

/// The header is the first line.
fn line_of(violation: &Violation) -> u64 {
    violation.event + 1
}

fn judge(file: &Path, printer: Printer) -> Result<(Header, Checker), CheckError> {
    let unread = |source| CheckError::Read { file: file.to_owned(), source };
    let at = |line, source| CheckError::Line { file: file.to_owned(), line, source };
    let mut reader = BufReader::with_capacity(1 << 16, File::open(file).map_err(unread)?);
    let mut text = String::new();
    next(&mut reader, &mut text).map_err(unread)?;
    let header = Header::parse(text.trim_end()).map_err(|source| at(1, source))?;
    let mut checker = Checker::new(&header);
    for line in 2_u64.. {
        if next(&mut reader, &mut text).map_err(unread)? == 0 {
            break;
        }
        let whole = text.ends_with('\n');
        match Event::parse(text.trim_end()) {
            Ok(event) => checker.feed(&event),
            // Its writer is at it, or was killed there.
            Err(LogError::Event(_)) if !whole && text.len() <= MAX_LINE_BYTES => {
                printer
                    .note(format!("{}:{line}: the last line is incomplete and was left out", file.display()));
                break;
            }
            Err(source) => return Err(at(line, source)),
        }
    }
    Ok((header, checker))
}

/// Reads a line, at most a byte more than is allowed, so that a file without line ends does not fill the memory.
fn next(reader: &mut impl BufRead, text: &mut String) -> io::Result<usize> {
    text.clear();
    reader.take(MAX_LINE_BYTES as u64 + 1).read_line(text)
}
