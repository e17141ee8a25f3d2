//! Which guards leave which machines less guarded (rule G4): a window, freeze or budget gone, narrowed or relabelled
//! away from them.
//!
//! Judged by what holds for machines, not by names: a freeze that is renamed, or that another one contains, is no loss.
//! A freeze is compared over the year to come, so one that is over may go. Not judged: a higher number in a budget and
//! longer Allow windows; those are edits that say what they do.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use muster_model::{
    Budget, BudgetLimit, Cover, Instant, LabelSelector, Policy, When, Window, WindowAction, WindowsPolicy,
};
use smol_str::SmolStr;

use crate::kinds::Kind;
use crate::validate::ObjectKey;

/// How far ahead freezes are compared: a year holds every recurrence that anybody writes.
const HORIZON: SignedDuration = SignedDuration::from_hours(366 * 24);

/// The most spans that are compared for one set of freezes; a freeze of more counts as lost unless it is unchanged.
const MAX_SPANS: usize = 20_000;

const COVERS: [Cover; 3] = [Cover::Packages, Cover::Kernel, Cover::Reboot];

/// Group sizes at which two budgets are compared.
const SIZES: [usize; 12] = [0, 1, 2, 3, 5, 7, 10, 33, 100, 333, 1000, 100_000];

/// Everything that guards the machines of a namespace.
#[derive(Clone, Debug, Default)]
pub struct Guards {
    /// Windows and freezes, by name.
    pub windows: BTreeMap<String, Window>,
    /// Budgets, by name.
    pub budgets: BTreeMap<String, Budget>,
    /// The fleet's policy.
    pub policy: Policy,
}

/// A machine's labels and facts, before and after.
#[derive(Clone, Debug)]
pub struct LabelledMachine {
    /// As they are.
    pub before: BTreeMap<SmolStr, SmolStr>,
    /// As the change set makes them; `None`: the same.
    pub after: Option<BTreeMap<SmolStr, SmolStr>>,
}

/// A guard that machines lose.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loosened {
    /// The guard as it was.
    pub key: ObjectKey,
    /// Its uid and generation, so that an approval is of this guard as it was seen, and of no later one.
    pub seen: String,
    /// What is lost.
    pub why: Loosening,
}

/// What machines lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loosening {
    /// A time in which nothing might start.
    Freeze,
    /// The only windows in which things might start: now they may at any time.
    Windows,
    /// A budget that counted them.
    Budget,
}

impl Loosening {
    /// In words, after "machines lose".
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Freeze => "a freeze",
            Self::Windows => "their last window and could be changed at any time",
            Self::Budget => "a budget",
        }
    }
}

/// Guards that some machine loses, from `now` on. Sorted, each once.
#[must_use]
pub fn loosened(
    before: &Guards,
    after: &Guards,
    machines: &[LabelledMachine],
    now: Instant,
) -> Vec<Loosened> {
    let mut lost = BTreeSet::new();
    // Machines that the same guards select are one case.
    let mut cases = BTreeSet::new();
    for machine in machines {
        let now_labels = &machine.before;
        let then_labels = machine.after.as_ref().unwrap_or(now_labels);
        cases.insert((Selecting::of(before, now_labels), Selecting::of(after, then_labels)));
    }
    for (was, is) in &cases {
        for cover in COVERS {
            lost_freezes(before, after, was, is, cover, now, &mut lost);
            lost_windows(before, after, was, is, cover, &mut lost);
        }
        lost_budgets(before, after, was, is, &mut lost);
    }
    lost.into_iter().collect()
}

/// Whether [`loosened`] could find anything, whatever machines there are whose labels stay: asked first, since it
/// spares looking at them.
#[must_use]
pub fn may_loosen(before: &Guards, after: &Guards) -> bool {
    let window_kept = |(name, old): (&String, &Window)| {
        let what = |window: &Window| {
            (window.selector.clone(), window.action, window.when.clone(), window.covers.clone())
        };
        after.windows.get(name).is_some_and(|new| what(new) == what(old))
    };
    let budget_kept = |(name, old): (&String, &Budget)| {
        after.budgets.get(name).is_some_and(|new| new.selector == old.selector)
    };
    let policy_kept =
        before.policy.windows == after.policy.windows || after.policy.windows == WindowsPolicy::Required;
    !(policy_kept && before.windows.iter().all(window_kept) && before.budgets.iter().all(budget_kept))
}

/// The guards that select one machine, by name.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Selecting<'a> {
    windows: Vec<&'a str>,
    budgets: Vec<&'a str>,
}

impl<'a> Selecting<'a> {
    fn of(guards: &'a Guards, labels: &BTreeMap<SmolStr, SmolStr>) -> Self {
        let selects = |selector: &LabelSelector| selector.matches_labels(labels);
        Self {
            windows: guards
                .windows
                .iter()
                .filter(|(_, w)| selects(&w.selector))
                .map(|(name, _)| name.as_str())
                .collect(),
            budgets: guards
                .budgets
                .iter()
                .filter(|(_, b)| selects(&b.selector))
                .map(|(name, _)| name.as_str())
                .collect(),
        }
    }

    fn windows<'b>(
        &'b self,
        guards: &'b Guards,
        action: WindowAction,
        cover: Cover,
    ) -> impl Iterator<Item = &'b Window> {
        let all = self.windows.iter().filter_map(|name| guards.windows.get(*name));
        all.filter(move |window| window.action == action && window.covers(cover))
    }
}

fn lost_freezes(
    before: &Guards,
    after: &Guards,
    was: &Selecting<'_>,
    is: &Selecting<'_>,
    cover: Cover,
    now: Instant,
    lost: &mut BTreeSet<Loosened>,
) {
    let kept: Vec<&Window> = is.windows(after, WindowAction::Deny, cover).collect();
    for window in was.windows(before, WindowAction::Deny, cover) {
        let contained = match &window.when {
            // It closes its machines only because it cannot be read (rule W7); mending it is no loss.
            Err(_) => true,
            Ok(when) => {
                kept.iter()
                    .any(|kept| kept.when.as_ref().is_ok_and(|kept| kept == when) || kept.when.is_err())
                    || contains(
                        &kept.iter().filter_map(|kept| kept.when.as_ref().ok()).collect::<Vec<_>>(),
                        when,
                        now,
                    )
            }
        };
        if !contained {
            lost.insert(window_lost(window, Loosening::Freeze));
        }
    }
}

fn lost_windows(
    before: &Guards,
    after: &Guards,
    was: &Selecting<'_>,
    is: &Selecting<'_>,
    cover: Cover,
    lost: &mut BTreeSet<Loosened>,
) {
    let is_bound = |guards: &Guards, selecting: &Selecting<'_>| {
        guards.policy.windows == WindowsPolicy::Required
            || selecting.windows(guards, WindowAction::Allow, cover).next().is_some()
    };
    if !is_bound(before, was) || is_bound(after, is) {
        return;
    }
    if before.policy.windows == WindowsPolicy::Required {
        let key =
            ObjectKey { kind: Kind::FleetPolicy, name: muster_crds::names::FLEET_POLICY_NAME.to_owned() };
        lost.insert(Loosened { key, seen: "windows".to_owned(), why: Loosening::Windows });
    }
    for window in was.windows(before, WindowAction::Allow, cover) {
        lost.insert(window_lost(window, Loosening::Windows));
    }
}

fn lost_budgets(
    before: &Guards,
    after: &Guards,
    was: &Selecting<'_>,
    is: &Selecting<'_>,
    lost: &mut BTreeSet<Loosened>,
) {
    for (name, budget) in was.budgets.iter().filter_map(|name| before.budgets.get_key_value(*name)) {
        let mut kept = is.budgets.iter().filter_map(|name| after.budgets.get_key_value(*name));
        if !kept.any(|(kept_name, kept)| kept_name == name || is_no_looser(kept, budget)) {
            lost.insert(Loosened {
                key: ObjectKey { kind: Kind::DisruptionBudget, name: name.clone() },
                seen: format!("{} {}", budget.uid, budget.generation),
                why: Loosening::Budget,
            });
        }
    }
}

fn window_lost(window: &Window, why: Loosening) -> Loosened {
    let key = ObjectKey { kind: Kind::MaintenanceWindow, name: window.name.to_string() };
    Loosened { key, seen: format!("{} {}", window.uid, window.generation), why }
}

/// Whether a budget never allows more than another.
pub(crate) fn is_no_looser(budget: &Budget, than: &Budget) -> bool {
    let absent_kept = budget.absent == muster_model::AbsentMachines::Count || budget.absent == than.absent;
    let same_limit = match (&budget.limit, &than.limit) {
        (BudgetLimit::MaxUnavailable(one), BudgetLimit::MaxUnavailable(other))
        | (BudgetLimit::MinAvailable(one), BudgetLimit::MinAvailable(other)) => one == other,
        (BudgetLimit::MaxUnavailable(_), BudgetLimit::MinAvailable(_))
        | (BudgetLimit::MinAvailable(_), BudgetLimit::MaxUnavailable(_)) => false,
    };
    absent_kept
        && (same_limit || SIZES.iter().all(|n| budget.limit.allowed_of(*n) <= than.limit.allowed_of(*n)))
}

/// Whether the open times of some windows together contain those of another, from `now` for [`HORIZON`].
pub(crate) fn contains(windows: &[&When], inner: &When, now: Instant) -> bool {
    let end = now.checked_add(HORIZON).unwrap_or(Instant::MAX);
    let Some(inner) = spans(inner, now, end) else { return false };
    if inner.is_empty() {
        return true;
    }
    let mut outer = Vec::new();
    for window in windows {
        let Some(spans) = spans(window, now, end) else { return false };
        outer.extend(spans);
    }
    outer.sort();
    let mut merged: Vec<(Instant, Instant)> = Vec::new();
    for (from, to) in outer {
        match merged.last_mut() {
            Some((_, last)) if from <= *last => *last = to.max(*last),
            Some(_) | None => merged.push((from, to)),
        }
    }
    inner.iter().all(|(from, to)| {
        let index = merged.partition_point(|(start, _)| start <= from);
        index.checked_sub(1).is_some_and(|index| merged[index].1 >= *to)
    })
}

/// The open times in `[now, end)`; `None` when there are too many to compare.
fn spans(when: &When, now: Instant, end: Instant) -> Option<Vec<(Instant, Instant)>> {
    let mut spans = Vec::new();
    for span in when.open_spans(now, end) {
        if spans.len() == MAX_SPANS {
            return None;
        }
        let from = span.start.unwrap_or(now).max(now);
        let to = span.end.unwrap_or(end).min(end);
        if from >= end {
            break;
        }
        if from < to {
            spans.push((from, to));
        }
    }
    Some(spans)
}
