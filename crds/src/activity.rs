//! Activity: one disruption of one machine, complete and immutable, and how far it is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use kube::{CustomResource, KubeSchema};
use muster_model::{Conffiles, Cover, OutcomeReason, Phase};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    BaselineReference, CommandLineSpec, HealthSpec, MachineReference, PackageChange, PackageReference, schema,
};

/// One disruption of one machine: an ordered list of steps, immutable, judged by what is observed afterwards.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "muster.dev",
    version = "v1alpha1",
    kind = "Activity",
    plural = "activities",
    singular = "activity",
    shortname = "act",
    category = "muster",
    namespaced,
    status = "ActivityStatus",
    derive = "PartialEq",
    doc = "One disruption of one machine: an ordered list of steps, immutable, judged by what is observed afterwards.",
    selectable = ".status.phase",
    selectable = ".spec.machineRef.name",
    validation = Rule::new("!has(oldSelf.status) || has(self.status)").message("an activity's status cannot be taken away"),
    printcolumn(name = "Machine", type_ = "string", json_path = ".spec.machineRef.name"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Steps", type_ = "string", json_path = ".spec.steps[*].type"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.outcome"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Finished", type_ = "date", json_path = ".status.finishedTime", priority = 1),
    printcolumn(name = "Revision", type_ = "string", json_path = ".spec.cause.revision", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(concat!(
        "self.machineRef == oldSelf.machineRef && self.steps == oldSelf.steps && self.cause == oldSelf.cause",
        " && self.health == oldSelf.health && self.expiryTime == oldSelf.expiryTime",
        " && has(self.budgets) == has(oldSelf.budgets) && (!has(self.budgets) || self.budgets == oldSelf.budgets)",
        " && has(self.windows) == has(oldSelf.windows) && (!has(self.windows) || self.windows == oldSelf.windows)",
        " && has(self.failedUnits) == has(oldSelf.failedUnits)",
        " && (!has(self.failedUnits) || self.failedUnits == oldSelf.failedUnits)"
    ))
    .message("an activity never changes, but for cancel: a change is a new activity"),
    validation = Rule::new("!oldSelf.cancel || self.cancel").message("cancel cannot be taken back")
)]
pub struct ActivitySpec {
    /// The machine.
    pub machine_ref: MachineReference,
    /// What to do, in this order.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub steps: Vec<ActivityStep>,
    /// Why the activity exists.
    #[serde(default)]
    pub cause: ActivityCause,
    /// The DisruptionBudgets that it is charged to, besides those that select the machine now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::object_names")]
    pub budgets: Vec<String>,
    /// The Allow windows that it started in, and the windows that it passes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["covers", "name"])
    )]
    pub windows: Vec<ActivityWindow>,
    /// No step starts after it.
    pub expiry_time: Time,
    /// What must be healthy after the last step.
    #[serde(default)]
    pub health: HealthSpec,
    /// The units that had failed on the machine when the activity was made. One that fails since then makes the machine
    /// unhealthy, and so unavailable in budgets and in waves, until it runs again or `muster resolve` settles the activity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::units")]
    pub failed_units: Vec<String>,
    /// Asks for the activity to end: at once if it is pending, else as soon as the machine can. Never taken back.
    #[serde(default)]
    pub cancel: bool,
}

/// One step.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type == 'InstallPackages') == has(self.installPackages)")
        .message("type InstallPackages takes installPackages, and only that type does"),
    validation = Rule::new("(self.type == 'RemovePackages') == has(self.removePackages)")
        .message("type RemovePackages takes removePackages, and only that type does"),
    validation = Rule::new("(self.type == 'HoldPackages') == has(self.holdPackages)")
        .message("type HoldPackages takes holdPackages, and only that type does"),
    validation = Rule::new("(self.type == 'RepairPackages') == has(self.repairPackages)")
        .message("type RepairPackages takes repairPackages, and only that type does"),
    validation = Rule::new("(self.type == 'SelectKernel') == has(self.selectKernel)")
        .message("type SelectKernel takes selectKernel, and only that type does"),
    validation = Rule::new("(self.type == 'Reboot') == has(self.reboot)")
        .message("type Reboot takes reboot, and only that type does"),
    validation = Rule::new("(self.type == 'SetDefaultKernel') == has(self.setDefaultKernel)")
        .message("type SetDefaultKernel takes setDefaultKernel, and only that type does")
)]
pub struct ActivityStep {
    /// What kind of step it is; the member of the same name has the rest.
    #[serde(rename = "type")]
    pub type_: StepType,
    /// One apt transaction that installs, upgrades or downgrades.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install_packages: Option<TransactionStep>,
    /// One apt transaction that only removes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove_packages: Option<TransactionStep>,
    /// Sets and lifts holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_packages: Option<HoldStep>,
    /// `dpkg --configure -a`, and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair_packages: Option<RepairStep>,
    /// Makes a kernel the boot loader's choice for one boot; the default stays on the last good one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select_kernel: Option<KernelStep>,
    /// Reboots the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot: Option<RebootStep>,
    /// Makes the kernel that runs the default, once the machine is healthy on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_default_kernel: Option<KernelStep>,
    /// The baselines that the step serves and is charged to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    pub baselines: Vec<BaselineReference>,
    /// The step fails after so long.
    #[schemars(schema_with = "schema::duration")]
    pub timeout: String,
}

/// The kinds of step.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepType {
    /// One apt transaction that installs, upgrades or downgrades.
    InstallPackages,
    /// One apt transaction that only removes.
    RemovePackages,
    /// Sets and lifts holds.
    HoldPackages,
    /// `dpkg --configure -a`.
    RepairPackages,
    /// Makes a kernel the boot loader's choice for one boot.
    SelectKernel,
    /// Reboots the machine.
    Reboot,
    /// Makes the kernel that runs the default.
    SetDefaultKernel,
}

/// An exact apt transaction; the machine refuses if apt would do anything else.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TransactionStep {
    /// What baselines ask for.
    #[serde(default)]
    #[schemars(length(max = 2000), extend("x-kubernetes-list-type" = "atomic"))]
    pub requested: Vec<PackageChange>,
    /// What apt does besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2000), extend("x-kubernetes-list-type" = "atomic"))]
    pub dependencies: Vec<PackageChange>,
    /// What becomes of configuration files changed both on the machine and in the package.
    #[serde(default)]
    #[schemars(schema_with = "schema::conffiles")]
    pub conffiles: Conffiles,
}

/// Sets and lifts holds.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HoldStep {
    /// To hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), extend("x-kubernetes-list-type" = "atomic"))]
    pub hold: Vec<PackageReference>,
    /// To let go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), extend("x-kubernetes-list-type" = "atomic"))]
    pub unhold: Vec<PackageReference>,
}

/// Repairs an interrupted dpkg; nothing to say about it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RepairStep {}

/// Reboots the machine.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RebootStep {
    /// The kernel release that is to run afterwards. Absent: whichever the machine boots by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub kernel: Option<String>,
    /// What the kernel's command line must and must not say afterwards.
    #[serde(default, skip_serializing_if = "CommandLineSpec::is_empty")]
    pub command_line: CommandLineSpec,
}

/// The kernel that is selected for one boot, or made the default.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KernelStep {
    /// Its release, as `uname -r` says it.
    #[schemars(length(min = 1, max = 128))]
    pub kernel: String,
    /// What its command line is to say and not to say.
    #[serde(default, skip_serializing_if = "CommandLineSpec::is_empty")]
    pub command_line: CommandLineSpec,
    /// The meta-package that is followed, at the version that brings this kernel. Absent: the kernel came with a package, and
    /// no baseline follows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub followed: Option<FollowedPackage>,
}

/// A meta-package at a version.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FollowedPackage {
    /// Its name.
    #[schemars(schema_with = "schema::package_name")]
    pub name: String,
    /// Its architecture.
    #[schemars(schema_with = "schema::architecture")]
    pub architecture: String,
    /// Its version.
    #[schemars(schema_with = "schema::version")]
    pub version: String,
}

/// Why an activity exists.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ActivityCause {
    /// The source's revision in force when it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::revision")]
    pub revision: Option<String>,
    /// Digest of the proposal that its transaction was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::digest")]
    pub proposal: Option<String>,
}

/// A window that an activity started in.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ActivityWindow {
    /// For which kind of step.
    #[schemars(schema_with = "schema::cover")]
    pub covers: Cover,
    /// The MaintenanceWindow's name.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// The WindowOverride by which it passes the window. Absent: the window was open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_name")]
    pub overridden_by: Option<String>,
}

/// How far an activity is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(oldSelf.phase) || has(self.phase)").message("an activity's phase cannot be taken away"),
    validation = Rule::new(concat!(
        "!has(oldSelf.phase) || !has(self.phase) || self.phase == oldSelf.phase || oldSelf.phase == 'Pending'",
        " || (oldSelf.phase == 'Delivered' && self.phase != 'Pending')",
        " || (oldSelf.phase == 'Running' && !(self.phase in ['Pending', 'Delivered']))",
        " || (oldSelf.phase == 'Verifying' && !(self.phase in ['Pending', 'Delivered', 'Running']))"
    ))
    .message("an activity's phase never goes back, and a finished one stays (rule A2)")
)]
pub struct ActivityStatus {
    /// How far it is: Pending, Delivered, Running, Verifying, then one of Succeeded, Failed, Refused (nothing was changed),
    /// Interrupted (stopped between steps), Canceled, Expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::phase")]
    pub phase: Option<Phase>,
    /// Why it did not succeed, as one word of a closed set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::outcome")]
    pub outcome: Option<OutcomeReason>,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 2048))]
    pub message: String,
    /// When a gateway answered for its delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_time: Option<MicroTime>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_time: Option<MicroTime>,
    /// By step, in the order of the spec, as far as begun.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub steps: Vec<ActivityStepStatus>,
    /// Delivered; Complete or Failed once it is over; these are the contract, `phase` is their summary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// How far a step is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ActivityStepStatus {
    /// The step's type, as in the spec.
    #[serde(rename = "type")]
    pub type_: StepType,
    /// When it began, by the controller's reckoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<MicroTime>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<MicroTime>,
}
