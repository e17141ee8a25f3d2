//! Waits for a folder to change: inotify, never polling while that works.
//!
//! A save is a storm of events (a new file, a rename, a few changes of mode); it becomes one call, when the folder has
//! been quiet for a moment and no file in it is still being written. Whether anything of meaning changed is not judged
//! here: the folder's revision says so.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::files::{is_hidden, is_resource_file};

/// A storm is over when nothing has happened for so long: editors leave a few milliseconds between their renames.
pub const QUIET: Duration = Duration::from_millis(100);

/// A storm counts as a change after so long even if it goes on.
pub const LONGEST_STORM: Duration = Duration::from_secs(1);

/// How often the folder is said to have changed while inotify cannot be used: a look costs reading it.
pub const RESCAN_EVERY: Duration = Duration::from_secs(5);

/// Watches a folder until it is dropped.
#[derive(Debug)]
pub struct FolderWatch {
    news: Sender<News>,
    thread: Option<JoinHandle<()>>,
}

enum News {
    Event(notify::Result<notify::Event>),
    Stop,
}

impl FolderWatch {
    /// Watches from now on: what changes after this returns is told. The folder need not exist yet.
    ///
    /// `changed` is called on a thread of the watch's own, once for each storm.
    pub fn start(root: PathBuf, changed: impl Fn() + Send + 'static) -> Self {
        let (news, events) = mpsc::channel();
        let mut watching = Watching::new(root, news.clone());
        watching.renew();
        let thread = std::thread::spawn(move || run(&mut watching, &events, &changed));
        Self { news, thread: Some(thread) }
    }
}

impl Drop for FolderWatch {
    fn drop(&mut self) {
        // It fails only if the thread has ended by itself.
        let _ = self.news.send(News::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(watching: &mut Watching, events: &Receiver<News>, changed: &dyn Fn()) {
    let mut storm = Storm::default();
    loop {
        let first = if watching.is_complete {
            events.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            events.recv_timeout(RESCAN_EVERY)
        };
        match first {
            Ok(News::Event(event)) => {
                if !storm.takes(watching, event) {
                    continue;
                }
                if weather_out(&mut storm, watching, events).is_none() {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Ok(News::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
        watching.renew();
        changed();
    }
}

/// Waits for the storm's end; `None` when the watch itself is over.
fn weather_out(storm: &mut Storm, watching: &Watching, events: &Receiver<News>) -> Option<()> {
    let begun = Instant::now();
    let mut last = begun;
    loop {
        let end = if storm.writing.is_empty() { last + QUIET } else { begun + LONGEST_STORM }
            .min(begun + LONGEST_STORM);
        match events.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(News::Event(event)) => {
                if storm.takes(watching, event) {
                    last = Instant::now();
                }
                if Instant::now() >= begun + LONGEST_STORM {
                    break;
                }
            }
            Err(RecvTimeoutError::Timeout) => break,
            Ok(News::Stop) | Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
    storm.writing.clear();
    Some(())
}

/// What has happened since the folder was quiet.
#[derive(Default)]
struct Storm {
    /// Files that were changed and not closed yet.
    writing: BTreeSet<PathBuf>,
}

impl Storm {
    /// Whether the event may mean a change of resources.
    fn takes(&mut self, watching: &Watching, event: notify::Result<notify::Event>) -> bool {
        // An error means that events may be missing, as an overflow does.
        let Ok(event) = event else { return true };
        if event.need_rescan() {
            return true;
        }
        let (is_file, begins, ends) = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => (true, false, true),
            // Our own reading, too.
            EventKind::Access(_) => return false,
            EventKind::Modify(ModifyKind::Data(_)) | EventKind::Create(CreateKind::File) => {
                (true, true, false)
            }
            EventKind::Remove(RemoveKind::File) => (true, false, true),
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => (false, false, true),
            EventKind::Create(_) | EventKind::Modify(_) | EventKind::Any | EventKind::Other => {
                (false, false, false)
            }
        };
        let mut matters = false;
        for path in event.paths {
            if !watching.concerns(&path, is_file) {
                continue;
            }
            matters = true;
            if begins {
                self.writing.insert(path);
            } else if ends {
                self.writing.remove(&path);
            }
        }
        matters
    }
}

/// The inotify watches.
struct Watching {
    root: PathBuf,
    /// Where the root really is, and its device and inode, while it is watched.
    real: Option<(PathBuf, u64, u64)>,
    news: Sender<News>,
    watcher: Option<RecommendedWatcher>,
    /// Whether every change will be told.
    is_complete: bool,
}

impl Watching {
    fn new(root: PathBuf, news: Sender<News>) -> Self {
        Self { root, real: None, news, watcher: None, is_complete: false }
    }

    /// Watches the folder that is at the root's path now, and the one around it, which sees it replaced.
    fn renew(&mut self) {
        let found = self.root.canonicalize().and_then(|real| {
            let metadata = real.metadata()?;
            Ok((real, metadata.dev(), metadata.ino()))
        });
        let found = found.ok();
        if self.is_complete && found == self.real {
            return;
        }
        let told = self.is_complete || self.watcher.is_none();
        self.real = found;
        self.is_complete = match self.watch() {
            Ok(()) => true,
            Err(error) => {
                if told {
                    tracing::warn!(
                        folder = %self.root.display(),
                        error = %error,
                        every_seconds = RESCAN_EVERY.as_secs(),
                        "cannot watch the folder; reading it again and again instead"
                    );
                }
                false
            }
        };
    }

    /// From scratch: what the old watches were on may be gone.
    fn watch(&mut self) -> notify::Result<()> {
        let news = self.news.clone();
        let config = notify::Config::default().with_follow_symlinks(false);
        let tell = move |event| {
            // It fails only when the watch is over.
            let _ = news.send(News::Event(event));
        };
        let watcher = self.watcher.insert(RecommendedWatcher::new(tell, config)?);
        let around = self.root.parent().unwrap_or(&self.root);
        watcher.watch(around, RecursiveMode::NonRecursive)?;
        if let Some((real, _, _)) = &self.real {
            watcher.watch(real, RecursiveMode::Recursive)?;
        }
        Ok(())
    }

    /// Whether something at that path may be, or hold, a resource file.
    fn concerns(&self, path: &Path, is_file: bool) -> bool {
        if path == self.root {
            return true;
        }
        let inside = self.real.as_ref().and_then(|(real, _, _)| path.strip_prefix(real).ok());
        let Some(inside) = inside else { return false };
        // A mounted ConfigMap is changed by pointing this link elsewhere.
        if inside == Path::new("..data") || inside.as_os_str().is_empty() {
            return true;
        }
        let mut names = inside.iter().map(|name| name.to_string_lossy());
        let is_visible = names.all(|name| !is_hidden(&name));
        let name = inside.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        is_visible && (!is_file || is_resource_file(&name))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc::channel;

    use super::*;

    /// Long enough for a busy machine; a test that passes never waits for it.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn a_save_storm_is_one_change() {
        let folder = tempfile::tempdir().unwrap();
        let (told, changes) = channel();
        let watch = FolderWatch::start(folder.path().to_owned(), move || told.send(Instant::now()).unwrap());
        let file = folder.path().join("a.yaml");
        for n in 0..20 {
            fs::write(folder.path().join(".a.yaml.swp"), "x").unwrap();
            fs::write(folder.path().join("a.yaml.new"), n.to_string()).unwrap();
            fs::rename(folder.path().join("a.yaml.new"), &file).unwrap();
        }
        let saved = Instant::now();
        let told = changes.recv_timeout(PATIENCE).unwrap();
        assert!(told - saved >= QUIET - Duration::from_millis(5), "it was not quiet yet");
        // A later save is another change, and the only one: the first storm left nothing behind.
        fs::write(&file, "later").unwrap();
        let later = Instant::now();
        assert!(changes.recv_timeout(PATIENCE).unwrap() > later);
        drop(watch);
        assert_eq!(changes.try_iter().count(), 0);
    }

    #[test]
    fn files_in_new_folders_are_seen_and_other_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let (told, changes) = channel();
        let _watch = FolderWatch::start(folder.path().to_owned(), move || told.send(()).unwrap());
        fs::write(folder.path().join("notes.txt"), "x").unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        changes.recv_timeout(PATIENCE).unwrap();
        fs::write(folder.path().join("sub/a.yaml"), "x").unwrap();
        changes.recv_timeout(PATIENCE).unwrap();
    }

    #[test]
    fn a_folder_that_is_replaced_or_comes_later_is_seen() {
        let around = tempfile::tempdir().unwrap();
        let root = around.path().join("root");
        let (told, changes) = channel();
        let _watch = FolderWatch::start(root.clone(), move || told.send(()).unwrap());
        fs::create_dir(&root).unwrap();
        changes.recv_timeout(PATIENCE).unwrap();
        fs::rename(&root, around.path().join("old")).unwrap();
        changes.recv_timeout(PATIENCE).unwrap();
        fs::create_dir(&root).unwrap();
        changes.recv_timeout(PATIENCE).unwrap();
        fs::write(root.join("a.yaml"), "x").unwrap();
        changes.recv_timeout(PATIENCE).unwrap();
    }
}
