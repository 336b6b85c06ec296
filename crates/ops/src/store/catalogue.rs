//! The SQLite file of a store: which segments there are, and what incidents there were.
//!
//! Segments carry in their names what a row here says of them, so a file that a crash left without a row is found
//! again, and a catalogue that is lost is made anew.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::StoreError;
use crate::history::{Incident, IncidentKind};

/// Name of the file.
const NAME: &str = "catalogue.sqlite";
/// Folder of the segments.
const SEGMENTS: &str = "segments";
/// How long another process may hold the file.
const BUSY: Duration = Duration::from_secs(5);
/// Raised when the tables change.
const VERSION: i64 = 1;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS segments (
        file TEXT PRIMARY KEY,              -- below `segments`
        kind TEXT NOT NULL,                 -- requests, samples
        from_unix_ns INTEGER NOT NULL,
        until_unix_ns INTEGER NOT NULL,
        rows INTEGER NOT NULL,
        bytes INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS segments_by_time ON segments (kind, from_unix_ns);
    CREATE TABLE IF NOT EXISTS incidents (
        id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,                 -- service, upstream, alert
        subject TEXT NOT NULL,
        reason TEXT NOT NULL,
        began_unix_ns INTEGER NOT NULL,
        ended_unix_ns INTEGER,              -- null while it goes on
        cut INTEGER NOT NULL                -- 1: the end was not seen
    ) STRICT;
    CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
";

/// A closed segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) file: String,
    pub(crate) kind: String,
    pub(crate) from: i64,
    pub(crate) until: i64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl Segment {
    /// Names a segment by what is in it.
    pub(crate) fn new(kind: &str, from: i64, until: i64, rows: u64, bytes: u64) -> Self {
        let file = format!("{kind}-{from}-{until}-{rows}.parquet");
        Self { file, kind: kind.to_owned(), from, until, rows, bytes }
    }

    /// What a name says; `None` for any other file.
    fn parse(file: &str, bytes: u64) -> Option<Self> {
        let mut parts = file.strip_suffix(".parquet")?.split('-');
        let segment = Self::new(
            parts.next()?,
            parts.next()?.parse().ok()?,
            parts.next()?.parse().ok()?,
            parts.next()?.parse().ok()?,
            bytes,
        );
        (parts.next().is_none() && segment.file == file).then_some(segment)
    }
}

/// An open catalogue.
#[derive(Debug)]
pub(crate) struct Catalogue {
    connection: Connection,
    folder: PathBuf,
}

impl Catalogue {
    /// Opens that of a store, or makes it.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        let folder = dir.join(SEGMENTS);
        let io = |source| StoreError::Io { path: folder.clone(), source };
        std::fs::create_dir_all(&folder).map_err(io)?;
        let connection = Connection::open(dir.join(NAME))?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version > VERSION {
            return Err(StoreError::Newer { dir: dir.to_owned() });
        }
        connection.execute_batch(TABLES)?;
        connection.pragma_update(None, "user_version", VERSION)?;
        Ok(Self { connection, folder })
    }

    /// Opens that of a store which may be in use, to read it.
    pub(crate) fn read(dir: &Path) -> Result<Self, StoreError> {
        if !dir.join(NAME).is_file() {
            return Err(StoreError::NoStore { dir: dir.to_owned() });
        }
        let connection = Connection::open(dir.join(NAME))?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(Self { connection, folder: dir.join(SEGMENTS) })
    }

    /// Removes what a crash left half written, and takes in segments that have no row.
    pub(crate) fn mend(&self) -> Result<(), StoreError> {
        let io = |source| StoreError::Io { path: self.folder.clone(), source };
        for entry in std::fs::read_dir(&self.folder).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".tmp") {
                // A file that cannot be removed is in nobody's way.
                let _ = std::fs::remove_file(entry.path());
            } else if let Some(segment) = Segment::parse(&name, entry.metadata().map_or(0, |m| m.len())) {
                self.add(&segment)?;
            }
        }
        for segment in self.segments(None, i64::MIN, i64::MAX)? {
            if !self.path(&segment).is_file() {
                self.forget(&segment)?;
            }
        }
        Ok(())
    }

    pub(crate) fn path(&self, segment: &Segment) -> PathBuf {
        self.folder.join(&segment.file)
    }

    pub(crate) fn add(&self, s: &Segment) -> rusqlite::Result<()> {
        self.connection
            .execute(
                "INSERT OR IGNORE INTO segments VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![s.file, s.kind, s.from, s.until, s.rows as i64, s.bytes as i64],
            )
            .map(drop)
    }

    pub(crate) fn forget(&self, s: &Segment) -> rusqlite::Result<()> {
        self.connection.execute("DELETE FROM segments WHERE file = ?1", params![s.file]).map(drop)
    }

    /// Segments of a kind (or of all) that overlap a time, oldest first.
    pub(crate) fn segments(
        &self,
        kind: Option<&str>,
        from: i64,
        until: i64,
    ) -> rusqlite::Result<Vec<Segment>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT file, kind, from_unix_ns, until_unix_ns, rows, bytes FROM segments
             WHERE (?1 IS NULL OR kind = ?1) AND until_unix_ns >= ?2 AND from_unix_ns < ?3
             ORDER BY until_unix_ns, file",
        )?;
        let rows = statement.query_map(params![kind, from, until], |row| {
            Ok(Segment {
                file: row.get(0)?,
                kind: row.get(1)?,
                from: row.get(2)?,
                until: row.get(3)?,
                rows: row.get::<_, i64>(4)?.unsigned_abs(),
                bytes: row.get::<_, i64>(5)?.unsigned_abs(),
            })
        })?;
        rows.collect()
    }

    /// Writes an incident that began, or ended.
    pub(crate) fn put(&self, incident: &Incident) -> rusqlite::Result<()> {
        let (kind, subject, began) = (incident.kind.name(), &incident.subject, incident.began_unix_ns);
        let known: Option<i64> = self
            .connection
            .query_row(
                "SELECT id FROM incidents WHERE kind = ?1 AND subject = ?2 AND began_unix_ns = ?3",
                params![kind, subject, began],
                |row| row.get(0),
            )
            .optional()?;
        match known {
            Some(id) => self.connection.execute(
                "UPDATE incidents SET ended_unix_ns = ?2, cut = ?3, reason = ?4 WHERE id = ?1",
                params![id, incident.ended_unix_ns, incident.cut, incident.reason],
            )?,
            None => self.connection.execute(
                "INSERT INTO incidents (kind, subject, reason, began_unix_ns, ended_unix_ns, cut)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![kind, subject, incident.reason, began, incident.ended_unix_ns, incident.cut],
            )?,
        };
        Ok(())
    }

    /// Incidents that overlap a time, oldest first.
    pub(crate) fn incidents(&self, from: i64, until: i64) -> rusqlite::Result<Vec<Incident>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT kind, subject, reason, began_unix_ns, ended_unix_ns, cut FROM incidents
             WHERE began_unix_ns < ?2 AND (ended_unix_ns IS NULL OR ended_unix_ns >= ?1)
             ORDER BY began_unix_ns, id",
        )?;
        let rows = statement.query_map(params![from, until], |row| {
            let kind: String = row.get(0)?;
            Ok(Incident {
                kind: IncidentKind::from_name(&kind),
                subject: row.get(1)?,
                reason: row.get(2)?,
                began_unix_ns: row.get(3)?,
                ended_unix_ns: row.get(4)?,
                cut: row.get(5)?,
            })
        })?;
        rows.collect()
    }

    /// Ends what a process that was killed left open, at the last moment that it was seen alive.
    pub(crate) fn end_open(&self) -> rusqlite::Result<()> {
        let alive = self.alive()?.unwrap_or(0);
        self.connection
            .execute(
                "UPDATE incidents SET ended_unix_ns = max(began_unix_ns, ?1), cut = 1 WHERE ended_unix_ns IS NULL",
                params![alive],
            )
            .map(drop)
    }

    /// When the watching process was last seen alive.
    pub(crate) fn alive(&self) -> rusqlite::Result<Option<i64>> {
        let query = "SELECT value FROM facts WHERE name = 'alive_unix_ns'";
        self.connection.query_row(query, [], |row| row.get(0)).optional()
    }

    pub(crate) fn set_alive(&self, at: i64) -> rusqlite::Result<()> {
        self.connection
            .execute("INSERT OR REPLACE INTO facts VALUES ('alive_unix_ns', ?1)", params![at])
            .map(drop)
    }

    /// Forgets incidents that ended before.
    pub(crate) fn forget_incidents(&self, before: i64) -> rusqlite::Result<()> {
        self.connection.execute("DELETE FROM incidents WHERE ended_unix_ns < ?1", params![before]).map(drop)
    }
}
