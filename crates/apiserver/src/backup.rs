//! Backups of the running store: a file that a server can be opened with.

use std::path::Path;

use crate::names;
use crate::reply::Reply;
use crate::server::Inner;
use crate::status::Fault;
use crate::store::OpenError;

/// Writes a copy to a file that does not exist yet, under another name until it is whole.
pub(crate) fn write(inner: &Inner, path: &Path) -> Result<(), OpenError> {
    let failed = |why: String| OpenError::Backup { why };
    if path.exists() {
        return Err(failed(format!("{} exists; name a new file", path.display())));
    }
    let partial = path.with_extension("partial");
    // What an earlier attempt left; a copy is never added to.
    let _ = std::fs::remove_file(&partial);
    let result = inner
        .store
        .copy_to(&partial)
        .map_err(|error| failed(format!("{} cannot be written: {error}", partial.display())))
        .and_then(|()| {
            std::fs::rename(&partial, path)
                .map_err(|error| failed(format!("{} cannot be named: {error}", path.display())))
        });
    if result.is_err() {
        // It is of no use; that it stays would only be untidy.
        let _ = std::fs::remove_file(&partial);
    }
    result
}

/// `GET /backup`, for administrators: the copy itself.
pub(crate) async fn answer(inner: std::sync::Arc<Inner>) -> Result<Reply, Fault> {
    let Some(beside) = inner.path.clone() else { return Err(Fault::no_page()) };
    let copy = move || {
        // Beside the store, so that its secrets stay where they are kept.
        let path = beside.with_extension(format!("{}.backup", names::unique()));
        write(&inner, &path).map_err(|error| Fault::internal(error.to_string()))?;
        let bytes = std::fs::read(&path);
        // A copy that stays does no harm but to space.
        let _ = std::fs::remove_file(&path);
        bytes.map_err(|error| Fault::internal(format!("the backup cannot be read: {error}")))
    };
    match tokio::task::spawn_blocking(copy).await {
        Ok(bytes) => Ok(Reply::bytes(200, "application/vnd.sqlite3", bytes?)),
        Err(_) => Err(Fault::internal("the backup was interrupted")),
    }
}
