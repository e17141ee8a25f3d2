//! What is to come: which machines change in which window, when the fleet converges, and which machines never will.
//!
//! The planner itself is run forward (`run`): what it starts takes as long as such steps take, succeeds, and leaves behind
//! what its steps say (`outcome`); then it is asked again, at each instant at which its answer can be another. So the
//! forecast knows every rule that the plan knows, and no other.
//!
//! Deliberately not foreseen: failures, machines that fall silent, new revisions and new versions on offer, reboots that a
//! package asks for only once it is installed. Where a machine's apt has not answered yet, its answer is taken to be what
//! was asked and nothing besides; those machines are counted.

mod freezes;
mod outcome;
mod rest;
mod run;

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use muster_model::{Instant, MachineName, ObjectName, Snapshot, Unknown, Unmanaged, Verdict, WaitingOn};

/// How far ahead a forecast looks: two months hold every weekly and monthly window, and nobody believes more.
pub const HORIZON: SignedDuration = SignedDuration::from_hours(60 * 24);

/// What is to come, if nothing fails and nobody changes anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// From when it looks.
    pub from: Instant,
    /// Until when it looks.
    pub until: Instant,
    /// Every step takes as long as half of them do (p50).
    pub typical: Course,
    /// Every step takes as long as only one in twenty does (p95).
    pub slow: Course,
}

/// One course of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// How it ended.
    pub ending: Ending,
    /// When the last machine that converges has; `None` where some machine that could still change does so only after the
    /// horizon. Machines that never converge have no say.
    pub converged: Option<Instant>,
    /// When what starts, in the order of time.
    pub openings: Vec<Opening>,
    /// When each machine's next activity starts, and in which window: where one does.
    pub starts: BTreeMap<MachineName, (Instant, Option<ObjectName>)>,
    /// What becomes of every machine.
    pub fates: BTreeMap<MachineName, Fate>,
    /// Freezes that begin while machines that they cover have not converged.
    pub freezes: Vec<Freeze>,
    /// Machines whose apt has not said what their transaction would be.
    pub assumed: usize,
}

/// How a course of events ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing that is foreseen changes anything any more.
    Settled,
    /// The horizon was reached.
    Horizon,
    /// It took more plans than a forecast may make.
    Limit,
}

/// One opening of a window, and what starts in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The Allow window; `None`: the machines need none. Those are listed by the day, in UTC.
    pub window: Option<ObjectName>,
    /// When it opens, or has opened; without a window, the first start of the day.
    pub from: Instant,
    /// When it closes; `None` where it does not, or there is no window.
    pub until: Option<Instant>,
    /// The machines on which something starts.
    pub machines: BTreeSet<MachineName>,
}

/// What becomes of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It converges then; if at the forecast's first instant, it has already.
    Converges(Instant),
    /// Something may still change it, but not before the horizon.
    Later(Verdict),
    /// Nothing that is foreseen brings it to what is wanted, and why.
    Never(Verdict),
    /// Nothing is known of it.
    Unknown(Unknown),
    /// It is not ours to change.
    Unmanaged(Unmanaged),
}

/// A freeze that some machines run into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// The Deny window.
    pub window: ObjectName,
    /// When it begins, or began.
    pub from: Instant,
    /// When it ends; `None`: not within a year.
    pub until: Option<Instant>,
    /// How many of its machines have not converged when it begins, though they will, and take steps that it covers.
    pub machines: usize,
}

/// How many machines have which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// Converged already.
    pub converged: usize,
    /// Will converge.
    pub converging: usize,
    /// Not before the horizon.
    pub later: usize,
    /// Nothing more is known until the machine has reported what is on offer there, or what its last activity left.
    pub awaiting_report: usize,
    /// Never, unless somebody does something.
    pub never: usize,
    /// Nothing is known of them.
    pub unknown: usize,
    /// Not ours to change.
    pub unmanaged: usize,
}

impl Fate {
    /// Whether nothing more can be said before the machine has reported what is on offer there, or what its last activity
    /// left.
    #[must_use]
    pub fn awaits_report(&self) -> bool {
        matches!(self, Self::Never(Verdict::Waiting(WaitingOn::Inventory { .. } | WaitingOn::Report)))
    }
}

impl Forecast {
    /// How many machines have which fate, if every step takes as long as half of them do.
    #[must_use]
    pub fn totals(&self) -> Fates {
        let mut totals = Fates::default();
        for fate in self.typical.fates.values() {
            *match fate {
                Fate::Converges(at) if *at <= self.from => &mut totals.converged,
                Fate::Converges(_) => &mut totals.converging,
                Fate::Later(_) => &mut totals.later,
                fate @ Fate::Never(_) if fate.awaits_report() => &mut totals.awaiting_report,
                Fate::Never(_) => &mut totals.never,
                Fate::Unknown(_) => &mut totals.unknown,
                Fate::Unmanaged(_) => &mut totals.unmanaged,
            } += 1;
        }
        totals
    }
}

/// What is to come after the snapshot's instant: the same for the same snapshot, and bounded by [`HORIZON`].
#[must_use]
pub fn forecast(snapshot: &Snapshot) -> Forecast {
    let until = crate::timer::after(snapshot.now, HORIZON);
    let typical = snapshot.policy.medians;
    let slow = snapshot.policy.estimates;
    let course = run::run(snapshot, typical, until);
    let slow = if slow == typical { course.clone() } else { run::run(snapshot, slow, until) };
    Forecast { from: snapshot.now, until, typical: course, slow }
}
