//! The same record in the definitions of other load tools.
//!
//! ```text
//! rows ──► reading    which chunks are tokens, where a request begins and ends, how many tokens it has
//!          measures   values of each request and of the whole
//!          terms      the tool's names, formulas and what sets them apart from ours   ──► `stopwatt explain`
//!          view       numbers under the tool's names, ours beside them
//! ```
//!
//! The rules are those of the tools' source code, read at the version that [`Dialect::version`] names. Where a tool
//! would need what a run does not keep (texts to tokenise), the note beside the number says what was taken instead.

mod explained;
mod measures;
mod reading;
mod terms;
#[cfg(test)]
mod tests;
mod view;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use explained::{Elsewhere, Explained, Supported};
pub use reading::{Reading, Verdict, read};
pub use terms::{Quantity, TERMS, Term, differing, same_word};
pub use view::{DialectView, Figure, Ours, PointView, Statistic, view};

/// A load tool whose definitions are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// `vllm bench serve`, Python client.
    Vllm,
    /// `vllm-bench`, the Rust client.
    VllmRs,
    /// `sglang.benchmark.serving`, OpenAI backends.
    Sglang,
    /// guidellm.
    Guidellm,
    /// NVIDIA AIPerf.
    Aiperf,
    /// Kubernetes inference-perf.
    InferencePerf,
    /// MLPerf LoadGen, server scenario with token latencies.
    Mlperf,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: &'static [Self] = &[
        Self::Vllm,
        Self::VllmRs,
        Self::Sglang,
        Self::Guidellm,
        Self::Aiperf,
        Self::InferencePerf,
        Self::Mlperf,
    ];

    /// Name on the command line and in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::VllmRs => "vllm-rs",
            Self::Sglang => "sglang",
            Self::Guidellm => "guidellm",
            Self::Aiperf => "aiperf",
            Self::InferencePerf => "inference-perf",
            Self::Mlperf => "mlperf",
        }
    }

    /// Name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Vllm => "vLLM bench serve (Python)",
            Self::VllmRs => "vLLM bench (Rust)",
            Self::Sglang => "SGLang bench serving",
            Self::Guidellm => "guidellm",
            Self::Aiperf => "AIPerf",
            Self::InferencePerf => "inference-perf",
            Self::Mlperf => "MLPerf LoadGen (server)",
        }
    }

    /// The version whose source was read.
    pub const fn version(self) -> &'static str {
        match self {
            Self::Vllm | Self::VllmRs => "0.33.0",
            Self::Sglang => "0.5.23",
            Self::Guidellm => "0.8.1",
            Self::Aiperf => "0.13.0",
            Self::InferencePerf => "0.7.0",
            Self::Mlperf => "6.0",
        }
    }

    /// What holds for every number of the tool and differs from ours.
    pub const fn notes(self) -> &'static [&'static str] {
        match self {
            Self::Vllm => &[
                "a request begins before its connection is opened; ours begins when the connection stands",
                "a chat chunk counts with content, reasoning (not reasoning_content), a tool call, or empty content without a role; up to 0.32 every chunk with a choice counted, as in vllm-rs",
            ],
            Self::VllmRs => &[
                "a request begins before its connection is opened; ours begins when the connection stands",
                "every chunk with a choice counts as a token, the one with only a role included",
            ],
            Self::Sglang => &[
                "a request begins before its connection is opened, and the Python client opens one for every request",
                "latency ends with the last line of the stream, usage and [DONE] included, so TPOT has that tail in it",
                "tool calls are no tokens; output tokens are those asked for where the server sends no usage",
            ],
            Self::Guidellm => &[
                "stamps are wall-clock time, and a request begins before its connection is opened",
                "percentiles are values of the sample, weighted by tokens for ITL and TPOT",
            ],
            Self::Aiperf => &[
                "a request begins before its connection is opened",
                "output tokens are counted by its own tokenizer unless --use-server-token-count; here by the server's usage",
            ],
            Self::InferencePerf => &[
                "only chunks with content are tokens: reasoning and tool calls are not",
                "tokens are counted by its own tokenizer unless told otherwise; here by --tokenizer, else by the server's usage",
            ],
            Self::Mlperf => &[
                "what a first token is, the system under test decides; here the first content, reasoning or tool chunk, and the end of the stream as completion",
            ],
        }
    }
}

impl std::fmt::Display for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
