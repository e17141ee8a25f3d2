//! PackageBaseline: the packages that selected machines are to have.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use muster_model::{Approval, Conffiles, Mode, PackageWish, Permit, RebootWhen, UpgradePolicy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BaselineStatus, HealthSpec, schema};

/// Which packages selected machines are to have, in which versions, and how changes to them spread.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "muster.dev",
    version = "v1alpha1",
    kind = "PackageBaseline",
    plural = "packagebaselines",
    singular = "packagebaseline",
    shortname = "pb",
    category = "muster",
    namespaced,
    status = "BaselineStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "The packages that selected machines are to have, in which versions, and how changes to them spread.",
    printcolumn(name = "Selected", type_ = "integer", json_path = ".status.selected"),
    printcolumn(name = "Converged", type_ = "integer", json_path = ".status.converged"),
    printcolumn(name = "Active", type_ = "integer", json_path = ".status.active"),
    printcolumn(name = "Blocked", type_ = "integer", json_path = ".status.blocked"),
    printcolumn(name = "Unknown", type_ = "integer", json_path = ".status.unknown"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode", priority = 1),
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority", priority = 1),
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
pub struct PackageBaselineSpec {
    /// The machines that the baseline is for, by their labels and facts (`fact.muster.dev/os`); `{}` is all of the namespace.
    #[schemars(schema_with = "schema::machine_selector")]
    pub machine_selector: LabelSelector,
    /// Enforce: change machines until they are as wanted. Observe: report drift, change nothing.
    #[serde(default)]
    #[schemars(schema_with = "schema::mode")]
    pub mode: Mode,
    /// Where baselines differ about a package, the higher priority decides; equal ones must agree.
    #[serde(default)]
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub priority: i32,
    /// What is asked of each package.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 500),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name", "architecture"])
    )]
    pub packages: Vec<PackageRequirement>,
    /// Upgrades of what is installed, beside the packages above: never out of the versions that are asked for by name, never
    /// of what is held. Absent: the baseline has no say, and others decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrades: Option<UpgradesSpec>,
    /// Whether a package may go to a lower version than is installed.
    #[serde(default)]
    #[schemars(schema_with = "schema::permit")]
    pub downgrades: Permit,
    /// Whether a transaction may remove packages that the baseline does not name.
    #[serde(default)]
    #[schemars(schema_with = "schema::permit")]
    pub removals: Permit,
    /// What becomes of a configuration file that was changed both on the machine and in the package: Keep the machine's,
    /// Replace it with the package's, or Fail the step.
    #[serde(default)]
    #[schemars(schema_with = "schema::conffiles")]
    pub conffiles: Conffiles,
    /// Whether and how machines are rebooted for this baseline.
    #[serde(default)]
    pub reboot: RebootSpec,
    /// What must be healthy after a change.
    #[serde(default)]
    pub health: HealthSpec,
    /// How changes spread over the machines.
    #[serde(default)]
    pub rollout: RolloutSpec,
}

/// Upgrades of what is installed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct UpgradesSpec {
    /// None: none, not even what baselines of lower priority ask for. Security: to what the distribution's security pockets
    /// offer, as unattended-upgrades does. All: to what `apt upgrade` would install; phased updates come when it is the
    /// machine's turn. Of baselines of one priority, the one that asks for more decides.
    #[schemars(schema_with = "schema::upgrade_policy")]
    pub policy: UpgradePolicy,
}

/// What is asked of one package.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.state != 'Absent' || (!has(self.version) && !self.hold)")
        .message("a package that is to be absent has neither version nor hold: take them away, or say state: Present")
)]
pub struct PackageRequirement {
    /// The package's name.
    #[schemars(schema_with = "schema::package_name")]
    pub name: String,
    /// Its dpkg architecture, such as arm64; `native` is the machine's own.
    #[serde(default = "native")]
    #[schemars(schema_with = "schema::architecture")]
    pub architecture: String,
    /// Whether the package is to be installed or not.
    #[serde(default)]
    #[schemars(schema_with = "schema::package_wish")]
    pub state: PackageWish,
    /// Which versions will do: Debian relations with `,` for "and" (`>= 3.0.15-1~deb12u1, << 3.1`), or `latest` for what apt
    /// would install. Absent: any version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::version_requirement")]
    pub version: Option<String>,
    /// Whether the package is held at what satisfies the version, so that nobody else moves it.
    #[serde(default)]
    pub hold: bool,
}

/// The architecture that stands for the machine's own in a [`PackageRequirement`].
pub const NATIVE_ARCHITECTURE: &str = "native";

fn native() -> String {
    NATIVE_ARCHITECTURE.to_owned()
}

impl Default for PackageRequirement {
    fn default() -> Self {
        Self {
            name: String::new(),
            architecture: native(),
            state: PackageWish::Present,
            version: None,
            hold: false,
        }
    }
}

/// Whether and how machines are rebooted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct RebootSpec {
    /// Never: not for this baseline. WhenRequired: when the machine says that it needs one, inside its windows and budgets.
    #[schemars(schema_with = "schema::reboot_when")]
    pub policy: RebootWhen,
    /// How long a reboot may take until the machine reports again; longer is a failure.
    #[schemars(schema_with = "schema::duration")]
    pub timeout: String,
}

impl Default for RebootSpec {
    fn default() -> Self {
        Self { policy: RebootWhen::Never, timeout: "30m".to_owned() }
    }
}

/// How changes spread over a baseline's machines.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutSpec {
    /// Waves, in their order: each item (a package's exact target) goes to the machines of a wave once it has passed every
    /// wave before. A machine is in the first wave that picks it; those that none picks come last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 10),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub waves: Vec<RolloutWave>,
    /// A label, such as topology.kubernetes.io/zone: within each wave one of its values starts when the one before has passed,
    /// in the order of their names; machines without it come last. Absent: no zones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_key")]
    pub zone_key: Option<String>,
    /// How many of the selected machines may be unavailable at a time: a number, or a percentage rounded down but at least 1.
    /// 0 means that nothing starts.
    #[schemars(schema_with = "schema::share")]
    pub max_unavailable: IntOrString,
    /// How many machines may fail a change before it stops everywhere: a number, or a percentage rounded down. It is counted
    /// over all machines, and over each wave by itself.
    #[schemars(schema_with = "schema::share")]
    pub max_failures: IntOrString,
    /// How long a machine goes on counting as unavailable after it succeeded.
    #[schemars(schema_with = "schema::duration")]
    pub min_ready: String,
}

impl Default for RolloutSpec {
    fn default() -> Self {
        Self {
            waves: Vec::new(),
            zone_key: None,
            max_unavailable: IntOrString::String("10%".to_owned()),
            max_failures: IntOrString::Int(0),
            min_ready: "0s".to_owned(),
        }
    }
}

/// One wave of a rollout.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.machineSelector) != has(self.machines)")
        .message("write exactly one of machineSelector and machines"),
    validation = Rule::new("self.name != 'rest'").message("rest is the implicit last wave: give this one another name")
)]
pub struct RolloutWave {
    /// The wave's name. What a wave has shown is recorded under it: a renamed wave judges anew.
    #[schemars(schema_with = "schema::wave_name")]
    pub name: String,
    /// The machines of the wave, by their labels and facts, among those that the baseline selects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::machine_selector")]
    pub machine_selector: Option<LabelSelector>,
    /// The machines of the wave as a share of all that the baseline selects: a number, or a percentage rounded down but at
    /// least 1. A stable hash chooses them; a larger share holds a smaller one, so shares grow from wave to wave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::share")]
    pub machines: Option<IntOrString>,
    /// How long the wave is watched after the last of its machines has an item, before the next wave starts.
    #[serde(default = "no_time")]
    #[schemars(schema_with = "schema::duration")]
    pub soak: String,
    /// Required: nothing of an item starts in this wave until somebody approves it, with a RolloutApproval.
    #[serde(default)]
    #[schemars(schema_with = "schema::approval")]
    pub approval: Approval,
}

fn no_time() -> String {
    "0s".to_owned()
}
