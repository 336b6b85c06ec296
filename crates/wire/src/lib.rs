//! The words that go over the wire, without a socket.
//!
//! ```text
//! openai::request ──► bytes ──► (socket, in `load`) ──► http1 ──► sse ──► event ──► ChunkKind, usage, finish
//! ```
//!
//! Everything here is a function of bytes: it opens nothing, waits for nothing and reads no clock, and it gives the
//! same answer whatever way a stream was cut into reads.

pub mod access;
pub mod engine_metrics;
pub mod event;
pub mod exposition;
pub mod http1;
mod json;
pub mod openai;
pub mod sse;
