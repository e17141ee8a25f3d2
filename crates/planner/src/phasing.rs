//! Which phased updates does a machine's apt keep back for now (rule V2)? The draw is the machine's, in its report.
//!
//! As apt does it: only upgrades of what is installed are kept back, and none where a security version lies between what
//! is installed and the candidate.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{Digest, Inventory, PHASED_IN, Package, PackageKey};
use smol_str::SmolStr;

/// The packages whose candidates are kept back.
pub(crate) type KeptBack = BTreeSet<PackageKey>;

/// One candidate that is phased.
struct Update<'a> {
    package: &'a PackageKey,
    percentage: u8,
    key: SmolStr,
}

/// The phased candidates of each inventory, looked for once.
#[derive(Default)]
pub(crate) struct Phased<'a> {
    updates: BTreeMap<&'a Digest, Vec<Update<'a>>>,
}

impl<'a> Phased<'a> {
    /// What a machine with these draws keeps back. Without a draw an update waits until it is everybody's.
    pub(crate) fn kept_back(
        &mut self,
        digest: &'a Digest,
        inventory: &'a Inventory,
        draws: &BTreeMap<SmolStr, u8>,
    ) -> KeptBack {
        let updates = self
            .updates
            .entry(digest)
            .or_insert_with(|| inventory.packages.iter().filter_map(phased_candidate).collect());
        let waits = |update: &&Update<'_>| {
            draws.get(&update.key).is_none_or(|draw| *draw > update.percentage.min(PHASED_IN))
        };
        updates.iter().filter(waits).map(|update| update.package.clone()).collect()
    }
}

fn phased_candidate(package: &Package) -> Option<Update<'_>> {
    let (installed, candidate) = (&package.installed.as_ref()?.version, package.candidate.as_ref()?);
    let offer = package.offers.iter().find(|offer| offer.version == *candidate)?;
    let phased = offer.phased.as_ref()?;
    let between = |version| version > installed && version < candidate;
    let exempt = package.offers.iter().any(|offer| between(&offer.version) && offer.ends_phasing());
    (candidate > installed && !exempt).then(|| Update {
        package: &package.key,
        percentage: phased.percentage,
        key: phased.key(),
    })
}
