//! The planner's forecast in a report: when the fleet converges, in which windows, and who never will.

use std::collections::BTreeMap;

use jiff::Timestamp;
use muster_model::{MachineName, Verdict};
use muster_planner::{Course, Ending, Fate, Fates, Forecast, Freeze, Opening};
use serde::Serialize;

/// How many openings and freezes are listed; there are as many as nights until the fleet has converged.
const LISTED: usize = 100;

/// What is to come if nothing fails and nobody changes anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ForecastReport {
    /// When the last machine that converges has, with steps that take as long as half of them do.
    pub(crate) converged_time: Option<Timestamp>,
    /// The same, with steps that take as long as one in twenty does.
    pub(crate) slow_converged_time: Option<Timestamp>,
    /// `Settled`, `Horizon` or `Limit`.
    pub(crate) ending: &'static str,
    /// How far it looks.
    pub(crate) until_time: Timestamp,
    /// What becomes of the machines; these sum to all.
    pub(crate) machines: FateCounts,
    /// Why machines converge later or never, by reason.
    pub(crate) reasons: Vec<WhyNot>,
    /// Machines whose transaction is taken to be what was asked and nothing besides.
    pub(crate) assumed: usize,
    /// In which openings machines start, the first hundred.
    pub(crate) openings: Vec<OpeningReport>,
    pub(crate) openings_total: usize,
    /// Freezes that machines run into, the first hundred.
    pub(crate) freezes: Vec<FreezeReport>,
    pub(crate) freezes_total: usize,
}

/// How many machines have which fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FateCounts {
    pub(crate) converged: usize,
    pub(crate) converging: usize,
    pub(crate) later: usize,
    /// Nothing more is known before their next report.
    pub(crate) awaiting_report: usize,
    pub(crate) never: usize,
    pub(crate) unknown: usize,
    pub(crate) unmanaged: usize,
}

/// Why some machines do not converge within the time that is looked at, when all else is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WhyNot {
    /// `Later` or `Never`.
    pub(crate) fate: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) rule: &'static str,
    /// How many machines.
    pub(crate) machines: usize,
    /// One of them.
    pub(crate) example: String,
    /// What is said of it.
    pub(crate) message: String,
}

/// One opening of a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OpeningReport {
    pub(crate) window: Option<String>,
    pub(crate) from_time: Timestamp,
    pub(crate) until_time: Option<Timestamp>,
    pub(crate) machines: usize,
}

/// One freeze.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FreezeReport {
    pub(crate) window: String,
    pub(crate) from_time: Timestamp,
    pub(crate) until_time: Option<Timestamp>,
    pub(crate) machines: usize,
}

/// What the planner said.
pub(crate) fn of_forecast(found: &Forecast) -> ForecastReport {
    let Fates { converged, converging, later, awaiting_report, never, unknown, unmanaged } = found.totals();
    let Forecast { from: _, until, typical, slow } = found;
    let Course { ending, converged: when, openings, starts: _, fates, freezes, assumed } = typical;
    ForecastReport {
        converged_time: *when,
        slow_converged_time: slow.converged,
        ending: match ending {
            Ending::Settled => "Settled",
            Ending::Horizon => "Horizon",
            Ending::Limit => "Limit",
        },
        until_time: *until,
        machines: FateCounts { converged, converging, later, awaiting_report, never, unknown, unmanaged },
        reasons: reasons(fates),
        assumed: *assumed,
        openings_total: openings.len(),
        openings: openings.iter().take(LISTED).map(opening).collect(),
        freezes_total: freezes.len(),
        freezes: freezes.iter().take(LISTED).map(freeze).collect(),
    }
}

/// Those of most machines first. There are no more than there are reasons.
fn reasons(fates: &BTreeMap<MachineName, Fate>) -> Vec<WhyNot> {
    let mut known: BTreeMap<(&'static str, &'static str, &'static str), WhyNot> = BTreeMap::new();
    for (name, fate) in fates {
        let Some((fate, verdict)) = why_not(fate) else { continue };
        let (reason, rule) = (verdict.reason(), verdict.rule());
        let one = known.entry((fate, reason, rule)).or_insert_with(|| WhyNot {
            fate,
            reason,
            rule,
            machines: 0,
            example: name.to_string(),
            message: verdict.message(),
        });
        one.machines += 1;
    }
    let mut all: Vec<WhyNot> = known.into_values().collect();
    all.sort_by_key(|one| std::cmp::Reverse(one.machines));
    all
}

/// Why a machine does not converge, as far as it is looked; `None`: it does, or it is not said.
pub(crate) fn why_not(fate: &Fate) -> Option<(&'static str, &Verdict)> {
    match fate {
        Fate::Later(verdict) => Some(("Later", verdict)),
        fate @ Fate::Never(verdict) => (!fate.awaits_report()).then_some(("Never", verdict)),
        Fate::Converges(_) | Fate::Unknown(_) | Fate::Unmanaged(_) => None,
    }
}

fn opening(opening: &Opening) -> OpeningReport {
    let Opening { window, from, until, machines } = opening;
    OpeningReport {
        window: window.as_ref().map(ToString::to_string),
        from_time: *from,
        until_time: *until,
        machines: machines.len(),
    }
}

fn freeze(freeze: &Freeze) -> FreezeReport {
    let Freeze { window, from, until, machines } = freeze;
    FreezeReport { window: window.to_string(), from_time: *from, until_time: *until, machines: *machines }
}

/// In words, a line each; nothing where there is nothing to come.
pub(crate) fn in_words(forecast: &ForecastReport) -> Vec<String> {
    /// More nights than these say nothing new to people.
    const SHOWN: usize = 7;
    let FateCounts { converged: _, converging, later, awaiting_report, never, unknown: _, unmanaged: _ } =
        forecast.machines;
    if converging + later + awaiting_report + never == 0 {
        return Vec::new();
    }
    let mut lines = Vec::new();
    match (forecast.converged_time, forecast.slow_converged_time) {
        _ if converging == 0 => {}
        (Some(typical), Some(slow)) if slow != typical => {
            lines.push(format!("forecast: {converging} converge by {typical}, or {slow} if steps are slow"));
        }
        (Some(typical), _) => lines.push(format!("forecast: {converging} converge by {typical}")),
        (None, _) => lines.push(format!("forecast: {converging} converge by {}", forecast.until_time)),
    }
    if later > 0 {
        lines.push(format!("forecast: {later} perhaps later"));
        lines.extend(because(forecast, "Later"));
    }
    if awaiting_report > 0 {
        lines.push(format!("forecast: {awaiting_report} only when they have reported once more"));
    }
    if never > 0 {
        lines.push(format!("forecast: {never} by nothing that is foreseen"));
        lines.extend(because(forecast, "Never"));
    }
    if forecast.assumed > 0 {
        lines.push(format!(
            "forecast: {} without a word from their own apt: taken to change what is asked and nothing besides",
            forecast.assumed
        ));
    }
    for OpeningReport { window, from_time, until_time: _, machines } in forecast.openings.iter().take(SHOWN) {
        let window = window.as_ref().map_or(String::new(), |window| format!(" in {window}"));
        lines.push(format!("forecast: {machines} start{window} from {from_time}"));
    }
    let more = forecast.openings_total.saturating_sub(SHOWN);
    if more > 0 {
        lines.push(format!("forecast: and in {more} openings more"));
    }
    for FreezeReport { window, from_time, until_time: _, machines } in forecast.freezes.iter().take(SHOWN) {
        lines.push(format!("forecast: freeze {window} from {from_time} finds {machines} not yet done"));
    }
    lines
}

/// Why, a line a reason.
fn because(forecast: &ForecastReport, fate: &'static str) -> impl Iterator<Item = String> {
    /// Who has more reasons than these has them in JSON.
    const SHOWN: usize = 5;
    let reasons = forecast.reasons.iter().filter(move |one| one.fate == fate).take(SHOWN);
    reasons.map(|WhyNot { fate: _, reason, rule, machines, example, message }| {
        format!("forecast:   {machines} ({reason}, rule {rule}), {example}: {message}")
    })
}
