//! Make-believe apt over a recorded Debian 12: what is installed, what is on offer, what a wanted set would do.
//!
//! It knows the dependencies that matter for the recorded packages (`data/debian-12.txt` says which) and resolves as
//! apt-get does: what a target needs comes along at the version that it needs, what would break comes along or goes.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{
    Architecture, Change, DebianVersion, Digest, Installed, Inventory, Offer, Package, PackageKey,
    PackageName, PackageState, Proposal, StepAction, WantedItem, WantedSet,
};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// The recorded machine and archives.
const RECORDED: &str = include_str!("../../data/debian-12.txt");

/// A resolution that takes more rounds than that is refused; real ones take three.
const ROUNDS: usize = 50;

/// The archives, and the packages that every machine begins with; shared by all.
pub(super) struct Archive {
    packages: BTreeMap<PackageName, Known>,
    depends: BTreeMap<(PackageName, DebianVersion), Vec<Need>>,
    pub(super) architecture: Architecture,
    lists: Digest,
}

struct Known {
    installed: Option<DebianVersion>,
    automatic: bool,
    /// Highest first.
    offers: Vec<(DebianVersion, Vec<SmolStr>)>,
}

struct Need {
    package: PackageName,
    relation: Relation,
}

enum Relation {
    Any,
    Exactly(DebianVersion),
    AtLeast(DebianVersion),
}

impl Relation {
    fn is_met(&self, version: &DebianVersion) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(wanted) => version == wanted,
            Self::AtLeast(least) => version >= least,
        }
    }
}

/// What one machine's dpkg has, as far as it differs from what all began with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Dpkg {
    /// Another version, or none.
    pub(super) changed: BTreeMap<PackageName, Option<DebianVersion>>,
    pub(super) held: BTreeSet<PackageName>,
}

/// Versions as they would be.
type Would<'a> = BTreeMap<&'a PackageName, Option<&'a DebianVersion>>;

impl Archive {
    /// The recorded one.
    pub(super) fn recorded() -> Self {
        let mut archive = Self {
            packages: BTreeMap::new(),
            depends: BTreeMap::new(),
            architecture: Architecture::parse("amd64").expect("amd64 is an architecture"),
            lists: Digest::of(RECORDED.as_bytes()),
        };
        for line in RECORDED.lines().filter(|line| !line.starts_with('#')) {
            archive.read(line).expect("the recorded file is part of the program, and a test reads it");
        }
        archive
    }

    fn read(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["p", name, installed, automatic, offers @ ..] => {
                let offers: Option<Vec<_>> = offers.iter().map(|offer| read_offer(offer)).collect();
                let installed = if *installed == "-" { None } else { Some(version(installed)?) };
                let known = Known { installed, automatic: *automatic == "auto", offers: offers? };
                self.packages.insert(PackageName::parse(name).ok()?, known);
            }
            ["d", name, of, needs, relation, wanted] => {
                let relation = match *relation {
                    "=" => Relation::Exactly(version(wanted)?),
                    ">=" => Relation::AtLeast(version(wanted)?),
                    _ => Relation::Any,
                };
                let need = Need { package: PackageName::parse(needs).ok()?, relation };
                let of = (PackageName::parse(name).ok()?, version(of)?);
                self.depends.entry(of).or_default().push(need);
            }
            _ => return None,
        }
        Some(())
    }

    /// The version that a machine has.
    pub(super) fn installed<'a>(&'a self, dpkg: &'a Dpkg, name: &PackageName) -> Option<&'a DebianVersion> {
        match dpkg.changed.get(name) {
            Some(changed) => changed.as_ref(),
            None => self.packages.get(name)?.installed.as_ref(),
        }
    }

    /// All that a machine has.
    pub(super) fn all_installed<'a>(
        &'a self,
        dpkg: &'a Dpkg,
    ) -> impl Iterator<Item = (&'a PackageName, &'a DebianVersion)> {
        self.packages.keys().filter_map(|name| Some((name, self.installed(dpkg, name)?)))
    }

    /// How many installed packages have a newer candidate.
    pub(super) fn upgradable(&self, dpkg: &Dpkg) -> u32 {
        let count = self
            .all_installed(dpkg)
            .filter(|(name, version)| {
                self.packages[*name].offers.first().is_some_and(|(offer, _)| offer > *version)
            })
            .count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Of these, how many have a newer version in a security pocket.
    pub(super) fn security_upgradable(&self, dpkg: &Dpkg) -> u32 {
        let inventory = self.inventory(dpkg, &BTreeSet::new());
        let has_one = |package: &&Package| package.security_update().is_some();
        u32::try_from(inventory.packages.iter().filter(has_one).count()).unwrap_or(u32::MAX)
    }

    /// What the machine's agent would report.
    pub(super) fn inventory(&self, dpkg: &Dpkg, interest: &BTreeSet<PackageName>) -> Inventory {
        let mut inventory = Inventory {
            architecture: self.architecture.clone(),
            lists: self.lists.clone(),
            interest: interest.clone(),
            packages: Vec::new(),
        };
        for (name, known) in &self.packages {
            let installed = self.installed(dpkg, name);
            if installed.is_none() && !interest.contains(name) {
                continue;
            }
            let mut offers: Vec<Offer> = known
                .offers
                .iter()
                .map(|(version, origins)| Offer {
                    version: version.clone(),
                    pin: 500,
                    origins: origins.clone(),
                    phased: None,
                })
                .collect();
            if let Some(version) =
                installed.filter(|version| known.offers.iter().all(|(offer, _)| offer != *version))
            {
                offers.push(Offer { version: version.clone(), pin: 100, origins: vec![], phased: None });
            }
            let candidate = offers.iter().map(|offer| &offer.version).max().cloned();
            let installed = installed.map(|version| Installed {
                version: version.clone(),
                state: PackageState::Installed,
                held: dpkg.held.contains(name),
                automatic: known.automatic,
            });
            inventory.packages.push(Package { key: self.key(name), installed, candidate, offers });
        }
        inventory.canonicalise();
        inventory
    }

    /// What `apt-get -s install` (and remove) says of a wanted set.
    pub(super) fn simulate(&self, dpkg: &Dpkg, wanted: &WantedSet) -> Proposal {
        match self.resolve(dpkg, &wanted.items) {
            Ok(changes) => Proposal::Transaction { changes },
            Err(message) => Proposal::Refused { message: format!("E: {message}") },
        }
    }

    fn resolve(&self, dpkg: &Dpkg, items: &[WantedItem]) -> Result<Vec<Change>, String> {
        let mut would: Would<'_> = BTreeMap::new();
        for item in items {
            let name = &item.package.name;
            let known = self
                .packages
                .get_key_value(name)
                .ok_or_else(|| format!("Unable to locate package {name}"))?;
            let target = match &item.version {
                None => None,
                Some(version) => Some(
                    self.offer(dpkg, name, |offer| offer == version)
                        .ok_or_else(|| format!("Version '{version}' for '{name}' was not found"))?,
                ),
            };
            would.insert(known.0, target);
        }
        let asked: BTreeSet<&PackageName> = would.keys().copied().collect();
        for _ in 0..ROUNDS {
            let Some((name, version)) = self.unmet(dpkg, &would, &asked)? else {
                return Ok(self.changes(dpkg, &would));
            };
            would.insert(name, version);
        }
        Err("Unable to correct problems, you have held broken packages.".to_owned())
    }

    /// The next package that has to move so that all dependencies are met, and whereto.
    fn unmet<'a>(
        &'a self,
        dpkg: &'a Dpkg,
        would: &Would<'a>,
        asked: &BTreeSet<&PackageName>,
    ) -> Result<Option<(&'a PackageName, Option<&'a DebianVersion>)>, String> {
        let after = |name: &PackageName| match would.get(name) {
            Some(version) => *version,
            None => self.installed(dpkg, name),
        };
        for ((name, version), needs) in &self.depends {
            if after(name) != Some(version) {
                continue;
            }
            let Some(need) = needs
                .iter()
                .find(|need| !after(&need.package).is_some_and(|have| need.relation.is_met(have)))
            else {
                continue;
            };
            // What was decided stays; what depends on it moves or goes. Otherwise what is needed comes along.
            if !would.contains_key(&need.package) {
                let known = self.packages.get_key_value(&need.package).map(|(name, _)| name);
                let version = self.offer(dpkg, &need.package, |offer| need.relation.is_met(offer));
                if let (Some(known), Some(version), false) =
                    (known, version, dpkg.held.contains(&need.package))
                {
                    return Ok(Some((known, Some(version))));
                }
            }
            if asked.contains(name) {
                return Err(format!(
                    "{name} : Depends: {} but it is not going to be installed",
                    need.package
                ));
            }
            let moved = self.offer(dpkg, name, |offer| self.needs_met(name, offer, &after));
            return Ok(Some((name, moved)));
        }
        Ok(None)
    }

    fn needs_met<'a>(
        &self,
        name: &PackageName,
        version: &DebianVersion,
        after: &impl Fn(&PackageName) -> Option<&'a DebianVersion>,
    ) -> bool {
        let needs = self.depends.get(&(name.clone(), version.clone()));
        needs
            .into_iter()
            .flatten()
            .all(|need| after(&need.package).is_some_and(|have| need.relation.is_met(have)))
    }

    /// The highest version on offer (or installed) that will do.
    fn offer<'a>(
        &'a self,
        dpkg: &'a Dpkg,
        name: &PackageName,
        will_do: impl Fn(&DebianVersion) -> bool,
    ) -> Option<&'a DebianVersion> {
        let offers = self.packages.get(name)?.offers.iter().map(|(version, _)| version);
        offers.chain(self.installed(dpkg, name)).filter(|version| will_do(version)).max()
    }

    fn changes(&self, dpkg: &Dpkg, would: &Would<'_>) -> Vec<Change> {
        let changes = would.iter().filter_map(|(name, to)| {
            let from = self.installed(dpkg, name);
            (from != *to).then(|| Change { package: self.key(name), from: from.cloned(), to: to.cloned() })
        });
        let mut changes: Vec<Change> = changes.collect();
        changes.sort();
        changes
    }

    /// Whether an activity's step is what apt says now (rule A7).
    pub(super) fn would_do(&self, dpkg: &Dpkg, action: &StepAction) -> Result<(), String> {
        let (StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction)) = action
        else {
            return Ok(());
        };
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
        Err(format!("apt would change {} packages now, the activity says {}", simulated.len(), planned.len()))
    }

    /// Carries a step out.
    pub(super) fn act(&self, dpkg: &mut Dpkg, action: &StepAction) {
        match action {
            StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
                for change in transaction.changes() {
                    let name = change.package.name.clone();
                    let as_recorded =
                        self.packages.get(&name).is_some_and(|known| known.installed == change.to);
                    if as_recorded {
                        dpkg.changed.remove(&name);
                    } else {
                        dpkg.changed.insert(name, change.to.clone());
                    }
                }
            }
            StepAction::HoldPackages { hold, unhold } => {
                dpkg.held.extend(hold.iter().map(|key| key.name.clone()));
                dpkg.held.retain(|name| !unhold.iter().any(|key| key.name == *name));
            }
            StepAction::RepairPackages
            | StepAction::SelectKernel(_)
            | StepAction::Reboot { .. }
            | StepAction::SetDefaultKernel(_) => {}
        }
    }

    /// Whether the state is what a step wanted (promise P5).
    pub(super) fn is_done(&self, dpkg: &Dpkg, action: &StepAction) -> bool {
        match action {
            StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => transaction
                .changes()
                .all(|change| self.installed(dpkg, &change.package.name) == change.to.as_ref()),
            StepAction::HoldPackages { hold, unhold } => {
                hold.iter().all(|key| dpkg.held.contains(&key.name))
                    && !unhold.iter().any(|key| dpkg.held.contains(&key.name))
            }
            StepAction::RepairPackages => true,
            StepAction::SelectKernel(_) | StepAction::Reboot { .. } | StepAction::SetDefaultKernel(_) => {
                false
            }
        }
    }

    /// The meta-package that follows a kernel image, if the machine has it at that version.
    pub(super) fn follower<'a>(
        &'a self,
        dpkg: &'a Dpkg,
        image: &PackageName,
    ) -> Option<(&'a PackageName, &'a DebianVersion)> {
        self.all_installed(dpkg).find(|(name, version)| {
            let needs = self.depends.get(&((*name).clone(), (*version).clone()));
            needs.is_some_and(|needs| needs.iter().any(|need| need.package == *image))
        })
    }

    fn key(&self, name: &PackageName) -> PackageKey {
        PackageKey { name: name.clone(), architecture: self.architecture.clone() }
    }
}

fn version(text: &str) -> Option<DebianVersion> {
    DebianVersion::parse(text).ok()
}

fn read_offer(text: &str) -> Option<(DebianVersion, Vec<SmolStr>)> {
    let (offer, origins) = text.split_once('@')?;
    Some((version(offer)?, origins.split(',').map(SmolStr::new).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(archive: &Archive, items: &[(&str, Option<&str>)]) -> WantedSet {
        let item = |(name, version): &(&str, Option<&str>)| WantedItem {
            package: archive.key(&name.parse().unwrap()),
            version: version.map(|version| version.parse().unwrap()),
        };
        WantedSet { items: items.iter().map(item).collect(), ..WantedSet::default() }
    }

    fn says(archive: &Archive, dpkg: &Dpkg, items: &[(&str, Option<&str>)]) -> String {
        match archive.simulate(dpkg, &wanted(archive, items)) {
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
    fn a_transaction_is_never_only_what_was_asked_for() {
        let archive = Archive::recorded();
        let dpkg = Dpkg::default();
        for (items, expected) in [
            (
                &[("openssl", Some("3.0.22-1~deb12u2"))][..],
                "libssl3 3.0.22-1~deb12u2, openssl 3.0.22-1~deb12u2",
            ),
            (
                &[("nginx", Some("1.22.1-9+deb12u11"))],
                "nginx 1.22.1-9+deb12u11, nginx-common 1.22.1-9+deb12u11",
            ),
            (&[("curl", Some("7.88.1-10+deb12u15"))], "curl 7.88.1-10+deb12u15, libcurl4 7.88.1-10+deb12u15"),
            (
                &[("libcurl4", Some("7.88.1-10+deb12u15"))],
                "curl 7.88.1-10+deb12u15, libcurl4 7.88.1-10+deb12u15",
            ),
            (
                &[("linux-image-cloud-amd64", Some("6.1.192-2"))],
                "linux-image-6.1.0-56-cloud-amd64 6.1.192-2, linux-image-cloud-amd64 6.1.192-2",
            ),
            (&[("libcurl4", None)], "curl -, libcurl4 -"),
            (&[("openssl", Some("3.0.20-1~deb12u2"))], ""),
            (&[("openssl", Some("9.9"))], "E: Version '9.9' for 'openssl' was not found"),
            (&[("nothing-like-it", Some("1"))], "E: Unable to locate package nothing-like-it"),
        ] {
            assert_eq!(says(&archive, &dpkg, items), expected, "{items:?}");
        }
    }

    #[test]
    fn what_was_simulated_is_done_and_then_there_is_nothing_left() {
        let archive = Archive::recorded();
        let mut dpkg = Dpkg::default();
        let items = [("openssl", Some("3.0.22-1~deb12u2")), ("nginx", Some("1.22.1-9+deb12u11"))];
        let Proposal::Transaction { changes } = archive.simulate(&dpkg, &wanted(&archive, &items)) else {
            panic!("refused")
        };
        let is_asked = |change: &Change| ["openssl", "nginx"].contains(&change.package.name.as_str());
        let (requested, dependencies) = changes.into_iter().partition(is_asked);
        let transaction = muster_model::Transaction { requested, dependencies, ..Default::default() };
        let action = StepAction::InstallPackages(transaction);
        assert_eq!(archive.would_do(&dpkg, &action), Ok(()));
        let before = archive.inventory(&dpkg, &BTreeSet::new()).digest();
        archive.act(&mut dpkg, &action);
        assert!(archive.is_done(&dpkg, &action));
        assert!(archive.would_do(&dpkg, &action).is_err(), "it is not what apt would do any more");
        assert_eq!(says(&archive, &dpkg, &items), "");
        assert_ne!(archive.inventory(&dpkg, &BTreeSet::new()).digest(), before);
    }

    #[test]
    fn the_recorded_machine_is_a_real_one() {
        let archive = Archive::recorded();
        let inventory = archive.inventory(&Dpkg::default(), &["nginx".parse().unwrap()].into());
        assert!((200..300).contains(&inventory.packages.len()), "{}", inventory.packages.len());
        assert!(
            inventory
                .packages
                .iter()
                .any(|package| package.key.name.as_str() == "nginx" && package.installed.is_none())
        );
        assert!(archive.upgradable(&Dpkg::default()) > 10);
    }
}
