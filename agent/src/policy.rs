//! What `apt-cache policy` says: candidates, versions on offer, their pins and where they come from.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{Architecture, DebianVersion, Offer, PackageKey};
use smol_str::SmolStr;

use crate::dpkg::parse_key;

/// Archives by the words with which apt names one of their lists: `http://… bookworm/main amd64 Packages`.
pub(crate) type Sources = BTreeMap<String, SmolStr>;

/// One package's part of the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) candidate: Option<DebianVersion>,
    pub(crate) offers: Vec<Offer>,
    /// The candidate's share of machines, if it is phased.
    pub(crate) phased: Option<u8>,
}

/// Reads `apt-cache policy` without packages: which archive each list belongs to.
pub(crate) fn parse_sources(text: &str) -> Sources {
    let mut sources = Sources::new();
    let mut list = None;
    for line in text.lines() {
        let line = line.trim();
        if let Some(release) = line.strip_prefix("release ") {
            if let (Some(list), Some(archive)) = (list.take(), archive(release)) {
                sources.insert(list, archive);
            }
        } else if let Some((pin, rest)) = line.split_once(' ')
            && pin.parse::<i32>().is_ok()
        {
            list = Some(rest.trim().to_owned());
        }
    }
    sources
}

/// `Origin:Suite` of a Release file.
///
/// Debian names its pockets by codename (`n=bookworm-security`, while `a=` changes at each release of Debian), Ubuntu
/// by suite (`a=noble-security`, `n=noble`): the suite is taken where it only adds to the codename. Before Debian 11 the
/// security archive has but its label (`n=buster`, `l=Debian-Security`), which is named as later ones are.
fn archive(release: &str) -> Option<SmolStr> {
    let field = |name: &str| release.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let suite = match (field("a"), field("n")) {
        (Some(suite), Some(codename)) if suite.starts_with(codename) => suite,
        (_, Some(codename)) => codename,
        (Some(suite), None) => suite,
        (None, None) => return None,
    };
    let is_unnamed_security = field("l") == Some("Debian-Security") && !suite.ends_with("-security");
    let pocket = if is_unnamed_security { "-security" } else { "" };
    Some(format!("{}:{suite}{pocket}", field("o")?).into())
}

/// Reads `apt-cache policy PACKAGE…`.
pub(crate) fn parse(text: &str, sources: &Sources, native: &Architecture) -> BTreeMap<PackageKey, Policy> {
    let mut policies = BTreeMap::new();
    let mut current: Option<(PackageKey, Policy, Vec<Version>)> = None;
    for line in text.lines() {
        if !line.starts_with(' ') {
            finish(current.take(), &mut policies);
            let key = line.strip_suffix(':').and_then(|name| parse_key(name, native));
            current = key.map(|key| (key, Policy::default(), Vec::new()));
            continue;
        }
        let Some((_, policy, versions)) = &mut current else { continue };
        if let Some(candidate) = line.strip_prefix("  Candidate: ") {
            policy.candidate = DebianVersion::parse(candidate).ok();
        } else if let Some(version) = Version::parse(line) {
            versions.push(version);
        } else if let Some(version) = versions.last_mut() {
            version.add_source(line, sources);
        }
    }
    finish(current, &mut policies);
    policies
}

fn finish(current: Option<(PackageKey, Policy, Vec<Version>)>, policies: &mut BTreeMap<PackageKey, Policy>) {
    let Some((key, mut policy, versions)) = current else { return };
    for Version { version, pin, phased, origins, is_on_offer } in versions {
        if is_on_offer {
            if policy.candidate.as_ref() == Some(&version) {
                policy.phased = phased;
            }
            let origins = origins.into_iter().collect();
            policy.offers.push(Offer { version, pin, origins, phased: None });
        }
    }
    policies.insert(key, policy);
}

struct Version {
    version: DebianVersion,
    pin: i32,
    phased: Option<u8>,
    origins: BTreeSet<SmolStr>,
    is_on_offer: bool,
}

impl Version {
    /// ` *** 3.0.19-1 500` or `     3.0.19-1 500 (phased 10%)`: five columns, then the version.
    fn parse(line: &str) -> Option<Self> {
        let rest = line.strip_prefix(" *** ").or_else(|| line.strip_prefix("     "))?;
        if rest.starts_with(' ') {
            return None;
        }
        let mut words = rest.split_whitespace();
        let version = DebianVersion::parse(words.next()?).ok()?;
        let pin = words.next()?.parse().ok()?;
        let share = match (words.next(), words.next()) {
            (Some("(phased"), Some(share)) => share.strip_suffix("%)"),
            _ => None,
        };
        let phased = share.and_then(|share| share.parse().ok());
        Some(Self { version, pin, phased, origins: BTreeSet::new(), is_on_offer: false })
    }

    /// `        500 http://… bookworm/main amd64 Packages`; dpkg's own status is no archive.
    fn add_source(&mut self, line: &str, sources: &Sources) {
        let Some((_, list)) = line.trim().split_once(' ') else { return };
        if list.trim() == "/var/lib/dpkg/status" {
            return;
        }
        self.is_on_offer = true;
        self.origins.extend(sources.get(list.trim()).cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpkg::tests::{amd64, key};

    #[test]
    fn apts_recorded_words_are_read() {
        let sources = parse_sources(include_str!("../tests/data/policy-sources.txt"));
        let archives: BTreeSet<&str> = sources.values().map(SmolStr::as_str).collect();
        assert_eq!(
            archives,
            ["Debian:bookworm", "Debian:bookworm-security", "Debian:bookworm-updates"].into()
        );
        let policies = parse(include_str!("../tests/data/policy-packages.txt"), &sources, &amd64());
        let openssl = &policies[&key("openssl")];
        assert_eq!(openssl.candidate.as_ref().unwrap().as_str(), "3.0.22-1~deb12u2");
        let offers =
            openssl.offers.iter().map(|offer| (offer.version.as_str(), offer.pin, offer.origins.join(" ")));
        assert_eq!(
            offers.collect::<Vec<_>>(),
            [
                ("3.0.22-1~deb12u2", 500, "Debian:bookworm-security".to_owned()),
                ("3.0.20-1~deb12u2", 500, "Debian:bookworm".to_owned()),
                ("3.0.17-1~deb12u2", 500, "Debian:bookworm-updates".to_owned()),
            ],
            "what is only installed is not on offer"
        );
        assert_eq!(policies[&key("libc6")].offers.len(), 2, "what is installed and on offer, is");
        assert!(policies[&key("nginx")].candidate.is_some());
        assert!(!policies.contains_key(&key("nosuchpkg")));
    }

    #[test]
    fn a_pocket_is_named_as_its_distribution_names_it() {
        assert_eq!(
            archive("v=24.04,o=Ubuntu,a=noble-security,n=noble,l=Ubuntu,c=main").unwrap(),
            "Ubuntu:noble-security"
        );
        assert_eq!(
            archive("v=12,o=Debian,a=oldstable-security,n=bookworm-security").unwrap(),
            "Debian:bookworm-security"
        );
        assert_eq!(archive("o=Example,a=stable,c=main").unwrap(), "Example:stable");
        assert_eq!(
            archive("v=10,o=Debian,a=oldoldstable,n=buster,l=Debian-Security,c=updates/main").unwrap(),
            "Debian:buster-security"
        );
        assert_eq!(archive("c=,b=amd64"), None);
    }

    #[test]
    fn a_phased_version_a_pin_and_a_foreign_architecture_are_read() {
        let text = "libc6:i386:\n  Installed: (none)\n  Candidate: 2-2\n  Package pin: 2-2\n  Version table:\n     2-2 1 (phased 10%)\n       1001 copy:/srv stable/main i386 Packages\n";
        let policies = parse(text, &Sources::new(), &amd64());
        let policy = &policies[&key("libc6:i386")];
        assert_eq!((policy.offers[0].version.as_str(), policy.offers[0].pin), ("2-2", 1));
        assert_eq!(policy.phased, Some(10));
    }
}
