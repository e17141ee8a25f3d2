//! Does a machine run the kernel that a kernel baseline wants (rules K1, K5)? Observing only: nothing is done about it.

use muster_model::{InstalledKernel, Inventory, KernelBaseline, PackageKey, Report};
use smol_str::{SmolStr, format_smolstr};

use crate::target::choose;

/// What a kernel baseline comes to on one machine.
pub(crate) struct KernelState {
    pub(crate) converged: bool,
    /// What runs, for people.
    pub(crate) booted: SmolStr,
    /// What is to run, for people: an installed kernel that only waits for a boot, or a version on offer.
    pub(crate) target: Option<SmolStr>,
}

pub(crate) fn kernel(
    baseline: &KernelBaseline,
    report: &Report,
    inventory: Option<&Inventory>,
) -> KernelState {
    let followed = |kernel: &InstalledKernel| kernel.followed_by.get(&baseline.package).cloned();
    let fits = |kernel: &&InstalledKernel| {
        followed(kernel).is_some_and(|version| baseline.version.satisfied_by(&version))
    };
    let installed = &report.kernel.installed;
    let booted = installed.iter().find(|kernel| kernel.release == report.kernel.booted);
    let release_fits = booted.as_ref().is_some_and(fits);
    let words: Vec<&str> = report.kernel.command_line.split_whitespace().collect();
    let line_fits = baseline.command_line_present.iter().all(|word| words.contains(&word.as_str()))
        && !baseline.command_line_absent.iter().any(|word| words.contains(&word.as_str()));
    let target = if release_fits {
        (!line_fits).then(|| SmolStr::new_static("another command line"))
    } else if let Some(waiting) = installed.iter().rev().find(fits) {
        Some(format_smolstr!("{}, installed and not booted", waiting.release))
    } else {
        let key = PackageKey { name: baseline.package.clone(), architecture: report.architecture.clone() };
        let offered = inventory
            .and_then(|inventory| inventory.package(&key))
            .and_then(|package| choose(&baseline.version, package, false));
        offered.map(|version| format_smolstr!("{}={version}", baseline.package))
    };
    let booted = match booted.and_then(followed) {
        Some(version) => format_smolstr!("{} ({} {version})", report.kernel.booted, baseline.package),
        None => report.kernel.booted.clone(),
    };
    KernelState { converged: release_fits && line_fits, booted, target }
}
