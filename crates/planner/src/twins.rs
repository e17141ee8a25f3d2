//! What twins share, kept from plan to plan: machines that are asked the same of the same packages come to the same.
//!
//! It is made anew with resources and upgrades; what depends on more than a machine's report (proposals, waves, time) is
//! not here. Machines without twins would make it as big as the fleet, so there is a limit: beyond it, it is forgotten
//! between plans, and worked out again for those that are decided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_model::{Digest, Inventory, Machine, PackageKey, Pool, Report, Shared};

use crate::evaluate::Judgement;
use crate::kernel::Kernels;
use crate::merge::Merged;
use crate::phasing::KeptBack;
use crate::rollout::{Held, Share};
use crate::select::Resources;
use crate::summary::{Conflicts, conflicts};
use crate::target::Judged;
use crate::upgrade::{Known, extended};

/// Of one set of requirements, so many of the last different judgements are looked through: most inventories come to the
/// same.
const LOOKED_AT: usize = 8;

/// What is kept, in requirements: so many, and so many more for each machine. One takes some 150 bytes.
const LEAST_KEPT: usize = 4_096;
const KEPT_A_MACHINE: usize = 1;

/// What an entry takes besides, in requirements.
const ENTRY: usize = 2;

/// What is asked of machines, their upgrades included, and what that comes to.
#[derive(Debug)]
pub(crate) struct Evaluated {
    pub(crate) merged: Arc<Merged>,
    pub(crate) judgement: Arc<Judgement>,
    /// What each counts for in the counts of items, if it is a part of them.
    pub(crate) share: Arc<Share>,
    /// What its baselines contradict each other about, if anything.
    pub(crate) conflicts: Option<Arc<Conflicts>>,
}

/// What it depends on.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    /// The address of what is asked, which `Mergers` keeps where it is.
    merged: usize,
    inventory: Digest,
    holds: Shared<BTreeSet<PackageKey>>,
    kept_back: KeptBack,
    kernels: Kernels,
}

/// All that is known of twins.
#[derive(Debug, Default)]
pub(crate) struct Twins {
    known: BTreeMap<Key, Arc<Evaluated>>,
    /// Of machines without an inventory, by the address of what is asked.
    blank: BTreeMap<usize, Arc<Evaluated>>,
    judgements: BTreeMap<usize, Vec<Arc<Judgement>>>,
    shares: Pool<Share>,
    held: Pool<Held>,
    judged: Pool<Judged>,
    /// What is kept, in requirements.
    kept: usize,
}

impl Twins {
    /// What machines come to of whose packages nothing is known.
    pub(crate) fn blank(&mut self, merged: &Arc<Merged>) -> Arc<Evaluated> {
        let address = Arc::as_ptr(merged).addr();
        if let Some(known) = self.blank.get(&address) {
            return known.clone();
        }
        let made = self.made(address, merged.clone(), Judgement::default(), None);
        self.blank.insert(address, made.clone());
        made
    }

    /// What a machine with this inventory comes to; `known`: all upgrades that somebody lacks, or that are on record.
    #[expect(clippy::too_many_arguments, reason = "it depends on all of them")]
    pub(crate) fn of(
        &mut self,
        resources: &Resources<'_>,
        merged: &Arc<Merged>,
        (digest, inventory): (&Digest, &Inventory),
        machine: &Machine,
        report: &Report,
        kept_back: KeptBack,
        known: &Known,
    ) -> Arc<Evaluated> {
        let key = Key {
            merged: Arc::as_ptr(merged).addr(),
            inventory: digest.clone(),
            holds: machine.holds.clone(),
            kept_back,
            kernels: Kernels::of(resources, merged, report),
        };
        if let Some(evaluated) = self.known.get(&key) {
            return evaluated.clone();
        }
        let Key { merged: address, inventory: _, holds, kept_back, kernels } = &key;
        let extended = kernels.tidied(extended(merged, inventory, kept_back, known), inventory, holds);
        if !Arc::ptr_eq(&extended, merged) {
            self.kept += extended.enforced.len() + extended.observed.len();
        }
        let judgement = Judgement::of(resources, &extended, inventory, holds, kept_back.clone(), kernels);
        let made = self.made(*address, extended, judgement, Some(inventory));
        self.kept += ENTRY;
        self.known.insert(key, made.clone());
        made
    }

    /// Forgets all, once it is too much for a fleet of so many machines.
    pub(crate) fn trim(&mut self, machines: usize) {
        if self.kept > LEAST_KEPT + KEPT_A_MACHINE * machines {
            let Self { shares, held, judged, .. } = std::mem::take(self);
            *self = Self { shares, held, judged, ..Self::default() };
        }
    }

    fn made(
        &mut self,
        address: usize,
        merged: Arc<Merged>,
        judgement: Judgement,
        inventory: Option<&Inventory>,
    ) -> Arc<Evaluated> {
        let mut share = Arc::new(Share::of(&merged, &judgement, inventory, &mut self.held));
        self.shares.pool(&mut share);
        let found = conflicts(&merged);
        let conflicts = (!found.is_empty()).then(|| Arc::new(found));
        let judgement = self.alike(address, judgement);
        Arc::new(Evaluated { merged, judgement, share, conflicts })
    }

    /// The judgement as it is held already, if it is.
    fn alike(&mut self, merged: usize, mut judgement: Judgement) -> Arc<Judgement> {
        let last = self.judgements.entry(merged).or_default();
        if let Some(known) = last.iter().find(|known| known.is_alike(&judgement)) {
            return known.clone();
        }
        if last.len() == LOOKED_AT {
            last.remove(0);
        }
        self.kept += judgement.judged.len() + judgement.observed.len();
        let outcomes = judgement.judged.iter_mut().chain(&mut judgement.observed);
        outcomes.for_each(|one| one.pool_if(&mut self.judged, Judged::is_alike));
        let judgement = Arc::new(judgement);
        last.push(judgement.clone());
        judgement
    }
}

#[cfg(test)]
mod tests {
    use muster_model::{Architecture, DebianVersion};

    use super::*;
    use crate::merge::Alone;
    use crate::select::Picked;
    use crate::target::Outcome;

    #[test]
    fn what_is_kept_of_machines_without_twins_does_not_grow_beyond_the_fleet() {
        let merged = Arc::new(Merged::of(
            &Resources { packages: Vec::new(), budgets: Vec::new(), windows: Vec::new() },
            &Picked::default(),
            &Architecture::parse("amd64").unwrap(),
            &mut Alone::new(),
        ));
        let mut twins = Twins::default();
        let mut come = |number: usize, machines: usize| {
            let mut judgement = Judgement::default();
            judgement.judged.resize_with(100, || {
                let installed = Some(DebianVersion::parse(&number.to_string()).unwrap());
                Judged { outcome: Outcome::Met, installed, held: false }.into()
            });
            twins.made(0, merged.clone(), judgement, None);
            twins.trim(machines);
            twins.kept
        };
        let most = (0..1_000).map(|number| come(number, 1_000)).max().unwrap();
        assert!((LEAST_KEPT..=LEAST_KEPT + KEPT_A_MACHINE * 1_000).contains(&most), "{most}");
        let most = (0..1_000).map(|number| come(number, 200_000)).max().unwrap();
        assert!(most >= 100_000, "{most}");
    }
}
