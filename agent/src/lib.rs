//! The agent on each machine: reports what is there, simulates what is wanted, carries out activities.
//!
//! Everything that decides is in `muster-journal` (an activity, step by step) or pure in here (parsers, judgements);
//! everything that touches the machine goes through [`tools`](crate) and `host`, so that tests can stand in for both.
//! As a library it is what `muster up --this-host` runs, observing.
//!
//! Two loops: `link` (reports, polls, simulates) and `carry` (drives the journal); `lists` keeps apt's lists fresh.

mod agent;
mod carry;
mod dpkg;
mod enroll;
mod execute;
mod facts;
mod host;
mod inventory;
mod kernel;
mod link;
mod lists;
mod phasing;
mod policy;
mod report;
mod shared;
mod simulate;
mod state;
mod tools;
mod unit;
mod watch;

pub use agent::{AgentError, Settings, describe, run};
pub use enroll::{Enroll, EnrollError, enroll, parse_root};
pub use state::{Enrolment, STATE_DIR, State, StateError};
pub use unit::act;
