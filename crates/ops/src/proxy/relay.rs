//! The rest of an answer, after the commit point.
//!
//! Pieces go on as they come: what is not yet read is not waited for, and what is read is not collected. When the
//! upstream fails now, it is too late to ask another. The stream then ends with an error event that says so, and never
//! with `[DONE]`; an answer that is no stream of events is cut off so that the client sees it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use stopwatt_core::Nanos;
use stopwatt_core::clock::monotonic_raw;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::answer::error_event;
use super::handle::Proxy;
use super::pool::Connection;
use super::settings::Deadlines;
use crate::content::Answered;
use crate::exchange::{End, Exchange, Failure};
use crate::fleet::InFlight;
use crate::stream_watch::{Watch, WholeEvents, readable};

/// The body of an answer to a client.
pub(super) enum Answer {
    /// In one piece.
    Whole(Option<Bytes>),
    /// From an upstream.
    Relay(Box<Relay>),
    /// Events of the live page: the first of them, and those that come.
    Live(Option<Bytes>, tokio::sync::mpsc::Receiver<Bytes>),
}

/// An answer that was cut off; hyper closes the connection when it sees it.
#[derive(Debug, thiserror::Error)]
#[error("the answer of the upstream was cut off: {0}")]
pub(super) struct Cut(&'static str);

/// See the module.
pub(super) struct Relay {
    pub(super) proxy: Arc<Proxy>,
    /// What was held back until the commit point.
    pub(super) held: Bytes,
    pub(super) body: Option<(Incoming, Connection)>,
    pub(super) watch: Option<Watch>,
    pub(super) whole: WholeEvents,
    pub(super) in_flight: Option<InFlight>,
    pub(super) timer: Pin<Box<Sleep>>,
    pub(super) shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    pub(super) last_read: Nanos,
    /// Becomes the record when it ends.
    pub(super) exchange: Exchange,
    /// The body of the request, where somebody asked for what was said.
    pub(super) request: Option<Bytes>,
    pub(super) recorded: bool,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Self::Whole(bytes) => {
                Poll::Ready(bytes.take().filter(|b| !b.is_empty()).map(|b| Ok(Frame::data(b))))
            }
            Self::Relay(relay) => relay.poll(cx),
            Self::Live(first, rest) => match first.take() {
                Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
                None => rest.poll_recv(cx).map(|event| event.map(|e| Ok(Frame::data(e)))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Relay(_) | Self::Live(..) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Relay(_) | Self::Live(..) => SizeHint::default(),
        }
    }
}

impl Relay {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            let held = if self.watch.is_some() { self.whole.pass(held) } else { held };
            if !held.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(held))));
            }
        }
        loop {
            let Some((body, _)) = &mut self.body else {
                self.record(End::Answered);
                return Poll::Ready(None);
            };
            match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let piece = self.take(data);
                    if self.watch.as_ref().is_some_and(|w| w.malformed) {
                        return Poll::Ready(Some(Ok(Frame::data(self.malformed(&piece)))));
                    }
                    if !piece.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(piece))));
                    }
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(self.fail(Failure::Reset)),
                Poll::Ready(None) => return Poll::Ready(self.ended()),
                Poll::Pending => {
                    if let Some(in_flight) = &mut self.in_flight {
                        in_flight.set_awaited(true);
                    }
                    let failure = ready!(self.poll_limits(cx));
                    return Poll::Ready(self.fail(failure));
                }
            }
        }
    }

    /// Looks at a piece; its whole events. They may go on unless one of them cannot be read.
    fn take(&mut self, data: Bytes) -> Bytes {
        let now = monotonic_raw();
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.set_awaited(false);
        }
        let piece = match &mut self.watch {
            None => data,
            Some(watch) => {
                watch.feed(&data);
                if watch.new_tokens > 0 {
                    if let Some(in_flight) = &self.in_flight {
                        in_flight.upstream().token_came(now);
                    }
                    if let Some(last) = self.exchange.last_token.replace(now) {
                        self.proxy.telemetry.gap(self.exchange.upstream, now - last, watch.new_tokens);
                    }
                }
                self.whole.pass(data)
            }
        };
        self.last_read = now;
        piece
    }

    /// The last bytes for the client when one of these events cannot be read: those before it, and the error event.
    /// A client that got the event itself would end there, with nobody to tell it why.
    fn malformed(&mut self, events: &[u8]) -> Bytes {
        self.body = None;
        self.record(End::Failed(Failure::Malformed));
        let mut last = BytesMut::from(&events[..readable(events)]);
        last.extend_from_slice(&error_event(Failure::Malformed));
        last.freeze()
    }

    /// Whether a deadline is over. The timer is not moved for each piece: when it fires, it is set to what is left.
    fn poll_limits(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        if self.shutdown.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Failure::Draining);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let Deadlines { between_chunks, total, .. } = self.proxy.settings.deadlines;
            let now = monotonic_raw();
            let silent = left(between_chunks, self.last_read, now);
            let whole = left(total, self.exchange.received, now);
            if silent.is_zero() {
                return Poll::Ready(Failure::ChunkTimeout);
            }
            if whole.is_zero() {
                return Poll::Ready(Failure::TotalTimeout);
            }
            self.timer = Box::pin(sleep(silent.min(whole)));
        }
    }

    /// The upstream ended its answer.
    fn ended(&mut self) -> Option<Result<Frame<Bytes>, Cut>> {
        if self.watch.as_ref().is_some_and(|w| !w.is_complete() && !w.error_event) {
            return self.fail(Failure::Truncated);
        }
        if let (Some((_, connection)), Some(in_flight)) = (self.body.take(), &self.in_flight) {
            self.proxy.pools[in_flight.index()].put(connection);
        }
        let end = match &self.watch {
            Some(w) if w.error_event => End::Failed(Failure::ErrorEvent),
            _ => End::Answered,
        };
        self.record(end);
        let rest = self.whole.rest();
        (!rest.is_empty()).then(|| Ok(Frame::data(rest)))
    }

    /// The upstream failed, or its time is over: the client is told.
    fn fail(&mut self, failure: Failure) -> Option<Result<Frame<Bytes>, Cut>> {
        self.body = None;
        let complete = self.watch.as_ref().is_some_and(Watch::is_complete);
        if complete && matches!(failure, Failure::Reset | Failure::ChunkTimeout) {
            // All that matters was said: the finish reason is there.
            self.record(End::Answered);
            return None;
        }
        self.record(End::Failed(failure));
        Some(if self.watch.is_some() {
            Ok(Frame::data(error_event(failure)))
        } else {
            Err(Cut(failure.name()))
        })
    }

    fn record(&mut self, end: End) {
        if std::mem::replace(&mut self.recorded, true) {
            return;
        }
        self.exchange.cost_dollars = self.in_flight.take().and_then(|mut f| f.settle());
        self.exchange.end = end;
        self.exchange.ended = monotonic_raw();
        let mut answer = Answered::Nothing;
        if let Some(watch) = &mut self.watch {
            if let Some(kept) = watch.kept.take() {
                answer = Answered::Stream(*kept);
            }
            self.exchange.cached_tokens = watch.cached_tokens;
            self.exchange.tokens = watch.counted();
            self.exchange.prompt_tokens = watch.prompt_tokens;
            self.exchange.finish = watch.finish;
        }
        self.proxy.finished(&self.exchange, self.request.take(), answer);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Dropped before its end: the client has gone.
        self.record(End::ClientGone);
    }
}

/// What is left of a limit.
pub(super) fn left(limit: Duration, from: Nanos, now: Nanos) -> Duration {
    limit.saturating_sub(Duration::from_nanos(u64::try_from(now - from).unwrap_or(0)))
}
