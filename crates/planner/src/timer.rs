//! When may the plan change by itself? Collected while planning, by whoever compares the instant with another.

use std::cell::Cell;

use jiff::SignedDuration;
use muster_model::Instant;

/// The instant of the plan, and the earliest later one at which it could be another.
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

    pub(crate) fn next(&self) -> Option<Instant> {
        self.next.get()
    }
}

/// `at` and so much more; the end of time where that is beyond it.
pub(crate) fn after(at: Instant, length: SignedDuration) -> Instant {
    at.checked_add(length).unwrap_or(Instant::MAX)
}
