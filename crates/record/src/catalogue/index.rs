//! The SQLite file: a cache of [`Entry`], keyed by the name of the directory in the root.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Row, TransactionBehavior, params};
use stopwatt_core::metrics_doc::RunStatus;

use super::Entry;

/// The file name.
pub(super) const NAME: &str = "catalogue.sqlite";

/// Raised with every change of the tables or of what is put into them; another number means: make it again.
const VERSION: i64 = 1;

const TABLES: &str = "
    DROP TABLE IF EXISTS tags;
    DROP TABLE IF EXISTS runs;
    CREATE TABLE runs (
        path TEXT PRIMARY KEY,              -- below the folder of this file
        id TEXT NOT NULL,
        started_unix_ns INTEGER NOT NULL,
        status TEXT NOT NULL,               -- complete, incomplete
        kind TEXT NOT NULL,
        model TEXT,
        valid INTEGER,                      -- 0, 1, null when it was not judged
        headline TEXT NOT NULL,             -- JSON: metric.statistic to SI value
        target TEXT NOT NULL,               -- directory of the run, when path is a link
        stamp TEXT NOT NULL                 -- size and time of the files this row was made from
    ) STRICT;
    CREATE TABLE tags (
        path TEXT NOT NULL REFERENCES runs (path) ON DELETE CASCADE,
        tag TEXT NOT NULL,
        PRIMARY KEY (path, tag)
    ) STRICT;
    CREATE INDEX runs_by_start ON runs (started_unix_ns);
";

/// How long another process may hold the file.
const BUSY: Duration = Duration::from_secs(10);

/// Lets readers and a writer not stop each other. The change of mode does not wait for a busy file as everything else
/// does, so it is tried again while another process makes the same change.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let pause = Duration::from_millis(5);
    let mut tries = BUSY.as_millis() / pause.as_millis();
    loop {
        // `memory` is what a database in memory answers.
        let mode =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0));
        match mode {
            Err(e) if is(&e, &[ErrorCode::DatabaseBusy]) && tries > 0 => {
                tries -= 1;
                std::thread::sleep(pause);
            }
            other => return other.map(drop),
        }
    }
}

/// The index, on disk where possible.
#[derive(Debug)]
pub(super) struct Index(Connection);

impl Index {
    /// Opens the index of `root`. A damaged file is made again; where nothing can be written, memory must do.
    pub(super) fn open(root: &Path) -> rusqlite::Result<Self> {
        let path = root.join(NAME);
        if !root.is_dir() {
            return Self::prepared(Connection::open_in_memory()?);
        }
        let first = Connection::open(&path).and_then(Self::prepared);
        let second = match first {
            Err(e) if is(&e, &[ErrorCode::NotADatabase, ErrorCode::DatabaseCorrupt]) => {
                for suffix in ["", "-wal", "-shm"] {
                    // What cannot be removed fails again below.
                    let _ = std::fs::remove_file(root.join(format!("{NAME}{suffix}")));
                }
                Connection::open(&path).and_then(Self::prepared)
            }
            other => other,
        };
        match second {
            Err(e) if is(&e, &UNWRITABLE) => Self::prepared(Connection::open_in_memory()?),
            other => other,
        }
    }

    fn prepared(mut connection: Connection) -> rusqlite::Result<Self> {
        connection.busy_timeout(BUSY)?;
        write_ahead(&connection)?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        let version = |c: &Connection| c.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
        if version(&connection)? != VERSION {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // Another process may have been faster.
            if version(&transaction)? != VERSION {
                transaction.execute_batch(TABLES)?;
                transaction.pragma_update(None, "user_version", VERSION)?;
            }
            transaction.commit()?;
        }
        Ok(Self(connection))
    }

    /// The stamp of every row.
    pub(super) fn stamps(&self) -> rusqlite::Result<BTreeMap<String, String>> {
        let mut statement = self.0.prepare("SELECT path, stamp FROM runs")?;
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    }

    /// Writes rows that are new or changed and deletes those that are gone.
    pub(super) fn update(
        &mut self,
        fresh: &[(String, String, Entry)],
        gone: &[&String],
    ) -> rusqlite::Result<()> {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for path in gone.iter().copied().chain(fresh.iter().map(|(path, ..)| path)) {
            transaction.execute("DELETE FROM runs WHERE path = ?1", params![path])?;
        }
        for (path, stamp, entry) in fresh {
            let headline = serde_json::to_string(&entry.headline).expect("numbers by name are JSON");
            transaction.execute(
                "INSERT INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                params![
                    path,
                    entry.id,
                    entry.started_unix_ns,
                    status_name(entry.status),
                    entry.kind,
                    entry.model,
                    entry.valid,
                    headline,
                    entry.path.to_string_lossy(),
                    stamp
                ],
            )?;
            for tag in &entry.tags {
                transaction.execute("INSERT INTO tags VALUES (?1, ?2)", params![path, tag])?;
            }
        }
        transaction.commit()
    }

    /// Every row, newest first.
    pub(super) fn all(&self, root: &Path) -> rusqlite::Result<Vec<Entry>> {
        let mut tags: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut statement = self.0.prepare("SELECT path, tag FROM tags ORDER BY path, tag")?;
        for row in statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))? {
            let (path, tag): (String, String) = row?;
            tags.entry(path).or_default().push(tag);
        }
        let mut statement = self.0.prepare(
            "SELECT path, id, started_unix_ns, status, kind, model, valid, headline, target FROM runs
             ORDER BY started_unix_ns DESC, id DESC",
        )?;
        statement
            .query_map([], |row| {
                let name: String = row.get(0)?;
                let tags = tags.remove(&name).unwrap_or_default();
                entry(root, &name, row, tags)
            })?
            .collect()
    }
}

fn entry(root: &Path, name: &str, row: &Row<'_>, tags: Vec<String>) -> rusqlite::Result<Entry> {
    let here = root.join(name);
    let status: String = row.get(3)?;
    let headline: String = row.get(7)?;
    let target: String = row.get(8)?;
    Ok(Entry {
        id: row.get(1)?,
        // The root may have been moved since, a link still points where it did.
        path: if here.is_symlink() { PathBuf::from(target) } else { here },
        started_unix_ns: row.get(2)?,
        status: if status == status_name(RunStatus::Complete) {
            RunStatus::Complete
        } else {
            RunStatus::Incomplete
        },
        running: false,
        kind: row.get(4)?,
        model: row.get(5)?,
        valid: row.get(6)?,
        headline: serde_json::from_str(&headline).unwrap_or_default(),
        tags,
    })
}

fn status_name(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Complete => "complete",
        RunStatus::Incomplete => "incomplete",
    }
}

/// What SQLite says where it may not write.
const UNWRITABLE: [ErrorCode; 5] = [
    ErrorCode::ReadOnly,
    ErrorCode::CannotOpen,
    ErrorCode::PermissionDenied,
    ErrorCode::DiskFull,
    ErrorCode::SystemIoFailure,
];

fn is(error: &rusqlite::Error, codes: &[ErrorCode]) -> bool {
    error.sqlite_error_code().is_some_and(|code| codes.contains(&code))
}
