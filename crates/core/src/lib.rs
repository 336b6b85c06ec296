//! The words that every part of Stopwatt shares.
//!
//! ```text
//! plan ──► measure ──► record ──► analyse ──► report
//!          RequestRecord  LogEvent    MetricsDoc
//! ```
//!
//! This crate holds the types that travel along that line, the one table of metric definitions, the one clock
//! and the catalogue of texts. It opens no files and no sockets.

pub mod cache_counters;
pub mod calendar;
pub mod cause;
pub mod ceiling;
pub mod chunk_shape;
pub mod clock;
pub mod comparison;
pub mod cost;
pub mod cpu_counters;
pub mod engine;
pub mod engine_run;
pub mod expectations;
pub mod fingerprint;
pub mod gpu;
pub mod import;
pub mod kernel_table;
pub mod label;
pub mod log;
pub mod metric;
mod metric_ko;
pub mod metrics_doc;
pub mod not_fixed;
pub mod power;
pub mod quality;
pub mod reproduction;
pub mod request;
pub mod roofline;
pub mod row;
pub mod search;
pub mod software;
pub mod stream;
pub mod text;
pub mod verdict;
pub mod workload_pairs;

pub use chunk_shape::ChunkShape;
pub use clock::{Clock, Nanos, OptionalNanos};
pub use metric::{Direction, Metric};
pub use request::{ChunkKind, ChunkStamp, EndKind, FinishReason, Phase, RequestRecord};
pub use row::RequestRow;

/// Version of the run-directory format: a newer minor is readable, a newer major is refused.
pub const FORMAT_MAJOR: u32 = 1;
/// See [`FORMAT_MAJOR`].
pub const FORMAT_MINOR: u32 = 1;
