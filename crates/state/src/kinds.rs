//! The kinds of which a state consists, in the order of the file.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use muster_crds::names::{GROUP, VERSION};
use muster_crds::presence;
use muster_fleet::Change;
use muster_model::MachineName;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::read::{self, Read};

/// A kind of object that decisions depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Defaults, guards and measured durations.
    FleetPolicy,
    /// Which revision is in force.
    GitSource,
    /// Packages.
    PackageBaseline,
    /// Kernels.
    KernelBaseline,
    /// When.
    MaintenanceWindow,
    /// What passes a window or a freeze for once.
    WindowOverride,
    /// How much at a time.
    DisruptionBudget,
    /// One host.
    FleetMachine,
    /// What is installed and on offer.
    PackageInventory,
    /// What apt would do.
    PackageProposal,
    /// How items spread.
    BaselineRollout,
    /// What people said about them.
    RolloutApproval,
    /// What is being done, and was done.
    Activity,
    /// Which gateways live.
    Lease,
    /// Whom they hear.
    ConfigMap,
}

impl Kind {
    /// All of them, in the order of the file.
    pub const ALL: [Self; 15] = [
        Self::FleetPolicy,
        Self::GitSource,
        Self::PackageBaseline,
        Self::KernelBaseline,
        Self::MaintenanceWindow,
        Self::WindowOverride,
        Self::DisruptionBudget,
        Self::FleetMachine,
        Self::PackageInventory,
        Self::PackageProposal,
        Self::BaselineRollout,
        Self::RolloutApproval,
        Self::Activity,
        Self::Lease,
        Self::ConfigMap,
    ];

    /// Its name in resources.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FleetPolicy => "FleetPolicy",
            Self::GitSource => "GitSource",
            Self::PackageBaseline => "PackageBaseline",
            Self::KernelBaseline => "KernelBaseline",
            Self::MaintenanceWindow => "MaintenanceWindow",
            Self::WindowOverride => "WindowOverride",
            Self::DisruptionBudget => "DisruptionBudget",
            Self::FleetMachine => "FleetMachine",
            Self::PackageInventory => "PackageInventory",
            Self::PackageProposal => "PackageProposal",
            Self::BaselineRollout => "BaselineRollout",
            Self::RolloutApproval => "RolloutApproval",
            Self::Activity => "Activity",
            Self::Lease => "Lease",
            Self::ConfigMap => "ConfigMap",
        }
    }

    /// Its plural, as in URLs.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::FleetPolicy => "fleetpolicies",
            Self::GitSource => "gitsources",
            Self::PackageBaseline => "packagebaselines",
            Self::KernelBaseline => "kernelbaselines",
            Self::MaintenanceWindow => "maintenancewindows",
            Self::WindowOverride => "windowoverrides",
            Self::DisruptionBudget => "disruptionbudgets",
            Self::FleetMachine => "fleetmachines",
            Self::PackageInventory => "packageinventories",
            Self::PackageProposal => "packageproposals",
            Self::BaselineRollout => "baselinerollouts",
            Self::RolloutApproval => "rolloutapprovals",
            Self::Activity => "activities",
            Self::Lease => "leases",
            Self::ConfigMap => "configmaps",
        }
    }

    /// Its API group and version.
    #[must_use]
    pub fn group_version(self) -> (&'static str, &'static str) {
        match self {
            Self::Lease => ("coordination.k8s.io", "v1"),
            Self::ConfigMap => ("", "v1"),
            Self::FleetPolicy
            | Self::GitSource
            | Self::PackageBaseline
            | Self::KernelBaseline
            | Self::MaintenanceWindow
            | Self::WindowOverride
            | Self::DisruptionBudget
            | Self::FleetMachine
            | Self::PackageInventory
            | Self::PackageProposal
            | Self::BaselineRollout
            | Self::RolloutApproval
            | Self::Activity => (GROUP, VERSION),
        }
    }

    /// As objects write it.
    #[must_use]
    pub fn api_version(self) -> String {
        match self.group_version() {
            ("", version) => version.to_owned(),
            (group, version) => format!("{group}/{version}"),
        }
    }

    /// The label that an object of a shared kind has if it is ours.
    #[must_use]
    pub fn label_selector(self) -> Option<&'static str> {
        match self {
            Self::Lease => Some(presence::LABEL_GATEWAY),
            Self::ConfigMap => Some("muster.dev/presence=true"),
            Self::FleetPolicy
            | Self::GitSource
            | Self::PackageBaseline
            | Self::KernelBaseline
            | Self::MaintenanceWindow
            | Self::WindowOverride
            | Self::DisruptionBudget
            | Self::FleetMachine
            | Self::PackageInventory
            | Self::PackageProposal
            | Self::BaselineRollout
            | Self::RolloutApproval
            | Self::Activity => None,
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn parse(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == kind && one.api_version() == api_version)
    }

    /// What an object of the kind means.
    pub(crate) fn read(self, name: &str, object: Value) -> Read {
        match self {
            Self::FleetPolicy => self.typed(name, object, read::policy),
            Self::GitSource => self.typed(name, object, read::source),
            Self::PackageBaseline => self.typed(name, object, read::package_baseline),
            Self::KernelBaseline => self.typed(name, object, read::kernel_baseline),
            Self::MaintenanceWindow => self.typed(name, object, read::window),
            Self::WindowOverride => self.typed(name, object, read::window_override),
            Self::DisruptionBudget => self.typed(name, object, read::budget),
            Self::FleetMachine => self.typed(name, object, read::machine),
            Self::PackageInventory => self.typed(name, object, read::inventory),
            Self::PackageProposal => self.typed(name, object, read::proposal),
            Self::BaselineRollout => self.typed(name, object, read::rollout),
            Self::RolloutApproval => self.typed(name, object, read::approval),
            Self::Activity => self.typed(name, object, read::activity),
            Self::Lease => self.typed::<Lease>(name, object, read::lease),
            Self::ConfigMap => self.typed::<ConfigMap>(name, object, read::presence_shard),
        }
    }

    /// An object that is not even of its kind's form closes what it might have guarded, as it does for the controller.
    fn typed<K: DeserializeOwned>(self, name: &str, object: Value, read: fn(&K) -> Read) -> Read {
        let fault = match serde_json::from_value::<K>(object) {
            Ok(object) => return read(&object),
            Err(error) => error.to_string(),
        };
        let changes = match self {
            Self::FleetMachine => MachineName::parse(name).map(Change::MachineGone).into_iter().collect(),
            Self::WindowOverride => read::window_override_gone(name),
            Self::PackageInventory | Self::PackageProposal => Vec::new(),
            Self::FleetPolicy
            | Self::GitSource
            | Self::PackageBaseline
            | Self::KernelBaseline
            | Self::MaintenanceWindow
            | Self::DisruptionBudget
            | Self::BaselineRollout
            | Self::RolloutApproval
            | Self::Activity
            | Self::Lease
            | Self::ConfigMap => {
                vec![Change::Unreadable(read::place(self.as_str(), name), Some(fault.clone()))]
            }
        };
        Read { changes, key: None, fault: Some(fault) }
    }
}
