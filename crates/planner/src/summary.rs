//! What the statuses of baselines, windows and budgets say (rules M1, S2, W8).

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{
    BaselineRef, BaselineSummary, BudgetSummary, Cover, Estimates, Instant, ObjectName, Verdict, Window,
    WindowAction, WindowState, WindowSummary,
};

use crate::budget::Tally;
use crate::case::Case;
use crate::machine::{By, Draft};
use crate::presence::Hearing;
use crate::select::Resources;
use crate::timer::Timer;

pub(crate) fn baselines(
    resources: &Resources<'_>,
    cases: &[Case<'_>],
    drafts: &[Draft],
    tally: &Tally<'_>,
) -> BTreeMap<BaselineRef, BaselineSummary> {
    let mut packages: Vec<BaselineSummary> =
        (0..resources.packages.len()).map(|place| of_package_baseline(tally, place)).collect();
    let mut kernels = vec![BaselineSummary::default(); resources.kernels.len()];
    for (case, draft) in cases.iter().zip(drafts) {
        for place in &case.picked.packages {
            add(&mut packages[*place], case, draft, By::Package(*place));
        }
        for place in &case.picked.kernels {
            add(&mut kernels[*place], case, draft, By::Kernel(*place));
        }
        conflicts(resources, case, &mut packages);
    }
    let packages = resources.packages.iter().map(|baseline| baseline.reference()).zip(packages);
    packages.chain(resources.kernels.iter().map(|baseline| baseline.reference()).zip(kernels)).collect()
}

fn of_package_baseline(tally: &Tally<'_>, place: usize) -> BaselineSummary {
    let group = tally.package_baseline(place);
    BaselineSummary {
        unavailable: group.unavailable,
        max_unavailable: group.allowed,
        ..BaselineSummary::default()
    }
}

fn add(summary: &mut BaselineSummary, case: &Case<'_>, draft: &Draft, by: By) {
    summary.selected += 1;
    match (case.hearing, case.unknown) {
        (Hearing::Absent { .. }, _) => summary.absent += 1,
        (_, Some(_)) => summary.unknown += 1,
        (_, None) => {
            let (mut converged, mut active, mut blocked) = (true, false, false);
            for verdict in draft.verdicts_of(by) {
                converged = false;
                match verdict {
                    Verdict::Start(_) | Verdict::Active { .. } => active = true,
                    Verdict::Blocked(_) => blocked = true,
                    Verdict::Converged
                    | Verdict::Waiting(_)
                    | Verdict::Unmanaged(_)
                    | Verdict::Unknown(_) => {}
                }
            }
            summary.converged += usize::from(converged);
            summary.not_converged += usize::from(!converged);
            summary.active += usize::from(active);
            summary.blocked += usize::from(blocked && !active);
        }
    }
}

/// Both sides of a conflict say so (rule S2).
fn conflicts(resources: &Resources<'_>, case: &Case<'_>, packages: &mut [BaselineSummary]) {
    for requirement in case.merged.enforced.iter().filter(|requirement| requirement.conflict) {
        for one in &requirement.by {
            // A baseline that contradicts itself names itself.
            let others = requirement.by.iter().filter(|other| *other != one || requirement.by.len() == 1);
            for other in others {
                let key = (requirement.key.clone(), resources.packages[*other].reference());
                *packages[*one].conflicts.entry(key).or_insert(0) += 1;
            }
        }
    }
}

pub(crate) fn windows(
    resources: &Resources<'_>,
    cases: &[Case<'_>],
    sets: &[Vec<usize>],
    estimates: &Estimates,
    timer: &Timer,
) -> BTreeMap<ObjectName, WindowSummary> {
    let mut machines = vec![0; resources.windows.len()];
    let mut of_set = vec![0; sets.len()];
    for case in cases {
        of_set[case.picked.windows] += 1;
    }
    for (windows, count) in sets.iter().zip(of_set) {
        windows.iter().for_each(|window| machines[*window] += count);
    }
    let summaries = resources.windows.iter().zip(machines).map(|(window, machines)| {
        let mut summary = WindowSummary { machines, ..WindowSummary::default() };
        if let Ok(when) = &window.when {
            summary.open = when.is_open(timer.now());
            summary.next_open = when.next_open(timer.now());
            summary.next_close = match when.state_at(timer.now()) {
                WindowState::Open { until } => until,
                WindowState::Closed => summary.next_open.and_then(|open| when.span_at(open)?.end),
            };
            summary.capped = capped(window, estimates, timer.now());
            timer.wake(summary.next_open);
            timer.wake(summary.next_close);
        }
        (window.name.clone(), summary)
    });
    summaries.collect()
}

/// Steps that would take longer than half of the window's present or next span.
fn capped(window: &Window, estimates: &Estimates, now: Instant) -> BTreeSet<Cover> {
    let Ok(when) = &window.when else { return BTreeSet::new() };
    let span = match when.span_at(now) {
        Some(span) => Some(span),
        None => when.next_open(now).and_then(|open| when.span_at(open)),
    };
    let Some((start, end)) = span.and_then(|span| Some((span.start?, span.end?))) else {
        return BTreeSet::new();
    };
    let is_capped = |cover: &Cover| {
        window.action == WindowAction::Allow
            && window.covers(*cover)
            && estimates.of(*cover) > end.duration_since(start) / 2
    };
    [Cover::Packages, Cover::Kernel, Cover::Reboot].into_iter().filter(is_capped).collect()
}

pub(crate) fn budgets(resources: &Resources<'_>, tally: &Tally<'_>) -> BTreeMap<ObjectName, BudgetSummary> {
    let named = resources.budgets.iter().enumerate();
    named.map(|(place, budget)| (budget.name.clone(), tally.budget(place).summary())).collect()
}
