//! What an event log tells of activities and convergence.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use muster_checker::event::{ActivitySpec, Event, What};
use muster_model::{ActivityName, Digest, MachineName, ObjectName, Phase};

/// What came of one activity.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// The steps' types, in order.
    pub(super) steps: Vec<&'static str>,
    /// The Allow window that it started in; `None`: it needed none, or was there before.
    pub(super) window: Option<ObjectName>,
    /// What its package step was built from.
    pub(super) proposal: Option<Digest>,
    /// When it was created; `None`: before the log begins.
    pub(super) created: Option<Timestamp>,
    /// When it ended; `None`: not yet.
    pub(super) finished: Option<Timestamp>,
    /// How far it came.
    pub(super) phase: Phase,
}

/// What is told of the whole fleet.
#[derive(Clone, Debug, Default)]
pub(super) struct Tale {
    /// Of every activity that changed something or could have.
    pub(super) activities: BTreeMap<ActivityName, Told>,
    /// Since when a machine is as wanted, for those that are.
    pub(super) converged: BTreeMap<MachineName, Timestamp>,
}

impl Tale {
    pub(super) fn of(events: &[Event]) -> Self {
        let mut tale = Self::default();
        events.iter().for_each(|event| tale.hear(event));
        tale
    }

    fn hear(&mut self, Event { time, event }: &Event) {
        match event {
            What::ActivityFound(found) if !found.phase.is_finished() => {
                self.activities.insert(found.spec.name.clone(), told(&found.spec, None, found.phase));
            }
            What::ActivityCreated(created) => {
                let new = told(&created.spec, Some(*time), Phase::Pending);
                self.activities.insert(created.spec.name.clone(), new);
            }
            What::ActivityWithdrawn { name } => drop(self.activities.remove(name)),
            What::ActivityDelivered { name, .. } => self.reaches(name, Phase::Delivered),
            What::StepStarted(step) => self.reaches(&step.name, Phase::Running),
            What::ActivityVerifying { name } => self.reaches(name, Phase::Verifying),
            What::ActivityFinished(finished) => {
                self.reaches(&finished.name, finished.phase);
                if let Some(known) = self.activities.get_mut(&finished.name) {
                    known.finished.get_or_insert(*time);
                }
            }
            What::Decided(decided) if decided.verdict == "Converged" => {
                self.converged.entry(decided.machine.clone()).or_insert(*time);
            }
            What::Decided(decided) => drop(self.converged.remove(&decided.machine)),
            _ => {}
        }
    }

    fn reaches(&mut self, name: &ActivityName, phase: Phase) {
        if let Some(known) = self.activities.get_mut(name).filter(|known| !known.phase.is_finished()) {
            known.phase = phase;
        }
    }

    /// The most machines that had an activity at a time, and since when.
    pub(super) fn most_at_once(&self) -> Option<(usize, Timestamp)> {
        let mut changes: BTreeMap<(Timestamp, bool), Vec<&MachineName>> = BTreeMap::new();
        for (name, told) in &self.activities {
            let from = told.created.unwrap_or(Timestamp::MIN);
            changes.entry((from, true)).or_default().push(&name.machine);
            if let Some(end) = told.finished {
                // What ends as something else starts makes room for it.
                changes.entry((end, false)).or_default().push(&name.machine);
            }
        }
        let (mut at_once, mut most) = (BTreeSet::new(), None);
        for ((at, starts), machines) in changes {
            if starts {
                at_once.extend(machines);
            } else {
                machines.into_iter().for_each(|machine| {
                    at_once.remove(machine);
                });
            }
            if at_once.len() > most.map_or(0, |(most, _)| most) {
                most = Some((at_once.len(), at));
            }
        }
        most
    }
}

fn told(spec: &ActivitySpec, created: Option<Timestamp>, phase: Phase) -> Told {
    Told {
        steps: spec.steps.iter().map(|step| step.action.type_name()).collect(),
        window: spec.windows.values().next().cloned(),
        proposal: spec.proposal.clone(),
        created,
        finished: None,
        phase,
    }
}
