//! What still changes by itself when a course of events ends, and what waits for a person.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{BaselineRef, Instant, MachineName, MachinePlan, Plan, Verdict, WaitingOn};
use smol_str::SmolStr;

/// Whether nothing that is foreseen changes the machine any more.
pub(super) fn is_at_rest(machine: &MachinePlan) -> bool {
    verdicts(machine).all(|verdict| prospect(verdict) == Prospect::None)
}

fn verdicts(machine: &MachinePlan) -> impl Iterator<Item = &Verdict> {
    machine.requirements.iter().map(|one| &one.verdict).chain([&machine.verdict])
}

/// What may change a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prospect<'a> {
    /// Nothing that is foreseen: it takes a person or a machine's word, or an instant that never comes.
    None,
    /// Time, or what was begun.
    Time,
    /// Machines that are before it in the waves of a baseline.
    Waves(&'a BaselineRef),
    /// Machines that hold its place.
    Places,
}

fn prospect(verdict: &Verdict) -> Prospect<'_> {
    match verdict {
        // What is under way ends elsewhere; what is left of it never does.
        Verdict::Converged | Verdict::Unmanaged(_) | Verdict::Unknown(_) | Verdict::Active { .. } => {
            Prospect::None
        }
        Verdict::Start(_) => Prospect::Time,
        Verdict::Blocked(_) if verdict.until().is_none() => Prospect::None,
        Verdict::Blocked(_) => Prospect::Time,
        Verdict::Waiting(_) if verdict.until().is_some() => Prospect::Time,
        Verdict::Waiting(on) => match on {
            WaitingOn::Inventory { .. }
            | WaitingOn::Report
            | WaitingOn::WindowUnreadable { .. }
            | WaitingOn::WindowClosed { .. }
            | WaitingOn::Frozen { .. }
            | WaitingOn::WindowTooShort { .. }
            | WaitingOn::CutoffReached { .. }
            | WaitingOn::Silent { .. }
            | WaitingOn::Suspended { .. }
            | WaitingOn::Approval { .. }
            | WaitingOn::PausedByPerson { .. }
            | WaitingOn::ManualReboot { .. }
            | WaitingOn::Activity { .. } => Prospect::None,
            WaitingOn::Wave { baseline, .. } | WaitingOn::Zone { baseline, .. } => Prospect::Waves(baseline),
            WaitingOn::Budget { .. } | WaitingOn::MaxUnavailable { .. } => Prospect::Places,
            WaitingOn::Proposal
            | WaitingOn::Soaking { .. }
            | WaitingOn::Retry { .. }
            | WaitingOn::Backoff { .. }
            | WaitingOn::BootLimit { .. }
            | WaitingOn::Applying => Prospect::Time,
        },
    }
}

/// What verdicts alone do not say.
#[derive(Debug, Default)]
pub(super) struct Besides {
    /// Machines of which an activity ends after the horizon.
    pub(super) under_way: BTreeSet<MachineName>,
    /// When something started or ended last.
    pub(super) moved: Instant,
    /// Who was told last that a number is full, while its windows were open, and when.
    full: BTreeMap<MachineName, (Instant, Verdict)>,
}

impl Besides {
    pub(super) fn note(&mut self, name: &MachineName, verdict: &Verdict, now: Instant) {
        if prospect(verdict) == Prospect::Places {
            self.full.insert(name.clone(), (now, verdict.clone()));
        }
    }

    /// What keeps a machine that is closed at the moment: where its windows opened after all had come to rest, and a number was
    /// full all the same, that is it, and not the window that happens to be closed in the end.
    pub(super) fn in_truth<'a>(&'a self, name: &MachineName, verdict: &'a Verdict) -> &'a Verdict {
        let Verdict::Waiting(
            WaitingOn::WindowClosed { .. }
            | WaitingOn::CutoffReached { .. }
            | WaitingOn::WindowTooShort { .. },
        ) = verdict
        else {
            return verdict;
        };
        let full = self.full.get(name).filter(|(told, _)| *told > self.moved);
        full.map_or(verdict, |(_, full)| full)
    }

    fn prospect<'a>(&'a self, name: &MachineName, verdict: &'a Verdict) -> Prospect<'a> {
        match verdict {
            Verdict::Active { .. } if self.under_way.contains(name) => Prospect::Time,
            _ => prospect(self.in_truth(name, verdict)),
        }
    }
}

/// What may still change after the horizon: by time, or since machines before it in its baseline's waves do, or those that
/// hold its place.
///
/// Which machines of a baseline hold up which is not asked: where one of them still moves, all that wait for its waves may.
pub(super) struct Prospects<'a> {
    besides: &'a Besides,
    /// Something somewhere changes by time, and so may free a place.
    any: bool,
    /// What moves of which baseline.
    moving: BTreeSet<(&'a BaselineRef, &'a SmolStr)>,
}

impl<'a> Prospects<'a> {
    pub(super) fn of(plan: &'a Plan, besides: &'a Besides) -> Self {
        let mut open: Vec<(&BaselineRef, &SmolStr, Prospect<'_>)> = Vec::new();
        let mut any = false;
        for (name, machine) in &plan.machines {
            any |= verdicts(machine).any(|verdict| besides.prospect(name, verdict) == Prospect::Time);
            let requirements = machine.requirements.iter();
            let of =
                requirements.map(|one| (&one.baseline, &one.resource, besides.prospect(name, &one.verdict)));
            open.extend(of.filter(|(.., prospect)| *prospect != Prospect::None));
        }
        let mut found = Self { besides, any, moving: BTreeSet::new() };
        // One baseline's waves may wait for another's.
        loop {
            let before = found.moving.len();
            for (baseline, resource, prospect) in &open {
                if found.may_come(*prospect, resource) {
                    found.moving.insert((baseline, resource));
                }
            }
            if found.moving.len() == before {
                return found;
            }
        }
    }

    fn may_come(&self, prospect: Prospect<'_>, resource: &SmolStr) -> bool {
        match prospect {
            Prospect::None => false,
            Prospect::Time => true,
            Prospect::Waves(baseline) => self.moving.contains(&(baseline, resource)),
            Prospect::Places => self.any,
        }
    }

    /// Whether something that is foreseen may still change the machine.
    pub(super) fn may_change(&self, name: &MachineName, machine: &MachinePlan) -> bool {
        let mut requirements = machine.requirements.iter();
        self.besides.prospect(name, &machine.verdict) == Prospect::Time
            || requirements.any(|one| self.may_come(self.besides.prospect(name, &one.verdict), &one.resource))
    }
}
