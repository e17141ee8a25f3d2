//! KernelBaseline: the kernel that selected machines are to run.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use muster_model::Mode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BaselineStatus, HealthSpec, RebootSpec, RolloutSpec, schema};

/// Which kernel selected machines are to run, as booted.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "muster.dev",
    version = "v1alpha1",
    kind = "KernelBaseline",
    plural = "kernelbaselines",
    singular = "kernelbaseline",
    shortname = "kb",
    category = "muster",
    namespaced,
    status = "BaselineStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "The kernel that selected machines are to run, as booted.",
    printcolumn(name = "Package", type_ = "string", json_path = ".spec.package"),
    printcolumn(name = "Selected", type_ = "integer", json_path = ".status.selected"),
    printcolumn(name = "Converged", type_ = "integer", json_path = ".status.converged"),
    printcolumn(name = "Blocked", type_ = "integer", json_path = ".status.blocked"),
    printcolumn(name = "Active", type_ = "integer", json_path = ".status.active"),
    printcolumn(name = "Unknown", type_ = "integer", json_path = ".status.unknown"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version", priority = 1),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode", priority = 1),
    printcolumn(name = "Absent", type_ = "integer", json_path = ".status.absent", priority = 1),
    printcolumn(name = "Unavailable", type_ = "integer", json_path = ".status.unavailable", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct KernelBaselineSpec {
    /// The machines that the baseline is for, by their labels and facts (`cpu.fact.muster.dev/vendor`); `{}` is all of the
    /// namespace.
    #[schemars(schema_with = "schema::machine_selector")]
    pub machine_selector: LabelSelector,
    /// Enforce: install the kernel and boot it, until machines run it. Observe: report which kernels differ, change nothing.
    #[serde(default)]
    #[schemars(schema_with = "schema::mode")]
    pub mode: Mode,
    /// Where baselines differ about the kernel, the higher priority decides; equal ones must agree.
    #[serde(default)]
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub priority: i32,
    /// The meta-package followed, such as linux-image-cloud-amd64: it decides flavour and series.
    #[schemars(schema_with = "schema::package_name")]
    pub package: String,
    /// Which versions of that package will do, as booted: Debian relations with `,` for "and". Absent: any version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::version_requirement")]
    pub version: Option<String>,
    /// What the running kernel's command line must and must not say.
    #[serde(default)]
    pub command_line: CommandLineSpec,
    /// How many kernels of the flavour stay installed. What is more goes as the next one comes, the oldest first; never the
    /// one that runs, that boots next, or that is the last good one.
    #[serde(default = "keep")]
    #[schemars(range(min = 2, max = 20))]
    pub keep: u32,
    /// Whether machines are rebooted into the kernel. Never: it is selected for the next boot, and somebody reboots.
    #[serde(default)]
    pub reboot: RebootSpec,
    /// What must be healthy on a kernel before it boots by default.
    #[serde(default)]
    pub health: HealthSpec,
    /// How a kernel spreads over the machines.
    #[serde(default)]
    pub rollout: RolloutSpec,
}

fn keep() -> u32 {
    2
}

impl Default for KernelBaselineSpec {
    fn default() -> Self {
        Self {
            machine_selector: LabelSelector::default(),
            mode: Mode::Enforce,
            priority: 0,
            package: String::new(),
            version: None,
            command_line: CommandLineSpec::default(),
            keep: keep(),
            reboot: RebootSpec::default(),
            health: HealthSpec::default(),
            rollout: RolloutSpec::default(),
        }
    }
}

/// Words of a kernel's command line.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct CommandLineSpec {
    /// Words that must be there, such as mitigations=auto.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::words")]
    pub present: Vec<String>,
    /// Words that must not be there, such as nosmt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::words")]
    pub absent: Vec<String>,
}

impl CommandLineSpec {
    /// Nothing is asked of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.present.is_empty() && self.absent.is_empty()
    }
}
