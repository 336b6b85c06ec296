//! Request bodies: the shape of a request becomes a prompt of that length, and the prompt a body.
//!
//! Token ids give exact lengths. Where an engine takes only text, the length aims at the tokens by what the engine's
//! own usage said of two calibration prompts; the record holds what was really sent.

use std::sync::Mutex;

use stopwatt_core::{Phase, RequestRecord};
use stopwatt_load::{Completed, Job, Path, Target};
use stopwatt_serving::prompt::{PromptKey, TextPrompts, TokenPrompts};
use stopwatt_serving::workload::{RequestShape, Workload};
use stopwatt_wire::openai::{Options, Prompt, Template};

use super::config::BenchConfig;
use super::error::BenchError;
use super::probe::{self, Capabilities};

/// Counts the tokens of generated text.
pub trait TokenCounter: Send + Sync {
    /// Tokens of `text`, without special tokens.
    fn count(&self, text: &str) -> u32;
}

/// Makes the jobs of a run.
pub(crate) struct Prompts {
    template: Template,
    path: Path,
    source: Source,
    tokenizer: Option<Mutex<Box<dyn TokenCounter>>>,
    warnings: Vec<String>,
}

enum Source {
    /// Exact: the engine adds `added` tokens of its own, which are taken off.
    Tokens { prompts: TokenPrompts, added: u32 },
    /// Approximate: the template costs about `overhead` tokens, which are taken off.
    Text { prompts: TextPrompts, overhead: u32 },
}

impl Prompts {
    /// Calibrates where needed. `salt` makes the prompts differ from those of any earlier run, so that an engine's
    /// prefix cache cannot know them.
    pub(crate) fn new(
        target: &Target,
        capabilities: &Capabilities,
        config: &BenchConfig,
        tokenizer: Option<Box<dyn TokenCounter>>,
        salt: u64,
    ) -> Result<Self, BenchError> {
        let request = &config.request;
        let options = Options {
            model: capabilities.model.clone(),
            stream: true,
            include_usage: true,
            ignore_eos: capabilities.ignore_eos,
            min_tokens: capabilities.min_tokens,
            temperature: Some(request.temperature),
            seed: None,
            return_token_ids: request.return_token_ids,
            extra_body: request.extra_body.as_ref().and_then(|v| v.as_object()).cloned().unwrap_or_default(),
        };
        let template = probe::template(&options)?;
        let mut warnings = Vec::new();
        let source = match capabilities.token_ids.clone() {
            Some(range) => {
                let prompts = TokenPrompts::new(config.seed, salt, range)
                    .map_err(|e| BenchError::Answer { what: "the token id probe", problem: e.to_string() })?;
                Source::Tokens { prompts, added: capabilities.added_tokens }
            }
            None => text_source(target, capabilities, config.seed, salt, &mut warnings)?,
        };
        let tokenizer = tokenizer.map(Mutex::new);
        Ok(Self { template, path: capabilities.path, source, tokenizer, warnings })
    }

    /// What is worse than asked for.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether generated text is needed, to count its tokens.
    pub(crate) fn wants_text(&self) -> bool {
        self.tokenizer.is_some()
    }

    /// The request `index` of a stretch of load.
    pub(crate) fn job(&self, workload: &Workload, place: Place, index: u64) -> Job {
        let shape = workload.shape(place.shape_seed, index);
        let epoch = place.point << 12 | place.trial;
        let key = PromptKey { phase: place.phase, epoch, index: place.first_id + index };
        let body = match &self.source {
            Source::Tokens { prompts, added } => {
                let ids = prompts.prompt(&less(shape, *added), key);
                self.template.completions(Prompt::Tokens(&ids), shape.output)
            }
            Source::Text { prompts, overhead } => {
                let text = prompts.prompt(&less(shape, *overhead), key);
                probe::render(&self.template, self.path, &text, shape.output)
            }
        };
        Job {
            id: place.first_id + index,
            point: place.point,
            trial: place.trial,
            phase: place.phase,
            session: None,
            turn: None,
            input_asked: shape.input,
            output_asked: shape.output,
            path: self.path,
            body,
        }
    }

    /// The record of an ended request, with the client's token count when there is a tokenizer.
    pub(crate) fn count_tokens(&self, done: Completed) -> RequestRecord {
        let mut record = done.record;
        if let Some(tokenizer) = &self.tokenizer {
            let tokenizer = tokenizer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let count = |text: &Option<String>| text.as_deref().map_or(0, |t| tokenizer.count(t));
            if done.text.is_some() || done.reasoning.is_some() {
                record.output_tokenizer = Some(count(&done.text) + count(&done.reasoning));
            }
        }
        record
    }
}

/// Where in the run a stretch of load stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) point: u32,
    pub(crate) trial: u32,
    pub(crate) phase: Phase,
    /// Id of the stretch's first request.
    pub(crate) first_id: u64,
    /// Seed of the lengths.
    pub(crate) shape_seed: u64,
}

/// The shape less what the engine adds by itself.
fn less(shape: RequestShape, tokens: u32) -> RequestShape {
    let input = shape.input.saturating_sub(tokens).max(1);
    let prefix = shape.prefix.map(|mut p| {
        p.tokens = p.tokens.min(input - 1);
        p
    });
    RequestShape { input, prefix: prefix.filter(|p| p.tokens > 0), ..shape }
}

fn text_source(
    target: &Target,
    capabilities: &Capabilities,
    seed: u64,
    salt: u64,
    warnings: &mut Vec<String>,
) -> Result<Source, BenchError> {
    let start = TextPrompts::new(seed, salt, TextPrompts::TYPICAL_CHARS_PER_TOKEN)
        .map_err(|e| BenchError::Answer { what: "the text calibration", problem: e.to_string() })?;
    let text = |tokens: u32| {
        let shape = RequestShape { input: tokens, output: 1, prefix: None };
        start.prompt(
            &shape,
            PromptKey { phase: Phase::Warmup, epoch: u32::MAX, index: u64::from(tokens) | 1 << 40 },
        )
    };
    let Some(cost) = probe::text_cost(target, capabilities, text)? else {
        warnings.push("the engine states no usage: input lengths are estimates".to_owned());
        return Ok(Source::Text { prompts: start, overhead: 0 });
    };
    let prompts = start
        .calibrated(cost.chars, cost.tokens)
        .map_err(|e| BenchError::Answer { what: "the text calibration", problem: e.to_string() })?;
    Ok(Source::Text { prompts, overhead: cost.overhead })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_adds_is_taken_off() {
        let prefix = Some(stopwatt_serving::workload::Prefix { group: 0, tokens: 9 });
        let shape = RequestShape { input: 10, output: 1, prefix };
        let got = less(shape, 4);
        assert_eq!((got.input, got.prefix.map(|p| p.tokens)), (6, Some(5)));
        assert_eq!(less(shape, 100).input, 1);
        assert_eq!(less(shape, 100).prefix, None);
    }
}
