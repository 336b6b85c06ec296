//! The flags of `stopwatt bench` for recorded traffic, conversations, images, and shares of a load.

use std::time::Duration;

use clap::{Args, ValueEnum};
use stopwatt_experiment::bench::{BadRows, BenchConfig, TraceFormat};
use stopwatt_record::config::Layers;

use super::bench::parse_time_or_zero;

/// What is sent, beyond lengths.
#[derive(Debug, Args)]
#[command(next_help_heading = "Workload")]
pub(super) struct WorkloadFlags {
    /// Recorded traffic or prompts to send: Azure or BurstGPT CSV, Mooncake or prompt JSON lines, ShareGPT JSON, OTLP spans
    #[arg(long, value_name = "FILE", visible_alias = "dataset")]
    trace: Option<String>,
    /// Form of the trace, when its content does not tell
    #[arg(long, value_enum)]
    trace_format: Option<Form>,
    /// What to do about a row that makes no sense or does not fit the model
    #[arg(long, value_enum)]
    bad_rows: Option<Bad>,
    /// Play the trace so many times faster than recorded
    #[arg(long, value_name = "X")]
    speedup: Option<f64>,
    /// Begin so far into the trace
    #[arg(long, value_name = "TIME", value_parser = parse_time_or_zero)]
    from: Option<Duration>,
    /// Play so much of the trace
    #[arg(long = "for", value_name = "TIME", value_parser = parse_time_or_zero)]
    length: Option<Duration>,
    /// Take at most so many requests from the trace
    #[arg(long, value_name = "N")]
    max_requests: Option<u64>,

    /// Turns of a conversation, `3` or `2:6`; each carries the engine's answers so far
    #[arg(long, value_name = "N")]
    turns: Option<String>,
    /// Tokens that a later turn adds [default: like --input]
    #[arg(long, value_name = "N")]
    turn_input: Option<String>,
    /// Seconds between an answer and the next turn: `2`, `1:5`, `exponential:3` or `lognormal:4:2`
    #[arg(long, value_name = "S")]
    think_time: Option<String>,

    /// Number of different shared prefixes
    #[arg(long, value_name = "N")]
    prefix_groups: Option<u32>,
    /// Tokens of a shared prefix
    #[arg(long, value_name = "N")]
    prefix_tokens: Option<u32>,
    /// Popularity of shared prefixes: the k-th in proportion to k^-X (Zipf)
    #[arg(long, value_name = "X")]
    prefix_zipf: Option<f64>,

    /// Folder of images to send with the prompts
    #[arg(long, value_name = "DIR", conflicts_with = "image_size")]
    images: Option<String>,
    /// Send generated PNG images of this size, for instance 512x512
    #[arg(long, value_name = "WxH")]
    image_size: Option<String>,
    /// Images in each request
    #[arg(long, value_name = "N")]
    images_per_request: Option<u32>,
}

/// One share of a load that several machines make.
#[derive(Debug, Args)]
#[command(next_help_heading = "Many machines")]
pub(super) struct ShareFlags {
    /// Send share i of N of the load, as `0/4`; see `stopwatt merge`
    #[arg(long, value_name = "I/N")]
    shard: Option<String>,
    /// Zero of the schedule: RFC 3339, UNIX seconds, or +10s from now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    start_at: Option<String>,
}

impl WorkloadFlags {
    /// Whether recorded requests are sent.
    pub(super) fn has_trace(&self) -> bool {
        self.trace.is_some()
    }

    pub(super) fn lay(&self, layers: Layers<BenchConfig>) -> Layers<BenchConfig> {
        let seconds = |d: Option<Duration>| d.map(|d| d.as_secs_f64());
        layers
            .flag("workload.trace", "--trace", self.trace.clone())
            .flag("workload.trace_format", "--trace-format", self.trace_format.map(TraceFormat::from))
            .flag("workload.bad_rows", "--bad-rows", self.bad_rows.map(BadRows::from))
            .flag("workload.speedup", "--speedup", self.speedup)
            .flag("workload.from_s", "--from", seconds(self.from))
            .flag("workload.for_s", "--for", seconds(self.length))
            .flag("workload.max_requests", "--max-requests", self.max_requests)
            .flag("workload.turns", "--turns", self.turns.clone())
            .flag("workload.turn_input", "--turn-input", self.turn_input.clone())
            .flag("workload.think_time", "--think-time", self.think_time.clone())
            .flag("workload.prefix_groups", "--prefix-groups", self.prefix_groups)
            .flag("workload.prefix_tokens", "--prefix-tokens", self.prefix_tokens)
            .flag("workload.prefix_zipf", "--prefix-zipf", self.prefix_zipf)
            .flag("workload.images", "--images", self.images.clone())
            .flag("workload.image_size", "--image-size", self.image_size.clone())
            .flag("workload.images_per_request", "--images-per-request", self.images_per_request)
    }
}

impl ShareFlags {
    pub(super) fn lay(&self, layers: Layers<BenchConfig>) -> Layers<BenchConfig> {
        layers.flag("load.shard", "--shard", self.shard.clone()).flag(
            "load.start_at",
            "--start-at",
            self.start_at.clone(),
        )
    }
}

/// Form of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// TIMESTAMP,ContextTokens,GeneratedTokens
    Azure,
    /// Timestamp,Model,Request tokens,Response tokens,…
    BurstGpt,
    /// timestamp, input_length, output_length, hash_ids
    Mooncake,
    /// OTLP JSON with gen_ai.usage attributes
    Otel,
    /// ShareGPT conversations
    ShareGpt,
    /// {"prompt": …} or {"messages": […]} a line
    Prompts,
}

impl From<Form> for TraceFormat {
    fn from(form: Form) -> Self {
        match form {
            Form::Azure => Self::Azure,
            Form::BurstGpt => Self::BurstGpt,
            Form::Mooncake => Self::Mooncake,
            Form::Otel => Self::Otel,
            Form::ShareGpt => Self::ShareGpt,
            Form::Prompts => Self::Prompts,
        }
    }
}

/// What to do about a bad row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bad {
    /// Stop and name its line
    Stop,
    /// Leave it out and count it
    Skip,
}

impl From<Bad> for BadRows {
    fn from(bad: Bad) -> Self {
        match bad {
            Bad::Stop => Self::Stop,
            Bad::Skip => Self::Skip,
        }
    }
}
