//! The real kind: steps are computed by a decoder on the CPU.

use std::collections::HashMap;
use std::sync::Arc;

use stopwatt_model::{
    ChatMessage, Chunk, DecodeStream, LoadOptions, Loaded, Model, PagedKv, Precision, Preset, Sampler,
    SamplingParams, Source, Tokenizer, load,
};
use stopwatt_serving::scheduler::{Scheduler, StepPlan};

use super::executor::{Executor, StepFailed};
use super::intake::Language;
use super::order::{Serial, Task};
use super::{Parts, facts, run};
use crate::api::{ApiError, Prompt};
use crate::config::{RealConfig, WeightPrecision, Weights};
use crate::error::ServeError;
use crate::serve::{Front, Listening};
use crate::shutdown::Shutdown;
use crate::words::mix;

/// Bytes of the KV cache of the real kind when nothing else is asked for.
pub const KV_BYTES: usize = 512 << 20;

/// Serves until shut down.
pub(crate) fn serve(
    front: Front,
    config: &RealConfig,
    ready: impl FnOnce(&Listening),
    shutdown: &Shutdown,
) -> Result<(), ServeError> {
    let threads = config.threads.unwrap_or_else(default_threads);
    let Loaded { model, tokenizer, name } = load(
        &source(&config.weights)?,
        &LoadOptions { precision: config.precision.map(precision), threads },
    )?;
    let shape = model.config();
    let longest = u32::try_from(shape.max_position).unwrap_or(u32::MAX);
    if config.max_model_len.is_some_and(|asked| asked > longest) {
        let problem = format!("the model has a context of {longest} tokens");
        return Err(ServeError::Setting { setting: "max_model_len", problem });
    }
    let affordable = u32::try_from(KV_BYTES / shape.kv_bytes_per_token()).unwrap_or(u32::MAX);
    let kv_tokens =
        config.scheduler.kv_cache_tokens.unwrap_or(affordable.max(config.max_model_len.unwrap_or(0)));
    let max_model_len = config.max_model_len.unwrap_or(longest.min(kv_tokens));
    let scheduler = Scheduler::new(config.scheduler.rules(kv_tokens, max_model_len))?;
    let rules = scheduler.config();
    let mut kv = PagedKv::new(shape, rules.kv_blocks as usize, rules.block_size as usize)?;
    kv.populate();
    let mut facts = facts("real", rules);
    let more = [
        ("model", name),
        ("parameters", model.weights().parameters().to_string()),
        ("weight_bytes", model.weights().bytes().to_string()),
        ("kv_cache_bytes", kv.bytes().to_string()),
        ("threads", model.cpu().threads().to_string()),
        ("isa", model.cpu().isa().name().to_owned()),
    ];
    facts.extend(more.map(|(name, value)| (name.to_owned(), value)));
    let tokenizer = Arc::new(tokenizer);
    let language = Arc::new(ModelLanguage { tokenizer: tokenizer.clone(), vocab: shape.vocab });
    let executor =
        Real { model, kv, tokenizer, seed: config.seed, requests: HashMap::new(), logits: Vec::new() };
    run(
        front,
        Parts { executor, language, scheduler, default_output: config.default_output, facts },
        ready,
        shutdown,
    )
}

/// The CPUs this process may use, less one for sockets and the load client.
fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get().saturating_sub(1)).max(1)
}

fn precision(asked: WeightPrecision) -> Precision {
    match asked {
        WeightPrecision::F32 => Precision::F32,
        WeightPrecision::Bf16 => Precision::Bf16,
        WeightPrecision::F16 => Precision::F16,
    }
}

fn source(weights: &Weights) -> Result<Source, ServeError> {
    match weights {
        Weights::Random { size, seed } => {
            let preset = Preset::from_name(size).ok_or_else(|| {
                let names: Vec<_> = Preset::ALL.iter().map(|p| p.name()).collect();
                ServeError::Setting {
                    setting: "size",
                    problem: format!("`{size}` is not one of {}", names.join(", ")),
                }
            })?;
            Ok(Source::Random { preset, seed: *seed })
        }
        Weights::Gguf(path) => Ok(Source::Gguf(path.clone())),
        Weights::Safetensors(path) => Ok(Source::HuggingFace(path.clone())),
    }
}

struct ModelLanguage {
    tokenizer: Arc<Tokenizer>,
    vocab: usize,
}

impl Language for ModelLanguage {
    fn tokens(&self, prompt: &Prompt) -> Result<Vec<u32>, ApiError> {
        let bad = |e: &dyn std::error::Error| {
            ApiError::field("prompt", format!("the prompt cannot be tokenised: {e}"))
        };
        match prompt {
            Prompt::Text(text) => self.tokenizer.encode(text).map_err(|e| bad(&e)),
            Prompt::Chat(messages) => {
                let chat = |m: &crate::api::Message| ChatMessage {
                    role: m.role.clone(),
                    content: m.content.clone(),
                };
                let messages: Vec<_> = messages.iter().map(chat).collect();
                self.tokenizer.encode_chat(&messages).map_err(|e| ApiError::field("messages", e.to_string()))
            }
            Prompt::Tokens(ids) => match ids.iter().find(|id| **id as usize >= self.vocab) {
                Some(id) => Err(ApiError::field(
                    "prompt",
                    format!("token {id} is not in the vocabulary of {} tokens", self.vocab),
                )),
                None => Ok(ids.clone()),
            },
        }
    }

    fn strings(&self, _: &Prompt, tokens: &[u32]) -> Vec<String> {
        tokens.iter().map(|token| self.tokenizer.decode(&[*token])).collect()
    }
}

/// What is kept of a request.
struct Sequence {
    sampler: Sampler,
    stream: DecodeStream,
    /// Until so many tokens are there, none that ends the output is drawn.
    min_tokens: u32,
}

struct Real {
    model: Model,
    kv: PagedKv,
    tokenizer: Arc<Tokenizer>,
    seed: u64,
    requests: HashMap<Serial, Sequence>,
    logits: Vec<f32>,
}

impl Executor for Real {
    fn begin(&mut self, task: &Task) -> Result<(), StepFailed> {
        let request = &task.request;
        let seed = request.seed.unwrap_or_else(|| mix(self.seed ^ mix(task.serial)));
        let params =
            SamplingParams { temperature: request.temperature as f32, top_p: request.top_p as f32, seed };
        let sampler = Sampler::new(params).map_err(|e| StepFailed(e.to_string()))?;
        let (stream, min_tokens) = (self.tokenizer.decode_stream(), request.min_tokens);
        self.requests.insert(task.serial, Sequence { sampler, stream, min_tokens });
        Ok(())
    }

    fn step(
        &mut self,
        scheduler: &Scheduler,
        plan: &StepPlan,
        tokens: &mut Vec<u32>,
    ) -> Result<(), StepFailed> {
        let chunk = |item: &stopwatt_serving::scheduler::StepItem| {
            let range = item.start as usize..(item.start + item.tokens) as usize;
            Chunk {
                tokens: &scheduler.token_ids(item.handle)[range],
                position: item.start as usize,
                blocks: scheduler.block_table(item.handle),
                logits: item.emits,
            }
        };
        let batch: Vec<Chunk<'_>> = plan.items.iter().map(chunk).collect();
        self.model.forward(&mut self.kv, &batch, &mut self.logits).map_err(|e| StepFailed(e.to_string()))?;
        let rows = self.logits.chunks_exact_mut(self.model.config().vocab);
        for (item, logits) in plan.items.iter().filter(|item| item.emits).zip(rows) {
            let sequence = self
                .requests
                .get_mut(&item.id)
                .ok_or_else(|| StepFailed("a request is unknown".to_owned()))?;
            if let Some(mask) = self.tokenizer.mask() {
                mask.apply(logits);
            }
            if item.output + 1 < sequence.min_tokens {
                for end in self.tokenizer.eos() {
                    if let Some(logit) = logits.get_mut(*end as usize) {
                        *logit = f32::NEG_INFINITY;
                    }
                }
            }
            tokens.push(sequence.sampler.sample(logits).map_err(|e| StepFailed(e.to_string()))?);
        }
        Ok(())
    }

    fn is_end(&self, token: u32) -> bool {
        self.tokenizer.eos().contains(&token)
    }

    fn text(&mut self, serial: Serial, token: u32, last: bool) -> String {
        match self.requests.get_mut(&serial) {
            Some(sequence) if last => sequence.stream.finish(&self.tokenizer),
            Some(sequence) => sequence.stream.push(&self.tokenizer, token),
            None => String::new(),
        }
    }

    fn end(&mut self, serial: Serial) {
        self.requests.remove(&serial);
    }
}
