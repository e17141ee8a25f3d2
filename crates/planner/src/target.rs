//! What a requirement makes of one package on one machine: nothing to do, an exact target, or why not (rules V2 to V6).

use std::collections::BTreeSet;

use muster_model::{
    DebianVersion, Installed, Inventory, KernelChoice, PIN_OF_CHOICE, Package, PackageKey, PackageWish,
    Permit, Reason, VersionRequirement,
};

use crate::merge::Requirement;
use crate::phasing::KeptBack;
use crate::select::Resources;

/// How many versions on offer a refusal lists.
const OFFERS_LISTED: usize = 5;

/// What one requirement comes to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// As wanted, hold included.
    Met,
    /// The version is as wanted, the hold is missing.
    Hold,
    /// The kernel is installed and does not run so (rule K1).
    Boot(Box<KernelChoice>),
    /// It runs so, and something else boots by default (rule K2).
    SetDefault(Box<KernelChoice>),
    /// To this version; `None`: away.
    Change(Option<DebianVersion>),
    /// The version is as wanted, dpkg has not finished with it.
    Repair,
    /// The inventory does not say what is on offer.
    NotCovered,
    /// Not to be had.
    Blocked(Box<Reason>),
}

impl Outcome {
    pub(crate) fn blocked(reason: Reason) -> Self {
        Self::Blocked(Box::new(reason))
    }

    /// The kernel that is to boot, or to become the default.
    pub(crate) fn boots(&self) -> Option<&KernelChoice> {
        match self {
            Self::Boot(choice) | Self::SetDefault(choice) => Some(choice),
            Self::Met | Self::Hold | Self::Change(_) | Self::Repair | Self::NotCovered | Self::Blocked(_) => {
                None
            }
        }
    }
}

/// Whether two versions are the same to the letter: `1.0` and `0:1.0` are the same version, and people read the one that is
/// written.
pub(crate) fn are_written_alike(left: &Option<DebianVersion>, right: &Option<DebianVersion>) -> bool {
    left.as_ref().map(DebianVersion::as_str) == right.as_ref().map(DebianVersion::as_str)
}

/// A requirement's outcome, with what is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Judged {
    pub(crate) outcome: Outcome,
    pub(crate) installed: Option<DebianVersion>,
    /// dpkg's selection is `hold` now.
    pub(crate) held: bool,
}

impl Judged {
    /// Whether one may stand for the other, to the letter. What is hard to compare and rare is taken to differ.
    pub(crate) fn is_alike(&self, other: &Self) -> bool {
        self.held == other.held
            && are_written_alike(&self.installed, &other.installed)
            && match (&self.outcome, &other.outcome) {
                (Outcome::Met, Outcome::Met)
                | (Outcome::Hold, Outcome::Hold)
                | (Outcome::Repair, Outcome::Repair)
                | (Outcome::NotCovered, Outcome::NotCovered) => true,
                (Outcome::Change(left), Outcome::Change(right)) => are_written_alike(left, right),
                (
                    Outcome::Met
                    | Outcome::Hold
                    | Outcome::Repair
                    | Outcome::NotCovered
                    | Outcome::Change(_)
                    | Outcome::Boot(_)
                    | Outcome::SetDefault(_)
                    | Outcome::Blocked(_),
                    _,
                ) => false,
            }
    }
}

pub(crate) fn judge(
    resources: &Resources<'_>,
    requirement: &Requirement,
    inventory: &Inventory,
    our_holds: &BTreeSet<PackageKey>,
    kept_back: &KeptBack,
) -> Judged {
    let package = inventory.package(&requirement.key);
    let installed = package.and_then(|package| package.installed.as_ref());
    let outcome = if requirement.conflict {
        let baselines = requirement.baselines(resources);
        Outcome::blocked(Reason::Conflicted { package: requirement.key.clone(), baselines })
    } else if installed.is_none()
        && requirement.wish == PackageWish::Present
        && !inventory.covers(&requirement.key)
    {
        // What is installed is always listed; what is on offer only of what was asked for.
        Outcome::NotCovered
    } else {
        match requirement.wish {
            PackageWish::Absent if installed.is_none() => Outcome::Met,
            PackageWish::Absent => allowed(resources, requirement, installed, our_holds, None),
            PackageWish::Present => {
                let is_kept_back = kept_back.contains(&requirement.key);
                let best = package.and_then(|package| choose(&requirement.version, package, is_kept_back));
                present(resources, requirement, package, best, our_holds)
            }
        }
    };
    Judged {
        outcome,
        installed: installed.map(|installed| installed.version.clone()),
        held: installed.is_some_and(|installed| installed.held),
    }
}

fn present(
    resources: &Resources<'_>,
    requirement: &Requirement,
    package: Option<&Package>,
    best: Option<&DebianVersion>,
    our_holds: &BTreeSet<PackageKey>,
) -> Outcome {
    let installed = package.and_then(|package| package.installed.as_ref());
    if let Some(installed) = installed
        && is_met(&requirement.version, &installed.version, best)
    {
        return if !installed.state.is_installed() {
            Outcome::Repair
        } else if requirement.hold && !installed.held {
            Outcome::Hold
        } else {
            Outcome::Met
        };
    }
    match best {
        Some(best) => allowed(resources, requirement, installed, our_holds, Some(best)),
        None => Outcome::blocked(Reason::Unsatisfiable {
            package: requirement.key.clone(),
            wanted: wording(&requirement.version),
            on_offer: package.map_or(Vec::new(), |package| {
                package.offers.iter().take(OFFERS_LISTED).map(|offer| offer.version.clone()).collect()
            }),
        }),
    }
}

/// Whether `version` is as wanted; `latest` is judged by what would be chosen (rule V2).
pub(crate) fn is_met(
    wanted: &VersionRequirement,
    version: &DebianVersion,
    best: Option<&DebianVersion>,
) -> bool {
    if wanted.is_latest() { best.is_some_and(|best| version == best) } else { wanted.satisfied_by(version) }
}

/// What apt would choose, or the best that satisfies (rule V2).
///
/// `is_kept_back`: apt would not upgrade to its candidate yet, since that is phased. What is asked for by version it
/// installs all the same, but `latest` is then what is installed.
pub(crate) fn choose<'a>(
    wanted: &VersionRequirement,
    package: &'a Package,
    is_kept_back: bool,
) -> Option<&'a DebianVersion> {
    if let Some(installed) = &package.installed
        && is_kept_back
        && wanted.is_latest()
        && wanted.satisfied_by(&installed.version)
    {
        return Some(&installed.version);
    }
    if let Some(candidate) = &package.candidate
        && wanted.satisfied_by(candidate)
    {
        return Some(candidate);
    }
    let exact = wanted.exact();
    package
        .offers
        .iter()
        .filter(|offer| wanted.satisfied_by(&offer.version))
        .filter(|offer| offer.pin >= PIN_OF_CHOICE || exact == Some(&offer.version))
        .map(|offer| &offer.version)
        .max()
}

/// Whether the version may be had without asking for it by `=`.
pub(crate) fn is_offered(package: &Package, version: &DebianVersion) -> bool {
    package.candidate.as_ref() == Some(version)
        || package.offers.iter().any(|offer| offer.version == *version && offer.pin >= PIN_OF_CHOICE)
}

/// A change, unless it goes down or is held (rules V5, V6).
fn allowed(
    resources: &Resources<'_>,
    requirement: &Requirement,
    installed: Option<&Installed>,
    our_holds: &BTreeSet<PackageKey>,
    target: Option<&DebianVersion>,
) -> Outcome {
    if let (Some(Installed { version, .. }), Some(target)) = (installed, target)
        && target < version
        && requirement.by.iter().any(|place| resources.packages[*place].downgrades == Permit::Refuse)
    {
        let (package, installed, target) = (requirement.key.clone(), version.clone(), target.clone());
        return Outcome::blocked(Reason::DowngradeNotAllowed { package, installed, target });
    }
    let held = installed.is_some_and(|installed| installed.held);
    if held && !requirement.hold && !our_holds.contains(&requirement.key) {
        return Outcome::blocked(Reason::Held { package: requirement.key.clone() });
    }
    Outcome::Change(target.cloned())
}

/// A requirement as its baseline has it.
pub(crate) fn wording(wanted: &VersionRequirement) -> String {
    let mut words: Vec<String> = Vec::new();
    match wanted {
        VersionRequirement::Any => words.push("any version".to_owned()),
        VersionRequirement::Latest | VersionRequirement::LatestWithin(_) => words.push("latest".to_owned()),
        VersionRequirement::Relations(_) => {}
    }
    words.extend(wanted.relations().iter().map(|(relation, version)| format!("{relation} {version}")));
    words.join(", ")
}
