//! The TLS door: an accept loop of our own, because a request's identity is its connection's client certificate.

use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::access::Identity;
use crate::api::ApiServer;

/// Open connections. Each costs some 50 KB; clients use few, and share them between requests.
const CONNECTIONS: usize = 4096;

/// How long a client may take to prove who it is.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a client may take to send a request's headers; it is also how long an idle HTTP/1.1 connection is kept.
const HEADERS: Duration = Duration::from_secs(90);

/// How often an HTTP/2 client is asked whether it is still there, and how long it may take to say so: a watcher that
/// vanished without a word must not keep its place.
const PING: Duration = Duration::from_secs(30);

/// How long answers that are under way may take when the server stops.
const FAREWELL: Duration = Duration::from_secs(5);

impl ApiServer {
    /// Serves over TLS until `shutdown`; a client certificate's common name is the user, its organizations the
    /// groups. Watches end at once, other answers get a few seconds.
    pub async fn serve(
        &self,
        listener: TcpListener,
        config: rustls::ServerConfig,
        shutdown: CancellationToken,
    ) {
        let mut config = config;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let graceful = Arc::new(GracefulShutdown::new());
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { break };
            let (stream, peer) = tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.inner.stop.cancelled() => break,
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of file descriptors, usually: others must end before more can begin.
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
            };
            let (server, acceptor, watcher) = (self.clone(), acceptor.clone(), graceful.watcher());
            tokio::spawn(async move {
                let _place = place;
                // Small answers must not wait for more to come; a failure costs only latency.
                let _ = stream.set_nodelay(true);
                let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else {
                    return;
                };
                let identity = identity(stream.get_ref().1.peer_certificates());
                let service = service_fn(move |mut request: http::Request<_>| {
                    // For the audit file.
                    request.extensions_mut().insert(peer.ip());
                    let (server, identity) = (server.clone(), identity.clone());
                    async move { Ok::<_, std::convert::Infallible>(server.handle(request, identity).await) }
                });
                let mut builder = auto::Builder::new(TokioExecutor::new());
                builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
                builder.http2().timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(PING);
                let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
                if let Err(error) = watcher.watch(connection).await {
                    tracing::debug!(%error, "a connection ended badly");
                }
            });
        }
        drop(listener);
        self.inner.stop.cancel();
        if let Some(graceful) = Arc::into_inner(graceful) {
            // Whoever is not done by then is cut off.
            let _ = tokio::time::timeout(FAREWELL, graceful.shutdown()).await;
        }
    }
}

/// Who a verified certificate says its holder is; nobody in particular without one.
fn identity(certificates: Option<&[CertificateDer<'_>]>) -> Identity {
    let read = || {
        let certificate = certificates?.first()?;
        let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let subject = certificate.subject();
        let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let groups: Vec<&str> = subject.iter_organization().filter_map(|group| group.as_str().ok()).collect();
        Some(Identity::new(&user, &groups))
    };
    read().unwrap_or_else(Identity::anonymous)
}
