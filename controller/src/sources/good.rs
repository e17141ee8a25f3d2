//! The last good revision on disk: what an apply that fails midway goes back to (rule G2).

use std::io;
use std::path::PathBuf;

use muster_source::Tree;

use super::Context;

/// A source's own folder: its cache and its last good revision. It may be deleted at any time.
pub(super) fn folder(context: &Context, uid: &str) -> PathBuf {
    context.folder.join(uid)
}

/// The revision that was applied last, if it is known.
pub(super) fn load(context: &Context, uid: &str) -> Option<Tree> {
    let path = folder(context, uid).join("good.json");
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the last good revision cannot be read");
            return None;
        }
    };
    serde_json::from_slice(&text)
        .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "the last good revision cannot be understood"))
        .ok()
}

/// Keeps it. Whole or not at all: a process that dies in the middle leaves the one before.
pub(super) fn save(context: &Context, uid: &str, tree: &Tree) -> io::Result<()> {
    let folder = folder(context, uid);
    std::fs::create_dir_all(&folder)?;
    let new = folder.join("good.json.new");
    std::fs::write(&new, serde_json::to_vec(tree)?)?;
    std::fs::rename(new, folder.join("good.json"))
}
