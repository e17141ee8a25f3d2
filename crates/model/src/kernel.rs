//! Kernels as steps name them: which one, with which words on its command line, and for which version of a package.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::{DebianVersion, PackageKey, PackageName, Transaction};

/// Words that a kernel's command line must have and must not have.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandLine {
    /// Words that it must have.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub present: BTreeSet<SmolStr>,
    /// Words that it must not have.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub absent: BTreeSet<SmolStr>,
}

impl CommandLine {
    /// Nothing is asked of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.present.is_empty() && self.absent.is_empty()
    }

    /// Whether a command line is as asked.
    #[must_use]
    pub fn fits(&self, line: &str) -> bool {
        let words: BTreeSet<&str> = line.split_whitespace().collect();
        self.present.iter().all(|word| words.contains(word.as_str()))
            && !self.absent.iter().any(|word| words.contains(word.as_str()))
    }

    /// A command line as it is to be: what must not be there is taken out, what must be there comes last.
    #[must_use]
    pub fn applied_to(&self, line: &str) -> SmolStr {
        let kept = line.split_whitespace().filter(|word| !self.absent.contains(*word));
        let mut words: Vec<&str> = kept.collect();
        for word in &self.present {
            if !words.contains(&word.as_str()) {
                words.push(word);
            }
        }
        SmolStr::from(words.join(" "))
    }
}

/// The kernel that a step is about (rule K2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KernelChoice {
    /// Its release: `6.1.0-50-cloud-amd64`.
    pub release: SmolStr,
    /// What its command line must and must not have.
    #[serde(default, skip_serializing_if = "CommandLine::is_empty")]
    pub command_line: CommandLine,
    /// The meta-package that is followed, at the version that brings this kernel (rule K5); absent: no baseline follows
    /// one, the kernel came with a package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub followed: Option<Followed>,
}

impl KernelChoice {
    /// Whether what runs is this kernel with this command line.
    #[must_use]
    pub fn is_booted(&self, release: &str, command_line: &str) -> bool {
        self.release == release && self.command_line.fits(command_line)
    }
}

/// A meta-package at a version: what a kernel baseline's item is about (rule O1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Followed {
    /// The meta-package.
    pub package: PackageKey,
    /// Its version.
    pub version: DebianVersion,
}

/// The release of the kernel that a package is the image of, if it is one: `linux-image-6.1.0-50-cloud-amd64`, signed or
/// not. Meta-packages (`linux-image-cloud-amd64`) and debugging symbols are not.
#[must_use]
pub fn kernel_release(package: &PackageName) -> Option<&str> {
    let image = package.as_str().strip_prefix("linux-image-")?;
    let image = image.strip_prefix("unsigned-").unwrap_or(image);
    let release = image.strip_suffix("-unsigned").unwrap_or(image);
    let is_release = release.starts_with(|first: char| first.is_ascii_digit()) && !release.ends_with("-dbg");
    is_release.then_some(release)
}

/// The flavour of a release: what follows its version and ABI. `cloud-amd64` of `6.1.0-50-cloud-amd64`, `generic` of
/// `6.8.0-50-generic`.
#[must_use]
pub fn kernel_flavour(release: &str) -> &str {
    let mut rest = release.split_once('-').map_or("", |(_, rest)| rest);
    while rest.starts_with(|first: char| first.is_ascii_digit()) {
        rest = rest.split_once('-').map_or("", |(_, after)| after);
    }
    rest
}

impl Transaction {
    /// The releases of the kernels that were not there before it.
    pub fn new_kernels(&self) -> impl Iterator<Item = &str> {
        let new = self.changes().filter(|change| change.from.is_none() && change.to.is_some());
        new.filter_map(|change| kernel_release(&change.package.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_changed_by_whole_words() {
        let line = CommandLine {
            present: ["mitigations=auto".into(), "quiet".into()].into(),
            absent: ["nosmt".into()].into(),
        };
        let before = "root=/dev/vda1 ro quiet nosmt nosmt=force";
        assert!(!line.fits(before));
        let after = line.applied_to(before);
        assert_eq!(after, "root=/dev/vda1 ro quiet nosmt=force mitigations=auto");
        assert!(line.fits(&after));
        assert_eq!(line.applied_to(&after), after, "again changes nothing");
        assert!(CommandLine::default().fits(before));
    }

    #[test]
    fn a_flavour_is_what_follows_version_and_abi() {
        for (release, flavour) in [
            ("6.1.0-50-cloud-amd64", "cloud-amd64"),
            ("6.8.0-50-generic", "generic"),
            ("6.12.57+deb13-amd64", "amd64"),
            ("6.12.57+deb13-cloud-amd64", "cloud-amd64"),
            ("6.1.0-50", ""),
            ("6.1", ""),
        ] {
            assert_eq!(kernel_flavour(release), flavour, "{release}");
        }
    }
}
