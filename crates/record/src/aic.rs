//! Kernel tables of NVIDIA's AIConfigurator (Apache-2.0), read from the user's own copy as rows of lower trust.
//!
//! ```text
//! systems/data/<gpu>/<family>/<framework>/<version>/<operator>_perf.parquet
//! ```
//!
//! One row a point, one sample each, latency in milliseconds. Read are the operators that have a counterpart here, as
//! vLLM runs them: products, attention of prompts and of decode, routed experts, sums over ranks. Rows of formats, layers
//! or methods without one are counted and left out.

use std::collections::BTreeMap;
use std::io::Error;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use stopwatt_core::kernel_table::{
    CacheState, Clocks, Dtype, Dtypes, KernelRow, Launch, Op, OpKind, Outcome, Provider, Sampled, Shape,
};

/// The framework whose kernels are read.
const FRAMEWORK: &str = "vllm";
/// Files by the operator that they hold.
const FILES: [(&str, OpKind); 5] = [
    ("gemm_perf.parquet", OpKind::Linear),
    ("context_attention_perf.parquet", OpKind::AttentionPrefill),
    ("generation_attention_perf.parquet", OpKind::AttentionDecode),
    ("moe_perf.parquet", OpKind::MoeExperts),
    ("custom_allreduce_perf.parquet", OpKind::AllReduce),
];
/// Tokens of a cache block, as the engine's attention has it.
const PAGE: u32 = 16;
/// Folders below the one that is named.
const DEPTH: u32 = 10;

/// Why tables could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AicError {
    /// The place could not be looked at.
    #[error("failed to read {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Error,
    },
    /// A file is no Parquet.
    #[error("failed to read {}", path.display())]
    Parquet {
        /// Which.
        path: PathBuf,
        /// What the reader said.
        #[source]
        source: ParquetError,
    },
    /// Nothing there is of the device.
    #[error("no AIConfigurator table of this device is in {}; there are {}", path.display(), devices.join(", "))]
    NoTable {
        /// Where.
        path: PathBuf,
        /// Devices that there are tables of.
        devices: Vec<String>,
    },
    /// No table at all.
    #[error("there is no {FRAMEWORK}/VERSION/*_perf.parquet in {}", path.display())]
    Nothing {
        /// Where.
        path: PathBuf,
    },
    /// A column is missing or of another type.
    #[error("row {row} of {} has no {column}", path.display())]
    Column {
        /// Which file.
        path: PathBuf,
        /// Which row, from 0.
        row: usize,
        /// The column.
        column: &'static str,
    },
}

/// Rows that somebody else measured.
#[derive(Debug, Clone, Default)]
pub struct Imported {
    /// The rows.
    pub rows: Vec<KernelRow>,
    /// Files that were read, from the folder of the family on.
    pub files: Vec<String>,
    /// Rows without a counterpart here, by why.
    pub left_out: BTreeMap<String, usize>,
}

/// Reads the newest table of each operator. `is_device` is asked about names of devices and of their folders.
///
/// # Errors
/// Nothing of the device is there, or a file does not hold what its name says.
pub fn read(place: &Path, is_device: &dyn Fn(&str) -> bool) -> Result<Imported, AicError> {
    let mut files = Vec::new();
    list(place, DEPTH, &mut files)?;
    if files.is_empty() {
        return Err(AicError::Nothing { path: place.to_owned() });
    }
    let mut devices = std::collections::BTreeSet::new();
    let mut newest: BTreeMap<OpKind, (Vec<u64>, PathBuf, SerializedFileReader<Bytes>)> = BTreeMap::new();
    for (path, kind) in files {
        let version = version_of(&path);
        if newest.get(&kind).is_some_and(|(known, ..)| *known >= version) {
            continue;
        }
        let reader = open(&path)?;
        let device = first_device(&reader, &path)?;
        // data/<gpu>/<family>/<framework>/<version>/<file>
        let folder = path.iter().rev().nth(4).map(|f| f.to_string_lossy().into_owned());
        if !device.iter().chain(&folder).any(|name| is_device(name)) {
            devices.extend(device);
            continue;
        }
        newest.insert(kind, (version, path, reader));
    }
    if newest.is_empty() {
        return Err(AicError::NoTable { path: place.to_owned(), devices: devices.into_iter().collect() });
    }
    let mut imported = Imported::default();
    for (kind, (_, path, reader)) in newest {
        let name: PathBuf = path.iter().rev().take(4).collect::<Vec<_>>().into_iter().rev().collect();
        imported.files.push(name.to_string_lossy().into_owned());
        let rows =
            reader.get_row_iter(None).map_err(|source| AicError::Parquet { path: path.clone(), source })?;
        for (index, row) in rows.enumerate() {
            let row = row.map_err(|source| AicError::Parquet { path: path.clone(), source })?;
            match kernel_row(kind, &Cells(&row)) {
                Ok(row) => imported.rows.push(row),
                Err(Unread::Column(column)) => return Err(AicError::Column { path, row: index, column }),
                Err(Unread::Other(why)) => *imported.left_out.entry(why).or_default() += 1,
            }
        }
    }
    Ok(imported)
}

/// Files of the framework under a folder, or the file itself.
fn list(place: &Path, depth: u32, into: &mut Vec<(PathBuf, OpKind)>) -> Result<(), AicError> {
    let io = |source| AicError::Io { path: place.to_owned(), source };
    if !std::fs::metadata(place).map_err(io)?.is_dir() {
        let kind = FILES.iter().find(|(name, _)| place.file_name().is_some_and(|f| f == *name));
        into.extend(kind.map(|(_, kind)| (place.to_owned(), *kind)));
        return Ok(());
    }
    let mut entries = std::fs::read_dir(place).map_err(io)?.collect::<Result<Vec<_>, _>>().map_err(io)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let is_folder = entry.file_type().map_err(io)?.is_dir();
        let of_framework = || path.iter().rev().nth(2).is_some_and(|f| f == FRAMEWORK);
        if is_folder && depth > 0 {
            list(&path, depth - 1, into)?;
        } else if let Some((_, kind)) = FILES.iter().find(|(name, _)| entry.file_name() == *name)
            && of_framework()
        {
            into.push((path, *kind));
        }
    }
    Ok(())
}

/// Numbers of the version in the path.
fn version_of(path: &Path) -> Vec<u64> {
    let folder = path.iter().rev().nth(1).map(|f| f.to_string_lossy().into_owned()).unwrap_or_default();
    folder.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

fn open(path: &Path) -> Result<SerializedFileReader<Bytes>, AicError> {
    let bytes = std::fs::read(path).map_err(|source| AicError::Io { path: path.to_owned(), source })?;
    SerializedFileReader::new(Bytes::from(bytes))
        .map_err(|source| AicError::Parquet { path: path.to_owned(), source })
}

/// The device of the first row; `None` where rows do not say.
fn first_device(reader: &SerializedFileReader<Bytes>, path: &Path) -> Result<Option<String>, AicError> {
    let problem = |source| AicError::Parquet { path: path.to_owned(), source };
    let row = reader.get_row_iter(None).map_err(problem)?.next().transpose().map_err(problem)?;
    Ok(row.and_then(|row| Cells(&row).text("device").ok()))
}

/// Why a row is not taken.
enum Unread {
    Column(&'static str),
    Other(String),
}

/// The values of a row by name.
struct Cells<'a>(&'a Row);

impl Cells<'_> {
    fn field(&self, name: &'static str) -> Result<&Field, Unread> {
        self.0.get_column_iter().find(|(n, _)| *n == name).map(|(_, f)| f).ok_or(Unread::Column(name))
    }

    fn text(&self, name: &'static str) -> Result<String, Unread> {
        match self.field(name)? {
            Field::Str(text) => Ok(text.clone()),
            _ => Err(Unread::Column(name)),
        }
    }

    fn count(&self, name: &'static str) -> Result<u32, Unread> {
        let value = match self.field(name)? {
            Field::Long(n) => u32::try_from(*n).ok(),
            Field::Int(n) => u32::try_from(*n).ok(),
            Field::ULong(n) => u32::try_from(*n).ok(),
            Field::UInt(n) => Some(*n),
            Field::Double(n) if n.fract() == 0.0 && (0.0..4e9).contains(n) => Some(*n as u32),
            _ => None,
        };
        value.ok_or(Unread::Column(name))
    }

    fn number(&self, name: &'static str) -> Result<f64, Unread> {
        match self.field(name)? {
            Field::Double(n) => Ok(*n),
            Field::Float(n) => Ok(f64::from(*n)),
            _ => Err(Unread::Column(name)),
        }
    }
}

fn other(why: String) -> Unread {
    Unread::Other(why)
}

/// A format by its name there.
fn dtype(name: &str) -> Option<Dtype> {
    match name {
        "half" => Some(Dtype::F16),
        name => Dtype::parse(name),
    }
}

/// Formats of a product: activations, weights, result.
fn product(name: &str) -> Option<Dtypes> {
    let weights_alone = |weight| Dtypes { input: Dtype::Bf16, weight, output: Dtype::Bf16 };
    match name {
        "int4_wo" => Some(weights_alone(Dtype::I4)),
        "int8_wo" => Some(weights_alone(Dtype::I8)),
        name => dtype(name).map(|input| match input {
            Dtype::F8E4m3 | Dtype::I8 => Dtypes { input, weight: input, output: Dtype::Bf16 },
            plain => Dtypes::all(plain),
        }),
    }
}

fn kernel_row(kind: OpKind, cells: &Cells<'_>) -> Result<KernelRow, Unread> {
    let count = |name| cells.count(name);
    let unknown = |what: &str, name: &str| other(format!("{} in {what} {name}", kind.name()));
    let product_of = |column| {
        let name = cells.text(column)?;
        product(&name).ok_or_else(|| unknown("format", &name))
    };
    let mut launch = Launch::Graph;
    let (shape, dtypes) = match kind {
        OpKind::Linear => {
            (Shape::Matrix { m: count("m")?, n: count("n")?, k: count("k")? }, product_of("gemm_dtype")?)
        }
        OpKind::AttentionPrefill | OpKind::AttentionDecode => {
            let named = |column| {
                let name = cells.text(column)?;
                dtype(&name).ok_or_else(|| unknown("format", &name))
            };
            let (input, cache) = (named("attn_dtype")?, named("kv_cache_dtype")?);
            if cells.count("window_size").is_ok_and(|window| window != 0) {
                return Err(other(format!("{} with a window", kind.name())));
            }
            let decode = kind == OpKind::AttentionDecode;
            let (isl, step) = (count("isl")?, count("step")?);
            let shape = Shape::Attention {
                sequences: count("batch_size")?,
                new_tokens: if decode { 1 } else { isl },
                cached: if decode { (isl + step).saturating_sub(1) } else { step },
                heads: count("num_heads")?,
                // 0 stands for as many as there are query heads.
                kv_heads: match count("num_key_value_heads")? {
                    0 => count("num_heads")?,
                    n => n,
                },
                head_dim: count("head_dim")?,
                page: PAGE,
            };
            (shape, Dtypes { input, weight: cache, output: input })
        }
        OpKind::MoeExperts => {
            let routing = cells.text("distribution")?;
            if routing != "balanced" {
                return Err(unknown("routing", &routing));
            }
            let tp = count("moe_tp_size")?.max(1);
            if count("moe_ep_size")? != 1 {
                return Err(other(format!("{} shared out by expert", kind.name())));
            }
            let shape = Shape::Experts {
                tokens: count("num_tokens")?,
                experts: count("num_experts")?,
                top_k: count("topk")?,
                hidden: count("hidden_size")?,
                intermediate: count("inter_size")? / tp,
                skew_percent: 0,
            };
            (shape, product_of("moe_dtype")?)
        }
        _ => {
            if cells.text("backend").or_else(|_| cells.text("kernel_source"))?.contains("eager") {
                launch = Launch::Eager;
            }
            let shape = Shape::Message { elements: count("message_size")?, ranks: count("num_gpus")? };
            (shape, product_of("allreduce_dtype")?)
        }
    };
    let op = Op { kind, shape, dtypes };
    let median_s = cells.number("latency")? * 1e-3;
    if op.work().is_none() || !(median_s.is_finite() && median_s > 0.0) {
        return Err(other(format!("{} without a time", kind.name())));
    }
    let time = Sampled {
        n: 1,
        calls: 1,
        discarded: 0,
        median_s,
        mad_s: 0.0,
        mean_s: median_s,
        lo_s: None,
        hi_s: None,
        settled: false,
        rounds: 1,
        between: None,
    };
    Ok(KernelRow {
        op,
        provider: Provider::Imported,
        kernel: None,
        grid: None,
        block: None,
        launch,
        cache: CacheState::Warm,
        clocks: Clocks::default(),
        outcome: Outcome::Measured { time, deviation: 0.0 },
        unsteady: None,
    })
}

#[cfg(test)]
mod tests;
