//! `muster resolve` and `muster retry`: say up to which activity of a machine failures are dealt with, or attempts
//! no longer count (rules B2 and A6). Both are fields of its spec, so Git or kubectl could write them as well.

use jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use muster_crds::{FleetMachine, names};
use serde_json::json;

use crate::arguments::MarkArguments;
use crate::connect::{ConnectError, Connection, connect, is_missing};
use crate::exit::ExitStatus;
use crate::printer::Printer;

/// Field manager of what people set with this command.
const MANAGER: &str = "muster-cli";

/// The reason of a machine that has been silent for `absentAfter`.
const ABSENT: &str = "Absent";

/// Why the mark was not set.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MarkError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No such machine.
    #[error("there is no machine {machine} in namespace {namespace}; `kubectl get fm` lists them")]
    Missing {
        /// The name asked for.
        machine: String,
        /// Where.
        namespace: String,
    },
    /// The API did not answer as it should.
    #[error("cannot {operation} machine {machine}")]
    Api {
        /// What was tried.
        operation: &'static str,
        /// On which machine.
        machine: String,
        source: Box<kube::Error>,
    },
}

/// Which of the two.
#[derive(Clone, Copy)]
enum Mark {
    Resolved,
    Retried,
}

/// `muster resolve MACHINE`.
pub(crate) async fn resolve(arguments: &MarkArguments, printer: Printer) -> Result<ExitStatus, MarkError> {
    set(arguments, Mark::Resolved, printer).await
}

/// `muster retry MACHINE`.
pub(crate) async fn retry(arguments: &MarkArguments, printer: Printer) -> Result<ExitStatus, MarkError> {
    set(arguments, Mark::Retried, printer).await
}

async fn set(arguments: &MarkArguments, mark: Mark, printer: Printer) -> Result<ExitStatus, MarkError> {
    let Connection { client, namespace } = connect(&arguments.client).await?;
    let machine = arguments.machine.as_str();
    let api: Api<FleetMachine> = Api::namespaced(client, &namespace);
    let failed = |operation, source: kube::Error| match is_missing(&source) {
        true => MarkError::Missing { machine: machine.to_owned(), namespace: namespace.clone() },
        false => MarkError::Api { operation, machine: machine.to_owned(), source: Box::new(source) },
    };
    let found = api.get(machine).await.map_err(|error| failed("read", error))?;
    let decision = found.status.and_then(|status| status.decision);
    let number = decision.as_ref().map_or(0, |decision| decision.highest_activity_number);
    let (field, before) = match mark {
        Mark::Resolved => ("resolvedThrough", found.spec.resolved_through),
        Mark::Retried => ("retriedThrough", found.spec.retried_through),
    };
    // Of an absent machine the absence itself is resolved, whether or not anything was done there (rule B4).
    let absent = decision.as_ref().is_some_and(|decision| decision.reason == ABSENT);
    let absence = matches!(mark, Mark::Resolved) && absent;
    if number <= before && !absence {
        printer.line(unchanged(mark, machine, number));
        return Ok(ExitStatus::Done);
    }
    let mut patch = json!({"spec": {field: number}});
    if absence {
        patch["metadata"] =
            json!({"annotations": {names::ANNOTATION_ABSENCE_RESOLVED: Timestamp::now().to_string()}});
    }
    let patch = Patch::Merge(patch);
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(machine, &parameters, &patch).await.map_err(|error| failed("mark", error))?;
    printer.line(effect(mark, machine, number));
    Ok(ExitStatus::Done)
}

fn effect(mark: Mark, machine: &str, number: u64) -> String {
    match mark {
        Mark::Resolved => format!(
            "{machine}: failures up to activity {number} are resolved; they spend no budget any more, and an absent \
             machine leaves its budgets' count"
        ),
        Mark::Retried => format!(
            "{machine}: attempts up to activity {number} count no more; what stalled is tried again, within windows \
             and budgets"
        ),
    }
}

fn unchanged(mark: Mark, machine: &str, number: u64) -> String {
    match (mark, number) {
        (_, 0) => format!("{machine}: no activity yet, so there is nothing to do"),
        (Mark::Resolved, _) => {
            format!("{machine}: failures up to activity {number} were resolved before; nothing to do")
        }
        (Mark::Retried, _) => {
            format!("{machine}: attempts up to activity {number} were set aside before; nothing to do")
        }
    }
}
