//! A baseline of either kind, as far as packages, reboots and rollouts go: a kernel baseline asks for one package, the one
//! that it follows, and for more besides (`kernel`).

use muster_model::{
    BaselineCommon, BaselineKind, BaselineRef, Conffiles, Health, KernelBaseline, PackageBaseline,
    PackageRequirement, Permit, RebootPolicy, RolloutSpec, UpgradePolicy,
};

/// One baseline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Baseline<'a> {
    pub(crate) common: &'a BaselineCommon,
    pub(crate) packages: &'a [PackageRequirement],
    pub(crate) upgrades: Option<UpgradePolicy>,
    pub(crate) downgrades: Permit,
    pub(crate) removals: Permit,
    pub(crate) conffiles: Conffiles,
    pub(crate) reboot: RebootPolicy,
    pub(crate) health: &'a Health,
    pub(crate) rollout: &'a RolloutSpec,
    /// What it asks of the kernel; `None`: it is a package baseline.
    pub(crate) kernel: Option<&'a KernelBaseline>,
}

impl Baseline<'_> {
    /// Whether it is this one.
    pub(crate) fn is(&self, reference: &BaselineRef) -> bool {
        let kernel = reference.kind == BaselineKind::KernelBaseline;
        self.kernel.is_some() == kernel && self.common.name == reference.name
    }

    /// Kind and name.
    pub(crate) fn reference(&self) -> BaselineRef {
        let kind = match self.kernel {
            None => BaselineKind::PackageBaseline,
            Some(_) => BaselineKind::KernelBaseline,
        };
        BaselineRef { kind, name: self.common.name.clone() }
    }
}

impl<'a> From<&'a PackageBaseline> for Baseline<'a> {
    fn from(baseline: &'a PackageBaseline) -> Self {
        let PackageBaseline {
            common,
            packages,
            upgrades,
            downgrades,
            removals,
            conffiles,
            reboot,
            health,
            rollout,
        } = baseline;
        Self {
            common,
            packages,
            upgrades: *upgrades,
            downgrades: *downgrades,
            removals: *removals,
            conffiles: *conffiles,
            reboot: *reboot,
            health,
            rollout,
            kernel: None,
        }
    }
}

impl<'a> From<&'a KernelBaseline> for Baseline<'a> {
    fn from(baseline: &'a KernelBaseline) -> Self {
        let KernelBaseline { common, package, command_line: _, keep: _, reboot, health, rollout } = baseline;
        Self {
            common,
            packages: std::slice::from_ref(package),
            upgrades: None,
            downgrades: Permit::Refuse,
            removals: Permit::Refuse,
            conffiles: Conffiles::Keep,
            reboot: *reboot,
            health,
            rollout,
            kernel: Some(baseline),
        }
    }
}
