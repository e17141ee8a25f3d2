//! A namespace's state: what each of its objects means, and all of it as one file (design §11).
//!
//! [`read`] says what an object means to fleet. The controller asks it of what watches show, and a plan that is made
//! elsewhere (in CI, on a laptop) of what `muster state export` wrote: so both plan from the same values. [`Spool`]
//! writes the file, [`StateFile`] reads it and becomes the planner's snapshot.
//!
//! Deliberately not here: the Kubernetes API, and any decision about machines.

mod export;
mod file;
mod kinds;
pub mod read;

pub use export::{ExportError, Spool};
pub use file::{
    Fault, Header, MAX_LINE_BYTES, MAX_OBJECTS, MAX_STATE_BYTES, Owners, SourceFields, SourceGuards,
    StateError, StateFile, VERSION,
};
pub use kinds::Kind;
