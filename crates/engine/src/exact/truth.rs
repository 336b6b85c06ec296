//! The truth: what the exact server wrote, and when.
//!
//! Stamps are raw nanoseconds of CLOCK_MONOTONIC, taken just before the `write` that handed the bytes to the kernel;
//! for a write that the kernel took in parts, before the one that took the last part. Join with a client's own record
//! by `request_id`, the `x-request-id` that the client sent.

use serde::{Deserialize, Serialize};
use stopwatt_core::clock::Nanos;

/// What was sent for one request: a line of the truth log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TruthRecord {
    /// The `x-request-id` of the request.
    pub request_id: Option<String>,
    /// Order of arrival, from 0.
    pub index: u64,
    /// When its last byte had been read.
    pub received_ns: Nanos,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens written.
    pub output_tokens: u32,
    /// HTTP status of the answer.
    pub status: u16,
    /// What was made to go wrong.
    pub fault: Option<Fault>,
    /// Stamp of every write.
    pub flush_ns: Vec<Nanos>,
    /// Output tokens in it.
    pub flush_tokens: Vec<u32>,
    /// What its first event is.
    pub flush_kind: Vec<FlushKind>,
    /// When the answer was complete, or the connection was given up.
    pub end_ns: Nanos,
    /// How it ended.
    pub end: TruthEnd,
}

/// What was made to go wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Status 500.
    Http500,
    /// Connection reset in the stream.
    Reset,
    /// Connection closed in the stream.
    Cut,
    /// One event that is not JSON.
    Garbled,
    /// An error event at status 200.
    ErrorEvent,
    /// The stream stops for ever.
    Stall,
}

/// What the first event of a write is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlushKind {
    /// The head of the answer alone.
    Head,
    /// A whole answer that is not a stream.
    Body,
    /// The role chunk.
    Role,
    /// Answer text.
    Content,
    /// Reasoning text.
    Reasoning,
    /// The second part of an event that was cut in two.
    Rest,
    /// The usage chunk, with `[DONE]` and the end of the answer behind it.
    Usage,
    /// `[DONE]`, or the end of the answer.
    Done,
    /// An error event.
    Error,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TruthEnd {
    /// Everything scripted was written.
    Complete,
    /// The script ended it early.
    Fault,
    /// The client went away.
    ClientGone,
    /// The server was shut down.
    Shutdown,
}
