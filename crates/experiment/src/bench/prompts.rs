//! Request bodies: the shape of a request becomes a prompt of that length, and the prompt a body.
//!
//! Token ids give exact lengths. Where an engine takes only text, the length aims at the tokens by what the engine's
//! own usage said of two calibration prompts; the record holds what was really sent.

use std::sync::Mutex;

use stopwatt_core::verdict::{Code, Remark};
use stopwatt_core::{Phase, RequestRecord};
use stopwatt_load::{Completed, Job, Path, Target};
use stopwatt_serving::prompt::{PromptKey, TextPrompts, TokenPrompts};
use stopwatt_serving::trace::Said;
use stopwatt_serving::workload::{Recorded, RequestShape, Workload};
use stopwatt_wire::openai::{ImageForm, Message, Options, Prompt, Template};

use super::config::BenchConfig;
use super::error::BenchError;
use super::images::Images;
use super::probe::{self, Capabilities};
use super::reuse::Common;
use super::shard::Share;

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
    images: Option<Images>,
    warnings: Vec<Remark>,
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
            image_form: ImageForm::default(),
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
        let images = Images::new(&config.workload, config.seed ^ salt)?;
        Ok(Self { template, path: capabilities.path, source, tokenizer, images, warnings })
    }

    /// What is worse than asked for.
    pub(crate) fn warnings(&self) -> &[Remark] {
        &self.warnings
    }

    /// What every prompt begins with, and how exact shared lengths are.
    pub(crate) fn common(&self) -> Common {
        match &self.source {
            Source::Tokens { added, .. } => Common { tokens: *added, stretch: 1.0 },
            // Text hits its length within some percent, and two texts may begin with one word by chance.
            Source::Text { overhead, .. } => Common { tokens: overhead + 2, stretch: 1.15 },
        }
    }

    /// Whether generated text is needed, to count its tokens.
    pub(crate) fn wants_text(&self) -> bool {
        self.tokenizer.is_some()
    }

    /// The tokenizer, for the next engine.
    pub(crate) fn into_tokenizer(self) -> Option<Box<dyn TokenCounter>> {
        self.tokenizer.map(|t| t.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Request number `nth` of this share of a stretch of load.
    pub(crate) fn job(&self, workload: &Workload, place: Place, nth: u64) -> Job {
        let global = place.share.global(nth);
        let (job, _) = self.opening(workload, place, global);
        Job { id: place.first_id + nth, ..job }
    }

    /// Request number `global` of the whole, or the first turn of that conversation, and what it says. Its id is left
    /// to the caller.
    pub(crate) fn opening(&self, workload: &Workload, place: Place, global: u64) -> (Job, Vec<Said>) {
        let entry = place.entry(global);
        let shape = workload.shape(place.shape_seed, entry);
        let key = place.key(global, 0);
        let recorded = workload.recorded.as_deref();
        let images = self.images.as_ref().map_or_else(Vec::new, |i| i.of(key.index));
        let said =
            recorded.and_then(|r| r.turns(entry).first()).map_or(&[] as &[Said], |t| t.messages.as_slice());
        if !said.is_empty() {
            let template = if let Source::Text { overhead, .. } = &self.source { *overhead } else { 0 };
            let asked = RequestShape { input: shape.input + template, ..shape };
            return (self.asking(place, &asked, self.render(said, &images, shape.output)), said.to_vec());
        }
        let blocks = recorded.map(|r| (r, &r.entry(entry).blocks[..])).filter(|(_, b)| !b.is_empty());
        match &self.source {
            Source::Tokens { prompts, added } => {
                let own = less(shape, *added);
                let ids = match blocks {
                    Some((r, blocks)) => prompts.prompt_of_blocks(blocks, r.block_tokens, own.input, key),
                    None => prompts.prompt(&own, key),
                };
                let body = self.template.completions(Prompt::Tokens(&ids), shape.output);
                (self.asking(place, &shape, body), Vec::new())
            }
            Source::Text { prompts, overhead } => {
                let own = less(shape, *overhead);
                let text = match blocks {
                    Some((r, blocks)) => prompts.prompt_of_blocks(blocks, r.block_tokens, own.input, key),
                    None => prompts.prompt(&own, key),
                };
                let said = vec![Said { role: "user".to_owned(), text }];
                (self.asking(place, &shape, self.render(&said, &images, shape.output)), said)
            }
        }
    }

    /// What turn `turn` of a conversation adds, from 1.
    pub(crate) fn turn(
        &self,
        workload: &Workload,
        place: Place,
        global: u64,
        turn: u32,
        added: u32,
    ) -> Vec<Said> {
        let recorded =
            |r: &Recorded| r.turns(place.entry(global)).get(turn as usize).map(|t| t.messages.clone());
        if let Some(said) = workload.recorded.as_deref().and_then(recorded).filter(|s| !s.is_empty()) {
            return said;
        }
        let shape = RequestShape { input: added, output: 1, prefix: None };
        let text = match &self.source {
            Source::Text { prompts, .. } => prompts.prompt(&shape, place.key(global, turn)),
            // Conversations go to the chat endpoint, which takes text.
            Source::Tokens { .. } => String::new(),
        };
        vec![Said { role: "user".to_owned(), text }]
    }

    /// A request that says all of `said`. Its id is left to the caller.
    pub(crate) fn talk_job(&self, place: Place, said: &[Said], asked: u32, output: u32) -> Job {
        let shape = RequestShape { input: asked, output, prefix: None };
        self.asking(place, &shape, self.render(said, &[], output))
    }

    fn asking(&self, place: Place, shape: &RequestShape, body: Vec<u8>) -> Job {
        Job {
            id: place.first_id,
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

    /// A body of messages. Images go with the last one.
    fn render(&self, said: &[Said], images: &[String], output: u32) -> Vec<u8> {
        match self.path {
            Path::Completions => {
                let text: Vec<&str> = said.iter().map(|m| m.text.as_str()).collect();
                self.template.completions(Prompt::Text(&text.join("\n\n")), output)
            }
            Path::Chat => {
                let messages: Vec<Message<'_>> = said
                    .iter()
                    .enumerate()
                    .map(|(i, m)| Message {
                        role: &m.role,
                        content: &m.text,
                        images: if i + 1 == said.len() { images } else { &[] },
                    })
                    .collect();
                self.template.chat(&messages, output)
            }
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
    /// Which share of the whole is sent.
    pub(crate) share: Share,
    /// The recorded entry that the stretch begins with.
    pub(crate) first_entry: u64,
}

impl Place {
    /// The recorded entry of request `global`; of drawn requests, its number.
    pub(crate) fn entry(self, global: u64) -> u64 {
        self.first_entry + global
    }

    /// The prompt of request `global` and of the later turns of its conversation. It does not depend on what was sent
    /// before, so that all shares agree on it.
    fn key(self, global: u64, turn: u32) -> PromptKey {
        let epoch = self.point << 12 | self.trial;
        let place = u64::from(turn) << 52 | u64::from(epoch & 0x3f_ffff) << 30;
        PromptKey { phase: self.phase, epoch, index: place + global }
    }
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
    warnings: &mut Vec<Remark>,
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
        warnings.push(Remark::new(Code::NoUsage, []));
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
