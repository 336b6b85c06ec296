//! From request records to a Parquet row group.

use std::io::Write;

use parquet::data_type::{ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::TypePtr;
use stopwatt_core::stream::StreamSummary;
use stopwatt_core::{ChunkKind, ChunkStamp, RequestRecord};

use super::schema::{self, Access, COLUMNS, SUMMARY, Width};

/// Rows that wait to become a row group.
#[derive(Debug, Default)]
pub(super) struct Group {
    rows: Vec<RequestRecord>,
    /// What the stream of each row comes to: kept beside it because a run may drop its chunks.
    summaries: Vec<Option<StreamSummary>>,
    chunks: usize,
}

impl Group {
    /// Most rows of a group.
    pub(super) const MAX_ROWS: usize = 32_768;
    /// Most chunks of a group: 6 MiB in memory, so that writing and reading need little.
    pub(super) const MAX_CHUNKS: usize = 1 << 18;

    pub(super) fn push(&mut self, record: RequestRecord) {
        let summary = StreamSummary::of(&record.chunks);
        self.push_summed(record, summary);
    }

    /// Adds a row whose stream is summed up already.
    pub(super) fn push_summed(&mut self, record: RequestRecord, summary: Option<StreamSummary>) {
        self.chunks += record.chunks.len();
        self.rows.push(record);
        self.summaries.push(summary);
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= Self::MAX_ROWS || self.chunks >= Self::MAX_CHUNKS
    }

    pub(super) fn chunks(&self) -> usize {
        self.chunks
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.summaries.clear();
        self.chunks = 0;
    }
}

/// Everything a Parquet file of request rows needs but the rows.
#[derive(Debug, Clone)]
pub(super) struct FileFormat {
    schema: TypePtr,
    properties: WriterPropertiesPtr,
    keep_chunks: bool,
}

impl FileFormat {
    pub(super) fn new(notes: &[(&str, String)], keep_chunks: bool) -> Result<Self, ParquetError> {
        Ok(Self { schema: schema::file_schema()?, properties: schema::properties(notes).into(), keep_chunks })
    }

    /// Begins a file.
    pub(super) fn begin<W: Write + Send>(&self, sink: W) -> Result<SerializedFileWriter<W>, ParquetError> {
        SerializedFileWriter::new(sink, self.schema.clone(), self.properties.clone())
    }

    /// Writes one row group.
    pub(super) fn write_group<W: Write + Send>(
        &self,
        file: &mut SerializedFileWriter<W>,
        waiting: &Group,
    ) -> Result<(), ParquetError> {
        let (rows, summaries) = (&waiting.rows[..], &waiting.summaries[..]);
        let mut group = file.next_row_group()?;
        for column in COLUMNS {
            match column.access {
                Access::Number { width: Width::I64 | Width::U64, get, .. } => {
                    write_scalars::<Int64Type, _, _>(&mut group, rows, column.optional, get)?;
                }
                Access::Number { width: Width::U32 | Width::U16, get, .. } => {
                    write_scalars::<Int32Type, _, _>(&mut group, rows, column.optional, |r| {
                        get(r).map(|v| v as i32)
                    })?;
                }
                Access::Text { get, .. } => {
                    write_scalars::<ByteArrayType, _, _>(&mut group, rows, column.optional, get)?;
                }
            }
        }
        for column in SUMMARY {
            let get = |s: &Option<StreamSummary>| s.as_ref().and_then(column.get);
            match column.width {
                Width::I64 | Width::U64 => {
                    write_scalars::<Int64Type, _, _>(&mut group, summaries, true, get)?;
                }
                Width::U32 | Width::U16 => {
                    write_scalars::<Int32Type, _, _>(&mut group, summaries, true, |s| {
                        get(s).map(|v| v as i32)
                    })?;
                }
            }
        }
        let names: Vec<_> = ChunkKind::ALL.iter().map(|k| schema::name(k.name())).collect();
        self.write_lists::<Int64Type, _>(&mut group, rows, |c| Some(c.t_ns), 2)?;
        self.write_lists::<Int32Type, _>(&mut group, rows, |c| c.tokens.map(|t| t as i32), 3)?;
        self.write_lists::<ByteArrayType, _>(&mut group, rows, |c| Some(names[c.kind as usize].clone()), 2)?;
        self.write_lists::<Int32Type, _>(&mut group, rows, |c| Some(i32::from(c.shape.bits())), 2)?;
        group.close()?;
        Ok(())
    }

    /// Writes one field of every chunk. Definition levels: 0 no list, 1 an empty list, 2 an element that is absent,
    /// `full` one that is there (2 where elements are required).
    fn write_lists<T: DataType, W: Write + Send>(
        &self,
        group: &mut SerializedRowGroupWriter<'_, W>,
        rows: &[RequestRecord],
        get: impl Fn(&ChunkStamp) -> Option<T::T>,
        full: i16,
    ) -> Result<(), ParquetError> {
        let mut column = next_column(group)?;
        let (mut values, mut definition, mut repetition) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            if !self.keep_chunks || row.chunks.is_empty() {
                definition.push(i16::from(self.keep_chunks));
                repetition.push(0);
            }
            for (i, chunk) in row.chunks.iter().enumerate().filter(|_| self.keep_chunks) {
                let value = get(chunk);
                definition.push(if value.is_some() { full } else { 2 });
                repetition.push(i16::from(i > 0));
                values.extend(value);
            }
            // Handed over bit by bit: the columns of a whole group would need more memory than its rows.
            if definition.len() >= BATCH {
                column.typed::<T>().write_batch(&values, Some(&definition), Some(&repetition))?;
                values.clear();
                definition.clear();
                repetition.clear();
            }
        }
        column.typed::<T>().write_batch(&values, Some(&definition), Some(&repetition))?;
        column.close()
    }
}

/// Levels that are handed to the Parquet writer at once.
const BATCH: usize = 16_384;

fn write_scalars<T: DataType, W: Write + Send, R>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    rows: &[R],
    optional: bool,
    get: impl Fn(&R) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let mut values = Vec::with_capacity(rows.len());
    let mut definition = Vec::with_capacity(if optional { rows.len() } else { 0 });
    for row in rows {
        let value = get(row);
        if optional {
            definition.push(i16::from(value.is_some()));
        }
        values.extend(value);
    }
    let mut column = next_column(group)?;
    column.typed::<T>().write_batch(&values, optional.then_some(&definition[..]), None)?;
    column.close()
}

pub(super) fn next_column<'a, W: Write + Send>(
    group: &'a mut SerializedRowGroupWriter<'_, W>,
) -> Result<SerializedColumnWriter<'a>, ParquetError> {
    group.next_column()?.ok_or_else(|| ParquetError::General("the schema has too few columns".into()))
}
