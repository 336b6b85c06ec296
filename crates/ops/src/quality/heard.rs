//! From what was said to numbers: the texts are read, measured and left behind.

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use stopwatt_quality::answer::Answer;
use stopwatt_quality::sketch::Sketch;

use crate::content::{Answered, Content};

/// Characters of an answer that are judged.
const MOST_CHARS: usize = 20_000;

/// What is kept of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Heard {
    pub(super) answer: Answer,
    /// JSON was asked for and did not come.
    pub(super) invalid_json: bool,
    /// Salted hash of the prompt with what shapes its answer.
    pub(super) prompt: u64,
    pub(super) sketch: Sketch,
}

/// Looks at an answer. `None` where there is no text to judge, such as tool calls.
pub(super) fn hear(content: &Content, finish: Option<&str>, salt: u64) -> Option<Heard> {
    let request: Value = serde_json::from_slice(&content.request).ok()?;
    let (text, log_probs) = match &content.answer {
        Answered::Nothing => return None,
        Answered::Stream(kept) => {
            let probs = kept.events.as_deref().map(log_probs_of_events).unwrap_or_default();
            (kept.text.clone(), probs)
        }
        Answered::Whole(body) => {
            let body: Value = serde_json::from_slice(body).ok()?;
            let choice = &body["choices"][0];
            let text = choice["message"]["content"].as_str().or_else(|| choice["text"].as_str());
            if text.is_none() && !choice["message"]["tool_calls"].is_null() {
                return None;
            }
            let mut probs = Vec::new();
            push_log_probs(choice, &mut probs);
            (text?.to_owned(), probs)
        }
    };
    if text.is_empty() && finish == Some("other") {
        // A tool call in a stream: there is no text that could be good or bad.
        return None;
    }
    let wants_json = request["response_format"]["type"].as_str().is_some_and(|t| t.starts_with("json"));
    let invalid_json = wants_json && serde_json::from_str::<serde::de::IgnoredAny>(&text).is_err();
    let text: String = text.chars().take(MOST_CHARS).collect();
    let (whole, last) = prompt(&request);
    let limit = request["max_completion_tokens"].as_u64().or(request["max_tokens"].as_u64());
    let format = request["response_format"].to_string();
    Some(Heard {
        answer: Answer::of(last.as_deref(), &text, finish, &log_probs),
        invalid_json,
        prompt: hash(salt, &[&whole, &limit.unwrap_or(0).to_string(), &format]),
        sketch: Sketch::of(hash(salt, &[&text]), &text),
    })
}

/// First 8 bytes of the SHA-256 of salt and texts, each after its length.
fn hash(salt: u64, texts: &[&str]) -> u64 {
    let mut hash = Sha256::new();
    hash.update(salt.to_le_bytes());
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    let digest = hash.finalize();
    u64::from_le_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}

/// All of a prompt, and the text that is to be answered: the last message, or the prompt.
fn prompt(request: &Value) -> (String, Option<String>) {
    let Some(messages) = request["messages"].as_array() else {
        let text = request["prompt"].as_str().map(str::to_owned);
        return (request["prompt"].to_string(), text);
    };
    let last = messages.last().map(|m| text_of(&m["content"]));
    let cut = |text: String| text.chars().take(MOST_CHARS).collect::<String>();
    (request["messages"].to_string(), last.map(cut).filter(|t| !t.is_empty()))
}

/// A string, or the texts of parts.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|p| p["text"].as_str()).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}

/// Of chats `content[].logprob`, of completions `token_logprobs[]`.
fn push_log_probs(choice: &Value, into: &mut Vec<f64>) {
    let probs = &choice["logprobs"];
    let of_chat = probs["content"].as_array().into_iter().flatten().filter_map(|t| t["logprob"].as_f64());
    let of_text = probs["token_logprobs"].as_array().into_iter().flatten().filter_map(Value::as_f64);
    into.extend(of_chat.chain(of_text));
}

fn log_probs_of_events(events: &[u8]) -> Vec<f64> {
    let mut found = Vec::new();
    for line in events.split(|b| *b == b'\n') {
        let Some(data) = line.strip_prefix(b"data:") else { continue };
        if let Ok(event) = serde_json::from_slice::<Value>(data) {
            push_log_probs(&event["choices"][0], &mut found);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::content::Kept;

    fn content(request: &str, answer: Answered) -> Content {
        Content { request: Bytes::from(request.to_owned()), answer }
    }

    fn stream(text: &str) -> Answered {
        Answered::Stream(Kept { text: text.to_owned(), ..Kept::new(false) })
    }

    #[test]
    fn a_stream_and_a_whole_answer_are_heard_alike() {
        let request = r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"혈압약은?"}]}]}"#;
        let whole = Bytes::from_static(
            "{\"choices\":[{\"message\":{\"content\":\"혈압약은 아침에 드세요.\"}}]}".as_bytes(),
        );
        let a = hear(&content(request, Answered::Whole(whole)), Some("stop"), 7).unwrap();
        let b = hear(&content(request, stream("혈압약은 아침에 드세요.")), Some("stop"), 7).unwrap();
        assert_eq!(a, b);
        assert!(a.answer.relevance.unwrap() > 0.2, "the question is the last message");
        let salted = hear(&content(request, stream("혈압약은 아침에 드세요.")), Some("stop"), 8).unwrap();
        assert!(salted.prompt != a.prompt && salted.sketch.hash != a.sketch.hash);
    }

    #[test]
    fn log_probabilities_and_json_are_looked_at() {
        let mut kept = Kept::new(true);
        kept.text.push_str("ab");
        kept.events(b"data: {\"choices\":[{\"logprobs\":{\"content\":[{\"logprob\":-0.5}]}}]}\n\n");
        kept.events(b"data: {\"choices\":[{\"logprobs\":{\"token_logprobs\":[-1.5]}}]}\n\ndata: [DONE]\n\n");
        let request = r#"{"prompt":"p","logprobs":true,"response_format":{"type":"json_object"}}"#;
        let heard = hear(&content(request, Answered::Stream(kept)), Some("stop"), 0).unwrap();
        assert_eq!((heard.answer.mean_log_prob, heard.invalid_json), (Some(-1.0), true));
        assert!(!hear(&content(request, stream("{}")), None, 0).unwrap().invalid_json);
    }

    #[test]
    fn what_has_no_text_is_not_judged() {
        let call = Answered::Whole(Bytes::from_static(
            br#"{"choices":[{"message":{"content":null,"tool_calls":[{}]}}]}"#,
        ));
        assert!(hear(&content("{}", call), Some("other"), 0).is_none());
        assert!(hear(&content("{}", stream("")), Some("other"), 0).is_none());
        assert!(hear(&content("{}", stream("")), Some("stop"), 0).unwrap().answer.empty);
    }
}
