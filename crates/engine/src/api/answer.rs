//! Writing answers: the events of a stream and whole bodies, in the field order of vLLM.
//!
//! What does not change within an answer is rendered once, so that an event costs a few copies.

use std::io::Write;

use serde_json::json;

use super::error::ApiError;

/// Which of the two forms of the API a request used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Completions,
    Chat,
}

impl Endpoint {
    /// An identifier for an answer: the client's own for its request if it sent one, as vLLM does, else `number`.
    pub(crate) fn answer_id(self, given: Option<&str>, number: u64) -> String {
        let prefix = match self {
            Self::Completions => "cmpl",
            Self::Chat => "chatcmpl",
        };
        match given.filter(|id| !id.is_empty() && id.len() <= 128) {
            Some(id) => format!("{prefix}-{id}"),
            None => format!("{prefix}-{number:016x}"),
        }
    }
}

/// Why generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    Stop,
    Length,
}

impl Finish {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// Which field of a chat delta carries the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Content,
    ReasoningContent,
    Reasoning,
}

impl Field {
    fn key(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::ReasoningContent => "reasoning_content",
            Self::Reasoning => "reasoning",
        }
    }
}

/// Token counts of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub(crate) prompt: u32,
    pub(crate) completion: u32,
    /// Prompt tokens that came from the prefix cache.
    pub(crate) cached: u32,
}

impl Usage {
    fn push(self, out: &mut Vec<u8>) {
        let Self { prompt, completion, cached } = self;
        let total = u64::from(prompt) + u64::from(completion);
        push_fmt(
            out,
            format_args!(
                "{{\"prompt_tokens\":{prompt},\"total_tokens\":{total},\"completion_tokens\":{completion},\
                 \"prompt_tokens_details\":{{\"cached_tokens\":{cached}}}}}"
            ),
        );
    }
}

/// One piece of generated text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delta<'a> {
    pub(crate) text: &'a str,
    pub(crate) field: Field,
    pub(crate) token_ids: &'a [u32],
    /// Set in the last piece, with the stop string that was met if it was one.
    pub(crate) finish: Option<(Finish, Option<&'a str>)>,
    /// For clients who want it in every event.
    pub(crate) usage: Option<Usage>,
}

/// What varies in how events are written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct EventStyle {
    /// Lines end with CR LF.
    pub(crate) crlf: bool,
    pub(crate) return_token_ids: bool,
}

/// Writes the answer to one request.
#[derive(Debug)]
pub(crate) struct Answer {
    endpoint: Endpoint,
    style: EventStyle,
    /// `data: {"id":…,"object":…,"created":…,"model":…,"choices":[`
    prefix: Vec<u8>,
    id: String,
    created: i64,
    model: String,
}

impl Answer {
    pub(crate) fn new(endpoint: Endpoint, style: EventStyle, id: String, created: i64, model: &str) -> Self {
        let object = match endpoint {
            Endpoint::Completions => "text_completion",
            Endpoint::Chat => "chat.completion.chunk",
        };
        let mut prefix = b"data: {\"id\":".to_vec();
        push_json(&mut prefix, &id);
        push_fmt(&mut prefix, format_args!(",\"object\":\"{object}\",\"created\":{created},\"model\":"));
        push_json(&mut prefix, model);
        prefix.extend_from_slice(b",\"choices\":[");
        Self { endpoint, style, prefix, id, created, model: model.to_owned() }
    }

    fn end_event(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.style.crlf { b"\r\n\r\n" } else { b"\n\n" });
    }

    /// The event that begins a chat stream.
    pub(crate) fn role(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prefix);
        out.extend_from_slice(
            b"{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]}",
        );
        self.end_event(out);
    }

    /// An event with generated text. Returns where in `out` the text begins.
    pub(crate) fn delta(&self, out: &mut Vec<u8>, delta: &Delta<'_>) -> usize {
        out.extend_from_slice(&self.prefix);
        match self.endpoint {
            Endpoint::Completions => out.extend_from_slice(b"{\"index\":0,\"text\":"),
            Endpoint::Chat => {
                push_fmt(out, format_args!("{{\"index\":0,\"delta\":{{\"{}\":", delta.field.key()));
            }
        }
        let text_at = out.len() + 1;
        push_json(out, delta.text);
        if self.endpoint == Endpoint::Chat {
            out.push(b'}');
        }
        out.extend_from_slice(b",\"logprobs\":null,\"finish_reason\":");
        match delta.finish {
            None => out.extend_from_slice(b"null"),
            Some((finish, _)) => push_json(out, finish.name()),
        }
        if delta.finish.is_some() || self.endpoint == Endpoint::Completions {
            out.extend_from_slice(b",\"stop_reason\":");
            push_opt(out, delta.finish.and_then(|(_, stop)| stop));
        }
        out.extend_from_slice(b",\"token_ids\":");
        self.push_ids(out, delta.token_ids);
        out.extend_from_slice(b"}]");
        if let Some(usage) = delta.usage {
            out.extend_from_slice(b",\"usage\":");
            usage.push(out);
        }
        out.push(b'}');
        self.end_event(out);
        text_at
    }

    /// The event with the token counts.
    pub(crate) fn usage(&self, out: &mut Vec<u8>, usage: Usage) {
        out.extend_from_slice(&self.prefix);
        out.extend_from_slice(b"],\"usage\":");
        usage.push(out);
        out.push(b'}');
        self.end_event(out);
    }

    /// The mark of the end.
    pub(crate) fn done(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: [DONE]");
        self.end_event(out);
    }

    /// An error after the answer has begun with status 200.
    pub(crate) fn error(&self, out: &mut Vec<u8>, error: &ApiError) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&error.body());
        self.end_event(out);
    }

    /// An event that breaks off in the middle of its JSON.
    pub(crate) fn garbled(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prefix);
        self.end_event(out);
    }

    /// A comment, which clients must skip.
    pub(crate) fn comment(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b": ping");
        self.end_event(out);
    }

    /// The body of an answer that is not a stream. `reasoning` comes before `text` and only in chats.
    pub(crate) fn whole(
        &self,
        text: &str,
        reasoning: Option<(Field, &str)>,
        token_ids: &[u32],
        finish: (Finish, Option<&str>),
        usage: Usage,
    ) -> Vec<u8> {
        let mut out = b"{\"id\":".to_vec();
        push_json(&mut out, &self.id);
        let object = match self.endpoint {
            Endpoint::Completions => "text_completion",
            Endpoint::Chat => "chat.completion",
        };
        push_fmt(&mut out, format_args!(",\"object\":\"{object}\",\"created\":{},\"model\":", self.created));
        push_json(&mut out, &self.model);
        match self.endpoint {
            Endpoint::Completions => out.extend_from_slice(b",\"choices\":[{\"index\":0,\"text\":"),
            Endpoint::Chat => {
                out.extend_from_slice(b",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",");
                if let Some((field, text)) = reasoning {
                    push_fmt(&mut out, format_args!("\"{}\":", field.key()));
                    push_json(&mut out, text);
                    out.push(b',');
                }
                out.extend_from_slice(b"\"content\":");
            }
        }
        push_json(&mut out, text);
        if self.endpoint == Endpoint::Chat {
            out.push(b'}');
        }
        push_fmt(
            &mut out,
            format_args!(",\"logprobs\":null,\"finish_reason\":\"{}\",\"stop_reason\":", finish.0.name()),
        );
        push_opt(&mut out, finish.1);
        out.extend_from_slice(b",\"token_ids\":");
        self.push_ids(&mut out, token_ids);
        out.extend_from_slice(b"}],\"usage\":");
        usage.push(&mut out);
        out.push(b'}');
        out
    }

    fn push_ids(&self, out: &mut Vec<u8>, ids: &[u32]) {
        if !self.style.return_token_ids {
            return out.extend_from_slice(b"null");
        }
        out.push(b'[');
        for (i, id) in ids.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            push_fmt(out, format_args!("{id}"));
        }
        out.push(b']');
    }
}

/// The body of an answer to `/tokenize`.
pub(super) fn tokenized(ids: &[u32], max_model_len: u32, strings: Option<&[String]>) -> Vec<u8> {
    json!({"count": ids.len(), "max_model_len": max_model_len, "tokens": ids, "token_strs": strings})
        .to_string()
        .into()
}

fn push_fmt(out: &mut Vec<u8>, args: std::fmt::Arguments<'_>) {
    out.write_fmt(args).expect("writing to memory cannot fail");
}

fn push_json(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing a string to memory cannot fail");
}

fn push_opt(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        None => out.extend_from_slice(b"null"),
        Some(text) => push_json(out, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(endpoint: Endpoint, style: EventStyle) -> Answer {
        Answer::new(endpoint, style, endpoint.answer_id(Some("7"), 0), 1_700_000_000, "m\"x")
    }

    const TEXT: Delta<'_> =
        Delta { text: " a\"\n한", field: Field::Content, token_ids: &[3, 4], finish: None, usage: None };

    fn events(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn chat_events_read_like_those_of_vllm() {
        let a = answer(Endpoint::Chat, EventStyle::default());
        let usage = Usage { prompt: 36, completion: 8, cached: 16 };
        let last = Delta { finish: Some((Finish::Stop, None)), text: "", ..TEXT };
        insta::assert_snapshot!(events(|out| {
            a.role(out);
            a.delta(out, &TEXT);
            a.delta(out, &last);
            a.usage(out, usage);
            a.done(out);
        }), @r#"
        data: {"id":"chatcmpl-7","object":"chat.completion.chunk","created":1700000000,"model":"m\"x","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}

        data: {"id":"chatcmpl-7","object":"chat.completion.chunk","created":1700000000,"model":"m\"x","choices":[{"index":0,"delta":{"content":" a\"\n한"},"logprobs":null,"finish_reason":null,"token_ids":null}]}

        data: {"id":"chatcmpl-7","object":"chat.completion.chunk","created":1700000000,"model":"m\"x","choices":[{"index":0,"delta":{"content":""},"logprobs":null,"finish_reason":"stop","stop_reason":null,"token_ids":null}]}

        data: {"id":"chatcmpl-7","object":"chat.completion.chunk","created":1700000000,"model":"m\"x","choices":[],"usage":{"prompt_tokens":36,"total_tokens":44,"completion_tokens":8,"prompt_tokens_details":{"cached_tokens":16}}}

        data: [DONE]
        "#);
    }

    #[test]
    fn completion_events_with_every_option() {
        let a = answer(Endpoint::Completions, EventStyle { crlf: true, return_token_ids: true });
        let usage = Some(Usage { prompt: 1, completion: 2, cached: 0 });
        let last = Delta { finish: Some((Finish::Stop, Some("END"))), usage, ..TEXT };
        let text = events(|out| {
            let at = a.delta(out, &last);
            assert!(out[at..].starts_with(b" a"));
        });
        assert!(text.ends_with("}\r\n\r\n"));
        let value: serde_json::Value = serde_json::from_str(text.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(value["object"], "text_completion");
        assert_eq!(value["choices"][0]["text"], " a\"\n한");
        assert_eq!(value["choices"][0]["token_ids"], json!([3, 4]));
        assert_eq!(value["choices"][0]["stop_reason"], "END");
        assert_eq!(value["usage"]["total_tokens"], 3);
    }

    #[test]
    fn whole_bodies_are_json() {
        let usage = Usage { prompt: 5, completion: 2, cached: 0 };
        for (endpoint, pointer) in
            [(Endpoint::Completions, "/choices/0/text"), (Endpoint::Chat, "/choices/0/message/content")]
        {
            let body = answer(endpoint, EventStyle::default()).whole(
                "a\"b",
                Some((Field::Reasoning, "hm")),
                &[],
                (Finish::Length, None),
                usage,
            );
            let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(value.pointer(pointer).unwrap(), "a\"b");
            assert_eq!(value["usage"]["completion_tokens"], 2);
            assert_eq!(value["choices"][0]["finish_reason"], "length");
            assert_eq!(value["choices"][0]["message"].get("reasoning").is_some(), endpoint == Endpoint::Chat);
        }
    }
}
