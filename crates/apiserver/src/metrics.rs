//! `/metrics`: how many requests of which kind, by whom, with what result; and how many objects and watches.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Distinct managers that are counted under their own names; names come from clients, so there must be a limit.
const MANAGERS: usize = 200;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    verb: String,
    resource: String,
    manager: String,
    code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ObjectLabels {
    resource: String,
}

/// The counters; shared by all requests.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    objects: Family<ObjectLabels, Gauge>,
    /// Open watches.
    pub watches: Gauge,
    managers: Mutex<HashSet<String>>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::<RequestLabels, Counter>::default();
        let objects = Family::<ObjectLabels, Gauge>::default();
        let watches = Gauge::default();
        // The library adds the suffix `_total`.
        registry.register("muster_api_requests", "Requests to the embedded API", requests.clone());
        registry.register("muster_api_objects", "Objects in the embedded API", objects.clone());
        registry.register("muster_api_watches", "Open watches on the embedded API", watches.clone());
        Self { registry, requests, objects, watches, managers: Mutex::default() }
    }

    pub(crate) fn count(&self, verb: &str, resource: &str, manager: &str, code: u16) {
        let manager = {
            let mut known = self.managers.lock().unwrap_or_else(PoisonError::into_inner);
            if known.contains(manager) {
                manager
            } else if known.len() < MANAGERS {
                known.insert(manager.to_owned());
                manager
            } else {
                "other"
            }
        };
        self.requests
            .get_or_create(&RequestLabels {
                verb: verb.to_owned(),
                resource: resource.to_owned(),
                manager: manager.to_owned(),
                code,
            })
            .inc();
    }

    pub(crate) fn text(&self, counts: &[(std::sync::Arc<str>, usize)]) -> String {
        for (resource, count) in counts {
            let labels = ObjectLabels { resource: resource.trim_start_matches('/').to_owned() };
            self.objects.get_or_create(&labels).set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a String cannot fail");
        text
    }
}
