//! What is to come for a live fleet, for commands that show it beside what is: the planner's forecast of all its objects.
//!
//! Never an error: a screen without its forecast is better than none, and the reason is said beside it.

use muster_model::{Instant, MachineName, Snapshot};
use muster_planner::{Course, Fate, Forecast, forecast};
use serde::Serialize;

use crate::connect::Connection;
use crate::plan::{ForecastReport, of_forecast, why_not};
use crate::waits::{Waits, waits_of};
use crate::world::live_of;

/// Of larger fleets a screen shows no forecast by itself: reading them whole and planning their weeks takes more than a
/// person waits. `muster plan` and `muster simulate` show it.
const MOST_MACHINES: usize = 2_000;

/// When it is a machine's turn, and when it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Turn {
    /// `Converges`, `Later`, `AwaitingReport` or `Never`.
    pub(crate) fate: &'static str,
    /// When its next activity starts; absent where none is foreseen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) start_time: Option<Instant>,
    /// In which window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) window: Option<String>,
    /// When it is as wanted, with steps that take as long as half of them do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) converged_time: Option<Instant>,
    /// The same, with steps that take as long as one in twenty does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slow_converged_time: Option<Instant>,
    /// Why it is not as wanted by then, when all else is done: where it converges later or never.
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    pub(crate) why_not: Option<WhyNot>,
    /// How far it was looked.
    pub(crate) until_time: Instant,
}

/// What is said of a machine then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct WhyNot {
    pub(crate) reason: &'static str,
    pub(crate) rule: &'static str,
    pub(crate) message: String,
}

/// The fleet's, or why there is none.
pub(crate) async fn of_fleet(connection: &Connection) -> Result<ForecastReport, String> {
    Ok(of_forecast(&look(connection, forecast).await?))
}

/// One machine's (`None`: it is as wanted, or not ours to change, or nothing is known of it), and whom it waits for.
pub(crate) async fn of_machine(
    connection: &Connection,
    machine: &MachineName,
) -> Result<(Option<Turn>, Waits), String> {
    let name = machine.clone();
    look(connection, move |snapshot| (turn(&forecast(snapshot), &name), waits_of(snapshot, &name))).await
}

async fn look<T: Send + 'static>(
    connection: &Connection,
    look: impl FnOnce(&Snapshot) -> T + Send + 'static,
) -> Result<T, String> {
    let state = live_of(connection, MOST_MACHINES).await.map_err(|error| error.to_string())?;
    let Some(state) = state else {
        return Err(format!(
            "the fleet has more than {MOST_MACHINES} machines: `muster plan` says what is to come"
        ));
    };
    let look = move || {
        let at = state.header.time;
        look(&state.into_snapshot(at))
    };
    tokio::task::spawn_blocking(look).await.map_err(|error| error.to_string())
}

/// One machine's, of the whole fleet's.
pub(crate) fn turn(found: &Forecast, name: &MachineName) -> Option<Turn> {
    let converges = |course: &Course| match course.fates.get(name) {
        Some(Fate::Converges(at)) => Some(*at),
        _ => None,
    };
    let becomes = found.typical.fates.get(name)?;
    let fate = match becomes {
        Fate::Converges(at) if *at <= found.from => return None,
        Fate::Unknown(_) | Fate::Unmanaged(_) => return None,
        Fate::Converges(_) => "Converges",
        Fate::Later(_) => "Later",
        fate @ Fate::Never(_) if fate.awaits_report() => "AwaitingReport",
        Fate::Never(_) => "Never",
    };
    let start = found.typical.starts.get(name);
    Some(Turn {
        fate,
        start_time: start.map(|(at, _)| *at),
        window: start.and_then(|(_, window)| window.as_ref().map(ToString::to_string)),
        converged_time: converges(&found.typical),
        slow_converged_time: converges(&found.slow),
        why_not: why_not(becomes).map(|(_, verdict)| WhyNot {
            reason: verdict.reason(),
            rule: verdict.rule(),
            message: verdict.message(),
        }),
        until_time: found.until,
    })
}

impl Turn {
    /// In words.
    pub(crate) fn in_words(&self, shown: impl Fn(Instant) -> String) -> String {
        let Self { fate, start_time, window, converged_time, slow_converged_time, why_not, until_time } =
            self;
        let window = window.as_ref().map_or(String::new(), |window| format!(" in {window}"));
        let start = start_time.map_or(String::new(), |at| format!("its turn is at {}{window}, ", shown(at)));
        let end = match (*fate, converged_time, slow_converged_time) {
            ("Converges", Some(at), Some(slow)) if slow != at => {
                format!("as wanted at {}, or {} if steps are slow", shown(*at), shown(*slow))
            }
            ("Converges", Some(at), _) => format!("as wanted at {}", shown(*at)),
            ("AwaitingReport", ..) => "then only its next report tells".to_owned(),
            ("Never", ..) => "as wanted by nothing that is foreseen".to_owned(),
            _ => format!("as wanted not before {}", shown(*until_time)),
        };
        let because = why_not.as_ref().map_or(String::new(), |WhyNot { reason, rule, message }| {
            format!(" ({reason}, rule {rule}): {message}")
        });
        format!("forecast: {start}{end}{because}")
    }
}
