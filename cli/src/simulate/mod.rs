//! What a simulation of a fleet showed, as a report: who changed in which window, when who converged, who did not and why.
//!
//! `tell` reads the event log, `report` is the answer, `text` is for people. Deliberately not here: the simulation itself
//! (`crates/storm`), and any decision about a machine.

mod report;
mod tell;
mod text;

pub(crate) use self::report::{Question, report};
pub(crate) use self::text::text;
