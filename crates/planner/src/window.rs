//! May steps of one kind start on a machine now (rules W1, W2, W6, W7, W9)? The arithmetic is the model's.

use std::cell::RefCell;
use std::collections::BTreeMap;

use jiff::SignedDuration;
use muster_model::openness::{ClosedReason, Openness};
use muster_model::{
    Cover, Instant, ObjectName, Passes, Policy, WaitingOn, Window, WindowState, openness_past,
};
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

/// An answer, and the earliest instant at which it could be another.
type Known = (Answer, Option<Instant>);

/// What was asked, with the answers: until they could be others, they stay, as long as resources do.
pub(crate) type Answers = BTreeMap<(usize, Cover, SignedDuration), Known>;

/// The windows of a namespace at one instant.
pub(crate) struct Windows<'a> {
    resources: &'a Resources<'a>,
    /// By the number that `Picked::windows` has.
    sets: &'a [Vec<usize>],
    /// Along the windows: when each opens or closes next.
    turns: &'a [Option<Instant>],
    policy: &'a Policy,
    timer: &'a Timer,
    known: RefCell<Answers>,
}

impl<'a> Windows<'a> {
    pub(crate) fn new(
        resources: &'a Resources<'a>,
        sets: &'a [Vec<usize>],
        turns: &'a [Option<Instant>],
        policy: &'a Policy,
        timer: &'a Timer,
        known: Answers,
    ) -> Self {
        Self { resources, sets, turns, policy, timer, known: known.into() }
    }

    /// What is known for the next plan.
    pub(crate) fn into_known(self) -> Answers {
        self.known.into_inner()
    }

    /// Whether steps that are estimated to take so long may start.
    pub(crate) fn ask(
        &self,
        set: usize,
        cover: Cover,
        estimate: SignedDuration,
    ) -> Result<Opening, WaitingOn> {
        let key = (set, cover, estimate);
        let mut known = self.known.borrow_mut();
        let stays = |wake: Option<Instant>| wake.is_none_or(|wake| wake > self.timer.now());
        if known.get(&key).is_none_or(|(_, wake)| !stays(*wake)) {
            known.insert(key, self.work_out(set, cover, estimate, &Passes::new()));
        }
        let (answer, wake) = &known[&key];
        self.timer.wake(*wake);
        answer.clone()
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
            Err(_) if !passes.is_empty() => {
                let (answer, wake) = self.work_out(set, cover, estimate, passes);
                self.timer.wake(wake);
                answer
            }
            answer => answer,
        }
    }

    fn work_out(&self, set: usize, cover: Cover, estimate: SignedDuration, passes: &Passes) -> Known {
        let covering = |place: &&usize| self.resources.windows[**place].covers(cover);
        let places: Vec<usize> = self.sets[set].iter().filter(covering).copied().collect();
        let windows: Vec<&Window> = places.iter().map(|place| self.resources.windows[*place]).collect();
        let now = self.timer.now();
        // What is closed may be closed for another reason once a window opens or closes, or its cutoff is reached.
        let turns = places.iter().filter_map(|place| self.turns[*place]);
        let cutoffs = windows.iter().filter_map(|window| match window.when.as_ref().ok()?.state_at(now) {
            WindowState::Open { until } => until?.checked_sub(window.cutoff).ok(),
            WindowState::Closed => None,
        });
        let turn = turns.chain(cutoffs).filter(|at| *at > now).min();
        match openness_past(&windows, passes, self.policy.windows, now, estimate) {
            Openness::Open { until, starts_until, allow, freeze_next: _, capped: _ } => {
                let passed = windows
                    .iter()
                    .filter_map(|window| Some((window.name.clone(), window.passed(passes, now)?.by.clone())))
                    .collect();
                // At that very instant it may still start.
                let too_late = starts_until.map(|last| if last > now { last } else { just_after(last) });
                let wake = [turn, until, too_late].into_iter().flatten().filter(|at| *at > now).min();
                (Ok(Opening { allow: allow.map(named), until: starts_until, passed }), wake)
            }
            Openness::Closed { reason, until } => {
                (Err(closed(reason, now, until)), turn.into_iter().chain(until).min())
            }
        }
    }
}

fn just_after(at: Instant) -> Instant {
    after(at, SignedDuration::from_nanos(1))
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
