//! What a gateway counts; labels come from closed sets.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Labels of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    pub(crate) endpoint: &'static str,
    pub(crate) code: u16,
}

/// A gateway's metrics; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(crate) requests: Family<RequestLabels, Counter>,
    pub(crate) connections: Gauge,
    pub(crate) polls: Gauge,
    pub(crate) enrolled: Counter,
    pub(crate) heartbeats: Counter,
    pub(crate) reports: Counter,
    pub(crate) inventories: Counter,
    pub(crate) proposals: Counter,
    pub(crate) delivered: Counter,
    pub(crate) presence_writes: Counter,
}

impl Metrics {
    /// Makes them known under `muster_gateway_…`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("muster_gateway");
        registry.register("requests", "Requests answered, by endpoint and status", self.requests.clone());
        registry.register("connections", "Connections of agents", self.connections.clone());
        registry.register("polls", "Polls that wait", self.polls.clone());
        registry.register("enrolled", "Machines enrolled", self.enrolled.clone());
        registry.register(
            "heartbeats",
            "Reports that only confirmed the one on record",
            self.heartbeats.clone(),
        );
        registry.register("reports", "Reports written", self.reports.clone());
        registry.register("inventories", "Inventories written", self.inventories.clone());
        registry.register("proposals", "Proposals written", self.proposals.clone());
        registry.register("delivered", "Activities delivered for the first time", self.delivered.clone());
        registry.register("presence_writes", "Presence objects written", self.presence_writes.clone());
    }
}
