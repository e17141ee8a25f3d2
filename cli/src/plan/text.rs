//! The report as text for people.

use super::foresight::in_words;
use super::groups::{Group, count, groups, some};
use super::held::in_words as held_back;
use super::report::{LimitReport, Report, Totals};

/// How many machines of a group are named; the JSON names all.
const NAMES_SHOWN: usize = 5;

/// How many problems are printed; the JSON has up to a thousand.
const PROBLEMS_SHOWN: usize = 50;

/// The report.
pub(crate) fn text(report: &Report) -> String {
    let mut lines = vec![title(report)];
    lines.extend(problems(report));
    if let Some(held) = &report.held {
        lines.push(String::new());
        lines.extend(held_back(held));
    }
    for group in groups(report) {
        lines.push(String::new());
        lines.extend(of_group(&group));
    }
    if !report.cancels.is_empty() {
        lines.push(String::new());
        lines.extend(
            report.cancels.iter().map(|it| format!("activity {} is canceled ({})", it.activity, it.reason)),
        );
    }
    lines.push(String::new());
    lines.extend(numbers(report));
    lines.join("\n")
}

/// What it is a plan of.
pub(crate) fn title(report: &Report) -> String {
    let Report { revision, base, at, namespace, .. } = report;
    let against = base.as_ref().map_or(String::new(), |base| format!(" against {base}"));
    format!("plan of {revision}{against} for namespace {namespace} at {at}")
}

fn problems(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    if report.problems_total > 0 {
        lines.push(String::new());
    }
    lines.extend(report.problems.iter().take(PROBLEMS_SHOWN).map(ToString::to_string));
    let more = report.problems_total.saturating_sub(report.problems.len().min(PROBLEMS_SHOWN));
    if more > 0 {
        lines.push(format!("and {more} more problems"));
    }
    lines
}

fn of_group(group: &Group) -> Vec<String> {
    let Group { severity, what, instead_of, machines, when } = group;
    let mut lines: Vec<String> = Vec::new();
    if what.is_empty() {
        lines.push(format!("{} the same, at another time or for another reason", severity.mark()));
    }
    lines.extend(what.iter().map(|line| format!("{} {line}", severity.mark())));
    lines.push(format!("    {}: {}", count(machines.len()), some(machines, NAMES_SHOWN)));
    lines.extend(when.iter().map(|(when, machines)| format!("    {machines} {when}")));
    lines.extend(instead_of.iter().map(|line| format!("    before: {line}")));
    lines
}

/// The totals, each number once.
pub(crate) fn numbers(report: &Report) -> Vec<String> {
    let Totals {
        machines,
        converged,
        start,
        active,
        waiting,
        blocked,
        unmanaged,
        unknown,
        needs_simulation,
        affected,
    } = &report.totals;
    let mut lines = vec![format!(
        "{}: {converged} converged, {start} start now, {active} active, {waiting} waiting, {blocked} blocked, \
         {unmanaged} unmanaged, {unknown} unknown",
        count(*machines)
    )];
    let by = if report.base.is_some() { "by the change" } else { "by the plan" };
    lines.push(format!("{} affected {by}", count(*affected)));
    if *needs_simulation > 0 {
        lines.push(format!(
            "{} not known exactly: needs simulation by their own apt, once the resources are in force",
            count(*needs_simulation)
        ));
    }
    if let Some(LimitReport { blast_radius, allowed, affected, exceeded }) = &report.limit {
        let verdict = if *exceeded { "exceeded" } else { "kept" };
        lines.push(format!(
            "blastRadius {blast_radius} allows {}, {affected} affected: {verdict}",
            count(*allowed)
        ));
    }
    lines.extend(report.forecast.iter().flat_map(in_words));
    if let Some(next) = report.next_time {
        lines.push(format!("the answer may change by itself at {next}"));
    }
    lines
}
