//! What a fake machine's agent finds on it: packages, kernels, the report.

use std::collections::BTreeMap;

use muster_model::{
    Boot, Capability, Digest, Hardware, InstalledKernel, Inventory, Kernel, Os, RebootRequired, Report,
};

use super::Machine;

const IMAGE: &str = "linux-image-";

impl Machine {
    pub(super) fn inventory(&self) -> Inventory {
        self.shared.archive.inventory(&self.disk.dpkg, &self.disk.wanted.interest)
    }

    pub(super) fn inventory_digest(&mut self) -> Digest {
        if let Some(digest) = &self.inventory {
            return digest.clone();
        }
        let digest = self.inventory().digest();
        self.inventory.insert(digest).clone()
    }

    fn kernels(&self) -> Vec<InstalledKernel> {
        let images = self.shared.archive.all_installed(&self.disk.dpkg).filter_map(|(package, version)| {
            let release = package
                .as_str()
                .strip_prefix(IMAGE)
                .filter(|release| release.starts_with(char::is_numeric))?;
            let follower = self.shared.archive.follower(&self.disk.dpkg, package);
            Some(InstalledKernel {
                release: release.into(),
                package: package.clone(),
                version: version.clone(),
                followed_by: follower
                    .map(|(name, version)| (name.clone(), version.clone()))
                    .into_iter()
                    .collect(),
            })
        });
        images.collect()
    }

    pub(super) fn releases(&self) -> Vec<String> {
        self.kernels().into_iter().map(|kernel| kernel.release.to_string()).collect()
    }

    pub(super) fn newest_kernel(&self) -> Option<String> {
        self.kernels()
            .into_iter()
            .max_by(|a, b| a.version.cmp(&b.version))
            .map(|kernel| kernel.release.to_string())
    }

    /// What the agent finds.
    pub(super) fn found(&mut self) -> Report {
        let newest = self.newest_kernel();
        let next = self.disk.loader.next(newest.as_deref(), &self.disk.running());
        Report {
            agent: concat!(env!("CARGO_PKG_VERSION"), "-sim").into(),
            capabilities: [
                Capability::ExactSimulation,
                Capability::Packages,
                Capability::Reboot,
                Capability::Journal,
                Capability::KernelSelection,
            ]
            .into(),
            os: Os { id: "debian".into(), version_id: "12".into(), codename: "bookworm".into() }.into(),
            architecture: self.shared.archive.architecture.clone(),
            kernel: Kernel {
                booted: self.disk.release.as_str().into(),
                installed: self.kernels(),
                next_boot: Some(next.release.into()),
                command_line: format!("BOOT_IMAGE=/boot/vmlinuz-{} {}", self.disk.release, self.disk.line)
                    .into(),
            }
            .into(),
            boot: Boot {
                id: self.disk.boot_id(self.shared.options.seed, self.n).as_str().into(),
                time: self.disk.booted,
            },
            reboot_required: self.disk.reboot_since.map(|since| {
                Box::new(RebootRequired {
                    since,
                    packages: newest.map(|release| format!("{IMAGE}{release}").into()).into_iter().collect(),
                })
            }),
            inventory: self.inventory_digest(),
            dpkg_interrupted: false,
            upgradable: self.shared.archive.upgradable(&self.disk.dpkg),
            security_upgradable: self.shared.archive.security_upgradable(&self.disk.dpkg),
            // Debian phases nothing.
            phasing: BTreeMap::new(),
            failed_units: Default::default(),
            hardware: Hardware {
                cpu_vendor: if self.n.is_multiple_of(4) { "AuthenticAMD" } else { "GenuineIntel" }.into(),
                cpu_family: if self.n.is_multiple_of(4) { "25" } else { "6" }.into(),
                cpus: 4,
                memory_mib: 8192,
                virtualization: "kvm".into(),
                ..Hardware::default()
            }
            .into(),
            last_activity: self.disk.journal.last_finished(),
        }
    }
}
