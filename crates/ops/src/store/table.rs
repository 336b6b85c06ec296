//! Rows to Parquet and back: a table is a list of columns, from which schema, writer and reader follow.
//!
//! Every column may be null, names are dictionary-encoded strings and whole numbers keep their width and sign, so that
//! DuckDB, Polars and ClickHouse read a segment without knowing Stopwatt. A column that a file does not have reads as
//! null, one that is not known is left alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

/// How a column is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// UNIX nanoseconds.
    Stamp,
    /// Unsigned 32 bits.
    Count,
    /// Unsigned 64 bits, kept bit by bit.
    Hash,
    Real,
    Text,
    Flag,
}

/// A value on its way.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Whole(i64),
    Real(f64),
    Text(Arc<str>),
    Flag(bool),
}

impl Cell {
    pub(crate) fn whole(self) -> Option<i64> {
        if let Self::Whole(v) = self { Some(v) } else { None }
    }
    pub(crate) fn real(self) -> Option<f64> {
        if let Self::Real(v) = self { Some(v) } else { None }
    }
    pub(crate) fn text(self) -> Option<Arc<str>> {
        if let Self::Text(v) = self { Some(v) } else { None }
    }
    pub(crate) fn flag(self) -> bool {
        self == Self::Flag(true)
    }
}

/// A column of `R`.
pub(crate) struct Column<R> {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) get: fn(&R) -> Cell,
    pub(crate) set: fn(&mut R, Cell),
}

/// Something that is kept in segments.
pub(crate) trait Table: Default + Clone + Send + 'static {
    /// First part of a segment's name.
    const NAME: &'static str;
    const COLUMNS: &'static [Column<Self>];
    /// UNIX nanoseconds by which rows are found.
    fn at(&self) -> i64;
}

fn schema<R: Table>() -> String {
    let column = |c: &Column<R>| {
        let of = match c.kind {
            Kind::Stamp => "int64 {}",
            Kind::Count => "int32 {} (INTEGER(32,false))",
            Kind::Hash => "int64 {} (INTEGER(64,false))",
            Kind::Real => "double {}",
            Kind::Text => "binary {} (STRING)",
            Kind::Flag => "boolean {}",
        };
        format!("optional {};\n", of.replace("{}", c.name))
    };
    format!("message {} {{\n{}}}", R::NAME, R::COLUMNS.iter().map(column).collect::<String>())
}

/// The rows as one Parquet file.
///
/// # Errors
/// The encoder refuses a value.
pub(crate) fn encode<R: Table>(rows: &[R]) -> Result<Vec<u8>, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(format!("stopwatt {}", env!("CARGO_PKG_VERSION")));
    // Stamps grow steadily: packed differences need a few bytes where a dictionary would only fill up.
    for column in R::COLUMNS.iter().filter(|c| c.kind == Kind::Stamp) {
        let path = ColumnPath::new(vec![column.name.to_owned()]);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
    }
    let schema = Arc::new(parse_message_type(&schema::<R>())?);
    let mut bytes = Vec::new();
    let mut file = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties.build()))?;
    let mut group = file.next_row_group()?;
    for column in R::COLUMNS {
        let cells: Vec<Cell> = rows.iter().map(column.get).collect();
        let levels: Vec<i16> = cells.iter().map(|c| i16::from(*c != Cell::Null)).collect();
        let present = cells.into_iter();
        match column.kind {
            Kind::Stamp | Kind::Hash => {
                write::<Int64Type>(&mut group, present.filter_map(Cell::whole).collect(), &levels)?;
            }
            Kind::Count => {
                // The bits are those of an unsigned number.
                let values = present.filter_map(Cell::whole).map(|v| v as i32).collect();
                write::<Int32Type>(&mut group, values, &levels)?;
            }
            Kind::Real => write::<DoubleType>(&mut group, present.filter_map(Cell::real).collect(), &levels)?,
            Kind::Text => {
                let values = present.filter_map(Cell::text).map(|t| ByteArray::from(&*t)).collect();
                write::<ByteArrayType>(&mut group, values, &levels)?;
            }
            Kind::Flag => {
                let values = present.filter(|c| *c != Cell::Null).map(Cell::flag).collect();
                write::<BoolType>(&mut group, values, &levels)?;
            }
        }
    }
    group.close()?;
    file.close()?;
    Ok(bytes)
}

fn write<D: DataType>(
    group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>,
    values: Vec<D::T>,
    levels: &[i16],
) -> Result<(), ParquetError> {
    let lost = || ParquetError::General("a table has more columns than its schema".to_owned());
    let mut column = group.next_column()?.ok_or_else(lost)?;
    column.typed::<D>().write_batch(&values, Some(levels), None)?;
    column.close()
}

/// The rows of a file.
///
/// # Errors
/// It is no Parquet, or a column has another type.
pub(crate) fn decode<R: Table>(bytes: Bytes) -> Result<Vec<R>, ParquetError> {
    let file = SerializedFileReader::new(bytes)?;
    let names: Vec<String> = file
        .metadata()
        .file_metadata()
        .schema_descr()
        .columns()
        .iter()
        .map(|c| c.name().to_owned())
        .collect();
    let mut rows = Vec::new();
    for g in 0..file.num_row_groups() {
        let group = file.get_row_group(g)?;
        let count = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        let begin = rows.len();
        rows.resize_with(begin + count, R::default);
        for column in R::COLUMNS {
            let Some(index) = names.iter().position(|n| n == column.name) else { continue };
            let reader = group.get_column_reader(index)?;
            let cells = read(reader, column.kind, count)
                .map_err(|e| ParquetError::General(format!("column `{}`: {e}", column.name)))?;
            for (row, cell) in rows[begin..].iter_mut().zip(cells) {
                (column.set)(row, cell);
            }
        }
    }
    Ok(rows)
}

fn read(reader: ColumnReader, kind: Kind, count: usize) -> Result<Vec<Cell>, ParquetError> {
    let wrong = || ParquetError::General("has another type".to_owned());
    Ok(match (kind, reader) {
        (Kind::Stamp | Kind::Hash, ColumnReader::Int64ColumnReader(r)) => cells(r, count, Cell::Whole)?,
        (Kind::Count, ColumnReader::Int32ColumnReader(r)) => {
            cells(r, count, |v| Cell::Whole(i64::from(v as u32)))?
        }
        (Kind::Real, ColumnReader::DoubleColumnReader(r)) => cells(r, count, Cell::Real)?,
        (Kind::Flag, ColumnReader::BoolColumnReader(r)) => cells(r, count, Cell::Flag)?,
        (Kind::Text, reader @ ColumnReader::ByteArrayColumnReader(_)) => {
            let reader: ColumnReaderImpl<ByteArrayType> = get_typed_column_reader(reader);
            // Few texts come again and again: one copy of each serves all rows.
            let mut known: BTreeSet<Arc<str>> = BTreeSet::new();
            cells(reader, count, |v| {
                let text = String::from_utf8_lossy(v.data());
                let shared = known.get(&*text).cloned().unwrap_or_else(|| {
                    let fresh: Arc<str> = text.into();
                    known.insert(Arc::clone(&fresh));
                    fresh
                });
                Cell::Text(shared)
            })?
        }
        _ => return Err(wrong()),
    })
}

fn cells<D: DataType>(
    mut reader: ColumnReaderImpl<D>,
    count: usize,
    mut cell: impl FnMut(D::T) -> Cell,
) -> Result<Vec<Cell>, ParquetError> {
    let (mut values, mut levels) = (Vec::with_capacity(count), Vec::with_capacity(count));
    while levels.len() < count {
        let (read, _, _) = reader.read_records(count - levels.len(), Some(&mut levels), None, &mut values)?;
        if read == 0 {
            break;
        }
    }
    let mut values = values.into_iter();
    let present = |level: i16| if level > 0 { values.next().map(&mut cell) } else { None };
    Ok(levels.into_iter().map(present).map(|c| c.unwrap_or(Cell::Null)).collect())
}
