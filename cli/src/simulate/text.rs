//! The report of a simulation as text for people.

use std::collections::BTreeMap;

use super::report::{MachineReport, OpeningReport, Report, Totals};
use crate::plan::count;

/// How many names of machines a line holds; the JSON has all.
const NAMES_SHOWN: usize = 5;

/// How many openings are printed; the JSON has all.
const OPENINGS_SHOWN: usize = 60;

/// The report.
pub(crate) fn text(report: &Report) -> String {
    let Report { revision, namespace, from_time, until_time, seed, .. } = report;
    let mut lines = vec![format!(
        "simulation of {revision} for namespace {namespace}, {from_time} to {until_time}, seed {seed}"
    )];
    lines.push(String::new());
    let shown = report.openings.iter().take(OPENINGS_SHOWN);
    lines.extend(shown.map(opening));
    if let Some(more) = report.openings.len().checked_sub(OPENINGS_SHOWN).filter(|more| *more > 0) {
        lines.push(format!("and {more} more openings"));
    }
    if report.openings.is_empty() {
        lines.push("nothing starts".to_owned());
    }
    lines.extend(not_converged(&report.machines));
    lines.push(String::new());
    lines.extend(numbers(report));
    lines.join("\n")
}

fn opening(opening: &OpeningReport) -> String {
    let OpeningReport {
        window,
        from_time,
        until_time,
        machines_total,
        machines,
        most_at_once,
        finished_time,
    } = opening;
    let place = window.as_ref().map_or(String::new(), |window| format!(" {window}"));
    let until = until_time.map_or(String::new(), |until| format!(" to {until}"));
    let over = finished_time.map_or_else(
        || "not all over by the end".to_owned(),
        |finished| format!("over at {}", in_seconds(finished)),
    );
    let from = in_seconds(*from_time);
    let names = some(machines.iter().map(String::as_str));
    format!(
        "~{place} from {from}{until}: {machines_total} change, at most {most_at_once} at a time, {over}\n    {names}"
    )
}

/// Those that did not converge, the same reasons together, most machines first.
fn not_converged(machines: &[MachineReport]) -> Vec<String> {
    let mut groups: BTreeMap<(&str, &str, &str), Vec<&MachineReport>> = BTreeMap::new();
    for machine in machines.iter().filter(|machine| !matches!(machine.verdict, "Converged" | "Unmanaged")) {
        groups.entry((machine.verdict, machine.reason, machine.rule)).or_default().push(machine);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then_with(|| a.0.cmp(&b.0)));
    let mut lines = Vec::new();
    for ((verdict, reason, rule), machines) in groups {
        let names = some(machines.iter().map(|machine| machine.name.as_str()));
        lines.push(format!("x {} not converged: {verdict}, {reason} (rule {rule})", machines.len()));
        lines.push(format!("    {names}"));
        lines.push(format!("    {}: {}", machines[0].name, machines[0].message));
    }
    lines
}

fn numbers(report: &Report) -> Vec<String> {
    let Totals { machines, converged_before, converged, not_yet, blocked, unknown, unmanaged } =
        report.totals;
    let mut lines = vec![format!(
        "{machines} machines: {converged_before} converged before, {converged} converged, {not_yet} not yet, \
         {blocked} blocked, {unmanaged} unmanaged, {unknown} unknown"
    )];
    if let (most, Some(at)) = (report.most_at_once, report.most_at_once_time) {
        lines.push(format!("at most {most} with an activity at a time, first at {}", in_seconds(at)));
    }
    if report.assumed > 0 {
        lines.push(format!(
            "{} without a word from their own apt: taken to change what is asked and nothing besides",
            count(report.assumed)
        ));
    }
    lines.push(match report.converged_time {
        Some(at) => format!("the fleet converges at {}", in_seconds(at)),
        None => format!("the fleet has not converged by {}", report.until_time),
    });
    lines
}

/// A millisecond of a simulation means nothing.
fn in_seconds(at: jiff::Timestamp) -> jiff::Timestamp {
    at.round(jiff::Unit::Second).unwrap_or(at)
}

fn some<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(NAMES_SHOWN);
    let shown = names.take(NAMES_SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}
