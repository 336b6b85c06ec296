//! What the events of a stream add to a record.

use stopwatt_core::{ChunkKind, ChunkShape, ChunkStamp, Nanos, RequestRecord};
use stopwatt_wire::event::{Chunk, EventReader, StreamEvent};
use stopwatt_wire::http1::Head;
use stopwatt_wire::sse::Event;

use super::Halt;
use super::failure::Failure;
use crate::job::Limits;

/// State of a stream.
#[derive(Debug)]
pub(super) struct Stream {
    keep_chunks: bool,
    /// Answer and reasoning text, when they are kept.
    texts: Option<(String, String)>,
    reader: EventReader,
    success: bool,
    /// The body says to be an event stream.
    declared: bool,
    events: u64,
    tokens: bool,
    pub(super) done_ns: Option<Nanos>,
}

impl Stream {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            keep_chunks: limits.keep_chunks,
            texts: limits.keep_text.then(Default::default),
            reader: EventReader::default(),
            success: false,
            declared: false,
            events: 0,
            tokens: false,
            done_ns: None,
        }
    }

    pub(super) fn on_head(&mut self, head: &Head) {
        self.success = head.is_success();
        self.declared = head.event_stream;
    }

    /// Whether the status said success.
    pub(super) fn is_success(&self) -> bool {
        self.success
    }

    /// Whether the body may be the text of an error.
    pub(super) fn wants_raw_body(&self) -> bool {
        !self.success || (!self.declared && self.events == 0)
    }

    pub(super) fn saw_no_events(&self) -> bool {
        self.events == 0
    }

    pub(super) fn saw_tokens(&self) -> bool {
        self.tokens
    }

    /// Whether the engine said that the stream is over.
    pub(super) fn is_finished(&self, record: &RequestRecord) -> bool {
        self.done_ns.is_some() || record.finish.is_some()
    }

    /// Reads an event that was stamped `t`.
    pub(super) fn on_event(
        &mut self,
        event: Event<'_>,
        t: Nanos,
        record: &mut RequestRecord,
        failure: &mut Failure,
    ) -> Result<(), Halt> {
        if self.done_ns.is_some() {
            return Ok(());
        }
        self.events += 1;
        match self.reader.read(event) {
            Ok(StreamEvent::Chunk(chunk)) => self.on_chunk(&chunk, t, record),
            Ok(StreamEvent::Done) => {
                self.done_ns = Some(t);
                self.stamp(t, None, ChunkKind::Done, ChunkShape::KNOWN, record);
            }
            Ok(StreamEvent::Error(data)) => {
                failure.replace(data);
                return Err(Halt::EngineError);
            }
            Err(_) => {
                failure.replace(event.data);
                return Err(Halt::Malformed);
            }
        }
        Ok(())
    }

    fn on_chunk(&mut self, chunk: &Chunk<'_>, t: Nanos, record: &mut RequestRecord) {
        self.stamp(t, chunk.tokens, chunk.kind, chunk.shape, record);
        self.tokens |= chunk.kind.is_token();
        record.finish = chunk.finish.or(record.finish);
        if let Some(usage) = chunk.usage {
            record.input_usage = usage.prompt.or(record.input_usage);
            record.output_usage = usage.completion.or(record.output_usage);
            record.cached_usage = usage.cached.or(record.cached_usage);
        }
        if let Some((text, reasoning)) = &mut self.texts {
            chunk.text.push_to(text);
            chunk.reasoning.push_to(reasoning);
        }
    }

    fn stamp(
        &self,
        t_ns: Nanos,
        tokens: Option<u32>,
        kind: ChunkKind,
        shape: ChunkShape,
        record: &mut RequestRecord,
    ) {
        if self.keep_chunks {
            record.chunks.push(ChunkStamp { t_ns, tokens, kind, shape });
        }
    }

    pub(super) fn into_texts(self) -> (Option<String>, Option<String>) {
        self.texts.unzip()
    }
}
