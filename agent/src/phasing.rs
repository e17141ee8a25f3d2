//! Phased updates: which versions on offer are not everybody's yet, and what this machine draws for them.
//!
//! The draw is apt's (rule V2), and so are its exceptions: by settings, in a chroot, without a machine id. Only the draws
//! leave the machine, never its id.

use std::collections::BTreeMap;

use muster_model::{MAX_PHASING_DRAWS, PHASED_IN, Package, PackageKey, Phased, phasing_draw};
use smol_str::SmolStr;

use crate::host::Host;
use crate::tools::{Invocation, ToolError, must};

/// The shares of machines for which candidates are phased.
pub(crate) type Shares = BTreeMap<PackageKey, u8>;

/// How this machine's apt treats phased updates.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Treatment {
    /// They are updates like others.
    Always,
    /// None comes before it is everybody's.
    Never,
    /// By the draw, from this machine id.
    Draw(String),
}

/// Marks the candidates that are phased, and draws for them.
pub(crate) async fn settle(
    host: &Host,
    settings: &str,
    shares: &Shares,
    packages: &mut [Package],
) -> Result<BTreeMap<SmolStr, u8>, ToolError> {
    let is_phased = |package: &Package| {
        package.is_upgradable() && shares.get(&package.key).is_some_and(|share| *share < PHASED_IN)
    };
    let phased: Vec<&mut Package> = packages.iter_mut().filter(|package| is_phased(package)).collect();
    let mut draws = BTreeMap::new();
    if phased.is_empty() {
        return Ok(draws);
    }
    let treatment = treatment(host, settings).await;
    if treatment == Treatment::Always {
        return Ok(draws);
    }
    let named = phased.iter().filter_map(|package| {
        let candidate = package.candidate.as_ref()?;
        Some(format!("{}={candidate}", package.key))
    });
    let show = Invocation::reading("apt-cache", &["show", "--no-all-versions", "--"]).with(named);
    let sources = sources(&must(&*host.tools, show).await?);
    for package in phased {
        let Some(candidate) = package.candidate.clone() else { continue };
        let key = (package.key.name.as_str().to_owned(), candidate.to_string());
        let (source, source_version) = sources.get(&key).cloned().unwrap_or(key);
        let phased = Phased {
            percentage: shares.get(&package.key).copied().unwrap_or(PHASED_IN),
            source: source.into(),
            source_version: source_version.into(),
        };
        if let Treatment::Draw(machine_id) = &treatment {
            draws.insert(phased.key(), phasing_draw(&phased.source, &phased.source_version, machine_id));
        }
        if let Some(offer) = package.offers.iter_mut().find(|offer| offer.version == candidate) {
            offer.phased = Some(phased);
        }
    }
    // What does not fit waits until it is everybody's.
    Ok(draws.into_iter().take(MAX_PHASING_DRAWS).collect())
}

/// As apt's upgrade decides it, update-manager's older settings included.
async fn treatment(host: &Host, settings: &str) -> Treatment {
    let is_set = |name: &str| setting(settings, name).is_some_and(is_yes);
    let either =
        |name: &str| is_set(&format!("APT::Get::{name}")) || is_set(&format!("Update-Manager::{name}"));
    // apt then gives phased updates a low pin, which decides about its candidate by itself.
    if is_set("APT::Get::Phase-Policy") || either("Always-Include-Phased-Updates") {
        return Treatment::Always;
    }
    if either("Never-Include-Phased-Updates") {
        return Treatment::Never;
    }
    let own = setting(settings, "APT::Machine-ID").map(str::to_owned);
    let file = |name| host.text(name).and_then(|text| text.lines().next().map(str::to_owned));
    let machine_id = own
        .filter(|id| !id.is_empty())
        .or_else(|| file("/etc/machine-id"))
        .or_else(|| file("/var/lib/dbus/machine-id"))
        .unwrap_or_default();
    let chroot = host.tools.run(Invocation::reading("ischroot", &[])).await;
    let is_chroot = chroot.is_ok_and(|output| output.is_success());
    if machine_id.is_empty() || is_chroot { Treatment::Always } else { Treatment::Draw(machine_id) }
}

/// A line of `apt-config dump`: `Name "value";`. Names are equal whatever the case of their letters.
fn setting<'a>(settings: &'a str, name: &str) -> Option<&'a str> {
    settings.lines().find_map(|line| {
        let (found, value) = line.split_once(' ')?;
        let value = value.trim().strip_prefix('"')?.strip_suffix("\";")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// What apt takes for a yes.
fn is_yes(value: &str) -> bool {
    let words = ["yes", "true", "with", "on", "enable"];
    words.iter().any(|word| value.eq_ignore_ascii_case(word))
        || value.parse::<i64>().is_ok_and(|number| number != 0)
}

/// Reads `apt-cache show`: the source package and its version, by package and version.
fn sources(text: &str) -> BTreeMap<(String, String), (String, String)> {
    let mut sources = BTreeMap::new();
    for paragraph in text.split("\n\n") {
        let field = |name: &str| {
            paragraph.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
        };
        let (Some(package), Some(version)) = (field("Package"), field("Version")) else { continue };
        let source = field("Source").unwrap_or(package);
        let (source, source_version) = match source.split_once(" (") {
            Some((source, version_of)) => (source, version_of.trim_end_matches(')')),
            None => (source, version),
        };
        sources
            .entry((package.to_owned(), version.to_owned()))
            .or_insert((source.to_owned(), source_version.to_owned()));
    }
    sources
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use muster_model::{DebianVersion, Installed, Offer, PackageState};

    use super::*;
    use crate::dpkg::tests::key;
    use crate::tools::fake::FakeTools;

    const MACHINE_ID: &str = "0123456789abcdef0123456789abcdef";

    fn package(name: &str, has: &str, candidate: &str) -> Package {
        let version = |text: &str| DebianVersion::parse(text).unwrap();
        Package {
            key: key(name),
            installed: Some(Installed {
                version: version(has),
                state: PackageState::Installed,
                held: false,
                automatic: false,
            }),
            candidate: Some(version(candidate)),
            offers: vec![Offer { version: version(candidate), pin: 500, origins: vec![], phased: None }],
        }
    }

    async fn drawn(settings: &str, machine_id: Option<&str>) -> (Vec<Package>, BTreeMap<SmolStr, u8>) {
        let tools = FakeTools::default();
        tools.on("ischroot", 1, "", "");
        tools.on(
            "apt-cache show",
            0,
            "Package: libphpkg1\nVersion: 1:1.1\nSource: phpkg (1.1)\nPhased-Update-Percentage: 10\n\nPackage: phpkg\nVersion: 1.1\n\n",
            "",
        );
        let folder = tempfile::tempdir().unwrap();
        let host = Host::fake(folder.path(), Arc::new(tools));
        if let Some(machine_id) = machine_id {
            std::fs::create_dir_all(host.path("/etc")).unwrap();
            std::fs::write(host.path("/etc/machine-id"), format!("{machine_id}\n")).unwrap();
        }
        let shares =
            Shares::from([(key("libphpkg1"), 10), (key("phpkg"), 10), (key("done"), 100), (key("same"), 10)]);
        let mut packages = vec![
            package("done", "1", "2"),
            package("libphpkg1", "1:1.0", "1:1.1"),
            package("phpkg", "1.0", "1.1"),
            package("same", "1", "1"),
        ];
        let draws = settle(&host, settings, &shares, &mut packages).await.unwrap();
        (packages, draws)
    }

    // rule: V2
    #[tokio::test]
    async fn a_machine_draws_as_its_apt_does_and_keeps_its_id_to_itself() {
        let (packages, draws) = drawn("Dir \"/\";\n", Some(MACHINE_ID)).await;
        assert_eq!(draws, BTreeMap::from([("phpkg 1.1".into(), 56)]), "binaries of one source draw together");
        let phased: Vec<_> = packages
            .iter()
            .filter_map(|package| Some((package.key.name.as_str(), package.offers[0].phased.as_ref()?)))
            .map(|(name, phased)| (name, phased.percentage, phased.key()))
            .collect();
        assert_eq!(phased, [("libphpkg1", 10, "phpkg 1.1".into()), ("phpkg", 10, "phpkg 1.1".into())]);
        assert!(!serde_json::to_string(&packages).unwrap().contains(MACHINE_ID));
    }

    // rule: V2
    #[tokio::test]
    async fn settings_and_a_machine_without_id_make_exceptions() {
        for settings in [
            "APT::Get::Always-Include-Phased-Updates \"true\";\n",
            "Update-Manager::always-include-phased-updates \"1\";\n",
            "APT::Get::Phase-Policy \"yes\";\n",
        ] {
            let (packages, draws) = drawn(settings, Some(MACHINE_ID)).await;
            assert!(draws.is_empty() && packages[2].offers[0].phased.is_none(), "{settings}");
        }
        let (packages, draws) = drawn("", None).await;
        assert!(draws.is_empty() && packages[2].offers[0].phased.is_none(), "no machine id");
        let never =
            "APT::Get::Never-Include-Phased-Updates \"1\";\nAPT::Get::Always-Include-Phased-Updates \"0\";\n";
        let (packages, draws) = drawn(never, Some(MACHINE_ID)).await;
        assert!(draws.is_empty() && packages[2].offers[0].phased.is_some(), "it waits to the end");
        let own = "APT::Machine-ID \"ffffffffffffffffffffffffffffffff\";\n";
        assert_eq!(drawn(own, Some(MACHINE_ID)).await.1["phpkg 1.1"], 22);
    }
}
