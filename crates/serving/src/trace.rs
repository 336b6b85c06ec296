//! Recorded traffic and prompts: what others sent, read from the files in which it is published.
//!
//! | format | rows | gives |
//! |---|---|---|
//! | `azure` | Azure LLM inference 2023, CSV | times, lengths |
//! | `burst-gpt` | BurstGPT, CSV | times, lengths |
//! | `mooncake` | Mooncake, JSON lines | times, lengths, prefix blocks |
//! | `otel` | OpenTelemetry GenAI spans, OTLP JSON | times, lengths |
//! | `share-gpt` | ShareGPT conversations, JSON array or lines | texts of several turns |
//! | `prompts` | `{"prompt": …}` or `{"messages": […]}`, JSON lines | texts, output lengths |
//!
//! ```text
//! file ──► read (one row, one Entry or one BadRow) ──► Trace ──► window, speed-up ──► Workload
//! ```
//!
//! Nothing here opens a file: the caller hands over something that reads. Invariants, each held by a test:
//!
//! - entries are in order of time, and the first is at 0;
//! - a row becomes an entry or a reason with its line, never silence;
//! - a length is at least one token.

mod csv;
mod json;
mod mooncake;
mod otel;
mod split;
mod texts;
mod window;

use std::io::{self, BufRead};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_core::Nanos;

pub use window::Window;

use crate::workload::Prefix;

/// A form in which traffic is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// `TIMESTAMP,ContextTokens,GeneratedTokens`.
    Azure,
    /// `Timestamp,Model,Request tokens,Response tokens,…`.
    BurstGpt,
    /// `{"timestamp": ms, "input_length": n, "output_length": n, "hash_ids": […]}` a line.
    Mooncake,
    /// OTLP JSON with `gen_ai.usage.*` attributes.
    Otel,
    /// `[{"conversations": [{"from": "human", "value": …}, …]}, …]`.
    ShareGpt,
    /// `{"prompt": …, "output": n}` or `{"messages": […]}` a line.
    Prompts,
}

impl Format {
    /// Name in files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Azure => "azure",
            Self::BurstGpt => "burst-gpt",
            Self::Mooncake => "mooncake",
            Self::Otel => "otel",
            Self::ShareGpt => "share-gpt",
            Self::Prompts => "prompts",
        }
    }

    /// Whether rows have times.
    pub const fn is_timed(self) -> bool {
        matches!(self, Self::Azure | Self::BurstGpt | Self::Mooncake | Self::Otel)
    }

    /// The format of a file that begins like this; `None` when it is like none.
    pub fn detect(begin: &str) -> Option<Self> {
        let begin = begin.trim_start_matches('\u{feff}').trim_start();
        if !begin.starts_with(['{', '[']) {
            let header = begin.lines().next()?;
            return csv::LAYOUTS.iter().find(|l| l.matches(header)).map(|l| l.format);
        }
        // Quoted keys do not occur inside JSON text, where their quotes are escaped.
        [
            ("\"resourceSpans\"", Self::Otel),
            ("\"conversations\"", Self::ShareGpt),
            ("\"prompt\"", Self::Prompts),
            ("\"messages\"", Self::Prompts),
            ("\"input_length\"", Self::Mooncake),
        ]
        .into_iter()
        .filter_map(|(key, format)| Some((begin.find(key)?, format)))
        .min_by_key(|(at, _)| *at)
        .map(|(_, format)| format)
    }
}

/// What is done about a row that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BadRows {
    /// It ends the reading.
    #[default]
    Stop,
    /// It is counted and left out.
    Skip,
}

/// A request, or a conversation of several.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Entry {
    /// When it began, since the begin of the trace; `None` when the file has no times.
    pub at_ns: Option<Nanos>,
    /// What is asked, turn by turn; at least one.
    pub turns: Vec<Turn>,
    /// Blocks that the prompt begins with: equal ids stand for equal tokens.
    pub blocks: Vec<u64>,
}

/// One request of a conversation.
#[derive(Clone, PartialEq, Default)]
pub struct Turn {
    /// What is said; empty when only lengths are known.
    pub messages: Vec<Said>,
    /// Tokens that the turn adds to the prompt; `None` when nobody has counted.
    pub input: Option<u32>,
    /// Output tokens; `None` when nobody has counted.
    pub output: Option<u32>,
    /// Pause between the answer before it and this turn; `None` when nobody has measured it.
    pub think_ns: Option<Nanos>,
    /// What the prompt of a first turn shares with others; `None` when nothing is known to be shared.
    pub prefix: Option<Prefix>,
    /// The answer that was given then, to take its length from.
    pub answer: Option<String>,
}

impl std::fmt::Debug for Turn {
    /// Leaves out the answer.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { messages, input, output, .. } = self;
        write!(f, "{messages:?} {input:?} {output:?}")
    }
}

/// One message.
#[derive(Clone, PartialEq, Eq)]
pub struct Said {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// Its text.
    pub text: String,
}

impl std::fmt::Debug for Said {
    /// Leaves out the text.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Said").field("role", &self.role).field("bytes", &self.text.len()).finish()
    }
}

impl Entry {
    /// One request of known lengths.
    fn lengths(at_ns: Option<Nanos>, input: u32, output: u32) -> Self {
        let turn = Turn { input: Some(input), output: Some(output), ..Turn::default() };
        Self { at_ns, turns: vec![turn], blocks: Vec::new() }
    }
}

/// A row that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// Its line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Its format.
    pub format: Format,
    /// In order of time.
    pub entries: Vec<Entry>,
    /// Rows left out.
    pub skipped: u64,
    /// The first of them.
    pub first_skipped: Option<BadRow>,
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The system refused.
    #[error("failed to read line {line}")]
    Io {
        /// Where, from 1.
        line: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No known format begins like this.
    #[error("the format is not known")]
    Format,
    /// A row makes no sense.
    #[error("line {line}: {reason}")]
    Row {
        /// Where, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// Rows lie further apart than times can tell.
    #[error("its rows lie more than 292 years apart, so a time in it is wrong")]
    Apart,
    /// Not one row was left.
    #[error("it holds no request ({skipped} rows were skipped)")]
    Empty {
        /// Rows left out.
        skipped: u64,
    },
}

impl TraceError {
    /// What to try next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Format => Some(
                "it may be an Azure or BurstGPT CSV, Mooncake or prompt JSON lines, ShareGPT JSON or OTLP spans; \
                 name the format with --trace-format",
            ),
            Self::Row { .. } => Some("--bad-rows skip leaves such rows out and counts them"),
            _ => None,
        }
    }
}

/// What a reader gives for each row: nothing for rows that are of no concern.
type Rows<'a> = dyn FnMut(u64, Result<Entry, String>) -> Result<(), TraceError> + 'a;

/// Reads a whole file. `format` is found out from its begin when it is `None`; `input` should buffer some kilobytes.
pub fn read(mut input: impl BufRead, format: Option<Format>, bad_rows: BadRows) -> Result<Trace, TraceError> {
    let format = match format {
        Some(format) => format,
        None => {
            let begin = input.fill_buf().map_err(|source| TraceError::Io { line: 1, source })?;
            Format::detect(&String::from_utf8_lossy(begin)).ok_or(TraceError::Format)?
        }
    };
    let mut trace = Trace { format, entries: Vec::new(), skipped: 0, first_skipped: None };
    let mut take = |line: u64, row: Result<Entry, String>| match (row, bad_rows) {
        (Ok(entry), _) => {
            trace.entries.push(entry);
            Ok(())
        }
        (Err(reason), BadRows::Stop) => Err(TraceError::Row { line, reason }),
        (Err(reason), BadRows::Skip) => {
            trace.skipped += 1;
            trace.first_skipped.get_or_insert(BadRow { line, reason });
            Ok(())
        }
    };
    match format {
        Format::Azure | Format::BurstGpt => csv::read(&mut input, format, &mut take)?,
        Format::Mooncake => split::lines(&mut input, |line, text| take(line, mooncake::entry(text)))?,
        Format::Prompts => split::lines(&mut input, |line, text| take(line, texts::prompt(text)))?,
        Format::ShareGpt => {
            split::values(&mut input, |line, value| take(line, value.and_then(|v| texts::conversation(&v))))?
        }
        Format::Otel => split::values(&mut input, |line, value| otel::entries(line, value, &mut take))?,
    }
    if trace.entries.is_empty() {
        return Err(TraceError::Empty { skipped: trace.skipped });
    }
    // Spans are stored when they end, and merged logs are in no order at all.
    trace.entries.sort_by_key(|e| e.at_ns);
    let first = trace.entries.first().and_then(|e| e.at_ns).unwrap_or(0);
    // Times are sorted, so no other span is longer.
    let last = trace.entries.last().and_then(|e| e.at_ns).unwrap_or(first);
    if last.checked_sub(first).is_none() {
        return Err(TraceError::Apart);
    }
    for at in trace.entries.iter_mut().filter_map(|e| e.at_ns.as_mut()) {
        *at -= first;
    }
    Ok(trace)
}

/// A number of tokens that a request can have.
fn tokens(name: &str, value: u64) -> Result<u32, String> {
    match u32::try_from(value) {
        Ok(0) => Err(format!("`{name}` is 0: a request needs at least 1 token")),
        Ok(n) => Ok(n),
        Err(_) => Err(format!("`{name}` is {value}, more tokens than a request can have")),
    }
}

#[cfg(test)]
mod tests;
