//! A machine's report, as a FleetMachine shows it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use muster_model::Capability;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// What a machine said of itself.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ReportedStatus {
    /// The session that the gateway opened for the machine; never decreases.
    pub session: u64,
    /// The report's number within the session; never decreases within it.
    pub sequence: u64,
    /// Digest of the report, which heartbeats confirm.
    #[schemars(schema_with = "schema::digest")]
    pub digest: String,
    /// When the gateway received the report.
    pub time: Time,
    /// How many seconds the machine's clock was ahead of the gateway's (negative: behind), if more than it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew_seconds: Option<i64>,
    /// The agent's version.
    #[schemars(length(max = 64))]
    pub agent: String,
    /// What the agent can do on the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::capabilities")]
    pub capabilities: Vec<Capability>,
    /// The operating system, from os-release(5).
    pub os: OsStatus,
    /// dpkg's own architecture.
    #[schemars(schema_with = "schema::architecture")]
    pub architecture: String,
    /// Kernels: running, installed, next.
    pub kernel: KernelStatus,
    /// The present boot.
    pub boot: BootStatus,
    /// Why the machine wants a reboot; absent: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot_required: Option<RebootRequiredStatus>,
    /// Digest of the machine's PackageInventory.
    #[schemars(schema_with = "schema::digest")]
    pub inventory: String,
    /// Whether dpkg was interrupted and needs `dpkg --configure -a`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dpkg_interrupted: bool,
    /// How many installed packages apt has a newer candidate for.
    pub upgradable: u32,
    /// Of these, how many have a newer version in a security pocket.
    #[serde(default)]
    pub security_upgradable: u32,
    /// What the machine draws for phased updates that are on offer to it, by source package and version: it is one of the
    /// first 10% where that is at most 10.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::draws")]
    pub phasing: BTreeMap<String, u8>,
    /// systemd units in state failed; at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::units")]
    pub failed_units: Vec<String>,
    /// CPU, memory, GPUs, virtualization.
    pub hardware: HardwareStatus,
    /// Number of the last activity that the agent carried out to its end; 0: none.
    #[serde(default)]
    pub last_activity: u64,
    /// What selectors can read besides labels: `fact.muster.dev/os` and so on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub facts: BTreeMap<String, String>,
}

/// An operating system, from os-release(5).
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OsStatus {
    /// `ID`: debian, ubuntu.
    #[schemars(length(max = 64))]
    pub id: String,
    /// `VERSION_ID`: 12, 24.04; absent on testing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub version_id: String,
    /// `VERSION_CODENAME`: bookworm.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub codename: String,
}

/// Kernels: running, installed, next.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KernelStatus {
    /// The running release, as `uname -r` says it.
    #[schemars(length(max = 128))]
    pub booted: String,
    /// Kernels installed by packages; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub installed: Vec<InstalledKernelStatus>,
    /// The release that the boot loader would start next, where that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub next_boot: Option<String>,
    /// The running kernel's command line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 4096))]
    pub command_line: String,
}

/// One installed kernel image.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct InstalledKernelStatus {
    /// Its release, such as 6.1.0-50-cloud-amd64.
    #[schemars(length(max = 128))]
    pub release: String,
    /// The package that brought it.
    #[schemars(schema_with = "schema::package_name")]
    pub package: String,
    /// That package's version.
    #[schemars(schema_with = "schema::version")]
    pub version: String,
    /// Installed meta-packages that depend on exactly this image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub followed_by: Vec<FollowingPackage>,
}

/// A meta-package that depends on a kernel image.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FollowingPackage {
    /// The meta-package.
    #[schemars(schema_with = "schema::package_name")]
    pub package: String,
    /// Its version.
    #[schemars(schema_with = "schema::version")]
    pub version: String,
}

/// One boot.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BootStatus {
    /// The kernel's boot id.
    #[schemars(length(max = 64))]
    pub id: String,
    /// When the machine booted, by its own clock.
    pub time: Time,
}

/// Why a machine wants a reboot.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RebootRequiredStatus {
    /// Since when, by the machine's clock.
    pub since_time: Time,
    /// The packages that asked for it, or the kernel that waits; at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::reboot_reasons")]
    pub packages: Vec<String>,
}

/// CPU, memory, GPUs, virtualization.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HardwareStatus {
    /// `vendor_id` of /proc/cpuinfo: GenuineIntel, AuthenticAMD, or the implementer on arm64.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub cpu_vendor: String,
    /// CPU family.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub cpu_family: String,
    /// CPU model name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 128))]
    pub cpu_model: String,
    /// Logical CPUs.
    #[serde(default)]
    pub cpus: u32,
    /// Memory in MiB.
    #[serde(default)]
    pub memory_mib: u64,
    /// Vendors of its GPUs: nvidia, amd, intel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::gpus")]
    pub gpus: Vec<String>,
    /// What systemd-detect-virt says: none, kvm, systemd-nspawn.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub virtualization: String,
}
