//! What a machine should have of a package, from a requirement and what it reported (rule V2).

use muster_model::{Architecture, DebianVersion, PackageKey, PackageWish, VersionRequirement};

use crate::event::{Report, ReportedPackage, Requirement};

/// A requirement's target on a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The machine has what is asked.
    Met,
    /// It is to have this version, or `None`: nothing.
    Change(Option<DebianVersion>),
    /// It cannot be told from the log, or nothing on offer will do.
    Unknown,
}

/// The package that a requirement is about, on a machine of that architecture.
pub(crate) fn key(requirement: &Requirement, native: &Architecture) -> PackageKey {
    let architecture = requirement.architecture.clone().unwrap_or_else(|| native.clone());
    PackageKey { name: requirement.name.clone(), architecture }
}

/// What the requirement wants of the machine.
pub(crate) fn target(requirement: &Requirement, report: &Report) -> Target {
    let key = key(requirement, &report.architecture);
    let package = report.packages.iter().find(|package| package.key() == key);
    let installed = package.and_then(|package| package.installed.as_ref());
    if package.is_some_and(|package| package.broken) {
        return Target::Unknown;
    }
    match requirement.state {
        PackageWish::Absent => match installed {
            None => Target::Met,
            Some(_) => Target::Change(None),
        },
        PackageWish::Present => {
            let Ok(wanted) = VersionRequirement::parse(&requirement.version) else { return Target::Unknown };
            present(&wanted, package, installed)
        }
    }
}

fn present(
    wanted: &VersionRequirement,
    package: Option<&ReportedPackage>,
    installed: Option<&DebianVersion>,
) -> Target {
    let candidate = package.and_then(|package| package.candidate.as_ref());
    if let Some(installed) = installed.filter(|installed| wanted.satisfied_by(installed)) {
        return match candidate {
            Some(candidate) if wanted.is_latest() && candidate != installed => {
                Target::Change(Some(candidate.clone()))
            }
            _ => Target::Met,
        };
    }
    if let Some(candidate) = candidate.filter(|candidate| wanted.satisfied_by(candidate)) {
        return Target::Change(Some(candidate.clone()));
    }
    let offers = package.map_or(&[][..], |package| &package.offers);
    let exact = wanted.exact();
    let good = offers.iter().filter(|offer| {
        wanted.satisfied_by(&offer.version) && (offer.pin >= 500 || (offer.pin > 0 && exact.is_some()))
    });
    match good.map(|offer| &offer.version).max() {
        Some(version) => Target::Change(Some(version.clone())),
        None => Target::Unknown,
    }
}
