//! What is known of one machine.

use std::collections::BTreeMap;

use muster_model::Instant;
use smol_str::SmolStr;

use super::Kept;
use crate::event::{Machine, Report, Selector};

/// One machine.
#[derive(Debug, Default)]
pub(crate) struct MachineState {
    /// Its FleetMachine.
    pub(crate) spec: Kept<Machine>,
    /// Its last report.
    pub(crate) report: Kept<Report>,
    /// When that came into the log.
    pub(crate) reported: Option<Instant>,
    /// Whether it is heard; absent: never was.
    pub(crate) presence: Kept<Presence>,
    /// When it was first heard, under this uid.
    pub(crate) joined: Option<Instant>,
    /// The verdict about it, last decided.
    pub(crate) verdict: SmolStr,
    /// Since when each package has been reported at its version: for how long something is well.
    pub(crate) versions_since: BTreeMap<muster_model::PackageKey, Instant>,
    /// Since when its failed units have been those that they are.
    pub(crate) units_since: Option<Instant>,
}

/// Whether a machine is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Heard,
    Silent { last_heard: Instant },
}

impl MachineState {
    /// Whether the selector selects it, in each of the ways in which it may be seen at `at`.
    fn selected<'a>(
        &'a self,
        selector: &'a Selector,
        at: Instant,
        lag: jiff::SignedDuration,
    ) -> impl Iterator<Item = bool> + 'a {
        let facts = self.report.now().map(|report| &report.facts);
        self.spec
            .possible(at, lag)
            .into_iter()
            .map(move |spec| spec.is_some_and(|spec| selector.selects(&spec.labels, facts)))
    }

    /// Whether it is surely selected.
    pub(crate) fn surely(&self, selector: &Selector, at: Instant, lag: jiff::SignedDuration) -> bool {
        self.selected(selector, at, lag).all(|selected| selected)
    }

    /// Whether it may be selected.
    pub(crate) fn maybe(&self, selector: &Selector, at: Instant, lag: jiff::SignedDuration) -> bool {
        self.selected(selector, at, lag).any(|selected| selected)
    }

    /// Whether counts are taken of it (rule B4): admitted, not revoked, heard at least once. `all`: surely; else maybe.
    pub(crate) fn counts(&self, at: Instant, lag: jiff::SignedDuration, all: bool) -> bool {
        if self.presence.now().is_none() {
            return false;
        }
        let specs = self.spec.possible(at, lag);
        let counts = |spec: &Option<&Machine>| spec.is_some_and(|spec| spec.admitted && !spec.revoked);
        if all { specs.iter().all(counts) } else { specs.iter().any(counts) }
    }
}
