//! What people said of an item: paused, resumed, approved (rules O3, O7).

use muster_model::{ApprovalAction, BaselineRef, Instant, Item, ItemProgress, RolloutApproval, Snapshot};
use smol_str::SmolStr;

/// Who paused an item, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    pub(crate) approval: muster_model::ObjectName,
    pub(crate) by: SmolStr,
}

/// The words about one baseline.
pub(crate) struct Words<'a> {
    /// Oldest first.
    all: Vec<&'a RolloutApproval>,
}

impl<'a> Words<'a> {
    pub(crate) fn about(snapshot: &'a Snapshot, baseline: &BaselineRef) -> Self {
        let all = snapshot.approvals.values().map(AsRef::as_ref).filter(|one| one.baseline == *baseline);
        let mut all: Vec<&RolloutApproval> = all.collect();
        all.sort_by_key(|one| one.order());
        Self { all }
    }

    fn newest(&self, item: &Item, action: ApprovalAction) -> Option<&'a RolloutApproval> {
        self.all.iter().rev().find(|one| one.action == action && one.items.contain(item)).copied()
    }

    /// A pause that nothing newer ends.
    pub(crate) fn pause(&self, item: &Item) -> Option<Pause> {
        let speaks = |one: &&&RolloutApproval| match one.action {
            ApprovalAction::Pause | ApprovalAction::Resume => one.items.contain(item),
            ApprovalAction::Approve => false,
        };
        let last = self.all.iter().rev().find(speaks)?;
        match last.action {
            ApprovalAction::Pause => Some(Pause { approval: last.name.clone(), by: last.by.clone() }),
            ApprovalAction::Resume | ApprovalAction::Approve => None,
        }
    }

    /// When the item was last resumed, if that is news.
    pub(crate) fn resumed(&self, item: &Item, progress: &ItemProgress) -> Option<Instant> {
        let resumed = self.newest(item, ApprovalAction::Resume)?.created;
        progress.resumed.is_none_or(|before| resumed > before).then_some(resumed)
    }

    /// When the item was approved.
    pub(crate) fn approved(&self, item: &Item, seen: Instant) -> Option<Instant> {
        self.all.iter().find(|one| one.approves(item, seen)).map(|one| one.created)
    }
}
