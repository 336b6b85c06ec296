//! One request being answered from its script.

use stopwatt_core::clock::Nanos;

use super::config::{ExactConfig, ReasoningField, Words};
use super::script::Script;
use super::truth::{FlushKind, TruthEnd, TruthRecord};
use crate::api::{Answer, ApiError, Delta, Field, Finish, GenerateRequest, Usage};
use crate::net::{Framing, Sent};
use crate::words;

/// What the next deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The next tokens of a stream.
    Tokens,
    /// The second part of an event that was cut in two.
    Rest,
    /// The end of the answer, after its last event.
    Close,
    /// The whole answer of a request that does not stream.
    Body,
    /// Nothing: the stream is stalled.
    Never,
}

/// One request being answered.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) request: GenerateRequest,
    pub(super) script: Script,
    pub(super) answer: Answer,
    pub(super) framing: Framing,
    pub(super) stage: Stage,
    /// When the last tokens were due; the next ones are counted from here, so that lateness does not add up.
    pub(super) due: Nanos,
    pub(super) written: u32,
    events: u32,
    pub(super) garbled: bool,
    /// What was cut off an event, with its tokens.
    pub(super) rest: Vec<u8>,
    pub(super) rest_tokens: u32,
    pub(super) record: TruthRecord,
    /// Stamps that are missing at the end of `record.flush_ns` because the kernel has not taken the bytes.
    pub(super) unstamped: usize,
    /// The connection broke at a write.
    pub(super) gone: bool,
    /// The answer is complete but for `unstamped`.
    pub(super) over: Option<TruthEnd>,
    pub(super) first_token: Option<Nanos>,
    pub(super) last_token: Nanos,
}

impl Exchange {
    pub(super) fn new(request: GenerateRequest, script: Script, answer: Answer, record: TruthRecord) -> Self {
        Self {
            request,
            script,
            answer,
            framing: Framing::Chunked,
            stage: Stage::Tokens,
            due: record.received_ns,
            written: 0,
            events: 0,
            garbled: false,
            rest: Vec::new(),
            rest_tokens: 0,
            record,
            unstamped: 0,
            gone: false,
            over: None,
            first_token: None,
            last_token: 0,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        Usage { prompt: self.record.prompt_tokens, completion: self.written, cached: 0 }
    }

    /// Tokens of the next event: it does not mix reasoning with answer, nor cross a fault.
    fn next_event(&self, config: &ExactConfig) -> u32 {
        let boundary =
            if self.written < self.script.reasoning { self.script.reasoning } else { self.script.total };
        config.tokens_per_chunk.min(boundary - self.written)
    }

    /// Tokens of the next write.
    pub(super) fn next_write(&self, config: &ExactConfig) -> u32 {
        let left = self.script.total - self.written;
        config.tokens_per_chunk.saturating_mul(config.events_per_write).min(left)
    }

    /// Appends the events of one write, each as a piece of its own; returns what the first is and the tokens of all.
    pub(super) fn push_events(
        &mut self,
        config: &ExactConfig,
        scratch: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> (FlushKind, u32) {
        let kind =
            if self.written < self.script.reasoning { FlushKind::Reasoning } else { FlushKind::Content };
        let before = self.written;
        for _ in 0..config.events_per_write {
            let tokens = self.next_event(config);
            if tokens == 0 {
                break;
            }
            scratch.clear();
            self.push_event(config, tokens, scratch);
            crate::net::push_chunk(out, self.framing, scratch);
        }
        (kind, self.written - before)
    }

    fn push_event(&mut self, config: &ExactConfig, tokens: u32, out: &mut Vec<u8>) {
        let every = |n: u32| n > 0 && self.events.is_multiple_of(n);
        let (empty, comment) = (every(config.shape.empty_every), every(config.shape.comment_every));
        if comment {
            self.answer.comment(out);
        }
        let field = match config.shape.reasoning_field {
            _ if self.written >= self.script.reasoning => Field::Content,
            ReasoningField::ReasoningContent => Field::ReasoningContent,
            ReasoningField::Reasoning => Field::Reasoning,
        };
        let blank = Delta { text: "", field, token_ids: &[], finish: None, usage: None };
        if empty {
            self.answer.delta(out, &blank);
        }
        let range = self.written..self.written + tokens;
        self.written = range.end;
        self.events += 1;
        let usage = self.request.continuous_usage.then(|| self.usage());
        let finish = (range.end == self.script.total).then_some((self.script.finish, None));
        if tokens == 1 && !self.request.return_token_ids {
            // The common case, on the path of a flood: nothing is allocated.
            let text = self.word(config, range.start);
            self.answer.delta(out, &Delta { text, finish, usage, ..blank });
        } else {
            let text: String = range.clone().map(|i| self.word(config, i)).collect();
            let token_ids: Vec<u32> = range.map(|i| words::id(self.word(config, i).trim_start())).collect();
            self.answer.delta(out, &Delta { text: &text, token_ids: &token_ids, finish, usage, ..blank });
        }
    }

    fn word(&self, config: &ExactConfig, index: u32) -> &'static str {
        match config.shape.text {
            Words::English => words::english(self.script.words, index),
            Words::Korean => words::korean(self.script.words, index),
        }
    }

    /// Appends what follows the last token; the end of the answer too unless it is held back.
    pub(super) fn push_tail(
        &self,
        config: &ExactConfig,
        scratch: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> FlushKind {
        let mut kind = FlushKind::Done;
        if self.request.include_usage && !config.shape.no_usage {
            kind = FlushKind::Usage;
            scratch.clear();
            self.answer.usage(scratch, self.usage());
            crate::net::push_chunk(out, self.framing, scratch);
        }
        if !config.shape.no_done {
            scratch.clear();
            self.answer.done(scratch);
            crate::net::push_chunk(out, self.framing, scratch);
        }
        if config.shape.slow_close_s == 0.0 {
            crate::net::push_last_chunk(out, self.framing);
        }
        kind
    }

    /// Appends the end of a stream that fails at status 200, as vLLM writes it.
    pub(super) fn push_error(&self, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        scratch.clear();
        self.answer.error(scratch, &ApiError::new(500, "this error was scripted"));
        self.answer.done(scratch);
        crate::net::push_chunk(out, self.framing, scratch);
        crate::net::push_last_chunk(out, self.framing);
    }

    /// The body of a request that does not stream, all of whose tokens count as written.
    pub(super) fn body(&mut self, config: &ExactConfig) -> Vec<u8> {
        self.written = self.script.total;
        let text = |range: std::ops::Range<u32>| range.map(|i| self.word(config, i)).collect::<String>();
        let field = match config.shape.reasoning_field {
            ReasoningField::ReasoningContent => Field::ReasoningContent,
            ReasoningField::Reasoning => Field::Reasoning,
        };
        let reasoning = (self.script.reasoning > 0).then(|| text(0..self.script.reasoning));
        let content = text(self.script.reasoning..self.script.total);
        let ids: Vec<u32> = if self.request.return_token_ids {
            (0..self.script.total).map(|i| words::id(self.word(config, i).trim_start())).collect()
        } else {
            Vec::new()
        };
        let finish: (Finish, Option<&str>) = (self.script.finish, None);
        self.answer.whole(&content, reasoning.as_deref().map(|r| (field, r)), &ids, finish, self.usage())
    }

    /// Notes a write. Its stamp follows later if the kernel has not taken it.
    #[inline]
    pub(super) fn note(&mut self, keep: bool, sent: Sent, kind: FlushKind, tokens: u32) {
        let stamp = match sent {
            Sent::Now(stamp) => stamp,
            Sent::Later | Sent::Gone => 0,
        };
        self.unstamped += usize::from(sent == Sent::Later);
        self.gone |= sent == Sent::Gone;
        self.record.output_tokens += tokens;
        if keep {
            self.record.flush_ns.push(stamp);
            self.record.flush_tokens.push(tokens);
            self.record.flush_kind.push(kind);
        }
    }

    /// Gives the writes that had to wait their stamp.
    pub(super) fn stamp(&mut self, stamp: Nanos) {
        let late = self.unstamped.min(self.record.flush_ns.len());
        let from = self.record.flush_ns.len() - late;
        self.record.flush_ns[from..].fill(stamp);
        self.unstamped = 0;
    }
}
