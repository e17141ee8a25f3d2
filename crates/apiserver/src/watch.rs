//! Watching: a stream of what happens to a resource's objects.
//!
//! A watcher holds no queue: it keeps the version up to which it has told its client everything, and asks the ring
//! for what came after it whenever the client has room. So a slow client costs nothing and blocks nobody; one that
//! falls behind the ring is told 410 and starts over.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::audit::Record;
use crate::media::Form;
use crate::object::Stored;
use crate::query::ListOptions;
use crate::read;
use crate::registry::Resource;
use crate::reply::{Body, Reply};
use crate::selector::{FieldSelector, LabelSelector};
use crate::server::{Ask, Inner};
use crate::status::Fault;
use crate::store::{Event, Page};
use crate::table::{Printer, partial};

/// Events per chunk: enough to fill a packet many times over, small enough to be fair.
const CHUNK: usize = 128;

/// How often a quiet watch says where it is.
const BOOKMARK: Duration = Duration::from_secs(60);

/// Seconds after which a watch ends by itself if the client did not say; spread, so that not all come back at once.
const LIFE: std::ops::Range<u64> = 1800..3600;

struct Watch {
    inner: Arc<Inner>,
    resource: Arc<Resource>,
    version: String,
    prefix: String,
    labels: LabelSelector,
    fields: FieldSelector,
    form: Form,
    printer: Option<Printer>,
    first: bool,
    /// The client knows everything up to here.
    cursor: u64,
    head: tokio::sync::watch::Receiver<u64>,
    initial: VecDeque<Arc<Stored>>,
    /// Say when the initial objects are through?
    announce: bool,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    done: bool,
}

pub(crate) fn start(ask: &Ask<'_>) -> Result<Reply, Fault> {
    let mut options = ListOptions::parse(ask.query, true)?;
    options.fields = options.fields.resolve(&ask.resource).map_err(Fault::bad_request)?;
    if matches!(ask.form, Form::Yaml | Form::PartialList | Form::Aggregated(_)) {
        return Err(Fault::not_acceptable());
    }
    if !ask.target.name.is_empty() {
        let name = format!("metadata.name={}", ask.target.name);
        options.fields = FieldSelector::parse(&name).map_err(Fault::bad_request)?;
    }
    let printer = if ask.form == Form::Table { Some(read::printer(ask)?) } else { None };
    let (inner, shelf, prefix) = (ask.inner, &ask.resource.shelf, read::prefix(ask));
    // Subscribed before anything is read: nothing can happen unheard in between.
    let head = inner.store.subscribe(shelf);
    let wants_state =
        options.initial_events || options.version.unwrap_or(0) == 0 && !options.no_initial_events;
    let page = if wants_state {
        let keep = |object: &Stored| options.labels.matches(object) && options.fields.matches(object);
        inner.store.list(shelf, &prefix, "", None, usize::MAX, &keep)
    } else {
        let version = options.version.filter(|version| *version > 0).unwrap_or_else(|| inner.store.version());
        Ok(Page { version, items: vec![], next: None, remaining: 0 })
    };
    let Page { version: cursor, items, .. } =
        page.map_err(|_| Fault::internal("the present is always known"))?;
    let now = Instant::now();
    let life = options.timeout.unwrap_or_else(|| Duration::from_secs(rand::rng().random_range(LIFE)));
    let watch = Watch {
        inner: inner.clone(),
        resource: ask.resource.clone(),
        version: ask.target.version.clone(),
        prefix,
        labels: options.labels,
        fields: options.fields,
        form: ask.form,
        printer,
        first: true,
        cursor,
        head,
        initial: items.into(),
        announce: options.initial_events,
        bookmarks: options.bookmarks,
        next_bookmark: now + BOOKMARK,
        deadline: now + life,
        done: false,
    };
    let chunks = futures::stream::unfold(watch, |mut watch| async move {
        let chunk = watch.next().await?;
        Some((Ok(Frame::data(Bytes::from(chunk))), watch))
    });
    let mut reply = Reply::json(200, &Value::Null);
    reply.body = StreamBody::new(chunks).boxed_unsync();
    Ok(reply)
}

impl Watch {
    async fn next(&mut self) -> Option<Vec<u8>> {
        while !self.done {
            if !self.initial.is_empty() {
                let count = self.initial.len().min(CHUNK);
                let mut chunk = Vec::new();
                for object in self.initial.drain(..count).collect::<Vec<_>>() {
                    self.line(&mut chunk, "ADDED", &object, None);
                }
                return Some(chunk);
            }
            if std::mem::take(&mut self.announce) {
                return Some(self.bookmark(true));
            }
            self.head.borrow_and_update();
            match self.inner.store.since(&self.resource.shelf, self.cursor, CHUNK) {
                Err(expired) => return Some(self.expired(expired.oldest)),
                Ok((events, through)) => {
                    self.cursor = through;
                    let mut chunk = Vec::new();
                    for event in &events {
                        self.event(&mut chunk, event);
                    }
                    if !chunk.is_empty() {
                        return Some(chunk);
                    }
                    if events.len() == CHUNK {
                        continue;
                    }
                }
            }
            let stop = self.inner.stop.clone();
            tokio::select! {
                changed = self.head.changed() => self.done = changed.is_err(),
                () = stop.cancelled() => self.done = true,
                () = tokio::time::sleep_until(self.deadline) => {
                    self.done = true;
                    if self.bookmarks {
                        return Some(self.bookmark(false));
                    }
                }
                () = tokio::time::sleep_until(self.next_bookmark), if self.bookmarks => {
                    self.next_bookmark = Instant::now() + BOOKMARK;
                    return Some(self.bookmark(false));
                }
            }
        }
        None
    }

    fn event(&mut self, chunk: &mut Vec<u8>, event: &Event) {
        if !event.key.starts_with(&self.prefix) {
            return;
        }
        let matches = |object: &Stored| self.labels.matches(object) && self.fields.matches(object);
        let before = event.before.as_deref().is_some_and(matches);
        let after = !event.removed && matches(&event.object);
        match (before, after) {
            (false, false) => {}
            (false, true) => self.line(chunk, "ADDED", &event.object, None),
            (true, true) => self.line(chunk, "MODIFIED", &event.object, None),
            (true, false) if event.removed => self.line(chunk, "DELETED", &event.object, None),
            // It left the selection: shown as it was, at the version at which it left.
            (true, false) => {
                if let Some(before) = &event.before {
                    self.line(chunk, "DELETED", before, Some(event.version));
                }
            }
        }
    }

    fn line(&mut self, chunk: &mut Vec<u8>, kind: &str, object: &Stored, version: Option<u64>) {
        chunk.extend_from_slice(format!("{{\"type\":\"{kind}\",\"object\":").as_bytes());
        if self.form == Form::Json
            && version.is_none()
            && read::is_stored_form(&self.resource, &self.version, object)
        {
            chunk.extend_from_slice(&object.body);
        } else {
            let mut value = object.value();
            if let Some(version) = version {
                value["metadata"]["resourceVersion"] = version.to_string().into();
            }
            let shown = self.shown(value);
            chunk.extend_from_slice(shown.to_string().as_bytes());
        }
        chunk.extend_from_slice(b"}\n");
    }

    fn shown(&mut self, mut value: Value) -> Value {
        match &self.printer {
            Some(printer) => {
                let metadata = json!({"resourceVersion": value["metadata"]["resourceVersion"]});
                printer.table(&[value], metadata, std::mem::take(&mut self.first))
            }
            None if self.form == Form::Partial => partial(&value),
            None => {
                read::present_value(&self.resource, &self.version, &mut value);
                value
            }
        }
    }

    fn bookmark(&mut self, initial: bool) -> Vec<u8> {
        let mut metadata = json!({"resourceVersion": self.cursor.to_string()});
        if initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match &self.printer {
            Some(printer) => {
                let object = json!({"metadata": metadata});
                let version = json!({"resourceVersion": self.cursor.to_string()});
                printer.table(&[object], version, std::mem::take(&mut self.first))
            }
            None if self.form == Form::Partial => partial(&json!({"metadata": metadata})),
            None => json!({
                "apiVersion": self.resource.api_version(&self.version), "kind": self.resource.kind, "metadata": metadata,
            }),
        };
        format!("{}\n", json!({"type": "BOOKMARK", "object": object})).into_bytes()
    }

    fn expired(&mut self, oldest: u64) -> Vec<u8> {
        self.done = true;
        let fault = Fault::expired(format!("too old resource version: {} ({oldest})", self.cursor));
        format!("{}\n", json!({"type": "ERROR", "object": fault.to_value()})).into_bytes()
    }
}

/// Records the watch when its stream ends, however it ends.
struct End {
    inner: Arc<Inner>,
    record: Record,
}

impl Drop for End {
    fn drop(&mut self) {
        self.inner.metrics.watches.dec();
        self.inner.audit.write_now(&self.record, 200, self.inner.clock.now());
    }
}

/// The same body, counted while it lasts and audited when it ends.
pub(crate) fn with_end(body: Body, inner: Arc<Inner>, record: Record) -> Body {
    inner.metrics.watches.inc();
    let end = End { inner, record };
    body.map_frame(move |frame| {
        let _lives_as_long_as_the_stream = &end;
        frame
    })
    .boxed_unsync()
}
