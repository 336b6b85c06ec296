//! What the proxy needs of a request's body. Keys of unexpected types are taken as not there: what is wrong with a
//! request is the upstream's to say.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::trace::Params;

/// Characters of a prompt's begin that tell its template.
const BEGIN: usize = 64;

/// The keys that are needed.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Said {
    stream: Value,
    model: Value,
    user: Value,
    max_tokens: Value,
    max_completion_tokens: Value,
    temperature: Value,
    top_p: Value,
    seed: Value,
    logprobs: Value,
    prompt: Begin,
    messages: Begin,
}

impl Said {
    /// Reads a body; one that is no such object says nothing.
    pub(super) fn of(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }

    pub(super) fn streams(&self) -> bool {
        self.stream == Value::Bool(true)
    }

    pub(super) fn model(&self) -> Option<String> {
        self.model.as_str().map(str::to_owned)
    }

    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_str().filter(|u| !u.is_empty())
    }

    /// `true` in chats, a number in completions.
    pub(super) fn asks_log_probs(&self) -> bool {
        !matches!(self.logprobs, Value::Null | Value::Bool(false))
    }

    /// Hash of how the prompt begins.
    pub(super) fn template(&self) -> Option<u64> {
        let text = self.messages.0.as_ref().or(self.prompt.0.as_ref())?;
        Some(hash(text.as_bytes()))
    }

    pub(super) fn params(&self) -> Params {
        Params {
            max_tokens: self.max_completion_tokens.as_i64().or(self.max_tokens.as_i64()),
            temperature: self.temperature.as_f64(),
            top_p: self.top_p.as_f64(),
            seed: self.seed.as_i64(),
        }
    }
}

/// First half of the first 16 bytes of the SHA-256: enough to tell sessions, users and templates apart.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    u64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}

/// The begin of the first text in a prompt: a string, a list of them, or messages with a string or parts.
#[derive(Default)]
struct Begin(Option<String>);

impl<'de> Deserialize<'de> for Begin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Look)
    }
}

struct Look;

impl<'de> Visitor<'de> for Look {
    type Value = Begin;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a prompt")
    }

    fn visit_str<E>(self, text: &str) -> Result<Begin, E> {
        Ok(Begin(Some(text.chars().take(BEGIN).collect())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Begin, A::Error> {
        let first = seq.next_element::<Begin>()?.unwrap_or_default();
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(first)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Begin, A::Error> {
        let mut found = Begin::default();
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if matches!(&*key, "content" | "text") {
                found = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_unit<E>(self) -> Result<Begin, E> {
        Ok(Begin::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Begin, E> {
        Ok(Begin::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Begin, E> {
        Ok(Begin::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Begin, E> {
        Ok(Begin::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Begin, E> {
        Ok(Begin::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_begins_with_its_first_text() {
        let begin = |body: &str| {
            let said = Said::of(body.as_bytes());
            said.messages.0.or(said.prompt.0)
        };
        assert_eq!(begin(r#"{"prompt":"가나"}"#).as_deref(), Some("가나"));
        assert_eq!(begin(r#"{"prompt":["a","b"]}"#).as_deref(), Some("a"));
        assert_eq!(begin(r#"{"prompt":[1,2]}"#), None);
        assert_eq!(
            begin(r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"u"}]}"#)
                .as_deref(),
            Some("s")
        );
        assert_eq!(
            begin(r#"{"messages":[{"content":[{"type":"text","text":"t"},{"x":1}],"role":"user"}]}"#)
                .as_deref(),
            Some("t")
        );
        assert_eq!(begin(&format!(r#"{{"prompt":"{}"}}"#, "x".repeat(100))).unwrap().len(), BEGIN);
    }

    #[test]
    fn a_key_of_another_type_hides_no_other() {
        let said =
            Said::of(br#"{"stream":true,"seed":"x","user":7,"temperature":0.5,"model":"m","logprobs":2}"#);
        assert!(said.streams() && said.asks_log_probs());
        assert_eq!((said.user(), said.params().seed, said.params().temperature), (None, None, Some(0.5)));
        assert!(!Said::of(br#"{"logprobs":false}"#).asks_log_probs());
        assert!(Said::of(b"not json").model().is_none());
    }
}
