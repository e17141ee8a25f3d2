//! One machine's activity, step by step, without I/O: intent → act → observe → report.
//!
//! A [`Journal`] is a value. Whoever drives it (the agent, or a fake machine) tells it what happened ([`Input`]),
//! **writes it to disk whenever it changed, before anything else**, asks it what to do ([`Journal::next`]), does
//! exactly that once, and tells it the answer. Killed anywhere, it starts again with [`Journal::resume`]; the same
//! activity goes on, and no step is done twice (promise P2, rule A2): what may have been begun is observed before it
//! is begun again.
//!
//! Deliberately not here: apt, systemd, the gateway, clocks. The agent's `carry` drives it against a real machine.

mod activity;
mod format;
mod input;
mod journal;
mod judge;
mod moment;
mod progress;

pub use activity::{Offer, OfferedStep};
pub use format::JournalError;
pub use input::{Input, Next, Observation};
pub use journal::{BOOTS_PER_ACTIVITY, Journal, REBOOTS_PER_DAY, SEEN_LIMIT};
pub use moment::Moment;
pub use progress::{MESSAGE_LIMIT, Progress, StepTimes};
