//! From a Parquet row group back to request records.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use parquet::column::reader::{ColumnReader, get_typed_column_reader};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::file::writer::SerializedFileWriter;
use stopwatt_core::stream::StreamSummary;
use stopwatt_core::{ChunkKind, ChunkShape, ChunkStamp, RequestRecord, RequestRow};

use super::Chunks;
use super::schema::{self, Access, COLUMNS, Column, SUMMARY, Width};
use crate::run_dir::RunError;

/// One Parquet file of request rows.
pub(crate) struct EventFile {
    path: PathBuf,
    file: File,
    reader: SerializedFileReader<File>,
    next_group: usize,
}

impl EventFile {
    /// Opens a closed file.
    pub(crate) fn open(path: &Path) -> Result<Self, RunError> {
        let file = File::open(path).map_err(RunError::io("open", path))?;
        let copy = file.try_clone().map_err(RunError::io("open", path))?;
        let reader = SerializedFileReader::new(copy).map_err(RunError::events(path))?;
        Ok(Self { path: path.to_owned(), file, reader, next_group: 0 })
    }

    /// Rows of the whole file.
    pub(crate) fn rows(&self) -> u64 {
        self.reader.metadata().file_metadata().num_rows().unsigned_abs()
    }

    /// The requests of the next row group; `None` after the last.
    pub(crate) fn next_group(&mut self, chunks: Chunks) -> Result<Option<Vec<RequestRecord>>, RunError> {
        self.advance(|group| read_group(group, chunks))
    }

    /// The same without streams, but with what these come to. Chunks are read only of files that do not say it.
    pub(crate) fn next_rows(&mut self) -> Result<Option<Vec<RequestRow>>, RunError> {
        self.advance(|group| {
            let chunks = if has_summaries(group) { Chunks::Skip } else { Chunks::Read };
            let records = read_group(group, chunks)?;
            let summaries = summaries(group, &records)?;
            Ok(records.iter().zip(summaries).map(|(r, s)| RequestRow::with(r, s)).collect())
        })
    }

    /// The same with both.
    pub(super) fn next_summed(&mut self) -> Result<Option<Vec<Summed>>, RunError> {
        self.advance(|group| {
            let records = read_group(group, Chunks::Read)?;
            let summaries = summaries(group, &records)?;
            Ok(records.into_iter().zip(summaries).collect())
        })
    }

    fn advance<T>(
        &mut self,
        read: impl FnOnce(&dyn RowGroupReader) -> Result<T, ParquetError>,
    ) -> Result<Option<T>, RunError> {
        if self.next_group >= self.reader.num_row_groups() {
            return Ok(None);
        }
        let rows = self
            .reader
            .get_row_group(self.next_group)
            .and_then(|group| read(group.as_ref()))
            .map_err(RunError::events(&self.path))?;
        self.next_group += 1;
        Ok(Some(rows))
    }

    /// Whether the next row group is large enough to stand for itself.
    pub(super) fn has_large_group(&self) -> bool {
        let groups = self.reader.metadata().row_groups();
        groups.get(self.next_group).is_some_and(|group| group.compressed_size() >= LARGE_GROUP)
    }

    /// Copies the next row group as it is. Both files were written by the same run, so their columns are the same.
    pub(super) fn copy_group<W: Write + Send>(
        &mut self,
        out: &mut SerializedFileWriter<W>,
    ) -> Result<(), ParquetError> {
        let Some(group) = self.reader.metadata().row_groups().get(self.next_group) else { return Ok(()) };
        let mut target = out.next_row_group()?;
        for column in group.columns() {
            let copied = ColumnCloseResult {
                bytes_written: column.compressed_size().unsigned_abs(),
                rows_written: group.num_rows().unsigned_abs(),
                metadata: column.clone(),
                bloom_filter: None,
                column_index: None,
                offset_index: None,
            };
            target.append_column(&self.file, copied)?;
        }
        target.close()?;
        self.next_group += 1;
        Ok(())
    }
}

/// A request with what its stream comes to.
pub(super) type Summed = (RequestRecord, Option<StreamSummary>);

/// Compressed bytes from which on a row group is copied instead of being merged with its neighbours.
const LARGE_GROUP: i64 = 1 << 19;

fn read_group(group: &dyn RowGroupReader, chunks: Chunks) -> Result<Vec<RequestRecord>, ParquetError> {
    let rows = usize::try_from(group.metadata().num_rows())
        .map_err(|_| ParquetError::General("negative number of rows".into()))?;
    // The count comes from the file: grow as rows are really read, so that a damaged file cannot ask for memory.
    let mut records = Vec::new();
    for column in COLUMNS {
        read_scalars(group, column, rows, &mut records)?;
    }
    if chunks == Chunks::Read {
        read_chunks(group, rows, &mut records)?;
    }
    Ok(records)
}

/// Whether the file says what streams come to.
fn has_summaries(group: &dyn RowGroupReader) -> bool {
    find(group, &[SUMMARY[0].name]).is_some()
}

/// What the stream of each record comes to: by its columns, else by its chunks.
fn summaries(
    group: &dyn RowGroupReader,
    records: &[RequestRecord],
) -> Result<Vec<Option<StreamSummary>>, ParquetError> {
    if !has_summaries(group) {
        return Ok(records.iter().map(|r| StreamSummary::of(&r.chunks)).collect());
    }
    let rows = records.len();
    let mut summaries: Vec<Option<StreamSummary>> = vec![None; rows];
    for (position, column) in SUMMARY.iter().enumerate() {
        // A column of a newer version may be gone; the first one, which tells about the others, was just found.
        let Some(index) = find(group, &[column.name]) else { continue };
        let (present, values): (Vec<bool>, Vec<i64>) = match column.width {
            Width::I64 | Width::U64 => {
                let read = read_column::<Int64Type>(group, index, rows, column.name)?;
                (read.present(rows), read.values)
            }
            Width::U32 | Width::U16 => {
                let read = read_column::<Int32Type>(group, index, rows, column.name)?;
                (read.present(rows), read.values.into_iter().map(|v| i64::from(v as u32)).collect())
            }
        };
        let mut values = values.into_iter();
        for (summary, present) in summaries.iter_mut().zip(present) {
            if !present {
                continue;
            }
            let value = values.next().ok_or_else(|| bad(column.name, "ends early"))?;
            if position == 0 {
                *summary = Some(StreamSummary::default());
            }
            let summary = summary.as_mut().ok_or_else(|| bad(column.name, "has a value without a token"))?;
            (column.set)(summary, value);
        }
    }
    Ok(summaries)
}

/// Fills one field of every record.
fn read_scalars(
    group: &dyn RowGroupReader,
    column: &Column,
    rows: usize,
    records: &mut Vec<RequestRecord>,
) -> Result<(), ParquetError> {
    let Some(index) = find(group, &[column.name]) else {
        return if column.optional { Ok(()) } else { Err(bad(column.name, "is missing")) };
    };
    match column.access {
        Access::Number { width: Width::I64 | Width::U64, set, .. } => {
            let read = read_column::<Int64Type>(group, index, rows, column.name)?;
            each(column, rows, read, records, |r, v| set(r, v.copied()))
        }
        Access::Number { width: Width::U32, set, .. } => {
            let read = read_column::<Int32Type>(group, index, rows, column.name)?;
            each(column, rows, read, records, |r, v| set(r, v.map(|&v| i64::from(v as u32))))
        }
        Access::Number { width: Width::U16, set, .. } => {
            let read = read_column::<Int32Type>(group, index, rows, column.name)?;
            each(column, rows, read, records, |r, v| set(r, v.map(|&v| i64::from(v as u16))))
        }
        Access::Text { set, .. } => {
            let read = read_column::<ByteArrayType>(group, index, rows, column.name)?;
            each(column, rows, read, records, |r, v| match v.map(ByteArray::as_utf8) {
                None => set(r, None),
                Some(Ok(text)) => set(r, Some(text)),
                Some(Err(_)) => false,
            })
        }
    }
}

/// Values and levels of one column of one group.
pub(super) struct Read<T> {
    pub(super) values: Vec<T>,
    definition: Vec<i16>,
    pub(super) repetition: Vec<i16>,
    /// Definition level of a value that is there.
    full: i16,
}

impl<T> Read<T> {
    /// Which rows of a column that is no list have a value.
    pub(super) fn present(&self, rows: usize) -> Vec<bool> {
        (0..rows).map(|i| self.full == 0 || self.definition.get(i) == Some(&self.full)).collect()
    }
}

fn each<T>(
    column: &Column,
    rows: usize,
    read: Read<T>,
    records: &mut Vec<RequestRecord>,
    set: impl Fn(&mut RequestRecord, Option<&T>) -> bool,
) -> Result<(), ParquetError> {
    if records.is_empty() {
        records.resize_with(rows, RequestRecord::blank);
    }
    let mut values = read.values.iter();
    for (i, record) in records.iter_mut().enumerate() {
        let present = read.full == 0 || read.definition.get(i) == Some(&read.full);
        let value =
            if present { Some(values.next().ok_or_else(|| bad(column.name, "ends early"))?) } else { None };
        if !set(record, value) {
            return Err(bad(column.name, "holds a value that this version does not know"));
        }
    }
    Ok(())
}

/// Fills the chunks of every record.
fn read_chunks(
    group: &dyn RowGroupReader,
    rows: usize,
    records: &mut [RequestRecord],
) -> Result<(), ParquetError> {
    let column = |name| {
        find(group, &[name, "list", "element"]).map(|i| (i, name)).ok_or_else(|| bad(name, "is missing"))
    };
    let (i, name) = column(schema::CHUNK_T)?;
    let stamps = read_column::<Int64Type>(group, i, rows, name)?;
    let (i, name) = column(schema::CHUNK_TOKENS)?;
    let tokens = read_column::<Int32Type>(group, i, rows, name)?;
    let (i, name) = column(schema::CHUNK_KIND)?;
    let kinds = read_column::<ByteArrayType>(group, i, rows, name)?;
    let name = schema::CHUNK_SHAPE;
    let shapes = match find(group, &[name, "list", "element"]) {
        Some(i) => Some(read_column::<Int32Type>(group, i, rows, name)?),
        None => None, // a file of an older version
    };
    let same = stamps.repetition == tokens.repetition
        && stamps.repetition == kinds.repetition
        && stamps.definition == kinds.definition
        && stamps.definition.len() == tokens.definition.len()
        && shapes.as_ref().is_none_or(|s| s.definition == stamps.definition);
    if !same {
        return Err(bad(schema::CHUNK_T, "and its sister columns differ in length"));
    }

    let mut row = None;
    let (mut t, mut n, mut k) = (stamps.values.iter(), tokens.values.iter(), kinds.values.iter());
    let mut s = shapes.iter().flat_map(|s| &s.values);
    let mut last_kind: Option<(&ByteArray, ChunkKind)> = None;
    for (i, (&definition, &repetition)) in stamps.definition.iter().zip(&stamps.repetition).enumerate() {
        if repetition == 0 {
            row = Some(row.map_or(0, |r| r + 1));
        }
        if definition < stamps.full {
            continue;
        }
        let record = row.and_then(|r| records.get_mut(r)).ok_or_else(|| bad(name, "has too many rows"))?;
        let (t_ns, kind) = t.next().zip(k.next()).ok_or_else(|| bad(name, "ends early"))?;
        // Kinds repeat, so most are recognised by their bytes alone.
        let kind = match last_kind {
            Some((bytes, known)) if bytes.data() == kind.data() => known,
            _ => {
                let known = std::str::from_utf8(kind.data())
                    .ok()
                    .and_then(ChunkKind::from_name)
                    .ok_or_else(|| bad(name, "holds a value that this version does not know"))?;
                last_kind = Some((kind, known));
                known
            }
        };
        let tokens = (tokens.definition[i] == tokens.full).then(|| n.next()).flatten().map(|&v| v as u32);
        let shape = s.next().map_or(ChunkShape::UNKNOWN, |&bits| ChunkShape::from_bits(bits as u16));
        record.chunks.push(ChunkStamp { t_ns: *t_ns, tokens, kind, shape });
    }
    Ok(())
}

/// Index of the leaf column with this path.
pub(super) fn find(group: &dyn RowGroupReader, path: &[&str]) -> Option<usize> {
    let schema = group.metadata().schema_descr();
    (0..schema.num_columns()).find(|&i| schema.column(i).path().parts().iter().eq(path))
}

pub(super) fn read_column<T: DataType>(
    group: &dyn RowGroupReader,
    index: usize,
    rows: usize,
    name: &str,
) -> Result<Read<T::T>, ParquetError> {
    let column = group.metadata().schema_descr().column(index);
    if column.physical_type() != T::get_physical_type() {
        return Err(bad(name, "has another type than this version expects"));
    }
    let reader: ColumnReader = group.get_column_reader(index)?;
    let mut reader = get_typed_column_reader::<T>(reader);
    let (mut values, mut definition, mut repetition) = (Vec::new(), Vec::new(), Vec::new());
    let (read, _, _) = reader.read_records(
        rows,
        (column.max_def_level() > 0).then_some(&mut definition),
        (column.max_rep_level() > 0).then_some(&mut repetition),
        &mut values,
    )?;
    if read != rows {
        return Err(bad(name, "has fewer rows than the file says"));
    }
    Ok(Read { values, definition, repetition, full: column.max_def_level() })
}

pub(super) fn bad(column: &str, what: &str) -> ParquetError {
    ParquetError::General(format!("column `{column}` {what}"))
}
