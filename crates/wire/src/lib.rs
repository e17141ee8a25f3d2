//! What gateway and agent say to each other: HTTPS with mutual TLS, JSON bodies, versioned by path (`/v1/…`).
//!
//! | request | body | answer |
//! |---|---|---|
//! | `POST /v1/enroll` (no client certificate) | [`EnrollRequest`] | [`EnrollResponse`] |
//! | `POST /v1/renew` | [`RenewRequest`] | [`EnrollResponse`] |
//! | `POST /v1/report` | [`ReportRequest`] | [`ReportResponse`] |
//! | `PUT /v1/inventories/{digest}` | zstd of an [`Inventory`](muster_model::Inventory)'s canonical JSON | 204 |
//! | `POST /v1/poll` (answered when something differs, at the latest after [`POLL_SECONDS`]) | [`PollRequest`] | [`PollResponse`] |
//! | `POST /v1/proposals` | [`ProposalRequest`] | 204 |
//! | `POST /v1/activities/{name}/progress` | [`Progress`] | [`ProgressResponse`] |
//! | `POST /v1/activities/{name}/may-start` | [`MayStartRequest`] | [`MayStartResponse`] |
//!
//! An answer that is no success carries an [`ErrorBody`] whose reason is a [`Reason`]. Every body is bounded
//! ([`BODY_LIMIT`], [`INVENTORY_LIMIT`]) and parsed strictly on the gateway's side; the agent ignores fields that it
//! does not know, so that a new gateway can serve an old agent. Times on the wire are seconds remaining (rule A4).
//!
//! Trust: the gateway sends its whole chain, the fleet's root included, and an agent accepts it only if that root's
//! SHA-256 is the one that it pinned ([`Client`]). What both sides make certificates of is in [`pki`].

mod client;
mod connection;
mod convert;
mod messages;
mod pin;
pub mod pki;
mod reason;

pub use client::{Client, Identity};
pub use connection::ClientError;
pub use messages::*;
pub use pin::{GATEWAY_NAME, tls_provider};
pub use reason::Reason;
