//! The audit file: one `audit.k8s.io/v1` event per finished request, one per line, written by a thread of its own.

use std::io::{BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::access::Identity;
use crate::route::Target;
use crate::store::OpenError;

/// Lines that may wait for the disk. More make requests wait: an audit file with gaps proves nothing.
const QUEUE: usize = 16_384;

/// How long the writing thread lets lines gather. To wake it for each line cost more than the line; a reader of the
/// file does not notice.
const GATHER: Duration = Duration::from_millis(5);

/// What the audit file says of one request.
#[derive(Debug)]
pub(crate) struct Record {
    pub id: String,
    pub verb: String,
    pub uri: String,
    /// The other end of the connection; none for clients in this process.
    pub peer: Option<IpAddr>,
    pub identity: Identity,
    /// Whom they impersonate, if anybody.
    pub acting: Option<Identity>,
    pub user_agent: String,
    pub target: Option<Target>,
    pub received: Timestamp,
}

/// Where records go.
pub(crate) struct Audit {
    lines: Mutex<Option<mpsc::Sender<Vec<u8>>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Audit {
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, OpenError> {
        let Some(path) = path else { return Ok(Self { lines: Mutex::new(None), thread: Mutex::new(None) }) };
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|source| OpenError::Audit { path: path.display().to_string(), source })?;
        let (lines, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("api-audit".into())
            .spawn(move || write_lines(BufWriter::new(file), queue))
            .expect("a thread can be started when the server opens");
        Ok(Self { lines: Mutex::new(Some(lines)), thread: Mutex::new(Some(thread)) })
    }

    fn sender(&self) -> Option<mpsc::Sender<Vec<u8>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Hands over a line; waits if the disk is far behind.
    pub(crate) async fn write(&self, record: &Record, code: u16, name: &str, now: Timestamp) {
        if let Some(sender) = self.sender() {
            // The receiver ends only with the server.
            let _ = sender.send(line(record, code, name, now)).await;
        }
    }

    /// The same from where nothing can wait: the end of a watch.
    pub(crate) fn write_now(&self, record: &Record, code: u16, now: Timestamp) {
        if let Some(sender) = self.sender()
            && sender.try_send(line(record, code, "", now)).is_err()
        {
            tracing::warn!(uri = record.uri, "the audit file is behind; the end of a watch is not in it");
        }
    }

    pub(crate) fn close(&self) {
        drop(self.lines.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            thread.thread().unpark();
            // A writer that panicked has said so; there is nothing left to wait for.
            let _ = thread.join();
        }
    }
}

fn write_lines(mut file: BufWriter<std::fs::File>, mut queue: mpsc::Receiver<Vec<u8>>) {
    let mut batch = Vec::new();
    while queue.blocking_recv_many(&mut batch, QUEUE) > 0 {
        let written = batch.drain(..).try_for_each(|line| file.write_all(&line)).and_then(|()| file.flush());
        if let Err(error) = written {
            tracing::error!(%error, "the audit file cannot be written");
        }
        // Unless the file is to be closed.
        std::thread::park_timeout(GATHER);
    }
}

/// RFC 3339 with microseconds.
pub(crate) fn micro(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// One event, as `audit.k8s.io/v1` has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    kind: &'a str,
    api_version: &'a str,
    level: &'a str,
    #[serde(rename = "auditID")]
    audit_id: &'a str,
    stage: &'a str,
    #[serde(rename = "requestURI")]
    request_uri: &'a str,
    verb: &'a str,
    user: User<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonated_user: Option<User<'a>>,
    #[serde(rename = "sourceIPs")]
    source_ips: [IpAddr; 1],
    user_agent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_ref: Option<Reference<'a>>,
    response_status: Outcome,
    request_received_timestamp: String,
    stage_timestamp: String,
}

#[derive(Serialize)]
struct User<'a> {
    username: &'a str,
    groups: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference<'a> {
    resource: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    api_group: &'a str,
    api_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    subresource: &'a str,
}

#[derive(Serialize)]
struct Outcome {
    metadata: Empty,
    code: u16,
}

#[derive(Serialize)]
struct Empty {}

fn line(record: &Record, code: u16, name: &str, now: Timestamp) -> Vec<u8> {
    fn user(identity: &Identity) -> User<'_> {
        User { username: &identity.user, groups: &identity.groups }
    }
    let Record { id, verb, uri, peer, identity, acting, user_agent, target, received } = record;
    let event = Event {
        kind: "Event",
        api_version: "audit.k8s.io/v1",
        level: "Metadata",
        audit_id: id,
        stage: "ResponseComplete",
        request_uri: uri,
        verb,
        user: user(identity),
        impersonated_user: acting.as_ref().map(user),
        source_ips: [peer.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))],
        user_agent,
        object_ref: target.as_ref().map(|target| {
            let Target { group, version, resource, namespace, name: asked, subresource, watch: _ } = target;
            let name = if asked.is_empty() { name } else { asked };
            Reference { resource, namespace, name, api_group: group, api_version: version, subresource }
        }),
        response_status: Outcome { metadata: Empty {}, code },
        request_received_timestamp: micro(*received),
        stage_timestamp: micro(now),
    };
    let mut line = Vec::with_capacity(1024);
    serde_json::to_writer(&mut line, &event).expect("texts and numbers can be written as JSON");
    line.push(b'\n');
    line
}
