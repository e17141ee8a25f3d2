//! Steps as they travel, from and into the model's.

use jiff::SignedDuration;
use muster_model::StepAction;

use crate::{WireAction, WireStep};

impl From<&StepAction> for WireAction {
    fn from(action: &StepAction) -> Self {
        match action {
            StepAction::InstallPackages(transaction) => {
                Self::InstallPackages { transaction: transaction.clone() }
            }
            StepAction::RemovePackages(transaction) => {
                Self::RemovePackages { transaction: transaction.clone() }
            }
            StepAction::HoldPackages { hold, unhold } => {
                Self::HoldPackages { hold: hold.clone(), unhold: unhold.clone() }
            }
            StepAction::RepairPackages => Self::RepairPackages,
            StepAction::SelectKernel(choice) => Self::SelectKernel { choice: choice.clone() },
            StepAction::Reboot { kernel, command_line } => Self::Reboot {
                kernel: kernel.as_ref().map(ToString::to_string),
                command_line: command_line.clone(),
            },
            StepAction::SetDefaultKernel(choice) => Self::SetDefaultKernel { choice: choice.clone() },
        }
    }
}

impl From<&WireAction> for StepAction {
    fn from(action: &WireAction) -> Self {
        match action {
            WireAction::InstallPackages { transaction } => Self::InstallPackages(transaction.clone()),
            WireAction::RemovePackages { transaction } => Self::RemovePackages(transaction.clone()),
            WireAction::HoldPackages { hold, unhold } => {
                Self::HoldPackages { hold: hold.clone(), unhold: unhold.clone() }
            }
            WireAction::RepairPackages => Self::RepairPackages,
            WireAction::SelectKernel { choice } => Self::SelectKernel(choice.clone()),
            WireAction::Reboot { kernel, command_line } => {
                Self::Reboot { kernel: kernel.as_deref().map(Into::into), command_line: command_line.clone() }
            }
            WireAction::SetDefaultKernel { choice } => Self::SetDefaultKernel(choice.clone()),
        }
    }
}

impl WireStep {
    /// A step as it travels; whole seconds, rounded up, at least one.
    #[must_use]
    pub fn new(action: &StepAction, timeout: SignedDuration) -> Self {
        let seconds = timeout.as_secs().max(0).unsigned_abs() + u64::from(timeout.subsec_nanos() > 0);
        Self { action: action.into(), timeout_seconds: seconds.max(1) }
    }

    /// The step's timeout.
    #[must_use]
    pub fn timeout(&self) -> SignedDuration {
        SignedDuration::from_secs(i64::try_from(self.timeout_seconds).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use muster_model::{Change, CommandLine, Followed, KernelChoice, PackageKey, Transaction};

    use super::*;

    fn every_action() -> Vec<StepAction> {
        let key =
            |name: &str| PackageKey { name: name.parse().unwrap(), architecture: "amd64".parse().unwrap() };
        let change = |name: &str| Change {
            package: key(name),
            from: Some("1.0-1".parse().unwrap()),
            to: Some("1.0-2".parse().unwrap()),
        };
        let transaction = Transaction {
            requested: vec![change("openssl")],
            dependencies: vec![change("libssl3")],
            ..Transaction::default()
        };
        let line =
            CommandLine { present: ["mitigations=auto".into()].into(), absent: ["nosmt".into()].into() };
        let kernel = KernelChoice {
            release: "6.1.0-50-cloud-amd64".into(),
            command_line: line.clone(),
            followed: Some(Followed {
                package: key("linux-image-cloud-amd64"),
                version: "6.1.176-1".parse().unwrap(),
            }),
        };
        vec![
            StepAction::SelectKernel(kernel.clone()),
            StepAction::SetDefaultKernel(kernel),
            StepAction::InstallPackages(transaction.clone()),
            StepAction::RemovePackages(transaction),
            StepAction::HoldPackages { hold: BTreeSet::from([key("openssl")]), unhold: BTreeSet::new() },
            StepAction::RepairPackages,
            StepAction::Reboot { kernel: Some("6.1.0-50-cloud-amd64".into()), command_line: line },
            StepAction::Reboot { kernel: None, command_line: CommandLine::default() },
        ]
    }

    #[test]
    fn every_step_arrives_as_it_was_sent() {
        for action in every_action() {
            let step = WireStep::new(&action, SignedDuration::from_mins(30));
            let text = serde_json::to_string(&step).unwrap();
            let back: WireStep = serde_json::from_str(&text).unwrap();
            assert_eq!(StepAction::from(&back.action), action);
            assert_eq!(back.timeout(), SignedDuration::from_mins(30));
            assert!(text.contains(&format!("\"type\":\"{}\"", action.type_name())), "{text}");
        }
    }

    #[test]
    fn a_step_of_an_unknown_type_is_refused() {
        let text = r#"{"type":"ReplaceFirmware","timeoutSeconds":60}"#;
        assert!(serde_json::from_str::<WireStep>(text).is_err());
    }
}
