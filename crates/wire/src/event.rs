//! What an event of a completion stream means: its kind, tokens, usage, finish reason, or an error.
//!
//! One pass over the JSON, nothing copied; a stream is read through [`EventReader`], which skips what repeats. Rules, in order:
//!
//! 1. `[DONE]` is done; an event named `error`, a non-null `error` key, or `"object":"error"` is an error, at whatever
//!    HTTP status.
//! 2. Answer text (`delta.content`, `delta.refusal`, `text`) that is not empty makes *content*, else reasoning text
//!    (`reasoning_content`, `reasoning`) makes *reasoning*, else a tool call makes *tool*.
//! 3. No text but token ids: the engine generated tokens that have no text yet (half a character, an end mark):
//!    *content* too.
//! 4. No text and no finish reason but a role: *role*. No choice at all but usage: *usage*. The rest is *empty*.
//!
//! Usage may come in any event: SGLang and transformers send it with the finish reason. llama.cpp's `timings` stand in
//! where there is none.

mod reader;

pub use reader::EventReader;

use stopwatt_core::{ChunkKind, ChunkShape, FinishReason};

use crate::json::{Malformed, Read, Reader, unescape};
use crate::openai::Usage;
use crate::sse::Event;

/// A piece of generated text, as it stands in the JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RawText<'a>(&'a str);

impl RawText<'_> {
    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Appends the text, unescaped. Half a surrogate pair becomes U+FFFD.
    pub fn push_to(self, out: &mut String) {
        unescape(self.0, out);
    }
}

/// An event that carries a chunk of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// What it carries.
    pub kind: ChunkKind,
    /// What it held in detail.
    pub shape: ChunkShape,
    /// Tokens in it; `None` when the engine does not give token ids.
    pub tokens: Option<u32>,
    /// Why the engine stopped, in the chunk in which it says so.
    pub finish: Option<FinishReason>,
    /// Token counts, where they come.
    pub usage: Option<Usage>,
    /// Answer text.
    pub text: RawText<'a>,
    /// Reasoning text.
    pub reasoning: RawText<'a>,
}

/// What an event means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEvent<'a> {
    /// A chunk.
    Chunk(Chunk<'a>),
    /// The engine reports an error; see [`ErrorBody::parse`](crate::openai::ErrorBody::parse) for the data.
    Error(&'a [u8]),
    /// The `[DONE]` mark.
    Done,
}

/// Why an event means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// Not UTF-8.
    #[error("an event of the stream is not UTF-8 from byte {offset}")]
    NotUtf8 {
        /// Where it stops being UTF-8.
        offset: usize,
    },
    /// Not JSON, or no object.
    #[error("an event of the stream is not a JSON object from byte {offset}")]
    NotJson {
        /// Where it stops being a JSON object.
        offset: usize,
    },
}

impl From<Malformed> for EventError {
    fn from(m: Malformed) -> Self {
        Self::NotJson { offset: m.offset }
    }
}

impl<'a> StreamEvent<'a> {
    /// Reads an event.
    pub fn parse(event: Event<'a>) -> Result<Self, EventError> {
        let data = event.data.trim_ascii();
        if event.is_error {
            return Ok(Self::Error(data));
        }
        if data == b"[DONE]" {
            return Ok(Self::Done);
        }
        let text = std::str::from_utf8(data).map_err(|e| EventError::NotUtf8 { offset: e.valid_up_to() })?;
        let mut found = Found::default();
        let mut reader = Reader::new(text);
        reader.object(|r, key| found.top(r, key))?;
        reader.end()?;
        Ok(if found.error { Self::Error(data) } else { Self::Chunk(found.chunk()) })
    }
}

/// What was found on the way.
#[derive(Default)]
struct Found<'a> {
    error: bool,
    choices: u32,
    role: bool,
    tool: bool,
    shape: ChunkShape,
    tokens: Option<u32>,
    finish: Option<FinishReason>,
    usage: Option<Usage>,
    timings: Option<Usage>,
    text: RawText<'a>,
    reasoning: RawText<'a>,
}

impl<'a> Found<'a> {
    fn top(&mut self, r: &mut Reader<'a>, key: &str) -> Read<()> {
        match key {
            "choices" => {
                self.choices = r.optional_array(|r| r.object(|r, key| self.choice(r, key)))?.unwrap_or(0)
            }
            "usage" => self.usage = usage(r)?,
            "timings" => self.timings = timings(r)?,
            "error" => {
                self.error |= r.peek() != Some(b'n');
                r.skip()?;
            }
            "object" => self.error |= r.optional_string()? == Some("error"),
            _ => r.skip()?,
        }
        Ok(())
    }

    fn choice(&mut self, r: &mut Reader<'a>, key: &str) -> Read<()> {
        match key {
            "delta" => {
                if r.optional_object(|r, key| self.delta(r, key))? {
                    self.note(ChunkShape::DELTA);
                }
            }
            "text" => self.text(r)?,
            "finish_reason" => self.finish = r.optional_string()?.map(finish).or(self.finish),
            "token_ids" => {
                if let Some(n) = r.optional_array(Reader::skip)? {
                    self.tokens = Some(self.tokens.unwrap_or(0) + n);
                }
            }
            _ => r.skip()?,
        }
        Ok(())
    }

    fn delta(&mut self, r: &mut Reader<'a>, key: &str) -> Read<()> {
        match key {
            "content" if r.peek() == Some(b'[') => r.array(|r| {
                r.optional_object(|r, key| match key {
                    "text" => self.text(r),
                    _ => r.skip(),
                })
                .map(drop)
            })?,
            "content" => self.text(r)?,
            "refusal" => {
                let text = r.optional_string()?;
                self.answer(text);
            }
            "reasoning_content" => self.reasoning(r, ChunkShape::REASONING_CONTENT)?,
            "reasoning" => self.reasoning(r, ChunkShape::REASONING)?,
            "tool_calls" => {
                let calls = r.optional_array(|r| {
                    r.optional_object(|r, key| match key {
                        "function" => self.tool_call(r),
                        _ => r.skip(),
                    })
                    .map(drop)
                })?;
                self.tool |= calls.is_some_and(|n| n > 0);
            }
            "function_call" => {
                self.tool |= r.peek() == Some(b'{');
                self.tool_call(r)?;
            }
            "role" => {
                self.note(ChunkShape::ROLE);
                self.role |= r.optional_string()?.is_some();
            }
            _ => r.skip()?,
        }
        Ok(())
    }

    fn note(&mut self, shape: ChunkShape) {
        self.shape = self.shape.with(shape);
    }

    /// `content` or `text`.
    fn text(&mut self, r: &mut Reader<'a>) -> Read<()> {
        if let Some(text) = r.optional_string()? {
            self.note(if text.is_empty() { ChunkShape::EMPTY_TEXT } else { ChunkShape::TEXT });
            self.answer(Some(text));
        }
        Ok(())
    }

    fn reasoning(&mut self, r: &mut Reader<'a>, shape: ChunkShape) -> Read<()> {
        if let Some(text) = r.optional_string()?.filter(|t| !t.is_empty()) {
            self.note(shape);
            self.reasoning = RawText(text);
        }
        Ok(())
    }

    fn tool_call(&mut self, r: &mut Reader<'a>) -> Read<()> {
        r.optional_object(|r, key| match key {
            "name" | "arguments" => {
                let said = r.optional_string()?.is_some_and(|t| !t.is_empty());
                self.shape = self.shape.with_if(said, ChunkShape::TOOL_TEXT);
                Ok(())
            }
            _ => r.skip(),
        })
        .map(drop)
    }

    fn answer(&mut self, text: Option<&'a str>) {
        if let Some(text) = text.filter(|t| !t.is_empty()) {
            self.text = RawText(text);
        }
    }

    fn chunk(self) -> Chunk<'a> {
        let kind = if !self.text.is_empty() {
            ChunkKind::Content
        } else if !self.reasoning.is_empty() {
            ChunkKind::Reasoning
        } else if self.tool {
            ChunkKind::Tool
        } else if self.tokens.is_some_and(|n| n > 0) {
            ChunkKind::Content
        } else if self.role && self.finish.is_none() {
            ChunkKind::Role
        } else if self.choices == 0 && self.usage.is_some() {
            ChunkKind::Usage
        } else {
            ChunkKind::Empty
        };
        let shape = self
            .shape
            .with(ChunkShape::KNOWN)
            .with_if(self.choices > 0, ChunkShape::CHOICE)
            .with_if(self.tool, ChunkShape::TOOL)
            .with_if(self.usage.is_some(), ChunkShape::USAGE);
        let Self { tokens, finish, text, reasoning, .. } = self;
        Chunk { kind, shape, tokens, finish, usage: self.usage.or(self.timings), text, reasoning }
    }
}

fn finish(reason: &str) -> FinishReason {
    match reason {
        "stop" | "eos" | "eos_token" | "stop_sequence" => FinishReason::Stop,
        "length" | "max_tokens" => FinishReason::Length,
        _ => FinishReason::Other,
    }
}

fn usage(r: &mut Reader<'_>) -> Read<Option<Usage>> {
    let mut usage = Usage::default();
    let found = r.optional_object(|r, key| {
        match key {
            "prompt_tokens" => usage.prompt = r.count()?,
            "completion_tokens" => usage.completion = r.count()?,
            "prompt_cache_hit_tokens" => usage.cached = usage.cached.or(r.count()?),
            "prompt_tokens_details" => drop(r.optional_object(|r, key| {
                match key {
                    "cached_tokens" => usage.cached = r.count()?.or(usage.cached),
                    _ => r.skip()?,
                }
                Ok(())
            })?),
            _ => r.skip()?,
        }
        Ok(())
    })?;
    Ok(found.then_some(usage))
}

/// llama.cpp's own counts: prompt tokens processed, taken from the cache, and generated.
fn timings(r: &mut Reader<'_>) -> Read<Option<Usage>> {
    let (mut processed, mut cached, mut generated) = (None, None, None);
    r.optional_object(|r, key| {
        match key {
            "prompt_n" => processed = r.count()?,
            "cache_n" => cached = r.count()?,
            "predicted_n" => generated = r.count()?,
            _ => r.skip()?,
        }
        Ok(())
    })?;
    let prompt = processed.map(|n| n + cached.unwrap_or(0));
    Ok(generated.map(|_| Usage { prompt, completion: generated, cached }))
}

#[cfg(test)]
mod tests;
