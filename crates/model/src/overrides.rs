//! What a person lets pass a window or a freeze, until when (rule W9).
//!
//! The arithmetic of windows is in `openness`; here is how one that is passed counts in it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use crate::openness::{Guard, Openness, openness};
use crate::{
    BaselineRef, Cover, DebianVersion, Instant, ObjectName, PackageName, When, Window, WindowAction,
    WindowsPolicy,
};

/// A WindowOverride.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowOverride {
    /// Its name.
    pub name: ObjectName,
    /// The windows that it is about.
    pub windows: BTreeSet<ObjectName>,
    /// What may pass them.
    pub items: Vec<OverrideItem>,
    /// Why, for people.
    pub reason: String,
    /// It ends then: nothing passes by it any more.
    pub until: Instant,
}

/// One item that may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverrideItem {
    /// The baseline that asks for it.
    pub baseline: BaselineRef,
    /// What of it.
    pub what: OverrideWhat,
}

/// What of a baseline may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OverrideWhat {
    /// This package at this version, whatever its architecture.
    Package(PackageName, DebianVersion),
    /// The reboot that it asks for.
    Reboot,
}

/// A window that is passed: by which override, and until when.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pass {
    /// The override.
    pub by: ObjectName,
    /// Its end.
    pub until: Instant,
}

/// The windows that are passed, by name.
pub type Passes = BTreeMap<ObjectName, Pass>;

/// That an activity passed a window, on record with it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Passed {
    /// For which kind of step.
    pub cover: Cover,
    /// The window.
    pub window: ObjectName,
    /// The override.
    pub by: ObjectName,
}

impl WindowOverride {
    /// Adds what it passes to `passes`; of several overrides of one window the one that lasts longest counts.
    pub fn pass(&self, passes: &mut Passes) {
        for window in &self.windows {
            let pass = Pass { by: self.name.clone(), until: self.until };
            match passes.get_mut(window) {
                None => drop(passes.insert(window.clone(), pass)),
                Some(known) if known.until < pass.until => *known = pass,
                Some(_) => {}
            }
        }
    }
}

impl Window {
    /// The override by which steps pass the window at `now`. A Deny passes only if it says that it may be.
    #[must_use]
    pub fn passed<'a>(&self, passes: &'a Passes, now: Instant) -> Option<&'a Pass> {
        let may_be = match self.action {
            WindowAction::Allow => true,
            WindowAction::Deny => self.overridable,
        };
        passes.get(&self.name).filter(|pass| may_be && now < pass.until)
    }
}

/// Whether a step may start at `now`, given the windows that select its machine and cover it, some of them passed: an Allow
/// that is passed is open until the override ends, a Deny that is passed is not there until then. One that cannot be read is
/// passed by nothing (rule W7).
#[must_use]
pub fn openness_past(
    windows: &[&Window],
    passes: &Passes,
    policy: WindowsPolicy,
    now: Instant,
    estimate: SignedDuration,
) -> Openness {
    let opened: BTreeMap<&ObjectName, When> = windows
        .iter()
        .filter_map(|window| {
            let when = window.when.as_ref().ok()?;
            let pass = window.passed(passes, now)?;
            let counts = match window.action {
                WindowAction::Allow => When::once(Instant::UNIX_EPOCH, pass.until).ok(),
                WindowAction::Deny => resumed(when, pass.until),
            };
            Some((&window.name, counts?))
        })
        .collect();
    let of = |action: WindowAction| windows.iter().copied().filter(move |window| window.action == action);
    let allows: Vec<Guard<'_>> = of(WindowAction::Allow).map(|window| guard(window, &opened)).collect();
    let denies: Vec<Guard<'_>> = of(WindowAction::Deny)
        .filter(|window| opened.contains_key(&window.name) || window.passed(passes, now).is_none())
        .map(|window| guard(window, &opened))
        .collect();
    let end = windows.iter().filter_map(|window| window.passed(passes, now)).map(|pass| pass.until).min();
    match openness(&allows, &denies, policy, now, estimate) {
        // Nothing starts any more once the override has ended.
        Openness::Open { until, starts_until, allow, freeze_next, capped } => Openness::Open {
            until,
            starts_until: starts_until.into_iter().chain(end).min(),
            allow,
            freeze_next,
            capped,
        },
        closed @ Openness::Closed { .. } => closed,
    }
}

/// When a freeze is on again that is passed until then, if it is.
fn resumed(when: &When, until: Instant) -> Option<When> {
    let from = if when.is_open(until) { until } else { when.next_open(until)? };
    When::once(from, when.span_at(from)?.end.unwrap_or(Instant::MAX)).ok()
}

/// A window as it counts; one that is passed, by that span.
fn guard<'a>(window: &'a Window, opened: &'a BTreeMap<&ObjectName, When>) -> Guard<'a> {
    let open = opened.get(&window.name);
    Guard {
        name: window.name.as_str(),
        when: open.or(window.when.as_ref().ok()),
        cutoff: if open.is_some() { SignedDuration::ZERO } else { window.cutoff },
    }
}
