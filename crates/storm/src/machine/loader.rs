//! A machine's boot loader: what boots by itself, and what was chosen for one boot (rule K2).

use muster_model::{KernelChoice, OutcomeReason, StepAction};
use smol_str::SmolStr;

use super::Host;

/// The loader's two variables: a release and a command line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loader {
    /// Absent: the newest kernel that is installed.
    default: Option<(SmolStr, SmolStr)>,
    /// For the next boot alone.
    once: Option<(SmolStr, SmolStr)>,
}

impl Loader {
    /// What boots next, where something was chosen.
    pub(crate) fn next(&self) -> Option<&(SmolStr, SmolStr)> {
        self.once.as_ref().or(self.default.as_ref())
    }

    /// What boots now; where that falls back, the default does, and where there is none the kernel of before.
    pub(crate) fn boot(&mut self, falls_back: bool) -> Option<(SmolStr, SmolStr)> {
        let once = self.once.take().filter(|_| !falls_back);
        once.or_else(|| self.default.clone())
    }
}

impl Host {
    /// Whether a step about the loader could be done.
    pub(crate) fn may_load(&self, action: &StepAction) -> Result<(), (OutcomeReason, String)> {
        match action {
            StepAction::SelectKernel(choice) if !self.has_kernel(choice) => {
                Err((OutcomeReason::Preflight, format!("kernel {} is not installed", choice.release)))
            }
            StepAction::SetDefaultKernel(choice) if !choice.is_booted(&self.release, &self.line) => {
                let message = format!("wanted kernel {}, running is {}", choice.release, self.release);
                Err((OutcomeReason::BootFallback, message))
            }
            StepAction::SelectKernel(_)
            | StepAction::SetDefaultKernel(_)
            | StepAction::InstallPackages(_)
            | StepAction::RemovePackages(_)
            | StepAction::HoldPackages { .. }
            | StepAction::RepairPackages
            | StepAction::Reboot { .. } => Ok(()),
        }
    }

    /// Chooses for one boot.
    pub(crate) fn select_kernel(&mut self, choice: &KernelChoice) {
        let line = choice.command_line.applied_to(&self.line);
        self.loader.once = Some((choice.release.clone(), line));
    }

    /// What comes with packages does not boot by itself: the default stays on what ran last by default.
    pub(crate) fn keep_default(&mut self) {
        let running = (self.release.clone(), self.line.clone());
        self.loader.default.get_or_insert(running);
    }

    /// Makes what runs the default.
    pub(crate) fn set_default_kernel(&mut self) {
        self.loader.default = Some((self.release.clone(), self.line.clone()));
    }

    /// Whether the machine comes to that kernel by itself.
    pub(crate) fn boots_by_default(&self, release: &str) -> bool {
        match &self.loader.default {
            Some((default, _)) => default == release,
            None => self.newest_release().is_some_and(|newest| newest == release),
        }
    }

    /// Whether the loader has that choice for the next boot alone.
    pub(crate) fn is_selected(&self, choice: &KernelChoice) -> bool {
        self.loader.once.as_ref().is_some_and(|(release, line)| choice.is_booted(release, line))
    }

    /// Whether the loader has that choice as its default.
    pub(crate) fn is_default(&self, choice: &KernelChoice) -> bool {
        self.loader.default.as_ref().is_some_and(|(release, line)| choice.is_booted(release, line))
    }
}
