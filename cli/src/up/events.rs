//! `muster up --events FILE`: the event log, written by a thread of its own so that nobody waits for the disk.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use jiff::Timestamp;
use muster_checker::event::{Event, Header, LogError, MAX_LINE_BYTES};
use muster_controller::EventSink;

/// Why the log cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EventsError {
    /// It cannot be opened.
    #[error("cannot write events to {}", file.display())]
    Open { file: PathBuf, source: std::io::Error },
    /// Something else is there.
    #[error("{} is there and no event log of this fleet: give --events another file", file.display())]
    NotOurs { file: PathBuf, source: LogError },
    /// It is of another fleet.
    #[error("{} is the event log of namespace {namespace}: give --events another file", file.display())]
    OtherFleet { file: PathBuf, namespace: String },
}

/// A log that is being written.
pub(super) struct EventFile {
    sender: mpsc::Sender<Event>,
    writer: JoinHandle<()>,
}

impl EventFile {
    /// Begins it, or goes on with one that is there.
    pub(super) fn open(file: &Path, namespace: &str) -> Result<Self, EventsError> {
        let fail = |source| EventsError::Open { file: file.to_owned(), source };
        let mut opened = OpenOptions::new().create(true).append(true).read(true).open(file).map_err(fail)?;
        if opened.metadata().map_err(fail)?.len() == 0 {
            let writer = concat!("muster up ", env!("CARGO_PKG_VERSION"));
            let header = Header::new(writer, namespace, Timestamp::now());
            writeln!(opened, "{}", header.to_line()).map_err(fail)?;
        } else {
            check(&opened, file, namespace)?;
        }
        let (sender, receiver) = mpsc::channel::<Event>();
        let place = file.to_owned();
        let writer = std::thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || write(opened, &place, &receiver))
            .map_err(fail)?;
        Ok(Self { sender, writer })
    }

    /// Where events go.
    pub(super) fn sink(&self) -> EventSink {
        let sender = self.sender.clone();
        // Fails only when the writer is gone, and has said why.
        EventSink::new(move |event| drop(sender.send(event)))
    }

    /// Waits until all is written; every sink is gone by now.
    pub(super) fn close(self) {
        let Self { sender, writer } = self;
        drop(sender);
        if writer.join().is_err() {
            tracing::warn!("the writer of the event log failed; the log may lack its end");
        }
    }
}

/// What is there is a log of this fleet, and ends with a whole line.
fn check(opened: &File, file: &Path, namespace: &str) -> Result<(), EventsError> {
    let fail = |source| EventsError::Open { file: file.to_owned(), source };
    let mut line = String::new();
    let mut reader = BufReader::new(std::io::Read::take(opened, MAX_LINE_BYTES as u64));
    reader.read_line(&mut line).map_err(fail)?;
    let header = Header::parse(line.trim_end())
        .map_err(|source| EventsError::NotOurs { file: file.to_owned(), source })?;
    if header.namespace != namespace {
        let namespace = header.namespace.to_string();
        return Err(EventsError::OtherFleet { file: file.to_owned(), namespace });
    }
    cut(opened).map_err(fail)
}

/// Cuts off a last line that its writer could not end.
fn cut(opened: &File) -> std::io::Result<()> {
    use std::os::unix::fs::FileExt as _;
    let length = opened.metadata()?.len();
    let mut end = length;
    let mut byte = [0];
    while end > 0 {
        opened.read_exact_at(&mut byte, end - 1)?;
        if byte == *b"\n" {
            break;
        }
        end -= 1;
    }
    if end < length { opened.set_len(end) } else { Ok(()) }
}

fn write(file: File, place: &Path, events: &mpsc::Receiver<Event>) {
    let mut out = BufWriter::with_capacity(1 << 16, file);
    let mut all = || -> std::io::Result<()> {
        while let Ok(event) = events.recv() {
            writeln!(out, "{}", event.to_line())?;
            // What comes together is written together.
            while let Ok(event) = events.try_recv() {
                writeln!(out, "{}", event.to_line())?;
            }
            out.flush()?;
        }
        Ok(())
    };
    if let Err(error) = all() {
        tracing::warn!(file = %place.display(), %error, "the event log ends here: it cannot be written any more");
    }
}
