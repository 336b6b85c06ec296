//! Reading and checking the bodies of `/v1/completions`, `/v1/chat/completions` and `/tokenize`.

use serde::Deserialize;
use serde_json::Value;

use super::answer::Endpoint;
use super::error::ApiError;
use super::prompt::{Message, Prompt};

/// A request to generate, checked as far as that goes without the length of its prompt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GenerateRequest {
    pub(crate) endpoint: Endpoint,
    pub(crate) prompt: Prompt,
    /// `None`: 16 for completions, what the context allows for chats, as vLLM does.
    pub(crate) max_tokens: Option<u32>,
    pub(crate) min_tokens: u32,
    pub(crate) temperature: f64,
    pub(crate) top_p: f64,
    pub(crate) seed: Option<u64>,
    pub(crate) stop: Vec<String>,
    pub(crate) ignore_eos: bool,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    /// Usage in every event.
    pub(crate) continuous_usage: bool,
    pub(crate) return_token_ids: bool,
}

/// A request to `/tokenize`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenizeRequest {
    pub(crate) prompt: Prompt,
    pub(crate) return_token_strs: bool,
}

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    prompt: Option<Prompt>,
    messages: Option<Vec<Message>>,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
    min_tokens: Option<i64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<i64>,
    seed: Option<i64>,
    stop: Option<Value>,
    ignore_eos: Option<bool>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    return_token_ids: Option<bool>,
    return_token_strs: Option<bool>,
    n: Option<i64>,
    best_of: Option<i64>,
    echo: Option<bool>,
    logprobs: Option<Value>,
    top_logprobs: Option<Value>,
    prompt_logprobs: Option<Value>,
    suffix: Option<Value>,
    tools: Option<Value>,
    response_format: Option<Value>,
    logit_bias: Option<Value>,
    frequency_penalty: Option<f64>,
    presence_penalty: Option<f64>,
    repetition_penalty: Option<f64>,
    use_beam_search: Option<bool>,
}

#[derive(Deserialize, Default)]
struct StreamOptions {
    include_usage: Option<bool>,
    continuous_usage_stats: Option<bool>,
}

/// The most `stop` strings of a request.
const MAX_STOPS: usize = 16;

impl GenerateRequest {
    /// Reads a body without images; `model` is the name that is served.
    pub(crate) fn parse(endpoint: Endpoint, body: &[u8], model: &str) -> Result<Self, ApiError> {
        let request = Self::parse_with_images(endpoint, body, model)?;
        let has_image = |prompt: &Prompt| match prompt {
            Prompt::Chat(messages) => messages.iter().any(|m| !m.images.is_empty()),
            _ => false,
        };
        if has_image(&request.prompt) {
            return Err(ApiError::field("messages", "this model takes no images"));
        }
        Ok(request)
    }

    /// Reads a body; chats may hold images.
    pub(crate) fn parse_with_images(endpoint: Endpoint, body: &[u8], model: &str) -> Result<Self, ApiError> {
        let body = read(body)?;
        check_model(&body, model)?;
        refuse_unsupported(&body)?;
        let stream_options = body.stream_options.unwrap_or_default();
        let stream = body.stream.unwrap_or(false);
        let prompt = match (endpoint, body.prompt, body.messages) {
            (Endpoint::Completions, Some(prompt), None) => prompt,
            (Endpoint::Completions, ..) => {
                return Err(ApiError::field("prompt", "the request must have a `prompt`"));
            }
            (Endpoint::Chat, None, Some(messages)) if !messages.is_empty() => Prompt::Chat(messages),
            (Endpoint::Chat, ..) => {
                return Err(ApiError::field("messages", "the request must have `messages`"));
            }
        };
        if matches!(&prompt, Prompt::Tokens(ids) if ids.is_empty()) {
            return Err(ApiError::field("prompt", "the prompt holds no token"));
        }
        let at_least = |value: Option<i64>, least: i64, param: &'static str| match value {
            None => Ok(None),
            Some(v) if v < least => {
                Err(ApiError::field(param, format!("{param} must be at least {least}, got {v}.")))
            }
            Some(v) => Ok(Some(u32::try_from(v).unwrap_or(u32::MAX))),
        };
        let max_tokens = at_least(body.max_completion_tokens, 1, "max_completion_tokens")?.or(at_least(
            body.max_tokens,
            1,
            "max_tokens",
        )?);
        let min_tokens = at_least(body.min_tokens, 0, "min_tokens")?.unwrap_or(0);
        if max_tokens.is_some_and(|max| min_tokens > max) {
            return Err(ApiError::field("min_tokens", "min_tokens is larger than max_tokens"));
        }
        let temperature = body.temperature.unwrap_or(1.0);
        if !(0.0..=100.0).contains(&temperature) {
            return Err(ApiError::field("temperature", "temperature must be between 0 and 100"));
        }
        let top_p = body.top_p.unwrap_or(1.0);
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(ApiError::field("top_p", "top_p must be above 0 and at most 1"));
        }
        Ok(Self {
            endpoint,
            prompt,
            max_tokens,
            min_tokens,
            temperature,
            top_p,
            seed: body.seed.map(i64::cast_unsigned),
            stop: stop_strings(body.stop)?,
            ignore_eos: body.ignore_eos.unwrap_or(false),
            stream,
            include_usage: stream && stream_options.include_usage.unwrap_or(false),
            continuous_usage: stream && stream_options.continuous_usage_stats.unwrap_or(false),
            return_token_ids: body.return_token_ids.unwrap_or(false),
        })
    }

    /// How many tokens may be generated after a prompt of `prompt_tokens`; `default` where the request sets no limit.
    pub(crate) fn output_limit(
        &self,
        prompt_tokens: usize,
        max_len: u32,
        default: u32,
    ) -> Result<u32, ApiError> {
        let room = u32::try_from(prompt_tokens).ok().and_then(|p| max_len.checked_sub(p)).unwrap_or(0);
        if prompt_tokens == 0 {
            return Err(ApiError::field("prompt", "the prompt holds no token"));
        }
        if room == 0 {
            let message = format!(
                "This model's maximum context length is {max_len} tokens, and the prompt alone has \
                {prompt_tokens}. Please shorten the prompt."
            );
            return Err(ApiError::field("prompt", message));
        }
        match self.max_tokens {
            None => Ok(default.min(room).max(self.min_tokens.min(room))),
            Some(asked) if asked > room => {
                let message = format!(
                    "This model's maximum context length is {max_len} tokens. However, you requested \
                    {asked} output tokens and the prompt has {prompt_tokens} input tokens. Please ask for less. \
                    (parameter=max_tokens, value={asked})"
                );
                Err(ApiError::field("max_tokens", message))
            }
            Some(asked) => Ok(asked),
        }
    }
}

impl TokenizeRequest {
    /// Reads a body; `model` is the name that is served, and may be left out as with vLLM.
    pub(crate) fn parse(body: &[u8], model: &str) -> Result<Self, ApiError> {
        let body = read(body)?;
        if body.model.is_some() {
            check_model(&body, model)?;
        }
        let prompt = match (body.prompt, body.messages) {
            (Some(prompt @ Prompt::Text(_)), None) => prompt,
            (None, Some(messages)) => Prompt::Chat(messages),
            _ => {
                return Err(ApiError::field(
                    "prompt",
                    "the request must have a text as `prompt`, or `messages`",
                ));
            }
        };
        Ok(Self { prompt, return_token_strs: body.return_token_strs.unwrap_or(false) })
    }
}

fn read(body: &[u8]) -> Result<Body, ApiError> {
    serde_json::from_slice(body)
        .map_err(|e| ApiError::new(400, format!("the request body is not understood: {e}")))
}

fn check_model(body: &Body, model: &str) -> Result<(), ApiError> {
    match &body.model {
        None => Err(ApiError::field("model", "the request must have a `model`")),
        Some(asked) if asked != model => Err(ApiError {
            status: 404,
            message: format!("The model `{asked}` does not exist. It is `{model}` that is served."),
            param: Some("model"),
        }),
        Some(_) => Ok(()),
    }
}

fn refuse_unsupported(body: &Body) -> Result<(), ApiError> {
    let asks = |value: &Option<Value>| match value {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    };
    let plain_text = body.response_format.as_ref().is_none_or(|f| f["type"] == "text" || f.is_null());
    let unsupported = [
        ("n", body.n.is_some_and(|n| n != 1)),
        ("best_of", body.best_of.is_some_and(|n| n != 1)),
        ("echo", body.echo == Some(true)),
        ("logprobs", asks(&body.logprobs)),
        ("top_logprobs", asks(&body.top_logprobs)),
        ("prompt_logprobs", asks(&body.prompt_logprobs)),
        ("suffix", asks(&body.suffix)),
        ("tools", asks(&body.tools)),
        ("response_format", !plain_text),
        ("logit_bias", asks(&body.logit_bias)),
        ("top_k", body.top_k.is_some_and(|k| k > 0)),
        ("frequency_penalty", body.frequency_penalty.is_some_and(|p| p != 0.0)),
        ("presence_penalty", body.presence_penalty.is_some_and(|p| p != 0.0)),
        ("repetition_penalty", body.repetition_penalty.is_some_and(|p| p != 1.0)),
        ("use_beam_search", body.use_beam_search == Some(true)),
    ];
    match unsupported.into_iter().find(|(_, asked)| *asked) {
        Some(("n", _)) => Err(ApiError::field("n", "only n = 1 is supported")),
        Some((param, _)) => Err(ApiError::field(param, format!("{param} is not supported by this engine"))),
        None => Ok(()),
    }
}

fn stop_strings(stop: Option<Value>) -> Result<Vec<String>, ApiError> {
    let bad =
        || ApiError::field("stop", format!("stop must be a text or a list of at most {MAX_STOPS} texts"));
    let list = match stop {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(list)) if list.len() <= MAX_STOPS => {
            let texts = list.into_iter().map(|v| match v {
                Value::String(text) => Some(text),
                _ => None,
            });
            texts.collect::<Option<_>>().ok_or_else(bad)?
        }
        Some(_) => return Err(bad()),
    };
    if list.iter().any(String::is_empty) { Err(bad()) } else { Ok(list) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<GenerateRequest, ApiError> {
        GenerateRequest::parse(Endpoint::Completions, json.as_bytes(), "m")
    }

    #[track_caller]
    fn refused(fields: &str, status: u16, param: Option<&str>) {
        let error = parse(&format!(r#"{{"model":"m","prompt":"x"{fields}}}"#)).unwrap_err();
        assert_eq!((error.status, error.param), (status, param), "{fields}: {}", error.message);
    }

    #[test]
    fn defaults_are_those_of_vllm() {
        let request =
            parse(r#"{"model":"m","prompt":"x","unknown_field":{"a":1},"logprobs":null,"n":1}"#).unwrap();
        assert_eq!((request.temperature, request.top_p, request.max_tokens), (1.0, 1.0, None));
        assert!(!request.stream && !request.include_usage && !request.ignore_eos);
        assert_eq!(request.output_limit(10, 100, 16), Ok(16));
        assert_eq!(request.output_limit(90, 100, 16), Ok(10));
    }

    #[test]
    fn every_option_is_read() {
        let request = GenerateRequest::parse(
            Endpoint::Chat,
            br#"{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":9,"max_completion_tokens":7,
                "min_tokens":7,"temperature":0,"top_p":0.5,"top_k":-1,"seed":-1,"stop":["a","b"],"ignore_eos":true,
                "stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true},
                "return_token_ids":true}"#,
            "m",
        )
        .unwrap();
        assert_eq!(request.max_tokens, Some(7), "the newer name wins");
        assert_eq!((request.temperature, request.top_p), (0.0, 0.5));
        assert_eq!(request.stop, ["a", "b"]);
        assert_eq!(request.seed, Some(u64::MAX));
        assert!(
            request.ignore_eos
                && request.include_usage
                && request.continuous_usage
                && request.return_token_ids
        );
    }

    #[test]
    fn what_cannot_be_served_is_named() {
        refused(r#","n":2"#, 400, Some("n"));
        refused(r#","logprobs":1"#, 400, Some("logprobs"));
        refused(r#","echo":true"#, 400, Some("echo"));
        refused(r#","tools":[{"type":"function"}]"#, 400, Some("tools"));
        refused(r#","response_format":{"type":"json_object"}"#, 400, Some("response_format"));
        refused(r#","top_k":40"#, 400, Some("top_k"));
        refused(r#","presence_penalty":0.5"#, 400, Some("presence_penalty"));
        refused(r#","temperature":-1"#, 400, Some("temperature"));
        refused(r#","top_p":0"#, 400, Some("top_p"));
        refused(r#","max_tokens":0"#, 400, Some("max_tokens"));
        refused(r#","max_tokens":4,"min_tokens":5"#, 400, Some("min_tokens"));
        refused(r#","stop":[""]"#, 400, Some("stop"));
        refused(r#","stop":7"#, 400, Some("stop"));
        refused(r#","stream":"yes""#, 400, None);
    }

    #[test]
    fn images_are_for_models_that_take_them() {
        let body = br#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":"eA=="}]}]}"#;
        assert_eq!(GenerateRequest::parse(Endpoint::Chat, body, "m").unwrap_err().param, Some("messages"));
        assert!(GenerateRequest::parse_with_images(Endpoint::Chat, body, "m").is_ok());
    }

    #[test]
    fn model_and_prompt_must_be_there() {
        let status = |json: &str| parse(json).unwrap_err().status;
        assert_eq!(status(r#"{"prompt":"x"}"#), 400);
        assert_eq!(status(r#"{"model":"other","prompt":"x"}"#), 404);
        assert_eq!(status(r#"{"model":"m"}"#), 400);
        assert_eq!(status(r#"{"model":"m","prompt":[]}"#), 400);
        assert_eq!(status("{"), 400);
        assert_eq!(status(""), 400);
    }

    #[test]
    fn prompt_and_output_must_fit_the_context() {
        let request = parse(r#"{"model":"m","prompt":"x","max_tokens":50}"#).unwrap();
        assert_eq!(request.output_limit(50, 100, 16), Ok(50));
        assert_eq!(request.output_limit(51, 100, 16).unwrap_err().param, Some("max_tokens"));
        assert_eq!(request.output_limit(100, 100, 16).unwrap_err().param, Some("prompt"));
        assert_eq!(request.output_limit(0, 100, 16).unwrap_err().param, Some("prompt"));
    }
}
