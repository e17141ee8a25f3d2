//! What the reasons that only somebody can clear say: each its rule, its word, its sentence, and what somebody would do.

use super::{names, of, of_baseline, of_rollout};
use crate::{Blocker, Reason};

impl Reason {
    pub(super) fn rule(&self) -> &'static str {
        match self {
            Self::Unsatisfiable { .. } => "V3",
            Self::DowngradeNotAllowed { .. } => "V5",
            Self::RemovalNotAllowed { .. } | Self::Contradicts { .. } | Self::SimulationRefused { .. } => {
                "A7"
            }
            Self::Held { .. } => "V6",
            Self::Conflicted { .. } => "S2",
            Self::NotCapable { .. } => "M5",
            Self::Stalled { .. } => "A6",
            Self::RefusedRepeatedly { .. } => "A2",
            Self::Barred { .. } => "O3",
            Self::NoEvidence { .. } => "O2",
            Self::SelectorUnreadable { .. } => "W7",
            Self::RebootIneffective => "K4",
            Self::NoKernel { .. } => "K5",
            Self::KernelInUse { .. } => "K3",
            Self::ObserveOnly => "S4",
            Self::BudgetIsZero { .. } => "B1",
        }
    }

    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Unsatisfiable { .. } => "Unsatisfiable",
            Self::DowngradeNotAllowed { .. } => "DowngradeNotAllowed",
            Self::RemovalNotAllowed { .. } => "RemovalNotAllowed",
            Self::Held { .. } => "Held",
            Self::Conflicted { .. } => "Conflicted",
            Self::Contradicts { .. } => "Contradicts",
            Self::SimulationRefused { .. } => "SimulationRefused",
            Self::NotCapable { .. } => "NotCapable",
            Self::Stalled { .. } => "Stalled",
            Self::RefusedRepeatedly { .. } => "RefusedRepeatedly",
            Self::Barred { .. } => "Barred",
            Self::NoEvidence { .. } => "PausedNoEvidence",
            Self::SelectorUnreadable { .. } => "SelectorUnreadable",
            Self::RebootIneffective => "RebootIneffective",
            Self::NoKernel { .. } => "NoKernel",
            Self::KernelInUse { .. } => "KernelInUse",
            Self::ObserveOnly => "ObserveOnly",
            Self::BudgetIsZero { .. } => "BudgetIsZero",
        }
    }

    pub(super) fn message(&self) -> String {
        match self {
            Self::Unsatisfiable { package, wanted, on_offer } if on_offer.is_empty() => {
                format!("nothing is on offer for {package}, wanted {wanted}")
            }
            Self::Unsatisfiable { package, wanted, on_offer } => {
                let offers = on_offer.iter().map(|version| version.as_str()).collect::<Vec<_>>().join(", ");
                format!("nothing on offer for {package} is {wanted}; on offer: {offers}")
            }
            Self::DowngradeNotAllowed { package, installed, target } => {
                format!("{package} would go down from {installed} to {target}")
            }
            Self::RemovalNotAllowed { packages } => {
                format!("the transaction would remove {}", names(packages))
            }
            Self::Held { package } => format!("{package} is held on the machine, not by us"),
            Self::Conflicted { package, baselines } => {
                format!("{} contradict each other about {package}", names(baselines))
            }
            Self::Contradicts { package, baseline } => {
                format!("the transaction would change {package}, which {baseline} wants as it is")
            }
            Self::SimulationRefused { message } => format!("apt refuses: {message}"),
            Self::NotCapable { capability } => {
                format!("the machine's agent cannot do this: {}", capability.as_str())
            }
            Self::Stalled { attempts, last } => {
                format!("{attempts} attempt(s) failed, the last with {}", last.as_str())
            }
            Self::RefusedRepeatedly { reason, count, .. } => {
                format!("not carried out {count} times in a row, last {}", reason.as_str())
            }
            Self::Barred { baseline, failed, max_failures } if failed <= max_failures => {
                format!("it stays barred in {baseline}, since too many machines failed it before")
            }
            Self::Barred { baseline, failed, max_failures } => {
                format!("{failed} machine(s) failed it, at most {max_failures} may in {baseline}")
            }
            Self::NoEvidence { baseline, wave, machines: 0 } => {
                format!("paused: wave {wave} of {baseline} picks no machine")
            }
            Self::NoEvidence { baseline, wave, machines } => {
                format!(
                    "paused: none of the {machines} machine(s) of wave {wave} of {baseline} can show whether it works"
                )
            }
            Self::SelectorUnreadable { resource, why } => {
                format!("nothing starts: the selector of {resource} cannot be read: {why}")
            }
            Self::RebootIneffective => {
                "the machine still wants a reboot for a reason older than its last boot".to_owned()
            }
            Self::NoKernel { package } => {
                format!("{package} is installed, and no installed kernel is the one that it brings")
            }
            Self::KernelInUse { package } => {
                format!("{package} is the kernel that runs, or boots next: it would be removed")
            }
            Self::ObserveOnly => "the baseline observes only".to_owned(),
            Self::BudgetIsZero { budget: Some(budget), .. } => {
                format!("budget {budget} allows no machine to be unavailable")
            }
            Self::BudgetIsZero { budget: None, baseline: Some(baseline) } => {
                format!("maxUnavailable of {baseline} allows no machine to be unavailable")
            }
            Self::BudgetIsZero { budget: None, baseline: None } => "no machine may be unavailable".to_owned(),
        }
    }

    pub(super) fn blocker(&self) -> Option<Blocker> {
        match self {
            Self::Conflicted { baselines, .. } => baselines.first().map(of_baseline),
            Self::Contradicts { baseline, .. } | Self::Barred { baseline, .. } => Some(of_baseline(baseline)),
            Self::NoEvidence { baseline, .. } => Some(of_rollout(baseline)),
            Self::BudgetIsZero { budget: Some(budget), .. } => Some(of("DisruptionBudget", budget)),
            Self::BudgetIsZero { budget: None, baseline } => baseline.as_ref().map(of_baseline),
            Self::SelectorUnreadable { resource, .. } => {
                let (kind, name) = resource.split_once('/').unwrap_or(("", resource));
                const KINDS: [&str; 4] =
                    ["DisruptionBudget", "KernelBaseline", "MaintenanceWindow", "PackageBaseline"];
                let kind = KINDS.into_iter().find(|known| *known == kind)?;
                Some(Blocker { kind, name: name.into() })
            }
            Self::Unsatisfiable { .. }
            | Self::DowngradeNotAllowed { .. }
            | Self::RemovalNotAllowed { .. }
            | Self::Held { .. }
            | Self::SimulationRefused { .. }
            | Self::NotCapable { .. }
            | Self::Stalled { .. }
            | Self::RefusedRepeatedly { .. }
            | Self::RebootIneffective
            | Self::NoKernel { .. }
            | Self::KernelInUse { .. }
            | Self::ObserveOnly => None,
        }
    }

    /// What somebody would do about it.
    pub(super) fn remedy(&self) -> String {
        match self {
            Self::Unsatisfiable { .. } => {
                "when a version that satisfies it is on offer, or the requirement changes".to_owned()
            }
            Self::DowngradeNotAllowed { .. } => {
                "when the baseline says downgrades: Allow, or asks for something else".to_owned()
            }
            Self::RemovalNotAllowed { .. } => {
                "when the baselines say removals: Allow, or something else is on offer".to_owned()
            }
            Self::Held { package } => format!("when somebody lifts the hold: apt-mark unhold {package}"),
            Self::Conflicted { .. } => {
                "when one of the baselines changes, or gets a higher priority".to_owned()
            }
            Self::Contradicts { .. } => {
                "when one of the requirements changes, or something else is on offer".to_owned()
            }
            Self::SimulationRefused { .. } => {
                "when the machine's packages or what is on offer change".to_owned()
            }
            Self::NotCapable { .. } => "when the agent there is given the ability".to_owned(),
            Self::Stalled { .. } => "with `muster retry`, or when the target changes".to_owned(),
            Self::RefusedRepeatedly { until, .. } => format!("at {until}, when it is tried again"),
            Self::Barred { baseline, .. } => {
                format!("when the target changes, or with `muster resume {}`", baseline.name)
            }
            Self::NoEvidence { baseline, wave, machines: 0 } => {
                format!("when wave {wave} picks a machine, or with `muster resume {}`", baseline.name)
            }
            Self::NoEvidence { baseline, wave, .. } => {
                format!("when a machine of wave {wave} has it, or with `muster resume {}`", baseline.name)
            }
            Self::SelectorUnreadable { resource, .. } => format!("when {resource} is mended"),
            Self::RebootIneffective => "when somebody finds out why the machine wants it".to_owned(),
            Self::NoKernel { .. } => {
                "when the baseline follows the package that brings the kernel".to_owned()
            }
            Self::KernelInUse { .. } => {
                "when the machine runs, and boots by default, another kernel".to_owned()
            }
            Self::ObserveOnly => {
                "when the baseline says mode: Enforce, or somebody changes the machine".to_owned()
            }
            Self::BudgetIsZero { .. } => "when the number is raised".to_owned(),
        }
    }
}
