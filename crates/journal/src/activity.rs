//! An activity as it was offered to the machine, and how far it is.

use muster_model::{ActivityName, HealthCheck, OutcomeReason, Phase, StepAction, Uid};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::Moment;

/// An activity as the gateway offers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    /// `<machine>-<n>`.
    pub name: ActivityName,
    /// Its uid: carried out once, ever.
    pub uid: Uid,
    /// What to do, in order.
    pub steps: Vec<OfferedStep>,
    /// What must be healthy afterwards.
    pub health: HealthCheck,
    /// Since when `expires_in_seconds` counts: the moment at which the request went out that this answers, so that
    /// the machine's deadline is never after the controller's.
    pub asked: Moment,
    /// No step may start later than so many seconds after `asked` (rule A4).
    pub expires_in_seconds: u64,
    /// A cancel was asked for.
    pub cancel: bool,
}

/// One step as offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfferedStep {
    /// What to do.
    pub action: StepAction,
    /// It fails as `TimedOut` (a reboot as `RebootNotObserved`) after so many seconds.
    pub timeout_seconds: u64,
}

/// The activity in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) offer: Offer,
    /// The gateway knows that it runs: no step acts before (see [`crate::Next::Report`]).
    pub(crate) begun: bool,
    pub(crate) cancel: bool,
    /// Boots seen since it was offered (rule K4).
    pub(crate) boots: u32,
    pub(crate) last_boot: SmolStr,
    /// By step, as far as begun.
    pub(crate) steps: Vec<StepRecord>,
    pub(crate) stage: Stage,
}

/// How far a step is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StepRecord {
    /// When its preparation was done: nothing on the machine changed before.
    pub(crate) started: Moment,
    pub(crate) completed: Option<Moment>,
    /// The intent of the latest attempt.
    pub(crate) intent: Option<Moment>,
    /// How often its action was issued: more than once only where observation said that nothing had been done.
    pub(crate) attempts: u32,
}

/// Where an activity stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Stage {
    /// In one of its steps.
    Step { at: usize, stage: StepStage },
    /// Health is watched: all steps are done, or the one of that number begins only on a healthy machine.
    Verifying {
        since: Moment,
        healthy_since: Option<Moment>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<usize>,
    },
    /// Over; kept until the gateway has it.
    Finished { phase: Phase, outcome: Option<OutcomeReason>, message: String },
}

/// Where a step stands. Only `Waiting` and `Prepared` are free of consequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum StepStage {
    /// Nothing was done.
    Waiting,
    /// Simulated, checked, downloaded; the machine is as it was.
    Prepared,
    /// The intent is on disk and the action is to be issued in this life of the process.
    Acting,
    /// The process died after the intent: what happened must be observed before anything else.
    Unsure,
    /// The action was issued; its result is to be observed.
    Judging,
}

impl Record {
    /// Where the activity stands once it is a step's turn: a kernel becomes the default only on a machine that is healthy
    /// with it (rule K2).
    pub(crate) fn turn_of(&self, step: usize, now: &Moment) -> Stage {
        match &self.offer.steps[step].action {
            StepAction::SetDefaultKernel(_) if !self.offer.health.units.is_empty() => {
                Stage::Verifying { since: now.clone(), healthy_since: None, before: Some(step) }
            }
            StepAction::SetDefaultKernel(_)
            | StepAction::InstallPackages(_)
            | StepAction::RemovePackages(_)
            | StepAction::HoldPackages { .. }
            | StepAction::RepairPackages
            | StepAction::SelectKernel(_)
            | StepAction::Reboot { .. } => Stage::Step { at: step, stage: StepStage::Waiting },
        }
    }

    /// Whether nothing is being done: what ends it now, ends it between two steps.
    pub(crate) fn is_between_steps(&self) -> bool {
        match &self.stage {
            Stage::Step { stage: StepStage::Waiting | StepStage::Prepared, .. }
            | Stage::Verifying { before: Some(_), .. } => true,
            Stage::Step { stage: StepStage::Acting | StepStage::Unsure | StepStage::Judging, .. }
            | Stage::Verifying { before: None, .. }
            | Stage::Finished { .. } => false,
        }
    }

    /// Whether health was watched since the last step that disrupts.
    pub(crate) fn is_proven(&self) -> bool {
        matches!(self.offer.steps.last().map(|step| &step.action), Some(StepAction::SetDefaultKernel(_)))
    }

    pub(crate) fn phase(&self) -> Phase {
        match &self.stage {
            Stage::Step { .. } | Stage::Verifying { before: Some(_), .. } => Phase::Running,
            Stage::Verifying { before: None, .. } => Phase::Verifying,
            Stage::Finished { phase, .. } => *phase,
        }
    }

    /// Whether it may be on record as running: the gateway confirmed it, or was told and its answer has not come. How such
    /// an activity ends says that it began (rules A2, A5), though nothing on the machine was changed.
    pub(crate) fn may_be_begun(&self) -> bool {
        self.begun || matches!(self.stage, Stage::Step { stage: StepStage::Prepared, .. })
    }

    pub(crate) fn is_expired(&self, now: &Moment) -> bool {
        self.offer.asked.is_past(self.offer.expires_in_seconds, now)
    }
}
