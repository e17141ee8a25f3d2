//! What machines that are judged alike want and have, for the counts of items.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_model::{Digest, Inventory, Item, Pool};

use crate::evaluate::Judgement;
use crate::merge::Merged;
use crate::rollout::item::item_of;

/// An item of one baseline on such machines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held {
    /// The baseline's number.
    pub(crate) baseline: usize,
    pub(crate) item: Item,
    /// They have it; else they are to get it.
    pub(crate) has: bool,
}

/// The items of machines that share an evaluation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Share {
    pub(crate) items: Vec<Arc<Held>>,
    /// What their apt knows of, if they lack something: who has the same package lists sees what they see.
    pub(crate) lists: Option<Digest>,
    /// The baselines (by number) of which they lack something.
    lacking: Vec<usize>,
}

impl Share {
    pub(crate) fn of(
        merged: &Merged,
        judgement: &Judgement,
        inventory: Option<&Inventory>,
        held: &mut Pool<Held>,
    ) -> Self {
        let mut items: Vec<Arc<Held>> = Vec::new();
        // What is named and upgraded is one item.
        let mut known: BTreeSet<(usize, Item)> = BTreeSet::new();
        let doubles = merged.enforced.len() > merged.named;
        for (requirement, judged) in merged.enforced.iter().zip(&judgement.judged) {
            let Some((item, has)) = item_of(requirement, judged) else { continue };
            for baseline in requirement.by.iter().copied() {
                if !doubles || known.insert((baseline, item.clone())) {
                    let mut one = Arc::new(Held { baseline, item: item.clone(), has });
                    held.pool(&mut one);
                    items.push(one);
                }
            }
        }
        let mut lacking: Vec<usize> = items.iter().filter(|one| !one.has).map(|one| one.baseline).collect();
        lacking.sort_unstable();
        lacking.dedup();
        let inventory = inventory.filter(|_| !lacking.is_empty());
        items.shrink_to_fit();
        Self { items, lists: inventory.map(|inventory| inventory.lists.clone()), lacking }
    }

    /// Whether they lack something of one of these baselines.
    pub(crate) fn lacks_of(&self, baselines: &[usize]) -> bool {
        self.lacking.iter().any(|baseline| baselines.contains(baseline))
    }
}
