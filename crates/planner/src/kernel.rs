//! What kernel baselines ask of a machine, and what it comes to as booted (rules K1, K3, K5).
//!
//! By packages a kernel baseline is one requirement, on the meta-package that it follows; that one is judged as any other
//! (`target`). Here it is judged on: is what is installed what runs, with the command line asked for, and is it what boots
//! by default? Which kernels are too many is here, too. How a kernel comes to boot is in `boots`.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use muster_model::{
    Architecture, Capability, CommandLine, Followed, InstalledKernel, Inventory, Kernel, KernelChoice,
    PackageKey, PackageName, PackageWish, Reason, Report, Shared, VersionRequirement, kernel_flavour,
};
use smol_str::{SmolStr, format_smolstr};

use crate::merge::{Merged, Requirement};
use crate::select::Resources;
use crate::target::{Judged, Outcome};

/// What the deciding kernel baselines ask of a machine (rules S1, S2).
#[derive(Clone, Debug)]
pub(crate) struct KernelWish {
    /// The number of the requirement on the meta-package that they follow.
    pub(crate) place: usize,
    pub(crate) line: CommandLine,
    /// How many kernels of the flavour stay.
    pub(crate) keep: usize,
    /// Who asks.
    pub(crate) by: Vec<usize>,
}

/// Of the kernel baselines that are enforced on a machine those that decide: the ones of the highest priority.
pub(crate) fn deciding(resources: &Resources<'_>, picked: &[usize]) -> Vec<usize> {
    let enforced = || {
        let kernels = picked.iter().copied().filter(|place| resources.packages[*place].kernel.is_some());
        kernels.filter(|place| resources.enforces(*place))
    };
    let priority = |place: usize| resources.packages[place].common.priority;
    let highest = enforced().map(priority).max();
    enforced().filter(|place| Some(priority(*place)) == highest).collect()
}

/// What the deciding baselines come to; where they contradict each other, a conflict about each package that they follow.
pub(crate) fn wish(
    resources: &Resources<'_>,
    deciding: Vec<usize>,
    enforced: &mut [Arc<Requirement>],
    architecture: &Architecture,
) -> Option<KernelWish> {
    let baselines: Vec<_> = deciding.iter().filter_map(|place| resources.packages[*place].kernel).collect();
    let followed: BTreeSet<_> = baselines.iter().map(|baseline| &baseline.package.name).collect();
    let mut line = CommandLine::default();
    for baseline in &baselines {
        line.present.extend(baseline.command_line.present.iter().cloned());
        line.absent.extend(baseline.command_line.absent.iter().cloned());
    }
    let disputed = followed.len() > 1 || !line.present.is_disjoint(&line.absent);
    let mut found = None;
    for (place, requirement) in enforced.iter_mut().enumerate() {
        let PackageKey { name, architecture: of } = &requirement.key;
        if !followed.contains(name) || of != architecture || requirement.wish == PackageWish::Absent {
            continue;
        }
        let requirement = Arc::make_mut(requirement);
        requirement.conflict |= disputed;
        let others = deciding.iter().filter(|one| !requirement.by.contains(one)).copied();
        let others: Vec<usize> = others.collect();
        requirement.by.extend(others);
        found = Some(place);
    }
    let keep = baselines.iter().map(|baseline| baseline.keep).max();
    Some(KernelWish { place: found.filter(|_| !disputed)?, line, keep: keep?, by: deciding })
}

/// What a machine reports of its kernels, as far as it is asked: part of what machines share that are alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kernels {
    /// It can let a new kernel boot on trial (rule K2).
    pub(crate) selects: bool,
    /// Absent where no kernel baseline picks it.
    facts: Option<Facts>,
}

/// They compare by what is looked at, to the letter: a command line is each machine's own, and fits or does not.
#[derive(Clone, Debug)]
struct Facts {
    kernel: Shared<Kernel>,
    /// The running release was replaced in place, and waits for a boot.
    replaced: bool,
    /// Whether the command line is as the deciding baselines want it.
    line_fits: bool,
    /// Along `Merged::observed`.
    observed_fit: Vec<bool>,
}

impl Ord for Facts {
    fn cmp(&self, other: &Self) -> Ordering {
        let Self { kernel, replaced, line_fits, observed_fit } = self;
        let fits = (replaced, line_fits, observed_fit);
        let order = fits.cmp(&(&other.replaced, &other.line_fits, &other.observed_fit));
        order.then_with(|| cmp(kernel, &other.kernel))
    }
}

impl PartialOrd for Facts {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Facts {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Facts {}

/// Compares what is reported of kernels by what is told of them.
pub(crate) fn cmp(left: &Shared<Kernel>, right: &Shared<Kernel>) -> Ordering {
    if std::ptr::eq(&**left, &**right) {
        return Ordering::Equal;
    }
    let Kernel { booted, installed, next_boot, command_line: _ } = &**left;
    let runs = (booted, next_boot).cmp(&(&right.booted, &right.next_boot));
    runs.then_with(|| installed.iter().map(letters).cmp(right.installed.iter().map(letters)))
}

/// One installed kernel with its versions as they are written: `1.0` and `0:1.0` are equal, and people read them.
fn letters(kernel: &InstalledKernel) -> (&SmolStr, &PackageName, &str, Vec<(&PackageName, &str)>) {
    let InstalledKernel { release, package, version, followed_by } = kernel;
    let followed_by = followed_by.iter().map(|(package, version)| (package, version.as_str()));
    (release, package, version.as_str(), followed_by.collect())
}

impl Kernels {
    pub(crate) fn of(resources: &Resources<'_>, merged: &Merged, report: &Report) -> Self {
        let selects = report.capabilities.contains(&Capability::KernelSelection);
        if !merged.asks_for_kernels {
            return Self { selects, facts: None };
        }
        let kernel_of = |one: &Arc<Requirement>| one.by.first().and_then(|by| resources.packages[*by].kernel);
        let Kernel { booted, installed, next_boot: _, command_line } = &*report.kernel;
        let fits = |line: &CommandLine| line.fits(command_line);
        let image = installed.iter().find(|kernel| kernel.release == *booted);
        let waits = report.reboot_required.as_ref();
        let facts = Facts {
            kernel: report.kernel.clone(),
            replaced: waits
                .zip(image)
                .is_some_and(|(waits, image)| waits.packages.contains(image.package.as_str())),
            line_fits: merged.kernel.as_ref().is_none_or(|wish| fits(&wish.line)),
            observed_fit: merged
                .observed
                .iter()
                .map(|one| kernel_of(one).is_none_or(|kernel| fits(&kernel.command_line)))
                .collect(),
        };
        Self { selects, facts: Some(facts) }
    }

    /// What the deciding baselines' requirement comes to, given what it comes to by packages.
    pub(crate) fn enforced(&self, wish: &KernelWish, key: &PackageKey, judged: &mut Judged) {
        let Some(facts) = &self.facts else { return };
        judged.outcome = self.as_booted(key, &wish.line, facts.line_fits, judged);
    }

    /// The same for a requirement that is only observed: what could be done there is no matter.
    pub(crate) fn observed(&self, place: usize, key: &PackageKey, line: &CommandLine, judged: &mut Judged) {
        let Some(facts) = &self.facts else { return };
        let able = Self { selects: true, facts: Some(facts.clone()) };
        judged.outcome = able.as_booted(key, line, facts.observed_fit[place], judged);
    }

    fn as_booted(&self, key: &PackageKey, line: &CommandLine, line_fits: bool, judged: &Judged) -> Outcome {
        let Some(facts) = &self.facts else { return judged.outcome.clone() };
        let incapable = || Outcome::blocked(Reason::NotCapable { capability: Capability::KernelSelection });
        let version = match (&judged.outcome, &judged.installed) {
            (Outcome::Met | Outcome::Hold, Some(version)) => version,
            (Outcome::Change(_), _) if !self.selects => return incapable(),
            (other, _) => return other.clone(),
        };
        let follows = |kernel: &&InstalledKernel| kernel.followed_by.get(&key.name) == Some(version);
        let Some(image) = facts.kernel.installed.iter().find(follows) else {
            return Outcome::blocked(Reason::NoKernel { package: key.clone() });
        };
        let choice = || {
            Box::new(KernelChoice {
                release: image.release.clone(),
                command_line: line.clone(),
                followed: Some(Followed { package: key.clone(), version: version.clone() }),
            })
        };
        let runs = image.release == facts.kernel.booted && !facts.replaced && line_fits;
        match (runs, self.selects) {
            (true, true) if facts.kernel.next_boot.as_ref().is_some_and(|next| *next != image.release) => {
                Outcome::SetDefault(choice())
            }
            (true, _) => judged.outcome.clone(),
            (false, true) => Outcome::Boot(choice()),
            (false, false) => incapable(),
        }
    }

    /// The kernels that are too many where `coming` more come: of the flavour that the package brings, the oldest that
    /// neither run, nor boot next, nor are followed by a package (rule K3). The last good one is one of the former: while a
    /// kernel is on trial, that is what boots next. What is held, or asked for by name, stays, and is one of those that are
    /// kept (rule V6).
    pub(crate) fn spares(
        &self,
        merged: &Merged,
        wish: &KernelWish,
        coming: usize,
        is_held: impl Fn(&PackageKey) -> bool,
    ) -> Vec<PackageKey> {
        let key = &merged.enforced[wish.place].key;
        let Some(facts) = self.facts.as_ref().filter(|_| self.selects) else { return Vec::new() };
        let Some(next) = &facts.kernel.next_boot else { return Vec::new() };
        let follows = |kernel: &&InstalledKernel| kernel.followed_by.contains_key(&key.name);
        let Some(followed) = facts.kernel.installed.iter().find(follows) else { return Vec::new() };
        let flavour = kernel_flavour(&followed.release);
        let all =
            || facts.kernel.installed.iter().filter(|kernel| kernel_flavour(&kernel.release) == flavour);
        let many = (all().count() + coming).saturating_sub(wish.keep);
        let of = |kernel: &InstalledKernel| PackageKey {
            name: kernel.package.clone(),
            architecture: key.architecture.clone(),
        };
        let named = |key: &PackageKey| merged.place_of(key).map(|place| merged.enforced[place].wish);
        let stays = |key: &PackageKey| match named(key) {
            Some(PackageWish::Present) => true,
            // It goes by that.
            Some(PackageWish::Absent) => false,
            None => is_held(key),
        };
        let mut free: Vec<&InstalledKernel> = all()
            .filter(|kernel| kernel.release != facts.kernel.booted && kernel.release != *next)
            .filter(|kernel| kernel.followed_by.is_empty() && !stays(&of(kernel)))
            .collect();
        free.sort_by(|a, b| (&a.version, &a.release).cmp(&(&b.version, &b.release)));
        free.into_iter().take(many).map(of).filter(|key| named(key).is_none()).collect()
    }

    /// What is asked of a machine whose kernel is as wanted, with the kernels that are to go. While a kernel is to come,
    /// they go with it, in one transaction; while one is on trial, none goes. What somebody holds who is not us stays.
    pub(crate) fn tidied(
        &self,
        merged: Arc<Merged>,
        inventory: &Inventory,
        our_holds: &BTreeSet<PackageKey>,
    ) -> Arc<Merged> {
        let (Some(wish), Some(facts)) = (&merged.kernel, &self.facts) else { return merged };
        let requirement = &merged.enforced[wish.place];
        let is_settled = facts.line_fits
            && !facts.replaced
            && facts.kernel.next_boot.as_ref() == Some(&facts.kernel.booted)
            && facts.kernel.installed.iter().any(|kernel| {
                let followed = kernel.followed_by.get(&requirement.key.name);
                kernel.release == facts.kernel.booted
                    && followed.is_some_and(|version| requirement.version.satisfied_by(version))
            });
        let is_held = |key: &PackageKey| inventory.holds(key) && !our_holds.contains(key);
        let spares = self.spares(&merged, wish, 0, is_held);
        if requirement.conflict || !is_settled || spares.is_empty() {
            return merged;
        }
        let (by, priority) = (wish.by.clone(), requirement.priority);
        let mut tidied = Merged::clone(&merged);
        for key in spares {
            let spare = Requirement {
                key,
                wish: PackageWish::Absent,
                version: VersionRequirement::Any,
                hold: false,
                by: by.clone(),
                priority,
                conflict: false,
                spare: true,
            };
            let spare = Arc::new(spare);
            let upgrades = &tidied.enforced[tidied.named..];
            match upgrades.binary_search_by(|one| one.key.cmp(&spare.key)) {
                Ok(at) => tidied.enforced[tidied.named + at] = spare,
                Err(at) => tidied.enforced.insert(tidied.named + at, spare),
            }
        }
        Arc::new(tidied)
    }
}

/// What runs, for people.
pub(crate) fn running(kernel: &Kernel, key: &PackageKey) -> SmolStr {
    let booted = &kernel.booted;
    let image = kernel.installed.iter().find(|one| one.release == *booted);
    match image.and_then(|image| image.followed_by.get(&key.name)) {
        Some(version) => format_smolstr!("{booted} ({} {version})", key.name),
        None => booted.clone(),
    }
}

/// What is to run, for people; `None`: that is not for the kernel to say.
pub(crate) fn aimed(kernel: &Kernel, requirement: &Requirement, outcome: &Outcome) -> Option<SmolStr> {
    let key = &requirement.key;
    match outcome {
        Outcome::Boot(choice) if choice.release == kernel.booted => {
            Some(SmolStr::new_static("another command line"))
        }
        Outcome::Boot(choice) => Some(format_smolstr!("{}, installed and not booted", choice.release)),
        Outcome::SetDefault(choice) => Some(format_smolstr!("{} as the default", choice.release)),
        Outcome::Change(Some(version)) => Some(format_smolstr!("{}={version}", key.name)),
        Outcome::Blocked(reason) if matches!(**reason, Reason::NotCapable { .. }) => {
            let waits = |one: &&InstalledKernel| {
                let followed = one.followed_by.get(&key.name);
                one.release != kernel.booted
                    && followed.is_some_and(|version| requirement.version.satisfied_by(version))
            };
            let waiting = kernel.installed.iter().find(waits);
            waiting.map(|one| format_smolstr!("{}, installed and not booted", one.release))
        }
        Outcome::Change(None)
        | Outcome::Met
        | Outcome::Hold
        | Outcome::Repair
        | Outcome::NotCovered
        | Outcome::Blocked(_) => None,
    }
}
