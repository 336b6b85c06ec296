//! `kernels.parquet`: one row a kernel, with a typed column for each size of its shape.
//!
//! A row is laid out flat once (`COLUMNS` says which columns there are), and Parquet and CSV are both made from that.
//! Sizes that a shape does not have are null. The file is small and is written as a whole each time, under a temporary
//! name: whatever ends a profile leaves a table that can be read.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::record::Field;
use parquet::schema::parser::parse_message_type;
use serde_json::{Map, Value};
use stopwatt_core::kernel_table::KernelRow;

use crate::run_dir::RunError;

/// Name of the table in a run.
pub const FILE: &str = "kernels.parquet";

/// Why a table could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelTableError {
    /// The file could not be read.
    #[error("failed to read {}", path.display())]
    Io {
        /// Which file.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It is not Parquet, or could not be made.
    #[error("failed to read or write a kernel table")]
    Parquet(#[from] ParquetError),
    /// The file or its folder could not be written.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A row is not one of a kernel table.
    #[error("row {row} is not one of a kernel table")]
    Row {
        /// Which, from 0.
        row: usize,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// Types of columns. All may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Count,
    Number,
    Flag,
}

/// A column, and where its value stands in a row: a path of keys.
struct Column {
    name: &'static str,
    kind: Kind,
    path: &'static [&'static str],
}

macro_rules! columns {
    ($($name:literal $kind:ident [$($key:literal)+])+) => {
        const COLUMNS: &[Column] = &[$(Column { name: $name, kind: Kind::$kind, path: &[$($key),+] }),+];
    };
}

columns! {
    "op" Text ["op" "kind"]
    "dtype_in" Text ["op" "dtypes" "input"]
    "dtype_weight" Text ["op" "dtypes" "weight"]
    "dtype_out" Text ["op" "dtypes" "output"]
    "shape" Text ["op" "shape" "form"]
    "m" Count ["op" "shape" "m"]
    "n" Count ["op" "shape" "n"]
    "k" Count ["op" "shape" "k"]
    "rows" Count ["op" "shape" "rows"]
    "cols" Count ["op" "shape" "cols"]
    "batch" Count ["op" "shape" "batch"]
    "channels" Count ["op" "shape" "channels"]
    "height" Count ["op" "shape" "height"]
    "width" Count ["op" "shape" "width"]
    "filters" Count ["op" "shape" "filters"]
    "kernel" Count ["op" "shape" "kernel"]
    "stride" Count ["op" "shape" "stride"]
    "padding" Count ["op" "shape" "padding"]
    "steps" Count ["op" "shape" "steps"]
    "input" Count ["op" "shape" "input"]
    "hidden" Count ["op" "shape" "hidden"]
    "layers" Count ["op" "shape" "layers"]
    "tokens" Count ["op" "shape" "tokens"]
    "sequences" Count ["op" "shape" "sequences"]
    "new_tokens" Count ["op" "shape" "new_tokens"]
    "cached" Count ["op" "shape" "cached"]
    "heads" Count ["op" "shape" "heads"]
    "kv_heads" Count ["op" "shape" "kv_heads"]
    "head_dim" Count ["op" "shape" "head_dim"]
    "page" Count ["op" "shape" "page"]
    "vocab" Count ["op" "shape" "vocab"]
    "experts" Count ["op" "shape" "experts"]
    "top_k" Count ["op" "shape" "top_k"]
    "intermediate" Count ["op" "shape" "intermediate"]
    "skew_percent" Count ["op" "shape" "skew_percent"]
    "elements" Count ["op" "shape" "elements"]
    "ranks" Count ["op" "shape" "ranks"]
    "kernels" Count ["op" "shape" "kernels"]
    "provider" Text ["provider"]
    "kernel_name" Text ["kernel"]
    "grid" Count ["grid"]
    "block" Count ["block"]
    "launch" Text ["launch"]
    "cache" Text ["cache"]
    "outcome" Text ["outcome" "outcome"]
    "samples" Count ["outcome" "time" "n"]
    "calls" Count ["outcome" "time" "calls"]
    "discarded" Count ["outcome" "time" "discarded"]
    "median_s" Number ["outcome" "time" "median_s"]
    "mad_s" Number ["outcome" "time" "mad_s"]
    "mean_s" Number ["outcome" "time" "mean_s"]
    "lo_s" Number ["outcome" "time" "lo_s"]
    "hi_s" Number ["outcome" "time" "hi_s"]
    "settled" Flag ["outcome" "time" "settled"]
    "rounds" Count ["outcome" "time" "rounds"]
    "between" Number ["outcome" "time" "between"]
    "unsteady" Text ["unsteady"]
    "deviation" Number ["outcome" "deviation"]
    "sm_mhz" Number ["clocks" "sm_mhz"]
    "mem_mhz" Number ["clocks" "mem_mhz"]
    "power_w" Number ["clocks" "power_w"]
    "power_limited" Flag ["clocks" "power_limited"]
    "skipped" Text ["outcome" "reason"]
    "flop" Number ["work" "flop"]
    "read_bytes" Number ["work" "read_bytes"]
    "write_bytes" Number ["work" "write_bytes"]
}

/// The row as a tree, with the work that its operator is.
fn tree(row: &KernelRow) -> Value {
    let mut tree = serde_json::to_value(row).unwrap_or_default();
    if let (Some(object), Some(work)) = (tree.as_object_mut(), row.op.work()) {
        let work = serde_json::json!({
            "flop": work.flop, "read_bytes": work.read_bytes, "write_bytes": work.write_bytes,
        });
        object.insert("work".to_owned(), work);
    }
    tree
}

fn at<'a>(tree: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(tree, |value, key| value.get(key)).filter(|v| !v.is_null())
}

/// The table as Parquet, with `notes` for whoever opens it.
///
/// # Errors
/// The encoder refuses a value.
pub fn encode(rows: &[KernelRow], notes: &[(&str, String)]) -> Result<Vec<u8>, KernelTableError> {
    let column = |c: &Column| {
        let of = match c.kind {
            Kind::Text => "binary {} (STRING)",
            Kind::Count => "int32 {} (INTEGER(32,false))",
            Kind::Number => "double {}",
            Kind::Flag => "boolean {}",
        };
        format!("optional {};\n", of.replace("{}", c.name))
    };
    let schema = format!("message kernels {{\n{}}}", COLUMNS.iter().map(column).collect::<String>());
    let notes = notes.iter().map(|(k, v)| KeyValue::new((*k).to_owned(), v.clone())).collect();
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(format!("stopwatt {}", env!("CARGO_PKG_VERSION")))
        .set_key_value_metadata(Some(notes))
        .build();
    let trees: Vec<Value> = rows.iter().map(tree).collect();
    let mut bytes = Vec::new();
    let mut file =
        SerializedFileWriter::new(&mut bytes, Arc::new(parse_message_type(&schema)?), properties.into())?;
    if !rows.is_empty() {
        let mut group = file.next_row_group()?;
        for column in COLUMNS {
            let values: Vec<Option<&Value>> = trees.iter().map(|t| at(t, column.path)).collect();
            let levels: Vec<i16> = values.iter().map(|v| i16::from(v.is_some())).collect();
            let present = values.iter().copied().flatten();
            let lost = || ParquetError::General("a kernel table has too many columns".to_owned());
            let mut out = group.next_column()?.ok_or_else(lost)?;
            let levels = Some(&levels[..]);
            match column.kind {
                Kind::Text => {
                    let text: Vec<ByteArray> =
                        present.filter_map(Value::as_str).map(ByteArray::from).collect();
                    out.typed::<ByteArrayType>().write_batch(&text, levels, None)?;
                }
                Kind::Count => {
                    let counts: Vec<i32> = present.filter_map(Value::as_u64).map(|v| v as i32).collect();
                    out.typed::<Int32Type>().write_batch(&counts, levels, None)?;
                }
                Kind::Number => {
                    let numbers: Vec<f64> = present.filter_map(Value::as_f64).collect();
                    out.typed::<DoubleType>().write_batch(&numbers, levels, None)?;
                }
                Kind::Flag => {
                    let flags: Vec<bool> = present.filter_map(Value::as_bool).collect();
                    out.typed::<BoolType>().write_batch(&flags, levels, None)?;
                }
            }
            out.close()?;
        }
        group.close()?;
    }
    file.close()?;
    Ok(bytes)
}

/// The rows of a table. Columns that this version does not know are left alone; missing ones read as null.
///
/// # Errors
/// It is not Parquet, or not a kernel table.
pub fn decode(bytes: Vec<u8>) -> Result<Vec<KernelRow>, KernelTableError> {
    let reader = SerializedFileReader::new(Bytes::from(bytes))?;
    let mut rows = Vec::new();
    for (index, record) in reader.get_row_iter(None)?.enumerate() {
        let record = record?;
        let mut tree = Value::Object(Map::new());
        for (name, field) in record.get_column_iter() {
            let Some(column) = COLUMNS.iter().find(|c| c.name == name) else { continue };
            let value = match field {
                Field::Str(text) => Value::from(text.clone()),
                Field::UInt(v) => Value::from(*v),
                Field::Int(v) => Value::from(*v),
                Field::Double(v) => Value::from(*v),
                Field::Bool(v) => Value::from(*v),
                _ => continue,
            };
            put(&mut tree, column.path, value);
        }
        if let Some(object) = tree.as_object_mut() {
            object.entry("clocks").or_insert_with(|| Value::Object(Map::new()));
        }
        rows.push(
            serde_json::from_value(tree).map_err(|source| KernelTableError::Row { row: index, source })?,
        );
    }
    Ok(rows)
}

/// A note that a table carries, by its key.
///
/// # Errors
/// It is not Parquet.
pub fn note(bytes: Vec<u8>, key: &str) -> Result<Option<String>, KernelTableError> {
    let reader = SerializedFileReader::new(Bytes::from(bytes))?;
    let notes = reader.metadata().file_metadata().key_value_metadata();
    Ok(notes.into_iter().flatten().find(|n| n.key == key).and_then(|n| n.value.clone()))
}

fn put(tree: &mut Value, path: &[&str], value: Value) {
    let Some((last, folders)) = path.split_last() else { return };
    let mut place = tree;
    for key in folders {
        let Some(object) = place.as_object_mut() else { return };
        place = object.entry(*key).or_insert_with(|| Value::Object(Map::new()));
    }
    if let Some(object) = place.as_object_mut() {
        object.insert((*last).to_owned(), value);
    }
}

/// The rows of the table in a run; `None` when it has none, and of a place that is no folder.
///
/// # Errors
/// The file cannot be read, or is not a kernel table.
pub fn read(run: &Path) -> Result<Option<Vec<KernelRow>>, KernelTableError> {
    let path = run.join(FILE);
    match std::fs::read(&path) {
        Ok(bytes) => decode(bytes).map(Some),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(KernelTableError::Io { path, source }),
    }
}

/// The table as CSV, with the columns of the Parquet file. Nulls are empty.
#[must_use]
pub fn csv(rows: &[KernelRow]) -> String {
    let mut text = COLUMNS.iter().map(|c| c.name).collect::<Vec<_>>().join(",");
    text.push('\n');
    for row in rows {
        let tree = tree(row);
        let cell = |c: &Column| match at(&tree, c.path) {
            None => String::new(),
            Some(Value::String(text)) if text.contains([',', '"', '\n', '\r']) => {
                format!("\"{}\"", text.replace('"', "\"\""))
            }
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        text.push_str(&COLUMNS.iter().map(cell).collect::<Vec<_>>().join(","));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use stopwatt_core::kernel_table::{
        CacheState, Clocks, Dtype, Dtypes, Launch, Op, OpKind, Outcome, Provider, Sampled, Shape,
    };

    use super::*;

    fn row(kind: OpKind, shape: Shape, outcome: Outcome) -> KernelRow {
        KernelRow {
            op: Op { kind, shape, dtypes: Dtypes { weight: Dtype::Bf16, ..Dtypes::all(Dtype::F32) } },
            provider: Provider::Native,
            kernel: Some("a, \"b\"".to_owned()),
            grid: None,
            block: Some(2),
            launch: Launch::Eager,
            cache: CacheState::Cold,
            clocks: Clocks { sm_mhz: Some(1980.5), ..Clocks::default() },
            outcome,
            unsteady: Some("1 of 3 rounds".to_owned()),
        }
    }

    fn every_form() -> Vec<KernelRow> {
        let time = Sampled {
            n: 20,
            calls: 3,
            discarded: 1,
            median_s: 1.25e-5,
            mad_s: 1e-7,
            mean_s: 1.3e-5,
            lo_s: None,
            hi_s: Some(1.26e-5),
            settled: true,
            rounds: 3,
            between: Some(0.02),
        };
        let shapes = [
            (OpKind::Linear, Shape::Matrix { m: 1, n: 2, k: u32::MAX }),
            (
                OpKind::Conv2d,
                Shape::Image {
                    batch: 1,
                    channels: 2,
                    height: 3,
                    width: 4,
                    filters: 5,
                    kernel: 3,
                    stride: 1,
                    padding: 0,
                },
            ),
            (OpKind::Gru, Shape::Sequence { batch: 1, steps: 2, input: 3, hidden: 4, layers: 5 }),
            (OpKind::Gelu, Shape::Rows { rows: 1, cols: 2 }),
            (OpKind::Rope, Shape::Heads { tokens: 1, heads: 2, kv_heads: 3, head_dim: 4 }),
            (OpKind::Embedding, Shape::Lookup { tokens: 1, vocab: 2, hidden: 3 }),
            (
                OpKind::AttentionDecode,
                Shape::Attention {
                    sequences: 1,
                    new_tokens: 2,
                    cached: 3,
                    heads: 4,
                    kv_heads: 5,
                    head_dim: 6,
                    page: 7,
                },
            ),
            (
                OpKind::MoeExperts,
                Shape::Experts {
                    tokens: 1,
                    experts: 2,
                    top_k: 1,
                    hidden: 3,
                    intermediate: 4,
                    skew_percent: 5,
                },
            ),
            (OpKind::AllReduce, Shape::Message { elements: 1, ranks: 2 }),
            (OpKind::EmptyLaunch, Shape::Launches { kernels: 1 }),
        ];
        let measured = shapes
            .map(|(kind, shape)| row(kind, shape, Outcome::Measured { time, deviation: 0.25 }))
            .into_iter();
        let skipped = row(
            OpKind::Linear,
            Shape::Matrix { m: 1, n: 2, k: 3 },
            Outcome::Skipped { reason: "out of memory".to_owned() },
        );
        measured.chain([KernelRow { kernel: None, block: None, ..skipped }]).collect()
    }

    #[test]
    fn a_table_reads_back_as_it_was_written_whatever_the_shape() {
        let rows = every_form();
        let bytes = encode(&rows, &[("stopwatt.run_id", "x".to_owned())]).unwrap();
        assert_eq!(note(bytes.clone(), "stopwatt.run_id").unwrap().as_deref(), Some("x"));
        assert_eq!(note(bytes.clone(), "other").unwrap(), None);
        assert_eq!(decode(bytes).unwrap(), rows);
        assert_eq!(decode(encode(&[], &[]).unwrap()).unwrap(), []);
    }

    #[test]
    fn every_size_has_a_column() {
        for row in every_form() {
            for (name, _) in row.op.shape.sizes() {
                assert!(COLUMNS.iter().any(|c| c.path == ["op", "shape", name.as_str()]), "{name}");
            }
        }
    }

    #[test]
    fn csv_has_the_same_columns_and_quotes_what_must_be() {
        let text = csv(&every_form()[..1]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0].split(',').count(), COLUMNS.len());
        assert!(lines[1].starts_with("linear,f32,bf16,f32,matrix,1,2,4294967295,,"), "{}", lines[1]);
        assert!(lines[1].contains("\"a, \"\"b\"\"\""), "{}", lines[1]);
    }

    #[test]
    fn what_is_no_table_is_an_error() {
        assert!(matches!(decode(b"PAR1 and no more".to_vec()), Err(KernelTableError::Parquet(_))));
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).unwrap().is_none());
    }
}
