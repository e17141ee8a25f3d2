//! FleetMachine and its report.

use std::collections::BTreeMap;

use muster_model::{
    Architecture, Boot, DebianVersion, Digest, Hardware, InstalledKernel, Kernel, MAX_PHASING_DRAWS, Machine,
    MachineName, Os, PackageName, Presence, RebootRequired, Report, Reported, Uid,
};

use smol_str::SmolStr;

use super::{Reader, cut, labels, time};
use crate::{
    BootStatus, FieldError, FleetMachine, FleetMachineSpec, FollowingPackage, HardwareStatus,
    InstalledKernelStatus, KernelStatus, OsStatus, RebootRequiredStatus, ReportedStatus,
    schema::MAX_DRAW_KEY,
};

/// How many kernels a report shows: nobody boots the seventeenth, and a status is to stay small.
const MAX_KERNELS: usize = 16;

/// How many failed units a report shows.
const MAX_FAILED_UNITS: usize = 50;

impl FleetMachine {
    /// The machine as the planner knows it; `presence` is what the gateways say.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn to_model(&self, presence: Presence) -> Result<Machine, Vec<FieldError>> {
        let FleetMachineSpec {
            identity: _,
            admitted,
            suspend,
            title: _,
            revoked,
            resolved_through,
            retried_through,
        } = &self.spec;
        let mut reader = Reader::default();
        let name = reader.read(
            "metadata.name",
            "",
            MachineName::parse(self.metadata.name.as_deref().unwrap_or_default()),
        );
        let uid =
            reader.read("metadata.uid", "", Uid::parse(self.metadata.uid.as_deref().unwrap_or_default()));
        let status = self.status.as_ref();
        let reported = match status.and_then(|status| status.reported.as_ref()) {
            None => Some(None),
            Some(reported) => reader.reported(reported).map(Some),
        };
        let decision = status.and_then(|status| status.decision.as_ref());
        let holds = match decision {
            None => Some(Default::default()),
            Some(decision) => reader.packages("status.decision.holds", &decision.holds),
        };
        reader.finish(|| {
            Some(Machine {
                name: name?,
                uid: uid?,
                labels: labels(self.metadata.labels.as_ref()).into(),
                admitted: *admitted,
                suspend: *suspend,
                revoked: *revoked,
                resolved_through: *resolved_through,
                retried_through: *retried_through,
                reported: reported?,
                presence,
                last_number: decision.map_or(0, |decision| decision.highest_activity_number),
                holds: holds?,
                first_converged: decision
                    .and_then(|decision| decision.first_converged_time.as_ref())
                    .map(|time| time.0),
            })
        })
    }
}

impl Reader {
    fn reported(&mut self, reported: &ReportedStatus) -> Option<Reported> {
        let at = |field: &str| format!("status.reported.{field}");
        let digest = self.read(at("digest"), "", Digest::parse(&reported.digest));
        let architecture = self.read(at("architecture"), "", Architecture::parse(&reported.architecture));
        let inventory = self.read(at("inventory"), "", Digest::parse(&reported.inventory));
        let kernel = self.kernel(&reported.kernel);
        let failed_units = self.units(&at("failedUnits"), &reported.failed_units);
        let reboot_required = reported.reboot_required.as_ref().map(|required| {
            Box::new(RebootRequired {
                since: required.since_time.0,
                packages: required.packages.iter().map(Into::into).collect(),
            })
        });
        Some(Reported {
            session: reported.session,
            sequence: reported.sequence,
            digest: digest?,
            time: reported.time.0,
            report: Report {
                agent: reported.agent.as_str().into(),
                capabilities: reported.capabilities.iter().copied().collect(),
                os: Os {
                    id: reported.os.id.as_str().into(),
                    version_id: reported.os.version_id.as_str().into(),
                    codename: reported.os.codename.as_str().into(),
                }
                .into(),
                architecture: architecture?,
                kernel: kernel?.into(),
                boot: Boot { id: reported.boot.id.as_str().into(), time: reported.boot.time.0 },
                reboot_required,
                inventory: inventory?,
                dpkg_interrupted: reported.dpkg_interrupted,
                upgradable: reported.upgradable,
                security_upgradable: reported.security_upgradable,
                phasing: reported.phasing.iter().map(|(update, draw)| (update.into(), *draw)).collect(),
                failed_units: failed_units?.into(),
                hardware: hardware(&reported.hardware).into(),
                last_activity: reported.last_activity,
            },
            facts: labels(Some(&reported.facts)).into(),
        })
    }

    fn kernel(&mut self, kernel: &KernelStatus) -> Option<Kernel> {
        let installed: Option<Vec<_>> =
            kernel.installed.iter().map(|installed| self.installed_kernel(installed)).collect();
        Some(Kernel {
            booted: kernel.booted.as_str().into(),
            installed: installed?,
            next_boot: kernel.next_boot.as_deref().map(Into::into),
            command_line: kernel.command_line.as_str().into(),
        })
    }

    fn installed_kernel(&mut self, installed: &InstalledKernelStatus) -> Option<InstalledKernel> {
        const FIELD: &str = "status.reported.kernel.installed";
        let package = self.read(FIELD, "", PackageName::parse(&installed.package));
        let version = self.read(FIELD, "V1", DebianVersion::parse(&installed.version));
        let mut followed_by = BTreeMap::new();
        for following in &installed.followed_by {
            let package = self.read(FIELD, "", PackageName::parse(&following.package));
            let version = self.read(FIELD, "V1", DebianVersion::parse(&following.version));
            followed_by.insert(package?, version?);
        }
        Some(InstalledKernel {
            release: installed.release.as_str().into(),
            package: package?,
            version: version?,
            followed_by,
        })
    }
}

fn hardware(hardware: &HardwareStatus) -> Hardware {
    let HardwareStatus { cpu_vendor, cpu_family, cpu_model, cpus, memory_mib, gpus, virtualization } =
        hardware;
    Hardware {
        cpu_vendor: cpu_vendor.into(),
        cpu_family: cpu_family.into(),
        cpu_model: cpu_model.into(),
        cpus: *cpus,
        memory_mib: *memory_mib,
        gpus: gpus.iter().map(Into::into).collect(),
        virtualization: virtualization.into(),
    }
}

impl ReportedStatus {
    /// A report as a FleetMachine shows it; what is longer than a status holds is cut.
    #[must_use]
    pub fn from_model(reported: &Reported, clock_skew_seconds: Option<i64>) -> Self {
        let Reported { session, sequence, digest, time: received, report, facts } = reported;
        let Report {
            agent,
            capabilities,
            os,
            architecture,
            kernel,
            boot: Boot { id: boot_id, time: booted },
            reboot_required,
            inventory,
            dpkg_interrupted,
            upgradable,
            security_upgradable,
            phasing,
            failed_units,
            hardware,
            last_activity,
        } = report;
        let Os { id, version_id, codename } = &**os;
        Self {
            session: *session,
            sequence: *sequence,
            digest: digest.to_string(),
            time: time(*received),
            clock_skew_seconds,
            agent: cut(agent, 64),
            capabilities: capabilities.iter().copied().collect(),
            os: OsStatus { id: cut(id, 64), version_id: cut(version_id, 64), codename: cut(codename, 64) },
            architecture: architecture.to_string(),
            kernel: kernel_status(kernel),
            boot: BootStatus { id: cut(&boot_id.to_string(), 64), time: time(*booted) },
            reboot_required: reboot_required.as_ref().map(|required| RebootRequiredStatus {
                since_time: time(required.since),
                packages: required.packages.iter().take(20).map(|package| cut(package, 128)).collect(),
            }),
            inventory: inventory.to_string(),
            dpkg_interrupted: *dpkg_interrupted,
            upgradable: *upgradable,
            security_upgradable: *security_upgradable,
            phasing: draws(phasing),
            failed_units: failed_units.iter().take(MAX_FAILED_UNITS).map(ToString::to_string).collect(),
            hardware: hardware_status(hardware),
            last_activity: *last_activity,
            facts: facts.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        }
    }
}

/// As many as a status holds; one that is too long waits as if it were not drawn.
fn draws(phasing: &BTreeMap<SmolStr, u8>) -> BTreeMap<String, u8> {
    let fits = phasing.iter().filter(|(update, _)| update.len() <= MAX_DRAW_KEY);
    fits.take(MAX_PHASING_DRAWS).map(|(update, draw)| (update.to_string(), *draw)).collect()
}

fn kernel_status(kernel: &Kernel) -> KernelStatus {
    let Kernel { booted, installed, next_boot, command_line } = kernel;
    let each = |installed: &InstalledKernel| {
        let InstalledKernel { release, package, version, followed_by } = installed;
        let following = |(package, version): (&PackageName, &DebianVersion)| FollowingPackage {
            package: package.to_string(),
            version: version.to_string(),
        };
        InstalledKernelStatus {
            release: cut(release, 128),
            package: package.to_string(),
            version: version.to_string(),
            followed_by: followed_by.iter().take(16).map(following).collect(),
        }
    };
    KernelStatus {
        booted: cut(booted, 128),
        installed: installed.iter().take(MAX_KERNELS).map(each).collect(),
        next_boot: next_boot.as_ref().map(|release| cut(release, 128)),
        command_line: cut(command_line, 4096),
    }
}

fn hardware_status(hardware: &Hardware) -> HardwareStatus {
    let Hardware { cpu_vendor, cpu_family, cpu_model, cpus, memory_mib, gpus, virtualization } = hardware;
    HardwareStatus {
        cpu_vendor: cut(cpu_vendor, 64),
        cpu_family: cut(cpu_family, 64),
        cpu_model: cut(cpu_model, 128),
        cpus: *cpus,
        memory_mib: *memory_mib,
        gpus: gpus.iter().take(16).map(|gpu| cut(gpu, 63)).collect(),
        virtualization: cut(virtualization, 64),
    }
}
