//! The file: SQLite in WAL mode, flushed at every commit. One row per object, by its resourceVersion: the version that
//! replaces an object comes at the end of the table, so a commit fills few pages, one after another. Who is called what
//! is known in memory alone.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, params};

use super::{Event, OpenError};
use crate::object::Stored;
use crate::registry;

/// The n-th makes layout n + 1 out of layout n; 0 is an empty file. Never changed once released, only added to.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE objects (
        shelf TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (shelf, key)
    ) WITHOUT ROWID;
    CREATE TABLE newest (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL);
",
    "
    CREATE TABLE by_version (
        version INTEGER PRIMARY KEY, shelf TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL
    );
    INSERT INTO by_version SELECT version, shelf, key, body FROM objects ORDER BY version;
    DROP TABLE objects;
    ALTER TABLE by_version RENAME TO objects;
",
];

/// Pages of the log after which SQLite brings the database up to date. All who write wait for that: with a quarter of
/// SQLite's own 1,000 they wait four times as often and a third as long, and it costs no more.
const LOG: i64 = 250;

/// Shelf, key, object.
pub(super) type Row = (String, Box<str>, Arc<Stored>);

pub(super) struct Disk {
    connection: Connection,
}

impl Disk {
    /// Opens or creates the file; returns the newest version ever committed, and all rows.
    pub(super) fn open(path: &Path) -> Result<(Self, u64, Vec<Row>), OpenError> {
        let name = path.display().to_string();
        let failed = |source| match source {
            rusqlite::Error::SqliteFailure(error, _)
                if matches!(error.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) =>
            {
                OpenError::Corrupt { path: name.clone(), found: error.to_string() }
            }
            source => OpenError::Open { path: name.clone(), source },
        };
        let mut connection = connect(path).map_err(failed)?;
        if let Some(found) = damage(&connection).map_err(failed)? {
            return Err(OpenError::Corrupt { path: name, found });
        }
        let known = MIGRATIONS.len() as i64;
        let found = migrate(&mut connection).map_err(failed)?;
        if found > known {
            return Err(OpenError::Layout { path: name, found, known });
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
            let paths = fields.get(&shelf).cloned().unwrap_or_else(|| registry::builtin_fields(&shelf));
            let stored = Stored::read(body.into(), &paths).map_err(|source| OpenError::Row {
                path: name.clone(),
                key: format!("{shelf} {key}"),
                source,
            })?;
            if shelf == registry::DEFINITIONS {
                let definition = stored.value();
                let paths = registry::selectable_fields(&definition);
                fields.insert(registry::shelf_of_definition(&definition), paths);
            }
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
            let mut put = transaction
                .prepare_cached("INSERT INTO objects (version, shelf, key, body) VALUES (?1, ?2, ?3, ?4)")?;
            let mut remove = transaction.prepare_cached("DELETE FROM objects WHERE version = ?1")?;
            let mut last = 0;
            for (shelf, event) in events {
                if let Some(before) = &event.before {
                    remove.execute([before.meta.version.cast_signed()])?;
                }
                if !event.removed {
                    let body: &[u8] = &event.object.body;
                    put.execute(params![event.version.cast_signed(), shelf, &*event.key, body])?;
                    last = last.max(event.version);
                }
            }
            if last < newest {
                // No row says it.
                transaction
                    .prepare_cached(
                        "INSERT INTO newest (one, version) VALUES (1, ?1)
                         ON CONFLICT (one) DO UPDATE SET version = excluded.version",
                    )?
                    .execute([newest.cast_signed()])?;
            }
        }
        transaction.commit()
    }
}

/// Writes a file of its own that holds these objects: a backup. It is whole when this returns, or not there.
pub(super) fn write_copy(
    path: &Path,
    newest: u64,
    objects: &[(Arc<str>, Box<str>, Arc<Stored>)],
) -> Result<(), rusqlite::Error> {
    let mut connection = connect(path)?;
    migrate(&mut connection)?;
    let mut disk = Disk { connection };
    let events: Vec<Event> = objects
        .iter()
        .map(|(_, key, object)| Event {
            version: object.meta.version,
            key: key.clone(),
            before: None,
            object: object.clone(),
            removed: false,
        })
        .collect();
    disk.commit(newest, objects.iter().map(|(shelf, _, _)| &**shelf).zip(&events))?;
    // One file, not three.
    disk.connection.pragma_update(None, "journal_mode", "DELETE")
}

/// What SQLite finds wrong with the file, if anything.
fn damage(connection: &Connection) -> Result<Option<String>, rusqlite::Error> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((verdict != "ok").then_some(verdict))
}

/// Brings an older layout up to the present one, whole or not at all; the layout that it found if that is newer.
fn migrate(connection: &mut Connection) -> Result<i64, rusqlite::Error> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let transaction = connection.transaction()?;
    for (from, migration) in (0_i64..).zip(MIGRATIONS).filter(|(from, _)| *from >= found) {
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", from + 1)?;
    }
    transaction.commit()?;
    Ok(found)
}

fn connect(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(path)?;
    // A server that is just ending may have it for a moment more; one that is running will keep it.
    connection.busy_timeout(Duration::from_millis(500))?;
    // Exclusive: two servers on one file would each believe that they alone count versions.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG)?;
    Ok(connection)
}

fn rows(connection: &Connection) -> Result<Vec<(String, String, Vec<u8>)>, rusqlite::Error> {
    let mut select = connection.prepare("SELECT shelf, key, body FROM objects")?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}
