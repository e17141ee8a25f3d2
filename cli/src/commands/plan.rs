//! `muster plan`: what desired resources would do to which machine, before anybody merges them. Nothing is written.

use jiff::Timestamp;

use crate::arguments::{PlanArguments, PlanOutput};
use crate::exit::ExitStatus;
use crate::plan::{Outcome, Question, Replaced, WishError, markdown, report, text, wish};
use crate::printer::Printer;
use crate::world::{WorldError, load, note_faults};

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    /// No state.
    #[error(transparent)]
    World(#[from] WorldError),
    /// No desired resources.
    #[error(transparent)]
    Wish(#[from] WishError),
}

/// `muster plan`: 0 nothing to do, 2 changes, 1 problems, 3 a limit of the fleet policy exceeded.
pub(crate) async fn plan(arguments: &PlanArguments, printer: Printer) -> Result<ExitStatus, PlanError> {
    let PlanArguments { desired, world, at, output } = arguments;
    let mut state = load(world).await?;
    note_faults(world, &state, printer);
    let namespace = state.header.namespace.clone();
    let wish = wish(desired, &namespace)?;
    let owners = std::mem::take(&mut state.owners);
    let replaced = match Replaced::of(&owners, desired.source.as_deref()) {
        Ok(replaced) => replaced,
        Err(error) => {
            printer.note(format!("error: {error}"));
            return Ok(ExitStatus::Usage);
        }
    };
    if let Some(Err(base)) = &wish.base {
        printer.note(format!(
            "{} has {} problem(s), so it is not in force: compared with what is",
            base.revision, base.total
        ));
    }
    let at: Timestamp = at.unwrap_or(state.header.time);
    let world = state.into_snapshot(at);
    let question =
        Question { namespace: &namespace, world: &world, owners: &owners, replaced: &replaced, wish: &wish };
    let report = report(&question);
    match output {
        PlanOutput::Text => printer.line(text(&report)),
        PlanOutput::Json => printer.pretty_json(&report),
        PlanOutput::Markdown => printer.line(markdown(&report)),
    }
    Ok(match report.outcome() {
        Outcome::Nothing => ExitStatus::Done,
        Outcome::Changes => ExitStatus::Changes,
        Outcome::Problems => ExitStatus::Problems,
        Outcome::LimitExceeded => ExitStatus::LimitExceeded,
    })
}
