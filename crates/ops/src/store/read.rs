//! Reading a store, also while it is written.

use std::io;
use std::path::Path;

use super::StoreError;
use super::catalogue::{Catalogue, Segment};
use super::row::{RequestRow, SampleRow};
use super::table::{Table, decode};
use crate::history::Incident;

/// An open store.
#[derive(Debug)]
pub struct Reader {
    catalogue: Catalogue,
}

impl Reader {
    /// Opens a store to read it.
    ///
    /// # Errors
    /// There is none in this folder, or its catalogue cannot be read.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Ok(Self { catalogue: Catalogue::read(dir)? })
    }

    /// Gives every request that was received in `from..until` (UNIX nanoseconds), in the order of the segments.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub fn requests(&self, from: i64, until: i64, take: impl FnMut(RequestRow)) -> Result<(), StoreError> {
        self.rows(from, until, take)
    }

    /// Gives every value that was read in `from..until`, with whatever stands before it in the same segment: a value
    /// that does not change is written once a segment.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub fn samples(&self, from: i64, until: i64, mut take: impl FnMut(SampleRow)) -> Result<(), StoreError> {
        self.each::<SampleRow>(from, until, |row| {
            if row.at_unix_ns < until {
                take(row);
            }
        })
    }

    /// Incidents that overlap a time, oldest first.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub fn incidents(&self, from: i64, until: i64) -> Result<Vec<Incident>, StoreError> {
        Ok(self.catalogue.incidents(from, until)?)
    }

    /// The first and the last moment of which there are rows, UNIX nanoseconds; `None` for an empty store.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub fn extent(&self) -> Result<Option<(i64, i64)>, StoreError> {
        let all = self.catalogue.segments(None, i64::MIN, i64::MAX)?;
        let from = all.iter().map(|s| s.from).min();
        Ok(from.zip(all.iter().map(|s| s.until).max()))
    }

    fn rows<R: Table>(&self, from: i64, until: i64, mut take: impl FnMut(R)) -> Result<(), StoreError> {
        self.each::<R>(from, until, |row| {
            if (from..until).contains(&row.at()) {
                take(row);
            }
        })
    }

    fn each<R: Table>(&self, from: i64, until: i64, mut take: impl FnMut(R)) -> Result<(), StoreError> {
        for segment in self.catalogue.segments(Some(R::NAME), from, until)? {
            for row in read::<R>(&self.catalogue, &segment)?.unwrap_or_default() {
                take(row);
            }
        }
        Ok(())
    }
}

/// The rows of a segment; `None` when it is gone: retention removes segments while others read.
pub(super) fn read<R: Table>(catalogue: &Catalogue, segment: &Segment) -> Result<Option<Vec<R>>, StoreError> {
    let path = catalogue.path(segment);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::Io { path, source }),
    };
    let broken = |source| StoreError::Segment { file: segment.file.clone(), source };
    decode(bytes.into()).map(Some).map_err(broken)
}
