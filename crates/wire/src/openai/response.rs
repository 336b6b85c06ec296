//! Answers that are read whole: errors, model lists, completions without a stream, tokenised text.
//!
//! Streams are read by [`crate::event`], which does not build values.

use serde::Deserialize;
use serde_json::Value;

/// Token counts as the server states them. `None` where it says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt: Option<u32>,
    /// Generated tokens, reasoning included.
    pub completion: Option<u32>,
    /// Prompt tokens that came from the prefix cache.
    pub cached: Option<u32>,
}

impl Usage {
    /// Reads a `usage` object; `None` when it is `null` or no object.
    pub fn from_value(value: &Value) -> Option<Self> {
        let object = value.as_object()?;
        let count = |v: Option<&Value>| v.and_then(Value::as_f64).map(|n| n as u32);
        Some(Self {
            prompt: count(object.get("prompt_tokens")),
            completion: count(object.get("completion_tokens")),
            cached: count(value.pointer("/prompt_tokens_details/cached_tokens"))
                .or_else(|| count(object.get("prompt_cache_hit_tokens"))),
        })
    }
}

/// What an engine says went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ErrorBody {
    /// For people. May quote the prompt: show it, do not store it.
    pub message: String,
    /// The engine's name of the kind, for instance `invalid_request_error`.
    pub kind: Option<String>,
    /// The engine's code, number or string.
    pub code: Option<String>,
}

impl ErrorBody {
    /// Reads an error answer in any known shape; `None` when it is none.
    ///
    /// Known: `{"error":{…}}` (OpenAI, vLLM, SGLang, llama.cpp), `{"error":"…","error_type":"…"}` (TGI, Ollama),
    /// `{"object":"error","message":…}` (older vLLM, SGLang), `{"detail":…}` (FastAPI).
    pub fn parse(body: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(body).ok()?;
        let object = value.as_object()?;
        match object.get("error") {
            Some(error @ Value::Object(_)) => return Some(Self::from_object(error)),
            Some(Value::String(message)) => {
                let kind = text(object.get("error_type"));
                return Some(Self { message: message.clone(), kind, code: None });
            }
            _ => {}
        }
        if let Some(detail) = object.get("detail") {
            let message = detail.as_str().map_or_else(|| detail.to_string(), str::to_owned);
            return Some(Self { message, ..Self::default() });
        }
        let said =
            object.get("object").and_then(Value::as_str) == Some("error") || !object.contains_key("choices");
        (said && object.get("message").is_some_and(Value::is_string)).then(|| Self::from_object(&value))
    }

    fn from_object(v: &Value) -> Self {
        Self {
            message: text(v.get("message")).unwrap_or_default(),
            kind: text(v.get("type")),
            code: text(v.get("code")),
        }
    }
}

/// A string, or a number or boolean as a string.
fn text(v: Option<&Value>) -> Option<String> {
    match v? {
        Value::Null => None,
        Value::String(s) => Some(s.clone()),
        other => Some(other.to_string()),
    }
}

/// A model that an engine serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Name to use in requests.
    pub id: String,
    /// Longest prompt plus output, in tokens.
    pub max_model_len: Option<u32>,
    /// Who the engine says owns it; engines put their own name there (`vllm`, `llamacpp`, `sglang`).
    pub owned_by: Option<String>,
}

/// Reads the answer of `/v1/models`.
pub fn models(body: &[u8]) -> Result<Vec<Model>, serde_json::Error> {
    #[derive(Deserialize)]
    struct List {
        data: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        id: String,
        max_model_len: Option<u32>,
        context_length: Option<u32>,
        owned_by: Option<String>,
        meta: Option<Meta>,
    }
    #[derive(Deserialize)]
    struct Meta {
        n_ctx: Option<u32>,
    }
    let list: List = serde_json::from_slice(body)?;
    Ok(list
        .data
        .into_iter()
        .map(|e| Model {
            id: e.id,
            max_model_len: e.max_model_len.or(e.meta.and_then(|m| m.n_ctx)).or(e.context_length),
            owned_by: e.owned_by,
        })
        .collect())
}

/// A completion or chat answer without a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Completion {
    /// Text of the first choice.
    pub text: String,
    /// Token ids of the first choice, when the engine gives them.
    pub token_ids: Option<Vec<u32>>,
    /// Why it ended, as the engine says it.
    pub finish_reason: Option<String>,
    /// Token counts.
    pub usage: Option<Usage>,
}

impl Completion {
    /// Reads an answer of `/v1/completions` or `/v1/chat/completions`.
    pub fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Answer {
            choices: Vec<Choice>,
            usage: Option<Value>,
        }
        #[derive(Deserialize)]
        struct Choice {
            text: Option<String>,
            message: Option<ChatMessage>,
            token_ids: Option<Vec<u32>>,
            finish_reason: Option<String>,
        }
        #[derive(Deserialize)]
        struct ChatMessage {
            content: Option<String>,
        }
        let answer: Answer = serde_json::from_slice(body)?;
        let usage = answer.usage.as_ref().and_then(Usage::from_value);
        Ok(match answer.choices.into_iter().next() {
            None => Self { usage, ..Self::default() },
            Some(c) => Self {
                text: c.text.or(c.message.and_then(|m| m.content)).unwrap_or_default(),
                token_ids: c.token_ids,
                finish_reason: c.finish_reason,
                usage,
            },
        })
    }
}

/// The answer of `/tokenize` (vLLM, SGLang, llama.cpp).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Tokenized {
    /// Token ids.
    pub tokens: Vec<u32>,
}

impl Tokenized {
    /// Reads the answer.
    pub fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_error(body: &str, expected: Option<(&str, Option<&str>, Option<&str>)>) {
        let got = ErrorBody::parse(body.as_bytes());
        let expected = expected.map(|(message, kind, code)| ErrorBody {
            message: message.to_owned(),
            kind: kind.map(str::to_owned),
            code: code.map(str::to_owned),
        });
        assert_eq!(got, expected);
    }

    #[test]
    fn error_shapes_of_the_engines() {
        check_error(
            r#"{"error":{"message":"no","type":"NotFoundError","param":"model","code":404}}"#,
            Some(("no", Some("NotFoundError"), Some("404"))),
        );
        check_error(
            r#"{"error":{"message":"no","type":"invalid_request_error","code":"model_not_found"}}"#,
            Some(("no", Some("invalid_request_error"), Some("model_not_found"))),
        );
        check_error(
            r#"{"error":"too long","error_type":"validation"}"#,
            Some(("too long", Some("validation"), None)),
        );
        check_error(
            r#"{"object":"error","message":"m","type":"BadRequestError","param":null,"code":400}"#,
            Some(("m", Some("BadRequestError"), Some("400"))),
        );
        check_error(r#"{"detail":"Not Found"}"#, Some(("Not Found", None, None)));
        check_error(r#"{"detail":[{"loc":["body"]}]}"#, Some((r#"[{"loc":["body"]}]"#, None, None)));
        check_error(r#"{"choices":[]}"#, None);
        check_error("<html>", None);
    }

    #[test]
    fn recorded_answers_of_real_engines() {
        let llama = models(include_bytes!("../../tests/samples/llamacpp-models.json")).unwrap();
        assert_eq!(llama.len(), 1);
        assert_eq!((llama[0].max_model_len, llama[0].owned_by.as_deref()), (Some(2048), Some("llamacpp")));
        let vllm = models(include_bytes!("../../tests/samples/vllm-models.json")).unwrap();
        assert_eq!((vllm[0].id.as_str(), vllm[0].max_model_len), ("smollm2", Some(2048)));
        let answer =
            Completion::parse(include_bytes!("../../tests/samples/vllm-completions-tokenids.json")).unwrap();
        assert_eq!(answer.text, " the day after the");
        assert_eq!(answer.finish_reason.as_deref(), Some("length"));
        assert_eq!(answer.usage, Some(Usage { prompt: Some(8), completion: Some(4), cached: None }));
        let tokens = Tokenized::parse(include_bytes!("../../tests/samples/vllm-tokenize.json")).unwrap();
        assert_eq!(tokens.tokens, [28120, 905]);
    }
}
