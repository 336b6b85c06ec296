//! The built-in OpenAI-compatible server, of four kinds:
//!
//! ```text
//! real       a decoder on the CPU with genuine arithmetic     ─┐ scheduler + paged KV on their own thread
//! simulated  token times from a step-time model               ─┤
//! ocr        what a reader sees on the image of a chat        ─┤
//! exact      scripted latencies, truth of every flush logged  ─┴─► one event loop ──► HTTP/1.1, SSE
//! ```
//!
//! One thread owns every socket: it parses requests, paces scripted tokens and writes events, each with its own
//! system call where the kind asks for it. Computation never runs on that thread, and a step never waits for a
//! slow reader.
//!
//! What it is not: a production server. No TLS, no HTTP/2, one model a process, `n = 1`.

mod api;
mod config;
mod decode;
mod error;
pub mod exact;
mod net;
mod page_reader;
mod serve;
mod shutdown;
mod telemetry;
mod words;

pub use config::{
    Kind, OcrConfig, RealConfig, SchedulerConfig, ServeConfig, SimulatedConfig, WeightPrecision, Weights,
};
pub use decode::real::KV_BYTES;
pub use error::ServeError;
pub use exact::config::ExactConfig;
pub use page_reader::{PageReader, ReadProblem};
pub use serve::{Listening, serve};
pub use shutdown::Shutdown;
pub use stopwatt_wire::access::Token;
