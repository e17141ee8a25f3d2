//! What a step leaves behind in a machine's package list and among its kernels when it has succeeded: for what looks ahead, the forecast and the
//! simulation. What really came of a step only a report says (promise P5).

use std::collections::BTreeMap;

use crate::{
    Change, Installed, InstalledKernel, Inventory, Kernel, Package, PackageKey, PackageState, StepAction,
    Transaction, kernel_flavour, kernel_release,
};

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

impl Kernel {
    /// Makes it what the machine would report once the step is done.
    pub fn carry_out(&mut self, action: &StepAction) {
        match action {
            StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
                self.carry_out_transaction(transaction);
            }
            StepAction::SelectKernel(choice) | StepAction::SetDefaultKernel(choice) => {
                self.next_boot = Some(choice.release.clone());
            }
            StepAction::Reboot { kernel, command_line } => {
                if let Some(release) = kernel {
                    self.booted = release.clone();
                }
                self.command_line = command_line.applied_to(&self.command_line);
            }
            StepAction::HoldPackages { .. } | StepAction::RepairPackages => {}
        }
    }

    fn carry_out_transaction(&mut self, transaction: &Transaction) {
        let kernels = &mut self.installed;
        let images: Vec<(&Change, &str)> = transaction
            .changes()
            .filter_map(|change| Some((change, kernel_release(&change.package.name)?)))
            .collect();
        for (change, release) in &images {
            kernels.retain(|kernel| kernel.package != change.package.name);
            kernels.extend(change.to.as_ref().map(|version| InstalledKernel {
                release: (*release).into(),
                package: change.package.name.clone(),
                version: version.clone(),
                followed_by: BTreeMap::new(),
            }));
        }
        // A meta-package that moves follows the image that came with it.
        for change in transaction.changes().filter(|change| kernel_release(&change.package.name).is_none()) {
            let name = &change.package.name;
            let is_meta = name.as_str().starts_with("linux-image-")
                || kernels.iter().any(|kernel| kernel.followed_by.contains_key(name));
            let Some(version) = change.to.as_ref().filter(|_| is_meta) else { continue };
            let flavour = kernels.iter().find(|kernel| kernel.followed_by.contains_key(name));
            let flavour = flavour.map(|kernel| kernel_flavour(&kernel.release).to_owned());
            let came = images.iter().find(|(image, release)| {
                image.to.is_some()
                    && flavour.as_ref().is_none_or(|flavour| kernel_flavour(release) == flavour.as_str())
            });
            let Some((_, came)) = came else { continue };
            for kernel in kernels.iter_mut() {
                kernel.followed_by.remove(name);
                if kernel.release == *came {
                    kernel.followed_by.insert(name.clone(), version.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CommandLine, KernelChoice};

    // rule: K1, K2
    #[test]
    fn a_trial_that_goes_well_leaves_the_new_kernel_followed_booted_and_the_default() {
        let key =
            |name: &str| PackageKey { name: name.parse().unwrap(), architecture: "amd64".parse().unwrap() };
        let change = |name: &str, from: Option<&str>, to: Option<&str>| Change {
            package: key(name),
            from: from.map(|version| version.parse().unwrap()),
            to: to.map(|version| version.parse().unwrap()),
        };
        let image = |release: &str, followed: Option<&str>| InstalledKernel {
            release: release.into(),
            package: format!("linux-image-{release}").parse().unwrap(),
            version: "6.1.170".parse().unwrap(),
            followed_by: followed
                .map(|version| ("linux-image-amd64".parse().unwrap(), version.parse().unwrap()))
                .into_iter()
                .collect(),
        };
        let mut kernel = Kernel {
            booted: "6.1.0-49-amd64".into(),
            installed: vec![image("6.1.0-48-amd64", None), image("6.1.0-49-amd64", Some("6.1.170"))],
            next_boot: Some("6.1.0-49-amd64".into()),
            command_line: "ro quiet".into(),
        };
        let choice = KernelChoice {
            release: "6.1.0-50-amd64".into(),
            command_line: CommandLine { present: ["nosmt".into()].into(), absent: ["quiet".into()].into() },
            followed: None,
        };
        kernel.carry_out(&StepAction::InstallPackages(Transaction {
            requested: vec![
                change("linux-image-6.1.0-48-amd64", Some("6.1.170"), None),
                change("linux-image-amd64", Some("6.1.170"), Some("6.1.176")),
            ],
            dependencies: vec![change("linux-image-6.1.0-50-amd64", None, Some("6.1.176"))],
            ..Transaction::default()
        }));
        let followed: Vec<(&str, usize)> =
            kernel.installed.iter().map(|one| (one.release.as_str(), one.followed_by.len())).collect();
        assert_eq!(followed, [("6.1.0-49-amd64", 0), ("6.1.0-50-amd64", 1)]);
        assert_eq!(kernel.next_boot.as_deref(), Some("6.1.0-49-amd64"), "the default stays");
        kernel.carry_out(&StepAction::SelectKernel(choice.clone()));
        kernel.carry_out(&StepAction::Reboot {
            kernel: Some(choice.release.clone()),
            command_line: choice.command_line.clone(),
        });
        kernel.carry_out(&StepAction::SetDefaultKernel(choice));
        assert_eq!((kernel.booted.as_str(), kernel.command_line.as_str()), ("6.1.0-50-amd64", "ro nosmt"));
        assert_eq!(kernel.next_boot.as_deref(), Some("6.1.0-50-amd64"));
    }
}
