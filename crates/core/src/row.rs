//! A request without its stream: what analysis and reports keep of it in memory.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::clock::{Nanos, OptionalNanos};
use crate::request::{EndKind, FinishReason, Phase, RequestRecord};
use crate::stream::StreamSummary;

/// The fields of [`RequestRecord`] that analysis looks at, by the same names, with what its stream comes to instead of
/// the stream.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field stands in RequestRecord")]
pub struct RequestRow {
    pub id: u64,
    pub point: u32,
    pub trial: u32,
    pub phase: Phase,
    pub input_asked: u32,
    pub output_asked: u32,
    pub input_usage: Option<u32>,
    pub output_usage: Option<u32>,
    pub cached_usage: Option<u32>,
    pub output_tokenizer: Option<u32>,
    pub intended_ns: Nanos,
    pub dispatched_ns: OptionalNanos,
    pub connected_ns: OptionalNanos,
    pub written_ns: OptionalNanos,
    pub first_byte_ns: OptionalNanos,
    pub end_ns: Nanos,
    pub end: EndKind,
    pub status: Option<u16>,
    pub error_len: Option<u32>,
    /// The hex digits as a number.
    pub error_hash: Option<NonZeroU64>,
    pub finish: Option<FinishReason>,
    /// `None` without a token chunk, or when its record does not tell.
    pub stream: Option<StreamSummary>,
}

impl RequestRow {
    /// Sums up the stream of a record.
    pub fn of(record: &RequestRecord) -> Self {
        Self::with(record, StreamSummary::of(&record.chunks))
    }

    /// The record with a stream that is summed up already.
    pub fn with(r: &RequestRecord, stream: Option<StreamSummary>) -> Self {
        Self {
            id: r.id,
            point: r.point,
            trial: r.trial,
            phase: r.phase,
            input_asked: r.input_asked,
            output_asked: r.output_asked,
            input_usage: r.input_usage,
            output_usage: r.output_usage,
            cached_usage: r.cached_usage,
            output_tokenizer: r.output_tokenizer,
            intended_ns: r.intended_ns,
            dispatched_ns: r.dispatched_ns.into(),
            connected_ns: r.connected_ns.into(),
            written_ns: r.written_ns.into(),
            first_byte_ns: r.first_byte_ns.into(),
            end_ns: r.end_ns,
            end: r.end,
            status: r.status,
            error_len: r.error_len,
            error_hash: r
                .error_hash
                .as_deref()
                .and_then(|hex| u64::from_str_radix(hex, 16).ok())
                .and_then(NonZeroU64::new),
            finish: r.finish,
            stream,
        }
    }

    /// Output tokens: the server's usage, else the tokenizer, else the chunks when each states its tokens.
    pub fn output_tokens(&self) -> Option<u32> {
        self.output_usage.or(self.output_tokenizer).or_else(|| self.stream?.stated_tokens)
    }

    /// When sending began: the connection stood and the request was taken up.
    pub fn send_begin_ns(&self) -> Option<Nanos> {
        self.connected_ns.get().or(self.dispatched_ns.get())
    }
}
