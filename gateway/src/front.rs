//! The protocol of [`muster_wire`] before the core: connections, certificates, paths, bodies, answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use muster_model::{ActivityName, Digest};
use muster_wire::{BODY_LIMIT, INVENTORY_LIMIT, Reason, pki};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::fleet::{Fleet, Record};
use crate::gateway::Core;
use crate::metrics::RequestLabels;
use crate::refusal::Refusal;
use crate::tls;

/// Connections at once: two for each of 30,000 machines, of some 40 KiB each. Above that agents wait to be accepted.
const CONNECTIONS: usize = 60_000;

/// How long a handshake may take, the head of a request (also between two requests), and its body.
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEAD: Duration = Duration::from_secs(180);
const BODY: Duration = Duration::from_secs(30);

/// The largest head of a request; hyper's least.
const HEAD_LIMIT: usize = 8 * 1024;

/// Who is at the other end of a connection.
struct Peer {
    /// From its certificate, which TLS has verified; absent: it showed none, to enrol.
    identity: Option<String>,
    /// When that certificate ends, in time since 1970.
    not_after: Duration,
}

/// Accepts connections until the gateway stops.
pub(crate) async fn serve(core: Arc<Core>, listener: TcpListener, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, place)) = accepted else { continue };
        let (core, stop) = (core.clone(), stop.clone());
        connections.spawn(async move {
            core.metrics.connections.inc();
            connection(&core, stream, stop).await;
            core.metrics.connections.dec();
            drop(place);
        });
    }
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(Duration::from_secs(3), ended).await.is_err() {
        tracing::warn!("agents' requests did not end in time and are cut");
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            // Usually: out of file descriptors. Closing connections give some back.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(200)).await;
            None
        }
    }
}

async fn connection(core: &Arc<Core>, stream: TcpStream, stop: CancellationToken) {
    let acceptor = TlsAcceptor::from(core.issuer.tls());
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else {
        tracing::debug!("a handshake failed");
        return;
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let peer = Arc::new(Peer {
        identity: certificate.and_then(|certificate| pki::identity_of(certificate).ok()),
        not_after: certificate.and_then(tls::not_after).unwrap_or_default(),
    });
    let service = service_fn(|request| {
        let (core, peer) = (core.clone(), peer.clone());
        async move { Ok::<_, std::convert::Infallible>(answer(&core, &peer, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended");
            }
        }
        () = stop.cancelled() => {
            // A poll that waits would hold it up: agents come back to the next gateway.
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(Duration::from_secs(1), connection).await;
        }
    }
}

async fn answer(core: &Core, peer: &Peer, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let (endpoint, answer) = match (request.method(), parts.as_slice()) {
        (&Method::POST, ["v1", "enroll"]) => ("enroll", enroll(core, request).await),
        (&Method::POST, ["v1", "renew"]) => ("renew", renew(core, peer, request).await),
        (&Method::POST, ["v1", "report"]) => ("report", report(core, peer, request).await),
        (&Method::PUT, ["v1", "inventories", digest]) => {
            ("inventories", inventory(core, peer, digest, request).await)
        }
        (&Method::POST, ["v1", "poll"]) => ("poll", poll(core, peer, request).await),
        (&Method::POST, ["v1", "proposals"]) => ("proposals", propose(core, peer, request).await),
        (&Method::POST, ["v1", "activities", name, "progress"]) => {
            ("progress", progress(core, peer, name, request).await)
        }
        (&Method::POST, ["v1", "activities", name, "may-start"]) => {
            ("may-start", may_start(core, peer, name, request).await)
        }
        _ => ("none", Err(Refusal::bad_request("there is no such endpoint"))),
    };
    let response = answer.unwrap_or_else(|refusal| json(refusal.reason.status(), &refusal.body()));
    core.metrics.requests.get_or_create(&RequestLabels { endpoint, code: response.status().as_u16() }).inc();
    response
}

type Answer = Result<Response<Full<Bytes>>, Refusal>;

async fn enroll(core: &Core, request: Request<Incoming>) -> Answer {
    let request = read(request).await?;
    let _permit = core.permit().await?;
    Ok(json(StatusCode::OK, &core.enroll(request).await?))
}

async fn renew(core: &Core, peer: &Peer, request: Request<Incoming>) -> Answer {
    let (fleet, record) = machine(core, peer, false).await?;
    record.admit()?;
    let _permit = core.permit().await?;
    // A certificate is given by what is on record now, not by what was.
    core.fresh_machine(&fleet, &record).await?;
    Ok(json(StatusCode::OK, &core.renew(&fleet, &record, &read(request).await?)?))
}

async fn report(core: &Core, peer: &Peer, request: Request<Incoming>) -> Answer {
    let (fleet, record) = machine(core, peer, true).await?;
    let request = read(request).await?;
    let _permit = core.permit().await?;
    Ok(json(StatusCode::OK, &core.report(&fleet, &record, request).await?))
}

async fn inventory(core: &Core, peer: &Peer, digest: &str, request: Request<Incoming>) -> Answer {
    let (fleet, record) = machine(core, peer, true).await?;
    record.admit()?;
    let digest = Digest::parse(digest).map_err(|error| Refusal::bad_request(error.to_string()))?;
    let body = body(request, INVENTORY_LIMIT).await?;
    let _permit = core.permit().await?;
    core.put_inventory(&fleet, &record, &digest, &body).await?;
    Ok(empty())
}

async fn poll(core: &Core, peer: &Peer, request: Request<Incoming>) -> Answer {
    let (fleet, record) = machine(core, peer, true).await?;
    let request = read(request).await?;
    core.metrics.polls.inc();
    let answer = core.poll(&fleet, &record, &request).await;
    core.metrics.polls.dec();
    Ok(json(StatusCode::OK, &answer?))
}

async fn propose(core: &Core, peer: &Peer, request: Request<Incoming>) -> Answer {
    let (fleet, record) = machine(core, peer, true).await?;
    let request = read(request).await?;
    let _permit = core.permit().await?;
    core.propose(&fleet, &record, request).await?;
    Ok(empty())
}

async fn progress(core: &Core, peer: &Peer, name: &str, request: Request<Incoming>) -> Answer {
    let (fleet, record) = machine(core, peer, true).await?;
    let name = activity(name)?;
    let request = read(request).await?;
    let _permit = core.permit().await?;
    Ok(json(StatusCode::OK, &core.progress(&fleet, &record, &name, request).await?))
}

async fn may_start(core: &Core, peer: &Peer, name: &str, request: Request<Incoming>) -> Answer {
    let (fleet, record) = machine(core, peer, true).await?;
    let name = activity(name)?;
    let request = read(request).await?;
    let _permit = core.permit().await?;
    Ok(json(StatusCode::OK, &core.may_start(&fleet, &record, &name, &request).await?))
}

fn activity(name: &str) -> Result<ActivityName, Refusal> {
    ActivityName::parse(name).map_err(|error| Refusal::bad_request(error.to_string()))
}

/// The machine at the other end; `valid`: its certificate must not have expired.
async fn machine(core: &Core, peer: &Peer, valid: bool) -> Result<(Arc<Fleet>, Arc<Record>), Refusal> {
    let Some(identity) = &peer.identity else {
        return Err(Refusal::new(
            Reason::NotEnrolled,
            "this machine has no certificate of this fleet; enrol it",
        ));
    };
    let now = (core.clock)().as_second();
    if valid && u64::try_from(now).unwrap_or(0) > peer.not_after.as_secs() {
        return Err(Refusal::new(Reason::CertificateExpired, "the certificate has expired; renew it"));
    }
    core.find(identity).await
}

async fn body(request: Request<Incoming>, limit: usize) -> Result<Bytes, Refusal> {
    let body = Limited::new(request.into_body(), limit).collect();
    match tokio::time::timeout(BODY, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Refusal::new(Reason::TooLarge, format!("the body is larger than {limit} bytes")))
        }
        Ok(Err(_)) | Err(_) => Err(Refusal::bad_request("the body did not arrive")),
    }
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Refusal> {
    let body = body(request, BODY_LIMIT).await?;
    serde_json::from_slice(&body)
        .map_err(|error| Refusal::bad_request(format!("the body cannot be read: {error}")))
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(value).expect("messages are plain data, which JSON can always hold");
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

fn empty() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
