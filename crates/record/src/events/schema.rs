//! The columns of `events.parquet`: one table, from which the file schema, the writer and the reader follow.
//!
//! Every field of [`RequestRecord`] is one column of the same name; the chunks are four list columns of equal
//! length. Numbers keep their width and sign as Parquet logical types, names are dictionary-encoded strings, so
//! DuckDB, Polars and pandas read the file without knowing Stopwatt. The reader finds columns by name: a column it
//! does not know is left alone, an optional one that is missing reads as `None`. The columns of [`SUMMARY`] repeat what
//! the chunks say, so that most readers need no chunks.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding};
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, TypePtr};
use stopwatt_core::stream::StreamSummary;
use stopwatt_core::{EndKind, FinishReason, Phase, RequestRecord};

/// How a number is stored. In memory each is an `i64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    /// Signed 64 bits: stamps.
    I64,
    /// Unsigned 64 bits, kept bit by bit.
    U64,
    /// Unsigned 32 bits.
    U32,
    /// Unsigned 16 bits.
    U16,
}

impl Width {
    fn parquet(self) -> (&'static str, &'static str) {
        match self {
            Self::I64 => ("int64", ""),
            Self::U64 => ("int64", " (INTEGER(64,false))"),
            Self::U32 => ("int32", " (INTEGER(32,false))"),
            Self::U16 => ("int32", " (INTEGER(16,false))"),
        }
    }
}

/// Where a column's values go and come from. `set` is false when the value is not legal.
pub(super) enum Access {
    Number {
        width: Width,
        get: fn(&RequestRecord) -> Option<i64>,
        set: fn(&mut RequestRecord, Option<i64>) -> bool,
    },
    Text {
        get: fn(&RequestRecord) -> Option<ByteArray>,
        set: fn(&mut RequestRecord, Option<&str>) -> bool,
    },
}

/// One column.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) optional: bool,
    pub(super) access: Access,
}

macro_rules! number {
    ($field:ident: $width:ident) => {
        Column {
            name: stringify!($field),
            optional: false,
            access: Access::Number {
                width: Width::$width,
                get: |r| Some(r.$field as i64),
                set: |r, v| v.map(|v| r.$field = v as _).is_some(),
            },
        }
    };
    ($field:ident: Option<$width:ident>) => {
        Column {
            name: stringify!($field),
            optional: true,
            access: Access::Number {
                width: Width::$width,
                get: |r| r.$field.map(|v| v as i64),
                set: |r, v| {
                    r.$field = v.map(|v| v as _);
                    true
                },
            },
        }
    };
}

/// Every column but the chunks, in file order.
pub(super) const COLUMNS: &[Column] = &[
    number!(id: U64),
    number!(point: U32),
    number!(trial: U32),
    Column {
        name: "phase",
        optional: false,
        access: Access::Text {
            get: |r| Some(name(r.phase.name())),
            set: |r, v| v.and_then(Phase::from_name).map(|v| r.phase = v).is_some(),
        },
    },
    number!(session: Option<U64>),
    number!(turn: Option<U32>),
    number!(input_asked: U32),
    number!(output_asked: U32),
    number!(input_usage: Option<U32>),
    number!(output_usage: Option<U32>),
    number!(cached_usage: Option<U32>),
    number!(output_tokenizer: Option<U32>),
    number!(intended_ns: I64),
    number!(dispatched_ns: Option<I64>),
    number!(connected_ns: Option<I64>),
    number!(written_ns: Option<I64>),
    number!(first_byte_ns: Option<I64>),
    number!(end_ns: I64),
    Column {
        name: "end",
        optional: false,
        access: Access::Text {
            get: |r| Some(name(r.end.name())),
            set: |r, v| v.and_then(EndKind::from_name).map(|v| r.end = v).is_some(),
        },
    },
    number!(status: Option<U16>),
    number!(error_len: Option<U32>),
    Column {
        name: "error_hash",
        optional: true,
        access: Access::Text {
            get: |r| r.error_hash.as_deref().map(ByteArray::from),
            set: |r, v| {
                r.error_hash = v.map(str::to_owned);
                true
            },
        },
    },
    Column {
        name: "finish",
        optional: true,
        access: Access::Text {
            get: |r| r.finish.map(|f| name(f.name())),
            set: |r, v| {
                r.finish = v.and_then(FinishReason::from_name);
                r.finish.is_some() == v.is_some()
            },
        },
    },
];

/// A column of what a stream comes to, null in every row without a token chunk. It needs no `optional`: all are.
pub(super) struct SummaryColumn {
    pub(super) name: &'static str,
    pub(super) width: Width,
    pub(super) get: fn(&StreamSummary) -> Option<i64>,
    pub(super) set: fn(&mut StreamSummary, i64),
}

macro_rules! summary {
    ($field:ident: $width:ident) => {
        SummaryColumn {
            name: stringify!($field),
            width: Width::$width,
            get: |s| Some(s.$field as i64),
            set: |s, v| s.$field = v as _,
        }
    };
    ($field:ident: Option<$width:ident>) => {
        SummaryColumn {
            name: stringify!($field),
            width: Width::$width,
            get: |s| s.$field.map(|v| v as i64),
            set: |s, v| s.$field = Some(v as _),
        }
    };
}

/// The fields of [`StreamSummary`], in file order. The first one tells whether there is a token chunk.
pub(super) const SUMMARY: &[SummaryColumn] = &[
    summary!(first_token_ns: I64),
    summary!(last_token_ns: I64),
    summary!(first_answer_ns: Option<I64>),
    summary!(first_chunk_tokens: Option<U32>),
    summary!(token_chunks: U32),
    summary!(stated_tokens: Option<U32>),
    summary!(longest_gap_ns: I64),
    summary!(longest_itl_ns: I64),
];

/// The list columns, in file order; the last may be missing in files of older versions. A null list means that the run dropped chunks, an empty one that none came.
pub(super) const CHUNK_T: &str = "chunk_t_ns";
/// See [`CHUNK_T`].
pub(super) const CHUNK_TOKENS: &str = "chunk_tokens";
/// See [`CHUNK_T`].
pub(super) const CHUNK_KIND: &str = "chunk_kind";
/// See [`CHUNK_T`].
pub(super) const CHUNK_SHAPE: &str = "chunk_shape";

/// A name as a Parquet value, without allocation.
pub(super) fn name(name: &'static str) -> ByteArray {
    ByteArray::from(Bytes::from_static(name.as_bytes()))
}

/// The file schema.
pub(super) fn file_schema() -> Result<TypePtr, ParquetError> {
    let mut text = String::from("message request {\n");
    for c in COLUMNS {
        let repetition = if c.optional { "optional" } else { "required" };
        let (physical, logical) = match c.access {
            Access::Number { width, .. } => width.parquet(),
            Access::Text { .. } => ("binary", " (STRING)"),
        };
        let _ = writeln!(text, "  {repetition} {physical} {}{logical};", c.name);
    }
    for c in SUMMARY {
        let (physical, logical) = c.width.parquet();
        let _ = writeln!(text, "  optional {physical} {}{logical};", c.name);
    }
    for (list, element) in [
        (CHUNK_T, "required int64 element"),
        (CHUNK_TOKENS, "optional int32 element (INTEGER(32,false))"),
        (CHUNK_KIND, "required binary element (STRING)"),
        (CHUNK_SHAPE, "required int32 element (INTEGER(16,false))"),
    ] {
        let _ = writeln!(text, "  optional group {list} (LIST) {{ repeated group list {{ {element}; }} }}");
    }
    text.push_str("}\n");
    parse_message_type(&text).map(Arc::new)
}

/// How the columns are encoded, and `notes` for whoever opens the file.
///
/// Stamps grow steadily, so delta packing needs 2–4 bytes each where a dictionary would only fill up; everything
/// else repeats and suits the dictionary.
pub(super) fn properties(notes: &[(&str, String)]) -> WriterProperties {
    let mut p = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(format!("stopwatt {}", env!("CARGO_PKG_VERSION")))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_key_value_metadata(Some(
            notes.iter().map(|(k, v)| KeyValue::new((*k).to_owned(), v.clone())).collect(),
        ));
    let stamps = COLUMNS
        .iter()
        .filter(|c| matches!(c.access, Access::Number { width: Width::I64 | Width::U64, .. }))
        .map(|c| c.name)
        .chain(SUMMARY.iter().filter(|c| matches!(c.width, Width::I64)).map(|c| c.name))
        .map(|name| ColumnPath::new(vec![name.to_owned()]));
    let chunk_stamps = ColumnPath::new([CHUNK_T, "list", "element"].map(str::to_owned).to_vec());
    for path in stamps.chain([chunk_stamps]) {
        p = p
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
    }
    p.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_record_has_a_column() {
        let record = serde_json::to_value(RequestRecord::blank()).unwrap();
        let mut fields: Vec<&str> = record.as_object().unwrap().keys().map(String::as_str).collect();
        let mut columns: Vec<&str> = COLUMNS.iter().map(|c| c.name).chain(["chunks"]).collect();
        fields.sort_unstable();
        columns.sort_unstable();
        assert_eq!(fields, columns);
    }

    #[test]
    fn every_field_of_the_summary_has_a_column() {
        let summary = serde_json::to_value(StreamSummary::default()).unwrap();
        let mut fields: Vec<&str> = summary.as_object().unwrap().keys().map(String::as_str).collect();
        let mut columns: Vec<&str> = SUMMARY.iter().map(|c| c.name).collect();
        fields.sort_unstable();
        columns.sort_unstable();
        assert_eq!(fields, columns);
    }

    #[test]
    fn the_schema_is_a_valid_parquet_schema() {
        let schema = file_schema().unwrap();
        assert_eq!(schema.get_fields().len(), COLUMNS.len() + SUMMARY.len() + 4);
    }
}
