//! The embedded Kubernetes API: what `muster up` runs instead of a cluster, in one process and one SQLite file.
//!
//! It serves the built-in kinds that Muster needs and whatever CustomResourceDefinitions it is given, closely enough
//! that stock kubectl and client libraries cannot tell the difference. All requests, from kubectl over TLS or from
//! components in the same process, go through one [`ApiServer::handle`].
//!
//! Deliberately not here: anything about Muster's own kinds; webhooks, aggregation, RBAC objects, other built-in
//! kinds. Whoever needs those runs Muster on a cluster.

mod access;
mod admit;
mod api;
mod audit;
mod backup;
mod builtin;
mod collector;
mod definition;
mod definition_rules;
mod definition_schema;
mod discovery;
mod events;
mod health;
mod json;
mod managed;
mod media;
mod merge;
mod metadata;
mod metrics;
mod names;
mod object;
mod openapi;
mod patch;
mod protobuf;
mod query;
mod read;
mod registry;
mod remove;
mod reply;
mod reviews;
mod route;
mod scale;
mod selector;
mod server;
mod status;
mod store;
mod table;
mod tls;
mod typed;
mod watch;
mod write;

pub use access::Identity;
pub use api::{ApiServer, Clock, Config, Service};
pub use reply::Body;

pub use store::OpenError;
