//! What an observation means for a step. Pure; the journal's transitions are in `journal`.

use muster_model::{CommandLine, OutcomeReason, Phase, StepAction};
use smol_str::SmolStr;

use crate::activity::{Record, Stage, StepStage};
use crate::{Moment, Observation, OfferedStep};

impl Record {
    /// Whether the step's timeout passed since its latest attempt was meant to begin.
    pub(crate) fn is_overdue(&self, step: usize, now: &Moment) -> bool {
        let intent = self.steps[step].intent.as_ref();
        intent.is_some_and(|intent| intent.is_past(self.offer.steps[step].timeout_seconds, now))
    }
}

/// What a boot says of a reboot step (rules K1, K2): judged by the boot's id, then by the release that runs and its
/// command line.
pub(crate) fn boot(
    record: &Record,
    step: usize,
    release: &SmolStr,
    command_line: &str,
    now: &Moment,
) -> Observation {
    let StepAction::Reboot { kernel, command_line: wanted_line } = &record.offer.steps[step].action else {
        return Observation::Running;
    };
    let intent = record.steps[step].intent.as_ref();
    if intent.is_some_and(|intent| intent.boot == now.boot) {
        // The request was lost with our process, or failed: the machine is not going down (see `Observation::Booted`).
        return if record.stage == (Stage::Step { at: step, stage: StepStage::Unsure }) {
            Observation::NotDone {
                reason: OutcomeReason::RebootNotObserved,
                message: "the machine did not reboot".into(),
            }
        } else {
            Observation::Running
        };
    }
    match kernel {
        Some(wanted) if wanted != release => Observation::Failed {
            reason: OutcomeReason::BootFallback,
            message: format!("wanted kernel {wanted}, running is {release}"),
        },
        Some(_) | None if !wanted_line.fits(command_line) => Observation::Failed {
            reason: OutcomeReason::BootFallback,
            message: format!(
                "{release} runs with another command line than was wanted: {}",
                amiss(wanted_line, command_line)
            ),
        },
        Some(_) | None => Observation::Done,
    }
}

/// What of a command line is not as wanted.
fn amiss(wanted: &CommandLine, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let missing = wanted.present.iter().filter(|word| !words.contains(&word.as_str()));
    let there = wanted.absent.iter().filter(|word| words.contains(&word.as_str()));
    let all: Vec<String> = missing
        .map(|word| format!("no {word}"))
        .chain(there.map(|word| format!("{word} is there")))
        .collect();
    all.join(", ")
}

/// Why a step that is still going on at its timeout failed.
pub(crate) fn overdue(step: &OfferedStep) -> (OutcomeReason, String) {
    let seconds = step.timeout_seconds;
    match step.action {
        StepAction::Reboot { .. } => (
            OutcomeReason::RebootNotObserved,
            format!("the same boot still runs {seconds} s after the reboot"),
        ),
        StepAction::InstallPackages(_)
        | StepAction::RemovePackages(_)
        | StepAction::HoldPackages { .. }
        | StepAction::RepairPackages
        | StepAction::SelectKernel(_)
        | StepAction::SetDefaultKernel(_) => (
            OutcomeReason::TimedOut,
            format!("not done after {seconds} s; what runs is left to end by itself"),
        ),
    }
}

/// How an activity ends of which a step changed nothing: `Refused` if it was the first.
pub(crate) fn phase_of_nothing(step: usize, reason: OutcomeReason) -> Phase {
    // These are failures all the same: something is wrong with the machine, and it must be counted (rule A6).
    let failed = matches!(
        reason,
        OutcomeReason::RebootNotObserved | OutcomeReason::BootFallback | OutcomeReason::PackagesNotAsWanted
    );
    match (failed, step) {
        (true, _) => Phase::Failed,
        (false, 0) => Phase::Refused,
        (false, _) => Phase::Interrupted,
    }
}
