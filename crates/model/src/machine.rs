//! One machine as the planner sees it: who it is, what it reported, whether it is heard.
//!
//! Packages are in `inventory`; what we decided about it is in `plan`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::{
    Architecture, BootId, DebianVersion, Digest, Instant, MachineName, PackageKey, PackageName, Shared, Uid,
    UnitName,
};

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its FleetMachine's name.
    pub name: MachineName,
    /// Its FleetMachine's uid.
    pub uid: Uid,
    /// Labels from Git, a person or its enrolment token, and the mirrored facts.
    pub labels: Shared<BTreeMap<SmolStr, SmolStr>>,
    /// Whether it may be planned for (rule M5).
    pub admitted: bool,
    /// A person took it out of planning for now.
    pub suspend: bool,
    /// Shut out for good.
    pub revoked: bool,
    /// Failures of activities up to this number are resolved (`muster resolve`).
    pub resolved_through: u64,
    /// Attempts of activities up to this number don't count any more (`muster retry`).
    pub retried_through: u64,
    /// What it last reported; absent: never heard.
    pub reported: Option<Reported>,
    /// Whether it is heard.
    pub presence: Presence,
    /// The highest activity number ever used for it; 0: none (rule A1).
    pub last_number: u64,
    /// Holds that we set there, on record before they are set (rule V6).
    pub holds: Shared<BTreeSet<PackageKey>>,
    /// When it first converged with each baseline that selected it since; its newness is judged by this (rule O5).
    pub first_converged: Option<Instant>,
}

impl Machine {
    /// The value of a label or reported fact: labels win.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels
            .get(key)
            .or_else(|| self.reported.as_ref().and_then(|reported| reported.facts.get(key)))
            .map(SmolStr::as_str)
    }

    /// The highest number known: recorded or seen in a report of an activity.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.last_number + 1
    }
}

/// Whether a machine is heard, as the gateways publish it (design §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// No gateway ever heard it.
    Never,
    /// A gateway hears it now and its last heartbeat confirmed the report that we have (rule M1).
    Present,
    /// Nobody hears it.
    Silent {
        /// When it was last heard.
        last_heard: Instant,
        /// From when silence counts: `last_heard`, or the return of a gateway after that, whichever is later, since
        /// silence counts only over time in which a gateway was up (rule B2).
        counted_from: Instant,
    },
}

/// What a machine said of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reported {
    /// The session that the gateway opened; never decreases (rule M4).
    pub session: u64,
    /// The report's number within the session; never decreases within it.
    pub sequence: u64,
    /// Digest of the report, which a heartbeat confirms.
    pub digest: Digest,
    /// When the gateway received it.
    pub time: Instant,
    /// The report itself.
    #[serde(flatten)]
    pub report: Report,
    /// Labels derived from it: `fact.muster.dev/os` and so on.
    pub facts: Shared<BTreeMap<SmolStr, SmolStr>>,
}

/// The body of a report: what the agent found on the machine. Nothing in it changes unless the machine does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The agent's version.
    pub agent: SmolStr,
    /// What the agent can do there.
    pub capabilities: Shared<BTreeSet<Capability>>,
    /// The operating system, from os-release(5).
    pub os: Shared<Os>,
    /// dpkg's native architecture.
    pub architecture: Architecture,
    /// Kernels.
    pub kernel: Shared<Kernel>,
    /// The present boot.
    pub boot: Boot,
    /// Whether a reboot is required, since when and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot_required: Option<Box<RebootRequired>>,
    /// Digest of the inventory.
    pub inventory: Digest,
    /// Whether dpkg was interrupted and needs `dpkg --configure -a`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dpkg_interrupted: bool,
    /// How many installed packages have a higher candidate.
    pub upgradable: u32,
    /// Of these, how many have a security update.
    #[serde(default)]
    pub security_upgradable: u32,
    /// What the machine draws for phased updates on offer to it, by source package and version (see [`phasing_draw`]); at
    /// most [`MAX_PHASING_DRAWS`]. The machine id, which the draws come from, is nobody's business.
    ///
    /// [`phasing_draw`]: crate::phasing_draw
    /// [`MAX_PHASING_DRAWS`]: crate::MAX_PHASING_DRAWS
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub phasing: BTreeMap<SmolStr, u8>,
    /// Units in state `failed`, at most 50.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub failed_units: Shared<BTreeSet<UnitName>>,
    /// Hardware facts: CPU, GPUs, virtualization, memory.
    pub hardware: Shared<Hardware>,
    /// The last activity that the agent carried out to its end there; 0: none. Lets numbers survive a lost record.
    #[serde(default)]
    pub last_activity: u64,
}

/// What an agent can do on its machine (rule M5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Capability {
    /// It can simulate transactions exactly (apt).
    ExactSimulation,
    /// It can change packages; an observing agent cannot.
    Packages,
    /// It can reboot the machine and tell boots apart by their id.
    Reboot,
    /// It keeps a journal that survives its death and reboots.
    Journal,
    /// It can let a new kernel boot once, and go back to the last good one by itself (rule K2).
    KernelSelection,
}

impl Capability {
    /// Its name in resources.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExactSimulation => "ExactSimulation",
            Self::Packages => "Packages",
            Self::Reboot => "Reboot",
            Self::Journal => "Journal",
            Self::KernelSelection => "KernelSelection",
        }
    }
}

/// An operating system, from os-release(5).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Os {
    /// `ID`: `debian`, `ubuntu`.
    pub id: SmolStr,
    /// `VERSION_ID`: `12`, `24.04`; empty on testing.
    #[serde(default)]
    pub version_id: SmolStr,
    /// `VERSION_CODENAME`: `bookworm`.
    #[serde(default)]
    pub codename: SmolStr,
}

/// The three facts of rule K1, and the command line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kernel {
    /// The running release, as `uname -r` says it.
    pub booted: SmolStr,
    /// Kernels installed by packages.
    #[serde(default)]
    pub installed: Vec<InstalledKernel>,
    /// The release that the boot loader would start next, where that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_boot: Option<SmolStr>,
    /// The running kernel's command line.
    #[serde(default)]
    pub command_line: SmolStr,
}

/// One installed kernel image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstalledKernel {
    /// Its release: `6.1.0-50-cloud-amd64`.
    pub release: SmolStr,
    /// The package that brought it: `linux-image-6.1.0-50-cloud-amd64`.
    pub package: PackageName,
    /// That package's version.
    pub version: DebianVersion,
    /// Installed meta-packages that depend on exactly this image, with their versions (rule K5).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub followed_by: BTreeMap<PackageName, DebianVersion>,
}

/// One boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Boot {
    /// What the kernel calls it.
    pub id: BootId,
    /// When it booted, by the machine's clock.
    pub time: Instant,
}

/// Why a machine wants a reboot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RebootRequired {
    /// Since when, by the machine's clock.
    pub since: Instant,
    /// The packages that asked for it (`/run/reboot-required.pkgs`), or the kernel that waits, at most 20.
    #[serde(default)]
    pub packages: BTreeSet<SmolStr>,
}

/// Hardware facts.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hardware {
    /// `vendor_id` of /proc/cpuinfo: `GenuineIntel`, `AuthenticAMD`, or the implementer on arm64.
    #[serde(default)]
    pub cpu_vendor: SmolStr,
    /// CPU family.
    #[serde(default)]
    pub cpu_family: SmolStr,
    /// CPU model name.
    #[serde(default)]
    pub cpu_model: SmolStr,
    /// Logical CPUs.
    #[serde(default)]
    pub cpus: u32,
    /// Memory in MiB.
    #[serde(default)]
    pub memory_mib: u64,
    /// GPU vendors by PCI class 03: `nvidia`, `amd`, `intel`; sorted.
    #[serde(default)]
    pub gpus: BTreeSet<SmolStr>,
    /// What systemd-detect-virt says: `none`, `kvm`, `systemd-nspawn` …
    #[serde(default)]
    pub virtualization: SmolStr,
}

impl Report {
    /// The facts that selectors can read, by label key (design §4).
    #[must_use]
    pub fn facts(&self) -> Shared<BTreeMap<SmolStr, SmolStr>> {
        let mut facts = BTreeMap::new();
        let mut put = |key: &str, value: &str| {
            let value: String =
                value.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).take(63).collect();
            let value = value.trim_matches(|c: char| !c.is_ascii_alphanumeric());
            if !value.is_empty() {
                facts.insert(SmolStr::new(key), SmolStr::new(value));
            }
        };
        put("fact.muster.dev/os", &self.os.id);
        put(
            "fact.muster.dev/release",
            if self.os.version_id.is_empty() { &self.os.codename } else { &self.os.version_id },
        );
        put("fact.muster.dev/arch", self.architecture.as_str());
        put("fact.muster.dev/virtualization", &self.hardware.virtualization);
        put("cpu.fact.muster.dev/vendor", &self.hardware.cpu_vendor);
        put("cpu.fact.muster.dev/family", &self.hardware.cpu_family);
        for gpu in &self.hardware.gpus {
            put(&format!("gpu.fact.muster.dev/{gpu}"), "true");
        }
        facts.into()
    }

    /// The digest that a heartbeat confirms.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).expect("a report is plain data, which JSON can always hold"))
    }
}
