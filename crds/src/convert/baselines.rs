//! PackageBaseline and KernelBaseline.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use muster_model::{
    Architecture, BaselineCommon, BaselineRef, BaselineSummary, Health, MIN_KERNELS_KEPT, Mode, PackageKey,
    PackageName, PackageWish, RebootPolicy, UnitName, VersionRequirement,
};

use super::activity::command_line;
use super::{Reader, baseline_reference, count, provenance};
use crate::{
    BaselineConflict, BaselineStatus, FieldError, HealthSpec, KernelBaseline, KernelBaselineSpec,
    NATIVE_ARCHITECTURE, PackageBaseline, PackageBaselineSpec, PackageRequirement, RebootSpec, UpgradesSpec,
};

/// How many conflicts a baseline's status lists.
const MAX_LISTED_CONFLICTS: usize = 20;

impl PackageBaseline {
    /// The baseline as the planner knows it.
    ///
    /// # Errors
    /// Everything that is wrong with it; an unreadable selector says rule W7, an unreadable version V1.
    pub fn to_model(&self) -> Result<muster_model::PackageBaseline, Vec<FieldError>> {
        let PackageBaselineSpec {
            machine_selector,
            mode,
            priority,
            packages,
            upgrades,
            downgrades,
            removals,
            conffiles,
            reboot: RebootSpec { policy, timeout },
            health,
            rollout,
        } = &self.spec;
        let mut reader = Reader::default();
        let common = reader.common(&self.metadata, machine_selector, *mode, *priority);
        let packages = reader.requirements(packages);
        let timeout = reader.duration("spec.reboot.timeout", timeout);
        let health = reader.health("spec.health", health);
        let rollout = reader.rollout("spec.rollout", rollout);
        reader.finish(|| {
            Some(muster_model::PackageBaseline {
                common: common?,
                packages: packages?,
                upgrades: upgrades.as_ref().map(|UpgradesSpec { policy }| *policy),
                downgrades: *downgrades,
                removals: *removals,
                conffiles: *conffiles,
                reboot: RebootPolicy { policy: *policy, timeout: timeout? },
                health: health?,
                rollout: rollout?,
            })
        })
    }
}

impl KernelBaseline {
    /// The baseline as the planner knows it.
    ///
    /// # Errors
    /// Everything that is wrong with it; an unreadable selector says rule W7, an unreadable version V1.
    pub fn to_model(&self) -> Result<muster_model::KernelBaseline, Vec<FieldError>> {
        let KernelBaselineSpec {
            machine_selector,
            mode,
            priority,
            package,
            version,
            command_line: line,
            keep,
            reboot: RebootSpec { policy, timeout },
            health,
            rollout,
        } = &self.spec;
        let mut reader = Reader::default();
        let common = reader.common(&self.metadata, machine_selector, *mode, *priority);
        let package = reader.read("spec.package", "", PackageName::parse(package));
        let version = reader.requirement("spec.version", version.as_deref());
        if version.as_ref().is_some_and(VersionRequirement::is_latest) {
            reader.refuse(
                "spec.version",
                "K5",
                "a kernel is compared as booted: write relations such as \">= 6.1.176\", not latest",
            );
        }
        for word in line.present.iter().filter(|word| line.absent.contains(word)) {
            reader.refuse(
                "spec.commandLine",
                "",
                format!("{word:?} is both in present and in absent: take it out of one"),
            );
        }
        let timeout = reader.duration("spec.reboot.timeout", timeout);
        let health = reader.health("spec.health", health);
        let rollout = reader.rollout("spec.rollout", rollout);
        let keep = usize::try_from(*keep).unwrap_or(usize::MAX);
        if keep < MIN_KERNELS_KEPT {
            reader.refuse(
                "spec.keep",
                "K3",
                "two kernels at least: the one that runs, and one to fall back on",
            );
        }
        reader.finish(|| {
            Some(muster_model::KernelBaseline {
                common: common?,
                package: muster_model::PackageRequirement {
                    name: package?,
                    architecture: None,
                    state: PackageWish::Present,
                    version: version?,
                    hold: false,
                },
                command_line: command_line(line),
                keep,
                reboot: RebootPolicy { policy: *policy, timeout: timeout? },
                health: health?,
                rollout: rollout?,
            })
        })
    }
}

impl Reader {
    fn common(
        &mut self,
        meta: &ObjectMeta,
        selector: &LabelSelector,
        mode: Mode,
        priority: i32,
    ) -> Option<BaselineCommon> {
        let (name, uid, selector) = (self.name(meta), self.uid(meta), self.selector(selector));
        Some(BaselineCommon {
            name: name?,
            uid: uid?,
            generation: meta.generation.unwrap_or_default(),
            selector: selector?,
            mode,
            priority,
            provenance: provenance(meta),
        })
    }

    fn requirements(
        &mut self,
        written: &[PackageRequirement],
    ) -> Option<Vec<muster_model::PackageRequirement>> {
        let mut seen = BTreeSet::new();
        let mut all: Vec<Option<muster_model::PackageRequirement>> = Vec::new();
        for (at, requirement) in written.iter().enumerate() {
            let field = format!("spec.packages[{at}]");
            let PackageRequirement { name, architecture, state, version, hold } = requirement;
            if !seen.insert((name, architecture)) {
                self.refuse(
                    field.clone(),
                    "",
                    format!("{name}:{architecture} is listed twice: join the two"),
                );
            }
            if *state == PackageWish::Absent && (version.is_some() || *hold) {
                self.refuse(field.clone(), "", "a package that is to be absent has neither version nor hold");
            }
            let name = self.read(format!("{field}.name"), "", PackageName::parse(name));
            let architecture = match architecture.as_str() {
                NATIVE_ARCHITECTURE => Some(None),
                other => self.read(format!("{field}.architecture"), "", Architecture::parse(other)).map(Some),
            };
            let version = self.requirement(&format!("{field}.version"), version.as_deref());
            all.push((|| {
                Some(muster_model::PackageRequirement {
                    name: name?,
                    architecture: architecture?,
                    state: *state,
                    version: version?,
                    hold: *hold,
                })
            })());
        }
        let mut all = all.into_iter().collect::<Option<Vec<_>>>()?;
        all.sort_by(|a, b| (&a.name, &a.architecture).cmp(&(&b.name, &b.architecture)));
        Some(all)
    }

    fn requirement(&mut self, field: &str, text: Option<&str>) -> Option<VersionRequirement> {
        self.read(field, "V1", VersionRequirement::parse(text.unwrap_or_default()))
    }

    pub(super) fn units(&mut self, field: &str, units: &[String]) -> Option<BTreeSet<UnitName>> {
        units
            .iter()
            .enumerate()
            .map(|(at, unit)| self.read(format!("{field}[{at}]"), "", UnitName::parse(unit)))
            .collect()
    }

    fn health(&mut self, field: &str, health: &HealthSpec) -> Option<Health> {
        let units = self.units(&format!("{field}.units"), &health.units);
        let settle = self.duration(&format!("{field}.settle"), &health.settle);
        Some(Health { units: units?, settle: settle? })
    }
}

impl BaselineStatus {
    /// The numbers of a status; conditions are the controller's to fold.
    #[must_use]
    pub fn from_model(summary: &BaselineSummary, observed_generation: i64) -> Self {
        let BaselineSummary {
            selected,
            converged,
            not_converged,
            unknown,
            absent,
            active,
            blocked,
            unavailable,
            max_unavailable,
            conflicts,
        } = summary;
        let conflict = |((package, with), machines): (&(PackageKey, BaselineRef), &usize)| BaselineConflict {
            package: package.to_string(),
            with: baseline_reference(with, None),
            machines: count(*machines),
        };
        Self {
            observed_generation: Some(observed_generation),
            selected: count(*selected),
            converged: count(*converged),
            not_converged: count(*not_converged),
            unknown: count(*unknown),
            absent: count(*absent),
            active: count(*active),
            blocked: count(*blocked),
            unavailable: count(*unavailable),
            max_unavailable: count(*max_unavailable),
            conflicts: conflicts.iter().take(MAX_LISTED_CONFLICTS).map(conflict).collect(),
            conditions: Vec::new(),
        }
    }
}
