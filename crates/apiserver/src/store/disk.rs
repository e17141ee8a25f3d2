//! The file: SQLite in WAL mode, flushed at every commit. One row per object, and the newest resourceVersion.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, params};
use serde_json::Value;

use super::{Event, OpenError};
use crate::object::Stored;
use crate::registry;

/// Layout of the tables below; a change needs a new number and a migration.
const LAYOUT: i64 = 1;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS objects (
        shelf TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (shelf, key)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS newest (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL);
";

/// Shelf, key, object.
pub(super) type Row = (String, Box<str>, Arc<Stored>);

pub(super) struct Disk {
    connection: Connection,
}

impl Disk {
    /// Opens or creates the file; returns the newest version ever committed, and all rows.
    pub(super) fn open(path: &Path) -> Result<(Self, u64, Vec<Row>), OpenError> {
        let name = path.display().to_string();
        let (connection, layout) =
            connect(path).map_err(|source| OpenError::Open { path: name.clone(), source })?;
        if layout > LAYOUT {
            return Err(OpenError::Layout { path: name, found: layout, known: LAYOUT });
        }
        let rows = rows(&connection).map_err(|source| OpenError::Open { path: name.clone(), source })?;
        let mut version: u64 = connection
            .query_row("SELECT coalesce(max(version), 0) FROM newest", [], |row| row.get::<_, i64>(0))
            .map_err(|source| OpenError::Open { path: name.clone(), source })?
            .unsigned_abs();
        let mut objects = Vec::with_capacity(rows.len());
        let mut fields = HashMap::new();
        // Definitions first: they say which fields of the other objects are kept parsed.
        let (definitions, others): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|(shelf, _, _)| shelf == registry::DEFINITIONS);
        for (shelf, key, body) in definitions.into_iter().chain(others) {
            let value: Value = serde_json::from_slice(&body).map_err(|source| OpenError::Row {
                path: name.clone(),
                key: format!("{shelf} {key}"),
                source,
            })?;
            if shelf == registry::DEFINITIONS {
                fields.insert(registry::shelf_of_definition(&value), registry::selectable_fields(&value));
            }
            let paths = fields.get(&shelf).cloned().unwrap_or_else(|| registry::builtin_fields(&shelf));
            let stored = Stored::new(&value, &paths);
            version = version.max(stored.meta.version);
            objects.push((shelf, key.into_boxed_str(), Arc::new(stored)));
        }
        Ok((Self { connection }, version, objects))
    }

    /// Commits a batch, durable when this returns.
    pub(super) fn commit<'a>(
        &mut self,
        newest: u64,
        events: impl Iterator<Item = (&'a str, &'a Event)>,
    ) -> Result<(), rusqlite::Error> {
        let transaction = self.connection.transaction()?;
        {
            let mut put = transaction.prepare_cached(
                "INSERT INTO objects (shelf, key, version, body) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (shelf, key) DO UPDATE SET version = excluded.version, body = excluded.body",
            )?;
            let mut remove =
                transaction.prepare_cached("DELETE FROM objects WHERE shelf = ?1 AND key = ?2")?;
            for (shelf, event) in events {
                if event.removed {
                    remove.execute(params![shelf, &*event.key])?;
                } else {
                    let body: &[u8] = &event.object.body;
                    put.execute(params![shelf, &*event.key, event.version.cast_signed(), body])?;
                }
            }
            transaction
                .prepare_cached(
                    "INSERT INTO newest (one, version) VALUES (1, ?1)
                     ON CONFLICT (one) DO UPDATE SET version = excluded.version",
                )?
                .execute(params![newest.cast_signed()])?;
        }
        transaction.commit()
    }
}

fn connect(path: &Path) -> Result<(Connection, i64), rusqlite::Error> {
    let connection = Connection::open(path)?;
    // A server that is just ending may have it for a moment more; one that is running will keep it.
    connection.busy_timeout(Duration::from_millis(500))?;
    // Exclusive: two servers on one file would each believe that they alone count versions.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let layout: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if layout == 0 {
        connection.execute_batch(TABLES)?;
        connection.pragma_update(None, "user_version", LAYOUT)?;
    }
    Ok((connection, layout))
}

fn rows(connection: &Connection) -> Result<Vec<(String, String, Vec<u8>)>, rusqlite::Error> {
    let mut select = connection.prepare("SELECT shelf, key, body FROM objects")?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}
