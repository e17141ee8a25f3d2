//! The rules again, from events alone.
//!
//! [`event`] is the format of the event log: what `muster up --events`, `muster simulate` and the storm write, and what
//! `muster check` and tests read (docs/events.md). [`Checker`] takes events one by one, keeps what they say of the fleet,
//! and holds each against the rules of design §5. This crate shares no code with the planner: it uses values of
//! `muster-model` (names, versions, instants), and does its own counting and its own window arithmetic, so that a mistake
//! there is seen here.
//!
//! Deliberately not here: files and clocks. The caller reads lines and passes events.

mod arrived;
mod booted;
mod checks;
mod counts;
pub mod event;
mod health;
mod items;
mod schedule;
mod select;
mod start;
mod target;
mod unavailable;
mod violation;
mod window;
mod world;

use jiff::SignedDuration;
use muster_model::Instant;

pub use counts::Counts;
pub use violation::{Severity, Violation};

use checks::Memory;
use event::{Event, Header};
use violation::Findings;
use world::World;

/// How many violations are kept: nobody reads more, and a log that breaks a rule at every event must not fill the memory.
pub const MAX_VIOLATIONS: usize = 10_000;

/// Holds events against the rules, one by one.
///
/// What it keeps grows with the fleet (machines, resources, kept activities, and for each machine the last 32 that were
/// deleted), not with the length of the log.
#[derive(Default)]
pub struct Checker {
    world: World,
    memory: Memory,
    found: Vec<Violation>,
    events: u64,
    last: Option<Instant>,
    left_out: u64,
}

impl Checker {
    /// For a log with that header.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        Self::with_lag(SignedDuration::from_secs(i64::from(header.lag_seconds)))
    }

    /// For events of which somebody may know so much later than the log.
    #[must_use]
    pub fn with_lag(lag: SignedDuration) -> Self {
        let mut checker = Self::default();
        checker.world.lag = lag;
        checker
    }

    /// Takes the next event.
    pub fn feed(&mut self, event: &Event) {
        self.events += 1;
        self.last = Some(event.time);
        self.memory.items.settle(&self.world, event);
        let before = self.found.len();
        let mut findings = Findings { event: self.events, time: event.time, found: &mut self.found };
        checks::judge(&self.world, event, &mut self.memory, &mut findings);
        if self.found.len() > MAX_VIOLATIONS {
            self.left_out += (self.found.len() - before.max(MAX_VIOLATIONS)) as u64;
            self.found.truncate(MAX_VIOLATIONS);
        }
        self.memory.counts.follow(&self.world, event);
        self.world.apply(event);
        self.memory.items.follow(&self.world, event);
    }

    /// Whether the fleet has arrived: after [`event::What::Calm`], whatever nothing stands in the way of is done on every
    /// machine whose windows were open for `enough` since then. Without a `Calm` there is nothing to say.
    pub fn arrived(&mut self, enough: SignedDuration) -> Vec<Violation> {
        let mut found = Vec::new();
        let Some(now) = self.last else { return found };
        let mut findings = Findings { event: self.events, time: now, found: &mut found };
        let Memory { calendar, items, .. } = &mut self.memory;
        arrived::check(&self.world, items, calendar, enough, now, &mut findings);
        found
    }

    /// What was found so far, in the order of events.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.found
    }

    /// How many more there were than [`MAX_VIOLATIONS`].
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// How often each rule was binding.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.memory.counts
    }

    /// How many events were taken.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }
}

/// Holds a log against the rules.
#[must_use]
pub fn check(events: &[Event]) -> Vec<Violation> {
    let mut checker = Checker::default();
    for event in events {
        checker.feed(event);
    }
    checker.found
}
