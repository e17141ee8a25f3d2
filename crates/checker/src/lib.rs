//! The rules again, from events alone.
//!
//! [`event`] is the format of the event log: what `muster up --events`, `muster simulate` and the storm write, and what
//! `muster check` and tests read (docs/events.md). This crate shares no code with the planner: it uses values of
//! `muster-model` (names, versions, instants), and does its own counting and its own window arithmetic, so that a
//! mistake there is seen here.
//!
//! Deliberately not here: files and clocks. The caller reads lines and passes events.

pub mod event;
