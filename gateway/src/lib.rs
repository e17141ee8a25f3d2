//! The agents' side of Muster: machines enrol, report, simulate, fetch and answer activities here.
//!
//! A gateway keeps nothing of its own but a short-lived intermediate certificate. All it knows is a projection of the
//! Kubernetes API ([`fleet`]); all that it decides is written there before an agent hears of it. Any number of
//! gateways may run, and each can answer any machine.
//!
//! The core (`enroll`, `report`, `inventory`, `proposal`, `poll`, `deliver`, `progress`, `word`, `presence`: one concern
//! each) knows nothing of HTTP; `front` and `tls` are the protocol of [`muster_wire`] before it.
//!
//! Deliberately not here: any decision about what a machine should be; where the fleet's root key is kept.

mod conditions;
mod deliver;
mod enroll;
mod fleet;
mod front;
mod gateway;
mod inventory;
mod issuer;
mod metrics;
mod poll;
mod presence;
mod progress;
mod proposal;
mod refusal;
mod report;
mod tls;
mod watch;
mod word;

pub use gateway::{Clock, Gateway, GatewayConfig, GatewayError, Handle};
pub use issuer::{IssuerError, IssuerSource, RootIssuer};
pub use metrics::Metrics;
