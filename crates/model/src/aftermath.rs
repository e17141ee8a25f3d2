//! What a step leaves behind in a machine's package list when it has succeeded: for what looks ahead, the forecast and the
//! simulation. What really came of a step only a report says (promise P5).

use crate::{Change, Installed, Inventory, Package, PackageKey, PackageState, StepAction};

impl Inventory {
    /// Makes it what the machine would report once the step is done. What is on offer stays as it is.
    pub fn carry_out(&mut self, action: &StepAction) {
        match action {
            StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
                transaction.changes().for_each(|change| self.apply(change));
            }
            StepAction::HoldPackages { hold, unhold } => {
                unhold.iter().for_each(|key| self.set_held(key, false));
                hold.iter().for_each(|key| self.set_held(key, true));
            }
            StepAction::RepairPackages => {
                for installed in self.packages.iter_mut().filter_map(|package| package.installed.as_mut()) {
                    installed.state = PackageState::Installed;
                }
            }
            StepAction::SelectKernel(_) | StepAction::Reboot { .. } | StepAction::SetDefaultKernel(_) => {}
        }
    }

    fn set_held(&mut self, key: &PackageKey, held: bool) {
        if let Ok(at) = self.packages.binary_search_by(|package| package.key.cmp(key))
            && let Some(installed) = &mut self.packages[at].installed
        {
            installed.held = held;
        }
    }

    fn apply(&mut self, change: &Change) {
        let at = self.packages.binary_search_by(|package| package.key.cmp(&change.package));
        let at = at.unwrap_or_else(|at| {
            let candidate = change.to.clone();
            let package =
                Package { key: change.package.clone(), installed: None, candidate, offers: Vec::new() };
            self.packages.insert(at, package);
            at
        });
        let before = self.packages[at].installed.take();
        self.packages[at].installed = change.to.clone().map(|version| Installed {
            version,
            state: PackageState::Installed,
            held: before.as_ref().is_some_and(|before| before.held),
            automatic: before.is_some_and(|before| before.automatic),
        });
    }
}
