//! The controller without I/O: one namespace's world, own writes, epochs, and the life cycle of activities.
//!
//! [`step`] takes one input (what a watch showed, how a write ended, or that it is time for a pass) and returns the
//! effects to carry out. The controller carries them out through the Kubernetes API; the storm carries them out
//! against faults. What to start and why not is the planner's decision; this crate decides *when to ask it*, and what
//! the answer means for the objects: create, adopt, cancel, expire, record, collect.
//!
//! Deliberately not here: clocks, tasks, JSON, resource types.

mod agenda;
mod deadlines;
mod durations;
mod history;
mod input;
mod pass;
mod presence;
mod record;
mod revision;
mod state;
mod words;
mod written;

pub use input::{
    Change, Effect, Garbage, GatewayLease, Input, Key, Note, NoteKind, PresenceShard, SourceState, Written,
};
pub use record::Decision;
pub use state::State;

/// Takes one input and says what to do about it.
///
/// Effects on one object are to be carried out in the order given; each is answered by [`Input::Written`].
pub fn step(state: &mut State, input: Input) -> Vec<Effect> {
    match input {
        Input::Observed(change) => {
            state.observe(*change);
            Vec::new()
        }
        Input::Written { key, now, outcome } => {
            state.written(&key, now, outcome);
            Vec::new()
        }
        Input::Pass(now) => pass::pass(state, now),
    }
}
