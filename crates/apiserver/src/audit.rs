//! The audit file: one `audit.k8s.io/v1` event per finished request, one per line, written by a thread of its own.

use std::fmt::{self, Write as _};
use std::io::{BufWriter, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::access::Identity;
use crate::json;
use crate::route::{Route, Target};
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
    pub route: Route,
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

fn line(record: &Record, code: u16, name: &str, now: Timestamp) -> Vec<u8> {
    let mut line = String::with_capacity(1024);
    event(&mut line, record, code, name, now).expect("a string takes whatever is written");
    line.into_bytes()
}

/// One event, as `audit.k8s.io/v1` has it. Written by hand: every request pays for it.
fn event(line: &mut String, record: &Record, code: u16, name: &str, now: Timestamp) -> fmt::Result {
    let Record { id, verb, uri, peer, identity, acting, user_agent, route, received } = record;
    line.push_str(
        r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","stage":"ResponseComplete""#,
    );
    for (key, value) in [("auditID", id), ("requestURI", uri), ("verb", verb), ("userAgent", user_agent)] {
        member(line, key, value);
    }
    user(line, "user", identity);
    if let Some(acting) = acting {
        user(line, "impersonatedUser", acting);
    }
    let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    write!(line, r#","sourceIPs":["{peer}"],"responseStatus":{{"metadata":{{}},"code":{code}}}"#)?;
    if let Route::Resource(target) = route {
        let Target { group, version, resource, namespace, name: asked, subresource, watch: _ } = target;
        line.push_str(r#","objectRef":{"resource":"#);
        json::write_text(line, resource);
        let name = if asked.is_empty() { name } else { asked };
        for (key, value) in [
            ("namespace", &**namespace),
            ("name", name),
            ("apiGroup", group),
            ("apiVersion", version),
            ("subresource", subresource),
        ] {
            if !value.is_empty() {
                member(line, key, value);
            }
        }
        line.push('}');
    }
    writeln!(line, r#","requestReceivedTimestamp":"{received:.6}","stageTimestamp":"{now:.6}"}}"#)
}

/// A key of ours, which has nothing to escape.
fn key(line: &mut String, key: &str) {
    line.push_str(",\"");
    line.push_str(key);
    line.push_str("\":");
}

fn member(line: &mut String, name: &str, value: &str) {
    key(line, name);
    json::write_text(line, value);
}

fn user(line: &mut String, name: &str, identity: &Identity) {
    let Identity { user, groups } = identity;
    key(line, name);
    line.push_str(r#"{"groups":["#);
    for (index, group) in groups.iter().enumerate() {
        if index > 0 {
            line.push(',');
        }
        json::write_text(line, group);
    }
    line.push(']');
    member(line, "username", user);
    line.push('}');
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn whatever_a_client_says_a_line_is_one_event() {
        let odd = "a\"b\\c\nd\u{7f}é";
        let record = Record {
            id: "1".to_owned(),
            verb: "update".to_owned(),
            uri: odd.to_owned(),
            peer: Some([192, 0, 2, 7].into()),
            identity: Identity::new(odd, &["one", odd]),
            acting: Some(Identity::new("ann", &[])),
            user_agent: odd.to_owned(),
            route: Route::Resource(Target {
                group: "muster.dev".to_owned(),
                version: "v1alpha1".to_owned(),
                resource: "things".to_owned(),
                namespace: "default".to_owned(),
                name: odd.to_owned(),
                subresource: "status".to_owned(),
                watch: false,
            }),
            received: Timestamp::UNIX_EPOCH,
        };
        let line = String::from_utf8(line(&record, 201, "", Timestamp::UNIX_EPOCH)).unwrap();
        assert_eq!(line.lines().count(), 1);
        let event: Value = serde_json::from_str(&line).unwrap();
        let expected = serde_json::json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": "1",
            "stage": "ResponseComplete", "requestURI": odd, "verb": "update",
            "user": {"username": odd, "groups": ["one", odd, "system:authenticated"]}, "impersonatedUser": {"username": "ann", "groups": ["system:authenticated"]},
            "sourceIPs": ["192.0.2.7"], "userAgent": odd,
            "objectRef": {"resource": "things", "apiVersion": "v1alpha1", "namespace": "default", "name": odd,
                "apiGroup": "muster.dev", "subresource": "status"},
            "responseStatus": {"metadata": {}, "code": 201},
            "requestReceivedTimestamp": "1970-01-01T00:00:00.000000Z", "stageTimestamp": "1970-01-01T00:00:00.000000Z",
        });
        assert_eq!(event, expected);
    }
}
