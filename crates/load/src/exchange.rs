//! One request in flight, from the first byte of the answer to its record. Sans-IO.
//!
//! ```text
//! bytes, stamp ──► http1 ──► sse ──► event ──► ChunkStamp, usage, finish ──► EndKind
//! ```
//!
//! When a request is complete:
//!
//! - `[DONE]` came, or the body ended as HTTP says it should (last chunk, counted length), or a finish reason came
//!   before the connection was lost. Engines that never send `[DONE]` are therefore right.
//! - A body that lasts until the connection closes needs `[DONE]` or a finish reason, since nothing else tells its
//!   end from a cut.
//! - A complete stream without a token is `no_tokens`; a success without any event is read as an error answer. Chunks
//!   with an empty text are tokens where the usage counts them (`RequestRecord::count_silent_tokens`).

mod failure;
mod stream;

use stopwatt_core::{EndKind, Nanos, RequestRecord};
use stopwatt_wire::event::EventError;
use stopwatt_wire::http1::{HttpError, Part, ResponseDecoder};
use stopwatt_wire::sse::{Scanner, SseError};

use crate::job::{Completed, Job, Limits};
use failure::Failure;
use stream::Stream;

/// Whether more of the answer is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It is.
    More,
    /// The request ended; whether its connection can carry another one.
    Ended {
        /// See [`ResponseDecoder::can_keep_alive`].
        reusable: bool,
    },
}

/// Why reading stops before the answer is complete.
enum Halt {
    Http(HttpError),
    Malformed,
    EngineError,
}

impl From<HttpError> for Halt {
    fn from(e: HttpError) -> Self {
        Self::Http(e)
    }
}

impl From<SseError> for Halt {
    fn from(_: SseError) -> Self {
        Self::Malformed
    }
}

impl From<EventError> for Halt {
    fn from(_: EventError) -> Self {
        Self::Malformed
    }
}

/// A request, what was sent of it and what was read.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) record: RequestRecord,
    /// Head and body as they go over the wire; emptied once the answer begins.
    pub(crate) request: Vec<u8>,
    /// Bytes of `request` given to the socket (or to TLS).
    pub(crate) sent: usize,
    /// It was sent again after a kept-alive connection turned out to be closed.
    pub(crate) retried: bool,
    /// Which address of the target is tried, once one is.
    pub(crate) address: Option<usize>,
    /// Addresses that refused the connection.
    pub(crate) addresses_failed: usize,
    /// When the connection attempt began.
    pub(crate) connect_begin_ns: Nanos,
    /// Last time that bytes moved in either direction.
    pub(crate) last_activity_ns: Nanos,
    /// Stamp of the last read. Stamps of one answer never decrease, whichever clock they are from.
    last_read_ns: Nanos,
    /// Pieces of the body in the last read.
    pub(crate) pieces: u32,
    decoder: ResponseDecoder,
    scanner: Scanner,
    stream: Stream,
    failure: Failure,
}

impl Exchange {
    /// Prepares a request; `head` is everything of the request head but the headers that differ between requests.
    pub(crate) fn new(job: Job, head: &[u8], limits: &Limits) -> Self {
        let variable = format!("x-request-id: {}\r\ncontent-length: {}\r\n\r\n", job.id, job.body.len());
        let mut request = Vec::with_capacity(head.len() + variable.len() + job.body.len());
        request.extend_from_slice(head);
        request.extend_from_slice(variable.as_bytes());
        request.extend_from_slice(&job.body);
        // Room for one chunk a token, so that the list rarely grows while stamps are taken.
        let room = if limits.keep_chunks { job.output_asked.min(4096) as usize + 4 } else { 0 };
        Self {
            record: RequestRecord {
                id: job.id,
                point: job.point,
                trial: job.trial,
                phase: job.phase,
                input_asked: job.input_asked,
                output_asked: job.output_asked,
                input_usage: None,
                output_usage: None,
                session: job.session,
                turn: job.turn,
                cached_usage: None,
                output_tokenizer: None,
                intended_ns: 0,
                dispatched_ns: None,
                connected_ns: None,
                written_ns: None,
                first_byte_ns: None,
                end_ns: 0,
                end: EndKind::Interrupted,
                status: None,
                error_len: None,
                error_hash: None,
                finish: None,
                chunks: Vec::with_capacity(room),
            },
            request,
            sent: 0,
            retried: false,
            address: None,
            addresses_failed: 0,
            connect_begin_ns: 0,
            last_activity_ns: 0,
            last_read_ns: Nanos::MIN,
            pieces: 0,
            decoder: ResponseDecoder::new(),
            scanner: Scanner::new(),
            stream: Stream::new(limits),
            failure: Failure::default(),
        }
    }

    /// Bytes that are not sent yet.
    pub(crate) fn unsent(&self) -> &[u8] {
        self.request.get(self.sent..).unwrap_or_default()
    }

    /// `n` more bytes of the request were given to the socket at `t`.
    pub(crate) fn on_sent(&mut self, n: usize, t: Nanos) {
        self.sent += n;
        self.last_activity_ns = t;
    }

    /// Every byte of the request was given to the socket.
    pub(crate) fn on_written(&mut self, t: Nanos) {
        self.record.written_ns = Some(t);
        self.last_activity_ns = t;
    }

    /// Nothing of an answer came yet.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.record.first_byte_ns.is_none()
    }

    /// When `[DONE]` came, while the end of the body is still awaited.
    pub(crate) fn done_ns(&self) -> Option<Nanos> {
        self.stream.done_ns
    }

    /// Begins anew on another connection.
    pub(crate) fn restart(&mut self) {
        self.sent = 0;
        self.record.connected_ns = None;
        self.record.written_ns = None;
        self.decoder.reset();
        self.scanner.reset();
    }

    /// Bytes of the answer arrived at `t`.
    pub(crate) fn on_bytes(&mut self, bytes: &[u8], t: Nanos) -> Progress {
        let t = t.max(self.last_read_ns);
        self.last_read_ns = t;
        self.last_activity_ns = t;
        if self.record.first_byte_ns.is_none() {
            self.record.first_byte_ns = Some(t);
            // The request was written before its answer came, also where our own stamp of the write is later.
            self.record.written_ns = self.record.written_ns.map(|written| written.min(t));
            if self.record.written_ns.is_some() {
                self.request = Vec::new();
            }
        }
        let Self { record, pieces, decoder, scanner, stream, failure, .. } = self;
        *pieces = 0;
        let fed = decoder.feed::<Halt>(bytes, |part| match part {
            Part::Head(head) => {
                record.status = Some(head.status);
                stream.on_head(head);
                Ok(())
            }
            Part::Body(body) => {
                *pieces += 1;
                if stream.wants_raw_body() {
                    failure.keep(body);
                }
                if stream.is_success() {
                    scanner.feed(body, |event| stream.on_event(event, t, record, failure))
                } else {
                    Ok(())
                }
            }
        });
        match fed {
            Ok(_) if !self.decoder.is_complete() => Progress::More,
            Ok(used) => {
                let clean = used == bytes.len() && self.record.written_ns.is_some();
                self.on_body_end(t);
                Progress::Ended { reusable: clean && self.decoder.can_keep_alive() }
            }
            Err(halt) => {
                self.halt(&halt, t);
                Progress::Ended { reusable: false }
            }
        }
    }

    /// The connection was closed (`None`) or failed at `t`.
    pub(crate) fn on_close(&mut self, error: Option<&std::io::Error>, t: Nanos) {
        let proper = error.is_none() && self.decoder.end_of_input();
        if self.record.status.is_some_and(|s| !(200..300).contains(&s)) {
            self.end(EndKind::Http, t);
        } else if self.stream.is_finished(&self.record) || (proper && self.stream.saw_no_events()) {
            self.on_body_end(t);
        } else {
            let text = error.map_or_else(|| "connection closed".to_owned(), ToString::to_string);
            self.fail(EndKind::Truncated, Some(&text), t);
        }
    }

    /// Ends the request for a reason outside the answer.
    pub(crate) fn fail(&mut self, end: EndKind, text: Option<&str>, t: Nanos) {
        if let Some(text) = text {
            self.failure.replace(text.as_bytes());
        }
        self.end(end, t);
    }

    fn on_body_end(&mut self, t: Nanos) {
        if !self.stream.is_success() {
            return self.end(EndKind::Http, t);
        }
        let Self { record, scanner, stream, failure, .. } = self;
        if let Err(halt) = scanner.finish(|event| stream.on_event(event, t, record, failure)) {
            return self.halt(&halt, t);
        }
        let end = if self.stream.saw_no_events() && !self.failure.is_blank() {
            if self.failure.is_error_answer() { EndKind::StreamError } else { EndKind::Malformed }
        } else if self.stream.saw_tokens() {
            self.failure.forget();
            EndKind::Ok
        } else {
            EndKind::NoTokens
        };
        self.end(end, t);
    }

    fn halt(&mut self, halt: &Halt, t: Nanos) {
        match halt {
            Halt::Http(e) => self.fail(EndKind::Protocol, Some(&e.to_string()), t),
            Halt::Malformed => self.end(EndKind::Malformed, t),
            Halt::EngineError => self.end(EndKind::StreamError, t),
        }
    }

    fn end(&mut self, end: EndKind, t: Nanos) {
        self.record.end = end;
        self.record.end_ns = t;
    }

    /// What is handed to the caller. Does the work that need not be done on the thread that reads.
    pub(crate) fn into_completed(self) -> Completed {
        let Self { mut record, stream, failure, .. } = self;
        record.count_silent_tokens();
        let mut error = None;
        if record.end.is_failure()
            && let Some(found) = failure.finish()
        {
            record.error_len = Some(found.len);
            record.error_hash = Some(found.hash);
            error = Some(found.message);
        }
        let (text, reasoning) = stream.into_texts();
        Completed { record, text, reasoning, error }
    }
}

#[cfg(test)]
mod tests;
