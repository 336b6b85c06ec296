//! What goes into a run of the client and what comes out.

use std::fmt;
use std::time::Duration;

use stopwatt_core::log::ReadStamps;
use stopwatt_core::{Nanos, Phase, RequestRecord};

/// Endpoint of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Path {
    /// `/v1/completions`.
    Completions,
    /// `/v1/chat/completions`.
    Chat,
}

impl Path {
    /// The path under the target's base.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completions => "/v1/completions",
            Self::Chat => "/v1/chat/completions",
        }
    }
}

/// One request to send.
#[derive(Debug, Clone)]
pub struct Job {
    /// Unique in the run; also sent as `x-request-id`.
    pub id: u64,
    /// Index of the sweep point.
    pub point: u32,
    /// Index of the trial inside the point.
    pub trial: u32,
    /// Warm-up or measured.
    pub phase: Phase,
    /// Conversation that the request is a turn of; `None` for a request on its own.
    pub session: Option<u64>,
    /// Which turn of its conversation, from 0.
    pub turn: Option<u32>,
    /// Input tokens the plan asks for.
    pub input_asked: u32,
    /// Output tokens the plan asks for.
    pub output_asked: u32,
    /// Where to.
    pub path: Path,
    /// JSON body, see `stopwatt_wire::openai`.
    pub body: Vec<u8>,
}

/// A request that is sent because an earlier one ended, as the next turn of a conversation is.
#[derive(Debug, Clone)]
pub struct FollowUp {
    /// When it is to be sent, since `t0`.
    pub at: Nanos,
    /// What is sent.
    pub job: Job,
}

/// When requests are sent.
pub enum Pace {
    /// A fixed number is kept in flight: the next is sent as soon as one ends.
    Closed {
        /// Requests in flight.
        concurrency: usize,
    },
    /// Requests are sent at given times, however slow the answers are.
    Open {
        /// Offsets from the start of the run, never decreasing.
        arrivals: Box<dyn Iterator<Item = Nanos> + Send>,
        /// Hold requests back above this many in flight; their intended time stays. `None` never holds back.
        max_in_flight: Option<usize>,
    },
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { concurrency } => {
                f.debug_struct("Closed").field("concurrency", concurrency).finish()
            }
            Self::Open { max_in_flight, .. } => {
                f.debug_struct("Open").field("max_in_flight", max_in_flight).finish_non_exhaustive()
            }
        }
    }
}

/// What happens to requests in flight when [`Limits::max_duration`] is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// They are waited for.
    Wait,
    /// They are cut off and recorded as `cancelled`.
    Cancel,
}

/// Bounds of a run.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest time to open a connection, TLS included.
    pub connect_timeout: Duration,
    /// Longest silence after the request was sent and between reads of the answer.
    pub idle_timeout: Duration,
    /// Longest time from dispatch to the end of the answer.
    pub total_timeout: Duration,
    /// When sending begins and offsets of arrivals count from, since `t0`; `None` begins as soon as all is prepared.
    /// A time that has passed is kept: what was due by now is sent at once, and late.
    pub start_at: Option<Nanos>,
    /// Stop sending after this time. `None`: send until there are no more jobs or arrivals.
    pub max_duration: Option<Duration>,
    /// What happens to requests in flight when `max_duration` is over. When jobs or arrivals run out first, the
    /// requests in flight are waited for, under `Cancel` at most until `max_duration`.
    pub drain: Drain,
    /// Keep the generated text, for tokenizers and quality checks.
    pub keep_text: bool,
    /// Keep the stamps of chunks.
    pub keep_chunks: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            total_timeout: Duration::from_secs(600),
            start_at: None,
            max_duration: None,
            drain: Drain::Wait,
            keep_text: false,
            keep_chunks: true,
        }
    }
}

/// A request that came to its end.
#[derive(Clone)]
pub struct Completed {
    /// What is recorded.
    pub record: RequestRecord,
    /// Answer text (with tool calls left out), when [`Limits::keep_text`] asks for it.
    pub text: Option<String>,
    /// Reasoning text, likewise.
    pub reasoning: Option<String>,
    /// What the engine or the system said of a failure, at most 512 characters. It may quote the prompt: it is for the
    /// terminal and never for a file.
    pub error: Option<String>,
}

impl fmt::Debug for Completed {
    /// Leaves out every text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completed").field("record", &self.record).finish_non_exhaustive()
    }
}

/// Why a run of the client ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// No more jobs or arrivals.
    Exhausted,
    /// [`Limits::max_duration`] was over.
    Duration,
    /// [`Stop::interrupt`](crate::Stop::interrupt).
    Interrupted,
}

/// What a run of the client did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// When sending could begin; offsets of arrivals count from here.
    pub start_ns: Nanos,
    /// When the last request ended; under [`Drain::Cancel`], when `max_duration` was over.
    pub end_ns: Nanos,
    /// Open loop: arrivals and follow-ups that came due. Closed loop: the same as `sent`.
    pub planned: u64,
    /// Requests taken up. Jobs are sent in the order of their index, so these are jobs `0..sent`; jobs rendered ahead
    /// and not sent are dropped.
    pub sent: u64,
    /// Why it ended.
    pub ended: Ended,
    /// CPU time of the I/O and pacer threads between `start_ns` and the end.
    pub cpu_s: f64,
    /// Most requests in flight at once.
    pub max_in_flight: usize,
    /// Connections opened.
    pub connections: u64,
    /// Requests sent again because a kept-alive connection turned out to be closed.
    pub retries: u64,
    /// Requests that were due before their body was rendered: the client was too slow, not the engine.
    pub starved: u64,
    /// How what was read is stamped.
    pub reads: ReadStamps,
}
