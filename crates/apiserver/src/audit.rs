//! The audit file: one `audit.k8s.io/v1` event per finished request, one per line, written by a thread of its own.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::access::Identity;
use crate::route::Target;
use crate::store::OpenError;

/// Lines that may wait for the disk. More make requests wait: an audit file with gaps proves nothing.
const QUEUE: usize = 16_384;

/// What the audit file says of one request.
#[derive(Debug)]
pub(crate) struct Record {
    pub id: String,
    pub verb: String,
    pub uri: String,
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
            // A writer that panicked has said so; there is nothing left to wait for.
            let _ = thread.join();
        }
    }
}

fn write_lines(mut file: BufWriter<std::fs::File>, mut queue: mpsc::Receiver<Vec<u8>>) {
    let mut batch = Vec::new();
    while queue.blocking_recv_many(&mut batch, 512) > 0 {
        let written = batch.drain(..).try_for_each(|line| file.write_all(&line)).and_then(|()| file.flush());
        if let Err(error) = written {
            tracing::error!(%error, "the audit file cannot be written");
        }
    }
}

/// RFC 3339 with microseconds.
pub(crate) fn micro(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

fn line(record: &Record, code: u16, name: &str, now: Timestamp) -> Vec<u8> {
    let Record { id, verb, uri, identity, acting, user_agent, target, received } = record;
    let mut event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": id,
        "stage": "ResponseComplete", "requestURI": uri, "verb": verb,
        "user": {"username": identity.user, "groups": identity.groups},
        "sourceIPs": ["127.0.0.1"], "userAgent": user_agent,
        "responseStatus": {"metadata": {}, "code": code},
        "requestReceivedTimestamp": micro(*received), "stageTimestamp": micro(now),
    });
    if let Some(acting) = acting {
        event["impersonatedUser"] = json!({"username": acting.user, "groups": acting.groups});
    }
    if let Some(target) = target {
        let Target { group, version, resource, namespace, name: asked, subresource, watch: _ } = target;
        let mut reference = json!({"resource": resource, "apiVersion": version});
        let mut put = |key: &str, value: &str| {
            if !value.is_empty() {
                reference[key] = Value::from(value);
            }
        };
        put("apiGroup", group);
        put("namespace", namespace);
        put("name", if asked.is_empty() { name } else { asked });
        put("subresource", subresource);
        event["objectRef"] = reference;
    }
    let mut line = event.to_string().into_bytes();
    line.push(b'\n');
    line
}
