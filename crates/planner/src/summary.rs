//! What the statuses of baselines, windows and budgets say (rules M1, S2, W8).

use std::collections::BTreeSet;

use muster_model::{
    BaselineSummary, Cover, Estimates, Instant, PackageKey, Verdict, Window, WindowAction, WindowState,
    WindowSummary,
};

use crate::case::Case;
use crate::merge::Merged;
use crate::presence::Hearing;
use crate::select::Resources;
use crate::timer::Timer;

/// What one machine is in one baseline's totals: they are sums of these, so that one machine's new answer is taken in by
/// itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    Absent,
    Unknown,
    Converged,
    Waiting,
    Active,
    Blocked,
}

impl Mark {
    /// Before anything is said of the baseline's requirements on the machine.
    pub(crate) fn of(case: &Case<'_>) -> Self {
        match (case.hearing, case.unknown) {
            (Hearing::Absent { .. }, _) => Self::Absent,
            (_, Some(_)) => Self::Unknown,
            (_, None) => Self::Converged,
        }
    }

    /// With what is said of one of them.
    pub(crate) fn and(self, verdict: &Verdict) -> Self {
        match (self, verdict) {
            (Self::Absent | Self::Unknown | Self::Active, _) => self,
            (_, Verdict::Start(_) | Verdict::Active { .. }) => Self::Active,
            (_, Verdict::Blocked(_)) | (Self::Blocked, _) => Self::Blocked,
            (
                Self::Converged | Self::Waiting,
                Verdict::Converged | Verdict::Waiting(_) | Verdict::Unmanaged(_) | Verdict::Unknown(_),
            ) => Self::Waiting,
        }
    }

    fn counts(self, summary: &mut BaselineSummary) -> [Option<&mut usize>; 3] {
        let BaselineSummary { converged, not_converged, unknown, absent, active, blocked, .. } = summary;
        match self {
            Self::Absent => [Some(absent), None, None],
            Self::Unknown => [Some(unknown), None, None],
            Self::Converged => [Some(converged), None, None],
            Self::Waiting => [Some(not_converged), None, None],
            Self::Active => [Some(not_converged), Some(active), None],
            Self::Blocked => [Some(not_converged), None, Some(blocked)],
        }
    }

    pub(crate) fn add(self, summary: &mut BaselineSummary, machines: usize) {
        summary.selected += machines;
        self.counts(summary).into_iter().flatten().for_each(|count| *count += machines);
    }

    pub(crate) fn take_away(self, summary: &mut BaselineSummary, machines: usize) {
        summary.selected -= machines;
        self.counts(summary).into_iter().flatten().for_each(|count| *count -= machines);
    }
}

/// What one machine is in the totals of the baselines that pick it, by their numbers.
pub(crate) type Marks = Vec<(usize, Mark)>;

/// What baselines contradict each other about on a machine: a baseline, the package, and another baseline (rule S2).
pub(crate) type Conflicts = Vec<(usize, PackageKey, usize)>;

/// Both sides of a conflict say so (rule S2).
pub(crate) fn conflicts(merged: &Merged) -> Conflicts {
    let mut conflicts = Conflicts::new();
    for requirement in merged.enforced.iter().filter(|requirement| requirement.conflict) {
        for one in &requirement.by {
            // A baseline that contradicts itself names itself.
            let others = requirement.by.iter().filter(|other| *other != one || requirement.by.len() == 1);
            conflicts.extend(others.map(|other| (*one, requirement.key.clone(), *other)));
        }
    }
    conflicts
}

/// Windows as they are, but for their machines.
pub(crate) fn windows(resources: &Resources<'_>, estimates: &Estimates, timer: &Timer) -> Vec<WindowSummary> {
    let summaries = resources.windows.iter().map(|window| {
        let mut summary = WindowSummary::default();
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
        summary
    });
    summaries.collect()
}

/// When a window opens or closes next.
pub(crate) fn turn(summary: &WindowSummary) -> Option<Instant> {
    summary.next_open.into_iter().chain(summary.next_close).min()
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
