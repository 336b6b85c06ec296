//! What a workload is made of beyond lengths: recorded requests, conversations, shared prefixes.
//!
//! ```text
//! trace file ──► serving::trace ──► window ──► lengths settled (stated, tokenizer, engine, estimated) ──► Recorded
//! settings ────► prefix groups, dialogue ───────────────────────────────────────────────────────────────► Workload
//! ```

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stopwatt_core::log::Fact;
use stopwatt_core::verdict::{Code, Remark};
use stopwatt_load::Target;
use stopwatt_serving::trace::{self, BadRows, Entry, Trace, Window};
use stopwatt_serving::workload::{Dialogue, Length, Profile, Recorded, ThinkTime, Workload};

use super::config::{BenchConfig, EndpointChoice, WorkloadConfig};
use super::error::BenchError;
use super::probe::{self, Capabilities};
use super::prompts::TokenCounter;

/// Texts that are counted by asking the engine; the lengths of the others follow from these.
const ASKED: usize = 256;
/// Characters of a token where nothing better is known: English text in large vocabularies.
const TYPICAL_CHARS: f64 = 4.0;

/// A recorded workload as it was read.
#[derive(Debug)]
pub(super) struct Material {
    /// The profile, with the record in it once its lengths are settled.
    pub(super) profile: Profile,
    trace: Option<Trace>,
    /// What came of it, for the record.
    fact: Option<Fact>,
    warnings: Vec<Remark>,
}

impl Material {
    /// Reads the trace of the settings.
    pub(super) fn load(config: &BenchConfig, profile: Profile) -> Result<Self, BenchError> {
        let mut material = Self { profile, trace: None, fact: None, warnings: Vec::new() };
        let own = &config.workload;
        if let Some(file) = &own.trace {
            let mut trace = read(file, own)?;
            trace.entries = window(own)?.cut(trace.entries);
            if trace.entries.is_empty() {
                let problem = "no recorded request lies in this part of the trace".to_owned();
                return Err(BenchError::Setting { setting: "workload.from_s", problem });
            }
            material.trace = Some(trace);
            // Plans can be made before lengths are settled, with those of the profile in the place of missing ones.
            material.finish(config)?;
        }
        Ok(material)
    }

    /// Counts what nobody has counted and leaves out what does not fit the model.
    pub(super) fn settle(
        &mut self,
        config: &BenchConfig,
        target: &Target,
        capabilities: &Capabilities,
        tokenizer: Option<&dyn TokenCounter>,
    ) -> Result<(), BenchError> {
        let Some(mut trace) = self.trace.take() else { return Ok(()) };
        let lengths = settle_lengths(&mut trace.entries, target, capabilities, tokenizer);
        if lengths == "estimated" {
            self.warnings.push(Remark::new(Code::LengthsEstimated, []));
        }
        if let Some(limit) = capabilities.max_context.filter(|_| config.workload.bad_rows == BadRows::Skip) {
            let fits = |e: &Entry| {
                let first = e.turns.first();
                let of = |n: Option<u32>| u64::from(n.unwrap_or(0));
                first.is_none_or(|t| of(t.input) + of(t.output) <= u64::from(limit))
            };
            let before = trace.entries.len();
            trace.entries.retain(fits);
            trace.skipped += (before - trace.entries.len()) as u64;
        }
        let first_skipped = trace.first_skipped.as_ref().map(|b| format!("line {}: {}", b.line, b.reason));
        if trace.skipped > 0 {
            self.warnings.push(Remark::new(Code::RowsSkipped, [trace.skipped.to_string()]));
        }
        self.fact = Some(Fact::WorkloadRead {
            format: trace.format.name().to_owned(),
            requests: trace.entries.len() as u64,
            skipped_rows: trace.skipped,
            first_skipped,
            lengths: lengths.to_owned(),
        });
        self.trace = Some(trace);
        self.finish(config)?;
        // The texts live on in the profile alone.
        self.trace = None;
        Ok(())
    }

    /// What came of the trace, for the record.
    pub(super) fn fact(&self) -> Option<Fact> {
        self.fact.clone()
    }

    /// What is worse than asked for.
    pub(super) fn warnings(&self) -> &[Remark] {
        &self.warnings
    }

    /// Tokens that the longest recorded request needs; 0 without a trace.
    pub(super) fn longest(&self) -> u32 {
        let workload = self.profile.workload();
        let bounds = |l: &Length| l.bounds().1;
        workload.recorded.map_or(0, |_| bounds(&workload.input).saturating_add(bounds(&workload.output)))
    }

    fn finish(&mut self, config: &BenchConfig) -> Result<(), BenchError> {
        let Some(trace) = &self.trace else { return Ok(()) };
        let own = &config.workload;
        let name = own.trace.as_deref().map_or_else(String::new, file_name);
        let most_turns = turns(own)?.map_or(1, |t| t.bounds().1);
        let recorded = Recorded::new(name, trace.entries.clone(), own.block_tokens, most_turns, config.seed)
            .ok_or_else(|| BenchError::Trace {
                name: own.trace.as_deref().map_or_else(String::new, file_name),
                source: trace::TraceError::Empty { skipped: trace.skipped },
            })?;
        self.profile = self.profile.clone().with_recorded(Arc::new(recorded));
        Ok(())
    }
}

/// The settings with the endpoint that the workload needs: conversations, messages and images are for chat.
pub(super) fn with_endpoint(config: &BenchConfig, material: &Material) -> Result<BenchConfig, BenchError> {
    let mut config = config.clone();
    let own = &config.workload;
    let recorded = material.profile.workload().recorded;
    let talks = own.turns.is_some() || own.images.is_some() || own.image_size.is_some();
    match config.target.endpoint {
        EndpointChoice::Completions if talks => {
            return Err(BenchError::Setting {
                setting: "target.endpoint",
                problem: "conversations and images need the chat endpoint".to_owned(),
            });
        }
        EndpointChoice::Auto if talks || recorded.as_ref().is_some_and(|r| r.has_texts()) => {
            config.target.endpoint = EndpointChoice::Chat;
        }
        _ => {}
    }
    Ok(config)
}

/// Puts the settings for shared prefixes and conversations into a workload.
pub(super) fn refine(own: &WorkloadConfig, workload: &mut Workload) -> Result<(), BenchError> {
    let bad = |setting, problem: String| BenchError::Setting { setting, problem };
    let mut share = workload.prefix_share;
    if let Some(groups) = own.prefix_groups {
        share = share.with_groups(groups).map_err(|e| bad("workload.prefix_groups", e.to_string()))?;
    }
    if own.prefix_tokens.is_some() {
        share = share.with_tokens(own.prefix_tokens);
    }
    if let Some(exponent) = own.prefix_zipf {
        share = share.with_popularity(exponent).map_err(|e| bad("workload.prefix_zipf", e.to_string()))?;
    }
    workload.prefix_share = share;
    let think = match &own.think_time {
        Some(text) => text.parse().map_err(|e: stopwatt_serving::workload::ThinkTimeError| {
            bad("workload.think_time", e.to_string())
        })?,
        None => ThinkTime::NONE,
    };
    if let Some(turns) = turns(own)? {
        let added = match &own.turn_input {
            Some(text) => length("workload.turn_input", text)?,
            None => workload.input.clone(),
        };
        workload.dialogue = Some(Dialogue { turns, added, think });
    } else if own.think_time.is_some() || own.turn_input.is_some() {
        return Err(bad(
            "workload.turns",
            "think time and turn input are for conversations; set the turns".to_owned(),
        ));
    }
    Ok(())
}

/// A length as settings write it; `@FILE` is a histogram: a line a length, `tokens` or `tokens,weight`.
pub(super) fn length(setting: &'static str, text: &str) -> Result<Length, BenchError> {
    let parse = |text: &str| text.parse::<Length>().map_err(|source| BenchError::Length { setting, source });
    let Some(file) = text.strip_prefix('@') else { return parse(text) };
    let mut content = String::new();
    open(setting, file)?.read_to_string(&mut content).map_err(|source| BenchError::File {
        setting,
        name: file_name(file),
        source,
    })?;
    let bins: Vec<String> = content
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .map(|l| if l.contains(',') { l.replacen(',', "*", 1) } else { format!("{l}*1") })
        .collect();
    parse(&bins.join(","))
}

fn turns(own: &WorkloadConfig) -> Result<Option<Length>, BenchError> {
    own.turns.as_deref().map(|text| length("workload.turns", text)).transpose()
}

fn read(file: &str, own: &WorkloadConfig) -> Result<Trace, BenchError> {
    let input = BufReader::with_capacity(1 << 16, open("workload.trace", file)?);
    trace::read(input, own.trace_format, own.bad_rows)
        .map_err(|source| BenchError::Trace { name: file_name(file), source })
}

fn open(setting: &'static str, file: &str) -> Result<File, BenchError> {
    File::open(file).map_err(|source| BenchError::File { setting, name: file_name(file), source })
}

fn file_name(file: &str) -> String {
    Path::new(file).file_name().map_or_else(|| file.to_owned(), |n| n.to_string_lossy().into_owned())
}

fn window(own: &WorkloadConfig) -> Result<Window, BenchError> {
    let time = |setting, s: f64| {
        Duration::try_from_secs_f64(s).map_err(|_| BenchError::Setting {
            setting,
            problem: "it must be a time in seconds, not below 0".to_owned(),
        })
    };
    if !(own.speedup.is_finite() && own.speedup > 0.0) {
        let problem = "the speed-up must be a positive number".to_owned();
        return Err(BenchError::Setting { setting: "workload.speedup", problem });
    }
    Ok(Window {
        from: time("workload.from_s", own.from_s)?,
        length: own.for_s.map(|s| time("workload.for_s", s)).transpose()?,
        speedup: own.speedup,
        most: own.max_requests,
    })
}

/// Fills in the lengths that the file does not state, and drops the answers. Says where lengths come from.
fn settle_lengths(
    entries: &mut [Entry],
    target: &Target,
    capabilities: &Capabilities,
    tokenizer: Option<&dyn TokenCounter>,
) -> &'static str {
    let asked_of =
        |turn: &trace::Turn| turn.messages.iter().map(|m| m.text.as_str()).collect::<Vec<_>>().join("\n");
    let turns = || entries.iter().flat_map(|e| &e.turns);
    let open = |t: &trace::Turn| {
        (t.input.is_none() && !t.messages.is_empty()) || (t.output.is_none() && t.answer.is_some())
    };
    if !turns().any(open) {
        return "stated";
    }
    let mut source = "estimated";
    let mut chars = TYPICAL_CHARS;
    if tokenizer.is_some() {
        source = "tokenizer";
    } else {
        let (mut letters, mut tokens) = (0_u64, 0_u64);
        for text in turns().filter(|t| open(t)).take(ASKED).map(asked_of) {
            let Some(n) = probe::tokenize(target, &capabilities.model, &text) else { break };
            letters += text.chars().count() as u64;
            tokens += u64::from(n);
        }
        if tokens > 0 {
            (source, chars) = ("engine", letters as f64 / tokens as f64);
        }
    }
    let count = |text: &str| match tokenizer {
        Some(tokenizer) => tokenizer.count(text).max(1),
        None => ((text.chars().count() as f64 / chars).round() as u32).max(1),
    };
    for turn in entries.iter_mut().flat_map(|e| &mut e.turns) {
        if turn.input.is_none() && !turn.messages.is_empty() {
            turn.input = Some(count(&asked_of(turn)));
        }
        if let Some(answer) = turn.answer.take() {
            turn.output.get_or_insert_with(|| count(&answer));
        }
    }
    source
}
