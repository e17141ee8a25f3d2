//! May steps of one kind start on a machine now (rules W1, W2, W6, W7, W9)? The arithmetic is the model's.

use std::cell::RefCell;
use std::collections::BTreeMap;

use jiff::SignedDuration;
use muster_model::openness::{ClosedReason, Openness};
use muster_model::{Cover, Instant, ObjectName, Passes, Policy, WaitingOn, Window, openness_past};
use smol_str::SmolStr;

use crate::select::Resources;
use crate::timer::{Timer, after};

/// An opening that steps may start in.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    /// The Allow window that is open, if one selects the machine.
    pub(crate) allow: Option<ObjectName>,
    /// The last instant at which they may start.
    pub(crate) until: Option<Instant>,
    /// Windows that are passed, and by which overrides (rule W9).
    pub(crate) passed: Vec<(ObjectName, ObjectName)>,
}

impl Opening {
    /// The Allow window that is open by itself.
    pub(crate) fn open(self) -> Option<ObjectName> {
        self.allow.filter(|allow| !self.passed.iter().any(|(window, _)| window == allow))
    }
}

type Answer = Result<Opening, WaitingOn>;

/// The windows of a namespace at one instant; each question is worked out once.
pub(crate) struct Windows<'a> {
    resources: &'a Resources<'a>,
    /// By the number that `Picked::windows` has.
    sets: Vec<Vec<usize>>,
    policy: &'a Policy,
    timer: &'a Timer,
    known: RefCell<BTreeMap<(usize, Cover, SignedDuration), Answer>>,
}

impl<'a> Windows<'a> {
    pub(crate) fn new(
        resources: &'a Resources<'a>,
        sets: Vec<Vec<usize>>,
        policy: &'a Policy,
        timer: &'a Timer,
    ) -> Self {
        Self { resources, sets, policy, timer, known: RefCell::default() }
    }

    /// Whether steps that are estimated to take so long may start.
    pub(crate) fn ask(
        &self,
        set: usize,
        cover: Cover,
        estimate: SignedDuration,
    ) -> Result<Opening, WaitingOn> {
        let mut known = self.known.borrow_mut();
        known
            .entry((set, cover, estimate))
            .or_insert_with(|| self.work_out(set, cover, estimate, &Passes::new()))
            .clone()
    }

    /// The same, past some windows (rule W9).
    pub(crate) fn ask_past(
        &self,
        set: usize,
        cover: Cover,
        estimate: SignedDuration,
        passes: &Passes,
    ) -> Result<Opening, WaitingOn> {
        // What is open to all passes nothing.
        match self.ask(set, cover, estimate) {
            Err(_) if !passes.is_empty() => self.work_out(set, cover, estimate, passes),
            answer => answer,
        }
    }

    fn work_out(&self, set: usize, cover: Cover, estimate: SignedDuration, passes: &Passes) -> Answer {
        let windows = self.sets[set].iter().map(|place| self.resources.windows[*place]);
        let windows: Vec<&Window> = windows.filter(|window| window.covers(cover)).collect();
        let now = self.timer.now();
        match openness_past(&windows, passes, self.policy.windows, now, estimate) {
            Openness::Open { until, starts_until, allow, freeze_next: _, capped: _ } => {
                self.timer.wake(until);
                self.timer.wake(starts_until);
                let passed = windows
                    .iter()
                    .filter_map(|window| Some((window.name.clone(), window.passed(passes, now)?.by.clone())))
                    .collect();
                Ok(Opening { allow: allow.map(named), until: starts_until, passed })
            }
            Openness::Closed { reason, until } => {
                self.timer.wake(until);
                Err(closed(reason, now, until))
            }
        }
    }
}

fn closed(reason: ClosedReason, now: Instant, until: Option<Instant>) -> WaitingOn {
    match reason {
        ClosedReason::Unreadable { name } => WaitingOn::WindowUnreadable { window: named(name) },
        ClosedReason::Denied { name } => WaitingOn::Frozen { window: named(name), until },
        ClosedReason::NoneOpen { next } => WaitingOn::WindowClosed { window: next.map(named), until },
        ClosedReason::CutoffReached { name } => WaitingOn::CutoffReached { window: named(name), until },
        ClosedReason::NotEnoughTime { name, left, estimate } => WaitingOn::WindowTooShort {
            window: Some(named(name)),
            closes: after(now, left),
            needed_seconds: estimate.as_secs(),
            until,
        },
    }
}

fn named(name: SmolStr) -> ObjectName {
    ObjectName::try_from(name).expect("openness gives back the names of the windows that it was given")
}
