//! What a machine's agent finds on it.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_model::{
    Boot, Capability, Digest, Hardware, InstalledKernel, Instant, Inventory, Kernel, Os, PackageName,
    RebootRequired, Report,
};
use smol_str::{SmolStr, format_smolstr};

use super::Host;
use crate::archive::{self, Suite};

impl Host {
    pub(crate) fn inventory(&mut self, suite: &Suite) -> (Digest, Arc<Inventory>) {
        if let Some(recorded) = &self.recorded {
            return (recorded.report.inventory.clone(), recorded.inventory.clone());
        }
        if self.inventory.is_none() {
            let inventory = suite.inventory(&self.dpkg, &self.wanted.interest);
            self.inventory = Some((inventory.digest(), Arc::new(inventory)));
        }
        self.inventory.clone().expect("it was just made")
    }

    /// Whether the kernel is installed.
    pub(super) fn has_kernel(&self, choice: &muster_model::KernelChoice) -> bool {
        self.kernels().iter().any(|kernel| kernel.release == choice.release)
    }

    fn kernels(&self) -> Vec<InstalledKernel> {
        let meta = archive::package(archive::KERNEL);
        let followed = self.dpkg.installed.get(&meta);
        let images = self.dpkg.installed.iter().filter_map(|(name, version)| {
            let release = archive::release_of(name)?;
            let follows = followed.filter(|followed| archive::image(followed) == *name);
            let followed_by = follows.map(|followed| (meta.clone(), followed.clone())).into_iter().collect();
            Some(InstalledKernel { release, package: name.clone(), version: version.clone(), followed_by })
        });
        images.collect()
    }

    /// The release that the boot loader starts by itself.
    pub(crate) fn newest_release(&self) -> Option<SmolStr> {
        if let Some(recorded) = &self.recorded {
            return recorded.report.kernel.next_boot.clone();
        }
        let kernels = self.kernels();
        kernels.into_iter().max_by(|a, b| a.version.cmp(&b.version)).map(|kernel| kernel.release)
    }

    /// The version of an installed kernel's image.
    pub(crate) fn version_of_kernel(&self, release: &str) -> Option<muster_model::DebianVersion> {
        let mut kernels = self.kernels().into_iter();
        kernels.find(|kernel| kernel.release == release).map(|kernel| kernel.version)
    }

    /// The report.
    pub(crate) fn found(&mut self, suite: &Suite) -> Report {
        if let Some(recorded) = &self.recorded {
            let mut report = recorded.report.clone();
            report.kernel.booted = self.release.clone();
            report.kernel.command_line = self.line.clone();
            report.boot = Boot { id: self.boot_id().into(), time: self.booted_at() };
            report.last_activity = report.last_activity.max(self.journal.last_finished());
            return report;
        }
        let (inventory, list) = self.inventory(suite);
        let newest = self.newest_release();
        let upgradable = list.packages.iter().filter(|package| {
            let installed = package.installed.as_ref().map(|installed| &installed.version);
            installed.is_some_and(|installed| {
                package.candidate.as_ref().is_some_and(|candidate| candidate > installed)
            })
        });
        Report {
            agent: SmolStr::new_static("0.1.0-storm"),
            capabilities: [
                Capability::ExactSimulation,
                Capability::Packages,
                Capability::Reboot,
                Capability::Journal,
                Capability::KernelSelection,
            ]
            .into(),
            os: Os { id: "debian".into(), version_id: "12".into(), codename: "bookworm".into() }.into(),
            architecture: suite.architecture.clone(),
            kernel: Kernel {
                booted: self.release.clone(),
                installed: self.kernels(),
                next_boot: self.loader.next().map(|(release, _)| release.clone()).or_else(|| newest.clone()),
                command_line: self.line.clone(),
            }
            .into(),
            boot: Boot { id: self.boot_id().into(), time: self.booted_at() },
            reboot_required: self.reboot_since.map(|since| {
                Box::new(RebootRequired {
                    since,
                    packages: newest
                        .map(|release| format_smolstr!("linux-image-{release}"))
                        .into_iter()
                        .collect(),
                })
            }),
            inventory,
            dpkg_interrupted: !self.dpkg.broken.is_empty(),
            upgradable: u32::try_from(upgradable.count()).unwrap_or(u32::MAX),
            security_upgradable: 0,
            phasing: std::collections::BTreeMap::new(),
            failed_units: self.failed_units.clone().into(),
            hardware: Hardware { virtualization: "kvm".into(), ..Hardware::default() }.into(),
            last_activity: self.journal.last_finished(),
        }
    }

    fn booted_at(&self) -> Instant {
        self.wall(self.booted)
    }

    /// Whether the report that its gateway has is what it would say now.
    pub(crate) fn is_told(&mut self, suite: &Suite) -> bool {
        let last = self.journal.last_finished();
        if self.report.as_ref().is_none_or(|(known, _)| *known != last) {
            self.report = Some((last, self.found(suite).digest()));
        }
        self.told.as_ref() == self.report.as_ref().map(|(_, digest)| digest)
    }

    /// The names of its packages, for whoever breaks one.
    pub(crate) fn packages(&self) -> BTreeSet<PackageName> {
        self.dpkg.installed.keys().cloned().collect()
    }
}
