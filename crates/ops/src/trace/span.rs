//! An exchange as spans: one of the request, and one of each attempt below it.
//!
//! Names are in one table, [`key`]: those of OpenTelemetry's conventions for GenAI (`semantic-conventions-genai`, in
//! development, 2026-08) and those that Langfuse 4 reads. Langfuse takes the time of the first token from its own
//! attribute only, as a JSON string, and usage and cost as JSON objects.

use stopwatt_core::{FinishReason, Nanos};

use super::ids::{Place, Traced};
use super::proto::{Event, KeyValue, Span, Status, Value};
use crate::content::{Answered, Content};
use crate::exchange::{End, Exchange, Failure};
use crate::feedback::{Score, ScoreValue};
use crate::rules::webhook::time;

/// Names of attributes.
pub mod key {
    #![allow(missing_docs, reason = "each is its own name")]

    pub const OPERATION: &str = "gen_ai.operation.name";
    pub const PROVIDER: &str = "gen_ai.provider.name";
    pub const REQUEST_MODEL: &str = "gen_ai.request.model";
    pub const STREAM: &str = "gen_ai.request.stream";
    pub const MAX_TOKENS: &str = "gen_ai.request.max_tokens";
    pub const TEMPERATURE: &str = "gen_ai.request.temperature";
    pub const TOP_P: &str = "gen_ai.request.top_p";
    pub const SEED: &str = "gen_ai.request.seed";
    pub const FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
    pub const FIRST_CHUNK: &str = "gen_ai.response.time_to_first_chunk";
    pub const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
    pub const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
    pub const CACHED_TOKENS: &str = "gen_ai.usage.cache_read.input_tokens";
    pub const CONVERSATION: &str = "gen_ai.conversation.id";
    pub const EVALUATION: &str = "gen_ai.evaluation.result";
    pub const EVALUATION_NAME: &str = "gen_ai.evaluation.name";
    pub const EVALUATION_VALUE: &str = "gen_ai.evaluation.score.value";
    pub const EVALUATION_LABEL: &str = "gen_ai.evaluation.score.label";
    pub const EVALUATION_WHY: &str = "gen_ai.evaluation.explanation";
    pub const ADDRESS: &str = "server.address";
    pub const PORT: &str = "server.port";
    pub const HTTP_STATUS: &str = "http.response.status_code";
    pub const ERROR: &str = "error.type";
    pub const SESSION: &str = "session.id";
    pub const USER: &str = "user.id";
    pub const LANGFUSE_TYPE: &str = "langfuse.observation.type";
    pub const LANGFUSE_MODEL: &str = "langfuse.observation.model.name";
    pub const LANGFUSE_STARTED: &str = "langfuse.observation.completion_start_time";
    pub const LANGFUSE_USAGE: &str = "langfuse.observation.usage_details";
    pub const LANGFUSE_COST: &str = "langfuse.observation.cost_details";
    pub const LANGFUSE_INPUT: &str = "langfuse.observation.input";
    pub const LANGFUSE_OUTPUT: &str = "langfuse.observation.output";
    pub const LANGFUSE_PARAMETERS: &str = "langfuse.observation.model.parameters";
    pub const LANGFUSE_LEVEL: &str = "langfuse.observation.level";
    pub const LANGFUSE_STATUS: &str = "langfuse.observation.status_message";
    pub const LANGFUSE_VERSION: &str = "langfuse.version";
    pub const LANGFUSE_TAGS: &str = "langfuse.trace.tags";
    pub const LANGFUSE_METADATA: &str = "langfuse.observation.metadata";
    pub const UPSTREAM: &str = "stopwatt.upstream";
    pub const VARIANT: &str = "stopwatt.variant";
    pub const ATTEMPTS: &str = "stopwatt.attempts";
    pub const COMMITTED: &str = "stopwatt.committed";
    pub const CUT_OFF: &str = "stopwatt.cut_off";
    pub const TEMPLATE: &str = "stopwatt.prompt.template_hash";
    pub const PROMPT_VERSION: &str = "stopwatt.prompt.version";
}

/// An upstream as spans name it.
#[derive(Debug, Clone)]
pub(super) struct Upstream {
    pub(super) name: String,
    pub(super) variant: String,
    pub(super) address: String,
    pub(super) port: u16,
    pub(super) provider: &'static str,
}

/// Turns raw monotonic stamps into UNIX time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Epoch {
    /// UNIX time less raw monotonic time.
    pub(super) offset: Nanos,
}

impl Epoch {
    fn of(self, at: Nanos) -> u64 {
        u64::try_from(at.saturating_add(self.offset)).unwrap_or(0)
    }
}

/// OpenTelemetry's `CLIENT`.
const CLIENT: i32 = 3;
/// OpenTelemetry's `INTERNAL`.
const INTERNAL: i32 = 1;
/// OpenTelemetry's `ERROR`.
const ERROR: i32 = 2;
/// Field `flags` of a sampled span of which it is known whether its parent is in another process (bits 0 and 8).
const SAMPLED: u32 = 0x101;
/// It is (bit 9).
const REMOTE_PARENT: u32 = 0x200;

/// Attributes in the making; what is unknown is left out.
#[derive(Default)]
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.0.push(KeyValue { key: key.to_owned(), value: Some(value.into().into()) });
    }

    fn maybe(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }
}

fn operation(path: &str) -> &'static str {
    match path {
        "/v1/chat/completions" | "/v1/responses" => "chat",
        "/v1/completions" => "text_completion",
        "/v1/embeddings" => "embeddings",
        _ => "other",
    }
}

/// The spans of an exchange, its own first.
pub(super) fn spans(
    x: &Exchange,
    traced: &Traced,
    upstreams: &[Upstream],
    epoch: Epoch,
    content: Option<&Content>,
) -> Vec<Span> {
    let up = x.upstream.and_then(|u| upstreams.get(u));
    let mut a = Attributes::default();
    let operation = operation(x.path);
    a.put(key::OPERATION, operation);
    a.put(key::PROVIDER, up.map_or("_OTHER", |u| u.provider));
    a.maybe(key::REQUEST_MODEL, x.model.as_deref());
    a.put(key::STREAM, x.streamed);
    a.maybe(key::MAX_TOKENS, traced.params.max_tokens);
    a.maybe(key::TEMPERATURE, traced.params.temperature);
    a.maybe(key::TOP_P, traced.params.top_p);
    a.maybe(key::SEED, traced.params.seed);
    a.maybe(key::FINISH_REASONS, x.finish.map(|f: FinishReason| vec![f.name().to_owned()]));
    a.maybe(key::FIRST_CHUNK, x.first_token.map(|at| (at - x.received) as f64 * 1e-9));
    let generated = (x.tokens > 0 || x.prompt_tokens.is_some()).then_some(x.tokens);
    a.maybe(key::INPUT_TOKENS, x.prompt_tokens);
    a.maybe(key::OUTPUT_TOKENS, generated);
    a.maybe(key::CACHED_TOKENS, x.cached_tokens);
    a.maybe(key::SESSION, traced.session.as_deref());
    a.maybe(key::CONVERSATION, traced.session.as_deref());
    a.maybe(key::USER, traced.user.as_deref());
    if x.status > 0 {
        a.put(key::HTTP_STATUS, u32::from(x.status));
    }
    if let Some(up) = up {
        a.put(key::ADDRESS, up.address.as_str());
        a.put(key::PORT, i64::from(up.port));
        a.put(key::UPSTREAM, up.name.as_str());
        a.put(key::VARIANT, up.variant.as_str());
        a.put(key::LANGFUSE_VERSION, up.variant.as_str());
        let mut tags = vec![format!("variant:{}", up.variant), format!("upstream:{}", up.name)];
        tags.extend(x.prompt_version.as_ref().map(|v| format!("prompt:{v}")));
        a.put(key::LANGFUSE_TAGS, tags);
        a.put(&format!("{}.upstream", key::LANGFUSE_METADATA), up.name.as_str());
    }
    a.put(key::ATTEMPTS, x.attempts);
    a.put(key::COMMITTED, x.committed);
    a.maybe(key::TEMPLATE, x.template.map(|t| format!("{t:016x}")));
    a.maybe(key::PROMPT_VERSION, x.prompt_version.as_deref());
    let kind = match operation {
        "chat" | "text_completion" => "generation",
        "embeddings" => "embedding",
        _ => "span",
    };
    a.put(key::LANGFUSE_TYPE, kind);
    a.maybe(key::LANGFUSE_MODEL, x.model.as_deref());
    if let Some(at) = x.first_token {
        a.put(key::LANGFUSE_STARTED, format!("\"{}\"", time(epoch.of(at) as f64 * 1e-9)));
    }
    a.maybe(key::LANGFUSE_USAGE, usage(x));
    a.maybe(key::LANGFUSE_COST, x.cost_dollars.map(|c| serde_json::json!({ "total": c }).to_string()));
    a.maybe(key::LANGFUSE_PARAMETERS, parameters(traced));
    let error = match x.end {
        End::Answered if x.status >= 400 => Some(x.status.to_string()),
        End::Answered => None,
        End::Failed(failure) => Some(failure.name().to_owned()),
        End::ClientGone => Some("client_gone".to_owned()),
    };
    let mut status = None;
    if let Some(error) = error {
        let message = match x.end {
            End::Failed(failure) => failure.message(),
            End::ClientGone => "the client went away",
            End::Answered => "the request was refused",
        };
        // A client that leaves is no fault of the service.
        let level = if x.end == End::ClientGone { "WARNING" } else { "ERROR" };
        a.put(key::LANGFUSE_LEVEL, level);
        a.put(key::LANGFUSE_STATUS, message);
        a.put(key::ERROR, error);
        status = (x.end != End::ClientGone).then(|| Status { message: message.to_owned(), code: ERROR });
    }
    if let Some(content) = content {
        said(&mut a, content);
    }
    let name = match &x.model {
        Some(model) => format!("{operation} {model}"),
        None => operation.to_owned(),
    };
    let Place { trace, span, parent, .. } = traced.place;
    let mut all = vec![Span {
        trace_id: trace.to_vec(),
        span_id: span.to_vec(),
        parent_span_id: parent.map(|p| p.to_vec()).unwrap_or_default(),
        name,
        kind: CLIENT,
        start_time_unix_nano: epoch.of(x.received),
        end_time_unix_nano: epoch.of(x.ended),
        attributes: a.0,
        events: Vec::new(),
        status,
        flags: SAMPLED | if parent.is_some() { REMOTE_PARENT } else { 0 },
    }];
    all.extend(attempts(x, traced, upstreams, epoch));
    all
}

fn attempts(
    x: &Exchange,
    traced: &Traced,
    upstreams: &[Upstream],
    epoch: Epoch,
) -> impl Iterator<Item = Span> {
    let answered = traced.tries.iter().rposition(|t| Some(t.upstream) == x.upstream && t.failed.is_none());
    traced.tries.iter().enumerate().map(move |(n, attempt)| {
        let mut a = Attributes::default();
        let up = upstreams.get(attempt.upstream);
        if let Some(up) = up {
            a.put(key::UPSTREAM, up.name.as_str());
            a.put(key::VARIANT, up.variant.as_str());
            a.put(key::ADDRESS, up.address.as_str());
            a.put(key::PORT, i64::from(up.port));
        }
        a.put(key::LANGFUSE_TYPE, "span");
        let mut status = None;
        let ended = match attempt.failed {
            Some((at, failure)) => {
                a.put(key::ERROR, failure.name());
                if let Failure::Status(status) = failure {
                    a.put(key::HTTP_STATUS, u32::from(status));
                }
                status = Some(Status { message: failure.message().to_owned(), code: ERROR });
                at
            }
            None if answered == Some(n) => x.ended,
            None => {
                // Another brought the first token sooner.
                a.put(key::CUT_OFF, true);
                x.first_token.unwrap_or(x.ended)
            }
        };
        Span {
            trace_id: traced.place.trace.to_vec(),
            span_id: traced.place.attempt(n).to_vec(),
            parent_span_id: traced.place.span.to_vec(),
            name: format!("attempt {}", up.map_or("", |u| u.name.as_str())),
            kind: CLIENT,
            start_time_unix_nano: epoch.of(attempt.began),
            end_time_unix_nano: epoch.of(ended.max(attempt.began)),
            attributes: a.0,
            events: Vec::new(),
            status,
            flags: SAMPLED,
        }
    })
}

/// Counts that do not overlap: Langfuse adds them up.
fn usage(x: &Exchange) -> Option<String> {
    let prompt = x.prompt_tokens?;
    let cached = x.cached_tokens.unwrap_or(0).min(prompt);
    let mut usage =
        serde_json::json!({ "input": prompt - cached, "output": x.tokens, "total": prompt + x.tokens });
    if x.cached_tokens.is_some() {
        usage["input_cached_tokens"] = cached.into();
    }
    Some(usage.to_string())
}

fn parameters(traced: &Traced) -> Option<String> {
    let p = &traced.params;
    let mut all = serde_json::Map::new();
    let mut put = |key: &str, value: Option<serde_json::Value>| {
        if let Some(value) = value {
            all.insert(key.to_owned(), value);
        }
    };
    put("max_tokens", p.max_tokens.map(Into::into));
    put("temperature", p.temperature.map(Into::into));
    put("top_p", p.top_p.map(Into::into));
    put("seed", p.seed.map(Into::into));
    (!all.is_empty()).then(|| serde_json::Value::Object(all).to_string())
}

/// Only where it was asked for.
fn said(a: &mut Attributes, content: &Content) {
    let request: serde_json::Value = serde_json::from_slice(&content.request).unwrap_or_default();
    let asked = if request["messages"].is_null() { &request["prompt"] } else { &request["messages"] };
    if !asked.is_null() {
        a.put(key::LANGFUSE_INPUT, asked.to_string());
    }
    let answer = match &content.answer {
        Answered::Nothing => None,
        Answered::Stream(kept) => Some(kept.text.clone()),
        Answered::Whole(body) => {
            let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
            let choice = &body["choices"][0];
            choice["message"]["content"].as_str().or_else(|| choice["text"].as_str()).map(str::to_owned)
        }
    };
    a.maybe(key::LANGFUSE_OUTPUT, answer);
}

/// A score of a user as a span of no length below the request's.
pub(super) fn score(score: &Score, n: u64, at_unix: u64) -> Span {
    let mut a = Attributes::default();
    a.put(key::EVALUATION_NAME, score.name.as_str());
    match &score.value {
        ScoreValue::Number(n) => a.put(key::EVALUATION_VALUE, *n),
        ScoreValue::YesNo(is) => {
            a.put(key::EVALUATION_VALUE, f64::from(u8::from(*is)));
            a.put(key::EVALUATION_LABEL, if *is { "yes" } else { "no" });
        }
        ScoreValue::Word(word) => a.put(key::EVALUATION_LABEL, word.as_str()),
    }
    a.maybe(key::EVALUATION_WHY, score.comment.as_deref());
    let event = Event { time_unix_nano: at_unix, name: key::EVALUATION.to_owned(), attributes: a.0 };
    Span {
        trace_id: score.place.trace.to_vec(),
        // Attempts count from 0; scores from far above.
        span_id: score.place.attempt((1 << 32) + n as usize).to_vec(),
        parent_span_id: score.place.span.to_vec(),
        name: format!("feedback {}", score.name),
        kind: INTERNAL,
        start_time_unix_nano: at_unix,
        end_time_unix_nano: at_unix,
        attributes: Vec::new(),
        events: vec![event],
        status: None,
        flags: SAMPLED,
    }
}

/// A score as Langfuse's `POST /api/public/scores` takes it.
pub(super) fn langfuse_score(score: &Score) -> serde_json::Value {
    let (kind, value) = match &score.value {
        ScoreValue::Number(n) => ("NUMERIC", serde_json::json!(n)),
        ScoreValue::YesNo(is) => ("BOOLEAN", serde_json::json!(u8::from(*is))),
        ScoreValue::Word(word) => ("CATEGORICAL", serde_json::json!(word)),
    };
    let mut body = serde_json::json!({
        "traceId": super::ids::hex(&score.place.trace),
        "observationId": super::ids::hex(&score.place.span),
        "name": score.name, "value": value, "dataType": kind,
    });
    if let Some(comment) = &score.comment {
        body["comment"] = comment.as_str().into();
    }
    body
}
