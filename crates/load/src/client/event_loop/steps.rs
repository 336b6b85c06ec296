//! What the loop does when a socket is ready or lost.

use stopwatt_core::EndKind;

use super::EventLoop;
use super::deadlines::DONE_GRACE;
use crate::conn::{Stage, Step};
use crate::exchange::Exchange;
use crate::job::Ended;

impl EventLoop<'_> {
    /// A socket is ready.
    pub(super) fn on_ready(&mut self, index: usize, peer_closed: bool) {
        let Some(conn) = self.pool.conns.get_mut(index).and_then(Option::as_mut) else { return };
        let before = conn.stage();
        let step = conn.on_ready(peer_closed, &mut self.pool.buffers, self.clock);
        if before == Stage::Connecting && conn.stage() != before {
            self.on_connected(index);
        }
        self.on_step(index, step, peer_closed);
    }

    /// Acts on what came of an event.
    pub(super) fn on_step(&mut self, index: usize, step: Step, peer_closed: bool) {
        match step {
            Step::Wait => {
                if let Some(done) = self.exchange(index).and_then(|x| x.done_ns()) {
                    self.watch(done + DONE_GRACE);
                }
            }
            Step::Again => self.again.push((index, peer_closed)),
            Step::Ended { reusable } => {
                let Some(exchange) = self.detach(index) else { return };
                if reusable {
                    self.pool.release(index);
                } else {
                    self.pool.close(index);
                }
                self.complete(exchange);
            }
            Step::ConnectFailed(error) => self.on_connect_failed(index, &error),
            Step::TlsFailed(reason) => {
                let Some(mut exchange) = self.detach(index) else { return };
                self.pool.close(index);
                exchange.fail(EndKind::Tls, Some(&reason.to_string()), self.clock.now());
                self.complete(exchange);
            }
            Step::Closed(error) => self.on_closed(index, error.as_ref()),
        }
    }

    /// A connection is gone. A kept-alive one that dies before any byte of the answer was closed by the server while
    /// the request was on its way: as HTTP clients do, the request is sent once more, on a new connection.
    fn on_closed(&mut self, index: usize, error: Option<&std::io::Error>) {
        let kept_alive = self.pool.conns[index].as_ref().is_some_and(|c| c.served > 0);
        let exchange = self.detach(index);
        self.pool.close(index);
        let Some(mut exchange) = exchange else { return };
        let now = self.clock.now();
        if kept_alive && exchange.is_unanswered() && !exchange.retried {
            exchange.retried = true;
            exchange.restart();
            self.outcome.retries += 1;
            return self.connect(exchange);
        }
        exchange.on_close(error, now);
        self.complete(exchange);
    }

    fn exchange(&self, index: usize) -> Option<&Exchange> {
        self.pool.conns.get(index)?.as_ref()?.exchange.as_deref()
    }

    /// Takes the request off its connection.
    pub(super) fn detach(&mut self, index: usize) -> Option<Box<Exchange>> {
        let conn = self.pool.conns.get_mut(index)?.as_mut()?;
        conn.served += 1;
        conn.exchange.take()
    }

    /// A request came to its end.
    pub(super) fn complete(&mut self, exchange: Box<Exchange>) {
        self.in_flight -= 1;
        self.last_end = self.last_end.max(exchange.record.end_ns);
        match &mut self.turns {
            Some(turns) => turns.on_end(),
            None => self.schedule.on_end(exchange.record.end_ns),
        }
        self.finished.push(exchange);
    }

    /// Hands ended requests to the recorder.
    pub(super) fn hand_on(&mut self) {
        for exchange in self.finished.drain(..) {
            if self.done.send(exchange).is_err() {
                // The recorder is gone, by a panic that surfaces when its thread is joined.
                self.ended.get_or_insert(Ended::Interrupted);
            }
        }
    }
}
