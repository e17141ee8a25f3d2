//! A Debian archive of a test's own, which every machine of its lab has as its only source.
//!
//! The machines see its folder read-only and fetch by apt's `copy:` method: like one over HTTP, and unlike `file:`,
//! it leaves a machine with the lists of its last `apt-get update` whatever the archive becomes. It has the two
//! suites that a Debian has, under Debian's own labels, so that what is a security update is told as in real life.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::base::write;
use crate::package::{Package, native};

/// The suite of ordinary packages.
pub const STABLE: &str = "stable";
/// The suite of security updates.
pub const STABLE_SECURITY: &str = "stable-security";

/// An archive that can change while machines use it.
#[derive(Debug)]
pub struct Archive {
    folder: PathBuf,
    codename: String,
    contents: Mutex<Contents>,
}

/// What is on offer: for each suite, name and version, its paragraph of the index and its file.
#[derive(Debug, Default)]
struct Contents {
    edition: u32,
    offers: BTreeMap<(String, String, String), Offer>,
}

#[derive(Debug)]
struct Offer {
    paragraph: String,
    file: PathBuf,
}

impl Archive {
    /// Makes an empty archive for a release.
    ///
    /// # Panics
    ///
    /// If the folder cannot be made.
    #[must_use]
    pub fn create(folder: &Path, codename: &str) -> Self {
        let contents = Mutex::new(Contents::default());
        let archive = Self { folder: folder.to_owned(), codename: codename.to_owned(), contents };
        archive.change(|_| ());
        archive
    }

    /// Offers packages, beside the versions that are there already.
    ///
    /// # Panics
    ///
    /// If one cannot be built, with dpkg-deb's words.
    pub fn publish(&self, packages: &[Package]) {
        self.publish_in(STABLE, packages);
    }

    /// Offers packages in [`STABLE`] or [`STABLE_SECURITY`].
    ///
    /// # Panics
    ///
    /// If one cannot be built, or there is no such suite.
    pub fn publish_in(&self, suite: &str, packages: &[Package]) {
        assert!([STABLE, STABLE_SECURITY].contains(&suite), "there is no suite {suite}");
        self.change(|contents| {
            for package in packages {
                let offer = self.build(suite, package);
                let key = (suite.to_owned(), package.name().to_owned(), package.version().to_owned());
                contents.offers.insert(key, offer);
            }
        });
    }

    /// Takes a version away from every suite, file and all, as Debian's own archive does when a newer one comes.
    ///
    /// # Panics
    ///
    /// If it was not on offer.
    pub fn withdraw(&self, name: &str, version: &str) {
        let mut withdrawn = Vec::new();
        self.change(|contents| {
            let matches = |key: &(String, String, String)| key.1 == name && key.2 == version;
            let keys: Vec<_> = contents.offers.keys().filter(|key| matches(key)).cloned().collect();
            withdrawn.extend(keys.iter().filter_map(|key| contents.offers.remove(key)));
        });
        assert!(!withdrawn.is_empty(), "{name} {version} is not on offer");
        for Offer { paragraph: _, file } in withdrawn {
            fs::remove_file(&file)
                .unwrap_or_else(|error| panic!("cannot remove {}: {error}", file.display()));
        }
    }

    /// Its folder on the host.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What a machine that sees the folder at `place` has as its sources.
    pub(crate) fn sources(&self, place: &str) -> String {
        let suites = [STABLE, STABLE_SECURITY].map(|suite| self.codename_of(suite));
        suites.map(|suite| format!("deb [trusted=yes] copy:{place} {suite} main\n")).concat()
    }

    fn codename_of(&self, suite: &str) -> String {
        format!("{}{}", self.codename, suite.strip_prefix(STABLE).unwrap_or_default())
    }

    fn build(&self, suite: &str, package: &Package) -> Offer {
        let name = format!("{suite}/{}", package.file_name());
        let file = self.folder.join(&name);
        fs::create_dir_all(file.parent().expect("a pool file has a folder"))
            .expect("the archive is writable");
        package.build(&file);
        let bytes = fs::read(&file).expect("the package was just built");
        let paragraph = format!(
            "{}{}Filename: {name}\nSize: {}\nSHA256: {}\n\n",
            package.control(),
            package.index_fields(),
            bytes.len(),
            hex(&bytes)
        );
        Offer { paragraph, file }
    }

    /// Edits what is on offer, and shows it in one step: a reader of `dists/` sees the old edition or the new one.
    fn change(&self, edit: impl FnOnce(&mut Contents)) {
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        edit(&mut contents);
        contents.edition += 1;
        let edition = format!("edition-{}", contents.edition);
        for suite in [STABLE, STABLE_SECURITY] {
            let at = self.folder.join(&edition).join(self.codename_of(suite));
            let offers = contents.offers.iter().filter(|((of, _, _), _)| of == suite);
            let index: String = offers.map(|(_, offer)| offer.paragraph.as_str()).collect();
            let path = format!("main/binary-{}/Packages", native());
            write(&at.join(&path), &index);
            write(&at.join("Release"), &self.release(suite, &path, &index));
        }
        let link = self.folder.join("dists.draft");
        let shown = symlink(&edition, &link).and_then(|()| fs::rename(&link, self.folder.join("dists")));
        shown.unwrap_or_else(|error| panic!("cannot publish in {}: {error}", self.folder.display()));
    }

    fn release(&self, suite: &str, path: &str, index: &str) -> String {
        let label = if suite == STABLE { "Debian" } else { "Debian-Security" };
        let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S UTC");
        format!(
            "Origin: Debian\nLabel: {label}\nSuite: {suite}\nCodename: {}\nDate: {date}\nArchitectures: {}\n\
             Components: main\nSHA256:\n {} {} {path}\n",
            self.codename_of(suite),
            native(),
            hex(index.as_bytes()),
            index.len()
        )
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(archive: &Archive, suite: &str) -> String {
        let path = format!("dists/{suite}/main/binary-{}/Packages", native());
        fs::read_to_string(archive.folder().join(path)).expect("every suite has an index")
    }

    fn offered(archive: &Archive, suite: &str) -> Vec<String> {
        let lines = index(archive, suite);
        lines.lines().filter_map(|line| line.strip_prefix("Version: ")).map(str::to_owned).collect()
    }

    #[test]
    fn an_archive_offers_several_versions_and_can_withdraw_one() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let archive = Archive::create(folder.path(), "bookworm");
        archive
            .publish(&[Package::new("ferry", "1.0-1"), Package::new("ferry", "1.1-1").depends("oar (>= 2)")]);
        archive.publish_in(STABLE_SECURITY, &[Package::new("ferry", "1:0.9").for_all_architectures()]);
        assert_eq!(offered(&archive, "bookworm"), ["1.0-1", "1.1-1"]);
        assert_eq!(offered(&archive, "bookworm-security"), ["1:0.9"]);
        assert!(index(&archive, "bookworm").contains("Depends: oar (>= 2)\n"));

        archive.withdraw("ferry", "1.0-1");
        assert_eq!(offered(&archive, "bookworm"), ["1.1-1"]);
        let gone = format!("stable/pool/ferry/ferry_1.0-1_{}.deb", native());
        assert!(!folder.path().join(gone).exists());
    }
}
