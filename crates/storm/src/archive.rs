//! Package archives that change under the machines, and what apt would make of them.
//!
//! A *suite* is what a group of machines has in its sources: packages with the versions on offer. Versions are published
//! and vanish; some are bad and break what installs them until a newer one is there. What a target needs comes along, as
//! with apt: packages of one source move together, and a kernel's meta-package brings its image.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{
    Architecture, Change, DebianVersion, Digest, Installed, Inventory, Offer, OutcomeReason, Package,
    PackageKey, PackageName, PackageState, Proposal, StepAction, WantedItem, WantedSet,
};
use smol_str::SmolStr;

/// The meta-package that follows the kernel, and how its images are called.
pub(crate) const KERNEL: &str = "linux-image-amd64";
const IMAGE: &str = "linux-image-6.1.0-";

/// apt's pin priority of an ordinary source.
const PIN: i32 = 500;

/// And of what is only installed.
const PIN_INSTALLED: i32 = 100;

/// What is wrong with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bad {
    /// Its maintainer script fails: the package stays half-configured.
    Configure,
    /// Its service fails.
    Unit,
    /// The machine goes silent soon after.
    Silence,
    /// The kernel does not boot: the machine falls back to the one before.
    Boot,
}

/// What a group of machines has in its sources.
#[derive(Clone, Debug)]
pub(crate) struct Suite {
    pub(crate) architecture: Architecture,
    /// Highest version first.
    offers: BTreeMap<PackageName, Vec<Offer>>,
    /// Packages that are always of the same version.
    together: Vec<BTreeSet<PackageName>>,
    bad: BTreeMap<(PackageName, DebianVersion), Bad>,
    lists: Digest,
}

/// What one machine's dpkg has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dpkg {
    pub(crate) installed: BTreeMap<PackageName, DebianVersion>,
    pub(crate) held: BTreeSet<PackageName>,
    /// Half-configured.
    pub(crate) broken: BTreeSet<PackageName>,
}

pub(crate) fn package(name: &str) -> PackageName {
    PackageName::parse(name).expect("the storm's package names are such")
}

pub(crate) fn version(text: &str) -> DebianVersion {
    DebianVersion::parse(text).expect("the storm's versions are such")
}

impl Suite {
    pub(crate) fn new(architecture: &str, together: &[&[&str]]) -> Self {
        Self {
            architecture: Architecture::parse(architecture).expect("an architecture's name"),
            offers: BTreeMap::new(),
            together: together.iter().map(|group| group.iter().copied().map(package).collect()).collect(),
            bad: BTreeMap::new(),
            lists: Digest::of(b"no lists"),
        }
    }

    pub(crate) fn key(&self, name: &PackageName) -> PackageKey {
        PackageKey { name: name.clone(), architecture: self.architecture.clone() }
    }

    /// A new version of a package, and of all that move with it.
    pub(crate) fn publish(&mut self, name: &PackageName, new: &DebianVersion, bad: Option<Bad>) {
        if let Some(bad) = bad {
            self.bad.insert((name.clone(), new.clone()), bad);
        }
        for one in self.companions(name, new) {
            let offers = self.offers.entry(one).or_default();
            if offers.iter().all(|offer| offer.version != *new) {
                offers.push(Offer {
                    version: new.clone(),
                    pin: PIN,
                    origins: vec![SmolStr::new_static("Debian:stable")],
                    phased: None,
                });
                offers.sort_by(|a, b| b.version.cmp(&a.version));
            }
        }
        self.note_lists();
    }

    /// A version is not on offer any more.
    pub(crate) fn withdraw(&mut self, name: &PackageName, old: &DebianVersion) {
        for one in self.companions(name, old) {
            if let Some(offers) = self.offers.get_mut(&one) {
                offers.retain(|offer| offer.version != *old);
            }
        }
        self.note_lists();
    }

    fn note_lists(&mut self) {
        let text: Vec<String> = self
            .offers
            .iter()
            .flat_map(|(name, offers)| offers.iter().map(move |offer| format!("{name} {}\n", offer.version)))
            .collect();
        self.lists = Digest::of(text.concat().as_bytes());
    }

    /// The package and what is always of the same version.
    fn companions(&self, name: &PackageName, of: &DebianVersion) -> BTreeSet<PackageName> {
        let mut all: BTreeSet<PackageName> =
            self.together.iter().find(|group| group.contains(name)).cloned().unwrap_or_default();
        all.insert(name.clone());
        if name.as_str() == KERNEL {
            all.insert(image(of));
        }
        all
    }

    pub(crate) fn on_offer(&self, name: &PackageName) -> impl Iterator<Item = &DebianVersion> {
        self.offers.get(name).into_iter().flatten().map(|offer| &offer.version)
    }

    pub(crate) fn bad(&self, name: &PackageName, version: &DebianVersion) -> Option<Bad> {
        self.bad.get(&(name.clone(), version.clone())).copied()
    }

    /// What the machine's agent would report.
    pub(crate) fn inventory(&self, dpkg: &Dpkg, interest: &BTreeSet<PackageName>) -> Inventory {
        let names: BTreeSet<&PackageName> = dpkg.installed.keys().chain(interest).collect();
        let mut packages = Vec::new();
        for name in names {
            let installed = dpkg.installed.get(name);
            let mut offers = self.offers.get(name).cloned().unwrap_or_default();
            let candidate = offers
                .iter()
                .filter(|offer| offer.pin >= PIN)
                .map(|offer| &offer.version)
                .chain(installed)
                .max()
                .cloned();
            if let Some(version) =
                installed.filter(|version| offers.iter().all(|offer| offer.version != **version))
            {
                offers.push(Offer {
                    version: version.clone(),
                    pin: PIN_INSTALLED,
                    origins: Vec::new(),
                    phased: None,
                });
            }
            if installed.is_none() && offers.is_empty() {
                continue;
            }
            packages.push(Package {
                key: self.key(name),
                installed: installed.map(|version| Installed {
                    version: version.clone(),
                    state: if dpkg.broken.contains(name) {
                        PackageState::Broken
                    } else {
                        PackageState::Installed
                    },
                    held: dpkg.held.contains(name),
                    automatic: false,
                }),
                candidate,
                offers,
            });
        }
        let mut inventory = Inventory {
            architecture: self.architecture.clone(),
            lists: self.lists.clone(),
            interest: interest.clone(),
            packages,
        };
        inventory.canonicalise();
        inventory
    }

    /// What `apt-get -s` says of a wanted set.
    pub(crate) fn simulate(&self, dpkg: &Dpkg, wanted: &WantedSet) -> Proposal {
        match self.resolve(dpkg, &wanted.items) {
            Ok(changes) => Proposal::Transaction { changes },
            Err((_, message)) => Proposal::Refused { message: format!("E: {message}") },
        }
    }

    fn resolve(&self, dpkg: &Dpkg, items: &[WantedItem]) -> Result<Vec<Change>, (OutcomeReason, String)> {
        let mut would: BTreeMap<PackageName, Option<DebianVersion>> = BTreeMap::new();
        for item in items {
            let name = &item.package.name;
            match &item.version {
                Some(version) => {
                    let there = dpkg.installed.get(name) == Some(version)
                        || self.on_offer(name).any(|one| one == version);
                    if !there {
                        let message = format!("Version '{version}' for '{name}' was not found");
                        return Err((OutcomeReason::VersionGone, message));
                    }
                    for one in self.companions(name, version) {
                        if one != *name
                            && dpkg.held.contains(&one)
                            && dpkg.installed.get(&one) != Some(version)
                        {
                            let message =
                                format!("{name} : Depends: {one} but it is not going to be installed");
                            return Err((OutcomeReason::PlanMismatch, message));
                        }
                        would.insert(one, Some(version.clone()));
                    }
                }
                None => {
                    would.insert(name.clone(), None);
                    let group = self.together.iter().find(|group| group.contains(name));
                    for one in group.into_iter().flatten().filter(|one| dpkg.installed.contains_key(*one)) {
                        would.entry(one.clone()).or_insert(None);
                    }
                }
            }
        }
        let changes = would.into_iter().filter_map(|(name, to)| {
            let from = dpkg.installed.get(&name).cloned();
            let broken = dpkg.broken.contains(&name);
            (from != to || broken).then(|| Change { package: self.key(&name), from, to })
        });
        Ok(changes.collect())
    }

    /// Whether an activity's step is what apt says now (rule A7).
    pub(crate) fn would_do(&self, dpkg: &Dpkg, action: &StepAction) -> Result<(), (OutcomeReason, String)> {
        let (StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction)) = action
        else {
            return Ok(());
        };
        if !dpkg.broken.is_empty() {
            return Err((OutcomeReason::Preflight, "dpkg was interrupted".to_owned()));
        }
        let items: Vec<WantedItem> = transaction
            .requested
            .iter()
            .map(|change| WantedItem { package: change.package.clone(), version: change.to.clone() })
            .collect();
        let mut planned: Vec<Change> = transaction.changes().cloned().collect();
        planned.sort();
        let simulated = self.resolve(dpkg, &items)?;
        if simulated == planned {
            return Ok(());
        }
        Err((OutcomeReason::PlanMismatch, "apt would do something else now".to_owned()))
    }
}

/// The image package that a version of the kernel's meta-package brings.
pub(crate) fn image(of: &DebianVersion) -> PackageName {
    package(&format!("{IMAGE}{}-amd64", of.upstream().rsplit('.').next().unwrap_or("0")))
}

/// The release of an image package, if it is one.
pub(crate) fn release_of(name: &PackageName) -> Option<SmolStr> {
    let text = name.as_str().strip_prefix("linux-image-")?;
    text.starts_with(|first: char| first.is_ascii_digit()).then(|| SmolStr::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite() -> Suite {
        let mut suite = Suite::new("amd64", &[&["openssl", "libssl3"]]);
        suite.publish(&package("openssl"), &version("3.0-1"), None);
        suite.publish(&package("openssl"), &version("3.0-2"), None);
        suite.publish(&package(KERNEL), &version("6.1.7-1"), None);
        suite
    }

    fn says(suite: &Suite, dpkg: &Dpkg, name: &str, to: Option<&str>) -> String {
        let item = WantedItem { package: suite.key(&package(name)), version: to.map(version) };
        match suite.simulate(dpkg, &WantedSet { items: vec![item], ..WantedSet::default() }) {
            Proposal::Refused { message } => message,
            Proposal::Transaction { changes } => {
                let text = |change: &Change| {
                    let to = change.to.as_ref().map_or("-".to_owned(), ToString::to_string);
                    format!("{} {to}", change.package.name)
                };
                changes.iter().map(text).collect::<Vec<_>>().join(", ")
            }
        }
    }

    #[test]
    fn what_a_target_needs_comes_along_and_what_is_gone_is_refused() {
        let mut suite = suite();
        let mut dpkg = Dpkg::default();
        dpkg.installed
            .extend([(package("openssl"), version("3.0-1")), (package("libssl3"), version("3.0-1"))]);
        assert_eq!(says(&suite, &dpkg, "openssl", Some("3.0-2")), "libssl3 3.0-2, openssl 3.0-2");
        assert_eq!(
            says(&suite, &dpkg, KERNEL, Some("6.1.7-1")),
            "linux-image-6.1.0-7-amd64 6.1.7-1, linux-image-amd64 6.1.7-1"
        );
        assert_eq!(says(&suite, &dpkg, "libssl3", None), "libssl3 -, openssl -");
        dpkg.held.insert(package("libssl3"));
        assert!(says(&suite, &dpkg, "openssl", Some("3.0-2")).contains("Depends: libssl3"));
        suite.withdraw(&package("openssl"), &version("3.0-2"));
        assert_eq!(
            says(&suite, &dpkg, "openssl", Some("3.0-2")),
            "E: Version '3.0-2' for 'openssl' was not found"
        );
    }
}
