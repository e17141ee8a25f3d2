//! Make-believe boot loader: what boots by itself, and what was chosen for one boot (rule K2).

use muster_model::{OutcomeReason, StepAction};
use serde::{Deserialize, Serialize};

/// A kernel with its command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub(super) release: String,
    pub(super) line: String,
}

/// The loader's two variables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Loader {
    /// Absent: the newest kernel that is installed, as a fresh installation has it.
    default: Option<Entry>,
    /// For the next boot alone.
    once: Option<Entry>,
}

impl Loader {
    /// The entry that boots next, where nothing was chosen that of the `newest` kernel.
    pub(super) fn next(&self, newest: Option<&str>, running: &Entry) -> Entry {
        let chosen = self.once.as_ref().or(self.default.as_ref()).cloned();
        chosen.unwrap_or_else(|| Entry {
            release: newest.unwrap_or(&running.release).to_owned(),
            line: running.line.clone(),
        })
    }

    /// Boots: what was chosen for one boot is used up. A kernel that is gone cannot boot.
    pub(super) fn boot(&mut self, newest: Option<&str>, running: &Entry, installed: &[String]) -> Entry {
        let chosen = self.next(newest, running);
        self.once = None;
        if installed.contains(&chosen.release) { chosen } else { self.next(newest, running) }
    }

    /// Whether a step could be done (rule K2); nothing is changed.
    pub(super) fn would_do(
        &self,
        action: &StepAction,
        running: &Entry,
        installed: &[String],
    ) -> Result<(), (OutcomeReason, String)> {
        match action {
            StepAction::SelectKernel(choice) if !installed.iter().any(|one| *one == choice.release) => {
                Err((OutcomeReason::Preflight, format!("kernel {} is not installed", choice.release)))
            }
            StepAction::SetDefaultKernel(choice) if !choice.is_booted(&running.release, &running.line) => {
                let message = format!("wanted kernel {}, running is {}", choice.release, running.release);
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

    /// Carries a step out, if it is one about the loader.
    pub(super) fn act(&mut self, action: &StepAction, running: &Entry) {
        match action {
            StepAction::SelectKernel(choice) => {
                let line = choice.command_line.applied_to(&running.line).to_string();
                self.once = Some(Entry { release: choice.release.to_string(), line });
            }
            StepAction::SetDefaultKernel(_) => self.default = Some(running.clone()),
            // What comes with packages does not boot by itself: the default stays on what ran last by default.
            StepAction::InstallPackages(transaction) if transaction.new_kernels().next().is_some() => {
                self.default.get_or_insert_with(|| running.clone());
            }
            StepAction::InstallPackages(_)
            | StepAction::RemovePackages(_)
            | StepAction::HoldPackages { .. }
            | StepAction::RepairPackages
            | StepAction::Reboot { .. } => {}
        }
    }

    /// Whether the loader is as a step wanted it; `None`: the step is not about it.
    pub(super) fn is_done(&self, action: &StepAction) -> Option<bool> {
        let (entry, choice) = match action {
            StepAction::SelectKernel(choice) => (&self.once, choice),
            StepAction::SetDefaultKernel(choice) => (&self.default, choice),
            StepAction::InstallPackages(_)
            | StepAction::RemovePackages(_)
            | StepAction::HoldPackages { .. }
            | StepAction::RepairPackages
            | StepAction::Reboot { .. } => return None,
        };
        Some(entry.as_ref().is_some_and(|entry| choice.is_booted(&entry.release, &entry.line)))
    }
}

#[cfg(test)]
mod tests {
    use muster_model::{CommandLine, KernelChoice};

    use super::*;

    fn entry(release: &str, line: &str) -> Entry {
        Entry { release: release.to_owned(), line: line.to_owned() }
    }

    // rule: K2
    #[test]
    fn what_is_chosen_for_one_boot_is_gone_after_it_unless_it_is_made_the_default() {
        let installed = ["6.1.0-49".to_owned(), "6.1.0-50".to_owned()];
        let choice = KernelChoice {
            release: "6.1.0-50".into(),
            command_line: CommandLine { present: ["nosmt".into()].into(), ..CommandLine::default() },
            followed: None,
        };
        let old = entry("6.1.0-49", "quiet");
        let mut loader = Loader { default: Some(old.clone()), once: None };
        let select = StepAction::SelectKernel(choice.clone());
        assert_eq!(loader.would_do(&select, &old, &installed), Ok(()));
        loader.act(&select, &old);
        assert_eq!(loader.is_done(&select), Some(true));
        let running = loader.boot(None, &old, &installed);
        assert_eq!(running, entry("6.1.0-50", "quiet nosmt"));
        assert_eq!(loader.next(None, &running), old, "the default stayed");
        let keep = StepAction::SetDefaultKernel(choice);
        assert_eq!(
            loader.would_do(&keep, &old, &installed),
            Err((OutcomeReason::BootFallback, "wanted kernel 6.1.0-50, running is 6.1.0-49".to_owned()))
        );
        loader.act(&keep, &running);
        assert_eq!(loader.is_done(&keep), Some(true));
        assert_eq!(loader.boot(None, &running, &installed), running);
    }
}
