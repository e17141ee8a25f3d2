//! What is known of one activity.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use muster_model::{Change, Instant, OutcomeReason, PackageKey, Phase, StepAction, Uid, UnitName};

use crate::event::{ActivitySpec, Step};

/// One activity.
#[derive(Debug)]
pub(crate) struct ActivityState {
    pub(crate) spec: ActivitySpec,
    /// As found or as machines know it; absent: nobody told yet.
    pub(crate) uid: Option<Uid>,
    /// It was there before the log.
    pub(crate) found: bool,
    /// The epoch that it carries.
    pub(crate) epoch: u64,
    /// A leader that had been replaced wrote it, and nobody adopted it: it is never to be carried out (rule A3).
    pub(crate) late: bool,
    pub(crate) created: Instant,
    /// When it was decided, which may be long before: its creation was tried again.
    pub(crate) decided: Instant,
    pub(crate) phase: Phase,
    pub(crate) cancel: bool,
    pub(crate) delivered: Option<Instant>,
    pub(crate) finished: Option<Instant>,
    pub(crate) outcome: Option<OutcomeReason>,
    /// By step.
    pub(crate) started: Vec<Option<Instant>>,
    pub(crate) completed: Vec<Option<Instant>>,
    /// By step: how often the machine really began it and did it.
    pub(crate) acted: Vec<(u32, u32)>,
    /// How many boots it made.
    pub(crate) boots: u32,
    pub(crate) deleted: Option<Instant>,
    /// What had failed on its machine when it was made; absent: it was there before the log.
    pub(crate) failed_units: Option<FailedUnits>,
}

/// Units that had failed on a machine, by all of the reports that may have been the last that was seen, and by any.
#[derive(Clone, Debug, Default)]
pub(crate) struct FailedUnits {
    pub(crate) surely: BTreeSet<UnitName>,
    pub(crate) maybe: BTreeSet<UnitName>,
}

impl ActivityState {
    pub(crate) fn is_unfinished(&self) -> bool {
        !self.phase.is_finished() && self.deleted.is_none()
    }

    /// It disrupts its machine, or may at any moment.
    pub(crate) fn is_in_flight(&self) -> bool {
        self.is_unfinished() && !self.late
    }

    /// The steps that a failure is charged to (rules A6, A8): what was tried and did not come out.
    pub(crate) fn charged(&self) -> Vec<&Step> {
        if self.phase != Phase::Failed {
            return Vec::new();
        }
        let is_reboot = |step: &&Step| matches!(step.action, StepAction::Reboot { .. });
        let steps = &self.spec.steps;
        match self.outcome {
            Some(OutcomeReason::PackagesNotAsWanted) => {
                steps.iter().filter(|step| !is_reboot(step)).collect()
            }
            Some(
                OutcomeReason::RebootNotObserved | OutcomeReason::BootFallback | OutcomeReason::RebootLoop,
            ) => steps.iter().filter(is_reboot).collect(),
            Some(OutcomeReason::Unhealthy) | None => steps.iter().collect(),
            Some(_) => match (0..steps.len()).find(|at| self.completed.get(*at).copied().flatten().is_none())
            {
                Some(open) => vec![&steps[open]],
                None => steps.iter().collect(),
            },
        }
    }

    /// The steps that came out right.
    pub(crate) fn reached(&self) -> Vec<&Step> {
        match self.phase {
            Phase::Succeeded => self.spec.steps.iter().collect(),
            Phase::Failed | Phase::Interrupted => {
                let charged = self.charged();
                let done = |at: usize| self.completed.get(at).copied().flatten().is_some();
                let steps =
                    self.spec.steps.iter().enumerate().filter(|(at, _)| done(*at)).map(|(_, step)| step);
                steps.filter(|step| !charged.iter().any(|other| std::ptr::eq(*other, *step))).collect()
            }
            Phase::Pending
            | Phase::Delivered
            | Phase::Running
            | Phase::Verifying
            | Phase::Refused
            | Phase::Canceled
            | Phase::Expired => Vec::new(),
        }
    }

    /// How long ago it ended.
    pub(crate) fn age(&self, at: Instant) -> Option<SignedDuration> {
        Some(at.duration_since(self.finished?))
    }
}

impl Step {
    /// Its package changes.
    pub(crate) fn changes(&self) -> impl Iterator<Item = &Change> {
        self.requested().chain(self.dependencies())
    }

    /// The changes that were asked for.
    pub(crate) fn requested(&self) -> impl Iterator<Item = &Change> {
        self.transaction().into_iter().flat_map(|transaction| &transaction.requested)
    }

    /// What comes along.
    pub(crate) fn dependencies(&self) -> impl Iterator<Item = &Change> {
        self.transaction().into_iter().flat_map(|transaction| &transaction.dependencies)
    }

    fn transaction(&self) -> Option<&muster_model::Transaction> {
        match &self.action {
            StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
                Some(transaction)
            }
            StepAction::HoldPackages { .. }
            | StepAction::RepairPackages
            | StepAction::SelectKernel(_)
            | StepAction::Reboot { .. }
            | StepAction::SetDefaultKernel(_) => None,
        }
    }

    /// Whether it asks for exactly that.
    pub(crate) fn is_about(&self, package: &PackageKey, to: Option<&muster_model::DebianVersion>) -> bool {
        self.requested().any(|change| change.package == *package && change.to.as_ref() == to)
    }
}
