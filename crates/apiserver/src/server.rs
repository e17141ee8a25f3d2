//! The one way in: every request is understood, authorized, dispatched, counted and audited here.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::access::{self, Action, Identity};
use crate::api::Clock;
use crate::audit::{Audit, Record};
use crate::media::{self, Form};
use crate::metrics::Metrics;
use crate::object::{Draft, Stored, key_of};
use crate::query::Query;
use crate::registry::{DEFINITIONS, Nature, Registry, Resource, Version};
use crate::reply::{Body, Reply};
use crate::route::{self, Route, Target};
use crate::scale::{SCALE, Scale};
use crate::status::Fault;
use crate::store::{OpenError, Proposal, Refusal, Store};
use crate::{backup, definition, discovery, health, names, openapi, read, remove, reviews, watch, write};

pub(crate) struct Inner {
    pub store: Store,
    /// Of the store; none if it is in memory only.
    pub path: Option<PathBuf>,
    pub registry: Arc<Registry>,
    /// Names of the definitions that this process works with.
    pub own: Mutex<BTreeSet<String>>,
    pub audit: Audit,
    pub metrics: Metrics,
    pub clock: Clock,
    pub body_time: Duration,
    pub stop: CancellationToken,
}

/// One request for a resource, with everything that the verbs need to know about it.
pub(crate) struct Ask<'a> {
    pub inner: &'a Arc<Inner>,
    pub parts: &'a Parts,
    pub query: &'a Query,
    pub target: &'a Target,
    pub resource: Arc<Resource>,
    pub form: Form,
    pub body: Bytes,
    pub manager: &'a str,
    /// Who asks.
    pub identity: &'a Identity,
}

impl Ask<'_> {
    /// The version of the resource that the path names.
    pub(crate) fn version(&self) -> &Version {
        self.resource.version(&self.target.version).expect("an Ask is made only for a version that is served")
    }

    /// The scale, if that is what the path names and the version has one.
    pub(crate) fn scale(&self) -> Option<&Scale> {
        self.version().scale.as_ref().filter(|_| self.target.subresource == SCALE)
    }

    /// Refuses whoever may not do that to the same target: what a write turns out to be is asked of it as well.
    pub(crate) fn authorize(&self, verb: &str) -> Result<(), Fault> {
        authorize(self.target, verb, self.identity)
    }

    pub(crate) fn api_version(&self) -> String {
        self.resource.api_version(&self.target.version)
    }

    pub(crate) fn key(&self) -> Box<str> {
        key_of(&self.target.namespace, &self.target.name)
    }

    pub(crate) fn media(&self) -> String {
        media::content_type(&self.parts.headers)
    }

    pub(crate) fn fault(&self, causes: Vec<muster_schema::Cause>, name: &str) -> Fault {
        // Events of both groups are checked as core events.
        let group = if self.resource.nature == Nature::Event { "" } else { &*self.resource.group };
        Fault::invalid(group, &self.resource.kind, name, causes)
    }
}

impl Inner {
    /// Does this process work with that definition?
    pub(crate) fn is_own(&self, definition: &str) -> bool {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).contains(definition)
    }

    pub(crate) fn load_definitions(&self) -> Result<(), OpenError> {
        let page = self.store.list(DEFINITIONS, "", "", None, usize::MAX, &|_| true);
        for stored in page.map(|page| page.items).unwrap_or_default() {
            let value = stored.value();
            let resource = definition::compile(&value).map_err(|causes| OpenError::Definition {
                name: stored.meta.name.to_string(),
                message: causes
                    .iter()
                    .map(|c| format!("{}: {}", c.field, c.message))
                    .collect::<Vec<_>>()
                    .join("; "),
            })?;
            if definition::is_established(&value) {
                self.registry.insert(resource.into());
            }
        }
        Ok(())
    }

    pub(crate) async fn answer(
        self: &Arc<Self>,
        parts: Parts,
        body: Result<Bytes, Fault>,
        identity: Identity,
    ) -> Response<Body> {
        let received = self.clock.now();
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let route = route::parse(parts.uri.path());
        let verb = match &route {
            Route::Plain(_) => parts.method.as_str().to_ascii_lowercase(),
            Route::Resource(target) => route::verb(&parts.method, target, &query).to_owned(),
        };
        let user_agent =
            parts.headers.get("user-agent").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let by_agent = user_agent.split('/').next().filter(|name| !name.is_empty()).unwrap_or("unknown");
        let mut record = Record {
            id: names::unique(),
            verb,
            uri: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            peer: parts.extensions.get::<IpAddr>().copied(),
            identity,
            acting: None,
            user_agent: user_agent.to_owned(),
            route,
            received,
        };
        let result = match body {
            Err(fault) => Err(fault),
            Ok(body) => match access::identify(&parts.headers, &record.identity) {
                Err(fault) => Err(fault),
                Ok(acting) => {
                    record.acting = acting;
                    let identity = record.acting.as_ref().unwrap_or(&record.identity);
                    let verb = &record.verb;
                    match &record.route {
                        Route::Plain(path) => self.plain(&parts, &query, path, verb, identity).await,
                        Route::Resource(target) => {
                            self.resource(&parts, &query, target, verb, body, identity, by_agent).await
                        }
                    }
                }
            },
        };
        let mut reply = result.unwrap_or_else(Reply::from);
        let resource = match &record.route {
            Route::Plain(_) => "",
            Route::Resource(target) => &target.resource,
        };
        // Clients in this process send no user agent; their identity says as much.
        let by_identity = if user_agent.is_empty() { &*record.identity.user } else { by_agent };
        let manager = query.get("fieldManager").unwrap_or(by_identity);
        self.metrics.count(&record.verb, resource, manager, reply.code);
        let id = record.id.clone();
        if record.verb == "watch" && reply.code == 200 {
            reply.body = watch::with_end(reply.body, self.clone(), record);
        } else {
            self.audit.write(&record, reply.code, &reply.name, self.clock.now()).await;
        }
        reply.into_response(&id)
    }

    async fn plain(
        self: &Arc<Self>,
        parts: &Parts,
        query: &Query,
        path: &str,
        verb: &str,
        identity: &Identity,
    ) -> Result<Reply, Fault> {
        if !access::permits_path(identity, verb, path) {
            let message = format!("forbidden: User \"{}\" cannot {verb} path \"{path}\"", identity.user);
            let mut fault = Fault::new(403, "Forbidden", message);
            fault.details = Some(json!({}));
            return Err(fault);
        }
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return Err(Fault::method_not_allowed());
        }
        match path {
            "/version" => Ok(Reply::json(200, &discovery::version())),
            "/backup" => backup::answer(self.clone()).await,
            "/metrics" => {
                let text = self.metrics.text(&self.store.counts());
                Ok(Reply::bytes(200, "application/openmetrics-text; version=1.0.0; charset=utf-8", text))
            }
            _ if let Some(text) = health::text(path, query.flag("verbose")) => Ok(Reply::text(200, text)),
            "/openapi/v2" => Ok(openapi::version_two(&parts.headers)),
            _ if path == "/openapi/v3" || path.starts_with("/openapi/v3/") => {
                openapi::answer(&self.registry, path)
            }
            // What is not served is not found, whatever the client would take.
            _ => match media::negotiate(&parts.headers) {
                Ok(form) => discovery::answer(&self.registry, path, form),
                Err(fault) => discovery::answer(&self.registry, path, Form::Json).and(Err(fault)),
            },
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one caller; a struct for it would be this list again")]
    async fn resource(
        self: &Arc<Self>,
        parts: &Parts,
        query: &Query,
        target: &Target,
        verb: &str,
        body: Bytes,
        identity: &Identity,
        manager: &str,
    ) -> Result<Reply, Fault> {
        authorize(target, verb, identity)?;
        let resource = self.registry.get(&target.group, &target.resource);
        let served =
            resource.as_ref().and_then(|resource| resource.version(&target.version)).filter(|v| v.served);
        let (Some(resource), Some(version)) = (&resource, served) else {
            let known =
                self.registry.group_versions().contains_key(&(target.group.clone(), target.version.clone()));
            return Err(if known { Fault::no_resource() } else { Fault::no_page() });
        };
        if !resource.namespaced && !target.namespace.is_empty() {
            return Err(Fault::no_resource());
        }
        let form = media::negotiate(&parts.headers).map_err(|fault| match resource.nature {
            Nature::Custom => fault,
            _ => Fault::no_representation(),
        })?;
        let resource = resource.clone();
        let ask = Ask { inner: self, parts, query, target, resource, form, body, manager, identity };
        let mut reply = ask.answer(verb).await.unwrap_or_else(Reply::from);
        reply.warnings.splice(0..0, version.deprecated.clone());
        Ok(reply)
    }

    /// Changes an object outside any request (the collector), however often others get in between.
    /// `change` says what to put; `None`: nothing to do.
    pub(crate) async fn edit(
        &self,
        resource: &Resource,
        key: &str,
        change: impl Fn(&mut Value) -> bool,
    ) -> Result<(), Refusal> {
        loop {
            let Some(live) = self.store.get(&resource.shelf, key) else { return Ok(()) };
            let mut value = live.value();
            if !change(&mut value) {
                return Ok(());
            }
            let gone = crate::admit::is_finished(resource, &value);
            match self.propose(resource, key, Some(&live), value, gone, None).await {
                Err(Refusal::Stale) => {}
                Ok(_) => return Ok(()),
                Err(refusal) => return Err(refusal),
            }
        }
    }

    /// Proposes a stored-form object in place of `live`.
    pub(crate) async fn propose(
        &self,
        resource: &Resource,
        key: &str,
        live: Option<&Stored>,
        value: Value,
        gone: bool,
        compiled: Option<Arc<Resource>>,
    ) -> Result<Arc<Stored>, Refusal> {
        let on_publish: Option<Box<dyn FnOnce() + Send>> = match resource.nature {
            Nature::Definition => {
                let registry = self.registry.clone();
                let names = &value["spec"]["names"]["plural"];
                let (group, plural) = (
                    value["spec"]["group"].as_str().unwrap_or_default().to_owned(),
                    names.as_str().unwrap_or_default().to_owned(),
                );
                let in_force = definition::is_established(&value);
                Some(Box::new(move || match compiled {
                    _ if gone => registry.remove(&group, &plural),
                    Some(compiled) if in_force => registry.insert(compiled),
                    Some(_) | None => {}
                }))
            }
            _ => None,
        };
        self.store
            .propose(Proposal {
                place: (resource.shelf.clone(), key.into()),
                expect: live.map(|live| live.meta.version),
                draft: Draft::new(value, &resource.fields),
                gone,
                on_publish,
            })
            .await
    }
}

/// May the identity do that to the target?
fn authorize(target: &Target, verb: &str, identity: &Identity) -> Result<(), Fault> {
    let Target { group, resource, namespace, name, subresource, .. } = target;
    let full = if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") };
    if access::permits(identity, &Action { verb, group, resource: &full }) {
        return Ok(());
    }
    // A namespace is in itself.
    let place = if resource == "namespaces" && group.is_empty() { name } else { namespace };
    Err(Fault::denied(&identity.user, verb, &full, (group, resource, place, name)))
}

impl Ask<'_> {
    async fn answer(&self, verb: &str) -> Result<Reply, Fault> {
        if self.resource.nature == Nature::Review {
            return match verb {
                "create" if self.target.name.is_empty() => reviews::answer(self),
                _ if !self.target.name.is_empty() => Err(Fault::no_resource()),
                _ => Err(Fault::method_not_allowed()),
            };
        }
        match &*self.target.subresource {
            "" => {}
            "status" if self.version().status => {
                return match verb {
                    "get" => read::get(self),
                    "update" => write::replace(self).await,
                    "patch" => write::patch(self).await,
                    _ => Err(Fault::method_not_allowed()),
                };
            }
            SCALE if let Some(scale) = &self.version().scale => {
                return match verb {
                    "get" => read::get(self),
                    "update" | "patch" => write::scale(self, scale).await,
                    _ => Err(Fault::method_not_allowed()),
                };
            }
            "finalize" if self.resource.nature == Nature::Namespace && verb == "update" => {
                return write::replace(self).await;
            }
            _ if self.resource.nature == Nature::Custom => {
                return Err(Fault::not_found(&self.resource, &self.target.name));
            }
            _ => return Err(Fault::no_resource()),
        }
        // One object's verbs need its namespace; so does creating.
        let nowhere = self.resource.namespaced && self.target.namespace.is_empty();
        if nowhere && (!self.target.name.is_empty() || matches!(verb, "create" | "deletecollection")) {
            return Err(Fault::no_page());
        }
        match verb {
            "get" => read::get(self),
            "list" => read::list(self),
            "watch" => watch::start(self),
            // Custom kinds take it at an object's own address too, as the real server does.
            "create" if self.target.name.is_empty() || self.resource.nature == Nature::Custom => {
                write::create(self).await
            }
            "update" if !self.target.name.is_empty() => write::replace(self).await,
            "patch" if !self.target.name.is_empty() => write::patch(self).await,
            "delete" => remove::one(self).await,
            "deletecollection" if self.resource.nature != Nature::Namespace => remove::all(self).await,
            _ => Err(Fault::method_not_allowed()),
        }
    }
}
