//! From request records to a Parquet row group.

use std::io::Write;

use parquet::data_type::{ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::TypePtr;
use stopwatt_core::{ChunkKind, ChunkStamp, RequestRecord};

use super::schema::{self, Access, COLUMNS, Width};

/// Rows that wait to become a row group.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) rows: Vec<RequestRecord>,
    chunks: usize,
}

impl Group {
    /// Most rows of a group.
    pub(super) const MAX_ROWS: usize = 32_768;
    /// Most chunks of a group: 24 MiB in memory, so that writing and reading need little.
    pub(super) const MAX_CHUNKS: usize = 1 << 20;

    pub(super) fn push(&mut self, record: RequestRecord) {
        self.chunks += record.chunks.len();
        self.rows.push(record);
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
        rows: &[RequestRecord],
    ) -> Result<(), ParquetError> {
        let mut group = file.next_row_group()?;
        for column in COLUMNS {
            match column.access {
                Access::Number { width: Width::I64 | Width::U64, get, .. } => {
                    write_scalars::<Int64Type, _>(&mut group, rows, column.optional, get)?;
                }
                Access::Number { width: Width::U32 | Width::U16, get, .. } => {
                    write_scalars::<Int32Type, _>(&mut group, rows, column.optional, |r| {
                        get(r).map(|v| v as i32)
                    })?;
                }
                Access::Text { get, .. } => {
                    write_scalars::<ByteArrayType, _>(&mut group, rows, column.optional, get)?;
                }
            }
        }
        let levels = self.list_levels(rows);
        let chunks = || rows.iter().filter(|_| self.keep_chunks).flat_map(|r| &r.chunks);

        let stamps: Vec<i64> = chunks().map(|c| c.t_ns).collect();
        write_column::<Int64Type>(&mut group, &stamps, Some(&levels.definition), Some(&levels.repetition))?;

        let tokens: Vec<i32> = chunks().filter_map(|c| c.tokens).map(|t| t as i32).collect();
        let definition = token_levels(&levels.definition, chunks());
        write_column::<Int32Type>(&mut group, &tokens, Some(&definition), Some(&levels.repetition))?;

        let names: Vec<_> = ChunkKind::ALL.iter().map(|k| schema::name(k.name())).collect();
        let kinds: Vec<_> = chunks().map(|c| names[c.kind as usize].clone()).collect();
        write_column::<ByteArrayType>(
            &mut group,
            &kinds,
            Some(&levels.definition),
            Some(&levels.repetition),
        )?;
        group.close()?;
        Ok(())
    }

    /// Levels of a list column whose elements are required: 0 no list, 1 an empty list, 2 an element.
    fn list_levels(&self, rows: &[RequestRecord]) -> Levels {
        let mut levels = Levels::default();
        for row in rows {
            if !self.keep_chunks || row.chunks.is_empty() {
                levels.definition.push(i16::from(self.keep_chunks));
                levels.repetition.push(0);
            } else {
                let n = row.chunks.len();
                levels.definition.resize(levels.definition.len() + n, 2);
                levels.repetition.push(0);
                levels.repetition.resize(levels.repetition.len() + n - 1, 1);
            }
        }
        levels
    }
}

#[derive(Default)]
struct Levels {
    definition: Vec<i16>,
    repetition: Vec<i16>,
}

/// Levels of the list column whose elements may be absent: as the others, but 2 is an unknown and 3 a known count.
fn token_levels<'a>(list: &[i16], mut chunks: impl Iterator<Item = &'a ChunkStamp>) -> Vec<i16> {
    list.iter()
        .map(|&level| match level {
            2 if chunks.next().is_some_and(|c| c.tokens.is_some()) => 3,
            other => other,
        })
        .collect()
}

fn write_scalars<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    rows: &[RequestRecord],
    optional: bool,
    get: impl Fn(&RequestRecord) -> Option<T::T>,
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
    write_column::<T>(group, &values, optional.then_some(&definition[..]), None)
}

fn write_column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, impl Write + Send>,
    values: &[T::T],
    definition: Option<&[i16]>,
    repetition: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let mut column =
        group.next_column()?.ok_or_else(|| ParquetError::General("the schema has too few columns".into()))?;
    column.typed::<T>().write_batch(values, definition, repetition)?;
    column.close()
}
