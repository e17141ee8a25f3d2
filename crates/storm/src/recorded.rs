//! A machine as a state file has it: its last report and its package list, and what steps make of the two.
//!
//! An invented machine ([`crate::archive`]) knows its whole archive; of a recorded one only what it reported is known. So
//! what its apt would add to a transaction is known where a proposal was recorded, and elsewhere taken to be nothing: as
//! the forecast does, and counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_model::{
    Change, DebianVersion, Digest, InstalledKernel, Instant, Inventory, OutcomeReason, PackageKey,
    PackageName, Proposal, ProposalKey, RebootRequired, Report, StepAction, Transaction, WantedSet,
    kernel_release,
};
use smol_str::SmolStr;

/// What one machine has.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    /// Of its boot and its kernel only what no boot changes counts: the machine knows what it booted.
    pub(crate) report: Report,
    pub(crate) inventory: Arc<Inventory>,
}

/// What is known of all machines' apt, and of what steps lead to.
#[derive(Debug, Default)]
pub(crate) struct Lore {
    proposals: BTreeMap<ProposalKey, Arc<Proposal>>,
    /// Proposals that no machine's apt made, by their digests: twins share them.
    pub(crate) invented: BTreeSet<Digest>,
    /// Lists by what was there and what was done: twins that do the same have the same afterwards.
    after: BTreeMap<(Digest, Digest), (Digest, Arc<Inventory>)>,
}

impl Lore {
    pub(crate) fn new(proposals: &BTreeMap<ProposalKey, Arc<Proposal>>) -> Self {
        Self { proposals: proposals.clone(), ..Self::default() }
    }

    /// What the machine's apt says, or is taken to say.
    pub(crate) fn propose(&mut self, machine: &Recorded, wanted: &WantedSet) -> Proposal {
        let key = ProposalKey { inventory: machine.report.inventory.clone(), wanted: wanted.digest() };
        if let Some(known) = self.proposals.get(&key) {
            return Proposal::clone(known);
        }
        let proposal = machine.asked_alone(wanted);
        self.invented.insert(key.digest());
        self.proposals.insert(key, Arc::new(proposal.clone()));
        proposal
    }

    /// The step is done on the machine.
    pub(crate) fn carry_out(&mut self, machine: &mut Recorded, action: &StepAction, now: Instant) {
        let before = machine.report.inventory.clone();
        // Not the digest of its JSON: a name for it is enough, and costs a hundredth.
        let done = Digest::of(format!("{action:?}").as_bytes());
        let (digest, inventory) = self.after.entry((before.clone(), done.clone())).or_insert_with(|| {
            let mut inventory = Inventory::clone(&machine.inventory);
            inventory.carry_out(action);
            (Digest::of(format!("{before} after {done}").as_bytes()), Arc::new(inventory))
        });
        machine.report.inventory = digest.clone();
        machine.inventory = inventory.clone();
        match action {
            StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
                machine.note_kernels(transaction, now);
            }
            StepAction::RepairPackages => machine.report.dpkg_interrupted = false,
            StepAction::SelectKernel(choice) | StepAction::SetDefaultKernel(choice) => {
                machine.report.kernel.next_boot = Some(choice.release.clone());
            }
            StepAction::HoldPackages { .. } | StepAction::Reboot { .. } => {}
        }
    }
}

impl Recorded {
    /// The transaction if what was asked brings nothing besides.
    fn asked_alone(&self, wanted: &WantedSet) -> Proposal {
        let changes = wanted.items.iter().map(|item| Change {
            package: item.package.clone(),
            from: self.installed(&item.package).cloned(),
            to: item.version.clone(),
        });
        let mut changes: Vec<Change> = changes.filter(|change| change.from != change.to).collect();
        changes.sort();
        Proposal::Transaction { changes }
    }

    fn installed(&self, package: &PackageKey) -> Option<&DebianVersion> {
        self.inventory.package(package)?.installed.as_ref().map(|installed| &installed.version)
    }

    fn is_held(&self, package: &PackageKey) -> Option<bool> {
        self.inventory.package(package)?.installed.as_ref().map(|installed| installed.held)
    }

    fn is_whole(&self) -> bool {
        let mut installed = self.inventory.packages.iter().filter_map(|package| package.installed.as_ref());
        !self.report.dpkg_interrupted && installed.all(|installed| installed.state.is_installed())
    }

    /// Whether an activity's step is what apt would do now (rule A7).
    pub(crate) fn would_do(&self, action: &StepAction) -> Result<(), (OutcomeReason, String)> {
        let (StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction)) = action
        else {
            return Ok(());
        };
        if !self.is_whole() {
            return Err((OutcomeReason::Preflight, "dpkg was interrupted".to_owned()));
        }
        if transaction.changes().all(|change| self.installed(&change.package) == change.from.as_ref()) {
            return Ok(());
        }
        Err((OutcomeReason::PlanMismatch, "apt would do something else now".to_owned()))
    }

    /// Whether the machine is as the step wants it (promise P5).
    pub(crate) fn is_done(&self, action: &StepAction) -> bool {
        match action {
            StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
                transaction.changes().all(|change| self.installed(&change.package) == change.to.as_ref())
            }
            // What is not installed cannot be held, nor be in the way.
            StepAction::HoldPackages { hold, unhold } => {
                hold.iter().all(|key| self.is_held(key) != Some(false))
                    && unhold.iter().all(|key| self.is_held(key) != Some(true))
            }
            StepAction::RepairPackages => self.is_whole(),
            StepAction::SelectKernel(choice) | StepAction::SetDefaultKernel(choice) => {
                self.report.kernel.next_boot.as_ref() == Some(&choice.release)
            }
            StepAction::Reboot { .. } => false,
        }
    }

    /// Kernel images that came or went.
    fn note_kernels(&mut self, transaction: &Transaction, now: Instant) {
        let metas: BTreeMap<PackageName, DebianVersion> = transaction
            .changes()
            .filter(|change| {
                let name = &change.package.name;
                name.as_str().starts_with("linux-image-") && kernel_release(name).is_none()
            })
            .filter_map(|change| Some((change.package.name.clone(), change.to.clone()?)))
            .collect();
        for change in transaction.changes() {
            let Some(release) = kernel_release(&change.package.name).map(SmolStr::new) else { continue };
            let kernels = &mut self.report.kernel.installed;
            kernels.retain(|kernel| kernel.package != change.package.name);
            let Some(version) = change.to.clone() else { continue };
            let package = change.package.name.clone();
            kernels.push(InstalledKernel {
                release: release.clone(),
                package: package.clone(),
                version,
                followed_by: metas.clone(),
            });
            self.report.kernel.next_boot = Some(release);
            let required = self
                .report
                .reboot_required
                .get_or_insert_with(|| Box::new(RebootRequired { since: now, packages: BTreeSet::new() }));
            required.packages.insert(SmolStr::new(package.as_str()));
        }
    }

    /// It booted: what asked for a reboot has it.
    pub(crate) fn booted(&mut self) {
        self.report.reboot_required = None;
    }
}
