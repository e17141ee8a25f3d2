//! `muster simulate`: a fleet with desired resources, run forward with the real decisions, nothing going wrong.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use muster_checker::event::{Event, Header, MAX_LINE_BYTES};
use muster_source::Rejected;
use muster_storm::{Simulated, simulate as run};

use crate::arguments::{DesiredArguments, Output, SimulateArguments};
use crate::exit::ExitStatus;
use crate::plan::{Replaced, WishError, overlay, wish};
use crate::printer::Printer;
use crate::simulate::{Question, report, text};
use crate::world::{WorldError, load, note_faults};

/// How far ahead it may look: what is decided today is not in force next year.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);

/// How many machines: every pass plans for all of them, and what each does is kept for the log.
const MOST_MACHINES: usize = 20_000;

/// What a log says of who wrote it.
const WRITER: &str = concat!("muster simulate ", env!("CARGO_PKG_VERSION"));

/// How the writer of a log that may be written over is called.
const WRITERS: &str = "muster simulate ";

/// Why there is no simulation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SimulateError {
    /// No state.
    #[error(transparent)]
    World(#[from] WorldError),
    /// No desired resources.
    #[error(transparent)]
    Wish(#[from] WishError),
    /// The log cannot be written.
    #[error("cannot write events to {}", file.display())]
    Write { file: PathBuf, source: io::Error },
    /// Something else is there.
    #[error("{} is there and no log of a simulation: give --events another file", file.display())]
    NotOurs { file: PathBuf },
}

/// `muster simulate`: 0 the fleet converges in time, 2 it does not, 1 problems.
pub(crate) async fn simulate(
    arguments: &SimulateArguments,
    printer: Printer,
) -> Result<ExitStatus, SimulateError> {
    let SimulateArguments { desired, source, world, from, until, seed, events, output } = arguments;
    let mut state = load(world).await?;
    note_faults(world, &state, printer);
    let from = from.unwrap_or(state.header.time);
    if *until <= from || until.duration_since(from) > LONGEST {
        printer.note(format!("error: --until must be after {from}, by a year at the most"));
        return Ok(ExitStatus::Usage);
    }
    if let Some(file) = events {
        may_write(file)?;
    }
    let namespace = state.header.namespace.clone();
    let asked = DesiredArguments { desired: Some(desired.clone()), ..DesiredArguments::default() };
    let set = match wish(&asked, &namespace)?.head {
        Ok(set) => set,
        Err(Rejected { problems, total, .. }) => {
            problems.iter().for_each(|problem| printer.note(problem.to_string()));
            printer.note(format!(
                "error: {total} problem(s), so nothing of it would be applied; mend them first"
            ));
            return Ok(ExitStatus::Problems);
        }
    };
    let owners = std::mem::take(&mut state.owners);
    let replaced = match Replaced::of(&owners, source.as_deref()) {
        Ok(replaced) => replaced,
        Err(error) => {
            printer.note(format!("error: {error}"));
            return Ok(ExitStatus::Usage);
        }
    };
    let world = overlay(&state.into_snapshot(from), &owners, &replaced, &set);
    if world.machines.len() > MOST_MACHINES {
        let machines = world.machines.len();
        printer.note(format!(
            "error: the fleet has {machines} machines, and a simulation takes {MOST_MACHINES} at most; `muster plan` says \
             what is to come"
        ));
        return Ok(ExitStatus::Usage);
    }
    let simulated = run(&world, &namespace, WRITER, *until, *seed);
    if let Some(file) = events {
        write(file, &simulated).map_err(|source| SimulateError::Write { file: file.clone(), source })?;
    }
    let report = report(&Question {
        revision: &set.revision,
        namespace: &namespace,
        from,
        until: *until,
        seed: *seed,
        simulated: &simulated,
    });
    match output {
        Output::Text => printer.line(text(&report)),
        Output::Json => printer.pretty_json(&report),
    }
    Ok(if report.converged { ExitStatus::Done } else { ExitStatus::Changes })
}

/// Nothing but an earlier simulation is written over: the log of a fleet cannot be had again.
fn may_write(file: &Path) -> Result<(), SimulateError> {
    let fail = |source| SimulateError::Write { file: file.to_owned(), source };
    let there = match File::open(file) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fail(error)),
    };
    let mut line = String::new();
    // What is no text is no log either.
    let read = BufReader::new(there.take(MAX_LINE_BYTES as u64)).read_line(&mut line);
    let ours = match Header::parse(line.trim_end()) {
        Ok(header) => header.writer.starts_with(WRITERS),
        Err(_) => line.is_empty() && read.is_ok(),
    };
    if ours { Ok(()) } else { Err(SimulateError::NotOurs { file: file.to_owned() }) }
}

fn write(file: &Path, simulated: &Simulated) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(file)?);
    writeln!(out, "{}", simulated.header.to_line())?;
    for line in simulated.events.iter().map(Event::to_line) {
        writeln!(out, "{line}")?;
    }
    out.flush()
}
