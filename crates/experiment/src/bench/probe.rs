//! What an engine can do, found out by asking it: a few requests of one or two tokens each before the run.
//!
//! OpenAI-compatible engines differ in what they accept beyond the common core. Each difference that matters to a
//! measurement is probed once and written to the record, so that a fall-back is never silent.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use serde_json::Map;
use stopwatt_core::verdict::{Code, Remark};
use stopwatt_load::{Path, Response, Target};
use stopwatt_wire::openai::{self, Completion, ErrorBody, Message, Model, Options, Prompt, Template};

use super::config::{BenchConfig, EndpointChoice, Tri};
use super::error::BenchError;
use super::scrape::Page;

/// Ranges of token ids that prompts may use, best first: ordinary words of large vocabularies, then printable bytes
/// of byte vocabularies. Special tokens usually stand at either end and are avoided.
const ID_RANGES: [Range<u32>; 3] = [1_000..24_000, 300..1_000, 33..127];
/// A cold engine may compile or load on its first request.
const PROBE_TIMEOUT: Duration = Duration::from_secs(120);

/// What the engine can do.
#[derive(Debug, Clone)]
pub(crate) struct Capabilities {
    /// Model name for requests.
    pub model: String,
    /// Longest input plus output, in tokens.
    pub max_context: Option<u32>,
    /// Which endpoint is used.
    pub path: Path,
    /// Ids that prompts may use; `None` when prompts must be text.
    pub token_ids: Option<Range<u32>>,
    /// Tokens that the engine adds to every prompt of ids, as a begin-of-sequence token does.
    pub added_tokens: u32,
    /// Whether output can be made to run to its full length.
    pub ignore_eos: bool,
    /// Whether `min_tokens` is taken too.
    pub min_tokens: bool,
    /// The engine's page of metrics, where it has one that is understood.
    pub metrics: Option<Page>,
    /// Findings for the record.
    pub features: BTreeMap<String, String>,
    /// What could not be done as asked.
    pub warnings: Vec<Remark>,
}

/// Asks the engine. Costs about five short requests.
pub(crate) fn probe(target: &Target, config: &BenchConfig) -> Result<Capabilities, BenchError> {
    let model = choose_model(target, config.target.model.as_deref())?;
    let mut prober =
        Prober { target, config, model: model.id.clone(), features: BTreeMap::new(), warnings: Vec::new() };
    let token_ids = prober.token_ids()?;
    let path = match config.target.endpoint {
        EndpointChoice::Chat => Path::Chat,
        EndpointChoice::Completions => Path::Completions,
        EndpointChoice::Auto if token_ids.is_some() => Path::Completions,
        EndpointChoice::Auto => Path::Chat,
    };
    let (token_ids, added_tokens) = match token_ids.filter(|_| path == Path::Completions) {
        Some((range, added)) => (Some(range), added),
        None => (None, 0),
    };
    let (ignore_eos, min_tokens) = prober.ignore_eos(path)?;
    let metrics = Page::find(target);
    let answer = metrics.as_ref().map_or_else(|why| format!("no: {why}"), |_| "yes".to_owned());
    prober.features.insert("metrics".to_owned(), answer);
    if let Ok(page) = &metrics {
        prober.features.insert("metrics_names".to_owned(), page.names.clone());
    }
    if let Some(owner) = &model.owned_by {
        prober.features.insert("engine".to_owned(), owner.clone());
    }
    if let Some(version) = version(target) {
        prober.features.insert("engine_version".to_owned(), version);
    }
    if let Some(limit) = model.max_model_len {
        prober.features.insert("max_context".to_owned(), limit.to_string());
    }
    prober.features.insert("endpoint".to_owned(), path.as_str().to_owned());
    Ok(Capabilities {
        model: model.id,
        max_context: model.max_model_len,
        path,
        token_ids,
        added_tokens,
        ignore_eos,
        min_tokens,
        metrics: metrics.ok(),
        features: prober.features,
        warnings: prober.warnings,
    })
}

/// Whether the engine is healthy and answers a request with a token. Engines without `/health` are only asked for one.
pub(crate) fn gives_a_token(target: &Target, config: &BenchConfig) -> bool {
    const QUICKLY: Duration = Duration::from_secs(5);
    let healthy = stopwatt_load::get(target, "/health", QUICKLY).is_ok_and(|a| matches!(a.status, 200 | 404));
    if !healthy {
        return false;
    }
    let Ok(model) = choose_model(target, config.target.model.as_deref()) else { return false };
    let Ok(template) = template(&Options { model: model.id, ..Options::default() }) else { return false };
    [Path::Completions, Path::Chat].into_iter().any(|path| {
        post(target, path, &render(&template, path, "Hello", 1))
            .is_ok_and(|a| a.status == 200 && Completion::parse(&a.body).is_ok())
    })
}

/// How many tokens the engine makes of a text; `None` when it does not say. vLLM and SGLang read `prompt`, llama.cpp
/// reads `content`.
pub(crate) fn tokenize(target: &Target, model: &str, text: &str) -> Option<u32> {
    let body =
        serde_json::json!({"model": model, "prompt": text, "content": text, "add_special_tokens": false});
    let answer = stopwatt_load::post(target, "/tokenize", body.to_string().as_bytes(), PROBE_TIMEOUT).ok()?;
    if answer.status != 200 {
        return None;
    }
    let tokens = openai::Tokenized::parse(&answer.body).ok()?.tokens.len();
    u32::try_from(tokens).ok().filter(|&n| n > 0)
}

/// How characters become tokens, for engines whose prompts must be text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextCost {
    /// Characters by which the longer calibration prompt was longer.
    pub(crate) chars: u64,
    /// Tokens by which it was longer.
    pub(crate) tokens: u64,
    /// Tokens that the chat template and special tokens add.
    pub(crate) overhead: u32,
}

/// Measures [`TextCost`] from the engine's own usage at two lengths; `None` when it states no usage.
pub(crate) fn text_cost(
    target: &Target,
    capabilities: &Capabilities,
    text: impl Fn(u32) -> String,
) -> Result<Option<TextCost>, BenchError> {
    let template = template(&Options { model: capabilities.model.clone(), ..Options::default() })?;
    let measure = |tokens: u32| -> Result<(u64, Option<u32>), BenchError> {
        let text = text(tokens);
        let answer = post(target, capabilities.path, &render(&template, capabilities.path, &text, 1))?;
        if answer.status != 200 {
            return Err(refused("a short request", &answer));
        }
        let usage = Completion::parse(&answer.body).ok().and_then(|c| c.usage);
        Ok((text.len() as u64, usage.and_then(|u| u.prompt)))
    };
    let ((short_chars, Some(short)), (long_chars, Some(long))) = (measure(16)?, measure(160)?) else {
        return Ok(None);
    };
    if long <= short {
        return Ok(None);
    }
    let (chars, tokens) = (long_chars - short_chars, u64::from(long - short));
    let own = (short_chars as f64 * tokens as f64 / chars as f64).round() as u32;
    Ok(Some(TextCost { chars, tokens, overhead: short.saturating_sub(own) }))
}

/// The name of the model in use: the one asked for, else the only one that the engine lists.
pub(crate) fn model_of(target: &Target, config: &BenchConfig) -> Result<String, BenchError> {
    choose_model(target, config.target.model.as_deref()).map(|model| model.id)
}

fn choose_model(target: &Target, asked: Option<&str>) -> Result<Model, BenchError> {
    let answer = stopwatt_load::get(target, "/v1/models", PROBE_TIMEOUT)
        .map_err(|source| BenchError::Unreachable { url: target.base_url(), source })?;
    if answer.status != 200 {
        return Err(refused("/v1/models", &answer));
    }
    let models = openai::models(&answer.body)
        .map_err(|e| BenchError::Answer { what: "/v1/models", problem: e.to_string() })?;
    let names = || models.iter().map(|m| m.id.clone()).collect::<Vec<_>>();
    match asked {
        Some(name) => match models.iter().find(|m| m.id == name) {
            Some(model) => Ok(model.clone()),
            None => Err(BenchError::UnknownModel { asked: name.to_owned(), served: names() }),
        },
        None => match models.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(BenchError::Answer { what: "/v1/models", problem: "it lists no model".to_owned() }),
            _ => Err(BenchError::AmbiguousModel { served: names() }),
        },
    }
}

fn version(target: &Target) -> Option<String> {
    let answer = stopwatt_load::get(target, "/version", Duration::from_secs(5)).ok()?;
    let value: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    let version = value.get("version")?.as_str()?;
    (version.len() < 100).then(|| version.to_owned())
}

struct Prober<'a> {
    target: &'a Target,
    config: &'a BenchConfig,
    model: String,
    features: BTreeMap<String, String>,
    warnings: Vec<Remark>,
}

impl Prober<'_> {
    fn options(&self) -> Options {
        Options { model: self.model.clone(), extra_body: self.extra_body(), ..Options::default() }
    }

    fn extra_body(&self) -> Map<String, serde_json::Value> {
        self.config.request.extra_body.as_ref().and_then(|v| v.as_object()).cloned().unwrap_or_default()
    }

    fn found(&mut self, feature: &str, yes: bool, instead: &str) {
        self.features
            .insert(feature.to_owned(), if yes { "yes".to_owned() } else { format!("no: {instead}") });
    }

    /// Which ids the completions endpoint takes, and how many tokens it adds to them.
    fn token_ids(&mut self) -> Result<Option<(Range<u32>, u32)>, BenchError> {
        if self.config.target.endpoint == EndpointChoice::Chat {
            self.found("token_ids", false, "the chat endpoint takes text");
            return Ok(None);
        }
        let template = template(&self.options())?;
        for range in ID_RANGES {
            // The ends are asked for, so that a vocabulary that is too small says no now.
            let ids: Vec<u32> =
                (0..8).map(|i| if i % 2 == 0 { range.start + i } else { range.end - 1 - i }).collect();
            let answer =
                post(self.target, Path::Completions, &template.completions(Prompt::Tokens(&ids), 1))?;
            if answer.status != 200 {
                continue;
            }
            let usage = Completion::parse(&answer.body).ok().and_then(|c| c.usage).and_then(|u| u.prompt);
            match usage {
                Some(n) if (8..=12).contains(&n) => {
                    self.found("token_ids", true, "");
                    return Ok(Some((range, n - 8)));
                }
                // Ids that were read as text, or no usage to tell.
                _ => break,
            }
        }
        self.found("token_ids", false, "prompts are text, their lengths are approximate");
        Ok(None)
    }

    fn ignore_eos(&mut self, path: Path) -> Result<(bool, bool), BenchError> {
        let wish = self.config.request.ignore_eos;
        if wish == Tri::No {
            self.found("ignore_eos", false, "not asked for");
            return Ok((false, false));
        }
        let mut problem = String::new();
        for min_tokens in [true, false] {
            match self.accepts(path, &Options { ignore_eos: true, min_tokens, ..self.options() })? {
                Ok(()) => {
                    self.found("ignore_eos", true, "");
                    self.found("min_tokens", min_tokens, "not needed with ignore_eos");
                    return Ok((true, min_tokens));
                }
                Err(said) => problem = said,
            }
        }
        if wish == Tri::Yes {
            return Err(BenchError::Unsupported { setting: "request.ignore_eos", problem });
        }
        self.found("ignore_eos", false, "output ends where the model ends it");
        self.warnings.push(Remark::new(Code::NoIgnoreEos, []));
        Ok((false, false))
    }

    /// Whether a request with these options is answered; the inner error is what the engine said.
    fn accepts(&self, path: Path, options: &Options) -> Result<Result<(), String>, BenchError> {
        let answer = post(self.target, path, &render(&template(options)?, path, "Hello", 2))?;
        match answer.status {
            200 => Ok(Ok(())),
            401 | 403 | 404 | 500.. => Err(refused("a short request", &answer)),
            _ => Ok(Err(message(&answer))),
        }
    }
}

pub(crate) fn template(options: &Options) -> Result<Template, BenchError> {
    Template::new(options)
        .map_err(|e| BenchError::Setting { setting: "request.extra_body", problem: e.to_string() })
}

pub(crate) fn render(template: &Template, path: Path, text: &str, max_tokens: u32) -> Vec<u8> {
    match path {
        Path::Completions => template.completions(Prompt::Text(text), max_tokens),
        Path::Chat => template.chat(&[Message::text("user", text)], max_tokens),
    }
}

fn post(target: &Target, path: Path, body: &[u8]) -> Result<Response, BenchError> {
    stopwatt_load::post(target, path.as_str(), body, PROBE_TIMEOUT)
        .map_err(|source| BenchError::Unreachable { url: target.base_url(), source })
}

fn refused(what: &'static str, answer: &Response) -> BenchError {
    BenchError::Refused { what, status: answer.status, message: message(answer) }
}

/// What the engine said, short enough for a line.
fn message(answer: &Response) -> String {
    let said = ErrorBody::parse(&answer.body)
        .map_or_else(|| String::from_utf8_lossy(&answer.body).into_owned(), |e| e.message);
    let line: String = said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect();
    if line.is_empty() { "no explanation".to_owned() } else { line }
}
