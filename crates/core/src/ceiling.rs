//! What the load client of a machine can do at most, as measured against a server that does nothing else.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Nanos;

/// The result of a calibration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClientCeiling {
    /// Version of Stopwatt that measured it.
    pub stopwatt: String,
    /// When, in UNIX nanoseconds.
    pub measured_unix_ns: Nanos,
    /// Measured in passing before a heavy run: floods only, and short.
    pub quick: bool,
    /// Most events a second that came through, any number of them in a read.
    pub events_per_s: f64,
    /// Most reads a second.
    pub reads_per_s: f64,
    /// Most paced streams whose timing stayed within the allowed error; `None` when none was tried or none did.
    pub streams: Option<u32>,
    /// What was measured, in order.
    pub stages: Vec<CeilingStage>,
}

/// One load of a calibration. Errors compare the client's record with the server's log; `None` where the load is a
/// flood, whose times mean nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CeilingStage {
    /// Requests in flight.
    pub streams: u32,
    /// Events that the server puts into one write.
    pub events_per_write: u32,
    /// Time between two events of a stream, in seconds; 0 is a flood.
    pub gap_s: f64,
    /// Events a second.
    pub events_per_s: f64,
    /// Reads a second.
    pub reads_per_s: f64,
    /// CPU of the client that reads and paces, in cores.
    pub client_cores: f64,
    /// The same in seconds per million events.
    pub cpu_s_per_million: f64,
    /// Time to the first token, reported less true: median, in seconds.
    pub ttft_error_p50_s: Option<f64>,
    /// The same, 99th percentile.
    pub ttft_error_p99_s: Option<f64>,
    /// Time between two tokens, reported against true, joined one by one: 99th percentile, in seconds.
    pub itl_error_p99_s: Option<f64>,
    /// Time per output token of a request, likewise.
    pub tpot_error_p99_s: Option<f64>,
    /// From arrival to read by the kernel's stamps, 99th percentile; `None` without such stamps.
    pub lag_p99_s: Option<f64>,
}
