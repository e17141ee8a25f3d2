//! Gathers the inventory: dpkg's packages, and what apt has on offer for them and for what was asked about.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{Digest, Inventory, Package, PackageKey, PackageName};
use smol_str::SmolStr;

use crate::dpkg::{self, Dpkg};
use crate::host::Host;
use crate::phasing;
use crate::policy::{self, Policy};
use crate::tools::{Invocation, ToolError, must};

/// Packages per call of apt-cache: well below the limit on a command line (128 KiB for one argument, 2 MiB in all).
const CHUNK: usize = 2000;

/// The directory of apt's package lists.
pub(crate) const LISTS: &str = "/var/lib/apt/lists";

/// What changes when packages, holds, marks or lists do: cheap to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp(Vec<Option<(std::time::SystemTime, u64)>>);

/// The present stamp.
pub(crate) fn stamp(host: &Host) -> Stamp {
    let files = [
        "/var/lib/dpkg/status",
        "/var/lib/dpkg/updates",
        "/var/lib/apt/extended_states",
        LISTS,
        "/etc/apt/preferences",
        "/etc/apt/preferences.d",
        "/etc/apt/sources.list",
        "/etc/apt/sources.list.d",
        "/etc/apt/apt.conf.d",
    ];
    let look = |file: &str| {
        let found = std::fs::metadata(host.path(file)).ok()?;
        Some((found.modified().ok()?, found.len()))
    };
    Stamp(files.into_iter().map(look).collect())
}

/// An inventory with what dpkg said beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gathered {
    pub(crate) inventory: Inventory,
    pub(crate) digest: Digest,
    pub(crate) dpkg: Dpkg,
    /// How many installed packages have a higher candidate.
    pub(crate) upgradable: u32,
    /// Of these, how many have a newer version in a security pocket.
    pub(crate) security_upgradable: u32,
    /// What the machine draws for phased updates.
    pub(crate) phasing: BTreeMap<SmolStr, u8>,
    /// From just before.
    pub(crate) stamp: Stamp,
}

/// Asks dpkg and apt.
pub(crate) async fn gather(host: &Host, interest: &BTreeSet<PackageName>) -> Result<Gathered, ToolError> {
    let stamp = stamp(host);
    let dpkg = dpkg::read(host).await?;
    let automatic: BTreeSet<PackageKey> = dpkg::automatic(host, &dpkg.native).await?.into_iter().collect();
    let sources =
        policy::parse_sources(&must(&*host.tools, Invocation::reading("apt-cache", &["policy"])).await?);
    let native = &dpkg.native;
    let wanted = interest.iter().map(|name| PackageKey { name: name.clone(), architecture: native.clone() });
    let keys: BTreeSet<PackageKey> = dpkg.packages.keys().cloned().chain(wanted).collect();
    let keys: Vec<PackageKey> = keys.into_iter().collect();
    let mut policies = BTreeMap::new();
    for chunk in keys.chunks(CHUNK) {
        let invocation =
            Invocation::reading("apt-cache", &["policy", "--"]).with(chunk.iter().map(ToString::to_string));
        // Its code says whether each package is known; what it printed is right either way.
        let output = host.tools.run(invocation).await?;
        policies.append(&mut policy::parse(&output.stdout, &sources, native));
    }
    let settings = must(&*host.tools, Invocation::reading("apt-config", &["dump"])).await?;
    let shares: phasing::Shares =
        policies.iter().filter_map(|(key, policy)| Some((key.clone(), policy.phased?))).collect();
    let packages = keys.into_iter().filter_map(|key| package(key, &dpkg, &automatic, &mut policies));
    let mut inventory = Inventory {
        architecture: native.clone(),
        lists: lists(host, &settings),
        interest: interest.clone(),
        packages: packages.collect(),
    };
    inventory.canonicalise();
    let phasing = phasing::settle(host, &settings, &shares, &mut inventory.packages).await?;
    let count = |is_counted: fn(&Package) -> bool| {
        let counted = inventory.packages.iter().filter(|package| is_counted(package)).count();
        u32::try_from(counted).unwrap_or(u32::MAX)
    };
    Ok(Gathered {
        digest: inventory.digest(),
        upgradable: count(Package::is_upgradable),
        security_upgradable: count(|package| package.security_update().is_some()),
        phasing,
        inventory,
        dpkg,
        stamp,
    })
}

fn package(
    key: PackageKey,
    dpkg: &Dpkg,
    automatic: &BTreeSet<PackageKey>,
    policies: &mut BTreeMap<PackageKey, Policy>,
) -> Option<Package> {
    let Policy { candidate, offers, phased: _ } = policies.remove(&key).unwrap_or_default();
    let mut installed = dpkg.packages.get(&key).cloned();
    if let Some(installed) = &mut installed {
        installed.automatic = automatic.contains(&key);
    }
    let is_known = installed.is_some() || !offers.is_empty();
    is_known.then_some(Package { key, installed, candidate, offers })
}

/// The digest of apt's lists: equal where two machines' apt knows the same, whichever mirror they got it from.
///
/// Release files hold the hashes of all lists; which lists of theirs were fetched is told by the files' names after
/// the mirror's. Settings that change what apt chooses are part of it.
fn lists(host: &Host, settings: &str) -> Digest {
    let mut lines = BTreeSet::new();
    for name in host.names(LISTS) {
        let own = name.split_once("_dists_").map_or(name.as_str(), |(_, own)| own);
        if own.ends_with("InRelease") || own.ends_with("_Release") || own == "Release" {
            let bytes = host.bytes(&host.path(&format!("{LISTS}/{name}"))).unwrap_or_default();
            lines.insert(format!("{own} {}", Digest::of(&bytes)));
        } else if let Some((list, _)) = own.split_once("_Packages") {
            lines.insert(list.to_owned());
        }
    }
    let decisive = ["APT::Install-", "APT::Default-Release", "APT::Architectures"];
    let is_decisive = |line: &&str| decisive.iter().any(|beginning| line.starts_with(beginning));
    lines.extend(settings.lines().filter(is_decisive).map(str::to_owned));
    let text: Vec<String> = lines.into_iter().collect();
    Digest::of(text.join("\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dpkg::tests::key;
    use crate::tools::fake::FakeTools;

    fn recorded(lists: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let tools = FakeTools::default();
        tools.on("dpkg --print-architecture", 0, "amd64\n", "");
        tools.on("dpkg-query", 0, include_str!("../tests/data/dpkg-query.txt"), "");
        tools.on("apt-mark showauto", 0, "libssl3\n", "");
        tools.on("apt-cache policy", 0, include_str!("../tests/data/policy-sources.txt"), "");
        tools.on(
            "apt-cache policy --",
            100,
            include_str!("../tests/data/policy-packages.txt"),
            "N: Unable to locate",
        );
        tools.on("apt-config dump", 0, "APT::Install-Recommends \"1\";\nDir \"/\";\n", "");
        let folder = tempfile::tempdir().unwrap();
        let host = Host::fake(folder.path(), Arc::new(tools));
        std::fs::create_dir_all(host.path(LISTS)).unwrap();
        for (name, text) in lists {
            std::fs::write(host.path(LISTS).join(name), text).unwrap();
        }
        (folder, host)
    }

    // rule: M2
    #[tokio::test]
    async fn an_inventory_has_what_is_installed_and_what_was_asked_about() {
        let (_folder, host) = recorded(&[]);
        let interest = ["nginx", "nosuchpkg"].map(|name| PackageName::parse(name).unwrap()).into();
        let gathered = gather(&host, &interest).await.unwrap();
        assert_eq!(gathered.inventory.packages.len(), 12, "11 installed and nginx");
        let libssl3 = gathered.inventory.package(&key("libssl3")).unwrap();
        assert!(libssl3.installed.as_ref().unwrap().automatic);
        assert!(gathered.inventory.package(&key("nginx")).unwrap().installed.is_none());
        assert!(gathered.inventory.covers(&key("nosuchpkg")));
        assert_eq!(gathered.digest, gather(&host, &interest).await.unwrap().digest);
        assert!(gathered.upgradable > 0);
    }

    #[test]
    fn twins_with_other_mirrors_have_the_same_lists_and_others_have_not() {
        let release = "_debian_dists_bookworm_InRelease";
        let list = "_debian_dists_bookworm_main_binary-amd64_Packages";
        let digest = |mirror: &str, text: &str, suffix: &str| {
            let (_folder, host) = recorded(&[
                (&format!("{mirror}{release}"), text),
                (&format!("{mirror}{list}{suffix}"), "ignored"),
                ("lock", ""),
            ]);
            lists(&host, "APT::Install-Recommends \"1\";")
        };
        let one = digest("mirror.example", "hashes", ".lz4");
        assert_eq!(one, digest("other.example", "hashes", ""));
        assert_ne!(one, digest("mirror.example", "newer hashes", ".lz4"));
    }
}
