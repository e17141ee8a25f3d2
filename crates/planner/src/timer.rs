//! When may the plan change by itself? Collected while planning, by whoever compares the instant with another.

use std::cell::Cell;

use jiff::SignedDuration;
use muster_model::Instant;

/// The instant of the plan, and the earliest later one at which what is being worked out could be otherwise.
pub(crate) struct Timer {
    now: Instant,
    next: Cell<Option<Instant>>,
}

impl Timer {
    pub(crate) fn new(now: Instant) -> Self {
        Self { now, next: Cell::new(None) }
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Whether `at` has come; if not, planning again then gives another answer.
    pub(crate) fn reached(&self, at: Instant) -> bool {
        if at > self.now {
            self.next.set(Some(self.next.get().map_or(at, |next| next.min(at))));
        }
        at <= self.now
    }

    /// Planning again at `at`, if that is to come, may give another answer.
    pub(crate) fn wake(&self, at: Option<Instant>) {
        if let Some(at) = at {
            self.reached(at);
        }
    }

    /// Whether there is such an instant since the last call of [`Self::take`].
    pub(crate) fn is_set(&self) -> bool {
        self.next.get().is_some()
    }

    /// The earliest such instant since the last call.
    pub(crate) fn take(&self) -> Option<Instant> {
        self.next.take()
    }
}

/// When each of several machines may be decided otherwise, as far as was looked so far.
pub(crate) struct Timers<'a> {
    timer: &'a Timer,
    next: Vec<Option<Instant>>,
}

impl<'a> Timers<'a> {
    pub(crate) fn new(timer: &'a Timer, machines: usize) -> Self {
        Self { timer, next: vec![None; machines] }
    }

    /// What is looked at meanwhile counts for one of them, by its number.
    pub(crate) fn of<T>(&mut self, machine: usize, look: impl FnOnce(&Timer) -> T) -> T {
        let outer = self.timer.take();
        let found = look(self.timer);
        let next = &mut self.next[machine];
        if let Some(at) = self.timer.take() {
            *next = Some(next.map_or(at, |next| next.min(at)));
        }
        self.timer.wake(outer);
        found
    }

    pub(crate) fn next_of(&self, machine: usize) -> Option<Instant> {
        self.next[machine]
    }
}

/// `at` and so much more; the end of time where that is beyond it.
pub(crate) fn after(at: Instant, length: SignedDuration) -> Instant {
    at.checked_add(length).unwrap_or(Instant::MAX)
}
