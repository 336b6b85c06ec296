//! Traces of requests, for receivers of OTLP such as a collector or Langfuse.
//!
//! ```text
//! proxy ──► Exchange with its place ──► bounded queue ──► spans ──► batch ──► POST …/v1/traces
//!              │ x-stopwatt-trace-id                        │
//!              ▼                                            └──► POST …/api/public/scores (Langfuse)
//! POST /feedback ──► score ─────────────────────────────────┘
//! ```
//!
//! Spans are made of what has ended, with the stamps of the proxy; no span is open while a request goes on. What was
//! said is in none of them unless that was asked for, and sessions and users are hashed likewise.

mod export;
pub(crate) mod ids;
mod proto;
mod span;

pub use export::{Endpoint, Exporter};
pub use ids::{Ids, Params, Place, Traced, Try, hex};
pub use span::key;
