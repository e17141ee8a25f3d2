//! What people said of rollouts and that says nothing any more goes once it is old (docs/decisions/0010).
//!
//! Nothing here decides what a word means: the planner does. It is only asked whether any item would be judged otherwise
//! without it.

use jiff::SignedDuration;
use muster_model::{ApprovalAction, Instant, RolloutApproval, Snapshot};

use crate::State;
use crate::input::Effect;

/// Words are kept for so long at least, and for the policy's `ttl` where that is longer: a release that is approved before it
/// is there comes within a month, and who asks who approved what asks by then.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What may go now.
pub(crate) fn effects(state: &mut State, now: Instant) -> Vec<Effect> {
    // While nothing changes by which words are judged, a pass after a report does not look at them.
    if !state.words_dirty && state.words_due.is_none_or(|due| due > now) {
        state.words_due.into_iter().for_each(|due| state.wake_at(due));
        return Vec::new();
    }
    let world = &state.world;
    // One that cannot be read may be a pause, and which words it takes back is unknown.
    if world.unreadable.keys().any(|what| what.starts_with("RolloutApproval/")) {
        return Vec::new();
    }
    let kept = world.policy.ttl.max(KEPT);
    let (old, young): (Vec<_>, Vec<_>) =
        world.approvals.values().partition(|one| now.duration_since(one.created) >= kept);
    let silent = old.into_iter().filter(|one| !one.applied && !speaks(world, one));
    let effects: Vec<Effect> = silent.map(|one| Effect::DeleteApproval { approval: one.clone() }).collect();
    // What was asked for is looked at again until it shows.
    state.words_dirty = !effects.is_empty();
    state.words_due = young.iter().map(|one| one.created + kept).min();
    state.words_due.into_iter().for_each(|due| state.wake_at(due));
    effects
}

/// Whether anything would be another way without it.
fn speaks(world: &Snapshot, word: &RolloutApproval) -> bool {
    let ends =
        |one: &&RolloutApproval| one.action != ApprovalAction::Approve && one.baseline == word.baseline;
    let mut others = world.approvals.values().map(AsRef::as_ref).filter(ends);
    let rollout = world.rollouts.get(&word.baseline);
    let mut items = rollout.iter().flat_map(|rollout| &rollout.items);
    match word.action {
        // It holds until something newer is said of all that it holds.
        ApprovalAction::Pause => {
            !others.any(|one| one.order() > word.order() && one.items.cover(&word.items))
        }
        // While there is a pause that it ended, that would hold again; a bar, or a wave without evidence, that it has still to
        // pass over is on record.
        ApprovalAction::Resume => {
            let is_last =
                !others.clone().any(|one| one.order() > word.order() && one.items.cover(&word.items));
            let ends_a_pause = others.any(|one| {
                one.action == ApprovalAction::Pause
                    && one.order() < word.order()
                    && one.items.meet(&word.items)
            });
            let is_news = items.any(|(item, progress)| {
                let stands = [progress.barred, progress.paused].into_iter().flatten();
                word.items.contain(item)
                    && progress.resumed.is_none_or(|resumed| resumed < word.created)
                    && stands.into_iter().any(|since| since <= word.created)
            });
            is_last && (ends_a_pause || is_news)
        }
        // Until what it approved is everywhere; then that is on record.
        ApprovalAction::Approve => items.any(|(item, progress)| {
            progress.released.is_none() && word.approves(item, progress.seen.unwrap_or(Instant::MIN))
        }),
    }
}
