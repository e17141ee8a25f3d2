//! The public face: how a server is opened, given definitions, asked, and closed.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http::{Method, Request, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::access::Identity;
use crate::audit::Audit;
use crate::metrics::Metrics;
use crate::registry::{DEFINITIONS, NAMESPACES, Registry};
use crate::reply::{Body, Reply};
use crate::server::Inner;
use crate::status::Fault;
use crate::store::{OpenError, Store};
use crate::{backup, builtin, collector, definition, media};

/// The server's clock; tests bring their own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    /// Any function.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The instant.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// How to open a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// The store; `None` keeps everything in memory only, for tests.
    pub path: Option<PathBuf>,
    /// The audit file; `None` writes none.
    pub audit: Option<PathBuf>,
    /// For timestamps of objects, ages and the audit file.
    pub clock: Clock,
    /// How long a request's body may take. It is a few KiB; whoever takes longer gives its place to others.
    pub body_time: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { path: None, audit: None, clock: Clock::system(), body_time: Duration::from_secs(60) }
    }
}

/// The embedded API server; clones share it.
#[derive(Clone)]
pub struct ApiServer {
    pub(crate) inner: Arc<Inner>,
}

impl ApiServer {
    /// Opens the store, reads it, starts the writer and the collector. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// When a file cannot be opened or read.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        let Config { path, audit, clock, body_time } = config;
        let audit = Audit::open(audit.as_deref())?;
        let (store, notices) = Store::open(path.as_deref())?;
        let registry = Arc::new(Registry::new(builtin::resources()));
        let inner = Arc::new(Inner {
            store,
            path,
            registry,
            own: Mutex::default(),
            audit,
            metrics: Metrics::new(),
            clock,
            body_time,
            stop: CancellationToken::new(),
        });
        inner.load_definitions()?;
        let server = Self { inner };
        for name in builtin::STANDARD_NAMESPACES {
            if server.inner.store.get(NAMESPACES, name).is_none() {
                server
                    .install(
                        "/api/v1/namespaces",
                        name,
                        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
                    )
                    .await?;
            }
        }
        // A crash may have come between a definition and its judgement.
        if let Some(definitions) = server.inner.registry.by_shelf(DEFINITIONS) {
            for key in server.inner.store.keys(DEFINITIONS) {
                definition::establish(&server.inner, &definitions, &key).await.map_err(|refusal| {
                    OpenError::Definition { name: key.to_string(), message: format!("{refusal:?}") }
                })?;
            }
        }
        tokio::spawn(collector::run(Arc::downgrade(&server.inner), notices, server.inner.stop.clone()));
        Ok(server)
    }

    /// Installs or updates the CustomResourceDefinitions that this process works with; they are served when this returns,
    /// and as long as the server runs nobody can delete them.
    ///
    /// # Errors
    ///
    /// When one of them is refused; those before it are installed.
    pub async fn apply_crds(&self, definitions: &[Value]) -> Result<(), OpenError> {
        const PATH: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        for definition in definitions {
            let name = definition["metadata"]["name"].as_str().unwrap_or_default();
            match self.inner.store.get(DEFINITIONS, name) {
                None => self.install(PATH, name, definition).await?,
                Some(live) => {
                    let mut wanted = definition.clone();
                    wanted["metadata"]["resourceVersion"] = live.meta.version.to_string().into();
                    self.send(Method::PUT, &format!("{PATH}/{name}"), name, &wanted).await?;
                }
            }
            self.inner.own.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        }
        Ok(())
    }

    async fn install(&self, path: &str, name: &str, object: &Value) -> Result<(), OpenError> {
        self.send(Method::POST, path, name, object).await
    }

    async fn send(&self, method: Method, path: &str, name: &str, object: &Value) -> Result<(), OpenError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{path}?fieldManager=muster-apiserver"))
            .header("content-type", "application/json")
            .body(http_body_util::Full::new(Bytes::from(object.to_string())))
            .expect("the parts of this request are constants and names that the server accepts");
        let response = self.handle(request, Identity::admin("system:apiserver")).await;
        if response.status().is_success() {
            return Ok(());
        }
        let body = media::collect(response.into_body()).await.unwrap_or_default();
        let status: Value = serde_json::from_slice(&body).unwrap_or_default();
        let message = status["message"].as_str().unwrap_or_default().to_owned();
        Err(OpenError::Definition { name: name.to_owned(), message })
    }

    /// A service for clients in this process, all of whose requests are this identity's:
    /// `kube::Client::new(server.service(identity), "default")`.
    pub fn service(&self, identity: Identity) -> Service {
        Service { server: self.clone(), identity }
    }

    /// The text of `/metrics`.
    pub fn metrics(&self) -> String {
        self.inner.metrics.text(&self.inner.store.counts())
    }

    /// Writes a copy of the store, as of one moment, to a new file beside it, while the server goes on: a backup that
    /// a server can be opened with. (`kubectl get --raw /backup > api.db` is the same from outside.)
    ///
    /// # Errors
    ///
    /// When the file exists, or cannot be written; then there is none.
    pub async fn backup(&self, path: PathBuf) -> Result<(), OpenError> {
        let inner = self.inner.clone();
        let copy = tokio::task::spawn_blocking(move || backup::write(&inner, &path));
        copy.await.unwrap_or_else(|_| Err(OpenError::Backup { why: "the copy was interrupted".to_owned() }))
    }

    /// The newest resourceVersion.
    pub fn resource_version(&self) -> u64 {
        self.inner.store.version()
    }

    /// Ends watches, takes no more writes, commits what waits, closes the files.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        let inner = self.inner.clone();
        let closed = tokio::task::spawn_blocking(move || {
            inner.store.close();
            inner.audit.close();
        });
        // A panic in there has been reported; there is nothing more to close.
        let _ = closed.await;
    }

    /// Answers one request of that identity: the only way in. If the request carries an [`std::net::IpAddr`] as an
    /// extension, that is where the audit file says it came from.
    pub async fn handle<B>(&self, request: Request<B>, identity: Identity) -> Response<Body>
    where
        B: hyper::body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let body = match tokio::time::timeout(self.inner.body_time, media::collect(body)).await {
            Ok(body) => body,
            Err(_) => Err(Fault::timeout("the request's body did not arrive in time")),
        };
        let inner = self.inner.clone();
        if matches!(parts.method, Method::GET | Method::HEAD) {
            return inner.answer(parts, body, identity).await;
        }
        let answer = Unstoppable(Some(Box::pin(async move { inner.answer(parts, body, identity).await })));
        let answer = AssertUnwindSafe(answer).catch_unwind();
        answer.await.unwrap_or_else(|_| {
            Reply::from(Fault::internal("the request could not be finished")).into_response("")
        })
    }
}

/// A write that has begun ends, and is audited, even if the client goes away: what is left of it then goes on as a task
/// of its own. (To make each write one from the start cost a tenth of its processor time.)
struct Unstoppable<F>(Option<Pin<Box<F>>>)
where
    F: Future<Output = Response<Body>> + Send + 'static;

impl<F> Future for Unstoppable<F>
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    type Output = Response<Body>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // What panics is gone; what waits is put back.
        let mut rest = self.0.take().expect("nobody polls a future that has ended");
        let answer = rest.as_mut().poll(context);
        if answer.is_pending() {
            self.0 = Some(rest);
        }
        answer
    }
}

impl<F> Drop for Unstoppable<F>
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    fn drop(&mut self) {
        // Without a runtime the process is ending, and what is acknowledged is on disk.
        if let (Some(rest), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(rest);
        }
    }
}

/// A server with an identity: a tower service.
#[derive(Clone)]
pub struct Service {
    server: ApiServer,
    identity: Identity,
}

impl<B> tower::Service<Request<B>> for Service
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Self { server, identity } = self.clone();
        Box::pin(async move { Ok(server.handle(request, identity).await) })
    }
}
