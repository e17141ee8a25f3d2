//! What dpkg and apt on one machine say: packages, and what is on offer for them.
//!
//! An inventory is immutable and named by its digest, so that all machines with the same packages and the same
//! package lists share one (design §8). What a machine says of itself beyond packages is in `machine`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::{Architecture, DebianVersion, Digest, PackageKey, PackageName, Phased, Shared};

/// A machine's packages and what is on offer for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Inventory {
    /// dpkg's native architecture.
    pub architecture: Architecture,
    /// Digest of what apt's package lists say, so that two machines with the same packages but other lists (whose
    /// dependencies could resolve otherwise) don't share proposals.
    pub lists: Digest,
    /// The packages that the machine was asked to report offers for, beside the installed ones.
    pub interest: BTreeSet<PackageName>,
    /// Sorted by name, then architecture; each key once.
    pub packages: Vec<Package>,
}

/// One package: installed or of interest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Package {
    /// Name and architecture.
    #[serde(flatten)]
    pub key: PackageKey,
    /// What dpkg has of it; absent where nothing (or only configuration files) is installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed: Option<Installed>,
    /// What `apt-get install` would choose now (apt-cache policy's Candidate).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<DebianVersion>,
    /// The versions on offer, highest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offers: Vec<Offer>,
}

/// apt installs nothing by itself from a source with a lower pin than this (apt_preferences(5), rule V2).
pub const PIN_OF_CHOICE: i32 = 500;

impl Package {
    /// Whether apt has a newer candidate for what is installed.
    #[must_use]
    pub fn is_upgradable(&self) -> bool {
        matches!((&self.installed, &self.candidate), (Some(has), Some(candidate)) if *candidate > has.version)
    }

    /// The highest version above the installed one that a security pocket offers; none above apt's candidate, since there
    /// somebody pinned it.
    #[must_use]
    pub fn security_update(&self) -> Option<&DebianVersion> {
        self.security_updates().max()
    }

    /// Every such version.
    pub fn security_updates(&self) -> impl Iterator<Item = &DebianVersion> {
        let is_between = |version: &&DebianVersion| {
            self.installed.as_ref().is_some_and(|installed| **version > installed.version)
                && self.candidate.as_ref() >= Some(*version)
        };
        let offers = self.offers.iter().filter(|offer| offer.pin >= PIN_OF_CHOICE && offer.is_security());
        offers.map(|offer| &offer.version).filter(is_between)
    }
}

/// What dpkg has of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Installed {
    /// The version that is unpacked.
    pub version: DebianVersion,
    /// Whether dpkg finished with it.
    #[serde(default, skip_serializing_if = "PackageState::is_installed")]
    pub state: PackageState,
    /// Held: dpkg's selection state is `hold`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// Installed automatically to satisfy dependencies (apt-mark showauto).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub automatic: bool,
}

/// How far dpkg came with an installed package (dpkg(1), package states).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PackageState {
    /// `installed`: unpacked and configured.
    #[default]
    Installed,
    /// `half-installed`, `unpacked`, `half-configured`, `triggers-awaited` or `triggers-pending`: needs repair.
    Broken,
}

impl PackageState {
    /// Whether dpkg finished with it.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        match self {
            Self::Installed => true,
            Self::Broken => false,
        }
    }
}

/// A version on offer and where from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Offer {
    /// The version.
    pub version: DebianVersion,
    /// apt's pin priority of the best source that offers it (apt_preferences(5)).
    pub pin: i32,
    /// The archives that offer it: `Origin:Suite` of their Release files, sorted, as in `Debian:bookworm-security`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<SmolStr>,
    /// The update is phased, and not everybody's yet; absent, too, where apt would never keep a phased update back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phased: Option<Phased>,
}

/// The origins whose security pockets unattended-upgrades takes updates from by itself: Debian's (whose security archive
/// has a label of its own), Ubuntu's, and those of Ubuntu's extended maintenance.
const SECURITY_ORIGINS: [&str; 5] = ["Debian", "Debian-Security", "Ubuntu", "UbuntuESM", "UbuntuESMApps"];

/// What the suites or codenames of security pockets end with.
const SECURITY_POCKET: &str = "-security";

impl Offer {
    /// Whether a security pocket offers it, as unattended-upgrades decides: `Debian:bookworm-security`,
    /// `Ubuntu:noble-security`, `UbuntuESM:noble-infra-security`, `UbuntuESMApps:noble-apps-security`.
    #[must_use]
    pub fn is_security(&self) -> bool {
        self.origins.iter().any(|archive| {
            archive.rsplit_once(':').is_some_and(|(origin, pocket)| {
                SECURITY_ORIGINS.contains(&origin) && pocket.ends_with(SECURITY_POCKET)
            })
        })
    }

    /// Whether it ends phasing: apt keeps no update back that is above any archive's `…-security` version.
    #[must_use]
    pub fn ends_phasing(&self) -> bool {
        self.origins.iter().any(|archive| archive.ends_with(SECURITY_POCKET))
    }
}

impl Inventory {
    /// The digest that names it: of its canonical JSON.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).expect("an inventory is plain data, which JSON can always hold"))
    }

    /// The package, if it is installed or was of interest.
    #[must_use]
    pub fn package(&self, key: &PackageKey) -> Option<&Package> {
        self.packages.binary_search_by(|package| package.key.cmp(key)).ok().map(|at| &self.packages[at])
    }

    /// Whether the package is installed and on hold there, whoever set the hold (rule V6).
    #[must_use]
    pub fn holds(&self, key: &PackageKey) -> bool {
        let installed = self.package(key).and_then(|package| package.installed.as_ref());
        installed.is_some_and(|installed| installed.held)
    }

    /// Whether the inventory can tell what is on offer for the package.
    #[must_use]
    pub fn covers(&self, key: &PackageKey) -> bool {
        self.interest.contains(&key.name) || self.package(key).is_some()
    }

    /// Sorts packages and offers into their canonical order and drops repeated keys: the first wins.
    pub fn canonicalise(&mut self) {
        self.packages.sort_by(|a, b| a.key.cmp(&b.key));
        self.packages.dedup_by(|later, first| later.key == first.key);
        for package in &mut self.packages {
            package.offers.sort_by(|a, b| b.version.cmp(&a.version));
        }
    }
}

/// What the controller wants of one machine's packages now: what to report on, and the exact targets to simulate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WantedSet {
    /// Packages that some baseline names for the machine: their offers belong in the inventory.
    pub interest: Shared<BTreeSet<PackageName>>,
    /// Exact targets, sorted by package; empty when there is nothing to simulate.
    pub items: Vec<WantedItem>,
}

/// One exact target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WantedItem {
    /// The package.
    #[serde(flatten)]
    pub package: PackageKey,
    /// The version to have; absent: the package is to be removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<DebianVersion>,
}

impl WantedSet {
    /// The digest that names it: of its canonical JSON.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).expect("a wanted set is plain data, which JSON can always hold"))
    }
}

/// A wanted set with its name, worked out once for all machines that are asked the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    digest: Digest,
    set: WantedSet,
}

impl Wanted {
    /// The set, named.
    #[must_use]
    pub fn new(set: WantedSet) -> Self {
        Self { digest: set.digest(), set }
    }

    /// The digest that names the set.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest.clone()
    }
}

impl std::ops::Deref for Wanted {
    type Target = WantedSet;
    fn deref(&self) -> &WantedSet {
        &self.set
    }
}

/// What a proposal is about: the two digests that name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProposalKey {
    /// The inventory that was simulated on.
    pub inventory: Digest,
    /// The wanted set that was simulated.
    pub wanted: Digest,
}

impl ProposalKey {
    /// The digest of the two, which names the `PackageProposal`.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(format!("{}\n{}\n", self.inventory, self.wanted).as_bytes())
    }
}

/// What apt on a machine said that a wanted set would do (rule A7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, tag = "type")]
pub enum Proposal {
    /// The exact transaction, sorted by package; everything that would change, dependencies included.
    Transaction {
        /// Every change, requested or not.
        changes: Vec<Change>,
    },
    /// apt refuses: what it said, at most 2 KiB.
    Refused {
        /// apt's own words.
        message: String,
    },
}

/// One package's change in a transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Change {
    /// The package.
    #[serde(flatten)]
    pub package: PackageKey,
    /// The version before; absent: not installed before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<DebianVersion>,
    /// The version after; absent: removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<DebianVersion>,
}

impl Change {
    /// Whether the package goes away.
    #[must_use]
    pub fn is_removal(&self) -> bool {
        self.to.is_none()
    }

    /// Whether the version goes down.
    #[must_use]
    pub fn is_downgrade(&self) -> bool {
        matches!((&self.from, &self.to), (Some(from), Some(to)) if to < from)
    }
}

/// An inventory's packages by key, for callers that look up many.
#[must_use]
pub fn by_key(inventory: &Inventory) -> BTreeMap<&PackageKey, &Package> {
    inventory.packages.iter().map(|package| (&package.key, package)).collect()
}
